"""Which worlds are played: seeds, sets of worlds, copies, and processes that are given the same seed."""

import copy
import multiprocessing
import os
import pickle
from functools import partial

import numpy as np
import pytest
from pettingzoo.test import api_test, parallel_api_test, parallel_seed_test

from fabmesh.envs import hub_network_v0
from fabmesh.envs.adapters.single import CentralControlEnv
from fabmesh.envs.network.compiler.rng import SPACES, seed_of
from fabmesh.envs.vector import HubNetworkVector

COPY = {"deepcopy": copy.deepcopy, "pickle": lambda env: pickle.loads(pickle.dumps(env))}
short = partial(hub_network_v0.parallel_env, scenario="pocket", max_cycles=2)


def world(env):
    """The seed of the world that an environment plays."""
    unwrapped = env.unwrapped
    return int(getattr(unwrapped, "parallel", unwrapped).batch.seeds[0])


def played(env, seeds):
    """The worlds that resets with these seeds start."""
    found = []
    for seed in seeds:
        env.reset(seed=seed)
        found.append(world(env))
    return found


def space_of(seed):
    return next(name for name, number in SPACES.items() if number == seed >> 56)


# --- seeds


@pytest.mark.parametrize("seed", [1.0, np.float64(2), "7", b"7", True, np.bool_(True), {}, object(), np.array(1.0)])
def test_a_seed_that_is_no_integer_is_refused(seed):
    env, batch = short(), HubNetworkVector("pocket", num_envs=1)
    for make_world in (env.reset, batch.reset, CentralControlEnv("pocket").reset):
        with pytest.raises(ValueError, match=r"^seeds? .*whole number") as refused:
            make_world(seed=seed)
        assert "\n" not in str(refused.value)
    with pytest.raises(ValueError, match="whole number"):
        batch.reset(seed=[seed])


def test_a_seed_out_of_range_is_refused():
    batch = HubNetworkVector("pocket", num_envs=2)
    for seed in (-1, np.int64(-1), 2**64, 2**64 - 1, [0, -1], [0, 2**64]):
        with pytest.raises(ValueError, match=r"must be from 0 to 2\*\*64"):
            batch.reset(seed=seed)
    with pytest.raises(ValueError, match="3 seeds for 2 copies"):
        batch.reset(seed=[1, 2, 3])


def test_numpy_integers_are_as_good():
    env = short()
    env.reset(seed=5)
    state = env.state()
    for seed in (np.int64(5), np.uint8(5), np.uint64(5), np.array(5), np.array([5]), [np.int16(5)]):
        env.reset(seed=seed)
        assert world(env) == 5
        assert (env.state() == state).all()
    assert CentralControlEnv("pocket").reset(seed=np.int64(5))[0].shape
    batch = HubNetworkVector("pocket", num_envs=np.int64(3), threads=np.int32(2))
    assert batch.reset(seed=np.uint64(2**63))[0]["hub"].shape[0] == 3
    assert batch.seeds.tolist() == [2**63, 2**63 + 1, 2**63 + 2]
    numbered = hub_network_v0.parallel_env(scenario="pocket", max_cycles=np.int64(2), worlds=np.array([4, 4]))
    assert played(numbered, [None]) == [4]


# --- sets of worlds


def test_without_a_set_a_seed_is_a_world():
    assert played(short(), [42, 0, seed_of("train", 3)]) == [42, 0, seed_of("train", 3)]


@pytest.mark.parametrize("space", SPACES)
def test_worlds_are_drawn_from_a_space(space):
    named = {"validation": 64, "test": 256}.get(space, 2**56)
    env = short(worlds=space)
    found = played(env, [42] * 10 + [None] * 10)
    assert {space_of(seed) for seed in found} == {space}
    assert all(seed - seed_of(space, 0) < named for seed in found)
    assert len(set(found)) > 10, "a seed of a framework's does not choose the world"


def test_worlds_are_drawn_from_a_list():
    found = played(short(worlds=[3, 5, 2**60]), [1, *[None] * 40])
    assert set(found) == {3, 5, 2**60}


def test_a_key_makes_worlds_repeatable():
    seeds = [42, None, None, 42, None, 43, None]
    worlds = {key: played(short(worlds="train", worlds_key=key), seeds) for key in [1, (1, 0), (1, 1), (2, 0)]}
    assert worlds[1, 1] == played(short(worlds="train", worlds_key=[np.int64(1), 1]), seeds)
    assert worlds[1] == played(hub_network_v0.raw_env(scenario="pocket", worlds="train", worlds_key=1), seeds)
    for found in worlds.values():
        assert found[:2] == found[3:5], "a seed begins the same worlds again"
        assert len(set(found)) == 5
    assert len({seed for found in worlds.values() for seed in found}) == 20, "keys have no worlds in common"
    never_seeded = [played(short(worlds="train", worlds_key=7), [None] * 4) for _ in range(2)]
    assert never_seeded[0] == never_seeded[1]
    assert len(set(never_seeded[0])) == 4


