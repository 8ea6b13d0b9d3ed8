"""The start: policies imitate a heuristic, so that learning begins near its score instead of near zero.

Behaviour cloning with data aggregation (Ross et al. 2011): in the first round the heuristic acts, with some of its
levels moved to a neighbour so that states off its path are seen too; in later rounds the policies act and the
heuristic says what it would have done. The target puts some probability on the levels next to the heuristic's: with
about 35 components per hub, exploration that is not local loses the score at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fabmesh.agents.learning.batch import Batch
from fabmesh.agents.learning.config import ImitationConfig
from fabmesh.agents.learning.policy import kernels as fused
from fabmesh.agents.learning.policy.networks import RolePolicy, choose_levels
from fabmesh.agents.policy import Policy

MINIBATCH = 512  # agents' days


def smoothed_targets(labels: Tensor, mask: Tensor, smoothing: float) -> Tensor:
    """Target probabilities [..., C, L]: 1 - smoothing on the label, the rest shared by its legal neighbours.

    Args:
        labels: int64 [..., C].
        mask: bool [..., C, L].
        smoothing: Probability put on neighbours; stays on the label where no neighbour is legal. A component whose
            label is masked gets zeros: nothing can be learned there.
    """
    one_hot = torch.nn.functional.one_hot(labels, mask.shape[-1]).to(torch.float32) * mask
    neighbours = torch.zeros_like(one_hot)
    neighbours[..., 1:] += one_hot[..., :-1]
    neighbours[..., :-1] += one_hot[..., 1:]
    neighbours *= mask
    count = neighbours.sum(dim=-1, keepdim=True)
    spread = smoothing * (count > 0).to(torch.float32)
    return (1.0 - spread) * one_hot + spread * neighbours / count.clamp(min=1.0)


def move_to_neighbours(
    levels: NDArray[np.int64], mask: NDArray[np.bool_], share: float, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Move a share of the components one level up or down, where the mask allows it."""
    moved = levels + rng.choice(np.array([-1, 1]), size=levels.shape)
    moved = np.clip(moved, 0, mask.shape[-1] - 1)
    legal = np.take_along_axis(mask, moved[..., None], axis=-1)[..., 0]
    return np.where(legal & (rng.random(levels.shape) < share), moved, levels)


class _Shown:
    """What the heuristic has shown of one role so far."""

    def __init__(self) -> None:
        self.obs: list[Tensor] = []  # [B, A, F] each
        self.mask: list[Tensor] = []  # bool [B, A, C, L] each
        self.labels: list[Tensor] = []  # int64 [B, A, C] each

    def tensors(self) -> tuple[Tensor, Tensor, Tensor]:
        """Everything, one row per agent and day."""
        return (
            torch.cat(self.obs).flatten(0, 1),
            torch.cat(self.mask).flatten(0, 1),
            torch.cat(self.labels).flatten(0, 1),
        )


