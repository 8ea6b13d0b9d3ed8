"""Every block of the observations and of the state shows what its name says.

Names are what heuristics, transfer, tables and checkpoints go by. A case changes one thing of the network and lists
the blocks that show it: these move and no others, and of a block with an item per technology, material, product, slot
or place only the item concerned. No two blocks are in the same cases, so names that are exchanged fail.
"""

import numpy as np
import pytest
from made_up import first_network, put_lot

from fabmesh.envs.network.books.state import State
from fabmesh.envs.network.books.tables import TENDER, Tables
from fabmesh.envs.network.compiler.block import Block, Blocks
from fabmesh.envs.network.day.stage2_observations import observe
from fabmesh.envs.network.loading import load_scenario
from fabmesh.envs.testing import random_actions
from fabmesh.envs.vector import HubNetworkVector

ROTTERDAM = load_scenario("rotterdam")  # with every mechanism, and with flags of everything that can happen
DAY, LATER = 40, 45
HUB, DEPOT = 0, 0  # are changed and looked at
NAMES = {ROTTERDAM.hubs[HUB].town: "hub", ROTTERDAM.depots[DEPOT].name: "depot"}
FDM = [technology.name for technology in ROTTERDAM.technologies].index("FDM")
PETG, PA12, KIT = ([m.name for m in ROTTERDAM.materials].index(name) for name in ("petg", "pa12", "lamp_kit"))
OLD, YOUNG = 1, 2  # age classes of petg on the day: a class is a fifth of its sealed life
P02, P11 = ([product.name for product in ROTTERDAM.products].index(name) for name in ("P02", "P11"))
TOWN, DELFT, DORDRECHT = (
    [town.name for town in ROTTERDAM.towns].index(name) for name in (ROTTERDAM.hubs[HUB].town, "Delft", "Dordrecht")
)
CONCERNED = {*NAMES, "FDM", "petg", "lamp_kit", "P02", "slot 0"}
CONCERNED |= {f"slot 0 is {technology.name}" for technology in ROTTERDAM.technologies}


def put(array, place, value):
    array[place] = value


def add(array, place, amount):
    array[place] += amount


def swap(array, place, amount):
    """Moves an amount from the young age class to the old one."""
    array[place][YOUNG] -= amount
    array[place][OLD] += amount


