"""A scenario compiled into the `Tables` that the kernels read."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fabmesh.envs.network.books.geography import great_circle_km
from fabmesh.envs.network.books.hazards import build_hazards, possible_kinds
from fabmesh.envs.network.books.scenario_rows import add_co2e, add_standard_costs, build_rows
from fabmesh.envs.network.books.tables import (
    AGES,
    ASKED,
    HORIZON,
    MATERIAL,
    PARAMETERS,
    SCENARIO,
    TECHNOLOGY,
    Layout,
    Tables,
)
from fabmesh.envs.network.compiler.rng import mix, name_key
from fabmesh.envs.network.schema.disruption_kinds import DEMAND_SURGE
from fabmesh.envs.network.schema.parameters import parameters
from fabmesh.envs.network.schema.recorded import RECORDED, RecordedOrders
from fabmesh.envs.network.schema.scenario import WORKING_DAYS_PER_YEAR, Scenario


def unit_price(
    bulk: float, retail: float, pallets: float, breaks: tuple[float, ...], factors: tuple[float, ...]
) -> float:
    """All-units discount: bulk + (retail - bulk) x factor of the order's size class (F§11)."""
    return bulk + (retail - bulk) * factors[sum(pallets >= b for b in breaks)]


def lot_mean_units(scenario: Scenario) -> NDArray[np.float64]:
    """Mean units (custom: orders) a day of every town and lot row, float64[c, lot rows]."""
    demand = scenario.demand
    people = np.array([t.population for t in scenario.towns], dtype=np.float64)
    rates = [p.units_per_1000_year * demand.catalogue_level / 1e3 for p in scenario.products]
    for stream in scenario.custom_streams:
        rates += [stream.orders_per_100k_year * demand.custom_level / 1e5 * v.share for v in stream.variants]
    mean: NDArray[np.float64] = people[:, None] * np.array(rates)[None, :] / WORKING_DAYS_PER_YEAR
    return mean


def surge_rate_d(scenario: Scenario) -> float:
    """Surges a day of one product: the network's rate shared by its products (F§7.2)."""
    rate = scenario.disruptions.scale * scenario.demand.surges_year / WORKING_DAYS_PER_YEAR
    return rate / len(scenario.products)


def is_shaped(scenario: Scenario) -> bool:
    """Whether anything but the season can change the mean of a stream from day to day."""
    demand = scenario.demand
    lives = [demand.life_year if p.life_year is None else p.life_year for p in scenario.products]
    surges = possible_kinds(scenario)[DEMAND_SURGE]
    return surges or any(lives) or demand.adoption_from < 1.0


