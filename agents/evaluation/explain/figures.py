"""Figures of an explanation: the ledger, bids against what is seen, order levels, disruptions, and levels used."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fabmesh.agents.evaluation.explain.bids import ALL, Response
from fabmesh.agents.evaluation.explain.events import OFFSETS, Around
from fabmesh.agents.evaluation.explain.explain import Explanation
from fabmesh.agents.evaluation.show.plots import COLOURS, STYLE, title
from fabmesh.envs.names import in_figure

COLOUR = {"policy": COLOURS[0], "reference": COLOURS[1]}
MARKERS = {"policy": "o", "reference": "s"}
ACROSS = 3  # panels beside each other
SERIES = {  # of the days around a disruption -> words, unit, EUR or units per shown one
    "cost": ("network cost,\nkEUR a day", 1e3),
    "open_units": ("units customers\nwait for", 1.0),
    "stock": ("stock at book\nvalue, kEUR", 1e3),
}


def explanation_figures(explanation: Explanation) -> dict[str, Figure]:
    """All figures by file name without suffix."""
    with mpl.rc_context(STYLE):
        figures = {"ledger": ledger(explanation)}
        for priced, group in groupby(explanation.responses, key=lambda response: response.priced):
            moving = [response for response in group if response.moves]
            name = f"bids_{priced.role}_{priced.component}"
            pooled = [response for response in moving if response.item == ALL]
            if pooled:
                figures[name] = bids(explanation, pooled, priced.label)
            single = [r for r in moving if r.item != ALL and r.driver == priced.drivers[0]]
            if single:
                figures[f"{name}_by_{priced.each}"] = bids(explanation, single, f"{priced.label} by {priced.each}")
        figures["order_levels"] = order_levels(explanation)
        for around in explanation.disruptions:
            figures[f"around_{around.kind}"] = disruption(explanation, around)
        figures["levels"] = levels(explanation)
    return figures


def ledger(explanation: Explanation) -> Figure:
    """The difference of each ledger line with its interval, and their sum."""
    pairs = [*explanation.costs.lines.items(), ("network cost", explanation.costs.total)]
    figure = Figure(figsize=(9.0, 1.6 + 0.3 * len(pairs)), layout="constrained")
    axes = figure.subplots()
    for place, (name, pair) in enumerate(pairs):
        found = pair.difference
        colour = "#999999" if not pair.shown else COLOUR["policy" if found.mean < 0 else "reference"]
        total = name == "network cost"
        axes.barh(place, found.mean / 1e3, color=colour, hatch="//" if total else "", edgecolor="white", height=0.75)
        words = f"{found.mean / 1e3:+,.2f}"
        if not math.isnan(found.low):
            ends = np.array([[found.mean - found.low], [found.high - found.mean]]) / 1e3
            axes.errorbar(found.mean / 1e3, place, xerr=np.maximum(ends, 0.0), color="black", capsize=2, linewidth=0.9)
            words += f"  [{found.low / 1e3:+,.2f}, {found.high / 1e3:+,.2f}]"
        axes.annotate(words, (1.01, place), xycoords=axes.get_yaxis_transform(), va="center", annotation_clip=False,
                      fontsize=8)  # fmt: skip
    axes.axvline(0.0, color="black", linewidth=0.8)
    axes.axhline(len(pairs) - 1.5, color="black", linewidth=0.8)
    axes.set_yticks(range(len(pairs)), [name.replace("_", " ") for name, _ in pairs])
    axes.set_ylim(len(pairs) - 0.4, -0.6)
    axes.grid(axis="x", alpha=0.3)
    axes.set_xlabel(
        f"{_less(explanation)}, kEUR per episode (mean and 95 % interval);\n"
        "blue saves, orange costs more, grey: the interval holds 0"
    )
    _title(figure, explanation, "where the difference comes from")
    return figure


def bids(explanation: Explanation, responses: Sequence[Response], words: str) -> Figure:
    """Mean mark-up against what is seen, a panel a driver or an item."""
    figure, panels = _panels(len(responses))
    for axes, response in zip(panels, responses, strict=False):
        for of, colour in COLOUR.items():
            seen = np.array([getattr(pair, of) for pair in response.seen])
            markup = np.array([getattr(pair, of) for pair in response.markup])
            axes.plot(seen, markup, color=colour, marker=MARKERS[of], markersize=5, linewidth=1.4,
                      label=_name(explanation, of))  # fmt: skip
            alike = np.array([pair.difference.low <= 0.0 <= pair.difference.high for pair in response.markup])
            axes.plot(seen[alike], markup[alike], MARKERS[of], color=colour, markersize=5, markerfacecolor="white")
        driver = response.driver
        axes.set_xlabel(in_figure(f"{driver.label}, {driver.unit}"), fontsize=8)
        if response.item != ALL:
            axes.set_title(in_figure(response.item), loc="left", fontsize=9)
        axes.axhline(0.0, color="black", linewidth=0.6, linestyle=":")
        axes.grid(alpha=0.3)
        axes.tick_params(labelsize=8, labelleft=True)
    for axes in panels[::ACROSS]:
        axes.set_ylabel("mean mark-up, %", fontsize=9)
    _legend(figure, panels[0])
    hollow = "; hollow: the interval of the difference holds 0" if responses[0].item == ALL else ""
    _title(figure, explanation, f"{words}, by fifths of what is seen", hollow)
    return figure


def order_levels(explanation: Explanation) -> Figure:
    """Order-up-to levels and stock of hubs; reorder points of depots and lead times; order sizes and price breaks."""
    entries = explanation.materials
    figure = Figure(figsize=(12.0, 2.3 + 0.42 * len(entries)), layout="constrained")
    panels = figure.subplots(1, 3, sharey=True)
    for place, entry in enumerate(entries):
        lead = entry.material.lead_mean_d
        points = (
            (panels[0], "cover_d", 1.0, True),
            (panels[0], "held_d", 1.0, False),
            (panels[1], "trigger", lead, True),
            (panels[1], "depot_held_d", 1.0, False),
            (panels[2], "order_pallets", 1.0, True),
        )
        for axes, name, scale, filled in points:
            for of, shift in (("policy", -0.12), ("reference", 0.12)):
                if name in entry.numbers:
                    axes.plot(scale * getattr(entry.numbers[name], of), place + shift, MARKERS[of], color=COLOUR[of],
                              markersize=7, markerfacecolor=COLOUR[of] if filled else "white")  # fmt: skip
        panels[1].plot([lead] * 2, [place - 0.35, place + 0.35], color="black", linewidth=1.6)
    supply = explanation.comparison.scenario.supply
    for step in supply.price_breaks_pallets:
        panels[2].axvline(step, color="#555555", linestyle="--", linewidth=0.9)
    panels[2].set_xscale("log")
    panels[2].xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    panels[0].set_yticks(range(len(entries)), [in_figure(entry.material.name) for entry in entries])
    panels[0].set_ylim(len(entries) - 0.4, -0.6)
    for axes, words in zip(
        panels,
        (
            "hubs: order-up-to level (filled) and\nstock on hand (hollow), days of use",
            "depots: reorder point (filled), stock on hand\n(hollow) and lead time (bar), days of requests",
            "depots: mean order (filled) and price\nbreaks (dashed), pallets, logarithmic",
        ),
        strict=True,
    ):
        axes.set_xlabel(words, fontsize=9)
        axes.grid(axis="x", alpha=0.3)
        axes.tick_params(labelsize=8)
    for axes in panels[:2]:
        axes.set_xlim(left=0.0)
    handles = [Line2D([], [], color=COLOUR[of], marker=MARKERS[of], linestyle="", markersize=7) for of in COLOUR]
    names = [_name(explanation, of) for of in COLOUR]
    figure.legend(handles, names, loc="outside lower center", ncols=2, fontsize=9, frameon=False)
    _title(figure, explanation, "order levels by material, the longest lead time first")
    return figure


def disruption(explanation: Explanation, around: Around) -> Figure:
    """Mean days around the beginning of disruptions: both policies, and their difference with its interval."""
    figure = Figure(figsize=(10.0, 6.2), layout="constrained")
    panels = figure.subplots(len(SERIES), 2, sharex=True, squeeze=False)
    for (left, right), (name, (words, scale)) in zip(panels, SERIES.items(), strict=True):
        pairs = around.days[name]
        for of, colour in COLOUR.items():
            values = [getattr(pair, of) / scale for pair in pairs]
            left.plot(OFFSETS, values, color=colour, label=_name(explanation, of), linewidth=1.4,
                      linestyle="-" if of == "policy" else "--")  # fmt: skip
        means, lows, highs = (
            np.array([getattr(pair.difference, end) for pair in pairs]) / scale for end in ("mean", "low", "high")
        )
        right.fill_between(OFFSETS, lows, highs, color=COLOUR["policy"], alpha=0.2, linewidth=0.0)
        right.plot(OFFSETS, means, color=COLOUR["policy"], linewidth=1.4)
        right.axhline(0.0, color="black", linewidth=0.8)
        left.set_ylabel(words, fontsize=9)
        for axes in (left, right):
            axes.axvline(0.0, color="#555555", linestyle=":", linewidth=1.2)
            axes.grid(alpha=0.3)
            axes.margins(x=0)
            axes.tick_params(labelsize=8)
    panels[0, 0].set_title("both", loc="left", fontsize=9)
    panels[0, 1].set_title(f"{_less(explanation)}, 95 % interval", loc="left", fontsize=9)
    for axes in panels[-1]:
        axes.set_xlabel("working days from the first disturbed one", fontsize=9)
    _legend(figure, panels[0, 0])
    what = around.kind.replace("_", " ")
    _title(figure, explanation, f"around {around.number} {what}s on {around.worlds} worlds")
    return figure


def levels(explanation: Explanation) -> Figure:
    """How often each level of each component is taken, over all decisions with a choice."""
    pooled = [use for use in explanation.uses if use.item == ALL]
    figure = Figure(figsize=(10.0, 1.6 + 0.62 * len(pooled)), layout="constrained")
    axes = figure.subplots()
    shades = mpl.colormaps["viridis"]
    for row, use in enumerate(pooled):
        for of, shift in (("policy", -0.19), ("reference", 0.19)):
            start = 0.0
            for place, (label, pair) in enumerate(use.levels.items()):
                share = getattr(pair, of)
                if not share > 0.0:
                    continue
                shade = place / max(len(use.levels) - 1, 1)
                axes.barh(row + shift, share, left=start, height=0.34, color=shades(shade), edgecolor="white",
                          linewidth=0.5)  # fmt: skip
                if share > 0.012 * len(label) + 0.01:
                    axes.text(start + share / 2, row + shift, in_figure(label), ha="center", va="center", fontsize=7,
                              color="white" if shade < 0.6 else "black")  # fmt: skip
                start += share
    axes.set_yticks(range(len(pooled)), [f"{use.role} {use.component}" for use in pooled])
    axes.set_ylim(len(pooled) - 0.4, -0.6)
    axes.set_xlim(0.0, 1.0)
    axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
    axes.set_xlabel(
        f"share of the decisions with a choice; upper bar: {_name(explanation, 'policy')}, lower bar: "
        f"{_name(explanation, 'reference')};\nfrom the lowest level (dark) to the highest (bright)"
    )
    _title(figure, explanation, "which levels are used")
    return figure


def _name(explanation: Explanation, of: str) -> str:
    return in_figure(getattr(explanation, of).name)


def _less(explanation: Explanation) -> str:
    return f"{_name(explanation, 'policy')} less {_name(explanation, 'reference')}"


def _panels(number: int) -> tuple[Figure, list[Any]]:
    across = min(number, ACROSS)
    down = -(-number // ACROSS)
    figure = Figure(figsize=(max(1.0 + 3.0 * across, 7.0), 1.4 + 2.3 * down), layout="constrained")
    panels = list(figure.subplots(down, across, squeeze=False, sharey=True).flat)
    for axes in panels[number:]:
        axes.set_axis_off()
    return figure, panels


def _legend(figure: Figure, axes: Any) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), fontsize=9, frameon=False)


def _title(figure: Figure, explanation: Explanation, what: str, more: str = "") -> None:
    who = f"{_name(explanation, 'policy')} against {_name(explanation, 'reference')}{more}"
    figure.suptitle(f"{title(explanation.comparison, what)}\n{who}", x=0.01, ha="left", fontsize=10)
