"""Stages of the day against slow references in plain Python, written from docs/model.md and not from the kernels.

The references read the scenario, never the compiled tables. States are made by hand: a few orders, lots and stocks.
"""

import math
import random
from dataclasses import dataclass, replace

import numpy as np
import pytest

from fabmesh.envs.network.actions import component_blocks
from fabmesh.envs.network.customer_market import customer_market
from fabmesh.envs.network.goods import ship_orders
from fabmesh.envs.network.loading import load_scenario
from fabmesh.envs.network.material_market import write_requests
from fabmesh.envs.network.production import hubs_work
from fabmesh.envs.network.rng import STREAM_ORDER, STREAM_SCRAP, combine, day_key, name_key, uniform
from fabmesh.envs.network.supply import depots_buy, discounted_price
from fabmesh.envs.network.tables import HORIZON
from fabmesh.envs.vector import HubNetworkVector

POCKET = load_scenario("pocket")
CALM = replace(POCKET, disruptions=replace(POCKET.disruptions, scale=0.0))
LINES = HubNetworkVector.ledger_lines


# --- the reference: rows of work, distances, costs


@dataclass(frozen=True)
class Row:
    """What a customer can order, with its hours and material as functions of the price."""

    stages: tuple
    bom: tuple
    kg: tuple  # (constant, per EUR)
    litres: tuple
    stop: float  # units a customer stop; inf: one delivery
    ceiling: float


def rows(scenario):
    market = scenario.market
    made = [
        Row(p.stages, p.bom, (p.kg, 0), (p.litres, 0), p.units_per_order, market.ceiling_catalogue)
        for p in scenario.products
    ]
    for stream in scenario.custom_streams:
        weights = (0, stream.kg_per_eur), (0, stream.litres_per_eur)
        made += [Row(v.stages, v.bom, *weights, 1, market.ceiling_custom) for v in stream.variants]
    for stream in scenario.tender_streams:
        weights = (0, stream.kg_per_eur), (0, stream.litres_per_eur)
        made += [Row(v.stages, v.bom, *weights, math.inf, 1.0) for v in stream.variants]
    return made


def road_km(scenario, one, other):
    a, b = math.radians(one.latitude), math.radians(other.latitude)
    width = math.radians(other.longitude - one.longitude)
    return (
        scenario.freight.circuity
        * 6371.0088
        * math.acos(min(math.sin(a) * math.sin(b) + math.cos(a) * math.cos(b) * math.cos(width), 1.0))
    )


