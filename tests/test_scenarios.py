"""Scenario files: what ships loads, what is wrong is refused in one line that helps, and the sheet adds up."""

from __future__ import annotations

import dataclasses
import math
import typing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fabmesh.envs.errors import ScenarioError
from fabmesh.envs.network import scenario as schema
from fabmesh.envs.network.loading import load_scenario, shipped_scenarios, validate
from fabmesh.envs.network.scenario import Actions, Scenario, Town
from fabmesh.envs.network.scenario_checks import component_levels
from fabmesh.envs.network.scenario_ranges import CHOICES, RANGES
from fabmesh.envs.scenarios.__main__ import main
from fabmesh.envs.scenarios.dump import scenario_to_yaml

SHIPPED = shipped_scenarios()

# A whole scenario in few lines; the broken files below change one thing in it.
MINIMAL = """\
name: tiny
description: one of everything
episode_d: 20
towns:
  - {name: Delft, latitude: 52.0067, longitude: 4.3556, population: 95060}
hubs:
  - town: Delft
    machines: {FDM: 2, robot: 1}
    technicians: 1
depots:
  - {name: Ridderkerk, latitude: 51.8725, longitude: 4.6028}
technologies:
  - {name: FDM, hours_per_day: 18, rate_eur_h: 0.9, power_kw: 0.25, setup_h: 0.1, scrap: 0.06,
     machines_per_technician: 17.5, extended_by_overtime: false}
  - {name: robot, hours_per_day: 14, rate_eur_h: 6.5, power_kw: 1, setup_h: 0.33, scrap: 0.015,
     machines_per_technician: 3, extended_by_overtime: true}
materials:
  - name: petg
    unit: kg
    bulk_eur: 12
    retail_eur: 24
    pallet: 300
    pack: 1
    kg: 1
    litres: 0.787
    lead_mean_d: 7
    lead_sd_d: 2
  - name: kit
    unit: piece
    bulk_eur: 8.25
    retail_eur: 11
    pallet: 1000
    pack: 10
    kg: 0.15
    litres: 0.375
    lead_mean_d: 35
    lead_sd_d: 14
    design_of: node
products:
  - name: node
    label: sensor node
    stages:
      - {technology: FDM, machine_h: 1.1, labour_h: 0.03}
      - {technology: robot, machine_h: 0.1, labour_h: 0.05}
    bom:
      - {material: petg, quantity: 0.09, stage: 0}
      - {material: kit, quantity: 1, stage: 1}
    kg: 0.18
    litres: 0.9
    price_eur: 49
    units_per_order: 2.2
    units_per_1000_year: 3
    due_d: 4
custom_streams:
  - name: C1
    label: custom print
    orders_per_100k_year: 350
    price_median_eur: 85
    price_sigma: 0.8
    due_d: 5
    kg_per_eur: 0.003
    litres_per_eur: 0.02
    variants:
      - name: fdm
        share: 1.0
        stages:
          - {technology: FDM, machine_h_per_eur: 0.045}
        bom:
          - {material: petg, quantity_per_eur: 0.004}
tender_streams:
  - name: C3
    label: community part
    tenders_per_100k_year: 12
    units: [10, 60]
    price_eur: [600, 4000]
    due_d: [10, 15]
    kg_per_eur: 0.004
    litres_per_eur: 0.02
    variants:
      - {name: a, share: 0.5, stages: [{technology: FDM, machine_h_per_eur: 0.045}], bom: []}
      - {name: b, share: 0.5, stages: [{technology: robot, machine_h_per_eur: 0.01}], bom: []}
demand:
  dispersion: 2.0
market:
  goodwill: 0.05
supply:
  price_breaks_pallets: [0.05, 0.25, 1, 5]
  price_factors: [1, 0.75, 0.45, 0.12, 0]
actions:
  bid_markups: [-0.15, 0, 0.15]
"""

TOWNS = "towns:\n  - {name: Delft, latitude: 52.0067, longitude: 4.3556, population: 95060}"


