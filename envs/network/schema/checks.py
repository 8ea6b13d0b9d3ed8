"""What a scenario may say: types, allowed values as declared with each field, references between its parts."""

from __future__ import annotations

import dataclasses
import itertools
import math
import types
import typing
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from fabmesh.envs.errors import ScenarioError
from fabmesh.envs.network.schema import scenario as schema
from fabmesh.envs.network.schema.disruption_kinds import STRIKES
from fabmesh.envs.network.schema.parameters import field_types, parameters, within
from fabmesh.envs.network.schema.scenario import Actions, BomLine, Scenario, Stage, Variant
from fabmesh.envs.network.schema.sizes import MAX_BOM, MAX_STAGES, MOST_ENTRIES
from fabmesh.envs.network.schema.yaml_tree import join, nearest

Refuse = Callable[[str, str], ScenarioError]  # (key path, what is wrong) -> the error to raise
_LONG = 10**15  # numbers from here on are not written out in messages


def component_levels(actions: Actions) -> dict[str, int]:
    """Number of levels of every action component that can be switched off, by its name in `Actions.switched_off`."""
    return {
        "hub.bid": 1 + len(actions.bid_markups),
        "hub.tender": 1 + len(actions.bid_markups),
        "hub.cover": 1 + len(actions.cover_d),
        "hub.trigger": len(actions.reorder_trigger),
        "hub.can_order": 3,
        "hub.make_to_stock": 1 + len(actions.make_to_stock_d),
        "hub.overtime": len(actions.overtime),
        "depot.trigger": 1 + len(actions.depot_trigger),
        "depot.lot": len(actions.depot_lot_d) + 1,
        "depot.quote": 1 + len(actions.depot_quote),
    }


def mechanism_levels(scenario: Scenario) -> dict[str, int]:
    """The same of the components that exist only where the scenario switches their mechanism on."""
    levels = {}
    if scenario.upkeep.enabled or scenario.quality.enabled:
        levels["hub.upkeep"] = 1 + len(scenario.technologies)
    if scenario.quality.enabled:
        levels |= {"depot.source": 2, "depot.inspection": 3}
    return levels


def check_scenario(scenario: Scenario, refuse: Refuse) -> None:
    """Raises the error that `refuse` makes of the first thing found wrong."""
    _check_value(Scenario, scenario, "", refuse)
    _check_names(scenario, refuse)
    _check_hubs(scenario, refuse)
    _check_materials(scenario, refuse)
    _check_work(scenario, refuse)
    _check_tenders(scenario, refuse)
    _check_rules(scenario, refuse)
    _check_actions(scenario, refuse)
    _check_script(scenario, refuse)


def check_values(cls: type, value: object, refuse: Refuse) -> None:
    """Types, ranges and choices of any dataclass whose fields are declared as those of the schema."""
    _check_value(cls, value, "", refuse)


# --- types and ranges ------------------------------------------------------------------------------------------


def type_problem(hint: type, value: object) -> str | None:
    """What is wrong with a scalar that should be of type `hint`; None where nothing is."""
    if hint is float:
        if type(value) not in (int, float):
            return "is not a number"
    elif hint is int:
        if type(value) is not int:
            return "is not a whole number"
    elif type(value) is not hint:
        return "is neither true nor false" if hint is bool else "is not a word"
    return None


def _check_value(hint: Any, value: Any, path: str, refuse: Refuse, interval: str = "") -> None:
    if isinstance(hint, types.UnionType):
        if value is None:
            return
        (hint,) = (part for part in typing.get_args(hint) if part is not types.NoneType)
    origin = typing.get_origin(hint)
    if dataclasses.is_dataclass(hint):
        _check_dataclass(typing.cast(type, hint), value, path, refuse)
    elif origin is tuple:
        parts = typing.get_args(hint)
        if not isinstance(value, tuple) or (parts[-1] is not Ellipsis and len(value) != len(parts)):
            raise refuse(path, f"must be a tuple{'' if parts[-1] is Ellipsis else f' of {len(parts)}'}, not {value!r}")
        if len(value) > MOST_ENTRIES:
            raise refuse(path, f"has {len(value):,} entries; at most {MOST_ENTRIES:,} are possible")
        for i, item in enumerate(value):
            _check_value(parts[0], item, f"{path}[{i}]", refuse, interval)
    elif origin is dict:
        if not isinstance(value, dict):
            raise refuse(path, f"must be a mapping, not {value!r}")
        for key, item in value.items():
            _check_value(typing.get_args(hint)[1], item, join(path, key), refuse, interval)
    else:
        problem = type_problem(hint, value)
        if problem:
            raise refuse(path, f"{value!r} {problem}")
        if interval:
            _check_interval(value, interval, path, refuse)