class Reference:
    """The rules of a scenario in plain Python."""

    def __init__(self, scenario):
        self.scenario = scenario
        self.rows = rows(scenario)
        self.technologies = {t.name: t for t in scenario.technologies}
        self.material = {m.name: i for i, m in enumerate(scenario.materials)}
        self.lanes = [t.name for t in scenario.technologies]
        towns = {t.name: t for t in scenario.towns}
        self.km = [[road_km(scenario, towns[h.town], t) for t in scenario.towns] for h in scenario.hubs]

    def machine_h(self, stage, price):
        """Machine hours of a unit at a stage."""
        return stage.machine_h + stage.machine_h_per_eur * price

    def labour_h(self, stage, price):
        """Labour hours of a unit at a stage, tending included."""
        tending = self.machine_h(stage, price) / self.technologies[stage.technology].machines_per_technician
        return stage.labour_h + stage.labour_h_per_eur * price + tending

    def lane(self, row, price):
        """The technology of the longest stage."""
        return max(row.stages, key=lambda stage: self.machine_h(stage, price)).technology

    def hour_eur(self, technology):
        """EUR an hour of a machine with its energy."""
        t = self.technologies[technology]
        return t.rate_eur_h + t.power_kw * self.scenario.labour.energy_eur_kwh

    def production_eur(self, row, price, units, quotes):
        """A hub's estimate of a unit's cost in a lot."""
        wage = self.scenario.labour.wage_eur_h
        eur = sum(quotes[self.material[b.material]] * (b.quantity + b.quantity_per_eur * price) for b in row.bom)
        for stage in row.stages:
            eur += self.machine_h(stage, price) * self.hour_eur(stage.technology) + self.labour_h(stage, price) * wage
            eur += self.technologies[stage.technology].setup_h * (self.hour_eur(stage.technology) + wage) / units
        return eur

    def delivery_eur(self, hub, town, row, price, units):
        """A unit's share of the cheaper of own van and parcel."""
        mile = self.scenario.last_mile
        a_stop = min(row.stop, units)
        extra = max(self.km[hub][town] - mile.van_radius_km, 0)
        van = mile.van_stop_eur + mile.van_eur_km * 2 * extra / mile.van_stops_per_round
        parcel = mile.parcel_eur + mile.parcel_eur_kg * self.parcel_kg(row, price, a_stop)
        return min(van, parcel) / a_stop

    def co2e_kg(self, hub, town, row, price, units):
        """Energy and material of a unit, and its share of the stop's mode, the one that is charged."""
        kg = 0.0
        for stage in row.stages:
            kw = self.technologies[stage.technology].power_kw
            kg += self.machine_h(stage, price) * kw * self.scenario.carbon.grid_kg_kwh
        for b in row.bom:
            co2e = self.scenario.materials[self.material[b.material]].co2e_kg
            kg += co2e * (b.quantity + b.quantity_per_eur * price)
        a_stop = min(row.stop, units)
        return kg + self.stop_co2e(hub, town, row, price, a_stop)[1] / a_stop

    def stop_co2e(self, hub, town, row, price, units):
        """Mode and kg CO2e of a customer stop of so many units."""
        carbon, mile = self.scenario.carbon, self.scenario.last_mile
        extra = 2 * max(self.km[hub][town] - mile.van_radius_km, 0) / mile.van_stops_per_round
        weight = self.parcel_kg(row, price, units)
        if mile.van_stop_eur + mile.van_eur_km * extra <= mile.parcel_eur + mile.parcel_eur_kg * weight:
            return "van", carbon.van_kg_km * (carbon.van_km_stop + extra)
        return "parcel", carbon.parcel_kg * max(1, weight / carbon.parcel_up_to_kg)

    def parcel_kg(self, row, price, units):
        """Chargeable weight of so many units in one parcel."""
        kg = (row.kg[0] + row.kg[1] * price) * units
        litres = (row.litres[0] + row.litres[1] * price) * units
        return max(kg, litres / self.scenario.last_mile.parcel_litres_per_kg)

    def days_under_way(self, hub, town):
        """Days from shipping to the customer."""
        return 2 if self.km[hub][town] > self.scenario.last_mile.two_days_beyond_km else 1

    def late_share(self, days):
        """Share of the price charged for a delivery so many days after the due day."""
        market = self.scenario.market
        return min(market.lateness_cap, market.lateness_per_day * max(days - market.lateness_grace_d, 0))

    def can_make(self, hub, row):
        """Whether a hub has every machine a row needs."""
        return all(self.scenario.hubs[hub].machines.get(stage.technology, 0) > 0 for stage in row.stages)

    def price_of(self, material, quantity):
        """All-units discount: the whole order at the price of its size class."""
        supply = self.scenario.supply
        classes = sorted(zip((0.0, *supply.price_breaks_pallets), supply.price_factors, strict=True))
        factor = [f for least, f in classes if quantity / material.pallet >= least - 1e-9][-1]
        return material.bulk_eur + (material.retail_eur - material.bulk_eur) * factor


