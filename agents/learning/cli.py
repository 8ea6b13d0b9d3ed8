"""The command line of `train.py`: from flags to a finished run."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fabmesh
from fabmesh.agents.evaluation.files import check_writable
from fabmesh.agents.evaluation.report import words_of_saving
from fabmesh.agents.learning.config import SB3_ALGORITHMS, ConfigError, TrainConfig, validate
from fabmesh.agents.learning.settings import command_of, from_plain, parse
from fabmesh.envs.commands import guarded, say
from fabmesh.envs.errors import FabmeshError

if TYPE_CHECKING:
    from fabmesh.agents.learning.session import Session, Task
    from fabmesh.envs.network.scenario import Scenario

ENDLESS = 10**12
"""Steps that no run gets to: its end is its time."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Train from the command line; returns the exit status: 0, 2 for what a user can put right, 130 when stopped."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    return guarded(lambda: _train(_settings(given)), "stopped")


def _settings(arguments: list[str]) -> TrainConfig:
    """The settings; those of the run in the directory if it is resumed."""
    config = parse(arguments) if "--resume" not in arguments else _peek_resumed(arguments)
    directory = config.directory
    try:
        check_writable(directory, "--run-dir", directory=True)
        if not config.resume:
            _require_free(directory)
    except OSError as error:
        raise ConfigError(f"--run-dir {directory}: cannot be used ({error.strerror}); choose another place") from None
    return config


def _require_free(directory: Path) -> None:
    """Refuse a directory in which a new run would overwrite another."""
    from fabmesh.agents.learning import checkpoint
    from fabmesh.agents.learning.reporting import CSV_NAME, holds_rows

    if (directory / checkpoint.LAST).exists():
        raise ConfigError(
            f"--run-dir {directory}: holds a run already; add --resume to go on with it, or choose another directory"
        )
    kept = checkpoint.BEST if (directory / checkpoint.BEST).exists() else CSV_NAME if holds_rows(directory) else None
    if kept is not None:
        raise ConfigError(
            f"--run-dir {directory}: holds {kept} of another run, but no {checkpoint.LAST} to go on with; "
            "choose another directory"
        )


def _peek_resumed(arguments: list[str]) -> TrainConfig:
    """The stored settings of the run named by the flags, with what a resumed run may change."""
    from fabmesh.agents.learning import checkpoint

    first = parse(arguments, checked=False)  # beside the settings of the run, not the shipped ones
    last = first.directory / checkpoint.LAST
    if not last.exists():
        raise ConfigError(
            f"--resume: nothing to go on with in {first.directory} (no {checkpoint.LAST}); leave --resume out"
        )
    return parse(arguments, stored=from_plain(checkpoint.read_whole(last, resumable=True)["config"]))


def _train(config: TrainConfig) -> int:
    """Build the task, run it, say what came out; returns the exit status."""
    print("loading; the simulation is compiled on its first use on a machine (up to a minute)", file=sys.stderr)
    from fabmesh.agents.learning.session import device_of, run
    from fabmesh.envs.network.loading import load_scenario

    device_of(config)  # refused before the opponents are played
    scenario = load_scenario(config.scenario)
    config = for_scenario(config, scenario)
    session = session_for(config, task_for(config, scenario))
    run(session, config.directory, config.resume)
    _summarise(session, config.directory, config.validation.opponents[0])
    return 130 if session.stopped else 0


def for_scenario(config: TrainConfig, scenario: Scenario) -> TrainConfig:
    """The settings with the scenario's episode where they ask for one.

    Raises:
        ConfigError: If whole episodes are to be judged and other days are collected.
    """
    days, episode = config.rollout.days, scenario.episode_d
    if config.ppo.credit == "episode" and days not in (0, episode):
        raise ConfigError(
            f"--credit episode: needs --days to be the episode of {scenario.name}, {episode} or 0, not {days}"
        )
    return replace(config, rollout=replace(config.rollout, days=days or episode))


def with_budget(config: TrainConfig, minutes: float | None, total_steps: int | None) -> TrainConfig:
    """The settings with another budget; None leaves what they say, minutes alone any number of steps.

    Raises:
        ConfigError: If it is impossible.
    """
    if config.total_steps > 0 and minutes is not None:
        config = replace(config, max_minutes=minutes, total_steps=total_steps or ENDLESS)
    elif config.total_steps > 0 and total_steps is not None:
        config = replace(config, max_minutes=None, total_steps=total_steps)
    validate(config)
    return config


def learned_in(config: TrainConfig, scenario: Scenario) -> Scenario:
    """The network with the reward that is learned from."""
    weight = config.ppo.team_weight
    return scenario if weight is None else replace(scenario, reward=replace(scenario.reward, team_weight=weight))


def task_for(config: TrainConfig, scenario: Scenario) -> Task:
    """The scenario's batches, teacher and validation worlds."""
    from fabmesh.agents.evaluation.manifest import commit_of
    from fabmesh.agents.evaluation.protocol import evaluate
    from fabmesh.agents.evaluation.seeds import seed_set
    from fabmesh.agents.learning.session import Task
    from fabmesh.agents.learning.validation import SeedValidator
    from fabmesh.agents.registry import make_policy
    from fabmesh.envs.vector import HubNetworkVector

    threads = config.machine.env_threads
    seeds = seed_set("validation", config.validation.validation_seeds).seeds
    start = None if config.init_from is None or config.resume else _start(config, config.init_from, scenario)
    taught = config.init_from is None and config.imitation.teacher != "none"
    teacher = make_policy(config.imitation.teacher, scenario) if taught else None
    opponents = [make_policy(name, scenario) for name in config.validation.opponents]
    world = learned_in(config, scenario)
    return Task(
        scenario.name,
        lambda copies: HubNetworkVector(world, num_envs=copies, threads=threads),
        teacher,
        SeedValidator(lambda policy: evaluate(policy, scenario, seeds, threads).measures, opponents),
        start,
        commit_of(Path(fabmesh.__file__).parent),
        command_of(config),
    )


def _start(config: TrainConfig, given: str, scenario: Scenario) -> Mapping[str, Mapping[str, Any]]:
    """The weights to begin from."""
    from fabmesh.agents.learning import checkpoint, shipped
    from fabmesh.envs.network.spec import role_specs

    try:
        path = shipped.path_of(given) if shipped.is_shipped(given) else Path(given)
        return checkpoint.starting_weights(path, scenario.name, role_specs(scenario), config.network)
    except FabmeshError as error:
        raise ConfigError(f"--init-from: {error}", "init_from") from None


def session_for(config: TrainConfig, task: Task) -> Session:
    """What learns."""
    if config.algo not in SB3_ALGORITHMS:
        from fabmesh.agents.learning.training import Training

        return Training(config, task)
    from fabmesh.agents.learning.checkpoint import sb3_module

    learner: Session = sb3_module(f"--algo {config.algo}").Sb3Training(config, task)
    return learner


def _summarise(session: Session, directory: Path, opponent: str) -> None:
    """One line on the result and where it lies."""
    saving, low = session.found["validation/saving_mode"], session.found["validation/saving_mode_low"]
    when = "at the end" if not session.stopped else f"at step {session.found_at} (stopped at step {session.steps})"
    say(
        f"network cost on validation worlds {when}: the policy {words_of_saving(saving)} against {opponent}, in % of "
        f"its network cost (lower end of the 95 % interval: {low:+.2%} saved)"
    )
    say(f"run: {directory}  (tensorboard --logdir {directory})")
