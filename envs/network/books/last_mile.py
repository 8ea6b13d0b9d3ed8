"""The last mile: a customer stop by own van or as a parcel, and how long it takes (F§1.1, F§1.2)."""

from __future__ import annotations

import numpy as np

from fabmesh.envs.network.books.tables import TENDER, Tables
from fabmesh.envs.network.compiler.kernel import kernel


@kernel
def units_per_stop(w: Tables, row: int, units: int) -> float:
    """Units of one customer stop; a tender is one delivery."""
    if w.row[row].kind == TENDER:
        return np.float64(units)
    return min(w.row[row].per_stop, np.float64(units))


@kernel
def parcel_cost(w: Tables, weight: float) -> float:
    """EUR a customer stop by parcel of so many chargeable kg (F§1.1)."""
    return w.scenario[0].last_mile.parcel_eur + w.scenario[0].last_mile.parcel_eur_kg * weight


@kernel
def parcel_weight(w: Tables, row: int, price: float, units_a_stop: float) -> float:
    """Chargeable kg of the goods of a customer stop as a parcel (F§1.2)."""
    r = w.row[row]
    kg = (r.kg0 + r.kg1 * price) * units_a_stop
    litres = (r.litres0 + r.litres1 * price) * units_a_stop
    return max(kg, litres / w.scenario[0].last_mile.parcel_litres_per_kg)


@kernel
def delivery_cost(van: float, parcel: float) -> float:
    """EUR a customer stop: the cheaper of own van and parcel."""
    return min(van, parcel)


@kernel
def delivery_days(w: Tables, h: int, town: int) -> int:
    """Days from shipping to the customer; beyond the van's day a parcel takes two."""
    return 2 if w.town_km[h, town] > w.scenario[0].last_mile.two_days_beyond_km else 1
