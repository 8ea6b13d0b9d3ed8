"""The PettingZoo view: PettingZoo's own tests, and what they do not look at."""

import pickle
import re
from functools import partial

import numpy as np
import pettingzoo
import pytest
from gymnasium.spaces import MultiDiscrete
from gymnasium.vector.utils import batch_space
from pettingzoo.test import (
    api_test,
    max_cycles_test,
    parallel_api_test,
    parallel_seed_test,
    render_test,
    seed_test,
    state_test,
)

from fabmesh.envs import hub_network_v0
from fabmesh.envs.spaces import MaskedMultiDiscrete
from fabmesh.envs.testing import random_actions
from fabmesh.envs.vector import HubNetworkVector

SCENARIOS = ["pocket", "rotterdam", "benelux"]
INFO_KEYS = {"action_mask", "masked_actions", "cost", "settlement"}


@pytest.fixture(params=SCENARIOS)
def scenario(request):
    return request.param


def legal_actions(env, infos):
    return {agent: env.action_space(agent).sample(infos[agent]["action_mask"]) for agent in env.agents}


def play(env, seed):
    """Every return of one episode with legal actions; the action spaces are seeded as PettingZoo's tests do."""
    returns = [env.reset(seed=seed)]
    for number, agent in enumerate(env.possible_agents):
        env.action_space(agent).seed(42 + number)
    while env.agents:
        returns.append(env.step(legal_actions(env, returns[-1][-1])))
    return returns


def assert_equal(one, other):
    """Equal bit for bit, through dictionaries, lists and arrays."""
    assert type(one) is type(other)
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_equal(one[key], other[key])
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            assert_equal(a, b)
    elif isinstance(one, np.ndarray):
        assert one.dtype == other.dtype
        assert one.tobytes() == other.tobytes()
    else:
        assert one == other


# --- PettingZoo's own tests


def test_parallel_api(scenario):
    parallel_api_test(hub_network_v0.parallel_env(scenario=scenario), num_cycles=200)


def test_aec_api(scenario):
    api_test(hub_network_v0.env(scenario=scenario), num_cycles=50)
    api_test(hub_network_v0.raw_env(scenario=scenario), num_cycles=50)


def test_aec_seed(scenario):
    seed_test(partial(hub_network_v0.env, scenario=scenario), num_cycles=50)


def test_parallel_seed(scenario):
    parallel_seed_test(partial(hub_network_v0.parallel_env, scenario=scenario), num_cycles=50)


def test_max_cycles(scenario):
    class Module:
        parallel_env = partial(hub_network_v0.parallel_env, scenario=scenario)
        env = partial(hub_network_v0.env, scenario=scenario)

    max_cycles_test(Module)


def test_state(scenario):
    state_test(hub_network_v0.env(scenario=scenario), hub_network_v0.parallel_env(scenario=scenario))


def test_render(scenario, capsys):
    render_test(partial(hub_network_v0.env, scenario=scenario))
    assert "network cost" in capsys.readouterr().out


# --- What they do not look at


def test_registered_by_import(scenario):
    for name in ("fabmesh/hub_network_v0", "fabmesh/hub_network-v0"):
        parallel = pettingzoo.make("parallel", name, scenario=scenario, max_cycles=3)
        assert isinstance(parallel, hub_network_v0.parallel_env)
        assert parallel.max_cycles == 3
        assert isinstance(pettingzoo.make("aec", name, scenario=scenario), pettingzoo.AECEnv)
    assert str(parallel) == "hub_network_v0"


def test_equal_seeds_give_equal_episodes(scenario):
    one, other = (hub_network_v0.parallel_env(scenario=scenario) for _ in range(2))
    first = play(one, seed=7)
    assert len(first) == one.max_cycles + 1
    assert_equal(first, play(other, seed=7))
    # and again in an environment that has seen other worlds meanwhile
    play(one, seed=8)
    assert_equal(first, play(one, seed=7))


def test_seed_zero_is_a_seed():
    env = hub_network_v0.parallel_env(scenario="pocket")
    assert_equal(play(env, seed=0), play(env, seed=0))


def test_reset_without_a_seed_goes_on_to_another_world():
    one, other = (hub_network_v0.parallel_env(scenario="pocket", max_cycles=3) for _ in range(2))
    streams = []
    for env in (one, other):
        stream = [env.reset(seed=3)]
        worlds = [int(env.batch.seeds[0])]
        for _ in range(3):
            stream.append(env.reset())
            worlds.append(int(env.batch.seeds[0]))
        assert len(set(worlds)) == 4
        streams.append(stream)
    assert_equal(*streams)


