"""Rules for the bulk stock of depots: reorder triggers and lots."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fabmesh.agents.heuristics.expectations import base_rate, expect
from fabmesh.agents.heuristics.formulas import (
    all_units_price,
    lot_cost,
    nearest_level,
    safety_factor,
)
from fabmesh.agents.heuristics.hub_stock import REVIEW_D, HubStockPlan, usable_life_d
from fabmesh.agents.heuristics.view import Desk
from fabmesh.envs.network.scenario import WORKING_DAYS_PER_YEAR, Scenario

TRUST = 0.25  # weight of smoothed requests against the expected need in a depot's forecast
COVER_SCALE_D = 20.0  # days of base rate a stock_cover of 1 stands for


class DepotOrderUpTo:
    """One trigger and one lot for every material, whatever it costs (order-up-to by rule of thumb)."""

    def __init__(self, scenario: Scenario, trigger: float, lot_d: float) -> None:
        """Take the levels nearest to a trigger (x lead-time need) and a lot (days of cover)."""
        self._trigger = 1 + int(nearest_level(trigger, scenario.actions.depot_trigger))
        self._lot = int(nearest_level(lot_d, scenario.actions.depot_lot_d))

    def __call__(self, desk: Desk) -> None:
        """Put levels on the desk."""
        desk.choose("trigger", self._trigger)
        desk.choose("lot", self._lot)


class EoqWithDiscount:
    """(Q, r): the lot of least total cost under all-units discounts, trigger = lead-time demand plus safety stock.

    Lot: of those a depot can order (days of cover, or up to the next price break) the one with the least total
    relevant cost, the EOQ's cost function with the price of its size class (EOQ with all-units discounts, Silver, Pyke
    & Thomas 2017, section 4.5). No lot lasts longer than half the life one can count on, nor may what is on the shelf,
    under way and on order in the network reach beyond the horizon at which the books write it down (`closing_cover_d`).

    Trigger: need during lead time and review plus z standard deviations of the lead time (ibid., section 6.10; beside
    it the need of a region varies little over weeks), z from the cost of buying at retail instead (Hadley & Whitin
    1963).

    Forecast: hubs order a cycle's need at a time, so smoothed requests swing much more than the need behind them, and
    a depot that believed them would order the swing again (bullwhip effect of order batching, Lee, Padmanabhan & Whang
    1997). The forecast goes from the expected need only a quarter of the way to the smoothed requests.

    A kit runs the risk that its design ends: the revision rate is added to its holding rate. Once the end is announced,
    an order that would arrive before it is not placed; one that arrives after it comes in the new design, so it is
    placed as if what will be left of the old one were gone.
    """

    def __init__(self, scenario: Scenario) -> None:
        """Work out what does not change from day to day."""
        supply, inventory, materials = scenario.supply, scenario.inventory, scenario.materials
        expected = expect(scenario)
        self._expected = expected.depot_use
        self._floor = inventory.catchment_floor
        self._bulk = np.array([m.bulk_eur for m in materials])
        self._premium = np.array([m.retail_eur - m.bulk_eur for m in materials])
        weight = np.array([max(m.kg, scenario.freight.kg_per_litre * m.litres) for m in materials])
        freight = scenario.freight.rate_eur_tkm * supply.distance_km * weight / 1_000  # EUR a unit
        self._prices = (self._bulk + freight)[:, None] + self._premium[:, None] * np.array(supply.price_factors)
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
        factor = safety_factor(self._holding * self._bulk, float(self._lots_d.mean()), self._premium, 1.0)
        lead = np.array([m.lead_mean_d for m in materials])
        self._reorder_d = lead + REVIEW_D + factor * np.array([m.lead_sd_d for m in materials])
        self._lead = lead
        self._longest_d = np.minimum(usable_life_d(scenario) / 2, inventory.closing_cover_d - hub_d - self._reorder_d)

    def _best_lot(self, base: NDArray[np.float64], need: NDArray[np.float64]) -> NDArray[np.int64]:
        """Level of the cheapest lot, [copies, depots, materials]; levels are days of `base`, the forecast is `need`."""
        by_days = base[..., None] * self._lots_d
        above = np.where(self._breaks > by_days[..., :1], self._breaks, np.inf).min(axis=-1)
        lots = np.concatenate((by_days, np.where(np.isinf(above), by_days[..., 0], above)[..., None]), axis=-1)
        price = all_units_price(lots, self._prices, self._breaks)
        cost = lot_cost(lots, self._order_eur, need[..., None], self._holding[:, None], price)
        too_long = lots > (need * self._longest_d)[..., None]
        too_long[..., 0] = False  # the shortest lot is always possible
        return np.asarray(np.argmin(np.where(too_long, np.inf, cost), axis=-1))

    def __call__(self, desk: Desk) -> None:
        """Put levels on the desk."""
        deviation = desk.see("request_rate")
        base = base_rate(self._expected, deviation, self._floor)  # what levels are multiples of
        need = base_rate(self._expected, TRUST * deviation, self._floor)
        notice = desk.see("kit_notice")
        announced = notice > 0.0
        left_d = self._notice_d * (1.0 - notice)
        of_the_old_d = np.maximum(desk.see("stock_cover") * COVER_SCALE_D - left_d, 0.0)
        reorder = self._reorder_d * need + announced * of_the_old_d * base
        trigger = 1 + nearest_level(reorder / (base * self._lead), self._triggers)
        desk.choose("trigger", np.where(announced & (self._lead < left_d), 0, trigger))
        desk.choose("lot", self._best_lot(base, need))
