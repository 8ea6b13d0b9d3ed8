"""The scenario: every fact and parameter of a network, as frozen dataclasses.

These classes are the schema. YAML files (`configs/scenarios/*.yaml`) and Python code fill the same
classes; `envs.network.loading` reads a file and refuses what is wrong with file, key, value and remedy.
Names carry their unit: `_eur`, `_h` (hours), `_d` (working days), `_km` (road kilometres), `_kg`, `_l`
(litres), `_year` (per working year of 250 days). Money is EUR. A `share` or `rate` without a unit is dimensionless.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

WORKING_DAYS_PER_YEAR = 250
WORKING_DAYS_PER_WEEK = 5


@dataclass(frozen=True)
class Technology:
    """A kind of machine; the technologies are also the lanes in which hubs post standing bids."""

    name: str
    hours_per_day: float  # h/d one machine can run
    rate_eur_h: float  # EUR/h, machine only (depreciation, maintenance, floor)
    power_kw: float  # kW, average draw while working
    setup_h: float  # h of labour and machine, once per product and day
    scrap: float  # share of units scrapped per stage worked
    machines_per_technician: float  # machines one technician tends: 1 / (labour h per machine h)
    extended_by_overtime: bool  # True: runs in the technicians' shift, so overtime lengthens its day
    mtbf_h: float | None = None  # mean working hours between failures of a machine never serviced, None = never fails
    mttr_h: float = 0.0  # mean working hours a repair takes
    tolerance_mm: float | None = None  # deviation up to which a part is good, None = not a matter of dimensions
    process_sd_mm: float = 0.05  # deviation of parts of one machine
    lot_sd_mm: tuple[float, float] = (0.0, 0.0)  # deviation of lots of material, qualified and unqualified
    progress_ratio: float = 1.0  # labour time after a doubling of experience / before, 1 = no learning
    capex_eur: float = 0.0  # EUR, price of a machine


@dataclass(frozen=True)
class Material:
    """A raw material or bought-in kit. Quantities are in its own unit (kg, or pieces for kits)."""

    name: str
    unit: str  # "kg" or "piece"
    bulk_eur: float  # EUR per unit from five pallets up
    retail_eur: float  # EUR per unit, bought alone
    pallet: float  # units per pallet
    pack: float  # units per pack: hubs and depots order whole packs
    kg: float  # kg per unit
    litres: float  # L per unit
    lead_mean_d: float  # working days, supplier to depot
    lead_sd_d: float
    sealed_life_d: float | None = None  # working days, None = does not age
    floor_life_d: float | None = None  # working days once a pack is opened at a hub, None = does not age
    design_of: str | None = None  # the catalogue product whose design this kit belongs to, if any
    overseas: bool = False  # comes by sea: a closed port and the long route delay it
    co2e_kg: float = 0.0  # kg CO2e per unit, from cradle to supplier


@dataclass(frozen=True)
class Stage:
    """One step of production. Hours per unit are `hours + hours_per_eur x price of the unit`."""

    technology: str
    machine_h: float = 0.0
    labour_h: float = 0.0  # manual labour; tending is added from `Technology.machines_per_technician`
    machine_h_per_eur: float = 0.0
    labour_h_per_eur: float = 0.0


@dataclass(frozen=True)
class BomLine:
    """One line of a bill of materials: `quantity + quantity_per_eur x price` units of material a unit of product."""

    material: str
    quantity: float = 0.0
    quantity_per_eur: float = 0.0
    stage: int = 0  # index of the stage that consumes it


@dataclass(frozen=True)
class Product:
    """A catalogue product with a design that can be revised."""

    name: str
    label: str
    stages: tuple[Stage, ...]
    bom: tuple[BomLine, ...]
    kg: float
    litres: float  # packed
    price_eur: float  # list price of one unit
    units_per_order: float  # mean units of one customer order = units per customer stop
    units_per_1000_year: float  # base demand, units per 1,000 inhabitants and year
    due_d: int  # working days from announcement to due day
    season_amplitude: float = 0.2  # relative amplitude of the yearly cosine
    season_peak_day: int = 225  # working day of the year of the peak
    royalty: float = 0.0  # share of the list price that the hub owes the platform per unit shipped; F§7.4 5-10 %
    life_year: float | None = None  # median life of a generation, years; None: as `Demand.life_year`


@dataclass(frozen=True)
class Variant:
    """How a share of a made-to-order stream or of the tenders is made; work and material scale with the price."""

    name: str
    share: float
    stages: tuple[Stage, ...]
    bom: tuple[BomLine, ...]


@dataclass(frozen=True)
class CustomStream:
    """Made-to-order customer orders; one unit = one order, its price lognormal."""

    name: str
    label: str
    orders_per_100k_year: float
    price_median_eur: float
    price_sigma: float
    due_d: int
    kg_per_eur: float
    litres_per_eur: float
    variants: tuple[Variant, ...]


@dataclass(frozen=True)
class TenderStream:
    """Large orders awarded whole to one hub: community and public projects, local designer batches."""

    name: str
    label: str
    tenders_per_100k_year: float
    units: tuple[int, int]  # uniform, inclusive
    price_eur: tuple[float, float]  # ceiling of the whole tender, uniform
    due_d: tuple[int, int]  # uniform, inclusive
    kg_per_eur: float
    litres_per_eur: float
    variants: tuple[Variant, ...]


@dataclass(frozen=True)
class Town:
    """A place where customers are."""

    name: str
    latitude: float
    longitude: float
    population: int


@dataclass(frozen=True)
class Hub:
    """An agent: a workshop in a town."""

    town: str
    machines: dict[str, int]  # technology -> machines
    technicians: int
    fit_out_eur: float = 0.0  # EUR, fit-out, quality control and IT
    rent_eur_year: float = 0.0


@dataclass(frozen=True)
class Depot:
    """An agent: a regional store of raw material."""

    name: str
    latitude: float
    longitude: float


@dataclass(frozen=True)
class Demand:
    """The exogenous streams of orders."""

    catalogue_level: float = 1.0  # multiplies units_per_1000_year
    custom_level: float = 1.0  # multiplies orders_per_100k_year
    tender_level: float = 1.0
    dispersion: float = 2.0  # variance / mean of daily catalogue units of a town (negative binomial); > 1
    revisions_per_year: float = 1.5  # design revisions per catalogue product
    revision_notice_d: int = 20
    # surges of demand for one product (F§7.2), drawn per product; `Disruptions.scale` multiplies the rate
    surges_year: float = 0.0  # of the network, all products together; 0 = none
    surge_factor: tuple[float, float] = (5.0, 20.0)  # x the product's demand, log-uniform
    surge_d: tuple[int, int] = (15, 40)  # uniform, inclusive
    # life cycle of catalogue products: Bass-shaped sales over a lognormal life (F§7.2)
    life_year: float = 0.0  # median life of a generation, years; 0 = demand does not age
    life_sigma: float = 0.5
    # adoption ramp: logistic from a share of mature demand to all of it (F§9.4)
    adoption_from: float = 1.0  # share of mature demand at the ramp's beginning; 1 = no ramp
    adoption_ramp_d: int = 504  # 24 months of 21 days
    adoption_day: int = 0  # day of the ramp on which an episode begins


@dataclass(frozen=True)
class Labour:
    """Technicians, energy and the dispatching rule of the hubs."""

    hours_per_day: float = 6.6  # productive hours of one technician: 1,650 h/year
    wage_eur_h: float = 42.0
    overtime_premium: float = 0.5  # overtime is paid (1 + premium) x wage
    energy_eur_kwh: float = 0.25
    dispatching: str = "edd"  # edd | fifo | spt | atc


@dataclass(frozen=True)
class Market:
    """The customer market."""

    reach_km: float = 200.0  # hubs farther away are not asked
    payment: str = "first_price"  # first_price | second_price
    ceiling_catalogue: float = 1.10  # x list price, on the landed score
    ceiling_custom: float = 1.25
    patience_catalogue_d: int = 2
    patience_custom_d: int = 5
    goodwill: float = 0.05  # lost orders cost list price x (1 + goodwill)
    lateness_per_day: float = 0.015  # x price
    lateness_grace_d: int = 1
    lateness_cap: float = 0.15
    cancel_after_d: int = 21
    reputation_weight: float = 1.0  # expected lateness in the score: weight x smoothed lateness share x price
    platform_fee: float = 0.0  # share of a hub's revenue that goes to the platform (take rate); F§8.1 0-35 %
    carbon_weight: float = 0.0  # EUR per kg CO2e in the score: of making and delivering a unit
    quality_weight: float = 0.0  # expected returns in the score: weight x the hub's record of refunds x price


@dataclass(frozen=True)
class LastMile:
    """Delivery to customers with an own van or as a parcel (F§1.1)."""

    van_stop_eur: float = 7.2
    van_radius_km: float = 25.0
    van_eur_km: float = 0.35
    van_stops_per_round: float = 12.0
    parcel_eur: float = 7.6
    parcel_eur_kg: float = 0.28
    parcel_litres_per_kg: float = 5.0  # volumetric weight: L / 5
    two_days_beyond_km: float = 250.0


@dataclass(frozen=True)
class Freight:
    """Road freight of materials: fixed per consignment + rate x chargeable tonne-km."""

    fixed_eur: float = 33.0
    rate_eur_tkm: float = 0.35
    kg_per_litre: float = 0.333  # chargeable weight = max(kg, 0.333 kg/L x L)
    circuity: float = 1.27  # road km / great circle km
    depot_hub_two_days_beyond_km: float = 150.0


@dataclass(frozen=True)
class Supply:
    """Suppliers outside the network (qualified source) and the retail channel."""

    distance_km: float = 400.0
    order_eur: float = 60.0
    # all-units discount: unit price = bulk + (retail - bulk) x factor[i] for orders of less than breaks[i] pallets
    price_breaks_pallets: tuple[float, ...] = (0.05, 0.25, 1.0, 5.0)
    price_factors: tuple[float, ...] = (1.0, 0.75, 0.45, 0.12, 0.0)
    life_at_receipt: tuple[float, float] = (0.35, 1.0)  # uniform share of the sealed life left
    retail_lead_d: int = 3


@dataclass(frozen=True)
class Inventory:
    """Holding, ageing, smoothing, and how an episode starts and ends."""

    holding_material_year: float = 0.20  # of value
    holding_finished_year: float = 0.25
    salvage: float = 0.10  # of book value, for what is written off
    smoothing: float = 0.1  # exponential smoothing of use, per day
    catchment_floor: float = 0.25  # base rate >= this share of the expected use of the catchment
    opening_level: tuple[float, float] = (0.3, 1.2)  # opening stock, uniform share of a base-stock level
    closing_cover_d: int = 60  # closing stock above this many days of need on the tape is written down


@dataclass(frozen=True)
class ScriptedEvent:
    """A disruption that comes on a given day in every world, beside those that are drawn."""

    kind: str  # hub_outage, regional_shock, ...: the kinds of `disruption_kinds.KINDS`
    day: int  # of the episode; day 0 is the first
    duration_d: int
    target: str | None = None  # the hub's town, town, depot, material or product it strikes; none: the network
    factor: float | None = None  # x demand; of demand_surge, and only of it
    seen: bool = True  # False: it gives the agents no flags they would not have without it


@dataclass(frozen=True)
class Disruptions:
    """Rates and durations of what goes wrong (F§6.2)."""

    scale: float = 1.0  # multiplies every rate; 0 = calm
    hub_outage_year: float = 0.4  # per hub
    hub_outage_median_d: float = 4.0
    hub_outage_sigma: float = 0.9
    hub_outage_max_d: int = 60
    regional_shock_year: float = 0.0  # that strike a hub; each strikes all hubs within the radius of where it starts
    regional_shock_median_d: float = 6.0
    regional_shock_sigma: float = 0.6
    regional_shock_radius_km: float = 40.0  # as the crow flies
    depot_outage_year: float = 0.0  # per depot
    depot_outage_median_d: float = 5.0
    depot_outage_sigma: float = 0.7
    supplier_stop_year: float = 0.0  # per material
    supplier_stop_median_d: float = 45.0
    supplier_stop_sigma: float = 0.5
    supplier_stop_output: tuple[float, float] = (0.0, 0.3)  # uniform share of the output that goes on
    port_closure_year: float = 0.0
    port_closure_median_d: float = 9.0
    port_closure_sigma: float = 0.6
    port_queue: float = 0.5  # days until the queue is gone, per day of closure
    long_route_year: float = 0.0
    long_route_median_d: float = 200.0
    long_route_sigma: float = 0.6
    long_route_lead_d: int = 14  # days longer
    long_route_freight: float = 2.5  # x
    material_shortage_year: float = 0.0  # per material, for all depots
    material_shortage_median_d: float = 25.0
    material_shortage_sigma: float = 0.5
    material_shortage_lead: float = 3.0  # x
    material_shortage_price: float = 1.5  # x
    platform_outage_year: float = 0.0
    platform_outage_median_d: float = 0.25  # a part of a day falls on the day's auction with so much probability
    platform_outage_sigma: float = 0.9
    ransomware_year: float = 0.0  # per hub: its design files are locked
    ransomware_median_d: float = 6.0
    ransomware_sigma: float = 0.8
    platform_cyber_year: float = 0.0  # the design files of all hubs are locked
    platform_cyber_median_d: float = 4.0
    platform_cyber_sigma: float = 0.8
    tampering_per_10k_orders: float = 0.0  # a product's file is wrong until it is found out
    tampering_found_d: tuple[int, int] = (1, 10)  # uniform, inclusive
    tampering_scrap: float = 0.9  # share of what is made by a wrong file
    scripted: tuple[ScriptedEvent, ...] = ()


@dataclass(frozen=True)
class People:
    """Absence and turnover of the technicians, post by post; off, everybody is there every day."""

    enabled: bool = False
    absence_share: float = 0.05  # of the days of a filled post [A]
    absence_spell_d: float = 5.0  # mean length of an absence, geometric [A]
    turnover_year: float = 0.12  # leavers per filled post (F§4.1 [A])
    hiring_d: int = 40  # the post is empty so long: 8 weeks (F§4.1 [A])
    training_d: int = 60  # 12 weeks (F§4.1 [A])
    training_productivity: float = 0.6  # of a new technician until trained (F§4.1 [A])


@dataclass(frozen=True)
class Upkeep:
    """Wear, breakdowns and repairs of machines, and their service; off, machines always run."""

    enabled: bool = False
    wear_shape: float = 2.0  # of the Weibull time to failure; 1: machines do not age and service is in vain [A]
    service_h: float = 2.0  # of a technician and of the machine, per machine (F§3.3 [A])
    service_eur: float = 60.0  # per service of a technology, beside the hours (F§3.3 [A])
    repair_eur_h: float = 48.0  # an outside fitter (F§4.1 [A])


@dataclass(frozen=True)
class Quality:
    """Calibration of machines and quality of lots; off, parts fail at `Technology.scrap` and material is good.

    Pairs are for qualified and unqualified lots, or for the inspections "sample" and "full".
    """

    enabled: bool = False
    uncalibrated_bias: float = 0.5  # sd of a hub's mean deviation on day 0, x tolerance (F§3.3 [A]: .10 of .20 mm)
    calibrated_bias: float = 0.1  # the same after calibration (F§3.3 [A]: .02 of .20 mm)
    drift_week: float = 0.05  # sd of its random walk in a week of full work (F§3.3 [A]: .01 of .20 mm)
    hub_check: float = 0.9  # share of the parts out of tolerance that the hub finds itself [A]
    return_price_share: float = 1.05  # of the price, paid for a part that comes back: refund and goodwill [A]
    bad_lots: tuple[float, float] = (0.005, 0.06)  # share of the lots (F§11 [A])
    spot_discount: float = 0.08  # of the price (model §5)
    spot_km: float = 250.0  # F§11 [A]
    inspection_eur: tuple[float, float] = (15.0, 60.0)  # a lot (F§11 [A])
    inspection_finds: tuple[float, float] = (0.6, 0.97)  # share of the bad lots (F§11 [A])


@dataclass(frozen=True)
class Experience:
    """Learning by doing (Wright 1936) and new designs; off, hours and scrap are the same for ever."""

    enabled: bool = False
    prior_units: float = 500.0  # that a hub has made of each technology before day 0 [A]
    shared: float = 0.5  # phi: share of the other hubs' units that counts as own, through the platform (F§4.2 [A])
    scrap_progress_ratio: float = 0.9  # scrap after a doubling of experience / before (F§4.2 [A])
    floor: float = 0.55  # of the labour time and scrap of day 0 (F§4.2 [A])
    first_pass_yield: float = 0.8  # of a new design version until the hub is qualified (F§7.4 [A])
    qualification_h: float = 2.0  # of a technician (F§7.4 [A])
    qualification_kg: float = 0.5  # of material (F§7.4 [A])


@dataclass(frozen=True)
class Reward:
    """The reward of the agents."""

    scale_eur: float | None = None  # None: standard cost of one mean day / number of agents
    team_weight: float = 1.0  # share of the network's cost in it, the rest is own cost less own income; 1 = team game


@dataclass(frozen=True)
class Actions:
    """Levels of the action components, and which components the agents own."""

    bid_markups: tuple[float, ...] = (-0.15, 0.0, 0.15, 0.35, 0.70)
    cover_d: tuple[float, ...] = (2, 4, 7, 10, 15, 22, 32)
    reorder_trigger: tuple[float, ...] = (1.0, 0.75, 0.5, 0.25)
    make_to_stock_d: tuple[float, ...] = (1, 3, 7)
    overtime: tuple[float, ...] = (0.0, 0.25, 0.5)
    depot_trigger: tuple[float, ...] = (0.5, 1.0, 1.5, 2.5)  # x lead-time need
    depot_lot_d: tuple[float, ...] = (10, 20, 40, 60)
    depot_quote: tuple[float, ...] = (0.0, 0.01, 0.02, 0.04, 0.08)
    # components switched off leave the action space and take the level given here
    # (hub: bid, tender, cover, trigger, can_order, make_to_stock, overtime; depot: trigger, lot, quote;
    # where they are there hub: upkeep; depot: source, inspection)
    switched_off: dict[str, int] = field(default_factory=dict)  # e.g. {"hub.make_to_stock": 0}


@dataclass(frozen=True)
class Capacity:
    """Sizes of the preallocated tables; what does not fit is refused by the market, never dropped silently."""

    order_book: int = 320  # open orders a hub can hold; a hub with a full book wins nothing
    open_tenders: int = 48  # of the network
    supplier_orders: int = 12  # under way per depot and material
    tender_slots: int = 4  # tenders a hub sees


@dataclass(frozen=True)
class Carbon:
    """CO2e factors of transport and electricity (F§1.3); those of materials are theirs. They change no cost."""

    van_kg_km: float = 0.25  # kg CO2e per km of the own van: 635 g/tkm x 0.4 t
    van_km_stop: float = 5.0  # km per stop within the radius, as `LastMile.van_stop_eur` counts
    parcel_kg: float = 0.8  # kg CO2e a parcel
    parcel_up_to_kg: float = 30.0  # chargeable kg of one parcel; what is heavier counts as several
    truck_kg_tkm: float = 0.1075  # kg CO2e per chargeable tonne-km of groupage
    grid_kg_kwh: float = 0.21  # kg CO2e per kWh


@dataclass(frozen=True)
class Economics:
    """What the measures of profit reckon with (F§9.4); nothing of it is in the ledger."""

    interest_year: float = 0.08
    years: float = 8.0  # of the annuity of machines and fit-out
    mature_level: float = 2.0  # demand once everybody has adopted, x the base of every stream


@dataclass(frozen=True)
class Scenario:
    """A whole network. See the module's docstring for units."""

    name: str
    description: str
    episode_d: int
    towns: tuple[Town, ...]
    hubs: tuple[Hub, ...]
    depots: tuple[Depot, ...]
    technologies: tuple[Technology, ...]
    materials: tuple[Material, ...]
    products: tuple[Product, ...]
    custom_streams: tuple[CustomStream, ...] = ()
    tender_streams: tuple[TenderStream, ...] = ()
    demand: Demand = Demand()
    labour: Labour = Labour()
    market: Market = Market()
    last_mile: LastMile = LastMile()
    freight: Freight = Freight()
    supply: Supply = Supply()
    inventory: Inventory = Inventory()
    disruptions: Disruptions = Disruptions()
    reward: Reward = Reward()
    actions: Actions = Actions()
    capacity: Capacity = Capacity()
    people: People = People()
    upkeep: Upkeep = Upkeep()
    quality: Quality = Quality()
    experience: Experience = Experience()
    carbon: Carbon = Carbon()
    economics: Economics = Economics()


def fingerprint(scenario: Scenario) -> str:
    """Hash of every number of a scenario, its name included: a name alone does not say which edition it was."""
    return hashlib.sha256(repr(scenario).encode()).hexdigest()
