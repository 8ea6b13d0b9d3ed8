"""The command line of `train.py`: from flags to a finished run."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fabmesh.agents.learning.config import ConfigError, TrainConfig
from fabmesh.agents.learning.settings import from_plain, parse
from fabmesh.envs.errors import FabmeshError

if TYPE_CHECKING:
    from fabmesh.agents.learning.session import Session, Task
    from fabmesh.envs.network.scenario import Scenario


def main(arguments: Sequence[str] | None = None) -> int:
    """Train from the command line; returns the exit status: 0, or 2 for what a user can put right."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        config = _settings(given)
        _train(config)
    except FabmeshError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    return 0


def _settings(arguments: list[str]) -> TrainConfig:
    """The settings; those of the run in the directory if it is resumed."""
    config = parse(arguments) if "--resume" not in arguments else _peek_resumed(arguments)
    directory = config.directory
    if not config.resume and (directory / "last.pt").exists():
        raise ConfigError(
            f"--run-dir {directory}: holds a run already; add --resume to go on with it, or choose another directory"
        )
    return config


def _peek_resumed(arguments: list[str]) -> TrainConfig:
    """The stored settings of the run named by the flags, with what a resumed run may change."""
    from fabmesh.agents.learning import checkpoint

    first = parse(arguments)
    last = first.directory / checkpoint.LAST
    if not last.exists():
        raise ConfigError(
            f"--resume: nothing to go on with in {first.directory} (no {checkpoint.LAST}); leave --resume out"
        )
    return parse(arguments, stored=from_plain(checkpoint.read(last)["config"]))


def _train(config: TrainConfig) -> None:
    """Build the task, run it, say what came out."""
    print("loading; the simulation is compiled on its first use on a machine (up to a minute)", file=sys.stderr)
    from fabmesh.agents.learning.session import run
    from fabmesh.envs.network.loading import load_scenario

    scenario = load_scenario(config.scenario)
    task = _task(config, scenario)
    found = run(_session(config, task), config.directory, config.resume)
    _summarise(config.directory, found, config.validation.opponents[0])


def _task(config: TrainConfig, scenario: Scenario) -> Task:
    """The scenario's batches, teacher and validation worlds."""
    from fabmesh.agents.evaluation.protocol import evaluate
    from fabmesh.agents.evaluation.seeds import seed_set
    from fabmesh.agents.learning.session import Task
    from fabmesh.agents.learning.validation import SeedValidator
    from fabmesh.agents.registry import make_policy
    from fabmesh.envs.vector import HubNetworkVector

    threads = config.machine.env_threads
    seeds = seed_set("validation", config.validation.validation_seeds).seeds
    teacher = None if config.imitation.teacher == "none" else make_policy(config.imitation.teacher, scenario)
    opponents = [make_policy(name, scenario) for name in config.validation.opponents]
    return Task(
        scenario.name,
        lambda copies: HubNetworkVector(scenario, num_envs=copies, threads=threads),
        teacher,
        SeedValidator(lambda policy: evaluate(policy, scenario, seeds, threads).measures, opponents),
    )


def _session(config: TrainConfig, task: Task) -> Session:
    """What learns."""
    if config.algo != "sb3_ppo":
        from fabmesh.agents.learning.training import Training

        return Training(config, task)
    try:
        from fabmesh.agents.learning.sb3 import Sb3Training
    except ModuleNotFoundError as error:
        if error.name != "stable_baselines3":
            raise
        raise ConfigError(
            "--algo sb3_ppo: needs stable-baselines3; install it with pip install 'fabmesh[sb3]'"
        ) from None
    return Sb3Training(config, task)


def _summarise(directory: Path, found: dict[str, float], opponent: str) -> None:
    """One line on the result and where it lies."""
    saving, low = found["validation/saving_mode"], found["validation/saving_mode_low"]
    print(
        f"network cost on validation worlds at the end: {saving:+.2%} saved against {opponent} "
        f"(95 % interval from {low:+.2%})\nrun: {directory}  (tensorboard --logdir {directory})"
    )
