"""Reports of a comparison: table in the terminal, JSON, CSV, TensorBoard."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from fabmesh import __version__
from fabmesh.agents.evaluation.comparison import Comparison
from fabmesh.agents.evaluation.files import write_whole
from fabmesh.agents.evaluation.measures import BY_NAME, MEASURES
from fabmesh.agents.evaluation.protocol import EpisodeTable
from fabmesh.agents.evaluation.statistics import Estimate, Paired, compare, estimate

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
COLUMNS = ("network_cost", "controllable_cost", "mission_cost", "deadstock")
UNDEFINED = "n/a"
MISSION_NOTE = "mission cost must be read beside the fill rate: who serves nobody has the lowest"
CHOSEN_NOTE = (
    "trained: each run's checkpoint was chosen on these validation seeds; "
    "fabmesh-evaluate --seeds test uses untouched ones"
)
SHARES = {
    "fill_rate": "fill\nrate",
    "on_time_share": "on\ntime",
    "logistics_share": "logistics\n/ network",
    "deadstock_share": "deadstock\n/ purchases",
    "retail_share": "retail\n/ purchases",
}


def _estimate_of(table: EpisodeTable, name: str) -> Estimate:
    return estimate(table.measures[name])


def _compare(a: EpisodeTable, b: EpisodeTable, name: str) -> Paired:
    return compare(a.measures[name], b.measures[name], BY_NAME[name].better)


def _number(value: float) -> float | None:
    """JSON has no nan: what is undefined is null."""
    return None if math.isnan(value) else value


def _interval(value: Estimate) -> list[float | None]:
    return [_number(value.low), _number(value.high)]


def to_json(comparison: Comparison) -> dict[str, Any]:
    """Put a comparison into the layout of the JSON file.

    Costs are EUR per episode over the whole network, settlement included; shares are of 1. What is undefined (a
    share of nothing, the interval of a single seed) is null.
    """
    policies = []
    for table in comparison.tables:
        entry: dict[str, Any] = {"name": table.policy, "sees": table.sees, "episodes": table.episodes}
        for item in MEASURES:
            value = _estimate_of(table, item.name)
            entry[item.name] = {"mean": _number(value.mean), "ci95": _interval(value)}
        policies.append(entry)
    paired = []
    for a, b in comparison.pairs():
        for name in PAIRED_MEASURES:
            result = _compare(a, b, name)
            paired.append(
                {
                    "a": a.policy,
                    "b": b.policy,
                    "measure": name,
                    "difference": _number(result.difference.mean),
                    "ci95": _interval(result.difference),
                    "share_won": _number(result.share_won),
                }
            )
    seeds = {"space": comparison.seeds.space, "count": comparison.seeds.count}
    return {
        "scenario": comparison.scenario,
        "seeds": seeds,
        "policies": policies,
        "paired": paired,
        "first_seed": comparison.seeds.first,
        "version": __version__,
        "scenario_hash": comparison.scenario_hash,
    }


def write_json(comparison: Comparison, path: Path) -> None:
    """Write the comparison as JSON."""
    text = json.dumps(to_json(comparison), indent=2, allow_nan=False) + "\n"
    write_whole(path, lambda draft: draft.write_text(text, encoding="utf-8"))


def write_csv(comparison: Comparison, path: Path) -> None:
    """Write one row per policy and seed: every measure, then every cost line, units in the column names."""
    lines = list(comparison.tables[0].costs)
    header = ["scenario", "policy", "sees", "seed_space", "seed_index", "seed"]
    header += [f"{item.name} [{item.unit}]" for item in MEASURES] + [f"cost {line} [EUR]" for line in lines]

    def write(draft: Path) -> None:
        with draft.open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            rows.writerow(header)
            for table in comparison.tables:
                for i, seed in enumerate(table.seeds):
                    what = [comparison.scenario, table.policy, table.sees, comparison.seeds.space]
                    numbers = [table.measures[item.name][i] for item in MEASURES] + [table.costs[k][i] for k in lines]
                    shown = ["" if np.isnan(number) else repr(float(number)) for number in numbers]
                    rows.writerow([*what, comparison.seeds.first + i, seed, *shown])

    write_whole(path, write)


def _thousands(value: Estimate) -> str:
    if math.isnan(value.mean):
        return UNDEFINED
    if math.isnan(value.low):
        return f"{value.mean / 1e3:,.1f}"
    half = (value.high - value.low) / 2e3
    digits = 1 if half < 10.0 else 0  # no more digits than the interval supports
    return f"{value.mean / 1e3:,.{digits}f} ± {half:,.{digits}f}"


def _percent(value: float) -> str:
    return UNDEFINED if math.isnan(value) else f"{100 * value:.1f}"


def words_of_saving(share: float) -> str:
    """Say what a share saved means: "saves 8.6 %", or "costs 8.6 % more" where it is negative."""
    return f"saves {100 * share:.1f} %" if share >= 0 else f"costs {-100 * share:.1f} % more"


def _table(title: str, caption: str | None = None) -> Table:
    return Table(
        title=title, caption=caption, box=None, padding=(0, 2, 0, 0), title_justify="left", caption_justify="left"
    )


def _costs_table(comparison: Comparison) -> Table:
    table = _table(
        f"{comparison.scenario}: {comparison.seeds.count} {comparison.seeds.space} seeds, kEUR per episode",
        f"mean ± half of the 95 % bootstrap interval; sees = what the policy may read\n{MISSION_NOTE}",
    )
    table.add_column("policy", no_wrap=True)
    table.add_column("sees", no_wrap=True)
    for name in COLUMNS:
        table.add_column(name.replace("_", "\n"), justify="right", no_wrap=True)
    for row in comparison.tables:
        table.add_row(row.policy, row.sees, *(_thousands(_estimate_of(row, name)) for name in COLUMNS))
    return table


def _service_table(comparison: Comparison) -> Table:
    table = _table("service and shares, %")
    table.add_column("policy", no_wrap=True)
    for heading in SHARES.values():
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("lead\ntime, d", justify="right")
    for row in comparison.tables:
        days = _estimate_of(row, "lead_time_days").mean
        shares = (_percent(_estimate_of(row, name).mean) for name in SHARES)
        table.add_row(row.policy, *shares, UNDEFINED if math.isnan(days) else f"{days:.2f}")
    return table


def _paired_table(comparison: Comparison) -> Table:
    table = _table(
        "network cost, seed by seed: a - b, kEUR per episode",
        "interval: 95 % bootstrap; a against b: in % of b's controllable cost",
    )
    table.add_column("a", no_wrap=True)
    table.add_column("b", no_wrap=True)
    for column in ("difference", "interval", "a against b", "won by\na, %"):
        table.add_column(column, justify="right", no_wrap=True)
    for a, b in comparison.pairs():
        result = _compare(a, b, "network_cost")
        base = float(b.measures["controllable_cost"].mean())
        mean, low, high = (
            value / 1e3 for value in (result.difference.mean, result.difference.low, result.difference.high)
        )
        interval = UNDEFINED if math.isnan(low) else f"[{low:+,.1f}, {high:+,.1f}]"
        share = UNDEFINED if base <= 0 else words_of_saving(-1e3 * mean / base)
        table.add_row(a.policy, b.policy, f"{mean:+,.1f}", interval, share, _percent(result.share_won))
    return table


def print_tables(comparison: Comparison, console: Console) -> None:
    """Print costs, service and paired differences."""
    console.print(_costs_table(comparison), "", _service_table(comparison), sep="\n")
    if len(comparison.tables) > 1:
        console.print("", _paired_table(comparison), sep="\n")


def log_tensorboard(comparison: Comparison, directory: Path, figures: Mapping[str, Any]) -> None:
    """Write scalars, hyperparameters (policy, scenario, seeds) and figures for TensorBoard.

    Args:
        comparison: What to log.
        directory: Log directory; one run per policy below it, and the figures in `figures`.
        figures: Name -> matplotlib figure.
    """
    # Imported here because torch takes a second to load and the tables do without it.
    from torch.utils.tensorboard import SummaryWriter

    for table in comparison.tables:
        run = directory / table.policy.replace("/", "_").replace(":", "_")
        means = {f"evaluation/{item.name}": _estimate_of(table, item.name).mean for item in MEASURES}
        defined = {tag: mean for tag, mean in means.items() if not math.isnan(mean)}
        settings: dict[str, bool | str | float | int] = {
            "policy": table.policy,
            "sees": table.sees,
            "scenario": comparison.scenario,
            "seeds": f"{comparison.seeds.space} {comparison.seeds.first}+{comparison.seeds.count}",
        }
        with SummaryWriter(str(run)) as writer:
            writer.add_hparams(settings, defined, run_name=".")
    with SummaryWriter(str(directory / "figures")) as writer:
        for name, figure in figures.items():
            writer.add_figure(name, figure, close=False)
