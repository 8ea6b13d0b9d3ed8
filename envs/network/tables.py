"""The scenario as one immutable typed structure of arrays: what the kernels read.

Every compiled stage takes these tables as an argument, so two scenarios live in one process and share one
compiled kernel. Index letters: c town, h hub, d depot, k technology, m material, p catalogue product, r row.
A *row* is anything a customer can order: the catalogue products first, then the variants of the custom streams,
then the variants of the tenders. Hours and material of a row are `x0 + x1 * price of a unit`, because
made-to-order work scales with its price (F§11).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fabmesh.envs.errors import ScenarioError
from fabmesh.envs.network.geography import great_circle_km
from fabmesh.envs.network.hazards import DEMAND_SURGE, build_hazards, possible_kinds
from fabmesh.envs.network.recorded import RECORDED, RecordedOrders
from fabmesh.envs.network.rng import mix, name_key
from fabmesh.envs.network.scenario import WORKING_DAYS_PER_YEAR, BomLine, Scenario, Stage

MAX_STAGES = 3
MAX_BOM = 4
AGES = 6  # age classes of a material
INBOUND_DAYS = 4  # ring of days under way to a hub: at most 3 ahead
HORIZON = 16  # days ahead that available-to-promise looks
CATALOGUE, CUSTOM, TENDER = 0, 1, 2
DISPATCHING = ("edd", "fifo", "spt", "atc")

_f8, _i4, _i2, _u8 = np.float64, np.int32, np.int16, np.uint64

PARAMETERS = np.dtype(
    [
        ("episode_d", _i4),
        ("dispersion", _f8),  # variance / mean of a day's catalogue units of a town
        ("revision_rate_d", _f8),  # per product and day
        ("revision_notice_d", _i4),
        ("hours_per_day", _f8),  # of one technician
        ("wage", _f8),  # EUR/h
        ("overtime_premium", _f8),
        ("dispatching", _i4),  # index into DISPATCHING
        ("goodwill", _f8),
        ("late_per_day", _f8),  # share of price
        ("late_grace_d", _i4),
        ("late_cap", _f8),
        ("cancel_d", _i4),
        ("reputation_weight", _f8),
        ("parcel", _f8),  # EUR a stop
        ("parcel_kg", _f8),  # EUR per chargeable kg
        ("parcel_litres_per_kg", _f8),
        ("parcel_two_days_km", _f8),
        ("freight_fixed", _f8),  # EUR a consignment
        ("freight_tkm", _f8),  # EUR per chargeable tonne-km
        ("kg_per_litre", _f8),
        ("depot_two_days_km", _f8),
        ("supplier_km", _f8),
        ("order_eur", _f8),
        ("life_low", _f8),  # share of the sealed life left at receipt
        ("life_high", _f8),
        ("retail_lead_d", _i4),
        ("holding_material_d", _f8),  # share of value a day
        ("holding_finished_d", _f8),
        ("salvage", _f8),
        ("smoothing", _f8),
        ("catchment_floor", _f8),
        ("opening_low", _f8),
        ("opening_high", _f8),
        ("closing_cover_d", _i4),
        ("outage_rate_d", _f8),  # per hub and day
        ("outage_mu", _f8),  # lognormal
        ("outage_sigma", _f8),
        ("outage_max_d", _i4),
        ("reward_scale", _f8),  # EUR
        ("number_of_agents", _i4),
        ("products", _i4),  # catalogue products P
        ("lot_rows", _i4),  # rows that arrive as lots: catalogue and custom
        ("population", _f8),  # of all towns
        ("season_start_key", _u8),
        ("audit", _i4),  # 1: the customer market books how good its awards were
        ("second_price", _i4),  # 1: winners are paid up to the lowest losing score
        ("platform_takes", _i4),  # 1: there is a platform fee or a royalty
        ("platform_fee", _f8),  # share of revenue
        ("team_weight", _f8),  # of the network's cost in the reward; the rest is the agent's own
        ("shaped", _i4),  # 1: a surge, a life cycle or a ramp can change the mean of a stream
        ("surge_rate_d", _f8),  # per product and day
        ("surge_low", _f8),  # x demand
        ("surge_high", _f8),
        ("surge_short_d", _i4),
        ("surge_long_d", _i4),
        ("life_sigma", _f8),
        ("adoption_from", _f8),
        ("adoption_ramp_d", _i4),
        ("adoption_day", _i4),
        ("recorded_season", _i4),  # working day of the year of day 0 of recorded orders, -1 = drawn
        ("stop_output_low", _f8),  # share of its output that a stopped supplier still makes
        ("stop_output_high", _f8),
        ("port_queue", _f8),  # days of queue after a day of closure
        ("route_lead_d", _i4),
        ("route_freight", _f8),  # x
        ("shortage_lead", _f8),  # x
        ("shortage_price", _f8),  # x
        ("tampering_low_d", _i4),
        ("tampering_high_d", _i4),
        ("tampering_scrap", _f8),  # share of what is made by a wrong file
        ("people", _i4),  # 1 = absence and turnover are on
        ("absence_begins", _f8),  # probability a day, of a technician who is there
        ("absence_ends", _f8),  # of one who is away
        ("turnover_d", _f8),  # of one who has a post
        ("hiring_d", _i4),
        ("training_d", _i4),
        ("training_productivity", _f8),
        ("upkeep", _i4),  # 1 = wear and breakdowns are on
        ("wear_shape", _f8),
        ("service_h", _f8),
        ("service_eur", _f8),
        ("repair_eur_h", _f8),
        ("service", _i4),  # 1 = machines can be serviced: upkeep or quality is on
        ("quality", _i4),  # 1 = calibration and lots matter
        ("uncalibrated_bias", _f8),  # sd, x tolerance
        ("calibrated_bias", _f8),
        ("drift_week", _f8),
        ("hub_check", _f8),
        ("return_price_share", _f8),
        ("bad_lots", _f8, (2,)),  # qualified, unqualified
        ("spot_discount", _f8),
        ("spot_km", _f8),
        ("inspection_eur", _f8, (3,)),  # none, sample, full
        ("inspection_finds", _f8, (3,)),
        ("experience", _i4),  # 1 = learning and qualification are on
        ("prior_units", _f8),
        ("shared", _f8),
        ("scrap_exponent", _f8),  # of Wright's law
        ("floor", _f8),
        ("first_pass_yield", _f8),
        ("qualification_h", _f8),
        ("qualification_kg", _f8),
        ("carbon_weight", _f8),  # EUR per kg CO2e in the landed score
        ("quality_weight", _f8),  # of expected returns in the landed score
        ("co2e_truck_tkm", _f8),  # kg per chargeable tonne-km
        ("co2e_parcel", _f8),  # kg a parcel
        ("co2e_parcel_up_to_kg", _f8),  # chargeable kg of a parcel
    ],
    align=True,
)
TECHNOLOGY = np.dtype(
    [
        ("rate", _f8),
        ("energy", _f8),
        ("setup_h", _f8),
        ("scrap", _f8),
        ("overtime", _i4),  # EUR/h, EUR/h, h, share, flag
        ("hours_d", _f8),  # working hours a day of one machine
        ("mtbf_h", _f8),  # 0 = never fails
        ("mttr_h", _f8),
        ("hazard", _f8),  # cumulative hazard at one working hour since service; 0 = never fails
        ("noise", _f8),  # sd of a machine's parts / tolerance; 0 = not a matter of dimensions
        ("lot_noise", _f8, (2,)),  # sd of qualified and unqualified lots / tolerance
        ("labour_exponent", _f8),  # of Wright's law
        ("key", _u8),
        ("co2e_h", _f8),  # kg/h
    ],
    align=True,
)
MATERIAL = np.dtype(
    [
        ("bulk", _f8),
        ("retail", _f8),
        ("pallet", _f8),
        ("pack", _f8),
        ("kg", _f8),
        ("litres", _f8),
        ("charge_kg", _f8),  # chargeable road kg per unit
        ("lead_mean_d", _f8),
        ("lead_mu", _f8),  # of the lognormal
        ("lead_sigma", _f8),
        ("opening_price", _f8),  # EUR per unit, of stock held at the start
        ("life_d", _f8),  # sealed life, 0 = does not age
        ("class_d", _i4),  # width of an age class, 0 = does not age
        ("classes_per_d", _f8),  # 1 / width, 0 = does not age
        ("floor_d", _i4),  # floor life, 0 = none
        ("design", _i4),  # catalogue product it belongs to, -1 = none
        ("key", _u8),
        ("co2e", _f8),  # kg a unit
    ],
    align=True,
)
ROW = np.dtype(
    [
        ("kind", _i4),
        ("stages", _i4),
        ("tech", _i4, (MAX_STAGES,)),
        ("lane", _i4),  # technology of the longest stage
        ("machine0", _f8, (MAX_STAGES,)),  # h a unit
        ("machine1", _f8, (MAX_STAGES,)),  # h a unit and EUR of price
        ("labour0", _f8, (MAX_STAGES,)),  # manual and tending
        ("labour1", _f8, (MAX_STAGES,)),
        ("bom", _i4),
        ("bom_material", _i4, (MAX_BOM,)),
        ("bom_stage", _i4, (MAX_BOM,)),
        ("bom0", _f8, (MAX_BOM,)),
        ("bom1", _f8, (MAX_BOM,)),
        ("kg0", _f8),
        ("kg1", _f8),
        ("litres0", _f8),
        ("litres1", _f8),
        ("price", _f8),  # list price (catalogue), mean price (custom), 0 (tenders)
        ("price_spread", _f8),  # custom: variance / mean ** 2 of one order's lognormal price
        ("per_stop", _f8),  # units per customer stop
        ("due_d", _i4),
        ("patience_d", _i4),
        ("ceiling", _f8),  # x price, on the landed score
        ("season", _f8),  # amplitude
        ("season_peak", _f8),
        ("standard0", _f8),  # standard cost of a unit without delivery, EUR
        ("standard1", _f8),  # EUR per EUR of price
        ("setup_eur", _f8),  # of setting up once on each technology it touches
        ("key", _u8),
        ("royalty", _f8),  # share of the list price, catalogue
        ("life_d", _f8),  # median life of a generation, 0 = demand does not age
        ("co2e0", _f8),  # of energy and material of a unit, kg
        ("co2e1", _f8),  # kg per EUR of price
    ],
    align=True,
)
TENDER_STREAM = np.dtype(
    [
        ("rate_per_head_d", _f8),
        ("units_low", _i4),
        ("units_high", _i4),
        ("price_low", _f8),
        ("price_high", _f8),
        ("due_low", _i4),
        ("due_high", _i4),
        ("first_row", _i4),
        ("rows", _i4),
        ("key", _u8),
    ],
    align=True,
)


class Tables(NamedTuple):
    """All constants of a scenario. Shapes in the index letters of the module's docstring."""

    par: NDArray[np.void]  # [1] PARAMETERS
    tech: NDArray[np.void]  # [k]
    mat: NDArray[np.void]  # [m]
    row: NDArray[np.void]  # [r]
    stream: NDArray[np.void]  # [tender streams]
    row_share: NDArray[np.float64]  # [r] cumulative share of a variant inside its stream
    hub_town: NDArray[np.int32]  # [h]
    hub_people: NDArray[np.float64]  # [h] technicians
    hub_hours: NDArray[np.float64]  # [h, k] machine hours a day
    hub_machines: NDArray[np.int32]  # [h, k]
    first_machine: NDArray[np.int32]  # [h, k] the number of its first one, among those of all hubs and technologies
    hub_can: NDArray[np.int8]  # [h, r] has every technology of the row
    hub_uses: NDArray[np.int8]  # [h, m] could use the material
    hub_use: NDArray[np.float64]  # [h, m] expected use of the catchment, units a day
    hub_rate: NDArray[np.float64]  # [h, r] expected units a day of the catchment
    depot_use: NDArray[np.float64]  # [d, m] expected requests, units a day
    population: NDArray[np.float64]  # [c]
    demand: NDArray[np.float64]  # [c, lot rows] mean units (custom: orders) a day
    town_km: NDArray[np.float64]  # [h, c] road km
    depot_km: NDArray[np.float64]  # [d, h] road km
    van_stop: NDArray[np.float64]  # [h, c] EUR a stop with the own van
    reach: NDArray[np.int32]  # [c, n] hubs within reach of a town, nearest first, -1 = none
    breaks: NDArray[np.float64]  # [n] pallets
    factors: NDArray[np.float64]  # [n + 1]
    bid_level: NDArray[np.float64]  # [levels] mark-up; level 0 = withdraw
    cover_level: NDArray[np.float64]  # [levels] days; level 0 = none
    trigger_level: NDArray[np.float64]
    stock_level: NDArray[np.float64]  # make-to-stock days
    overtime_level: NDArray[np.float64]
    depot_trigger_level: NDArray[np.float64]  # level 0 = none
    depot_lot_level: NDArray[np.float64]  # the level after the last = next price break
    quote_level: NDArray[np.float64]  # level 0 = decline
    hub_slot: NDArray[np.int32]  # [components of a hub] first column of the action, -1 = switched off
    hub_fixed: NDArray[np.int32]  # level taken when switched off
    hub_levels: NDArray[np.int32]  # [columns] levels of every column of a hub's action
    depot_slot: NDArray[np.int32]
    depot_fixed: NDArray[np.int32]
    lot_key: NDArray[np.uint64]  # [c, r]
    town_key: NDArray[np.uint64]  # [c]
    hub_key: NDArray[np.uint64]  # [h]
    depot_key: NDArray[np.uint64]  # [d]
    recorded: NDArray[np.void]  # [lines] RECORDED orders by day; none: the synthetic streams are drawn
    recorded_day: NDArray[np.int32]  # [days + 1] first line of each day
    van_stop_co2e: NDArray[np.float64]  # [h, c] kg CO2e a stop with the own van

    depot_levels: NDArray[np.int32]  # [columns] levels of every column of a depot's action
    hazard: NDArray[np.void]  # [n] what can go wrong of itself, see `hazards.HAZARD`
    script: NDArray[np.void]  # [n] what goes wrong on a given day, see `hazards.SCRIPT`
    region_hub: NDArray[np.int8]  # [regions, h] a shock in the region closes the hub
    overseas: NDArray[np.int8]  # [m] comes through the port
    possible: NDArray[np.int8]  # [kinds of disruption] can happen
    shown: NDArray[np.int8]  # [kinds of disruption] agents have flags for it


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
    scenario: Scenario,
    hub_slots: tuple[list[int], ...],
    depot_slots: tuple[list[int], ...],
    audit: bool = False,
    orders: RecordedOrders | None = None,
) -> Tables:
    """Compiles a validated scenario. The slots come from `actions.component_blocks`; for `audit` see the batch.

    Recorded orders must fit the scenario.
    """
    technologies = {t.name: k for k, t in enumerate(scenario.technologies)}
    materials = {m.name: i for i, m in enumerate(scenario.materials)}
    products = {p.name: i for i, p in enumerate(scenario.products)}
    row, share, streams = _rows(scenario, technologies, materials)
    tech = np.zeros(len(technologies), TECHNOLOGY)
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
    reach = np.full((len(places), max(map(len, reach_lists))), -1, np.int32)
    for c, hubs in enumerate(reach_lists):
        reach[c, : len(hubs)] = hubs

    demand = lot_mean_units(scenario)
    lot_rows = demand.shape[1]
    population = np.array([t.population for t in scenario.towns], np.float64)
    # Catchment: a town's demand counts for the nearest hub in reach that can make it.
    hub_rate = np.zeros((len(hub_town), len(row)))
    mean_price = row["price"].copy()
    for i in range(len(streams)):
        s = streams[i]
        for r in range(s["first_row"], s["first_row"] + s["rows"]):
            mean_price[r] = (s["price_low"] + s["price_high"]) / (s["units_low"] + s["units_high"])
    for c in range(len(places)):
        for r in range(len(row)):
            nearest = next((h for h in reach_lists[c] if can[h, r]), None)
            if nearest is None:
                continue
            if r < lot_rows:
                hub_rate[nearest, r] += demand[c, r]
            else:
                s = next(s for s in streams if s["first_row"] <= r < s["first_row"] + s["rows"])
                width = share[r] - (share[r - 1] if r > s["first_row"] else 0.0)
                units = (s["units_low"] + s["units_high"]) / 2
                hub_rate[nearest, r] += population[c] * s["rate_per_head_d"] * width * units
    per_unit = np.zeros((len(row), len(materials)))
    for r in range(len(row)):
        for i in range(row[r]["bom"]):
            per_unit[r, row[r]["bom_material"][i]] += row[r]["bom0"][i] + row[r]["bom1"][i] * mean_price[r]
    hub_use = hub_rate @ per_unit
    depot_use = np.zeros((len(depots), len(materials)))
    for h in range(len(hub_town)):
        depot_use[int(np.argmin(depot_km[:, h]))] += hub_use[h]

    mat = _materials(scenario, products, depot_use)
    _standard_costs(scenario, row, tech, mat)
    _unit_co2e(row, tech, mat)
    mile = scenario.last_mile
    beyond = np.maximum(town_km - mile.van_radius_km, 0.0)
    van_stop = mile.van_stop_eur + mile.van_eur_km * 2.0 * beyond / mile.van_stops_per_round
    van_km = scenario.carbon.van_km_stop + 2.0 * beyond / mile.van_stops_per_round
    own_stop = np.minimum(mile.van_stop_eur, 1e9)
    standard_day = float(
        np.sum(hub_rate.sum(0) * (row["standard0"] + row["standard1"] * mean_price + own_stop / row["per_stop"]))
    )
    agents = len(hub_town) + len(depots)
    par = _parameters(scenario, agents, len(products), lot_rows, scenario.reward.scale_eur or standard_day / agents)
    par["audit"] = audit
    par["recorded_season"] = -1 if orders is None else orders.season_start
    actions = scenario.actions
    lot_key = np.array(
        [[int(mix(np.uint64(name_key(t.name)) ^ r["key"])) for r in row] for t in scenario.towns], np.uint64
    )

    orders_d = demand[:, : len(products)].sum(axis=0) / row["per_stop"][: len(products)]
    hazards = build_hazards(scenario, [places[int(i)] for i in hub_town], orders_d)

    def keys(names: list[str]) -> NDArray[np.uint64]:
        return np.array([name_key(n) for n in names], np.uint64)

    def levels(first: float | None, values: tuple[float, ...]) -> NDArray[np.float64]:
        return np.array(([] if first is None else [first]) + [float(v) for v in values], np.float64)

    tables = Tables(
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
        reach=reach,
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
        hub_slot=np.array(hub_slots[0], np.int32),
        hub_fixed=np.array(hub_slots[1], np.int32),
        hub_levels=np.array(hub_slots[2], np.int32),
        depot_slot=np.array(depot_slots[0], np.int32),
        depot_fixed=np.array(depot_slots[1], np.int32),
        lot_key=lot_key,
        town_key=keys([t.name for t in scenario.towns]),
        hub_key=keys([h.town for h in scenario.hubs]),
        depot_key=keys([d.name for d in scenario.depots]),
        recorded=np.zeros(0, RECORDED) if orders is None else orders.lines.copy(),
        recorded_day=np.zeros(0, np.int32) if orders is None else orders.day_starts(),
        depot_levels=np.array(depot_slots[2], np.int32),
        **hazards._asdict(),
        van_stop_co2e=scenario.carbon.van_kg_km * van_km,
    )
    for array in tables:
        array.flags.writeable = False
    return tables


