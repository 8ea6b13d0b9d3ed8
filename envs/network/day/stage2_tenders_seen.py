"""Which tenders a hub sees: a few slots, filled anew every morning."""

from __future__ import annotations

from fabmesh.envs.network.books.last_mile import delivery_days
from fabmesh.envs.network.books.state import Scratch, State
from fabmesh.envs.network.books.tables import Tables
from fabmesh.envs.network.compiler.kernel import kernel


@kernel
def fill_slots(w: Tables, s: State, x: Scratch) -> None:
    """Up to so many tenders per hub: what it can make and still ship in time, soonest due first, then nearest."""
    day = s.clock[0].day
    slots = s.slot.shape[1]
    for h in range(len(w.hub_town)):
        for i in range(slots):
            s.slot[h, i] = -1
        if s.hub[h].down_until > day:
            continue
        found = 0
        for n in range(s.clock[0].tenders):
            tender = s.tender[n]
            days = tender.due - day - delivery_days(w, h, tender.town)
            late = days < w.row[tender.row].stages - 1 and tender.again == 0
            if late or w.hub_can[h, tender.row] == 0 or w.town_km[h, tender.town] > w.scenario[0].market.reach_km:
                continue
            place = found
            while place > 0 and comes_before(w, s, h, n, s.slot[h, place - 1]):
                place -= 1
            if place >= slots:
                continue
            last = min(found, slots - 1)
            for i in range(last, place, -1):
                s.slot[h, i] = s.slot[h, i - 1]
            s.slot[h, place] = n
            found = min(found + 1, slots)


@kernel
def comes_before(w: Tables, s: State, h: int, one: int, other: int) -> bool:
    """Soonest due, then nearest, then by name."""
    first, second = s.tender[one], s.tender[other]
    if first.due != second.due:
        return first.due < second.due
    near, far = w.town_km[h, first.town], w.town_km[h, second.town]
    if near != far:
        return near < far
    return first.key < second.key
