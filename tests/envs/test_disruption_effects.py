"""What disruptions do (model §8) to suppliers, hubs, files and the platform.

References are slow and plain, written from docs/model.md and not from the kernels.
"""

from __future__ import annotations

import math
import random
from dataclasses import replace

import numpy as np
import pytest
from test_disruptions import CALM, pair, scripted
from test_laws import event

from fabmesh.envs.network.books.state import FLOW_NAMES
from fabmesh.envs.network.compiler.rng import (
    STREAM_SCRAP,
    day_key,
    name_key,
    uniform,
)
from fabmesh.envs.network.day.stage1_disruptions import close_port
from fabmesh.envs.network.day.stage3_customers_buy import customer_market
from fabmesh.envs.network.day.stage5_depots_buy import discounted_price, lead_time, place_order
from fabmesh.envs.network.day.stage6_hubs_work import hubs_work
from fabmesh.envs.testing import check_laws
from fabmesh.envs.vector import HubNetworkVector

# --- suppliers


def reference_order(scenario, m, day, state, usual_lead, quantity):
    """Day on which an order placed today arrives, its price a unit and its freight, EUR."""
    d, material = scenario.disruptions, scenario.materials[m]
    lead = usual_lead
    if state["scarce"] > day:
        lead = math.ceil(lead * d.material_shortage_lead)
    if state["stopped"] > day:
        lead += math.ceil((state["stopped"] - day) * (1 - state["output"]))
    by_sea = material.overseas and state["route"] > day
    if by_sea:
        lead += d.long_route_lead_d
    arrives = day + lead
    if material.overseas:
        arrives = leaves_port(arrives, state["port_from"], state["port_until"], d.port_queue)
    freight = scenario.freight
    weight = max(material.kg, freight.kg_per_litre * material.litres) * quantity
    cost = freight.fixed_eur + freight.rate_eur_tkm * scenario.supply.distance_km * weight / 1000
    cost *= d.long_route_freight if by_sea else 1.0
    return arrives, d.material_shortage_price if state["scarce"] > day else 1.0, cost


def leaves_port(due, closed, opens, queue):
    """First day by which a first in, first out queue, worked off evenly once the port is open, has come to `due`."""
    if due < closed or queue == 0:
        return due if due < closed else max(due, opens)
    day = due
    while True:
        worked_off = max(day - opens, 0) * (1 + queue) / queue  # days of arrivals
        if day >= opens and worked_off >= due - closed - 1e-9:
            return day
        day += 1


@pytest.mark.parametrize("seed", range(40))
def test_supplier_orders_are_as_late_and_dear_as_the_reference_says(seed):
    pick = random.Random(seed)
    d = replace(CALM.disruptions, port_queue=pick.choice([0.0, 0.5, 2.0]))
    scenario = replace(CALM, disruptions=d)
    batch = HubNetworkVector(scenario, num_envs=1)
    batch.reset(seed=[seed])
    w, s, a = batch._handles[0], batch._handles[1][0], batch.arrays
    day = pick.randrange(40)
    a.clock["day"] = day
    closed = day - pick.randrange(30)
    for m in range(len(scenario.materials)):
        state = {
            "scarce": day + pick.randrange(-5, 10), "stopped": day + pick.randrange(-5, 40),
            "output": pick.uniform(0, 0.3), "route": day + pick.randrange(-5, 10),
            "port_from": closed, "port_until": closed + pick.randrange(40),
        }  # fmt: skip
        a.source["scarce_until"][0, m], a.source["stopped_until"][0, m] = state["scarce"], state["stopped"]
        a.source["output"][0, m], a.outside["long_route_until"] = state["output"], state["route"]
        a.outside["port_from"], a.outside["port_until"] = closed, state["port_until"]
        a.depot_mat["orders"][0, 0, m] = 0
        before = batch.ledger[0, len(scenario.hubs), batch.ledger_lines.index("supplier_freight")]
        quantity = 3.0 * scenario.materials[m].pack
        place_order(w, s, 0, m, quantity, day, 0, 0)
        order = a.supplier_order[0, 0, m, 0]
        freight = batch.ledger[0, len(scenario.hubs), batch.ledger_lines.index("supplier_freight")] - before
        usual = lead_time(w, s, 0, m, day)
        arrives, dearer, cost = reference_order(scenario, m, day, state, usual, quantity)
        assert order["arrives"] == arrives
        assert order["price"] == pytest.approx(dearer * discounted_price(w, m, quantity))
        assert freight == pytest.approx(cost)


