"""The heads of a policy in one compiled loop, forwards and backwards: what `networks` has as PyTorch modules.

An item's hidden layer is 32 wide, its features are a dozen, its levels a handful. As matrix products over [N x items]
rows these are so thin that most of the time goes into moving them: gathered features, sums, rectifiers, padded and
joined logits, each an array of megabytes. Here a block of observations goes through all of it in the nearest cache,
several rows of a matrix at a time, and the way back works the hidden layer out anew instead of reading it.

Sums may be taken in any order (`_FAST`), unlike in the kernels of the worlds; how many threads work changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fabmesh.envs.network.compiler.kernel import entry

Array = NDArray[np.float32]
Index = NDArray[np.int64]

ROWS = 128
"""Observations in a block, a constant of the compiled loops: an item's features and hidden layer fit into 32 KiB."""
_FAST = partial(entry, fastmath={"reassoc", "contract"})
_ZERO = np.float32(0.0)
_LINE = 16  # numbers of a cache line


@dataclass(frozen=True, eq=False)
class Places:
    """Where a head's numbers come from and where they belong.

    Attributes:
        context: What of the trunk's products is the head's: for the hidden layers of its items, or its numbers.
        logits: int64 [n, s], component x levels + level of each number; [1, s] for a head without items.
    """

    context: slice
    logits: Index


class _Weights(NamedTuple):
    """Of an item head, or their gradient; padded with zeros to whole steps of the loops."""

    own: Array  # [w, f]
    base: Array  # [n, w] bias of the hidden layer and an item's offset
    out: Array  # [s, w]
    bias: Array  # [s]


class _Work(NamedTuple):
    """Scratch for a block of observations. Begins as zeros: what rows a last block lacks must be finite."""

    context: Array  # [w, ROWS] what the hidden layer reads of the trunk
    hidden: Array  # [w, ROWS]
    scores: Array  # [s, ROWS] of an item, or their gradient
    slope: Array  # [2, ROWS] gradient of two hidden units
    pull: Array  # [w, ROWS] gradient of the context


@_FAST
def _tile(obs: Array, tiles: Array) -> None:
    """Observations [N, F] in blocks, a feature's numbers side by side: [blocks, F, ROWS], 0 where there is none."""
    for block in range(tiles.shape[0]):
        for r in range(ROWS):
            if block * ROWS + r >= obs.shape[0]:
                tiles[block, :, r] = 0.0
        for first in range(0, ROWS, _LINE):
            for f in range(obs.shape[1]):
                for r in range(first, min(first + _LINE, obs.shape[0] - block * ROWS)):
                    tiles[block, f, r] = obs[block * ROWS + r, f]


@_FAST
def _take_context(context: Array, first: int, count: int, work: _Work) -> None:
    """The context of a block, transposed."""
    for r in range(count):
        for w in range(context.shape[1]):
            work.context[w, r] = context[first + r, w]


@_FAST
def _encode(seen: Array, columns: Index, i: int, weights: _Weights, work: _Work) -> None:
    """Hidden layer of an item: relu(context + base + own x features), two units and four features at a time."""
    context, hidden, own = work.context, work.hidden, weights.own
    for w in range(0, own.shape[0], 2):
        a, b = weights.base[i, w], weights.base[i, w + 1]
        for r in range(ROWS):
            hidden[w, r] = context[w, r] + a
            hidden[w + 1, r] = context[w + 1, r] + b
        for f in range(0, own.shape[1], 4):
            a0, a1, a2, a3 = own[w, f], own[w, f + 1], own[w, f + 2], own[w, f + 3]
            b0, b1, b2, b3 = own[w + 1, f], own[w + 1, f + 1], own[w + 1, f + 2], own[w + 1, f + 3]
            c0, c1, c2, c3 = columns[i, f], columns[i, f + 1], columns[i, f + 2], columns[i, f + 3]
            for r in range(ROWS):
                x0, x1, x2, x3 = seen[c0, r], seen[c1, r], seen[c2, r], seen[c3, r]
                hidden[w, r] += (a0 * x0 + a1 * x1) + (a2 * x2 + a3 * x3)
                hidden[w + 1, r] += (b0 * x0 + b1 * x1) + (b2 * x2 + b3 * x3)
        for r in range(ROWS):
            hidden[w, r] = max(hidden[w, r], _ZERO)
            hidden[w + 1, r] = max(hidden[w + 1, r], _ZERO)


