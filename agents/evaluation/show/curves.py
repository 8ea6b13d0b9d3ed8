"""Learning curves, read from the run directories of trained policies."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fabmesh.agents.evaluation.statistics import Floats
from fabmesh.agents.learning.run import shipped
from fabmesh.agents.registry import SAMPLE_SUFFIX

_PROGRESS = "progress.csv"  # what a training writes an iteration a row into
_COLUMN = "validation/network_cost_"
_LEARNER = {"mode": "most likely action", "sample": "sampled action"}


@dataclass(frozen=True)
class Curve:
    """Validation scores of one training run.

    Attributes:
        name: Name of the run directory.
        steps: Environment steps (copies x days) at each validation, [validations].
        minutes: Time of the training until then, imitation and earlier validations included, nan where it is not
            known, [validations].
        scores: Words for the kind of action -> mean network cost on the validation seeds, EUR [validations].
        opponents: Name -> mean network cost on the same seeds, EUR.
    """

    name: str
    steps: Floats
    minutes: Floats
    scores: dict[str, Floats]
    opponents: dict[str, float]


def run_directory(source: str) -> Path | None:
    """The run directory a policy was read from, if it was and tells of its training."""
    path = Path(source.removesuffix(SAMPLE_SUFFIX))
    directory = path if path.is_dir() else path.parent
    return directory if path.exists() and (directory / _PROGRESS).is_file() else None


def read_curve(directory: Path) -> Curve | None:
    """The learning curve of a run directory; None if its progress holds no validation that can be read."""
    rows = [row for row in _progress(directory) if row.get(f"{_COLUMN}mode")]
    if not rows:
        return None
    kinds = [name.removeprefix(_COLUMN) for name in rows[0] if name.startswith(_COLUMN)]
    scores = {_LEARNER[kind]: _numbers(rows, _COLUMN + kind) for kind in kinds if kind in _LEARNER}
    opponents = {kind: float(_numbers(rows, _COLUMN + kind)[-1]) for kind in kinds if kind not in _LEARNER}
    return Curve(directory.name, _numbers(rows, "steps"), _numbers(rows, "speed/minutes"), scores, opponents)


def _progress(directory: Path) -> list[dict[str, str]]:
    """The rows of a run's progress; none where the file is no such table."""
    try:
        with (directory / _PROGRESS).open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error):
        return []


def _numbers(rows: list[dict[str, str]], column: str) -> Floats:
    """A column as numbers, nan where there is none."""

    def number(text: str | None) -> float:
        try:
            return float(text or "nan")
        except ValueError:
            return float("nan")

    return np.array([number(row.get(column)) for row in rows])


def curves_of(sources: tuple[str, ...]) -> list[Curve]:
    """Learning curves of the run directories among the sources, each once."""
    directories = {directory.resolve(): directory for source in sources if (directory := run_directory(source))}
    found = (read_curve(directory) for directory in directories.values())
    return [curve for curve in found if curve is not None]


def steps_of_run(source: str) -> int:
    """Environment steps a policy's run was trained for, 0 where nothing tells."""
    plain = source.removesuffix(SAMPLE_SUFFIX)
    if shipped.is_shipped(plain):
        return int(shipped.find(plain).trained.get("steps") or 0)
    directory = run_directory(source)
    if directory is None:
        return 0
    steps = _numbers(_progress(directory), "steps")
    return int(steps[-1]) if len(steps) and np.isfinite(steps[-1]) else 0
