"""The day: its stages in order (model §3). A step runs stages 2-8 of day t, then stage 1 of day t + 1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fabmesh.envs.network.books.state import Scratch, State
from fabmesh.envs.network.books.tables import Tables
from fabmesh.envs.network.compiler.kernel import entry, kernel
from fabmesh.envs.network.compiler.rng import next_seed
from fabmesh.envs.network.day.episode import clear, draw_start, settle
from fabmesh.envs.network.day.stage1_news import news
from fabmesh.envs.network.day.stage2_everyone_acts import everyone_acts
from fabmesh.envs.network.day.stage2_observations import observe
from fabmesh.envs.network.day.stage2_tenders_seen import fill_slots
from fabmesh.envs.network.day.stage3_customers_buy import customer_market
from fabmesh.envs.network.day.stage3_offers import estimate_costs
from fabmesh.envs.network.day.stage4_hubs_buy import book_needs, material_market
from fabmesh.envs.network.day.stage5_depots_buy import depots_buy
from fabmesh.envs.network.day.stage6_hubs_work import hubs_work
from fabmesh.envs.network.day.stage7_goods_move import goods_move
from fabmesh.envs.network.day.stage8_ledger_posted import post_ledger
from fabmesh.envs.network.interface.actions import write_depot_mask, write_hub_mask
from fabmesh.envs.network.schema.disruption_kinds import DEPOT_OUTAGE


class Buffers(NamedTuple):
    """What goes in and comes out of a step, preallocated. [b] copies, [h] hubs, [d] depots.

    As in `State`, a stage gets the slices of one copy, without the axis [b].
    """

    hub_action: NDArray[np.int32]  # [b, h, components]
    depot_action: NDArray[np.int32]  # [b, d, components]
    hub_obs: NDArray[np.float32]  # [b, h, features]
    depot_obs: NDArray[np.float32]  # [b, d, features]
    state: NDArray[np.float32]  # [b, state features]
    hub_mask: NDArray[np.int8]  # [b, h, sum of levels]
    depot_mask: NDArray[np.int8]  # [b, d, sum of levels]
    reward: NDArray[np.float32]  # [b, h + d]
    masked: NDArray[np.int32]  # [b, h + d] components of the action that were masked
    cost: NDArray[np.float64]  # [b] network cost of the day
    truncated: NDArray[np.bool_]  # [b]
    final_hub_obs: NDArray[np.float32]  # of worlds that ended; none without automatic resets, nor the next three
    final_depot_obs: NDArray[np.float32]
    final_state: NDArray[np.float32]
    final_hub_mask: NDArray[np.int8]  # none unless observations hold masks
    final_depot_mask: NDArray[np.int8]
    final_ledger: NDArray[np.float64]  # [b, n, lines]
    final_events: NDArray[np.float64]  # [b, events]
    final_standard: NDArray[np.float64]  # [b]
    settlement: NDArray[np.float64]  # [b]


@kernel
def morning(w: Tables, s: State, x: Scratch, counted: bool) -> None:
    """Stage 1 and what the agents read of it."""
    news(w, s, counted)
    fill_slots(w, s, x)
    book_needs(w, s)
    estimate_costs(w, s)


@kernel
def write_masks(w: Tables, s: State, hub_mask: NDArray[np.int8], depot_mask: NDArray[np.int8]) -> None:
    """Which levels can have an effect today. The mask of depots that cannot close is never written: all ones."""
    write_hub_mask(w, s, hub_mask)
    if w.possible[DEPOT_OUTAGE] == 1:
        write_depot_mask(w, s, depot_mask)


@kernel
def reset_copy(w: Tables, s: State, x: Scratch, io: Buffers, seed: np.uint64) -> None:
    """Starts the world of a seed."""
    clear(s)
    s.clock[0].seed = seed
    draw_start(w, s)
    morning(w, s, x, True)
    observe(w, s, x, io.hub_obs, io.depot_obs, io.state)
    write_masks(w, s, io.hub_mask, io.depot_mask)


@kernel
def step_copy(w: Tables, s: State, x: Scratch, io: Buffers, autoreset: bool) -> None:
    """One day of one network."""
    clock = s.clock[0]
    everyone_acts(w, s, io.hub_action, io.depot_action, io.hub_mask, io.depot_mask, io.masked)
    customer_market(w, s, x, io.hub_action)
    material_market(w, s, x, io.hub_action, io.depot_action)
    depots_buy(w, s, io.depot_action)
    hubs_work(w, s, x, io.hub_action)
    goods_move(w, s)
    post_ledger(w, s, io.cost, io.reward)
    clock.day += 1
    ends = clock.day >= w.scenario[0].episode_d
    io.truncated[0] = ends
    if not ends:
        morning(w, s, x, True)
        observe(w, s, x, io.hub_obs, io.depot_obs, io.state)
        write_masks(w, s, io.hub_mask, io.depot_mask)
        return
    book_needs(w, s)
    settle(w, s, x)
    io.settlement[0] = clock.settlement
    for n in range(s.ledger.shape[0]):
        for line in range(s.ledger.shape[1]):
            io.final_ledger[n, line] = s.ledger[n, line]
    for i in range(s.events.shape[0]):
        io.final_events[i] = s.events[i]
    io.final_standard[0] = clock.standard_cost
    morning(w, s, x, False)
    if autoreset:
        observe(w, s, x, io.final_hub_obs, io.final_depot_obs, io.final_state)
        if len(io.final_hub_mask) > 0:
            write_masks(w, s, io.final_hub_mask, io.final_depot_mask)
        reset_copy(w, s, x, io, next_seed(clock.seed))
    else:
        observe(w, s, x, io.hub_obs, io.depot_obs, io.state)
        write_masks(w, s, io.hub_mask, io.depot_mask)


@entry
def run_copies(
    w: Tables,
    copies: Sequence[State],
    scratch: Sequence[Scratch],
    buffers: Sequence[Buffers],
    first: int,
    last: int,
    thread: int,
    seeds: NDArray[np.uint64],
    autoreset: bool,
) -> None:
    """A thread's share of a batch, the copies from first to last - 1.

    Starts their worlds where seeds are given, one for every copy of the batch; steps them by a day where none are. One
    function for both: the compiler sees the morning of a day once.
    """
    for b in range(first, last):
        if len(seeds) > 0:
            reset_copy(w, copies[b], scratch[thread], buffers[b], seeds[b])
        else:
            step_copy(w, copies[b], scratch[thread], buffers[b], autoreset)
