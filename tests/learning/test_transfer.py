"""A policy that is moved to another network keeps what it knows by name, and another training can begin from it."""

from __future__ import annotations

import csv
import shlex
import shutil
from dataclasses import replace

import pytest
import torch
from toy import IdentityBatch

from fabmesh.agents.commands.train import main
from fabmesh.agents.learning.algorithms.training import Training
from fabmesh.agents.learning.config import ImitationConfig, NetworkConfig, PpoConfig, RolloutConfig, TrainConfig
from fabmesh.agents.learning.policy.networks import RolePolicy
from fabmesh.agents.learning.policy.transfer import DoesNotFitError, Names, moved
from fabmesh.agents.learning.run import checkpoint
from fabmesh.agents.learning.run.session import Task
from fabmesh.envs.errors import FabmeshError
from fabmesh.envs.network.interface.spec import role_specs
from fabmesh.envs.network.loading import load_scenario
from fabmesh.envs.vector import HubNetworkVector

SCENARIOS = ("pocket", "rotterdam", "benelux")
SPECS = {name: role_specs(load_scenario(name)) for name in SCENARIOS}
NETWORK = NetworkConfig(
    hidden=(16, 16), item_width=8, standardise=True, spread=0.8, residual=True, agent_embedding=True
)
ROLES = ("hub", "depot")


def policy(scenario, role, network=NETWORK):
    """A policy of which every weight is something."""
    torch.manual_seed(1)
    made = RolePolicy(SPECS[scenario][role], network)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_(std=0.3)
    made.calibrate(torch.randn(50, SPECS[scenario][role].num_features))
    if made.residual is not None:
        with torch.no_grad():  # what fills a row up is never read, and stays at zero in training
            read = made.residual.weight > 0.0
            firsts = [block.start for block in SPECS[scenario][role].components]
            for weights, used in ((made.residual.of_block, read[firsts]), (made.residual.of_item, read),
                                  (made.residual.of_agent, read)):  # fmt: skip
                weights[..., 1:] *= used
    return made


def move(made, there, here, role, network=NETWORK, same_agents=False):
    spec, spec_here = SPECS[there][role], SPECS[here][role]
    target = RolePolicy(spec_here, network)
    weights = moved(made.state_dict(), Names.of(spec), target, Names.of(spec_here), same_agents)
    target.load_state_dict(weights)
    return target


def without_agents(made):
    """The policy with the mean of what is the agents' own given to each of them."""
    with torch.no_grad():
        for own in (made.embedding, made.residual.of_agent):
            own.copy_(own.mean(dim=0, keepdim=True).expand_as(own))
    return made


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_moved_to_where_it_is_it_stays_the_same_to_the_last_bit(scenario, role):
    before = policy(scenario, role)
    after = move(before, scenario, scenario, role, same_agents=True)
    for name, value in before.state_dict().items():
        assert torch.equal(after.state_dict()[name], value), name


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("network", [NETWORK, NetworkConfig(hidden=(16,), item_width=8, agent_embedding=True)])
def test_in_a_larger_network_agents_do_what_those_of_the_smaller_do_on_average(role, network):
    before = policy("rotterdam", role, network)
    after = move(before, "rotterdam", "benelux", role, network)
    assert not after.embedding.any()
    with torch.no_grad():
        before.embedding.copy_(before.embedding.mean(dim=0, keepdim=True).expand_as(before.embedding))
        if before.residual is not None:
            without_agents(before)
            assert not after.residual.of_agent.any()
    seen = torch.randn(5, 1, SPECS["benelux"][role].num_features)
    agents = [len(SPECS[name][role].agents) for name in ("rotterdam", "benelux")]
    with torch.no_grad():
        logits, logits_here = (p(seen.expand(-1, n, -1)) for p, n in zip((before, after), agents, strict=True))
    torch.testing.assert_close(logits_here, logits[:, :1].expand_as(logits_here), rtol=1e-4, atol=1e-4)