def test_changing_the_length_keeps_the_stream_of_worlds():
    env = hub_network_v0.parallel_env(scenario="pocket", max_cycles=3)
    env.reset(seed=3)
    env.reset()
    world = int(env.batch.seeds[0])
    env.reset(seed=3)
    env.max_cycles = 5
    env.reset()
    assert int(env.batch.seeds[0]) == world
    assert len(play(env, seed=3)) == 6


@pytest.mark.parametrize("days", [0, -1, 2.5, "3", True])
def test_an_episode_has_a_day(days):
    with pytest.raises(ValueError, match="max_cycles"):
        hub_network_v0.parallel_env(scenario="pocket", max_cycles=days).reset()


def test_the_view_is_the_batch(scenario):
    """One seed gives the same numbers through the dictionaries and through the arrays."""
    env = hub_network_v0.parallel_env(scenario=scenario)
    batch = HubNetworkVector(scenario, num_envs=1, autoreset=False)
    rng = np.random.default_rng(0)
    observations, infos = env.reset(seed=11)
    observed, info = batch.reset(seed=11)
    assert_equal(env.state(), batch.state()[0])
    for _ in range(env.max_cycles):
        for role in batch.roles:
            for index, agent in enumerate(batch.agents[role]):
                assert_equal(observations[agent], observed[role][0, index])
                assert_equal(infos[agent]["action_mask"], info["action_mask"][role][0, index])
        actions = random_actions(batch, info["action_mask"], rng)
        observations, rewards, _, truncations, infos = env.step(
            {agent: actions[role][0, i] for role in batch.roles for i, agent in enumerate(batch.agents[role])}
        )
        observed, reward, _, truncated, info = batch.step(actions)
        assert list(rewards.values()) == [r for role in batch.roles for r in reward[role][0].tolist()]
        assert infos["hub_0"]["cost"] == info["cost"][0]
        assert set(truncations.values()) == {bool(truncated[0])}
    assert infos["hub_0"]["settlement"] == info["settlement"][0]
    assert_equal(env.state(), batch.state()[0])


def test_agents_and_flags(scenario):
    env = hub_network_v0.parallel_env(scenario=scenario, max_cycles=4)
    episode = play(env, seed=1)
    hubs, depots = env.batch.scenario.hubs, env.batch.scenario.depots
    assert env.possible_agents == [f"hub_{i}" for i in range(len(hubs))] + [f"depot_{j}" for j in range(len(depots))]
    assert env.agents == []
    assert all(set(info) == INFO_KEYS for day in episode for info in day[-1].values())
    for number, (_, rewards, terminations, truncations, infos) in enumerate(episode[1:], start=1):
        assert all(type(reward) is float for reward in rewards.values())
        assert len(set(rewards.values())) == 1, "a team reward is one number"
        assert set(terminations.values()) == {False}
        assert all(flag is (number == 4) for flag in truncations.values())
        assert all((info["settlement"] != 0.0) <= (number == 4) for info in infos.values())
        assert all(type(info["cost"]) is float for info in infos.values())


def test_returns_are_the_callers_own():
    """What a caller keeps or changes neither changes later nor changes the network."""
    env, untouched = (hub_network_v0.parallel_env(scenario="pocket", max_cycles=6) for _ in range(2))
    expected = play(untouched, seed=5)
    observations, infos = env.reset(seed=5)
    kept = {agent: observation.copy() for agent, observation in observations.items()}
    for number, agent in enumerate(env.possible_agents):
        env.action_space(agent).seed(42 + number)
    for day in expected[1:]:
        actions = legal_actions(env, infos)
        for agent in env.agents:
            infos[agent]["action_mask"][:] = 0
        before = observations
        observations, rewards, terminations, truncations, infos = env.step(actions)
        assert_equal(before, kept)
        assert_equal((observations, rewards, terminations, truncations, infos), day)
        kept = {agent: observation.copy() for agent, observation in observations.items()}
        terminations["__all__"] = True  # as RLlib does


def test_masks_are_obeyed_and_masked_actions_counted(scenario):
    env = hub_network_v0.parallel_env(scenario=scenario, max_cycles=20)
    for _, _, _, _, infos in play(env, seed=2)[1:]:
        assert all(info["masked_actions"] == 0 for info in infos.values())

    _, infos = env.reset(seed=2)
    total = 0
    while env.agents:
        actions = {}
        expected = {}
        for agent in env.agents:
            mask = infos[agent]["action_mask"]
            parts = env.action_space(agent).split_mask(mask)
            # the first forbidden level where there is one
            actions[agent] = np.array([int(np.argmin(part)) for part in parts])
            expected[agent] = sum(int(part.min() == 0) for part in parts)
        total += sum(expected.values())
        _, _, _, _, infos = env.step(actions)
        assert {agent: info["masked_actions"] for agent, info in infos.items()} == expected
    assert total > 0
    events = dict(zip(env.batch.event_names, env.batch.events[0], strict=True))
    assert events["masked_actions"] == total


