"""Worlds reduced to textbook cases: the judge ranks policies as the closed form does, and costs what it says.

Each scenario switches off everything that its textbook case does not have (`textbook.FREE`). The end of a run of the
tests shows each formula beside the simulated value. Wright's slope is in `test_experience.py`, Vickrey's
auction in `test_payment.py`, the shapes of F§3.2 in `test_shapes.py`.

The inventory formulas come from `stockpyl` (Snyder & Shen, *Fundamentals of Supply Chain Theory*, 2nd ed., 2019).
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import nbinom
from stockpyl.eoq import economic_order_quantity_with_all_units_discounts
from stockpyl.newsvendor import newsvendor_discrete, newsvendor_poisson
from stockpyl.ss import s_s_cost_discrete, s_s_discrete_exact
from textbook import (
    DEPOT_IDLE,
    FREE,
    HUB_OFF,
    SEVERAL,
    check,
    judge,
    play,
    with_demand,
)

from fabmesh.agents.evaluation.statistics import estimate
from fabmesh.envs.network.books.geography import great_circle_km
from fabmesh.envs.network.books.state import F_RECEIVED, F_SHIPPED
from fabmesh.envs.network.schema.scenario import (
    WORKING_DAYS_PER_YEAR,
    Actions,
    BomLine,
    Demand,
    Freight,
    LastMile,
    Stage,
    Supply,
)

pytestmark = pytest.mark.textbook

# --- stock of one item at a hub ------------------------------------------------------------------------------------


def up_to(units, units_a_day):
    """Days of cover of an order-up-to level in whole units: half a unit below it, so that rounding cannot matter."""
    return (units - 0.5) / units_a_day


BACKORDER = 9.0  # EUR a unit and day
HOLDING = 1.0  # EUR a unit and day
BASE_STOCK_LEAD_D = 3


def item_world(units_a_day, lead_d, backorder, cover_d, trigger=(1.0,), order_eur=0.0):
    """A hub buys one item of 1 EUR at retail after a fixed lead time, and owes what it cannot deliver.

    Units are worked and shipped on the day they are ordered if there is material; every later day costs `backorder`
    (lateness_per_day x price, due the next day, no grace). Holding is 1 EUR a unit and day, also on what is under way.
    """
    price = FREE.products[0].price_eur
    return replace(
        with_demand(FREE, units_a_day),
        market=replace(FREE.market, lateness_per_day=backorder / price),
        last_mile=replace(FREE.last_mile, parcel_eur=order_eur),  # customers are served by the free van
        supply=replace(FREE.supply, retail_lead_d=lead_d),
        inventory=replace(FREE.inventory, holding_material_year=HOLDING * WORKING_DAYS_PER_YEAR),
        actions=Actions(cover_d=cover_d, reorder_trigger=trigger, switched_off=HUB_OFF | DEPOT_IDLE),
    )


def test_base_stock_under_poisson_demand_and_lead_time():
    """One item, Poisson demand, fixed lead time L, backorders: the newsvendor of the demand of L days.

    A day's order is placed after the day's demand is known and arrives in the morning L days later, so what is left
    at the end of a day is S - D(L days). The books add, for every policy, the price of the units, holding on the units
    under way, and L first days on which nothing has arrived yet; all three are added to stockpyl's cost.
    """
    rate, lead = 2.0, BASE_STOCK_LEAD_D
    levels = range(5, 14)
    scenario = item_world(rate, lead, BACKORDER, tuple(up_to(s, rate) for s in levels))
    days = scenario.episode_d

    def expected(level):
        _, steady = newsvendor_poisson(HOLDING, BACKORDER, rate * lead, base_stock_level=level)
        short = (steady - HOLDING * (level - rate * lead)) / (HOLDING + BACKORDER)  # mean units owed
        first_days = sum(rate * (day + 1) - short for day in range(lead))
        whole = days * (steady + HOLDING * rate * lead + rate) + (HOLDING + BACKORDER) * first_days - short
        return whole / days

    grid = {f"S = {s}": {"hub": {"cover": 1 + i}} for i, s in enumerate(levels)}
    formula = {f"S = {s}": expected(s) for s in levels}
    best, _ = newsvendor_poisson(HOLDING, BACKORDER, rate * lead)
    assert min(formula, key=formula.__getitem__) == f"S = {best:.0f}"
    check("base stock, Poisson demand, lead time 3 d", judge(scenario, grid, 64), formula)


def test_s_S_policy_with_a_fixed_cost_of_ordering():  # noqa: N802 the name of the policy
    """One item, Poisson demand, lead time of a day, a fixed cost per order: the (s, S) policy of Zheng & Federgruen.

    The hub orders when its position is at most s, that is below trigger x level for a trigger between s and s + 1.
    stockpyl's cost is that of the long run; the first day, on which nothing is there, and the price of the units and
    of holding them for a day on their way are added. What else the start costs is about 0.01 EUR a day.
    """
    rate, order_eur, backorder = 6.0, 5.0, 4.0
    best_s, best_S, _ = (int(x) for x in s_s_discrete_exact(HOLDING, backorder, order_eur, True, rate))  # noqa: N806
    steps = ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1), (-2, -2), (2, 2), (0, -2), (0, 4), (-3, 3))
    pairs = [(best_s + a, best_S + b) for a, b in steps]
    tops = sorted({top for _, top in pairs})
    trigger = {(s, top): (s + 0.5) / (top - 0.5) for s, top in pairs}  # x the level, which is top - 1/2
    triggers = sorted(set(trigger.values()), reverse=True)
    scenario = item_world(rate, 1, backorder, tuple(up_to(top, rate) for top in tops), tuple(triggers), order_eur)
    grid = {
        f"s = {s}, S = {top}": {"hub": {"cover": 1 + tops.index(top), "trigger": triggers.index(trigger[s, top])}}
        for s, top in pairs
    }
    once = (HOLDING + backorder) * rate / scenario.episode_d  # owed at the end of the first day
    formula = {
        f"s = {s}, S = {top}": float(s_s_cost_discrete(s, top, HOLDING, backorder, order_eur, True, rate))
        + HOLDING * rate
        + rate
        + once
        for s, top in pairs
    }
    check("(s, S), Poisson demand, lead time 1 d", judge(scenario, grid, 192), formula, tolerance=0.0005)


# --- newsvendor ----------------------------------------------------------------------------------------------------


def test_newsvendor_of_a_product_whose_design_ends():
    """Finished goods of a design that ends every third day: one batch, one day of sales, the rest is deadstock.

    Both stages take a day, and customers want the goods tomorrow, so only finished stock serves. Day 0 and 1 of a
    design make the batch; what they sell is nothing, whatever the batch. Day 2 sells, and in the evening the design is
    revised (a revision rate of one a day: the next one is announced, with 2 days' notice, as soon as one is done).
    Overage is cost less salvage, underage the lost price with goodwill less cost. Demand is negative binomial.
    """
    rate, dispersion, period = 5.0, 2.0, 3
    cost, price, goodwill, salvage = 4.0, 10.0, 0.05, 0.25
    batches = range(2, 12)
    product = replace(
        FREE.products[0], price_eur=price, stages=(Stage("mill", 2e-5),) * 2, bom=(BomLine("blank", 1.0, stage=1),)
    )
    off = {**HUB_OFF, **DEPOT_IDLE, "hub.cover": 1, "hub.trigger": 0}
    del off["hub.make_to_stock"]
    scenario = replace(
        with_demand(replace(FREE, products=(product,)), rate),
        episode_d=100 * period,
        materials=(replace(FREE.materials[0], retail_eur=cost),),
        demand=Demand(dispersion=dispersion, revisions_per_year=WORKING_DAYS_PER_YEAR, revision_notice_d=period - 1),
        market=replace(FREE.market, goodwill=goodwill),
        supply=replace(FREE.supply, retail_lead_d=1),
        inventory=replace(FREE.inventory, salvage=salvage),
        actions=Actions(cover_d=(10.0,), make_to_stock_d=tuple(up_to(n, rate) for n in batches), switched_off=off),
    )
    lost, overage = price * (1.0 + goodwill), cost * (1.0 - salvage)
    size = rate / (dispersion - 1.0)
    pmf = {n: float(nbinom.pmf(n, size, 1.0 / dispersion)) for n in range(80)}

    def expected(batch):
        _, mismatch = newsvendor_discrete(overage, lost - cost, demand_pmf=pmf, base_stock_level=batch)
        return (mismatch + cost * rate + (period - 1) * lost * rate) / period

    grid = {f"batch of {n}": {"hub": {"make_to_stock": 1 + i}} for i, n in enumerate(batches)}
    formula = {f"batch of {n}": expected(n) for n in batches}
    best, _ = newsvendor_discrete(overage, lost - cost, demand_pmf=pmf)
    assert min(formula, key=formula.__getitem__) == f"batch of {best:.0f}"
    check("newsvendor, negative binomial demand", judge(scenario, grid, 256), formula)


# --- economic order quantity ---------------------------------------------------------------------------------------

EOQ_TOWNS, EOQ_TOWN_UNITS = 4, 400.0  # so many orders that a day's demand is nearly constant: 2.5 % either way
EOQ_BREAKS_D, EOQ_PRICES = (3.2, 19.2), (1.05, 1.02, 1.0)  # days of demand; EUR a unit
EOQ_LOTS_D = (5, 8, 12, 16, 20, 24, 32, 40)
EOQ_TRIGGER_D, EOQ_HUB_D = 1.25, 1.5  # days of demand: the depot's reorder point, the hub's stock
EOQ_OPENING = 0.2  # x 10 days at the hub, x (lead time of 1 + 20 days) at the depot, which has 20 days on order
EOQ_OPENING_D = EOQ_OPENING * 10 + EOQ_OPENING * 21 + 20
EOQ_FIRST_EVENING_D = EOQ_OPENING_D - EOQ_HUB_D - 1  # the depot's position after the first day
EOQ_FIRST_ORDER_D = math.floor(EOQ_FIRST_EVENING_D - EOQ_TRIGGER_D) + 1
EOQ_CYCLES_D = 960  # divisible by every lot but the formula's


def eoq_world(order_eur, holding_year):
    """A depot that supplies a nearly constant demand through a hub, at prices that fall with the size of the lot.

    The hub's requests are yesterday's demand, and the supplier delivers in a day, so the depot never runs short.
    """
    rate = EOQ_TOWNS * EOQ_TOWN_UNITS
    (town,) = FREE.towns
    off = {**HUB_OFF, "hub.cover": 1, "hub.trigger": 0, "depot.trigger": 1, "depot.quote": 1}
    del off["hub.make_to_stock"]  # a hub must have something to decide; it holds level 0
    return replace(
        with_demand(FREE, EOQ_TOWN_UNITS),
        episode_d=EOQ_FIRST_ORDER_D + EOQ_CYCLES_D,
        towns=tuple(replace(town, name=name) for name in ("Delft", "Lansingerland", "Rijswijk", "Schiedam")),
        materials=(replace(FREE.materials[0], bulk_eur=EOQ_PRICES[-1], retail_eur=2.0, pallet=rate),),
        supply=Supply(
            order_eur=order_eur,
            price_breaks_pallets=EOQ_BREAKS_D,
            price_factors=tuple(price - EOQ_PRICES[-1] for price in EOQ_PRICES),
        ),
        inventory=replace(FREE.inventory, holding_material_year=holding_year, opening_level=(EOQ_OPENING, EOQ_OPENING)),
        actions=Actions(
            cover_d=(EOQ_HUB_D,),
            reorder_trigger=(1.0,),
            depot_trigger=(EOQ_TRIGGER_D,),
            depot_lot_d=tuple(n - 0.5 for n in EOQ_LOTS_D),
            depot_quote=(0.0,),
            switched_off=off,
        ),
    )


@pytest.mark.parametrize(
    ("order_eur", "holding_year", "kind"),
    [(100.0, 0.2, "at a break"), (400.0, 0.2, "beyond all breaks"), (160.0, 2.0, "between two breaks")],
)
def test_economic_order_quantity_with_all_units_discount(order_eur, holding_year, kind):
    """Lots of whole days of demand, and of the next price break, against the EOQ with all-units discount.

    With a lot of n - 1/2 days beyond the trigger the depot reviews daily, finds its position half a day below the
    trigger on average, and orders n days of demand every n days. In the mornings it holds trigger + n / 2 days on
    average, so the cost is that of the EOQ and what the trigger and the hub's stock cost to hold at the lot's price.
    The formula for an episode counts the opening stock of 26 days apart: it is used up first, at its own price.
    """
    scenario = eoq_world(order_eur, holding_year)
    rate, days = EOQ_TOWNS * EOQ_TOWN_UNITS, scenario.episode_d
    holding = holding_year / WORKING_DAYS_PER_YEAR
    breaks = [0.0, *(b * rate for b in EOQ_BREAKS_D)]

    def price(lot_d):
        return EOQ_PRICES[sum(lot_d >= b for b in EOQ_BREAKS_D)]

    depot_d = sum(EOQ_FIRST_EVENING_D - day for day in range(EOQ_FIRST_ORDER_D))  # stock-days before the first order
    opening_eur = (price(20) - EOQ_PRICES[-1]) * EOQ_OPENING_D
    opening_eur += holding * price(20) * (depot_d + EOQ_HUB_D * EOQ_FIRST_ORDER_D)

    def expected(lot_d):
        premium = (price(lot_d) - EOQ_PRICES[-1]) * (days - EOQ_OPENING_D)
        held = holding * price(lot_d) * (EOQ_TRIGGER_D + lot_d / 2 + EOQ_HUB_D) * EOQ_CYCLES_D
        return (rate * (opening_eur + premium + held) + order_eur * EOQ_CYCLES_D / lot_d) / days

    best_lot, _, best_eur = economic_order_quantity_with_all_units_discounts(
        order_eur, holding, rate, breaks, list(EOQ_PRICES)
    )
    lots = {f"{n} days": n for n in EOQ_LOTS_D} | {"next break": EOQ_BREAKS_D[1]}  # the break above the least lot
    grid = {name: {"depot": {"lot": level}} for level, name in enumerate(lots)}
    formula = {name: expected(n) for name, n in lots.items()}
    beyond_bulk = best_eur - rate * EOQ_PRICES[-1]
    print(f"\nEOQ {kind}: {best_lot / rate:.2f} days of demand, {beyond_bulk:.3f} EUR a day beyond bulk")
    in_class = [name for name, n in lots.items() if price(n) == price(best_lot / rate)]
    nearest = min(in_class, key=lambda name: abs(lots[name] - best_lot / rate))
    assert min(formula, key=formula.__getitem__) == nearest
    check(f"EOQ, optimum {kind}", judge(scenario, grid, 16), formula, "controllable_cost", tolerance=0.002)


# --- a machine as a queue ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("load", [0.5, 0.7])
def test_one_machine_is_an_m_d_1_queue(load):
    """Little's law, and the queue length of Pollaczek and Khinchine, of a machine that makes one unit a day.

    A day's units arrive together in the morning and the machine makes one of those there: X' = max(X + A - 1, 0) with
    Poisson A, whose mean E[A(A - 1)] / 2(1 - load) = load^2 / 2(1 - load) is the queue of M/D/1 (Kleinrock 1975, vol.
    1, section 5.6). A unit made on the day of its order arrives the next day: mean lead time 1 + load / 2(1 - load).
    Little: units that sleep in the book = rate x nights, on every single path but for those there at the end.
    """
    (product,) = FREE.products
    (technology,) = FREE.technologies
    product = replace(product, stages=(Stage("mill", technology.hours_per_day),), due_d=200)
    scenario = replace(
        with_demand(replace(FREE, products=(product,)), load),
        episode_d=1000,
        market=replace(FREE.market, patience_catalogue_d=200),  # what cannot be promised in 16 days waits outside
        inventory=replace(FREE.inventory, opening_level=(1.0, 1.0)),
        actions=Actions(cover_d=(30.0,), switched_off=HUB_OFF | DEPOT_IDLE),
    )
    levels = {"hub": {"cover": 1}}
    _, _, events, book = play(scenario, levels, 128)
    (row,) = judge(scenario, {"held": levels}, 128).rows
    queue, lead = estimate(book.mean(axis=0)), row.summaries["lead_time_days"].mean
    by_formula = load**2 / (2.0 * (1.0 - load))
    lead_by_formula = 1.0 + by_formula / load
    print(f"\nM/D/1 at load {load}: formula, simulated, 95 % interval")
    print(f"units in the book {by_formula:.4f} {queue.mean:.4f} [{queue.low:.4f}, {queue.high:.4f}]")
    print(f"lead time, days   {lead_by_formula:.4f} {lead.mean:.4f} [{lead.low:.4f}, {lead.high:.4f}]")
    assert by_formula == pytest.approx(queue.mean, abs=SEVERAL * (queue.high - queue.low) / 2)
    assert lead_by_formula == pytest.approx(lead.mean, abs=SEVERAL * (lead.high - lead.low) / 2)
    nights = events["lead_time_unit_days"] - events["units_delivered"]
    ended = book[-1] > 0
    assert ended.any()
    assert not ended.all()
    np.testing.assert_allclose(book.sum(axis=0)[~ended], nights[~ended], rtol=2e-3)
    assert book.sum() == pytest.approx(nights.sum(), rel=5e-3)


# --- freight by weight and by volume -------------------------------------------------------------------------------


FREIGHT_UNITS = 20.0  # a day


def freight_world(*materials):
    """A depot that supplies a hub by road, with a unit of each material in every product."""
    (product,) = FREE.products
    product = replace(product, bom=tuple(BomLine(material.name, 1.0) for material in materials))
    return replace(
        with_demand(replace(FREE, products=(product,)), FREIGHT_UNITS),
        episode_d=100,
        materials=materials,
        freight=Freight(),
        inventory=replace(FREE.inventory, opening_level=(1.0, 1.0)),
        actions=Actions(
            cover_d=(4.0,),
            depot_trigger=(5.0,),
            depot_lot_d=(10.0,),
            switched_off={**HUB_OFF, "depot.trigger": 1, "depot.quote": 1},
        ),
    )


@pytest.mark.parametrize(
    ("dense", "bulky"), [((2.0, 0.5), (0.1, 4.0)), ((3.0, 1.0), (0.2, 1.0)), ((1.0, 3.0), (1.0, 3.1))]
)
def test_freight_is_limited_by_weight_or_by_volume(dense, bulky):
    """Chargeable weight = max(kg, 0.333 kg/L x L): of a material alone from the supplier, of the mix to the hub.

    Dense goods (above a third of a kilogram a litre) pay for their weight, bulky ones for their volume. Heavy and
    light goods in one consignment share its weight and its room, so that the mix is never dearer than its parts.
    """
    blank = replace(FREE.materials[0], retail_eur=1000.0)  # never bought at retail
    sizes = {"dense": dense, "bulky": bulky}
    materials = tuple(replace(blank, name=name, kg=kg, litres=litres) for name, (kg, litres) in sizes.items())
    scenario = freight_world(*materials)
    freight = scenario.freight
    assert dense[0] > freight.kg_per_litre * dense[1]
    assert bulky[0] < freight.kg_per_litre * bulky[1]
    batch, ledger, events, _ = play(scenario, {"hub": {"cover": 1}, "depot": {"lot": 0}}, 8)
    assert not events["retail_eur"].any()

    under_way = 20 * FREIGHT_UNITS  # an order of 20 days from before the first day, whose freight nobody pays
    ordered = batch.arrays.flow[:, 1, :, F_RECEIVED, 0] + batch.arrays.depot_mat["on_order"][:, 0] - under_way
    chargeable = np.array([dense[0], freight.kg_per_litre * bulky[1]])
    expected = freight.fixed_eur * events["supplier_orders"]
    expected += freight.rate_eur_tkm * scenario.supply.distance_km * (ordered @ chargeable) / 1000.0
    np.testing.assert_allclose(ledger["supplier_freight"], expected)

    shipped = batch.arrays.flow[:, 1, :, F_SHIPPED, 0]
    np.testing.assert_array_equal(shipped[:, 0], shipped[:, 1])
    (town,), (depot,) = scenario.towns, scenario.depots
    km = freight.circuity * great_circle_km(town.latitude, town.longitude, depot.latitude, depot.longitude)
    mixed = max(dense[0] + bulky[0], freight.kg_per_litre * (dense[1] + bulky[1]))
    assert mixed < chargeable.sum()
    by_weight = freight.rate_eur_tkm * km * shipped[:, 0] * mixed / 1000.0
    np.testing.assert_allclose(ledger["first_mile_freight"], freight.fixed_eur * events["hub_consignments"] + by_weight)
    print(
        f"\nchargeable kg a unit: dense {chargeable[0]:.3f}, bulky {chargeable[1]:.3f}, together {mixed:.3f};"
        f" to the hub {ledger['first_mile_freight'].mean():.2f} EUR an episode, as the formula says"
    )


@pytest.mark.parametrize(("litres", "chargeable_kg"), [(2.0, 1.0), (5.0, 1.0), (20.0, 4.0)])
def test_parcels_are_limited_by_weight_or_by_volume(litres, chargeable_kg):
    """Volumetric weight of a parcel: a kilogram for every five litres, if that is more than it weighs."""
    (product,) = FREE.products
    product = replace(product, kg=1.0, litres=litres)
    mile = LastMile(van_stop_eur=1000.0)
    scenario = replace(
        with_demand(replace(FREE, products=(product,)), 20.0),
        episode_d=20,
        last_mile=mile,
        inventory=replace(FREE.inventory, opening_level=(1.0, 1.0)),
        actions=Actions(cover_d=(30.0,), switched_off=HUB_OFF | DEPOT_IDLE),
    )
    _, ledger, events, _ = play(scenario, {"hub": {"cover": 1}}, 8)
    assert events["units_delivered"].all()
    each = mile.parcel_eur + mile.parcel_eur_kg * chargeable_kg
    np.testing.assert_allclose(ledger["last_mile_freight"], events["units_delivered"] * each)
    simulated = ledger["last_mile_freight"] / events["units_delivered"]
    print(f"\nparcel of 1 kg, {litres:g} L: formula {each:.4f} EUR, simulated {simulated.mean():.4f} on every path")
