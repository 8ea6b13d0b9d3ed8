"""Routing rules: what a hub asks for, by which the auction sends an order to one hub and not to another.

The lowest landed score (bid + delivery + expected lateness) wins, so a rule for bids is a rule for routing. Every rule
sees its own hub only: load, and what is on offer in reach.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

from fabmesh.agents.heuristics.expectations import expect
from fabmesh.agents.heuristics.formulas import nearest_level
from fabmesh.agents.heuristics.view import Desk
from fabmesh.envs.network.schema.scenario import WORKING_DAYS_PER_WEEK, Scenario

DUE_SCALE_D = 15.0  # days a tender_due of 1 stands for


class Nearest:
    """Nearest capable hub (dispatching rule "nearest facility", Larson & Odoni 1981, chapter 5).

    Every hub bids the same mark-up on its own cost on every lane and tender, whatever the load. Hubs use the same
    rates, so their costs differ by set-up share and material quote only, and the landed score is least at the capable
    hub nearest to the customer; when its available hours are used up, at the next nearest.
    """

    def __init__(self, scenario: Scenario, markup: float = 0.0) -> None:
        """Take the level nearest to `markup` (dimensionless)."""
        self._level = 1 + int(nearest_level(markup, scenario.actions.bid_markups))

    def __call__(self, desk: Desk) -> None:
        """Put levels on the desk."""
        desk.choose("bid", self._level)
        desk.choose("tender", self._level)


class LoadPricing(ABC):
    """What rules have in common whose bids depend on load: the price of a load, and which tenders are worth a bid.

    Load is the hours committed against the hours there are in the coming week, of the lane's machines or of the
    technicians, whichever is the tighter. A hub asks no more than customers pay: the mark-up ends at the mean ceiling
    of what is on offer in the lane, but never below the rule's floor. A tender is bid for alike, with the load it
    would mean until it is due; it is passed when it would take more than `tender_room` of these hours or when its
    ceiling does not pay for its cost.

    Args:
        scenario: The network.
        floor: Least mark-up asked (dimensionless).
        tender_room: Most load until the due day with which a tender is still bid for (share of the hours there are).
    """

    def __init__(self, scenario: Scenario, floor: float = 0.0, tender_room: float = 1.0) -> None:
        self._markups = np.array(scenario.actions.bid_markups)
        self._lowest = int(nearest_level(floor, self._markups))
        self._room = tender_room
        self._lanes = len(scenario.technologies)
        self._slots = scenario.capacity.tender_slots

    @abstractmethod
    def markup(self, load: NDArray[np.float32], lane: NDArray[np.float32]) -> NDArray[np.float64]:
        """Mark-up wanted at a load.

        Args:
            load: Hours committed / hours there are, [copies, hubs, items].
            lane: Lane of each item, one-hot, broadcasts to [copies, hubs, items, lanes].

        Returns:
            Dimensionless, [copies, hubs, items].
        """

    def _level(
        self, load: NDArray[np.float32], lane: NDArray[np.float32], margin: NDArray[np.float32]
    ) -> NDArray[np.int64]:
        wanted = nearest_level(self.markup(load, lane), self._markups)
        payable = np.searchsorted(self._markups, margin, side="right") - 1
        return 1 + np.maximum(np.minimum(wanted, payable), self._lowest)

    def __call__(self, desk: Desk) -> None:
        """Put levels on the desk."""
        lane_load = desk.see("lane_load")
        labour_load = desk.see("labour_load")[..., :1]
        load = np.maximum(lane_load, labour_load)
        each_its_own = np.eye(self._lanes, dtype=np.float32)
        desk.choose("bid", self._level(load, each_its_own, desk.see("lane_margin")))
        if not desk.decides("tender"):
            return
        shape = (*lane_load.shape[:2], self._slots, self._lanes)
        lane = desk.see("tender_lane").reshape(shape)
        week_load = np.maximum(np.einsum("batk,bak->bat", lane, lane_load), labour_load)
        days = np.maximum(desk.see("tender_due") * DUE_SCALE_D, 1.0)
        load_with = week_load * WORKING_DAYS_PER_WEEK / days + desk.see("tender_work")
        margin = desk.see("tender_margin")
        wanted = (desk.see("tender_present") > 0.5) & (load_with <= self._room) & (margin >= 0.0)
        desk.choose("tender", np.where(wanted, self._level(load_with, lane, margin), 0))


class CostPlus(LoadPricing):
    """Cost plus a mark-up that rises with load: m = 0.15 + 0.35 u^3, u = utilisation (`domain` section 8.1).

    Cost-plus (full-cost) pricing with a congestion term: a loaded hub asks more, so that work goes where there is room.

    Args:
        scenario: The network.
        base: Mark-up of an idle hub (dimensionless).
        slope: What full load adds (dimensionless).
        power: How late the congestion term rises (dimensionless).
        floor: See `LoadPricing`.
        tender_room: See `LoadPricing`.
    """

    def __init__(
        self,
        scenario: Scenario,
        base: float = 0.15,
        slope: float = 0.35,
        power: float = 3.0,
        floor: float = 0.0,
        tender_room: float = 1.0,
    ) -> None:
        super().__init__(scenario, floor, tender_room)
        self._base, self._slope, self._power = base, slope, power

    def markup(self, load: NDArray[np.float32], lane: NDArray[np.float32]) -> NDArray[np.float64]:
        """See `LoadPricing.markup`."""
        return np.asarray(self._base + self._slope * np.maximum(load, 0.0) ** self._power)


class EarliestFinish(LoadPricing):
    """The hub that would finish first (minimum completion time, Ibarra & Kim 1977; Pinedo 2016, section 5.3).

    No hub knows the others' load, so each tells its own through its bid: the mark-up goes through the whole ladder in
    equal steps, from the lowest level for a hub without work to the highest for one whose week is `full`. Where
    delivery costs the same, the least loaded hub, which would finish earliest, has the lowest score.

    Args:
        scenario: The network.
        full: Load at which the highest mark-up is asked (share of the week's hours).
        tender_room: See `LoadPricing`.
    """

    def __init__(self, scenario: Scenario, full: float = 1.0, tender_room: float = 1.0) -> None:
        super().__init__(scenario, scenario.actions.bid_markups[0], tender_room)
        self._steps = (len(self._markups) - 1) / full

    def markup(self, load: NDArray[np.float32], lane: NDArray[np.float32]) -> NDArray[np.float64]:
        """See `LoadPricing.markup`."""
        step = np.rint(np.clip(load * self._steps, 0.0, len(self._markups) - 1)).astype(np.int64)
        return np.asarray(self._markups[step])


class Truthful(LoadPricing):
    """Marginal cost, neither more nor less: truthful bidding (Vickrey 1961).

    The dominant strategy in a second-price auction of one item; in a first-price auction nobody gains by it.

    The network's estimate of a unit's cost leaves out scrap and overtime, so the truth is above it: each stage scraps
    its share of what goes in, and beyond a full week labour (`labour_share` of cost) is paid with the overtime premium.

    Args:
        scenario: The network.
        tender_room: See `LoadPricing`.
    """

    def __init__(self, scenario: Scenario, tender_room: float = 1.0) -> None:
        super().__init__(scenario, scenario.actions.bid_markups[0], tender_room)
        self._scrap = np.array([1.0 / (1.0 - technology.scrap) - 1.0 for technology in scenario.technologies])
        self._premium = scenario.labour.overtime_premium * labour_share(scenario)

    def markup(self, load: NDArray[np.float32], lane: NDArray[np.float32]) -> NDArray[np.float64]:
        """See `LoadPricing.markup`."""
        full = load > 1.0
        return np.asarray(lane @ self._scrap + self._premium * full)


def labour_share(scenario: Scenario) -> float:
    """Share of labour in the standard production cost of the catalogue's mean order; 0 without a catalogue."""
    tending = {t.name: 1.0 / t.machines_per_technician for t in scenario.technologies}
    units = np.array([product.units_per_1000_year for product in scenario.products])
    hours = np.array([
        sum(stage.labour_h + tending[stage.technology] * stage.machine_h for stage in product.stages)
        for product in scenario.products
    ])  # fmt: skip
    cost = float(units @ expect(scenario).unit_cost)
    return float(units @ hours) * scenario.labour.wage_eur_h / cost if cost > 0 else 0.0
