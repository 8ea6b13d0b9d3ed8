"""Stage 8, the ledger is posted: the day's cost, every agent's reward, and a fresh page for tomorrow (model §9).

Costs are posted by the stages as they arise (`books.ledger`); here the day is summed up.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fabmesh.envs.network.books.ledger import network_cost_of_day
from fabmesh.envs.network.books.state import State
from fabmesh.envs.network.books.tables import Tables
from fabmesh.envs.network.compiler.kernel import kernel
from fabmesh.envs.network.mechanisms.carbon import count_co2e


@kernel
def write_rewards(w: Tables, s: State, cost: float, reward: NDArray[np.float32]) -> None:
    """Reward of the day: -[(1 - w) x own cost + w x network cost / number of agents] / scale (model §9).

    Own cost is the cost lines of the agent's own row of the ledger less its revenue and transfers of the day. What
    stands on the platform's account (lost orders) is nobody's own cost; it counts in the network's. Published work
    finds a mix of own and system cost best (HAPPO in multi-echelon inventory, 2024, F§8.2).

    Args:
        w: Tables.
        s: State with the day's costs and income.
        cost: Network cost of the day, EUR.
        reward: Float32[agents], hubs then depots; written.
    """
    team = -cost / (w.par[0].number_of_agents * w.par[0].reward_scale)
    weight = w.scenario[0].reward.team_weight
    if weight == 1.0:
        for i in range(len(reward)):
            reward[i] = np.float32(team)
        return
    for i in range(len(reward)):
        own = -(s.day_cost[i] - s.day_income[i]) / w.par[0].reward_scale
        reward[i] = np.float32((1.0 - weight) * own + weight * team)


@kernel
def post_ledger(w: Tables, s: State, cost: NDArray[np.float64], reward: NDArray[np.float32]) -> None:
    """Sums up the day: CO2e, the network's cost, EUR, float64[1], and rewards, float32[agents]; both are written."""
    count_co2e(w, s)
    cost[0] = network_cost_of_day(s)
    write_rewards(w, s, cost[0], reward)
    for n in range(s.day_cost.shape[0]):
        s.day_cost[n] = 0.0
        s.day_income[n] = 0.0
