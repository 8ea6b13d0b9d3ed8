"""Command line: `python -m fabmesh.envs.scenarios list | show NAME | check FILE | sheet NAME | orders NAME`."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from fabmesh.envs.errors import FabmeshError
from fabmesh.envs.network.loading import load_scenario, shipped_scenarios
from fabmesh.envs.scenarios.dump import scenario_to_yaml
from fabmesh.envs.scenarios.orders import write_orders
from fabmesh.envs.scenarios.sheet import make_sheet
from fabmesh.envs.scenarios.tables import overview, sheet_tables, terminal

ScenarioArgument = Annotated[str, tyro.conf.Positional]


@dataclass(frozen=True)
class ListShipped:
    """The scenarios that come with the package."""


@dataclass(frozen=True)
class Show:
    """A scenario as one YAML file: includes merged in, defaults written out. A start for your own."""

    scenario: ScenarioArgument
    """Shipped name, or path of a .yaml file."""


@dataclass(frozen=True)
class Check:
    """Whether a scenario can be used; says in one line what is wrong, and ends with exit code 2 then."""

    scenario: ScenarioArgument
    """Path of a .yaml file, or shipped name."""


@dataclass(frozen=True)
class SheetOf:
    """Hours, material and money a mean day needs against what is there: is there anything to decide?"""

    scenario: ScenarioArgument
    """Shipped name, or path of a .yaml file."""


@dataclass(frozen=True)
class OrdersOf:
    """Write the orders of a synthetic world as a CSV file, in the format in which recorded demand is read."""

    scenario: ScenarioArgument
    """Shipped name, or path of a .yaml file."""
    out: Path
    """The CSV file to write; what is there already is replaced."""
    seed: int = 0
    """Seed of the world."""


Command = (
    Annotated[ListShipped, tyro.conf.subcommand("list")]
    | Annotated[Show, tyro.conf.subcommand("show")]
    | Annotated[Check, tyro.conf.subcommand("check")]
    | Annotated[SheetOf, tyro.conf.subcommand("sheet")]
    | Annotated[OrdersOf, tyro.conf.subcommand("orders")]
)


def main(args: list[str] | None = None) -> int:
    """Runs one command; returns the exit code."""
    description = "Look at scenarios before simulating them."
    command = tyro.cli(Command, prog="python -m fabmesh.envs.scenarios", description=description, args=args)
    try:
        _run(command)
    except FabmeshError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _run(command: ListShipped | Show | Check | SheetOf | OrdersOf) -> None:
    if isinstance(command, ListShipped):
        terminal().print(overview(load_scenario(name) for name in shipped_scenarios()))
    elif isinstance(command, Show):
        print(scenario_to_yaml(load_scenario(command.scenario)), end="")
    elif isinstance(command, Check):
        scenario = load_scenario(command.scenario)
        counts = {"hub": len(scenario.hubs), "depot": len(scenario.depots), "product": len(scenario.products)}
        parts = ", ".join(f"{count} {what}{'' if count == 1 else 's'}" for what, count in counts.items())
        print(f"{command.scenario}: ok ({scenario.name}: {parts})")
    elif isinstance(command, OrdersOf):
        count = write_orders(load_scenario(command.scenario), command.seed, command.out)
        print(f"{command.out}: {count:,} orders of {command.scenario}, seed {command.seed}")
    else:
        terminal().print(sheet_tables(make_sheet(load_scenario(command.scenario))))


if __name__ == "__main__":
    sys.exit(main())
