"""How fast the environment steps: `python -m benchmarks.env_throughput --json FILE`, from the root of the repository.

Measured are `step` calls alone, with random legal actions drawn outside the timed part; what a run of episodes costs
in resets is included, as copies go on to their next world by themselves. The ways to step are measured in turn and
the turns repeated (A B A B ...), so that a machine that slows down slows all of them down; given are the median and
the range over the repetitions, and the same per second of processor time, of all threads together, which other work on
the machine disturbs little. A network of 100 hubs and 10 depots, made by the scenario builder from towns drawn in
a region of the density of Benelux, takes its turns with the others: an agent-step there should cost about what it costs
in a small network.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import machine, print_machine, write_report
from fabmesh.envs import hub_network_v0
from fabmesh.envs.commands import guarded
from fabmesh.envs.network.loading import load_scenario
from fabmesh.envs.network.schema.scenario import Scenario, Town
from fabmesh.envs.scenarios.builder import plan_region, region_yaml, write_region
from fabmesh.envs.testing import random_actions
from fabmesh.envs.vector import HubNetworkVector

_PACKAGES = ("fabmesh", "numpy", "numba", "gymnasium", "pettingzoo")


@dataclass(frozen=True)
class Throughput:
    """One way to step the environment."""

    way: str
    copies: int
    threads: int
    env_steps_per_s: float  # median over the repetitions
    env_steps_per_s_range: tuple[float, float]
    agent_steps_per_s: float
    agent_steps_per_processor_s: float  # of all threads together
    repetitions: int


class _Watch:
    """Counts the seconds between `start` and `stop`: of the clock, and of the processor."""

    def __init__(self) -> None:
        self.clock_s = self.processor_s = 0.0

    def start(self) -> None:
        """Something to be timed begins."""
        self._processor_began, self._clock_began = time.process_time(), time.perf_counter()

    def stop(self) -> None:
        """It has ended."""
        self.clock_s += time.perf_counter() - self._clock_began
        self.processor_s += time.process_time() - self._processor_began

    def rates(self, steps: float) -> tuple[float, float]:
        """Steps per second of the clock, and of the processor."""
        return steps / self.clock_s, steps / self.processor_s


class _Batch:
    """The batch with a number of threads."""

    def __init__(self, scenario: str | Scenario, copies: int, threads: int, where: str = "") -> None:
        self.way = f"batch, {threads} thread{'s' * (threads > 1)}{where}"
        self.copies, self.threads = copies, threads
        self._batch = HubNetworkVector(scenario, num_envs=copies, threads=threads)
        self.agents = sum(len(names) for names in self._batch.agents.values())
        self._rng = np.random.default_rng(0)
        _, info = self._batch.reset(seed=0)
        self._masks = info["action_mask"]

    def reset_share(self, days: int = 40) -> float:
        """Seconds of a reset over seconds of an episode, medians of some resets and days."""
        resets, steps = [], []
        for _ in range(days):
            before = time.perf_counter()
            _, info = self._batch.reset()
            resets.append(time.perf_counter() - before)
        for _ in range(days):
            actions = random_actions(self._batch, info["action_mask"], self._rng)
            before = time.perf_counter()
            _, _, _, _, info = self._batch.step(actions)
            steps.append(time.perf_counter() - before)
        self._masks = info["action_mask"]
        episode = self._batch.scenario.episode_d * statistics.median(steps)
        return statistics.median(resets) / (episode + statistics.median(resets))

    def run(self, seconds: float) -> tuple[float, float]:
        """Environment steps per second, of the clock and of the processor."""
        watch, steps = _Watch(), 0
        while watch.clock_s < seconds:
            actions = random_actions(self._batch, self._masks, self._rng)
            watch.start()
            _, _, _, _, info = self._batch.step(actions)
            watch.stop()
            self._masks = info["action_mask"]
            steps += self.copies
        return watch.rates(steps)


class _Parallel:
    """PettingZoo's parallel API: dictionaries of one network."""

    way, copies, threads = "PettingZoo parallel", 1, 1

    def __init__(self, scenario: str) -> None:
        self._env = hub_network_v0.parallel_env(scenario=scenario)
        self.agents = len(self._env.possible_agents)
        _, self._infos = self._env.reset(seed=0)

    def run(self, seconds: float) -> tuple[float, float]:
        """Environment steps per second, of the clock and of the processor."""
        env, watch, steps = self._env, _Watch(), 0
        while watch.clock_s < seconds:
            actions = {agent: env.action_space(agent).sample(self._infos[agent]["action_mask"]) for agent in env.agents}
            watch.start()
            _, _, _, _, self._infos = env.step(actions)
            if not env.agents:
                _, self._infos = env.reset()
            watch.stop()
            steps += 1
        return watch.rates(steps)


