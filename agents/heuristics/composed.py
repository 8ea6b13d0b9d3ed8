"""Heuristic policies put together from rules: one for each decision, so that any routing meets any stock rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from fabmesh.agents.heuristics.view import Desk
from fabmesh.agents.policy import Levels, Masks, Observations, Sees
from fabmesh.envs.network.interface.spec import role_specs
from fabmesh.envs.network.schema.scenario import Scenario


class Rule(Protocol):
    """Decides some action components of one role, from what its agents see today."""

    def __call__(self, desk: Desk) -> None:
        """Put levels on the desk."""
        ...


class ComposedPolicy:
    """A policy that asks one rule after the other; components no rule decides stay at level 0.

    Rules read observations and constants of the scenario, keep no memory between days, and treat all copies at once.
    A level the mask forbids becomes level 0.
    """

    sees: Sees = "local"

    def __init__(self, name: str, scenario: Scenario, rules: Mapping[str, Sequence[Rule]]) -> None:
        """Put a policy together.

        Args:
            name: Name in tables.
            scenario: The network it is for.
            rules: Per role ("hub", "depot") its rules.
        """
        self.name = name
        self._specs = role_specs(scenario)
        self._rules = {role: tuple(rules.get(role, ())) for role in self._specs}

    def reset(self, num_envs: int, seed: int) -> None:
        """Nothing to forget: the rules have no memory and no randomness."""

    def act(self, obs: Observations, masks: Masks) -> Levels:
        """See `fabmesh.agents.policy.Policy.act`."""
        levels: Levels = {}
        for role, rules in self._rules.items():
            desk = Desk(self._specs[role], obs[role], masks[role])
            for rule in rules:
                rule(desk)
            levels[role] = desk.legal_levels()
        return levels
