"""The compiled heads against the modules they stand for: logits and gradients, whatever the sizes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from toy import IdentityBatch

from fabmesh.agents.learning.algorithms.training import Training
from fabmesh.agents.learning.config import ImitationConfig, NetworkConfig, RolloutConfig, TrainConfig
from fabmesh.agents.learning.policy import compiled_heads as fused_heads
from fabmesh.agents.learning.policy.networks import RolePolicy
from fabmesh.agents.learning.run.session import Task
from fabmesh.envs.network.interface.spec import role_specs
from fabmesh.envs.network.loading import load_scenario

SPECS = {name: role_specs(load_scenario(name)) for name in ("pocket", "benelux")}
NETWORKS = {
    "as benchmarked": NetworkConfig(),
    "levels in order": NetworkConfig(spread=0.7, standardise=True),
    "odd sizes": NetworkConfig(hidden=(33,), item_width=13, agent_embedding=True),
    "one unit an item": NetworkConfig(hidden=(8, 8), item_width=1),
}


def policy_of(spec, network):
    """A policy all of whose weights say something."""
    torch.manual_seed(0)
    policy = RolePolicy(spec, network)
    with torch.no_grad():
        for weight in policy.parameters():
            weight += 0.2 * torch.randn_like(weight)
    return policy


def gradients(policy, obs, pull):
    """Logits, and the gradient of their sum weighted by `pull`."""
    logits = policy(obs)
    found = torch.autograd.grad((logits * pull).sum(), list(policy.parameters()), allow_unused=True)
    return logits.detach(), dict(zip((name for name, _ in policy.named_parameters()), found, strict=True))


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS.keys())
@pytest.mark.parametrize("role", ["hub", "depot"])
@pytest.mark.parametrize("scenario", SPECS)
def test_logits_and_gradients_are_those_of_the_modules(scenario, role, network):
    spec = SPECS[scenario][role]
    policy = policy_of(spec, network)
    copies = 2 * fused_heads.ROWS // len(spec.agents) + 3  # two whole blocks and a part
    obs = torch.randn(copies, len(spec.agents), spec.num_features)
    pull = torch.randn(copies, len(spec.agents), policy.layout.components, int(max(spec.nvec)))
    expected, slopes = gradients(policy, obs, pull)
    policy.fused = True
    logits, found = gradients(policy, obs, pull)
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4)
    assert slopes.keys() == found.keys()
    for name, slope in slopes.items():
        if slope is None:
            assert found[name] is None, name
        else:
            torch.testing.assert_close(found[name], slope, rtol=1e-4, atol=2e-5 * float(slope.abs().max()), msg=name)


def test_one_observation_gives_what_it_gives_among_many():
    spec = SPECS["pocket"]["hub"]
    policy = policy_of(spec, NetworkConfig())
    policy.fused = True
    obs = torch.randn(2 * fused_heads.ROWS, spec.num_features)
    agents = torch.zeros(len(obs), dtype=torch.int64)
    with torch.no_grad():
        together = policy.rows(obs, agents)
        for i in (0, fused_heads.ROWS - 1, fused_heads.ROWS, len(obs) - 1):
            torch.testing.assert_close(policy.rows(obs[i : i + 1], agents[:1])[0], together[i])


def test_memory_that_no_observation_fills_does_not_count():
    """Blocks are whole: what lies beyond the last observation must neither reach a logit nor a gradient."""
    obs = np.full((fused_heads.ROWS + 1, 3), 2.0, np.float32)
    tiles = np.full((2, 3, fused_heads.ROWS), np.nan, np.float32)
    fused_heads._tile(obs, tiles)
    assert (tiles[0] == 2.0).all()
    assert (tiles[1, :, 0] == 2.0).all()
    assert (tiles[1, :, 1:] == 0.0).all()


def test_policies_are_trained_with_compiled_heads_and_judged_without():
    """What a run validates chooses as what is judged of it later does, to the last bit."""
    config = TrainConfig(
        rollout=RolloutConfig(copies=4, group=2, days=3),
        network=NetworkConfig(hidden=(8,), critic_hidden=(8,)),
        imitation=ImitationConfig(teacher="none"),
    )
    training = Training(config, Task("toy", IdentityBatch))
    assert all(policy.fused for policy in training.policies.values())
    judged = training.policy(sample=False)
    assert not any(policy.fused for policy in judged.policies.values())
    assert all(policy.fused for policy in training.policies.values())
