"""Collects what the batch of worlds does under the policies, into preallocated tensors on the CPU.

Shapes: T days, B copies, A agents of a role, F features, C components, L levels, S numbers of state.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fabmesh.agents.learning.algorithms.difference import DifferenceRewards
from fabmesh.agents.learning.algorithms.tape import WorldTape
from fabmesh.agents.learning.batch import Batch, RoleSpec, books_of_ended, team_weight
from fabmesh.agents.learning.config import RolloutConfig
from fabmesh.agents.learning.policy import kernels as fused
from fabmesh.agents.learning.policy.networks import Critic, RolePolicy
from fabmesh.envs.network.books.restored import require_layout, require_numbers

INVENTORY = "inventory_eur_days"
"""Event that counts the value of stock, day by day."""
GOALS = {
    "lost": ("lost",),
    "supply": ("order_cost", "supplier_freight", "first_mile_freight", "deadstock"),
}
"""Parts of the network cost that may count more than themselves in what is learned, and their ledger lines.

`supply` is the mission cost without the last mile, which follows from what is sold."""

COPIES_TOGETHER = 128
"""Copies whose actions one thread draws at a time on the CPU. A fixed number, since products of other sizes round
otherwise: results do not depend on the threads."""

FOR_GOOD = 1000.0
"""Mean days from which on a draw of exploration counts as kept for the whole episode."""


class RoleBuffer:
    """One role's part of a rollout; slot T of `obs` and `mask` is where the next rollout starts.

    Attributes:
        obs: float32 [T+1, B, A, F].
        mask: bool [T+1, B, A, C, L].
        actions: int64 [T, B, A, C].
        log_probs: float32 [T, B, A, C], of the chosen levels when they were chosen.
        rewards: float32 [T, B, A].
        own: float32 [B, A, C, K], standard normal weights of the features that each component's noise is linear in.
        common: float32 [B, 1, blocks, K], those its block of components has in common with all agents of the role.
    """

    def __init__(self, days: int, copies: int, spec: RoleSpec, policy: RolePolicy) -> None:
        components, levels = policy.layout.components, policy.layout.levels
        width = 1 if policy.residual is None else policy.residual.width
        agents, features = len(spec.agents), spec.num_features
        self.obs = torch.zeros(days + 1, copies, agents, features)
        self.mask = torch.zeros(days + 1, copies, agents, components, levels, dtype=torch.bool)
        self.actions = torch.zeros(days, copies, agents, components, dtype=torch.int64)
        self.log_probs = torch.zeros(days, copies, agents, components)
        self.rewards = torch.zeros(days, copies, agents)
        self.own = torch.zeros(copies, agents, components, width)
        self.common = torch.zeros(copies, 1, len(spec.components), width)


class Collector:
    """Steps the batch under the policies, iteration after iteration; episodes run on across iterations.

    Args:
        batch: The worlds, already reset by `start` or put in place by `load_state`.
        policies: Role -> policy.
        config: Size of a rollout.
        generator: Source of all exploration.
        tape: What lies ahead of the worlds, for a central critic that reads it.
        difference: Works out the rewards learned from, in place of the batch's.
        pool: Threads that draw actions, part by part of the copies; None: the calling one.

    Attributes:
        roles: Role -> buffers.
        states: float32 [T+1, B, S], input of a central critic, the tape's features last.
        ended: bool [T, B], True where an episode ended with the day.
        stock: float64 [T+1, B], EUR, value of all stock after each day (slot 0: before the first), where it is counted.
        begins: bool [T+1, B], True where a day is the first of an episode.
        costs: float64 [T, B], EUR, network cost of the day.
        goals: float64 [T, B, goals], EUR, the parts of it that are named in `GOALS`.
        team: True where every agent gets the same reward.
        settlements: float64 [T, B], EUR, settlement of the episodes that ended with the day, else 0.
        finals: For each day on which episodes ended: the day, the copies, their final observations and states.
        episodes: For each such day: ledgers, events and settlements of the episodes that ended, if the batch has them.
    """

    def __init__(
        self,
        batch: Batch,
        policies: Mapping[str, RolePolicy],
        config: RolloutConfig,
        generator: torch.Generator,
        tape: WorldTape | None = None,
        difference: DifferenceRewards | None = None,
        pool: ThreadPoolExecutor | None = None,
    ) -> None:
        self.batch, self.policies, self.config, self.generator = batch, policies, config, generator
        self.tape, self.difference = tape, difference
        days, copies = config.days, batch.num_envs
        self._pool = pool
        self._plain_state = batch.state_space.shape[0]
        self.roles = {role: RoleBuffer(days, copies, batch.spec[role], policies[role]) for role in batch.roles}
        self.states = torch.zeros(days + 1, copies, self._plain_state + (0 if tape is None else tape.size))
        self.ended = torch.zeros(days, copies, dtype=torch.bool)
        self.stock = torch.zeros(days + 1, copies, dtype=torch.float64)
        self.begins = torch.ones(days + 1, copies, dtype=torch.bool)
        self.costs = torch.zeros(days, copies, dtype=torch.float64)
        self.goals = torch.zeros(days, copies, len(GOALS), dtype=torch.float64)
        self.settlements = torch.zeros(days, copies, dtype=torch.float64)
        self._team_weight = team_weight(batch)
        self.team = self._team_weight == 1.0 and difference is None
        self._inventory = self._inventory_column()
        names = list(getattr(batch, "ledger_lines", ()))
        self._goal_columns = [[names.index(line) for line in lines] for lines in GOALS.values()] if names else []
        self.finals: list[tuple[int, NDArray[np.int64], dict[str, Tensor], Tensor]] = []
        self.episodes: list[dict[str, NDArray[np.float64]]] = []

    def start(self, seeds: Sequence[int]) -> None:
        """Begin the first episodes, copy i in the world of `seeds[i]`."""
        obs, info = self.batch.reset(seed=seeds)
        self._store(self.config.days, obs, info)
        self.begins[self.config.days] = True

    @torch.no_grad()
    def collect(self) -> None:
        """Fill the buffers with the next `days` days of every copy."""
        days = self.config.days
        for buffer in self.roles.values():
            buffer.obs[0].copy_(buffer.obs[days])
            buffer.mask[0].copy_(buffer.mask[days])
        self.states[0].copy_(self.states[days])
        self.stock[0].copy_(self.stock[days])
        self.begins[0].copy_(self.begins[days])
        if self.config.branch and self.config.group > 1:
            self._branch()
        self.finals.clear()
        self.settlements.zero_()
        self.episodes.clear()
        if self.difference is not None:
            self.difference.begin(self.begins[0].numpy())
        for day in range(days):
            chosen = self._act(day)
            before, spent = self._stock_days(), self._goal_costs()
            obs, reward, _, truncated, info = self.batch.step(chosen)
            self._count_stock(day, before, info)
            self._keep_rewards(day, reward, info)
            self._count_goals(day, spent, info)
            self.ended[day].copy_(torch.from_numpy(np.asarray(truncated)))
            self.begins[day + 1].copy_(self.ended[day])
            if info["_final"].any():
                self._finish(day, info)
            self._store(day + 1, obs, info)

    def _act(self, day: int) -> dict[str, NDArray[np.int64]]:
        """Draw and keep the actions of a day.

        A level is the inverse of its distribution function at a uniform number. Each number lasts `persistence` days
        on average, so a copy stays for a while with, say, lower covers than its group: the effect of an order level
        on freight and deadstock shows only if it is kept. A share `correlation` of its variance (before the normal
        distribution function makes it uniform) is common to a block of components and to all agents of the role, so
        that a copy as a whole stands for lower covers, and its advantage says whether they are good. Each component
        follows the policy on each day all the same (exploration correlated in time, as in Eberhard et al. 2023,
        "Pink noise is all you need", and by a Gaussian copula between components).
        """
        for buffer in self.roles.values():
            for noise in (buffer.own, buffer.common):
                self._renew(noise, self.begins[day])
        copies = self.batch.num_envs
        together = COPIES_TOGETHER if self._on_cpu else copies
        parts = [slice(first, first + together) for first in range(0, copies, together)]
        draw = partial(self._draw, day)
        pool = self._pool if len(parts) > 1 else None
        for _ in map(draw, parts) if pool is None else pool.map(draw, parts):
            pass
        return {role: buffer.actions[day].numpy() for role, buffer in self.roles.items()}

    def _draw(self, day: int, part: slice) -> None:
        """Draw and keep the actions of some of the copies."""
        for role, buffer in self.roles.items():
            logits, normal = self.policies[role].explore(
                buffer.obs[day, part], buffer.own[part], buffer.common[part], self.config.correlation
            )
            fused.sample_levels(
                logits.flatten(0, 1).cpu().numpy(),
                buffer.mask[day, part].flatten(0, 1).numpy(),
                torch.special.ndtr(normal).flatten(0, 1).numpy(),
                buffer.actions[day, part].flatten(0, 1).numpy(),
                buffer.log_probs[day, part].flatten(0, 1).numpy(),
            )

    @property
    def _on_cpu(self) -> bool:
        return all(next(policy.parameters()).device.type == "cpu" for policy in self.policies.values())

    def _renew(self, noise: Tensor, begins: Tensor) -> None:
        """Draw noise [B, ...] again: all of it where an episode begins, else each number with its chance."""
        shape, group = noise.shape, self.config.group
        drawn = (shape[0] // group, group // 2, *shape[1:]) if self.config.antithetic else shape
        lasts = self.config.persistence
        if not bool(begins.any()) and lasts >= FOR_GOOD:
            return
        fresh = torch.randn(drawn, generator=self.generator)
        changed = torch.rand(drawn, generator=self.generator) * lasts < 1.0
        if self.config.antithetic:
            fresh, changed = torch.cat((fresh, -fresh), dim=1), torch.cat((changed, changed), dim=1)
        changed = changed.reshape(shape) | begins.reshape(-1, *[1] * (len(shape) - 1))
        torch.where(changed, fresh.reshape(shape), noise, out=noise)

    def _keep_rewards(self, day: int, reward: Mapping[str, NDArray[np.float32]], info: Mapping[str, Any]) -> None:
        """Every agent's reward of a day: the batch's, or worked out from the ledger."""
        buffers = list(self.roles.values())
        if self.difference is None:
            found = [torch.from_numpy(reward[role]) for role in self.roles]
        else:
            agents = [buffer.rewards.shape[2] for buffer in buffers]
            found = list(torch.split(torch.from_numpy(self.difference.of_day(info)), agents, dim=1))
        for buffer, part in zip(buffers, found, strict=True):
            buffer.rewards[day].copy_(part)

    def _store(self, slot: int, obs: Mapping[str, NDArray[np.float32]], info: Mapping[str, Any]) -> None:
        """Copy what the batch shows into a slot: its arrays are overwritten by the next step."""
        for role, buffer in self.roles.items():
            buffer.obs[slot].copy_(torch.from_numpy(obs[role]))
            self.policies[role].layout.pad_mask(info["action_mask"][role], out=buffer.mask[slot].numpy())
        self.states[slot, :, : self._plain_state].copy_(torch.from_numpy(self.batch.state()))
        if self.tape is not None:
            self.states[slot, :, self._plain_state :].copy_(torch.from_numpy(self.tape.ahead()))

    def _finish(self, day: int, info: Mapping[str, Any]) -> None:
        """Keep the final observations, states and books of the episodes that end."""
        copies = np.flatnonzero(info["_final"])
        observations = {role: torch.from_numpy(info["final_obs"][role][copies].copy()) for role in self.roles}
        state = info["final_state"][copies]
        if self.tape is not None:
            state = np.concatenate((state, self.tape.at_end(copies)), axis=1)
        self.finals.append((day, copies, observations, torch.from_numpy(state.copy())))
        books = books_of_ended(info)
        if books:
            self.settlements[day, copies] = torch.from_numpy(books["settlement"])
            self.episodes.append(books)

    def _inventory_column(self) -> int | None:
        names = getattr(self.batch, "event_names", ())
        return list(names).index(INVENTORY) if INVENTORY in names else None

    def _stock_days(self) -> NDArray[np.float64]:
        """EUR x days of stock held so far in the episode, [B]."""
        if self._inventory is None:
            return np.zeros(self.batch.num_envs)
        return np.array(cast(Any, self.batch).events[:, self._inventory])

    def _count_stock(self, day: int, before: NDArray[np.float64], info: Mapping[str, Any]) -> None:
        """Value of stock after a day, and the day's cost."""
        if self._inventory is None:
            return
        after = self._stock_days()
        ended = info["_final"]
        if ended.any():
            after = np.where(ended, info["final_events"][:, self._inventory], after)
        self.stock[day + 1].copy_(torch.from_numpy(after - before))
        self.costs[day].copy_(torch.from_numpy(info["cost"]))

    def _goal_costs(self) -> NDArray[np.float64]:
        """EUR so far in the episode of each goal, [B, goals]; [B, 0] without a ledger."""
        return self._by_goal(cast(Any, self.batch).ledger) if self._goal_columns else np.zeros((self.batch.num_envs, 0))

    def _by_goal(self, ledger: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sums [B, goals] of ledgers [B, nodes, lines]."""
        lines = ledger.sum(axis=1)
        return np.stack([lines[:, columns].sum(axis=1) for columns in self._goal_columns], axis=1)

    def _count_goals(self, day: int, before: NDArray[np.float64], info: Mapping[str, Any]) -> None:
        """What a day has cost of each goal."""
        if not self._goal_columns:
            return
        after, ended = self._goal_costs(), info["_final"]
        if ended.any():
            after = np.where(ended[:, None], self._by_goal(info["final_ledger"]), after)
        self.goals[day].copy_(torch.from_numpy(after - before))

    def goal_charges(self, weights: Sequence[float]) -> Tensor:
        """Reward [T, B] of counting each goal so many times more than it is in the network's cost."""
        if not any(weights):
            return torch.zeros(self.ended.shape)
        extra = (self.goals * torch.tensor(weights, dtype=torch.float64)).sum(dim=-1)
        return (-self._reward_per_eur() * extra).float()

    def _reward_per_eur(self) -> float:
        """Reward of an agent for one EUR less of network cost that is on no agent's own account."""
        if self.difference is not None:
            return self.difference.per_eur
        if self.team:
            return float(self.team_rewards().sum()) / float(-self.costs.sum())
        batch = cast(Any, self.batch)
        return self._team_weight / float(batch.num_agents * batch.reward_scale_eur)

    def settle(self, following: Tensor) -> Tensor:
        """Values [T, B, ...] of the states reached, with the settlement in their place where episodes ended."""
        charged = (-self._reward_per_eur() * self.settlements).float()
        shape = (*charged.shape, *[1] * (following.dim() - 2))
        return torch.where(self.ended.reshape(shape), charged.reshape(shape), following)

    def stock_charges(self, share: float, gamma: float) -> Tensor:
        """Reward [T, B] of charging a share of the value of stock when it comes in and giving it back when it goes.

        Potential-based shaping (Ng et al. 1999) with the potential -share x value: the best policy stays the same, but
        that stock bought today may be deadstock in two months is felt today, before any critic has learned it.
        """
        if self._inventory is None or share == 0.0:
            return torch.zeros(self.ended.shape)
        change = gamma * self.stock[1:] - self.stock[:-1]
        return (
            (-share * self._reward_per_eur() * change).masked_fill(self.begins[:-1], 0.0).float()
        )  # there: another world's stock

    def _branch(self) -> None:
        """Put all copies of each group into the state of one of them, drawn at random.

        From there their worlds and states are equal and only their actions differ, so the group's mean advantage is
        a baseline for the state itself.
        """
        group, copies = self.config.group, self.batch.num_envs
        leader = torch.randint(group, (copies // group,), generator=self.generator)
        parents = (torch.arange(copies // group) * group + leader).repeat_interleave(group)
        index = parents.numpy()
        saved = self.batch.save_state()
        self.batch.load_state({key: value[index] if len(value) == copies else value for key, value in saved.items()})
        for buffer in self.roles.values():
            buffer.obs[0].copy_(buffer.obs[0][parents])
            buffer.mask[0].copy_(buffer.mask[0][parents])
        for part in (self.states, self.stock, self.begins):
            part[0].copy_(part[0][parents])

    def team_rewards(self) -> Tensor:
        """Mean reward of the agents, [T, B]: in the team game the number every agent gets."""
        return self.all_rewards().mean(dim=2)

    def all_rewards(self) -> Tensor:
        """Reward of every agent, role after role, [T, B, agents]."""
        return torch.cat([buffer.rewards for buffer in self.roles.values()], dim=2)

    def central_values(self, critic: Critic) -> tuple[Tensor, Tensor]:
        """Values of the states the days started from and led to, both [T, B]; [T, B, agents] where rewards differ."""
        values = critic.value(self.states)
        following = values[1:].clone()
        for day, copies, _, state in self.finals:
            following[day, copies] = critic.value(state)
        return values[:-1], following

    def local_values(self, role: str, critic: Critic) -> tuple[Tensor, Tensor]:
        """The same per agent of a role, from its own observation, both [T, B, A]."""
        values = critic.value(self.roles[role].obs)
        following = values[1:].clone()
        for day, copies, obs, _ in self.finals:
            following[day, copies] = critic.value(obs[role])
        return values[:-1], following

    def save(self) -> dict[str, NDArray[Any]]:
        """What goes on from one rollout to the next: the worlds and the draws that last.

        Where all copies stand at the first day of an episode, the names of their worlds say everything.
        """
        if bool(self.begins[self.config.days].all()):
            return {"seeds": np.array(self.batch.seeds)}
        saved = {f"world.{key}": value for key, value in self.batch.save_state().items()}
        return saved | {name: part.numpy() for name, part in self._lasting().items()}

    def _lasting(self) -> dict[str, Tensor]:
        """The draws that last, and what the next rollout takes over from the last day of this one."""
        lasting = {name: getattr(self, name)[self.config.days] for name in ("stock", "begins")}
        for role, buffer in self.roles.items():
            lasting |= {f"own.{role}": buffer.own, f"common.{role}": buffer.common}
        return lasting

    def load(self, saved: Mapping[str, NDArray[Any]]) -> None:
        """Put back what `save` gave.

        Raises:
            ValueError: If that cannot be.
        """
        if "seeds" in saved:
            require_layout(saved, {"seeds": self.batch.seeds})
            self.start(saved["seeds"].tolist())
            return
        lasting = self._lasting()
        require_layout(saved, {name: part.numpy() for name, part in lasting.items()})
        for name in lasting:
            require_numbers(name, saved[name])
        prefix = "world."
        self.batch.load_state({key.removeprefix(prefix): saved[key] for key in saved if key.startswith(prefix)})
        for name, part in lasting.items():
            part.copy_(torch.from_numpy(saved[name]))
        obs, masks = self.batch.last_shown()
        self._store(self.config.days, obs, {"action_mask": masks})
