"""Part of stage 3, offers: what a hub thinks a unit costs it, and the landed score of its bid (model §4)."""

from __future__ import annotations

import numpy as np

from fabmesh.envs.network.books.last_mile import (
    delivery_cost,
    delivery_days,
    parcel_cost,
    parcel_weight,
    units_per_stop,
)
from fabmesh.envs.network.books.state import Scratch, State
from fabmesh.envs.network.books.tables import Tables
from fabmesh.envs.network.compiler.kernel import inlined, kernel
from fabmesh.envs.network.day.stage3_promises import lateness_rate, promise_days
from fabmesh.envs.network.mechanisms.carbon import stop_co2e


@kernel
def estimate_costs(w: Tables, s: State) -> None:
    """Each hub's estimate of a unit's cost: material at the last quoted price, machine and labour hours."""
    for h in range(len(w.hub_town)):
        for r in range(len(w.row)):
            row = w.row[r]
            constant = 0.0
            per_eur = 0.0
            for i in range(row.stages):
                k = row.tech[i]
                rate, learned = w.tech[k].rate + w.tech[k].energy, s.hub_tech[h, k].learned
                constant += row.machine0[i] * rate + row.labour0[i] * learned * w.scenario[0].labour.wage_eur_h
                per_eur += row.machine1[i] * rate + row.labour1[i] * learned * w.scenario[0].labour.wage_eur_h
            for i in range(row.bom):
                quote = s.hub_mat[h, row.bom_material[i]].quote
                constant += row.bom0[i] * quote
                per_eur += row.bom1[i] * quote
            s.unit_cost[h, r, 0] = constant
            s.unit_cost[h, r, 1] = per_eur


@kernel
def lot_terms(w: Tables, lot: np.void) -> tuple[float, float, float]:
    """What is the same for every hub that looks at a lot: set-up share, units a stop, parcel cost a stop."""
    a_stop = units_per_stop(w, lot.row, lot.units)
    parcel = parcel_cost(w, parcel_weight(w, lot.row, lot.price, a_stop))
    return w.row[lot.row].setup_eur / lot.units, a_stop, parcel


@kernel
def ceiling_of(w: Tables, lot: np.void) -> float:
    """The highest landed score that the customer takes, EUR a unit: the row's rule, or what a recorded order says."""
    return lot.ceiling if lot.ceiling > 0.0 else w.row[lot.row].ceiling * lot.price


@kernel
def own_cost(s: State, h: int, lot: np.void, setup_share: float) -> float:
    """A hub's estimated production cost of a unit of a lot, EUR, set-up share included."""
    return s.unit_cost[h, lot.row, 0] + s.unit_cost[h, lot.row, 1] * lot.price + setup_share


@inlined
def landed_score(
    w: Tables,
    s: State,
    x: Scratch,
    h: int,
    lot: np.void,
    terms: tuple[float, float, float],
    asks: float,
    van: float,
) -> tuple[float, float]:
    """(landed score, bid) of a hub that asks so many times its own cost for a lot, EUR a unit; `van` EUR a stop."""
    setup_share, a_stop, parcel = terms
    bid = asks * own_cost(s, h, lot, setup_share)
    score = bid + delivery_cost(van, parcel) / a_stop
    score += x.record[h, lot.row] * lot.price
    if lot.again == 1:
        day = s.clock[0].day
        ships = promise_days(w, lot, h, day) + day + delivery_days(w, h, lot.town)
        score += lot.price * lateness_rate(w, ships - lot.due)
    if w.scenario[0].market.carbon_weight > 0.0:
        row = w.row[lot.row]
        delivery = stop_co2e(w, h, lot.town, parcel, parcel_weight(w, lot.row, lot.price, a_stop)) / a_stop
        score += w.scenario[0].market.carbon_weight * (row.co2e0 + row.co2e1 * lot.price + delivery)
    return score, bid
