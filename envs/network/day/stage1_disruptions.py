"""Stage 1, what goes wrong (model §8): disruptions begin, drawn or scripted, and what they do while they last.

Everything that begins here is exogenous: a pure function of (seed, day, names) or written in the scenario. Effects
are days until which a thing is disturbed, in the state; the stages of the day ask them once a day or per thing.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from fabmesh.envs.network.books.accounts import Event
from fabmesh.envs.network.books.state import State
from fabmesh.envs.network.books.tables import Tables
from fabmesh.envs.network.compiler.kernel import kernel
from fabmesh.envs.network.compiler.rng import STREAM_DISRUPTION, STREAM_OUTAGE, combine, day_key, normal, uniform
from fabmesh.envs.network.day.stage3_awards import announce_again
from fabmesh.envs.network.schema.disruption_kinds import (
    DEPOT_OUTAGE,
    HUB_OUTAGE,
    LONG_ROUTE,
    MATERIAL_SHORTAGE,
    PLATFORM_CYBER,
    PLATFORM_OUTAGE,
    PORT_CLOSURE,
    RANSOMWARE,
    REGIONAL_SHOCK,
    SUPPLIER_STOP,
    TAMPERING,
)
from fabmesh.envs.network.schema.sizes import MOST_DAYS

_LONGEST_D = float(MOST_DAYS)
_LENGTH, _PART, _OUTPUT = np.uint64(1), np.uint64(2), np.uint64(3)
_LENGTH_OF_OUTAGE = np.uint64(4)


@kernel
def disrupt(w: Tables, s: State, day: int) -> None:
    """Begins the day's disruptions, drawn ones first, and counts the days of all that go on."""
    if len(w.hazard) + len(w.script) == 0:
        return
    key = day_key(s.clock[0].seed, STREAM_DISRUPTION, day)
    for i in range(len(w.hazard)):
        if uniform(key, w.hazard[i].key) < w.hazard[i].rate_d:
            begin(w, s, w.hazard[i].kind, w.hazard[i].target, day, drawn_duration(w, key, i))
    for i in range(len(w.script)):
        if w.script[i].day == day:
            begin(w, s, w.script[i].kind, w.script[i].target, day, w.script[i].duration_d)
    count_days(w, s, day)


@kernel
def drawn_duration(w: Tables, key: np.uint64, i: int) -> int:
    """Working days a drawn disruption lasts: lognormal, begun days count as whole ones (F§6.2).

    Of a platform outage the part of a day counts as a day with so much probability: the auction takes a moment of
    the day. Tampering is found out after a uniform number of days.
    """
    hazard = w.hazard[i]
    if hazard.kind == TAMPERING:
        days = w.scenario[0].disruptions.tampering_found_d
        return days[0] + int(uniform(key, combine(hazard.key, _LENGTH)) * (days[1] - days[0] + 1))
    z = normal(key, combine(hazard.key, _LENGTH))
    length = min(math.exp(hazard.mu + hazard.sigma * z), _LONGEST_D)
    if hazard.kind == PLATFORM_OUTAGE:
        return int(length + uniform(key, combine(hazard.key, _PART)))
    return max(math.ceil(length), 1)


@kernel
def begin(w: Tables, s: State, kind: int, target: int, day: int, duration: int) -> None:
    """A disruption begins. One that comes while the same thing is disturbed prolongs that, and never shortens it.

    Of a surge of demand nothing is to be done here: `demand` reads it off the script.
    """
    until = day + duration
    outside = s.outside[0]
    if kind == HUB_OUTAGE:
        close_hub(w, s, target, day, duration)
    elif kind == REGIONAL_SHOCK:
        s.events[Event.regional_shocks] += 1.0
        for h in range(s.hub.shape[0]):
            if w.region_hub[target, h] == 1:
                close_hub(w, s, h, day, duration)
    elif kind == DEPOT_OUTAGE:
        s.depot[target].down_until = max(s.depot[target].down_until, until)
    elif kind == SUPPLIER_STOP:
        source = s.source[target]
        share = w.scenario[0].disruptions.supplier_stop_output
        key = day_key(s.clock[0].seed, STREAM_DISRUPTION, day)
        source.output = share[0] + (share[1] - share[0]) * uniform(key, combine(w.mat[target].key, _OUTPUT))
        source.stopped_until = max(source.stopped_until, until)
    elif kind == MATERIAL_SHORTAGE:
        s.source[target].scarce_until = max(s.source[target].scarce_until, until)
    elif kind == PORT_CLOSURE:
        close_port(w, s, day, until)
    elif kind == LONG_ROUTE:
        outside.long_route_until = max(outside.long_route_until, until)
    elif kind == PLATFORM_OUTAGE:
        outside.platform_until = max(outside.platform_until, until)
    elif kind == RANSOMWARE:
        s.hub[target].locked_until = max(s.hub[target].locked_until, until)
    elif kind == PLATFORM_CYBER:
        for h in range(s.hub.shape[0]):
            s.hub[h].locked_until = max(s.hub[h].locked_until, until)
    elif kind == TAMPERING:
        s.tampered_until[target] = max(s.tampered_until[target], until)


