"""Training as a whole, on the toy of `toy`: it learns, repeats, resumes, keeps and refuses."""

from __future__ import annotations

import csv
import os
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
from toy import IdentityBatch, ShownLevels, wrong_shares

from fabmesh.agents.learning.algorithms import ppo, rollout
from fabmesh.agents.learning.algorithms.training import Training, group_seeds
from fabmesh.agents.learning.config import (
    ImitationConfig,
    MachineConfig,
    NetworkConfig,
    PpoConfig,
    RolloutConfig,
    TrainConfig,
    ValidationConfig,
)
from fabmesh.agents.learning.policy.trained_policy import LearnedPolicy
from fabmesh.agents.learning.run import checkpoint
from fabmesh.agents.learning.run.session import Task, run
from fabmesh.agents.learning.run.validation import SeedValidator
from fabmesh.envs.errors import FabmeshError


def judge(policy):
    """1 + share of wrong levels per copy over one episode, as if it were a cost."""
    return {"network_cost": 1.0 + wrong_shares(policy, 8)}


def task(teacher=False, validated=False):
    shown = ShownLevels(IdentityBatch(1))
    return Task("toy", IdentityBatch, shown if teacher else None, SeedValidator(judge, [shown]) if validated else None)


def settings(algo="mappo", steps=8_000, **ppo):
    return TrainConfig(
        algo=algo,
        total_steps=steps,
        rollout=RolloutConfig(copies=16, group=4, days=16),
        ppo=PpoConfig(**{"learning_rate": 3e-3, "epochs": 4, "gamma": 0.9} | ppo),
        network=NetworkConfig(hidden=(32, 32), critic_hidden=(32, 32)),
        imitation=ImitationConfig(imitation_copies=4, imitation_days=20, imitation_epochs=2, critic_iterations=1),
        validation=ValidationConfig(validation_every=2),
    )


def learned_reward(config, **kind):
    training = Training(config, task(**kind))
    training.start()
    metrics = {}
    while training.progress < 1.0:
        metrics = training.iterate()
    return metrics["episode/reward_per_day"]


@pytest.mark.parametrize("algo", ["mappo", "ippo"])
def test_the_toy_is_solved(algo):
    assert learned_reward(settings(algo)) > 0.95  # random choice: about 0.4


def test_the_joint_ratio_learns_too():
    assert learned_reward(settings(ratio="joint", steps=4_000)) > 0.7


def test_imitation_starts_near_the_teacher():
    shown = ImitationConfig(
        imitation_copies=16, imitation_days=30, imitation_epochs=40, imitation_learning_rate=1e-2, critic_iterations=1
    )
    config = replace(settings(), imitation=shown)
    training = Training(config, task(teacher=True))
    training.start()
    assert judge(training.policy(sample=False))["network_cost"].mean() < 1.15
    weights = {name: value.clone() for name, value in training.weights()["hub"].items()}
    training.iterate()  # the critic's warm-up leaves the policies alone
    assert all(torch.equal(value, training.weights()["hub"][name]) for name, value in weights.items())
    training.iterate()
    assert not all(torch.equal(value, training.weights()["hub"][name]) for name, value in weights.items())


def test_threads_that_draw_actions_and_work_out_gradients_change_nothing(monkeypatch):
    monkeypatch.setattr(rollout, "COPIES_TOGETHER", 6)  # three parts, of which the last is smaller
    monkeypatch.setattr(ppo, "ROWS", 40)
    weights = []
    for threads in (1, 3):
        config = replace(settings(), machine=MachineConfig(env_threads=threads))
        training = Training(config, task())
        training.start()
        training.iterate()
        weights.append(training.weights())
        training.close()
    for role, alone in weights[0].items():
        assert all(torch.equal(value, weights[1][role][name]) for name, value in alone.items())


def test_copies_of_a_group_share_a_world_and_groups_do_not():
    seeds = group_seeds(settings())
    assert len(seeds) == 16
    assert len(set(seeds)) == 4
    assert all(len(set(seeds[start : start + 4])) == 1 for start in range(0, 16, 4))


