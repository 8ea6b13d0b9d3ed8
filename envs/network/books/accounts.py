"""What is booked: the lines of the ledger and the counts of an episode, each by its name (model §9).

The order of the members is that of the columns of `ledger` and `events`, and the only declaration of either; kernels
take `Line.scrap` and `Event.revisions` for the numbers they are.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Self

from fabmesh.envs.network.schema.scenario import Scenario


class _Numbered(IntEnum):
    """Members are numbered from 0, in their order; the last that they are given is what they are, in words."""

    doc: str

    def __new__(cls, *words: str) -> Self:
        number = len(cls.__members__)
        member = int.__new__(cls, number)
        member._value_ = number
        member.doc = words[-1]
        return member


class Line(_Numbered):
    """Lines of the ledger, EUR: whose they can be, what is posted. Costs first; see `NOT_COST` for the others."""

    def __init__(self, payer: str, _: str) -> None:
        self.payer = payer

    material = "hub", "book value of the material in good units, when used"
    order_cost = "depot", "when it orders"
    supplier_freight = "depot", "when it orders"
    first_mile_freight = "hub", "depot or retailer to hub, when sent"
    last_mile_freight = "hub", "to the customer, when shipped"
    machine = "hub", "machine hours of good units, when completed"
    energy = "hub", "energy of these hours"
    labour = "hub", "labour hours of good units, at the plain wage"
    overtime = "hub", "the premium on hours beyond the regular ones"
    setup = "hub", "machine, energy and labour of set-ups"
    scrap = "hub", "material and hours of scrapped units, earlier stages included"
    holding = (
        "hub, depot",
        "a day's share of the book value of material (at a hub also what is under way to it), finished goods "
        "and make-to-stock work; not of work on orders",
    )
    deadstock = "hub, depot", "write-offs, net of salvage"
    lateness = "hub", "by the day"
    stock_change = (
        "hub",
        "minus the cost of the good units, which is in the lines above; plus book value when they are "
        "shipped. What is scrapped later or written off is a cost in those lines instead",
    )
    lost = "hub, platform", "cancelled orders (hub) and lost ones (platform): price and goodwill"
    settlement = "platform", "at the end of the episode"
    upkeep = "hub", "services, with their labour, when done; repairs on the morning of the breakdown"
    inspection = "depot", "when the inspected lot arrives"
    quality_returns = "hub", "refund and goodwill for parts that come back, when they are made"
    revenue = "hub", "not a cost: the bid (or second price) and the delivery, when shipped"
    transfers = (
        "hub, depot, platform",
        "not a cost: a depot's margin over book value, a hub's fee and royalty to the platform, with the sign"
        " of who gets it; sums to zero",
    )


class Event(_Numbered):
    """Counts of an episode, totals of the network."""

    units_ordered = "units of all lots and tenders on the tape"
    units_delivered = "units shipped to customers"
    units_lost = "units lost to the centralised channel"
    units_cancelled = "units cancelled for lateness"
    units_open = "units still open at the end; 0 before"
    units_on_time = "delivered units that arrive on the due day or before"
    lead_time_unit_days = "days from announcement to arrival, summed over delivered units"
    tenders_posted = "tenders on the tape"
    tenders_won = "awards of tenders; awards of tenders announced again are not counted a second time"
    tenders_lost = "tenders lost, refused ones included"
    tenders_refused = "tenders lost at once because the table was full"
    masked_actions = "forbidden levels chosen"
    purchases_eur = "supplier deliveries received by depots, at the purchase price"
    retail_eur = "material bought by hubs at retail"
    deadstock_gross_eur = "write-offs at book value"
    salvage_eur = "what they earned"
    supplier_orders = "orders placed by depots"
    supplier_orders_refused = "not placed, with too many under way"
    hub_consignments = "consignments from depots to hubs (pairs of places and days)"
    outage_days = "days of a hub down, summed over hubs"
    revisions = "announced since day 0"
    labour_h = "labour hours, set-ups included"
    overtime_h = "of them beyond the regular hours"
    units_scrapped = "units scrapped at any stage"
    units_reannounced = "open units announced again when a hub went down"
    late_units = "delivered units that arrive after the due day"
    inventory_eur_days = "book value that holding is charged on, summed over days"
    shortage_hub_material_days = "(hub, material, day) on which open orders need more than was there"
    stops_delivered = "customer stops, parts of a stop as parts"
    award_cost_eur = (
        "true cost of the units awarded: estimated production cost, set-ups where the hub has no open order "
        "of the row, delivery; counted by a batch with `audit` only"
    )
    award_least_cost_eur = "the same at the cheapest hub in reach that could have promised all of them, whatever it bid"
    award_left_eur = "next best landed score (or the ceiling) less the winner's: what it could have asked more"
    hub_month_rows = (
        "rows a hub works on for the first time in a month of 21 days, summed over hubs and months; with `audit`"
    )
    paid_above_bid_eur = "second price less bid, of all units when awarded; 0 under `first_price`"
    platform_fees_eur = "the platform's share of revenue"
    royalties_eur = "royalties of the designs"
    surge_product_days = "days with a surge under way, summed over products"
    surge_units = "units ordered in lots of products with a surge under way"
    life_shift_product_days = "distance of the life-cycle factor from 1, summed over products and days"
    depot_outage_days = "days of a depot down, summed over depots"
    regional_shocks = "shocks that struck a hub or more"
    supplier_stop_days = "days of a supplier stopped, summed over materials"
    port_closed_days = "days of the port closed, without its queue"
    long_route_days = "days on which ships took the long way"
    material_shortage_days = "days of a material scarce, summed over materials"
    platform_outage_days = "days without the platform"
    files_locked_days = "days of a hub with locked files, summed over hubs"
    tampered_days = "days of a product with a wrong file, summed over products"
    absence_h = "hours of technicians who were absent, at their productivity"
    vacancy_h = "hours of posts without a technician"
    breakdowns = "machines that failed"
    repair_h = "working hours of machines that their repairs take"
    services = "machines serviced"
    cpk_hub_technology_days = "Cpk in the morning, summed over hubs, technologies with a tolerance, and days"
    hub_spread_technology_days = (
        "standard deviation between the hubs / process standard deviation, summed over technologies and days"
    )
    lots_received = "lots that arrived at depots"
    lots_bad = "of them bad"
    lots_rejected = "of these found and sent back"
    units_returned = "unit-stages that passed the hub's check out of tolerance"
    learning_doublings = "doublings of experience, summed over hubs and technologies"
    learning_gain_doublings = "times that labour time halved, summed in the same way (parts as parts)"
    labour_saved_h = "labour hours that the units worked would have taken more on day 0"
    qualification_runs = "runs to qualify for a new design version"
    co2e_kg_van = "kg CO2e of customer stops by own van"
    co2e_kg_parcel = "of customer stops by parcel"
    co2e_kg_retail_parcel = "of parcels from the retail channel to hubs"
    co2e_kg_truck_to_hub = "of consignments from depots to hubs"
    co2e_kg_truck_to_depot = "of consignments from suppliers to depots, when ordered"
    co2e_kg_energy = "of the electricity of machine hours, set-ups and scrap included"
    co2e_kg_material = "of material worked into units that passed their stage"
    co2e_kg_scrap = "of material in units scrapped at the stage that takes it"
    co2e_kg_write_off = "of material written off at hubs and depots"
    batch_1_eur = (
        "cost of batches of 1 unit (what a hub works of a row at a stage on a day): material, hours, set-up, "
        "scrap; with `audit`"
    )
    batch_2_5_eur = (
        "cost of batches of 2 to 5 units (what a hub works of a row at a stage on a day): material, hours, "
        "set-up, scrap; with `audit`"
    )
    batch_6_20_eur = (
        "cost of batches of 6 to 20 (what a hub works of a row at a stage on a day): material, hours, set-up,"
        " scrap; with `audit`"
    )
    batch_21_eur = (
        "cost of batches of 21 and more (what a hub works of a row at a stage on a day): material, hours, "
        "set-up, scrap; with `audit`"
    )
    batch_1_standard_eur = "standard cost of their good units: bulk material, standard hours"
    batch_2_5_standard_eur = "standard cost of their good units: bulk material, standard hours"
    batch_6_20_standard_eur = "standard cost of their good units: bulk material, standard hours"
    batch_21_standard_eur = "standard cost of their good units: bulk material, standard hours"


class TenderEvent(_Numbered):
    """Counts of each tender stream."""

    tenders_posted = "tenders on the tape, one count per tender stream"
    tenders_served = "of them delivered whole"
    tender_days = "days from posting to whole delivery, summed over these"


LEDGER_LINES = tuple(line.name for line in Line)
NOT_COST = (Line.revenue.name, Line.transfers.name)
COST_LINES = len(Line) - len(NOT_COST)  # the first are costs
EVENT_NAMES = tuple(event.name for event in Event)
MACHINE_H = len(Event)  # column of the machine hours of the first technology; those of the others follow
MACHINE_H_DOC = "machine hours, set-ups included, one count per technology"
TENDER_EVENTS = len(TenderEvent)  # columns of each stream, after the machine hours
BATCHES = ("1", "2_5", "6_20", "21")  # classes of batch size, by name; where the next begins:
BATCH_BEGINS = (2, 6, 21)


def event_names(scenario: Scenario) -> tuple[str, ...]:
    """Names of the counts of an episode: fixed ones, machine hours per technology, tenders per stream."""
    machines = tuple(f"machine_h_{t.name}" for t in scenario.technologies)
    tenders = tuple(f"{event.name}_{stream.name}" for stream in scenario.tender_streams for event in TenderEvent)
    return EVENT_NAMES + machines + tenders
