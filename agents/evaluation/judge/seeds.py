"""Which worlds a result is about: named seeds of disjoint spaces."""

from __future__ import annotations

from dataclasses import dataclass

from fabmesh.envs.errors import FabmeshError
from fabmesh.envs.network.compiler.rng import seed_of
from fabmesh.envs.worlds import NAMED

SPACES = ("train", "validation", "test", "holdout")
MOST_AT_ONCE = 4096  # all episodes are in memory at once
HOLDOUT_BLOCK = 1 << 20  # holdout:SEED starts so many worlds after holdout:SEED-1
_MOST_HOLDOUT_SEED = (1 << 32) - 1


@dataclass(frozen=True)
class SeedSet:
    """Seeds of one space.

    Attributes:
        space: "train" for tuning and learning, "validation" for choosing, "test" for the result that is published,
            "holdout" or "holdout:SEED" for whoever doubts it: SEED is any whole number, each with worlds of its own.
        first: Index of the first seed in its space (of holdout:SEED, in its block).
        count: Number of seeds.
    """

    space: str
    first: int
    count: int

    @property
    def seeds(self) -> list[int]:
        """World seeds, as `HubNetworkVector.reset` takes them."""
        space, _, number = self.space.partition(":")
        start = self.first + HOLDOUT_BLOCK * int(number or 0)
        return [seed_of(space, start + i) for i in range(self.count)]


def seed_set(space: str, count: int, first: int = 0) -> SeedSet:
    """Name a set of seeds.

    Args:
        space: One of `SPACES`, or "holdout:SEED".
        count: Number of seeds, at least 1.
        first: Index of the first one.

    Raises:
        FabmeshError: If there is no such space, or it has not so many named seeds.
    """
    plain, colon, number = space.partition(":")
    if plain not in SPACES:
        raise FabmeshError(f"unknown seed space {space!r}: use one of {', '.join(SPACES)} or holdout:SEED")
    if colon:
        if plain != "holdout":
            raise FabmeshError(f"seed space {space!r}: only holdout takes a number, as in holdout:12345")
        if not (number.isascii() and number.isdigit() and int(number) <= _MOST_HOLDOUT_SEED):
            raise FabmeshError(f"seed space {space!r}: the number must be whole and from 0 to {_MOST_HOLDOUT_SEED}")
    if count < 1:
        raise FabmeshError(f"episodes = {count}: at least 1 episode is needed")
    if first < 0:
        raise FabmeshError(f"first seed = {first}: seeds are numbered from 0")
    named = NAMED.get(plain)
    if named is not None and first + count > named:
        raise FabmeshError(
            f"episodes = {count} from seed {first}: the {space} space has {named} named seeds; "
            f"ask for at most {named - first if first < named else 0} from there, or use the space train or holdout"
        )
    if first + count > HOLDOUT_BLOCK and colon:
        raise FabmeshError(f"first seed = {first}: {space} has {HOLDOUT_BLOCK} seeds; use another number")
    return SeedSet(space, first, count)
