"""CO2e: every kilogram is worked out again in plain Python, it changes nothing by itself, and its weight moves it."""

import dataclasses
import math
import random

import numpy as np
import pytest
from made_up import CALM, first_network, fresh, put_order
from reference import Reference, road_km

from fabmesh.agents.evaluation.judge.protocol import evaluate
from fabmesh.agents.evaluation.judge.seeds import seed_set
from fabmesh.agents.evaluation.measures.books import CARBON_EVENTS
from fabmesh.agents.registry import make_policy
from fabmesh.envs.network.books.geography import great_circle_km
from fabmesh.envs.network.books.state import F_EXPIRED, F_SCRAPPED, F_USED
from fabmesh.envs.network.day.stage4_hubs_buy import material_market
from fabmesh.envs.network.day.stage5_depots_buy import depots_buy
from fabmesh.envs.network.day.stage6_hubs_work import hubs_work
from fabmesh.envs.network.day.stage7_goods_move import ship_orders
from fabmesh.envs.network.loading import load_scenario
from fabmesh.envs.network.mechanisms.carbon import by_van, count_co2e, parcel_co2e, stop_co2e
from fabmesh.envs.network.schema.scenario import Carbon, Quality
from fabmesh.envs.testing import random_actions
from fabmesh.envs.vector import HubNetworkVector

POCKET = load_scenario("pocket")
ROTTERDAM = load_scenario("rotterdam")
FACTORS = Carbon(van_kg_km=0.3, van_km_stop=4.0, parcel_kg=0.9, truck_kg_tkm=0.2, grid_kg_kwh=0.5)  # none is a default


def changed(scenario, **sections):
    """A scenario with other figures in some of its sections."""
    replaced = {name: dataclasses.replace(getattr(scenario, name), **figures) for name, figures in sections.items()}
    return dataclasses.replace(scenario, **replaced)


# Freight without a fixed part is EUR proportional to the tonne-km it stands for; what retail sends costs nothing.
FREIGHT_BY_WEIGHT = {"freight": {"fixed_eur": 0.0, "rate_eur_tkm": 0.4}}
BY_PARCEL = changed(
    dataclasses.replace(POCKET, carbon=dataclasses.replace(FACTORS, parcel_up_to_kg=1e6)),
    **FREIGHT_BY_WEIGHT,
    last_mile={"parcel_eur": 0.0, "parcel_eur_kg": 0.0},
)
BY_VAN = changed(
    dataclasses.replace(POCKET, carbon=FACTORS),
    last_mile={"van_stop_eur": 0.0, "van_radius_km": 1e4, "parcel_eur_kg": 0.01},
)


def played(scenario, seed, days, per_day=None):
    """A batch of two worlds after so many days of random legal actions; `per_day` looks at each."""
    batch = HubNetworkVector(scenario, num_envs=2, autoreset=False)
    _, info = batch.reset(seed=[seed, seed + 1])
    rng = np.random.default_rng(seed)
    for _ in range(days):
        info = batch.step(random_actions(batch, info["action_mask"], rng))[4]
        if per_day is not None:
            per_day(batch)
    return batch


def events(batch):
    return dict(zip(batch.event_names, batch.events.T, strict=True))


def spent(batch, line):
    return batch.ledger[:, :, batch.ledger_lines.index(line)].sum(axis=1)


def check_energy_and_material(batch):
    """From hours and flows, in plain Python, on every day."""
    scenario, count = batch.scenario, events(batch)
    for copy in range(batch.num_envs):
        grid = scenario.carbon.grid_kg_kwh
        energy = sum(count[f"machine_h_{t.name}"][copy] * t.power_kw * grid for t in scenario.technologies)
        assert count["co2e_kg_energy"][copy] == pytest.approx(energy, rel=1e-9)
        for name, flow in (("material", F_USED), ("scrap", F_SCRAPPED), ("write_off", F_EXPIRED)):
            kg = 0.0
            for node in batch.arrays.flow[copy]:
                for m, material in enumerate(scenario.materials):
                    kg += node[m, flow, 0] * material.co2e_kg
            assert count[f"co2e_kg_{name}"][copy] == pytest.approx(kg, rel=1e-9)


