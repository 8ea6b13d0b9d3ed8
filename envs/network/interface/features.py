"""What the numbers in observations and in the state mean: name, size, unit and words of every block of features.

The kernels of `observation` write the features in exactly this order. All features are dimensionless, of order one and
clipped. Their number does not depend on the number of hubs and depots, so a policy can be moved to another network with
the same technologies, materials and products. Nothing tells the day of the episode.
"""

from __future__ import annotations

from dataclasses import dataclass

from fabmesh.envs.network.books.hazards import flag_blocks, possible_kinds
from fabmesh.envs.network.schema.disruption_kinds import DEMAND_SURGE
from fabmesh.envs.network.schema.scenario import Scenario

SURGE_DOC = "1 = a surge of demand for it is under way"


@dataclass(frozen=True)
class FeatureBlock:
    """Features of one kind: `count` of them from index `start`, one per item."""

    name: str
    start: int
    count: int
    items: tuple[str, ...]
    unit: str
    doc: str


def feature_blocks(scenario: Scenario, role: str) -> tuple[FeatureBlock, ...]:
    """The observation of a role, in order."""
    lanes = tuple(t.name for t in scenario.technologies)
    materials = tuple(m.name for m in scenario.materials)
    products = tuple(p.name for p in scenario.products)
    slots = tuple(f"slot {i}" for i in range(scenario.capacity.tender_slots))
    slot_lanes = tuple(f"{s} is {k}" for s in slots for k in lanes)
    calendar = ("sin weekday", "cos weekday", "sin season", "cos season")
    hub = (
        ("calendar", calendar, "1", "phase of the week of 5 and of the year of 250 working days"),
        ("up", ("up",), "0/1", "1 = the hub is open"),
        ("size", ("technicians", "town"), "/10 ; share", "technicians / 10; town's share of the population"),
        ("depot_distance", ("nearest",), "/100 km", "road distance to the nearest depot"),
        ("has_lane", lanes, "0/1", "1 = the hub has the machine"),
        ("lane_load", lanes, "days/5", "committed machine hours / hours of five days"),
        ("lane_load_near", lanes, "days/2", "the same, of orders due within two days / hours of two days"),
        ("labour_load", ("all", "near"), "days/5 ; days/2", "the same two for labour"),
        ("lane_offer", lanes, "days", "machine hours of the open lots in reach / daily capacity"),
        ("lane_local", lanes, "share", "share of these in the hub's own town"),
        ("lane_margin", lanes, "share", "mean of (ceiling - delivery) / own production cost - 1 over these"),
        ("lane_won", lanes, "share", "smoothed share of the hours on offer that the hub won"),
        ("late_share", ("late",), "share", "share of the open units that is past due"),
        ("reputation", ("lateness",), "x 10", "smoothed lateness charge / smoothed price of deliveries, x 10"),
        ("tender_present", slots, "0/1", "1 = the slot holds a tender"),
        ("tender_work", slots, "share", "machine hours / hours of its lane until it must ship"),
        ("tender_due", slots, "/15 d", "days until due"),
        ("tender_margin", slots, "share", "(ceiling - delivery) / own production cost - 1"),
        ("tender_distance", slots, "/100 km", "road distance to its town"),
        ("tender_material", slots, "share", "least share of a material it needs that is free on hand"),
        ("tender_lane", slot_lanes, "0/1", "one-hot of its lane"),
        ("stock_cover", materials, "/10 d", "on hand / base rate"),
        ("inbound_cover", materials, "/10 d", "under way / base rate"),
        ("book_need", materials, "/10 d", "need of the open orders / base rate"),
        ("ageing", materials, "share", "share of the stock in the age class that expires first, and in opened packs"),
        ("use_rate", materials, "share", "smoothed use / expected use of the catchment - 1"),
        ("quote", materials, "share", "best landed quote of yesterday / bulk price - 1"),
        ("in_stock", materials, "0/1", "1 = a depot that quoted could have supplied"),
        ("kit_notice", materials, "share", "1 - days to the revision of the kit's design / notice; 0 = none announced"),
        ("finished_cover", products, "/5 d", "finished stock / own daily sales"),
        ("revision_notice", products, "share", "1 - days to the revision / notice; 0 = none announced"),
        ("product_rate", products, "share", "smoothed units won a day / expected of the catchment - 1"),
        *((
            ("people", ("present", "staff"), "share", "technicians at work today, and with a post / all posts"),
        ) if scenario.people.enabled else ()),
        *((
            ("wear", lanes, "x MTBF", "mean working hours of a machine since service or repair / MTBF"),
            ("machines_up", lanes, "share", "machine hours that repairs leave today / hours of all machines"),
        ) if scenario.upkeep.enabled else ()),
        *((
            ("calibration", lanes, "x tolerance", "standard deviation of the bias as far as calibration and work tell"),
            ("scrap_share", lanes, "share", "smoothed share of units scrapped"),
            ("unqualified", materials, "share", "share of the stock from unqualified lots"),
        ) if scenario.quality.enabled else ()),
        *((
            ("learned", lanes, "share", "labour time / that of day 0"),
            ("qualifies", products, "0/1", "1 = the hub is not qualified for the design of today"),
        ) if scenario.experience.enabled else ()),
    )  # fmt: skip
    depot = (
        ("calendar", calendar, "1", "phase of the week of 5 and of the year of 250 working days"),
        ("stock_cover", materials, "/20 d", "stock / base rate"),
        ("inbound_cover", materials, "/20 d", "on order / base rate"),
        ("orders_under_way", materials, "/4", "supplier orders under way"),
        ("ageing", materials, "share", "share of the stock in the age class that expires first"),
        ("request_rate", materials, "share", "smoothed requests / expected - 1"),
        ("fill", materials, "share", "smoothed share of requests filled"),
        ("landed_cost", materials, "share", "average landed cost / bulk price - 1"),
        ("price_class", materials, "share", "unit price of a lot of 20 days / bulk price - 1"),
        ("kit_notice", materials, "share", "1 - days to the revision of the kit's design / notice; 0 = none announced"),
        *((
            ("unqualified", materials, "share", "share of the stock from unqualified lots"),
        ) if scenario.quality.enabled else ()),
    )  # fmt: skip
    surge = (("surge", products, "0/1", SURGE_DOC),) if possible_kinds(scenario, told=True)[DEMAND_SURGE] else ()
    extra = (*surge, *flag_blocks(scenario, role))
    blocks = []
    start = 0
    for name, items, unit, doc in (*(hub if role == "hub" else depot), *extra):
        blocks.append(FeatureBlock(name, start, len(items), items, unit, doc))
        start += len(items)
    return tuple(blocks)


