"""A number of a policy beside the reference's, with the interval of the paired difference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fabmesh.agents.evaluation.statistics import Estimate, Floats, differences


@dataclass(frozen=True)
class Pair:
    """A number of both policies; nan where a policy has none.

    Attributes:
        policy: Mean over runs and worlds.
        reference: The same of the reference.
        difference: Policy less reference, seed by seed, with its 95 % interval; the interval is nan where none was
            worked out.
    """

    policy: float
    reference: float
    difference: Estimate

    @property
    def shown(self) -> bool:
        """Whether the interval of the difference does not hold 0."""
        return self.difference.low > 0.0 or self.difference.high < 0.0


def pairs(policy: Sequence[Floats], reference: Sequence[Floats]) -> list[Pair]:
    """Numbers with the intervals of their differences.

    Args:
        policy: A table [runs, worlds] each.
        reference: As many on the same worlds.
    """
    found = differences(policy, reference)
    return [
        Pair(float(a.mean()), float(b.mean()), difference)
        for a, b, difference in zip(policy, reference, found, strict=True)
    ]


def plain_pairs(policy: Sequence[Floats], reference: Sequence[Floats]) -> list[Pair]:
    """The same without intervals."""
    means = ((float(np.mean(a)), float(np.mean(b))) for a, b in zip(policy, reference, strict=True))
    return [Pair(a, b, Estimate(a - b, np.nan, np.nan)) for a, b in means]