def test_a_batch_goes_on_to_worlds_of_the_set_by_itself():
    def seeds_of(batch, days=5):
        batch.reset(seed=42)
        found = [batch.seeds]
        actions = {role: np.zeros(space.shape, np.int64) for role, space in batch.action_space.items()}
        for _ in range(days * batch.scenario.episode_d):
            truncated = batch.step(actions)[3]
            if truncated.any():
                found.append(batch.seeds)
        return np.array(found)

    kind = {"scenario": "pocket", "num_envs": 3, "worlds": "train", "worlds_key": (1, 2)}
    one = seeds_of(HubNetworkVector(**kind, threads=2), days=2)
    assert (one == seeds_of(HubNetworkVector(**kind), days=2)).all()
    assert len(np.unique(one)) == 9
    assert {space_of(int(seed)) for seed in one.ravel()} == {"train"}
    assert len(np.unique(seeds_of(HubNetworkVector("pocket", num_envs=3, worlds="train"), days=1))) == 6

    # a world that a copy was led to is the world of its seed
    batch, alone = HubNetworkVector(**kind), HubNetworkVector("pocket", num_envs=3)
    seeds_of(batch, days=1)
    alone.reset(seed=batch.seeds)
    assert (alone.state() == batch.state()).all()
    assert all((alone.last_shown()[1][role] == batch.last_shown()[1][role]).all() for role in batch.roles)
    assert (alone.ledger == batch.ledger).all()

    # and what was saved goes on to the same worlds
    saved, follow = batch.save_state(), []
    for _ in range(2):
        batch.load_state(saved)
        batch.reset()
        follow.append(batch.seeds.tolist())
    assert follow[0] == follow[1]
    with pytest.raises(ValueError, match=r"does not fit this batch: worlds\."):
        batch.load_state(alone.save_state())


def test_a_changed_length_goes_on_in_the_same_worlds():
    kind = {"worlds": "train", "worlds_key": 3}
    expected = played(short(**kind), [1, None, None])
    env = short(**kind)
    found = played(env, [1])
    env.max_cycles = 3
    assert found + played(env, [None, None]) == expected


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"worlds": "training"}, "unknown seed space 'training': use one of user, train"),
        ({"worlds": []}, "the list of seeds is empty"),
        ({"worlds": [1, 2.5]}, "worlds: seed 2.5 is no integer"),
        ({"worlds": [-1]}, "worlds: seed -1: must be from 0"),
        ({"worlds": 5}, "worlds: seeds 5: must be a sequence .* or name one of user, train"),
        ({"worlds": "train", "worlds_key": "a"}, "worlds_key: seed 'a' is no integer"),
        ({"worlds": "train", "worlds_key": (1, 2.0)}, "worlds_key: seed 2.0 is no integer"),
        ({"worlds_key": 1}, "worlds_key 1 without worlds"),
    ],
)
def test_wrong_worlds_are_refused(wrong, says):
    with pytest.raises(ValueError, match=says):
        short(**wrong)
    with pytest.raises(ValueError, match=says):
        CentralControlEnv("pocket", **wrong)


def test_pettingzoos_tests_hold_with_worlds():
    make = partial(short, worlds="train", worlds_key=(1, 2))
    parallel_api_test(make(), num_cycles=20)
    parallel_seed_test(make, num_cycles=20)
    api_test(hub_network_v0.env(scenario="pocket", max_cycles=4, worlds="train"), num_cycles=20)


# --- copies and processes


@pytest.mark.parametrize("how", COPY)
@pytest.mark.parametrize("make", [hub_network_v0.parallel_env, hub_network_v0.raw_env, hub_network_v0.env])
@pytest.mark.parametrize("options", [{}, {"worlds": "train"}, {"worlds": "train", "worlds_key": (1, 2)}])
def test_copies_go_on_to_worlds_of_their_own(make, how, options):
    env = make(scenario="pocket", max_cycles=3, **options)
    env.reset(seed=seed_of("train", 7))
    here = world(env)
    copies = [COPY[how](env) for _ in range(6)]
    copies.append(COPY[how](copies[0]))
    assert {world(one) for one in copies} == {here}, "this episode goes on"
    for one in [env, *copies]:
        one.reset()
    found = [world(one) for one in [env, *copies]]
    assert len({here, *found}) == 9
    assert {space_of(seed) for seed in found} == {"train"}
    if not options:
        twin = copies[0]
        twin.reset(seed=9)
        env.reset(seed=9)
        assert world(twin) == world(env) == 9
        twin.reset()
        env.reset()
        assert world(twin) == world(env), "a seed begins the same stream in a copy"


@pytest.mark.parametrize("how", COPY)
def test_the_copies_of_a_batch_go_on_to_worlds_of_their_own(how):
    batch = HubNetworkVector("pocket", num_envs=2)
    batch.reset(seed=3)
    actions = {role: np.zeros(space.shape, np.int64) for role, space in batch.action_space.items()}
    for _ in range(batch.scenario.episode_d - 1):
        batch.step(actions)
    saved = batch.save_state()
    batches = [batch, *(COPY[how](batch) for _ in range(3))]
    finals = [{role: seen.copy() for role, seen in one.step(actions)[4]["final_obs"].items()} for one in batches]
    assert all((final["hub"] == finals[0]["hub"]).all() for final in finals)
    assert len({int(seed) for one in batches for seed in one.seeds}) == 8
    # each plays the world of its seed, and one that a saved state is loaded into goes on exactly
    alone = HubNetworkVector("pocket", num_envs=2)
    alone.reset(seed=batches[1].seeds)
    assert (alone.state() == batches[1].state()).all()
    batches[2].load_state(saved)
    batches[2].step(actions)
    assert (batches[2].seeds == batch.seeds).all()


def _worlds_of_worker(env, queue):
    queue.put(played(env, [42, None]))


@pytest.mark.slow
@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_workers_given_the_same_seed_play_different_worlds(start):
    """As RLlib does, which gives 42 to every environment it makes."""
    context = multiprocessing.get_context(start)
    env = short(worlds="train")
    env.reset(seed=42)
    queue = context.Queue()
    workers = [context.Process(target=_worlds_of_worker, args=(env, queue)) for _ in range(2)]
    for worker in workers:
        worker.start()
    found = [queue.get(timeout=300) for _ in workers]
    for worker in workers:
        worker.join()
    seeds = {seed for worlds in found for seed in worlds}
    assert len(seeds) == 4
    assert {space_of(seed) for seed in seeds} == {"train"}
    assert os.getpid() != workers[0].pid