def in_reverse(role):
    """The layout of rotterdam with technologies, materials and products in the opposite order."""
    scenario = load_scenario("rotterdam")
    kinds = ("technologies", "materials", "products")
    return role_specs(replace(scenario, **{kind: getattr(scenario, kind)[::-1] for kind in kinds}))[role]


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("other", ["pocket", "in reverse"])
def test_items_are_known_by_name(role, other):
    before = without_agents(policy("rotterdam", role))
    for mean in (before.mean, before.residual.mean):
        mean.zero_()  # so that what is not seen in the smaller network counts nothing in the larger
    spec = SPECS["rotterdam"][role]
    spec_here = in_reverse(role) if other == "in reverse" else SPECS["pocket"][role]
    names, here = Names.of(spec), Names.of(spec_here)
    after = RolePolicy(spec_here, NETWORK)
    after.load_state_dict(moved(before.state_dict(), names, after, here, same_agents=False))
    columns = [names.features.index(name) for name in here.features]
    assert columns != list(range(len(columns)))
    seen = torch.zeros(4, 1, len(names.features))
    seen[..., columns] = torch.randn(4, 1, len(columns))
    with torch.no_grad():
        logits = before(seen.expand(-1, len(spec.agents), -1))[:, 0]
        logits_here = after(seen[..., columns].expand(-1, len(spec_here.agents), -1))[:, 0]
    for place, (block, item) in enumerate(here.components):
        levels = [names.levels[block].index(level) for level in here.levels[block]]
        expected = logits[:, names.components.index((block, item)), levels]
        torch.testing.assert_close(logits_here[:, place, : len(levels)], expected, rtol=1e-4, atol=1e-4)


def test_what_is_new_counts_nothing_and_new_items_are_like_the_mean_of_the_known():
    before = policy("pocket", "hub")
    spec, spec_here = SPECS["pocket"]["hub"], SPECS["rotterdam"]["hub"]
    names = Names.of(spec)
    with pytest.raises(DoesNotFitError, match="component 'upkeep' is not among those it sets"):
        move(before, "pocket", "rotterdam", "hub")
    target = RolePolicy(WithoutUpkeep(spec_here), NETWORK)
    here = Names.of(WithoutUpkeep(spec_here))
    after = moved(before.state_dict(), names, target, here, same_agents=False)
    new = [place for place, name in enumerate(here.features) if name not in names.features]
    old = [place for place, name in enumerate(here.features) if name in names.features]
    assert not after["first.weight"][:, new].any()
    assert after["first.weight"][:, old].all()
    for place, (block, _) in enumerate(here.features):
        known = [before.scale[column] for column, name in enumerate(names.features) if name[0] == block]
        torch.testing.assert_close(after["scale"][place], torch.stack(known).mean() if known else torch.ones(()))
    offset = dict(before.state_dict())["heads.cover.offset"]
    items, items_here = names.items("cover"), here.items("cover")
    for item, row in zip(items_here, after["heads.cover.offset"], strict=True):
        expected = offset[items.index(item)] if item in items else offset.mean(dim=0)
        torch.testing.assert_close(row, expected)
    constant = after["residual.of_item"][:, 0]
    own = (before.residual.of_item + before.residual.of_agent.mean(dim=0))[:, 0]
    covers = [own[place] for place, (block, _) in enumerate(names.components) if block == "cover"]
    new_cover = next(p for p, (block, item) in enumerate(here.components) if block == "cover" and item not in items)
    torch.testing.assert_close(constant[new_cover], torch.stack(covers).mean())


class WithoutUpkeep:
    """A layout without the components of a mechanism, as `actions.switched_off` gives it."""

    def __init__(self, spec):
        self.agents, self.features, self.num_features = spec.agents, spec.features, spec.num_features
        self.components = tuple(block for block in spec.components if block.name != "upkeep")
        self.nvec = spec.nvec[: sum(block.count for block in self.components)]


