"""Policies by name: heuristics, trained policies that come with the package, and checkpoints by their path."""

from __future__ import annotations

import difflib
from pathlib import Path

from fabmesh.agents import heuristics
from fabmesh.agents.heuristics.family import is_member
from fabmesh.agents.heuristics.tuned import from_file
from fabmesh.agents.learning.run import shipped
from fabmesh.agents.policy import Policy
from fabmesh.envs.errors import FabmeshError
from fabmesh.envs.network.loading import shipped_scenarios
from fabmesh.envs.network.schema.scenario import Scenario
from fabmesh.envs.network.schema.yaml_tree import shown

SAMPLE_SUFFIX = ":sample"
RULES_SUFFIXES = (".yaml", ".yml")


def names() -> tuple[str, ...]:
    """The policies that have a name: heuristics, then what has been trained and comes with the package."""
    return (*heuristics.NAMES, *shipped.names())


def make_policy(name_or_path: str, scenario: Scenario) -> Policy:
    """Make a policy from what a user types.

    Args:
        name_or_path: The name of a heuristic (rules may be joined: `cost_plus+can_order+eoq_discount`), the path of a
            YAML file of rules, `shipped:NAME`, or the path of a run directory or checkpoint file. The last three may
            end in ":sample" for actions sampled from the policy instead of its most likely ones.
        scenario: The network it is to act in.

    Raises:
        FabmeshError: If there is no such policy, or the checkpoint is for another scenario.
    """
    plain = name_or_path.removesuffix(SAMPLE_SUFFIX)
    if not is_trained(plain):
        if plain != name_or_path:
            raise FabmeshError(
                f"policy {name_or_path!r}: a heuristic has no action probabilities to sample from; use {plain!r}"
            )
        if plain.endswith(RULES_SUFFIXES):
            return from_file(Path(plain), scenario)
        return heuristics.make(plain, scenario)
    if shipped.is_shipped(plain):
        return shipped.make(plain, scenario, sample=plain != name_or_path)
    if is_there(plain):
        # Torch takes a second to import, and heuristics do without it.
        from fabmesh.agents.learning.run.checkpoint import load_policy

        return load_policy(Path(plain), scenario, sample=plain != name_or_path)
    raise FabmeshError(_unknown(plain))


def is_trained(name_or_path: str) -> bool:
    """Say whether what a user types names a trained policy, whose checkpoint was chosen on validation seeds."""
    plain = name_or_path.removesuffix(SAMPLE_SUFFIX)
    if plain in heuristics.NAMES or plain.endswith(RULES_SUFFIXES):
        return False
    return is_there(plain) or not is_member(plain)


def is_there(path: str) -> bool:
    """Whether there is a file or directory of that name; there is none where the name is too long for one."""
    try:
        return Path(path).exists()
    except OSError:
        return False


def scenario_of(name_or_path: str) -> str | None:
    """Name of the scenario that a trained policy was trained on, if it is a shipped one; else None.

    Raises:
        FabmeshError: If there is a file that is no checkpoint, or no policy of that name comes with the package.
    """
    if shipped.is_shipped(name_or_path):
        return shipped.find(name_or_path.removesuffix(SAMPLE_SUFFIX)).scenario
    path = Path(name_or_path.removesuffix(SAMPLE_SUFFIX))
    if not is_trained(str(path)) or not is_there(str(path)) or path.suffix == ".zip":
        return None
    from fabmesh.agents.learning.run.checkpoint import read  # torch takes a second to import

    name = read(path).get("scenario")
    return name if name in shipped_scenarios() else None


def _unknown(name: str) -> str:
    known = ", ".join(names())
    if "/" in name or name.endswith(".pt"):
        return f"policy {shown(name)}: no such run directory or checkpoint file; known names: {known}"
    near = difflib.get_close_matches(name, names(), n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return (
        f"unknown policy {shown(name)}: {hint}known names: {known}; or give the path of a run directory or checkpoint"
    )
