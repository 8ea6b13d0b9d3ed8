"""Explaining a policy: the parts add up, nothing differs from itself, and what a hand-made policy does shows."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import replace

import numpy as np
import pytest

from fabmesh.agents.evaluation.explain.bids import ALL, cuts_of, responses
from fabmesh.agents.evaluation.explain.drivers import lane_materials
from fabmesh.agents.evaluation.explain.events import OFFSETS, WINDOWS, disruptions, onsets
from fabmesh.agents.evaluation.explain.explain import FEATURES, default_reference, explain
from fabmesh.agents.evaluation.explain.export import records
from fabmesh.agents.evaluation.explain.pairs import FEWEST, Table, pairs
from fabmesh.agents.evaluation.explain.record import play
from fabmesh.agents.evaluation.explain.use import uses
from fabmesh.agents.evaluation.judge.comparison import compare_entries
from fabmesh.agents.evaluation.judge.entries import parse_entries
from fabmesh.agents.evaluation.judge.protocol import evaluate
from fabmesh.agents.evaluation.judge.seeds import seed_set
from fabmesh.agents.evaluation.statistics import compare, differences, per_world
from fabmesh.agents.learning.algorithms.ppo import make_policies
from fabmesh.agents.learning.config import TrainConfig
from fabmesh.agents.learning.run import checkpoint
from fabmesh.agents.registry import make_policy
from fabmesh.envs.network.interface.spec import role_specs
from fabmesh.envs.network.loading import load_scenario
from fabmesh.envs.network.schema.scenario import Disruptions, ScriptedEvent
from fabmesh.envs.vector import HubNetworkVector
from fabmesh.evaluate import main

POCKET = load_scenario("pocket")
SPECS = role_specs(POCKET)
SEEDS = seed_set("train", 4)


def explained(policy, reference, scenario=POCKET, seeds=SEEDS):
    mine, other = parse_entries([policy, reference])
    return explain(mine, other, scenario, seeds, quiet=True)


def played(policy, scenario=POCKET, seeds=SEEDS):
    return play(policy, scenario, seeds.seeds, FEATURES)


# --- statistics


def test_values_of_worlds_average_to_the_ratio_of_totals_and_worlds_without_anything_count_for_nothing():
    part, whole = np.array([3.0, 0.0, 8.0]), np.array([1.0, 0.0, 4.0])
    values = per_world(part, whole)
    assert values.mean() == pytest.approx(11 / 5)
    assert values[1] == pytest.approx(11 / 5)
    assert np.isnan(per_world(np.zeros(3), np.zeros(3))).all()
    same = per_world(2.5 * whole, whole)  # the ratio is known exactly, so its interval has no width
    np.testing.assert_allclose(same, 2.5)


def test_differences_are_those_of_compare():
    rng = np.random.default_rng(1)
    tables = [rng.normal(size=(runs, 12)) for runs in (1, 3, 1, 2)]
    others = [rng.normal(size=(runs, 12)) for runs in (1, 1, 1, 2)]
    for found, a, b in zip(differences(tables, others), tables, others, strict=True):
        single = compare(a, b).difference
        assert found.mean == pytest.approx(single.mean)
        assert (found.low, found.high) == pytest.approx((single.low, single.high), abs=1e-3)


def test_a_ratio_that_few_worlds_know_of_has_no_interval():
    part, whole = np.zeros((1, 8)), np.zeros((1, 8))
    for worlds in range(1, 8):
        part[0, worlds - 1], whole[0, worlds - 1] = worlds % 3, 2.0
        (pair,) = pairs([Table.ratio(part, whole)], [Table.plain(np.zeros((1, 8)))])
        assert pair.policy == pytest.approx(part.sum() / whole.sum())
        assert math.isnan(pair.difference.low) == (worlds < FEWEST)
        assert pair.shown == (worlds >= FEWEST)


# --- the record


def test_a_policy_that_is_watched_costs_what_it_costs():
    policy = make_policy("random", POCKET)
    seen, plain = played(policy).table, evaluate(policy, POCKET, SEEDS.seeds)
    for name, values in plain.measures.items():
        np.testing.assert_array_equal(seen.measures[name], values)
    for name, values in plain.counts.items():
        np.testing.assert_array_equal(seen.counts[name], values)


@pytest.mark.parametrize(("scenario", "policy"), [("pocket", "random"), ("pocket", "tuned"), ("rotterdam", "nearest")])
def test_every_order_at_a_supplier_is_noted_once(scenario, policy):
    loaded = load_scenario(scenario)
    run = played(make_policy(policy, loaded), loaded, seed_set("train", 2))
    np.testing.assert_array_equal(run.bought.orders.sum(axis=1), run.table.counts["supplier_orders"])
    assert (run.bought.orders > 0).any()


def test_an_illegal_level_counts_as_the_lowest_which_the_network_makes_of_it():
    class Greedy:
        """The highest level of everything, legal or not."""

        name, sees = "greedy", "local"

        def reset(self, num_envs, seed):
            """Nothing to forget."""

        def act(self, obs, masks):
            """The last level of every component."""
            return {role: np.broadcast_to(spec.nvec - 1, (*obs[role].shape[:2], len(spec.nvec))).astype(np.int64)
                    for role, spec in SPECS.items()}  # fmt: skip

    run = played(Greedy())
    choices = run.choices["hub"]
    bids = choices.levels[..., choices.spec.component("bid")]
    assert set(np.unique(bids)) == {0, 5}
    lasers = [hub.machines.get("laser", 0) > 0 for hub in POCKET.hubs]
    laser = bids[..., [t.name for t in POCKET.technologies].index("laser")]
    assert [bool(laser[:, :, h].any()) for h in range(2)] == lasers
    refused = sum(int(((c.spec.nvec - 1) != c.levels).sum()) for c in run.choices.values())
    assert refused == run.table.counts["masked_actions"].sum()


# --- the ledger


def test_the_lines_add_up_to_the_difference_that_a_comparison_finds():
    found = explained("tuned", "base_stock")
    total = found.costs.total.difference
    assert sum(pair.difference.mean for pair in found.costs.lines.values()) == pytest.approx(total.mean, rel=1e-9)
    comparison = compare_entries(parse_entries(["tuned", "base_stock"]), POCKET, SEEDS, quiet=True)
    assert comparison.paired(*comparison.rows, "network_cost").difference == total
    sizes = [abs(pair.difference.mean) for pair in found.costs.lines.values()]
    assert sizes == sorted(sizes, reverse=True)


def test_counts_are_physical_and_stand_with_their_lines():
    found = explained("idle", "base_stock")
    counts = {count.name: pair for count, pair in found.costs.counts}
    assert counts["units_lost"].policy > counts["units_lost"].reference
    assert counts["labour_h"].policy == 0.0 < counts["labour_h"].reference
    assert counts["supplier_orders"].policy == 0.0
    assert "breakdowns" not in counts  # machines of pocket do not fail
    lines = [count.line for count, _ in found.costs.counts]
    assert lines == sorted(lines, key=[*found.costs.lines, *lines].index)


def test_a_policy_against_itself_shows_exactly_nothing():
    for record in records(explained("random", "random")):
        pair = record.pair
        if math.isnan(pair.policy):
            assert math.isnan(pair.reference)
            continue
        assert pair.policy == pair.reference
        assert pair.difference.mean == 0.0
        assert pair.difference.low in (0.0, pytest.approx(math.nan, nan_ok=True))
        assert not pair.shown


# --- bids


class ByLoad:
    """Bids a level for each day and a half of work that a lane has before it; otherwise as `nearest`."""

    name, sees = "by_load", "local"

    def __init__(self):
        self.rest = make_policy("nearest", POCKET)

    def reset(self, num_envs, seed):
        """Nothing to forget."""
        self.rest.reset(num_envs, seed)

    def act(self, obs, masks):
        """Levels of the lanes' load."""
        levels = self.rest.act(obs, masks)
        days = 5.0 * obs["hub"][..., SPECS["hub"].feature("lane_load")]
        levels["hub"][..., SPECS["hub"].component("bid")] = self.level(days)
        return levels

    @staticmethod
    def level(days):
        """From the lowest mark-up at no work to the highest at six days and more."""
        return 1 + np.minimum(days / 1.5, 4).astype(np.int64)


