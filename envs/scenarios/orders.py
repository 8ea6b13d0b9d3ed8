"""The synthetic tape of a seed as an order book, in the format in which recorded demand is read (`docs/orders.md`)."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np

from fabmesh.envs.errors import OrdersError
from fabmesh.envs.files import write_rows
from fabmesh.envs.network.schema.parameters import bounds, parameters
from fabmesh.envs.network.schema.recorded import (
    COLUMNS,
    days_read,
    next_weekday,
    rows_of,
    weekday_after,
    working_day_of_year,
)
from fabmesh.envs.network.schema.scenario import Capacity, Scenario
from fabmesh.envs.network.schema.sizes import MOST_DAYS
from fabmesh.envs.vector import HubNetworkVector

FIRST_YEAR = 2026  # dates are from this year on, the first that has the day of the year the tape begins on

OrderLine = tuple[str, str, str, int, str, str, str]


def write_orders(scenario: Scenario, seed: int, path: Path) -> int:
    """Write the tape of a seed, as far as an episode reads it; the file appears whole or not at all.

    Args:
        scenario: A checked scenario.
        seed: Of the world.
        path: The CSV file; missing directories are made.

    Returns:
        The number of orders written.

    Raises:
        OrdersError: If the tape is too long to export, or there is no such seed.
        FabmeshError: If the file cannot be written.
    """
    lines = order_lines(scenario, seed)
    write_rows(path, [tuple(COLUMNS), *lines], line_end="\n")
    return sum(line[3] > 0 for line in lines)


def order_lines(scenario: Scenario, seed: int) -> list[OrderLine]:
    """The tape of a seed, a line an order, in the order of `COLUMNS`.

    The tape is read off a network in which nobody does anything. A day 0 without orders gets a line of no units, so
    that the first date is day 0.
    """
    days = days_read(scenario)
    if days > MOST_DAYS:
        raise OrdersError(
            f"scenario {scenario.name!r}: a tape of {days} days (episode_d and closing_cover_d) is too long to export; "
            f"at most {MOST_DAYS} are possible"
        )
    if not 0 <= seed < 2**64:
        raise OrdersError(f"seed {seed}: must be from 0 to 2**64 - 1")
    room = scenario.capacity.open_tenders
    most = int(bounds(parameters(Capacity)["open_tenders"].interval)[1])
    while (lines := _lines(scenario, seed, days, room)) is None:
        if room == most:
            raise OrdersError(
                f"scenario {scenario.name!r}: more than {most:,} tenders wait at a time; lower their number"
            )
        room = min(4 * room, most)  # a tender that finds the table full leaves no trace in it
    return lines


def _lines(scenario: Scenario, seed: int, days: int, open_tenders: int) -> list[OrderLine] | None:
    """As `order_lines`; None if a tender found no room in a table of so many."""
    watched = replace(scenario, episode_d=days, capacity=replace(scenario.capacity, open_tenders=open_tenders))
    batch = HubNetworkVector(watched, num_envs=1, autoreset=False)
    batch.reset(seed=[seed])
    nothing = {
        role: np.zeros((1, len(batch.agents[role]), len(batch.spec[role].nvec)), np.int64) for role in batch.roles
    }
    rows, towns = rows_of(scenario), [town.name for town in scenario.towns]
    first = _first_date(int(batch.arrays.clock["season_start"][0]))
    refused = batch.event_names.index("tenders_refused")
    lines: list[OrderLine] = []
    for day in range(days):
        for table, count in ((batch.arrays.lot, "lots"), (batch.arrays.tender, "tenders")):
            for order in table[0, : int(batch.arrays.clock[count][0])]:
                if order["announced"] != day or order["again"] != 0:
                    continue
                row, due = rows[order["row"]], weekday_after(first, int(order["due"]))
                price = "" if row.price is not None else repr(float(order["price"]))
                shown = weekday_after(first, day).isoformat()
                lines.append((shown, towns[order["town"]], row.name, int(order["units"]), due.isoformat(), "", price))
        if day == 0 and not lines:
            lines.append((first.isoformat(), towns[0], rows[0].name, 0, "", "", ""))
        batch.step(nothing)
    complete = batch.events[0, refused] == 0
    batch.close()
    return lines if complete else None


def _first_date(season_start: int) -> date:
    """The first date from `FIRST_YEAR` on that is so many working days into its year."""
    day = next_weekday(date(FIRST_YEAR, 1, 1))
    while working_day_of_year(day) != season_start:
        day = next_weekday(day + timedelta(days=1))
    return day
