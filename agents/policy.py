"""What every policy is, learned or not: observations and masks of a batch in, action levels out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Sees: TypeAlias = Literal["local", "network", "forecast", "whole tape"]
"""What a policy reads: an agent's own observation; the whole network's state; a demand forecast; the future itself."""

Observations: TypeAlias = Mapping[str, NDArray[np.float32]]  # role -> [copies, agents, features]
Masks: TypeAlias = Mapping[str, NDArray[np.int8]]  # role -> [copies, agents, sum of levels]
Levels: TypeAlias = dict[str, NDArray[np.int64]]  # role -> [copies, agents, components]


@runtime_checkable
class Policy(Protocol):
    """A joint policy of all agents of a network, for many copies of it at once.

    Attributes:
        name: The name under which tables show the policy.
        sees: What the policy may read; stands beside its name in every table.
    """

    @property
    def name(self) -> str:
        """Name under which tables show the policy."""
        ...

    @property
    def sees(self) -> Sees:
        """What the policy may read."""
        ...

    def reset(self, num_envs: int, seed: int) -> None:
        """Forget everything and get ready for new episodes.

        Args:
            num_envs: Copies of the network stepped side by side.
            seed: Seed of the policy's own randomness, if it has any.
        """
        ...

    def act(self, obs: Observations, masks: Masks) -> Levels:
        """Choose a level for every component of every agent of every copy.

        Args:
            obs: Per role float32 [copies, agents, features].
            masks: Per role int8 [copies, agents, sum of levels], 1 = legal.

        Returns:
            Per role int64 [copies, agents, components].
        """
        ...
