"""On-policy algorithms of Stable-Baselines3 and sb3-contrib on the same worlds, judged, logged and kept like our own.

One policy network serves all roles: observations and actions are padded to one shape (`fabmesh.envs.adapters.sb3`). It
starts from random weights and has no same-seed groups: these are the references a reader knows.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

import numpy as np
import torch
from numpy.typing import NDArray
from sb3_contrib import MaskablePPO
from sb3_contrib.common.maskable.policies import MaskableActorCriticPolicy
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import FlattenExtractor
from stable_baselines3.common.vec_env import VecNormalize
from torch import nn

from fabmesh.agents.learning.algorithms.training import SEEDS_OF_A_RUN
from fabmesh.agents.learning.batch import RoleSpec, books_of_ended
from fabmesh.agents.learning.config import PpoConfig, TrainConfig
from fabmesh.agents.learning.run import checkpoint
from fabmesh.agents.learning.run.logs import episode_metrics
from fabmesh.agents.learning.run.session import Say, Session, Task
from fabmesh.agents.policy import Levels, Masks, Observations
from fabmesh.envs.adapters.sb3 import HubNetworkVecEnv, Padding
from fabmesh.envs.network.books.restored import require_layout, require_numbers
from fabmesh.envs.network.compiler.rng import seed_of

NEVER = 1_000_000_000
"""Iterations between SB3's own reports: the metrics are read, and shown, by us."""

Network: TypeAlias = ActorCriticPolicy | MaskableActorCriticPolicy


