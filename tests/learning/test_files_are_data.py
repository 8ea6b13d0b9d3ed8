"""Files of strangers are data: nothing in a model, a checkpoint or a manifest is ever executed."""

from __future__ import annotations

import base64
import io
import json
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from toy import IdentityBatch

import fabmesh
from fabmesh.agents.learning.run import checkpoint
from fabmesh.agents.registry import make_policy
from fabmesh.envs.errors import FabmeshError
from fabmesh.envs.files import hash_of_file
from fabmesh.envs.network.loading import load_scenario
from fabmesh.evaluate import main

PACKAGE = Path(fabmesh.__file__).parent
SOURCES = [*(PACKAGE / "agents").rglob("*.py"), *(PACKAGE / "envs").rglob("*.py"), PACKAGE / "evaluate.py"]
POCKET = load_scenario("pocket")


class Stranger:
    """Unpickling it makes a directory."""

    def __init__(self, mark: Path) -> None:
        self.mark = str(mark)

    def __reduce__(self):
        return os.mkdir, (self.mark,)


@pytest.fixture
def stranger(tmp_path, monkeypatch):
    """Pickled code; what ran it is seen by the test that asked for it, which then fails."""
    monkeypatch.chdir(tmp_path)
    mark = tmp_path / "code_ran"
    pickled = pickle.dumps(Stranger(mark))
    pickle.loads(pickled)
    mark.rmdir()  # it does run where it is unpickled
    yield pickled
    assert not mark.exists()


# --- models of Stable-Baselines3 ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A model as SB3 saves it: name of each file in it -> its bytes, and the levels it chooses."""
    pytest.importorskip("sb3_contrib")
    from stable_baselines3 import PPO

    from fabmesh.envs.adapters.sb3 import HubNetworkVecEnv

    worlds = HubNetworkVecEnv(IdentityBatch(1))
    model = PPO("MlpPolicy", worlds, n_steps=4, batch_size=12, device="cpu", seed=1)
    path = tmp_path_factory.mktemp("saved") / "model.zip"
    model.save(path)
    obs, _ = worlds.batch.reset(seed=3)
    chosen, _ = model.predict(worlds.padding.observations(obs), deterministic=True)
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}, worlds.padding.actions(chosen)


