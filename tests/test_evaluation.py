"""The judge: measures, statistics, reports and files, against what a hand calculation gives."""

from __future__ import annotations

import csv
import io
import itertools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

import fabmesh
from fabmesh.agents.evaluation import plots, report
from fabmesh.agents.evaluation.comparison import Comparison
from fabmesh.agents.evaluation.files import check_writable, write_whole
from fabmesh.agents.evaluation.measures import MEASURES, TRANSFER_LINES, measure
from fabmesh.agents.evaluation.protocol import EpisodeTable
from fabmesh.agents.evaluation.seeds import NAMED, seed_set
from fabmesh.agents.evaluation.statistics import compare, estimate
from fabmesh.envs.errors import FabmeshError

LINES = (
    *("material", "order_cost", "supplier_freight", "first_mile_freight", "last_mile_freight", "machine", "energy"),
    *("labour", "overtime", "setup", "scrap", "holding", "deadstock", "lateness", "stock_change", "lost"),
    *("settlement", "revenue", "transfers"),
)
EVENTS = (
    *("units_ordered", "units_delivered", "units_lost", "units_cancelled", "units_open", "units_on_time"),
    *("lead_time_unit_days", "tenders_posted", "tenders_won", "tenders_lost", "masked_actions"),
    *("purchases_eur", "retail_eur", "deadstock_gross_eur", "supplier_orders", "hub_consignments", "overtime_h"),
    *("shortage_hub_material_days", "outage_days"),
)


def hand_made_episodes():
    """Two episodes of a hub, a depot and the platform: row i, line j holds 10 (j + 1) EUR, transfers 1e6."""
    ledger = np.zeros((2, 3, len(LINES)))
    for j, line in enumerate(LINES):
        ledger[0, :, j] = 1e6 if line in TRANSFER_LINES else 10.0 * (j + 1)
    events = np.zeros((2, len(EVENTS)))
    counts = {
        "units_ordered": 100, "units_delivered": 80, "units_lost": 15, "units_cancelled": 2, "units_open": 3,
        "units_on_time": 60, "lead_time_unit_days": 240, "tenders_posted": 4, "tenders_won": 1, "purchases_eur": 2_000,
        "retail_eur": 500, "deadstock_gross_eur": 100, "supplier_orders": 7, "hub_consignments": 9,
        "masked_actions": 11, "overtime_h": 12.5, "shortage_hub_material_days": 13,
    }  # fmt: skip
    for name, value in counts.items():
        events[0, EVENTS.index(name)] = value
    return ledger, events


def test_measures_from_a_hand_made_ledger():
    ledger, events = hand_made_episodes()
    got = measure(ledger, LINES, events, EVENTS, np.array([1_000.0, 0.0]))
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
    }
    assert set(got) == {item.name for item in MEASURES} == set(expected)
    for name, value in expected.items():
        assert got[name][0] == pytest.approx(value), name


def test_a_share_of_nothing_is_undefined_and_a_cost_of_nothing_is_zero():
    ledger, events = hand_made_episodes()
    got = measure(ledger, LINES, events, EVENTS, np.zeros(2))
    assert np.isnan(got["fill_rate"][1])
    assert np.isnan(got["deadstock_share"][1])
    assert np.isnan(got["mission_cost_per_unit"][1])
    assert got["network_cost"][1] == 0.0


def test_mean_and_interval_of_a_case_known_by_enumeration():
    # Three values have 27 equally likely resamples, whose means a percentile interval is read from; BCa only shifts
    # the percentiles, so both ends are among these means, and the mean is inside.
    values = np.array([1.0, 2.0, 6.0])
    means = sorted({sum(draw) / 3 for draw in itertools.product(values, repeat=3)})
    got = estimate(values)
    assert got.mean == pytest.approx(3.0)
    assert min(means) <= got.low < got.mean < got.high <= max(means)
    assert estimate(values) == got


def test_interval_of_many_normal_values_is_that_of_the_t_table():
    values = np.random.default_rng(3).normal(10.0, 2.0, size=2_000)
    got = estimate(values)
    half = 1.9611 * values.std(ddof=1) / np.sqrt(len(values))  # t quantile of .975 at 1,999 degrees of freedom
    assert got.low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert got.high == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_interval_covers_the_truth_in_about_95_percent_of_200_repetitions():
    rng = np.random.default_rng(11)
    truth = np.exp(0.5 * 0.5**2)  # mean of a lognormal: skewed as costs are
    covered = 0
    for _ in range(200):
        got = estimate(np.exp(0.5 * rng.standard_normal(64)), resamples=1_999)
        covered += got.low <= truth <= got.high
    assert 180 <= covered <= 199  # .95 +- 3 standard deviations, and the known small lack of bootstrap intervals