OF_HOURS = "lane_load lane_load_near lane_offer machines_up"
STATE_OF_HOURS = "open_lots open_tenders hub:lane_load hub:machines_up"
OF_TENDERS = "tender_work tender_due tender_margin tender_distance tender_material tender_lane"
LABOUR = "labour_load/all labour_load/near"
# case: what it changes in the constants w or the state s; the blocks of a hub, of a depot and of the state that move
CASES = {
    "a month later": (
        lambda w, s: add(s.clock["season_start"], 0, 20),
        "calendar/sin_season calendar/cos_season", "calendar/sin_season calendar/cos_season", "season/sin season/cos"),
    "a day later": (
        lambda w, s: add(s.clock["season_start"], 0, 1),
        *("calendar/sin_weekday calendar/cos_weekday calendar/sin_season calendar/cos_season",) * 2,
        "season/sin season/cos"),
    "a hub closed": (lambda w, s: put(s.hub["down_until"], HUB, LATER), "up", "", "hub:up"),
    "technicians": (
        lambda w, s: add(w.hub_people, HUB, 1.0),
        f"size/technicians {LABOUR} people/present people/staff", "", "hub:labour_load hub:present"),
    "population": (lambda w, s: add(w.population, TOWN, 9e4), "size/town", "", ""),
    "way to depots": (lambda w, s: add(w.depot_km, np.s_[:, HUB], 9.0), "depot_distance", "", ""),
    "machine hours": (lambda w, s: add(w.hub_hours, (HUB, FDM), 9.0), f"{OF_HOURS} tender_work", "", STATE_OF_HOURS),
    "no machine": (
        lambda w, s: put(w.hub_hours, (HUB, FDM), 0.0),
        f"has_lane {OF_HOURS} tender_work", "", STATE_OF_HOURS),
    "more of an order": (
        lambda w, s: add(s.order["todo"], (HUB, 0, 0), 4),
        "lane_load labour_load/all", "", "hub:lane_load hub:labour_load"),
    "an order due": (lambda w, s: put(s.order["due"], (HUB, 0), DAY), "lane_load_near labour_load/near", "", ""),
    "more of a lot": (lambda w, s: add(s.lot["units"], 0, 4), "lane_offer lane_local lane_margin", "", "open_lots"),
    "a lot elsewhere": (lambda w, s: put(s.lot["town"], 0, DELFT), "lane_local", "", ""),
    "ceiling of a lot": (lambda w, s: put(s.lot["ceiling"], 0, 99.0), "lane_margin", "", ""),
    "hours won": (lambda w, s: add(s.hub_tech["won_h"], (HUB, FDM), 1.0), "lane_won", "", ""),
    "late units": (lambda w, s: add(s.hub["late_units"], HUB, 3), "late_share", "", "hub:late_share"),
    "lateness charged": (lambda w, s: add(s.hub["late_eur"], HUB, 9.0), "reputation", "", ""),
    "an empty slot": (lambda w, s: put(s.slot, (HUB, 0), -1), f"tender_present {OF_TENDERS}", "", ""),
    "another tender": (lambda w, s: put(s.slot, (HUB, 0), s.slot[HUB, 1]), OF_TENDERS, "", ""),
    "more of a tender": (
        lambda w, s: add(s.tender["units"], s.slot[HUB, 0], 9),
        "tender_work tender_margin tender_material", "", "open_tenders"),
    "a tender due later": (lambda w, s: add(s.tender["due"], s.slot[HUB, 0], 2), "tender_work tender_due", "", ""),
    "ceiling of a tender": (lambda w, s: put(s.tender["ceiling"], s.slot[HUB, 0], 99.0), "tender_margin", "", ""),
    "way to a tender": (
        lambda w, s: add(w.town_km, (HUB, s.tender["town"][s.slot[HUB, 0]]), 3.0), "tender_distance", "", ""),
    "stock of a hub": (
        lambda w, s: add(s.hub_mat["sealed"], (HUB, PETG, YOUNG), 1.0),
        "stock_cover ageing unqualified tender_material", "", "hub:position hub:ageing hub:bad"),
    "old stock of a hub": (lambda w, s: swap(s.hub_mat["sealed"], (HUB, PETG), 1.0), "ageing", "", "hub:ageing"),
    "an open pack": (
        lambda w, s: (add(s.hub_mat["sealed"], (HUB, PETG, YOUNG), -1.0), put(s.hub_mat["opened"], (HUB, PETG), 1.0)),
        "ageing", "", ""),
    "under way to a hub": (
        lambda w, s: add(s.hub_mat["inbound"], (HUB, KIT, 0, 0), 3.0), "inbound_cover", "", "hub:position"),
    "need": (lambda w, s: add(s.hub_mat["need"], (HUB, KIT), 3.0), "book_need", "", "hub:position"),
    "need of a tender": (
        lambda w, s: add(s.hub_mat["need"], (HUB, PETG), 3.0), "book_need tender_material", "", "hub:position"),
    "use": (
        lambda w, s: add(s.hub_mat["use_rate"], (HUB, KIT), 1.0), "use_rate stock_cover inbound_cover book_need",
        "", ""),
    "a quote": (lambda w, s: add(s.hub_mat["quote"], (HUB, PETG), 3.0), "quote", "", ""),
    "in stock": (lambda w, s: put(s.hub_mat["in_stock"], (HUB, PETG), 0.0), "in_stock", "", ""),
    "a revision": (
        lambda w, s: put(s.revision, P02, LATER), "kit_notice revision_notice", "kit_notice", "revision_notice"),
    "a kit of another design": (lambda w, s: put(w.mat["design"], KIT, P11), "kit_notice", "kit_notice", ""),
    "finished goods": (lambda w, s: add(s.hub_prod["finished"], (HUB, P02), 2), "finished_cover", "", ""),
    "sales": (lambda w, s: add(s.hub_prod["rate"], (HUB, P02), 1.0), "finished_cover product_rate", "", ""),
    "an absence": (lambda w, s: add(s.hub["present"], HUB, -0.5), "people/present", "", "hub:present"),
    "a vacancy": (lambda w, s: add(s.hub["staff"], HUB, -0.5), "people/staff", "", ""),
    "wear": (lambda w, s: add(s.hub_tech["wear_h"], (HUB, FDM), 9.0), "wear", "", "hub:wear"),
    "a repair": (
        lambda w, s: add(s.repair, w.first_machine[HUB, FDM], 5.0), "machines_up", "", "hub:machines_up"),
    "bias": (lambda w, s: add(s.hub_tech["bias"], (HUB, FDM), 0.5), "", "", "hub:bias"),
    "calibrated long ago": (lambda w, s: add(s.hub_tech["bias_var"], (HUB, FDM), 0.5), "calibration", "", ""),
    "scrap": (lambda w, s: add(s.hub_tech["scrap_share"], (HUB, FDM), 0.1), "scrap_share", "", ""),
    "unqualified stock of a hub": (
        lambda w, s: add(s.hub_mat["unqualified"], (HUB, PETG), 1.0), "unqualified", "", ""),
    "bad stock of a hub": (lambda w, s: add(s.hub_mat["bad"], (HUB, PETG), 1.0), "", "", "hub:bad"),
    "learned": (
        lambda w, s: put(s.hub_tech["learned"], (HUB, FDM), 0.7), f"learned {LABOUR}", "",
        "hub:learned hub:labour_load"),
    "a new design": (lambda w, s: put(s.hub_prod["qualifies"], (HUB, P02), 1), "qualifies", "", ""),
    "stock of a depot": (
        lambda w, s: add(s.depot_mat["stock"], (DEPOT, PETG, YOUNG), 1.0),
        "", "stock_cover ageing unqualified", "depot:stock depot:bad"),
    "old stock of a depot": (lambda w, s: swap(s.depot_mat["stock"], (DEPOT, PETG), 1.0), "", "ageing", ""),
    "on order": (
        lambda w, s: add(s.depot_mat["on_order"], (DEPOT, PETG), 5.0), "", "inbound_cover", "depot:on_order"),
    "supplier orders": (lambda w, s: add(s.depot_mat["orders"], (DEPOT, PETG), 1), "", "orders_under_way", ""),
    "requests": (
        lambda w, s: add(s.depot_mat["request_rate"], (DEPOT, PETG), 0.1),
        "", "request_rate stock_cover inbound_cover", ""),
    "requests filled": (lambda w, s: add(s.depot_mat["fill"], (DEPOT, PETG), -0.5), "", "fill", ""),
    "landed cost": (
        lambda w, s: add(s.depot_mat["landed"], (DEPOT, PETG), 3.0), "", "landed_cost", "depot:landed_cost"),
    "size of a pallet": (lambda w, s: put(w.mat["pallet"], PETG, 0.1), "", "price_class", ""),
    "unqualified stock of a depot": (
        lambda w, s: add(s.depot_mat["unqualified"], (DEPOT, PETG), 1.0), "", "unqualified", ""),
    "bad stock of a depot": (lambda w, s: add(s.depot_mat["bad"], (DEPOT, PETG), 1.0), "", "", "depot:bad"),
    "a surge": (lambda w, s: put(s.surge, P02, 3.0), *("surge",) * 3),
    "platform down": (lambda w, s: put(s.outside["platform_until"], 0, LATER), *("platform_up",) * 3),
    "a depot closed": (
        lambda w, s: put(s.depot["down_until"], DEPOT, LATER),
        "depots_open", "depots_open up", "depots_open depot_up"),
    "another depot closed": (
        lambda w, s: put(s.depot["down_until"], DEPOT + 1, LATER),
        "depots_open", "depots_open", "depots_open depot_up/Zoetermeer"),
    "a supplier stopped": (lambda w, s: put(s.source["stopped_until"], PETG, LATER), *("supplier_stopped",) * 3),
    "scarce": (lambda w, s: put(s.source["scarce_until"], PETG, LATER), "scarce", "scarce price_class", "scarce"),
    "port closed": (lambda w, s: put(s.outside["port_until"], 0, LATER), *("port_open",) * 3),
    "the long way": (lambda w, s: put(s.outside["long_route_until"], 0, LATER), *("long_route",) * 3),
    "files locked": (lambda w, s: put(s.hub["locked_until"], HUB, LATER), "files", "", "files"),
}  # fmt: skip


