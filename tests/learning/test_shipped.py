"""Trained policies that come with the package: made of a run, known again by their hash, judged by their name."""

from __future__ import annotations

import shlex
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import fabmesh
from fabmesh.agents.commands import ship as tool
from fabmesh.agents.commands import train as cli
from fabmesh.agents.evaluation.judge.entries import parse_entries
from fabmesh.agents.evaluation.judge.manifest import hashes_of
from fabmesh.agents.evaluation.judge.protocol import evaluate
from fabmesh.agents.evaluation.judge.seeds import seed_set
from fabmesh.agents.evaluation.show.curves import steps_of_run
from fabmesh.agents.learning.run import checkpoint, shipped
from fabmesh.agents.learning.run.settings import as_plain, command_of, parse
from fabmesh.agents.registry import make_policy, names, scenario_of
from fabmesh.envs.errors import FabmeshError
from fabmesh.envs.network.loading import load_scenario
from fabmesh.envs.network.schema.scenario import fingerprint
from fabmesh.envs.scenarios.dump import scenario_to_yaml
from fabmesh.envs.terminal import Terminal
from fabmesh.evaluate import main as evaluate_main

ROOT = Path(fabmesh.__file__).parent
TINY = shlex.split(
    "--scenario pocket --copies 4 --group 2 --days 10 --total-steps 40 --persistence 1 --credit day --hidden 8 "
    "--share 1 --critic-hidden 8 --imitation-days 5 --imitation-rounds 1 --imitation-epochs 1 "
    "--validation-seeds 2 --env-threads 1"
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two training runs of seconds."""
    folder = tmp_path_factory.mktemp("runs")
    for seed in ("1", "2"):
        assert cli.main([*TINY, "--seed", seed, "--run-dir", str(folder / seed)]) == 0
    return [folder / "1", folder / "2"]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A package in which nothing is shipped."""
    monkeypatch.setattr(shipped, "DIRECTORY", tmp_path / "checkpoints")
    return tmp_path / "checkpoints"


@pytest.fixture
def pocket(place, runs):
    """One in which the better of the two runs is."""
    tool.ship(tool.ShipConfig(tuple(runs)), Terminal(80, quiet=True))
    return place


def test_the_better_run_is_shipped_with_what_made_it(pocket, runs):
    costs = [checkpoint.read(run)["validation"]["validation/network_cost_mode"] for run in runs]
    best = runs[costs.index(min(costs))]
    (entry,) = shipped.index().values()
    assert entry.validation["network_cost_eur"] == pytest.approx(min(costs), rel=1e-12)
    assert entry.validation["against"] == "tuned"
    assert entry.scenario_sha256 == fingerprint(load_scenario("pocket"))
    assert {path.name for path in pocket.iterdir()} == {"checkpoints.yaml", "pocket.pt"}
    command = shlex.split(entry.trained["command"])
    assert command[0] == "fabmesh-train"
    content = checkpoint.read(best)
    assert as_plain(replace(parse(command[1:]), run_dir=best)) == content["config"]
    assert entry.trained["command"] == content["command"]
    assert entry.trained["commit"] == content["commit"]
    kept = checkpoint.read(pocket / "pocket.pt")
    assert set(kept) == {"format", "kind", "scenario", "signature", "agents", "config", "weights"}
    for role, weights in kept["weights"].items():
        assert all(torch.equal(value, content["weights"][role][name]) for name, value in weights.items())


def test_a_shipped_policy_is_judged_by_its_name(pocket, capsys):
    assert names()[-1] == "shipped:pocket"
    given = ["shipped:pocket", "shipped:pocket:sample", "a=shipped:pocket"]
    judged = ["--scenario", "pocket", "--seeds", "train", "--episodes", "2", "--quiet"]
    assert evaluate_main([*judged, "--policies", *given]) == 0
    rows = [line.split()[0] for line in capsys.readouterr().out.splitlines() if " local " in line]
    assert rows == ["shipped:pocket", "shipped:pocket:sample", "a"]
    assert scenario_of("shipped:pocket:sample") == "pocket"
    assert steps_of_run("shipped:pocket:sample") == shipped.index()["pocket"].trained["steps"]
    entries = parse_entries(given)
    assert all(entry.trained for entry in entries)
    assert set(hashes_of(entries, load_scenario("pocket")).values()) == {shipped.index()["pocket"].sha256}
    with pytest.raises(SystemExit):
        evaluate_main(["--help"])
    assert "shipped:pocket" in capsys.readouterr().out


def test_its_name_says_if_it_was_trained_for_other_numbers(pocket):
    scenario = load_scenario("pocket")
    assert make_policy("shipped:pocket", scenario).name == "shipped:pocket"
    changed = replace(scenario, episode_d=scenario.episode_d + 1)
    assert make_policy("shipped:pocket", changed).name == "shipped:pocket, trained for another pocket"
    assert make_policy("shipped:pocket:sample", changed).name == "shipped:pocket, trained for another pocket:sample"
    assert make_policy("shipped:pocket", replace(scenario, name="delta")).name == "shipped:pocket"


def test_a_file_that_has_changed_is_refused(pocket):
    path = pocket / "pocket.pt"
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(
        FabmeshError, match=r"pocket.pt is not the file that was shipped: its sha256 is \w{12}, "
    ) as error:
        make_policy("shipped:pocket", load_scenario("pocket"))
    assert str(error.value).endswith("install fabmesh again")
    path.unlink()
    with pytest.raises(FabmeshError, match=r"pocket.pt: cannot be read \(No such file or directory\)"):
        make_policy("shipped:pocket", load_scenario("pocket"))


def test_what_is_not_shipped_says_what_is(pocket):
    with pytest.raises(FabmeshError, match=r"'shipped:benelux': no trained policy .*; there are shipped:pocket$"):
        make_policy("shipped:benelux", load_scenario("benelux"))
    with pytest.raises(FabmeshError, match="did you mean 'shipped:pocket'"):
        make_policy("shiped:pocket", load_scenario("pocket"))


def test_where_nothing_is_shipped_it_says_so(place):
    assert shipped.names() == ()
    with pytest.raises(FabmeshError, match="there are none in this version"):
        make_policy("shipped:pocket", load_scenario("pocket"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pocket: [", "is not valid YAML"),
        ("- a", "must hold an entry for each policy"),
        ("pocket: {file: a.pt}", "pocket: must have file, sha256, scenario, scenario_sha256, trained, validation"),
        ("pocket: {file: 3, sha256: '', scenario: '', scenario_sha256: '', trained: {}, validation: {}}",
         "pocket.file = 3: must be text"),
        ("pocket: {file: ../a.pt, sha256: '', scenario: '', scenario_sha256: '', trained: {}, validation: {}}",
         "pocket.file = '../a.pt': must be the name of a file beside it"),
    ],
)  # fmt: skip
def test_a_wrong_index_is_refused_in_one_line(place, text, message):
    place.mkdir()
    (place / "checkpoints.yaml").write_text(text)
    with pytest.raises(FabmeshError) as error:
        make_policy("shipped:pocket", load_scenario("pocket"))
    assert str(error.value).startswith(f"{place / 'checkpoints.yaml'}:")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def with_change(run, tmp_path, **change):
    content = checkpoint.read(run) | change
    checkpoint.write(tmp_path / "x.pt", {name: value for name, value in content.items() if value is not None})
    return tmp_path / "x.pt"


def test_a_run_that_cannot_be_shipped_is_refused_and_nothing_changes(pocket, runs, tmp_path, capsys):
    before = {path: path.read_bytes() for path in pocket.iterdir()}
    validation = checkpoint.read(runs[0])["validation"]
    other = with_change(runs[0], tmp_path, validation=validation | {"validation/network_cost_mode": 1e4})
    assert tool.main([str(other)]) == 2
    assert "EUR on its validation worlds, not 10,000 as when it was trained" in capsys.readouterr().err
    assert tool.main([str(with_change(runs[0], tmp_path, validation=None))]) == 2
    assert "does not say what it costs on validation worlds" in capsys.readouterr().err
    assert tool.main([str(with_change(runs[0], tmp_path, kind="sb3_ppo"))]) == 2
    assert "a policy of sb3_ppo needs a library that the package does without" in capsys.readouterr().err
    own = tmp_path / "own.yaml"
    own.write_text(scenario_to_yaml(replace(load_scenario("pocket"), name="../../outside")))
    assert tool.main([str(with_change(runs[0], tmp_path, scenario=str(own)))]) == 2
    assert (
        "was trained on no scenario that comes with the package; there are benelux, pocket" in capsys.readouterr().err
    )
    assert not (pocket.parent.parent / "outside.pt").exists()
    mixed = with_change(runs[0], tmp_path, scenario="rotterdam")
    assert tool.main([str(runs[0]), str(mixed)]) == 2
    assert "these were chosen on others (" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in pocket.iterdir()} == before


@pytest.mark.parametrize("name", shipped.names())
def test_what_is_shipped_belongs_to_the_code_and_the_scenario(name):
    entry = shipped.index()[name.removeprefix(shipped.PREFIX)]
    scenario = load_scenario(entry.scenario)
    assert entry.scenario_sha256 == fingerprint(scenario), "python -m fabmesh.agents.commands.ship RUN, of a new run"
    costs = evaluate(make_policy(name, scenario), scenario, seed_set("validation", shipped.FIRST).seeds).measures
    assert costs["network_cost"].mean() == pytest.approx(entry.validation["first_network_cost_eur"], rel=0.01)


def test_everything_in_the_directory_is_in_the_index_and_under_version_control():
    files = {path.name for path in shipped.DIRECTORY.glob("*.pt")}
    assert files == {entry.file for entry in shipped.index().values()}
    if (ROOT / ".git").exists():
        path = str(shipped.DIRECTORY / "any.pt")
        ignored = subprocess.run(["git", "check-ignore", "--quiet", path], cwd=ROOT, check=False).returncode
        assert ignored == 1, "a checkpoint that is to be shipped would not be committed"


def test_commands_give_the_settings_they_are_made_of():
    given = ["--scenario", "pocket", "--algo", "ippo", "--hidden", "8", "9", "--no-antithetic", "--max-minutes", "None"]
    config = parse([*given, "--opponents", "tuned", "base_stock", "--init-from", "my runs/a"])
    command = shlex.split(command_of(config))
    assert parse(command[1:]) == config
    assert "my runs/a" in command
    assert command_of(parse(["--scenario", "pocket"])) == "fabmesh-train --scenario pocket --algo mappo --seed 1"
