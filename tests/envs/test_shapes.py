"""What is known of additive manufacturing must come out of the model (F§3.2): no figure of it is put in.

Volume makes parts cheaper, and failures the cheapest load lower than full; dear machines that need people belong
together, cheap ones that run alone go to where customers are. Each shape is swept and shown at the end of the run.
"""

from dataclasses import replace

import numpy as np
import pytest
from made_up import first_network, fresh, line, put_order
from textbook import AT_COST, DEPOT_IDLE, FREE, HUB_OFF, PEOPLE, play, with_demand

from fabmesh.agents.evaluation.measures.economics import capital_charge
from fabmesh.agents.evaluation.statistics import estimate
from fabmesh.envs.network.books.accounts import COST_LINES
from fabmesh.envs.network.day.stage6_hubs_work import hubs_work
from fabmesh.envs.network.loading import load_scenario
from fabmesh.envs.network.schema.scenario import (
    WORKING_DAYS_PER_YEAR,
    Actions,
    Experience,
    Hub,
    LastMile,
    People,
    Quality,
    Stage,
    Town,
    Upkeep,
)

pytestmark = pytest.mark.textbook
ROTTERDAM = load_scenario("rotterdam")


# --- volume


def unit_cost(product, units):
    """EUR a unit of a lot that a large hub works in one day: material in bulk, hours and the one set-up."""
    machines = {t.name: 200 for t in ROTTERDAM.technologies}
    scenario = replace(
        ROTTERDAM,
        technologies=tuple(replace(t, scrap=0.0) for t in ROTTERDAM.technologies),
        hubs=tuple(replace(h, machines=machines, technicians=200) for h in ROTTERDAM.hubs),
        disruptions=replace(ROTTERDAM.disruptions, scale=0.0),
        people=People(),
        upkeep=Upkeep(),
        quality=Quality(),
        experience=Experience(),
    )
    batch = fresh(scenario)
    batch.arrays.hub_mat["sealed"][0, :, :, 0] = 1e4
    batch.arrays.hub_mat["value"][0] = 1e4 * np.array([material.bulk_eur for material in scenario.materials])
    row = [p.name for p in scenario.products].index(product)
    put_order(batch, 0, row, 0, units, 5, scenario.products[row].price_eur)
    w, state, x = first_network(batch)
    hubs_work(w, state, x, np.zeros(batch.action_space["hub"].shape, np.int32)[0])
    assert batch.arrays.order["ready"][0, 0, 0] == units
    return sum(line(batch, 0, name) for name in ("material", "machine", "energy", "labour", "setup")) / units


def test_parts_get_cheaper_with_the_size_of_the_lot_and_most_where_the_set_up_is_long():
    """F§3.2: 20-35 % (FDM, from 10), 25-40 % (SLA, from 15), 40-60 % (SLS, from 25) off the price of a single part.

    Those are prices, with overhead and margin in them, of parts that nobody describes: the order of the technologies
    and that savings level off are held against them, FDM's also in size. Cost of SLA and SLS falls further than prices.
    """
    saved = {}
    print("\nvolume savings a part against a single one; price lists say FDM 20-35 %, SLA 25-40 %, SLS 40-60 %")
    for technology, product, enough in (("FDM", "P01", 10), ("SLA", "P05", 15), ("SLS", "P03", 25)):
        costs = {n: unit_cost(product, n) for n in (1, 2, 5, enough, 4 * enough)}
        saved[technology] = 1 - costs[enough] / costs[1]
        more = 1 - costs[4 * enough] / costs[1] - saved[technology]
        print(
            f"{technology:>5} {product}: "
            + ", ".join(f"{n}: {eur:.2f} EUR" for n, eur in costs.items())
            + f"; saved {saved[technology]:.1%} from {enough} units, {more:.1%} more from {4 * enough}"
        )
        assert list(costs.values()) == sorted(costs.values(), reverse=True)
        assert more < 0.05
    assert 0.20 <= saved["FDM"] <= 0.35
    assert saved["FDM"] < saved["SLA"] < saved["SLS"]
    assert saved["SLA"] > 0.25
    assert saved["SLS"] > 0.40


# --- load


