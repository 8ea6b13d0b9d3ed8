"""Every measure against a hand calculation, and its catalogue in the documentation."""

from __future__ import annotations

import numpy as np
import pytest

from fabmesh.agents.evaluation.judge.protocol import evaluate
from fabmesh.agents.evaluation.judge.seeds import seed_set
from fabmesh.agents.evaluation.measures.books import MEASURES, EpisodeBooks, measure
from fabmesh.agents.evaluation.measures.catalogue import measure_named
from fabmesh.agents.evaluation.measures.economics import capital_charge, fixed_cost, mature_revenue
from fabmesh.agents.evaluation.measures.mechanisms import booked
from fabmesh.agents.evaluation.measures.network import NETWORK_MEASURES, NetworkBooks, gini, measure_network
from fabmesh.agents.evaluation.measures.trace import Recorder, Trace
from fabmesh.agents.registry import make_policy
from fabmesh.envs.network.books.state import F_RECEIVED, F_SHIPPED
from fabmesh.envs.network.loading import load_scenario
from fabmesh.envs.testing import random_actions
from fabmesh.envs.vector import HubNetworkVector

POCKET = load_scenario("pocket")
LINES = (
    *("material", "order_cost", "supplier_freight", "first_mile_freight", "last_mile_freight", "machine", "energy"),
    *("labour", "overtime", "setup", "scrap", "holding", "deadstock", "lateness", "stock_change", "lost"),
    *("settlement", "revenue", "transfers"),
)
EVENTS = (
    *("units_ordered", "units_delivered", "units_lost", "units_cancelled", "units_open", "units_on_time"),
    *("lead_time_unit_days", "tenders_posted", "tenders_won", "tenders_lost", "masked_actions"),
    *("purchases_eur", "retail_eur", "deadstock_gross_eur", "supplier_orders", "hub_consignments", "overtime_h"),
    *("shortage_hub_material_days", "outage_days", "labour_h", "units_scrapped", "inventory_eur_days"),
    *("award_cost_eur", "award_least_cost_eur", "award_left_eur", "hub_month_rows"),
    *(f"batch_{n}{what}_eur" for what in ("", "_standard") for n in ("1", "2_5", "6_20", "21")),
    *("paid_above_bid_eur", "platform_fees_eur", "royalties_eur"),
    *("surge_units", "life_shift_product_days"),
    *("co2e_kg_van", "co2e_kg_parcel", "co2e_kg_retail_parcel", "co2e_kg_truck_to_hub", "co2e_kg_truck_to_depot"),
    *("co2e_kg_energy", "co2e_kg_material", "co2e_kg_scrap", "co2e_kg_write_off"),
)


def hand_made_episodes():
    """Two episodes of a hub, a depot and the platform: cost line j holds 10 (j + 1) EUR in each row."""
    ledger = np.zeros((2, 3, len(LINES)))
    for j in range(len(LINES)):
        ledger[0, :, j] = 10.0 * (j + 1)
    ledger[0, :, LINES.index("revenue")] = (1_000, 0, 0)
    ledger[0, :, LINES.index("transfers")] = (-300, 300, 0)
    events = np.zeros((2, len(EVENTS)))
    counts = {
        "units_ordered": 100, "units_delivered": 80, "units_lost": 15, "units_cancelled": 2, "units_open": 3,
        "units_on_time": 60, "lead_time_unit_days": 240, "tenders_posted": 4, "tenders_won": 1, "purchases_eur": 2_000,
        "retail_eur": 500, "deadstock_gross_eur": 100, "supplier_orders": 7, "hub_consignments": 9,
        "masked_actions": 11, "overtime_h": 12.5, "shortage_hub_material_days": 13,
        "labour_h": 70, "units_scrapped": 20, "inventory_eur_days": 3_000, "surge_units": 5,
        "award_cost_eur": 800, "award_least_cost_eur": 720, "award_left_eur": 40,
        "paid_above_bid_eur": 21, "platform_fees_eur": 22, "royalties_eur": 23,
        "co2e_kg_van": 1, "co2e_kg_parcel": 2,
        "co2e_kg_retail_parcel": 4, "co2e_kg_truck_to_hub": 8, "co2e_kg_truck_to_depot": 16, "co2e_kg_energy": 32,
        "co2e_kg_material": 64, "co2e_kg_scrap": 128, "co2e_kg_write_off": 256,
    }  # fmt: skip
    for name, value in counts.items():
        events[0, EVENTS.index(name)] = value
    return ledger, events


