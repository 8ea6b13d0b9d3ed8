"""How fast training goes, learning included: `python -m benchmarks.train_throughput --json FILE`.

MAPPO with a central critic against Stable-Baselines3's PPO on the same worlds, with networks of the same widths and the
same settings: copies, days, epochs, minibatches, and as many threads. Those of MAPPO step worlds, draw actions and work
out gradients, with one thread of PyTorch each; SB3 has them for the worlds and within PyTorch. An iteration is one
rollout and one update. The two take turns (A B A B ...), so that a machine that slows down slows both down; given are
medians over the turns, and their ratio: by the clock, and per second of processor time, of all threads together, which
other work on the machine disturbs less but which says nothing of a GPU. Imitation and validation are left out: they are
no part of an iteration.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.machine import machine, print_machine, write_report
from fabmesh.agents.learning.algorithms.training import Training
from fabmesh.agents.learning.config import (
    Algorithm,
    ConfigError,
    ImitationConfig,
    MachineConfig,
    NetworkConfig,
    PpoConfig,
    RolloutConfig,
    TrainConfig,
    validate,
)
from fabmesh.agents.learning.run.session import Session, Task, device_of
from fabmesh.envs.commands import guarded
from fabmesh.envs.network.loading import load_scenario
from fabmesh.envs.vector import HubNetworkVector

_PACKAGES = ("fabmesh", "numpy", "numba", "torch", "stable-baselines3")


class _TimedBatch(HubNetworkVector):
    """Counts the seconds spent stepping the worlds."""

    seconds = 0.0

    def step(self, actions: Any) -> Any:
        """See `HubNetworkVector.step`."""
        began = time.perf_counter()
        result = super().step(actions)
        self.seconds += time.perf_counter() - began
        return result


class _Trainer:
    """One learner, iteration after iteration."""

    def __init__(self, name: str, config: TrainConfig, make: Callable[[TrainConfig, Task], Session]) -> None:
        scenario = load_scenario(config.scenario)
        threads = config.machine.env_threads
        task = Task(scenario.name, lambda copies: _TimedBatch(scenario, num_envs=copies, threads=threads))
        self.name = name
        self.session = make(config, task)
        self.session.start()
        self.agent_steps_per_s: list[float] = []
        self.agent_steps_per_processor_s: list[float] = []
        self.environment_share: list[float] = []
        self.session.iterate()  # compiled, allocated

    def run(self, iterations: int) -> None:
        """Measure some iterations as one."""
        batch, config = self.session.batch, self.session.config
        assert isinstance(batch, _TimedBatch)
        steps = iterations * config.steps_per_iteration * batch.num_agents
        before, began, processor_began = batch.seconds, time.perf_counter(), time.process_time()
        torch.set_num_threads(config.machine.torch_threads)  # the other has set its own
        for _ in range(iterations):
            self.session.iterate()
        passed, processor = time.perf_counter() - began, time.process_time() - processor_began
        self.agent_steps_per_s.append(steps / passed)
        self.agent_steps_per_processor_s.append(steps / processor)
        self.environment_share.append((batch.seconds - before) / passed)

    def result(self) -> dict[str, Any]:
        """Medians and ranges over the turns."""
        rates = self.agent_steps_per_s
        return {
            "trainer": self.name,
            "agent_steps_per_s": statistics.median(rates),
            "agent_steps_per_s_range": [min(rates), max(rates)],
            "agent_steps_per_processor_s": statistics.median(self.agent_steps_per_processor_s),
            "environment_share": statistics.median(self.environment_share),
            "turns": len(rates),
        }


def _config(options: argparse.Namespace, algo: Algorithm) -> TrainConfig:
    return TrainConfig(
        scenario=options.scenario,
        algo=algo,
        total_steps=10**9,
        rollout=RolloutConfig(copies=options.copies, group=8, days=options.days),
        # no early stop: every epoch that is asked for is run
        ppo=PpoConfig(epochs=options.epochs, minibatches=options.minibatches, target_kl=0.0),
        imitation=ImitationConfig(teacher="none"),
        network=NetworkConfig(hidden=(128, 128), critic_hidden=(128, 128)),
        machine=MachineConfig(
            torch_threads=options.threads if algo == "sb3_ppo" else 1,
            env_threads=options.threads,
            device=options.device,
        ),
    )


def _ratio(ours: list[float], theirs: list[float]) -> float:
    """Median over the turns."""
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.train_throughput", description=__doc__.splitlines()[0])
    parser.add_argument("--scenario", default="benelux", help="shipped name or path to a YAML file (benelux)")
    parser.add_argument("--copies", type=int, default=256, help="copies stepped together (256)")
    parser.add_argument("--days", type=int, default=32, help="days of a rollout (32)")
    parser.add_argument("--epochs", type=int, default=4, help="passes over a rollout (4)")
    parser.add_argument("--minibatches", type=int, default=4, help="minibatches of a pass (4)")
    parser.add_argument("--threads", type=int, default=2, help="threads of each (2)")
    parser.add_argument("--device", default="cpu", help="where both keep their networks: cpu, cuda or cuda:N (cpu)")
    parser.add_argument("--iterations", type=int, default=2, help="iterations per turn (2)")
    parser.add_argument("--turns", type=int, default=5, help="turns of each trainer (5)")
    parser.add_argument("--json", type=Path, help="file to write the results to")
    options = parser.parse_args(arguments)
    try:
        validate(_config(options, "mappo"))
        device = device_of(_config(options, "mappo"))
    except ConfigError as error:
        parser.error(str(error))

    report: dict[str, Any] = {"settings": vars(options) | {"json": None}, "machine": machine(_PACKAGES)}
    print_machine(report["machine"])
    if device.type == "cuda":
        report["machine"]["gpu"] = torch.cuda.get_device_name(device)
        print(report["machine"]["gpu"])
    trainers = [_Trainer("fabmesh MAPPO", _config(options, "mappo"), Training)]
    try:
        from fabmesh.agents.learning.algorithms.sb3 import Sb3Training
    except ModuleNotFoundError:
        print("Stable-Baselines3 is not installed: measured without it (pip install 'fabmesh[sb3]')")
    else:
        # SB3 sees each agent as an environment of its own; its threads are PyTorch's as well
        trainers.append(_Trainer("SB3 PPO", _config(options, "sb3_ppo"), Sb3Training))
    for turn in range(options.turns):
        for trainer in trainers:
            if sys.stderr.isatty():
                print(f"  {trainer.name}, {turn + 1} of {options.turns:<40}", end="\r", file=sys.stderr, flush=True)
            trainer.run(options.iterations)
    report["load_average_after"] = os.getloadavg()[0]
    report["trainers"] = [trainer.result() for trainer in trainers]
    if len(trainers) == 2:
        ours, theirs = trainers
        report["ratio"] = _ratio(ours.agent_steps_per_s, theirs.agent_steps_per_s)
        report["ratio_processor"] = _ratio(ours.agent_steps_per_processor_s, theirs.agent_steps_per_processor_s)
    write_report(options.json, report)
    print(f"{'':<16}{'agent-steps/s':>15}{'range':>22}{'per processor s':>18}{'environment share':>20}")
    for r in report["trainers"]:
        low, high = r["agent_steps_per_s_range"]
        print(
            f"{r['trainer']:<16}{r['agent_steps_per_s']:>15,.0f}{f'{low:,.0f} to {high:,.0f}':>22}"
            f"{r['agent_steps_per_processor_s']:>18,.0f}{r['environment_share']:>20.1%}"
        )
    if "ratio" in report:
        print(
            f"ratio of the two, median over the turns: {report['ratio']:.2f} by the clock, "
            f"{report['ratio_processor']:.2f} per second of processor time"
        )
    return 0


if __name__ == "__main__":
    sys.exit(guarded(main, "stopped"))