def test_branching_puts_a_group_into_one_state():
    config = settings()
    config = TrainConfig(rollout=RolloutConfig(copies=4, group=2, days=3, branch=True), network=config.network)
    training = Training(config, task())
    training.start()
    training.batch._day[:] = [3, 4, 5, 6]  # as if the copies had drifted apart
    training.collector.collect()
    day = training.batch.save_state()["day"] - 3
    assert day[0] == day[1] in (3, 4)
    assert day[2] == day[3] in (5, 6)
    first = training.collector.roles["hub"].obs[1]
    assert torch.equal(first[0], first[1])


def flat(weights):
    return torch.cat([value.double().flatten() for role in weights.values() for value in role.values()])


@pytest.mark.parametrize("algo", ["mappo", "ippo"])
def test_one_seed_gives_one_result(algo):
    results = []
    for seed in (1, 1, 2):
        training = Training(replace(settings(algo, steps=1_000), seed=seed), task(teacher=True))
        training.start()
        while training.progress < 1.0:
            training.iterate()
        results.append(flat(training.weights()))
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path):
    config = settings(steps=6 * 256, schedule="adaptive", target_kl=0.02)
    whole = Training(config, task(teacher=True, validated=True))
    run(whole, tmp_path / "whole", quiet=True)

    part = Training(config, task(teacher=True, validated=True))
    stop_after(part, 3)
    run(part, tmp_path / "part", quiet=True)
    assert part.steps == 3 * 256
    resumed = Training(config, task(teacher=True, validated=True))
    run(resumed, tmp_path / "part", resume=True, quiet=True)

    assert resumed.steps == whole.steps == 6 * 256
    assert torch.equal(flat(resumed.weights()), flat(whole.weights()))
    assert resumed.best == whole.best
    assert timeless(tmp_path / "part") == timeless(tmp_path / "whole")


def test_rows_beyond_the_checkpoint_are_made_again_not_doubled(tmp_path):
    config = settings(steps=4 * 256)
    first = Training(config, task(validated=True))
    run(first, tmp_path, quiet=True)
    kept = timeless(tmp_path)
    with (tmp_path / "progress.csv").open("a") as file:
        file.write("99,99999\n")  # as if the machine had died after iterations that no checkpoint holds
    run(Training(config, task(validated=True)), tmp_path, resume=True, quiet=True)
    assert timeless(tmp_path) == kept


def stop_after(training, iterations):
    """Ctrl-C during an iteration."""
    iterate = training.iterate

    def interrupted():
        metrics = iterate()
        if training.iteration == iterations:
            os.kill(os.getpid(), signal.SIGINT)
        return metrics

    training.iterate = interrupted


def timeless(directory):
    """progress.csv without the columns that hold times."""
    with (directory / "progress.csv").open() as file:
        return [{k: v for k, v in row.items() if not k.startswith("speed/")} for row in csv.DictReader(file)]


def test_the_run_directory_holds_what_it_should(tmp_path):
    run(Training(settings(steps=4 * 256), task(validated=True)), tmp_path, quiet=True)
    names = {path.name for path in tmp_path.iterdir()}
    assert {"best.pt", "last.pt", "progress.csv", "config.yaml"} <= names
    assert any(name.startswith("events.out.tfevents") for name in names)
    assert not any(name.startswith(".") for name in names), "a temporary file was left behind"
    rows = timeless(tmp_path)
    assert [int(row["steps"]) for row in rows] == [0, 256, 512, 768, 1024]
    assert rows[0]["validation/network_cost_mode"]
    assert rows[0]["validation/network_cost_shown"] == "1.0"
    assert not rows[1]["validation/network_cost_mode"]
    best = min(float(row["validation/network_cost_mode"]) for row in rows if row["validation/network_cost_mode"])
    content = checkpoint.read(tmp_path)
    assert content["validation"]["validation/network_cost_mode"] == pytest.approx(best)
    policy = checkpoint.policy_from(content, IdentityBatch(1).spec, "again", sample=False)
    assert judge(policy)["network_cost"].mean() == pytest.approx(best)


