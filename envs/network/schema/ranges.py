"""Allowed interval of every number of the schema, and allowed words, as data.

The checks, their messages and the tables in `docs/scenarios.md` all read these. Every interval ends: a number beyond
it is no use to anybody, and would meet an integer, a ring, a loop or a table that it does not fit. What numbers inside
their intervals come to together is checked in `scenario_sizes`.
"""

from __future__ import annotations

from fabmesh.envs.network.schema.disruption_kinds import KINDS
from fabmesh.envs.network.schema.sizes import INBOUND_DAYS, MAX_STAGES, MOST_DAYS, MOST_DUE_D, MOST_UNITS

PRICE = "[0.0001, 1e9]"  # EUR; what costs nothing would have no book value to be told by
_EUR = "[0, 1e9]"
_EUR_H = "[0, 1e6]"
_SHARE = "[0, 1]"
_FACTOR = "[0, 1000]"  # what something is multiplied with
_AT_LEAST_ONCE = "[1, 1000]"
_LEVEL = "[0.001, 1000]"  # of demand
_AMOUNT = "[0.0001, 1e6]"  # units, kg, L of one thing
_AMOUNT_OR_NONE = "[0, 1e6]"
_PER_EUR = "[0, 1000]"
_KM = "[0, 50000]"  # by road to the other end of the world and back
_YEARLY = "[0, 10000]"  # events a year: 250 are one every day
_DURATION = f"(0, {MOST_DAYS}]"
_DAYS = f"[1, {MOST_DAYS}]"
_DAYS_OR_NONE = f"[0, {MOST_DAYS}]"
_YEARS_OF_DAYS = "[0, 25000]"  # 100 years
_DUE = f"[1, {MOST_DUE_D}]"
_PATIENCE = "[0, 1000]"  # days
_DEVIATION = "[0, 1000]"  # mm, or tolerances
_MOST_SCRAP = "[0, 0.99]"  # of quality.MOST_SCRAP
MOST_ENTRIES = 2_000  # of a list: towns, hubs, products, levels of an action

