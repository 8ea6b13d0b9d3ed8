"""The network as a map with the flows of one policy: material from depots to hubs, and what hubs earn."""

from __future__ import annotations

from math import atan2, cos, pi, radians, sin, sqrt

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fabmesh.agents.evaluation.judge.comparison import Comparison, Row
from fabmesh.agents.evaluation.measures.trace import Trace
from fabmesh.agents.evaluation.show.plots import STYLE, title
from fabmesh.envs.names import in_figure
from fabmesh.envs.network.schema.scenario import Scenario

_WIDEST = 9.0  # points, the largest flow
_LARGEST = 26.0  # points, the marker of the node with most
_SMALLEST = 6.0
_KM_PER_DEGREE = 111.2
_FLOW, _HUB, _DEPOT, _TOWN = "#0072B2", "#E69F00", "#009E73", "#DDDDDD"


def network_map(comparison: Comparison, row: Row) -> Figure | None:
    """Where material went and who earned what under a policy: means over the seeds, per working day.

    None where nobody watched the episodes.
    """
    trace, scenario = row.trace, comparison.scenario
    if trace is None:
        return None
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8.5, 6.2), layout="constrained")
        axes = figure.subplots()
        hubs = _hub_places(scenario)
        depots = [(depot.longitude, depot.latitude) for depot in scenario.depots]
        _draw_towns(axes, scenario)
        _draw_flows(axes, trace, hubs, depots, scenario.episode_d)
        _draw_nodes(axes, trace, scenario, hubs, depots)
        _frame(axes, [*hubs, *depots, *((town.longitude, town.latitude) for town in scenario.towns)])
        figure.suptitle(title(comparison, f"flows under {in_figure(row.name)}"), x=0.01, ha="left", fontsize=11)
        note = "lines: kg of material a working day from depot to hub, mean over the seeds"
        if trace.shared_out > 0:
            note += f" ({100 * trace.shared_out:.0f} % shared out in proportion, see docs/measures.md)"
        figure.text(0.01, 0.005, note, fontsize=8, color="#333333")
        handles = [
            Line2D([], [], marker="o", linestyle="", color=_HUB, markeredgecolor="black", label="hub: revenue, kEUR/d"),
            Line2D(
                [],
                [],
                marker="s",
                linestyle="",
                color=_DEPOT,
                markeredgecolor="black",
                label="depot: material sent, kg/d",
            ),
            Line2D([], [], marker="o", linestyle="", color=_TOWN, label="town: population"),
        ]
        figure.legend(handles=handles, frameon=False, fontsize=8, loc="outside right upper")
    return figure


def _hub_places(scenario: Scenario) -> list[tuple[float, float]]:
    at = {town.name: (town.longitude, town.latitude) for town in scenario.towns}
    return [at[hub.town] for hub in scenario.hubs]


def _draw_towns(axes: Axes, scenario: Scenario) -> None:
    largest = max(town.population for town in scenario.towns)
    served = {hub.town for hub in scenario.hubs}
    for town in scenario.towns:
        size = 10 + 50 * sqrt(town.population / largest)
        axes.plot(town.longitude, town.latitude, "o", markersize=size, color=_TOWN, markeredgewidth=0, zorder=1)
        if town.name not in served:
            place = town.longitude, town.latitude
            axes.text(*place, in_figure(town.name), fontsize=7, ha="center", va="center", zorder=2)


def _draw_flows(
    axes: Axes, trace: Trace, hubs: list[tuple[float, float]], depots: list[tuple[float, float]], days: int
) -> None:
    """A line per pair, as wide as the flow, with its figure beside the middle."""
    most = float(trace.shipped_kg.max()) if trace.shipped_kg.size else 0.0
    for d, start in enumerate(depots):
        for h, end in enumerate(hubs):
            kg = float(trace.shipped_kg[d, h])
            if most <= 0 or kg < 0.001 * most:
                continue
            width = max(_WIDEST * kg / most, 0.4)
            axes.plot(
                [start[0], end[0]], [start[1], end[1]], color=_FLOW, linewidth=width, alpha=0.55,
                solid_capstyle="round", zorder=3,
            )  # fmt: skip
            # nearer to the hub: there the lines of different hubs are apart
            x, y = (0.42 * a + 0.58 * b for a, b in zip(start, end, strict=True))
            axes.text(
                x, y, f"{kg / days:,.0f}", fontsize=7.5, ha="center", va="center", zorder=6,
                bbox={"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": _FLOW, "linewidth": 0.5},
            )  # fmt: skip