def _unit_hazard(scenario: Scenario, mtbf_h: float | None) -> float:
    """Cumulative hazard of the Weibull time to failure at one hour; its mean is scale x Gamma(1 + 1 / shape)."""
    if mtbf_h is None:
        return 0.0
    shape = scenario.upkeep.wear_shape
    return float(scenario.disruptions.scale * (math.gamma(1.0 + 1.0 / shape) / mtbf_h) ** shape)


def _rows(
    scenario: Scenario, technologies: dict[str, int], materials: dict[str, int]
) -> tuple[NDArray[np.void], NDArray[np.float64], NDArray[np.void]]:
    market = scenario.market
    records: list[NDArray[np.void]] = []
    shares: list[float] = []

    def add(name: str, kind: int, stages: tuple[Stage, ...], bom: tuple[BomLine, ...]) -> NDArray[np.void]:
        if len(stages) > MAX_STAGES:
            raise ScenarioError(f"{name}: {len(stages)} stages, at most {MAX_STAGES} are possible")
        if len(bom) > MAX_BOM:
            raise ScenarioError(f"{name}: {len(bom)} lines in the bill of materials, at most {MAX_BOM} are possible")
        r = np.zeros(1, ROW)
        r["kind"], r["stages"], r["bom"] = kind, len(stages), len(bom)
        for s, stage in enumerate(stages):
            tending = 1.0 / next(t.machines_per_technician for t in scenario.technologies if t.name == stage.technology)
            r["tech"][0, s] = technologies[stage.technology]
            r["machine0"][0, s], r["machine1"][0, s] = stage.machine_h, stage.machine_h_per_eur
            r["labour0"][0, s] = stage.labour_h + tending * stage.machine_h
            r["labour1"][0, s] = stage.labour_h_per_eur + tending * stage.machine_h_per_eur
        for i, line in enumerate(bom):
            r["bom_material"][0, i], r["bom_stage"][0, i] = materials[line.material], line.stage
            r["bom0"][0, i], r["bom1"][0, i] = line.quantity, line.quantity_per_eur
        r["per_stop"], r["key"] = 1.0, name_key(name)
        records.append(r)
        shares.append(1.0)
        return r

    def longest(r: NDArray[np.void], price: float) -> int:
        hours = r["machine0"][0] + r["machine1"][0] * price
        return int(r["tech"][0, int(np.argmax(hours[: r["stages"][0]]))])

    for p in scenario.products:
        r = add(p.name, CATALOGUE, p.stages, p.bom)
        r["kg0"], r["litres0"], r["price"], r["per_stop"] = p.kg, p.litres, p.price_eur, p.units_per_order
        r["due_d"], r["patience_d"], r["ceiling"] = p.due_d, market.patience_catalogue_d, market.ceiling_catalogue
        r["season"], r["season_peak"] = p.season_amplitude, p.season_peak_day
        r["royalty"] = p.royalty
        r["life_d"] = WORKING_DAYS_PER_YEAR * (scenario.demand.life_year if p.life_year is None else p.life_year)
        r["lane"] = longest(r, p.price_eur)
    for custom in scenario.custom_streams:
        mean = custom.price_median_eur * math.exp(custom.price_sigma**2 / 2)
        for v in custom.variants:
            r = add(f"{custom.name}/{v.name}", CUSTOM, v.stages, v.bom)
            r["kg1"], r["litres1"], r["price"], r["price_spread"] = (
                custom.kg_per_eur,
                custom.litres_per_eur,
                mean,
                math.exp(custom.price_sigma**2) - 1.0,
            )
            r["due_d"], r["patience_d"], r["ceiling"] = custom.due_d, market.patience_custom_d, market.ceiling_custom
            r["lane"] = longest(r, mean)
    streams = np.zeros(len(scenario.tender_streams), TENDER_STREAM)
    for i, tender in enumerate(scenario.tender_streams):
        rate = tender.tenders_per_100k_year * scenario.demand.tender_level / 1e5 / WORKING_DAYS_PER_YEAR
        streams[i] = (
            rate,
            *tender.units,
            *tender.price_eur,
            *tender.due_d,
            len(records),
            len(tender.variants),
            name_key(tender.name),
        )
        cumulative = 0.0
        for v in tender.variants:
            r = add(f"{tender.name}/{v.name}", TENDER, v.stages, v.bom)
            cumulative += v.share
            shares[-1] = cumulative
            mean = sum(tender.price_eur) / sum(tender.units)
            r["kg1"], r["litres1"] = tender.kg_per_eur, tender.litres_per_eur
            r["per_stop"] = sum(tender.units) / 2  # a tender is one delivery
            r["ceiling"], r["lane"] = 1.0, longest(r, mean)
        shares[-1] = 2.0  # the last variant takes what rounding leaves
    return np.concatenate(records), np.array(shares), streams


