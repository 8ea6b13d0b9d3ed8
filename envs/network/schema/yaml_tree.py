"""YAML files as trees in which every value knows the file and line it came from.

Every YAML file is read here (`parse`), without ever constructing objects (`yaml.compose` with the safe loader). Of
scenarios and stress tests `read_tree` also merges `include`d files and applies `select`; typed building happens in
`envs.network.loading`.

`include: [a.yaml, b.yaml]`  other files, relative to this one, merged in this order; then this file on top. What
                             begins with `fabmesh:` is relative to the scenarios that come with the package.
`select: {products: [P01]}`  of what was included, keep only these entries, in this order.

Merging: mappings key by key; entries of the top-level lists by name (`town` for hubs), so that a file can
change one figure of one product; every other value, deeper lists included, is replaced as a whole.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib import resources
from itertools import accumulate
from pathlib import Path
from typing import Any

import yaml

from fabmesh.envs.errors import FabmeshError, ScenarioError
from fabmesh.envs.files import content_of
from fabmesh.envs.names import shown as printable

_TAG = "tag:yaml.org,2002:"
_PLAIN_INT = re.compile(r"[-+]?(0|[1-9][0-9_]*)")
_QUOTED = re.compile(r"'(\\?.|<[^']*>)?'|'[^']*'")  # by PyYAML: a character, a <token>, or text of the file
_MAX_NODES = 100_000  # far beyond any scenario; stops files that multiply themselves through aliases
_MAX_FILES = 100  # that one file includes, directly and through others
_MAX_BYTES = 16_000_000  # far beyond so many values; stops what has no end
_MAX_DIGITS = 18  # of a whole number: 64 bits hold them all
_MAX_KEY = 200  # characters of a key
_MAX_NAMES = 300  # characters of a list of what is allowed
_MAX_SHOWN = 60  # characters of a value in a message
DIRECTIVES = ("include", "select")
SHIPPED = "fabmesh:"  # an included file of the package, wherever that is installed


@dataclass(frozen=True)
class Place:
    """Where a value was written."""

    source: str
    line: int  # counted from 1

    def __str__(self) -> str:
        return f"{self.source}:{self.line}"


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


def refusal(place: Place | str, key: str, text: str, error: type[FabmeshError] = ScenarioError) -> FabmeshError:
    """The one line in which every YAML file is refused: file, line, key, what is wrong."""
    return error(printable(": ".join(part for part in (str(place), key, " ".join(text.split())) if part)))


def shown(value: object) -> str:
    """A value of a file in a message, as Python writes it; a long one is cut."""
    return shortened(repr(value))


def shortened(text: str) -> str:
    """Text in a message; a long one is cut."""
    return text if len(text) <= _MAX_SHOWN else f"{text[: _MAX_SHOWN - 3]}..."


def composed(name: str) -> str:
    """A name as it is compared: Unicode can write "ü" as one character or as two, which nobody can see (NFC)."""
    return unicodedata.normalize("NFC", name)


def nearest(word: str, allowed: Iterable[str]) -> str:
    """What is allowed instead of `word`, the most similar name first; of very many names the first ones."""
    names = [str(name) for name in allowed]
    by_folded = {name.casefold(): name for name in names}
    close = get_close_matches(word.casefold(), by_folded, n=1, cutoff=0.5)
    hint = f"did you mean {by_folded[close[0]]!r}? " if close else ""
    shown_names = names[: max(1, sum(length <= _MAX_NAMES for length in accumulate(len(name) + 2 for name in names)))]
    more = f" and {len(names) - len(shown_names)} more" if len(shown_names) < len(names) else ""
    return f"{hint}allowed: {', '.join(map(shortened, shown_names)) or 'none'}{more}"


@cache
def shipped_folder() -> Path:
    """The scenarios that come with the package."""
    return Path(str(resources.files("fabmesh").joinpath("configs", "scenarios")))


def read_tree(path: Path) -> Keys:
    """The content of a scenario file with its includes merged in.

    Raises:
        ScenarioError: the file or one it includes cannot be read, is not plain YAML, or repeats a key.
    """
    return _read(path, (), {})


def _read(path: Path, including: tuple[Path, ...], read: dict[Path, Keys]) -> Keys:
    """A file and what it includes, from `read` if it has been read before: files may include one another a lot."""
    here = path.resolve()
    if here in read:
        return read[here]
    tree = parse(path)
    if tree is None:
        raise refusal(shown_path(path), "", "is empty")
    if not isinstance(tree, Keys):
        raise refusal(tree.place, "", "must be a mapping of keys to values")
    merged = Keys({}, {}, tree.place)
    for place, target in _included_files(tree, path):
        chain = (*including, here)
        if target.resolve() in chain:
            names = " -> ".join(step.name for step in (*chain, target))
            raise refusal(place, "include", f"{target.name!r} includes itself: {names}")
        if not os.path.isfile(target):  # noqa: PTH113 Path's raises where a name is too long
            raise refusal(place, "include", f"no such file: {target}")
        if len(read) + len(chain) > _MAX_FILES:
            raise refusal(place, "include", f"more than {_MAX_FILES} files include one another; join some of them")
        merged = _merge(merged, _read(target, chain, read), top=True)
    if "select" in tree.entries:
        merged = _select(merged, tree.entries["select"])
    own = {key: value for key, value in tree.entries.items() if key not in DIRECTIVES}
    read[here] = _merge(merged, Keys(own, tree.key_places, tree.place), top=True)
    return read[here]


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


def parse(path: Path, error: type[FabmeshError] = ScenarioError) -> Node | None:
    """The content of a YAML file as it stands; None if there is none.

    Args:
        path: The file.
        error: What is raised.

    Raises:
        FabmeshError: Of that kind: the file cannot be read, is not plain YAML, or repeats a key.
    """
    source = shown_path(path)
    text = _text_of(path, source, error)
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        return None if root is None else _Converter(source, error).convert(root, "")
    except yaml.MarkedYAMLError as wrong:
        line = wrong.problem_mark.line + 1 if wrong.problem_mark else 1
        said = str(wrong.problem or wrong.context)
        problem = _QUOTED.sub(lambda found: found[0] if found[1] else "...", said)  # any file may be given: no quotes
        raise refusal(Place(source, line), "", f"is not valid YAML: {problem}", error) from None
    except yaml.reader.ReaderError as wrong:
        place, sign = Place(source, text.count("\n", 0, wrong.position) + 1), f"{wrong.character:#06x}"
        raise refusal(place, "", f"is not valid YAML: has the character {sign}; save it as text", error) from None
    except RecursionError:
        raise refusal(source, "", "is nested too deeply", error) from None
    except FabmeshError:
        raise
    except (yaml.YAMLError, ValueError, OverflowError):  # the last two: an escape such as "\UFFFFFFFF"
        raise refusal(source, "", "is not valid YAML", error) from None


def _text_of(path: Path, source: str, error: type[FabmeshError]) -> str:
    """The text of a file."""
    try:
        content = content_of(path, _MAX_BYTES, "a YAML file", error)
    except FileNotFoundError:
        raise refusal(source, "", "no such file; give the path of a YAML file", error) from None
    except (OSError, ValueError) as wrong:  # ValueError: what no file can be called
        reason = wrong.strerror if isinstance(wrong, OSError) else wrong
        raise refusal(source, "", f"cannot be read ({reason}); give the path of a YAML file", error) from None
    try:
        return content.decode("utf-8-sig")  # some editors put a byte-order mark first
    except UnicodeDecodeError as wrong:
        raise refusal(source, "", f"is not UTF-8 text (byte {wrong.start}); save it as UTF-8", error) from None


def plain(node: Node) -> Any:
    """The value of a tree as Python's mappings, lists and scalars."""
    if isinstance(node, Keys):
        return {key: plain(value) for key, value in node.entries.items()}
    return [plain(item) for item in node.items] if isinstance(node, Items) else node.value


