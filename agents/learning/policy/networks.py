"""Policies and critics: small multilayer perceptrons, parameters shared inside a role."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fabmesh.agents.learning.batch import ComponentBlock, RoleSpec
from fabmesh.agents.learning.config import NetworkConfig
from fabmesh.agents.learning.policy import kernels as fused
from fabmesh.agents.learning.policy.compiled_heads import PaddedLogits, Places
from fabmesh.agents.learning.policy.distribution import ActionLayout
from fabmesh.agents.learning.policy.popart import PopArt
from fabmesh.agents.learning.policy.residual import Residual

LEAST_DEVIATION = 0.01
"""Deviation that features which hardly vary are taken to have."""
CLIP = 10.0
"""Deviations to which standardised features are clipped."""
SLOT = "slot"
"""Items so named are places that hold something else every day, not things with a character of their own."""


def _trunk(inputs: int, hidden: Sequence[int]) -> nn.Sequential:
    """Linear and ReLU layers, orthogonal weights with the gain of the ReLU."""
    layers: list[nn.Module] = []
    for width in hidden:
        linear = nn.Linear(inputs, width)
        nn.init.orthogonal_(linear.weight, math.sqrt(2.0))
        nn.init.zeros_(linear.bias)
        layers += [linear, nn.ReLU()]
        inputs = width
    return nn.Sequential(*layers)


class ItemHead(nn.Module):
    """Scores the levels of things of one kind (lanes, tender slots, materials, products) with one shared encoder.

    What is learned of one material serves all; a learned offset per item tells them apart. Slots hold something else
    every day, so they get no offset: a bid does not depend on the slot a tender is shown in.

    Args:
        columns: int64 [n, f], the features of each item in an agent's observation.
        levels: Levels of each component an item has.
        context: Width of the trunk's output.
        width: Width of the hidden layer.
        named: Give each item an offset of its own.
    """

    columns: Tensor

    def __init__(self, columns: Tensor, levels: Sequence[int], context: int, width: int, named: bool) -> None:
        super().__init__()
        self.register_buffer("columns", columns)
        self.own = nn.Linear(columns.shape[1], width)
        self.shared = nn.Linear(context, width, bias=False)
        self.offset = nn.Parameter(torch.zeros(columns.shape[0], width)) if named else None
        self.out = nn.Linear(width, sum(levels))
        for linear, gain in ((self.own, 1.0), (self.shared, 1.0), (self.out, 0.01)):
            nn.init.orthogonal_(linear.weight, gain)
        nn.init.zeros_(self.own.bias)
        nn.init.zeros_(self.out.bias)

    def forward(self, obs: Tensor, hidden: Tensor) -> Tensor:
        """Logits [..., n, sum of levels] from observations [..., F] and the trunk's output [..., H]."""
        encoded = self.own(obs[..., self.columns]) + self.shared(hidden).unsqueeze(-2)
        if self.offset is not None:
            encoded = encoded + self.offset
        return cast(Tensor, self.out(torch.relu(encoded)))


class ChoiceHead(nn.Module):
    """Scores a choice of one thing of a kind, or none: each thing by an encoder shared with the others, none with 0.

    Args:
        columns: int64 [n, f], the features of each thing in an agent's observation.
        context: Width of the trunk's output.
        width: Width of the hidden layer.
    """

    def __init__(self, columns: Tensor, context: int, width: int) -> None:
        super().__init__()
        self.things = ItemHead(columns, [1], context, width, named=True)

    def forward(self, obs: Tensor, hidden: Tensor) -> Tensor:
        """Logits [..., 1, 1 + n] from observations [..., F] and the trunk's output [..., H]."""
        scores = self.things(obs, hidden).squeeze(-1)
        return nn.functional.pad(scores, (1, 0)).unsqueeze(-2)


def item_columns(spec: RoleSpec, items: Sequence[str]) -> Tensor:
    """Columns of an observation that belong to each of the items, int64 [n, f].

    A feature block belongs to them if it has the same items, or several entries per item named after it
    ("slot 0 is FDM").
    """
    columns: list[list[int]] = [[] for _ in items]
    for block in spec.features:
        each, rest = divmod(block.count, len(items))
        own = [block.items[i * each : (i + 1) * each] for i in range(len(items))] if rest == 0 else []
        if own and all(name.startswith(item) for item, names in zip(items, own, strict=True) for name in names):
            for i in range(len(items)):
                columns[i] += range(block.start + i * each, block.start + (i + 1) * each)
    return torch.tensor(columns, dtype=torch.int64).reshape(len(items), -1)


def things_of(spec: RoleSpec, block: ComponentBlock) -> tuple[str, ...]:
    """The things of which a component chooses one or, at level 0, none; () if its levels are something else."""
    things = tuple(block.labels[1:])
    return things if any(tuple(feature.items) == things for feature in spec.features) else ()


