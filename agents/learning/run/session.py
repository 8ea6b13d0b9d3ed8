"""A run, whatever learns in it: iterations, validation, logs, checkpoints; to be stopped and resumed anywhere."""

from __future__ import annotations

import signal
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from fabmesh.agents.learning.batch import Batch, BatchFactory
from fabmesh.agents.learning.config import ConfigError, TrainConfig, validate
from fabmesh.agents.learning.run import checkpoint
from fabmesh.agents.learning.run.directory import keep_settings, locked, require_free
from fabmesh.agents.learning.run.logs import Reporter
from fabmesh.agents.learning.run.settings import from_plain, to_yaml
from fabmesh.agents.learning.run.validation import Best, Validator, judgement
from fabmesh.agents.policy import Policy
from fabmesh.envs.errors import FabmeshError

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


class StoppedError(KeyboardInterrupt):
    """A run is to end at once.

    Attributes:
        signal: What asked for it.
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self.signal = signal.Signals(number)


class DivergedError(FabmeshError):
    """The numbers of a run are not finite any more."""


class Interrupt:
    """Ctrl-C, or the signal of whoever ends a session, a container or a job: a run is kept and stops.

    Attributes:
        at_once: There is nothing to keep yet: a signal raises `StoppedError`. Else the first one lets the iteration
            end, and the second raises.
        requested: The first signal.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self) -> None:
        self.at_once = True
        self.requested: signal.Signals | None = None

    @contextmanager
    def listening(self) -> Iterator[Interrupt]:
        """Listen inside the block. A signal that is ignored (`nohup`) stays so, but for Ctrl-C."""

        def handle(number: int, frame: FrameType | None) -> None:
            if self.at_once or self.requested is not None:
                raise StoppedError(number)
            self.requested = signal.Signals(number)

        if threading.current_thread() is not threading.main_thread():  # whoever started it stops it
            yield self
            return
        heard = [n for n in self.SIGNALS if n == signal.SIGINT or signal.getsignal(n) != signal.SIG_IGN]
        before = {number: signal.signal(number, handle) for number in heard}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


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
        row: What was written down of the last iteration, its number and steps first.
        stopped: The signal that has ended the run before its end, if one has.
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
        self.row: dict[str, Any] = {}
        self.stopped: signal.Signals | None = None
        self._since = time.perf_counter()

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

    @abstractmethod
    def numbers(self) -> dict[str, Any]:
        """What learning moves, by name: weights, what optimisers keep, and what policies make of a world as it is."""

    @property
    def progress(self) -> float:
        """Share of its steps that the run has made, which schedules follow: the clock has no part in it."""
        return min(self.steps / self.config.total_steps, 1.0) if self.config.total_steps > 0 else 1.0

    @property
    def spent(self) -> float:
        """Share of the budget that is spent, by steps or by time, whichever is nearer its end."""
        limit = self.config.max_minutes
        return self.progress if limit is None else min(max(self.progress, self.seconds / (60.0 * limit)), 1.0)

    def out_of_time(self) -> bool:
        """Whether the time of the run is over, that of what is being done now included."""
        limit = self.config.max_minutes
        return limit is not None and self.seconds + time.perf_counter() - self._since >= 60.0 * limit

    def clock(self) -> str:
        """The time spent, for whoever watches."""
        limit = self.config.max_minutes
        minutes = (self.seconds + time.perf_counter() - self._since) / 60.0
        return f"{minutes:.1f} minutes" if limit is None else f"{minutes:.1f} of {limit:g} minutes"

    @contextmanager
    def _timed(self) -> Iterator[None]:
        """Count the time of the block."""
        self._since = time.perf_counter()
        yield
        self.seconds += time.perf_counter() - self._since

    @contextmanager
    def _learning(self, place: str) -> Iterator[dict[str, float]]:
        """Count the time of the block, and see that what it learns and the metrics it leaves here are finite."""
        metrics: dict[str, float] = {}
        try:
            with self._timed():
                yield metrics
        except checkpoint.UNUSABLE:  # what a library says that was given numbers that are none
            self._require_finite(place, metrics)
            raise
        self._require_finite(place, metrics)

    def start(self, say: Say = lambda _: None) -> None:
        """Get ready for the first iteration.

        Raises:
            DivergedError: If what is begun with is not finite.
        """
        with self._learning("before the first iteration"):
            self._begin(say)

    def iterate(self) -> dict[str, float]:
        """Learn from one more rollout; returns the metrics.

        Raises:
            DivergedError: If weights, losses or gradients are not finite any more.
        """
        before = self.seconds
        with self._learning(f"in iteration {self.iteration + 1}") as metrics:
            metrics.update(self._learn())
        passed = self.seconds - before
        self.iteration += 1
        self.steps += self.config.steps_per_iteration
        agents = sum(len(layout.agents) for layout in self.batch.spec.values())
        return metrics | {
            "speed/env_steps_per_s": self.config.steps_per_iteration / passed,
            "speed/agent_steps_per_s": self.config.steps_per_iteration * agents / passed,
            "speed/minutes": self.seconds / 60.0,
        }

    def _require_finite(self, place: str, metrics: Mapping[str, float]) -> None:
        """Refuse to go on with numbers that are not finite."""
        updates = {name: value for name, value in metrics.items() if "loss" in name or "gradient_norm" in name}
        wrong = checkpoint.not_finite({"metrics": updates, **self.numbers()})
        if wrong is not None:
            raise DivergedError(
                f"{place} the numbers of the training stopped being finite ({wrong}), and it was stopped; what was "
                "kept before is untouched. Try smaller step sizes (--learning-rate, --residual-learning-rate, "
                "--critic-learning-rate, --imitation-learning-rate)"
            )

    def judge(self) -> dict[str, float]:
        """Validate the policies as they are, most likely and sampled actions."""
        validator = self.task.validator
        if validator is None:
            return {}
        with self._timed():
            mode, sampled = validator.score(self.policy(sample=False)), validator.score(self.policy(sample=True))
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
            "row": self.row,
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
            self.iteration, self.steps = (checkpoint.count_in(state, name) for name in ("iteration", "steps"))
            self.found, self.row = ({**state.get(name, {})} for name in ("found", "row"))
            self.found_at, self.seconds = state.get("found_at", 0), float(state["seconds"])
            if not 0.0 <= self.seconds < float("inf"):
                raise ValueError(f"seconds is {self.seconds}")
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
    """Learn to the end, or until stopped, with logs and checkpoints in a directory that nobody else trains in.

    Args:
        session: Fresh.
        directory: Of the run; made if need be.
        resume: Start from its last checkpoint.
        quiet: Nothing on the terminal.
        watch: Shown the session after each iteration.

    Returns:
        The last validation, by name.

    Raises:
        FabmeshError: If the directory cannot be used, or the training diverges.
        StoppedError: If it is stopped while there is nothing to keep, or a second time.
    """
    with locked(directory):
        return run_locked(session, directory, resume, quiet, watch)


