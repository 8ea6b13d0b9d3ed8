"""What the numbers in observations and in the state mean: name, size, unit and words of every block of features.

The order here is the only one: kernels put a block where `places` says that it begins, by its name. All features are
dimensionless, of order one and clipped. Their number does not depend on the number of hubs and depots, so a policy can
be moved to another network with the same technologies, materials and products. Nothing tells the day of the episode.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fabmesh.envs.network.books.hazards import possible_kinds
from fabmesh.envs.network.schema.disruption_kinds import (
    DEMAND_SURGE,
    DEPOT_OUTAGE,
    LONG_ROUTE,
    MATERIAL_SHORTAGE,
    PLATFORM_CYBER,
    PLATFORM_OUTAGE,
    PORT_CLOSURE,
    RANSOMWARE,
    SUPPLIER_STOP,
)
from fabmesh.envs.network.schema.scenario import Scenario

SURGE_DOC = "1 = a surge of demand for it is under way"

Declared = tuple[tuple[str, tuple[str, ...], str, str], ...]
"""Name, items, unit and words of blocks, in order; one that the scenario switches off has no items."""


@dataclass(frozen=True)
class FeatureBlock:
    """Features of one kind: `count` of them from index `start`, one per item."""

    name: str
    start: int
    count: int
    items: tuple[str, ...]
    unit: str
    doc: str


def laid_out(declared: Declared, start: int = 0) -> tuple[FeatureBlock, ...]:
    """The blocks, one after the other from index `start`; those without items take no room."""
    blocks = []
    for name, items, unit, doc in declared:
        blocks.append(FeatureBlock(name, start, len(items), items, unit, doc))
        start += len(items)
    return tuple(blocks)


def places(*rows: Sequence[FeatureBlock]) -> NDArray[np.void]:
    """Where the kernels put the blocks: for each row of blocks with the same names, the first index of each by name.

    A block without items is at -1.
    """
    kind = np.dtype([(block.name, np.int32) for block in rows[0]])
    return np.array([tuple(block.start if block.items else -1 for block in blocks) for blocks in rows], kind)


def observed(scenario: Scenario, role: str) -> Declared:
    """The observation of a role, in order."""
    lanes = tuple(t.name for t in scenario.technologies)
    materials = tuple(m.name for m in scenario.materials)
    products = tuple(p.name for p in scenario.products)
    slots = tuple(f"slot {i}" for i in range(scenario.capacity.tender_slots))
    slot_lanes = tuple(f"{s} is {k}" for s in slots for k in lanes)
    calendar = ("sin weekday", "cos weekday", "sin season", "cos season")
    posts = ("present", "staff") if scenario.people.enabled else ()
    kept_up = lanes if scenario.upkeep.enabled else ()
    measured, lots = (lanes, materials) if scenario.quality.enabled else ((), ())
    learning, designs = (lanes, products) if scenario.experience.enabled else ((), ())
    surging = products if possible_kinds(scenario, told=True)[DEMAND_SURGE] else ()
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
        ("people", posts, "share", "technicians at work today, and with a post / all posts"),
        ("wear", kept_up, "x MTBF", "mean working hours of a machine since service or repair / MTBF"),
        ("machines_up", kept_up, "share", "machine hours that repairs leave today / hours of all machines"),
        ("calibration", measured, "x tolerance", "standard deviation of the bias as far as calibration and work tell"),
        ("scrap_share", measured, "share", "smoothed share of units scrapped"),
        ("unqualified", lots, "share", "share of the stock from unqualified lots"),
        ("learned", learning, "share", "labour time / that of day 0"),
        ("qualifies", designs, "0/1", "1 = the hub is not qualified for the design of today"),
        ("surge", surging, "0/1", SURGE_DOC),
        *flags(scenario, "hub"),
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
        ("unqualified", lots, "share", "share of the stock from unqualified lots"),
        ("surge", surging, "0/1", SURGE_DOC),
        *flags(scenario, "depot"),
    )  # fmt: skip
    return hub if role == "hub" else depot


def flags(scenario: Scenario, role: str) -> Declared:
    """What agents are told of disruptions where they can happen: the last blocks of a role, or of the state.

    Args:
        scenario: The network.
        role: "hub" or "depot", or "state": the whole network.
    """
    told = possible_kinds(scenario, told=True)
    materials = tuple(m.name for m in scenario.materials)
    files = told[RANSOMWARE] or told[PLATFORM_CYBER]
    hubs, depots = tuple(h.town for h in scenario.hubs), tuple(d.name for d in scenario.depots)

    def items(shown: bool, *items: str) -> tuple[str, ...]:
        return items if shown else ()

    public = (
        ("platform_up", items(told[PLATFORM_OUTAGE], "up"), "0/1", "1 = the platform awards orders today"),
        ("depots_open", items(told[DEPOT_OUTAGE], "open"), "share", "share of the depots that are open"),
        ("supplier_stopped", items(told[SUPPLIER_STOP], *materials), "0/1", "1 = its supplier stands still"),
        ("scarce", items(told[MATERIAL_SHORTAGE], *materials), "0/1",
         "1 = scarce: dearer, and longer under way from the supplier"),
        ("port_open", items(told[PORT_CLOSURE], "open"), "0/1", "1 = the port is open and has no queue"),
        ("long_route", items(told[LONG_ROUTE], "long"), "0/1", "1 = goods from overseas take the long way"),
    )  # fmt: skip
    own: dict[str, Declared] = {
        "hub": (("files", items(files, "usable"), "0/1", "1 = the hub can read its design files"),),
        "depot": (("up", items(told[DEPOT_OUTAGE], "up"), "0/1", "1 = the depot is open"),),
        "state": (
            ("files", items(files, *hubs), "0/1", "1 = the hub can read its design files"),
            ("depot_up", items(told[DEPOT_OUTAGE], *depots), "0/1", "1 = open"),
        ),
    }
    return public + own[role]


def feature_blocks(scenario: Scenario, role: str) -> tuple[FeatureBlock, ...]:
    """The observation of a role, in order."""
    return tuple(block for block in laid_out(observed(scenario, role)) if block.items)


class StateBlocks(NamedTuple):
    """The blocks of `state()`, with those that have no items."""

    network: tuple[FeatureBlock, ...]
    hubs: tuple[tuple[FeatureBlock, ...], ...]  # of each hub
    depots: tuple[tuple[FeatureBlock, ...], ...]  # of each depot


def laid_out_state(scenario: Scenario) -> StateBlocks:
    """The layout of `state()`: the network, then every hub, then every depot, then what everybody is told."""
    lanes = tuple(t.name for t in scenario.technologies)
    materials = tuple(m.name for m in scenario.materials)
    products = tuple(p.name for p in scenario.products)
    posts = ("all",) if scenario.people.enabled else ()
    kept_up = lanes if scenario.upkeep.enabled else ()
    measured, lots = (lanes, materials) if scenario.quality.enabled else ((), ())
    learning = lanes if scenario.experience.enabled else ()
    surging = products if possible_kinds(scenario, told=True)[DEMAND_SURGE] else ()
    network = (
        ("season", ("sin", "cos"), "1", "phase of the year"),
        ("open_lots", lanes, "days", "machine hours of open lots / hours a day of the network"),
        ("open_tenders", lanes, "days", "machine hours of open tenders / hours a day of the network"),
        ("revision_notice", products, "share", "1 - days to the revision / notice; 0 = none announced"),
    )
    hub = (
        ("up", ("up",), "0/1", "1 = open"),
        ("lane_load", lanes, "days/5", "committed machine hours / hours of five days"),
        ("labour_load", ("all",), "days/5", "committed labour hours / hours of five days"),
        ("late_share", ("late",), "share", "share of the open units that is past due"),
        ("position", materials, "/10 d", "(on hand + under way - need) / expected use"),
        ("ageing", materials, "share", "share of the stock that expires first"),
        ("present", posts, "share", "technicians at work today / all posts"),
        ("wear", kept_up, "x MTBF", "mean working hours since service or repair / MTBF"),
        ("machines_up", kept_up, "share", "machine hours that repairs leave today / all"),
        ("bias", measured, "x tolerance", "absolute mean deviation of its parts"),
        ("bad", lots, "share", "share of the stock from bad lots"),
        ("learned", learning, "share", "labour time / that of day 0"),
    )
    depot = (
        ("stock", materials, "/20 d", "stock / expected requests"),
        ("on_order", materials, "/20 d", "on order / expected requests"),
        ("landed_cost", materials, "share", "average landed cost / bulk price - 1"),
        ("bad", lots, "share", "share of the stock from bad lots"),
    )
    told = (("surge", surging, "0/1", SURGE_DOC), *flags(scenario, "state"))
    hubs_at, hub_size = size_of(network), size_of(hub)
    depots_at, depot_size = hubs_at + len(scenario.hubs) * hub_size, size_of(depot)
    told_at = depots_at + len(scenario.depots) * depot_size
    return StateBlocks(
        network=laid_out(network) + laid_out(told, told_at),
        hubs=tuple(laid_out(hub, hubs_at + h * hub_size) for h in range(len(scenario.hubs))),
        depots=tuple(laid_out(depot, depots_at + d * depot_size) for d in range(len(scenario.depots))),
    )


def size_of(declared: Declared) -> int:
    """Features of the blocks."""
    return sum(len(items) for _, items, _, _ in declared)


def state_blocks(scenario: Scenario) -> tuple[FeatureBlock, ...]:
    """The blocks of `state()`, in order; those of a hub or a depot with its town or name before their own."""
    network, hubs, depots = laid_out_state(scenario)
    names = [hub.town for hub in scenario.hubs] + [depot.name for depot in scenario.depots]
    blocks = list(network)
    for place, of_place in zip(names, hubs + depots, strict=True):
        blocks += [replace(block, name=f"{place}: {block.name}") for block in of_place]
    return tuple(sorted((block for block in blocks if block.items), key=lambda block: block.start))