@pytest.mark.parametrize("seed", [1, 2**40])
def test_the_total_is_that_of_flows_hours_freight_and_stops(seed):
    batch = played(BY_PARCEL, seed, POCKET.episode_d, check_energy_and_material)
    carbon, count = BY_PARCEL.carbon, events(batch)
    tonne_km = {line: spent(batch, f"{line}_freight") / 0.4 for line in ("supplier", "first_mile")}
    expected = {
        "co2e_kg_truck_to_depot": tonne_km["supplier"] * carbon.truck_kg_tkm,
        "co2e_kg_truck_to_hub": tonne_km["first_mile"] * carbon.truck_kg_tkm,
        "co2e_kg_parcel": count["stops_delivered"] * carbon.parcel_kg,
        "co2e_kg_van": np.zeros(2),
    }
    for name, kg in expected.items():
        np.testing.assert_allclose(count[name], kg, rtol=1e-9, err_msg=name)
    quiet = {"co2e_kg_van"} | (set() if batch.arrays.flow[:, :, :, F_EXPIRED, 0].any() else {"co2e_kg_write_off"})
    assert {name for name in CARBON_EVENTS if not count[name].any()} == quiet
    parcels = count["co2e_kg_retail_parcel"] / carbon.parcel_kg
    np.testing.assert_allclose(parcels, np.round(parcels), atol=1e-6)  # at most one a hub and day


def test_stops_by_van():
    batch = played(BY_VAN, 5, 30, check_energy_and_material)
    count = events(batch)
    np.testing.assert_allclose(count["co2e_kg_van"], count["stops_delivered"] * 0.3 * 4.0, rtol=1e-9)
    assert not count["co2e_kg_parcel"].any()


def test_a_stop_counts_for_the_mode_it_is_charged_for():
    w = HubNetworkVector(ROTTERDAM, num_envs=1)._handles[0]
    mile, carbon = ROTTERDAM.last_mile, ROTTERDAM.carbon
    town = {place.name: place for place in ROTTERDAM.towns}
    modes = set()
    for h, hub in enumerate(ROTTERDAM.hubs):
        for c, to in enumerate(ROTTERDAM.towns):
            at = town[hub.town]
            km = ROTTERDAM.freight.circuity * great_circle_km(at.latitude, at.longitude, to.latitude, to.longitude)
            extra = 2 * max(km - mile.van_radius_km, 0.0) / mile.van_stops_per_round
            van_eur = mile.van_stop_eur + mile.van_eur_km * extra
            for kg in (0.1, 3.0, 29.0, 95.0):
                parcel_eur = mile.parcel_eur + mile.parcel_eur_kg * kg
                van = van_eur <= parcel_eur
                modes.add(van)
                expected = carbon.van_kg_km * (carbon.van_km_stop + extra) if van else 0.8 * max(1.0, kg / 30)
                assert bool(by_van(w, h, c, parcel_eur)) == van
                assert stop_co2e(w, h, c, parcel_eur, kg) == pytest.approx(expected)
    assert modes == {True, False}
    assert parcel_co2e(w, 60.0) == pytest.approx(1.6)


# --- stage by stage on random states, against plain Python that reads the scenario


@pytest.mark.parametrize("seed", range(20))
def test_stops_of_random_books_emit_what_the_reference_says(seed):
    pick = random.Random(seed)
    mile = dataclasses.replace(CALM.last_mile, van_radius_km=pick.choice([0.0, 25.0]), van_eur_km=2.0)
    scenario = dataclasses.replace(CALM, last_mile=mile, carbon=dataclasses.replace(FACTORS, parcel_up_to_kg=5.0))
    reference, batch = Reference(scenario), fresh(scenario, seed)
    expected = {"van": 0.0, "parcel": 0.0}
    for _ in range(pick.randrange(1, 12)):
        hub, town, row = (pick.randrange(n) for n in (len(scenario.hubs), len(scenario.towns), len(reference.rows)))
        units, price = pick.randrange(1, 30), pick.uniform(15, 900)
        ready = pick.randrange(units + 1)
        put_order(batch, hub, row, town, units, 9, price, ready=ready)
        kind = reference.rows[row]
        mode, kg = reference.stop_co2e(hub, town, kind, price, min(kind.stop, units))
        expected[mode] += ready / min(kind.stop, units) * kg
    w, state, _ = first_network(batch)
    ship_orders(w, state)
    for mode, kg in expected.items():
        assert events(batch)[f"co2e_kg_{mode}"][0] == pytest.approx(kg, rel=1e-12)


