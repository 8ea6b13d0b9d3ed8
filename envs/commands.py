"""How a command checks numbers, runs and ends: printing never costs the work, what a user can put right is one line.

Files are written before anything is printed. What a terminal has no letters for is printed as escapes. Where nobody
reads on (`| head`) a command ends as others do; where standard output cannot be written to it says so.
"""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO, cast

from fabmesh.envs.errors import FabmeshError
from fabmesh.envs.names import shown

MOST_THREADS = 1_024
WRONG_INPUT, NOBODY_READS = 2, 141  # the last as shells say it: 128 + SIGPIPE


def guarded(run: Callable[[], int], stopped: str) -> int:
    """Run a command and turn what stops it into a line on stderr.

    Args:
        run: The command, its reading of arguments included; returns the exit code.
        stopped: What to say when the user stops it and the interrupt says nothing itself.

    Returns:
        The command's exit code, 2 for wrong input and for a standard output that cannot be written to, 130 when
        stopped by Ctrl-C, 128 + its number by another signal, 141 when nobody reads standard output any more.

    Raises:
        SystemExit: As `run` does, to show help or a usage.
    """
    before = sys.stdout, sys.stderr
    results = _Stream(before[0], vital=True)
    sys.stdout, sys.stderr = cast(TextIO, results), cast(TextIO, _Stream(before[1]))
    try:
        return _settled(_outcome(run, stopped, results), results)
    except SystemExit as end:
        if not isinstance(end.code, str):
            end.code = _settled(end.code or 0, results)
        raise
    finally:
        sys.stdout, sys.stderr = before


def require_within(options: object, **bounds: tuple[int, int]) -> None:
    """Refuse numbers that are too small or too large.

    Args:
        options: The options, by name.
        bounds: The least and the most that each can be.

    Raises:
        FabmeshError: With the option and the value.
    """
    for name, (low, high) in bounds.items():
        value = getattr(options, name)
        if not low <= value <= high:
            allowed = f"at least {low} is needed" if value < low else f"at most {high:,} can be"
            raise FabmeshError(f"--{name.replace('_', '-')} {value}: {allowed}")


def tell(line: str) -> None:
    """One line for whoever watches, on stderr."""
    print(shown(line), file=sys.stderr)


def say(line: str) -> None:
    """One line of the result, on stdout."""
    print(shown(line))


class _Stream:
    """Standard output or error: what it has no letters for it writes as escapes, and it remembers what went wrong.

    Args:
        stream: As Python opened it; None where it is closed, and nothing is written.
        vital: Whether an error stops the work. A progress bar that nobody sees does not.

    Attributes:
        trouble: What kept it from being written to; since then it writes nothing.
    """

    def __init__(self, stream: TextIO | None, vital: bool = False) -> None:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
        self._stream: TextIO = stream or io.StringIO()
        self._vital = vital
        self.trouble: OSError | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """As of the stream."""
        with self._watched():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """As of the stream."""
        with self._watched():
            self._stream.flush()

    @contextmanager
    def _watched(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.trouble = error
            self._silence()
            if self._vital:
                raise

    def _silence(self) -> None:
        """Send what it still holds, and will be given, nowhere: else the interpreter fails on it at its end."""
        with suppress(io.UnsupportedOperation), Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), self._stream.fileno())


def _outcome(run: Callable[[], int], stopped: str, results: _Stream) -> int:
    try:
        return run()
    except FabmeshError as error:
        tell(f"error: {error}")
    except MemoryError:
        tell("error: too much at once for this machine's memory; ask for fewer episodes, copies or days")
    except KeyboardInterrupt as stop:
        tell(str(stop) or stopped)
        return 128 + getattr(stop, "signal", signal.SIGINT)
    except OSError:
        if results.trouble is None:
            raise
        return 0  # said when it is settled
    return WRONG_INPUT


def _settled(code: int, results: _Stream) -> int:
    """The exit code once everything printed has gone out: at the end of the interpreter nobody would hear of it."""
    with suppress(OSError):
        results.flush()
    trouble = results.trouble
    if trouble is None:
        return code
    if isinstance(trouble, BrokenPipeError):
        return code or NOBODY_READS
    tell(f"error: standard output cannot be written to ({trouble.strerror or trouble}); give it another place")
    return code or WRONG_INPUT
