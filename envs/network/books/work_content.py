"""What a unit of a row takes to make: machine and labour hours, and material; all of it a + b x price."""

from __future__ import annotations

from fabmesh.envs.network.books.tables import Tables
from fabmesh.envs.network.compiler.kernel import kernel


@kernel
def machine_h(w: Tables, row: int, stage: int, price: float) -> float:
    """Machine hours a unit needs at a stage."""
    return w.row[row].machine0[stage] + w.row[row].machine1[stage] * price


@kernel
def labour_h(w: Tables, row: int, stage: int, price: float) -> float:
    """Labour hours a unit needs at a stage, tending included."""
    return w.row[row].labour0[stage] + w.row[row].labour1[stage] * price


@kernel
def bom_quantity(w: Tables, row: int, line: int, price: float) -> float:
    """Quantity of a line of the bill of materials for a unit."""
    return w.row[row].bom0[line] + w.row[row].bom1[line] * price


@kernel
def machine_h_longest(w: Tables, row: int, price: float) -> float:
    """Machine hours of a unit on its lane."""
    return w.row[row].lane0 + w.row[row].lane1 * price
