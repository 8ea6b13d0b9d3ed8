"""Numba kernels for the two inner loops of learning: drawing actions, and the clipped policy loss with its gradient.

A hub has about 35 action components of up to 8 levels. Written as tensor operations, softmax, gather, ratio, clip and
entropy are some twenty passes over [N, C, L] arrays and take twice as long as the network itself; here one agent's
levels stay in the nearest cache, and their exponentials are worked out at once. `distribution` holds the same
mathematics as plain PyTorch; a test holds the two against each other.
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fabmesh.envs.network.compiler.kernel import entry

MASKED = np.float32(-200.0)
"""Log-weight of a masked level: finite, so that its product with the level's probability, 0, is 0."""

STATISTICS = ("policy_loss", "kl", "clip_fraction")


@partial(entry, fastmath={"contract"})
def _exp(x: np.float32) -> np.float32:
    """exp(x) for x <= 0 to 1e-7 of itself, without a branch or a call, so that vectors of it can be worked out.

    x = k log 2 + r, exp(r) by a polynomial of degree 7 (Moshier's Cephes, single precision); 0 below -87, nan of nan.
    """
    k = np.floor(x * np.float32(1.44269504) + np.float32(0.5))
    r = x - k * np.float32(0.693359375) - k * np.float32(-2.12194440e-4)
    p = np.float32(1.9875691500e-4)
    p = p * r + np.float32(1.3981999507e-3)
    p = p * r + np.float32(8.3334519073e-3)
    p = p * r + np.float32(4.1665795894e-2)
    p = p * r + np.float32(1.6666665459e-1)
    p = p * r + np.float32(5.0000001201e-1)
    power = np.int32((np.int32(k) + np.int32(127)) << np.int32(23)).view(np.float32)  # 2 to the k
    return np.float32(0.0) if x < np.float32(-87.0) else (p * (r * r) + r + np.float32(1.0)) * power


@entry
def _sample_levels(
    logits: NDArray[np.float32],
    mask: NDArray[np.bool_],
    uniforms: NDArray[np.float32],
    actions: NDArray[np.int64],
    log_probs: NDArray[np.float32],
    weight: NDArray[np.float32],
    all_weights: NDArray[np.float32],
) -> None:
    """`sample_levels`; scratch of one agent: `weight` [C, L], and the same memory as [C * L]."""
    count, components, levels = logits.shape
    for n in range(count):
        for c in range(components):
            top = np.float32(-np.inf)
            for level in range(levels):
                value = logits[n, c, level]
                top = value if mask[n, c, level] and value > top else top
            for level in range(levels):
                value = logits[n, c, level] - top
                weight[c, level] = value if mask[n, c, level] else MASKED
            log_probs[n, c] = top
        for i in range(components * levels):  # all at once: vector code
            all_weights[i] = _exp(all_weights[i])
        for c in range(components):
            total = np.float32(0.0)
            for level in range(levels):
                total += weight[c, level]
            threshold = uniforms[n, c] * total
            running = np.float32(0.0)
            chosen = 0
            for level in range(levels):
                if weight[c, level] > 0.0:
                    chosen = level
                    running += weight[c, level]
                    if running > threshold:
                        break
            actions[n, c] = chosen
            log_probs[n, c] = logits[n, c, chosen] - log_probs[n, c] - math.log(total)


def sample_levels(
    logits: NDArray[np.float32],
    mask: NDArray[np.bool_],
    uniforms: NDArray[np.float32],
    actions: NDArray[np.int64],
    log_probs: NDArray[np.float32],
) -> None:
    """Draw one legal level per component by inverting the distribution function at `uniforms`.

    Args:
        logits: [N, C, L].
        mask: [N, C, L].
        uniforms: [N, C], in [0, 1).
        actions: [N, C], written.
        log_probs: [N, C], written: log-probability of the drawn level.
    """
    weight = np.empty(logits.shape[1:], np.float32)
    _sample_levels(logits, mask, uniforms, actions, log_probs, weight, weight.ravel())


