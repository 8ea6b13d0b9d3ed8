"""Compare policies on the same worlds: `python evaluate.py --scenario rotterdam --policies base_stock nearest`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.console import Console

from fabmesh.agents.evaluation import report
from fabmesh.agents.evaluation.comparison import compare_policies
from fabmesh.agents.evaluation.files import check_writable
from fabmesh.agents.evaluation.seeds import seed_set
from fabmesh.agents.registry import make_policy
from fabmesh.envs.errors import FabmeshError
from fabmesh.envs.network.loading import load_scenario


@dataclass(frozen=True)
class EvaluateConfig:
    """Compare policies on the same worlds: costs, service and paired differences with 95 % intervals.

    Costs are EUR per episode over the whole network, settlement included. Prints tables; writes files where asked.
    """

    policies: Annotated[tuple[str, ...], tyro.conf.arg(metavar="POLICY [POLICY ...]")]
    """Policies to compare: base_stock, nearest, random, idle, or the path of a run directory or checkpoint; a path
    may end in :sample for sampled instead of most likely actions."""
    scenario: str = "rotterdam"
    """Name of a shipped scenario or path of a YAML file."""
    seeds: Literal["train", "validation", "test", "holdout"] = "validation"
    """Seed space: validation (64 named seeds), test (256 named seeds), train or holdout (as many as wanted)."""
    episodes: int = 64
    """Number of seeds = episodes per policy."""
    first_seed: int = 0
    """Index of the first seed in its space."""
    threads: int = 1
    """Threads that step the worlds; results do not depend on it."""
    json: Path | None = None
    """File for means, intervals and paired differences as JSON."""
    csv: Path | None = None
    """File for every measure of every episode as CSV, one row per policy and seed."""
    figures: Path | None = None
    """Directory for figures (PNG)."""
    tensorboard: Path | None = None
    """Log directory for TensorBoard: scalars, hyperparameters and figures."""
    quiet: bool = False
    """No progress bar."""


def run(config: EvaluateConfig, console: Console) -> None:
    """Compare, print and write.

    Raises:
        FabmeshError: If something the user gave is wrong; then nothing has been written.
    """
    if not config.policies:
        raise FabmeshError("--policies: name at least one policy")
    if config.threads < 1:
        raise FabmeshError(f"--threads {config.threads}: at least 1 thread is needed")
    for option, file in (("--json", config.json), ("--csv", config.csv)):
        if file is not None:
            check_writable(file, option)
    for option, directory in (("--figures", config.figures), ("--tensorboard", config.tensorboard)):
        if directory is not None:
            check_writable(directory, option, directory=True)
    seeds = seed_set(config.seeds, config.episodes, config.first_seed)
    scenario = load_scenario(config.scenario)
    policies = [make_policy(name, scenario) for name in config.policies]

    comparison = compare_policies(policies, scenario, seeds, config.threads, config.quiet)

    report.print_tables(comparison, console)
    if config.json is not None:
        report.write_json(comparison, config.json)
    if config.csv is not None:
        report.write_csv(comparison, config.csv)
    if config.figures is not None or config.tensorboard is not None:
        from fabmesh.agents.evaluation import plots  # matplotlib takes a second to import

        figures = plots.comparison_figures(comparison)
        if config.figures is not None:
            plots.save_figures(figures, config.figures)
        if config.tensorboard is not None:
            report.log_tensorboard(comparison, config.tensorboard, figures)
    written = [path for path in (config.json, config.csv, config.figures, config.tensorboard) if path is not None]
    if written:
        console.print("written: " + ", ".join(str(path) for path in written), highlight=False, soft_wrap=True)


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0, 2 for wrong input, 130 when stopped."""
    config = tyro.cli(EvaluateConfig, args=args, prog="fabmesh-evaluate")
    try:
        run(config, Console())
    except FabmeshError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; nothing has been written", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
