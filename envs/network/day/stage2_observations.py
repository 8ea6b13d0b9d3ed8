"""What each agent sees, and the compact state of the whole network for a central critic.

The kernels write the blocks of `interface.features`, each to its place by name (`Layout`), straight into preallocated
float32 arrays, clipped to [-10, 10].
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from fabmesh.envs.network.books.last_mile import delivery_cost, delivery_days
from fabmesh.envs.network.books.state import Scratch, State
from fabmesh.envs.network.books.stock import in_depot, note_oldest, on_hand
from fabmesh.envs.network.books.tables import Tables
from fabmesh.envs.network.books.work_content import bom_quantity, labour_h, machine_h, machine_h_longest
from fabmesh.envs.network.compiler.kernel import kernel
from fabmesh.envs.network.day.stage1_disruptions import (
    price_factor,
    write_depot_flags,
    write_hub_flags,
    write_state_flags,
)
from fabmesh.envs.network.day.stage3_offers import ceiling_of, lot_terms
from fabmesh.envs.network.day.stage4_hubs_buy import base_rate, inbound
from fabmesh.envs.network.day.stage5_depots_buy import depot_base_rate, discounted_price
from fabmesh.envs.network.mechanisms.upkeep import hours_lost
from fabmesh.envs.network.schema.scenario import WORKING_DAYS_PER_WEEK, WORKING_DAYS_PER_YEAR

CLIP = 10.0


@kernel
def clip(value: float) -> float:
    """Clips to the bounds of the observation space."""
    return min(max(value, -CLIP), CLIP)


@kernel
def ratio(numerator: float, denominator: float) -> float:
    """Quotient of order one; 0 where there is nothing to compare with."""
    return clip(numerator / denominator) if denominator > 1e-9 else 0.0


@kernel
def notice_share(w: Tables, s: State, product: int) -> float:
    """1 - days to an announced revision / notice; 0 when none is announced."""
    if product < 0 or s.revision[product] <= s.clock[0].day:
        return 0.0
    return 1.0 - (s.revision[product] - s.clock[0].day) / (w.scenario[0].demand.revision_notice_d + 1.0)


@kernel
def own_margin(
    s: State, h: int, row: int, price: float, ceiling: float, terms: tuple[float, float, float], van: float
) -> float:
    """(Ceiling - delivery) / own production cost - 1: the mark-up at which a lot just breaks its ceiling."""
    setup_share, a_stop, parcel = terms
    room = ceiling - delivery_cost(van, parcel) / a_stop
    return ratio(room, s.unit_cost[h, row, 0] + s.unit_cost[h, row, 1] * price + setup_share) - 1.0


@kernel
def write_loads(w: Tables, s: State, x: Scratch) -> None:
    """Committed hours per hub and resource into `x.load`, hours of its machines' repairs into `x.lost_h`."""
    day = s.clock[0].day
    people = len(w.tech)
    for h in range(len(w.hub_town)):
        for k in range(people + 1):
            x.load[h, k].all_h, x.load[h, k].near_h = 0.0, 0.0
            if w.scenario[0].upkeep.enabled == 1 and k < people:
                x.lost_h[h, k] = hours_lost(w, s, h, k, 0)
        for i in range(s.hub[h].orders):
            o = s.order[h, i]
            near = o.due - day <= 2
            units = 0
            for stage in range(w.row[o.row].stages):
                units += o.todo[stage]
                k = w.row[o.row].tech[stage]
                machine = units * machine_h(w, o.row, stage, o.price)
                labour = units * (labour_h(w, o.row, stage, o.price) * s.hub_tech[h, k].learned)
                x.load[h, k].all_h += machine
                x.load[h, people].all_h += labour
                if near:
                    x.load[h, k].near_h += machine
                    x.load[h, people].near_h += labour


@kernel
def write_offers(w: Tables, s: State, x: Scratch) -> None:
    """Open lots per hub and lane into `x.load`, and the hours of all open lots per lane into `x.lane_h`."""
    for h in range(len(w.hub_town)):
        for k in range(len(w.tech)):
            x.load[h, k].offered_h, x.load[h, k].own_town_h, x.load[h, k].margin_h = 0.0, 0.0, 0.0
    for k in range(len(w.tech)):
        x.lane_h[k] = 0.0
    for i in range(s.clock[0].lots):
        lot = s.lot[i]
        row, town, price = lot.row, lot.town, lot.price  # read once: for all the compiler knows, a sum changes them
        hours = lot.units * machine_h_longest(w, row, price)
        k, makers = w.row[row].lane, w.row[row].makers
        x.lane_h[k] += hours
        terms, ceiling = lot_terms(w, lot), ceiling_of(w, lot)
        for n in range(w.asked_from[makers, town], w.asked_from[makers, town + 1]):
            asked = w.asked[n]
            load = x.load[asked.hub, k]
            load.offered_h += hours
            load.own_town_h += hours * asked.own_town
            load.margin_h += hours * own_margin(s, asked.hub, row, price, ceiling, terms, asked.van_stop)


