"""The calibration gate: it measures what it says, and every shipped real network leaves something to decide."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from fabmesh.agents.evaluation.judge.seeds import seed_set
from fabmesh.agents.evaluation.studies.gate import (
    BUSY_RANGE,
    Effect,
    Finding,
    GateReport,
    HeldPolicy,
    gate,
    main,
    report_tables,
    sweep_plan,
)
from fabmesh.agents.registry import make_policy
from fabmesh.envs.network.interface.spec import role_specs
from fabmesh.envs.network.loading import load_scenario
from fabmesh.envs.terminal import Terminal

POCKET = load_scenario("pocket")


def test_range_verdicts() -> None:
    assert Finding("x", 0.85, *BUSY_RANGE).passed
    assert not Finding("x", 0.86, *BUSY_RANGE).passed
    assert not Finding("x", float("nan"), *BUSY_RANGE).passed
    assert Finding("for information", 9.0).passed
    assert Effect("hub.bid", "pass", worst=0.01, best=-0.2).passed
    assert not Effect("hub.bid", "pass", worst=0.009, best=-0.2).passed
    good, bad = Finding("x", 0.8, *BUSY_RANGE), Finding("x", 0.1, *BUSY_RANGE)
    assert GateReport("s", "p", 1, (good,), ()).passed
    assert not GateReport("s", "p", 1, (good, bad), ()).passed


def test_held_policy_changes_one_component_where_it_is_legal() -> None:
    specs = role_specs(POCKET)
    spec = specs["hub"]
    obs = {role: np.zeros((3, len(s.agents), s.num_features), np.float32) for role, s in specs.items()}
    masks = {role: np.ones((3, len(s.agents), int(s.nvec.sum())), np.int8) for role, s in specs.items()}
    part = spec.component("cover")
    first = int((np.cumsum(spec.nvec) - spec.nvec)[part][0])
    masks["hub"][1, 0, first + 4] = 0  # copy 1, first hub, first material: level 4 is not legal
    base = make_policy("base_stock", POCKET)
    held = HeldPolicy(base, spec, "hub", "cover", 4)
    held.reset(3, 0)
    plain, changed = base.act(obs, masks), held.act(obs, masks)
    legal = np.ones(changed["hub"][..., part].shape, bool)
    legal[1, 0, 0] = False
    assert (changed["hub"][..., part][legal] == 4).all()
    assert changed["hub"][1, 0, part][0] == plain["hub"][1, 0, part][0]
    others = np.ones(len(spec.nvec), bool)
    others[part] = False
    assert (changed["hub"][..., others] == plain["hub"][..., others]).all()
    assert (changed["depot"] == plain["depot"]).all()


def test_sweep_holds_every_level_of_every_component() -> None:
    plan = sweep_plan(POCKET)
    assert len(plan) == len(set(plan))
    assert {(role, name) for role, name, _ in plan} == {
        (role, block.name) for role, spec in role_specs(POCKET).items() for block in spec.components
    }
    assert sum(name == "cover" for _, name, _ in plan) == 1 + len(POCKET.actions.cover_d)


def test_gate_of_pocket() -> None:
    report = gate(POCKET, seeds=[1, 2], sweep=False)
    values = {item.name: item.value for item in report.findings}
    assert all(np.isfinite(value) for value in values.values())
    assert 0 < values["utilisation of CNC"] < 1
    assert 0 < values["fill rate"] <= 1
    console = Terminal(140)
    with console.capture() as printed:
        console.print(report_tables(report))
    assert "utilisation of labour" in printed.get()


def test_command_line_refuses_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["roterdam"]) == 2
    assert "did you mean 'rotterdam'?" in capsys.readouterr().err
    assert main(["pocket", "--episodes", "0"]) == 2
    assert capsys.readouterr().err.startswith("error: episodes = 0")


@pytest.mark.slow
def test_rotterdam_has_something_to_decide() -> None:
    report = gate(load_scenario("rotterdam"), seed_set("validation", 64).seeds, sweep=True)
    missed = [f"{item.name} = {item.value:.3f}" for item in report.findings if not item.passed]
    missed += [f"{effect.component}: {effect.worst:+.2%}" for effect in report.effects if not effect.passed]
    assert report.passed, missed


@pytest.mark.slow
def test_benelux_lies_in_every_range() -> None:
    """Without the sweep of components, which takes minutes; docs/scenarios.md has what it found."""
    report = gate(load_scenario("benelux"), seed_set("validation", 64).seeds, sweep=False)
    assert report.passed, [f"{item.name} = {item.value:.3f}" for item in report.findings if not item.passed]


def test_of_equal_hubs_the_largest_stands_in_the_largest_town() -> None:
    small, large = POCKET.towns
    twins = tuple(
        dataclasses.replace(hub, machines={"FDM": 2, "CNC": 1, "laser": 1}, technicians=2) for hub in POCKET.hubs
    )
    assert large.population > small.population
    for hubs in (twins, twins[::-1]):
        report = gate(dataclasses.replace(POCKET, hubs=hubs), seeds=[1], sweep=False)
        assert any(item.name == f"lanes that {large.name} alone overloads" for item in report.findings)
