"""What a training writes down: TensorBoard, progress.csv, the progress bar."""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from fabmesh.agents.evaluation.measures import TRANSFER_LINES, measure
from fabmesh.agents.learning.config import TrainConfig, as_flat
from fabmesh.agents.learning.validation import MEASURE

PER_UNIT = (
    "network_cost_per_unit",
    "controllable_cost_per_unit",
    "mission_cost_per_unit",
    "deadstock_share",
    "fill_rate",
)
CSV_NAME = "progress.csv"


class Books(Protocol):
    """A batch that keeps a ledger."""

    @property
    def ledger_lines(self) -> Sequence[str]:
        """Names of the ledger's lines."""

    @property
    def event_names(self) -> Sequence[str]:
        """Names of the counted events."""


def episode_metrics(episodes: Sequence[Mapping[str, Any]], books: Books) -> dict[str, float]:
    """Means over the episodes that ended in an iteration: the costs and every ledger line per unit ordered (EUR)."""
    if not episodes:
        return {}
    ledger = np.concatenate([part["final_ledger"] for part in episodes])
    events = np.concatenate([part["final_events"] for part in episodes])
    standard = np.concatenate([part["standard_cost"] for part in episodes])
    lines, names = list(books.ledger_lines), list(books.event_names)
    found = measure(ledger, lines, events, names, standard)
    metrics = {f"episode/{name}": float(np.nanmean(found[name])) for name in PER_UNIT if np.isfinite(found[name]).any()}
    ordered = events[:, names.index("units_ordered")].sum()
    totals = ledger.sum(axis=(0, 1))
    for line, total in zip(lines, totals, strict=True):
        if line not in TRANSFER_LINES and ordered > 0:
            metrics[f"ledger_per_unit/{line}"] = float(total / ordered)
    return metrics


def holds_rows(directory: Path) -> bool:
    """Whether progress.csv tells of an iteration."""
    path = directory / CSV_NAME
    return path.is_file() and len(path.read_bytes().split()) > 1


def clear_abandoned(directory: Path) -> None:
    """Remove the logs of a run that was stopped before its first iteration, so that the next one starts clean."""
    if (directory / CSV_NAME).is_file() and not holds_rows(directory):
        for path in [directory / CSV_NAME, *directory.glob("events.out.tfevents.*")]:
            path.unlink()


class ProgressFile:
    """progress.csv: one row per iteration, rewritten as a whole when new columns appear, so it is always readable.

    Args:
        path: The file.
        steps: Rows of a resumed run beyond this many environment steps are dropped: they will be made again. None
            for a new run.
    """

    def __init__(self, path: Path, steps: int | None) -> None:
        self.path = path
        self.rows: list[dict[str, Any]] = []
        if path.is_file() and steps is not None:
            with path.open(newline="", encoding="utf-8") as file:
                self.rows = [row for row in csv.DictReader(file) if int(row["steps"]) <= steps]
        self.columns = list(self.rows[0]) if self.rows else []
        self._rewrite()

    def add(self, row: dict[str, Any]) -> None:
        """Append a row."""
        self.rows.append(row)
        new = [name for name in row if name not in self.columns]
        if new:
            self.columns += new
            self._rewrite()
            return
        with self.path.open("a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, self.columns, restval="").writerow(row)

    def _rewrite(self) -> None:
        temporary = self.path.with_suffix(".tmp")
        with temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self.columns, restval="")
            writer.writeheader()
            writer.writerows(self.rows)
        os.replace(temporary, self.path)  # noqa: PTH105  # the atomic call by its name


class Reporter:
    """Writes the metrics of a run wherever they are looked at.

    Args:
        directory: Of the run.
        config: Its settings, shown as a table and as hparams.
        opponents: Names whose scores are drawn as horizontal lines beside the learner's.
        steps: Environment steps already done by the run that is resumed; None for a new run.
        quiet: No progress bar and no messages.
    """

    def __init__(
        self, directory: Path, config: TrainConfig, opponents: Sequence[str], steps: int | None, quiet: bool = False
    ) -> None:
        self.quiet = quiet
        self._config = config
        self.writer = SummaryWriter(str(directory), purge_step=None if steps is None else steps + 1)
        self.file = ProgressFile(directory / CSV_NAME, steps)
        self.bar = tqdm(
            total=config.total_steps, initial=steps or 0, unit=" steps", unit_scale=True, disable=quiet,
            file=sys.stderr, desc=f"{config.algo} on {Path(config.scenario).stem}",
        )  # fmt: skip
        if steps is None:
            rows = "\n".join(f"|{name}|{value}|" for name, value in as_flat(config).items())
            self.writer.add_text("hyperparameters", f"|setting|value|\n|-|-|\n{rows}")
        curves = [f"validation/{MEASURE}_{kind}" for kind in ("mode", "sample", *opponents)]
        savings = [f"validation/saving_{kind}" for kind in ("mode", "mode_low", "sample")]
        layout = {"validation": {"network cost": ["Multiline", curves], "saving": ["Multiline", savings]}}
        self.writer.add_custom_scalars(layout)

    def iteration(self, number: int, steps: int, metrics: Mapping[str, float]) -> None:
        """Write the metrics of an iteration."""
        for name, value in metrics.items():
            self.writer.add_scalar(name, value, steps)
        self.file.add({"iteration": number, "steps": steps, **metrics})
        self.bar.update(steps - self.bar.n)
        if "validation/saving_mode" in metrics:
            self.bar.set_postfix_str(f"saving {metrics['validation/saving_mode']:+.2%}")

    def say(self, message: str) -> None:
        """One line for whoever watches."""
        if not self.quiet:
            self.bar.write(message, file=sys.stderr)

    def hparams(self, metrics: Mapping[str, float]) -> None:
        """The settings and what they led to, for TensorBoard's comparison of runs."""
        settings = {
            name: value if isinstance(value, int | float | bool | str) else str(value)
            for name, value in as_flat(self._config).items()
        }
        final = {f"hparam/{name.removeprefix('validation/')}": value for name, value in metrics.items()}
        self.writer.add_hparams(settings, final, run_name=".")

    def close(self) -> None:
        """Write out what is buffered."""
        self.bar.close()
        self.writer.close()
