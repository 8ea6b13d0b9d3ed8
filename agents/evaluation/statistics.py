"""Means and paired differences with bootstrap intervals.

All policies meet the same worlds (common random numbers), so a comparison is made on the differences seed by seed.
Intervals are bias-corrected and accelerated (BCa) bootstrap intervals (Efron 1987) of the mean.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

CONFIDENCE = 0.95
RESAMPLES = 9_999
BOOTSTRAP_SEED = 20_240_229  # fixed: the same values give the same interval


@dataclass(frozen=True)
class Estimate:
    """A mean with its 95 % interval.

    Attributes:
        mean: The mean, nan if it is undefined on any seed.
        low: Lower end of the interval, nan if there is none (a single seed).
        high: Upper end.
    """

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Paired:
    """How policy a compares with policy b on the same seeds.

    Attributes:
        difference: Mean of a - b with its interval.
        share_won: Share of the seeds on which a is strictly better; nan where neither direction is better.
    """

    difference: Estimate
    share_won: float


def estimate(values: NDArray[np.float64], resamples: int = RESAMPLES) -> Estimate:
    """Mean of independent values with a 95 % BCa bootstrap interval.

    Values that are all equal give an interval of no width; a single value gives none.
    """
    sample = np.asarray(values, dtype=np.float64)
    if not np.all(np.isfinite(sample)) or len(sample) == 0:
        return Estimate(np.nan, np.nan, np.nan)
    mean = float(sample.mean())
    if len(sample) == 1:
        return Estimate(mean, np.nan, np.nan)
    if np.all(sample == sample[0]):  # no variance to resample; BCa would divide by it
        value = float(sample[0])
        return Estimate(value, value, value)
    low, high = _bootstrap(sample, "BCa", resamples)
    if not (np.isfinite(low) and np.isfinite(high)):  # nearly all values equal: the acceleration is 0 / 0
        low, high = _bootstrap(sample, "percentile", resamples)
    return Estimate(mean, low, high)


def _bootstrap(sample: NDArray[np.float64], method: str, resamples: int) -> tuple[float, float]:
    with warnings.catch_warnings(), np.errstate(invalid="ignore", divide="ignore"):
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        interval = stats.bootstrap(
            (sample,),
            np.mean,
            confidence_level=CONFIDENCE,
            n_resamples=resamples,
            method=method,
            vectorized=True,
            rng=np.random.default_rng(BOOTSTRAP_SEED),
        ).confidence_interval
    return float(interval.low), float(interval.high)


def compare(
    a: NDArray[np.float64], b: NDArray[np.float64], better: Literal["lower", "higher", "neither"] = "lower"
) -> Paired:
    """Compare two policies seed by seed.

    Args:
        a: Values of the first policy, [seeds].
        b: Values of the second on the same seeds, in the same order.
        better: Which way is better.
    """
    if a.shape != b.shape:
        raise ValueError(f"paired values must be of the same seeds: {a.shape} against {b.shape}")
    difference = a - b
    if better == "neither" or not np.all(np.isfinite(difference)):
        return Paired(estimate(difference), np.nan)
    won = difference < 0 if better == "lower" else difference > 0
    return Paired(estimate(difference), float(won.mean()))
