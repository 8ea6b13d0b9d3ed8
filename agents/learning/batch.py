"""What a learner needs of a batch of worlds: the interface of `fabmesh.envs.vector.HubNetworkVector`, no more.

The trainers are written against these protocols, so they also train on the toy of `toy`.
Shapes: B copies, A agents of a role, F features, C action components, S numbers of state.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fabmesh.agents.policy import Observations


class Block(Protocol):
    """A block of like features or action components, for example one cover level per material."""

    @property
    def name(self) -> str:
        """Name of the block."""

    @property
    def start(self) -> int:
        """Index of its first entry."""

    @property
    def count(self) -> int:
        """Number of entries."""

    @property
    def items(self) -> Sequence[str]:
        """What each entry is of: names of lanes, materials, ..."""


class ComponentBlock(Block, Protocol):
    """A block of action components, all with the same levels."""

    @property
    def labels(self) -> Sequence[str]:
        """Name of each level."""

    @property
    def values(self) -> Sequence[float]:
        """What each level stands for, nan where it is not a number in order."""


class RoleSpec(Protocol):
    """Layout of what an agent of one role sees and sets."""

    @property
    def agents(self) -> Sequence[str]:
        """Names of the agents of the role."""

    @property
    def num_features(self) -> int:
        """F, the length of one agent's observation."""

    @property
    def nvec(self) -> NDArray[np.int64]:
        """int64 [C]: levels of each action component."""

    @property
    def features(self) -> Sequence[Block]:
        """The blocks of features, in order."""

    @property
    def components(self) -> Sequence[ComponentBlock]:
        """The blocks of action components, in order."""


class Batch(Protocol):
    """Many worlds stepped together; see `fabmesh.envs.vector.HubNetworkVector` for the meaning of each part."""

    num_envs: int

    @property
    def roles(self) -> Sequence[str]:
        """Names of the roles."""

    @property
    def spec(self) -> Mapping[str, RoleSpec]:
        """Layout per role."""

    @property
    def state_space(self) -> Any:
        """Space of `state()` of one copy, with a shape (S,)."""

    def reset(self, seed: int | Sequence[int] | None = None) -> tuple[Observations, dict[str, Any]]:
        """Start new episodes."""

    def step(
        self, actions: Mapping[str, NDArray[Any]]
    ) -> tuple[Observations, Mapping[str, NDArray[np.float32]], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Step every copy by one day."""

    @property
    def seeds(self) -> NDArray[np.uint64]:
        """uint64 [B]: the worlds the copies are in; `reset` with them begins these again."""

    def last_shown(self) -> tuple[Observations, dict[str, Any]]:
        """Observations and action masks per role, as the last reset or step returned them."""

    def state(self) -> NDArray[np.float32]:
        """float32 [B, S]: the whole network of each copy, for a central critic."""

    def save_state(self) -> dict[str, NDArray[Any]]:
        """Everything that changes, as arrays whose first axis is the copy, beside constants of another length."""

    def load_state(self, state: dict[str, NDArray[Any]]) -> Any:
        """Put back what `save_state` gave."""

    def close(self) -> None:
        """Release what the batch holds."""


def team_weight(batch: Batch) -> float:
    """Share of the network's cost in the rewards of the batch; 1 = every agent gets the same number (team game)."""
    scenario = getattr(batch, "scenario", None)  # the toy has none, and is a team game
    return 1.0 if scenario is None else float(scenario.reward.team_weight)


def books_of_ended(info: Mapping[str, Any]) -> dict[str, NDArray[np.float64]]:
    """Copies of the books of the episodes that ended with a step, the copies they ended in as first axis.

    Empty where none ended, or where the batch keeps no books, like the toy.
    """
    if not info["_final"].any() or "final_ledger" not in info:
        return {}
    copies = np.flatnonzero(info["_final"])
    keys = ("final_ledger", "final_events", "settlement", "standard_cost")
    return {key: np.array(info[key][copies]) for key in keys}


BatchFactory = Callable[[int], Batch]
"""Makes a batch of so many copies."""
