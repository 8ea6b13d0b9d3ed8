"""Every number of a scenario at both ends of its interval: lawful there, refused in one line a step outside."""

from __future__ import annotations

import dataclasses
import math
import time
import typing
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from laws import check_nothing_is_negative, check_orders, has_not_fallen
from minimal import refused
from ranges import RANGES

from fabmesh.envs.errors import ScenarioError
from fabmesh.envs.network.books.state import FLOW_NAMES
from fabmesh.envs.network.loading import load_scenario, validate
from fabmesh.envs.network.mechanisms.quality import MOST_SCRAP
from fabmesh.envs.network.schema import scenario as schema
from fabmesh.envs.network.schema.parameters import bounds, within
from fabmesh.envs.network.schema.scenario import Scenario, ScriptedEvent
from fabmesh.envs.testing import check_laws, random_actions
from fabmesh.envs.vector import HubNetworkVector

DAYS = 8
LONGEST_S = 60  # for one case, on a busy machine: nothing may loop as often as a number says
POCKET = load_scenario("pocket")


def everything_on() -> Scenario:
    """A few days of the pocket network in which every number is read by something."""
    kinds = ("hub_outage", "regional_shock", "depot_outage", "supplier_stop", "port_closure", "long_route")
    kinds += ("material_shortage", "platform_outage", "ransomware", "platform_cyber")
    rates = {f"{kind}_year": 25.0 for kind in kinds}
    script = (ScriptedEvent("demand_surge", 2, 3, "P02", 3.0), ScriptedEvent("hub_outage", 4, 2, "Delft"))
    on = {"enabled": True}
    demand = {"surges_year": 12.0, "life_year": 0.5, "adoption_from": 0.5, "adoption_ramp_d": 60}
    sections: dict[str, dict[str, Any]] = {
        "people": on,
        "upkeep": on,
        "quality": on,
        "experience": on,
        "disruptions": rates | {"tampering_per_10k_orders": 90.0, "scripted": script},
        "demand": demand,
        "market": {"platform_fee": 0.1, "carbon_weight": 0.05, "quality_weight": 3.0},
        "inventory": {"closing_cover_d": 10},
    }
    changed = {name: dataclasses.replace(getattr(POCKET, name), **values) for name, values in sections.items()}
    ageing = [dataclasses.replace(m, sealed_life_d=40.0, floor_life_d=3.0, overseas=True) for m in POCKET.materials]
    machines = [dataclasses.replace(t, mtbf_h=20.0, mttr_h=4.0, tolerance_mm=0.1) for t in POCKET.technologies]
    return dataclasses.replace(POCKET, episode_d=DAYS, materials=tuple(ageing), technologies=tuple(machines), **changed)


BASE = everything_on()


def set_all(thing: Any, cls: str, name: str, value: float) -> Any:
    """A scenario in which a number of every object of a class is `value`; every one of several in a list or mapping."""
    if isinstance(thing, tuple):
        return tuple(set_all(item, cls, name, value) for item in thing)
    if not dataclasses.is_dataclass(thing) or isinstance(thing, type):
        return thing
    changes = {field.name: set_all(getattr(thing, field.name), cls, name, value) for field in dataclasses.fields(thing)}
    if type(thing).__name__ == cls:
        changes[name] = _shaped(type(thing), name, value, changes[name])
    return dataclasses.replace(thing, **changes)


def _shaped(cls: type, name: str, value: float, old: Any) -> Any:
    hint = typing.get_type_hints(cls)[name]
    number = int(value) if "int" in str(hint) else float(value)
    if name == "switched_off":
        return {"hub.overtime": number}
    if isinstance(old, dict):
        return dict.fromkeys(old, number)
    if typing.get_origin(hint) is tuple:
        return (number,) if typing.get_args(hint)[-1] is Ellipsis else (number, number)
    return number


def is_whole(cls: str, name: str) -> bool:
    return "int" in str(typing.get_type_hints(getattr(schema, cls))[name])


