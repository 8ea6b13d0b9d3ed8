"""One seed, one trajectory: alone, in a batch of any size, on any number of threads, any interface (model §2)."""

import copy
import pickle

import numpy as np
import pytest

from fabmesh.envs import hub_network_v0
from fabmesh.envs.network.compiler.rng import next_seed
from fabmesh.envs.network.loading import load_scenario
from fabmesh.envs.testing import random_actions
from fabmesh.envs.vector import HubNetworkVector

WATCHED = 7  # the seed whose world is compared
# Half a year of the large batch would take long: a part of it, and the whole episode of the small ones.
DAYS = {"pocket": 60, "rotterdam": 180, "benelux": 180}
LARGE_BATCH_DAYS = {"pocket": 63, "rotterdam": 60, "benelux": 15}
BATCHES = [(1, 1, 0), (7, 1, 3), (7, 2, 6), (256, 1, 255), (256, 2, 0), (256, 2, 129)]  # copies, threads, place


class Script:
    """Actions for every day of one world, the same however it is stepped; the levels are legal in that world."""

    def __init__(self, scenario, days):
        self.scenario = load_scenario(scenario)
        self.days = days
        batch = HubNetworkVector(self.scenario, num_envs=1)
        rng = np.random.default_rng(5)
        _, info = batch.reset(seed=[WATCHED])
        self.actions = []
        for _ in range(days):
            self.actions.append(random_actions(batch, info["action_mask"], rng))
            info = batch.step(self.actions[-1])[4]
        self.expected = self.play(1, 1, 0)

    def play(self, copies, threads, place, days=None):
        """What copy `place` of a batch of other worlds, played otherwise, returns on every day of the script."""
        batch = HubNetworkVector(self.scenario, num_envs=copies, threads=threads)
        seeds = np.arange(1000, 1000 + copies)
        seeds[place] = WATCHED
        observed, info = batch.reset(seed=seeds)
        rng = np.random.default_rng(copies)
        days_played = [self.record(batch, place, observed, info)]
        others = {role: rng.integers(0, space.nvec, space.shape) for role, space in batch.action_space.items()}
        for day in range(days or self.days):
            for role in batch.roles:
                others[role] = np.roll(others[role], 1, axis=0)
                others[role][place] = self.actions[day][role][0]
            observed, reward, _, truncated, info = batch.step(others)
            days_played.append(self.record(batch, place, observed, info, reward, truncated))
        batch.close()
        return days_played

    @staticmethod
    def record(batch, place, observed, info, reward=None, truncated=None):
        """Copies of everything that is returned for one copy on one day."""
        entry = {"state": batch.state()[place], "cost": info["cost"][place], "seed": batch.seeds[place]}
        entry |= {"ledger": batch.ledger[place], "events": batch.events[place]}
        for role in batch.roles:
            entry[f"obs {role}"] = observed[role][place]
            entry[f"mask {role}"] = info["action_mask"][role][place]
            if reward is not None:
                entry[f"reward {role}"] = reward[role][place]
        if truncated is not None and truncated[place]:
            for key in ("final_state", "final_ledger", "final_events", "settlement", "standard_cost"):
                entry[key] = info[key][place]
            for role in batch.roles:
                entry[f"final obs {role}"] = info["final_obs"][role][place]
        return {key: np.array(value) for key, value in entry.items()}


@pytest.fixture(scope="module")
def scripts():
    made = {}

    def script(scenario):
        if scenario not in made:
            made[scenario] = Script(scenario, DAYS[scenario] + 3)  # three days into the next world
        return made[scenario]

    return script


def assert_same(one, other):
    """Equal bit for bit on every day."""
    assert len(one) == len(other)
    for day, (left, right) in enumerate(zip(one, other, strict=True)):
        assert left.keys() == right.keys(), f"day {day}"
        for key in left:
            assert left[key].dtype == right[key].dtype
            assert left[key].tobytes() == right[key].tobytes(), f"{key} differs on day {day}"


@pytest.mark.parametrize("scenario", DAYS)
@pytest.mark.parametrize(("copies", "threads", "place"), BATCHES)
def test_a_trajectory_is_equal_bit_for_bit_in_any_batch(scripts, scenario, copies, threads, place):
    script = scripts(scenario)
    days = script.days if copies < 100 else LARGE_BATCH_DAYS[scenario]
    assert_same(script.play(copies, threads, place, days), script.expected[: days + 1])


@pytest.mark.parametrize("scenario", DAYS)
def test_the_trajectory_is_no_constant(scripts, scenario):
    days = scripts(scenario).expected
    assert len({day["state"].tobytes() for day in days}) == len(days)
    assert len({float(day["cost"]) for day in days}) > len(days) - 2


