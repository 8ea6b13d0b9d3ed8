"""What keeps a step fast, counted and not timed: one compilation, no allocation, no Python per copy or agent."""

import sys

import numba
import numpy as np
import pytest
from numba.core.runtime import _nrt_python as runtime
from numba.core.runtime import rtsys

from fabmesh.envs.network.day import reset_copies, step_copies
from fabmesh.envs.testing import random_actions
from fabmesh.envs.vector import HubNetworkVector


def started(scenario, copies=2):
    batch = HubNetworkVector(scenario, num_envs=copies)
    _, info = batch.reset(seed=3)
    return batch, random_actions(batch, info["action_mask"], np.random.default_rng(0))


def python_calls(function, *arguments):
    """How many Python functions a call enters."""
    calls = 0

    def count(_frame, event, _argument):
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    try:
        function(*arguments)
    finally:
        sys.setprofile(None)
    return calls


def test_two_scenarios_share_one_compiled_day():
    for scenario in ("pocket", "rotterdam"):
        batch, actions = started(scenario)
        batch.step(actions)
    assert len(step_copies.signatures) == 1
    assert len(reset_copies.signatures) == 1


@pytest.fixture
def allocations():
    """Numba's counts of what its runtime has allocated, switched on for a test."""
    before = runtime.memsys_stats_enabled()
    runtime.memsys_enable_stats()
    yield lambda: (rtsys.get_allocation_stats().alloc, rtsys.get_allocation_stats().mi_alloc)
    if not before:
        runtime.memsys_disable_stats()


@numba.njit
def allocates():
    """Makes an array, as no part of the day may."""
    return np.zeros(3)


def test_a_day_allocates_nothing(allocations):
    batch, actions = started("pocket")
    batch.step(actions)
    before = allocations()
    for _ in range(20):
        step_copies(*batch._handles, 0, batch.num_envs, 0, True)
    assert allocations() == before
    allocates()
    assert allocations() != before  # so it would have been seen


@pytest.mark.parametrize("scenario", ["pocket", "rotterdam"])
def test_python_does_the_same_for_one_copy_and_for_many(scenario):
    counts = set()
    for copies in (1, 3, 16):
        batch, actions = started(scenario, copies)
        batch.step(actions)
        counts.add(python_calls(batch.step, actions))
    assert len(counts) == 1
    assert counts.pop() < 100  # and none of them per agent: there are 4 and 6
