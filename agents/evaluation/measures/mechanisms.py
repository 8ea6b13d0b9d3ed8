"""Measures of what a scenario switches on: disruptions, people, upkeep, quality, experience."""

from __future__ import annotations

from itertools import chain

import numpy as np

from fabmesh.agents.evaluation.measures.books import (
    EpisodeBooks,
    Measure,
    ScenarioBooks,
    count,
    ratio,
    share,
    worked_out,
)
from fabmesh.agents.evaluation.measures.network import machine_hours
from fabmesh.agents.evaluation.statistics import Floats
from fabmesh.envs.network.books.hazards import possible_kinds
from fabmesh.envs.network.schema.disruption_kinds import KINDS

# Days on which things were disturbed, of the kinds of model §8 that can happen: kind -> event, what is counted, unit.
DISRUPTION_DAYS = {
    "hub_outage": ("outage_days", "closed hubs", "hub days"),
    "regional_shock": ("regional_shocks", "shocks that struck several hubs or one", "shocks"),
    "depot_outage": ("depot_outage_days", "closed depots", "depot days"),
    "supplier_stop": ("supplier_stop_days", "stopped suppliers", "material days"),
    "port_closure": ("port_closed_days", "the port closed", "days"),
    "long_route": ("long_route_days", "ships on the long way", "days"),
    "material_shortage": ("material_shortage_days", "scarce materials", "material days"),
    "platform_outage": ("platform_outage_days", "no platform", "days"),
    "ransomware": ("files_locked_days", "locked design files", "hub days"),
    "platform_cyber": ("files_locked_days", "locked design files", "hub days"),
    "tampering": ("tampered_days", "wrong files of products", "product days"),
    "demand_surge": ("surge_product_days", "surges of demand", "product days"),
}
DISRUPTION_MEASURES = {
    event: Measure(event, label, unit, event, count(event), "neither")
    for event, label, unit in DISRUPTION_DAYS.values()
}


def booked(b: EpisodeBooks, *lines: str) -> Floats:
    """EUR of some ledger lines, [episodes], each summed over the nodes by itself.

    NumPy adds a whole ledger's nodes one after the other, and those of a line in another order, which rounds otherwise:
    manifests hold the bits of this one.
    """
    totals = (b.ledger[..., b.lines.index(line)].sum(axis=1) for line in lines)
    return sum(totals, start=np.zeros(len(b.ledger)))


def _posts_h(b: ScenarioBooks) -> float:
    """Hours of all posts in an episode."""
    return sum(hub.technicians for hub in b.scenario.hubs) * b.scenario.labour.hours_per_day * b.days


def _hubs_with_tolerance(b: ScenarioBooks) -> list[int]:
    """Of each technology with a tolerance, the hubs that have it."""
    names = [t.name for t in b.scenario.technologies if t.tolerance_mm is not None]
    return [sum(hub.machines.get(name, 0) > 0 for hub in b.scenario.hubs) for name in names]


def _a_day(b: ScenarioBooks, event: str, number: int) -> Floats:
    """A count that goes on all days, of one of so many things on a day."""
    return ratio(b.count[event], number * np.full(len(b.events), float(b.days)))


# Measures of a mechanism, by the section of the scenario that switches it on; there only where it is on.
MECHANISM_MEASURES: dict[str, tuple[Measure[ScenarioBooks], ...]] = {
    "people": (
        Measure("absence_hours", "technicians' hours away", "h", "absence_h", count("absence_h")),
        Measure("vacancy_hours", "hours of posts without a technician", "h", "vacancy_h", count("vacancy_h")),
        Measure(
            "present_share",
            "technicians' hours there / hours of all posts",
            "share",
            "1 - (absence_h + vacancy_h) / (technicians x hours a day x days)",
            lambda b: 1.0 - (b.count["absence_h"] + b.count["vacancy_h"]) / _posts_h(b),
            "higher",
        ),
    ),
    "upkeep": (
        Measure("upkeep_cost", "service and repair of machines", "EUR", "line upkeep", lambda b: booked(b, "upkeep")),
        Measure("breakdowns", "breakdowns of machines", "breakdowns", "breakdowns", count("breakdowns")),
        Measure("services", "machines serviced", "machines", "services", count("services"), "neither"),
        Measure(
            "machine_availability",
            "machine hours not lost to repairs / hours of all machines",
            "share",
            "1 - repair_h / (machines x hours a day x days)",
            lambda b: 1.0 - b.count["repair_h"] / (sum(machine_hours(b.scenario).values()) * b.days),
            "higher",
        ),
    ),
    "quality": (
        Measure(
            "cpk",
            "process capability of the hubs' technologies, mean",
            "Cpk",
            "cpk_hub_technology_days / (pairs of hub and technology with a tolerance x days)",
            lambda b: _a_day(b, "cpk_hub_technology_days", sum(_hubs_with_tolerance(b))),
            "higher",
        ),
        Measure(
            "hub_spread",
            "standard deviation between hubs / within one",
            "ratio, 0 = made in A is made in B",
            "hub_spread_technology_days / (technologies with a tolerance at two hubs or more x days)",
            lambda b: _a_day(b, "hub_spread_technology_days", sum(n >= 2 for n in _hubs_with_tolerance(b))),
        ),
        Measure(
            "return_share",
            "units returned / delivered",
            "share",
            "units_returned / units_delivered",
            share("units_returned", "units_delivered"),
        ),
        Measure(
            "quality_cost",
            "inspection and returns",
            "EUR",
            "lines inspection + quality_returns",
            lambda b: booked(b, "inspection", "quality_returns"),
        ),
        Measure(
            "bad_lot_share",
            "bad lots / lots that arrive at depots",
            "share",
            "lots_bad / lots_received",
            share("lots_bad", "lots_received"),
        ),
        Measure(
            "bad_lots_found",
            "bad lots sent back / bad lots",
            "share",
            "lots_rejected / lots_bad",
            share("lots_rejected", "lots_bad"),
            "neither",
        ),
    ),
    "experience": (
        Measure(
            "learning_slope",
            "labour time after a doubling of experience / before, mean over hubs and technologies",
            "share, 1 = no learning",
            "2 ^ -(learning_gain_doublings / learning_doublings)",
            lambda b: 2.0 ** -ratio(b.count["learning_gain_doublings"], b.count["learning_doublings"]),
        ),
        Measure(
            "labour_saved_hours",
            "labour hours saved by learning",
            "h",
            "labour_saved_h",
            count("labour_saved_h"),
            "higher",
        ),
        Measure(
            "qualification_runs",
            "runs to qualify for a new design",
            "runs",
            "qualification_runs",
            count("qualification_runs"),
            "neither",
        ),
    ),
}


def measure_disruptions(books: ScenarioBooks) -> dict[str, Floats]:
    """How long things were disturbed: the events of `DISRUPTION_DAYS` whose kinds can happen."""
    kinds = (kind for kind, possible in zip(KINDS, possible_kinds(books.scenario), strict=True) if possible)
    counted = {DISRUPTION_DAYS[kind][0] for kind in kinds if kind in DISRUPTION_DAYS}
    return worked_out([item for name, item in DISRUPTION_MEASURES.items() if name in counted], books)


def measure_mechanisms(books: ScenarioBooks) -> dict[str, Floats]:
    """`MECHANISM_MEASURES` of the mechanisms that the scenario switches on."""
    on = (items for section, items in MECHANISM_MEASURES.items() if getattr(books.scenario, section).enabled)
    return worked_out([*chain(*on)], books)