def build_tables(
    scenario: Scenario, layout: Layout, audit: bool = False, orders: RecordedOrders | None = None
) -> Tables:
    """Compiles a validated scenario. The layout is that of `interface.spec.layout`; for `audit` see the batch.

    Recorded orders must fit the scenario.
    """
    row, share, streams = build_rows(scenario)
    tech = _technologies(scenario)
    town_index = {t.name: c for c, t in enumerate(scenario.towns)}
    hub_town = np.array([town_index[h.town] for h in scenario.hubs], np.int32)
    places = [(t.latitude, t.longitude) for t in scenario.towns]
    depots = [(d.latitude, d.longitude) for d in scenario.depots]
    circuity = scenario.freight.circuity
    town_km = np.array([[circuity * great_circle_km(*places[int(i)], *q) for q in places] for i in hub_town])
    depot_km = np.array([[circuity * great_circle_km(*q, *places[int(i)]) for i in hub_town] for q in depots])
    hub_hours = np.array(
        [[h.machines.get(t.name, 0) * t.hours_per_day for t in scenario.technologies] for h in scenario.hubs],
        np.float64,
    )
    machines = np.array([[h.machines.get(t.name, 0) for t in scenario.technologies] for h in scenario.hubs], np.int32)
    can = np.array([[all(hours[r["tech"][s]] > 0 for s in range(r["stages"])) for r in row] for hours in hub_hours])
    reach_lists = [
        [int(h) for h in np.argsort(town_km[:, c], kind="stable") if town_km[h, c] <= scenario.market.reach_km]
        for c in range(len(places))
    ]
    demand = lot_mean_units(scenario)
    population = np.array([t.population for t in scenario.towns], np.float64)
    hub_rate = _catchment(row, share, streams, can, reach_lists, demand, population)
    mean_price = _mean_prices(row, streams)
    per_unit = np.zeros((len(row), len(scenario.materials)))
    for r in range(len(row)):
        for i in range(row[r]["bom"]):
            per_unit[r, row[r]["bom_material"][i]] += row[r]["bom0"][i] + row[r]["bom1"][i] * mean_price[r]
    hub_use = hub_rate @ per_unit
    depot_use = np.zeros((len(depots), len(scenario.materials)))
    for h in range(len(hub_town)):
        depot_use[int(np.argmin(depot_km[:, h]))] += hub_use[h]

    mat = _materials(scenario, depot_use)
    add_standard_costs(scenario, row, tech, mat)
    add_co2e(row, tech, mat)
    mile = scenario.last_mile
    beyond = np.maximum(town_km - mile.van_radius_km, 0.0)
    van_stop = mile.van_stop_eur + mile.van_eur_km * 2.0 * beyond / mile.van_stops_per_round
    asked, asked_from = _asked(row, can, reach_lists, hub_town, van_stop)
    van_km = scenario.carbon.van_km_stop + 2.0 * beyond / mile.van_stops_per_round
    own_stop = np.minimum(mile.van_stop_eur, 1e9)
    standard_day = float(
        np.sum(hub_rate.sum(0) * (row["standard0"] + row["standard1"] * mean_price + own_stop / row["per_stop"]))
    )
    agents = len(hub_town) + len(depots)
    par = _parameters(scenario, demand.shape[1], scenario.reward.scale_eur or standard_day / agents)
    par["audit"] = audit
    par["recorded_season"] = -1 if orders is None else orders.season_start
    actions = scenario.actions
    lot_key = np.array(
        [[int(mix(np.uint64(name_key(t.name)) ^ r["key"])) for r in row] for t in scenario.towns], np.uint64
    )

    orders_d = demand[:, : len(scenario.products)].sum(axis=0) / row["per_stop"][: len(scenario.products)]
    hazards = build_hazards(scenario, [places[int(i)] for i in hub_town], orders_d)

    def keys(names: list[str]) -> NDArray[np.uint64]:
        return np.array([name_key(n) for n in names], np.uint64)

    def levels(first: float | None, values: tuple[float, ...]) -> NDArray[np.float64]:
        return np.array(([] if first is None else [first]) + [float(v) for v in values], np.float64)

    tables = Tables(
        scenario=_scenario_numbers(scenario),
        par=par,
        tech=tech,
        mat=mat,
        row=row,
        stream=streams,
        row_share=share,
        hub_town=hub_town,
        hub_people=np.array([h.technicians for h in scenario.hubs], np.float64),
        hub_hours=hub_hours,
        hub_machines=machines,
        first_machine=(machines.cumsum() - machines.ravel()).reshape(machines.shape).astype(np.int32),
        hub_can=can.astype(np.int8),
        hub_uses=((can @ (per_unit > 0).astype(np.int64)) > 0).astype(np.int8),
        hub_use=hub_use,
        hub_rate=hub_rate,
        depot_use=depot_use,
        population=population,
        demand=demand,
        town_km=town_km,
        depot_km=depot_km,
        van_stop=van_stop,
        asked=asked,
        asked_from=asked_from,
        from_day=np.triu(np.ones((HORIZON, HORIZON))),
        breaks=np.array(scenario.supply.price_breaks_pallets, np.float64),
        factors=np.array(scenario.supply.price_factors, np.float64),
        bid_level=levels(0.0, actions.bid_markups),
        cover_level=levels(0.0, actions.cover_d),
        trigger_level=levels(None, actions.reorder_trigger),
        stock_level=levels(0.0, actions.make_to_stock_d),
        overtime_level=levels(None, actions.overtime),
        depot_trigger_level=levels(0.0, actions.depot_trigger),
        depot_lot_level=levels(None, actions.depot_lot_d),
        quote_level=levels(0.0, actions.depot_quote),
        **layout._asdict(),
        lot_key=lot_key,
        town_key=keys([t.name for t in scenario.towns]),
        hub_key=keys([h.town for h in scenario.hubs]),
        depot_key=keys([d.name for d in scenario.depots]),
        recorded=np.zeros(0, RECORDED) if orders is None else orders.lines.copy(),
        recorded_day=np.zeros(0, np.int32) if orders is None else orders.day_starts(),
        **hazards._asdict(),
        van_stop_co2e=scenario.carbon.van_kg_km * van_km,
    )
    for array in tables:
        array.flags.writeable = False
    return tables


