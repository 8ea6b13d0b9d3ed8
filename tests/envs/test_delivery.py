"""Lateness, cancellation and the last mile against the reference in plain Python."""

import math
from dataclasses import replace

import pytest
from made_up import CALM, first_network, fresh, line, put_order
from reference import Reference

from fabmesh.envs.network.day.stage7_goods_move import ship_orders


@pytest.mark.parametrize("far", [False, True])
@pytest.mark.parametrize("late_by", [-3, 0, 1, 2, 3, 5, 11, 15, 19])
def test_lateness_by_the_day_adds_up_to_that_of_the_day_of_delivery(far, late_by):
    far_km = 0.0 if far else 250.0
    scenario = replace(CALM, last_mile=replace(CALM.last_mile, two_days_beyond_km=far_km))
    reference = Reference(scenario)
    batch = fresh(scenario)
    other = next(i for i, t in enumerate(scenario.towns) if t.name != scenario.hubs[0].town)
    way = reference.days_under_way(0, other)
    assert way == (2 if far else 1)
    due, units, price = 6, 5, 80.0
    ships = due + late_by - way
    put_order(batch, 0, 0, other, units, due, price)
    w, state, _ = first_network(batch)
    order = batch.arrays.order[0, 0, 0]
    for day in range(ships + 1):
        if day == ships:
            order["ready"], order["todo"] = units, 0
        batch.arrays.clock["day"] = day
        ship_orders(w, state)
    assert batch.arrays.hub["orders"][0, 0] == 0
    assert line(batch, 0, "lateness") == pytest.approx(units * price * reference.late_share(late_by), abs=1e-9)
    delivery = units * reference.delivery_eur(0, other, reference.rows[0], price, units)
    assert line(batch, 0, "last_mile_freight") == pytest.approx(delivery, rel=1e-12)
    assert line(batch, 0, "revenue") == pytest.approx(delivery, rel=1e-12)  # the bid was nothing
    counts = dict(zip(batch.event_names, batch.events[0], strict=True))
    assert counts["units_on_time"] == (units if late_by <= 0 else 0)
    assert counts["lead_time_unit_days"] == units * (due + late_by)


def test_an_order_is_cancelled_when_the_limit_has_passed():
    batch, reference = fresh(), Reference(CALM)
    due, units, price = 3, 4, 50.0
    put_order(batch, 0, 0, 0, units, due, price)
    batch.arrays.order["wip_value"][0, 0, 0] = 30.0
    w, state, _ = first_network(batch)
    last = None
    for day in range(due + CALM.market.cancel_after_d + 3):
        batch.arrays.clock["day"] = day
        ship_orders(w, state)
        if last is None and batch.arrays.hub["orders"][0, 0] == 0:
            last = day
    assert last + 1 == due + CALM.market.cancel_after_d  # no delivery could arrive before
    assert line(batch, 0, "lateness") == pytest.approx(units * price * reference.late_share(99))
    assert line(batch, 0, "lost") == pytest.approx(units * price * (1 + CALM.market.goodwill))
    assert line(batch, 0, "deadstock") == pytest.approx(30.0 * (1 - CALM.inventory.salvage))


@pytest.mark.parametrize("radius", [0.0, 25.0])
def test_the_last_mile_is_the_cheaper_of_van_and_parcel(radius):
    """Both are met: a van far from its radius is dear, a heavy parcel too."""
    mile = replace(CALM.last_mile, van_radius_km=radius, van_eur_km=2.0)
    scenario = replace(CALM, last_mile=mile)
    reference, chosen = Reference(scenario), set()
    for hub in range(len(scenario.hubs)):
        for row_index, row in enumerate(reference.rows):
            for town in range(len(scenario.towns)):
                batch, price, units = fresh(scenario), 90.0, 7
                put_order(batch, hub, row_index, town, units, 9, price, todo=[0, 0, 0], ready=units)
                w, state, _ = first_network(batch)
                ship_orders(w, state)
                expected = units * reference.delivery_eur(hub, town, row, price, units)
                assert line(batch, hub, "last_mile_freight") == pytest.approx(expected, rel=1e-12)
                own = mile.van_stop_eur + mile.van_eur_km * 2 * max(reference.km[hub][town] - radius, 0) / 12
                chosen.add(math.isclose(expected, own * units / min(row.stop, units)))
    assert chosen == {True, False}
