"""Reads settings: YAML files and command-line flags into `TrainConfig`, refusing what is wrong in one line."""

from __future__ import annotations

import hashlib
import json
import shlex
import types
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, is_dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import tyro
import yaml

from fabmesh.agents.learning.config import (
    FILE_KEYS,
    SECTIONS,
    ConfigError,
    TrainConfig,
    as_flat,
    defaults_of,
    setting_names,
    validate,
)
from fabmesh.envs.network.schema.scenario import Scenario
from fabmesh.envs.network.schema.yaml_tree import Keys, Node, Place, nearest, plain, refusal, shown
from fabmesh.envs.network.schema.yaml_tree import parse as parse_yaml

OF_A_SITTING = ("resume", "run_dir", "config")
"""Settings that say where a run is kept and where its settings came from, not what is learned."""
MAY_CHANGE_ON_RESUME = ("total_steps", "max_minutes", "torch_threads", "env_threads", "device", *OF_A_SITTING)
"""Settings that a resumed run may give anew; all others are those of the run."""
RUN_KEYS = ("scenario", "algo", "seed", "init_from")
"""Settings of one run, kept with it, that no file holds."""


def read_settings(path: Path, base: TrainConfig | None = None) -> TrainConfig:
    """The settings of a YAML file over those of `base` (default: the defaults).

    Raises:
        ConfigError: One line with the file, the line, the key and what is allowed.
    """
    base = TrainConfig() if base is None else base
    root = parse_yaml(path, ConfigError)
    return base if root is None else settings_of(root, base)


def settings_of(node: Node, base: TrainConfig) -> TrainConfig:
    """The settings of a YAML mapping over those of `base`.

    Raises:
        ConfigError: One line with the file, the line, the key and what is allowed.
    """
    places: dict[str, Place] = {}
    config: TrainConfig = _fill(base, node, "", places)
    try:
        validate(config)
    except ConfigError as error:
        place = places.get(error.key) or node.place.source
        raise _refusal(place, "", str(error), error.key) from None
    return config


def _fill(instance: Any, node: Node, section: str, places: dict[str, Place]) -> Any:
    """A copy of the dataclass `instance` with the values of a YAML mapping."""
    if not isinstance(node, Keys):
        raise _refusal(node.place, "", f"{section or 'the file'} must hold `key: value` lines", section)
    allowed = [*SECTIONS, *FILE_KEYS] if section == "" else [f.name for f in fields(instance)]
    hints = get_type_hints(type(instance))
    values: dict[str, Any] = {}
    for key, value_node in node.entries.items():
        places[key] = place = node.key_places[key]
        if key not in allowed:
            raise _refusal(place, "", _unknown(key, section, allowed), key)
        if is_dataclass(getattr(instance, key)):
            values[key] = _fill(getattr(instance, key), value_node, key, places)
            continue
        value = plain(value_node)
        try:
            values[key] = _convert(value, hints[key])
        except ConfigError as error:
            raise _refusal(place, key, f"{shown(value)} is not possible; allowed: {error}", key) from None
    return replace(instance, **values)


def _refusal(place: Place | str, key: str, text: str, about: str) -> ConfigError:
    """The error about a setting in a file."""
    return ConfigError(str(refusal(place, key, text)), about)


def _unknown(key: str, section: str, allowed: Sequence[str]) -> str:
    """What to say of a key that does not exist here."""
    home = setting_names().get(key)
    if home and home != section:
        return f'"{key}" belongs under "{home}:"'
    if home == "" and key not in FILE_KEYS:
        return f'"{key}" belongs to one run: give it as a flag, --{key.replace("_", "-")}'
    return f"unknown key {shown(key)}; {nearest(key, allowed)}"


def _convert(value: Any, hint: Any) -> Any:
    """A YAML value as the type of its field; the error says what is allowed."""
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        if value is None:
            return None
        return _convert(value, next(option for option in get_args(hint) if option is not type(None)))
    if origin is Literal:
        if value not in get_args(hint):
            raise ConfigError(", ".join(map(str, get_args(hint))))
        return value
    if origin is tuple:
        kinds = get_args(hint)
        if not isinstance(value, list) or (kinds[-1] is not Ellipsis and len(value) != len(kinds)):
            raise ConfigError("a list, [a, b]")
        return tuple(_convert(item, kinds[0]) for item in value)
    if origin is dict:
        if not isinstance(value, dict):
            raise ConfigError("names with values, {name: value}")
        return {str(name): _convert(item, get_args(hint)[1]) for name, item in value.items()}
    if hint is float and isinstance(value, str):
        try:
            return float(value)  # YAML 1.1 reads 3e-4 as text
        except ValueError:
            raise ConfigError("a number") from None
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise ConfigError({int: "a whole number", float: "a number", bool: "true or false", str: "text"}[hint])
    return value


def shipped_settings(algo: str, scenario: str) -> Path | None:
    """The shipped configuration file of an algorithm and scenario, or else the algorithm's for any scenario, if any."""
    folder = Path(str(resources.files("fabmesh"))) / "configs" / "training"
    return next((p for p in (folder / f"{algo}_{scenario}.yaml", folder / f"{algo}.yaml") if p.is_file()), None)


