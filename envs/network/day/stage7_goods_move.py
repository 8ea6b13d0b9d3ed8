"""Stage 7, goods move: shipping and lateness, receipts, ageing, write-offs, holding."""

from __future__ import annotations

import numpy as np

from fabmesh.envs.network.books.accounts import Event, Line, TenderEvent
from fabmesh.envs.network.books.last_mile import (
    delivery_cost,
    delivery_days,
    parcel_cost,
    parcel_weight,
    units_per_stop,
)
from fabmesh.envs.network.books.ledger import earn, post, tender_event, write_off
from fabmesh.envs.network.books.state import F_RECEIVED, State
from fabmesh.envs.network.books.stock import age_class, expire, in_depot, on_hand
from fabmesh.envs.network.books.tables import AGES, TENDER, Tables
from fabmesh.envs.network.compiler.kernel import kernel
from fabmesh.envs.network.compiler.rng import STREAM_LIFE, combine, day_key, uniform
from fabmesh.envs.network.day.stage3_promises import lateness_rate
from fabmesh.envs.network.mechanisms.carbon import emit_stops
from fabmesh.envs.network.mechanisms.payment import pay_platform
from fabmesh.envs.network.mechanisms.quality import sent_back, unpack
from fabmesh.envs.network.schema.sizes import INBOUND_DAYS


@kernel
def ship_orders(w: Tables, s: State) -> None:
    """What was finished is delivered next day at the earliest; what is late is charged day by day."""
    day = s.clock[0].day
    smoothing = w.scenario[0].inventory.smoothing
    platform_takes = w.par[0].platform_takes == 1
    for h in range(s.hub.shape[0]):
        hub = s.hub[h]
        late_eur = 0.0
        price_eur = 0.0
        kept = 0
        late_units = 0
        open_units = 0
        for i in range(hub.orders):
            o = s.order[h, i]
            transit = delivery_days(w, h, o.town)
            if o.ready > 0 and hub.down_until <= day:
                late = day + transit - o.due
                a_stop = units_per_stop(w, o.row, o.units)
                stops = o.ready / a_stop
                weight = parcel_weight(w, o.row, o.price, a_stop)
                parcel = parcel_cost(w, weight)
                delivery = stops * delivery_cost(w.van_stop[h, o.town], parcel)
                post(s, h, Line.last_mile_freight, delivery)
                paid = o.ready * o.bid + delivery
                earn(s, h, paid)
                if platform_takes:
                    pay_platform(w, s, h, o, paid)
                value = o.wip_value * o.ready / (o.ready + units_in_progress(o))
                o.wip_value -= value
                post(s, h, Line.stock_change, value)
                extra = transit - 1  # a two-day delivery is one day later than the daily charge has seen
                if extra > 0:
                    charge = (
                        o.ready
                        * o.price
                        * max(lateness_rate(w, late - o.inherited) - lateness_rate(w, late - extra - o.inherited), 0.0)
                    )
                    post(s, h, Line.lateness, charge)
                    late_eur += charge
                price_eur += o.ready * o.price
                emit_stops(w, s, h, o.town, parcel, weight, stops)
                s.events[Event.stops_delivered] += stops
                s.events[Event.units_delivered] += o.ready
                s.events[Event.lead_time_unit_days] += o.ready * (day + transit - o.announced)
                if late <= 0:
                    s.events[Event.units_on_time] += o.ready
                else:
                    s.events[Event.late_units] += o.ready
                o.open -= o.ready
                o.ready = 0
                if o.open == 0 and w.row[o.row].kind == TENDER:
                    count_tender(w, s, o.row, day + transit - o.announced)
            if o.open > 0:
                # the earliest these units can arrive is the day after tomorrow
                days_late = day + 2 - o.due - o.inherited
                if days_late > w.scenario[0].market.lateness_grace_d:
                    charge = o.open * o.price * (lateness_rate(w, days_late) - lateness_rate(w, days_late - 1))
                    post(s, h, Line.lateness, charge)
                    late_eur += charge
                if day + 1 - o.due - o.inherited >= w.scenario[0].market.cancel_after_d:
                    post(s, h, Line.lost, o.open * o.price * (1.0 + w.scenario[0].market.goodwill))
                    s.events[Event.units_cancelled] += o.open
                    if o.wip_value > 0.0:
                        write_off(w, s, h, o.wip_value)
                    continue
                open_units += o.open
                if day + 1 > o.due:
                    late_units += o.open
                if kept != i:
                    s.order[h, kept] = o
                kept += 1
        hub.orders = kept
        hub.open_units, hub.late_units = open_units, late_units
        hub.late_eur += smoothing * (late_eur - hub.late_eur)
        hub.price_eur += smoothing * (price_eur - hub.price_eur)


