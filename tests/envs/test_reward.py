"""Own, mixed and team reward: by hand, against the ledger, and in the learners (model §9)."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_laws import Player, players, vary

from fabmesh.agents.learning.algorithms.training import Training
from fabmesh.agents.learning.config import (
    ConfigError,
    ImitationConfig,
    NetworkConfig,
    PpoConfig,
    RolloutConfig,
    TrainConfig,
)
from fabmesh.agents.learning.run.session import Task
from fabmesh.envs.network.books.accounts import NOT_COST
from fabmesh.envs.network.day.stage8_ledger_posted import write_rewards
from fabmesh.envs.network.loading import load_scenario
from fabmesh.envs.testing import random_actions
from fabmesh.envs.vector import HubNetworkVector

POCKET = load_scenario("pocket")


def weighted(weight, scenario=POCKET, **reward):
    return replace(scenario, reward=replace(scenario.reward, team_weight=weight, **reward))


def books(batch):
    """Cost and income of every row so far, [copies, rows], without what this morning's news cost: that is today's."""
    lines = batch.ledger_lines
    costs = [i for i, name in enumerate(lines) if name not in NOT_COST]
    cost = batch.ledger[:, :, costs].sum(axis=-1) - batch.arrays.day_cost
    return cost, batch.ledger[:, :, [lines.index(name) for name in NOT_COST]].sum(axis=-1)


@pytest.mark.parametrize(
    ("weight", "expected"),
    [
        (1.0, [-1.5, -1.5, -1.5]),  # 900 EUR of the network / 3 agents / 200 EUR
        (0.0, [-0.5, 0.75, -1.0]),
        (0.25, [0.75 * -0.5 - 0.375, 0.75 * 0.75 - 0.375, 0.75 * -1.0 - 0.375]),
    ],
)
def test_rewards_of_a_day_by_hand(weight, expected):
    """Two hubs and a depot: cost 300, 150, 250 and 200 on the platform's account; income 200, 300, 50, 10."""
    batch = HubNetworkVector(weighted(weight, scale_eur=200.0))
    batch.reset(seed=1)
    batch.arrays.day_cost[0] = 300.0, 150.0, 250.0, 200.0
    batch.arrays.day_income[0] = 200.0, 300.0, 50.0, 10.0
    reward = np.zeros(3, np.float32)
    write_rewards(batch._handles[0], batch._handles[1][0], 900.0, reward)
    assert reward.tolist() == pytest.approx(expected, rel=1e-6)


def test_the_team_game_is_what_it_was():
    """Weight 1, float for float: minus the network's cost / (agents x scale), the same number for everyone."""
    batch = HubNetworkVector(POCKET, num_envs=3, autoreset=False)
    _, info = batch.reset(seed=5)
    rng = np.random.default_rng(0)
    for _ in range(POCKET.episode_d):
        _, reward, _, _, info = batch.step(random_actions(batch, info["action_mask"], rng))
        expected = (-info["cost"] / (batch.num_agents * batch.reward_scale_eur)).astype(np.float32)
        for role in batch.roles:
            assert (reward[role] == expected[:, None]).all()


@pytest.mark.parametrize("weight", [0.0, 0.4, 0.9])
@settings(max_examples=4)
@given(seed=st.integers(0, 2**48), player=players)
def test_rewards_are_what_the_ledger_says(weight, seed, player):
    """Every agent's reward of every day, and their sum over the episode, from the books."""
    stormy = vary(disruptions={"hub_outage_year": 25.0, "hub_outage_median_d": 2.0})
    scenario = weighted(weight, replace(stormy, market=replace(stormy.market, platform_fee=0.1)))
    batch = HubNetworkVector(scenario, num_envs=2, autoreset=False)
    _, info = batch.reset(seed=[seed, seed + 1])
    acting = Player(batch, **player)
    scale, agents = batch.reward_scale_eur, batch.num_agents
    total = np.zeros((2, agents))
    for _ in range(scenario.episode_d):
        cost, income = books(batch)
        _, reward, _, _, info = batch.step(acting.act(info["action_mask"]))
        cost_now, income_now = books(batch)
        own = ((cost_now - cost) - (income_now - income))[:, :agents]
        team = info["cost"][:, None] / agents
        got = np.concatenate([reward[role] for role in batch.roles], axis=1)
        expected = -((1 - weight) * own + weight * team) / scale
        assert np.allclose(got, expected, rtol=1e-6, atol=1e-6 * (1 + np.abs(cost_now).max() / scale))
        total += got
    ledger = info["final_ledger"]
    costs = [i for i, name in enumerate(batch.ledger_lines) if name not in NOT_COST]
    income = ledger[:, :agents, [batch.ledger_lines.index(name) for name in NOT_COST]].sum(axis=(1, 2))
    own = ledger[:, :agents][:, :, costs].sum(axis=(1, 2)) - income
    network = ledger[:, :, costs].sum(axis=(1, 2)) - info["settlement"]
    expected = -((1 - weight) * own + weight * network) / scale
    gross = np.abs(ledger).sum() / scale
    assert np.allclose(total.sum(axis=1), expected, rtol=0, atol=1e-6 * gross)


