"""Returns and advantages: generalised advantage estimation, the same-seed group baseline, value normalisation."""

from __future__ import annotations

import torch
from scipy.stats import norm, rankdata
from torch import Tensor


def gae(
    rewards: Tensor, values: Tensor, next_values: Tensor, ended: Tensor, gamma: float, lam: float
) -> tuple[Tensor, Tensor]:
    """Generalised advantage estimation (Schulman et al. 2016, equation 16), first axis the day.

    Episodes end by truncation only: the network goes on after the last day, so the value of the state that was
    reached counts there as on any other day, and only the sum over later advantages is cut.

    Args:
        rewards: [T, ...], reward of the day.
        values: [T, ...], value of the state the day started from.
        next_values: [T, ...], value of the state the day led to; where an episode ended, of its *final* state and
            not of the first state of the next episode.
        ended: bool [T, ...], True where the episode ended with the day.
        gamma: Discount per day.
        lam: Decay of the estimator, 0 = one-step, 1 = Monte Carlo.

    Returns:
        Advantages and value targets (advantages + values), both [T, ...].
    """
    advantages = torch.zeros_like(rewards)
    running = torch.zeros_like(rewards[0])
    errors = rewards + gamma * next_values - values
    decay = gamma * lam * (~ended).to(rewards.dtype)
    for day in range(rewards.shape[0] - 1, -1, -1):
        running = errors[day] + decay[day] * running
        advantages[day] = running
    return advantages, advantages + values


def subtract_group_mean(advantages: Tensor, group: int) -> Tensor:
    """Advantages [T, B, ...] less the mean, per day, of the copies that face the same world.

    Copies lie group after group: copies 0 .. group-1 share the first seed. The randomness of the world does not depend
    on actions, so what all copies of a world have in common on a day is no news about anyone's actions, and a baseline
    that knows the tape leaves the policy gradient unbiased (input-driven baselines, Mao et al. 2019).
    """
    if group == 1:
        return advantages
    days, copies = advantages.shape[:2]
    grouped = advantages.reshape(days, copies // group, group, *advantages.shape[2:])
    return (grouped - grouped.mean(dim=2, keepdim=True)).reshape(advantages.shape)


def group_ranks(advantages: Tensor, group: int) -> Tensor:
    """Normal scores [T, B, ...] of the ranks of advantages among the copies that face the same world, per day.

    The k-th lowest of n counts as the standard normal's quantile at (k - 1/2) / n; equal ones share their mean rank.
    Costs within a group have heavy tails: a copy in trouble would else outweigh the rest of its group, and a group in a
    rough world all the others (fitness shaping, Wierstra et al. 2014).
    """
    days, copies = advantages.shape[:2]
    grouped = advantages.reshape(days, copies // group, group, *advantages.shape[2:])
    ranks = rankdata(grouped.numpy(), axis=2)
    return torch.from_numpy(norm.ppf((ranks - 0.5) / group)).to(advantages).reshape(advantages.shape)