@pytest.mark.parametrize("scenario", DAYS)
def test_the_pettingzoo_view_shows_the_same_trajectory(scripts, scenario):
    script = scripts(scenario)
    env = hub_network_v0.parallel_env(scenario=scenario)
    observations, infos = env.reset(seed=WATCHED)
    batch = env.batch
    for day in range(script.scenario.episode_d):
        expected = script.expected[day]
        assert env.state().tobytes() == expected["state"].tobytes()
        actions = {}
        for role in batch.roles:
            for i, agent in enumerate(batch.agents[role]):
                assert observations[agent].tobytes() == expected[f"obs {role}"][i].tobytes()
                assert infos[agent]["action_mask"].tobytes() == expected[f"mask {role}"][i].tobytes()
                actions[agent] = script.actions[day][role][0, i]
        observations, rewards, _, truncations, infos = env.step(actions)
        following = script.expected[day + 1]
        for role in batch.roles:
            for i, agent in enumerate(batch.agents[role]):
                assert np.float32(rewards[agent]) == following[f"reward {role}"][i]
                assert infos[agent]["cost"] == following["cost"]
    final = script.expected[script.scenario.episode_d]
    assert all(truncations.values())
    assert batch.ledger[0].tobytes() == final["final_ledger"].tobytes()
    assert all(info["settlement"] == final["settlement"] for info in infos.values())
    for role in batch.roles:
        for i, agent in enumerate(batch.agents[role]):
            assert observations[agent].tobytes() == final[f"final obs {role}"][i].tobytes()


@pytest.mark.parametrize("scenario", DAYS)
def test_autoreset_goes_on_to_the_world_of_the_next_seed(scripts, scenario):
    script = scripts(scenario)
    end = script.scenario.episode_d
    following = int(next_seed(np.uint64(WATCHED)))
    assert int(script.expected[end]["seed"]) == following
    batch = HubNetworkVector(script.scenario, num_envs=1)
    observed, info = batch.reset(seed=[following])
    fresh = [Script.record(batch, 0, observed, info)]
    for day in range(end, script.days):
        observed, reward, _, truncated, info = batch.step(script.actions[day])
        fresh.append(Script.record(batch, 0, observed, info, reward, truncated))
    continued = [dict(day) for day in script.expected[end:]]
    for key in [key for key in continued[0] if key not in fresh[0]]:
        del continued[0][key]  # what the last day of the old world said
    continued[0]["cost"] = fresh[0]["cost"]
    assert_same(continued, fresh)


def test_copies_with_one_seed_share_a_world_also_after_the_end():
    batch = HubNetworkVector("pocket", num_envs=3)
    batch.reset(seed=[4, 4, 5])
    nothing = {role: np.zeros(space.shape, int) for role, space in batch.action_space.items()}
    for _ in range(62):
        observed, *_ = batch.step(nothing)
        for role in batch.roles:
            assert (observed[role][0] == observed[role][1]).all()
            assert (observed[role][0] != observed[role][2]).any()
    assert batch.seeds[0] == batch.seeds[1] != batch.seeds[2]


def test_reset_without_a_seed_goes_on_as_autoreset_does():
    batch = HubNetworkVector("pocket", num_envs=2)
    batch.reset(seed=[3, 2**56 + 3])
    batch.reset()
    assert batch.seeds.tolist() == [int(next_seed(np.uint64(seed))) for seed in (3, 2**56 + 3)]


