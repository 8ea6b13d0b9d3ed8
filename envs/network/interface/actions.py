"""What the agents may do: the components of an action, their levels, and the mask of levels that can have an effect.

One table describes the action space; the kernels, the spaces, the documentation and the learners read it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fabmesh.envs.errors import ScenarioError
from fabmesh.envs.network.books.accounts import Event
from fabmesh.envs.network.books.state import State
from fabmesh.envs.network.books.tables import Tables
from fabmesh.envs.network.compiler.kernel import entry, kernel
from fabmesh.envs.network.schema.scenario import Scenario

# Component blocks in the order of the action vector.
BID, TENDER_BID, COVER, TRIGGER, CAN_ORDER, MAKE_TO_STOCK, OVERTIME_LEVEL, UPKEEP_LEVEL = range(8)
DEPOT_TRIGGER, DEPOT_LOT, DEPOT_QUOTE, DEPOT_SOURCE, DEPOT_INSPECTION = range(5)


@dataclass(frozen=True)
class ComponentBlock:
    """Components of one kind: `count` of them from column `start`, one per item, all with the same levels."""

    name: str
    start: int
    count: int
    items: tuple[str, ...]  # the things they decide about (lanes, materials, ...)
    labels: tuple[str, ...]  # of the levels
    values: tuple[float, ...]  # of the levels; nan where a level is not a number (withdraw, none, ...)
    doc: str


class Slots(NamedTuple):
    """Where the blocks of the model are in a role's action vector.

    Attributes:
        first: First column of each block, -1 = switched off.
        fixed: Level each block takes when switched off.
        levels: Number of levels of each column.
    """

    first: list[int]
    fixed: list[int]
    levels: list[int]


def _pick(
    values: tuple[float, ...], unit: str, first: str | None, last: str | None = None
) -> tuple[tuple[str, ...], tuple[float, ...]]:
    labels = [f"{v * 100:+.0f} %" if unit == "%" else f"{v:g}{unit}" for v in values]
    numbers = [float(v) for v in values]
    if first is not None:
        labels, numbers = [first, *labels], [float("nan"), *numbers]
    if last is not None:
        labels, numbers = [*labels, last], [*numbers, float("nan")]
    return tuple(labels), tuple(numbers)


def component_blocks(scenario: Scenario, role: str) -> tuple[tuple[ComponentBlock, ...], Slots]:
    """The blocks an agent of the role owns, and where every block of the model is found in its action vector."""
    a = scenario.actions
    lanes = tuple(t.name for t in scenario.technologies)
    materials = tuple(m.name for m in scenario.materials)
    products = tuple(p.name for p in scenario.products)
    slots = tuple(f"slot {i}" for i in range(scenario.capacity.tender_slots))
    markups = _pick(a.bid_markups, "%", "withdraw")
    serviceable = ("all",) if scenario.upkeep.enabled or scenario.quality.enabled else ()
    inspectable = ("all",) if scenario.quality.enabled else ()
    serviced = ("none", *lanes), (float("nan"),) * (1 + len(lanes))
    hub = (
        ("bid", lanes, markups, "standing bid: mark-up on the hub's own cost for lots of the lane"),
        ("tender", slots, _pick(a.bid_markups, "%", "pass"), "bid on the tender in the slot"),
        ("cover", materials, _pick(a.cover_d, " d", "none"), "order-up-to level in days of the base rate"),
        ("trigger", ("all",), _pick(a.reorder_trigger, "", None), "order when a position is below this x its level"),
        ("can_order", ("all",), (("as trigger", "midway", "1"), (0.0, 0.5, 1.0)), "what is below it joins an order"),
        ("make_to_stock", products, _pick(a.make_to_stock_d, " d", "0 d"), "finished stock to hold, days of own sales"),
        ("overtime", ("all",), _pick(a.overtime, "", None), "share of the working day added"),
        ("upkeep", serviceable, serviced, "technology whose machines are serviced"),
    )  # fmt: skip
    depot = (
        ("trigger", materials, _pick(a.depot_trigger, " x", "none"), "reorder point as multiple of the lead-time need"),
        ("lot", materials, _pick(a.depot_lot_d, " d", None, "next price break"), "order up to trigger + so many days"),
        ("quote", materials, _pick(a.depot_quote, "%", "decline"), "mark-up on the average landed cost"),
        ("source", inspectable, (("qualified", "spot"), (0.0, 1.0)), "source of the orders placed today"),
        ("inspection", inspectable, (("none", "sample", "full"), (0.0, 1.0, 2.0)), "of the lots ordered today"),
    )  # fmt: skip
    blocks: list[ComponentBlock] = []
    first: list[int] = []
    fixed: list[int] = []
    column = 0
    for name, items, (labels, values), doc in hub if role == "hub" else depot:
        off = a.switched_off.get(f"{role}.{name}")
        if off is not None and not 0 <= off < len(labels):
            raise ScenarioError(
                f"actions.switched_off[{role}.{name}] = {off}: the level must be from 0 to {len(labels) - 1}"
            )
        first.append(column if off is None and items else -1)
        fixed.append(off or 0)
        if off is None and items:
            blocks.append(ComponentBlock(name, column, len(items), items, labels, values, doc))
            column += len(items)
    return tuple(blocks), Slots(first, fixed, [len(block.labels) for block in blocks for _ in block.items])


def levels_of(blocks: tuple[ComponentBlock, ...]) -> NDArray[np.int64]:
    """Number of levels of every component: the `nvec` of the MultiDiscrete space."""
    return np.concatenate([np.full(b.count, len(b.labels), np.int64) for b in blocks])


@entry
def take_levels(given: NDArray[np.int64], levels: NDArray[np.int64], action: NDArray[np.int32]) -> int:
    """Copies given[b, agents, components] to `action`; returns the flat index of the first value that is no level.

    That is one outside 0 <= value < levels[component]; -1 = there is none.
    """
    copies, agents, components = given.shape
    illegal = -1
    for b in range(copies):
        for i in range(agents):
            for j in range(components):
                value = given[b, i, j]
                if illegal < 0 and (value < 0 or value >= levels[j]):
                    illegal = (b * agents + i) * components + j
                action[b, i, j] = value
    return illegal


@kernel
def screen(
    s: State,
    levels: NDArray[np.int32],
    action: NDArray[np.int32],
    mask: NDArray[np.int8],
    masked: NDArray[np.int32],
    first: int,
) -> None:
    """Turns masked choices into level 0, which does nothing, and counts them in `masked`, from `first` on. In place.

    `levels` are those of every column of the role's action.
    """
    agents, components = action.shape[0], action.shape[1]
    for i in range(agents):
        offset = 0
        count = 0
        for j in range(components):
            if mask[i, offset + action[i, j]] == 0:
                action[i, j] = 0
                count += 1
            offset += levels[j]
        masked[first + i] = count
        s.events[Event.masked_actions] += count


@kernel
def level(action: NDArray[np.int32], agent: int, first: int, fixed: int, item: int) -> int:
    """The level taken in a block: the agent's, or the scenario's where the component is switched off."""
    return action[agent, first + item] if first >= 0 else fixed


@kernel
def write_hub_mask(w: Tables, s: State, mask: NDArray[np.int8]) -> None:
    """Masks levels that can have no effect today. A closed hub has only level 0 of everything.

    While the platform is down its bids have no effect: the last ones stand.
    """
    day = s.clock[0].day
    platform_up = s.outside[0].platform_until <= day
    lanes, materials, products = len(w.tech), len(w.mat), w.par[0].products
    slots = s.slot.shape[1]
    for h in range(len(w.hub_town)):
        up = s.hub[h].down_until <= day
        for n in range(mask.shape[1]):
            mask[h, n] = 1
        offset = 0
        column = 0
        for block in range(len(w.hub_slot)):
            if w.hub_slot[block] < 0:
                continue
            count = 1
            if block == BID:
                count = lanes
            elif block == TENDER_BID:
                count = slots
            elif block == COVER:
                count = materials
            elif block == MAKE_TO_STOCK:
                count = products
            for i in range(count):
                useful = up
                if block == BID:
                    useful = up and platform_up and w.hub_hours[h, i] > 0.0
                elif block == TENDER_BID:
                    useful = up and platform_up and s.slot[h, i] >= 0
                elif block == COVER:
                    useful = up and w.hub_uses[h, i] == 1
                elif block == MAKE_TO_STOCK:
                    useful = up and w.hub_can[h, i] == 1
                if not useful:
                    for n in range(1, w.hub_levels[column]):
                        mask[h, offset + n] = 0
                elif block == UPKEEP_LEVEL:
                    for k in range(lanes):
                        mask[h, offset + 1 + k] = 1 if w.hub_machines[h, k] > 0 else 0
                offset += w.hub_levels[column]
                column += 1


@kernel
def write_depot_mask(w: Tables, s: State, mask: NDArray[np.int8]) -> None:
    """A closed depot has only level 0 of everything; an open one chooses freely."""
    for d in range(mask.shape[0]):
        up = 1 if s.depot[d].down_until <= s.clock[0].day else 0
        for n in range(mask.shape[1]):
            mask[d, n] = up
        offset = 0
        for j in range(len(w.depot_levels)):
            mask[d, offset] = 1
            offset += w.depot_levels[j]
