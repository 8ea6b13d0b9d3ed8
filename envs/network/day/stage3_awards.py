"""Part of stage 3, awards: a winner owes what it won, until it goes down; and how good awards were (model §4)."""

from __future__ import annotations

import numpy as np

from fabmesh.envs.network.books.accounts import Event
from fabmesh.envs.network.books.last_mile import delivery_cost
from fabmesh.envs.network.books.ledger import write_off
from fabmesh.envs.network.books.state import Scratch, State
from fabmesh.envs.network.books.tables import TENDER, Tables
from fabmesh.envs.network.books.work_content import bom_quantity, labour_h, machine_h, machine_h_longest
from fabmesh.envs.network.compiler.kernel import kernel
from fabmesh.envs.network.day.stage3_offers import own_cost
from fabmesh.envs.network.day.stage3_promises import available_to_promise, commit, promise_days


@kernel
def award(w: Tables, s: State, x: Scratch, h: int, lot: np.void, units: int, bid: float, days: int) -> None:
    """The hub owes the units: they enter its order book; finished stock serves first."""
    day = s.clock[0].day
    hub = s.hub[h]
    order = s.order[h, hub.orders]
    hub.orders += 1
    row = w.row[lot.row]
    from_stock = 0
    if lot.row < w.par[0].products:
        goods = s.hub_prod[h, lot.row]
        from_stock = min(goods.finished, units)
        goods.awarded += units
    order.row, order.town, order.announced, order.due = lot.row, lot.town, lot.announced, lot.due
    order.units, order.open, order.ready = units, units, from_stock
    order.inherited = 0
    if lot.again == 1:
        order.inherited = max(day + 1 - lot.due - w.scenario[0].market.lateness_grace_d, 0)
    order.price, order.bid, order.wip_value, order.key = lot.price, bid, 0.0, lot.key
    order.ceiling = lot.ceiling
    for stage in range(len(order.todo)):
        order.todo[stage] = 0
    order.todo[0] = units - from_stock
    if from_stock > 0:
        value = goods.value * from_stock / goods.finished
        goods.value -= value
        goods.finished -= from_stock
        order.wip_value = value
    made = units - from_stock
    for stage in range(row.stages):
        machine = made * machine_h(w, lot.row, stage, lot.price)
        labour = made * (labour_h(w, lot.row, stage, lot.price) * s.hub_tech[h, row.tech[stage]].learned)
        if x.open_rows[h, lot.row] == 0 and made > 0:
            machine += w.tech[row.tech[stage]].setup_h
            labour += w.tech[row.tech[stage]].setup_h
        commit(w, x, h, lot.row, stage, days, machine, labour)
    if made > 0:
        x.open_rows[h, lot.row] += 1
    for line in range(row.bom):
        s.hub_mat[h, row.bom_material[line]].need += made * bom_quantity(w, lot.row, line, lot.price)
    if row.kind != TENDER:
        s.hub_tech[h, row.lane].won_h += units * machine_h_longest(w, lot.row, lot.price)


@kernel
def announce_again(w: Tables, s: State, h: int, day: int) -> None:
    """A hub has gone down: its open orders are announced again with their due days, its work in progress is lost.

    An order that finds the table of lots full stays with its owner, who owes it as before.
    """
    clock = s.clock[0]
    hub = s.hub[h]
    kept = 0
    again = 0  # the table of lots has room for one full order book of these beside what is new
    for i in range(clock.lots):
        again += s.lot[i].again
    for i in range(hub.orders):
        order = s.order[h, i]
        tender = w.row[order.row].kind == TENDER
        table = s.tender if tender else s.lot
        count = clock.tenders if tender else clock.lots
        full = count == table.shape[0] if tender else again >= s.order.shape[1]
        if order.wip_value > 0.0:
            write_off(w, s, h, order.wip_value)
            order.wip_value = 0.0
        if full:
            order.todo[0] = order.open
            for stage in range(1, len(order.todo)):
                order.todo[stage] = 0
            order.ready = 0
            s.order[h, kept] = order
            kept += 1
            continue
        lot = table[count]
        lot.row, lot.town, lot.announced, lot.due = order.row, order.town, order.announced, order.due
        lot.last_day = day + max(w.row[order.row].patience_d, 2)
        lot.again, lot.units, lot.price, lot.key = 1, order.open, order.price, order.key
        lot.ceiling = order.ceiling
        s.events[Event.units_reannounced] += order.open
        if tender:
            clock.tenders += 1
        else:
            clock.lots += 1
            again += 1
    hub.orders = kept
    for p in range(s.hub_prod.shape[1]):
        goods = s.hub_prod[h, p]
        if goods.wip_value > 0.0:
            write_off(w, s, h, goods.wip_value)
            goods.wip_value = 0.0
        for stage in range(len(goods.wip)):
            goods.wip[stage] = 0


