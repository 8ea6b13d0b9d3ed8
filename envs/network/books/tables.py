"""The scenario as one immutable typed structure of arrays: what the kernels read. `scenario_tables` makes it.

Every compiled stage takes these tables as an argument, so two scenarios live in one process and share one
compiled kernel. Index letters: c town, h hub, d depot, k technology, m material, p catalogue product, r row.
A *row* is anything a customer can order: the catalogue products first, then the variants of the custom streams,
then the variants of the tenders. Hours and material of a row are `x0 + x1 * price of a unit`, because
made-to-order work scales with its price (F§11).
"""

from __future__ import annotations

import dataclasses
import typing
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fabmesh.envs.network.schema.parameters import field_types, parameters
from fabmesh.envs.network.schema.scenario import Scenario
from fabmesh.envs.network.schema.sizes import MAX_BOM, MAX_STAGES

AGES = 6  # age classes of a material
HORIZON = 16  # days ahead that available-to-promise looks
CATALOGUE, CUSTOM, TENDER = 0, 1, 2

_f8, _i4, _u8 = np.float64, np.int32, np.uint64
_KINDS = {float: _f8, int: _i4, bool: _i4}


def _numbers_of(cls: type) -> list[tuple[Any, ...]]:
    """The record of a class of the schema: its numbers, flags, places of words in their choices, and its sections.

    Names, lists of any length and what may be missing are left out.
    """
    fields: list[tuple[Any, ...]] = []
    for name, hint in field_types(cls).items():
        parts = typing.get_args(hint)
        if hint in _KINDS:
            fields.append((name, _KINDS[hint]))
        elif parameters(cls)[name].choices:
            fields.append((name, _i4))
        elif typing.get_origin(hint) is tuple and _KINDS.keys() >= set(parts):
            fields.append((name, _KINDS[parts[0]], (len(parts),)))
        elif dataclasses.is_dataclass(hint) and (section := _numbers_of(typing.cast(type, hint))):
            fields.append((name, np.dtype(section, align=True)))
    return fields