def test_a_write_that_fails_leaves_the_old_checkpoint(tmp_path):
    path = tmp_path / "last.pt"
    checkpoint.write(path, {"value": 1})
    with pytest.raises((AttributeError, TypeError)):
        checkpoint.write(path, {"value": lambda: None})
    assert checkpoint.read(path)["value"] == 1
    assert [item.name for item in tmp_path.iterdir()] == ["last.pt"]


def test_arrays_of_any_kind_survive_a_checkpoint(tmp_path):
    arrays = {
        "seeds": np.array([2**63 + 5], np.uint64),
        "flags": np.array([[True], [False]]),
        "empty": np.zeros((0, 3), np.float32),
        "records": np.array([(1, 2.5)], dtype=np.dtype([("day", "<i4"), ("cost", "<f8", (1,))], align=True)),
    }
    checkpoint.write(tmp_path / "a.pt", {"arrays": checkpoint.pack(arrays)})
    again = checkpoint.unpack(checkpoint.read(tmp_path / "a.pt")["arrays"])
    for name, array in arrays.items():
        assert again[name].dtype == array.dtype
        assert np.array_equal(again[name], array)


class WiderBatch(IdentityBatch):
    """The toy with another number of levels: another scenario's shape."""

    def __init__(self, num_envs):
        super().__init__(num_envs)
        self.spec["hub"] = type(self.spec["hub"])(("hub_0", "hub_1"), np.array([3, 6]))


def test_a_checkpoint_of_another_shape_is_refused_in_one_line(tmp_path):
    training = Training(settings(), task())
    path = tmp_path / "best.pt"
    checkpoint.write(path, training.content())
    with pytest.raises(
        FabmeshError, match=r"trained on scenario 'toy'.*'wider'.*hub features 'wanted' has size 7"
    ) as error:
        checkpoint.require_fit(checkpoint.read(path), path, "wider", WiderBatch(1).spec)
    assert "\n" not in str(error.value)
    checkpoint.require_fit(checkpoint.read(path), path, "toy", IdentityBatch(1).spec)


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path):
    (tmp_path / "x.pt").write_text("no")
    with pytest.raises(FabmeshError, match="is not a fabmesh checkpoint, or is damaged"):
        checkpoint.read(tmp_path / "x.pt")
    with pytest.raises(FabmeshError, match="train there first"):
        checkpoint.read(tmp_path)


def test_a_checkpoint_cannot_execute_anything(tmp_path):
    class Trap:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "sprung"),))

    torch.save({"format": checkpoint.FORMAT, "weights": Trap()}, tmp_path / "x.pt")
    with pytest.raises(FabmeshError, match="is not a fabmesh checkpoint, or is damaged"):
        checkpoint.read(tmp_path / "x.pt")
    assert not (tmp_path / "sprung").exists()


def broken(content, what):
    """A checkpoint's content with one thing wrong."""
    weights = {name: value.clone() for name, value in content["weights"]["hub"].items()}
    first = next(iter(weights))
    if what == "infinite":
        weights[first].flatten()[0] = float("nan")
    elif what == "shape":
        weights[first] = weights[first][..., :1]
    elif what == "number":
        weights[first] = 3
    else:
        return {name: value for name, value in content.items() if name != what} | {
            "kind!": {"kind": "dqn"}, "signature!": {"signature": {"hub": {}, "depot": {}}}, "state!": {"state": {}},
        }.get(what, {})  # fmt: skip
    return content | {"weights": content["weights"] | {"hub": weights}}


