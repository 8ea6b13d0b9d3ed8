"""Stable-Baselines3's PPO on the same worlds, judged, logged and kept like our own trainers' runs.

One policy network serves all roles: observations and actions are padded to one shape (`fabmesh.envs.adapters.sb3`). It
starts from random weights and has no same-seed groups: it is the reference a reader knows.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3 import PPO
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.policies import ActorCriticPolicy

from fabmesh.agents.learning import checkpoint
from fabmesh.agents.learning.batch import RoleSpec
from fabmesh.agents.learning.config import TrainConfig
from fabmesh.agents.learning.session import Say, Session, Task
from fabmesh.agents.learning.training import SEEDS_OF_A_RUN
from fabmesh.agents.policy import Levels, Masks, Observations
from fabmesh.envs.adapters.sb3 import HubNetworkVecEnv, Padding
from fabmesh.envs.network.rng import seed_of

NEVER = 1_000_000_000
"""Iterations between SB3's own reports: the metrics are read, and shown, by us."""


class Sb3Policy:
    """A model of SB3 as everyone else sees it; like plain PPO it reads no masks.

    Args:
        network: SB3's policy.
        padding: Shape it was trained with.
        name: Name in tables.
        sample: Draw the levels instead of taking the most likely ones.
    """

    sees: Literal["local"] = "local"

    def __init__(self, network: ActorCriticPolicy, padding: Padding, name: str, sample: bool) -> None:
        self.network, self.padding, self.name, self.sample = network, padding, name, sample
        self._generator = torch.Generator()

    def reset(self, num_envs: int, seed: int) -> None:
        """Start again; draws follow from the seed."""
        self._generator.manual_seed(seed)

    @torch.no_grad()
    def act(self, obs: Observations, masks: Masks) -> Levels:
        """Levels per role, int64 [copies, agents, components]."""
        distribution = self.network.get_distribution(torch.from_numpy(self.padding.observations(obs)))
        levels = []
        for part in cast(Any, distribution).distribution:  # one categorical per component
            race = torch.ones_like(part.logits)
            if self.sample:
                race.exponential_(generator=self._generator)
            levels.append((part.probs / race).argmax(dim=-1))
        return self.padding.actions(torch.stack(levels, dim=-1).numpy())


def _network_arguments(config: TrainConfig) -> dict[str, Any]:
    return {
        "net_arch": {"pi": list(config.network.hidden), "vf": list(config.network.critic_hidden)},
        "activation_fn": torch.nn.ReLU,
    }


def policy_from_weights(
    weights: Mapping[str, Any], spec: Mapping[str, RoleSpec], config: TrainConfig, name: str, sample: bool
) -> Sb3Policy:
    """The policy of a checkpoint of ours."""
    padding = Padding(spec)
    network = ActorCriticPolicy(
        padding.observation_space, padding.action_space, lambda _: 0.0, **_network_arguments(config)
    )
    network.load_state_dict(dict(weights))
    return Sb3Policy(network.eval(), padding, name, sample)


def load_zip(path: Path, spec: Mapping[str, RoleSpec], sample: bool) -> Sb3Policy:
    """The policy of a file written by `PPO.save`."""
    padding = Padding(spec)
    try:
        model = PPO.load(path, device="cpu")
    except (OSError, ValueError, KeyError) as error:
        raise checkpoint.CheckpointError(f"{path}: not a model saved by stable_baselines3's PPO ({error})") from None
    for kind, there, here in (
        ("observation", model.observation_space.shape, padding.observation_space.shape),
        ("action", getattr(model.action_space, "nvec", np.zeros(0)).tolist(), padding.nvec.tolist()),
    ):
        if there != here:
            raise checkpoint.CheckpointError(
                f"{path}: trained with another {kind} space than this scenario's; use the scenario it was trained on"
            )
    return Sb3Policy(model.policy, padding, path.stem, sample)


