"""Every command line of the package and its flags, found by asking each for its help."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from random import Random

from fuzz.mutations import NUMBERS, WORDS, shown

_FLAG = re.compile(r"^(?:│ | {1,2})(?:-h, )?(--[a-z][\w-]*)(?:, --no-[\w-]+)?(?: ([^\s│]+))?", re.MULTILINE)
_SUBCOMMAND = re.compile(r"^usage: .*?\{([a-z,]+)\}", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Command:
    """A command line.

    Attributes:
        module: That has its `main`.
        base: Arguments that are right and make little work.
        work: Functions that do what takes long, or write into the package; an input that gets there is accepted.
        judging: Functions that judge policies, which are let do so on a few worlds.
    """

    module: str
    base: Sequence[str]
    work: Sequence[str] = ()
    judging: Sequence[str] = ()

    def main(self, arguments: Sequence[str]) -> int | None:
        """Runs it in this process; returns its exit code."""
        code: int | None = importlib.import_module(self.module).main(list(arguments))
        return code


_TINY = (
    "--scenario pocket --copies 4 --group 2 --days 10 --credit day --total-steps 80 --hidden 8 --critic-hidden 8 "
    "--epochs 1 --minibatches 2 --imitation-copies 2 --imitation-days 5 --imitation-rounds 1 --imitation-epochs 1 "
    "--critic-iterations 1 --validation-seeds 2 --validation-every 1 --opponents idle --env-threads 1 --run-dir run"
)
TRAIN = _TINY.split()
_TUNE = "pocket --restarts 1 --trials 10 --episodes 2 --check-episodes 2 --out tuned.yaml --quiet"
_SEARCH = "pocket --trials 1 --total-steps 7680 --threads 1 --out search --quiet"
_ABLATE = "pocket --variants mappo --total-steps 7680 --episodes 2 --threads 1 --out ablations --quiet"
_EVALUATE = "--scenario pocket --policies idle --seeds train --episodes 2 --json out.json --quiet"
_JUDGING = [f"fabmesh.evaluate.{name}" for name in ("compare_entries", "explain", "stress.stress_test")]
_GATE = ["fabmesh.agents.evaluation.studies.gate.gate"]
COMMANDS = {
    "train": Command("fabmesh.agents.commands.train", [*TRAIN, "--max-minutes", "0.1"]),
    "evaluate": Command("fabmesh.evaluate", _EVALUATE.split(), judging=_JUDGING),
    "tune": Command("fabmesh.agents.commands.tune", _TUNE.split(), ["fabmesh.agents.commands.tune.search"]),
    "search": Command("fabmesh.agents.commands.search", _SEARCH.split(), ["fabmesh.agents.commands.search.search"]),
    "ablate": Command("fabmesh.agents.commands.ablate", _ABLATE.split(), ["fabmesh.agents.commands.ablate.train"]),
    "ship": Command("fabmesh.agents.commands.ship", ["nothing"], ["fabmesh.agents.commands.ship.play"]),
    "demo": Command("fabmesh.agents.commands.demo", ["--scenario", "pocket"], ["fabmesh.agents.commands.demo._train"]),
    "gate": Command(
        "fabmesh.agents.evaluation.studies.gate", ["pocket", "--episodes", "2", "--no-sweep"], judging=_GATE
    ),
    "testing": Command("fabmesh.envs.testing", ["pocket"]),
    **{
        f"scenarios {name}": Command("fabmesh.envs.scenarios.__main__", [name, *rest])
        for name, rest in {
            "list": [],
            "show": ["pocket"],
            "check": ["pocket"],
            "sheet": ["pocket"],
            "orders": ["pocket", "--out", "orders.csv"],
            "new": ["--towns", "towns.csv", "--out", "region.yaml"],
        }.items()
    },
}

# reader of a file, or command -> its share of the inputs
SHARES: dict[str, int] = {
    "scenario": 30, "orders": 24, "tape": 14, "towns": 14, "settings": 20, "rules": 16, "stress": 6, "variants": 6,
    "record": 1, "manifest": 3, "policy": 5, "zipped": 4, "resume": 2, "progress": 1,
    "train": 2, "evaluate": 3, "tune": 2, "search": 1, "ablate": 2, "ship": 2, "demo": 2, "gate": 1, "testing": 1,
    **{name: 2 for name in COMMANDS if " " in name},
}  # fmt: skip


def help_of(name: str) -> str:
    """What a command prints about itself."""
    command = COMMANDS[name]
    out = io.StringIO()
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "80"  # one column, so that a flag begins a line
    try:
        with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
            command.main([*command.base[: " " in name], "--help"])
    finally:
        os.environ.pop("COLUMNS") if before is None else os.environ.update(COLUMNS=before)
    return out.getvalue()


@cache
def flags_of(name: str) -> dict[str, str]:
    """Every flag of a command -> what it says it takes, empty for a switch."""
    return {flag: kind or "" for flag, kind in _FLAG.findall(help_of(name)) if flag != "--help"}


def subcommands_of(module: str) -> set[str]:
    """The subcommands that a command line says it has."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
        importlib.import_module(module).main(["--help"])
    found = _SUBCOMMAND.search(out.getvalue())
    return set(found[1].split(",")) if found else set()


