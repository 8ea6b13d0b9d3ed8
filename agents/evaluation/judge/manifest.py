"""The manifest of a comparison: everything from which its table can be made again, and a check that it was.

`fabmesh-evaluate --from manifest.json` judges the same policies on the same worlds. A scenario or a file of weights
that has changed since is refused; other versions of libraries are only told of, because the numbers themselves say
whether it matters: the manifest holds a digest of every measure of every episode. A manifest may come from anyone: it
names rules, what comes with the package, and files of plain data whose hash it holds; nothing in them is executed.
"""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

import fabmesh
from fabmesh.agents import heuristics
from fabmesh.agents.evaluation import statistics
from fabmesh.agents.evaluation.judge.comparison import Comparison
from fabmesh.agents.evaluation.judge.entries import Entry
from fabmesh.agents.evaluation.judge.seeds import SeedSet, seed_set
from fabmesh.agents.heuristics import tuned
from fabmesh.agents.learning.run import shipped
from fabmesh.agents.registry import SAMPLE_SUFFIX, is_there
from fabmesh.envs.errors import FabmeshError
from fabmesh.envs.files import content_of, hash_of_file, is_folder
from fabmesh.envs.network.schema.scenario import Scenario, fingerprint
from fabmesh.envs.network.schema.yaml_tree import shown

FORMAT = 1
ORDERS_FILE = "orders.csv"  # copy of the recorded demand, beside the manifest
REMEDY = "give the manifest.json that fabmesh-evaluate --out wrote"
_PACKAGES = ("numpy", "scipy", "numba", "torch", "matplotlib", "stable-baselines3", "sb3-contrib")
_MOST_BYTES = 100_000_000  # far beyond the worlds of any comparison; stops what has no end
_SHOWN = 12  # hexadecimal digits of a hash in a message


@dataclass(frozen=True)
class Plan:
    """What a manifest says is to be judged.

    Attributes:
        scenario: Name of a shipped scenario or path of a YAML file, as typed then.
        scenario_hash: Of every number of it.
        entries: The rows.
        files: Name or path of a policy -> hash of the file it was read from.
        seeds: The worlds.
        against: Row that others are compared with.
        digest: Of all numbers.
        network_cost: Row -> mean network cost, EUR.
        versions: Of what the numbers were made with.
        orders: File of recorded demand, the copy beside the manifest; None: drawn demand.
        orders_hash: Of its bytes.
    """

    scenario: str
    scenario_hash: str
    entries: tuple[Entry, ...]
    files: Mapping[str, str]
    seeds: SeedSet
    against: str
    digest: str
    network_cost: Mapping[str, float]
    versions: Mapping[str, str]
    orders: str | None = None
    orders_hash: str | None = None


def hashes_of(entries: Sequence[Entry], scenario: Scenario) -> dict[str, str]:
    """Name or path of each policy that is read from a file -> hash of the file; to be taken before the work."""
    members = dict.fromkeys(member for entry in entries for member in entry.members)
    sources = {member: source_file(member, scenario.name) for member in members}
    return {member: hash_of_file(source) for member, source in sources.items() if source is not None}


