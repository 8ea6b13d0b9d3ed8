"""An explanation as files that programs read: every number as a record, in JSON by part and in CSV one row each."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from fabmesh import __version__
from fabmesh.agents.evaluation.explain.bids import Response, Span
from fabmesh.agents.evaluation.explain.events import OFFSETS, SERIES, WINDOWS, Around
from fabmesh.agents.evaluation.explain.explain import Explanation
from fabmesh.agents.evaluation.explain.orders import NUMBERS
from fabmesh.agents.evaluation.explain.pairs import Pair
from fabmesh.agents.evaluation.explain.use import Use
from fabmesh.agents.evaluation.judge.comparison import Row
from fabmesh.envs.files import write_rows


@dataclass(frozen=True)
class Record:
    """One number of both policies.

    Attributes:
        part: "ledger", "counts", "bids", "orders", "disruptions" or "use".
        what: Ledger line, count, mark-up or share of bids of a component, order level, series, or component.
        item: Lane, material, kind of disruption, ...; "" where there is none.
        by: What it depends on: a feature, days, or how a component is used; "" where nothing.
        step: Which fifth, day or level; "" where nothing.
        unit: Unit.
        pair: The numbers.
    """

    part: str
    what: str
    item: str
    by: str
    step: str
    unit: str
    pair: Pair


def records(explanation: Explanation) -> Iterator[Record]:
    """Everything there is, part by part."""
    for name, pair in {**explanation.costs.lines, "network_cost": explanation.costs.total}.items():
        yield Record("ledger", name, "", "", "", "EUR", pair)
    for count, pair in explanation.costs.counts:
        yield Record("counts", count.name, count.line, "", "", count.unit, pair)
    for response in explanation.responses:
        yield from _of_response(response)
    units = {number.name: number.unit for number in NUMBERS}
    for entry in explanation.materials:
        for name, pair in entry.numbers.items():
            yield Record("orders", name, entry.material.name, "", "", units[name], pair)
    for around in explanation.disruptions:
        yield from _of_disruption(around)
    for use in explanation.uses:
        yield from _of_use(use)


def _of_response(response: Response) -> Iterator[Record]:
    component = f"{response.priced.role} {response.priced.component}"
    item, by = response.item, response.driver.name
    for place, seen, markup, bidding in zip(
        response.fifths, response.seen, response.markup, response.bidding, strict=True
    ):
        fifth = f"fifth {place + 1}"
        yield Record("bids", f"{component}: seen", item, by, fifth, response.driver.unit, seen)
        yield Record("bids", f"{component}: mark-up", item, by, fifth, "%", markup)
        yield Record("bids", f"{component}: bids made", item, by, fifth, "%", bidding)
    for what, span in (("mark-up", response.markup_span), ("bids made", response.bidding_span)):
        yield Record("bids", f"{component}: {what}", item, by, "highest - lowest", "%", _pair_of(span))


def _pair_of(span: Span) -> Pair:
    return Pair(span.policy.mean, span.reference.mean, span.difference)


def _of_disruption(around: Around) -> Iterator[Record]:
    for name, unit in SERIES.items():
        for offset, pair in zip(OFFSETS, around.days[name], strict=True):
            yield Record("disruptions", name, around.kind, "day", str(offset), unit, pair)
        for (first, last), pair in zip(WINDOWS, around.windows[name], strict=True):
            yield Record("disruptions", name, around.kind, "days", f"{first} to {last}", unit, pair)


def _of_use(use: Use) -> Iterator[Record]:
    component = f"{use.role} {use.component}"
    yield Record("use", component, use.item, "above the lowest level", "", "share", use.above)
    yield Record("use", component, use.item, "entropy", "", "share of the most", use.entropy)
    for label, pair in use.levels.items():
        yield Record("use", component, use.item, "level", label, "share", pair)


def to_json(explanation: Explanation) -> dict[str, Any]:
    """Put an explanation into the layout of the JSON file; what is undefined is null."""
    comparison = explanation.comparison
    orders = comparison.orders
    content: dict[str, Any] = {
        "scenario": comparison.scenario.name,
        "scenario_hash": comparison.scenario_hash,
        "seeds": {"space": comparison.seeds.space, "first": comparison.seeds.first, "count": comparison.seeds.count},
        "version": __version__,
        "policy": _of_row(explanation.policy),
        "reference": _of_row(explanation.reference),
        "disruptions_begun": {around.kind: around.number for around in explanation.disruptions},
        **({} if orders is None else {"orders": {"file": orders.source, "sha256": orders.sha256}}),
    }
    for part, found in groupby(records(explanation), key=lambda record: record.part):
        content[part] = [_of_record(record) for record in found]
    return content


def _of_row(row: Row) -> dict[str, Any]:
    return {"name": row.name, "sees": row.sees, "runs": len(row.runs), "sources": list(row.sources)}


def _of_record(record: Record) -> dict[str, Any]:
    words = {name: getattr(record, name) for name in ("what", "item", "by", "step", "unit")}
    policy, reference, *difference = _numbers(record.pair)
    return {
        **{name: text for name, text in words.items() if text},
        "policy": policy,
        "reference": reference,
        "difference": difference[0],
        "ci95": difference[1:],
    }


def _numbers(pair: Pair) -> list[float | None]:
    found = (pair.policy, pair.reference, pair.difference.mean, pair.difference.low, pair.difference.high)
    return [None if math.isnan(value) else value for value in found]


def write_csv(explanation: Explanation, path: Path) -> None:
    """Write one row per number; empty where a value is undefined."""
    header = ["part", "what", "item", "by", "step", "unit", "policy", "reference", "difference", "low", "high"]
    rows = (
        (record.part, record.what, record.item, record.by, record.step, record.unit, *_numbers(record.pair))
        for record in records(explanation)
    )
    write_rows(path, [header, *rows])