def test_levels_that_stand_for_something_else_are_refused():
    spec = SPECS["rotterdam"]["hub"]
    names = Names.of(spec)
    other = replace(names, levels=dict(names.levels) | {"overtime": ("0", "0.5", "1")})
    with pytest.raises(DoesNotFitError, match=r"component 'overtime' has the levels 0, 0.5, 1; not 0, 0.25, 0.5"):
        moved(policy("rotterdam", "hub").state_dict(), other, RolePolicy(spec, NETWORK), names, same_agents=False)


def written(path, scenario="rotterdam", network=NETWORK, kind="mappo", **change):
    """A checkpoint of a policy that nobody has trained."""
    weights = {role: policy(scenario, role, network).state_dict() for role in ROLES}
    config = TrainConfig(scenario=scenario, network=network)
    content = checkpoint.policy_content(kind, scenario, SPECS[scenario], config, weights) | change
    checkpoint.write(path, content)
    return path


def test_a_checkpoint_acts_in_a_larger_network_and_its_name_says_where_it_is_from(tmp_path):
    (tmp_path / "a").mkdir()
    written(tmp_path / "a" / "best.pt")
    scenario = load_scenario("benelux")
    moved_policy = checkpoint.load_policy(tmp_path / "a", scenario, sample=True)
    assert moved_policy.name == "a, trained for rotterdam:sample"
    batch = HubNetworkVector(scenario, num_envs=2)
    moved_policy.reset(2, 0)
    obs, info = batch.reset(seed=3)
    for _ in range(3):
        levels = moved_policy.act(obs, info["action_mask"])
        assert {role: value.shape for role, value in levels.items()} == {
            role: (2, len(spec.agents), len(spec.nvec)) for role, spec in SPECS["benelux"].items()
        }
        obs, _, _, _, info = batch.step(levels)
    assert checkpoint.load_policy(tmp_path / "a", load_scenario("rotterdam")).name == "a"


def test_a_checkpoint_that_does_not_name_its_items_fits_the_same_layout_alone(tmp_path):
    path = written(tmp_path / "x.pt")
    content = checkpoint.read(path)
    for of_role in content["signature"].values():
        del of_role["names"]
    weights = checkpoint.fitting_weights(content, path, "benelux", SPECS["benelux"])
    named = checkpoint.fitting_weights(checkpoint.read(path), path, "benelux", SPECS["benelux"])
    assert all(torch.equal(weights["hub"][name], value) for name, value in named["hub"].items())
    with pytest.raises(FabmeshError, match=r"hub features 'has_lane' has size 6, not 3, and the file does not name"):
        checkpoint.fitting_weights(content, path, "pocket", SPECS["pocket"])


def test_items_of_other_names_do_not_pass_for_the_same(tmp_path):
    path = written(tmp_path / "x.pt", "pocket")
    content = checkpoint.read(path)
    features = content["signature"]["hub"]["names"]["features"]
    assert features[4] == ["has_lane", ["FDM", "CNC", "laser"]]
    features[4][1][0] = "SLA"
    with pytest.raises(FabmeshError, match="hub features 'has_lane' names 'SLA' where this scenario has 'FDM'"):
        checkpoint.require_fit(content, path, "pocket", SPECS["pocket"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "sb3_ppo"}, r"a policy of sb3_ppo; only those of mappo and ippo go on"),
        ({"weights": {"hub": {}, "depot": {}}}, "hub its networks have no mean"),
        ({"weights": {}}, r"is damaged \('hub'\)"),
        (
            {"network": NetworkConfig(hidden=(8,))},
            "add --hidden 8 --item-width 32 --no-standardise --spread 0.0 --no-residual",
        ),
    ],
)
def test_what_cannot_be_begun_from_is_refused_in_one_line(tmp_path, change, message):
    network = change.pop("network", NETWORK)
    path = written(tmp_path / "x.pt", network=network, **change)
    with pytest.raises(FabmeshError, match=message) as error:
        checkpoint.starting_weights(path, "benelux", SPECS["benelux"], NETWORK)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


