"""Value normalisation: a critic's last layer on targets of unit scale, which follows their scale (PopArt)."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn


class PopArt(nn.Module):
    """Value head with normalised outputs and preserved predictions (van Hasselt et al. 2016, "Pop-Art").

    The network learns values of mean 0 and variance 1; mean and variance of the targets are tracked with a debiased
    exponential average. When they move, the last layer is rewritten so that its denormalised outputs stay the same.

    Attributes:
        mean: float64 [], tracked mean of the targets.
        mean_square: float64 [], tracked mean of their squares.
        weight_seen: float64 [], sum of the averaging weights so far, for the debiasing.
    """

    mean: Tensor
    mean_square: Tensor
    weight_seen: Tensor

    def __init__(self, in_features: int, outputs: int = 1, rate: float = 0.03) -> None:
        super().__init__()
        self.linear = nn.Linear(in_features, outputs)
        nn.init.zeros_(self.linear.bias)
        nn.init.orthogonal_(self.linear.weight, 0.01)
        self.rate = rate
        for name in ("mean", "mean_square", "weight_seen"):
            self.register_buffer(name, torch.zeros((), dtype=torch.float64))

    def location_scale(self) -> tuple[float, float]:
        """Mean and standard deviation of the targets seen so far; (0, 1) before any."""
        seen = float(self.weight_seen)
        if seen == 0.0:
            return 0.0, 1.0
        mean = float(self.mean) / seen
        variance = float(self.mean_square) / seen - mean * mean
        return mean, max(variance, 1e-8) ** 0.5

    def forward(self, hidden: Tensor) -> Tensor:
        """Normalised values."""
        return cast(Tensor, self.linear(hidden))

    def normalise(self, values: Tensor) -> Tensor:
        """Values in reward units to normalised ones."""
        mean, scale = self.location_scale()
        return (values - mean) / scale

    def denormalise(self, values: Tensor) -> Tensor:
        """Normalised values to reward units."""
        mean, scale = self.location_scale()
        return values * scale + mean

    @torch.no_grad()
    def update(self, targets: Tensor) -> None:
        """Track the targets of one iteration and rewrite the last layer so that predictions stay where they were."""
        old_mean, old_scale = self.location_scale()
        exact = targets.to(self.mean)  # as exact as the means, and where they are
        keep = 1.0 - self.rate
        self.mean.mul_(keep).add_(self.rate * exact.mean())
        self.mean_square.mul_(keep).add_(self.rate * exact.square().mean())
        self.weight_seen.mul_(keep).add_(self.rate)
        mean, scale = self.location_scale()
        self.linear.weight.mul_(old_scale / scale)
        self.linear.bias.mul_(old_scale).add_(old_mean - mean).div_(scale)
