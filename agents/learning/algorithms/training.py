"""MAPPO and IPPO: imitation of a heuristic, or the weights of a trained policy, then rollouts and updates."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch

from fabmesh.agents.learning.algorithms.difference import DifferenceRewards
from fabmesh.agents.learning.algorithms.ppo import Learner, make_critics, make_policies, require_known_components
from fabmesh.agents.learning.algorithms.rollout import Collector
from fabmesh.agents.learning.algorithms.tape import WorldTape
from fabmesh.agents.learning.batch import team_weight
from fabmesh.agents.learning.config import TrainConfig, require_team_reward
from fabmesh.agents.learning.imitation import imitate
from fabmesh.agents.learning.policy.trained_policy import LearnedPolicy
from fabmesh.agents.learning.run import checkpoint
from fabmesh.agents.learning.run.logs import episode_metrics
from fabmesh.agents.learning.run.session import Say, Session, Task
from fabmesh.envs.network.compiler.rng import seed_of

SEEDS_OF_A_RUN = 1_000_000
"""Training worlds set aside for each training seed, by index in the space "train"."""
IMITATION_OFFSET = 500_000


def group_seeds(config: TrainConfig) -> list[int]:
    """First world of each copy: one training world per group of copies."""
    first = config.seed * SEEDS_OF_A_RUN
    return [seed_of("train", first + copy // config.rollout.group) for copy in range(config.rollout.copies)]


def imitation_seeds(config: TrainConfig) -> list[int]:
    """Worlds in which the teacher is watched."""
    first = config.seed * SEEDS_OF_A_RUN + IMITATION_OFFSET
    return [seed_of("train", first + copy) for copy in range(config.imitation.imitation_copies)]


class Training(Session):
    """MAPPO or IPPO, whichever the settings name.

    Args:
        config: The settings.
        task: What to learn on.
    """

    def __init__(self, config: TrainConfig, task: Task) -> None:
        super().__init__(config, task)
        require_team_reward(config, team_weight(self.batch))
        require_known_components(self.batch, config.ppo)
        tape = WorldTape(self.batch) if config.ppo.critic_tape else None
        difference = DifferenceRewards(self.batch) if config.ppo.reward == "difference" else None
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.policies = make_policies(self.batch, config)
            critics = make_critics(self.batch, config, 0 if tape is None else tape.size)
        for network in (*self.policies.values(), *critics.values()):  # made on the CPU: the same weights on any device
            network.to(self.device)
        for policy in self.policies.values():
            policy.fused = self.device.type == "cpu"
        self.generator = torch.Generator().manual_seed(config.seed)
        threads = config.machine.env_threads
        self._pool = pool = ThreadPoolExecutor(threads) if threads > 1 else None
        self.learner = Learner(self.policies, critics, config.ppo, config.rollout.group, pool)
        self.collector = Collector(self.batch, self.policies, config.rollout, self.generator, tape, difference, pool)

    def _begin(self, say: Say) -> None:
        """Take the weights to begin from or imitate the teacher, if there is either, and begin the first episodes."""
        if self.task.start is not None:
            for role, policy in self.policies.items():
                policy.load_state_dict(self.task.start[role])
        elif self.task.teacher is not None:
            batch = self.task.make_batch(self.config.imitation.imitation_copies)
            imitate(
                batch,
                self.task.teacher,
                self.policies,
                self.config.imitation,
                imitation_seeds(self.config),
                self.config.seed,
                lambda text: say(f"imitating {self.config.imitation.teacher}, {text} ({self.clock()})"),
                self.out_of_time,
            )
            batch.close()
        self.collector.start(group_seeds(self.config))

    def _learn(self) -> dict[str, float]:
        """One rollout and one update."""
        began = time.perf_counter()
        self.collector.collect()
        collected = time.perf_counter()
        knows = self.task.teacher is not None or self.config.init_from is not None
        warming = knows and self.iteration < self.config.imitation.critic_iterations
        metrics = self.learner.update(self.collector, self.progress, self.generator, move_policies=not warming)
        metrics["episode/reward_per_day"] = float(self.collector.team_rewards().mean())
        metrics["speed/collect_share"] = (collected - began) / (time.perf_counter() - began)
        if self.collector.episodes:
            metrics |= episode_metrics(self.collector.episodes, self.batch)  # type: ignore[arg-type]  # it has books
        return metrics

    def close(self) -> None:
        """End the threads."""
        super().close()
        if self._pool is not None:
            self._pool.shutdown()

    def policy(self, sample: bool) -> LearnedPolicy:
        """The policies as they are, on the CPU and with the heads that their checkpoint will be judged with, too."""
        policies = {role: copy.deepcopy(policy).cpu() for role, policy in self.policies.items()}
        for policy in policies.values():
            policy.fused = False
        return LearnedPolicy(policies, "sample" if sample else "mode", sample)

    def weights(self) -> dict[str, Any]:
        """Role -> weights."""
        return {role: policy.state_dict() for role, policy in self.policies.items()}

    def numbers(self) -> dict[str, Any]:
        """Weights of policies and critics, what the optimisers keep, and the logits of the first copy's agents."""
        seen = {role: buffer.obs[-1, :1] for role, buffer in self.collector.roles.items()}
        with torch.no_grad():
            logits = {role: self.policies[role](obs) for role, obs in seen.items()}
        return {"weights": self.weights(), "learner": self.learner.state_dict(), "logits": logits}

    def inner_state(self) -> dict[str, Any]:
        """Critics, optimisers, worlds and the generator."""
        return {
            "learner": self.learner.state_dict(),
            "collector": checkpoint.pack(self.collector.save()),
            "generator": self.generator.get_state(),
        }

    def restore_inner(self, weights: Mapping[str, Any], state: Mapping[str, Any]) -> None:
        """Put back policies, critics, optimisers, worlds and the generator."""
        for role, policy in self.policies.items():
            policy.load_state_dict(weights[role])
        self.learner.load_state_dict(state["learner"])
        self.collector.load(checkpoint.unpack(state["collector"]))
        self.generator.set_state(state["generator"])
