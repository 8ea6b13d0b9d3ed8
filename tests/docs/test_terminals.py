"""Terminals that are not UTF-8, that nobody reads or that are full; and names that look like something else."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib import image
from matplotlib.figure import Figure
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fabmesh.agents.evaluation.judge.comparison import Comparison, compare_entries
from fabmesh.agents.evaluation.judge.entries import Entry, parse_entries
from fabmesh.agents.evaluation.judge.seeds import seed_set
from fabmesh.agents.evaluation.show import tables as report
from fabmesh.agents.evaluation.show.outputs import outputs_in, write_outputs
from fabmesh.envs.commands import guarded, say, tell
from fabmesh.envs.errors import FabmeshError
from fabmesh.envs.names import distinct, file_names, in_csv, in_figure, in_markdown, out_of_csv, shown
from fabmesh.envs.network.loading import load_scenario
from fabmesh.envs.network.schema.recorded import read_orders
from fabmesh.envs.rendering.page import show_page
from fabmesh.envs.scenarios.__main__ import main as scenarios_main
from fabmesh.envs.scenarios.dump import scenario_to_yaml
from fabmesh.envs.scenarios.orders import write_orders
from fabmesh.envs.terminal import Terminal
from fabmesh.evaluate import main as evaluate_main

POCKET = load_scenario("pocket")
IDLE = ["--scenario", "pocket", "--policies", "idle", "--seeds", "train", "--episodes", "2", "--quiet"]
ODD = ["ppo[best]", "ppo[worst]", "a[/]", "[red]x[/red]", "x$$", "$\\frac{", "=cmd()", "+1", "-", "..", ":car:"]
ODD += ["<script>alert(1)</script>", "a|b`c", "_hidden", "*bold*", "tables_and_figures"]
ODD += ["esc\x1b[31m", "line\nbreak", "caf\udce9"]


def terminal(encoding):
    """Standard output of an encoding, which is strict as Python's is."""
    return io.TextIOWrapper(io.BytesIO(), encoding=encoding, write_through=True)


def said(out):
    return out.buffer.getvalue().decode(out.encoding)


