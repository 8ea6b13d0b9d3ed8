"""docs/model.md names what the code has: ledger lines, events, features, components and their levels, in order.

And docs/results.md is about the scenarios and rules that are shipped.
"""

import re
from dataclasses import is_dataclass, replace
from pathlib import Path

import pytest

import fabmesh
from fabmesh.agents.evaluation.judge.manifest import read_manifest, require_same_inputs
from fabmesh.envs.network.compiler import rng
from fabmesh.envs.network.loading import load_scenario
from fabmesh.envs.network.schema import scenario as schema
from fabmesh.envs.vector import HubNetworkVector

ROOT = Path(fabmesh.__file__).parent
PAGE = (ROOT / "docs" / "model.md").read_text()
SOURCES = sorted((Path(fabmesh.__file__).parent / "envs").rglob("*.py"))


@pytest.fixture(scope="module")
def batch():
    """Rotterdam without the mechanisms, whose tables are compared by their own tests."""
    scenario = load_scenario("rotterdam")
    off = {
        "people": schema.People(),
        "upkeep": schema.Upkeep(),
        "quality": schema.Quality(),
        "experience": schema.Experience(),
        "disruptions": schema.Disruptions(),
        "demand": replace(scenario.demand, surges_year=0.0),
        "actions": schema.Actions(),
    }
    return HubNetworkVector(replace(scenario, **off), num_envs=1)


def table_after(text, header):
    """Rows of the first table with that header after a text: lists of cells, the first without its backticks."""
    start = PAGE.index(text)
    lines = PAGE[PAGE.index(header, start) :].splitlines()[2:]
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        rows.append([cells[0].strip("`"), *cells[1:]])
    return rows


@pytest.mark.parametrize("role", ["hub", "depot"])
def test_features_are_those_of_the_code(batch, role):
    rows = table_after(f"What a **{role}** sees:", "| feature |")
    assert [(name, unit, doc) for name, _, unit, doc in rows] == [
        (block.name, block.unit, block.doc) for block in batch.spec[role].features
    ]


@pytest.mark.parametrize("role", ["hub", "depot"])
def test_components_and_levels_are_those_of_the_code(batch, role):
    rows = table_after(f"What a **{role}** decides:", "| component |")
    assert [(name, levels, doc) for name, _, levels, doc in rows] == [
        (block.name, ", ".join(block.labels), block.doc) for block in batch.spec[role].components
    ]


def test_each_block_has_one_item_per_thing_it_is_about(batch):
    scenario = batch.scenario
    sizes = {
        "technology": len(scenario.technologies),
        "material": len(scenario.materials),
        "product": len(scenario.products),
        "tender slot": scenario.capacity.tender_slots,
        "slot and technology": scenario.capacity.tender_slots * len(scenario.technologies),
        "": 1,
    }
    for role in batch.roles:
        for what, blocks in (("sees", batch.spec[role].features), ("decides", batch.spec[role].components)):
            header = "| feature |" if what == "sees" else "| component |"
            for row, block in zip(table_after(f"What a **{role}** {what}:", header), blocks, strict=True):
                assert block.count == sizes.get(row[1], len(row[1].split(","))), block.name


def state_rows(batch):
    """Name, unit and words of the blocks of the state, those of all hubs and of all depots once."""
    scenario = batch.scenario
    places = {hub.town: "hub" for hub in scenario.hubs} | {depot.name: "depot" for depot in scenario.depots}
    blocks = []
    for block in batch.state_features:
        place, _, name = block.name.rpartition(": ")
        entry = (f"{places[place]}: {name}" if place else name, block.unit, block.doc)
        if entry not in blocks:
            blocks.append(entry)
    return blocks


def test_blocks_of_the_state_are_those_of_the_code(batch):
    rows = table_after("`state()` is the whole", "| block |")
    assert [(name, unit, doc) for name, _, unit, doc in rows] == state_rows(batch)


def test_ledger_lines_are_those_of_the_code(batch):
    rows = table_after("## 9. Ledger", "| line |")
    assert tuple(name for name, *_ in rows) == batch.ledger_lines
    not_cost = {name for name, _, posted in rows if posted.startswith("not a cost")}
    assert not_cost == {"revenue", "transfers"}


def test_events_are_those_of_the_code(batch):
    rows = table_after("## 9. Ledger", "| event |")
    names: list[str] = []
    for name, _ in rows:
        if name.endswith("<technology>"):
            names += [name.replace("<technology>", technology.name) for technology in batch.scenario.technologies]
        elif not name.endswith("<stream>"):
            names.append(name)
    of_streams = [name for name, _ in rows if name.endswith("<stream>")]
    names += [name.replace("<stream>", s.name) for s in batch.scenario.tender_streams for name in of_streams]
    assert tuple(names) == batch.event_names


def test_streams_and_modules_of_the_equations_are_those_of_the_code():
    rows = table_after("**Randomness.**", "| stream |")
    streams = {
        name.removeprefix("STREAM_").lower(): int(value) for name, value in vars(rng).items() if "STREAM_" in name
    }
    assert {name: int(number) for name, number, _ in rows} == streams
    fields = {field for cls in vars(schema).values() if is_dataclass(cls) for field in cls.__dataclass_fields__}
    for _, formula, _, modules in table_after("## 11. Equations", "| what |"):
        for module in re.findall(r"`(\w+)`", modules):
            assert list((ROOT / "envs" / "network").rglob(f"{module}.py")), module
        for key in re.findall(r"`(\w+)`", formula):
            assert key in fields | {"cover"}, key


def test_sections_that_the_code_refers_to_exist():
    sections = set(re.findall(r"^## (\d+)\.", PAGE, re.MULTILINE))
    referred = set()
    for source in SOURCES:
        referred |= set(re.findall(r"model §(\d+)", source.read_text()))
    assert referred
    assert referred <= sections


def published(name, of=""):
    """What a kept manifest plans, which fits what is shipped, and the page that shows it."""
    manifest = ROOT / "docs" / "results" / f"{name}{of}.json"
    plan = read_manifest(manifest)
    require_same_inputs(plan, load_scenario(plan.scenario), manifest)
    assert (plan.scenario, plan.seeds.space, plan.seeds.count) == (name, "test", 256)
    page = (ROOT / "docs" / "results.md").read_text()
    return plan, page


@pytest.mark.parametrize("name", ["rotterdam", "benelux", "pocket"])
def test_published_results_are_of_the_scenario_and_rules_that_are_shipped(name):
    plan, page = published(name, "")
    section = page[page.index(f"## {name}") :]
    for row, cost in plan.network_cost.items():
        digits = 1 if cost < 999_500 else 0
        assert f"| {row} | local | {cost / 1e3:,.{digits}f} ± " in section


@pytest.mark.parametrize("name", ["rotterdam", "benelux", "pocket"])
def test_the_runs_of_the_results_are_kept_with_them(name):
    plan, page = published(name, "_runs")
    rows = page[page.index(f"| `{name}` | 1, 2, 3 |") :].splitlines()  # all together, then each
    for row, line in zip(("mappo", "seed_1", "seed_2", "seed_3"), rows, strict=False):
        assert f"| {(plan.network_cost[row] - plan.network_cost['tuned']) / 1e3:,.1f} |" in line
