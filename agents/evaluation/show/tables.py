"""A comparison as tables: in the terminal, and the same as Markdown."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.table import Table

from fabmesh.agents.evaluation.judge.comparison import ALL_PAIRS, Comparison
from fabmesh.agents.evaluation.measures.mechanisms import MECHANISM_MEASURES
from fabmesh.agents.evaluation.statistics import Estimate
from fabmesh.envs.names import in_markdown, shown

COSTS = ("network_cost", "controllable_cost", "mission_cost", "deadstock")
UNDEFINED = "n/a"
WIDTH = 100  # columns of a terminal; tables are laid out for it
MISSION_NOTE = "mission cost must be read beside the fill rate: who serves nobody has the lowest"
CHOSEN_NOTE = (
    "trained: each run's checkpoint was chosen on these validation seeds; "
    "fabmesh-evaluate --seeds test uses untouched ones"
)
SERVICE = {
    "fill_rate": "fill\nrate",
    "on_time_share": "on\ntime",
    "logistics_share": "logistics\n/ network",
    "deadstock_share": "deadstock\n/ bought",
    "retail_share": "retail\n/ bought",
    "labour_utilisation": "labour\nused",
}
MARKETS = {  # measure -> heading, how it is written
    "bid_markup": ("mark-up\nbid", "share"),
    "realised_markup": ("mark-up\nrealised", "share"),
    "winners_regret": ("winners'\nregret", "share"),
    "allocative_efficiency": ("award\nefficiency", "ratio"),
    "gini_hub_work": ("Gini of\nwork", "ratio"),
    "gini_hub_profit": ("Gini of\nprofit", "ratio"),
}
STOCK = {
    "inventory_value_eur": ("stock\nkEUR", "money"),
    "inventory_turns_per_year": ("turns\n1/year", "ratio"),
    "depot_price_over_bulk": ("price /\nbulk", "ratio"),
    "supplier_orders": ("supplier\norders", "count"),
    "hub_consignments": ("consign-\nments", "count"),
    "shortage_days": ("shortage\nhub-days", "count"),
    "hub_profit": ("profit\nkEUR", "money"),
}
LONG_NAME = 34  # characters; a longer one is broken before a plus sign


@dataclass(frozen=True)
class Sheet:
    """A table as words.

    Attributes:
        title: What it shows, and the unit.
        columns: Headings; a line break may stand in one.
        left: How many of the first columns hold words and not numbers.
        rows: Cells.
        notes: Lines below it.
    """

    title: str
    columns: tuple[str, ...]
    left: int
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()


def sheets(comparison: Comparison) -> list[Sheet]:
    """Everything that is shown, in order."""
    found = [
        _costs(comparison),
        _aggregates(comparison),
        _service(comparison),
        *_markets(comparison),
        *_mechanisms(comparison),
    ]
    if any(len(row.runs) > 1 for row in comparison.rows):
        found.append(_runs(comparison))
    if len(comparison.rows) > 1:
        found.append(_seed_by_seed(comparison))
    return found


def print_tables(comparison: Comparison, console: Console) -> None:
    """Print everything for a terminal of 100 columns."""
    print_sheets(sheets(comparison), console)


def print_sheets(tables: Sequence[Sheet], console: Console) -> None:
    """Print tables for a terminal of 100 columns."""
    plain = partial(console.render_str, markup=False, emoji=False, highlight=False)  # brackets in names are brackets
    for number, sheet in enumerate(tables):
        if number:
            console.print()
        console.print(plain(sheet.title), style="italic")
        table = Table(box=None, padding=(0, 2, 0, 0))
        for place, heading in enumerate(sheet.columns):
            words = place < sheet.left
            table.add_column(plain(heading), justify="left" if words else "right", no_wrap=not words, overflow="fold")
        for name, *cells in sheet.rows:
            table.add_row(plain(_broken(name)), *map(plain, cells))
        console.print(table)
        for note in sheet.notes:
            console.print(plain(note), style="dim")


def _broken(name: str) -> str:
    """A long name of joined rules on two or more lines, none of which ends in the middle of a rule."""
    lines = [""]
    for part in name.replace("+", "\0+").split("\0"):
        if lines[-1] and len(lines[-1]) + len(part) > LONG_NAME:
            lines.append("")
        lines[-1] += part
    return "\n".join(lines)


def markdown(comparison: Comparison, commands: Sequence[str] = ()) -> str:
    """Everything as Markdown tables, the commands that made them first."""
    return markdown_sheets(sheets(comparison), commands)


def markdown_sheets(tables: Sequence[Sheet], commands: Sequence[str] = ()) -> str:
    """Tables as Markdown, the commands that made them first."""
    parts = []
    if commands:
        lines = [shown(command) for command in commands]
        fence = "`" * max(3, 1 + max(len(run) for line in lines for run in re.findall("`*", line)))
        parts.append("\n".join([f"{fence}bash", *lines, fence]))
    for sheet in tables:
        lines = [
            f"**{in_markdown(sheet.title)}**",
            "",
            _markdown_row([in_markdown(heading.replace("-\n", "").replace("\n", " ")) for heading in sheet.columns]),
            _markdown_row(["---" if place < sheet.left else "---:" for place in range(len(sheet.columns))]),
            *(_markdown_row([*map(in_markdown, row[: sheet.left]), *row[sheet.left :]]) for row in sheet.rows),
        ]
        parts.append("\n".join(lines))
        parts += ["\n\n".join(map(in_markdown, sheet.notes))] if sheet.notes else []
    return "\n\n".join(parts) + "\n"


def _markdown_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _costs(comparison: Comparison) -> Sheet:
    return Sheet(
        f"{worlds_of(comparison)}, kEUR per episode",
        ("policy", "sees", *(name.replace("_", "\n") for name in COSTS)),
        2,
        tuple(
            (row.name, row.sees, *(_thousands(row.summaries[name].mean) for name in COSTS)) for row in comparison.rows
        ),
        ("mean ± half of the 95 % bootstrap interval; sees = what the policy may read", MISSION_NOTE),
    )


def _aggregates(comparison: Comparison) -> Sheet:
    rows = []
    for row in comparison.rows:
        found = row.summaries["controllable_cost"]
        network = row.summaries["network_cost"]
        numbers = (found.mean.mean, found.median, found.iqm, found.cvar95, network.cvar95 - network.mean.mean)
        rows.append((row.name, *(_plain_thousands(number) for number in numbers)))
    return Sheet(
        "controllable cost, kEUR per episode",
        ("policy", "mean", "median", "IQM", "CVaR95", "risk premium of\nnetwork cost"),
        1,
        tuple(rows),
        ("IQM: mean of the middle half of the seeds; CVaR95: mean of the worst 5 %; risk premium: CVaR95 - mean",),
    )


def _service(comparison: Comparison) -> Sheet:
    rows = []
    for row in comparison.rows:
        days = row.summaries["lead_time_days"].mean.mean
        shares = (_percent(row.summaries[name].mean.mean) for name in SERVICE)
        rows.append((row.name, *shares, UNDEFINED if math.isnan(days) else f"{days:.2f}"))
    return Sheet("service and shares, %", ("policy", *SERVICE.values(), "lead\ntime, d"), 1, tuple(rows))


def _markets(comparison: Comparison) -> list[Sheet]:
    return [
        Sheet(
            "hubs in the customer market",
            ("policy", *(heading for heading, _ in MARKETS.values())),
            1,
            _written(comparison, MARKETS),
            (
                "mark-ups over estimated and over booked cost; regret: what winners could have asked more / revenue",
                "award efficiency: least true cost / true cost; Gini: 0 = hubs are equal (work: revenue a technician)",
            ),
        ),
        Sheet(
            "stock, orders, profit",
            ("policy", *(heading for heading, _ in STOCK.values())),
            1,
            _written(comparison, STOCK),
        ),
    ]


def _mechanisms(comparison: Comparison) -> list[Sheet]:
    """A table for each mechanism that the scenario switches on."""
    found = []
    for mechanism, items in MECHANISM_MEASURES.items():
        if items[0].name not in comparison.rows[0].summaries:
            continue
        rows = []
        for row in comparison.rows:
            means = [row.summaries[item.name].mean.mean for item in items]
            cells = (
                UNDEFINED if math.isnan(mean) else f"{mean:,.3f}" if abs(mean) < 10 else f"{mean:,.0f}"
                for mean in means
            )
            rows.append((row.name, *cells))
        headings = tuple(item.name.replace("_", "\n") for item in items)
        units = "; ".join(f"{item.name.replace('_', ' ')}: {item.unit}" for item in items)
        found.append(Sheet(mechanism, ("policy", *headings), 1, tuple(rows), (units,)))
    return found


def _written(comparison: Comparison, columns: Mapping[str, tuple[str, str]]) -> tuple[tuple[str, ...], ...]:
    """Rows of means, each written as its column says."""
    forms: dict[str, Callable[[float], str]] = {
        "share": lambda value: f"{100 * value:+.1f} %",
        "ratio": lambda value: f"{value:.3f}" if value < 10 else f"{value:.1f}",
        "money": _plain_thousands,
        "count": lambda value: f"{value:,.0f}",
    }
    rows = []
    for row in comparison.rows:
        means = {name: row.summaries[name].mean.mean for name in columns}
        cells = (
            UNDEFINED if math.isnan(means[name]) else forms[form](means[name]) for name, (_, form) in columns.items()
        )
        rows.append((row.name, *cells))
    return tuple(rows)


def _runs(comparison: Comparison) -> Sheet:
    rows = []
    for row in comparison.rows:
        means = row.summaries["controllable_cost"].run_means
        if len(means) > 1:
            spread = (min(means), max(means))
            rows.append((row.name, str(len(means)), *(_plain_thousands(number) for number in spread)))
    return Sheet(
        "training runs, controllable cost, kEUR per episode",
        ("policy", "runs", "best run", "worst run"),
        1,
        tuple(rows),
        ("intervals of these rows are over runs x seeds, both resampled; with few runs they are rather too short",),
    )


def _seed_by_seed(comparison: Comparison) -> Sheet:
    rows = []
    many = len(comparison.rows) > ALL_PAIRS
    for a, b in comparison.pairs(ALL_PAIRS):
        result = comparison.paired(a, b, "network_cost")
        found = result.difference
        base = b.summaries["controllable_cost"].mean.mean
        known = not math.isnan(found.low)
        interval = f"[{signed(found.low / 1e3)}, {signed(found.high / 1e3)}]" if known else UNDEFINED
        share = words_of_saving(-found.mean / base) if base > 0 else UNDEFINED
        if known and found.low <= 0.0 <= found.high:
            share = f"({share})"
        pair = b.name if many else f"{a.name} - {b.name}"
        rows.append((pair, signed(found.mean / 1e3), interval, share, _percent(result.share_won)))
    one = f"{comparison.against} less each policy" if many else "a - b"
    return Sheet(
        f"network cost seed by seed: {one}, kEUR per episode",
        ("policy" if many else one, "difference", "95 % interval", "in % of controllable", "won\n% of seeds"),
        1,
        tuple(rows),
        (
            f"saves, won: {comparison.against if many else 'a'}, against the other's controllable cost",
            "in brackets: the interval holds 0, so nothing is shown",
        ),
    )


def worlds_of(comparison: Comparison) -> str:
    """Scenario and seeds in words, for titles."""
    seeds = comparison.seeds
    start = f" from number {seeds.first}" if seeds.first else ""
    orders = f", orders of {shown(Path(comparison.orders.source).name)}" if comparison.orders is not None else ""
    return f"{shown(comparison.scenario.name)}: {seeds.count} {seeds.space} seeds{start}{orders}"


def _thousands(value: Estimate) -> str:
    if math.isnan(value.mean):
        return UNDEFINED
    if math.isnan(value.low):
        return f"{value.mean / 1e3:,.1f}"
    half = (value.high - value.low) / 2e3
    digits = 1 if half < 10.0 else 0  # no more digits than the interval supports
    return f"{value.mean / 1e3:,.{digits}f} ± {half:,.{digits}f}"


def _plain_thousands(value: float) -> str:
    return UNDEFINED if math.isnan(value) else f"{value / 1e3:,.1f}"


def signed(value: float) -> str:
    """A number with its sign, and no more digits than are worth reading."""
    return f"{value:+,.1f}" if abs(value) < 1e3 else f"{value:+,.0f}"


def _percent(value: float) -> str:
    return UNDEFINED if math.isnan(value) else f"{100 * value:.1f}"


def words_of_saving(share: float) -> str:
    """Say what a share saved means: "saves 8.6 %", or "costs 8.6 % more" where it is negative."""
    if abs(share) < 5e-4:
        return "the same"
    return f"saves {100 * share:.1f} %" if share >= 0 else f"costs {-100 * share:.1f} % more"