class _TurnBased:
    """PettingZoo's turn-based (AEC) API of one network."""

    copies, threads = 1, 1

    def __init__(self, scenario: str, way: str, make: Callable[..., Any]) -> None:
        self.way = way
        self._env = make(scenario=scenario)
        self.agents = len(self._env.possible_agents)
        self._env.reset(seed=0)

    def run(self, seconds: float) -> tuple[float, float]:
        """Environment steps (days) per second, of the clock and of the processor.

        As for the parallel API a day's actions are drawn before it is timed: the masks of all agents are those of the
        morning. Timed are all of the day's turns, `last()` and `step()` of every agent.
        """
        env, watch, days = self._env, _Watch(), 0
        while watch.clock_s < seconds:
            infos = env.unwrapped.infos
            actions = {agent: env.action_space(agent).sample(infos[agent]["action_mask"]) for agent in env.agents}
            over = False
            watch.start()
            for action in actions.values():
                _, _, terminated, truncated, _ = env.last()
                over = terminated or truncated
                env.step(None if over else action)
            if over:  # the agents have left
                env.reset()
            watch.stop()
            days += not over
        return watch.rates(days)


def large_network(hubs: int = 100, depots: int = 10) -> Scenario:
    """A network with towns drawn at the density and of the sizes of Benelux, the same at every call."""
    rng = np.random.default_rng(0)
    known = load_scenario("benelux").towns
    side = math.sqrt(hubs / len(known))  # of the region, x that of Benelux
    latitudes, longitudes = [t.latitude for t in known], [t.longitude for t in known]
    people = rng.choice([t.population for t in known], hubs)
    towns = [
        Town(
            f"Town {i}",
            float(rng.uniform(min(latitudes), min(latitudes) + side * (max(latitudes) - min(latitudes)))),
            float(rng.uniform(min(longitudes), min(longitudes) + side * (max(longitudes) - min(longitudes)))),
            int(people[i]),
        )
        for i in range(hubs)
    ]
    with tempfile.TemporaryDirectory() as folder:
        text = region_yaml(plan_region(towns, depots), "large", "drawn for the benchmark")
        return write_region(text, Path(folder) / "large.yaml")


