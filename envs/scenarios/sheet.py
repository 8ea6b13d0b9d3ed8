"""The capacity sheet: hours, material and money a scenario's mean day asks for, set against what is there.

Plain functions of a `Scenario`, by expectation and without simulation, so that a scenario can be judged before it
is run: a network where nothing is scarce, or where lot sizes do not matter, teaches nothing. Left out are season,
disruptions, expiry, design revisions and queueing; `agents.evaluation.studies.gate` measures with them.
Every array says its shape; days are working days.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from fabmesh.envs.network.schema.scenario import WORKING_DAYS_PER_YEAR, Scenario
from fabmesh.envs.scenarios.work import (
    Floats,
    Job,
    depot_of_hub,
    hub_depot_km,
    hub_of_town,
    jobs,
    town_hub_km,
    units_started,
)

LABOUR = "labour"
DAYS_PER_CONSIGNMENT = 5.0  # for the cost estimate: a hub receives goods from its depot once a week


@dataclass(frozen=True)
class StreamSheet:
    """Demand per stream of orders, over all towns."""

    streams: tuple[str, ...]
    labels: tuple[str, ...]
    orders_day: Floats  # [streams]
    units_day: Floats  # [streams]
    eur_day: Floats  # [streams]


@dataclass(frozen=True)
class CapacitySheet:
    """Hours needed against hours there. The last resource is the technicians' labour."""

    resources: tuple[str, ...]  # technologies, then "labour"
    hubs: tuple[str, ...]
    town_need_h: Floats  # [towns, resources] work of the town's own demand, scrap included, without set-ups
    hub_hours: Floats  # [hubs, resources]
    setup_h: Floats  # [resources] expected set-up hours a day, each town served by its nearest capable hub
    utilisation: Floats  # [resources] network, without set-ups
    utilisation_with_setups: Floats  # [resources]
    own_town: Floats  # [hubs, resources] need of the hub's own town / the hub's hours; inf where it has none


@dataclass(frozen=True)
class MaterialSheet:
    """Flow of material against packs, pallets and price classes."""

    materials: tuple[str, ...]
    use_day: Floats  # [materials] network, in the material's unit
    value_day: Floats  # [materials] EUR at bulk price
    hub_use_day: Floats  # [hubs, materials] each town served by its nearest capable hub
    depot_use_day: Floats  # [depots, materials] each hub buying at its nearest depot
    pack_days: Floats  # [hubs, materials] days of use in a pack; inf where nothing is used
    pallet_days: Floats  # [depots, materials] days of use in a pallet; inf where nothing is used
    lot_days: tuple[float, ...]  # [lots] the lots a depot can choose
    lot_class: NDArray[np.int64]  # [depots, materials, lots] index into `supply.price_factors`
    lot_price: Floats  # [depots, materials, lots] unit price of such a lot / bulk price


@dataclass(frozen=True)
class LotSheet:
    """Best lot per depot and material: EOQ with all-units discounts, within the material's life. 0 where unused."""

    lot: Floats  # [depots, materials] in the material's unit
    lot_days: Floats  # [depots, materials]
    purchase_year: Floats  # [depots, materials] EUR at bulk price
    price_loss_year: Floats  # [depots, materials] paid above the bulk price
    order_year: Floats  # [depots, materials] order cost
    freight_year: Floats  # [depots, materials] supplier freight
    holding_year: Floats  # [depots, materials] of half a lot


@dataclass(frozen=True)
class CostSheet:
    """Cost of a mean day by ledger line: lots at their EOQ, everything made by the nearest capable hub."""

    lines: tuple[str, ...]
    eur_day: Floats  # [lines]
    logistics_share: float  # order cost and all freight / all lines


@dataclass(frozen=True)
class Sheet:
    """All parts of the sheet of one scenario."""

    scenario: Scenario
    streams: StreamSheet
    capacity: CapacitySheet
    materials: MaterialSheet
    lots: LotSheet
    costs: CostSheet


