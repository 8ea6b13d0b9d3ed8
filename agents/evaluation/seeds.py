"""Which worlds a result is about: named seeds of disjoint spaces."""

from __future__ import annotations

from dataclasses import dataclass

from fabmesh.envs.errors import FabmeshError
from fabmesh.envs.network.rng import seed_of

NAMED = {"validation": 64, "test": 256}  # spaces whose seeds are a fixed list, and how many there are
SPACES = ("train", "validation", "test", "holdout")


@dataclass(frozen=True)
class SeedSet:
    """Seeds of one space.

    Attributes:
        space: "train" for tuning and learning, "validation" for choosing, "test" for the result that is published,
            "holdout" for whoever doubts it.
        first: Index of the first seed in its space.
        count: Number of seeds.
    """

    space: str
    first: int
    count: int

    @property
    def seeds(self) -> list[int]:
        """World seeds, as `HubNetworkVector.reset` takes them."""
        return [seed_of(self.space, self.first + i) for i in range(self.count)]


def seed_set(space: str, count: int, first: int = 0) -> SeedSet:
    """Name a set of seeds.

    Args:
        space: One of `SPACES`.
        count: Number of seeds, at least 1.
        first: Index of the first one.

    Raises:
        FabmeshError: If there is no such space, or it has not so many named seeds.
    """
    if space not in SPACES:
        raise FabmeshError(f"unknown seed space {space!r}: use one of {', '.join(SPACES)}")
    if count < 1:
        raise FabmeshError(f"episodes = {count}: at least 1 episode is needed")
    if first < 0:
        raise FabmeshError(f"first seed = {first}: seeds are numbered from 0")
    named = NAMED.get(space)
    if named is not None and first + count > named:
        raise FabmeshError(
            f"episodes = {count} from seed {first}: the {space} space has {named} named seeds; "
            f"ask for at most {named - first if first < named else 0} from there, or use the space train or holdout"
        )
    return SeedSet(space, first, count)
