"""Quality: bias of machines, parts out of tolerance, lots and inspection, against references in plain Python."""

import math
import random
from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up import begun, line, put_order
from test_laws import Player, event, play_and_check, players, vary

from fabmesh.agents.evaluation.judge.protocol import evaluate
from fabmesh.agents.evaluation.measures.books import ScenarioBooks
from fabmesh.agents.evaluation.measures.mechanisms import measure_mechanisms
from fabmesh.agents.heuristics import PRESETS
from fabmesh.agents.heuristics.family import Choice, compose
from fabmesh.agents.registry import make_policy
from fabmesh.envs.network.compiler.rng import (
    STREAM_CALIBRATION,
    STREAM_DRIFT,
    STREAM_INSPECTION,
    STREAM_LOT,
    STREAM_SCRAP,
    combine,
    day_key,
    name_key,
    normal,
    uniform,
)
from fabmesh.envs.network.day.stage5_depots_buy import depots_buy
from fabmesh.envs.network.day.stage6_hubs_work import hubs_work
from fabmesh.envs.network.day.stage7_goods_move import receive
from fabmesh.envs.network.loading import load_scenario
from fabmesh.envs.network.mechanisms.quality import calibrate, compare_hubs, drift, out_of_tolerance, returns_to_expect
from fabmesh.envs.network.schema.scenario import Experience, People, Quality, Upkeep
from fabmesh.envs.testing import check_scenario
from fabmesh.envs.vector import HubNetworkVector

POCKET = load_scenario("pocket")
ON = replace(POCKET, quality=Quality(enabled=True))
LANES = [t.name for t in POCKET.technologies]
CNC, FDM = LANES.index("CNC"), LANES.index("FDM")
ALL_ON = replace(ON, people=People(enabled=True), upkeep=Upkeep(enabled=True))


def key_of(*parts):
    """The key of names combined from the left: a day's key, or places and things."""
    key = np.uint64(parts[0])
    for part in parts[1:]:
        key = np.uint64(combine(key, np.uint64(part)))
    return key


def quantile(u, n, rate):
    """The smallest k with P(X <= k) >= u, by summing binomial terms."""
    k, below = 0, 0.0
    while True:
        below += math.comb(n, k) * rate**k * (1 - rate) ** (n - k)
        if below >= u or k == n:
            return k
        k += 1


def share_out(technology, bias, unqualified):
    """Share of parts beyond the tolerance, in mm: bias + lots of the mix + the machine's noise."""
    one, other = technology.lot_sd_mm
    variance = technology.process_sd_mm**2 + (1 - unqualified) * one**2 + unqualified * other**2
    parts = NormalDist(bias * technology.tolerance_mm, math.sqrt(variance))
    return parts.cdf(-technology.tolerance_mm) + 1 - parts.cdf(technology.tolerance_mm)


# --- machines


@pytest.mark.parametrize("bias", [-1.3, 0.0, 0.2, 0.6])
@pytest.mark.parametrize("unqualified", [0.0, 0.4, 1.0])
def test_share_out_of_tolerance(bias, unqualified):
    batch, tables, state, _ = begun(ON)
    batch.arrays.hub_tech["bias"] = bias
    for k, technology in enumerate(ON.technologies):
        expected = share_out(technology, bias, unqualified)
        assert out_of_tolerance(tables, state, 0, k, unqualified) == pytest.approx(expected, abs=1e-12)
    without = replace(ON, technologies=tuple(replace(t, tolerance_mm=None) for t in ON.technologies))
    batch, tables, state, _ = begun(without)
    assert out_of_tolerance(tables, state, 0, 0, unqualified) == 0.0


def test_bias_follows_the_reference():
    batch, tables, state, _ = begun(ON, seed=9)
    pick, q = random.Random(1), ON.quality
    lane = batch.arrays.hub_tech[0, 1, CNC]
    bias, variance, name = float(lane["bias"]), q.uncalibrated_bias**2, key_of(name_key(POCKET.hubs[1].town))
    name = key_of(name, name_key("CNC"))
    for day in range(40):
        batch.arrays.clock["day"] = day
        if day % 7 == 3:
            share = pick.choice([0.25, 1.0])
            z = normal(np.uint64(day_key(np.uint64(9), STREAM_CALIBRATION, day)), name)
            bias = (1 - share) * bias + share * q.calibrated_bias * z
            variance = (1 - share) ** 2 * variance + share**2 * q.calibrated_bias**2
            calibrate(tables, state, 1, CNC, share)
        hours = pick.uniform(0, 10)
        weeks = hours / (5 * ON.technologies[CNC].hours_per_day)
        z = normal(np.uint64(day_key(np.uint64(9), STREAM_DRIFT, day)), name)
        bias, variance = bias + q.drift_week * math.sqrt(weeks) * z, variance + q.drift_week**2 * weeks
        drift(tables, state, 1, CNC, hours)
        assert lane["bias"] == pytest.approx(bias)
        assert lane["bias_var"] == pytest.approx(variance)


