"""Whether a network pays for itself: capital charge, profit after it, break-even adoption, and a price of risk.

The ledger charges machines and people by the hour worked. Who owns machines and employs people pays for the year, so
these measures take the hourly charges out and put in what the year costs: the annuity of machines and fit-out, rent,
and the technicians' wages (the calculation of F§9.4). All figures are per year of 250 working days, in EUR.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fabmesh.agents.evaluation.statistics import Floats, tail_mean
from fabmesh.envs.network.schema.scenario import WORKING_DAYS_PER_YEAR, Scenario
from fabmesh.envs.scenarios.work import jobs


def annuity(interest: float, years: float) -> float:
    """Share of an investment due every year: r / (1 - (1 + r)^-n), or 1 / n without interest."""
    return 1.0 / years if interest == 0.0 else interest / (1.0 - (1.0 + interest) ** -years)


def capital_charge(scenario: Scenario) -> float:
    """EUR a year for machines and fit-out of all hubs: their price as an annuity."""
    price = {technology.name: technology.capex_eur for technology in scenario.technologies}
    machines = sum(count * price[name] for hub in scenario.hubs for name, count in hub.machines.items())
    fit_out = sum(hub.fit_out_eur for hub in scenario.hubs)
    return (machines + fit_out) * annuity(scenario.economics.interest_year, scenario.economics.years)


def fixed_cost(scenario: Scenario) -> float:
    """EUR a year that is due whatever is made: capital charge, rent, and the regular hours of all technicians."""
    labour = scenario.labour
    hours = sum(hub.technicians for hub in scenario.hubs) * labour.hours_per_day * WORKING_DAYS_PER_YEAR
    rent = sum(hub.rent_eur_year for hub in scenario.hubs)
    return capital_charge(scenario) + rent + hours * labour.wage_eur_h


def mature_revenue(scenario: Scenario) -> float:
    """EUR a year at list prices of all towns once everybody has adopted: `mature_level` x the base of every stream."""
    demand = scenario.demand
    level = dict.fromkeys((product.name for product in scenario.products), demand.catalogue_level)
    level |= dict.fromkeys((stream.name for stream in scenario.custom_streams), demand.custom_level)
    level |= dict.fromkeys((stream.name for stream in scenario.tender_streams), demand.tender_level)
    base = sum(float(job.eur_day.sum()) / level[job.stream] for job in jobs(scenario) if level[job.stream] > 0)
    return base * WORKING_DAYS_PER_YEAR * scenario.economics.mature_level


def economics(scenario: Scenario, revenue: Floats, profit: Floats, count: Mapping[str, Floats]) -> dict[str, Floats]:
    """The measures of single episodes.

    Args:
        scenario: The network.
        revenue: Paid by customers to the hubs, EUR an episode [episodes].
        profit: Revenue and transfers less the cost lines of all hubs and depots, EUR an episode [episodes].
        count: Event name -> counts of the episode [episodes]: hours of machines and people.

    Returns:
        Measure name -> [episodes]; break-even is nan where an episode's sales contribute nothing.
    """
    rate = {f"machine_h_{technology.name}": technology.rate_eur_h for technology in scenario.technologies}
    hourly = sum((count[name] * eur for name, eur in rate.items()), start=np.zeros(len(profit)))
    hourly = hourly + count["labour_h"] * scenario.labour.wage_eur_h
    years = scenario.episode_d / WORKING_DAYS_PER_YEAR
    contribution = (profit + hourly) / years
    fixed, mature = fixed_cost(scenario), mature_revenue(scenario)
    sales = revenue / years
    share = np.divide(contribution, sales, out=np.full(len(profit), np.nan), where=sales > 0)
    break_even = np.divide(fixed, share, out=np.full(len(profit), np.nan), where=share > 0)
    return {
        "capital_charge": np.full(len(profit), capital_charge(scenario)),
        "profit_after_capital": contribution - fixed,
        "break_even_adoption": break_even / mature if mature > 0 else np.full(len(profit), np.nan),
    }


def risk_premium(costs: Floats) -> float:
    """What bad luck adds, EUR an episode: CVaR95 of the network cost over the worlds less its mean (F§6.4)."""
    return float(tail_mean(costs) - costs.mean())


def insurance_premium(costs: Floats, load: float = 1.35, capital: float = 0.08) -> float:
    """Actuarial premium of a loss, EUR an episode: load x mean + cost of capital x (CVaR95 - mean) (F§6.4 [A]).

    Args:
        costs: The loss in each world, EUR [worlds].
        load: Expenses of the insurer, x the expected loss.
        capital: Interest on the capital that covers the tail.
    """
    return load * float(costs.mean()) + capital * risk_premium(costs)
