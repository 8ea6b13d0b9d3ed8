"""Whether a training that is killed goes on to the same bits: `python -m benchmarks.kill_and_resume --kills 25`.

Small trainings on `pocket` are killed (SIGKILL, as by a power cut or the kernel out of memory) at moments drawn at
random: at any time, or while a file is being written. Each is then started again with the command a user would type,
perhaps killed once more, and led to its end. Checkpoints and progress.csv must be those of the same training left
alone, bit for bit but for the clock, and nothing half-written may be left. Exit code 1 if anything differs.
"""

from __future__ import annotations

import argparse
import csv
import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from fabmesh.agents.learning.run import checkpoint
from fabmesh.agents.learning.run.logs import CSV_NAME

_COMMON = (
    "--scenario pocket --hidden 8 --critic-hidden 8 --imitation-copies 2 --imitation-days 5 --imitation-rounds 1 "
    "--imitation-epochs 1 --validation-seeds 2 --validation-every 1 --env-threads 1"
)
TRAININGS = {
    "whole episodes": "--copies 16 --group 8 --total-steps 7680",
    "parts of episodes": "--copies 8 --group 4 --days 7 --credit day --baseline critic --scores cost --gae-lambda 0.95 "
    "--persistence 3 --total-steps 448",
}
"""What is trained, by name: worlds are kept as their names alone, or in full."""
DIFFERENT = ("seconds", "minutes", "speed", "command", "resume", "run_dir")
"""Parts of names of what is not the same in two runs of the same training."""
ITERATIONS = 8
LONGEST_S, LATER_S, OFTEN_S = 1200.0, 0.3, 0.0005
"""A whole training; from an iteration to a kill; between two looks."""


def start(training: str, directory: Path) -> subprocess.Popen[bytes]:
    """Start the training, or go on with it if there is something to go on with."""
    resume = ["--resume"] if (directory / checkpoint.LAST).exists() else [*shlex.split(f"{_COMMON} {training}")]
    command = [sys.executable, "-m", "fabmesh.train", *resume, "--run-dir", str(directory)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with (directory.parent / f"{directory.name}.log").open("ab") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment)


def kill_at(
    process: subprocess.Popen[bytes], directory: Path, iteration: int, delay_s: float, while_writing: bool
) -> str:
    """Kill the process some time after an iteration, or at the next file that is being written then.

    Args:
        process: The training.
        directory: Its run directory.
        iteration: The row of progress.csv to wait for; -1: none, the time counts from the start.
        delay_s: Seconds after it.
        while_writing: Wait for a file to be written.

    Returns:
        What it was doing, in words.
    """
    reached = None
    while process.poll() is None:
        if reached is None and (iteration < 0 or len(lines_of(directory)) > iteration + 1):
            reached = time.monotonic()
        writing = next(directory.glob(".writing-*"), None) is not None
        if reached is not None and time.monotonic() >= reached + delay_s and (writing or not while_writing):
            process.send_signal(signal.SIGKILL)
            process.wait()
            kept = f"after iteration {len(lines_of(directory)) - 2}" if lines_of(directory) else "nothing kept yet"
            return f"{'writing' if writing else 'at work'}, {kept}"
        time.sleep(OFTEN_S)
    return "over before"


def lines_of(directory: Path) -> list[bytes]:
    """Lines of progress.csv so far, its header included."""
    path = directory / CSV_NAME
    return path.read_bytes().splitlines() if path.exists() else []


def leaves(tree: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """What a checkpoint holds, by dotted name, but for what is not the same in two runs."""
    if isinstance(tree, (Mapping, list)):
        for key, value in tree.items() if isinstance(tree, Mapping) else enumerate(tree):
            if not any(part in str(key) for part in DIFFERENT):
                yield from leaves(value, f"{name}.{key}")
    else:
        yield name, tree


def difference(one: Path, other: Path) -> str | None:
    """The first thing in which the results of two runs differ; None: in nothing."""
    for file in (checkpoint.BEST, checkpoint.LAST):
        here, there = (dict(leaves(checkpoint.read(place / file))) for place in (one, other))
        if list(here) != list(there):
            return f"{file}: {', '.join(sorted(set(here) ^ set(there)))[:80]}"
        for name, value in here.items():
            same = (
                torch.equal(value, there[name]) if isinstance(value, torch.Tensor) else repr(value) == repr(there[name])
            )
            if not same:
                return f"{file}: {name}"
    rows, wanted = (timeless(place) for place in (one, other))
    if rows != wanted:
        return f"{CSV_NAME}: {len(rows)} rows, {len(wanted)} in the run left alone"
    left = sorted({path.name for path in one.iterdir()} - {path.name for path in other.iterdir()})
    left = [name for name in left if not name.startswith("events.")]
    return f"left behind: {', '.join(left)}" if left else None


def timeless(directory: Path) -> list[dict[str, str]]:
    """progress.csv without its columns of times."""
    with (directory / CSV_NAME).open(newline="", encoding="utf-8") as file:
        return [{k: v for k, v in row.items() if not k.startswith("speed/")} for row in csv.DictReader(file)]


def main(arguments: list[str] | None = None) -> int:
    """Kill, resume, compare and print a table; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=25, help="kills in all")
    parser.add_argument("--seed", type=int, default=1, help="of the moments")
    asked = parser.parse_args(arguments)
    draws = random.Random(asked.seed)
    wrong = 0
    with tempfile.TemporaryDirectory(prefix="kill-and-resume-") as place:
        took: dict[str, float] = {}
        for name, training in TRAININGS.items():
            began = time.monotonic()
            if start(training, Path(place) / name).wait(timeout=LONGEST_S) != 0:
                print((Path(place) / f"{name}.log").read_text(), file=sys.stderr)
                return 1
            took[name] = time.monotonic() - began
        kills, number = 0, 0
        while kills < asked.kills:
            name = list(TRAININGS)[number % len(TRAININGS)]
            directory, done = Path(place) / f"run {number}", []
            for _ in range(min(draws.choice((1, 1, 2)), asked.kills - kills)):
                process = start(TRAININGS[name], directory)
                iteration = draws.randrange(-1, ITERATIONS)
                delay_s = draws.uniform(0.0, LATER_S) if iteration >= 0 else draws.uniform(0.1, 0.9) * took[name]
                found = kill_at(process, directory, iteration, delay_s, draws.random() < 0.5)
                if found == "over before":
                    break
                done.append(found)
            kills, number = kills + len(done), number + 1
            code = start(TRAININGS[name], directory).wait(timeout=LONGEST_S)
            differs = difference(directory, Path(place) / name) if code == 0 else f"exit code {code}"
            wrong += differs is not None
            print(
                f"{kills:3d} kills | {name:17s} | {'; '.join(done) or 'none':42s} | {differs or 'the same bits'}",
                flush=True,
            )
            shutil.rmtree(directory)
    print(f"{number - wrong} of {number} trainings, killed {kills} times, went on to the same bits")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
