"""What the winner of a lot is paid under the second-price rule, and what a hub owes the platform (model §4).

Neither changes who works, when, or at what cost: payments move money, and only rewards that count it can tell.
"""

from __future__ import annotations

import numpy as np

from fabmesh.envs.network.books.accounts import Event
from fabmesh.envs.network.books.ledger import transfer
from fabmesh.envs.network.books.state import Scratch, State
from fabmesh.envs.network.books.tables import Tables
from fabmesh.envs.network.compiler.kernel import kernel
from fabmesh.envs.network.schema.scenario import PAYMENT

SECOND_PRICE = PAYMENT.index("second_price")


@kernel
def pay_uniform_price(s: State, x: Scratch, winners: int, level: float) -> None:
    """Second price: every winner of a lot gets what its landed score lacks to one level, on top of its bid.

    A winner is paid level - its own delivery and lateness, EUR a unit, never less than its bid (Vickrey 1961, as a
    reverse auction with scores). The award is the last order in the winner's book.

    Args:
        s: State; the winners' orders hold their bids.
        x: `winner` and `terms` hold the hubs and their delivery and lateness, EUR a unit.
        winners: How many there are.
        level: The lowest losing score, or the ceiling; no winner's score is above it.
    """
    for i in range(winners):
        h = x.winner[i]
        order = s.order[h, s.hub[h].orders - 1]
        paid = max(order.bid, level - x.terms[i])
        s.events[Event.paid_above_bid_eur] += order.units * (paid - order.bid)
        order.bid = paid


@kernel
def pay_platform(w: Tables, s: State, h: int, order: np.void, paid: float) -> None:
    """The platform's share of what a customer paid for a shipment (F§8.1), and the royalty of its design (F§7.4).

    Args:
        w: Tables.
        s: State.
        h: The hub that ships.
        order: Of it, `ready` units are shipped now.
        paid: EUR that the customer pays for them, delivery included.
    """
    fee = w.scenario[0].market.platform_fee * paid
    royalty = w.row[order.row].royalty * order.price * order.ready
    transfer(s, h, s.ledger.shape[0] - 1, fee + royalty)
    s.events[Event.platform_fees_eur] += fee
    s.events[Event.royalties_eur] += royalty
