"""Means, other aggregates and paired differences with bootstrap intervals.

All policies meet the same worlds (common random numbers), so a comparison is made on the differences seed by seed.

Intervals of a policy with one run are bias-corrected and accelerated (BCa) bootstrap intervals over the world seeds
(Efron 1987). An algorithm trained with several seeds has a table [runs, worlds] whose rows all meet the same worlds:
runs and worlds are then crossed factors, and an interval must cover both. Both are resampled with replacement,
independently, and the interval is read from the percentiles (the pigeonhole bootstrap of Owen 2007, "The pigeonhole
bootstrap", Annals of Applied Statistics 1(2)); a stratified bootstrap of runs within worlds, as in Agarwal et al. 2021
("Deep reinforcement learning at the edge of the statistical precipice"), would treat the worlds as the only ones
there are. With fewer than five or so runs the part of the interval that comes from training is too short, as with
any bootstrap of so few: the spread of the runs stands beside it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats: TypeAlias = NDArray[np.float64]
Better: TypeAlias = Literal["lower", "higher", "neither"]
Statistic: TypeAlias = Callable[..., Any]

CONFIDENCE = 0.95
RESAMPLES = 9_999
BOOTSTRAP_SEED = 20_240_229  # fixed: the same values give the same interval
TAIL = 0.05  # share of the worst episodes that CVaR95 is the mean of
_BATCH = 500  # resamples in memory at once
_ROWS = 32  # rows of a table of their own that are resampled at once


@dataclass(frozen=True)
class Estimate:
    """A mean, or another aggregate, with its 95 % interval.

    Attributes:
        mean: The aggregate, nan if it is undefined on any seed.
        low: Lower end of the interval, nan if there is none (a single seed).
        high: Upper end.
    """

    mean: float
    low: float
    high: float


UNDEFINED = Estimate(np.nan, np.nan, np.nan)


@dataclass(frozen=True)
class Summary:
    """A measure of a policy over all its episodes.

    Attributes:
        mean: The mean with its interval.
        median: The median.
        iqm: Interquartile mean: the mean of the middle half.
        cvar95: Mean of the worst 5 % of the episodes; nan where no direction is worse.
        run_means: Mean of each run: how much training seeds differ.
    """

    mean: Estimate
    median: float
    iqm: float
    cvar95: float
    run_means: tuple[float, ...]


@dataclass(frozen=True)
class Paired:
    """How policy a compares with policy b on the same seeds.

    Attributes:
        difference: Mean of a - b with its interval.
        median: Median of the differences seed by seed (of means over runs).
        iqm: Their interquartile mean.
        share_won: Share of the seeds on which a is strictly better; nan where neither direction is better.
    """

    difference: Estimate
    median: float
    iqm: float
    share_won: float


def interquartile_mean(values: Floats, axis: int = -1) -> Floats:
    """Mean of the middle half of the values along an axis."""
    return np.asarray(stats.trim_mean(values, 0.25, axis=axis))


def tail_mean(values: Floats, axis: int = -1, worst: Literal["highest", "lowest"] = "highest") -> Floats:
    """CVaR95: mean of the worst 5 % of the values along an axis (Rockafellar & Uryasev 2000).

    Where 5 % is not a whole number of values, the last of them counts for the fraction; of fewer than 20 values it
    is the worst one.
    """
    count = values.shape[axis]
    wanted = max(TAIL * count, 1.0)
    weights = np.clip(wanted - np.arange(count), 0.0, 1.0) / wanted
    ranked = np.moveaxis(np.sort(values, axis=axis), axis, -1)
    if worst == "highest":
        ranked = ranked[..., ::-1]
    return np.asarray(ranked @ weights)


def estimate(values: Floats, resamples: int = RESAMPLES, statistic: Statistic = np.mean) -> Estimate:
    """An aggregate of independent values with its 95 % bootstrap interval.

    Values that are all equal give an interval of no width; a single value gives none.

    Args:
        values: [worlds], or [runs, worlds] of several training runs on the same worlds.
        resamples: Of the bootstrap.
        statistic: Reduces an array along `axis`.
    """
    table = np.atleast_2d(np.asarray(values, dtype=np.float64))
    if len(table) == 1:
        return estimates(table, resamples, statistic)[0]
    return _crossed([(1.0, table)], resamples, statistic)


def estimates(rows: Floats, resamples: int = RESAMPLES, statistic: Statistic = np.mean) -> list[Estimate]:
    """`estimate` of each row of [rows, worlds]: the same resamples serve all of them."""
    found = [_without_bootstrap(row, statistic) for row in rows]
    open_rows = [i for i, known in enumerate(found) if known is None]
    if open_rows:
        block = rows[open_rows]
        lows, highs = _bootstrap((block,), statistic, "BCa", resamples)
        if not (np.isfinite(lows).all() and np.isfinite(highs).all()):
            # nearly all values of a row equal: the acceleration is 0 / 0
            simple = _bootstrap((block,), statistic, "percentile", resamples)
            good = np.isfinite(lows) & np.isfinite(highs)
            lows, highs = np.where(good, lows, simple[0]), np.where(good, highs, simple[1])
        for i, low, high in zip(open_rows, lows, highs, strict=True):
            found[i] = Estimate(float(statistic(rows[i], axis=-1)), float(low), float(high))
    return [known if known is not None else UNDEFINED for known in found]


def _without_bootstrap(row: Floats, statistic: Statistic) -> Estimate | None:
    """The estimate where nothing is to be resampled."""
    if len(row) == 0 or not np.isfinite(row).all():
        return UNDEFINED
    if len(row) == 1:
        return Estimate(float(row[0]), np.nan, np.nan)
    if np.all(row == row[0]):  # no variance to resample; BCa would divide by it
        return Estimate(float(row[0]), float(row[0]), float(row[0]))
    return None


def _bootstrap(
    samples: Sequence[NDArray[Any]], statistic: Statistic, method: str, resamples: int
) -> tuple[Floats, Floats]:
    with warnings.catch_warnings(), np.errstate(invalid="ignore", divide="ignore"):
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        interval = stats.bootstrap(
            samples,
            statistic,
            axis=-1,
            confidence_level=CONFIDENCE,
            n_resamples=resamples,
            batch=_BATCH,
            method=method,
            vectorized=True,
            rng=np.random.default_rng(BOOTSTRAP_SEED),
        ).confidence_interval
    return np.asarray(interval.low), np.asarray(interval.high)


def _crossed(terms: Sequence[tuple[float, Floats]], resamples: int, statistic: Statistic) -> Estimate:
    """A signed sum of aggregates of tables [runs, worlds] on the same worlds, each with runs of its own.

    What has one row only is not resampled over rows.
    """
    tables = [table for _, table in terms]
    worlds = tables[0].shape[1]
    if not all(np.isfinite(table).all() for table in tables):
        return UNDEFINED
    loose = [i for i, table in enumerate(tables) if len(table) > 1]

    def total(*indices: NDArray[np.int64], axis: int = -1) -> Floats:
        """Indices [..., runs] of each table with several rows, then indices [..., worlds]."""
        chosen = indices[-1][..., None, :]
        value: Floats = np.zeros(indices[-1].shape[:-1])
        for i, (sign, table) in enumerate(terms):
            rows = indices[loose.index(i)][..., :, None] if i in loose else np.zeros((1, 1), np.int64)
            picked = table[rows, chosen]
            value = value + sign * statistic(picked.reshape(*picked.shape[:-2], -1), axis=-1)
        return value

    all_of = [*(np.arange(len(tables[i])) for i in loose), np.arange(worlds)]
    mean = float(total(*all_of))
    samples = [index for index in all_of if len(index) > 1]
    if worlds == 1:  # a single world is held fixed: only runs are resampled
        fixed = np.zeros(1, np.int64)
        low, high = _bootstrap(samples, lambda *i, axis: total(*i, np.broadcast_to(fixed, (*i[0].shape[:-1], 1))),
                               "percentile", resamples)  # fmt: skip
    else:
        low, high = _bootstrap(samples, total, "percentile", resamples)
    return Estimate(mean, float(low), float(high))


def summarise(values: Floats, better: Better = "lower", mean: Estimate | None = None) -> Summary:
    """All aggregates of a measure.

    Args:
        values: [worlds] or [runs, worlds].
        better: Which way is better; decides which tail CVaR95 is of.
        mean: The mean with its interval, where it is known already.
    """
    table = np.atleast_2d(np.asarray(values, dtype=np.float64))
    known = mean if mean is not None else estimate(table)
    runs = tuple(float(row.mean()) for row in table)
    if table.size == 0 or not np.isfinite(table).all():
        return Summary(known, np.nan, np.nan, np.nan, runs)
    pooled = table.reshape(-1)
    tail = np.nan if better == "neither" else float(tail_mean(pooled, worst=worst_end(better)))
    return Summary(known, float(np.median(pooled)), float(interquartile_mean(pooled)), tail, runs)


def worst_end(better: Better) -> Literal["highest", "lowest"]:
    """Which end of a measure's values is the bad one."""
    return "lowest" if better == "higher" else "highest"