def test_a_policy_that_bids_by_load_shows_the_slope_and_one_that_does_not_shows_none():
    mine, other = (played(policy, seeds=seed_set("train", 12)) for policy in (ByLoad(), make_policy("nearest", POCKET)))
    found = [r for r in responses([mine], [other], POCKET) if r.priced.component == "bid"]
    load = next(r for r in found if r.driver.name == "lane_load" and r.item == ALL)
    markups = [pair.policy for pair in load.markup]
    assert markups == sorted(markups)
    assert markups[0] == pytest.approx(-15.0)  # without work
    assert load.markup_span.policy.low > 5.0
    assert load.markup_span.reference.mean == load.markup_span.reference.high == 0.0
    assert load.markup_span.difference == load.markup_span.policy
    assert {pair.policy for pair in load.bidding} == {100.0}
    # the fifths again, decision by decision
    choices, columns = mine.choices["hub"], SPECS["hub"].component("bid")
    free = choices.free[..., columns]
    days = 5.0 * choices.seen["lane_load"].astype(np.float64)[free]
    both = np.concatenate([days, 5.0 * other.choices["hub"].seen["lane_load"].astype(np.float64)[free]])
    fifth = np.searchsorted(cuts_of(both), days)
    values = 100.0 * np.array(POCKET.actions.bid_markups)[ByLoad.level(days.astype(np.float32)) - 1]
    for n, pair in enumerate(load.markup):
        assert pair.policy == pytest.approx(values[fifth == n].mean())
        assert load.seen[n].policy == pytest.approx(days[fifth == n].mean())


