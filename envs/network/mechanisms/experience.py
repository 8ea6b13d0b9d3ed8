"""Learning by doing and new designs (model §7): Wright's law per hub and technology, and qualification runs.

T. P. Wright, "Factors affecting the cost of airplanes", Journal of the Aeronautical Sciences 3 (1936): every doubling
of the cumulative number of units multiplies labour time by the progress ratio r, time ~ units^log2(r).
"""

from __future__ import annotations

import math

from fabmesh.envs.network.books.accounts import Event, Line
from fabmesh.envs.network.books.ledger import post
from fabmesh.envs.network.books.state import F_SCRAPPED, Scratch, State
from fabmesh.envs.network.books.stock import draw
from fabmesh.envs.network.books.tables import Tables
from fabmesh.envs.network.books.work_content import labour_h
from fabmesh.envs.network.compiler.kernel import kernel

_NEW, _MADE = 1, 2  # states of a hub that is not qualified for a product's design


@kernel
def wright(doublings: float, exponent: float, floor: float) -> float:
    """Time of a unit / that of the first, after so many doublings of experience; never below the floor."""
    return max(2.0 ** (-exponent * doublings), floor)


@kernel
def learn(w: Tables, s: State, counted: bool) -> None:
    """Brings the hubs' experience up to yesterday: own units, and a share of the others' through the platform."""
    learning = w.scenario[0].experience
    for k in range(len(w.tech)):
        network = 0.0
        for h in range(len(w.hub_town)):
            network += s.hub_tech[h, k].made
        for h in range(len(w.hub_town)):
            if w.hub_machines[h, k] == 0:
                continue
            lane = s.hub_tech[h, k]
            units = lane.made + learning.shared * (network - lane.made)
            experience = 1.0 + units / learning.prior_units
            doublings = math.log2(experience)
            learned = wright(doublings, w.tech[k].labour_exponent, learning.floor)
            if counted:
                s.events[Event.learning_doublings] += doublings - lane.doublings
                s.events[Event.learning_gain_doublings] += math.log2(lane.learned / learned)
            lane.doublings, lane.learned = doublings, learned
            lane.scrap_learned = wright(doublings, w.par[0].scrap_exponent, learning.floor)


@kernel
def practise(w: Tables, s: State, h: int, row: int, stage: int, units: int, good: int, price: float) -> None:
    """What units just worked teach the hub, and the labour that learning has saved on them."""
    lane = s.hub_tech[h, w.row[row].tech[stage]]
    lane.made += good
    s.events[Event.labour_saved_h] += units * labour_h(w, row, stage, price) * (1.0 - lane.learned)
    if stage == 0 and row < w.par[0].products and s.hub_prod[h, row].qualifies == _NEW:
        s.hub_prod[h, row].qualifies = _MADE


@kernel
def qualify(w: Tables, s: State, x: Scratch, h: int) -> None:
    """Qualification runs for the new designs that the hub has begun to make, as far as hours reach (F§7.4)."""
    people = len(w.tech)
    hours = w.scenario[0].experience.qualification_h
    for p in range(w.par[0].products):
        if s.hub_prod[h, p].qualifies != _MADE or x.cap[people] < hours:
            continue
        s.hub_prod[h, p].qualifies = 0
        x.cap[people] -= hours
        s.events[Event.labour_h] += hours
        s.events[Event.qualification_runs] += 1.0
        post(s, h, Line.setup, hours * w.scenario[0].labour.wage_eur_h)
        if w.row[p].bom > 0:
            m = w.row[p].bom_material[0]
            units = w.scenario[0].experience.qualification_kg / w.mat[m].kg
            post(s, h, Line.scrap, draw(w, s, x, h, m, units, F_SCRAPPED))
