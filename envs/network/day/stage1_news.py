"""Stage 1, news: what the world brings, whatever anyone does. All of it is a pure function of (seed, day, names)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from fabmesh.envs.network.books.accounts import Event, Line, TenderEvent
from fabmesh.envs.network.books.ledger import post, tender_event
from fabmesh.envs.network.books.state import State
from fabmesh.envs.network.books.tables import CATALOGUE, CUSTOM, TENDER, Tables
from fabmesh.envs.network.compiler.kernel import kernel
from fabmesh.envs.network.compiler.rng import (
    STREAM_PRICE,
    STREAM_REVISION,
    STREAM_START,
    STREAM_TENDER,
    STREAM_UNITS,
    combine,
    day_key,
    negative_binomial_quantile,
    normal,
    poisson_quantile,
    uniform,
)
from fabmesh.envs.network.day.stage1_disruptions import disrupt, outages
from fabmesh.envs.network.mechanisms.demand import adoption, demand_shape, life_factor, write_surges_of_day
from fabmesh.envs.network.mechanisms.experience import learn
from fabmesh.envs.network.mechanisms.people import people_today
from fabmesh.envs.network.mechanisms.quality import compare_hubs
from fabmesh.envs.network.mechanisms.upkeep import breakdowns
from fabmesh.envs.network.schema.scenario import WORKING_DAYS_PER_YEAR

_FIRST, _SECOND, _THIRD, _FOURTH = np.uint64(1), np.uint64(2), np.uint64(3), np.uint64(4)


@kernel
def season_start(w: Tables, seed: np.uint64) -> int:
    """Working day of the year of day 0 of an episode: drawn, or that of the first date of recorded orders."""
    if w.par[0].recorded_season >= 0:
        return w.par[0].recorded_season
    return int(uniform(day_key(seed, STREAM_START, 0), w.par[0].season_start_key) * WORKING_DAYS_PER_YEAR)


@kernel
def season_factor(w: Tables, row: int, day_of_year: int) -> float:
    """Yearly cosine: 1 + amplitude cos(2 pi (day - peak) / 250)."""
    r = w.row[row]
    if r.season == 0.0:
        return 1.0
    return 1.0 + r.season * math.cos(2.0 * math.pi * (day_of_year - r.season_peak) / WORKING_DAYS_PER_YEAR)


@kernel
def lot_level(w: Tables, s: State, day: int, row: int, day_of_year: int, surge: NDArray[np.float64]) -> float:
    """What multiplies the mean of a lot row on a day: season, and where switched on life cycle, surges, adoption."""
    level = season_factor(w, row, day_of_year)
    if w.par[0].shaped == 1:
        level *= demand_shape(w, s, day, row, surge)
    return level


@kernel
def lot_units(w: Tables, units_key: np.uint64, town: int, row: int, level: float) -> int:
    """Units (custom: orders) of a lot. Catalogue: negative binomial (F§7.2); custom: Poisson orders (F§7.3)."""
    mean = w.demand[town, row]
    if mean <= 0.0:
        return 0
    u = uniform(units_key, w.lot_key[town, row])
    if w.row[row].kind == CATALOGUE:
        return negative_binomial_quantile(u, mean * level, w.scenario[0].demand.dispersion, w.par[0].log_dispersion)
    return poisson_quantile(u, mean * level)


@kernel
def lot_price(w: Tables, price_key: np.uint64, town: int, row: int, units: int) -> float:
    """Price of a unit. Custom: mean of `units` lognormal prices, drawn once (moments of Fenton 1960)."""
    r = w.row[row]
    if r.kind != CUSTOM:
        return r.price
    sigma2 = math.log1p(r.price_spread / units)
    z = normal(price_key, w.lot_key[town, row])
    return r.price * math.exp(math.sqrt(sigma2) * z - 0.5 * sigma2)


@kernel
def unit_standard_cost(w: Tables, row: int, price: float) -> float:
    """Standard cost of a unit with one own-town delivery per customer stop, EUR (model §9)."""
    r = w.row[row]
    mile = w.scenario[0].last_mile
    stop = mile.parcel_eur + mile.parcel_eur_kg * r.per_stop * max(
        r.kg0 + r.kg1 * price, (r.litres0 + r.litres1 * price) / mile.parcel_litres_per_kg
    )
    van = w.van_stop[0, w.hub_town[0]]
    return r.standard0 + r.standard1 * price + min(van, stop) / r.per_stop


@kernel
def tenders_of_town(w: Tables, tender_key: np.uint64, stream: int, town: int, level: float) -> int:
    """Number of tenders of a stream posted in a town on a day; `level` multiplies their mean."""
    name = combine(w.stream[stream].key, w.town_key[town])
    return poisson_quantile(uniform(tender_key, name), w.stream[stream].rate_per_head_d * w.population[town] * level)


@kernel
def tender_key_of(w: Tables, tender_key: np.uint64, stream: int, town: int, number: int) -> np.uint64:
    """The name of a tender: its day, stream, town and number."""
    return combine(tender_key, combine(combine(w.stream[stream].key, w.town_key[town]), np.uint64(number + 1)))


@kernel
def tender_row(w: Tables, key: np.uint64, stream: int) -> int:
    """Which variant (technology, material) the tender asks for."""
    t = w.stream[stream]
    u = uniform(key, _FIRST)
    row = t.first_row
    while row < t.first_row + t.rows - 1 and u > w.row_share[row]:
        row += 1
    return row


@kernel
def tender_units(w: Tables, key: np.uint64, stream: int) -> int:
    """Units of the tender, uniform."""
    t = w.stream[stream]
    return t.units_low + int(uniform(key, _SECOND) * (t.units_high - t.units_low + 1))


@kernel
def tender_price(w: Tables, key: np.uint64, stream: int) -> float:
    """Ceiling of the whole tender, EUR, uniform."""
    t = w.stream[stream]
    return t.price_low + uniform(key, _THIRD) * (t.price_high - t.price_low)


@kernel
def announce_revisions(w: Tables, s: State, day: int, counted: bool) -> None:
    """A revision is announced when none is pending; it takes effect `revision_notice_d` days later."""
    key = day_key(s.clock[0].seed, STREAM_REVISION, day)
    for p in range(w.par[0].products):
        if s.revision[p] >= 0 and s.revision[p] < day:
            s.revision[p] = -1
        if s.revision[p] < 0 and uniform(key, w.row[p].key) < w.par[0].revision_rate_d:
            s.revision[p] = day + w.scenario[0].demand.revision_notice_d
            if counted:
                s.events[Event.revisions] += 1.0


@kernel
def put_lot(
    w: Tables,
    s: State,
    day: int,
    row: int,
    town: int,
    units: int,
    price: float,
    due_d: int,
    key: np.uint64,
    counted: bool,
) -> None:
    """A lot joins those that are open to bids; `counted` is False after the last day of an episode."""
    clock = s.clock[0]
    lot = s.lot[clock.lots]
    lot.row, lot.town, lot.announced = row, town, day
    lot.due = day + due_d
    lot.last_day = day + w.row[row].patience_d
    lot.again, lot.units, lot.price, lot.ceiling = 0, units, price, 0.0
    lot.key = key
    clock.lots += 1
    if counted:
        clock.standard_cost += units * unit_standard_cost(w, row, price)
        s.events[Event.units_ordered] += units
        if row < w.par[0].products and s.surge[row] > 1.0:
            s.events[Event.surge_units] += units


@kernel
def put_tender(
    w: Tables,
    s: State,
    day: int,
    row: int,
    town: int,
    units: int,
    price: float,
    due_d: int,
    key: np.uint64,
    stream: int,
    counted: bool,
) -> bool:
    """A tender joins those that are open to bids; False: the table is full, it goes to the centralised channel."""
    clock = s.clock[0]
    if counted:
        clock.standard_cost += units * unit_standard_cost(w, row, price)
        s.events[Event.units_ordered] += units
        s.events[Event.tenders_posted] += 1.0
        s.events[tender_event(w, stream, TenderEvent.tenders_posted)] += 1.0
    if clock.tenders == s.tender.shape[0]:
        if counted:
            s.events[Event.tenders_refused] += 1.0
            s.events[Event.tenders_lost] += 1.0
            s.events[Event.units_lost] += units
            post(s, s.ledger.shape[0] - 1, Line.lost, units * price * (1.0 + w.scenario[0].market.goodwill))
        return False
    tender = s.tender[clock.tenders]
    tender.row, tender.town, tender.announced, tender.due = row, town, day, day + due_d
    tender.last_day = day + due_d - w.row[row].stages
    tender.again, tender.units, tender.price, tender.key, tender.ceiling = 0, units, price, key, 0.0
    clock.tenders += 1
    return True


@kernel
def post_lots(w: Tables, s: State, day: int, counted: bool) -> None:
    """The day's demand arrives as lots."""
    clock = s.clock[0]
    units_key = day_key(clock.seed, STREAM_UNITS, day)
    price_key = day_key(clock.seed, STREAM_PRICE, day)
    day_of_year = (clock.season_start + day) % WORKING_DAYS_PER_YEAR
    for r in range(w.par[0].lot_rows):
        level = lot_level(w, s, day, r, day_of_year, s.surge)
        for c in range(len(w.population)):
            units = lot_units(w, units_key, c, r, level)
            if units > 0:
                price = lot_price(w, price_key, c, r, units)
                put_lot(w, s, day, r, c, units, price, w.row[r].due_d, combine(units_key, w.lot_key[c, r]), counted)


