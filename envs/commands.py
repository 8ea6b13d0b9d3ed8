"""How a command runs and ends: printing never costs the work, and what a user can put right is one line.

Files are written before anything is printed. What a terminal has no letters for is printed as escapes. Where nobody
reads on (`| head`) a command ends as others do; where standard output cannot be written to it says so.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from typing import Any, TextIO, cast

from fabmesh.envs.errors import FabmeshError
from fabmesh.envs.names import shown

WRONG_INPUT, STOPPED, NOBODY_READS = 2, 130, 141  # the last two as shells say it: 128 + SIGINT, 128 + SIGPIPE


def guarded(run: Callable[[], int], stopped: str) -> int:
    """Run a command and turn what stops it into a line on stderr.

    Args:
        run: The command, its reading of arguments included; returns the exit code.
        stopped: What to say when the user stops it and the interrupt says nothing itself.

    Returns:
        The command's exit code, 2 for wrong input and for a standard output that cannot be written to, 130 when
        stopped, 141 when nobody reads standard output any more.

    Raises:
        SystemExit: As `run` does, to show help or a usage.
    """
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _degrading(sys.stdout), cast(TextIO, _Messages(_degrading(sys.stderr)))
    try:
        return _settled(_outcome(run, stopped))
    except SystemExit as end:
        if not isinstance(end.code, str):
            end.code = _settled(end.code or 0)
        raise
    finally:
        sys.stdout, sys.stderr = before


def tell(line: str) -> None:
    """One line for whoever watches, on stderr."""
    print(shown(line), file=sys.stderr)


def say(line: str) -> None:
    """One line of the result, on stdout."""
    print(shown(line))


def _outcome(run: Callable[[], int], stopped: str) -> int:
    try:
        return run()
    except FabmeshError as error:
        tell(f"error: {error}")
    except MemoryError:
        tell("error: too many episodes at once for this machine's memory; ask for fewer")
    except KeyboardInterrupt as stop:
        tell(str(stop) or stopped)
        return STOPPED
    except OSError:
        if _trouble() is None:
            raise
        return 0  # said when it is settled
    return WRONG_INPUT


def _settled(code: int) -> int:
    """The exit code once everything printed has gone out: at the end of the interpreter nobody would hear of it."""
    trouble = _trouble()
    if trouble is None:
        return code
    _silence(sys.stdout)
    if isinstance(trouble, BrokenPipeError):
        return code or NOBODY_READS
    tell(f"error: standard output cannot be written to ({trouble.strerror or trouble}); give it another place")
    return code or WRONG_INPUT


def _trouble() -> OSError | None:
    """What keeps standard output from being written to."""
    try:
        sys.stdout.flush()
    except OSError as error:
        return error
    return None


def _degrading(stream: TextIO | None) -> TextIO:
    """The stream, which writes as escapes what it has no letters for; of one that is closed, a place for nothing."""
    if stream is None:
        return open(os.devnull, "w")  # noqa: PTH123 takes the place of the descriptor that is closed
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")
    return stream


def _silence(stream: TextIO) -> None:
    """Send what a stream still holds, and will be given, nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


class _Messages:
    """Standard error, which is silent once it cannot be written to: a progress bar that nobody sees stops no work."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """As of the stream."""
        try:
            return self._stream.write(text)
        except OSError:
            _silence(self._stream)
            return len(text)

    def flush(self) -> None:
        """As of the stream."""
        try:
            self._stream.flush()
        except OSError:
            _silence(self._stream)
