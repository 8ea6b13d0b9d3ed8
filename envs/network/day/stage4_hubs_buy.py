"""Stage 4, the material market: hubs ask for material, depots quote, the least landed cost supplies (model §5)."""

from __future__ import annotations

import numpy as np

from fabmesh.envs.network.books.accounts import Event, Line
from fabmesh.envs.network.books.ledger import post, transfer
from fabmesh.envs.network.books.state import F_SHIPPED, Scratch, State
from fabmesh.envs.network.books.stock import age_class, in_depot, oldest_class, on_hand, thin
from fabmesh.envs.network.books.tables import AGES, Tables
from fabmesh.envs.network.books.work_content import bom_quantity
from fabmesh.envs.network.compiler.kernel import kernel
from fabmesh.envs.network.compiler.rng import STREAM_LIFE, combine, day_key, uniform
from fabmesh.envs.network.interface.actions import (
    CAN_ORDER,
    COVER,
    DEPOT_QUOTE,
    TRIGGER,
    level,
)
from fabmesh.envs.network.mechanisms.carbon import parcel_co2e, truck_co2e
from fabmesh.envs.network.mechanisms.quality import UNQUALIFIED, is_bad_lot
from fabmesh.envs.network.schema.sizes import INBOUND_DAYS


@kernel
def book_needs(w: Tables, s: State) -> None:
    """Material that the open orders of each hub still need."""
    for h in range(s.hub.shape[0]):
        for m in range(len(w.mat)):
            s.hub_mat[h, m].need = 0.0
        for i in range(s.hub[h].orders):
            o = s.order[h, i]
            for line in range(w.row[o.row].bom):
                units = 0
                for stage in range(w.row[o.row].bom_stage[line] + 1):
                    units += o.todo[stage]
                s.hub_mat[h, w.row[o.row].bom_material[line]].need += units * bom_quantity(w, o.row, line, o.price)


@kernel
def base_rate(w: Tables, s: State, h: int, m: int) -> float:
    """Use a day that covers are multiples of: smoothed use, but at least a share of the catchment's expected use."""
    return max(s.hub_mat[h, m].use_rate, w.scenario[0].inventory.catchment_floor * w.hub_use[h, m])


@kernel
def inbound(material: np.void) -> float:
    """Quantity under way to a hub."""
    total = 0.0
    for ring in range(INBOUND_DAYS):
        if material.inbound_value[ring] > 0.0:
            for a in range(AGES):
                total += material.inbound[ring, a]
    return total


@kernel
def depot_price(w: Tables, s: State, d: int, m: int) -> float:
    """A depot's price of a unit: its average landed cost and its mark-up."""
    depot = s.depot_mat[d, m]
    return depot.landed * (1.0 + w.quote_level[depot.quote])


@kernel
def retail_price(w: Tables, m: int) -> float:
    """Landed retail price of a unit, the parcel's weight included."""
    mat = w.mat[m]
    mile = w.scenario[0].last_mile
    return mat.retail + mile.parcel_eur_kg * max(mat.kg, mat.litres / mile.parcel_litres_per_kg)


@kernel
def road_freight(w: Tables, km: float, kg: float, litres: float) -> float:
    """EUR for the weight of a consignment without its fixed part: rate x km x chargeable tonnes."""
    return w.scenario[0].freight.rate_eur_tkm * km * max(kg, w.scenario[0].freight.kg_per_litre * litres) / 1000.0


@kernel
def write_quotes(w: Tables, s: State) -> None:
    """What each hub reads of the depots' quotes: the least landed price of a unit, and whether it could be had."""
    hubs = s.hub.shape[0]
    for m in range(len(w.mat)):
        best = retail_price(w, m)
        available = 0.0
        for h in range(hubs):
            s.hub_mat[h, m].quote = best
        for d in range(s.depot_mat.shape[0]):
            if s.depot_mat[d, m].quote == 0:
                continue
            if in_depot(s.depot_mat[d, m]) >= w.mat[m].pack:
                available = 1.0
            price = depot_price(w, s, d, m)
            for h in range(hubs):
                landed = price + road_freight(w, w.depot_km[d, h], w.mat[m].kg, w.mat[m].litres)
                s.hub_mat[h, m].quote = min(s.hub_mat[h, m].quote, landed)
        for h in range(hubs):
            s.hub_mat[h, m].in_stock = available


