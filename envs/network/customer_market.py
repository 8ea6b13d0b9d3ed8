"""Stage 3, the customer market: a reverse auction of lots and tenders among the hubs (model §4).

A hub's bid is a mark-up on its own estimated production cost; delivery is paid at cost on top. Offers are ranked
by landed score = bid + delivery + expected lateness, all EUR a unit, and filled from the best down, each hub at
most its available-to-promise units.
"""

from __future__ import annotations

import numpy as np

from fabmesh.envs.network.actions import BID, TENDER_BID, level
from fabmesh.envs.network.carbon import stop_co2e
from fabmesh.envs.network.kernel import kernel
from fabmesh.envs.network.ledger import post, write_off
from fabmesh.envs.network.payment import pay_uniform_price
from fabmesh.envs.network.people import commit_absence
from fabmesh.envs.network.quality import returns_to_expect
from fabmesh.envs.network.rng import STREAM_ORDER, combine, day_key, uniform
from fabmesh.envs.network.state import (
    E_AWARD_COST,
    E_AWARD_LEAST,
    E_AWARD_LEFT,
    E_LOST,
    E_REANNOUNCED,
    E_TENDERS_LOST,
    E_TENDERS_WON,
    LOST,
    Scratch,
    State,
)
from fabmesh.envs.network.tables import HORIZON, TENDER, Tables
from fabmesh.envs.network.upkeep import commit_repairs


@kernel
def machine_h(w: Tables, row: int, stage: int, price: float) -> float:
    """Machine hours a unit needs at a stage."""
    return w.row[row].machine0[stage] + w.row[row].machine1[stage] * price


@kernel
def labour_h(w: Tables, row: int, stage: int, price: float) -> float:
    """Labour hours a unit needs at a stage, tending included."""
    return w.row[row].labour0[stage] + w.row[row].labour1[stage] * price


@kernel
def bom_quantity(w: Tables, row: int, line: int, price: float) -> float:
    """Quantity of a line of the bill of materials for a unit."""
    return w.row[row].bom0[line] + w.row[row].bom1[line] * price


@kernel
def parcel_cost(w: Tables, row: int, price: float, units_a_stop: float) -> float:
    """EUR a customer stop by parcel (F§1.1)."""
    return w.par[0].parcel + w.par[0].parcel_kg * parcel_weight(w, row, price, units_a_stop)


@kernel
def parcel_weight(w: Tables, row: int, price: float, units_a_stop: float) -> float:
    """Chargeable kg of the goods of a customer stop as a parcel (F§1.2)."""
    r = w.row[row]
    kg = (r.kg0 + r.kg1 * price) * units_a_stop
    litres = (r.litres0 + r.litres1 * price) * units_a_stop
    return max(kg, litres / w.par[0].parcel_litres_per_kg)


@kernel
def delivery_cost(w: Tables, h: int, town: int, parcel: float) -> float:
    """EUR a customer stop: the cheaper of own van and parcel."""
    return min(w.van_stop[h, town], parcel)


@kernel
def units_per_stop(w: Tables, row: int, units: int) -> float:
    """Units of one customer stop; a tender is one delivery."""
    if w.row[row].kind == TENDER:
        return np.float64(units)
    return min(w.row[row].per_stop, np.float64(units))


@kernel
def delivery_days(w: Tables, h: int, town: int) -> int:
    """Days from shipping to the customer; beyond the van's day a parcel takes two."""
    return 2 if w.town_km[h, town] > w.par[0].parcel_two_days_km else 1


@kernel
def estimate_costs(w: Tables, s: State) -> None:
    """Each hub's estimate of a unit's cost: material at the last quoted price, machine and labour hours."""
    for h in range(len(w.hub_town)):
        for r in range(len(w.row)):
            row = w.row[r]
            constant = 0.0
            per_eur = 0.0
            for i in range(row.stages):
                k = row.tech[i]
                rate, learned = w.tech[k].rate + w.tech[k].energy, s.hub_tech[h, k].learned
                constant += row.machine0[i] * rate + row.labour0[i] * learned * w.par[0].wage
                per_eur += row.machine1[i] * rate + row.labour1[i] * learned * w.par[0].wage
            for i in range(row.bom):
                quote = s.hub_mat[h, row.bom_material[i]].quote
                constant += row.bom0[i] * quote
                per_eur += row.bom1[i] * quote
            s.unit_cost[h, r, 0] = constant
            s.unit_cost[h, r, 1] = per_eur


