"""The judge: reports, figures, files and seeds, on made-up episodes."""

from __future__ import annotations

import csv
import io
import itertools
import json
import re
from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import fabmesh
from fabmesh.agents.evaluation.judge.comparison import ALL_PAIRS_IN_FILES, Comparison, Row, compare_entries
from fabmesh.agents.evaluation.judge.entries import Entry, parse_entries
from fabmesh.agents.evaluation.judge.seeds import NAMED, seed_set
from fabmesh.agents.evaluation.show import curves, export, figures, plots, plots_time
from fabmesh.agents.evaluation.show import tables as report
from fabmesh.agents.evaluation.show.tensorboard import log_tensorboard
from fabmesh.envs.errors import FabmeshError
from fabmesh.envs.files import check_writable, write_whole
from fabmesh.envs.network.loading import load_scenario

POCKET = load_scenario("pocket")


@pytest.fixture(scope="module")
def judged():
    """Three rules on six worlds of pocket."""
    return compare_entries(parse_entries(RULES), POCKET, seed_set("validation", 6), quiet=True)


RULES = ("base_stock", "nearest", "idle")


def renamed(comparison, *names, against=None):
    """Rows under other names: the first name's row is the first rule's, and so on, round and round."""
    rows = [replace(row, name=name) for name, row in zip(names, itertools.cycle(comparison.rows), strict=False)]
    return Comparison(comparison.scenario, comparison.seeds, tuple(rows), against or names[0])


def scaled(row, factor):
    """A row whose costs are so many times higher."""
    runs = [replace(t, measures={n: factor * v for n, v in t.measures.items()}) for t in row.runs]
    return Row(row.name, tuple(runs), row.sources)


def trained_thrice(comparison):
    """The first rule with three runs that cost a little more or less, in place of the first row."""
    first = comparison.rows[0]
    runs = tuple(scaled(first, factor).runs[0] for factor in (0.99, 1.0, 1.02))
    return Comparison(comparison.scenario, comparison.seeds, (Row("learner", runs), *comparison.rows), "learner")


def test_json_has_the_layout_promised(judged, tmp_path):
    path = tmp_path / "new" / "out.json"
    export.write_json(export.to_json(judged), path)
    data = json.loads(path.read_text())
    assert list(data)[:4] == ["scenario", "seeds", "policies", "paired"]
    assert list(data)[4:] == ["first_seed", "version", "scenario_hash", "units"]
    assert (data["first_seed"], data["version"]) == (0, fabmesh.__version__)
    assert data["scenario"] == "pocket"
    assert data["seeds"] == {"space": "validation", "count": 6}
    assert [policy["name"] for policy in data["policies"]] == list(RULES)
    first = data["policies"][0]
    assert list(first)[:3] == ["name", "sees", "episodes"]
    assert (first["sees"], first["episodes"]) == ("local", 6)
    for name in ("network_cost", "controllable_cost", "mission_cost", "deadstock", "fill_rate"):
        assert list(first[name]) == ["mean", "ci95", "median", "iqm", "cvar95"]
        assert data["units"][name] == ("share" if name == "fill_rate" else "EUR")
        low, high = first[name]["ci95"]
        assert low <= first[name]["mean"] <= high
    assert {(row["a"], row["b"]) for row in data["paired"]} == set(itertools.combinations(RULES, 2))
    for row in data["paired"]:
        assert list(row) == ["a", "b", "measure", "difference", "ci95", "share_won", "median", "iqm"]
    network = next(row for row in data["paired"] if row["measure"] == "network_cost")
    a, b = data["policies"][:2]
    assert network["difference"] == pytest.approx(a["network_cost"]["mean"] - b["network_cost"]["mean"])
    assert list(path.parent.iterdir()) == [path]  # nothing half-written beside it


def test_json_of_a_single_episode_says_null_instead_of_an_interval():
    one = compare_entries(parse_entries(["idle", "random"]), POCKET, seed_set("validation", 1), quiet=True)
    data = export.to_json(one)
    assert data["policies"][0]["network_cost"]["ci95"] == [None, None]
    assert data["policies"][0]["on_time_share"]["mean"] is None  # of nothing delivered


def test_csv_has_a_row_per_policy_and_seed_with_units_in_its_head(judged, tmp_path):
    path = tmp_path / "out.csv"
    export.write_csv(trained_thrice(judged), path)
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == (3 + 3) * 6
    assert [row["run"] for row in rows if row["policy"] == "learner"] == ["1"] * 6 + ["2"] * 6 + ["3"] * 6
    first = next(row for row in rows if row["policy"] == "base_stock")
    assert float(first["network_cost [EUR]"]) == judged.rows[0].values("network_cost")[0, 0]
    lines = sum(float(value) for key, value in first.items() if key.startswith("cost "))
    assert lines == pytest.approx(float(first["network_cost [EUR]"]))


