"""Train variants with one budget and judge them on the same worlds: `python -m fabmesh.agents.commands.ablate pocket`.

What a variant is stands in `configs/ablations.yaml`: settings of the learner that differ from the shipped ones, keys of
the scenario that differ, or a rule. All are judged by the network's cost against one reference in the network as it is.
A run that is there already, with the same settings in the same network, is not made again.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro
from tqdm import tqdm

from fabmesh.agents.commands import train as cli
from fabmesh.agents.commands.options import MOST_EPISODES, require_training_seeds
from fabmesh.agents.evaluation.judge.comparison import one_torch_thread
from fabmesh.agents.evaluation.judge.protocol import EpisodeTable, evaluate
from fabmesh.agents.evaluation.judge.seeds import seed_set
from fabmesh.agents.evaluation.show import export
from fabmesh.agents.evaluation.show import tables as report
from fabmesh.agents.evaluation.show.outputs import write_then_show
from fabmesh.agents.evaluation.studies.ablation import Ablation, Judged, sheets, to_json
from fabmesh.agents.learning.config import ConfigError, TrainConfig
from fabmesh.agents.learning.run.checkpoint import LAST
from fabmesh.agents.learning.run.session import Session, is_over
from fabmesh.agents.learning.run.session import run as run_session
from fabmesh.agents.learning.run.settings import parse, settings_hash
from fabmesh.agents.learning.run.variants import SHIPPED, Variant, chosen, read_variants
from fabmesh.agents.registry import SAMPLE_SUFFIX, make_policy
from fabmesh.envs.commands import MOST_THREADS, guarded, require_within, tell
from fabmesh.envs.errors import FabmeshError
from fabmesh.envs.files import check_writable, write_text
from fabmesh.envs.network.compiler.kernel import announce_compilation
from fabmesh.envs.network.loading import load_scenario
from fabmesh.envs.network.schema.scenario import Scenario
from fabmesh.envs.terminal import Terminal

SAME_TAPE_WORLDS = 2


@dataclass(frozen=True)
class AblateConfig:
    """Train variants of the learner and of the network with the same budget and judge all on the same worlds."""

    scenario: Annotated[str, tyro.conf.Positional] = "rotterdam"
    """Name of a shipped scenario or path of a YAML file."""
    variants: tuple[str, ...] = ()
    """Variants to compare, the first one with each; none = all of the table."""
    seeds: tuple[int, ...] = (1,)
    """Training seeds; each variant is trained once with each."""
    minutes: float | None = None
    """Most time of each training; none = as the settings say."""
    total_steps: int | None = None
    """Environment steps of each training; none = as the settings say, with minutes in proportion to theirs."""
    algo: Literal["mappo", "ippo"] = "mappo"
    """Learning algorithm."""
    config: Path | None = None
    """YAML file with the settings that variants differ from; none = the shipped ones of the algorithm and scenario."""
    table: Path = SHIPPED
    """YAML file of the variants."""
    worlds: str = "test"
    """Seed space that all are judged on: validation (on which a run's checkpoint is chosen), test or holdout."""
    episodes: int = 64
    """Worlds that all are judged on."""
    reference: str = "tuned"
    """Policy in the network as it is, with which all are compared."""
    threads: int = 2
    """Threads that step the worlds; results of a number of steps do not depend on it."""
    out: Path | None = None
    """Directory for runs, table.md and results.json; none = runs/ablations/SCENARIO."""
    quiet: bool = False
    """No progress bar."""

    def check(self) -> None:
        """Refuse impossible numbers.

        Raises:
            FabmeshError: With the option and the value.
        """
        require_within(self, threads=(1, MOST_THREADS), episodes=(2, MOST_EPISODES))
        require_training_seeds(self.seeds)


@dataclass(frozen=True)
class Plan:
    """A variant, ready to be trained and judged.

    Attributes:
        variant: What it is.
        network: The network it is trained and judged in.
        runs: The settings of each training, run directory included.
    """

    variant: Variant
    network: Scenario
    runs: tuple[TrainConfig, ...]

    def policies(self) -> list[str]:
        """What is judged, as a user would type it."""
        if self.variant.policy is not None:
            return [self.variant.policy]
        suffix = SAMPLE_SUFFIX if self.variant.sampled else ""
        return [f"{run.directory}{suffix}" for run in self.runs]


def plans(config: AblateConfig, scenario: Scenario, out: Path) -> list[Plan]:
    """What is to be done, checked as far as it can be before any work.

    Raises:
        FabmeshError: If a variant does not exist or cannot be.
    """
    variants = read_variants(config.table)
    found = []
    for variant in chosen(variants, config.variants, config.table):
        trained = variants[variant.of] if variant.of is not None else variant
        network = variant.network(scenario)
        try:
            runs = [_training(config, trained, seed, network, out) for seed in config.seeds if trained.train]
        except ConfigError as error:
            if config.variants:
                raise
            tell(f"left out: {error}")
            continue
        found.append(Plan(variant, network, tuple(runs)))
        _require_same_tape(variant, scenario, network)
    return found


def _training(config: AblateConfig, variant: Variant, seed: int, network: Scenario, out: Path) -> TrainConfig:
    """The settings of a training of a variant."""
    given = ["--scenario", config.scenario, "--algo", config.algo, "--seed", str(seed)]
    base = parse([*given, "--config", str(config.config)] if config.config is not None else given)
    settings = cli.for_scenario(variant.settings(base), network)
    settings = replace(settings, machine=replace(settings.machine, env_threads=config.threads))
    settings = cli.with_budget(settings, config.minutes, config.total_steps)
    directory = out / f"{variant.name}-{seed}-{settings_hash(settings, network)}"
    return replace(settings, run_dir=directory)


def _require_same_tape(variant: Variant, scenario: Scenario, network: Scenario) -> None:
    """Refuse a network in which other orders come: its costs could not be compared."""
    if network is scenario:
        return
    seeds = seed_set("train", SAME_TAPE_WORLDS).seeds
    idle = (evaluate(make_policy("idle", world), world, seeds).measures for world in (scenario, network))
    standard, changed = (measures["network_cost"] - measures["controllable_cost"] for measures in idle)
    if not np.allclose(standard, changed, rtol=1e-9):
        raise FabmeshError(
            f"{variant.place}: variant {variant.name}: changes what the orders cost at standard, so its costs cannot "
            f"be compared with those in {scenario.name}; leave demand, prices and rates as they are"
        )


def train(todo: Sequence[Plan], quiet: bool) -> None:
    """Make the runs that are not there yet, with a bar that counts them.

    Raises:
        KeyboardInterrupt: If the user stops it; the same command goes on from there.
    """
    runs = {run.directory: (plan.network, run) for plan in todo for run in plan.runs}
    with tqdm(total=len(runs), unit="run", disable=quiet, file=sys.stderr) as bar:
        for number, (directory, (network, settings)) in enumerate(runs.items()):
            there = (directory / LAST).exists()
            if not (there and is_over(directory, settings)):
                bar.set_description(directory.name.rpartition("-")[0])

                def tell(session: Session, number: int = number) -> None:
                    bar.n = number + session.spent
                    bar.refresh()

                session = cli.session_for(settings, cli.task_for(settings, network))
                run_session(session, directory, resume=there, quiet=True, watch=tell)
                session.close()
                if session.stopped:
                    raise KeyboardInterrupt(f"stopped in {directory}; the same command goes on from there")
            bar.n = number + 1
            bar.refresh()


def judge(config: AblateConfig, scenario: Scenario, todo: Sequence[Plan]) -> Ablation:
    """Judge the reference and all variants on the same worlds."""
    seeds = seed_set(config.worlds, config.episodes)
    entries = [(None, scenario, [config.reference]), *((plan, plan.network, plan.policies()) for plan in todo)]
    tables: list[tuple[EpisodeTable, ...]] = []
    with one_torch_thread(), tqdm(total=len(entries), unit="variant", disable=config.quiet, file=sys.stderr) as bar:
        for plan, network, names in entries:
            bar.set_description("judging " + (config.reference if plan is None else plan.variant.name))
            made = [make_policy(name, network) for name in names]
            tables.append(tuple(evaluate(policy, network, seeds.seeds, config.threads) for policy in made))
            bar.update()
    judged = tuple(
        Judged(plan.variant.name, plan.variant.about, runs, tuple(map(str, plan.policies())))
        for plan, runs in zip(todo, tables[1:], strict=True)
    )
    return Ablation(scenario, seeds, tables[0][0], judged)


def run(config: AblateConfig, arguments: Sequence[str], console: Terminal) -> int:
    """Train, judge and write; returns the exit code 0.

    Raises:
        FabmeshError: If something the user gave is wrong.
    """
    config.check()
    scenario = load_scenario(config.scenario)
    seed_set(config.worlds, config.episodes)
    make_policy(config.reference, scenario)
    out = config.out if config.out is not None else Path("runs") / "ablations" / scenario.name
    check_writable(out, "--out", directory=True)
    announce_compilation()
    todo = plans(config, scenario, out)
    if not todo:
        raise FabmeshError(f"--algo {config.algo}: none of the variants of {config.table} can be trained with it")
    train(todo, config.quiet)
    found = judge(config, scenario, todo)
    tables = sheets(found)
    command = shlex.join(["python", "-m", "fabmesh.agents.commands.ablate", *arguments])
    writers = (
        lambda: write_text(out / "table.md", report.markdown_sheets(tables, [command])),
        lambda: export.write_json({"command": command, **to_json(found)}, out / "results.json"),
    )
    write_then_show(writers, lambda: report.print_sheets(tables, console))
    console.say(f"written: {out / 'table.md'}, {out / 'results.json'}")
    return 0


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0, 2 for wrong input, 130 when stopped."""
    arguments = list(sys.argv[1:] if args is None else args)

    def ablate() -> int:
        config = tyro.cli(AblateConfig, args=arguments, prog="python -m fabmesh.agents.commands.ablate")
        return run(config, arguments, Terminal(report.WIDTH))

    return guarded(ablate, "stopped; the same command goes on from there")


if __name__ == "__main__":
    sys.exit(main())
