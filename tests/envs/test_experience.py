"""Experience: Wright's law against its slope, shared learning, and qualification runs for new designs."""

import math
import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up import begun, line, put_order
from reference import Reference
from test_laws import event, play_and_check, players, vary

from fabmesh.agents.evaluation.judge.protocol import evaluate
from fabmesh.agents.evaluation.measures.books import ScenarioBooks
from fabmesh.agents.evaluation.measures.mechanisms import measure_mechanisms
from fabmesh.agents.registry import make_policy
from fabmesh.envs.network.day.stage3_offers import estimate_costs
from fabmesh.envs.network.day.stage3_promises import available_to_promise, build_room
from fabmesh.envs.network.day.stage6_hubs_work import hubs_work
from fabmesh.envs.network.day.stage7_goods_move import revise_designs
from fabmesh.envs.network.loading import load_scenario
from fabmesh.envs.network.mechanisms.experience import learn
from fabmesh.envs.network.schema.scenario import Experience, People, Quality, Upkeep
from fabmesh.envs.testing import check_scenario

POCKET = load_scenario("pocket")
ON = replace(POCKET, experience=Experience(enabled=True))
LANES = [t.name for t in POCKET.technologies]
CNC, FDM = LANES.index("CNC"), LANES.index("FDM")


# --- Wright's law


@pytest.mark.textbook
@pytest.mark.parametrize("ratio", [0.8, 0.92, 1.0])
def test_every_doubling_multiplies_labour_time_by_the_progress_ratio(ratio):
    """The slope of log time on log cumulative units is log2(r), the textbook's learning curve (Wright 1936)."""
    prior, technologies = 64.0, tuple(replace(t, progress_ratio=ratio) for t in POCKET.technologies)
    scenario = replace(
        ON, technologies=technologies, experience=Experience(enabled=True, prior_units=prior, floor=0.0, shared=0.0)
    )
    batch, tables, state, _ = begun(scenario)
    lane = batch.arrays.hub_tech[0, 0, CNC]
    units, time = [], []
    for doublings in range(8):
        lane["made"] = prior * (2**doublings - 1)
        learn(tables, state, True)
        units.append(prior * 2**doublings)
        time.append(float(lane["learned"]))
    slope = np.polyfit(np.log2(units), np.log2(time), 1)[0]
    print(f"Wright's slope for r = {ratio:g}: log2 r = {math.log2(ratio):.4f}, simulated {slope:.4f}")
    assert slope == pytest.approx(math.log2(ratio), abs=1e-12)
    assert time == pytest.approx([ratio**n for n in range(8)])
    books = batch.ledger, batch.ledger_lines, batch.events, batch.event_names, np.zeros(batch.num_envs)
    got = measure_mechanisms(ScenarioBooks(*books, scenario))
    assert got["learning_slope"] == pytest.approx(ratio)


@pytest.mark.parametrize("seed", range(10))
def test_experience_follows_the_reference(seed):
    pick = random.Random(seed)
    experience = Experience(
        enabled=True,
        prior_units=pick.uniform(20, 900),
        shared=pick.choice([0.0, 0.5, 1.0]),
        scrap_progress_ratio=pick.uniform(0.7, 1.0),
        floor=pick.choice([0.0, 0.55]),
    )
    scenario = replace(ON, experience=experience)
    batch, tables, state, _ = begun(scenario, seed)
    made = np.zeros((2, len(LANES)))
    doublings = gain = 0.0
    before = np.ones((2, len(LANES)))
    for _ in range(5):
        made += [[pick.uniform(0, 400) * (hub.machines.get(lane, 0) > 0) for lane in LANES] for hub in POCKET.hubs]
        batch.arrays.hub_tech["made"][0] = made
        learn(tables, state, True)
        for h, hub in enumerate(POCKET.hubs):
            for k, technology in enumerate(scenario.technologies):
                if not hub.machines.get(technology.name, 0):
                    continue
                units = made[h, k] + experience.shared * made[1 - h, k]
                times = units / experience.prior_units + 1
                labour = max(times ** math.log2(technology.progress_ratio), experience.floor)
                scrap = max(times ** math.log2(experience.scrap_progress_ratio), experience.floor)
                lane = batch.arrays.hub_tech[0, h, k]
                assert (lane["learned"], lane["scrap_learned"]) == pytest.approx((labour, scrap))
                gain -= math.log2(labour / before[h, k])
                before[h, k] = labour
    for h, hub in enumerate(POCKET.hubs):
        for k, lane in enumerate(LANES):
            if hub.machines.get(lane, 0):
                doublings += math.log2(1 + (made[h, k] + experience.shared * made[1 - h, k]) / experience.prior_units)
    assert event(batch, "learning_doublings") == pytest.approx(doublings)
    assert event(batch, "learning_gain_doublings") == pytest.approx(gain)