def test_a_masked_level_is_level_zero(scenario):
    """Playing what is masked gives the same world as playing nothing there."""
    masked, plain = (hub_network_v0.parallel_env(scenario=scenario, max_cycles=15) for _ in range(2))
    rng = np.random.default_rng(3)
    _, infos = masked.reset(seed=4)
    plain.reset(seed=4)
    while masked.agents:
        wild = {agent: rng.integers(masked.action_space(agent).nvec) for agent in masked.agents}
        tame = {}
        for agent, action in wild.items():
            parts = masked.action_space(agent).split_mask(infos[agent]["action_mask"])
            tame[agent] = np.array([level if part[level] else 0 for level, part in zip(action, parts, strict=True)])
        observations, rewards, _, _, infos = masked.step(wild)
        observations_plain, rewards_plain, _, _, _ = plain.step(tame)
        assert_equal(observations, observations_plain)
        assert_equal(rewards, rewards_plain)


def test_bad_actions_are_named():
    env = hub_network_v0.parallel_env(scenario="pocket")
    with pytest.raises(RuntimeError, match="reset"):
        env.step({})
    _, infos = env.reset(seed=1)
    good = legal_actions(env, infos)
    component = env.batch.spec["hub"].components[0]

    for value in (-1, int(env.action_space("hub_1").nvec[0]), 2**32):
        bad = {agent: action.copy() for agent, action in good.items()}
        bad["hub_1"][0] = value
        with pytest.raises(ValueError, match=rf"hub_1.*{component.name}.*{re.escape(str(value))}"):
            env.step(bad)
    with pytest.raises(ValueError, match="no action for depot_0"):
        env.step({agent: action for agent, action in good.items() if agent != "depot_0"})
    with pytest.raises(ValueError, match="hub_0 is int64 of shape"):
        env.step(good | {"hub_0": np.zeros(1, dtype=np.int64)})
    with pytest.raises(ValueError, match="hub_0 is float64"):
        env.step(good | {"hub_0": good["hub_0"].astype(float)})
    with pytest.raises(ValueError, match="hub_0 is bool"):
        env.step(good | {"hub_0": good["hub_0"] > 0})
    with pytest.raises(ValueError, match="hub_0 is object"):
        env.step(good | {"hub_0": None})
    with pytest.raises(ValueError, match="hub_0 is no array: rows of different lengths"):
        env.step(good | {"hub_0": [[1], [2, 3]]})
    with pytest.raises(ValueError, match="'hub_9', which is no agent; there are hub_0, hub_1, depot_0"):
        env.step(good | {"hub_9": good["hub_0"]})
    for nothing in ([1, 2], None, good["hub_0"]):
        with pytest.raises(TypeError, match=r"actions must be \{agent: action\}"):
            env.step(nothing)
    env.step({agent: action.tolist() for agent, action in good.items()})  # lists of integers are fine


def test_bad_actions_of_a_batch_are_named():
    batch = HubNetworkVector("pocket", num_envs=2)
    batch.reset(seed=1)
    good = {role: np.zeros(space.shape, np.int64) for role, space in batch.action_space.items()}
    for nothing in ([1, 2], None, good["hub"]):
        with pytest.raises(TypeError, match=r"actions must be \{role: array\} for hub, depot"):
            batch.step(nothing)
    with pytest.raises(ValueError, match="'hubs', which is no role; there are hub, depot"):
        batch.step(good | {"hubs": good["hub"]})
    with pytest.raises(ValueError, match="'hub' are no array: rows of different lengths"):
        batch.step(good | {"hub": [[1], [2, 3]]})
    with pytest.raises(ValueError, match="no actions for the role 'depot'"):
        batch.step({"hub": good["hub"]})
    batch.step(good)


def test_agents_that_a_caller_holds_outlive_the_last_step():
    env = hub_network_v0.parallel_env(scenario="pocket", max_cycles=3)
    env.reset(seed=1)
    days = 0
    while env.agents:
        live = env.agents
        _, rewards, *_ = env.step({agent: env.action_space(agent).sample() for agent in live})
        assert list(rewards) == live == env.possible_agents
        days += 1
    assert days == 3
    assert env.agents == []


@pytest.mark.parametrize("make", [hub_network_v0.parallel_env, hub_network_v0.raw_env, hub_network_v0.env])
def test_reset_after_close_opens_again(make):
    env = make(scenario="pocket", max_cycles=3, render_mode="rgb_array")
    env.reset(seed=5)
    state, picture = env.state(), env.render()
    env.close()
    env.close()
    env.reset(seed=5)
    assert (env.state() == state).all()
    assert (env.render() == picture).all()
    env.close()


