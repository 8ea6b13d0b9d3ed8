"""What command lines check of their options alike."""

from __future__ import annotations

from collections.abc import Sequence

from fabmesh.agents.learning.config import MOST_SEED
from fabmesh.envs.errors import FabmeshError

MOST_TRIALS = 1_000_000
MOST_EPISODES = 100_000
MOST_SEARCH_SEED = 1_000_000  # Optuna's are 32 bits; a search makes many of each


def require_training_seeds(seeds: Sequence[int]) -> None:
    """Refuse seeds that are none, negative, too large or the same.

    Raises:
        FabmeshError: With the seeds.
    """
    if not seeds or not all(0 <= seed <= MOST_SEED for seed in seeds) or len(set(seeds)) < len(seeds):
        given = " ".join(map(str, seeds))
        raise FabmeshError(f"--seeds {given}: give different numbers of at least 0, at most {MOST_SEED:,}")