@kernel
def write_requests(w: Tables, s: State, x: Scratch, action: np.ndarray) -> None:
    """The (s, c, S) rule of joint replenishment at each hub (Balintfy 1964): whole packs up to the level S.

    Position = on hand + under way - need of the open orders. Something below trigger x S starts a consignment;
    whatever is below c x S joins it.
    """
    day = s.clock[0].day
    for h in range(s.hub.shape[0]):
        trigger = w.trigger_level[level(action, h, w.hub_slot[TRIGGER], w.hub_fixed[TRIGGER], 0)]
        join = level(action, h, w.hub_slot[CAN_ORDER], w.hub_fixed[CAN_ORDER], 0) * 0.5
        can = trigger + join * (1.0 - trigger)
        start = False
        for m in range(len(w.mat)):
            x.request[h, m] = 0.0
            cover = w.cover_level[level(action, h, w.hub_slot[COVER], w.hub_fixed[COVER], m)]
            if cover <= 0.0 or w.hub_uses[h, m] == 0 or s.hub[h].down_until > day:
                continue
            material = s.hub_mat[h, m]
            target = cover * base_rate(w, s, h, m)
            position = on_hand(material) + inbound(material) - material.need
            if position < trigger * target:
                start = True
            if position < can * target:
                x.request[h, m] = np.ceil((target - position) / w.mat[m].pack - 1e-9) * w.mat[m].pack
        if not start:
            for m in range(len(w.mat)):
                x.request[h, m] = 0.0


@kernel
def choose_depots(w: Tables, s: State, x: Scratch) -> bool:
    """Each open request goes to the untried depot of least landed cost, if that beats retail. Returns if any did.

    Landed cost of the whole request: price, freight by weight, and the fixed cost where no consignment goes yet.
    """
    any_choice = False
    for d in range(s.depot_mat.shape[0]):
        for m in range(len(w.mat)):
            x.asked[d, m] = 0.0
    for h in range(s.hub.shape[0]):
        for m in range(len(w.mat)):
            x.choice[h, m] = -1
            quantity = x.request[h, m]
            if quantity <= 0.0:
                continue
            best = quantity * retail_price(w, m)
            if x.consignment[h, s.depot_mat.shape[0], 0] == 0.0:
                best += w.scenario[0].last_mile.parcel_eur
            for d in range(s.depot_mat.shape[0]):
                depot = s.depot_mat[d, m]
                if x.tried[h, d, m] == 1 or depot.quote == 0 or in_depot(depot) < w.mat[m].pack:
                    continue
                cost = quantity * depot_price(w, s, d, m)
                cost += road_freight(w, w.depot_km[d, h], quantity * w.mat[m].kg, quantity * w.mat[m].litres)
                if x.sent[h, d] == 0:
                    cost += w.scenario[0].freight.fixed_eur
                if cost < best:
                    best = cost
                    x.choice[h, m] = d
            if x.choice[h, m] >= 0:
                any_choice = True
                x.asked[x.choice[h, m], m] += quantity
    return any_choice


@kernel
def ship_to_hub(w: Tables, s: State, x: Scratch, d: int, h: int, m: int, quantity: float) -> None:
    """A depot sends stock, oldest first, for its price; the stock keeps its age and its book value on the way."""
    day = s.clock[0].day
    depot = s.depot_mat[d, m]
    hub = s.hub_mat[h, m]
    hubs = s.hub.shape[0]
    share = quantity / in_depot(depot)
    value = depot.value * quantity / in_depot(depot)
    transfer(s, h, hubs + d, quantity * depot_price(w, s, d, m) - value)
    days = 2 if w.depot_km[d, h] > w.scenario[0].freight.depot_hub_two_days_beyond_km else 1
    ring = (day + days) % INBOUND_DAYS
    left = quantity
    oldest = oldest_class(w, m, day)
    # a class whose period ends on the way comes back as the youngest: it travels with the one that is then the oldest
    width = w.mat[m].class_d
    passed = (day + days - 1) // width - day // width if width > 0 else 0
    for i in range(AGES):
        a = (oldest + i) % AGES
        taken = min(left, depot.stock[a])
        depot.stock[a] -= taken
        hub.inbound[ring, (oldest + max(i, passed)) % AGES] += taken
        left -= taken
    depot.value -= value
    hub.inbound_value[ring] += value
    if w.scenario[0].quality.enabled == 1:
        hub.inbound_unqualified[ring] += depot.unqualified * share
        hub.inbound_bad[ring] += depot.bad * share
        thin(depot, share)
    s.flow[hubs + d, m, F_SHIPPED, 0] += quantity
    s.flow[hubs + d, m, F_SHIPPED, 1] += value
    x.sent[h, d] = 1
    x.consignment[h, d, 0] += quantity * w.mat[m].kg
    x.consignment[h, d, 1] += quantity * w.mat[m].litres


