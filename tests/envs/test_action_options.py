"""`continuous_actions` and `mask_in_obs`: PettingZoo's tests, and that they are other clothes for the same world."""

import pickle
from dataclasses import replace
from functools import partial

import numpy as np
import pettingzoo
import pytest
from gymnasium.spaces import Box, Dict
from gymnasium.vector.utils import batch_space
from hypothesis import given
from hypothesis import strategies as st
from pettingzoo.test import api_test, max_cycles_test, parallel_api_test, parallel_seed_test, seed_test, state_test

from fabmesh.envs import hub_network_v0
from fabmesh.envs.network.loading import load_scenario
from fabmesh.envs.spaces import MaskedBox, bin_centres, levels_of_bins
from fabmesh.envs.testing import random_actions
from fabmesh.envs.vector import HubNetworkVector

OPTIONS = {
    "numbers": {"continuous_actions": True},
    "masks": {"mask_in_obs": True},
    "both": {"continuous_actions": True, "mask_in_obs": True},
}
parallel = partial(hub_network_v0.parallel_env, scenario="pocket")


@pytest.fixture(params=OPTIONS)
def options(request):
    return OPTIONS[request.param]


def test_pettingzoos_own_tests(options):
    make = partial(parallel, **options)
    aec = partial(hub_network_v0.env, scenario="pocket", **options)
    parallel_api_test(make(), num_cycles=130)
    api_test(aec(), num_cycles=50)
    api_test(hub_network_v0.raw_env(scenario="pocket", **options), num_cycles=50)
    seed_test(aec, num_cycles=50)
    parallel_seed_test(make, num_cycles=50)
    state_test(aec(), make())

    class Module:
        parallel_env = make
        env = aec

    max_cycles_test(Module)


def flat(returns):
    """Everything that was returned, as bytes."""
    if isinstance(returns, dict):
        return b"".join(str(key).encode() + flat(value) for key, value in returns.items())
    if isinstance(returns, (tuple, list)):
        return b"".join(flat(part) for part in returns)
    return returns.tobytes() if isinstance(returns, np.ndarray) else repr(returns).encode()


def play(env, seed):
    """Every return of one whole episode with legal actions, the action spaces seeded as PettingZoo's tests do."""
    returns = [env.reset(seed=seed)]
    for number, agent in enumerate(env.possible_agents):
        env.action_space(agent).seed(42 + number)
    while env.agents:
        masks = masks_of(env, returns[-1][0], returns[-1][-1])
        returns.append(env.step({agent: env.action_space(agent).sample(masks[agent]) for agent in env.agents}))
    return returns


def masks_of(env, observations, infos):
    """The masks from the one place where they are."""
    place, other = (observations, infos) if env.batch.mask_in_obs else (infos, observations)
    assert not any(key.endswith("mask") for entry in other.values() if isinstance(entry, dict) for key in entry)
    name = "level_mask" if env.batch.continuous_actions else "action_mask"
    return {agent: place[agent][name] for agent in env.possible_agents}


def test_a_whole_episode_is_the_same_again(options):
    one, other = parallel(**options), parallel(**options)
    first = flat(play(one, 7))
    assert first == flat(play(other, 7))
    play(one, 8)
    assert first == flat(play(one, 7))
    assert first != flat(play(one, 8))


def renamed(returns):
    """What was returned with continuous actions, as bytes, with the mask's name as it is with levels."""
    return flat(returns).replace(b"level_mask", b"action_mask")


@pytest.mark.parametrize("scenario", ["pocket", "rotterdam"])
def test_centres_of_bins_play_the_levels_bit_for_bit(scenario):
    """Through the dictionaries and through the arrays, masked levels and counts of them included."""
    levels_env, numbers_env = (
        hub_network_v0.parallel_env(scenario=scenario, continuous_actions=continuous) for continuous in (False, True)
    )
    batch = HubNetworkVector(scenario, autoreset=False, continuous_actions=True)
    nvec = {agent: batch.spec[role].nvec for role in batch.roles for agent in batch.agents[role]}
    rng = np.random.default_rng(3)
    before = levels_env.reset(seed=9)
    assert flat(before) == renamed(numbers_env.reset(seed=9))
    batch.reset(seed=9)
    masked = 0
    while levels_env.agents:
        levels = {agent: rng.integers(nvec[agent]) for agent in levels_env.agents}
        numbers = {agent: bin_centres(level, nvec[agent]) for agent, level in levels.items()}
        after = levels_env.step(levels)
        assert flat(after) == renamed(numbers_env.step(numbers))
        masked += sum(info["masked_actions"] for info in after[-1].values())
        arrays = {role: np.stack([numbers[agent] for agent in batch.agents[role]])[None] for role in batch.roles}
        observed = batch.step(arrays)[0]
        for role in batch.roles:
            assert np.stack([after[0][agent] for agent in batch.agents[role]]).tobytes() == observed[role].tobytes()
    assert masked > 0
    assert batch.events[0, batch.event_names.index("masked_actions")] == masked


