"""Search the parameters of the whole family of heuristics together: `python -m fabmesh.agents.commands.tune rotterdam`.

The result is the policy `tuned`, the opponent of every claim. Every candidate plays the same training worlds (common
random numbers), so candidates are compared as policies are: by the mean controllable cost, the noise of the worlds
taken out. A restart has two phases: a tree-structured Parzen estimator over everything, the choice of rules included
(Bergstra et al. 2011; multivariate, Falkner et al. 2018; Optuna's), then CMA-ES over the numbers of the best rules
found (Hansen & Ostermeier 2001; `cmaes`). The best candidates of the restarts meet training worlds that none of them
has seen; these choose the winner and show what more budget is worth.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from tqdm import tqdm

from fabmesh.agents.commands.options import MOST_EPISODES, MOST_SEARCH_SEED, MOST_TRIALS
from fabmesh.agents.commands.searching import estimator, optuna_for, rounded, versions, write_yaml
from fabmesh.agents.evaluation.judge.protocol import evaluate
from fabmesh.agents.evaluation.judge.seeds import seed_set
from fabmesh.agents.evaluation.show.tables import WIDTH
from fabmesh.agents.evaluation.statistics import compare
from fabmesh.agents.heuristics import PRESETS
from fabmesh.agents.heuristics.family import FAMILY, Choice, Choices, Parameter, Value, compose, decisions_of
from fabmesh.agents.heuristics.tuned import path_for, plain, read_rules
from fabmesh.envs.commands import MOST_THREADS, guarded, require_within
from fabmesh.envs.files import check_writable
from fabmesh.envs.network.compiler.kernel import announce_compilation
from fabmesh.envs.network.loading import load_scenario
from fabmesh.envs.network.schema.scenario import Scenario, fingerprint
from fabmesh.envs.terminal import Terminal

COST = "controllable_cost"
CONTROL_EPISODES = 16  # worlds whose cost is written down, so that a file can be checked to belong to the code
SHARES = (0.25, 0.5, 0.75, 1.0)  # of a restart's trials, at which the best so far is looked at
STARTUP_TRIALS = 60  # drawn at random before the estimator is believed
FIRST_STEP = 0.15  # of CMA-ES, in widths of the bounds

Candidate = dict[str, Choice]


@dataclass(frozen=True)
class TuneConfig:
    """Search the parameters of the whole family of heuristics together and keep the best as the policy `tuned`.

    Takes one to two seconds a trial on rotterdam. The same options give the same result.
    """

    scenario: Annotated[str, tyro.conf.Positional] = "rotterdam"
    """Name of a shipped scenario or path of a YAML file."""
    restarts: int = 4
    """Independent searches; that they agree is the sign that the budget was enough."""
    trials: int = 500
    """Candidates per restart: half for the choice of rules and numbers, half for the numbers alone."""
    episodes: int = 64
    """Training worlds every candidate plays."""
    check_episodes: int = 256
    """Further training worlds, on which the best of each restart are compared."""
    seed: int = 1
    """Seed of the search."""
    start: tuple[Path, ...] = ()
    """YAML files of rules that every restart tries first, beside the named heuristics: of a network like this one."""
    threads: int = 1
    """Threads that step the worlds; results do not depend on it."""
    out: Path | None = None
    """File for the result. Default: of a shipped scenario configs/tuned/NAME.yaml of the package, where `tuned` reads
    it; of a file MINE.yaml, MINE.tuned.yaml beside it, a policy that is named by its path."""
    quiet: bool = False
    """No progress bar."""

    def check(self) -> None:
        """Refuse impossible numbers.

        Raises:
            FabmeshError: With the option and the value.
        """
        require_within(self, restarts=(1, MOST_TRIALS), trials=(10, MOST_TRIALS), seed=(0, MOST_SEARCH_SEED))
        require_within(self, episodes=(2, MOST_EPISODES), check_episodes=(2, MOST_EPISODES), threads=(1, MOST_THREADS))


@dataclass
class Restart:
    """What one search has found.

    Attributes:
        costs: Mean cost of each candidate in turn, EUR.
        candidates: The candidates.
    """

    costs: list[float] = field(default_factory=list)
    candidates: list[Candidate] = field(default_factory=list)

    def best(self, trials: int) -> int:
        """Index of the best of the first so many candidates."""
        return min(range(trials), key=self.costs.__getitem__)

    def curve(self) -> list[tuple[int, float]]:
        """Where the best so far became better: (candidates tried, mean cost in EUR)."""
        points: list[tuple[int, float]] = []
        for number, cost in enumerate(self.costs, start=1):
            if not points or cost < points[-1][1]:
                points.append((number, cost))
        return points


class Judge:
    """Plays candidates on training worlds."""

    def __init__(self, scenario: Scenario, threads: int) -> None:
        """Take the network."""
        self._scenario, self._threads = scenario, threads
        self.decisions = decisions_of(scenario)

    def costs(self, candidate: Choices, first: int, count: int) -> Any:
        """Controllable cost on each of the training seeds first, first + 1, ..., EUR [count]."""
        seeds = seed_set("train", count, first).seeds
        policy = compose("candidate", self._scenario, candidate)
        return evaluate(policy, self._scenario, seeds, self._threads).measures[COST]


def search(config: TuneConfig, judge: Judge, number: int, done: Callable[[float], None]) -> Restart:
    """One restart.

    Args:
        config: Budget and seeds.
        judge: Plays the candidates.
        number: Of the restart, from 0.
        done: Told the best cost so far after each candidate, EUR.
    """
    optuna = optuna_for("tuning")
    found = Restart()

    def play(candidate: Candidate) -> float:
        cost = float(judge.costs(candidate, 0, config.episodes).mean())
        found.costs.append(cost)
        found.candidates.append(candidate)
        done(min(found.costs))
        return cost

    broad = max(config.trials // 2, 1)
    seed = config.seed * 1_000 + number
    startup = min(STARTUP_TRIALS, broad // 3 + 1)
    study = optuna.create_study(sampler=estimator(optuna, seed, startup, group=True))  # rules have numbers of their own
    for preset in (*PRESETS.values(), *(read_rules(path) for path in config.start)):
        study.enqueue_trial(as_trial(preset, judge.decisions))
    study.optimize(lambda trial: play(suggest(trial, judge.decisions)), n_trials=broad)
    refine(found.candidates[found.best(broad)], config.trials - broad, seed, play)
    return found


def refine(start: Candidate, trials: int, seed: int, play: Callable[[Candidate], float]) -> None:
    """CMA-ES over the numbers of a candidate, each scaled to the width of its bounds."""
    from cmaes import CMA

    places = [(decision, name) for decision, choice in start.items() for name in choice.parameters]
    bounds = [FAMILY[decision][start[decision].rule].parameters[name] for decision, name in places]
    low = np.array([parameter.low for parameter in bounds])
    width = np.array([parameter.high for parameter in bounds]) - low
    mean = (np.array([start[decision].parameters[name] for decision, name in places]) - low) / width
    unit = np.tile([0.0, 1.0], (len(places), 1))
    optimiser = CMA(mean=mean, sigma=FIRST_STEP, bounds=unit, seed=seed)
    while trials > 0:
        generation = []
        for _ in range(min(optimiser.population_size, trials)):
            point = optimiser.ask()
            generation.append((point, play(_moved(start, places, bounds, low + width * point))))
        trials -= len(generation)
        if len(generation) == optimiser.population_size:
            optimiser.tell(generation)


def _moved(start: Candidate, places: Sequence[tuple[str, str]], bounds: Sequence[Parameter], values: Any) -> Candidate:
    """The candidate with other numbers."""
    numbers: dict[str, dict[str, Value]] = {decision: {} for decision in start}
    for (decision, name), parameter, value in zip(places, bounds, values, strict=True):
        numbers[decision][name] = within(parameter, float(value))
    return {decision: Choice(choice.rule, numbers[decision]) for decision, choice in start.items()}


def suggest(trial: Any, decisions: Sequence[str]) -> Candidate:
    """Lets Optuna choose a member of the family, of the decisions that there are."""
    candidate: Candidate = {}
    for decision in decisions:
        kinds = FAMILY[decision]
        rule = trial.suggest_categorical(decision, list(kinds))
        numbers: dict[str, Value] = {}
        for name, parameter in kinds[rule].parameters.items():
            place = f"{decision}.{rule}.{name}"
            if parameter.whole:
                numbers[name] = trial.suggest_int(place, int(parameter.low), int(parameter.high))
            else:
                numbers[name] = within(parameter, trial.suggest_float(place, parameter.low, parameter.high))
        candidate[decision] = Choice(rule, numbers)
    return candidate


def within(parameter: Parameter, value: float) -> Value:
    """A value as it is kept: whole, or with so many digits, within its bounds."""
    if parameter.whole:
        return int(min(max(round(value), parameter.low), parameter.high))
    return min(max(rounded(value), parameter.low), parameter.high)


def as_trial(choices: Choices, decisions: Sequence[str]) -> dict[str, Any]:
    """A member of the family as the values of a trial, its textbook values where it has no others."""
    values: dict[str, Any] = {}
    for decision in decisions:
        kinds = FAMILY[decision]
        choice = choices.get(decision) or Choice(next(iter(kinds)))
        values[decision] = choice.rule
        for name, parameter in kinds[choice.rule].parameters.items():
            values[f"{decision}.{choice.rule}.{name}"] = choice.parameters.get(name, parameter.default)
    return values


def result(config: TuneConfig, scenario: Scenario, judge: Judge, restarts: Sequence[Restart]) -> dict[str, Any]:
    """The winner and how it was found, as the values of the YAML file."""
    check = (config.episodes, config.check_episodes)  # training seeds that no candidate has met
    base = judge.costs(PRESETS["base_stock"], *check)
    known: dict[str, Any] = {}

    def checked(candidate: Candidate) -> Any:
        key = repr(plain(candidate))
        if key not in known:
            known[key] = judge.costs(candidate, *check)
        return known[key]

    def best_of(some: Sequence[Restart], trials: int) -> Candidate:
        return min(
            (restart.candidates[restart.best(trials)] for restart in some),
            key=lambda candidate: float(checked(candidate).mean()),
        )

    def mean(candidate: Candidate) -> int:
        return round(float(checked(candidate).mean()))

    winner = best_of(restarts, config.trials)
    half = best_of(restarts[: max(len(restarts) // 2, 1)], config.trials)
    saved = compare(base, checked(winner)).difference
    more = compare(checked(half), checked(winner)).difference
    whole = float(checked(winner).mean())
    options = " ".join(
        f"--{name.replace('_', '-')} {getattr(config, name)}"
        for name in ("restarts", "trials", "episodes", "check_episodes", "seed")
    ) + "".join(f" --start {shlex.quote(str(path))}" for path in config.start)
    return {
        "scenario": scenario.name,
        "scenario_sha256": fingerprint(scenario),
        "rules": plain(winner),
        "search": {
            "command": f"python -m fabmesh.agents.commands.tune {shlex.quote(config.scenario)} {options}",
            "library": versions("optuna", "cmaes"),
            "trials": sum(len(restart.costs) for restart in restarts),
            "worlds": f"train 0-{config.episodes - 1}, checked on train {check[0]}-{sum(check) - 1}",
            "controllable_cost_eur": {"base_stock": round(float(base.mean())), "tuned": mean(winner)},
            "saved_against_base_stock_eur": [round(x) for x in (saved.mean, saved.low, saved.high)],
            "second_half_of_the_restarts_saves_percent": [
                round(100 * x / whole, 2) for x in (more.mean, more.low, more.high)
            ],
            "best_of_each_restart_eur": [mean(best_of([restart], config.trials)) for restart in restarts],
            "best_with_share_of_the_trials_eur": {
                f"{share:.0%}": mean(best_of(restarts, max(int(share * config.trials), 1))) for share in SHARES
            },
            "curves": [[[number, round(cost)] for number, cost in restart.curve()] for restart in restarts],
            "control": {
                "episodes": CONTROL_EPISODES,
                "controllable_cost_eur": float(judge.costs(winner, 0, CONTROL_EPISODES).mean()),
            },
        },
    }


HEAD = """\
# The policy `tuned`: rules and parameters of the family of heuristics, searched together on training worlds.
# rules: decision -> rule and its parameters (units: fabmesh.agents.heuristics.family).
# search: the command that makes this file again, costs on the worlds of the check (mean, EUR per episode; intervals
# are [mean, low, high], 95 %), per restart the best on the worlds of the search so far [candidates tried, EUR], and the
# cost on the first training worlds, by which a test sees that the file belongs to the code.
"""


def default_out(given: str, scenario: Scenario) -> Path:
    """Where the result goes: what belongs to a user's file never replaces what is shipped."""
    path = Path(given)
    return path.with_suffix(".tuned.yaml") if path.suffix in (".yaml", ".yml") else path_for(scenario)


