"""A run, whatever learns in it: iterations, validation, logs, checkpoints; to be stopped and resumed anywhere."""

from __future__ import annotations

import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from fabmesh.agents.learning import checkpoint
from fabmesh.agents.learning.batch import Batch, BatchFactory
from fabmesh.agents.learning.config import ConfigError, TrainConfig, validate
from fabmesh.agents.learning.reporting import Reporter, clear_abandoned
from fabmesh.agents.learning.settings import to_yaml
from fabmesh.agents.learning.validation import Best, Validator, judgement
from fabmesh.agents.policy import Policy

Say = Callable[[str], None]


@dataclass(frozen=True)
class Task:
    """What a run learns on.

    Attributes:
        name: Name of the scenario, kept in checkpoints.
        make_batch: Makes a batch of so many copies.
        teacher: Policy to imitate first, if any.
        validator: Judges the learner; without one the last policies count as the best.
        start: Role -> weights to begin from in place of imitation, if any.
        commit: Of the code, kept in checkpoints; None: not known.
        command: The training as a user would type it with that code, kept in checkpoints; None: not known.
    """

    name: str
    make_batch: BatchFactory
    teacher: Policy | None = None
    validator: Validator | None = None
    start: Mapping[str, Mapping[str, Any]] | None = None
    commit: str | None = None
    command: str | None = None


class Interrupt:
    """Set by the first Ctrl-C, so that a run stops after the current iteration; the second stops it at once."""

    def __init__(self) -> None:
        self.requested = False

    @contextmanager
    def listening(self) -> Iterator[Interrupt]:
        """Listen to Ctrl-C inside the block."""

        def handle(number: int, frame: FrameType | None) -> None:
            if self.requested:
                raise KeyboardInterrupt
            self.requested = True

        try:
            before = signal.signal(signal.SIGINT, handle)
        except ValueError:  # not the main thread: whoever started it stops it
            yield self
            return
        try:
            yield self
        finally:
            signal.signal(signal.SIGINT, before)


def device_of(config: TrainConfig) -> torch.device:
    """Where the networks are to be.

    Raises:
        ConfigError: If PyTorch has no such device here.
    """
    kind, _, number = config.machine.device.partition(":")
    if kind == "cuda" and int(number or 0) >= (count := torch.cuda.device_count()):
        built = (
            f"sees GPUs: {count}" if torch.version.cuda else "is built without CUDA (pytorch.org has builds with it)"
        )
        raise ConfigError(
            f"--device {config.machine.device}: PyTorch {torch.__version__} {built}; use --device cpu", "device"
        )
    return torch.device(kind, int(number)) if number else torch.device(kind)


class Session(ABC):
    """Something that learns, one iteration after another. All that changes is in `state`, so a resumed run is exact.

    Args:
        config: The settings.
        task: What to learn on.

    Attributes:
        device: Where its networks are.
        batch: The worlds it learns in.
        iteration: Iterations done.
        steps: Environment steps done.
        seconds: Time spent, over all sittings.
        found: What the last validation said, by name; empty before the first.
        found_at: Environment steps at that validation.
        stopped: Ctrl-C has ended the run before its end.
    """

    def __init__(self, config: TrainConfig, task: Task) -> None:
        validate(config)
        self.device = device_of(config)
        torch.set_num_threads(config.machine.torch_threads)
        self.config, self.task = config, task
        self.batch: Batch = task.make_batch(config.rollout.copies)
        self.best = Best()
        self.iteration = 0
        self.steps = 0
        self.seconds = 0.0
        self.found: dict[str, float] = {}
        self.found_at = 0
        self.stopped = False

    @abstractmethod
    def _begin(self, say: Say) -> None:
        """Get ready for the first iteration."""

    @abstractmethod
    def _learn(self) -> dict[str, float]:
        """Collect and update once; returns the metrics."""

    @abstractmethod
    def policy(self, sample: bool) -> Policy:
        """What has been learned so far, most likely or sampled actions."""

    @abstractmethod
    def weights(self) -> dict[str, Any]:
        """What the policy is made from."""

    @abstractmethod
    def inner_state(self) -> dict[str, Any]:
        """All else that changes: optimisers, generators, worlds."""

    @abstractmethod
    def restore_inner(self, weights: Mapping[str, Any], state: Mapping[str, Any]) -> None:
        """Put back what `weights` and `inner_state` gave."""

    @property
    def progress(self) -> float:
        """Share of the run that is over, by steps or by time, whichever is nearer its end."""
        share = self.steps / self.config.total_steps if self.config.total_steps > 0 else 1.0
        if self.config.max_minutes is not None:
            share = max(share, self.seconds / (60.0 * self.config.max_minutes))
        return min(share, 1.0)

    def start(self, say: Say = lambda _: None) -> None:
        """Get ready for the first iteration."""
        began = time.perf_counter()
        self._begin(say)
        self.seconds += time.perf_counter() - began

    def iterate(self) -> dict[str, float]:
        """Learn from one more rollout; returns the metrics."""
        began = time.perf_counter()
        metrics = self._learn()
        passed = time.perf_counter() - began
        self.iteration += 1
        self.steps += self.config.steps_per_iteration
        self.seconds += passed
        agents = sum(len(layout.agents) for layout in self.batch.spec.values())
        return metrics | {
            "speed/env_steps_per_s": self.config.steps_per_iteration / passed,
            "speed/agent_steps_per_s": self.config.steps_per_iteration * agents / passed,
            "speed/minutes": self.seconds / 60.0,
        }

    def judge(self) -> dict[str, float]:
        """Validate the policies as they are, most likely and sampled actions."""
        validator = self.task.validator
        if validator is None:
            return {}
        began = time.perf_counter()
        mode, sampled = validator.score(self.policy(sample=False)), validator.score(self.policy(sample=True))
        self.seconds += time.perf_counter() - began
        return judgement(mode, sampled, validator.opponents)

    def content(self) -> dict[str, Any]:
        """The policies as a checkpoint."""
        config = self.config
        made = checkpoint.policy_content(config.algo, self.task.name, self.batch.spec, config, self.weights())
        return made | {"commit": self.task.commit, "command": self.task.command}

    def close(self) -> None:
        """End the threads; nothing can be learned afterwards."""
        self.batch.close()

    def state(self) -> dict[str, Any]:
        """All a resumed run needs beside the policies."""
        return {
            "inner": self.inner_state(),
            "best": [self.best.cost, self.best.steps],
            "found": self.found,
            "found_at": self.found_at,
            "iteration": self.iteration,
            "steps": self.steps,
            "seconds": self.seconds,
        }

    def restore(self, content: Mapping[str, Any], path: Path) -> None:
        """Go back to where a checkpoint stands."""
        checkpoint.require_fit(content, path, self.task.name, self.batch.spec)
        state = content["state"]
        try:
            self.restore_inner(content["weights"], state["inner"])
            self.best = Best(*state["best"])
            self.iteration, self.steps, self.seconds = state["iteration"], state["steps"], state["seconds"]
            self.found, self.found_at = dict(state.get("found", {})), state.get("found_at", 0)
        except checkpoint.UNUSABLE as error:
            raise checkpoint.damaged(path, checkpoint.first_line(error)) from None