# --- what learning changes


def workshop(scenario, learned, units, row=0, scrap=0.0):
    """A large shop of one hub's orders for `units` of a row, after so much learning; a day's work."""
    machines = {t.name: 40 for t in POCKET.technologies}
    scenario = replace(
        scenario,
        technologies=tuple(replace(t, scrap=scrap) for t in POCKET.technologies),
        hubs=tuple(replace(h, machines=machines, technicians=60) for h in POCKET.hubs),
        disruptions=replace(POCKET.disruptions, scale=0.0),
    )
    batch, tables, state, x = begun(scenario, 21)
    a = batch.arrays
    a.clock["lots"], a.clock["tenders"], a.hub["orders"] = 0, 0, 0
    a.hub_mat["sealed"][0, :, :, 0] = 1e5
    a.hub_tech["learned"], a.hub_tech["scrap_learned"] = learned, learned
    batch.events[:], batch.ledger[:] = 0.0, 0.0
    put_order(batch, 0, row, 0, units, 9, POCKET.products[row].price_eur)
    return batch, (tables, state, x, np.zeros(batch.action_space["hub"].shape, np.int32)[0])


def test_learned_labour_is_shorter_in_work_promises_and_costs():
    units, row, reference = 10, 0, Reference(POCKET)
    price, (stage,) = POCKET.products[row].price_eur, POCKET.products[row].stages
    hours = reference.labour_h(stage, price)
    batch, arguments = workshop(ON, 0.7, units)
    tables, state, x, _ = arguments
    hubs_work(*arguments)
    wage = ON.labour.wage_eur_h
    assert line(batch, 0, "labour") == pytest.approx(0.7 * units * hours * wage)
    assert event(batch, "labour_saved_h") == pytest.approx(0.3 * units * hours)
    assert batch.arrays.hub_tech["made"][0, 0, LANES.index(stage.technology)] == units
    estimate_costs(tables, state)
    cheaper = float(batch.arrays.unit_cost[0, 0, row, 0])
    batch.arrays.hub_tech["learned"] = 1.0
    estimate_costs(tables, state)
    assert batch.arrays.unit_cost[0, 0, row, 0] - cheaper == pytest.approx(0.3 * hours * wage)
    promised = []
    for learned in (1.0, 0.5):
        batch.arrays.hub_tech["learned"], batch.arrays.hub["orders"] = learned, 0
        build_room(tables, state, x)
        batch._scratch.free[0, 0, : len(LANES)] = 1e9  # only people are short
        promised.append(available_to_promise(tables, x, 0, row, price, 2, 10**6))
    assert promised[1] == pytest.approx(2 * promised[0], rel=0.01)


def test_learned_scrap_is_less():
    scrapped = []
    for learned in (1.0, 0.55):
        batch, arguments = workshop(ON, learned, 400, scrap=0.2)
        hubs_work(*arguments)
        scrapped.append(event(batch, "units_scrapped")[0])
    assert scrapped[1] / scrapped[0] == pytest.approx(0.55, abs=0.15)


# --- new designs