@kernel
def true_cost(w: Tables, s: State, x: Scratch, h: int, lot: np.void, terms: tuple[float, float, float]) -> float:
    """What a unit of a lot costs at a hub, EUR: production, set-ups if it has no open order of the row, delivery."""
    setup_share, a_stop, parcel = terms
    cost = own_cost(s, h, lot, setup_share if x.open_rows[h, lot.row] == 0 else 0.0)
    return cost + delivery_cost(float(w.van_stop[h, lot.town]), parcel) / a_stop


@kernel
def audit_award(
    w: Tables,
    s: State,
    x: Scratch,
    h: int,
    lot: np.void,
    units: int,
    terms: tuple[float, float, float],
    left: float,
) -> None:
    """Books how good an award is, before its hours are taken.

    Its true cost, and the least true cost of the hubs in reach that could promise all its units, whatever they bid;
    `left` is what the winner could have asked more for a unit and still won (money left on the table).
    """
    day = s.clock[0].day
    won = true_cost(w, s, x, h, lot, terms)
    least = won
    makers = w.row[lot.row].makers
    for i in range(w.asked_from[makers, lot.town], w.asked_from[makers, lot.town + 1]):
        other = w.asked[i].hub
        if other == h or s.hub[other].down_until > day:
            continue
        if s.hub[other].orders == s.order.shape[1]:
            continue
        cost = true_cost(w, s, x, other, lot, terms)
        if cost >= least:
            continue
        days = promise_days(w, lot, other, day)
        promised = 0
        if lot.row < w.par[0].products and days >= 0:
            promised = min(units, s.hub_prod[other, lot.row].finished)
        promised += available_to_promise(w, x, other, lot.row, lot.price, days, units - promised)
        if promised == units:
            least = cost
    s.events[Event.award_cost_eur] += units * won
    s.events[Event.award_least_cost_eur] += units * least
    s.events[Event.award_left_eur] += units * left


@kernel
def lowest_losing_score(
    w: Tables, s: State, x: Scratch, lot: np.void, offers: int, winner: int, least: int, ceiling: float
) -> float:
    """The lowest score among the offers that got nothing of a lot, EUR a unit; the ceiling where nobody lost.

    A hub loses if it could have promised units when the last one went (of a tender: all of it). A hub that is out of
    capacity, or whose order book is full, is no rival and does not count.

    Args:
        w: Tables.
        s: State.
        x: The first `offers` of `bidder` and `score` are those that got nothing, and perhaps the winner's.
        lot: What was awarded.
        offers: How many there are.
        winner: A hub among them that has won all, -1 = none.
        least: Units that a hub must be able to promise to count.
        ceiling: No offer is above it.
    """
    level = ceiling
    for i in range(offers):
        h = x.bidder[i]
        if h == winner or x.score[i] >= level or s.hub[h].orders == s.order.shape[1]:
            continue
        days = promise_days(w, lot, h, s.clock[0].day)
        units = 0
        if lot.row < w.par[0].products and days >= 0:
            units = min(least, s.hub_prod[h, lot.row].finished)
        if units < least:
            units += available_to_promise(w, x, h, lot.row, lot.price, days, least - units)
        if units == least:
            level = x.score[i]
    return level
