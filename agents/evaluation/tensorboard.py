"""A comparison in TensorBoard: scalars, stock over the episode, hyperparameters, tables and figures."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fabmesh.agents.evaluation.comparison import Comparison, Row
from fabmesh.agents.evaluation.figures import file_name
from fabmesh.agents.evaluation.report import markdown

EVENT_FILES = "events.out.tfevents*"


def log_tensorboard(comparison: Comparison, directory: Path, figures: Mapping[str, Any]) -> None:
    """Write a comparison for TensorBoard, in place of one logged there before.

    Args:
        comparison: What to log.
        directory: Log directory; one run per policy below it, the tables and figures in `tables_and_figures`.
        figures: Name -> matplotlib figure.
    """
    # Imported here because torch takes a second to load and the tables do without it.
    from torch.utils.tensorboard import SummaryWriter

    for row in comparison.rows:
        with SummaryWriter(str(_emptied(directory / file_name(row.name)))) as writer:
            _log_row(writer, comparison, row)
    with SummaryWriter(str(_emptied(directory / "tables_and_figures"))) as writer:
        writer.add_text("tables", markdown(comparison))
        for name, figure in figures.items():
            writer.add_figure(name, figure, close=False)


def _log_row(writer: Any, comparison: Comparison, row: Row) -> None:
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
        "scenario": comparison.scenario.name,
        "seeds": f"{comparison.seeds.space} {comparison.seeds.first}+{comparison.seeds.count}",
    }
    writer.add_hparams(settings, defined, run_name=".")


def _emptied(directory: Path) -> Path:
    """The directory, without the logs of an earlier comparison, which would be drawn on top of this one."""
    for old in directory.glob(EVENT_FILES):
        old.unlink()
    return directory