def run(config: TuneConfig, console: Terminal) -> int:
    """Search, check and write; returns the exit code 0.

    Raises:
        FabmeshError: If something the user gave is wrong; nothing has been written then.
    """
    config.check()
    scenario = load_scenario(config.scenario)
    out = config.out if config.out is not None else default_out(config.scenario, scenario)
    check_writable(out, "--out")
    optuna_for("tuning")
    announce_compilation()
    judge = Judge(scenario, config.threads)
    restarts = []
    with tqdm(total=config.restarts * config.trials, unit="trial", disable=config.quiet, file=sys.stderr) as bar:
        for number in range(config.restarts):

            def tell(best: float, number: int = number) -> None:
                bar.update(1)
                bar.set_description(f"restart {number + 1} of {config.restarts}, best {best / 1e3:,.1f} kEUR")

            restarts.append(search(config, judge, number, tell))
    content = result(config, scenario, judge, restarts)
    write_yaml(out, HEAD, content)
    costs = content["search"]["controllable_cost_eur"]
    saved = [x / 1e3 for x in content["search"]["saved_against_base_stock_eur"]]
    more = content["search"]["second_half_of_the_restarts_saves_percent"]
    console.say(
        f"tuned {costs['tuned'] / 1e3:,.1f} kEUR of controllable cost an episode, base_stock "
        f"{costs['base_stock'] / 1e3:,.1f}: saves {saved[0]:,.1f} [{saved[1]:,.1f}, {saved[2]:,.1f}]",
        (
            ""
            if config.restarts == 1
            else f"the second half of the restarts saves {more[0]:.2f} % [{more[1]:.2f}, {more[2]:.2f}]; "
        )
        + "the best of each restart, kEUR: "
        + ", ".join(f"{cost / 1e3:,.1f}" for cost in content["search"]["best_of_each_restart_eur"]),
        f"written: {out}",
    )
    return 0


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0, or 2 for wrong input."""

    def tune() -> int:
        return run(tyro.cli(TuneConfig, args=args, prog="python -m fabmesh.agents.commands.tune"), Terminal(WIDTH))

    return guarded(tune, "stopped; nothing has been written")


if __name__ == "__main__":
    sys.exit(main())
