"""The laws of model §9 under any actions, on many variations of a scenario: nothing appears, vanishes or goes back."""

import dataclasses
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from laws import (
    check_books,
    check_down_hubs,
    check_nothing_is_negative,
    check_orders,
    check_time,
    column,
    event,
    has_not_fallen,
    near,
)

from fabmesh.envs.network.books.state import FLOW_NAMES
from fabmesh.envs.network.loading import load_scenario
from fabmesh.envs.network.schema.disruption_kinds import KINDS
from fabmesh.envs.network.schema.scenario import ScriptedEvent
from fabmesh.envs.testing import check_laws, random_actions
from fabmesh.envs.vector import HubNetworkVector

POCKET = load_scenario("pocket")
COPIES = 2


def vary(**sections):
    """The pocket scenario with some values of some sections changed."""
    changes = {
        name: replace(getattr(POCKET, name), **values) if isinstance(values, dict) else values
        for name, values in sections.items()
    }
    return replace(POCKET, **changes)


def each(section, **values):
    """A section's tuple with values of every item changed."""
    return tuple(replace(item, **values) for item in getattr(POCKET, section))


def everything_on(scenario):
    """A scenario with every mechanism and every disruption switched on, all of it more often than in life."""
    rates = {f"{kind}_year": 4.0 for kind in KINDS if kind not in ("tampering", "hub_outage", "demand_surge")}
    changes = {
        "people": {"enabled": True},
        "upkeep": {"enabled": True},
        "quality": {"enabled": True},
        "experience": {"enabled": True},
        "disruptions": rates | {"tampering_per_10k_orders": 4.0},
        "demand": {"surges_year": 12.0, "life_year": 0.5, "adoption_from": 0.5, "adoption_ramp_d": 60},
        "market": {"payment": "second_price", "platform_fee": 0.1, "carbon_weight": 0.05, "quality_weight": 3.0},
    }
    sections = {name: replace(getattr(scenario, name), **values) for name, values in changes.items()}
    return replace(scenario, products=tuple(replace(p, royalty=0.05) for p in scenario.products), **sections)


VARIATIONS = {
    "as shipped": POCKET,
    "many outages": vary(disruptions={"hub_outage_year": 25.0, "hub_outage_median_d": 2.0}),
    "wild demand": vary(demand={"dispersion": 15.0, "catalogue_level": 8.0}),
    "short lives": vary(materials=each("materials", sealed_life_d=8.0, floor_life_d=1.0)),
    "many revisions": vary(demand={"revisions_per_year": 40.0, "revision_notice_d": 4}),
    "tiny order book": vary(capacity={"order_book": 3}),
    "tiny tender table": vary(capacity={"open_tenders": 1, "tender_slots": 2}, demand={"tender_level": 25.0}),
    "one supplier order": vary(capacity={"supplier_orders": 1}),
    "shortest work first": vary(labour={"dispatching": "spt"}),
    "apparent tardiness": vary(labour={"dispatching": "atc"}, market={"cancel_after_d": 4}),
    "first in first out": vary(labour={"dispatching": "fifo"}, market={"patience_catalogue_d": 0}),
    "no scrap": vary(technologies=each("technologies", scrap=0.0)),
    "much scrap": vary(technologies=each("technologies", scrap=0.3)),
    "far away": vary(
        last_mile={"two_days_beyond_km": 0.0},
        freight={"depot_hub_two_days_beyond_km": 0.0},
        market={"cancel_after_d": 3},
    ),
    "coarse packs": vary(materials=each("materials", pack=0.7)),
    "demand that changes": vary(
        demand={"surges_year": 30.0, "surge_d": (2, 9), "life_year": 0.3, "adoption_from": 0.3, "adoption_ramp_d": 50}
    ),
    "no lateness, no salvage": vary(market={"lateness_per_day": 0.0}, inventory={"salvage": 0.0}),
    "everything goes wrong": vary(
        disruptions={f"{kind}_year": 8.0 for kind in KINDS if kind not in ("tampering", "demand_surge")}
        | {"tampering_per_10k_orders": 8.0, "scripted": (ScriptedEvent("demand_surge", 10, 15, "P02", 10.0),)}
    ),
    "everything on": everything_on(POCKET),
}


