"""The judge's intervals on the simulated world: how often they cover the truth, and a policy against itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fabmesh.agents.evaluation.judge.comparison import compare_entries
from fabmesh.agents.evaluation.judge.entries import parse_entries
from fabmesh.agents.evaluation.judge.protocol import evaluate
from fabmesh.agents.evaluation.judge.seeds import MOST_AT_ONCE, seed_set
from fabmesh.agents.evaluation.measures.catalogue import measure_named
from fabmesh.agents.evaluation.statistics import compare, estimates
from fabmesh.agents.registry import make_policy
from fabmesh.envs.network.loading import load_scenario

SHORT = replace(load_scenario("pocket"), name="pocket_20_days", episode_d=20)
REPETITIONS = 200
WORLDS = 32  # of a repetition
TRUTH_WORLDS = 2 * MOST_AT_ONCE  # others, 256 times as many as a repetition has
COVERED = (180, 197)  # of 200, 90 to 98.5 %


def costs(policy, space, count):
    """Network cost of a policy on the first worlds of a space, EUR [count]."""
    parts = [
        evaluate(policy, SHORT, seed_set(space, min(MOST_AT_ONCE, count - first), first).seeds)
        for first in range(0, count, MOST_AT_ONCE)
    ]
    return np.concatenate([part.measures["network_cost"] for part in parts])


@pytest.mark.slow
def test_interval_covers_the_truth_in_about_95_percent_of_200_repetitions():
    """200 disjoint sets of worlds, of each the judge's interval of a cost and of a paired difference.

    The truth is the mean over 8,192 other worlds, whose own error is a 16th of a repetition's.
    """
    policies = [make_policy(name, SHORT) for name in ("base_stock", "nearest")]
    truth = [costs(policy, "train", TRUTH_WORLDS).mean() for policy in policies]
    tables = [costs(policy, "holdout", REPETITIONS * WORLDS).reshape(REPETITIONS, WORLDS) for policy in policies]

    own = estimates(tables[0])
    paired = [compare(a, b).difference for a, b in zip(*tables, strict=True)]
    alone = sum(got.low <= truth[0] <= got.high for got in own)
    together = sum(got.low <= truth[0] - truth[1] <= got.high for got in paired)
    print(f"\ntruth: base_stock {truth[0]:.1f} EUR an episode, nearest {truth[1] - truth[0]:.1f} more")
    print(f"covered by the intervals of {REPETITIONS} repetitions: the cost {alone}, the difference {together}")
    assert COVERED[0] <= alone <= COVERED[1]
    assert COVERED[0] <= together <= COVERED[1]


@pytest.mark.parametrize("name", ["base_stock", "random"])
def test_a_policy_compared_with_itself_shows_no_difference_at_all(name):
    comparison = compare_entries(parse_entries([name, name]), SHORT, seed_set("holdout", 16), quiet=True)
    first, second = comparison.rows
    assert (first.name, second.name) == (name, f"{name} (2)")
    assert first.values("network_cost").std() > 0.0
    for measure in first.runs[0].measures:
        paired = comparison.paired(first, second, measure)
        defined = np.isfinite(first.values(measure)).all()
        assert defined or not measure_named(measure).unit.startswith("EUR")
        wanted = 0.0 if defined else np.nan
        got = (paired.difference.mean, paired.difference.low, paired.difference.high, paired.median, paired.iqm)
        np.testing.assert_array_equal(got, wanted)
        assert not paired.share_won > 0.0