class Promises:
    """Hours promised by a hub: every promise is (resource, last day it can be worked, hours)."""

    def __init__(self, reference, hub, overtime):
        self.reference, self.hub, self.overtime = reference, hub, overtime
        self.taken = []
        self.open_rows = set()

    def capacity(self, resource, day):
        """Hours from today to the end of a day (0 = today)."""
        scenario, hub = self.reference.scenario, self.reference.scenario.hubs[self.hub]
        if resource == "people":
            a_day = hub.technicians * scenario.labour.hours_per_day
            return (day + 1) * a_day + self.overtime * a_day
        technology = self.reference.technologies[resource]
        a_day = hub.machines.get(resource, 0) * technology.hours_per_day
        return (day + 1) * a_day + (self.overtime * a_day if technology.extended_by_overtime else 0)

    def last_day(self, row, stage, days):
        """A stage's last day, when every later stage takes a day of its own."""
        return min(days - (len(row.stages) - 1 - stage), HORIZON - 1)

    def kept(self, more):
        """Whether every promise of each resource in `more` can still be kept with it."""
        for resource, first, hours in more:
            for day in range(first, HORIZON):
                promised = sum(h for r, d, h in self.taken if r == resource and d <= day)
                if promised + hours > self.capacity(resource, day) + 1e-9:
                    return False
        return True

    def setup(self, row_index, stage):
        """Set-up hours that a promise of the row adds: none while another is open."""
        return 0.0 if row_index in self.open_rows else self.reference.technologies[stage.technology].setup_h

    def available(self, row_index, price, days, wanted):
        """Brute force: the most units for which no promise is broken."""
        row, ref = self.reference.rows[row_index], self.reference
        if any(self.last_day(row, i, days) < 0 for i in range(len(row.stages))):
            return 0
        for units in range(wanted, 0, -1):
            more = [
                (
                    stage.technology,
                    self.last_day(row, i, days),
                    units * ref.machine_h(stage, price) + self.setup(row_index, stage),
                )
                for i, stage in enumerate(row.stages)
            ]
            people = sum(units * ref.labour_h(s, price) + self.setup(row_index, s) for s in row.stages)
            if self.kept([*more, ("people", min(days, HORIZON - 1), people)]):
                return units
        return 0

    def promise(self, row_index, price, days, todo, setup=True):
        """Takes the hours of an order with `todo` units waiting for each stage."""
        row, ref = self.reference.rows[row_index], self.reference
        passing = 0
        for i, stage in enumerate(row.stages):
            passing += todo[i]
            first = max(self.last_day(row, i, days), 0)
            more = self.setup(row_index, stage) if setup and sum(todo) else 0.0
            self.taken.append((stage.technology, first, passing * ref.machine_h(stage, price) + more))
            self.taken.append(("people", first, passing * ref.labour_h(stage, price) + more))


# --- made-up states


def fresh(scenario=CALM, seed=3):
    """A batch of one network on its first day, with no orders, lots or tenders."""
    batch = HubNetworkVector(scenario, num_envs=1)
    batch.reset(seed=seed)
    batch.arrays.clock["lots"] = 0
    batch.arrays.clock["tenders"] = 0
    return batch


def actions_of(batch, role="hub"):
    return np.zeros(batch.action_space[role].shape, np.int32)


def put_order(batch, hub, row, town, units, due, price, todo=None, ready=0):
    a = batch.arrays
    order = a.order[0, hub, a.hub["orders"][0, hub]]
    a.hub["orders"][0, hub] += 1
    waiting = [units - ready, 0, 0] if todo is None else todo
    values = {
        "row": row, "town": town, "announced": 0, "due": due, "units": units, "todo": waiting, "ready": ready,
        "open": units, "inherited": 0, "price": price, "bid": 0.0, "wip_value": 0.0, "key": 1,
    }  # fmt: skip
    for name, value in values.items():
        order[name] = value


def put_lot(table, index, row, town, units, due, price, key):
    values = {
        "row": row, "town": town, "announced": 0, "due": due, "last_day": 20, "again": 0, "units": units,
        "price": price, "key": key,
    }  # fmt: skip
    for name, value in values.items():
        table[0, index][name] = value


def line(batch, hub, name):
    return float(batch.ledger[0, hub, LINES.index(name)])


def first_network(batch):
    """The constants, the state of the first copy and the working memory of the first thread, for a stage."""
    tables, states, scratch, _ = batch._handles
    return tables, states[0], scratch[0]


# --- prices


def test_all_units_discount():
    batch = fresh()
    reference = Reference(CALM)
    w = batch._handles[0]
    for m, material in enumerate(CALM.materials):
        edges = [b * material.pallet for b in CALM.supply.price_breaks_pallets]
        for quantity in [
            0.001,
            *edges,
            *(e * 0.999 for e in edges),
            *(e * 1.001 for e in edges),
            100 * material.pallet,
        ]:
            assert discounted_price(w, m, quantity) == pytest.approx(reference.price_of(material, quantity), rel=1e-12)
        assert discounted_price(w, m, 1e9) == material.bulk_eur
        assert discounted_price(w, m, 1e-6) == material.retail_eur


# --- the customer market


