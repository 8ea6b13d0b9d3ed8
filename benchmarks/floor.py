"""What a day must touch at least: `python -m benchmarks.floor --json FILE`, from the root of the repository.

Counts, for a network as it lives under random legal actions, the bytes that a day has to read or write whatever the
program, and the operations on numbers that the rules ask for. Everything comes from the scenario's tables and from what
is open on the days watched; the widths are those of the arrays. The rates of the machine are measured beside it, by two
small compiled loops: bytes moved per second beyond the caches, and products and sums per second in four chains, for the
rules leave about as much to do side by side.
Then the kernel's own seconds a day, one thread, processor time: how far it stands above.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import machine, print_machine, write_report
from fabmesh.envs.commands import guarded
from fabmesh.envs.network.books.tables import AGES, HORIZON
from fabmesh.envs.testing import random_actions
from fabmesh.envs.vector import HubNetworkVector

_PACKAGES = ("fabmesh", "numpy", "numba")
_PASSES = 4  # over the open orders: promises, work, shipping, what agents see of them
_MIX = 7  # operations of SplitMix64's finaliser
_DRAW = 3 * _MIX + 30  # a draw: three mixes of key and name, and a quantile


class Watched:
    """A batch on days of its life, and the means of what was open on them."""

    def __init__(self, scenario: str, copies: int, days: int) -> None:
        self.batch = HubNetworkVector(scenario, num_envs=copies)
        self._rng = np.random.default_rng(0)
        _, info = self.batch.reset(seed=0)
        self._masks = info["action_mask"]
        self.counts: dict[str, float] = {}
        self.seconds_a_day = 0.0
        self._watch(days)

    def _step(self) -> float:
        actions = random_actions(self.batch, self._masks, self._rng)
        began = time.process_time()
        info = self.batch.step(actions)[4]
        passed = time.process_time() - began
        self._masks = info["action_mask"]
        return passed / self.batch.num_envs

    def _watch(self, days: int) -> None:
        """After a month, so that books are as full as they stay."""
        for _ in range(30):
            self._step()
        seen, seconds = [], []
        for _ in range(days):
            seen.append(self._open())
            seconds.append(self._step())
        self.counts = {name: statistics.mean(day[name] for day in seen) for name in seen[0]}
        self.seconds_a_day = statistics.median(seconds)

    def _open(self) -> dict[str, float]:
        """What a day finds in the morning, means over the copies."""
        arrays, tables = self.batch.arrays, self.batch._tables
        asked = np.diff(tables.asked_from)[tables.row["makers"]]  # hubs by row and town
        lots = [copy[:n] for copy, n in zip(arrays.lot, arrays.clock["lots"], strict=True)]
        new = [(copy["announced"] == day).sum() for copy, day in zip(lots, arrays.clock["day"], strict=True)]
        return {
            "orders in the books": float(arrays.hub["orders"].sum(1).mean()),
            "open lots": float(arrays.clock["lots"].mean()),
            "lots of today": float(np.mean(new)),
            "hubs asked": float(np.mean([asked[copy["row"], copy["town"]].sum() for copy in lots])),
            "open tenders": float(arrays.clock["tenders"].mean()),
            "supplier orders": float(arrays.depot_mat["orders"].sum((1, 2)).mean()),
        }


def bytes_of_a_day(watched: Watched) -> dict[str, float]:
    """Bytes that a day reads or writes at least, each once, by what they are."""
    batch, counts = watched.batch, watched.counts
    state, io, copies = batch.arrays, batch._buffers, batch.num_envs

    def share(*arrays: NDArray[Any]) -> float:
        return sum(array.nbytes for array in arrays) / copies

    orders = counts["orders in the books"] * state.order.itemsize
    return {
        "actions read": share(io.hub_action, io.depot_action),
        "observations and state written": share(io.hub_obs, io.depot_obs, io.state),
        "masks written": share(io.hub_mask, io.depot_mask),
        "order books": orders,
        "open lots and tenders": counts["open lots"] * state.lot.itemsize
        + counts["open tenders"] * state.tender.itemsize,
        "hubs' stock": share(state.hub_mat, state.hub_prod),
        "depots' stock and orders": share(state.depot_mat) + counts["supplier orders"] * state.supplier_order.itemsize,
        "machines, people, repairs": share(state.hub, state.hub_tech, state.post, state.repair),
        "unit costs": share(state.unit_cost),
        "books and counts": share(state.ledger, state.day_cost, state.day_income, state.events),
        "rewards and costs": share(io.reward, io.cost),
    }


def operations_of_a_day(watched: Watched) -> dict[str, float]:
    """Additions, products, comparisons and the like that the rules of a day ask for, by what they are for."""
    batch, counts, tables = watched.batch, watched.counts, watched.batch._tables
    hubs, lanes, materials = len(tables.hub_town), len(tables.tech), len(tables.mat)
    depots, towns = len(tables.depot_key), len(tables.population)
    stages = float(tables.row["stages"].mean())
    bill = float(tables.row["bom"].mean())
    features = sum(array[0].size for array in (batch._buffers.hub_obs, batch._buffers.depot_obs, batch._buffers.state))
    posts, machines = float(tables.hub_people.sum()), float(tables.hub_machines.sum())
    # in the long run a day decides, works and ships what a day brings
    return {
        # cost a + b x price, mark-up, delivery by the cheaper of two, record, comparison with ceiling and best
        "bids scored and compared": counts["hubs asked"] * 12,
        # hours a + b x price and labour, at each stage: free hours, quotient, and taken from every later day
        "promises made": counts["lots of today"] * stages * (8 + 2 * HORIZON),
        # a pass reads an order and adds hours or money of each stage
        "passes over the orders": counts["orders in the books"] * _PASSES * stages * 6,
        # hours, material by age, scrap and returns drawn, five lines of the ledger
        "work": counts["lots of today"] * stages * (20 + bill * (AGES + 8) + 2 * _DRAW),
        "deliveries": counts["lots of today"] * 20,
        "orders of customers drawn": towns * float(tables.par[0]["lot_rows"]) * _DRAW,
        "people, failures, drift drawn": (posts + machines + hubs * lanes) * (_MIX * 3 + 4),
        # on hand by age, under way, trigger, target; the price of each depot that has it
        "material market": hubs * materials * (AGES + 8 + depots * 6),
        "unit costs": hubs * len(tables.row) * (stages * 4 + bill * 2),
        # a quotient, clipped from both sides, and stored
        "observations": features * 4.0,
    }


@numba.njit(nogil=True)  # type: ignore[untyped-decorator]
def _copy(source: NDArray[np.float64], target: NDArray[np.float64], rounds: int) -> None:
    for _ in range(rounds):
        for i in range(len(source)):
            target[i] = source[i] + 1.0


@numba.njit(nogil=True)  # type: ignore[untyped-decorator]
def _add(rounds: int) -> float:
    a, b, c, d = 1.0, 2.0, 3.0, 4.0
    for _ in range(rounds):
        a, b, c, d = a * 0.5 + 1.0, b * 0.5 + 1.0, c * 0.5 + 1.0, d * 0.5 + 1.0
    return a + b + c + d


def _seconds(run: Callable[[], Any]) -> float:
    run()
    found = []
    for _ in range(7):
        began = time.process_time()
        run()
        found.append(time.process_time() - began)
    return statistics.median(found)


def rates() -> dict[str, float]:
    """What one core of this machine does: bytes moved (read and written), and scalar operations, per second."""
    numbers = 25_000_000  # of 8 bytes: far beyond the caches, as a batch is
    source, target = np.zeros(numbers), np.zeros(numbers)
    moved = 16 * numbers / _seconds(lambda: _copy(source, target, 1))
    rounds = 20_000_000
    return {"bytes_per_s": moved, "operations_per_s": 8 * rounds / _seconds(lambda: _add(rounds))}


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.floor", description=__doc__.splitlines()[0])
    parser.add_argument("--scenario", default="benelux", help="shipped name or path to a YAML file (benelux)")
    parser.add_argument("--copies", type=int, default=64, help="copies watched (64)")
    parser.add_argument("--days", type=int, default=60, help="days watched, after the first 30 (60)")
    parser.add_argument("--json", type=Path, help="file to write the results to")
    options = parser.parse_args(arguments)
    report: dict[str, Any] = {"scenario": options.scenario, "machine": machine(_PACKAGES)}
    print_machine(report["machine"])
    watched = Watched(options.scenario, options.copies, options.days)
    report["a_day"] = watched.counts
    lines = ["a day: " + ", ".join(f"{count:,.0f} {name}" for name, count in watched.counts.items())]
    report["rates"] = rates()
    for key, found, rate in (
        ("bytes", bytes_of_a_day(watched), report["rates"]["bytes_per_s"]),
        ("operations", operations_of_a_day(watched), report["rates"]["operations_per_s"]),
    ):
        total = sum(found.values())
        seconds = total / rate
        report[key] = found | {"all": total, "seconds": seconds}
        lines += [f"{name:<34}{count:>12,.0f} {key}" for name, count in found.items()]
        lines.append(f"{'all':<34}{total:>12,.0f} {key}: {seconds * 1e6:.1f} us at {rate:.2e} {key}/s")
    floor = max(report["bytes"]["seconds"], report["operations"]["seconds"])
    agents = watched.batch.num_agents
    report |= {
        "floor_s": floor,
        "kernel_s": watched.seconds_a_day,
        "above": watched.seconds_a_day / floor,
        "agent_steps_per_s_at_the_floor": agents / floor,
        "agent_steps_per_s": agents / watched.seconds_a_day,
    }
    write_report(options.json, report)
    print(*lines, sep="\n")
    print(f"floor {floor * 1e6:.1f} us a day, kernel {watched.seconds_a_day * 1e6:.1f}: {report['above']:.1f} x")
    print(f"one thread at the floor: {agents / floor:,.0f} agent-steps/s; now {agents / watched.seconds_a_day:,.0f}")
    return 0


if __name__ == "__main__":
    sys.exit(guarded(main, "stopped"))
