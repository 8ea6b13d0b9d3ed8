"""Trained policies that come with the package: `shipped:NAME` is one of `configs/checkpoints/checkpoints.yaml`.

`python -m fabmesh.agents.commands.ship RUN` makes an entry of a run. Reading one needs no PyTorch until its policy is
made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

import fabmesh
from fabmesh.agents.policy import Policy
from fabmesh.envs.errors import FabmeshError
from fabmesh.envs.files import hash_of_file, write_whole
from fabmesh.envs.network.schema.scenario import Scenario, fingerprint
from fabmesh.envs.network.schema.yaml_tree import Keys, parse, plain

PREFIX = "shipped:"
DIRECTORY = Path(fabmesh.__file__).parent / "configs" / "checkpoints"
INDEX = "checkpoints.yaml"
FIRST = 8
"""Validation worlds whose cost an entry holds, so that a test can check in seconds that it belongs to the code."""
_SHOWN = 12  # hexadecimal digits of a hash in a message

HEAD = """\
# Trained policies that come with the package: `fabmesh-evaluate --policies shipped:NAME`.
# `python -m fabmesh.agents.commands.ship RUN` writes this file; its keys: fabmesh.agents.learning.run.shipped.
"""


@dataclass(frozen=True)
class Shipped:
    """A trained policy that comes with the package.

    Attributes:
        file: Name of the checkpoint, beside the index.
        sha256: Of its bytes.
        scenario: Name of the scenario it was trained on.
        scenario_sha256: Of every number of that scenario.
        trained: How: `command` (with the settings files of the commit), `commit` (either null = not known), `steps`.
        validation: What it costs on the worlds it was chosen on: `episodes`, `network_cost_eur`, `against`, `saving`
            (share of the opponent's network cost), `saving_low` (lower end of its 95 % interval), and
            `first_network_cost_eur`, on the `FIRST` of them.
    """

    file: str
    sha256: str
    scenario: str
    scenario_sha256: str
    trained: dict[str, Any]
    validation: dict[str, Any]


def is_shipped(name: str) -> bool:
    """Whether a name means a policy that comes with the package."""
    return name.startswith(PREFIX)


def index() -> dict[str, Shipped]:
    """All of them by name.

    Raises:
        FabmeshError: If the index cannot be read, or an entry is not what it should be.
    """
    path = DIRECTORY / INDEX
    content = parse(path, FabmeshError) if path.exists() else None
    if content is None:
        return {}
    if not isinstance(content, Keys):
        raise FabmeshError(f"{path}: must hold an entry for each policy, NAME: {{file: NAME.pt, sha256: ...}}")
    return {name: _entry(path, name, plain(values)) for name, values in content.entries.items()}


def _entry(path: Path, name: str, values: Any) -> Shipped:
    kinds = {"file": str, "sha256": str, "scenario": str, "scenario_sha256": str, "trained": dict, "validation": dict}
    if not isinstance(values, dict) or set(values) != set(kinds):
        raise FabmeshError(f"{path}: {name}: must have {', '.join(kinds)}, and nothing else")
    for key, kind in kinds.items():
        if not isinstance(values[key], kind):
            raise FabmeshError(
                f"{path}: {name}.{key} = {values[key]!r}: must be {'text' if kind is str else 'a table'}"
            )
    if Path(values["file"]).name != values["file"]:
        raise FabmeshError(f"{path}: {name}.file = {values['file']!r}: must be the name of a file beside it")
    return Shipped(**values)


def write(entries: Mapping[str, Shipped]) -> None:
    """Put entries by name in the place of the index."""
    text = HEAD + yaml.safe_dump({name: asdict(entries[name]) for name in sorted(entries)}, sort_keys=False, width=120)
    write_whole(DIRECTORY / INDEX, lambda draft: draft.write_text(text, encoding="utf-8"))


def names() -> tuple[str, ...]:
    """What there is, as a user types it."""
    return tuple(f"{PREFIX}{name}" for name in index())


def find(name: str) -> Shipped:
    """The entry of `shipped:NAME`.

    Raises:
        FabmeshError: If there is none, listing what there is.
    """
    found = index().get(name.removeprefix(PREFIX))
    if found is None:
        there = f"there are {', '.join(names())}" if names() else "there are none in this version"
        raise FabmeshError(f"policy {name!r}: no trained policy of that name comes with the package; {there}")
    return found


def path_of(name: str) -> Path:
    """The checkpoint of `shipped:NAME`, after its bytes have been checked.

    Raises:
        FabmeshError: If there is no such policy, or its file is not the one the index is about.
    """
    entry = find(name)
    path = DIRECTORY / entry.file
    found = hash_of_file(path)
    if found != entry.sha256:
        raise FabmeshError(
            f"policy {name!r}: {path} is not the file that was shipped: its sha256 is {found[:_SHOWN]}, "
            f"{INDEX} says {entry.sha256[:_SHOWN]}; install fabmesh again"
        )
    return path


def make(name: str, scenario: Scenario, sample: bool = False) -> Policy:
    """The policy `shipped:NAME`.

    One that was trained for other numbers under the same name says so in its name, which every table shows.

    Args:
        name: As a user types it.
        scenario: The network it is to act in.
        sample: Draw the actions instead of taking the most likely ones.

    Raises:
        FabmeshError: If there is no such policy, its file has changed, or it does not fit the scenario.
    """
    entry, path = find(name), path_of(name)
    from fabmesh.agents.learning.run.checkpoint import load_policy  # torch takes a second to load

    changed = entry.scenario == scenario.name and entry.scenario_sha256 != fingerprint(scenario)
    return load_policy(path, scenario, sample, f"{name}, trained for another {scenario.name}" if changed else name)