def begun(start, iterations):
    """A training on the toy that begins from weights, if any; a resumed one is given none."""
    config = TrainConfig(
        init_from="a",
        total_steps=iterations * 64,
        rollout=RolloutConfig(copies=8, group=4, days=8),
        ppo=PpoConfig(learning_rate=1e-2),
        network=NetworkConfig(hidden=(8,), critic_hidden=(8,), agent_embedding=True),
        imitation=ImitationConfig(critic_iterations=1),
    )
    return Training(config, Task("toy", IdentityBatch, start=start))


def advance(training, iterations):
    """Learn, and say what the policies have become after each iteration."""
    seen = []
    for _ in range(iterations):
        training.iterate()
        seen.append(torch.cat([value.flatten() for role in training.weights().values() for value in role.values()]))
    return seen


def test_a_training_that_begins_from_another_goes_on_exactly_when_resumed(tmp_path):
    source = begun(None, 1)
    source.policies["hub"].first.bias.data.fill_(0.3)
    start = {role: dict(weights) for role, weights in source.weights().items()}
    whole = begun(start, 4)
    whole.start()
    assert all(torch.equal(whole.weights()["hub"][name], value) for name, value in start["hub"].items())
    first, *others = advance(whole, 4)
    assert torch.equal(first, torch.cat([value.flatten() for role in start.values() for value in role.values()]))
    assert not torch.equal(first, others[0])  # after one iteration in which critics alone have learned

    part = begun(start, 4)
    part.start()
    advance(part, 2)
    checkpoint.write(tmp_path / "last.pt", {**part.content(), "state": part.state()})
    resumed = begun(None, 4)
    resumed.restore(checkpoint.read_whole(tmp_path / "last.pt", resumable=True), tmp_path / "last.pt")
    assert all(torch.equal(one, other) for one, other in zip(advance(resumed, 2), others[1:], strict=True))


def test_a_run_that_begins_from_another_starts_at_its_score(tmp_path, capsys):
    tiny = shlex.split(
        "--scenario pocket --copies 4 --group 2 --days 10 --total-steps 40 --persistence 1 --credit day --hidden 8 "
        "--share 1 --critic-hidden 8 --imitation-days 5 --imitation-rounds 1 --imitation-epochs 1 "
        "--validation-seeds 2 --env-threads 1"
    )
    first, second = tmp_path / "first", tmp_path / "second"
    assert main([*tiny, "--run-dir", str(first)]) == 0
    begin = [*tiny, "--seed", "2", "--init-from", str(first / "last.pt"), "--run-dir", str(second)]
    assert main(begin) == 0
    assert "imitating" not in capsys.readouterr().err.rpartition("compiled")[2]
    with (first / "progress.csv").open() as one, (second / "progress.csv").open() as other:
        end, start = list(csv.DictReader(one))[-1], next(iter(csv.DictReader(other)))
    assert start["steps"] == "0"
    assert start["validation/network_cost_mode"] == end["validation/network_cost_mode"] != ""
    content = checkpoint.read_whole(second / "last.pt", resumable=True)
    assert content["config"]["init_from"] == str(first / "last.pt")
    shutil.rmtree(first)  # the run holds all it needs
    assert main(["--resume", "--run-dir", str(second), "--total-steps", "80"]) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--init-from", "nowhere"], "--init-from: nowhere: no such checkpoint; give a run directory or a .pt"),
        (
            ["--init-from", "shipped:atlantis"],
            "--init-from: policy 'shipped:atlantis': no trained policy of that name comes with the package",
        ),
        (["--init-from", "a", "--algo", "sb3_ppo"], "--init-from: 'a' is not possible; allowed: with mappo and ippo"),
    ],
)
def test_a_wrong_start_is_refused(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert main(["--scenario", "pocket", *arguments]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert line.startswith(f"error: {message}")
    assert not list(tmp_path.iterdir())
