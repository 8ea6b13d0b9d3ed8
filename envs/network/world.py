"""Stage 1, news: what the world brings, whatever anyone does. All of it is a pure function of (seed, day, names)."""

from __future__ import annotations

import math

import numpy as np

from fabmesh.envs.network.customer_market import announce_again
from fabmesh.envs.network.experience import learn
from fabmesh.envs.network.kernel import kernel
from fabmesh.envs.network.ledger import post
from fabmesh.envs.network.people import people_today
from fabmesh.envs.network.quality import compare_hubs
from fabmesh.envs.network.rng import (
    STREAM_OUTAGE,
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
from fabmesh.envs.network.scenario import WORKING_DAYS_PER_YEAR
from fabmesh.envs.network.state import (
    E_LOST,
    E_ORDERED,
    E_OUTAGE_DAYS,
    E_REVISIONS,
    E_TENDERS,
    E_TENDERS_LOST,
    E_TENDERS_REFUSED,
    LOST,
    State,
)
from fabmesh.envs.network.tables import CATALOGUE, CUSTOM, Tables
from fabmesh.envs.network.upkeep import breakdowns

_FIRST, _SECOND, _THIRD, _FOURTH = np.uint64(1), np.uint64(2), np.uint64(3), np.uint64(4)


@kernel
def season_start(w: Tables, seed: np.uint64) -> int:
    """Working day of the year of day 0 of an episode."""
    return int(uniform(day_key(seed, STREAM_START, 0), w.par[0].season_start_key) * WORKING_DAYS_PER_YEAR)


@kernel
def season_factor(w: Tables, row: int, day_of_year: int) -> float:
    """Yearly cosine: 1 + amplitude cos(2 pi (day - peak) / 250)."""
    r = w.row[row]
    if r.season == 0.0:
        return 1.0
    return 1.0 + r.season * math.cos(2.0 * math.pi * (day_of_year - r.season_peak) / WORKING_DAYS_PER_YEAR)


@kernel
def lot_units(w: Tables, units_key: np.uint64, town: int, row: int, season: float) -> int:
    """Units (custom: orders) of a lot. Catalogue: negative binomial (F§7.2); custom: Poisson orders (F§7.3)."""
    mean = w.demand[town, row]
    if mean <= 0.0:
        return 0
    u = uniform(units_key, w.lot_key[town, row])
    if w.row[row].kind == CATALOGUE:
        return negative_binomial_quantile(u, mean * season, w.par[0].dispersion)
    return poisson_quantile(u, mean)


@kernel
def lot_price(w: Tables, price_key: np.uint64, town: int, row: int, units: int) -> float:
    """Price of a unit. Custom: mean of `units` lognormal prices, drawn once (moments of Fenton 1960)."""
    r = w.row[row]
    if r.kind != CUSTOM:
        return r.price
    sigma2 = math.log1p((math.exp(r.price_sigma * r.price_sigma) - 1.0) / units)
    z = normal(price_key, w.lot_key[town, row])
    return r.price * math.exp(math.sqrt(sigma2) * z - 0.5 * sigma2)


@kernel
def unit_standard_cost(w: Tables, row: int, price: float) -> float:
    """Standard cost of a unit with one own-town delivery per customer stop, EUR (model §9)."""
    r = w.row[row]
    stop = w.par[0].parcel + w.par[0].parcel_kg * r.per_stop * max(
        r.kg0 + r.kg1 * price, (r.litres0 + r.litres1 * price) / w.par[0].parcel_litres_per_kg
    )
    van = w.van_stop[0, w.hub_town[0]]
    return r.standard0 + r.standard1 * price + min(van, stop) / r.per_stop


@kernel
def tenders_of_town(w: Tables, tender_key: np.uint64, stream: int, town: int) -> int:
    """Number of tenders of a stream posted in a town on a day."""
    name = combine(w.stream[stream].key, w.town_key[town])
    return poisson_quantile(uniform(tender_key, name), w.stream[stream].rate_per_head_d * w.population[town])


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
            s.revision[p] = day + w.par[0].revision_notice_d
            if counted:
                s.events[E_REVISIONS] += 1.0


@kernel
def outages(w: Tables, s: State, day: int) -> None:
    """Hub outages begin (F§6.2): a closed hub's open orders are announced again, its work in progress is deadstock."""
    key = day_key(s.clock[0].seed, STREAM_OUTAGE, day)
    for h in range(len(w.hub_town)):
        if uniform(key, w.hub_key[h]) < w.par[0].outage_rate_d:
            z = normal(key, combine(w.hub_key[h], _FOURTH))
            duration = math.ceil(math.exp(w.par[0].outage_mu + w.par[0].outage_sigma * z))
            duration = min(max(duration, 1), w.par[0].outage_max_d)
            was_up = s.hub[h].down_until <= day
            s.hub[h].down_until = max(s.hub[h].down_until, day + duration)
            if was_up:
                announce_again(w, s, h, day)
        if s.hub[h].down_until > day:
            s.events[E_OUTAGE_DAYS] += 1.0


@kernel
def post_lots(w: Tables, s: State, day: int, counted: bool) -> None:
    """The day's demand arrives as lots. `counted` is False after the last day of an episode."""
    clock = s.clock[0]
    units_key = day_key(clock.seed, STREAM_UNITS, day)
    price_key = day_key(clock.seed, STREAM_PRICE, day)
    day_of_year = (clock.season_start + day) % WORKING_DAYS_PER_YEAR
    for r in range(w.par[0].lot_rows):
        season = season_factor(w, r, day_of_year)
        for c in range(len(w.population)):
            units = lot_units(w, units_key, c, r, season)
            if units == 0:
                continue
            price = lot_price(w, price_key, c, r, units)
            lot = s.lot[clock.lots]
            lot.row, lot.town, lot.announced = r, c, day
            lot.due = day + w.row[r].due_d
            lot.last_day = day + w.row[r].patience_d
            lot.again, lot.units, lot.price = 0, units, price
            lot.key = combine(units_key, w.lot_key[c, r])
            clock.lots += 1
            if counted:
                clock.standard_cost += units * unit_standard_cost(w, r, price)
                s.events[E_ORDERED] += units


@kernel
def post_tenders(w: Tables, s: State, day: int, counted: bool) -> None:
    """Tenders are posted; one that finds the table full goes to the centralised channel at once."""
    clock = s.clock[0]
    key = day_key(clock.seed, STREAM_TENDER, day)
    platform = s.ledger.shape[0] - 1
    for i in range(len(w.stream)):
        for c in range(len(w.population)):
            for number in range(tenders_of_town(w, key, i, c)):
                name = tender_key_of(w, key, i, c, number)
                units = tender_units(w, name, i)
                price = tender_price(w, name, i) / units
                row = tender_row(w, name, i)
                if counted:
                    clock.standard_cost += units * unit_standard_cost(w, row, price)
                    s.events[E_ORDERED] += units
                    s.events[E_TENDERS] += 1.0
                if clock.tenders == s.tender.shape[0]:
                    if counted:
                        s.events[E_TENDERS_REFUSED] += 1.0
                        s.events[E_TENDERS_LOST] += 1.0
                        s.events[E_LOST] += units
                        post(s, platform, LOST, units * price * (1.0 + w.par[0].goodwill))
                    continue
                tender = s.tender[clock.tenders]
                due = w.stream[i].due_low + int(
                    uniform(name, _FOURTH) * (w.stream[i].due_high - w.stream[i].due_low + 1)
                )
                tender.row, tender.town, tender.announced, tender.due = row, c, day, day + due
                tender.last_day = day + due - w.row[row].stages
                tender.again, tender.units, tender.price, tender.key = 0, units, price, name
                clock.tenders += 1


@kernel
def news(w: Tables, s: State, counted: bool) -> None:
    """All of stage 1 for the day the clock shows.

    After the last day of an episode (`counted` False) the news are only looked at: nothing is posted or counted,
    and no hub closes, since the books have been settled.
    """
    day = s.clock[0].day
    announce_revisions(w, s, day, counted)
    if w.par[0].people == 1:
        people_today(w, s, day, counted)
    if w.par[0].experience == 1:
        learn(w, s, counted)
    if counted:
        outages(w, s, day)
        if w.par[0].upkeep == 1:
            breakdowns(w, s, day)
        if w.par[0].quality == 1:
            compare_hubs(w, s)
    post_lots(w, s, day, counted)
    post_tenders(w, s, day, counted)
