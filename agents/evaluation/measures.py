"""Every measure of a result, worked out in one place from an episode's ledger and event counts.

The one code path from the world to a number in a table: heuristics, learned policies and planners alike go through
`measure`. Costs are EUR per episode, settlement included; definitions are those of the model (`docs`, section 9).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]

FREIGHT_LINES = ("order_cost", "supplier_freight", "first_mile_freight", "last_mile_freight")
TRANSFER_LINES = ("revenue", "transfers")  # paid between agents and customers: no cost of the network


@dataclass(frozen=True)
class Measure:
    """What a number in a table means.

    Attributes:
        name: Key in JSON and in `EpisodeTable.measures`.
        label: Words for tables and axes.
        unit: Unit; "share" is dimensionless and from 0 to 1 unless said.
        better: Which way is better, if either is.
    """

    name: str
    label: str
    unit: str
    better: Literal["lower", "higher", "neither"] = "lower"


MEASURES = (
    Measure("network_cost", "network cost", "EUR"),
    Measure("controllable_cost", "controllable cost", "EUR"),
    Measure("mission_cost", "mission cost", "EUR"),
    Measure("network_cost_per_unit", "network cost per unit delivered", "EUR/unit"),
    Measure("controllable_cost_per_unit", "controllable cost per unit delivered", "EUR/unit"),
    Measure("mission_cost_per_unit", "mission cost per unit delivered", "EUR/unit"),
    Measure("deadstock", "deadstock write-off net of salvage", "EUR"),
    Measure("deadstock_share", "deadstock at book value / purchases, retail included", "share"),
    Measure("logistics_cost", "order and freight cost", "EUR"),
    Measure("logistics_share", "logistics / network cost", "share"),
    Measure("retail_share", "bought at retail / purchases, retail included", "share"),
    Measure("lateness_cost", "lateness", "EUR"),
    Measure("lost_cost", "lost and cancelled orders", "EUR"),
    Measure("holding_cost", "holding", "EUR"),
    Measure("settlement_cost", "settlement at the end", "EUR"),
    Measure("fill_rate", "units delivered / ordered", "share", "higher"),
    Measure("on_time_share", "units on time / delivered", "share", "higher"),
    Measure("lost_share", "units lost / ordered", "share"),
    Measure("cancelled_share", "units cancelled / ordered", "share"),
    Measure("lead_time_days", "lead time of delivered units", "days"),
    Measure("tender_win_share", "tenders awarded / posted", "share", "higher"),
    Measure("supplier_orders", "supplier orders of depots", "orders", "neither"),
    Measure("hub_consignments", "consignments to hubs", "consignments", "neither"),
    Measure("shortage_days", "days a hub lacked a material it needed", "hub-material days"),
    Measure("overtime_hours", "overtime", "h", "neither"),
    Measure("masked_actions", "actions without effect", "actions", "neither"),
)
BY_NAME = {item.name: item for item in MEASURES}


def measure(
    ledger: Floats, lines: Sequence[str], events: Floats, event_names: Sequence[str], standard_cost: Floats
) -> dict[str, Floats]:
    """Work out every measure of finished episodes.

    Args:
        ledger: EUR cumulated over the episode, [episodes, agents + platform, lines].
        lines: Names of the ledger lines.
        events: Counts over the episode, [episodes, events].
        event_names: Names of the events.
        standard_cost: EUR, standard cost of the tape, [episodes].

    Returns:
        Measure name -> [episodes]; nan where a share has nothing to be a share of.
    """
    by_line: Mapping[str, Floats] = dict(zip(lines, np.moveaxis(ledger.sum(axis=1), -1, 0), strict=True))
    count: Mapping[str, Floats] = dict(zip(event_names, np.moveaxis(events, -1, 0), strict=True))
    network = sum((by_line[line] for line in lines if line not in TRANSFER_LINES), start=np.zeros(len(ledger)))
    controllable = network - standard_cost
    logistics = sum((by_line[line] for line in FREIGHT_LINES), start=np.zeros(len(ledger)))
    mission = logistics + by_line["deadstock"]
    ordered, delivered = count["units_ordered"], count["units_delivered"]
    bought = count["purchases_eur"] + count["retail_eur"]
    values = {
        "network_cost": network,
        "controllable_cost": controllable,
        "mission_cost": mission,
        "network_cost_per_unit": _ratio(network, delivered),
        "controllable_cost_per_unit": _ratio(controllable, delivered),
        "mission_cost_per_unit": _ratio(mission, delivered),
        "deadstock": by_line["deadstock"],
        "deadstock_share": _ratio(count["deadstock_gross_eur"], bought),
        "logistics_cost": logistics,
        "logistics_share": _ratio(logistics, network),
        "retail_share": _ratio(count["retail_eur"], bought),
        "lateness_cost": by_line["lateness"],
        "lost_cost": by_line["lost"],
        "holding_cost": by_line["holding"],
        "settlement_cost": by_line["settlement"],
        "fill_rate": _ratio(delivered, ordered),
        "on_time_share": _ratio(count["units_on_time"], delivered),
        "lost_share": _ratio(count["units_lost"], ordered),
        "cancelled_share": _ratio(count["units_cancelled"], ordered),
        "lead_time_days": _ratio(count["lead_time_unit_days"], delivered),
        "tender_win_share": _ratio(count["tenders_won"], count["tenders_posted"]),
        "supplier_orders": count["supplier_orders"],
        "hub_consignments": count["hub_consignments"],
        "shortage_days": count["shortage_hub_material_days"],
        "overtime_hours": count["overtime_h"],
        "masked_actions": count["masked_actions"],
    }
    return {item.name: np.array(values[item.name], dtype=np.float64) for item in MEASURES}


def _ratio(part: Floats, whole: Floats) -> Floats:
    """Part over whole, nan where there is no whole."""
    return np.asarray(np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=whole > 0))
