"""What the searches have in common: Optuna, rounded numbers, and a result written as YAML."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from fabmesh.envs.errors import FabmeshError
from fabmesh.envs.files import write_text

_DIGITS = 4  # significant digits of a number that is searched: what more would say is noise


def optuna_for(what: str) -> Any:
    """Optuna, quiet.

    Args:
        what: What needs it, for the message.

    Raises:
        FabmeshError: If it is not installed.
    """
    try:
        import cmaes  # noqa: F401 Optuna's CMA-ES needs it and says so late
        import optuna
    except ImportError:
        raise FabmeshError(f"{what} needs Optuna and cmaes: pip install -e '.[tune]' in a checkout") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def estimator(optuna: Any, seed: int, startup: int, group: bool = False) -> Any:
    """A multivariate tree-structured Parzen estimator (Falkner et al. 2018).

    Args:
        optuna: The library.
        seed: Of its draws.
        startup: Trials drawn at random before the estimator is believed.
        group: Numbers that only some choices have are estimated apart.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # `multivariate` and `group`
        return optuna.samplers.TPESampler(seed=seed, multivariate=True, group=group, n_startup_trials=startup)


def rounded(value: float) -> float:
    """A number with so many digits as are worth keeping."""
    return float(f"{value:.{_DIGITS}g}")


def versions(*libraries: str) -> str:
    """Names and versions of libraries."""
    return ", ".join(f"{name} {version(name)}" for name in libraries)


def write_yaml(path: Path, head: str, content: Mapping[str, Any]) -> None:
    """Write values as YAML below a comment, the whole file or nothing."""
    write_text(path, head + yaml.safe_dump(dict(content), sort_keys=False, width=120, default_flow_style=None))
