"""People: absence, turnover and hiring per post, against a reference in plain Python and in the long run."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_laws import Player, event, play_and_check, players, vary

from fabmesh.agents.evaluation.judge.protocol import evaluate
from fabmesh.agents.registry import make_policy
from fabmesh.envs.errors import ScenarioError
from fabmesh.envs.network.books.tables import HORIZON
from fabmesh.envs.network.compiler.rng import (
    STREAM_ABSENCE,
    STREAM_START,
    STREAM_TURNOVER,
    combine,
    day_key,
    name_key,
    uniform,
)
from fabmesh.envs.network.day.stage3_promises import build_room
from fabmesh.envs.network.loading import load_scenario
from fabmesh.envs.network.schema.scenario import People
from fabmesh.envs.vector import HubNetworkVector

POCKET = load_scenario("pocket")
ON = replace(POCKET, people=People(enabled=True))
BUSY = replace(
    ON,
    hubs=tuple(replace(hub, technicians=9) for hub in POCKET.hubs),
    people=People(enabled=True, absence_share=0.2, absence_spell_d=3.0, turnover_year=4.0, hiring_d=9, training_d=12),
)


class Post:
    """A post of the reference: who is there, from which day it is filled and its technician trained."""

    def __init__(self, people, scale, seed, hub, number):
        self.p = people
        self.leave = scale * people.turnover_year / 250
        self.begin = scale * people.absence_share / (1 - people.absence_share) / people.absence_spell_d
        self.end = 1 / people.absence_spell_d
        self.seed = np.uint64(seed)
        self.name = np.uint64(combine(np.uint64(name_key(hub)), np.uint64(number + 1)))
        start = np.uint64(day_key(self.seed, STREAM_START, 0))
        self.away = uniform(start, np.uint64(combine(self.name, np.uint64(11)))) < self.begin / (self.begin + self.end)
        u, cycle = uniform(start, np.uint64(combine(self.name, np.uint64(12)))), people.hiring_d + 1 / self.leave
        self.filled = math.ceil(people.hiring_d - u * cycle)
        if self.filled <= 0 and u * cycle >= people.hiring_d:
            share_left = (1 - u) * cycle * self.leave
            self.filled = math.ceil(math.log(share_left) / self.leave)
        elif self.filled > 0:
            self.away = False
        self.trained = self.filled + people.training_d

    def morning(self, day):
        """(worth of the technician with the post, worth at work)."""
        absence = np.uint64(day_key(self.seed, STREAM_ABSENCE, day))
        turnover = np.uint64(day_key(self.seed, STREAM_TURNOVER, day))
        if day >= self.filled and uniform(turnover, self.name) < self.leave:
            self.filled, self.away = day + self.p.hiring_d, False
            self.trained = self.filled + self.p.training_d
        if day < self.filled:
            return 0.0, 0.0
        u = uniform(absence, self.name)
        self.away = u >= self.end if self.away else u < self.begin
        worth = 1.0 if day >= self.trained else self.p.training_productivity
        return worth, 0.0 if self.away else worth


def idle(batch):
    return {role: np.zeros(space.shape, int) for role, space in batch.action_space.items()}


@pytest.mark.parametrize("scale", [1.0, 0.3])
def test_posts_follow_the_reference(scale):
    scenario = replace(BUSY, disruptions=replace(BUSY.disruptions, scale=scale))
    batch = HubNetworkVector(scenario, num_envs=2, autoreset=False)
    batch.reset(seed=[5, 2**40])
    posts = [
        [[Post(scenario.people, scale, seed, hub.town, i) for i in range(9)] for hub in scenario.hubs]
        for seed in (5, 2**40)
    ]
    absence, vacancy, hours = np.zeros(2), np.zeros(2), scenario.labour.hours_per_day
    for day in range(scenario.episode_d):
        worth = np.array([[[post.morning(day) for post in hub] for hub in copy] for copy in posts])
        assert batch.arrays.hub["staff"] == pytest.approx(worth[..., 0].sum(axis=2))
        assert batch.arrays.hub["present"] == pytest.approx(worth[..., 1].sum(axis=2))
        absence += (worth[..., 0] - worth[..., 1]).sum(axis=(1, 2)) * hours
        vacancy += (worth[..., 0] == 0).sum(axis=(1, 2)) * hours
        assert event(batch, "absence_h") == pytest.approx(absence)
        assert event(batch, "vacancy_h") == pytest.approx(vacancy)
        seen = batch._obs["hub"][:, :, batch.spec["hub"].feature("people")]
        assert seen == pytest.approx(np.stack([worth[..., 1].sum(2), worth[..., 0].sum(2)], axis=-1) / 9)
        batch.step(idle(batch))
    assert (absence > 0).all()
    assert (vacancy > 0).all()


def test_in_the_long_run_and_from_the_first_day():
    """Absent and empty posts have the shares of the two renewal processes, on day 0 as on the last day."""
    people = replace(BUSY.people, training_d=0)
    scenario = replace(BUSY, people=people, hubs=tuple(replace(hub, technicians=40) for hub in BUSY.hubs))
    batch = HubNetworkVector(scenario, num_envs=60, autoreset=False)
    batch.reset(seed=0)
    posts = 60 * 80
    cycle = people.hiring_d + 250 / people.turnover_year
    for days in (0, 30):
        for _ in range(days):
            batch.step(idle(batch))
        staff, present = batch.arrays.hub["staff"].sum(), batch.arrays.hub["present"].sum()
        empty = people.hiring_d / cycle
        assert 1 - staff / posts == pytest.approx(empty, abs=4 * math.sqrt(empty / posts))
        # a post is filled by somebody who is there, so absence is a little below its share
        assert 1 - present / staff == pytest.approx(people.absence_share, abs=0.04)


def test_promises_count_on_those_present_today_and_on_the_staff_later():
    batch = HubNetworkVector(BUSY, num_envs=1)
    batch.reset(seed=3)
    batch.arrays.clock["lots"] = 0
    batch.arrays.hub["overtime"] = [[0.0, 0.5]]
    tables, states, scratch, _ = batch._handles
    for present, staff in ((9.0, 9.0), (2.0, 9.0), (4.6, 6.6), (0.0, 0.0)):
        batch.arrays.hub["present"], batch.arrays.hub["staff"] = present, staff
        build_room(tables, states[0], scratch[0])
        hours = BUSY.labour.hours_per_day
        for h, overtime in enumerate((0.0, 0.5)):
            today = present * hours * (1 + overtime)
            expected = [today + d * staff * hours for d in range(HORIZON)]
            assert batch._scratch.room[0, h, len(BUSY.technologies)] == pytest.approx(expected)


def test_who_is_alone_and_away_leaves_the_machines_standing():
    scenario = replace(
        ON,
        hubs=tuple(replace(hub, technicians=1) for hub in POCKET.hubs),
        people=People(enabled=True, absence_share=0.5, absence_spell_d=2.0, turnover_year=0.0),
        disruptions=replace(POCKET.disruptions, hub_outage_year=0.0),
    )
    batch = HubNetworkVector(scenario, num_envs=4, autoreset=False)
    obs, info = batch.reset(seed=0)
    policy = make_policy("base_stock", scenario)
    policy.reset(4, 0)
    line = batch.ledger_lines.index("labour")
    days_away = 0
    for _ in range(20):
        before = batch.ledger[:, :2, line].copy()
        away = batch.arrays.hub["present"] == 0
        put_in = batch.arrays.hub["labour_carry_h"] * scenario.labour.wage_eur_h  # into units that yesterday left open
        obs, _, _, _, info = batch.step(policy.act(obs, info["action_mask"]))
        grown = batch.ledger[:, :2, line] - before
        assert (grown[away] <= put_in[away] + 1e-9).all()
        days_away += away.sum()
    assert 40 < days_away < 120  # of 160
    assert batch.ledger[:, :2, line].sum() > 0.0


def test_absence_costs_and_shows_in_its_measures():
    seeds = range(12)
    off = evaluate(make_policy("base_stock", POCKET), POCKET, seeds).measures
    ill = replace(POCKET, people=People(enabled=True, absence_share=0.15))
    on = evaluate(make_policy("base_stock", ill), ill, seeds).measures
    assert not {"absence_hours", "vacancy_hours", "present_share"} & set(off)
    assert on["network_cost"].mean() > off["network_cost"].mean()
    assert on["skilled_hours"].mean() < off["skilled_hours"].mean()
    posts_h = sum(hub.technicians for hub in ill.hubs) * ill.labour.hours_per_day * ill.episode_d
    lost = (on["absence_hours"] + on["vacancy_hours"]) / posts_h
    assert on["present_share"] == pytest.approx(1 - lost)
    assert 0.05 < on["absence_hours"].mean() / posts_h < 0.25


def test_calm_people_are_the_world_without_the_mechanism():
    """With all rates at 0 the mechanism is on and changes nothing but the features."""
    calm = replace(POCKET, people=People(enabled=True, absence_share=0.0, turnover_year=0.0))
    seeds = range(3)
    off = evaluate(make_policy("base_stock", POCKET), POCKET, seeds).measures
    on = evaluate(make_policy("base_stock", calm), calm, seeds).measures
    assert (off["network_cost"] == on["network_cost"]).all()
    assert (on["present_share"] == 1.0).all()


@settings(max_examples=6)
@given(seed=st.integers(0, 2**48), player=players, share=st.sampled_from([0.0, 0.3, 0.8]))
def test_laws_hold_with_people(seed, player, share):
    people = {"enabled": True, "absence_share": share, "turnover_year": 10.0, "hiring_d": 5, "training_d": 5}
    play_and_check(vary(people=people), [seed, seed + 1], player)


@settings(max_examples=3)
@given(seed=st.integers(0, 2**48), player=players)
def test_people_are_the_same_under_different_actions(seed, player):
    batch = HubNetworkVector(BUSY, num_envs=2, autoreset=False)
    _, info = batch.reset(seed=[seed, seed])
    one, other = Player(batch, **player), Player(batch, player["seed"] + 1, 1.0, 0.0)
    for _ in range(BUSY.episode_d):
        for field in ("present", "staff"):
            assert (batch.arrays.hub[field][0] == batch.arrays.hub[field][1]).all()
        assert (batch.arrays.post[0] == batch.arrays.post[1]).all()
        mine, theirs = one.act(info["action_mask"]), other.act(info["action_mask"])
        info = batch.step({role: np.stack([mine[role][0], theirs[role][1]]) for role in batch.roles})[4]
        assert len(set(event(batch, "absence_h"))) == len(set(event(batch, "vacancy_h"))) == 1


def test_an_absence_too_short_for_its_share_is_refused():
    wrong = replace(POCKET, people=People(absence_share=0.9, absence_spell_d=2.0))
    with pytest.raises(
        ScenarioError, match=r"people.absence_spell_d: 2 is too short for absence_share 0.9; at least 9"
    ):
        HubNetworkVector(wrong)
