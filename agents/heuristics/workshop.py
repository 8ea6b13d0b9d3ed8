"""Rules for what a hub does in its workshop: making to stock and overtime."""

from __future__ import annotations

import numpy as np

from fabmesh.agents.heuristics.formulas import covering_level
from fabmesh.agents.heuristics.view import Desk
from fabmesh.envs.network.scenario import Scenario


class MakeToOrder:
    """Nothing is made before it is sold: finished goods would lose their value with the next design revision."""

    def __call__(self, desk: Desk) -> None:
        """Put levels on the desk."""
        desk.choose("make_to_stock", 0)


class OvertimeWhenLate:
    """Overtime that just covers the technicians' hours committed for the next two days beyond the normal ones.

    The smallest level that covers the excess of near-term labour load over 1 (chase strategy of aggregate planning,
    Silver, Pyke & Thomas 2017, chapter 13).
    """

    def __init__(self, scenario: Scenario) -> None:
        """Take the levels from the scenario."""
        self._shares = np.array(scenario.actions.overtime)

    def __call__(self, desk: Desk) -> None:
        """Put levels on the desk."""
        excess = desk.see("labour_load")[..., 1:2] - 1.0
        desk.choose("overtime", covering_level(np.maximum(excess, 0.0), self._shares))
