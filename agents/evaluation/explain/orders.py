"""Order levels by material: how much hubs and depots hold and order, against lead times and price breaks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from fabmesh.agents.evaluation.explain.pairs import Pair, Table, pairs
from fabmesh.agents.evaluation.explain.record import Choices, Play
from fabmesh.agents.evaluation.statistics import Floats
from fabmesh.agents.heuristics.expectations import expect
from fabmesh.envs.network.schema.scenario import Material, Scenario

HUB_COVER_D, DEPOT_COVER_D = 10.0, 20.0  # days of use that a feature `stock_cover` of 1 stands for
FEATURES = {"hub": {"stock_cover"}, "depot": {"stock_cover"}}
"""Role -> feature blocks that `Play.choices` must hold."""
Ratio: TypeAlias = Callable[[Play, Scenario], tuple[Floats, Floats]]
"""What is summed and what it is divided by, [worlds, materials] each."""


@dataclass(frozen=True)
class Number:
    """A number of every material.

    Attributes:
        name: Key in files.
        label: Words.
        unit: Unit; "share" is of 1.
        component: Role and component it is about; left out where the scenario has it switched off.
        ratio: How it is worked out.
    """

    name: str
    label: str
    unit: str
    component: tuple[str, str]
    ratio: Ratio = field(repr=False)


def _level(role: str, component: str) -> Ratio:
    """Mean of the levels that are numbers."""

    def ratio(play: Play, scenario: Scenario) -> tuple[Floats, Floats]:
        values, free = _values(play.choices[role], component)
        number = free & np.isfinite(values)
        return _sum(np.where(number, values, 0.0)), _sum(number)

    return ratio


def _share(role: str, component: str, last: bool = False) -> Ratio:
    """Share of the decisions for the lowest level, or for the last."""

    def ratio(play: Play, scenario: Scenario) -> tuple[Floats, Floats]:
        choices = play.choices[role]
        columns = choices.spec.component(component)
        level = int(choices.spec.nvec[columns.start]) - 1 if last else 0
        free = choices.free[..., columns]
        return _sum(free & (choices.levels[..., columns] == level)), _sum(free)

    return ratio


def _held(role: str, days: float) -> Ratio:
    def ratio(play: Play, scenario: Scenario) -> tuple[Floats, Floats]:
        cover = days * play.choices[role].seen["stock_cover"].astype(np.float64)
        return _sum(cover), _sum(np.ones_like(cover))

    return ratio


def _per_order(what: Callable[[Play, Scenario], Floats]) -> Ratio:
    return lambda play, scenario: (what(play, scenario), play.bought.orders)


def _above_bulk(play: Play, scenario: Scenario) -> tuple[Floats, Floats]:
    at_bulk = play.bought.quantity * np.array([material.bulk_eur for material in scenario.materials])
    return play.bought.eur - at_bulk, at_bulk


def _pallets(play: Play, scenario: Scenario) -> Floats:
    return np.asarray(play.bought.quantity / np.array([material.pallet for material in scenario.materials]))


NUMBERS = (
    Number("cover_d", "order-up-to level of hubs", "days of use", ("hub", "cover"), _level("hub", "cover")),
    Number("no_cover", "no order-up-to level", "share", ("hub", "cover"), _share("hub", "cover")),
    Number("held_d", "on hand at hubs", "days of use", ("hub", "cover"), _held("hub", HUB_COVER_D)),
    Number("trigger", "reorder point", "x lead-time need", ("depot", "trigger"), _level("depot", "trigger")),
    Number("no_trigger", "no reorder point", "share", ("depot", "trigger"), _share("depot", "trigger")),
    Number("lot_d", "lot", "days of requests", ("depot", "lot"), _level("depot", "lot")),
    Number("next_break", "lot up to the next price break", "share", ("depot", "lot"), _share("depot", "lot", True)),
    Number("depot_held_d", "on hand at depots", "days of requests", ("depot", "lot"), _held("depot", DEPOT_COVER_D)),
    Number("orders", "orders at suppliers", "orders", ("depot", "lot"),
           lambda play, _: (play.bought.orders, np.ones_like(play.bought.orders))),
    Number("order_pallets", "size of an order", "pallets", ("depot", "lot"), _per_order(_pallets)),
    Number("price_above_bulk", "paid above bulk price", "share", ("depot", "lot"), _above_bulk),
)  # fmt: skip


@dataclass(frozen=True)
class MaterialLevels:
    """How a material is ordered.

    Attributes:
        material: The material.
        pallet_d: Days that a pallet lasts the mean depot, at the requests that are expected.
        numbers: Name in `NUMBERS` -> both policies' mean.
    """

    material: Material
    pallet_d: float
    numbers: dict[str, Pair]


def material_levels(
    policy: Sequence[Play], reference: Sequence[Play], scenario: Scenario
) -> tuple[MaterialLevels, ...]:
    """Order levels of every material, the longest lead time first."""
    specs = {role: choices.spec for role, choices in policy[0].choices.items()}
    numbers = [number for number in NUMBERS if specs[number.component[0]].has_component(number.component[1])]
    found = pairs(
        *([table for number in numbers for table in _tables(side, number, scenario)] for side in (policy, reference))
    )
    materials = len(scenario.materials)
    by_number = {n.name: found[i * materials : (i + 1) * materials] for i, n in enumerate(numbers)}
    use = expect(scenario).depot_use.mean(axis=0)
    levels = [
        MaterialLevels(
            material,
            float(material.pallet / use[m]) if use[m] > 0 else np.inf,
            {name: of[m] for name, of in by_number.items()},
        )
        for m, material in enumerate(scenario.materials)
    ]
    return tuple(sorted(levels, key=lambda entry: -entry.material.lead_mean_d))


def _tables(runs: Sequence[Play], number: Number, scenario: Scenario) -> list[Table]:
    """A number of every material."""
    parts, wholes = (np.array(side) for side in zip(*(number.ratio(run, scenario) for run in runs), strict=True))
    return [Table.ratio(parts[..., m], wholes[..., m]) for m in range(parts.shape[-1])]


def _values(choices: Choices, component: str) -> tuple[Floats, np.ndarray]:
    columns = choices.spec.component(component)
    block = next(block for block in choices.spec.components if block.name == component)
    return np.array(block.values)[choices.levels[..., columns]], choices.free[..., columns]


def _sum(values: np.ndarray) -> Floats:
    """Over days and agents: [days, worlds, agents, materials] to [worlds, materials]."""
    return np.asarray(values.sum(axis=(0, 2), dtype=np.float64))
