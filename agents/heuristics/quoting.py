"""Quoting rules: what a depot asks for its material."""

from __future__ import annotations

import numpy as np

from fabmesh.agents.heuristics.depot_stock import COVER_SCALE_D
from fabmesh.agents.heuristics.formulas import nearest_level
from fabmesh.agents.heuristics.view import Desk
from fabmesh.envs.network.schema.scenario import Scenario


class FixedQuote:
    """A depot asks the same mark-up on its average landed cost for every material, in stock or not.

    Args:
        scenario: The network.
        markup: Dimensionless; the nearest level is taken.
    """

    def __init__(self, scenario: Scenario, markup: float = 0.02) -> None:
        self._level = 1 + int(nearest_level(markup, scenario.actions.depot_quote))

    def __call__(self, desk: Desk) -> None:
        """Put levels on the desk."""
        desk.choose("quote", self._level)


class ScarcityQuote:
    """A depot asks more for what it is short of, so that hubs go to the depot that has it (shadow price of stock).

    The mark-up rises in a straight line from `plenty` at a stock of the material's lead time to `scarce` at none
    (inventory-dependent pricing, Gallego & van Ryzin 1994: the price falls with the stock left).

    Args:
        scenario: The network.
        plenty: Mark-up when stock covers the lead time or more (dimensionless).
        scarce: Mark-up without stock (dimensionless).
    """

    def __init__(self, scenario: Scenario, plenty: float = 0.0, scarce: float = 0.08) -> None:
        self._plenty, self._scarce = plenty, scarce
        self._lead_d = np.array([material.lead_mean_d for material in scenario.materials])
        self._markups = np.array(scenario.actions.depot_quote)

    def __call__(self, desk: Desk) -> None:
        """Put levels on the desk."""
        covered = np.clip(desk.see("stock_cover") * COVER_SCALE_D / self._lead_d, 0.0, 1.0)
        wanted = self._scarce + (self._plenty - self._scarce) * covered
        desk.choose("quote", 1 + nearest_level(wanted, self._markups))
