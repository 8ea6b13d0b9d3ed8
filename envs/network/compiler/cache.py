"""Compiled functions on disk: in a folder of the user's own, a file for each function and types, each with a check sum.

To read such a file is to run it. It is read only where nobody else can have put it: the folder and the file belong to
the user, and nobody else may write to them. Whatever else a disk can do (a file cut off, no home, no room, a quota) is
a miss: the function is compiled, and one line says why. Of processes that miss the same function at once one compiles
it and the others wait for the file.
"""

from __future__ import annotations

import fcntl
import hashlib
import inspect
import os
import pickle
import secrets
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from numba.core.caching import NullCache
from numba.core.compiler import CompileResult
from numba.core.serialize import dumps

_SUM = hashlib.sha256().digest_size
_FOR_OTHERS = stat.S_IWGRP | stat.S_IWOTH
_said: list[str] = []


def say_once(problem: str) -> None:
    """Says on stderr why compiled code is not kept: the first reason, not again for each function."""
    if not _said:
        _said.append(problem)
        print(f"warning: compile cache: {problem}; FABMESH_CACHE_DIR names another folder", file=sys.stderr, flush=True)


@cache
def cache_folder(build: str) -> Path | None:
    """The folder for the compiled functions of a build of the package, made if need be.

    It is below FABMESH_CACHE_DIR, XDG_CACHE_HOME or ~/.cache, the first that is set; where that cannot be used, in the
    folder for temporary files.

    Returns:
        A folder that belongs to the user and that nobody else can write to; None if there can be none.
    """
    problems = []
    for place in (_chosen_folder, _temporary_folder):
        try:
            folder = place(build)
            folder.parent.mkdir(parents=True, exist_ok=True)
            folder.mkdir(mode=0o700, exist_ok=True)
            with _opened(folder):
                break
        except (OSError, RuntimeError) as error:  # RuntimeError: there is no home
            problems.append(_reason(error))
    else:
        folder = None
    if problems:
        say_once(f"{'; '.join(problems)}; compiled code is kept {f'in {folder}' if folder else 'in memory only'}")
    return folder


def _chosen_folder(build: str) -> Path:
    root = os.environ.get("FABMESH_CACHE_DIR") or os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root).absolute() / "fabmesh" / build


def _temporary_folder(build: str) -> Path:
    return Path(tempfile.gettempdir()) / f"fabmesh-{os.geteuid()}-{build}"


def _reason(error: Exception) -> str:
    if not isinstance(error, OSError):
        return str(error).rstrip(".")
    return f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror or error)


def _require_own(path: Path, opened: int, kind: Callable[[int], bool]) -> None:
    """Refuses what somebody else could have written."""
    status = os.fstat(opened)
    if not kind(status.st_mode):
        raise PermissionError(0, "is not a plain file or folder", str(path))
    if status.st_uid != os.geteuid():
        raise PermissionError(0, "belongs to another user and is not read", str(path))
    if status.st_mode & _FOR_OTHERS:
        raise PermissionError(0, "can be written to by others and is not read (chmod go-w)", str(path))


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    """The folder, open: what is read and written through it stays in it, whatever becomes of its name meanwhile."""
    if folder.is_symlink():
        raise PermissionError(0, "is a symbolic link and is not followed", str(folder))
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        _require_own(folder, opened, stat.S_ISDIR)
        yield opened
    finally:
        os.close(opened)


def _read(folder: Path, name: str) -> bytes | None:
    """What was kept under a name; None if there is nothing, or nothing whole."""
    path = folder / name
    try:
        with _opened(folder) as inside:
            number = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=inside)
            with os.fdopen(number, "rb") as file:
                _require_own(path, number, stat.S_ISREG)
                content = file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        say_once(f"{path}: {error.strerror}")
        return None
    if hashlib.sha256(content[_SUM:]).digest() != content[:_SUM]:
        say_once(f"{path}: is damaged and is made anew")
        return None
    return content[_SUM:]


def _write(folder: Path, name: str, content: bytes) -> None:
    """Keeps something under a name, in place of what was there; a full disk is said and does no harm."""
    part = f"{name}.{secrets.token_hex(4)}.part"
    try:
        with _opened(folder) as inside:
            try:
                number = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=inside)
                with os.fdopen(number, "wb") as file:
                    file.write(hashlib.sha256(content).digest() + content)
                os.replace(part, name, src_dir_fd=inside, dst_dir_fd=inside)
            except BaseException:
                with suppress(FileNotFoundError):
                    os.unlink(part, dir_fd=inside)
                raise
    except OSError as error:
        say_once(f"{folder / name}: {error.strerror}")


@contextmanager
def _alone(folder: Path, name: str) -> Iterator[None]:
    """Holds up other processes that want to make the same file; one that dies lets go."""
    with _opened(folder) as inside:
        lock = os.open(f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600, dir_fd=inside)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("another process is compiling: waiting for it ...", file=sys.stderr, flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
        fcntl.flock(lock, fcntl.LOCK_UN)  # said, not left to closing it: a child forked meanwhile has it open, too
    finally:
        os.close(lock)


class KeptFunction(NullCache):  # type: ignore[misc]
    """Numba's cache of one function.

    Args:
        function: The function; an edit of its source file makes all its files anew.
        build: Names, when called, what else the compiled code depends on.
    """

    def __init__(self, function: Callable[..., Any], build: Callable[[], str]) -> None:
        self._function = function
        self._build = build

    @property
    def cache_path(self) -> str | None:
        """The folder, for Numba's statistics."""
        folder = cache_folder(self._build())
        return None if folder is None else str(folder)

    @cached_property
    def _source(self) -> str:
        return hashlib.sha256(Path(inspect.getfile(self._function)).read_bytes()).hexdigest()

    def _place(self, sig: Any, target_context: Any) -> tuple[Path, str] | None:
        """Folder and name of the file for these types on this processor."""
        folder = cache_folder(self._build())
        if folder is None:
            return None
        digest = hashlib.sha256(repr((self._source, str(sig), target_context.codegen().magic_tuple())).encode())
        module = self._function.__module__.rsplit(".", 1)[-1]
        return folder, f"{module}.{self._function.__qualname__}-{digest.hexdigest()[:16]}.nbc"

    @contextmanager
    def turn(self, sig: Any, target_context: Any) -> Iterator[None]:
        """While it lasts, no other process compiles this function for these types, unless it has been compiled."""
        place = self._place(sig, target_context)
        with ExitStack() as held:
            if place is not None and not Path(*place).exists():
                try:
                    held.enter_context(_alone(*place))
                except OSError as error:  # nobody waits where there are no locks
                    say_once(f"{Path(*place)}: {error.strerror}")
            yield

    def load_overload(self, sig: Any, target_context: Any) -> CompileResult | None:
        """What was kept for these types, ready to be called."""
        target_context.refresh()
        place = self._place(sig, target_context)
        content = None if place is None else _read(*place)
        return None if content is None else CompileResult._rebuild(target_context, *pickle.loads(content))

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keeps what was compiled for these types, unless it holds addresses of this process."""
        place = self._place(sig, data.target_context)
        if place is not None and not data.library.has_dynamic_globals:
            _write(*place, dumps(data._reduce()))
