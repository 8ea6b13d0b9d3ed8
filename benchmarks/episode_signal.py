"""What an episode tells of the policies' weights: `python -m benchmarks.episode_signal --json FILE`.

The network that has imitated the teacher explores as the shipped settings say, and nothing is learned: how much of the
costs' variance is the worlds', how much lies within groups of copies on one world, how much of that is odd in the draws
(what antithetic pairs keep), and how surely a group tells the effect of the constants of the correction, one for each
component of each agent. That is the squared length of the gradient over the squared error of one group's estimate; the
squared length is estimated without bias, by products of different groups' estimates.
"""

from __future__ import annotations

import argparse
import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import kurtosis, norm, rankdata
from tqdm import trange

from benchmarks.machine import machine, print_machine, write_report
from fabmesh.agents.commands import train as cli
from fabmesh.agents.learning.algorithms.training import Training
from fabmesh.agents.learning.run.settings import parse
from fabmesh.envs.commands import guarded
from fabmesh.envs.network.loading import load_scenario

_PACKAGES = ("fabmesh", "numpy", "scipy", "torch")
CLIPPED_AT = 3.0
"""Median absolute deviations."""

Floats = NDArray[np.float64]


def constants(training: Training) -> Floats:
    """Draws of the constants of all agents' components that the episodes were played with, [copies, constants]."""
    correlation = training.config.rollout.correlation
    found = []
    for role, buffer in training.collector.roles.items():
        common = buffer.common[:, :, training.policies[role].block, 0]
        draws = math.sqrt(1.0 - correlation) * buffer.own[..., 0] + math.sqrt(correlation) * common
        found.append(draws.flatten(1))
    return torch.cat(found, dim=1).double().numpy()


def certainty(scores: Floats, draws: Floats) -> float:
    """Squared length of the gradient / squared error of a group's estimate.

    Args:
        scores: What counts of each copy, without its group's mean, [groups, copies].
        draws: What it was played with, [groups, copies, weights].
    """
    estimates = (scores[..., None] * draws).mean(axis=1)
    groups, total = len(estimates), estimates.sum(axis=0)
    own = float((estimates**2).sum())
    signal = (float((total**2).sum()) - own) / (groups * (groups - 1))
    return signal / (own / groups - signal)


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.episode_signal", description=__doc__.splitlines()[0])
    parser.add_argument("--scenario", default="rotterdam", help="shipped scenario with settings of its own (rotterdam)")
    parser.add_argument("--iterations", type=int, default=5, help="rollouts, each an episode of every copy (5)")
    parser.add_argument("--json", type=Path, help="file to write the results to")
    options = parser.parse_args(arguments)
    scenario = load_scenario(options.scenario)
    config = cli.for_scenario(parse(["--scenario", options.scenario]), scenario)
    config = replace(config, machine=replace(config.machine, torch_threads=1))
    report: dict[str, Any] = {"scenario": scenario.name, "machine": machine(_PACKAGES)}
    print_machine(report["machine"])

    training = Training(config, cli.task_for(config, scenario))
    training.start(print)
    weights = torch.tensor([config.ppo.lost_weight, config.ppo.supply_weight], dtype=torch.float64)
    costs, learned, draws = [], [], []
    for _ in trange(options.iterations, unit="rollout"):
        training.collector.collect()
        rollout = training.collector
        cost = rollout.costs.sum(dim=0)
        costs.append(cost.numpy())
        learned.append((cost + rollout.settlements.sum(dim=0) + rollout.goals.sum(dim=0) @ weights).numpy())
        draws.append(constants(training))

    group = config.rollout.group
    cost, score = np.concatenate(costs).reshape(-1, group), np.concatenate(learned).reshape(-1, group)
    by_weight = np.concatenate(draws).reshape(*score.shape, -1)
    within = score - score.mean(axis=1, keepdims=True)
    odd = (score[:, : group // 2] - score[:, group // 2 :]) / 2.0
    limit = CLIPPED_AT * float(np.median(np.abs(within)))
    ranks = norm.ppf((rankdata(score, axis=1) - 0.5) / group)
    report |= {
        "episodes": score.size,
        "groups": len(score),
        "constants": by_weight.shape[-1],
        "deviation_of_network_cost_eur": float(cost.std()),
        "deviation_of_network_cost_within_groups_eur": float((cost - cost.mean(axis=1, keepdims=True)).std()),
        "share_of_variance_between_groups": 1.0 - float(within.var() / score.var()),
        "share_odd_in_draws": float((odd**2).mean() / within.var()) if config.rollout.antithetic else None,
        "kurtosis_within_groups": float(kurtosis(within.ravel(), fisher=False)),
        "certainty_of_a_group": {
            "cost": certainty(within, by_weight),
            f"cost, clipped at {CLIPPED_AT:g} median deviations": certainty(within.clip(-limit, limit), by_weight),
            "ranks in the group": certainty(ranks, by_weight),
        },
    }
    write_report(options.json, report)
    for name, value in report.items():
        if name not in ("machine", "certainty_of_a_group"):
            print(f"{name.replace('_', ' '):<48}{f'{value:,.3f}' if isinstance(value, float) else value!s:>14}")
    for name, value in report["certainty_of_a_group"].items():
        print(f"{f'certainty of a group, {name}':<62}{value:.4f}")
    return 0


if __name__ == "__main__":
    sys.exit(guarded(main, "stopped"))
