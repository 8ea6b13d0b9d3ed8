"""The laws of model §9 as checks of a running batch, for the tests that play one."""

import numpy as np

from fabmesh.envs.network.books.state import FLOW_NAMES
from fabmesh.envs.network.schema.sizes import INBOUND_DAYS

RELATIVE = 1e-9
# What a sum of double precision may be off, of all that was ever added to it and taken from it: each addition rounds by
# 2**-53 of the sum, and an episode makes some thousands of them. What was all taken away again may be left at -4.5e-13.
ROUNDING = 1e-12
# What only a hub at work posts; write-offs and lateness go on without it.
WORK_LINES = (
    "material", "order_cost", "first_mile_freight", "last_mile_freight", "machine", "energy", "labour", "overtime",
    "setup", "scrap", "revenue", "transfers",
)  # fmt: skip


def column(batch, line):
    return batch.ledger_lines.index(line)


def event(batch, name):
    return batch.events[:, batch.event_names.index(name)].copy()


def not_negative(values, flowed=0.0):
    """Whether nothing is below zero but by rounding.

    `flowed` is what was added and taken in all; its axes are the first of those of the values.
    """
    values, flowed = np.asarray(values), np.abs(flowed)
    flowed = np.reshape(flowed, np.shape(flowed) + (1,) * (values.ndim - np.ndim(flowed)))
    return (values >= -ROUNDING * (1.0 + flowed)).all()


def near(left, right, scale):
    return (np.abs(np.asarray(left) - np.asarray(right)) <= RELATIVE * (1.0 + np.abs(scale))).all()


def in_use(table, counts):
    """The records of a table that are in use."""
    return table[np.arange(table.shape[-1]) < counts[..., None]]


def growing(batch):
    """The columns of the ledger that can only grow."""
    return [i for i, line in enumerate(batch.ledger_lines) if line not in ("stock_change", "transfers")]


def booked(batch):
    """EUR that went through a node's books, in its ledger either way and as material: float64[copies, nodes].

    Holding is charged on the value of stock, which is rounded as all the material that came and went.
    """
    total = np.abs(batch.ledger).sum(axis=2)
    material = np.abs(batch.arrays.flow[..., 1]).sum(axis=(2, 3))
    total[:, : material.shape[1]] += material  # hubs and depots; the market holds none
    return total


def has_not_fallen(batch, before):
    """No line of the ledger that can only grow is below what it was `before`."""
    assert not_negative((batch.ledger - before)[:, :, growing(batch)], booked(batch))


def check_nothing_is_negative(batch):
    a = batch.arrays
    hubs = a.hub.shape[1]
    units, eur = (np.abs(a.flow[..., kind]).sum(axis=-1) for kind in (0, 1))  # [copies, nodes, materials]
    at_hubs = booked(batch)[:, :hubs]
    for records, flowed, fields in (
        (a.hub_mat, units[:, :hubs], ("sealed", "opened", "inbound", "use_rate", "need")),
        (a.hub_mat, eur[:, :hubs], ("value", "inbound_value")),
        (a.hub_prod, at_hubs, ("value", "wip_value")),
        (a.hub_prod, 0.0, ("finished", "wip", "rate")),
        (a.hub, at_hubs, ("late_eur", "price_eur")),
        (a.hub, 0.0, ("orders", "labour_carry_h", "open_units")),
        (a.hub_tech, 0.0, ("carry_h", "offered_h", "won_h")),
        (a.depot_mat, units[:, hubs:], ("stock",)),
        (a.depot_mat, units[:, hubs:] + a.depot_mat["on_order"], ("on_order",)),
        (a.depot_mat, eur[:, hubs:], ("value",)),
        (a.depot_mat, 0.0, ("landed", "request_rate", "fill", "orders")),
        (in_use(a.order, a.hub["orders"]), at_hubs.max(), ("wip_value",)),
        (in_use(a.order, a.hub["orders"]), 0.0, ("todo", "ready", "open", "price", "bid", "inherited")),
        (in_use(a.lot, a.clock["lots"]), 0.0, ("units", "price")),
        (in_use(a.tender, a.clock["tenders"]), 0.0, ("units", "price")),
        (in_use(a.supplier_order, a.depot_mat["orders"]), 0.0, ("quantity", "price", "landed")),
    ):
        for field in fields:
            assert not_negative(records[field], flowed), field
    assert not_negative(batch.ledger[:, :, growing(batch)], booked(batch))
    assert not_negative(batch.events, booked(batch).sum(axis=1))
    assert not_negative(a.flow[..., 0], units)
    assert not_negative(a.flow[..., 1], eur)