def make_manifest(
    comparison: Comparison,
    entries: Sequence[Entry],
    hashes: Mapping[str, str],
    scenario: str,
    command: str,
    orders: str | None = None,
) -> dict[str, Any]:
    """Everything from which a comparison can be made again, as plain values.

    Args:
        comparison: The result.
        entries: Its rows as they were asked for, in the same order.
        hashes: Of the files the policies were read from, by `hashes_of`.
        scenario: The scenario as it was typed.
        command: The command line.
        orders: The file of recorded demand as it was typed; None: drawn demand.
    """
    recorded = comparison.orders
    rows = []
    for row, entry in zip(comparison.rows, entries, strict=True):
        members = [
            {"policy": member, **({"sha256": hashes[member]} if member in hashes else {})} for member in entry.members
        ]
        rows.append(
            {"row": row.name, "named": entry.name, "sees": row.sees, "members": members,
             "network_cost_eur": row.mean("network_cost")}
        )  # fmt: skip
    return {
        "format": FORMAT,
        "command": command,
        "scenario": {
            "given": scenario,
            "name": comparison.scenario.name,
            "sha256": fingerprint(comparison.scenario),
        },
        **({} if recorded is None else {"orders": {"given": orders, "file": ORDERS_FILE, "sha256": recorded.sha256}}),
        "policies": rows,
        "seeds": {
            "space": comparison.seeds.space,
            "first": comparison.seeds.first,
            "count": comparison.seeds.count,
            "worlds": comparison.seeds.seeds,
        },
        "against": comparison.against,
        "statistics": {
            "confidence": statistics.CONFIDENCE,
            "resamples": statistics.RESAMPLES,
            "bootstrap_seed": statistics.BOOTSTRAP_SEED,
        },
        "numbers_sha256": digest_of(comparison),
        "commit": commit_of(Path(fabmesh.__file__).parent),
        "versions": versions(),
        "platform": {"system": platform.system(), "machine": platform.machine()},
    }


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """What a manifest asks for is refused with the manifest's name."""
    try:
        yield
    except FabmeshError as error:
        raise FabmeshError(f"--from {path}: {error}") from None


def read_manifest(path: Path) -> Plan:
    """Read a manifest.

    Raises:
        FabmeshError: If it cannot be read or something in it is missing or of another kind.
    """
    try:
        content = json.loads(content_of(path, _MOST_BYTES, "a manifest"))
    except FabmeshError as error:
        raise FabmeshError(f"--from {error}") from None
    except OSError as error:
        raise FabmeshError(f"--from {path}: cannot be read ({error.strerror or error}); {REMEDY}") from None
    except (ValueError, RecursionError):
        raise FabmeshError(f"--from {path}: is no manifest, or is damaged (it is not JSON); {REMEDY}") from None
    try:
        if content["format"] != FORMAT:
            there = shown(content["format"])
            raise FabmeshError(f"--from {path}: a manifest of format {there}, not {FORMAT}; {REMEDY}")
        with naming(path):
            return _plan(content, path.parent)
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        what = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error).splitlines()[0]
        raise FabmeshError(f"--from {path}: is no manifest, or is damaged ({what}); {REMEDY}") from None


def _plan(content: Mapping[str, Any], folder: Path) -> Plan:
    entries: list[Entry] = []
    files: dict[str, str] = {}
    costs: dict[str, float] = {}
    for row in content["policies"]:
        members = tuple(_text(member["policy"]) for member in row["members"])
        if not members:
            raise ValueError("a row without policies")
        named = row["named"]
        entries.append(Entry(members, None if named is None else _text(named)))
        files |= {member["policy"]: _text(member["sha256"]) for member in row["members"] if "sha256" in member}
        costs[_text(row["row"])] = float(row["network_cost_eur"])
    if not entries:
        raise ValueError("no policies")
    seeds, orders = content["seeds"], content.get("orders")
    chosen = seed_set(_text(seeds["space"]), int(seeds["count"]), int(seeds["first"]))
    if seeds["worlds"] != list(chosen.seeds):
        raise ValueError("seeds: the worlds are not those of its space, first and count")
    return Plan(
        scenario=_text(content["scenario"]["given"]),
        scenario_hash=_text(content["scenario"]["sha256"]),
        entries=tuple(entries),
        files=files,
        seeds=chosen,
        against=_text(content["against"]),
        digest=_text(content["numbers_sha256"]),
        network_cost=costs,
        versions=dict(content["versions"]),
        orders=None if orders is None else str(folder / _beside(orders["file"])),
        orders_hash=None if orders is None else _text(orders["sha256"]),
    )


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{shown(value)} should be words")
    return value


def _beside(value: Any) -> str:
    """The name of a file in the folder of the manifest."""
    name = _text(value)
    if Path(name).name != name:
        raise ValueError(f"{shown(name)} should be the name of a file beside it")
    return name


