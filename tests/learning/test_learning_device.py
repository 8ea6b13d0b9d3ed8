"""Training with the networks on another device than the processor.

Where the tests run there may be no GPU. `Elsewhere` stands in for one: its tensors carry their numbers with them, can
only be reached by moving, and refuse to be mixed with those of the processor. What it works out is worked out by the
processor, so that a training comes to the same weights.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map
from toy import IdentityBatch, ShownLevels

from fabmesh.agents.commands.train import main, session_for
from fabmesh.agents.learning.config import (
    ConfigError,
    ImitationConfig,
    MachineConfig,
    NetworkConfig,
    PpoConfig,
    RolloutConfig,
    TrainConfig,
)
from fabmesh.agents.learning.run import checkpoint
from fabmesh.agents.learning.run.session import Task, device_of
from fabmesh.agents.learning.run.settings import first_change, settings_hash
from fabmesh.envs.network.loading import load_scenario

AWAY = torch.device("meta")  # PyTorch knows it and computes nothing there, so whatever forgets to move fails

CLASSIC = TrainConfig(
    rollout=RolloutConfig(copies=8, group=4, days=5),
    ppo=PpoConfig(epochs=2, minibatches=2, target_kl=0.0),
    network=NetworkConfig(hidden=(8,), critic_hidden=(8,)),
    imitation=ImitationConfig(
        imitation_copies=4, imitation_days=3, imitation_rounds=2, imitation_epochs=1, critic_iterations=0
    ),
)
LOCAL = replace(CLASSIC, algo="ippo", network=replace(CLASSIC.network, agent_embedding=True, standardise=True))
RESIDUAL = replace(
    CLASSIC,
    rollout=RolloutConfig(copies=8, group=4, days=20, persistence=1e6, correlation=0.3, antithetic=True),
    ppo=PpoConfig(epochs=1, residual_learning_rate=0.05, baseline="group", credit="episode", gamma=1.0, gae_lambda=1.0),
    network=replace(LOCAL.network, spread=0.5, residual=True),
)
SB3 = replace(CLASSIC, algo="sb3_ppo", imitation=replace(CLASSIC.imitation, teacher="none"))


class AwayTensor(torch.Tensor):
    """A tensor on the device `AWAY`; `numbers` is what it holds."""

    @staticmethod
    def __new__(cls, numbers):  # noqa: D102  # as the class says
        made = torch.Tensor._make_wrapper_subclass(
            cls, numbers.shape, strides=numbers.stride(), dtype=numbers.dtype, device=AWAY
        )
        made.numbers = numbers
        return made

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        return Elsewhere.run(function, args, kwargs or {})


class Elsewhere(TorchDispatchMode):
    """While it is entered, tensors can be moved to `AWAY` and worked with there."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        return self.run(function, args, kwargs or {})

    @staticmethod
    def run(function, args, kwargs):
        """Do an operation where its tensors are."""
        given = [*args, *kwargs.values()]
        given = [part for item in given for part in (item if isinstance(item, (list, tuple)) else [item])]
        tensors = [item for item in given if isinstance(item, torch.Tensor)]
        target = kwargs.get("device")
        if target is not None:
            away, kwargs = target == AWAY, kwargs | {"device": torch.device("cpu")}
        elif function is torch.ops.aten.copy_.default:
            away = isinstance(args[0], AwayTensor)
        else:
            places = {isinstance(item, AwayTensor) for item in tensors if item.dim() > 0}  # numbers may be anywhere
            if len(places) > 1:
                raise RuntimeError(f"{function}: tensors on different devices")
            away = any(isinstance(item, AwayTensor) for item in tensors)
        result = function(*tree_map(_numbers, args), **tree_map(_numbers, kwargs))
        if function._schema.name.endswith("_"):  # in place
            return args[0]
        if function is torch.ops.aten._to_copy.default and target is not None:
            result = result.clone()
        return tree_map(lambda item: AwayTensor(item) if away and isinstance(item, torch.Tensor) else item, result)


def _numbers(item):
    return item.numbers if isinstance(item, AwayTensor) else item


