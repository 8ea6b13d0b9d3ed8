"""Aggregates, intervals and paired differences, against enumeration, tables, and simulated truths."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from fabmesh.agents.evaluation.statistics import (
    compare,
    estimate,
    estimates,
    interquartile_mean,
    summarise,
    tail_mean,
)


def test_mean_and_interval_of_a_case_known_by_enumeration():
    # Three values have 27 equally likely resamples, whose means a percentile interval is read from; BCa only shifts
    # the percentiles, so both ends are among these means, and the mean is inside.
    values = np.array([1.0, 2.0, 6.0])
    means = sorted({sum(draw) / 3 for draw in itertools.product(values, repeat=3)})
    got = estimate(values)
    assert got.mean == pytest.approx(3.0)
    assert min(means) <= got.low < got.mean < got.high <= max(means)
    assert estimate(values) == got


def test_interval_of_many_normal_values_is_that_of_the_t_table():
    values = np.random.default_rng(3).normal(10.0, 2.0, size=2_000)
    got = estimate(values)
    half = 1.9611 * values.std(ddof=1) / np.sqrt(len(values))  # t quantile of .975 at 1,999 degrees of freedom
    assert got.low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert got.high == pytest.approx(values.mean() + half, abs=0.1 * half)


REPETITIONS = 200
COVERED = (180, 199)  # .95 +- 3 standard deviations, and the known small lack of bootstrap intervals


def test_interval_covers_the_truth_in_about_95_percent_of_200_repetitions():
    rng = np.random.default_rng(11)
    truth = np.exp(0.5 * 0.5**2)  # mean of a lognormal: skewed as costs are
    covered = 0
    for _ in range(REPETITIONS):
        got = estimate(np.exp(0.5 * rng.standard_normal(64)), resamples=1_999)
        covered += got.low <= truth <= got.high
    assert COVERED[0] <= covered <= COVERED[1]


def test_paired_interval_covers_the_truth_in_about_95_percent_of_200_repetitions():
    """Worlds differ far more than policies do, and the difference is skewed and grows with the world's cost."""
    rng = np.random.default_rng(23)
    truth = -3.0 * np.exp(0.5 * 0.3**2)  # mean of what the better policy saves
    covered = apart = 0
    for _ in range(REPETITIONS):
        world = np.exp(0.3 * rng.standard_normal(64))
        b = 100.0 * world + rng.normal(0.0, 1.0, 64)
        a = b - 3.0 * world + rng.normal(0.0, 2.0, 64)
        got = compare(a, b).difference
        covered += got.low <= truth <= got.high
        apart += estimate(a, resamples=999).high < estimate(b, resamples=999).low
    assert COVERED[0] <= covered <= COVERED[1]
    assert apart < 20  # the separate intervals hardly ever tell them apart


def test_interval_over_runs_and_worlds_covers_both():
    """Ten runs on the same worlds: what runs, worlds and their interplay add is covered; worlds alone are not it."""
    rng = np.random.default_rng(5)
    covered = alone = 0
    for _ in range(REPETITIONS):
        runs, worlds = rng.normal(0.0, 1.0, (10, 1)), rng.normal(0.0, 2.0, (1, 64))
        table = 50.0 + runs + worlds + rng.normal(0.0, 1.0, (10, 64))
        got = estimate(table, resamples=999)
        covered += got.low <= 50.0 <= got.high
        only_worlds = estimate(table.mean(axis=0), resamples=999)
        alone += only_worlds.low <= 50.0 <= only_worlds.high
    assert 170 <= covered <= 199  # a bootstrap of ten runs is a little short, as the module says
    assert alone < 170


def test_interval_of_a_difference_between_algorithms_of_several_runs():
    rng = np.random.default_rng(6)
    worlds = rng.normal(0.0, 10.0, (1, 64))
    a = 100.0 + worlds + rng.normal(0.0, 1.0, (8, 1)) + rng.normal(0.0, 0.5, (8, 64))
    b = 103.0 + worlds + rng.normal(0.0, 1.0, (6, 1)) + rng.normal(0.0, 0.5, (6, 64))
    got = compare(a, b)
    assert got.difference.mean == pytest.approx(a.mean() - b.mean())
    assert got.difference.high < 0.0
    # runs of both count: sqrt(1 / 8 + 1 / 6) standard deviations of 1, and hardly anything from the worlds
    width = got.difference.high - got.difference.low
    assert width == pytest.approx(2 * 1.96 * np.sqrt(1 / 8 + 1 / 6), rel=0.35)
    one = compare(a, b[0])
    assert one.difference.mean == pytest.approx(a.mean() - b[0].mean())
    assert np.isfinite([one.difference.low, one.difference.high]).all()
    back = compare(b, a)
    assert back.difference.mean == pytest.approx(-got.difference.mean)
    assert back.share_won == pytest.approx(1.0 - got.share_won)


