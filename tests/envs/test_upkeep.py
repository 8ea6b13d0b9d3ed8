"""Upkeep: wear, breakdowns, repairs and service, against a reference in plain Python and the theory of renewals."""

import math
import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up import begun
from test_laws import Player, event, play_and_check, players, vary

from fabmesh.agents.evaluation.judge.protocol import evaluate
from fabmesh.agents.evaluation.measures.books import ScenarioBooks
from fabmesh.agents.evaluation.measures.mechanisms import measure_mechanisms
from fabmesh.agents.heuristics import PRESETS
from fabmesh.agents.heuristics.family import Choice, compose
from fabmesh.agents.registry import make_policy
from fabmesh.envs.errors import ScenarioError
from fabmesh.envs.network.books.tables import HORIZON
from fabmesh.envs.network.compiler.rng import STREAM_BREAKDOWN, STREAM_REPAIR, combine, day_key, name_key, uniform
from fabmesh.envs.network.day.stage3_promises import build_room
from fabmesh.envs.network.interface.actions import UPKEEP_LEVEL
from fabmesh.envs.network.loading import load_scenario
from fabmesh.envs.network.mechanisms.upkeep import breakdowns, service, take_repairs, wear
from fabmesh.envs.network.schema.scenario import Upkeep
from fabmesh.envs.testing import check_scenario
from fabmesh.envs.vector import HubNetworkVector

POCKET = load_scenario("pocket")
ON = replace(POCKET, upkeep=Upkeep(enabled=True))
LANES = [t.name for t in POCKET.technologies]
MACHINES = [[hub.machines.get(lane, 0) for lane in LANES] for hub in POCKET.hubs]


def frail(scenario=ON, mtbf_h=30.0, mttr_h=9.0):
    """Machines that fail every few days."""
    return replace(
        scenario, technologies=tuple(replace(t, mtbf_h=mtbf_h, mttr_h=mttr_h) for t in scenario.technologies)
    )


def names(hub, lane, machine):
    place = combine(np.uint64(name_key(POCKET.hubs[hub].town)), np.uint64(name_key(LANES[lane])))
    return np.uint64(combine(np.uint64(place), np.uint64(machine + 1)))


# --- breakdowns


@pytest.mark.parametrize(("shape", "scale"), [(1.0, 1.0), (2.0, 1.0), (3.5, 0.4)])
def test_breakdowns_follow_the_reference(shape, scale):
    seed, pick = 11, random.Random(shape)
    scenario = replace(frail(), upkeep=Upkeep(enabled=True, wear_shape=shape))
    scenario = replace(scenario, disruptions=replace(scenario.disruptions, scale=scale))
    batch, tables, state, _ = begun(scenario, seed)
    a = batch.arrays
    a.repair[:] = 0.0
    before = a.ledger.copy()
    worn = {(h, k): float(a.hub_tech["wear_h"][0, h, k]) for h in range(2) for k in range(3)}
    left = {(h, k, i): 0.0 for h in range(2) for k in range(3) for i in range(MACHINES[h][k])}
    failures, hours = 0, np.zeros(2)
    a.events[:] = 0.0
    for day in range(1, 60):
        key = np.uint64(day_key(np.uint64(seed), STREAM_BREAKDOWN, day))
        repair_key = np.uint64(day_key(np.uint64(seed), STREAM_REPAIR, day))
        for (h, k), old in worn.items():
            if not MACHINES[h][k]:
                continue
            new = old + pick.uniform(0.0, 20.0)
            a.hub_tech["wear_h"][0, h, k] = new
            technology = scenario.technologies[k]
            weibull = technology.mtbf_h / math.gamma(1 + 1 / shape)
            chance = 1 - math.exp(-scale * ((new / weibull) ** shape - (old / weibull) ** shape))
            failed = 0
            for i in range(MACHINES[h][k]):
                left[h, k, i] = max(left[h, k, i] - technology.hours_per_day, 0.0)
                name = names(h, k, i)
                if left[h, k, i] == 0.0 and uniform(key, name) < chance:
                    left[h, k, i] = -technology.mttr_h * math.log(uniform(repair_key, name))
                    hours[h] += left[h, k, i]
                    failed += 1
            failures += failed
            worn[h, k] = new * (1 - failed / MACHINES[h][k])
        breakdowns(tables, state, day)
        for (h, k), expected in worn.items():
            assert a.hub_tech["wear_h"][0, h, k] == pytest.approx(expected)
        for (h, k, i), expected in left.items():
            assert a.repair[0, batch._tables.first_machine[h, k] + i] == pytest.approx(expected)
    assert failures > 10
    assert event(batch, "breakdowns") == failures
    assert event(batch, "repair_h") == pytest.approx(hours.sum())
    paid = (a.ledger - before)[0, :2, batch.ledger_lines.index("upkeep")]
    assert paid == pytest.approx(hours * scenario.upkeep.repair_eur_h)