def begun(config):
    """A training on the toy before its first iteration; SB3's if the settings name it."""
    task = Task("toy", IdentityBatch, ShownLevels(IdentityBatch(1)))
    training = session_for(config, task)
    for policy in getattr(training, "policies", {}).values():
        policy.fused = False  # the compiled heads of the processor round otherwise (test_fused_heads)
    training.start()
    return training


def trained(config):
    """A training on the toy after two iterations."""
    training = begun(config)
    for _ in range(2):
        training.iterate()
    return training


@contextmanager
def elsewhere():
    """Sessions begun inside have their networks on `AWAY`."""
    with Elsewhere(), pytest.MonkeyPatch.context() as patch:
        patch.setattr("fabmesh.agents.learning.run.session.device_of", lambda config: AWAY)
        yield


def leaves(tree):
    """The tensors of nested mappings and lists."""
    return [item for item in tree_flatten(tree)[0] if isinstance(item, torch.Tensor)]


@pytest.mark.parametrize("config", [CLASSIC, LOCAL, RESIDUAL], ids=["mappo", "ippo", "residual"])
def test_networks_elsewhere_learn_the_same(config):
    here = leaves(trained(config).weights())
    with elsewhere():
        away = leaves(trained(config).weights())
    assert all(isinstance(value, AwayTensor) for value in away)
    assert all(torch.equal(a.numbers, b) for a, b in zip(away, here, strict=True))


@pytest.mark.filterwarnings("ignore:You are trying to run PPO on the GPU:UserWarning")  # SB3's advice
@pytest.mark.parametrize("config", [CLASSIC, SB3], ids=["mappo", "sb3"])
def test_what_is_kept_of_them_goes_on_anywhere(config, tmp_path):
    path = tmp_path / "last.pt"
    with elsewhere():
        training = begun(config)
        training.iterate()
        assert all(isinstance(value, AwayTensor) for value in leaves(training.weights()))
        checkpoint.write(path, {**training.content(), "state": training.state()})
        obs, info = IdentityBatch(3).reset(seed=5)
        judged = training.policy(sample=True).act(obs, info["action_mask"])
    assert {role: levels.shape for role, levels in judged.items()} == {"hub": (3, 2, 2), "depot": (3, 1, 3)}
    content = checkpoint.read_whole(path, resumable=True)
    assert not any(isinstance(value, AwayTensor) for value in leaves(content))

    resumed = begun(config)
    resumed.restore(content, path)
    resumed.iterate()
    if config is not SB3:  # which draws levels where its network is
        through = leaves(trained(config).weights())
        assert all(torch.equal(a, b) for a, b in zip(leaves(resumed.weights()), through, strict=True))


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("gpu", "--device: 'gpu' is not possible; allowed: cpu, cuda or cuda:N"),
        ("cuda", "--device cuda: PyTorch "),
        ("cuda:7", "--device cuda:7: PyTorch "),
    ],
)
def test_a_device_that_is_not_there_is_refused_with_nothing_written(tmp_path, monkeypatch, capsys, device, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert main(["--scenario", "pocket", "--device", device]) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert message in errors[0]
    assert device == "gpu" or errors[0].endswith("; use --device cpu")
    assert list(tmp_path.iterdir()) == []


def test_the_gpu_meant_is_the_one_of_the_number(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    wanted = {name: TrainConfig(machine=MachineConfig(device=name)) for name in ("cpu", "cuda", "cuda:1", "cuda:2")}
    assert device_of(wanted["cpu"]) == torch.device("cpu")
    assert device_of(wanted["cuda"]) == torch.device("cuda")
    assert device_of(wanted["cuda:1"]) == torch.device("cuda", 1)
    with pytest.raises(ConfigError, match="cuda:2: PyTorch"):
        device_of(wanted["cuda:2"])


def test_the_device_is_of_the_machine_and_may_change_when_a_run_goes_on():
    moved = replace(CLASSIC, machine=MachineConfig(device="cuda"))
    assert first_change(CLASSIC, moved) is None
    scenario = load_scenario("pocket")
    assert settings_hash(CLASSIC, scenario) == settings_hash(moved, scenario)
