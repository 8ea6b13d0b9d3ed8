"""Settings of the learner that are there to be compared: they work together, mean what they say, or are refused."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from toy import IdentityBatch

import fabmesh
from fabmesh.agents.commands.train import learned_in, task_for
from fabmesh.agents.learning.algorithms.difference import NOT_OF_A_DAY, OWN_LINES
from fabmesh.agents.learning.algorithms.ppo import entropy_weights
from fabmesh.agents.learning.algorithms.tape import CLIP, WINDOWS_D, WorldTape, series_names
from fabmesh.agents.learning.algorithms.training import Training
from fabmesh.agents.learning.config import (
    ConfigError,
    ImitationConfig,
    NetworkConfig,
    PpoConfig,
    RolloutConfig,
    TrainConfig,
    setting_names,
    validate,
)
from fabmesh.agents.learning.run.session import Task, run
from fabmesh.agents.learning.run.settings import from_plain, parse, read_settings, to_yaml
from fabmesh.agents.registry import make_policy
from fabmesh.envs.network.loading import load_scenario
from fabmesh.envs.vector import HubNetworkVector

ROOT = Path(fabmesh.__file__).parent
SHORT = replace(load_scenario("pocket"), episode_d=8)
LIVING = load_scenario("rotterdam")


def settings(algo="mappo", copies=8, group=4, days=8, network=None, teacher="base_stock", rollout=None, **ppo):
    return TrainConfig(
        algo=algo,
        total_steps=2 * copies * days,
        rollout=RolloutConfig(copies=copies, group=group, days=days, **rollout or {}),
        ppo=PpoConfig(epochs=1, minibatches=2, **ppo),
        network=NetworkConfig(**{"hidden": (8,), "critic_hidden": (8,)} | (network or {})),
        imitation=ImitationConfig(teacher=teacher, imitation_copies=2, imitation_days=4, critic_iterations=0),
    )


def pocket(config, scenario=SHORT):
    teacher = None if config.imitation.teacher == "none" else make_policy(config.imitation.teacher, scenario)
    world = learned_in(config, scenario)
    made = Training(config, Task("pocket", lambda copies: HubNetworkVector(world, num_envs=copies), teacher))
    made.start()
    return made


def toy(config):
    made = Training(config, Task("toy", lambda copies: IdentityBatch(copies, episode_d=8)))
    made.start()
    return made


# --- what goes together -----------------------------------------------------------------------------------------------

CRITIC = {"baseline": "critic", "gamma": 0.99, "gae_lambda": 0.95}
GROUP = {"baseline": "group", "gae_lambda": 1.0}
KINDS = {
    "critic": (CRITIC, {}),
    "group, a shorter horizon": (GROUP | {"gamma": 0.98}, {}),
    "group, whole episodes": (GROUP | {"gamma": 1.0, "credit": "episode"}, {"spread": 0.8}),
    "group, residual": (
        GROUP | {"gamma": 1.0, "credit": "episode", "residual_learning_rate": 0.05},
        {"spread": 0.8, "residual": True, "agent_embedding": True},
    ),
}


@pytest.mark.parametrize(("kind", "ratio"), list(itertools.product(KINDS, ("component", "joint"))))
def test_every_baseline_goes_with_either_ratio_own_rewards_and_entropy_of_components(kind, ratio):
    ppo, network = KINDS[kind]
    made = pocket(
        settings(
            network=network, ratio=ratio, settlement=True, team_weight=0.5, entropy_of={"hub.bid": (0.05, 0.0)}, **ppo
        )
    )
    before = torch.cat([value.flatten() for value in made.weights()["hub"].values()])
    metrics = [made.iterate() for _ in range(2)][-1]
    assert all(np.isfinite(value) for value in metrics.values())
    assert not torch.equal(before, torch.cat([value.flatten() for value in made.weights()["hub"].values()]))


@pytest.mark.parametrize(
    ("algo", "network"),
    [
        ("mappo", {}),
        ("ippo", {}),
        # of the toy's one depot, the weights of an item and of the agent have the same gradient
        ("mappo", {"spread": 0.8, "residual": True, "agent_embedding": True}),
    ],
)
def test_the_parts_of_a_minibatch_add_up_to_it(algo, network, monkeypatch):
    found = []
    for rows in (10**6, 6):  # the whole; three days of the hubs, six of the depot, the last part shorter
        monkeypatch.setattr("fabmesh.agents.learning.algorithms.ppo.ROWS", rows)
        teacher = "tuned" if network else "none"
        made = toy(settings(algo, days=7, teacher=teacher, network=network, max_grad_norm=1e-3, **CRITIC))
        metrics = made.iterate()
        gradients = [parameter.grad for network in (*made.policies.values(), *made.learner.critics.values())
                     for parameter in network.parameters()]  # fmt: skip
        losses = [value for name, value in metrics.items() if name.startswith(("loss", "kl", "entropy", "update"))]
        found.append((torch.cat([gradient.flatten() for gradient in gradients]), torch.tensor(losses)))
    for whole, parts in zip(*found, strict=True):
        assert torch.allclose(whole, parts, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("algo", ["mappo", "ippo"])
@pytest.mark.parametrize("baseline", ["critic", "group"])
def test_from_scratch_the_policies_move_at_once(algo, baseline):
    made = toy(settings(algo, teacher="none", **(CRITIC if baseline == "critic" else GROUP)))
    before = made.policies["hub"].first.weight.clone()
    made.iterate()
    assert not torch.equal(before, made.policies["hub"].first.weight)


def test_no_steps_at_all_is_imitation_only(tmp_path):
    config = replace(settings(), total_steps=0, run_dir=tmp_path)
    made = Training(config, replace(task_for(config, SHORT), validator=None))
    run(made, tmp_path, quiet=True)
    assert (made.iteration, made.steps, made.progress) == (0, 0, 1.0)
    assert (tmp_path / "best.pt").is_file()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"critic_tape": True, **GROUP}, "critic_tape: True is not possible; allowed: off, or the central critic of"),
        ({"critic_tape": True, "algo": "ippo"}, "critic_tape: True is not possible"),
        ({"baseline": "group"}, "gae_lambda: 0.95 is not possible; allowed: 1 with baseline group"),
        ({"credit": "episode", "gae_lambda": 1.0}, "gamma: 0.99 is not possible; allowed: 1 with credit episode"),
        ({"credit": "episode", "gamma": 1.0}, "gae_lambda: 0.95 is not possible; allowed: 1 with credit episode"),
        ({"reward": "difference", "team_weight": 0.5}, "team_weight: 0.5 is not possible; allowed: none with reward"),
        ({"team_weight": 1.5}, "team_weight: 1.5 is not possible; allowed: a share from 0 to 1"),
        ({"entropy_of": {"hub.bid": (-1.0, 0.0)}}, "entropy_of: .* is not possible; allowed: from 0 to 1,000,000"),
        (
            {"algo": "sb3_a2c", "teacher": "none", "reward": "difference"},
            "reward: 'difference' is not possible; allowed: mixed with sb3_a2c, which does without it",
        ),
        (
            {"algo": "sb3_ppo", "teacher": "none", "entropy_of": {"hub.bid": (0.1, 0.0)}},
            "entropy_of: .* is not possible; allowed: {} with sb3_ppo",
        ),
        (
            {"teacher": "none", "network": {"spread": 0.8, "residual": True}},
            "residual: True is not possible; allowed: off, or a teacher",
        ),
    ],
)  # fmt: skip
def test_what_has_no_meaning_together_is_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        validate(settings(**change))


# --- entropy by component ---------------------------------------------------------------------------------------------


def test_components_have_weights_of_their_own_that_move_over_the_run():
    spec = HubNetworkVector(SHORT).spec["hub"]
    config = PpoConfig(entropy=0.01, entropy_end=0.0, entropy_of={"hub.overtime": (0.5, 0.1)})
    for progress, common, own in ((0.0, 0.01, 0.5), (0.5, 0.005, 0.3), (1.0, 0.0, 0.1)):
        weights = entropy_weights(config, spec, "hub", progress)
        assert weights[spec.component("overtime")] == pytest.approx([own])
        assert np.delete(weights, spec.component("overtime")) == pytest.approx(common)


def test_a_component_with_a_weight_of_its_own_stays_undecided():
    """On the toy a level is right or wrong: only the bonus keeps the probability spread."""
    ppo = {"learning_rate": 2e-2, "gamma": 0.0, "gae_lambda": 0.0, "entropy": 0.0}
    config = settings(copies=16, days=16, teacher="none", **ppo, entropy_of={"hub.level_1": (0.5, 0.5)})
    made = toy(replace(config, total_steps=25 * 256, ppo=replace(config.ppo, epochs=4)))
    while made.progress < 1.0:
        metrics = made.iterate()
    assert metrics["entropy/hub_level_1"] > 2.0 * metrics["entropy/hub_level_0"]


def test_a_component_that_nobody_has_is_refused_with_those_there_are():
    with pytest.raises(ConfigError, match=r"no component is called 'hub\.bids'; there are hub\.bid, hub\.tender"):
        pocket(settings(entropy_of={"hub.bids": (0.1, 0.0)}))


def test_weights_of_components_come_from_flags_and_files_and_survive_a_checkpoint(tmp_path):
    own = ("--team-weight", "0.5", "--lost-weight", "0", "--supply-weight", "0")
    config = parse(["--entropy-of", "hub.bid", "0.1", "0.0", "depot.lot", "0.2", "0.1", *own])
    assert config.ppo.entropy_of == {"hub.bid": (0.1, 0.0), "depot.lot": (0.2, 0.1)}
    (tmp_path / "a.yaml").write_text(to_yaml(config))
    assert read_settings(tmp_path / "a.yaml").ppo == config.ppo
    made = Training(settings(entropy_of={"hub.level_0": (0.1, 0.0)}), Task("toy", IdentityBatch))
    assert from_plain(made.content()["config"]).ppo == made.config.ppo


# --- rewards ----------------------------------------------------------------------------------------------------------


def test_the_teams_share_of_the_reward_learned_from_leaves_the_scenario_alone():
    assert learned_in(settings(team_weight=0.25), SHORT).reward.team_weight == 0.25
    assert learned_in(settings(), SHORT) is SHORT
    assert not pocket(settings(team_weight=0.25)).collector.team


def test_difference_rewards_are_the_cost_without_what_colleagues_spend_on_stock_and_upkeep():
    scenario = replace(LIVING, episode_d=8)
    made = pocket(settings(days=16, reward="difference", settlement=True, **GROUP), scenario)
    made.collector.collect()  # two episodes
    rewards = torch.cat([buffer.rewards for buffer in made.collector.roles.values()], dim=2)  # [T, B, agents]
    per_eur = 1.0 / (made.batch.num_agents * made.batch.reward_scale_eur)
    lines = made.batch.ledger_lines
    own = [lines.index(name) for name in OWN_LINES]
    cost = [i for i, name in enumerate(lines) if name not in NOT_OF_A_DAY]
    for number, part in enumerate(made.collector.episodes):
        ledger = part["final_ledger"]
        found = rewards[8 * number : 8 * number + 8].sum(0).double().numpy() / -per_eur
        spent = ledger[:, :6, own].sum(axis=2)
        for agents in (slice(0, 4), slice(4, 6)):
            others = spent[:, agents].sum(axis=1, keepdims=True) - spent[:, agents]
            np.testing.assert_allclose(
                found[:, agents], ledger[..., cost].sum(axis=(1, 2))[:, None] - others, rtol=1e-5
            )
        assert (spent > 0.0).all()
    settled = made.collector.settle(torch.zeros(16, 8))[7].double()
    torch.testing.assert_close(settled, -per_eur * made.collector.settlements[7], rtol=1e-5, atol=1e-7)
    made.learner.update(made.collector, 0.0, made.generator)


def test_difference_rewards_need_books():
    with pytest.raises(ConfigError, match="difference needs worlds that keep a ledger"):
        toy(settings(reward="difference"))


# --- the tape ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def living():
    """Rotterdam with everything that can go wrong going wrong often."""
    return replace(LIVING, episode_d=30, disruptions=replace(LIVING.disruptions, scale=20.0))


def test_the_tape_ahead_is_what_then_happens_whatever_anyone_does(living):
    batch = HubNetworkVector(living, num_envs=4)
    tape, names = WorldTape(batch), series_names(living)
    policy = make_policy("base_stock", living)
    policy.reset(4, 0)
    obs, info = batch.reset(seed=[5, 5, 6, 7])
    before, day_by_day = tape.ahead(), []
    assert before.shape == (4, tape.size == 2 * len(names) and tape.size)
    assert np.array_equal(before[0], before[1])
    assert not np.array_equal(before[0], before[2])
    for _ in range(max(WINDOWS_D)):
        obs, _, _, _, info = batch.step(policy.act(obs, info["action_mask"]))
        day_by_day.append(tape._reader.day(batch))
    seen = np.array(day_by_day)  # [days, copies, series]
    demand = tape._reader.demand
    for number, window in enumerate(WINDOWS_D):
        expected = seen[:window].mean(axis=0)
        expected[:, :demand] = expected[:, :demand] / tape._mean - 1.0
        part = before[:, number * len(names) : (number + 1) * len(names)]
        np.testing.assert_allclose(part, expected.clip(-CLIP, CLIP), rtol=1e-5, atol=1e-6)
    disturbed = seen[..., demand:].any(axis=(0, 1))
    blocks = {name.partition(":")[0] for name, there in zip(names[demand:], disturbed, strict=True) if there}
    assert {"hub closed", "technicians away", "depot closed", "supplier stopped", "material scarce"} <= blocks


def test_the_critic_reads_the_tape_also_of_the_day_on_which_an_episode_ends():
    made = pocket(settings(days=8, critic_tape=True))
    plain, collector = made.batch.state_space.shape[0], made.collector
    seeds = made.batch.seeds
    made.iterate()
    assert made.learner.critics["central"].trunk[0].in_features == plain + collector.tape.size
    ((day, copies, _, state),) = collector.finals
    assert (day, len(copies)) == (7, 8)
    twin = WorldTape(HubNetworkVector(replace(SHORT, episode_d=9), num_envs=8))
    twin._mean = collector.tape._mean
    twin._batch.reset(seed=seeds)
    twin.ahead()
    expected = twin._at(seeds, np.full(8, 8))
    assert np.array_equal(state[:, plain:].numpy(), expected)
    assert np.array_equal(collector.states[8, :, plain:].numpy(), collector.tape.ahead())  # of the next worlds


def test_a_run_with_a_tape_goes_on_exactly(tmp_path):
    config = replace(settings(days=5, critic_tape=True), total_steps=6 * 8 * 5)
    whole, part = pocket(config), pocket(config)
    for made, iterations in ((whole, 4), (part, 2)):
        for _ in range(iterations):
            made.iterate()
    again = Training(config, part.task)
    again.restore({**part.content(), "state": part.state()}, tmp_path)
    for _ in range(2):
        again.iterate()
    for role, weights in whole.weights().items():
        assert all(torch.equal(value, again.weights()[role][name]) for name, value in weights.items())
    for name, value in whole.learner.critics["central"].state_dict().items():
        assert torch.equal(value, again.learner.critics["central"].state_dict()[name])


def test_the_toy_has_no_tape():
    with pytest.raises(ConfigError, match="needs the worlds of a scenario"):
        toy(settings(critic_tape=True))


# --- the page that explains them --------------------------------------------------------------------------------------


def test_every_setting_stands_in_the_page():
    page = (ROOT / "docs" / "learning.md").read_text()
    cells = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    named = [name for cell in cells for name in re.findall(r"`(\w+)`", cell)]
    assert sorted(named) == sorted(setting_names())
