"""docs/model.md refers to what is there, and docs/results.md is about the scenarios and rules that are shipped."""

import re
from dataclasses import is_dataclass
from pathlib import Path

import pytest

import fabmesh
from fabmesh.agents.evaluation.judge.manifest import read_manifest, require_same_inputs
from fabmesh.envs.network.compiler import rng
from fabmesh.envs.network.loading import load_scenario
from fabmesh.envs.network.schema import scenario as schema

ROOT = Path(fabmesh.__file__).parent
PAGE = (ROOT / "docs" / "model.md").read_text()
SOURCES = sorted((Path(fabmesh.__file__).parent / "envs").rglob("*.py"))


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
