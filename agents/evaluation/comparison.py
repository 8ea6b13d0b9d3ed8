"""Several policies judged on the same seeds."""

from __future__ import annotations

import hashlib
import itertools
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tqdm import tqdm

from fabmesh.agents.evaluation.protocol import EpisodeTable, evaluate
from fabmesh.agents.evaluation.seeds import SeedSet
from fabmesh.agents.policy import Policy
from fabmesh.envs.network.kernel import CACHE_DIRECTORY
from fabmesh.envs.network.scenario import Scenario


@dataclass(frozen=True)
class Comparison:
    """Policies judged on the same seeds.

    Attributes:
        scenario: Name of the scenario.
        seeds: The seeds.
        tables: One table per policy, in the order asked for, with distinct names.
        scenario_hash: Short hash of every number of the scenario; a name alone does not say which edition it was.
    """

    scenario: str
    seeds: SeedSet
    tables: tuple[EpisodeTable, ...]
    scenario_hash: str = ""

    def pairs(self) -> list[tuple[EpisodeTable, EpisodeTable]]:
        """Every policy with every later one."""
        return list(itertools.combinations(self.tables, 2))


def hash_of(scenario: Scenario) -> str:
    """Short hash of every number of a scenario, its name included."""
    return hashlib.sha256(repr(scenario).encode()).hexdigest()[:10]


def announce_compilation() -> None:
    """Say on stderr that the first day will take long, if the compiled day is not in this machine's cache."""
    if not any(CACHE_DIRECTORY.rglob("day.step_*.nbc")):
        print(
            "compiling the simulation: once per machine and version, a minute or two ...", file=sys.stderr, flush=True
        )


def compare_policies(
    policies: Sequence[Policy], scenario: Scenario, seeds: SeedSet, threads: int = 1, quiet: bool = False
) -> Comparison:
    """Judge policies one after the other, each on all seeds at once, with a progress bar on stderr.

    Args:
        policies: At least one; a policy given twice is judged twice, its second row numbered.
        scenario: The network.
        seeds: The seeds.
        threads: Threads that step the batch.
        quiet: No progress bar.
    """
    announce_compilation()
    tables: list[EpisodeTable] = []
    before: Counter[str] = Counter()
    with tqdm(total=len(policies) * scenario.episode_d, unit="day", disable=quiet, file=sys.stderr) as bar:
        for policy in policies:
            bar.set_description(f"{policy.name} on {seeds.count} seeds")
            table = evaluate(policy, scenario, seeds.seeds, threads, bar.update)
            before[policy.name] += 1
            number = before[policy.name]
            tables.append(table if number == 1 else replace(table, policy=f"{policy.name} ({number})"))
    return Comparison(scenario.name, seeds, tuple(tables), hash_of(scenario))
