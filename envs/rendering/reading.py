"""What the pictures show, read off one copy of the batch once, in the units a person thinks in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fabmesh.envs.network.books.accounts import NOT_COST
from fabmesh.envs.network.compiler.rng import SPACES

if TYPE_CHECKING:
    from fabmesh.envs.vector import HubNetworkVector

# The observation's scales (see the feature table): 1.0 of a feature is that many days.
HUB_COVER_D = 10.0
DEPOT_COVER_D = 20.0
SETTLEMENT = "settlement"  # the line that is charged once, after the last day


@dataclass(frozen=True)
class Node:
    """A hub or a depot today."""

    agent: str
    place: str
    up: bool
    on_hand_d: dict[str, float]  # material -> days of cover
    inbound_d: dict[str, float]  # material -> days of cover under way
    cost_day_eur: float
    deadstock_eur: float  # written off so far this episode, net of salvage
    sent_day_eur: float  # freight of the last day: a measure of what flows


@dataclass(frozen=True)
class HubNode(Node):
    """A hub today."""

    load: dict[str, float | None]  # technology -> committed share of five days' capacity; None without the machine
    labour_load: float
    late_share: float  # of the order book past due
    tenders: int  # tenders it may bid for


@dataclass(frozen=True)
class Reading:
    """One network today."""

    scenario: str
    world: str
    day: int
    days: int
    hubs: tuple[HubNode, ...]
    depots: tuple[Node, ...]
    cost_day: dict[str, float]  # line of the ledger -> EUR of the last day
    cost: dict[str, float]  # line of the ledger -> EUR so far
    events: dict[str, float]  # counts so far

    @property
    def total_day_eur(self) -> float:
        """Network cost of the last day, without the settlement at the end of the episode."""
        return sum(eur for line, eur in self.cost_day.items() if line != SETTLEMENT)

    @property
    def settlement_eur(self) -> float:
        """What settling the episode cost; 0 before its end."""
        return self.cost.get(SETTLEMENT, 0.0)

    @property
    def total_eur(self) -> float:
        """Network cost so far."""
        return sum(self.cost.values())


def read_network(
    batch: HubNetworkVector,
    observed: Mapping[str, NDArray[np.float32]],
    ledger_before: NDArray[np.float64] | None,
    copy: int = 0,
) -> Reading:
    """Reads one copy.

    Args:
        batch: The batch; only its public attributes are used.
        observed: The observations it returned last, by role.
        ledger_before: The copy's ledger before the last step; None reads the last day's costs as 0.
        copy: Which copy.
    """
    ledger = batch.ledger[copy]
    day_ledger = np.zeros_like(ledger) if ledger_before is None else ledger - ledger_before
    lines = {line: column for column, line in enumerate(batch.ledger_lines)}
    costs = [column for line, column in lines.items() if line not in NOT_COST]
    freight = [column for line, column in lines.items() if line.endswith("_freight")]
    materials = [material.name for material in batch.scenario.materials]

    def node(role: str, index: int, row: int, place: str, cover_d: float) -> Node:
        features, spec = observed[role][copy, index], batch.spec[role]
        on_hand = features[spec.feature("stock_cover")] * cover_d
        inbound = features[spec.feature("inbound_cover")] * cover_d
        return Node(
            agent=batch.agents[role][index],
            place=place,
            up=role != "hub" or bool(features[spec.feature("up")][0] > 0.5),
            on_hand_d=dict(zip(materials, on_hand.tolist(), strict=True)),
            inbound_d=dict(zip(materials, inbound.tolist(), strict=True)),
            cost_day_eur=float(day_ledger[row, costs].sum()),
            deadstock_eur=float(ledger[row, lines["deadstock"]]),
            sent_day_eur=float(day_ledger[row, freight].sum()),
        )

    hubs = []
    spec = batch.spec["hub"]
    technologies = [technology.name for technology in batch.scenario.technologies]
    for index, hub in enumerate(batch.scenario.hubs):
        features = observed["hub"][copy, index]
        loads = features[spec.feature("lane_load")].tolist()
        owned = features[spec.feature("has_lane")].tolist()
        hubs.append(
            HubNode(
                **vars(node("hub", index, index, hub.town, HUB_COVER_D)),
                load={
                    technology: load if has > 0.5 else None
                    for technology, load, has in zip(technologies, loads, owned, strict=True)
                },
                labour_load=float(features[spec.feature("labour_load")][0]),
                late_share=float(features[spec.feature("late_share")][0]),
                tenders=int(features[spec.feature("tender_present")].sum()),
            )
        )
    depots = [
        node("depot", index, len(hubs) + index, depot.name, DEPOT_COVER_D)
        for index, depot in enumerate(batch.scenario.depots)
    ]
    return Reading(
        scenario=batch.scenario.name,
        world=_world_name(int(batch.seeds[copy])),
        day=int(batch.day[copy]),
        days=batch.scenario.episode_d,
        hubs=tuple(hubs),
        depots=tuple(depots),
        cost_day={batch.ledger_lines[c]: float(day_ledger[:, c].sum()) for c in costs},
        cost={batch.ledger_lines[c]: float(ledger[:, c].sum()) for c in costs},
        events=dict(zip(batch.event_names, batch.events[copy].tolist(), strict=True)),
    )


def _world_name(seed: int) -> str:
    """The world's seed as people write it: the seed space, then the number within it."""
    space = next((name for name, number in SPACES.items() if number == seed >> 56), f"space {seed >> 56}")
    return f"{space} {seed & ((1 << 56) - 1)}"