# Allowed interval of every number, per class and field. For tuples and dicts it holds for each value.
RANGES: dict[str, dict[str, str]] = {
    "Technology": {
        "hours_per_day": "(0, 24]",
        "rate_eur_h": _EUR_H,
        "power_kw": _AMOUNT_OR_NONE,
        "setup_h": "[0, 24]",
        "scrap": _MOST_SCRAP,
        "machines_per_technician": _LEVEL,
        "mtbf_h": "[0.01, 1e9]",
        "mttr_h": "[0, 1e5]",
        "tolerance_mm": "[0.0001, 1000]",
        "process_sd_mm": "[0.0001, 1000]",
        "lot_sd_mm": _DEVIATION,
        "progress_ratio": "[0.01, 1]",
        "capex_eur": _EUR,
    },
    "Material": {
        "bulk_eur": "[1e-06, 1e9]",
        "retail_eur": "[1e-06, 1e9]",
        "pallet": "[0.0001, 1e9]",
        "pack": "[0.0001, 1e9]",
        "kg": _AMOUNT,
        "litres": _AMOUNT_OR_NONE,
        "lead_mean_d": "[0.01, 250]",
        "lead_sd_d": "[0, 1000]",
        "sealed_life_d": "[1, 25000]",
        "floor_life_d": "[1, 25000]",
        "co2e_kg": _AMOUNT_OR_NONE,
    },
    "Stage": {
        "machine_h": "[0, 1e5]",
        "labour_h": "[0, 1e5]",
        "machine_h_per_eur": _PER_EUR,
        "labour_h_per_eur": _PER_EUR,
    },
    "BomLine": {"quantity": _AMOUNT_OR_NONE, "quantity_per_eur": _PER_EUR, "stage": f"[0, {MAX_STAGES - 1}]"},
    "Product": {
        "kg": _AMOUNT,
        "litres": _AMOUNT_OR_NONE,
        "price_eur": PRICE,
        "units_per_order": f"[1, {MOST_UNITS}]",
        "units_per_1000_year": _AMOUNT,
        "due_d": _DUE,
        "season_amplitude": _SHARE,
        "season_peak_day": "[0, 250]",
        "royalty": _SHARE,
        "life_year": _FACTOR,
    },
    "Variant": {"share": "(0, 1]"},
    "CustomStream": {
        "orders_per_100k_year": "[0.0001, 1e8]",
        "price_median_eur": PRICE,
        "price_sigma": "[0, 3]",
        "due_d": _DUE,
        "kg_per_eur": _PER_EUR,
        "litres_per_eur": _PER_EUR,
    },
    "TenderStream": {
        "tenders_per_100k_year": "[0.0001, 1e8]",
        "units": f"[1, {MOST_UNITS}]",
        "price_eur": PRICE,
        "due_d": _DUE,
        "kg_per_eur": _PER_EUR,
        "litres_per_eur": _PER_EUR,
    },
    "Town": {"latitude": "[-90, 90]", "longitude": "[-180, 180]", "population": "[1, 1e9]"},
    "Hub": {
        "machines": "[0, 10000]",
        "technicians": "[1, 10000]",
        "fit_out_eur": _EUR,
        "rent_eur_year": _EUR,
    },
    "Depot": {"latitude": "[-90, 90]", "longitude": "[-180, 180]"},
    "Demand": {
        "catalogue_level": _LEVEL,
        "custom_level": _FACTOR,
        "tender_level": _FACTOR,
        "dispersion": "[1.001, 1000]",
        "revisions_per_year": _YEARLY,
        "revision_notice_d": "[1, 1000]",
        "surges_year": "[0, 250]",
        "surge_factor": _AT_LEAST_ONCE,
        "surge_d": "[1, 250]",
        "life_year": _FACTOR,
        "life_sigma": "[0, 3]",
        "adoption_from": "[0.001, 1]",
        "adoption_ramp_d": "[1, 25000]",
        "adoption_day": _YEARS_OF_DAYS,
    },
    "Labour": {
        "hours_per_day": "(0, 24]",
        "wage_eur_h": _EUR_H,
        "overtime_premium": _FACTOR,
        "energy_eur_kwh": _EUR_H,
    },
    "Market": {
        "reach_km": _KM,
        "ceiling_catalogue": _LEVEL,
        "ceiling_custom": _LEVEL,
        "patience_catalogue_d": _PATIENCE,
        "patience_custom_d": _PATIENCE,
        "goodwill": _FACTOR,
        "lateness_per_day": _SHARE,
        "lateness_grace_d": f"[0, {MOST_DAYS - 1}]",
        "lateness_cap": _SHARE,
        "cancel_after_d": _DAYS,
        "reputation_weight": _FACTOR,
        "platform_fee": _SHARE,
        "carbon_weight": _FACTOR,
        "quality_weight": _FACTOR,
    },
    "LastMile": {
        "van_stop_eur": _EUR,
        "van_radius_km": _KM,
        "van_eur_km": _EUR_H,
        "van_stops_per_round": "[0.01, 1e6]",
        "parcel_eur": _EUR,
        "parcel_eur_kg": _EUR_H,
        "parcel_litres_per_kg": _LEVEL,
        "two_days_beyond_km": _KM,
    },
    "Freight": {
        "fixed_eur": _EUR,
        "rate_eur_tkm": _EUR_H,
        "kg_per_litre": _FACTOR,
        "circuity": "[1, 10]",
        "depot_hub_two_days_beyond_km": _KM,
    },
    "Supply": {
        "distance_km": _KM,
        "order_eur": _EUR,
        "price_breaks_pallets": "[0.0001, 1e6]",
        "price_factors": _SHARE,
        "life_at_receipt": "[0.001, 1]",
        "retail_lead_d": f"[1, {INBOUND_DAYS - 1}]",  # the ring of arrivals at a hub is so long
    },
    "Inventory": {
        "holding_material_year": "[0, 250]",
        "holding_finished_year": "[0, 250]",
        "salvage": _SHARE,
        "smoothing": "[1e-12, 1]",
        "catchment_floor": "[0.0001, 1]",
        "opening_level": "[0, 1000]",
        "closing_cover_d": "[0, 1000]",
    },
    "Disruptions": {
        "scale": _FACTOR,
        "hub_outage_year": _YEARLY,
        "hub_outage_median_d": _DURATION,
        "hub_outage_sigma": "[0, 3]",
        "hub_outage_max_d": _DAYS,
        "regional_shock_year": _YEARLY,
        "regional_shock_median_d": _DURATION,
        "regional_shock_sigma": "[0, 3]",
        "regional_shock_radius_km": "[1, 1000]",
        "depot_outage_year": _YEARLY,
        "depot_outage_median_d": _DURATION,
        "depot_outage_sigma": "[0, 3]",
        "supplier_stop_year": _YEARLY,
        "supplier_stop_median_d": _DURATION,
        "supplier_stop_sigma": "[0, 3]",
        "supplier_stop_output": _SHARE,
        "port_closure_year": _YEARLY,
        "port_closure_median_d": _DURATION,
        "port_closure_sigma": "[0, 3]",
        "port_queue": "[0, 100]",
        "long_route_year": _YEARLY,
        "long_route_median_d": _DURATION,
        "long_route_sigma": "[0, 3]",
        "long_route_lead_d": "[0, 1000]",
        "long_route_freight": _AT_LEAST_ONCE,
        "material_shortage_year": _YEARLY,
        "material_shortage_median_d": _DURATION,
        "material_shortage_sigma": "[0, 3]",
        "material_shortage_lead": "[1, 100]",
        "material_shortage_price": _AT_LEAST_ONCE,
        "platform_outage_year": _YEARLY,
        "platform_outage_median_d": _DURATION,
        "platform_outage_sigma": "[0, 3]",
        "ransomware_year": _YEARLY,
        "ransomware_median_d": _DURATION,
        "ransomware_sigma": "[0, 3]",
        "platform_cyber_year": _YEARLY,
        "platform_cyber_median_d": _DURATION,
        "platform_cyber_sigma": "[0, 3]",
        "tampering_per_10k_orders": _YEARLY,
        "tampering_found_d": _DAYS,
        "tampering_scrap": _MOST_SCRAP,
    },
    "Reward": {"scale_eur": "[0.0001, 1e12]", "team_weight": _SHARE},
    "ScriptedEvent": {"day": f"[0, {MOST_DAYS})", "duration_d": _DAYS, "factor": _AT_LEAST_ONCE},
    "StressEvent": {  # of `envs.scenarios.stress`
        "at": "[0, 1)",
        "day": f"[0, {MOST_DAYS})",
        "duration_d": _DAYS,
        "factor": _AT_LEAST_ONCE,
    },
    "Actions": {
        "bid_markups": "(-1, 1000]",
        "cover_d": "(0, 1000]",
        "reorder_trigger": "(0, 1]",
        "make_to_stock_d": "(0, 100]",
        "overtime": "[0, 4]",
        "depot_trigger": "(0, 100]",
        "depot_lot_d": "(0, 1000]",
        "depot_quote": "(-1, 1000]",
        "switched_off": f"[0, {MOST_ENTRIES}]",
    },
    "Capacity": {
        "order_book": "[1, 10000]",
        "open_tenders": "[1, 100000]",
        "supplier_orders": "[1, 1000]",
        "tender_slots": "[1, 1000]",
    },
    "People": {
        "absence_share": "[0, 0.99]",
        "absence_spell_d": "[1, 1000]",
        "turnover_year": "[0, 250)",
        "hiring_d": _DAYS_OR_NONE,
        "training_d": _DAYS_OR_NONE,
        "training_productivity": _SHARE,
    },
    "Upkeep": {
        "wear_shape": "[1, 10]",
        "service_h": "[0, 1000]",
        "service_eur": _EUR,
        "repair_eur_h": _EUR_H,
    },
    "Quality": {
        "uncalibrated_bias": _DEVIATION,
        "calibrated_bias": _DEVIATION,
        "drift_week": _DEVIATION,
        "hub_check": _SHARE,
        "return_price_share": _FACTOR,
        "bad_lots": _SHARE,
        "spot_discount": "[0, 0.99]",
        "spot_km": _KM,
        "inspection_eur": _EUR,
        "inspection_finds": _SHARE,
    },
    "Experience": {
        "prior_units": "[0.01, 1e9]",
        "shared": _SHARE,
        "scrap_progress_ratio": "[0.01, 1]",
        "floor": _SHARE,
        "first_pass_yield": "[0.01, 1]",
        "qualification_h": "[0, 1000]",
        "qualification_kg": _AMOUNT_OR_NONE,
    },
    "Carbon": {
        "van_kg_km": _AMOUNT_OR_NONE,
        "van_km_stop": _KM,
        "parcel_kg": _AMOUNT_OR_NONE,
        "parcel_up_to_kg": _AMOUNT,
        "truck_kg_tkm": _AMOUNT_OR_NONE,
        "grid_kg_kwh": _AMOUNT_OR_NONE,
    },
    "Economics": {"interest_year": "[0, 1]", "years": "[0.1, 1000]", "mature_level": _LEVEL},
    "Scenario": {"episode_d": _DAYS},
}

# Words that stand for a rule. What the model does not do yet is not offered.
CHOICES: dict[str, dict[str, tuple[str, ...]]] = {
    "Material": {"unit": ("kg", "piece")},
    "Labour": {"dispatching": ("edd", "fifo", "spt", "atc")},
    "Market": {"payment": ("first_price", "second_price")},
    "ScriptedEvent": {"kind": KINDS},
    "StressEvent": {"kind": KINDS},
}


def bounds(interval: str) -> tuple[float, float]:
    """The two ends of an interval, whether they belong to it or not."""
    low, high = interval[1:-1].split(",")
    return float(low), float(high)


def within(value: float, interval: str) -> bool:
    """Whether a number is inside an interval such as "(0, 1]"; NaN is in none."""
    low, high = bounds(interval)
    above = value > low if interval[0] == "(" else value >= low
    below = value < high if interval[-1] == ")" else value <= high
    return above and below
