"""Distributions over the levels of many action components, padded into one tensor.

A role's action is `MultiDiscrete(nvec)`: C components with different numbers of levels. One categorical per component
would mean C small `log_softmax` calls; instead the logits of all components live in one tensor [..., C, L] with
L = max(nvec), and levels that do not exist, or are masked today, get probability 0. Everything here is plain PyTorch,
differentiable, and the reference that the fused kernels of `fused` are tested against.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

MASKED_LOGIT = -1e9
"""Logit of a masked level: finite, so that p * log p is 0 and not NaN, and far below what a network can give."""


class ActionLayout:
    """Where the levels of each component lie in the padded tensor.

    Attributes:
        nvec: int64 [C], levels per component.
        components: C.
        levels: L = max(nvec).
        flat_to_padded: int64 [sum(nvec)], index into C * L of each entry of a flat mask.
        exists: bool [C, L], False where a component has no such level.
    """

    def __init__(self, nvec: NDArray[np.int64] | Sequence[int]) -> None:
        self.nvec = np.asarray(nvec, dtype=np.int64)
        self.components = len(self.nvec)
        self.levels = int(self.nvec.max())
        index = [c * self.levels + level for c, n in enumerate(self.nvec) for level in range(n)]
        self.flat_to_padded = np.asarray(index, dtype=np.int64)
        exists = np.zeros(self.components * self.levels, dtype=np.bool_)
        exists[self.flat_to_padded] = True
        self.exists = exists.reshape(self.components, self.levels)

    def pad_mask(self, flat: NDArray[np.int8], out: NDArray[np.bool_] | None = None) -> NDArray[np.bool_]:
        """Flat masks [..., sum(nvec)] as bool [..., C, L]; `out` (zero where no level exists) is filled if given."""
        shape = (*flat.shape[:-1], self.components, self.levels)
        padded = np.zeros(shape, dtype=np.bool_) if out is None else out
        padded.reshape(*flat.shape[:-1], -1)[..., self.flat_to_padded] = flat != 0
        return padded


def masked_log_probs(logits: Tensor, mask: Tensor) -> Tensor:
    """Log-probability of each level, [..., C, L]; masked levels get probability 0.

    Args:
        logits: [..., C, L].
        mask: bool [..., C, L], at least one True per component.
    """
    return logits.masked_fill(~mask, MASKED_LOGIT).log_softmax(dim=-1)


def log_prob(log_probs: Tensor, actions: Tensor) -> Tensor:
    """Log-probability of the chosen level of each component, [..., C]."""
    return log_probs.gather(-1, actions.unsqueeze(-1)).squeeze(-1)


def entropy(log_probs: Tensor) -> Tensor:
    """Entropy of each component in nats, [..., C]."""
    return -(log_probs.exp() * log_probs).sum(dim=-1)


def sample(log_probs: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """One level per component, [..., C], by the Gumbel-max trick in its exponential-race form."""
    race = torch.empty_like(log_probs).exponential_(generator=generator)
    return (log_probs.exp() / race).argmax(dim=-1)
