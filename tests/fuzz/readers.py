"""Every reader of a file or a command line: how its inputs are spoiled, and what must hold of what it accepts.

A reader writes a spoiled file into the current directory and returns a case; running the case gives the file to the
product. It ends as the product does: an exit code, a refusal, or nothing; `Unsound` where what was accepted is wrong.
"""

from __future__ import annotations

import copy
import math
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from inspect import signature
from pathlib import Path
from pkgutil import resolve_name
from random import Random
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from fuzz.bench import RAN, TOWNS, Bench
from fuzz.commands import COMMANDS, in_words, spoiled_arguments
from fuzz.mutations import (
    TABLE,
    VALUES,
    YAML,
    spoiled_bytes,
    spoiled_json,
    spoiled_text,
    spoiled_tree,
)
from fuzz.outcomes import Unsound

from fabmesh.agents.evaluation.judge.protocol import evaluate
from fabmesh.agents.learning.config import TrainConfig
from fabmesh.agents.learning.run import checkpoint, session
from fabmesh.agents.learning.run.settings import as_plain, from_plain, parse, read_settings, to_yaml
from fabmesh.agents.learning.run.variants import read_variants
from fabmesh.agents.registry import make_policy
from fabmesh.envs import testing
from fabmesh.envs.network.loading import load_scenario
from fabmesh.envs.network.schema.recorded import COLUMNS, rows_of
from fabmesh.envs.scenarios.stress import load_stress, under_stress
from fabmesh.envs.vector import HubNetworkVector

POCKET = load_scenario("pocket")
COPIES, DAYS = 2, 6
MOST_WORLDS = 8
MOST_WORK = 4_000  # days, agents and weights that an accepted training may ask for and still be run


class Reached(BaseException):
    """An input got to the work that its command is for."""


@dataclass(frozen=True)
class Case:
    """An input, ready to be given.

    Attributes:
        give: Gives it to the product.
        about: What was done to make it.
        names: Of what it is, one of which a refusal should have in it.
        size: Bytes or characters.
        guarded: Whether a refusal must leave the directory as it was.
    """

    give: Callable[[], int | None]
    about: str
    names: Sequence[str]
    size: int
    guarded: bool = True


Reader = Callable[[Random, Bench], Case]


# --- what must hold of what is accepted ----------------------------------------------------------------------------


def play(batch: HubNetworkVector, days: int, seed: int) -> None:
    """Plays random legal actions and checks the laws, and that every number shown is finite.

    Raises:
        Unsound: A number is not.
        CheckFailed: A law is broken.
    """
    rng = np.random.default_rng(seed)
    try:
        observed, info = batch.reset(seed=seed)
        for day in range(min(days, batch.scenario.episode_d)):
            observed, reward, _, _, info = batch.step(testing.random_actions(batch, info["action_mask"], rng))
            numbers = {f"rewards of {role}s": reward[role] for role in batch.roles}
            numbers |= {f"observations of {role}s": observed[role] for role in batch.roles}
            numbers |= {"costs": info["cost"], "books": batch.ledger, "counts": batch.events, "states": batch.state()}
            for name, values in numbers.items():
                if not np.isfinite(values).all():
                    raise Unsound(f"day {day + 1}: the {name} are not finite")
            for name, values in zip(batch.event_names, batch.events.T, strict=True):
                if name.startswith("units_") and values.min() < 0:
                    raise Unsound(f"day {day + 1}: {name} is {values.min()}")
            testing.check_laws(batch)
    finally:
        batch.close()


def _some_days(rng: Random) -> int:
    return 10_000 if rng.random() < 0.15 else DAYS


def _finite(name: str, values: dict[str, Any]) -> None:
    """Refuses costs that are not finite."""
    for key in ("network_cost", "controllable_cost"):
        if not np.isfinite(values[key]).all():
            raise Unsound(f"{name}: {key} is {values[key]}")


# --- files ---------------------------------------------------------------------------------------------------------


def _put(name: str, data: bytes) -> Path:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def scenario(rng: Random, bench: Bench) -> Case:
    """Scenarios, of one file or of several."""
    which = rng.choice((0, 0, 0, 1, 1, 2))
    if which == 2 and rng.random() < 0.5:  # the file that is included is spoiled, in place of the one that includes
        name, text = "mine.yaml", "materials:\n  - {name: petg, bulk_eur: 12, pack: 1}\ndemand: {catalogue_level: 3}\n"
        _put("net.yaml", bench.including.replace("select:", f"  - {name}\nselect:", 1).encode())
    else:
        name, text = "net.yaml", bench.scenarios[which]
    data, done = spoiled_text(rng, text, YAML)
    _put(name, data)
    days, seed = _some_days(rng), rng.randrange(1000)

    def give() -> None:
        play(HubNetworkVector("net.yaml", num_envs=COPIES, autoreset=False), days, seed)

    return Case(give, f"{('minimal', 'pocket', 'include')[which]}: {done}", ["net.yaml", name], len(data))


