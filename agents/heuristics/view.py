"""Named access to observations and action levels, so that rules read like sentences and not like offsets."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fabmesh.envs.network.interface.spec import RoleSpec


class Desk:
    """What the agents of one role have before them on one day: what they see and the levels they choose.

    Args:
        spec: Layout of the role's observations and actions.
        obs: float32 [copies, agents, features].
        masks: int8 [copies, agents, sum of levels], 1 = legal.
    """

    def __init__(self, spec: RoleSpec, obs: NDArray[np.float32], masks: NDArray[np.int8]) -> None:
        """See the class."""
        self._spec = spec
        self._obs = obs
        self._masks = masks
        self.levels: NDArray[np.int64] = np.zeros((*obs.shape[:2], len(spec.nvec)), dtype=np.int64)

    def see(self, feature: str) -> NDArray[np.float32]:
        """Return a feature block, [copies, agents, items]."""
        return self._obs[..., self._spec.feature(feature)]

    def sees(self, feature: str) -> bool:
        """Say whether the scenario shows this feature block."""
        return any(block.name == feature for block in self._spec.features)

    def chosen(self, component: str) -> NDArray[np.int64]:
        """Return the levels chosen so far for a component's items, [copies, agents, items]."""
        return self.levels[..., self._spec.component(component)]

    def decides(self, component: str) -> bool:
        """Say whether the scenario leaves this component to the agents."""
        return self._spec.has_component(component)

    def choose(self, component: str, level: NDArray[np.int64] | int) -> None:
        """Set the level of a component's items; `level` broadcasts to [copies, agents, items]. Off: nothing to do."""
        if self.decides(component):
            self.levels[..., self._spec.component(component)] = level

    def legal_levels(self) -> NDArray[np.int64]:
        """Return the levels chosen; an illegal one is replaced by level 0, which does nothing and is always legal."""
        nvec = np.asarray(self._spec.nvec)
        offsets = np.cumsum(nvec) - nvec
        return np.where(np.take_along_axis(self._masks, offsets + self.levels, axis=-1) != 0, self.levels, 0)
