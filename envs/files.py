"""The one way to write: files appear whole or not at all; devices and pipes are written to; links stay links."""

from __future__ import annotations

import csv
import errno
import fcntl
import hashlib
import os
import re
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from fabmesh.envs.errors import FabmeshError
from fabmesh.envs.names import in_csv

_DRAFTS = ".writing-"  # folders beside what is being written
_ABANDONED = re.compile(re.escape(_DRAFTS) + r"[a-z0-9_]{8}")  # as `tempfile` completes the name
_MOST_LINKS = 40  # from link to link, as the kernel goes


def check_writable(path: Path, what: str, directory: bool = False) -> None:
    """Refuse an output that could not be written, before the work whose result it is to hold.

    Args:
        path: The file, device or pipe, or the directory; links are followed.
        what: The option it was given by, for the message.
        directory: True if `path` is to be a directory.

    Raises:
        FabmeshError: If it cannot be written.
    """
    try:
        found = _found(path)
        if found is not None and stat.S_ISDIR(found.st_mode) != directory:
            is_, wanted = ("a directory", "a file") if not directory else ("a file", "a directory")
            raise FabmeshError(f"{what} {path}: is {is_}, give the path of {wanted}")
        if found is not None and not os.access(path, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        if is_stream(path):
            _check_stream(path, found)
            return
    except OSError as error:
        raise FabmeshError(f"{what} {path}: cannot be written ({error.strerror or error})") from error
    target = Path(os.path.realpath(path)) if path.is_symlink() else path
    place = target if directory else target.parent
    try:
        while not place.exists():
            place = place.parent
        # Asking for permission bits is not enough: read-only mounts and superusers answer otherwise.
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        raise FabmeshError(f"{what} {path}: cannot write in {place} ({error.strerror or error})") from error


def is_stream(path: Path) -> bool:
    """Whether a path is a device, a pipe or a descriptor such as /dev/stdout: written to, never replaced."""
    found = _found(path)
    return found is not None and (
        not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)) or _descriptor(path) is not None
    )


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file beside its place and move it there, so that nobody ever reads half of it.

    A link stays, and what it points to is replaced; permissions stay; a device or pipe is written to.

    Args:
        path: Where the file is to be; missing directories are made.
        write: Writes the file at the path it is given (same suffix).

    Raises:
        FabmeshError: If it cannot be written; what was there is still there.
    """
    try:
        if is_stream(path):
            with tempfile.TemporaryDirectory() as place:
                draft = Path(place) / path.name
                write(draft)
                _pour(draft, path)
        else:
            _replace(Path(os.path.realpath(path)), write)
    except OSError as error:
        raise FabmeshError(f"{path}: cannot be written ({error.strerror or error})") from error


def write_text(path: Path, text: str) -> None:
    """Write text in UTF-8 as `write_whole` does; what UTF-8 has no letter for (odd file names) becomes an escape."""
    write_whole(path, lambda draft: draft.write_text(text, encoding="utf-8", errors="backslashreplace"))


def write_rows(path: Path, rows: Iterable[Sequence[object]], line_end: str = "\r\n") -> None:
    """Write a table as `write_whole` does: texts are never formulas to a spreadsheet, numbers stay numbers.

    Args:
        path: The file.
        rows: Header first. Texts, numbers, and None where there is nothing.
        line_end: Between lines.
    """

    def write(draft: Path) -> None:
        with draft.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
            lines = csv.writer(file, lineterminator=line_end)
            for row in rows:
                lines.writerow([in_csv(cell) if isinstance(cell, str) else cell for cell in row])

    write_whole(path, write)


def _found(path: Path) -> os.stat_result | None:
    """What is there, links followed; None where nothing is."""
    try:
        return path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _check_stream(path: Path, found: os.stat_result | None) -> None:
    """Refuse a stream that nothing can be written to; a pipe is not opened, its reader would see it end."""
    descriptor = _descriptor(path)
    if descriptor is not None:
        os.write(descriptor, b"")
    elif found is not None and stat.S_ISSOCK(found.st_mode):
        raise OSError(errno.ENXIO, "a socket, which a program must connect to")


def _descriptor(path: Path) -> int | None:
    """Number of the own descriptor that a path stands for (/dev/stdout, /dev/fd/3, a link to one), if it does."""
    for _ in range(_MOST_LINKS):
        folder = os.path.realpath(path.parent)
        if folder in ("/dev/fd", f"/proc/{os.getpid()}/fd") and path.name.isdecimal():
            return int(path.name)
        if not path.is_symlink():
            return None
        path = Path(folder) / path.readlink()
    return None


def _pour(draft: Path, path: Path) -> None:
    """Write what a draft holds to what is there; an own descriptor goes on from where it is."""
    descriptor = _descriptor(path)
    if descriptor is None:
        sink = os.open(path, os.O_WRONLY | os.O_TRUNC)
    else:
        sys.stdout.flush()  # what was printed before stands before
        sink = os.dup(descriptor)
    with draft.open("rb") as source, os.fdopen(sink, "wb") as file:
        shutil.copyfileobj(source, file)


def _replace(target: Path, write: Callable[[Path], object]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    _sweep(target.parent)
    with _drafts_in(target.parent) as place:
        draft = place / target.name
        write(draft)
        before = _found(target)
        if before is not None:
            _make_alike(draft, before)
        try:
            draft.replace(target)
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            _pour(draft, target)  # a file that is a mount of its own, as containers have them, cannot be moved over


def _make_alike(draft: Path, before: os.stat_result) -> None:
    """Owner and permissions as they were; another's file that one may write becomes one's own."""
    own = draft.stat()
    if (own.st_uid, own.st_gid) != (before.st_uid, before.st_gid):
        with suppress(PermissionError):
            os.chown(draft, before.st_uid, before.st_gid)
    draft.chmod(stat.S_IMODE(before.st_mode))


@contextmanager
def _drafts_in(folder: Path) -> Iterator[Path]:
    """A folder for a draft, locked while its writer lives, by which `_sweep` knows one that was abandoned."""
    while True:
        with tempfile.TemporaryDirectory(dir=folder, prefix=_DRAFTS, ignore_cleanup_errors=True) as name:
            place, lock = Path(name), None
            try:
                lock = _lock(place)
            except (FileNotFoundError, BlockingIOError):
                continue  # swept away before it was locked
            except OSError:
                pass  # a file system without locks, on which nothing is swept either
            try:
                yield place
            finally:
                if lock is not None:
                    os.close(lock)
            return


def _sweep(folder: Path) -> None:
    """Remove the drafts of writers that were killed."""
    with os.scandir(folder) as entries:
        left = [Path(entry.path) for entry in entries if _ABANDONED.fullmatch(entry.name)]
    for place in left:
        with suppress(OSError):  # its writer lives, or it is another's: it disturbs nobody
            lock = _lock(place)
            try:
                for draft in place.iterdir():
                    draft.unlink()
                place.rmdir()
            finally:
                os.close(lock)


def _lock(place: Path) -> int:
    """An open descriptor that holds a folder's lock.

    Raises:
        FileNotFoundError: The folder is gone.
        BlockingIOError: Another process has the lock.
        OSError: There are no locks here.
    """
    lock = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        place.stat()  # the one that is locked may be gone from its place
    except OSError:
        os.close(lock)
        raise
    return lock


def is_folder(path: Path) -> bool:
    """Whether a path is a directory; of a name that no file can have `Path.is_dir` raises."""
    try:
        return path.is_dir()
    except OSError:
        return False


def content_of(path: Path, most: int, what: str, error: type[FabmeshError] = FabmeshError) -> bytes:
    """What is in a file, a device or a pipe, which may have no end.

    Args:
        path: Of it.
        most: Bytes it may have.
        what: It should be, for the message.
        error: Raised if it is longer.

    Raises:
        OSError: If it cannot be read.
    """
    with path.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise error(f"{path}: is longer than {most:,} bytes; give the path of {what}")
    return content


def hash_of_file(path: Path) -> str:
    """SHA-256 of a file's bytes.

    Raises:
        FabmeshError: If it cannot be read, or is a device or a pipe, which may have no end.
    """
    if is_stream(path):
        raise FabmeshError(f"{path}: is a device or a pipe, which cannot be read twice; give the path of a file")
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise FabmeshError(f"{path}: cannot be read ({error.strerror or error})") from error