def test_aggregates_by_hand():
    values = np.arange(1.0, 41.0)
    np.random.default_rng(0).shuffle(values)
    got = summarise(values, "lower")
    assert got.mean.mean == pytest.approx(20.5)
    assert got.median == pytest.approx(20.5)
    assert got.iqm == pytest.approx(20.5)  # of 11 .. 30
    assert got.cvar95 == pytest.approx(39.5)  # of 39 and 40
    assert summarise(values, "higher").cvar95 == pytest.approx(1.5)
    assert np.isnan(summarise(values, "neither").cvar95)
    values[values == 40.0] = 1e6
    assert summarise(values).iqm == pytest.approx(20.5)  # an outlier does not move it
    table = np.array([[1.0, 2.0], [3.0, 8.0]])
    assert summarise(table).run_means == (1.5, 5.5)
    assert summarise(table).mean.mean == pytest.approx(3.5)


def test_tail_mean_of_a_fraction_of_a_value():
    values = np.array([10.0, 7.0, 5.0] + [0.0] * 47)  # 5 % of 50 are 2.5 values
    assert tail_mean(values) == pytest.approx((10 + 7 + 0.5 * 5) / 2.5)
    assert tail_mean(np.array([3.0, 9.0, 4.0])) == 9.0
    assert tail_mean(np.array([[3.0, 9.0], [4.0, 2.0]]), worst="lowest").tolist() == [3.0, 2.0]


def test_rows_are_estimated_as_if_they_were_alone():
    rng = np.random.default_rng(2)
    rows = np.stack([rng.normal(size=20), np.full(20, 0.1), np.full(20, np.nan), rng.exponential(size=20)])
    together = estimates(rows)
    for i in (0, 1, 3):
        alone = estimate(rows[i])
        assert (together[i].mean, together[i].low, together[i].high) == pytest.approx(
            (alone.mean, alone.low, alone.high)
        )
    assert np.isnan([together[2].mean, together[2].low]).all()
    wide = estimate(rows[3], statistic=tail_mean)
    assert wide.low < wide.mean == pytest.approx(float(tail_mean(rows[3])))
    middle = estimate(rows[3], statistic=interquartile_mean)
    assert middle.low < middle.mean < middle.high


def test_one_world_has_an_interval_over_its_runs_only():
    got = estimate(np.array([[1.0], [2.0], [6.0]]))
    assert got.mean == pytest.approx(3.0)
    assert 1.0 <= got.low < 3.0 < got.high <= 6.0


def test_runs_compared_with_themselves_differ_by_exactly_nothing():
    table = np.random.default_rng(1).normal(size=(3, 16))
    got = compare(table, table.copy())
    assert (got.difference.mean, got.difference.low, got.difference.high, got.share_won) == (0.0, 0.0, 0.0, 0.0)


def test_values_without_variance_have_an_interval_without_width():
    got = estimate(np.full(8, 0.1))
    assert (got.mean, got.low, got.high) == (0.1, 0.1, 0.1)


def test_nearly_equal_values_have_a_finite_interval():
    values = np.full(64, 0.3)
    values[0] = np.nextafter(0.3, 1.0)
    got = estimate(values)
    assert np.isfinite([got.mean, got.low, got.high]).all()


def test_a_single_value_has_a_mean_and_no_interval():
    got = estimate(np.array([5.0]))
    assert got.mean == 5.0
    assert np.isnan(got.low)
    assert np.isnan(got.high)


def test_a_policy_compared_with_itself_differs_by_exactly_nothing():
    values = np.random.default_rng(0).normal(1e6, 1e5, size=64)
    got = compare(values, values.copy())
    assert (got.difference.mean, got.difference.low, got.difference.high) == (0.0, 0.0, 0.0)
    assert got.share_won == 0.0


def test_paired_difference_and_share_won_by_hand():
    a, b = np.array([1.0, 2.0, 3.0, 4.0]), np.array([2.0, 2.0, 5.0, 3.0])
    assert compare(a, b, "lower").difference.mean == pytest.approx(-0.5)
    assert compare(a, b, "lower").share_won == 0.5  # the tie is no win
    assert compare(a, b, "higher").share_won == 0.25
    assert np.isnan(compare(a, b, "neither").share_won)
    with pytest.raises(ValueError, match="same seeds"):
        compare(a, b[:3])


def test_pairing_takes_out_what_the_worlds_have_in_common():
    rng = np.random.default_rng(5)
    worlds = rng.normal(1e6, 1e5, size=64)
    better = worlds - 1e3 + rng.normal(0.0, 1e3, size=64)
    got = compare(better, worlds).difference
    assert got.high < 0.0 < estimate(better).high - estimate(worlds).low  # the separate intervals overlap