@kernel
def lot_terms(w: Tables, lot: np.void) -> tuple[float, float, float]:
    """What is the same for every hub that looks at a lot: set-up share, units a stop, parcel cost a stop."""
    a_stop = units_per_stop(w, lot.row, lot.units)
    return w.row[lot.row].setup_eur / lot.units, a_stop, parcel_cost(w, lot.row, lot.price, a_stop)


@kernel
def ceiling_of(w: Tables, lot: np.void) -> float:
    """The highest landed score that the customer takes, EUR a unit: the row's rule, or what a recorded order says."""
    return lot.ceiling if lot.ceiling > 0.0 else w.row[lot.row].ceiling * lot.price


@kernel
def own_cost(s: State, h: int, lot: np.void, setup_share: float) -> float:
    """A hub's estimated production cost of a unit of a lot, EUR, set-up share included."""
    return s.unit_cost[h, lot.row, 0] + s.unit_cost[h, lot.row, 1] * lot.price + setup_share


@kernel
def stage_offset(w: Tables, row: int, stage: int, days: int) -> int:
    """Last day (0 = today) on which a stage can be worked for goods that must ship in `days` days."""
    offset = days - (w.row[row].stages - 1 - stage)
    return min(offset, HORIZON - 1)


@kernel
def free_hours(x: Scratch, h: int, resource: int) -> None:
    """Hours that can be promised until a day: the least room of it and of every later day, whose promises count too."""
    free = x.room[h, resource, HORIZON - 1]
    x.free[h, resource, HORIZON - 1] = free
    for back in range(2, HORIZON + 1):
        free = min(free, x.room[h, resource, HORIZON - back])
        x.free[h, resource, HORIZON - back] = free


@kernel
def commit(w: Tables, x: Scratch, h: int, row: int, stage: int, days: int, machine: float, labour: float) -> None:
    """Takes hours of a stage from the room of every day from its last day on."""
    k = w.row[row].tech[stage]
    people = len(w.tech)
    first = max(stage_offset(w, row, stage, days), 0)
    take_hours(x, h, k, first, machine)
    take_hours(x, h, people, first, labour)


@kernel
def take_hours(x: Scratch, h: int, resource: int, first: int, hours: float) -> None:
    """Takes hours from a day on. The least of days that all lose the same falls by just that; earlier days see it."""
    free = x.free[h, resource]
    for d in range(HORIZON):  # all of it: straight vector code
        free[d] -= hours if d >= first else 0.0
    for back in range(first):
        d = first - 1 - back
        if free[d] <= free[d + 1]:  # an earlier day binds: those before it stay as they are
            break
        free[d] = free[d + 1]


@kernel
def build_room(w: Tables, s: State, x: Scratch) -> None:
    """Hours free per hub, resource and day: capacity until the day less hours committed until it.

    With them what else is the same for all lots of the day: open orders and each hub's record per row.
    """
    day = s.clock[0].day
    people = len(w.tech)
    for h in range(len(w.hub_town)):
        for k in range(people):
            x.learned[h, k] = s.hub_tech[h, k].learned
        lateness = lateness_record(w, s, h)
        for r in range(len(w.row)):
            x.open_rows[h, r] = 0
            x.record[h, r] = lateness
            if w.par[0].quality_weight > 0.0:
                x.record[h, r] += w.par[0].quality_weight * returns_to_expect(w, s, h, r)
        for k in range(people + 1):
            for d in range(HORIZON):
                x.room[h, k, d] = 0.0
        for i in range(s.hub[h].orders):
            o = s.order[h, i]
            x.open_rows[h, o.row] += 1
            days = o.due - day - delivery_days(w, h, o.town)
            units = 0
            for stage in range(w.row[o.row].stages):
                units += o.todo[stage]  # what waits for an earlier stage must also pass this one
                if units > 0:
                    d = max(stage_offset(w, o.row, stage, days), 0)
                    k = w.row[o.row].tech[stage]
                    x.room[h, k, d] += units * machine_h(w, o.row, stage, o.price)
                    x.room[h, people, d] += units * (labour_h(w, o.row, stage, o.price) * x.learned[h, k])
        if w.par[0].people == 1:
            commit_absence(w, s, x, h)
        if w.par[0].upkeep == 1:
            commit_repairs(w, s, x, h)
        overtime = s.hub[h].overtime
        for k in range(people + 1):
            if k < people:
                capacity = w.hub_hours[h, k]
                extra = overtime * capacity if w.tech[k].overtime == 1 else 0.0
                extra += s.hub_tech[h, k].carry_h
            else:
                capacity = w.hub_people[h] * w.par[0].hours_per_day
                extra = overtime * capacity + s.hub[h].labour_carry_h
            committed = 0.0
            for d in range(HORIZON):
                committed += x.room[h, k, d]
                x.room[h, k, d] = (d + 1) * capacity + extra - committed
            free_hours(x, h, k)


