"""Variants by name: the shipped table, wrong tables, and the command that trains and judges them."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import fabmesh
from fabmesh.agents.commands import train as cli
from fabmesh.agents.commands.ablate import AblateConfig, main, plans
from fabmesh.agents.evaluation.judge.protocol import evaluate
from fabmesh.agents.evaluation.judge.seeds import seed_set
from fabmesh.agents.learning.config import ConfigError
from fabmesh.agents.learning.run.checkpoint import LAST, read
from fabmesh.agents.learning.run.settings import parse
from fabmesh.agents.learning.run.variants import SHIPPED, chosen, read_variants
from fabmesh.agents.registry import make_policy
from fabmesh.envs.errors import FabmeshError
from fabmesh.envs.network.loading import load_scenario
from fabmesh.envs.scenarios.orders import order_lines
from fabmesh.envs.vector import HubNetworkVector

VARIANTS = read_variants(SHIPPED)
NETWORKS = [name for name, variant in VARIANTS.items() if variant.scenario]
POCKET = load_scenario("pocket")
SETTINGS = """
rollout: {copies: 8, group: 4, days: 0, persistence: 1.0e6, antithetic: true}
ppo: {epochs: 1, minibatches: 1, residual_learning_rate: 0.2, gamma: 1.0, gae_lambda: 1.0, baseline: group,
      credit: episode, settlement: true}
network: {hidden: [8], critic_hidden: [8], spread: 0.8, residual: true}
imitation: {teacher: tuned, imitation_copies: 4, imitation_days: 10, imitation_rounds: 1, imitation_epochs: 2,
            critic_iterations: 0}
