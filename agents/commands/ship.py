"""Make a trained policy part of the package: `python -m fabmesh.agents.commands.ship runs/a1 runs/a2 runs/a3`.

Of training runs on one scenario the best on validation worlds is kept, one for each scenario, as `shipped:SCENARIO`.
Before anything is written it plays its validation worlds again: what is shipped must cost what the run says it cost.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro

from fabmesh.agents.evaluation.judge.comparison import one_torch_thread
from fabmesh.agents.evaluation.judge.protocol import evaluate
from fabmesh.agents.evaluation.judge.seeds import seed_set
from fabmesh.agents.evaluation.show.tables import WIDTH, words_of_saving
from fabmesh.agents.learning.batch import RoleSpec
from fabmesh.agents.learning.config import TrainConfig, setting_names
from fabmesh.agents.learning.run import checkpoint, shipped
from fabmesh.agents.learning.run.settings import from_plain
from fabmesh.agents.learning.run.validation import MEASURE
from fabmesh.envs.commands import MOST_THREADS, guarded, require_within
from fabmesh.envs.errors import FabmeshError
from fabmesh.envs.files import hash_of_file, is_folder
from fabmesh.envs.network.compiler.kernel import announce_compilation
from fabmesh.envs.network.interface.spec import role_specs
from fabmesh.envs.network.loading import load_scenario, shipped_scenarios
from fabmesh.envs.network.schema.scenario import Scenario, fingerprint
from fabmesh.envs.terminal import Terminal

TOLERANCE = 1e-3
"""Share by which the cost may come out otherwise: another machine may round a network's output in another way."""


