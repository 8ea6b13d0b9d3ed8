"""Every measure of a result, worked out in one place: from the ledger, the event counts, and the network itself.

The one code path from the world to a number in a table: heuristics, learned policies and planners alike go through
`measure`, and where the network stands by through `measure_network` as well. Costs are EUR per episode, settlement
included; definitions are those of the model (`docs/model.md`, section 9). `docs/measures.md` shows the catalogue.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fabmesh.agents.evaluation.economics import economics
from fabmesh.agents.evaluation.statistics import Better, Floats
from fabmesh.agents.evaluation.trace import Trace
from fabmesh.envs.network.hazards import KINDS, possible_kinds
from fabmesh.envs.network.production import MONTH_D
from fabmesh.envs.network.scenario import WORKING_DAYS_PER_WEEK, WORKING_DAYS_PER_YEAR, Scenario
from fabmesh.envs.network.scenario_tables import lot_mean_units
from fabmesh.envs.network.state import BATCHES, EVENT_NAMES, F_RECEIVED

FREIGHT_LINES = ("order_cost", "supplier_freight", "first_mile_freight", "last_mile_freight")
TRANSFER_LINES = ("revenue", "transfers")  # paid between agents and customers: no cost of the network
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
NETWORK_MEASURES = (
    Measure("inventory_value_eur", "mean book value of all stock", "EUR", "inventory_eur_days / days", "neither"),
    Measure(
        "depot_price_over_bulk",
        "paid to suppliers / the same at bulk price",
        "ratio, at least 1",
        "value / (quantity x bulk price) over what depots received",
    ),
    Measure(
        "depot_price_over_retail",
        "paid to suppliers / the same at retail price",
        "ratio, at most 1 but for shortages",
        "value / (quantity x retail price) over what depots received",
    ),
    Measure(
        "labour_utilisation",
        "technicians' hours worked / regular hours",
        "share, above 1 with overtime",
        "labour_h / (technicians x hours a day x days)",
        "neither",
    ),
    Measure(
        "bid_markup",
        "mean mark-up of standing bids that won, by machine hours",
        "share",
        "sum of hours won x mark-up bid / sum of hours won (lots; read off day by day)",
        "neither",
    ),
    Measure(
        "products_per_hub_month",
        "distinct products a hub works on in a month of 21 days",
        "products",
        "hub_month_rows / (hubs x months)",
        "neither",
    ),
    *(
        Measure(
            f"cost_index_batch_{size}",
            f"cost / standard cost of good units, batches of {words} (a product at a stage, hub and day)",
            "ratio, 1 = standard",
            f"batch_{size}_eur / batch_{size}_standard_eur",
        )
        for size, words in zip(BATCHES, ("1 unit", "2 to 5 units", "6 to 20 units", "21 units and more"), strict=True)
    ),
    Measure(
        "hub_profit",
        "profit of all hubs",
        "EUR",
        "hubs' revenue + transfers - their cost lines",
        "higher",
    ),
    Measure(
        "gini_hub_profit",
        "Gini coefficient of the hubs' profits",
        "0 = equal; above 1 possible with losses",
        "sum over pairs |x_i - x_j| / (2 n sum x); undefined unless the hubs together make a profit",
    ),
    Measure(
        "gini_hub_work",
        "Gini coefficient of the hubs' revenue per technician",
        "share, 0 = equal",
        "the same of revenue / technicians",
    ),
    Measure(
        "demand_level",
        "units ordered / expected of mature demand",
        "ratio, 1 = the scenario's mean day",
        "units_ordered / (mean units a day of all streams, without season, x days)",
        "neither",
    ),
    Measure(
        "life_cycle_shift",
        "distance of products' demand from its mean over their lives",
        "share, 0 = no life cycles",
        "life_shift_product_days / (products x days)",
        "neither",
    ),
    Measure(
        "capital_charge",
        "annuity of machines and fit-out",
        "EUR/year",
        "(machines x capex_eur + fit_out_eur) x r / (1 - (1 + r)^-years)",
        "neither",
    ),
    Measure(
        "profit_after_capital",
        "profit of hubs and depots after capital charge",
        "EUR/year",
        "(profit + hourly charges) per year - capital charge - rent - technicians' wages",
        "higher",
    ),
    Measure(
        "break_even_adoption",
        "revenue needed / revenue of the mature catchment",
        "share of mature demand",
        "fixed cost / (contribution / revenue) / (mature_level x base demand at list price)",
    ),
)
TENDER_MEASURES = {
    "tenders_served_": Measure(
        "tenders_served_T", "tenders of the kind delivered whole / posted", "share",
        "tenders_served_T / tenders_posted_T", "higher",
    ),
    "weeks_to_": Measure(
        "weeks_to_T", "posting to whole delivery of tenders of the kind", "weeks",
        f"tender_days_T / tenders_served_T / {WORKING_DAYS_PER_WEEK} d",
    ),
}  # fmt: skip
"""Of each tender stream T: community projects, designers' batches."""
# Days on which things were disturbed, of the kinds of model §8 that can happen: kind -> event, what is counted, unit.
DISRUPTION_DAYS = {
    "hub_outage": ("outage_days", "closed hubs", "hub days"),
    "regional_shock": ("regional_shocks", "shocks that struck several hubs or one", "shocks"),
    "depot_outage": ("depot_outage_days", "closed depots", "depot days"),
    "supplier_stop": ("supplier_stop_days", "stopped suppliers", "material days"),
    "port_closure": ("port_closed_days", "the port closed", "days"),
    "long_route": ("long_route_days", "ships on the long way", "days"),
    "material_shortage": ("material_shortage_days", "scarce materials", "material days"),
    "platform_outage": ("platform_outage_days", "no platform", "days"),
    "ransomware": ("files_locked_days", "locked design files", "hub days"),
    "platform_cyber": ("files_locked_days", "locked design files", "hub days"),
    "tampering": ("tampered_days", "wrong files of products", "product days"),
    "demand_surge": ("surge_product_days", "surges of demand", "product days"),
}
DISRUPTION_MEASURES = {
    event: Measure(event, label, unit, event, "neither") for event, label, unit in DISRUPTION_DAYS.values()
}
# Measures of a mechanism, by the section of the scenario that switches it on; there only where it is on.
MECHANISM_MEASURES: dict[str, tuple[Measure, ...]] = {
    "people": (
        Measure("absence_hours", "technicians' hours away", "h", "absence_h"),
        Measure("vacancy_hours", "hours of posts without a technician", "h", "vacancy_h"),
        Measure(
            "present_share",
            "technicians' hours there / hours of all posts",
            "share",
            "1 - (absence_h + vacancy_h) / (technicians x hours a day x days)",
            "higher",
        ),
    ),
    "upkeep": (
        Measure("upkeep_cost", "service and repair of machines", "EUR", "line upkeep"),
        Measure("breakdowns", "breakdowns of machines", "breakdowns", "breakdowns"),
        Measure("services", "machines serviced", "machines", "services", "neither"),
        Measure(
            "machine_availability",
            "machine hours not lost to repairs / hours of all machines",
            "share",
            "1 - repair_h / (machines x hours a day x days)",
            "higher",
        ),
    ),
    "quality": (
        Measure(
            "cpk",
            "process capability of the hubs' technologies, mean",
            "Cpk",
            "cpk_hub_technology_days / (pairs of hub and technology with a tolerance x days)",
            "higher",
        ),
        Measure(
            "hub_spread",
            "standard deviation between hubs / within one",
            "ratio, 0 = made in A is made in B",
            "hub_spread_technology_days / (technologies with a tolerance at two hubs or more x days)",
        ),
        Measure("return_share", "units returned / delivered", "share", "units_returned / units_delivered"),
        Measure("quality_cost", "inspection and returns", "EUR", "lines inspection + quality_returns"),
        Measure("bad_lot_share", "bad lots / lots that arrive at depots", "share", "lots_bad / lots_received"),
        Measure("bad_lots_found", "bad lots sent back / bad lots", "share", "lots_rejected / lots_bad", "neither"),
    ),
    "experience": (
        Measure(
            "learning_slope",
            "labour time after a doubling of experience / before, mean over hubs and technologies",
            "share, 1 = no learning",
            "2 ^ -(learning_gain_doublings / learning_doublings)",
        ),
        Measure("labour_saved_hours", "labour hours saved by learning", "h", "labour_saved_h", "higher"),
        Measure("qualification_runs", "runs to qualify for a new design", "runs", "qualification_runs", "neither"),
    ),
}
BY_NAME = {item.name: item for item in (*MEASURES, *NETWORK_MEASURES)}


