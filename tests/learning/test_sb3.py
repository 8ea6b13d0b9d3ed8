"""Stable-Baselines3 and Gymnasium over the same worlds: the adapters' shapes, ends, masks, and that SB3 learns."""

from __future__ import annotations

import zipfile
from dataclasses import replace

import numpy as np
import pytest
import torch

pytest.importorskip("stable_baselines3")
pytest.importorskip("sb3_contrib")

from gymnasium.utils.env_checker import check_env as check_gymnasium
from sb3_contrib import MaskablePPO, RecurrentPPO
from stable_baselines3 import PPO
from stable_baselines3.common.env_checker import check_env as check_sb3
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import VecMonitor
from toy import IdentityBatch

from fabmesh.agents.evaluation.judge.protocol import evaluate
from fabmesh.agents.learning.algorithms.sb3 import FAMILY, Sb3Policy, Sb3Training, load_zip
from fabmesh.agents.learning.config import (
    SB3_ALGORITHMS,
    ImitationConfig,
    NetworkConfig,
    PpoConfig,
    RolloutConfig,
    TrainConfig,
)
from fabmesh.agents.learning.run import checkpoint
from fabmesh.agents.learning.run.session import Task, run
from fabmesh.agents.learning.run.settings import from_plain, parse
from fabmesh.envs.adapters.sb3 import HubNetworkVecEnv, Padding
from fabmesh.envs.adapters.single import CentralControlEnv
from fabmesh.envs.errors import FabmeshError
from fabmesh.envs.network.loading import load_scenario
from fabmesh.envs.vector import HubNetworkVector


def test_padding_by_hand():
    padding = Padding(IdentityBatch(1).spec)  # hub: 2 agents, levels 3 4; depot: 1 agent, levels 5 2 3
    assert padding.nvec.tolist() == [5, 4, 3]
    assert padding.observation_space.shape == (10 + 2,)
    obs = padding.observations({"hub": np.ones((1, 2, 7), np.float32), "depot": np.full((1, 1, 10), 2, np.float32)})
    assert obs[0].tolist() == [1] * 7 + [0] * 3 + [1, 0]
    assert obs[2].tolist() == [2] * 10 + [0, 1]
    masks = padding.masks(
        {
            "hub": np.array([[[1, 0, 1, 1, 1, 0, 1]] * 2], np.int8),
            "depot": np.array([[[0, 0, 0, 0, 1, 1, 1, 1, 0, 0]]], np.int8),
        }
    )
    assert masks[0].astype(int).tolist() == [1, 0, 1, 0, 0, 1, 1, 0, 1, 1, 0, 0]
    assert masks[2].astype(int).tolist() == [0, 0, 0, 0, 1, 1, 1, 0, 0, 1, 0, 0]
    chosen = padding.actions(np.array([[2, 3, 1], [4, 1, 2], [4, 3, 2]]))
    assert chosen["hub"].tolist() == [[[2, 3], [0, 1]]]  # a hub has no level 4 there: level 0
    assert chosen["depot"].tolist() == [[[4, 0, 2]]]


def test_a_component_a_role_lacks_has_level_zero_only():
    padding = Padding(IdentityBatch(1).spec)
    _, info = IdentityBatch(1).reset(seed=0)
    hub = padding.masks(info["action_mask"])[0]
    assert hub[-3:].tolist() == [True, False, False]


@pytest.fixture(scope="module", params=["toy", "pocket"])
def env(request):
    made = HubNetworkVecEnv(IdentityBatch(3) if request.param == "toy" else HubNetworkVector("pocket", num_envs=3))
    yield made
    made.close()


def test_every_agent_of_every_copy_is_an_environment(env):
    agents = sum(len(role.agents) for role in env.batch.spec.values())
    assert env.num_envs == 3 * agents
    env.seed(5)
    obs = env.reset()
    assert obs.shape == (env.num_envs, *env.observation_space.shape)
    assert obs.dtype == np.float32
    again, _ = env.batch.reset(seed=5)
    assert np.array_equal(env.padding.observations(again), obs)


