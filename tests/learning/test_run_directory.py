"""A run keeps what it has and what is not its own: stopped, killed, diverged, damaged, twice at once, out of time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from toy import IdentityBatch, ShownLevels, wrong_shares

from benchmarks import kill_and_resume
from fabmesh.agents.commands import train as cli
from fabmesh.agents.learning.algorithms.sb3 import FAMILY, Sb3Training
from fabmesh.agents.learning.algorithms.training import Training
from fabmesh.agents.learning.config import (
    ConfigError,
    ImitationConfig,
    NetworkConfig,
    PpoConfig,
    RolloutConfig,
    TrainConfig,
    ValidationConfig,
)
from fabmesh.agents.learning.run import checkpoint
from fabmesh.agents.learning.run.directory import LOCK, locked
from fabmesh.agents.learning.run.session import DivergedError, StoppedError, Task, run
from fabmesh.agents.learning.run.settings import to_yaml
from fabmesh.agents.learning.run.validation import SeedValidator
from fabmesh.envs.errors import FabmeshError
from fabmesh.envs.network.loading import load_scenario
from fabmesh.envs.vector import HubNetworkVector

STEPS = 8 * 6  # of an iteration


def settings(iterations=4, **ppo):
    return TrainConfig(
        total_steps=iterations * STEPS,
        rollout=RolloutConfig(copies=8, group=4, days=6),
        ppo=PpoConfig(**{"gamma": 0.9, "epochs": 1} | ppo),
        network=NetworkConfig(hidden=(8,), critic_hidden=(8,)),
        imitation=ImitationConfig(
            imitation_copies=2, imitation_days=5, imitation_rounds=1, imitation_epochs=1, critic_iterations=0
        ),
        validation=ValidationConfig(validation_every=2),
    )


def task():
    shown = ShownLevels(IdentityBatch(1))
    judge = SeedValidator(lambda policy: {"network_cost": 1.0 + wrong_shares(policy, 4)}, [shown])
    return Task("toy", IdentityBatch, shown, judge)


def train(directory, config=None, resume=False, quiet=True, at=None, do=None):
    """A run on the toy; `do` is done within iteration `at`."""
    training = Training(config or settings(), task())
    iterate = training.iterate

    def iterate_and_do():
        metrics = iterate()
        if training.iteration == at:
            do()
        return metrics

    training.iterate = iterate_and_do
    run(training, directory, resume=resume, quiet=quiet)
    return training


def send(number):
    return lambda: os.kill(os.getpid(), number)


def timeless(directory):
    return kill_and_resume.timeless(directory)


# --- whose directory it is -----------------------------------------------------------------------------------------


def test_a_second_training_in_a_directory_is_refused_and_the_first_goes_on(tmp_path):
    refused = []

    def again():
        with pytest.raises(FabmeshError) as error:
            train(tmp_path / "a", resume=True)
        refused.append(str(error.value))

    train(tmp_path / "a", at=1, do=again)
    assert refused == [
        f"--run-dir {tmp_path / 'a'}: another training is at work there (process {os.getpid()}); wait for it, stop "
        "it, or choose another directory"
    ]
    assert len(timeless(tmp_path / "a")) == 5
    assert not (tmp_path / "a" / LOCK).exists()


def test_the_lock_of_a_process_that_was_killed_is_free(tmp_path):
    hold = (
        "import sys, time; from pathlib import Path; from fabmesh.agents.learning.run.directory import locked\n"
        "with locked(Path(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(600)"
    )
    process = subprocess.Popen([sys.executable, "-c", hold, str(tmp_path / "a")], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    with (
        pytest.raises(FabmeshError, match=f"another training is at work there .process {process.pid}."),
        locked(tmp_path / "a"),
    ):
        pass
    process.kill()
    process.wait()
    assert (tmp_path / "a" / LOCK).exists()
    train(tmp_path / "a")
    assert not (tmp_path / "a" / LOCK).exists()


def test_a_directory_in_which_nothing_was_written_is_taken_away_again(tmp_path):
    with locked(tmp_path / "a" / "b"):
        assert (tmp_path / "a" / "b").is_dir()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["config.yaml", "progress.csv", "best.pt"])
def test_a_file_of_the_users_own_is_not_overwritten(tmp_path, name):
    (tmp_path / name).write_text("# mine\ntotal_steps: 5\n")
    with pytest.raises(FabmeshError, match=f"{tmp_path}: holds .*{name}"):
        train(tmp_path)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {name: "# mine\ntotal_steps: 5\n"}


def test_logs_and_notes_in_a_run_directory_are_left_alone(tmp_path):
    own = {"run.log": "x", "events.out.tfevents.mine": "", "notes.txt": "y", "config.yaml.bak": "z"}
    for name, text in own.items():
        (tmp_path / name).write_text(text)
    (tmp_path / ".writing-mine").mkdir()
    (tmp_path / ".writing-mine" / "thesis.tex").write_text("t")
    train(tmp_path, at=2, do=send(signal.SIGINT))
    train(tmp_path, resume=True)
    assert {name: (tmp_path / name).read_text() for name in own} == own
    assert (tmp_path / ".writing-mine" / "thesis.tex").exists()


def test_settings_that_a_user_has_changed_in_a_run_directory_are_kept(tmp_path, capsys):
    train(tmp_path, at=2, do=send(signal.SIGINT))
    assert (tmp_path / "config.yaml").read_text() == to_yaml(settings())
    train(tmp_path, settings(5), resume=True)
    assert (tmp_path / "config.yaml").read_text() == to_yaml(settings(5))
    (tmp_path / "config.yaml").write_text("mine")
    train(tmp_path, settings(6), resume=True, quiet=False)
    assert (tmp_path / "config.yaml").read_text() == "mine"
    assert "config.yaml is not as the run wrote it, and is left as it is" in capsys.readouterr().err


def test_a_run_whose_disk_was_full_before_its_first_checkpoint_starts_again(tmp_path, monkeypatch):
    write = checkpoint.write

    def full(path, content):
        if path.name == checkpoint.LAST:
            raise FabmeshError(f"{path}: cannot be written (No space left on device)")
        write(path, content)

    monkeypatch.setattr(checkpoint, "write", full)
    with pytest.raises(FabmeshError, match="No space left"):
        train(tmp_path / "a")
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["best.pt"]
    monkeypatch.undo()
    with pytest.raises(FabmeshError, match=r"holds best.pt of another run, but no last.pt"):
        train(tmp_path / "a", replace(settings(), seed=2))
    train(tmp_path / "a")
    train(tmp_path / "b")
    assert kill_and_resume.difference(tmp_path / "a", tmp_path / "b") is None


def test_what_a_killed_run_was_writing_is_taken_away(tmp_path):
    train(tmp_path, at=2, do=send(signal.SIGINT))
    (tmp_path / ".writing-abcd1234").mkdir()
    (tmp_path / ".writing-abcd1234" / "last.pt").write_bytes(b"half")
    train(tmp_path, resume=True)
    assert not list(tmp_path.glob(".*"))


# --- what is kept --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_lets_the_iteration_end_and_keeps_it(tmp_path, number):
    before = signal.signal(number, signal.SIG_DFL)  # whoever runs the tests may ignore it, as nohup does
    try:
        training = train(tmp_path / "a", at=3, do=send(number))
    finally:
        signal.signal(number, before)
    assert training.stopped == number
    assert checkpoint.read(tmp_path / "a" / checkpoint.LAST)["state"]["iteration"] == 3
    train(tmp_path / "a", resume=True)
    train(tmp_path / "b")
    assert kill_and_resume.difference(tmp_path / "a", tmp_path / "b") is None


def test_a_signal_while_there_is_nothing_to_keep_ends_at_once_and_leaves_nothing(tmp_path):
    training = Training(settings(), task())
    training._begin = lambda _: os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(StoppedError) as stop:
        run(training, tmp_path / "a", quiet=True)
    assert stop.value.signal == signal.SIGTERM
    assert list(tmp_path.iterdir()) == []


def test_a_hangup_that_is_ignored_stays_so(tmp_path):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as `nohup` does
    try:
        assert train(tmp_path, at=1, do=send(signal.SIGHUP)).stopped is None
    finally:
        signal.signal(signal.SIGHUP, before)


DAMAGES = {
    "a row cut off within its cells": (
        lambda data: data[: data.rindex(b"\n", 0, -2) + 3],
        "all rows are kept",
    ),  # the checkpoint knows its own
    "a false row": (lambda data: data + b"3,28", None),
    "zeros at the end": (lambda data: data + bytes(64), None),
    "saved by a spreadsheet": (lambda data: b"\xef\xbb\xbf" + data.replace(b",", b";"), "all rows are kept"),
    "a row of another program": (lambda data: data.replace(b"\r\n1,", b"\r\nx,"), "rows that cannot be read: 1"),
    "not text": (lambda data: bytes(range(128, 256)) * 4, "rows that cannot be read: 2"),
    "gone": (lambda data: b"", "is not there any more"),
}


@pytest.mark.parametrize("what", DAMAGES)
def test_a_damaged_progress_file_does_not_stop_a_run(tmp_path, capsys, what):
    damage, said = DAMAGES[what]
    train(tmp_path / "a", at=2, do=send(signal.SIGINT))
    path = tmp_path / "a" / "progress.csv"
    path.write_bytes(damage(path.read_bytes()))
    damaged = path.read_bytes()
    capsys.readouterr()
    train(tmp_path / "a", resume=True, quiet=False)
    told = [line for line in capsys.readouterr().err.splitlines() if "progress.csv" in line]
    aside = list((tmp_path / "a").glob("progress.damaged-*.csv"))
    if said is None:
        assert (told, aside) == ([], [])
    else:
        assert len(told) == 1
        assert said in told[0]
        assert [file.read_bytes() for file in aside] == ([damaged] if damaged else [])
    train(tmp_path / "b")
    kept = timeless(tmp_path / "a")
    whole = timeless(tmp_path / "b")
    numbers = [int(row["iteration"]) for row in kept]
    assert numbers[-3:] == [2, 3, 4]  # that of the checkpoint is in it
    assert kept == [row for row in whole if int(row["iteration"]) in numbers]
    assert len(kept) == {"not text": 3, "gone": 3}.get(what, 4 if "cannot" in str(said) else 5)


def test_a_flipped_bit_is_noticed(tmp_path):
    train(tmp_path)
    path = tmp_path / checkpoint.LAST
    data, whole = path.read_bytes(), dict(kill_and_resume.leaves(checkpoint.read(path)))
    rng = np.random.default_rng(1)
    noticed = []
    for place in rng.integers(len(data), size=120):
        flipped = bytearray(data)
        flipped[place] ^= 1 << rng.integers(8)
        path.write_bytes(flipped)
        try:
            read = dict(kill_and_resume.leaves(checkpoint.read(path)))
        except FabmeshError as error:
            noticed.append(str(error))
            continue
        assert repr(read) == repr(whole)  # it was in a name or a gap of the archive that says nothing
    assert len(noticed) > 60
    assert not any("\n" in said for said in noticed)


def test_a_checkpoint_that_was_changed_is_refused_and_an_old_one_without_checksum_read(tmp_path):
    train(tmp_path, at=2, do=send(signal.SIGINT))
    path = tmp_path / checkpoint.LAST
    content = torch.load(path, weights_only=True)
    content["state"]["steps"] += 1
    torch.save(content, path)
    with pytest.raises(FabmeshError, match="its checksum is not that of its content"):
        checkpoint.read(path)
    content["state"]["steps"] -= 1
    del content["checksum"]
    torch.save(content, path)
    with pytest.raises(FabmeshError, match="its checksum is not that of its content"):
        checkpoint.read(path)
    torch.save(content | {"format": 1}, path)
    train(tmp_path, resume=True)
    train(tmp_path / "b")
    assert timeless(tmp_path) == timeless(tmp_path / "b")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda state: state.update(steps=-1), "steps is -1, which is no count"),
        (lambda state: state.update(iteration=2.5), "iteration is 2.5, which is no count"),
        (lambda state: state.update(seconds=float("nan")), "seconds is nan"),
        (lambda state: state["inner"]["generator"].fill_(255), "mt19937"),
        (lambda state: moments(state)["exp_avg"].resize_(1), "exp_avg of an optimiser"),
        (lambda state: moments(state)["exp_avg"].fill_(float("nan")), "exp_avg holds numbers that are not finite"),
        (lambda state: group(state).update(lr="fast"), "the step size 'fast' is none"),
        (lambda state: shrink(state, "begins"), "the saved state does not fit this batch: begins"),
        (lambda state: shrink(state, "own.hub"), "the saved state does not fit this batch: own.hub"),
        (lambda state: state["inner"]["collector"]["begins"]["bytes"].fill_(7), "begins holds 7; possible are 0 to 1"),
    ],
)
def test_a_state_that_cannot_be_is_refused_in_one_line(tmp_path, change, why):
    train(tmp_path, at=2, do=send(signal.SIGINT))
    path = tmp_path / checkpoint.LAST
    content = checkpoint.read(path)
    change(content["state"])
    checkpoint.write(path, content)
    with pytest.raises(FabmeshError) as error:
        train(tmp_path, resume=True)
    assert why in str(error.value)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


def group(state):
    return state["inner"]["learner"]["policy_optimisers"]["hub"]["param_groups"][0]


def moments(state):
    return state["inner"]["learner"]["policy_optimisers"]["hub"]["state"][0]


def shrink(state, name):
    arrays = checkpoint.unpack(state["inner"]["collector"])
    state["inner"]["collector"] = checkpoint.pack(arrays | {name: arrays[name][:1]})


# --- numbers that are none -----------------------------------------------------------------------------------------


def test_a_training_that_diverges_is_stopped_and_the_last_good_checkpoint_kept(tmp_path):
    train(tmp_path, at=2, do=send(signal.SIGINT))
    before = {name: (tmp_path / name).read_bytes() for name in (checkpoint.LAST, checkpoint.BEST)}
    training = Training(settings(), task())
    training.learner.config = replace(training.learner.config, learning_rate=1e30)
    with pytest.raises(DivergedError, match=r"^in iteration 3 the numbers of the training stopped being finite \("):
        run(training, tmp_path, resume=True, quiet=True)
    assert {name: (tmp_path / name).read_bytes() for name in before} == before
    train(tmp_path, resume=True)
    assert checkpoint.read_whole(tmp_path / checkpoint.LAST, resumable=True)["state"]["iteration"] == 4


def test_imitation_that_diverges_leaves_nothing(tmp_path):
    config = settings()
    config = replace(config, imitation=replace(config.imitation, imitation_learning_rate=1e30, imitation_epochs=20))
    with pytest.raises(DivergedError, match="before the first iteration"):
        train(tmp_path / "a", config)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("algo", FAMILY)
def test_stable_baselines3_diverges_in_one_line_too(tmp_path, algo):
    config = replace(settings(learning_rate=1e30, target_kl=0.0), algo=algo, imitation=ImitationConfig(teacher="none"))
    config = replace(config, rollout=RolloutConfig(copies=8, group=1, days=6))
    with pytest.raises(DivergedError, match="stopped being finite"):
        run(Sb3Training(config, task()), tmp_path, quiet=True)
    assert checkpoint.read_whole(tmp_path / checkpoint.LAST, resumable=True)["state"]["iteration"] == 0


# --- steps and minutes ---------------------------------------------------------------------------------------------


def test_schedules_count_steps_and_minutes_only_stop():
    weights = []
    for minutes in (None, 1.0, 1000.0):
        training = Training(replace(settings(), max_minutes=minutes), task())
        training.start()
        while training.progress < 1.0:
            training.seconds = 59.0 * training.iteration  # the clock runs
            training.iterate()
        weights.append(training.weights()["hub"])
        assert training.spent == 1.0
    assert all(torch.equal(value, other[name]) for other in weights[1:] for name, value in weights[0].items())


def test_two_runs_of_a_seed_have_the_same_checkpoint_bit_for_bit(tmp_path):
    for place in "ab":
        train(tmp_path / place, at=3, do=send(signal.SIGINT))
    assert kill_and_resume.difference(tmp_path / "a", tmp_path / "b") is None


def test_imitation_obeys_the_minutes_and_what_was_not_learned_is_said(tmp_path, capsys):
    config = settings()
    imitation = replace(config.imitation, imitation_epochs=10_000, imitation_rounds=9)
    training = Training(replace(config, imitation=imitation, max_minutes=0.05), task())
    run(training, tmp_path)
    said = capsys.readouterr().err
    assert "no time is left, after" in said
    assert "of 0.05 minutes)" in said
    assert "nothing has been learned: the 0.05 minutes went into imitation and validation" in said
    assert training.iteration == 0
    assert training.seconds < 10.0
    assert checkpoint.read_whole(tmp_path / checkpoint.LAST, resumable=True)["state"]["iteration"] == 0


def test_minutes_alone_are_steps_in_proportion_to_the_settings():
    config = replace(settings(10), max_minutes=5.0)
    assert cli.with_budget(config, 1.0, None).total_steps == 2 * STEPS
    assert cli.with_budget(config, 1.0, 7).total_steps == 7
    assert cli.with_budget(replace(config, max_minutes=None), 1.0, None).total_steps == 10 * STEPS
    assert cli.with_budget(config, None, 7).max_minutes is None
    with pytest.raises(ConfigError, match="max_minutes: 0 is not possible"):
        cli.with_budget(config, 0, None)


# --- on the worlds -------------------------------------------------------------------------------------------------


def on_pocket(days, branch=False):
    scenario = load_scenario("pocket")
    config = replace(settings(3), rollout=RolloutConfig(copies=8, group=4, days=days, persistence=3.0, branch=branch))
    config = replace(config, total_steps=3 * config.steps_per_iteration, imitation=ImitationConfig(teacher="none"))
    return Training(config, Task("pocket", lambda copies: HubNetworkVector(scenario, num_envs=copies)))


@pytest.mark.parametrize(("days", "branch"), [(60, False), (25, False), (25, True)])
def test_a_run_on_pocket_goes_on_to_the_same_bits(tmp_path, days, branch):
    whole, first, second = (on_pocket(days, branch) for _ in range(3))
    for training in (whole, first):
        training.start()
        training.iterate()
    path = tmp_path / checkpoint.LAST
    checkpoint.write(path, {**first.content(), "state": first.state()})
    second.restore(checkpoint.read_whole(path, resumable=True), path)
    worlds = checkpoint.unpack(checkpoint.read(path)["state"]["inner"]["collector"])
    assert list(worlds) == ["seeds"] if days == 60 else "world.state.hub" in worlds
    for training in (whole, second):
        training.iterate()
        training.iterate()
        checkpoint.write(
            path.with_name(f"{id(training)}.pt"), {"state": training.inner_state(), "w": training.weights()}
        )
    one, other = (dict(kill_and_resume.leaves(checkpoint.read(file))) for file in tmp_path.glob("*[0-9].pt"))
    assert list(one) == list(other)
    assert all(torch.equal(v, other[k]) if isinstance(v, torch.Tensor) else v == other[k] for k, v in one.items())


def test_a_world_that_cannot_be_is_refused_in_one_line(tmp_path):
    training = on_pocket(25)
    training.start()
    training.iterate()
    path = tmp_path / checkpoint.LAST
    content = {**training.content(), "state": training.state()}
    arrays = checkpoint.unpack(content["state"]["inner"]["collector"])
    arrays["world.state.clock"]["lots"][...] = 10_000_000
    content["state"]["inner"]["collector"] = checkpoint.pack(arrays)
    checkpoint.write(path, content)
    with pytest.raises(FabmeshError, match=r"damaged \(clock.lots holds 10000000; possible are 0 to \d+\)"):
        on_pocket(25).restore(checkpoint.read_whole(path, resumable=True), path)


@pytest.mark.slow
def test_trainings_that_are_killed_go_on_to_the_same_bits(capsys):
    assert kill_and_resume.main(["--kills", "3"]) == 0
    assert "went on to the same bits" in capsys.readouterr().out