@kernel
def count_tender(w: Tables, s: State, row: int, days: int) -> None:
    """A tender has been delivered whole, so many days after it was posted."""
    for i in range(len(w.stream)):
        if w.stream[i].first_row <= row < w.stream[i].first_row + w.stream[i].rows:
            s.events[tender_event(w, i, TenderEvent.tenders_served)] += 1.0
            s.events[tender_event(w, i, TenderEvent.tender_days)] += days


@kernel
def units_in_progress(o: np.void) -> int:
    """Units of an order that wait for a later stage."""
    units = 0
    for stage in range(1, len(o.todo)):
        units += o.todo[stage]
    return units


@kernel
def take_in(w: Tables, s: State, h: int, m: int, ring: int) -> None:
    """Puts what arrives at a hub on one day of the ring on its shelf."""
    material = s.hub_mat[h, m]
    for a in range(AGES):
        material.sealed[a] += material.inbound[ring, a]
        s.flow[h, m, F_RECEIVED, 0] += material.inbound[ring, a]
        material.inbound[ring, a] = 0.0
    material.value += material.inbound_value[ring]
    s.flow[h, m, F_RECEIVED, 1] += material.inbound_value[ring]
    material.inbound_value[ring] = 0.0
    if w.scenario[0].quality.enabled == 1:
        unpack(material, ring)


@kernel
def receive(w: Tables, s: State) -> None:
    """What arrives tomorrow morning goes on the shelf."""
    tomorrow = s.clock[0].day + 1
    ring = tomorrow % INBOUND_DAYS
    hubs = s.hub.shape[0]
    for h in range(hubs):
        for m in range(len(w.mat)):
            if s.hub_mat[h, m].inbound_value[ring] == 0.0:
                continue
            take_in(w, s, h, m, ring)
    for d in range(s.depot_mat.shape[0]):
        for m in range(len(w.mat)):
            material = s.depot_mat[d, m]
            kept = 0
            for i in range(material.orders):
                order = s.supplier_order[d, m, i]
                if order.arrives > tomorrow:
                    if kept != i:
                        s.supplier_order[d, m, kept] = order
                    kept += 1
                    continue
                if w.scenario[0].quality.enabled == 1 and sent_back(w, s, d, m, order):
                    material.on_order -= order.quantity
                    continue
                before = in_depot(material)
                expiry = tomorrow + remaining_life(w, s, d, m, order.placed)
                material.stock[age_class(w, m, expiry)] += order.quantity
                material.value += order.quantity * order.price
                material.landed = (before * material.landed + order.quantity * order.landed) / (before + order.quantity)
                material.on_order -= order.quantity
                node = hubs + d
                s.flow[node, m, F_RECEIVED, 0] += order.quantity
                s.flow[node, m, F_RECEIVED, 1] += order.quantity * order.price
                s.events[Event.purchases_eur] += order.quantity * order.price
            material.orders = kept


@kernel
def remaining_life(w: Tables, s: State, d: int, m: int, placed: int) -> float:
    """Days of sealed life left at receipt: U(low, high) of the sealed life, drawn for the day the order was placed."""
    key = day_key(s.clock[0].seed, STREAM_LIFE, placed)
    u = uniform(key, combine(w.depot_key[d], w.mat[m].key))
    share = w.scenario[0].supply.life_at_receipt
    return w.mat[m].life_d * (share[0] + u * (share[1] - share[0]))


