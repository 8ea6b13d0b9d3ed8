"""Rules for what a hub does in its workshop: making to stock and overtime."""

from __future__ import annotations

import numpy as np

from fabmesh.agents.heuristics.expectations import expect
from fabmesh.agents.heuristics.formulas import covering_level, joint_cycle, nearest_level
from fabmesh.agents.heuristics.hub_stock import REVIEW_D
from fabmesh.agents.heuristics.view import Desk
from fabmesh.envs.network.schema.scenario import WORKING_DAYS_PER_YEAR, Scenario

COVER_SCALE_D = 5.0  # days of own sales a finished_cover of 1 stands for


class MakeToOrder:
    """Nothing is made before it is sold: finished goods lose their value with the next design revision."""

    def __init__(self, scenario: Scenario) -> None:
        """Nothing to work out."""

    def __call__(self, desk: Desk) -> None:
        """Put levels on the desk."""
        desk.choose("make_to_stock", 0)


class EconomicLots:
    """Catalogue products in lots that balance set-ups and holding: (s, S) with S the economic lot.

    A day's orders of a product share one set-up, so a lot of T days saves T - 1 of them; the lot that balances this
    with holding lasts T = sqrt(2 K / (r D c)) days (Silver, Pyke & Thomas 2017, section 10.2, with production much
    faster than demand), at most the longest level. It is started when less than a day of sales is left (s = one day),
    and not when the design ends before it would be sold.

    Args:
        scenario: The network.
        lot: Times the economic lot (dimensionless).
        start_d: Days of sales left below which a lot is started.
        room: Load of the technicians (hours due within two days / hours there are) up to which lots are started.
    """

    def __init__(self, scenario: Scenario, lot: float = 1.0, start_d: float = REVIEW_D, room: float = np.inf) -> None:
        wage = scenario.labour.wage_eur_h
        setups = {t.name: t.setup_h * (t.rate_eur_h + wage) for t in scenario.technologies}
        fixed = np.array([sum(setups[stage.technology] for stage in p.stages) for p in scenario.products])
        wanted = expect(scenario)
        value = np.maximum(wanted.hub_sales * wanted.unit_cost, 1e-9)  # EUR a day, [hubs, products]
        cycle = lot * joint_cycle(fixed, value, scenario.inventory.holding_finished_year / WORKING_DAYS_PER_YEAR)
        covers = np.array(scenario.actions.make_to_stock_d, dtype=np.float64)
        level = nearest_level(cycle, covers)
        self._level, self._cover_d = 1 + level, covers[level]
        self._start_d, self._room = start_d, room
        self._notice_d = scenario.demand.revision_notice_d + 1.0  # days left that a notice of 0 stands for

    def __call__(self, desk: Desk) -> None:
        """Put levels on the desk."""
        notice = desk.see("revision_notice")
        sold_in_time = (notice <= 0.0) | (self._notice_d * (1.0 - notice) > self._cover_d)
        run_out = desk.see("finished_cover") * COVER_SCALE_D < self._start_d
        has_room = desk.see("labour_load")[..., 1:2] <= self._room
        desk.choose("make_to_stock", np.where(run_out & sold_in_time & has_room, self._level, 0))


class NoOvertime:
    """The regular hours, whatever is due (level strategy, Silver, Pyke & Thomas 2017, chapter 13)."""

    def __init__(self, scenario: Scenario) -> None:
        """Nothing to work out."""

    def __call__(self, desk: Desk) -> None:
        """Put levels on the desk."""
        desk.choose("overtime", 0)


class OvertimeAbovePlan:
    """Overtime that covers what is due within two days beyond the planned utilisation of the technicians.

    The smallest level that covers the excess (overtime as the short-term valve of a chase strategy, Silver, Pyke &
    Thomas 2017, chapter 13). Some slack is planned for, because late awards and scrap come on top of what is known.

    Args:
        scenario: The network.
        planned: Planned utilisation (share of the regular hours).
    """

    def __init__(self, scenario: Scenario, planned: float = 0.85) -> None:
        self._shares = np.array(scenario.actions.overtime)
        self._planned = planned

    def __call__(self, desk: Desk) -> None:
        """Put levels on the desk."""
        excess = desk.see("labour_load")[..., 1:2] - self._planned
        desk.choose("overtime", covering_level(np.maximum(excess, 0.0), self._shares))
