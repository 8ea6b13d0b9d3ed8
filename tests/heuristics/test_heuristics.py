"""Heuristics: textbook formulas by hand, legal actions, what each rule promises, and the order they come out in."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from fabmesh.agents.evaluation.judge.protocol import evaluate
from fabmesh.agents.evaluation.judge.seeds import seed_set
from fabmesh.agents.evaluation.statistics import compare
from fabmesh.agents.heuristics import NAMES, formulas, make, names_for
from fabmesh.agents.policy import Policy
from fabmesh.agents.registry import make_policy
from fabmesh.envs.errors import FabmeshError
from fabmesh.envs.network.loading import load_scenario
from fabmesh.envs.vector import HubNetworkVector


@pytest.fixture(scope="module", params=["pocket", "rotterdam", "benelux"])
def scenario(request):
    return load_scenario(request.param)


@pytest.fixture(scope="module")
def pocket():
    return load_scenario("pocket")


def skip_what_is_not_tuned(scenario, name):
    if name not in names_for(scenario):
        pytest.skip(f"nothing is tuned for {scenario.name}")


def days_of(scenario, policy, copies=4, days=12, seed=3):
    """Observations, masks and actions of the first days, copied."""
    batch = HubNetworkVector(scenario, num_envs=copies)
    policy.reset(copies, 0)
    obs, info = batch.reset(seed=seed)
    for _ in range(days):
        seen = {role: obs[role].copy() for role in batch.roles}
        masks = {role: info["action_mask"][role].copy() for role in batch.roles}
        levels = policy.act(obs, info["action_mask"])
        yield batch, seen, masks, levels
        obs, _, _, _, info = batch.step(levels)
    batch.close()


# --- formulas ---------------------------------------------------------------------------------------------------------


def test_least_total_cost_is_at_the_economic_order_quantity():
    lots = np.linspace(1.0, 400.0, 40_000)
    best = lots[np.argmin(formulas.lot_cost(lots, 100.0, 50.0, 0.1, 10.0))]
    assert best == pytest.approx(np.sqrt(2 * 100.0 * 50.0 / (0.1 * 10.0)), rel=1e-3)  # 100 units


def test_all_units_discount_of_a_textbook_case():
    # D = 10,000 a year, K = 5.5 EUR, r = .2; below 400: 2.20 EUR, from 400: 2.00, from 800: 1.80. The EOQ at 1.80,
    # 553, is not in its class; the break at 800 costs less than the EOQ of the class before it.
    prices, breaks = np.array([[2.2, 2.0, 1.8]]), np.array([[400.0, 800.0]])
    lots = np.arange(10.0, 3_000.0, 1.0)
    price = formulas.all_units_price(lots[None], prices, breaks)[0]
    assert price[lots == 399] == 2.2
    assert price[lots == 400] == 2.0
    assert price[lots == 800] == 1.8
    cost = formulas.lot_cost(lots, 5.5, 10_000.0, 0.2, price)
    assert lots[np.argmin(cost)] == 800
    assert cost.min() == pytest.approx(18_000 + 5.5 * 10_000 / 800 + 0.2 * 1.8 * 400)


def test_safety_factor_is_the_quantile_of_the_critical_ratio():
    # h Q = 5, b D = 95: 5 % of the cycles may run out, z = 1.645
    assert formulas.safety_factor(0.05, 100.0, 9.5, 10.0) == pytest.approx(1.6449, abs=1e-4)
    assert formulas.safety_factor(1.0, 100.0, 0.1, 1.0) == 0.0  # shortages cheaper than stock


def test_joint_cycle_by_hand():
    assert formulas.joint_cycle(25.0, 500.0, 0.001) == pytest.approx(10.0)


def test_levels_are_the_nearest_or_the_covering_ones():
    values = (2, 4, 7, 10)
    assert formulas.nearest_level([0.0, 3.0, 5.4, 5.6, 99.0], values).tolist() == [0, 0, 1, 2, 3]
    assert formulas.covering_level([0.0, 2.0, 2.1, 7.0, 99.0], values).tolist() == [0, 0, 1, 2, 3]


# --- every heuristic --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_levels_are_legal_and_of_the_right_shape(scenario, name):
    skip_what_is_not_tuned(scenario, name)
    policy = make(name, scenario)
    assert isinstance(policy, Policy)
    assert policy.name == name
    assert policy.sees == "local"
    for batch, _, masks, levels in days_of(scenario, policy):
        for role in batch.roles:
            nvec = np.asarray(batch.spec[role].nvec)
            assert levels[role].shape == (4, len(batch.agents[role]), len(nvec))
            assert levels[role].dtype == np.int64
            offsets = np.cumsum(nvec) - nvec
            assert np.take_along_axis(masks[role], offsets + levels[role], axis=-1).all()


@pytest.mark.parametrize("name", NAMES)
def test_what_a_copy_does_depends_on_that_copy_alone(scenario, name):
    skip_what_is_not_tuned(scenario, name)
    whole, alone = make(name, scenario), make(name, scenario)
    whole.reset(4, 0)
    alone.reset(1, 0)
    for _, seen, masks, levels in days_of(scenario, whole, days=6):
        first = alone.act({role: x[:1] for role, x in seen.items()}, {role: x[:1] for role, x in masks.items()})
        for role, chosen in first.items():
            np.testing.assert_array_equal(chosen, levels[role][:1])


@pytest.mark.parametrize("component", ["hub.bid", "hub.tender", "hub.overtime", "depot.lot", "hub.make_to_stock"])
@pytest.mark.parametrize("name", NAMES)
def test_components_switched_off_are_no_obstacle(pocket, name, component):
    scenario = replace(pocket, actions=replace(pocket.actions, switched_off={component: 1}))
    for _ in days_of(scenario, make(name, scenario), days=2):
        pass


# --- what each promises -----------------------------------------------------------------------------------------------


def test_idle_chooses_nothing_and_serves_nobody(scenario):
    table = evaluate(make("idle", scenario), scenario, seed_set("train", 2).seeds)
    for name in ("fill_rate", "supplier_orders", "hub_consignments", "tender_win_share", "masked_actions"):
        assert (table.measures[name] == 0).all(), name
    assert (table.costs["lost"] > 0).all()


def test_random_is_uniform_over_legal_levels_and_follows_its_seed(pocket):
    policy = make("random", pocket)
    counts: dict[str, np.ndarray] = {}
    legal: dict[str, np.ndarray] = {}
    for batch, _, masks, levels in days_of(pocket, policy, copies=64, days=40):
        for role in batch.roles:
            nvec = np.asarray(batch.spec[role].nvec)
            offsets = np.cumsum(nvec) - nvec
            chosen = np.zeros_like(masks[role], dtype=np.int64)
            np.put_along_axis(chosen, offsets + levels[role], 1, axis=-1)
            shares = masks[role] / np.repeat(np.add.reduceat(masks[role], offsets, axis=-1), nvec, axis=-1)
            counts[role] = counts.get(role, 0) + chosen.sum(axis=(0, 1))
            legal[role] = legal.get(role, 0) + shares.sum(axis=(0, 1))
    for role, expected in legal.items():
        spread = np.abs(counts[role] - expected) / np.sqrt(np.maximum(expected, 1.0))
        assert spread.max() < 4.5  # standard deviations, over some hundred levels

    (first, *_), (again, *_) = ([x[3] for x in days_of(pocket, make("random", pocket), days=3)] for _ in range(2))
    np.testing.assert_array_equal(first["hub"], again["hub"])
    other = make("random", pocket)
    batch, seen, masks, _ = next(iter(days_of(pocket, make("random", pocket), days=1)))
    other.reset(4, 1)
    assert (other.act(seen, masks)["hub"] != first["hub"]).any()


def test_nearest_bids_its_cost_whatever_the_load(scenario):
    policy = make("nearest", scenario)
    at_cost = 1 + scenario.actions.bid_markups.index(0.0)
    for batch, _, masks, levels in days_of(scenario, policy, days=5):
        hub = batch.spec["hub"]
        bids = levels["hub"][..., hub.component("bid")]
        possible = masks["hub"][..., np.cumsum(hub.nvec)[: bids.shape[-1]] - 1] == 1
        assert (bids[possible] == at_cost).all()
        assert (bids[~possible] == 0).all()


def first_day(scenario, name):
    policy = make(name, scenario)
    batch, seen, masks, _ = next(iter(days_of(scenario, policy, copies=2, days=1)))
    masks = {role: np.ones_like(mask) for role, mask in masks.items()}
    return policy, batch.spec, seen, masks


def test_base_stock_marks_up_with_load(scenario):
    policy, spec, seen, masks = first_day(scenario, "base_stock")
    hub = spec["hub"]
    seen["hub"][..., hub.feature("lane_margin")] = 10.0
    seen["hub"][..., hub.feature("labour_load")] = 0.0
    markups = []
    for load in (0.0, 0.8, 1.0, 1.2):
        seen["hub"][..., hub.feature("lane_load")] = load
        level = np.unique(policy.act(seen, masks)["hub"][..., hub.component("bid")])
        assert len(level) == 1
        markups.append(scenario.actions.bid_markups[level[0] - 1])
    wanted = [0.15 + 0.35 * load**3 for load in (0.0, 0.8, 1.0, 1.2)]
    nearest = [min(scenario.actions.bid_markups, key=lambda m, w=w: abs(m - w)) for w in wanted]
    assert markups == nearest
    assert markups == sorted(markups)


def test_base_stock_asks_no_more_than_customers_pay_and_never_less_than_cost(scenario):
    policy, spec, seen, masks = first_day(scenario, "base_stock")
    hub = spec["hub"]
    seen["hub"][..., hub.feature("lane_load")] = 1.3
    for margin, markup in ((0.4, 0.35), (0.2, 0.15), (0.05, 0.0), (-0.5, 0.0)):
        seen["hub"][..., hub.feature("lane_margin")] = margin
        levels = policy.act(seen, masks)["hub"][..., hub.component("bid")]
        assert (levels == 1 + scenario.actions.bid_markups.index(markup)).all()


def test_base_stock_passes_tenders_that_do_not_fit_or_do_not_pay(scenario):
    policy, spec, seen, masks = first_day(scenario, "base_stock")
    hub = spec["hub"]
    x = seen["hub"]
    x[..., hub.feature("tender_present")] = 1.0
    x[..., hub.feature("tender_due")] = 10.0 / 15.0
    x[..., hub.feature("lane_load")] = 0.0
    x[..., hub.feature("labour_load")] = 0.0
    for work, margin, taken in ((0.5, 0.5, True), (1.2, 0.5, False), (0.5, -0.1, False)):
        x[..., hub.feature("tender_work")] = work
        x[..., hub.feature("tender_margin")] = margin
        levels = policy.act(seen, masks)["hub"][..., hub.component("tender")]
        assert ((levels > 0) == taken).all()


def test_base_stock_buys_no_kits_whose_design_ends(scenario):
    kits = [m for m, material in enumerate(scenario.materials) if material.design_of is not None]
    if not kits:
        pytest.skip("the scenario has no kits")
    policy, spec, seen, masks = first_day(scenario, "base_stock")
    covers = []
    for notice in (0.0, 0.3, 0.95):
        for role in ("hub", "depot"):
            seen[role][..., spec[role].feature("kit_notice")] = notice
        levels = policy.act(seen, masks)
        covers.append(levels["hub"][..., spec["hub"].component("cover")][..., kits])
        seen["depot"][..., spec["depot"].feature("stock_cover")] = 0.0
        triggers = policy.act(seen, masks)["depot"][..., spec["depot"].component("trigger")][..., kits]
        leads = np.array([scenario.materials[m].lead_mean_d for m in kits])
        arrives_before = leads < (scenario.demand.revision_notice_d + 1) * (1 - notice)
        assert ((triggers == 0) == ((notice > 0.0) & arrives_before)).all()
    assert (covers[0] > 0).all()
    assert (covers[1] <= covers[0]).all()
    assert (covers[2] == 0).all()  # used up tomorrow: what is ordered now would come too late


def test_base_stock_makes_economic_lots_of_what_has_run_out(scenario):
    policy, spec, seen, masks = first_day(scenario, "base_stock")
    hub = spec["hub"]
    make_to_stock = hub.component("make_to_stock")
    lots = {}
    for cover, notice in ((0.0, 0.0), (0.5, 0.0), (0.0, 0.2), (0.0, 0.95)):
        seen["hub"][..., hub.feature("finished_cover")] = cover
        seen["hub"][..., hub.feature("revision_notice")] = notice
        lots[cover, notice] = policy.act(seen, masks)["hub"][..., make_to_stock]
    assert (lots[0.0, 0.0] > 0).all()
    assert (lots[0.5, 0.0] == 0).all()  # 2.5 days of sales are left
    np.testing.assert_array_equal(lots[0.0, 0.2], lots[0.0, 0.0])
    assert (lots[0.0, 0.95] == 0).all()  # the design ends tomorrow


def test_base_stock_works_overtime_above_the_planned_utilisation(scenario):
    policy, spec, seen, masks = first_day(scenario, "base_stock")
    hub = spec["hub"]
    for load, share in ((0.0, 0.0), (0.85, 0.0), (1.0, 0.25), (1.3, 0.5), (3.0, 0.5)):
        seen["hub"][..., hub.feature("labour_load")] = load
        levels = policy.act(seen, masks)["hub"][..., hub.component("overtime")]
        assert (levels == scenario.actions.overtime.index(share)).all()


def test_depots_do_not_order_the_swing_of_requests_again(scenario):
    policy, spec, seen, masks = first_day(scenario, "base_stock")
    depot = spec["depot"]
    actions = scenario.actions
    trigger = {}
    for deviation in (0.0, 1.0):
        seen["depot"][..., depot.feature("kit_notice")] = 0.0
        seen["depot"][..., depot.feature("request_rate")] = deviation
        levels = policy.act(seen, masks)["depot"][..., depot.component("trigger")]
        trigger[deviation] = np.array(actions.depot_trigger)[levels - 1] * (1.0 + deviation)
    # requests twice the expected: the reorder point, in units, rises by much less than twice
    assert (trigger[1.0] < 2.0 * trigger[0.0]).any()
    assert trigger[1.0].mean() < 1.7 * trigger[0.0].mean()


# --- registry ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("basestock", "did you mean 'base_stock'"),
        ("oracle", "known names: tuned, base_stock, nearest, random, idle"),
        ("runs/nothing", "no such run directory"),
        ("idle:sample", "no action probabilities"),
    ],
)
def test_unknown_policies_are_refused_in_one_line(pocket, name, message):
    with pytest.raises(FabmeshError, match=message) as refused:
        make_policy(name, pocket)
    assert "\n" not in str(refused.value)


# --- order ------------------------------------------------------------------------------------------------------------


def test_tuned_is_best_and_random_and_idle_are_worst(scenario):
    seeds = seed_set("train", 32, first=4_000).seeds
    order = names_for(scenario)
    assert order[-4:] == ("base_stock", "nearest", "random", "idle")
    cost = {name: evaluate(make(name, scenario), scenario, seeds).measures["network_cost"] for name in order}
    for better, worse in itertools.pairwise(order):
        assert compare(cost[better], cost[worse]).difference.high < 0.0, (better, worse)