def make_sheet(scenario: Scenario) -> Sheet:
    """The whole sheet of a checked scenario."""
    work = jobs(scenario)
    capacity = capacity_sheet(scenario, work)
    materials = material_sheet(scenario, work)
    lots = lot_sheet(scenario, materials)
    costs = cost_sheet(scenario, work, capacity, materials, lots)
    return Sheet(scenario, stream_sheet(scenario, work), capacity, materials, lots, costs)


def stream_sheet(scenario: Scenario, work: tuple[Job, ...]) -> StreamSheet:
    """Orders, units and EUR a day per stream."""
    label = {product.name: product.label for product in scenario.products}
    label |= {stream.name: stream.label for stream in scenario.custom_streams}
    label |= {stream.name: stream.label for stream in scenario.tender_streams}

    def total(field: str) -> Floats:
        return np.array([sum(float(getattr(job, field).sum()) for job in work if job.stream == name) for name in label])

    return StreamSheet(tuple(label), tuple(label.values()), total("orders_day"), total("units_day"), total("eur_day"))


# --- hours -----------------------------------------------------------------------------------------------------


def capacity_sheet(scenario: Scenario, work: tuple[Job, ...]) -> CapacitySheet:
    """Hours needed and hours there, per technology and of people."""
    names = [technology.name for technology in scenario.technologies]
    tended = np.array([technology.machines_per_technician for technology in scenario.technologies])
    setup = np.array([technology.setup_h for technology in scenario.technologies])
    need = np.zeros((len(scenario.towns), len(names) + 1))
    setups = np.zeros(len(names) + 1)
    for job in work:
        at_hub = _by_hub(scenario, job, job.orders_day)
        busy_hubs = float((1.0 - np.exp(-at_hub)).sum())  # hubs with at least one such order a day, if Poisson
        for stage, started in zip(job.stages, units_started(scenario, job.stages), strict=True):
            k = names.index(stage.technology)
            machine = started * (job.units_day * stage.machine_h + job.eur_day * stage.machine_h_per_eur)
            manual = started * (job.units_day * stage.labour_h + job.eur_day * stage.labour_h_per_eur)
            need[:, k] += machine
            need[:, -1] += manual + machine / tended[k]
            setups[[k, -1]] += busy_hubs * setup[k]
    hours = np.array(
        [
            [hub.machines.get(technology.name, 0) * technology.hours_per_day for technology in scenario.technologies]
            + [hub.technicians * scenario.labour.hours_per_day]
            for hub in scenario.hubs
        ]
    )
    towns = [town.name for town in scenario.towns]
    own = need[[towns.index(hub.town) for hub in scenario.hubs]]
    return CapacitySheet(
        resources=(*names, LABOUR),
        hubs=tuple(hub.town for hub in scenario.hubs),
        town_need_h=need,
        hub_hours=hours,
        setup_h=setups,
        utilisation=_ratio(need.sum(axis=0), hours.sum(axis=0)),
        utilisation_with_setups=_ratio(need.sum(axis=0) + setups, hours.sum(axis=0)),
        own_town=_ratio(own, hours),
    )


def _by_hub(scenario: Scenario, job: Job, per_town: Floats) -> Floats:
    """A quantity of each town, summed over the towns whose nearest capable hub this is. [hubs]."""
    hubs = np.bincount(hub_of_town(scenario, job.stages), weights=per_town, minlength=len(scenario.hubs))
    return np.asarray(hubs, dtype=np.float64)


def _ratio(need: Floats, there: Floats) -> Floats:
    """Hours needed / there; 0 where nothing is needed, inf where something is needed and nothing is there."""
    out = np.where(need > 0, np.inf, 0.0)
    np.divide(need, there, out=out, where=there > 0)
    return out


# --- material --------------------------------------------------------------------------------------------------