@_FAST
def _score(
    tiles: Array, columns: Index, places: Index, context: Array, weights: _Weights, work: _Work, logits: Array
) -> None:
    """Writes what an item head gives to its places among the logits [N, C * L]."""
    hidden, scores, out = work.hidden, work.scores, weights.out
    for block in range(tiles.shape[0]):
        first = block * ROWS
        count = min(ROWS, context.shape[0] - first)
        _take_context(context, first, count, work)
        for i in range(columns.shape[0]):
            _encode(tiles[block], columns, i, weights, work)
            for s in range(0, out.shape[0], 2):
                for r in range(ROWS):
                    scores[s, r] = weights.bias[s]
                    scores[s + 1, r] = weights.bias[s + 1]
                for w in range(0, out.shape[1], 4):
                    a0, a1, a2, a3 = out[s, w], out[s, w + 1], out[s, w + 2], out[s, w + 3]
                    b0, b1, b2, b3 = out[s + 1, w], out[s + 1, w + 1], out[s + 1, w + 2], out[s + 1, w + 3]
                    for r in range(ROWS):
                        h0, h1, h2, h3 = hidden[w, r], hidden[w + 1, r], hidden[w + 2, r], hidden[w + 3, r]
                        scores[s, r] += (a0 * h0 + a1 * h1) + (a2 * h2 + a3 * h3)
                        scores[s + 1, r] += (b0 * h0 + b1 * h1) + (b2 * h2 + b3 * h3)
            for s in range(places.shape[1]):
                place = places[i, s]
                for r in range(count):
                    logits[first + r, place] = scores[s, r]


@_FAST
def _differentiate(
    tiles: Array,
    columns: Index,
    places: Index,
    context: Array,
    weights: _Weights,
    work: _Work,
    gradient: Array,
    d_context: Array,
    d_weights: _Weights,
) -> None:
    """Adds the gradient of an item head's weights to `d_weights` and writes that of its context."""
    hidden, scores, slope, pull = work.hidden, work.scores, work.slope, work.pull
    out, own, d_out, d_own = weights.out, weights.own, d_weights.out, d_weights.own
    for block in range(tiles.shape[0]):
        first = block * ROWS
        count = min(ROWS, context.shape[0] - first)
        _take_context(context, first, count, work)
        for w in range(pull.shape[0]):
            for r in range(ROWS):
                pull[w, r] = 0.0
        for i in range(columns.shape[0]):
            _encode(tiles[block], columns, i, weights, work)
            for s in range(places.shape[1]):
                place = places[i, s]
                for r in range(count):
                    scores[s, r] = gradient[first + r, place]
                for r in range(count, ROWS):  # rows that are none pull at nothing
                    scores[s, r] = 0.0
                total = _ZERO
                for r in range(ROWS):
                    total += scores[s, r]
                d_weights.bias[s] += total
            for w in range(0, own.shape[0], 2):
                for r in range(ROWS):
                    slope[0, r] = 0.0
                    slope[1, r] = 0.0
                for s in range(0, out.shape[0], 2):
                    t0 = t1 = t2 = t3 = _ZERO
                    for r in range(ROWS):
                        t0 += scores[s, r] * hidden[w, r]
                        t1 += scores[s, r] * hidden[w + 1, r]
                        t2 += scores[s + 1, r] * hidden[w, r]
                        t3 += scores[s + 1, r] * hidden[w + 1, r]
                    d_out[s, w] += t0
                    d_out[s, w + 1] += t1
                    d_out[s + 1, w] += t2
                    d_out[s + 1, w + 1] += t3
                    a0, a1, b0, b1 = out[s, w], out[s + 1, w], out[s, w + 1], out[s + 1, w + 1]
                    for r in range(ROWS):
                        slope[0, r] += a0 * scores[s, r] + a1 * scores[s + 1, r]
                        slope[1, r] += b0 * scores[s, r] + b1 * scores[s + 1, r]
                for j in range(2):  # one after the other: of both at once a compiler makes no vector code
                    total = _ZERO
                    for r in range(ROWS):
                        there = slope[j, r] if hidden[w + j, r] > _ZERO else _ZERO
                        slope[j, r] = there
                        pull[w + j, r] += there
                        total += there
                    d_weights.base[i, w + j] += total
                for f in range(0, own.shape[1], 4):
                    c0, c1, c2, c3 = columns[i, f], columns[i, f + 1], columns[i, f + 2], columns[i, f + 3]
                    t0 = t1 = t2 = t3 = u0 = u1 = u2 = u3 = _ZERO
                    for r in range(ROWS):
                        a, b = slope[0, r], slope[1, r]
                        t0 += a * tiles[block, c0, r]
                        t1 += a * tiles[block, c1, r]
                        t2 += a * tiles[block, c2, r]
                        t3 += a * tiles[block, c3, r]
                        u0 += b * tiles[block, c0, r]
                        u1 += b * tiles[block, c1, r]
                        u2 += b * tiles[block, c2, r]
                        u3 += b * tiles[block, c3, r]
                    d_own[w, f] += t0
                    d_own[w, f + 1] += t1
                    d_own[w, f + 2] += t2
                    d_own[w, f + 3] += t3
                    d_own[w + 1, f] += u0
                    d_own[w + 1, f + 1] += u1
                    d_own[w + 1, f + 2] += u2
                    d_own[w + 1, f + 3] += u3
        for r in range(count):
            for w in range(context.shape[1]):
                d_context[first + r, w] = pull[w, r]


