"""How the mean of a stream changes from day to day: surges, life cycles, the adoption ramp (model §4, F§7.2, F§9.4).

Everything is a pure function of (seed, day, names), so that the day's news, the standard cost and the look ahead of the
settlement read the same tape. The season is `world.season_factor`.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from fabmesh.envs.network.books.state import State
from fabmesh.envs.network.books.tables import Tables
from fabmesh.envs.network.compiler.kernel import kernel
from fabmesh.envs.network.compiler.rng import STREAM_LIFE_CYCLE, STREAM_SURGE, combine, day_key, normal, uniform
from fabmesh.envs.network.schema.disruption_kinds import DEMAND_SURGE

_FIRST, _SECOND, _THIRD = np.uint64(1), np.uint64(2), np.uint64(3)
# Bass (1969) with the mean coefficients of Sultan, Farley and Lehmann (1990) [K]: only their ratio matters here,
# because the time scale is the drawn life.
_INNOVATION, _IMITATION = 0.03, 0.38
_SOLD = 0.95  # share of a generation's sales within its life
_RATIO = _IMITATION / _INNOVATION
_LENGTH = math.log((1.0 + _SOLD * _RATIO) / (1.0 - _SOLD))  # (p + q) x life, from F(life) = 0.95
_STEEPNESS = 10.0  # of the logistic over the whole ramp [A]


@kernel
def bass_sales(part: float) -> float:
    """Sales of a generation at a part (0 to 1) of its life, their mean over the life being 1 (Bass 1969, eq. 6).

    0.43 at the beginning, 1.58 at the peak (at 0.46 of the life), 0.28 at the end.
    """
    decay = math.exp(-_LENGTH * part)
    density = (1.0 + _RATIO) * decay / (1.0 + _RATIO * decay) ** 2  # dF/dx of F = (1 - e^-x) / (1 + (q/p) e^-x)
    return density * _LENGTH / _SOLD


@kernel
def draw_lives(w: Tables, s: State) -> None:
    """Lives of the products' designs: lognormal around the row's median, their age on day 0 uniform over it."""
    key = day_key(s.clock[0].seed, STREAM_LIFE_CYCLE, 0)
    for p in range(w.par[0].products):
        median, name = w.row[p].life_d, w.row[p].key
        if median > 0.0:
            s.life[p].days = max(median * math.exp(w.scenario[0].demand.life_sigma * normal(key, name)), 1.0)
            s.life[p].part = uniform(key, combine(name, _FIRST))


@kernel
def life_factor(w: Tables, s: State, day: int, product: int) -> float:
    """Demand for a product on a day, x its mean: each generation's life is over, the next one follows."""
    if w.row[product].life_d == 0.0:
        return 1.0
    part = s.life[product].part + day / s.life[product].days
    return bass_sales(part - math.floor(part))


@kernel
def write_surges_of_day(w: Tables, seed: np.uint64, day: int, surge: NDArray[np.float64]) -> None:
    """Demand for every product on a day, x what it would be without surges: of several under way the largest.

    A surge begins with the product's rate on any day, also before the episode; its length is uniform, its factor
    log-uniform. Scripted ones come on top. `surge` is float64[p].
    """
    for p in range(w.par[0].products):
        surge[p] = 1.0
    for i in range(len(w.script)):
        event = w.script[i]
        if event.kind == DEMAND_SURGE and event.day <= day < event.day + event.duration_d:
            surge[event.target] = max(surge[event.target], event.factor)
    demand, rate = w.scenario[0].demand, w.par[0].surge_rate_d
    if rate == 0.0:
        return
    shortest, longest = demand.surge_d[0], demand.surge_d[1]
    low, high = demand.surge_factor[0], demand.surge_factor[1]
    for ago in range(longest):
        key = day_key(seed, STREAM_SURGE, day - ago)
        for p in range(w.par[0].products):
            name = w.row[p].key
            if uniform(key, name) >= rate:
                continue
            span = longest - shortest + 1
            if ago < shortest + int(uniform(key, combine(name, _SECOND)) * span):
                factor = low * (high / low) ** uniform(key, combine(name, _THIRD))
                surge[p] = max(surge[p], factor)


@kernel
def adoption(w: Tables, day: int) -> float:
    """Share of mature demand on a day: logistic in time, rescaled to run from `adoption_from` to exactly 1 (F§9.4)."""
    demand = w.scenario[0].demand
    if demand.adoption_from == 1.0:
        return 1.0
    part = (demand.adoption_day + day) / demand.adoption_ramp_d
    if part >= 1.0:
        return 1.0
    first = 1.0 / (1.0 + math.exp(0.5 * _STEEPNESS))
    rise = 1.0 / (1.0 + math.exp(-_STEEPNESS * (part - 0.5)))
    return demand.adoption_from + (1.0 - demand.adoption_from) * (rise - first) / (1.0 - 2.0 * first)


@kernel
def demand_shape(w: Tables, s: State, day: int, row: int, surge: NDArray[np.float64]) -> float:
    """What multiplies a lot row's mean on a day besides the season; `surge` is that of `write_surges_of_day`."""
    shape = adoption(w, day)
    if row < w.par[0].products:
        shape *= life_factor(w, s, day, row) * surge[row]
    return shape
