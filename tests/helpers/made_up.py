"""States made by hand, a few orders, lots and stocks, and what stages of the day need to be called by hand."""

from dataclasses import replace

import numpy as np

from fabmesh.envs.network.loading import load_scenario
from fabmesh.envs.vector import HubNetworkVector

POCKET = load_scenario("pocket")
CALM = replace(POCKET, disruptions=replace(POCKET.disruptions, scale=0.0))
LINES = HubNetworkVector.ledger_lines


def fresh(scenario=CALM, seed=3):
    """A batch of one network on its first day, with no orders, lots or tenders."""
    batch = HubNetworkVector(scenario, num_envs=1)
    batch.reset(seed=seed)
    batch.arrays.clock["lots"] = 0
    batch.arrays.clock["tenders"] = 0
    return batch


def actions_of(batch, role="hub"):
    return np.zeros(batch.action_space[role].shape, np.int32)


def put_order(batch, hub, row, town, units, due, price, todo=None, ready=0):
    a = batch.arrays
    order = a.order[0, hub, a.hub["orders"][0, hub]]
    a.hub["orders"][0, hub] += 1
    waiting = [units - ready, 0, 0] if todo is None else todo
    values = {
        "row": row, "town": town, "announced": 0, "due": due, "units": units, "todo": waiting, "ready": ready,
        "open": units, "inherited": 0, "price": price, "bid": 0.0, "wip_value": 0.0, "key": 1,
    }  # fmt: skip
    for name, value in values.items():
        order[name] = value


def put_lot(table, index, row, town, units, due, price, key):
    values = {
        "row": row, "town": town, "announced": 0, "due": due, "last_day": 20, "again": 0, "units": units,
        "price": price, "key": key,
    }  # fmt: skip
    for name, value in values.items():
        table[0, index][name] = value


def line(batch, hub, name):
    return float(batch.ledger[0, hub, LINES.index(name)])


def first_network(batch):
    """The constants, the state of the first copy and the working memory of the first thread, for a stage."""
    tables, states, scratch, _ = batch._handles
    return tables, states[0], scratch[0]


def begun(scenario, seed=3):
    """A batch of one network on its first day, its constants, state and working memory."""
    batch = HubNetworkVector(scenario, num_envs=1)
    batch.reset(seed=seed)
    return batch, *first_network(batch)