def to_yaml(config: TrainConfig) -> str:
    """The settings as a file that `read_settings` reads; what belongs to one run stands in the comment above."""
    run = {name: getattr(config, name) for name in RUN_KEYS if getattr(config, name) is not None}
    head = "# " + ", ".join(f"{name} {value}" for name, value in run.items()) + "\n"
    values = {key: getattr(config, key) for key in FILE_KEYS}
    values |= {section: asdict(getattr(config, section)) for section in SECTIONS}
    plain = {k: {n: list(x) if isinstance(x, tuple) else x for n, x in v.items()} if isinstance(v, dict) else v
             for k, v in values.items()}  # fmt: skip
    return head + yaml.safe_dump(plain, sort_keys=False)


def from_plain(values: dict[str, Any]) -> TrainConfig:
    """The settings stored in a checkpoint (`as_plain`).

    A setting that came later is at its default, which leaves things as they were before it. One that is unknown may
    mean anything, and is refused.

    Raises:
        ConfigError: Naming the setting.
    """
    config = TrainConfig()
    names = setting_names()
    for name in values:
        if name not in names:
            raise ConfigError(f"the checkpoint has the setting {name}: it comes from another version", name)
    for section in SECTIONS:
        part = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items() if names.get(k) == section}
        config = replace(config, **{section: replace(getattr(config, section), **part)})
    return replace(config, **{k: values[k] for k in (*RUN_KEYS, *FILE_KEYS) if k in values})


PLACES = ("run_dir", "config", "resume", "torch_threads", "env_threads", "device")
"""Settings that do not change what is learned."""


def settings_hash(config: TrainConfig, scenario: Scenario) -> str:
    """Short hash of all that decides what is learned: the settings and every number of the scenario."""
    settings = {key: value for key, value in as_plain(config).items() if key not in PLACES}
    text = json.dumps(settings, sort_keys=True, default=str) + repr(scenario)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def as_plain(config: TrainConfig) -> dict[str, Any]:
    """All settings as plain numbers, texts and lists, by name."""
    plain = {}
    for name, value in as_flat(config).items():
        plain[name] = list(value) if isinstance(value, tuple) else str(value) if isinstance(value, Path) else value
    return plain


def as_flags(values: Mapping[str, Any]) -> list[str]:
    """Settings by name as the flags that give them."""
    flags = []
    for name, value in values.items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            flags.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            flags += [f"--{flag}", *map(str, value if isinstance(value, tuple) else (value,))]
    return flags


def command_of(config: TrainConfig) -> str:
    """The shortest command that trains with these settings: what the shipped files and the defaults do not say."""
    start = ["--scenario", config.scenario, "--algo", config.algo, "--seed", str(config.seed)]
    told = as_flat(parse(start))
    others = {name: value for name, value in as_flat(config).items() if value != told[name]}
    for name in OF_A_SITTING:
        others.pop(name, None)
    return shlex.join(["fabmesh-train", *start, *as_flags(others)])


def _peek(arguments: Sequence[str], name: str) -> str | None:
    """The value of a flag before the full parse, which needs the file's values as defaults."""
    spellings = {f"--{name}", f"--{name.replace('-', '_')}"}
    found = None
    for position, argument in enumerate(arguments):
        flag, equals, value = argument.partition("=")
        if flag in spellings:
            found = value if equals else (arguments[position + 1] if position + 1 < len(arguments) else None)
    return found


def parse(arguments: Sequence[str], stored: TrainConfig | None = None, checked: bool = True) -> TrainConfig:
    """The settings of a command line.

    Args:
        arguments: Without the program's name.
        stored: The settings of the run to go on with; they replace files and defaults.
        checked: False: only to see what is meant; values may be impossible together.

    Raises:
        ConfigError: An impossible value, in one line.
        SystemExit: With 2 for flags that do not exist (tyro prints which are alike), with 0 for --help.
    """
    base = defaults_of(_peek(arguments, "algo") or "") if stored is None else stored
    scenario = _peek(arguments, "scenario") or base.scenario
    algo = _peek(arguments, "algo") or base.algo
    for flag in ("run-dir", "config"):
        if _peek(arguments, flag) == "":  # which would be the working directory
            raise ConfigError(f"--{flag}: is empty; give a path")
    file = _peek(arguments, "config")
    chosen = Path(file) if file is not None else shipped_settings(algo, Path(scenario).stem)
    if stored is None and chosen is not None and not {"-h", "--help"} & set(arguments):
        base = read_settings(chosen, base)
    config = tyro.cli(
        TrainConfig, default=base, args=list(arguments), prog="train.py", config=(tyro.conf.OmitArgPrefixes,)
    )
    try:
        if checked:
            validate(config)
    except ConfigError as error:
        raise ConfigError(f"--{str(error).replace('_', '-', error.key.count('_'))}", error.key) from None
    if stored is not None:
        changed = first_change(stored, config)
        if changed is not None:
            name, before, after = changed
            flag = f"--{name.replace('_', '-')}"
            raise ConfigError(
                f"{flag}: the run was started with {before!r}, not {after!r}; "
                f"leave {flag} out, or start a new run in another --run-dir",
                name,
            )
    return config


def first_change(stored: TrainConfig, config: TrainConfig) -> tuple[str, Any, Any] | None:
    """The first setting in which a run that goes on differs from its start: name, value then, value now."""
    before, after = as_flat(stored), as_flat(config)
    names = (name for name in before if name not in MAY_CHANGE_ON_RESUME and before[name] != after[name])
    return next(((name, before[name], after[name]) for name in names), None)