class Broken(typing.NamedTuple):
    """One change that must be refused: where, and with which words."""

    old: str
    new: str
    key: str
    says: tuple[str, ...]
    line: int | None = None  # default: the first line that differs


def broken(old: str, new: str, key: str, *says: str, line: int | None = None) -> Broken:
    return Broken(old, new, key, says, line)


def line_of(text: str) -> int:
    return MINIMAL[: MINIMAL.index(text)].count("\n") + 1


BROKEN = {
    "unknown key": broken(
        "    pallet: 300", "    palet: 300", "materials[0].palet", "'palet'", "did you mean 'pallet'?"
    ),
    "unknown section": broken("depots:", "depot:", "depot", "'depot'", "did you mean 'depots'?"),
    "missing key": broken("    bulk_eur: 12\n", "", "materials[0].bulk_eur", "missing", line=line_of("  - name: petg")),
    "missing section": broken("description: one of everything\n", "", "description", "missing", line=1),
    "key twice": broken(
        "    pack: 1\n", "    pack: 1\n    pack: 2\n", "materials[0].pack", "twice", "first in line 23"
    ),
    "name twice": broken("  - name: kit", "  - name: petg", "materials[1].name", "'petg'", "materials[0].name"),
    "stream named as product": broken(
        "  - name: C1", "  - name: node", "custom_streams[0].name", "'node'", "products[0]"
    ),
    "variant twice": broken("{name: b,", "{name: a,", "tender_streams[0].variants[1].name", "'a'", "twice"),
    "blank name": broken("name: tiny", "name: ' tiny'", "name", "' tiny'", "visible characters"),
    "empty towns": broken(TOWNS, "towns: []", "towns", "empty"),
    "towns is nothing": broken(TOWNS, "towns:", "towns", "a list", line=4),
    "negative lead time": broken("lead_mean_d: 7", "lead_mean_d: -7", "materials[0].lead_mean_d", "-7", "(0, 250]"),
    "lead sd negative": broken("lead_sd_d: 14", "lead_sd_d: -1", "materials[1].lead_sd_d", "-1", "[0, inf)"),
    "latitude": broken("latitude: 52.0067", "latitude: 152", "towns[0].latitude", "152", "[-90, 90]"),
    "infinite": broken("rate_eur_h: 0.9", "rate_eur_h: .inf", "technologies[0].rate_eur_h", "inf", "finite"),
    "not a number": broken("price_eur: 49", "price_eur: .nan", "products[0].price_eur", "nan", "finite"),
    "unknown technology": broken(
        "technology: FDM, machine_h: 1.1",
        "technology: FMD, machine_h: 1.1",
        "products[0].stages[0].technology",
        "'FMD'",
        "did you mean 'FDM'?",
        "robot",
    ),
    "unknown material": broken(
        "{material: petg, quantity: 0.09",
        "{material: petq, quantity: 0.09",
        "products[0].bom[0].material",
        "'petq'",
        "did you mean 'petg'?",
    ),
    "unknown machine": broken(
        "{FDM: 2, robot: 1}", "{FDM: 2, robbot: 1}", "hubs[0].machines.robbot", "did you mean 'robot'?"
    ),
    "no hub can make it": broken(
        "{FDM: 2, robot: 1}",
        "{FDM: 2}",
        "products[0].stages",
        "FDM and robot together",
        line=line_of("      - {technology: FDM, machine_h: 1"),
    ),
    "machines not whole": broken("{FDM: 2,", "{FDM: 2.5,", "hubs[0].machines.FDM", "2.5", "whole number"),
    "hub without machines": broken("{FDM: 2, robot: 1}", "{FDM: 0, robot: 0}", "hubs[0].machines", "no machine"),
    "hub in no town": broken("  - town: Delft", "  - town: Delf", "hubs[0].town", "'Delf'", "did you mean 'Delft'?"),
    "no technician": broken("technicians: 1", "technicians: 0", "hubs[0].technicians", "0", "[1, inf)"),
    "shares": broken(
        "{name: b, share: 0.5",
        "{name: b, share: 0.4",
        "tender_streams[0].variants",
        "sum to 0.9",
        line=line_of("      - {name: a,"),
    ),
    "bom stage": broken("quantity: 1, stage: 1", "quantity: 1, stage: 2", "products[0].bom[1].stage", "2", "0 to 1"),
    "bom line of nothing": broken("quantity: 1, stage: 1", "quantity: 0, stage: 1", "products[0].bom[1]", "kit"),
    "too many stages": broken(
        "      - {technology: FDM, machine_h: 1.1, labour_h: 0.03}\n",
        "      - {technology: FDM, machine_h: 1.1, labour_h: 0.03}\n" * 3,
        "products[0].stages",
        "4 entries",
        "at most 3",
        line=line_of("      - {technology: FDM, machine_h: 1.1"),
    ),
    "retail lead time": broken("supply:\n", "supply:\n  retail_lead_d: 4\n", "supply.retail_lead_d", "4", "[1, 3]"),
    "section twice": broken("market:\n", "demand: {}\nmarket:\n", "demand", "twice"),
    "no machine hours": broken("machine_h: 1.1", "machine_h: 0", "products[0].stages[0]", "machine hours"),
    "kit of no product": broken(
        "design_of: node", "design_of: nodes", "materials[1].design_of", "did you mean 'node'?"
    ),
    "retail below bulk": broken("retail_eur: 24", "retail_eur: 10", "materials[0].retail_eur", "10", "bulk_eur (12)"),
    "pack above pallet": broken("    pack: 10", "    pack: 2000", "materials[1].pack", "2000", "pallet (1000)"),
    "kg of a kg": broken("    kg: 1\n", "    kg: 2\n", "materials[0].kg", "2", "1 kg per unit"),
    "unit": broken("unit: kg", "unit: tonne", "materials[0].unit", "'tonne'", "kg, piece"),
    "dispersion": broken("dispersion: 2.0", "dispersion: 1", "demand.dispersion", "1", "(1, inf)"),
    "markup": broken("[-0.15, 0, 0.15]", "[-1, 0, 0.15]", "actions.bid_markups[0]", "-1", "(-1, inf)"),
    "markups out of order": broken("[-0.15, 0, 0.15]", "[0.15, 0]", "actions.bid_markups", "rise"),
    "price breaks fall": broken("[0.05, 0.25, 1, 5]", "[0.05, 1, 0.25, 5]", "supply.price_breaks_pallets", "rise"),
    "price factors rise": broken(
        "[1, 0.75, 0.45, 0.12, 0]", "[0, 0.12, 0.45, 0.75, 1]", "supply.price_factors", "fall"
    ),
    "a factor too few": broken(
        "[1, 0.75, 0.45, 0.12, 0]", "[1, 0.75, 0.45, 0]", "supply.price_factors", "4 factors for 4"
    ),
    "range upside down": broken("units: [10, 60]", "units: [60, 10]", "tender_streams[0].units", "[60, 10]", "rise"),
    "range of three": broken("units: [10, 60]", "units: [10, 20, 60]", "tender_streams[0].units", "2 values", "3"),
    "due too soon": broken("    due_d: 5", "    due_d: 1", "custom_streams[0].due_d", "1", "too soon"),
    "list for a value": broken("episode_d: 20", "episode_d: [20]", "episode_d", "single value", "a list"),
    "value for a mapping": broken("market:\n  goodwill: 0.05", "market: 0.05", "market", "keys of a Market", "0.05"),
    "text for a number": broken("episode_d: 20", "episode_d: soon", "episode_d", "'soon'", "whole number"),
    "number in quotes": broken("price_eur: 49", "price_eur: '49'", "products[0].price_eur", "'49'", "text"),
    "exponent": broken("pallet: 1000", "pallet: 1e3", "materials[1].pallet", "'1e3'", "text in YAML 1.1", "1.0e+3"),
    "octal": broken("pallet: 1000", "pallet: 01000", "materials[1].pallet", "01000", "octal"),
    "base 60": broken("pallet: 1000", "pallet: 16:40", "materials[1].pallet", "16:40", "base 60"),
    "country code": broken("name: Delft,", "name: no,", "towns[0].name", "no", "true or false", "quote it"),
    "numeric name": broken("name: Delft,", "name: 2026,", "towns[0].name", "2026", "a number", "quote it"),
    "date": broken("label: sensor node", "label: 2026-01-01", "products[0].label", "2026-01-01", "date"),
    "no for a number": broken("episode_d: 20", "episode_d: no", "episode_d", "whole number"),
    "number for a switch": broken(
        "overtime: true", "overtime: 1", "technologies[1].extended_by_overtime", "1", "true nor"
    ),
    "nothing for a number": broken("price_eur: 49", "price_eur:", "products[0].price_eur", "nothing"),
    "payment rule": broken("goodwill: 0.05", "payment: third_price", "market.payment", "third_price", "first_price"),
    "cancelled in the grace": broken("goodwill: 0.05", "cancel_after_d: 1", "market.cancel_after_d", "1", "grace"),
    "component": broken(
        "  bid_markups", "  switched_off: {hub.bids: 0}\n  bid_markups", "actions.switched_off.hub.bids", "hub.bid"
    ),
    "component level": broken(
        "  bid_markups", "  switched_off: {hub.bid: 4}\n  bid_markups", "actions.switched_off.hub.bid", "4", "0 to 3"
    ),
    "python object": broken("label: sensor node", "label: !!python/name:os.system x", "products[0].label", "tag"),
    "merge key": broken("demand:\n", "demand:\n  <<: {dispersion: 3}\n", "demand", "include"),
    "not YAML": broken("episode_d: 20", "episode_d: [20", "", "not valid YAML", line=line_of("towns:")),
    "tab": broken("  dispersion", "\tdispersion", "", "not valid YAML"),
    "select nothing there": broken(
        "episode_d: 20", "episode_d: 20\nselect: {products: [P1]}", "select.products", "no list"
    ),
    "include nothing there": broken(
        "episode_d: 20", "episode_d: 20\ninclude: [gone.yaml]", "include", "no such file", "gone.yaml"
    ),
}


