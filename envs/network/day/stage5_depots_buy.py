"""Stage 5, depots buy: a trigger and a lot per material, at all-units discounts (model §5)."""

from __future__ import annotations

import math

import numpy as np

from fabmesh.envs.network.books.accounts import Event, Line
from fabmesh.envs.network.books.ledger import post
from fabmesh.envs.network.books.state import State
from fabmesh.envs.network.books.stock import in_depot
from fabmesh.envs.network.books.tables import Tables
from fabmesh.envs.network.compiler.kernel import kernel
from fabmesh.envs.network.compiler.rng import STREAM_LEAD, combine, day_key, normal
from fabmesh.envs.network.day.stage1_disruptions import due_at_port, freight_factor, price_factor, through_port
from fabmesh.envs.network.day.stage4_hubs_buy import road_freight
from fabmesh.envs.network.interface.actions import DEPOT_INSPECTION, DEPOT_LOT, DEPOT_SOURCE, DEPOT_TRIGGER, level
from fabmesh.envs.network.mechanisms.carbon import truck_co2e
from fabmesh.envs.network.schema.sizes import MOST_DAYS

_LONGEST_D = 2.0 * MOST_DAYS  # beyond every episode, also for what was ordered before it


@kernel
def discounted_price(w: Tables, m: int, quantity: float) -> float:
    """All-units discount: bulk + (retail - bulk) x factor of the order's size in pallets (F§11)."""
    mat = w.mat[m]
    pallets = quantity / mat.pallet + 1e-9
    size_class = 0
    while size_class < len(w.breaks) and pallets >= w.breaks[size_class]:
        size_class += 1
    return mat.bulk + (mat.retail - mat.bulk) * w.factors[size_class]


@kernel
def next_break(w: Tables, m: int, quantity: float) -> float:
    """The quantity raised to the next price break, if there is one."""
    pallets = quantity / w.mat[m].pallet
    for i in range(len(w.breaks)):
        if pallets < w.breaks[i]:
            return w.breaks[i] * w.mat[m].pallet
    return quantity


@kernel
def depot_base_rate(w: Tables, s: State, d: int, m: int) -> float:
    """Requests a day that triggers and lots are multiples of: smoothed, but at least a share of what is expected."""
    return max(s.depot_mat[d, m].request_rate, w.scenario[0].inventory.catchment_floor * w.depot_use[d, m])


@kernel
def lead_time(w: Tables, s: State, d: int, m: int, day: int) -> int:
    """Working days to deliver an order placed today: lognormal, at least one, a primitive of (day, depot, material)."""
    z = normal(day_key(s.clock[0].seed, STREAM_LEAD, day), combine(w.depot_key[d], w.mat[m].key))
    days = min(math.exp(w.mat[m].lead_mu + w.mat[m].lead_sigma * z), _LONGEST_D)
    return max(math.floor(days + 0.5), 1)


@kernel
def place_order(w: Tables, s: State, d: int, m: int, quantity: float, day: int, spot: int, inspection: int) -> None:
    """Buys from the qualified or the spot source: order cost and freight now, the purchase price when it arrives."""
    depot = s.depot_mat[d, m]
    node = s.hub.shape[0] + d
    km = w.scenario[0].quality.spot_km if spot == 1 else w.scenario[0].supply.distance_km
    kg, litres = quantity * w.mat[m].kg, quantity * w.mat[m].litres
    freight = w.scenario[0].freight.fixed_eur + road_freight(w, km, kg, litres)
    freight *= freight_factor(w, s, m)
    post(s, node, Line.order_cost, w.scenario[0].supply.order_eur)
    post(s, node, Line.supplier_freight, freight)
    s.events[Event.supplier_orders] += 1.0
    s.events[Event.co2e_kg_truck_to_depot] += truck_co2e(w, km, kg, litres)
    order = s.supplier_order[d, m, depot.orders]
    order.placed = day
    order.due = due_at_port(w, s, m, day, lead_time(w, s, d, m, day))
    order.arrives = through_port(w, s, order.due) if w.overseas[m] == 1 else order.due
    order.quantity = quantity
    order.price = discounted_price(w, m, quantity) * price_factor(w, s, m)
    if spot == 1:
        order.price *= 1.0 - w.scenario[0].quality.spot_discount
    inspected = w.scenario[0].quality.inspection_eur[inspection - 1] if inspection > 0 else 0.0
    order.landed = order.price + (freight + w.scenario[0].supply.order_eur + inspected) / quantity
    order.spot, order.inspection = spot, inspection
    depot.orders += 1
    depot.on_order += quantity


@kernel
def depots_buy(w: Tables, s: State, action: np.ndarray) -> None:
    """All of stage 5. Position = stock + on order; below the trigger, order up to trigger + lot."""
    day = s.clock[0].day
    for d in range(s.depot_mat.shape[0]):
        if s.depot[d].down_until > day:
            continue
        spot = level(action, d, w.depot_slot[DEPOT_SOURCE], w.depot_fixed[DEPOT_SOURCE], 0)
        inspection = level(action, d, w.depot_slot[DEPOT_INSPECTION], w.depot_fixed[DEPOT_INSPECTION], 0)
        for m in range(len(w.mat)):
            trigger = level(action, d, w.depot_slot[DEPOT_TRIGGER], w.depot_fixed[DEPOT_TRIGGER], m)
            if trigger == 0:
                continue
            depot = s.depot_mat[d, m]
            rate = depot_base_rate(w, s, d, m)
            reorder_point = w.depot_trigger_level[trigger] * rate * w.mat[m].lead_mean_d
            position = in_depot(depot) + depot.on_order
            if position >= reorder_point:
                continue
            lot = level(action, d, w.depot_slot[DEPOT_LOT], w.depot_fixed[DEPOT_LOT], m)
            days = w.depot_lot_level[lot] if lot < len(w.depot_lot_level) else w.depot_lot_level[0]
            quantity = reorder_point + days * rate - position
            if lot == len(w.depot_lot_level):
                quantity = next_break(w, m, quantity)
            quantity = np.ceil(quantity / w.mat[m].pack - 1e-9) * w.mat[m].pack
            if quantity <= 0.0:
                continue
            if depot.orders == s.supplier_order.shape[2]:
                s.events[Event.supplier_orders_refused] += 1.0
                continue
            place_order(w, s, d, m, quantity, day, spot, inspection)