class Player:
    """Takes a constant level for the whole episode, or now and then a random one, legal or masked."""

    def __init__(self, batch, seed, restless, reckless):
        self.batch = batch
        self.rng = np.random.default_rng(seed)
        self.restless = restless  # share of the choices made anew today
        self.reckless = reckless  # share of those made without a look at the mask
        self.constant = self.any_levels()

    def any_levels(self):
        """Levels of every component of every agent, uniform, masked or not."""
        return {
            role: self.rng.integers(0, self.batch.action_space[role].nvec, self.batch.action_space[role].shape)
            for role in self.batch.roles
        }

    def act(self, masks):
        """The actions of a day."""
        legal, wild = random_actions(self.batch, masks, self.rng), self.any_levels()
        actions = {}
        for role, levels in legal.items():
            today = np.where(self.rng.random(levels.shape) < self.reckless, wild[role], levels)
            actions[role] = np.where(self.rng.random(levels.shape) < self.restless, today, self.constant[role])
        return actions


players = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 2**31),
        "restless": st.sampled_from([0.0, 0.1, 1.0]),
        "reckless": st.sampled_from([0.0, 0.5]),
    }
)


def play_and_check(scenario, seeds, player_settings, days=None):
    """Plays an episode, every law checked on every day."""
    batch = HubNetworkVector(scenario, num_envs=len(seeds), autoreset=False)
    _, info = batch.reset(seed=seeds)
    player = Player(batch, **player_settings)
    cost, reward = np.zeros(len(seeds)), np.zeros(len(seeds))
    costs = [i for i, line in enumerate(batch.ledger_lines) if line not in ("revenue", "transfers")]
    agents = batch.num_agents
    scale = batch._tables.par[0]["reward_scale"]
    last = scenario.episode_d
    for day in range(last if days is None else days):
        assert (batch.day == day).all()
        check_laws(batch)
        check_nothing_is_negative(batch)
        check_orders(batch)
        check_time(batch)
        check_books(batch)
        ledger = batch.ledger.copy()
        down = batch.arrays.hub["down_until"] > day
        before = batch.arrays.flow.copy(), batch.arrays.hub["orders"].copy()
        lead, delivered = event(batch, "lead_time_unit_days"), event(batch, "units_delivered")
        _, rewards, _, truncated, info = batch.step(player.act(info["action_mask"]))
        assert (event(batch, "lead_time_unit_days") - lead >= event(batch, "units_delivered") - delivered).all()
        cost += info["cost"]
        for role in batch.roles:
            assert (rewards[role] == rewards[role][:, :1]).all()
        reward += rewards["hub"][:, 0].astype(float) * agents
        has_not_fallen(batch, ledger)
        check_down_hubs(batch, down, ledger, before)
    if days is not None:
        return batch
    assert truncated.all()
    check_laws(batch)
    check_books(batch)
    books = info["final_ledger"][:, :, costs]
    network = books.sum(axis=(1, 2))
    gross = np.abs(books).sum(axis=(1, 2))
    assert near(cost + info["settlement"], network, gross)
    assert near(books[:, :-1].sum(axis=(1, 2)) + books[:, -1].sum(axis=1), network, gross)
    assert near(info["final_ledger"][:, -1, column(batch, "settlement")], info["settlement"], gross)
    assert (info["settlement"] >= 0).all()
    # rewards are single precision: a relative error of 2**-24 on each of them
    assert np.allclose(reward - info["settlement"] / scale, -network / scale, rtol=0, atol=1e-6 * (gross / scale).max())
    final = dict(zip(batch.event_names, info["final_events"].T, strict=True))
    gone = final["units_delivered"] + final["units_lost"] + final["units_cancelled"]
    assert (final["units_ordered"] == gone + final["units_open"]).all()
    assert (final["units_on_time"] + final["late_units"] == final["units_delivered"]).all()
    return batch


@pytest.mark.parametrize("name", VARIATIONS)
@settings(max_examples=6)
@given(seed=st.integers(0, 2**48), player=players)
def test_laws_hold_in_every_variation(name, seed, player):
    play_and_check(VARIATIONS[name], [seed, seed + 1], player)


@pytest.mark.parametrize(("name", "days"), [("rotterdam", 60), ("benelux", 30)])
@settings(max_examples=2)
@given(seed=st.integers(0, 2**48), player=players)
def test_laws_hold_in_real_places(name, days, seed, player):
    play_and_check(load_scenario(name), [seed], player, days=days)


@pytest.mark.slow
@settings(max_examples=5)
@given(seed=st.integers(0, 2**48), player=players)
def test_laws_hold_over_an_episode_of_benelux_with_everything_on(seed, player):
    play_and_check(everything_on(load_scenario("benelux")), [seed], player)


