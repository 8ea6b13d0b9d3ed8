"""The fuzzer on every reader and command line, and that it would see what it looks for."""

import contextlib
import importlib
import signal
import time
from pathlib import Path
from random import Random

import pytest
from fuzz import worker
from fuzz.bench import Bench
from fuzz.cli import table_of
from fuzz.commands import COMMANDS, SHARES, flags_of, subcommands_of
from fuzz.harness import Worker, faults, inputs, run, told
from fuzz.mutations import spoiled_bytes, spoiled_tree
from fuzz.outcomes import FAULTS, of_refusal
from fuzz.readers import Case, make
from rich.console import Console

import fabmesh
from fabmesh.agents.learning.config import setting_names
from fabmesh.envs.errors import FabmeshError

ROOT = Path(fabmesh.__file__).parent
INPUTS = 2400


@pytest.mark.slow
def test_every_reader_refuses_in_one_line_or_accepts_what_is_sane():
    found = run(inputs(SHARES, seed=1, count=INPUTS))
    Console(width=140).print(table_of(found))
    assert len(found) >= INPUTS * 0.95
    assert {outcome.reader for outcome in found} == set(SHARES)
    assert not [told(outcome, count) for outcome, count in faults(found)]


# --- that nothing is left out


def test_every_command_line_of_the_package_is_among_them():
    sources = [*ROOT.glob("*.py"), *(path for folder in ("agents", "envs") for path in (ROOT / folder).rglob("*.py"))]
    started = [path for path in sources if 'if __name__ == "__main__":' in path.read_text()]
    started = [path for path in started if path.name != "extremes.py"]  # needs the checked build; test_checked runs it
    modules = {".".join(("fabmesh", *path.relative_to(ROOT).with_suffix("").parts)) for path in started}
    assert {importlib.import_module(module).main.__module__ for module in modules} == {
        command.module for command in COMMANDS.values()
    }


def test_every_subcommand_and_flag_is_among_them():
    assert {f"scenarios {name}" for name in subcommands_of("fabmesh.envs.scenarios.__main__")} == {
        name for name in COMMANDS if " " in name
    }
    assert set(flags_of("train")) == {f"--{name.replace('_', '-')}" for name in setting_names()}
    assert {"--policies", "--from", "--out", "--stress"} <= set(flags_of("evaluate"))
    assert flags_of("testing") == {"--seed": "SEED"}
    assert flags_of("scenarios orders") == {"--out": "PATH", "--seed": "INT"}


def test_every_reader_has_its_share():
    assert set(COMMANDS) < set(SHARES)
    assert {name for name, _, _ in inputs(SHARES, seed=1, count=len(SHARES))} == set(SHARES)


# --- that an input can be had again


@pytest.mark.parametrize("reader", ["scenario", "orders", "tape", "towns", "settings", "rules", "variants", "train"])
def test_the_same_seed_and_number_make_the_same_input(tmp_path, reader):
    bench = Bench(tmp_path)
    bench.orders = "date,town,product,units\n2026-03-02,Delft,P02,12\n"
    seen = []
    for seed, number in ((1, 5), (1, 5), (1, 6), (2, 5)):
        folder = tmp_path / str(len(seen))
        folder.mkdir()
        with contextlib.chdir(folder):
            case = make(reader, seed, number, bench)
            seen.append((case.about, worker._tree()))
    assert seen[0] == seen[1]
    assert seen[0] != seen[2]
    assert seen[0] != seen[3]


# --- that it sees what it looks for


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("error: net.yaml:3: episode_d: -1 is out of range", "clear"),
        ("error: --copies: 0 is not possible; allowed: at least 1", "clear"),
        ("loading\nerror: unknown policy 'x-y': known names: idle", "clear"),
        ("error: something is wrong", "vague"),
        ("error: net.yaml: " + "x" * 600, "vague"),
        ("error: net.yaml: wrong\nin more than a line", "vague"),
        ("error: net.yaml: wrong\nerror: net.yaml: twice", "vague"),
        ("error: net.yaml: \x1b[31mred", "vague"),
        ("", "vague"),
        ("error: ~: cannot be read", "clear"),
        ("╭─ Parsing error ─╮\n│ --copies │\n╰─╯", "usage"),
    ],
)
def test_what_counts_as_a_clear_refusal(said, kind):
    assert of_refusal(2, said, ["net.yaml", "x-y", "~"], "")[0] == kind


def test_a_refusal_that_leaves_something_behind_is_a_fault():
    assert of_refusal(2, "error: net.yaml: wrong", ["net.yaml"], "out.json left behind")[0] == "unsound"


def _refused():
    raise FabmeshError("net.yaml: wrong")


def _refused_late():
    Path("half.json").write_text("{")
    raise FabmeshError("net.yaml: wrong")


def _broken():
    raise KeyError("x")


def _endless():
    while True:
        time.perf_counter()


@pytest.mark.parametrize(
    ("give", "kind"),
    [
        (_refused, "clear"),
        (_refused_late, "unsound"),
        (_broken, "traceback"),
        (_endless, "hang"),
        (lambda: 1, "accepted"),
        (lambda: print("error: net.yaml: wrong") or 2, "vague"),  # on the wrong stream
    ],
)
def test_what_becomes_of_a_case(tmp_path, monkeypatch, capfd, give, kind):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(worker, "CPU_S", 0.2)
    before = signal.signal(signal.SIGPROF, worker._stop)
    try:
        assert worker._judged(Case(give, "by hand", ["net.yaml"], 1))[0] == kind
    finally:
        signal.signal(signal.SIGPROF, before)


class _Crashing(Worker):
    program = "import faulthandler; faulthandler.enable(); print('ready', flush=True); input(); faulthandler._sigsegv()"


class _Deaf(Worker):
    program = (
        "import faulthandler, sys, time; print('ready', flush=True); input(); "
        "faulthandler.dump_traceback_later(0.1, exit=True, file=open(sys.argv[3], 'a')); time.sleep(60)"
    )


@pytest.mark.parametrize(("kind", "made"), [("crash", _Crashing), ("hang", _Deaf)])
def test_a_process_that_ends_is_a_crash_or_a_hang_and_the_next_one_goes_on(tmp_path, kind, made):
    one = made(tmp_path, "worker")
    try:
        for number in (1, 2):
            outcome = one.play(("scenario", 1, number))
            assert (outcome.kind, outcome.number) == (kind, number)
            assert kind in FAULTS
    finally:
        one.close()


def test_faults_are_grouped_by_cause_and_shown_by_their_smallest_input():
    clear = worker.Outcome("rules", 1, 1, "clear", "")
    faulty = [worker.Outcome("rules", 1, n, "traceback", "", fault="KeyError in a.py:f", size=n) for n in (9, 3, 5)]
    assert [(outcome.number, count) for outcome, count in faults([clear, *faulty])] == [(3, 3)]
    assert "python -m tests.fuzz --reader rules --seed 1 --only 3" in told(faulty[1], 3)


def test_spoiling_leaves_the_original_alone():
    tree = {"a": [1, {"b": 2}], "c": "d"}
    data = bytes(range(200))
    for number in range(200):
        spoiled_tree(Random(number), tree)
        assert spoiled_bytes(Random(number), data, data[::-1]) == spoiled_bytes(Random(number), data, data[::-1])
    assert tree == {"a": [1, {"b": 2}], "c": "d"}
