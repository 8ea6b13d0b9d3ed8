"""What the numbers of a scenario come to together: rows, demand of a day, hours, packs and memory.

Each is inside its interval (`schema.scenario`); here are the products and sums that meet an integer, a loop or a table.
What is too much is refused by the key that adds most to it, or that a user would rather change.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

from fabmesh.envs.errors import ScenarioError
from fabmesh.envs.network.books.state import (
    HUB_MATERIAL,
    HUB_PRODUCT,
    LOT,
    ORDER,
    POST,
    SUPPLIER_ORDER,
)
from fabmesh.envs.network.books.tables import ASKED
from fabmesh.envs.network.schema.scenario import WORKING_DAYS_PER_YEAR, BomLine, Scenario, Stage
from fabmesh.envs.network.schema.sizes import MOST_UNITS

Refuse = Callable[[str, str], ScenarioError]  # as in `scenario_checks`

MOST_ROWS = 32_767  # of what can be ordered: orders name their row in 16 bits
MOST_TENDERS = 2_000  # a day of a town and stream
MOST_DEMAND = 1_000_000  # units a mean day of the network: the settlement looks at each day of the tape
MOST_OUTPUT = 1_000_000  # units of a row that a hub's machines could make in a day
MOST_PACKS = 1e9  # of a material, a mean day
MOST_BYTES = 2**30  # of one network in memory
_PEAK_OF_LIFE = 1.58  # x mean sales, see `demand.bass_sales`
_SCRATCH = 32  # bytes for a lot or order in a thread's working memory


def check_sizes(scenario: Scenario, refuse: Refuse) -> None:
    """Raises the error that `refuse` makes of the first size that is too large."""
    _check_demand(scenario, refuse)
    for path, stages, bom, price, units in _work(scenario):
        _check_output(scenario, path, stages, price, refuse)
        _check_packs(scenario, path, bom, price, units, refuse)
    _check_memory(scenario, refuse)


def _people(scenario: Scenario) -> int:
    return sum(town.population for town in scenario.towns)


def _per_head(scenario: Scenario) -> Iterator[tuple[str, float, float]]:
    """Key, mean orders a head and day, and what multiplies them at the peak, of everything that is ordered."""
    demand = scenario.demand
    surge = demand.surge_factor[1] if demand.surges_year * scenario.disruptions.scale > 0 else 1.0
    for i, product in enumerate(scenario.products):
        scripted = [e.factor or 1.0 for e in scenario.disruptions.scripted if e.target == product.name]
        lives = demand.life_year if product.life_year is None else product.life_year
        peak = (1.0 + product.season_amplitude) * max(surge, *scripted, 1.0) * (_PEAK_OF_LIFE if lives else 1.0)
        rate = product.units_per_1000_year * demand.catalogue_level / 1e3
        yield f"products[{i}].units_per_1000_year", rate / WORKING_DAYS_PER_YEAR, peak
    for i, custom in enumerate(scenario.custom_streams):
        rate = custom.orders_per_100k_year * demand.custom_level / 1e5
        yield f"custom_streams[{i}].orders_per_100k_year", rate / WORKING_DAYS_PER_YEAR, 1.0
    for i, tender in enumerate(scenario.tender_streams):
        rate = tender.tenders_per_100k_year * demand.tender_level / 1e5
        yield f"tender_streams[{i}].tenders_per_100k_year", rate / WORKING_DAYS_PER_YEAR, 1.0


def _largest_draw(mean: float, dispersion: float) -> float:
    """What a day's draw with this mean and variance / mean is below, but once in more than a thousand million days."""
    return mean + 8.0 * math.sqrt(mean * dispersion) + 20.0 * dispersion


def _check_demand(scenario: Scenario, refuse: Refuse) -> None:
    rows = sum(1 for _ in _work(scenario))
    if rows > MOST_ROWS:
        raise refuse("products", f"products and variants are {rows:,}; at most {MOST_ROWS:,} are possible")
    largest = max(scenario.towns, key=lambda town: town.population)
    total = 0.0
    for key, per_head, peak in _per_head(scenario):
        mean = largest.population * per_head * peak
        most = MOST_TENDERS if key.startswith("tender") else MOST_UNITS
        draw = _largest_draw(mean, scenario.demand.dispersion if key.startswith("products") else 1.0)
        if draw > most:
            text = f"up to {draw:,.0f} a day in {largest.name} ({largest.population:,} people), {mean:,.0f} in the mean"
            raise refuse(key, f"{text} at the peak; at most {most:,} are possible: lower it, or its level, or the peak")
        total += _people(scenario) * per_head
        if total > MOST_DEMAND:
            text = f"with those before it {total:,.0f} are ordered a mean day; at most {MOST_DEMAND:,} are possible"
            raise refuse(key, f"{text}: lower it, or its level in demand")