def test_each_lane_and_each_material_has_responses_of_its_own():
    found = explained("tuned", "base_stock").responses
    items = {(r.priced.component, r.item) for r in found}
    assert {item for component, item in items if component == "bid"} == {ALL, "FDM", "CNC", "laser"}
    assert {item for component, item in items if component == "tender"} == {ALL}
    tenders = {r.driver.name for r in found if r.priced.component == "tender"}
    assert {"lane_load", "ageing", "tender_distance"} <= tenders


def test_fifths_end_between_values_and_never_inside_one():
    np.testing.assert_array_equal(cuts_of(np.arange(10.0)), [1, 3, 5, 7])
    np.testing.assert_array_equal(cuts_of(np.array([0.0] * 7 + [1.0, 2.0, 3.0])), [0, 1])
    np.testing.assert_array_equal(cuts_of(np.array([0.0, 1.0, 2.0, 2.0, 2.0])), [0, 1])
    assert len(cuts_of(np.full(9, 3.0))) == len(cuts_of(np.zeros(0))) == 0


def test_a_lane_has_the_materials_its_work_takes():
    shares = lane_materials(POCKET)
    materials = [material.name for material in POCKET.materials]
    fdm = dict(zip(materials, shares[[t.name for t in POCKET.technologies].index("FDM")], strict=True))
    assert fdm["petg"] > 0.0
    assert fdm["aluminium"] == 0.0
    known = shares[np.isfinite(shares).all(axis=1)]
    np.testing.assert_allclose(known.sum(axis=1), 1.0)


# --- order levels, disruptions, use


def test_order_levels_are_those_of_the_rule():
    nearest, idle = "nearest", "idle"
    found = {entry.material.name: entry for entry in explained(nearest, idle).materials}
    assert [entry.material.lead_mean_d for entry in found.values()] == [25, 10, 7]
    for entry in found.values():
        assert entry.numbers["cover_d"].policy == 10.0  # days of cover of the rule
        assert entry.numbers["trigger"].policy == 1.5
        assert entry.numbers["lot_d"].policy == 20.0
        assert (entry.numbers["no_cover"].policy, entry.numbers["no_cover"].reference) == (0.0, 1.0)
        assert entry.numbers["orders"].reference == 0.0
        assert math.isnan(entry.numbers["order_pallets"].reference)
        assert 0.0 < entry.numbers["price_above_bulk"].policy < 1.1


