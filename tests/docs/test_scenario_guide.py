"""docs/scenarios.md says what the schema says, and its examples work."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from ranges import CHOICES, RANGES

from fabmesh.envs.network.loading import load_scenario, scenario_path, shipped_scenarios
from fabmesh.envs.network.schema import scenario as schema
from fabmesh.envs.network.schema.checks import component_levels
from fabmesh.envs.network.schema.scenario import Actions
from fabmesh.envs.scenarios.dump import scenario_to_yaml

GUIDE = Path(__file__).parents[2] / "docs" / "scenarios.md"


def documented() -> dict[str, list[tuple[str, str, str]]]:
    """Key, default and allowed values per class, as the tables of the guide give them."""
    tables: dict[str, list[tuple[str, str, str]]] = {}
    rows: list[tuple[str, str, str]] = []
    for line in GUIDE.read_text(encoding="utf-8").split("## Every key")[1].splitlines():
        if line.startswith("### "):
            named = [word.strip("`") for word in line.split() if word.startswith("`")]
            rows = tables.setdefault(next(word for word in named if word[0].isupper()), [])
        elif line.startswith("| `"):
            key, _, default, allowed = (cell.strip() for cell in line.split("|")[1:5])
            rows.append((key.strip("`"), default, allowed))
    return tables


def in_words(field: dataclasses.Field[object]) -> str:
    value = field.default
    if value is dataclasses.MISSING:
        return "required" if field.default_factory is dataclasses.MISSING else "{}"
    if value is None:
        return "none"
    if dataclasses.is_dataclass(value):
        return "see below"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(f'{item:g}' for item in value)}]"
    return value if isinstance(value, str) else f"{value:g}"


def test_guide_lists_every_key_with_its_default_and_range() -> None:
    expected = {
        name: [
            (
                field.name,
                in_words(field),
                ", ".join(CHOICES.get(name, {}).get(field.name, ())) or RANGES.get(name, {}).get(field.name, ""),
            )
            for field in dataclasses.fields(cls)
        ]
        for name, cls in vars(schema).items()
        if dataclasses.is_dataclass(cls)
    }
    assert documented() == expected


def test_guide_names_every_component() -> None:
    guide = GUIDE.read_text(encoding="utf-8")
    assert all(f"`{name}`" in guide for name in component_levels(Actions()))
    assert all(f"| `{name}` |" in guide for name in shipped_scenarios())


def test_examples_of_the_guide_load(tmp_path: Path) -> None:
    """The YAML blocks, completed with what they leave out, are scenarios."""
    blocks = [part.split("```")[0] for part in GUIDE.read_text(encoding="utf-8").split("```yaml\n")[1:]]
    folder = str(scenario_path("pocket").parent)
    changed = load_scenario(_file(tmp_path, blocks[0].replace("configs/scenarios", folder)))
    base = load_scenario("rotterdam")
    assert changed.hubs[0] == dataclasses.replace(base.hubs[0], technicians=13)
    assert changed.demand == dataclasses.replace(base.demand, tender_level=1.5)
    rest = scenario_to_yaml(load_scenario("pocket")).split("technologies:")[0]
    streams = "custom_streams: []\ntender_streams: []\n"
    own = load_scenario(_file(tmp_path, rest + streams + blocks[1].replace("catalogue/", f"{folder}/catalogue/")))
    assert own.products == load_scenario("pocket").products


def _file(folder: Path, text: str) -> Path:
    path = folder / "net.yaml"
    path.write_text(text, encoding="utf-8")
    return path
