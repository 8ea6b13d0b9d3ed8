"""The network on one readable page of text."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from fabmesh.envs.names import encodable, shown
from fabmesh.envs.rendering.reading import Node, Reading

_CLEAR = "\x1b[2J\x1b[H"


def network_page(reading: Reading) -> str:
    """The page of one network: what is due, what lies where, what it costs."""
    lines = [*_head(reading), "", *_work(reading), "", *_stock(reading), "", *_costs(reading), ""]
    return "\n".join(map(shown, lines))


def show_page(page: str) -> None:
    """Prints a page; on a terminal it takes the place of the one before."""
    words = encodable(page, sys.stdout.encoding or "utf-8")
    sys.stdout.write((_CLEAR if sys.stdout.isatty() else "") + words + "\n")
    sys.stdout.flush()


def _head(reading: Reading) -> list[str]:
    over = reading.day >= reading.days or reading.settlement_eur != 0.0
    return [
        f"{reading.scenario}  world {reading.world}  day {reading.day} of {reading.days}",
        f"network cost {reading.total_day_eur:,.0f} EUR yesterday, {reading.total_eur:,.0f} EUR so far",
        *([f"settlement at the end of the episode {reading.settlement_eur:,.0f} EUR, part of the sum"] if over else []),
    ]


def _work(reading: Reading) -> list[str]:
    table = [["work committed, % of 5 days", *reading.hubs[0].load, "people", "late", "tenders", "EUR/day"]]
    for hub in reading.hubs:
        loads = ["-" if load is None else f"{100 * load:.0f}" for load in hub.load.values()]
        late = f"{100 * hub.late_share:.0f} %"
        table.append(
            [_label(hub), *loads, f"{100 * hub.labour_load:.0f}", late, str(hub.tenders), f"{hub.cost_day_eur:,.0f}"]
        )
    return _columns(table)


def _stock(reading: Reading) -> list[str]:
    table = [["days of cover (+ under way)", *reading.hubs[0].on_hand_d, "dead EUR"]]
    for node in (*reading.hubs, *reading.depots):
        cover = [
            f"{days:.0f}" + (f"+{node.inbound_d[material]:.0f}" if node.inbound_d[material] >= 0.5 else "")
            for material, days in node.on_hand_d.items()
        ]
        table.append([_label(node), *cover, f"{node.deadstock_eur:,.0f}"])
    return _columns(table)


def _costs(reading: Reading) -> list[str]:
    """Costs at the left, what has been counted at the right."""
    left = [f"{'cost, EUR':<18}{'yesterday':>12}{'so far':>14}"]
    left += [
        f"{line.replace('_', ' '):<18}{reading.cost_day[line]:>12,.0f}{total:>14,.0f}"
        for line, total in reading.cost.items()
    ]
    right = [f"{'this episode':<24}{'':>14}"]
    right += [f"{name.replace('_', ' '):<24}{count:>14,.0f}" for name, count in reading.events.items() if count]
    height = max(len(left), len(right))
    left += [" " * len(left[0])] * (height - len(left))
    right += [""] * (height - len(right))
    return [f"{a}    {b}".rstrip() for a, b in zip(left, right, strict=True)]


def _label(node: Node) -> str:
    return f"{node.agent} {node.place}" + ("" if node.up else " DOWN")


def _columns(table: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table: names at the left, everything else at the right of its column."""
    first, *others = ([len(cell) for cell in column] for column in zip(*table, strict=True))
    widths = [max(lengths) for lengths in others]
    return [
        f"{name:<{max(first)}}" + "".join(f"  {cell:>{width}}" for cell, width in zip(cells, widths, strict=True))
        for name, *cells in table
    ]
