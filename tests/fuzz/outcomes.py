"""What becomes of an input, and the rules by which it is told."""

from __future__ import annotations

import re
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import fabmesh

KINDS = ("clear", "usage", "accepted", "vague", "unsound", "traceback", "hang", "crash")
"""clear: refused in one line that says where, with nothing left behind; usage: refused by the parser of the flags,
which names the flag in a frame of its own; accepted: taken, and what came of it is sane. The others are faults: vague
(refused, but not so), unsound (taken, and then wrong), traceback, hang, crash."""
FAULTS = KINDS[3:]
LONGEST = 600  # characters of a refusal
_PLACE = re.compile(r"--[a-z]|\bline \d|:\d+:|[a-z_]+(\[\d+\])?\.[a-z_]+|^error: [a-z_]+: |rules\.|column ")
ROOT = Path(fabmesh.__file__).parent


class Unsound(AssertionError):  # noqa: N818 a statement about the input, not an error of the harness
    """Something that was accepted broke a promise."""


@dataclass(frozen=True)
class Outcome:
    """What became of one input.

    Attributes:
        reader: What read it.
        seed: Of the run.
        number: Of the input; the same reader, seed and number make the same input.
        kind: One of KINDS.
        input: What was done to make it.
        said: The refusal, or what is wrong.
        fault: Under which inputs with the same cause are counted.
        size: Of the input, for the smallest of a kind.
        seconds: Of processor time spent on it.
    """

    reader: str
    seed: int
    number: int
    kind: str
    input: str
    said: str = ""
    fault: str = ""
    size: int = 0
    seconds: float = 0.0

    @property
    def again(self) -> str:
        """The command that plays it again."""
        return f"python -m tests.fuzz --reader {self.reader} --seed {self.seed} --only {self.number}"


def of_refusal(code: object, err: str, names: Sequence[str], left: str) -> tuple[str, str, str]:
    """Judges what a command printed when it ended with 2: kind, what it said, name of the fault.

    Args:
        code: Its exit code.
        err: All it wrote to stderr.
        names: Of the files and values that it was given, one of which it should name.
        left: What it changed in its directory, in words; it should have left everything alone.
    """
    rows = [row.strip() for row in re.split(r"[\r\n]+", err) if row.strip()]
    errors = [row for row in rows if row.startswith("error:")]
    if not errors and any(row.startswith(("╭", "usage:")) for row in rows):
        return "usage", rows[-1], ""
    if len(errors) == 1 and rows[-1] != errors[0]:
        return "vague", err.strip()[-LONGEST:], "a refusal of several lines"
    if len(errors) != 1:
        return "vague", err.strip()[-LONGEST:], f"exit code {code} with {len(errors)} lines that begin with error:"
    said = errors[0]
    if len(said) > LONGEST:
        return "vague", said, f"a line of more than {LONGEST} characters"
    if not said.isprintable():
        return "vague", said, "a line with characters that cannot be printed"
    if left:
        return "unsound", f"{said} | {left}", "refused, but files were changed"
    if not _PLACE.search(said) and not any(_named(name, said) for name in names):
        return "vague", said, f"names no file, flag or key: {re.sub(r'[0-9]+', 'N', said)[:70]}"
    return "clear", said, ""


def _named(given: str, said: str) -> bool:
    """Whether a refusal names what was given: in quotes, as a path, or as it is where that is no chance."""
    return repr(given) in said or said.startswith(f"error: {Path(given)}:") or (len(given) > 2 and given in said)


def where(error: BaseException) -> str:
    """The type of an error and the innermost place in this project's code that it came from."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _ours(frame.filename)]
    place = f" in {Path(frames[-1].filename).relative_to(ROOT)}:{frames[-1].name}" if frames else ""
    return f"{type(error).__name__}{place}"


def _ours(filename: str) -> bool:
    path = Path(filename)
    return path.is_relative_to(ROOT) and path.relative_to(ROOT).parts[0] not in ("tests", ".venv")
