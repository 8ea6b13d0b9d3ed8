"""Where depots go: the weighted p-median of Hakimi (1964), depots on some of the towns nearest to all of them."""

from __future__ import annotations

import itertools
import math

import numpy as np
from numpy.typing import NDArray

from fabmesh.envs.scenarios.work import Floats

_ENUMERATED = 20_000  # choices up to which all are looked at; beyond, vertex substitution


def p_median(km: Floats, weight: Floats, number: int) -> tuple[int, ...]:
    """Towns on which so many depots stand nearest: least sum of weight x distance to the nearest one.

    Exact where all choices can be looked at; else greedy addition improved by the best exchange of one place for
    another until none helps (vertex substitution, Teitz and Bart 1968). No chance: equal choices go to the first.

    Args:
        km: Distances between the towns, km [towns, towns].
        weight: Weight of each town, [towns].
        number: How many, from 1 to the number of towns.

    Returns:
        Indices of the towns, rising.
    """
    towns = len(weight)
    weighted = weight[:, None] * km  # [customer, depot]
    if math.comb(towns, number) <= _ENUMERATED:
        return min(itertools.combinations(range(towns), number), key=lambda chosen: _cost(weighted, chosen))
    chosen: list[int] = []
    nearest = np.full(towns, np.inf)
    for _ in range(number):
        costs = np.minimum(nearest[:, None], weighted).sum(axis=0)
        costs[chosen] = np.inf
        chosen.append(int(costs.argmin()))
        nearest = np.minimum(nearest, weighted[:, chosen[-1]])
    return tuple(sorted(_exchange(weighted, chosen)))


def _cost(weighted: Floats, chosen: tuple[int, ...]) -> float:
    return float(weighted[:, chosen].min(axis=1).sum())


def _exchange(weighted: Floats, chosen: list[int]) -> list[int]:
    """The best exchange of one place for another, again and again until none helps."""
    best = _cost(weighted, tuple(chosen))
    while True:
        costs = np.empty((len(chosen), len(weighted)))  # of leaving place i for town j
        for i in range(len(chosen)):
            kept: NDArray[np.int64] = np.array(chosen[:i] + chosen[i + 1 :], np.int64)
            nearest = weighted[:, kept].min(axis=1, initial=np.inf)
            costs[i] = np.minimum(nearest[:, None], weighted).sum(axis=0)
        place, town = divmod(int(costs.argmin()), len(weighted))
        if not costs[place, town] < best * (1.0 - 1e-12):
            return chosen
        chosen[place], best = town, float(costs[place, town])