def test_masks_in_observations_are_those_that_infos_hold_otherwise():
    """And nothing else differs from the plain observations and infos."""
    plain, dressed = parallel(), parallel(mask_in_obs=True)
    for before, after in zip(play(plain, 5), play(dressed, 5), strict=True):
        for agent in plain.possible_agents:
            seen = after[0][agent]
            assert list(seen) == ["observation", "action_mask"]
            assert seen["observation"].tobytes() == before[0][agent].tobytes()
            assert seen["action_mask"].tobytes() == before[-1][agent]["action_mask"].tobytes()
            assert dressed.observation_space(agent).contains(seen)
        for info in before[-1].values():
            del info["action_mask"]
        assert flat(before[1:]) == flat(after[1:])
    # what a caller keeps is the caller's own
    observations, _ = dressed.reset(seed=1)
    kept = observations["hub_0"]["action_mask"].copy()
    dressed.step({agent: dressed.action_space(agent).sample() for agent in dressed.agents})
    assert (observations["hub_0"]["action_mask"] == kept).all()
    assert dressed.batch.scenario.name in parallel_page(dressed)


def parallel_page(env):
    """A rendered page of the environment."""
    env.render_mode = "ansi"
    return env.render()


@pytest.mark.parametrize("autoreset", [True, False])
def test_masks_in_the_observations_of_a_batch(autoreset):
    kind = {"scenario": "pocket", "num_envs": 3, "autoreset": autoreset}
    plain, dressed = HubNetworkVector(**kind), HubNetworkVector(**kind, mask_in_obs=True)
    seen, info = plain.reset(seed=4)
    other, _ = dressed.reset(seed=4)
    rng = np.random.default_rng(0)
    for day in range(60):
        for role in plain.roles:
            assert other[role]["observation"].tobytes() == seen[role].tobytes()
            assert other[role]["action_mask"].tobytes() == info["action_mask"][role].tobytes()
        assert dressed.observation_space.contains(other)
        actions = random_actions(plain, info["action_mask"], rng)
        seen, _, _, _, info = plain.step(actions)
        other, _, _, truncated, dressed_info = dressed.step(actions)
        assert ("final_obs" in dressed_info) == bool(truncated.any()) == (day == 59)
    for role in plain.roles:
        final = dressed_info["final_obs"][role]
        assert final["observation"].tobytes() == info["final_obs"][role].tobytes()
        assert dressed.observation_space[role].contains(final)


def test_final_masks_are_those_of_the_world_that_ended():
    pocket = load_scenario("pocket")
    closing = replace(pocket, episode_d=12, disruptions=replace(pocket.disruptions, depot_outage_year=100.0))
    # without automatic resets the masks after the end are the final ones
    going, resting = (HubNetworkVector(closing, 16, autoreset=reset, mask_in_obs=True) for reset in (True, False))
    _, info = going.reset(seed=4)
    resting.reset(seed=4)
    rng = np.random.default_rng(0)
    for _ in range(12):
        actions = random_actions(going, info["action_mask"], rng)
        info, there = going.step(actions)[4], resting.step(actions)[4]
    for role in going.roles:
        assert (info["final_obs"][role]["action_mask"] == there["action_mask"][role]).all()
    assert (info["final_obs"]["depot"]["action_mask"] == 0).any()
    assert (info["final_obs"]["depot"]["action_mask"] != info["action_mask"]["depot"]).any()


def test_what_stands_for_no_level_is_named():
    env = parallel(continuous_actions=True, max_cycles=3)
    other = parallel(continuous_actions=True, max_cycles=3)
    _, infos = env.reset(seed=1)
    other.reset(seed=1)
    good = {agent: env.action_space(agent).sample(infos[agent]["level_mask"]) for agent in env.agents}
    block = env.batch.spec["hub"].components[2]
    for value, shown in ((np.nan, "nan"), (np.inf, "inf"), (-np.inf, "-inf"), (1.5, "1.5"), (-1.0001, "-1.0001")):
        bad = {agent: action.copy() for agent, action in good.items()}
        bad["hub_1"][block.start + 1] = value
        with pytest.raises(ValueError, match=rf"hub_1.*{block.name}\[{block.items[1]}\].*is {shown}.*-1 to 1"):
            env.step(bad)
    with pytest.raises(ValueError, match=r"hub_0 is int64 of shape .*, expected floats"):
        env.step(good | {"hub_0": np.zeros(good["hub_0"].shape, np.int64)})
    with pytest.raises(ValueError, match="depot_0 is float64 of shape"):
        env.step(good | {"depot_0": np.zeros(1)})
    assert flat(env.step(good)) == flat(other.step(good)), "a refused action changes nothing"

    batch = HubNetworkVector("pocket", num_envs=2, continuous_actions=True)
    batch.reset(seed=1)
    actions = {role: np.zeros(space.shape, np.float32) for role, space in batch.action_space.items()}
    actions["depot"][1, 0, 0] = np.nan
    with pytest.raises(ValueError, match=r"depot_0 in copy 1: component trigger.* is nan, allowed are -1 to 1"):
        batch.step(actions)
    with pytest.raises(ValueError, match="'hub' must be floats from -1 to 1, got int64"):
        batch.step({role: np.zeros(space.shape, np.int64) for role, space in batch.action_space.items()})
    plain = parallel()
    plain.reset(seed=1)
    with pytest.raises(ValueError, match="hub_0 is float32 of shape"):
        plain.step(good)


