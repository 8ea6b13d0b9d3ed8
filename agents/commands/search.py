"""Search settings of the learner: `python -m fabmesh.agents.commands.search pocket --trials 30`.

Every trial trains with the same budget on the same training worlds and is judged on the same validation worlds, by the
network cost of its best checkpoint, as a training keeps it. A tree-structured Parzen estimator proposes the settings;
the first trial is the settings as they are. A trial that is worse than the median of those before it at the same share
of the budget is given up. What was tried is written after each trial, so a search that is stopped goes on with the same
command.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from tqdm import tqdm

from fabmesh.agents.commands import train as cli
from fabmesh.agents.commands.options import (
    MOST_SEARCH_SEED,
    MOST_TRIALS,
    require_training_seeds,
)
from fabmesh.agents.commands.searching import optuna_for, versions, write_yaml
from fabmesh.agents.commands.trials import (
    SPACE,
    Range,
    Space,
    Trial,
    attempt,
    best_of,
    study_of,
    suggest,
    with_settings,
)
from fabmesh.agents.evaluation.show.tables import WIDTH, words_of_saving
from fabmesh.agents.learning.config import TrainConfig, as_flat, validate
from fabmesh.agents.learning.run.session import Task
from fabmesh.agents.learning.run.settings import parse, settings_hash, to_yaml
from fabmesh.envs.commands import MOST_THREADS, guarded, require_within
from fabmesh.envs.errors import FabmeshError
from fabmesh.envs.files import check_writable, write_text
from fabmesh.envs.names import shown
from fabmesh.envs.network.compiler.kernel import announce_compilation
from fabmesh.envs.network.loading import load_scenario
from fabmesh.envs.network.schema.scenario import Scenario, fingerprint
from fabmesh.envs.network.schema.yaml_tree import parse as parse_yaml
from fabmesh.envs.network.schema.yaml_tree import plain
from fabmesh.envs.terminal import Terminal

RECORD, SETTINGS = "search.yaml", "settings.yaml"


@dataclass(frozen=True)
class SearchConfig:
    """Search settings of the learner with Optuna: trained on training worlds, judged on validation worlds."""

    scenario: Annotated[str, tyro.conf.Positional] = "rotterdam"
    """Name of a shipped scenario or path of a YAML file."""
    trials: int = 30
    """Settings to try, those of a search that goes on included."""
    names: tuple[str, ...] = ()
    """Settings to search; none = all of them: residual_learning_rate, spread, correlation, residual_features, share,
    copies, group. The others stay as they are."""
    minutes: float | None = None
    """Most time of each training; none = as the settings say."""
    total_steps: int | None = None
    """Environment steps of each training; none = as the settings say, with minutes in proportion to theirs."""
    seeds: tuple[int, ...] = (1,)
    """Training seeds of each trial; its cost is the mean over them."""
    checks: int = 4
    """Validations of a training, evenly over its budget; at each a trial may be given up."""
    prune: bool = True
    """Give up trials that are worse than the median of those before them."""
    algo: Literal["mappo", "ippo"] = "mappo"
    """Learning algorithm."""
    config: Path | None = None
    """YAML file with the settings to begin from; none = the shipped ones of the algorithm and scenario."""
    seed: int = 1
    """Seed of the search."""
    threads: int = 2
    """Threads that step the worlds; results of a number of steps do not depend on it."""
    out: Path | None = None
    """Directory for search.yaml and settings.yaml; none = runs/search/ALGO_SCENARIO."""
    quiet: bool = False
    """No progress bar."""

    def check(self) -> None:
        """Refuse impossible numbers and settings that are not searched.

        Raises:
            FabmeshError: With the option and the value.
        """
        require_within(self, trials=(1, MOST_TRIALS), checks=(1, MOST_TRIALS))
        require_within(self, threads=(1, MOST_THREADS), seed=(0, MOST_SEARCH_SEED))
        require_training_seeds(self.seeds)
        for name in self.names:
            if name not in SPACE:
                raise FabmeshError(f"--names {name}: is not searched; there are {', '.join(SPACE)}")

    @property
    def space(self) -> Space:
        """What is searched."""
        return {name: where for name, where in SPACE.items() if name in (self.names or SPACE)}


def search(
    config: SearchConfig, base: TrainConfig, task: Task, known: list[Trial], keep: Callable[[list[Trial]], None]
) -> list[Trial]:
    """Try settings until there are as many trials as asked for.

    Args:
        config: The search.
        base: The settings that stay as they are.
        task: What to learn on.
        known: Trials of a search that goes on.
        keep: Told all trials after each.
    """
    optuna = optuna_for("searching settings")
    study = study_of(optuna, config.space, config.seed, config.prune, as_flat(base), known)
    trials = list(known)
    with tqdm(
        total=config.trials, initial=len(trials), unit="trial", disable=config.quiet, file=sys.stderr
    ) as bar:  # fmt: skip
        while len(trials) < config.trials:
            asked = study.ask()
            values = suggest(asked, config.space)
            runs = [replace(with_settings(base, values), seed=seed) for seed in config.seeds]
            steps = iter(range(sys.maxsize))

            def tell(share: float, cost: float, asked: Any = asked, steps: Any = steps) -> bool:
                bar.n = len(trials) + share
                bar.refresh()
                asked.report(cost, next(steps))
                return bool(asked.should_prune())

            trial = attempt(runs, task, config.checks, values, tell)
            state = optuna.trial.TrialState.COMPLETE if trial.complete else optuna.trial.TrialState.PRUNED
            study.tell(asked, trial.network_cost_eur if trial.complete else None, state=state)
            trials.append(trial)
            keep(trials)
            bar.n = len(trials)
            bar.set_description(f"best {best_of(trials).network_cost_eur / 1e3:,.1f} kEUR")
    return trials


HEAD = """\
# Settings of the learner, searched by the command below on training and validation worlds.
# best: the settings that cost least, mean network cost on the validation worlds in EUR per episode.
# trials: in order; checks_eur: cost of the best checkpoint so far at each validation, the first before any learning;
# saves_percent: of the opponent's network cost, [mean, lower end of the 95 % interval]; complete: false = given up.
"""


def identity(config: SearchConfig, base: TrainConfig, scenario: Scenario) -> dict[str, Any]:
    """What must be the same for a search to go on."""
    return {
        "scenario": scenario.name,
        "scenario_sha256": fingerprint(scenario),
        "algo": config.algo,
        "settings": settings_hash(base, scenario),
        "training_seeds": list(config.seeds),
        "checks": config.checks,
        "space": {
            name: {"from": where.low, "to": where.high, "log": where.log} if isinstance(where, Range) else list(where)
            for name, where in config.space.items()
        },
    }


def known_trials(path: Path, wanted: Mapping[str, Any]) -> list[Trial]:
    """The trials of a search that has been stopped; none if there is none.

    Raises:
        FabmeshError: If the file holds another search, or none.
    """
    if not path.exists():
        return []
    content = parse_yaml(path, FabmeshError)
    found = {} if content is None else plain(content)
    try:
        trials = [Trial(**entry) for entry in found["trials"]]
        changed = [name for name, value in wanted.items() if found["of"].get(name) != value]
    except (KeyError, TypeError, AttributeError):
        raise FabmeshError(f"{path}: is no search that can go on; choose another --out") from None
    if changed:
        raise FabmeshError(f"{path}: holds a search with another {', '.join(changed)}; choose another --out")
    return trials


def run(config: SearchConfig, arguments: Sequence[str], console: Terminal) -> int:
    """Search and write; returns the exit code 0.

    Raises:
        FabmeshError: If something the user gave is wrong.
    """
    config.check()
    scenario = load_scenario(config.scenario)
    optuna_for("searching settings")
    given = ["--scenario", config.scenario, "--algo", config.algo]
    base = parse([*given, "--config", str(config.config)] if config.config is not None else given)
    base = cli.with_budget(cli.for_scenario(base, scenario), config.minutes, config.total_steps)
    base = replace(base, machine=replace(base.machine, env_threads=config.threads))
    for name, where in config.space.items():
        validate(with_settings(base, {name: where.low if isinstance(where, Range) else where[0]}))
    out = config.out if config.out is not None else Path("runs") / "search" / f"{config.algo}_{scenario.name}"
    check_writable(out, "--out", directory=True)
    of = identity(config, base, scenario)
    known = known_trials(out / RECORD, of)
    announce_compilation()
    command = shlex.join(["python", "-m", "fabmesh.agents.commands.search", *arguments])
    opponent = base.validation.opponents[0]

    def keep(trials: list[Trial]) -> None:
        best = best_of(trials)
        content = {
            "command": command,
            "library": versions("optuna"),
            "of": of,
            "budget": {"total_steps": base.total_steps, "max_minutes": base.max_minutes},
            "worlds": f"validation 0-{base.validation.validation_seeds - 1}",
            "opponent": opponent,
            "best": {"trial": trials.index(best), "settings": dict(best.settings),
                     "network_cost_eur": best.network_cost_eur, "saves_percent": list(best.saves_percent)},
            "trials": [dict(vars(trial)) for trial in trials],
        }  # fmt: skip
        write_yaml(out / RECORD, HEAD, content)
        head = f"# The best of {len(trials)} trials: {shown(command)}\n"
        write_text(out / SETTINGS, head + to_yaml(with_settings(base, best.settings)))

    trials = search(config, base, cli.task_for(base, scenario), known, keep)
    best, first = best_of(trials), trials[0]
    saved = best.saves_percent
    console.say(
        f"best of {len(trials)} trials, number {trials.index(best)}: {best.network_cost_eur / 1e3:,.1f} kEUR on the "
        f"validation worlds, {words_of_saving(saved[0] / 100)} against {opponent} (lower end {saved[1]:+.2f} %); "
        f"the settings as they are: {first.network_cost_eur / 1e3:,.1f}",
        ", ".join(f"{name} {value:g}" for name, value in best.settings.items()),
        f"written: {out / RECORD}, {out / SETTINGS} (fabmesh-train --config {out / SETTINGS})",
    )
    return 0


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0, 2 for wrong input, 130 when stopped."""
    arguments = list(sys.argv[1:] if args is None else args)

    def search_and_write() -> int:
        config = tyro.cli(SearchConfig, args=arguments, prog="python -m fabmesh.agents.commands.search")
        return run(config, arguments, Terminal(WIDTH))

    return guarded(search_and_write, "stopped; the same command goes on after the last trial")


if __name__ == "__main__":
    sys.exit(main())
