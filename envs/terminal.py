"""The console that tables and results are printed on."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.text import Text

from fabmesh.envs.names import encodable, shown


class Terminal(Console):
    """A console that shows texts as they are: no markup, no codes, and what it has no letters for as escapes.

    Args:
        width: Columns where the output is no terminal, so that tables stay whole in a file.
    """

    def __init__(self, width: int, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)
        if not self.is_terminal:
            self.width = width

    def render_str(self, text: str, **options: Any) -> Text:
        """As of rich, of the text as it can be shown here, before columns are laid out; line breaks stay."""
        visible = "\n".join(map(shown, text.split("\n")))
        return super().render_str(encodable(visible, self.encoding), **options)

    def on_broken_pipe(self) -> None:
        """Leaves the error to the command (`fabmesh.envs.commands`), which knows what to do."""
        raise

    def say(self, *lines: str) -> None:
        """Lines that are not broken at the width."""
        for line in lines:
            self.print(line, soft_wrap=True)