def test_biases_have_the_variance_that_hubs_count_on():
    """Day 0, after weeks of work, and after a calibration, over many worlds."""
    batch = HubNetworkVector(ON, num_envs=600)
    batch.reset(seed=0)
    tables, states, _, _ = batch._handles
    lanes = batch.arrays.hub_tech[:, :, CNC]
    for what in ("opening", "drift", "calibrated"):
        for b in range(600):
            for h in range(2):
                if what == "drift":
                    drift(tables, states[b], h, CNC, 5000.0)
                elif what == "calibrated":
                    calibrate(tables, states[b], h, CNC, 1.0)
        assert (lanes["bias_var"] == lanes["bias_var"][0, 0]).all()
        ratio = (lanes["bias"] ** 2).mean() / lanes["bias_var"][0, 0]
        assert ratio == pytest.approx(1.0, abs=4 * math.sqrt(2 / 1200)), what


def test_cpk_and_spread_by_hand():
    batch, tables, state, _ = begun(ON)
    batch.arrays.hub_tech["bias"][0] = 0.0
    batch.arrays.hub_tech["bias"][0, :, CNC] = (0.1, -0.5)
    batch.arrays.hub_tech["bias"][0, 1, LANES.index("laser")] = 1.5  # the mean is out of tolerance
    batch.events[:] = 0.0
    compare_hubs(tables, state)
    cpk = (0.05 - 0.005) / (3 * 0.015) + (0.05 - 0.025) / (3 * 0.015) + 2 * 0.2 / (3 * 0.06) + 0.0
    assert event(batch, "cpk_hub_technology_days") == pytest.approx(cpk)
    assert event(batch, "hub_spread_technology_days") == pytest.approx(0.3 * 0.05 / 0.015)  # the laser has one hub


# --- scrap and returns


@pytest.mark.parametrize("seed", range(10))
def test_a_days_scrap_and_returns_follow_the_reference(seed):
    pick = random.Random(seed)
    machines = {t.name: 40 for t in POCKET.technologies}
    scenario = replace(
        ON,
        technologies=tuple(replace(t, scrap=pick.choice([0.0, 0.05])) for t in POCKET.technologies),
        hubs=tuple(replace(h, machines=machines, technicians=60) for h in POCKET.hubs),
        disruptions=replace(POCKET.disruptions, scale=0.0),
        quality=Quality(enabled=True, hub_check=pick.choice([0.2, 0.9, 1.0])),
    )
    batch, tables, state, x = begun(scenario, seed)
    a = batch.arrays
    a.clock["lots"], a.clock["tenders"], a.hub["orders"] = 0, 0, 0
    a.hub_tech["bias"], bias = 0.0, pick.choice([0.0, 0.5, -0.9])
    a.hub_tech["bias"][0, 0] = bias
    a.hub_mat["sealed"], a.hub_mat["opened"] = 0.0, 0.0
    a.hub_mat["sealed"][0, :, :, 0] = 1e4
    unqualified, bad = pick.choice([0.0, 0.5, 1.0]), pick.choice([0.0, 0.1])
    a.hub_mat["unqualified"], a.hub_mat["bad"] = unqualified * 1e4, bad * 1e4
    before = batch.events.copy()
    row, product = 0, scenario.products[0]
    assert len(product.stages) == 1
    units = [pick.randrange(1, 25) for _ in range(2)]
    for n in units:
        put_order(batch, 0, row, 0, n, 9, product.price_eur)
    hubs_work(tables, state, x, np.zeros(batch.action_space["hub"].shape, np.int32)[0])
    technology = next(t for t in scenario.technologies if t.name == product.stages[0].technology)
    out = share_out(technology, bias, unqualified)
    found = scenario.quality.hub_check * out
    rate = 1 - (1 - technology.scrap) * (1 - found) * (1 - bad) ** len(product.bom)
    key = key_of(day_key(np.uint64(seed), STREAM_SCRAP, 0), name_key(scenario.hubs[0].town))
    scrapped = quantile(uniform(key, np.uint64(name_key(product.name))), sum(units), rate)
    u = uniform(key, key_of(name_key(product.name), 1))
    returned = quantile(u, sum(units) - scrapped, (out - found) / (1 - found))
    counts = dict(zip(batch.event_names, (batch.events - before)[0], strict=True))
    assert counts["units_scrapped"] == scrapped
    assert counts["units_returned"] == returned
    paid = returned * product.price_eur * scenario.quality.return_price_share
    assert line(batch, 0, "quality_returns") == pytest.approx(paid)
    lane = a.hub_tech[0, 0, LANES.index(technology.name)]
    fade = 1 - scenario.inventory.smoothing
    assert (lane["passed"], lane["returned"]) == pytest.approx(((sum(units) - scrapped) * fade, returned * fade))
    record = scenario.quality.return_price_share * returned * fade / (1 + (sum(units) - scrapped) * fade)
    assert returns_to_expect(tables, state, 0, row) == pytest.approx(record)
    assert returns_to_expect(tables, state, 1, row) == 0.0  # nobody knows it yet
    assert lane["scrap_share"] == pytest.approx(scenario.inventory.smoothing * scrapped / sum(units))
    assert a.hub_mat["bad"][0, 0] == pytest.approx(
        bad * a.hub_mat["sealed"][0, 0].sum(1) + bad * a.hub_mat["opened"][0, 0]
    )