@kernel
def age(w: Tables, s: State) -> None:
    """What is too old tomorrow is written off: whole age classes, and opened packs at the end of their floor life."""
    tomorrow = s.clock[0].day + 1
    for m in range(len(w.mat)):
        width = w.mat[m].class_d
        over = width > 0 and tomorrow % width == 0
        a = (tomorrow // width - 1) % AGES if over else 0
        for h in range(s.hub.shape[0]):
            material = s.hub_mat[h, m]
            if over:
                quantity = material.sealed[a]
                if quantity > 0.0:
                    material.sealed[a] = 0.0
                    expire(w, s, h, material, m, quantity, on_hand(material))
            if w.mat[m].floor_d > 0 and material.opened > 0.0 and material.opened_until < tomorrow:
                quantity = material.opened
                material.opened = 0.0
                expire(w, s, h, material, m, quantity, on_hand(material))
        if over:
            for d in range(s.depot_mat.shape[0]):
                depot = s.depot_mat[d, m]
                quantity = depot.stock[a]
                if quantity > 0.0:
                    depot.stock[a] = 0.0
                    expire(w, s, s.hub.shape[0] + d, depot, m, quantity, in_depot(depot))


@kernel
def revise_designs(w: Tables, s: State) -> None:
    """A revised design makes finished goods, make-to-stock work in progress and its kits deadstock.

    Kits on a shelf or between a depot and a hub are of the old version; what a supplier still has to deliver comes
    in the new one.
    """
    tomorrow = s.clock[0].day + 1
    for p in range(w.par[0].products):
        if s.revision[p] != tomorrow:
            continue
        for h in range(s.hub.shape[0]):
            goods = s.hub_prod[h, p]
            if goods.value + goods.wip_value > 0.0:
                write_off(w, s, h, goods.value + goods.wip_value)
            goods.finished, goods.value, goods.wip_value = 0, 0.0, 0.0
            if w.scenario[0].experience.enabled == 1:
                goods.qualifies = 1
            for stage in range(len(goods.wip)):
                goods.wip[stage] = 0
        for m in range(len(w.mat)):
            if w.mat[m].design != p:
                continue
            for h in range(s.hub.shape[0]):
                material = s.hub_mat[h, m]
                for ring in range(INBOUND_DAYS):  # received in the old version and written off at once
                    take_in(w, s, h, m, ring)
                quantity = on_hand(material)
                if quantity > 0.0:
                    material.opened = 0.0
                    for a in range(AGES):
                        material.sealed[a] = 0.0
                    expire(w, s, h, material, m, quantity, on_hand(material))
                    material.value = 0.0
            for d in range(s.depot_mat.shape[0]):
                depot = s.depot_mat[d, m]
                quantity = in_depot(depot)
                if quantity > 0.0:
                    for a in range(AGES):
                        depot.stock[a] = 0.0
                    expire(w, s, s.hub.shape[0] + d, depot, m, quantity, in_depot(depot))
                    depot.value = 0.0


@kernel
def hold(w: Tables, s: State) -> None:
    """Holding cost of a day on the book value of raw material, finished goods and work in progress."""
    hubs = s.hub.shape[0]
    for h in range(hubs):
        material = 0.0
        goods = 0.0
        for m in range(len(w.mat)):
            item = s.hub_mat[h, m]
            material += item.value
            for ring in range(INBOUND_DAYS):
                material += item.inbound_value[ring]
        for p in range(w.par[0].products):
            goods += s.hub_prod[h, p].value + s.hub_prod[h, p].wip_value
        s.events[Event.inventory_eur_days] += material + goods
        post(s, h, Line.holding, material * w.par[0].holding_material_d + goods * w.par[0].holding_finished_d)
    for d in range(s.depot_mat.shape[0]):
        value = 0.0
        for m in range(len(w.mat)):
            value += s.depot_mat[d, m].value
        s.events[Event.inventory_eur_days] += value
        post(s, hubs + d, Line.holding, value * w.par[0].holding_material_d)


@kernel
def smooth_rates(w: Tables, s: State) -> None:
    """Exponential smoothing of use, awards and requests; a day's counters are cleared."""
    a = w.scenario[0].inventory.smoothing
    day = s.clock[0].day
    for h in range(s.hub.shape[0]):
        if s.hub[h].down_until > day:  # a closed hub learns nothing about its use
            continue
        for m in range(len(w.mat)):
            material = s.hub_mat[h, m]
            material.use_rate += a * (material.used - material.use_rate)
            material.used = 0.0
        for p in range(w.par[0].products):
            goods = s.hub_prod[h, p]
            goods.rate += a * (goods.awarded - goods.rate)
            goods.awarded = 0.0
    for d in range(s.depot_mat.shape[0]):
        if s.depot[d].down_until > day:  # nor does a closed depot about requests
            continue
        for m in range(len(w.mat)):
            depot = s.depot_mat[d, m]
            depot.request_rate += a * (depot.requested - depot.request_rate)
            if depot.requested > 0.0:
                depot.fill += a * (min(depot.filled / depot.requested, 1.0) - depot.fill)
            depot.requested, depot.filled = 0.0, 0.0


@kernel
def goods_move(w: Tables, s: State) -> None:
    """All of stage 7, and the holding cost of the day."""
    ship_orders(w, s)
    receive(w, s)
    age(w, s)
    revise_designs(w, s)
    hold(w, s)
    smooth_rates(w, s)
