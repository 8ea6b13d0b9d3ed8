"""What work costs: set-ups, hours, material and scrap."""

import math
from dataclasses import replace

import numpy as np
import pytest
from made_up import CALM, actions_of, first_network, fresh, line, put_order
from reference import Reference

from fabmesh.envs.network.compiler.rng import STREAM_SCRAP, combine, day_key, name_key, uniform
from fabmesh.envs.network.day.stage6_hubs_work import hubs_work


def workshop(scrap, orders, row=0):
    """A large shop with material for everything, and orders of (row, units)."""
    machines = {t.name: 40 for t in CALM.technologies}
    scenario = replace(
        CALM,
        technologies=tuple(replace(t, scrap=scrap) for t in CALM.technologies),
        hubs=tuple(replace(h, machines=machines, technicians=60) for h in CALM.hubs),
    )
    batch = fresh(scenario, 21)
    batch.arrays.hub_mat["sealed"][0, :, :, 0] = 1e5
    batch.arrays.hub_mat["value"][0] = 1e5
    for row_index, units in orders:
        put_order(batch, 0, row_index, 0, units, 5, scenario.products[0].price_eur)
    w, state, x = first_network(batch)
    hubs_work(w, state, x, actions_of(batch)[0])
    return batch


def test_a_set_up_is_paid_once_per_product_and_day():
    reference = Reference(CALM)
    wage = CALM.labour.wage_eur_h

    def setup_eur(row_index):
        technology = reference.rows[row_index].stages[0].technology  # on its first day
        return reference.technologies[technology].setup_h * (reference.hour_eur(technology) + wage)

    for orders in ([(0, 3)], [(0, 3), (0, 5), (0, 1)], [(0, 3), (1, 2), (0, 5), (1, 4)]):
        batch = workshop(0.0, orders)
        assert all(batch.arrays.order["todo"][0, 0, i, 0] == 0 for i in range(len(orders)))
        expected = sum(setup_eur(row_index) for row_index in {row_index for row_index, _ in orders})
        assert line(batch, 0, "setup") == pytest.approx(expected)


def test_work_costs_its_hours_and_material():
    reference, units = Reference(CALM), 6
    price = CALM.products[0].price_eur
    batch = workshop(0.0, [(0, units)])
    stage = reference.rows[0].stages[0]
    machine_h, labour_h = reference.machine_h(stage, price), reference.labour_h(stage, price)
    technology = reference.technologies[stage.technology]
    assert line(batch, 0, "machine") == pytest.approx(units * machine_h * technology.rate_eur_h)
    energy = units * machine_h * technology.power_kw * CALM.labour.energy_eur_kwh
    assert line(batch, 0, "energy") == pytest.approx(energy)
    assert line(batch, 0, "labour") == pytest.approx(units * labour_h * CALM.labour.wage_eur_h)
    spent = sum(line(batch, 0, name) for name in ("material", "machine", "energy", "labour"))
    assert line(batch, 0, "stock_change") == pytest.approx(-spent)
    assert batch.arrays.order["wip_value"][0, 0, 0] == pytest.approx(spent)


@pytest.mark.parametrize("rate", [0.02, 0.1, 0.3])
def test_a_days_scrap_does_not_depend_on_how_units_are_split_into_orders(rate):
    splits = ([(0, 48)], [(0, 12)] * 4, [(0, 1), (0, 40), (0, 7)])
    scrapped = []
    for orders in splits:
        batch = workshop(rate, orders)
        scrapped.append(int(batch.events[0, batch.event_names.index("units_scrapped")]))
    assert len(set(scrapped)) == 1
    # the smallest k with P(X <= k) >= u, by summing binomial terms
    hub, row = np.uint64(name_key(CALM.hubs[0].town)), np.uint64(name_key(CALM.products[0].name))
    key = np.uint64(combine(np.uint64(day_key(np.uint64(21), STREAM_SCRAP, 0)), hub))
    u, k, below = uniform(key, row), 0, 0.0
    while True:
        below += math.comb(48, k) * rate**k * (1 - rate) ** (48 - k)
        if below >= u:
            break
        k += 1
    assert scrapped[0] == k