def expected_units_a_day():
    """Of pocket, 214,320 people, from its own figures: three products, custom orders, tenders of 10 to 60 units."""
    people = sum(town.population for town in POCKET.towns)
    catalogue = 4.0 * sum(product.units_per_1000_year for product in POCKET.products) / 1e3
    custom = 1.5 * POCKET.custom_streams[0].orders_per_100k_year / 1e5
    (stream,) = POCKET.tender_streams
    tenders = 2.0 * stream.tenders_per_100k_year / 1e5 * (stream.units[0] + stream.units[1]) / 2
    return people * (catalogue + custom + tenders) / 250


def test_measures_from_a_hand_made_ledger():
    ledger, events = hand_made_episodes()
    got = measure(EpisodeBooks(ledger, LINES, events, EVENTS, np.array([1_000.0, 0.0])))
    network = 3 * 10 * sum(range(1, 18))  # 17 cost lines of 10 (j + 1), three rows; the two transfer lines do not count
    logistics = 3 * 10 * (2 + 3 + 4 + 5)
    deadstock = 3 * 10 * 13
    expected = {
        "network_cost": network,
        "controllable_cost": network - 1_000,
        "mission_cost": logistics + deadstock,
        "network_cost_per_unit": network / 80,
        "controllable_cost_per_unit": (network - 1_000) / 80,
        "mission_cost_per_unit": (logistics + deadstock) / 80,
        "deadstock": deadstock,
        "deadstock_share": 0.04,
        "logistics_cost": logistics,
        "logistics_share": logistics / network,
        "retail_share": 0.2,
        "lateness_cost": 3 * 10 * 14,
        "lost_cost": 3 * 10 * 16,
        "holding_cost": 3 * 10 * 12,
        "settlement_cost": 3 * 10 * 17,
        "fill_rate": 0.8,
        "on_time_share": 0.75,
        "lost_share": 0.15,
        "cancelled_share": 0.02,
        "lead_time_days": 3.0,
        "tender_win_share": 0.25,
        "supplier_orders": 7,
        "hub_consignments": 9,
        "shortage_days": 13,
        "overtime_hours": 12.5,
        "masked_actions": 11,
        "skilled_hours": 70,
        "scrap_share": 20 / (80 + 20),
        "inventory_turns_per_year": 3 * 10 * 1 * 250 / 3_000,
        "allocative_efficiency": 0.9,
        "winners_regret": 40 / 1_000,
        "realised_markup": (1_000 - 3 * 10 * 5) / (3 * 10 * (1 + 6 + 7 + 8 + 9 + 10 + 11)) - 1,
        "paid_above_bid": 21,
        "platform_fees": 22,
        "royalties": 23,
        "units_ordered": 100,
        "surge_units_share": 0.05,
        "co2e_kg": 511,
        "co2e_kg_per_unit": 511 / 80,
        "co2e_kg_van": 1,
        "co2e_kg_parcel": 2,
        "co2e_kg_retail_parcel": 4,
        "co2e_kg_truck_to_hub": 8,
        "co2e_kg_truck_to_depot": 16,
        "co2e_kg_energy": 32,
        "co2e_kg_material": 64,
        "co2e_kg_scrap": 128,
        "co2e_kg_write_off": 256,
    }
    assert set(got) == {item.name for item in MEASURES} == set(expected)
    for name, value in expected.items():
        assert got[name][0] == pytest.approx(value), name