def _clipped(ppo: PpoConfig, rows: int) -> dict[str, Any]:
    """Settings of the algorithms that pass several times over a rollout of so many rows."""
    return {
        "batch_size": max(2, -(-rows // ppo.minibatches)),
        "n_epochs": ppo.epochs,
        "clip_range": ppo.clip,
        "target_kl": ppo.target_kl or None,
    }


@dataclass(frozen=True)
class Algorithm:
    """One of the family.

    Attributes:
        model: Class of the algorithm.
        network: Class of its policy.
        settings: What it is given beside what all are given, from our settings and the rows of a rollout.
    """

    model: type[PPO | A2C | MaskablePPO]
    network: type[Network]
    settings: Callable[[PpoConfig, int], dict[str, Any]]


FAMILY: dict[str, Algorithm] = {
    "sb3_ppo": Algorithm(PPO, ActorCriticPolicy, _clipped),
    "sb3_a2c": Algorithm(A2C, ActorCriticPolicy, lambda ppo, rows: {}),
    "sb3_maskable_ppo": Algorithm(MaskablePPO, MaskableActorCriticPolicy, _clipped),
}
"""By the name of `--algo`."""


class Sb3Policy:
    """A model's network as everyone else sees it. Only MaskablePPO's reads the masks, as in training.

    Args:
        network: Policy of the model.
        padding: Shape it was trained with.
        name: Name in tables.
        sample: Draw the levels instead of taking the most likely ones.
    """

    sees: Literal["local"] = "local"

    def __init__(self, network: Network, padding: Padding, name: str, sample: bool) -> None:
        self.network, self.padding, self.name, self.sample = network, padding, name, sample
        self._generator = torch.Generator()

    def reset(self, num_envs: int, seed: int) -> None:
        """Start again; draws follow from the seed."""
        self._generator.manual_seed(seed)

    @torch.no_grad()
    def act(self, obs: Observations, masks: Masks) -> Levels:
        """Levels per role, int64 [copies, agents, components]."""
        levels = []
        rows = torch.from_numpy(self.padding.observations(obs)).to(self.network.device)
        for part in self._components(rows, masks):
            probabilities = part.probs.cpu()  # where the generator is
            race = torch.ones_like(probabilities)
            if self.sample:
                race.exponential_(generator=self._generator).clamp_(min=torch.finfo(race.dtype).tiny)
            levels.append((probabilities / race).argmax(dim=-1))  # a masked level has probability 0, and never wins
        return self.padding.actions(torch.stack(levels, dim=-1).numpy())

    def _components(self, rows: torch.Tensor, masks: Masks) -> list[torch.distributions.Categorical]:
        """The distribution of each component for rows of padded observations."""
        if isinstance(self.network, MaskableActorCriticPolicy):
            masked = self.network.get_distribution(rows, action_masks=self.padding.masks(masks))
            return list(cast(Any, masked).distributions)
        return list(cast(Any, self.network.get_distribution(rows)).distribution)


def _network_arguments(config: TrainConfig) -> dict[str, Any]:
    return {
        "net_arch": {"pi": list(config.network.hidden), "vf": list(config.network.critic_hidden)},
        "activation_fn": nn.ReLU,
    }


def policy_from_weights(
    kind: str, weights: Mapping[str, Any], spec: Mapping[str, RoleSpec], config: TrainConfig, name: str, sample: bool
) -> Sb3Policy:
    """The policy of a checkpoint of ours, trained with the algorithm `kind`."""
    padding = Padding(spec)
    network = FAMILY[kind].network(
        padding.observation_space, padding.action_space, lambda _: 0.0, **_network_arguments(config)
    )
    network.load_state_dict(dict(weights))
    return Sb3Policy(network.eval(), padding, name, sample)


ACTIVATIONS = {
    f"<class '{kind.__module__}.{kind.__qualname__}'>": kind
    for kind in (nn.Tanh, nn.ReLU, nn.LeakyReLU, nn.ELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish, nn.Softplus, nn.Sigmoid)
}
"""Activations by the text that SB3 writes beside the pickled one."""
_FLATTEN = str(FlattenExtractor)
_MOST_NAME = 60  # characters of a name in a message
_MOST_BYTES = 1 << 28  # of what is read of a model's file: beyond any policy of a network


def load_zip(path: Path, spec: Mapping[str, RoleSpec], sample: bool) -> Sb3Policy:
    """The policy of a file written by the `save` of PPO, A2C or MaskablePPO with an "MlpPolicy".

    Nothing in the file is unpickled: the weights are plain tensors, whose shapes say how wide the layers are, and the
    kind of policy, its spaces and its activation stand in the file as text beside what SB3 would unpickle.

    Raises:
        CheckpointError: If it is no such file, was trained with other spaces than the layout's, or holds what cannot
            be known without unpickling it.
    """
    padding = Padding(spec)
    try:
        with zipfile.ZipFile(path) as archive:
            data = json.loads(_member(archive, "data"))
            kind, activation = _network_of(data["policy_class"]), _activation_of(data["policy_kwargs"])
            _require_spaces(data, padding, path)
            weights = _weights(_member(archive, "policy.pth"))
        inputs = len(padding.observation_space.low)
        widths = {side: _widths(weights, f"mlp_extractor.{name}_net", inputs) for side, name in _SIDES.items()}
        spaces = padding.observation_space, padding.action_space
        network = kind(*spaces, lambda _: 0.0, net_arch=widths, activation_fn=activation)
        network.load_state_dict(weights)
    except checkpoint.CheckpointError:
        raise
    except (OSError, zipfile.BadZipFile, zlib.error, *checkpoint.UNUSABLE) as error:
        raise _not_a_model(path, checkpoint.first_line(error)) from None
    return Sb3Policy(network.eval(), padding, path.stem, sample)


_SIDES = {"pi": "policy", "vf": "value"}  # the two networks of a model, as `net_arch` and its weights call them


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    """The bytes of a file in an archive, which says how many they are."""
    if archive.getinfo(name).file_size > _MOST_BYTES:
        raise ValueError(f"{name} is longer than {_MOST_BYTES:,} bytes")
    return archive.read(name)


def _weights(content: bytes) -> dict[str, torch.Tensor]:
    """Weights by name, finite and together no larger than the file that held them."""
    weights = checkpoint.plain_tensors(io.BytesIO(content))
    if not isinstance(weights, dict) or not all(isinstance(value, torch.Tensor) for value in weights.values()):
        raise ValueError("policy.pth holds something else than weights")
    if sum(value.numel() * value.element_size() for value in weights.values()) > len(content):
        raise ValueError("policy.pth unfolds to more than it is long")
    if not all(torch.isfinite(value).all() for value in weights.values()):
        raise ValueError("policy.pth holds numbers that are not finite")
    return weights


def _require_spaces(data: Mapping[str, Any], padding: Padding, path: Path) -> None:
    """Refuse a model that sees or chooses something else."""
    observed, chosen = data["observation_space"]["_shape"], data["action_space"].get("nvec", "")
    for what, there, here in (
        ("observation", observed, list(padding.observation_space.shape)),
        ("action", _numbers(chosen), _numbers(str(padding.nvec))),
    ):
        if there != here:
            raise checkpoint.CheckpointError(
                f"{path}: trained with another {what} space than this scenario's; use the scenario it was trained on"
            )


def _numbers(text: str) -> list[str]:
    """The numbers of an array as NumPy prints it."""
    return text.strip("[]").split()


def _network_of(named: Mapping[str, Any]) -> type[Network]:
    """Class of the model's policy: the one whose constructor the file names."""
    made_by = re.match(r"<function (\w+)\.__init__ at ", str(named.get("__init__")))
    name = made_by[1] if made_by else "class of its own"
    for algorithm in FAMILY.values():
        if (named.get("__module__"), name) == (algorithm.network.__module__, algorithm.network.__name__):
            return algorithm.network
    raise ValueError(f"its policy is a {name[:_MOST_NAME]}")


def _activation_of(kwargs: Mapping[str, Any]) -> type[nn.Module]:
    """What is between the layers, of the arguments of a policy."""
    extractor = kwargs.get("features_extractor_class", _FLATTEN)
    if extractor != _FLATTEN:
        raise ValueError(f"its features_extractor_class is not {FlattenExtractor.__name__}")
    given = kwargs.get("activation_fn", str(nn.Tanh))  # SB3's own
    if given not in ACTIVATIONS:
        raise ValueError(f"its activation_fn is none of {', '.join(kind.__name__ for kind in ACTIVATIONS.values())}")
    return ACTIVATIONS[given]


def _widths(weights: Mapping[str, torch.Tensor], net: str, inputs: int) -> list[int]:
    """Widths of the hidden layers of a network: its linear layers have even numbers, its activations odd ones."""
    widths: list[int] = []
    while (layer := weights.get(f"{net}.{2 * len(widths)}.weight")) is not None:
        if layer.ndim != 2 or layer.shape[1] != inputs:
            raise ValueError(f"the layers of {net} do not follow on each other")
        inputs = layer.shape[0]
        widths.append(inputs)
    return widths


def _not_a_model(path: Path, why: str) -> checkpoint.CheckpointError:
    return checkpoint.CheckpointError(
        f'{path}: not a model that PPO, A2C or MaskablePPO saved with an "MlpPolicy" ({why}): {checkpoint.REMEDY}'
    )


class Sb3Training(Session):
    """One algorithm of the family.

    Its critic shares the policies' step size and has no value normalisation of its own, so rewards are divided by the
    running deviation of their discounted sum (SB3's `VecNormalize`). A2C takes one step on each rollout: epochs,
    minibatches, clip and target_kl have no effect on it. SB3 draws from the global generators of PyTorch and NumPy;
    their states are kept for a resumed run.

    Args:
        config: The settings.
        task: What to learn on.

    Attributes:
        worlds: The batch as SB3 sees it.
        env: The same with the rewards that are learned from.
        model: The algorithm.
    """

    def __init__(self, config: TrainConfig, task: Task) -> None:
        super().__init__(config, task)
        first = config.seed * SEEDS_OF_A_RUN
        seeds = [seed_of("train", first + copy) for copy in range(config.rollout.copies)]
        self.worlds = HubNetworkVecEnv(cast(Any, self.batch), seeds)
        self.env = VecNormalize(self.worlds, norm_obs=False, gamma=config.ppo.gamma)
        algorithm = FAMILY[config.algo]
        self.model = algorithm.model(
            "MlpPolicy",
            self.env,
            learning_rate=self._learning_rate,
            n_steps=config.rollout.days,
            gamma=config.ppo.gamma,
            gae_lambda=config.ppo.gae_lambda,
            max_grad_norm=config.ppo.max_grad_norm,
            policy_kwargs=_network_arguments(config),
            seed=config.seed,
            device=self.device,
            **algorithm.settings(config.ppo, self.env.num_envs * config.rollout.days),
        )
        self.model.set_logger(Logger(None, []))
        self._rewards: list[float] = []
        self._episodes: list[dict[str, NDArray[np.float64]]] = []

    def _learning_rate(self, _: float) -> float:
        """Step size by the share of our run, not of SB3's own count."""
        linear = self.config.ppo.schedule == "linear"
        return self.config.ppo.learning_rate * (1.0 - 0.9 * self.progress if linear else 1.0)

    def _begin(self, say: Say) -> None:
        """SB3 resets the worlds itself when it first collects."""

    def _learn(self) -> dict[str, float]:
        """One rollout and one update by SB3."""
        ppo = self.config.ppo
        # the setting weighs the mean entropy of a component, SB3 their sum
        self.model.ent_coef = ppo.entropy_at(self.progress) / self.worlds.padding.components
        self._rewards.clear()
        self._episodes.clear()
        steps = self.env.num_envs * self.config.rollout.days
        self.model.learn(steps, callback=self._watch, log_interval=NEVER, reset_num_timesteps=False)
        metrics = {name.replace("train/", "sb3/"): float(v) for name, v in self.model.logger.name_to_value.items()}
        metrics["episode/reward_per_day"] = float(np.mean(self._rewards))
        if self._episodes:
            metrics |= episode_metrics(self._episodes, cast(Any, self.batch))  # it has books
        return metrics

    def _watch(self, *_: dict[str, Any]) -> bool:
        """Keep the rewards of a day and the books of the episodes that end with it."""
        self._rewards.append(float(self.env.get_original_reward().mean()))
        books = books_of_ended(self.worlds.info)
        if books:
            self._episodes.append(books)
        return True

    def policy(self, sample: bool) -> Sb3Policy:
        """The model's policy as it is."""
        return Sb3Policy(self.model.policy, self.worlds.padding, "sample" if sample else "mode", sample)

    def weights(self) -> dict[str, Any]:
        """Weights of the shared network, critic included."""
        return self.model.policy.state_dict()

    def numbers(self) -> dict[str, Any]:
        """Weights of the shared network, what its optimiser keeps, and the logits of the first agent."""
        network, seen = cast(Any, self.model.policy), cast(Any, self.model._last_obs)
        obs = torch.zeros(self.worlds.padding.observation_space.shape) if seen is None else torch.as_tensor(seen[0])
        with torch.no_grad():
            features = network.extract_features(obs[None].to(self.device), network.pi_features_extractor)
            logits = network.action_net(network.mlp_extractor.forward_actor(features))
        return {"weights": self.weights(), "optimiser": network.optimizer.state_dict(), "logits": logits}

    def inner_state(self) -> dict[str, Any]:
        """Optimiser, counters, worlds, global generators, and where the next rollout starts."""
        drawn = np.random.get_state(legacy=False)  # noqa: NPY002  # SB3 draws from it
        arrays = {"numpy_keys": drawn["state"]["key"]}
        if self.model._last_obs is not None:  # the worlds have been started
            arrays["last_starts"] = np.array(self.model._last_episode_starts, np.bool_)
            arrays["returns"] = self.env.returns
            if arrays["last_starts"].all():  # the names of the worlds say everything
                arrays["seeds"] = self.batch.seeds
            else:
                arrays |= {f"world.{name}": value for name, value in self.batch.save_state().items()}
        return {
            "optimiser": self.model.policy.optimizer.state_dict(),
            "arrays": checkpoint.pack(arrays),
            "numpy": [drawn["state"]["pos"], drawn["has_gauss"], drawn["gauss"]],
            "torch": torch.get_rng_state(),
            "return_statistics": [
                float(self.env.ret_rms.mean),
                float(self.env.ret_rms.var),
                float(self.env.ret_rms.count),
            ],
            "timesteps": self.model.num_timesteps,
            "updates": self.model._n_updates,
        }

    def restore_inner(self, weights: Mapping[str, Any], state: Mapping[str, Any]) -> None:
        """Put all of it back."""
        self.model.policy.load_state_dict(dict(weights))
        checkpoint.restore_optimiser(self.model.policy.optimizer, state["optimiser"])
        arrays = checkpoint.unpack(state["arrays"])
        if "last_starts" in arrays:
            self._restore_worlds(arrays)
        returns: Any = self.env.ret_rms
        returns.mean, returns.var, returns.count = map(np.float64, state["return_statistics"])
        self.model.num_timesteps, self.model._n_updates = (
            checkpoint.count_in(state, name) for name in ("timesteps", "updates")
        )
        drawn = np.random.get_state(legacy=False)["state"]["key"]  # noqa: NPY002  # SB3 draws from it
        require_layout(arrays, {"numpy_keys": drawn})
        require_numbers("numpy", np.array(state["numpy"][0]), (0, len(drawn)))  # NumPy would look there without asking
        np.random.set_state(("MT19937", arrays["numpy_keys"], *state["numpy"]))  # noqa: NPY002
        torch.set_rng_state(state["torch"])

    def _restore_worlds(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Put the worlds back, and what SB3 keeps of them."""
        self.env.reset()
        wanted = {"last_starts": np.zeros(self.env.num_envs, np.bool_), "returns": self.env.returns}
        if "seeds" in arrays:
            wanted["seeds"] = self.batch.seeds
        require_layout(arrays, wanted)
        for name in wanted:
            require_numbers(name, arrays[name])
        if "seeds" in arrays:
            self.batch.reset(seed=arrays["seeds"].tolist())
        else:
            self.batch.load_state(_below("world.", arrays))
        obs, self.worlds.info["action_mask"] = self.batch.last_shown()
        self.env.returns = arrays["returns"]
        self.model._last_obs = self.worlds.padding.observations(obs)
        self.model._last_episode_starts = arrays["last_starts"]


def _below(prefix: str, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """What is filed under a prefix, by the rest of the name."""
    return {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}
