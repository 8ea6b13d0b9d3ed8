"""The command line of train.py as a user types it, and the settings files it reads."""

from __future__ import annotations

import csv
import math
import os
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

import fabmesh
from fabmesh.agents.commands.train import main
from fabmesh.agents.learning.config import (
    ALGORITHMS,
    SB3_ALGORITHMS,
    SECTIONS,
    ConfigError,
    TrainConfig,
    as_flat,
    bounds,
    defaults_of,
    setting_names,
)
from fabmesh.agents.learning.run.checkpoint import LAST, read_whole
from fabmesh.agents.learning.run.logs import CSV_NAME
from fabmesh.agents.learning.run.settings import as_plain, from_plain, parse, read_settings, shipped_settings, to_yaml
from fabmesh.agents.registry import make_policy
from fabmesh.envs.errors import FabmeshError
from fabmesh.envs.network.loading import load_scenario

ROOT = Path(fabmesh.__file__).parent
TINY = shlex.split(
    "--copies 8 --group 4 --days 10 --credit day --total-steps 160 --hidden 16 --critic-hidden 16 --epochs 1 "
    "--minibatches 2 --imitation-copies 2 --imitation-days 5 --imitation-rounds 1 --imitation-epochs 1 "
    "--critic-iterations 1 --validation-seeds 2 --validation-every 1 --env-threads 1"
)


