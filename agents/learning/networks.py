"""Policies and critics: small multilayer perceptrons, parameters shared inside a role."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fabmesh.agents.learning import fused
from fabmesh.agents.learning.distribution import ActionLayout
from fabmesh.agents.learning.returns import PopArt


def _trunk(inputs: int, hidden: Sequence[int]) -> nn.Sequential:
    """Linear and ReLU layers, orthogonal weights with the gain of the ReLU."""
    layers: list[nn.Module] = []
    for width in hidden:
        linear = nn.Linear(inputs, width)
        nn.init.orthogonal_(linear.weight, math.sqrt(2.0))
        nn.init.zeros_(linear.bias)
        layers += [linear, nn.ReLU()]
        inputs = width
    return nn.Sequential(*layers)


class RolePolicy(nn.Module):
    """Policy of one role: an agent's observation [..., A, F] to padded logits [..., A, C, L].

    With `agent_embedding` every agent owns a learned offset of the first hidden layer (as a one-hot input would give).
    Without it the policy knows an agent only by what it observes, and can be moved to a network of another size.
    """

    def __init__(
        self,
        num_features: int,
        layout: ActionLayout,
        num_agents: int,
        hidden: Sequence[int] = (128, 128),
        agent_embedding: bool = False,
    ) -> None:
        super().__init__()
        self.layout = layout
        self.first = nn.Linear(num_features, hidden[0])
        nn.init.orthogonal_(self.first.weight, math.sqrt(2.0))
        nn.init.zeros_(self.first.bias)
        self.embedding = nn.Parameter(torch.zeros(num_agents, hidden[0])) if agent_embedding else None
        self.trunk = _trunk(hidden[0], hidden[1:])
        self.head = nn.Linear(hidden[-1], layout.components * layout.levels)
        nn.init.orthogonal_(self.head.weight, 0.01)  # near-uniform over the legal levels before any learning
        nn.init.zeros_(self.head.bias)

    def forward(self, obs: Tensor) -> Tensor:
        """Logits of every level of every component, [..., A, C, L]; levels that do not exist are not masked yet."""
        return self._logits(self.first(obs), self.embedding)

    def rows(self, obs: Tensor, agents: Tensor) -> Tensor:
        """Logits [N, C, L] of single observations [N, F]; `agents` [N] says whose each is."""
        return self._logits(self.first(obs), None if self.embedding is None else self.embedding[agents])

    def _logits(self, hidden: Tensor, offset: Tensor | None) -> Tensor:
        if offset is not None:
            hidden = hidden + offset
        logits = self.head(self.trunk(torch.relu(hidden)))
        return cast(Tensor, logits.unflatten(-1, (self.layout.components, self.layout.levels)))


class Critic(nn.Module):
    """Value of a state [..., S] (central) or of an agent's observation [..., A, F] (local): the last axis goes."""

    def __init__(self, num_features: int, hidden: Sequence[int] = (128, 128)) -> None:
        super().__init__()
        self.trunk = _trunk(num_features, hidden)
        self.head = PopArt(hidden[-1])

    def forward(self, features: Tensor) -> Tensor:
        """Normalised value."""
        return cast(Tensor, self.head(self.trunk(features))).squeeze(-1)

    @torch.no_grad()
    def value(self, features: Tensor) -> Tensor:
        """Value in reward units, without gradient."""
        return self.head.denormalise(self(features))


@torch.no_grad()
def choose_levels(
    policy: RolePolicy, obs: Tensor, mask: NDArray[np.bool_], generator: torch.Generator | None
) -> NDArray[np.int64]:
    """Levels int64 [B, A, C] for observations [B, A, F]; drawn with a generator, the most likely without."""
    logits = policy(obs).flatten(0, 1)
    shape = (*obs.shape[:2], policy.layout.components)
    actions = np.empty((shape[0] * shape[1], shape[2]), np.int64)
    legal = mask.reshape(-1, *mask.shape[2:])
    if generator is None:
        fused.most_likely_levels(logits.numpy(), legal, actions)
    else:
        uniforms = torch.rand(actions.shape, generator=generator).numpy()
        fused.sample_levels(logits.numpy(), legal, uniforms, actions, np.empty(actions.shape, np.float32))
    return actions.reshape(shape)
