"""Command line: `python -m fabmesh.envs.scenarios list | show | check | sheet | orders | new`."""

from __future__ import annotations

import codecs
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from fabmesh.envs.commands import guarded, require_within, say
from fabmesh.envs.files import check_writable
from fabmesh.envs.network.loading import load_scenario, shipped_scenarios
from fabmesh.envs.network.schema.scenario import Scenario
from fabmesh.envs.scenarios.builder import DEMAND_LEVEL, plan_region, region_yaml, write_region
from fabmesh.envs.scenarios.dump import scenario_to_yaml
from fabmesh.envs.scenarios.orders import write_orders
from fabmesh.envs.scenarios.sheet import make_sheet
from fabmesh.envs.scenarios.tables import WIDTH, overview, sheet_tables
from fabmesh.envs.scenarios.towns import read_towns
from fabmesh.envs.terminal import Terminal
from fabmesh.envs.worlds import LARGEST_SEED

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


@dataclass(frozen=True)
class New:
    """A scenario file of your own region from a table of towns: a hub in each, depots in between, to be changed."""

    towns: Path
    """CSV file with the columns name, latitude, longitude (degrees) and population."""
    out: Path
    """The .yaml file to write."""
    depots: int | None = None
    """Number of depots; by default about one for every four hubs."""
    name: str | None = None
    """Name of the scenario; by default that of the file."""
    demand_level: float = DEMAND_LEVEL
    """Demand for catalogue products, x the base of the catalogue."""
    force: bool = False
    """Replace the file if there is one."""


Command = (
    Annotated[ListShipped, tyro.conf.subcommand("list")]
    | Annotated[Show, tyro.conf.subcommand("show")]
    | Annotated[Check, tyro.conf.subcommand("check")]
    | Annotated[SheetOf, tyro.conf.subcommand("sheet")]
    | Annotated[OrdersOf, tyro.conf.subcommand("orders")]
    | Annotated[New, tyro.conf.subcommand("new")]
)


def main(args: list[str] | None = None) -> int:
    """Runs one command; returns the exit code."""
    description = "Look at scenarios before simulating them, and make new ones."

    def look() -> int:
        _run(tyro.cli(Command, prog="python -m fabmesh.envs.scenarios", description=description, args=args))
        return 0

    return guarded(look, "stopped")


def _run(command: ListShipped | Show | Check | SheetOf | OrdersOf | New) -> None:
    if isinstance(command, ListShipped):
        Terminal(WIDTH).print(overview(load_scenario(name) for name in shipped_scenarios()))
    elif isinstance(command, Show):
        print(scenario_to_yaml(load_scenario(command.scenario), ascii_only=not _speaks_unicode()), end="")
    elif isinstance(command, Check):
        say(f"{command.scenario}: ok ({_counts(load_scenario(command.scenario))})")
    elif isinstance(command, OrdersOf):
        check_writable(command.out, "--out")
        require_within(command, seed=(0, LARGEST_SEED))
        count = write_orders(load_scenario(command.scenario), command.seed, command.out)
        say(f"{command.out}: {count:,} orders of {command.scenario}, seed {command.seed}")
    elif isinstance(command, New):
        region = plan_region(read_towns(command.towns), command.depots)
        text = region_yaml(region, command.name or command.out.stem, command.towns.name, command.demand_level)
        scenario = write_region(text, command.out, command.force)
        say(f"{command.out}: written ({_counts(scenario)}; depots in {', '.join(d.name for d in scenario.depots)})")
        sheet = shlex.join(["python", "-m", "fabmesh.envs.scenarios", "sheet", str(command.out)])
        say(f"Is there anything to decide in it? {sheet}")
    else:
        Terminal(WIDTH).print(sheet_tables(make_sheet(load_scenario(command.scenario))))


def _speaks_unicode() -> bool:
    """Whether what is printed is UTF-8, in which scenario files are read."""
    return codecs.lookup(sys.stdout.encoding or "utf-8").name == "utf-8"


def _counts(scenario: Scenario) -> str:
    counts = {"hub": len(scenario.hubs), "depot": len(scenario.depots), "product": len(scenario.products)}
    return f"{scenario.name}: " + ", ".join(
        f"{count} {what}{'' if count == 1 else 's'}" for what, count in counts.items()
    )


if __name__ == "__main__":
    sys.exit(main())