def measure(
    scenario: str,
    copies: int,
    threads: list[int],
    seconds: float,
    repetitions: int,
    progress: Callable[[str], None],
    large: bool = True,
) -> tuple[list[Throughput], float]:
    """Every way to step, in turn, `repetitions` times; and the share of resets in an episode of the batch."""
    ways: list[Any] = [
        *(_Batch(scenario, copies, count) for count in threads),
        _Parallel(scenario),
        _TurnBased(scenario, "PettingZoo raw_env", hub_network_v0.raw_env),
        _TurnBased(scenario, "PettingZoo env", hub_network_v0.env),
    ]
    if large:
        progress("a network of 100 hubs and 10 depots is made")
        ways.append(_Batch(large_network(), max(copies // 8, 1), 1, ", 100 hubs"))
    for way in ways:
        way.run(min(0.3, seconds))  # compiled, and past the quiet first days
    rates: dict[str, list[tuple[float, float]]] = {way.way: [] for way in ways}
    for repetition in range(repetitions):
        for way in ways:
            progress(f"{way.way}, {repetition + 1} of {repetitions}")
            rates[way.way].append(way.run(seconds))
    found = []
    for way in ways:
        clock, processor = zip(*rates[way.way], strict=True)
        found.append(
            Throughput(
                way=way.way,
                copies=way.copies,
                threads=way.threads,
                env_steps_per_s=statistics.median(clock),
                env_steps_per_s_range=(min(clock), max(clock)),
                agent_steps_per_s=statistics.median(clock) * way.agents,
                agent_steps_per_processor_s=statistics.median(processor) * way.agents,
                repetitions=repetitions,
            )
        )
    return found, ways[0].reset_share()


def memory(scenario: str) -> dict[str, int]:
    """Bytes a copy: of the largest arrays by name, of the rest, of all."""
    batch = HubNetworkVector(scenario)
    sizes = {name.removeprefix("state."): array.nbytes for name, array in batch.save_state().items()}
    largest = dict(sorted(sizes.items(), key=lambda item: -item[1])[:8])
    total = batch.bytes_per_copy
    return largest | {"rest": total - sum(largest.values()), "all": total}


def first_steps(scenario: str) -> dict[str, dict[str, float]]:
    """Seconds to the first step in a fresh process, with an empty compiler cache and with a full one."""
    results = {}
    with tempfile.TemporaryDirectory() as cache:
        for name in ("cold", "warm"):
            done = subprocess.run(
                [sys.executable, "-m", "benchmarks.first_step", scenario],
                env=os.environ | {"FABMESH_CACHE_DIR": cache},
                capture_output=True,
                text=True,
                check=True,
            )
            results[name] = json.loads(done.stdout.splitlines()[-1])
    return results


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.env_throughput", description=__doc__.splitlines()[0])
    parser.add_argument("--scenario", default="benelux", help="shipped name or path to a YAML file (benelux)")
    parser.add_argument("--num-envs", type=int, default=256, help="copies in the batch (256)")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="threads of the batch (1 2)")
    parser.add_argument("--seconds", type=float, default=2.0, help="seconds of stepping per measurement (2)")
    parser.add_argument("--repetitions", type=int, default=5, help="measurements of each way (5)")
    parser.add_argument("--no-start", action="store_true", help="leave out the start in a fresh process (a minute)")
    parser.add_argument("--no-large", action="store_true", help="leave out the network of 100 hubs and 10 depots")
    parser.add_argument("--json", type=Path, help="file to write the results to")
    options = parser.parse_args(arguments)

    def progress(text: str) -> None:
        if sys.stderr.isatty():
            print(f"  {text:<60}", end="\r", file=sys.stderr, flush=True)

    report: dict[str, Any] = {"scenario": options.scenario, "machine": machine(_PACKAGES)}
    print_machine(report["machine"])
    if not options.no_start:
        progress("start in a fresh process, cold and warm")
        report["first_step"] = first_steps(options.scenario)
        for name, seconds in report["first_step"].items():
            parts = ", ".join(f"{part.removesuffix('_s').replace('_', ' ')} {s:.1f} s" for part, s in seconds.items())
            print(f"{name} start: {parts}")
    report["bytes_per_copy"] = memory(options.scenario)
    print("bytes per copy: " + ", ".join(f"{name} {size:,}" for name, size in report["bytes_per_copy"].items()))
    results, report["reset_share"] = measure(
        options.scenario,
        options.num_envs,
        options.threads,
        options.seconds,
        options.repetitions,
        progress,
        not options.no_large,
    )
    progress("")
    report["throughput"] = [asdict(result) for result in results]
    write_report(options.json, report)
    print(f"resets: {report['reset_share']:.1%} of the time of an episode")
    print(f"{'':<26}{'copies':>8}{'env-steps/s':>14}{'range':>24}{'agent-steps/s':>16}{'per processor s':>18}")
    for r in results:
        low, high = r.env_steps_per_s_range
        print(
            f"{r.way:<26}{r.copies:>8}{r.env_steps_per_s:>14,.0f}{f'{low:,.0f} to {high:,.0f}':>24}"
            f"{r.agent_steps_per_s:>16,.0f}{r.agent_steps_per_processor_s:>18,.0f}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(guarded(main, "stopped"))
