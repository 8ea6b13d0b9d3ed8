"""A correction of a policy's levels that is linear in what an agent sees of the thing decided about.

A network that has imitated a heuristic has tens of thousands of weights; an episode's return says little about each.
The correction has a few per component, its exploration lives in the same few dimensions, and each episode tries one
draw of them: parameter-space exploration (Sehnke et al. 2010), in the form of gSDE (Raffin et al. 2021), where the
noise of an action is linear in features of the state and keeps its weights for an episode.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fabmesh.agents.learning.batch import RoleSpec
from fabmesh.agents.learning.policy import kernels as fused

CLIP = 3.0  # standard deviations to which a feature is clipped


class Residual(nn.Module):
    """Shift of each component's level, [..., A, C], in levels; zero before any learning.

    Each component has a constant and the features of the item it is about (a material's stock, a lane's load), then the
    agent's features that are about nothing in particular (labour load, season). A weight is the sum of three: of the
    block, of the item, and of the agent's own; what all have in common is thus learned from all.

    Args:
        spec: Layout of the role.
        columns: Per component, the columns of its item's features.
        general: Columns of features that every component may read.
        share: Share of the variance of exploration that follows the features; the rest is constant.
        agents: Give each agent weights of its own.

    Attributes:
        mean: float32 [F], subtracted from an observation.
        scale: float32 [F], what it is then multiplied by; 0 for a feature that does not vary.
    """

    columns: Tensor
    weight: Tensor
    block: Tensor
    mean: Tensor
    scale: Tensor

    def __init__(
        self, spec: RoleSpec, columns: Sequence[Sequence[int]], general: Sequence[int], share: float, agents: bool
    ) -> None:
        super().__init__()
        rows = [[*own, *general] for own in columns]
        width = max(len(row) for row in rows) if share > 0.0 else 0
        padded = [[*row[:width], *[spec.num_features] * (width - len(row))] for row in rows]
        weight = torch.tensor(
            [[(share / len(row)) ** 0.5 if i < len(row) else 0.0 for i in range(width)] for row in rows]
        )
        self.register_buffer("columns", torch.tensor(padded, dtype=torch.int64).reshape(len(rows), width))
        self.register_buffer("weight", weight.reshape(len(rows), width))
        counts = torch.tensor([block.count for block in spec.components])
        self.register_buffer("block", torch.repeat_interleave(counts))
        self.register_buffer("mean", torch.zeros(spec.num_features))
        self.register_buffer("scale", torch.ones(spec.num_features))
        self.constant = (1.0 - share) ** 0.5
        self.of_block = nn.Parameter(torch.zeros(len(spec.components), 1 + width))
        self.of_item = nn.Parameter(torch.zeros(len(rows), 1 + width))
        self.of_agent = nn.Parameter(torch.zeros(len(spec.agents), len(rows), 1 + width)) if agents else None

    @property
    def width(self) -> int:
        """Features of a component, the constant included."""
        return self.columns.shape[1] + 1

    @torch.no_grad()
    def calibrate(self, obs: Tensor) -> None:
        """Take mean and deviation of features from observations [N, F]."""
        self.mean.copy_(obs.mean(dim=0))
        deviation = obs.std(dim=0)
        self.scale.copy_(torch.where(deviation > 1e-3, 1.0 / deviation, 0.0))

    def standardised(self, obs: Tensor) -> Tensor:
        """Observations [..., F] of mean 0 and deviation 1, clipped."""
        return ((obs - self.mean) * self.scale).clamp_(-CLIP, CLIP)

    def features(self, obs: Tensor) -> Tensor:
        """What a component's shift is linear in, [..., C, K], of observations [..., F]; mean square about 1 in all."""
        seen = nn.functional.pad(self.standardised(obs), (0, 1))
        own = seen.index_select(-1, self.columns.flatten()).reshape(*obs.shape[:-1], *self.columns.shape) * self.weight
        return torch.cat((own.new_full((*own.shape[:-1], 1), self.constant), own), dim=-1)

    def weights(self) -> Tensor:
        """Weight of every feature, [A or 1, C, K]."""
        common = (self.of_block[self.block] + self.of_item).unsqueeze(0)
        return common if self.of_agent is None else common + self.of_agent

    def explore(self, obs: Tensor, own: Tensor, common: Tensor, correlation: float) -> tuple[Tensor, Tensor]:
        """Shift and noise [B, A, C] of observations [B, A, F]; weights of the noise as in `rollout.RoleBuffer`.

        Observations are where the weights are; what is drawn, and what comes back, is on the CPU.
        """
        shift, noise = torch.empty(own.shape[:3]), torch.empty(own.shape[:3])
        fused.shift_and_noise(
            self.standardised(obs).cpu().numpy(),
            self.columns.cpu().numpy(),
            self.weight.cpu().numpy(),
            self.constant,
            self.weights().detach().cpu().numpy(),
            own.numpy(),
            common.numpy(),
            self.block.cpu().numpy(),
            correlation,
            shift.numpy(),
            noise.numpy(),
        )
        return shift, noise

    def forward(self, obs: Tensor, agents: Tensor | None = None) -> Tensor:
        """Shift [..., A, C] of observations [..., A, F]; or [N, C] of single ones [N, F] with `agents` [N]."""
        weights = self.weights()
        if agents is not None and len(weights) > 1:
            weights = weights[agents]
        elif agents is not None:
            weights = weights.expand(len(obs), -1, -1)
        return (self.features(obs) * weights).sum(dim=-1)