def cost_by_load(upkeep, loads):
    """EUR a unit ordered of one machine that costs 100 EUR a day, with lateness and lost orders, by its load."""
    (product,) = FREE.products
    (mill,) = FREE.technologies
    technologies = (replace(mill, mtbf_h=60.0, mttr_h=12.0),)
    costs = {}
    for load in loads:
        scenario = replace(
            with_demand(replace(FREE, products=(replace(product, stages=(Stage("mill", 0.8),), due_d=3),)), 10 * load),
            episode_d=250,
            technologies=technologies,
            demand=replace(FREE.demand, dispersion=2.0),
            market=replace(FREE.market, lateness_per_day=0.015, lateness_cap=0.15, patience_catalogue_d=2),
            inventory=replace(FREE.inventory, opening_level=(50.0, 50.0)),
            disruptions=replace(FREE.disruptions, scale=1.0, hub_outage_year=0.0),
            upkeep=Upkeep(enabled=upkeep, repair_eur_h=0.0),
            actions=Actions(cover_d=(30.0,), switched_off=HUB_OFF | DEPOT_IDLE | {"hub.upkeep": 0}),
        )
        if not upkeep:
            scenario = replace(scenario, actions=Actions(cover_d=(30.0,), switched_off=HUB_OFF | DEPOT_IDLE))
        _, ledger, events, _ = play(scenario, {"hub": {"cover": 1}}, 32)
        spent = 100.0 * scenario.episode_d + ledger["lateness"] + ledger["lost"] + ledger["settlement"]
        costs[load] = estimate(spent / events["units_ordered"])
    return costs


def test_failures_make_a_load_below_full_capacity_the_cheapest():
    """F§3.2, Baumers and Holweg 2019: what fails costs most where there is no slack to make up for it."""
    loads = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1)
    best = {}
    print("\ncost a unit by load of a machine, EUR, 95 % interval")
    for name, upkeep in (("no failures", False), ("failures", True)):
        costs = cost_by_load(upkeep, loads)
        best[name] = min(costs, key=lambda load, costs=costs: costs[load].mean)
        shown = ", ".join(f"{load:.1f}: {c.mean:.2f} [{c.low:.2f}, {c.high:.2f}]" for load, c in costs.items())
        print(f"{name:>12}: {shown}; cheapest at {best[name]:.1f}")
        assert costs[best[name]].high < costs[1.1].low
    assert best["failures"] < best["no failures"] <= 1.0


# --- where machines belong


PLACES = (Town("Utrecht", 52.0908, 5.1222, PEOPLE), Town("Groningen", 53.2192, 6.5667, PEOPLE),
          Town("Maastricht", 50.8483, 5.6889, PEOPLE), Town("Middelburg", 51.4988, 3.6110, PEOPLE))  # fmt: skip


def yearly_cost(capex_eur, setup_h, machines_per_technician, hubs):
    """EUR a year of four towns served by these hubs: machines as an annuity, people by the hour, deliveries."""
    (product,) = FREE.products
    (mill,) = FREE.technologies
    mill = replace(
        mill, capex_eur=capex_eur, setup_h=setup_h, machines_per_technician=machines_per_technician, rate_eur_h=0.0
    )
    product = replace(product, stages=(Stage("mill", 1.0),), kg=3.2, litres=48.0, due_d=6)  # a planter (F§9.5)
    scenario = replace(
        with_demand(replace(FREE, products=(product,)), 4.0),
        episode_d=125,
        towns=PLACES,
        hubs=hubs,
        technologies=(mill,),
        labour=replace(FREE.labour, wage_eur_h=42.0),
        market=replace(FREE.market, reach_km=1000.0, ceiling_catalogue=5.0, patience_catalogue_d=5),
        last_mile=LastMile(),
        inventory=replace(FREE.inventory, opening_level=(50.0, 50.0)),
        actions=Actions(cover_d=(30.0,), switched_off=HUB_OFF | DEPOT_IDLE | {"hub.bid": AT_COST}),
    )
    batch, ledger, events, _ = play(scenario, {"hub": {"cover": 1}}, 16)
    assert (events["units_lost"] < 0.02 * events["units_ordered"]).all()
    spent = sum(ledger[name] for name in batch.ledger_lines[:COST_LINES])
    return estimate(capital_charge(scenario) + spent * WORKING_DAYS_PER_YEAR / scenario.episode_d)


def test_cheap_machines_that_run_alone_go_to_the_customers_and_dear_ones_stay_together():
    """F§3.2, Khajavi et al. 2014: with yesterday's machines one place wins, with autonomous cheap ones many do."""
    together = (Hub("Utrecht", {"mill": 3}, technicians=4),)
    spread = tuple(Hub(town.name, {"mill": 1}, technicians=2) for town in PLACES)
    print("\nfour towns served from one place or from four, EUR a year, 95 % interval")
    cheaper = {}
    for name, machine in (("200,000 EUR, set-up 0.75 h, a technician each", (200_000.0, 0.75, 1.0)),
                          ("2,500 EUR, set-up 0.05 h, 20 a technician", (2_500.0, 0.05, 20.0))):  # fmt: skip
        one, four = yearly_cost(*machine, together), yearly_cost(*machine, spread)
        print(
            f"  machines of {name}: one {one.mean:,.0f} [{one.low:,.0f}, {one.high:,.0f}], "
            f"four {four.mean:,.0f} [{four.low:,.0f}, {four.high:,.0f}]"
        )
        cheaper[name] = "one" if one.high < four.low else "four" if four.high < one.low else "neither"
    assert list(cheaper.values()) == ["one", "four"]
