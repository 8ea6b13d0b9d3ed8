"""Rules for bids in the customer market and quotes in the material market."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fabmesh.agents.heuristics.formulas import nearest_level
from fabmesh.agents.heuristics.view import Desk
from fabmesh.envs.network.scenario import WORKING_DAYS_PER_WEEK, Scenario

DUE_SCALE_D = 15.0  # days a tender_due of 1 stands for


class FixedBid:
    """Every lane and every tender at one mark-up on the hub's own estimated cost, whatever the load."""

    def __init__(self, scenario: Scenario, markup: float) -> None:
        """Take the level nearest to `markup` (dimensionless)."""
        self._level = 1 + int(nearest_level(markup, scenario.actions.bid_markups))

    def __call__(self, desk: Desk) -> None:
        """Put levels on the desk."""
        desk.choose("bid", self._level)
        desk.choose("tender", self._level)


class CostPlusBid:
    """Cost plus a mark-up that rises with load: m = 0.15 + 0.35 u^3, u = utilisation (`domain` section 8.1).

    Cost-plus (full-cost) pricing with a congestion term: a loaded hub asks more, so that work goes where there is room.
    u is the hours committed against the hours there are in the coming week, of the lane's machines or of the
    technicians, whichever is the tighter. A hub asks no more than customers pay: the mark-up ends at the mean ceiling
    of what is on offer in the lane, but never below cost. A tender is bid for alike, with the load it would mean until
    it is due; it is passed when it would not fit or does not pay its cost.
    """

    def __init__(self, scenario: Scenario, base: float = 0.15, slope: float = 0.35, power: float = 3.0) -> None:
        """Set the mark-up m = base + slope x u^power (all dimensionless)."""
        self._markups = np.array(scenario.actions.bid_markups)
        self._base, self._slope, self._power = base, slope, power
        self._lanes = len(scenario.technologies)
        self._slots = scenario.capacity.tender_slots

    def _level(self, utilisation: NDArray[np.float32], margin: NDArray[np.float32]) -> NDArray[np.int64]:
        markup = self._base + self._slope * np.maximum(utilisation, 0.0) ** self._power
        wanted = nearest_level(markup, self._markups)
        payable = np.searchsorted(self._markups, margin, side="right") - 1
        at_cost = int(nearest_level(0.0, self._markups))
        return 1 + np.maximum(np.minimum(wanted, payable), at_cost)

    def __call__(self, desk: Desk) -> None:
        """Put levels on the desk."""
        lane_load = desk.see("lane_load")
        labour_load = desk.see("labour_load")[..., :1]
        load = np.maximum(lane_load, labour_load)
        desk.choose("bid", self._level(load, desk.see("lane_margin")))
        if not desk.decides("tender"):
            return
        shape = (*lane_load.shape[:2], self._slots, self._lanes)
        lane = desk.see("tender_lane").reshape(shape)
        week_load = np.maximum(np.einsum("batk,bak->bat", lane, lane_load), labour_load)
        days = np.maximum(desk.see("tender_due") * DUE_SCALE_D, 1.0)
        load_with = week_load * WORKING_DAYS_PER_WEEK / days + desk.see("tender_work")
        margin = desk.see("tender_margin")
        wanted = (desk.see("tender_present") > 0.5) & (load_with <= 1.0) & (margin >= 0.0)
        desk.choose("tender", np.where(wanted, self._level(load_with, margin), 0))


class FixedQuote:
    """A depot asks the same mark-up on its average landed cost for every material, in stock or not."""

    def __init__(self, scenario: Scenario, markup: float) -> None:
        """Take the level nearest to `markup` (dimensionless)."""
        self._level = 1 + int(nearest_level(markup, scenario.actions.depot_quote))

    def __call__(self, desk: Desk) -> None:
        """Put levels on the desk."""
        desk.choose("quote", self._level)