def test_an_episode_ends_by_truncation_with_its_final_observation(env):
    env.seed(5)
    env.reset()
    days = env.batch.episode_d if hasattr(env.batch, "episode_d") else env.batch.scenario.episode_d
    actions = np.zeros((env.num_envs, *env.action_space.shape), np.int64)
    for day in range(days):
        obs, reward, done, infos = env.step(actions)
        assert reward.shape == done.shape == (env.num_envs,)
        assert done.all() == (day == days - 1) == done.any()
    for row in range(env.num_envs):
        assert infos[row]["TimeLimit.truncated"] is True
        assert env.observation_space.contains(infos[row]["terminal_observation"])
        assert not np.array_equal(infos[row]["terminal_observation"], obs[row])


def test_masks_as_maskable_ppo_asks_for_them(env):
    env.reset()
    assert env.has_attr("action_masks")
    assert not env.has_attr("no_such_thing")
    rows = np.stack(env.env_method("action_masks"))
    assert rows.shape == (env.num_envs, env.action_space.nvec.sum())
    edges = np.cumsum(env.action_space.nvec)[:-1]
    assert all(part.any(axis=1).all() for part in np.split(rows, edges, axis=1)), "never all of a component"
    assert np.array_equal(env.env_method("action_masks", indices=[1])[0], rows[1])
    with pytest.raises(AttributeError, match="one method"):
        env.env_method("render")


def test_sb3_wraps_and_trains_it(env):
    model = PPO("MlpPolicy", VecMonitor(env), n_steps=4, batch_size=6, n_epochs=1, device="cpu", seed=0)
    model.set_logger(Logger(None, []))  # SB3's own would leave a directory behind
    model.learn(env.num_envs * 4)
    assert model.num_timesteps == env.num_envs * 4


def test_maskable_ppo_obeys_the_masks(env):
    model = MaskablePPO("MlpPolicy", env, n_steps=4, batch_size=6, n_epochs=1, device="cpu", seed=0)
    model.set_logger(Logger(None, []))
    model.learn(env.num_envs * 4)
    env.seed(1)
    obs, masks = env.reset(), env.action_masks()
    actions, _ = model.predict(obs, action_masks=masks)
    starts = np.cumsum(env.action_space.nvec) - env.action_space.nvec
    assert np.take_along_axis(masks, actions + starts, axis=1).all()


def test_the_central_view_passes_the_checkers():
    made = CentralControlEnv("pocket")
    check_gymnasium(made, skip_render_check=True)
    check_sb3(made)
    _, info = made.reset(seed=3)
    assert info["action_mask"].shape == (made.action_space.nvec.sum(),)
    assert np.array_equal(made.action_masks(), info["action_mask"] != 0)
    made.close()


def test_the_central_view_plays_one_world_after_another_and_shows_its_end():
    made, batch = CentralControlEnv("pocket"), HubNetworkVector("pocket", autoreset=False)
    made.reset(seed=3)
    batch.reset(seed=3)
    action = np.zeros(made.action_space.shape, np.int64)
    with pytest.raises(ValueError, match="must be integers"):
        made.step(action + 0.5)
    parts = {name: np.zeros((1, len(role.agents), len(role.nvec)), np.int64) for name, role in batch.spec.items()}
    ended = False
    while not ended:
        shown, _, _, ended, info = made.step(action)
        obs, _, _, _, books = batch.step(parts)
        assert info["cost"] == books["cost"][0]
        assert ("settlement" in info) == ended
    assert info["settlement"] == books["settlement"][0]
    assert np.array_equal(shown, np.concatenate([obs[name].reshape(-1) for name in batch.spec]))
    made.reset()
    batch.reset()
    assert np.array_equal(made.batch.seeds, batch.seeds)
    made.close()


ALGORITHMS = [*FAMILY]
ROLLOUT_D = {"sb3_a2c": 4}  # it takes one step on each: many short ones


def settings(algo, iterations, **ppo):
    days = ROLLOUT_D.get(algo, 16)
    return TrainConfig(
        algo=algo,
        total_steps=iterations * 16 * days,
        rollout=RolloutConfig(copies=16, group=1, days=days),
        ppo=PpoConfig(learning_rate=3e-3, epochs=4, gamma=0.9, target_kl=0.0, entropy=0.0, **ppo),
        network=NetworkConfig(hidden=(32, 32), critic_hidden=(32, 32)),
        imitation=ImitationConfig(teacher="none"),
    )


