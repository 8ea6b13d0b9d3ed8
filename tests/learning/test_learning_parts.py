"""Parts of learning against cases worked out by hand: advantages, baselines, masks, value scale, losses, imitation."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from toy import ToyBlock as Block

from fabmesh.agents.learning.algorithms.returns import gae, group_ranks, subtract_group_mean
from fabmesh.agents.learning.config import NetworkConfig
from fabmesh.agents.learning.imitation import move_to_neighbours, smoothed_targets
from fabmesh.agents.learning.policy import kernels as fused
from fabmesh.agents.learning.policy.distribution import ActionLayout, entropy, log_prob, masked_log_probs, sample
from fabmesh.agents.learning.policy.networks import RolePolicy, choose_levels, item_columns
from fabmesh.agents.learning.policy.popart import PopArt


def test_gae_by_hand():
    rewards = torch.tensor([[1.0], [2.0], [3.0]])
    values = torch.tensor([[0.5], [1.0], [1.5]])
    following = torch.tensor([[1.0], [1.5], [2.0]])
    never = torch.zeros(3, 1, dtype=torch.bool)
    advantages, targets = gae(rewards, values, following, never, gamma=0.5, lam=0.5)
    # errors: 1 + .5 - .5 = 1;  2 + .75 - 1 = 1.75;  3 + 1 - 1.5 = 2.5;  decay .25
    expected = torch.tensor([[1 + 0.25 * (1.75 + 0.25 * 2.5)], [1.75 + 0.25 * 2.5], [2.5]])
    torch.testing.assert_close(advantages, expected)
    torch.testing.assert_close(targets, expected + values)


def test_gae_at_a_truncation_bootstraps_and_cuts():
    rewards = torch.tensor([[1.0], [1.0]])
    values = torch.tensor([[0.0], [7.0]])  # 7: first state of the next episode, which the first day must not see
    following = torch.tensor([[10.0], [0.0]])  # 10: value of the final state of the episode that ended
    ended = torch.tensor([[True], [False]])
    advantages, _ = gae(rewards, values, following, ended, gamma=0.9, lam=0.9)
    torch.testing.assert_close(advantages, torch.tensor([[1 + 0.9 * 10.0], [1.0 - 7.0]]))


def test_gae_is_the_discounted_return_at_lambda_one():
    generator = torch.Generator().manual_seed(0)
    rewards, values = torch.randn(6, 3, generator=generator), torch.randn(7, 3, generator=generator)
    never = torch.zeros(6, 3, dtype=torch.bool)
    _, targets = gae(rewards, values[:-1], values[1:], never, gamma=0.9, lam=1.0)
    expected = sum(0.9**k * rewards[k] for k in range(6)) + 0.9**6 * values[6]
    torch.testing.assert_close(targets[0], expected)


def test_group_mean_is_subtracted_per_day():
    advantages = torch.tensor([[1.0, 3.0, 10.0, 20.0], [0.0, 0.0, 4.0, 8.0]])
    expected = torch.tensor([[-1.0, 1.0, -5.0, 5.0], [0.0, 0.0, -2.0, 2.0]])
    torch.testing.assert_close(subtract_group_mean(advantages, 2), expected)
    torch.testing.assert_close(subtract_group_mean(advantages, 1), advantages)


def test_group_mean_keeps_agents_apart():
    advantages = torch.tensor([[[1.0, 10.0], [3.0, 30.0]]])  # one day, two copies, two agents
    expected = torch.tensor([[[-1.0, -10.0], [1.0, 10.0]]])
    torch.testing.assert_close(subtract_group_mean(advantages, 2), expected)


def test_ranks_in_a_group_are_normal_scores_and_leave_outliers_alone():
    quartile = 0.318639  # of the standard normal at 5/8; 1.150349 at 7/8
    advantages = torch.tensor([[0.0, 3.0, -1e9, 2.0, 7.0, 7.0, 7.0, 7.0]])
    expected = torch.tensor([[-quartile, 1.150349, -1.150349, quartile, 0.0, 0.0, 0.0, 0.0]])
    torch.testing.assert_close(group_ranks(advantages, 4), expected)
    each_agent = torch.stack((advantages, -advantages), dim=-1)
    torch.testing.assert_close(group_ranks(each_agent, 4), torch.stack((expected, -expected), dim=-1))


def test_value_scale_follows_targets_and_keeps_predictions():
    torch.manual_seed(0)
    head = PopArt(4, rate=0.5)
    hidden = torch.randn(10, 4)
    head.update(torch.tensor([1.0, 3.0]))
    mean, scale = head.location_scale()
    assert mean == pytest.approx(2.0)
    assert scale == pytest.approx(1.0)
    before = head.denormalise(head(hidden))
    head.update(torch.tensor([100.0, 300.0]))
    # debiased weights: 1/3 old, 2/3 new
    mean, scale = head.location_scale()
    assert mean == pytest.approx((2.0 + 2 * 200.0) / 3)
    assert scale == pytest.approx(math.sqrt((5.0 + 2 * 50_000.0) / 3 - mean**2))
    torch.testing.assert_close(head.denormalise(head(hidden)), before, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(head.denormalise(head.normalise(hidden)), hidden, rtol=1e-4, atol=1e-4)


@pytest.fixture
def padded():
    """Layout, logits and masks of 50 agents with components of 3, 1, 5 and 2 levels."""
    layout = ActionLayout([3, 1, 5, 2])
    rng = np.random.default_rng(0)
    flat = (rng.random((50, 11)) < 0.6).astype(np.int8)
    starts = np.array([0, 3, 4, 9])
    flat[:, starts + rng.integers(0, layout.nvec, (50, 4))] = 1  # never all of a component
    mask = torch.from_numpy(layout.pad_mask(flat))
    logits = torch.randn(50, 4, 5, generator=torch.Generator().manual_seed(1))
    return layout, flat, mask, logits


def test_padding_equals_one_log_softmax_per_component(padded):
    layout, flat, mask, logits = padded
    together = masked_log_probs(logits, mask)
    start = 0
    for component, levels in enumerate(layout.nvec):
        legal = torch.from_numpy(flat[:, start : start + levels]) == 1
        alone = logits[:, component, :levels].masked_fill(~legal, -torch.inf).log_softmax(-1)
        torch.testing.assert_close(together[:, component, :levels].exp(), alone.exp())
        assert not together[:, component, levels:].exp().any()
        start += levels


def test_masked_levels_have_no_probability_and_are_never_drawn(padded):
    _, _, mask, logits = padded
    log_probs = masked_log_probs(logits, mask)
    assert not log_probs.exp()[~mask].any()
    torch.testing.assert_close(log_probs.exp().sum(-1), torch.ones(50, 4))
    for seed in range(20):
        drawn = sample(log_probs, torch.Generator().manual_seed(seed))
        assert mask.gather(-1, drawn.unsqueeze(-1)).all()
        actions, log_p = np.empty((50, 4), np.int64), np.empty((50, 4), np.float32)
        uniforms = np.random.default_rng(seed).random((50, 4), dtype=np.float32)
        fused.sample_levels(logits.numpy(), mask.numpy(), uniforms, actions, log_p)
        assert mask.gather(-1, torch.from_numpy(actions).unsqueeze(-1)).all()
        torch.testing.assert_close(torch.from_numpy(log_p), log_prob(log_probs, torch.from_numpy(actions)))


def test_draws_follow_the_probabilities():
    logits = torch.tensor([0.0, 1.0, -1.0, 0.5]).repeat(20_000, 1, 1)
    mask = torch.tensor([True, True, False, True]).repeat(20_000, 1, 1)
    actions, log_p = np.empty((20_000, 1), np.int64), np.empty((20_000, 1), np.float32)
    uniforms = np.random.default_rng(3).random((20_000, 1), dtype=np.float32)
    fused.sample_levels(logits.numpy(), mask.numpy(), uniforms, actions, log_p)
    share = np.bincount(actions[:, 0], minlength=4) / 20_000
    np.testing.assert_allclose(share, masked_log_probs(logits[0], mask[0]).exp()[0].numpy(), atol=0.015)


def test_entropy_by_hand():
    layout = ActionLayout([4, 2])
    mask = torch.from_numpy(layout.pad_mask(np.array([1, 1, 0, 0, 1, 0], np.int8)))
    log_probs = masked_log_probs(torch.zeros(2, 4), mask)
    torch.testing.assert_close(entropy(log_probs), torch.tensor([math.log(2.0), 0.0]))


@pytest.mark.parametrize("joint", [False, True])
def test_compiled_loss_and_gradient_equal_the_tensor_form(padded, joint):
    _, _, mask, logits = padded
    generator = torch.Generator().manual_seed(2)
    actions = sample(masked_log_probs(logits, mask), generator)
    old = log_prob(masked_log_probs(logits + 0.3 * torch.randn(logits.shape, generator=generator), mask), actions)
    advantages = torch.randn(50, generator=generator)
    reference, compiled = logits.clone().requires_grad_(), logits.clone().requires_grad_()

    log_probs = masked_log_probs(reference, mask)
    log_ratio = log_prob(log_probs, actions) - old
    if joint:
        log_ratio = log_ratio.sum(-1, keepdim=True)
    ratio, column = log_ratio.exp(), advantages.unsqueeze(-1)
    surrogate = torch.minimum(ratio * column, ratio.clamp(0.8, 1.2) * column).mean()
    weights = torch.linspace(0.0, 0.02, mask.shape[1])
    loss = -surrogate - (weights * entropy(log_probs)).mean()
    loss.backward()

    found, statistics, entropies = fused.ClippedPolicyLoss.apply(
        compiled, mask, actions, old, advantages, 0.2, weights.double().numpy(), joint
    )
    found.backward()
    torch.testing.assert_close(found, loss)
    torch.testing.assert_close(compiled.grad, reference.grad, rtol=1e-4, atol=1e-7)
    torch.testing.assert_close(entropies.float(), entropy(log_probs).mean(0))
    kl = (log_ratio.exp() - 1 - log_ratio).sum(-1).mean()
    clipped = ((ratio - 1).abs() > 0.2).float().mean()
    torch.testing.assert_close(statistics.float(), torch.stack([-surrogate, kl, clipped]))


def test_imitation_targets_put_the_rest_on_legal_neighbours():
    layout = ActionLayout([4, 4, 4, 4])
    flat = np.array([1, 1, 1, 1, 1, 0, 1, 1, 0, 1, 0, 1, 1, 1, 1, 0], np.int8)
    mask = torch.from_numpy(layout.pad_mask(flat))
    targets = smoothed_targets(torch.tensor([1, 0, 1, 3]), mask, smoothing=0.2)
    expected = torch.tensor(
        [
            [0.1, 0.8, 0.1, 0.0],  # both neighbours
            [1.0, 0.0, 0.0, 0.0],  # the only neighbour is masked
            [0.0, 1.0, 0.0, 0.0],  # both are
            [0.0, 0.0, 0.0, 0.0],  # the label itself is masked: nothing to learn
        ]
    )
    torch.testing.assert_close(targets, expected)


def test_compiled_imitation_loss_equals_the_tensor_form(padded):
    _, _, mask, logits = padded
    labels = torch.from_numpy(np.random.default_rng(5).integers(0, [3, 1, 5, 2], (50, 4)))
    reference, compiled = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    log_probs = masked_log_probs(reference, mask)
    loss = -(smoothed_targets(labels, mask, 0.2) * log_probs).sum(dim=(-1, -2)).mean()
    loss.backward()
    found, right, choices = fused.ImitationLoss.apply(compiled, mask, labels, 0.2, mask[0] | True, 0.0)
    found.backward()
    torch.testing.assert_close(found, loss)
    torch.testing.assert_close(compiled.grad, reference.grad, rtol=1e-4, atol=1e-7)
    learnable = (mask.sum(-1) > 1) & mask.gather(-1, labels.unsqueeze(-1)).squeeze(-1)
    assert choices == learnable.sum()
    assert right == ((log_probs.argmax(-1) == labels) & learnable).sum()


def test_noise_moves_one_level_and_only_to_legal_ones():
    rng = np.random.default_rng(0)
    levels = rng.integers(0, 5, (1000, 3))
    mask = rng.random((1000, 3, 5)) < 0.7
    moved = move_to_neighbours(levels, mask, 0.5, rng)
    changed = moved != levels
    assert 0.15 < changed.mean() < 0.5
    assert np.abs(moved - levels).max() == 1
    assert np.take_along_axis(mask, moved[..., None], -1)[..., 0][changed].all()


@dataclass
class Role:
    """Two materials with two features each, two slots with one and a pair, one feature of the agent."""

    agents = ("hub_0", "hub_1")
    num_features = 11
    nvec = np.array([3, 3, 2, 4, 4])
    features = (
        Block("cover", 0, 2, ("steel", "resin")),
        Block("calendar", 2, 1, ("day",)),
        Block("work", 3, 2, ("slot 0", "slot 1")),
        Block("lane", 5, 4, ("slot 0 is FDM", "slot 0 is CNC", "slot 1 is FDM", "slot 1 is CNC")),
        Block("use", 9, 2, ("steel", "resin")),
    )
    components = (
        Block("cover", 0, 2, ("steel", "resin")),
        Block("trigger", 2, 1, ("all",)),
        Block("tender", 3, 2, ("slot 0", "slot 1")),
    )


def role_policy(**network):
    torch.manual_seed(0)
    return RolePolicy(Role(), NetworkConfig(hidden=(8, 8), item_width=8, **network))


def test_features_are_found_by_the_names_of_their_items():
    assert item_columns(Role(), ("steel", "resin")).tolist() == [[0, 9], [1, 10]]
    assert item_columns(Role(), ("slot 0", "slot 1")).tolist() == [[3, 5, 6], [4, 7, 8]]


def test_a_bid_depends_on_the_tender_and_not_on_its_slot():
    policy = role_policy()
    for head in policy.heads.values():
        torch.nn.init.normal_(getattr(head, "out", head).weight)
    policy.first.weight.data[:, 3:9] = 0.0  # the trunk sees slots in their places
    obs = torch.randn(1, 11)
    swapped = obs[:, [0, 1, 2, 4, 3, 7, 8, 5, 6, 9, 10]]
    logits, other = policy(obs), policy(swapped)
    torch.testing.assert_close(logits[0, 3], other[0, 4])
    torch.testing.assert_close(logits[0, 4], other[0, 3])
    assert not torch.allclose(logits[0, 3], logits[0, 4])
    assert logits.shape == (1, 5, 4)


def test_mode_is_the_largest_legal_logit_and_embedding_tells_agents_apart():
    policy = role_policy(agent_embedding=True)
    for head in policy.heads.values():
        torch.nn.init.normal_(getattr(head, "out", head).weight)
    obs = torch.randn(5, 2, 11)
    flat = (np.random.default_rng(0).random((5, 2, 16)) < 0.7).astype(np.int8)
    flat[..., [0, 4, 6, 8, 12]] = 1
    mask = policy.layout.pad_mask(flat)
    levels = choose_levels(policy, obs, mask, None)
    with torch.no_grad():
        expected = masked_log_probs(policy(obs), torch.from_numpy(mask)).argmax(-1).numpy()
        assert (levels == expected).all()
        policy.embedding[1] += 1.0
        same = obs[:, :1].expand(-1, 2, -1)
        logits = policy(same)
        assert not torch.allclose(logits[:, 0], logits[:, 1])
        torch.testing.assert_close(policy.rows(same[:, 1], torch.ones(5, dtype=torch.long)), logits[:, 1])