@kernel
def available_to_promise(w: Tables, x: Scratch, h: int, row: int, price: float, days: int, wanted: int) -> int:
    """Units that can ship within `days` days without breaking a promise already given, at most `wanted`.

    The least over the technologies and labour the row needs of hours free / hours a unit (model §4).
    """
    people = len(w.tech)
    units = wanted
    labour = 0.0
    setups = 0.0
    for stage in range(w.row[row].stages):
        first = stage_offset(w, row, stage, days)
        if first < 0:
            return 0
        k = w.row[row].tech[stage]
        setup = w.tech[k].setup_h if x.open_rows[h, row] == 0 else 0.0
        setups += setup
        labour += labour_h(w, row, stage, price) * x.learned[h, k]
        need = machine_h(w, row, stage, price)
        if need > 0.0:
            units = min(units, int(max(x.free[h, k, first] - setup, 0.0) / need))
            if units == 0:
                return 0
    if labour > 0.0:
        last = min(days, HORIZON - 1)
        units = min(units, int(max(x.free[h, people, last] - setups, 0.0) / labour))
    return units


@kernel
def lateness_rate(w: Tables, days_late: int) -> float:
    """Share of the price charged for so many days beyond the due day (F§5)."""
    return min(w.par[0].late_cap, w.par[0].late_per_day * max(days_late - w.par[0].late_grace_d, 0))


@kernel
def lateness_record(w: Tables, s: State, h: int) -> float:
    """Lateness to expect of a hub, share of price: its smoothed charges per EUR delivered, times the weight."""
    hub = s.hub[h]
    record = hub.late_eur / hub.price_eur if hub.price_eur > 1.0 else 0.0
    return w.par[0].reputation_weight * min(record, w.par[0].late_cap)


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
    order.accrued, order.inherited = 0, 0
    if lot.again == 1:
        order.inherited = max(day + 1 - lot.due - w.par[0].late_grace_d, 0)
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
def machine_h_longest(w: Tables, row: int, price: float) -> float:
    """Machine hours of a unit on its lane."""
    hours = 0.0
    for stage in range(w.row[row].stages):
        if w.row[row].tech[stage] == w.row[row].lane:
            hours += machine_h(w, row, stage, price)
    return hours


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
        s.events[E_REANNOUNCED] += order.open
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
def promise_days(w: Tables, lot: np.void, h: int, day: int) -> int:
    """Days until a lot must ship. What is announced again may be promised late: soon is then better than never."""
    days = lot.due - day - delivery_days(w, h, lot.town)
    if lot.again == 1:
        days = max(days, w.row[lot.row].stages + 1)
    return days


@kernel
def rank_by_bucket(x: Scratch, count: int) -> None:
    """Counting sort: items 0 .. count - 1 into `x.rank` by `x.bucket`; items of a bucket keep their order."""
    ends = x.bucket_end
    for i in range(len(ends)):
        ends[i] = 0
    for i in range(count):
        ends[x.bucket[i]] += 1
    total = 0
    for i in range(len(ends)):
        here = ends[i]
        ends[i] = total
        total += here
    for i in range(count):
        x.rank[ends[x.bucket[i]]] = i
        ends[x.bucket[i]] += 1


@kernel
def rank_by_key(x: Scratch, count: int) -> None:
    """Insertion sort of `x.rank` by `x.rank_key`: stable, in place, quick where little is out of order."""
    for i in range(1, count):
        item = x.rank[i]
        key = x.rank_key[item]
        j = i
        while j > 0 and x.rank_key[x.rank[j - 1]] > key:
            x.rank[j] = x.rank[j - 1]
            j -= 1
        x.rank[j] = item


@kernel
def take_in_random_order(s: State, x: Scratch, table: np.ndarray, count: int) -> None:
    """Ranks lots by a primitive of (day, order): which is taken first does not depend on how they are stored."""
    key = day_key(s.clock[0].seed, STREAM_ORDER, s.clock[0].day)
    buckets = len(x.bucket_end)
    for i in range(count):
        x.rank_key[i] = uniform(key, table[i].key)
        x.bucket[i] = int(x.rank_key[i] * buckets)
    rank_by_bucket(x, count)
    rank_by_key(x, count)


