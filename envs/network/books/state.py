"""The state of a batch: one typed container of arrays with a leading batch axis [b].

A stage of the day gets the `State` of one network: the slices [b] of these arrays (`block.Blocks`), where
`s.hub[h]` is a hub and `s.clock[0]` the clock. `Scratch` is likewise one thread's.

Index letters: b copy, h hub, d depot, n node (hubs, depots, platform), k technology, m material, p catalogue
product, r row (see `tables`), a age class, o slot of a table. Money in EUR, hours h, quantities in the
material's own unit, days as day of the episode (day 0 is the first).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fabmesh.envs.network.books.accounts import LEDGER_LINES, event_names
from fabmesh.envs.network.books.tables import AGES, HORIZON, Tables
from fabmesh.envs.network.schema.recorded import most_waiting
from fabmesh.envs.network.schema.scenario import Scenario
from fabmesh.envs.network.schema.sizes import INBOUND_DAYS, MAX_STAGES

_CACHE_LINE = 128  # bytes, of the pair that processors fetch together
_f8, _i4, _i2, _i1, _u8 = np.float64, np.int32, np.int16, np.int8, np.uint64

# Flows of material per node, in quantity [0] and book value [1]: what the laws of model §10 balance.
FLOW_NAMES = ("opening", "received", "used", "scrapped", "expired", "shipped")
F_OPENING, F_RECEIVED, F_USED, F_SCRAPPED, F_EXPIRED, F_SHIPPED = range(len(FLOW_NAMES))

CLOCK = np.dtype(
    [
        ("seed", _u8),
        ("day", _i4),
        ("season_start", _i4),  # working day of the year of day 0
        ("lots", _i4),  # lots in the table
        ("tenders", _i4),  # tenders in the table
        ("standard_cost", _f8),  # of all units on the tape so far
        ("settlement", _f8),  # of the last episode that ended
    ],
    align=True,
)
HUB = np.dtype(
    [
        ("down_until", _i4),  # first day it is up again; up if <= day
        ("orders", _i4),  # in the order book
        ("overtime", _f8),  # level of today
        ("late_eur", _f8),  # smoothed lateness charge a day
        ("price_eur", _f8),  # smoothed price of deliveries a day
        ("labour_carry_h", _f8),  # hours put into a unit that was not finished
        ("late_units", _i4),
        ("open_units", _i4),
        ("locked_until", _i4),  # first day on which its design files can be read again
        ("present", _f8),  # technicians at work today, a trainee as a part of one
        ("staff", _f8),  # technicians with a post, at work or away, counted in the same way
    ],
    align=True,
)
POST = np.dtype(
    [
        ("away", _i4),  # 1: the technician is absent today
        ("filled", _i4),  # first day the post is filled (again); empty before
        ("trained", _i4),  # first day its technician works at full productivity
    ],
    align=True,
)
HUB_TECH = np.dtype(
    [
        ("bid", _i4),  # level of the standing bid; 0 = withdrawn
        ("carry_h", _f8),
        ("offered_h", _f8),  # smoothed machine hours of lots offered in reach
        ("won_h", _f8),  # smoothed machine hours won
        ("wear_h", _f8),  # mean working hours of a machine since its service or repair
        ("seen_wear", _f8),  # wear_h ** wear_shape up to which the risk of failure has been drawn
        ("bias", _f8),  # mean deviation of its parts / tolerance
        ("bias_var", _f8),  # variance of it as far as the hub can know: since its calibration
        ("scrap_share", _f8),  # smoothed share of units scrapped
        ("units", _f8),  # worked today
        ("scrapped", _f8),  # of them
        ("passed", _f8),  # smoothed units that passed the hub's check
        ("returned", _f8),  # of them, those that came back
        ("made", _f8),  # good units since day 0
        ("doublings", _f8),  # of experience since day 0
        ("learned", _f8),  # labour time / that of day 0
        ("scrap_learned", _f8),  # the same of scrap
    ],
    align=True,
)
HUB_MATERIAL = np.dtype(  # what every stage reads first: three cache lines of seven
    [
        ("sealed", _f8, (AGES,)),  # by age class: (day of expiry // class width) % AGES
        ("opened", _f8),
        ("value", _f8),  # book value of sealed and opened
        ("used", _f8),  # today
        ("need", _f8),  # of the open orders
        ("unqualified", _f8),  # of what is on hand, from unqualified lots
        ("bad", _f8),  # of what is on hand, from bad lots
        ("quote", _f8),  # best landed price of today, EUR a unit
        ("use_rate", _f8),  # smoothed use a day
        ("inbound_value", _f8, (INBOUND_DAYS,)),
        ("in_stock", _f8),  # 1: a depot that quoted could supply
        ("opened_until", _i4),  # last day the opened pack may be used
        ("inbound", _f8, (INBOUND_DAYS, AGES)),  # by (day of arrival) % INBOUND_DAYS
        ("inbound_unqualified", _f8, (INBOUND_DAYS,)),
        ("inbound_bad", _f8, (INBOUND_DAYS,)),
    ],
    align=True,
)
HUB_PRODUCT = np.dtype(
    [
        ("finished", _i4),
        ("wip", _i4, (MAX_STAGES,)),  # make-to-stock units waiting for a stage (0 unused)
        ("value", _f8),  # book value of finished stock
        ("wip_value", _f8),
        ("rate", _f8),  # smoothed units awarded a day
        ("awarded", _f8),  # today
        ("qualifies", _i4),  # 0: qualified for the design; 1: has not made it yet; 2: has, the run is due
    ],
    align=True,
)
DEPOT_MATERIAL = np.dtype(
    [
        ("stock", _f8, (AGES,)),
        ("value", _f8),
        ("landed", _f8),  # average landed cost of a unit, last known when empty
        ("request_rate", _f8),  # smoothed
        ("requested", _f8),  # today
        ("fill", _f8),  # smoothed share of requests filled
        ("filled", _f8),  # today
        ("quote", _i4),  # level; 0 = declined
        ("orders", _i4),  # supplier orders under way
        ("on_order", _f8),
        ("unqualified", _f8),  # of the stock, from unqualified lots
        ("bad", _f8),  # of the stock, from bad lots
    ],
    align=True,
)
SUPPLIER_ORDER = np.dtype(
    [
        ("placed", _i4),
        ("arrives", _i4),
        ("due", _i4),  # day it would arrive if no port were closed
        ("spot", _i2),  # 1 = from the spot source
        ("inspection", _i2),  # level: none, sample, full
        ("quantity", _f8),
        ("price", _f8),
        ("landed", _f8),
    ],
    align=True,
)
DEPOT = np.dtype([("down_until", _i4)], align=True)  # first day it is up again; up if <= day
SOURCE = np.dtype(
    [
        ("stopped_until", _i4),  # first day the supplier works again
        ("output", _f8),  # share of its output that goes on while it is stopped
        ("scarce_until", _i4),  # first day the material is not scarce any more
    ],
    align=True,
)
OUTSIDE = np.dtype(
    [
        ("platform_until", _i4),  # first day the platform awards again
        ("port_from", _i4),  # day of the last closure
        ("port_until", _i4),  # first day the port is open again
        ("long_route_until", _i4),  # first day goods from overseas take the short way again
    ],
    align=True,
)
LIFE = np.dtype(
    [
        ("days", _f8),  # life of a generation of the product's design
        ("part", _f8),  # of it, over on day 0
    ],
    align=True,
)
ORDER = np.dtype(
    [
        ("row", _i2),
        ("town", _i2),
        ("announced", _i2),
        ("due", _i2),
        ("units", _i2),
        ("todo", _i2, (MAX_STAGES,)),  # units waiting for a stage
        ("ready", _i2),  # finished, to be shipped
        ("open", _i2),  # not yet shipped
        ("inherited", _i2),  # days of lateness that a former owner is to blame for
        ("price", _f8),  # list price of a unit
        ("bid", _f8),  # paid to the hub for a unit: its bid, or the second price
        ("wip_value", _f8),
        ("key", _u8),
        ("ceiling", _f8),  # as LOT
    ],
    align=True,
)
LOT = np.dtype(
    [
        ("row", _i2),
        ("town", _i2),
        ("announced", _i2),
        ("due", _i2),
        ("last_day", _i2),  # the customer's patience ends after it
        ("again", _i2),  # 1: announced again after an outage
        ("units", _i4),
        ("price", _f8),
        ("key", _u8),
        ("ceiling", _f8),  # of recorded orders, EUR a unit on the landed score; 0 = the row's ceiling x price
    ],
    align=True,
)

JOB = np.dtype(
    [
        ("setup", _i4),  # 1: the machine has been set up for it today
        ("worked", _i4),  # units worked today
        ("scrapped", _i4),  # of them
        ("escaped", _i4),  # of them, those that will come back
        ("scrap_rate", _f8),  # today
        ("scrap_u", _f8),  # draws of the day (see rng)
        ("return_u", _f8),
        ("escape_rate", _f8),  # parts out of tolerance among those that pass the hub's check
        ("eur", _f8),  # what they cost without set-up (with `audit`)
        ("standard_eur", _f8),  # and should have
    ],
    align=True,
)
LOAD = np.dtype(
    [
        ("all_h", _f8),  # committed hours of a hub's resource
        ("near_h", _f8),  # of them, for orders due within two days
        ("offered_h", _f8),  # machine hours of the open lots it is asked about
        ("own_town_h", _f8),  # of them, in its own town
        ("margin_h", _f8),  # these hours x the mark-up at which the lot just breaks its ceiling
    ],
    align=True,
)


class State(NamedTuple):
    """Everything that changes. Shapes in the index letters of the module's docstring."""

    clock: NDArray[np.void]  # [b]
    hub: NDArray[np.void]  # [b, h]
    hub_tech: NDArray[np.void]  # [b, h, k]
    hub_mat: NDArray[np.void]  # [b, h, m]
    hub_prod: NDArray[np.void]  # [b, h, p]
    depot_mat: NDArray[np.void]  # [b, d, m]
    supplier_order: NDArray[np.void]  # [b, d, m, o]
    order: NDArray[np.void]  # [b, h, o] the order books
    lot: NDArray[np.void]  # [b, o] lots open for bids
    tender: NDArray[np.void]  # [b, o] tenders open for bids, as LOT
    slot: NDArray[np.int32]  # [b, h, slots] tenders a hub sees, index into tender, -1 = empty
    revision: NDArray[np.int32]  # [b, p] day the announced revision takes effect, -1 = none
    unit_cost: NDArray[np.float64]  # [b, h, r, 2] a hub's estimate of its cost of a unit, EUR and EUR per EUR of price
    made: NDArray[np.int16]  # [b, h, r] last month in which a hub worked on a row, from 1; none without `audit`
    ledger: NDArray[np.float64]  # [b, n, lines] cumulative
    day_cost: NDArray[np.float64]  # [b, n] cost of the day
    events: NDArray[np.float64]  # [b, events] cumulative
    flow: NDArray[np.float64]  # [b, hubs + depots, m, flows, 2] cumulative
    day_income: NDArray[np.float64]  # [b, n] revenue and transfers of the day
    surge: NDArray[np.float64]  # [b, p] x demand by the surge under way, 1 = none
    life: NDArray[np.void]  # [b, p] LIFE
    depot: NDArray[np.void]  # [b, d]
    source: NDArray[np.void]  # [b, m] the suppliers of a material
    outside: NDArray[np.void]  # [b] platform, port and sea route
    tampered_until: NDArray[np.int32]  # [b, p] day on which the wrong file of a product is found out
    post: NDArray[np.void]  # [b, h, most technicians of a hub] POST; none where people are off
    repair: NDArray[np.float64]  # [b, machines] working hours a repair still takes, from `first_machine`; or none


