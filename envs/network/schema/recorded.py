"""Recorded demand: an order book in a CSV file in place of the synthetic streams of orders.

`read_orders("orders.csv", scenario)` gives what `HubNetworkVector(orders=...)` plays, in every copy the same. The file
is data and nothing else; the first thing wrong is refused in one line with file, line, column, value and remedy. The
schema is described in `docs/orders.md`.
"""

from __future__ import annotations

import csv
import hashlib
import io
import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fabmesh.envs.errors import OrdersError
from fabmesh.envs.files import content_of
from fabmesh.envs.names import out_of_csv
from fabmesh.envs.network.schema.parameters import within
from fabmesh.envs.network.schema.scenario import PRICE, WORKING_DAYS_PER_WEEK, WORKING_DAYS_PER_YEAR, Scenario
from fabmesh.envs.network.schema.sizes import MOST_DUE_D, MOST_UNITS
from fabmesh.envs.network.schema.yaml_tree import composed, nearest, shown_path

# Columns of the file -> whether every file needs them.
COLUMNS = {
    "date": True,
    "town": True,
    "product": True,
    "units": True,
    "due": False,
    "ceiling": False,
    "price": False,
}
MOST_LINES = 1_000_000
MOST_WAITING = 10_000  # lots that wait at one time: every copy of a network has a table of so many
WEEKDAYS_PER_YEAR = 261  # of the real calendar, which are scaled to the model's 250

RECORDED = np.dtype(
    [
        ("day", np.int32),  # of the episode
        ("row", np.int32),  # see `tables`
        ("town", np.int32),
        ("stream", np.int32),  # tender stream, -1 for lots
        ("number", np.int32),  # among the lots of a day, row and town; among the tenders of a day, stream and town
        ("units", np.int32),
        ("due_d", np.int32),  # working days after the announcement
        ("price", np.float64),  # EUR a unit
        ("ceiling", np.float64),  # EUR a unit, 0 = the row's rule
    ],
    align=True,
)
_MOST_BYTES = 200_000_000  # twice what so many lines take; stops what has no end
_MOST_SHOWN = 40  # characters of a wrong value in a message
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_WHOLE = re.compile(r"\d+", re.ASCII)
_DECIMAL = re.compile(r"\+?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", re.ASCII)


@dataclass(frozen=True)
class Row:
    """What can be ordered: a catalogue product, or a variant of a custom or tender stream.

    Attributes:
        name: As in the column `product`: a product's name, or STREAM/variant.
        due_d: Working days until due where an order does not say.
        patience_d: Days for which lots wait; of tenders not read.
        price: EUR a unit where an order does not say; None: an order must.
        stream: Index of the tender stream, -1 for lots.
    """

    name: str
    due_d: int
    patience_d: int
    price: float | None
    stream: int = -1


