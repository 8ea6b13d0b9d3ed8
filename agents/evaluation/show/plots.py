"""Figures of a comparison: where the money goes, and who is better seed by seed.

Colours are those that colour-blind readers can tell apart (Okabe & Ito 2008); hatches and markers say the same again.
"""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from fabmesh.agents.evaluation.judge.comparison import ALL_PAIRS, Comparison
from fabmesh.agents.evaluation.measures.catalogue import measure_named
from fabmesh.envs.names import in_figure

# Ledger lines that belong together share a bar; a hatch tells apart what shares a colour.
GROUPS: tuple[tuple[str, tuple[str, ...], str, str], ...] = (
    ("material", ("material", "stock_change"), "#009E73", ""),
    ("machines and energy", ("machine", "energy"), "#56B4E9", ""),
    ("labour, overtime, set-up", ("labour", "overtime", "setup"), "#0072B2", ""),
    ("scrap", ("scrap",), "#999999", "//"),
    ("order cost and freight to depots", ("order_cost", "supplier_freight"), "#F0E442", "//"),
    ("freight to hubs", ("first_mile_freight",), "#F0E442", ""),
    ("last mile", ("last_mile_freight",), "#E69F00", ""),
    ("holding", ("holding",), "#999999", ""),
    ("deadstock", ("deadstock",), "#000000", ""),
    ("lateness", ("lateness",), "#CC79A7", ""),
    ("lost orders", ("lost",), "#D55E00", ""),
    ("settlement", ("settlement",), "#CC79A7", "//"),
    ("upkeep of machines", ("upkeep",), "#56B4E9", "//"),
    ("inspection and returns", ("inspection", "quality_returns"), "#009E73", "//"),
)
STYLE: dict[Any, Any] = {"axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True, "font.size": 10}
MOST_TICKS = 9
LINE_STYLES = ("--", ":", "-.", (0, (5, 1)))
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")


def cost_by_line(comparison: Comparison) -> Figure:
    """Mean network cost of each policy, stacked by ledger line, kEUR per episode."""
    rows = comparison.rows
    lines = list(rows[0].runs[0].costs)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9.0, 2.1 + 0.5 * len(rows)), layout="constrained")
        axes = figure.subplots()
        places = np.arange(len(rows))
        gained, spent = np.zeros(len(rows)), np.zeros(len(rows))
        for label, members, colour, hatch in _groups(lines):
            mean = np.array([sum(row.cost_line(line) for line in members) for row in rows]) / 1e3
            if not mean.any():
                continue  # a mechanism that is off
            left = np.where(mean >= 0, spent, gained)  # a negative line (stock built up) goes left of zero
            axes.barh(places, mean, left=left, color=colour, hatch=hatch, edgecolor="white", linewidth=0.5, label=label)
            spent, gained = spent + np.maximum(mean, 0), gained + np.minimum(mean, 0)
        for place, row in enumerate(rows):
            total = row.mean("network_cost") / 1e3
            axes.annotate(f"{total:,.0f}", (spent[place], place), (4, 0), textcoords="offset points", va="center")
        axes.set_yticks(places, [in_figure(row.name) for row in rows])
        axes.invert_yaxis()
        axes.margins(x=0.08)
        axes.grid(axis="x", alpha=0.3)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.set_xlabel("network cost, kEUR per episode (settlement included)")
        figure.suptitle(title(comparison, "where the money goes"), x=0.01, ha="left", fontsize=11)
        figure.legend(loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    return figure


def _groups(lines: list[str]) -> list[tuple[str, tuple[str, ...], str, str]]:
    """Groups of the lines there are; a line that no group names gets one of its own, so that bars add up."""
    named = {line for _, members, _, _ in GROUPS for line in members}
    present = [(label, tuple(n for n in members if n in lines), c, h) for label, members, c, h in GROUPS]
    others = tuple(line for line in lines if line not in named)
    return [group for group in present if group[1]] + ([("other", others, "#FFFFFF", "..")] if others else [])


def paired_differences(comparison: Comparison, measure: str = "network_cost") -> Figure:
    """Paired differences with their 95 % intervals, in figures as well, because intervals are short.

    Of a few policies every pair is shown; of many, each against the comparison's reference.
    """
    item = measure_named(measure)
    pairs = comparison.pairs(ALL_PAIRS)
    many = len(comparison.rows) > ALL_PAIRS
    results = [comparison.paired(a, b, measure).difference for a, b in pairs]
    largest = max((abs(result.mean) for result in results), default=0.0)
    scale, unit = (1e3, "kEUR") if item.unit == "EUR" and largest >= 1e3 else (1.0, item.unit)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9.0, 1.6 + 0.4 * len(pairs)), layout="constrained")
        axes = figure.subplots()
        for row, result in enumerate(results):
            ends = np.array([[result.mean - result.low], [result.high - result.mean]]) / scale
            known = bool(np.isfinite(ends).all())
            colour, marker = (COLOURS[0], "o") if result.high < 0 else (COLOURS[1], "s")
            if not (result.high < 0 or result.low > 0):
                colour, marker = "#666666", "D"
            bar = np.maximum(ends, 0.0) if known else None
            axes.errorbar(result.mean / scale, row, xerr=bar, fmt=marker, markersize=4, color=colour, capsize=4)
            figures = f"{result.mean / scale:+,.1f}"
            if known:
                figures += f"  [{result.low / scale:+,.1f}, {result.high / scale:+,.1f}]"
            axes.annotate(
                figures,
                (1.01, row),
                xycoords=axes.get_yaxis_transform(),
                va="center",
                annotation_clip=False,
                fontsize=9,
            )
        sizes = [abs(result.mean) / scale for result in results if result.mean]
        note = ""
        if sizes and max(sizes) > 20 * min(sizes):  # else the small differences, which matter, all lie on zero
            halves = [(result.high - result.low) / 2 / scale for result in results if result.high > result.low]
            linear = max(float(np.median(halves)) if halves else min(sizes), 1e-3 * max(sizes))
            linear = 10.0 ** np.floor(np.log10(linear))  # a round number, on which a tick lies
            axes.set_xscale("symlog", linthresh=linear)
            axes.xaxis.set_major_locator(FixedLocator(_decades(axes.get_xlim(), linear)))
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:,g}")
            axes.xaxis.set_minor_locator(NullLocator())
            note = f",\nlogarithmic beyond {linear:g}"
        axes.axvline(0.0, color="black", linewidth=0.8)
        axes.set_yticks(range(len(pairs)), [in_figure(b.name if many else f"{a.name} - {b.name}") for a, b in pairs])
        axes.invert_yaxis()
        axes.grid(axis="x", alpha=0.3)
        axes.set_xlabel(f"difference in {item.label}, {unit} per episode (mean and 95 % interval){note}")
        less = f", {in_figure(comparison.against)} less each policy" if many else ""
        figure.suptitle(title(comparison, f"seed by seed{less}"), x=0.01, ha="left", fontsize=11)
    return figure


def _decades(limits: tuple[float, float], linear: float) -> list[float]:
    """Zero and powers of ten beyond the linear part, both signs, within the limits; at most `MOST_TICKS` in all."""
    low, high = limits
    first, last = round(np.log10(linear)), int(np.floor(np.log10(max(abs(low), abs(high), linear))))
    exponents = range(first, last + 1)
    for step in range(1, len(exponents) + 1):
        sizes = [10.0**exponent for exponent in exponents[::-step]]
        ticks = [tick for size in sizes for tick in (-size, size) if low <= tick <= high]
        if len(ticks) < MOST_TICKS:
            break
    return sorted([0.0, *ticks])


def title(comparison: Comparison, what: str) -> str:
    """What every figure says about its worlds."""
    seeds = comparison.seeds
    return f"{in_figure(comparison.scenario.name)}, {seeds.count} {seeds.space} seeds: {what}"
