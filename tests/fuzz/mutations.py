"""Ways to spoil a text, a table, a tree of plain values and a file of bytes; each says in words what it did.

Everything is drawn from the generator it is given, so the same generator spoils the same content in the same way.
"""

from __future__ import annotations

import copy
import json
import re
import unicodedata
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

NUMBERS = (
    "0", "-1", "1", "2", "-0.0", "0.5", "1.5", "1e-320", "1e308", "-1e308", "1e999", "inf", "-.inf", ".inf", "nan",
    ".nan", "255", "256", "32767", "32768", "65535", "40000", "100000", "1000000000", "2147483647", "2147483648",
    "4294967296", "9223372036854775807", "9223372036854775808", "18446744073709551616", "-9223372036854775809",
    "1" + "0" * 30, "9" * 5000, "1_000", "0x10", "0o17", "007", "12:30:45", "1,5", "1.000,5", "1e5", "+7", "--1", "½",
    "٣",
)  # fmt: skip
"""Numbers at the edges of what types, buffers and people can hold, and texts that only look like numbers."""
WORDS = (
    "", "null", "~", "true", "no", "[]", "{}", '""', "' '", "None", "2001-02-30", "2026-03-02", "2001-01-01T00:00:00Z",
    "idle", "pocket", "a" * 3000, "<script>alert(1)</script>", "=cmd()", "[/]", "[red]", "$$", "%s%n{0}", "../../x",
    "Delft", "de\u0301lft", "ÅΩ", "\u202edesrever", "🏭", "a\u0000b", "\u200b", "\x1b[31m", "*missing", "&a", "!x",
    "!!python/object/apply:os.system [true]", "!!python/name:os.system", "!!binary aGk=", "!!int x", "!!set {a, b}",
    "<<: {}", "@", "`", "|", ">", "- a", "a: b", "#", "'", '"', "[1, 2", "{a: 1, a: 2}", "[[1], [2]]", "1 2", "\\", ",",
)  # fmt: skip
"""Values of the wrong kind, names that something else reads as markup, and fragments of YAML, CSV and JSON."""
VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 7, 2**15, 2**31 - 1, 2**31, 2**32, 2**63 - 1, 2**63, 2**64, 10**30, -(2**63), 0.5,
    1e308, -1e308, float("inf"), float("nan"), "", "x", "a" * 3000, "\x00", "é", [], {}, [1], {"a": 1}, [[[]]],
    "1", b"x",
)  # fmt: skip
"""The same as values of Python."""

_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?(?![\w.])")
_VALUE = re.compile(r"(?<=: )[^,{}\[\]#\n]+(?=[,}\]\n]|$)|(?<=[\[{,] )[^:,{}\[\]#\n]+(?=[,}\]\n])")
_KEY = re.compile(r"[A-Za-z_]\w*(?=\s*:)")
_SHOWN = 60

Draft = tuple[str, str]
"""A text and what was done to it; the words are empty where there was nothing to do it to."""


def shown(text: object) -> str:
    """A value in words, in one printable line of bounded length."""
    line = ascii(text)
    return line if len(line) <= _SHOWN else f"{line[:_SHOWN]}... ({len(line)} characters)"


# --- texts ---------------------------------------------------------------------------------------------------------


def _swap(text: str, match: re.Match[str], new: str, what: str) -> Draft:
    line = text.count("\n", 0, match.start()) + 1
    return text[: match.start()] + new + text[match.end() :], f"line {line}: {what} {shown(match[0])} -> {shown(new)}"


