"""Demand that changes: surges, life cycles and the adoption ramp against references written from docs/model.md."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from fabmesh.agents.evaluation.judge.protocol import evaluate
from fabmesh.agents.registry import make_policy
from fabmesh.envs.errors import ScenarioError
from fabmesh.envs.network.books.scenario_tables import is_shaped
from fabmesh.envs.network.compiler.rng import (
    STREAM_LIFE_CYCLE,
    STREAM_START,
    STREAM_SURGE,
    STREAM_TENDER,
    STREAM_UNITS,
    combine,
    day_key,
    mix,
    name_key,
    negative_binomial_quantile,
    normal,
    uniform,
)
from fabmesh.envs.network.loading import load_scenario, shipped_scenarios, validate
from fabmesh.envs.network.schema.scenario import ScriptedEvent
from fabmesh.envs.testing import check_scenario, random_actions
from fabmesh.envs.vector import HubNetworkVector

POCKET = load_scenario("pocket")
SCRIPT = (  # the second outdoes the first while it lasts
    ScriptedEvent("demand_surge", 5, 30, "P02", 4.0),
    ScriptedEvent("demand_surge", 12, 6, "P02", 9.0),
)
SURGES = {"surges_year": 30.0, "surge_factor": (2.0, 8.0), "surge_d": (3, 12)}
LIVES = {"life_year": 0.5}
RAMP = {"adoption_from": 0.3, "adoption_ramp_d": 90}


def vary(**demand):
    return replace(POCKET, demand=replace(POCKET.demand, **demand))


ALL = vary(**SURGES, **LIVES, **RAMP, adoption_day=20)


# --- the reference, from the page


def key(number):
    return np.uint64(number)


def on_day(seed, stream, day):
    """Key of a stream on a day, as the compiled functions take it."""
    return key(day_key(key(seed), stream, day))


def joined(one, other):
    """Key of a pair of names."""
    return key(combine(one, other))


def part_of_life(seed, product, median_d, sigma, day):
    """Which part of its life a generation of a product has behind it."""
    drawn = on_day(seed, STREAM_LIFE_CYCLE, 0)
    name = key(name_key(product))
    life = median_d * math.exp(sigma * normal(drawn, name))
    return (uniform(drawn, joined(name, key(1))) + day / life) % 1.0


def bass(part, p=0.03, q=0.38, sold=0.95):
    """Sales relative to their mean over the life, by the cumulative of Bass (1969) and a numerical derivative."""
    length = math.log((1 + sold * q / p) / (1 - sold))

    def cumulative(x):
        return (1 - math.exp(-x)) / (1 + q / p * math.exp(-x))

    x, h = part * length, 1e-6
    return (cumulative(x + h) - cumulative(x - h)) / (2 * h) * length / sold


def surge(seed, scenario, product, day):
    """Largest factor of the surges of a product that are under way."""
    demand, factor = scenario.demand, 1.0
    rate = scenario.disruptions.scale * demand.surges_year / 250 / len(scenario.products)
    name = key(name_key(product))
    for began in range(day - demand.surge_d[1] + 1, day + 1):
        drawn = on_day(seed, STREAM_SURGE, began)
        if uniform(drawn, name) < rate:
            shortest, longest = demand.surge_d
            lasts = shortest + math.floor(uniform(drawn, joined(name, key(2))) * (longest - shortest + 1))
            low, high = (math.log(x) for x in demand.surge_factor)
            if day < began + lasts:
                factor = max(factor, math.exp(low + (high - low) * uniform(drawn, joined(name, key(3)))))
    for event in scenario.disruptions.scripted:
        if event.target == product and event.day <= day < event.day + event.duration_d:
            factor = max(factor, event.factor)
    return factor


def adopted(demand, day):
    """Share of mature demand."""
    time = demand.adoption_day + day
    if time >= demand.adoption_ramp_d:
        return 1.0

    def logistic(t):
        return 1 / (1 + math.exp(-10 * (t / demand.adoption_ramp_d - 0.5)))

    first = logistic(0)
    return demand.adoption_from + (1 - demand.adoption_from) * (logistic(time) - first) / (1 - 2 * first)


def reference_day(scenario, seed, day):
    """(row, town, units) of the lots and (stream, town, number of tenders) that a day brings."""
    demand = scenario.demand
    start = math.floor(uniform(on_day(seed, STREAM_START, 0), key(name_key("season"))) * 250)
    units_key, tender_key = on_day(seed, STREAM_UNITS, day), on_day(seed, STREAM_TENDER, day)
    names, means = [], []
    for p in scenario.products:
        phase = 2 * math.pi * ((start + day) % 250 - p.season_peak_day) / 250
        level = 1 + p.season_amplitude * math.cos(phase)
        years = demand.life_year if p.life_year is None else p.life_year
        if years:
            level *= bass(part_of_life(seed, p.name, years * 250, demand.life_sigma, day))
        level *= surge(seed, scenario, p.name, day) * adopted(demand, day)
        names.append(p.name)
        means.append(p.units_per_1000_year / 1e3 * demand.catalogue_level * level)
    for c in scenario.custom_streams:
        for v in c.variants:
            names.append(f"{c.name}/{v.name}")
            means.append(c.orders_per_100k_year / 1e5 * demand.custom_level * v.share * adopted(demand, day))
    lots, tenders = [], []
    for r, (name, mean) in enumerate(zip(names, means, strict=True)):
        for c, town in enumerate(scenario.towns):
            u = uniform(units_key, key(mix(key(name_key(town.name) ^ name_key(name)))))
            expected = mean * town.population / 250
            if r < len(scenario.products):
                drawn = stats.nbinom(expected / (demand.dispersion - 1), 1 / demand.dispersion)
            else:
                drawn = stats.poisson(expected)
            if units := int(drawn.ppf(u)):
                lots.append((r, c, units))
    for i, t in enumerate(scenario.tender_streams):
        rate = t.tenders_per_100k_year / 1e5 * demand.tender_level / 250 * adopted(demand, day)
        for c, town in enumerate(scenario.towns):
            name = joined(key(name_key(t.name)), key(name_key(town.name)))
            if number := int(stats.poisson(rate * town.population).ppf(uniform(tender_key, name))):
                tenders.append((i, c, number))
    return lots, tenders


@pytest.mark.parametrize(
    "demand",
    [{}, SURGES, LIVES, {"life_year": 3.0, "life_sigma": 0.0}, RAMP, {**SURGES, **LIVES, **RAMP, "adoption_day": 20}],
    ids=["season alone", "surges", "lives", "lives of one length", "ramp", "all"],
)
@pytest.mark.parametrize("seed", [3, 2**57 + 1])
@pytest.mark.parametrize("script", [(), SCRIPT], ids=["drawn", "scripted"])
def test_the_days_orders_are_those_of_the_reference(demand, seed, script):
    scenario = vary(**demand, tender_level=6.0)
    scenario = replace(scenario, disruptions=replace(scenario.disruptions, scripted=script))
    batch = HubNetworkVector(scenario)
    batch.reset(seed=[seed])
    nothing = {role: np.zeros(space.shape, int) for role, space in batch.action_space.items()}
    for day in range(scenario.episode_d):
        a = batch.arrays
        lots = a.lot[0, : int(a.clock["lots"][0])]
        found = [(lot["row"], lot["town"], lot["units"]) for lot in lots if lot["announced"] == day]
        tenders = a.tender[0, : int(a.clock["tenders"][0])]
        posted = [int(tender["town"]) for tender in tenders if tender["announced"] == day]
        expected, expected_tenders = reference_day(scenario, seed, day)
        assert found == expected
        assert posted == [town for _, town, number in expected_tenders for _ in range(number)]
        for p, product in enumerate(scenario.products):
            assert a.surge[0, p] == pytest.approx(surge(seed, scenario, product.name, day))
        batch.step(nothing)


def test_a_generation_sells_its_mean_over_its_life_with_one_peak():
    parts = (np.arange(20_000) + 0.5) / 20_000
    sales = np.array([bass(part) for part in parts])
    assert sales.mean() == pytest.approx(1.0, abs=1e-6)
    assert parts[sales.argmax()] == pytest.approx(0.456, abs=0.001)
    assert (sales[0], sales.max(), sales[-1]) == pytest.approx((0.43, 1.58, 0.28), abs=0.005)
    turns = np.diff(np.sign(np.diff(sales)))
    assert (turns != 0).sum() == 1


def test_the_ramp_runs_from_its_share_to_all_of_mature_demand():
    demand = replace(POCKET.demand, adoption_from=0.3)
    assert demand.adoption_ramp_d == 24 * 21  # F9.4: 24 months
    assert adopted(demand, 0) == 0.3
    assert adopted(demand, 252) == pytest.approx(0.65)
    assert adopted(demand, 504) == 1.0
    assert adopted(demand, 503) == pytest.approx(1.0, abs=1e-3)
    assert (np.diff([adopted(demand, day) for day in range(505)]) > 0).all()


def test_surges_are_as_frequent_and_as_long_as_the_scenario_says():
    scenario = vary(surges_year=12.0, surge_factor=(5.0, 20.0), surge_d=(15, 40))
    batch = HubNetworkVector(scenario, num_envs=200, autoreset=False)
    batch.reset(seed=0)
    nothing = {role: np.zeros(space.shape, int) for role, space in batch.action_space.items()}
    factors = []
    for day in range(scenario.episode_d):
        if day % 12 == 0:
            factors.append(batch.arrays.surge.copy())
        batch.step(nothing)
    factors = np.array(factors)
    rate, days = 12.0 / 250 / 3, 27.5
    share = 1 - math.prod(1 - rate * min(max((41 - ago) / 26, 0.0), 1.0) for ago in range(1, 41))
    assert share < rate * days
    assert (factors > 1).mean() == pytest.approx(share, abs=0.025)
    under_way = factors[factors > 1]
    assert under_way.min() >= 5.0
    assert under_way.max() <= 20.0
    assert np.median(under_way) == pytest.approx(10.0, rel=0.12)  # log-uniform; the larger of overlapping ones


# --- what it does to the world


def test_off_by_default_and_invisible_then():
    for name in shipped_scenarios():
        scenario = load_scenario(name)
        assert is_shaped(scenario) == (name != "pocket")
        batch = HubNetworkVector(scenario)
        blocks = [*batch.spec["hub"].features, *batch.spec["depot"].features, *batch.state_features]
        assert ("surge" in [block.name for block in blocks]) == (name != "pocket")
    neutral = vary(surge_factor=(3.0, 4.0), life_sigma=1.0, adoption_ramp_d=9, adoption_day=3)
    worlds = []
    for scenario in (POCKET, neutral):
        batch = HubNetworkVector(scenario)
        _, info = batch.reset(seed=4)
        rng = np.random.default_rng(0)
        for _ in range(POCKET.episode_d):
            observed, _, _, _, info = batch.step(random_actions(batch, info["action_mask"], rng))
        worlds.append([info["final_ledger"].tobytes(), info["final_events"].tobytes(), observed["hub"].tobytes()])
    assert worlds[0] == worlds[1]


def test_everyone_sees_a_surge_while_it_is_under_way():
    batch = HubNetworkVector(vary(**SURGES), num_envs=4)
    plain = HubNetworkVector(POCKET)
    for role in batch.roles:
        assert batch.spec[role].features[:-1] == plain.spec[role].features
        assert batch.spec[role].feature("surge") == slice(plain.spec[role].num_features, batch.spec[role].num_features)
    assert batch.state_features[:-1] == plain.state_features
    observed, _ = batch.reset(seed=1)
    nothing = {role: np.zeros(space.shape, int) for role, space in batch.action_space.items()}
    seen = []
    for _ in range(50):
        under_way = batch.arrays.surge > 1
        seen.append(under_way.copy())
        for role in batch.roles:
            assert (observed[role][:, :, batch.spec[role].feature("surge")] == under_way[:, None]).all()
        assert (batch.state()[:, -len(POCKET.products) :] == under_way).all()
        observed, *_ = batch.step(nothing)
    assert 0 < np.mean(seen) < 1


def test_measures_see_each_mechanism_turned_on_and_off():
    seeds = list(range(24))

    def measures(**demand):
        scenario = vary(**demand)
        found = evaluate(make_policy("base_stock", scenario), scenario, seeds).measures
        return {name: float(np.mean(values)) for name, values in found.items()}

    off, surges, lives, ramp = measures(), measures(**SURGES), measures(**LIVES), measures(adoption_from=0.3)
    assert off["demand_level"] == pytest.approx(1.0, abs=0.08)
    assert (off["surge_units_share"], off["life_cycle_shift"]) == (0.0, 0.0)
    assert 0.1 < surges["surge_units_share"] < 1
    assert surges["demand_level"] > 1.2 * off["demand_level"]
    assert surges["units_ordered"] > off["units_ordered"]
    assert surges["fill_rate"] < off["fill_rate"]
    assert 0.2 < lives["life_cycle_shift"] < 0.6
    assert lives["demand_level"] == pytest.approx(1.0, abs=0.15)  # what one product loses another gains
    assert ramp["demand_level"] == pytest.approx(0.3, abs=0.04)  # the first 60 days of 504
    calm = evaluate(
        make_policy("nearest", POCKET), replace(vary(**SURGES), disruptions=replace(POCKET.disruptions, scale=0.0)), [1]
    )
    assert calm.measures["surge_units_share"][0] == 0.0


def test_the_settlement_looks_ahead_on_the_tape_that_comes():
    """Need of the days after the end = what those days bring in a longer episode of the same world."""
    scenario = replace(ALL, demand=replace(ALL.demand, revisions_per_year=0.0))
    days = scenario.episode_d + scenario.inventory.closing_cover_d
    batch = HubNetworkVector(scenario, autoreset=False)
    longer = HubNetworkVector(replace(scenario, episode_d=days), autoreset=False)
    for one in (batch, longer):
        one.reset(seed=[8])
    nothing = {role: np.zeros(space.shape, int) for role, space in batch.action_space.items()}
    for _ in range(scenario.episode_d):
        batch.step(nothing)
    boms = [p.bom for p in scenario.products]
    boms += [v.bom for stream in (*scenario.custom_streams, *scenario.tender_streams) for v in stream.variants]
    need = {material.name: 0.0 for material in scenario.materials}
    for day in range(days):
        if day >= scenario.episode_d:
            for table, count in ((longer.arrays.lot, "lots"), (longer.arrays.tender, "tenders")):
                for order in table[0, : int(longer.arrays.clock[count][0])]:
                    if order["announced"] == day:
                        for line in boms[order["row"]]:
                            quantity = line.quantity + line.quantity_per_eur * order["price"]
                            need[line.material] += order["units"] * quantity
        longer.step(nothing)
    assert batch._scratch.need[0].tolist() == pytest.approx(list(need.values()))


def test_a_world_of_demand_that_changes_keeps_every_promise():
    check_scenario(ALL, seed=3)


# --- numbers and refusals


@pytest.mark.parametrize("mean", [100.0, 850.0, 1_500.0, 9_000.0])
def test_quantiles_of_large_means_do_not_underflow(mean):
    for u in (1e-9, 0.01, 0.5, 0.9, 1 - 1e-9):
        got = negative_binomial_quantile(u, mean, 2.0, math.log(2.0))
        assert abs(got - stats.nbinom(mean, 0.5).ppf(u)) <= 1  # SciPy's own inversion is off by one in the far tails


@pytest.mark.parametrize(
    ("demand", "message"),
    [
        ({"surges_year": -1.0}, r"demand\.surges_year: -1 is out of range"),
        ({"surge_factor": (9.0, 2.0)}, r"demand\.surge_factor: \[9, 2\] must rise"),
        ({"surge_factor": (0.5, 2.0)}, r"demand\.surge_factor\[0\]: 0.5 is out of range"),
        ({"surge_d": (0, 4)}, r"demand\.surge_d\[0\]: 0 is out of range"),
        ({"adoption_from": 0.0}, r"demand\.adoption_from: 0 is out of range"),
        ({"adoption_ramp_d": 0}, r"demand\.adoption_ramp_d: 0 is out of range"),
        ({"life_year": float("nan")}, r"demand\.life_year: nan is not a finite number"),
    ],
)
def test_what_a_scenario_may_not_say(demand, message):
    with pytest.raises(ScenarioError, match=message):
        validate(vary(**demand))
