"""Plays extremes of a scenario with every check compiled in: `FABMESH_CHECKED=1 python -m fabmesh.envs.extremes`.

One hub, tables of one row, an episode of one day, arrivals beyond what buffers hold, demand and disruptions x 100: each
is played with random and with the outermost legal actions, and with actions that ask for what the masks forbid. An
index outside its array, or a number that does not fit where it is stored, is a fault (`envs.network.compiler.checks`).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fabmesh.envs.errors import FabmeshError, ScenarioError
from fabmesh.envs.network.compiler.checks import CHECKED, FaultError
from fabmesh.envs.network.loading import load_scenario
from fabmesh.envs.network.schema.scenario import Capacity, Scenario
from fabmesh.envs.network.schema.sizes import INBOUND_DAYS
from fabmesh.envs.testing import Actions, random_actions
from fabmesh.envs.vector import HubNetworkVector

_TIMES = 100.0
_LONG_D = 250.0  # the longest mean lead time that a scenario may have
_DAYS_AFTER = 2  # of the next episode, which begins in the same step

Masks = Mapping[str, NDArray[np.int8]]
Act = Callable[[HubNetworkVector, Masks, np.random.Generator], Actions]


def extremes(base: Scenario) -> Iterator[tuple[str, Scenario]]:
    """Scenarios at the edge of what can be asked for, by name.

    Args:
        base: The network to change; its own features come first, then all that the model has.
    """
    living = {
        name: replace(getattr(base, name), enabled=True) for name in ("people", "upkeep", "quality", "experience")
    }
    yield "as it is", base
    yield "everything on", replace(base, **living)
    yield "one hub", _one_hub(base)
    yield "one depot", replace(base, depots=base.depots[:1])
    yield "tables of one row", replace(base, capacity=_one_row())
    yield "an episode of one day", replace(base, episode_d=1)
    yield "arrivals beyond the buffers", _late(base)
    yield "demand x 100", _busy(base)
    yield "disruptions x 100", _disturbed(base)
    yield "all of it at once", _late(_busy(_disturbed(replace(_one_hub(base), capacity=_one_row(), **living))))


def _one_hub(base: Scenario) -> Scenario:
    """The first hub alone, with a machine of every technology."""
    return replace(base, hubs=(replace(base.hubs[0], machines={t.name: 1 for t in base.technologies}),))


def _one_row() -> Capacity:
    return Capacity(**{field.name: 1 for field in fields(Capacity)})


def _late(base: Scenario) -> Scenario:
    late = tuple(replace(m, lead_mean_d=_LONG_D, lead_sd_d=_LONG_D, overseas=True) for m in base.materials)
    routes = {"long_route_year": 2.0, "long_route_lead_d": 500, "port_closure_year": 5.0, "material_shortage_year": 5.0}
    return replace(
        base,
        materials=late,
        supply=replace(base.supply, retail_lead_d=INBOUND_DAYS - 1),
        disruptions=replace(base.disruptions, **routes, material_shortage_lead=_TIMES),  # type: ignore[arg-type]
    )


def _busy(base: Scenario) -> Scenario:
    levels = ("catalogue_level", "custom_level", "tender_level")
    more = {name: getattr(base.demand, name) * _TIMES for name in levels}
    return replace(base, demand=replace(base.demand, **more))


def _disturbed(base: Scenario) -> Scenario:
    """Every kind of disruption, and each a hundred times as often as once in two years or as it was."""
    names = [field.name for field in fields(base.disruptions) if field.name.endswith("_year")]
    rates = {name: max(getattr(base.disruptions, name), 0.5) for name in names}
    disruptions = replace(base.disruptions, scale=_TIMES, tampering_per_10k_orders=_TIMES, **rates)
    return replace(base, disruptions=disruptions)


def _outermost(batch: HubNetworkVector, masks: Masks, last: bool) -> Actions:
    """The first or the last legal level of every component."""
    actions = {}
    for role in batch.roles:
        nvec = batch.spec[role].nvec
        parts = np.split(masks[role] != 0, np.cumsum(nvec)[:-1], axis=-1)
        ways = [part[..., ::-1] if last else part for part in parts]
        found = [way.argmax(axis=-1) for way in ways]
        levels = [n - 1 - first if last else first for n, first in zip(nvec, found, strict=True)]
        actions[role] = np.stack(levels, axis=-1).astype(np.int64)
    return actions


def _any_level(batch: HubNetworkVector, masks: Masks, rng: np.random.Generator) -> Actions:
    """Levels whether legal or not."""
    shapes = {role: (*masks[role].shape[:-1], len(batch.spec[role].nvec)) for role in batch.roles}
    return {role: rng.integers(0, batch.spec[role].nvec, shapes[role]) for role in batch.roles}


ACTS: dict[str, Act] = {
    "random": random_actions,
    "lowest": lambda batch, masks, _: _outermost(batch, masks, last=False),
    "highest": lambda batch, masks, _: _outermost(batch, masks, last=True),
    "forbidden": _any_level,
}


def play(scenario: Scenario, act: Act, copies: int, seed: int) -> int:
    """Plays an episode and the first days of the next, and counts the agent-steps.

    Args:
        scenario: What is played.
        act: Gives the actions of a day.
        copies: Worlds side by side.
        seed: Of the first world and of the actions.

    Raises:
        FaultError: If a check fails.
    """
    batch = HubNetworkVector(scenario, num_envs=copies, audit=True)
    rng = np.random.default_rng(seed)
    _, info = batch.reset(seed=seed)
    days = scenario.episode_d + _DAYS_AFTER
    for _ in range(days):
        *_, info = batch.step(act(batch, info["action_mask"], rng))
    batch.close()
    return days * copies * batch.num_agents


def run(names: list[str], days: int, copies: int, seed: int) -> int:
    """Plays the extremes of some scenarios, prints what came of each, and returns how many faults there were."""
    played = steps = faults = refused = 0
    for base in names:
        loaded = load_scenario(base)
        short: dict[str, Any] = {"episode_d": min(days, loaded.episode_d)}
        for name, scenario in extremes(replace(loaded, **short)):
            here, found = 0, []
            try:
                for how, act in ACTS.items():
                    try:
                        here += play(scenario, act, copies, seed)
                    except FaultError as fault:
                        found.append(f"fault with {how} actions: {fault}")
            except ScenarioError as error:
                refused += 1
                print(f"{base}, {name}: refused: {error}", flush=True)
                continue
            played, steps, faults = played + 1, steps + here, faults + len(found)
            print(f"{base}, {name}: {here:,} agent-steps, faults {len(found)}", *found, sep="\n  ", flush=True)
    print(f"scenarios {played}, refused {refused}, agent-steps {steps:,}, faults {faults}")
    return faults


def main(arguments: list[str] | None = None) -> int:
    """The command line: 0 if there were no faults."""
    parser = argparse.ArgumentParser(prog="FABMESH_CHECKED=1 python -m fabmesh.envs.extremes", description=__doc__)
    parser.add_argument("scenario", nargs="*", default=["pocket"], help="names or paths (default: pocket)")
    parser.add_argument("--days", type=int, default=60, help="longest episode (default 60)")
    parser.add_argument("--copies", type=int, default=4, help="worlds side by side (default 4)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the worlds and of the actions (default 0)")
    options = parser.parse_args(arguments)
    try:
        if not CHECKED:
            raise FabmeshError("no checks are compiled in: set FABMESH_CHECKED=1 before the command")
        for name, least, most in (("days", 1, 5000), ("copies", 1, 10_000), ("seed", 0, 2**63)):
            if not least <= getattr(options, name) <= most:
                raise FabmeshError(f"--{name} {getattr(options, name)}: must be from {least} to {most}")
        return int(run(options.scenario, options.days, options.copies, options.seed) > 0)
    except FabmeshError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