def trained_on_toy(algo, iterations=1, **ppo):
    """A training that has run to its end, and the reward of its last rollout."""
    training = Sb3Training(settings(algo, iterations, **ppo), Task("toy", IdentityBatch))
    training.start()
    reward = 0.0
    while training.progress < 1.0:
        reward = training.iterate()["episode/reward_per_day"]
    return training, reward


def broken(levels, masks, spec):
    """How many of the chosen levels are masked."""
    count = 0
    for role, chosen in levels.items():
        starts = np.cumsum(spec[role].nvec) - spec[role].nvec
        count += int((np.take_along_axis(masks[role], chosen + starts, axis=-1) == 0).sum())
    return count


def test_every_algorithm_of_the_command_line_is_in_the_family():
    assert set(FAMILY) == set(SB3_ALGORITHMS)


@pytest.mark.parametrize(("algo", "iterations"), [("sb3_ppo", 30), ("sb3_a2c", 360), ("sb3_maskable_ppo", 24)])
def test_sb3_solves_the_toy_through_the_adapter(algo, iterations):
    _, reward = trained_on_toy(algo, iterations)
    assert reward > 0.9  # random choice: about 0.3 with the padded levels


@pytest.mark.parametrize("algo", ALGORITHMS)
def test_a_resumed_sb3_run_equals_an_uninterrupted_one(tmp_path, algo):
    whole = Sb3Training(settings(algo, 4), Task("toy", IdentityBatch))
    run(whole, tmp_path / "whole", quiet=True)
    part = Sb3Training(whole.config, Task("toy", IdentityBatch))  # as after Ctrl-C: half of the same run
    part.start()
    part.iterate()
    part.iterate()
    checkpoint.write(tmp_path / "part" / checkpoint.LAST, {**part.content(), "state": part.state()})
    resumed = Sb3Training(whole.config, Task("toy", IdentityBatch))
    run(resumed, tmp_path / "part", resume=True, quiet=True)
    assert resumed.steps == whole.steps
    for name, value in whole.weights().items():
        assert torch.equal(value, resumed.weights()[name]), name


@pytest.mark.parametrize("algo", ALGORITHMS)
def test_an_sb3_run_is_kept_before_its_first_rollout_too(tmp_path, algo):
    fresh = Sb3Training(settings(algo, 1), Task("toy", IdentityBatch))
    path = tmp_path / checkpoint.LAST
    checkpoint.write(path, {**fresh.content(), "state": fresh.state()})
    resumed = Sb3Training(settings(algo, 1), Task("toy", IdentityBatch))
    run(resumed, tmp_path, resume=True, quiet=True)
    assert resumed.steps == resumed.config.total_steps


@pytest.mark.parametrize("algo", ALGORITHMS)
def test_a_model_of_sb3_acts_the_same_from_our_checkpoint_and_its_own_file(tmp_path, algo):
    training, _ = trained_on_toy(algo)
    batch = IdentityBatch(4)
    obs, info = batch.reset(seed=1)
    padding = training.worlds.padding
    masks = {"action_masks": padding.masks(info["action_mask"])} if algo == "sb3_maskable_ppo" else {}
    expected, _ = training.model.predict(padding.observations(obs), deterministic=True, **masks)
    checkpoint.write(tmp_path / "best.pt", training.content())
    training.model.save(tmp_path / "model.zip")
    ours = checkpoint.policy_from(checkpoint.read(tmp_path), batch.spec, "ours", sample=False)
    theirs = load_zip(tmp_path / "model.zip", batch.spec, sample=False)
    for policy in (ours, theirs):
        assert isinstance(policy, Sb3Policy)
        policy.reset(4, 0)
        levels = policy.act(obs, info["action_mask"])
        for role, wanted in padding.actions(expected).items():
            assert np.array_equal(levels[role], wanted)


