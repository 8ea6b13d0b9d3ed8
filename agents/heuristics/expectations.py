"""What a planner can expect of a scenario before the first day: mean needs of material, from its constants alone."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fabmesh.envs.network.scenario import WORKING_DAYS_PER_YEAR, BomLine, Hub, Scenario, Stage


@dataclass(frozen=True)
class Work:
    """A kind of work: how many units of it customers ask for a day, and what a unit takes.

    Attributes:
        per_day: Mean units a day in the whole network (a custom order or a tender is one unit).
        stages: Its production stages.
        materials: Material index -> units of material per unit of work.
        lane: Technology of its longest stage.
    """

    per_day: float
    stages: tuple[Stage, ...]
    materials: dict[int, float]
    lane: str


def _longest_stage(stages: Sequence[Stage]) -> str:
    return max(stages, key=lambda stage: stage.machine_h + stage.machine_h_per_eur).technology


def works(scenario: Scenario) -> Iterator[Work]:
    """All kinds of work of a scenario with their mean daily volume, catalogue first, then custom, then tenders."""
    index = {material.name: m for m, material in enumerate(scenario.materials)}
    people = sum(town.population for town in scenario.towns)
    days = WORKING_DAYS_PER_YEAR

    def bill(lines: Sequence[BomLine], price: float) -> dict[int, float]:
        need: dict[int, float] = {}
        for line in lines:
            m = index[line.material]
            need[m] = need.get(m, 0.0) + line.quantity + line.quantity_per_eur * price
        return need

    for product in scenario.products:
        units = people / 1_000 * product.units_per_1000_year / days * scenario.demand.catalogue_level
        yield Work(units, product.stages, bill(product.bom, product.price_eur), _longest_stage(product.stages))
    for stream in scenario.custom_streams:
        orders = people / 100_000 * stream.orders_per_100k_year / days * scenario.demand.custom_level
        price = stream.price_median_eur * math.exp(stream.price_sigma**2 / 2)  # mean of a lognormal
        for variant in stream.variants:
            yield Work(orders * variant.share, variant.stages, bill(variant.bom, price), _longest_stage(variant.stages))
    for tender in scenario.tender_streams:
        posted = people / 100_000 * tender.tenders_per_100k_year / days * scenario.demand.tender_level
        price = sum(tender.price_eur) / 2
        for variant in tender.variants:
            yield Work(posted * variant.share, variant.stages, bill(variant.bom, price), _longest_stage(variant.stages))


def _shares(scenario: Scenario, work: Work) -> NDArray[np.float64]:
    """Share of a kind of work that each hub can expect: by machines in its lane, among the hubs that can do it."""

    def machines(hub: Hub) -> int:
        able = all(hub.machines.get(stage.technology, 0) > 0 for stage in work.stages)
        return hub.machines.get(work.lane, 0) if able else 0

    owned = np.array([machines(hub) for hub in scenario.hubs], dtype=np.float64)
    return owned / owned.sum() if owned.any() else owned


@dataclass(frozen=True)
class Expectation:
    """Mean daily needs of material.

    Attributes:
        hub_need: Units a day, [hubs, materials], were all orders served and shared by machine capacity.
        network_need: Units a day, [materials].
        depot_need: Units a day, [materials], of one depot when all depots get the same share.
    """

    hub_need: NDArray[np.float64]
    network_need: NDArray[np.float64]
    depot_need: NDArray[np.float64]


def expect(scenario: Scenario) -> Expectation:
    """Work out the mean daily needs of a scenario."""
    need = np.zeros((len(scenario.hubs), len(scenario.materials)))
    for work in works(scenario):
        share = _shares(scenario, work)
        for m, quantity in work.materials.items():
            need[:, m] += share * work.per_day * quantity
    network = need.sum(axis=0)
    return Expectation(hub_need=need, network_need=network, depot_need=network / max(len(scenario.depots), 1))