def test_onsets_are_days_on_which_a_thing_is_down_that_was_up_the_morning_before():
    mornings = np.zeros((6, 2, 2), np.bool_)  # of days 1 to 6; the last is after the episode
    mornings[2:4, 0, 1] = mornings[0:2, 1, 0] = mornings[4:, 1, 0] = mornings[5, 0, 0] = True
    assert onsets(mornings).tolist() == [[3, 0], [5, 1]]


def test_the_days_around_a_disruption_are_those_of_the_network():
    event = ScriptedEvent("hub_outage", 20, 5, POCKET.hubs[0].town)
    scenario = replace(POCKET, disruptions=Disruptions(hub_outage_year=0.0, scripted=(event,)))
    mine, other = (played(make_policy(name, scenario), scenario) for name in ("tuned", "base_stock"))
    (around,) = disruptions([mine], [other])
    assert (around.kind, around.number, around.worlds) == ("hub_outage", SEEDS.count, SEEDS.count)
    for offset, pair in zip(OFFSETS, around.days["cost"], strict=True):
        assert pair.policy == pytest.approx(mine.days["cost"][20 + offset].mean())
        assert pair.reference == pytest.approx(other.days["cost"][20 + offset].mean())
    for (first, last), pair in zip(WINDOWS, around.windows["stock"], strict=True):
        assert pair.policy == pytest.approx(mine.days["stock"][20 + first : 21 + last].mean())
    closed = mine.choices["hub"].free[20:25, :, 0]
    assert not closed.any()
    assert mine.choices["hub"].free[25, :, 0].any()


def test_days_beyond_the_episode_do_not_count():
    event = ScriptedEvent("hub_outage", 55, 5, POCKET.hubs[0].town)
    scenario = replace(POCKET, disruptions=Disruptions(hub_outage_year=0.0, scripted=(event,)))
    mine = played(make_policy("nearest", scenario), scenario, seed_set("train", 2))
    (around,) = disruptions([mine], [mine])
    known = [offset for offset, pair in zip(OFFSETS, around.days["cost"], strict=True) if not math.isnan(pair.policy)]
    assert known == list(range(-10, 5))


def test_use_and_entropy_of_policies_that_are_known():
    random, nearest = played(make_policy("random", POCKET)), played(make_policy("nearest", POCKET))
    found = {(use.role, use.component): use for use in uses([random], [nearest]) if use.item == ALL}
    assert set(found) == {(role, block.name) for role, spec in SPECS.items() for block in spec.components}
    for (_, component), use in found.items():
        assert use.entropy.reference == 0.0, component
        assert use.entropy.policy > 0.99, component
        levels = len(use.levels)
        assert use.above.policy == pytest.approx(1.0 - 1.0 / levels, abs=0.05), component
        assert sum(pair.policy for pair in use.levels.values()) == pytest.approx(1.0)
    assert found["hub", "overtime"].above.reference == 0.0
    assert found["hub", "cover"].favourite("reference") == "10 d"


# --- as a user types it


def run(capsys, *arguments):
    code = main([*arguments, "--quiet"])
    out, err = capsys.readouterr()
    return code, out, err