def _check_dataclass(cls: type, value: Any, path: str, refuse: Refuse) -> None:
    if not isinstance(value, cls):
        raise refuse(path, f"must be a {cls.__name__}, not {value!r}")
    hints = field_types(cls)
    for name, parameter in parameters(cls).items():
        item, item_path = getattr(value, name), join(path, name)
        _check_value(hints[name], item, item_path, refuse, parameter.interval)
        if parameter.choices and item not in parameter.choices:
            raise refuse(item_path, f"{item!r} is not known; {nearest(item, parameter.choices)}")


def _check_interval(value: float, interval: str, path: str, refuse: Refuse) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise refuse(path, f"{value} is not a finite number")
    if not within(value, interval):
        raise refuse(path, f"{shown_number(value)} is out of range; allowed: {interval}")


def shown_number(value: float) -> str:
    """A number as short as it can be without being another; a whole one of any length."""
    if abs(value) >= _LONG:
        return f"a number of more than {len(str(_LONG)) - 1} digits" if isinstance(value, int) else f"{value:g}"
    short = f"{value:g}"
    return short if float(short) == value else repr(value)


# --- references and relations ----------------------------------------------------------------------------------


def _check_names(scenario: Scenario, refuse: Refuse) -> None:
    for section in ("towns", "hubs", "depots", "technologies", "materials", "products"):
        if not getattr(scenario, section):
            raise refuse(section, "is empty; at least one is needed")
    _unique([("name", scenario.name)], refuse)
    for section in ("towns", "depots", "technologies", "materials"):
        _unique(((f"{section}[{i}].name", x.name) for i, x in enumerate(getattr(scenario, section))), refuse)
    _unique(((f"hubs[{i}].town", hub.town) for i, hub in enumerate(scenario.hubs)), refuse)
    orders = ("products", "custom_streams", "tender_streams")  # orders are named by these: one space of names
    _unique(((f"{s}[{i}].name", x.name) for s in orders for i, x in enumerate(getattr(scenario, s))), refuse)


def _unique(named: Sequence[tuple[str, str]] | Iterator[tuple[str, str]], refuse: Refuse) -> None:
    seen: dict[str, str] = {}
    for path, name in named:
        if not name.strip() or name != name.strip() or not name.isprintable():
            raise refuse(path, f"{name!r} is not a name: it needs visible characters and no space around them")
        if name in seen:
            raise refuse(path, f"{name!r} is used twice, first at {seen[name]}")
        seen[name] = path


def _known(name: str, allowed: Sequence[str], what: str, path: str, refuse: Refuse) -> None:
    if name not in allowed:
        raise refuse(path, f"{name!r} is not a {what} of this scenario; {nearest(name, allowed)}")


def _check_materials(scenario: Scenario, refuse: Refuse) -> None:
    products = {product.name: product for product in scenario.products}
    for i, material in enumerate(scenario.materials):
        path = f"materials[{i}]"
        if material.retail_eur < material.bulk_eur:
            raise refuse(f"{path}.retail_eur", f"{material.retail_eur:g} is below bulk_eur ({material.bulk_eur:g})")
        if material.pack > material.pallet:
            raise refuse(f"{path}.pack", f"{material.pack:g} is more than a pallet ({material.pallet:g})")
        if material.unit == "kg" and material.kg != 1:
            raise refuse(f"{path}.kg", f"{material.kg:g}, but a material counted in kg weighs 1 kg per unit")
        if material.design_of is not None:
            _known(material.design_of, list(products), "product", f"{path}.design_of", refuse)
            if all(line.material != material.name for line in products[material.design_of].bom):
                raise refuse(f"{path}.design_of", f"{material.design_of!r} has no {material.name!r} in its bom")
    used = {line.material for _, _, bom in _recipes(scenario) for line in bom}
    for i, material in enumerate(scenario.materials):
        if material.name not in used:
            raise refuse(f"materials[{i}].name", f"{material.name!r} is in no bill of materials; remove it or use it")


def _recipes(scenario: Scenario) -> Iterator[tuple[str, tuple[Stage, ...], tuple[BomLine, ...]]]:
    """Path, stages and bill of materials of everything that is made."""
    for i, product in enumerate(scenario.products):
        yield f"products[{i}]", product.stages, product.bom
    for path, variant in _variants(scenario):
        yield path, variant.stages, variant.bom


