"""Rules for the raw material of hubs: order-up-to levels in days, reorder trigger, can-order fraction."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fabmesh.agents.heuristics.expectations import base_rate, expect
from fabmesh.agents.heuristics.formulas import covering_level, joint_cycle, nearest_level
from fabmesh.agents.heuristics.view import Desk
from fabmesh.envs.network.scenario import WORKING_DAYS_PER_YEAR, Scenario

REVIEW_D = 1.0
DELIVERY_D = 1.0  # a consignment from a depot in reach
CAN_ORDER_ALL = 2  # level of `can_order` at which whatever is below its order-up-to level joins


def usable_life_d(scenario: Scenario) -> NDArray[np.float64]:
    """Sealed life one can count on at receipt, working days per material; inf = does not age."""
    share = scenario.supply.life_at_receipt[0]
    return np.array([np.inf if m.sealed_life_d is None else share * m.sealed_life_d for m in scenario.materials])


class DailyOrderUpTo:
    """Base stock with daily review: every day each material is ordered up to the same cover (Silver et al. ch. 7)."""

    def __init__(self, scenario: Scenario, cover_d: float) -> None:
        """Take the level that covers `cover_d` days."""
        self._cover = 1 + int(covering_level(cover_d, scenario.actions.cover_d))

    def __call__(self, desk: Desk) -> None:
        """Put levels on the desk."""
        desk.choose("cover", self._cover)
        desk.choose("trigger", 0)
        desk.choose("can_order", 0)


class HubStockPlan:
    """Reorder points and order-up-to levels of hubs, in days of cover, for a forecast of use.

    The fixed freight of a consignment is shared by all materials on it, so the cycle is the joint one,
    T = sqrt(2 K / (r sum D p)) (Silver, Pyke & Thomas 2017, chapter 10), per hub. s = lead time + review + safety days,
    S = s + T; what ages is held no longer than half the life one can count on (the depot has the other half).
    """

    def __init__(self, scenario: Scenario, safety_d: float = 2.0) -> None:
        """Work out what does not change from day to day.

        Args:
            scenario: The network.
            safety_d: Safety stock in days of base rate.
        """
        inventory = scenario.inventory
        self._price = np.array([m.bulk_eur for m in scenario.materials])
        self._holding_d = inventory.holding_material_year / WORKING_DAYS_PER_YEAR
        self._consignment = scenario.freight.fixed_eur
        self.reorder_d = DELIVERY_D + REVIEW_D + safety_d
        self._limit_d = np.maximum(usable_life_d(scenario) / 2, self.reorder_d)

    def cycle_d(self, rate: NDArray[np.float64]) -> NDArray[np.float64]:
        """Days between consignments, [..., hubs, 1], for a use of `rate` units a day, [..., hubs, materials]."""
        value = np.maximum((rate * self._price).sum(axis=-1, keepdims=True), 1e-9)
        return joint_cycle(self._consignment, value, self._holding_d)

    def level_d(self, rate: NDArray[np.float64]) -> NDArray[np.float64]:
        """Order-up-to levels in days, [..., hubs, materials]."""
        return np.asarray(np.minimum(self.reorder_d + self.cycle_d(rate), self._limit_d))


class JointOrderUpTo:
    """The levels of `HubStockPlan`; materials share consignments: the (s, c, S) rule of joint replenishment.

    An order goes out when a material falls below s, and everything below its level S joins it (can-order with c = S,
    Balintfy 1964). Use is forecast by exponential smoothing. The position that is compared with the level is net of the
    open orders' need, so a tender just won is covered on top. A kit whose design has been announced to end is bought
    for the days left and no more.
    """

    def __init__(self, scenario: Scenario) -> None:
        """Take levels and forecast from the scenario."""
        self._plan = HubStockPlan(scenario)
        self._expected = expect(scenario).hub_use
        self._floor = scenario.inventory.catchment_floor
        self._covers = np.array(scenario.actions.cover_d, dtype=np.float64)
        self._triggers = np.array(scenario.actions.reorder_trigger)
        self._notice_d = scenario.demand.revision_notice_d + 1.0  # days left that a notice of 0 stands for

    def __call__(self, desk: Desk) -> None:
        """Put levels on the desk."""
        rate = base_rate(self._expected, desk.see("use_rate"), self._floor)
        level = 1 + nearest_level(self._plan.level_d(rate), self._covers)
        notice = desk.see("kit_notice")
        left = self._notice_d * (1.0 - notice) - DELIVERY_D
        until_revision = np.searchsorted(self._covers, left, side="right")  # largest cover that is used up, 0 = none
        desk.choose("cover", np.where(notice > 0.0, np.minimum(level, until_revision), level))
        reorder = self._plan.reorder_d / (self._plan.reorder_d + self._plan.cycle_d(rate))
        desk.choose("trigger", nearest_level(reorder, self._triggers))
        desk.choose("can_order", CAN_ORDER_ALL)
