"""Policies under stress: each plays the same worlds with and without a scripted disruption.

The undisturbed twin is the same policy on the same seed, so what differs is the disruption's doing: cost added, units
lost or late, and how long it takes until the days are as they would have been. Definitions: docs/measures.md.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from fabmesh import __version__
from fabmesh.agents.evaluation.judge.comparison import hash_of, named_policies, one_torch_thread
from fabmesh.agents.evaluation.judge.entries import Entry
from fabmesh.agents.evaluation.judge.protocol import EpisodeTable, Progress, evaluate
from fabmesh.agents.evaluation.judge.seeds import SeedSet
from fabmesh.agents.evaluation.show.tables import UNDEFINED, Sheet, signed
from fabmesh.agents.evaluation.statistics import Estimate, Floats, compare, estimate
from fabmesh.agents.policy import Policy, Sees
from fabmesh.envs.errors import FabmeshError, ScenarioError
from fabmesh.envs.files import write_rows
from fabmesh.envs.network.compiler.kernel import announce_compilation
from fabmesh.envs.network.schema.recorded import RecordedOrders
from fabmesh.envs.network.schema.scenario import WORKING_DAYS_PER_WEEK, Scenario, ScriptedEvent
from fabmesh.envs.scenarios.stress import Stress, load_stress, script_of, shipped_stresses, under_stress
from fabmesh.envs.testing import open_units
from fabmesh.envs.vector import HubNetworkVector

ALL = "all"
SMOOTHED_D = WORKING_DAYS_PER_WEEK  # the cost and the backlog of a day are the mean of this and the days before
BAND = 0.10  # [A] recovered: no more than so much above the undisturbed twin. F§6.2 takes 5 % of a smoother figure
AFTERMATH_D = 20  # working days after the end of a disruption on which lost and late units are still put down to it


@dataclass
class Diary:
    """What a policy's days were like on every world, float64 [days, worlds] each once `days` has been called.

    Attributes:
        cost: Network cost of the day, EUR.
        backlog: Units that customers wait for, in the evening with the next morning's orders.
        counts: Cumulative counts of `COUNTED`, [days, worlds, counts].
    """

    cost: list[Floats] = field(default_factory=list)
    backlog: list[Floats] = field(default_factory=list)
    counts: list[Floats] = field(default_factory=list)

    def watch(self, batch: HubNetworkVector, info: Mapping[str, Any]) -> None:
        """Takes down the day that has just been stepped."""
        self.cost.append(np.array(info["cost"]))
        self.backlog.append(open_units(batch))
        self.counts.append(batch.events[:, [batch.event_names.index(name) for name in COUNTED]].copy())

    def within(self, name: str, window: tuple[int, int]) -> Floats:
        """What a count grew by from the morning of the first to that of the last day of a window, [worlds]."""
        column = COUNTED.index(name)
        before = self.counts[window[0] - 1][:, column] if window[0] > 0 else 0.0
        grown: Floats = self.counts[window[1] - 1][:, column] - before
        return grown


COUNTED = ("units_lost", "units_cancelled", "late_units", "units_on_time")


@dataclass(frozen=True)
class StressRow:
    """One policy under one stress test; arrays are [runs, worlds].

    Attributes:
        policy: Name of the row.
        sees: What it may read.
        network_cost: Of the undisturbed twin, EUR an episode.
        cost_added: Controllable cost less that of the twin, EUR an episode. Of network cost the difference is the
            same, but where demand itself is disturbed: the standard cost of more units is not counted.
        units_lost: Lost or cancelled in the window, less the twin's.
        units_late: Delivered late in the window, less the twin's.
        resilience: Units delivered on time in the window / the twin's.
        days_to_recover: Working days from the end of the disruption; nan where the episode ends before.
    """

    policy: str
    sees: Sees
    network_cost: Floats
    cost_added: Floats
    units_lost: Floats
    units_late: Floats
    resilience: Floats
    days_to_recover: Floats

    def median_days(self) -> float:
        """Median over worlds and runs; inf where half of them have not recovered by the end of the episode."""
        return float(np.median(np.where(np.isnan(self.days_to_recover), np.inf, self.days_to_recover)))

    def share_recovered(self) -> float:
        """Share of the worlds that have recovered by the end of the episode."""
        return float(np.mean(~np.isnan(self.days_to_recover)))


VALUES = ("network_cost", "cost_added", "units_lost", "units_late", "resilience", "days_to_recover")
UNITS = dict(zip(VALUES, ("EUR", "EUR", "units", "units", "share", "days"), strict=True))


@dataclass(frozen=True)
class StressResult:
    """One stress test of all policies.

    Attributes:
        stress: The test.
        script: Its events on this scenario.
        begins: First disturbed day.
        ends: First day after the last disturbed one.
        window: First day, and day after the last, on which lost and late units count.
        rows: One per policy.
    """

    stress: Stress
    script: tuple[ScriptedEvent, ...]
    begins: int
    ends: int
    window: tuple[int, int]
    rows: tuple[StressRow, ...]


@dataclass(frozen=True)
class StressReport:
    """All stress tests of all policies on the same seeds.

    Attributes:
        scenario: The network without stress.
        seeds: The seeds.
        results: One per stress test.
        left_out: Why a test of `all` could not be made on this scenario.
    """

    scenario: Scenario
    seeds: SeedSet
    results: tuple[StressResult, ...]
    left_out: tuple[str, ...] = ()


def chosen_stresses(asked: str, scenario: Scenario, recorded: bool = False) -> tuple[list[Stress], tuple[str, ...]]:
    """The stress tests asked for, and why tests of `all` do not apply.

    Args:
        asked: Name of a shipped test, path of a file, or `all`.
        scenario: The network they are to act on.
        recorded: Whether demand is recorded, so that no surge can change it.

    Raises:
        FabmeshError: If there is no such test, or the one asked for has nothing to act on.
    """

    def check(stress: Stress) -> None:
        under_stress(scenario, stress)
        if recorded and any(event.kind == "demand_surge" for event in stress.events):
            raise ScenarioError(f"stress {stress.name}: recorded orders are as they are; leave --orders out")

    if asked != ALL:
        stress = load_stress(asked)
        check(stress)
        return [stress], ()
    found, left_out = [], []
    for stress in map(load_stress, shipped_stresses()):
        try:
            check(stress)
        except ScenarioError as error:
            left_out.append(str(error))
        else:
            found.append(stress)
    return found, tuple(left_out)


def stress_test(
    entries: Sequence[Entry],
    scenario: Scenario,
    seeds: SeedSet,
    asked: str,
    threads: int = 1,
    quiet: bool = False,
    orders: RecordedOrders | None = None,
) -> StressReport:
    """Every policy on the same seeds, undisturbed once and then under each stress test, with a progress bar on stderr.

    Args:
        entries: The policies.
        scenario: The network.
        seeds: The seeds.
        asked: Name of a stress test, path of a file, or `all`.
        threads: Threads that step the worlds.
        quiet: No progress bar.
        orders: Recorded demand, the same on every seed, with the stress and without; None: drawn demand.

    Raises:
        FabmeshError: If a policy or a test cannot be made; nothing has been stepped then.
    """
    stresses, left_out = chosen_stresses(asked, scenario, recorded=orders is not None)
    if not stresses:
        raise FabmeshError(f"--stress {asked}: nothing applies to {scenario.name}: {'; '.join(left_out)}")
    named = named_policies(entries, scenario)
    scripts = {stress.name: script_of(scenario, stress) for stress in stresses}
    spans = {name: _span(script, scenario.episode_d) for name, script in scripts.items()}
    rows: dict[str, list[StressRow]] = {stress.name: [] for stress in stresses}
    announce_compilation()
    days = sum(len(policies) for _, _, policies in named) * (1 + len(stresses)) * scenario.episode_d
    with one_torch_thread(), tqdm(total=days, unit="day", disable=quiet, file=sys.stderr) as bar:
        for name, _, policies in named:
            bar.set_description(f"{name} undisturbed")
            twins = [_play(policy, scenario, seeds, threads, bar.update, orders) for policy in policies]
            for stress in stresses:
                bar.set_description(f"{name} under {stress.name}")
                struck = under_stress(scenario, stress)
                played = [_play(policy, struck, seeds, threads, bar.update, orders) for policy in policies]
                rows[stress.name].append(_row(name, policies[0].sees, twins, played, *spans[stress.name]))
    results = [StressResult(x, scripts[x.name], *spans[x.name], tuple(rows[x.name])) for x in stresses]
    return StressReport(scenario, seeds, tuple(results), left_out)


def _span(script: Sequence[ScriptedEvent], episode_d: int) -> tuple[int, int, tuple[int, int]]:
    begins = min(event.day for event in script)
    ends = min(max(event.day + event.duration_d for event in script), episode_d)
    return begins, ends, (begins, min(ends + AFTERMATH_D, episode_d))


def _play(
    policy: Policy,
    scenario: Scenario,
    seeds: SeedSet,
    threads: int,
    progress: Progress,
    orders: RecordedOrders | None,
) -> tuple[EpisodeTable, Diary]:
    diary = Diary()
    return evaluate(policy, scenario, seeds.seeds, threads, progress, orders, diary.watch), diary


def _row(
    name: str,
    sees: Sees,
    twins: Sequence[tuple[EpisodeTable, Diary]],
    played: Sequence[tuple[EpisodeTable, Diary]],
    begins: int,
    ends: int,
    window: tuple[int, int],
) -> StressRow:
    found: dict[str, list[Floats]] = {key: [] for key in VALUES}
    for (calm, calm_diary), (struck, diary) in zip(twins, played, strict=True):
        lost = [sum((d.within(n, window) for n in COUNTED[:2]), np.zeros(1)) for d in (diary, calm_diary)]
        on_time = [d.within("units_on_time", window) for d in (diary, calm_diary)]
        found["network_cost"].append(calm.measures["network_cost"])
        found["cost_added"].append(struck.measures["controllable_cost"] - calm.measures["controllable_cost"])
        found["units_lost"].append(lost[0] - lost[1])
        found["units_late"].append(diary.within("late_units", window) - calm_diary.within("late_units", window))
        found["resilience"].append(
            np.divide(on_time[0], on_time[1], out=np.full(len(on_time[1]), np.nan), where=on_time[1] > 0)
        )
        found["days_to_recover"].append(days_to_recover(diary, calm_diary, ends))
    return StressRow(name, sees, **{key: np.array(values) for key, values in found.items()})


def days_to_recover(diary: Diary, twin: Diary, ends: int) -> Floats:
    """Working days from the end of a disruption until a world is as it would have been, [worlds].

    The first day from `ends` on, counted from 0, on whose evening the mean cost and the mean backlog of the last
    `SMOOTHED_D` days are both at most `BAND` above those of the undisturbed twin on the same days; nan where the
    episode ends before.
    """
    back = np.ones((len(diary.cost), len(diary.cost[0])), np.bool_)
    for mine, others in ((diary.cost, twin.cost), (diary.backlog, twin.backlog)):
        back &= smoothed(np.array(mine)) <= (1.0 + BAND) * smoothed(np.array(others))
    after = back[ends:]
    if len(after) == 0:
        return np.full(back.shape[1], np.nan)
    return np.where(after.any(axis=0), after.argmax(axis=0), np.nan)


def smoothed(days: Floats) -> Floats:
    """Mean of each day and up to `SMOOTHED_D` - 1 days before it, along the first axis."""
    total = np.cumsum(np.concatenate([np.zeros((1, *days.shape[1:])), days]), axis=0)
    last = np.arange(1, len(days) + 1)
    first = np.maximum(last - SMOOTHED_D, 0)
    width: Floats = (last - first).reshape(-1, *(1,) * (days.ndim - 1)).astype(np.float64)
    return np.asarray((total[last] - total[first]) / width)


# --- what is shown and written -------------------------------------------------------------------------------------


def sheets(report: StressReport) -> list[Sheet]:
    """A table per stress test, and one of who costs less under each."""
    found = []
    for number, result in enumerate(report.results):
        struck = ", ".join(f"{e.kind}{f' of {e.target}' if e.target else ''}" for e in result.script)
        days = f"days {result.begins} to {result.ends - 1}; lost, late and on time until day {result.window[1] - 1}"
        last = number == len(report.results) - 1
        found.append(
            Sheet(
                f"{result.stress.name}: {result.stress.description}",
                ("policy", "cost added\nkEUR", "% of\nnetwork", "units\nlost", "units\nlate", *_SHARES),
                1,
                tuple(_cells(row, result.ends < report.scenario.episode_d) for row in result.rows),
                (f"{struck}, {days}", *(_notes(report) if last else ())),
            )
        )
    return [*found, *_paired(report)]


def _paired(report: StressReport) -> list[Sheet]:
    """The first policy against each other one, under each test; nothing where there is no other."""
    rows = []
    for result in report.results:
        first, *others = result.rows
        for other in others:
            theirs = other.network_cost + other.cost_added
            found = compare(first.network_cost + first.cost_added, theirs)
            low, high = found.difference.low / 1e3, found.difference.high / 1e3
            interval = f"[{signed(low)}, {signed(high)}]" if not math.isnan(low) else UNDEFINED
            share = f"{100.0 * found.difference.mean / float(theirs.mean()):+.2f}"
            mean = signed(found.difference.mean / 1e3)
            rows.append((result.stress.name, other.policy, mean, interval, share, _percent(found.share_won)))
    if not rows:
        return []
    columns = ("test", "policy", "difference", "95 % interval", "% of\nnetwork", "won\n% of seeds")
    title = f"network cost under each test, seed by seed: {report.results[0].rows[0].policy} less the policy, kEUR"
    return [Sheet(title, columns, 2, tuple(rows), ("network cost: of the twin, and the cost added",))]


_SHARES = ("on time\n% of twin", "back\nafter d", "of worlds\n%")


def _cells(row: StressRow, time_left: bool) -> tuple[str, ...]:
    """A line of a table; `time_left`: the episode goes on after the disruption."""
    added = estimate(row.cost_added / 1e3)
    median = row.median_days()
    back = UNDEFINED if not time_left else "not" if math.isinf(median) else f"{median:.0f}"
    return (
        row.policy,
        _signed(added),
        f"{100.0 * added.mean / float(row.network_cost.mean() / 1e3):+.1f}",
        _signed(estimate(row.units_lost)),
        _signed(estimate(row.units_late)),
        _percent(float(row.resilience.mean())),
        back,
        _percent(row.share_recovered()) if time_left else UNDEFINED,
    )


def _notes(report: StressReport) -> tuple[str, ...]:
    seeds = report.seeds
    return (
        f"{report.scenario.name}, {seeds.count} {seeds.space} seeds: less the undisturbed twin on the same seed, "
        "mean ± half of the",
        "95 % interval; back: median days from the end of the disruption until cost and backlog of a week",
        f"are within {100 * BAND:.0f} % of the twin's; of worlds: the share that gets there before the end",
        *(f"left out: {reason}" for reason in report.left_out),
    )


def to_json(report: StressReport) -> dict[str, Any]:
    """Put a report into the layout of the JSON file: EUR, units, shares and working days."""
    tests = []
    for result in report.results:
        policies = []
        for row in result.rows:
            entry: dict[str, Any] = {"name": row.policy, "sees": row.sees, "runs": len(row.cost_added)}
            for name in VALUES[:-1]:
                value = estimate(getattr(row, name))
                entry[name] = {"mean": _number(value.mean), "ci95": [_number(value.low), _number(value.high)]}
            entry["days_to_recover"] = {"median": _number(row.median_days()), "share": row.share_recovered()}
            policies.append(entry)
        tests.append(
            {
                "name": result.stress.name,
                "description": result.stress.description,
                "events": [
                    {"kind": e.kind, "target": e.target, "day": e.day, "duration_d": e.duration_d}
                    for e in result.script
                ],
                "window": list(result.window),
                "policies": policies,
            }
        )
    return {
        "scenario": report.scenario.name,
        "scenario_hash": hash_of(report.scenario),
        "seeds": {"space": report.seeds.space, "first": report.seeds.first, "count": report.seeds.count},
        "version": __version__,
        "units": UNITS,
        "stress": tests,
        "left_out": list(report.left_out),
    }


def write_csv(report: StressReport, path: Path) -> None:
    """Write one row per stress test, policy, run and seed; empty where a value is undefined."""
    header = ["scenario", "stress", "policy", "sees", "run", "seed_space", "seed_index"]
    header += [f"{name} [{UNITS[name]}]" for name in VALUES]

    def lines() -> Iterator[list[object]]:
        yield [*header]
        for result in report.results:
            for row in result.rows:
                for run, i in np.ndindex(row.cost_added.shape):
                    where = [report.scenario.name, result.stress.name, row.policy, row.sees, run + 1]
                    values = [float(getattr(row, name)[run, i]) for name in VALUES]
                    shown = [None if math.isnan(value) else value for value in values]
                    yield [*where, report.seeds.space, report.seeds.first + i, *shown]

    write_rows(path, lines())


def _number(value: float) -> float | None:
    """JSON has neither nan nor infinity."""
    return value if math.isfinite(value) else None


def _signed(value: Estimate) -> str:
    if math.isnan(value.mean):
        return UNDEFINED
    half = (value.high - value.low) / 2.0
    digits = 0 if half >= 10.0 else 1  # no more digits than the interval supports
    return f"{value.mean:+,.{digits}f}" if math.isnan(half) else f"{value.mean:+,.{digits}f} ± {half:,.{digits}f}"


def _percent(share: float) -> str:
    return UNDEFINED if math.isnan(share) else f"{100 * share:.0f}"