@kernel
def landed_score(
    w: Tables,
    s: State,
    x: Scratch,
    h: int,
    lot: np.void,
    terms: tuple[float, float, float],
    markup: float,
) -> tuple[float, float]:
    """(landed score, bid) of a hub for a lot, EUR a unit."""
    setup_share, a_stop, parcel = terms
    bid = (1.0 + markup) * own_cost(s, h, lot, setup_share)
    score = bid + delivery_cost(w, h, lot.town, parcel) / a_stop
    score += x.record[h, lot.row] * lot.price
    if lot.again == 1:
        day = s.clock[0].day
        ships = promise_days(w, lot, h, day) + day + delivery_days(w, h, lot.town)
        score += lot.price * lateness_rate(w, ships - lot.due)
    if w.par[0].carbon_weight > 0.0:
        row = w.row[lot.row]
        delivery = stop_co2e(w, h, lot.town, parcel, parcel_weight(w, lot.row, lot.price, a_stop)) / a_stop
        score += w.par[0].carbon_weight * (row.co2e0 + row.co2e1 * lot.price + delivery)
    return score, bid


@kernel
def true_cost(w: Tables, s: State, x: Scratch, h: int, lot: np.void, terms: tuple[float, float, float]) -> float:
    """What a unit of a lot costs at a hub, EUR: production, set-ups if it has no open order of the row, delivery."""
    setup_share, a_stop, parcel = terms
    cost = own_cost(s, h, lot, setup_share if x.open_rows[h, lot.row] == 0 else 0.0)
    return cost + delivery_cost(w, h, lot.town, parcel) / a_stop


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
    for i in range(w.reach.shape[1]):
        other = int(w.reach[lot.town, i])
        if other < 0:
            break
        if other == h or w.hub_can[other, lot.row] == 0 or s.hub[other].down_until > day:
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
    s.events[E_AWARD_COST] += units * won
    s.events[E_AWARD_LEAST] += units * least
    s.events[E_AWARD_LEFT] += units * left


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


@kernel
def auction_lots(w: Tables, s: State, x: Scratch) -> None:
    """Lots are taken in tape-random order and filled by the best standing bids.

    Without the platform each hub serves what its own town asks for (model §4).
    """
    day = s.clock[0].day
    second_price = w.par[0].second_price == 1
    own_town_only = s.outside[0].platform_until > day
    tie_key = day_key(s.clock[0].seed, STREAM_ORDER, -1 - day)
    book = s.order.shape[1]
    take_in_random_order(s, x, s.lot, s.clock[0].lots)
    for n in range(s.clock[0].lots):
        lot = s.lot[x.rank[n]]
        lane = w.row[lot.row].lane
        ceiling = ceiling_of(w, lot)
        terms = lot_terms(w, lot)
        offers = 0
        winners = 0
        for i in range(w.reach.shape[1]):
            h = w.reach[lot.town, i]
            if h < 0:
                break
            markup = s.hub_tech[h, lane].bid
            asked = (markup > 0) & (w.hub_can[h, lot.row] == 1) & (s.hub[h].down_until <= day)
            asked &= (not own_town_only) | (w.hub_town[h] == lot.town)
            score, bid = landed_score(w, s, x, h, lot, terms, w.bid_level[markup])
            x.bidder[offers], x.score[offers], x.bid[offers] = h, score, bid
            offers += 1 if asked & (score <= ceiling) else 0  # who bids is a coin's toss: no branch to guess wrong
        while lot.units > 0 and offers > 0:
            best = 0
            for i in range(1, offers):
                better = x.score[i] < x.score[best]
                if x.score[i] == x.score[best]:
                    one, other = w.hub_key[x.bidder[i]], w.hub_key[x.bidder[best]]
                    better = uniform(tie_key, combine(lot.key, one)) < uniform(tie_key, combine(lot.key, other))
                best = i if better else best
            h, bid, score = x.bidder[best], x.bid[best], x.score[best]
            offers -= 1
            x.bidder[best], x.score[best] = x.bidder[offers], x.score[offers]
            x.bid[best] = x.bid[offers]
            if s.hub[h].orders == book:
                continue
            days = promise_days(w, lot, h, day)
            units = 0
            if lot.row < w.par[0].products and days >= 0:
                units = min(lot.units, s.hub_prod[h, lot.row].finished)
            units += available_to_promise(w, x, h, lot.row, lot.price, days, lot.units - units)
            if units > 0:
                if w.par[0].audit == 1:
                    rival = ceiling
                    for i in range(offers):
                        rival = min(rival, x.score[i])
                    audit_award(w, s, x, h, lot, units, terms, rival - score)
                award(w, s, x, h, lot, units, bid, days)
                lot.units -= units
                x.winner[winners], x.terms[winners] = h, score - bid
                winners += 1
        if second_price and winners > 0:
            pay_uniform_price(s, x, winners, lowest_losing_score(w, s, x, lot, offers, -1, 1, ceiling))


