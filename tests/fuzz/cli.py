"""The command line of the fuzzer: how much of what to play, and the counts of what became of it."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from fuzz.commands import SHARES
from fuzz.harness import Input, counts, faults, inputs, run, told
from fuzz.outcomes import FAULTS, KINDS, Outcome
from rich.console import Console
from rich.table import Table
from tqdm import tqdm


def table_of(found: Sequence[Outcome]) -> Table:
    """Inputs by reader and by what became of them, with the time they took."""
    table = Table(title=f"{len(found):,} inputs", title_justify="left")
    for name in ("reader", *KINDS, "s per 1,000"):
        table.add_column(name, justify="left" if name == "reader" else "right")
    by_reader = counts(found)
    for reader, count in sorted(by_reader.items()):
        seconds = sum(outcome.seconds for outcome in found if outcome.reader == reader)
        table.add_row(reader, *(str(count[kind] or "") for kind in KINDS), f"{1000 * seconds / count.total():.0f}")
    table.add_section()
    total = {kind: sum(count[kind] for count in by_reader.values()) for kind in KINDS}
    spent = sum(outcome.seconds for outcome in found)
    table.add_row("all", *(str(total[kind]) for kind in KINDS), f"{1000 * spent / max(len(found), 1):.0f}")
    return table


def main(arguments: Sequence[str] | None = None) -> int:
    """Plays inputs and prints the counts; 1 if there is a fault among them."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz", description="Give spoiled files and flags to every reader and count what happens."
    )
    parser.add_argument("--inputs", type=int, default=10_000, help="how many, over all readers (default 10000)")
    parser.add_argument("--seed", type=int, default=1, help="of the inputs (default 1)")
    parser.add_argument("--reader", action="append", choices=SHARES, help="these readers only; may be given again")
    parser.add_argument("--only", type=int, help="this input of the reader only, with all that was said")
    parser.add_argument("--workers", type=int, default=2, help="processes (default 2)")
    parser.add_argument("--json", type=Path, help="file for every outcome, one a line")
    options = parser.parse_args(arguments)
    shares = {name: SHARES[name] for name in options.reader or SHARES}
    todo: list[Input] = inputs(shares, options.seed, options.inputs)
    if options.only is not None:
        todo = [(name, options.seed, options.only) for name in shares]
    began = time.perf_counter()
    with tqdm(total=len(todo), unit="input", file=sys.stderr) as bar:
        bad = 0

        def tell(outcome: Outcome) -> None:
            nonlocal bad
            bad += outcome.kind in FAULTS
            bar.update()
            bar.set_postfix_str(f"{bad} faults")

        found = run(todo, options.workers, tell)
    console = Console(width=None if sys.stdout.isatty() else 160)
    if options.only is not None:
        for outcome in found:
            console.print(f"{outcome.kind}: {outcome.input}", outcome.said, sep="\n", markup=False, highlight=False)
    for outcome, count in faults(found):
        console.print(told(outcome, count), markup=False, highlight=False)
    console.print(table_of(found))
    console.print(f"{time.perf_counter() - began:.0f} s in {options.workers} processes", highlight=False)
    if options.json is not None:
        options.json.write_text("".join(json.dumps(asdict(outcome)) + "\n" for outcome in found), encoding="utf-8")
    return int(any(outcome.kind in FAULTS for outcome in found))
