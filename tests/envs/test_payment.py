"""Second price, platform fee and royalty: against a slow reference, the textbook, and the ledger (model §4)."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up import CALM, POCKET, actions_of, first_network, fresh, line, put_lot, put_order
from reference import Reference
from test_customer_market import market_state
from test_laws import play_and_check, players, vary

from fabmesh.agents.evaluation.measures.books import EpisodeBooks, measure
from fabmesh.envs.network.compiler.rng import STREAM_ORDER, day_key, uniform
from fabmesh.envs.network.day.stage3_customers_buy import customer_market
from fabmesh.envs.network.day.stage7_goods_move import ship_orders
from fabmesh.envs.network.schema.scenario import Hub, Town
from fabmesh.envs.testing import check_scenario, random_actions
from fabmesh.envs.vector import HubNetworkVector

FEE, ROYALTY = 0.12, 0.08
TOWNS = (Town("Rotterdam", 51.92, 4.48, 90_000), Town("Leiden", 52.16, 4.49, 70_000))
HUBS = (Hub("Rotterdam", {"FDM": 1, "CNC": 1}, 1), Hub("Leiden", {"FDM": 3, "CNC": 2, "laser": 1}, 2))
FOUR_HUBS = replace(
    CALM,
    market=replace(CALM.market, payment="second_price"),
    towns=CALM.towns + TOWNS,
    hubs=CALM.hubs + HUBS,
)


# --- the reference


def reference_payments(batch, reference, promises, action, lots, tenders):
    """(hub, key) -> (units, bid, paid), from docs/model.md; what is left of a lot's offers has lost."""
    scenario, a, spec = reference.scenario, batch.arrays, batch.spec["hub"]
    order_key = np.uint64(day_key(a.clock["seed"][0], STREAM_ORDER, 0))
    finished = a.hub_prod["finished"][0].copy()
    markups = (None, *scenario.actions.bid_markups)
    paid, losers = {}, []

    def promise(hub, lot, wanted):
        """Units from stock and units from free hours that a hub could promise, and the days it has."""
        row, town, _, due, price, key = lot
        days = due - reference.days_under_way(hub, town)
        stock = min(wanted, finished[hub, row]) if key < 2000 and row < len(scenario.products) and days >= 0 else 0
        return stock, promises[hub].available(row, price, days, wanted - stock), days

    def ranked(lot, levels):
        row_index, town, units, _, price, _ = lot
        row, made = reference.rows[row_index], []
        for hub, level in enumerate(levels):
            if markups[level] is None or not reference.can_make(hub, row):
                continue
            bid = (1 + markups[level]) * reference.production_eur(row, price, units, a.hub_mat["quote"][0, hub])
            late, delivered = a.hub["late_eur"][0, hub], a.hub["price_eur"][0, hub]
            record = min(late / delivered, scenario.market.lateness_cap) if delivered > 1 else 0.0
            terms = reference.delivery_eur(hub, town, row, price, units)
            terms += scenario.market.reputation_weight * record * price
            if bid + terms <= row.ceiling * price:
                made.append((bid + terms, hub, bid, terms))
        return sorted(made)

    def award(lot, hub, stock, hours, days):
        row, _, _, _, price, key = lot
        promises[hub].promise(row, price, days, [hours, 0, 0])
        if hours:
            promises[hub].open_rows.add(row)
        if key < 2000 and row < len(scenario.products):
            finished[hub, row] -= stock

    for whole, table in ((False, lots), (True, tenders)):
        for lot in sorted(table, key=lambda lot: uniform(order_key, np.uint64(lot[-1]))):
            row_index, _, left, _, price, key = lot
            if whole:
                slots, index = [list(a.slot[0, h]) for h in range(len(scenario.hubs))], tenders.index(lot)
                chosen = action[0, :, spec.component("tender")]
                levels = [chosen[h][s.index(index)] if index in s else 0 for h, s in enumerate(slots)]
            else:
                lane = reference.lanes.index(reference.lane(reference.rows[row_index], price))
                levels = [action[0, h, spec.component("bid")][lane] for h in range(len(scenario.hubs))]
            offers, winners = ranked(lot, levels), []
            while offers and left:
                _, hub, bid, terms = offers.pop(0)
                stock, hours, days = promise(hub, lot, left)
                if stock + hours == 0 or (whole and stock + hours < left):
                    continue
                award(lot, hub, stock, hours, days)
                winners.append((hub, stock + hours, bid, terms))
                left -= stock + hours
            least = lot[2] if whole else 1
            rivals = [score for score, hub, _, _ in offers if sum(promise(hub, lot, least)[:2]) == least]
            level = min(rivals, default=reference.rows[row_index].ceiling * price)
            losers.append(len(rivals) if winners else None)
            for hub, units, bid, terms in winners:
                paid[hub, key] = units, bid, max(bid, level - terms)
    return paid, losers


