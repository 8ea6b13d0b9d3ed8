"""A scenario of one's own region from a list of towns: hubs by size of town, depots by p-median, a file to go on with.

Sizes, machines and technicians are those of the shipped networks (F§9.4, F§11, all [A]); the file that is written
includes the shipped catalogue and is meant to be changed. Whether there is anything to decide in the new network is
a question for the sheet and the gate.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from fabmesh.envs.errors import FabmeshError
from fabmesh.envs.files import check_writable, write_whole
from fabmesh.envs.network.loading import load_scenario
from fabmesh.envs.network.schema.parameters import bounds, parameters, within
from fabmesh.envs.network.schema.scenario import Capacity, Demand, Depot, Freight, Hub, Scenario, Town
from fabmesh.envs.network.schema.yaml_tree import SHIPPED
from fabmesh.envs.scenarios.places import p_median
from fabmesh.envs.scenarios.towns import check_name
from fabmesh.envs.scenarios.work import road_km

CATALOGUE = ("rules", "technologies", "materials", "products", "streams")
MOST_TOWNS = 500  # of a region: places for depots are sought among all pairs of towns
HUBS_PER_DEPOT = 4  # benelux has 12 hubs and 3 depots (F§9.2)
DEMAND_LEVEL = 1.5  # [A] x the base of F§9.5; F§11 has 1.6 for rotterdam and 1.4 for benelux
EPISODE_D = 180  # model §1
_PLAIN = re.compile(r"[^\W\d_][\w .'()-]*")
_TENDERS_PER_MILLION = 20  # room in the table of open tenders: 1.3 a day and million inhabitants, open for 15 d
_LEAST_TENDERS = 48


@dataclass(frozen=True)
class Size:
    """A size of hub: whose town it fits, and what stands in it."""

    name: str
    below: float  # people of the town
    machines: dict[str, int]
    technicians: int
    fit_out_eur: int
    rent_eur_year: int


# F§9.4 [A], machines with the SLA of F§11 [A]; technicians F§11 [A], which replaces the 2, 3 and 6 of F§9.4.
# Fit-out and rent F§9.4 [A]: 200, 400 and 700 m2 at 90 EUR a year.
SIZES = (
    Size("S", 150_000, {"FDM": 4, "CNC": 1, "laser": 1}, 2, 60_000, 18_000),
    Size("M", 400_000, {"FDM": 8, "SLA": 2, "SLS": 1, "CNC": 1, "laser": 1, "robot": 1}, 5, 100_000, 36_000),
    Size("L", math.inf, {"FDM": 16, "SLA": 4, "SLS": 2, "CNC": 2, "laser": 1, "robot": 1}, 10, 140_000, 63_000),
)


@dataclass(frozen=True)
class Region:
    """Who stands where in a new network."""

    towns: tuple[Town, ...]
    sizes: tuple[Size, ...]  # of the hub in each town
    depots: tuple[Depot, ...]

    @property
    def hubs(self) -> tuple[Hub, ...]:
        """A hub in each town."""
        return tuple(
            Hub(town.name, dict(size.machines), size.technicians, size.fit_out_eur, size.rent_eur_year)
            for town, size in zip(self.towns, self.sizes, strict=True)
        )


def plan_region(towns: Sequence[Town], depots: int | None = None) -> Region:
    """A hub in each town and depots on some of them.

    The hub of the largest town is M at least: S hubs lack SLS, SLA and robot, and what nobody can make cannot be on
    sale. Depots are the p-median of the towns by road, weighted with the square root of their people (F§9.3).

    Args:
        towns: The towns, at least one.
        depots: How many depots; None: one for every four hubs, rounded, at least one.

    Raises:
        FabmeshError: There cannot be so many towns or depots.
    """
    if len(towns) > MOST_TOWNS:
        raise FabmeshError(
            f"--towns: {len(towns):,} towns, at most {MOST_TOWNS} are possible; keep the largest, or join near ones"
        )
    number = max(1, round(len(towns) / HUBS_PER_DEPOT)) if depots is None else depots
    if not 1 <= number <= len(towns):
        raise FabmeshError(f"--depots {number}: must be from 1 to the number of towns, {len(towns)}")
    largest = max(range(len(towns)), key=lambda i: towns[i].population)
    sizes = [next(size for size in SIZES if town.population < size.below) for town in towns]
    if sizes[largest] is SIZES[0]:
        sizes[largest] = SIZES[1]
    at = np.array([(town.latitude, town.longitude) for town in towns])
    weight = np.sqrt([town.population for town in towns])
    chosen = p_median(road_km(at, at, Freight().circuity), weight, number)
    places = tuple(Depot(towns[i].name, towns[i].latitude, towns[i].longitude) for i in chosen)
    return Region(tuple(towns), tuple(sizes), places)


def region_yaml(region: Region, name: str, source: str, demand_level: float = DEMAND_LEVEL) -> str:
    """The commented scenario file of a region.

    Args:
        region: Who stands where.
        name: How the scenario calls itself.
        source: Where the towns come from, for a comment.
        demand_level: Multiplies the catalogue's base demand.

    Raises:
        FabmeshError: The name or the level is none.
    """
    check_name(name, "--name")
    allowed = parameters(Demand)["catalogue_level"].interval
    if not within(demand_level, allowed):
        raise FabmeshError(f"--demand-level {demand_level:g}: is out of range; allowed: {allowed}, 1 is the base")
    people = sum(town.population for town in region.towns)
    hubs, depots = _counted(len(region.towns), "hub"), _counted(len(region.depots), "depot")
    lines = [
        f"# {_comment(name)}: {hubs} and {depots}, {people:,} inhabitants.",
        f"# Made by python -m fabmesh.envs.scenarios new from {_comment(source)}.",
        "# Every figure is yours to change, and what stands here changes what is included: docs/scenarios.md.",
        f"name: {_scalar(name)}",
        f"description: {_scalar(f'{name}, {hubs} and {depots}, 12 catalogue products, custom work and tenders')}",
        "include: # of the installed package",
        *(f"  - {SHIPPED}catalogue/{part}.yaml" for part in CATALOGUE),
        f"episode_d: {EPISODE_D} # model 1",
        "",
        f"towns: # from {_comment(source)}",
        *(f"  - {{name: {_scalar(town.name)}, {_at(town)}, population: {town.population}}}" for town in region.towns),
        "",
        "# Machines by size F9.4 [A], SLA F11 [A]: S below 150,000 inhabitants, M below 400,000, L above; technicians",
        "# S 2, M 5, L 10: F11 [A]; fit-out and rent F9.4 [A]. Somebody must own every machine, so the largest town's",
        "# hub is M at least.",
        "hubs:",
    ]
    for town, size in zip(region.towns, region.sizes, strict=True):
        machines = ", ".join(f"{kind}: {count}" for kind, count in size.machines.items())
        lines += [
            f"  - town: {_scalar(town.name)} # {size.name}",
            f"    machines: {{{machines}}}",
            f"    technicians: {size.technicians}",
            f"    fit_out_eur: {size.fit_out_eur}",
            f"    rent_eur_year: {size.rent_eur_year}",
        ]
    lines += [
        "",
        "depots: # p-median of the towns, weighted with the square root of their inhabitants (F9.3)",
        *(f"  - {{name: {_scalar(depot.name)}, {_at(depot)}}}" for depot in region.depots),
        "",
        "demand:",
        f"  catalogue_level: {_number(demand_level)} # [A], x the base of F9.5; rotterdam 1.6, benelux 1.5",
        "  custom_level: 1.0 # F7.3 [A]",
        "  tender_level: 1.0 # F7.3 [A]",
        "",
        "capacity:",
        f"  open_tenders: {_tender_room(people)} # of the network: 1.3 a day and million inhabitants, open up to 15 d",
    ]
    return "\n".join(lines) + "\n"


def write_region(text: str, path: Path, force: bool = False) -> Scenario:
    """Write a scenario file that loads, whole or not at all, and return what it holds.

    Args:
        text: The file.
        path: Where it is to be; missing directories are made.
        force: Whether a file that is there may be replaced.

    Raises:
        FabmeshError: The text is no scenario, or the file is there or cannot be written.
    """
    if path.suffix not in (".yaml", ".yml"):
        raise FabmeshError(f"--out {path}: must end in .yaml or .yml, so that it can be given as a scenario")
    if path.exists() and not force:
        raise FabmeshError(f"--out {path}: exists; --force replaces it, or give another name")
    check_writable(path, "--out")
    loaded: list[Scenario] = []

    def write(draft: Path) -> None:
        draft.write_text(text, encoding="utf-8")
        loaded.append(load_scenario(draft))

    write_whole(path, write)
    return loaded[0]


def _tender_room(people: int) -> int:
    most = int(bounds(parameters(Capacity)["open_tenders"].interval)[1])
    return min(max(_LEAST_TENDERS, math.ceil(people / 1e6 * _TENDERS_PER_MILLION)), most)


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _comment(text: str) -> str:
    """Text that stays in its line."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _at(place: Town | Depot) -> str:
    return f"latitude: {_number(place.latitude)}, longitude: {_number(place.longitude)}"


def _number(value: float) -> str:
    """A number as YAML 1.1 reads it: 1e-05 would be text there."""
    text = repr(float(value))
    return text if "." in text else text.replace("e", ".0e")


def _scalar(text: str) -> str:
    """A name as YAML reads it back: plain where that is safe, else in double quotes."""
    if _PLAIN.fullmatch(text) and text == text.strip() and yaml.safe_load(text) == text:
        return text
    return json.dumps(text, ensure_ascii=False)
