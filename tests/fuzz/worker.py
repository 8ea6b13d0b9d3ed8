"""A process that plays inputs, one after another, and says of each what became of it.

It reads lines `reader seed number` and answers with lines of JSON. An input that takes too much processor time is
stopped from within; one that does not come back from compiled code is stopped by the watchdog, which ends the process
and leaves the stack in the log: the harness then knows which input it was.
"""

from __future__ import annotations

import contextlib
import faulthandler
import io
import json
import os
import resource
import shutil
import signal
import sys
import time
import warnings
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from types import FrameType

import torch
from fuzz.bench import Bench, prepare
from fuzz.outcomes import Outcome, Unsound, of_refusal, where
from fuzz.readers import Case, Reached, make, ran_code

from fabmesh.envs.errors import FabmeshError
from fabmesh.envs.testing import CheckFailed

CPU_S = 20.0  # of processor time for one input, after which it hangs
WALL_S = 150.0  # after which it does not even listen
MOST_BYTES = 4 << 30  # of address space beyond what the process has when it begins
WRONG_INPUT = 2


class Hang(BaseException):
    """An input took too much processor time."""


def _stop(number: int, frame: FrameType | None) -> None:
    raise Hang


@contextlib.contextmanager
def _limited() -> Iterator[None]:
    """Raises `Hang` inside after too much processor time; ends the process if that is not heard."""
    faulthandler.dump_traceback_later(WALL_S, exit=True, file=sys.__stderr__)
    signal.setitimer(signal.ITIMER_PROF, CPU_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        faulthandler.cancel_dump_traceback_later()


def _bound_memory() -> None:
    """Lets the process have so much more address space than now: what asks for more gets a MemoryError."""
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").exists() else 0
    most = pages * resource.getpagesize() + MOST_BYTES
    if pages:
        resource.setrlimit(resource.RLIMIT_AS, (most, resource.getrlimit(resource.RLIMIT_AS)[1]))


def _emptied(folder: Path) -> None:
    """Makes the sandbox new and goes there."""
    os.chdir(folder.parent)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    os.chdir(folder)


def _tree() -> dict[str, bytes]:
    """What is in the current directory: name -> content, or where a link goes."""
    found = {}
    for folder, _, files in os.walk("."):
        found[f"{folder}/"] = b""
        for name in files:
            path = os.path.join(folder, name)  # noqa: PTH118 half the time of Path, for every input
            found[path] = os.readlink(path).encode() if os.path.islink(path) else Path(path).read_bytes()  # noqa: PTH114, PTH115
    return found


def _changes(before: dict[str, bytes]) -> str:
    """What is otherwise in the current directory, in words."""
    after = _tree()
    told = [f"{name} left behind" for name in after if name not in before]
    told += [f"{name} gone" for name in before if name not in after]
    told += [f"{name} changed" for name in before if name in after and after[name] != before[name]]
    return ", ".join(sorted(told)[:5])


def _judged(case: Case) -> tuple[str, str, str]:
    """Gives a case to the product: kind, what was said, name of the fault."""
    before = _tree()
    err = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="backslashreplace", write_through=True)
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
    code: object = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", RuntimeWarning)
        try:
            with _limited():
                code = case.give() or 0
        except Reached:
            code = 0
        except SystemExit as end:
            code = end.code
        except FabmeshError as error:
            code = WRONG_INPUT
            print(f"error: {error}", file=err)
        except Hang as hang:
            return "hang", f"more than {CPU_S:g} s of processor time", where(hang)
        except (Unsound, CheckFailed) as failure:
            return "unsound", str(failure), f"{type(failure).__name__}{_first_words(str(failure))}"
        except (Exception, KeyboardInterrupt) as error:
            return "traceback", str(error)[:300], where(error)
        finally:
            torch.set_num_threads(1)
    if ran_code():
        return "unsound", "code out of the file was run", "code out of the file was run"
    if code == WRONG_INPUT:
        said = err.buffer.getvalue().decode("utf-8", "replace")
        diverged = "stopped being finite" in said  # what it had learned until then is kept
        return of_refusal(code, said, case.names, _changes(before) if case.guarded and not diverged else "")
    broken = [str(warning.message) for warning in told if issubclass(warning.category, RuntimeWarning)]
    if broken:
        return "unsound", broken[0], f"RuntimeWarning: {broken[0]}"
    return "accepted", f"exit code {code}", ""


def _first_words(text: str) -> str:
    """What tells one failed promise from another: its words without names and numbers."""
    words = [word for word in text.split() if word.isalpha()]
    return f": {' '.join(words)[:60]}"


def answer(reader: str, seed: int, number: int, bench: Bench, sandbox: Path) -> Outcome:
    """Plays one input."""
    began = time.process_time()
    _emptied(sandbox)
    case = make(reader, seed, number, bench)
    (sandbox.parent / "about").write_text(case.about)  # for the harness, should this process not come back
    kind, said, fault = _judged(case)
    return Outcome(reader, seed, number, kind, case.about, said[:1000], fault, case.size, time.process_time() - began)


def main(place: Path, log: Path) -> None:
    """Answers what is asked on stdin, in a folder of its own below `place`, where the files of the bench are.

    Args:
        place: Folder of the run; its `bench` is filled by the process that is given `prepare` as its log.
        log: Where stacks go.
    """
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    with log.open("a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    faulthandler.enable()
    bench = place / "bench"
    if not bench.exists():
        bench.mkdir()
        prepare(bench)
    signal.signal(signal.SIGPROF, _stop)
    torch.set_num_threads(1)
    sandbox = log.with_suffix("") / "in" / "sandbox"  # two folders up is still its own place
    sandbox.parent.mkdir(parents=True, exist_ok=True)
    files = Bench(bench)
    _bound_memory()
    print("ready", file=replies, flush=True)
    for line in sys.stdin:
        reader, seed, number = json.loads(line)
        print(json.dumps(asdict(answer(reader, seed, number, files, sandbox))), file=replies, flush=True)