def outputs(block: ComponentBlock, levels: int) -> int:
    """Numbers an ordinal head gives for a component: a mean level, if any are in order, and a logit for each other."""
    special = sum(math.isnan(value) for value in block.values)
    return special + (special < levels)


class OrdinalLevels(nn.Module):
    """Logits of levels that are numbers in order, from a mean level: log P(l) = -(l - mean)^2 / (2 spread^2) + const.

    Neighbouring levels do nearly the same, so what is learned of one holds for the next, exploration is local, and the
    policy moves by shifting one number. Levels that are no number (withdraw, decline, the next price break) keep a
    logit of their own.

    Args:
        spec: Layout of the role.
        spread: Standard deviation of a level under the policy, levels.
    """

    numeric: Tensor
    source: Tensor
    first: Tensor
    steps: Tensor

    def __init__(self, spec: RoleSpec, spread: float) -> None:
        super().__init__()
        most = int(max(spec.nvec))
        numeric, source, first, steps = [], [], [], []
        for block in spec.components:
            special = [math.isnan(value) for value in block.values]
            levels = [level for level, other in enumerate(special) if not other]
            taken = iter(range(bool(levels), len(special)))
            row = [next(taken) if other else 0 for other in special]
            for _ in range(block.count):
                numeric.append([not other for other in special] + [False] * (most - len(special)))
                source.append(row + [0] * (most - len(special)))
                first.append(float(levels[0]) if levels else 0.0)
                steps.append(float(len(levels) - 1) if levels else 0.0)
        self.register_buffer("numeric", torch.tensor(numeric), persistent=False)
        self.register_buffer("source", torch.tensor(source), persistent=False)
        self.register_buffer("first", torch.tensor(first), persistent=False)
        self.register_buffer("steps", torch.tensor(steps), persistent=False)
        self.register_buffer("level", torch.arange(most, dtype=torch.float32), persistent=False)
        self.inverse = 0.5 / spread**2

    def forward(self, scores: Tensor, shift: Tensor | float) -> Tensor:
        """Logits [..., C, L] of scores [..., C, outputs]; `shift` [..., C] is added to the mean levels."""
        mean = self.first + self.steps * (0.5 + scores[..., 0]) + shift
        ordered = -self.inverse * (cast(Tensor, self.level) - mean.unsqueeze(-1)).square()
        others = scores.gather(-1, self.source.expand(*scores.shape[:-1], -1))
        return torch.where(self.numeric, ordered, others)


def _residual(spec: RoleSpec, config: NetworkConfig) -> Residual:
    """The correction of a role; what is about no kind of item is for every component to read."""
    columns: list[list[int]] = []
    taken: set[int] = set()
    for block in spec.components:
        own = item_columns(spec, block.items).tolist() if block.count > 1 else [[]]
        columns += own
        taken.update(column for row in own for column in row)
    general = [column for column in range(spec.num_features) if column not in taken]
    return Residual(spec, columns, general, config.residual_features, config.agent_embedding)


