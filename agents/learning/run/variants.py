"""Variants of the learner and of the network, by name, as `configs/ablations.yaml` lists them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from fabmesh.agents.learning.config import ConfigError, TrainConfig
from fabmesh.agents.learning.run.settings import settings_of
from fabmesh.envs.errors import FabmeshError
from fabmesh.envs.network.loading import validate
from fabmesh.envs.network.schema.scenario import Scenario
from fabmesh.envs.network.schema.yaml_tree import Keys, Node, Place, nearest, parse, plain, refusal, shown

SHIPPED = Path(str(resources.files("fabmesh"))) / "configs" / "ablations.yaml"


@dataclass(frozen=True)
class Variant:
    """One thing that is done otherwise.

    Attributes:
        name: Name in tables.
        about: What is otherwise, in a sentence.
        place: File and line, for messages.
        train: Settings of the training that differ, as the file has them, the last wins; (): nothing is trained.
        scenario: Keys of the scenario that differ, nested as in its file; the last wins.
        policy: The policy that is judged without training.
        of: The variant whose trained policies are judged.
        sampled: Sampled in place of most likely actions.
    """

    name: str
    about: str
    place: Place
    train: tuple[Node, ...] = ()
    scenario: tuple[Mapping[str, Any], ...] = ()
    policy: str | None = None
    of: str | None = None
    sampled: bool = False

    def settings(self, base: TrainConfig) -> TrainConfig:
        """The settings of its training.

        Raises:
            ConfigError: If one is unknown or impossible; with file and line.
        """
        try:
            for node in self.train:
                base = settings_of(node, base)
        except ConfigError as error:
            raise ConfigError(f"{error} (variant {self.name})", error.key) from None
        return base

    def network(self, scenario: Scenario) -> Scenario:
        """The network it is trained and judged in.

        Raises:
            FabmeshError: If a key does not exist or a value cannot be; with file and line.
        """
        source = f"{self.place}: variant {self.name}: scenario"
        for changes in self.scenario:
            scenario = validate(_changed(scenario, changes, source), source=source)
        return scenario


def _changed(thing: Any, changes: Mapping[str, Any], source: str) -> Any:
    """A dataclass with other values; mappings go into what is nested."""
    names = [item.name for item in dataclasses.fields(thing)]
    values: dict[str, Any] = {}
    for key, value in changes.items():
        if key not in names:
            raise FabmeshError(f"{source}.{key}: {key!r} is unknown; {nearest(key, names)}")
        before = getattr(thing, key)
        if dataclasses.is_dataclass(before) and isinstance(value, Mapping):
            values[key] = _changed(before, value, f"{source}.{key}")
        elif isinstance(before, dict) and isinstance(value, Mapping):
            values[key] = {**before, **value}
        else:
            values[key] = tuple(value) if isinstance(value, list) else value
    return dataclasses.replace(thing, **values)


def read_variants(path: Path) -> dict[str, Variant]:
    """The variants of a file by name, in its order.

    Raises:
        FabmeshError: In one line with the file, the line and what is allowed.
    """
    root = parse(path, FabmeshError)
    if not isinstance(root, Keys):
        raise FabmeshError(f"{path}: must hold `name: {{about: ..., train: ...}}` entries")
    found: dict[str, Variant] = {}
    for name, node in root.entries.items():
        found[name] = _variant(name, node, root.key_places[name], found)
    return found


def chosen(variants: Mapping[str, Variant], names: Iterable[str], path: Path) -> list[Variant]:
    """The variants asked for, all if none are.

    Raises:
        FabmeshError: If there is no such variant.
    """
    asked = list(dict.fromkeys(names)) or list(variants)
    for name in asked:
        if name not in variants:
            raise FabmeshError(f"--variants {name}: {path}: {name!r} is unknown; {nearest(name, variants)}")
    return [variants[name] for name in asked]


_KEYS = {
    "about": (str, "text"),
    "like": (str, "the name of a variant"),
    "train": (dict, "a mapping of settings"),
    "scenario": (dict, "a mapping of keys of the scenario"),
    "policy": (str, "the name of a policy"),
    "of": (str, "the name of a variant"),
    "sampled": (bool, "true or false"),
}


def _variant(name: str, node: Node, place: Place, above: Mapping[str, Variant]) -> Variant:
    def wrong(text: str, at: Place = place) -> FabmeshError:
        return refusal(at, f"variant {name}", text, FabmeshError)

    if not isinstance(node, Keys):
        raise wrong(f"must be a mapping with {', '.join(_KEYS)}")
    values: dict[str, Any] = {}
    for key, value in node.entries.items():
        at = node.key_places[key]
        if key not in _KEYS:
            raise wrong(f"{key!r} is unknown; {nearest(key, _KEYS)}", at)
        kind, wanted = _KEYS[key]
        if not isinstance(plain(value), kind):
            raise wrong(f"{key}: {shown(plain(value))} is not {wanted}", at)
        values[key] = (value,) if key == "train" else (plain(value),) if key == "scenario" else plain(value)
    if "about" not in values:
        raise wrong("about is missing: say in a sentence what is otherwise")
    if sum(key in values for key in ("train", "policy", "of")) != 1:
        raise wrong("needs one of train (settings), policy (a rule) or of (a trained variant)")
    for key in ("like", "of"):
        trained = [other for other, variant in above.items() if variant.train]
        if values.get(key) not in (None, *trained):
            raise wrong(f"{key}: {values[key]!r} is unknown; {nearest(values[key], trained)}")
    if "of" in values and not {"like", "scenario"}.isdisjoint(values):
        raise wrong(f"of: plays as {values['of']} does; leave like and scenario out")
    base = above.get(values.pop("like", values.get("of")))
    if base is not None:
        values["scenario"] = base.scenario + values.get("scenario", ())
        values["train"] = base.train + values["train"] if "train" in values else ()
    return Variant(name=name, place=place, **values)
