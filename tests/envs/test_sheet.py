"""The capacity sheet against arithmetic done by hand, and its lot sizes against a search."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fabmesh.envs.network.loading import load_scenario, shipped_scenarios
from fabmesh.envs.network.schema.scenario import Scenario, Stage, Supply
from fabmesh.envs.scenarios.sheet import best_lot, make_sheet, price_class, unit_price
from fabmesh.envs.scenarios.work import hub_depot_km, hub_of_town, town_hub_km, units_started

ROTTERDAM = load_scenario("rotterdam")
SHEET = make_sheet(ROTTERDAM)
THOUSANDS = 1556.747  # inhabitants of the four towns


def test_demand() -> None:
    streams = SHEET.streams
    at = {name: i for i, name in enumerate(streams.streams)}
    p01 = THOUSANDS * 9 / 250 * 1.6  # units per 1,000 and year, working days, level
    assert streams.units_day[at["P01"]] == pytest.approx(p01)
    assert streams.orders_day[at["P01"]] == pytest.approx(p01 / 1.6)  # 1.6 units an order
    assert streams.eur_day[at["P01"]] == pytest.approx(p01 * 14.9)
    c2 = THOUSANDS / 100 * 120 / 250
    assert streams.orders_day[at["C2"]] == pytest.approx(c2)
    assert streams.eur_day[at["C2"]] == pytest.approx(c2 * 260 * math.exp(0.8**2 / 2))
    c4 = THOUSANDS / 100 * 20 / 250
    assert streams.units_day[at["C4"]] == pytest.approx(c4 * 85)
    assert streams.eur_day[at["C4"]] == pytest.approx(c4 * 2900)


def test_hours_of_machines_and_people() -> None:
    """CNC by hand, without set-ups."""
    catalogue = THOUSANDS / 250 * 1.6 * (2 * 0.55 + 2.5 * 0.20)
    c2 = THOUSANDS / 100 * 120 / 250 * (0.45 + 0.006 * 260 * math.exp(0.32))
    tenders = THOUSANDS / 100 / 250 * (12 * 2300 + 20 * 2900) * 0.30 * 0.006
    needed = (catalogue + c2 + tenders) / 0.96
    capacity = SHEET.capacity
    k = capacity.resources.index("CNC")
    assert capacity.town_need_h[:, k].sum() == pytest.approx(needed)
    assert capacity.hub_hours[:, k].tolist() == [30, 20, 10, 10]
    assert capacity.utilisation[k] == pytest.approx(needed / 70)
    assert capacity.utilisation[k] == pytest.approx(0.67, abs=0.005)
    assert capacity.own_town[0, k] == pytest.approx(needed * 868.135 / THOUSANDS / 30)
    assert capacity.hub_hours[:, -1].tolist() == pytest.approx([66, 66, 13.2, 13.2])
    assert capacity.own_town[2, capacity.resources.index("SLS")] == np.inf  # Delft owns no SLS


def test_one_product_alone() -> None:
    """Two stages, one town, one hub: every figure of the sheet that a product leads to."""
    pocket = load_scenario("pocket")
    p12 = next(product for product in pocket.products if product.name == "P12")
    scenario = dataclasses.replace(
        pocket,
        towns=pocket.towns[1:],
        hubs=pocket.hubs[1:],
        products=(p12,),
        materials=pocket.materials[1:2],
        custom_streams=(),
        tender_streams=(),
    )
    sheet = make_sheet(load_scenario(scenario))
    units = 119.26 * 2.5 / 250 * 4
    laser, cnc = units / (0.98 * 0.96) * 0.06, units / 0.96 * 0.20  # scrap at the CNC also costs laser hours
    busy = 1 - math.exp(-units / 1.5)
    labour = laser / 1.8 + cnc / 2.4 + units / (0.98 * 0.96) * 0.03 + units / 0.96 * 0.07
    assert sheet.capacity.resources == ("FDM", "CNC", "laser", "labour")
    assert sheet.capacity.town_need_h[0].tolist() == pytest.approx([0, cnc, laser, labour])
    assert sheet.capacity.setup_h.tolist() == pytest.approx([0, busy * 0.75, busy * 0.2, busy * 0.95])
    assert sheet.capacity.utilisation[-1] == pytest.approx(labour / 13.2)
    use = units / (0.98 * 0.96) * 1.0
    materials = sheet.materials
    assert materials.use_day.tolist() == pytest.approx([use])
    assert materials.pack_days[0, 0] == pytest.approx(12 / use)
    assert materials.pallet_days[0, 0] == pytest.approx(500 / use)
    for i, days in enumerate((10, 20, 40, 60)):
        pallets = days * use / 500
        factor = 1 if pallets < 0.05 else 0.75 if pallets < 0.25 else 0.45 if pallets < 1 else 0.12
        assert materials.lot_price[0, 0, i] == pytest.approx((5 + 4.5 * factor) / 5)
    stops = units / 1.5
    lines = dict(zip(sheet.costs.lines, sheet.costs.eur_day, strict=True))
    assert lines["last_mile_freight"] == pytest.approx(stops * 7.2)  # own town: a van stop beats 7.6 EUR
    assert lines["machine"] == pytest.approx(cnc * 14 + laser * 18)
    assert lines["energy"] == pytest.approx((cnc * 5 + laser * 8) * 0.25)
    assert lines["labour"] == pytest.approx(labour * 42)
    km = float(hub_depot_km(scenario)[0, 0])
    assert lines["first_mile_freight"] == pytest.approx(33 / 5 + 0.35 * km * use / 1000)
    logistics = sum(lines[name] for name in lines if name.endswith("freight") or name == "order_cost")
    assert sheet.costs.logistics_share == pytest.approx(logistics / sum(lines.values()))


def test_distances_are_those_of_the_facts() -> None:
    assert hub_depot_km(ROTTERDAM)[:, 0] == pytest.approx([13, 39, 29, 11], abs=0.8)  # F9.1, km to Ridderkerk
    hubs = town_hub_km(ROTTERDAM)
    assert hubs.diagonal() == pytest.approx(0)
    assert hubs[hubs > 0].min() == pytest.approx(11, abs=0.8)
    assert hubs.max() == pytest.approx(50, abs=0.8)


def test_towns_without_the_machines_are_served_by_the_nearest_that_has_them() -> None:
    sls = (Stage("SLS", machine_h=1.0),)
    assert hub_of_town(ROTTERDAM, sls).tolist() == [0, 1, 1, 0]  # Delft by The Hague, Dordrecht by Rotterdam
    assert hub_of_town(ROTTERDAM, (Stage("FDM", machine_h=1.0),)).tolist() == [0, 1, 2, 3]


def test_scrap_costs_the_stages_before() -> None:
    started = units_started(ROTTERDAM, (Stage("FDM"), Stage("robot")))
    assert started.tolist() == pytest.approx([1 / (0.94 * 0.985), 1 / 0.985])


def test_price_classes_start_at_their_break() -> None:
    classes = price_class(ROTTERDAM, np.array([0, 0.049, 0.05, 0.25, 0.99, 1, 4.9, 5, 50]))
    assert classes.tolist() == [0, 0, 1, 2, 2, 3, 3, 4, 4]
    prices = unit_price(ROTTERDAM, classes, np.array(10.0), np.array(20.0))
    assert prices.tolist() == pytest.approx([20, 20, 17.5, 14.5, 14.5, 11.2, 11.2, 10, 10])


def test_lot_without_discounts_is_the_eoq() -> None:
    scenario = dataclasses.replace(ROTTERDAM, supply=Supply(price_breaks_pallets=(), price_factors=(0.0,)))
    aluminium = 4
    lot, price = best_lot(scenario, aluminium, year=10_000)
    assert price == 5.0
    assert lot == pytest.approx(math.sqrt(2 * (60 + 90) * 10_000 / (0.2 * 5.0)))


@settings(deadline=None)
@given(m=st.integers(0, 9), year=st.floats(50, 1e6), share=st.floats(0, 1))
def test_no_other_lot_is_cheaper(m: int, year: float, share: float) -> None:
    material = ROTTERDAM.materials[m]
    life = math.inf if material.sealed_life_d is None else material.sealed_life_d * 0.675
    largest = max(material.pack, min(life * year / 250, 20 * material.pallet))
    other = material.pack + share * (largest - material.pack)
    lot, _ = best_lot(ROTTERDAM, m, year)
    assert lot >= material.pack
    assert lot <= max(material.pack, life * year / 250) * (1 + 1e-12)
    assert _cost_year(ROTTERDAM, m, year, lot) <= _cost_year(ROTTERDAM, m, year, other) * (1 + 1e-9)


def _cost_year(scenario: Scenario, m: int, year: float, lot: float) -> float:
    material = scenario.materials[m]
    factor = scenario.supply.price_factors[int(price_class(scenario, np.array(lot / material.pallet)))]
    price = material.bulk_eur + (material.retail_eur - material.bulk_eur) * factor
    return year * price + (60 + 90) * year / lot + 0.2 * price * lot / 2


@pytest.mark.parametrize("name", shipped_scenarios())
def test_shipped_scenarios_have_something_to_decide(name: str) -> None:
    """By expectation, before simulation: tension in machines and people, and lots that change the price."""
    sheet = make_sheet(load_scenario(name))
    assert 0.7 <= sheet.capacity.utilisation_with_setups[:-1].max() <= 1.0
    assert 0.8 <= sheet.capacity.utilisation_with_setups[-1] <= 1.05
    spread = sheet.materials.lot_price[..., 0] / sheet.materials.lot_price[..., -1]
    assert (spread > 1.05).any(axis=0).all()  # every material: a long lot is at least 5 % cheaper than a short one
    assert all(np.isfinite(part).all() for part in (sheet.costs.eur_day, sheet.lots.lot, sheet.streams.eur_day))