@pytest.mark.parametrize("sample", [False, True])
def test_maskable_ppo_never_breaks_a_mask_and_plain_ppo_does(sample):
    batch = IdentityBatch(64)
    found = {}
    for algo in ("sb3_ppo", "sb3_maskable_ppo"):
        policy = trained_on_toy(algo)[0].policy(sample)
        policy.reset(64, 1)
        obs, info = batch.reset(seed=1)
        found[algo] = 0
        for _ in range(20):
            levels = policy.act(obs, info["action_mask"])
            found[algo] += broken(levels, info["action_mask"], batch.spec)
            obs, _, _, _, info = batch.step(levels)
    assert found["sb3_maskable_ppo"] == 0
    assert found["sb3_ppo"] > 0


def test_maskable_ppo_chooses_no_masked_level_in_training_and_in_judging():
    scenario = load_scenario("pocket")
    config = replace(settings("sb3_maskable_ppo", 2), scenario="pocket")
    training = Sb3Training(config, Task("pocket", lambda copies: HubNetworkVector(scenario, num_envs=copies)))
    column = list(training.batch.event_names).index("masked_actions")
    training.start()
    while training.progress < 1.0:
        training.iterate()
    assert (training.batch.day > 0).all()  # the events are those of the days trained on
    assert not training.batch.events[:, column].any()
    for sample in (False, True):
        measures = evaluate(training.policy(sample), scenario, [1, 2], threads=1).measures
        assert not measures["masked_actions"].any()
    training.batch.close()


@pytest.mark.parametrize("algo", ALGORITHMS)
def test_rewards_are_scaled_to_learn_from_and_reported_as_they_are(algo):
    training, _ = trained_on_toy(algo)
    given, learned = training.env.get_original_reward(), training.env.normalize_reward(training.env.old_reward)
    assert ((given > 0) & (given <= 1)).any()
    assert np.allclose(learned, given / np.sqrt(training.env.ret_rms.var + 1e-8))


def test_the_books_of_episodes_are_logged():
    scenario = load_scenario("pocket")
    config = settings("sb3_a2c", scenario.episode_d // 4)
    training = Sb3Training(config, Task("pocket", lambda copies: HubNetworkVector(scenario, num_envs=copies)))
    training.start()
    while training.progress < 1.0:
        metrics = training.iterate()
    assert training.batch.day.max() == 0  # the episodes have just ended
    assert {"episode/fill_rate", "ledger_per_unit/deadstock"} <= set(metrics)
    training.batch.close()


def test_entropy_is_weighed_by_the_mean_of_the_components_along_the_run():
    training, _ = trained_on_toy("sb3_ppo", 2, entropy_end=0.6)
    assert training.model.ent_coef == pytest.approx(0.3 / 3)  # half of the run; three components


def test_models_of_other_algorithms_are_refused(tmp_path):
    worlds = HubNetworkVecEnv(IdentityBatch(1))
    RecurrentPPO("MlpLstmPolicy", worlds, n_steps=4, batch_size=4, device="cpu").save(tmp_path / "recurrent.zip")
    (tmp_path / "text.zip").write_text("hello")
    with zipfile.ZipFile(tmp_path / "empty.zip", "w") as archive:
        archive.writestr("data", "{}")
    spec = IdentityBatch(1).spec
    for name, why in (
        ("recurrent", "its policy is a RecurrentActorCriticPolicy"),
        ("text", "File is not a zip file"),
        ("empty", "policy_class"),
    ):
        with pytest.raises(FabmeshError, match=f"{name}.zip: not a model that PPO, A2C or MaskablePPO saved") as error:
            load_zip(tmp_path / f"{name}.zip", spec, sample=False)
        assert why in str(error.value)
        assert "\n" not in str(error.value)


def test_a_run_is_resumed_with_its_own_algorithm_only(tmp_path):
    training, _ = trained_on_toy("sb3_ppo")
    checkpoint.write(tmp_path / checkpoint.LAST, {**training.content(), "state": training.state()})
    stored = from_plain(checkpoint.read_whole(tmp_path / checkpoint.LAST, resumable=True)["config"])
    with pytest.raises(FabmeshError, match="--algo: the run was started with 'sb3_ppo', not 'sb3_a2c'"):
        parse(["--resume", "--run-dir", str(tmp_path), "--algo", "sb3_a2c"], stored=stored)
