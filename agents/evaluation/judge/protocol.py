"""The protocol: a policy steps one batch, a copy per seed, for a whole episode; every policy meets the same worlds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fabmesh.agents.evaluation.measures.books import TRANSFER_LINES, measure
from fabmesh.agents.evaluation.measures.mechanisms import measure_disruptions, measure_mechanisms
from fabmesh.agents.evaluation.measures.network import NetworkBooks, measure_network
from fabmesh.agents.evaluation.measures.trace import Recorder, Trace
from fabmesh.agents.policy import Policy, Sees
from fabmesh.envs.errors import FabmeshError
from fabmesh.envs.network.schema.recorded import RecordedOrders
from fabmesh.envs.network.schema.scenario import Scenario
from fabmesh.envs.vector import HubNetworkVector

Progress: TypeAlias = Callable[[int], object]
"""Called after each day with the number of days it took: 1."""

Watch: TypeAlias = Callable[[HubNetworkVector, Mapping[str, Any]], object]
"""Called after each day with the batch and the info of its step; to read, not to write."""

POLICY_SEED = 0  # seed of a policy's own randomness: the same whenever it is judged


@dataclass(frozen=True)
class EpisodeTable:
    """What came out for one policy, seed by seed.

    Attributes:
        policy: Name of the policy.
        sees: What it may read.
        scenario: Name of the scenario.
        seeds: World seeds, in order.
        measures: Measure name -> float64 [seeds]; nan where it is undefined.
        costs: Cost line of the ledger -> float64 [seeds], EUR over the episode and the network.
        counts: Event -> float64 [seeds], how often or how much of it there was in the episode.
        trace: What was read off day by day, for figures; None where nobody watched.
    """

    policy: str
    sees: Sees
    scenario: str
    seeds: tuple[int, ...]
    measures: dict[str, NDArray[np.float64]]
    costs: dict[str, NDArray[np.float64]]
    counts: dict[str, NDArray[np.float64]]
    trace: Trace | None = None

    @property
    def episodes(self) -> int:
        """Number of episodes."""
        return len(self.seeds)


def evaluate(
    policy: Policy,
    scenario: Scenario,
    seeds: Sequence[int],
    threads: int = 1,
    progress: Progress | None = None,
    orders: RecordedOrders | None = None,
    watch: Watch | None = None,
) -> EpisodeTable:
    """Judge a policy on worlds given by their seeds.

    Args:
        policy: The policy; it is reset first.
        scenario: The network.
        seeds: World seeds, at least one.
        threads: Threads that step the batch; the result does not depend on it.
        progress: Told of each day done, for a progress bar of `scenario.episode_d` days.
        orders: Recorded demand, the same on every seed; None: drawn demand.
        watch: Shown each day done.

    Returns:
        The measures of one full episode per seed, settlement included.
    """
    if not seeds:
        raise FabmeshError("no seeds to evaluate on: at least 1 episode is needed")
    batch = HubNetworkVector(scenario, num_envs=len(seeds), threads=threads, autoreset=False, audit=True, orders=orders)
    try:
        policy.reset(len(seeds), POLICY_SEED)
        obs, info = batch.reset(seed=list(seeds))
        recorder = Recorder(batch)
        for _ in range(scenario.episode_d):
            obs, _, _, _, info = batch.step(policy.act(obs, info["action_mask"]))
            recorder.day()
            if watch is not None:
                watch(batch, info)
            if progress is not None:
                progress(1)
        if not np.all(info["_final"]):
            raise RuntimeError(f"episodes of {scenario.name} did not end after {scenario.episode_d} days")
        books = NetworkBooks(
            ledger=np.array(info["final_ledger"]),
            lines=batch.ledger_lines,
            events=np.array(info["final_events"]),
            event_names=batch.event_names,
            standard_cost=info["standard_cost"],
            scenario=scenario,
            flow=batch.arrays.flow,
            trace=recorder.trace(),
        )
        measures = measure(books) | measure_network(books) | measure_disruptions(books) | measure_mechanisms(books)
    finally:
        batch.close()
    costs = {line: eur for line, eur in books.line.items() if line not in TRANSFER_LINES}
    counts = dict(books.count)
    return EpisodeTable(policy.name, policy.sees, scenario.name, tuple(seeds), measures, costs, counts, books.trace)
