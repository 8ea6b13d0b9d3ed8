"""Machines wear, break down, are repaired and serviced (model §7). Breakdowns belong to stage 1, service to stage 6.

The time to failure is Weibull in working hours since service or repair; its parameters are those of F§3 and F§11.
"""

from __future__ import annotations

import math

import numpy as np

from fabmesh.envs.network.books.accounts import Event, Line
from fabmesh.envs.network.books.ledger import post
from fabmesh.envs.network.books.state import Scratch, State
from fabmesh.envs.network.books.tables import HORIZON, Tables
from fabmesh.envs.network.compiler.kernel import kernel
from fabmesh.envs.network.compiler.rng import STREAM_BREAKDOWN, STREAM_REPAIR, STREAM_START, combine, day_key, uniform
from fabmesh.envs.network.interface.actions import UPKEEP_LEVEL, level
from fabmesh.envs.network.mechanisms.quality import calibrate, drift

_WEAR = np.uint64(13)


@kernel
def draw_wear(w: Tables, s: State, h: int) -> None:
    """Wear on day 0: uniform between 0 and the mean time between failures."""
    key = day_key(s.clock[0].seed, STREAM_START, 0)
    for k in range(len(w.tech)):
        lane = s.hub_tech[h, k]
        lane.wear_h = w.tech[k].mtbf_h * uniform(key, combine(combine(w.hub_key[h], w.tech[k].key), _WEAR))
        lane.seen_wear = lane.wear_h ** w.scenario[0].upkeep.wear_shape


@kernel
def fails(u: float, risk: float) -> bool:
    """Whether a draw is below the probability 1 - exp(-risk), which is below the risk; a margin covers its rounding."""
    return u < risk * 1.000001 and u < -math.expm1(-risk)


@kernel
def breakdowns(w: Tables, s: State, day: int) -> None:
    """Repairs go on; machines fail with the risk of the hours they worked since the last morning."""
    failure_key = day_key(s.clock[0].seed, STREAM_BREAKDOWN, day)
    repair_key = day_key(s.clock[0].seed, STREAM_REPAIR, day)
    shape = w.scenario[0].upkeep.wear_shape
    for h in range(len(w.hub_town)):
        for k in range(len(w.tech)):
            machines, tech, lane = w.hub_machines[h, k], w.tech[k], s.hub_tech[h, k]
            if machines == 0:
                continue
            wear = lane.wear_h**shape
            risk = max(tech.hazard * (wear - lane.seen_wear), 0.0)
            lane.seen_wear = wear
            failed = 0
            lane_key = combine(w.hub_key[h], tech.key)
            first = w.first_machine[h, k]
            for i in range(machines):
                left = max(s.repair[first + i] - tech.hours_d, 0.0)
                name = combine(lane_key, np.uint64(i + 1))
                if left == 0.0 and risk > 0.0 and fails(uniform(failure_key, name), risk):
                    left = -tech.mttr_h * math.log(uniform(repair_key, name))
                    failed += 1
                    s.events[Event.breakdowns] += 1.0
                    s.events[Event.repair_h] += left
                    post(s, h, Line.upkeep, left * w.scenario[0].upkeep.repair_eur_h)
                s.repair[first + i] = left
            if failed > 0:
                lane.wear_h *= (machines - failed) / machines
                lane.seen_wear = lane.wear_h**shape


@kernel
def hours_lost(w: Tables, s: State, h: int, k: int, days: int) -> float:
    """Machine hours that the repairs under way take on the day `days` from today."""
    hours = w.tech[k].hours_d
    lost = 0.0
    first = w.first_machine[h, k]
    for i in range(first, first + w.hub_machines[h, k]):
        lost += min(max(s.repair[i] - days * hours, 0.0), hours)
    return lost


@kernel
def commit_repairs(w: Tables, s: State, x: Scratch, h: int) -> None:
    """Takes the hours of the repairs under way from those a hub can promise; notes those of today."""
    for k in range(len(w.tech)):
        for d in range(HORIZON):
            lost = hours_lost(w, s, h, k, d)
            if d == 0:
                x.lost_h[h, k] = lost
            if lost == 0.0:
                break
            extra = s.hub[h].overtime if d == 0 and w.tech[k].overtime == 1 else 0.0
            x.room[h, k, d] += lost * (1.0 + extra)


@kernel
def take_repairs(w: Tables, s: State, x: Scratch, h: int) -> None:
    """Takes the machines under repair out of today's hours, as `commit_repairs` has noted them."""
    for k in range(len(w.tech)):
        extra = s.hub[h].overtime if w.tech[k].overtime == 1 else 0.0
        x.cap[k] -= x.lost_h[h, k] * (1.0 + extra)


@kernel
def service(w: Tables, s: State, x: Scratch, h: int, action: np.ndarray) -> None:
    """Services the machines of the technology chosen, as many as today's hours allow. Then the machines' day begins."""
    k = level(action, h, w.hub_slot[UPKEEP_LEVEL], w.hub_fixed[UPKEEP_LEVEL], 0) - 1
    people = len(w.tech)
    if k >= 0 and w.hub_machines[h, k] > 0:
        machines, each = w.hub_machines[h, k], w.scenario[0].upkeep.service_h
        serviced = machines
        if each > 0.0:
            serviced = int(min(max(min(x.cap[people], x.cap[k]), 0.0) / each + 1e-9, np.float64(machines)))
        if serviced > 0:
            hours = serviced * each
            x.cap[k] -= hours
            x.cap[people] -= hours
            s.events[Event.labour_h] += hours
            s.events[Event.services] += serviced
            post(s, h, Line.upkeep, hours * w.scenario[0].labour.wage_eur_h + w.scenario[0].upkeep.service_eur)
            s.hub_tech[h, k].wear_h *= (machines - serviced) / machines
            s.hub_tech[h, k].seen_wear = s.hub_tech[h, k].wear_h ** w.scenario[0].upkeep.wear_shape
            if w.scenario[0].quality.enabled == 1:
                calibrate(w, s, h, k, serviced / machines)
    for k in range(people):
        x.opening[k] = x.cap[k]


@kernel
def wear(w: Tables, s: State, x: Scratch, h: int) -> None:
    """The day's working hours wear the machines and let their calibration drift.

    Hours held for a unit that is not finished count on the day it is.
    """
    for k in range(len(w.tech)):
        if w.hub_machines[h, k] == 0:
            continue
        worked = max(x.opening[k] - x.cap[k] - x.hold[k], 0.0) / w.hub_machines[h, k]
        if w.scenario[0].upkeep.enabled == 1:
            s.hub_tech[h, k].wear_h += worked
        if w.scenario[0].quality.enabled == 1:
            drift(w, s, h, k, worked)