SCENARIO = np.dtype(_numbers_of(Scenario), align=True)  # `w.scenario[0].labour.wage_eur_h`, as in the schema
PARAMETERS = np.dtype(  # what is worked out from them once
    [
        ("log_dispersion", _f8),
        ("revision_rate_d", _f8),  # per product and day
        ("holding_material_d", _f8),  # share of value a day
        ("holding_finished_d", _f8),
        ("outage_rate_d", _f8),  # per hub and day
        ("outage_mu", _f8),  # lognormal
        ("reward_scale", _f8),  # EUR
        ("number_of_agents", _i4),
        ("products", _i4),  # catalogue products P
        ("lot_rows", _i4),  # rows that arrive as lots: catalogue and custom
        ("population", _f8),  # of all towns
        ("season_start_key", _u8),
        ("audit", _i4),  # 1: the customer market books how good its awards were
        ("platform_takes", _i4),  # 1: there is a platform fee or a royalty
        ("shaped", _i4),  # 1: a surge, a life cycle or a ramp can change the mean of a stream
        ("surge_rate_d", _f8),  # per product and day
        ("recorded_season", _i4),  # working day of the year of day 0 of recorded orders, -1 = drawn
        ("absence_begins", _f8),  # probability a day, of a technician who is there
        ("absence_ends", _f8),  # of one who is away
        ("turnover_d", _f8),  # of one who has a post
        ("service", _i4),  # 1 = machines can be serviced: upkeep or quality is on
        ("scrap_exponent", _f8),  # of Wright's law
    ],
    align=True,
)
TECHNOLOGY = np.dtype(
    [
        ("rate", _f8),
        ("energy", _f8),
        ("setup_h", _f8),
        ("scrap", _f8),
        ("overtime", _i4),  # EUR/h, EUR/h, h, share, flag
        ("hours_d", _f8),  # working hours a day of one machine
        ("mtbf_h", _f8),  # 0 = never fails
        ("mttr_h", _f8),
        ("hazard", _f8),  # cumulative hazard at one working hour since service; 0 = never fails
        ("noise", _f8),  # sd of a machine's parts / tolerance; 0 = not a matter of dimensions
        ("lot_noise", _f8, (2,)),  # sd of qualified and unqualified lots / tolerance
        ("labour_exponent", _f8),  # of Wright's law
        ("key", _u8),
        ("co2e_h", _f8),  # kg/h
    ],
    align=True,
)
MATERIAL = np.dtype(
    [
        ("bulk", _f8),
        ("retail", _f8),
        ("pallet", _f8),
        ("pack", _f8),
        ("kg", _f8),
        ("litres", _f8),
        ("lead_mean_d", _f8),
        ("lead_mu", _f8),  # of the lognormal
        ("lead_sigma", _f8),
        ("opening_price", _f8),  # EUR per unit, of stock held at the start
        ("life_d", _f8),  # sealed life, 0 = does not age
        ("class_d", _i4),  # width of an age class, 0 = does not age
        ("classes_per_d", _f8),  # 1 / width, 0 = does not age
        ("floor_d", _i4),  # floor life, 0 = none
        ("design", _i4),  # catalogue product it belongs to, -1 = none
        ("key", _u8),
        ("co2e", _f8),  # kg a unit
    ],
    align=True,
)
ROW = np.dtype(
    [
        ("kind", _i4),
        ("stages", _i4),
        ("tech", _i4, (MAX_STAGES,)),
        ("lane", _i4),  # technology of the longest stage
        ("lane0", _f8),  # machine h a unit on its lane
        ("lane1", _f8),  # h a unit and EUR of price
        ("makers", _i4),  # rows that the same hubs can make have the same: index into `asked_from`
        ("machine0", _f8, (MAX_STAGES,)),  # h a unit
        ("machine1", _f8, (MAX_STAGES,)),  # h a unit and EUR of price
        ("labour0", _f8, (MAX_STAGES,)),  # manual and tending
        ("labour1", _f8, (MAX_STAGES,)),
        ("bom", _i4),
        ("bom_material", _i4, (MAX_BOM,)),
        ("bom_stage", _i4, (MAX_BOM,)),
        ("bom0", _f8, (MAX_BOM,)),
        ("bom1", _f8, (MAX_BOM,)),
        ("kg0", _f8),
        ("kg1", _f8),
        ("litres0", _f8),
        ("litres1", _f8),
        ("price", _f8),  # list price (catalogue), mean price (custom), 0 (tenders)
        ("price_spread", _f8),  # custom: variance / mean ** 2 of one order's lognormal price
        ("per_stop", _f8),  # units per customer stop
        ("due_d", _i4),
        ("patience_d", _i4),
        ("ceiling", _f8),  # x price, on the landed score
        ("season", _f8),  # amplitude
        ("season_peak", _f8),
        ("standard0", _f8),  # standard cost of a unit without delivery, EUR
        ("standard1", _f8),  # EUR per EUR of price
        ("setup_eur", _f8),  # of setting up once on each technology it touches
        ("key", _u8),
        ("royalty", _f8),  # share of the list price, catalogue
        ("life_d", _f8),  # median life of a generation, 0 = demand does not age
        ("co2e0", _f8),  # of energy and material of a unit, kg
        ("co2e1", _f8),  # kg per EUR of price
    ],
    align=True,
)
TENDER_STREAM = np.dtype(
    [
        ("rate_per_head_d", _f8),
        ("units_low", _i4),
        ("units_high", _i4),
        ("price_low", _f8),
        ("price_high", _f8),
        ("due_low", _i4),
        ("due_high", _i4),
        ("first_row", _i4),
        ("rows", _i4),
        ("key", _u8),
    ],
    align=True,
)
ASKED = np.dtype(
    [
        ("hub", _i4),
        ("own_town", _i4),  # 1: the hub is in the town
        ("van_stop", _f8),  # EUR a stop with its own van
    ],
    align=True,
)


class Layout(NamedTuple):
    """The part of `Tables` that is about actions, observations and the state: where each block of them begins.

    The records `..._at` have a member for each block of features, named after it: the index of its first, -1 = the
    scenario has none.
    """

    hub_slot: NDArray[np.int32]  # [components of a hub] first column of the action, -1 = switched off
    hub_fixed: NDArray[np.int32]  # level taken when switched off
    hub_levels: NDArray[np.int32]  # [columns] levels of every column of a hub's action
    depot_slot: NDArray[np.int32]
    depot_fixed: NDArray[np.int32]
    depot_levels: NDArray[np.int32]  # [columns] levels of every column of a depot's action
    hub_at: NDArray[np.void]  # [1] in the observation of a hub
    depot_at: NDArray[np.void]  # [1] in that of a depot
    state_at: NDArray[np.void]  # [1] in the state, of the network
    hub_state_at: NDArray[np.void]  # [h] in the state, of each hub
    depot_state_at: NDArray[np.void]  # [d] in the state, of each depot