class Sb3Training(Session):
    """SB3's PPO. Settings of imitation, groups, critics' step size and ratio have no effect on it.

    SB3 draws from the global generators of PyTorch and NumPy; their states are kept for a resumed run.

    Args:
        config: The settings.
        task: What to learn on.
    """

    def __init__(self, config: TrainConfig, task: Task) -> None:
        super().__init__(config, task)
        first = config.seed * SEEDS_OF_A_RUN
        seeds = [seed_of("train", first + copy) for copy in range(config.rollout.copies)]
        self.env = HubNetworkVecEnv(cast(Any, self.batch), seeds)
        self.model = PPO(
            "MlpPolicy",
            self.env,
            learning_rate=self._learning_rate,
            n_steps=config.rollout.days,
            batch_size=max(2, self.env.num_envs * config.rollout.days // config.ppo.minibatches),
            n_epochs=config.ppo.epochs,
            gamma=config.ppo.gamma,
            gae_lambda=config.ppo.gae_lambda,
            clip_range=config.ppo.clip,
            ent_coef=config.ppo.entropy,
            max_grad_norm=config.ppo.max_grad_norm,
            target_kl=config.ppo.target_kl or None,
            policy_kwargs=_network_arguments(config),
            seed=config.seed,
            device="cpu",
        )
        self.model.set_logger(Logger(None, []))

    def _learning_rate(self, _: float) -> float:
        """Step size by the share of our run, not of SB3's own count."""
        linear = self.config.ppo.schedule == "linear"
        return self.config.ppo.learning_rate * (1.0 - 0.9 * self.progress if linear else 1.0)

    def _begin(self, say: Say) -> None:
        """SB3 resets the worlds itself when it first collects."""

    def _learn(self) -> dict[str, float]:
        """One rollout and one update by SB3."""
        steps = self.env.num_envs * self.config.rollout.days
        self.model.learn(steps, log_interval=NEVER, reset_num_timesteps=False)
        rewards = self.model.rollout_buffer.rewards
        logged = {name.replace("train/", "sb3/"): float(v) for name, v in self.model.logger.name_to_value.items()}
        return {"episode/reward_per_day": float(rewards.mean()), **logged}

    def policy(self, sample: bool) -> Sb3Policy:
        """The model's policy as it is."""
        return Sb3Policy(self.model.policy, self.env.padding, "sample" if sample else "mode", sample)

    def weights(self) -> dict[str, Any]:
        """Weights of the shared network, critic included."""
        return self.model.policy.state_dict()

    def inner_state(self) -> dict[str, Any]:
        """Optimiser, counters, worlds, global generators, and where the next rollout starts."""
        drawn = np.random.get_state(legacy=False)  # noqa: NPY002  # SB3 draws from it
        arrays = {"numpy_keys": drawn["state"]["key"]}
        if self.model._last_obs is not None:  # the worlds have been started
            arrays |= {f"world.{name}": value for name, value in self.batch.save_state().items()}
            arrays["last_obs"] = cast(NDArray[Any], self.model._last_obs)
            arrays["last_starts"] = cast(NDArray[Any], self.model._last_episode_starts)
        return {
            "optimiser": self.model.policy.optimizer.state_dict(),
            "arrays": checkpoint.pack(arrays),
            "numpy": [drawn["state"]["pos"], drawn["has_gauss"], drawn["gauss"]],
            "torch": torch.get_rng_state(),
            "timesteps": self.model.num_timesteps,
            "updates": self.model._n_updates,
        }

    def restore_inner(self, weights: Mapping[str, Any], state: Mapping[str, Any]) -> None:
        """Put all of it back."""
        self.model.policy.load_state_dict(dict(weights))
        self.model.policy.optimizer.load_state_dict(state["optimiser"])
        arrays = checkpoint.unpack(state["arrays"])
        if "last_obs" in arrays:
            self.env.reset()
            world = {name.removeprefix("world."): value for name, value in arrays.items() if name.startswith("world.")}
            self.batch.load_state(world)
            self.model._last_obs, self.model._last_episode_starts = arrays["last_obs"], arrays["last_starts"]
        self.model.num_timesteps, self.model._n_updates = state["timesteps"], state["updates"]
        np.random.set_state(("MT19937", arrays["numpy_keys"], *state["numpy"]))  # noqa: NPY002  # SB3 draws from it
        torch.set_rng_state(state["torch"])