def test_a_masked_bin_is_a_counted_level_zero():
    env = parallel(continuous_actions=True, max_cycles=1)
    _, infos = env.reset(seed=2)
    mask = infos["hub_0"]["level_mask"]
    nvec = env.action_space("hub_0").nvec
    ends = np.cumsum(nvec)
    forbidden = [np.flatnonzero(mask[end - n : end] == 0) for n, end in zip(nvec, ends, strict=True)]
    levels = np.array([part[0] if len(part) else 0 for part in forbidden])
    expected = sum(len(part) > 0 for part in forbidden)
    assert expected > 0
    actions = {agent: -np.ones(env.action_space(agent).shape, np.float32) for agent in env.agents}  # level 0
    *_, infos = env.step(actions | {"hub_0": bin_centres(levels, nvec)})
    assert {agent: info["masked_actions"] for agent, info in infos.items()} == {
        "hub_0": expected, "hub_1": 0, "depot_0": 0,
    }  # fmt: skip


@given(levels=st.integers(1, 40), position=st.floats(-1, 1, width=32))
def test_bins_are_equal_and_the_last_takes_the_end(levels, position):
    level = int(levels_of_bins([position], [levels])[0])
    low, high = -1 + 2 * level / levels, -1 + 2 * (level + 1) / levels
    assert low - 1e-12 <= position
    assert position < high + 1e-12 or (position == 1.0 and level == levels - 1)
    assert (levels_of_bins(bin_centres(range(levels), levels), levels) == np.arange(levels)).all()
    edges = -1 + 2 * np.arange(levels) / levels  # a bin begins with its lower border, up to rounding
    assert (levels_of_bins(edges + 1e-12, levels) == np.arange(levels)).all()
    assert levels_of_bins([-1.0, 1.0], levels).tolist() == [0, levels - 1]


def test_spaces(options):
    env = parallel(**options)
    batch = HubNetworkVector("pocket", num_envs=2, **options)
    for agent in env.possible_agents:
        space, seen = env.action_space(agent), env.observation_space(agent)
        assert space is env.action_space(agent) is env.action_spaces[agent]
        assert seen is env.observation_space(agent) is env.observation_spaces[agent]
        assert pickle.loads(pickle.dumps(space)) == space
        assert pickle.loads(pickle.dumps(seen)) == seen
        if "mask_in_obs" in options:
            length = int(env.batch.spec[agent[:-2]].nvec.sum())
            assert isinstance(seen, Dict)
            assert seen[env.batch.mask_key] == Box(0, 1, (length,), np.int8)
        if "continuous_actions" in options:
            plain = Box(-1.0, 1.0, space.shape, np.float32)
            assert space == plain
            assert plain == space
            assert batch_space(space, 3) == batch_space(plain, 3)
    for role in batch.roles:
        assert batch.action_space[role].shape[:2] == (2, len(batch.agents[role]))
    made = pettingzoo.make("parallel", "fabmesh/hub_network_v0", scenario="pocket", **options)
    assert made.action_spaces == env.action_spaces


def test_samples_obey_the_mask():
    space = MaskedBox([3, 1, 5, 2], seed=1)
    mask = np.array([0, 1, 1, 1, 0, 0, 0, 0, 1, 0, 0], dtype=np.int8)
    draws = np.array([space.sample(mask) for _ in range(400)])
    levels = levels_of_bins(draws, space.nvec)
    assert draws.dtype == np.float32
    assert all(space.contains(draw) for draw in draws)
    assert set(levels[:, 0]) == {1, 2}
    assert 140 < (levels[:, 0] == 1).sum() < 260
    assert set(levels[:, 2]) == {4}
    assert set(levels[:, 3]) == {0}, "as with levels where nothing is allowed"
    assert len(set(draws[:, 0])) > 390, "a bin is not only its centre"
    assert space.contains(space.sample())
    with pytest.raises(ValueError, match="shape"):
        space.sample(mask[:-1])


def test_the_length_of_an_episode_keeps_the_options(options):
    env = parallel(**options, max_cycles=3)
    assert len(play(env, 1)) == 4
    env.max_cycles = 2
    returns = play(env, 1)
    assert len(returns) == 3
    assert all(env.observation_space(agent).contains(seen) for agent, seen in returns[-1][0].items())