def test_a_closed_batch_is_opened_by_reset():
    batch = HubNetworkVector("pocket", num_envs=3, threads=2)
    actions = {role: np.zeros(space.shape, np.int64) for role, space in batch.action_space.items()}
    batch.reset(seed=1)
    before = batch.step(actions)[1]["hub"].copy()
    batch.close()
    with pytest.raises(RuntimeError, match="closed: call reset"):
        batch.step(actions)
    batch.reset(seed=1)
    assert (batch.step(actions)[1]["hub"] == before).all()


@pytest.mark.parametrize("continuous", [False, True])
def test_actions_mean_the_same_whatever_holds_them(continuous):
    def play(given):
        env = hub_network_v0.parallel_env(scenario="pocket", max_cycles=3, continuous_actions=continuous)
        env.reset(seed=1)
        rng, seen = np.random.default_rng(0), []
        while env.agents:
            spaces = {agent: env.action_space(agent) for agent in env.agents}
            actions = {
                agent: rng.uniform(-1, 1, space.shape).astype(np.float32) if continuous else rng.integers(space.nvec)
                for agent, space in spaces.items()
            }
            observations, rewards, *_ = env.step({agent: given(action) for agent, action in actions.items()})
            seen.append((observations, rewards))
        return seen

    narrow = np.float64 if continuous else np.int8
    arrays = play(lambda action: action)
    assert_equal(arrays, play(lambda action: action.astype(narrow)))
    assert_equal(arrays, play(list))


def test_a_refused_action_changes_nothing():
    env, other = (hub_network_v0.parallel_env(scenario="pocket", max_cycles=3) for _ in range(2))
    _, infos = env.reset(seed=1)
    other.reset(seed=1)
    good = legal_actions(env, infos)
    with pytest.raises(ValueError, match="depot_0"):
        env.step(good | {"depot_0": good["depot_0"] + 1000})
    assert_equal(env.step(good), other.step(good))


def test_spaces(scenario):
    env = hub_network_v0.parallel_env(scenario=scenario)
    assert list(env.observation_spaces) == list(env.action_spaces) == env.possible_agents
    for agent in env.possible_agents:
        space = env.action_space(agent)
        assert space is env.action_space(agent) is env.action_spaces[agent]
        plain = MultiDiscrete(space.nvec)
        assert space == plain
        assert plain == space
        copy = pickle.loads(pickle.dumps(space))
        assert copy == space
        assert batch_space(space, 3) == batch_space(plain, 3)
        assert pickle.loads(pickle.dumps(env.observation_space(agent))) == env.observation_space(agent)
    # each agent's space draws from its own generator
    env.action_space("hub_0").seed(1)
    env.action_space("hub_1").seed(1)
    assert np.array_equal(env.action_space("hub_0").sample(), env.action_space("hub_1").sample())


def test_sample_takes_flat_and_split_masks():
    space = MaskedMultiDiscrete([3, 1, 5, 2], seed=1)
    mask = np.array([0, 1, 1, 1, 0, 0, 0, 0, 1, 0, 0], dtype=np.int8)
    draws = np.array([space.sample(mask) for _ in range(400)])
    assert set(draws[:, 0]) == {1, 2}
    assert 140 < (draws[:, 0] == 1).sum() < 260
    assert set(draws[:, 2]) == {4}
    assert set(draws[:, 3]) == {0}, "Gymnasium's answer where nothing is allowed"
    assert draws.dtype == np.int64
    assert space.contains(draws[0])
    assert set(np.array([space.sample(space.split_mask(mask)) for _ in range(50)])[:, 0]) == {1, 2}
    assert space.contains(space.sample())
    with pytest.raises(ValueError, match="shape"):
        space.sample(mask[:-1])


def test_render_modes(capsys):
    env = hub_network_v0.parallel_env(scenario="rotterdam", render_mode="ansi")
    with pytest.raises(RuntimeError, match="reset"):
        env.render()
    _, infos = env.reset(seed=1)
    env.step(legal_actions(env, infos))
    page = env.render()
    assert "day 1 of 180" in page
    assert "hub_0 Rotterdam" in page
    assert max(len(line) for line in page.splitlines()) <= 160

    human = hub_network_v0.parallel_env(scenario="pocket", render_mode="human", max_cycles=2)
    play(human, seed=1)
    pages = capsys.readouterr().out
    assert pages.count("network cost") == 3  # after the reset and after each of two days
    assert pages.count("settlement at the end") == 1  # a line of its own, not part of the last day

    picture = hub_network_v0.parallel_env(scenario="rotterdam", render_mode="rgb_array")
    _, infos = picture.reset(seed=1)
    before = picture.render()
    picture.step(legal_actions(picture, infos))
    after = picture.render()
    assert before.shape == after.shape
    assert (before != after).any()
    picture.close()

    with pytest.raises(ValueError, match="sound"):
        hub_network_v0.parallel_env(scenario="pocket", render_mode="sound")
