"""A region of one's own, from a shipped one: `python examples/custom_scenario.py`.

A scenario is a frozen dataclass, so a variant is a `replace`. A YAML file fills the same dataclass; docs/scenarios.md
says how to write one.
"""

from dataclasses import replace

from fabmesh.envs.network.loading import load_scenario
from fabmesh.envs.network.schema.scenario import Hub, Scenario, Town
from fabmesh.envs.testing import check_scenario


def with_a_third_hub() -> Scenario:
    """The pocket scenario with Gouda, a town with one small workshop, and calm times."""
    pocket = load_scenario("pocket")
    return replace(
        pocket,
        name="pocket_and_gouda",
        towns=(*pocket.towns, Town(name="Gouda", latitude=52.0167, longitude=4.7083, population=75000)),
        hubs=(*pocket.hubs, Hub(town="Gouda", machines={"FDM": 2, "laser": 1}, technicians=1)),
        disruptions=replace(pocket.disruptions, scale=0.0),
    )


def main() -> None:
    """Checks the variant with a random episode."""
    for line in check_scenario(with_a_third_hub()):
        print(f"ok  {line}")


if __name__ == "__main__":
    main()