def test_as_a_user_types_it(capsys, tmp_path):
    where = tmp_path / "out"
    given = ("--explain", "base_stock", "--scenario", "pocket", "--episodes", "4", "--out", str(where))
    code, out, _ = run(capsys, *given)
    assert code == 0
    assert "base_stock against tuned by ledger line" in out
    assert max(len(line) for line in out.splitlines() if not line.startswith("written: ")) <= 100
    content = json.loads((where / "explain.json").read_text())
    assert (content["policy"]["name"], content["reference"]["name"]) == ("base_stock", "tuned")
    *lines, total = content["ledger"]
    assert total["what"] == "network_cost"
    assert sum(line["difference"] for line in lines) == pytest.approx(total["difference"], rel=1e-9)
    with (where / "explain.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    parts = ("ledger", "counts", "bids", "orders", "disruptions", "use")
    assert len(rows) == sum(len(content.get(part, [])) for part in parts)
    assert (where / "explain.md").read_text().startswith("```bash\nfabmesh-evaluate --explain base_stock")
    figures = {path.stem for path in (where / "figures").iterdir()}
    assert {"ledger", "bids_hub_bid", "bids_hub_bid_by_lane", "bids_hub_tender", "order_levels", "levels"} <= figures


def test_a_policy_that_does_nothing_is_explained_as_well(capsys, tmp_path):
    given = ("--explain", "idle", "--against", "nearest", "--scenario", "pocket", "--episodes", "1")
    code, out, _ = run(capsys, *given, "--out", str(tmp_path / "out"))
    assert code == 0
    assert "n/a" in out
    assert (tmp_path / "out" / "figures" / "order_levels.png").is_file()


def test_the_reference_is_what_is_tuned_or_the_textbook_rule():
    assert default_reference(POCKET) == "tuned"
    assert default_reference(replace(POCKET, name="mine")) == "base_stock"


@pytest.fixture
def runs(tmp_path):
    """Two run directories on pocket whose checkpoints hold untrained policies."""
    batch = HubNetworkVector("pocket", num_envs=1)
    places = []
    for seed in (1, 2):
        config = TrainConfig(scenario="pocket", seed=seed)
        weights = {role: policy.state_dict() for role, policy in make_policies(batch, config).items()}
        content = checkpoint.policy_content("mappo", "pocket", batch.spec, config, weights)
        places.append(tmp_path / "runs" / f"a{seed}")
        checkpoint.write(places[-1] / checkpoint.BEST, content)
    return places


def test_training_runs_make_one_row_and_play_their_own_scenario(capsys, tmp_path, runs):
    out = tmp_path / "out.json"
    given = ("--explain", f"a={runs[0]},{runs[1]}", "--against", "nearest", "--episodes", "3", "--json", str(out))
    code, printed, _ = run(capsys, *given)
    assert code == 0
    content = json.loads(out.read_text())
    assert content["scenario"] == "pocket"
    assert content["policy"] == {"name": "a", "sees": "local", "runs": 2, "sources": [str(path) for path in runs]}
    assert "chosen on these validation seeds" in printed
    *lines, total = content["ledger"]
    assert sum(line["difference"] for line in lines) == pytest.approx(total["difference"], rel=1e-9)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--explain", "basestock"], "did you mean 'base_stock'"),
        (["--explain", "runs/nothing"], "no such run directory or checkpoint"),
        (["--explain", "idle", "--against", "tunes"], "did you mean 'tuned'"),
        (["--explain", "idle", "--policies", "nearest"], "--policies nearest: does not go with --explain"),
        (["--explain", "idle", "--stress", "all"], "--stress all: does not go with --explain"),
        (["--explain", "idle", "--from", "manifest.json"], "--from manifest.json: does not go with --explain"),
        (["--explain", "idle", "--tensorboard", "logs"], "--tensorboard logs: does not go with --explain"),
        (["--explain", "idle", "--actions", "both"], "choose likeliest or sampled"),
        (["--explain", "base_stock,nearest"], "only training runs can be joined"),
        (["--explain", "idle", "--episodes", "0"], "at least 1 episode"),
        (["--explain", "idle", "--out", "file"], "is a file"),
        (["--explain", "file"], "is not a fabmesh checkpoint"),
    ],
)
def test_wrong_input_is_one_clear_line_and_exit_code_2(only_error, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    scenario = [] if "file" in arguments[1:2] else ["--scenario", "pocket"]
    assert main([*arguments, *scenario, "--quiet"]) == 2
    assert message in only_error()
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
