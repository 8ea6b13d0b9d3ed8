"""A role's interface in one place: its features, its components, its spaces' sizes, and where the kernels put them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fabmesh.envs.network.books.tables import Layout
from fabmesh.envs.network.interface.actions import ComponentBlock, component_blocks, levels_of
from fabmesh.envs.network.interface.features import (
    FeatureBlock,
    feature_blocks,
    laid_out,
    laid_out_state,
    observed,
    places,
)
from fabmesh.envs.network.schema.scenario import Scenario

ROLES = ("hub", "depot")


@dataclass(frozen=True)
class RoleSpec:
    """What one agent of a role sees and does.

    Attributes:
        role: "hub" or "depot".
        agents: Names of the agents, `hub_0`, `hub_1`, ...
        features: Blocks of the observation, in order.
        components: Blocks of the action, in order.
    """

    role: str
    agents: tuple[str, ...]
    features: tuple[FeatureBlock, ...]
    components: tuple[ComponentBlock, ...]

    def feature(self, name: str) -> slice:
        """Indices of a feature block; raises KeyError for a block the role does not have."""
        return _slice_of(self.features, name)

    def component(self, name: str) -> slice:
        """Columns of a component block; raises KeyError for one that the scenario has switched off."""
        return _slice_of(self.components, name)

    def has_component(self, name: str) -> bool:
        """Whether agents of the role own the component block."""
        return any(block.name == name for block in self.components)

    @property
    def num_features(self) -> int:
        """Length of an observation."""
        return sum(block.count for block in self.features)

    @property
    def nvec(self) -> NDArray[np.int64]:
        """Levels of every component, int64[components]."""
        return levels_of(self.components)

    @property
    def mask_slices(self) -> tuple[slice, ...]:
        """Where each component's levels are in the flat action mask."""
        ends = np.cumsum(self.nvec)
        return tuple(slice(int(end - n), int(end)) for end, n in zip(ends, self.nvec, strict=True))


def _slice_of(blocks: tuple[FeatureBlock, ...] | tuple[ComponentBlock, ...], name: str) -> slice:
    for block in blocks:
        if block.name == name:
            return slice(block.start, block.start + block.count)
    raise KeyError(f"no block {name!r}; there are {', '.join(b.name for b in blocks)}")


def role_specs(scenario: Scenario) -> dict[str, RoleSpec]:
    """The specs of both roles of a scenario."""
    counts = {"hub": len(scenario.hubs), "depot": len(scenario.depots)}
    return {
        role: RoleSpec(
            role,
            tuple(f"{role}_{i}" for i in range(counts[role])),
            feature_blocks(scenario, role),
            component_blocks(scenario, role)[0],
        )
        for role in ROLES
    }


def layout(scenario: Scenario) -> Layout:
    """Where each block of actions, observations and the state begins, for the kernels."""
    hub, depot = (component_blocks(scenario, role)[1] for role in ROLES)
    network, hubs, depots = laid_out_state(scenario)
    return Layout(
        hub_slot=np.array(hub.first, np.int32),
        hub_fixed=np.array(hub.fixed, np.int32),
        hub_levels=np.array(hub.levels, np.int32),
        depot_slot=np.array(depot.first, np.int32),
        depot_fixed=np.array(depot.fixed, np.int32),
        depot_levels=np.array(depot.levels, np.int32),
        hub_at=places(laid_out(observed(scenario, "hub"))),
        depot_at=places(laid_out(observed(scenario, "depot"))),
        state_at=places(network),
        hub_state_at=places(*hubs),
        depot_state_at=places(*depots),
    )
