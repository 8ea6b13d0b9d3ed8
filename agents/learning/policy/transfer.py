"""Moves the policy of a role to another network: what both networks know by name is kept.

What an agent sees and sets comes in blocks (`lane_load`, `cover`) of named items (`FDM`, `petg`), whatever the number
of hubs, depots and towns. Weights follow these names:

- Features: a weight stays with its block and item. What only the new network shows gets weight 0, and changes nothing
  until something is learned of it; what only the old one showed is dropped.
- Items: encoders are shared by the items of a kind, and stay. An item keeps what is its own (an offset, weights of the
  correction); one that the old network did not have gets the mean of those that it had.
- Agents: what is an agent's own belongs to its place. Where there is another number of agents, the mean over the old
  ones becomes part of what all have in common, and the new ones start without anything of their own.
- Standardisation of features stays, so that weights mean the same; a new item's are standardised as its block.

Not possible: a component that the old policy did not set (it would act at random there), levels that stand for
something else, networks of another width. Critics are not moved: what a state is worth depends on the network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from fabmesh.agents.learning.batch import RoleSpec
from fabmesh.agents.learning.policy.networks import RolePolicy
from fabmesh.agents.learning.policy.residual import Residual

Name = tuple[str, str]
"""Block and item."""
Labels = Sequence[Name | None]
Weights = Mapping[str, Tensor]


class DoesNotFitError(Exception):
    """Why a policy cannot be moved, in words."""


@dataclass(frozen=True)
class Names:
    """The names of what agents of a role see and set.

    Attributes:
        features: Of each column of an observation.
        components: Of each column of an action.
        levels: Block of components -> what its levels stand for.
    """

    features: tuple[Name, ...]
    components: tuple[Name, ...]
    levels: Mapping[str, tuple[str, ...]]

    @classmethod
    def of(cls, spec: RoleSpec) -> Names:
        """Those of a layout."""
        return cls.from_plain(names_of(spec))

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Names:
        """What `names_of` gave."""
        features = tuple((block, item) for block, items in plain["features"] for item in items)
        components = tuple((block, item) for block, items, _ in plain["components"] for item in items)
        return cls(features, components, {block: tuple(levels) for block, _, levels in plain["components"]})

    def items(self, block: str) -> tuple[str, ...]:
        """Items of a block of components."""
        return tuple(item for name, item in self.components if name == block)

    def things(self, block: str) -> tuple[str, ...]:
        """What a block of components chooses one of, as `networks.things_of`; () if its levels are something else."""
        things = self.levels[block][1:]
        seen: dict[str, list[str]] = {}
        for name, item in self.features:
            seen.setdefault(name, []).append(item)
        return things if list(things) in seen.values() and len(self.items(block)) == 1 else ()

    def first(self, block: str) -> int:
        """The first component of a block."""
        return next(place for place, (name, _) in enumerate(self.components) if name == block)

    def about(self, columns: Tensor, item: str) -> Labels:
        """What columns of an observation are, seen from an item of theirs: (`stock_cover`, "") of itself.

        A column beyond the observation, which fills a row up, is None.
        """
        named = [self.features[column] if column < len(self.features) else None for column in columns.tolist()]
        return [None if name is None else (name[0], name[1].removeprefix(item)) for name in named]


def names_of(spec: RoleSpec) -> dict[str, Any]:
    """The names of a layout as plain lists, for a checkpoint."""
    return {
        "features": [[block.name, list(block.items)] for block in spec.features],
        "components": [[block.name, list(block.items), list(block.labels)] for block in spec.components],
    }


def moved(weights: Weights, there: Names, policy: RolePolicy, here: Names, same_agents: bool) -> dict[str, Tensor]:
    """The weights of a policy as those of one for another network.

    Args:
        weights: Of the policy (`state_dict`).
        there: Names in the network it was trained in.
        policy: One for the new network, to see what it needs; not changed.
        here: Names in the new network.
        same_agents: The agents are as many, taken to be the same, and keep what is their own.

    Raises:
        DoesNotFitError: If it is not possible.
    """
    _require_levels(there, here)
    fresh = policy.state_dict()
    if not (same_agents and policy.embedding is not None):
        weights = _own_to_common(weights)
    found = {name: _moved(name, value, weights, there, policy, here) for name, value in fresh.items()}
    for name, value in found.items():
        if value.shape != fresh[name].shape:
            raise DoesNotFitError(f"{name} is of size {list(value.shape)}, not {list(fresh[name].shape)}")
    return found


def _require_levels(there: Names, here: Names) -> None:
    for block, levels in here.levels.items():
        if block not in there.levels:
            raise DoesNotFitError(f"component {block!r} is not among those it sets")
        if there.levels[block] != levels and not (there.things(block) and here.things(block)):
            shown = [", ".join(names) for names in (there.levels[block], levels)]
            raise DoesNotFitError(f"component {block!r} has the levels {shown[0]}; not {shown[1]}")


def _own_to_common(weights: Weights) -> Weights:
    """Agents' own weights gone, their means in what all agents have in common."""
    common = dict(weights)
    for own, shared in (("embedding", "first.bias"), ("residual.of_agent", "residual.of_item")):
        if own in common:
            common[shared] = common[shared] + common.pop(own).mean(dim=0)
    return common


