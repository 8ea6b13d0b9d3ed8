"""How bids move with load, age of stock, distance and what else there is to be seen.

A hub's standing bids and its bids on tenders, and the depots' quotes, are mark-ups. Each is held against what its agent
saw on the morning it was made: the decisions of both policies are sorted by what was seen and cut into fifths, at the
same places for both, and the mean mark-up and the share of decisions with any bid at all are given for each fifth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fabmesh.agents.evaluation.explain.drivers import PRICED, Driver, Priced, lane_materials
from fabmesh.agents.evaluation.explain.pairs import Pair, Table, paired, pairs, plain_pairs
from fabmesh.agents.evaluation.explain.record import Choices, Play
from fabmesh.agents.evaluation.statistics import Estimate, Floats
from fabmesh.envs.network.schema.scenario import Scenario

FIFTHS = 5
STILL = 0.05  # percentage points: what moves less over all fifths stands still
ALL = "all"


@dataclass(frozen=True)
class Span:
    """Highest less lowest fifth: how far bids move with what is seen.

    Attributes:
        policy: Of the policy, with its 95 % interval.
        reference: Of the reference.
        difference: Of the first less the second.
    """

    policy: Estimate
    reference: Estimate
    difference: Estimate


@dataclass(frozen=True)
class Response:
    """Bids against one thing seen.

    Attributes:
        priced: The component.
        driver: What is seen.
        item: Lane or material, or `ALL` of them pooled.
        fifths: Which fifths there are, 0 the lowest; values that occur very often leave fewer.
        seen: Mean of what is seen in each.
        markup: Mean mark-up of the bids made, %.
        bidding: Share of decisions with a bid, %.
        markup_span: How far mark-ups move.
        bidding_span: How far the share of bids moves.
    """

    priced: Priced
    driver: Driver
    item: str
    fifths: tuple[int, ...]
    seen: tuple[Pair, ...]
    markup: tuple[Pair, ...]
    bidding: tuple[Pair, ...]
    markup_span: Span
    bidding_span: Span

    @property
    def moves(self) -> bool:
        """Whether mark-ups or the share of bids of either policy move at all from fifth to fifth."""
        for pairs_ in (self.markup, self.bidding):
            for side in ([pair.policy for pair in pairs_], [pair.reference for pair in pairs_]):
                known = [value for value in side if np.isfinite(value)]
                if known and max(known) - min(known) >= STILL:
                    return True
        return False


@dataclass(frozen=True)
class _Binned:
    """Sums of one run over its decisions, [worlds, fifths] each."""

    decisions: Floats
    seen: Floats
    bids: Floats
    markup: Floats


def responses(policy: Sequence[Play], reference: Sequence[Play], scenario: Scenario) -> tuple[Response, ...]:
    """Hold all bids against all that drives them.

    Args:
        policy: Its runs.
        reference: Those of the reference on the same worlds.
        scenario: The network.
    """
    materials = lane_materials(scenario)
    found = []
    for priced in PRICED:
        spec = policy[0].choices[priced.role].spec
        if not spec.has_component(priced.component):
            continue
        items = next(block.items for block in spec.components if block.name == priced.component)
        for driver in priced.drivers:
            sides = [[_decisions(play.choices[priced.role], priced, driver, materials) for play in side]
                     for side in (policy, reference)]  # fmt: skip
            for number in (None, *(range(len(items)) if priced.each and len(items) > 1 else ())):
                response = _response(priced, driver, ALL if number is None else items[number], number, sides)
                if response is not None:
                    found.append(response)
    return tuple(found)


@dataclass(frozen=True)
class _Decisions:
    """What was seen, the mark-up (nan: no bid) and whether there was a choice, [days, worlds, agents, items] each."""

    seen: Floats
    markup: Floats
    free: NDArray[np.bool_]


def _decisions(choices: Choices, priced: Priced, driver: Driver, materials: Floats) -> _Decisions:
    columns = choices.spec.component(priced.component)
    block = next(block for block in choices.spec.components if block.name == priced.component)
    markup = 100.0 * np.array(block.values)[choices.levels[..., columns]]
    seen = driver.scale * driver.view(choices.seen, materials).astype(np.float64)
    return _Decisions(np.broadcast_to(seen, markup.shape), markup, choices.free[..., columns] & np.isfinite(seen))


def _response(
    priced: Priced, driver: Driver, item: str, number: int | None, sides: Sequence[Sequence[_Decisions]]
) -> Response | None:
    """None where nothing varies, so that there is nothing to sort by."""
    one = slice(None) if number is None else slice(number, number + 1)
    pooled = np.concatenate([run.seen[..., one][run.free[..., one]] for side in sides for run in side])
    cuts = cuts_of(pooled)
    if not len(cuts):
        return None
    binned = [[_binned(run, one, cuts) for run in side] for side in sides]
    seen = [_tables(side, "seen", "decisions") for side in binned]
    markup = [_tables(side, "markup", "bids") for side in binned]
    bidding = [_tables(side, "bids", "decisions", 100.0) for side in binned]
    make = pairs if number is None else plain_pairs  # of single items only the span gets an interval
    return Response(
        priced,
        driver,
        item,
        (0, *(int((pooled <= cut).sum()) * FIFTHS // len(pooled) for cut in cuts)),
        tuple(plain_pairs(*seen)),
        tuple(make(*markup)),
        tuple(make(*bidding)),
        _span(*markup),
        _span(*bidding),
    )


def cuts_of(values: Floats) -> Floats:
    """Where fifths of values end, but for the last one; what many values share is not cut, so there may be fewer."""
    if not len(values):
        return np.zeros(0)
    quantiles = np.quantile(values, np.arange(1, FIFTHS) / FIFTHS, method="inverted_cdf")
    return np.unique(quantiles[quantiles < values.max()])


def _binned(run: _Decisions, one: slice, cuts: Floats) -> _Binned:
    free = run.free[..., one]
    seen, markup, world = run.seen[..., one][free], run.markup[..., one][free], np.nonzero(free)[1]
    shape = (free.shape[1], len(cuts) + 1)
    place = world * shape[1] + np.searchsorted(cuts, seen)

    def total(weights: Floats) -> Floats:
        return np.asarray(np.bincount(place, weights, shape[0] * shape[1]).reshape(shape), np.float64)

    bid = np.isfinite(markup)
    one_each = np.ones(len(seen))
    return _Binned(total(one_each), total(seen), total(one_each * bid), total(np.where(bid, markup, 0.0)))


def _tables(runs: Sequence[_Binned], part: str, whole: str, scale: float = 1.0) -> list[Table]:
    """A ratio in each fifth."""
    parts, wholes = (np.array([getattr(run, name) for run in runs]) for name in (part, whole))  # [runs, worlds, fifths]
    return [Table.ratio(scale * parts[..., i], wholes[..., i]) for i in range(parts.shape[-1])]


def _span(policy: Sequence[Table], reference: Sequence[Table]) -> Span:
    mine, others = policy[-1] - policy[0], reference[-1] - reference[0]
    nothing = Table.plain(np.zeros((1, mine.values.shape[-1])))
    return Span(*paired([mine, others, mine], [nothing, nothing, others]))