@kernel
def close_hub(w: Tables, s: State, h: int, day: int, duration: int) -> None:
    """A hub goes down: its open orders are announced again, its work in progress is deadstock."""
    was_up = s.hub[h].down_until <= day
    s.hub[h].down_until = max(s.hub[h].down_until, day + duration)
    if was_up:
        announce_again(w, s, h, day)


@kernel
def outages(w: Tables, s: State, day: int) -> None:
    """Hub outages begin (F§6.2): a closed hub's open orders are announced again, its work in progress is deadstock."""
    key = day_key(s.clock[0].seed, STREAM_OUTAGE, day)
    for h in range(len(w.hub_town)):
        if uniform(key, w.hub_key[h]) < w.par[0].outage_rate_d:
            z = normal(key, combine(w.hub_key[h], _LENGTH_OF_OUTAGE))
            duration = math.ceil(math.exp(w.par[0].outage_mu + w.scenario[0].disruptions.hub_outage_sigma * z))
            duration = min(max(duration, 1), w.scenario[0].disruptions.hub_outage_max_d)
            close_hub(w, s, h, day, duration)
        if s.hub[h].down_until > day:
            s.events[Event.outage_days] += 1.0


@kernel
def close_port(w: Tables, s: State, day: int, until: int) -> None:
    """The port closes: what is on its way from overseas waits. A closure while the queue stands joins it."""
    outside = s.outside[0]
    if day >= port_clear(w, s):
        outside.port_from, outside.port_until = day, until
    outside.port_until = max(outside.port_until, until)
    for m in range(len(w.mat)):
        if w.overseas[m] == 0:
            continue
        for d in range(s.depot_mat.shape[0]):
            for i in range(s.depot_mat[d, m].orders):
                order = s.supplier_order[d, m, i]
                if order.arrives > day:
                    order.arrives = max(order.arrives, through_port(w, s, order.due))


@kernel
def port_clear(w: Tables, s: State) -> float:
    """First day on which the port is open and its queue gone: `port_queue` days after it opens, per day of closure."""
    outside = s.outside[0]
    return outside.port_until + w.scenario[0].disruptions.port_queue * (outside.port_until - outside.port_from)


@kernel
def through_port(w: Tables, s: State, due: int) -> int:
    """Day on which goods leave the port that would have come on day `due`.

    A queue first in, first out, worked off at an even pace: with D days of closure and q days of queue per day of
    closure, the arrivals of (1 + q) D days leave in the q D days after it opens.
    """
    outside = s.outside[0]
    if due < outside.port_from:
        return due
    queue = w.scenario[0].disruptions.port_queue
    leaves = outside.port_until + (due - outside.port_from) * queue / (1.0 + queue)
    return max(due, math.ceil(leaves - 1e-9))


@kernel
def due_at_port(w: Tables, s: State, m: int, day: int, lead: int) -> int:
    """Day on which an order placed today would come if no port were closed.

    A scarce material takes `material_shortage_lead` times as long; a stopped supplier makes up for the part of the
    stop in which it stood still; what comes from overseas on the long way takes `long_route_lead_d` days more.
    """
    source = s.source[m]
    if source.scarce_until > day:
        lead = math.ceil(lead * w.scenario[0].disruptions.material_shortage_lead)
    if source.stopped_until > day:
        lead += math.ceil((source.stopped_until - day) * (1.0 - source.output))
    if w.overseas[m] == 1 and s.outside[0].long_route_until > day:
        lead += w.scenario[0].disruptions.long_route_lead_d
    return day + lead


@kernel
def freight_factor(w: Tables, s: State, m: int) -> float:
    """What a supplier's freight costs today, x the usual: goods from overseas on the long way."""
    on_long_way = w.overseas[m] == 1 and s.outside[0].long_route_until > s.clock[0].day
    return w.scenario[0].disruptions.long_route_freight if on_long_way else 1.0