def _asked(
    row: NDArray[np.void],
    can: NDArray[np.bool_],
    reach: list[list[int]],
    hub_town: NDArray[np.int32],
    van_stop: NDArray[np.float64],
) -> tuple[NDArray[np.void], NDArray[np.int32]]:
    """Who is asked for a bid: `asked` and `asked_from` of the tables. Sets `makers` of the rows."""
    makers, row["makers"] = np.unique(can, axis=1, return_inverse=True)
    lines: list[tuple[int, bool, float]] = []
    begins = np.zeros((makers.shape[1], len(reach) + 1), np.int32)
    for i in range(makers.shape[1]):
        for c, hubs in enumerate(reach):
            begins[i, c] = len(lines)
            lines += [(h, hub_town[h] == c, van_stop[h, c]) for h in hubs if makers[h, i]]
        begins[i, len(reach)] = len(lines)
    return np.array(lines, ASKED), begins


def _technologies(scenario: Scenario) -> NDArray[np.void]:
    tech = np.zeros(len(scenario.technologies), TECHNOLOGY)
    for k, t in enumerate(scenario.technologies):
        tech[k] = (
            t.rate_eur_h,
            t.power_kw * scenario.labour.energy_eur_kwh,
            t.setup_h,
            t.scrap,
            t.extended_by_overtime,
            t.hours_per_day,
            t.mtbf_h or 0.0,
            t.mttr_h,
            _unit_hazard(scenario, t.mtbf_h),
            t.process_sd_mm / t.tolerance_mm if t.tolerance_mm else 0.0,
            tuple(sd / t.tolerance_mm if t.tolerance_mm else 0.0 for sd in t.lot_sd_mm),
            -math.log2(t.progress_ratio),
            name_key(t.name),
            t.power_kw * scenario.carbon.grid_kg_kwh,
        )
    return tech


def _unit_hazard(scenario: Scenario, mtbf_h: float | None) -> float:
    """Cumulative hazard of the Weibull time to failure at one hour; its mean is scale x Gamma(1 + 1 / shape)."""
    if mtbf_h is None:
        return 0.0
    shape = scenario.upkeep.wear_shape
    return float(scenario.disruptions.scale * (math.gamma(1.0 + 1.0 / shape) / mtbf_h) ** shape)


def _materials(scenario: Scenario, depot_use: NDArray[np.float64]) -> NDArray[np.void]:
    mat = np.zeros(len(scenario.materials), MATERIAL)
    supply = scenario.supply
    products = {p.name: i for i, p in enumerate(scenario.products)}
    for i, m in enumerate(scenario.materials):
        sigma2 = math.log1p((m.lead_sd_d / m.lead_mean_d) ** 2)
        twenty_days = depot_use[:, i].max() * 20 / m.pallet
        mat[i] = (
            m.bulk_eur,
            m.retail_eur,
            m.pallet,
            m.pack,
            m.kg,
            m.litres,
            m.lead_mean_d,
            math.log(m.lead_mean_d) - sigma2 / 2,
            math.sqrt(sigma2),
            unit_price(m.bulk_eur, m.retail_eur, twenty_days, supply.price_breaks_pallets, supply.price_factors),
            m.sealed_life_d or 0.0,
            0 if m.sealed_life_d is None else math.ceil(m.sealed_life_d / (AGES - 1)),
            0.0 if m.sealed_life_d is None else 1.0 / math.ceil(m.sealed_life_d / (AGES - 1)),
            0 if m.floor_life_d is None else round(m.floor_life_d),
            -1 if m.design_of is None else products[m.design_of],
            name_key(m.name),
            m.co2e_kg,
        )
    return mat


