"""The action space of one agent: a `MultiDiscrete` whose `sample` also takes the mask as one flat array."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.spaces import MultiDiscrete
from numpy.typing import NDArray


class MaskedMultiDiscrete(MultiDiscrete[np.int64]):
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
        # The r-th allowed level of a component is where the running count of allowed levels reaches (count before) + r.
        running = np.cumsum(mask != 0)
        before = running[self._mask_starts] - (mask[self._mask_starts] != 0)
        allowed = running[self._mask_starts + self.nvec - 1] - before
        rank = (self.np_random.random(self.nvec.size) * allowed).astype(np.int64) + 1
        level = np.searchsorted(running, before + rank) - self._mask_starts
        return np.where(allowed > 0, level, 0).astype(np.int64, copy=False)