# Of every whole number of the state: the least and the most it can be, by table and field; what comes from outside is
# held against it before a kernel sees it (`restored`). Most is a number or the name of a size that `restored` knows; a
# count may be the size, an index is below it. None: a name, or a day that is only compared with others: any value.
MOST_UNITS = 2**30  # and days: no count comes near it, and one more of them still fits in 32 bits
Bounds = tuple[int | str, int | str]
BOUNDS: dict[str, Bounds | None] = {
    "clock.seed": None,
    "clock.day": (0, "episode_d"),
    "clock.season_start": (0, "last day of the year"),
    "clock.lots": (0, "lots"),
    "clock.tenders": (0, "tenders"),
    "hub.down_until": (0, MOST_UNITS),
    "hub.orders": (0, "orders"),
    "hub.late_units": (0, MOST_UNITS),
    "hub.open_units": (0, MOST_UNITS),
    "hub.locked_until": (0, MOST_UNITS),
    "hub_tech.bid": (0, "last bid"),
    "hub_mat.opened_until": (0, MOST_UNITS),
    "hub_prod.finished": (0, MOST_UNITS),
    "hub_prod.wip": (0, MOST_UNITS),
    "hub_prod.qualifies": (0, 2),
    "depot_mat.quote": (0, "last quote"),
    "depot_mat.orders": (0, "supplier orders"),
    "supplier_order.placed": None,
    "supplier_order.arrives": None,
    "supplier_order.due": None,
    "supplier_order.spot": (0, 1),
    "supplier_order.inspection": (0, 2),
    "order.row": (0, "last row"),
    "order.town": (0, "last town"),
    "order.announced": None,
    "order.due": None,
    "order.units": (1, MOST_UNITS),
    "order.todo": (0, MOST_UNITS),
    "order.ready": (0, MOST_UNITS),
    "order.open": (1, MOST_UNITS),
    "order.inherited": (0, MOST_UNITS),
    "order.key": None,
    "lot.row": (0, "last lot row"),
    "lot.town": (0, "last town"),
    "lot.announced": None,
    "lot.due": None,
    "lot.last_day": None,
    "lot.again": (0, 1),
    "lot.units": (1, MOST_UNITS),
    "lot.key": None,
    "tender.row": ("first tender row", "last row"),
    "tender.town": (0, "last town"),
    "tender.announced": None,
    "tender.due": None,
    "tender.last_day": None,
    "tender.again": (0, 1),
    "tender.units": (1, MOST_UNITS),
    "tender.key": None,
    "slot": (-1, "last tender"),
    "revision": (-1, MOST_UNITS),
    "made": (0, MOST_UNITS),
    "depot.down_until": (0, MOST_UNITS),
    "source.stopped_until": (0, MOST_UNITS),
    "source.scarce_until": (0, MOST_UNITS),
    "outside.platform_until": (0, MOST_UNITS),
    "outside.port_from": (0, MOST_UNITS),
    "outside.port_until": (0, MOST_UNITS),
    "outside.long_route_until": (0, MOST_UNITS),
    "tampered_until": (0, MOST_UNITS),
    "post.away": (0, 1),
    "post.filled": None,
    "post.trained": None,
}
# Tables of which only the first slots are in use, and the field that counts them.
IN_USE = {"supplier_order": ("depot_mat", "orders"), "order": ("hub", "orders"), "lot": ("clock", "lots"),
          "tender": ("clock", "tenders")}  # fmt: skip


