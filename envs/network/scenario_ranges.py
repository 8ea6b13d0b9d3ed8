"""Allowed interval of every number of the schema, and allowed words, as data.

The checks, their messages and the tables in `docs/scenarios.md` all read these.
"""

from __future__ import annotations

from fabmesh.envs.network.tables import INBOUND_DAYS

_POSITIVE = "(0, inf)"
_NOT_NEGATIVE = "[0, inf)"
_SHARE = "[0, 1]"
_AT_LEAST_ONE = "[1, inf)"

# Allowed interval of every number, per class and field. For tuples and dicts it holds for each value.
RANGES: dict[str, dict[str, str]] = {
    "Technology": {
        "hours_per_day": "(0, 24]",
        "rate_eur_h": _NOT_NEGATIVE,
        "power_kw": _NOT_NEGATIVE,
        "setup_h": _NOT_NEGATIVE,
        "scrap": "[0, 1)",
        "machines_per_technician": _POSITIVE,
        "capex_eur": _NOT_NEGATIVE,
    },
    "Material": {
        "bulk_eur": _POSITIVE,
        "retail_eur": _POSITIVE,
        "pallet": _POSITIVE,
        "pack": _POSITIVE,
        "kg": _POSITIVE,
        "litres": _NOT_NEGATIVE,
        "lead_mean_d": "(0, 250]",
        "lead_sd_d": _NOT_NEGATIVE,
        "sealed_life_d": _POSITIVE,
        "floor_life_d": _POSITIVE,
        "co2e_kg": _NOT_NEGATIVE,
    },
    "Stage": dict.fromkeys(("machine_h", "labour_h", "machine_h_per_eur", "labour_h_per_eur"), _NOT_NEGATIVE),
    "BomLine": dict.fromkeys(("quantity", "quantity_per_eur", "stage"), _NOT_NEGATIVE),
    "Product": {
        "kg": _POSITIVE,
        "litres": _NOT_NEGATIVE,
        "price_eur": _POSITIVE,
        "units_per_order": _AT_LEAST_ONE,
        "units_per_1000_year": _POSITIVE,
        "due_d": _AT_LEAST_ONE,
        "season_amplitude": _SHARE,
        "season_peak_day": "[0, 250]",
    },
    "Variant": {"share": "(0, 1]"},
    "CustomStream": {
        "orders_per_100k_year": _POSITIVE,
        "price_median_eur": _POSITIVE,
        "price_sigma": "[0, 3]",
        "due_d": _AT_LEAST_ONE,
        "kg_per_eur": _NOT_NEGATIVE,
        "litres_per_eur": _NOT_NEGATIVE,
    },
    "TenderStream": {
        "tenders_per_100k_year": _POSITIVE,
        "units": _AT_LEAST_ONE,
        "price_eur": _POSITIVE,
        "due_d": _AT_LEAST_ONE,
        "kg_per_eur": _NOT_NEGATIVE,
        "litres_per_eur": _NOT_NEGATIVE,
    },
    "Town": {"latitude": "[-90, 90]", "longitude": "[-180, 180]", "population": _AT_LEAST_ONE},
    "Hub": {
        "machines": _NOT_NEGATIVE,
        "technicians": _AT_LEAST_ONE,
        "fit_out_eur": _NOT_NEGATIVE,
        "rent_eur_year": _NOT_NEGATIVE,
    },
    "Depot": {"latitude": "[-90, 90]", "longitude": "[-180, 180]"},
    "Demand": {
        "catalogue_level": _POSITIVE,
        "custom_level": _NOT_NEGATIVE,
        "tender_level": _NOT_NEGATIVE,
        "dispersion": "(1, inf)",
        "revisions_per_year": _NOT_NEGATIVE,
        "revision_notice_d": _AT_LEAST_ONE,
    },
    "Labour": {
        "hours_per_day": "(0, 24]",
        "wage_eur_h": _NOT_NEGATIVE,
        "overtime_premium": _NOT_NEGATIVE,
        "energy_eur_kwh": _NOT_NEGATIVE,
    },
    "Market": {
        "reach_km": _POSITIVE,
        "ceiling_catalogue": _POSITIVE,
        "ceiling_custom": _POSITIVE,
        "patience_catalogue_d": _NOT_NEGATIVE,
        "patience_custom_d": _NOT_NEGATIVE,
        "goodwill": _NOT_NEGATIVE,
        "lateness_per_day": _SHARE,
        "lateness_grace_d": _NOT_NEGATIVE,
        "lateness_cap": _SHARE,
        "cancel_after_d": _AT_LEAST_ONE,
        "reputation_weight": _NOT_NEGATIVE,
        "carbon_weight": _NOT_NEGATIVE,
    },
    "LastMile": {
        "van_stop_eur": _NOT_NEGATIVE,
        "van_radius_km": _NOT_NEGATIVE,
        "van_eur_km": _NOT_NEGATIVE,
        "van_stops_per_round": _POSITIVE,
        "parcel_eur": _NOT_NEGATIVE,
        "parcel_eur_kg": _NOT_NEGATIVE,
        "parcel_litres_per_kg": _POSITIVE,
        "two_days_beyond_km": _NOT_NEGATIVE,
    },
    "Freight": {
        "fixed_eur": _NOT_NEGATIVE,
        "rate_eur_tkm": _NOT_NEGATIVE,
        "kg_per_litre": _NOT_NEGATIVE,
        "circuity": _AT_LEAST_ONE,
        "depot_hub_two_days_beyond_km": _NOT_NEGATIVE,
    },
    "Supply": {
        "distance_km": _NOT_NEGATIVE,
        "order_eur": _NOT_NEGATIVE,
        "price_breaks_pallets": _POSITIVE,
        "price_factors": _SHARE,
        "life_at_receipt": "(0, 1]",
        "retail_lead_d": f"[1, {INBOUND_DAYS - 1}]",  # the ring of arrivals at a hub is so long
    },
    "Inventory": {
        "holding_material_year": _NOT_NEGATIVE,
        "holding_finished_year": _NOT_NEGATIVE,
        "salvage": _SHARE,
        "smoothing": "(0, 1]",
        "catchment_floor": "(0, 1]",
        "opening_level": _NOT_NEGATIVE,
        "closing_cover_d": _NOT_NEGATIVE,
    },
    "Disruptions": {
        "scale": _NOT_NEGATIVE,
        "hub_outage_year": _NOT_NEGATIVE,
        "hub_outage_median_d": _POSITIVE,
        "hub_outage_sigma": "[0, 3]",
        "hub_outage_max_d": _AT_LEAST_ONE,
    },
    "Reward": {"scale_eur": _POSITIVE},
    "Actions": {
        "bid_markups": "(-1, inf)",
        "cover_d": _POSITIVE,
        "reorder_trigger": "(0, 1]",
        "make_to_stock_d": _POSITIVE,
        "overtime": _NOT_NEGATIVE,
        "depot_trigger": _POSITIVE,
        "depot_lot_d": _POSITIVE,
        "depot_quote": "(-1, inf)",
        "switched_off": _NOT_NEGATIVE,
    },
    "Capacity": dict.fromkeys(("order_book", "open_tenders", "supplier_orders", "tender_slots"), _AT_LEAST_ONE),
    "Carbon": {
        "van_kg_km": _NOT_NEGATIVE,
        "van_km_stop": _NOT_NEGATIVE,
        "parcel_kg": _NOT_NEGATIVE,
        "parcel_up_to_kg": _POSITIVE,
        "truck_kg_tkm": _NOT_NEGATIVE,
        "grid_kg_kwh": _NOT_NEGATIVE,
    },
    "Economics": {"interest_year": "[0, 1]", "years": _POSITIVE, "mature_level": _POSITIVE},
    "Scenario": {"episode_d": "[1, 5000]"},
}

# Words that stand for a rule. What the model does not do yet is not offered.
CHOICES: dict[str, dict[str, tuple[str, ...]]] = {
    "Material": {"unit": ("kg", "piece")},
    "Labour": {"dispatching": ("edd", "fifo", "spt", "atc")},
    "Market": {"payment": ("first_price",)},
}
