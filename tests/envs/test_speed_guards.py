"""What makes the batch fast, counted instead of timed: a count says the same on a busy machine."""

import ctypes
import math
import os
import platform
import struct
import sys
import tracemalloc

import numpy as np
import pytest

from benchmarks.floor import Watched, bytes_of_a_day, operations_of_a_day
from fabmesh.envs import hub_network_v0
from fabmesh.envs.network.day.day import run_copies
from fabmesh.envs.network.day.stage6_hubs_work import fitting
from fabmesh.envs.network.interface.actions import take_levels
from fabmesh.envs.network.mechanisms.upkeep import fails
from fabmesh.envs.testing import random_actions
from fabmesh.envs.vector import HubNetworkVector


def warm_batch(scenario, copies):
    """A batch that has been stepped, and legal actions for its next day."""
    batch = HubNetworkVector(scenario, num_envs=copies)
    rng = np.random.default_rng(0)
    _, info = batch.reset(seed=0)
    for _ in range(3):
        _, _, _, _, info = batch.step(random_actions(batch, info["action_mask"], rng))
    return batch, random_actions(batch, info["action_mask"], rng)


def calls_of(function):
    """How many functions, Python's and C's, run until it returns."""
    count = 0

    def counted(frame, event, argument):
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(counted)
    try:
        function()
    finally:
        sys.setprofile(None)
    return count


def test_a_step_calls_python_as_often_whatever_the_agents_and_copies():
    counts = []
    for scenario, copies in (("pocket", 1), ("pocket", 16), ("benelux", 16)):
        batch, actions = warm_batch(scenario, copies)
        counts.append(calls_of(lambda: batch.step(actions)))  # noqa: B023 called at once
    assert len(set(counts)) == 1
    assert counts[0] < 100


def test_a_step_allocates_nothing_that_grows_with_the_batch():
    """What a step returns in new dictionaries and views is a few KiB; the arrays are the batch's own."""
    batch, actions = warm_batch("benelux", 32)
    smallest = batch.num_envs * batch.num_agents * 8  # bytes of an array of one number an agent
    tracemalloc.start()
    try:
        batch.step(actions)
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(10):
            batch.step(actions)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert batch.bytes_per_copy > 10 * smallest
    assert peak - before < 2 * smallest


def test_a_copy_takes_no_more_memory_than_its_tables_need():
    """Docs/speed.md lists the largest arrays; one that grows unnoticed slows every batch."""
    ending, staying = HubNetworkVector("benelux"), HubNetworkVector("benelux", autoreset=False)
    books = ending.arrays.order.nbytes
    assert ending.bytes_per_copy - books < 215_000
    assert staying.bytes_per_copy < ending.bytes_per_copy - 20_000  # no last observation beside the first
    assert ending.arrays.repair.nbytes == 8 * ending._tables.hub_machines.sum()


def test_what_fits_is_the_quotient_without_a_division():
    rng = np.random.default_rng(0)
    for each in (1 / 3, 0.1, 7.0, *rng.lognormal(-2.0, 2.0, 300)):
        for units in (1, 3, 7, 1000, 30_000):
            for there in (units * each, np.nextafter(units * each, 0.0), each * rng.uniform(0, 2 * units), -1.0, 0.0):
                assert fitting.py_func(there, each, units) == min(units, int(max(there, 0.0) / each + 1e-9))


def test_who_fails_is_the_probability_without_an_exponential():
    rng = np.random.default_rng(0)
    for risk in (0.0, 1e-300, 1e-12, 0.3, 40.0, *rng.lognormal(-6.0, 3.0, 300)):
        probability = -math.expm1(-risk)
        for u in (probability, np.nextafter(probability, 0.0), risk, np.nextafter(risk, 0.0), rng.uniform(), 2.0**-54):
            assert fails.py_func(u, risk) == (u < probability)


def test_the_floor_counts_what_is_there():
    watched = Watched("pocket", copies=4, days=3)
    batch = watched.batch
    touched, done = bytes_of_a_day(watched), operations_of_a_day(watched)
    levels = sum(len(batch.agents[role]) * len(batch.spec[role].nvec) for role in batch.roles)
    assert touched["actions read"] == 4 * levels
    assert touched["order books"] == pytest.approx(64 * watched.counts["orders in the books"])
    assert 0 < sum(touched.values()) < batch.bytes_per_copy
    assert min(done.values()) > 0
    assert done["observations"] > done["unit costs"]
    assert watched.counts["hubs asked"] <= watched.counts["open lots"] * len(batch.agents["hub"])


def test_one_compiled_day_serves_every_scenario():
    for scenario in ("pocket", "rotterdam", "benelux"):
        warm_batch(scenario, 2)
    assert len(run_copies.signatures) == 1
    assert len(take_levels.signatures) == 1


@pytest.mark.parametrize(("make", "most"), [(hub_network_v0.raw_env, 9), (hub_network_v0.parallel_env, 5)])
def test_the_view_calls_little_python_for_an_agent(make, most):
    """A day of all agents: at most so many calls an agent, the batch's own included."""
    env = make(scenario="benelux")
    env.reset(seed=0)
    actions = {agent: np.zeros(env.action_space(agent).shape, np.int64) for agent in env.possible_agents}

    def day():
        if isinstance(env, hub_network_v0.raw_env):
            for agent in env.possible_agents:
                env.last()
                env.step(actions[agent])
        else:
            env.step(actions)

    day()
    assert calls_of(day) / len(actions) < most


CLOCK, INSTRUCTIONS = (1, 1), (0, 1)  # type and event: the task's clock (software), instructions (hardware)


def counted(kind, function):
    """What a counter of the Linux kernel rises by until a function returns, on this thread; None where it has none."""
    number = {"x86_64": 298, "aarch64": 241}.get(platform.machine())  # of the call perf_event_open
    if not sys.platform.startswith("linux") or number is None:
        return None
    only_of_the_program = 0b11 << 5  # neither the kernel's nor the hypervisor's
    wanted = struct.pack("=IIQQQQQ", kind[0], 112, kind[1], 0, 0, 0, only_of_the_program).ljust(112, b"\0")
    counter = ctypes.CDLL(None).syscall(number, wanted, 0, -1, -1, 0)
    if counter < 0:
        return None
    before = os.read(counter, 8)
    function()
    after = os.read(counter, 8)
    os.close(counter)
    return int.from_bytes(after, "little") - int.from_bytes(before, "little")


def test_what_the_kernel_counts_grows_with_the_work():
    """The task's clock is there wherever counters are, also where the processor's are not."""
    short, long = (counted(CLOCK, lambda n=n: sum(range(n))) for n in (10_000, 1_000_000))
    if short is None:
        pytest.skip("no counters here")
    assert 0 < short < long


def test_a_day_takes_no_more_instructions_than_it_did():
    """1.15 million with Python's share in eight copies, as Valgrind counts (docs/speed.md); half as many again fail."""
    batch, actions = warm_batch("benelux", 8)
    for _ in range(30):
        batch.step(actions)
    instructions = counted(INSTRUCTIONS, lambda: batch.step(actions))
    if instructions is None:
        pytest.skip("the processor's counters are not to be had here")
    assert instructions / batch.num_envs < 1.75e6
