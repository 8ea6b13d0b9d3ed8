"""The customer market against a slow reference in plain Python: who is awarded what."""

import math
import random
from dataclasses import replace

import numpy as np
import pytest
from made_up import CALM, actions_of, first_network, fresh, put_lot, put_order
from reference import Promises, Reference

from fabmesh.envs.network.compiler.rng import STREAM_ORDER, day_key, uniform
from fabmesh.envs.network.day.stage3_customers_buy import customer_market


def market_state(seed, base=CALM, **market):
    """Random books, stocks, records, quotes, bids, lots and tenders, as the batch and the reference see them."""
    pick = random.Random(seed)
    scenario = replace(
        base,
        last_mile=replace(base.last_mile, two_days_beyond_km=pick.choice([250.0, 10.0])),
        market=replace(base.market, **market),
    )
    batch, reference = fresh(scenario, seed), Reference(scenario)
    a, action = batch.arrays, actions_of(batch)
    spec = batch.spec["hub"]
    hubs, towns = len(scenario.hubs), len(scenario.towns)
    passed = np.random.default_rng(seed).uniform(0, 60, a.hub_tech["passed"].shape)
    a.hub_tech["passed"], a.hub_tech["returned"] = passed, passed * np.random.default_rng(seed).beta(1, 9, passed.shape)
    promises = []
    for h in range(hubs):
        overtime = pick.randrange(3)
        a.hub["overtime"][0, h] = scenario.actions.overtime[overtime]
        a.hub["late_eur"][0, h], a.hub["price_eur"][0, h] = pick.uniform(0, 40), pick.choice([0.0, 200.0, 2000.0])
        action[0, h, spec.component("bid")] = [pick.randrange(6) for _ in reference.lanes]
        action[0, h, spec.component("tender")] = [pick.randrange(6) for _ in range(scenario.capacity.tender_slots)]
        book = Promises(reference, h, scenario.actions.overtime[overtime])
        for _ in range(pick.randrange(6)):
            row = pick.randrange(len(reference.rows))
            if not reference.can_make(h, reference.rows[row]):
                continue
            stages = len(reference.rows[row].stages)
            todo = [pick.randrange(4) if i < stages else 0 for i in range(3)]
            if not sum(todo):
                continue
            town, due, price = pick.randrange(towns), pick.randrange(1, 12), pick.uniform(20, 200)
            put_order(batch, h, row, town, sum(todo), due, price, todo)
            book.promise(row, price, due - reference.days_under_way(h, town), todo, setup=False)
            book.open_rows.add(row)
        for p, product in enumerate(scenario.products):
            if reference.can_make(h, reference.rows[p]):
                stock = pick.choice([0, 0, 3])
                a.hub_prod["finished"][0, h, p] = stock
                a.hub_prod["value"][0, h, p] = stock * product.price_eur / 2
        promises.append(book)
    a.hub_mat["quote"][0] = [[m.bulk_eur * pick.uniform(1, 2) for m in scenario.materials] for _ in range(hubs)]
    for h in range(hubs):  # the hubs' estimates follow from their quotes, as at the beginning of a day
        for r, row in enumerate(reference.rows):
            quotes = a.hub_mat["quote"][0, h]
            at_0 = reference.production_eur(row, 0.0, math.inf, quotes)
            at_1 = reference.production_eur(row, 1.0, math.inf, quotes)
            a.unit_cost[0, h, r] = at_0, at_1 - at_0
    lots, tenders = [], []
    lot_rows = len(scenario.products) + sum(len(s.variants) for s in scenario.custom_streams)
    for i in range(pick.randrange(1, 25)):
        row = pick.randrange(lot_rows)
        price = scenario.products[row].price_eur if row < len(scenario.products) else pick.uniform(50, 600)
        lots.append((row, pick.randrange(towns), pick.randrange(1, 40), pick.randrange(1, 10), price, 1000 + i))
    for i in range(pick.randrange(4)):
        row = pick.randrange(lot_rows, len(reference.rows))
        tenders.append((row, pick.randrange(towns), pick.randrange(2, 30), pick.randrange(5, 15), 60.0, 2000 + i))
    for table, given in ((a.lot, lots), (a.tender, tenders)):
        for i, values in enumerate(given):
            put_lot(table, i, *values)
    a.clock["lots"], a.clock["tenders"] = len(lots), len(tenders)
    for h in range(hubs):  # every hub is shown the tenders that it can make
        shown = [i for i, t in enumerate(tenders) if reference.can_make(h, reference.rows[t[0]])]
        for slot in range(scenario.capacity.tender_slots):
            a.slot[0, h, slot] = shown[slot] if slot < len(shown) else -1
    return batch, reference, promises, action, lots, tenders


