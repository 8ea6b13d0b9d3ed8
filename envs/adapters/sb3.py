"""Stable-Baselines3: every agent of every copy as one environment of a `VecEnv`, over the same batch of worlds.

SB3 knows one observation space and one action space, so the roles are padded to a shared shape. `Padding` says how;
policies trained here act through it elsewhere too. With `sb3_contrib.MaskablePPO` the padding and the day's masks are
respected; plain `PPO` and `A2C` may choose a level their role does not have, which counts as level 0 of that component
(withdraw, none, decline), as a masked level is a counted no-op in the world itself.

The reward is the world's: about -1 a day in the team game of any scenario (docs/model.md, section 9), so returns are
about -100 at a discount of 0.99. Wrap `HubNetworkVecEnv` in SB3's `VecNormalize` with `norm_obs=False`, as
`fabmesh-train` does, for rewards whose returns are of order one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import gymnasium
import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvObs, VecEnvStepReturn

from fabmesh.envs.spaces import MaskedMultiDiscrete

if TYPE_CHECKING:
    from fabmesh.envs.vector import HubNetworkVector

FEATURE_BOUND = 10.0
"""Observations are clipped to this on both sides."""


class RoleShape(Protocol):
    """Sizes of one role."""

    @property
    def agents(self) -> Sequence[str]:
        """Names of the agents."""

    @property
    def num_features(self) -> int:
        """Length of an observation."""

    @property
    def nvec(self) -> NDArray[np.int64]:
        """Levels per component."""


class Padding:
    """One shape for all roles: features padded with zeros and followed by a one-hot of the role; components padded.

    Component c has as many levels as the role with most at that place; components beyond a role's own are ignored.

    Args:
        spec: Role -> sizes, in the batch's order.

    Attributes:
        observation_space: Box of one agent.
        action_space: MultiDiscrete of one agent.
        agents: Number of agents of one copy.
    """

    def __init__(self, spec: Mapping[str, RoleShape]) -> None:
        self._spec = dict(spec)
        self.features = max(role.num_features for role in spec.values())
        self.components = max(len(role.nvec) for role in spec.values())
        self.nvec = np.ones(self.components, np.int64)
        for role in spec.values():
            self.nvec[: len(role.nvec)] = np.maximum(self.nvec[: len(role.nvec)], role.nvec)
        self.observation_space = gymnasium.spaces.Box(
            -FEATURE_BOUND, FEATURE_BOUND, (self.features + len(spec),), np.float32
        )
        self.action_space = MaskedMultiDiscrete(self.nvec)
        self.slices: dict[str, slice] = {}
        start = 0
        for name, role in spec.items():
            self.slices[name] = slice(start, start + len(role.agents))
            start += len(role.agents)
        self.agents = start
        self._mask_index = {name: self._positions(role.nvec) for name, role in spec.items()}

    def _positions(self, nvec: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where a role's flat mask lies in the padded flat mask."""
        starts = np.cumsum(self.nvec) - self.nvec
        return np.concatenate([starts[c] + np.arange(levels) for c, levels in enumerate(nvec)])

    def observations(self, obs: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
        """Role -> [B, A, F] as one fresh array [B x agents, F padded + roles], copy after copy."""
        copies = len(next(iter(obs.values())))
        padded = np.zeros((copies, self.agents, self.features + len(self._spec)), np.float32)
        for number, (name, part) in enumerate(self.slices.items()):
            padded[:, part, : obs[name].shape[-1]] = obs[name]
            padded[:, part, self.features + number] = 1.0
        return padded.reshape(copies * self.agents, -1)

    def masks(self, masks: Mapping[str, NDArray[np.int8]]) -> NDArray[np.bool_]:
        """Role -> [B, A, sum(nvec)] as [B x agents, sum(padded nvec)]; of a component a role lacks, only level 0."""
        copies = len(next(iter(masks.values())))
        padded = np.zeros((copies, self.agents, int(self.nvec.sum())), np.bool_)
        starts = np.cumsum(self.nvec) - self.nvec
        for name, part in self.slices.items():
            padded[:, part, self._mask_index[name]] = masks[name] != 0
            padded[:, part, starts[len(self._spec[name].nvec) :]] = True
        return padded.reshape(copies * self.agents, -1)

    def actions(self, levels: NDArray[Any]) -> dict[str, NDArray[np.int64]]:
        """[B x agents, components padded] as role -> [B, A, C]; a level the role does not have becomes level 0."""
        by_copy = np.asarray(levels, np.int64).reshape(-1, self.agents, self.components)
        split = {}
        for name, part in self.slices.items():
            nvec = self._spec[name].nvec
            own = by_copy[:, part, : len(nvec)]
            split[name] = np.where(own < nvec, own, 0)
        return split

    def rewards(self, reward: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
        """Role -> [B, A] as [B x agents]."""
        return np.concatenate([reward[name] for name in self.slices], axis=1).reshape(-1)


class HubNetworkVecEnv(VecEnv):
    """The batch as SB3 sees it: environment i x agents + j is agent j of copy i.

    Episodes end by truncation only, all agents of a copy together; the next one has then begun, and
    `infos[...]["terminal_observation"]` with `["TimeLimit.truncated"]` lets SB3 bootstrap.

    Args:
        batch: The worlds; closed with this environment.
        seeds: First world of each copy; default: those SB3's `seed` asks for, else the batch's next ones.

    Attributes:
        info: What the batch told beside the observations returned last.
    """

    def __init__(self, batch: HubNetworkVector, seeds: Sequence[int] | None = None) -> None:
        self.batch = batch
        self.padding = Padding(batch.spec)
        self._first_seeds = None if seeds is None else list(seeds)
        self._chosen: dict[str, NDArray[np.int64]] = {}
        self.info: dict[str, Any] = {}
        super().__init__(
            batch.num_envs * self.padding.agents, self.padding.observation_space, self.padding.action_space
        )

    def reset(self) -> VecEnvObs:
        """Start new episodes."""
        seed: int | list[int] | None = self._first_seeds
        if seed is None and self._seeds and self._seeds[0] is not None:
            seed = int(self._seeds[0])
        obs, self.info = self.batch.reset(seed=seed)
        self._first_seeds = None
        self._reset_seeds()
        self._reset_options()
        return self.padding.observations(obs)

    def step_async(self, actions: NDArray[Any]) -> None:
        """Keep the actions for `step_wait`."""
        self._chosen = self.padding.actions(actions)

    def step_wait(self) -> VecEnvStepReturn:
        """One day of every copy."""
        obs, reward, terminated, truncated, self.info = self.batch.step(self._chosen)
        agents = self.padding.agents
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        ended = np.asarray(terminated | truncated)
        if ended.any():
            final = self.padding.observations(self.info["final_obs"])
            for copy in np.flatnonzero(ended):
                for row in range(copy * agents, (copy + 1) * agents):
                    infos[row] = {
                        "terminal_observation": final[row],
                        "TimeLimit.truncated": bool(truncated[copy] and not terminated[copy]),
                    }
        return self.padding.observations(obs), self.padding.rewards(reward), np.repeat(ended, agents), infos

    def action_masks(self) -> NDArray[np.bool_]:
        """Legal levels of every environment, bool [environments, sum(nvec)], for the observations returned last."""
        return self.padding.masks(self.info["action_mask"])

    def close(self) -> None:
        """Close the batch."""
        self.batch.close()

    def has_attr(self, attr_name: str) -> bool:
        """True for what each environment has: `action_masks`, and the batch's own attributes."""
        return attr_name == "action_masks" or hasattr(self.batch, attr_name)

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """The batch's attribute, once per environment asked for."""
        value = None if attr_name == "render_mode" else getattr(self.batch, attr_name)
        return [value for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Refused: the copies are stepped as one."""
        raise AttributeError(f"{attr_name}: single environments of a batch cannot be changed; change the scenario")

    def env_method(
        self, method_name: str, *method_args: Any, indices: VecEnvIndices = None, **method_kwargs: Any
    ) -> list[Any]:
        """`action_masks`, as MaskablePPO asks for it: one flat bool row per environment."""
        if method_name != "action_masks":
            raise AttributeError(f"{method_name}: environments of a batch have one method, action_masks")
        masks = self.action_masks()
        return [masks[row] for row in self._get_indices(indices)]

    def env_is_wrapped(
        self, wrapper_class: type[gymnasium.Wrapper[Any, Any, Any, Any]], indices: VecEnvIndices = None
    ) -> list[bool]:
        """No environment is wrapped."""
        return [False for _ in self._get_indices(indices)]

    def _get_indices(self, indices: VecEnvIndices) -> Iterable[int]:
        return range(self.num_envs) if indices is None else [indices] if isinstance(indices, int) else indices
