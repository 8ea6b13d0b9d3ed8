"""The drawn start of an episode and its settled end (model §3)."""

from __future__ import annotations

import math

import numpy as np

from fabmesh.envs.network.books.accounts import Event, Line
from fabmesh.envs.network.books.ledger import post
from fabmesh.envs.network.books.state import F_OPENING, Scratch, State
from fabmesh.envs.network.books.stock import age_class, in_depot, on_hand
from fabmesh.envs.network.books.tables import AGES, Tables
from fabmesh.envs.network.books.work_content import bom_quantity
from fabmesh.envs.network.compiler.kernel import kernel
from fabmesh.envs.network.compiler.rng import (
    STREAM_PRICE,
    STREAM_REVISION,
    STREAM_START,
    STREAM_TENDER,
    STREAM_UNITS,
    combine,
    day_key,
    uniform,
)
from fabmesh.envs.network.day.stage1_disruptions import forget_disruptions
from fabmesh.envs.network.day.stage1_news import (
    lot_level,
    lot_price,
    lot_units,
    season_start,
    tender_key_of,
    tender_price,
    tender_row,
    tender_units,
    tenders_of_town,
    unit_standard_cost,
)
from fabmesh.envs.network.day.stage3_offers import estimate_costs
from fabmesh.envs.network.day.stage4_hubs_buy import inbound, write_quotes
from fabmesh.envs.network.day.stage5_depots_buy import discounted_price, lead_time
from fabmesh.envs.network.mechanisms.demand import adoption, draw_lives, write_surges_of_day
from fabmesh.envs.network.mechanisms.people import draw_posts
from fabmesh.envs.network.mechanisms.quality import draw_bias
from fabmesh.envs.network.mechanisms.upkeep import draw_wear
from fabmesh.envs.network.schema.scenario import WORKING_DAYS_PER_YEAR
from fabmesh.envs.network.schema.sizes import INBOUND_DAYS

_LEVEL, _AGE, _WAY = np.uint64(1), np.uint64(2), np.uint64(3)
_HUB_LEVEL_D = 10.0  # days of expected use in a hub's opening base-stock level
_DEPOT_LEVEL_D = 20.0  # days beyond the lead time in a depot's


@kernel
def clear(s: State) -> None:
    """Forgets the last episode of a copy."""
    s.clock[0].lots = 0
    s.clock[0].tenders = 0
    s.clock[0].standard_cost = 0.0
    for p in range(s.revision.shape[0]):
        s.revision[p] = -1
        s.surge[p] = 1.0
    for n in range(s.ledger.shape[0]):
        s.day_cost[n] = 0.0
        s.day_income[n] = 0.0
        for line in range(s.ledger.shape[1]):
            s.ledger[n, line] = 0.0
    for i in range(s.events.shape[0]):
        s.events[i] = 0.0
    for i in range(len(s.repair)):
        s.repair[i] = 0.0
    for n in range(s.flow.shape[0]):
        for m in range(s.flow.shape[1]):
            for i in range(s.flow.shape[2]):
                s.flow[n, m, i, 0] = 0.0
                s.flow[n, m, i, 1] = 0.0
    for h in range(s.hub.shape[0]):
        for r in range(s.made.shape[1]):
            s.made[h, r] = 0
        hub = s.hub[h]
        hub.down_until, hub.orders, hub.overtime, hub.labour_carry_h = 0, 0, 0.0, 0.0
        hub.late_eur, hub.price_eur, hub.late_units, hub.open_units = 0.0, 0.0, 0, 0
        for i in range(s.post.shape[1]):
            s.post[h, i].away, s.post[h, i].filled, s.post[h, i].trained = 0, 0, 0
        for k in range(s.hub_tech.shape[1]):
            tech = s.hub_tech[h, k]
            tech.bid, tech.carry_h, tech.offered_h, tech.won_h = 0, 0.0, 0.0, 0.0
            tech.wear_h, tech.seen_wear = 0.0, 0.0
            tech.bias, tech.bias_var, tech.scrap_share, tech.units, tech.scrapped = 0.0, 0.0, 0.0, 0.0, 0.0
            tech.passed, tech.returned = 0.0, 0.0
            tech.made, tech.doublings, tech.learned, tech.scrap_learned = 0.0, 0.0, 1.0, 1.0
        for p in range(s.hub_prod.shape[1]):
            goods = s.hub_prod[h, p]
            goods.finished, goods.value, goods.wip_value, goods.awarded = 0, 0.0, 0.0, 0.0
            goods.qualifies = 0
            for stage in range(len(goods.wip)):
                goods.wip[stage] = 0
        for m in range(s.hub_mat.shape[1]):
            material = s.hub_mat[h, m]
            material.opened, material.opened_until, material.value = 0.0, 0, 0.0
            material.used, material.need = 0.0, 0.0
            material.unqualified, material.bad = 0.0, 0.0
            for a in range(AGES):
                material.sealed[a] = 0.0
                for ring in range(INBOUND_DAYS):
                    material.inbound[ring, a] = 0.0
            for ring in range(INBOUND_DAYS):
                material.inbound_value[ring] = 0.0
                material.inbound_unqualified[ring], material.inbound_bad[ring] = 0.0, 0.0
    for d in range(s.depot_mat.shape[0]):
        for m in range(s.depot_mat.shape[1]):
            depot = s.depot_mat[d, m]
            for a in range(AGES):
                depot.stock[a] = 0.0
            depot.value, depot.requested, depot.filled, depot.fill = 0.0, 0.0, 0.0, 1.0
            depot.orders, depot.on_order = 0, 0.0
            depot.unqualified, depot.bad = 0.0, 0.0
    forget_disruptions(s)