@pytest.fixture(scope="module")
def batch():
    """A network in the middle of an episode, in which the hub and the depot have something of everything."""
    batch = HubNetworkVector(ROTTERDAM, num_envs=1, autoreset=False)
    _, info = batch.reset(seed=5)
    rng = np.random.default_rng(3)
    for _ in range(DAY):
        info = batch.step(random_actions(batch, info["action_mask"], rng))[4]
    w, a = first_network(batch)[0].arrays, batch.arrays
    for i, due in enumerate((DAY + 9, DAY + 1)):
        order = a.order[0, HUB, i]
        order["row"], order["due"], order["todo"] = P02, due, (3, 0, 0)
        put_lot(a.lot, i, P02, TOWN, 4, DAY + 9, 120.0, 1)
    hub = a.hub[0, HUB]
    hub["late_units"], hub["open_units"], hub["price_eur"], hub["late_eur"] = 4, 40, 1000.0, 10.0
    a.revision[0] = -1
    a.revision[0, P11] = DAY + 4
    for m in (PETG, KIT):
        material = a.hub_mat[0, HUB, m]
        material["inbound_value"], material["inbound"] = 0.0, 0.0
        material["inbound_value"][0], material["inbound"][0, 0] = 50.0, 4.0
        material["need"], material["use_rate"], material["in_stock"], material["opened"] = 1.0, 9.0, 1.0, 0.0
    for stock, classes in ((a.hub_mat[0, HUB, PETG], "sealed"), (a.depot_mat[0, DEPOT, PETG], "stock")):
        stock[classes] = 2.0
        stock["unqualified"], stock["bad"] = 2.0, 1.0
    a.depot_mat["on_order"][0, DEPOT, PETG] = 5.0
    a.repair[0, w.first_machine[HUB, FDM]] = 1.0
    goods = a.hub_prod[0, HUB, P02]
    goods["finished"], goods["rate"], goods["qualifies"] = 1, 9.0, 0
    for i, (material, town) in enumerate(((PETG, DELFT), (PA12, DORDRECHT))):
        tender = a.tender[0, a.slot[0, HUB, i]]
        tender["row"] = np.flatnonzero((w.row["kind"] == TENDER) & (w.row["bom_material"][:, 0] == material))[0]
        tender["town"], tender["units"], tender["due"] = town, 200, DAY + 12 + i
    return batch


