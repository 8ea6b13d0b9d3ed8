"""Collects what the batch of worlds does under the policies, into preallocated tensors.

Shapes: T days, B copies, A agents of a role, F features, C components, L levels, S numbers of state.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fabmesh.agents.learning import fused
from fabmesh.agents.learning.batch import Batch
from fabmesh.agents.learning.config import RolloutConfig
from fabmesh.agents.learning.networks import Critic, RolePolicy


class RoleBuffer:
    """One role's part of a rollout; slot T of `obs` and `mask` is where the next rollout starts.

    Attributes:
        obs: float32 [T+1, B, A, F].
        mask: bool [T+1, B, A, C, L].
        actions: int64 [T, B, A, C].
        log_probs: float32 [T, B, A, C], of the chosen levels when they were chosen.
        rewards: float32 [T, B, A].
    """

    def __init__(self, days: int, copies: int, agents: int, features: int, components: int, levels: int) -> None:
        self.obs = torch.zeros(days + 1, copies, agents, features)
        self.mask = torch.zeros(days + 1, copies, agents, components, levels, dtype=torch.bool)
        self.actions = torch.zeros(days, copies, agents, components, dtype=torch.int64)
        self.log_probs = torch.zeros(days, copies, agents, components)
        self.rewards = torch.zeros(days, copies, agents)


class Collector:
    """Steps the batch under the policies, iteration after iteration; episodes run on across iterations.

    Args:
        batch: The worlds, already reset by `start` or put in place by `load_state`.
        policies: Role -> policy.
        config: Size of a rollout.
        generator: Source of all exploration.

    Attributes:
        roles: Role -> buffers.
        states: float32 [T+1, B, S], input of a central critic.
        ended: bool [T, B], True where an episode ended with the day.
        finals: For each day on which episodes ended: the day, the copies, their final observations and states.
        episodes: For each such day: ledgers, events and settlements of the episodes that ended, if the batch has them.
    """

    def __init__(
        self, batch: Batch, policies: Mapping[str, RolePolicy], config: RolloutConfig, generator: torch.Generator
    ) -> None:
        self.batch, self.policies, self.config, self.generator = batch, policies, config, generator
        days, copies = config.days, batch.num_envs
        self.roles = {
            role: RoleBuffer(
                days,
                copies,
                len(batch.spec[role].agents),
                batch.spec[role].num_features,
                policies[role].layout.components,
                policies[role].layout.levels,
            )
            for role in batch.roles
        }
        self.states = torch.zeros(days + 1, copies, batch.state_space.shape[0])
        self.ended = torch.zeros(days, copies, dtype=torch.bool)
        self.finals: list[tuple[int, NDArray[np.int64], dict[str, Tensor], Tensor]] = []
        self.episodes: list[dict[str, NDArray[np.float64]]] = []

    def start(self, seeds: Sequence[int]) -> None:
        """Begin the first episodes, copy i in the world of `seeds[i]`."""
        obs, info = self.batch.reset(seed=seeds)
        self._store(self.config.days, obs, info)

    @torch.no_grad()
    def collect(self) -> None:
        """Fill the buffers with the next `days` days of every copy."""
        days = self.config.days
        for buffer in self.roles.values():
            buffer.obs[0].copy_(buffer.obs[days])
            buffer.mask[0].copy_(buffer.mask[days])
        self.states[0].copy_(self.states[days])
        if self.config.branch and self.config.group > 1:
            self._branch()
        self.finals.clear()
        self.episodes.clear()
        for day in range(days):
            obs, reward, _, truncated, info = self.batch.step(self._act(day))
            for role, buffer in self.roles.items():
                buffer.rewards[day].copy_(torch.from_numpy(np.asarray(reward[role])))
            self.ended[day].copy_(torch.from_numpy(np.asarray(truncated)))
            if info["_final"].any():
                self._finish(day, info)
            self._store(day + 1, obs, info)

    def _act(self, day: int) -> dict[str, NDArray[np.int64]]:
        """Draw and keep the actions of a day."""
        chosen = {}
        for role, buffer in self.roles.items():
            logits = self.policies[role](buffer.obs[day])
            actions, shape = buffer.actions[day], buffer.actions[day].shape
            uniforms = torch.rand(shape, generator=self.generator)
            fused.sample_levels(
                logits.flatten(0, 1).numpy(),
                buffer.mask[day].flatten(0, 1).numpy(),
                uniforms.flatten(0, 1).numpy(),
                actions.flatten(0, 1).numpy(),
                buffer.log_probs[day].flatten(0, 1).numpy(),
            )
            chosen[role] = actions.numpy()
        return chosen

    def _store(self, slot: int, obs: Mapping[str, NDArray[np.float32]], info: Mapping[str, Any]) -> None:
        """Copy what the batch shows into a slot: its arrays are overwritten by the next step."""
        for role, buffer in self.roles.items():
            buffer.obs[slot].copy_(torch.from_numpy(obs[role]))
            self.policies[role].layout.pad_mask(info["action_mask"][role], out=buffer.mask[slot].numpy())
        self.states[slot].copy_(torch.from_numpy(self.batch.state()))

    def _finish(self, day: int, info: Mapping[str, Any]) -> None:
        """Keep the final observations, states and books of the episodes that end."""
        copies = np.flatnonzero(info["_final"])
        observations = {role: torch.from_numpy(info["final_obs"][role][copies].copy()) for role in self.roles}
        self.finals.append((day, copies, observations, torch.from_numpy(info["final_state"][copies].copy())))
        if "final_ledger" in info:
            keys = ("final_ledger", "final_events", "settlement", "standard_cost")
            self.episodes.append({key: np.array(info[key][copies]) for key in keys})

    def _branch(self) -> None:
        """Put all copies of each group into the state of one of them, drawn at random.

        From there their worlds and states are equal and only their actions differ, so the group's mean advantage is
        a baseline for the state itself.
        """
        group, copies = self.config.group, self.batch.num_envs
        leader = torch.randint(group, (copies // group,), generator=self.generator)
        parents = (torch.arange(copies // group) * group + leader).repeat_interleave(group)
        index = parents.numpy()
        saved = self.batch.save_state()
        self.batch.load_state({key: value[index] if len(value) == copies else value for key, value in saved.items()})
        for buffer in self.roles.values():
            buffer.obs[0].copy_(buffer.obs[0][parents])
            buffer.mask[0].copy_(buffer.mask[0][parents])
        self.states[0].copy_(self.states[0][parents])

    def team_rewards(self) -> Tensor:
        """Mean reward of the agents, [T, B]: in the team game the number every agent gets."""
        return torch.cat([buffer.rewards for buffer in self.roles.values()], dim=2).mean(dim=2)

    def central_values(self, critic: Critic) -> tuple[Tensor, Tensor]:
        """Values of the states the days started from and led to, both [T, B]."""
        values = critic.value(self.states)
        following = values[1:].clone()
        for day, copies, _, state in self.finals:
            following[day, copies] = critic.value(state)
        return values[:-1], following

    def local_values(self, role: str, critic: Critic) -> tuple[Tensor, Tensor]:
        """The same per agent of a role, from its own observation, both [T, B, A]."""
        values = critic.value(self.roles[role].obs)
        following = values[1:].clone()
        for day, copies, obs, _ in self.finals:
            following[day, copies] = critic.value(obs[role])
        return values[:-1], following

    def save(self) -> dict[str, NDArray[Any]]:
        """The worlds and what the agents see of them, between two rollouts."""
        saved = {f"world.{key}": value for key, value in self.batch.save_state().items()}
        for role, buffer in self.roles.items():
            saved[f"obs.{role}"] = buffer.obs[self.config.days].numpy()
            saved[f"mask.{role}"] = buffer.mask[self.config.days].numpy()
        saved["states"] = self.states[self.config.days].numpy()
        return saved

    def load(self, saved: Mapping[str, NDArray[Any]]) -> None:
        """Put back what `save` gave."""
        world = {key.removeprefix("world."): value for key, value in saved.items() if key.startswith("world.")}
        self.batch.load_state(world)
        for role, buffer in self.roles.items():
            buffer.obs[self.config.days].copy_(torch.from_numpy(saved[f"obs.{role}"]))
            buffer.mask[self.config.days].copy_(torch.from_numpy(saved[f"mask.{role}"]))
        self.states[self.config.days].copy_(torch.from_numpy(saved["states"]))