def ends(cls: str, name: str) -> list[tuple[float, float]]:
    """The outermost numbers allowed, and the next ones outside."""
    interval = RANGES[cls][name]
    found = []
    for end, outwards in zip(bounds(interval), (-math.inf, math.inf), strict=True):
        if is_whole(cls, name):
            step = math.copysign(1, outwards)
            inside = end if within(end, interval) else end - step
            found.append((inside, inside + step))
        else:
            inside = end if within(end, interval) else math.nextafter(end, -outwards)
            found.append((inside, math.nextafter(inside, outwards)))
    return found


# What must change with a number so that the scenario still makes sense; else the relation is refused, not the number.
WITH: dict[tuple[str, str], Callable[[Scenario, float], Scenario]] = {
    ("Material", "bulk_eur"): lambda s, v: set_all(s, "Material", "retail_eur", max(v, 60.0)),
    ("Material", "retail_eur"): lambda s, v: set_all(s, "Material", "bulk_eur", min(v, 1.0)),
    ("Material", "pack"): lambda s, v: set_all(s, "Material", "pallet", max(v, 1000.0)),
    ("Material", "pallet"): lambda s, v: set_all(s, "Material", "pack", min(v, 1.0)),
    ("Material", "kg"): lambda s, v: set_all_words(s, "Material", "unit", "piece"),
    ("Market", "lateness_grace_d"): lambda s, v: set_all(s, "Market", "cancel_after_d", v + 1),
    ("Market", "cancel_after_d"): lambda s, v: set_all(s, "Market", "lateness_grace_d", 0),
    ("People", "absence_share"): lambda s, v: set_all(s, "People", "absence_spell_d", 100),
    ("Supply", "price_breaks_pallets"): lambda s, v: _two_factors(s, 1.0, 0.0),
    ("Supply", "price_factors"): lambda s, v: _two_factors(set_all(s, "Supply", "price_breaks_pallets", 1.0), v, v),
    ("Scenario", "episode_d"): lambda s, v: dataclasses.replace(s, disruptions=POCKET.disruptions),
    ("Product", "units_per_1000_year"): lambda s, v: set_all(s, "Town", "population", 2),
    ("CustomStream", "orders_per_100k_year"): lambda s, v: set_all(s, "Town", "population", 100),
    ("TenderStream", "tenders_per_100k_year"): lambda s, v: set_all(s, "Town", "population", 100),
    ("Town", "population"): lambda s, v: _few(s) if v > 1e6 else s,
    ("Demand", "catalogue_level"): lambda s, v: set_all(s, "Product", "units_per_1000_year", 0.01),
    ("Demand", "custom_level"): lambda s, v: set_all(s, "CustomStream", "orders_per_100k_year", 1.0),
    ("Demand", "tender_level"): lambda s, v: set_all(s, "TenderStream", "tenders_per_100k_year", 1.0),
    ("Demand", "surge_factor"): lambda s, v: set_all(s, "Demand", "catalogue_level", 0.01),
    ("ScriptedEvent", "factor"): lambda s, v: _scripted(set_all(s, "Demand", "catalogue_level", 0.01), "factor", v),
    ("Technology", "hours_per_day"): lambda s, v: set_all(s, "Technology", "setup_h", 0.0),
    ("Hub", "machines"): lambda s, v: set_all(s, "Stage", "machine_h", 1.0) if v else _first_machine(s),
    ("Stage", "machine_h"): lambda s, v: s if v else set_all(s, "Stage", "machine_h_per_eur", 0.05),
    ("Stage", "machine_h_per_eur"): lambda s, v: s if v else set_all(s, "Stage", "machine_h", 1.0),
    ("BomLine", "quantity"): lambda s, v: set_all(s, "BomLine", "quantity_per_eur", 0.0 if v else 0.01),
    ("BomLine", "quantity_per_eur"): lambda s, v: set_all(s, "BomLine", "quantity", 0.0 if v else 0.5),
    ("CustomStream", "price_median_eur"): lambda s, v: _fixed_hours(s),
    ("TenderStream", "price_eur"): lambda s, v: _fixed_hours(s),
    ("TenderStream", "units"): lambda s, v: _fixed_hours(s),
}
# Ends that always break a relation: of another kind, or with a check of their own that has its own test.
NEVER = {
    ("Scenario", "episode_d", 1),  # played whole below
    ("Technology", "setup_h", 1),  # a day of 24 h is no more than that
    ("BomLine", "stage", 1),  # the stages of pocket's rows are fewer
    ("Variant", "share", 0),  # shares sum to 1
    ("Variant", "share", 1),
    ("CustomStream", "due_d", 0),  # no time for the stages
    ("TenderStream", "due_d", 0),
    ("ScriptedEvent", "day", 1),  # after the episode
    ("Actions", "switched_off", 1),  # there are not so many levels
    ("People", "absence_spell_d", 0),
}


