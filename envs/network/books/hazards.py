"""What can go wrong, and what it strikes: the kinds of disruption of model §8 as a table that the kernels read.

A *hazard* is one thing that one kind of disruption can strike: this depot, that material, the platform. Rates and
durations are those of F§6.2. Which kinds can happen in a scenario also decides which public flags its agents see
(`interface.features`): where nothing can happen there is nothing to be told.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fabmesh.envs.network.books.geography import EARTH_KM, great_circle_km
from fabmesh.envs.network.compiler.rng import name_key
from fabmesh.envs.network.schema.disruption_kinds import (
    DEPOT_OUTAGE,
    KINDS,
    LONG_ROUTE,
    MATERIAL_SHORTAGE,
    PLATFORM_CYBER,
    PLATFORM_OUTAGE,
    PORT_CLOSURE,
    RANSOMWARE,
    REGIONAL_SHOCK,
    STRIKES,
    SUPPLIER_STOP,
    TAMPERING,
)
from fabmesh.envs.network.schema.scenario import WORKING_DAYS_PER_YEAR, Disruptions, Scenario, ScriptedEvent

_i1, _i4, _f8, _u8 = np.int8, np.int32, np.float64, np.uint64

CELLS_PER_RADIUS = 2  # epicentres of regional shocks: the side of a cell of their grid is a half of the radius
_KM_PER_DEGREE = EARTH_KM * math.pi / 180.0

HAZARD = np.dtype(
    [
        ("kind", _i4),
        ("target", _i4),  # hub, depot, material, product or region it strikes; 0 = the network
        ("rate_d", _f8),  # a day
        ("mu", _f8),  # of the lognormal duration in days
        ("sigma", _f8),
        ("key", _u8),
    ],
    align=True,
)
SCRIPT = np.dtype(
    [
        ("kind", _i4),
        ("target", _i4),
        ("day", _i4),
        ("duration_d", _i4),
        ("factor", _f8),  # x demand, of a surge of demand
    ],
    align=True,
)


class HazardTables(NamedTuple):
    """The part of `Tables` that is about disruptions. m material, h hub."""

    hazard: NDArray[np.void]  # [n] HAZARD, those with a rate above 0; `world` draws hub outages, `demand` surges
    script: NDArray[np.void]  # [n] SCRIPT
    region_hub: NDArray[np.int8]  # [regions, h] a shock in the region closes the hub
    overseas: NDArray[np.int8]  # [m] comes through the port
    possible: NDArray[np.int8]  # [kinds] can happen, drawn or scripted


def possible_kinds(scenario: Scenario, told: bool = False) -> tuple[bool, ...]:
    """Which of `KINDS` can happen in a scenario.

    Args:
        scenario: The network.
        told: Only those that the agents have flags for: scripted events may come as a surprise.
    """
    d = scenario.disruptions
    rates = (
        d.hub_outage_year, d.regional_shock_year, d.depot_outage_year, d.supplier_stop_year, d.port_closure_year,
        d.long_route_year, d.material_shortage_year, d.platform_outage_year, d.ransomware_year,
        d.platform_cyber_year, d.tampering_per_10k_orders, scenario.demand.surges_year,
    )  # fmt: skip
    scripted = {event.kind for event in d.scripted if event.seen or not told}
    return tuple(rate * d.scale > 0 or kind in scripted for kind, rate in zip(KINDS, rates, strict=True))


def build_hazards(
    scenario: Scenario, hub_places: list[tuple[float, float]], orders_d: NDArray[np.float64]
) -> HazardTables:
    """Compiles what can go wrong in a validated scenario.

    Args:
        scenario: The network.
        hub_places: Latitude and longitude of every hub.
        orders_d: Customer orders of every catalogue product a mean day, float64[p].
    """
    d = scenario.disruptions
    hubs = [hub.town for hub in scenario.hubs]
    materials = [m.name for m in scenario.materials]
    products = [p.name for p in scenario.products]
    struck = {"hub": hubs, "depot": [x.name for x in scenario.depots], "material": materials, "product": products}
    records: list[tuple[int, int, float, float, float, int]] = []

    def add(kind: int, target: int, name: str, per_year: float, median_d: float, sigma: float) -> None:
        rate = d.scale * per_year / WORKING_DAYS_PER_YEAR
        if rate > 0:
            records.append((kind, target, rate, math.log(median_d), sigma, name_key(KINDS[kind], name)))

    regions: list[list[int]] = []
    if d.regional_shock_year * d.scale > 0:
        share = 1.0 / (math.pi * CELLS_PER_RADIUS**2)  # of the shocks within the radius start in one cell
        for name, hit in _epicentres(hub_places, d.regional_shock_radius_km):
            rate = d.regional_shock_year * share
            add(REGIONAL_SHOCK, len(regions), name, rate, d.regional_shock_median_d, d.regional_shock_sigma)
            regions.append(hit)
    for kind, per_year, median_d, sigma in _plain_processes(d):
        for i, name in enumerate(struck.get(STRIKES[KINDS[kind]], [""])):
            add(kind, i, name, per_year, median_d, sigma)
    for p, name in enumerate(products):
        per_year = d.tampering_per_10k_orders / 1e4 * float(orders_d[p]) * WORKING_DAYS_PER_YEAR
        add(TAMPERING, p, name, per_year, 1.0, 0.0)

    script = np.zeros(len(d.scripted), SCRIPT)
    for i, event in enumerate(d.scripted):
        target = _target_of(event, struck)
        if event.kind == "regional_shock":
            target = len(regions)
            centre = next((t.latitude, t.longitude) for t in scenario.towns if t.name == event.target)
            regions.append(hubs_within(centre, hub_places, d.regional_shock_radius_km))
        script[i] = (KINDS.index(event.kind), target, event.day, event.duration_d, event.factor or 1.0)
    region_hub = np.zeros((len(regions), len(hubs)), _i1)
    for i, hit in enumerate(regions):
        region_hub[i, hit] = 1
    return HazardTables(
        hazard=np.array(records, HAZARD),
        script=script,
        region_hub=region_hub,
        overseas=np.array([m.overseas for m in scenario.materials], _i1),
        possible=np.array(possible_kinds(scenario), _i1),
    )


def hubs_within(centre: tuple[float, float], places: list[tuple[float, float]], radius_km: float) -> list[int]:
    """Indices of the places within a radius, as the crow flies."""
    return [i for i, place in enumerate(places) if great_circle_km(*centre, *place) <= radius_km]


def _plain_processes(d: Disruptions) -> tuple[tuple[int, float, float, float], ...]:
    """Kind, events a year, median and sigma of the duration, of those that strike things one by one."""
    return (
        (DEPOT_OUTAGE, d.depot_outage_year, d.depot_outage_median_d, d.depot_outage_sigma),
        (SUPPLIER_STOP, d.supplier_stop_year, d.supplier_stop_median_d, d.supplier_stop_sigma),
        (PORT_CLOSURE, d.port_closure_year, d.port_closure_median_d, d.port_closure_sigma),
        (LONG_ROUTE, d.long_route_year, d.long_route_median_d, d.long_route_sigma),
        (MATERIAL_SHORTAGE, d.material_shortage_year, d.material_shortage_median_d, d.material_shortage_sigma),
        (PLATFORM_OUTAGE, d.platform_outage_year, d.platform_outage_median_d, d.platform_outage_sigma),
        (RANSOMWARE, d.ransomware_year, d.ransomware_median_d, d.ransomware_sigma),
        (PLATFORM_CYBER, d.platform_cyber_year, d.platform_cyber_median_d, d.platform_cyber_sigma),
    )


def _target_of(event: ScriptedEvent, struck: dict[str, list[str]]) -> int:
    names = struck.get(STRIKES[event.kind])
    return 0 if names is None or event.target is None else names.index(event.target)


def _epicentres(places: list[tuple[float, float]], radius_km: float) -> list[tuple[str, list[int]]]:
    """Cells of a grid fixed on the map, and the hubs within the radius of each: name and indices of the hubs.

    The grid knows nothing of the network, so a hub more or less leaves the shocks of the others as they were.
    """
    side = radius_km / CELLS_PER_RADIUS
    high = side / _KM_PER_DEGREE  # degrees of latitude
    found: dict[tuple[int, int], list[int]] = {}
    for latitude, longitude in places:
        middle = math.floor(latitude / high)
        for row in range(middle - CELLS_PER_RADIUS - 1, middle + CELLS_PER_RADIUS + 2):
            y = (row + 0.5) * high
            wide = high / max(math.cos(math.radians(y)), 0.01)
            column_here = math.floor(longitude / wide)
            for column in range(column_here - CELLS_PER_RADIUS - 1, column_here + CELLS_PER_RADIUS + 2):
                if (row, column) not in found:
                    found[row, column] = hubs_within((y, (column + 0.5) * wide), places, radius_km)
    return [(f"{row}/{column}", hit) for (row, column), hit in sorted(found.items()) if hit]