def measure_named(name: str) -> Measure:
    """What the name of a measure means."""
    known = BY_NAME | DISRUPTION_MEASURES | {item.name: item for items in MECHANISM_MEASURES.values() for item in items}
    if name in known:
        return known[name]
    for prefix, kind in TENDER_MEASURES.items():
        if name.startswith(prefix):
            stream = name.removeprefix(prefix)
            label = f"{stream}: {kind.label}"
            return Measure(name, label, kind.unit, kind.formula.replace("_T", f"_{stream}"), kind.better)
    technology = name.removeprefix("utilisation_")
    formula = f"machine_h_{technology} / (machines x hours a day x days)"
    return Measure(name, f"{technology} hours worked / hours there", "share", formula, "neither")


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


def measure_network(
    scenario: Scenario,
    ledger: Floats,
    lines: Sequence[str],
    events: Floats,
    event_names: Sequence[str],
    flow: Floats,
    trace: Trace,
) -> dict[str, Floats]:
    """Work out what needs the network as well: `NETWORK_MEASURES`, then tenders by stream, hours by technology.

    Args:
        scenario: The network.
        ledger: As for `measure`.
        lines: As for `measure`.
        events: As for `measure`.
        event_names: As for `measure`.
        flow: Material per node at the end of the episode, [episodes, hubs + depots, materials, flows, 2].
        trace: What was read off day by day.
    """
    count: Mapping[str, Floats] = dict(zip(event_names, np.moveaxis(events, -1, 0), strict=True))
    hubs, days = len(scenario.hubs), scenario.episode_d
    received = flow[:, hubs:, :, F_RECEIVED].sum(axis=1)  # [episodes, materials, quantity and value]
    bulk = np.array([material.bulk_eur for material in scenario.materials])
    retail = np.array([material.retail_eur for material in scenario.materials])
    technicians = np.array([hub.technicians for hub in scenario.hubs], np.float64)
    regular = float(technicians.sum()) * scenario.labour.hours_per_day * days
    own = ledger[:, :hubs]
    income = own[..., [lines.index(line) for line in TRANSFER_LINES]].sum(axis=-1)
    cost = own[..., [i for i, line in enumerate(lines) if line not in TRANSFER_LINES]].sum(axis=-1)
    profit = income - cost
    agents = ledger[:, : hubs + len(scenario.depots)].sum(axis=1)
    sign = np.array([1.0 if line in TRANSFER_LINES else -1.0 for line in lines])
    values = {
        "inventory_value_eur": count["inventory_eur_days"] / days,
        "depot_price_over_bulk": ratio(received[..., 1].sum(axis=1), received[..., 0] @ bulk),
        "depot_price_over_retail": ratio(received[..., 1].sum(axis=1), received[..., 0] @ retail),
        "labour_utilisation": ratio(count["labour_h"], np.full(len(events), regular)),
        "bid_markup": trace.bid_markup,
        "products_per_hub_month": count["hub_month_rows"] / (hubs * math.ceil(days / MONTH_D)),
        **{f"cost_index_batch_{n}": ratio(count[f"batch_{n}_eur"], count[f"batch_{n}_standard_eur"]) for n in BATCHES},
        "hub_profit": profit.sum(axis=1),
        "gini_hub_profit": gini(profit),
        "gini_hub_work": gini(own[..., lines.index("revenue")] / technicians),
        "demand_level": count["units_ordered"] / (_mean_units(scenario) * days),
        "life_cycle_shift": count["life_shift_product_days"] / (len(scenario.products) * days),
        **economics(scenario, agents[:, lines.index("revenue")], agents @ sign, count),
    }
    found = {item.name: np.array(values[item.name], dtype=np.float64) for item in NETWORK_MEASURES}
    for stream in scenario.tender_streams:
        served, taken = count[f"tenders_served_{stream.name}"], count[f"tender_days_{stream.name}"]
        found[f"tenders_served_{stream.name}"] = ratio(served, count[f"tenders_posted_{stream.name}"])
        found[f"weeks_to_{stream.name}"] = ratio(taken, served * WORKING_DAYS_PER_WEEK)
    for name, there in _machine_hours(scenario).items():
        found[f"utilisation_{name}"] = count[f"machine_h_{name}"] / (there * days)
    return found