_PATHS = (
    ".", "nothing", "nothing.yaml", "nothing/at/all.json", "file.txt", "file.txt/below", "folder", "folder/new.csv",
    "towns.csv", "rules.yaml", "stress.yaml", "orders_in.csv", "link.yaml", "loop", "locked", "a" * 300, "new\nline",
    "dash -x", "-x", "a\0b", "\udcff.yaml", "[/].yaml", "$$.json", "=cmd().csv", "é.csv", "e\u0301.csv", "/proc/new",
    "", " ", "~", "shipped:pocket", "shipped:nowhere", "*.pt", "file.pt", "file.zip", "folder/",
)  # fmt: skip
_WHOLE = [text for text in NUMBERS if re.fullmatch(r"[-+]?\d{1,40}", text)]
_WORTH = {"INT": _WHOLE, "SEED": _WHOLE, "FLOAT": NUMBERS, "PATH": _PATHS}


def _value(rng: Random, kind: str) -> str:
    """Something to give to a flag of a kind: of its own kind, mostly."""
    pool: Sequence[str] = next((worth for name, worth in _WORTH.items() if name in kind), (*WORDS, *_PATHS))
    choices = kind.strip("{}").split(",") if kind.startswith("{") and "None" not in kind else ()
    if choices and rng.random() < 0.6:
        return rng.choice(choices)
    if rng.random() < 0.15:
        pool = (*NUMBERS, *WORDS, *_PATHS)
    # an argument of a process cannot hold a NUL
    return rng.choice([text for text in pool if "\0" not in text])


def spoiled_arguments(rng: Random, name: str) -> list[str]:
    """The arguments of a command with one to three flags given, given wrongly, or left out."""
    arguments, flags = list(COMMANDS[name].base), flags_of(name)
    keep = 1 if " " in name else 0
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        done = rng.choice(("given",) * 12 + ("misspelt", "lost", "word", "bare", "joined", "twice"))
        flag = rng.choice(tuple(flags) or ("--help",))
        kind = flags.get(flag, "")
        given, *more = (_value(rng, kind) for _ in range(rng.choice((1, 2, 3)) if kind.startswith("[") else 1))
        if done == "lost" and len(arguments) > keep:
            del arguments[rng.randrange(keep, len(arguments))]
        elif done == "word" and len(arguments) > keep:
            arguments[rng.randrange(keep, len(arguments))] = _value(rng, rng.choice(("INT", "PATH", "STR")))
        elif done == "bare":
            arguments.append(flag)
        elif done == "misspelt":
            at = rng.randrange(2, len(flag))
            arguments += [flag[:at] + flag[at + 1 :], given]
        elif done == "joined":
            arguments.append(f"{flag}={given}")
        elif not kind:
            arguments.append(flag if rng.random() < 0.7 else flag.replace("--", "--no-", 1))
        else:
            arguments += [flag, given, *more] * (2 if done == "twice" else 1)
    return arguments


def in_words(name: str, arguments: Sequence[str]) -> str:
    """A command line as far as it differs from the one it was made from."""
    base = list(COMMANDS[name].base)
    common = next((i for i, (a, b) in enumerate(zip(base, arguments, strict=False)) if a != b), len(base))
    return f"{name} ... {' '.join(shown(a) for a in arguments[min(common, len(arguments)) :])}"