def check_orders(batch):
    """What an order still owes is somewhere in the shop, and no more than was ordered."""
    a = batch.arrays
    orders = in_use(a.order, a.hub["orders"])
    assert (orders["todo"].sum(axis=-1) + orders["ready"] == orders["open"]).all()
    assert (orders["open"] > 0).all()
    assert (orders["open"] <= orders["units"]).all()
    for table, count in ((a.lot, a.clock["lots"]), (a.tender, a.clock["tenders"])):
        assert (count <= table.shape[-1]).all()
        assert (in_use(table, count)["units"] > 0).all()
    assert (a.hub["orders"] <= a.order.shape[-1]).all()


def check_time(batch):
    """Nothing under way has been sent in the future or should have arrived."""
    a = batch.arrays
    days = np.broadcast_to(batch.day[:, None, None, None], a.supplier_order.shape)
    used = np.arange(a.supplier_order.shape[-1]) < a.depot_mat["orders"][..., None]
    placed, arrives, today = a.supplier_order["placed"][used], a.supplier_order["arrives"][used], days[used]
    assert (placed < today).all() or (today == 0).all()
    assert (arrives > today).all()
    assert (arrives > placed).all()
    ring = batch.day % INBOUND_DAYS  # what is due today is on the shelf
    for copy in range(batch.num_envs):
        assert (a.hub_mat["inbound_value"][copy, :, :, ring[copy]] == 0).all()


def check_books(batch):
    """What the ledger says is what the goods say."""
    a = batch.arrays
    flow = {name: a.flow[..., i, 1] for i, name in enumerate(FLOW_NAMES)}
    hubs = a.hub.shape[1]
    total = a.flow[..., 1].sum(axis=(1, 2, 3))
    # goods on the road: what hubs received or have under way is what depots and shops sent
    sent = flow["shipped"].sum(axis=(1, 2)) + event(batch, "retail_eur")
    got = flow["received"][:, :hubs].sum(axis=(1, 2)) + a.hub_mat["inbound_value"].sum(axis=(1, 2, 3))
    assert near(sent, got, total)
    assert near(flow["received"][:, hubs:].sum(axis=(1, 2)), event(batch, "purchases_eur"), total)
    assert near(batch.ledger[:, :-1, column(batch, "material")], flow["used"].sum(axis=2), total[:, None])
    # work in progress and finished goods: made - delivered - written off - scrapped later = what is there
    stock_change = batch.ledger[:, :, column(batch, "stock_change")].sum(axis=1)
    written_off = event(batch, "deadstock_gross_eur") - flow["expired"].sum(axis=(1, 2))
    assert (written_off >= -RELATIVE * (1 + total)).all()
    orders = np.where(np.arange(a.order.shape[-1]) < a.hub["orders"][..., None], a.order["wip_value"], 0.0)
    goods = (a.hub_prod["value"] + a.hub_prod["wip_value"]).sum(axis=(1, 2)) + orders.sum(axis=(1, 2))
    scrapped_later = -stock_change - written_off - goods
    scrap = batch.ledger[:, :, column(batch, "scrap")].sum(axis=1) - flow["scrapped"].sum(axis=(1, 2))
    scale = 1.0 + total + np.abs(batch.ledger).sum(axis=(1, 2))
    assert (scrapped_later >= -RELATIVE * scale).all()
    assert (scrapped_later <= scrap + RELATIVE * scale).all()
    net = event(batch, "deadstock_gross_eur") - event(batch, "salvage_eur")
    assert near(batch.ledger[:, :, column(batch, "deadstock")].sum(axis=1), net, scale)


def check_down_hubs(batch, down, ledger, before):
    """A hub that was down neither bought, worked, shipped nor took orders."""
    lines = [column(batch, line) for line in WORK_LINES]
    hubs = down.shape[1]
    assert (batch.ledger[:, :hubs][down][:, lines] == ledger[:, :hubs][down][:, lines]).all()
    flow, orders = before
    for name in ("used", "scrapped", "shipped"):
        i = FLOW_NAMES.index(name)
        assert (batch.arrays.flow[:, :hubs, :, i][down] == flow[:, :hubs, :, i][down]).all()
    assert (batch.arrays.hub["orders"][down] <= orders[down]).all()
