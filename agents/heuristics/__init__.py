"""Baselines: heuristics that read observations and scenario constants only, for all copies of a batch at once.

A heuristic is a name and, per role, one rule for each decision (`ComposedPolicy`); rules combine freely (`family`).
"""

from __future__ import annotations

from collections.abc import Callable

from fabmesh.agents.heuristics import tuned
from fabmesh.agents.heuristics.composed import ComposedPolicy
from fabmesh.agents.heuristics.family import Choice, Choices, choices_of, compose, is_member
from fabmesh.agents.heuristics.random_policy import RandomPolicy
from fabmesh.agents.policy import Policy
from fabmesh.envs.network.schema.scenario import Scenario

__all__ = ["NAMES", "PRESETS", "ComposedPolicy", "RandomPolicy", "make", "names_for"]

PRESETS: dict[str, Choices] = {
    # The textbook opponent: everything below a hub's order-up-to level joins a consignment.
    "base_stock": {"hub_stock": Choice("can_order", {"join": 2})},
    # Rules of thumb: daily review, 10 days of cover; depots order 20 days at 1.5 lead-time needs, whatever the price
    # breaks, and pass material on at cost; nothing is made to stock, nobody works overtime.
    "nearest": {
        "routing": Choice("nearest"),
        "hub_stock": Choice("fixed_cover"),
        "depot_stock": Choice("fixed_lot"),
        "make_to_stock": Choice("make_to_order"),
        "overtime": Choice("no_overtime"),
        "quoting": Choice("fixed_quote", {"markup": 0.0}),
    },
}
"""Members of the family that have a name of their own."""


def _idle(scenario: Scenario) -> Policy:
    """Never bids, never buys, declines every request: the do-nothing baseline. All work is lost to the centre."""
    return ComposedPolicy("idle", scenario, {})


def _preset(name: str) -> Callable[[Scenario], Policy]:
    return lambda scenario: compose(name, scenario, PRESETS[name])


_MAKERS: dict[str, Callable[[Scenario], Policy]] = {
    "tuned": tuned.make,
    "base_stock": _preset("base_stock"),
    "nearest": _preset("nearest"),
    "random": RandomPolicy,
    "idle": _idle,
}

NAMES = tuple(_MAKERS)


def names_for(scenario: Scenario) -> tuple[str, ...]:
    """The heuristics with a name that a scenario has: all of `NAMES`, `tuned` only if something has been tuned."""
    return tuple(name for name in NAMES if name != tuned.NAME or tuned.path_for(scenario).is_file())


def make(name: str, scenario: Scenario) -> Policy:
    """Make a heuristic.

    Args:
        name: One of `NAMES`, or rules joined by plus signs, as `cost_plus+can_order+eoq_discount`.
        scenario: The network it is for.

    Raises:
        FabmeshError: If a rule does not exist, or nothing is tuned for the scenario.
        KeyError: If there is no heuristic of that name; `fabmesh.agents.registry.make_policy` says so to users.
    """
    if is_member(name):
        return compose(name, scenario, choices_of(name))
    return _MAKERS[name](scenario)