def test_a_port_that_closes_holds_what_is_under_way_and_the_queue_is_first_in_first_out():
    batch = HubNetworkVector(CALM, num_envs=1)
    batch.reset(seed=[1])
    a, day, opens = batch.arrays, 4, 16
    kit = next(m for m, material in enumerate(CALM.materials) if material.overseas)
    a.clock["day"] = day
    dues = [5, 6, 9, 15, 16, 20, 22, 23, 40]
    for m in range(len(CALM.materials)):
        a.depot_mat["orders"][0, 0, m] = len(dues)
        a.supplier_order["due"][0, 0, m, : len(dues)] = dues
        a.supplier_order["arrives"][0, 0, m, : len(dues)] = dues
    close_port(batch._handles[0], batch._handles[1][0], day, opens)
    held = a.supplier_order["arrives"][0, 0, kit, : len(dues)].tolist()
    assert held == [leaves_port(due, day, opens, CALM.disruptions.port_queue) for due in dues]
    assert held == sorted(held)
    assert held[0] >= opens
    assert held[-1] == dues[-1]  # after 1.5 times the closure there is no queue
    others = np.delete(a.supplier_order["arrives"][0, 0, :, : len(dues)], kit, axis=0)
    assert (others == dues).all()


# --- hubs, files, platform


def work_of_a_day(files_locked=0, tampered=0, row=0, units=40):
    """Units finished and scrapped of a day's work on one order in a shop with everything."""
    machines = {t.name: 40 for t in CALM.technologies}
    scenario = replace(
        CALM,
        technologies=tuple(replace(t, scrap=0.05) for t in CALM.technologies),
        hubs=tuple(replace(h, machines=machines, technicians=60) for h in CALM.hubs),
    )
    batch = HubNetworkVector(scenario, num_envs=1)
    batch.reset(seed=[21])
    a = batch.arrays
    a.hub_mat["sealed"][0, :, :, 0], a.hub_mat["value"][0] = 1e5, 1e5
    order = a.order[0, 0, 0]
    a.hub["orders"][0, 0] = 1
    for name, value in {
        "row": row,
        "units": units,
        "todo": [units, 0, 0],
        "open": units,
        "due": 5,
        "price": 50,
    }.items():
        order[name] = value
    a.hub["locked_until"][0, 0], a.tampered_until[0, 0] = files_locked, tampered
    w, s, x = batch._handles[0], batch._handles[1][0], batch._handles[2][0]
    hubs_work(w, s, x, np.zeros(batch.action_space["hub"].shape, np.int32)[0])
    return int(order["ready"]), int(event(batch, "units_scrapped")[0])


def test_locked_files_stop_catalogue_products_and_nothing_else():
    custom = len(CALM.products)
    assert work_of_a_day() == work_of_a_day(files_locked=0)
    assert work_of_a_day(files_locked=1) == (0, 0)
    assert work_of_a_day(files_locked=1, row=custom) == work_of_a_day(row=custom)
    assert work_of_a_day(row=custom)[0] > 0


def test_a_wrong_file_makes_scrap_at_the_binomial_quantile_of_the_day():
    good, scrapped = work_of_a_day(tampered=1)
    rate = 1 - (1 - 0.05) * (1 - CALM.disruptions.tampering_scrap)
    u = uniform(
        pair(np.uint64(day_key(np.uint64(21), STREAM_SCRAP, 0)), name_key(CALM.hubs[0].town)),
        np.uint64(name_key(CALM.products[0].name)),
    )
    below, k = 0.0, -1
    while below < u:
        k += 1
        below += math.comb(40, k) * rate**k * (1 - rate) ** (40 - k)
    assert scrapped == k
    assert good + scrapped == 40
    assert scrapped > 2 * work_of_a_day()[1]
    assert work_of_a_day(tampered=1, row=len(CALM.products)) == work_of_a_day(row=len(CALM.products))