@pytest.mark.parametrize("shape", [1.0, 2.0, 4.0])
def test_working_hours_between_failures_have_the_mean_of_the_scenario(shape):
    """One machine, repaired as new: a renewal process of mean MTBF (Cox 1962), whatever the shape."""
    scenario = replace(frail(mtbf_h=40.0, mttr_h=0.0), upkeep=Upkeep(enabled=True, wear_shape=shape))
    batch, tables, state, _ = begun(scenario)
    lane = batch.arrays.hub_tech[0, 0, LANES.index("CNC")]
    batch.arrays.hub_tech["wear_h"], batch.arrays.hub_tech["seen_wear"], batch.events[:] = 0.0, 0.0, 0.0
    step_h, days = 1.0, 40_000
    for day in range(days):
        lane["wear_h"] += step_h
        breakdowns(tables, state, day)
    failures = event(batch, "breakdowns")[0]
    measured = days * step_h / failures
    spread = 40.0 / math.sqrt(failures)  # of an exponential; a larger shape is narrower
    print(f"MTBF 40 h, shape {shape:g}: {measured:.1f} h from {failures:.0f} failures")
    assert measured == pytest.approx(40.0 + step_h / 2, abs=4 * spread)  # a failure shows at the end of its hour


# --- hours that repairs and service take


def test_repairs_take_hours_from_promises_and_work():
    batch, tables, state, x = begun(ON)
    a = batch.arrays
    a.clock["lots"], a.repair[:] = 0, 0.0
    a.hub["overtime"] = 0.5
    build_room(tables, state, x)
    free = batch._scratch.room[0].copy()
    cnc, fdm = LANES.index("CNC"), LANES.index("FDM")
    first = batch._tables.first_machine[1]
    a.repair[0, first[cnc]], a.repair[0, first[fdm] : first[fdm] + 2] = 23.0, (4.0, 40.0)
    build_room(tables, state, x)
    lost = free - batch._scratch.room[0]
    expected = np.zeros_like(lost)
    day = ON.technologies[cnc].hours_per_day
    expected[1, cnc] = [min(23.0, (d + 1) * day) + 0.5 * day for d in range(HORIZON)]  # overtime is lost today
    day = ON.technologies[fdm].hours_per_day  # printers have no overtime
    expected[1, fdm] = [4.0 + min(40.0, (d + 1) * day) for d in range(HORIZON)]
    assert lost == pytest.approx(expected)
    batch._scratch.cap[0] = 100.0
    take_repairs(tables, state, x, 1)
    assert batch._scratch.cap[0] == pytest.approx(100.0 - expected[1, :, 0])