def truck_kg(scenario, km, kg, litres):
    """Groupage: factor x km x chargeable tonnes."""
    return scenario.carbon.truck_kg_tkm * km * max(kg, scenario.freight.kg_per_litre * litres) / 1000


@pytest.mark.parametrize("seed", range(20))
def test_material_on_the_way_from_random_states_emits_what_the_reference_says(seed):
    """Suppliers' orders, consignments from the depot, and parcels from retail: whatever the stages decide to send."""
    pick = random.Random(seed)
    carbon = dataclasses.replace(FACTORS, parcel_up_to_kg=2.0)
    scenario = dataclasses.replace(CALM, carbon=carbon, quality=Quality(enabled=pick.random() < 0.5))
    batch = fresh(scenario, seed)
    a, depot = batch.arrays, scenario.depots[0]
    rng = np.random.default_rng(seed)
    a.hub_mat["sealed"], a.hub_mat["opened"], a.hub_mat["inbound"], a.hub_mat["inbound_value"] = 0.0, 0.0, 0.0, 0.0
    a.depot_mat["stock"] = 0.0
    a.depot_mat["stock"][0, 0, :, 1] = rng.uniform(0, 60, len(scenario.materials)) * rng.integers(0, 2)
    a.depot_mat["value"], a.depot_mat["orders"], a.depot_mat["on_order"] = 10.0, 0, 0.0
    w, state, x = first_network(batch)
    actions = {role: rng.integers(0, space.nvec, space.shape)[0] for role, space in batch.action_space.items()}
    material_market(w, state, x, actions["hub"], actions["depot"])
    depots_buy(w, state, actions["depot"])

    retail = to_hub = to_depot = 0.0
    for h, hub in enumerate(scenario.hubs):
        arrives = a.hub_mat["inbound"][0, h].sum(axis=-1)  # [material, day]
        days = {scenario.supply.retail_lead_d: "retail", 1: "depot", 2: "depot"}
        for source in ("retail", "depot"):
            rings = [day for day, from_ in days.items() if from_ == source]
            kg = sum(m.kg * arrives[i, rings].sum() for i, m in enumerate(scenario.materials))
            litres = sum(m.litres * arrives[i, rings].sum() for i, m in enumerate(scenario.materials))
            if source == "retail":
                weight = max(kg, litres / scenario.last_mile.parcel_litres_per_kg)
                retail += carbon.parcel_kg * max(1, weight / carbon.parcel_up_to_kg) if kg else 0.0
            else:
                town = next(t for t in scenario.towns if t.name == hub.town)
                to_hub += truck_kg(scenario, road_km(scenario, town, depot), kg, litres)
    for m, material in enumerate(scenario.materials):
        for order in a.supplier_order[0, 0, m, : a.depot_mat["orders"][0, 0, m]]:
            km = scenario.quality.spot_km if order["spot"] else scenario.supply.distance_km
            kg, litres = order["quantity"] * material.kg, order["quantity"] * material.litres
            to_depot += truck_kg(scenario, km, kg, litres)
    for name, kg in (("retail_parcel", retail), ("truck_to_hub", to_hub), ("truck_to_depot", to_depot)):
        # the reference's arc cosine of neighbouring places is good to ten digits
        assert events(batch)[f"co2e_kg_{name}"][0] == pytest.approx(kg, rel=1e-9)
    assert retail + to_hub + to_depot > 0.0


