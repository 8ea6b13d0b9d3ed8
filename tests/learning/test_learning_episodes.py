"""Learning from whole episodes: settlement at the end, no critic, lasting and common draws, the charge on stock."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from toy import IdentityBatch

from fabmesh.agents.learning.algorithms.training import Training
from fabmesh.agents.learning.config import (
    ConfigError,
    NetworkConfig,
    PpoConfig,
    RolloutConfig,
    TrainConfig,
    validate,
)
from fabmesh.agents.learning.run.session import Task
from fabmesh.envs.vector import HubNetworkVector


def training(days=20, group=4, copies=8, steps=1, persistence=1.0, correlation=0.0, **ppo):
    config = TrainConfig(
        total_steps=steps,
        rollout=RolloutConfig(copies=copies, group=group, days=days, persistence=persistence, correlation=correlation),
        ppo=PpoConfig(learning_rate=3e-3, gamma=1.0, gae_lambda=1.0, **ppo),
        network=NetworkConfig(hidden=(32, 32), critic_hidden=(8,)),
    )
    made = Training(config, Task("toy", IdentityBatch))
    made.start()
    return made


def test_without_a_critic_an_advantage_is_the_return_against_the_group():
    made = training(baseline="group")
    made.collector.collect()
    found, _, _ = made.learner._estimate(made.collector)
    to_go = made.collector.team_rewards().flip(0).cumsum(0).flip(0)
    centred = to_go - to_go.reshape(20, 2, 4).mean(2).repeat_interleave(4, dim=1)
    expected = (centred - centred.mean()) / (centred.std() + 1e-8)
    torch.testing.assert_close(found["hub"][:, 0].reshape(20, 8), expected, rtol=1e-3, atol=1e-4)


def test_credit_for_the_episode_is_the_same_on_each_of_its_days():
    made = training(baseline="group", credit="episode")
    made.collector.collect()
    found, _, _ = made.learner._estimate(made.collector)
    by_day = found["depot"][:, 0].reshape(20, 8)
    torch.testing.assert_close(by_day, by_day[:1].expand_as(by_day))
    total = made.collector.team_rewards().sum(0)
    assert np.corrcoef(by_day[0, :4], total[:4])[0, 1] > 0.999


def test_credit_for_the_episode_needs_whole_episodes():
    made = training(days=7, baseline="group", credit="episode")
    made.collector.collect()
    with pytest.raises(ConfigError, match=r"--credit episode: needs --days to be the episode of the scenario, not 7"):
        made.learner._estimate(made.collector)


def test_a_group_of_one_cannot_be_the_baseline():
    config = TrainConfig(rollout=RolloutConfig(copies=4, group=1), ppo=PpoConfig(baseline="group"))
    with pytest.raises(ConfigError, match="baseline: 'group' is not possible"):
        validate(config)


def test_ranks_take_the_place_of_amounts():
    made = training(baseline="group", credit="episode", scores="ranks")
    made.collector.collect()
    found, _, _ = made.learner._estimate(made.collector)
    by_day = found["hub"][:, 0].reshape(20, 8)
    torch.testing.assert_close(by_day, by_day[:1].expand_as(by_day))
    scores, total = by_day[0].reshape(2, 4), made.collector.team_rewards().sum(0).reshape(2, 4)
    assert torch.equal(scores.argsort(dim=1), total.argsort(dim=1))
    assert np.ptp(scores.sort(dim=1).values.numpy(), axis=0).max() < 1e-6  # every group's scores are the same four
    alone = TrainConfig(rollout=RolloutConfig(copies=4, group=1), ppo=PpoConfig(scores="ranks"))
    with pytest.raises(ConfigError, match="scores: 'ranks' is not possible"):
        validate(alone)


@pytest.mark.parametrize("scores", ["cost", "ranks"])
def test_it_learns_without_a_critic(scores):
    made = training(copies=16, group=4, steps=10_000, baseline="group", epochs=4, credit="day", scores=scores)
    made.learner.config = replace(made.config.ppo, gamma=0.0)  # the toy's days have nothing to do with one another
    reward = 0.0
    while made.progress < 1.0:
        reward = made.iterate()["episode/reward_per_day"]
    assert reward > 0.8


def test_the_settlement_takes_the_place_of_the_value_where_episodes_end():
    made = training()
    collector = made.collector
    collector.collect()
    for buffer in collector.roles.values():
        buffer.rewards[:] = -2.0
    collector.costs[:] = 100.0  # so one EUR is a reward of 0.02
    collector.settlements[19] = 50.0
    following = torch.full((20, 8), 7.0)
    settled = collector.settle(following)
    torch.testing.assert_close(settled[19], torch.full((8,), -1.0))
    torch.testing.assert_close(settled[:19], following[:19])
    assert collector.settle(following.unsqueeze(-1).repeat(1, 1, 2)).shape == (20, 8, 2)


def test_stock_is_charged_when_it_comes_and_given_back_when_it_goes():
    made = training(days=4)
    collector = made.collector
    collector.collect()
    collector._inventory = 0
    for buffer in collector.roles.values():
        buffer.rewards[:] = -1.0
    collector.costs[:] = 10.0  # one EUR is a reward of 0.1
    collector.stock[:, :] = torch.tensor([9.0, 9.0, 29.0, 9.0, 0.0], dtype=torch.float64).unsqueeze(1)
    collector.begins[:] = False
    collector.begins[0, 0] = True  # copy 0 starts an episode: the 9 before are another world's
    charges = collector.stock_charges(share=0.5, gamma=1.0)
    torch.testing.assert_close(charges[:, 1], torch.tensor([0.0, -1.0, 1.0, 0.45]))
    torch.testing.assert_close(charges[:, 0], torch.tensor([0.0, -1.0, 1.0, 0.45]))
    assert not collector.stock_charges(share=0.0, gamma=1.0).any()


def test_goals_are_charged_on_top_of_their_cost():
    collector = training(days=4).collector
    collector.collect()
    for buffer in collector.roles.values():
        buffer.rewards[:] = -1.0
    collector.costs[:] = 10.0  # one EUR is a reward of 0.1
    collector.goals[:] = torch.tensor([3.0, 5.0])  # lost orders, supply
    torch.testing.assert_close(collector.goal_charges((0.0, 2.0)), torch.full(collector.ended.shape, -1.0))
    torch.testing.assert_close(collector.goal_charges((1.0, 0.0)), torch.full(collector.ended.shape, -0.3))
    assert not collector.goal_charges((0.0, 0.0)).any()


def test_goals_of_a_day_add_up_to_those_of_the_episode():
    batch = HubNetworkVector("pocket", num_envs=3)
    config = TrainConfig(rollout=RolloutConfig(copies=3, group=1, days=70), network=NetworkConfig(hidden=(8,)))
    collector = Training(config, Task("pocket", lambda _: batch)).collector
    collector.start([1, 2, 3])
    collector.collect()
    supply = ("order_cost", "supplier_freight", "first_mile_freight", "deadstock")

    def spent(ledger, *lines):
        return sum(ledger[:, :, batch.ledger_lines.index(line)].sum(axis=1) for line in lines)

    books = collector.episodes[0]["final_ledger"]  # of day 60
    goals = collector.goals[:60].sum(dim=0).numpy()
    np.testing.assert_allclose(goals[:, 0], spent(books, "lost"))
    np.testing.assert_allclose(goals[:, 1], spent(books, *supply))
    np.testing.assert_allclose(collector.goals[60:, :, 1].sum(dim=0), spent(batch.ledger, *supply))


@torch.no_grad()
def test_draws_last_and_are_shared_as_asked():
    made = training(persistence=1e9, correlation=1.0)
    made.collector._act(0)
    made.collector.begins[1] = False
    buffer = made.collector.roles["hub"]
    own, common = buffer.own.clone(), buffer.common.clone()
    made.collector._act(1)
    assert torch.equal(buffer.own, own)
    assert torch.equal(buffer.common, common)
    assert common.shape == (8, 1, 2, 1)  # one per block of components, for all agents of the copy
    renewed = training(persistence=1.0)
    before = renewed.collector.roles["hub"].own.clone()
    renewed.collector.begins[0] = False
    renewed.collector._act(0)
    assert (renewed.collector.roles["hub"].own != before).all()
