"""MAPPO and IPPO: one policy per role, clipped updates, critics central or local.

The two differ in the critic alone. MAPPO (Yu et al. 2022) values the state of the whole network, one number for the
team, or one for each agent where rewards differ between agents; IPPO (de Witt et al. 2020) values each agent's own
observation with one critic per role.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fabmesh.agents.learning.algorithms.returns import gae, group_ranks, subtract_group_mean
from fabmesh.agents.learning.algorithms.rollout import Collector
from fabmesh.agents.learning.batch import Batch, RoleSpec, team_weight
from fabmesh.agents.learning.config import ConfigError, PpoConfig, TrainConfig
from fabmesh.agents.learning.policy import kernels as fused
from fabmesh.agents.learning.policy.networks import Critic, RolePolicy
from fabmesh.agents.learning.run import checkpoint

CENTRAL = "central"
"""Name of MAPPO's critic; IPPO's are named after their roles."""

MIN_LEARNING_RATE, MAX_LEARNING_RATE = 1e-5, 3e-3
"""Bounds of the adaptive schedule."""

ROWS = 3072
"""Observations that pass a network together on the CPU: what lies between its layers, there and back, is then small."""
NUMBERS = 2**20
"""And numbers in them at most, so that threads can share out the wide states that a central critic reads."""

Metrics = dict[str, float]
Part = tuple[Tensor, float]
"""Days of a minibatch, int64 [n], and their share of it."""
Found = TypeVar("Found")


def make_policies(batch: Batch, config: TrainConfig) -> dict[str, RolePolicy]:
    """One policy per role, initialised from PyTorch's global generator."""
    return {role: RolePolicy(batch.spec[role], config.network) for role in batch.roles}


def entropy_weights(config: PpoConfig, spec: RoleSpec, role: str, progress: float) -> NDArray[np.float64]:
    """Weight of the entropy of each component, [C], at a share of the run that is over."""

    def at(start: float, end: float) -> float:
        return start + progress * (end - start)

    weights = np.full(len(spec.nvec), at(config.entropy, config.entropy_end))
    for block in spec.components:
        own = config.entropy_of.get(f"{role}.{block.name}")
        if own is not None:
            weights[block.start : block.start + block.count] = at(*own)
    return weights


def require_known_components(batch: Batch, config: PpoConfig) -> None:
    """Refuse weights of entropy for components that no agent has.

    Raises:
        ConfigError: With the names there are.
    """
    there = [f"{role}.{block.name}" for role in batch.roles for block in batch.spec[role].components]
    for name in config.entropy_of:
        if name not in there:
            raise ConfigError(
                f"entropy_of: no component is called {name!r}; there are {', '.join(there)}", "entropy_of"
            )


def make_critics(batch: Batch, config: TrainConfig, tape: int = 0) -> dict[str, Critic]:
    """The central critic of MAPPO, which also reads `tape` features of what lies ahead, or IPPO's of every role."""
    hidden = config.network.critic_hidden
    if config.algo == "mappo":
        team = team_weight(batch) == 1.0 and config.ppo.reward == "mixed"
        agents = None if team else sum(len(batch.spec[role].agents) for role in batch.roles)
        return {CENTRAL: Critic(batch.state_space.shape[0] + tape, hidden, agents)}
    return {role: Critic(batch.spec[role].num_features, hidden) for role in batch.roles}