@kernel
def post_tenders(w: Tables, s: State, day: int, counted: bool) -> None:
    """Tenders are posted; one that finds the table full goes to the centralised channel at once."""
    key = day_key(s.clock[0].seed, STREAM_TENDER, day)
    level = adoption(w, day)
    for i in range(len(w.stream)):
        for c in range(len(w.population)):
            for number in range(tenders_of_town(w, key, i, c, level)):
                name = tender_key_of(w, key, i, c, number)
                units = tender_units(w, name, i)
                due_d = w.stream[i].due_low + int(
                    uniform(name, _FOURTH) * (w.stream[i].due_high - w.stream[i].due_low + 1)
                )
                row, price = tender_row(w, name, i), tender_price(w, name, i) / units
                put_tender(w, s, day, row, c, units, price, due_d, name, i, counted)


@kernel
def post_recorded(w: Tables, s: State, day: int, counted: bool) -> None:
    """The day's orders of a recorded tape, under the names that drawn ones would have."""
    clock = s.clock[0]
    if day + 1 >= len(w.recorded_day):
        return
    units_key = day_key(clock.seed, STREAM_UNITS, day)
    tender_key = day_key(clock.seed, STREAM_TENDER, day)
    for i in range(w.recorded_day[day], w.recorded_day[day + 1]):
        order = w.recorded[i]
        r, c, units, price = order.row, order.town, order.units, order.price
        if w.row[r].kind == TENDER:
            key = tender_key_of(w, tender_key, order.stream, c, order.number)
            if put_tender(w, s, day, r, c, units, price, order.due_d, key, order.stream, counted):
                s.tender[clock.tenders - 1].ceiling = order.ceiling
        else:
            key = combine(units_key, w.lot_key[c, r])
            if order.number > 0:
                key = combine(key, np.uint64(order.number))
            put_lot(w, s, day, r, c, units, price, order.due_d, key, counted)
            s.lot[clock.lots - 1].ceiling = order.ceiling