# --- lots


@pytest.mark.parametrize("seed", range(6))
def test_lots_follow_the_reference(seed):
    pick = random.Random(seed)
    quality = Quality(enabled=True, bad_lots=(0.2, 0.5), inspection_finds=(0.5, 0.8))
    batch, tables, state, _ = begun(replace(ON, quality=quality), seed)
    a = batch.arrays
    a.depot_mat["orders"], a.depot_mat["on_order"] = 0, 0.0
    place = name_key(POCKET.depots[0].name)
    unqualified, bad, paid, counts = 0.0, 0.0, 0.0, [0, 0, 0]
    stock = a.depot_mat["stock"][0, 0, 0].sum()
    for day in range(60):
        a.clock["day"] = day
        spot, inspection, quantity = pick.randrange(2), pick.randrange(3), pick.uniform(1, 50)
        order = a.supplier_order[0, 0, 0, 0]
        for name, value in {
            "placed": day - 3, "arrives": day + 1, "quantity": quantity, "price": 2.0, "landed": 2.0, "spot": spot,
            "inspection": inspection,
        }.items():  # fmt: skip
            order[name] = value
        a.depot_mat["orders"][0, 0, 0] = 1
        thing = key_of(place, name_key(POCKET.materials[0].name))
        is_bad = uniform(np.uint64(day_key(np.uint64(seed), STREAM_LOT, day - 3)), thing) < quality.bad_lots[spot]
        finds = (0.0, *quality.inspection_finds)[inspection]
        key = np.uint64(day_key(np.uint64(seed), STREAM_INSPECTION, day - 3))
        found = is_bad and uniform(key, thing) < finds
        paid += (0.0, *quality.inspection_eur)[inspection]
        counts = [n + more for n, more in zip(counts, (1, is_bad, found), strict=True)]
        if not found:
            stock += quantity
            unqualified += spot * quantity
            bad += is_bad * quantity
        receive(tables, state)
        depot = a.depot_mat[0, 0, 0]
        assert depot["stock"].sum() == pytest.approx(stock)
        assert (depot["unqualified"], depot["bad"]) == pytest.approx((unqualified, bad))
    assert [event(batch, f"lots_{what}")[0] for what in ("received", "bad", "rejected")] == counts
    assert counts[1] > counts[2] > 0
    assert line(batch, len(POCKET.hubs), "inspection") == pytest.approx(paid)


def test_the_spot_source_is_cheaper_and_nearer():
    orders, freight = [], []
    for spot in (0, 1):
        batch, tables, state, _ = begun(ON)
        a, spec = batch.arrays, batch.spec["depot"]
        a.depot_mat["orders"], a.depot_mat["on_order"], a.depot_mat["stock"] = 0, 0.0, 0.0
        action = np.zeros(batch.action_space["depot"].shape, np.int32)[0]
        action[:, spec.component("trigger")] = 2
        action[:, spec.component("source")], action[:, spec.component("inspection")] = spot, 2
        depots_buy(tables, state, action)
        orders.append(a.supplier_order[0, 0, :, 0].copy())
        freight.append(line(batch, len(POCKET.hubs), "supplier_freight") - 33.0 * len(POCKET.materials))
    one, other = orders
    assert (other["spot"] == 1).all()
    assert (one["spot"] == 0).all()
    assert (one["inspection"] == 2).all()
    assert other["price"] == pytest.approx(0.92 * one["price"])
    assert freight[1] == pytest.approx(250 / 400 * freight[0])
    assert (one["arrives"] == other["arrives"]).all()


