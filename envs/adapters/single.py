"""Gymnasium: one controller in charge of the whole network.

It sees what all agents see, side by side, and sets all components of all agents: the centralised comparator of
decentralised learning, and a way to use any single-agent algorithm. The action space is large (about 40 components per
agent); that is the honest price of central control.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from fabmesh.envs.network.schema.scenario import Scenario
from fabmesh.envs.spaces import MaskedMultiDiscrete
from fabmesh.envs.vector import HubNetworkVector
from fabmesh.envs.worlds import whole_seed


class CentralControlEnv(gymnasium.Env[NDArray[np.float32], NDArray[np.int64]]):
    """A network as a `gymnasium.Env`: observations and actions of all agents, role after role, agent after agent.

    Args:
        scenario: Shipped name, path of a scenario file, or a scenario.
        worlds: Which worlds resets go on to, as of `HubNetworkVector`.
        worlds_key: What they are drawn with, as there.

    Attributes:
        batch: The batch of one copy behind it.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012  # declared so by gymnasium.Env

    def __init__(
        self,
        scenario: str | Path | Scenario = "rotterdam",
        worlds: str | Sequence[int] | None = None,
        worlds_key: int | Sequence[int] | None = None,
    ) -> None:
        self.batch = HubNetworkVector(scenario, num_envs=1, autoreset=False, worlds=worlds, worlds_key=worlds_key)
        spec = self.batch.spec
        features = sum(len(role.agents) * role.num_features for role in spec.values())
        self.observation_space = gymnasium.spaces.Box(-10.0, 10.0, (features,), np.float32)
        nvec = np.concatenate([np.tile(role.nvec, len(role.agents)) for role in spec.values()])
        self.action_space = MaskedMultiDiscrete(nvec)
        self._shapes = {name: (1, len(role.agents), len(role.nvec)) for name, role in spec.items()}
        self._edges = np.cumsum([shape[1] * shape[2] for shape in self._shapes.values()])[:-1]
        self._masks: dict[str, NDArray[np.int8]] = {}

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Start an episode: in the world of the seed, or in the next one."""
        super().reset(seed=None if seed is None else whole_seed(seed))  # Gymnasium takes no NumPy integers
        obs, info = self.batch.reset(seed=seed)
        return self._joined(obs), self._info(info)

    def step(self, action: NDArray[np.int64]) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """One day; the reward is the mean of the agents', in the team game the same number for each.

        Args:
            action: Levels of all components of all agents, whole numbers [sum of components].

        Returns:
            Observation, reward, terminated, truncated and info: "action_mask", "cost" (network cost of the day, EUR)
            and, on the last day, "settlement" (EUR).

        Raises:
            ValueError: If the action has another shape or type, or a value that is no level.
        """
        given = np.asarray(action)
        if given.dtype.kind not in "iu" or given.shape != self.action_space.shape:
            raise ValueError(
                f"the action must be integers of shape {self.action_space.shape}, got {given.dtype} {given.shape}"
            )
        parts = np.split(given, self._edges)
        chosen = {name: part.reshape(shape) for (name, shape), part in zip(self._shapes.items(), parts, strict=True)}
        obs, reward, terminated, truncated, info = self.batch.step(chosen)
        paid = float(np.concatenate([reward[name][0] for name in self._shapes]).mean())
        return self._joined(obs), paid, bool(terminated[0]), bool(truncated[0]), self._info(info)

    def action_masks(self) -> NDArray[np.bool_]:
        """Legal levels, bool [sum(nvec)], as MaskablePPO asks for them."""
        return self._flat_mask().astype(np.bool_)

    def close(self) -> None:
        """Close the batch."""
        self.batch.close()

    def _joined(self, obs: dict[str, NDArray[np.float32]]) -> NDArray[np.float32]:
        return np.concatenate([obs[name][0].reshape(-1) for name in self._shapes])

    def _flat_mask(self) -> NDArray[np.int8]:
        return np.concatenate([self._masks[name][0].reshape(-1) for name in self._shapes])

    def _info(self, info: dict[str, Any]) -> dict[str, Any]:
        self._masks = info["action_mask"]
        shown: dict[str, Any] = {"action_mask": self._flat_mask()}
        shown |= {name: float(info[name][0]) for name in ("cost", "settlement") if name in info}
        return shown
