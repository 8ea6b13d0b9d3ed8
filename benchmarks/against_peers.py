"""Speed beside other simulators: `python -m benchmarks.against_peers --json FILE`.

Random actions, drawn outside the timed part; episodes that end go on to the next inside it. Everyone takes turns in one
process (A B A B ...), so that a machine that slows down slows all down; given are medians over the turns, and fabmesh's
figure over theirs. Worlds differ in what they model (last column), so a ratio says what a researcher's minute buys and
not whose code is better. Peers come with `pip install -e '.[bench]'`; one that is missing is a printed line.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import machine, print_machine, write_report
from fabmesh.envs.commands import guarded
from fabmesh.envs.testing import random_actions
from fabmesh.envs.vector import HubNetworkVector

_PACKAGES = ("fabmesh", "numpy", "numba", "torch", "vmas", "mpe2", "rware", "gym-invmgmt")


@dataclass(frozen=True)
class Simulator:
    """One of the compared.

    Attributes:
        name: As shown.
        models: What a step simulates.
        copies: Networks or games stepped by one call.
        agents: Agents of each.
        step: Takes nothing, steps once, returns the seconds the step took.
    """

    name: str
    models: str
    copies: int
    agents: int
    step: Callable[[], float]


def fabmesh(scenario: str, copies: int, threads: int) -> Simulator:
    """The batch of this project."""
    batch = HubNetworkVector(scenario, num_envs=copies, threads=threads)
    rng = np.random.default_rng(0)
    masks = [batch.reset(seed=0)[1]["action_mask"]]

    def step() -> float:
        actions = random_actions(batch, masks[0], rng)
        began = time.perf_counter()
        info = batch.step(actions)[4]
        passed = time.perf_counter() - began
        masks[0] = info["action_mask"]
        return passed

    name = f"fabmesh {batch.scenario.name}, {threads} thread{'s' * (threads > 1)}"
    models = "two markets, stock by age, production, freight, tenders, outages; auto-reset"
    return Simulator(name, models, copies, batch.num_agents, step)


def vmas_spread(copies: int) -> Simulator:
    """VMAS simple_spread (Bettini et al. 2022), batched in PyTorch."""
    import torch
    import vmas

    torch.set_num_threads(1)
    env = vmas.make_env("simple_spread", num_envs=copies, device="cpu", continuous_actions=True, seed=0, max_steps=100)
    env.reset()

    def step() -> float:
        actions = [env.get_random_action(agent) for agent in env.agents]
        began = time.perf_counter()
        done = env.step(actions)[2]
        if bool(done.all()):  # all copies began together and are cut together
            env.reset()
        return time.perf_counter() - began

    return Simulator(f"VMAS simple_spread, {copies} copies", "3 point masses in a plane", copies, env.n_agents, step)


def mpe_spread() -> Simulator:
    """PettingZoo's particle world, one copy."""
    from mpe2 import simple_spread_v3

    env = simple_spread_v3.parallel_env()
    env.reset(seed=0)

    def step() -> float:
        actions = {agent: env.action_space(agent).sample() for agent in env.agents}
        began = time.perf_counter()
        env.step(actions)
        if not env.agents:
            env.reset()
        return time.perf_counter() - began

    return Simulator("MPE simple_spread (mpe2)", "3 point masses in a plane", 1, len(env.possible_agents), step)


def warehouse() -> Simulator:
    """RWARE, the robotic warehouse (Papoudakis et al. 2021), one copy."""
    import gymnasium
    import rware  # noqa: F401  # registers its environments

    return _gymnasium(gymnasium.make("rware-tiny-4ag-v2"), "RWARE tiny-4ag", "4 robots on a grid of shelves", 4)


def inventory() -> Simulator:
    """gym-invmgmt, a supply network of one product and one central agent, one copy."""
    import gym_invmgmt  # noqa: F401  # registers its environments
    import gymnasium

    env = gymnasium.make("GymInvMgmt/MultiEchelon-v0")
    return _gymnasium(env, "gym-invmgmt MultiEchelon", "1 product, 11 links, no prices or ageing", 1)


def _gymnasium(env: Any, name: str, models: str, agents: int) -> Simulator:
    env.reset(seed=0)
    env.action_space.seed(0)

    def step() -> float:
        action = env.action_space.sample()
        began = time.perf_counter()
        _, _, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            env.reset()
        return time.perf_counter() - began

    return Simulator(name, models, 1, agents, step)


def _rate(simulator: Simulator, seconds: float) -> float:
    """Agent-steps per second of stepping."""
    spent, steps = 0.0, 0
    while spent < seconds:
        spent += simulator.step()
        steps += 1
    return steps * simulator.copies * simulator.agents / spent


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.against_peers", description=__doc__.splitlines()[0])
    parser.add_argument("--scenario", default="benelux", help="fabmesh's, shipped name or YAML file (benelux)")
    parser.add_argument("--copies", type=int, nargs="+", default=[256, 1024], help="copies of batched ones (256 1024)")
    parser.add_argument("--seconds", type=float, default=1.0, help="seconds of stepping per turn (1)")
    parser.add_argument("--turns", type=int, default=5, help="turns of each (5)")
    parser.add_argument("--json", type=Path, help="file to write the results to")
    options = parser.parse_args(arguments)

    report: dict[str, Any] = {"machine": machine(_PACKAGES)}
    print_machine(report["machine"])
    warnings.filterwarnings("ignore", module="gymnasium|gym|vmas|pyglet")
    compared = [fabmesh(options.scenario, options.copies[0], threads) for threads in (1, 2)]
    makers: list[Callable[[], Simulator]] = [lambda n=n: vmas_spread(n) for n in options.copies]  # type: ignore[misc]
    for make in (*makers, mpe_spread, warehouse, inventory):
        try:
            compared.append(make())
        except ModuleNotFoundError as error:
            print(f"{error.name} is not installed: left out (pip install -e '.[bench]')")
    for simulator in compared:
        _rate(simulator, min(0.5, options.seconds))  # compiled, warm
    rates: list[list[float]] = [[] for _ in compared]
    for turn in range(options.turns):
        for simulator, found in zip(compared, rates, strict=True):
            if sys.stderr.isatty():
                print(f"  {simulator.name}, {turn + 1} of {options.turns:<40}", end="\r", file=sys.stderr, flush=True)
            found.append(_rate(simulator, options.seconds))
    best = max(rates[:2], key=statistics.median)
    ratios = [statistics.median(a / b for a, b in zip(best, found, strict=True)) for found in rates]
    rows = []
    for simulator, found, ratio in zip(compared, rates, ratios, strict=True):
        row = asdict(simulator) | {"agent_steps_per_s": statistics.median(found), "range": [min(found), max(found)]}
        del row["step"]
        rows.append(row | {"fabmesh_over_it": ratio})
    write_report(options.json, report | {"simulators": rows})
    print(f"{'':<32}{'copies':>7}{'agents':>7}{'agent-steps/s':>15}{'fabmesh is':>13}  models")
    for simulator, found, ratio in zip(compared, rates, ratios, strict=True):
        print(
            f"{simulator.name:<32}{simulator.copies:>7}{simulator.agents:>7}{statistics.median(found):>15,.0f}"
            f"{f'{ratio:.2f} x':>13}  {simulator.models}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(guarded(main, "stopped"))
