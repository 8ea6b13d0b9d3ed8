"""Counter-based randomness: every primitive is a pure function of (seed, stream, day, names).

There is no generator state, so no action, batch size or thread count can shift a draw (model §2). The mixing
function is the finaliser of SplitMix64 (Steele, Lea, Flood 2014, "Fast splittable pseudorandom number
generators", OOPSLA), applied once per key; `tests/test_rng.py` tests uniformity and independence.
"""

from __future__ import annotations

import hashlib
import math

import numpy as np

from fabmesh.envs.errors import FabmeshError
from fabmesh.envs.network.compiler.kernel import entry, kernel
from fabmesh.envs.network.schema.sizes import MOST_UNITS

_M1 = np.uint64(0xBF58476D1CE4E5B9)
_M2 = np.uint64(0x94D049BB133111EB)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_S30, _S27, _S31, _S11 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(11)
_UNIT = 2.0**-53
_LARGEST_RATE = 600.0  # exp(-rate) is still a normal double
_LARGEST_LOG = 700.0  # the same of the binomial, whose masses fall no further
_NEGLIGIBLE = 1e-17  # beside a sum of masses above 1/4: adding it changes nothing

# Streams: one per kind of primitive.
STREAM_START = np.uint64(1)
STREAM_UNITS = np.uint64(2)
STREAM_PRICE = np.uint64(3)
STREAM_ORDER = np.uint64(4)  # the order in which lots and tenders are taken, and ties
STREAM_TENDER = np.uint64(5)
STREAM_REVISION = np.uint64(6)
STREAM_OUTAGE = np.uint64(7)
STREAM_SCRAP = np.uint64(8)
STREAM_LEAD = np.uint64(9)
STREAM_LIFE = np.uint64(10)
STREAM_SURGE = np.uint64(41)
STREAM_LIFE_CYCLE = np.uint64(42)
STREAM_DISRUPTION = np.uint64(40)
STREAM_ABSENCE = np.uint64(31)
STREAM_TURNOVER = np.uint64(32)
STREAM_BREAKDOWN = np.uint64(33)
STREAM_REPAIR = np.uint64(34)
STREAM_DRIFT = np.uint64(35)
STREAM_CALIBRATION = np.uint64(36)
STREAM_LOT = np.uint64(37)
STREAM_INSPECTION = np.uint64(38)

SPACES = {"user": 0, "train": 1, "validation": 2, "test": 3, "holdout": 4}
_INDEX_MASK = (1 << 56) - 1


def seed_of(space: str, index: int) -> int:
    """Seed number `index` of a named seed space: the space in the top byte, so spaces never meet.

    Args:
        space: "user" (plain small integers), "train", "validation", "test" or "holdout".
        index: 0 <= index < 2**56.
    """
    if space not in SPACES:
        raise FabmeshError(f"unknown seed space {space!r}: use one of {', '.join(SPACES)}")
    if not 0 <= index <= _INDEX_MASK:
        raise FabmeshError(f"seed index {index} of space {space!r} must be from 0 to 2**56 - 1")
    return (SPACES[space] << 56) | index


def name_key(*names: str) -> int:
    """64-bit key of stable names (BLAKE2b): a node's world does not change when its index does."""
    return int.from_bytes(hashlib.blake2b("\x1f".join(names).encode(), digest_size=8).digest(), "little")


@entry
def mix(x: np.uint64) -> np.uint64:
    """SplitMix64's finaliser: a bijection of 64 bits with full avalanche."""
    x = np.uint64(x)
    x = (x ^ (x >> _S30)) * _M1
    x = (x ^ (x >> _S27)) * _M2
    return x ^ (x >> _S31)


@entry
def next_seed(seed: np.uint64) -> np.uint64:
    """The world after this one in a stream of episodes; stays in the seed's space (its top byte)."""
    space = seed & np.uint64(0xFF00000000000000)
    return space | (mix(seed + _GOLDEN) & np.uint64(0x00FFFFFFFFFFFFFF))


@kernel
def day_key(seed: np.uint64, stream: np.uint64, day: int) -> np.uint64:
    """Key of one stream on one day; combine with a name's key in `uniform` or `normal`."""
    return mix(mix(np.uint64(seed) + stream * _GOLDEN) + np.uint64(day) * _M1 + _GOLDEN)


@kernel
def combine(key: np.uint64, name: np.uint64) -> np.uint64:
    """Key of a pair of names, or of a day's key and a name."""
    return mix(np.uint64(key) ^ (np.uint64(name) * _GOLDEN))


@kernel
def uniform(key: np.uint64, name: np.uint64) -> float:
    """Uniform on the open interval (0, 1) with 53 bits."""
    return (np.float64(combine(key, name) >> _S11) + 0.5) * _UNIT