def measure_disruptions(scenario: Scenario, events: Floats, event_names: Sequence[str]) -> dict[str, Floats]:
    """Work out how long things were disturbed: the events of `DISRUPTION_DAYS` whose kinds can happen.

    Args:
        scenario: The network.
        events: As for `measure`.
        event_names: As for `measure`.
    """
    kinds = (kind for kind, possible in zip(KINDS, possible_kinds(scenario), strict=True) if possible)
    counted = {DISRUPTION_DAYS[kind][0] for kind in kinds if kind in DISRUPTION_DAYS}
    return {name: events[:, event_names.index(name)].copy() for name in DISRUPTION_MEASURES if name in counted}


def measure_mechanisms(
    scenario: Scenario, ledger: Floats, lines: Sequence[str], events: Floats, event_names: Sequence[str]
) -> dict[str, Floats]:
    """Work out `MECHANISM_MEASURES` of the mechanisms that the scenario switches on.

    Args:
        scenario: The network.
        ledger: As for `measure`.
        lines: As for `measure`.
        events: As for `measure`.
        event_names: As for `measure`.
    """
    count: Mapping[str, Floats] = dict(zip(event_names, np.moveaxis(events, -1, 0), strict=True))
    values: dict[str, Floats] = {}
    if scenario.people.enabled:
        technicians = sum(hub.technicians for hub in scenario.hubs)
        posts_h = technicians * scenario.labour.hours_per_day * scenario.episode_d
        values |= {
            "absence_hours": count["absence_h"],
            "vacancy_hours": count["vacancy_h"],
            "present_share": 1.0 - (count["absence_h"] + count["vacancy_h"]) / posts_h,
        }
    if scenario.upkeep.enabled:
        machines_h = sum(_machine_hours(scenario).values()) * scenario.episode_d
        values |= {
            "upkeep_cost": ledger[..., lines.index("upkeep")].sum(axis=1),
            "breakdowns": count["breakdowns"],
            "services": count["services"],
            "machine_availability": 1.0 - count["repair_h"] / machines_h,
        }
    if scenario.quality.enabled:
        toleranced = [t.name for t in scenario.technologies if t.tolerance_mm is not None]
        hubs_of = [sum(hub.machines.get(name, 0) > 0 for hub in scenario.hubs) for name in toleranced]
        whole = np.full(len(events), float(scenario.episode_d))
        values |= {
            "cpk": ratio(count["cpk_hub_technology_days"], sum(hubs_of) * whole),
            "hub_spread": ratio(count["hub_spread_technology_days"], sum(n >= 2 for n in hubs_of) * whole),
            "return_share": ratio(count["units_returned"], count["units_delivered"]),
            "quality_cost": sum(
                (ledger[..., lines.index(line)].sum(axis=1) for line in ("inspection", "quality_returns")),
                start=np.zeros(len(events)),
            ),
            "bad_lot_share": ratio(count["lots_bad"], count["lots_received"]),
            "bad_lots_found": ratio(count["lots_rejected"], count["lots_bad"]),
        }
    if scenario.experience.enabled:
        values |= {
            "learning_slope": 2.0 ** -ratio(count["learning_gain_doublings"], count["learning_doublings"]),
            "labour_saved_hours": count["labour_saved_h"],
            "qualification_runs": count["qualification_runs"],
        }
    return values


