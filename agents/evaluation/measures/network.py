"""Measures that need the network beside its books: what there is to work with, and who earns what."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

import numpy as np

from fabmesh.agents.evaluation.measures.books import TRANSFER_LINES, Measure, ScenarioBooks, ratio, worked_out
from fabmesh.agents.evaluation.measures.economics import economics
from fabmesh.agents.evaluation.measures.trace import Trace
from fabmesh.agents.evaluation.statistics import Floats
from fabmesh.envs.network.books.accounts import BATCHES
from fabmesh.envs.network.books.scenario_tables import lot_mean_units
from fabmesh.envs.network.books.state import F_RECEIVED
from fabmesh.envs.network.day.stage6_hubs_work import MONTH_D
from fabmesh.envs.network.schema.scenario import WORKING_DAYS_PER_WEEK, WORKING_DAYS_PER_YEAR, Scenario


@dataclass(frozen=True, eq=False)
class NetworkBooks(ScenarioBooks):
    """The books of episodes, the network they are of, and what was seen in it.

    Attributes:
        flow: Material per node at the end of the episode, [episodes, hubs + depots, materials, flows, 2].
        trace: What was read off day by day.
    """

    flow: Floats
    trace: Trace

    @property
    def hubs(self) -> int:
        """Number of hubs, the first rows of the ledger."""
        return len(self.scenario.hubs)

    @property
    def technicians(self) -> Floats:
        """Technicians of each hub."""
        return np.array([hub.technicians for hub in self.scenario.hubs], np.float64)

    @property
    def regular_h(self) -> float:
        """Regular hours of all technicians in an episode."""
        return float(self.technicians.sum()) * self.scenario.labour.hours_per_day * self.days

    @property
    def profit(self) -> Floats:
        """Profit of each hub, EUR [episodes, hubs]."""
        own = self.ledger[:, : self.hubs]
        income = own[..., [self.lines.index(line) for line in TRANSFER_LINES]].sum(axis=-1)
        cost = own[..., [i for i, line in enumerate(self.lines) if line not in TRANSFER_LINES]].sum(axis=-1)
        return np.asarray(income - cost)

    @cached_property
    def economics(self) -> dict[str, Floats]:
        """The measures of `economics`, of hubs and depots together."""
        agents = self.ledger[:, : self.hubs + len(self.scenario.depots)].sum(axis=1)
        sign = np.array([1.0 if line in TRANSFER_LINES else -1.0 for line in self.lines])
        return economics(self.scenario, agents[:, self.lines.index("revenue")], agents @ sign, self.count)

    def price_over(self, prices_eur: Sequence[float]) -> Floats:
        """What depots paid to suppliers / the same at other prices of the materials, [episodes]."""
        received = self.flow[:, self.hubs :, :, F_RECEIVED].sum(axis=1)  # [episodes, materials, quantity and value]
        return ratio(received[..., 1].sum(axis=1), received[..., 0] @ np.array(prices_eur))


def _cost_index(size: str, words: str) -> Measure[NetworkBooks]:
    return Measure(
        f"cost_index_batch_{size}",
        f"cost / standard cost of good units, batches of {words} (a product at a stage, hub and day)",
        "ratio, 1 = standard",
        f"batch_{size}_eur / batch_{size}_standard_eur",
        lambda b: ratio(b.count[f"batch_{size}_eur"], b.count[f"batch_{size}_standard_eur"]),
    )


NETWORK_MEASURES: tuple[Measure[NetworkBooks], ...] = (
    Measure(
        "inventory_value_eur",
        "mean book value of all stock",
        "EUR",
        "inventory_eur_days / days",
        lambda b: b.count["inventory_eur_days"] / b.days,
        "neither",
    ),
    Measure(
        "depot_price_over_bulk",
        "paid to suppliers / the same at bulk price",
        "ratio, at least 1",
        "value / (quantity x bulk price) over what depots received",
        lambda b: b.price_over([material.bulk_eur for material in b.scenario.materials]),
    ),
    Measure(
        "depot_price_over_retail",
        "paid to suppliers / the same at retail price",
        "ratio, at most 1 but for shortages",
        "value / (quantity x retail price) over what depots received",
        lambda b: b.price_over([material.retail_eur for material in b.scenario.materials]),
    ),
    Measure(
        "labour_utilisation",
        "technicians' hours worked / regular hours",
        "share, above 1 with overtime",
        "labour_h / (technicians x hours a day x days)",
        lambda b: ratio(b.count["labour_h"], np.full(len(b.events), b.regular_h)),
        "neither",
    ),
    Measure(
        "bid_markup",
        "mean mark-up of standing bids that won, by machine hours",
        "share",
        "sum of hours won x mark-up bid / sum of hours won (lots; read off day by day)",
        lambda b: b.trace.bid_markup,
        "neither",
    ),
    Measure(
        "products_per_hub_month",
        "distinct products a hub works on in a month of 21 days",
        "products",
        "hub_month_rows / (hubs x months)",
        lambda b: b.count["hub_month_rows"] / (b.hubs * math.ceil(b.days / MONTH_D)),
        "neither",
    ),
    *(
        _cost_index(size, words)
        for size, words in zip(BATCHES, ("1 unit", "2 to 5 units", "6 to 20 units", "21 units and more"), strict=True)
    ),
    Measure(
        "hub_profit",
        "profit of all hubs",
        "EUR",
        "hubs' revenue + transfers - their cost lines",
        lambda b: b.profit.sum(axis=1),
        "higher",
    ),
    Measure(
        "gini_hub_profit",
        "Gini coefficient of the hubs' profits",
        "0 = equal; above 1 possible with losses",
        "sum over pairs |x_i - x_j| / (2 n sum x); undefined unless the hubs together make a profit",
        lambda b: gini(b.profit),
    ),
    Measure(
        "gini_hub_work",
        "Gini coefficient of the hubs' revenue per technician",
        "share, 0 = equal",
        "the same of revenue / technicians",
        lambda b: gini(b.ledger[:, : b.hubs, b.lines.index("revenue")] / b.technicians),
    ),
    Measure(
        "demand_level",
        "units ordered / expected of mature demand",
        "ratio, 1 = the scenario's mean day",
        "units_ordered / (mean units a day of all streams, without season, x days)",
        lambda b: b.count["units_ordered"] / (_mean_units(b.scenario) * b.days),
        "neither",
    ),
    Measure(
        "life_cycle_shift",
        "distance of products' demand from its mean over their lives",
        "share, 0 = no life cycles",
        "life_shift_product_days / (products x days)",
        lambda b: b.count["life_shift_product_days"] / (len(b.scenario.products) * b.days),
        "neither",
    ),
    Measure(
        "capital_charge",
        "annuity of machines and fit-out",
        "EUR/year",
        "(machines x capex_eur + fit_out_eur) x r / (1 - (1 + r)^-years)",
        lambda b: b.economics["capital_charge"],
        "neither",
    ),
    Measure(
        "profit_after_capital",
        "profit of hubs and depots after capital charge",
        "EUR/year",
        "(profit + hourly charges) per year - capital charge - rent - technicians' wages",
        lambda b: b.economics["profit_after_capital"],
        "higher",
    ),
    Measure(
        "break_even_adoption",
        "revenue needed / revenue of the mature catchment",
        "share of mature demand",
        "fixed cost / (contribution / revenue) / (mature_level x base demand at list price)",
        lambda b: b.economics["break_even_adoption"],
    ),
)


def tender_measures(stream: str) -> tuple[Measure[NetworkBooks], ...]:
    """The measures of a tender stream: community projects, designers' batches."""
    posted, served, days = f"tenders_posted_{stream}", f"tenders_served_{stream}", f"tender_days_{stream}"
    return (
        Measure(
            f"tenders_served_{stream}",
            f"{stream}: tenders of the kind delivered whole / posted",
            "share",
            f"{served} / {posted}",
            lambda b: ratio(b.count[served], b.count[posted]),
            "higher",
        ),
        Measure(
            f"weeks_to_{stream}",
            f"{stream}: posting to whole delivery of tenders of the kind",
            "weeks",
            f"{days} / {served} / {WORKING_DAYS_PER_WEEK} d",
            lambda b: ratio(b.count[days], b.count[served] * WORKING_DAYS_PER_WEEK),
        ),
    )


