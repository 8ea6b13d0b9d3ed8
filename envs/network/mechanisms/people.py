"""Part of stage 1, people: who is at work today (model §7). A pure function of (seed, day, hub, post).

A post is one technician's place at a hub. Its technician is now and then absent and now and then leaves; the post
is then empty for the time of hiring, and who fills it works at part productivity until trained (F§4.1).
"""

from __future__ import annotations

import math

import numpy as np

from fabmesh.envs.network.books.accounts import Event
from fabmesh.envs.network.books.state import Scratch, State
from fabmesh.envs.network.books.tables import HORIZON, Tables
from fabmesh.envs.network.compiler.kernel import kernel
from fabmesh.envs.network.compiler.rng import STREAM_ABSENCE, STREAM_START, STREAM_TURNOVER, combine, day_key, uniform

_AWAY, _LEFT = np.uint64(11), np.uint64(12)
_LONG_AGO_D = 1e9  # where hardly anybody ever leaves, days are more than an integer of 32 bits holds


@kernel
def post_key(w: Tables, h: int, i: int) -> np.uint64:
    """The name of a post: its hub and its number there."""
    return combine(w.hub_key[h], np.uint64(i + 1))


@kernel
def draw_posts(w: Tables, s: State, h: int) -> None:
    """The posts of a hub on the eve of day 0, as they are in the long run (renewal theory: Cox 1962).

    Away with the probability begins / (begins + ends) of the two-state chain. A post alternates between empty, for
    `hiring_d`, and filled, for an exponential time of mean 1 / turnover: it is found empty with the probability of
    the shares, and then at a uniform point of the search.
    """
    par, people = w.par[0], w.scenario[0].people
    key = day_key(s.clock[0].seed, STREAM_START, 0)
    for i in range(int(w.hub_people[h])):
        post, name = s.post[h, i], post_key(w, h, i)
        if uniform(key, combine(name, _AWAY)) * (par.absence_begins + par.absence_ends) < par.absence_begins:
            post.away = 1
        if par.turnover_d <= 0.0:
            continue
        u = uniform(key, combine(name, _LEFT))
        empty = people.hiring_d / (people.hiring_d + 1.0 / par.turnover_d)
        if u < empty:
            post.filled = math.ceil((1.0 - u / empty) * people.hiring_d)
            post.away = 0
        else:
            ago = -math.log((1.0 - u) / (1.0 - empty)) / par.turnover_d
            post.filled = -math.floor(min(ago, _LONG_AGO_D))
        post.trained = post.filled + people.training_d


@kernel
def people_today(w: Tables, s: State, day: int, counted: bool) -> None:
    """Who leaves, falls ill and comes back this morning; `hub.present` and `hub.staff` of today."""
    par, people = w.par[0], w.scenario[0].people
    absence_key = day_key(s.clock[0].seed, STREAM_ABSENCE, day)
    turnover_key = day_key(s.clock[0].seed, STREAM_TURNOVER, day)
    for h in range(len(w.hub_town)):
        hub = s.hub[h]
        hub.present, hub.staff = 0.0, 0.0
        for i in range(int(w.hub_people[h])):
            post, name = s.post[h, i], post_key(w, h, i)
            if post.filled <= day and uniform(turnover_key, name) < par.turnover_d:
                post.away, post.filled = 0, day + people.hiring_d
                post.trained = post.filled + people.training_d
            if post.filled > day:
                if counted:
                    s.events[Event.vacancy_h] += w.scenario[0].labour.hours_per_day
                continue
            if uniform(absence_key, name) < (par.absence_ends if post.away == 1 else par.absence_begins):
                post.away = 1 - post.away
            worth = 1.0 if post.trained <= day else people.training_productivity
            hub.staff += worth
            if post.away == 0:
                hub.present += worth
            elif counted:
                s.events[Event.absence_h] += worth * w.scenario[0].labour.hours_per_day


@kernel
def commit_absence(w: Tables, s: State, x: Scratch, h: int) -> None:
    """Takes what is missing from the hours a hub can promise: who is away is counted on again from tomorrow."""
    hub = s.hub[h]
    room = x.room[h, len(w.tech)]
    missing_today = (w.hub_people[h] - hub.present) * w.scenario[0].labour.hours_per_day
    room[0] += missing_today * (1.0 + hub.overtime)
    for d in range(1, HORIZON):
        room[d] += (w.hub_people[h] - hub.staff) * w.scenario[0].labour.hours_per_day
