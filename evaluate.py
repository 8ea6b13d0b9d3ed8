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
from fabmesh.agents.evaluation.comparison import Comparison, compare_policies
from fabmesh.agents.evaluation.files import check_writable
from fabmesh.agents.evaluation.seeds import seed_set
from fabmesh.agents.registry import is_trained, make_policy
from fabmesh.envs.errors import FabmeshError
from fabmesh.envs.network.loading import load_scenario

MAX_EPISODES = 4096  # all of them are in memory at once


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
    """Seed space: validation (64 named seeds, on which training chooses a run's checkpoint), test (256 named seeds
    that training never touches: use them for results), train or holdout (up to 4096 at a time)."""
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
        KeyboardInterrupt: If the user stops it; with a message if files may have been written by then.
    """
    if not config.policies:
        raise FabmeshError("--policies: name at least one policy")
    if config.threads < 1:
        raise FabmeshError(f"--threads {config.threads}: at least 1 thread is needed")
    if config.episodes > MAX_EPISODES:
        raise FabmeshError(
            f"--episodes {config.episodes}: at most {MAX_EPISODES} at a time; go on with --first-seed {MAX_EPISODES}"
        )
    places = _places(config)
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
    if config.seeds == "validation" and any(is_trained(name) for name in config.policies):
        console.print("", report.CHOSEN_NOTE, sep="\n", highlight=False, soft_wrap=True)
    if not places:
        return
    where = ", ".join(str(path) for path in places)
    try:
        _write(config, comparison)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"stopped while writing: {where} may be missing, or from before") from None
    console.print(f"written: {where}", highlight=False, soft_wrap=True)


def _places(config: EvaluateConfig) -> list[Path]:
    """Files and directories to write.

    Raises:
        FabmeshError: If two of them are the same.
    """
    asked = {
        "--json": config.json,
        "--csv": config.csv,
        "--figures": config.figures,
        "--tensorboard": config.tensorboard,
    }
    taken: dict[Path, str] = {}
    for option, path in asked.items():
        if path is None or (option == "--tensorboard" and path.resolve() == _resolved(config.figures)):
            continue  # figures and logs may share a directory
        other = taken.setdefault(path.resolve(), option)
        if other != option:
            raise FabmeshError(f"{option} {path}: is the path of {other} as well, give another one")
    return [path for path in asked.values() if path is not None]


def _resolved(path: Path | None) -> Path | None:
    return None if path is None else path.resolve()


def _write(config: EvaluateConfig, comparison: Comparison) -> None:
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


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0, 2 for wrong input, 130 when stopped."""
    config = tyro.cli(EvaluateConfig, args=args, prog="fabmesh-evaluate")
    try:
        run(config, Console())
    except FabmeshError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except MemoryError:
        print(f"error: --episodes {config.episodes}: too many for this machine's memory", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        print(str(stop) or "stopped; nothing has been written", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