class Scratch(NamedTuple):
    """Working memory of one thread [t]; nothing in it lives longer than a copy's day."""

    room: NDArray[np.float64]  # [t, h, k + 1, HORIZON] hours free until a day; the last resource is labour
    free: NDArray[np.float64]  # the same shape: hours that can be promised until a day
    open_rows: NDArray[np.int32]  # [t, h, r] open orders of a row
    bidder: NDArray[np.int32]  # [t, h] offers for a lot
    score: NDArray[np.float64]  # [t, h]
    bid: NDArray[np.float64]  # [t, h]
    asks: NDArray[np.float64]  # [t, h, k] 1 + mark-up of the standing bid; inf = the hub does not bid
    record: NDArray[np.float64]  # [t, h, r] lateness and returns to expect, with their weights, share of price
    learned: NDArray[np.float64]  # [t, h, k] labour time / that of day 0
    lost_h: NDArray[np.float64]  # [t, h, k] machine hours that repairs take today
    load: NDArray[np.void]  # [t, h, k + 1] LOAD: work a hub has and is offered; the last resource is labour
    rank: NDArray[np.int32]  # [t, o]
    rank_key: NDArray[np.float64]  # [t, o]
    request: NDArray[np.float64]  # [t, h, m]
    choice: NDArray[np.int32]  # [t, h, m]
    tried: NDArray[np.int8]  # [t, h, d, m]
    consignment: NDArray[np.float64]  # [t, h, d + 1, 2] kg and L under way today; the last is retail
    sent: NDArray[np.int8]  # [t, h, d] a consignment goes today
    asked: NDArray[np.float64]  # [t, d, m]
    cap: NDArray[np.float64]  # [t, k + 1] hours left today
    blocked: NDArray[np.float64]  # [t, k + 1] hours of the largest unit that did not fit
    hold: NDArray[np.float64]  # [t, k + 1] hours already put into such a unit
    opening: NDArray[np.float64]  # [t, k] machine hours at the beginning of the day's work
    any_blocked: NDArray[np.bool_]  # [t] since the last look
    job: NDArray[np.void]  # [t, r, stages] JOB: what a hub works today
    scrap_key: NDArray[np.uint64]  # [t] of the day and hub
    on_hand: NDArray[np.float64]  # [t, m] stock of the hub at work
    oldest: NDArray[np.int32]  # [t, m] the age class that expires first
    lane_h: NDArray[np.float64]  # [t, k] machine hours of the open lots
    stock: NDArray[np.float64]  # [t, h, m] on hand
    coming: NDArray[np.float64]  # [t, h, m] under way
    bucket: NDArray[np.int32]  # [t, o] of the counting sort
    bucket_end: NDArray[np.int32]  # [t, buckets]
    need: NDArray[np.float64]  # [t, m] of the tape after the end
    row_units: NDArray[np.float64]  # [t, r]
    surge: NDArray[np.float64]  # [t, p] x demand on a day ahead
    winner: NDArray[np.int32]  # [t, h] hubs that won units of a lot
    terms: NDArray[np.float64]  # [t, h] their delivery and lateness to expect, EUR a unit
    tampered: NDArray[np.int8]  # [t, r] made by a wrong file today


