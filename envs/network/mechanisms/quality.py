"""Quality: calibration of machines, parts out of tolerance, lots of material and their inspection (model §7).

Deviations are in units of the technology's tolerance. Figures: F§3.3 (machines) and F§11 (lots).
"""

from __future__ import annotations

import math

import numpy as np

from fabmesh.envs.network.books.accounts import Event, Line
from fabmesh.envs.network.books.ledger import post
from fabmesh.envs.network.books.state import State
from fabmesh.envs.network.books.tables import Tables
from fabmesh.envs.network.compiler.kernel import kernel
from fabmesh.envs.network.compiler.rng import (
    STREAM_CALIBRATION,
    STREAM_DRIFT,
    STREAM_INSPECTION,
    STREAM_LOT,
    STREAM_START,
    combine,
    day_key,
    normal,
    uniform,
)
from fabmesh.envs.network.schema.scenario import WORKING_DAYS_PER_WEEK

QUALIFIED, UNQUALIFIED = 0, 1
MOST_SCRAP = 0.99  # of the units of a stage
_BIAS = np.uint64(14)


# --- machines --------------------------------------------------------------------------------------------------


@kernel
def draw_bias(w: Tables, s: State, h: int) -> None:
    """Bias on day 0: the machines of a hub have not been calibrated."""
    key = day_key(s.clock[0].seed, STREAM_START, 0)
    for k in range(len(w.tech)):
        lane = s.hub_tech[h, k]
        if w.tech[k].noise > 0.0 and w.hub_machines[h, k] > 0:
            name = combine(combine(w.hub_key[h], w.tech[k].key), _BIAS)
            lane.bias = w.scenario[0].quality.uncalibrated_bias * normal(key, name)
            lane.bias_var = w.scenario[0].quality.uncalibrated_bias ** 2


@kernel
def drift(w: Tables, s: State, h: int, k: int, worked: float) -> None:
    """A day's work of so many hours a machine moves the bias at random; the hub's shares and record are smoothed."""
    lane = s.hub_tech[h, k]
    lane.passed *= 1.0 - w.scenario[0].inventory.smoothing
    lane.returned *= 1.0 - w.scenario[0].inventory.smoothing
    if lane.units > 0.0:
        lane.scrap_share += w.scenario[0].inventory.smoothing * (lane.scrapped / lane.units - lane.scrap_share)
        lane.units, lane.scrapped = 0.0, 0.0
    if w.tech[k].noise > 0.0 and worked > 0.0:
        weeks = worked / (w.tech[k].hours_d * WORKING_DAYS_PER_WEEK)
        key = day_key(s.clock[0].seed, STREAM_DRIFT, s.clock[0].day)
        z = normal(key, combine(w.hub_key[h], w.tech[k].key))
        lane.bias += w.scenario[0].quality.drift_week * math.sqrt(weeks) * z
        lane.bias_var += w.scenario[0].quality.drift_week ** 2 * weeks


@kernel
def calibrate(w: Tables, s: State, h: int, k: int, share: float) -> None:
    """Calibrates a share of the hub's machines of a technology."""
    if w.tech[k].noise == 0.0:
        return
    lane = s.hub_tech[h, k]
    key = day_key(s.clock[0].seed, STREAM_CALIBRATION, s.clock[0].day)
    z = normal(key, combine(w.hub_key[h], w.tech[k].key))
    lane.bias = (1.0 - share) * lane.bias + share * w.scenario[0].quality.calibrated_bias * z
    lane.bias_var = (1.0 - share) ** 2 * lane.bias_var + (share * w.scenario[0].quality.calibrated_bias) ** 2


@kernel
def out_of_tolerance(w: Tables, s: State, h: int, k: int, unqualified: float) -> float:
    """Share of a hub's parts beyond the tolerance; `unqualified` is the share of unqualified lots in its material."""
    tech, bias = w.tech[k], s.hub_tech[h, k].bias
    if tech.noise == 0.0:
        return 0.0
    lots = (1.0 - unqualified) * tech.lot_noise[QUALIFIED] ** 2 + unqualified * tech.lot_noise[UNQUALIFIED] ** 2
    scale = math.sqrt(2.0 * (tech.noise**2 + lots))
    return 0.5 * (math.erfc((1.0 + bias) / scale) + math.erfc((1.0 - bias) / scale))


@kernel
def returns_to_expect(w: Tables, s: State, h: int, row: int) -> float:
    """Refunds to expect of a hub for a unit of a row, share of its price: the record of the machines it would pass.

    Customers send parts back through the platform, so the record is public; the one unit more below the line keeps a
    first part that comes back from damning a hub, and gives one that has made nothing yet a clean record.
    """
    share = 0.0
    for stage in range(w.row[row].stages):
        lane = s.hub_tech[h, w.row[row].tech[stage]]
        share += lane.returned / (1.0 + lane.passed)
    return w.scenario[0].quality.return_price_share * share


@kernel
def compare_hubs(w: Tables, s: State) -> None:
    """Counts the morning's Cpk of every hub and the spread between hubs (F§3.3), for the measures."""
    for k in range(len(w.tech)):
        noise = w.tech[k].noise
        if noise == 0.0:
            continue
        hubs, total, squares = 0, 0.0, 0.0
        for h in range(len(w.hub_town)):
            if w.hub_machines[h, k] == 0:
                continue
            bias = s.hub_tech[h, k].bias
            s.events[Event.cpk_hub_technology_days] += max(1.0 - abs(bias), 0.0) / (3.0 * noise)
            hubs += 1
            total += bias
            squares += bias * bias
        if hubs >= 2:
            variance = max(squares / hubs - (total / hubs) ** 2, 0.0)
            s.events[Event.hub_spread_technology_days] += math.sqrt(variance) / noise


# --- lots of material ------------------------------------------------------------------------------------------


@kernel
def is_bad_lot(w: Tables, s: State, day: int, place: np.uint64, m: int, source: int) -> bool:
    """Whether the lot that a place ordered on a day is bad."""
    u = uniform(day_key(s.clock[0].seed, STREAM_LOT, day), combine(place, w.mat[m].key))
    return u < w.scenario[0].quality.bad_lots[source]


@kernel
def sent_back(w: Tables, s: State, d: int, m: int, order: np.void) -> bool:
    """Inspects a lot that arrives at a depot; what is not sent back joins the stock as what it is."""
    bad = is_bad_lot(w, s, order.placed, w.depot_key[d], m, order.spot)
    s.events[Event.lots_received] += 1.0
    if bad:
        s.events[Event.lots_bad] += 1.0
    if order.inspection > 0:
        post(s, s.hub.shape[0] + d, Line.inspection, w.scenario[0].quality.inspection_eur[order.inspection - 1])
        key = day_key(s.clock[0].seed, STREAM_INSPECTION, order.placed)
        u = uniform(key, combine(w.depot_key[d], w.mat[m].key))
        if bad and u < w.scenario[0].quality.inspection_finds[order.inspection - 1]:
            s.events[Event.lots_rejected] += 1.0
            return True
    depot = s.depot_mat[d, m]
    if order.spot == 1:
        depot.unqualified += order.quantity
    if bad:
        depot.bad += order.quantity
    return False


@kernel
def unpack(material: np.void, ring: int) -> None:
    """What arrives at a hub joins its stock."""
    material.unqualified += material.inbound_unqualified[ring]
    material.bad += material.inbound_bad[ring]
    material.inbound_unqualified[ring], material.inbound_bad[ring] = 0.0, 0.0
