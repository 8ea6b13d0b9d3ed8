"""Rules for the bulk stock of depots: reorder triggers and lots."""

from __future__ import annotations

import numpy as np

from fabmesh.agents.heuristics.expectations import expect
from fabmesh.agents.heuristics.formulas import (
    covering_level,
    eoq_all_units_discount,
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
    4.5); when it is the least lot of a class, "next price break" is chosen. Trigger: lead-time demand plus z standard
    deviations of it (random lead time, section 6.10), z from the cost of buying at retail instead (Hadley & Whitin
    1963). What ages is bought for no longer than half the life one can count on. A kit runs the risk that its design
    ends: the revision rate is added to its holding rate, and once the end is announced no more is ordered.
    """

    def __init__(self, scenario: Scenario, consignment_d: float = 10.0) -> None:
        """Work out trigger and lot for every material.

        Args:
            scenario: The network.
            consignment_d: Working days between a hub's consignments; sets the variance of requests.
        """
        supply, actions, materials = scenario.supply, scenario.actions, scenario.materials
        wanted = expect(scenario)
        need = np.maximum(wanted.depot_need, 1e-9)  # units a day
        bulk = np.array([m.bulk_eur for m in materials])
        retail = np.array([m.retail_eur for m in materials])
        pallet = np.array([m.pallet for m in materials])
        weight = np.array([max(m.kg, scenario.freight.kg_per_litre * m.litres) for m in materials])
        freight = scenario.freight.rate_eur_tkm * supply.distance_km * weight / 1_000  # EUR a unit
        factors = np.array(supply.price_factors)
        prices = bulk[:, None] + (retail - bulk)[:, None] * factors + freight[:, None]
        minima = pallet[:, None] * np.array((0.0, *supply.price_breaks_pallets))
        specific = np.array([m.design_of is not None for m in materials])
        obsolescence = scenario.demand.revisions_per_year * (1.0 - scenario.inventory.salvage) * specific
        holding = (scenario.inventory.holding_material_year + obsolescence) / WORKING_DAYS_PER_YEAR
        longest = need * np.maximum(usable_life_d(scenario) / 2, min(actions.depot_lot_d))
        order_eur = supply.order_eur + scenario.freight.fixed_eur
        lot = eoq_all_units_discount(order_eur, need, holding, prices, minima, longest)

        lead = np.array([m.lead_mean_d for m in materials])
        lead_sd = np.array([m.lead_sd_d for m in materials])
        # Hubs order a cycle's need at a time, each at its own moment: compound Poisson with lots D_hub x cycle.
        share = wanted.hub_need / len(scenario.depots) if scenario.depots else wanted.hub_need
        variance = (share**2).sum(axis=0) * len(scenario.depots) * consignment_d
        deviation = lead_time_deviation(lead + REVIEW_D, lead_sd, need, variance)
        short = np.maximum(retail - bulk, 1e-9)
        z = safety_factor(holding * bulk, lot, short, need)
        reorder = need * (lead + REVIEW_D) + z * deviation
        self._trigger = 1 + covering_level(reorder / (need * lead), actions.depot_trigger)

        levels_d = np.array(actions.depot_lot_d, dtype=np.float64)
        at_break = np.isclose(lot[:, None], minima).any(axis=1) & (lot > 0.0)
        by_days = nearest_level(lot / need, levels_d)
        within = lot / need <= levels_d[-1]
        self._lot = np.where(at_break & ~within, len(levels_d), by_days)

    def __call__(self, desk: Desk) -> None:
        """Put levels on the desk."""
        announced = desk.see("kit_notice") > 0.0
        desk.choose("trigger", np.where(announced, 0, self._trigger))
        desk.choose("lot", np.where(announced, 0, self._lot))
