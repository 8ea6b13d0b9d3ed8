"""Stable-Baselines3 and Gymnasium over the same worlds: the adapters' shapes, ends, masks, and that SB3 learns."""

from __future__ import annotations

import numpy as np
import pytest
import torch

pytest.importorskip("stable_baselines3")

from gymnasium.utils.env_checker import check_env as check_gymnasium
from stable_baselines3 import PPO
from stable_baselines3.common.env_checker import check_env as check_sb3
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import VecMonitor

from fabmesh.agents.learning import checkpoint
from fabmesh.agents.learning.config import NetworkConfig, PpoConfig, RolloutConfig, TrainConfig
from fabmesh.agents.learning.sb3 import Sb3Policy, Sb3Training, load_zip
from fabmesh.agents.learning.session import Task, run
from fabmesh.agents.learning.toy import IdentityBatch
from fabmesh.envs.adapters.sb3 import HubNetworkVecEnv, Padding
from fabmesh.envs.adapters.single import CentralControlEnv
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
    maskable = pytest.importorskip("sb3_contrib").MaskablePPO
    model = maskable("MlpPolicy", env, n_steps=4, batch_size=6, n_epochs=1, device="cpu", seed=0)
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


def settings(steps):
    return TrainConfig(
        algo="sb3_ppo",
        total_steps=steps,
        rollout=RolloutConfig(copies=16, group=1, days=16),
        ppo=PpoConfig(learning_rate=3e-3, epochs=4, gamma=0.9, target_kl=0.0, entropy=0.0),
        network=NetworkConfig(hidden=(32, 32), critic_hidden=(32, 32)),
    )


def test_sb3_solves_the_toy_through_the_adapter():
    training = Sb3Training(settings(10_000), Task("toy", IdentityBatch))
    training.start()
    reward = 0.0
    while training.progress < 1.0:
        reward = training.iterate()["episode/reward_per_day"]
    assert reward > 0.9  # random choice: about 0.3 with the padded levels


def test_a_resumed_sb3_run_equals_an_uninterrupted_one(tmp_path):
    whole = Sb3Training(settings(4 * 256), Task("toy", IdentityBatch))
    run(whole, tmp_path / "whole", quiet=True)
    part = Sb3Training(settings(2 * 256), Task("toy", IdentityBatch))
    part.config = whole.config  # as after Ctrl-C: half of the same run
    part.start()
    part.iterate()
    part.iterate()
    checkpoint.write(tmp_path / "part" / checkpoint.LAST, {**part.content(), "state": part.state()})
    resumed = Sb3Training(settings(4 * 256), Task("toy", IdentityBatch))
    run(resumed, tmp_path / "part", resume=True, quiet=True)
    assert resumed.steps == whole.steps
    for name, value in whole.weights().items():
        assert torch.equal(value, resumed.weights()[name]), name


def test_an_sb3_run_is_kept_before_its_first_rollout_too(tmp_path):
    fresh = Sb3Training(settings(256), Task("toy", IdentityBatch))
    path = tmp_path / checkpoint.LAST
    checkpoint.write(path, {**fresh.content(), "state": fresh.state()})
    resumed = Sb3Training(settings(256), Task("toy", IdentityBatch))
    run(resumed, tmp_path, resume=True, quiet=True)
    assert resumed.steps == 256


def test_a_model_of_sb3_acts_the_same_from_our_checkpoint_and_its_own_file(tmp_path):
    training = Sb3Training(settings(256), Task("toy", IdentityBatch))
    batch = IdentityBatch(4)
    obs, info = batch.reset(seed=1)
    expected, _ = training.model.predict(training.env.padding.observations(obs), deterministic=True)
    checkpoint.write(tmp_path / "best.pt", training.content())
    training.model.save(tmp_path / "model.zip")
    ours = checkpoint.policy_from(checkpoint.read(tmp_path), batch.spec, "ours", sample=False)
    theirs = load_zip(tmp_path / "model.zip", batch.spec, sample=False)
    for policy in (ours, theirs):
        assert isinstance(policy, Sb3Policy)
        policy.reset(4, 0)
        levels = policy.act(obs, info["action_mask"])
        for role, wanted in training.env.padding.actions(expected).items():
            assert np.array_equal(levels[role], wanted)
