"""CO2e of what the network does: legs by mode, energy of machines, and material (model §9). A measure, not a cost.

Nothing here assumes that making things nearby emits less: literature disagrees (F§1.4), so it comes out of the run.
"""

from __future__ import annotations

from fabmesh.envs.network.books.accounts import MACHINE_H, Event
from fabmesh.envs.network.books.state import F_EXPIRED, F_SCRAPPED, F_USED, State
from fabmesh.envs.network.books.tables import Tables
from fabmesh.envs.network.compiler.kernel import kernel


@kernel
def truck_co2e(w: Tables, km: float, kg: float, litres: float) -> float:
    """Kg CO2e of a groupage consignment: factor x km x chargeable tonnes, for what is bulky takes others' room."""
    return w.scenario[0].carbon.truck_kg_tkm * km * max(kg, w.scenario[0].freight.kg_per_litre * litres) / 1000.0


@kernel
def parcel_co2e(w: Tables, weight: float) -> float:
    """Kg CO2e of a parcel of so many chargeable kg; what is heavier than one counts as several."""
    return w.scenario[0].carbon.parcel_kg * max(weight / w.scenario[0].carbon.parcel_up_to_kg, 1.0)


@kernel
def by_van(w: Tables, h: int, town: int, parcel_eur: float) -> bool:
    """Whether a customer stop is made with the hub's own van, because that is not dearer than a parcel."""
    return w.van_stop[h, town] <= parcel_eur


@kernel
def stop_co2e(w: Tables, h: int, town: int, parcel_eur: float, weight: float) -> float:
    """Kg CO2e of a customer stop by the cheaper of van and parcel."""
    return w.van_stop_co2e[h, town] if by_van(w, h, town, parcel_eur) else parcel_co2e(w, weight)


@kernel
def emit_stops(w: Tables, s: State, h: int, town: int, parcel_eur: float, weight: float, stops: float) -> None:
    """Counts the CO2e of customer stops; parts of a stop count as parts, as they are charged."""
    event = Event.co2e_kg_van if by_van(w, h, town, parcel_eur) else Event.co2e_kg_parcel
    s.events[event] += stops * stop_co2e(w, h, town, parcel_eur, weight)


@kernel
def count_co2e(w: Tables, s: State) -> None:
    """CO2e of energy and material so far, from the hours worked and the flows of material that are counted anyway."""
    energy = 0.0
    for k in range(len(w.tech)):
        energy += s.events[MACHINE_H + k] * w.tech[k].co2e_h
    used, scrapped, expired = 0.0, 0.0, 0.0
    for n in range(s.flow.shape[0]):
        for m in range(len(w.mat)):
            used += s.flow[n, m, F_USED, 0] * w.mat[m].co2e
            scrapped += s.flow[n, m, F_SCRAPPED, 0] * w.mat[m].co2e
            expired += s.flow[n, m, F_EXPIRED, 0] * w.mat[m].co2e
    s.events[Event.co2e_kg_energy] = energy
    s.events[Event.co2e_kg_material] = used
    s.events[Event.co2e_kg_scrap] = scrapped
    s.events[Event.co2e_kg_write_off] = expired