def compare(a: Floats, b: Floats, better: Better = "lower") -> Paired:
    """Compare two policies seed by seed.

    Args:
        a: Values of the first policy, [worlds] or [runs, worlds].
        b: Values of the second on the same worlds, in the same order; runs of its own.
        better: Which way is better.
    """
    first, second = np.atleast_2d(a), np.atleast_2d(b)
    if first.shape[1] != second.shape[1]:
        raise ValueError(f"paired values must be of the same seeds: {np.shape(a)} against {np.shape(b)}")
    if first.shape == second.shape and np.array_equal(first, second, equal_nan=True):
        # the same runs: nothing differs, whatever is resampled
        result = estimate(first[0] - second[0])
    elif len(first) > 1 and len(second) > 1:
        result = _crossed([(1.0, first), (-1.0, second)], RESAMPLES, np.mean)
    else:
        result = estimate(first - second)
    difference = first.mean(axis=0) - second.mean(axis=0)
    if not np.isfinite(difference).all():
        return Paired(result, np.nan, np.nan, np.nan)
    won = np.nan
    if better != "neither":
        won = float(np.mean(difference < 0 if better == "lower" else difference > 0))
    return Paired(result, float(np.median(difference)), float(interquartile_mean(difference)), won)


def differences(first: Sequence[Floats], second: Sequence[Floats]) -> list[Estimate]:
    """Mean of a - b with its interval of many pairs at once: those of `compare` but for rounding in the bootstrap.

    The same resamples serve all pairs of one run each.

    Args:
        first: Tables [runs, worlds].
        second: As many on the same worlds; of each the number of runs may be another.
    """
    found = [UNDEFINED] * len(first)
    plain = [i for i, (a, b) in enumerate(zip(first, second, strict=True)) if len(a) == len(b) == 1]
    for start in range(0, len(plain), _ROWS):
        some = plain[start : start + _ROWS]
        rows = np.concatenate([first[i] - second[i] for i in some])
        for i, known in zip(some, estimates(rows), strict=True):
            found[i] = known
    for i in set(range(len(first))) - set(plain):
        found[i] = compare(first[i], second[i], "neither").difference
    return found


def per_world(part: Floats, whole: Floats) -> Floats:
    """A ratio of totals over all worlds as a value for each world, whose mean is the ratio.

    Worlds differ in how much there is to be averaged (decisions, days), so their own ratios must not be averaged, and
    some have none. These values are the ratio's first-order expansion around it, r + (part - r whole) / mean(whole)
    (linearisation of the ratio estimator, Cochran 1977, section 6.3), so their intervals and paired differences are
    those of the ratio.

    Args:
        part: [..., worlds].
        whole: Of the same shape, at least 0.

    Returns:
        [..., worlds]; nan where there is no whole in any world.
    """
    total = whole.sum(axis=-1, keepdims=True)
    scale = np.where(total > 0, total, np.nan)
    ratio = part.sum(axis=-1, keepdims=True) / scale
    return np.asarray(ratio + (part - ratio * whole) / scale * whole.shape[-1])