@pytest.fixture
def accents(tmp_path):
    """A scenario file with letters that only UTF-8 has, on a path of bytes that are not UTF-8 at all."""
    (first, *others) = POCKET.towns
    town = replace(first, name="Łódź-Café")
    hubs = tuple(replace(hub, town=town.name) if hub.town == first.name else hub for hub in POCKET.hubs)
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/r\xe9gion.yaml"))
    path.write_text(scenario_to_yaml(replace(POCKET, towns=(town, *others), hubs=hubs)), encoding="utf-8")
    return path


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
@pytest.mark.parametrize("command", ["show", "sheet", "check", "list"])
def test_scenarios_are_printed_on_every_terminal(accents, encoding, command):
    out = terminal(encoding)
    with redirect_stdout(out):
        assert scenarios_main([command, *([] if command == "list" else [str(accents)])]) == 0
    text = said(out)
    assert text.strip()
    if command == "sheet":
        town = {"ascii": "\\u0141\\xf3d\\u017a-Caf\\xe9", "cp1252": "\\u0141ód\\u017a-Café", "utf-8": "Łódź-Café"}
        assert town[encoding] in text
    if command == "check":
        assert "r\\udce9gion.yaml: ok" in text


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_a_scenario_that_is_shown_is_read_back_equal(accents, encoding, tmp_path):
    out = terminal(encoding)
    with redirect_stdout(out):
        assert scenarios_main(["show", str(accents)]) == 0
    (tmp_path / "again.yaml").write_bytes(out.buffer.getvalue())
    assert load_scenario(tmp_path / "again.yaml") == load_scenario(accents)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_a_comparison_degrades_on_a_terminal_and_is_written_right(encoding, accents, tmp_path, capsys):
    out, place = terminal(encoding), Path(os.fsdecode(os.fsencode(tmp_path) + b"/o\xe9"))
    given = ["--scenario", str(accents), "--policies", "café=idle", "base_stock", "--seeds", "train", "--episodes", "2"]
    with redirect_stdout(out):
        assert evaluate_main([*given, "--out", str(place), "--quiet"]) == 0
    lines = said(out).splitlines()
    assert lines[-1].startswith("written: ")
    assert "/o\\udce9/results.json" in lines[-1]
    assert ("caf\\xe9" if encoding == "ascii" else "café") in said(out)
    rows = [line for line in lines if " none " in line or " local " in line]
    marks = {line.find("+-" if encoding == "ascii" else "±") for line in rows}
    assert len(marks) == 1  # columns stand below each other
    assert marks != {-1}
    assert json.loads((place / "results.json").read_text())["policies"][0]["name"] == "café"
    assert "| café |" in (place / "table.md").read_text(encoding="utf-8")
    assert "r\\udce9gion.yaml" in (place / "table.md").read_text(encoding="utf-8")
    manifest = json.loads((place / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["scenario"]["given"] == str(accents)
    assert sorted(path.name for path in (place / "tensorboard").iterdir()) == [
        "base_stock",
        "café",
        "tables_and_figures",
    ]
    capsys.readouterr()
    assert evaluate_main(["--from", str(place / "manifest.json"), "--quiet"]) == 0
    assert "bit for bit" in capsys.readouterr().out


def test_files_are_written_before_anything_is_printed(tmp_path):
    class Broken(io.StringIO):
        def write(self, text):
            assert (tmp_path / "o" / "manifest.json").exists()
            raise BrokenPipeError(32, "Broken pipe")

    with redirect_stdout(Broken()):
        assert evaluate_main([*IDLE, "--out", str(tmp_path / "o")]) == 141
    names = {"results.json", "table.csv", "table.md", "marl_eval.json", "figures", "tensorboard", "manifest.json"}
    assert {path.name for path in (tmp_path / "o").iterdir()} == names


def shell(line, tmp_path, **more):
    """A line of bash in which `python` is this one, in an empty folder."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", **more}
    return subprocess.run(
        ["bash", "-c", line], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )


LONG = "python -m fabmesh.envs.scenarios show rotterdam"


def test_nobody_reads_on(tmp_path):
    for line in (f"{LONG} | head -1", "python -m fabmesh.envs.scenarios list | true", f"{LONG} --help | true"):
        done = shell(f'{line}; echo "${{PIPESTATUS[0]}}"', tmp_path)
        assert done.stderr == ""
        assert done.stdout.splitlines()[-1] in ("141", "0")  # 0: it was done before the reader had gone
    done = shell(f'{LONG} | (exec <&-; sleep 5); echo "${{PIPESTATUS[0]}}"', tmp_path)
    assert (done.stdout, done.stderr) == ("141\n", "")


def test_a_full_disk_behind_standard_output_is_one_line(tmp_path):
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    for line in (LONG, "python -m fabmesh.envs.scenarios list", "python -m fabmesh.evaluate --help"):
        done = shell(f"{line} > /dev/full", tmp_path)
        assert done.returncode in (1, 2)
        assert done.stderr.splitlines()[-1] == (
            "error: standard output cannot be written to (No space left on device); give it another place"
        )
        assert "Traceback" not in done.stderr


def test_streams_that_are_closed_or_full_cost_nothing(tmp_path):
    (tmp_path / "work.py").write_text(
        "import sys; from pathlib import Path; from tqdm import tqdm\n"
        "from fabmesh.envs.commands import *; from fabmesh.envs.files import write_text\n"
        "def work():\n"
        "    with tqdm(total=9, file=sys.stderr, mininterval=0) as bar:\n"
        "        for _ in range(9): bar.update(); tell('still here')\n"
        "    write_text(Path('done'), 'x'); say('done'); return 0\n"
        "sys.exit(guarded(work, 'stopped'))\n"
    )
    ends = ["2>&-", ">&-", ">&- 2>&-", "2>&1 | true", "2> /dev/full"]
    for end in ends if Path("/dev/full").exists() else ends[:-1]:
        done = shell(f'python work.py {end}; echo "code ${{PIPESTATUS[0]}}"', tmp_path)
        assert (tmp_path / "done").read_text() == "x", end
        assert done.stdout.splitlines()[-1] in ("code 0", "code 141"), end
        assert "Traceback" not in done.stderr
        (tmp_path / "done").unlink()


def test_errors_are_one_line_whatever_is_in_a_name(capsys):
    def fail():
        say("a\x1b[31m\u202eb")
        tell("c\nd")
        raise FabmeshError("file 'a\nb\x1b': is odd")

    assert guarded(fail, "stopped") == 2
    out, err = capsys.readouterr()
    assert out == "a\\x1b[31m\\u202eb\n"
    assert err == "c\\nd\nerror: file 'a\\nb\\x1b': is odd\n"


def test_an_error_that_is_no_fault_of_the_output_is_not_taken_for_one(capsys):
    def fail():
        raise OSError(5, "Input/output error")

    with pytest.raises(OSError, match="Input/output error"):
        guarded(fail, "stopped")


def test_a_page_of_the_network_is_shown_on_every_terminal():
    out = terminal("ascii")
    with redirect_stdout(out):
        show_page("hub_0 Łódź ±")
    assert said(out) == "hub_0 \\u0141\\xf3d\\u017a +-\n"


# --- names


@pytest.fixture(scope="module")
def odd():
    """A comparison whose rows, network and places have names of all kinds."""
    (first, *others) = POCKET.towns
    town = replace(first, name="$x$ [b] _y")
    hubs = tuple(replace(hub, town=town.name) if hub.town == first.name else hub for hub in POCKET.hubs)
    scenario = replace(POCKET, name="=po[ck]et$$", towns=(town, *others), hubs=hubs)
    entries = [Entry(("idle",), name) for name in ODD]
    judged = compare_entries(entries[:1], scenario, seed_set("train", 2), quiet=True)
    names = distinct(ODD)
    return Comparison(
        scenario, judged.seeds, tuple(replace(judged.rows[0], name=name) for name in names), names[0], judged.orders
    )


def test_names_are_shown_as_they_are_in_a_terminal(odd):
    console = Terminal(report.WIDTH, file=io.StringIO())
    report.print_tables(odd, console)
    text = console.file.getvalue()
    for name in ODD:
        assert shown(name) in text
    assert "\x1b" not in text
    plain = io.StringIO()
    report.print_tables(odd, Console(file=plain, width=report.WIDTH))
    assert "ppo[best]" in plain.getvalue()
    assert "ppo[worst]" in plain.getvalue()
    assert "a[/]" in plain.getvalue()


def test_names_are_shown_as_they_are_in_every_file(odd, tmp_path):
    outputs = replace(outputs_in(tmp_path), manifest=None)
    write_outputs(outputs, odd, {"command": "fabmesh-evaluate '```\n<script>'"})
    assert [row["name"] for row in json.loads(outputs.json.read_text())["policies"]] == distinct(ODD)
    with outputs.csv.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["policy"] for row in rows} == {in_csv(name) for name in distinct(ODD)}
    assert {row["scenario"] for row in rows} == {"'=po[ck]et$$"}
    assert all(np.isfinite(float(row["network_cost [EUR]"])) for row in rows)
    text = outputs.markdown.read_text(encoding="utf-8")
    fence, command, end = text.split("\n")[:3]
    assert (fence, command, end) == ("````bash", "fabmesh-evaluate '```\\n<script>'", "````")
    below = text.partition("\n````\n")[2]
    assert "<script>" not in below.replace("\\<", "")
    assert "| a\\|b\\`c |" in below
    assert all(line.replace("\\|", "").count("|") == line.count("|") - line.count("\\|") for line in below.splitlines())
    logged = sorted(path.name for path in outputs.tensorboard.iterdir())
    assert len(logged) == len(ODD) + 1  # each row has a run of its own, inside the directory
    tables = EventAccumulator(str(outputs.tensorboard / "tables_and_figures")).Reload()
    assert "tables/text_summary" in tables.summary_metadata
    assert all(image.imread(path).size for path in outputs.figures.iterdir())


def test_figures_show_dollars_and_hide_no_name(odd):
    figure = Figure()
    axes = figure.subplots()
    for name in ("x$$", "$a$", "_hidden", "caf\udce9"):
        axes.plot([0, 1], label=in_figure(name))
    labels = [text.get_text() for text in axes.legend().get_texts()]
    assert labels == ["x\\$\\$", "\\$a\\$", " _hidden", "caf\\udce9"]
    figure.savefig(io.BytesIO())


def test_two_policies_never_have_one_name():
    names = distinct(["a", "a", "a (2)", "é", "e\u0301", "a\x1b", "a\\x1b", "A"])
    assert names == ["a", "a (2)", "a (2) (2)", "é", "e\u0301 (2)", "a\\x1b", "a\\x1b (2)", "A"]
    assert file_names(["a[b]", "a(b)", "A_B_", "..", "", "x" * 300, "tables"], taken=["tables"]) == [
        "a_b_", "a_b__2", "A_B__3", "_", "__2", "x" * 100, "tables_2",
    ]  # fmt: skip
    found = compare_entries(parse_entries(["a=idle", "a=idle", "a (2)=idle"]), POCKET, seed_set("train", 1), quiet=True)
    assert [row.name for row in found.rows] == ["a", "a (2)", "a (2) (2)"]


def test_brackets_on_the_command_line(capsys):
    assert evaluate_main([*IDLE[:2], "--policies", "ppo[best]=idle", "ppo[worst]=base_stock", *IDLE[4:]]) == 0
    out = capsys.readouterr().out
    assert "ppo[best]" in out
    assert "ppo[worst]" in out


@pytest.mark.parametrize("name", ["=1", "+x", "-y", "@z", "'=1", "'s-Hertogenbosch", "'t Harde", "plain", "-5", ""])
def test_a_name_comes_back_out_of_a_table(name):
    assert out_of_csv(in_csv(name)) == name or in_csv(name) == name


def test_an_exported_order_book_is_no_formula_and_is_read_again(tmp_path):
    (first, *others) = POCKET.towns
    town = replace(first, name="=cmd()")
    hubs = tuple(replace(hub, town=town.name) if hub.town == first.name else hub for hub in POCKET.hubs)
    scenario = replace(POCKET, towns=(town, *others), hubs=hubs)
    path = tmp_path / "orders.csv"
    count = write_orders(scenario, 1, path)
    text = path.read_text()
    assert ",'=cmd()," in text
    assert ",=cmd()," not in text
    assert read_orders(path, scenario).lines["units"].sum() > 0
    assert count == text.count("\n") - 1


def test_markdown_leaves_ordinary_names_alone():
    for name in ("base_stock", "cost_plus+can_order+eoq_discount", "shipped:pocket:sample", "runs/a-1 (2)"):
        assert in_markdown(name) == name
    assert in_markdown("<b>&amp;_x_") == "\\<b\\>&amp;amp;\\_x\\_"


@pytest.mark.parametrize("text", ["SECRET: hunter2\n", "SECRET,hunter2\n1,2\n", "root:x:0:SECRET:hunter2\n"])
def test_errors_do_not_quote_files_that_are_something_else(tmp_path, capsys, text):
    path = tmp_path / "other.yaml"
    path.write_text(text)
    commands = [
        (scenarios_main, ["check", str(path)]),
        (scenarios_main, ["new", "--towns", str(path), "--out", str(tmp_path / "new.yaml")]),
        (evaluate_main, [*IDLE, "--orders", str(path)]),
        (evaluate_main, [*IDLE, "--stress", str(path)]),
        (evaluate_main, ["--from", str(path)]),
    ]
    for main, arguments in commands:
        assert main(arguments) == 2
        err = capsys.readouterr().err
        assert err.startswith("error: ")
        assert "SECRET" not in err
        assert "hunter2" not in err


def test_names_that_came_in_as_bytes_are_shown_as_the_letters_they_are():
    assert shown("caf\udcc3\udca9.yaml") == "café.yaml"  # UTF-8, typed under a locale without letters for it
    assert shown("r\udce9gion.yaml") == "r\\udce9gion.yaml"  # no UTF-8