validation: {validation_seeds: 2, validation_every: 9}
"""


# --- the shipped table ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scenario", ["pocket", "rotterdam", "benelux"])
def test_every_shipped_variant_can_be_trained_on_every_shipped_scenario(scenario):
    base = parse(["--scenario", scenario])
    found = {name: variant.settings(base) for name, variant in VARIANTS.items() if variant.train}
    assert found["shipped"] == base
    for name, settings in found.items():
        changed = settings != base or VARIANTS[name].scenario
        assert changed or name == "shipped", f"{name} changes nothing"
    assert found["critic_tape"] == replace(found["critic"], ppo=replace(found["critic"].ppo, critic_tape=True))


@pytest.mark.parametrize("scenario", ["pocket", "rotterdam"])
@pytest.mark.parametrize("name", NETWORKS)
def test_rules_play_in_every_changed_network(scenario, name):
    network = VARIANTS[name].network(replace(load_scenario(scenario), episode_d=3))
    batch, policy = HubNetworkVector(network, num_envs=2), make_policy("tuned", network)
    policy.reset(2, 0)
    obs, info = batch.reset(seed=1)
    for _ in range(3):
        obs, _, _, truncated, info = batch.step(policy.act(obs, info["action_mask"]))
    assert truncated.all()


def test_changed_networks_have_the_orders_of_the_network_as_it_is():
    short = replace(POCKET, episode_d=20)
    before = order_lines(short, 11)
    for name in NETWORKS:
        assert order_lines(VARIANTS[name].network(short), 11) == before, name


def test_in_the_networks_without_it_nobody_bids_prices_or_sells():
    found = {}
    for name in ("no_bidding", "fixed_quotes", "no_depots"):
        network = VARIANTS[name].network(POCKET)
        batch = HubNetworkVector(network)
        found[name] = {f"{role}.{block.name}" for role in batch.roles for block in batch.spec[role].components}
        batch.reset(seed=3)
        idle = {role: np.zeros((1, *space.shape), np.int64) for role, space in batch.single_action_space.items()}
        idle = {role: np.repeat(idle[role][:, None], len(batch.agents[role]), axis=1) for role in idle}
        batch.step(idle)
        bids, quotes = batch.arrays.hub_tech["bid"], batch.arrays.depot_mat["quote"]
        if name == "no_bidding":
            assert POCKET.actions.bid_markups[bids.max() - 1] == 0.0
        elif name == "fixed_quotes":
            assert {POCKET.actions.depot_quote[level - 1] for level in quotes.ravel()} == {0.02}
        else:
            assert not quotes.any()
    everything = set.union(*found.values())
    assert everything - found["no_bidding"] == {"hub.bid", "hub.tender"}
    assert everything - found["fixed_quotes"] == {"depot.quote"}
    assert everything - found["no_depots"] == {"depot.quote", "depot.trigger"}


# --- tables of one's own ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a\n", "must hold `name: {about: ..., train: ...}` entries"),
        ("a: [\n", "not valid YAML"),
        ("a: 3\n", ":1: variant a: must be a mapping with about, like, train"),
        ("a: {about: x, trian: {}}\n", ":1: variant a: 'trian' is unknown; did you mean 'train'?"),
        ("a: {about: x, train: 3}\n", ":1: variant a: train: 3 is not a mapping of settings"),
        ("a: {train: {}}\n", ":1: variant a: about is missing"),
        ("a: {about: x}\n", ":1: variant a: needs one of train (settings), policy (a rule) or of"),
        ("a: {about: x, train: {}, policy: tuned}\n", ":1: variant a: needs one of"),
        ("a: {about: x, train: {}}\na: {about: x, train: {}}\n", ":2: a: the key is given twice, first in line 1"),
        ("a: {about: x, of: b}\nb: {about: x, train: {}}\n", ":1: variant a: of: 'b' is unknown"),
        (
            "plain: {about: x, train: {}}\na: {about: x, like: plan, train: {}}\n",
            ":2: variant a: like: 'plan' is unknown; did you mean 'plain'?",
        ),
        ("a:\n  about: x\n  about: y\n  train: {}\n", ":3: a.about: the key is given twice, first in line 2"),
        ("a: {about: x, train: {ppo: {clip: 2026-01-01}}}\n", ":1: a.train.ppo.clip: YAML reads 2026-01-01 as a date"),
        ("a: {about: x, train: {ppo: {epochs: " + "9" * 5000 + "}}}\n", "has more than 18 digits"),
        ("a: &a {about: x, train: *a}\n", "the alias refers to a value that contains it"),
        ("yes: {about: x, train: {}}\n", ":1: YAML reads the key yes as true or false; quote it"),
        ("b: {about: x, train: {}}\na: {about: x, of: b, scenario: {}}\n", ":2: variant a: of: plays as b does"),
    ],
)
def test_a_wrong_table_is_refused_with_file_line_and_remedy(tmp_path, text, message):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(FabmeshError) as error:
        read_variants(path)
    assert str(error.value).startswith(str(path))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("train: {ppo: {gama: 1}}", ":1: unknown key 'gama'; did you mean 'gamma'? allowed: "),
        ("train: {ppo: {gamma: 2.0}}", ":1: gamma: 2.0 is not possible; allowed: a share from 0 to 1 (variant a)"),
        (
            "train: {}, scenario: {markt: {}}",
            ":1: variant a: scenario.markt: 'markt' is unknown; did you mean 'mark",
        ),
        ("train: {}, scenario: {market: {payment: third}}", "market.payment"),
        ("train: {}, scenario: {actions: {switched_off: {hub.bid: 9}}}", "actions.switched_off.hub.bid"),
    ],
)
def test_a_wrong_value_of_a_variant_is_refused_with_its_place(tmp_path, entry, message):
    path = tmp_path / "mine.yaml"
    path.write_text(f"a: {{about: x, {entry}}}\n")
    (variant,) = chosen(read_variants(path), (), path)
    base = parse(["--scenario", "pocket"])
    with pytest.raises(FabmeshError) as error:
        (variant.network(POCKET), variant.settings(base))
    assert str(error.value).startswith(f"{path}:1: ")
    assert message in str(error.value)


# --- the command ------------------------------------------------------------------------------------------------------


def table(tmp_path):
    (tmp_path / "settings.yaml").write_text(SETTINGS)
    (tmp_path / "table.yaml").write_text(
        "base: {about: as it is, train: {}}\n"
        "sampled: {about: drawn, of: base, sampled: true}\n"
        "start: {about: imitation, train: {total_steps: 0}}\n"
        "no_bidding: {about: at cost, train: {}, scenario: {actions: {switched_off: {hub.bid: 2, hub.tender: 2}}}}\n"
        "rule: {about: tuned in it, like: no_bidding, policy: tuned}\n"
        "more: {about: other orders, train: {}, scenario: {demand: {catalogue_level: 9.0}}}\n"
    )
    return [
        "pocket", "--config", str(tmp_path / "settings.yaml"), "--table", str(tmp_path / "table.yaml"), "--out",
        str(tmp_path / "out"), "--total-steps", "480", "--episodes", "4", "--threads", "1", "--quiet",
    ]  # fmt: skip


def test_variants_are_trained_once_and_judged_on_the_same_worlds(tmp_path, capsys):
    names = ["base", "sampled", "start", "no_bidding", "rule"]
    arguments = [*table(tmp_path), "--seeds", "1", "2", "--variants", *names]
    assert main(arguments) == 0
    shown = capsys.readouterr().out
    assert "pocket: 4 test worlds, kEUR per episode: network cost less tuned's" in shown
    assert "the same less base's" in shown
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    by_name = {variant["name"]: variant for variant in found["variants"]}
    assert list(by_name) == names
    assert [len(variant["judged"]) for variant in found["variants"]] == [2, 2, 2, 2, 1]
    assert by_name["base"]["less_first"]["network_cost"] == 0.0
    seeds = seed_set("test", 4).seeds
    reference = evaluate(make_policy("tuned", POCKET), POCKET, seeds).measures["network_cost"]
    network = read_variants(tmp_path / "table.yaml")["no_bidding"].network(POCKET)
    for name, world in (("base", POCKET), ("sampled", POCKET), ("no_bidding", network), ("rule", network)):
        costs = np.array(
            [evaluate(make_policy(source, world), world, seeds).measures["network_cost"]
             for source in by_name[name]["judged"]]
        )  # fmt: skip
        assert by_name[name]["network_cost"]["run_means"] == pytest.approx(costs.mean(axis=1))
        less = by_name[name]["less_reference"]
        assert less["network_cost"] == pytest.approx(costs.mean() - reference.mean())
        assert less["ci95"][0] <= less["network_cost"] <= less["ci95"][1]
    assert "| base | 2 |" in (tmp_path / "out" / "table.md").read_text()

    runs = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*/last.pt")}
    assert len(runs) == 6  # base, start and no_bidding with two seeds; sampled plays base's
    before = (tmp_path / "out" / "results.json").read_text()
    assert main(arguments) == 0
    assert {path: path.stat().st_mtime_ns for path in runs} == runs
    assert (tmp_path / "out" / "results.json").read_text() == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--variants", "bas"], "--variants bas: "),
        (["--variants", "more"], "variant more: changes what the orders cost at standard"),
        (["--seeds", "1", "1"], "--seeds 1 1: give different numbers of at least 0"),
        (["--episodes", "1"], "--episodes 1: at least 2"),
        (["--episodes", "99999999999999999999"], "at most 100,000 can be"),
        (["--seeds", "18446744073709551616"], "give different numbers of at least 0, at most 4,294,967,295"),
        (["--minutes", "inf", "--variants", "base"], "max_minutes: inf is not possible; allowed: above 0, at most"),
        (["--episodes", "999"], "the test space has 256 named seeds"),
        (["--minutes", "0", "--variants", "base"], "max_minutes: 0.0 is not possible; allowed: above 0"),
        (["--reference", "tunde"], "unknown policy 'tunde'"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2_before_any_training(tmp_path, only_error, arguments, message):
    assert main([*table(tmp_path), *arguments]) == 2
    assert message in only_error()
    assert not (tmp_path / "out").exists()


def test_what_an_algorithm_cannot_train_is_left_out_of_all_and_refused_by_name(capsys):
    config = AblateConfig("pocket", algo="ippo")
    names = [plan.variant.name for plan in plans(config, POCKET, Path("out"))]
    assert names == [name for name in VARIANTS if name != "critic_tape"]
    assert "left out: " in capsys.readouterr().err
    with pytest.raises(ConfigError, match=r"critic_tape: True is not possible; .*\(variant critic_tape\)"):
        plans(replace(config, variants=("critic_tape",)), POCKET, Path("out"))


def test_the_shipped_table_is_in_the_package():
    assert Path(fabmesh.__file__).parent / "configs" / "ablations.yaml" == SHIPPED


def test_a_command_that_was_stopped_goes_on(tmp_path, capsys, monkeypatch):
    arguments = [*table(tmp_path), "--total-steps", "960", "--variants", "base"]
    plain = cli.session_for

    def interrupted(config, task):
        session = plain(config, task)
        iterate = session.iterate

        def stopped():
            os.kill(os.getpid(), signal.SIGINT)
            return iterate()

        session.iterate = stopped
        return session

    with monkeypatch.context() as patched:
        patched.setattr(cli, "session_for", interrupted)
        assert main(arguments) == 130
    (run,) = (tmp_path / "out").iterdir()
    assert capsys.readouterr().err == f"stopped in {run}; the same command goes on from there\n"
    assert read(run / LAST)["state"]["steps"] == 480
    assert main(arguments) == 0
    assert read(run / LAST)["state"]["steps"] == 960
