"""The ledger: who pays what, by line (model §9). Every cost in the model is posted through here."""

from __future__ import annotations

from fabmesh.envs.network.books.accounts import COST_LINES, MACHINE_H, TENDER_EVENTS, Event, Line
from fabmesh.envs.network.books.state import State
from fabmesh.envs.network.books.tables import Tables
from fabmesh.envs.network.compiler.kernel import kernel


@kernel
def post(s: State, node: int, line: int, eur: float) -> None:
    """Posts an amount to a line of a node's ledger; costs also count in the cost of the day."""
    s.ledger[node, line] += eur
    if line < COST_LINES:
        s.day_cost[node] += eur


@kernel
def transfer(s: State, payer: int, payee: int, eur: float) -> None:
    """Money from one agent to another, or to the platform: sums to zero over the network (model §10)."""
    s.ledger[payer, Line.transfers] -= eur
    s.ledger[payee, Line.transfers] += eur
    s.day_income[payer] -= eur
    s.day_income[payee] += eur


@kernel
def earn(s: State, node: int, eur: float) -> None:
    """Revenue from customers."""
    s.ledger[node, Line.revenue] += eur
    s.day_income[node] += eur


@kernel
def write_off(w: Tables, s: State, node: int, book_value: float) -> None:
    """Deadstock: book value less salvage."""
    salvage = w.scenario[0].inventory.salvage * book_value
    s.events[Event.deadstock_gross_eur] += book_value
    s.events[Event.salvage_eur] += salvage
    post(s, node, Line.deadstock, book_value - salvage)


@kernel
def network_cost_of_day(s: State) -> float:
    """Cost of the day of all agents and the platform, in the fixed order of the nodes."""
    total = 0.0
    for n in range(s.day_cost.shape[0]):
        total += s.day_cost[n]
    return total


@kernel
def tender_event(w: Tables, stream: int, event: int) -> int:
    """Index of a count of a tender stream."""
    return MACHINE_H + len(w.tech) + TENDER_EVENTS * stream + event
