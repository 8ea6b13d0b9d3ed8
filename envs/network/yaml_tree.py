"""Scenario files as trees in which every value knows the file and line it came from.

Reads YAML without ever constructing objects (`yaml.compose` with the safe loader), merges `include`d files
and applies `select`. Typed building happens in `envs.network.loading`.

`include: [a.yaml, b.yaml]`  other files, relative to this one, merged in this order; then this file on top. What
                             begins with `fabmesh:` is relative to the scenarios that come with the package.
`select: {products: [P01]}`  of what was included, keep only these entries, in this order.

Merging: mappings key by key; entries of the top-level lists by name (`town` for hubs), so that a file can
change one figure of one product; every other value, deeper lists included, is replaced as a whole.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib import resources
from pathlib import Path

import yaml

from fabmesh.envs.errors import ScenarioError

_TAG = "tag:yaml.org,2002:"
_PLAIN_INT = re.compile(r"[-+]?(0|[1-9][0-9_]*)")
_MAX_NODES = 100_000  # far beyond any scenario; stops files that multiply themselves through aliases
DIRECTIVES = ("include", "select")
SHIPPED = "fabmesh:"  # an included file of the package, wherever that is installed


@dataclass(frozen=True)
class Place:
    """Where a value was written."""

    source: str
    line: int  # counted from 1


@dataclass(frozen=True)
class Leaf:
    """A scalar: its value and the text it was written as."""

    value: str | int | float | bool | None
    text: str
    place: Place


@dataclass(frozen=True)
class Items:
    """A list."""

    items: list[Node]
    place: Place


@dataclass(frozen=True)
class Keys:
    """A mapping. `key_places` says where each key stands, for values that cannot say it better."""

    entries: dict[str, Node]
    key_places: dict[str, Place]
    place: Place


Node = Leaf | Items | Keys


def refusal(place: Place | str, key: str, text: str) -> ScenarioError:
    """The one line in which every scenario file is refused: file, line, key, what is wrong."""
    where = place if isinstance(place, str) else f"{place.source}:{place.line}"
    return ScenarioError(": ".join(part for part in (where, key, " ".join(text.split())) if part))


def composed(name: str) -> str:
    """A name as it is compared: Unicode can write "ü" as one character or as two, which nobody can see (NFC)."""
    return unicodedata.normalize("NFC", name)


def nearest(word: str, allowed: Iterable[str]) -> str:
    """What is allowed instead of `word`, the most similar name first."""
    names = [str(name) for name in allowed]
    by_folded = {name.casefold(): name for name in names}
    close = get_close_matches(word.casefold(), by_folded, n=1, cutoff=0.5)
    hint = f"did you mean {by_folded[close[0]]!r}? " if close else ""
    return f"{hint}allowed: {', '.join(names) or 'none'}"


@cache
def shipped_folder() -> Path:
    """The scenarios that come with the package."""
    return Path(str(resources.files("fabmesh").joinpath("configs", "scenarios")))


def read_tree(path: Path) -> Keys:
    """The content of a scenario file with its includes merged in.

    Raises:
        ScenarioError: the file or one it includes cannot be read, is not plain YAML, or repeats a key.
    """
    return _read(path, ())


def _read(path: Path, including: tuple[Path, ...]) -> Keys:
    tree = _parse(path)
    merged = Keys({}, {}, tree.place)
    for place, target in _included_files(tree, path):
        chain = (*including, path.resolve())
        if target.resolve() in chain:
            names = " -> ".join(step.name for step in (*chain, target))
            raise refusal(place, "include", f"{target.name!r} includes itself: {names}")
        if not target.is_file():
            raise refusal(place, "include", f"no such file: {target}")
        merged = _merge(merged, _read(target, chain), top=True)
    if "select" in tree.entries:
        merged = _select(merged, tree.entries["select"])
    own = {key: value for key, value in tree.entries.items() if key not in DIRECTIVES}
    return _merge(merged, Keys(own, tree.key_places, tree.place), top=True)


def _included_files(tree: Keys, path: Path) -> list[tuple[Place, Path]]:
    node = tree.entries.get("include")
    if node is None:
        return []
    entries = node.items if isinstance(node, Items) else [node]
    files = []
    for entry in entries:
        if not isinstance(entry, Leaf) or not isinstance(entry.value, str):
            raise refusal(entry.place, "include", "must be a list of file names, relative to this file")
        shipped = entry.text.startswith(SHIPPED)
        folder = shipped_folder() if shipped else path.parent
        files.append((entry.place, folder / entry.text.removeprefix(SHIPPED if shipped else "")))
    return files


# --- parsing ---------------------------------------------------------------------------------------------------


def _parse(path: Path) -> Keys:
    source = shown_path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise refusal(source, "", "no such file") from None
    except UnicodeDecodeError as error:
        raise refusal(source, "", f"is not UTF-8 text (byte {error.start})") from None
    except OSError as error:
        raise refusal(source, "", f"cannot be read: {error.strerror}") from None
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        tree = None if root is None else _Converter(source).convert(root, "")
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise refusal(Place(source, line), "", f"is not valid YAML: {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise refusal(source, "", f"is not valid YAML: {error}") from None
    except RecursionError:
        raise refusal(source, "", "is nested too deeply") from None
    if tree is None:
        raise refusal(source, "", "is empty; a scenario needs at least name, towns, hubs, depots and a catalogue")
    if not isinstance(tree, Keys):
        raise refusal(tree.place, "", "must be a mapping of keys such as name, towns, hubs")
    return tree


def shown_path(path: Path) -> str:
    """The path as a user would type it: relative to the working directory where it lies below it."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except (ValueError, OSError):
        return str(path)


