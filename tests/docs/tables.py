"""Tables of the documents that follow from the code: `make docs` writes them, a test holds them to it.

A page says with `<!-- table: NAME -->` where the table of that name begins, and with `<!-- end -->` where it ends. For
another table add a name and what makes its lines to `TABLES`.
"""

from __future__ import annotations

import dataclasses
import re
import typing
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

import fabmesh
from fabmesh.envs.network.schema import scenario as schema
from fabmesh.envs.network.schema.parameters import field_types, parameters

PAGES = sorted((Path(fabmesh.__file__).parent / "docs").glob("*.md"))
_PLACE = re.compile(r"(<!-- table: (.+?) -->\n).*?(<!-- end -->)", re.DOTALL)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [_line(head), "|" + "---|" * len(head), *map(_line, rows)]
    return "".join(f"{line}\n" for line in lines)


def _line(cells: Iterable[str]) -> str:
    return "|" + "".join(f" {cell} |" if cell else " |" for cell in cells)


def table_of_parameters(cls: type) -> str:
    """Every key of a class of the scenario's schema."""
    hints = field_types(cls)
    rows = []
    for field in dataclasses.fields(cls):
        said = parameters(cls)[field.name]
        allowed = said.interval or ", ".join(said.choices)
        unit = said.unit or _section(hints[field.name])
        rows.append((f"`{field.name}`", unit, _default(field), allowed, said.words))
    return table(("key", "unit", "default", "allowed", "meaning"), rows)


def _section(hint: object) -> str:
    """What stands for a unit where the value is a section or a list of them."""
    if dataclasses.is_dataclass(hint):
        return f"`{typing.cast(type, hint).__name__}`"
    parts = [part for part in typing.get_args(hint) if dataclasses.is_dataclass(part)]
    return f"list of {_section(parts[0])}" if parts else ""


def _default(field: dataclasses.Field[object]) -> str:
    value = field.default
    if value is dataclasses.MISSING:
        return "required" if field.default_factory is dataclasses.MISSING else "{}"
    if value is None:
        return "none"
    if dataclasses.is_dataclass(value):
        return "see below"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(f'{item:g}' for item in value)}]"
    return value if isinstance(value, str) else f"{value:g}"


TABLES: dict[str, Callable[[], str]] = {
    f"parameters of {name}": partial(table_of_parameters, cls)
    for name, cls in vars(schema).items()
    if dataclasses.is_dataclass(cls)
}


def names_in(text: str) -> list[str]:
    """Names of the tables that a page has a place for."""
    return [name for _, name, _ in _PLACE.findall(text)]


def with_tables(text: str) -> str:
    """A page with its tables as the code has them now."""
    return _PLACE.sub(lambda place: place[1] + TABLES[place[2]]() + place[3], text)


if __name__ == "__main__":
    for page in PAGES:
        old = page.read_text(encoding="utf-8")
        new = with_tables(old)
        if new != old:
            page.write_text(new, encoding="utf-8")
            print(f"docs/{page.name}")