def _variants(scenario: Scenario) -> Iterator[tuple[str, Variant]]:
    for section in ("custom_streams", "tender_streams"):
        for i, stream in enumerate(getattr(scenario, section)):
            for j, variant in enumerate(stream.variants):
                yield f"{section}[{i}].variants[{j}]", variant


def _check_work(scenario: Scenario, refuse: Refuse) -> None:
    technologies = [technology.name for technology in scenario.technologies]
    materials = [material.name for material in scenario.materials]
    for path, stages, bom in _recipes(scenario):
        if not stages:
            raise refuse(f"{path}.stages", "is empty; work needs at least one stage")
        for name, parts, most in (("stages", stages, MAX_STAGES), ("bom", bom, MAX_BOM)):
            if len(parts) > most:
                raise refuse(f"{path}.{name}", f"has {len(parts)} entries; at most {most} are possible")
        for i, stage in enumerate(stages):
            _known(stage.technology, technologies, "technology", f"{path}.stages[{i}].technology", refuse)
            if stage.machine_h + stage.machine_h_per_eur <= 0:
                raise refuse(f"{path}.stages[{i}]", "needs machine hours: machine_h or machine_h_per_eur above 0")
        for i, line in enumerate(bom):
            at = f"{path}.bom[{i}]"
            _known(line.material, materials, "material", f"{at}.material", refuse)
            if line.quantity + line.quantity_per_eur <= 0:
                raise refuse(at, f"needs some {line.material}: quantity or quantity_per_eur above 0")
            if line.stage >= len(stages):
                raise refuse(f"{at}.stage", f"{line.stage} is out of range; stages are counted 0 to {len(stages) - 1}")
            if any((line.material, line.stage) == (other.material, other.stage) for other in bom[:i]):
                raise refuse(f"{at}.material", f"{line.material!r} is listed twice for stage {line.stage}")
        _check_makeable(scenario, path, stages, refuse)
    for section in ("custom_streams", "tender_streams"):
        for i, stream in enumerate(getattr(scenario, section)):
            path = f"{section}[{i}].variants"
            _unique([(f"{path}[{j}].name", variant.name) for j, variant in enumerate(stream.variants)], refuse)
            total = sum(variant.share for variant in stream.variants)
            if abs(total - 1.0) > 1e-6:
                raise refuse(path, f"the shares of the variants sum to {total:g}; they must sum to 1")
            due = stream.due_d if isinstance(stream.due_d, int) else stream.due_d[0]
            days = max(len(variant.stages) for variant in stream.variants)
            if due < days + 1:
                raise refuse(f"{section}[{i}].due_d", f"{due} is too soon: {days} day(s) of work and one to deliver")


def _check_makeable(scenario: Scenario, path: str, stages: tuple[Stage, ...], refuse: Refuse) -> None:
    needed = {stage.technology for stage in stages}
    owned = [{name for name, count in hub.machines.items() if count > 0} for hub in scenario.hubs]
    if any(needed <= machines for machines in owned):
        return
    text = f"no hub can make it: no hub owns {' and '.join(sorted(needed))}"
    raise refuse(f"{path}.stages", text + (" together" if len(needed) > 1 else ""))


def _check_hubs(scenario: Scenario, refuse: Refuse) -> None:
    towns = [town.name for town in scenario.towns]
    technologies = [technology.name for technology in scenario.technologies]
    for i, hub in enumerate(scenario.hubs):
        _known(hub.town, towns, "town", f"hubs[{i}].town", refuse)
        for name in hub.machines:
            _known(name, technologies, "technology", f"hubs[{i}].machines.{name}", refuse)
        if not any(hub.machines.values()):
            raise refuse(f"hubs[{i}].machines", "the hub owns no machine")
    for i, technology in enumerate(scenario.technologies):
        if technology.setup_h >= technology.hours_per_day:
            text = f"{technology.setup_h:g} leaves nothing of the day of {technology.hours_per_day:g} h"
            raise refuse(f"technologies[{i}].setup_h", text)


def _check_tenders(scenario: Scenario, refuse: Refuse) -> None:
    for i, stream in enumerate(scenario.tender_streams):
        for name in ("units", "price_eur", "due_d"):
            _rising(getattr(stream, name), f"tender_streams[{i}].{name}", refuse, strictly=False)


