"""The command line of `train.py`: from flags to a finished run."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fabmesh
from fabmesh.agents.evaluation.show.tables import words_of_saving
from fabmesh.agents.learning.config import SB3_ALGORITHMS, ConfigError, TrainConfig, validate
from fabmesh.agents.learning.run.settings import command_of, from_plain, parse
from fabmesh.envs.commands import guarded, say
from fabmesh.envs.errors import FabmeshError
from fabmesh.envs.files import check_writable

if TYPE_CHECKING:
    from fabmesh.agents.learning.run.session import Session, Task
    from fabmesh.envs.network.schema.scenario import Scenario


def main(arguments: Sequence[str] | None = None) -> int:
    """Train from the command line; returns the exit status.

    0, or 2 for what a user can put right, a training that diverges included; 130 when stopped by Ctrl-C, 143 by
    SIGTERM, 129 by SIGHUP: 128 and the number of the signal.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    return guarded(lambda: _train(given), "stopped")


def _train(arguments: list[str]) -> int:
    """Settle on the settings, and train in a directory that nobody else trains in."""
    resume = "--resume" in arguments
    first = parse(arguments, checked=not resume)  # a resumed run has settings of its own: this only shows where it is
    directory = first.directory
    try:
        check_writable(directory, "--run-dir", directory=True)
    except OSError as error:
        raise ConfigError(f"--run-dir {directory}: cannot be used ({error.strerror}); choose another place") from None
    from fabmesh.agents.learning.run.checkpoint import LAST  # PyTorch takes seconds, and what is wrong is said before
    from fabmesh.agents.learning.run.directory import locked

    if not resume:
        with locked(directory):
            return _run(first)
    if first.config is not None:
        raise ConfigError(
            f"--config {first.config}: --resume goes on with the settings of the run, and reads no file; leave "
            "--config out (--total-steps and --max-minutes may be given anew)"
        )
    if not (directory / LAST).exists():
        raise ConfigError(f"--resume: nothing to go on with in {directory} (no {LAST}); leave --resume out")
    with locked(directory):
        return _run(_resumed(arguments, directory / LAST))


def _resumed(arguments: list[str], last: Path) -> TrainConfig:
    """The stored settings of a run, with what a resumed run may change.

    Raises:
        ConfigError: If the flags ask for less than the run has done.
    """
    from fabmesh.agents.learning.run import checkpoint

    content = checkpoint.read_whole(last, resumable=True)
    stored = from_plain(content["config"])
    config = parse(arguments, stored=stored)
    steps, minutes = checkpoint.count_in(content["state"], "steps"), content["state"]["seconds"] / 60.0
    if config.total_steps != stored.total_steps and config.total_steps < steps:
        raise ConfigError(f"--total-steps {config.total_steps}: the run has made {steps} steps already; give more")
    limit = config.max_minutes
    if limit is not None and limit != stored.max_minutes and limit <= minutes:
        raise ConfigError(f"--max-minutes {limit:g}: the run has taken {minutes:.1f} minutes already; give more")
    return config


def _run(config: TrainConfig) -> int:
    """Build the task, run it, say what came out; returns the exit status."""
    from fabmesh.agents.learning.run.directory import require_free

    if not config.resume:
        require_free(config.directory, config)
    print("loading; the simulation is compiled on its first use on a machine (up to a minute)", file=sys.stderr)
    from fabmesh.agents.learning.run.session import device_of, run_locked
    from fabmesh.envs.network.loading import load_scenario

    device_of(config)  # refused before the opponents are played
    scenario = load_scenario(config.scenario)
    config = for_scenario(config, scenario)
    session = session_for(config, task_for(config, scenario))
    run_locked(session, config.directory, config.resume)
    _summarise(session, config.directory, config.validation.opponents[0])
    return 0 if session.stopped is None else 128 + session.stopped


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
    """The settings with another budget; None leaves what they say.

    Schedules follow steps. So minutes alone are as many steps as the settings say that such a time has, however fast
    the machine is; where the settings give no minutes, the steps stay as they are.

    Raises:
        ConfigError: If it is impossible.
    """
    if config.total_steps > 0 and minutes is not None:
        validate(replace(config, max_minutes=minutes))
        if not math.isfinite(minutes):
            raise ConfigError(f"max_minutes: {minutes} is not possible; allowed: a finite number", "max_minutes")
        share = 1.0 if config.max_minutes is None else minutes / config.max_minutes
        steps = total_steps or max(1, math.ceil(share * config.total_steps))
        config = replace(config, max_minutes=minutes, total_steps=steps)
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
    from fabmesh.agents.evaluation.judge.manifest import commit_of
    from fabmesh.agents.evaluation.judge.protocol import evaluate
    from fabmesh.agents.evaluation.judge.seeds import seed_set
    from fabmesh.agents.learning.run.session import Task
    from fabmesh.agents.learning.run.validation import SeedValidator
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
    from fabmesh.agents.learning.run import checkpoint, shipped
    from fabmesh.envs.network.interface.spec import role_specs

    try:
        path = shipped.path_of(given) if shipped.is_shipped(given) else Path(given)
        return checkpoint.starting_weights(path, scenario.name, role_specs(scenario), config.network)
    except FabmeshError as error:
        raise ConfigError(f"--init-from: {error}", "init_from") from None


def session_for(config: TrainConfig, task: Task) -> Session:
    """What learns."""
    if config.algo not in SB3_ALGORITHMS:
        from fabmesh.agents.learning.algorithms.training import Training

        return Training(config, task)
    from fabmesh.agents.learning.run.checkpoint import sb3_module

    learner: Session = sb3_module(f"--algo {config.algo}").Sb3Training(config, task)
    return learner


def _summarise(session: Session, directory: Path, opponent: str) -> None:
    """One line on the result and where it lies."""
    saving, low = session.found["validation/saving_mode"], session.found["validation/saving_mode_low"]
    when = "at the end"
    if session.stopped is not None:
        when = f"at step {session.found_at} (stopped at step {session.steps})"
    elif session.progress < 1.0 and session.iteration == 0:
        when = "after imitation alone (no time was left to learn)"
    say(
        f"network cost on validation worlds {when}: the policy {words_of_saving(saving)} against {opponent}, in % of "
        f"its network cost (lower end of the 95 % interval: {low:+.2%} saved)"
    )
    say(f"run: {directory}  (tensorboard --logdir {directory})")
