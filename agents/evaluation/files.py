"""Files of results: how they are written (`fabmesh.envs.files`), and the hash by which one is known again."""

from __future__ import annotations

import hashlib
from pathlib import Path

from fabmesh.envs.errors import FabmeshError
from fabmesh.envs.files import check_writable, write_whole

__all__ = ["check_writable", "hash_of_file", "write_whole"]


def hash_of_file(path: Path) -> str:
    """SHA-256 of a file's bytes.

    Raises:
        FabmeshError: If it cannot be read.
    """
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise FabmeshError(f"{path}: cannot be read ({error.strerror or error})") from error
