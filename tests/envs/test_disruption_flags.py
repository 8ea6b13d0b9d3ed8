"""What agents are told of disruptions (model §8)."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
from test_disruptions import CALM, OFTEN, POCKET, ROTTERDAM, scripted

import fabmesh
from fabmesh.envs.network.interface.features import flags
from fabmesh.envs.network.schema.disruption_kinds import KINDS
from fabmesh.envs.testing import random_actions
from fabmesh.envs.vector import HubNetworkVector


def test_flags_exist_only_where_they_can_be_raised():
    plain = HubNetworkVector(POCKET, num_envs=1).spec
    assert not any(items for role in ("hub", "depot", "state") for _, items, _, _ in flags(POCKET, role))
    for kind in KINDS[2:]:
        for seen in (True, False):
            event_ = replace(scripted((kind, 3, 4)).disruptions.scripted[0], seen=seen)
            scenario = replace(CALM, disruptions=replace(CALM.disruptions, scripted=(event_,)))
            spec = HubNetworkVector(scenario, num_envs=1).spec
            told = seen and kind != "tampering"
            assert (spec["hub"].num_features > plain["hub"].num_features) == told, kind
            assert spec["hub"].features[: len(plain["hub"].features)] == plain["hub"].features


def test_flags_say_what_is_the_case():
    """Every flag of every role against the state, on every day."""
    batch = HubNetworkVector(replace(ROTTERDAM, disruptions=OFTEN, episode_d=60), num_envs=2, autoreset=False)
    observed, info = batch.reset(seed=8)
    rng, a = np.random.default_rng(0), batch.arrays
    raised = set()
    for day in range(59):
        o = a.outside
        clear = o["port_until"] + OFTEN.port_queue * (o["port_until"] - o["port_from"])
        expected = {
            "platform_up": (o["platform_until"] <= day)[:, None],
            "depots_open": (a.depot["down_until"] <= day).mean(axis=1)[:, None],
            "supplier_stopped": a.source["stopped_until"] > day,
            "scarce": a.source["scarce_until"] > day,
            "port_open": (clear <= day)[:, None],
            "long_route": (o["long_route_until"] > day)[:, None],
        }
        own = {"files": a.hub["locked_until"] <= day, "up": a.depot["down_until"] <= day}
        for role in batch.roles:
            for name, value in expected.items():
                seen = observed[role][..., batch.spec[role].feature(name)]
                assert np.allclose(seen, np.asarray(value, float)[:, None, :]), (day, role, name)
                raised |= {(name, float(x)) for x in np.unique(seen)}
        assert (observed["hub"][..., batch.spec["hub"].feature("files")][..., 0] == own["files"]).all()
        assert (observed["depot"][..., batch.spec["depot"].feature("up")][..., 0] == own["up"]).all()
        state = np.concatenate([*(np.asarray(v, float) for v in expected.values()), *own.values()], axis=1)
        assert np.allclose(batch.state()[:, -state.shape[1] :], state)
        observed, *_, info = batch.step(random_actions(batch, info["action_mask"], rng))
    assert {name for name, value in raised if value < 1.0} >= set(expected)
    assert {name for name, value in raised if value == 1.0} >= set(expected)


def test_documented_kinds_are_those_of_the_code():
    page = (Path(fabmesh.__file__).parent / "docs" / "model.md").read_text()
    kinds = page[page.index("| kind | strikes |") :].splitlines()[2:]
    named = [line.split("|")[1].strip(" `") for line in itertools.takewhile(lambda text: text.startswith("|"), kinds)]
    assert tuple(named) == KINDS
