"""Scores on the validation worlds: which checkpoint is kept, and how far it is from the opponents."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fabmesh.agents.policy import Policy

MEASURE = "network_cost"
"""What checkpoints are chosen by; lower is better."""

Floats = NDArray[np.float64]
Judge = Callable[[Policy], dict[str, Floats]]
"""Plays a policy on the validation worlds: measure name -> one value per world."""


@dataclass(frozen=True)
class Score:
    """A policy on the validation worlds.

    Attributes:
        measures: Measure name -> one value per world.
    """

    measures: dict[str, Floats]

    @property
    def cost(self) -> float:
        """Mean of the measure checkpoints are chosen by."""
        return float(self.measures[MEASURE].mean())

    def difference(self, other: Score) -> tuple[float, float]:
        """Mean paired difference to another policy on the same worlds, and half its 95 % interval (normal)."""
        pairs = self.measures[MEASURE] - other.measures[MEASURE]
        return float(pairs.mean()), float(1.96 * pairs.std(ddof=1) / np.sqrt(len(pairs)))


class Validator(Protocol):
    """Judges the learner from time to time."""

    @property
    def opponents(self) -> dict[str, Score]:
        """Scores of the policies to compare with, in order."""

    def score(self, policy: Policy) -> Score:
        """Score of a policy on the same worlds."""


class SeedValidator:
    """Judges on fixed worlds.

    Args:
        judge: Plays a policy on them.
        opponents: Policies to compare with; the first is the one differences are paired with.
    """

    def __init__(self, judge: Judge, opponents: Sequence[Policy]) -> None:
        self._judge = judge
        self._opponents = {policy.name: Score(judge(policy)) for policy in opponents}

    @property
    def opponents(self) -> dict[str, Score]:
        """Scores of the opponents, in the order given."""
        return self._opponents

    def score(self, policy: Policy) -> Score:
        """Score of a policy on the same worlds."""
        return Score(self._judge(policy))


@dataclass
class Best:
    """The best validation so far.

    Attributes:
        cost: Mean cost of the most likely actions; infinite before any validation.
        steps: Environment steps when it was reached.
    """

    cost: float = float("inf")
    steps: int = 0


def judgement(mode: Score, sampled: Score, opponents: dict[str, Score]) -> dict[str, float]:
    """What a validation says, by name, for logs and checkpoints."""
    found = {
        f"validation/{MEASURE}_mode": mode.cost,
        f"validation/{MEASURE}_sample": sampled.cost,
    }
    for name, score in opponents.items():
        found[f"validation/{MEASURE}_{name}"] = score.cost
    if opponents:
        first = next(iter(opponents.values()))
        for kind, score in (("mode", mode), ("sample", sampled)):
            mean, half = score.difference(first)
            found[f"validation/saving_{kind}"] = -mean / abs(first.cost)
            found[f"validation/saving_{kind}_low"] = (-mean - half) / abs(first.cost)
    for name in ("fill_rate", "mission_cost", "controllable_cost", "deadstock"):
        if name in mode.measures:
            found[f"validation/{name}_mode"] = float(np.nanmean(mode.measures[name]))
    return found