@kernel
def draw_start(w: Tables, s: State) -> None:
    """Opening stock in the range `opening_level` of a base-stock level, with ages, and goods under way."""
    clock = s.clock[0]
    key = day_key(clock.seed, STREAM_START, 0)
    clock.day = 0
    clock.season_start = season_start(w, clock.seed)
    draw_lives(w, s)
    opening, receipt = w.scenario[0].inventory.opening_level, w.scenario[0].supply.life_at_receipt
    low, width = opening[0], opening[1] - opening[0]
    life_low, life_width = receipt[0], receipt[1] - receipt[0]
    hubs = s.hub.shape[0]
    for h in range(hubs):
        s.hub[h].present, s.hub[h].staff = w.hub_people[h], w.hub_people[h]
        if w.scenario[0].people.enabled == 1:
            draw_posts(w, s, h)
        if w.scenario[0].upkeep.enabled == 1:
            draw_wear(w, s, h)
        if w.scenario[0].quality.enabled == 1:
            draw_bias(w, s, h)
        for m in range(len(w.mat)):
            material = s.hub_mat[h, m]
            mat = w.mat[m]
            name = combine(w.hub_key[h], mat.key)
            material.use_rate = w.hub_use[h, m]
            if w.hub_uses[h, m] == 0 or w.hub_use[h, m] <= 0.0:
                continue
            share = low + width * uniform(key, combine(name, _LEVEL))
            packs = math.ceil(share * _HUB_LEVEL_D * w.hub_use[h, m] / mat.pack - 1e-9)
            life = mat.life_d * (life_low + life_width * uniform(key, combine(name, _AGE)))
            material.sealed[age_class(w, m, life)] = packs * mat.pack
            material.value = packs * mat.pack * mat.opening_price
            s.flow[h, m, F_OPENING, 0] = packs * mat.pack
            s.flow[h, m, F_OPENING, 1] = material.value
        for p in range(w.par[0].products):
            s.hub_prod[h, p].rate = w.hub_rate[h, p]
    for d in range(s.depot_mat.shape[0]):
        for m in range(len(w.mat)):
            depot = s.depot_mat[d, m]
            mat = w.mat[m]
            name = combine(w.depot_key[d], mat.key)
            use = w.depot_use[d, m]
            depot.request_rate = use
            depot.landed = mat.opening_price
            depot.quote = 1
            share = low + width * uniform(key, combine(name, _LEVEL))
            packs = math.ceil(share * (mat.lead_mean_d + _DEPOT_LEVEL_D) * use / mat.pack - 1e-9)
            life = mat.life_d * (life_low + life_width * uniform(key, combine(name, _AGE)))
            depot.stock[age_class(w, m, life)] = packs * mat.pack
            depot.value = packs * mat.pack * mat.opening_price
            s.flow[hubs + d, m, F_OPENING, 0] = packs * mat.pack
            s.flow[hubs + d, m, F_OPENING, 1] = depot.value
            # one order under way, placed some days ago
            quantity = math.ceil(_DEPOT_LEVEL_D * use / mat.pack - 1e-9) * mat.pack
            if quantity > 0.0:
                placed = -int(uniform(key, combine(name, _WAY)) * mat.lead_mean_d)
                order = s.supplier_order[d, m, 0]
                order.placed = placed
                order.arrives = max(placed + lead_time(w, s, d, m, placed), 1)
                order.due = order.arrives
                order.quantity = quantity
                order.price = discounted_price(w, m, quantity)
                order.landed = order.price
                order.spot, order.inspection = 0, 0
                depot.orders, depot.on_order = 1, quantity
    # revisions announced before the episode and still to come
    notice = w.scenario[0].demand.revision_notice_d
    for ago in range(notice):
        day = ago - notice
        revision_key = day_key(clock.seed, STREAM_REVISION, day)
        for p in range(w.par[0].products):
            if s.revision[p] < 0 and uniform(revision_key, w.row[p].key) < w.par[0].revision_rate_d:
                s.revision[p] = day + notice
    write_quotes(w, s)
    estimate_costs(w, s)


@kernel
def revision_ahead(s: State, product: int) -> bool:
    """Whether a revision of the product's design has been announced that has not taken effect yet."""
    return product >= 0 and s.revision[product] > s.clock[0].day


