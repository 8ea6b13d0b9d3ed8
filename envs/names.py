r"""Names as every output shows them: as they are, and never as something that the output would act on.

Names come from files and command lines: of policies, scenarios, towns, products. Whatever is in one, a terminal only
displays it, a spreadsheet does not compute it, and Markdown, HTML and figures show its letters.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from contextlib import suppress

_MARKS = re.compile(r"([\\`*\[\]<>|~$])")
_EMPHASIS = re.compile(r"(?<![^\W_])_|_(?![^\W_])")  # an underscore between letters stands for itself
_FORMULA = re.compile(r"'?[=+\-@\t\r\n＝＋－＠]")  # noqa: RUF001 full-width ones, too, are computed
_NUMBERS = re.compile(r"[-+]?\d+(\.\d*)?([eE][-+]?\d+)?( to [-+]?\d+)?")
_PLAIN = {"±": "+-"}  # what tables hold that some terminals have no letter for
_MOST_BYTES = 100  # of a name as part of a file name: file systems take 255 for the whole


def shown(text: str) -> str:
    r"""Text as one line that a terminal only displays: `\x1b`, `\n`, `\udce9` for what cannot be seen."""
    if text.isprintable():
        return text
    with suppress(UnicodeError):  # what came in as bytes, under a locale that has no letters for them
        text = text.encode("utf-8", "surrogateescape").decode()
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)


def encodable(text: str, encoding: str) -> str:
    """Text with an escape for each letter that an encoding does not have."""
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        for letter, plain in _PLAIN.items():
            text = text.replace(letter, plain)
        return text.encode(encoding, "backslashreplace").decode(encoding)
    return text


def in_markdown(text: str) -> str:
    """Text as one line of Markdown that shows its letters, in HTML made of it as well."""
    marked = _MARKS.sub(r"\\\1", shown(text).replace("&", "&amp;"))
    return _EMPHASIS.sub(r"\\_", marked)


def in_csv(text: str) -> str:
    """Text as a cell that no spreadsheet computes: an apostrophe before what it would take for a formula."""
    return f"'{text}" if _FORMULA.match(text) and not _NUMBERS.fullmatch(text) else text


def out_of_csv(cell: str) -> str:
    """The text that `in_csv` was given."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell[1:]) else cell


def in_figure(text: str) -> str:
    """Text as Matplotlib shows it: a dollar begins no formula, and no underscore hides it from the legend."""
    escaped = shown(text).replace("$", r"\$")
    return f" {escaped}" if escaped.startswith("_") else escaped


def distinct(names: Iterable[str]) -> list[str]:
    """Names that are shown and can be told apart: of two that would look the same the second is numbered."""
    taken: set[str] = set()
    found = []
    for given in map(shown, names):
        name, number = given, 1
        while (key := unicodedata.normalize("NFC", name)) in taken:
            number += 1
            name = f"{given} ({number})"
        taken.add(key)
        found.append(name)
    return found


def file_names(names: Iterable[str], taken: Iterable[str] = ()) -> list[str]:
    """Names as parts of file names, distinct where capitals do not count and from those that are taken.

    Args:
        names: The names.
        taken: File names that stand for something else.
    """
    used = {name.casefold() for name in taken}
    found = []
    for given in names:
        plain = re.sub(r"[^\w.+-]+", "_", given)
        plain = re.sub(r"^\.+", "_", plain.encode()[:_MOST_BYTES].decode(errors="ignore")) or "_"
        name, number = plain, 1
        while name.casefold() in used:
            number += 1
            name = f"{plain}_{number}"
        used.add(name.casefold())
        found.append(name)
    return found