@kernel
def grant(w: Tables, s: State, x: Scratch) -> None:
    """Competing requests share short stock pro rata, in whole packs."""
    for m in range(len(w.mat)):
        for d in range(s.depot_mat.shape[0]):
            if x.asked[d, m] <= 0.0:
                continue
            depot = s.depot_mat[d, m]
            stock = in_depot(depot)
            depot.requested += x.asked[d, m]
            share = min(stock / x.asked[d, m], 1.0)
            for h in range(s.hub.shape[0]):
                if x.choice[h, m] != d:
                    continue
                x.tried[h, d, m] = 1
                pack = w.mat[m].pack
                quantity = np.floor(x.request[h, m] * share / pack + 1e-9) * pack
                quantity = min(quantity, in_depot(depot))
                if quantity > 0.0:
                    ship_to_hub(w, s, x, d, h, m, quantity)
                    depot.filled += quantity
                    x.request[h, m] -= quantity


@kernel
def buy_retail(w: Tables, s: State, x: Scratch) -> None:
    """The last resort: single-unit price and parcel freight, three days."""
    day = s.clock[0].day
    retail = s.depot_mat.shape[0]
    life_key = day_key(s.clock[0].seed, STREAM_LIFE, day)
    for h in range(s.hub.shape[0]):
        for m in range(len(w.mat)):
            quantity = x.request[h, m]
            if quantity <= 0.0:
                continue
            mat = w.mat[m]
            hub = s.hub_mat[h, m]
            ring = (day + w.scenario[0].supply.retail_lead_d) % INBOUND_DAYS
            u = uniform(life_key, combine(w.hub_key[h], mat.key))
            share = w.scenario[0].supply.life_at_receipt
            life = mat.life_d * (share[0] + u * (share[1] - share[0]))
            hub.inbound[ring, age_class(w, m, day + w.scenario[0].supply.retail_lead_d + life)] += quantity
            hub.inbound_value[ring] += quantity * mat.retail
            s.events[Event.retail_eur] += quantity * mat.retail
            if w.scenario[0].quality.enabled == 1:
                hub.inbound_unqualified[ring] += quantity
                if is_bad_lot(w, s, day, w.hub_key[h], m, UNQUALIFIED):
                    hub.inbound_bad[ring] += quantity
            x.consignment[h, retail, 0] += quantity * mat.kg
            x.consignment[h, retail, 1] += quantity * mat.litres
        kg, litres = x.consignment[h, retail, 0], x.consignment[h, retail, 1]
        if kg > 0.0:
            mile = w.scenario[0].last_mile
            weight = max(kg, litres / mile.parcel_litres_per_kg)
            post(s, h, Line.first_mile_freight, mile.parcel_eur + mile.parcel_eur_kg * weight)
            s.events[Event.co2e_kg_retail_parcel] += parcel_co2e(w, weight)


@kernel
def material_market(w: Tables, s: State, x: Scratch, hub_action: np.ndarray, depot_action: np.ndarray) -> None:
    """All of stage 4."""
    depots = s.depot_mat.shape[0]
    hubs = s.hub.shape[0]
    for d in range(depots):
        closed = s.depot[d].down_until > s.clock[0].day
        for m in range(len(w.mat)):
            quote = level(depot_action, d, w.depot_slot[DEPOT_QUOTE], w.depot_fixed[DEPOT_QUOTE], m)
            s.depot_mat[d, m].quote = 0 if closed else quote
    write_requests(w, s, x, hub_action)
    for h in range(hubs):
        for d in range(depots + 1):
            x.consignment[h, d, 0] = 0.0
            x.consignment[h, d, 1] = 0.0
        for d in range(depots):
            x.sent[h, d] = 0
            for m in range(len(w.mat)):
                x.tried[h, d, m] = 0
    for _ in range(depots):
        if not choose_depots(w, s, x):
            break
        grant(w, s, x)
    buy_retail(w, s, x)
    for h in range(hubs):
        for d in range(depots):
            if x.sent[h, d] == 1:
                kg, litres = x.consignment[h, d, 0], x.consignment[h, d, 1]
                freight = w.scenario[0].freight.fixed_eur + road_freight(w, w.depot_km[d, h], kg, litres)
                post(s, h, Line.first_mile_freight, freight)
                s.events[Event.hub_consignments] += 1.0
                s.events[Event.co2e_kg_truck_to_hub] += truck_co2e(w, w.depot_km[d, h], kg, litres)
    write_quotes(w, s)