@kernel
def price_factor(w: Tables, s: State, m: int) -> float:
    """What a supplier asks for a material today, x the usual: more while it is scarce."""
    return w.scenario[0].disruptions.material_shortage_price if s.source[m].scarce_until > s.clock[0].day else 1.0


@kernel
def count_days(w: Tables, s: State, day: int) -> None:
    """Counts what is disturbed today, hubs apart: the days of closed depots, stopped suppliers, and so on."""
    for d in range(len(w.depot_key)):
        if s.depot[d].down_until > day:
            s.events[Event.depot_outage_days] += 1.0
    for m in range(len(w.mat)):
        if s.source[m].stopped_until > day:
            s.events[Event.supplier_stop_days] += 1.0
        if s.source[m].scarce_until > day:
            s.events[Event.material_shortage_days] += 1.0
    outside = s.outside[0]
    if outside.port_until > day:
        s.events[Event.port_closed_days] += 1.0
    if outside.long_route_until > day:
        s.events[Event.long_route_days] += 1.0
    if outside.platform_until > day:
        s.events[Event.platform_outage_days] += 1.0
    for h in range(len(w.hub_key)):
        if s.hub[h].locked_until > day:
            s.events[Event.files_locked_days] += 1.0
    for p in range(w.par[0].products):
        if s.tampered_until[p] > day:
            s.events[Event.tampered_days] += 1.0


@kernel
def forget_disruptions(s: State) -> None:
    """An episode begins undisturbed."""
    for h in range(s.hub.shape[0]):
        s.hub[h].locked_until = 0
    for d in range(s.depot.shape[0]):
        s.depot[d].down_until = 0
    for m in range(s.source.shape[0]):
        source = s.source[m]
        source.stopped_until, source.output, source.scarce_until = 0, 0.0, 0
    for p in range(s.tampered_until.shape[0]):
        s.tampered_until[p] = 0
    outside = s.outside[0]
    outside.platform_until, outside.port_from, outside.port_until, outside.long_route_until = 0, 0, 0, 0


# --- what the agents are told -------------------------------------------------------------------------------------


@kernel
def flag(true: bool) -> float:
    """1 for true, 0 for false."""
    return 1.0 if true else 0.0


@kernel
def write_public_flags(w: Tables, s: State, at: np.void, out: NDArray[np.float32]) -> None:
    """Writes what everybody is told, to the places of one who is told it, or of the state."""
    day = s.clock[0].day
    outside = s.outside[0]
    if at.platform_up >= 0:
        out[at.platform_up] = flag(outside.platform_until <= day)
    if at.depots_open >= 0:
        closed = 0
        for d in range(len(w.depot_key)):
            if s.depot[d].down_until > day:
                closed += 1
        out[at.depots_open] = 1.0 - closed / len(w.depot_key)
    if at.supplier_stopped >= 0:
        for m in range(len(w.mat)):
            out[at.supplier_stopped + m] = flag(s.source[m].stopped_until > day)
    if at.scarce >= 0:
        for m in range(len(w.mat)):
            out[at.scarce + m] = flag(s.source[m].scarce_until > day)
    if at.port_open >= 0:
        out[at.port_open] = flag(port_clear(w, s) <= day)
    if at.long_route >= 0:
        out[at.long_route] = flag(outside.long_route_until > day)


@kernel
def write_hub_flags(w: Tables, s: State, h: int, at: np.void, out: NDArray[np.float32]) -> None:
    """What a hub is told."""
    write_public_flags(w, s, at, out)
    if at.files >= 0:
        out[at.files] = flag(s.hub[h].locked_until <= s.clock[0].day)


@kernel
def write_depot_flags(w: Tables, s: State, d: int, at: np.void, out: NDArray[np.float32]) -> None:
    """What a depot is told."""
    write_public_flags(w, s, at, out)
    if at.up >= 0:
        out[at.up] = flag(s.depot[d].down_until <= s.clock[0].day)


@kernel
def write_state_flags(w: Tables, s: State, at: np.void, out: NDArray[np.float32]) -> None:
    """The flags of the whole network."""
    write_public_flags(w, s, at, out)
    if at.files >= 0:
        for h in range(len(w.hub_key)):
            out[at.files + h] = flag(s.hub[h].locked_until <= s.clock[0].day)
    if at.depot_up >= 0:
        for d in range(len(w.depot_key)):
            out[at.depot_up + d] = flag(s.depot[d].down_until <= s.clock[0].day)
