"""Rules for sourcing: which source a depot buys from, and how it inspects what it ordered."""

from __future__ import annotations

import numpy as np
from scipy.special import erfc

from fabmesh.agents.heuristics.depot_stock import COVER_SCALE_D
from fabmesh.agents.heuristics.expectations import base_rate, expect, spoiled_per_eur
from fabmesh.agents.heuristics.formulas import all_units_price
from fabmesh.agents.heuristics.view import Desk
from fabmesh.envs.network.schema.scenario import Scenario

_LEAST_UNITS = 1e-6


class FixedSource:
    """One source and one inspection for every order, whatever is ordered.

    Args:
        scenario: The network.
        spot: 0 = the qualified source, 1 = the spot source.
        inspection: 0 = none, 1 = sample, 2 = full.
    """

    def __init__(self, scenario: Scenario, spot: int = 0, inspection: int = 0) -> None:
        self._spot, self._inspection = spot, inspection

    def __call__(self, desk: Desk) -> None:
        """Put levels on the desk."""
        desk.choose("source", self._spot)
        desk.choose("inspection", self._inspection)


class LeastExpectedLoss:
    """The source and inspection with the least expected cost of what is about to be ordered (Deming's kp rule).

    A lot is worth inspecting where the share of bad lots times what a bad one spoils is more than the inspection
    (Deming 1986, chapter 15); the spot source is worth its discount where this exceeds what its lots spoil beyond those
    of the qualified one. One choice covers all of a depot's orders of the day, so costs are summed over them. What is
    ordered follows from the triggers and lots already on the desk.

    Args:
        scenario: The network.
        damage: Times the cost of what bad and unqualified material spoils (dimensionless).
        ahead: What a depot orders it orders in the evening, when the hubs have been served. 0: on a morning on which
            nothing is below its level, qualified and uninspected; 1: the choice for the material nearest to its level.
    """

    def __init__(self, scenario: Scenario, damage: float = 1.0, ahead: int = 0) -> None:
        supply, quality, materials = scenario.supply, scenario.quality, scenario.materials
        self._ahead = ahead
        self._switched_off = scenario.actions.switched_off
        self._expected = expect(scenario).depot_use
        self._floor = scenario.inventory.catchment_floor
        self._lead = np.array([m.lead_mean_d for m in materials])
        self._triggers = np.array([0.0, *scenario.actions.depot_trigger])
        self._lots_d = np.array([*scenario.actions.depot_lot_d, scenario.actions.depot_lot_d[0]])
        bulk = np.array([m.bulk_eur for m in materials])
        premium = np.array([m.retail_eur - m.bulk_eur for m in materials])
        self._prices = bulk[:, None] + premium[:, None] * np.array(supply.price_factors)
        self._breaks = np.array([m.pallet for m in materials])[:, None] * np.array(supply.price_breaks_pallets)
        kg = np.array([max(m.kg, scenario.freight.kg_per_litre * m.litres) for m in materials])
        self._order_eur = supply.order_eur + scenario.freight.fixed_eur
        spoiled = damage * spoiled_per_eur(scenario)  # EUR per EUR of material
        bad, finds = np.array(quality.bad_lots), np.array([0.0, *quality.inspection_finds])
        missed, found = bad[:, None] * (1.0 - finds), bad[:, None] * finds  # [sources, inspections]
        scatter = np.stack((np.zeros(len(materials)), _more_out_of_tolerance(scenario)))  # [sources, materials]
        self._per_eur = (
            np.array([1.0, 1.0 - quality.spot_discount])[:, None, None]
            + (missed[..., None] + scatter[:, None]) * spoiled
        )  # [sources, inspections, materials], EUR per EUR of material at the qualified price
        freight = scenario.freight.rate_eur_tkm * np.array([supply.distance_km, quality.spot_km]) / 1_000
        self._per_unit = freight[:, None, None] * kg * np.ones((1, len(finds), 1))
        # an order that is sent back is paid for in freight and administration twice
        self._per_order = np.array([0.0, *quality.inspection_eur]) + found * self._order_eur  # [sources, inspections]

    def __call__(self, desk: Desk) -> None:
        """Put levels on the desk."""
        if not desk.decides("source") and not desk.decides("inspection"):
            return
        base = base_rate(self._expected, desk.see("request_rate"), self._floor)
        there = (desk.see("stock_cover") + desk.see("inbound_cover")) * COVER_SCALE_D * base
        trigger, lot = (
            desk.chosen(name) if desk.decides(name) else np.array(self._switched_off[f"depot.{name}"])
            for name in ("trigger", "lot")
        )
        reorder = self._triggers[trigger] * self._lead * base
        position = np.minimum(there, reorder) if self._ahead else there  # when it is ordered
        quantity = reorder + self._lots_d[lot] * base - position
        above = np.where(self._breaks > quantity[..., None], self._breaks, np.inf).min(axis=-1)
        quantity = np.where((lot == len(self._lots_d) - 1) & np.isfinite(above), above, quantity)
        ordered = there < reorder
        if self._ahead:
            left = np.where(reorder > 0.0, there / np.maximum(reorder, _LEAST_UNITS), np.inf)
            nearest = np.isfinite(left) & (left == left.min(axis=-1, keepdims=True))
            ordered = np.where(ordered.any(axis=-1, keepdims=True), ordered, nearest)
        quantity = np.where(ordered, np.maximum(quantity, _LEAST_UNITS), 0.0)
        eur = quantity * all_units_price(quantity[..., None], self._prices, self._breaks)[..., 0]
        cost = (
            np.einsum("cdm,sim->cdsi", eur, self._per_eur)
            + np.einsum("cdm,sim->cdsi", quantity, self._per_unit)
            + (quantity > 0.0).sum(axis=-1)[..., None, None] * self._per_order
        )
        best = cost.reshape(*cost.shape[:2], -1).argmin(axis=-1)[..., None]
        desk.choose("source", best // self._per_order.shape[1])
        desk.choose("inspection", best % self._per_order.shape[1])


def _more_out_of_tolerance(scenario: Scenario) -> np.ndarray:
    """Share of parts that unqualified lots of a material add to those out of tolerance on calibrated machines."""
    added = {technology.name: 0.0 for technology in scenario.technologies}
    for technology in scenario.technologies:
        if technology.tolerance_mm is not None:
            own = technology.process_sd_mm**2 + (scenario.quality.calibrated_bias * technology.tolerance_mm) ** 2
            qualified, unqualified = (
                float(erfc(technology.tolerance_mm / np.sqrt(2.0 * (own + lot**2)))) for lot in technology.lot_sd_mm
            )
            added[technology.name] = unqualified - qualified
    share = np.zeros(len(scenario.materials))
    names = [material.name for material in scenario.materials]
    for product in scenario.products:
        for line in product.bom:
            m = names.index(line.material)
            share[m] = max(share[m], added[product.stages[line.stage].technology])
    return share