@kernel
def auction_tenders(w: Tables, s: State, x: Scratch, action: np.ndarray) -> None:
    """Tenders after the lots: one winner takes the whole; its hours fall before the next tender is decided."""
    day = s.clock[0].day
    second_price = w.par[0].second_price == 1
    tie_key = day_key(s.clock[0].seed, STREAM_ORDER, -1 - day)
    book = s.order.shape[1]
    take_in_random_order(s, x, s.tender, s.clock[0].tenders)
    for n in range(s.clock[0].tenders):
        index = x.rank[n]
        tender = s.tender[index]
        terms = lot_terms(w, tender)
        best = -1
        ceiling = ceiling_of(w, tender)
        offers = 0
        best_score = ceiling
        best_bid = 0.0
        rival = best_score  # next best bid, or the ceiling
        for h in range(len(w.hub_town)):
            if s.hub[h].down_until > day or s.hub[h].orders == book:
                continue
            markup = 0
            for i in range(s.slot.shape[1]):
                if s.slot[h, i] == index:
                    markup = level(action, h, w.hub_slot[TENDER_BID], w.hub_fixed[TENDER_BID], i)
            if markup == 0:
                continue
            score, bid = landed_score(w, s, x, h, tender, terms, w.bid_level[markup])
            if second_price and score <= ceiling:
                x.bidder[offers], x.score[offers] = h, score
                offers += 1
            beaten = score > best_score
            if score == best_score and best >= 0:
                one, other = w.hub_key[h], w.hub_key[best]
                beaten = uniform(tie_key, combine(tender.key, one)) >= uniform(tie_key, combine(tender.key, other))
            if beaten:
                rival = min(rival, score)
                continue
            days = promise_days(w, tender, h, day)
            if available_to_promise(w, x, h, tender.row, tender.price, days, tender.units) == tender.units:
                rival = best_score
                best, best_score, best_bid = h, score, bid
        if best >= 0:
            if w.par[0].audit == 1:
                audit_award(w, s, x, best, tender, tender.units, terms, rival - best_score)
            award(w, s, x, best, tender, tender.units, best_bid, promise_days(w, tender, best, day))
            if second_price:
                x.winner[0], x.terms[0] = best, best_score - best_bid
                level_eur = lowest_losing_score(w, s, x, tender, offers, best, tender.units, ceiling)
                pay_uniform_price(s, x, 1, level_eur)
            if tender.again == 0:
                s.events[E_TENDERS_WON] += 1.0
            tender.units = 0


@kernel
def lose_or_keep(w: Tables, s: State, table: np.ndarray, count: int) -> int:
    """Unserved lots wait for the customer's patience, then go to the centralised channel. Returns how many stay."""
    day = s.clock[0].day
    platform = s.ledger.shape[0] - 1
    kept = 0
    for i in range(count):
        lot = table[i]
        if lot.units == 0:
            continue
        if day >= lot.last_day:
            post(s, platform, LOST, lot.units * lot.price * (1.0 + w.par[0].goodwill))
            s.events[E_LOST] += lot.units
            if w.row[lot.row].kind == TENDER:
                s.events[E_TENDERS_LOST] += 1.0
            continue
        if kept != i:
            table[kept] = lot
        kept += 1
    return kept


@kernel
def customer_market(w: Tables, s: State, x: Scratch, action: np.ndarray) -> None:
    """All of stage 3."""
    smoothing = w.par[0].smoothing
    platform_up = s.outside[0].platform_until <= s.clock[0].day
    for h in range(len(w.hub_town)):
        for k in range(len(w.tech)):
            lane = s.hub_tech[h, k]
            if platform_up:  # without it the last standing bid stands
                lane.bid = level(action, h, w.hub_slot[BID], w.hub_fixed[BID], k)
            lane.won_h *= 1.0 - smoothing
            lane.offered_h *= 1.0 - smoothing
    for i in range(s.clock[0].lots):
        lot = s.lot[i]
        hours = lot.units * machine_h_longest(w, lot.row, lot.price)
        for n in range(w.reach.shape[1]):
            h = w.reach[lot.town, n]
            if h < 0:
                break
            if w.hub_can[h, lot.row] == 1:
                s.hub_tech[h, w.row[lot.row].lane].offered_h += hours
    build_room(w, s, x)
    auction_lots(w, s, x)
    if platform_up:
        auction_tenders(w, s, x, action)
    s.clock[0].lots = lose_or_keep(w, s, s.lot, s.clock[0].lots)
    s.clock[0].tenders = lose_or_keep(w, s, s.tender, s.clock[0].tenders)