@kernel
def observe_hub(w: Tables, s: State, x: Scratch, h: int, out: NDArray[np.float32]) -> None:
    """Writes a hub's features."""
    at = w.hub_at[0]
    clock = s.clock[0]
    lanes, materials, products = len(w.tech), len(w.mat), w.par[0].products
    hub = s.hub[h]
    write_calendar(s, at.calendar, out)
    out[at.up] = 1.0 if hub.down_until <= clock.day else 0.0
    out[at.size] = clip(w.hub_people[h] / 10.0)
    out[at.size + 1] = w.population[w.hub_town[h]] / w.par[0].population
    nearest = w.depot_km[0, h] if w.depot_km.shape[0] > 0 else 0.0
    for d in range(w.depot_km.shape[0]):
        nearest = min(nearest, w.depot_km[d, h])
    out[at.depot_distance] = clip(nearest / 100.0)
    for k in range(lanes):
        capacity = w.hub_hours[h, k]
        lane, load = s.hub_tech[h, k], x.load[h, k]
        out[at.has_lane + k] = 1.0 if capacity > 0.0 else 0.0
        out[at.lane_load + k] = ratio(load.all_h, 5.0 * capacity)
        out[at.lane_load_near + k] = ratio(load.near_h, 2.0 * capacity)
        out[at.lane_offer + k] = ratio(load.offered_h, capacity)
        out[at.lane_local + k] = ratio(load.own_town_h, load.offered_h)
        out[at.lane_margin + k] = ratio(load.margin_h, load.offered_h)
        out[at.lane_won + k] = ratio(lane.won_h, lane.offered_h)
    labour = w.hub_people[h] * w.scenario[0].labour.hours_per_day
    out[at.labour_load] = ratio(x.load[h, lanes].all_h, 5.0 * labour)
    out[at.labour_load + 1] = ratio(x.load[h, lanes].near_h, 2.0 * labour)
    out[at.late_share] = ratio(np.float64(hub.late_units), np.float64(hub.open_units))
    out[at.reputation] = ratio(10.0 * hub.late_eur, hub.price_eur) if hub.price_eur > 1.0 else 0.0
    observe_tenders(w, s, h, out)
    for m in range(materials):
        material = s.hub_mat[h, m]
        rate = base_rate(w, s, h, m)
        stock = on_hand(material)
        x.stock[h, m], x.coming[h, m] = stock, inbound(material)
        old = material.opened if w.mat[m].floor_d > 0 else 0.0
        if w.mat[m].class_d > 0:
            old += material.sealed[x.oldest[m]]
        out[at.stock_cover + m] = ratio(stock, 10.0 * rate)
        out[at.inbound_cover + m] = ratio(x.coming[h, m], 10.0 * rate)
        out[at.book_need + m] = ratio(material.need, 10.0 * rate)
        out[at.ageing + m] = ratio(old, stock)
        out[at.use_rate + m] = clip(ratio(material.use_rate, w.hub_use[h, m]) - 1.0)
        out[at.quote + m] = clip(ratio(material.quote, w.mat[m].bulk) - 1.0)
        out[at.in_stock + m] = material.in_stock
        out[at.kit_notice + m] = notice_share(w, s, w.mat[m].design)
    for p in range(products):
        goods = s.hub_prod[h, p]
        least = w.scenario[0].inventory.catchment_floor * w.hub_rate[h, p]
        out[at.finished_cover + p] = ratio(np.float64(goods.finished), 5.0 * max(goods.rate, least))
        out[at.revision_notice + p] = notice_share(w, s, p)
        out[at.product_rate + p] = clip(ratio(goods.rate, w.hub_rate[h, p]) - 1.0)
    if at.people >= 0:
        out[at.people], out[at.people + 1] = hub.present / w.hub_people[h], hub.staff / w.hub_people[h]
    if at.wear >= 0:
        write_machines(w, s, x, h, at.wear, at.machines_up, out)
    if at.calibration >= 0:
        for k in range(lanes):
            out[at.calibration + k] = clip(math.sqrt(s.hub_tech[h, k].bias_var))
            out[at.scrap_share + k] = s.hub_tech[h, k].scrap_share
        for m in range(materials):
            out[at.unqualified + m] = share_of(s.hub_mat[h, m].unqualified, x.stock[h, m])
    if at.learned >= 0:
        for k in range(lanes):
            out[at.learned + k] = s.hub_tech[h, k].learned
        for p in range(products):
            out[at.qualifies + p] = 1.0 if s.hub_prod[h, p].qualifies > 0 else 0.0
    write_surges(w, s, at.surge, out)
    write_hub_flags(w, s, h, at, out)