def _any(rng: Random, pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    found = list(pattern.finditer(text))
    return rng.choice(found) if found else None


def number(rng: Random, text: str) -> Draft:
    """Another number in the place of one: from the edges, or a little or a lot off."""
    match = _any(rng, _NUMBER, text)
    if match is None:
        return text, ""
    if rng.random() < 0.5:
        return _swap(text, match, rng.choice(NUMBERS), "number")
    whole = match[0].lstrip("-").isdigit()
    was = int(match[0]) if whole else float(match[0])
    times = rng.choice((0, 2, 3, 10, 100, 1000, 10**5, 10**8))
    new = rng.choice((was * times, was * times, was * times, was + 1, -was, was // 2 if whole else was / 2, was + 0.5))
    return _swap(text, match, repr(new), "number")


def value(rng: Random, text: str) -> Draft:
    """Something else in the place of a value."""
    match = _any(rng, _VALUE, text)
    return (text, "") if match is None else _swap(text, match, rng.choice(WORDS), "value")


def key(rng: Random, text: str) -> Draft:
    """A key misspelt, or taken from elsewhere in the text."""
    match = _any(rng, _KEY, text)
    if match is None:
        return text, ""
    old = match[0]
    at = rng.randrange(len(old))
    other = _any(rng, _KEY, text)
    assert other is not None
    news = (
        old[:at] + old[at + 1 :],
        old[:at] + old[at] + old[at:],
        old.upper(),
        other[0],
        '""',
        "1",
        "?",
        "<<",
        "null",
    )
    return _swap(text, match, rng.choice(news), "key")


def lines(rng: Random, text: str) -> Draft:
    """Lines lost, doubled, swapped, moved to the right or left."""
    rows = text.split("\n")
    i, j = rng.randrange(len(rows)), rng.randrange(len(rows))
    done = rng.choice(("lost", "doubled", "swapped with", "moved right", "moved left", "tab before", "until"))
    if done == "lost":
        del rows[i]
    elif done == "doubled":
        rows.insert(i, rows[i])
    elif done == "swapped with":
        rows[i], rows[j] = rows[j], rows[i]
    elif done == "moved right":
        rows[i] = "  " + rows[i]
    elif done == "moved left":
        rows[i] = rows[i].removeprefix("  ")
    elif done == "tab before":
        rows[i] = "\t" + rows[i]
    else:
        first, last = sorted((i, j))
        del rows[first:last]
    return "\n".join(rows), f"line {i + 1} {done} {j + 1}"


def structure(rng: Random, text: str) -> Draft:
    """What YAML can do: anchors, aliases, merges, tags, recursion, depth, several documents."""
    match = _any(rng, _VALUE, text)
    if match is None:
        return text, ""
    depth = rng.choice((30, 3000))
    laughs = "&l0 [x]" if depth == 30 else "[&l0 [x, x], " + ", ".join(
        f"&l{i} [*l{i - 1}, *l{i - 1}, *l{i - 1}, *l{i - 1}]" for i in range(1, 25)) + "]"  # fmt: skip
    old = match[0]
    news = (
        f"&a {old}", "&a [*a]", "&a {b: *a}", "[" * depth + "]" * depth, "{a: " * depth + "1" + "}" * depth, laughs,
        f"!!str {old}", f"!!int {old}", f"!!float {old}", f"!!timestamp {old}", f"!thing {old}", f"!!omap [{old}]",
        f"{old}\n---\n", f"{old}\n...\n%YAML 9.9\n---", f"!!map {{{old}: {old}}}", "{<<: [{a: 1}, {b: 2}]}", "? a",
    )  # fmt: skip
    return _swap(text, match, rng.choice(news), "structure")


def characters(rng: Random, text: str) -> Draft:
    """A character too many, too few or another; a line of any length."""
    at = rng.randrange(len(text) + 1)
    new = rng.choice((*"\"':,{}[]#&*!|>%@`-=;\t\0\\", "\r", "\u2028", "\ufeff", "\ud800", "é", "x" * 100_000, ""))
    cut = rng.choice((0, 0, 1, 5))
    return text[:at] + new + text[at + cut :], f"at {at}: {cut} characters -> {shown(new)}"


def cut(rng: Random, text: str) -> Draft:
    """The end is missing."""
    at = rng.randrange(len(text) + 1)
    return text[:at], f"cut off after {at} characters"


def normal_form(rng: Random, text: str) -> Draft:
    """The same text to the eye in another normal form, with an accent in it."""
    match = _any(rng, re.compile(r"[eaou](?=\w)"), text)
    if match is None:
        return text, ""
    form = rng.choice(("NFC", "NFD", "NFKD"))
    return unicodedata.normalize(form, text[: match.end()] + "\u0301" + text[match.end() :]), f"an accent, in {form}"


def cell(rng: Random, text: str) -> Draft:
    """Another value in a cell of a table, a cell lost or doubled."""
    rows = [row.split(",") for row in text.split("\n")]
    i = rng.randrange(len(rows)) if rng.random() < 0.85 else 0
    j = rng.randrange(len(rows[i]))
    done = rng.choice(("number", "number", "word", "lost", "doubled", "swapped", "spaced", "quoted"))
    old = rows[i][j]
    if done in ("number", "word"):
        rows[i][j] = rng.choice(NUMBERS if done == "number" else WORDS)
    elif done == "lost":
        del rows[i][j]
    elif done == "doubled":
        rows[i].insert(j, old)
    elif done == "swapped":
        other = rng.randrange(len(rows[i]))
        rows[i][j], rows[i][other] = rows[i][other], old
    else:
        rows[i][j] = f" {old} " if done == "spaced" else f'"{old}'
    new = rows[i][j] if j < len(rows[i]) else ""
    return "\n".join(",".join(row) for row in rows), f"line {i + 1}, cell {j + 1} {done}: {shown(old)} -> {shown(new)}"


Spoiler = Callable[[Random, str], Draft]
YAML: tuple[Spoiler, ...] = (*(number,) * 8, *(value,) * 4, *(key,) * 3, *(lines,) * 3, *(structure,) * 2,
                             characters, cut, normal_form)  # fmt: skip
TABLE: tuple[Spoiler, ...] = (*(cell,) * 9, *(number,) * 2, *(lines,) * 3, characters, cut, normal_form)
JSON: tuple[Spoiler, ...] = (*(number,) * 2, *(value,) * 2, key, lines, characters, cut)


def encoded(rng: Random, text: str) -> tuple[bytes, str]:
    """A text as bytes: mostly UTF-8, at times what spreadsheets and other systems write."""
    plain = text.encode("utf-8", "surrogatepass")
    if rng.random() < 0.93:
        return plain, ""
    forms: dict[str, Callable[[], bytes]] = {
        "utf-16": lambda: text.encode("utf-16", "surrogatepass"),
        "utf-32": lambda: text.encode("utf-32", "surrogatepass"),
        "latin-1": lambda: b"# caf\xe9\n" + text.encode("latin-1", "replace"),
        "a byte order mark": lambda: b"\xef\xbb\xbf" + plain,
        "CRLF": lambda: plain.replace(b"\n", b"\r\n"),
        "CR": lambda: plain.replace(b"\n", b"\r"),
        "NUL bytes": lambda: plain.replace(b" ", b"\0", 3),
        "no bytes": lambda: b"",
        "spaces alone": lambda: b"  \n \n",
        "a broken byte": lambda: plain[: len(plain) // 2] + b"\xff" + plain[len(plain) // 2 :],
    }
    name = rng.choice(tuple(forms))
    return forms[name](), name


def spoiled_text(rng: Random, text: str, spoilers: tuple[Spoiler, ...]) -> tuple[bytes, str]:
    """A text after one to three changes, as bytes, and what was done."""
    done = []
    for _ in range(rng.choice((1, 1, 1, 1, 2, 3))):
        text, what = rng.choice(spoilers)(rng, text)
        done.append(what)
    data, what = encoded(rng, text)
    return data, "; ".join(filter(None, (*done, what))) or "as it is"


# --- bytes ---------------------------------------------------------------------------------------------------------


def spoiled_bytes(rng: Random, data: bytes, other: bytes = b"") -> tuple[bytes, str]:
    """A file after damage: flipped bits, a cut, a run of zeros, a piece of another file, a piece twice."""
    at, n = rng.randrange(len(data) or 1), len(data)
    done = rng.choice(("bits", "bits", "bits", "cut", "zeros", "splice", "twice", "lost", "head"))
    if done == "bits":
        changed = bytearray(data)
        for _ in range(rng.choice((1, 1, 3, 40))):
            at = rng.randrange(n or 1)
            changed[at] ^= 1 << rng.randrange(8)
        return bytes(changed), f"bits flipped, the last at {at} of {n}"
    size = min(rng.choice((1, 16, 512, 4096)), n - at)
    if done == "cut":
        return data[:at], f"cut off after {at} of {n} bytes"
    if done == "head":
        return data[at:], f"begins at byte {at} of {n}"
    if done == "lost":
        return data[:at] + data[at + size :], f"{size} bytes lost at {at} of {n}"
    if done == "twice":
        return data[: at + size] + data[at:], f"{size} bytes twice at {at} of {n}"
    piece = bytes(size) if done == "zeros" else other[at : at + size]
    return data[:at] + piece + data[at + size :], f"{done}: {size} bytes at {at} of {n}"


# --- trees of plain values -----------------------------------------------------------------------------------------


def _places(tree: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of everything in a tree of dicts and lists."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for name, item in items:
        yield (*above, name)
        yield from _places(item, (*above, name))


def spoiled_tree(rng: Random, tree: Any, values: tuple[Any, ...] = VALUES) -> tuple[Any, str]:
    """A copy of a tree with one thing lost, replaced, renamed, doubled or put a level deeper, and what was done."""
    tree = copy.deepcopy(tree)
    places = list(_places(tree))
    if not places:
        return rng.choice(values), "all replaced"
    shallow = [place for place in places if len(place) <= rng.choice((1, 2, 3))]
    *above, last = rng.choice(shallow if shallow and rng.random() < 0.5 else places)
    inside = tree
    for name in above:
        inside = inside[name]
    old, done = inside[last], rng.choice(("lost", "replaced", "replaced", "replaced", "renamed", "deeper", "doubled"))
    where = ".".join(map(str, (*above, last)))
    if done == "lost":
        del inside[last]
        return tree, f"{where} lost"
    if done == "renamed" and isinstance(inside, dict):
        inside[f"{last}_"] = inside.pop(last)
        return tree, f"{where} renamed"
    if done == "doubled" and isinstance(inside, list):
        inside.append(old)
        return tree, f"{where} doubled"
    new = [old] if done == "deeper" else rng.choice(values)
    inside[last] = new
    kind = f"{type(new).__name__} " if not isinstance(new, (int, float, str, type(None))) else ""
    return tree, f"{where} -> {kind}{shown(new)}"


def spoiled_json(rng: Random, text: str) -> tuple[bytes, str]:
    """A JSON file after changes to its tree, or to its text."""
    if rng.random() < 0.3:
        return spoiled_text(rng, text, JSON)
    tree, what = spoiled_tree(rng, json.loads(text), tuple(v for v in VALUES if not isinstance(v, bytes)))
    return json.dumps(tree, indent=1).encode("utf-8", "surrogatepass"), what
