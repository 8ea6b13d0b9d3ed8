"""Stage 2, everyone acts at once: masked levels become level 0, and what holds for the whole day is set (model §3).

What a hub asks, orders and makes is read where it takes effect, in stages 3 to 6.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fabmesh.envs.network.books.state import State
from fabmesh.envs.network.books.tables import Tables
from fabmesh.envs.network.compiler.kernel import kernel
from fabmesh.envs.network.interface.actions import OVERTIME_LEVEL, level, screen
from fabmesh.envs.network.schema.disruption_kinds import DEPOT_OUTAGE


@kernel
def everyone_acts(
    w: Tables,
    s: State,
    hub_action: NDArray[np.int32],
    depot_action: NDArray[np.int32],
    hub_mask: NDArray[np.int8],
    depot_mask: NDArray[np.int8],
    masked: NDArray[np.int32],
) -> None:
    """Takes the day's actions.

    Args:
        w: Tables.
        s: State.
        hub_action: Levels [h, components]; masked ones are put to level 0.
        depot_action: Levels [d, components].
        hub_mask: 1 = the level can have an effect [h, sum of levels].
        depot_mask: The same of depots.
        masked: Components of each agent's action that were masked, int32[agents]; written.
    """
    hubs = s.hub.shape[0]
    screen(s, w.hub_levels, hub_action, hub_mask, masked, 0)
    if w.possible[DEPOT_OUTAGE] == 1:
        screen(s, w.depot_levels, depot_action, depot_mask, masked, hubs)
    for h in range(hubs):
        chosen = level(hub_action, h, w.hub_slot[OVERTIME_LEVEL], w.hub_fixed[OVERTIME_LEVEL], 0)
        s.hub[h].overtime = w.overtime_level[chosen]