def train(*arguments, cwd):
    """Run train.py; returns status, standard output and standard error."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "train.py"), *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=os.environ | {"COLUMNS": "200"},
        check=False,
        timeout=300,
    )
    return done.returncode, done.stdout, done.stderr


def test_a_run_its_refusal_to_be_overwritten_and_its_resumption(tmp_path):
    command = ["--scenario", "pocket", "--algo", "mappo", "--seed", "1", "--run-dir", "a", *TINY]
    status, out, err = train(*command, cwd=tmp_path)
    assert status == 0, err
    assert "network cost on validation worlds" in out
    assert {"best.pt", "last.pt", "progress.csv", "config.yaml"} <= {path.name for path in (tmp_path / "a").iterdir()}

    status, out, err = train(*command, cwd=tmp_path)
    assert status == 2
    assert err.strip() == (
        "error: --run-dir a: holds a run already; add --resume to go on with it, or choose another directory"
    )

    status, out, err = train("--resume", "--run-dir", "a", "--total-steps", "240", cwd=tmp_path)
    assert status == 0, err
    assert len((tmp_path / "a" / "progress.csv").read_text().splitlines()) == 1 + 1 + 3
    assert yaml.safe_load((tmp_path / "a" / "config.yaml").read_text())["total_steps"] == 240

    status, out, err = train("--resume", "--run-dir", "a", cwd=tmp_path)  # nothing is left to do
    assert status == 0, err
    assert "network cost on validation worlds at the end" in out

    kept = {path.name: path.read_bytes() for path in (tmp_path / "a").iterdir()}
    (tmp_path / "c.yaml").write_text("ppo: {clip: 0.3}\n")
    for arguments, message in (
        (["--clip", "0.5"], "--clip: the run was started with 0.2, not 0.5"),
        (["--config", "c.yaml"], "--config c.yaml: --resume goes on with the settings of the run, and reads no file"),
        (["--config", "none.yaml"], "none.yaml: no such file"),
        (["--total-steps", "80"], "--total-steps 80: the run has made 240 steps already; give more"),
        (["--max-minutes", "1e-3"], "--max-minutes 0.001: the run has taken"),
    ):
        status, out, err = train("--resume", "--run-dir", "a", *arguments, cwd=tmp_path)
        assert (status, out) == (2, "")
        assert message in err
        assert err.startswith("error: ")
        assert err.count("\n") == 1
    assert {path.name: path.read_bytes() for path in (tmp_path / "a").iterdir()} == kept


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--scenario", "atlantis"], "atlantis"),
        (["--copies", "64", "--group", "5"], "--group: 5 is not possible; allowed: a divisor of copies (64)"),
        (["--smoothing", "1.5"], "--smoothing: 1.5 is not possible; allowed: a share from 0 to 1"),
        (["--teacher", "base_stok"], "base_stok"),
        (["--resume"], "--resume: nothing to go on with in runs/rotterdam_mappo_1 (no last.pt); leave --resume out"),
        (["--config", "none.yaml"], "none.yaml: no such file; give the path of a YAML file"),
        (["--validation-seeds", "65"], "65"),
        (["--days", "10"], "--credit episode: needs --days to be the episode of rotterdam, 180 or 0, not 10"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line_with_nothing_written(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    said = capsys.readouterr()
    errors = [line for line in said.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert message in errors[0]
    assert said.out == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("directory", "message"),
    [
        ("file", "--run-dir file: is a file, give the path of a directory"),
        ("file/a", "--run-dir file/a: cannot write in file (Not a directory)"),
        ("/proc/a", "--run-dir /proc/a: cannot write in /proc"),
        (
            "kept",
            "--run-dir kept: holds best.pt of another run, but no last.pt to go on with; choose another directory",
        ),
    ],
)
def test_a_run_directory_that_cannot_be_is_refused_before_any_work(tmp_path, monkeypatch, capsys, directory, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "best.pt").touch()
    assert main(["--run-dir", directory]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {message}")


def test_a_flag_that_does_not_exist_is_refused_with_what_is_alike(tmp_path):
    status, _, err = train("--learning-rte", "1", cwd=tmp_path)
    assert status == 2
    assert "--learning-rate" in err


def test_help_explains_every_option_with_its_default(tmp_path):
    status, out, _ = train("--help", cwd=tmp_path)
    assert status == 0
    for name in setting_names():
        assert f"--{name.replace('_', '-')}" in out
    assert out.count("(default: ") == len(setting_names())


def written(tmp_path, text):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    return path


def test_flags_win_over_the_file_and_the_file_over_defaults(tmp_path):
    path = written(tmp_path, "total_steps: 5000\nppo:\n  gamma: 0.9\n  clip: 0.1\nnetwork:\n  hidden: [8, 8]\n")
    config = parse(["--config", str(path), "--clip", "0.3"])
    assert (config.total_steps, config.ppo.gamma, config.ppo.clip) == (5000, 0.9, 0.3)
    assert config.network.hidden == (8, 8)
    assert config.ppo.epochs == TrainConfig().ppo.epochs


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ppo:\n  lerning_rate: 1\n", "2: unknown key 'lerning_rate'; did you mean 'learning_rate'?"),
        ("rollouts: {}\n", "1: unknown key 'rollouts'; did you mean 'rollout'?"),
        ("ppo:\n  copies: 8\n", '2: "copies" belongs under "rollout:"'),
        ("copies: 8\n", '1: "copies" belongs under "rollout:"'),
        ("seed: 8\n", '1: "seed" belongs to one run: give it as a flag, --seed'),
        ("ppo:\n  epochs: 2.5\n", "2: epochs: 2.5 is not possible; allowed: a whole number"),
        ("ppo:\n  epochs: true\n", "2: epochs: True is not possible; allowed: a whole number"),
        ("ppo:\n  gamma: high\n", "2: gamma: 'high' is not possible; allowed: a number"),
        ("ppo:\n  ratio: both\n", "2: ratio: 'both' is not possible; allowed: component, joint"),
        ("ppo:\n  epochs: 3\n  gamma: 1.2\n", "3: gamma: 1.2 is not possible; allowed: a share from 0 to 1"),
        ("ppo:\n  gamma: 0.9\n  gamma: 0.8\n", "3: ppo.gamma: the key is given twice, first in line 2; keep one"),
        ("network:\n  hidden: 64\n", "2: hidden: 64 is not possible; allowed: a list, [a, b]"),
        ("ppo: 3\n", "1: ppo must hold `key: value` lines"),
        ("ppo: [\n", "2: is not valid YAML"),
    ],
)
def test_a_wrong_file_is_refused_with_file_line_key_and_remedy(tmp_path, text, message):
    path = written(tmp_path, text)
    with pytest.raises(FabmeshError) as error:
        read_settings(path)
    assert str(error.value).startswith(f"{path}:{message}")
    assert "\n" not in str(error.value)


def test_numbers_yaml_reads_as_text_are_numbers(tmp_path):
    assert read_settings(written(tmp_path, "ppo:\n  learning_rate: 3e-4\n")).ppo.learning_rate == 3e-4


@pytest.mark.parametrize("path", sorted((ROOT / "configs" / "training").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_file_loads(path):
    algo = next(name for name in ALGORITHMS if path.stem.startswith(name))
    scenario = path.stem.removeprefix(algo).removeprefix("_")
    assert shipped_settings(algo, scenario or "a scenario of one's own") == path
    assert parse(["--algo", algo, "--scenario", scenario or "own.yaml"]) == read_settings(
        path, replace(defaults_of(algo), algo=algo, scenario=scenario or "own.yaml")
    )


def test_settings_survive_their_file_and_their_checkpoint(tmp_path):
    config = parse(["--hidden", "8", "16", "--seed", "3", "--max-minutes", "2", "--branch", "--algo", "ippo"])
    stored = read_settings(written(tmp_path, to_yaml(config)))
    assert replace(stored, algo="ippo", seed=3) == config
    assert from_plain(as_plain(config)) == config


def test_checkpoints_of_before_a_setting_are_read_and_unknown_settings_refused():
    plain = as_plain(TrainConfig())
    assert from_plain({name: value for name, value in plain.items() if name != "spread"}) == TrainConfig()
    with pytest.raises(ConfigError, match="has the setting wings: it comes from another version"):
        from_plain(plain | {"wings": 2})


def test_names_of_settings_are_unique_so_that_flags_need_no_prefix():
    defaults = TrainConfig()
    count = sum(len(vars(getattr(defaults, section))) for section in SECTIONS) + len(vars(defaults)) - len(SECTIONS)
    assert len(setting_names()) == len(as_flat(defaults)) == count


@pytest.mark.parametrize("algo", SB3_ALGORITHMS)
@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (
            "--teacher base_stock",
            "--teacher: 'base_stock' is not possible; allowed: none: {} starts from random weights",
        ),
        ("--schedule adaptive", "--schedule: 'adaptive' is not possible; allowed: constant or linear with {}"),
        ("--spread 0.8", "--spread: 0.8 is not possible; allowed: 0.0 with {}, which does without it"),
        ("--stock-charge 0.1", "--stock-charge: 0.1 is not possible; allowed: 0.0 with {}, which does without it"),
    ],
)
def test_what_stable_baselines3_would_leave_out_is_refused(algo, flags, why):
    assert parse(["--algo", algo]).imitation.teacher == "none"
    with pytest.raises(FabmeshError) as error:
        parse(["--algo", algo, *flags.split()])
    assert str(error.value) == why.format(algo)


@pytest.mark.parametrize("algo", SB3_ALGORITHMS)
def test_settings_of_mappo_are_refused_for_stable_baselines3(algo):
    with pytest.raises(FabmeshError, match=r"mappo.yaml:\d+: teacher: 'base_stock' is not possible; allowed: none"):
        parse(["--algo", algo, "--config", str(ROOT / "configs/training/mappo.yaml")])


@pytest.mark.parametrize(
    ("module", "package"), [("stable_baselines3", "stable-baselines3"), ("sb3_contrib", "sb3-contrib")]
)
@pytest.mark.parametrize("arguments", [["train.py", "--algo", "sb3_a2c"], ["evaluate.py", "--policies", "model.zip"]])
def test_without_stable_baselines3_what_needs_it_says_so(tmp_path, arguments, module, package):
    (tmp_path / "model.zip").write_bytes(b"")
    hidden = f"import sys; sys.modules[{module!r}] = None; sys.argv = sys.argv[1:]; "
    script = f"import runpy; runpy.run_path({str(ROOT / arguments[0])!r}, run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-c", hidden + script, *arguments, "--scenario", "pocket"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert done.stderr.splitlines()[-1].endswith(f"needs {package}; install it with pip install 'fabmesh[sb3]'")


def has_trained(run):
    """Whether the progress of a run tells of a step."""
    if not (run / CSV_NAME).exists():
        return False
    with (run / CSV_NAME).open(newline="", encoding="utf-8") as file:
        return any(float(row["steps"] or 0) > 0 for row in csv.DictReader(file))


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_with_a_checkpoint_from_which_training_goes_on(tmp_path, number, status):
    run = tmp_path / "run"
    endless = [*TINY[: TINY.index("--total-steps")], "--total-steps", "100000000", *TINY[TINY.index("--hidden") :]]
    arguments = ["--scenario", "pocket", "--run-dir", str(run)]
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "train.py"), *endless, *arguments], stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 180
    # the first row is the validation before the first step: a machine that is quick to interrupt would stop there
    while not has_trained(run) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(number)
    assert process.wait(timeout=60) == status
    steps = read_whole(run / LAST, resumable=True)["state"]["steps"]
    assert steps > 0
    assert main([*arguments, "--resume", "--total-steps", str(steps + 80)]) == 0
    assert read_whole(run / LAST, resumable=True)["state"]["steps"] >= steps + 80


@pytest.mark.parametrize(
    "flags",
    [
        "--seed 18446744073709551616", "--seed 137438953472", "--algo sb3_ppo --seed 4294967296", "--learning-rate inf",
        "--learning-rate nan", "--imitation-learning-rate inf", "--copies 100000000 --group 100000000",
        "--hidden 100000000000", "--critic-hidden 8 100000", "--hidden 8 8 8 8 8 8 8 8 8", "--item-width 1000000",
        "--total-steps 1000000000000000000000", "--max-minutes inf", "--max-minutes nan", "--days 1000000000",
        "--env-threads 1000000", "--torch-threads 99999999999999999999", "--epochs 1000000000", "--spread inf",
        "--imitation-copies 1000000000", "--imitation-days 1000000000", "--validation-seeds 1000000000",
        "--validation-every 99999999999999999999", "--persistence inf", "--entropy inf", "--target-kl nan",
        "--entropy-of hub.bid nan 0.1", "--team-weight inf", "--max-grad-norm inf",
    ],
)  # fmt: skip
def test_numbers_that_are_too_large_are_refused_before_anything_is_made(tmp_path, monkeypatch, only_error, flags):
    monkeypatch.chdir(tmp_path)
    assert main(["--scenario", "pocket", *flags.split()]) == 2
    said = only_error()
    assert "is not possible; allowed: " in said
    assert said.startswith("error: --")
    assert list(tmp_path.iterdir()) == []


def test_every_number_of_the_settings_has_bounds():
    numbers = {name for name, value in as_flat(TrainConfig()).items() if type(value) in (int, float)}
    assert numbers | {"max_minutes", "team_weight", "hidden", "critic_hidden", "entropy_of"} == set(bounds())
    assert {name for name, allowed in bounds().items() if math.isinf(allowed.high)} == {
        "learning_rate", "residual_learning_rate", "critic_learning_rate", "imitation_learning_rate",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"max_minutes: 2001-02-30\n", "1: max_minutes: YAML reads 2001-02-30 as a date"),
        (
            b"ppo:\n  entropy_of: {hub.bid: [0.1, 0.1], hub.bid: [0.9, 0.9]}\n",
            "2: ppo.entropy_of.hub.bid: the key is",
        ),
        (b"# caf\xe9\ntotal_steps: 1000\n", " is not UTF-8 text (byte 5); save it as UTF-8"),
        ("total_steps: 1000\n".encode("utf-16"), " is not UTF-8 text (byte 0); save it as UTF-8"),
        (b"ppo:\n  epochs: " + b"9" * 5000, "2: ppo.epochs: 9999"),
        (b"ppo:\n  clip: .inf\n", "2: clip: inf is not possible; allowed: above 0, at most 1,000,000"),
        (b"ppo:\n  clip: 1e999\n", "2: clip: inf is not possible"),
        (b"ppo: !!python/object/apply:os.system [ls]\n", "1: ppo: the YAML tag 'tag:yaml.org,2002:python/object"),
        (b"ppo: &a {ppo: *a}\n", "1: ppo.ppo: the alias refers to a value that contains it"),
        (b"ppo: " + b"[" * 3000, " is nested too deeply"),
        (b"ppo:\n\tclip: 1\n", "2: is not valid YAML: found character '\\t' that cannot start any token"),
        (b"ppo: [1", "1: is not valid YAML: expected ',' or ']', but got '<stream end>'"),
        (b"ppo: *secret", "1: is not valid YAML: found undefined alias ..."),
        (b"a\x00b: 1\n", "1: is not valid YAML: has the character 0x0000"),
        (b'ppo: "\\UFFFFFFFF"\n', " is not valid YAML"),
        (b"<<: {ppo: 3}\n", "1: the merge key '<<' is not supported"),
        (b"on: 3\n", "1: YAML reads the key on as true or false"),
        (b"? [a]\n: 3\n", "1: a key must be a word"),
        (b"total_steps: 0x10\n", "1: total_steps: 0x10 is octal, hexadecimal or base 60"),
        (b"total_steps: [1, 2]\n", "1: total_steps: [1, 2] is not possible; allowed: a whole number"),
    ],
)
def test_settings_are_read_as_strictly_as_scenarios(tmp_path, content, message):
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as error:
        read_settings(path)
    assert str(error.value).startswith(f"{path}:{message}")
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < len(str(path)) + 300


def test_a_byte_order_mark_is_no_content(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_bytes("\ufefftotal_steps: 1000\n".encode())
    assert read_settings(path).total_steps == 1000


def test_a_file_that_is_none_of_ours_is_not_quoted(tmp_path):
    path = tmp_path / "mine.yaml"
    for text in (
        "secret token without end",
        "password: hunter2\nuser: me\n",
        "a: *secret\n",
        "%secret\n",
        "- secret\n",
    ):
        path.write_text(text)
        for read in (read_settings, load_scenario, lambda path: make_policy(str(path), load_scenario("pocket"))):
            with pytest.raises(FabmeshError) as error:
                read(path)
            assert "hunter2" not in str(error.value)
            assert "secret" not in str(error.value)
