"""Figures of a comparison: colours that colour-blind readers can tell apart (Okabe & Ito 2008), units on the axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator
from numpy.typing import NDArray

from fabmesh.agents.evaluation.comparison import Comparison
from fabmesh.agents.evaluation.files import write_whole
from fabmesh.agents.evaluation.measures import BY_NAME
from fabmesh.agents.evaluation.protocol import EpisodeTable
from fabmesh.agents.evaluation.statistics import compare

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
)
STYLE: dict[Any, Any] = {"axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True, "font.size": 10}
REFERENCE = "base_stock"  # what many policies are compared with
MOST_IN_PAIRS = 4  # policies of which every pair is shown
MOST_TICKS = 9
LINE_STYLES = ("--", ":", "-.", (0, (5, 1)))
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


def cost_by_line(comparison: Comparison) -> Figure:
    """Mean network cost of each policy, stacked by ledger line, kEUR per episode."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9.0, 1.9 + 0.55 * len(comparison.tables)), layout="constrained")
        axes = figure.subplots()
        names = [table.policy for table in comparison.tables]
        gained, spent = np.zeros(len(names)), np.zeros(len(names))
        for label, lines, colour, hatch in _groups(comparison.tables[0]):
            mean = np.array([sum(t.costs[line].mean() for line in lines) for t in comparison.tables]) / 1e3
            left = np.where(mean >= 0, spent, gained)  # a negative line (stock built up) goes left of zero
            axes.barh(names, mean, left=left, color=colour, hatch=hatch, edgecolor="white", linewidth=0.5, label=label)
            spent, gained = spent + np.maximum(mean, 0), gained + np.minimum(mean, 0)
        for row, table in enumerate(comparison.tables):
            total = table.measures["network_cost"].mean() / 1e3
            axes.annotate(f"{total:,.0f}", (spent[row], row), (4, 0), textcoords="offset points", va="center")
        axes.invert_yaxis()
        axes.margins(x=0.08)
        axes.grid(axis="x", alpha=0.3)
        axes.set_xlabel("network cost, kEUR per episode (settlement included)")
        axes.set_title(_title(comparison, "where the money goes"), loc="left")
        figure.legend(loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    return figure


def _groups(table: EpisodeTable) -> list[tuple[str, tuple[str, ...], str, str]]:
    """Groups of the lines there are; a line that no group names gets one of its own, so that bars add up."""
    named = {line for _, lines, _, _ in GROUPS for line in lines}
    present = [(label, tuple(n for n in lines if n in table.costs), c, h) for label, lines, c, h in GROUPS]
    others = tuple(line for line in table.costs if line not in named)
    return [group for group in present if group[1]] + ([("other", others, "#FFFFFF", "..")] if others else [])


def paired_differences(comparison: Comparison, measure: str = "network_cost") -> Figure:
    """Paired differences with their 95 % intervals, in figures as well, because intervals are short.

    Up to `MOST_IN_PAIRS` policies every pair is shown; of more, each against `REFERENCE`, or the last without it.
    """
    item = BY_NAME[measure]
    pairs, against = _shown_pairs(comparison)
    results = [compare(a.measures[measure], b.measures[measure], item.better).difference for a, b in pairs]
    largest = max((abs(result.mean) for result in results), default=0.0)
    scale, unit = (1e3, "kEUR") if item.unit == "EUR" and largest >= 1e3 else (1.0, item.unit)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9.0, 1.6 + 0.4 * len(pairs)), layout="constrained")
        axes = figure.subplots()
        for row, result in enumerate(results):
            ends = np.array([[result.mean - result.low], [result.high - result.mean]]) / scale
            known = bool(np.isfinite(ends).all())
            colour = COLOURS[0] if result.high < 0 else COLOURS[1] if result.low > 0 else "#666666"
            bar = np.maximum(ends, 0.0) if known else None
            axes.errorbar(result.mean / scale, row, xerr=bar, fmt="o", markersize=4, color=colour, capsize=4)
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
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
            axes.xaxis.set_minor_locator(NullLocator())
            note = f",\nlogarithmic beyond {linear:g}"
        axes.axvline(0.0, color="black", linewidth=0.8)
        axes.set_yticks(range(len(pairs)), [f"{a.policy} - {b.policy}" for a, b in pairs])
        axes.invert_yaxis()
        axes.grid(axis="x", alpha=0.3)
        axes.set_xlabel(f"difference in {item.label}, {unit} per episode (mean and 95 % interval){note}")
        axes.set_title(_title(comparison, f"seed by seed{against}"), loc="left")
    return figure


def _shown_pairs(comparison: Comparison) -> tuple[list[tuple[EpisodeTable, EpisodeTable]], str]:
    """The pairs a figure has room for, and words for its title if not all."""
    tables = comparison.tables
    if len(tables) <= MOST_IN_PAIRS:
        return comparison.pairs(), ""
    reference = next((table for table in tables if table.policy == REFERENCE), tables[-1])
    return [(table, reference) for table in tables if table is not reference], f", against {reference.policy}"


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


def learning_curve(
    steps: NDArray[np.float64],
    scores: NDArray[np.float64],
    baselines: Mapping[str, float],
    title: str,
    label: str = "trained policy",
) -> Figure:
    """Validation score during training against the baselines.

    Args:
        steps: Environment steps (copies x days) at each validation, [validations].
        scores: Mean network cost on the validation seeds, EUR per episode, [validations].
        baselines: Name -> mean network cost on the same seeds, EUR per episode.
        title: What was trained on what.
        label: Name of the learner.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8.0, 4.5), layout="constrained")
        axes: Axes = figure.subplots()
        axes.plot(steps / 1e3, scores / 1e3, color=COLOURS[0], marker="o", markersize=3, label=label)
        for i, (name, cost) in enumerate(baselines.items()):
            style, colour = LINE_STYLES[i % len(LINE_STYLES)], COLOURS[1 + i % (len(COLOURS) - 1)]
            axes.axhline(cost / 1e3, color=colour, linestyle=style, label=name)
        axes.set_xlabel("environment steps (copies x days), thousands")
        axes.set_ylabel("network cost on validation seeds,\nkEUR per episode")
        axes.set_title(title, loc="left")
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
    return figure


def _title(comparison: Comparison, what: str) -> str:
    seeds = comparison.seeds
    return f"{comparison.scenario}, {seeds.count} {seeds.space} seeds: {what}"


def comparison_figures(comparison: Comparison) -> dict[str, Figure]:
    """All figures of a comparison by file name without suffix."""
    figures = {"cost_by_line": cost_by_line(comparison)}
    if len(comparison.tables) > 1:
        figures["paired_network_cost"] = paired_differences(comparison, "network_cost")
    return figures


def save_figures(figures: Mapping[str, Figure], directory: Path) -> Sequence[Path]:
    """Write figures as PNG files, each whole or not at all."""
    paths = []
    for name, figure in figures.items():
        path = directory / f"{name}.png"
        write_whole(path, lambda draft, figure=figure: figure.savefig(draft, dpi=150))  # type: ignore[misc]
        paths.append(path)
    return paths
