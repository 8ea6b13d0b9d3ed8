"""The action spaces of one agent, levels or bins of a box, whose `sample` also takes the mask as one flat array."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium.spaces import Box, MultiDiscrete
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:  # only type checkers may subscribe these: before Gymnasium 1.4 they are not generic
    IntegerLevels = MultiDiscrete[np.int64]
    FloatBox = Box[np.float32]
else:
    IntegerLevels, FloatBox = MultiDiscrete, Box


class MaskedMultiDiscrete(IntegerLevels):
    """`MultiDiscrete` with one int8 mask of length `sum(nvec)`, component after component.

    Gymnasium's own `sample(mask)` wants a tuple of one array per component, which the frameworks that read masks
    (TorchRL, AgileRL, sb3-contrib) do not; they want the flat array that `info["action_mask"]` holds. This class takes
    both. It pickles, compares equal to the plain `MultiDiscrete` of the same sizes, and batches like one.

    Args:
        nvec: Levels of each component.
        seed: Seed of the space's own generator.
    """

    def __init__(
        self, nvec: NDArray[np.integer[Any]] | list[int], seed: int | np.random.Generator | None = None
    ) -> None:
        super().__init__(nvec, dtype=np.int64, seed=seed)
        ends = np.cumsum(self.nvec)
        self._mask_starts = ends - self.nvec
        self._mask_length = int(ends[-1])

    def split_mask(self, mask: NDArray[np.int8]) -> tuple[NDArray[np.int8], ...]:
        """The flat mask as Gymnasium's tuple: one array per component, views of the argument."""
        return tuple(np.split(mask, self._mask_starts[1:]))

    def sample(
        self,
        mask: NDArray[np.int8] | tuple[NDArray[np.int8], ...] | None = None,
        probability: tuple[NDArray[Any], ...] | None = None,
    ) -> NDArray[np.int64]:
        """One random action; with a mask, uniform over the levels allowed in each component.

        Args:
            mask: One flat int8 or bool array of length `sum(nvec)`, or Gymnasium's tuple of int8 arrays. A component
                of which nothing is allowed gives level 0, as in Gymnasium; the environment never returns such a mask.
            probability: Gymnasium's tuple of level probabilities per component.

        Returns:
            int64[components].

        Raises:
            ValueError: If a flat mask has another length.
        """
        if not isinstance(mask, np.ndarray):
            return super().sample(mask=mask, probability=probability)
        if mask.shape != (self._mask_length,):
            raise ValueError(f"the flat mask has shape {mask.shape}, expected ({self._mask_length},) = (sum(nvec),)")
        return _allowed_levels(mask, self.nvec, self._mask_starts, self.np_random)


def _allowed_levels(
    mask: NDArray[np.int8], nvec: NDArray[np.int64], starts: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """One level per component, uniform over those the flat mask allows; 0 where it allows none."""
    # The r-th allowed level of a component is where the running count of allowed levels reaches (count before) + r.
    running = np.cumsum(mask != 0)
    before = running[starts] - (mask[starts] != 0)
    allowed = running[starts + nvec - 1] - before
    rank = (rng.random(nvec.size) * allowed).astype(np.int64) + 1
    level = np.searchsorted(running, before + rank) - starts
    return np.where(allowed > 0, level, 0).astype(np.int64, copy=False)


# --- the same components as numbers in [-1, 1]

_EDGE = 1e-3  # of a bin: a sample keeps this far from its borders, so that rounding cannot carry it into the next


def levels_of_bins(values: ArrayLike, nvec: ArrayLike) -> NDArray[np.int64]:
    """The levels that numbers in [-1, 1] stand for: a component of n levels cuts the interval into n equal bins.

    Level i is the bin from -1 + 2 i / n, included, to -1 + 2 (i + 1) / n, excluded; 1.0 belongs to the last bin.

    Args:
        values: Float [..., components].
        nvec: Int [components], levels of each component.

    Returns:
        int64 [..., components]. What is not in [-1, 1] (nan, too) is no level at all; the environment refuses it, and
        here it gives 0.
    """
    given, count = np.asarray(values, np.float64), np.asarray(nvec, np.int64)
    inside = np.abs(given) <= 1.0
    scaled = np.where(inside, given + 1.0, 0.0) * 0.5 * count
    return np.minimum(scaled.astype(np.int64), count - 1)


def bin_centres(levels: ArrayLike, nvec: ArrayLike) -> NDArray[np.float32]:
    """The middle of each level's bin: float32 [..., components] in (-1, 1), the inverse of `levels_of_bins`."""
    centres: NDArray[np.float32] = ((2.0 * np.asarray(levels) + 1.0) / np.asarray(nvec) - 1.0).astype(np.float32)
    return centres


class MaskedBox(FloatBox):
    """`Box(-1, 1)` of one number per component that stands for a level (`levels_of_bins`); `sample` takes the mask.

    Gymnasium's `Box.sample` refuses masks, but PettingZoo's tests and many learners pass on what `info` or the
    observation holds. It pickles, compares equal to the plain `Box`, and batches like one.

    Args:
        nvec: Levels of each component.
        seed: Seed of the space's own generator.
    """

    def __init__(
        self, nvec: NDArray[np.integer[Any]] | list[int], seed: int | np.random.Generator | None = None
    ) -> None:
        self.nvec = np.asarray(nvec, np.int64)
        super().__init__(-1.0, 1.0, self.nvec.shape, np.float32, seed=seed)
        self._mask_starts = np.cumsum(self.nvec) - self.nvec

    def sample(self, mask: NDArray[np.int8] | None = None, probability: None = None) -> NDArray[np.float32]:
        """One random action; with a mask, a uniform allowed level in each component, and uniform within its bin.

        Args:
            mask: One flat int8 or bool array of length `sum(nvec)`.
            probability: Not supported, as in Gymnasium.

        Returns:
            float32[components].

        Raises:
            ValueError: If the mask has another length.
        """
        if mask is None:
            return super().sample(probability=probability)
        if mask.shape != (int(self.nvec.sum()),):
            raise ValueError(f"the flat mask has shape {mask.shape}, expected ({self.nvec.sum()},) = (sum(nvec),)")
        level = _allowed_levels(mask, self.nvec, self._mask_starts, self.np_random)
        within = _EDGE + (1.0 - 2.0 * _EDGE) * self.np_random.random(self.nvec.size)
        drawn: NDArray[np.float32] = (2.0 * (level + within) / self.nvec - 1.0).astype(np.float32)
        return drawn