@pytest.mark.parametrize("seed", range(40))
def test_winners_are_paid_up_to_the_lowest_losing_score(seed):
    batch, reference, promises, action, lots, tenders = market_state(seed, FOUR_HUBS)
    before = batch.arrays.hub["orders"][0].copy()
    expected, _ = reference_payments(batch, reference, promises, action, lots, tenders)
    w, s, x = first_network(batch)
    customer_market(w, s, x, action[0])
    got = {}
    for h in range(len(before)):
        for order in batch.arrays.order[0, h, before[h] : batch.arrays.hub["orders"][0, h]]:
            got[h, int(order["key"])] = int(order["units"]), float(order["bid"])
    assert got.keys() == expected.keys()
    for key, (units, bid, paid) in expected.items():
        assert got[key] == (units, pytest.approx(paid, rel=1e-9)), key
        assert got[key][1] >= bid * (1 - 1e-12)
    above = sum(units * (paid - bid) for units, bid, paid in expected.values())
    assert batch.events[0, batch.event_names.index("paid_above_bid_eur")] == pytest.approx(above, rel=1e-9, abs=1e-9)


def test_the_made_up_markets_have_losers_and_split_lots():
    """Lots with rivals and without, lots split between hubs, and tenders with a loser."""
    with_loser = without = split = 0
    for seed in range(40):
        state = market_state(seed, FOUR_HUBS)
        paid, losers = reference_payments(*state)
        keys = [key for _, key in paid]
        split += len(keys) - len(set(keys))
        with_loser += sum(1 for count in losers if count)
        without += sum(1 for count in losers if count == 0)
    assert split > 10
    assert with_loser > 50
    assert without > 50


# --- the textbook


def textbook(payment):
    """Three hubs that are never short of anything; what they estimate is what they spend: machines and people.

    Material is worth next to nothing and there from the start; no set-ups, scrap, ageing, outages, holding or second
    day for an order. So lots do not couple, and each is an auction with private values: the distances differ.
    """
    machines = {t.name: 60 for t in POCKET.technologies}
    hubs = tuple(Hub(name, machines, 300) for name in ("Delft", "Dordrecht", "Rotterdam"))
    free = {"bulk_eur": 1e-6, "retail_eur": 1e-6, "sealed_life_d": None, "floor_life_d": None, "design_of": None}
    return replace(
        POCKET,
        towns=POCKET.towns + TOWNS[:1],
        hubs=hubs,
        technologies=tuple(replace(t, setup_h=0.0, scrap=0.0) for t in POCKET.technologies),
        materials=tuple(replace(m, **free) for m in POCKET.materials),
        demand=replace(POCKET.demand, revisions_per_year=0.0, tender_level=20.0),
        market=replace(POCKET.market, payment=payment, patience_catalogue_d=0, patience_custom_d=0),
        freight=replace(POCKET.freight, fixed_eur=0.0, rate_eur_tkm=0.0),
        inventory=replace(
            POCKET.inventory, opening_level=(200.0, 200.0), holding_material_year=0.0, holding_finished_year=0.0
        ),
        disruptions=replace(POCKET.disruptions, scale=0.0),
        actions=replace(POCKET.actions, bid_markups=(-0.3, -0.15, 0.0, 0.1, 0.25, 0.5, 1.0)),
        capacity=replace(POCKET.capacity, order_book=2000),
    )


