"""What the fuzzer starts from: files that are right, of every kind that is read, made once for a run of it."""

from __future__ import annotations

import base64
import io
import json
import pickle
import zipfile
from contextlib import redirect_stderr, redirect_stdout
from functools import cached_property
from pathlib import Path

import torch
from fuzz.commands import TRAIN
from minimal import MINIMAL

import fabmesh
from fabmesh.agents.commands import train as cli
from fabmesh.agents.evaluation.judge.comparison import compare_entries
from fabmesh.agents.evaluation.judge.entries import parse_entries
from fabmesh.agents.evaluation.judge.manifest import hashes_of, make_manifest
from fabmesh.agents.evaluation.judge.seeds import seed_set
from fabmesh.agents.learning.run import checkpoint
from fabmesh.agents.learning.run.settings import read_settings, to_yaml
from fabmesh.envs.network.loading import load_scenario
from fabmesh.envs.scenarios.dump import scenario_to_yaml
from fabmesh.envs.scenarios.orders import write_orders
from fabmesh.envs.vector import HubNetworkVector

CONFIGS = Path(fabmesh.__file__).parent / "configs"
RAN = "code_of_the_stranger_ran"
"""The file that appears where code out of a file was run."""
ORDER_LINES = 40
TOWNS = """\
name,latitude,longitude,population
Delft,52.0067,4.3556,95060
Dordrecht,51.8100,4.6736,119260
Gouda,52.0115,4.7105,75298
Orléans,47.9030,1.9093,116238
"""


class _Stranger:
    """Runs code when it is unpickled."""

    def __reduce__(self):
        return open, (RAN, "w")


def _stranger() -> bytes:
    """A model as Stable-Baselines3 saves one, whose settings run code."""
    settings = {
        name: {":type:": "x", ":serialized:": base64.b64encode(pickle.dumps(_Stranger())).decode()}
        for name in ("policy_class", "observation_space", "action_space", "policy_kwargs")
    }
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as file:
        file.writestr("data", json.dumps(settings))
        file.writestr("_stable_baselines3_version", "2.9.2")
    return data.getvalue()


def _training(run: Path) -> None:
    """A run directory after a training of two iterations, the same whenever it is made."""
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        assert cli.main([*TRAIN, "--config", str(_empty(run.parent)), "--run-dir", str(run)]) == 0
    for events in run.glob("events.out.*"):
        events.unlink()
    last = torch.load(run / checkpoint.LAST, weights_only=True)
    last["state"]["seconds"] = 1.0
    checkpoint.write(run / checkpoint.LAST, {name: value for name, value in last.items() if name != "format"})
    progress = run / "progress.csv"
    head, *rows = progress.read_text().splitlines()
    timed = [i for i, name in enumerate(head.split(",")) if name.startswith("speed/")]
    for number, row in enumerate(rows):
        cells = row.split(",")
        for i in timed:
            cells[i] = "1.0"
        rows[number] = ",".join(cells)
    progress.write_text("\n".join((head, *rows, "")))


def _empty(folder: Path) -> Path:
    """Settings without the shipped ones, which follow the clock."""
    path = folder / "empty.yaml"
    path.write_text("")
    return path


def _manifest(path: Path) -> None:
    """The manifest of a small comparison, with a file of rules among its policies."""
    scenario, seeds = load_scenario("pocket"), seed_set("train", 2)
    entries = parse_entries(["idle", "base_stock"])
    comparison = compare_entries(entries, scenario, seeds, 1, True)
    content = make_manifest(comparison, entries, hashes_of(entries, scenario), "pocket", "fabmesh-evaluate")
    path.write_text(json.dumps({**content, "commit": None}, indent=1))


def _model(path: Path) -> None:
    """A model that Stable-Baselines3 saved; none where it is not installed."""
    try:
        from stable_baselines3 import PPO

        from fabmesh.envs.adapters.sb3 import HubNetworkVecEnv
    except ImportError:
        return
    PPO("MlpPolicy", HubNetworkVecEnv(HubNetworkVector("pocket")), n_steps=4, batch_size=4, device="cpu", seed=0).save(
        path
    )


def prepare(folder: Path) -> None:
    """Makes what takes longer than an input may."""
    _training(folder / "run")
    _manifest(folder / "manifest.json")
    _model(folder / "model.zip")
    write_orders(load_scenario("pocket"), 0, folder / "orders.csv")


class Bench:
    """The files, as texts and bytes, each read once.

    Args:
        folder: That `prepare` filled.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def scenarios(self) -> tuple[str, ...]:
        """Scenarios: everything once, pocket on its own, pocket as it includes and selects."""
        return MINIMAL, scenario_to_yaml(load_scenario("pocket")), self.including

    @cached_property
    def including(self) -> str:
        """Pocket by its includes."""
        return (CONFIGS / "scenarios" / "pocket.yaml").read_text().replace("- catalogue/", "- fabmesh:catalogue/")

    @cached_property
    def orders(self) -> str:
        """A short order book of pocket with every column in use."""
        rows = (self.folder / "orders.csv").read_text().splitlines()[: ORDER_LINES + 1]
        return "\n".join((*rows, ""))

    @cached_property
    def settings(self) -> tuple[str, ...]:
        """Training settings: the shipped files, and all settings written out."""
        shipped = sorted((CONFIGS / "training").glob("*.yaml"))
        return (*(path.read_text() for path in shipped), to_yaml(read_settings(CONFIGS / "training" / "mappo.yaml")))

    @cached_property
    def rules(self) -> tuple[str, ...]:
        """Rules that were tuned, without the record of the search, and rules of a user's own."""
        tuned = (CONFIGS / "tuned" / "pocket.yaml").read_text().partition("\nsearch:")[0]
        return tuned, "rules:\n  routing: {rule: cost_plus, base: 0.1}\n  hub_stock: {rule: base_stock}\n"

    @cached_property
    def stresses(self) -> tuple[str, ...]:
        """The shipped stress tests."""
        return tuple(path.read_text() for path in sorted((CONFIGS / "stress").glob("*.yaml")))

    @cached_property
    def variants(self) -> str:
        """The shipped table of ablations."""
        return (CONFIGS / "ablations.yaml").read_text()

    @cached_property
    def manifest(self) -> str:
        """A manifest whose numbers come out again."""
        return (self.folder / "manifest.json").read_text()

    @cached_property
    def record(self) -> str:
        """What a search of settings wrote."""
        return (CONFIGS.parent / "docs" / "results" / "search_pocket.yaml").read_text()

    @cached_property
    def stranger(self) -> bytes:
        """A model that runs code where it is unpickled."""
        return _stranger()

    def bytes_of(self, name: str) -> bytes:
        """A prepared file; empty where what makes it is not installed."""
        path = self.folder / name
        return path.read_bytes() if path.is_file() else b""