def _work(scenario: Scenario) -> Iterator[tuple[str, tuple[Stage, ...], tuple[BomLine, ...], float, float]]:
    """Path, stages, bill of materials, mean price and units a mean day of everything that is made."""
    people = _people(scenario)
    per_head = {key.split(".")[0]: rate * people for key, rate, _ in _per_head(scenario)}
    for i, product in enumerate(scenario.products):
        path = f"products[{i}]"
        yield path, product.stages, product.bom, product.price_eur, per_head[path]
    for i, custom in enumerate(scenario.custom_streams):
        path, price = f"custom_streams[{i}]", custom.price_median_eur * math.exp(custom.price_sigma**2 / 2)
        for j, variant in enumerate(custom.variants):
            yield f"{path}.variants[{j}]", variant.stages, variant.bom, price, per_head[path] * variant.share
    for i, tender in enumerate(scenario.tender_streams):
        path, price = f"tender_streams[{i}]", sum(tender.price_eur) / sum(tender.units)
        units = per_head[path] * sum(tender.units) / 2
        for j, variant in enumerate(tender.variants):
            yield f"{path}.variants[{j}]", variant.stages, variant.bom, price, units * variant.share


def _check_output(scenario: Scenario, path: str, stages: tuple[Stage, ...], price: float, refuse: Refuse) -> None:
    """No hub could make more units of a row in a day than can be counted."""
    day_h = {technology.name: technology.hours_per_day for technology in scenario.technologies}
    for i, stage in enumerate(stages):
        machines = max(hub.machines.get(stage.technology, 0) for hub in scenario.hubs)
        hours = machines * day_h[stage.technology] * (1.0 + scenario.actions.overtime[-1])
        unit_h = stage.machine_h + stage.machine_h_per_eur * price
        if hours > MOST_OUTPUT * unit_h:
            text = f"a unit takes {unit_h:g} machine hours, and a hub has {hours:,.0f} a day for it"
            raise refuse(f"{path}.stages[{i}]", f"{text}: more than {MOST_OUTPUT:,} units a day; raise machine_h")


def _check_packs(
    scenario: Scenario, path: str, bom: tuple[BomLine, ...], price: float, units: float, refuse: Refuse
) -> None:
    """What is used of a material in a day is a number of packs that can be counted."""
    pack = {material.name: material.pack for material in scenario.materials}
    for i, line in enumerate(bom):
        packs = units * (line.quantity + line.quantity_per_eur * price) / pack[line.material]
        if packs > MOST_PACKS:
            text = f"{packs:,.0f} packs of {line.material} a mean day; at most {MOST_PACKS:,.0f} are possible"
            raise refuse(f"{path}.bom[{i}]", f"{text}: lower the quantity, or raise the material's pack")


def memory_of(scenario: Scenario) -> dict[str, int]:
    """Bytes that one network takes, about, by the key that makes them many."""
    market, capacity = scenario.market, scenario.capacity
    hubs, towns, depots = len(scenario.hubs), len(scenario.towns), len(scenario.depots)
    materials, products = len(scenario.materials), len(scenario.products)
    custom = sum(len(stream.variants) for stream in scenario.custom_streams)
    rows = products + custom + sum(len(stream.variants) for stream in scenario.tender_streams)
    lot = LOT.itemsize + _SCRATCH
    people = max(hub.technicians for hub in scenario.hubs) if scenario.people.enabled else 0
    machines = sum(sum(hub.machines.values()) for hub in scenario.hubs) if scenario.upkeep.enabled else 0
    number = np.dtype(np.float64).itemsize
    return {
        "market.patience_catalogue_d": towns * products * (market.patience_catalogue_d + 1) * lot,
        "market.patience_custom_d": towns * custom * (market.patience_custom_d + 1) * lot,
        "capacity.order_book": (hubs * ORDER.itemsize + lot) * capacity.order_book,
        "capacity.open_tenders": capacity.open_tenders * lot,
        "capacity.supplier_orders": depots * materials * capacity.supplier_orders * SUPPLIER_ORDER.itemsize,
        "capacity.tender_slots": hubs * capacity.tender_slots * number * 16,
        "people": hubs * people * POST.itemsize,
        "upkeep": machines * number,
        "towns": towns * (rows + hubs * (3 + rows)) * max(number, ASKED.itemsize),
        "hubs": hubs * (materials * HUB_MATERIAL.itemsize + products * HUB_PRODUCT.itemsize),
    }


def _check_memory(scenario: Scenario, refuse: Refuse) -> None:
    parts = memory_of(scenario)
    total = sum(parts.values())
    if total > MOST_BYTES:
        key = max(parts, key=lambda part: parts[part])
        text = f"one network would take {total / 2**30:,.1f} GiB of memory, {parts[key] / 2**30:,.1f} of it for this"
        raise refuse(key, f"{text}; at most {MOST_BYTES / 2**30:g} GiB are possible")