@kernel
def share_of(part: float, whole: float) -> float:
    """A part of a stock as its share, between 0 and 1 whatever rounding says."""
    return min(ratio(part, whole), 1.0)


@kernel
def write_machines(
    w: Tables, s: State, x: Scratch, h: int, wear: int, machines_up: int, out: NDArray[np.float32]
) -> None:
    """Wear and machines up of a hub per technology, from these places on."""
    for k in range(len(w.tech)):
        out[wear + k] = ratio(s.hub_tech[h, k].wear_h, w.tech[k].mtbf_h)
        out[machines_up + k] = ratio(w.hub_hours[h, k] - x.lost_h[h, k], w.hub_hours[h, k])


@kernel
def write_calendar(s: State, first: int, out: NDArray[np.float32]) -> None:
    """Phase of the week and of the year."""
    day_of_year = s.clock[0].season_start + s.clock[0].day
    week = 2.0 * math.pi * (day_of_year % WORKING_DAYS_PER_WEEK) / WORKING_DAYS_PER_WEEK
    year = 2.0 * math.pi * (day_of_year % WORKING_DAYS_PER_YEAR) / WORKING_DAYS_PER_YEAR
    out[first], out[first + 1] = math.sin(week), math.cos(week)
    out[first + 2], out[first + 3] = math.sin(year), math.cos(year)


@kernel
def write_surges(w: Tables, s: State, first: int, out: NDArray[np.float32]) -> None:
    """The public notices of surges, one a product; none from -1."""
    if first >= 0:
        for p in range(w.par[0].products):
            out[first + p] = 1.0 if s.surge[p] > 1.0 else 0.0


@kernel
def observe_tenders(w: Tables, s: State, h: int, out: NDArray[np.float32]) -> None:
    """The tender slots of a hub; an empty one is all zeros."""
    at = w.hub_at[0]
    day = s.clock[0].day
    lanes = len(w.tech)
    for i in range(s.slot.shape[1]):
        one_hot = at.tender_lane + i * lanes
        for k in range(lanes):
            out[one_hot + k] = 0.0
        if s.slot[h, i] < 0:
            out[at.tender_present + i], out[at.tender_work + i], out[at.tender_due + i] = 0.0, 0.0, 0.0
            out[at.tender_margin + i], out[at.tender_distance + i], out[at.tender_material + i] = 0.0, 0.0, 0.0
            continue
        tender = s.tender[s.slot[h, i]]
        row = w.row[tender.row]
        days = max(tender.due - day - delivery_days(w, h, tender.town), 0) + 1
        hours = tender.units * machine_h_longest(w, tender.row, tender.price)
        out[at.tender_present + i] = 1.0
        out[at.tender_work + i] = ratio(hours, days * w.hub_hours[h, row.lane])
        out[at.tender_due + i] = clip((tender.due - day) / 15.0)
        terms, van = lot_terms(w, tender), w.van_stop[h, tender.town]
        margin = own_margin(s, h, tender.row, tender.price, ceiling_of(w, tender), terms, van)
        out[at.tender_margin + i] = clip(margin)
        out[at.tender_distance + i] = clip(w.town_km[h, tender.town] / 100.0)
        there = 1.0
        for line in range(row.bom):
            need = tender.units * bom_quantity(w, tender.row, line, tender.price)
            material = s.hub_mat[h, row.bom_material[line]]
            there = min(there, max(ratio(on_hand(material) - material.need, need), 0.0))
        out[at.tender_material + i] = there
        out[one_hot + row.lane] = 1.0


@kernel
def observe_depot(w: Tables, s: State, x: Scratch, d: int, out: NDArray[np.float32]) -> None:
    """Writes a depot's features."""
    at = w.depot_at[0]
    write_calendar(s, at.calendar, out)
    for m in range(len(w.mat)):
        depot = s.depot_mat[d, m]
        rate = depot_base_rate(w, s, d, m)
        stock = in_depot(depot)
        old = depot.stock[x.oldest[m]] if w.mat[m].class_d > 0 else 0.0
        lot_price = discounted_price(w, m, 20.0 * rate) * price_factor(w, s, m)
        out[at.stock_cover + m] = ratio(stock, 20.0 * rate)
        out[at.inbound_cover + m] = ratio(depot.on_order, 20.0 * rate)
        out[at.orders_under_way + m] = depot.orders / 4.0
        out[at.ageing + m] = ratio(old, stock)
        out[at.request_rate + m] = clip(ratio(depot.request_rate, w.depot_use[d, m]) - 1.0)
        out[at.fill + m] = depot.fill
        out[at.landed_cost + m] = clip(depot.landed / w.mat[m].bulk - 1.0)
        out[at.price_class + m] = clip(lot_price / w.mat[m].bulk - 1.0)
        out[at.kit_notice + m] = notice_share(w, s, w.mat[m].design)
        if at.unqualified >= 0:
            out[at.unqualified + m] = share_of(depot.unqualified, stock)
    write_surges(w, s, at.surge, out)
    write_depot_flags(w, s, d, at, out)


