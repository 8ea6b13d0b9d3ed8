"""The search of the learner's settings: on the toy, and as a user types it."""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import pytest
import yaml
from toy import IdentityBatch, ShownLevels, wrong_shares

from fabmesh.agents.commands.search import SearchConfig, main, search
from fabmesh.agents.commands.searching import optuna_for
from fabmesh.agents.commands.trials import SPACE, Range, Trial, attempt, best_of, study_of, with_settings
from fabmesh.agents.learning.config import (
    ImitationConfig,
    NetworkConfig,
    PpoConfig,
    RolloutConfig,
    TrainConfig,
    validate,
)
from fabmesh.agents.learning.run.session import Task
from fabmesh.agents.learning.run.settings import read_settings
from fabmesh.agents.learning.run.validation import SeedValidator

BASE = TrainConfig(
    total_steps=2 * 160,
    rollout=RolloutConfig(copies=8, group=4, days=20, persistence=1e6, antithetic=True),
    ppo=PpoConfig(
        baseline="group", credit="episode", gamma=1.0, gae_lambda=1.0, residual_learning_rate=0.05, epochs=1,
        minibatches=1, share=0.3,
    ),
    network=NetworkConfig(hidden=(8,), critic_hidden=(8,), spread=0.8, residual=True),
    imitation=ImitationConfig(imitation_copies=2, imitation_days=5, imitation_rounds=1, imitation_epochs=1),
)  # fmt: skip
NAMES = ("residual_learning_rate", "share")


def judge(policy):
    return {"network_cost": 1_000.0 + 20_000.0 * wrong_shares(policy, 4)}


def task():
    shown = ShownLevels(IdentityBatch(1))
    return Task("toy", IdentityBatch, None, SeedValidator(judge, [shown]))


def timeless(trials):
    return [{name: value for name, value in asdict(trial).items() if name != "minutes"} for trial in trials]


def test_settings_are_put_where_they_belong():
    found = with_settings(BASE, {"share": 0.5, "spread": 1.5, "copies": 16})
    assert (found.ppo.share, found.network.spread, found.rollout.copies) == (0.5, 1.5, 16)
    assert found.ppo.residual_learning_rate == BASE.ppo.residual_learning_rate


def test_every_end_of_the_space_is_possible():
    for name, where in SPACE.items():
        for value in (where.low, where.high) if isinstance(where, Range) else where:
            validate(with_settings(replace(BASE, rollout=replace(BASE.rollout, copies=512)), {name: value}))


def test_a_search_begins_with_the_settings_as_they_are_and_comes_out_the_same_again():
    config = SearchConfig(trials=3, names=NAMES, checks=2, quiet=True)
    kept = []
    first = search(config, BASE, task(), [], lambda trials: kept.append(len(trials)))
    assert kept == [1, 2, 3]
    assert first[0].settings == {"residual_learning_rate": 0.05, "share": 0.3}
    assert len({tuple(trial.settings.values()) for trial in first}) == 3
    for trial in first:
        assert len(trial.checks_eur) == 3
        assert trial.checks_eur == sorted(trial.checks_eur, reverse=True)  # of the best checkpoint so far
        assert trial.network_cost_eur == trial.checks_eur[-1]
    assert timeless(search(config, BASE, task(), [], lambda _: None)) == timeless(first)
    more = search(replace(config, trials=4), BASE, task(), first, lambda _: None)
    assert more[:3] == first
    assert len(more) == 4


def test_the_cost_of_a_trial_is_the_mean_over_its_training_seeds():
    seen = []
    runs = [replace(BASE, seed=seed) for seed in (1, 2)]
    trial = attempt(runs, task(), 1, {}, lambda share, cost: seen.append((share, cost)) or False)
    alone = [attempt([run], task(), 1, {}, lambda *_: False).network_cost_eur for run in runs]
    assert trial.network_cost_eur == pytest.approx(np.mean(alone), abs=0.01)
    assert [share for share, _ in seen] == [0.0, 0.5, 0.5]
    assert [cost for _, cost in seen] == trial.checks_eur[:3]
    assert trial.complete