def run_locked(
    session: Session,
    directory: Path,
    resume: bool,
    quiet: bool = False,
    watch: Callable[[Session], object] = lambda _: None,
) -> dict[str, float]:
    """As `run`, for who has the directory to himself already (`locked`)."""
    before = session.config
    if resume:
        last = directory / checkpoint.LAST
        content = checkpoint.read_whole(last, resumable=True)
        session.restore(content, last)
        before = from_plain(content["config"])
    else:
        require_free(directory, session.config)
    opponents = list(session.task.validator.opponents) if session.task.validator else []
    reporter = Reporter(session.config, opponents, session.steps, quiet)
    try:
        _learn(session, directory, reporter, before if resume else None, watch)
    except OSError as error:
        raise FabmeshError(
            f"{directory}: cannot be written ({error.strerror or error}); what was kept before is there"
        ) from None
    finally:
        reporter.close()
    return session.found


def _learn(
    session: Session,
    directory: Path,
    reporter: Reporter,
    before: TrainConfig | None,
    watch: Callable[[Session], object],
) -> None:
    """The run itself; `before` is what its settings were when it was stopped, None for a new one."""
    over = before is not None and session.spent >= 1.0
    if over:
        reporter.say(f"nothing is left to do: {session.steps} of {session.config.total_steps} steps, {session.clock()}")
    with Interrupt().listening() as interrupt:
        if before is None:
            session.start(reporter.say)
            interrupt.at_once = False
            found = _validate(session, directory)
            session.row = {"iteration": 0, "steps": 0, **found, "speed/minutes": session.seconds / 60.0}
        interrupt.at_once = False
        if before is None or to_yaml(before) != to_yaml(session.config):
            _save(session, directory)  # before the files that tell of it
        kept = session.iteration
        reporter.open(directory, session.iteration, session.row, new=before is None)
        left_alone = keep_settings(directory, session.config, before or session.config)
        if left_alone is not None:
            reporter.say(left_alone)
        while session.spent < 1.0 and interrupt.requested is None:
            metrics = session.iterate()
            due = session.iteration % session.config.validation.validation_every == 0
            if due or session.spent >= 1.0:
                metrics |= _validate(session, directory)
            session.row = {"iteration": session.iteration, "steps": session.steps, **metrics}
            reporter.iteration(session.row)
            watch(session)
            if due:
                _save(session, directory)
                kept = session.iteration
        judged = bool(session.found) or session.task.validator is None
        if not judged:  # of a version that did not keep it
            _validate(session, directory)
        if session.iteration > kept or not judged:
            _save(session, directory)
        session.stopped = interrupt.requested if session.spent < 1.0 else None
    if session.progress < 1.0 and not over:
        reporter.say(_why_it_ended(session, directory))
    if not over:
        reporter.hparams(session.found)


def _why_it_ended(session: Session, directory: Path) -> str:
    """What to say of a run that ends before its last step."""
    limit, again = session.config.max_minutes, f"--resume --run-dir {directory}"
    if session.stopped is not None:
        return f"stopped at {session.steps} steps; go on with {again}"
    if session.iteration == 0:
        return (
            f"nothing has been learned: the {limit:g} minutes went into imitation and validation, and no iteration was "
            "made; give more time (--max-minutes) or imitate less (--imitation-rounds, --imitation-days, "
            "--imitation-epochs) in a new --run-dir"
        )
    return (
        f"the {limit:g} minutes were over after {session.steps} of {session.config.total_steps} steps, which the "
        f"schedules follow; go on with {again} --max-minutes MORE"
    )


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