def write_zip(path, files, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def load(path):
    from fabmesh.agents.learning.algorithms.sb3 import load_zip

    return load_zip(path, IdentityBatch(1).spec, sample=False)


def with_data(files, change):
    data = json.loads(files["data"])
    change(data)
    return {**files, "data": json.dumps(data).encode()}


def plant(tree, text):
    """Put a text in the place of every pickled value."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            if key == ":serialized:":
                tree[key] = text
            else:
                plant(value, text)


def test_no_pickle_in_a_model_is_run_and_its_policy_is_the_same(saved, stranger, tmp_path):
    files, expected = saved
    planted = with_data(files, lambda data: plant(data, base64.b64encode(stranger).decode()))
    assert planted["data"].count(base64.b64encode(stranger)) >= 5
    for name in ("pytorch_variables.pth", "policy.optimizer.pth"):
        planted[name] = stranger
    policy = load(write_zip(tmp_path / "model.zip", planted))
    batch = IdentityBatch(1)
    obs, info = batch.reset(seed=3)
    policy.reset(1, 0)
    for role, levels in policy.act(obs, info["action_mask"]).items():
        assert np.array_equal(levels, expected[role])


@pytest.mark.parametrize("name", ["data", "policy.pth"])
def test_a_pickle_in_the_place_of_what_is_read_is_refused(saved, stranger, tmp_path, name):
    path = write_zip(tmp_path / "model.zip", {**saved[0], name: stranger})
    with pytest.raises(FabmeshError, match="not a model that PPO, A2C or MaskablePPO saved") as error:
        load(path)
    assert "\n" not in str(error.value)


def tensors(weights):
    file = io.BytesIO()
    torch.save(weights, file)
    return file.getvalue()


def changed(change):
    """Weights of a model, changed."""

    def of(files):
        weights = torch.load(io.BytesIO(files["policy.pth"]), weights_only=True)
        change(weights)
        return {**files, "policy.pth": tensors(weights)}

    return of


def of_kwargs(**kwargs):
    return lambda files: with_data(files, lambda data: data["policy_kwargs"].update(kwargs))


FIRST = "mlp_extractor.policy_net.0.weight"
CANNOT = {
    "its policy is a class of its own": lambda files: with_data(
        files, lambda data: data["policy_class"].update(__module__="__main__", __init__="")
    ),
    "its policy is a ActorCriticPolicy": lambda files: with_data(
        files, lambda data: data["policy_class"].update(__module__="evil")
    ),
    "its activation_fn is none of Tanh, ReLU": of_kwargs(activation_fn="<class 'evil.ReLU'>"),
    "its features_extractor_class is not FlattenExtractor": of_kwargs(features_extractor_class="<class 'evil.Mine'>"),
    "policy.pth holds numbers that are not finite": changed(lambda weights: weights[FIRST].fill_(torch.nan)),
    "the layers of mlp_extractor.policy_net do not follow": changed(
        lambda weights: weights.update({FIRST: torch.zeros(100_000, 1)})
    ),
    "PyTorch cannot read it as plain tensors": changed(
        lambda weights: weights.update({FIRST: torch.zeros(1, 1).expand(1 << 20, 1 << 20)})
    ),
    "unfolds to more than it is long": changed(
        lambda weights: weights.update({f"x{i}": weights[FIRST] for i in range(500)})
    ),
    "policy.pth holds something else than weights": lambda files: {**files, "policy.pth": tensors([1, 2])},
    "data is longer than": lambda files: {**files, "data": b" " * ((1 << 28) + 1)},
}


@pytest.mark.parametrize("why", CANNOT)
def test_a_model_that_cannot_be_known_without_running_it_is_refused(saved, tmp_path, why):
    path = write_zip(tmp_path / "model.zip", CANNOT[why](saved[0]), zipfile.ZIP_DEFLATED)
    with pytest.raises(FabmeshError, match=r"model\.zip: not a model") as error:
        load(path)
    assert why in str(error.value)
    assert "\n" not in str(error.value)


def test_activations_and_widths_of_a_model_are_read_as_they_are(tmp_path):
    pytest.importorskip("sb3_contrib")
    from sb3_contrib import MaskablePPO

    from fabmesh.envs.adapters.sb3 import HubNetworkVecEnv

    worlds = HubNetworkVecEnv(IdentityBatch(2))
    obs, info = worlds.batch.reset(seed=5)
    rows, masks = worlds.padding.observations(obs), worlds.padding.masks(info["action_mask"])
    for kwargs in (
        {"net_arch": [8], "activation_fn": torch.nn.ELU},
        {"net_arch": {"pi": [9, 7], "vf": []}, "activation_fn": torch.nn.GELU},
        {"net_arch": []},
    ):
        model = MaskablePPO("MlpPolicy", worlds, n_steps=4, batch_size=6, device="cpu", policy_kwargs=kwargs, seed=2)
        with torch.no_grad():
            for weight in model.policy.parameters():
                weight.mul_(5.0)  # far from linear, so that the activation matters
        model.save(tmp_path / "model.zip")
        policy = load(tmp_path / "model.zip")
        seen = torch.from_numpy(rows)
        expected = model.policy.get_distribution(seen, action_masks=masks).distributions
        for part, other in zip(policy._components(seen, info["action_mask"]), expected, strict=True):
            assert torch.equal(part.probs, other.probs)


# --- checkpoints ---------------------------------------------------------------------------------------------------


def test_no_pickle_in_a_checkpoint_is_run(stranger, tmp_path):
    path = tmp_path / "a.pt"
    path.write_bytes(stranger)
    with pytest.raises(FabmeshError, match="PyTorch cannot read it as plain tensors and numbers"):
        make_policy(str(path), POCKET)
    torch.save({"format": 1, "weights": Stranger(tmp_path / "code_ran")}, path)
    with pytest.raises(FabmeshError, match="PyTorch cannot read it as plain tensors and numbers"):
        make_policy(str(path), POCKET)


def test_a_checkpoint_that_unfolds_is_refused_before_it_does(tmp_path):
    path = tmp_path / "bomb.pt"
    torch.save({"format": 1, "weights": torch.zeros(10_000_000)}, tmp_path / "plain.pt")
    with zipfile.ZipFile(tmp_path / "plain.pt") as archive:
        write_zip(path, {name: archive.read(name) for name in archive.namelist()}, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 100_000
    with pytest.raises(FabmeshError, match="is damaged"):
        checkpoint.read(path)
    checkpoint.read(tmp_path / "plain.pt")


# --- manifests -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    """A manifest about rules by name and a file of rules."""
    place = tmp_path_factory.mktemp("manifest")
    (place / "mine.yml").write_text("rules:\n  routing: {rule: nearest, markup: 0.1}\n")
    arguments = ["--scenario", "pocket", "--policies", "idle", "tuned", str(place / "mine.yml"), "--episodes", "2"]
    assert main([*arguments, "--out", str(place), "--quiet"]) == 0
    return json.loads((place / "manifest.json").read_text())


def again(tmp_path, content):
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(content))
    return main(["--from", str(path), "--quiet"])


def test_a_manifest_names_files_of_rules_and_what_is_shipped(manifest, tmp_path, capsys):
    assert again(tmp_path, manifest) == 0
    assert "the same numbers as in the manifest, bit for bit" in capsys.readouterr().out


def test_a_manifest_runs_no_code(manifest, stranger, tmp_path, only_error):
    files = {"data": json.dumps({"policy_class": {":serialized:": base64.b64encode(stranger).decode()}})}
    for path in (write_zip(tmp_path / "evil.zip", files), tmp_path / "evil.pt"):
        if path.suffix == ".pt":
            path.write_bytes(stranger)
        member = {"policy": str(path), "sha256": hash_of_file(path)}
        rows = [{**manifest["policies"][0], "members": [member]}]
        assert again(tmp_path, {**manifest, "policies": rows}) == 2
        assert path.name in only_error()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m["policies"][2]["members"][0].pop("sha256"), "whose sha256 the manifest does not hold"),
        (lambda m: m["policies"][2]["members"][0].update(sha256="0" * 64), "has changed since"),
        (lambda m: m["policies"][0]["members"][0].update(policy="os.system"), "unknown policy 'os.system'"),
        (lambda m: m["policies"][0]["members"][0].update(policy="fabmesh.agents.commands.demo:main"), "unknown policy"),
        (lambda m: m["policies"][0]["members"][0].update(policy="x" * 5000), "unknown policy"),
        (lambda m: m.update(orders={"file": "../../etc/passwd", "sha256": ""}), "should be the name of a file beside"),
        (lambda m: m.update(format={"secret": "x" * 500}), "a manifest of format {'secret': 'xxx"),
        (lambda m: m["seeds"].update(count=1e400), "cannot convert float infinity"),
    ],
)
def test_a_manifest_reaches_nothing_else(manifest, tmp_path, only_error, change, message):
    content = json.loads(json.dumps(manifest))
    change(content)
    assert again(tmp_path, content) == 2
    said = only_error()
    assert message in said
    assert len(said) < 1000


# --- the sources ---------------------------------------------------------------------------------------------------


def test_nothing_in_the_package_unpickles_a_file():
    forbidden = (
        "import pickle", "cloudpickle", "joblib", "shelve", "allow_pickle=True", "load_from_zip_file", "yaml.load(",
        "weights_only=False", "yaml.safe_load(", "unsafe_load", "runpy", "exec(",
    )  # fmt: skip
    found = [f"{path.name}: {word}" for path in SOURCES for word in forbidden if word in path.read_text()]
    # the compile cache reads what only its user can have written; the builder reads a name of its own, for its quotes
    assert sorted(found) == ["builder.py: yaml.safe_load(", "cache.py: import pickle"]
    for path in SOURCES:
        for line in path.read_text().splitlines():
            assert "torch.load(" not in line or "weights_only=True" in line, f"{path.name}: {line}"