@pytest.mark.parametrize(
    ("what", "why"),
    [
        *((name, f"{name} is missing") for name in ("signature", "config", "weights", "kind", "state")),
        ("kind!", "unknown kind 'dqn', known are mappo, ippo, sb3_ppo, sb3_a2c, sb3_maskable_ppo"),
        ("signature!", "its signature: 'features'"),
        ("state!", "'inner'"),
        ("infinite", "weights.hub.first.weight holds numbers that are not finite"),
        ("shape", "size mismatch for first.weight"),
        ("number", "weights.hub.first.weight is not a tensor"),
    ],
)
def test_a_damaged_checkpoint_is_refused_in_one_line_with_the_remedy(tmp_path, what, why):
    training = Training(settings(), task())
    training.start()
    path = tmp_path / "last.pt"
    checkpoint.write(path, broken({**training.content(), "state": training.state()}, what))
    with pytest.raises(FabmeshError) as error:
        Training(settings(), task()).restore(checkpoint.read_whole(path, resumable=True), path)
    said = str(error.value)
    assert said.startswith(f"{path}: is not a fabmesh checkpoint, or is damaged (")
    assert why in said
    assert said.endswith("): train again or give another file")
    assert "\n" not in said


@pytest.mark.parametrize("data", [b"", b"hello", b"PK\x03\x04 cut", bytes(range(256)) * 4, b"\x80\x02}q\x00."])
def test_garbage_is_refused_without_advice_to_execute_it(tmp_path, data):
    (tmp_path / "x.pt").write_bytes(data)
    with pytest.raises(FabmeshError, match="is not a fabmesh checkpoint, or is damaged") as error:
        checkpoint.read_whole(tmp_path / "x.pt")
    assert "weights_only" not in str(error.value)
    assert "\n" not in str(error.value)


def test_checkpoints_have_the_mode_of_other_files(tmp_path):
    before = os.umask(0o027)
    try:
        checkpoint.write(tmp_path / "last.pt", {"value": 1})
    finally:
        os.umask(before)
    assert (tmp_path / "last.pt").stat().st_mode & 0o777 == 0o640


def test_a_run_that_is_over_or_stopped_again_still_knows_its_last_validation(tmp_path):
    config = settings(steps=4 * 256)
    part = Training(config, task(validated=True))
    stop_after(part, 3)
    run(part, tmp_path, quiet=True)
    assert (part.stopped, part.found_at, part.steps) == (signal.SIGINT, 2 * 256, 3 * 256)
    again = Training(replace(config, total_steps=6 * 256), task(validated=True))
    iterate = again.iterate

    def interrupted():
        os.kill(os.getpid(), signal.SIGINT)
        return iterate()

    again.iterate, again.judge = interrupted, dict
    again.config = replace(again.config, validation=ValidationConfig(validation_every=100))
    assert run(again, tmp_path, resume=True, quiet=True) == part.found
    assert (again.stopped, again.found_at) == (signal.SIGINT, 2 * 256)
    whole = Training(config, task(validated=True))
    kept = run(whole, tmp_path, resume=True, quiet=True)
    over = Training(config, task(validated=True))
    assert run(over, tmp_path, resume=True, quiet=True) == kept
    assert not over.stopped


def test_a_run_stopped_while_it_imitates_leaves_nothing_for_the_next_to_mix_with(tmp_path):
    first = Training(settings(steps=256), task(teacher=True, validated=True))

    def stopped(_):
        raise KeyboardInterrupt

    first._begin = stopped
    own = {"notes.txt", "events.out.tfevents.1.own"}
    for name in own:
        (tmp_path / name).write_text("mine")
    with pytest.raises(KeyboardInterrupt):
        run(first, tmp_path, quiet=True)
    assert {path.name for path in tmp_path.iterdir()} == own
    run(Training(settings(steps=256), task(teacher=True, validated=True)), tmp_path, quiet=True)
    assert {(tmp_path / name).read_text() for name in own} == {"mine"}


def test_sampled_actions_follow_the_seed_of_reset():
    training = Training(settings(), task())
    batch = IdentityBatch(6)
    obs, info = batch.reset(seed=0)
    policy = training.policy(sample=True)
    assert isinstance(policy, LearnedPolicy)
    drawn = []
    for seed in (1, 1, 2):
        policy.reset(6, seed)
        drawn.append(policy.act(obs, info["action_mask"])["hub"])
    assert np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])