@entry
def shift_and_noise(
    seen: NDArray[np.float32],
    columns: NDArray[np.int64],
    weight: NDArray[np.float32],
    constant: float,
    weights: NDArray[np.float32],
    own: NDArray[np.float32],
    common: NDArray[np.float32],
    block: NDArray[np.int64],
    correlation: float,
    shift: NDArray[np.float32],
    noise: NDArray[np.float32],
) -> None:
    """The correction of each component's level and the standard normal its level is drawn with, linear in features.

    The features of a component are `constant` and `weight` times its columns of `seen`: `residual.Residual.features`.

    Args:
        seen: [B, A, F], standardised observations.
        columns: [C, k], columns of a component's features; F where it has fewer.
        weight: [C, k], scale of each.
        constant: Scale of the constant feature.
        weights: [A or 1, C, 1 + k], of the correction.
        own: [B, A, C, 1 + k], standard normal.
        common: [B, 1, blocks, 1 + k], standard normal.
        block: [C], block of each component.
        correlation: Share of the noise's variance that is common.
        shift: [B, A, C], written.
        noise: [B, A, C], written.
    """
    copies, agents, width = seen.shape
    alone, shared = math.sqrt(1.0 - correlation), math.sqrt(correlation)
    for b in range(copies):
        for a in range(agents):
            row = min(a, weights.shape[0] - 1)
            for c in range(columns.shape[0]):
                mean = constant * weights[row, c, 0]
                drawn = constant * (alone * own[b, a, c, 0] + shared * common[b, 0, block[c], 0])
                square = constant * constant
                for k in range(columns.shape[1]):
                    if columns[c, k] < width:
                        x = weight[c, k] * seen[b, a, columns[c, k]]
                        mean += x * weights[row, c, 1 + k]
                        drawn += x * (alone * own[b, a, c, 1 + k] + shared * common[b, 0, block[c], 1 + k])
                        square += x * x
                shift[b, a, c] = mean
                noise[b, a, c] = drawn / math.sqrt(square) if square > 0.0 else 0.0


@entry
def most_likely_levels(logits: NDArray[np.float32], mask: NDArray[np.bool_], actions: NDArray[np.int64]) -> None:
    """The mode: the legal level with the largest logit, the lowest of equals."""
    count, components, levels = logits.shape
    for n in range(count):
        for c in range(components):
            best = -1
            for level in range(levels):
                if mask[n, c, level] and (best < 0 or logits[n, c, level] > logits[n, c, best]):
                    best = level
            actions[n, c] = best


