"""Variants of the learner and of the network, by name, as `configs/ablations.yaml` lists them."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from fabmesh.agents.learning.config import ConfigError, TrainConfig
from fabmesh.agents.learning.settings import settings_of
from fabmesh.envs.errors import FabmeshError
from fabmesh.envs.network.loading import validate
from fabmesh.envs.network.scenario import Scenario

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
    place: str
    train: tuple[yaml.Node, ...] = ()
    scenario: tuple[Mapping[str, Any], ...] = ()
    policy: str | None = None
    of: str | None = None
    sampled: bool = False

    def settings(self, base: TrainConfig, path: Path) -> TrainConfig:
        """The settings of its training.

        Raises:
            ConfigError: If one is unknown or impossible; with file and line.
        """
        try:
            for node in self.train:
                base = settings_of(node, path, base)
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
            raise FabmeshError(f"{source}.{key}: {_unknown(key, names)}")
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
    try:
        root = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except OSError as error:
        raise FabmeshError(f"{path}: cannot be read ({error.strerror}); give the path of a YAML file") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise FabmeshError(f"{path}: not valid YAML ({str(error).splitlines()[0]})") from None
    if not isinstance(root, yaml.MappingNode):
        raise FabmeshError(f"{path}: must hold `name: {{about: ..., train: ...}}` entries")
    found: dict[str, Variant] = {}
    for name, node, place in _entries(root, path):
        if name in found:
            raise FabmeshError(f"{place}: variant {name} is given twice; keep one")
        found[name] = _variant(name, node, place, path, found)
    return found


def chosen(variants: Mapping[str, Variant], names: Iterable[str], path: Path) -> list[Variant]:
    """The variants asked for, all if none are.

    Raises:
        FabmeshError: If there is no such variant.
    """
    asked = list(dict.fromkeys(names)) or list(variants)
    for name in asked:
        if name not in variants:
            raise FabmeshError(f"--variants {name}: {path}: {_unknown(name, list(variants))}")
    return [variants[name] for name in asked]


def _entries(node: yaml.MappingNode, path: Path) -> Iterable[tuple[str, yaml.Node, str]]:
    for key, value in node.value:
        yield str(key.value), value, f"{path} line {key.start_mark.line + 1}"


_KEYS = {
    "about": (str, "text"),
    "like": (str, "the name of a variant"),
    "train": (dict, "a mapping of settings"),
    "scenario": (dict, "a mapping of keys of the scenario"),
    "policy": (str, "the name of a policy"),
    "of": (str, "the name of a variant"),
    "sampled": (bool, "true or false"),
}


def _variant(name: str, node: yaml.Node, place: str, path: Path, above: Mapping[str, Variant]) -> Variant:
    if not isinstance(node, yaml.MappingNode):
        raise FabmeshError(f"{place}: variant {name}: must be a mapping with {', '.join(_KEYS)}")
    values: dict[str, Any] = {}
    for key, value, where in _entries(node, path):
        if key not in _KEYS:
            raise FabmeshError(f"{where}: variant {name}: {_unknown(key, list(_KEYS))}")
        plain = yaml.SafeLoader("").construct_object(value, deep=True)
        kind, wanted = _KEYS[key]
        if not isinstance(plain, kind):
            raise FabmeshError(f"{where}: variant {name}: {key}: {plain!r} is not {wanted}")
        values[key] = (value,) if key == "train" else (plain,) if key == "scenario" else plain
    if "about" not in values:
        raise FabmeshError(f"{place}: variant {name}: about is missing: say in a sentence what is otherwise")
    if sum(key in values for key in ("train", "policy", "of")) != 1:
        raise FabmeshError(
            f"{place}: variant {name}: needs one of train (settings), policy (a rule) or of (a trained variant)"
        )
    for key in ("like", "of"):
        trained = [other for other, variant in above.items() if variant.train]
        if values.get(key) not in (None, *trained):
            raise FabmeshError(f"{place}: variant {name}: {key}: {_unknown(values[key], trained)}")
    if "of" in values and not {"like", "scenario"}.isdisjoint(values):
        raise FabmeshError(f"{place}: variant {name}: of: plays as {values['of']} does; leave like and scenario out")
    base = above.get(values.pop("like", values.get("of")))
    if base is not None:
        values["scenario"] = base.scenario + values.get("scenario", ())
        values["train"] = base.train + values["train"] if "train" in values else ()
    return Variant(name=name, place=place, **values)


def _unknown(name: str, allowed: list[str]) -> str:
    near = difflib.get_close_matches(name, allowed, n=1)
    return f"{name!r} is unknown; " + (f"did you mean {near[0]!r}?" if near else f"there are {', '.join(allowed)}")
