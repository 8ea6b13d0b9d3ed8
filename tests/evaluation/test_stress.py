"""Stress tests: rules that choose what is struck, the twin, recovery by hand, and `--stress` as a user types it."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fabmesh.agents.evaluation.judge.entries import parse_entries
from fabmesh.agents.evaluation.judge.protocol import evaluate
from fabmesh.agents.evaluation.judge.seeds import seed_set
from fabmesh.agents.evaluation.measures.catalogue import measure_named
from fabmesh.agents.evaluation.measures.mechanisms import DISRUPTION_DAYS
from fabmesh.agents.evaluation.studies.stress import (
    AFTERMATH_D,
    COUNTED,
    Diary,
    chosen_stresses,
    days_to_recover,
    smoothed,
    stress_test,
)
from fabmesh.agents.registry import make_policy
from fabmesh.envs.errors import ScenarioError
from fabmesh.envs.network.interface.spec import role_specs
from fabmesh.envs.network.loading import load_scenario, shipped_scenarios
from fabmesh.envs.network.schema.disruption_kinds import KINDS
from fabmesh.envs.network.schema.scenario import Disruptions
from fabmesh.envs.scenarios.stress import RULES, load_stress, script_of, shipped_stresses, under_stress
from fabmesh.evaluate import main

POCKET = load_scenario("pocket")
ROTTERDAM = load_scenario("rotterdam")
SEEDS = seed_set("validation", 6)


def run(capsys, *arguments):
    code = main([*arguments, "--quiet"])
    out, err = capsys.readouterr()
    return code, out, err


# --- the tests and their rules


def test_every_kind_has_a_stress_test_and_each_loads_under_its_name():
    loaded = [load_stress(name) for name in shipped_stresses()]
    assert [stress.name for stress in loaded] == list(shipped_stresses())
    assert {event.kind for stress in loaded for event in stress.events} == set(KINDS)


@pytest.mark.parametrize("scenario", shipped_scenarios())
@pytest.mark.parametrize("name", shipped_stresses())
def test_each_acts_on_each_shipped_scenario_without_changing_what_agents_see(scenario, name):
    calm = load_scenario(scenario)
    struck = under_stress(calm, load_stress(name))
    assert struck.disruptions.scripted
    assert all(0 < event.day < calm.episode_d for event in struck.disruptions.scripted)
    for role, spec in role_specs(calm).items():
        same = role_specs(struck)[role]
        assert same.features == spec.features
        assert [(b.name, b.labels) for b in same.components] == [(b.name, b.labels) for b in spec.components]


def test_rules_choose_what_a_reader_would():
    chosen = {name: rule for rules in RULES.values() for name, rule in rules.items()}
    assert chosen["largest_hub"](POCKET) == "Dordrecht"  # 2 technicians
    assert chosen["smallest_hub"](POCKET) == "Delft"
    assert chosen["largest_hub"](ROTTERDAM) == "Rotterdam"  # as large as The Hague, and first
    assert chosen["densest_region"](ROTTERDAM) in {hub.town for hub in ROTTERDAM.hubs}
    assert chosen["first_depot"](ROTTERDAM) == "Ridderkerk"
    assert chosen["slowest_material"](ROTTERDAM) == "electronics_kit"
    lonely = replace(ROTTERDAM.towns[0], name="Lonely", latitude=60.0)
    far = replace(
        ROTTERDAM, towns=(lonely, *ROTTERDAM.towns), hubs=(replace(ROTTERDAM.hubs[0], town="Lonely"), *ROTTERDAM.hubs)
    )
    assert chosen["densest_region"](far) != "Lonely"
    kits = replace(POCKET, products=tuple(replace(p, units_per_1000_year=1e-6) for p in POCKET.products[1:]))
    assert chosen["best_seller"](replace(POCKET, products=(POCKET.products[0], *kits.products))) == "P02"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("events: [{kind: hub_outage, duration_d: 3, target: biggest}]", "'biggest' is no rule for hub_outage"),
        ("events: [{kind: hub_outage, duration_d: 3}]", "target: is missing; hub_outage needs a rule: largest_hub"),
        ("events: [{kind: port_closure, duration_d: 3, target: largest_hub}]", "strikes the whole network"),
        ("events: [{kind: demand_surge, duration_d: 3, target: best_seller}]", r"events\[0\]\.factor: is missing"),
        ("events: [{kind: hub_outage, duration_d: 3, target: largest_hub, factor: 2}]", "only a demand_surge has one"),
        ("events: [{kind: hub_outage, duration_d: 0, target: largest_hub}]", "out of range"),
        ("events: [{kind: meteor, duration_d: 3}]", "'meteor' is not known"),
        ("events: [{kind: long_route, duration_d: 3, at: 1.0}]", "out of range"),
        ("events: [{kind: long_route, duration: 3}]", "unknown key 'duration'"),
        ("events: []", "at least one"),
    ],
)
def test_a_file_that_is_wrong_is_refused_in_one_line(tmp_path: Path, text, message):
    path = tmp_path / "mine.yaml"
    path.write_text(f"name: mine\ndescription: a test\n{text}\n")
    with pytest.raises(ScenarioError, match=message) as caught:
        load_stress(str(path))
    assert "mine.yaml:3: events" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_scenario_is_no_stress_test_whatever_it_includes(tmp_path: Path):
    path = tmp_path / "mine.yaml"
    path.write_text("include: [fabmesh:rotterdam.yaml]\nname: mine\n")
    with pytest.raises(ScenarioError, match=r"mine\.yaml: is a scenario, not a stress test"):
        load_stress(str(path))


def test_what_has_nothing_to_act_on_is_refused_and_left_out_of_all():
    inland = replace(POCKET, materials=tuple(replace(m, overseas=False) for m in POCKET.materials), episode_d=12)
    with pytest.raises(ScenarioError, match="nothing of scenario pocket comes by sea"):
        under_stress(inland, load_stress("long_route"))
    report = stress_test(parse_entries(["nearest"]), inland, seed_set("validation", 1), "all", quiet=True)
    made = {result.stress.name for result in report.results}
    assert made == set(shipped_stresses()) - {"long_route", "port_closed_3wk"}
    assert len(report.left_out) == 2


# --- the twin, and recovery


def diary(cost, backlog):
    """A diary of one world from daily values."""
    made = Diary()
    made.cost, made.backlog = [np.array([float(x)]) for x in cost], [np.array([float(x)]) for x in backlog]
    return made


def test_recovery_by_hand():
    """Twin: 100 EUR and 50 units a day. The blow falls on days 5 to 7; costs are back on day 10, backlog on day 9."""
    twin = diary([100] * 20, [50] * 20)
    cost = [100] * 5 + [300] * 3 + [150, 150] + [100] * 10
    backlog = [50] * 5 + [80] * 4 + [50] * 11
    # mean cost of five days: day 12: (150 + 150... days 8-12) = 120, day 13: 110 = 1.1 x 100
    assert days_to_recover(diary(cost, [50] * 20), twin, 8).tolist() == [5.0]
    # mean backlog: day 12: (80 + 4 x 50) / 5 = 56, day 13: 50
    assert days_to_recover(diary([100] * 20, backlog), twin, 8).tolist() == [5.0]
    assert days_to_recover(diary([100] * 20, [50] * 20), twin, 8).tolist() == [0.0]
    assert np.isnan(days_to_recover(diary([100] * 8 + [200] * 12, [50] * 20), twin, 8)).all()
    assert np.isnan(days_to_recover(diary(cost, backlog), twin, 20)).all()  # the episode ends with the disruption
    assert smoothed(np.array([[1.0], [3.0], [5.0], [7.0], [9.0], [11.0]])).ravel().tolist() == [1, 2, 3, 4, 5, 7]


def test_a_diary_counts_what_falls_into_its_window():
    made = Diary()
    for day in range(10):
        made.counts.append(np.array([[day + 1.0, 0.0, 2.0 * (day + 1), 0.0]]))
    assert COUNTED[0] == "units_lost"
    assert made.within("units_lost", (0, 10)).tolist() == [10.0]
    assert made.within("units_lost", (3, 5)).tolist() == [2.0]
    assert made.within("late_units", (3, 5)).tolist() == [4.0]


def test_watching_a_policy_changes_nothing():
    policy, seeds = make_policy("base_stock", POCKET), SEEDS.seeds
    made = Diary()
    plain, watched = evaluate(policy, POCKET, seeds), evaluate(policy, POCKET, seeds, watch=made.watch)
    for name, values in plain.measures.items():
        assert np.array_equal(values, watched.measures[name], equal_nan=True), name
    assert np.array(made.cost).shape == np.array(made.backlog).shape == (POCKET.episode_d, 6)
    whole = np.array(made.cost).sum(axis=0) + plain.measures["settlement_cost"]
    assert whole == pytest.approx(plain.measures["network_cost"])


@pytest.fixture(scope="module")
def suffered():
    """All tests on pocket, whose hubs do not fail of themselves."""
    calm = replace(POCKET, disruptions=Disruptions(scale=0.0))
    return stress_test(parse_entries(["base_stock"]), calm, seed_set("validation", 24), "all", quiet=True)


def test_what_hurts_costs_money_and_service(suffered):
    rows = {result.stress.name: result.rows[0] for result in suffered.results}
    assert set(rows) == set(shipped_stresses())
    for name in (
        "hub_down_30d",
        "regional_flood",
        "ransomware",
        "platform_cyber",
        "tampered_files",
    ):
        assert rows[name].units_late.mean() + rows[name].units_lost.mean() > 0, name
        assert rows[name].resilience.mean() < 1.0, name
    for name in ("hub_down_30d", "regional_flood", "tampered_files", "depot_down"):
        assert rows[name].cost_added.mean() > 0, name
    assert rows["hub_down_30d"].units_lost.mean() > 50
    spike = rows["demand_spike"]
    assert spike.units_lost.mean() > 50
    assert spike.cost_added.mean() > 0  # beyond the standard cost of what was asked for
    assert 5 < rows["regional_flood"].median_days() < 40
    assert rows["platform_outage_3d"].median_days() < rows["regional_flood"].median_days()
    assert all(result.window[1] <= min(result.ends + AFTERMATH_D, 60) for result in suffered.results)
    assert len({row.network_cost.tobytes() for row in rows.values()}) == 1  # one twin for all


def test_a_spike_is_more_demand_for_one_product_and_recorded_orders_have_none():
    struck = under_stress(POCKET, load_stress("demand_spike"))
    policy = make_policy("idle", POCKET)
    calm, spike = (evaluate(policy, scenario, SEEDS.seeds).measures for scenario in (POCKET, struck))
    assert (spike["units_ordered"] > 1.5 * calm["units_ordered"]).all()
    assert (spike["surge_product_days"] == 25).all()
    assert (spike["surge_units_share"] > 0.3).all()
    assert "surge_product_days" not in calm
    with pytest.raises(ScenarioError, match="recorded orders are as they are"):
        chosen_stresses("demand_spike", POCKET, recorded=True)
    found, left_out = chosen_stresses("all", POCKET, recorded=True)
    assert {stress.name for stress in found} == set(shipped_stresses()) - {"demand_spike"}
    assert len(left_out) == 1


def test_a_stress_without_effect_costs_exactly_nothing(tmp_path: Path):
    """The last day of the episode is too late for a supplier to matter: the twin is the same to the bit."""
    path = tmp_path / "late.yaml"
    path.write_text(
        "name: late\ndescription: too late\n"
        "events: [{kind: supplier_stop, duration_d: 1, target: slowest_material, day: 59}]\n"
    )
    idle = stress_test(parse_entries(["idle"]), POCKET, SEEDS, str(path), quiet=True).results[0].rows[0]
    assert not idle.cost_added.any()
    assert not idle.units_lost.any()


# --- the command


def test_as_a_user_types_it(capsys, tmp_path):
    place = tmp_path / "out"
    code, out, err = run(
        capsys, "--scenario", "pocket", "--policies", "base_stock", "nearest", "--episodes", "4", "--stress",
        "hub_down_30d", "--out", str(place),
    )  # fmt: skip
    assert code == 0, err
    assert "hub_down_30d: The largest hub is closed" in out
    assert "hub_outage of Dordrecht, days 20 to 49" in out
    found = json.loads((place / "stress.json").read_text())
    (test,) = found["stress"]
    assert [policy["name"] for policy in test["policies"]] == ["base_stock", "nearest"]
    assert test["events"] == [{"kind": "hub_outage", "target": "Dordrecht", "day": 20, "duration_d": 30}]
    with (place / "stress.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 2 * 4
    mean = sum(float(line["cost_added [EUR]"]) for line in lines[:4]) / 4
    assert test["policies"][0]["cost_added"]["mean"] == pytest.approx(mean)
    under = [float(line["network_cost [EUR]"]) + float(line["cost_added [EUR]"]) for line in lines]
    less = (sum(under[:4]) - sum(under[4:])) / 4e3
    assert f"| hub_down_30d | nearest | {less:+.1f} |" in (place / "stress.md").read_text()
    assert "**hub_down_30d" in (place / "stress.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--stress", "hub_down"), "did you mean 'hub_down_30d'"),
        (("--stress", "hub_down_30d", "--figures", "x"), "--figures x: does not go with --stress"),
        (("--stress", "no_such.yaml"), "no_such.yaml"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(capsys, arguments, message):
    code, _, err = run(capsys, "--scenario", "pocket", "--policies", "idle", "--episodes", "1", *arguments)
    assert code == 2
    assert message in err
    assert err.count("\n") == 1


# --- measures of what was disturbed


def test_days_disturbed_are_measured_where_they_can_happen():
    seeds = SEEDS.seeds
    plain = evaluate(make_policy("idle", POCKET), POCKET, seeds).measures
    assert "outage_days" in plain
    assert "depot_outage_days" not in plain
    troubled = replace(POCKET, disruptions=replace(POCKET.disruptions, depot_outage_year=25.0))
    found = evaluate(make_policy("idle", troubled), troubled, seeds).measures
    assert found["depot_outage_days"].sum() > 0
    assert measure_named("depot_outage_days").unit == "depot days"


def test_days_disturbed_are_counted_of_every_kind():
    assert set(DISRUPTION_DAYS) == set(KINDS)


def test_the_twin_has_the_drawn_disruptions_too():
    """Hubs fail on the same days with the stress and without; the script comes on top."""
    script = script_of(POCKET, load_stress("depot_down"))
    struck = replace(POCKET, disruptions=replace(POCKET.disruptions, scripted=script, hub_outage_year=20.0))
    calm = replace(struck, disruptions=replace(struck.disruptions, scripted=()))
    policy = make_policy("base_stock", POCKET)
    days = [evaluate(policy, scenario, SEEDS.seeds).measures["outage_days"] for scenario in (calm, struck)]
    assert days[0].sum() > 0
    assert (days[0] == days[1]).all()
