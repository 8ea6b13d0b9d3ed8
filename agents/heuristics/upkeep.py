"""Rules for upkeep: which technology a hub services and calibrates today, if any."""

from __future__ import annotations

from collections.abc import Sequence
from math import gamma

import numpy as np
from numpy.typing import NDArray
from scipy.special import erfc

from fabmesh.agents.heuristics.expectations import spoiled_per_hour
from fabmesh.agents.heuristics.view import Desk
from fabmesh.envs.network.schema.scenario import WORKING_DAYS_PER_WEEK, Scenario, Technology

_AGES = np.linspace(0.0, 6.0, 601)[1:]  # intervals that are weighed, in mean times between failures
_NEVER = 1e9  # working hours


class RunToFailure:
    """Nothing is serviced: machines run until they fail, and stay as they were set up (corrective maintenance)."""

    def __init__(self, scenario: Scenario) -> None:
        """Nothing to work out."""

    def __call__(self, desk: Desk) -> None:
        """Put levels on the desk."""
        desk.choose("upkeep", 0)


class ServiceByAge:
    """Age replacement: a technology is serviced at the working hours that cost least, failures and scrap reckoned in.

    The interval T with the least mean cost an hour, (c_p R(T) + c_f F(T) + q(T)) / integral of R over (0, T) (Barlow &
    Hunter 1960): R and F of the Weibull time to failure, c_p of a service, c_f of a repair, and q what parts out of
    tolerance cost while the calibration drifts. A technology is due at that wear, or when its calibration is as
    uncertain as it would be then, which a hub that was never calibrated is from its first day. The one most overdue
    goes first.

    Args:
        scenario: The network.
        interval: Times the economic interval (dimensionless).
        room: Load of the technicians (hours due within two days / hours there are) up to which services are made.
    """

    def __init__(self, scenario: Scenario, interval: float = 1.0, room: float = 1.0) -> None:
        quality, technologies = scenario.quality, scenario.technologies
        due_h = np.full((len(scenario.hubs), len(technologies)), _NEVER)
        for k, spoiled in enumerate(spoiled_per_hour(scenario)):
            for h, hub in enumerate(scenario.hubs):
                machines = hub.machines.get(technologies[k].name, 0)
                if machines > 0:
                    due_h[h, k] = interval * economic_interval(scenario, technologies[k], machines, float(spoiled))
        self._due_wear = due_h / np.array([t.mtbf_h or np.inf for t in technologies])
        self._due_variance = quality.calibrated_bias**2 + quality.drift_week**2 * due_h / _week_h(technologies)
        self._room = room

    def __call__(self, desk: Desk) -> None:
        """Put levels on the desk."""
        if not desk.decides("upkeep"):
            return
        overdue: NDArray[np.float64] = np.zeros((*desk.levels.shape[:2], self._due_wear.shape[1]))
        if desk.sees("wear"):
            overdue = desk.see("wear") / np.maximum(self._due_wear, 1e-9)
        if desk.sees("calibration"):
            overdue = np.maximum(overdue, desk.see("calibration") ** 2 / self._due_variance)
        overdue = np.where(desk.see("has_lane") > 0.0, overdue, 0.0)
        has_room = desk.see("labour_load")[..., 1:2] <= self._room
        first = overdue.argmax(axis=-1)[..., None]
        due = np.take_along_axis(overdue, first, axis=-1) >= 1.0
        desk.choose("upkeep", np.where(due & has_room, 1 + first, 0))


def economic_interval(scenario: Scenario, technology: Technology, machines: int, spoiled: float) -> float:
    """Working hours between services at the least mean cost an hour; see `ServiceByAge`.

    Args:
        scenario: The network.
        technology: What is serviced.
        machines: How many of it the hub has: they share the fixed part of a service.
        spoiled: EUR of production cost that an hour of scrap loses.

    Returns:
        Working hours; `_NEVER` where a service never pays.
    """
    upkeep, quality = scenario.upkeep, scenario.quality
    ages = _AGES * ((technology.mtbf_h if upkeep.enabled else None) or 10.0 * _week_h([technology])[0])
    hazard = np.zeros_like(ages)
    if upkeep.enabled and technology.mtbf_h:
        mean = gamma(1.0 + 1.0 / upkeep.wear_shape)
        hazard = scenario.disruptions.scale * (ages / technology.mtbf_h * mean) ** upkeep.wear_shape
    scrap = np.zeros_like(ages)
    if quality.enabled and technology.tolerance_mm is not None:
        noise = (technology.process_sd_mm**2 + technology.lot_sd_mm[0] ** 2) / technology.tolerance_mm**2
        variance = quality.calibrated_bias**2 + quality.drift_week**2 * ages / _week_h([technology]) + noise
        scrap = np.cumsum(spoiled * erfc(1.0 / np.sqrt(2.0 * variance))) * ages[0]
    survives = np.exp(-hazard)
    wage, rate = scenario.labour.wage_eur_h, technology.rate_eur_h
    service = upkeep.service_h * (wage + rate) + upkeep.service_eur / machines
    repair = technology.mttr_h * (upkeep.repair_eur_h + rate)
    cost = (service * survives + repair * (1.0 - survives) + scrap) / (np.cumsum(survives) * ages[0])
    best = int(cost.argmin())
    return float(ages[best]) if best < len(ages) - 1 else _NEVER


def _week_h(technologies: Sequence[Technology]) -> NDArray[np.float64]:
    """Working hours of a machine in a full week, [technologies]."""
    return np.array([technology.hours_per_day * WORKING_DAYS_PER_WEEK for technology in technologies])