@pytest.mark.parametrize(("scenario", "days"), [("pocket", 60), ("rotterdam", 30), ("benelux", 10)])
def test_a_saved_state_goes_on_exactly(scenario, days):
    batch = HubNetworkVector(scenario, num_envs=5, threads=2)
    rng = np.random.default_rng(1)
    _, info = batch.reset(seed=3)
    for _ in range(days // 2):
        info = batch.step(random_actions(batch, info["action_mask"], rng))[4]
    saved = batch.save_state()
    script, first = [], []
    for _ in range(days // 2 + 2):
        script.append(random_actions(batch, info["action_mask"], rng))
        observed, reward, _, truncated, info = batch.step(script[-1])
        first.append([Script.record(batch, i, observed, info, reward, truncated) for i in range(5)])
    elsewhere = HubNetworkVector(scenario, num_envs=5)
    elsewhere.reset(seed=99)
    for target in (batch, elsewhere):
        target.load_state(saved)
        for actions, expected in zip(script, first, strict=True):
            observed, reward, _, truncated, info = target.step(actions)
            assert_same([Script.record(target, i, observed, info, reward, truncated) for i in range(5)], expected)


COPIES = {"deepcopy": copy.deepcopy, "copy": copy.copy, "pickle": lambda env: pickle.loads(pickle.dumps(env))}


@pytest.mark.parametrize("how", COPIES)
def test_a_copy_of_a_batch_steps_worlds_of_its_own(how):
    batch = HubNetworkVector("pocket", num_envs=3, threads=2, audit=True, mask_in_obs=True)
    rng = np.random.default_rng(1)
    _, info = batch.reset(seed=3)
    for _ in range(5):
        info = batch.step(random_actions(batch, info["action_mask"], rng))[4]
    twin = COPIES[how](batch)
    actions = random_actions(batch, info["action_mask"], rng)
    rewards = {}
    for name, one in (("twin", twin), ("batch", batch)):  # the twin first: the other must not have moved
        rewards[name] = {role: reward.copy() for role, reward in one.step(actions)[1].items()}
    assert all((rewards["twin"][role] == rewards["batch"][role]).all() for role in batch.roles)
    assert (twin.events == batch.events).all()
    assert (twin.seeds == batch.seeds).all()
    fresh = COPIES[how](HubNetworkVector("pocket"))
    with pytest.raises(RuntimeError, match="call reset"):
        fresh.step(actions)


@pytest.mark.parametrize("how", ["deepcopy", "pickle"])
@pytest.mark.parametrize("make", [hub_network_v0.parallel_env, hub_network_v0.raw_env])
def test_a_copy_of_an_environment_plays_a_world_of_its_own(make, how):
    env = make(scenario="pocket", max_cycles=12)
    parallel = isinstance(env, hub_network_v0.parallel_env)
    env.reset(seed=3)

    def day(one, infos):
        """One day of actions drawn from the environment's own spaces, as its rewards and what it shows then."""
        actions = {a: one.action_space(a).sample(infos[a]["action_mask"]) for a in one.agents}
        if parallel:
            observations, rewards, _, _, infos = one.step(actions)
            return [observations[a].tobytes() for a in actions], list(rewards.values()), infos
        for agent in list(one.agents):
            one.step(actions[agent])
        return [one.observe(a).tobytes() for a in actions], list(one.rewards.values()), one.infos

    infos = env.reset(seed=3)[1] if parallel else env.infos
    for agent in env.agents:
        env.action_space(agent).seed(1)
    for _ in range(4):
        infos = day(env, infos)[2]
    twin = COPIES[how](env)
    theirs = infos if parallel else twin.infos
    for _ in range(8):
        *seen_by_twin, theirs = day(twin, theirs)
        twin_state = twin.state()
        *seen, infos = day(env, infos)
        assert seen_by_twin == seen
        assert (twin_state == env.state()).all()
    assert (twin.agents == env.agents == []) or not parallel
    env.reset(seed=4)
    assert (twin.state() == twin_state).all()
    twin.reset(seed=4)
    assert (twin.state() == env.state()).all(), "a seed is a world, in a copy too"


class Subclass(hub_network_v0.parallel_env):
    """A user's own: another constructor, attributes before and after the environment's."""

    def __init__(self, note):
        self.note = [note]
        super().__init__(scenario="pocket", max_cycles=5)
        self.count = np.arange(3)


class TurnSubclass(hub_network_v0.raw_env):
    """The same of the turn-based form."""

    def __init__(self, note):
        super().__init__(scenario="pocket", max_cycles=5)
        self.note, self.count = [note], np.arange(3)


class BatchSubclass(HubNetworkVector):
    """The same of a batch."""

    def __init__(self, note):
        self.note = [note]
        super().__init__("pocket", num_envs=2, threads=2)
        self.count = np.arange(3)


@pytest.mark.parametrize("started", [False, True])
@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("make", [Subclass, TurnSubclass, BatchSubclass])
def test_a_copy_keeps_what_a_user_added(make, how, started):
    one = make("mine")
    one.later = {"a": 1}
    if started:
        one.reset(seed=3)
    twin = COPIES[how](one)
    assert type(twin) is make
    assert (twin.note, twin.later, twin.count.tolist()) == (["mine"], {"a": 1}, [0, 1, 2])
    assert (twin.note is one.note) == (how == "copy")
    if started:
        assert (twin.state() == one.state()).all()
    twin.reset(seed=8)
    one.reset(seed=8)
    assert (twin.state() == one.state()).all()


def test_the_spaces_of_a_batch_keep_their_seeds_in_a_copy():
    batch = HubNetworkVector("pocket", num_envs=2)
    batch.action_space.seed(5)
    twin = copy.deepcopy(batch)
    drawn, again = batch.action_space.sample(), twin.action_space.sample()
    assert all((drawn[role] == again[role]).all() for role in batch.roles)


def test_a_state_that_does_not_fit_is_refused_and_changes_nothing():
    batch, larger = HubNetworkVector("pocket", num_envs=1), HubNetworkVector("pocket", num_envs=2)
    batch.reset(seed=1)
    larger.reset(seed=2)
    before = batch.save_state()
    with pytest.raises(ValueError, match="does not fit"):
        batch.load_state(larger.save_state())
    after = batch.save_state()
    assert all((before[name] == after[name]).all() for name in before)
