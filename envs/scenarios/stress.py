"""Stress tests: disruptions scripted on any scenario, their targets chosen by rule (model §8).

`configs/stress/*.yaml` hold them; a file of one's own will do as well. `under_stress` returns the scenario with the
events in its script. They are unseen (`ScriptedEvent.seen`): agents get no flags they would not have without them,
so every policy that plays the scenario plays it under stress too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from pathlib import Path

from fabmesh.envs.errors import ScenarioError
from fabmesh.envs.network.books.geography import great_circle_km
from fabmesh.envs.network.loading import load_as, validate
from fabmesh.envs.network.schema.checks import Refuse
from fabmesh.envs.network.schema.disruption_kinds import KINDS, STRIKES
from fabmesh.envs.network.schema.parameters import param, required
from fabmesh.envs.network.schema.scenario import AT_LEAST_ONCE, DAY, DAYS, Hub, Scenario, ScriptedEvent, Town
from fabmesh.envs.network.schema.yaml_tree import nearest, read_tree, shown
from fabmesh.envs.scenarios.work import depot_of_hub, hub_of_town, jobs

A_THIRD = 1.0 / 3.0  # of the episode is over when a stress begins: the network has settled, and has time to recover


@dataclass(frozen=True)
class StressEvent:
    """One disruption of a stress test."""

    kind: str = required("", KINDS, "as of a scenario's `ScriptedEvent`")
    duration_d: int = required("d", DAYS, "how long it lasts")
    target: str | None = param(None, words="a rule of `RULES` for what the kind strikes; none: the network")
    factor: float | None = param(None, "x demand", AT_LEAST_ONCE, "of `demand_surge`, and only of it")
    at: float = param(A_THIRD, "share", "[0, 1)", "of the episode, after which it begins")
    day: int | None = param(None, "d", DAY, "or the day itself")


@dataclass(frozen=True)
class Stress:
    """A stress test: what happens, on whatever scenario."""

    name: str = required(words="how it calls itself; a shipped file has the name of the file")
    description: str = required(words="one line for lists")
    events: tuple[StressEvent, ...] = required(words="what happens")


def shipped_stresses() -> tuple[str, ...]:
    """Names of the stress tests that come with the package."""
    return tuple(sorted(path.stem for path in _folder().glob("*.yaml")))


def load_stress(name_or_path: str) -> Stress:
    """A stress test by its name, or from a file.

    Raises:
        ScenarioError: There is none, or it is wrong; the message is one line for the user.
    """
    path = Path(name_or_path)
    if path.suffix not in (".yaml", ".yml"):
        names = shipped_stresses()
        if name_or_path not in names:
            hint = f"{nearest(name_or_path, names)}, or the path of a .yaml file"
            raise ScenarioError(f"no stress test is called {name_or_path!r}; {hint}")
        path = _folder() / f"{name_or_path}.yaml"
    if not {"towns", "hubs", "episode_d"}.isdisjoint(read_tree(path).entries):
        raise ScenarioError(f"{path}: is a scenario, not a stress test; --scenario takes it")
    return load_as(Stress, path, _check)


def under_stress(scenario: Scenario, stress: Stress) -> Scenario:
    """The scenario with the events of a stress test in its script.

    Raises:
        ScenarioError: If the scenario has nothing that the stress test acts on.
    """
    return validate(
        replace(
            scenario,
            disruptions=replace(
                scenario.disruptions, scripted=(*scenario.disruptions.scripted, *script_of(scenario, stress))
            ),
        )
    )


def script_of(scenario: Scenario, stress: Stress) -> tuple[ScriptedEvent, ...]:
    """The events of a stress test with the days and targets they have in a scenario.

    Raises:
        ScenarioError: If the scenario has nothing that the stress test acts on.
    """
    made = []
    for event in stress.events:
        if event.kind in ("port_closure", "long_route") and not any(m.overseas for m in scenario.materials):
            raise ScenarioError(
                f"stress {stress.name}: nothing of scenario {scenario.name} comes by sea; "
                "mark a material as overseas: true"
            )
        day = int(event.at * scenario.episode_d) if event.day is None else event.day
        target = None if event.target is None else RULES[STRIKES[event.kind]][event.target](scenario)
        made.append(ScriptedEvent(event.kind, day, event.duration_d, target, event.factor, seen=False))
    return tuple(made)


@cache
def _folder() -> Path:
    return Path(str(resources.files("fabmesh").joinpath("configs", "stress")))


def _check(stress: Stress, refuse: Refuse) -> None:
    if not stress.events:
        raise refuse("events", "is empty; a stress test needs at least one")
    for i, event in enumerate(stress.events):
        problem = _target_problem(event)
        if problem is not None:
            raise refuse(f"events[{i}].target", problem)
        if (event.factor is None) == (event.kind == "demand_surge"):
            text = "is missing; a demand_surge needs one" if event.factor is None else "only a demand_surge has one"
            raise refuse(f"events[{i}].factor", text)


def _target_problem(event: StressEvent) -> str | None:
    """What is wrong with what an event strikes."""
    rules = RULES.get(STRIKES[event.kind])
    if rules is None:
        struck = f"{shown(event.target)}, but {event.kind} strikes the whole network; leave it out"
        return None if event.target is None else struck
    if event.target is None:
        return f"is missing; {event.kind} needs a rule: {', '.join(rules)}"
    unknown = f"{shown(event.target)} is no rule for {event.kind}; {nearest(event.target, rules)}"
    return None if event.target in rules else unknown


# --- rules: what is struck. Of equals it is the first in the scenario. ---------------------------------------------


def _by_size(scenario: Scenario) -> list[Hub]:
    return sorted(scenario.hubs, key=lambda hub: (-hub.technicians, -sum(hub.machines.values())))


def _largest_hub(scenario: Scenario) -> str:
    """The hub with the most technicians, then machines."""
    return _by_size(scenario)[0].town


def _smallest_hub(scenario: Scenario) -> str:
    """The hub with the fewest technicians, then machines."""
    return _by_size(scenario)[-1].town


def _densest_region(scenario: Scenario) -> str:
    """The hub's town with the most hubs within the radius of a shock."""
    radius = scenario.disruptions.regional_shock_radius_km
    at: dict[str, Town] = {town.name: town for town in scenario.towns}
    hubs = [at[hub.town] for hub in scenario.hubs]

    def near(centre: Town) -> int:
        away = (great_circle_km(centre.latitude, centre.longitude, h.latitude, h.longitude) for h in hubs)
        return sum(km <= radius for km in away)

    return max(hubs, key=near).name


