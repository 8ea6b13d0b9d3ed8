"""A comparison in TensorBoard: scalars, stock over the episode, hyperparameters, tables and figures."""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from fabmesh.agents.evaluation.judge.comparison import Comparison, Row
from fabmesh.agents.evaluation.show.tables import markdown
from fabmesh.envs.errors import FabmeshError
from fabmesh.envs.files import write_whole
from fabmesh.envs.names import file_names, shown

SUFFIX = ".evaluation"  # of the files of a comparison: a training may keep its own beside them
TABLES = "tables_and_figures"


def log_tensorboard(comparison: Comparison, directory: Path, figures: Mapping[str, Any]) -> None:
    """Write a comparison for TensorBoard, in place of one logged there before.

    Args:
        comparison: What to log.
        directory: Log directory; one run per policy below it, the tables and figures in `tables_and_figures`.
        figures: Name -> matplotlib figure.
    """
    # Imported here because torch takes a second to load and the tables do without it.
    from torch.utils.tensorboard import SummaryWriter

    folders = file_names((row.name for row in comparison.rows), taken=[TABLES])
    with tempfile.TemporaryDirectory() as place:  # TensorBoard writes on any path of UTF-8 only, and not whole
        try:
            for row, folder in zip(comparison.rows, folders, strict=True):
                with SummaryWriter(str(Path(place) / folder), filename_suffix=SUFFIX) as writer:
                    _log_row(writer, comparison, row)
            with SummaryWriter(str(Path(place) / TABLES), filename_suffix=SUFFIX) as writer:
                writer.add_text("tables", markdown(comparison))
                for name, figure in figures.items():
                    writer.add_figure(name, figure, close=False)
        except OSError as error:
            raise FabmeshError(f"{directory}: cannot be written ({error.strerror or error})") from error
        for folder in (*folders, TABLES):
            _put(Path(place) / folder, directory / folder)


def _put(made: Path, directory: Path) -> None:
    """Put logs where they are to be, in place of those of an earlier comparison, which would be drawn beneath."""
    earlier = list(directory.glob(f"events.out.tfevents.*{SUFFIX}"))
    for log in made.iterdir():
        write_whole(directory / log.name, partial(shutil.copyfile, log))
    for old in earlier:
        old.unlink()


def _log_row(writer: Any, comparison: Comparison, row: Row) -> None:
    from torch.utils.tensorboard.summary import hparams

    means = {f"evaluation/{name}": found.mean.mean for name, found in row.summaries.items()}
    defined = {tag: mean for tag, mean in means.items() if not math.isnan(mean)}
    for name in ("network_cost", "controllable_cost", "mission_cost"):
        found = row.summaries[name]
        for what, value in (("median", found.median), ("iqm", found.iqm), ("cvar95", found.cvar95)):
            writer.add_scalar(f"{name}/{what}", value, 0)
    for line in row.runs[0].costs:
        writer.add_scalar(f"ledger_eur/{line}", row.cost_line(line), 0)
    if row.trace is not None:
        for kind, days in row.trace.stock_eur.items():
            for day, value in enumerate(days.mean(axis=1), start=1):
                writer.add_scalar(f"stock_eur_by_day/{kind.replace(', ', '_')}", value, day)
        for day, value in enumerate(row.trace.deadstock_eur.mean(axis=1), start=1):
            writer.add_scalar("stock_eur_by_day/written_off", value, day)
    settings: dict[str, bool | str | float | int] = {
        "policy": row.name,
        "sees": row.sees,
        "runs": len(row.runs),
        "scenario": shown(comparison.scenario.name),
        "seeds": f"{comparison.seeds.space} {comparison.seeds.first}+{comparison.seeds.count}",
    }
    # `add_hparams` would write them to a file without our suffix
    for summary in hparams(settings, defined):  # type: ignore[no-untyped-call]
        writer.file_writer.add_summary(summary)
    for tag, mean in defined.items():
        writer.add_scalar(tag, mean)
