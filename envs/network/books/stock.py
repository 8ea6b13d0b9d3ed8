"""How stock is kept: in age classes and opened packs, at its book value; and how it is drawn and written off."""

from __future__ import annotations

import numpy as np

from fabmesh.envs.network.books.ledger import write_off
from fabmesh.envs.network.books.state import F_EXPIRED, Scratch, State
from fabmesh.envs.network.books.tables import AGES, Tables
from fabmesh.envs.network.compiler.kernel import kernel


@kernel
def thin(material: np.void, share: float) -> None:
    """A share of a stock leaves it and takes unqualified and bad material along in proportion."""
    keep = max(1.0 - share, 0.0)
    material.unqualified *= keep
    material.bad *= keep


@kernel
def age_class(w: Tables, m: int, expiry_day: float) -> int:
    """Age class of stock that expires on a day: classes are periods of `class_d` days, kept in a ring of AGES."""
    width = w.mat[m].class_d
    return 0 if width == 0 else int(expiry_day // width) % AGES


@kernel
def on_hand(material: np.void) -> float:
    """Sealed and opened stock of a material at a hub."""
    total = material.opened
    for a in range(AGES):
        total += material.sealed[a]
    return total


@kernel
def in_depot(material: np.void) -> float:
    """Stock of a material at a depot."""
    total = 0.0
    for a in range(AGES):
        total += material.stock[a]
    return total


@kernel
def oldest_class(w: Tables, m: int, day: int) -> int:
    """The age class that expires first."""
    return int((day + 0.5) * w.mat[m].classes_per_d) % AGES  # the half keeps rounding away from whole classes


@kernel
def note_oldest(w: Tables, x: Scratch, day: int) -> None:
    """Writes down for the stages to come which age class of each material expires first."""
    for m in range(len(w.mat)):
        x.oldest[m] = oldest_class(w, m, day)


@kernel
def draw(w: Tables, s: State, x: Scratch, h: int, m: int, quantity: float, flow: int) -> float:
    """Takes material, at most what is there, from the stock of the hub at work, opening packs oldest first.

    Returns its book value; `x.on_hand` is what is there, before and after, and `x.oldest` today's (`note_oldest`).

    The floor life of what is left in a pack starts when the pack is opened (model §5). What is left of the pack
    before it has then been used up, so the remainder always has one age.
    """
    material = s.hub_mat[h, m]
    total = x.on_hand[m]
    quantity = min(quantity, total)
    share = quantity / total if total > 0.0 else 0.0
    value = material.value * min(share, 1.0) if total > 0.0 else 0.0
    day = s.clock[0].day
    oldest = x.oldest[m]
    if material.opened < quantity:
        short = quantity - material.opened
        opened = 0.0
        for i in range(AGES):
            a = (oldest + i) % AGES
            if short <= 0.0:
                break
            if material.sealed[a] == 0.0:
                continue
            packs = np.ceil(short / w.mat[m].pack - 1e-9) * w.mat[m].pack
            if packs == 0.0 and short > 1e-6:  # a crumb of a huge pack, not what rounding has left over
                packs = w.mat[m].pack
            taken = min(packs, material.sealed[a])
            material.sealed[a] -= taken
            opened += taken
            short -= taken
        material.opened += opened
        material.opened_until = day + w.mat[m].floor_d
    material.opened -= quantity
    if material.opened < 1e-9:
        material.opened = 0.0
    material.value -= value
    material.used += quantity
    s.flow[h, m, flow, 0] += quantity
    s.flow[h, m, flow, 1] += value
    if w.scenario[0].quality.enabled == 1 and total > 0.0:
        thin(material, share)
    x.on_hand[m] = on_hand(material)
    return value


@kernel
def expire(w: Tables, s: State, node: int, material: np.void, m: int, quantity: float, kept: float) -> None:
    """Writes off part of a node's stock that has already left its age class; `kept` is what stays."""
    total = kept + quantity
    value = material.value * quantity / total
    material.value -= value
    thin(material, quantity / total)
    s.flow[node, m, F_EXPIRED, 0] += quantity
    s.flow[node, m, F_EXPIRED, 1] += value
    write_off(w, s, node, value)
