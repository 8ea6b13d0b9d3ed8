"""Measures of what a scenario switches on: disruptions, people, upkeep, quality, experience."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from fabmesh.agents.evaluation.measures.books import Measure, ratio
from fabmesh.agents.evaluation.measures.network import machine_hours
from fabmesh.agents.evaluation.statistics import Floats
from fabmesh.envs.network.books.hazards import possible_kinds
from fabmesh.envs.network.schema.disruption_kinds import KINDS
from fabmesh.envs.network.schema.scenario import Scenario

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
    event: Measure(event, label, unit, event, "neither") for event, label, unit in DISRUPTION_DAYS.values()
}
# Measures of a mechanism, by the section of the scenario that switches it on; there only where it is on.
MECHANISM_MEASURES: dict[str, tuple[Measure, ...]] = {
    "people": (
        Measure("absence_hours", "technicians' hours away", "h", "absence_h"),
        Measure("vacancy_hours", "hours of posts without a technician", "h", "vacancy_h"),
        Measure(
            "present_share",
            "technicians' hours there / hours of all posts",
            "share",
            "1 - (absence_h + vacancy_h) / (technicians x hours a day x days)",
            "higher",
        ),
    ),
    "upkeep": (
        Measure("upkeep_cost", "service and repair of machines", "EUR", "line upkeep"),
        Measure("breakdowns", "breakdowns of machines", "breakdowns", "breakdowns"),
        Measure("services", "machines serviced", "machines", "services", "neither"),
        Measure(
            "machine_availability",
            "machine hours not lost to repairs / hours of all machines",
            "share",
            "1 - repair_h / (machines x hours a day x days)",
            "higher",
        ),
    ),
    "quality": (
        Measure(
            "cpk",
            "process capability of the hubs' technologies, mean",
            "Cpk",
            "cpk_hub_technology_days / (pairs of hub and technology with a tolerance x days)",
            "higher",
        ),
        Measure(
            "hub_spread",
            "standard deviation between hubs / within one",
            "ratio, 0 = made in A is made in B",
            "hub_spread_technology_days / (technologies with a tolerance at two hubs or more x days)",
        ),
        Measure("return_share", "units returned / delivered", "share", "units_returned / units_delivered"),
        Measure("quality_cost", "inspection and returns", "EUR", "lines inspection + quality_returns"),
        Measure("bad_lot_share", "bad lots / lots that arrive at depots", "share", "lots_bad / lots_received"),
        Measure("bad_lots_found", "bad lots sent back / bad lots", "share", "lots_rejected / lots_bad", "neither"),
    ),
    "experience": (
        Measure(
            "learning_slope",
            "labour time after a doubling of experience / before, mean over hubs and technologies",
            "share, 1 = no learning",
            "2 ^ -(learning_gain_doublings / learning_doublings)",
        ),
        Measure("labour_saved_hours", "labour hours saved by learning", "h", "labour_saved_h", "higher"),
        Measure("qualification_runs", "runs to qualify for a new design", "runs", "qualification_runs", "neither"),
    ),
}


def measure_disruptions(scenario: Scenario, events: Floats, event_names: Sequence[str]) -> dict[str, Floats]:
    """Work out how long things were disturbed: the events of `DISRUPTION_DAYS` whose kinds can happen.

    Args:
        scenario: The network.
        events: As for `measures.measure`.
        event_names: As for `measures.measure`.
    """
    kinds = (kind for kind, possible in zip(KINDS, possible_kinds(scenario), strict=True) if possible)
    counted = {DISRUPTION_DAYS[kind][0] for kind in kinds if kind in DISRUPTION_DAYS}
    return {name: events[:, event_names.index(name)].copy() for name in DISRUPTION_MEASURES if name in counted}


def measure_mechanisms(
    scenario: Scenario, ledger: Floats, lines: Sequence[str], events: Floats, event_names: Sequence[str]
) -> dict[str, Floats]:
    """Work out `MECHANISM_MEASURES` of the mechanisms that the scenario switches on.

    Args:
        scenario: The network.
        ledger: As for `measures.measure`.
        lines: As for `measures.measure`.
        events: As for `measures.measure`.
        event_names: As for `measures.measure`.
    """
    count: Mapping[str, Floats] = dict(zip(event_names, np.moveaxis(events, -1, 0), strict=True))
    values: dict[str, Floats] = {}
    if scenario.people.enabled:
        technicians = sum(hub.technicians for hub in scenario.hubs)
        posts_h = technicians * scenario.labour.hours_per_day * scenario.episode_d
        values |= {
            "absence_hours": count["absence_h"],
            "vacancy_hours": count["vacancy_h"],
            "present_share": 1.0 - (count["absence_h"] + count["vacancy_h"]) / posts_h,
        }
    if scenario.upkeep.enabled:
        machines_h = sum(machine_hours(scenario).values()) * scenario.episode_d
        values |= {
            "upkeep_cost": ledger[..., lines.index("upkeep")].sum(axis=1),
            "breakdowns": count["breakdowns"],
            "services": count["services"],
            "machine_availability": 1.0 - count["repair_h"] / machines_h,
        }
    if scenario.quality.enabled:
        toleranced = [t.name for t in scenario.technologies if t.tolerance_mm is not None]
        hubs_of = [sum(hub.machines.get(name, 0) > 0 for hub in scenario.hubs) for name in toleranced]
        whole = np.full(len(events), float(scenario.episode_d))
        values |= {
            "cpk": ratio(count["cpk_hub_technology_days"], sum(hubs_of) * whole),
            "hub_spread": ratio(count["hub_spread_technology_days"], sum(n >= 2 for n in hubs_of) * whole),
            "return_share": ratio(count["units_returned"], count["units_delivered"]),
            "quality_cost": sum(
                (ledger[..., lines.index(line)].sum(axis=1) for line in ("inspection", "quality_returns")),
                start=np.zeros(len(events)),
            ),
            "bad_lot_share": ratio(count["lots_bad"], count["lots_received"]),
            "bad_lots_found": ratio(count["lots_rejected"], count["lots_bad"]),
        }
    if scenario.experience.enabled:
        values |= {
            "learning_slope": 2.0 ** -ratio(count["learning_gain_doublings"], count["learning_doublings"]),
            "labour_saved_hours": count["labour_saved_h"],
            "qualification_runs": count["qualification_runs"],
        }
    return values
