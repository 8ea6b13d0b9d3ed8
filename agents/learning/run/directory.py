"""The directory of a run: one training at a time, nothing of anybody else's overwritten."""

from __future__ import annotations

import errno
import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from fabmesh.agents.learning.config import ConfigError, TrainConfig
from fabmesh.agents.learning.run import checkpoint
from fabmesh.agents.learning.run.logs import CSV_NAME
from fabmesh.agents.learning.run.settings import first_change, from_plain, to_yaml
from fabmesh.envs.errors import FabmeshError
from fabmesh.envs.files import write_whole

LOCK, SETTINGS = ".lock", "config.yaml"
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)  # of file systems


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Keep a directory to oneself, as long as the block takes or the process lives.

    It is made if need be, and taken away again if nothing has been put there.

    Raises:
        FabmeshError: If another training has it, or it cannot be written.
    """
    made = [place for place in (directory, *directory.parents) if not place.exists()]
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = _lock(directory)
    except OSError as error:
        raise FabmeshError(f"{directory}: cannot be written ({error.strerror or error})") from None
    try:
        yield
    finally:
        (directory / LOCK).unlink(missing_ok=True)
        os.close(lock)
        with suppress(OSError):  # not empty
            for place in made:
                place.rmdir()


def _lock(directory: Path) -> int:
    """The open lock file of a directory; the kernel gives the lock back when the process ends, however it ends."""
    path = directory / LOCK
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists() and os.path.samestat(os.fstat(file), path.stat()):
                os.truncate(file, 0)
                os.write(file, str(os.getpid()).encode())
                return file
            os.close(file)  # who had it has taken the file away in between
        except OSError as error:
            holder = os.pread(file, 20, 0).decode(errors="replace")
            if error.errno in _NO_LOCKS:
                print(f"{directory}: cannot be locked ({error.strerror}); train there once at a time", file=sys.stderr)
                return file
            os.close(file)
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise
            raise FabmeshError(
                f"--run-dir {directory}: another training is at work there (process {holder or 'unknown'}); wait for "
                "it, stop it, or choose another directory"
            ) from None


def require_free(directory: Path, config: TrainConfig) -> None:
    """Refuse a directory in which a new run would overwrite something.

    What a start of the same run left that did not get to its first checkpoint is made again as it was.

    Raises:
        ConfigError: With what is in the way.
    """
    if (directory / checkpoint.LAST).exists():
        raise ConfigError(
            f"--run-dir {directory}: holds a run already; add --resume to go on with it, or choose another directory"
        )
    if (directory / checkpoint.BEST).exists() and not _is_start(directory / checkpoint.BEST, config):
        raise ConfigError(
            f"--run-dir {directory}: holds {checkpoint.BEST} of another run, but no {checkpoint.LAST} to go on with; "
            "choose another directory"
        )
    for name in (SETTINGS, CSV_NAME):  # a run writes them after its first checkpoint
        path = directory / name
        if path.exists() and not (path.is_file() and not path.read_bytes().strip()):
            raise ConfigError(
                f"--run-dir {directory}: holds a {name} that this run did not write and would overwrite; "
                "move it, or choose another directory"
            )


def _is_start(path: Path, config: TrainConfig) -> bool:
    """Whether a checkpoint is of a run with these settings before its first step."""
    try:
        content = checkpoint.read_whole(path)
    except FabmeshError:
        return False
    there = from_plain(content["config"])
    days = config.rollout.days or there.rollout.days  # 0: an episode, which the scenario knows
    config = replace(config, rollout=replace(config.rollout, days=days))
    return content.get("steps") == 0 and first_change(there, config) is None


def keep_settings(directory: Path, config: TrainConfig, before: TrainConfig) -> str | None:
    """Write the settings of a run, unless somebody has put a file of their own in their place.

    Args:
        directory: Of the run.
        config: Its settings.
        before: Those of its last sitting.

    Returns:
        What there is to say, if the file was left as it is.
    """
    path, text = directory / SETTINGS, to_yaml(config)
    if path.exists():
        there = path.read_bytes()
        if there == text.encode():
            return None
        if there.strip() and there != to_yaml(before).encode():
            return f"{path} is not as the run wrote it, and is left as it is"
    write_whole(path, lambda draft: draft.write_text(text, encoding="utf-8"))
    return None
