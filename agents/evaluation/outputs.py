"""Where the results of a comparison go: checked before the work, written after it, each file whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fabmesh.agents.evaluation import export
from fabmesh.agents.evaluation.comparison import Comparison
from fabmesh.agents.evaluation.files import check_writable, write_whole
from fabmesh.agents.evaluation.report import markdown
from fabmesh.envs.errors import FabmeshError


@dataclass(frozen=True)
class Outputs:
    """Files and directories to write; None is not written.

    Attributes:
        json: Means, other aggregates, intervals and paired differences.
        csv: Every measure of every episode.
        markdown: The tables as Markdown.
        marl_eval: Every episode in marl-eval's layout.
        manifest: Everything from which the table can be made again.
        figures: Directory of PNG files.
        tensorboard: Log directory.
    """

    json: Path | None = None
    csv: Path | None = None
    markdown: Path | None = None
    marl_eval: Path | None = None
    manifest: Path | None = None
    figures: Path | None = None
    tensorboard: Path | None = None

    @property
    def places(self) -> list[Path]:
        """Everything that is written."""
        found = (self.json, self.csv, self.markdown, self.marl_eval, self.manifest, self.figures, self.tensorboard)
        return [path for path in found if path is not None]

    def check(self) -> None:
        """Refuse what could not be written, or would be written twice.

        Raises:
            FabmeshError: With the option and the path.
        """
        taken: dict[Path, str] = {}
        for option, path, directory in self._options():
            check_writable(path, option, directory)
            if option == "--tensorboard" and self.figures is not None and path.resolve() == self.figures.resolve():
                continue  # figures and logs may share a directory
            other = taken.setdefault(path.resolve(), option)
            if other != option:
                raise FabmeshError(f"{option} {path}: is the path of {other} as well, give another one")

    def _options(self) -> list[tuple[str, Path, bool]]:
        named = (
            ("--json", self.json, False),
            ("--csv", self.csv, False),
            ("--markdown", self.markdown, False),
            ("--out", self.marl_eval, False),
            ("--out", self.manifest, False),
            ("--figures", self.figures, True),
            ("--tensorboard", self.tensorboard, True),
        )
        return [(option, path, directory) for option, path, directory in named if path is not None]


def outputs_in(directory: Path) -> Outputs:
    """The places of everything below one directory."""
    return Outputs(
        json=directory / "results.json",
        csv=directory / "table.csv",
        markdown=directory / "table.md",
        marl_eval=directory / "marl_eval.json",
        manifest=directory / "manifest.json",
        figures=directory / "figures",
        tensorboard=directory / "tensorboard",
    )


def write_outputs(outputs: Outputs, comparison: Comparison, manifest: Mapping[str, Any]) -> None:
    """Write what is asked for; the manifest last, so that where one stands everything else does.

    Args:
        outputs: What to write, and where.
        comparison: The result.
        manifest: What it was made from; its command stands in the Markdown as well.
    """
    if outputs.json is not None:
        export.write_json(export.to_json(comparison), outputs.json)
    if outputs.csv is not None:
        export.write_csv(comparison, outputs.csv)
    if outputs.markdown is not None:
        text = markdown(comparison, [manifest["command"]])
        write_whole(outputs.markdown, lambda draft: draft.write_text(text, encoding="utf-8"))
    if outputs.marl_eval is not None:
        export.write_json(export.to_marl_eval(comparison), outputs.marl_eval)
    if outputs.figures is not None or outputs.tensorboard is not None:
        from fabmesh.agents.evaluation.figures import comparison_figures, save_figures  # matplotlib takes a second

        figures = comparison_figures(comparison)
        if outputs.figures is not None:
            save_figures(figures, outputs.figures)
        if outputs.tensorboard is not None:
            from fabmesh.agents.evaluation.tensorboard import log_tensorboard

            log_tensorboard(comparison, outputs.tensorboard, figures)
    if outputs.manifest is not None:
        if "orders" in manifest:
            orders = Path(manifest["orders"]["given"]).read_bytes()
            write_whole(outputs.manifest.parent / manifest["orders"]["file"], lambda draft: draft.write_bytes(orders))
        export.write_json(manifest, outputs.manifest)
