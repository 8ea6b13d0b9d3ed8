"""What a training writes down: TensorBoard, progress.csv, the progress bar."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from fabmesh.agents.evaluation.measures.books import TRANSFER_LINES, EpisodeBooks, measure
from fabmesh.agents.learning.config import TrainConfig, as_flat
from fabmesh.agents.learning.run.validation import MEASURE
from fabmesh.envs.files import write_whole

PER_UNIT = (
    "network_cost_per_unit",
    "controllable_cost_per_unit",
    "mission_cost_per_unit",
    "deadstock_share",
    "fill_rate",
)
CSV_NAME = "progress.csv"
KEYS = ("iteration", "steps")
"""Its first columns, which say what a row is of."""


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
    found = measure(EpisodeBooks(ledger, lines, events, names, standard))
    metrics = {f"episode/{name}": float(np.nanmean(found[name])) for name in PER_UNIT if np.isfinite(found[name]).any()}
    ordered = events[:, names.index("units_ordered")].sum()
    totals = ledger.sum(axis=(0, 1))
    for line, total in zip(lines, totals, strict=True):
        if line not in TRANSFER_LINES and ordered > 0:
            metrics[f"ledger_per_unit/{line}"] = float(total / ordered)
    return metrics


class ProgressFile:
    """progress.csv: one row per iteration, rewritten as a whole when new columns appear, so it is always readable.

    Of a run that goes on, rows beyond its checkpoint are dropped: they will be made again. What counts is the
    checkpoint, so a file that was damaged is set aside, and what can be read of it is kept.

    Args:
        path: The file.
        iteration: Of the checkpoint from which the run goes on, 0 for a new run.
        last: The row of that iteration, which the checkpoint holds; empty if it does not.
        say: Told what could not be read.
    """

    def __init__(self, path: Path, iteration: int, last: Mapping[str, Any], say: Callable[[str], None]) -> None:
        self.path = path
        data = path.read_bytes() if path.is_file() else b""
        self.columns, rows, intact = _read_rows(data, iteration)
        if last:
            rows.setdefault(iteration, dict(last))
        self.rows = [rows[number] for number in sorted(rows)]
        self.columns += [name for row in self.rows for name in row if name not in self.columns]
        self.columns = list(dict.fromkeys(self.columns))
        missing = [number for number in range(iteration + 1) if number not in rows]
        if not data.strip():
            if missing:
                say(f"{path} is not there any more; it begins again at iteration {min(rows, default=iteration)}")
        elif missing or not intact:
            aside = _free_name(path)
            path.rename(aside)
            found = f"rows that cannot be read: {len(missing)}" if missing else "all rows are kept"
            say(f"{path} was damaged: {found}; it is written anew, and the file as it was is {aside.name}")
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
        def write(draft: Path) -> None:
            with draft.open("w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, self.columns, restval="")
                writer.writeheader()
                writer.writerows(self.rows)

        write_whole(self.path, write)


def _read_rows(data: bytes, iteration: int) -> tuple[list[str], dict[int, dict[str, Any]], bool]:
    """Columns, readable rows up to an iteration by their number, and whether nothing else was before their end."""
    text = data.decode("utf-8-sig", errors="replace")
    lines = [line for line in text.replace("\0", "").splitlines() if line.strip()]
    if not lines:
        return [], {}, True
    delimiter = max(",;\t", key=lines[0].count)
    columns, *cells = csv.reader(lines, delimiter=delimiter, strict=False)
    rows: dict[int, dict[str, Any]] = {}
    if not {*KEYS} <= {*columns}:
        return [], {}, False
    intact = delimiter == "," and columns[:2] == list(KEYS) and not text.startswith("\ufeff")
    for row in cells:
        found = dict(zip(columns, row, strict=False))
        number = _whole(found.get("iteration", ""))
        if len(row) != len(columns) or number is None or _whole(found.get("steps", "")) is None or "\ufffd" in str(row):
            intact = intact and iteration in rows  # what comes after the last row that counts is made again
        elif number <= iteration:
            rows.setdefault(number, found)
    return columns, rows, intact


def _whole(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() else None


def _free_name(path: Path) -> Path:
    """A name beside a file that nothing has."""
    numbered = (path.with_name(f"{path.stem}.damaged-{number}{path.suffix}") for number in count(1))
    return next(name for name in numbered if not name.exists())


class Reporter:
    """Writes the metrics of a run wherever they are looked at.

    Args:
        config: Its settings, shown as a table and as hparams.
        opponents: Names whose scores are drawn as horizontal lines beside the learner's.
        steps: Environment steps already done.
        quiet: No progress bar and no messages.
    """

    def __init__(self, config: TrainConfig, opponents: Sequence[str], steps: int, quiet: bool = False) -> None:
        self.quiet = quiet
        self._config, self._opponents, self._steps = config, opponents, steps
        self.bar = tqdm(
            total=config.total_steps, initial=steps, unit=" steps", unit_scale=True, disable=quiet,
            file=sys.stderr, desc=f"{config.algo} on {Path(config.scenario).stem}",
        )  # fmt: skip
        self.writer: SummaryWriter | None = None

    def open(self, directory: Path, iteration: int, last: Mapping[str, Any], new: bool) -> None:
        """Begin or go on with the files, once the first checkpoint is there.

        Args:
            directory: Of the run.
            iteration: Of the checkpoint.
            last: The row of that iteration, for a run whose files do not have it yet.
            new: The run begins.
        """
        self.file = ProgressFile(directory / CSV_NAME, iteration, last, self.say)
        self.writer = SummaryWriter(str(directory), purge_step=None if new else self._steps + 1)
        if new:
            rows = "\n".join(f"|{name}|{value}|" for name, value in as_flat(self._config).items())
            self.writer.add_text("hyperparameters", f"|setting|value|\n|-|-|\n{rows}")
        curves = [f"validation/{MEASURE}_{kind}" for kind in ("mode", "sample", *self._opponents)]
        savings = [f"validation/saving_{kind}" for kind in ("mode", "mode_low", "sample")]
        layout = {"validation": {"network cost": ["Multiline", curves], "saving": ["Multiline", savings]}}
        self.writer.add_custom_scalars(layout)
        if new:
            self._draw(last)

    def iteration(self, row: dict[str, Any]) -> None:
        """Write the row of an iteration: its number, the steps until then, and its metrics."""
        self._draw(row)
        self.file.add(row)

    def _draw(self, row: Mapping[str, Any]) -> None:
        """Show the metrics of an iteration in TensorBoard and on the terminal."""
        assert self.writer is not None
        for name, value in row.items():
            if name not in KEYS:
                self.writer.add_scalar(name, value, row["steps"])
        self.bar.update(row["steps"] - self.bar.n)
        if "validation/saving_mode" in row:
            self.bar.set_postfix_str(f"saving {row['validation/saving_mode']:+.2%}")

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
        assert self.writer is not None
        self.writer.add_hparams(settings, final, run_name=".")

    def close(self) -> None:
        """Write out what is buffered."""
        self.bar.close()
        if self.writer is not None:
            self.writer.close()