def _materials(scenario: Scenario, products: dict[str, int], depot_use: NDArray[np.float64]) -> NDArray[np.void]:
    mat = np.zeros(len(scenario.materials), MATERIAL)
    supply = scenario.supply
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
            max(m.kg, scenario.freight.kg_per_litre * m.litres),
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


def _standard_costs(scenario: Scenario, row: NDArray[np.void], tech: NDArray[np.void], mat: NDArray[np.void]) -> None:
    """Standard cost (bulk material, standard hours, no overtime; model §9) and the cost of a set-up."""
    wage = scenario.labour.wage_eur_h
    for r in range(len(row)):
        for constant, machine, labour, bom in (
            ("standard0", "machine0", "labour0", "bom0"),
            ("standard1", "machine1", "labour1", "bom1"),
        ):
            cost = 0.0
            for s in range(row[r]["stages"]):
                k = row[r]["tech"][s]
                cost += row[r][machine][s] * (tech[k]["rate"] + tech[k]["energy"]) + row[r][labour][s] * wage
            for i in range(row[r]["bom"]):
                cost += row[r][bom][i] * mat[row[r]["bom_material"][i]]["bulk"]
            row[constant][r] = cost
        for s in range(row[r]["stages"]):
            k = row[r]["tech"][s]
            row["setup_eur"][r] += tech[k]["setup_h"] * (tech[k]["rate"] + tech[k]["energy"] + wage)


