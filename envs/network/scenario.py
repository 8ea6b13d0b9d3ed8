"""The scenario: every fact and parameter of a network, as frozen dataclasses.

These classes are the schema. YAML files (`configs/scenarios/*.yaml`) and Python code fill the same
classes; `envs.network.loading` reads a file and refuses what is wrong with file, key, value and remedy.
Names carry their unit: `_eur`, `_h` (hours), `_d` (working days), `_km` (road kilometres), `_kg`, `_l`
(litres), `_year` (per working year of 250 days). Money is EUR. A `share` or `rate` without a unit is dimensionless.
"""

from __future__ import annotations

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
    payment: str = "first_price"
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
    carbon_weight: float = 0.0  # EUR per kg CO2e in the score: of making and delivering a unit


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
class Disruptions:
    """Rates and durations of what goes wrong (F§6.2)."""

    scale: float = 1.0  # multiplies every rate; 0 = calm
    hub_outage_year: float = 0.4  # per hub
    hub_outage_median_d: float = 4.0
    hub_outage_sigma: float = 0.9
    hub_outage_max_d: int = 60


@dataclass(frozen=True)
class Reward:
    """The reward of the team game."""

    scale_eur: float | None = None  # None: standard cost of one mean day / number of agents


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
    # (hub: bid, tender, cover, trigger, can_order, make_to_stock, overtime; depot: trigger, lot, quote)
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
    carbon: Carbon = Carbon()
    economics: Economics = Economics()
