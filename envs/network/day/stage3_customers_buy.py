"""Stage 3, the customer market: a reverse auction of lots and tenders among the hubs (model §4).

A hub's bid is a mark-up on its own estimated production cost; delivery is paid at cost on top. Offers are ranked
by landed score = bid + delivery + expected lateness, all EUR a unit, and filled from the best down, each hub at
most its available-to-promise units.
"""

from __future__ import annotations

import numpy as np

from fabmesh.envs.network.books.accounts import Event, Line
from fabmesh.envs.network.books.ledger import post
from fabmesh.envs.network.books.ranking import rank_by_bucket, rank_by_key
from fabmesh.envs.network.books.state import Scratch, State
from fabmesh.envs.network.books.tables import TENDER, Tables
from fabmesh.envs.network.books.work_content import machine_h_longest
from fabmesh.envs.network.compiler.kernel import kernel
from fabmesh.envs.network.compiler.rng import STREAM_ORDER, combine, day_key, uniform
from fabmesh.envs.network.day.stage3_awards import audit_award, award, lowest_losing_score
from fabmesh.envs.network.day.stage3_offers import ceiling_of, landed_score, lot_terms
from fabmesh.envs.network.day.stage3_promises import available_to_promise, build_room, promise_days
from fabmesh.envs.network.interface.actions import BID, TENDER_BID, level
from fabmesh.envs.network.mechanisms.payment import SECOND_PRICE, pay_uniform_price


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
def auction_lots(w: Tables, s: State, x: Scratch) -> None:
    """Lots are taken in tape-random order and filled by the best standing bids.

    Without the platform each hub serves what its own town asks for (model §4).
    """
    day = s.clock[0].day
    second_price = w.scenario[0].market.payment == SECOND_PRICE
    own_town_only = s.outside[0].platform_until > day
    tie_key = day_key(s.clock[0].seed, STREAM_ORDER, -1 - day)
    book = s.order.shape[1]
    take_in_random_order(s, x, s.lot, s.clock[0].lots)
    for n in range(s.clock[0].lots):
        lot = s.lot[x.rank[n]]
        lane, makers = w.row[lot.row].lane, w.row[lot.row].makers
        ceiling = ceiling_of(w, lot)
        terms = lot_terms(w, lot)
        offers = 0
        winners = 0
        for i in range(w.asked_from[makers, lot.town], w.asked_from[makers, lot.town + 1]):
            hub = w.asked[i]
            if own_town_only and hub.own_town == 0:
                continue
            h = hub.hub
            score, bid = landed_score(w, s, x, h, lot, terms, x.asks[h, lane], hub.van_stop)
            x.bidder[offers], x.score[offers], x.bid[offers] = h, score, bid
            offers += 1 if score <= ceiling else 0  # who bids is a coin's toss: no branch to guess wrong
        while lot.units > 0 and offers > 0:
            best, score = 0, x.score[0]
            for i in range(1, offers):
                better = x.score[i] < score
                if x.score[i] == score:
                    one, other = w.hub_key[x.bidder[i]], w.hub_key[x.bidder[best]]
                    better = uniform(tie_key, combine(lot.key, one)) < uniform(tie_key, combine(lot.key, other))
                best, score = (i, x.score[i]) if better else (best, score)
            h, bid = x.bidder[best], x.bid[best]
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
    second_price = w.scenario[0].market.payment == SECOND_PRICE
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
            van = w.van_stop[h, tender.town]
            score, bid = landed_score(w, s, x, h, tender, terms, 1.0 + w.bid_level[markup], van)
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
                s.events[Event.tenders_won] += 1.0
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
            post(s, platform, Line.lost, lot.units * lot.price * (1.0 + w.scenario[0].market.goodwill))
            s.events[Event.units_lost] += lot.units
            if w.row[lot.row].kind == TENDER:
                s.events[Event.tenders_lost] += 1.0
            continue
        if kept != i:
            table[kept] = lot
        kept += 1
    return kept


@kernel
def customer_market(w: Tables, s: State, x: Scratch, action: np.ndarray) -> None:
    """All of stage 3."""
    smoothing = w.scenario[0].inventory.smoothing
    platform_up = s.outside[0].platform_until <= s.clock[0].day
    for h in range(len(w.hub_town)):
        for k in range(len(w.tech)):
            lane = s.hub_tech[h, k]
            if platform_up:  # without it the last standing bid stands
                lane.bid = level(action, h, w.hub_slot[BID], w.hub_fixed[BID], k)
            asks = lane.bid > 0 and s.hub[h].down_until <= s.clock[0].day
            x.asks[h, k] = 1.0 + w.bid_level[lane.bid] if asks else np.inf
            lane.won_h *= 1.0 - smoothing
            lane.offered_h *= 1.0 - smoothing
    for i in range(s.clock[0].lots):
        lot = s.lot[i]
        hours = lot.units * machine_h_longest(w, lot.row, lot.price)
        lane, makers = w.row[lot.row].lane, w.row[lot.row].makers
        for n in range(w.asked_from[makers, lot.town], w.asked_from[makers, lot.town + 1]):
            s.hub_tech[w.asked[n].hub, lane].offered_h += hours
    build_room(w, s, x)
    auction_lots(w, s, x)
    if platform_up:
        auction_tenders(w, s, x, action)
    s.clock[0].lots = lose_or_keep(w, s, s.lot, s.clock[0].lots)
    s.clock[0].tenders = lose_or_keep(w, s, s.tender, s.clock[0].tenders)
