"""How bids move with load, age of stock, distance and what else there is to be seen.

A hub's standing bids and its bids on tenders, and the depots' quotes, are mark-ups. Each is held against what its agent
saw on the morning it was made: the decisions of both policies are sorted by what was seen and cut into fifths, at the
same places for both, and the mean mark-up and the share of decisions with any bid at all are given for each fifth.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from fabmesh.agents.evaluation.explain_pairs import Pair, Table, paired, pairs, plain_pairs
from fabmesh.agents.evaluation.explain_record import Choices, Play
from fabmesh.agents.evaluation.statistics import Estimate, Floats
from fabmesh.envs.network.actions import component_blocks
from fabmesh.envs.network.scenario import Scenario
from fabmesh.envs.network.scenario_tables import build_tables

FIFTHS = 5
STILL = 0.05  # percentage points: what moves less over all fifths stands still
ALL = "all"
Seen: TypeAlias = Mapping[str, NDArray[np.float32]]
View: TypeAlias = Callable[[Seen, Floats], NDArray[np.float32]]
"""Features, and the materials of each lane as shares [lanes, materials], to a number per item of the component."""


@dataclass(frozen=True)
class Driver:
    """Something an agent sees that its bids may depend on.

    Attributes:
        name: Key in files; where it is a feature, its name.
        label: Words.
        unit: Unit.
        scale: Units per unit of the feature.
        reads: Feature blocks it is made from.
        view: Makes it.
    """

    name: str
    label: str
    unit: str
    scale: float
    reads: tuple[str, ...]
    view: View = field(repr=False)


@dataclass(frozen=True)
class Priced:
    """A component whose levels are mark-ups, the lowest being no bid.

    Attributes:
        role: Whose.
        component: Block of the action.
        label: Words.
        each: What an item is, where items are told apart; "" where they are not.
        drivers: What is held against it.
    """

    role: str
    component: str
    label: str
    each: str
    drivers: tuple[Driver, ...]


def _feature(name: str, label: str, unit: str, scale: float) -> Driver:
    """A feature with an item for each item of the component."""
    return Driver(name, label, unit, scale, (name,), lambda seen, _: seen[name])


def _whole_hub(seen: Seen, _: Floats) -> NDArray[np.float32]:
    return seen["labour_load"][..., :1]


def _age_of_lane(seen: Seen, materials: Floats) -> NDArray[np.float32]:
    return np.asarray(seen["ageing"] @ materials.T.astype(np.float32))


def _of_tenders_lane(by_lane: View) -> View:
    """What is known of lanes, for the lane of the tender in each slot."""

    def view(seen: Seen, materials: Floats) -> NDArray[np.float32]:
        lanes = by_lane(seen, materials)
        lane = seen["tender_lane"].reshape(*lanes.shape[:-1], -1, lanes.shape[-1]).argmax(axis=-1)
        return np.asarray(np.take_along_axis(lanes, lane, axis=-1))

    return view


_LABOUR = Driver("labour_load", "technicians' work committed", "days", 5.0, ("labour_load",), _whole_hub)
_AGE_LABEL = "lane's stock that expires first"
PRICED = (
    Priced(
        "hub",
        "bid",
        "standing bids of hubs",
        "lane",
        (
            _feature("lane_load", "machine work committed", "days", 5.0),
            _LABOUR,
            _feature("lane_offer", "work on offer", "days", 1.0),
            Driver("ageing", _AGE_LABEL, "%", 100.0, ("ageing",), _age_of_lane),
            _feature("lane_local", "offer from its own town", "%", 100.0),
            _feature("lane_margin", "mark-up that customers can pay", "%", 100.0),
        ),
    ),
    Priced(
        "hub",
        "tender",
        "bids of hubs on tenders",
        "",
        (
            Driver("lane_load", "work committed in its lane", "days", 5.0, ("lane_load", "tender_lane"),
                   _of_tenders_lane(lambda seen, _: seen["lane_load"])),
            _LABOUR,
            _feature("tender_work", "its work / hours until due", "%", 100.0),
            _feature("tender_distance", "distance", "km", 100.0),
            _feature("tender_due", "time until due", "days", 15.0),
            Driver("ageing", _AGE_LABEL, "%", 100.0, ("ageing", "tender_lane"), _of_tenders_lane(_age_of_lane)),
            _feature("tender_margin", "mark-up that it can pay", "%", 100.0),
        ),
    ),
    Priced(
        "depot",
        "quote",
        "quotes of depots",
        "material",
        (
            _feature("stock_cover", "stock on hand", "days", 20.0),
            _feature("ageing", "stock that expires first", "%", 100.0),
            _feature("request_rate", "requests above expectation", "%", 100.0),
            _feature("landed_cost", "landed cost above bulk price", "%", 100.0),
        ),
    ),
)  # fmt: skip
FEATURES = {
    role: {name for priced in PRICED if priced.role == role for driver in priced.drivers for name in driver.reads}
    for role in ("hub", "depot")
}
"""Role -> feature blocks that `Play.choices` must hold."""


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


def lane_materials(scenario: Scenario) -> Floats:
    """Materials that the work of a lane takes, as equal shares that add up to 1, [lanes, materials]; nan if none."""
    tables = build_tables(scenario, component_blocks(scenario, "hub")[1], component_blocks(scenario, "depot")[1])
    uses = np.zeros((len(scenario.technologies), len(scenario.materials)))
    for row in tables.row:
        uses[row["lane"], row["bom_material"][: row["bom"]]] = 1.0
    total = uses.sum(axis=1, keepdims=True)
    return np.asarray(uses / np.where(total > 0, total, np.nan))


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
