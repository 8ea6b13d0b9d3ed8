"""Trained policies as everyone else sees them: observations and masks in, levels out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch

from fabmesh.agents.learning.batch import RoleSpec
from fabmesh.agents.learning.config import NetworkConfig
from fabmesh.agents.learning.policy.networks import RolePolicy, choose_levels
from fabmesh.agents.policy import Levels, Masks, Observations


class LearnedPolicy:
    """Networks of one policy per role; each agent decides on its own observation alone.

    Args:
        policies: Role -> network.
        name: Name in tables.
        sample: Draw the levels from the policy instead of taking the most likely ones.
    """

    sees: Literal["local"] = "local"

    def __init__(self, policies: Mapping[str, RolePolicy], name: str, sample: bool = False) -> None:
        self.policies = dict(policies)
        self.name = name
        self.sample = sample
        self._generator = torch.Generator()

    @classmethod
    def from_weights(
        cls, weights: Mapping[str, Any], spec: Mapping[str, RoleSpec], config: NetworkConfig, name: str, sample: bool
    ) -> LearnedPolicy:
        """The policy of stored weights, role by role."""
        policies = {}
        for role, layout in spec.items():
            network = RolePolicy(layout, config)
            network.load_state_dict(weights[role])
            policies[role] = network.eval()
        return cls(policies, name, sample)

    def reset(self, num_envs: int, seed: int) -> None:
        """Start again; draws follow from the seed."""
        self._generator.manual_seed(seed)

    def act(self, obs: Observations, masks: Masks) -> Levels:
        """Levels per role, int64 [copies, agents, components]."""
        generator = self._generator if self.sample else None
        return {
            role: choose_levels(policy, torch.tensor(obs[role]), policy.layout.pad_mask(masks[role]), generator)
            for role, policy in self.policies.items()
        }