def test_marl_eval_layout(judged):
    """Environment, task, algorithm, run, step: as many runs and values of every algorithm, nothing undefined."""
    data = export.to_marl_eval(trained_thrice(judged))
    (environment,) = data.values()
    (task,) = environment.values()
    assert list(environment) == ["pocket"]
    assert list(task) == ["learner", *RULES]
    kinds = set()
    for runs in task.values():
        assert list(runs) == ["run_1", "run_2", "run_3"]
        for run in runs.values():
            assert list(run) == ["step_1", "absolute_metrics"]
            assert run["step_1"]["step_count"] == 0
            kinds.add((tuple(run["step_1"])[1:], tuple(run["absolute_metrics"])))
            for values in run["absolute_metrics"].values():
                assert len(values) == 6
                assert np.isfinite(values).all()
            assert run["absolute_metrics"]["return"] == [-cost for cost in run["absolute_metrics"]["network_cost"]]
    assert len(kinds) == 1
    (names,) = kinds
    assert names[0] == names[1]
    assert "on_time_share" not in names[0]  # idle delivers nothing
    json.dumps(data, allow_nan=False)


def printed(comparison, width):
    console = Console(width=width, record=True, file=io.StringIO())
    report.print_tables(comparison, console)
    return console.export_text()


def test_tables_fit_100_columns_with_the_longest_names(judged):
    name = "cost_plus+can_order+eoq_discount"
    text = printed(renamed(judged, "tuned", name, "base_stock", "nearest", "random", "idle"), 100)
    assert "…" not in text
    lines = text.splitlines()
    assert max(map(len, lines)) <= 100
    for word in (
        name,
        "tuned",
        "local",
        "kEUR",
        "CVaR95",
        "IQM",
        "Gini",
        "efficiency",
        "regret",
        "tuned less each policy",
    ):
        assert word in text
    assert sum(line.startswith(name) for line in lines) == 6  # a line of its own in each table
    longer = f"{name}+make_to_order+overtime_above_plan"
    broken = printed(renamed(judged, longer, "a", "b", "c", "d"), 100).splitlines()
    assert max(map(len, broken)) <= 100
    assert sum(line.startswith(f"{name} ") for line in broken) == 5
    assert sum(line.strip() == "+make_to_order+overtime_above_plan" for line in broken) == 5


def test_tables_of_an_algorithm_show_its_runs(judged):
    text = printed(trained_thrice(judged), 100)
    lines = text[text.index("training runs") :].splitlines()
    line = next(line for line in lines if line.startswith("learner  "))
    mean = judged.rows[0].mean("controllable_cost") / 1e3
    assert line.split() == ["learner", "3", f"{0.99 * mean:,.1f}", f"{1.02 * mean:,.1f}"]


def test_mechanisms_that_are_on_have_a_table():
    scenario = replace(
        POCKET, people=replace(POCKET.people, enabled=True), quality=replace(POCKET.quality, enabled=True)
    )
    found = compare_entries(parse_entries(["base_stock", "idle"]), scenario, seed_set("train", 2), quiet=True)
    titles = [sheet.title for sheet in report.sheets(found)]
    assert "people" in titles
    assert "quality" in titles
    assert "upkeep" not in titles
    text = printed(found, 100)
    assert "absence" in text
    assert "Cpk" in text
    assert max(map(len, text.splitlines())) <= 100


def test_markdown_holds_the_same_tables_and_the_command(judged):
    text = report.markdown(judged, ["fabmesh-evaluate --scenario pocket"])
    assert text.startswith("```bash\nfabmesh-evaluate --scenario pocket\n```\n")
    for sheet in report.sheets(judged):
        assert f"**{sheet.title}**" in text
        for row in sheet.rows:
            assert f"| {' | '.join(row)} |" in text


def test_many_policies_are_compared_with_one(judged):
    many = renamed(judged, "one", "two", "base_stock", "three", "four", against="base_stock")
    assert [(a.name, b.name) for a, b in many.pairs(4)] == [
        ("base_stock", name) for name in ("one", "two", "three", "four")
    ]
    assert len(judged.pairs(4)) == 3
    crowd = renamed(judged, *(f"row {i}" for i in range(ALL_PAIRS_IN_FILES + 1)), against="row 3")
    assert len(crowd.pairs(ALL_PAIRS_IN_FILES)) == ALL_PAIRS_IN_FILES