@kernel
def write_state(w: Tables, s: State, x: Scratch, out: NDArray[np.float32]) -> None:
    """The whole network compactly; uses the loads and stocks left in `x`."""
    at = w.state_at[0]
    hubs = len(w.hub_town)
    year = 2.0 * math.pi * ((s.clock[0].season_start + s.clock[0].day) % WORKING_DAYS_PER_YEAR) / WORKING_DAYS_PER_YEAR
    out[at.season], out[at.season + 1] = math.sin(year), math.cos(year)
    for k in range(len(w.tech)):
        capacity = 0.0
        for h in range(hubs):
            capacity += w.hub_hours[h, k]
        out[at.open_lots + k] = ratio(x.lane_h[k], capacity)
        hours = 0.0
        for n in range(s.clock[0].tenders):
            tender = s.tender[n]
            if w.row[tender.row].lane == k:
                hours += tender.units * machine_h_longest(w, tender.row, tender.price)
        out[at.open_tenders + k] = ratio(hours, capacity)
    for p in range(w.par[0].products):
        out[at.revision_notice + p] = notice_share(w, s, p)
    for h in range(hubs):
        write_hub_state(w, s, x, h, out)
    for d in range(len(w.depot_key)):
        write_depot_state(w, s, d, out)
    write_surges(w, s, at.surge, out)
    write_state_flags(w, s, at, out)


@kernel
def write_hub_state(w: Tables, s: State, x: Scratch, h: int, out: NDArray[np.float32]) -> None:
    """What the state says of a hub."""
    at = w.hub_state_at[h]
    lanes, materials = len(w.tech), len(w.mat)
    hub = s.hub[h]
    out[at.up] = 1.0 if hub.down_until <= s.clock[0].day else 0.0
    for k in range(lanes):
        out[at.lane_load + k] = ratio(x.load[h, k].all_h, 5.0 * w.hub_hours[h, k])
    out[at.labour_load] = ratio(x.load[h, lanes].all_h, 5.0 * w.hub_people[h] * w.scenario[0].labour.hours_per_day)
    out[at.late_share] = ratio(np.float64(hub.late_units), np.float64(hub.open_units))
    for m in range(materials):
        material = s.hub_mat[h, m]
        stock = x.stock[h, m]
        old = material.sealed[x.oldest[m]] if w.mat[m].class_d > 0 else 0.0
        out[at.position + m] = ratio(stock + x.coming[h, m] - material.need, 10.0 * w.hub_use[h, m])
        out[at.ageing + m] = ratio(old, stock)
    if at.present >= 0:
        out[at.present] = hub.present / w.hub_people[h]
    if at.wear >= 0:
        write_machines(w, s, x, h, at.wear, at.machines_up, out)
    if at.bias >= 0:
        for k in range(lanes):
            out[at.bias + k] = clip(abs(s.hub_tech[h, k].bias))
        for m in range(materials):
            out[at.bad + m] = share_of(s.hub_mat[h, m].bad, x.stock[h, m])
    if at.learned >= 0:
        for k in range(lanes):
            out[at.learned + k] = s.hub_tech[h, k].learned


@kernel
def write_depot_state(w: Tables, s: State, d: int, out: NDArray[np.float32]) -> None:
    """What the state says of a depot."""
    at = w.depot_state_at[d]
    for m in range(len(w.mat)):
        depot = s.depot_mat[d, m]
        out[at.stock + m] = ratio(in_depot(depot), 20.0 * w.depot_use[d, m])
        out[at.on_order + m] = ratio(depot.on_order, 20.0 * w.depot_use[d, m])
        out[at.landed_cost + m] = clip(depot.landed / w.mat[m].bulk - 1.0)
        if at.bad >= 0:
            out[at.bad + m] = share_of(depot.bad, in_depot(depot))


@kernel
def observe(
    w: Tables,
    s: State,
    x: Scratch,
    hub_out: NDArray[np.float32],
    depot_out: NDArray[np.float32],
    state_out: NDArray[np.float32],
) -> None:
    """Writes all observations and the state of the network."""
    note_oldest(w, x, s.clock[0].day)
    write_loads(w, s, x)
    write_offers(w, s, x)
    for h in range(hub_out.shape[0]):
        observe_hub(w, s, x, h, hub_out[h])
    for d in range(depot_out.shape[0]):
        observe_depot(w, s, x, d, depot_out[d])
    write_state(w, s, x, state_out)