def test_a_new_design_needs_a_qualification_run():
    units, row = 300, 0
    batch, (tables, state, x, action) = workshop(ON, 1.0, units)
    a, product = batch.arrays, POCKET.products[0]
    a.revision[0, row] = 1
    revise_designs(tables, state)
    assert a.hub_prod["qualifies"][0].tolist() == [[1, 0, 0], [1, 0, 0]]
    a.hub_mat["sealed"][0, :, :, 0] = 1e5  # the kits of the old design are gone
    hubs_work(tables, state, x, action)
    scrapped = event(batch, "units_scrapped")[0]
    assert scrapped / units == pytest.approx(0.2, abs=4 * math.sqrt(0.16 / units))
    assert a.hub_prod["qualifies"][0, :, row].tolist() == [2, 1]  # the other hub has made none
    assert event(batch, "qualification_runs") == 0
    a.clock["day"] = 1
    before, stock = batch.ledger.copy(), a.hub_mat["sealed"].sum() + a.hub_mat["opened"].sum()
    hours = event(batch, "labour_h")[0]
    a.hub["orders"] = 0
    hubs_work(tables, state, x, action)
    assert event(batch, "qualification_runs") == 1
    assert a.hub_prod["qualifies"][0, :, row].tolist() == [0, 1]
    spent = dict(zip(batch.ledger_lines, (batch.ledger - before)[0, 0], strict=True))
    assert spent["setup"] == pytest.approx(2.0 * ON.labour.wage_eur_h)
    assert event(batch, "labour_h")[0] - hours == pytest.approx(2.0)
    material = next(m for m in POCKET.materials if m.name == product.bom[0].material)
    gone = stock - a.hub_mat["sealed"].sum() - a.hub_mat["opened"].sum()
    assert gone == pytest.approx(0.5 / material.kg)
    assert spent["scrap"] > 0
    put_order(batch, 0, row, 0, units, 9, product.price_eur)
    a.clock["day"] = 2
    hubs_work(tables, state, x, action)
    assert event(batch, "units_scrapped")[0] == scrapped  # qualified: no scrap in this shop


# --- on and off


def test_learning_saves_labour_and_sharing_saves_more():
    seeds = range(8)
    off = evaluate(make_policy("base_stock", POCKET), POCKET, seeds).measures
    found = []
    for shared in (0.0, 1.0):
        scenario = replace(POCKET, experience=Experience(enabled=True, prior_units=60.0, shared=shared))
        found.append(evaluate(make_policy("base_stock", scenario), scenario, seeds).measures)
    alone, together = found
    assert not {"learning_slope", "labour_saved_hours", "qualification_runs"} & set(off)
    assert 0.85 < alone["learning_slope"].mean() < 0.95  # between the ratios .90 and .92, or above at the floor
    assert together["labour_saved_hours"].mean() > 1.1 * alone["labour_saved_hours"].mean() > 0
    a_unit = [m["skilled_hours"].sum() / m["fill_rate"].sum() for m in (off, alone, together)]
    assert a_unit[0] > a_unit[1] > a_unit[2]


def test_without_progress_and_revisions_it_is_the_world_without_the_mechanism():
    still = replace(POCKET, demand=replace(POCKET.demand, revisions_per_year=0.0))
    learns_nothing = replace(
        still,
        technologies=tuple(replace(t, progress_ratio=1.0) for t in POCKET.technologies),
        experience=Experience(enabled=True, scrap_progress_ratio=1.0),
    )
    off = evaluate(make_policy("base_stock", still), still, range(3)).measures
    on = evaluate(make_policy("base_stock", learns_nothing), learns_nothing, range(3)).measures
    assert (off["network_cost"] == on["network_cost"]).all()
    assert (on["learning_slope"] == 1.0).all()


# --- laws


@settings(max_examples=6)
@given(seed=st.integers(0, 2**48), player=players, everything=st.booleans())
def test_laws_hold_with_experience(seed, player, everything):
    others = {"people": {"enabled": True}, "upkeep": {"enabled": True}, "quality": {"enabled": True}}
    scenario = vary(
        experience={"enabled": True, "prior_units": 20.0},
        demand={"revisions_per_year": 30.0, "revision_notice_d": 3},
        **(others if everything else {}),
    )
    play_and_check(scenario, [seed, seed + 1], player)


def test_all_mechanisms_together_play_the_same_alone_and_in_a_batch():
    scenario = replace(
        ON,
        people=People(enabled=True),
        upkeep=Upkeep(enabled=True),
        quality=Quality(enabled=True),
        demand=replace(POCKET.demand, revisions_per_year=10.0),
    )
    assert check_scenario(scenario)