def test_own_rewards_differ_between_agents_and_sales_count():
    batch = HubNetworkVector(weighted(0.0), num_envs=1)
    _, info = batch.reset(seed=3)
    rng = np.random.default_rng(2)
    best = -np.inf
    for _ in range(20):
        _, reward, _, _, info = batch.step(random_actions(batch, info["action_mask"], rng))
        assert reward["hub"][0, 0] != reward["hub"][0, 1]
        best = max(best, float(reward["hub"].max()))
    assert best > 0.0  # a day of profit, which no cost alone can be


# --- learners


def training(algo, weight, **ppo):
    config = TrainConfig(
        algo=algo,
        total_steps=48,
        rollout=RolloutConfig(copies=4, group=2, days=6),
        ppo=PpoConfig(epochs=1, minibatches=2, **ppo),
        network=NetworkConfig(hidden=(16,), critic_hidden=(16,)),
        imitation=ImitationConfig(critic_iterations=0),
    )
    scenario = weighted(weight, replace(POCKET, episode_d=6))
    made = Training(config, Task("pocket", lambda copies: HubNetworkVector(scenario, num_envs=copies)))
    made.start()
    return made


@pytest.mark.parametrize("algo", ["mappo", "ippo"])
@pytest.mark.parametrize("baseline", ["critic", "group"])
@pytest.mark.parametrize("weight", [0.0, 0.5])
def test_learners_take_own_and_mixed_rewards(algo, baseline, weight):
    made = training(algo, weight, baseline=baseline, gae_lambda=1.0, settlement=True)
    before = {name: value.clone() for name, value in made.weights()["hub"].items()}
    for _ in range(2):
        metrics = made.iterate()
    assert all(np.isfinite(value) for value in metrics.values())
    assert any(not torch.equal(value, made.weights()["hub"][name]) for name, value in before.items())
    advantages, targets, _ = made.learner._estimate(made.collector)
    for role, agents in (("hub", 2), ("depot", 1)):
        assert advantages[role].shape == (24, agents)
        assert abs(float(advantages[role].mean())) < 1e-4
    assert not torch.equal(advantages["hub"][:, 0], advantages["hub"][:, 1])
    if algo == "mappo":
        assert targets["central"].shape == (24, 3)  # one value for each agent


def test_without_a_critic_each_agent_is_judged_by_its_own_return():
    """MAPPO and IPPO are one learner then, in the mixed game as in the team game."""
    found = []
    for algo in ("mappo", "ippo"):
        made = training(algo, 0.0, baseline="group", gamma=1.0, gae_lambda=1.0)
        made.collector.collect()
        advantages, _, _ = made.learner._estimate(made.collector)
        to_go = made.collector.roles["hub"].rewards.flip(0).cumsum(0).flip(0)
        centred = to_go - to_go.reshape(6, 2, 2, 2).mean(2, keepdim=True).expand(6, 2, 2, 2).reshape(6, 4, 2)
        expected = ((centred - centred.mean()) / (centred.std() + 1e-8)).flatten(0, 1)
        torch.testing.assert_close(advantages["hub"], expected, rtol=1e-3, atol=1e-4)
        found.append(expected)
    torch.testing.assert_close(*found)


def test_the_settlement_counts_with_its_share_of_the_team():
    for weight in (1.0, 0.5, 0.0):
        made = training("ippo", weight)
        made.collector.collect()
        settled = made.collector.settle(torch.zeros(6, 4))[-1].double()
        scale = made.batch.reward_scale_eur * made.batch.num_agents
        torch.testing.assert_close(settled, -weight * made.collector.settlements[-1] / scale, rtol=1e-4, atol=1e-6)


def test_what_needs_the_team_reward_says_so():
    with pytest.raises(ConfigError, match=r"stock_charge: 0\.1 .*needs the team reward.*team_weight 0\.5") as refused:
        training("mappo", 0.5, stock_charge=0.1)
    assert refused.value.key == "stock_charge"
    training("mappo", 1.0, stock_charge=0.1)