@pytest.mark.parametrize("seed", range(10))
def test_work_on_random_books_emits_its_hours_and_its_material(seed):
    pick = random.Random(seed)
    machines = {t.name: 40 for t in CALM.technologies}
    scenario = dataclasses.replace(
        CALM,
        carbon=FACTORS,
        technologies=tuple(dataclasses.replace(t, scrap=pick.choice([0.0, 0.3])) for t in CALM.technologies),
        hubs=tuple(dataclasses.replace(h, machines=machines, technicians=90) for h in CALM.hubs),
    )
    reference, batch = Reference(scenario), fresh(scenario, seed)
    batch.arrays.hub_mat["sealed"][0, :, :, 0], batch.arrays.hub_mat["value"][0] = 1e5, 1e5
    hours, used, touched = dict.fromkeys(machines, 0.0), 0.0, set()
    for _ in range(pick.randrange(1, 5)):
        row, units, price = pick.randrange(len(reference.rows)), pick.randrange(1, 20), pick.uniform(20, 200)
        put_order(batch, 0, row, 0, units, 5, price)
        stage = reference.rows[row].stages[0]  # on the first day
        hours[stage.technology] += units * reference.machine_h(stage, price)
        touched.add((row, stage.technology))
        for b in reference.rows[row].bom:
            if b.stage == 0:
                co2e = scenario.materials[reference.material[b.material]].co2e_kg
                used += units * (b.quantity + b.quantity_per_eur * price) * co2e
    for _, technology in touched:
        hours[technology] += reference.technologies[technology].setup_h
    w, state, x = first_network(batch)
    hubs_work(w, state, x, np.zeros(batch.action_space["hub"].shape, np.int32)[0])
    count_co2e(w, state)
    count = events(batch)
    energy = sum(h * reference.technologies[k].power_kw * FACTORS.grid_kg_kwh for k, h in hours.items())
    assert count["co2e_kg_energy"][0] == pytest.approx(energy, rel=1e-12)
    assert count["co2e_kg_material"][0] + count["co2e_kg_scrap"][0] == pytest.approx(used, rel=1e-9)
    assert (count["co2e_kg_scrap"][0] > 0) == (count["units_scrapped"][0] > 0)


def test_a_unit_emits_its_hours_and_its_bill():
    """P12 by hand: laser and CNC, a kilogram of aluminium; custom work scales with its price."""
    w = HubNetworkVector(ROTTERDAM, num_envs=1)._tables
    kw = {technology.name: technology.power_kw for technology in ROTTERDAM.technologies}
    names = [product.name for product in ROTTERDAM.products]
    row = w.row[names.index("P12")]
    assert row["co2e0"] == pytest.approx(0.21 * (0.06 * kw["laser"] + 0.20 * kw["CNC"]) + 7.0)
    assert row["co2e1"] == 0.0
    c1 = w.row[len(names)]
    assert c1["co2e0"] == 0.0
    assert c1["co2e1"] == pytest.approx(0.21 * 0.045 * kw["FDM"] + 0.004 * 2.8)


def test_factors_change_the_count_and_nothing_else():
    plain, other = played(POCKET, 3, 40), played(dataclasses.replace(POCKET, carbon=FACTORS), 3, 40)
    assert plain.ledger.tobytes() == other.ledger.tobytes()
    assert plain.state().tobytes() == other.state().tobytes()
    before, after = events(plain), events(other)
    ratio = FACTORS.grid_kg_kwh / POCKET.carbon.grid_kg_kwh
    np.testing.assert_allclose(after["co2e_kg_energy"], before["co2e_kg_energy"] * ratio)
    assert all((before[name] == after[name]).all() for name in before if name not in CARBON_EVENTS)
    none = Carbon(van_kg_km=0.0, parcel_kg=0.0, truck_kg_tkm=0.0, grid_kg_kwh=0.0)
    materials = tuple(dataclasses.replace(material, co2e_kg=0.0) for material in POCKET.materials)
    clean = events(played(dataclasses.replace(POCKET, carbon=none, materials=materials), 3, 40))
    assert not any(clean[name].any() for name in CARBON_EVENTS)


def test_the_weight_in_the_score_keeps_deliveries_near():
    """Vans beyond their radius emit by the kilometre; customers who mind are served from nearer, or not at all."""
    seeds = seed_set("validation", 4).seeds
    far = changed(ROTTERDAM, last_mile={"van_radius_km": 0.0})
    far = dataclasses.replace(far, episode_d=40, carbon=dataclasses.replace(far.carbon, van_kg_km=1.0))
    per_unit = []
    for weight in (0.0, 0.5):
        scenario = changed(far, market={"carbon_weight": weight, "ceiling_catalogue": 3.0, "ceiling_custom": 3.0})
        table = evaluate(make_policy("nearest", scenario), scenario, seeds).measures
        delivered = table["fill_rate"]
        per_unit.append((table["co2e_kg_van"] + table["co2e_kg_parcel"]) / delivered)
        assert math.isclose(delivered.mean(), 1.0, abs_tol=0.2)
    assert per_unit[1].mean() < per_unit[0].mean()


def test_what_emits_too_much_is_no_deal():
    seeds = seed_set("validation", 2).seeds
    fill = []
    for weight in (0.0, 5.0):
        scenario = changed(POCKET, market={"carbon_weight": weight})
        fill.append(evaluate(make_policy("nearest", scenario), scenario, seeds).measures["fill_rate"].mean())
    assert fill[1] < fill[0]
