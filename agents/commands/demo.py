"""The demonstration: train on real towns, compare with the baselines, say where everything lies.

`make demo` runs `python -m fabmesh.agents.commands.demo`. Run again, it reuses the checkpoint of the same settings.
"""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from fabmesh.agents.commands import train as cli
from fabmesh.agents.evaluation.judge import manifest
from fabmesh.agents.evaluation.judge.comparison import compare_entries
from fabmesh.agents.evaluation.judge.entries import parse_entries
from fabmesh.agents.evaluation.judge.seeds import seed_set
from fabmesh.agents.evaluation.show import tables as report
from fabmesh.agents.evaluation.show.outputs import outputs_in, write_outputs, write_then_show
from fabmesh.agents.heuristics import names_for
from fabmesh.agents.learning.config import TrainConfig
from fabmesh.agents.learning.run import checkpoint, shipped
from fabmesh.agents.learning.run.session import is_over
from fabmesh.agents.learning.run.settings import parse, settings_hash
from fabmesh.envs.commands import MOST_THREADS, guarded, require_within
from fabmesh.envs.errors import FabmeshError
from fabmesh.envs.files import check_writable
from fabmesh.envs.network.loading import load_scenario
from fabmesh.envs.terminal import Terminal
from fabmesh.envs.worlds import NAMED


@dataclass(frozen=True)
class DemoConfig:
    """Train on a scenario for some minutes, then compare with the baselines on validation worlds."""

    scenario: str = "rotterdam"
    """Name of a shipped scenario or path of a YAML file."""
    algo: str = "mappo"
    """Learning algorithm: mappo or ippo."""
    minutes: float = 3.0
    """Time for training, minutes, imitation and validation included."""
    seed: int = 1
    """Training seed."""
    episodes: int = 64
    """Validation seeds to compare on, one episode each, at most 64; training chooses its checkpoint on them as well."""
    threads: int = 2
    """Threads that step the worlds of the comparison; results do not depend on it."""
    directory: Path = Path("runs/demo")
    """Directory for everything the demonstration writes."""


def _training_arguments(config: DemoConfig) -> list[str]:
    """Flags of `train.py`, but for the run directory."""
    flags = ["--scenario", config.scenario, "--algo", config.algo, "--seed", str(config.seed)]
    settings = parse(flags)
    budget = cli.with_budget(settings, config.minutes, None)
    steps = ["--total-steps", str(budget.total_steps)] if budget.total_steps != settings.total_steps else []
    return [*flags, *steps, "--max-minutes", f"{config.minutes:g}"]


def _train(config: DemoConfig, arguments: list[str], run_dir: Path, training: TrainConfig, console: Terminal) -> None:
    arguments = [*arguments, "--run-dir", str(run_dir)]
    if (run_dir / checkpoint.LAST).exists():
        if is_over(run_dir, training):
            console.say(f"Reusing the checkpoint of the same settings in {run_dir} (delete it to train again).")
            return
        console.say("Going on with the training that was stopped.")
        arguments.append("--resume")
    else:
        console.say(f"Training {config.algo} on {config.scenario} for at most {config.minutes:g} minutes:")
    console.say(f"  python train.py {shlex.join(arguments)}")
    code = cli.main(arguments)
    if code > 128:  # a signal
        raise KeyboardInterrupt
    if code != 0:
        raise FabmeshError(f"training in {run_dir} did not finish: see the message above")


def run(config: DemoConfig, console: Terminal) -> None:
    """Train or reuse, compare, write, say where.

    Raises:
        FabmeshError: If something the user gave is wrong.
    """
    began = time.perf_counter()
    require_within(config, episodes=(1, NAMED["validation"]), threads=(1, MOST_THREADS))
    seeds = seed_set("validation", config.episodes)
    scenario = load_scenario(config.scenario)
    check_writable(config.directory, "--directory", directory=True)
    arguments = _training_arguments(config)
    training = parse(arguments)
    place = config.directory / f"{scenario.name}-{settings_hash(training, scenario)}"
    run_dir = place / config.algo
    _train(config, arguments, run_dir, training, console)

    console.say("", f"Comparing with the baselines on {seeds.count} validation worlds:")
    longer = [name for name in shipped.names() if shipped.find(name).scenario == scenario.name]  # trained for longer
    policies = [str(run_dir), *longer, *names_for(scenario)]
    entries = parse_entries(policies, actions="both")
    hashes = manifest.hashes_of(entries, scenario)
    comparison = compare_entries(entries, scenario, seeds, config.threads)
    outputs = outputs_in(place)
    asked = ["--scenario", config.scenario, "--episodes", str(config.episodes), "--actions", "both"]
    command = shlex.join(["fabmesh-evaluate", "--policies", *policies, *asked])
    made = manifest.make_manifest(comparison, entries, hashes, config.scenario, command)
    write_then_show(
        [lambda: write_outputs(outputs, comparison, made)], lambda: report.print_tables(comparison, console)
    )
    console.say("", report.CHOSEN_NOTE, "")

    console.say(f"Done in {(time.perf_counter() - began) / 60:.1f} minutes. Where everything lies:")
    lines = (
        ("checkpoint", run_dir / checkpoint.BEST),
        ("table", outputs.markdown),
        ("every episode", outputs.csv),
        ("figures", outputs.figures),
        ("everything", place),
        ("TensorBoard", f"tensorboard --logdir {place}"),
        ("again", f"python evaluate.py --from {outputs.manifest}"),
    )
    console.say(*(f"  {what:14s} {where}" for what, where in lines))


def main(args: Sequence[str] | None = None) -> int:
    """Run the demonstration; returns the exit code: 0, or 2 for wrong input."""

    def play() -> int:
        run(tyro.cli(DemoConfig, args=args, prog="python -m fabmesh.agents.commands.demo"), Terminal(report.WIDTH))
        return 0

    return guarded(play, "stopped; run again to go on")


if __name__ == "__main__":
    sys.exit(main())