def material_sheet(scenario: Scenario, work: tuple[Job, ...]) -> MaterialSheet:
    """Use of material, and what packs, pallets and lots mean in days of use."""
    names = [material.name for material in scenario.materials]
    use = np.zeros((len(scenario.hubs), len(names)))
    for job in work:
        started = units_started(scenario, job.stages)
        for line in job.bom:
            per_town = started[line.stage] * (job.units_day * line.quantity + job.eur_day * line.quantity_per_eur)
            use[:, names.index(line.material)] += _by_hub(scenario, job, per_town)
    depot_use = np.zeros((len(scenario.depots), len(names)))
    np.add.at(depot_use, depot_of_hub(scenario), use)
    pallet = _column(scenario, "pallet")
    lot_days = tuple(float(days) for days in scenario.actions.depot_lot_d)
    lots = depot_use[:, :, None] * np.array(lot_days)
    classes = price_class(scenario, lots / pallet[:, None])
    bulk = _column(scenario, "bulk_eur")
    return MaterialSheet(
        materials=tuple(names),
        use_day=use.sum(axis=0),
        value_day=use.sum(axis=0) * bulk,
        hub_use_day=use,
        depot_use_day=depot_use,
        pack_days=_days(_column(scenario, "pack"), use),
        pallet_days=_days(pallet, depot_use),
        lot_days=lot_days,
        lot_class=classes,
        lot_price=unit_price(scenario, classes, bulk[:, None], _column(scenario, "retail_eur")[:, None])
        / bulk[:, None],
    )


def price_class(scenario: Scenario, pallets: Floats) -> NDArray[np.int64]:
    """Class of the all-units discount an order of so many pallets falls into: index into `supply.price_factors`."""
    breaks = np.array(scenario.supply.price_breaks_pallets, dtype=np.float64)
    return np.asarray(np.searchsorted(breaks, pallets, side="right"), dtype=np.int64)


def unit_price(scenario: Scenario, classes: NDArray[np.int64], bulk: Floats, retail: Floats) -> Floats:
    """EUR per unit: bulk + (retail - bulk) x factor of the class."""
    factors = np.array(scenario.supply.price_factors, dtype=np.float64)
    return np.asarray(bulk + (retail - bulk) * factors[classes], dtype=np.float64)


def chargeable_kg(scenario: Scenario) -> Floats:
    """Freight weight of one unit: max(kg, kg per litre x L). [materials]."""
    by_volume = scenario.freight.kg_per_litre * _column(scenario, "litres")
    return np.maximum(_column(scenario, "kg"), by_volume)


def lot_sheet(scenario: Scenario, materials: MaterialSheet) -> LotSheet:
    """EOQ with all-units discounts (Harris 1913; Hadley & Whitin 1963): best of each class's EOQ and its break."""
    shape = materials.depot_use_day.shape
    lot, price_loss, order, freight, holding = (np.zeros(shape) for _ in range(5))
    weight = chargeable_kg(scenario)
    for j, m in np.ndindex(shape):
        year = float(materials.depot_use_day[j, m]) * WORKING_DAYS_PER_YEAR
        if year <= 0:
            continue
        lot[j, m], paid = best_lot(scenario, m, year)
        orders = year / lot[j, m]
        price_loss[j, m] = (paid - scenario.materials[m].bulk_eur) * year
        order[j, m] = scenario.supply.order_eur * orders
        tonne_km = weight[m] * year / 1000 * scenario.supply.distance_km
        freight[j, m] = scenario.freight.fixed_eur * orders + scenario.freight.rate_eur_tkm * tonne_km
        holding[j, m] = scenario.inventory.holding_material_year * paid * lot[j, m] / 2
    used = materials.depot_use_day > 0
    return LotSheet(
        lot=lot,
        lot_days=np.divide(lot, materials.depot_use_day, out=np.zeros(shape), where=used),
        purchase_year=materials.depot_use_day * WORKING_DAYS_PER_YEAR * _column(scenario, "bulk_eur"),
        price_loss_year=price_loss,
        order_year=order,
        freight_year=freight,
        holding_year=holding,
    )


