"""What a year costs and earns, against the hand calculation of a middle-sized hub and of small numbers."""

import dataclasses

import numpy as np
import pytest

from fabmesh.agents.evaluation.judge.protocol import evaluate
from fabmesh.agents.evaluation.judge.seeds import seed_set
from fabmesh.agents.evaluation.measures.economics import (
    annuity,
    capital_charge,
    economics,
    fixed_cost,
    insurance_premium,
    mature_revenue,
    risk_premium,
)
from fabmesh.agents.registry import make_policy
from fabmesh.envs.network.loading import load_scenario
from fabmesh.envs.network.schema.scenario import Hub, Town
from fabmesh.envs.scenarios.builder import SIZES

POCKET = load_scenario("pocket")
ROTTERDAM = load_scenario("rotterdam")


def one_hub(size):
    """The catalogue of rotterdam with one hub of a size in a town of 250,000."""
    hub = Hub("Here", dict(size.machines), size.technicians, size.fit_out_eur, size.rent_eur_year)
    return dataclasses.replace(ROTTERDAM, towns=(Town("Here", 52.0, 5.0, 250_000),), hubs=(hub,))


def test_annuity_pays_the_investment_back():
    rate = annuity(0.08, 8)
    debt = 1.0
    for _ in range(8):
        debt = debt * 1.08 - rate
    assert debt == pytest.approx(0.0, abs=1e-12)
    assert annuity(0.0, 4) == 0.25


@pytest.mark.parametrize(("size", "machines"), list(zip(SIZES, (185_000, 330_000, 475_000), strict=True)))
def test_the_parks_cost_what_the_fact_sheet_says(size, machines):
    """F§9.4 gives the machines without the SLA printers that F§11 adds, and L with one robot and one laser."""
    price = {technology.name: technology.capex_eur for technology in ROTTERDAM.technologies}
    without_sla = sum(count * price[name] for name, count in size.machines.items() if name != "SLA")
    assert without_sla == pytest.approx(machines, abs=0.0 if size.name != "L" else 5_000)


def test_a_middle_sized_hub_of_the_fact_sheet():
    """F§9.4: 430 kEUR at 8 % over 8 years are 75 a year; 335 kEUR fixed with 3 people, rent and 15 of energy."""
    middle = one_hub(dataclasses.replace(SIZES[1], machines={**SIZES[1].machines, "SLA": 0}, technicians=3))
    assert capital_charge(middle) == pytest.approx(75_000, abs=500)
    assert fixed_cost(middle) + 15_000 == pytest.approx(335_000, abs=1_500)
    catalogue = dataclasses.replace(
        middle, demand=dataclasses.replace(middle.demand, custom_level=0.0, tender_level=0.0)
    )
    assert mature_revenue(catalogue) == pytest.approx(702_000, rel=0.01)
    mean_custom = 350 * 85 * np.exp(0.32) + 120 * 260 * np.exp(0.32) + 12 * 2_300 + 20 * 2_900  # a year, of 100,000
    assert mature_revenue(middle) - mature_revenue(catalogue) == pytest.approx(2 * 2.5 * mean_custom)


def test_measures_of_an_episode_by_hand():
    """60 days: a quarter of a year less ten days; what is charged by the hour comes back, the year goes off."""
    count = {f"machine_h_{t.name}": np.array([100.0, 0.0]) for t in POCKET.technologies}
    count["labour_h"] = np.array([200.0, 0.0])
    got = economics(POCKET, np.array([90_000.0, 0.0]), np.array([10_000.0, -500.0]), count)
    hourly = 100 * sum(t.rate_eur_h for t in POCKET.technologies) + 200 * 42
    contribution = (10_000 + hourly) * 250 / 60
    fixed = fixed_cost(POCKET)
    assert got["capital_charge"].tolist() == [capital_charge(POCKET)] * 2
    assert got["profit_after_capital"] == pytest.approx([contribution - fixed, -500 * 250 / 60 - fixed])
    revenue = 90_000 * 250 / 60
    assert got["break_even_adoption"][0] == pytest.approx(fixed / (contribution / revenue) / mature_revenue(POCKET))
    assert np.isnan(got["break_even_adoption"][1])


def test_mature_revenue_does_not_depend_on_the_level_that_is_simulated():
    high = dataclasses.replace(POCKET, demand=dataclasses.replace(POCKET.demand, catalogue_level=8.0, custom_level=3.0))
    assert mature_revenue(high) == pytest.approx(mature_revenue(POCKET))
    none = dataclasses.replace(POCKET, demand=dataclasses.replace(POCKET.demand, tender_level=0.0))
    assert mature_revenue(none) < mature_revenue(POCKET)


def test_dearer_machines_move_the_measures_and_nothing_else():
    dear = dataclasses.replace(
        POCKET, technologies=tuple(dataclasses.replace(t, capex_eur=2 * t.capex_eur) for t in POCKET.technologies)
    )
    seeds = seed_set("validation", 2).seeds
    plain, other = (evaluate(make_policy("nearest", s), s, seeds).measures for s in (POCKET, dear))
    for name in plain:
        if name in ("capital_charge", "profit_after_capital", "break_even_adoption"):
            worse = other[name] < plain[name] if name == "profit_after_capital" else other[name] > plain[name]
            assert worse.all(), name
        else:
            np.testing.assert_array_equal(plain[name], other[name])
    extra = capital_charge(dear) - capital_charge(POCKET)
    np.testing.assert_allclose(plain["profit_after_capital"] - other["profit_after_capital"], extra)


def test_the_price_of_risk():
    costs = np.arange(1.0, 41.0)  # the worst two of 40 are 39 and 40
    assert risk_premium(costs) == pytest.approx(39.5 - 20.5)
    assert insurance_premium(costs) == pytest.approx(1.35 * 20.5 + 0.08 * 19.0)
    assert risk_premium(np.full(5, 3.0)) == 0.0
