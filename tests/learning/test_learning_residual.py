"""Mean levels, their linear correction, and exploration that lasts an episode and lives in the same features."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from toy import IdentityBatch
from toy import ToyBlock as Block

from fabmesh.agents.learning.algorithms.training import Training
from fabmesh.agents.learning.config import (
    ConfigError,
    NetworkConfig,
    PpoConfig,
    RolloutConfig,
    TrainConfig,
    validate,
)
from fabmesh.agents.learning.policy.networks import OrdinalLevels, RolePolicy
from fabmesh.agents.learning.run.session import Task

NAN = float("nan")


class Role:
    """Two lanes with a bid (or none) each, one overtime; a load per lane and one general feature."""

    agents = ("a", "b", "c")
    num_features = 3
    nvec = np.array([4, 4, 3])
    features = (Block("load", 0, 2, ("FDM", "CNC")), Block("labour", 2, 1, ("all",)))
    components = (
        Block("bid", 0, 2, ("FDM", "CNC"), values=(NAN, -0.1, 0.0, 0.1)),
        Block("overtime", 2, 1, ("all",), values=(0.0, 0.25, 0.5)),
    )


def policy(**network):
    torch.manual_seed(0)
    made = RolePolicy(Role(), NetworkConfig(hidden=(8,), item_width=4, **{"spread": 0.5, "residual": True} | network))
    made.residual.calibrate(torch.randn(100, 3))
    return made


def test_levels_in_order_follow_a_bell_and_others_a_logit_of_their_own():
    ordinal = OrdinalLevels(Role(), spread=0.5)
    scores = torch.tensor([[0.5, -7.0], [-0.5, 2.0], [0.0, 0.0]])  # (share of the way from the middle, special logit)
    logits = ordinal(scores, torch.tensor([0.0, 1.5, 0.0]))
    expected = torch.tensor([
        [-7.0, -8.0, -2.0, 0.0],  # mean level 3: -(l - 3)^2 / (2 x .25)
        [2.0, -4.5, -0.5, -0.5],  # mean level 1, shifted to 2.5
        [-2.0, 0.0, -2.0, 0.0],  # of three levels the middle one; the fourth does not exist and is masked later
    ])  # fmt: skip
    torch.testing.assert_close(logits, expected)


def test_a_correction_is_zero_at_first_and_reads_its_item_and_what_is_general():
    made = policy(residual_features=0.5, agent_embedding=True)
    residual, obs = made.residual, torch.randn(4, 3, 3)
    assert not residual(obs).any()
    assert residual.columns.tolist() == [[0, 2], [1, 2], [2, 3]]  # 3: there is no second feature
    torch.testing.assert_close(residual.features(obs)[..., 0], torch.full((4, 3, 3), 0.5**0.5))
    with torch.no_grad():
        residual.of_block[0, 1] = 1.0  # bids read the load of their lane
        residual.of_agent[1, 2, 0] = 2.0  # the second agent works more overtime
    seen = residual.standardised(obs)
    shift = residual(obs)
    torch.testing.assert_close(shift[..., :2], 0.5 * seen[..., :2])  # sqrt(.5 / 2)
    assert (shift[:, 1, 2] == 2.0 * 0.5**0.5).all()
    assert not shift[:, [0, 2], 2].any()
    torch.testing.assert_close(residual(obs[:, 1], torch.ones(4, dtype=torch.long)), shift[:, 1])


@pytest.mark.parametrize("agents", [False, True])
@pytest.mark.parametrize("features", [0.0, 0.5])
def test_compiled_exploration_equals_the_tensor_form(agents, features):
    made = policy(residual_features=features, agent_embedding=agents)
    residual = made.residual
    with torch.no_grad():
        for parameter in residual.parameters():
            parameter.normal_()
    obs, width = torch.randn(5, 3, 3), residual.width
    own, common = torch.randn(5, 3, 3, width), torch.randn(5, 1, 2, width)
    logits, noise = made.explore(obs, own, common, 0.3)
    phi = residual.features(obs)
    weights = 0.7**0.5 * own + 0.3**0.5 * common[:, :, [0, 0, 1]]
    with torch.no_grad():
        torch.testing.assert_close(noise, (weights * phi).sum(-1) / phi.square().sum(-1).sqrt())
        torch.testing.assert_close(logits, made(obs))


def test_noise_is_standard_normal_on_every_day():
    made = policy(residual_features=0.5)
    own, common = torch.randn(20_000, 3, 3, 3), torch.randn(20_000, 1, 2, 3)
    _, noise = made.explore(torch.randn(1, 3, 3).expand(20_000, -1, -1), own, common, 0.4)
    assert noise.mean().item() == pytest.approx(0.0, abs=0.02)
    assert noise.std().item() == pytest.approx(1.0, abs=0.02)


def training(**ppo):
    config = TrainConfig(
        total_steps=20_000,
        rollout=RolloutConfig(copies=32, group=8, days=20, persistence=1e9, antithetic=True),
        ppo=PpoConfig(
            gamma=1.0, gae_lambda=1.0, baseline="group", credit="episode", epochs=1, minibatches=1, max_grad_norm=1e3,
            **{"residual_learning_rate": 0.1, "share": 0.3} | ppo,
        ),
        network=NetworkConfig(hidden=(16,), critic_hidden=(8,), spread=0.7, residual=True),
    )  # fmt: skip
    made = Training(config, Task("toy", IdentityBatch))
    made.start()
    return made


def test_half_of_a_group_explores_the_other_way_and_every_episode_anew():
    made = training()
    buffer = made.collector.roles["hub"]
    made.collector.collect()
    first = buffer.own.clone()
    groups = first.reshape(4, 8, *first.shape[1:])
    assert torch.equal(groups[:, :4], -groups[:, 4:])
    made.collector.collect()
    assert (buffer.own != first).all()


def test_only_the_correction_learns_and_the_network_stays():
    made = training()
    before = {name: value.clone() for name, value in made.policies["hub"].state_dict().items()}
    made.iterate()
    for name, value in made.policies["hub"].state_dict().items():
        moved = not torch.equal(value, before[name])
        assert moved == name.startswith("residual.of_"), name


def test_the_correction_learns_from_returns_of_whole_episodes():
    made = training()
    first = made.iterate()["episode/reward_per_day"]
    while made.progress < 1.0:
        last = made.iterate()["episode/reward_per_day"]
    assert last > first + 0.05


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"network": NetworkConfig(residual=True)},
            "residual: True is not possible; allowed: off, or a spread above 0",
        ),
        ({"ppo": PpoConfig(residual_learning_rate=0.1)}, "residual_learning_rate: 0.1 is not possible"),
        ({"rollout": RolloutConfig(copies=9, group=3, antithetic=True)}, "antithetic: True is not possible"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        validate(replace(TrainConfig(), **change))


def test_features_are_standardised_by_block():
    made = policy(standardise=True)
    obs = torch.tensor([[1.0, 3.0, 5.0], [3.0, 5.0, 5.0]])
    made.calibrate(obs)
    assert made.mean.tolist() == [3.0, 3.0, 5.0]  # both lanes' loads together, then labour
    torch.testing.assert_close(made.scale, torch.tensor([(3.0 / 8.0) ** 0.5] * 2 + [100.0]))
    plain = policy()
    plain.load_state_dict({k: v for k, v in made.state_dict().items() if k not in ("mean", "scale")})
    seen = (obs - made.mean) * made.scale
    torch.testing.assert_close(made._scores(obs, None), plain._scores(seen, None))