@pytest.mark.parametrize("seed", range(12))
def test_a_service_takes_hours_and_makes_machines_new(seed):
    pick = random.Random(seed)
    upkeep = Upkeep(enabled=True, service_h=pick.choice([0.0, 1.5, 2.0]), service_eur=pick.uniform(0, 90))
    hubs = tuple(replace(hub, machines={"FDM": 5, "CNC": 2}) for hub in POCKET.hubs)
    scenario = replace(
        POCKET, upkeep=upkeep, hubs=(*hubs[:1], replace(hubs[1], machines={**hubs[1].machines, "laser": 1}))
    )
    batch, tables, state, x = begun(scenario, seed)
    hub, chosen = pick.randrange(2), pick.randrange(4)
    cap = [pick.uniform(0, 12) for _ in range(4)]  # the last is labour
    worn = [pick.uniform(0, 400) for _ in LANES]
    batch._scratch.cap[0], batch.arrays.hub_tech["wear_h"][0, hub] = cap, worn
    action = np.zeros(batch.action_space["hub"].shape, np.int32)[0]
    action[hub, batch.spec["hub"].component("upkeep")] = chosen
    service(tables, state, x, hub, action)
    count = 0
    if chosen:
        lane = chosen - 1
        machines = scenario.hubs[hub].machines.get(LANES[lane], 0)
        count = machines
        while count and count * upkeep.service_h > min(cap[lane], cap[3]):
            count -= 1
        if machines:
            worn[lane] *= 1 - count / machines
        cap[lane] -= count * upkeep.service_h
        cap[3] -= count * upkeep.service_h
    paid = count * upkeep.service_h * scenario.labour.wage_eur_h + (upkeep.service_eur if count else 0.0)
    assert batch._scratch.cap[0] == pytest.approx(cap)
    assert batch.arrays.hub_tech["wear_h"][0, hub] == pytest.approx(worn)
    assert batch.ledger[0, hub, batch.ledger_lines.index("upkeep")] == pytest.approx(paid)
    assert event(batch, "services") == count
    # then the day's work wears the machines; what is held for an unfinished unit does not count yet
    work, held = [pick.uniform(0, c / 2) for c in cap[:3]], [pick.uniform(0, c / 4) for c in cap[:3]]
    batch._scratch.hold[0, :3] = held
    batch._scratch.cap[0, :3] = [c - u - v for c, u, v in zip(cap, work, held, strict=False)]
    wear(tables, state, x, hub)
    for k, lane in enumerate(LANES):
        machines = scenario.hubs[hub].machines.get(lane, 0)
        grown = work[k] / machines if machines else 0.0
        assert batch.arrays.hub_tech["wear_h"][0, hub, k] == pytest.approx(worn[k] + grown)


# --- on and off


class WithService:
    """A policy that services, each day, the most worn technology above a threshold (condition-based upkeep)."""

    def __init__(self, policy, spec, threshold):
        self.policy, self.spec, self.threshold = policy, spec, threshold
        self.name, self.sees = policy.name, policy.sees

    def reset(self, copies, seed):
        """Forgets."""
        self.policy.reset(copies, seed)

    def act(self, obs, mask):
        """The policy's action, and a service."""
        actions = self.policy.act(obs, mask)
        worn = obs["hub"][:, :, self.spec.feature("wear")]
        chosen = np.where(worn.max(axis=-1) > self.threshold, worn.argmax(axis=-1) + 1, 0)
        actions["hub"][:, :, self.spec.component("upkeep")] = chosen[..., None]
        return actions


def test_breakdowns_cost_and_service_prevents_them():
    seeds = range(12)
    frail_on = frail(mtbf_h=120.0, mttr_h=16.0)
    policy = compose("never services", frail_on, {**PRESETS["base_stock"], "upkeep": Choice("run_to_failure")})
    off = evaluate(make_policy("base_stock", POCKET), POCKET, seeds).measures
    run = evaluate(policy, frail_on, seeds).measures
    kept = evaluate(WithService(policy, HubNetworkVector(ON).spec["hub"], 0.4), frail_on, seeds).measures
    assert not {"upkeep_cost", "breakdowns", "machine_availability"} & set(off)
    assert run["network_cost"].mean() > off["network_cost"].mean()
    assert (run["services"] == 0).all()
    assert (kept["services"] > 0).all()
    assert kept["breakdowns"].mean() < 0.6 * run["breakdowns"].mean()
    assert kept["machine_availability"].mean() > run["machine_availability"].mean()
    assert kept["machine_availability"].mean() < 1.0


