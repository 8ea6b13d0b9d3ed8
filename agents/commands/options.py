"""What command lines check of their options alike."""

from __future__ import annotations

from collections.abc import Sequence

from fabmesh.agents.learning.config import MOST_SEED
from fabmesh.envs.errors import FabmeshError

MOST_THREADS = 1_024
MOST_TRIALS = 1_000_000
MOST_EPISODES = 100_000
MOST_SEARCH_SEED = 1_000_000  # Optuna's are 32 bits; a search makes many of each


def require_within(options: object, **bounds: tuple[int, int]) -> None:
    """Refuse numbers that are too small or too large.

    Args:
        options: The options, by name.
        bounds: The least and the most that each can be.

    Raises:
        FabmeshError: With the option and the value.
    """
    for name, (low, high) in bounds.items():
        value = getattr(options, name)
        if not low <= value <= high:
            allowed = f"at least {low} is needed" if value < low else f"at most {high:,} can be"
            raise FabmeshError(f"--{name.replace('_', '-')} {value}: {allowed}")


def require_training_seeds(seeds: Sequence[int]) -> None:
    """Refuse seeds that are none, negative, too large or the same.

    Raises:
        FabmeshError: With the seeds.
    """
    if not seeds or not all(0 <= seed <= MOST_SEED for seed in seeds) or len(set(seeds)) < len(seeds):
        given = " ".join(map(str, seeds))
        raise FabmeshError(f"--seeds {given}: give different numbers of at least 0, at most {MOST_SEED:,}")
