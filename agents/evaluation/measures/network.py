"""Measures that need the network beside its books: what there is to work with, and who earns what."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from fabmesh.agents.evaluation.measures.books import TRANSFER_LINES, Measure, ratio
from fabmesh.agents.evaluation.measures.economics import economics
from fabmesh.agents.evaluation.measures.trace import Trace
from fabmesh.agents.evaluation.statistics import Floats
from fabmesh.envs.network.books.accounts import BATCHES
from fabmesh.envs.network.books.scenario_tables import lot_mean_units
from fabmesh.envs.network.books.state import F_RECEIVED
from fabmesh.envs.network.day.stage6_hubs_work import MONTH_D
from fabmesh.envs.network.schema.scenario import WORKING_DAYS_PER_WEEK, WORKING_DAYS_PER_YEAR, Scenario

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
        ledger: As for `measures.measure`.
        lines: As for `measures.measure`.
        events: As for `measures.measure`.
        event_names: As for `measures.measure`.
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
    for name, there in machine_hours(scenario).items():
        found[f"utilisation_{name}"] = count[f"machine_h_{name}"] / (there * days)
    return found


def gini(values: Floats) -> Floats:
    """Gini coefficient along the last axis: half the mean absolute difference over the mean (Gini 1912).

    Undefined (nan) where the values do not add up to more than zero.
    """
    number = values.shape[-1]
    apart = np.abs(values[..., :, None] - values[..., None, :]).sum(axis=(-2, -1))
    return ratio(apart, 2.0 * number * values.sum(axis=-1))


def _mean_units(scenario: Scenario) -> float:
    """Units of all streams on a mean day of mature demand; a custom order is a unit."""
    tenders = sum(
        t.tenders_per_100k_year * scenario.demand.tender_level / 1e5 / WORKING_DAYS_PER_YEAR * sum(t.units) / 2
        for t in scenario.tender_streams
    )
    return float(lot_mean_units(scenario).sum()) + tenders * sum(town.population for town in scenario.towns)


def machine_hours(scenario: Scenario) -> dict[str, float]:
    """Hours a day of each technology in the network, those it owns."""
    hours = {
        technology.name: technology.hours_per_day * sum(hub.machines.get(technology.name, 0) for hub in scenario.hubs)
        for technology in scenario.technologies
    }
    return {name: there for name, there in hours.items() if there > 0}
