"""Prices of material, what hubs request and what depots order, against slow references in plain Python."""

import math
import random

import numpy as np
import pytest
from made_up import CALM, actions_of, first_network, fresh, line
from reference import Reference

from fabmesh.envs.network.day.stage4_hubs_buy import write_requests
from fabmesh.envs.network.day.stage5_depots_buy import depots_buy, discounted_price
from fabmesh.envs.network.interface.actions import component_blocks


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


def test_the_reference_reads_the_levels_the_actions_have():
    """Level 0 of a bid is to withdraw, of a cover none: what the references above take for granted."""
    blocks = {block.name: block for block in component_blocks(CALM, "hub")[0]}
    assert blocks["bid"].labels[0] == "withdraw"
    assert blocks["cover"].labels[0] == "none"
    assert blocks["can_order"].values == (0.0, 0.5, 1.0)