def profits(scenario, level, seeds):
    """Profit of hub_0 per world, EUR, that bids one mark-up on everything while the others bid at random."""
    batch = HubNetworkVector(scenario, num_envs=len(seeds), autoreset=False)
    batch.reset(seed=seeds)
    rng = np.random.default_rng(1)
    hub = batch.spec["hub"]
    actions = {role: np.zeros(batch.action_space[role].shape, int) for role in batch.roles}
    actions["depot"][:, :, batch.spec["depot"].component("quote")] = 1
    info = {}
    for _ in range(scenario.episode_d):
        for name in ("bid", "tender"):
            part = actions["hub"][:, :, hub.component(name)]
            part[:] = rng.integers(0, 1 + len(scenario.actions.bid_markups), part.shape)
            part[:, 0] = level
        info = batch.step(actions)[4]
    names = dict(zip(batch.event_names, info["final_events"].T, strict=True))
    assert not names["late_units"].any()
    assert names["tenders_won"].all()
    books = dict(zip(batch.ledger_lines, np.moveaxis(info["final_ledger"][:, 0], -1, 0), strict=True))
    income = books.pop("revenue") + books.pop("transfers")
    return income - sum(books.values())


@pytest.mark.textbook
def test_vickrey_no_hub_gains_by_bidding_off_its_true_cost():
    """Vickrey 1961: the truth is a best answer to whatever the others bid; under first price it earns nothing."""
    seeds = list(range(300, 306))
    found = {}
    for payment in ("second_price", "first_price"):
        scenario = textbook(payment)
        found[payment] = {
            markup: profits(scenario, 1 + i, seeds) for i, markup in enumerate(scenario.actions.bid_markups)
        }
        print(f"\n{payment}: profit of hub_0 in 60 days, mean of {len(seeds)} worlds")
        for markup, profit in found[payment].items():
            print(f"  mark-up {markup:+.0%}: {profit.mean():10,.2f} EUR")
    second, first = found["second_price"], found["first_price"]
    assert (second[0.0] > 100.0).all()
    for markup, profit in second.items():  # in every single world, not only on average
        assert (profit <= second[0.0] + 1e-6 * second[0.0]).all(), markup
    assert all((profit < 0.999 * second[0.0]).all() for markup, profit in second.items() if abs(markup) > 0.2)
    assert np.abs(first[0.0]).max() < 0.1  # paid its cost, but for a trace of material
    assert max(profit.mean() for profit in first.values()) > 100.0


# --- payments move money and nothing else


def with_payments(scenario, fee=FEE, royalty=ROYALTY, payment="second_price"):
    return replace(
        scenario,
        market=replace(scenario.market, payment=payment, platform_fee=fee),
        products=tuple(replace(p, royalty=royalty) for p in scenario.products),
    )


def episode(scenario, seed):
    """Everything an episode returns, as bytes, and its final books, under fixed random legal actions."""
    batch = HubNetworkVector(scenario, num_envs=2, autoreset=False)
    rng = np.random.default_rng(seed)
    observed, info = batch.reset(seed=[seed, seed + 1])
    seen = b""
    for _ in range(scenario.episode_d):
        observed, reward, _, _, info = batch.step(random_actions(batch, info["action_mask"], rng))
        seen += b"".join(a.tobytes() for part in (observed, info["action_mask"], reward) for a in part.values())
        seen += info["cost"].tobytes()
    ledger, events, standard = info["final_ledger"], info["final_events"], info["standard_cost"]
    values = measure(EpisodeBooks(ledger, batch.ledger_lines, events, batch.event_names, standard))
    return seen, values, dict(zip(batch.ledger_lines, np.moveaxis(info["final_ledger"], -1, 0), strict=True))


def test_payments_change_no_cost_and_no_observation_but_the_measures_see_them():
    plain, before, books = episode(POCKET, 5)
    both, after, paid = episode(with_payments(POCKET), 5)
    assert plain == both
    for name in books:
        assert (books[name] == paid[name]).all() or name in ("revenue", "transfers"), name
    for name in ("paid_above_bid", "platform_fees", "royalties"):
        assert (before[name] == 0.0).all()
        assert (after[name] > 0.0).all()
    assert (after["realised_markup"] > before["realised_markup"]).all()
    assert after["platform_fees"] == pytest.approx(FEE * paid["revenue"].sum(axis=1), rel=1e-12)
    platform = paid["transfers"][:, -1]
    assert platform == pytest.approx(after["platform_fees"] + after["royalties"], rel=1e-12)
    assert (books["transfers"][:, -1] == 0.0).all()


