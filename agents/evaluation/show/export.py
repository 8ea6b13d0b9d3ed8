"""A comparison as files that programs read: JSON, CSV, and JSON in marl-eval's layout."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fabmesh import __version__
from fabmesh.agents.evaluation.judge.comparison import ALL_PAIRS_IN_FILES, Comparison
from fabmesh.agents.evaluation.measures.catalogue import measure_named
from fabmesh.agents.evaluation.show.curves import steps_of_run
from fabmesh.agents.evaluation.statistics import Estimate
from fabmesh.envs.files import write_rows, write_text

# Compared pair by pair; differences of network and of controllable cost are equal seed by seed, their percentages not.
PAIRED_MEASURES = (
    "network_cost",
    "controllable_cost",
    "mission_cost",
    "deadstock",
    "fill_rate",
    "on_time_share",
    "lead_time_days",
)
ENVIRONMENT = "fabmesh"  # name of the environment in marl-eval's layout


def to_json(comparison: Comparison) -> dict[str, Any]:
    """Put a comparison into the layout of the JSON file.

    Costs are EUR per episode over the whole network, settlement included; shares are of 1. What is undefined (a
    share of nothing, the interval of a single seed) is null.
    """
    policies = []
    for row in comparison.rows:
        entry: dict[str, Any] = {"name": row.name, "sees": row.sees, "episodes": row.episodes}
        for name, found in row.summaries.items():
            entry[name] = {
                "mean": number_of(found.mean.mean),
                "ci95": interval_of(found.mean),
                "median": number_of(found.median),
                "iqm": number_of(found.iqm),
                "cvar95": number_of(found.cvar95),
            }
            if len(row.runs) > 1:
                entry[name]["run_means"] = [number_of(value) for value in found.run_means]
        entry["runs"] = len(row.runs)
        policies.append(entry)
    paired = []
    for a, b in comparison.pairs(ALL_PAIRS_IN_FILES):
        for name in PAIRED_MEASURES:
            result = comparison.paired(a, b, name)
            paired.append(
                {
                    "a": a.name,
                    "b": b.name,
                    "measure": name,
                    "difference": number_of(result.difference.mean),
                    "ci95": interval_of(result.difference),
                    "share_won": number_of(result.share_won),
                    "median": number_of(result.median),
                    "iqm": number_of(result.iqm),
                }
            )
    names = list(comparison.rows[0].runs[0].measures)
    orders = comparison.orders
    recorded = {} if orders is None else {"orders": {"file": orders.source, "sha256": orders.sha256}}
    return {
        "scenario": comparison.scenario.name,
        "seeds": {"space": comparison.seeds.space, "count": comparison.seeds.count},
        "policies": policies,
        "paired": paired,
        "first_seed": comparison.seeds.first,
        "version": __version__,
        "scenario_hash": comparison.scenario_hash,
        "units": {name: measure_named(name).unit for name in names},
        **recorded,
    }


def write_json(content: Mapping[str, Any], path: Path) -> None:
    """Write plain values as JSON, the whole file or nothing."""
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def write_csv(comparison: Comparison, path: Path) -> None:
    """Write one row per policy, run and seed: every measure, then every cost line, units in the column names."""
    first = comparison.rows[0].runs[0]
    names, lines = list(first.measures), list(first.costs)
    header = ["scenario", "policy", "sees", "run", "seed_space", "seed_index", "seed"]
    header += [f"{name} [{measure_named(name).unit}]" for name in names] + [f"cost {line} [EUR]" for line in lines]

    def rows() -> Iterator[list[object]]:
        yield [*header]
        for row in comparison.rows:
            for run, table in enumerate(row.runs, start=1):
                for i, seed in enumerate(table.seeds):
                    what = [comparison.scenario.name, row.name, row.sees, run, comparison.seeds.space]
                    numbers = [table.measures[name][i] for name in names] + [table.costs[k][i] for k in lines]
                    yield [*what, comparison.seeds.first + i, seed, *(number_of(float(number)) for number in numbers)]

    write_rows(path, rows())


def to_marl_eval(comparison: Comparison) -> dict[str, Any]:
    """Put a comparison into the raw-data layout of marl-eval (Gorsane et al. 2022).

    Environment -> task -> algorithm -> run -> step and "absolute_metrics" -> metric -> a value per episode. The task
    is the scenario, a run a training seed. There is one logging step, the policy that is judged: `step_count` is the
    environment steps it was trained for, 0 for a rule. Because that tool takes more for better, the first metric is
    the `return`: minus the network cost, EUR. A metric that is undefined in some episode is left out.

    marl-eval wants as many runs of every algorithm; a rule has one, and is repeated as often as the algorithm with
    most runs was trained, which is what its training seeds would give.
    """
    algorithms: dict[str, Any] = {}
    most = max(len(row.runs) for row in comparison.rows)
    names = [
        name
        for name in comparison.rows[0].runs[0].measures
        if all(np.isfinite(row.values(name)).all() for row in comparison.rows)
    ]
    for row in comparison.rows:
        runs = {}
        for number in range(most if len(row.runs) == 1 else len(row.runs)):
            table = row.runs[min(number, len(row.runs) - 1)]
            metrics = {"return": (-table.measures["network_cost"]).tolist()}
            metrics |= {name: table.measures[name].tolist() for name in names}
            steps = steps_of_run(row.sources[min(number, len(row.runs) - 1)]) if row.sources else 0
            runs[f"run_{number + 1}"] = {"step_1": {"step_count": steps, **metrics}, "absolute_metrics": metrics}
        algorithms[row.name] = runs
    return {ENVIRONMENT: {comparison.scenario.name: algorithms}}


def number_of(value: float) -> float | None:
    """JSON has no nan: what is undefined is null."""
    return None if math.isnan(value) else value


def interval_of(value: Estimate) -> list[float | None]:
    """The ends of an interval, null where there is none."""
    return [number_of(value.low), number_of(value.high)]