def test_a_share_of_nothing_is_undefined_and_a_cost_of_nothing_is_zero():
    ledger, events = hand_made_episodes()
    got = measure(EpisodeBooks(ledger, LINES, events, EVENTS, np.zeros(2)))
    assert np.isnan(got["fill_rate"][1])
    assert np.isnan(got["deadstock_share"][1])
    assert np.isnan(got["mission_cost_per_unit"][1])
    assert got["network_cost"][1] == 0.0


def test_gini_by_hand():
    assert gini(np.array([1.0, 1.0, 1.0])) == 0.0
    assert gini(np.array([0.0, 0.0, 9.0])) == pytest.approx(2 / 3)  # (n - 1) / n: one has everything
    assert gini(np.array([1.0, 3.0])) == pytest.approx(0.25)
    assert np.isnan(gini(np.array([-2.0, 1.0])))


def test_measures_of_the_network_from_hand_made_books():
    """pocket: 2 hubs of 1 and 2 technicians, 1 depot, 3 materials; two hubs and a depot in the ledger."""
    ledger = np.zeros((1, 4, len(LINES)))
    ledger[0, :2, LINES.index("revenue")] = (1_000, 3_000)
    ledger[0, :2, LINES.index("transfers")] = (-100, -100)
    ledger[0, :2, LINES.index("labour")] = (400, 1_400)
    names = (*EVENTS, "machine_h_FDM", "machine_h_CNC", "machine_h_laser")
    names += ("tenders_posted_C3", "tenders_served_C3", "tender_days_C3")
    events = np.zeros((1, len(names)))
    for name, value in {
        "inventory_eur_days": 1_200, "labour_h": 594, "machine_h_CNC": 300, "hub_month_rows": 18,
        "batch_1_eur": 30, "batch_1_standard_eur": 10, "batch_21_eur": 550, "batch_21_standard_eur": 500,
        "units_ordered": 1_000, "life_shift_product_days": 45,
        "tenders_posted_C3": 8, "tenders_served_C3": 2, "tender_days_C3": 30,
    }.items():  # fmt: skip
        events[0, names.index(name)] = value
    flow = np.zeros((1, 3, 3, 6, 2))
    bulk = np.array([material.bulk_eur for material in POCKET.materials])
    retail = np.array([material.retail_eur for material in POCKET.materials])
    flow[0, 2, :, F_RECEIVED, 0] = 10.0
    flow[0, 2, :, F_RECEIVED, 1] = 10.0 * 1.25 * bulk
    flow[0, :2, :, F_RECEIVED, 1] = 1e9  # what hubs receive is no purchase from a supplier
    trace = Trace({}, np.zeros((60, 1)), np.zeros((1, 2)), 0.0, np.zeros(2), np.array([0.15]))
    got = measure_network(NetworkBooks(ledger, LINES, events, names, np.zeros(1), POCKET, flow, trace))
    hours = {t.name: t.hours_per_day for t in POCKET.technologies}
    expected = {
        "inventory_value_eur": 1_200 / 60,
        "depot_price_over_bulk": 1.25,
        "depot_price_over_retail": 1.25 * bulk.sum() / retail.sum(),
        "labour_utilisation": 594 / (3 * 6.6 * 60),
        "bid_markup": 0.15,
        "products_per_hub_month": 18 / (2 * 3),  # 60 days are three months of 21, the last of them short
        "cost_index_batch_1": 3.0,
        "cost_index_batch_2_5": np.nan,
        "cost_index_batch_6_20": np.nan,
        "cost_index_batch_21": 1.1,
        "hub_profit": (1_000 - 100 - 400) + (3_000 - 100 - 1_400),
        "gini_hub_profit": 0.25,  # 500 and 1,500
        "gini_hub_work": 500 / (2 * 2_500),  # 1,000 and 1,500 a technician
        "demand_level": 1_000 / (60 * expected_units_a_day()),
        "life_cycle_shift": 0.25,  # 45 of 3 products on 60 days
        "capital_charge": capital_charge(POCKET),
        "profit_after_capital": (4_000 - 1_800 - 200 + 594 * 42 + 300 * 14) * 250 / 60 - fixed_cost(POCKET),
        "break_even_adoption": fixed_cost(POCKET) / (31_148 / 4_000) / mature_revenue(POCKET),
        "tenders_served_C3": 0.25,
        "weeks_to_C3": 3.0,
        "utilisation_FDM": 0.0,
        "utilisation_CNC": 300 / (2 * hours["CNC"] * 60),
        "utilisation_laser": 0.0,
    }
    assert list(got) == list(expected)
    for name, value in expected.items():
        assert got[name][0] == pytest.approx(value, nan_ok=True), name