def _first_depot(scenario: Scenario) -> str:
    """The first depot of the scenario."""
    return scenario.depots[0].name


def _busiest_depot(scenario: Scenario) -> str:
    """The depot nearest to hubs that are to work for the most EUR of demand."""
    depot_of = depot_of_hub(scenario)
    eur = [0.0] * len(scenario.depots)
    for job in jobs(scenario):
        for town, hub in enumerate(hub_of_town(scenario, job.stages)):
            eur[int(depot_of[hub])] += float(job.eur_day[town])
    return scenario.depots[eur.index(max(eur))].name


def _most_used_material(scenario: Scenario) -> str:
    """The material of which the demand of a mean day needs the most, EUR at bulk price."""
    need = {material.name: 0.0 for material in scenario.materials}
    for job in jobs(scenario):
        for line in job.bom:
            need[line.material] += float(
                line.quantity * job.units_day.sum() + line.quantity_per_eur * job.eur_day.sum()
            )
    return max(scenario.materials, key=lambda material: need[material.name] * material.bulk_eur).name


def _slowest_material(scenario: Scenario) -> str:
    """The material with the longest lead time."""
    return max(scenario.materials, key=lambda material: material.lead_mean_d).name


def _best_seller(scenario: Scenario) -> str:
    """The catalogue product with the most demand, EUR at list price."""
    return max(scenario.products, key=lambda product: product.units_per_1000_year * product.price_eur).name


RULES: Mapping[str, Mapping[str, Callable[[Scenario], str]]] = {
    "hub": {"largest_hub": _largest_hub, "smallest_hub": _smallest_hub},
    "town": {"densest_region": _densest_region},
    "depot": {"first_depot": _first_depot, "busiest_depot": _busiest_depot},
    "material": {"most_used_material": _most_used_material, "slowest_material": _slowest_material},
    "product": {"best_seller": _best_seller},
}
