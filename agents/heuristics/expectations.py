"""What a planner can expect before the first day, and how what it sees corrects it: base rates of use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fabmesh.envs.network.books.scenario_tables import build_tables
from fabmesh.envs.network.interface.spec import layout
from fabmesh.envs.network.schema.scenario import WORKING_DAYS_PER_YEAR, Scenario
from fabmesh.envs.scenarios.work import Job, jobs

SeasonPath: TypeAlias = Callable[[NDArray[np.float32]], NDArray[np.float64]]
"""Calendar features, [copies, agents, 4], to use relative to today's, [copies, agents, materials, days]."""


@dataclass(frozen=True)
class Expectation:
    """Mean daily needs, as the agents' observations are scaled by them.

    Attributes:
        hub_use: Units a day, [hubs, materials], of a hub's catchment: the towns it is the nearest capable hub of.
        depot_use: Units a day, [depots, materials], of the hubs a depot is nearest to.
        hub_sales: Units of catalogue products a day, [hubs, products], of a hub's catchment.
        unit_cost: Standard production cost, EUR a unit of a catalogue product, [products].
    """

    hub_use: NDArray[np.float64]
    depot_use: NDArray[np.float64]
    hub_sales: NDArray[np.float64]
    unit_cost: NDArray[np.float64]


def expect(scenario: Scenario) -> Expectation:
    """Mean daily needs of a scenario, from its constants alone."""
    tables = build_tables(scenario, layout(scenario))
    products = len(scenario.products)
    row = tables.row[:products]
    return Expectation(
        hub_use=tables.hub_use,
        depot_use=tables.depot_use,
        hub_sales=tables.hub_rate[:, :products],
        unit_cost=row["standard0"] + row["standard1"] * row["price"],
    )


def spoiled_per_hour(scenario: Scenario) -> NDArray[np.float64]:
    """What scrap costs: production cost of the mean day's work over its machine hours, EUR/h, [technologies].

    A part that is scrapped at a stage takes the whole unit's material and hours with it.
    """
    cost, hours = np.zeros(len(scenario.technologies)), np.zeros(len(scenario.technologies))
    names = [technology.name for technology in scenario.technologies]
    for job in jobs(scenario):
        machine, production, _ = _of_a_day(scenario, job)
        for name in {stage.technology for stage in job.stages}:
            hours[names.index(name)] += machine[name]
            cost[names.index(name)] += production
    return np.asarray(cost / np.maximum(hours, 1e-9))


def spoiled_per_eur(scenario: Scenario) -> NDArray[np.float64]:
    """What bad material costs: production cost of the units made with it over its own value, EUR/EUR, [materials]."""
    cost, value = np.zeros(len(scenario.materials)), np.zeros(len(scenario.materials))
    names = [material.name for material in scenario.materials]
    for job in jobs(scenario):
        _, production, material = _of_a_day(scenario, job)
        for name, eur in material.items():
            cost[names.index(name)] += production
            value[names.index(name)] += eur
    return np.asarray(np.where(value > 0.0, cost / np.maximum(value, 1e-9), 1.0))


def _of_a_day(scenario: Scenario, job: Job) -> tuple[dict[str, float], float, dict[str, float]]:
    """Of a kind of work in the network: machine hours by technology, production cost, material by name; a day."""
    technologies = {technology.name: technology for technology in scenario.technologies}
    bulk = {material.name: material.bulk_eur for material in scenario.materials}
    units, eur = float(job.units_day.sum()), float(job.eur_day.sum())
    hours = dict.fromkeys(technologies, 0.0)
    material: dict[str, float] = {}
    cost = 0.0
    for stage in job.stages:
        technology = technologies[stage.technology]
        machine = units * stage.machine_h + eur * stage.machine_h_per_eur
        labour = units * stage.labour_h + eur * stage.labour_h_per_eur + machine / technology.machines_per_technician
        hours[stage.technology] += machine
        energy = technology.power_kw * scenario.labour.energy_eur_kwh
        cost += machine * (technology.rate_eur_h + energy) + labour * scenario.labour.wage_eur_h
    for line in job.bom:
        spent = (units * line.quantity + eur * line.quantity_per_eur) * bulk[line.material]
        material[line.material] = material.get(line.material, 0.0) + spent
        cost += spent
    return hours, cost, material


def base_rate(expected: NDArray[np.float64], deviation: NDArray[np.float32], floor: float) -> NDArray[np.float64]:
    """Forecast of daily use by exponential smoothing, as the network itself scales covers with it.

    Args:
        expected: Units a day, [agents, materials].
        deviation: The observed smoothed use / expected - 1, [copies, agents, materials].
        floor: Least share of the expected use, so that zero is not absorbing.

    Returns:
        Units a day, [copies, agents, materials], > 0.
    """
    return np.asarray(np.maximum(expected, 1e-9) * np.maximum(1.0 + deviation, floor))


def season_ahead(scenario: Scenario, days: int) -> SeasonPath:
    """Forecast of the season in each material's use, from the calendar that agents see.

    Only catalogue products have a season, the yearly cosine of the scenario, so a material's is their mean weighted by
    the use they cause, beside use without season by custom work and tenders.

    Args:
        scenario: The network.
        days: How far to look ahead, today included.
    """
    use = expect(scenario)
    material = {m.name: i for i, m in enumerate(scenario.materials)}
    phasor: NDArray[Any] = np.zeros(len(material), dtype=np.complex128)  # amplitude and peak of each material's use
    for product, sales in zip(scenario.products, use.hub_sales.sum(axis=0), strict=True):
        peak = np.exp(-2j * np.pi * product.season_peak_day / WORKING_DAYS_PER_YEAR)
        for line in product.bom:
            quantity = line.quantity + line.quantity_per_eur * product.price_eur
            phasor[material[line.material]] += sales * quantity * product.season_amplitude * peak
    phasor /= np.maximum(use.hub_use.sum(axis=0), 1e-9)
    turn = np.exp(2j * np.pi * np.arange(days) / WORKING_DAYS_PER_YEAR)

    def path(calendar: NDArray[np.float32]) -> NDArray[np.float64]:
        today = (calendar[..., 3] + 1j * calendar[..., 2])[..., None, None]
        factor = 1.0 + (phasor[:, None] * turn * today).real
        return np.asarray(factor / factor[..., :1])

    return path