class Learner:
    """Policies, critics and optimisers, and the update of both from a rollout.

    Args:
        policies: Role -> policy.
        critics: `CENTRAL` or role -> critic.
        config: The update.
        group: Copies that share a world.
        pool: Threads that work out the gradients of a minibatch's parts; None: the calling one.
    """

    def __init__(
        self,
        policies: Mapping[str, RolePolicy],
        critics: Mapping[str, Critic],
        config: PpoConfig,
        group: int,
        pool: ThreadPoolExecutor | None = None,
    ) -> None:
        self.policies, self.critics, self.config, self.group = dict(policies), dict(critics), config, group
        self._pool = pool
        self.policy_optimisers = {
            role: torch.optim.Adam(self._trained(policy), lr=self._rate, eps=1e-8) for role, policy in policies.items()
        }
        self.critic_optimisers = {
            name: torch.optim.Adam(critic.parameters(), lr=config.critic_learning_rate, eps=1e-5)
            for name, critic in critics.items()
        }

    @property
    def _rate(self) -> float:
        return self.config.residual_learning_rate or self.config.learning_rate

    def _trained(self, policy: RolePolicy) -> list[nn.Parameter]:
        """The parameters that updates move: the residual's alone, or all."""
        if self.config.residual_learning_rate == 0.0:
            return list(policy.parameters())
        return list(cast(nn.Module, policy.residual).parameters())

    @property
    def central(self) -> bool:
        """True for MAPPO."""
        return CENTRAL in self.critics

    def update(
        self, rollout: Collector, progress: float, generator: torch.Generator, move_policies: bool = True
    ) -> Metrics:
        """Learn from one rollout.

        Args:
            rollout: Just collected under the policies as they are.
            progress: Share of the run that is over, for the schedules.
            generator: Source of the minibatches.
            move_policies: False while only the critics warm up.

        Returns:
            Losses and diagnostics by name.
        """
        advantages, targets, metrics = self._estimate(rollout)
        days, copies = rollout.ended.shape
        weights = {
            role: entropy_weights(self.config, rollout.batch.spec[role], role, progress) for role in self.policies
        }
        if self.config.schedule == "linear":
            for optimiser in self.policy_optimisers.values():
                optimiser.param_groups[0]["lr"] = self._rate * (1.0 - 0.9 * progress)
        moving = list(self.policies) if move_policies else []  # in one order in every process
        records: dict[str, list[float]] = {}
        for epoch in range(self.config.epochs):
            divergence: dict[str, list[float]] = {role: [] for role in moving}
            order = torch.randperm(days * copies, generator=generator)[: math.ceil(self.config.share * days * copies)]
            for index in order.chunk(self.config.minibatches):
                for name in self.critics if self.config.baseline == "critic" else ():
                    loss = self._critic_step(name, rollout, targets[name], index)
                    records.setdefault(f"loss/value_{name}", []).append(loss)
                for role in moving:
                    found = self._policy_step(role, rollout, advantages[role], index, weights[role])
                    divergence[role].append(found[f"kl/{role}"])
                    for name, value in found.items():
                        records.setdefault(name, []).append(value)
            for role, values in divergence.items():
                last = sum(values) / len(values)
                metrics[f"kl/{role}_last_epoch"] = last
                metrics[f"update/epochs_{role}"] = epoch + 1.0
                if self.config.target_kl > 0 and last > self.config.target_kl:
                    moving.remove(role)
        if self.config.schedule == "adaptive" and move_policies:
            self._adapt(metrics)
        metrics |= {name: sum(values) / len(values) for name, values in records.items()}
        metrics |= {f"update/entropy_weight_{role}": float(weight.mean()) for role, weight in weights.items()}
        metrics |= {f"update/learning_rate_{r}": o.param_groups[0]["lr"] for r, o in self.policy_optimisers.items()}
        return metrics

    def _estimate(self, rollout: Collector) -> tuple[dict[str, Tensor], dict[str, Tensor], Metrics]:
        """Advantages per role [T*B, A], value targets per critic [T*B, ...], diagnostics; tracks the values' scale."""
        gamma, lam = self.config.gamma, self.config.gae_lambda
        advantages, targets, metrics = {}, {}, {}
        charges = rollout.stock_charges(self.config.stock_charge, gamma)
        charges = charges + rollout.goal_charges((self.config.lost_weight, self.config.supply_weight))
        for name, critic in self.critics.items():
            if self.central and rollout.team:
                rewards, ended = rollout.team_rewards() + charges, rollout.ended
            else:
                rewards = rollout.all_rewards() if self.central else rollout.roles[name].rewards
                rewards = rewards + charges.unsqueeze(-1)
                ended = rollout.ended.unsqueeze(-1).expand_as(rewards)
            if self.config.baseline == "group":
                values, following = torch.zeros_like(rewards), torch.zeros_like(rewards)
            elif self.central:
                values, following = rollout.central_values(critic)
            else:
                values, following = rollout.local_values(name, critic)
            if self.config.settlement:
                following = rollout.settle(following)
            advantage, target = gae(rewards, values, following, ended, gamma, lam)
            if self.config.credit == "episode":
                _require_whole_episodes(rollout.ended)
                advantage = advantage[:1].expand_as(advantage)
            residual = float((target - values).var())
            metrics[f"value/explained_variance_{name}"] = 1.0 - residual / max(float(target.var()), 1e-12)
            raw = float(advantage.std())
            advantage = subtract_group_mean(advantage, self.group)
            metrics[f"value/advantage_std_{name}"] = float(advantage.std())
            metrics[f"value/group_share_{name}"] = 1.0 - (float(advantage.std()) / max(raw, 1e-12)) ** 2
            if self.config.scores == "ranks":
                advantage = group_ranks(advantage, self.group)
            critic.head.update(target)
            targets[name] = critic.head.normalise(target).flatten(0, 1).float()
            if not self.central:
                advantages[name] = _standardised(advantage)
            elif rollout.team:
                for role, buffer in rollout.roles.items():
                    advantages[role] = _standardised(advantage).unsqueeze(-1).expand(-1, buffer.rewards.shape[2])
            else:
                agents = [buffer.rewards.shape[2] for buffer in rollout.roles.values()]
                for role, part in zip(rollout.roles, torch.split(advantage, agents, dim=-1), strict=True):
                    advantages[role] = _standardised(part)
        return advantages, targets, metrics

    def _critic_step(self, name: str, rollout: Collector, targets: Tensor, index: Tensor) -> float:
        """One step of a critic on normalised targets; returns the mean squared error."""
        features = rollout.states if self.central else rollout.roles[name].obs
        features, critic = features[:-1].flatten(0, 1), self.critics[name]

        def loss_of(part: Tensor) -> tuple[Tensor, float]:
            predicted = critic(features.index_select(0, part))
            loss = (predicted - targets[part].to(predicted.device)).square().mean()
            return loss, float(loss.detach())

        parts = list(_parts(index, features, critic))
        losses = self._differentiate(list(critic.parameters()), parts, loss_of)
        _descend(critic, self.critic_optimisers[name], self.config.max_grad_norm)
        return sum(share * loss for (_, share), loss in zip(parts, losses, strict=True))

    def _policy_step(
        self, role: str, rollout: Collector, advantages: Tensor, index: Tensor, entropy_weight: NDArray[np.float64]
    ) -> Metrics:
        """One step of a policy; returns its statistics."""
        buffer, policy = rollout.roles[role], self.policies[role]
        trained = self._trained(policy)
        policy.requires_grad_(self.config.residual_learning_rate == 0.0)
        for parameter in trained:
            parameter.requires_grad_(True)
        policy.zero_grad()  # what is not trained too: imitation has left gradients there
        obs, mask = buffer.obs[:-1].flatten(0, 1), buffer.mask[:-1].flatten(0, 1)
        actions, log_probs = buffer.actions.flatten(0, 1), buffer.log_probs.flatten(0, 1)
        statistics = torch.zeros(len(fused.STATISTICS), dtype=torch.float64)
        entropies = torch.zeros(len(entropy_weight), dtype=torch.float64)
        parts = list(_parts(index, obs, policy))

        def loss_of(part: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
            loss, of_part, entropies_of_part = fused.ClippedPolicyLoss.apply(  # type: ignore[no-untyped-call]  # torch's apply
                policy(obs.index_select(0, part)).flatten(0, 1),  # copies rows, unlike obs[part], which is slower
                mask.index_select(0, part).flatten(0, 1),
                actions.index_select(0, part).flatten(0, 1),
                log_probs.index_select(0, part).flatten(0, 1),
                advantages.index_select(0, part).flatten(),
                self.config.clip,
                entropy_weight,
                self.config.ratio == "joint",
            )
            return loss, (of_part, entropies_of_part)

        told = self._differentiate(trained, parts, loss_of)
        for (_, share), (of_part, entropies_of_part) in zip(parts, told, strict=True):
            statistics += share * of_part
            entropies += share * entropies_of_part
        norm = _descend(policy, self.policy_optimisers[role], self.config.max_grad_norm)
        found = dict(zip(fused.STATISTICS, statistics.tolist(), strict=True))
        metrics = {
            f"loss/policy_{role}": found["policy_loss"],
            f"kl/{role}": found["kl"],
            f"update/clip_fraction_{role}": found["clip_fraction"],
            f"update/gradient_norm_{role}": norm,
        }
        for block in rollout.batch.spec[role].components:
            part = entropies[block.start : block.start + block.count]
            metrics[f"entropy/{role}_{block.name}"] = float(part.mean())
        return metrics

    def _differentiate(
        self, trained: list[nn.Parameter], parts: list[Part], loss_of: Callable[[Tensor], tuple[Tensor, Found]]
    ) -> list[Found]:
        """Leave the gradient of the mean loss of a minibatch in the parameters; threads share its parts out.

        Args:
            trained: The parameters.
            parts: Of the minibatch; gradients are summed in their order, so results do not depend on threads.
            loss_of: Mean loss of a part, and what else is to be known of it.

        Returns:
            What else is to be known of each part.
        """

        def of_part(part: Part) -> tuple[tuple[Tensor | None, ...], Found]:
            loss, told = loss_of(part[0])
            return torch.autograd.grad(part[1] * loss, trained, allow_unused=True), told

        pool = self._pool if len(parts) > 1 else None
        found: Iterable[tuple[tuple[Tensor | None, ...], Found]]
        found = map(of_part, parts) if pool is None else pool.map(of_part, parts)
        for parameter in trained:
            parameter.grad = None
        told = []
        for gradients, of_this in found:
            told.append(of_this)
            for parameter, gradient in zip(trained, gradients, strict=True):
                if gradient is None:
                    continue
                if parameter.grad is None:
                    parameter.grad = gradient.clone()  # two parameters that are added may have been given one memory
                else:
                    parameter.grad += gradient
        return told

    def _adapt(self, metrics: Metrics) -> None:
        """Follow the target divergence with the step size, role by role."""
        target = self.config.target_kl
        for role, optimiser in self.policy_optimisers.items():
            rate, last = optimiser.param_groups[0]["lr"], metrics[f"kl/{role}_last_epoch"]
            if last > 2.0 * target:
                rate /= 1.5
            elif last < 0.5 * target:
                rate *= 1.5
            optimiser.param_groups[0]["lr"] = min(max(rate, MIN_LEARNING_RATE), MAX_LEARNING_RATE)

    def state_dict(self) -> dict[str, Any]:
        """Weights, normalisers and optimisers."""
        return {
            "critics": {name: critic.state_dict() for name, critic in self.critics.items()},
            "policy_optimisers": {role: o.state_dict() for role, o in self.policy_optimisers.items()},
            "critic_optimisers": {name: o.state_dict() for name, o in self.critic_optimisers.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put back what `state_dict` gave; the policies' weights are loaded on their own."""
        for name, critic in self.critics.items():
            critic.load_state_dict(state["critics"][name])
        for role, optimiser in self.policy_optimisers.items():
            checkpoint.restore_optimiser(optimiser, state["policy_optimisers"][role])
        for name, optimiser in self.critic_optimisers.items():
            checkpoint.restore_optimiser(optimiser, state["critic_optimisers"][name])


def _standardised(advantage: Tensor) -> Tensor:
    """Advantages [T, B, ...] of mean 0 and deviation 1, days and copies in one axis."""
    return ((advantage - advantage.mean()) / (advantage.std() + 1e-8)).flatten(0, 1)


def _require_whole_episodes(ended: Tensor) -> None:
    """Refuse rollouts [T, B] that are anything but one episode of each copy."""
    if not bool(ended[-1].all()) or bool(ended[:-1].any()):
        raise ConfigError(
            f"--credit episode: needs --days to be the episode of the scenario, not {len(ended)}", "credit"
        )


def _parts(index: Tensor, features: Tensor, network: nn.Module) -> Iterator[Part]:
    """The days of a minibatch in the parts whose gradients are added up, each with its share of the days.

    Args:
        index: int64 [n], the days of the minibatch.
        features: [T*B, S] or [T*B, A, F], what the network reads of every day.
        network: On the CPU it is given `ROWS` rows or `NUMBERS` features at a time, on a GPU the minibatch as it is.
    """
    days = len(index)
    if next(network.parameters()).device.type == "cpu":
        rows_of_a_day = features[0].numel() // features.shape[-1]
        days = max(1, min(ROWS // rows_of_a_day, NUMBERS // features[0].numel()))
    for part in torch.split(index, days):
        yield part, len(part) / len(index)


def _descend(module: nn.Module, optimiser: torch.optim.Optimizer, max_norm: float) -> float:
    """One optimiser step with clipped gradient; returns the norm before clipping."""
    norm = nn.utils.clip_grad_norm_(module.parameters(), max_norm)
    optimiser.step()
    return float(norm)
