"""What the mean day of a scenario asks for: orders as work at machines and people, and who is near enough to do it.

Expected values without season, disruptions or queueing. Every array says its shape; days are working days.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fabmesh.envs.network.books.geography import EARTH_KM
from fabmesh.envs.network.schema.scenario import (
    WORKING_DAYS_PER_YEAR,
    BomLine,
    CustomStream,
    Scenario,
    Stage,
    TenderStream,
)

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Job:
    """One kind of work: a catalogue product, or a variant of a made-to-order or tender stream."""

    stream: str
    variant: str  # "" for catalogue products
    stages: tuple[Stage, ...]
    bom: tuple[BomLine, ...]
    orders_day: Floats  # [towns] customer orders: stops and tenders are counted by these
    units_day: Floats  # [towns]
    eur_day: Floats  # [towns] at list price
    kg_day: Floats  # [towns] delivered
    litres_day: Floats  # [towns] delivered


def jobs(scenario: Scenario) -> tuple[Job, ...]:
    """Everything the mean day asks for, as work."""
    people = np.array([town.population for town in scenario.towns], dtype=np.float64)
    demand = scenario.demand
    found = []
    for product in scenario.products:
        units = people / 1000 * product.units_per_1000_year / WORKING_DAYS_PER_YEAR * demand.catalogue_level
        found.append(
            Job(
                product.name,
                "",
                product.stages,
                product.bom,
                orders_day=units / product.units_per_order,
                units_day=units,
                eur_day=units * product.price_eur,
                kg_day=units * product.kg,
                litres_day=units * product.litres,
            )
        )
    for custom in scenario.custom_streams:
        orders = people / 1e5 * custom.orders_per_100k_year / WORKING_DAYS_PER_YEAR * demand.custom_level
        found += _made_to_order(custom, orders, 1.0, custom_mean_eur(custom))
    for tender in scenario.tender_streams:
        orders = people / 1e5 * tender.tenders_per_100k_year / WORKING_DAYS_PER_YEAR * demand.tender_level
        found += _made_to_order(tender, orders, sum(tender.units) / 2, sum(tender.price_eur) / 2)
    return tuple(found)


def _made_to_order(stream: CustomStream | TenderStream, orders: Floats, units: float, eur: float) -> list[Job]:
    return [
        Job(
            stream.name,
            variant.name,
            variant.stages,
            variant.bom,
            orders_day=orders * variant.share,
            units_day=orders * variant.share * units,
            eur_day=orders * variant.share * eur,
            kg_day=orders * variant.share * eur * stream.kg_per_eur,
            litres_day=orders * variant.share * eur * stream.litres_per_eur,
        )
        for variant in stream.variants
    ]


def custom_mean_eur(stream: CustomStream) -> float:
    """Mean of the lognormal price: median x exp(sigma^2 / 2)."""
    return float(stream.price_median_eur * np.exp(stream.price_sigma**2 / 2))


def units_started(scenario: Scenario, stages: tuple[Stage, ...]) -> Floats:
    """Units each stage has to work for one good unit: scrap of a stage also costs the stages before it. [stages]."""
    scrap = {technology.name: technology.scrap for technology in scenario.technologies}
    good = np.array([1.0 - scrap[stage.technology] for stage in stages])
    return np.asarray(1.0 / np.cumprod(good[::-1])[::-1], dtype=np.float64)


def hub_of_town(scenario: Scenario, stages: tuple[Stage, ...]) -> NDArray[np.int64]:
    """Nearest hub that owns every machine the stages need, for each town. [towns]."""
    needed = {stage.technology for stage in stages}
    capable = np.array([all(hub.machines.get(name, 0) > 0 for name in needed) for hub in scenario.hubs])
    return np.asarray(np.where(capable, town_hub_km(scenario), np.inf).argmin(axis=1), dtype=np.int64)


def depot_of_hub(scenario: Scenario) -> NDArray[np.int64]:
    """Nearest depot of each hub. [hubs]."""
    return np.asarray(hub_depot_km(scenario).argmin(axis=1), dtype=np.int64)


def town_hub_km(scenario: Scenario) -> Floats:
    """Road distances. [towns, hubs]."""
    return road_km(_towns_at(scenario), _hubs_at(scenario), scenario.freight.circuity)


def hub_depot_km(scenario: Scenario) -> Floats:
    """Road distances. [hubs, depots]."""
    depots = np.array([(depot.latitude, depot.longitude) for depot in scenario.depots])
    return road_km(_hubs_at(scenario), depots, scenario.freight.circuity)


def road_km(from_deg: Floats, to_deg: Floats, circuity: float) -> Floats:
    """Great circle (haversine) x circuity. Latitude and longitude in degrees, [n, 2] and [m, 2] -> [n, m]."""
    a, b = np.radians(from_deg)[:, None, :], np.radians(to_deg)[None, :, :]
    half = np.sin((b - a) / 2) ** 2
    chord = half[..., 0] + np.cos(a[..., 0]) * np.cos(b[..., 0]) * half[..., 1]
    return np.asarray(circuity * 2 * EARTH_KM * np.arcsin(np.sqrt(chord)), dtype=np.float64)


def _towns_at(scenario: Scenario) -> Floats:
    return np.array([(town.latitude, town.longitude) for town in scenario.towns])


def _hubs_at(scenario: Scenario) -> Floats:
    towns = {town.name: town for town in scenario.towns}
    return np.array([(towns[hub.town].latitude, towns[hub.town].longitude) for hub in scenario.hubs])
