"""What is bid, and what an agent sees that its bids may depend on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from fabmesh.agents.evaluation.statistics import Floats
from fabmesh.envs.network.books.scenario_tables import build_tables
from fabmesh.envs.network.interface.spec import layout
from fabmesh.envs.network.schema.scenario import Scenario

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


def lane_materials(scenario: Scenario) -> Floats:
    """Materials that the work of a lane takes, as equal shares that add up to 1, [lanes, materials]; nan if none."""
    tables = build_tables(scenario, layout(scenario))
    uses = np.zeros((len(scenario.technologies), len(scenario.materials)))
    for row in tables.row:
        uses[row["lane"], row["bom_material"][: row["bom"]]] = 1.0
    total = uses.sum(axis=1, keepdims=True)
    return np.asarray(uses / np.where(total > 0, total, np.nan))