def seen(batch, change):
    """What the hub and the depot observe, and the state, once something of the network is changed."""
    constants, _, scratch = first_network(batch)
    w = Tables(*(array.copy() for array in constants.arrays))
    copies = State(*(array.copy() for array in batch.arrays))
    change(w, State(*(array[0] if array.ndim > 1 else array for array in copies)))
    shapes = [(len(spec.agents), spec.num_features) for spec in batch.spec.values()] + [batch.state_space.shape]
    hub, depot, state = (np.full(shape, np.nan, np.float32) for shape in shapes)
    observe(Block(w), Blocks(copies)[0], scratch, hub, depot, state)
    assert not any(np.isnan(shown).any() for shown in (hub, depot, state))
    return hub[HUB], depot[DEPOT], state


def layouts(batch):
    """Blocks of what `seen` returns."""
    return *(batch.spec[role].features for role in ("hub", "depot")), batch.state_features


def name_of(block):
    """A block's name; in the state with `hub` or `depot` in place of the town or the name of the one looked at."""
    place, _, name = block.name.rpartition(": ")
    return f"{NAMES.get(place, place)}:{name}" if place else name


def label(block, item):
    """What moves: a block where the item concerned does, or is the only one; else one of its items."""
    return name_of(block) if item in CONCERNED or block.count == 1 else f"{name_of(block)}/{item.replace(' ', '_')}"


@pytest.mark.parametrize("case", CASES)
def test_a_block_shows_what_its_name_says(batch, case):
    change, *expected = CASES[case]
    for blocks, before, after, names in zip(
        layouts(batch), seen(batch, lambda w, s: None), seen(batch, change), expected, strict=True
    ):
        labels = [label(block, item) for block in blocks for item in block.items]
        assert {labels[i] for i in np.flatnonzero(before != after)} == set(names.split())


@pytest.mark.parametrize("shown", [0, 1, 2], ids=["hub", "depot", "state"])
def test_no_block_is_left_out_or_moves_in_the_same_cases_as_another(batch, shown):
    cases = {name_of(block): set() for block in layouts(batch)[shown]}
    others = {name for name in cases if ":" in name and name.split(":")[0] not in NAMES.values()}
    for case, (_, *expected) in CASES.items():
        for moved in expected[shown].split():
            name, _, item = moved.partition("/")
            cases[name].add((case, item))
    assert {name for name in cases if not cases[name]} == others
    assert len({frozenset(of_one) for of_one in cases.values() if of_one}) == len(cases) - len(others)
