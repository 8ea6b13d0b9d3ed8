"""The scenario: every fact and parameter of a network, as frozen dataclasses.

These classes are the schema. YAML files (`configs/scenarios/*.yaml`) and Python code fill the same
classes; `envs.network.loading` reads a file and refuses what is wrong with file, key, value and remedy.
Each field is declared with default, unit, allowed values and words; `make docs` brings a change to the guide.
Names carry their unit: `_eur`, `_h` (hours), `_d` (working days), `_km` (road kilometres), `_kg`, `_l`
(litres), `_year` (per working year of 250 days). Money is EUR. A `share` or `rate` without a unit is dimensionless.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from fabmesh.envs.network.schema.disruption_kinds import KINDS
from fabmesh.envs.network.schema.parameters import param, required
from fabmesh.envs.network.schema.sizes import (
    INBOUND_DAYS,
    MAX_STAGES,
    MOST_DAYS,
    MOST_DUE_D,
    MOST_ENTRIES,
    MOST_UNITS,
)

WORKING_DAYS_PER_YEAR = 250
WORKING_DAYS_PER_WEEK = 5

# Words that stand for a rule. What the model does not do yet is not offered.
DISPATCHING = ("edd", "fifo", "spt", "atc")
PAYMENT = ("first_price", "second_price")

# Intervals that several numbers share. Every interval ends: a number beyond it is no use to anybody, and would meet an
# integer, a ring, a loop or a table that it does not fit. What numbers inside their intervals come to together is
# checked in `scenario_sizes`.
PRICE = "[0.0001, 1e9]"  # EUR; what costs nothing would have no book value to be told by
EUR = "[0, 1e9]"
EUR_H = "[0, 1e6]"
SHARE = "[0, 1]"
FACTOR = "[0, 1000]"  # what something is multiplied with
AT_LEAST_ONCE = "[1, 1000]"
LEVEL = "[0.001, 1000]"  # of demand
AMOUNT = "[0.0001, 1e6]"  # units, kg, L of one thing
AMOUNT_OR_NONE = "[0, 1e6]"
PER_EUR = "[0, 1000]"
LOG_SD = "[0, 3]"  # standard deviation of a logarithm
KM = "[0, 50000]"  # by road to the other end of the world and back
LATITUDE = "[-90, 90]"
LONGITUDE = "[-180, 180]"
YEARLY = "[0, 10000]"  # events a year: 250 are one every day
DURATION = f"(0, {MOST_DAYS}]"
DAYS = f"[1, {MOST_DAYS}]"
DAYS_OR_NONE = f"[0, {MOST_DAYS}]"
DAY = f"[0, {MOST_DAYS})"  # of an episode
YEARS_OF_DAYS = "[0, 25000]"  # 100 years
LIFE = "[1, 25000]"
DUE = f"[1, {MOST_DUE_D}]"
PATIENCE = "[0, 1000]"  # days
DEVIATION = "[0, 1000]"  # mm, or tolerances
SCRAP = "[0, 0.99]"  # of quality.MOST_SCRAP


@dataclass(frozen=True)
class Technology:
    """A kind of machine; the technologies are also the lanes in which hubs post standing bids."""

    name: str = required(words="its name; hubs and stages refer to it")
    hours_per_day: float = required("h/d", "(0, 24]", "one machine can run")
    rate_eur_h: float = required("EUR/h", EUR_H, "machine only: depreciation, maintenance, floor")
    power_kw: float = required("kW", AMOUNT_OR_NONE, "average while working")
    setup_h: float = required(
        "h", "[0, 24]", "of machine and labour, once per product and day; less than `hours_per_day`"
    )
    scrap: float = required("share", SCRAP, "of units scrapped at each stage")
    machines_per_technician: float = required(
        "machines", LEVEL, "one technician tends; an hour of the machine takes 1 / this hours of labour"
    )
    extended_by_overtime: bool = required(
        words="true: it runs in the technicians' shift, so overtime lengthens its day"
    )
    mtbf_h: float | None = param(
        None,
        "h",
        "[0.01, 1e9]",
        "mean working hours between failures of a machine never serviced, with `upkeep` on; none: it never fails",
    )
    mttr_h: float = param(0.0, "h", "[0, 1e5]", "mean working hours that a repair takes")
    tolerance_mm: float | None = param(
        None,
        "mm",
        "[0.0001, 1000]",
        "deviation up to which a part is good, with `quality` on; none: not a matter of dimensions",
    )
    process_sd_mm: float = param(0.05, "mm", "[0.0001, 1000]", "standard deviation of the parts of one machine")
    lot_sd_mm: tuple[float, float] = param(
        (0.0, 0.0), "mm", DEVIATION, "standard deviation of lots of material, qualified and unqualified"
    )
    progress_ratio: float = param(
        1.0,
        "share",
        "[0.01, 1]",
        "labour time after a doubling of experience / before, with `experience` on; 1: no learning",
    )
    capex_eur: float = param(0.0, "EUR", EUR, "price of a machine, for the measures of profit")


@dataclass(frozen=True)
class Material:
    """A raw material or bought-in kit. Quantities are in its own unit (kg, or pieces for kits)."""

    name: str = required(words="its name; bills of materials refer to it")
    unit: str = required("", ("kg", "piece"), "kg, or pieces for kits")
    bulk_eur: float = required("EUR/unit", "[1e-06, 1e9]", "price from the largest price break up")
    retail_eur: float = required("EUR/unit", "[1e-06, 1e9]", "price bought alone, not below `bulk_eur`")
    pallet: float = required("units", "[0.0001, 1e9]", "on a pallet; price breaks count pallets")
    pack: float = required("units", "[0.0001, 1e9]", "in a pack: hubs and depots order whole packs; at most a pallet")
    kg: float = required("kg/unit", AMOUNT, "1 where the unit is kg")
    litres: float = required("L/unit", AMOUNT_OR_NONE, "volume as shipped")
    lead_mean_d: float = required("d", "[0.01, 250]", "mean lead time from supplier to depot")
    lead_sd_d: float = required("d", "[0, 1000]", "its standard deviation")
    sealed_life_d: float | None = param(None, "d", LIFE, "from production to expiry while sealed; none: does not age")
    floor_life_d: float | None = param(None, "d", LIFE, "from opening at a hub to expiry; none: does not age")
    design_of: str | None = param(
        None, words="the product whose design this kit belongs to: a revision makes it worthless"
    )
    overseas: bool = param(False, words="comes by sea: a closed port and the long route delay it")
    co2e_kg: float = param(0.0, "kg CO2e/unit", AMOUNT_OR_NONE, "from cradle to supplier")


@dataclass(frozen=True)
class Stage:
    """One step of production. Hours per unit are `hours + hours_per_eur x price of the unit`."""

    technology: str = required(words="one of `technologies`")
    machine_h: float = param(0.0, "h/unit", "[0, 1e5]", "machine")
    labour_h: float = param(
        0.0, "h/unit", "[0, 1e5]", "manual labour; tending comes on top, see `machines_per_technician`"
    )
    machine_h_per_eur: float = param(0.0, "h/EUR", PER_EUR, "machine, per EUR of price")
    labour_h_per_eur: float = param(0.0, "h/EUR", PER_EUR, "manual labour, per EUR of price")


@dataclass(frozen=True)
class BomLine:
    """One line of a bill of materials: `quantity + quantity_per_eur x price` units of material a unit of product."""

    material: str = required(words="one of `materials`")
    quantity: float = param(0.0, "units", AMOUNT_OR_NONE, "of material a unit of product")
    quantity_per_eur: float = param(0.0, "units/EUR", PER_EUR, "of material, per EUR of price")
    stage: int = param(0, "", f"[0, {MAX_STAGES - 1}]", "the stage that consumes it, counted from 0")


@dataclass(frozen=True)
class Product:
    """A catalogue product with a design that can be revised."""

    name: str = required(words="its name, different from all streams")
    label: str = required(words="for people")
    stages: tuple[Stage, ...] = required(words="at most 3, in the order of work; each takes at least a day")
    bom: tuple[BomLine, ...] = required(words="bill of materials of one unit: at most 4 lines, may be empty")
    kg: float = required("kg/unit", AMOUNT)
    litres: float = required("L/unit", AMOUNT_OR_NONE, "packed")
    price_eur: float = required("EUR/unit", PRICE, "list price")
    units_per_order: float = required(
        "units", f"[1, {MOST_UNITS}]", "mean of one customer order, and so of one stop of the delivery"
    )
    units_per_1000_year: float = required(
        "units", AMOUNT, "demanded per 1,000 inhabitants and year, before `demand.catalogue_level`"
    )
    due_d: int = required(
        "d", DUE, "from announcement to due day; stages + 1 is the soonest a unit can be made to order"
    )
    season_amplitude: float = param(0.2, "share", SHARE, "of the yearly cosine")
    season_peak_day: int = param(225, "d", "[0, 250]", "working day of the year on which demand peaks")
    royalty: float = param(
        0.0,
        "share",
        SHARE,
        "of the list price, owed to the platform for each unit shipped, for the design; F7.4 [A] gives 0.05-0.10",
    )
    life_year: float | None = param(
        None, "years", FACTOR, "median life of a generation of its own; none: as in `demand`"
    )


@dataclass(frozen=True)
class Variant:
    """How a share of a made-to-order stream or of the tenders is made; work and material scale with the price."""

    name: str = required(words="its name within the stream")
    share: float = required("share", "(0, 1]", "of the orders")
    stages: tuple[Stage, ...] = required()
    bom: tuple[BomLine, ...] = required(words="may be empty")


@dataclass(frozen=True)
class CustomStream:
    """Made-to-order customer orders; one unit = one order, its price lognormal."""

    name: str = required(words="its name, different from all products and streams")
    label: str = required(words="for people")
    orders_per_100k_year: float = required(
        "orders", "[0.0001, 1e8]", "per 100,000 inhabitants and year, before `demand.custom_level`"
    )
    price_median_eur: float = required("EUR", PRICE, "median of the lognormal price")
    price_sigma: float = required("", LOG_SD, "standard deviation of its logarithm")
    due_d: int = required("d", DUE, "from announcement to due day; at least stages + 1")
    kg_per_eur: float = required("kg/EUR", PER_EUR, "delivered weight per EUR of price")
    litres_per_eur: float = required("L/EUR", PER_EUR, "packed volume per EUR of price")
    variants: tuple[Variant, ...] = required()


@dataclass(frozen=True)
class TenderStream:
    """Large orders awarded whole to one hub: community and public projects, local designer batches."""

    name: str = required(words="its name, different from all products and streams")
    label: str = required(words="for people")
    tenders_per_100k_year: float = required(
        "tenders", "[0.0001, 1e8]", "per 100,000 inhabitants and year, before `demand.tender_level`"
    )
    units: tuple[int, int] = required("units", f"[1, {MOST_UNITS}]", "range of the size")
    price_eur: tuple[float, float] = required("EUR", PRICE, "range of the ceiling of the whole tender")
    due_d: tuple[int, int] = required("d", DUE, "range from announcement to due day; at least stages + 1")
    kg_per_eur: float = required("kg/EUR", PER_EUR, "delivered weight per EUR of ceiling")
    litres_per_eur: float = required("L/EUR", PER_EUR, "packed volume per EUR of ceiling")
    variants: tuple[Variant, ...] = required(words="work and material scale with the ceiling")


@dataclass(frozen=True)
class Town:
    """A place where customers are."""

    name: str = required(words="its name; hubs refer to it, and its random series follow it into other scenarios")
    latitude: float = required("degrees", LATITUDE, "north is positive")
    longitude: float = required("degrees", LONGITUDE, "east is positive")
    population: int = required("people", "[1, 1e9]", "demand grows with it")


@dataclass(frozen=True)
class Hub:
    """An agent: a workshop in a town."""

    town: str = required(words="the town it stands in, one of `towns`")
    machines: dict[str, int] = required(
        "machines", "[0, 10000]", "technology -> number, e.g. `{FDM: 4, laser: 1}`; what is not named is not there"
    )
    technicians: int = required("people", "[1, 10000]", "they tend machines and do the manual work")
    fit_out_eur: float = param(0.0, "EUR", EUR, "fit-out, quality control and IT, for the measures of profit")
    rent_eur_year: float = param(0.0, "EUR/year", EUR, "for the measures of profit")


@dataclass(frozen=True)
class Depot:
    """An agent: a regional store of raw material."""

    name: str = required(words="its name")
    latitude: float = required("degrees", LATITUDE)
    longitude: float = required("degrees", LONGITUDE)


@dataclass(frozen=True)
class Demand:
    """The exogenous streams of orders."""

    catalogue_level: float = param(1.0, "x", LEVEL, "multiplies `units_per_1000_year`")
    custom_level: float = param(1.0, "x", FACTOR, "multiplies `orders_per_100k_year`; 0 switches the streams off")
    tender_level: float = param(1.0, "x", FACTOR, "multiplies `tenders_per_100k_year`; 0 switches tenders off")
    dispersion: float = param(
        2.0, "", "[1.001, 1000]", "variance / mean of a town's daily units of a product (negative binomial)"
    )
    revisions_per_year: float = param(1.5, "1/year", YEARLY, "design revisions of a catalogue product")
    revision_notice_d: int = param(20, "d", "[1, 1000]", "from the announcement of a revision to its effect")
    # surges of demand for one product (F§7.2), drawn per product; `Disruptions.scale` multiplies the rate
    surges_year: float = param(
        0.0, "1/year", "[0, 250]", "surges of demand for one product, in the network (F7.2: .15); 0 switches them off"
    )
    surge_factor: tuple[float, float] = param(
        (5.0, 20.0), "x", AT_LEAST_ONCE, "range of a surge's factor, log-uniform (F7.2)"
    )
    surge_d: tuple[int, int] = param((15, 40), "d", "[1, 250]", "range of its length, uniform: 3 to 8 weeks (F7.2)")
    # life cycle of catalogue products: Bass-shaped sales over a lognormal life (F§7.2)
    life_year: float = param(
        0.0, "years", FACTOR, "median life of a product's generation (F7.2: 3, trend items .75); 0: demand does not age"
    )
    life_sigma: float = param(0.5, "", LOG_SD, "standard deviation of its logarithm (F7.2)")
    # adoption ramp: logistic from a share of mature demand to all of it (F§9.4)
    adoption_from: float = param(
        1.0,
        "share",
        "[0.001, 1]",
        "of mature demand at the beginning of the adoption ramp (F9.4: .3); 1 switches it off",
    )
    adoption_ramp_d: int = param(504, "d", "[1, 25000]", "length of the ramp: 24 months of 21 days (F9.4)")
    adoption_day: int = param(0, "d", YEARS_OF_DAYS, "day of the ramp on which an episode begins")


@dataclass(frozen=True)
class Labour:
    """Technicians, energy and the dispatching rule of the hubs."""

    hours_per_day: float = param(6.6, "h/d", "(0, 24]", "productive hours of one technician: 1,650 h/year")
    wage_eur_h: float = param(42.0, "EUR/h", EUR_H, "all-in")
    overtime_premium: float = param(0.5, "share", FACTOR, "overtime is paid (1 + this) x wage")
    energy_eur_kwh: float = param(0.25, "EUR/kWh", EUR_H)
    dispatching: str = param(
        "edd",
        "",
        DISPATCHING,
        "order of work in a hub: earliest due day, first come, shortest work, apparent tardiness cost",
    )


@dataclass(frozen=True)
class Market:
    """The customer market."""

    reach_km: float = param(200.0, "km", KM, "road; hubs farther from the town are not asked")
    payment: str = param(
        "first_price", "", PAYMENT, "a winner is paid its bid, or up to the lowest losing landed score"
    )
    ceiling_catalogue: float = param(1.10, "x list price", LEVEL, "highest landed score a customer accepts")
    ceiling_custom: float = param(1.25, "x price", LEVEL, "the same for custom orders")
    patience_catalogue_d: int = param(2, "d", PATIENCE, "an unserved catalogue order waits before it is lost")
    patience_custom_d: int = param(5, "d", PATIENCE, "the same for custom orders")
    goodwill: float = param(0.05, "share", FACTOR, "a lost order costs list price x (1 + this)")
    lateness_per_day: float = param(0.015, "share/d", SHARE, "of the price, paid for each late day after the grace")
    lateness_grace_d: int = param(1, "d", f"[0, {MOST_DAYS - 1}]", "late days that are free")
    lateness_cap: float = param(0.15, "share", SHARE, "of the price, the most that lateness costs")
    cancel_after_d: int = param(21, "d", DAYS, "late days after which the customer cancels; above the grace")
    reputation_weight: float = param(
        1.0, "", FACTOR, "of expected lateness in the landed score: weight x smoothed lateness share x price"
    )
    platform_fee: float = param(
        0.0,
        "share",
        SHARE,
        "of a hub's revenue, owed to the platform when it ships; F8.1 [A] gives 0-0.35, a cooperative 0.10-0.12",
    )
    carbon_weight: float = param(
        0.0, "EUR/kg CO2e", FACTOR, "of making and delivering a unit in the landed score; nobody pays it"
    )
    quality_weight: float = param(
        0.0,
        "",
        FACTOR,
        "of expected returns in the landed score: weight x the hub's record of refunds x price; nobody pays "
        "it; needs `quality`",
    )


@dataclass(frozen=True)
class LastMile:
    """Delivery to customers with an own van or as a parcel (F§1.1)."""

    van_stop_eur: float = param(7.2, "EUR/stop", EUR, "own van, within the radius")
    van_radius_km: float = param(25.0, "km", KM, "road")
    van_eur_km: float = param(
        0.35, "EUR/km", EUR_H, "beyond the radius, there and back, shared by the stops of a round"
    )
    van_stops_per_round: float = param(12.0, "stops", "[0.01, 1e6]")
    parcel_eur: float = param(7.6, "EUR", EUR, "per parcel")
    parcel_eur_kg: float = param(0.28, "EUR/kg", EUR_H, "of max(kg, volumetric kg)")
    parcel_litres_per_kg: float = param(5.0, "L/kg", LEVEL, "volumetric weight is L / this")
    two_days_beyond_km: float = param(250.0, "km", KM, "a parcel takes two days beyond, one within")


@dataclass(frozen=True)
class Freight:
    """Road freight of materials: fixed per consignment + rate x chargeable tonne-km."""

    fixed_eur: float = param(33.0, "EUR", EUR, "per consignment")
    rate_eur_tkm: float = param(0.35, "EUR/tkm", EUR_H, "of chargeable weight")
    kg_per_litre: float = param(0.333, "kg/L", FACTOR, "chargeable weight is max(kg, this x L)")
    circuity: float = param(1.27, "x", "[1, 10]", "road km / great-circle km")
    depot_hub_two_days_beyond_km: float = param(150.0, "km", KM, "depot to hub takes two days beyond, one within")


@dataclass(frozen=True)
class Supply:
    """Suppliers outside the network (qualified source) and the retail channel."""

    distance_km: float = param(400.0, "km", KM, "road, from every supplier to every depot")
    order_eur: float = param(60.0, "EUR", EUR, "per supplier order: administration and receiving")
    # all-units discount: unit price = bulk + (retail - bulk) x factor[i] for orders of less than breaks[i] pallets
    price_breaks_pallets: tuple[float, ...] = param(
        (0.05, 0.25, 1.0, 5.0), "pallets", "[0.0001, 1e6]", "where the price classes begin, rising"
    )
    price_factors: tuple[float, ...] = param((1.0, 0.75, 0.45, 0.12, 0.0), "", SHARE, "of the classes, falling")
    life_at_receipt: tuple[float, float] = param(
        (0.35, 1.0), "share", "[0.001, 1]", "of the sealed life left at receipt, range"
    )
    retail_lead_d: int = param(3, "d", f"[1, {INBOUND_DAYS - 1}]", "lead time of the retail channel, the last resort")


@dataclass(frozen=True)
class Inventory:
    """Holding, ageing, smoothing, and how an episode starts and ends."""

    holding_material_year: float = param(0.20, "share/year", "[0, 250]", "of the value of material")
    holding_finished_year: float = param(0.25, "share/year", "[0, 250]", "of the value of finished goods")
    salvage: float = param(0.10, "share", SHARE, "of book value got back for what is written off")
    smoothing: float = param(0.1, "1/d", "[1e-12, 1]", "weight of the newest day in smoothed use")
    catchment_floor: float = param(
        0.25, "share", "[0.0001, 1]", "of the catchment's expected use below which the base rate does not fall"
    )
    opening_level: tuple[float, float] = param((0.3, 1.2), "x base stock", "[0, 1000]", "range of the opening stock")
    closing_cover_d: int = param(60, "d", "[0, 1000]", "closing stock above so many days of need is written down")


@dataclass(frozen=True)
class ScriptedEvent:
    """A disruption that comes on a given day in every world, beside those that are drawn."""

    kind: str = required("", KINDS, "what happens")
    day: int = required("d", DAY, "of the episode it begins; 0 is the first")
    duration_d: int = required("d", DAYS, "how long it lasts")
    target: str | None = param(
        None,
        words="what it strikes: a hub's town (`hub_outage`, `ransomware`), a town (`regional_shock`: the hubs near "
        "it), a depot, a material, a product (`tampering`, `demand_surge`); none where it strikes the whole "
        "network",
    )
    factor: float | None = param(None, "x demand", AT_LEAST_ONCE, "of `demand_surge`, and only of it")
    seen: bool = param(True, words="false: it adds no flags to what agents see, so that policies made without it fit")


@dataclass(frozen=True)
class Disruptions:
    """Rates and durations of what goes wrong (F§6.2)."""

    scale: float = param(1.0, "x", FACTOR, "multiplies every rate; 0 is calm")
    hub_outage_year: float = param(0.4, "1/year", YEARLY, "outages of a hub")
    hub_outage_median_d: float = param(4.0, "d", DURATION, "median of the lognormal duration")
    hub_outage_sigma: float = param(0.9, "", LOG_SD, "standard deviation of its logarithm")
    hub_outage_max_d: int = param(60, "d", DAYS, "the longest outage")
    regional_shock_year: float = param(
        0.0, "1/year", YEARLY, "shocks (flood, grid) that strike a hub; each strikes all hubs near where it starts"
    )
    regional_shock_median_d: float = param(
        6.0, "d", DURATION, "median of the lognormal duration, the same for all hubs it strikes"
    )
    regional_shock_sigma: float = param(0.6, "", LOG_SD, "standard deviation of its logarithm")
    regional_shock_radius_km: float = param(
        40.0, "km", "[1, 1000]", "hubs so near to its start, as the crow flies, close"
    )
    depot_outage_year: float = param(0.0, "1/year", YEARLY, "outages of a depot")
    depot_outage_median_d: float = param(5.0, "d", DURATION, "as above")
    depot_outage_sigma: float = param(0.7, "", LOG_SD, "as above")
    supplier_stop_year: float = param(0.0, "1/year", YEARLY, "stops of a material's supplier")
    supplier_stop_median_d: float = param(45.0, "d", DURATION, "as above")
    supplier_stop_sigma: float = param(0.5, "", LOG_SD, "as above")
    supplier_stop_output: tuple[float, float] = param(
        (0.0, 0.3), "share", SHARE, "of its output that goes on meanwhile, uniform"
    )
    port_closure_year: float = param(0.0, "1/year", YEARLY, "closures of the port of what comes overseas")
    port_closure_median_d: float = param(9.0, "d", DURATION, "as above")
    port_closure_sigma: float = param(0.6, "", LOG_SD, "as above")
    port_queue: float = param(0.5, "d/d", "[0, 100]", "days until the queue is gone, per day of closure")
    long_route_year: float = param(0.0, "1/year", YEARLY, "times at which ships start to take the long way")
    long_route_median_d: float = param(200.0, "d", DURATION, "as above")
    long_route_sigma: float = param(0.6, "", LOG_SD, "as above")
    long_route_lead_d: int = param(14, "d", "[0, 1000]", "by which orders from overseas take longer")
    long_route_freight: float = param(2.5, "x", AT_LEAST_ONCE, "their freight")
    material_shortage_year: float = param(0.0, "1/year", YEARLY, "shortages of a material")
    material_shortage_median_d: float = param(25.0, "d", DURATION, "as above")
    material_shortage_sigma: float = param(0.5, "", LOG_SD, "as above")
    material_shortage_lead: float = param(3.0, "x", "[1, 100]", "lead time of orders placed meanwhile")
    material_shortage_price: float = param(1.5, "x", AT_LEAST_ONCE, "their price")
    platform_outage_year: float = param(0.0, "1/year", YEARLY, "outages of the platform")
    platform_outage_median_d: float = param(
        0.25, "d", DURATION, "as above; a part of a day counts as a day with so much probability"
    )
    platform_outage_sigma: float = param(0.9, "", LOG_SD, "as above")
    ransomware_year: float = param(0.0, "1/year", YEARLY, "times at which the design files of one hub are locked")
    ransomware_median_d: float = param(6.0, "d", DURATION, "as above")
    ransomware_sigma: float = param(0.8, "", LOG_SD, "as above")
    platform_cyber_year: float = param(0.0, "1/year", YEARLY, "times at which the design files of all hubs are locked")
    platform_cyber_median_d: float = param(4.0, "d", DURATION, "as above")
    platform_cyber_sigma: float = param(0.8, "", LOG_SD, "as above")
    tampering_per_10k_orders: float = param(
        0.0,
        "1/10,000",
        YEARLY,
        "customer orders of a catalogue product: how often its file is tampered with, or a wrong version",
    )
    tampering_found_d: tuple[int, int] = param((1, 10), "d", DAYS, "until it is found out, uniform and inclusive")
    tampering_scrap: float = param(0.9, "share", SCRAP, "of what is made by a wrong file")
    scripted: tuple[ScriptedEvent, ...] = param((), words="disruptions on given days, beside those drawn; not scaled")


@dataclass(frozen=True)
class People:
    """Absence and turnover of the technicians, post by post; off, everybody is there every day."""

    enabled: bool = param(False, words="true: technicians are absent and leave")
    absence_share: float = param(0.05, "share", "[0, 0.99]", "of the days of a filled post [A]")
    absence_spell_d: float = param(
        5.0, "d", "[1, 1000]", "mean length of an absence (geometric) [A]; at least share / (1 - share)"
    )
    turnover_year: float = param(0.12, "1/year", "[0, 250)", "leavers per filled post (F4.1 [A])")
    hiring_d: int = param(40, "d", DAYS_OR_NONE, "from leaving until the post is filled again: 8 weeks (F4.1 [A])")
    training_d: int = param(
        60, "d", DAYS_OR_NONE, "until a new technician works at full productivity: 12 weeks (F4.1 [A])"
    )
    training_productivity: float = param(0.6, "share", SHARE, "of the hours of a new technician (F4.1 [A])")


@dataclass(frozen=True)
class Upkeep:
    """Wear, breakdowns and repairs of machines, and their service; off, machines always run."""

    enabled: bool = param(False, words="true: machines wear, break down and can be serviced")
    wear_shape: float = param(
        2.0, "", "[1, 10]", "shape of the Weibull time to failure [A]; 1: machines do not age and service is in vain"
    )
    service_h: float = param(
        2.0, "h", "[0, 1000]", "of a technician and of the machine, for each machine serviced (F3.3 [A])"
    )
    service_eur: float = param(60.0, "EUR", EUR, "of a service of one technology, beside the hours (F3.3 [A])")
    repair_eur_h: float = param(48.0, "EUR/h", EUR_H, "of an outside fitter (F4.1 [A])")


@dataclass(frozen=True)
class Quality:
    """Calibration of machines and quality of lots; off, parts fail at `Technology.scrap` and material is good.

    Pairs are for qualified and unqualified lots, or for the inspections "sample" and "full".
    """

    enabled: bool = param(False, words="true: machines are out of true and lots of material differ")
    uncalibrated_bias: float = param(
        0.5, "x tolerance", DEVIATION, "standard deviation of a hub's mean deviation on day 0 (F3.3 [A]: .10 of .20 mm)"
    )
    calibrated_bias: float = param(0.1, "x tolerance", DEVIATION, "the same after a service (F3.3 [A]: .02 of .20 mm)")
    drift_week: float = param(
        0.05,
        "x tolerance",
        DEVIATION,
        "standard deviation of its random walk in a week of full work (F3.3 [A]: .01 of .20 mm)",
    )
    hub_check: float = param(0.9, "share", SHARE, "of the parts out of tolerance, found before they leave the hub [A]")
    return_price_share: float = param(
        1.05, "x price", FACTOR, "cost of a part that comes back: refund and goodwill [A]"
    )
    bad_lots: tuple[float, float] = param(
        (0.005, 0.06), "share", SHARE, "of the lots: qualified, unqualified (F11 [A])"
    )
    spot_discount: float = param(0.08, "share", "[0, 0.99]", "of the price, at the spot source (model §5)")
    spot_km: float = param(250.0, "km", KM, "road, from the spot source to every depot (F11 [A])")
    inspection_eur: tuple[float, float] = param((15.0, 60.0), "EUR", EUR, "a lot: sample, full (F11 [A])")
    inspection_finds: tuple[float, float] = param(
        (0.6, 0.97), "share", SHARE, "of the bad lots: sample, full (F11 [A])"
    )


@dataclass(frozen=True)
class Experience:
    """Learning by doing (Wright 1936) and new designs; off, hours and scrap are the same for ever."""

    enabled: bool = param(False, words="true: hubs learn by doing and qualify for new designs")
    prior_units: float = param(500.0, "units", "[0.01, 1e9]", "that a hub has made of each technology before day 0 [A]")
    shared: float = param(
        0.5, "share", SHARE, "of the other hubs' units that counts as own, through the platform (F4.2 [A])"
    )
    scrap_progress_ratio: float = param(
        0.9, "share", "[0.01, 1]", "scrap after a doubling of experience / before (F4.2 [A])"
    )
    floor: float = param(0.55, "share", SHARE, "of the labour time and scrap of day 0, the least there is (F4.2 [A])")
    first_pass_yield: float = param(
        0.8, "share", "[0.01, 1]", "of a new design version until the hub is qualified (F7.4 [A])"
    )
    qualification_h: float = param(2.0, "h", "[0, 1000]", "of a technician, for the qualification run (F7.4 [A])")
    qualification_kg: float = param(0.5, "kg", AMOUNT_OR_NONE, "of material, for the qualification run (F7.4 [A])")


@dataclass(frozen=True)
class Reward:
    """The reward of the agents."""

    scale_eur: float | None = param(
        None,
        "EUR",
        "[0.0001, 1e12]",
        "cost that counts as a reward of -1; none: standard cost of a mean day / number of agents",
    )
    team_weight: float = param(
        1.0,
        "share",
        SHARE,
        "of the network's cost in an agent's reward; the rest is its own cost less its own income; 1 = team game",
    )


@dataclass(frozen=True)
class Actions:
    """Levels of the action components, and which components the agents own."""

    bid_markups: tuple[float, ...] = param(
        (-0.15, 0.0, 0.15, 0.35, 0.70),
        "share",
        "(-1, 1000]",
        "on a hub's own estimated cost: standing bids and tender bids, after withdraw or pass",
    )
    cover_d: tuple[float, ...] = param(
        (2, 4, 7, 10, 15, 22, 32),
        "d",
        "(0, 1000]",
        "order-up-to level of a hub per material, in days of use, after none",
    )
    reorder_trigger: tuple[float, ...] = param(
        (1.0, 0.75, 0.5, 0.25), "share", "(0, 1]", "of the order-up-to level below which a hub orders"
    )
    make_to_stock_d: tuple[float, ...] = param((1, 3, 7), "d", "(0, 100]", "of use that a hub makes ahead, after 0")
    overtime: tuple[float, ...] = param((0.0, 0.25, 0.5), "share", "[0, 4]", "of the technicians' hours")
    depot_trigger: tuple[float, ...] = param(
        (0.5, 1.0, 1.5, 2.5), "x lead-time need", "(0, 100]", "below which a depot orders, after none"
    )
    depot_lot_d: tuple[float, ...] = param(
        (10, 20, 40, 60), "d", "(0, 1000]", "of use a depot's order covers, before 'next price break'"
    )
    depot_quote: tuple[float, ...] = param(
        (0.0, 0.01, 0.02, 0.04, 0.08), "share", "(-1, 1000]", "a depot's mark-up on its landed cost, after decline"
    )
    # components switched off leave the action space and take the level given here
    switched_off: dict[str, int] = param(
        {},
        "level",
        f"[0, {MOST_ENTRIES}]",
        "component -> the level it is held at, e.g. `{hub.make_to_stock: 0}`; components: `hub.bid`, "
        "`hub.tender`, `hub.cover`, `hub.trigger`, `hub.can_order`, `hub.make_to_stock`, `hub.overtime`, "
        "`depot.trigger`, `depot.lot`, `depot.quote`, and with their mechanisms on `hub.upkeep`, "
        "`depot.source`, `depot.inspection`",
    )


@dataclass(frozen=True)
class Capacity:
    """Sizes of the preallocated tables; what does not fit is refused by the market, never dropped silently."""

    order_book: int = param(320, "orders", "[1, 10000]", "open at a hub; a full hub wins nothing")
    open_tenders: int = param(48, "tenders", "[1, 100000]", "open in the network")
    supplier_orders: int = param(12, "orders", "[1, 1000]", "under way per depot and material")
    tender_slots: int = param(4, "tenders", "[1, 1000]", "a hub sees and bids on each day")


@dataclass(frozen=True)
class Carbon:
    """CO2e factors of transport and electricity (F§1.3); those of materials are theirs. They change no cost."""

    van_kg_km: float = param(0.25, "kg CO2e/km", AMOUNT_OR_NONE, "own van, per km driven: 635 g/tkm x 0.4 t")
    van_km_stop: float = param(
        5.0, "km/stop", KM, "driven for a stop within the radius; beyond it as `last_mile` counts"
    )
    parcel_kg: float = param(0.8, "kg CO2e/parcel", AMOUNT_OR_NONE)
    parcel_up_to_kg: float = param(
        30.0, "kg", AMOUNT, "chargeable weight of one parcel; what is heavier counts as several"
    )
    truck_kg_tkm: float = param(0.1075, "kg CO2e/tkm", AMOUNT_OR_NONE, "groupage, per chargeable tonne-km")
    grid_kg_kwh: float = param(0.21, "kg CO2e/kWh", AMOUNT_OR_NONE, "electricity")


@dataclass(frozen=True)
class Economics:
    """What the measures of profit reckon with (F§9.4); nothing of it is in the ledger."""

    interest_year: float = param(0.08, "share/year", "[0, 1]", "on machines and fit-out")
    years: float = param(8.0, "years", "[0.1, 1000]", "of their annuity")
    mature_level: float = param(2.0, "x", LEVEL, "demand once everybody has adopted, x the base of every stream")


@dataclass(frozen=True)
class Scenario:
    """A whole network. See the module's docstring for units."""

    name: str = required(words="how the scenario calls itself; a shipped file has the name of the file")
    description: str = required(words="one line for lists")
    episode_d: int = required("d", DAYS, "length of an episode; it ends by truncation")
    towns: tuple[Town, ...] = required(words="where customers are; a town needs no hub")
    hubs: tuple[Hub, ...] = required(words="the workshops: agents `hub_0`, `hub_1` ... in this order")
    depots: tuple[Depot, ...] = required(words="the stores of material: agents `depot_0` ... in this order")
    technologies: tuple[Technology, ...] = required(words="kinds of machines")
    materials: tuple[Material, ...] = required(words="raw materials and bought-in kits")
    products: tuple[Product, ...] = required(words="the catalogue")
    custom_streams: tuple[CustomStream, ...] = param((), words="orders made to order")
    tender_streams: tuple[TenderStream, ...] = param((), words="large orders awarded whole to one hub")
    demand: Demand = param(Demand(), words="level and variability of demand")
    labour: Labour = param(Labour(), words="people and energy")
    market: Market = param(Market(), words="rules of the customer market")
    last_mile: LastMile = param(LastMile(), words="delivery to customers")
    freight: Freight = param(Freight(), words="road freight of material")
    supply: Supply = param(Supply(), words="suppliers and the retail channel")
    inventory: Inventory = param(Inventory(), words="what stock costs, and where it starts and ends")
    disruptions: Disruptions = param(Disruptions(), words="what goes wrong")
    reward: Reward = param(Reward(), words="scale of the reward")
    actions: Actions = param(Actions(), words="levels of the agents' decisions")
    capacity: Capacity = param(Capacity(), words="sizes of tables")
    people: People = param(People(), words="absence and turnover of the technicians")
    upkeep: Upkeep = param(Upkeep(), words="wear, breakdowns and service of machines")
    quality: Quality = param(Quality(), words="calibration of machines, lots of material, inspection and returns")
    experience: Experience = param(Experience(), words="learning by doing and new designs")
    carbon: Carbon = param(Carbon(), words="CO2e factors of transport and electricity")
    economics: Economics = param(Economics(), words="what the measures of profit reckon with")


def fingerprint(scenario: Scenario) -> str:
    """Hash of every number of a scenario, its name included: a name alone does not say which edition it was."""
    return hashlib.sha256(repr(scenario).encode()).hexdigest()