def test_what_is_all_bad_stays_all_bad_and_what_is_all_found_never_arrives():
    empty = replace(POCKET.inventory, opening_level=(0.0, 0.0))
    for finds, there in ((0.0, True), (1.0, False)):
        quality = Quality(enabled=True, bad_lots=(1.0, 1.0), inspection_finds=(finds, finds))
        batch = HubNetworkVector(replace(ON, inventory=empty, quality=quality), num_envs=4, autoreset=False)
        _, info = batch.reset(seed=0)
        player, spec = Player(batch, 1, 1.0, 0.0), batch.spec["depot"]
        batch.arrays.supplier_order["inspection"] = 1  # the lots under way on day 0 as well
        for _ in range(POCKET.episode_d):
            actions = player.act(info["action_mask"])
            actions["depot"][:, :, spec.component("inspection")] = 1
            info = batch.step(actions)[4]
            hub, depot = batch.arrays.hub_mat, batch.arrays.depot_mat
            on_hand = hub["sealed"].sum(axis=-1) + hub["opened"]
            assert hub["bad"] == pytest.approx(on_hand, abs=1e-6)
            assert hub["unqualified"].max() <= on_hand.max() + 1e-6
            assert depot["bad"] == pytest.approx(depot["stock"].sum(axis=-1), abs=1e-6)
        assert (depot["stock"].sum() > 0) == there
        assert (event(batch, "purchases_eur").sum() > 0) == there


# --- on and off


class Choosing:
    """A policy with calibration every so many days, technology by technology, and a depot's source and inspection."""

    def __init__(self, policy, spec, every=0, source=0, inspection=0):
        self.policy, self.spec, self.every = policy, spec, every
        self.source, self.inspection = source, inspection
        self.name, self.sees = policy.name, policy.sees

    def reset(self, copies, seed):
        """Starts counting."""
        self.policy.reset(copies, seed)
        self.day = 0

    def act(self, obs, mask):
        """The policy's action and these."""
        actions = self.policy.act(obs, mask)
        lane, rest = divmod(self.day, max(self.every, 1))
        upkeep = 1 + lane % len(LANES) if self.every and rest == 0 else 0
        actions["hub"][:, :, self.spec["hub"].component("upkeep")] = upkeep
        actions["depot"][:, :, self.spec["depot"].component("source")] = self.source
        actions["depot"][:, :, self.spec["depot"].component("inspection")] = self.inspection
        self.day += 1
        return actions


def test_calibration_and_source_move_their_measures():
    seeds, spec = range(16), HubNetworkVector(ON).spec
    off = evaluate(make_policy("base_stock", POCKET), POCKET, seeds).measures
    policy = make_policy("base_stock", ON)

    def judged(**choices):
        found = evaluate(Choosing(policy, spec, **choices), ON, seeds).measures
        return {name: np.nanmean(values) for name, values in found.items() if np.isfinite(values).any()}

    never, often = judged(), judged(every=4)
    assert not {"cpk", "hub_spread", "return_share", "quality_cost"} & set(off)
    assert never["scrap_share"] > off["scrap_share"].mean() + 0.02
    assert often["scrap_share"] < never["scrap_share"] - 0.02
    assert often["cpk"] > never["cpk"] + 0.1
    assert often["hub_spread"] < 0.7 * never["hub_spread"]
    assert often["return_share"] < never["return_share"]
    spot, checked = judged(every=4, source=1), judged(every=4, source=1, inspection=2)
    assert spot["bad_lot_share"] > often["bad_lot_share"] + 0.02
    assert spot["scrap_share"] > often["scrap_share"] + 0.01
    assert spot["bad_lots_found"] == 0.0
    assert checked["bad_lots_found"] > 0.85
    assert checked["quality_cost"] > 0.0


def careless(name):
    """A heuristic that neither services nor inspects."""
    return {**PRESETS[name], "upkeep": Choice("run_to_failure"), "sourcing": Choice("fixed_source")}


