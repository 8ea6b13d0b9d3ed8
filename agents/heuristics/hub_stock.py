"""Rules for the raw material of hubs: order-up-to levels in days, reorder trigger, can-order fraction."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fabmesh.agents.heuristics.expectations import base_rate, expect
from fabmesh.agents.heuristics.formulas import covering_level, joint_cycle, nearest_level
from fabmesh.agents.heuristics.view import Desk
from fabmesh.envs.network.schema.scenario import WORKING_DAYS_PER_YEAR, Scenario

REVIEW_D = 1.0
DELIVERY_D = 1.0  # a consignment from a depot in reach


def usable_life_d(scenario: Scenario) -> NDArray[np.float64]:
    """Sealed life one can count on at receipt, working days per material; inf = does not age."""
    share = scenario.supply.life_at_receipt[0]
    return np.array([np.inf if m.sealed_life_d is None else share * m.sealed_life_d for m in scenario.materials])


class FixedCover:
    """Every material up to the same days of cover, every day (order-up-to by rule of thumb).

    Args:
        scenario: The network.
        cover_d: Days of cover; the level that covers it is taken.
    """

    def __init__(self, scenario: Scenario, cover_d: float = 10.0) -> None:
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

    Args:
        scenario: The network.
        safety_d: Safety stock in days of base rate.
        cycle: Times the joint cycle T (dimensionless); 0 leaves no cycle stock.
    """

    def __init__(self, scenario: Scenario, safety_d: float = 2.0, cycle: float = 1.0) -> None:
        inventory = scenario.inventory
        self._price = np.array([m.bulk_eur for m in scenario.materials])
        self._holding_d = inventory.holding_material_year / WORKING_DAYS_PER_YEAR
        self._consignment = scenario.freight.fixed_eur
        self._cycle = cycle
        self.reorder_d = DELIVERY_D + REVIEW_D + safety_d
        self._limit_d = np.maximum(usable_life_d(scenario) / 2, self.reorder_d)

    def cycle_d(self, rate: NDArray[np.float64]) -> NDArray[np.float64]:
        """Days between consignments, [..., hubs, 1], for a use of `rate` units a day, [..., hubs, materials]."""
        value = np.maximum((rate * self._price).sum(axis=-1, keepdims=True), 1e-9)
        return self._cycle * joint_cycle(self._consignment, value, self._holding_d)

    def level_d(self, rate: NDArray[np.float64]) -> NDArray[np.float64]:
        """Order-up-to levels in days, [..., hubs, materials]."""
        return np.asarray(np.minimum(self.reorder_d + self.cycle_d(rate), self._limit_d))


class CanOrder:
    """The (s, c, S) rule of joint replenishment (Balintfy 1964) with the levels of `HubStockPlan`.

    An order goes out when a material falls below s; whatever is below its can-order level c joins the consignment, and
    all are ordered up to S. Use is forecast by exponential smoothing. The position that is compared with the level is
    net of the open orders' need, so a tender just won is covered on top. A kit whose design has been announced to end
    is bought for the days left and no more.

    Args:
        scenario: The network.
        safety_d: Safety stock in days of base rate.
        cycle: Times the joint economic cycle (dimensionless).
        join: Level of `can_order`: 0 = c is s, 1 = midway between s and S, 2 = c is S.
        kit: Times the cover of kits, which die with their design (dimensionless).
    """

    def __init__(
        self, scenario: Scenario, safety_d: float = 2.0, cycle: float = 1.0, join: int = 1, kit: float = 1.0
    ) -> None:
        self._plan = HubStockPlan(scenario, safety_d, cycle)
        self._join = join
        self._expected = expect(scenario).hub_use
        self._floor = scenario.inventory.catchment_floor
        self._covers = np.array(scenario.actions.cover_d, dtype=np.float64)
        self._triggers = np.array(scenario.actions.reorder_trigger)
        self._times = np.array([1.0 if m.design_of is None else kit for m in scenario.materials])
        self._notice_d = scenario.demand.revision_notice_d + 1.0  # days left that a notice of 0 stands for

    def __call__(self, desk: Desk) -> None:
        """Put levels on the desk."""
        rate = base_rate(self._expected, desk.see("use_rate"), self._floor)
        level = 1 + nearest_level(self._plan.level_d(rate) * self._times, self._covers)
        notice = desk.see("kit_notice")
        left = self._notice_d * (1.0 - notice) - DELIVERY_D
        until_revision = np.searchsorted(self._covers, left, side="right")  # largest cover that is used up, 0 = none
        desk.choose("cover", np.where(notice > 0.0, np.minimum(level, until_revision), level))
        reorder = self._plan.reorder_d / (self._plan.reorder_d + self._plan.cycle_d(rate))
        desk.choose("trigger", nearest_level(reorder, self._triggers))
        desk.choose("can_order", self._join)


class ReorderPoint(CanOrder):
    """(s, S) for each material on its own (Silver, Pyke & Thomas 2017, section 6.5): nothing joins an order of another.

    The cycle is each hub's joint one all the same: s and S are those of `CanOrder`, and only the joining differs.

    Args:
        scenario: The network.
        safety_d: Safety stock in days of base rate.
        cycle: Times the joint economic cycle (dimensionless).
        kit: Times the cover of kits (dimensionless).
    """

    def __init__(self, scenario: Scenario, safety_d: float = 2.0, cycle: float = 1.0, kit: float = 1.0) -> None:
        super().__init__(scenario, safety_d, cycle, join=0, kit=kit)


class BaseStock(CanOrder):
    """Base stock: each day every material up to S = lead time + review + safety days, whatever an order costs.

    The one-for-one policy (S - 1, S), optimal where ordering costs nothing (Clark & Scarf 1960; Silver, Pyke & Thomas
    2017, section 6.9), reviewed daily.

    Args:
        scenario: The network.
        safety_d: Safety stock in days of base rate.
        kit: Times the cover of kits (dimensionless).
    """

    def __init__(self, scenario: Scenario, safety_d: float = 2.0, kit: float = 1.0) -> None:
        super().__init__(scenario, safety_d, cycle=0.0, join=0, kit=kit)
