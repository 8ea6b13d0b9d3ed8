"""Rules for the bulk stock of depots: reorder triggers and lots."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

from fabmesh.agents.heuristics.expectations import base_rate, expect, season_ahead
from fabmesh.agents.heuristics.formulas import all_units_price, lot_cost, nearest_level, safety_factor
from fabmesh.agents.heuristics.hub_stock import REVIEW_D, HubStockPlan, usable_life_d
from fabmesh.agents.heuristics.view import Desk
from fabmesh.envs.network.schema.scenario import WORKING_DAYS_PER_YEAR, Scenario

TRUST = 0.25  # weight of smoothed requests against the expected need in a depot's forecast
COVER_SCALE_D = 20.0  # days of base rate a stock_cover of 1 stands for


class FixedLot:
    """One trigger and one lot for every material, whatever it costs (order-up-to by rule of thumb).

    Args:
        scenario: The network.
        trigger: Times the lead-time need; the nearest level is taken.
        lot_d: Days of cover; the nearest level is taken.
    """

    def __init__(self, scenario: Scenario, trigger: float = 1.5, lot_d: float = 20.0) -> None:
        self._trigger = 1 + int(nearest_level(trigger, scenario.actions.depot_trigger))
        self._lot = int(nearest_level(lot_d, scenario.actions.depot_lot_d))

    def __call__(self, desk: Desk) -> None:
        """Put levels on the desk."""
        desk.choose("trigger", self._trigger)
        desk.choose("lot", self._lot)


class ReorderAtLeadTimeDemand(ABC):
    """(Q, r): trigger = lead-time demand plus safety stock; the lot is what the rules of this kind differ by.

    Trigger: need during lead time and review plus z standard deviations of the lead time (Silver, Pyke & Thomas 2017,
    section 6.10; beside it the need of a region varies little over weeks), z from the cost of buying at retail instead
    (Hadley & Whitin 1963).

    Forecast: hubs order a cycle's need at a time, so smoothed requests swing much more than the need behind them, and
    a depot that believed them would order the swing again (bullwhip effect of order batching, Lee, Padmanabhan & Whang
    1997). The forecast goes from the expected need only a part (`trust`) of the way to the smoothed requests.

    A kit runs the risk that its design ends: the revision rate is added to its holding rate. Once the end is announced,
    an order that would arrive before it is not placed; one that arrives after it comes in the new design, so it is
    placed as if what will be left of the old one were gone.

    No lot lasts longer than half the life one can count on, nor may what is on the shelf, under way and on order in
    the network reach beyond the horizon at which the books write it down (`closing_cover_d`).

    Args:
        scenario: The network.
        trust: Weight of the smoothed requests in the forecast, 0 to 1.
        reorder: Times the reorder point (dimensionless).
        longest: Times the longest lot (dimensionless).
    """

    def __init__(self, scenario: Scenario, trust: float = TRUST, reorder: float = 1.0, longest: float = 1.0) -> None:
        supply, inventory, materials = scenario.supply, scenario.inventory, scenario.materials
        expected = expect(scenario)
        self._trust = trust
        self._expected = expected.depot_use
        self._floor = inventory.catchment_floor
        bulk = np.array([m.bulk_eur for m in materials])
        premium = np.array([m.retail_eur - m.bulk_eur for m in materials])
        weight = np.array([max(m.kg, scenario.freight.kg_per_litre * m.litres) for m in materials])
        freight = scenario.freight.rate_eur_tkm * supply.distance_km * weight / 1_000  # EUR a unit
        self._prices = (bulk + freight)[:, None] + premium[:, None] * np.array(supply.price_factors)
        pallet = np.array([m.pallet for m in materials])
        self._breaks = pallet[:, None] * np.array(supply.price_breaks_pallets)
        self._order_eur = supply.order_eur + scenario.freight.fixed_eur
        kit = np.array([m.design_of is not None for m in materials])
        obsolescence = kit * scenario.demand.revisions_per_year * (1.0 - inventory.salvage)
        self._holding = (inventory.holding_material_year + obsolescence) / WORKING_DAYS_PER_YEAR
        self._lots_d = np.array(scenario.actions.depot_lot_d, dtype=np.float64)
        self._triggers = np.array(scenario.actions.depot_trigger)
        self._notice_d = scenario.demand.revision_notice_d + 1.0  # days left that a notice of 0 stands for
        share = expected.hub_use / np.maximum(expected.hub_use.sum(axis=0), 1e-9)
        hub_d = (share * HubStockPlan(scenario).level_d(expected.hub_use)).sum(axis=0)
        factor = safety_factor(self._holding * bulk, float(self._lots_d.mean()), premium, 1.0)
        self._lead = np.array([m.lead_mean_d for m in materials])
        plain = self._lead + REVIEW_D + factor * np.array([m.lead_sd_d for m in materials])
        self._reorder_d = reorder * plain
        horizon = np.minimum(usable_life_d(scenario) / 2, inventory.closing_cover_d - hub_d - plain)
        self._longest_d = longest * horizon

    @abstractmethod
    def lot(self, base: NDArray[np.float64], need: NDArray[np.float64], desk: Desk) -> NDArray[np.int64]:
        """Level of the lot.

        Args:
            base: What levels are days of, units a day [copies, depots, materials].
            need: The forecast, in the same unit and shape.
            desk: What the depots see.

        Returns:
            [copies, depots, materials].
        """

    def __call__(self, desk: Desk) -> None:
        """Put levels on the desk."""
        deviation = desk.see("request_rate")
        base = base_rate(self._expected, deviation, self._floor)  # what levels are multiples of
        need = base_rate(self._expected, self._trust * deviation, self._floor)
        notice = desk.see("kit_notice")
        announced = notice > 0.0
        left_d = self._notice_d * (1.0 - notice)
        of_the_old_d = np.maximum(desk.see("stock_cover") * COVER_SCALE_D - left_d, 0.0)
        reorder = self._reorder_d * need + announced * of_the_old_d * base
        trigger = 1 + nearest_level(reorder / (base * self._lead), self._triggers)
        desk.choose("trigger", np.where(announced & (self._lead < left_d), 0, trigger))
        desk.choose("lot", self.lot(base, need, desk))

    def _least(
        self, cost: NDArray[np.float64], lots: NDArray[np.float64], need: NDArray[np.float64]
    ) -> NDArray[np.int64]:
        """Level of least cost among lots that do not last too long; the shortest is always possible."""
        too_long = lots > (need * self._longest_d)[..., None]
        too_long[..., 0] = False
        return np.asarray(np.argmin(np.where(too_long, np.inf, cost), axis=-1))


class EoqWithDiscount(ReorderAtLeadTimeDemand):
    """EOQ with all-units discounts: of the lots a depot can order the one with the least total relevant cost.

    Lots are days of cover, or up to the next price break; the cost is the EOQ's cost function with the price of the
    lot's size class (Silver, Pyke & Thomas 2017, section 4.5; Hadley & Whitin 1963). See `ReorderAtLeadTimeDemand`.
    """

    def lot(self, base: NDArray[np.float64], need: NDArray[np.float64], desk: Desk) -> NDArray[np.int64]:
        """See `ReorderAtLeadTimeDemand.lot`."""
        by_days = base[..., None] * self._lots_d
        above = np.where(self._breaks > by_days[..., :1], self._breaks, np.inf).min(axis=-1)
        lots = np.concatenate((by_days, np.where(np.isinf(above), by_days[..., 0], above)[..., None]), axis=-1)
        price = all_units_price(lots, self._prices, self._breaks)
        cost = lot_cost(lots, self._order_eur, need[..., None], self._holding[:, None], price)
        return self._least(cost, lots, need)


class EconomicLot(ReorderAtLeadTimeDemand):
    """(s, S) with the plain EOQ as the lot: Q = sqrt(2 K D / (r p)) at the price of a month's need, breaks unseen.

    The lot of days of cover with the least K D / Q + r p Q / 2 (Silver, Pyke & Thomas 2017, sections 4.1 and 6.5). See
    `ReorderAtLeadTimeDemand`.
    """

    def lot(self, base: NDArray[np.float64], need: NDArray[np.float64], desk: Desk) -> NDArray[np.int64]:
        """See `ReorderAtLeadTimeDemand.lot`."""
        lots = base[..., None] * self._lots_d
        month = all_units_price(need[..., None] * 21.0, self._prices, self._breaks)
        cost = lot_cost(lots, self._order_eur, need[..., None], self._holding[:, None], month)
        return self._least(cost, lots, need)


class BaseStock(ReorderAtLeadTimeDemand):
    """Base stock: the reorder point is the order-up-to level, and the lot the shortest there is, whatever it costs.

    Optimal where ordering costs nothing and prices do not fall with size (Clark & Scarf 1960). See
    `ReorderAtLeadTimeDemand`.
    """

    def lot(self, base: NDArray[np.float64], need: NDArray[np.float64], desk: Desk) -> NDArray[np.int64]:
        """See `ReorderAtLeadTimeDemand.lot`."""
        return np.zeros(base.shape, dtype=np.int64)


class SilverMeal(ReorderAtLeadTimeDemand):
    """Silver-Meal on the forecast: the lot lasts as long as the mean cost a day still falls (Silver & Meal 1973).

    Cost of a lot for T days, a day: (K + r p sum over t < T of t d(t)) / T, with the forecast d(t) that follows the
    season of the catalogue; the first T at which it no longer falls is left out. Prices of the lot's size do not enter
    (Silver, Pyke & Thomas 2017, section 5.6). See `ReorderAtLeadTimeDemand`.
    """

    def __init__(self, scenario: Scenario, trust: float = TRUST, reorder: float = 1.0, longest: float = 1.0) -> None:
        """See `ReorderAtLeadTimeDemand`."""
        super().__init__(scenario, trust, reorder, longest)
        self._season = season_ahead(scenario, int(self._lots_d.max()))

    def lot(self, base: NDArray[np.float64], need: NDArray[np.float64], desk: Desk) -> NDArray[np.int64]:
        """See `ReorderAtLeadTimeDemand.lot`."""
        days = self._lots_d.astype(np.int64)
        path = self._season(desk.see("calendar"))  # [copies, depots, materials, days], mean of today = 1
        carried = np.cumsum(path * np.arange(path.shape[-1]), axis=-1)[..., days - 1]
        month = all_units_price(need[..., None] * 21.0, self._prices, self._breaks)
        a_day = (self._order_eur + self._holding[:, None] * month * need[..., None] * carried) / self._lots_d
        rises = np.diff(a_day, axis=-1) >= 0.0
        level = np.where(rises.any(axis=-1), rises.argmax(axis=-1), len(days) - 1)
        longest = np.searchsorted(self._lots_d, self._longest_d * np.ones(need.shape), side="right") - 1
        return np.asarray(np.minimum(level, np.maximum(longest, 0)))
