"""Files that appear whole or not at all, and the hash by which one is known again."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from pathlib import Path

from fabmesh.envs.errors import FabmeshError


def check_writable(path: Path, what: str, directory: bool = False) -> None:
    """Refuse an output that could not be written, before the work whose result it is to hold.

    Args:
        path: The file, or the directory.
        what: The option it was given by, for the message.
        directory: True if `path` is to be a directory.

    Raises:
        FabmeshError: If it cannot be written.
    """
    if path.exists() and path.is_dir() != directory:
        is_, wanted = ("a directory", "a file") if not directory else ("a file", "a directory")
        raise FabmeshError(f"{what} {path}: is {is_}, give the path of {wanted}")
    place = path if directory else path.parent
    while not place.exists():
        place = place.parent
    try:
        # Asking for permission bits is not enough: read-only mounts and superusers answer otherwise.
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        raise FabmeshError(f"{what} {path}: cannot write in {place} ({error.strerror or error})") from error


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file beside its place and move it there, so that nobody ever reads half of it.

    Args:
        path: Where the file is to be; missing directories are made.
        write: Writes the file at the path it is given (same suffix).
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".writing-") as place:
            draft = Path(place) / path.name
            write(draft)
            draft.replace(path)
    except OSError as error:
        raise FabmeshError(f"{path}: cannot be written ({error.strerror or error})") from error


def hash_of_file(path: Path) -> str:
    """SHA-256 of a file's bytes.

    Raises:
        FabmeshError: If it cannot be read.
    """
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise FabmeshError(f"{path}: cannot be read ({error.strerror or error})") from error