def test_values_without_variance_have_an_interval_without_width():
    got = estimate(np.full(8, 0.1))
    assert (got.mean, got.low, got.high) == (0.1, 0.1, 0.1)


def test_nearly_equal_values_have_a_finite_interval():
    values = np.full(64, 0.3)
    values[0] = np.nextafter(0.3, 1.0)
    got = estimate(values)
    assert np.isfinite([got.mean, got.low, got.high]).all()


def test_a_single_value_has_a_mean_and_no_interval():
    got = estimate(np.array([5.0]))
    assert got.mean == 5.0
    assert np.isnan(got.low)
    assert np.isnan(got.high)


def test_a_policy_compared_with_itself_differs_by_exactly_nothing():
    values = np.random.default_rng(0).normal(1e6, 1e5, size=64)
    got = compare(values, values.copy())
    assert (got.difference.mean, got.difference.low, got.difference.high) == (0.0, 0.0, 0.0)
    assert got.share_won == 0.0


def test_paired_difference_and_share_won_by_hand():
    a, b = np.array([1.0, 2.0, 3.0, 4.0]), np.array([2.0, 2.0, 5.0, 3.0])
    assert compare(a, b, "lower").difference.mean == pytest.approx(-0.5)
    assert compare(a, b, "lower").share_won == 0.5  # the tie is no win
    assert compare(a, b, "higher").share_won == 0.25
    assert np.isnan(compare(a, b, "neither").share_won)
    with pytest.raises(ValueError, match="same seeds"):
        compare(a, b[:3])


def test_pairing_takes_out_what_the_worlds_have_in_common():
    rng = np.random.default_rng(5)
    worlds = rng.normal(1e6, 1e5, size=64)
    better = worlds - 1e3 + rng.normal(0.0, 1e3, size=64)
    got = compare(better, worlds).difference
    assert got.high < 0.0 < estimate(better).high - estimate(worlds).low  # the separate intervals overlap


def comparison_of(*names, count=6):
    ledger, events = hand_made_episodes()
    tables = []
    for i, name in enumerate(names):
        rng = np.random.default_rng(i)
        ledgers = ledger[:1] * rng.uniform(0.9, 1.1, size=(count, 1, 1))
        measures = measure(ledgers, LINES, np.repeat(events[:1], count, axis=0), EVENTS, np.full(count, 1_000.0))
        costs = {x: ledgers.sum(axis=1)[:, j] for j, x in enumerate(LINES) if x not in TRANSFER_LINES}
        seeds = seed_set("validation", count)
        tables.append(EpisodeTable(name, "local", "pocket", tuple(seeds.seeds), measures, costs))
    return Comparison("pocket", seed_set("validation", count), tuple(tables))


def test_json_has_the_layout_promised(tmp_path):
    path = tmp_path / "new" / "out.json"
    report.write_json(comparison_of("one", "two", "three"), path)
    data = json.loads(path.read_text())
    assert list(data) == ["scenario", "seeds", "policies", "paired", "first_seed", "version", "scenario_hash"]
    assert (data["first_seed"], data["version"]) == (0, fabmesh.__version__)
    assert data["scenario"] == "pocket"
    assert data["seeds"] == {"space": "validation", "count": 6}
    assert [policy["name"] for policy in data["policies"]] == ["one", "two", "three"]
    first = data["policies"][0]
    assert list(first)[:3] == ["name", "sees", "episodes"]
    assert (first["sees"], first["episodes"]) == ("local", 6)
    for name in ("network_cost", "controllable_cost", "mission_cost", "deadstock", "fill_rate"):
        assert set(first[name]) == {"mean", "ci95"}
        low, high = first[name]["ci95"]
        assert low <= first[name]["mean"] <= high
    assert {(row["a"], row["b"]) for row in data["paired"]} == {("one", "two"), ("one", "three"), ("two", "three")}
    for row in data["paired"]:
        assert list(row) == ["a", "b", "measure", "difference", "ci95", "share_won"]
    network = next(row for row in data["paired"] if row["measure"] == "network_cost")
    a, b = data["policies"][:2]
    assert network["difference"] == pytest.approx(a["network_cost"]["mean"] - b["network_cost"]["mean"])
    assert list(path.parent.iterdir()) == [path]  # nothing half-written beside it