@kernel
def normal(key: np.uint64, name: np.uint64) -> float:
    """Standard normal by Box and Muller (1958) from two primitives of the same name."""
    first = combine(key, name)
    u = (np.float64(first >> _S11) + 0.5) * _UNIT
    v = (np.float64(mix(first + _GOLDEN) >> _S11) + 0.5) * _UNIT
    return math.sqrt(-2.0 * math.log(u)) * math.cos(2.0 * math.pi * v)


# --- quantile functions. Sums of masses stop where a mass is less than their rounding: what is left is none of theirs.


@kernel
def quantile_from_mode(u: float, a: float, b: float, most: int) -> int:
    """Smallest k with P(X <= k) >= u where P(k + 1) / P(k) = (a + b k) / (k + 1) (Panjer 1981), at most `most`.

    For where P(0) is no double: masses are counted in that of the mode and summed from there both ways. Takes a time
    proportional to the standard deviation, not to the mean.
    """
    mode = min(max(math.floor((a - 1.0) / (1.0 - b)) + 1, 0), most)
    lowest, p, total = mode, 1.0, 1.0
    while lowest > 0 and p > _NEGLIGIBLE:
        p *= lowest / (a + b * (lowest - 1.0))
        lowest -= 1
        total += p
    k, cumulative = lowest, p
    highest, p_above = mode, 1.0
    while highest < most and p_above > _NEGLIGIBLE:
        p_above *= (a + b * highest) / (highest + 1.0)
        highest += 1
        total += p_above
    while cumulative < u * total and k < highest:
        p *= (a + b * k) / (k + 1.0)
        k += 1
        cumulative += p
    return k


@kernel
def poisson_quantile(u: float, mean: float) -> int:
    """Smallest k with P(X <= k) >= u for X ~ Poisson(mean), by the recursion of the mass function; at most MOST_UNITS.

    A scenario's means are far below that (`scenario_sizes`).
    """
    if u <= 1.0 - mean:  # below P(0) = exp(-mean) >= 1 - mean: most draws of rare things need no exponential
        return 0
    if mean > _LARGEST_RATE:
        return quantile_from_mode(u, mean, 0.0, MOST_UNITS)
    p = math.exp(-mean)
    k = 0
    cumulative = p
    while cumulative < u:
        k += 1
        p *= mean / k
        cumulative += p
        if p < _NEGLIGIBLE and k > mean:
            break
    return k


@kernel
def negative_binomial_quantile(u: float, mean: float, dispersion: float, log_dispersion: float) -> int:
    """Smallest k with P(X <= k) >= u for a negative binomial with the mean and variance / mean = `dispersion` > 1.

    Compound Poisson with logarithmic sizes (F§7.2). Size r = mean / (dispersion - 1), success odds 1 / dispersion;
    `log_dispersion` is the dispersion's logarithm, which the tables hold. At most MOST_UNITS, as above.
    """
    r = mean / (dispersion - 1.0)
    q = 1.0 - 1.0 / dispersion
    rate = r * log_dispersion
    if u <= 1.0 - rate:  # below P(0), as above
        return 0
    if rate > _LARGEST_RATE:
        return quantile_from_mode(u, r * q, q, MOST_UNITS)
    p = math.exp(-rate)
    k = 0
    cumulative = p
    while cumulative < u and k < MOST_UNITS:
        p *= (k + r) / (k + 1.0) * q
        k += 1
        cumulative += p
        if p < _NEGLIGIBLE and k > mean:
            break
    return k


@kernel
def binomial_quantile(u: float, n: int, rate: float) -> int:
    """Smallest k with P(X <= k) >= u for X ~ Binomial(n, rate).

    At one u the quantile rises by 0 or 1 with each further trial, so a day's scrap can be handed out order by
    order as differences, and does not depend on how the day's units were split into orders.
    """
    if n <= 0 or rate <= 0.0:
        return 0
    if rate >= 1.0:
        return n
    if u <= 1.0 - n * rate:  # below P(0) = (1 - rate)^n by Bernoulli's inequality
        return 0
    odds = rate / (1.0 - rate)
    log_p = n * math.log1p(-rate)
    if log_p < -_LARGEST_LOG:  # P(0) underflows: many units, or nearly all of them scrap
        return quantile_from_mode(u, n * odds, -odds, n)
    p = math.exp(log_p)
    k = 0
    cumulative = p
    while cumulative < u and k < n:
        p *= (n - k) / (k + 1.0) * odds
        k += 1
        cumulative += p
        if p < _NEGLIGIBLE and k > n * rate:
            break
    return k