LONG = {("Scenario", "episode_d")}  # one day says little about the others


def set_all_words(s: Scenario, cls: str, name: str, word: str) -> Scenario:
    return dataclasses.replace(s, materials=tuple(dataclasses.replace(m, **{name: word}) for m in s.materials))


def _two_factors(s: Scenario, first: float, last: float) -> Scenario:
    return dataclasses.replace(s, supply=dataclasses.replace(s.supply, price_factors=(first, last)))


def _few(s: Scenario) -> Scenario:
    s = set_all(set_all(s, "Demand", "custom_level", 0.0), "Demand", "tender_level", 0.0)
    return set_all(s, "Product", "units_per_1000_year", 0.001)


def _fixed_hours(s: Scenario) -> Scenario:
    """Work and material that do not grow or shrink with the price."""
    s = set_all(set_all(s, "Stage", "machine_h_per_eur", 0.0), "Stage", "machine_h", 0.5)
    return set_all(set_all(s, "BomLine", "quantity_per_eur", 0.0), "BomLine", "quantity", 0.5)


def _first_machine(s: Scenario) -> Scenario:
    """The first hub owns one of each machine, the others have only what the first product does not need."""
    names = [t.name for t in s.technologies]
    first = dataclasses.replace(s.hubs[0], machines=dict.fromkeys(names, 1))
    rest = [dataclasses.replace(h, machines=dict.fromkeys(names, 0) | {names[0]: 1}) for h in s.hubs[1:]]
    return dataclasses.replace(s, hubs=(first, *rest))


def _scripted(s: Scenario, name: str, value: float) -> Scenario:
    events = tuple(dataclasses.replace(e, factor=value) if e.factor else e for e in BASE.disruptions.scripted)
    return dataclasses.replace(s, disruptions=dataclasses.replace(s.disruptions, scripted=events))


def at_end(cls: str, name: str, value: float) -> Scenario:
    scenario = set_all(BASE, cls, name, value)
    return WITH.get((cls, name), lambda s, v: s)(scenario, value)


def play(scenario: Scenario, seed: int = 3) -> None:
    """Plays some days with random legal actions: every law, every number finite, and no longer than it may take."""
    began = time.monotonic()
    batch = HubNetworkVector(scenario, num_envs=1, autoreset=False)
    observed, info = batch.reset(seed=[seed])
    rng = np.random.default_rng(seed)
    reward: dict[str, Any] = {}
    for _ in range(min(scenario.episode_d, DAYS)):
        check_laws(batch)
        check_nothing_is_negative(batch)
        check_orders(batch)
        for array in (batch.ledger, batch.events, batch.arrays.flow, *observed.values(), *reward.values()):
            assert np.isfinite(array).all()
        before = batch.ledger.copy()
        observed, reward, _, truncated, info = batch.step(random_actions(batch, info["action_mask"], rng))
        has_not_fallen(batch, before)
    if truncated.all():
        assert np.isfinite(info["final_ledger"]).all()
        assert np.isfinite(info["final_events"]).all()
    batch.close()
    assert time.monotonic() - began < LONGEST_S


@pytest.fixture(scope="module", autouse=True)
def _compiled() -> None:
    """What is compiled once per machine counts in no case."""
    HubNetworkVector(BASE, num_envs=1).reset(seed=[0])


CLASSES = list(RANGES)