def market_state(seed, **market):
    """Random books, stocks, records, quotes, bids, lots and tenders, as the batch and the reference see them."""
    pick = random.Random(seed)
    scenario = replace(
        CALM,
        last_mile=replace(CALM.last_mile, two_days_beyond_km=pick.choice([250.0, 10.0])),
        market=replace(CALM.market, **market),
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


# --- ordering material


@pytest.mark.parametrize("seed", range(25))
def test_requests_follow_the_s_c_S_rule(seed):  # noqa: N802 the rule's name
    pick = random.Random(seed)
    batch = fresh(CALM, seed)
    a, action, spec = batch.arrays, actions_of(batch), batch.spec["hub"]
    expected = []
    for h in range(len(CALM.hubs)):
        trigger_level, join_level = pick.randrange(4), pick.randrange(3)
        cover_levels = [pick.randrange(8) for _ in CALM.materials]
        action[0, h, spec.component("trigger")] = trigger_level
        action[0, h, spec.component("can_order")] = join_level
        action[0, h, spec.component("cover")] = cover_levels
        s = CALM.actions.reorder_trigger[trigger_level]
        c = (s, (s + 1) / 2, 1.0)[join_level]
        asked, below = [], False
        for m, material in enumerate(CALM.materials):
            stock, under_way, need = pick.uniform(0, 30), pick.choice([0, 8.0]), pick.choice([0, 5.0])
            a.hub_mat["sealed"][0, h, m], a.hub_mat["opened"][0, h, m] = 0, 0.5
            a.hub_mat["sealed"][0, h, m, 2] = stock
            a.hub_mat["inbound"][0, h, m], a.hub_mat["need"][0, h, m] = 0, need
            a.hub_mat["inbound"][0, h, m, 1, 3] = under_way
            a.hub_mat["inbound_value"][0, h, m, 1] = under_way * material.bulk_eur
            a.hub_mat["use_rate"][0, h, m] = pick.choice([0.0, 1.5, 4.0])
            rate = max(a.hub_mat["use_rate"][0, h, m], CALM.inventory.catchment_floor * batch._tables.hub_use[h, m])
            level = (0.0, *CALM.actions.cover_d)[cover_levels[m]] * rate
            position = stock + 0.5 + under_way - need
            used = any(
                material.name == b.material and Reference(CALM).can_make(h, row)
                for row in Reference(CALM).rows
                for b in row.bom
            )
            if level == 0 or not used:
                asked.append(0.0)
                continue
            below = below or position < s * level
            packs = math.ceil((level - position) / material.pack - 1e-9)
            asked.append(packs * material.pack if position < c * level else 0.0)
        expected.append(asked if below else [0.0] * len(asked))
    w, state, x = first_network(batch)
    write_requests(w, state, x, action[0])
    assert np.allclose(batch._scratch.request[0], expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("seed", range(15))
def test_depots_order_a_lot_below_their_trigger(seed):
    pick = random.Random(seed)
    batch = fresh(CALM, seed)
    a, action, spec = batch.arrays, actions_of(batch, "depot"), batch.spec["depot"]
    a.depot_mat["orders"], a.depot_mat["on_order"] = 0, 0.0
    expected, reference = {}, Reference(CALM)
    for m, material in enumerate(CALM.materials):
        trigger, lot = pick.randrange(5), pick.randrange(5)
        action[0, 0, spec.component("trigger")][m] = trigger
        action[0, 0, spec.component("lot")][m] = lot
        a.depot_mat["request_rate"][0, 0, m] = rate = pick.uniform(3, 8) * batch._tables.depot_use[0, m]
        stock = pick.uniform(0, 3) * rate * material.lead_mean_d
        a.depot_mat["stock"][0, 0, m] = 0
        a.depot_mat["stock"][0, 0, m, 1] = stock
        reorder = (0.0, *CALM.actions.depot_trigger)[trigger] * rate * material.lead_mean_d
        if trigger == 0 or stock >= reorder:
            continue
        days = (*CALM.actions.depot_lot_d, CALM.actions.depot_lot_d[0])[lot]
        quantity = reorder + days * rate - stock
        if lot == len(CALM.actions.depot_lot_d):
            breaks = [b * material.pallet for b in CALM.supply.price_breaks_pallets]
            quantity = min([b for b in breaks if b > quantity], default=quantity)
        quantity = math.ceil(quantity / material.pack - 1e-9) * material.pack
        weight = quantity * max(material.kg, CALM.freight.kg_per_litre * material.litres)
        freight = CALM.freight.fixed_eur + CALM.freight.rate_eur_tkm * CALM.supply.distance_km * weight / 1000
        expected[m] = quantity, reference.price_of(material, quantity), freight
    w, state, _ = first_network(batch)
    depots_buy(w, state, action[0])
    assert list(np.flatnonzero(a.depot_mat["orders"][0, 0])) == list(expected)
    for m, (quantity, price, _) in expected.items():
        order = a.supplier_order[0, 0, m, 0]
        assert (order["quantity"], order["price"]) == pytest.approx((quantity, price), rel=1e-12)
        assert order["arrives"] > order["placed"] == 0
    depot = len(CALM.hubs)
    assert line(batch, depot, "order_cost") == pytest.approx(len(expected) * CALM.supply.order_eur)
    assert line(batch, depot, "supplier_freight") == pytest.approx(sum(freight for *_, freight in expected.values()))


# --- lateness and the last mile


@pytest.mark.parametrize("far", [False, True])
@pytest.mark.parametrize("late_by", [-3, 0, 1, 2, 3, 5, 11, 15, 19])
def test_lateness_by_the_day_adds_up_to_that_of_the_day_of_delivery(far, late_by):
    far_km = 0.0 if far else 250.0
    scenario = replace(CALM, last_mile=replace(CALM.last_mile, two_days_beyond_km=far_km))
    reference = Reference(scenario)
    batch = fresh(scenario)
    other = next(i for i, t in enumerate(scenario.towns) if t.name != scenario.hubs[0].town)
    way = reference.days_under_way(0, other)
    assert way == (2 if far else 1)
    due, units, price = 6, 5, 80.0
    ships = due + late_by - way
    put_order(batch, 0, 0, other, units, due, price)
    w, state, _ = first_network(batch)
    order = batch.arrays.order[0, 0, 0]
    for day in range(ships + 1):
        if day == ships:
            order["ready"], order["todo"] = units, 0
        batch.arrays.clock["day"] = day
        ship_orders(w, state)
    assert batch.arrays.hub["orders"][0, 0] == 0
    assert line(batch, 0, "lateness") == pytest.approx(units * price * reference.late_share(late_by), abs=1e-9)
    delivery = units * reference.delivery_eur(0, other, reference.rows[0], price, units)
    assert line(batch, 0, "last_mile_freight") == pytest.approx(delivery, rel=1e-12)
    assert line(batch, 0, "revenue") == pytest.approx(delivery, rel=1e-12)  # the bid was nothing
    counts = dict(zip(batch.event_names, batch.events[0], strict=True))
    assert counts["units_on_time"] == (units if late_by <= 0 else 0)
    assert counts["lead_time_unit_days"] == units * (due + late_by)


def test_an_order_is_cancelled_when_the_limit_has_passed():
    batch, reference = fresh(), Reference(CALM)
    due, units, price = 3, 4, 50.0
    put_order(batch, 0, 0, 0, units, due, price)
    batch.arrays.order["wip_value"][0, 0, 0] = 30.0
    w, state, _ = first_network(batch)
    last = None
    for day in range(due + CALM.market.cancel_after_d + 3):
        batch.arrays.clock["day"] = day
        ship_orders(w, state)
        if last is None and batch.arrays.hub["orders"][0, 0] == 0:
            last = day
    assert last + 1 == due + CALM.market.cancel_after_d  # no delivery could arrive before
    assert line(batch, 0, "lateness") == pytest.approx(units * price * reference.late_share(99))
    assert line(batch, 0, "lost") == pytest.approx(units * price * (1 + CALM.market.goodwill))
    assert line(batch, 0, "deadstock") == pytest.approx(30.0 * (1 - CALM.inventory.salvage))


@pytest.mark.parametrize("radius", [0.0, 25.0])
def test_the_last_mile_is_the_cheaper_of_van_and_parcel(radius):
    """Both are met: a van far from its radius is dear, a heavy parcel too."""
    mile = replace(CALM.last_mile, van_radius_km=radius, van_eur_km=2.0)
    scenario = replace(CALM, last_mile=mile)
    reference, chosen = Reference(scenario), set()
    for hub in range(len(scenario.hubs)):
        for row_index, row in enumerate(reference.rows):
            for town in range(len(scenario.towns)):
                batch, price, units = fresh(scenario), 90.0, 7
                put_order(batch, hub, row_index, town, units, 9, price, todo=[0, 0, 0], ready=units)
                w, state, _ = first_network(batch)
                ship_orders(w, state)
                expected = units * reference.delivery_eur(hub, town, row, price, units)
                assert line(batch, hub, "last_mile_freight") == pytest.approx(expected, rel=1e-12)
                own = mile.van_stop_eur + mile.van_eur_km * 2 * max(reference.km[hub][town] - radius, 0) / 12
                chosen.add(math.isclose(expected, own * units / min(row.stop, units)))
    assert chosen == {True, False}


# --- work


def workshop(scrap, orders, row=0):
    """A large shop with material for everything, and orders of (row, units)."""
    machines = {t.name: 40 for t in CALM.technologies}
    scenario = replace(
        CALM,
        technologies=tuple(replace(t, scrap=scrap) for t in CALM.technologies),
        hubs=tuple(replace(h, machines=machines, technicians=60) for h in CALM.hubs),
    )
    batch = fresh(scenario, 21)
    batch.arrays.hub_mat["sealed"][0, :, :, 0] = 1e5
    batch.arrays.hub_mat["value"][0] = 1e5
    for row_index, units in orders:
        put_order(batch, 0, row_index, 0, units, 5, scenario.products[0].price_eur)
    w, state, x = first_network(batch)
    hubs_work(w, state, x, actions_of(batch)[0])
    return batch


def test_a_set_up_is_paid_once_per_product_and_day():
    reference = Reference(CALM)
    wage = CALM.labour.wage_eur_h

    def setup_eur(row_index):
        technology = reference.rows[row_index].stages[0].technology  # on its first day
        return reference.technologies[technology].setup_h * (reference.hour_eur(technology) + wage)

    for orders in ([(0, 3)], [(0, 3), (0, 5), (0, 1)], [(0, 3), (1, 2), (0, 5), (1, 4)]):
        batch = workshop(0.0, orders)
        assert all(batch.arrays.order["todo"][0, 0, i, 0] == 0 for i in range(len(orders)))
        expected = sum(setup_eur(row_index) for row_index in {row_index for row_index, _ in orders})
        assert line(batch, 0, "setup") == pytest.approx(expected)


def test_work_costs_its_hours_and_material():
    reference, units = Reference(CALM), 6
    price = CALM.products[0].price_eur
    batch = workshop(0.0, [(0, units)])
    stage = reference.rows[0].stages[0]
    machine_h, labour_h = reference.machine_h(stage, price), reference.labour_h(stage, price)
    technology = reference.technologies[stage.technology]
    assert line(batch, 0, "machine") == pytest.approx(units * machine_h * technology.rate_eur_h)
    energy = units * machine_h * technology.power_kw * CALM.labour.energy_eur_kwh
    assert line(batch, 0, "energy") == pytest.approx(energy)
    assert line(batch, 0, "labour") == pytest.approx(units * labour_h * CALM.labour.wage_eur_h)
    spent = sum(line(batch, 0, name) for name in ("material", "machine", "energy", "labour"))
    assert line(batch, 0, "stock_change") == pytest.approx(-spent)
    assert batch.arrays.order["wip_value"][0, 0, 0] == pytest.approx(spent)


@pytest.mark.parametrize("rate", [0.02, 0.1, 0.3])
def test_a_days_scrap_does_not_depend_on_how_units_are_split_into_orders(rate):
    splits = ([(0, 48)], [(0, 12)] * 4, [(0, 1), (0, 40), (0, 7)])
    scrapped = []
    for orders in splits:
        batch = workshop(rate, orders)
        scrapped.append(int(batch.events[0, batch.event_names.index("units_scrapped")]))
    assert len(set(scrapped)) == 1
    # the smallest k with P(X <= k) >= u, by summing binomial terms
    hub, row = np.uint64(name_key(CALM.hubs[0].town)), np.uint64(name_key(CALM.products[0].name))
    key = np.uint64(combine(np.uint64(day_key(np.uint64(21), STREAM_SCRAP, 0)), hub))
    u, k, below = uniform(key, row), 0, 0.0
    while True:
        below += math.comb(48, k) * rate**k * (1 - rate) ** (48 - k)
        if below >= u:
            break
        k += 1
    assert scrapped[0] == k


def test_the_reference_reads_the_levels_the_actions_have():
    """Level 0 of a bid is to withdraw, of a cover none: what the references above take for granted."""
    blocks = {block.name: block for block in component_blocks(CALM, "hub")[0]}
    assert blocks["bid"].labels[0] == "withdraw"
    assert blocks["cover"].labels[0] == "none"
    assert blocks["can_order"].values == (0.0, 0.5, 1.0)
