"""Every measure of a result that its books alone tell: worked out from the ledger and the event counts.

What needs the network as well is in `measures_network`, what a mechanism of the scenario adds in `measures_mechanisms`.
This is the one code path from the world to a number in a table: heuristics, learned policies and planners alike go
through it. Costs are EUR per episode, settlement included; definitions are those of the model (`docs/model.md`, section
9). `docs/measures.md` shows the catalogue.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fabmesh.agents.evaluation.statistics import Better, Floats
from fabmesh.envs.network.books.accounts import EVENT_NAMES, NOT_COST
from fabmesh.envs.network.schema.scenario import WORKING_DAYS_PER_YEAR

FREIGHT_LINES = ("order_cost", "supplier_freight", "first_mile_freight", "last_mile_freight")
TRANSFER_LINES = NOT_COST  # paid between agents and customers: no cost of the network
CARBON_EVENTS = tuple(name for name in EVENT_NAMES if name.startswith("co2e_kg_"))
PRODUCTION_LINES = ("material", "machine", "energy", "labour", "overtime", "setup", "scrap")


@dataclass(frozen=True)
class Measure:
    """What a number in a table means.

    Attributes:
        name: Key in JSON and in `EpisodeTable.measures`.
        label: Words for tables and axes.
        unit: Unit; "share" is dimensionless and from 0 to 1 unless said.
        formula: How it is worked out, in ledger lines and event counts of one episode.
        better: Which way is better, if either is.
    """

    name: str
    label: str
    unit: str
    formula: str
    better: Better = "lower"


MEASURES = (
    Measure("network_cost", "network cost", "EUR", "sum of all cost lines over agents and platform"),
    Measure("controllable_cost", "controllable cost", "EUR", "network cost - standard cost of all units on the tape"),
    Measure("mission_cost", "mission cost", "EUR", "order_cost + all freight lines + deadstock"),
    Measure("network_cost_per_unit", "network cost per unit delivered", "EUR/unit", "network cost / units_delivered"),
    Measure(
        "controllable_cost_per_unit",
        "controllable cost per unit delivered",
        "EUR/unit",
        "controllable cost / units_delivered",
    ),
    Measure("mission_cost_per_unit", "mission cost per unit delivered", "EUR/unit", "mission cost / units_delivered"),
    Measure("deadstock", "deadstock write-off net of salvage", "EUR", "line deadstock"),
    Measure(
        "deadstock_share",
        "deadstock at book value / purchases, retail included",
        "share",
        "deadstock_gross_eur / (purchases_eur + retail_eur)",
    ),
    Measure("logistics_cost", "order and freight cost", "EUR", "order_cost + all freight lines"),
    Measure("logistics_share", "logistics / network cost", "share", "logistics cost / network cost"),
    Measure(
        "retail_share",
        "bought at retail / purchases, retail included",
        "share",
        "retail_eur / (purchases_eur + retail_eur)",
    ),
    Measure("lateness_cost", "lateness", "EUR", "line lateness"),
    Measure("lost_cost", "lost and cancelled orders", "EUR", "line lost"),
    Measure("holding_cost", "holding", "EUR", "line holding"),
    Measure("settlement_cost", "settlement at the end", "EUR", "line settlement"),
    Measure("fill_rate", "units delivered / ordered", "share", "units_delivered / units_ordered", "higher"),
    Measure("on_time_share", "units on time / delivered", "share", "units_on_time / units_delivered", "higher"),
    Measure("lost_share", "units lost / ordered", "share", "units_lost / units_ordered"),
    Measure("cancelled_share", "units cancelled / ordered", "share", "units_cancelled / units_ordered"),
    Measure("lead_time_days", "lead time of delivered units", "days", "lead_time_unit_days / units_delivered"),
    Measure("tender_win_share", "tenders awarded / posted", "share", "tenders_won / tenders_posted", "higher"),
    Measure("supplier_orders", "supplier orders of depots", "orders", "supplier_orders", "neither"),
    Measure("hub_consignments", "consignments to hubs", "consignments", "hub_consignments", "neither"),
    Measure(
        "shortage_days",
        "days a hub lacked a material it needed",
        "hub-material days",
        "shortage_hub_material_days",
    ),
    Measure("overtime_hours", "overtime", "h", "overtime_h", "neither"),
    Measure("masked_actions", "actions without effect", "actions", "masked_actions", "neither"),
    Measure("skilled_hours", "technicians' hours worked", "h", "labour_h", "neither"),
    Measure(
        "scrap_share",
        "unit-stages scrapped / (units delivered + scrapped)",
        "share",
        "units_scrapped / (units_delivered + units_scrapped)",
    ),
    Measure(
        "inventory_turns_per_year",
        "material used / mean inventory, per year",
        "1/year",
        f"line material x {WORKING_DAYS_PER_YEAR} d / inventory_eur_days",
        "neither",
    ),
    Measure(
        "allocative_efficiency",
        "least true cost / true cost of the awards",
        "share, 1 = every award to the cheapest hub that could",
        "award_least_cost_eur / award_cost_eur",
        "higher",
    ),
    Measure(
        "winners_regret",
        "what winners could have asked more / revenue",
        "share",
        "award_left_eur / line revenue",
        "neither",
    ),
    Measure(
        "realised_markup",
        "paid for production / production cost - 1",
        "share",
        "(revenue - last_mile_freight) / (material + machine + energy + labour + overtime + setup + scrap) - 1",
        "neither",
    ),
    Measure("paid_above_bid", "second price less the winners' bids", "EUR", "paid_above_bid_eur", "neither"),
    Measure("platform_fees", "platform's share of revenue", "EUR", "platform_fees_eur", "neither"),
    Measure("royalties", "royalties on designs", "EUR", "royalties_eur", "neither"),
    Measure("units_ordered", "units ordered", "units", "units_ordered", "neither"),
    Measure(
        "surge_units_share",
        "units ordered of products in a surge / ordered",
        "share",
        "surge_units / units_ordered",
        "neither",
    ),
    Measure("co2e_kg", "CO2e of transport, energy and material", "kg", "sum of all co2e_kg counts"),
    Measure("co2e_kg_per_unit", "CO2e per unit delivered", "kg/unit", "co2e_kg / units_delivered"),
    Measure("co2e_kg_van", "CO2e of own vans to customers", "kg", "co2e_kg_van"),
    Measure("co2e_kg_parcel", "CO2e of parcels to customers", "kg", "co2e_kg_parcel"),
    Measure("co2e_kg_retail_parcel", "CO2e of parcels from retail to hubs", "kg", "co2e_kg_retail_parcel"),
    Measure("co2e_kg_truck_to_hub", "CO2e of trucks from depots to hubs", "kg", "co2e_kg_truck_to_hub"),
    Measure("co2e_kg_truck_to_depot", "CO2e of trucks from suppliers to depots", "kg", "co2e_kg_truck_to_depot"),
    Measure("co2e_kg_energy", "CO2e of the machines' electricity", "kg", "co2e_kg_energy"),
    Measure("co2e_kg_material", "CO2e of material in good units", "kg", "co2e_kg_material"),
    Measure("co2e_kg_scrap", "CO2e of material scrapped", "kg", "co2e_kg_scrap"),
    Measure("co2e_kg_write_off", "CO2e of material written off", "kg", "co2e_kg_write_off"),
)


def measure(
    ledger: Floats, lines: Sequence[str], events: Floats, event_names: Sequence[str], standard_cost: Floats
) -> dict[str, Floats]:
    """Work out every measure of `MEASURES` of finished episodes.

    Args:
        ledger: EUR cumulated over the episode, [episodes, agents + platform, lines].
        lines: Names of the ledger lines.
        events: Counts over the episode, [episodes, events].
        event_names: Names of the events.
        standard_cost: EUR, standard cost of the tape, [episodes].

    Returns:
        Measure name -> [episodes]; nan where a share has nothing to be a share of.
    """
    by_line: Mapping[str, Floats] = dict(zip(lines, np.moveaxis(ledger.sum(axis=1), -1, 0), strict=True))
    count: Mapping[str, Floats] = dict(zip(event_names, np.moveaxis(events, -1, 0), strict=True))
    network = sum((by_line[line] for line in lines if line not in TRANSFER_LINES), start=np.zeros(len(ledger)))
    controllable = network - standard_cost
    logistics = sum((by_line[line] for line in FREIGHT_LINES), start=np.zeros(len(ledger)))
    production = sum((by_line[line] for line in PRODUCTION_LINES), start=np.zeros(len(ledger)))
    mission = logistics + by_line["deadstock"]
    ordered, delivered = count["units_ordered"], count["units_delivered"]
    bought = count["purchases_eur"] + count["retail_eur"]
    carbon = sum((count[name] for name in CARBON_EVENTS), start=np.zeros(len(events)))
    values = {
        "network_cost": network,
        "controllable_cost": controllable,
        "mission_cost": mission,
        "network_cost_per_unit": ratio(network, delivered),
        "controllable_cost_per_unit": ratio(controllable, delivered),
        "mission_cost_per_unit": ratio(mission, delivered),
        "deadstock": by_line["deadstock"],
        "deadstock_share": ratio(count["deadstock_gross_eur"], bought),
        "logistics_cost": logistics,
        "logistics_share": ratio(logistics, network),
        "retail_share": ratio(count["retail_eur"], bought),
        "lateness_cost": by_line["lateness"],
        "lost_cost": by_line["lost"],
        "holding_cost": by_line["holding"],
        "settlement_cost": by_line["settlement"],
        "fill_rate": ratio(delivered, ordered),
        "on_time_share": ratio(count["units_on_time"], delivered),
        "lost_share": ratio(count["units_lost"], ordered),
        "cancelled_share": ratio(count["units_cancelled"], ordered),
        "lead_time_days": ratio(count["lead_time_unit_days"], delivered),
        "tender_win_share": ratio(count["tenders_won"], count["tenders_posted"]),
        "supplier_orders": count["supplier_orders"],
        "hub_consignments": count["hub_consignments"],
        "shortage_days": count["shortage_hub_material_days"],
        "overtime_hours": count["overtime_h"],
        "masked_actions": count["masked_actions"],
        "skilled_hours": count["labour_h"],
        "scrap_share": ratio(count["units_scrapped"], delivered + count["units_scrapped"]),
        "inventory_turns_per_year": ratio(by_line["material"] * WORKING_DAYS_PER_YEAR, count["inventory_eur_days"]),
        "allocative_efficiency": ratio(count["award_least_cost_eur"], count["award_cost_eur"]),
        "winners_regret": ratio(count["award_left_eur"], by_line["revenue"]),
        "realised_markup": ratio(by_line["revenue"] - by_line["last_mile_freight"], production) - 1.0,
        "paid_above_bid": count["paid_above_bid_eur"],
        "platform_fees": count["platform_fees_eur"],
        "royalties": count["royalties_eur"],
        "units_ordered": ordered,
        "surge_units_share": ratio(count["surge_units"], ordered),
        "co2e_kg": carbon,
        "co2e_kg_per_unit": ratio(carbon, delivered),
        **{name: count[name] for name in CARBON_EVENTS},
    }
    return {item.name: np.array(values[item.name], dtype=np.float64) for item in MEASURES}


def ratio(part: Floats, whole: Floats) -> Floats:
    """Part over whole, nan where there is no whole."""
    return np.asarray(np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=whole > 0))
