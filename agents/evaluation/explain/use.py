"""Which components are used at all: how often a level above the lowest is taken, and how the levels are spread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fabmesh.agents.evaluation.explain.pairs import Pair, Table, pairs, plain_pairs
from fabmesh.agents.evaluation.explain.record import Play
from fabmesh.agents.evaluation.statistics import Floats

ALL = "all"


@dataclass(frozen=True)
class Use:
    """How a component is used, over all decisions where there was a choice.

    Attributes:
        role: Whose.
        component: Block of the action.
        item: Lane, material, ..., or `ALL` of them pooled.
        above: Share of the decisions with a level above the lowest.
        entropy: Of the levels taken, over that of all taken equally often: 0 = always the same, 1 = all alike.
        levels: Label of each level -> share of the decisions.
    """

    role: str
    component: str
    item: str
    above: Pair
    entropy: Pair
    levels: dict[str, Pair]

    def favourite(self, of: str) -> str:
        """Label of the level taken most often, of the "policy" or the "reference"; "" where nothing was decided."""
        shares = {label: getattr(pair, of) for label, pair in self.levels.items()}
        return max(shares, key=shares.__getitem__) if all(np.isfinite(list(shares.values()))) else ""


def uses(policy: Sequence[Play], reference: Sequence[Play]) -> tuple[Use, ...]:
    """The use of every component, item by item and pooled, in the order of the action."""
    names: list[tuple[str, str, str, tuple[str, ...]]] = []
    counts: tuple[list[Floats], list[Floats]] = [], []  # [runs, worlds, levels] of each
    for role, choices in policy[0].choices.items():
        for block in choices.spec.components:
            whole = (ALL, slice(block.start, block.start + block.count))
            single = [(item, slice(block.start + i, block.start + i + 1)) for i, item in enumerate(block.items)]
            for item, columns in [whole, *(single if block.count > 1 else [])]:
                names.append((role, block.name, item, block.labels))
                for side, plays in zip(counts, (policy, reference), strict=True):
                    side.append(np.array([_counts(play, role, columns, len(block.labels)) for play in plays]))
    above = pairs(*([Table.ratio(n[..., 1:].sum(axis=-1), n.sum(axis=-1)) for n in side] for side in counts))
    entropy = plain_pairs(*([Table.plain(_entropy(n)) for n in side] for side in counts))
    found = []
    for i, (role, component, item, labels) in enumerate(names):
        shares = ([Table.ratio(n[..., k], n.sum(axis=-1)) for k in range(len(labels))] for n in (c[i] for c in counts))
        levels = dict(zip(labels, plain_pairs(*shares), strict=True))
        found.append(Use(role, component, item, above[i], entropy[i], levels))
    return tuple(found)


def _counts(play: Play, role: str, columns: slice, levels: int) -> Floats:
    """Decisions for each level, where there was a choice, [worlds, levels]."""
    choices = play.choices[role]
    chosen, free = choices.levels[..., columns], choices.free[..., columns]
    return np.stack([(free & (chosen == level)).sum(axis=(0, 2, 3), dtype=np.float64) for level in range(levels)], 1)


def _entropy(counts: Floats) -> Floats:
    """Entropy of the levels of each run, as a share of the most there can be, [runs]."""
    total = counts.sum(axis=1)
    every = total.sum(axis=-1, keepdims=True)
    share = total / np.where(every > 0, every, np.nan)
    logs = np.log(np.where(share > 0, share, 1.0))
    return np.asarray(-(share * logs).sum(axis=-1) / np.log(counts.shape[-1]))
