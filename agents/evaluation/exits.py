"""How a command ends: one clear line and an exit code, never a traceback for what a user can put right."""

from __future__ import annotations

import sys
from collections.abc import Callable

from fabmesh.envs.errors import FabmeshError

WRONG_INPUT, STOPPED = 2, 130


def guarded(run: Callable[[], int], stopped: str) -> int:
    """Run a command and turn what stops it into a line on stderr.

    Args:
        run: The command; returns the exit code.
        stopped: What to say when the user stops it and the interrupt says nothing itself.

    Returns:
        The command's exit code, 2 for wrong input, 130 when stopped.
    """
    try:
        return run()
    except FabmeshError as error:
        print(f"error: {error}", file=sys.stderr)
    except MemoryError:
        print("error: too many episodes at once for this machine's memory; ask for fewer", file=sys.stderr)
    except KeyboardInterrupt as stop:
        print(str(stop) or stopped, file=sys.stderr)
        return STOPPED
    return WRONG_INPUT
