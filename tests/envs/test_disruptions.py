"""Disruptions (model §8): when they begin and end, and the laws they keep.

The reference is slow and plain, written from docs/model.md and not from the kernels.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_laws import event

from fabmesh.envs.errors import ScenarioError
from fabmesh.envs.network.books.geography import great_circle_km
from fabmesh.envs.network.books.state import FLOW_NAMES
from fabmesh.envs.network.compiler.rng import (
    STREAM_DISRUPTION,
    STREAM_OUTAGE,
    combine,
    day_key,
    name_key,
    normal,
    uniform,
)
from fabmesh.envs.network.loading import load_scenario, scenario_path, validate
from fabmesh.envs.network.schema.disruption_kinds import KINDS, STRIKES
from fabmesh.envs.network.schema.scenario import Disruptions, ScriptedEvent
from fabmesh.envs.testing import check_laws, check_scenario, random_actions
from fabmesh.envs.vector import HubNetworkVector

POCKET = load_scenario("pocket")
ROTTERDAM = load_scenario("rotterdam")
CALM = replace(POCKET, disruptions=Disruptions(scale=0.0))
OFTEN = Disruptions(
    hub_outage_year=3.0, regional_shock_year=3.0, regional_shock_radius_km=15.0, depot_outage_year=12.0,
    supplier_stop_year=6.0, supplier_stop_median_d=8.0, port_closure_year=6.0, port_closure_median_d=5.0,
    long_route_year=5.0, long_route_median_d=12.0, material_shortage_year=6.0, material_shortage_median_d=8.0,
    platform_outage_year=40.0, platform_outage_median_d=0.8, ransomware_year=6.0, platform_cyber_year=6.0,
    tampering_per_10k_orders=30.0,
)  # fmt: skip
TROUBLED = replace(POCKET, disruptions=OFTEN)
TARGETS = {"hub": "Dordrecht", "town": "Delft", "depot": "Ridderkerk", "material": "lamp_kit", "product": "P02"}
# the smallest change of the calm scenario that lets each kind happen
DRAWN = tuple(kind for kind in KINDS if kind != "demand_surge")  # by this module; surges: tests/test_demand.py
RATES = {kind: "tampering_per_10k_orders" if kind == "tampering" else f"{kind}_year" for kind in DRAWN}


def scripted(*events, scenario=CALM):
    """The scenario with events (kind, day, duration) on their usual targets."""
    made = tuple(
        ScriptedEvent(kind, day, duration, TARGETS.get(STRIKES[kind]), 7.0 if kind == "demand_surge" else None)
        for kind, day, duration in events
    )
    return replace(scenario, disruptions=replace(scenario.disruptions, scripted=made))


def played(scenario, days=None, seed=5, copies=2):
    """A batch after some days of random legal actions."""
    batch = HubNetworkVector(scenario, num_envs=copies, autoreset=False)
    _, info = batch.reset(seed=seed)
    rng = np.random.default_rng(seed)
    for _ in range(days or scenario.episode_d):
        info = batch.step(random_actions(batch, info["action_mask"], rng))[4]
    return batch


def pair(key, number):
    """Key of a name and a number, unsigned as the generator takes it."""
    return np.uint64(combine(key, np.uint64(number)))


# --- when they begin and end


def reference_tape(scenario, seed):
    """Until which day each thing is struck, as known on each day: (kind, name) -> list of days."""
    d, days = scenario.disruptions, scenario.episode_d
    towns = {town.name: (town.latitude, town.longitude) for town in scenario.towns}
    places = {hub.town: towns[hub.town] for hub in scenario.hubs}
    things = {
        "depot_outage": [x.name for x in scenario.depots],
        "supplier_stop": [x.name for x in scenario.materials],
        "material_shortage": [x.name for x in scenario.materials],
        "ransomware": [x.town for x in scenario.hubs],
        "tampering": [x.name for x in scenario.products],
    }
    demand = {
        p.name: sum(t.population for t in scenario.towns) / 1000 * p.units_per_1000_year / p.units_per_order
        for p in scenario.products
    }
    until = {("hub", name): 0 for name in places}
    until |= {(kind, name): 0 for kind in DRAWN[2:] for name in things.get(kind, [""])}
    cell = d.regional_shock_radius_km / 2
    degrees = math.degrees(cell / 6371.0088)
    cells = []  # of the whole region, most of them near no hub
    for row in range(math.floor(50 / degrees), math.floor(54 / degrees)):
        north = (row + 0.5) * degrees
        width = degrees / math.cos(math.radians(north))
        for column in range(math.floor(2 / width), math.floor(7 / width)):
            east = (column + 0.5) * width
            near = [n for n, p in places.items() if great_circle_km(north, east, *p) <= d.regional_shock_radius_km]
            if near:
                cells.append((f"{row}/{column}", near))
    tape = []

    def key_of(kind, name):
        return np.uint64(name_key(kind, name))

    def length(kind, name, key):
        own = key_of(kind, name)
        if kind == "tampering":
            low, high = d.tampering_found_d
            return low + math.floor(uniform(key, pair(own, 1)) * (high - low + 1))
        median, sigma = getattr(d, f"{kind}_median_d"), getattr(d, f"{kind}_sigma")
        drawn = median * math.exp(sigma * normal(key, pair(own, 1)))
        if kind == "platform_outage":
            return math.floor(drawn + uniform(key, pair(own, 2)))
        return max(math.ceil(drawn), 1)

    def begins(kind, name, key, per_year):
        return uniform(key, key_of(kind, name)) < d.scale * per_year / 250

    for day in range(days):
        key = np.uint64(day_key(np.uint64(seed), STREAM_DISRUPTION, day))
        for name, near in cells:
            if begins("regional_shock", name, key, d.regional_shock_year / (4 * math.pi)):
                for hub in near:
                    until["hub", hub] = max(until["hub", hub], day + length("regional_shock", name, key))
        for kind in DRAWN[2:]:
            for name in things.get(kind, [""]):
                if kind == "tampering":
                    per_year = d.tampering_per_10k_orders / 1e4 * demand[name] * scenario.demand.catalogue_level
                else:
                    per_year = getattr(d, f"{kind}_year")
                if begins(kind, name, key, per_year):
                    until[kind, name] = max(until[kind, name], day + length(kind, name, key))
        for hub in places:
            if until["platform_cyber", ""] > day:
                until["ransomware", hub] = max(until["ransomware", hub], until["platform_cyber", ""])
            hub_key, outage_key = np.uint64(name_key(hub)), np.uint64(day_key(np.uint64(seed), STREAM_OUTAGE, day))
            if uniform(outage_key, hub_key) < d.scale * d.hub_outage_year / 250:
                z = normal(outage_key, pair(hub_key, 4))
                lasts = math.ceil(d.hub_outage_median_d * math.exp(d.hub_outage_sigma * z))
                until["hub", hub] = max(until["hub", hub], day + min(max(lasts, 1), d.hub_outage_max_d))
        tape.append(dict(until))
    return tape


@pytest.mark.parametrize("base", [POCKET, ROTTERDAM], ids=["pocket", "rotterdam"])
def test_disruptions_begin_and_end_as_the_reference_says(base):
    scenario = replace(base, disruptions=OFTEN, episode_d=60)
    counted = {
        "hub_outage": "outage_days", "depot_outage": "depot_outage_days", "supplier_stop": "supplier_stop_days",
        "port_closure": "port_closed_days", "long_route": "long_route_days", "ransomware": "files_locked_days",
        "material_shortage": "material_shortage_days", "platform_outage": "platform_outage_days",
        "tampering": "tampered_days",
    }  # fmt: skip
    seen = dict.fromkeys(counted, 0)
    for seed in (17, 18, 19):
        for kind, days in days_as_in_the_reference(scenario, seed, counted).items():
            seen[kind] += days
    assert all(days > 0 for days in seen.values()), seen


def days_as_in_the_reference(scenario, seed, counted):
    """Plays a world, compares every day with the tape, and returns the days each kind was on."""
    tape = reference_tape(scenario, seed)
    batch = HubNetworkVector(scenario, num_envs=1, autoreset=False)
    batch.reset(seed=[seed])
    nothing = {role: np.zeros(space.shape, int) for role, space in batch.action_space.items()}
    a = batch.arrays
    seen = dict.fromkeys(counted, 0)
    for day, until in enumerate(tape):
        struck = {
            "hub": (a.hub["down_until"][0], [h.town for h in scenario.hubs]),
            "ransomware": (a.hub["locked_until"][0], [h.town for h in scenario.hubs]),
            "depot_outage": (a.depot["down_until"][0], [x.name for x in scenario.depots]),
            "supplier_stop": (a.source["stopped_until"][0], [m.name for m in scenario.materials]),
            "material_shortage": (a.source["scarce_until"][0], [m.name for m in scenario.materials]),
            "tampering": (a.tampered_until[0], [p.name for p in scenario.products]),
            "port_closure": (a.outside["port_until"], [""]),
            "long_route": (a.outside["long_route_until"], [""]),
            "platform_outage": (a.outside["platform_until"], [""]),
        }
        for kind, (values, names) in struck.items():
            expected = [until[kind, name] for name in names]
            assert values.tolist() == expected, (day, kind)
            seen[kind if kind != "hub" else "hub_outage"] += sum(value > day for value in expected)
        batch.step(nothing)
    for kind, name in counted.items():
        assert event(batch, name)[0] == seen[kind], kind
    return seen


def test_a_shock_closes_neighbours_together_and_a_further_hub_changes_nothing_for_the_others():
    shocks = Disruptions(hub_outage_year=0.0, regional_shock_year=10.0)
    many = replace(ROTTERDAM, disruptions=shocks, episode_d=100)
    fewer = replace(many, hubs=many.hubs[:3])
    tapes = {}
    for name, scenario in (("many", many), ("fewer", fewer)):
        batch = HubNetworkVector(scenario, num_envs=20, autoreset=False)
        batch.reset(seed=1)
        nothing = {role: np.zeros(space.shape, int) for role, space in batch.action_space.items()}
        days = []
        for day in range(scenario.episode_d):
            days.append(batch.arrays.hub["down_until"] > day)
            batch.step(nothing)
        tapes[name] = np.array(days)
    assert (tapes["many"][..., :3] == tapes["fewer"]).all()
    down = tapes["many"].reshape(-1, 4).astype(float)
    rotterdam, the_hague, delft, dordrecht = np.corrcoef(down.T)
    assert rotterdam[2] > 0.6 < the_hague[2]  # Delft lies between them, 12 and 9 km away
    assert 0.0 < the_hague[3] < delft[3] < rotterdam[3]  # Dordrecht: 39, 31 and 18 km away
    assert dordrecht[3] == 1.0
    # a hub is struck about `regional_shock_year` times a year: begins in 20 x 100 days, 80 expected, sd 9
    begins = (tapes["many"][1:] & ~tapes["many"][:-1]).sum(axis=(0, 1))
    assert ((begins > 35) & (begins < 110)).all()  # fewer where one comes while the hub is down


def test_a_part_of_a_day_without_the_platform_falls_on_the_auction_with_so_much_probability():
    d = Disruptions(hub_outage_year=0.0, platform_outage_year=25.0)
    batch = played(replace(POCKET, disruptions=d), copies=200)
    expected = 200 * 60 * 25 / 250 * 0.25 * math.exp(0.9**2 / 2)  # of rate x mean of the lognormal
    assert event(batch, "platform_outage_days").sum() == pytest.approx(expected, rel=0.15)


@pytest.mark.parametrize("kind", KINDS)
def test_a_scripted_event_lasts_its_days_in_every_world(kind):
    scenario = scripted((kind, 10, 7))
    batch = HubNetworkVector(scenario, num_envs=2, autoreset=False)
    batch.reset(seed=3)
    a = batch.arrays
    nothing = {role: np.zeros(space.shape, int) for role, space in batch.action_space.items()}
    things = {
        "hub_outage": lambda: a.hub["down_until"][:, 1], "regional_shock": lambda: a.hub["down_until"][:, 0],
        "depot_outage": lambda: a.depot["down_until"][:, 0], "port_closure": lambda: a.outside["port_until"],
        "supplier_stop": lambda: a.source["stopped_until"][:, 2], "long_route": lambda: a.outside["long_route_until"],
        "material_shortage": lambda: a.source["scarce_until"][:, 2],
        "platform_outage": lambda: a.outside["platform_until"], "ransomware": lambda: a.hub["locked_until"][:, 1],
        "platform_cyber": lambda: a.hub["locked_until"].max(axis=1), "tampering": lambda: a.tampered_until[:, 0],
        "demand_surge": lambda: np.where(a.surge[:, 0] == 7.0, 99, 0),
    }  # fmt: skip
    for day in range(25):
        struck = things[kind]() > day
        assert struck.tolist() == [10 <= day < 17] * 2, day
        batch.step(nothing)


# --- laws, and what nobody can change


@settings(max_examples=15)
@given(
    seed=st.integers(0, 2**48),
    disruptions=st.fixed_dictionaries(
        {
            "scale": st.sampled_from([0.3, 1.0, 4.0]),
            "port_queue": st.sampled_from([0.0, 0.5, 3.0]),
            "tampering_scrap": st.sampled_from([0.0, 0.9]),
            "regional_shock_radius_km": st.sampled_from([1.0, 40.0]),
            "supplier_stop_output": st.sampled_from([(0.0, 0.0), (0.0, 1.0)]),
            "platform_outage_median_d": st.sampled_from([0.1, 5.0]),
            "material_shortage_lead": st.sampled_from([1.0, 3.0]),
        }
    ),
    base=st.sampled_from(["pocket", "rotterdam"]),
)
def test_laws_hold_whatever_goes_wrong(seed, disruptions, base):
    """Reckless actions: closed depots and hubs do nothing, nothing arrives early, and what comes is exogenous."""
    scenario = replace(load_scenario(base), disruptions=replace(OFTEN, **disruptions), episode_d=50)
    batch = HubNetworkVector(scenario, num_envs=2, autoreset=False)
    _, info = batch.reset(seed=[seed, seed])
    rng = np.random.default_rng(seed % 2**32)
    a = batch.arrays
    lines = ("order_cost", "supplier_freight", "machine", "labour", "revenue", "transfers")
    idle = [batch.ledger_lines.index(name) for name in lines]
    gone = [FLOW_NAMES.index(name) for name in ("used", "scrapped", "shipped")]
    exogenous = ("units_ordered", "outage_days", "regional_shocks", "depot_outage_days", "supplier_stop_days",
                 "port_closed_days", "long_route_days", "material_shortage_days", "platform_outage_days",
                 "files_locked_days", "tampered_days")  # fmt: skip
    for day in range(scenario.episode_d):
        check_laws(batch)
        for name in exogenous:
            assert len(set(event(batch, name))) == 1, name
        orders = a.supplier_order[np.arange(a.supplier_order.shape[-1]) < a.depot_mat["orders"][..., None]]
        assert (orders["arrives"] > day).all()
        assert (orders["arrives"] >= orders["due"]).all()
        assert (orders["arrives"] > orders["placed"]).all()
        down = np.concatenate([a.hub["down_until"], a.depot["down_until"]], axis=1) > day
        books, flow = batch.ledger[:, :-1][down], a.flow[down]
        actions = random_actions(batch, info["action_mask"], rng)
        for role in batch.roles:
            actions[role][1] = rng.integers(0, batch.action_space[role].nvec, batch.action_space[role].shape)[1]
        info = batch.step(actions)[4]
        assert np.isfinite(info["cost"]).all()
        assert (batch.ledger[:, :-1][down][:, idle] == books[:, idle]).all()
        assert (a.flow[down][:, :, gone] == flow[:, :, gone]).all()


@pytest.mark.parametrize("base", [POCKET, ROTTERDAM], ids=["pocket", "rotterdam"])
def test_promises_of_the_environment_hold_with_all_of_it_on(base):
    """Spaces, masks, laws and the same bits alone and in a batch."""
    assert check_scenario(replace(base, disruptions=OFTEN), seed=3)


def test_threads_change_nothing():
    outcomes = []
    for threads in (1, 2):
        batch = HubNetworkVector(TROUBLED, num_envs=6, threads=threads)
        _, info = batch.reset(seed=4)
        rng = np.random.default_rng(1)
        for _ in range(70):  # beyond the end of the first episode
            observed, *_, info = batch.step(random_actions(batch, info["action_mask"], rng))
        outcomes.append([observed["hub"].copy(), info["action_mask"]["depot"].copy(), batch.ledger.copy()])
        batch.close()
    assert all((one == other).all() for one, other in zip(*outcomes, strict=True))


# --- on and off, and what each does to the network


@pytest.mark.parametrize("kind", DRAWN[1:])
def test_each_kind_is_off_by_default_and_moves_its_count_when_on(kind):
    """The measure of every mechanism is the days it has disturbed; see agents/evaluation/measures/mechanisms.py."""
    name = {
        "regional_shock": "regional_shocks", "port_closure": "port_closed_days", "platform_cyber": "files_locked_days",
        "ransomware": "files_locked_days", "tampering": "tampered_days",
    }.get(kind, f"{kind}_days")  # fmt: skip
    assert event(played(POCKET), name).sum() == 0
    on = replace(POCKET.disruptions, **{RATES[kind]: 300.0 if kind == "tampering" else 20.0})
    assert event(played(replace(POCKET, disruptions=on)), name).sum() > 0


def test_the_shipped_catalogue_file_switches_everything_on_at_the_rates_of_the_facts(tmp_path: Path):
    folder = scenario_path("rotterdam").parent
    path = tmp_path / "troubled.yaml"
    path.write_text(f"include: [{folder}/rotterdam.yaml, {folder}/catalogue/disruptions.yaml]\nname: troubled\n")
    scenario = load_scenario(path)
    batch = HubNetworkVector(scenario, num_envs=1)
    assert batch._tables.possible[: len(DRAWN)].all()
    off = Disruptions()
    on = scenario.disruptions
    changed = {name for name in off.__dataclass_fields__ if getattr(on, name) != getattr(off, name)}
    assert changed == set(RATES.values()) - {"hub_outage_year"}  # durations and effects are the schema's


# --- what is refused


@pytest.mark.parametrize(
    ("event_", "message"),
    [
        (ScriptedEvent("hub_outage", 3, 4), "is missing; hub_outage strikes a hub: Delft, Dordrecht"),
        (ScriptedEvent("hub_outage", 3, 4, "Delfd"), "did you mean 'Delft'"),
        (ScriptedEvent("port_closure", 3, 4, "Delft"), "leave the target out"),
        (ScriptedEvent("depot_outage", 60, 4, "Ridderkerk"), "after the episode; its last day is 59"),
        (ScriptedEvent("meteor", 3, 4), "'meteor' is not known"),
        (ScriptedEvent("port_closure", 3, 0), "out of range"),
        (ScriptedEvent("demand_surge", 3, 4, "P02"), r"scripted\[0\]\.factor: is missing"),
        (ScriptedEvent("demand_surge", 3, 4, "P02", 0.5), "0.5 is out of range"),
        (ScriptedEvent("port_closure", 3, 4, factor=2.0), "only a demand_surge has one"),
    ],
)
def test_a_script_that_makes_no_sense_is_refused(event_, message):
    with pytest.raises(ScenarioError, match=message):
        validate(replace(POCKET, disruptions=replace(POCKET.disruptions, scripted=(event_,))))
