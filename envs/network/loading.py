"""Scenario files into `Scenario` objects: the way in for every network, shipped or a user's own.

`load_scenario("rotterdam")`, `load_scenario("my/network.yaml")` and `load_scenario(scenario)` all return a checked
scenario. Whatever is wrong is refused in one line with file, line, key, value and what is allowed.
How a file is written is described in `docs/scenarios.md`; the schema is `envs.network.schema.scenario`.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from fabmesh.envs.errors import ScenarioError
from fabmesh.envs.network.books.scenario_sizes import check_sizes
from fabmesh.envs.network.schema.checks import Refuse, check_scenario, check_values, type_problem
from fabmesh.envs.network.schema.parameters import field_types
from fabmesh.envs.network.schema.scenario import Scenario
from fabmesh.envs.network.schema.yaml_tree import (
    DIRECTIVES,
    Items,
    Keys,
    Leaf,
    Node,
    Place,
    join,
    nearest,
    read_tree,
    refusal,
    shipped_folder,
    shown,
)

_SUFFIXES = (".yaml", ".yml")


def shipped_scenarios() -> tuple[str, ...]:
    """Names of the scenarios that come with the package."""
    return tuple(sorted(path.stem for path in shipped_folder().glob("*.yaml")))


def load_scenario(name_or_path: str | Path | Scenario) -> Scenario:
    """A checked scenario from a shipped name, a YAML file or a `Scenario`.

    Raises:
        ScenarioError: there is no such scenario, or it is wrong; the message is one line for the user.
    """
    if isinstance(name_or_path, Scenario):
        return validate(name_or_path)
    if not isinstance(name_or_path, (str, Path)):
        raise ScenarioError(f"a scenario is a name, a path or a Scenario, not {type(name_or_path).__name__}")
    path = scenario_path(name_or_path)
    places: dict[str, Place] = {}
    scenario = _build(Scenario, read_tree(path), "", places)
    return validate(scenario, source=str(path), places=places)


T = TypeVar("T")


def load_as(cls: type[T], path: Path, check: Callable[[T, Refuse], None]) -> T:
    """A dataclass of another kind from a YAML file, as strictly read and checked as a scenario.

    Args:
        cls: The dataclass; its fields are declared by `envs.network.schema.parameters`.
        path: The file; it may use `include`.
        check: Looks at what ranges do not say, and raises the error that its second argument makes of a key and a text.

    Raises:
        ScenarioError: the first thing found wrong, in one line with file, line, key and value.
    """
    places: dict[str, Place] = {}
    value: T = _build(cls, read_tree(path), "", places)
    refuse = _refuser(str(path), places)
    check_values(cls, value, refuse)
    check(value, refuse)
    return value


def scenario_path(name_or_path: str | Path) -> Path:
    """The file behind a shipped name or a path as the user gave it."""
    text = str(name_or_path)
    if isinstance(name_or_path, Path) or text.endswith(_SUFFIXES) or "/" in text or "\\" in text:
        return Path(name_or_path)
    names = shipped_scenarios()
    if text not in names:
        raise ScenarioError(f"no scenario is called {text!r}; {nearest(text, names)}, or the path of a .yaml file")
    return shipped_folder() / f"{text}.yaml"


def validate(scenario: Scenario, source: str | None = None, places: dict[str, Place] | None = None) -> Scenario:
    """Checks types and meaning of a scenario and returns it.

    Args:
        scenario: what to check.
        source: what the message names when the value has no place in a file; default the scenario's name.
        places: file and line of each key path, as recorded while loading.

    Raises:
        ScenarioError: the first thing found wrong.
    """
    refuse = _refuser(source or f"scenario {scenario.name!r}", places or {})
    check_scenario(scenario, refuse)
    check_sizes(scenario, refuse)
    return scenario


def _refuser(fallback: str, known: dict[str, Place]) -> Refuse:
    """What turns a key and what is wrong with it into an error that names the place."""

    def refuse(path: str, text: str) -> ScenarioError:
        at = path
        while at and at not in known:  # the nearest enclosing key that stands in a file
            at = at[: max(at.rfind("."), at.rfind("["), 0)]
        return typing.cast(ScenarioError, refusal(known.get(at, fallback), path, text))

    return refuse


# --- typed building --------------------------------------------------------------------------------------------


def _build(hint: Any, node: Node, path: str, places: dict[str, Place]) -> Any:
    """The value of type `hint` that `node` describes. Whole numbers serve as floats; nothing else is converted."""
    places[path] = node.place
    if isinstance(hint, types.UnionType):  # only X | None occurs in the schema
        if isinstance(node, Leaf) and node.value is None:
            return None
        (hint,) = (part for part in typing.get_args(hint) if part is not types.NoneType)
    if dataclasses.is_dataclass(hint):
        return _build_dataclass(typing.cast(type, hint), node, path, places)
    origin = typing.get_origin(hint)
    if origin is tuple:
        return _build_tuple(hint, node, path, places)
    if origin is dict:
        if not isinstance(node, Keys):
            raise refusal(node.place, path, f"must be a mapping of names to values, not {_shown(node)}")
        value_hint = typing.get_args(hint)[1]
        return {key: _build(value_hint, value, join(path, key), places) for key, value in node.entries.items()}
    return _build_scalar(hint, node, path)


def _build_dataclass(cls: type, node: Node, path: str, places: dict[str, Place]) -> Any:
    if not isinstance(node, Keys):
        raise refusal(node.place, path, f"must be a mapping with the keys of a {cls.__name__}, not {_shown(node)}")
    hints = field_types(cls)
    if not path and node.entries and hints.keys().isdisjoint(node.entries):  # another file, of which nothing is quoted
        raise refusal(node.place, "", f"is no {cls.__name__.lower()}: none of its keys is one of {', '.join(hints)}")
    allowed = list(hints) if path else [*hints, *DIRECTIVES]
    if not path and node.entries and hints.keys().isdisjoint(node.entries):  # some other file, which is not quoted
        raise refusal(node.place, "", f"is no {cls.__name__}: has none of its keys {', '.join(hints)}")
    for key in node.entries:
        if key not in hints:
            raise refusal(node.key_places[key], join(path, key), f"unknown key {shown(key)}; {nearest(key, allowed)}")
    for field in dataclasses.fields(cls):
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and field.name not in node.entries:
            raise refusal(node.place, join(path, field.name), f"is missing; a {cls.__name__} needs it")
    return cls(**{key: _build(hints[key], value, join(path, key), places) for key, value in node.entries.items()})


def _build_tuple(hint: Any, node: Node, path: str, places: dict[str, Place]) -> tuple[Any, ...]:
    if not isinstance(node, Items):
        raise refusal(node.place, path, f"must be a list, not {_shown(node)}")
    parts = typing.get_args(hint)
    if parts[-1] is Ellipsis:
        parts = (parts[0],) * len(node.items)
    elif len(parts) != len(node.items):
        raise refusal(node.place, path, f"must be a list of {len(parts)} values, not {len(node.items)}")
    return tuple(
        _build(part, item, f"{path}[{i}]", places) for i, (part, item) in enumerate(zip(parts, node.items, strict=True))
    )


def _build_scalar(hint: type, node: Node, path: str) -> str | int | float | bool:
    if not isinstance(node, Leaf):
        raise refusal(node.place, path, f"must be a single value, not {_shown(node)}")
    value = node.value
    if hint is float and type(value) is int:
        try:
            return float(value)
        except OverflowError:
            raise refusal(node.place, path, "has more than 308 digits; no number of a scenario is so large") from None
    problem = type_problem(hint, value)
    if problem is None:
        return typing.cast("str | int | float | bool", value)
    if hint is str and value is not None:
        raise refusal(node.place, path, f"YAML reads {node.text} as {_kind(value)}, but this is a name; quote it")
    if hint in (int, float) and isinstance(value, str) and _is_number(value):
        raise refusal(node.place, path, f"{shown(value)} is text in YAML 1.1; write it out, e.g. 1000 or 1.0e+3")
    raise refusal(node.place, path, f"{_shown(node)} {problem}")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _kind(value: object) -> str:
    return "true or false" if isinstance(value, bool) else "a number"


def _shown(node: Node) -> str:
    if isinstance(node, Keys):
        return "a mapping"
    if isinstance(node, Items):
        return "a list"
    return "nothing" if node.value is None else shown(node.value)