def _padded(array: NDArray[Any], *steps: int) -> NDArray[Any]:
    """The array with zeros up to the next multiple of a step along each axis."""
    wide = np.zeros([size + -size % step for size, step in zip(array.shape, steps, strict=True)], array.dtype)
    wide[tuple(slice(size) for size in array.shape)] = array
    return wide


def _weights(head: Places, given: Iterator[Array | None]) -> _Weights:
    """The next head's weights, padded."""
    own, bias, offset, out, out_bias = (next(given) for _ in range(5))
    assert own is not None
    assert bias is not None
    assert out is not None
    assert out_bias is not None
    base = np.tile(bias, (len(head.logits), 1)) if offset is None else bias + offset
    return _Weights(_padded(own, 4, 4), _padded(base, 1, 4), _padded(out, 2, 4), _padded(out_bias, 2))


def _work(weights: _Weights) -> _Work:
    levels, width = weights.out.shape
    return _Work(*(np.zeros((n, ROWS), np.float32) for n in (width, width, levels, 2, width)))


class PaddedLogits(torch.autograd.Function):
    """Logits of all heads, padded: what `ItemHead`, `ChoiceHead` and plain layers give, each number in its place."""

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx,
        obs: Tensor,
        size: int,
        heads: Sequence[Places],
        columns: Sequence[Tensor | None],
        context: Tensor,
        *weights: Tensor | None,
    ) -> Tensor:
        """Logits [N, size], 0 where no head writes.

        Args:
            ctx: Keeps the inputs.
            obs: [N, F]; gets no gradient.
            size: Components x levels.
            heads: Of which the numbers are.
            columns: int64 [n, f], the features of each item in an observation; None for a head without items.
            context: [N, K], what the heads read of the trunk.
            weights: Five for each head with items: weights [w, f] and bias [w] of its features, offset [n, w] or None,
                weights [s, w] and bias [s] of the levels.
        """
        logits, given = torch.zeros(len(obs), size), iter(_arrays(weights))
        read = context.detach().numpy()
        tiles = np.empty((-(-len(obs) // ROWS), obs.shape[1], ROWS), np.float32)
        _tile(obs.numpy(), tiles)
        # features that fill up a step of the loops are any others: they get no weight
        features = [None if c is None else _padded(c.numpy(), 1, 4) for c in columns]
        for head, seen in zip(heads, features, strict=True):
            if seen is None:
                logits[:, head.logits[0]] = context[:, head.context]
                continue
            own = _weights(head, given)
            _score(tiles, seen, head.logits, read[:, head.context], own, _work(own), logits.numpy())
        ctx.given = tiles, read, heads, features, weights  # type: ignore[attr-defined]
        return logits

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of the inputs."""
        tiles, read, heads, features, weights = ctx.given  # type: ignore[attr-defined]
        gradient, given, originals = gradients[0].contiguous(), iter(_arrays(weights)), iter(weights)
        d_context = torch.empty(read.shape)
        found: list[Tensor | None] = []
        for head, seen in zip(heads, features, strict=True):
            pull = d_context[:, head.context]
            if seen is None:
                pull[:] = gradient[:, head.logits[0]]
                continue
            own = _weights(head, given)
            d_own = _Weights(*(np.zeros_like(array) for array in own))
            _differentiate(
                tiles,
                seen,
                head.logits,
                read[:, head.context],
                own,
                _work(own),
                gradient.numpy(),
                pull.numpy(),
                d_own,
            )
            for array in (d_own.own, d_own.base.sum(0), d_own.base, d_own.out, d_own.bias):
                like = next(originals)
                part = None if like is None else array[tuple(slice(size) for size in like.shape)]
                found.append(None if part is None else torch.from_numpy(part))
        return None, None, None, None, d_context, *found


def _arrays(weights: Sequence[Tensor | None]) -> list[Array | None]:
    return [None if weight is None else weight.detach().numpy() for weight in weights]
