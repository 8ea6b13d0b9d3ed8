"""Which worlds the copies of a batch play: those of the seeds they are given, or drawn from a set of worlds."""

from __future__ import annotations

import operator
import secrets
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fabmesh.envs.errors import FabmeshError
from fabmesh.envs.network.compiler.rng import SPACES, name_key, next_seed, seed_of

NAMED = {"validation": 64, "test": 256}  # spaces whose seeds are a fixed list, and how many there are
LARGEST_SEED = 2**64 - 1
_INDEX_BITS = 56  # of a seed; those above name its space
_INDICES = 1 << _INDEX_BITS


def whole_seed(seed: object) -> int:
    """A seed as a Python integer; NumPy's integers are as good.

    Raises:
        FabmeshError: If it is no whole number from 0 to 2**64 - 1; a float or a bool is none.
    """
    try:
        if isinstance(seed, (bool, np.bool_)):
            raise TypeError
        number = operator.index(seed)  # type: ignore[arg-type]  # what is no integer is refused here
    except TypeError:
        raise FabmeshError(f"seed {seed!r} is no integer: give a whole number from 0 to 2**64 - 1") from None
    if not 0 <= number <= LARGEST_SEED:
        raise FabmeshError(f"seed {number}: must be from 0 to 2**64 - 1")
    return number


def whole_seeds(seeds: Iterable[object]) -> list[int]:
    """Several seeds as Python integers.

    Raises:
        FabmeshError: As `whole_seed`; also if it is no sequence of seeds.
    """
    if isinstance(seeds, (str, bytes)) or not hasattr(seeds, "__iter__"):
        raise FabmeshError(f"seeds {seeds!r}: must be a sequence of whole numbers")
    return [whole_seed(seed) for seed in seeds]


class Worlds:
    """Which worlds the copies of a batch go on to.

    Without a set of worlds a seed is the world itself, and each copy goes on to `next_seed` of its last one. With one,
    every world is drawn from it: by entropy, so that processes that were given the same seed play different worlds; or
    by a key, the seed or (where none was given) the copy, and how many were drawn since: a pure function of these.

    Args:
        copies: Number of copies.
        worlds: None, the name of a seed space (`rng.SPACES`; of "validation" and "test" their named seeds), or seeds.
        key: Numbers that worlds are drawn with, such as (seed, worker). None: entropy.

    Raises:
        FabmeshError: If there is no such space, a seed or key is no whole number, or a key comes without worlds.
    """

    def __init__(
        self, copies: int, worlds: str | Sequence[int] | None = None, key: int | Sequence[int] | None = None
    ) -> None:
        if worlds is None and key is not None:
            raise FabmeshError(f"worlds_key {key!r} without worlds: say which, such as worlds='train'")
        self._pool = None if worlds is None else _pool(worlds)
        self._key = None if key is None else _whole_key(key)
        # Without a set of worlds: copies that a copy of the batch shares its world with, so that its next is drawn.
        self._parted = np.zeros(copies, np.bool_)
        self._seeds = np.zeros(copies, np.uint64)
        self._seeded = np.zeros(1, np.bool_)
        self._drawn = np.zeros(copies, np.int64)

    def of_seeds(self, seeds: Sequence[int]) -> NDArray[np.uint64]:
        """The worlds that a reset with a seed for each copy starts, uint64[copies]."""
        self._parted[:] = False
        self._seeds[:] = seeds
        self._seeded[:] = True
        self._drawn[:] = 0
        if self._pool is None:
            return self._seeds.copy()
        return np.array([self.after(copy, 0) for copy in range(len(seeds))], np.uint64)

    def after(self, copy: int, world: int) -> int:
        """The world that a copy goes on to after its last one."""
        if self._pool is not None:
            return self._pool[self._draw(copy) % len(self._pool)]
        if self._parted[copy]:
            self._parted[copy] = False
            return (world >> _INDEX_BITS << _INDEX_BITS) | secrets.randbits(_INDEX_BITS)
        return int(next_seed(np.uint64(world)))

    def chosen(self, copies: NDArray[np.bool_]) -> NDArray[np.intp]:
        """Those of the copies whose next world is not `next_seed` of their last one."""
        return np.flatnonzero(copies if self._pool is not None else copies & self._parted)

    def part(self) -> None:
        """From here on worlds of its own, whoever went on from the same worlds so far."""
        self._parted[:] = True
        if self._key is not None:
            self._key = (*self._key, secrets.randbits(64))

    def rejoin(self) -> None:
        """From here on the worlds that follow those of a state that was loaded."""
        self._parted[:] = False

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What a saved state must hold so that the same worlds follow, by name: nothing without a set of worlds."""
        if self._pool is None:
            return {}
        return {"worlds.seeds": self._seeds, "worlds.seeded": self._seeded, "worlds.drawn": self._drawn}

    def _draw(self, copy: int) -> int:
        """64 random bits, the next of a copy's stream."""
        if self._key is None:
            return secrets.randbits(64)
        begun = ("seed", self._seeds[copy]) if self._seeded[0] else ("copy", copy)
        bits = name_key("worlds", *map(str, (*self._key, *begun, self._drawn[copy])))
        self._drawn[copy] += 1
        return bits


def _pool(worlds: str | Sequence[int]) -> Sequence[int]:
    """The seeds that worlds are drawn from."""
    if isinstance(worlds, str):
        first = seed_of(worlds, 0)
        return range(first, first + NAMED.get(worlds, _INDICES))
    try:
        seeds = whole_seeds(worlds)
    except FabmeshError as error:
        raise FabmeshError(f"worlds: {error}; or name one of {', '.join(SPACES)}") from None
    if not seeds:
        raise FabmeshError("worlds: the list of seeds is empty")
    return tuple(seeds)


def _whole_key(key: int | Sequence[int]) -> tuple[int, ...]:
    try:
        return tuple(whole_seeds([key] if np.ndim(key) == 0 else key))  # type: ignore[arg-type]
    except FabmeshError as error:
        raise FabmeshError(f"worlds_key: {error}") from None
