"""The uniform random policy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fabmesh.agents.policy import Levels, Masks, Observations, Sees
from fabmesh.envs.network.interface.spec import RoleSpec, role_specs
from fabmesh.envs.network.schema.scenario import Scenario


def _uniforms(seed: int, day: int, shape: tuple[int, int, int]) -> NDArray[np.float64]:
    """Uniforms keyed on (seed, day, copy, agent, component): what a copy draws does not depend on how many there are.

    The finaliser of splitmix64 (Steele, Lea & Flood 2014) over a hash of the key.
    """
    golden, mask = 0x9E3779B97F4A7C15, (1 << 64) - 1
    copies, agents, components = (np.arange(n, dtype=np.uint64) for n in shape)
    state = np.full((1, 1, 1), (seed * golden + day * 0xD1B54A32D192ED03) & mask, dtype=np.uint64)
    for axis, index in enumerate((copies[:, None, None], agents[None, :, None], components[None, None, :])):
        state = (state ^ (index + np.uint64(axis + 1))) * np.uint64(golden)
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        state = state ^ (state >> np.uint64(31))
    return np.asarray((state >> np.uint64(11)).astype(np.float64) * 2.0**-53)


class RandomPolicy:
    """Uniform over the legal levels of every component (the random baseline of reinforcement learning benchmarks)."""

    name = "random"
    sees: Sees = "local"

    def __init__(self, scenario: Scenario) -> None:
        """Take the action layout from the scenario."""
        self._specs = role_specs(scenario)
        self._seed, self._day = 0, 0

    def reset(self, num_envs: int, seed: int) -> None:
        """Start the stream of `seed` again."""
        self._seed, self._day = seed, 0

    def act(self, obs: Observations, masks: Masks) -> Levels:
        """See `fabmesh.agents.policy.Policy.act`."""
        levels: Levels = {}
        for number, (role, spec) in enumerate(self._specs.items()):
            levels[role] = self._sample(spec, masks[role], number)
        self._day += 1
        return levels

    def _sample(self, spec: RoleSpec, masks: NDArray[np.int8], number: int) -> NDArray[np.int64]:
        nvec = np.asarray(spec.nvec)
        offsets = np.concatenate(([0], np.cumsum(nvec)[:-1]))
        ladder = np.arange(int(nvec.max()))
        exists = ladder < nvec[:, None]
        legal = (masks[..., np.where(exists, offsets[:, None] + ladder, 0)] != 0) & exists  # [B, A, C, levels]
        ranks = np.cumsum(legal, axis=-1)
        uniforms = _uniforms(self._seed * len(self._specs) + number, self._day, (*masks.shape[:2], len(nvec)))
        drawn = np.floor(uniforms * ranks[..., -1]).astype(np.int64) + 1  # the rank of the level drawn
        return np.asarray(np.argmax(ranks >= drawn[..., None], axis=-1))