def test_the_weight_in_the_score_sends_work_where_less_comes_back():
    """Hubs differ in calibration only by chance; ceilings are out of the way, so that nearly as much is served."""
    living = load_scenario("rotterdam")
    scenario = replace(
        living,
        quality=Quality(enabled=True, hub_check=0.0),
        people=People(),
        upkeep=Upkeep(),
        experience=Experience(),
        disruptions=replace(living.disruptions, scale=0.0),
        episode_d=60,
    )
    market = replace(scenario.market, ceiling_catalogue=4.0, ceiling_custom=4.0)
    measures = []
    for weight in (0.0, 10.0):
        weighted = replace(scenario, market=replace(market, quality_weight=weight))
        measures.append(evaluate(compose("nearest", weighted, careless("nearest")), weighted, range(8)).measures)
    back = [measure["return_share"] for measure in measures]
    assert back[1].mean() < 0.7 * back[0].mean()
    assert (back[1] < back[0]).sum() >= 6
    assert measures[1]["fill_rate"].mean() > measures[0]["fill_rate"].mean() - 0.1
    off = replace(scenario, quality=Quality())
    heavy = replace(off, market=replace(off.market, quality_weight=10.0))
    plain, same = (evaluate(make_policy("nearest", s), s, range(2)).measures for s in (off, heavy))
    assert (plain["network_cost"] == same["network_cost"]).all()  # nothing comes back, so nothing is ranked by it


def test_measures_by_hand():
    lines = ("inspection", "quality_returns")
    counts = {
        "cpk_hub_technology_days": 300.0, "hub_spread_technology_days": 60.0, "units_returned": 3.0,
        "units_delivered": 60.0, "lots_bad": 5.0, "lots_received": 50.0, "lots_rejected": 4.0,
    }  # fmt: skip
    ledger, events = np.array([[[2.0, 3.0], [5.0, 7.0]]]), np.array([[*counts.values()]])
    got = measure_mechanisms(ScenarioBooks(ledger, lines, events, [*counts], np.zeros(1), ON))
    assert got["cpk"] == pytest.approx(300 / (5 * 60))  # FDM and CNC at both hubs, the laser at one
    assert got["hub_spread"] == pytest.approx(60 / (2 * 60))
    assert got["return_share"] == 0.05
    assert got["quality_cost"] == 17.0
    assert (got["bad_lot_share"], got["bad_lots_found"]) == (0.1, 0.8)


def test_perfect_quality_is_the_world_without_the_mechanism():
    perfect = replace(
        POCKET,
        technologies=tuple(replace(t, tolerance_mm=None) for t in POCKET.technologies),
        quality=Quality(enabled=True, bad_lots=(0.0, 0.0)),
    )
    off = evaluate(make_policy("base_stock", POCKET), POCKET, range(3)).measures
    on = evaluate(compose("base_stock", perfect, careless("base_stock")), perfect, range(3)).measures
    assert (off["network_cost"] == on["network_cost"]).all()


# --- laws


@settings(max_examples=8)
@given(
    seed=st.integers(0, 2**48),
    player=players,
    bad=st.sampled_from([0.0, 0.3, 1.0]),
    bias=st.sampled_from([0.0, 0.5, 3.0]),
    life=st.sampled_from([None, 12.0]),
)
def test_laws_hold_with_quality_people_and_upkeep(seed, player, bad, bias, life):
    scenario = vary(
        quality={"enabled": True, "bad_lots": (bad, bad), "uncalibrated_bias": bias},
        people={"enabled": True},
        upkeep={"enabled": True},
        demand={"revisions_per_year": 20.0},
        disruptions={"hub_outage_year": 5.0},
    )
    scenario = replace(scenario, materials=tuple(replace(m, sealed_life_d=life) for m in scenario.materials))
    batch = play_and_check(scenario, [seed, seed + 1], player)
    hub, depot = batch.arrays.hub_mat, batch.arrays.depot_mat
    for stock, where in ((hub["sealed"].sum(-1) + hub["opened"], hub), (depot["stock"].sum(-1), depot)):
        for share in ("unqualified", "bad"):
            assert (where[share] >= 0).all()
            assert (where[share] <= stock + 1e-6).all()


def test_all_of_them_play_the_same_alone_and_in_a_batch():
    assert check_scenario(ALL_ON)
    assert check_scenario(
        replace(load_scenario("rotterdam"), people=People(True), upkeep=Upkeep(True), quality=Quality(True))
    )