def utilisation(technology: str) -> Measure[NetworkBooks]:
    """The measure of a technology that the network has."""
    hours = f"machine_h_{technology}"
    return Measure(
        f"utilisation_{technology}",
        f"{technology} hours worked / hours there",
        "share",
        f"{hours} / (machines x hours a day x days)",
        lambda b: b.count[hours] / (machine_hours(b.scenario)[technology] * b.days),
        "neither",
    )


def measure_network(books: NetworkBooks) -> dict[str, Floats]:
    """What needs the network as well: `NETWORK_MEASURES`, then tenders by stream, hours by technology."""
    tenders = chain(*(tender_measures(stream.name) for stream in books.scenario.tender_streams))
    hours = map(utilisation, machine_hours(books.scenario))
    return worked_out((*NETWORK_MEASURES, *tenders, *hours), books)


def gini(values: Floats) -> Floats:
    """Gini coefficient along the last axis: half the mean absolute difference over the mean (Gini 1912).

    Undefined (nan) where the values do not add up to more than zero.
    """
    number = values.shape[-1]
    apart = np.abs(values[..., :, None] - values[..., None, :]).sum(axis=(-2, -1))
    return ratio(apart, 2.0 * number * values.sum(axis=-1))


def _mean_units(scenario: Scenario) -> float:
    """Units of all streams on a mean day of mature demand; a custom order is a unit."""
    tenders = sum(
        t.tenders_per_100k_year * scenario.demand.tender_level / 1e5 / WORKING_DAYS_PER_YEAR * sum(t.units) / 2
        for t in scenario.tender_streams
    )
    return float(lot_mean_units(scenario).sum()) + tenders * sum(town.population for town in scenario.towns)


def machine_hours(scenario: Scenario) -> dict[str, float]:
    """Hours a day of each technology in the network, those it owns."""
    hours = {
        technology.name: technology.hours_per_day * sum(hub.machines.get(technology.name, 0) for hub in scenario.hubs)
        for technology in scenario.technologies
    }
    return {name: there for name, there in hours.items() if there > 0}
