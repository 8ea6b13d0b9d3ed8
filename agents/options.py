"""What command lines check of their options alike."""

from __future__ import annotations

from collections.abc import Sequence

from fabmesh.envs.errors import FabmeshError


def require_at_least(options: object, **least: int) -> None:
    """Refuse numbers that are too small.

    Args:
        options: The options, by name.
        least: The least that each can be.

    Raises:
        FabmeshError: With the option and the value.
    """
    for name, low in least.items():
        value = getattr(options, name)
        if value < low:
            raise FabmeshError(f"--{name.replace('_', '-')} {value}: at least {low} is needed")


def require_training_seeds(seeds: Sequence[int]) -> None:
    """Refuse seeds that are none, negative or the same.

    Raises:
        FabmeshError: With the seeds.
    """
    if not seeds or min(seeds) < 0 or len(set(seeds)) < len(seeds):
        raise FabmeshError(f"--seeds {' '.join(map(str, seeds))}: give different numbers of at least 0")
