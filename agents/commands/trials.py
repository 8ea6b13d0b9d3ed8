"""Trials of a search: settings are proposed, trained with and judged."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fabmesh.agents.commands import train as cli
from fabmesh.agents.commands.searching import estimator, rounded
from fabmesh.agents.learning.config import TrainConfig, setting_names
from fabmesh.agents.learning.run.session import DivergedError, Task

STARTUP_TRIALS = 8  # drawn at random before the estimator is believed
NEVER_GIVEN_UP = 4  # trials before any is compared with their median
COST, SAVING, LOW = "validation/network_cost_mode", "validation/saving_mode", "validation/saving_mode_low"


@dataclass(frozen=True)
class Range:
    """A number to be searched, on a logarithmic scale where `log`."""

    low: float
    high: float
    log: bool = False


Space = Mapping[str, Range | tuple[int, ...]]
SPACE: Space = {
    "residual_learning_rate": Range(0.01, 0.3, log=True),
    "spread": Range(0.25, 1.6),
    "correlation": Range(0.0, 0.9),
    "residual_features": Range(0.0, 0.8),
    "share": Range(0.02, 0.5, log=True),
    "copies": (256, 512, 1024),
    "group": (8, 16, 32),
}
"""Settings that matter, and where they are searched."""


@dataclass(frozen=True)
class Trial:
    """Settings that were tried.

    Attributes:
        settings: Those searched, by name.
        network_cost_eur: Mean on the validation worlds of the best checkpoint, mean over training seeds.
        checks_eur: The same at each validation so far, the first before any learning.
        saves_percent: Of the first opponent's network cost, [mean, lower end of its 95 % interval], of the last seed.
        minutes: Time the trial took.
        complete: False: given up.
    """

    settings: dict[str, Any]
    network_cost_eur: float
    checks_eur: list[float]
    saves_percent: list[float]
    minutes: float
    complete: bool


def with_settings(base: TrainConfig, values: Mapping[str, Any]) -> TrainConfig:
    """Settings with others in their place, by name."""
    sections = setting_names()
    for name, value in values.items():
        section = sections[name]
        base = replace(base, **{section: replace(getattr(base, section), **{name: value})})
    return base


def attempt(
    runs: Sequence[TrainConfig], task: Task, checks: int, values: dict[str, Any], tell: Callable[[float, float], bool]
) -> Trial:
    """Train and judge.

    Args:
        runs: The settings, once for each training seed.
        task: What to learn on.
        checks: Validations of a training.
        values: The settings searched.
        tell: Told the share that is done and the cost so far; says whether to give up.
    """
    costs: list[float] = []  # the mean so far at each check
    done: list[float] = []  # the best of each run that is over
    minutes, found, complete = 0.0, {}, True
    for number, settings in enumerate(runs):
        session = cli.session_for(settings, task)
        session.start()
        best = float("inf")
        for check in range(checks + 1):
            try:
                while session.spent < check / checks:
                    session.iterate()
            except DivergedError:  # settings that cannot be learned with
                complete = False
                break
            judged = session.judge()
            if judged[COST] <= best:
                best, found = judged[COST], judged
            costs.append(round(sum([*done, best]) / (len(done) + 1), 2))
            over = number == len(runs) - 1 and check == checks
            complete = over or not tell((number + check / checks) / len(runs), costs[-1])
            if not complete:
                break
        done.append(best)
        minutes += session.seconds / 60.0
        session.close()
        if not complete:
            break
    saved = [round(100.0 * found[name], 3) for name in (SAVING, LOW)]
    return Trial(values, costs[-1], costs, saved, round(minutes, 2), complete)


def suggest(trial: Any, space: Space) -> dict[str, Any]:
    """Lets Optuna choose settings."""
    values: dict[str, Any] = {}
    for name, where in space.items():
        if isinstance(where, Range):
            values[name] = rounded(trial.suggest_float(name, where.low, where.high, log=where.log))
        else:
            values[name] = trial.suggest_categorical(name, list(where))
    return values


def study_of(
    optuna: Any, space: Space, seed: int, prune: bool, start: Mapping[str, Any], known: Sequence[Trial]
) -> Any:
    """A study that knows the trials so far.

    Args:
        optuna: The library.
        space: What is searched.
        seed: Of its draws.
        prune: Whether trials are given up.
        start: Settings that are tried first, where they are in the space.
        known: The trials so far.
    """
    kinds = optuna.distributions
    distributions = {
        name: kinds.FloatDistribution(where.low, where.high, log=where.log)
        if isinstance(where, Range)
        else kinds.CategoricalDistribution(list(where))
        for name, where in space.items()
    }
    pruner = optuna.pruners.MedianPruner(n_startup_trials=NEVER_GIVEN_UP, n_warmup_steps=1) if prune else None
    study = optuna.create_study(
        sampler=estimator(optuna, 1_000 * seed + len(known), STARTUP_TRIALS),
        pruner=pruner or optuna.pruners.NopPruner(),
    )
    for trial in known:
        state = optuna.trial.TrialState.COMPLETE if trial.complete else optuna.trial.TrialState.PRUNED
        study.add_trial(
            optuna.trial.create_trial(
                params=trial.settings,
                distributions=distributions,
                value=trial.network_cost_eur,
                state=state,
                intermediate_values=dict(enumerate(trial.checks_eur)),
            )
        )
    if not known:
        inside = {name: value for name, value in start.items() if name in space and _within(value, space[name])}
        study.enqueue_trial(inside)
    return study


def _within(value: Any, where: Range | tuple[int, ...]) -> bool:
    return where.low <= value <= where.high if isinstance(where, Range) else value in where


def best_of(trials: Sequence[Trial]) -> Trial:
    """The complete trial of the least cost; the first trial is never given up."""
    return min((trial for trial in trials if trial.complete), key=lambda trial: trial.network_cost_eur)