@partial(entry, fastmath={"reassoc", "contract"})
def _clipped_loss(
    logits: NDArray[np.float32],
    mask: NDArray[np.bool_],
    actions: NDArray[np.int64],
    old_log_probs: NDArray[np.float32],
    advantages: NDArray[np.float32],
    clip: float,
    entropy_weight: NDArray[np.float64],
    joint: bool,
    gradient: NDArray[np.float32],
    statistics: NDArray[np.float64],
    entropies: NDArray[np.float64],
    probability: NDArray[np.float32],
    surprise: NDArray[np.float32],
    all_probability: NDArray[np.float32],
    all_surprise: NDArray[np.float32],
    entropy: NDArray[np.float64],
    slope: NDArray[np.float64],
    choice: NDArray[np.bool_],
) -> None:
    """Loss of `ClippedPolicyLoss`: writes d loss / d logits, the mean statistics, and the mean entropies [C].

    Scratch of one agent: `probability` and `surprise` (log-probability) of each level [C, L], and the same memories
    as [C * L]; `entropy`, `slope` (d policy loss / d log-probability of the chosen level) and `choice` (more than one
    legal level) [C].
    """
    count, components, levels = logits.shape
    each = 1.0 / count
    scale = each / components
    for n in range(count):
        advantage = np.float64(advantages[n])
        sum_log_ratio = 0.0
        for c in range(components):
            top = np.float32(-np.inf)
            legal = 0
            for level in range(levels):  # selects in place of branches: masks are hard to guess
                value = logits[n, c, level]
                top = value if mask[n, c, level] and value > top else top
                legal += mask[n, c, level]
            choice[c] = legal > 1
            for level in range(levels):
                value = logits[n, c, level] - top
                surprise[c, level] = value if mask[n, c, level] else MASKED
        for i in range(components * levels):  # all at once: vector code
            all_probability[i] = _exp(all_surprise[i])
        for c in range(components):
            if not choice[c]:  # probability 1, no gradient; most components of a day are so
                if not joint:
                    statistics[0] -= advantage * scale
                continue
            total = np.float32(0.0)
            weighted = np.float32(0.0)
            for level in range(levels):
                total += probability[c, level]
                weighted += probability[c, level] * surprise[c, level]
            log_total = np.float32(math.log(total))
            entropy[c] = log_total - weighted / total
            entropies[c] += entropy[c] * each
            inverse = np.float32(1.0) / total
            for level in range(levels):
                probability[c, level] *= inverse
                surprise[c, level] -= log_total
            log_ratio = np.float64(surprise[c, actions[n, c]]) - old_log_probs[n, c]
            sum_log_ratio += log_ratio
            if not joint:
                ratio = math.exp(log_ratio)
                clipped = min(max(ratio, 1.0 - clip), 1.0 + clip)
                statistics[0] -= min(ratio * advantage, clipped * advantage) * scale
                slope[c] = -ratio * advantage * scale if ratio * advantage <= clipped * advantage else 0.0
                statistics[1] += (ratio - 1.0 - log_ratio) * each
                if abs(ratio - 1.0) > clip:
                    statistics[2] += scale
        if joint:
            ratio = math.exp(sum_log_ratio)
            clipped = min(max(ratio, 1.0 - clip), 1.0 + clip)
            statistics[0] -= min(ratio * advantage, clipped * advantage) / count
            active = ratio * advantage <= clipped * advantage
            for c in range(components):
                slope[c] = -ratio * advantage / count if active else 0.0
            statistics[1] += (ratio - 1.0 - sum_log_ratio) / count
            if abs(ratio - 1.0) > clip:
                statistics[2] += 1.0 / count
        for c in range(components):
            if not choice[c]:
                for level in range(levels):
                    gradient[n, c, level] = 0.0
                continue
            chosen = actions[n, c]
            pull = np.float32(slope[c])
            bonus = np.float32(entropy_weight[c] * scale)
            spread = np.float32(entropy[c])
            # d log p_chosen / d logit = [chosen] - p;  d entropy / d logit = -p (log p + entropy)
            for level in range(levels):
                p = probability[c, level]
                gradient[n, c, level] = p * (bonus * (surprise[c, level] + spread) - pull)
            gradient[n, c, chosen] += pull


@entry
def _imitation_loss(
    logits: NDArray[np.float32],
    mask: NDArray[np.bool_],
    labels: NDArray[np.int64],
    smoothing: float,
    numeric: NDArray[np.bool_],
    inverse: float,
    gradient: NDArray[np.float32],
    found: NDArray[np.float64],
    target: NDArray[np.float64],
) -> None:
    """Loss of `ImitationLoss`: writes d loss / d logits; `found` gets loss, agreements, choices; `target` [L] scratch.

    `inverse` above 0: targets are bells over `numeric` levels, see `imitation.smoothed_targets`.
    """
    count, components, levels = logits.shape
    for n in range(count):
        for c in range(components):
            label = labels[n, c]
            top = np.float32(-np.inf)
            legal = best = 0
            for level in range(levels):
                gradient[n, c, level] = 0.0
                if mask[n, c, level]:
                    legal += 1
                    if logits[n, c, level] > top:
                        top = logits[n, c, level]
                        best = level
            if legal < 2 or not mask[n, c, label]:
                continue  # nothing to choose, or nothing to learn
            below = label > 0 and mask[n, c, label - 1]
            above = label + 1 < levels and mask[n, c, label + 1]
            neighbours = int(below) + int(above)
            target[:] = 0.0
            if inverse > 0.0 and numeric[c, label]:
                weight = 0.0
                for level in range(levels):
                    if mask[n, c, level] and numeric[c, level]:
                        target[level] = math.exp(-inverse * (level - label) ** 2)
                        weight += target[level]
                target /= weight
            elif inverse > 0.0 or neighbours == 0:
                target[label] = 1.0
            else:
                target[label] = 1.0 - smoothing
                if below:
                    target[label - 1] = smoothing / neighbours
                if above:
                    target[label + 1] = smoothing / neighbours
            total = 0.0
            for level in range(levels):
                if mask[n, c, level]:
                    gradient[n, c, level] = np.exp(logits[n, c, level] - top)
                    total += gradient[n, c, level]
            log_total = math.log(total) + top
            loss = 0.0
            for level in range(levels):  # d loss / d logit = p - target
                if mask[n, c, level]:
                    loss += target[level] * (log_total - logits[n, c, level])
                    gradient[n, c, level] = (gradient[n, c, level] / total - target[level]) / count
            found[0] += loss / count
            found[1] += best == label
            found[2] += 1.0


