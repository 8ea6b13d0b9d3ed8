"""Plays inputs in processes of their own, which may crash, and counts what became of them."""

from __future__ import annotations

import json
import os
import queue
import random
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from fuzz.outcomes import FAULTS, KINDS, Outcome

TESTS = Path(__file__).parents[1]
Input = tuple[str, int, int]


class Worker:
    """A process that plays inputs, started again when it has ended.

    Args:
        place: Folder of the run.
        name: Of the worker.

    Attributes:
        program: What the process runs, given the folder of the tests, that of the run and the file of its log.
    """

    program = (
        "import sys; sys.path[:0] = [sys.argv[1], sys.argv[1] + '/helpers']; from pathlib import Path; "
        "from fuzz.worker import main; main(Path(sys.argv[2]), Path(sys.argv[3]))"
    )

    def __init__(self, place: Path, name: str) -> None:
        self._place, self._log = place, place / f"{name}.log"
        self._process: subprocess.Popen[str] | None = None
        self._last: Input | None = None

    def start(self) -> None:
        """Starts the process and waits until it listens.

        Raises:
            RuntimeError: It did not.
        """
        self._log.write_text("")
        self._process = subprocess.Popen(
            [sys.executable, "-c", self.program, str(TESTS), str(self._place), str(self._log)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg", "NO_COLOR": "1", "COLUMNS": "200"},
        )
        assert self._process.stdout is not None
        if self._process.stdout.readline() != "ready\n":
            raise RuntimeError(f"the fuzzer cannot start: {self._log.read_text()[-2000:]}")

    def play(self, one: Input) -> Outcome:
        """Plays an input; one that ends the process is a crash, or hangs where the watchdog ended it."""
        if self._process is None or self._process.poll() is not None:
            self.start()
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        line, last, self._last = "", self._last, one
        try:
            self._process.stdin.write(json.dumps(one) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            pass
        if line:
            return Outcome(**json.loads(line))
        code = self._process.wait()
        log = self._log.read_text(errors="replace")
        kind = "hang" if "Timeout (" in log else "crash"
        current = log.partition("Current thread" if kind == "crash" else "Timeout (")[2] or log
        stack = [row.strip() for row in current.splitlines() if row.strip().startswith("File ")]
        ours = [row for row in stack if "/tests/" not in row]
        about = self._log.with_suffix("") / "in" / "about"
        done = about.read_text() if about.is_file() else "not known"
        words = f"{done} (after {last}, which may have left the damage)"
        end = current.strip()[-500:] if kind == "crash" else current[:500]
        return Outcome(*one, kind, words, end, f"exit code {code}, {ours[0] if ours else 'no stack'}")

    def close(self) -> None:
        """Ends the process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


def inputs(shares: dict[str, int], seed: int, count: int) -> list[Input]:
    """So many inputs, shared out over the readers, in an order that mixes them."""
    total = sum(shares.values())
    made = [(name, seed, n) for name, share in shares.items() for n in range(max(round(count * share / total), 1))]
    random.Random(seed).shuffle(made)
    return made


def run(todo: Iterable[Input], workers: int = 2, tell: Callable[[Outcome], object] = lambda _: None) -> list[Outcome]:
    """Plays inputs in several processes.

    Args:
        todo: Which.
        workers: Processes.
        tell: Told each outcome, in the order in which they come.
    """
    waiting: queue.SimpleQueue[Input] = queue.SimpleQueue()
    for one in todo:
        waiting.put(one)
    found: list[Outcome] = []
    lock, over, failed = threading.Lock(), threading.Event(), []
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        place = Path(folder)
        crew = [Worker(place, f"worker{i}") for i in range(workers)]

        def work(worker: Worker) -> None:
            try:
                while not over.is_set():
                    outcome = worker.play(waiting.get_nowait())
                    with lock:
                        found.append(outcome)
                        tell(outcome)
            except queue.Empty:
                pass
            except Exception as error:  # told below: a thread has nobody to tell
                failed.append(error)

        try:
            crew[0].start()  # makes the files that all begin from
            threads = [threading.Thread(target=work, args=(worker,)) for worker in crew]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:  # also when the user stops it: what the processes leave unanswered is nobody's fault
            over.set()
            for worker in crew:
                worker.close()
    if failed:
        raise failed[0]
    return found


def counts(found: Sequence[Outcome]) -> dict[str, Counter[str]]:
    """How many inputs of each reader became what."""
    table: dict[str, Counter[str]] = {}
    for outcome in found:
        table.setdefault(outcome.reader, Counter(dict.fromkeys(KINDS, 0)))[outcome.kind] += 1
    return table


def faults(found: Sequence[Outcome]) -> list[tuple[Outcome, int]]:
    """One outcome for each kind of fault, that of the smallest input, and how many there are, the most first."""
    groups: dict[tuple[str, str], list[Outcome]] = {}
    for outcome in found:
        if outcome.kind in FAULTS:
            groups.setdefault((outcome.kind, outcome.fault), []).append(outcome)
    ranked = [(min(group, key=lambda o: (o.size, len(o.input), o.number)), len(group)) for group in groups.values()]
    return sorted(ranked, key=lambda pair: (FAULTS.index(pair[0].kind), -pair[1]))


def told(outcome: Outcome, count: int) -> str:
    """A kind of fault in a few lines: what, the smallest input, what it said, how to play it again."""
    return (
        f"{outcome.kind} x {count}: {outcome.fault}\n  {outcome.reader}: {outcome.input}\n"
        f"  said: {outcome.said[:300]}\n  again: {outcome.again}"
    )
