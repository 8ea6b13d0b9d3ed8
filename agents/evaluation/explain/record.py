"""What a policy saw and chose day by day, and what its days were like: taken down while the protocol judges it.

Nothing is written to the network and the policy decides as ever, so the costs are those of any other table.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fabmesh.agents.evaluation.judge.protocol import EpisodeTable, Progress, evaluate
from fabmesh.agents.evaluation.statistics import Floats
from fabmesh.agents.evaluation.studies.stress import Diary
from fabmesh.agents.policy import Levels, Masks, Observations, Policy, Sees
from fabmesh.envs.network.books.state import State
from fabmesh.envs.network.interface.spec import RoleSpec, role_specs
from fabmesh.envs.network.schema.recorded import RecordedOrders
from fabmesh.envs.network.schema.scenario import Scenario
from fabmesh.envs.vector import HubNetworkVector

DISTURBED: dict[str, Callable[[State], NDArray[np.int32]]] = {  # kind -> first day it is over, [worlds, things]
    "hub_outage": lambda state: state.hub["down_until"],
    "depot_outage": lambda state: state.depot["down_until"],
    "supplier_stop": lambda state: state.source["stopped_until"],
    "material_shortage": lambda state: state.source["scarce_until"],
    "port_closure": lambda state: state.outside["port_until"][:, None],
    "platform_outage": lambda state: state.outside["platform_until"][:, None],
}


@dataclass(frozen=True)
class Choices:
    """What the agents of a role saw and chose.

    Attributes:
        spec: Layout of the role.
        levels: Levels that took effect, [days, worlds, agents, components].
        free: Whether there was a choice: more than one level was legal. Of the same shape.
        seen: Feature block -> what was seen of it, [days, worlds, agents, items].
    """

    spec: RoleSpec
    levels: NDArray[np.uint8]
    free: NDArray[np.bool_]
    seen: dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Bought:
    """Orders of the depots at suppliers, float64 [worlds, materials] each.

    Attributes:
        orders: Orders placed.
        quantity: Ordered, in the material's unit.
        eur: What it costs without freight and order cost.
    """

    orders: Floats
    quantity: Floats
    eur: Floats


@dataclass(frozen=True)
class Play:
    """One policy's episodes on all worlds.

    Attributes:
        table: What they cost.
        choices: Role -> what was seen and chosen.
        days: Network cost (EUR), units that customers wait for in the evening, and stock (EUR at book value) of each
            day, [days, worlds] each.
        struck: Kind of `DISTURBED` -> things that are disturbed on the mornings of day 1, 2, ..., [days, worlds,
            things].
        bought: Orders at suppliers.
    """

    table: EpisodeTable
    choices: dict[str, Choices]
    days: dict[str, Floats]
    struck: dict[str, NDArray[np.bool_]]
    bought: Bought


def play(
    policy: Policy,
    scenario: Scenario,
    seeds: Sequence[int],
    features: Mapping[str, Collection[str]],
    threads: int = 1,
    progress: Progress | None = None,
    orders: RecordedOrders | None = None,
) -> Play:
    """Judge a policy, and take down what it sees and does.

    Args:
        policy: The policy.
        scenario: The network.
        seeds: World seeds.
        features: Role -> feature blocks to keep; those that the scenario does not have are left out.
        threads: As for `evaluate`.
        progress: As for `evaluate`.
        orders: As for `evaluate`.
    """
    noted = Noted(policy, role_specs(scenario), features)
    book = _DayBook(len(seeds), len(scenario.materials))
    table = evaluate(noted, scenario, seeds, threads, progress, orders, book.watch)
    assert table.trace is not None
    days = {
        "cost": np.array(book.diary.cost),
        "open_units": np.array(book.diary.backlog),
        "stock": sum(table.trace.stock_eur.values(), start=np.zeros_like(table.trace.deadstock_eur)),
    }
    struck = {kind: np.array(mornings) for kind, mornings in book.struck.items()}
    return Play(table, noted.choices(), days, struck, Bought(book.placed, book.quantity, book.eur))


class Noted:
    """A policy whose every decision is taken down.

    Args:
        policy: The policy.
        specs: Layout of both roles.
        features: As for `play`.
    """

    def __init__(self, policy: Policy, specs: Mapping[str, RoleSpec], features: Mapping[str, Collection[str]]) -> None:
        self._policy, self._specs = policy, specs
        self._blocks = {
            role: [block for block in spec.features if block.name in features.get(role, ())]
            for role, spec in specs.items()
        }
        self._days: dict[str, list[tuple[Any, ...]]] = {role: [] for role in specs}

    @property
    def name(self) -> str:
        """Name of the policy."""
        return self._policy.name

    @property
    def sees(self) -> Sees:
        """What the policy may read."""
        return self._policy.sees

    def reset(self, num_envs: int, seed: int) -> None:
        """Forget everything."""
        self._policy.reset(num_envs, seed)
        self._days = {role: [] for role in self._specs}

    def act(self, obs: Observations, masks: Masks) -> Levels:
        """The policy's choice."""
        levels = self._policy.act(obs, masks)
        for role, spec in self._specs.items():
            offsets = np.cumsum(spec.nvec) - spec.nvec
            legal = np.take_along_axis(masks[role], offsets + levels[role], axis=-1) != 0
            effective = np.where(legal, levels[role], 0).astype(np.uint8)  # as the network takes them
            free = np.add.reduceat(masks[role], offsets, axis=-1, dtype=np.int64) > 1
            seen = [obs[role][..., block.start : block.start + block.count].copy() for block in self._blocks[role]]
            self._days[role].append((effective, free, *seen))
        return levels

    def choices(self) -> dict[str, Choices]:
        """All that was taken down since the reset."""
        found = {}
        for role, days in self._days.items():
            levels, free, *seen = (np.array(column) for column in zip(*days, strict=True))
            names = [block.name for block in self._blocks[role]]
            found[role] = Choices(self._specs[role], levels, free, dict(zip(names, seen, strict=True)))
        return found


class _DayBook:
    """Reads the network at the end of every day."""

    def __init__(self, worlds: int, materials: int) -> None:
        self.diary = Diary()
        self.struck: dict[str, list[NDArray[np.bool_]]] = {kind: [] for kind in DISTURBED}
        self.placed, self.quantity, self.eur = (np.zeros((worlds, materials)) for _ in range(3))

    def watch(self, batch: HubNetworkVector, info: Mapping[str, Any]) -> None:
        """Takes down the day that has just been stepped."""
        self.diary.watch(batch, info)
        state = batch.arrays
        tomorrow = state.clock["day"][:, None]  # the clock stands on the morning after
        for kind, over in DISTURBED.items():
            self.struck[kind].append(over(state) > tomorrow)
        under_way = state.supplier_order
        there = np.arange(under_way.shape[-1]) < state.depot_mat["orders"][..., None]
        # One that is delivered by the next morning is missed; suppliers take days. What was under way from the start
        # may bear the date of day 0 as well; it has cost neither freight nor an order.
        new = there & (under_way["placed"] == tomorrow[..., None, None] - 1)
        new &= (tomorrow[..., None, None] > 1) | (under_way["landed"] > under_way["price"])
        quantity = np.where(new, under_way["quantity"], 0.0)
        self.placed += new.sum(axis=(1, 3))
        self.quantity += quantity.sum(axis=(1, 3))
        self.eur += (quantity * under_way["price"]).sum(axis=(1, 3))