def shown_path(path: Path) -> str:
    """The path as a user would type it: relative to the working directory where it lies below it."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except (ValueError, OSError, RuntimeError):  # the last of a loop of links, up to Python 3.12
        return str(path)


class _Converter:
    """Turns composed YAML nodes into trees, refusing what no file of ours has a use for."""

    def __init__(self, source: str, error: type[FabmeshError]) -> None:
        self.source, self.error = source, error
        self.count = 0
        self.open: set[int] = set()

    def refusal(self, place: Place, key: str, text: str) -> FabmeshError:
        return refusal(place, key, text, self.error)

    def convert(self, node: yaml.Node, key: str) -> Node:
        place = Place(self.source, node.start_mark.line + 1)
        self.count += 1
        if self.count > _MAX_NODES:
            raise self.refusal(place, key, f"the file unfolds to more than {_MAX_NODES} values")
        if isinstance(node, yaml.ScalarNode):
            return Leaf(self._scalar(node, place, key), node.value, place)
        if id(node) in self.open:
            raise self.refusal(place, key, "the alias refers to a value that contains it")
        self.open.add(id(node))
        try:
            if isinstance(node, yaml.SequenceNode):
                self._plain(node, "seq", place, key)
                return Items([self.convert(item, f"{key}[{i}]") for i, item in enumerate(node.value)], place)
            if isinstance(node, yaml.MappingNode):
                self._plain(node, "map", place, key)
                return self._mapping(node, place, key)
            raise self.refusal(place, key, "is neither a value, a list nor a mapping")
        finally:
            self.open.discard(id(node))

    def _plain(self, node: yaml.Node, kind: str, place: Place, key: str) -> None:
        if node.tag != _TAG + kind:
            raise self.refusal(place, key, f"the YAML tag {shown(node.tag)} is not allowed; leave it out")

    def _mapping(self, node: yaml.MappingNode, place: Place, key: str) -> Keys:
        result = Keys({}, {}, place)
        for key_node, value_node in node.value:
            key_place = Place(self.source, key_node.start_mark.line + 1)
            name = self._key_name(key_node, key_place, key)
            if name in result.entries:
                first = result.key_places[name].line
                raise self.refusal(
                    key_place, join(key, name), f"the key is given twice, first in line {first}; keep one"
                )
            result.entries[name] = self.convert(value_node, join(key, name))
            result.key_places[name] = key_place
        return result

    def _key_name(self, node: yaml.Node, place: Place, key: str) -> str:
        if not isinstance(node, yaml.ScalarNode):
            raise self.refusal(place, key, "a key must be a word")
        if node.tag == _TAG + "merge":
            raise self.refusal(place, key, "the merge key '<<' is not supported; use include, or write the keys out")
        value = self._scalar(node, place, key)
        if not isinstance(value, str):
            written = shortened(node.value)
            raise self.refusal(place, key, f"YAML reads the key {written} as {_kind(value)}; quote it: '{written}'")
        if len(value) > _MAX_KEY:
            raise self.refusal(place, key, f"a key must be a word, not {len(value)} characters")
        return value

    def _scalar(self, node: yaml.ScalarNode, place: Place, key: str) -> str | int | float | bool | None:
        text = node.value
        kind = node.tag.removeprefix(_TAG)
        if kind == "str":
            return composed(text)
        if kind == "null":
            return None
        if kind == "bool":
            return text.lower() in ("yes", "true", "on")
        if kind in ("int", "float"):
            return self._number(text, kind, place, key)
        written = shortened(text)
        if kind == "timestamp":
            raise self.refusal(place, key, f"YAML reads {written} as a date; quote it: '{written}'")
        raise self.refusal(place, key, f"the YAML tag {shown(node.tag)} is not allowed; leave it out")

    def _number(self, text: str, kind: str, place: Place, key: str) -> int | float:
        digits, written = text.replace("_", "").lower(), shortened(text)
        if kind == "int" and not _PLAIN_INT.fullmatch(text):
            wrong = f"{written} is octal, hexadecimal or base 60 in YAML 1.1; write a decimal number"
            raise self.refusal(place, key, wrong)
        if kind == "int" and len(digits.lstrip("+-")) > _MAX_DIGITS:
            raise self.refusal(place, key, f"{written} has more than {_MAX_DIGITS} digits; give a smaller number")
        try:
            return int(digits) if kind == "int" else float(digits.replace(".inf", "inf").replace(".nan", "nan"))
        except ValueError:
            raise self.refusal(place, key, f"{written} is base 60 in YAML 1.1; write a decimal number") from None


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