def lot_capacity(scenario: Scenario, w: Tables) -> int:
    """Lots that can be open at once: every town's rows for as long as customers wait, and one full order book.

    Of recorded orders, which may hold several lots of a town and row on a day: as many as ever wait together.
    """
    market = scenario.market
    products, lot_rows = len(scenario.products), int(w.par[0]["lot_rows"])
    waiting = products * (market.patience_catalogue_d + 1) + (lot_rows - products) * (market.patience_custom_d + 1)
    recorded = most_waiting(w.recorded[w.recorded["row"] < lot_rows], w.row["patience_d"])
    return max(len(scenario.towns) * waiting, recorded) + scenario.capacity.order_book


def make_state(scenario: Scenario, w: Tables, copies: int) -> State:
    """Zeroed state of a batch of `copies` networks."""
    hubs, depots, k, m = len(w.hub_town), len(w.depot_key), len(w.tech), len(w.mat)
    p, r, c = int(w.par[0]["products"]), len(w.row), scenario.capacity
    nodes = hubs + depots + 1
    b = copies
    return State(
        clock=np.zeros(b, CLOCK),
        hub=np.zeros((b, hubs), HUB),
        hub_tech=np.zeros((b, hubs, k), HUB_TECH),
        hub_mat=np.zeros((b, hubs, m), HUB_MATERIAL),
        hub_prod=np.zeros((b, hubs, p), HUB_PRODUCT),
        depot_mat=np.zeros((b, depots, m), DEPOT_MATERIAL),
        supplier_order=np.zeros((b, depots, m, c.supplier_orders), SUPPLIER_ORDER),
        order=np.zeros((b, hubs, c.order_book), ORDER),
        lot=np.zeros((b, lot_capacity(scenario, w)), LOT),
        tender=np.zeros((b, c.open_tenders), LOT),
        slot=np.full((b, hubs, c.tender_slots), -1, np.int32),
        revision=np.full((b, p), -1, np.int32),
        unit_cost=np.zeros((b, hubs, r, 2)),
        made=np.zeros((b, hubs, r if w.par[0]["audit"] else 0), np.int16),
        ledger=np.zeros((b, nodes, len(LEDGER_LINES))),
        day_cost=np.zeros((b, nodes)),
        events=np.zeros((b, len(event_names(scenario)))),
        flow=np.zeros((b, hubs + depots, m, len(FLOW_NAMES), 2)),
        day_income=np.zeros((b, nodes)),
        surge=np.ones((b, p)),
        life=np.zeros((b, p), LIFE),
        depot=np.zeros((b, depots), DEPOT),
        source=np.zeros((b, m), SOURCE),
        outside=np.zeros(b, OUTSIDE),
        tampered_until=np.zeros((b, p), np.int32),
        post=np.zeros((b, hubs, int(w.hub_people.max()) if scenario.people.enabled else 0), POST),
        repair=np.zeros((b, int(w.hub_machines.sum()) if scenario.upkeep.enabled else 0)),
    )