def best_lot(scenario: Scenario, m: int, year: float) -> tuple[float, float]:
    """Lot (units) and unit price (EUR) of least yearly cost for a use of `year` units of material `m`.

    A lot of an ageing material is at most what is used up in the mean life it has left at receipt.
    """
    material, supply = scenario.materials[m], scenario.supply
    fixed = supply.order_eur + scenario.freight.fixed_eur
    largest = np.inf
    if material.sealed_life_d is not None:
        life_d = material.sealed_life_d * sum(supply.life_at_receipt) / 2
        largest = max(material.pack, year / WORKING_DAYS_PER_YEAR * life_d)
    edges = [0.0, *(material.pallet * step for step in supply.price_breaks_pallets), np.inf]
    found: list[tuple[float, float, float]] = []
    for (low, high), factor in zip(pairwise(edges), supply.price_factors, strict=True):
        price = material.bulk_eur + (material.retail_eur - material.bulk_eur) * factor
        holding = max(scenario.inventory.holding_material_year * price, 1e-12)
        eoq = float(np.sqrt(2 * fixed * year / holding))
        lot = max(min(eoq, largest), low, material.pack)
        if lot < high and lot <= largest:
            found.append((year * price + fixed * year / lot + holding * lot / 2, lot, price))
    _, lot, price = min(found)
    return lot, price


def _column(scenario: Scenario, field: str) -> Floats:
    """One figure of every material. [materials]."""
    return np.array([getattr(material, field) for material in scenario.materials], dtype=np.float64)


def _days(quantity: Floats, use: Floats) -> Floats:
    out = np.full(use.shape, np.inf)
    np.divide(quantity, use, out=out, where=use > 0)
    return out


# --- cost ------------------------------------------------------------------------------------------------------


def cost_sheet(
    scenario: Scenario, work: tuple[Job, ...], capacity: CapacitySheet, materials: MaterialSheet, lots: LotSheet
) -> CostSheet:
    """Ledger of the mean day, for the weight of logistics in it before anything is simulated."""
    labour = scenario.labour
    machine_eur = np.array([technology.rate_eur_h for technology in scenario.technologies])
    energy_eur = np.array([technology.power_kw for technology in scenario.technologies]) * labour.energy_eur_kwh
    need, setups = capacity.town_need_h.sum(axis=0), capacity.setup_h[:-1]
    bought = lots.purchase_year + lots.price_loss_year
    year = WORKING_DAYS_PER_YEAR
    lines = {
        "material": bought.sum() / year,
        "machine": need[:-1] @ machine_eur,
        "energy": need[:-1] @ energy_eur,
        "labour": need[-1] * labour.wage_eur_h,
        "setup": setups @ (machine_eur + energy_eur + labour.wage_eur_h),
        "holding": lots.holding_year.sum() / year,
        "order_cost": lots.order_year.sum() / year,
        "supplier_freight": lots.freight_year.sum() / year,
        "first_mile_freight": _first_mile(scenario, materials),
        "last_mile_freight": sum(_last_mile(scenario, job) for job in work),
    }
    eur = np.array([float(value) for value in lines.values()])
    logistics = ("order_cost", "supplier_freight", "first_mile_freight", "last_mile_freight")
    return CostSheet(tuple(lines), eur, float(sum(lines[name] for name in logistics) / eur.sum()))


def _first_mile(scenario: Scenario, materials: MaterialSheet) -> float:
    """Freight from depots to hubs, EUR a day: the fixed part spread over the days between consignments."""
    nearest_km = hub_depot_km(scenario).min(axis=1)
    kg = materials.hub_use_day @ _column(scenario, "kg")
    litres = materials.hub_use_day @ _column(scenario, "litres")
    chargeable = np.maximum(kg, scenario.freight.kg_per_litre * litres)
    fixed = scenario.freight.fixed_eur / DAYS_PER_CONSIGNMENT * (kg > 0)
    return float((fixed + scenario.freight.rate_eur_tkm * nearest_km * chargeable / 1000).sum())


def _last_mile(scenario: Scenario, job: Job) -> float:
    """Delivery of one kind of work, EUR a day: per customer stop the cheaper of own van and parcel."""
    rules = scenario.last_mile
    makers = hub_of_town(scenario, job.stages)
    km = town_hub_km(scenario)[np.arange(len(makers)), makers]
    beyond = np.maximum(km - rules.van_radius_km, 0.0)
    van = rules.van_stop_eur + rules.van_eur_km * 2 * beyond / rules.van_stops_per_round
    stops = np.maximum(job.orders_day, 1e-300)
    weight = np.maximum(job.kg_day, job.litres_day / rules.parcel_litres_per_kg) / stops
    parcel = rules.parcel_eur + rules.parcel_eur_kg * weight
    return float((np.minimum(van, parcel) * job.orders_day).sum())
