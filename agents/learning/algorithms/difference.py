"""Difference rewards from the ledger: the network's cost less a part in which an agent has no hand.

Every agent of the team game is paid with the cost of the whole network, the noise of all the others included. A
difference reward (Wolpert & Tumer 2002) subtracts something that the agent's own actions do not move, so that what is
best for the network stays best for the agent. Here it is what the other agents of its role spend on their own stock and
upkeep. All other lines stay in: material, hours, freight and lateness follow the orders, and whoever does not win one
shifts them to somebody else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from fabmesh.agents.learning.batch import Batch
from fabmesh.agents.learning.config import ConfigError
from fabmesh.envs.vector import HubNetworkVector

OWN_LINES = ("order_cost", "holding", "deadstock", "upkeep", "inspection")
"""Lines of the ledger that follow from an agent's own decisions about stock and upkeep."""
NOT_OF_A_DAY = ("settlement", "revenue", "transfers")
"""Lines that are no cost of a day: the settlement comes after the last one, the others are no cost of the network."""


class DifferenceRewards:
    """Works out every agent's reward of a day from what the day has added to the ledger.

    What the news of a morning cost (an order nobody had room for, stock lost to an outage) counts on the day before:
    it does not depend on the actions of either.

    Args:
        batch: The worlds.

    Raises:
        ConfigError: If the batch keeps no ledger.
    """

    def __init__(self, batch: Batch) -> None:
        if not getattr(batch, "ledger_lines", ()):
            raise ConfigError("reward: difference needs worlds that keep a ledger", "reward")
        self._batch = cast(HubNetworkVector, batch)
        lines = self._batch.ledger_lines
        self._counted = np.array([line not in NOT_OF_A_DAY for line in lines])
        self._own = np.array([line in OWN_LINES for line in lines])
        counts = [len(batch.spec[role].agents) for role in batch.roles]
        self._roles = np.split(np.arange(sum(counts)), np.cumsum(counts)[:-1])
        self.per_eur = 1.0 / (sum(counts) * self._batch.reward_scale_eur)
        self._before = np.zeros_like(self._batch.ledger)

    def begin(self, first_day: NDArray[np.bool_]) -> None:
        """Look at the books before a rollout; `first_day` [B] says whose episode has just begun."""
        self._before = np.where(first_day[:, None, None], 0.0, self._batch.ledger)

    def of_day(self, info: Mapping[str, Any]) -> NDArray[np.float32]:
        """Rewards of the day just stepped, [B, agents], role after role; `info` is the step's."""
        ended = info["_final"][:, None, None]
        books = self._batch.ledger
        after = np.where(ended, info["final_ledger"], books) if ended.any() else books
        added = after - self._before
        self._before = np.where(ended, 0.0, books)
        total = added[..., self._counted].sum(axis=(1, 2))
        own = added[..., self._own].sum(axis=2)
        rewards = np.empty((len(total), sum(map(len, self._roles))), np.float32)
        for agents in self._roles:
            others = own[:, agents].sum(axis=1, keepdims=True) - own[:, agents]
            rewards[:, agents] = -self.per_eur * (total[:, None] - others)
        return rewards