def rows_of(scenario: Scenario) -> tuple[Row, ...]:
    """All rows, in the order of the tables."""
    market = scenario.market
    rows = [Row(p.name, p.due_d, market.patience_catalogue_d, p.price_eur) for p in scenario.products]
    for custom in scenario.custom_streams:
        rows += [Row(f"{custom.name}/{v.name}", custom.due_d, market.patience_custom_d, None) for v in custom.variants]
    for i, tender in enumerate(scenario.tender_streams):
        rows += [Row(f"{tender.name}/{v.name}", sum(tender.due_d) // 2, 0, None, i) for v in tender.variants]
    return tuple(rows)


@dataclass(frozen=True)
class RecordedOrders:
    """An order book that has been checked against a scenario.

    Attributes:
        source: The file, as a user would type it.
        sha256: Of the file's bytes.
        first: The date that is day 0.
        towns: Names of the scenario's towns.
        rows: Names of the scenario's rows.
        lines: RECORDED lots and tenders, sorted by day; lots by row and town before tenders by stream and town.
    """

    source: str
    sha256: str
    first: date
    towns: tuple[str, ...]
    rows: tuple[str, ...]
    lines: NDArray[np.void] = field(repr=False, compare=False)

    @property
    def season_start(self) -> int:
        """Working day of the year of day 0."""
        return working_day_of_year(self.first)

    @property
    def days(self) -> int:
        """Days from the first to the last with an order, both counted; at least 1."""
        return int(self.lines["day"].max(initial=0)) + 1

    def day_starts(self) -> NDArray[np.int32]:
        """First line of each day, and the number of lines after the last: int32[days + 1]."""
        starts = np.searchsorted(self.lines["day"], np.arange(self.days + 1))
        return np.asarray(starts, np.int32)

    def require_fit(self, scenario: Scenario) -> None:
        """Refuse a scenario with other towns or rows than the one the orders were read for.

        Raises:
            OrdersError: Read the file again for this scenario.
        """
        towns, rows = tuple(t.name for t in scenario.towns), tuple(row.name for row in rows_of(scenario))
        if (towns, rows) != (self.towns, self.rows):
            raise OrdersError(
                f"{self.source}: was read for a scenario with other towns or products than {scenario.name!r}; "
                "read it for this one"
            )

    def summary(self) -> str:
        """What is in it, in words."""
        tenders = int((self.lines["stream"] >= 0).sum())
        lots, units = len(self.lines) - tenders, int(self.lines["units"].sum())
        return (
            f"{self.source}: {units:,} units in {lots:,} lots and {tenders:,} tenders on {self.days} working days "
            f"from {self.first.isoformat()}"
        )


def days_read(scenario: Scenario) -> int:
    """Days of a tape that an episode reads: its own, the next morning, and those the closing stock is needed for."""
    return scenario.episode_d + max(scenario.inventory.closing_cover_d, 1)


def most_waiting(lots: NDArray[np.void], patience_d: NDArray[np.int32]) -> int:
    """The largest number of lots that wait on one day if nobody serves any.

    Args:
        lots: RECORDED lots.
        patience_d: Days for which the lots of each row wait, [rows].
    """
    return int(_waiting(lots, patience_d).max(initial=0))


def _waiting(lots: NDArray[np.void], patience_d: NDArray[np.int32]) -> NDArray[np.int64]:
    """Lots that wait on each day."""
    last = lots["day"] + patience_d[lots["row"]]
    change = np.zeros(int(last.max(initial=0)) + 2, np.int64)
    np.add.at(change, lots["day"], 1)
    np.add.at(change, last + 1, -1)
    return np.asarray(np.cumsum(change))


# --- calendar ----------------------------------------------------------------------------------------------------


def next_weekday(day: date) -> date:
    """The day itself, or the Monday after a Saturday or Sunday."""
    return day + timedelta(days=7 - day.weekday()) if day.weekday() >= WORKING_DAYS_PER_WEEK else day


def weekday_number(day: date) -> int:
    """Weekdays (Monday to Friday) since the Monday 0001-01-01, of a weekday."""
    weeks, weekday = divmod(day.toordinal() - 1, 7)
    return weeks * WORKING_DAYS_PER_WEEK + weekday


def weekday_after(first: date, days: int) -> date:
    """The weekday so many weekdays after one."""
    weeks, weekday = divmod(weekday_number(first) + days, WORKING_DAYS_PER_WEEK)
    return date.fromordinal(weeks * 7 + weekday + 1)


def working_day_of_year(day: date) -> int:
    """Working day of the model's year (0 to 249) of a weekday: the phase of the year, on the right day of the week.

    Weekdays since 1 January x 250 / 261, moved to the nearest day whose remainder by five is the weekday (Monday 0).
    """
    since = weekday_number(day) - weekday_number(next_weekday(date(day.year, 1, 1)))
    phase = since * WORKING_DAYS_PER_YEAR / WEEKDAYS_PER_YEAR
    weeks = math.floor((phase - day.weekday()) / WORKING_DAYS_PER_WEEK + 0.5)
    return (weeks * WORKING_DAYS_PER_WEEK + day.weekday()) % WORKING_DAYS_PER_YEAR


# --- reading -----------------------------------------------------------------------------------------------------


def read_orders(path: str | Path, scenario: Scenario) -> RecordedOrders:
    """Read and check an order book.

    Args:
        path: The CSV file.
        scenario: The network whose towns and products it names.

    Raises:
        OrdersError: The first thing found wrong, in one line for the user.
    """
    source = shown_path(Path(path))
    try:
        content = content_of(Path(path), _MOST_BYTES, "an order book", OrdersError)
    except FileNotFoundError:
        raise OrdersError(f"{source}: no such file") from None
    except OSError as error:
        raise OrdersError(f"{source}: cannot be read: {error.strerror}") from None
    try:
        text = content.decode("utf-8-sig")  # spreadsheets put a byte-order mark first
    except UnicodeDecodeError as error:
        raise OrdersError(f"{source}: is not UTF-8 text (byte {error.start}); save it as CSV in UTF-8") from None
    return _Reader(source, scenario).read(text, hashlib.sha256(content).hexdigest())


@dataclass(frozen=True)
class _Order:
    """One line of the file, dates still dates."""

    line: int
    announced: date
    row: int
    town: int
    units: int
    due: date | None
    price: float
    ceiling: float


class _Reader:
    """Turns the text of a file into checked orders."""

    def __init__(self, source: str, scenario: Scenario) -> None:
        self.source, self.scenario = source, scenario
        self.rows = rows_of(scenario)
        self.row_index = {composed(row.name): i for i, row in enumerate(self.rows)}
        self.town_index = {composed(town.name): c for c, town in enumerate(scenario.towns)}

    def read(self, text: str, sha256: str) -> RecordedOrders:
        orders = [self._order(line, cells) for line, cells in self._lines(text)]
        if not orders:
            raise OrdersError(f"{self.source}: holds no orders; write one a line below the header")
        first = min(order.announced for order in orders)
        lines = self._table(orders, first)
        self._check_waiting(lines, first)
        names = tuple(town.name for town in self.scenario.towns), tuple(row.name for row in self.rows)
        return RecordedOrders(self.source, sha256, first, *names, lines)

    def _refuse(self, line: int, column: str, text: str) -> OrdersError:
        return OrdersError(": ".join(part for part in (f"{self.source}:{line}", column, text) if part))

    # -- lines and columns

    def _lines(self, text: str) -> Iterator[tuple[int, dict[str, str]]]:
        """Line number and cells by column of every order; empty lines are skipped."""
        records = self._records(text)
        line, header = next(records, (1, []))
        columns = self._columns(line, header)
        for count, (line, cells) in enumerate(records, start=1):
            if count > MOST_LINES:
                raise self._refuse(line, "", f"more than {MOST_LINES:,} orders; give a shorter file")
            if len(cells) != len(columns):
                text = f"{len(cells)} values, but the header names {len(columns)} columns; quote values with commas"
                raise self._refuse(line, "", text)
            yield line, dict(zip(columns, cells, strict=True))

    def _records(self, text: str) -> Iterator[tuple[int, list[str]]]:
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        while True:
            line = reader.line_num + 1  # a quoted value may go over several lines: this is the first
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                raise self._refuse(line, "", f"is not CSV ({error}); put quotes around values with commas") from None
            cells = [cell.strip() for cell in cells]
            if any(cells):
                yield line, cells

    def _columns(self, line: int, header: list[str]) -> list[str]:
        if not header:
            raise OrdersError(f"{self.source}: is empty; the first line names the columns: {', '.join(COLUMNS)}")
        if len(header) == 1 and re.search(r"[;\t|]", header[0]):
            raise self._refuse(line, "", "columns are separated by commas; save the file as CSV with commas")
        if set(COLUMNS).isdisjoint(header):  # some other file, which is not quoted
            raise self._refuse(
                line, "", f"names none of the columns {', '.join(COLUMNS)}; the first line must name them"
            )
        for name in header:
            if name not in COLUMNS:
                raise self._refuse(line, "", f"unknown column {_shown(name)}; {nearest(name, COLUMNS)}")
        for name, count in Counter(header).items():
            if count > 1:
                raise self._refuse(line, name, f"the column is there {count} times; keep one")
        for name, required in COLUMNS.items():
            if required and name not in header:
                raise self._refuse(line, name, f"the column is missing; needed are {', '.join(_required())}")
        return header

    # -- values

    def _order(self, line: int, cells: dict[str, str]) -> _Order:
        announced = self._date(line, "date", cells["date"])
        town = self._name(line, "town", cells["town"], self.town_index)
        row = self._name(line, "product", cells["product"], self.row_index)
        units = self._units(line, cells["units"])
        due = self._date(line, "due", cells["due"]) if cells.get("due") else None
        if due is not None and due <= announced:
            text = f"{cells['due']} is not after the date, {cells['date']} (weekends count as the Monday after)"
            raise self._refuse(line, "due", f"{text}; goods arrive the next working day at the earliest")
        price = self._eur(line, "price", cells["price"]) if cells.get("price") else self.rows[row].price
        if price is None:
            text = f"is missing; {self.rows[row].name!r} is made to order and has no list price, give EUR a unit"
            raise self._refuse(line, "price", text)
        ceiling = self._eur(line, "ceiling", cells["ceiling"]) if cells.get("ceiling") else 0.0
        return _Order(line, announced, row, town, units, due, price, ceiling)

    def _date(self, line: int, column: str, text: str) -> date:
        try:
            if not _DATE.fullmatch(text):
                raise ValueError
            return next_weekday(date.fromisoformat(text))
        except (ValueError, OverflowError):
            raise self._refuse(line, column, f"{_shown(text)} is not a date; write it as 2026-03-31") from None

    def _name(self, line: int, column: str, name: str, known: dict[str, int]) -> int:
        name = composed(name)
        name = name if name in known else out_of_csv(name)  # as an exported book has it
        if name not in known:
            text = f"{_shown(name)} is not a {column} of scenario {self.scenario.name!r}; {nearest(name, known)}"
            raise self._refuse(line, column, text)
        return known[name]

    def _units(self, line: int, text: str) -> int:
        remedy = f"write one from 0 to {MOST_UNITS}"
        if not _WHOLE.fullmatch(text):
            negative = text.startswith("-") and _DECIMAL.fullmatch(text[1:])
            kind = "is negative, and returns are no orders" if negative else "is not a whole number"
            raise self._refuse(line, "units", f"{_shown(text)} {kind}; {remedy}")
        if len(text) > 9 or int(text) > MOST_UNITS:
            raise self._refuse(line, "units", f"{_shown(text)} is more than an order can hold; split it")
        return int(text)

    def _eur(self, line: int, column: str, text: str) -> float:
        if not _DECIMAL.fullmatch(text):
            wrong = f"{_shown(text)} is not an amount in EUR"
            raise self._refuse(line, column, f"{wrong}; write it as 12.50, without currency")
        value = float(text)
        if not within(value, PRICE):
            raise self._refuse(line, column, f"{_shown(text)} is out of range; allowed: {PRICE}")
        return value

    # -- the tape

    def _table(self, orders: list[_Order], first: date) -> NDArray[np.void]:
        """Orders of a day, town and row with the same terms are one lot, as in the synthetic streams."""
        horizon, start = days_read(self.scenario), weekday_number(first)
        lots: dict[tuple[int, int, int, int, float, float], int] = {}
        tenders: list[tuple[int, int, int, int, float, float, int]] = []
        for order in orders:
            day = weekday_number(order.announced) - start
            if day >= horizon:
                last = weekday_after(first, horizon - 1)
                text = (
                    f"{order.announced.isoformat()} is out of the episode: that has {self.scenario.episode_d} working "
                    f"days from {first.isoformat()}, and its closing stock looks ahead until {last.isoformat()}; "
                    "leave later orders out"
                )
                raise self._refuse(order.line, "date", text)
            row = self.rows[order.row]
            due_d = row.due_d if order.due is None else weekday_number(order.due) - weekday_number(order.announced)
            if due_d > MOST_DUE_D:
                text = f"{order.due} is {due_d} working days after the date; at most {MOST_DUE_D} are possible"
                raise self._refuse(order.line, "due", text)
            if order.units == 0:
                continue
            terms = (day, order.row, order.town, due_d, order.price, order.ceiling)
            if row.stream >= 0:
                tenders.append((*terms, order.units))
                continue
            lots[terms] = lots.get(terms, 0) + order.units
            if lots[terms] > MOST_UNITS:
                what = f"orders of {row.name} on one day and in one town"
                text = f"{what} add up to more than {MOST_UNITS} units; spread them"
                raise self._refuse(order.line, "units", text)
        every = [*((*terms, units) for terms, units in lots.items()), *tenders]
        found = np.array(
            [(day, r, c, self.rows[r].stream, 0, units, due_d, *eur) for day, r, c, due_d, *eur, units in every],
            RECORDED,
        )
        return self._named(found)

    def _named(self, found: NDArray[np.void]) -> NDArray[np.void]:
        """Sorted by day and name and numbered: what has the same name keeps the order of the file."""
        group = np.where(found["stream"] < 0, found["row"], len(self.rows) + found["stream"])
        names = np.stack([found["day"], group, found["town"]])
        order = np.lexsort(names[::-1])
        found, names = found[order], names[:, order]
        index = np.arange(len(found))
        begins = np.ones(len(found), np.bool_)
        begins[1:] = (names[:, 1:] != names[:, :-1]).any(axis=0)
        found["number"] = index - np.maximum.accumulate(np.where(begins, index, 0))
        return found

    def _check_waiting(self, lines: NDArray[np.void], first: date) -> None:
        lots = lines[lines["stream"] < 0]
        waiting = _waiting(lots, np.array([row.patience_d for row in self.rows], np.int32))
        if len(waiting) and waiting.max() > MOST_WAITING:
            day = weekday_after(first, int(waiting.argmax()))
            raise OrdersError(
                f"{self.source}: {int(waiting.max()):,} lots wait on {day.isoformat()}, at most {MOST_WAITING:,} can; "
                "give orders of a day, town and product the same due, price and ceiling, so that they are one lot"
            )


def _shown(text: str) -> str:
    """A value of the file in a message, in quotes; a long one is cut."""
    return repr(text if len(text) <= _MOST_SHOWN else text[: _MOST_SHOWN - 3] + "...")


def _required() -> list[str]:
    return [name for name, required in COLUMNS.items() if required]