@pytest.mark.parametrize("seed", range(20))
def test_without_the_platform_hubs_serve_their_own_town_on_their_last_bid(seed):
    """As if every hub reached its own town only and nobody bid on tenders: what the market is tested against."""
    pick = random.Random(seed)
    near = replace(CALM, market=replace(CALM.market, reach_km=1e-6))
    actions, outcomes = None, []
    for scenario, down in ((CALM, True), (near, False)):
        batch = HubNetworkVector(scenario, num_envs=1)
        batch.reset(seed=[seed])
        a = batch.arrays
        spec = batch.spec["hub"]
        if actions is None:
            actions = np.zeros(batch.action_space["hub"].shape, np.int32)
            bids = [[pick.randrange(6) for _ in CALM.technologies] for _ in CALM.hubs]
            actions[0, :, spec.component("tender")] = 3
        if down:
            a.outside["platform_until"] = 1
            a.hub_tech["bid"][0] = bids  # of yesterday
            actions[0, :, spec.component("bid")] = pick.randrange(6)  # which do not count
        else:
            actions[0, :, spec.component("bid")] = bids
            a.clock["tenders"] = 0
        lots = {int(lot["key"]): int(lot["town"]) for lot in a.lot[0, : a.clock["lots"][0]]}
        customer_market(batch._handles[0], batch._handles[1][0], batch._handles[2][0], actions[0])
        awards = []
        for h in range(len(CALM.hubs)):
            for order in a.order[0, h, : a.hub["orders"][0, h]]:
                assert lots[int(order["key"])] == CALM.towns.index(
                    next(t for t in CALM.towns if t.name == CALM.hubs[h].town)
                )
                awards.append((h, int(order["key"]), int(order["units"]), float(order["bid"])))
        outcomes.append(awards)
    assert outcomes[0] == outcomes[1]


def test_the_markets_without_a_platform_are_worth_looking_at():
    scenario = scripted(("platform_outage", 5, 10))
    batch = HubNetworkVector(scenario, num_envs=8, autoreset=False)
    batch.reset(seed=0)
    spec = batch.spec["hub"]
    actions = {role: np.zeros(space.shape, int) for role, space in batch.action_space.items()}
    actions["hub"][..., spec.component("bid")] = 2
    actions["hub"][..., spec.component("cover")] = 4
    delivered = []
    for _ in range(16):
        info = batch.step(actions)[4]
        delivered.append(event(batch, "units_delivered").sum())
        down = 5 <= batch.day[0] < 15
        masks = info["action_mask"]["hub"]
        nvec = batch.spec["hub"].nvec
        offsets = np.cumsum(nvec) - nvec
        bids = [offsets[j] + n for j in range(*spec.component("bid").indices(len(nvec))) for n in range(1, nvec[j])]
        assert (masks[..., bids] == 0).all() == down
    assert delivered[14] > delivered[6] > 0  # own towns are served


def test_a_closed_depot_does_nothing_and_its_stock_ages():
    scenario = scripted(("depot_outage", 8, 12))
    batch = HubNetworkVector(scenario, num_envs=4, autoreset=False)
    _, info = batch.reset(seed=2)
    rng = np.random.default_rng(0)
    node = len(scenario.hubs)
    lines = [batch.ledger_lines.index(name) for name in ("order_cost", "supplier_freight", "transfers")]
    shipped, received = FLOW_NAMES.index("shipped"), FLOW_NAMES.index("received")
    got, retail = [], []
    for day in range(30):
        closed = 8 <= day < 20
        before = batch.ledger[:, node, lines].copy(), batch.arrays.flow[:, node, :, shipped].copy()
        rate = batch.arrays.depot_mat["request_rate"].copy()
        masks = info["action_mask"]["depot"]
        assert (masks.sum(axis=-1) == (len(batch.spec["depot"].nvec) if closed else masks.shape[-1])).all()
        reckless = {r: rng.integers(0, s.nvec, s.shape) for r, s in batch.action_space.items()}
        bought = event(batch, "retail_eur").sum()
        info = batch.step(reckless)[4]
        after = batch.ledger[:, node, lines], batch.arrays.flow[:, node, :, shipped]
        if closed:
            assert all((x == y).all() for x, y in zip(before, after, strict=True))
            assert (batch.arrays.depot_mat["request_rate"] == rate).all()
        got.append(batch.arrays.flow[:, node, :, received, 0].sum())
        retail.append(event(batch, "retail_eur").sum() - bought)
        check_laws(batch)
    assert got[19] > got[8]  # what is under way arrives
    assert np.mean(retail[9:20]) > np.mean(retail[:8])  # hubs turn to retail
