"""Part of stage 3, promises: what hours a hub has left until a day, and what lateness to expect of it (model §4).

Available-to-promise units are those that can ship in time without breaking a promise already given.
"""

from __future__ import annotations

import numpy as np

from fabmesh.envs.network.books.last_mile import delivery_days
from fabmesh.envs.network.books.state import Scratch, State
from fabmesh.envs.network.books.tables import HORIZON, Tables
from fabmesh.envs.network.books.work_content import labour_h, machine_h
from fabmesh.envs.network.compiler.kernel import kernel
from fabmesh.envs.network.mechanisms.people import commit_absence
from fabmesh.envs.network.mechanisms.quality import returns_to_expect
from fabmesh.envs.network.mechanisms.upkeep import commit_repairs


@kernel
def lateness_rate(w: Tables, days_late: int) -> float:
    """Share of the price charged for so many days beyond the due day (F§5)."""
    market = w.scenario[0].market
    return min(market.lateness_cap, market.lateness_per_day * max(days_late - market.lateness_grace_d, 0))


@kernel
def lateness_record(w: Tables, s: State, h: int) -> float:
    """Lateness to expect of a hub, share of price: its smoothed charges per EUR delivered, times the weight."""
    hub = s.hub[h]
    record = hub.late_eur / hub.price_eur if hub.price_eur > 1.0 else 0.0
    return w.scenario[0].market.reputation_weight * min(record, w.scenario[0].market.lateness_cap)


@kernel
def stage_offset(w: Tables, row: int, stage: int, days: int) -> int:
    """Last day (0 = today) on which a stage can be worked for goods that must ship in `days` days."""
    offset = days - (w.row[row].stages - 1 - stage)
    return min(offset, HORIZON - 1)


@kernel
def promise_days(w: Tables, lot: np.void, h: int, day: int) -> int:
    """Days until a lot must ship. What is announced again may be promised late: soon is then better than never."""
    days = lot.due - day - delivery_days(w, h, lot.town)
    if lot.again == 1:
        days = max(days, w.row[lot.row].stages + 1)
    return days


@kernel
def free_hours(x: Scratch, h: int, resource: int) -> None:
    """Hours that can be promised until a day: the least room of it and of every later day, whose promises count too."""
    free = x.room[h, resource, HORIZON - 1]
    x.free[h, resource, HORIZON - 1] = free
    for back in range(2, HORIZON + 1):
        free = min(free, x.room[h, resource, HORIZON - back])
        x.free[h, resource, HORIZON - back] = free


@kernel
def build_room(w: Tables, s: State, x: Scratch) -> None:
    """Hours free per hub, resource and day: capacity until the day less hours committed until it.

    With them what else is the same for all lots of the day: open orders and each hub's record per row.
    """
    day = s.clock[0].day
    people = len(w.tech)
    for h in range(len(w.hub_town)):
        for k in range(people):
            x.learned[h, k] = s.hub_tech[h, k].learned
        lateness = lateness_record(w, s, h)
        for r in range(len(w.row)):
            x.open_rows[h, r] = 0
            x.record[h, r] = lateness
            if w.scenario[0].market.quality_weight > 0.0:
                x.record[h, r] += w.scenario[0].market.quality_weight * returns_to_expect(w, s, h, r)
        for k in range(people + 1):
            for d in range(HORIZON):
                x.room[h, k, d] = 0.0
        for i in range(s.hub[h].orders):
            o = s.order[h, i]
            x.open_rows[h, o.row] += 1
            days = o.due - day - delivery_days(w, h, o.town)
            units = 0
            for stage in range(w.row[o.row].stages):
                units += o.todo[stage]  # what waits for an earlier stage must also pass this one
                if units > 0:
                    d = max(stage_offset(w, o.row, stage, days), 0)
                    k = w.row[o.row].tech[stage]
                    x.room[h, k, d] += units * machine_h(w, o.row, stage, o.price)
                    x.room[h, people, d] += units * (labour_h(w, o.row, stage, o.price) * x.learned[h, k])
        if w.scenario[0].people.enabled == 1:
            commit_absence(w, s, x, h)
        if w.scenario[0].upkeep.enabled == 1:
            commit_repairs(w, s, x, h)
        overtime = s.hub[h].overtime
        for k in range(people + 1):
            if k < people:
                capacity = w.hub_hours[h, k]
                extra = overtime * capacity if w.tech[k].overtime == 1 else 0.0
                extra += s.hub_tech[h, k].carry_h
            else:
                capacity = w.hub_people[h] * w.scenario[0].labour.hours_per_day
                extra = overtime * capacity + s.hub[h].labour_carry_h
            committed = 0.0
            for d in range(HORIZON):
                committed += x.room[h, k, d]
                x.room[h, k, d] = (d + 1) * capacity + extra - committed
            free_hours(x, h, k)


@kernel
def available_to_promise(w: Tables, x: Scratch, h: int, row: int, price: float, days: int, wanted: int) -> int:
    """Units that can ship within `days` days without breaking a promise already given, at most `wanted`.

    The least over the technologies and labour the row needs of hours free / hours a unit (model §4).
    """
    people = len(w.tech)
    units = wanted
    labour = 0.0
    setups = 0.0
    for stage in range(w.row[row].stages):
        first = stage_offset(w, row, stage, days)
        if first < 0:
            return 0
        k = w.row[row].tech[stage]
        setup = w.tech[k].setup_h if x.open_rows[h, row] == 0 else 0.0
        setups += setup
        labour += labour_h(w, row, stage, price) * x.learned[h, k]
        need = machine_h(w, row, stage, price)
        if need > 0.0:
            # the least first: the quotient may be more than an integer holds
            units = int(min(max(x.free[h, k, first] - setup, 0.0) / need, np.float64(units)))
            if units == 0:
                return 0
    if labour > 0.0:
        last = min(days, HORIZON - 1)
        units = int(min(max(x.free[h, people, last] - setups, 0.0) / labour, np.float64(units)))
    return units


@kernel
def commit(w: Tables, x: Scratch, h: int, row: int, stage: int, days: int, machine: float, labour: float) -> None:
    """Takes hours of a stage from the room of every day from its last day on."""
    k = w.row[row].tech[stage]
    people = len(w.tech)
    first = max(stage_offset(w, row, stage, days), 0)
    take_hours(w, x, h, k, first, machine)
    take_hours(w, x, h, people, first, labour)


@kernel
def take_hours(w: Tables, x: Scratch, h: int, resource: int, first: int, hours: float) -> None:
    """Takes hours from a day on. The least of days that all lose the same falls by just that; earlier days see it."""
    for d in range(x.free.shape[2]):  # all of it: straight vector code
        x.free[h, resource, d] -= hours * w.from_day[first, d]
    for back in range(first):
        d = first - 1 - back
        if x.free[h, resource, d] <= x.free[h, resource, d + 1]:  # an earlier day binds: those before it stay
            break
        x.free[h, resource, d] = x.free[h, resource, d + 1]
