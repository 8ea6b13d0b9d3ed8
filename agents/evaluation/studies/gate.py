"""The calibration gate: is there anything to decide in a scenario? Model, section 12.

A sensible policy is run on many worlds, and what comes out must lie where decisions matter: machines and people busy
but not drowned, logistics, deadstock and lost service neither negligible nor everything. Then each action component in
turn is held at each of its levels on top of the policy: a component whose worst constant level moves nothing is no
decision. `envs.scenarios.sheet` asks the same by expectation, without simulation.

    python -m fabmesh.agents.evaluation.studies.gate rotterdam --episodes 64 --threads 2
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import tyro
from rich.console import Group
from rich.table import Table
from rich.text import Text
from tqdm import tqdm

from fabmesh.agents.evaluation.judge.seeds import seed_set
from fabmesh.agents.evaluation.measures.books import EpisodeBooks, measure
from fabmesh.agents.evaluation.statistics import Floats
from fabmesh.agents.policy import Levels, Masks, Observations, Policy, Sees
from fabmesh.agents.registry import make_policy
from fabmesh.envs.commands import MOST_THREADS, guarded, require_within
from fabmesh.envs.network.interface.spec import RoleSpec, role_specs
from fabmesh.envs.network.loading import load_scenario
from fabmesh.envs.network.schema.scenario import Scenario
from fabmesh.envs.scenarios.sheet import LABOUR, capacity_sheet
from fabmesh.envs.scenarios.tables import WIDTH
from fabmesh.envs.scenarios.work import jobs
from fabmesh.envs.terminal import Terminal
from fabmesh.envs.vector import HubNetworkVector

BUSY_LANES = 2  # so many lanes, the busiest first, must lie in the range of utilisation
BUSY_RANGE = (0.70, 0.85)
LABOUR_RANGE = (0.80, 0.95)
LOGISTICS_RANGE = (0.15, 0.25)  # of network cost
DEADSTOCK_RANGE = (0.02, 0.06)  # of purchases, at suppliers and at retail
LATE_LOST_RANGE = (0.03, 0.06)  # of network cost
FULL_LANES = (2, np.inf)  # lanes of the largest hub that its own town alone overloads
LEAST_EFFECT = 0.01  # of controllable cost, of a component's worst constant level

Tick = Callable[[], object]


@dataclass(frozen=True)
class Finding:
    """One figure of the gate.

    Attributes:
        name: What it is.
        value: The figure.
        low: Least value that passes; nan where the figure is for information only.
        high: Largest value that passes.
    """

    name: str
    value: float
    low: float = np.nan
    high: float = np.nan

    @property
    def judged(self) -> bool:
        """Whether there is a range to meet."""
        return not np.isnan(self.low)

    @property
    def passed(self) -> bool:
        """Whether it lies in its range, if it has one."""
        return not self.judged or self.low <= self.value <= self.high


@dataclass(frozen=True)
class Effect:
    """What holding one action component at a constant level does to controllable cost.

    Attributes:
        component: Role and name, e.g. "hub.cover".
        level: Label of its worst level, the one of the highest cost.
        worst: Change at the worst level / controllable cost of the policy.
        best: Change at the best level, for information: below 0, a constant does better than the policy.
    """

    component: str
    level: str
    worst: float
    best: float

    @property
    def passed(self) -> bool:
        """Whether the component is a decision."""
        return self.worst >= LEAST_EFFECT


@dataclass(frozen=True)
class GateReport:
    """Everything the gate found for one scenario and policy."""

    scenario: str
    policy: str
    episodes: int
    findings: tuple[Finding, ...]
    effects: tuple[Effect, ...]  # empty where the sweep was left out

    @property
    def passed(self) -> bool:
        """Whether every range is met and every component matters."""
        return all(item.passed for item in self.findings) and all(effect.passed for effect in self.effects)


class HeldPolicy:
    """A policy with one component of one role held at a constant level, where that level is legal."""

    def __init__(self, policy: Policy, spec: RoleSpec, role: str, component: str, level: int) -> None:
        """Wrap `policy`; `level` counts from 0."""
        self.name = f"{policy.name}, {role}.{component} = {level}"
        self.sees: Sees = policy.sees
        self._policy = policy
        self._role = role
        self._slice = spec.component(component)
        self._level = level
        first = np.cumsum(spec.nvec) - spec.nvec
        self._mask_index = first[self._slice] + level

    def reset(self, num_envs: int, seed: int) -> None:
        """See `fabmesh.agents.policy.Policy.reset`."""
        self._policy.reset(num_envs, seed)

    def act(self, obs: Observations, masks: Masks) -> Levels:
        """See `fabmesh.agents.policy.Policy.act`."""
        levels = self._policy.act(obs, masks)
        chosen = levels[self._role]
        legal = masks[self._role][..., self._mask_index] != 0
        chosen[..., self._slice] = np.where(legal, self._level, chosen[..., self._slice])
        return levels


def gate(
    scenario: Scenario,
    seeds: Sequence[int],
    threads: int = 1,
    policy: str = "base_stock",
    sweep: bool = True,
    progress: bool = False,
) -> GateReport:
    """Run the gate.

    Args:
        scenario: The network.
        seeds: World seeds; the specification asks for 64.
        threads: Threads that step the batch.
        policy: Name of the policy that is run.
        sweep: Whether to hold each action component at each of its levels in turn.
        progress: Whether to show a bar on stderr.
    """
    plan = sweep_plan(scenario) if sweep else []
    base = make_policy(policy, scenario)
    specs = role_specs(scenario)
    with closing(HubNetworkVector(scenario, num_envs=len(seeds), threads=threads)) as batch:
        days = (1 + len(plan)) * scenario.episode_d
        with tqdm(total=days, unit="day", desc="gate", disable=not progress) as bar:
            measured, events = _play(batch, base, seeds, bar.update)
            controllable = float(measured["controllable_cost"].mean())
            changes = []
            for role, component, level in plan:
                held = HeldPolicy(base, specs[role], role, component, level)
                cost = float(_play(batch, held, seeds, bar.update)[0]["controllable_cost"].mean())
                changes.append((cost - controllable) / abs(controllable))
    findings = _findings(scenario, measured, events)
    return GateReport(scenario.name, policy, len(seeds), findings, _effects(specs, plan, changes))


def sweep_plan(scenario: Scenario) -> list[tuple[str, str, int]]:
    """Role, component and level of every run of the sweep. All items of a component are held together."""
    return [
        (role, block.name, level)
        for role, spec in role_specs(scenario).items()
        for block in spec.components
        for level in range(int(spec.nvec[block.start]))
    ]


def _play(
    batch: HubNetworkVector, policy: Policy, seeds: Sequence[int], tick: Tick
) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """Measures and events of one episode per seed."""
    policy.reset(len(seeds), 0)
    obs, info = batch.reset(seed=list(seeds))
    for _ in range(batch.scenario.episode_d):
        obs, _, _, _, info = batch.step(policy.act(obs, info["action_mask"]))
        tick()
    events = np.array(info["final_events"])
    ledger = np.array(info["final_ledger"])
    standard = np.array(info["standard_cost"])
    measured = measure(EpisodeBooks(ledger, batch.ledger_lines, events, batch.event_names, standard))
    return measured, dict(zip(batch.event_names, np.moveaxis(events, -1, 0), strict=True))


def _findings(scenario: Scenario, measured: dict[str, Floats], events: dict[str, Floats]) -> tuple[Finding, ...]:
    """The figures of the run against their ranges: means over the seeds, shares as ratios of means."""
    mean = {name: float(values.mean()) for name, values in {**events, **measured}.items()}
    capacity = capacity_sheet(scenario, jobs(scenario))
    there = dict(zip(capacity.resources, capacity.hub_hours.sum(axis=0) * scenario.episode_d, strict=True))
    owned = [technology.name for technology in scenario.technologies if there[technology.name] > 0]
    load = {name: mean[f"machine_h_{name}"] / there[name] for name in owned}
    busiest = sorted(owned, key=lambda name: -load[name])
    people = {town.name: town.population for town in scenario.towns}
    inhabitants = [people[hub.town] for hub in scenario.hubs]
    largest = int(np.lexsort((inhabitants, capacity.hub_hours.sum(axis=1)))[-1])  # of equals, that of the larger town
    own = capacity.own_town[largest, : len(scenario.technologies)]
    network, purchases = mean["network_cost"], mean["purchases_eur"] + mean["retail_eur"]
    late_lost = mean["lateness_cost"] + mean["lost_cost"]
    return (
        *(Finding(f"utilisation of {name}", load[name], *BUSY_RANGE) for name in busiest[:BUSY_LANES]),
        *(Finding(f"utilisation of {name}", load[name]) for name in busiest[BUSY_LANES:]),
        Finding("utilisation of labour", mean["labour_h"] / there[LABOUR], *LABOUR_RANGE),
        Finding(f"lanes that {capacity.hubs[largest]} alone overloads", float((own > 1).sum()), *FULL_LANES),
        Finding("logistics / network cost", mean["logistics_cost"] / network, *LOGISTICS_RANGE),
        Finding("deadstock / purchases", _share(mean["deadstock_gross_eur"], purchases), *DEADSTOCK_RANGE),
        Finding("(lateness + lost) / network cost", late_lost / network, *LATE_LOST_RANGE),
        Finding("lateness / network cost", mean["lateness_cost"] / network),
        Finding("holding / network cost", mean["holding_cost"] / network),
        Finding("bought at retail / purchases", _share(mean["retail_eur"], purchases)),
        Finding("fill rate", _share(mean["units_delivered"], mean["units_ordered"])),
        Finding("controllable / network cost", mean["controllable_cost"] / network),
    )


def _share(part: float, whole: float) -> float:
    """Part over whole; nan, which meets no range, where there is no whole."""
    return part / whole if whole > 0 else float("nan")


def _effects(
    specs: dict[str, RoleSpec], plan: Sequence[tuple[str, str, int]], changes: Sequence[float]
) -> tuple[Effect, ...]:
    effects = []
    for role, spec in specs.items():
        for block in spec.components:
            runs = [
                (change, level)
                for (r, name, level), change in zip(plan, changes, strict=True)
                if (r, name) == (role, block.name)
            ]
            if runs:
                worst, level = max(runs)
                effects.append(Effect(f"{role}.{block.name}", block.labels[level], worst, min(runs)[0]))
    return tuple(effects)


def report_tables(report: GateReport) -> Group:
    """The report for a terminal."""
    title = f"Calibration gate: {report.scenario} under {report.policy}, {report.episodes} episodes"
    findings = Table(title=title, title_justify="left")
    for name in ("figure", "value", "range", ""):
        findings.add_column(name, justify="left" if name == "figure" else "right")
    for item in report.findings:
        allowed = f"{item.low:g} to {item.high:g}" if item.judged else ""
        findings.add_row(item.name, f"{item.value:.3f}", allowed, _verdict(item.passed) if item.judged else Text())
    effects = Table(title="Each component held at a constant level: change of controllable cost", title_justify="left")
    for name in ("component", "worst level", "worst", "best", ""):
        effects.add_column(name, justify="left" if name == "component" else "right")
    for effect in report.effects:
        effects.add_row(
            effect.component, effect.level, f"{effect.worst:+.1%}", f"{effect.best:+.1%}", _verdict(effect.passed)
        )
    return Group(findings, *([effects] if report.effects else []))


def _verdict(passed: bool) -> Text:
    return Text("met", style="green") if passed else Text("missed", style="red")


@dataclass(frozen=True)
class GateConfig:
    """Is there anything to decide in a scenario? Runs a policy and compares what comes out with its ranges."""

    scenario: Annotated[str, tyro.conf.Positional]
    """Shipped name, or path of a .yaml file."""
    episodes: int = 64
    """Number of worlds."""
    seeds: str = "validation"
    """Seed space they are taken from: train, validation, test or holdout."""
    threads: int = 1
    """Threads that step the worlds."""
    policy: str = "base_stock"
    """Policy that is run."""
    sweep: bool = True
    """Also hold each action component at each of its levels in turn."""


def main(args: list[str] | None = None) -> int:
    """Command line: prints the report; exit code 0 where everything is met, 1 where not, 2 for bad input."""

    def play() -> int:
        config = tyro.cli(GateConfig, prog="python -m fabmesh.agents.evaluation.studies.gate", args=args)
        require_within(config, threads=(1, MOST_THREADS))
        seeds = seed_set(config.seeds, config.episodes).seeds
        scenario = load_scenario(config.scenario)
        report = gate(scenario, seeds, config.threads, config.policy, config.sweep, progress=True)
        Terminal(WIDTH).print(report_tables(report))
        return 0 if report.passed else 1

    return guarded(play, "stopped")


if __name__ == "__main__":
    sys.exit(main())