def is_over(directory: Path, config: TrainConfig) -> bool:
    """Whether the run in a directory, which has a last checkpoint, came to the end that the settings give it."""
    state = checkpoint.read(directory / checkpoint.LAST)["state"]
    in_time = config.max_minutes is not None and state["seconds"] >= 60.0 * config.max_minutes
    return bool(in_time or state["steps"] >= config.total_steps)


def run(
    session: Session,
    directory: Path,
    resume: bool = False,
    quiet: bool = False,
    watch: Callable[[Session], object] = lambda _: None,
) -> dict[str, float]:
    """Learn to the end, or to Ctrl-C, with logs and checkpoints in a directory.

    Args:
        session: Fresh.
        directory: Of the run; made if need be.
        resume: Start from its last checkpoint.
        quiet: Nothing on the terminal.
        watch: Shown the session after each iteration.

    Returns:
        The last validation, by name.
    """
    config = session.config
    directory.mkdir(parents=True, exist_ok=True)
    if resume:
        last = directory / checkpoint.LAST
        session.restore(checkpoint.read_whole(last, resumable=True), last)
    else:
        clear_abandoned(directory)
    opponents = list(session.task.validator.opponents) if session.task.validator else []
    reporter = Reporter(directory, config, opponents, session.steps if resume else None, quiet)
    try:
        # of a resumed run, too: its budget may be another
        (directory / "config.yaml").write_text(to_yaml(config), encoding="utf-8")
        if not resume:
            session.start(reporter.say)  # Ctrl-C stops it at once: there is nothing to keep yet
        with Interrupt().listening() as interrupt:
            if not resume:
                reporter.iteration(0, 0, _validate(session, directory) | {"speed/minutes": session.seconds / 60.0})
                _save(session, directory)
            while session.progress < 1.0 and not interrupt.requested:
                metrics = session.iterate()
                due = session.iteration % config.validation.validation_every == 0
                if due or session.progress >= 1.0:
                    metrics |= _validate(session, directory)
                reporter.iteration(session.iteration, session.steps, metrics)
                watch(session)
                if due:
                    _save(session, directory)
            if not session.found:  # of a version that did not keep it
                _validate(session, directory)
            _save(session, directory)
            session.stopped = session.progress < 1.0
            if session.stopped:
                reporter.say(f"stopped at {session.steps} steps; go on with --resume --run-dir {directory}")
        reporter.hparams(session.found)
    finally:
        reporter.close()
    return session.found


def _validate(session: Session, directory: Path) -> dict[str, float]:
    """Validate, and keep the policies if none cost less before."""
    found = session.judge()
    session.found, session.found_at = found, session.steps
    cost = found.get("validation/network_cost_mode", float("-inf"))
    if cost <= session.best.cost:
        session.best.cost, session.best.steps = cost, session.steps
        checkpoint.write(
            directory / checkpoint.BEST,
            {**session.content(), "steps": session.steps, "validation": found},
        )
    return found


def _save(session: Session, directory: Path) -> None:
    """Keep all a resumed run needs."""
    checkpoint.write(directory / checkpoint.LAST, {**session.content(), "state": session.state()})