class _Converter:
    """Turns composed YAML nodes into trees, refusing what a scenario file has no use for."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.count = 0
        self.open: set[int] = set()

    def convert(self, node: yaml.Node, key: str) -> Node:
        place = Place(self.source, node.start_mark.line + 1)
        self.count += 1
        if self.count > _MAX_NODES:
            raise refusal(place, key, f"the file unfolds to more than {_MAX_NODES} values")
        if isinstance(node, yaml.ScalarNode):
            return Leaf(_scalar(node, place, key), node.value, place)
        if id(node) in self.open:
            raise refusal(place, key, "the alias refers to a value that contains it")
        self.open.add(id(node))
        try:
            if isinstance(node, yaml.SequenceNode):
                self._plain(node, "seq", place, key)
                return Items([self.convert(item, f"{key}[{i}]") for i, item in enumerate(node.value)], place)
            if isinstance(node, yaml.MappingNode):
                self._plain(node, "map", place, key)
                return self._mapping(node, place, key)
            raise refusal(place, key, "is neither a value, a list nor a mapping")
        finally:
            self.open.discard(id(node))

    def _plain(self, node: yaml.Node, kind: str, place: Place, key: str) -> None:
        if node.tag != _TAG + kind:
            raise refusal(place, key, f"the YAML tag {node.tag!r} is not allowed in a scenario file")

    def _mapping(self, node: yaml.MappingNode, place: Place, key: str) -> Keys:
        result = Keys({}, {}, place)
        for key_node, value_node in node.value:
            key_place = Place(self.source, key_node.start_mark.line + 1)
            name = self._key_name(key_node, key_place, key)
            if name in result.entries:
                first = result.key_places[name].line
                raise refusal(key_place, join(key, name), f"the key is given twice, first in line {first}")
            result.entries[name] = self.convert(value_node, join(key, name))
            result.key_places[name] = key_place
        return result

    def _key_name(self, node: yaml.Node, place: Place, key: str) -> str:
        if not isinstance(node, yaml.ScalarNode):
            raise refusal(place, key, "a key must be a word")
        if node.tag == _TAG + "merge":
            raise refusal(place, key, "the merge key '<<' is not supported; use include")
        value = _scalar(node, place, key)
        if not isinstance(value, str):
            raise refusal(place, key, f"YAML reads the key {node.value} as {_kind(value)}; quote it: '{node.value}'")
        return value


def _scalar(node: yaml.ScalarNode, place: Place, key: str) -> str | int | float | bool | None:
    text = node.value
    kind = node.tag.removeprefix(_TAG)
    if kind == "str":
        return composed(text)
    if kind == "null":
        return None
    if kind == "bool":
        return text.lower() in ("yes", "true", "on")
    if kind == "int":
        if not _PLAIN_INT.fullmatch(text):
            raise refusal(place, key, f"{text} is octal, hexadecimal or base 60 in YAML 1.1; write a decimal number")
        return int(text.replace("_", ""))
    if kind == "float":
        try:
            return float(text.replace("_", "").lower().replace(".inf", "inf").replace(".nan", "nan"))
        except ValueError:
            raise refusal(place, key, f"{text} is base 60 in YAML 1.1; write a decimal number") from None
    if kind == "timestamp":
        raise refusal(place, key, f"YAML reads {text} as a date; quote it: '{text}'")
    raise refusal(place, key, f"the YAML tag {node.tag!r} is not allowed in a scenario file")


def _kind(value: object) -> str:
    names = {bool: "true or false", int: "a whole number", float: "a number", type(None): "nothing"}
    return names.get(type(value), "text")


def join(path: str, key: str) -> str:
    """The path of `key` inside `path`, as users read it: `products[3].bom`."""
    return f"{path}.{key}" if path else key


# --- merging ---------------------------------------------------------------------------------------------------


def _merge(under: Keys, over: Keys, top: bool = False) -> Keys:
    entries, places = dict(under.entries), dict(under.key_places)
    for key, value in over.entries.items():
        old = entries.get(key)
        if isinstance(old, Keys) and isinstance(value, Keys):
            entries[key] = _merge(old, value)
        elif top and isinstance(old, Items) and isinstance(value, Items):
            entries[key] = _merge_named(old, value, key)
        else:
            entries[key] = value
        places[key] = over.key_places[key]
    return Keys(entries, places, over.place)


def _merge_named(under: Items, over: Items, section: str) -> Items:
    """Entries of the same name are merged, new ones appended; a list of things without names is replaced."""
    if not all(_name_of(item) for item in (*under.items, *over.items)):
        return over
    merged = list(under.items)
    position = {_name_of(item): i for i, item in enumerate(merged)}
    first_line: dict[str | None, int] = {}
    for item in over.items:
        name = _name_of(item)
        if name in first_line:  # would otherwise vanish in the merge
            raise refusal(item.place, section, f"{name!r} is given twice, first in line {first_line[name]}")
        first_line[name] = item.place.line
        at = position.get(name)
        if at is None:
            merged.append(item)
            continue
        old = merged[at]
        merged[at] = _merge(old, item) if isinstance(old, Keys) and isinstance(item, Keys) else item
    return Items(merged, over.place)


def _name_of(node: Node) -> str | None:
    if not isinstance(node, Keys):
        return None
    name = node.entries.get("name", node.entries.get("town"))
    return name.value if isinstance(name, Leaf) and isinstance(name.value, str) else None


def _select(tree: Keys, wanted: Node) -> Keys:
    if not isinstance(wanted, Keys):
        raise refusal(wanted.place, "select", "must be a mapping such as {products: [P01, P02]}")
    entries = dict(tree.entries)
    for section, names in wanted.entries.items():
        path = join("select", section)
        pool = entries.get(section)
        if not isinstance(pool, Items):
            lists = [key for key, value in entries.items() if isinstance(value, Items)]
            place = wanted.key_places[section]
            raise refusal(place, path, f"{section!r} is no list of the included files; {nearest(section, lists)}")
        if not isinstance(names, Items):
            raise refusal(names.place, path, "must be a list of names")
        by_name = {_name_of(item): item for item in pool.items}
        entries[section] = Items([_chosen(leaf, by_name, path) for leaf in names.items], names.place)
    return Keys(entries, tree.key_places, tree.place)


def _chosen(leaf: Node, by_name: dict[str | None, Node], path: str) -> Node:
    if not isinstance(leaf, Leaf) or not isinstance(leaf.value, str):
        raise refusal(leaf.place, path, "must be a list of names")
    if leaf.value not in by_name:
        raise refusal(leaf.place, path, f"{leaf.value!r} is not included; {nearest(leaf.value, map(str, by_name))}")
    return by_name[leaf.value]
