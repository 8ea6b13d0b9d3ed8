"""Rules for the bulk stock of depots: reorder triggers and lots."""

from __future__ import annotations

import numpy as np

from fabmesh.agents.heuristics.expectations import base_rate, expect
from fabmesh.agents.heuristics.formulas import (
    eoq_all_units_discount,
    joint_cycle,
    lead_time_deviation,
    nearest_level,
    safety_factor,
)
from fabmesh.agents.heuristics.hub_stock import REVIEW_D, usable_life_d
from fabmesh.agents.heuristics.view import Desk
from fabmesh.envs.network.scenario import WORKING_DAYS_PER_YEAR, Scenario


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
    """(Q, r): lot from the EOQ with all-units discounts, trigger from lead-time demand plus safety stock.

    Lot: for each price class the EOQ, moved into the class, the cheapest wins (Silver, Pyke & Thomas 2017, section
    4.5), with demand forecast by exponential smoothing; a lot beyond the longest level that only the price break
    justifies is ordered as "next price break". Trigger: lead-time demand plus z standard deviations of it (random lead
    time, section 6.10), z from the cost of buying at retail instead (Hadley & Whitin 1963). What ages is bought for no
    longer than half the life one can count on. A kit runs the risk that its design ends: the revision rate is added to
    its holding rate, and once the end is announced no more is ordered.
    """

    def __init__(self, scenario: Scenario) -> None:
        """Work out what does not change from day to day."""
        supply, inventory, materials = scenario.supply, scenario.inventory, scenario.materials
        expected = expect(scenario)
        self._expected = expected.depot_use
        self._floor = inventory.catchment_floor
        self._bulk = np.array([m.bulk_eur for m in materials])
        self._premium = np.array([m.retail_eur - m.bulk_eur for m in materials])
        pallet = np.array([m.pallet for m in materials])
        weight = np.array([max(m.kg, scenario.freight.kg_per_litre * m.litres) for m in materials])
        freight = scenario.freight.rate_eur_tkm * supply.distance_km * weight / 1_000  # EUR a unit
        factors = np.array(supply.price_factors)
        self._prices = self._bulk[:, None] + self._premium[:, None] * factors + freight[:, None]
        self._minima = pallet[:, None] * np.array((0.0, *supply.price_breaks_pallets))
        kit = np.array([m.design_of is not None for m in materials])
        obsolescence = kit * scenario.demand.revisions_per_year * (1.0 - inventory.salvage)
        self._holding = (inventory.holding_material_year + obsolescence) / WORKING_DAYS_PER_YEAR
        self._order_eur = supply.order_eur + scenario.freight.fixed_eur
        self._levels_d = np.array(scenario.actions.depot_lot_d, dtype=np.float64)
        self._longest_d = np.maximum(usable_life_d(scenario) / 2, self._levels_d[0])
        self._triggers = np.array(scenario.actions.depot_trigger)
        self._lead = np.array([m.lead_mean_d for m in materials])
        self._lead_sd = np.array([m.lead_sd_d for m in materials])
        # Hubs order a joint cycle's need at a time, each at its own moment: compound Poisson requests, whose variance
        # a day is sum D_hub^2 T_hub; here relative to the squared demand, in days.
        share = expected.hub_use / np.maximum(expected.hub_use.sum(axis=0), 1e-9)
        value = np.maximum(expected.hub_use @ self._bulk, 1e-9)
        cycle = joint_cycle(scenario.freight.fixed_eur, value, inventory.holding_material_year / WORKING_DAYS_PER_YEAR)
        self._lumpiness_d = (share**2 * cycle[:, None]).sum(axis=0)

    def __call__(self, desk: Desk) -> None:
        """Put levels on the desk."""
        need = base_rate(self._expected, desk.see("request_rate"), self._floor)
        lot = eoq_all_units_discount(
            self._order_eur, need, self._holding, self._prices, self._minima, need * self._longest_d
        )
        deviation = lead_time_deviation(self._lead + REVIEW_D, self._lead_sd, need, need**2 * self._lumpiness_d)
        factor = safety_factor(self._holding * self._bulk, lot, self._premium, need)
        reorder = need * (self._lead + REVIEW_D) + factor * deviation
        trigger = 1 + nearest_level(reorder / (need * self._lead), self._triggers)

        days = lot / need
        at_break = np.isclose(lot[..., None], self._minima).any(axis=-1)
        for_the_price = at_break & (days > self._levels_d[-1])
        level = np.where(for_the_price, len(self._levels_d), nearest_level(days, self._levels_d))
        announced = desk.see("kit_notice") > 0.0
        desk.choose("trigger", np.where(announced, 0, trigger))
        desk.choose("lot", np.where(announced, 0, level))
