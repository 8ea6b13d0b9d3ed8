"""Checks for a scenario of one's own, as a function and as a command: `python -m fabmesh.envs.testing my_region.yaml`.

The same checks run in this project's tests on every shipped scenario.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fabmesh.envs.commands import guarded, require_within, say, tell
from fabmesh.envs.errors import FabmeshError
from fabmesh.envs.network.books.accounts import NOT_COST
from fabmesh.envs.network.books.state import FLOW_NAMES
from fabmesh.envs.network.loading import load_scenario
from fabmesh.envs.network.schema.scenario import Scenario
from fabmesh.envs.vector import HubNetworkVector
from fabmesh.envs.worlds import LARGEST_SEED

_COPIES = 3
_TOLERANCE = 1e-9  # relative to what flowed: rounding of double precision over an episode
_WATCHED = 1  # the copy that is played again alone; neither the first nor the last

Actions = dict[str, NDArray[np.int64]]


class CheckFailed(AssertionError):  # noqa: N818 an assertion about the scenario, not an error of the checker
    """A scenario broke one of the promises of the environment."""


def check_scenario(scenario: str | Path | Scenario, seed: int = 0) -> list[str]:
    """Plays one episode with random legal actions and checks what the environment promises.

    Args:
        scenario: Name of a shipped scenario, path to a YAML file, or a `Scenario`.
        seed: Of the worlds and of the actions.

    Returns:
        What was checked, one line each.

    Raises:
        FabmeshError: If the scenario cannot be loaded, or there is no such seed.
        CheckFailed: If a promise is broken; the message says which, when and where.
    """
    if not 0 <= seed <= 2**64 - _COPIES:
        raise FabmeshError(f"seed {seed}: must be from 0 to 2**64 - {_COPIES}")
    loaded = load_scenario(scenario)
    worlds = [seed + 1, seed, seed + 2]
    batch = HubNetworkVector(loaded, num_envs=_COPIES, autoreset=False)
    alone = HubNetworkVector(loaded, num_envs=1, autoreset=False)
    rng = np.random.default_rng(seed)

    observed, info = batch.reset(seed=worlds)
    observed_alone, info_alone = alone.reset(seed=[worlds[_WATCHED]])
    for day in range(loaded.episode_d + 1):
        _check_day(batch, observed, info, day)
        _check_same(batch, observed, info, observed_alone, info_alone, day)
        check_laws(batch)
        if day == loaded.episode_d:
            break
        actions = random_actions(batch, info["action_mask"], rng)
        charged = _charged(batch)
        observed, reward, terminated, truncated, info = batch.step(actions)
        if day + 1 < loaded.episode_d:  # the books of the last day hold the settlement as well
            gap = np.abs(_charged(batch) - charged - info["cost"])
            _require(
                bool((gap < _TOLERANCE * (1.0 + np.abs(charged))).all()),
                f"day {day + 1}: the cost is not what the books were charged",
            )
        watched = {role: levels[_WATCHED : _WATCHED + 1] for role, levels in actions.items()}
        observed_alone, reward_alone, _, _, info_alone = alone.step(watched)
        for role in batch.roles:
            _require(np.isfinite(reward[role]).all(), f"day {day + 1}: a reward of the {role}s is not finite")
            _require(
                np.array_equal(reward[role][_WATCHED], reward_alone[role][0]),
                f"day {day + 1}: the reward of the {role}s differs alone and in a batch",
            )
        _require(not terminated.any(), f"day {day + 1}: an episode ends by truncation, never by termination")
        _require(
            bool(truncated.all()) == (day + 1 == loaded.episode_d) and bool(truncated.any()) == bool(truncated.all()),
            f"day {day + 1}: the episode should end on day {loaded.episode_d} exactly",
        )
    batch.close()
    alone.close()
    size = f"{len(batch.agents['hub'])} hubs, {len(batch.agents['depot'])} depots"
    return [
        f"{loaded.name}: {loaded.episode_d} days with random legal actions in {_COPIES} worlds, {size}",
        "observations, rewards, costs and state are finite and inside their spaces on every day",
        "every component of every action mask allows at least one level on every day",
        "a world plays the same, bit for bit, alone and in a batch",
        "material, units and money are conserved at every node on every day",
        "the episode ends by truncation, on its last day",
    ]


def random_actions(batch: HubNetworkVector, masks: Mapping[str, NDArray[np.int8]], rng: np.random.Generator) -> Actions:
    """Legal actions for every agent of every copy, uniform over the allowed levels of each component.

    Args:
        batch: The batch.
        masks: `info["action_mask"]`: for each role int8[copies, agents, sum(nvec)].
        rng: Generator to draw from.

    Returns:
        For each role int64[copies, agents, components].
    """
    actions = {}
    for role in batch.roles:
        # The allowed level with the largest draw is a uniform choice among the allowed ones.
        draws = np.where(masks[role] != 0, rng.random(masks[role].shape, dtype=np.float32), np.float32(-1))
        ends = np.cumsum(batch.spec[role].nvec)
        levels = [part.argmax(axis=-1) for part in np.split(draws, ends[:-1], axis=-1)]
        actions[role] = np.stack(levels, axis=-1).astype(np.int64)
    return actions


def check_laws(batch: HubNetworkVector) -> None:
    """Checks that nothing appeared or vanished in the running episodes of a batch, to the day it has reached.

    Per node and material, in quantity and in book value: opening + received = used + scrapped + expired + shipped on +
    closing. Over the network: units ordered = delivered + lost + cancelled + open, and what agents pay one another
    sums to zero.

    Raises:
        CheckFailed: Naming the law, the copy, the node and the material.
    """
    arrays = batch.arrays
    hub, depot = arrays.hub_mat, arrays.depot_mat
    closing = np.concatenate([hub["sealed"].sum(axis=-1) + hub["opened"], depot["stock"].sum(axis=-1)], axis=1)
    value = np.concatenate([hub["value"], depot["value"]], axis=1)
    signs = np.array([1.0 if name in ("opening", "received") else -1.0 for name in FLOW_NAMES])
    for kind, unit, held in ((0, "units", closing), (1, "EUR", value)):
        flows = arrays.flow[..., kind]
        gap = flows @ signs - held
        wrong = np.argwhere(np.abs(gap) > _TOLERANCE * (1.0 + np.abs(flows).sum(axis=-1)))
        if len(wrong):
            copy, node, material = (int(i) for i in wrong[0])
            agent = (*batch.agents["hub"], *batch.agents["depot"])[node]
            raise CheckFailed(
                f"{batch.scenario.materials[material].name} at {agent} does not balance in copy {copy} on day "
                f"{batch.day[copy]}: {gap[copy, node, material]:+g} {unit}"
            )
    transfers = batch.ledger[:, :, batch.ledger_lines.index("transfers")]
    wrong = np.argwhere(np.abs(transfers.sum(axis=1)) > _TOLERANCE * (1.0 + np.abs(transfers).sum(axis=1)))
    _require(len(wrong) == 0, "what agents pay one another does not sum to zero")

    running = batch.day < batch.scenario.episode_d  # after the end, the news of the next day are in the tables
    events = dict(zip(batch.event_names, batch.events.T, strict=True))
    gone = events["units_delivered"] + events["units_lost"] + events["units_cancelled"]
    unbalanced = running & (events["units_ordered"] - gone != open_units(batch))
    _require(not unbalanced.any(), f"units ordered are not all delivered, open, lost or cancelled on day {batch.day}")


def open_units(batch: HubNetworkVector) -> NDArray[np.float64]:
    """Units that customers wait for: open to bids, or in an order book and not yet shipped. float64[copies]."""
    arrays = batch.arrays
    total = np.zeros(batch.num_envs)
    for table, counts, field in (
        (arrays.lot, arrays.clock["lots"], "units"),
        (arrays.tender, arrays.clock["tenders"], "units"),
        (arrays.order, arrays.hub["orders"], "open"),
    ):
        used = np.arange(table.shape[-1]) < counts[..., None]
        open_here = np.where(used, table[field], 0)
        total += open_here.reshape(batch.num_envs, -1).sum(axis=1)
    return total


def _check_day(
    batch: HubNetworkVector, observed: Mapping[str, NDArray[np.float32]], info: Mapping[str, Any], day: int
) -> None:
    for role in batch.roles:
        space = batch.single_observation_space[role]
        outside = ~np.isfinite(observed[role]) | (observed[role] < space.low) | (observed[role] > space.high)
        if outside.any():
            copy, agent, feature = (int(index[0]) for index in np.nonzero(outside))
            name = next(
                block.name for block in batch.spec[role].features if block.start <= feature < block.start + block.count
            )
            raise CheckFailed(
                f"day {day}: feature {name!r} of {batch.agents[role][agent]} is {observed[role][copy, agent, feature]}"
            )
        masks = info["action_mask"][role]
        _require(masks.dtype == np.int8 and bool(((masks == 0) | (masks == 1)).all()), f"day {day}: masks are 0 or 1")
        starts = np.cumsum(batch.spec[role].nvec) - batch.spec[role].nvec
        empty = np.add.reduceat(masks, starts, axis=-1) == 0
        if empty.any():
            _, agent, component = (int(index[0]) for index in np.nonzero(empty))
            name = next(
                block.name
                for block in batch.spec[role].components
                if block.start <= component < block.start + block.count
            )
            raise CheckFailed(f"day {day}: the mask of {batch.agents[role][agent]} allows no level of {name!r}")
    if "cost" in info:
        _require(bool(np.isfinite(info["cost"]).all()), f"day {day}: the network cost is not finite")
    _require(
        all(batch.state_space.contains(row) for row in batch.state()), f"day {day}: the state is outside its space"
    )


def _charged(batch: HubNetworkVector) -> NDArray[np.float64]:
    """All cost lines of all books, EUR, float64[copies], less what this morning's news cost: that is today's cost."""
    lines = [column for column, line in enumerate(batch.ledger_lines) if line not in NOT_COST]
    charged: NDArray[np.float64] = batch.ledger[:, :, lines].sum(axis=(1, 2)) - batch.arrays.day_cost.sum(axis=1)
    return charged


def _check_same(
    batch: HubNetworkVector,
    observed: Mapping[str, NDArray[np.float32]],
    info: Mapping[str, Any],
    observed_alone: Mapping[str, NDArray[np.float32]],
    info_alone: Mapping[str, Any],
    day: int,
) -> None:
    for role in batch.roles:
        same = np.array_equal(observed[role][_WATCHED], observed_alone[role][0])
        _require(same, f"day {day}: the observations of the {role}s differ alone and in a batch")
        same = np.array_equal(info["action_mask"][role][_WATCHED], info_alone["action_mask"][role][0])
        _require(same, f"day {day}: the action masks of the {role}s differ alone and in a batch")


def _require(condition: bool | np.bool_, message: str) -> None:
    if not condition:
        raise CheckFailed(message)


def main(arguments: list[str] | None = None) -> int:
    """The command line: checks the scenarios named, 0 if all keep their promises."""
    parser = argparse.ArgumentParser(
        prog="python -m fabmesh.envs.testing", description="Play a scenario with random legal actions and check it."
    )
    parser.add_argument("scenario", nargs="+", help="name of a shipped scenario, or path to a YAML file")
    parser.add_argument("--seed", type=int, default=0, help="seed of the worlds and of the actions (default 0)")

    def check() -> int:
        options = parser.parse_args(arguments)
        require_within(options, seed=(0, LARGEST_SEED + 1 - _COPIES))
        try:
            for scenario in options.scenario:
                for line in check_scenario(scenario, seed=options.seed):
                    say(f"ok  {line}")
        except CheckFailed as failure:
            tell(f"failed: {failure}")
            return 1
        return 0

    return guarded(check, "stopped")


if __name__ == "__main__":
    sys.exit(main())