class ImitationLoss(torch.autograd.Function):
    """Cross-entropy to `imitation.smoothed_targets`, summed over components, mean over agents.

    Logits may be on any device, everything else is on the CPU, where the loop is.
    """

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx,
        logits: Tensor,
        mask: Tensor,
        labels: Tensor,
        smoothing: float,
        numeric: Tensor,
        spread: float,
    ) -> tuple[Tensor, float, float]:
        """Loss [], number of components whose label is the most likely level, number of components with a choice.

        Args:
            ctx: Keeps the gradient.
            logits: [N, C, L].
            mask: bool [N, C, L].
            labels: int64 [N, C].
            smoothing: Probability put on the legal neighbours of the label.
            numeric: bool [C, L], the levels that are in order.
            spread: Deviation of the bell that targets are, levels; 0 = `smoothing` instead.
        """
        here = logits.detach().cpu()
        gradient, found = torch.empty_like(here), np.zeros(3)
        inverse = 0.5 / spread**2 if spread > 0.0 else 0.0
        target = np.empty(logits.shape[-1])
        _imitation_loss(
            here.numpy(),
            mask.numpy(),
            labels.numpy(),
            smoothing,
            numeric.cpu().numpy(),
            inverse,
            gradient.numpy(),
            found,
            target,
        )
        ctx.save_for_backward(gradient.to(logits.device))
        return logits.new_tensor(found[0]), float(found[1]), float(found[2])

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """The stored gradient, scaled."""
        (gradient,) = ctx.saved_tensors  # type: ignore[attr-defined]
        return gradient.mul_(grads[0]), None, None, None, None, None


class ClippedPolicyLoss(torch.autograd.Function):
    """PPO's clipped surrogate less the entropy bonus, over padded masked categoricals.

    `ratio = "component"`: the ratio is clipped for each action component on its own and the loss is the mean over
    components; the product over 35 components would leave the clip range after the smallest step.
    `ratio = "joint"`: the textbook ratio of the whole action of an agent. The entropy term is the mean over components.

    Logits may be on any device, everything else is on the CPU, where the loop is.
    """

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx,
        logits: Tensor,
        mask: Tensor,
        actions: Tensor,
        old_log_probs: Tensor,
        advantages: Tensor,
        clip: float,
        entropy_weight: NDArray[np.float64],
        joint: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Loss [], statistics (`STATISTICS`) and entropy per component [C]; only the loss has a gradient.

        Args:
            ctx: Keeps the gradient.
            logits: [N, C, L].
            mask: bool [N, C, L].
            actions: int64 [N, C].
            old_log_probs: [N, C].
            advantages: [N].
            clip: Half-width of the clip range.
            entropy_weight: [C], weight of the entropy of each component, in their mean.
            joint: Ratio of the whole action instead of one per component.
        """
        here = logits.detach().cpu()
        gradient = torch.empty_like(here)
        statistics = np.zeros(len(STATISTICS))
        entropies = np.zeros(logits.shape[1])
        probability, surprise = np.empty((2, *logits.shape[1:]), np.float32)
        _clipped_loss(
            here.numpy(),
            mask.numpy(),
            actions.numpy(),
            old_log_probs.numpy(),
            advantages.numpy(),
            clip,
            entropy_weight,
            joint,
            gradient.numpy(),
            statistics,
            entropies,
            probability,
            surprise,
            probability.ravel(),
            surprise.ravel(),
            np.empty(logits.shape[1]),
            np.empty(logits.shape[1]),
            np.empty(logits.shape[1], np.bool_),
        )
        ctx.save_for_backward(gradient.to(logits.device))
        stats, entropy = torch.from_numpy(statistics), torch.from_numpy(entropies)
        ctx.mark_non_differentiable(stats, entropy)
        loss = logits.new_tensor(statistics[0] - (entropy_weight * entropies).mean())
        return loss, stats, entropy

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """The stored gradient, scaled."""
        (gradient,) = ctx.saved_tensors  # type: ignore[attr-defined]
        return gradient.mul_(grads[0]), None, None, None, None, None, None, None