@kernel
def add_need(w: Tables, s: State, x: Scratch, day: int, row: int, units: int, price: float) -> None:
    """Adds what a lot or tender of a later day needs; nothing in the old design after a revision."""
    revised = row < w.par[0].products and revision_ahead(s, row) and day >= s.revision[row]
    if not revised:
        x.row_units[row] += units
    for line in range(w.row[row].bom):
        m = w.row[row].bom_material[line]
        if not (revised and w.mat[m].design == row):
            x.need[m] += units * bom_quantity(w, row, line, price)


@kernel
def need_on_tape(w: Tables, s: State, x: Scratch) -> None:
    """What the tape asks for after the end: material into `x.need`, units per row into `x.row_units`.

    Kits and finished goods whose design is about to be revised are needed until then only.
    """
    clock = s.clock[0]
    for m in range(len(w.mat)):
        x.need[m] = 0.0
    for r in range(len(w.row)):
        x.row_units[r] = 0.0
    for ahead in range(w.scenario[0].inventory.closing_cover_d):
        day = clock.day + ahead
        if len(w.recorded_day) > 0:
            if day + 1 < len(w.recorded_day):
                for i in range(w.recorded_day[day], w.recorded_day[day + 1]):
                    order = w.recorded[i]
                    add_need(w, s, x, day, order.row, order.units, order.price)
            continue
        day_of_year = (clock.season_start + day) % WORKING_DAYS_PER_YEAR
        units_key = day_key(clock.seed, STREAM_UNITS, day)
        price_key = day_key(clock.seed, STREAM_PRICE, day)
        tender_key = day_key(clock.seed, STREAM_TENDER, day)
        write_surges_of_day(w, clock.seed, day, x.surge)
        for r in range(w.par[0].lot_rows):
            level = lot_level(w, s, day, r, day_of_year, x.surge)
            for c in range(len(w.population)):
                units = lot_units(w, units_key, c, r, level)
                if units > 0:
                    add_need(w, s, x, day, r, units, lot_price(w, price_key, c, r, units))
        tender_level = adoption(w, day)
        for i in range(len(w.stream)):
            for c in range(len(w.population)):
                for number in range(tenders_of_town(w, tender_key, i, c, tender_level)):
                    name = tender_key_of(w, tender_key, i, c, number)
                    units = tender_units(w, name, i)
                    add_need(w, s, x, day, tender_row(w, name, i), units, tender_price(w, name, i) / units)


@kernel
def settle(w: Tables, s: State, x: Scratch) -> None:
    """Posts the settlement: standard cost of what is still owed, and closing stock beyond need down to salvage.

    Lateness of open orders has been charged day by day. Stock counts with what is under way and on order; what
    exceeds the network's need of the next `closing_cover_d` days on the tape is written down by (1 - salvage).
    """
    clock = s.clock[0]
    platform = s.ledger.shape[0] - 1
    hubs = s.hub.shape[0]
    before = s.ledger[platform, Line.settlement]
    open_units = 0.0
    for h in range(hubs):
        for i in range(s.hub[h].orders):
            o = s.order[h, i]
            open_units += o.open
            post(s, platform, Line.settlement, o.open * unit_standard_cost(w, o.row, o.price))
    for i in range(clock.lots):
        lot = s.lot[i]
        open_units += lot.units
        post(s, platform, Line.settlement, lot.units * unit_standard_cost(w, lot.row, lot.price))
    for i in range(clock.tenders):
        tender = s.tender[i]
        open_units += tender.units
        post(s, platform, Line.settlement, tender.units * unit_standard_cost(w, tender.row, tender.price))
    s.events[Event.units_open] = open_units
    need_on_tape(w, s, x)
    for m in range(len(w.mat)):
        quantity = 0.0
        value = 0.0
        for h in range(hubs):
            material = s.hub_mat[h, m]
            quantity += on_hand(material) + inbound(material) - material.need
            value += material.value
            for ring in range(INBOUND_DAYS):
                value += material.inbound_value[ring]
        for d in range(s.depot_mat.shape[0]):
            depot = s.depot_mat[d, m]
            quantity += in_depot(depot)
            value += depot.value
            if revision_ahead(s, w.mat[m].design):
                continue  # what the supplier still has to deliver comes in the new design
            quantity += depot.on_order
            for i in range(depot.orders):
                order = s.supplier_order[d, m, i]
                value += order.quantity * order.price
        if quantity > x.need[m] and quantity > 0.0:
            beyond = value * (quantity - x.need[m]) / quantity
            post(s, platform, Line.settlement, beyond * (1.0 - w.scenario[0].inventory.salvage))
    for p in range(w.par[0].products):
        units = 0.0
        value = 0.0
        for h in range(hubs):
            goods = s.hub_prod[h, p]
            units += goods.finished
            value += goods.value
            for stage in range(len(goods.wip)):
                units += goods.wip[stage]
            value += goods.wip_value
        if units > x.row_units[p]:
            beyond = value * (units - x.row_units[p]) / units
            post(s, platform, Line.settlement, beyond * (1.0 - w.scenario[0].inventory.salvage))
    clock.settlement = s.ledger[platform, Line.settlement] - before