def require_same_inputs(plan: Plan, scenario: Scenario, path: Path) -> None:
    """Refuse to go on if the scenario, the recorded orders or a file of weights is not the one the manifest is about.

    Raises:
        FabmeshError: With what has changed.
    """
    here = fingerprint(scenario)
    if here != plan.scenario_hash:
        raise FabmeshError(
            f"--from {path}: scenario {plan.scenario!r} has changed since: its numbers hash to {here[:_SHOWN]}, "
            f"the manifest's to {plan.scenario_hash[:_SHOWN]}; use the fabmesh version and file of the manifest"
        )
    if plan.orders is not None:
        found = hash_of_file(Path(plan.orders))
        if found != plan.orders_hash:
            raise FabmeshError(
                f"--from {path}: orders {plan.orders!r} have changed since: sha256 {found[:_SHOWN]}, "
                f"the manifest's {str(plan.orders_hash)[:_SHOWN]}"
            )
    for member in dict.fromkeys(member for entry in plan.entries for member in entry.members):
        source, wanted = source_file(member, scenario.name), plan.files.get(member)
        if source is None and wanted is None:
            continue  # rules by name
        if source is None:
            raise FabmeshError(f"--from {path}: policy {member!r}: the file it was read from is gone")
        if wanted is None:
            raise FabmeshError(
                f"--from {path}: policy {member!r}: is read from {source}, whose sha256 the manifest does not hold; "
                f"{REMEDY}"
            )
        found = hash_of_file(source)
        if found != wanted:
            raise FabmeshError(
                f"--from {path}: policy {member!r}: {source} has changed since: sha256 {found[:_SHOWN]}, "
                f"the manifest's {wanted[:_SHOWN]}"
            )


def other_versions(plan: Plan) -> list[str]:
    """What is of another version than the manifest's, in words."""
    here = versions()
    names = sorted(set(here) | set(plan.versions))
    return [
        f"{name} {here.get(name, 'missing')} (manifest: {plan.versions.get(name, 'missing')})"
        for name in names
        if here.get(name) != plan.versions.get(name)
    ]


def difference_from(plan: Plan, comparison: Comparison) -> str | None:
    """What the numbers differ by from the manifest's, in words; None if they are the same bit for bit."""
    if digest_of(comparison) == plan.digest:
        return None
    apart = {
        row.name: abs(row.mean("network_cost") - plan.network_cost[row.name]) / abs(plan.network_cost[row.name])
        for row in comparison.rows
        if plan.network_cost.get(row.name)
    }
    if not apart:
        return "none of its rows is among them"
    worst = max(apart, key=lambda name: apart[name])
    return f"the mean network cost of {worst} by {apart[worst]:.2g} of itself, of the others by no more"


def digest_of(comparison: Comparison) -> str:
    """Hash of every measure and cost line of every episode, with their names."""
    digest = hashlib.sha256()
    for row in comparison.rows:
        for table in row.runs:
            for name, values in (*table.measures.items(), *table.costs.items()):
                digest.update(f"{row.name}\x1f{name}\x1f".encode())
                digest.update(np.ascontiguousarray(values, dtype="<f8").tobytes())
    return digest.hexdigest()


def source_file(member: str, scenario: str) -> Path | None:
    """The file that makes a policy what it is, besides the code: its weights, or its tuned parameters."""
    plain = member.removesuffix(SAMPLE_SUFFIX)
    if shipped.is_shipped(plain):
        return shipped.path_of(plain)
    if plain in heuristics.NAMES:
        rules = tuned.DIRECTORY / f"{scenario}.yaml"
        return rules if plain == tuned.NAME and rules.is_file() else None
    if not is_there(plain):
        return None
    path = Path(plain)
    if is_folder(path):
        from fabmesh.agents.learning.run.checkpoint import locate  # torch takes a second to load

        return locate(path)
    return path


def versions() -> dict[str, str]:
    """Versions of fabmesh, Python and what computes the numbers."""
    found = {"fabmesh": fabmesh.__version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def commit_of(directory: Path) -> str | None:
    """The commit of a checkout, with "+changes" if files differ from it; None where there is no checkout."""

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments], cwd=directory, capture_output=True, text=True, check=True, timeout=10
        )
        return done.stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")) != directory.resolve():
            return None  # installed inside somebody else's checkout
        return git("rev-parse", "HEAD") + ("+changes" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.SubprocessError):
        return None
