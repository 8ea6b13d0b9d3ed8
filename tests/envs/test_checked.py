"""The day with its checks compiled in: nothing out of bounds at the extremes, and a corrupt state caught and named."""

import os
import re
import subprocess
import sys

import pytest

from fabmesh.envs import extremes
from fabmesh.envs.network.loading import load_scenario, validate

# What a damaged file or a bug could leave in the state, and the fault that the next day must end in.
CORRUPT = {
    "batch.arrays.clock['lots'] = 10_000_000": r"^State\.lot or State\.tender, axis 0: index \d+, size \d+ \(in ",
    "batch.arrays.hub['orders'][:] = -5": r"^State\.order, axis 1: index -5, size 320 \(in fabmesh\.",
    "batch.arrays.clock['tenders'] = 10_000_000": r"^State\.lot or State\.tender, axis 0: index 48, size 48 ",
    "batch.arrays.hub['price_eur'][:] = float('nan')": r"^State\.hub\.price_eur: nan is stored as float64 ",
}
STEP = """
import numpy as np
from fabmesh.envs.network.compiler.checks import FaultError
from fabmesh.envs.testing import random_actions
from fabmesh.envs.vector import HubNetworkVector

batch = HubNetworkVector("pocket", num_envs=2, threads=2)
for damage in {damages!r}:
    _, info = batch.reset(seed=1)
    actions = random_actions(batch, info["action_mask"], np.random.default_rng(0))
    batch.step(actions)
    exec(damage)
    try:
        batch.step(actions)
        print("no fault")
    except FaultError as fault:
        print(fault)
"""


def checked(*arguments):
    """What Python prints in a process with checks; it may have to compile them first."""
    environment = os.environ | {"FABMESH_CHECKED": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=1800, env=environment, check=False
    )


@pytest.mark.slow
def test_nothing_is_out_of_bounds_at_the_extremes():
    done = checked("-m", "fabmesh.envs.extremes", "pocket", "--days", "15", "--copies", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    total = re.search(r"^scenarios (\d+), refused 0, agent-steps ([\d,]+), faults 0$", done.stdout, re.MULTILINE)
    assert total, done.stdout
    assert int(total[1]) == len(list(extremes.extremes(load_scenario("pocket"))))
    assert int(total[2].replace(",", "")) > 2000


@pytest.mark.slow
def test_a_corrupt_state_is_caught_and_named():
    done = checked("-c", STEP.format(damages=list(CORRUPT)))
    assert done.returncode == 0, done.stderr
    for said, expected in zip(done.stdout.splitlines(), CORRUPT.values(), strict=True):
        assert re.search(expected, said)


def test_the_extremes_are_scenarios():
    made = dict(extremes.extremes(load_scenario("pocket")))
    assert all(validate(scenario) for scenario in made.values())
    assert made["an episode of one day"].episode_d == 1
    assert len(made["one hub"].hubs) == 1
    assert made["tables of one row"].capacity.order_book == 1


def test_without_checks_the_command_says_how_to_get_them(capsys):
    assert extremes.main(["pocket"]) == 2
    assert capsys.readouterr().err == ("error: no checks are compiled in: set FABMESH_CHECKED=1 before the command\n")