def _unit_co2e(row: NDArray[np.void], tech: NDArray[np.void], mat: NDArray[np.void]) -> None:
    """CO2e of a unit's standard machine hours and material, without scrap, set-ups and freight."""
    for r in range(len(row)):
        for constant, machine, bom in (("co2e0", "machine0", "bom0"), ("co2e1", "machine1", "bom1")):
            hours = sum(row[r][machine][s] * tech[row[r]["tech"][s]]["co2e_h"] for s in range(row[r]["stages"]))
            goods = sum(row[r][bom][i] * mat[row[r]["bom_material"][i]]["co2e"] for i in range(row[r]["bom"]))
            row[constant][r] = hours + goods


def _parameters(scenario: Scenario, agents: int, products: int, lot_rows: int, reward_scale: float) -> NDArray[np.void]:
    s = scenario
    par = np.zeros(1, PARAMETERS)
    values: dict[str, float | int | tuple[float, ...]] = {
        "episode_d": s.episode_d,
        "dispersion": s.demand.dispersion,
        "revision_rate_d": s.demand.revisions_per_year / WORKING_DAYS_PER_YEAR,
        "revision_notice_d": s.demand.revision_notice_d,
        "hours_per_day": s.labour.hours_per_day,
        "wage": s.labour.wage_eur_h,
        "overtime_premium": s.labour.overtime_premium,
        "dispatching": DISPATCHING.index(s.labour.dispatching),
        "goodwill": s.market.goodwill,
        "late_per_day": s.market.lateness_per_day,
        "late_grace_d": s.market.lateness_grace_d,
        "late_cap": s.market.lateness_cap,
        "cancel_d": s.market.cancel_after_d,
        "reputation_weight": s.market.reputation_weight,
        "parcel": s.last_mile.parcel_eur,
        "parcel_kg": s.last_mile.parcel_eur_kg,
        "parcel_litres_per_kg": s.last_mile.parcel_litres_per_kg,
        "parcel_two_days_km": s.last_mile.two_days_beyond_km,
        "freight_fixed": s.freight.fixed_eur,
        "freight_tkm": s.freight.rate_eur_tkm,
        "kg_per_litre": s.freight.kg_per_litre,
        "depot_two_days_km": s.freight.depot_hub_two_days_beyond_km,
        "supplier_km": s.supply.distance_km,
        "order_eur": s.supply.order_eur,
        "life_low": s.supply.life_at_receipt[0],
        "life_high": s.supply.life_at_receipt[1],
        "retail_lead_d": s.supply.retail_lead_d,
        "holding_material_d": s.inventory.holding_material_year / WORKING_DAYS_PER_YEAR,
        "holding_finished_d": s.inventory.holding_finished_year / WORKING_DAYS_PER_YEAR,
        "salvage": s.inventory.salvage,
        "smoothing": s.inventory.smoothing,
        "catchment_floor": s.inventory.catchment_floor,
        "opening_low": s.inventory.opening_level[0],
        "opening_high": s.inventory.opening_level[1],
        "closing_cover_d": s.inventory.closing_cover_d,
        "outage_rate_d": s.disruptions.scale * s.disruptions.hub_outage_year / WORKING_DAYS_PER_YEAR,
        "outage_mu": math.log(s.disruptions.hub_outage_median_d),
        "outage_sigma": s.disruptions.hub_outage_sigma,
        "outage_max_d": s.disruptions.hub_outage_max_d,
        "reward_scale": reward_scale,
        "number_of_agents": agents,
        "products": products,
        "lot_rows": lot_rows,
        "population": sum(t.population for t in s.towns),
        "season_start_key": name_key("season"),
        "second_price": s.market.payment == "second_price",
        "platform_takes": s.market.platform_fee > 0 or any(p.royalty > 0 for p in s.products),
        "platform_fee": s.market.platform_fee,
        "team_weight": s.reward.team_weight,
        "shaped": is_shaped(scenario),
        "surge_rate_d": surge_rate_d(scenario),
        "surge_low": s.demand.surge_factor[0],
        "surge_high": s.demand.surge_factor[1],
        "surge_short_d": s.demand.surge_d[0],
        "surge_long_d": s.demand.surge_d[1],
        "life_sigma": s.demand.life_sigma,
        "adoption_from": s.demand.adoption_from,
        "adoption_ramp_d": s.demand.adoption_ramp_d,
        "adoption_day": s.demand.adoption_day,
        "stop_output_low": s.disruptions.supplier_stop_output[0],
        "stop_output_high": s.disruptions.supplier_stop_output[1],
        "port_queue": s.disruptions.port_queue,
        "route_lead_d": s.disruptions.long_route_lead_d,
        "route_freight": s.disruptions.long_route_freight,
        "shortage_lead": s.disruptions.material_shortage_lead,
        "shortage_price": s.disruptions.material_shortage_price,
        "tampering_low_d": s.disruptions.tampering_found_d[0],
        "tampering_high_d": s.disruptions.tampering_found_d[1],
        "tampering_scrap": s.disruptions.tampering_scrap,
        "people": s.people.enabled,
        "absence_begins": min(
            s.disruptions.scale * s.people.absence_share / ((1.0 - s.people.absence_share) * s.people.absence_spell_d),
            1.0,
        ),
        "absence_ends": 1.0 / s.people.absence_spell_d,
        "turnover_d": min(s.disruptions.scale * s.people.turnover_year / WORKING_DAYS_PER_YEAR, 1.0),
        "hiring_d": s.people.hiring_d,
        "training_d": s.people.training_d,
        "training_productivity": s.people.training_productivity,
        "upkeep": s.upkeep.enabled,
        "wear_shape": s.upkeep.wear_shape,
        "service_h": s.upkeep.service_h,
        "service_eur": s.upkeep.service_eur,
        "repair_eur_h": s.upkeep.repair_eur_h,
        "service": s.upkeep.enabled or s.quality.enabled,
        "quality": s.quality.enabled,
        "uncalibrated_bias": s.quality.uncalibrated_bias,
        "calibrated_bias": s.quality.calibrated_bias,
        "drift_week": s.quality.drift_week,
        "hub_check": s.quality.hub_check,
        "return_price_share": s.quality.return_price_share,
        "bad_lots": s.quality.bad_lots,
        "spot_discount": s.quality.spot_discount,
        "spot_km": s.quality.spot_km,
        "inspection_eur": (0.0, *s.quality.inspection_eur),
        "inspection_finds": (0.0, *s.quality.inspection_finds),
        "experience": s.experience.enabled,
        "prior_units": s.experience.prior_units,
        "shared": s.experience.shared,
        "scrap_exponent": -math.log2(s.experience.scrap_progress_ratio),
        "floor": s.experience.floor,
        "first_pass_yield": s.experience.first_pass_yield,
        "qualification_h": s.experience.qualification_h,
        "qualification_kg": s.experience.qualification_kg,
        "carbon_weight": s.market.carbon_weight,
        "quality_weight": s.market.quality_weight,
        "co2e_truck_tkm": s.carbon.truck_kg_tkm,
        "co2e_parcel": s.carbon.parcel_kg,
        "co2e_parcel_up_to_kg": s.carbon.parcel_up_to_kg,
    }
    for key, value in values.items():
        par[key] = value
    return par
