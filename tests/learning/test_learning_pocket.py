"""A regression test of learning itself: on `pocket`, within a minute, past a fixed score, beyond the teacher."""

from __future__ import annotations

import time

from fabmesh.agents.commands import train as cli
from fabmesh.agents.evaluation.judge.protocol import evaluate
from fabmesh.agents.learning.run.settings import parse
from fabmesh.agents.registry import make_policy
from fabmesh.envs.network.loading import load_scenario

ITERATIONS = 5
SCORE_EUR = 20_900.0
"""Controllable cost an episode on the 64 validation worlds; `tuned` has 21,300, what imitates it 21,100 to 21,500."""


def test_pocket_learns_past_a_fixed_score_within_a_minute(tmp_path):
    scenario = load_scenario("pocket")
    steps = ITERATIONS * 512 * scenario.episode_d
    config = parse(["--scenario", "pocket", "--copies", "512", "--total-steps", str(steps), "--run-dir", str(tmp_path)])
    session = cli.session_for(cli.for_scenario(config, scenario), cli.task_for(config, scenario))
    evaluate(make_policy("idle", scenario), scenario, [0])  # compiles, before the clock starts
    began = time.process_time()
    session.start()
    while session.progress < 1.0:
        session.iterate()
    seconds = time.process_time() - began
    found = session.judge()
    session.batch.close()
    assert found["validation/controllable_cost_mode"] < SCORE_EUR
    assert found["validation/saving_mode_low"] > 0.0  # paired against `tuned`, the teacher
    assert seconds < 60.0
