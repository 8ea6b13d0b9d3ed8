"""Where the saving comes from: the ledger line by line, and the physical counts behind each line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from fabmesh.agents.evaluation.explain.pairs import Pair, Table, pairs
from fabmesh.agents.evaluation.judge.comparison import Comparison, Row
from fabmesh.agents.evaluation.judge.protocol import EpisodeTable
from fabmesh.agents.evaluation.statistics import Floats

MACHINE_H = "machine_h_"  # events that end in the name of a technology


def _count(name: str) -> Callable[[EpisodeTable], Floats]:
    return lambda table: table.counts[name]


def _measure(name: str) -> Callable[[EpisodeTable], Floats]:
    return lambda table: table.measures[name]


@dataclass(frozen=True)
class Count:
    """Something physical that a ledger line is about.

    Attributes:
        line: The ledger line.
        name: Key in files.
        label: Words.
        unit: Unit; "share" is of 1.
        of: Its values in a table, [worlds].
    """

    line: str
    name: str
    label: str
    unit: str
    of: Callable[[EpisodeTable], Floats] = field(repr=False)


COUNTS = (
    Count("lost", "fill_rate", "fill rate", "share", _measure("fill_rate")),
    Count("lost", "units_lost", "units lost", "units", _count("units_lost")),
    Count("lost", "units_cancelled", "units cancelled", "units", _count("units_cancelled")),
    Count("lost", "tenders_won", "tenders won", "tenders", _count("tenders_won")),
    Count("lateness", "late_units", "units delivered late", "units", _count("late_units")),
    Count("lateness", "lead_time_days", "lead time", "days", _measure("lead_time_days")),
    Count("lateness", "shortage_days", "lacks material", "hub days", _measure("shortage_days")),
    Count("material", "purchases_eur", "bought by depots", "EUR", _count("purchases_eur")),
    Count("material", "retail_eur", "bought at retail", "EUR", _count("retail_eur")),
    Count("material", "depot_price_over_bulk", "depots pay / bulk price", "ratio", _measure("depot_price_over_bulk")),
    Count("labour", "labour_h", "technicians' hours", "h", _count("labour_h")),
    Count("overtime", "overtime_h", "overtime", "h", _count("overtime_h")),
    Count("order_cost", "supplier_orders", "orders at suppliers", "orders", _count("supplier_orders")),
    Count("first_mile_freight", "hub_consignments", "consignments to hubs", "consignments", _count("hub_consignments")),
    Count("last_mile_freight", "stops_delivered", "deliveries to customers", "deliveries", _count("stops_delivered")),
    Count("scrap", "units_scrapped", "units scrapped", "units", _count("units_scrapped")),
    Count("holding", "inventory_value_eur", "mean stock", "EUR", _measure("inventory_value_eur")),
    Count("deadstock", "deadstock_gross_eur", "written off", "EUR", _count("deadstock_gross_eur")),
    Count("settlement", "units_open", "units open at the end", "units", _count("units_open")),
    Count("upkeep", "breakdowns", "breakdowns", "breakdowns", _count("breakdowns")),
    Count("upkeep", "repair_h", "hours of repairs", "h", _count("repair_h")),
    Count("upkeep", "services", "machines serviced", "machines", _count("services")),
    Count("inspection", "lots_received", "lots received", "lots", _count("lots_received")),
    Count("inspection", "lots_bad", "bad lots", "lots", _count("lots_bad")),
    Count("inspection", "lots_rejected", "lots rejected", "lots", _count("lots_rejected")),
    Count("quality_returns", "units_returned", "units returned", "units", _count("units_returned")),
)


@dataclass(frozen=True)
class Costs:
    """The difference of network cost, taken apart.

    Attributes:
        total: Network cost, EUR per episode; its difference is the sum of those of the lines.
        lines: Ledger line -> EUR per episode, the largest difference first; lines without any cost are left out.
        counts: What is counted, in the order of the lines; what never occurs is left out.
    """

    total: Pair
    lines: dict[str, Pair]
    counts: tuple[tuple[Count, Pair], ...]


def costs(comparison: Comparison) -> Costs:
    """Take the difference between the two policies of a comparison apart."""
    policy, reference = comparison.rows
    names = list(policy.runs[0].costs)
    of_lines = pairs(*([_line(row, name) for name in names] for row in (policy, reference)))
    by_size = sorted(zip(names, of_lines, strict=True), key=lambda entry: -abs(entry[1].difference.mean))
    lines = {name: pair for name, pair in by_size if pair.policy or pair.reference}
    counts = (*COUNTS, *_machine_hours(policy.runs[0]))
    of_counts = pairs(*([_values(row, count) for count in counts] for row in (policy, reference)))
    there = [entry for entry in zip(counts, of_counts, strict=True) if entry[1].policy or entry[1].reference]
    places = {name: place for place, name in enumerate(lines)}
    there.sort(key=lambda entry: places.get(entry[0].line, len(places)))
    found = comparison.paired(policy, reference, "network_cost").difference
    total = Pair(policy.mean("network_cost"), reference.mean("network_cost"), found)
    return Costs(total, lines, tuple(there))


def _machine_hours(table: EpisodeTable) -> list[Count]:
    """Hours of each technology."""
    names = [name for name in table.counts if name.startswith(MACHINE_H)]
    return [Count("machine", name, f"{name.removeprefix(MACHINE_H)} hours", "h", _count(name)) for name in names]


def _line(row: Row, name: str) -> Table:
    return Table.plain(np.array([table.costs[name] for table in row.runs]))


def _values(row: Row, count: Count) -> Table:
    return Table.plain(np.array([count.of(table) for table in row.runs]))