class RolePolicy(nn.Module):
    """Policy of one role: an agent's observation [..., A, F] to padded logits [..., A, C, L].

    Observations may lie on any device, logits are on that of the weights.

    A trunk reads the whole observation. Components that exist once (the reorder trigger) are scored from its output;
    components that exist per item by an `ItemHead` per kind of item, which also reads the item's own features.

    With `agent_embedding` every agent owns a learned offset of the first hidden layer (as a one-hot input would give).
    Without it the policy knows an agent only by what it observes.

    Args:
        spec: Layout of the role.
        config: Widths.

    Attributes:
        head_of: Block of components -> the head that scores it.
        fused: Score in compiled loops (`fused_heads`), which are faster and round otherwise: float32 on the CPU, first
            derivatives only. Training sets it; without it choices do not depend on how the compiler orders sums.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, spec: RoleSpec, config: NetworkConfig) -> None:
        super().__init__()
        hidden = config.hidden
        self.layout = ActionLayout(spec.nvec)
        self.block = torch.repeat_interleave(torch.tensor([block.count for block in spec.components]))
        self.blocks = [slice(block.start, block.start + block.count) for block in spec.features]
        if config.standardise:
            self.register_buffer("mean", torch.zeros(spec.num_features))
            self.register_buffer("scale", torch.ones(spec.num_features))
        self.standardise = config.standardise
        self.first = nn.Linear(spec.num_features, hidden[0])
        nn.init.orthogonal_(self.first.weight, math.sqrt(2.0))
        nn.init.zeros_(self.first.bias)
        self.embedding = nn.Parameter(torch.zeros(len(spec.agents), hidden[0])) if config.agent_embedding else None
        self.trunk = _trunk(hidden[0], hidden[1:])
        self.heads = nn.ModuleDict()
        self._parts: list[tuple[str, int, int]] = []  # per block of components: head, first level in it, levels
        self.spread = config.spread
        self.ordinal = OrdinalLevels(spec, config.spread) if config.spread > 0.0 else None
        self.residual = _residual(spec, config) if config.residual else None
        kinds: dict[tuple[bool, tuple[str, ...]], list[tuple[int, int]]] = {}
        for number, block in enumerate(spec.components):
            things = things_of(spec, block) if block.count == 1 else ()
            items = things or (tuple(block.items) if block.count > 1 else (block.name,))
            most = int(spec.nvec[block.start])
            count = most if self.ordinal is None else outputs(block, most)
            kinds.setdefault((bool(things), items), []).append((number, count))
        where: dict[int, tuple[str, int, int]] = {}
        for (chooses, items), members in kinds.items():
            name = "_".join(spec.components[number].name for number, _ in members)
            levels = [count for _, count in members]
            self.heads[name] = self._head(spec, items, levels, hidden[-1], config.item_width, chooses)
            for position, (number, count) in enumerate(members):
                where[number] = (name, sum(levels[:position]), count)
        self._parts = [where[number] for number in range(len(spec.components))]
        self._most = max(levels for _, _, levels in self._parts)
        self._places = self._find_places(spec)
        self.fused = False
        self.head_of = {block.name: head for block, (head, _, _) in zip(spec.components, self._parts, strict=True)}

    @staticmethod
    def _head(
        spec: RoleSpec, items: tuple[str, ...], levels: list[int], context: int, width: int, chooses: bool
    ) -> nn.Module:
        if chooses:
            return ChoiceHead(item_columns(spec, items), context, width)
        if len(items) == 1:
            head = nn.Linear(context, sum(levels))
            nn.init.orthogonal_(head.weight, 0.01)  # near-uniform over the legal levels before any learning
            nn.init.zeros_(head.bias)
            return head
        return ItemHead(item_columns(spec, items), levels, context, width, named=not items[0].startswith(SLOT))

    def _find_places(self, spec: RoleSpec) -> list[Places]:
        """Where the numbers of each head come from and where they belong."""
        found = []
        read = 0
        for name, head in self.heads.items():
            parts = [
                (b, first, n) for b, (of, first, n) in zip(spec.components, self._parts, strict=True) if of == name
            ]
            logits = np.zeros((parts[0][0].count, sum(levels for _, _, levels in parts)), np.int64)
            for block, first, levels in parts:
                rows = np.arange(block.start, block.start + block.count)[:, None] * self._most
                logits[:, first : first + levels] = rows + np.arange(levels)
            if isinstance(head, ChoiceHead):  # its level 0, none, stays 0
                logits = logits[0, 1:, None]
            items = head.things if isinstance(head, ChoiceHead) else head
            width = items.own.out_features if isinstance(items, ItemHead) else logits.shape[1]
            found.append(Places(slice(read, read + width), logits))
            read += width
        return found

    def forward(self, obs: Tensor) -> Tensor:
        """Logits of every level of every component, [..., A, C, L]; levels that do not exist are not masked yet."""
        return self._logits(obs, self.embedding, None)

    def rows(self, obs: Tensor, agents: Tensor) -> Tensor:
        """Logits [N, C, L] of single observations [N, F]; `agents` [N] says whose each is."""
        agents = agents.to(self.first.weight.device)
        return self._logits(obs, None if self.embedding is None else self.embedding[agents], agents)

    @torch.no_grad()
    def calibrate(self, obs: Tensor) -> None:
        """Take mean and deviation of features from observations [N, F].

        Those of a block as a whole, since what is learned of one item serves the others.
        """
        if self.residual is not None:
            self.residual.calibrate(obs)
        for block in self.blocks if self.standardise else ():
            part = obs[:, block]
            self.mean[block] = part.mean()
            self.scale[block] = 1.0 / max(float(part.std()), LEAST_DEVIATION)

    @property
    def numeric(self) -> Tensor:
        """Levels that are in order, bool [C, L]."""
        return torch.from_numpy(self.layout.exists) if self.ordinal is None else self.ordinal.numeric

    @torch.no_grad()
    def explore(self, obs: Tensor, own: Tensor, common: Tensor, correlation: float) -> tuple[Tensor, Tensor]:
        """Logits [B, A, C, L] and the standard normals [B, A, C] that levels are to be drawn with, from lasting noise.

        The noise, and so the normals, are on the CPU.

        Args:
            obs: [B, A, F].
            own: [B, A, C, K], standard normal: of each component.
            common: [B, 1, blocks, K], the same for all agents and items of a block.
            correlation: Share of the variance that is common.
        """
        obs = obs.to(self.first.weight.device)
        scores = self._scores(obs, self.embedding)
        if self.ordinal is not None and self.residual is not None:
            shift, noise = self.residual.explore(obs, own, common, correlation)
            return self.ordinal(scores, shift.to(obs.device)), noise
        logits = scores if self.ordinal is None else self.ordinal(scores, 0.0)
        noise = correlation**0.5 * common[:, :, self.block] + (1.0 - correlation) ** 0.5 * own
        return logits, noise.squeeze(-1)

    def _logits(self, obs: Tensor, offset: Tensor | None, agents: Tensor | None) -> Tensor:
        obs = obs.to(self.first.weight.device)
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.first.weight.requires_grad):
            scored = self._scores(obs, offset)
        if self.ordinal is None:
            return scored
        shift = 0.0 if self.residual is None else self.residual(obs, agents)
        return cast(Tensor, self.ordinal(scored, shift))

    def _scores(self, obs: Tensor, offset: Tensor | None) -> Tensor:
        if self.standardise:
            obs = ((obs - self.mean) * self.scale).clamp(-CLIP, CLIP)
        hidden = self.first(obs)
        if offset is not None:
            hidden = hidden + offset
        hidden = self.trunk(torch.relu(hidden))
        if self.fused:
            return self._fused_scores(obs, hidden)
        scored = {
            name: head(obs, hidden) if isinstance(head, (ItemHead, ChoiceHead)) else head(hidden).unsqueeze(-2)
            for name, head in self.heads.items()
        }
        parts = [
            nn.functional.pad(scored[name][..., start : start + levels], (0, self._most - levels))
            for name, start, levels in self._parts
        ]
        return torch.cat(parts, dim=-2)

    def _fused_scores(self, obs: Tensor, hidden: Tensor) -> Tensor:
        """What the heads give, in one compiled loop: one product for all that they read of the trunk."""
        columns: list[Tensor | None] = []
        read, biases, weights = [], [], []
        for head in self.heads.values():
            items = head.things if isinstance(head, ChoiceHead) else head
            columns.append(items.columns if isinstance(items, ItemHead) else None)
            if isinstance(items, ItemHead):
                read.append(items.shared.weight)
                biases.append(torch.zeros(len(read[-1])))
                weights += [items.own.weight, items.own.bias, items.offset, items.out.weight, items.out.bias]
            else:
                linear = cast(nn.Linear, head)
                read.append(linear.weight)
                biases.append(linear.bias)
        context = nn.functional.linear(hidden.flatten(0, -2), torch.cat(read), torch.cat(biases))
        size = self.layout.components * self._most
        logits = PaddedLogits.apply(  # type: ignore[no-untyped-call]  # torch's apply
            obs.detach().flatten(0, -2), size, self._places, columns, context, *weights
        )
        return cast(Tensor, logits.view(*obs.shape[:-1], self.layout.components, self._most))


class Critic(nn.Module):
    """Value of a state [..., S] (central) or of an agent's observation [..., A, F] (local): the last axis goes.

    What it reads may lie on any device.

    Args:
        num_features: Size of the last axis.
        hidden: Widths of the hidden layers.
        agents: Of a state, one value for each of so many agents, in place of the last axis; None: one for all.
    """

    def __init__(self, num_features: int, hidden: Sequence[int] = (128, 128), agents: int | None = None) -> None:
        super().__init__()
        self.trunk = _trunk(num_features, hidden)
        self.head = PopArt(hidden[-1], 1 if agents is None else agents)
        self._for_all = agents is None

    def forward(self, features: Tensor) -> Tensor:
        """Normalised value."""
        values = cast(Tensor, self.head(self.trunk(features.to(self.head.mean.device))))
        return values.squeeze(-1) if self._for_all else values

    @torch.no_grad()
    def value(self, features: Tensor) -> Tensor:
        """Value in reward units, without gradient, on the CPU."""
        return self.head.denormalise(self(features)).cpu()


@torch.no_grad()
def choose_levels(
    policy: RolePolicy, obs: Tensor, mask: NDArray[np.bool_], generator: torch.Generator | None
) -> NDArray[np.int64]:
    """Levels int64 [B, A, C] for observations [B, A, F]; drawn with a generator, the most likely without."""
    logits = policy(obs).flatten(0, 1).cpu()
    shape = (*obs.shape[:2], policy.layout.components)
    actions = np.empty((shape[0] * shape[1], shape[2]), np.int64)
    legal = mask.reshape(-1, *mask.shape[2:])
    if generator is None:
        fused.most_likely_levels(logits.numpy(), legal, actions)
    else:
        uniforms = torch.rand(actions.shape, generator=generator).numpy()
        fused.sample_levels(logits.numpy(), legal, uniforms, actions, np.empty(actions.shape, np.float32))
    return actions.reshape(shape)