@dataclass(frozen=True)
class ShipConfig:
    """Make a trained policy part of the package, as shipped:SCENARIO; it takes the place of the one that was there.

    The entry in configs/checkpoints/checkpoints.yaml says how it was trained and what it saved on validation worlds.
    """

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Run directories of one scenario, or their best.pt; the one that costs least on validation worlds is kept."""
    threads: int = 1
    """Threads that step the worlds; results do not depend on it."""


@dataclass(frozen=True)
class Run:
    """A run that may be shipped.

    Attributes:
        file: Its best checkpoint.
        content: Of it.
        config: Its settings.
    """

    file: Path
    content: dict[str, Any]
    config: TrainConfig

    @classmethod
    def read(cls, path: Path) -> Run:
        """The best checkpoint of a run.

        Raises:
            FabmeshError: If it is no checkpoint that was chosen on validation worlds.
        """
        file = path / checkpoint.BEST if is_folder(path) else path
        content = checkpoint.read_whole(file)
        if content["scenario"] not in shipped_scenarios():  # whose name is that of the file to be written
            there = ", ".join(shipped_scenarios())
            raise FabmeshError(f"{file}: was trained on no scenario that comes with the package; there are {there}")
        if content["kind"] not in checkpoint.OWN_KINDS:
            raise FabmeshError(f"{file}: a policy of {content['kind']} needs a library that the package does without")
        validation = content.get("validation")
        if not isinstance(validation, dict) or f"validation/{MEASURE}_mode" not in validation:
            raise FabmeshError(
                f"{file}: does not say what it costs on validation worlds; give the {checkpoint.BEST} of a run"
            )
        return cls(file, content, from_plain(content["config"]))

    def found(self, name: str) -> float:
        """What its validation found."""
        return float(self.content["validation"][f"validation/{name}"])

    @property
    def worlds(self) -> str:
        """What it was chosen on, in words."""
        return f"{self.content['scenario']}, {self.config.validation.validation_seeds} validation seeds"

    @property
    def cost(self) -> float:
        """Network cost on the validation worlds, EUR per episode."""
        return self.found(f"{MEASURE}_mode")


def best_of(runs: Sequence[Run]) -> Run:
    """The run that costs least.

    Raises:
        FabmeshError: If there is none, or they are not about the same worlds.
    """
    if not runs:
        raise FabmeshError("runs: give at least one run directory")
    worlds = {run.worlds: run.file for run in reversed(runs)}
    if len(worlds) > 1:
        told = "; ".join(f"{file}: {name}" for name, file in worlds.items())
        raise FabmeshError(f"runs can be compared on the same worlds, these were chosen on others ({told}); give one")
    return min(runs, key=lambda run: run.cost)


def stripped(content: dict[str, Any], spec: Mapping[str, RoleSpec]) -> dict[str, Any]:
    """What of a checkpoint a policy for this layout is made from, numbers in single precision."""
    sections = setting_names()
    return {
        **{name: content[name] for name in ("kind", "scenario", "agents")},
        "signature": checkpoint.signature(spec),
        "config": {
            name: value
            for name, value in content["config"].items()
            if name in ("scenario", "algo", "seed") or sections[name] == "network"
        },
        "weights": {
            role: {name: _single(value) for name, value in of.items()} for role, of in content["weights"].items()
        },
    }


def _single(value: torch.Tensor) -> torch.Tensor:
    return value.to(torch.float32) if value.dtype.is_floating_point else value


def play(run: Run, content: dict[str, Any], scenario: Scenario, spec: Mapping[str, RoleSpec], threads: int) -> Any:
    """Network cost of what is to be shipped on the validation worlds of its run, EUR [seeds].

    Raises:
        FabmeshError: If it is not what the run says.
    """
    policy = checkpoint.policy_from(content, spec, "shipped", sample=False)
    seeds = seed_set("validation", run.config.validation.validation_seeds).seeds
    with one_torch_thread():
        costs = evaluate(policy, scenario, seeds, threads).measures[MEASURE]
    if abs(costs.mean() / run.cost - 1.0) > TOLERANCE:
        raise FabmeshError(
            f"{run.file}: costs {costs.mean():,.0f} EUR on its validation worlds, not {run.cost:,.0f} as when it was "
            f"trained: the code or scenario {scenario.name!r} has changed since; train again"
        )
    return costs


def ship(config: ShipConfig, console: Terminal) -> None:
    """Choose, check and write.

    Raises:
        FabmeshError: If something the user gave is wrong, or the cost does not come out again; nothing is written then.
    """
    require_within(config, threads=(1, MOST_THREADS))
    index = shipped.index()
    run = best_of([Run.read(path) for path in config.runs])
    scenario = load_scenario(run.content["scenario"])
    spec = role_specs(scenario)
    checkpoint.require_fit(run.content, run.file, scenario.name, spec)
    content = stripped(run.content, spec)
    announce_compilation()
    costs = play(run, content, scenario, spec, config.threads)

    path = shipped.DIRECTORY / f"{scenario.name}.pt"
    checkpoint.write(path, content)
    entry = shipped.Shipped(
        file=path.name,
        sha256=hash_of_file(path),
        scenario=scenario.name,
        scenario_sha256=fingerprint(scenario),
        trained={
            "command": run.content.get("command"),  # made when it was trained: settings files change
            "commit": run.content.get("commit"),
            "steps": run.content.get("steps"),
        },
        validation={
            "episodes": len(costs),
            "network_cost_eur": float(costs.mean()),
            "first_network_cost_eur": float(costs[: shipped.FIRST].mean()),
            "against": run.config.validation.opponents[0],
            "saving": round(run.found("saving_mode"), 5),
            "saving_low": round(run.found("saving_mode_low"), 5),
        },
    )
    shipped.write({**index, scenario.name: entry})
    found = f"{words_of_saving(entry.validation['saving'])} against {entry.validation['against']}"
    console.say(
        f"{shipped.PREFIX}{scenario.name}: {run.file}, {path.stat().st_size:,} bytes; network cost "
        f"{costs.mean():,.0f} EUR, {found}, on {len(costs)} validation worlds",
        f"written: {path}, {shipped.DIRECTORY / shipped.INDEX}",
    )


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0, or 2 for wrong input."""

    def play_and_write() -> int:
        ship(tyro.cli(ShipConfig, args=args, prog="python -m fabmesh.agents.commands.ship"), Terminal(WIDTH))
        return 0

    return guarded(play_and_write, "stopped; what was shipped before is still there")


if __name__ == "__main__":
    sys.exit(main())
