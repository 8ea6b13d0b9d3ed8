"""The compiler's one setting for every stage of the day: Numba, cached on disk, strict floating point.

Numba's on-disk cache of a function does not notice that a function it calls in *another* file has changed. The
cache directory therefore carries a hash of all sources of this package: any edit gives a fresh directory, and
nobody runs yesterday's kernel. `fastmath` stays off, so that a trajectory is bit-equal alone, in a batch of any
size and on any number of threads (model §2).
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numba
import numpy as np
from numba.core import config

F = TypeVar("F", bound=Callable[..., Any])


def _cache_directory() -> Path:
    digest = hashlib.sha256(f"{numba.__version__} {np.__version__} {sys.version}".encode())
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    root = Path(os.environ.get("FABMESH_CACHE_DIR") or os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    directory = root / "fabmesh" / f"numba-{digest.hexdigest()[:16]}"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            pass
    except OSError:  # a read-only home: compile once per boot instead of once per machine
        directory = Path(tempfile.gettempdir()) / "fabmesh" / directory.name
        directory.mkdir(parents=True, exist_ok=True)
    return directory


CACHE_DIRECTORY = _cache_directory()


@cache
def announce_compilation() -> None:
    """Say on stderr, once, that the first day will take long, if the compiled day is not in this machine's cache."""
    if not any(CACHE_DIRECTORY.rglob("day.step_*.nbc")):
        text = "compiling the simulation: once per machine and version, a minute or two ..."
        print(text, file=sys.stderr, flush=True)


def kernel(function: F) -> F:
    """Decorates a function as part of the compiled day.

    `nogil`: threads of one process step their shares of a batch side by side. Without reference counting (`_nrt`)
    nothing in a kernel can allocate. The cache directory is set only while the decorator runs: other packages'
    caches stay where they are.
    """
    before = config.CACHE_DIR
    config.CACHE_DIR = str(CACHE_DIRECTORY)
    try:
        compiled: F = numba.njit(cache=True, nogil=True, error_model="numpy", _nrt=False)(function)
        return compiled
    finally:
        config.CACHE_DIR = before
