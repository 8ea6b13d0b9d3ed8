"""All figures of a comparison, and how they are kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from fabmesh.agents.evaluation.judge.comparison import Comparison
from fabmesh.agents.evaluation.show.curves import curves_of
from fabmesh.agents.evaluation.show.plots import cost_by_line, paired_differences
from fabmesh.agents.evaluation.show.plots_map import network_map
from fabmesh.agents.evaluation.show.plots_time import learning_curves, stock_over_time
from fabmesh.envs.files import write_whole
from fabmesh.envs.names import file_names

_DPI = 150


def comparison_figures(comparison: Comparison) -> dict[str, Figure]:
    """All figures of a comparison by file name without suffix.

    The map is that of the first policy and of the reference.
    """
    figures = {"cost_by_line": cost_by_line(comparison)}
    if len(comparison.rows) > 1:
        figures["paired_network_cost"] = paired_differences(comparison, "network_cost")
    watched = [row for row in comparison.rows if row.trace is not None]
    if watched:
        figures["stock_over_time"] = stock_over_time(comparison)
    mapped = {row.name: row for row in (comparison.rows[0], comparison.reference)}
    for row, name in zip(mapped.values(), file_names(mapped), strict=True):
        drawn = network_map(comparison, row)
        if drawn is not None:
            figures[f"network_map_{name}"] = drawn
    curves = curves_of(tuple(source for row in comparison.rows for source in row.sources))
    if curves:
        figures["learning_curves"] = learning_curves(curves, comparison.scenario.name)
    return figures


def save_figures(figures: Mapping[str, Figure], directory: Path) -> Sequence[Path]:
    """Write figures as PNG files, each whole or not at all."""
    paths = []
    for name, figure in figures.items():
        path = directory / f"{name}.png"
        write_whole(path, lambda draft, figure=figure: figure.savefig(draft, dpi=_DPI))  # type: ignore[misc]
        paths.append(path)
    return paths
