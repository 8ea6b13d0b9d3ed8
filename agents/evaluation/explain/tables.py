"""An explanation as tables: in the terminal, and the same as Markdown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby

from fabmesh.agents.evaluation.explain.bids import ALL, FIFTHS, Response, Span
from fabmesh.agents.evaluation.explain.costs import Count
from fabmesh.agents.evaluation.explain.drivers import Priced
from fabmesh.agents.evaluation.explain.events import OFFSETS, WINDOWS, Around
from fabmesh.agents.evaluation.explain.explain import Explanation
from fabmesh.agents.evaluation.explain.pairs import Pair
from fabmesh.agents.evaluation.show.tables import UNDEFINED, Sheet, words_of_saving, worlds_of
from fabmesh.agents.evaluation.statistics import Estimate

FIFTH_NAMES = ("lowest", "second", "middle", "fourth", "highest")
NEARLY_ALL = 95.0  # %: where so many decisions or more are bids, their share is not shown
ENDS = ("lowest", "highest", "moves by")
MARK = "*"
MARKED = f"policy / reference; {MARK}: the 95 % interval of the difference does not hold 0"
ON_SCREEN = ("hub_outage", "depot_outage")  # of other disruptions the days are in the files


def sheets(explanation: Explanation) -> list[Sheet]:
    """Everything that is shown, in order."""
    return [
        _lines(explanation),
        _counts(explanation),
        *_bids(explanation),
        *_materials(explanation),
        *_disruptions(explanation),
        _uses(explanation),
    ]


def _lines(explanation: Explanation) -> Sheet:
    policy, reference = explanation.policy.name, explanation.reference.name
    total = explanation.costs.total
    controllable = explanation.reference.mean("controllable_cost")
    rows = [
        (name, *_money(pair), _percent(pair.difference.mean, controllable))
        for name, pair in explanation.costs.lines.items()
    ]
    rows.append(("network cost", *_money(total), _percent(total.difference.mean, controllable)))
    saving = words_of_saving(-total.difference.mean / controllable) if controllable > 0 else UNDEFINED
    shown = "" if total.shown else " (the interval holds 0, so nothing is shown)"
    return Sheet(
        f"{worlds_of(explanation.comparison)}: {policy} against {reference} by ledger line, EUR per episode",
        ("ledger line", "policy", "reference", "difference", "95 % interval", "% of\ncontrollable"),
        1,
        tuple(rows),
        (
            f"policy: {policy}; reference: {reference}; differences seed by seed, which add up to the last line",
            f"{policy} {saving}, against the controllable cost of {reference}{shown}",
        ),
    )


def _counts(explanation: Explanation) -> Sheet:
    rows = []
    for count, pair in explanation.costs.counts:
        scale, digits = (100.0, 1) if count.unit == "share" else (1.0, 3) if count.unit == "ratio" else (1.0, None)
        numbers = (pair.policy * scale, pair.reference * scale)
        shown = tuple(_number(number, digits) for number in numbers)
        rows.append((count.line, _with_unit(count), *shown, *_change(pair.difference, scale, digits)))
    return Sheet(
        "what is behind the lines, per episode",
        ("ledger line", "what", "policy", "reference", "difference", "95 % interval"),
        2,
        tuple(rows),
    )


def _with_unit(count: Count) -> str:
    """Words with the unit, unless they say it."""
    unit = "%" if count.unit == "share" else count.unit
    return count.label if count.unit == "ratio" or unit in count.label else f"{count.label}, {unit}"


def _bids(explanation: Explanation) -> list[Sheet]:
    found = []
    for priced, group in groupby(explanation.responses, key=lambda response: response.priced):
        responses = list(group)
        pooled = [response for response in responses if response.item == ALL]
        moving = [response for response in pooled if response.moves]
        still = [response.driver.label for response in pooled if not response.moves]
        if not moving:
            level = pooled[0].markup[0]
            same = ("whatever it is", _signed(level.policy), _signed(level.reference))
            found.append(Sheet(f"{priced.label}: mean mark-up, %", ("seen", "policy", "reference"), 1, (same,)))
            continue
        found.append(
            Sheet(
                f"{priced.label}: mean mark-up, %, by fifths of what is seen",
                ("seen", *FIFTH_NAMES, "highest - lowest"),
                1,
                tuple(row for response in moving for row in _response(explanation, response)),
                (
                    "fifths of all decisions of both policies; values that are very frequent leave fewer",
                    *((f"mark-ups do not move with: {', '.join(still)}",) if still else ()),
                ),
            )
        )
        single = [r for r in responses if r.item != ALL and r.driver == priced.drivers[0] and r.moves]
        if single:
            found.append(_by_item(priced, single))
    return found


def _response(explanation: Explanation, response: Response) -> list[tuple[str, ...]]:
    """What is seen in each fifth, then the mark-ups of both, and their shares of bids where these are not all."""
    driver = response.driver
    seen = [_of_both(pair) for pair in response.seen]
    rows = [(f"{driver.label}, {driver.unit}", *_spread(response, [f"{value:.1f}" for value in seen]), "")]
    all_bid = all(not min(pair.policy, pair.reference) < NEARLY_ALL for pair in response.bidding)
    for of, name in (("policy", explanation.policy.name), ("reference", explanation.reference.name)):
        means = [_signed(getattr(pair, of)) for pair in response.markup]
        rows.append((f"  {name}", *_spread(response, means), _plus_minus(getattr(response.markup_span, of))))
        if not all_bid:
            shares = [_number(getattr(pair, of), 0) for pair in response.bidding]
            moved = _plus_minus(getattr(response.bidding_span, of))
            rows.append(("    bids made, %", *_spread(response, shares), moved))
    return rows


def _of_both(pair: Pair) -> float:
    known = [value for value in (pair.policy, pair.reference) if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan


def _spread(response: Response, cells: Sequence[str]) -> list[str]:
    """Cells at the places of their fifths."""
    places = dict(zip(response.fifths, cells, strict=True))
    return [places.get(fifth, "") for fifth in range(FIFTHS)]


def _by_item(priced: Priced, responses: Sequence[Response]) -> Sheet:
    driver = priced.drivers[0]

    def side(response: Response, of: str) -> tuple[str, ...]:
        span: Span = response.markup_span
        ends = (getattr(response.markup[0], of), getattr(response.markup[-1], of))
        return (*(_signed(end) for end in ends), _plus_minus(getattr(span, of)))

    return Sheet(
        f"{priced.label} by {priced.each}: mean mark-up, %, at the lowest and highest {driver.label}",
        (priced.each, *(f"{first}{end}" for first in ("policy\n", "reference\n") for end in ENDS), "difference"),
        1,
        tuple(
            (r.item, *side(r, "policy"), *side(r, "reference"), _plus_minus(r.markup_span.difference))
            for r in responses
        ),
    )


def _materials(explanation: Explanation) -> list[Sheet]:
    levels = explanation.materials
    tables = (
        (
            "what hubs order up to, and what is on hand",
            ("material", "lead,\ndays", "life,\ndays"),
            {
                "cover_d": ("level, days\nof use", 1.0, 1),
                "no_cover": ("no level,\n%", 100.0, 0),
                "held_d": ("on hand at\nhubs, days", 1.0, 1),
                "depot_held_d": ("on hand at\ndepots, days", 1.0, 1),
            },
        ),
        (
            "when depots buy, and how much",
            ("material", "lead,\ndays", "pallet,\ndays"),
            {
                "trigger": ("reorder at\nx lead need", 1.0, 2),
                "lot_d": ("lot, days\nof requests", 1.0, 1),
                "next_break": ("to next\nbreak, %", 100.0, 0),
                "order_pallets": ("pallets\nan order", 1.0, 2),
                "price_above_bulk": ("paid above\nbulk, %", 100.0, 1),
            },
        ),
    )
    found = []
    for number, (title, heads, columns) in enumerate(tables):
        there = {name: column for name, column in columns.items() if name in levels[0].numbers}
        rows = []
        for entry in levels:
            life = entry.material.sealed_life_d
            days = life if number == 0 else entry.pallet_d
            fact = "-" if days is None or math.isinf(days) else f"{days:.0f}"
            cells = (_beside(entry.numbers[name], scale, digits) for name, (_, scale, digits) in there.items())
            rows.append((entry.material.name, f"{entry.material.lead_mean_d:g}", fact, *cells))
        notes: tuple[str, ...] = (MARKED, "lead: from suppliers to depots; life: sealed")
        if number == 1:
            supply = explanation.comparison.scenario.supply
            steps = ", ".join(f"{step:g}" for step in supply.price_breaks_pallets)
            notes = (f"price breaks at {steps} pallets; a pallet lasts so long at the requests a depot can expect",)
        found.append(Sheet(title, (*heads, *(head for head, _, _ in there.values())), 1, tuple(rows), notes))
    return found


def _disruptions(explanation: Explanation) -> list[Sheet]:
    around = [entry for entry in explanation.disruptions if entry.kind in ON_SCREEN]
    others = [entry.kind.replace("_", " ") for entry in explanation.disruptions if entry.kind not in ON_SCREEN]
    if not around:
        none = tuple((kind.replace("_", " "), "0") for kind in ON_SCREEN)
        return [Sheet("the days around disruptions", ("kind", "began"), 1, none)]
    found = [_around(explanation, entry) for entry in around]
    if others:
        last = found[-1]
        notes = (*last.notes, f"in the files as well (--out): {', '.join(others)}")
        found[-1] = Sheet(last.title, last.columns, last.left, last.rows, notes)
    return found


def _around(explanation: Explanation, entry: Around) -> Sheet:
    scales = {"cost": ("cost, kEUR a day", 1e3, 2), "open_units": ("units waited for", 1.0, None)}
    scales["stock"] = ("stock, kEUR", 1e3, 1)
    rows: list[tuple[str, ...]] = []
    for name, (label, scale, digits) in scales.items():
        pairs = entry.windows[name]
        rows.append((label, *[""] * len(WINDOWS)))
        for of, who in (("policy", explanation.policy.name), ("reference", explanation.reference.name)):
            rows.append((f"  {who}", *(_number(getattr(pair, of) / scale, digits) for pair in pairs)))
        rows.append(("  difference", *(_plus_minus(pair.difference, scale, digits) for pair in pairs)))
    return Sheet(
        f"the days around {entry.number} {entry.kind.replace('_', ' ')}s on {entry.worlds} worlds",
        ("mean of days", *(f"{first:+d} to {last:+d}" for first, last in WINDOWS)),
        1,
        tuple(rows),
        (f"day 0 is the first disturbed one; each day from {OFFSETS[0]} to +{OFFSETS[-1]} is in the files (--out)",),
    )


def _uses(explanation: Explanation) -> Sheet:
    rows = []
    for use in explanation.uses:
        if use.item != ALL:
            continue
        rows.append(
            (
                f"{use.role} {use.component}",
                *(_number(100.0 * value, 1) for value in (use.above.policy, use.above.reference)),
                _plus_minus(use.above.difference, 0.01),
                *(_number(value, 2) for value in (use.entropy.policy, use.entropy.reference)),
                use.favourite("policy"),
                use.favourite("reference"),
            )
        )
    return Sheet(
        "which components are used: decisions with a level above the lowest, %, and entropy of the levels",
        (
            "component",
            "above lowest\npolicy",
            "reference",
            "difference",
            "entropy\npolicy",
            "reference",
            "most used\npolicy",
            "reference",
        ),
        1,
        tuple(rows),
        ("decisions with a choice; entropy: 0 = always the same level, 1 = all levels equally often",),
    )


# --- how numbers are written ---------------------------------------------------------------------------------------


def _number(value: float, digits: int | None = None) -> str:
    """With thousands separators; without digits asked for, three significant ones or whole numbers."""
    if math.isnan(value):
        return UNDEFINED
    if digits is None:
        digits = 0 if abs(value) >= 100.0 else 1
    return f"{value:,.{digits}f}"


def _signed(value: float, digits: int = 1) -> str:
    return UNDEFINED if math.isnan(value) else f"{value:+,.{digits}f}"


def _money(pair: Pair) -> tuple[str, ...]:
    return _number(pair.policy, 0), _number(pair.reference, 0), *_change(pair.difference, 1.0, 0)


def _change(difference: Estimate, scale: float, digits: int | None) -> tuple[str, str]:
    if digits is None:
        digits = 0 if abs(difference.mean) >= 100.0 else 1
    mean = _signed(difference.mean * scale, digits)
    if math.isnan(difference.low):
        return mean, UNDEFINED
    return mean, f"[{_signed(difference.low * scale, digits)}, {_signed(difference.high * scale, digits)}]"


def _plus_minus(value: Estimate, scale: float = 1.0, digits: int | None = 1) -> str:
    """Mean and half of the interval, divided by the scale."""
    if math.isnan(value.mean):
        return UNDEFINED
    half = (value.high - value.low) / 2 / scale
    if digits is None:
        digits = 0 if max(abs(value.mean), half) >= 100.0 else 1
    mean = f"{value.mean / scale:+,.{digits}f}"
    return mean if math.isnan(half) else f"{mean} ± {half:,.{digits}f}"


def _percent(part: float, whole: float) -> str:
    return f"{100.0 * part / whole:+.1f}" if whole > 0 else UNDEFINED


def _beside(pair: Pair, scale: float, digits: int) -> str:
    both = " / ".join(_number(scale * value, digits) for value in (pair.policy, pair.reference))
    return both + (MARK if pair.shown else "")