def test_a_loss_is_not_called_a_saving():
    assert report.words_of_saving(0.0862) == "saves 8.6 %"
    assert report.words_of_saving(-0.0862) == "costs 8.6 % more"
    assert report.words_of_saving(-0.0) == "the same"


def test_a_difference_that_may_be_nothing_stands_in_brackets(judged):
    """Delivered cost of the same policy, moved up on some worlds and down on others: no claim either way."""
    first = judged.rows[0]
    wobble = np.where(np.arange(6) % 2 == 0, 1.01, 0.99)
    table = first.runs[0]
    moved = replace(
        table, measures={n: v * (wobble if n == "network_cost" else 1.0) for n, v in table.measures.items()}
    )
    text = printed(Comparison(POCKET, judged.seeds, (first, Row("moved", (moved,))), "base_stock"), 100)
    line = next(line for line in text.splitlines() if line.startswith("base_stock - moved"))
    assert re.search(r"\((saves|costs) [\d.]+ %( more)?\)|\(the same\)", line)
    clear = next(line for line in printed(judged, 100).splitlines() if line.startswith("nearest - idle"))
    assert "(" not in clear


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
def test_paired_figure_has_ticks_that_can_be_told_apart(judged, scale):
    close = replace(scaled(judged.rows[0], 1.001), name="close")  # its difference is far smaller than the others
    rows = tuple(replace(scaled(row, scale), name=row.name) for row in (*judged.rows, close))
    figure = plots.paired_differences(Comparison(POCKET, judged.seeds, rows, "base_stock"))
    figure.draw_without_rendering()
    labels = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert "symlog" in figure.axes[0].get_xscale()
    assert 3 <= len(labels) == len(set(labels)) <= plots.MOST_TICKS
    assert "-0" not in labels


def test_figures_are_written_whole(judged, tmp_path):
    first = judged.rows[0].runs[0]
    odd = replace(first, costs={**first.costs, "new_line": np.ones(6)}, trace=None)
    cases = {
        "rules": (judged, {"cost_by_line", "paired_network_cost", "stock_over_time", "network_map_base_stock"}),
        "unwatched": (Comparison(POCKET, judged.seeds, (Row("odd", (odd,)),), "odd"), {"cost_by_line"}),
    }
    for name, (case, expected) in cases.items():
        paths = figures.save_figures(figures.comparison_figures(case), tmp_path / name)
        assert {path.stem for path in paths} == expected == {path.stem for path in (tmp_path / name).iterdir()}
        assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)


def words_in(figure):
    """Every text of a figure with where it is drawn, in pixels."""
    figure.draw_without_rendering()
    renderer = FigureCanvasAgg(figure).get_renderer()
    found = [text for text in figure.findobj(mpl.text.Text) if text.get_text().strip() and text.get_visible()]
    return [(text.get_text(), text.get_window_extent(renderer)) for text in found]


def test_figures_have_units_and_no_text_over_another(judged):
    many = renamed(judged, "tuned", "cost_plus+can_order+eoq_discount", "base_stock", "nearest", "random", "idle")
    for name, figure in figures.comparison_figures(many).items():
        words = words_in(figure)
        assert any("EUR" in text or "kg" in text for text, _ in words), name
        for (one, a), (other, b) in itertools.combinations(words, 2):
            apart = a.x1 <= b.x0 + 1 or b.x1 <= a.x0 + 1 or a.y1 <= b.y0 + 1 or b.y1 <= a.y0 + 1
            assert apart, f"{name}: {one!r} lies over {other!r}"


def write_run(directory, costs, opponent=8.5e4):
    """A run directory that tells of validations every 1,000 steps."""
    directory.mkdir(parents=True)
    validated = (f"validation/network_cost_{kind}" for kind in ("mode", "sample", "base_stock"))
    lines = [",".join(["iteration", "steps", "speed/minutes", *validated]), "0,500,0.1,,,"]
    lines += [f"{i},{1000 * i},{i / 2},{cost},{1.01 * cost},{opponent}" for i, cost in enumerate(costs, start=1)]
    (directory / "progress.csv").write_text("\n".join(lines) + "\n")
    (directory / "best.pt").write_text("")