def _check_rules(scenario: Scenario, refuse: Refuse) -> None:
    supply = scenario.supply
    _rising(supply.price_breaks_pallets, "supply.price_breaks_pallets", refuse)
    _rising(supply.price_factors[::-1], "supply.price_factors", refuse, strictly=False, falling=True)
    if len(supply.price_factors) != len(supply.price_breaks_pallets) + 1:
        text = f"{len(supply.price_factors)} factors for {len(supply.price_breaks_pallets)} breaks; one more is needed"
        raise refuse("supply.price_factors", text)
    _rising(supply.life_at_receipt, "supply.life_at_receipt", refuse, strictly=False)
    _rising(scenario.inventory.opening_level, "inventory.opening_level", refuse, strictly=False)
    _rising(scenario.demand.surge_factor, "demand.surge_factor", refuse, strictly=False)
    _rising(scenario.demand.surge_d, "demand.surge_d", refuse, strictly=False)
    _rising(scenario.disruptions.supplier_stop_output, "disruptions.supplier_stop_output", refuse, strictly=False)
    _rising(scenario.disruptions.tampering_found_d, "disruptions.tampering_found_d", refuse, strictly=False)
    people = scenario.people
    if people.absence_share / (1.0 - people.absence_share) > people.absence_spell_d:
        least = people.absence_share / (1.0 - people.absence_share)
        text = f"{people.absence_spell_d:g} is too short for absence_share {people.absence_share:g}; at least {least:g}"
        raise refuse("people.absence_spell_d", text)
    if scenario.market.cancel_after_d <= scenario.market.lateness_grace_d:
        text = f"{scenario.market.cancel_after_d} must be above lateness_grace_d ({scenario.market.lateness_grace_d})"
        raise refuse("market.cancel_after_d", text)


def _rising(
    values: Sequence[float], path: str, refuse: Refuse, *, strictly: bool = True, falling: bool = False
) -> None:
    if any(b < a or (strictly and b == a) for a, b in itertools.pairwise(values)):
        order = "fall" if falling else "rise"
        shown = values[::-1] if falling else values
        text = f"[{', '.join(f'{value:g}' for value in shown)}] must {order} from left to right"
        raise refuse(path, text + (" without repeats" if strictly else ""))


def _check_actions(scenario: Scenario, refuse: Refuse) -> None:
    actions = scenario.actions
    for name in ("bid_markups", "cover_d", "make_to_stock_d", "overtime", "depot_trigger", "depot_lot_d"):
        _rising(getattr(actions, name), f"actions.{name}", refuse)
    _rising(actions.depot_quote, "actions.depot_quote", refuse)
    _rising(actions.reorder_trigger[::-1], "actions.reorder_trigger", refuse, falling=True)
    for field in dataclasses.fields(schema.Actions):
        if field.name != "switched_off" and not getattr(actions, field.name):
            raise refuse(f"actions.{field.name}", "is empty; a component needs levels (see switched_off)")
    levels = component_levels(actions) | mechanism_levels(scenario)
    for name, level in actions.switched_off.items():
        _known(name, list(levels), "component", f"actions.switched_off.{name}", refuse)
        if level >= levels[name]:
            text = f"{level} is out of range; the levels of {name} are counted 0 to {levels[name] - 1}"
            raise refuse(f"actions.switched_off.{name}", text)
    for role in ("hub", "depot"):
        if all(name in actions.switched_off for name in levels if name.startswith(f"{role}.")):
            raise refuse("actions.switched_off", f"leaves a {role} nothing to decide")


def _check_script(scenario: Scenario, refuse: Refuse) -> None:
    """Every scripted disruption falls into the episode and strikes something that is there."""
    names = {
        "hub": [hub.town for hub in scenario.hubs],
        "town": [town.name for town in scenario.towns],
        "depot": [depot.name for depot in scenario.depots],
        "material": [material.name for material in scenario.materials],
        "product": [product.name for product in scenario.products],
    }
    for i, event in enumerate(scenario.disruptions.scripted):
        path = f"disruptions.scripted[{i}]"
        if event.day >= scenario.episode_d:
            text = f"day {event.day} is after the episode; its last day is {scenario.episode_d - 1}"
            raise refuse(f"{path}.day", text)
        if (event.factor is None) == (event.kind == "demand_surge"):
            text = "is missing; a demand_surge needs one" if event.factor is None else "only a demand_surge has one"
            raise refuse(f"{path}.factor", text)
        what = STRIKES[event.kind]
        if not what:
            if event.target is not None:
                text = f"{event.target!r}, but {event.kind} strikes the whole network; leave the target out"
                raise refuse(f"{path}.target", text)
        elif event.target is None:
            raise refuse(f"{path}.target", f"is missing; {event.kind} strikes a {what}: {', '.join(names[what])}")
        else:
            _known(event.target, names[what], what, f"{path}.target", refuse)