class Tables(NamedTuple):
    """All constants of a scenario. Shapes in the index letters of the module's docstring."""

    scenario: NDArray[np.void]  # [1] SCENARIO: its numbers under the names of the schema
    par: NDArray[np.void]  # [1] PARAMETERS
    tech: NDArray[np.void]  # [k]
    mat: NDArray[np.void]  # [m]
    row: NDArray[np.void]  # [r]
    stream: NDArray[np.void]  # [tender streams]
    row_share: NDArray[np.float64]  # [r] cumulative share of a variant inside its stream
    hub_town: NDArray[np.int32]  # [h]
    hub_people: NDArray[np.float64]  # [h] technicians
    hub_hours: NDArray[np.float64]  # [h, k] machine hours a day
    hub_machines: NDArray[np.int32]  # [h, k]
    first_machine: NDArray[np.int32]  # [h, k] the number of its first one, among those of all hubs and technologies
    hub_can: NDArray[np.int8]  # [h, r] has every technology of the row
    hub_uses: NDArray[np.int8]  # [h, m] could use the material
    hub_use: NDArray[np.float64]  # [h, m] expected use of the catchment, units a day
    hub_rate: NDArray[np.float64]  # [h, r] expected units a day of the catchment
    depot_use: NDArray[np.float64]  # [d, m] expected requests, units a day
    population: NDArray[np.float64]  # [c]
    demand: NDArray[np.float64]  # [c, lot rows] mean units (custom: orders) a day
    town_km: NDArray[np.float64]  # [h, c] road km
    depot_km: NDArray[np.float64]  # [d, h] road km
    van_stop: NDArray[np.float64]  # [h, c] EUR a stop with the own van
    asked: NDArray[np.void]  # [n] ASKED: hubs that are asked for a bid, by row's makers and by town, nearest first
    asked_from: NDArray[np.int32]  # [makers, c + 1] where those for a town begin in `asked`; they end with the next
    from_day: NDArray[np.float64]  # [HORIZON, HORIZON] 1 where the second day is not before the first
    breaks: NDArray[np.float64]  # [n] pallets
    factors: NDArray[np.float64]  # [n + 1]
    bid_level: NDArray[np.float64]  # [levels] mark-up; level 0 = withdraw
    cover_level: NDArray[np.float64]  # [levels] days; level 0 = none
    trigger_level: NDArray[np.float64]
    stock_level: NDArray[np.float64]  # make-to-stock days
    overtime_level: NDArray[np.float64]
    depot_trigger_level: NDArray[np.float64]  # level 0 = none
    depot_lot_level: NDArray[np.float64]  # the level after the last = next price break
    quote_level: NDArray[np.float64]  # level 0 = decline
    hub_slot: NDArray[np.int32]  # from here to `depot_state_at`: see `Layout`
    hub_fixed: NDArray[np.int32]
    hub_levels: NDArray[np.int32]
    depot_slot: NDArray[np.int32]
    depot_fixed: NDArray[np.int32]
    depot_levels: NDArray[np.int32]
    hub_at: NDArray[np.void]
    depot_at: NDArray[np.void]
    state_at: NDArray[np.void]
    hub_state_at: NDArray[np.void]
    depot_state_at: NDArray[np.void]
    lot_key: NDArray[np.uint64]  # [c, r]
    town_key: NDArray[np.uint64]  # [c]
    hub_key: NDArray[np.uint64]  # [h]
    depot_key: NDArray[np.uint64]  # [d]
    recorded: NDArray[np.void]  # [lines] RECORDED orders by day; none: the synthetic streams are drawn
    recorded_day: NDArray[np.int32]  # [days + 1] first line of each day
    van_stop_co2e: NDArray[np.float64]  # [h, c] kg CO2e a stop with the own van
    hazard: NDArray[np.void]  # [n] what can go wrong of itself, see `hazards.HAZARD`
    script: NDArray[np.void]  # [n] what goes wrong on a given day, see `hazards.SCRIPT`
    region_hub: NDArray[np.int8]  # [regions, h] a shock in the region closes the hub
    overseas: NDArray[np.int8]  # [m] comes through the port
    possible: NDArray[np.int8]  # [kinds of disruption] can happen