def test_a_trial_is_given_up_when_it_is_told_to():
    trial = attempt([BASE, BASE], task(), 4, {}, lambda share, _: share >= 0.125)
    assert len(trial.checks_eur) == 2
    assert not trial.complete


def known(cost, complete=True):
    settings = {"residual_learning_rate": 0.05, "share": 0.3}
    return Trial(settings, cost, [cost + 10.0, cost + 5.0, cost], [0.0, 0.0], 1.0, complete)


def test_worse_than_the_median_is_given_up_and_the_best_is_of_those_that_were_not():
    trials = [known(100.0 + number) for number in range(5)] + [known(50.0, complete=False)]
    assert best_of(trials) is trials[0]
    optuna = optuna_for("the test")
    space = {name: SPACE[name] for name in NAMES}
    for cost, given_up in ((120.0, True), (90.0, False)):
        asked = study_of(optuna, space, 1, True, {}, trials).ask()
        for check in (0, 1):
            asked.report(cost, check)
        assert asked.should_prune() == given_up
    asked = study_of(optuna, space, 1, False, {}, trials).ask()
    asked.report(120.0, 1)
    assert not asked.should_prune()


def arguments(tmp_path, *more):
    (tmp_path / "settings.yaml").write_text(
        "rollout: {copies: 8, group: 4, days: 0, persistence: 1.0e6, antithetic: true}\n"
        "ppo: {epochs: 1, minibatches: 1, residual_learning_rate: 0.05, gamma: 1.0, gae_lambda: 1.0, baseline: group,\n"
        "      credit: episode, settlement: true}\n"
        "network: {hidden: [8], critic_hidden: [8], spread: 0.8, residual: true}\n"
        "imitation: {imitation_copies: 4, imitation_days: 5, imitation_rounds: 1, imitation_epochs: 1,\n"
        "            critic_iterations: 0}\n"
        "validation: {validation_seeds: 2}\n"
    )
    return [
        "pocket", "--config", str(tmp_path / "settings.yaml"), "--total-steps", "960", "--checks", "1", "--names",
        "spread", "correlation", "--threads", "1", "--out", str(tmp_path / "out"), "--quiet", *more,
    ]  # fmt: skip


def test_a_search_as_a_user_types_it_goes_on_and_keeps_what_can_be_trained_with(tmp_path, capsys):
    assert main(arguments(tmp_path, "--trials", "1")) == 0
    record = tmp_path / "out" / "search.yaml"
    before = yaml.safe_load(record.read_text())
    assert main(arguments(tmp_path, "--trials", "2")) == 0
    assert "best of 2 trials" in capsys.readouterr().out
    content = yaml.safe_load(record.read_text())
    assert content["trials"][0] == before["trials"][0]
    assert len(content["trials"]) == 2
    assert content["of"]["space"]["spread"] == {"from": 0.25, "to": 1.6, "log": False}
    assert content["budget"] == {"total_steps": 960, "max_minutes": None}
    best = content["best"]
    assert best["network_cost_eur"] == min(trial["network_cost_eur"] for trial in content["trials"])
    assert "id001" not in record.read_text()
    found = read_settings(tmp_path / "out" / "settings.yaml")
    assert (found.network.spread, found.rollout.correlation) == tuple(best["settings"].values())

    assert main(arguments(tmp_path, "--trials", "2", "--seeds", "3")) == 2
    assert "holds a search with another training_seeds; choose another --out" in capsys.readouterr().err
    record.write_text("trials: 3")
    assert main(arguments(tmp_path)) == 2
    assert "is no search that can go on" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--names", "gamma"], "--names gamma: is not searched; there are residual_learning_rate, spread,"),
        (["--trials", "0"], "--trials 0: at least 1 is needed"),
        (["--names", "group"], "group: 8 is not possible; allowed: a divisor of copies (4)"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(tmp_path, only_error, more, message):
    given = arguments(tmp_path, *more)
    text = (tmp_path / "settings.yaml").read_text()
    (tmp_path / "settings.yaml").write_text(text.replace("copies: 8, group: 4", "copies: 4, group: 4"))
    assert main(given) == 2
    assert message in only_error()
    assert not (tmp_path / "out").exists()
