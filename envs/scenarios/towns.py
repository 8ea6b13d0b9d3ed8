"""A table of towns from a CSV file, checked strictly: what is wrong is refused with line, column, value and remedy."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path

from fabmesh.envs.errors import FabmeshError
from fabmesh.envs.files import content_of
from fabmesh.envs.network.schema.parameters import parameters, within
from fabmesh.envs.network.schema.scenario import Town
from fabmesh.envs.network.schema.yaml_tree import composed, nearest, shown

COLUMNS = ("name", "latitude", "longitude", "population")
_DEGREES = {"latitude": 90.0, "longitude": 180.0}
_PEOPLE = parameters(Town)["population"].interval
_MOST_BYTES = 16_000_000  # far beyond the towns of any region; stops what has no end
_MOST_DIGITS = 10  # of a population: more people than there are is a slip


def read_towns(path: Path) -> tuple[Town, ...]:
    """Towns of a CSV file with the columns name, latitude, longitude and population, in any order.

    Args:
        path: UTF-8 text, comma-separated, the names of the columns in the first line; empty lines are skipped.

    Returns:
        The towns in the order of the file, at least one.

    Raises:
        FabmeshError: The first thing found wrong, in one line.
    """
    try:
        text = content_of(path, _MOST_BYTES, "a table of towns").decode("utf-8-sig")
        reader = csv.reader(io.StringIO(text, newline=""), skipinitialspace=True, strict=True)
        rows = [(reader.line_num, row) for row in reader if row]
    except FileNotFoundError:
        raise FabmeshError(f"{path}: no such file; give a CSV file with the columns {', '.join(COLUMNS)}") from None
    except UnicodeDecodeError as error:
        raise FabmeshError(f"{path}: is not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    except csv.Error as error:
        raise FabmeshError(f"{path}:{reader.line_num}: is not comma-separated text: {error}") from None
    except OSError as error:
        raise FabmeshError(f"{path}: cannot be read ({error.strerror or error})") from error
    if not rows:
        raise FabmeshError(f"{path}: is empty; the first line names the columns: {','.join(COLUMNS)}")
    (line, header), *body = rows
    _check_header(header, f"{path}:{line}")
    if not body:
        raise FabmeshError(f"{path}: has no towns below its header; at least one is needed")
    towns: list[Town] = []
    seen: dict[str, int] = {}
    spots: dict[tuple[float, float], str] = {}
    for line, row in body:
        town = _town(header, row, f"{path}:{line}")
        if town.name in seen:
            raise FabmeshError(
                f"{path}:{line}: name: {town.name!r} is used twice, first in line {seen[town.name]}; "
                "towns need names of their own"
            )
        spot = town.latitude, town.longitude
        if spot in spots:
            raise FabmeshError(
                f"{path}:{line}: {town.name!r} stands where {spots[spot]!r} does, at {spot[0]:g}, {spot[1]:g}; "
                "join the two or correct one"
            )
        seen[town.name], spots[spot] = line, town.name
        towns.append(town)
    return tuple(towns)


def check_name(name: str, where: str) -> None:
    """Refuse what cannot be a name in a scenario.

    Raises:
        FabmeshError: It is empty, has spaces around it or characters that cannot be seen.
    """
    if not name.strip() or name != name.strip() or not name.isprintable():
        raise FabmeshError(f"{where}: {name!r} is not a name: it needs visible characters and no space around them")


def _check_header(header: Sequence[str], where: str) -> None:
    if len(header) == 1 and any(mark in header[0] for mark in ";\t"):
        raise FabmeshError(f"{where}: columns must be separated by commas")
    if set(COLUMNS).isdisjoint(header):  # some other file, of which nothing is quoted
        raise FabmeshError(f"{where}: names none of the columns {', '.join(COLUMNS)}; the first line must name them")
    for name in header:
        if name not in COLUMNS:
            raise FabmeshError(f"{where}: unknown column {shown(name)}; {nearest(name, COLUMNS)}; remove or rename it")
        if header.count(name) > 1:
            raise FabmeshError(f"{where}: the column {name!r} is given twice; keep one")
    for name in COLUMNS:
        if name not in header:
            raise FabmeshError(f"{where}: the column {name!r} is missing; needed: {', '.join(COLUMNS)}")


def _town(header: Sequence[str], row: Sequence[str], where: str) -> Town:
    if len(row) != len(header):
        raise FabmeshError(
            f"{where}: has {len(row)} values for {len(header)} columns; quote values that contain a comma"
        )
    cell = dict(zip(header, row, strict=True))
    name = composed(cell["name"])
    check_name(name, f"{where}: name")
    return Town(
        name, _degrees(cell, "latitude", where), _degrees(cell, "longitude", where), _people(cell["population"], where)
    )


def _degrees(cell: dict[str, str], column: str, where: str) -> float:
    text, most = cell[column], _DEGREES[column]
    try:
        value = math.nan if "_" in text else float(text)
    except ValueError:
        value = math.nan
    if not abs(value) <= most:
        raise FabmeshError(
            f"{where}: {column}: {shown(text)} is not from -{most:g} to {most:g}; write decimal degrees such as 51.9225"
        )
    return value


def _people(text: str, where: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS and within(int(text), _PEOPLE)):
        raise FabmeshError(
            f"{where}: population: {shown(text)} is not a whole number in {_PEOPLE}; write people without separators, "
            "such as 868135"
        )
    return int(text)
