"""Every measure of a result that its books alone tell, each with what works it out from the ledger and the counts.

What needs the network as well is in `measures.network`, what a mechanism of the scenario adds in `measures.mechanisms`.
This is the one code path from the world to a number in a table: heuristics, learned policies and planners alike go
through it. Costs are EUR per episode, settlement included; definitions are those of the model (`docs/model.md`, section
9). `docs/measures.md` shows the catalogue.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Generic, TypeVar

import numpy as np

from fabmesh.agents.evaluation.statistics import Better, Floats
from fabmesh.envs.network.books.accounts import EVENT_NAMES, NOT_COST
from fabmesh.envs.network.schema.scenario import WORKING_DAYS_PER_YEAR, Scenario

FREIGHT_LINES = ("order_cost", "supplier_freight", "first_mile_freight", "last_mile_freight")
TRANSFER_LINES = NOT_COST  # paid between agents and customers: no cost of the network
CARBON_EVENTS = tuple(name for name in EVENT_NAMES if name.startswith("co2e_kg_"))
PRODUCTION_LINES = ("material", "machine", "energy", "labour", "overtime", "setup", "scrap")


@dataclass(frozen=True, eq=False)
class EpisodeBooks:
    """What finished episodes have booked.

    Attributes:
        ledger: EUR cumulated over the episode, [episodes, agents + platform, lines].
        lines: Names of the ledger lines.
        events: Counts over the episode, [episodes, events].
        event_names: Names of the events.
        standard_cost: EUR, standard cost of the tape, [episodes].
    """

    ledger: Floats
    lines: Sequence[str]
    events: Floats
    event_names: Sequence[str]
    standard_cost: Floats

    @cached_property
    def line(self) -> Mapping[str, Floats]:
        """EUR of each ledger line, over all agents and the platform, [episodes]."""
        return dict(zip(self.lines, np.moveaxis(self.ledger.sum(axis=1), -1, 0), strict=True))

    @cached_property
    def count(self) -> Mapping[str, Floats]:
        """Counts of each event, [episodes]."""
        return dict(zip(self.event_names, np.moveaxis(self.events, -1, 0), strict=True))

    def sum_of(self, lines: Sequence[str]) -> Floats:
        """EUR of some ledger lines, [episodes]."""
        return sum((self.line[line] for line in lines), start=np.zeros(len(self.ledger)))

    @cached_property
    def network(self) -> Floats:
        """Network cost, EUR [episodes]."""
        return self.sum_of([line for line in self.lines if line not in TRANSFER_LINES])

    @property
    def controllable(self) -> Floats:
        """Controllable cost, EUR [episodes]."""
        return self.network - self.standard_cost

    @property
    def logistics(self) -> Floats:
        """Order cost and freight, EUR [episodes]."""
        return self.sum_of(FREIGHT_LINES)

    @property
    def mission(self) -> Floats:
        """Logistics and deadstock, EUR [episodes]."""
        return self.logistics + self.line["deadstock"]

    @property
    def bought(self) -> Floats:
        """Purchases of depots and of hubs at retail, EUR [episodes]."""
        return self.count["purchases_eur"] + self.count["retail_eur"]

    @property
    def carbon(self) -> Floats:
        """CO2e, kg [episodes]."""
        return sum((self.count[name] for name in CARBON_EVENTS), start=np.zeros(len(self.events)))


@dataclass(frozen=True, eq=False)
class ScenarioBooks(EpisodeBooks):
    """The books of episodes, and the network they are of.

    Attributes:
        scenario: The network.
    """

    scenario: Scenario

    @property
    def days(self) -> int:
        """Days of an episode."""
        return self.scenario.episode_d


Books = TypeVar("Books", bound=EpisodeBooks, contravariant=True)


@dataclass(frozen=True)
class Measure(Generic[Books]):
    """What a number in a table means, and how it is worked out.

    Attributes:
        name: Key in JSON and in `EpisodeTable.measures`.
        label: Words for tables and axes.
        unit: Unit; "share" is dimensionless and from 0 to 1 unless said.
        formula: How it is worked out, in ledger lines and event counts of one episode.
        of: Works it out: books of episodes -> [episodes]; nan where a share has nothing to be a share of.
        better: Which way is better, if either is.
    """

    name: str
    label: str
    unit: str
    formula: str
    of: Callable[[Books], Floats]
    better: Better = "lower"


def count(event: str) -> Callable[[EpisodeBooks], Floats]:
    """The measure that is a count."""
    return lambda books: books.count[event]


def line(name: str) -> Callable[[EpisodeBooks], Floats]:
    """The measure that is a ledger line."""
    return lambda books: books.line[name]


def share(part: str, whole: str) -> Callable[[EpisodeBooks], Floats]:
    """The measure that is a count over another."""
    return lambda books: ratio(books.count[part], books.count[whole])


def ratio(part: Floats, whole: Floats) -> Floats:
    """Part over whole, nan where there is no whole."""
    return np.asarray(np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=whole > 0))


MEASURES: tuple[Measure[EpisodeBooks], ...] = (
    Measure(
        "network_cost", "network cost", "EUR", "sum of all cost lines over agents and platform", lambda b: b.network
    ),
    Measure(
        "controllable_cost",
        "controllable cost",
        "EUR",
        "network cost - standard cost of all units on the tape",
        lambda b: b.controllable,
    ),
    Measure("mission_cost", "mission cost", "EUR", "order_cost + all freight lines + deadstock", lambda b: b.mission),
    Measure(
        "network_cost_per_unit",
        "network cost per unit delivered",
        "EUR/unit",
        "network cost / units_delivered",
        lambda b: ratio(b.network, b.count["units_delivered"]),
    ),
    Measure(
        "controllable_cost_per_unit",
        "controllable cost per unit delivered",
        "EUR/unit",
        "controllable cost / units_delivered",
        lambda b: ratio(b.controllable, b.count["units_delivered"]),
    ),
    Measure(
        "mission_cost_per_unit",
        "mission cost per unit delivered",
        "EUR/unit",
        "mission cost / units_delivered",
        lambda b: ratio(b.mission, b.count["units_delivered"]),
    ),
    Measure("deadstock", "deadstock write-off net of salvage", "EUR", "line deadstock", line("deadstock")),
    Measure(
        "deadstock_share",
        "deadstock at book value / purchases, retail included",
        "share",
        "deadstock_gross_eur / (purchases_eur + retail_eur)",
        lambda b: ratio(b.count["deadstock_gross_eur"], b.bought),
    ),
    Measure("logistics_cost", "order and freight cost", "EUR", "order_cost + all freight lines", lambda b: b.logistics),
    Measure(
        "logistics_share",
        "logistics / network cost",
        "share",
        "logistics cost / network cost",
        lambda b: ratio(b.logistics, b.network),
    ),
    Measure(
        "retail_share",
        "bought at retail / purchases, retail included",
        "share",
        "retail_eur / (purchases_eur + retail_eur)",
        lambda b: ratio(b.count["retail_eur"], b.bought),
    ),
    Measure("lateness_cost", "lateness", "EUR", "line lateness", line("lateness")),
    Measure("lost_cost", "lost and cancelled orders", "EUR", "line lost", line("lost")),
    Measure("holding_cost", "holding", "EUR", "line holding", line("holding")),
    Measure("settlement_cost", "settlement at the end", "EUR", "line settlement", line("settlement")),
    Measure(
        "fill_rate",
        "units delivered / ordered",
        "share",
        "units_delivered / units_ordered",
        share("units_delivered", "units_ordered"),
        "higher",
    ),
    Measure(
        "on_time_share",
        "units on time / delivered",
        "share",
        "units_on_time / units_delivered",
        share("units_on_time", "units_delivered"),
        "higher",
    ),
    Measure(
        "lost_share",
        "units lost / ordered",
        "share",
        "units_lost / units_ordered",
        share("units_lost", "units_ordered"),
    ),
    Measure(
        "cancelled_share",
        "units cancelled / ordered",
        "share",
        "units_cancelled / units_ordered",
        share("units_cancelled", "units_ordered"),
    ),
    Measure(
        "lead_time_days",
        "lead time of delivered units",
        "days",
        "lead_time_unit_days / units_delivered",
        share("lead_time_unit_days", "units_delivered"),
    ),
    Measure(
        "tender_win_share",
        "tenders awarded / posted",
        "share",
        "tenders_won / tenders_posted",
        share("tenders_won", "tenders_posted"),
        "higher",
    ),
    Measure(
        "supplier_orders", "supplier orders of depots", "orders", "supplier_orders", count("supplier_orders"), "neither"
    ),
    Measure(
        "hub_consignments",
        "consignments to hubs",
        "consignments",
        "hub_consignments",
        count("hub_consignments"),
        "neither",
    ),
    Measure(
        "shortage_days",
        "days a hub lacked a material it needed",
        "hub-material days",
        "shortage_hub_material_days",
        count("shortage_hub_material_days"),
    ),
    Measure("overtime_hours", "overtime", "h", "overtime_h", count("overtime_h"), "neither"),
    Measure(
        "masked_actions", "actions without effect", "actions", "masked_actions", count("masked_actions"), "neither"
    ),
    Measure("skilled_hours", "technicians' hours worked", "h", "labour_h", count("labour_h"), "neither"),
    Measure(
        "scrap_share",
        "unit-stages scrapped / (units delivered + scrapped)",
        "share",
        "units_scrapped / (units_delivered + units_scrapped)",
        lambda b: ratio(b.count["units_scrapped"], b.count["units_delivered"] + b.count["units_scrapped"]),
    ),
    Measure(
        "inventory_turns_per_year",
        "material used / mean inventory, per year",
        "1/year",
        f"line material x {WORKING_DAYS_PER_YEAR} d / inventory_eur_days",
        lambda b: ratio(b.line["material"] * WORKING_DAYS_PER_YEAR, b.count["inventory_eur_days"]),
        "neither",
    ),
    Measure(
        "allocative_efficiency",
        "least true cost / true cost of the awards",
        "share, 1 = every award to the cheapest hub that could",
        "award_least_cost_eur / award_cost_eur",
        share("award_least_cost_eur", "award_cost_eur"),
        "higher",
    ),
    Measure(
        "winners_regret",
        "what winners could have asked more / revenue",
        "share",
        "award_left_eur / line revenue",
        lambda b: ratio(b.count["award_left_eur"], b.line["revenue"]),
        "neither",
    ),
    Measure(
        "realised_markup",
        "paid for production / production cost - 1",
        "share",
        "(revenue - last_mile_freight) / (material + machine + energy + labour + overtime + setup + scrap) - 1",
        lambda b: ratio(b.line["revenue"] - b.line["last_mile_freight"], b.sum_of(PRODUCTION_LINES)) - 1.0,
        "neither",
    ),
    Measure(
        "paid_above_bid",
        "second price less the winners' bids",
        "EUR",
        "paid_above_bid_eur",
        count("paid_above_bid_eur"),
        "neither",
    ),
    Measure(
        "platform_fees",
        "platform's share of revenue",
        "EUR",
        "platform_fees_eur",
        count("platform_fees_eur"),
        "neither",
    ),
    Measure("royalties", "royalties on designs", "EUR", "royalties_eur", count("royalties_eur"), "neither"),
    Measure("units_ordered", "units ordered", "units", "units_ordered", count("units_ordered"), "neither"),
    Measure(
        "surge_units_share",
        "units ordered of products in a surge / ordered",
        "share",
        "surge_units / units_ordered",
        share("surge_units", "units_ordered"),
        "neither",
    ),
    Measure("co2e_kg", "CO2e of transport, energy and material", "kg", "sum of all co2e_kg counts", lambda b: b.carbon),
    Measure(
        "co2e_kg_per_unit",
        "CO2e per unit delivered",
        "kg/unit",
        "co2e_kg / units_delivered",
        lambda b: ratio(b.carbon, b.count["units_delivered"]),
    ),
    Measure("co2e_kg_van", "CO2e of own vans to customers", "kg", "co2e_kg_van", count("co2e_kg_van")),
    Measure("co2e_kg_parcel", "CO2e of parcels to customers", "kg", "co2e_kg_parcel", count("co2e_kg_parcel")),
    Measure(
        "co2e_kg_retail_parcel",
        "CO2e of parcels from retail to hubs",
        "kg",
        "co2e_kg_retail_parcel",
        count("co2e_kg_retail_parcel"),
    ),
    Measure(
        "co2e_kg_truck_to_hub",
        "CO2e of trucks from depots to hubs",
        "kg",
        "co2e_kg_truck_to_hub",
        count("co2e_kg_truck_to_hub"),
    ),
    Measure(
        "co2e_kg_truck_to_depot",
        "CO2e of trucks from suppliers to depots",
        "kg",
        "co2e_kg_truck_to_depot",
        count("co2e_kg_truck_to_depot"),
    ),
    Measure("co2e_kg_energy", "CO2e of the machines' electricity", "kg", "co2e_kg_energy", count("co2e_kg_energy")),
    Measure("co2e_kg_material", "CO2e of material in good units", "kg", "co2e_kg_material", count("co2e_kg_material")),
    Measure("co2e_kg_scrap", "CO2e of material scrapped", "kg", "co2e_kg_scrap", count("co2e_kg_scrap")),
    Measure("co2e_kg_write_off", "CO2e of material written off", "kg", "co2e_kg_write_off", count("co2e_kg_write_off")),
)


def worked_out(measures: Sequence[Measure[Books]], books: Books) -> dict[str, Floats]:
    """The measures of finished episodes: name -> float64[episodes]."""
    return {item.name: np.array(item.of(books), dtype=np.float64) for item in measures}


def measure(books: EpisodeBooks) -> dict[str, Floats]:
    """Every measure of `MEASURES` of finished episodes: name -> [episodes]."""
    return worked_out(MEASURES, books)
