"""The primitives are uniform, independent and named: what common random numbers stand on (model §2)."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from fabmesh.envs.errors import FabmeshError
from fabmesh.envs.network.compiler import rng
from fabmesh.envs.network.compiler.rng import (
    SPACES,
    binomial_quantile,
    combine,
    day_key,
    mix,
    name_key,
    negative_binomial_quantile,
    next_seed,
    normal,
    poisson_quantile,
    seed_of,
    uniform,
)
from fabmesh.envs.network.loading import load_scenario
from fabmesh.envs.network.schema.scenario import Depot, Hub, Town
from fabmesh.envs.network.schema.sizes import MOST_UNITS
from fabmesh.envs.vector import HubNetworkVector

STREAMS = {name: getattr(rng, name) for name in vars(rng) if name.startswith("STREAM_")}
ALPHA = 1e-4  # the draws are fixed, so a test that passes once passes always
N = 4000


def key_of(seed, stream, day):
    """A day's key; a compiled function gives Python's int back, which the next one would take for a signed one."""
    return np.uint64(day_key(np.uint64(seed), np.uint64(stream), day))


def uniforms(seeds=(7,), streams=(2,), days=(0,), names=("x",)):
    """Primitives over a grid of keys, in the order of the arguments."""
    keys = [np.uint64(name_key(name)) for name in names]
    return np.array(
        [
            uniform(key_of(seed, stream, day), key)
            for seed in seeds
            for stream in streams
            for day in days
            for key in keys
        ]
    )


ALONG = {
    "days": {"days": range(N)},
    "seeds": {"seeds": range(N)},
    "names": {"names": [f"town {i}" for i in range(N)]},
    "spaces": {"seeds": [seed_of(space, i) for space in SPACES for i in range(N // 5)]},
}


@pytest.mark.parametrize("along", ALONG)
def test_primitives_are_uniform_and_not_autocorrelated(along):
    u = uniforms(**ALONG[along])
    assert ((u > 0) & (u < 1)).all()
    assert stats.kstest(u, "uniform").pvalue > ALPHA
    for lag in (1, 2, 5):
        assert abs(np.corrcoef(u[:-lag], u[lag:])[0, 1]) < 4 / np.sqrt(len(u))
    pairs, _, _ = np.histogram2d(u[:-1], u[1:], bins=8, range=((0, 1), (0, 1)))
    assert stats.chisquare(pairs.ravel()).pvalue > ALPHA


@pytest.mark.parametrize("name", STREAMS)
def test_streams_days_and_names_are_independent_of_one_another(name):
    days = range(-20, N // 2)  # news before the episode have negative days
    u = uniforms(streams=[STREAMS[name]], days=days)
    assert stats.kstest(u, "uniform").pvalue > ALPHA
    others = [uniforms(streams=[stream], days=days) for key, stream in STREAMS.items() if key != name]
    others += [
        uniforms(streams=[STREAMS[name]], days=range(-19, N // 2 + 1)),
        uniforms(streams=[STREAMS[name]], days=days, names=["y"]),
        uniforms(seeds=[8], streams=[STREAMS[name]], days=days),
    ]
    for other in others:
        assert abs(np.corrcoef(u, other)[0, 1]) < 4.5 / np.sqrt(len(u))


def test_streams_have_numbers_of_their_own():
    assert len({int(stream) for stream in STREAMS.values()}) == len(STREAMS)


def test_mix_is_a_bijection_with_avalanche():
    rng_ = np.random.default_rng(0)
    flips = []
    for x in rng_.integers(0, 2**64, 300, dtype=np.uint64):
        bit = np.uint64(1) << np.uint64(rng_.integers(64))
        flips.append((mix(x) ^ mix(x ^ bit)).bit_count())
    assert abs(np.mean(flips) - 32) < 4 * 4 / np.sqrt(300)  # each of 64 bits flips with probability one half
    small = [int(mix(np.uint64(i))) for i in range(5000)]
    assert len(set(small)) == len(small)


def test_keys_of_pairs_tell_order_and_names_apart():
    a, b = np.uint64(name_key("a")), np.uint64(name_key("b"))
    assert combine(a, b) != combine(b, a)
    assert name_key("a", "b") != name_key("ab") != name_key("b", "a")
    assert name_key("Delft") == name_key("Delft")


def test_normals_have_the_moments_of_the_standard_normal():
    key = np.uint64(name_key("x"))
    z = np.array([normal(key_of(3, 9, day), key) for day in range(3 * N)])
    assert stats.kstest(z, "norm").pvalue > ALPHA
    error = 4 / np.sqrt(len(z))
    assert abs(z.mean()) < error
    assert abs(z.var() - 1) < error * np.sqrt(2)
    assert abs(stats.skew(z)) < error * np.sqrt(6)
    assert abs(stats.kurtosis(z)) < error * np.sqrt(24)
    assert abs(np.corrcoef(z[:-1], z[1:])[0, 1]) < error


# --- quantile functions against SciPy. Next to a step of the distribution rounding may decide, so steps are avoided.

UNIT = st.floats(1e-9, 1 - 1e-9)


def assert_quantile(k, u, distribution):
    assert distribution.cdf(k) >= u - 1e-11
    assert k == 0 or distribution.cdf(k - 1) < u + 1e-11


@given(UNIT, st.floats(1e-6, 400))
def test_poisson_quantile(u, mean):
    assert_quantile(poisson_quantile(u, mean), u, stats.poisson(mean))


@given(UNIT, st.floats(1e-4, 300), st.floats(1.01, 20))
def test_negative_binomial_quantile(u, mean, dispersion):
    distribution = stats.nbinom(mean / (dispersion - 1), 1 / dispersion)
    assert distribution.mean() == pytest.approx(mean)
    assert distribution.var() == pytest.approx(mean * dispersion)
    assert_quantile(negative_binomial_quantile(u, mean, dispersion, math.log(dispersion)), u, distribution)


@given(UNIT, st.integers(0, 400), st.floats(0.0, 0.6))
def test_binomial_quantile(u, n, rate):
    k = binomial_quantile(u, n, rate)
    assert 0 <= k <= n
    assert_quantile(k, u, stats.binom(n, rate))


FAR = st.one_of(UNIT, st.sampled_from([2.0**-54, 1e-15, 1.0 - 1e-12, 1.0 - 2.0**-53]))


def near_the_mean(k, distribution):
    """Within ten standard deviations, and forty times the scale of the tail: farther away there is no draw."""
    mean, variance = distribution.stats("mv")
    return abs(k - mean) <= 10 * math.sqrt(variance) + 40 * max(variance / mean, 1.0)


@given(FAR, st.floats(400, 10_000))
def test_poisson_quantile_of_large_means(u, mean):
    k = poisson_quantile(u, mean)
    assert near_the_mean(k, stats.poisson(mean))
    assert_quantile(k, u, stats.poisson(mean))


def test_a_poisson_mean_beyond_the_doubles_does_not_collapse():
    """exp(-700) is near the least double; draws of larger means were 1."""
    medians = [poisson_quantile(0.5, mean) for mean in (600.0, 690.0, 697.0, 700.0, 1000.0, 5000.0)]
    assert medians == [600, 690, 697, 700, 1000, 5000]


@given(FAR, st.floats(100, 5_000), st.floats(1.001, 200))
def test_negative_binomial_quantile_of_large_means(u, mean, dispersion):
    distribution = stats.nbinom(mean / (dispersion - 1), 1 / dispersion)
    k = negative_binomial_quantile(u, mean, dispersion, math.log(dispersion))
    assert near_the_mean(k, distribution)
    assert distribution.cdf(k) >= u - 1e-9
    assert k == 0 or distribution.cdf(k - 1) < u + 1e-9


def test_no_draw_is_more_than_an_order_holds():
    u = 1.0 - 2.0**-53
    assert negative_binomial_quantile(u, 5000.0, 1000.0, math.log(1000.0)) <= MOST_UNITS
    assert negative_binomial_quantile(u, 1e6, 2.0, math.log(2.0)) == MOST_UNITS
    assert poisson_quantile(u, 1e6) == MOST_UNITS


@given(FAR, st.integers(1, 10**6), st.floats(0.001, 1.0))
def test_binomial_quantile_of_many_trials(u, n, rate):
    k = binomial_quantile(u, n, rate)
    assert 0 <= k <= n
    assert_quantile(k, u, stats.binom(n, rate))


@given(UNIT, st.floats(0.001, 0.6))
def test_binomial_quantile_rises_by_none_or_one_with_each_trial(u, rate):
    steps = np.diff([binomial_quantile(u, n, rate) for n in range(150)])
    assert set(steps.tolist()) <= {0, 1}


def test_negative_binomial_draws_have_the_asked_dispersion():
    u = uniforms(days=range(N))
    draws = np.array([negative_binomial_quantile(x, 5.0, 2.0, math.log(2.0)) for x in u])
    assert draws.mean() == pytest.approx(5.0, rel=0.03)
    assert draws.var() == pytest.approx(10.0, rel=0.08)


# --- seeds


@given(st.sampled_from(list(SPACES)), st.integers(0, 2**56 - 1))
def test_next_seed_stays_in_the_space(space, index):
    seed = seed_of(space, index)
    for _ in range(3):
        assert seed >> 56 == SPACES[space]
        following = int(next_seed(np.uint64(seed)))
        assert following != seed
        seed = following


def test_seed_spaces_are_disjoint_and_streams_of_episodes_do_not_meet():
    assert len(set(SPACES.values())) == len(SPACES)
    assert seed_of("user", 12) == 12  # plain small integers
    assert len({seed_of(space, index) for space in SPACES for index in range(1000)}) == 5000
    seen = set()
    for index in range(50):
        seed = np.uint64(seed_of("train", index))
        for _ in range(100):
            seen.add(int(seed))
            seed = np.uint64(next_seed(seed))
    assert len(seen) == 5000


@pytest.mark.parametrize(("space", "index"), [("exam", 0), ("train", -1), ("train", 2**56)])
def test_a_seed_that_is_none_is_refused(space, index):
    with pytest.raises(FabmeshError, match=space):
        seed_of(space, index)


# --- names, not indices


def lots_by_name(batch):
    """The lots posted today by what names them: (town, row) -> (units, price)."""
    scenario, arrays = batch.scenario, batch.arrays
    lots = arrays.lot[0, : arrays.clock["lots"][0]]
    new = lots[lots["announced"] == batch.day[0]]
    return {
        (scenario.towns[lot["town"]].name, int(lot["row"])): (int(lot["units"]), float(lot["price"])) for lot in new
    }


def idle_days(scenario, days):
    """Lots, tenders and revisions of the first days when nobody does anything."""
    batch = HubNetworkVector(scenario)
    batch.reset(seed=11)
    nothing = {role: np.zeros(batch.action_space[role].shape, int) for role in batch.roles}
    lots, outages, tenders = [], [], []
    for day in range(days):
        arrays = batch.arrays
        lots.append(lots_by_name(batch))
        outages.append({hub.town: int(arrays.hub["down_until"][0, i]) > day for i, hub in enumerate(scenario.hubs)})
        posted = arrays.tender[0, : arrays.clock["tenders"][0]]
        posted = posted[posted["announced"] == day]
        tenders.append(
            {(scenario.towns[t["town"]].name, int(t["key"])): (int(t["units"]), float(t["price"])) for t in posted}
        )
        batch.step(nothing)
    return lots, outages, tenders


def test_a_town_and_its_hub_put_first_leave_the_others_world_as_it_was():
    base = load_scenario("pocket")
    base = dataclasses.replace(base, disruptions=dataclasses.replace(base.disruptions, hub_outage_year=20.0))
    more = dataclasses.replace(
        base,
        towns=(Town("Gouda", 52.0115, 4.7105, 75_000), *base.towns),
        hubs=(Hub("Gouda", {"FDM": 1, "CNC": 1, "laser": 1}, 1), *base.hubs),
        depots=(Depot("Zoetermeer", 52.0575, 4.4931), *base.depots),
    )
    before, after = idle_days(base, 40), idle_days(more, 40)
    towns = {town.name for town in base.towns}
    assert sum(len(day) for day in before[0]) > 100
    assert any(any(day.values()) for day in before[1])
    assert any(before[2])
    for day in range(40):
        for kind in (0, 2):
            assert {key: value for key, value in after[kind][day].items() if key[0] in towns} == before[kind][day]
        assert {town: down for town, down in after[1][day].items() if town in towns} == before[1][day]
    assert any(key[0] == "Gouda" for day in after[0] for key in day)


@pytest.mark.parametrize(("n", "rate"), [(400, 0.9), (3_000, 0.3), (900, 0.99)])
def test_binomial_quantile_where_the_chance_of_none_underflows(n, rate):
    for u in (0.001, 0.2, 0.5, 0.9, 0.999):
        got = [rng.binomial_quantile(u, m, rate) for m in range(n - 120, n + 1)]
        assert got[-1] == int(stats.binom.ppf(u, n, rate))
        assert set(np.diff(got)) <= {0, 1}