def orders(rng: Random, bench: Bench) -> Case:
    """Order books."""
    data, done = spoiled_text(rng, bench.orders, TABLE)
    path = _put("orders.csv", data)
    days, seed = _some_days(rng), rng.randrange(1000)

    def give() -> None:
        play(HubNetworkVector(POCKET, num_envs=COPIES, autoreset=False, orders=path), days, seed)

    return Case(give, done, [path.name], len(data))


def tape(rng: Random, bench: Bench) -> Case:
    """Order books that are right and extreme, played to the end of the episode."""
    towns, rows = [town.name for town in POCKET.towns], rows_of(POCKET)
    days = [f"2026-03-{day:02}" for day in range(2, 30)] + [f"2026-04-{day:02}" for day in range(1, 30)]
    dues = ("2026-03-03", "2026-03-04", "2026-05-01", "2026-06-01", "2028-01-03", "2029-12-31")
    prices = ("1e-9", "0.01", "1", "250", "99999", "1e9")
    one_day = rng.random() < 0.3
    text = [",".join(COLUMNS)]
    lines = rng.choice((1, 10, 100, 1000, 3000))
    most = rng.choice((32_767, 32_767 // lines, 1))  # of a day, town and product together; more is refused
    units = (0, 1, most // 2, most)
    for _ in range(lines):
        row, day = rng.choice(rows), days[0] if one_day else rng.choice(days)
        later = [due for due in dues if due > day]
        ceiling = rng.choice(("", *prices))
        price = rng.choice(prices if row.price is None else ("", *prices))
        due = rng.choice(("", *later))
        text.append(",".join((day, rng.choice(towns), row.name, str(rng.choice(units)), due, ceiling, price)))
    path = _put("orders.csv", "\n".join((*text, "")).encode())
    seed = rng.randrange(1000)

    def give() -> None:
        play(HubNetworkVector(POCKET, num_envs=COPIES, autoreset=False, orders=path), 10_000, seed)

    return Case(give, f"{len(text) - 1} orders", [path.name], len(text))


def towns(rng: Random, bench: Bench) -> Case:
    """Tables of towns, made into a region that is read again."""
    data, done = spoiled_text(rng, TOWNS, TABLE)
    _put("towns.csv", data)

    def give() -> int | None:
        code = COMMANDS["scenarios new"].main(["new", "--towns", "towns.csv", "--out", "region.yaml"])
        if not code:
            load_scenario("region.yaml")
        return code

    return Case(give, done, ["towns.csv"], len(data))


def settings(rng: Random, bench: Bench) -> Case:
    """Training settings, which must come out of a file as they went in, and out of a checkpoint too."""
    data, done = spoiled_text(rng, rng.choice(bench.settings), YAML)
    path = _put("settings.yaml", data)

    def give() -> None:
        config = parse(["--scenario", "pocket", "--config", str(path)])
        again = Path("again.yaml")
        again.write_text(to_yaml(config), encoding="utf-8")
        found = read_settings(again, TrainConfig(scenario=config.scenario, algo=config.algo, config=path))
        if repr(found) != repr(config):
            raise Unsound("other settings come out of the file that is written of them")
        if repr(from_plain(as_plain(config)).ppo) != repr(config.ppo):
            raise Unsound("other settings come out of a checkpoint")
        numbers = [value for value in as_plain(config).values() if isinstance(value, float)]
        if not all(map(math.isfinite, numbers)):
            raise Unsound("a setting that is not finite")

    return Case(give, done, [path.name], len(data))


def rules(rng: Random, bench: Bench) -> Case:
    """Rules of a policy, which must play."""
    data, done = spoiled_text(rng, rng.choice(bench.rules), YAML)
    path = _put(rng.choice(("rules.yaml", "rules.yaml", "rules.yml")), data)

    def give() -> None:
        _finite(path.name, evaluate(make_policy(str(path), POCKET), POCKET, [0]).measures)

    return Case(give, done, [path.name], len(data))


def stress(rng: Random, bench: Bench) -> Case:
    """Stress tests, on pocket."""
    data, done = spoiled_text(rng, rng.choice(bench.stresses), YAML)
    path = _put("stress.yaml", data)
    seed = rng.randrange(1000)

    def give() -> None:
        world = under_stress(POCKET, load_stress(str(path)))
        play(HubNetworkVector(world, num_envs=COPIES, autoreset=False), 10_000, seed)

    return Case(give, done, [path.name, "stress "], len(data))


def variants(rng: Random, bench: Bench) -> Case:
    """Tables of ablations."""
    entries = bench.variants.split("\n\n")
    data, done = spoiled_text(rng, "\n\n".join(entries[: rng.choice((2, 3, len(entries)))]), YAML)
    path = _put("ablations.yaml", data)

    def give() -> None:
        base = parse(["--scenario", "pocket"])
        for variant in read_variants(path).values():
            variant.settings(base)
            variant.network(POCKET)

    return Case(give, done, [path.name], len(data))


def record(rng: Random, bench: Bench) -> Case:
    """What a search of settings goes on from."""
    data, done = spoiled_text(rng, bench.record, YAML)
    _put("search/search.yaml", data)
    case = partial(_run, "search", ["pocket", "--trials", "9", "--out", "search", "--quiet"])
    return Case(case, done, ["search.yaml"], len(data))


def manifest(rng: Random, bench: Bench) -> Case:
    """Manifests, from which a table is made again."""
    data, done = spoiled_json(rng, bench.manifest)
    if rng.random() < 0.1:  # one that names a file with code in it
        _put("stranger.zip", bench.stranger)
        data, done = data.replace(b'"idle"', b'"stranger.zip"'), f"{done}; a policy is stranger.zip"
    _put("manifest.json", data)
    case = partial(_run, "evaluate", ["--from", "manifest.json", "--quiet"])
    return Case(case, done, ["manifest.json"], len(data))


_TREE_VALUES = (
    *VALUES, torch.zeros(0), torch.zeros(3), torch.full((2, 2), math.nan), torch.full((4,), 2**62), torch.zeros(5, 8),
    torch.zeros(2, dtype=torch.bool), torch.zeros(1).to_sparse(), torch.zeros(4, dtype=torch.complex64),
)  # fmt: skip
_CELLS = (-1, 0, 1, 2**15 - 1, 2**31 - 1, 10_000_000, -(2**31), 255)


_DAMAGED = 0.2  # share of the checkpoints that are spoiled in their bytes


def _spoiled_checkpoint(rng: Random, data: bytes, path: Path) -> str:
    """Writes a checkpoint spoiled in its bytes, in its tree, or in the state of its worlds."""
    how = rng.random()
    if how < _DAMAGED:
        spoiled, done = spoiled_bytes(rng, data, data[::-1])
        path.write_bytes(spoiled)
        return f"damaged: {done}"
    path.write_bytes(data)
    content = torch.load(path, weights_only=True)
    if how < 0.45 or "state" not in content:
        content, done = spoiled_tree(rng, content, _TREE_VALUES)
    else:
        done = _spoil_worlds(rng, content)
    torch.save(content, path)
    return done


def _same(one: Any, other: Any) -> bool:
    """Whether two trees of tensors are the same."""
    if isinstance(one, dict):
        return list(one) == list(other) and all(_same(one[name], other[name]) for name in one)
    return bool(torch.equal(one, other))


def _spoil_worlds(rng: Random, content: dict[str, Any]) -> str:
    """Puts other numbers into the tables of the worlds that a training stands in."""
    packed = content["state"]["inner"]["collector"]
    arrays = copy.deepcopy(checkpoint.unpack(packed))
    places = [(name, field) for name, array in arrays.items() if array.size for field in array.dtype.names or ("",)]
    counts = [(name, field) for name, field in places if field and arrays[name].dtype[field].kind in "iu"]
    name, field = rng.choice(counts if rng.random() < 0.7 else places)  # counts and indices lead out of a table
    array = arrays[name][field] if field else arrays[name]
    value = rng.choice(_CELLS if array.dtype.kind in "iu" else (math.nan, math.inf, -1.0, 1e308))
    cells = array.reshape(-1) if array.flags.c_contiguous else array
    with np.errstate(all="ignore"):
        new = np.array(value).astype(array.dtype)
    everywhere = rng.random() < 0.5
    cells[... if everywhere or cells.ndim != 1 else rng.randrange(cells.size)] = new
    content["state"]["inner"]["collector"] = checkpoint.pack(arrays)
    return f"{name}.{field} -> {new}{' everywhere' if everywhere else ''}"


def policy(rng: Random, bench: Bench) -> Case:
    """Checkpoints as policies, which must play; damage that changes a weight must be noticed."""
    path, name = Path("policy.pt"), rng.choice(("run/best.pt", "run/last.pt"))
    done = _spoiled_checkpoint(rng, bench.bytes_of(name), path)

    def give() -> None:
        _finite(path.name, evaluate(make_policy(str(path), POCKET), POCKET, [0]).measures)
        whole = checkpoint.read(bench.folder / name)["weights"]
        if done.startswith("damaged") and not _same(checkpoint.read(path)["weights"], whole):
            raise Unsound("damaged weights are not noticed")

    return Case(give, done, [path.name], path.stat().st_size)


def zipped(rng: Random, bench: Bench) -> Case:
    """Models of Stable-Baselines3, right ones and one of a stranger."""
    good, strange = bench.bytes_of("model.zip"), bench.stranger
    data, done = (strange, "a stranger's") if rng.random() < 0.1 else spoiled_bytes(rng, good, strange)
    path = _put("model.zip", data)

    def give() -> None:
        _finite(path.name, evaluate(make_policy(str(path), POCKET), POCKET, [0]).measures)

    return Case(give, done, [path.name], len(data))


def _resumed(bench: Bench) -> Path:
    shutil.copytree(bench.folder / "run", "run")
    return Path("run")


_GO_ON = ["--resume", "--run-dir", "run", "--total-steps", "120"]


def resume(rng: Random, bench: Bench) -> Case:
    """Trainings that go on from a spoiled checkpoint."""
    last = _resumed(bench) / checkpoint.LAST
    done = _spoiled_checkpoint(rng, last.read_bytes(), last)
    return Case(partial(_run, "train", _GO_ON), done, [checkpoint.LAST], last.stat().st_size)


def progress(rng: Random, bench: Bench) -> Case:
    """Trainings that go on beside a spoiled table of what was done."""
    path = _resumed(bench) / "progress.csv"
    data, done = spoiled_text(rng, path.read_text(), TABLE)
    path.write_bytes(data)
    return Case(partial(_run, "train", _GO_ON), done, [path.name], len(data))


# --- command lines -------------------------------------------------------------------------------------------------


def command(rng: Random, bench: Bench, name: str) -> Case:
    """A command line with flags given, given wrongly and left out."""
    arguments = spoiled_arguments(rng, name)
    files = {
        "towns.csv": TOWNS, "rules.yaml": bench.rules[1], "stress.yaml": bench.stresses[0],
        "orders_in.csv": bench.orders, "file.txt": "a note\n", "file.pt": "x", "file.zip": "PK",
    }  # fmt: skip
    for file, text in files.items():
        Path(file).write_text(text)
    Path("folder").mkdir()
    Path("link.yaml").symlink_to("rules.yaml")
    Path("loop").symlink_to("loop")
    names = [argument.partition("=")[2] or argument if argument[:2] == "--" else argument for argument in arguments]
    return Case(partial(_run, name, arguments), in_words(name, arguments), names, sum(map(len, arguments)))


@contextmanager
def _bounded(name: str) -> Iterator[None]:
    """Lets a command do its work where that is little, and ends it there where it is not."""
    with ExitStack() as stack:
        for target in COMMANDS[name].work:
            stack.enter_context(patch(target, side_effect=Reached))
        for target in COMMANDS[name].judging:
            stack.enter_context(patch(target, partial(_little_judging, resolve_name(target))))
        if name == "train":
            stack.enter_context(patch.object(session, "run", partial(_little_training, session.run)))
        yield


def _little_judging(judge: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Judges policies on a few worlds of a small scenario."""
    given = signature(judge).bind(*arguments, **options).arguments
    seeds, asked = given["seeds"], given.get("asked", "")
    if len(getattr(seeds, "seeds", seeds)) > MOST_WORLDS or len(given["scenario"].hubs) > 2 or asked == "all":
        raise Reached
    return judge(*arguments, **options)


def _little_training(run: Callable[..., Any], learner: Any, *arguments: Any, **options: Any) -> Any:
    """Trains if that is little; what asks for more than any machine has should have been refused by now."""
    config = learner.config
    shown_days = config.imitation.imitation_copies * config.imitation.imitation_days * config.imitation.imitation_rounds
    if max(shown_days, config.imitation.imitation_epochs, config.steps_per_iteration) > 10**12:
        raise Unsound("a training of more than 10**12 days is begun")
    wide = max(*config.network.hidden, *config.network.critic_hidden, config.network.item_width)
    if max(shown_days * config.imitation.imitation_epochs, config.total_steps, wide) > MOST_WORK:
        raise Reached
    return run(learner, *arguments, **options)


def _run(name: str, arguments: Sequence[str]) -> int | None:
    with _bounded(name):
        return COMMANDS[name].main(arguments)


_FILES: dict[str, Reader] = {
    reader.__name__: reader
    for reader in (scenario, orders, tape, towns, settings, rules, stress, variants, record, manifest, policy, zipped,
                   resume, progress)
}  # fmt: skip


def make(reader: str, seed: int, number: int, bench: Bench) -> Case:
    """Input `number` of a reader in the run of a seed, its files written into the current directory."""
    rng = Random(f"{reader} {seed} {number}")
    return _FILES[reader](rng, bench) if reader in _FILES else command(rng, bench, reader)


def ran_code() -> bool:
    """Whether code out of a file has been run."""
    return Path(RAN).exists()