def test_every_measure_of_an_episode_is_explained():
    table = evaluate(make_policy("base_stock", POCKET), POCKET, seed_set("validation", 2).seeds)
    plain = [item.name for item in (*MEASURES, *NETWORK_MEASURES)]
    assert list(table.measures)[: len(plain)] == plain
    for name in table.measures:
        item = measure_named(name)
        assert item.name == name
        assert item.unit
        assert item.formula


def test_watching_changes_nothing_and_sees_what_happens():
    """Shipments add up to what depots sent; with one depot each pair is what the hub got; shares won carry mark-ups."""
    batch = HubNetworkVector(POCKET, num_envs=3, autoreset=False)
    _, info = batch.reset(seed=seed_set("validation", 3).seeds)
    recorder, rng = Recorder(batch), np.random.default_rng(3)
    for _ in range(POCKET.episode_d):
        _, _, _, _, info = batch.step(random_actions(batch, info["action_mask"], rng))
        recorder.day()
    trace = recorder.trace()
    kg = np.array([material.kg for material in POCKET.materials])
    sent = (batch.arrays.flow[:, 2:, :, F_SHIPPED, 0] * kg).sum(axis=(1, 2))
    assert trace.shipped_kg.sum() == pytest.approx(sent.mean())
    assert trace.shared_out == 0.0
    assert trace.deadstock_eur.shape == (POCKET.episode_d, 3)
    assert (np.diff(trace.deadstock_eur, axis=0) >= 0).all()
    assert (
        trace.deadstock_eur[-1].tolist()
        == info["final_events"][:, batch.event_names.index("deadstock_gross_eur")].tolist()
    )
    closing = sum(days[-1] for days in trace.stock_eur.values())
    assert (closing > 0).all()
    assert trace.stock_eur["depots"][-1].tolist() == batch.arrays.depot_mat["value"].sum(axis=(1, 2)).tolist()
    assert ((trace.bid_markup >= -0.15) & (trace.bid_markup <= 0.7)).all()
    revenue = info["final_ledger"][:, :2, batch.ledger_lines.index("revenue")]
    assert trace.hub_revenue_eur.tolist() == revenue.mean(axis=0).tolist()


def test_mark_up_of_bids_at_cost_is_zero_and_of_no_bids_undefined():
    seeds = seed_set("validation", 2).seeds
    assert evaluate(make_policy("nearest", POCKET), POCKET, seeds).measures["bid_markup"].tolist() == [0.0, 0.0]
    assert np.isnan(evaluate(make_policy("idle", POCKET), POCKET, seeds).measures["bid_markup"]).all()


def test_audit_changes_nothing_but_its_counts():
    plain, audited = (HubNetworkVector("pocket", num_envs=3, audit=audit) for audit in (False, True))
    _, info = plain.reset(seed=5)
    audited.reset(seed=5)
    rng = np.random.default_rng(2)
    for _ in range(POCKET.episode_d):
        actions = random_actions(plain, info["action_mask"], rng)
        obs, _, _, _, info = plain.step(actions)
        others, _, _, _, seen = audited.step(actions)
        for role in plain.roles:
            np.testing.assert_array_equal(obs[role], others[role])
        np.testing.assert_array_equal(info["cost"], seen["cost"])
    counted = [
        name
        for name in plain.event_names
        if name.startswith("award_") or name.startswith("batch_") or name == "hub_month_rows"
    ]
    columns = [plain.event_names.index(name) for name in counted]
    assert len(counted) == 12
    assert not info["final_events"][:, columns].any()
    assert (seen["final_events"][:, columns] >= 0).all()
    assert (seen["final_events"][:, columns].sum(axis=0) > 0).all()
    rest = np.delete(np.arange(len(plain.event_names)), columns)
    np.testing.assert_array_equal(info["final_events"][:, rest], seen["final_events"][:, rest])
    cost, least, left = (
        seen["final_events"][:, plain.event_names.index(f"award_{name}_eur")] for name in ("cost", "least_cost", "left")
    )
    assert (least <= cost).all()
    assert (left >= 0).all()