def make_scratch(scenario: Scenario, w: Tables, threads: int) -> Scratch:
    """Working memory for `threads` threads, each with its own stretch of cache lines: no line is written by two."""
    hubs, depots, k, m, r = len(w.hub_town), len(w.depot_key), len(w.tech), len(w.mat), len(w.row)
    slots = max(lot_capacity(scenario, w), scenario.capacity.order_book, scenario.capacity.open_tenders)
    fields: dict[str, tuple[tuple[int, ...], Any]] = {
        "room": ((hubs, k + 1, HORIZON), _f8),
        "free": ((hubs, k + 1, HORIZON), _f8),
        "open_rows": ((hubs, r), _i4),
        "bidder": ((hubs,), _i4),
        "score": ((hubs,), _f8),
        "bid": ((hubs,), _f8),
        "asks": ((hubs, k), _f8),
        "record": ((hubs, r), _f8),
        "learned": ((hubs, k), _f8),
        "lost_h": ((hubs, k), _f8),
        "load": ((hubs, k + 1), LOAD),
        "rank": ((slots,), _i4),
        "rank_key": ((slots,), _f8),
        "request": ((hubs, m), _f8),
        "choice": ((hubs, m), _i4),
        "tried": ((hubs, depots, m), _i1),
        "consignment": ((hubs, depots + 1, 2), _f8),
        "sent": ((hubs, depots), _i1),
        "asked": ((depots, m), _f8),
        "cap": ((k + 1,), _f8),
        "blocked": ((k + 1,), _f8),
        "hold": ((k + 1,), _f8),
        "opening": ((k,), _f8),
        "any_blocked": ((), np.bool_),
        "job": ((r, MAX_STAGES), JOB),
        "scrap_key": ((), _u8),
        "on_hand": ((m,), _f8),
        "oldest": ((m,), _i4),
        "lane_h": ((k,), _f8),
        "stock": ((hubs, m), _f8),
        "coming": ((hubs, m), _f8),
        "bucket": ((slots,), _i4),
        "bucket_end": ((64,), _i4),
        "need": ((m,), _f8),
        "row_units": ((r,), _f8),
        "surge": ((int(w.par[0]["products"]),), _f8),
        "winner": ((hubs,), _i4),
        "terms": ((hubs,), _f8),
        "tampered": ((r,), _i1),
    }
    offsets = {}
    size = 0
    for name, (shape, dtype) in fields.items():
        offsets[name] = size
        size += -(-math.prod(shape) * np.dtype(dtype).itemsize // _CACHE_LINE) * _CACHE_LINE
    memory = np.zeros(threads * size + _CACHE_LINE, np.uint8)
    start = -memory.ctypes.data % _CACHE_LINE

    def field(name: str, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
        steps = np.empty(shape, dtype).strides
        return np.ndarray((threads, *shape), dtype, memory, start + offsets[name], (size, *steps))

    return Scratch(**{name: field(name, *kind) for name, kind in fields.items()})