def test_json_of_a_single_episode_says_null_instead_of_an_interval(tmp_path):
    path = tmp_path / "out.json"
    report.write_json(comparison_of("one", "two", count=1), path)
    assert json.loads(path.read_text())["policies"][0]["network_cost"]["ci95"] == [None, None]


def test_csv_has_a_row_per_policy_and_seed_with_units_in_its_head(tmp_path):
    path = tmp_path / "out.csv"
    comparison = comparison_of("one", "two")
    report.write_csv(comparison, path)
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 12
    assert {row["policy"] for row in rows} == {"one", "two"}
    assert float(rows[0]["network_cost [EUR]"]) == comparison.tables[0].measures["network_cost"][0]
    lines = sum(float(value) for key, value in rows[0].items() if key.startswith("cost "))
    assert lines == pytest.approx(float(rows[0]["network_cost [EUR]"]))


def test_tables_fit_a_terminal_of_80_columns():
    console = Console(width=80, record=True, file=io.StringIO())
    report.print_tables(comparison_of("base_stock", "nearest"), console)
    text = console.export_text()
    assert "…" not in text
    for word in ("base_stock", "nearest", "local", "kEUR"):
        assert word in text


def test_a_loss_is_not_called_a_saving():
    assert report.words_of_saving(0.0862) == "saves 8.6 %"
    assert report.words_of_saving(-0.0862) == "costs 8.6 % more"


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
def test_paired_figure_has_ticks_that_can_be_told_apart(scale):
    comparison = comparison_of("one", "two", "three")
    tables = []
    for i, table in enumerate(comparison.tables):
        cost = scale * (table.measures["network_cost"] + 1e6 * (i == 2))
        tables.append(replace(table, measures={**table.measures, "network_cost": cost}))
    figure = plots.paired_differences(replace(comparison, tables=tuple(tables)))
    figure.draw_without_rendering()
    labels = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert "symlog" in figure.axes[0].get_xscale()
    assert 3 <= len(labels) == len(set(labels)) <= plots.MOST_TICKS
    assert "-0" not in labels


def test_many_policies_are_shown_against_one():
    figure = plots.paired_differences(comparison_of("one", "two", "base_stock", "three", "four"))
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == [f"{name} - base_stock" for name in ("one", "two", "three", "four")]


def test_figures_are_written_whole(tmp_path):
    comparison = comparison_of("one", "two", "three")
    odd = replace(comparison.tables[0], costs={**comparison.tables[0].costs, "new_line": np.ones(6)})
    for case in (comparison, Comparison("pocket", comparison.seeds, (odd,))):
        paths = plots.save_figures(plots.comparison_figures(case), tmp_path)
        assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)
    curve = plots.learning_curve(np.array([1e4, 2e4]), np.array([9e5, 8e5]), {"base_stock": 8.5e5}, "mappo on pocket")
    (path,) = plots.save_figures({"curve": curve}, tmp_path)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert not [path for path in tmp_path.iterdir() if path.suffix != ".png"]


def test_a_file_that_cannot_be_finished_leaves_what_was_there(tmp_path):
    path = tmp_path / "out.json"
    path.write_text("before")

    def fail(draft: Path) -> None:
        draft.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(FabmeshError, match="No space left"):
        write_whole(path, fail)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_outputs_that_cannot_be_written_are_refused_beforehand(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    check_writable(tmp_path / "new" / "out.json", "--json")
    check_writable(file, "--json")
    check_writable(tmp_path / "figures", "--figures", directory=True)
    assert not (tmp_path / "new").exists()
    for path, directory in ((tmp_path, False), (file / "out.json", False), (file, True)):
        with pytest.raises(FabmeshError, match="--out"):
            check_writable(path, "--out", directory)


def test_seed_spaces_are_disjoint_and_named():
    sets = {space: set(seed_set(space, NAMED.get(space, 300)).seeds) for space in ("train", *NAMED, "holdout")}
    assert len(set.union(*sets.values())) == sum(map(len, sets.values()))
    assert len(sets["validation"]) == 64
    assert len(sets["test"]) == 256
    assert seed_set("test", 2, first=254).seeds == seed_set("test", 256).seeds[254:]


@pytest.mark.parametrize(
    ("space", "count", "first", "message"),
    [
        ("validation", 0, 0, "at least 1"),
        ("validation", 65, 0, "64 named seeds"),
        ("test", 200, 100, "at most 156"),
        ("train", 4, -1, "numbered from 0"),
        ("tests", 4, 0, "unknown seed space"),
    ],
)
def test_impossible_seeds_are_refused(space, count, first, message):
    with pytest.raises(FabmeshError, match=message):
        seed_set(space, count, first)
