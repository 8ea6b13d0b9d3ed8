"""A number of a policy beside the reference's, with the interval of the paired difference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fabmesh.agents.evaluation.statistics import Estimate, Floats, differences, per_world

FEWEST = 5  # worlds with something to be averaged, below which a ratio has no interval: the others say nothing about it


@dataclass(frozen=True)
class Table:
    """A number on every world.

    Attributes:
        values: [runs, worlds]; the number is their mean.
        worlds: On how many worlds there was something to be averaged, in the run with the fewest.
    """

    values: Floats
    worlds: int

    @classmethod
    def plain(cls, values: Floats) -> Table:
        """Of a number that each world has."""
        return cls(values, values.shape[-1])

    @classmethod
    def ratio(cls, part: Floats, whole: Floats) -> Table:
        """Of a ratio of totals over worlds: [runs, worlds] each."""
        return cls(per_world(part, whole), int((whole > 0).sum(axis=-1).min()))

    @property
    def mean(self) -> float:
        """The number; nan where there is none."""
        return float(self.values.mean())

    def __sub__(self, other: Table) -> Table:
        return Table(self.values - other.values, min(self.worlds, other.worlds))


@dataclass(frozen=True)
class Pair:
    """A number of both policies; nan where a policy has none.

    Attributes:
        policy: Mean over runs and worlds.
        reference: The same of the reference.
        difference: Policy less reference, seed by seed, with its 95 % interval; the interval is nan where none was
            worked out, or too few worlds have anything to say.
    """

    policy: float
    reference: float
    difference: Estimate

    @property
    def shown(self) -> bool:
        """Whether the interval of the difference does not hold 0."""
        return self.difference.low > 0.0 or self.difference.high < 0.0


def pairs(policy: Sequence[Table], reference: Sequence[Table]) -> list[Pair]:
    """Numbers of both policies on the same worlds, with the intervals of their differences."""
    found = paired(policy, reference)
    return [Pair(a.mean, b.mean, difference) for a, b, difference in zip(policy, reference, found, strict=True)]


def plain_pairs(policy: Sequence[Table], reference: Sequence[Table]) -> list[Pair]:
    """The same without intervals."""
    means = ((a.mean, b.mean) for a, b in zip(policy, reference, strict=True))
    return [Pair(a, b, Estimate(a - b, np.nan, np.nan)) for a, b in means]


def paired(first: Sequence[Table], second: Sequence[Table]) -> list[Estimate]:
    """Mean differences with their intervals."""
    found = differences([a.values for a in first], [b.values for b in second])
    return [
        known if min(a.worlds, b.worlds) >= min(FEWEST, a.values.shape[-1]) else Estimate(known.mean, np.nan, np.nan)
        for known, a, b in zip(found, first, second, strict=True)
    ]
