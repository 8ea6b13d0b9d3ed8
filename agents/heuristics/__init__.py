"""Baselines: heuristics that read observations and scenario constants only, for all copies of a batch at once.

A heuristic is a name and, per role, one rule for each decision (`ComposedPolicy`); rules combine freely.
"""

from __future__ import annotations

from collections.abc import Callable

from fabmesh.agents.heuristics.bidding import CostPlusBid, FixedBid, FixedQuote
from fabmesh.agents.heuristics.composed import ComposedPolicy
from fabmesh.agents.heuristics.depot_stock import DepotOrderUpTo, EoqWithDiscount
from fabmesh.agents.heuristics.hub_stock import DailyOrderUpTo, JointOrderUpTo
from fabmesh.agents.heuristics.random_policy import RandomPolicy
from fabmesh.agents.heuristics.workshop import EconomicLots, MakeToOrder, OvertimeAbovePlan
from fabmesh.agents.policy import Policy
from fabmesh.envs.network.scenario import Scenario

__all__ = ["NAMES", "ComposedPolicy", "RandomPolicy", "make"]


def _idle(scenario: Scenario) -> Policy:
    """Never bids, never buys, declines every request: the do-nothing baseline. All work is lost to the centre."""
    return ComposedPolicy("idle", scenario, {})


def _nearest(scenario: Scenario) -> Policy:
    """Nearest capable hub, order-up-to stock (dispatching rule "nearest facility", Larson & Odoni 1981, chapter 5).

    Every hub bids its own cost, mark-up 0, on every lane and tender. Hubs use the same rates, so their costs differ by
    set-up share and material quote only, and the landed score = bid + delivery + lateness record is least at the
    capable hub nearest to the customer; when its available hours are used up, at the next nearest. Load does not enter
    the bid. Stock: daily review, every material up to 10 days of cover; depots order 20 days' cover at 1.5 lead-time
    needs, whatever the price breaks, and pass material on at cost.
    """
    hub = (FixedBid(scenario, 0.0), DailyOrderUpTo(scenario, 10.0), MakeToOrder())
    depot = (DepotOrderUpTo(scenario, 1.5, 20.0), FixedQuote(scenario, 0.0))
    return ComposedPolicy("nearest", scenario, {"hub": hub, "depot": depot})


def _base_stock(scenario: Scenario) -> Policy:
    """Cost-plus bids that rise with load; joint order-up-to at hubs; EOQ with discounts and safety stock at depots.

    The textbook opponent: `CostPlusBid` (domain section 8.1), `JointOrderUpTo` (Balintfy 1964; Silver, Pyke & Thomas
    2017, chapters 7 and 10), `EoqWithDiscount` (ibid. section 4.5; Hadley & Whitin 1963), catalogue products in
    economic lots (ibid. section 10.2), overtime above 85 % planned utilisation, depots quoting 2 % on landed cost.
    """
    hub = (CostPlusBid(scenario), JointOrderUpTo(scenario), EconomicLots(scenario), OvertimeAbovePlan(scenario))
    depot = (EoqWithDiscount(scenario), FixedQuote(scenario, 0.02))
    return ComposedPolicy("base_stock", scenario, {"hub": hub, "depot": depot})


_MAKERS: dict[str, Callable[[Scenario], Policy]] = {
    "base_stock": _base_stock,
    "nearest": _nearest,
    "random": RandomPolicy,
    "idle": _idle,
}

NAMES = tuple(_MAKERS)


def make(name: str, scenario: Scenario) -> Policy:
    """Make a heuristic.

    Args:
        name: One of `NAMES`.
        scenario: The network it is for.

    Raises:
        KeyError: If there is no heuristic of that name; `fabmesh.agents.registry.make_policy` says so to users.
    """
    return _MAKERS[name](scenario)