def reference_market(batch, reference, promises, action, lots, tenders):
    """Awards (hub, key, units, bid) in the order in which they are made."""
    scenario, a, spec = reference.scenario, batch.arrays, batch.spec["hub"]
    seed, day = a.clock["seed"][0], 0
    order_key = np.uint64(day_key(seed, STREAM_ORDER, day))
    finished = a.hub_prod["finished"][0].copy()
    markups = (None, *scenario.actions.bid_markups)
    awards = []

    def turn(table):
        return sorted(table, key=lambda lot: uniform(order_key, np.uint64(lot[-1])))

    def offers(lot, bids):
        row_index, town, units, _, price, _ = lot
        row, made = reference.rows[row_index], []
        for h, level in bids:
            if markups[level] is None or not reference.can_make(h, row):
                continue
            cost = reference.production_eur(row, price, units, a.hub_mat["quote"][0, h])
            bid = (1 + markups[level]) * cost
            late, paid = a.hub["late_eur"][0, h], a.hub["price_eur"][0, h]
            record = min(late / paid, scenario.market.lateness_cap) if paid > 1 else 0.0
            score = bid + reference.delivery_eur(h, town, row, price, units)
            score += scenario.market.reputation_weight * record * price
            score += scenario.market.carbon_weight * reference.co2e_kg(h, town, row, price, units)
            for stage in row.stages:
                lane = a.hub_tech[0, h, reference.lanes.index(stage.technology)]
                refund = scenario.quality.return_price_share * price * lane["returned"] / (1 + lane["passed"])
                score += scenario.market.quality_weight * refund
            if score <= row.ceiling * price:
                made.append((score, h, bid))
        return sorted(made)

    def take(lot, h, units, from_stock, bid, days):
        row_index, _, _, _, price, key = lot
        made = units - from_stock
        promises[h].promise(row_index, price, days, [made, 0, 0])
        if made:
            promises[h].open_rows.add(row_index)
        awards.append((h, key, units, bid))

    for lot in turn(lots):
        row_index, town, left, due, price, _ = lot
        lane = reference.lanes.index(reference.lane(reference.rows[row_index], price))
        bids = [(h, action[0, h, spec.component("bid")][lane]) for h in range(len(scenario.hubs))]
        for _, h, bid in offers(lot, bids):
            days = due - day - reference.days_under_way(h, town)
            stock = min(left, finished[h, row_index]) if row_index < len(scenario.products) and days >= 0 else 0
            units = stock + promises[h].available(row_index, price, days, left - stock)
            if units:
                take(lot, h, units, stock, bid, days)
                left -= units
                if row_index < len(scenario.products):
                    finished[h, row_index] -= stock
            if not left:
                break
    for tender in turn(tenders):
        row_index, town, units, due, price, _ = tender
        index, bids = tenders.index(tender), []
        for h in range(len(scenario.hubs)):
            slots = list(a.slot[0, h])
            bids.append((h, action[0, h, spec.component("tender")][slots.index(index)] if index in slots else 0))
        for _, h, bid in offers(tender, bids):
            days = due - day - reference.days_under_way(h, town)
            if promises[h].available(row_index, price, days, units) == units:
                take(tender, h, units, 0, bid, days)
                break
    return awards


@pytest.mark.parametrize(
    "weights", [{}, {"carbon_weight": 2.0}, {"quality_weight": 4.0}], ids=lambda w: [*w, "plain"][0]
)
@pytest.mark.parametrize("seed", range(60))
def test_awards_go_to_the_least_landed_score_as_far_as_hours_reach(seed, weights):
    batch, reference, promises, action, lots, tenders = market_state(seed, **weights)
    before = batch.arrays.hub["orders"][0].copy()
    expected = reference_market(batch, reference, promises, action, lots, tenders)
    w, s, x = first_network(batch)
    customer_market(w, s, x, action[0])
    for h in range(len(before)):
        book = batch.arrays.order[0, h, before[h] : batch.arrays.hub["orders"][0, h]]
        mine = [award[1:] for award in expected if award[0] == h]
        assert [(int(o["key"]), int(o["units"])) for o in book] == [(key, units) for key, units, _ in mine]
        assert [float(o["bid"]) for o in book] == pytest.approx([bid for *_, bid in mine], rel=1e-9)


def test_weights_change_who_is_awarded():
    for weights in ({"carbon_weight": 2.0}, {"quality_weight": 4.0}):
        moved = 0
        for seed in range(20):
            plain, weighted = (reference_market(*market_state(seed, **market)) for market in ({}, weights))
            moved += [award[:3] for award in plain] != [award[:3] for award in weighted]
        assert moved >= 8, weights


def test_the_made_up_markets_are_worth_looking_at():
    """Some lots are split, some are refused, tenders are won, and stock is sold."""
    split = refused = won = 0
    for seed in range(60):
        batch, reference, promises, action, lots, tenders = market_state(seed)
        keys = [key for _, key, _, _ in reference_market(batch, reference, promises, action, lots, tenders)]
        split += len(keys) - len(set(keys))
        refused += len({lot[-1] for lot in lots} - set(keys))
        won += len([key for key in keys if key >= 2000])
    assert split > 5
    assert refused > 50
    assert won > 10