@pytest.mark.parametrize(
    "name",
    [
        *("as shipped", "many outages", "many revisions", "wild demand", "tiny tender table"),
        *("demand that changes", "everything goes wrong", "everything on"),
    ],
)
@settings(max_examples=6)
@given(seed=st.integers(0, 2**48), player=players)
def test_what_is_exogenous_is_equal_under_different_actions(name, seed, player):
    scenario = VARIATIONS[name]
    batch = HubNetworkVector(scenario, num_envs=2, autoreset=False)
    _, info = batch.reset(seed=[seed, seed])
    one, other = Player(batch, **player), Player(batch, player["seed"] + 1, 1.0, 0.0)
    for day in range(scenario.episode_d):
        a = batch.arrays
        for series in ("units_ordered", "tenders_posted", "revisions", "outage_days"):
            assert len(set(event(batch, series))) == 1, series
        assert a.clock["standard_cost"][0] == a.clock["standard_cost"][1]
        assert (a.revision[0] == a.revision[1]).all()
        assert (a.hub["down_until"][0] == a.hub["down_until"][1]).all()
        announced = []
        for copy in range(2):
            lots = a.lot[copy, : a.clock["lots"][copy]]
            new = lots[(lots["announced"] == day) & (lots["again"] == 0)]
            announced.append([tuple(lot) for lot in new])
        assert announced[0] == announced[1]
        mine, theirs = one.act(info["action_mask"]), other.act(info["action_mask"])
        info = batch.step({role: np.stack([mine[role][0], theirs[role][1]]) for role in batch.roles})[4]
    assert info["standard_cost"][0] == info["standard_cost"][1]


def test_variations_say_what_they_change():
    """A variation that changed nothing would test nothing."""
    for name, scenario in VARIATIONS.items():
        assert dataclasses.is_dataclass(scenario)
        assert (scenario == POCKET) == (name == "as shipped")


@pytest.mark.parametrize("book", [1, 3])
def test_lots_announced_again_never_outgrow_their_table(book):
    """Hubs that go down one after the other while everything else waits; the last copies are only room to spare."""
    scenario = vary(
        capacity={"order_book": book},
        disruptions={"hub_outage_year": 60.0, "hub_outage_median_d": 1.0, "hub_outage_sigma": 0.3},
        demand={"catalogue_level": 40.0, "custom_level": 20.0},
    )
    batch = HubNetworkVector(scenario, num_envs=64, autoreset=False)
    batch.reset(seed=0)
    rng = np.random.default_rng(0)
    actions = {role: np.zeros(space.shape, int) for role, space in batch.action_space.items()}
    for _ in range(scenario.episode_d):
        actions["hub"][:, :, batch.spec["hub"].component("bid")] = rng.choice([0, 0, 0, 2], size=(64, 1, 1))
        batch.step(actions)
        assert (batch.arrays.clock["lots"] <= batch.arrays.lot.shape[-1]).all()
        check_laws(batch)


def test_stock_that_expires_on_the_way_is_not_young_again():
    """Shipped on the last day of its age class, two days under way, and gone a class later at the latest."""
    scenario = vary(
        materials=each("materials", sealed_life_d=50.0, floor_life_d=None, design_of=None),
        freight={"depot_hub_two_days_beyond_km": 0.0},
        disruptions={"scale": 0.0},
        inventory={"opening_level": (0.0, 0.0)},
    )
    batch = HubNetworkVector(scenario)
    batch.reset(seed=1)
    a, width = batch.arrays, 10  # a fifth of the sealed life
    a.clock["day"], a.clock["lots"], a.clock["tenders"] = width - 1, 0, 0
    a.depot_mat["stock"][0, 0, :, 0], a.depot_mat["value"][0, 0] = 500.0, 1000.0
    actions = {role: np.zeros(space.shape, int) for role, space in batch.action_space.items()}
    actions["hub"][:, :, batch.spec["hub"].component("cover")] = 3
    actions["depot"][:, :, batch.spec["depot"].component("quote")] = 1
    batch.step(actions)
    assert (a.flow[0, -1, :, FLOW_NAMES.index("shipped"), 0] > 0).all()
    actions["hub"][:], actions["depot"][:] = 0, 0
    while batch.day[0] <= 2 * width:
        batch.step(actions)
    used = a.flow[0, :2, :, FLOW_NAMES.index("received"), 0] > 0
    assert used.any()
    assert (a.hub_mat["sealed"][0].sum(axis=-1)[used] == 0).all()