def write(folder: Path, text: str, name: str = "net.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def refused(path: Path | str | Scenario) -> str:
    with pytest.raises(ScenarioError) as caught:
        load_scenario(path)
    message = str(caught.value)
    assert "\n" not in message
    return message


# --- loading ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_scenarios_load(name: str) -> None:
    scenario = load_scenario(name)
    assert scenario.name == name
    assert load_scenario(scenario) is scenario
    for product in scenario.products:  # a stage a day, and goods travel overnight
        assert product.due_d >= len(product.stages) + 1, product.name


def test_shipped_names_are_the_files() -> None:
    assert {"pocket", "rotterdam", "benelux"} <= set(SHIPPED)
    assert not any("catalogue" in name for name in SHIPPED)


def test_shared_rules_say_what_the_schema_says() -> None:
    """Rules are written out for their sources only; a default changed in one place must be changed in both."""
    scenario = load_scenario("pocket")  # the regions have prices and mechanisms of their own
    for section in (
        "labour",
        "market",
        "last_mile",
        "freight",
        "supply",
        "inventory",
        "disruptions",
        "carbon",
        "economics",
    ):
        assert getattr(scenario, section) == type(getattr(scenario, section))(), section


def test_minimal_file_loads(tmp_path: Path) -> None:
    scenario = load_scenario(write(tmp_path, MINIMAL))
    assert scenario.technologies[0].hours_per_day == 18.0
    assert type(scenario.technologies[0].hours_per_day) is float  # written as 18
    assert scenario.hubs[0].machines == {"FDM": 2, "robot": 1}
    assert scenario.materials[1].design_of == "node"
    assert scenario.labour == schema.Labour()
    assert load_scenario(str(tmp_path / "net.yaml")) == scenario


@pytest.mark.parametrize("case", BROKEN.values(), ids=BROKEN.keys())
def test_broken_file_is_refused_where_it_is_wrong(case: Broken, tmp_path: Path) -> None:
    assert MINIMAL.count(case.old) >= 1
    text = MINIMAL.replace(case.old, case.new, 1)
    message = refused(write(tmp_path, text))
    changed = next(
        i for i, (a, b) in enumerate(zip(MINIMAL.split("\n"), text.split("\n"), strict=False), start=1) if a != b
    )
    line = case.line or changed
    where = f"net.yaml:{line}: "
    assert where in message, f"{where!r} not in {message!r}"
    _, _, rest = message.partition(where)
    assert rest.startswith(f"{case.key}: " if case.key else ""), message
    for words in case.says:
        assert words in rest, message


def test_unused_material(tmp_path: Path) -> None:
    text = MINIMAL.replace("      - {material: petg, quantity: 0.09, stage: 0}\n", "")
    text = text.replace("          - {material: petg, quantity_per_eur: 0.004}", "          []")
    assert "materials[0].name: 'petg' is in no bill of materials" in refused(write(tmp_path, text))


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "is empty"), (b"# nothing\n", "is empty"), (b"- a\n", "must be a mapping"), (b"\xff\xfe", "not UTF-8")],
)
def test_file_that_is_no_scenario(content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "net.yaml"
    path.write_bytes(content)
    assert words in refused(path)


def test_unknown_names_and_paths(tmp_path: Path) -> None:
    assert "did you mean 'rotterdam'?" in refused("roterdam")
    assert "no such file" in refused("nowhere/net.yaml")
    assert "cannot be read" in refused(tmp_path)
    with pytest.raises(ScenarioError, match="not int"):
        load_scenario(3)  # type: ignore[arg-type]  # what a user of untyped code may do


def test_aliases_cannot_explode(tmp_path: Path) -> None:
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    assert "unfolds to more than" in refused(write(tmp_path, "\n".join(levels)))
    assert "contains it" in refused(write(tmp_path, "towns: &t [*t]\n"))
    assert "nested too deeply" in refused(write(tmp_path, f"towns: {'[' * 2000}{']' * 2000}"))


# --- include and select ----------------------------------------------------------------------------------------


def test_include_changes_one_figure_of_one_thing(tmp_path: Path) -> None:
    write(tmp_path, MINIMAL, "base.yaml")
    text = """\
include: base.yaml
name: other
materials:
  - {name: kit, bulk_eur: 9}
hubs:
  - {town: Delft, machines: {FDM: 7}}
towns:
  - {name: Leiden, latitude: 52.16, longitude: 4.49, population: 120000}
actions:
  bid_markups: [0]
"""
    base, other = load_scenario(tmp_path / "base.yaml"), load_scenario(write(tmp_path, text))
    assert [material.name for material in other.materials] == ["petg", "kit"]
    assert other.materials[1] == dataclasses.replace(base.materials[1], bulk_eur=9.0)
    assert other.hubs[0].machines == {"FDM": 7, "robot": 1}
    assert [town.name for town in other.towns] == ["Delft", "Leiden"]
    assert other.actions.bid_markups == (0.0,)
    expected = dataclasses.replace(
        base, name="other", materials=other.materials, hubs=other.hubs, towns=other.towns, actions=other.actions
    )
    assert other == expected


def test_message_names_the_included_file(tmp_path: Path) -> None:
    write(tmp_path, MINIMAL.replace("pallet: 300", "pallet: -1"), "base.yaml")
    message = refused(write(tmp_path, "include: [base.yaml]\nname: other\n"))
    assert f"base.yaml:{line_of('    pallet: 300')}: materials[0].pallet: -1" in message


def test_select_keeps_names_in_order() -> None:
    pocket = load_scenario("pocket")
    assert [product.name for product in pocket.products] == ["P02", "P10", "P12"]
    assert [material.name for material in pocket.materials] == ["petg", "aluminium", "lamp_kit"]
    rotterdam = {product.name: product for product in load_scenario("rotterdam").products}
    assert all(dataclasses.replace(rotterdam[product.name], royalty=0.0) == product for product in pocket.products)


def test_wrong_select_and_include(tmp_path: Path) -> None:
    write(tmp_path, MINIMAL, "base.yaml")
    message = refused(write(tmp_path, "include: [base.yaml]\nselect:\n  products: [nodes]\n"))
    assert "net.yaml:3: select.products: 'nodes' is not included; did you mean 'node'?" in message
    message = refused(write(tmp_path, "include: [base.yaml]\nselect: {product: [node]}\n"))
    assert "net.yaml:2: select.product: " in message
    assert "did you mean 'products'?" in message
    message = refused(write(tmp_path, "include: [base.yaml]\nhubs: [{town: Delft}, {town: Delft}]\n"))
    assert "net.yaml:2: hubs: 'Delft' is given twice" in message
    assert "must be a list of file names" in refused(write(tmp_path, "include: {a: b}\n"))


def test_include_cycles_are_refused(tmp_path: Path) -> None:
    write(tmp_path, "include: [b.yaml]\n", "a.yaml")
    write(tmp_path, "name: x\ninclude:\n  - a.yaml\n", "b.yaml")
    assert "b.yaml:3: include: 'a.yaml' includes itself: a.yaml -> b.yaml -> a.yaml" in refused(tmp_path / "a.yaml")


# --- scenarios made in Python ----------------------------------------------------------------------------------


def test_python_scenarios_are_checked_too() -> None:
    pocket = load_scenario("pocket")
    wrong = dataclasses.replace(pocket, towns=(*pocket.towns, Town("Nowhere", 95.0, 0.0, 10)))
    assert refused(wrong) == "scenario 'pocket': towns[2].latitude: 95 is out of range; allowed: [-90, 90]"
    wrong = dataclasses.replace(pocket, towns=list(pocket.towns))  # type: ignore[arg-type]  # untyped code
    assert "towns: must be a tuple" in refused(wrong)
    with pytest.raises(ScenarioError, match="mine: episode_d"):
        validate(dataclasses.replace(pocket, episode_d=0), source="mine")


# A value each interval of the schema refuses; drawn fields must come out as a refusal naming the field.
NUMBERS = [(cls, field) for cls, fields in RANGES.items() for field in fields]


def test_every_number_has_a_range_and_every_range_a_number() -> None:
    for cls in (value for value in vars(schema).values() if dataclasses.is_dataclass(value)):
        hints = typing.get_type_hints(cls)
        numbers = {name for name, hint in hints.items() if _holds_numbers(hint)}
        assert numbers == set(RANGES.get(cls.__name__, {})), cls.__name__
        assert set(CHOICES.get(cls.__name__, {})) <= {name for name, hint in hints.items() if hint is str}


def _holds_numbers(hint: object) -> bool:
    return hint in (int, float) or any(_holds_numbers(part) for part in typing.get_args(hint))


@settings(deadline=None)
@given(data=st.data())
def test_numbers_out_of_range_are_refused(data: st.DataObject) -> None:
    """Any number anywhere in a scenario, pushed out of its interval or made non-finite, is named in the refusal."""
    scenario = load_scenario_once("pocket")
    path, owner, field = data.draw(st.sampled_from(_numbers(scenario)))
    interval = RANGES[type(owner).__name__][field.split(".")[0]]
    low, high = (float(end) for end in interval[1:-1].split(","))
    outside = [st.floats(max_value=low, exclude_max=interval[0] == "[", allow_nan=False), st.just(math.nan)]
    if math.isfinite(high):
        outside.append(st.floats(min_value=high, exclude_min=interval[-1] == "]", allow_nan=False))
    value = data.draw(st.one_of(outside))
    hint = typing.get_type_hints(type(owner))[field]
    with pytest.raises(ScenarioError) as caught:
        validate(_replaced(scenario, path, math.floor(value) if hint is int and math.isfinite(value) else value))
    assert path in str(caught.value)


def _numbers(thing: object, path: str = "") -> list[tuple[str, object, str]]:
    """Path, owner and field of every plain number below `thing`."""
    found: list[tuple[str, object, str]] = []
    for field in dataclasses.fields(thing):  # type: ignore[arg-type]  # only called on dataclasses
        value, at = getattr(thing, field.name), f"{path}.{field.name}".lstrip(".")
        if type(value) in (int, float):
            found.append((at, thing, field.name))
        elif dataclasses.is_dataclass(value):
            found += _numbers(value, at)
        elif isinstance(value, tuple):
            parts = [(f"{at}[{i}]", item) for i, item in enumerate(value) if dataclasses.is_dataclass(item)]
            found += [number for where, item in parts for number in _numbers(item, where)]
    return found


def _replaced(thing: typing.Any, path: str, value: object) -> typing.Any:
    head, _, rest = path.partition(".")
    name, _, index = head.partition("[")
    old = getattr(thing, name)
    if index:
        i = int(index[:-1])
        new: object = (*old[:i], _replaced(old[i], rest, value), *old[i + 1 :])
    else:
        new = _replaced(old, rest, value) if rest else value
    return dataclasses.replace(thing, **{name: new})


_LOADED: dict[str, Scenario] = {}


def load_scenario_once(name: str) -> Scenario:
    if name not in _LOADED:
        _LOADED[name] = load_scenario(name)
    return _LOADED[name]


# --- round trip ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SHIPPED)
def test_round_trip(name: str, tmp_path: Path) -> None:
    scenario = load_scenario(name)
    assert load_scenario(write(tmp_path, scenario_to_yaml(scenario))) == scenario


@settings(max_examples=25, deadline=None)  # each example writes and reads a file
@given(
    name=st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S")), min_size=1, max_size=12),
    price=st.floats(min_value=1e-6, max_value=1e12),
    markups=st.lists(st.floats(-0.99, 1e6), min_size=1, max_size=6, unique=True),
)
def test_any_name_and_number_survives_the_round_trip(
    name: str, price: float, markups: list[float], tmp_path_factory: pytest.TempPathFactory
) -> None:
    pocket = load_scenario_once("pocket")
    scenario = dataclasses.replace(
        pocket,
        name=name,
        products=(dataclasses.replace(pocket.products[0], price_eur=price), *pocket.products[1:]),
        actions=Actions(bid_markups=tuple(sorted(markups)), switched_off={"hub.overtime": 0}),
    )
    path = write(tmp_path_factory.getbasetemp(), scenario_to_yaml(validate(scenario)))
    assert load_scenario(path) == scenario


def test_component_levels_follow_the_actions() -> None:
    levels = component_levels(Actions())
    assert levels["hub.bid"] == 6  # withdraw and five mark-ups
    assert levels["depot.lot"] == 5  # four covers and the next price break
    assert levels["hub.can_order"] == 3


# --- command line ----------------------------------------------------------------------------------------------


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in SHIPPED)
    path = write(tmp_path, MINIMAL)
    assert main(["check", str(path)]) == 0
    assert capsys.readouterr().out == f"{path}: ok (tiny: 1 hub, 1 depot, 1 product)\n"
    assert main(["show", str(path)]) == 0
    assert load_scenario(write(tmp_path, capsys.readouterr().out, "again.yaml")) == load_scenario(path)
    assert main(["sheet", "rotterdam"]) == 0
    printed = capsys.readouterr().out
    assert all(word in printed for word in ("Rotterdam", "CNC", "labour", "electronics_kit", "Zoetermeer", "logistics"))


def test_names_are_printed_as_they_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, MINIMAL.replace("Delft", "'[/red] [Delft]'"))
    assert main(["sheet", str(path)]) == 0
    assert "[/red] [Delft]" in capsys.readouterr().out


def test_command_line_refuses_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, MINIMAL.replace("pallet: 300", "pallet: 0"))
    assert main(["check", str(path)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: ")
    assert printed.err.count("\n") == 1
    assert "materials[0].pallet: 0 is out of range" in printed.err
