"""Figures over time: learning curves against the baselines' lines, and stock and deadstock over an episode."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from fabmesh.agents.evaluation.judge.comparison import Comparison
from fabmesh.agents.evaluation.measures.trace import STOCKS, Trace
from fabmesh.agents.evaluation.show.curves import Curve
from fabmesh.agents.evaluation.show.plots import COLOURS, LINE_STYLES, MARKERS, STYLE, title
from fabmesh.envs.names import in_figure

_SOLID = ("-", (0, (6, 2)), (0, (2, 1)))  # one per kind of action
_STOCK_HATCHES = ("", "//", "..")
_MOST_PANELS = 6
_FAR_MORE = 2.5
_DEAR = 2.0  # a baseline that costs so many times the best score would flatten the curves


def learning_curves(curves: Sequence[Curve], scenario: str) -> Figure:
    """Validation score during training against the baselines, kEUR per episode: over steps, and over minutes."""
    lowest = min(float(np.nanmin(scores)) for curve in curves for scores in curve.scores.values())
    opponents: dict[str, float] = {}
    for curve in curves:
        opponents |= {name: cost for name, cost in curve.opponents.items() if cost < _DEAR * lowest}
    across = {"environment steps (copies x days), thousands": [curve.steps / 1e3 for curve in curves]}
    if any(np.isfinite(curve.minutes).any() for curve in curves):
        across["minutes of training, validation included"] = [curve.minutes for curve in curves]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8.5, 4.8) if len(across) == 1 else (11.0, 4.8), layout="constrained")
        panels = figure.subplots(1, len(across), sharey=True, squeeze=False)[0]
        for axes, (label, places) in zip(panels, across.items(), strict=True):
            for i, (curve, place) in enumerate(zip(curves, places, strict=True)):
                for style, (kind, scores) in zip(_SOLID, curve.scores.items(), strict=False):
                    axes.plot(
                        place, scores / 1e3, color=COLOURS[i % len(COLOURS)], linestyle=style,
                        marker=MARKERS[i % len(MARKERS)], markersize=3.5, label=in_figure(f"{curve.name}, {kind}"),
                    )  # fmt: skip
            for i, (name, cost) in enumerate(opponents.items()):
                style = LINE_STYLES[i % len(LINE_STYLES)]
                axes.axhline(cost / 1e3, color="#555555", linestyle=style, label=in_figure(name))
            axes.set_xlabel(label)
            axes.grid(alpha=0.3)
        panels[0].set_ylabel("network cost on validation seeds,\nkEUR per episode")
        panels[0].yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        panels[0].set_title(f"{in_figure(scenario)}: learning curves", loc="left", fontsize=11)
        panels[0].legend(frameon=False, fontsize=8)
    return figure


def stock_over_time(comparison: Comparison) -> Figure:
    """Stock by place, and what has been written off so far, day by day: mean over the seeds, kEUR at book value.

    One panel a policy, of many policies the first few, on one scale; a policy with far more stock than the others
    gets a scale of its own, and says so.
    """
    rows = [row for row in comparison.rows if row.trace is not None][:_MOST_PANELS]
    across = min(len(rows), 3)
    down = -(-len(rows) // across)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(1.2 + 3.2 * across, 1.5 + 2.5 * down), layout="constrained")
        panels = figure.subplots(down, across, sharex=True, squeeze=False).reshape(-1)
        tops = [_highest(row.trace) for row in rows if row.trace is not None]
        common = max((top for top in tops if top <= _FAR_MORE * min(tops)), default=1.0)
        for axes, row, top in zip(panels, rows, tops, strict=False):
            trace = row.trace
            if trace is None:
                continue
            days = np.arange(1, len(trace.deadstock_eur) + 1)
            layers = [trace.stock_eur[kind].mean(axis=1) / 1e3 for kind in STOCKS]
            stack = axes.stackplot(days, layers, colors=("#56B4E9", "#009E73", "#F0E442"), labels=STOCKS)
            for layer, hatch in zip(stack, _STOCK_HATCHES, strict=True):
                layer.set(hatch=hatch, edgecolor="white", linewidth=0.0)
            total = sum(trace.stock_eur.values()) / 1e3
            low, high = np.percentile(total, (5, 95), axis=1)
            axes.plot(days, low, color="black", linewidth=0.7, linestyle=":")
            axes.plot(days, high, color="black", linewidth=0.7, linestyle=":", label="all stock, 5 % and 95 % of seeds")
            written_off = trace.deadstock_eur.mean(axis=1) / 1e3
            axes.plot(days, written_off, color="#D55E00", linewidth=2.0, label="written off so far (deadstock)")
            more = "" if top <= common else " (scale of its own)"
            axes.set_title(f"{in_figure(row.name)}{more}", loc="left", fontsize=9)
            axes.grid(alpha=0.3)
            axes.margins(x=0)
            axes.set_xlabel("working day", fontsize=9)
            axes.set_ylabel("book value, kEUR", fontsize=9)
            axes.tick_params(labelbottom=True)
            axes.set_ylim(0.0, 1.05 * max(top, common) / 1e3)
        for axes in panels[len(rows) :]:
            axes.set_axis_off()
        figure.suptitle(f"{title(comparison, 'stock and deadstock')}\n", x=0.01, ha="left", fontsize=11)
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    return figure


def _highest(trace: Trace) -> float:
    """What a panel must have room for, EUR."""
    total = np.percentile(sum(trace.stock_eur.values()), 95, axis=1)
    return float(max(total.max(), trace.deadstock_eur.mean(axis=1).max(), 1e-9))