def test_batches_add_up_to_the_ledger_and_large_ones_are_cheaper():
    """Set-ups are shared (economies of scale, F§3.2); what batches cost is what the lines of production say."""
    batch = HubNetworkVector("rotterdam", num_envs=4, audit=True)
    policy = make_policy("base_stock", batch.scenario)
    policy.reset(4, 0)
    obs, info = batch.reset(seed=3)
    for _ in range(30):
        obs, _, _, _, info = batch.step(policy.act(obs, info["action_mask"]))
    events = dict(zip(batch.event_names, batch.events.T, strict=True))
    cost = {n: events[f"batch_{n}_eur"] for n in ("1", "2_5", "6_20", "21")}
    index = [float(cost[n].sum() / events[f"batch_{n}_standard_eur"].sum()) for n in cost]
    assert index == sorted(index, reverse=True)
    assert index[0] > 1.2 > index[-1] > 1.0
    lines = [batch.ledger_lines.index(n) for n in ("material", "machine", "energy", "labour", "setup", "scrap")]
    books = batch.ledger[..., lines].sum(axis=(1, 2))
    spent = sum(cost.values())
    # what earlier stages put into units that are scrapped later is scrap in the books, and no cost of this batch
    assert (spent <= books * (1 + 1e-9)).all()
    np.testing.assert_allclose(spent, books, rtol=0.02)


def test_efficiency_and_regret_of_a_market_with_one_bidder():
    """Delft alone bids at cost: every award could have asked for the ceiling; Dordrecht is nearer to its own town."""
    batch = HubNetworkVector("pocket", num_envs=1, audit=True)
    batch.reset(seed=11)
    actions = {
        role: np.zeros((1, len(batch.agents[role]), len(batch.spec[role].nvec)), np.int64) for role in batch.roles
    }
    actions["hub"][0, 0, batch.spec["hub"].component("bid")] = 2  # at cost
    lots = batch.arrays.lot[0][: int(batch.arrays.clock["lots"][0])].copy()
    batch.step(actions)
    events = dict(zip(batch.event_names, batch.events[0], strict=True))
    books = batch.arrays.order[0, 0][: int(batch.arrays.hub["orders"][0, 0])]
    assert len(books) > 0
    assert {int(order["key"]) for order in books} <= {int(lot["key"]) for lot in lots}
    assert events["award_least_cost_eur"] < events["award_cost_eur"]
    assert events["award_left_eur"] > 0.1 * events["award_cost_eur"]


def test_sums_over_many_nodes_keep_the_bits_that_manifests_hold():
    """From nine nodes on the order in which NumPy adds depends on how a line is taken out of the ledger."""
    lines = ("upkeep", "inspection", "quality_returns", "deadstock")
    ledger = np.random.default_rng(0).lognormal(10.0, 2.0, (64, 23, len(lines)))
    books = EpisodeBooks(ledger, lines, np.zeros((64, 0)), (), np.zeros(64))
    upkeep, inspection, returns = (ledger[..., i].sum(axis=1) for i in range(3))
    assert np.array_equal(booked(books, "upkeep"), upkeep)
    assert np.array_equal(booked(books, "inspection", "quality_returns"), inspection + returns)
    assert np.array_equal(books.line["deadstock"], ledger.sum(axis=1)[:, 3])
    assert not np.array_equal(upkeep, ledger.sum(axis=1)[:, 0])