def test_learning_curves_come_from_run_directories(tmp_path):
    write_run(tmp_path / "a1", (9e4, 8e4))
    write_run(tmp_path / "a2", (9.2e4, 8.1e4), opponent=8.6e4)
    sources = (str(tmp_path / "a1"), str(tmp_path / "a1" / "best.pt") + ":sample", str(tmp_path / "a2"), "base_stock")
    found = curves.curves_of(sources)
    assert [curve.name for curve in found] == ["a1", "a2"]
    assert found[0].steps.tolist() == [1000.0, 2000.0]
    assert found[0].minutes.tolist() == [0.5, 1.0]
    assert found[0].scores["most likely action"].tolist() == [9e4, 8e4]
    assert found[0].opponents == {"base_stock": 8.5e4}
    assert curves.steps_of_run(sources[1]) == 2000
    assert curves.steps_of_run("base_stock") == 0
    figure = plots_time.learning_curves(found, "pocket")
    labels = {text.get_text() for text in figure.axes[0].get_legend().get_texts()}
    assert labels == {f"{run}, {kind} action" for run in ("a1", "a2") for kind in ("most likely", "sampled")} | {
        "base_stock"
    }
    assert [axes.get_xlabel().split()[0] for axes in figure.axes] == ["environment", "minutes"]
    (tmp_path / "a1" / "progress.csv").write_text("iteration,steps\n1,many\n")
    assert curves.curves_of(sources[:1]) == []
    assert curves.steps_of_run(sources[0]) == 0


def test_tensorboard_holds_scalars_settings_tables_and_figures(judged, tmp_path):
    for _ in range(2):  # a second time in place of the first
        log_tensorboard(judged, tmp_path, {"cost_by_line": plots.cost_by_line(judged)})
    for row in judged.rows:
        logged = EventAccumulator(str(tmp_path / row.name)).Reload()
        scalars = logged.Tags()["scalars"]
        (cost,) = logged.Scalars("evaluation/network_cost")
        assert cost.value == pytest.approx(row.mean("network_cost"))
        assert {"controllable_cost/cvar95", "ledger_eur/material", "stock_eur_by_day/depots"} <= set(scalars)
        assert len(logged.Scalars("stock_eur_by_day/written_off")) == POCKET.episode_d
        assert "_hparams_/session_start_info" in logged.summary_metadata
    pictures = EventAccumulator(str(tmp_path / "tables_and_figures")).Reload()
    assert pictures.Tags()["images"] == ["cost_by_line"]
    assert "tables/text_summary" in pictures.summary_metadata


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
    numbered = [set(seed_set(f"holdout:{number}", 300).seeds) for number in (0, 1, 2, 4294967295)]
    assert len(set.union(*numbered, sets["test"], sets["validation"], sets["train"])) == 4 * 300 + 64 + 256 + 300


def test_what_is_typed_becomes_rows(tmp_path):
    runs = [str(tmp_path / name) for name in ("a,1", "b1", "b2")]
    for run in runs:
        Path(run).mkdir()
    typed = ["base_stock", runs[0], f"mappo={runs[1]},{runs[2]}", f"{runs[1]}:sample"]
    plain = [
        Entry(("base_stock",)),
        Entry((runs[0],)),
        Entry((runs[1], runs[2]), "mappo"),
        Entry((f"{runs[1]}:sample",)),
    ]
    assert parse_entries(typed) == plain
    sampled = Entry((f"{runs[1]}:sample", f"{runs[2]}:sample"), "mappo:sample")
    assert parse_entries(typed, "both") == [
        plain[0], plain[1], Entry((f"{runs[0]}:sample",)), plain[2], sampled, plain[3],
    ]  # fmt: skip
    assert parse_entries(typed, "sampled")[2:] == [sampled, plain[3]]
    for wrong in ("", ",", "a,", "=a", "a=", "a=b,,c"):
        with pytest.raises(FabmeshError, match="names nothing"):
            parse_entries([wrong])
    with pytest.raises(FabmeshError, match="only training runs"):
        parse_entries(["base_stock,nearest"])[0].policies(POCKET)


@pytest.mark.parametrize(
    ("space", "count", "first", "message"),
    [
        ("validation", 0, 0, "at least 1"),
        ("validation", 65, 0, "64 named seeds"),
        ("test", 200, 100, "at most 156"),
        ("train", 4, -1, "numbered from 0"),
        ("tests", 4, 0, "unknown seed space"),
        ("test:7", 4, 0, "only holdout takes a number"),
        ("holdout:x", 4, 0, "must be whole"),
        ("holdout:-1", 4, 0, "must be whole"),
        ("holdout:", 4, 0, "must be whole"),
        ("holdout:4294967296", 4, 0, "must be whole"),
        ("holdout:1", 4, 1 << 20, "use another number"),
    ],
)
def test_impossible_seeds_are_refused(space, count, first, message):
    with pytest.raises(FabmeshError, match=message):
        seed_set(space, count, first)
