"""Where the results of a comparison go: checked before the work, written after it, each file whole or not at all."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from fabmesh.agents.evaluation.judge.comparison import Comparison
from fabmesh.agents.evaluation.show import export
from fabmesh.agents.evaluation.show.tables import markdown
from fabmesh.envs.errors import FabmeshError
from fabmesh.envs.files import check_writable, is_stream, write_text, write_whole


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
            if is_stream(path):
                continue  # takes one after the other
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


def write_then_show(writers: Iterable[Callable[[], object]], show: Callable[[], None]) -> None:
    """Files first: a terminal that cannot be written to loses none. What cannot be written is shown all the same.

    Args:
        writers: Each writes something.
        show: Prints.

    Raises:
        FabmeshError: The first thing that could not be written; the others are, and it has been shown.
    """
    try:
        write_each(writers)
    except FabmeshError:
        show()
        raise
    show()


def write_each(writers: Iterable[Callable[[], object]]) -> None:
    """Write everything that can be written.

    Raises:
        FabmeshError: The first thing that could not be written; the others are.
    """
    failed: list[FabmeshError] = []
    for write in writers:
        try:
            write()
        except FabmeshError as error:
            failed.append(error)
    if failed:
        raise failed[0]


def write_outputs(outputs: Outputs, comparison: Comparison, manifest: Mapping[str, Any]) -> None:
    """Write what is asked for; the manifest last, so that where one stands everything else does.

    Args:
        outputs: What to write, and where.
        comparison: The result.
        manifest: What it was made from; its command stands in the Markdown as well.

    Raises:
        FabmeshError: The first thing that could not be written; the others are, but for the manifest.
    """
    write_each(_writers(outputs, comparison, manifest["command"]))
    if outputs.manifest is not None:
        if "orders" in manifest:
            _copy_orders(manifest["orders"], outputs.manifest.parent)
        export.write_json(manifest, outputs.manifest)


def _writers(outputs: Outputs, comparison: Comparison, command: str) -> Iterator[Callable[[], object]]:
    """Each writes one of the outputs but for the manifest."""
    if outputs.json is not None:
        yield partial(export.write_json, export.to_json(comparison), outputs.json)
    if outputs.csv is not None:
        yield partial(export.write_csv, comparison, outputs.csv)
    if outputs.markdown is not None:
        yield partial(write_text, outputs.markdown, markdown(comparison, [command]))
    if outputs.marl_eval is not None:
        yield partial(export.write_json, export.to_marl_eval(comparison), outputs.marl_eval)
    if outputs.figures is not None or outputs.tensorboard is not None:
        from fabmesh.agents.evaluation.show.figures import comparison_figures, save_figures  # matplotlib takes a second

        figures = comparison_figures(comparison)
        if outputs.figures is not None:
            yield partial(save_figures, figures, outputs.figures)
        if outputs.tensorboard is not None:
            from fabmesh.agents.evaluation.show.tensorboard import log_tensorboard

            yield partial(log_tensorboard, comparison, outputs.tensorboard, figures)


def _copy_orders(orders: Mapping[str, str], folder: Path) -> None:
    """The recorded orders that were played, beside the manifest.

    Raises:
        FabmeshError: If they are no longer what was played.
    """
    given = Path(orders["given"])
    try:
        content = given.read_bytes()
    except OSError as error:
        raise FabmeshError(f"--orders {given}: cannot be read again ({error.strerror or error})") from error
    if hashlib.sha256(content).hexdigest() != orders["sha256"]:
        raise FabmeshError(f"--orders {given}: has changed since it was read, so there is no manifest; evaluate again")
    write_whole(folder / orders["file"], lambda draft: draft.write_bytes(content))
