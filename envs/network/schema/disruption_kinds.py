"""The kinds of disruption of model §8, and what each strikes."""

from __future__ import annotations

# Kinds in the order of the table of model §8. A new kind is appended.
KINDS = (
    "hub_outage", "regional_shock", "depot_outage", "supplier_stop", "port_closure", "long_route",
    "material_shortage", "platform_outage", "ransomware", "platform_cyber", "tampering", "demand_surge",
)  # fmt: skip
(
    HUB_OUTAGE, REGIONAL_SHOCK, DEPOT_OUTAGE, SUPPLIER_STOP, PORT_CLOSURE, LONG_ROUTE, MATERIAL_SHORTAGE,
    PLATFORM_OUTAGE, RANSOMWARE, PLATFORM_CYBER, TAMPERING, DEMAND_SURGE,
) = range(len(KINDS))  # fmt: skip
# What a kind strikes; "" is the whole network.
STRIKES = {
    "hub_outage": "hub",
    "regional_shock": "town",
    "depot_outage": "depot",
    "supplier_stop": "material",
    "port_closure": "",
    "long_route": "",
    "material_shortage": "material",
    "platform_outage": "",
    "ransomware": "hub",
    "platform_cyber": "",
    "tampering": "product",
    "demand_surge": "product",
}