def gini(values: Floats) -> Floats:
    """Gini coefficient along the last axis: half the mean absolute difference over the mean (Gini 1912).

    Undefined (nan) where the values do not add up to more than zero.
    """
    number = values.shape[-1]
    apart = np.abs(values[..., :, None] - values[..., None, :]).sum(axis=(-2, -1))
    return ratio(apart, 2.0 * number * values.sum(axis=-1))


def ratio(part: Floats, whole: Floats) -> Floats:
    """Part over whole, nan where there is no whole."""
    return np.asarray(np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=whole > 0))


def _mean_units(scenario: Scenario) -> float:
    """Units of all streams on a mean day of mature demand; a custom order is a unit."""
    tenders = sum(
        t.tenders_per_100k_year * scenario.demand.tender_level / 1e5 / WORKING_DAYS_PER_YEAR * sum(t.units) / 2
        for t in scenario.tender_streams
    )
    return float(lot_mean_units(scenario).sum()) + tenders * sum(town.population for town in scenario.towns)


def _machine_hours(scenario: Scenario) -> dict[str, float]:
    """Hours a day of each technology in the network, those it owns."""
    hours = {
        technology.name: technology.hours_per_day * sum(hub.machines.get(technology.name, 0) for hub in scenario.hubs)
        for technology in scenario.technologies
    }
    return {name: there for name, there in hours.items() if there > 0}
