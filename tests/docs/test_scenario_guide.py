"""docs/scenarios.md names what there is, and its examples work."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from fabmesh.envs.network.loading import load_scenario, scenario_path, shipped_scenarios
from fabmesh.envs.network.schema.checks import component_levels
from fabmesh.envs.network.schema.scenario import Actions
from fabmesh.envs.scenarios.dump import scenario_to_yaml

GUIDE = Path(__file__).parents[2] / "docs" / "scenarios.md"


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