def state_blocks(scenario: Scenario) -> tuple[FeatureBlock, ...]:
    """The layout of `state()`: the network, then every hub, then every depot."""
    lanes = tuple(t.name for t in scenario.technologies)
    materials = tuple(m.name for m in scenario.materials)
    products = tuple(p.name for p in scenario.products)
    blocks = []
    start = 0

    def add(name: str, items: tuple[str, ...], unit: str, doc: str) -> None:
        nonlocal start
        blocks.append(FeatureBlock(name, start, len(items), items, unit, doc))
        start += len(items)

    add("season", ("sin", "cos"), "1", "phase of the year")
    add("open_lots", lanes, "days", "machine hours of open lots / hours a day of the network")
    add("open_tenders", lanes, "days", "machine hours of open tenders / hours a day of the network")
    add("revision_notice", products, "share", "1 - days to the revision / notice; 0 = none announced")
    for hub in scenario.hubs:
        add(f"{hub.town}: up", ("up",), "0/1", "1 = open")
        add(f"{hub.town}: lane_load", lanes, "days/5", "committed machine hours / hours of five days")
        add(f"{hub.town}: labour_load", ("all",), "days/5", "committed labour hours / hours of five days")
        add(f"{hub.town}: late_share", ("late",), "share", "share of the open units that is past due")
        add(f"{hub.town}: position", materials, "/10 d", "(on hand + under way - need) / expected use")
        add(f"{hub.town}: ageing", materials, "share", "share of the stock that expires first")
        if scenario.people.enabled:
            add(f"{hub.town}: present", ("all",), "share", "technicians at work today / all posts")
        if scenario.upkeep.enabled:
            add(f"{hub.town}: wear", lanes, "x MTBF", "mean working hours since service or repair / MTBF")
            add(f"{hub.town}: machines_up", lanes, "share", "machine hours that repairs leave today / all")
        if scenario.quality.enabled:
            add(f"{hub.town}: bias", lanes, "x tolerance", "absolute mean deviation of its parts")
            add(f"{hub.town}: bad", materials, "share", "share of the stock from bad lots")
        if scenario.experience.enabled:
            add(f"{hub.town}: learned", lanes, "share", "labour time / that of day 0")
    for depot in scenario.depots:
        add(f"{depot.name}: stock", materials, "/20 d", "stock / expected requests")
        add(f"{depot.name}: on_order", materials, "/20 d", "on order / expected requests")
        add(f"{depot.name}: landed_cost", materials, "share", "average landed cost / bulk price - 1")
        if scenario.quality.enabled:
            add(f"{depot.name}: bad", materials, "share", "share of the stock from bad lots")
    if possible_kinds(scenario, told=True)[DEMAND_SURGE]:
        add("surge", products, "0/1", SURGE_DOC)
    for name, items, unit, doc in flag_blocks(scenario, "state"):
        add(name, items, unit, doc)
    return tuple(blocks)