def test_fee_and_royalty_of_a_shipment_by_hand():
    scenario = with_payments(CALM)
    batch = fresh(scenario)
    custom = len(scenario.products)
    put_order(batch, 0, 0, 0, 6, 9, 30.0, todo=[0, 0, 0], ready=6)
    put_order(batch, 0, custom, 0, 1, 9, 200.0, todo=[0, 0, 0], ready=1)
    batch.arrays.order["bid"][0, 0, :2] = 20.0, 150.0
    w, s, _ = first_network(batch)
    ship_orders(w, s)
    revenue = 6 * 20.0 + 150.0 + line(batch, 0, "last_mile_freight")
    assert line(batch, 0, "revenue") == pytest.approx(revenue, rel=1e-12)
    owed = FEE * revenue + 6 * ROYALTY * 30.0  # the customer of a custom order brings the design
    assert line(batch, 0, "transfers") == pytest.approx(-owed, rel=1e-12)
    assert line(batch, -1, "transfers") == pytest.approx(owed, rel=1e-12)
    assert batch.arrays.day_income[0] == pytest.approx([revenue - owed, 0.0, 0.0, owed], rel=1e-12)


def test_one_hub_alone_is_paid_the_ceiling():
    """A lot with one bidder, and one of which the other bidder's book is full: nobody loses."""
    scenario = replace(CALM, market=replace(CALM.market, payment="second_price"))
    for rival_is_full in (False, True):
        batch = fresh(scenario)
        a, action = batch.arrays, actions_of(batch)
        put_lot(a.lot, 0, 0, 0, 1, 9, scenario.products[0].price_eur, 1000)
        a.clock["lots"] = 1
        action[0, 0, batch.spec["hub"].component("bid")] = 2
        if rival_is_full:
            action[0, 1, batch.spec["hub"].component("bid")] = 3
            a.hub["orders"][0, 1] = scenario.capacity.order_book
        w, s, x = first_network(batch)
        customer_market(w, s, x, action[0])
        reference = Reference(scenario)
        product = scenario.products[0]
        ceiling = scenario.market.ceiling_catalogue * product.price_eur
        delivery = reference.delivery_eur(0, 0, reference.rows[0], product.price_eur, 1)
        assert a.order["bid"][0, 0, 0] == pytest.approx(ceiling - delivery, rel=1e-12)


@settings(max_examples=6)
@given(seed=st.integers(0, 2**48), player=players, fee=st.floats(0, 1), royalty=st.floats(0, 0.5))
def test_laws_hold_with_payments(seed, player, fee, royalty):
    scenario = with_payments(vary(disruptions={"hub_outage_year": 25.0, "hub_outage_median_d": 2.0}), fee, royalty)
    batch = play_and_check(scenario, [seed, seed + 1], player)
    transfers = batch.ledger[:, :, batch.ledger_lines.index("transfers")]
    owed = sum(batch.events[:, batch.event_names.index(name)] for name in ("platform_fees_eur", "royalties_eur"))
    assert transfers[:, -1] == pytest.approx(owed, rel=1e-9)


def test_a_world_with_payments_plays_the_same_alone_and_in_a_batch():
    scenario = replace(with_payments(POCKET), reward=replace(POCKET.reward, team_weight=0.3))
    assert len(check_scenario(scenario, seed=11)) == 6


def test_a_world_with_payments_plays_the_same_on_threads():
    scenario = replace(with_payments(POCKET), reward=replace(POCKET.reward, team_weight=0.3))
    batches = [HubNetworkVector(scenario, num_envs=5, threads=threads) for threads in (1, 3)]
    infos = [batch.reset(seed=8)[1] for batch in batches]
    rng = np.random.default_rng(4)
    for _ in range(scenario.episode_d + 3):  # into the next episode
        actions = random_actions(batches[0], infos[0]["action_mask"], rng)
        (_, one, _, _, infos[0]), (_, other, _, _, infos[1]) = (batch.step(actions) for batch in batches)
        assert all(one[role].tobytes() == other[role].tobytes() for role in one)
        assert batches[0].ledger.tobytes() == batches[1].ledger.tobytes()