@pytest.mark.parametrize("cls", CLASSES)
def test_numbers_at_the_ends_of_their_intervals_are_lawful(cls: str) -> None:
    for name in RANGES[cls]:
        for side, (inside, _) in enumerate(ends(cls, name)):
            if (cls, name, side) in NEVER:
                continue
            print(cls, name, inside)  # shown where it fails
            play(validate(at_end(cls, name, inside)))


@pytest.mark.parametrize("cls", CLASSES)
def test_a_step_outside_is_refused_with_key_value_and_interval(cls: str) -> None:
    for name, interval in RANGES[cls].items():
        for _, outside in ends(cls, name):
            message = refused(set_all(BASE, cls, name, outside))  # intervals come before relations
            assert name in message
            shown = int(outside) if is_whole(cls, name) else outside
            assert str(shown) in message or repr(shown) in message or f"{shown:g}" in message
            assert message.endswith(f"is out of range; allowed: {interval}"), message


def many_ends(seed: int, count: int) -> Scenario:
    """A scenario with so many numbers at an end at once, and what must change with them; it may be refused."""
    rng = np.random.default_rng(seed)
    numbers = [(cls, name) for cls in CLASSES for name in RANGES[cls] if (cls, name) not in LONG]
    scenario = BASE
    for i in rng.choice(len(numbers), count, replace=False):
        cls, name = numbers[i]
        side = int(rng.integers(2))
        if (cls, name, side) not in NEVER:
            value = ends(cls, name)[side][0]
            scenario = WITH.get((cls, name), lambda s, v: s)(set_all(scenario, cls, name, value), value)
    return scenario


def play_many(seeds: range, count: int) -> int:
    """How many of the scenarios of these seeds were accepted; each of them is lawful, the others refused in a line."""
    accepted = 0
    for seed in seeds:
        print(seed, count)
        scenario = many_ends(seed, count)
        try:
            validate(scenario)
        except ScenarioError:
            assert "\n" not in refused(scenario)
            continue
        play(scenario)
        accepted += 1
    return accepted


def test_many_numbers_at_an_end_at_once_are_lawful_or_refused() -> None:
    assert play_many(range(60), 6) > 10


@pytest.mark.slow
@pytest.mark.parametrize("count", [3, 6, 12, 25, 80])
def test_very_many_scenarios_of_numbers_at_an_end(count: int) -> None:
    assert play_many(range(1000, 1100), count) > 0


def test_a_crumb_of_a_huge_pack_is_taken_out_of_it() -> None:
    """Half a piece of a pack of 1e9 was less than the slack for rounding: it was used and stayed on the shelf."""
    batch = HubNetworkVector(at_end("Material", "pack", 1e9), num_envs=1, autoreset=False)
    _, info = batch.reset(seed=[3])
    rng = np.random.default_rng(3)
    for _ in range(DAYS - 1):
        info = batch.step(random_actions(batch, info["action_mask"], rng))[4]
    shelf = batch.arrays.hub_mat["sealed"].sum(axis=-1) + batch.arrays.hub_mat["opened"]
    flow = dict(zip(FLOW_NAMES, np.moveaxis(batch.arrays.flow[:, : shelf.shape[1], :, :, 0], -1, 0), strict=True))
    assert (flow["used"] > 0).any()
    gone = flow["used"] + flow["scrapped"] + flow["expired"]
    assert np.allclose(flow["opening"] + flow["received"] - gone, shelf, rtol=0, atol=1e-3)


def test_scrap_has_one_upper_end() -> None:
    assert bounds(RANGES["Technology"]["scrap"])[1] == MOST_SCRAP
    assert bounds(RANGES["Disruptions"]["tampering_scrap"])[1] == MOST_SCRAP


@pytest.mark.slow
def test_a_longest_episode_is_lawful() -> None:
    batch = HubNetworkVector(dataclasses.replace(BASE, episode_d=5000), num_envs=1, autoreset=False)
    _, info = batch.reset(seed=[1])
    rng = np.random.default_rng(1)
    for day in range(5000):
        info = batch.step(random_actions(batch, info["action_mask"], rng))[4]
        if day % 100 == 0 and day + 1 < 5000:
            check_laws(batch)
            check_nothing_is_negative(batch)
            check_orders(batch)
    assert np.isfinite(info["final_ledger"]).all()
