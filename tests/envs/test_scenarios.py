"""Scenario files: what ships loads, files build on files, and what is written is read again."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from minimal import MINIMAL, line_of, refused, write

from fabmesh.envs.network.books.scenario_tables import build_tables
from fabmesh.envs.network.interface.spec import layout
from fabmesh.envs.network.loading import load_scenario, shipped_scenarios, validate
from fabmesh.envs.network.schema import scenario as schema
from fabmesh.envs.network.schema.checks import component_levels
from fabmesh.envs.network.schema.parameters import field_types
from fabmesh.envs.network.schema.scenario import Actions
from fabmesh.envs.network.schema.yaml_tree import composed
from fabmesh.envs.scenarios.__main__ import main
from fabmesh.envs.scenarios.dump import scenario_to_yaml

SHIPPED = shipped_scenarios()
POCKET = load_scenario("pocket")

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


# --- round trip ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SHIPPED)
def test_round_trip(name: str, tmp_path: Path) -> None:
    scenario = load_scenario(name)
    assert load_scenario(write(tmp_path, scenario_to_yaml(scenario))) == scenario


@settings(max_examples=25, deadline=None)  # each example writes and reads a file
@given(
    name=st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S")), min_size=1, max_size=12).map(composed),
    price=st.floats(min_value=1e-4, max_value=1e9),
    markups=st.lists(st.floats(-0.99, 1000), min_size=1, max_size=6, unique=True),
)
def test_any_name_and_number_survives_the_round_trip(
    name: str, price: float, markups: list[float], tmp_path_factory: pytest.TempPathFactory
) -> None:
    scenario = dataclasses.replace(
        POCKET,
        name=name,
        products=(dataclasses.replace(POCKET.products[0], price_eur=price), *POCKET.products[1:]),
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


def test_command_line_refuses_in_one_line(tmp_path: Path, only_error: Callable[[], str]) -> None:
    path = write(tmp_path, MINIMAL.replace("pallet: 300", "pallet: 0"))
    assert main(["check", str(path)]) == 2
    assert "materials[0].pallet: 0 is out of range" in only_error()


# --- what the day reads ------------------------------------------------------------------------------------------


def test_the_day_reads_every_number_under_its_own_name() -> None:
    market = dataclasses.replace(POCKET.market, payment="second_price", platform_fee=0.125)
    scenario = dataclasses.replace(POCKET, market=market, quality=schema.Quality(enabled=True))
    record = build_tables(scenario, layout(scenario)).scenario[0]
    assert record["episode_d"] == scenario.episode_d
    assert record["market"]["payment"] == schema.PAYMENT.index("second_price")
    for section, type_of_section in field_types(schema.Scenario).items():
        hints = field_types(type_of_section) if dataclasses.is_dataclass(type_of_section) else {}
        for name in (name for name, hint in hints.items() if hint in (bool, int, float)):
            assert record[section][name] == getattr(getattr(scenario, section), name), f"{section}.{name}"
    assert tuple(record["quality"]["bad_lots"]) == scenario.quality.bad_lots
