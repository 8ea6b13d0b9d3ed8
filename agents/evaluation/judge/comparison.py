"""Several policies judged on the same seeds."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from tqdm import tqdm

from fabmesh.agents.evaluation.judge.entries import Entry
from fabmesh.agents.evaluation.judge.protocol import EpisodeTable, evaluate
from fabmesh.agents.evaluation.judge.seeds import SeedSet
from fabmesh.agents.evaluation.measures.catalogue import measure_named
from fabmesh.agents.evaluation.measures.trace import Trace
from fabmesh.agents.evaluation.statistics import Floats, Paired, Summary, compare, estimate, estimates, summarise
from fabmesh.agents.policy import Policy, Sees
from fabmesh.envs.errors import FabmeshError
from fabmesh.envs.names import distinct, shown
from fabmesh.envs.network.compiler.kernel import announce_compilation
from fabmesh.envs.network.schema.recorded import RecordedOrders
from fabmesh.envs.network.schema.scenario import Scenario, fingerprint
from fabmesh.envs.network.schema.yaml_tree import shortened

ALL_PAIRS = 4  # of more policies tables and figures compare each with one
ALL_PAIRS_IN_FILES = 16  # the same of files: pairs are worked out by the bootstrap, and grow with the square


@dataclass(frozen=True)
class Row:
    """One policy, or one algorithm trained several times, on all seeds.

    Attributes:
        name: Name in tables, distinct within a comparison.
        runs: One table per training run; of a heuristic there is one.
        sources: What each run was made from, as typed.
    """

    name: str
    runs: tuple[EpisodeTable, ...]
    sources: tuple[str, ...] = ()

    @property
    def sees(self) -> Sees:
        """What it may read."""
        return self.runs[0].sees

    @property
    def episodes(self) -> int:
        """Number of episodes over all runs."""
        return sum(table.episodes for table in self.runs)

    def values(self, measure: str) -> Floats:
        """A measure, [runs, seeds]."""
        return np.array([table.measures[measure] for table in self.runs])

    def mean(self, measure: str) -> float:
        """Its mean over all episodes."""
        return float(self.values(measure).mean())

    def cost_line(self, line: str) -> float:
        """Mean of a cost line of the ledger over all episodes, EUR."""
        return float(np.mean([table.costs[line] for table in self.runs]))

    @property
    def trace(self) -> Trace | None:
        """Day by day, of the first run."""
        return self.runs[0].trace

    @cached_property
    def summaries(self) -> dict[str, Summary]:
        """Every measure over all episodes; worked out once."""
        names = list(self.runs[0].measures)
        blocks = {name: self.values(name) for name in names}
        if len(self.runs) == 1:
            means = estimates(np.concatenate(list(blocks.values())))
        else:
            means = [estimate(block) for block in blocks.values()]
        return {
            name: summarise(blocks[name], measure_named(name).better, mean)
            for name, mean in zip(names, means, strict=True)
        }


@dataclass(frozen=True)
class Comparison:
    """Policies judged on the same seeds.

    Attributes:
        scenario: The network.
        seeds: The seeds.
        rows: One per policy, in the order asked for.
        against: Name of the row that many others are compared with.
        orders: Recorded demand, the same on every seed; None: drawn demand.
    """

    scenario: Scenario
    seeds: SeedSet
    rows: tuple[Row, ...]
    against: str
    orders: RecordedOrders | None = None

    @cached_property
    def _paired(self) -> dict[tuple[str, str, str], Paired]:
        return {}

    @property
    def scenario_hash(self) -> str:
        """Short hash of every number of the scenario."""
        return hash_of(self.scenario)

    @property
    def reference(self) -> Row:
        """The row that others are compared with."""
        return next(row for row in self.rows if row.name == self.against)

    def pairs(self, most: int) -> list[tuple[Row, Row]]:
        """Every policy with every later one; of more than `most` policies the reference with each."""
        if len(self.rows) <= most:
            return list(itertools.combinations(self.rows, 2))
        return [(self.reference, row) for row in self.rows if row is not self.reference]

    def paired(self, a: Row, b: Row, measure: str) -> Paired:
        """How two policies compare in a measure; worked out once."""
        key = (a.name, b.name, measure)
        if key not in self._paired:
            self._paired[key] = compare(a.values(measure), b.values(measure), measure_named(measure).better)
        return self._paired[key]


def hash_of(scenario: Scenario) -> str:
    """Short hash of every number of a scenario."""
    return fingerprint(scenario)[:10]


def compare_entries(
    entries: Sequence[Entry],
    scenario: Scenario,
    seeds: SeedSet,
    threads: int = 1,
    quiet: bool = False,
    against: str | None = None,
    orders: RecordedOrders | None = None,
) -> Comparison:
    """Judge policies one after the other, each on all seeds at once, with a progress bar on stderr.

    Args:
        entries: At least one; what is given twice is judged twice, its second row numbered.
        scenario: The network.
        seeds: The seeds.
        threads: Threads that step the batch.
        quiet: No progress bar.
        against: Name of the row that others are compared with where there are many; None: the first.
        orders: Recorded demand that all play; None: drawn demand.

    Raises:
        FabmeshError: If a policy cannot be made; nothing has been stepped then.
    """
    named = named_policies(entries, scenario)
    reference = require_row([name for name, _, _ in named], against)
    announce_compilation()  # before the progress bar begins
    rows: list[Row] = []
    days = sum(len(policies) for _, _, policies in named) * scenario.episode_d
    with one_torch_thread(), tqdm(total=days, unit="day", disable=quiet, file=sys.stderr) as bar:
        for name, entry, policies in named:
            tables = []
            for number, policy in enumerate(policies, start=1):
                run = f" (run {number} of {len(policies)})" if len(policies) > 1 else ""
                bar.set_description(f"{name}{run} on {seeds.count} seeds")
                tables.append(evaluate(policy, scenario, seeds.seeds, threads, bar.update, orders))
            rows.append(Row(name, tuple(tables), entry.members))
    return Comparison(scenario, seeds, tuple(rows), reference, orders)


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Let networks compute on one thread: numbers do not depend on the machine, and worlds are stepped beside them.

    Threads that wait for each other beside those of the worlds made it ten times slower on a busy machine.
    """
    torch: Any = sys.modules.get("torch")  # rules do without it, and it takes a second to load
    before = torch.get_num_threads() if torch is not None else 1
    if torch is not None:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        if torch is not None:
            torch.set_num_threads(before)


def require_row(names: Sequence[str], against: str | None) -> str:
    """The name of the row that others are compared with: the one asked for, or the first.

    Raises:
        FabmeshError: If there is no such row.
    """
    if against is None:
        return names[0]
    if shown(against) not in names:
        raise FabmeshError(f"--against {shortened(shown(against))}: no such row; there are {', '.join(names)}")
    return shown(against)


def named_policies(entries: Sequence[Entry], scenario: Scenario) -> list[tuple[str, Entry, list[Policy]]]:
    """The rows to be: distinct name, entry and policies of each.

    Raises:
        FabmeshError: If a policy cannot be made.
    """
    made = [(entry, entry.policies(scenario)) for entry in entries]
    names = distinct(entry.row_name(policies) for entry, policies in made)
    return [(name, *of) for name, of in zip(names, made, strict=True)]