def _draw_nodes(
    axes: Axes,
    trace: Trace,
    scenario: Scenario,
    hubs: list[tuple[float, float]],
    depots: list[tuple[float, float]],
) -> None:
    days = scenario.episode_d
    sent, earned = trace.shipped_kg.sum(axis=1), trace.hub_revenue_eur
    most_earned, most_sent = max(float(earned.max()), 1e-9), max(float(sent.max()), 1e-9)
    nodes = [
        (place, "o", _HUB, hub.town, float(eur) / days / 1e3, "kEUR/d", float(eur) / most_earned)
        for place, hub, eur in zip(hubs, scenario.hubs, earned, strict=True)
    ]
    nodes += [
        (place, "s", _DEPOT, depot.name, float(kg) / days, "kg/d", float(kg) / most_sent)
        for place, depot, kg in zip(depots, scenario.depots, sent, strict=True)
    ]
    ends = [(start, end) for d, start in enumerate(depots) for h, end in enumerate(hubs) if trace.shipped_kg[d, h] > 0]
    for place, marker, colour, name, value, unit, share in nodes:
        size = _SMALLEST + (_LARGEST - _SMALLEST) * sqrt(share)
        axes.plot(*place, marker, markersize=size, color=colour, markeredgecolor="black", zorder=4)
        x, y = _free_side(place, ends)
        align = "center" if abs(x) < 0.5 else "left" if x > 0 else "right"
        stand = "center" if abs(y) < 0.5 else "bottom" if y > 0 else "top"
        reach = size / 2 + 4
        axes.annotate(
            f"{in_figure(name)}\n{value:,.1f} {unit}", place, (x * reach, y * reach), textcoords="offset points",
            fontsize=8.5, ha=align, va=stand, zorder=7,
        )  # fmt: skip


def _free_side(
    place: tuple[float, float], lines: list[tuple[tuple[float, float], tuple[float, float]]]
) -> tuple[float, float]:
    """The direction, of eight, in which a label is farthest from the lines that meet at a place; unit length."""
    leaving = []
    for start, end in lines:
        if place in (start, end):
            other = end if place == start else start
            leaving.append(atan2(other[1] - place[1], (other[0] - place[0]) * cos(radians(place[1]))))
    eight = [i * pi / 4 for i in (2, 6, 0, 4, 1, 3, 5, 7)]  # above and below first: labels are wider than high
    room = [min((abs((side - line + pi) % (2 * pi) - pi) for line in leaving), default=pi) for side in eight]
    best = max(range(len(eight)), key=lambda i: round(room[i], 1))
    return cos(eight[best]), sin(eight[best])


def _frame(axes: Axes, places: list[tuple[float, float]]) -> None:
    """True proportions, room for the labels, and a scale in kilometres."""
    longitude, latitude = np.array(places).T
    shrink = cos(radians(float(latitude.mean())))
    axes.set_aspect(1.0 / shrink)
    axes.margins(0.16)
    axes.set_axis_off()
    wide_km = float(np.ptp(longitude)) * shrink * _KM_PER_DEGREE
    length = 10.0 ** np.floor(np.log10(max(wide_km, 1.0) / 2))
    x, y = float(longitude.min()), float(latitude.min()) - 0.12 * max(float(np.ptp(latitude)), 0.05)
    axes.plot([x, x + length / (shrink * _KM_PER_DEGREE)], [y, y], color="black", linewidth=1.5)
    axes.annotate(f"{length:g} km", (x, y), (0, 3), textcoords="offset points", fontsize=8)