@kernel
def shape_demand(w: Tables, s: State, day: int, counted: bool) -> None:
    """What is public of the demand to come: which products are in a surge."""
    write_surges_of_day(w, s.clock[0].seed, day, s.surge)
    if counted:
        for p in range(w.par[0].products):
            if s.surge[p] > 1.0:
                s.events[Event.surge_product_days] += 1.0
            s.events[Event.life_shift_product_days] += abs(life_factor(w, s, day, p) - 1.0)


@kernel
def news(w: Tables, s: State, counted: bool) -> None:
    """All of stage 1 for the day the clock shows.

    After the last day of an episode (`counted` False) the news are only looked at: nothing is posted or counted,
    and no hub closes, since the books have been settled.
    """
    day = s.clock[0].day
    announce_revisions(w, s, day, counted)
    if w.scenario[0].people.enabled == 1:
        people_today(w, s, day, counted)
    if w.scenario[0].experience.enabled == 1:
        learn(w, s, counted)
    if counted:
        disrupt(w, s, day)
        outages(w, s, day)
        if w.scenario[0].upkeep.enabled == 1:
            breakdowns(w, s, day)
        if w.scenario[0].quality.enabled == 1:
            compare_hubs(w, s)
    if w.par[0].shaped == 1:
        shape_demand(w, s, day, counted)
    if len(w.recorded_day) > 0:
        post_recorded(w, s, day, counted)
    else:
        post_lots(w, s, day, counted)
        post_tenders(w, s, day, counted)