def imitate(
    batch: Batch,
    teacher: Policy,
    policies: Mapping[str, RolePolicy],
    config: ImitationConfig,
    seeds: Sequence[int],
    seed: int,
    progress: Callable[[str], None] = lambda _: None,
    out_of_time: Callable[[], bool] = lambda: False,
) -> dict[str, float]:
    """Train the policies to do what the teacher does.

    Args:
        batch: Worlds to watch it in; reset here.
        teacher: Reads observations only, as the policies do.
        policies: Role -> policy, changed in place.
        config: How much is shown and learned.
        seeds: World of each copy.
        seed: Seed of noise and minibatches.
        progress: Told in words what is going on.
        out_of_time: Asked each day and each minibatch; once true, imitation ends where it is.

    Returns:
        Share of the teacher's levels the policies find most likely, per role, on the last round's data.
    """
    rng = np.random.default_rng(seed)
    generator = torch.Generator().manual_seed(seed)
    shown = {role: _Shown() for role in policies}
    optimisers = {
        role: torch.optim.Adam(policy.parameters(), lr=config.imitation_learning_rate)
        for role, policy in policies.items()
    }
    agents = {role: len(batch.spec[role].agents) for role in batch.roles}
    # as many steps for every role: a lone depot shows a twelfth of what twelve hubs do
    minibatch = {role: max(1, MINIBATCH * agents[role] // max(agents.values())) for role in policies}
    steps = config.imitation_rounds * config.imitation_epochs
    agreement: dict[str, float] = {}
    for round_number in range(config.imitation_rounds):
        this_round = f"round {round_number + 1} of {config.imitation_rounds}"
        progress(f"{this_round}: {config.imitation_days} days are shown")
        _watch(batch, teacher, policies, config, seeds, round_number, shown, rng, generator, out_of_time)
        for role, policy in policies.items():
            policy.calibrate(shown[role].tensors()[0])
        for epoch in range(config.imitation_epochs):
            done = (round_number * config.imitation_epochs + epoch) / steps
            for role, policy in policies.items():
                optimisers[role].param_groups[0]["lr"] = config.imitation_learning_rate * (1.0 - 0.9 * done)
                agreement[role] = _learn(
                    policy, optimisers[role], shown[role], minibatch[role], config.smoothing, generator, out_of_time
                )
            if out_of_time():
                progress(f"{this_round}: no time is left, after {epoch + 1} of {config.imitation_epochs} passes")
                return agreement
        found = ", ".join(f"{role} {share:.1%}" for role, share in agreement.items())
        progress(f"{this_round}: teacher's level most likely: {found}")
    return agreement


def _watch(
    batch: Batch,
    teacher: Policy,
    policies: Mapping[str, RolePolicy],
    config: ImitationConfig,
    seeds: Sequence[int],
    round_number: int,
    shown: dict[str, _Shown],
    rng: np.random.Generator,
    generator: torch.Generator,
    out_of_time: Callable[[], bool],
) -> None:
    """Step the batch and keep what was seen and what the teacher would do, of one day at least."""
    obs, info = batch.reset(seed=seeds)
    teacher.reset(batch.num_envs, int(rng.integers(2**31)))
    for _ in range(config.imitation_days):
        wanted = teacher.act(obs, info["action_mask"])
        actions: dict[str, NDArray[Any]] = {}
        for role, policy in policies.items():
            mask = policy.layout.pad_mask(info["action_mask"][role])
            seen = torch.from_numpy(obs[role].copy())
            shown[role].obs.append(seen)
            shown[role].mask.append(torch.from_numpy(mask))
            shown[role].labels.append(torch.from_numpy(wanted[role].astype(np.int64)))
            if round_number == 0:
                actions[role] = move_to_neighbours(wanted[role], mask, config.imitation_noise, rng)
            else:
                # a wide bell is there for exploration: states are seen where the policy, as it is judged, leads
                actions[role] = choose_levels(policy, seen, mask, None if policy.spread > 0.0 else generator)
        if out_of_time():
            return
        obs, _, _, _, info = batch.step(actions)


def _learn(
    policy: RolePolicy,
    optimiser: torch.optim.Optimizer,
    shown: _Shown,
    minibatch: int,
    smoothing: float,
    generator: torch.Generator,
    out_of_time: Callable[[], bool],
) -> float:
    """One pass of cross-entropy over what was shown; returns the share of levels on which teacher and mode agree."""
    obs, mask, labels = shown.tensors()
    agents = shown.obs[0].shape[1]
    agreed = decided = 0.0
    for index in torch.split(torch.randperm(len(obs), generator=generator), minibatch):
        seen, legal, wanted = (part.index_select(0, index) for part in (obs, mask, labels))
        logits = policy.rows(seen, index % agents)
        loss, right, choices = fused.ImitationLoss.apply(
            logits, legal, wanted, smoothing, policy.numeric, policy.spread
        )  # type: ignore[no-untyped-call]  # torch's apply
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        agreed += right
        decided += choices
        if out_of_time():
            break
    return agreed / max(decided, 1.0)