def _moved(name: str, fresh: Tensor, weights: Weights, there: Names, policy: RolePolicy, here: Names) -> Tensor:
    """One tensor for the new policy, which now has `fresh` there."""
    if name.endswith("columns") or name in ("residual.weight", "residual.block"):
        return fresh  # where things are in the new network
    if name not in weights and name in ("embedding", "residual.of_agent"):
        return torch.zeros_like(fresh)
    if name not in weights:
        raise DoesNotFitError(f"its networks have no {name}")
    if name == "first.weight":
        return _columns(weights[name], there.features, here.features)
    if name in ("mean", "scale", "residual.mean", "residual.scale"):
        return _columns(weights[name], there.features, here.features, _of_blocks(weights[name], fresh, there, here))
    if name.startswith("residual."):
        return _correction(name, weights, there, policy, here)
    if name.endswith((".own.weight", ".offset")):
        return _of_items(name, weights, there, policy, here)
    return weights[name]


def _columns(
    old: Tensor, there: Sequence[Name | None], here: Sequence[Name | None], new: Tensor | float = 0.0
) -> Tensor:
    """Columns [..., here] by the names of the old ones [..., there]; of another name, `new`."""
    place = {name: column for column, name in enumerate(there) if name is not None}
    index = torch.tensor([-1 if name is None else place.get(name, -1) for name in here], dtype=torch.int64)
    return torch.where(index >= 0, old[..., index], new)


def _of_blocks(old: Tensor, fresh: Tensor, there: Names, here: Names) -> Tensor:
    """Of each feature here the mean over its block there, so that new items are read as the others; else `fresh`."""
    places: dict[str, list[int]] = {}
    for column, (block, _) in enumerate(there.features):
        places.setdefault(block, []).append(column)
    known = zip(here.features, fresh, strict=True)
    return torch.stack([old[places[block]].mean() if block in places else value for (block, _), value in known])


def _of_items(name: str, weights: Weights, there: Names, policy: RolePolicy, here: Names) -> Tensor:
    """What a head reads of an item, or the offsets of its items."""
    old = weights[name]
    block = next(block for block, head in policy.head_of.items() if name.startswith(f"heads.{head}."))
    items, items_here = (names.things(block) or names.items(block) for names in (there, here))
    if name.endswith(".offset"):
        return torch.stack([old[items.index(item)] if item in items else old.mean(dim=0) for item in items_here])
    columns = name.removesuffix("own.weight") + "columns"
    read = there.about(weights[columns][0], items[0])
    return _columns(old, read, here.about(policy.state_dict()[columns][0], items_here[0]))


def _correction(name: str, weights: Weights, there: Names, policy: RolePolicy, here: Names) -> Tensor:
    """The correction's weights of blocks [blocks, K], items [C, K] or agents [A, C, K]."""
    old, correction = weights[name], cast(Residual, policy.residual)

    def row(values: Tensor, one: int, other: int) -> Tensor:
        """Weights [..., K] of component `one` there as those of component `other` here."""
        read = there.about(weights["residual.columns"][one], there.components[one][1])
        read_here = here.about(correction.columns[other], here.components[other][1])
        worth = _columns(weights["residual.weight"][one], read, read_here)  # features count less where there are more
        kept = _columns(values[..., 1:], read, read_here) * (worth / correction.weight[other].clamp(min=1e-12))
        return torch.cat((values[..., :1], kept), dim=-1)

    if name == "residual.of_block":
        blocks = list(there.levels)
        return torch.stack(
            [row(old[blocks.index(block)], there.first(block), here.first(block)) for block in here.levels]
        )
    rows = []
    for place, (block, item) in enumerate(here.components):
        alike = [k for k, (other, _) in enumerate(there.components) if other == block]
        known = [k for k in alike if there.components[k][1] == item] or alike
        rows.append(torch.stack([row(old[..., k, :], k, place) for k in known]).mean(dim=0))
    return torch.stack(rows, dim=-2)
