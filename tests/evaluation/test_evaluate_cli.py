"""`evaluate.py` as a user types it: on pocket, and with everything one can get wrong."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

import fabmesh
from fabmesh.agents.learning.algorithms.ppo import make_policies
from fabmesh.agents.learning.config import TrainConfig
from fabmesh.agents.learning.run import checkpoint
from fabmesh.envs import testing
from fabmesh.envs.scenarios import __main__ as scenarios
from fabmesh.envs.vector import HubNetworkVector
from fabmesh.evaluate import main

ROOT = Path(fabmesh.__file__).parent


def run(capsys, *arguments):
    code = main([*arguments, "--quiet"])
    out, err = capsys.readouterr()
    return code, out, err


def test_as_a_user_types_it(tmp_path):
    out = tmp_path / "out.json"
    command = [sys.executable, str(ROOT / "evaluate.py"), "--scenario", "pocket", "--policies", "base_stock", "nearest"]
    done = subprocess.run(
        [*command, "random", "--seeds", "validation", "--episodes", "8", "--json", str(out)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "base_stock" in done.stdout
    assert "100%" in done.stderr  # the progress bar
    data = json.loads(out.read_text())
    assert data["scenario"] == "pocket"
    assert data["seeds"] == {"space": "validation", "count": 8}
    assert [policy["name"] for policy in data["policies"]] == ["base_stock", "nearest", "random"]
    assert all(policy["episodes"] == 8 for policy in data["policies"])


def test_everything_that_can_be_written_is(capsys, tmp_path):
    places = {option: tmp_path / "new" / option for option in ("out.json", "out.csv", "figures", "logs")}
    code, out, _ = run(
        capsys,
        *("--scenario", "pocket", "--policies", "base_stock", "idle", "--episodes", "4", "--threads", "2"),
        *("--json", str(places["out.json"]), "--csv", str(places["out.csv"])),
        *("--figures", str(places["figures"]), "--tensorboard", str(places["logs"])),
    )
    assert code == 0
    for place in places.values():
        assert place.exists()
        assert str(place) in out
    figures = {"cost_by_line", "paired_network_cost", "stock_over_time", "network_map_base_stock"}
    assert {path.stem for path in places["figures"].iterdir()} == figures
    assert list(places["logs"].rglob("events.out.tfevents*"))
    with places["out.csv"].open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 8


def test_a_policy_compared_with_itself_differs_by_exactly_nothing(capsys, tmp_path):
    out = tmp_path / "out.json"
    code, _, _ = run(
        capsys, "--scenario", "pocket", "--policies", "random", "random", "--episodes", "4", "--json", str(out)
    )
    assert code == 0
    data = json.loads(out.read_text())
    assert [policy["name"] for policy in data["policies"]] == ["random", "random (2)"]
    assert all(row["difference"] == 0.0 and row["ci95"] == [0.0, 0.0] for row in data["paired"])


def test_results_do_not_depend_on_threads_or_company(capsys, tmp_path):
    files = []
    for i, options in enumerate((["--threads", "1"], ["--threads", "2"], ["--threads", "1"])):
        policies = ["base_stock", "random"] if i < 2 else ["idle", "random", "base_stock"]
        files.append(tmp_path / f"{i}.json")
        common = ["--scenario", "pocket", "--episodes", "4", "--json", str(files[-1])]
        assert run(capsys, "--policies", *policies, *common, *options)[0] == 0
    rows = [{p["name"]: p for p in json.loads(file.read_text())["policies"]} for file in files]
    for name in ("base_stock", "random"):
        assert rows[0][name] == rows[1][name] == rows[2][name]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--policies", "basestock"], "did you mean 'base_stock'"),
        (["--policies", "runs/nothing"], "no such run directory or checkpoint"),
        (["--policies"], "name at least one policy"),
        (["--policies", "cost_plus+can_order+eoq_discout"], "did you mean 'eoq_discount'"),
        (["--policies", "cost_plus+can_order+eoq_discount+cost_plus"], "no further rule 'cost_plus'"),
        (["--policies", "rules.yaml"], "rules.yaml: no such file"),
        (["--policies", "file.yaml"], "rules.routing.base = 7: must be a number from -0.2 to 0.5"),
        (["--policies", "base_stock,nearest"], "only training runs can be joined"),
        (["--policies", "idle", "--against", "nearest"], "--against nearest: no such row"),
        (["--policies", "idle", "--seeds", "holdout:x"], "the number must be whole"),
        (["--policies", "idle", "--out", "file"], "is a file"),
        (["--policies", "idle", "--episodes", "0"], "at least 1 episode"),
        (["--policies", "idle", "--episodes", "-3"], "at least 1 episode"),
        (["--policies", "idle", "--episodes", "65"], "64 named seeds"),
        (["--policies", "idle", "--seeds", "test", "--episodes", "257"], "256 named seeds"),
        (["--policies", "idle", "--threads", "1000000"], "--threads 1000000: at most 1,024 can be"),
        (["--policies", "y" * 400], "unknown policy 'yyyy"),
        (["--policies", "idle", "--threads", "0"], "--threads 0: at least 1 is needed"),
        (["--policies", "idle", "--scenario", "pockets"], "pocket"),
        (["--policies", "idle", "--scenario", "nowhere.yaml"], "nowhere.yaml"),
        (["--policies", "idle", "--json", "."], "is a directory"),
        (["--policies", "idle", "--json", "file/out.json"], "cannot write in file"),
        (["--policies", "idle", "--figures", "file"], "is a file"),
        (["--policies", "idle", "--csv", "new/../new/out.json"], "is the path of --json as well"),
        (["--policies", "idle", "--seeds", "train", "--episodes", "100000000"], "at most 4096"),
    ],
)
def test_wrong_input_is_one_clear_line_and_exit_code_2(only_error, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("")
    Path("file.yaml").write_text("rules:\n  routing: {rule: cost_plus, base: 7}\n")
    before = sorted(tmp_path.rglob("*"))
    scenario = [] if "--scenario" in arguments else ["--scenario", "pocket"]
    json_ = [] if "--json" in arguments else ["--json", "new/out.json"]
    assert main([*arguments, *scenario, *json_, "--quiet"]) == 2
    assert message in only_error()
    assert sorted(tmp_path.rglob("*")) == before


@pytest.fixture
def run_dir(tmp_path):
    """A run directory on pocket whose checkpoint holds untrained policies."""
    config, batch = TrainConfig(scenario="pocket"), HubNetworkVector("pocket", num_envs=1)
    weights = {role: policy.state_dict() for role, policy in make_policies(batch, config).items()}
    content = checkpoint.policy_content("mappo", "pocket", batch.spec, config, weights)
    checkpoint.write(tmp_path / "runs" / "a" / checkpoint.BEST, content)
    return tmp_path / "runs" / "a"


def test_checkpoints_are_judged_by_their_likeliest_and_by_sampled_actions(capsys, tmp_path, run_dir):
    out = tmp_path / "out.json"
    policies = ["--policies", str(run_dir), f"{run_dir}:sample", "idle"]
    code, printed, _ = run(capsys, "--scenario", "pocket", *policies, "--episodes", "3", "--json", str(out))
    assert code == 0
    assert "chosen on these validation seeds" in printed
    mode, sampled, _ = json.loads(out.read_text())["policies"]
    assert [(p["name"], p["sees"]) for p in (mode, sampled)] == [("a", "local"), ("a:sample", "local")]
    assert mode["network_cost"] != sampled["network_cost"]


def test_a_checkpoint_of_another_scenario_is_refused(capsys, tmp_path, run_dir):
    out = tmp_path / "out.json"
    code, printed, err = run(capsys, "--scenario", "rotterdam", "--policies", "idle", str(run_dir), "--json", str(out))
    assert (code, printed) == (2, "")
    assert err.count("\n") == 1
    assert "pocket" in err
    assert "rotterdam" in err
    assert not out.exists()


def test_stopping_says_what_may_have_been_written(capsys, tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    arguments = ["--scenario", "pocket", "--policies", "idle", "--episodes", "1", "--json", str(tmp_path / "out.json")]
    with monkeypatch.context() as patch:
        patch.setattr("fabmesh.evaluate.compare_entries", stop)
        code, _, err = run(capsys, *arguments)
        assert (code, err) == (130, "stopped; nothing has been written\n")
    monkeypatch.setattr("fabmesh.agents.evaluation.show.export.write_json", stop)
    code, _, err = run(capsys, *arguments)
    assert code == 130
    assert "while writing" in err
    assert "out.json" in err


def test_a_manifest_makes_the_same_table_again(capsys, tmp_path, monkeypatch):
    common = ["--scenario", "pocket", "--policies", "base_stock", "random", "cost_plus+s_S+silver_meal"]
    code, first, _ = run(capsys, *common, "--episodes", "3", "--out", str(tmp_path / "a"))
    assert code == 0
    names = {"results.json", "table.csv", "table.md", "marl_eval.json", "manifest.json", "figures", "tensorboard"}
    assert {path.name for path in (tmp_path / "a").iterdir()} == names
    manifest = tmp_path / "a" / "manifest.json"
    code, again, _ = run(capsys, "--from", str(manifest), "--out", str(tmp_path / "b"))
    assert code == 0
    assert "bit for bit" in again
    assert first.partition("written:")[0] == again.partition("written:")[0]
    for name in ("results.json", "table.csv", "marl_eval.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()

    content = json.loads(manifest.read_text())
    damaged = tmp_path / "damaged.json"
    cases = {
        "is not JSON": manifest.read_text()[:-40],
        "'seeds' is missing": json.dumps({key: value for key, value in content.items() if key != "seeds"}),
        "has changed since": json.dumps(content | {"scenario": content["scenario"] | {"sha256": "0" * 64}}),
        "a manifest of format 99": json.dumps(content | {"format": 99}),
        "unknown seed space": json.dumps(content | {"seeds": content["seeds"] | {"space": "mine"}}),
        "the worlds are not those of": json.dumps(content | {"seeds": content["seeds"] | {"worlds": [1, 2]}}),
        "damaged.json: /nowhere/a.yaml: no such file": json.dumps(
            content | {"scenario": content["scenario"] | {"given": "/nowhere/a.yaml"}}
        ),
    }
    before = sorted(tmp_path.rglob("*"))
    for message, text in cases.items():
        damaged.write_text(text)
        code, out, err = run(capsys, "--from", str(damaged), "--out", str(tmp_path / "c"))
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert message in err
    assert sorted(tmp_path.rglob("*")) == sorted([*before, damaged])
    code, _, err = run(capsys, "--from", str(manifest), "--episodes", "4")
    assert code == 2
    assert "leave out --episodes" in err
    damaged.write_text(json.dumps(content | {"numbers_sha256": "0" * 64}))
    code, _, err = run(capsys, "--from", str(damaged))
    assert code == 1
    assert "other numbers than in the manifest" in err


def test_checks_of_a_scenario_refuse_an_impossible_seed(capsys):
    assert testing.main(["pocket", "--seed", "-1"]) == 2
    assert capsys.readouterr().err == "error: --seed -1: at least 0 is needed\n"


@pytest.mark.parametrize("arguments", [["--policies", "idle", "--episodes", "many"], ["--polices", "idle"]])
def test_flags_that_do_not_parse_exit_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2


def test_help_explains_every_option(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    for option in ("policies", "scenario", "seeds", "episodes", "first-seed", "threads", "json", "csv", "figures"):
        assert f"--{option}" in text
    assert "default" in text


@pytest.mark.parametrize(
    "arguments",
    [
        ["--scenario", "pocket", "--policies", "idle", "--orders", "/dev/zero"],
        ["--scenario", "pocket", "--policies", "/dev/zero"],
        ["--from", "/dev/zero"],
    ],
)
def test_what_has_no_end_is_refused(capsys, arguments):
    code, out, err = run(capsys, *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "/dev/zero: is " in err


def test_towns_that_have_no_end_are_refused(capsys, tmp_path):
    assert scenarios.main(["new", "--towns", "/dev/zero", "--out", str(tmp_path / "a.yaml")]) == 2
    assert capsys.readouterr().err.startswith("error: /dev/zero: is longer than 16,000,000 bytes; give the path of a t")