def _mean_prices(row: NDArray[np.void], streams: NDArray[np.void]) -> NDArray[np.float64]:
    """Mean price of a unit of every row, float64[r]."""
    price: NDArray[np.float64] = row["price"].copy()
    for s in streams:
        mean = (s["price_low"] + s["price_high"]) / (s["units_low"] + s["units_high"])
        price[s["first_row"] : s["first_row"] + s["rows"]] = mean
    return price


def _catchment(
    row: NDArray[np.void],
    share: NDArray[np.float64],
    streams: NDArray[np.void],
    can: NDArray[np.bool_],
    reach: list[list[int]],
    demand: NDArray[np.float64],
    population: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Mean units a day of every hub's catchment, float64[h, r].

    A town's demand counts for the nearest hub in reach that can make it.
    """
    hub_rate = np.zeros(can.shape)
    lot_rows = demand.shape[1]
    for c in range(len(reach)):
        for r in range(len(row)):
            nearest = next((h for h in reach[c] if can[h, r]), None)
            if nearest is None:
                continue
            if r < lot_rows:
                hub_rate[nearest, r] += demand[c, r]
            else:
                s = next(s for s in streams if s["first_row"] <= r < s["first_row"] + s["rows"])
                width = share[r] - (share[r - 1] if r > s["first_row"] else 0.0)
                units = (s["units_low"] + s["units_high"]) / 2
                hub_rate[nearest, r] += population[c] * s["rate_per_head_d"] * width * units
    return hub_rate


def _scenario_numbers(scenario: Scenario) -> NDArray[np.void]:
    numbers = np.zeros(1, SCENARIO)
    _copy_numbers(scenario, numbers[0])
    return numbers


def _copy_numbers(section: Any, record: np.void) -> None:
    """Writes a part of the scenario into its record; a word as its place among the choices."""
    for name in record.dtype.names or ():
        value, choices = getattr(section, name), parameters(section.__class__)[name].choices
        if dataclasses.is_dataclass(value):
            _copy_numbers(value, record[name])
        else:
            record[name] = choices.index(value) if choices else value


def _parameters(scenario: Scenario, lot_rows: int, reward_scale: float) -> NDArray[np.void]:
    s = scenario
    par = np.zeros(1, PARAMETERS)
    values: dict[str, float] = {
        "log_dispersion": math.log(s.demand.dispersion),
        "revision_rate_d": s.demand.revisions_per_year / WORKING_DAYS_PER_YEAR,
        "holding_material_d": s.inventory.holding_material_year / WORKING_DAYS_PER_YEAR,
        "holding_finished_d": s.inventory.holding_finished_year / WORKING_DAYS_PER_YEAR,
        "outage_rate_d": s.disruptions.scale * s.disruptions.hub_outage_year / WORKING_DAYS_PER_YEAR,
        "outage_mu": math.log(s.disruptions.hub_outage_median_d),
        "reward_scale": reward_scale,
        "number_of_agents": len(s.hubs) + len(s.depots),
        "products": len(s.products),
        "lot_rows": lot_rows,
        "population": sum(t.population for t in s.towns),
        "season_start_key": name_key("season"),
        "platform_takes": s.market.platform_fee > 0 or any(p.royalty > 0 for p in s.products),
        "shaped": is_shaped(scenario),
        "surge_rate_d": surge_rate_d(scenario),
        "absence_begins": min(
            s.disruptions.scale * s.people.absence_share / ((1.0 - s.people.absence_share) * s.people.absence_spell_d),
            1.0,
        ),
        "absence_ends": 1.0 / s.people.absence_spell_d,
        "turnover_d": min(s.disruptions.scale * s.people.turnover_year / WORKING_DAYS_PER_YEAR, 1.0),
        "service": s.upkeep.enabled or s.quality.enabled,
        "scrap_exponent": -math.log2(s.experience.scrap_progress_ratio),
    }
    for key, value in values.items():
        par[key] = value
    return par
