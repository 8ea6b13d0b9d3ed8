"""A toy with the interface of the worlds, solved in seconds: every agent is shown the levels it should choose.

It tells a broken learner from a hard problem. Two roles with different shapes, several components per agent, masks that
change every day, truncation after `episode_d` days and automatic reset in the same step, as in
`fabmesh.envs.vector.HubNetworkVector`. The reward of a day is the share of all components of all agents set to the
level shown, the same number for everyone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from fabmesh.agents.policy import Policy

_ODD = np.array([0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB], np.uint64)  # of SplitMix64


@dataclass(frozen=True)
class ToyBlock:
    """One block of features or components."""

    name: str
    start: int
    count: int
    items: tuple[str, ...]
    labels: tuple[str, ...] = ()
    values: tuple[float, ...] = ()


@dataclass(frozen=True)
class ToyRole:
    """Layout of a role of the toy: a one-hot of the wanted level per component is all an agent sees."""

    agents: tuple[str, ...]
    nvec: NDArray[np.int64]

    @property
    def num_features(self) -> int:
        """Length of an observation: one entry per level."""
        return int(self.nvec.sum())

    @property
    def features(self) -> tuple[ToyBlock, ...]:
        """One block: the levels wanted."""
        return (ToyBlock("wanted", 0, self.num_features, tuple(f"entry {i}" for i in range(self.num_features))),)

    @property
    def components(self) -> tuple[ToyBlock, ...]:
        """One block per component."""
        return tuple(
            ToyBlock(f"level_{c}", c, 1, (f"level_{c}",), tuple(map(str, range(levels))), tuple(range(levels)))
            for c, levels in enumerate(self.nvec)
        )


class IdentityBatch:
    """The toy; the parts it shares with `HubNetworkVector` are documented there.

    Args:
        num_envs: Copies.
        episode_d: Days of an episode.
    """

    roles = ("hub", "depot")
    ledger_lines: tuple[str, ...] = ()
    event_names: tuple[str, ...] = ()

    def __init__(self, num_envs: int, episode_d: int = 20) -> None:
        self.num_envs = num_envs
        self.episode_d = episode_d
        self.spec = {
            "hub": ToyRole(("hub_0", "hub_1"), np.array([3, 4])),
            "depot": ToyRole(("depot_0",), np.array([5, 2, 3])),
        }
        self.agents = {role: spec.agents for role, spec in self.spec.items()}
        self.single_observation_space = {
            role: gymnasium.spaces.Box(-10.0, 10.0, (spec.num_features,), np.float32)
            for role, spec in self.spec.items()
        }
        self.single_action_space = {role: gymnasium.spaces.MultiDiscrete(s.nvec) for role, s in self.spec.items()}
        features = sum(len(spec.agents) * spec.num_features for spec in self.spec.values())
        self.state_space = gymnasium.spaces.Box(-10.0, 10.0, (features,), np.float32)
        self._seeds = np.zeros(num_envs, np.uint64)
        self._day = np.zeros(num_envs, np.int64)
        self._wanted: dict[str, NDArray[np.int64]] = {}

    def reset(self, seed: int | Sequence[int] | None = None) -> tuple[dict[str, NDArray[np.float32]], dict[str, Any]]:
        """Start new episodes; copies with equal seeds are shown equal levels."""
        if seed is None:
            self._seeds += np.uint64(self.num_envs)
        else:
            seeds = range(seed, seed + self.num_envs) if isinstance(seed, int) else seed
            self._seeds[:] = np.asarray(list(seeds), np.uint64)
        self._day[:] = 0
        self._draw()
        return self._observations(), self._info()

    def step(
        self, actions: Mapping[str, NDArray[Any]]
    ) -> tuple[
        dict[str, NDArray[np.float32]],
        dict[str, NDArray[np.float32]],
        NDArray[np.bool_],
        NDArray[np.bool_],
        dict[str, Any],
    ]:
        """One day: compare, then show the next levels."""
        right = [(actions[role] == self._wanted[role]).reshape(self.num_envs, -1) for role in self.roles]
        share = np.concatenate(right, axis=1).mean(axis=1).astype(np.float32)
        self._day += 1
        self._draw()
        ended = self._day >= self.episode_d
        final = {"final_obs": self._observations(), "final_state": self.state().copy()} if ended.any() else {}
        if ended.any():
            self._seeds[ended] += np.uint64(1_000)
            self._day[ended] = 0
            self._draw()
        reward = {
            role: np.repeat(share[:, None], len(spec.agents), axis=1).astype(np.float32)
            for role, spec in self.spec.items()
        }
        never = np.zeros(self.num_envs, np.bool_)
        return self._observations(), reward, never, ended, {**self._info(), "_final": ended, **final}

    @property
    def seeds(self) -> NDArray[np.uint64]:
        """Worlds of the copies."""
        return self._seeds.copy()

    def last_shown(self) -> tuple[dict[str, NDArray[np.float32]], dict[str, Any]]:
        """Observations and masks of today."""
        return self._observations(), self._info()["action_mask"]

    def state(self) -> NDArray[np.float32]:
        """All observations side by side."""
        parts = self._observations()
        return np.concatenate([parts[role].reshape(self.num_envs, -1) for role in self.roles], axis=1)

    def save_state(self) -> dict[str, NDArray[Any]]:
        """Seeds and days; what is shown follows from them."""
        return {"seeds": self._seeds.copy(), "day": self._day.copy()}

    def load_state(self, state: dict[str, NDArray[Any]]) -> None:
        """Put back what `save_state` gave."""
        self._seeds[:], self._day[:] = state["seeds"], state["day"]
        self._draw()

    def close(self) -> None:
        """Nothing to release."""

    def _draw(self) -> None:
        """Levels wanted today: a hash of seed, day and place."""
        key = self._seeds * _ODD[0] + self._day.astype(np.uint64) * _ODD[1]
        place = 0
        for role, spec in self.spec.items():
            shape = (len(spec.agents), len(spec.nvec))
            places = np.arange(place, place + shape[0] * shape[1], dtype=np.uint64).reshape(shape)
            place += places.size
            mixed = (key[:, None, None] + places) * _ODD[2]
            mixed = (mixed ^ (mixed >> np.uint64(29))) * _ODD[0]
            self._wanted[role] = ((mixed >> np.uint64(33)) % spec.nvec.astype(np.uint64)).astype(np.int64)

    def _observations(self) -> dict[str, NDArray[np.float32]]:
        shown = {}
        for role, spec in self.spec.items():
            starts = np.concatenate([[0], np.cumsum(spec.nvec)[:-1]])
            obs = np.zeros((self.num_envs, len(spec.agents), spec.num_features), np.float32)
            np.put_along_axis(obs, self._wanted[role] + starts, 1.0, axis=-1)
            shown[role] = obs
        return shown

    def _info(self) -> dict[str, Any]:
        """Masks: of each component, the level below the one wanted is masked on even days."""
        masks = {}
        for role, spec in self.spec.items():
            starts = np.concatenate([[0], np.cumsum(spec.nvec)[:-1]])
            mask = np.ones((self.num_envs, len(spec.agents), spec.num_features), np.int8)
            below = (self._wanted[role] - 1) % spec.nvec + starts
            np.put_along_axis(mask, below, (self._day % 2 == 1).astype(np.int8)[:, None, None], axis=-1)
            masks[role] = mask
        return {"action_mask": masks, "_final": np.zeros(self.num_envs, np.bool_)}


class ShownLevels:
    """The perfect policy of the toy, to imitate: chooses what it is shown."""

    name = "shown"
    sees = "local"

    def __init__(self, batch: IdentityBatch) -> None:
        self._spec = batch.spec

    def reset(self, num_envs: int, seed: int) -> None:
        """Nothing to remember."""

    def act(
        self, obs: Mapping[str, NDArray[np.float32]], masks: Mapping[str, NDArray[np.int8]]
    ) -> dict[str, NDArray[np.int64]]:
        """The level of each component whose entry is 1."""
        levels = {}
        for role, spec in self._spec.items():
            edges = np.cumsum(spec.nvec)[:-1]
            levels[role] = np.stack([part.argmax(axis=-1) for part in np.split(obs[role], edges, axis=-1)], axis=-1)
        return levels


def wrong_shares(policy: Policy, copies: int) -> NDArray[np.float64]:
    """Share of wrong levels of a policy over an episode of each copy, worlds that no training begins with."""
    batch = IdentityBatch(copies)
    policy.reset(copies, 0)
    obs, info = batch.reset(seed=10_000)
    wrong = np.zeros(copies)
    for _ in range(batch.episode_d):
        obs, reward, _, _, info = batch.step(policy.act(obs, info["action_mask"]))
        wrong += 1.0 - reward["hub"][:, 0]
    return wrong / batch.episode_d