def test_measures_by_hand():
    lines, names_ = ("labour", "upkeep"), ("breakdowns", "services", "repair_h")
    ledger = np.array([[[5.0, 30.0], [7.0, 12.0]]])
    got = measure_mechanisms(ScenarioBooks(ledger, lines, np.array([[3.0, 4.0, 25.0]]), names_, np.zeros(1), ON))
    machines_h = sum(t.hours_per_day * sum(m[k] for m in MACHINES) for k, t in enumerate(ON.technologies)) * 60
    assert got["upkeep_cost"] == 42.0
    assert (got["breakdowns"], got["services"]) == (3.0, 4.0)
    assert got["machine_availability"] == pytest.approx(1 - 25 / machines_h)


def test_machines_that_never_fail_are_the_world_without_the_mechanism():
    robust = frail(mtbf_h=None)
    off = evaluate(make_policy("base_stock", POCKET), POCKET, range(3)).measures
    on = evaluate(make_policy("base_stock", robust), robust, range(3)).measures
    assert (off["network_cost"] == on["network_cost"]).all()


def test_the_component_is_there_only_where_the_mechanism_is_on():
    assert not HubNetworkVector(POCKET).spec["hub"].has_component("upkeep")
    batch = HubNetworkVector(ON, num_envs=1)
    _, info = batch.reset(seed=0)
    spec = batch.spec["hub"]
    (block,) = [b for b in spec.components if b.name == "upkeep"]
    assert block.labels == ("none", *LANES)
    for h, machines in enumerate(MACHINES):
        mask = info["action_mask"]["hub"][0, h, spec.mask_slices[block.start]]
        assert mask.tolist() == [1, *(int(n > 0) for n in machines)]
    held = replace(ON, actions=replace(ON.actions, switched_off={"hub.upkeep": 1}))
    batch = HubNetworkVector(held)
    assert not batch.spec["hub"].has_component("upkeep")
    assert batch._tables.hub_fixed[UPKEEP_LEVEL] == 1
    batch.reset(seed=0)
    batch.step({role: np.zeros(space.shape, int) for role, space in batch.action_space.items()})
    assert event(batch, "services") > 0
    for scenario, text in ((held, "4 is out of range"), (replace(held, upkeep=Upkeep()), "is not a component")):
        wrong = replace(scenario, actions=replace(ON.actions, switched_off={"hub.upkeep": 4}))
        with pytest.raises(ScenarioError, match=text):
            HubNetworkVector(wrong)


# --- laws


@settings(max_examples=6)
@given(seed=st.integers(0, 2**48), player=players, mtbf_h=st.sampled_from([3.0, 30.0, 500.0]))
def test_laws_hold_with_upkeep(seed, player, mtbf_h):
    scenario = frail(vary(upkeep={"enabled": True}, disruptions={"hub_outage_year": 5.0}), mtbf_h)
    play_and_check(scenario, [seed, seed + 1], player)


@settings(max_examples=2)
@given(seed=st.integers(0, 2**48), player=players)
def test_demand_does_not_depend_on_breakdowns(seed, player):
    batch = HubNetworkVector(frail(), num_envs=2, autoreset=False)
    _, info = batch.reset(seed=[seed, seed])
    one, other = Player(batch, **player), Player(batch, player["seed"] + 1, 1.0, 0.0)
    for _ in range(POCKET.episode_d):
        for series in ("units_ordered", "tenders_posted", "revisions", "outage_days"):
            assert len(set(event(batch, series))) == 1, series
        mine, theirs = one.act(info["action_mask"]), other.act(info["action_mask"])
        info = batch.step({role: np.stack([mine[role][0], theirs[role][1]]) for role in batch.roles})[4]


def test_it_plays_the_same_alone_and_in_a_batch():
    assert check_scenario(frail())
