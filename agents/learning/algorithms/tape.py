"""The tape of a world, read ahead: what will happen whatever anyone does. For the central critic, in training only.

Draws depend on the seed, the day and names, never on actions (model §2), so a baseline that knows them leaves the
policy gradient unbiased and takes their luck out of it (input-driven baselines, Mao et al. 2019). The tape is read off
a twin of each world in which nobody does anything, run to the end of the episode and some days beyond.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import cast

import numpy as np
from numpy.typing import NDArray

from fabmesh.agents.learning.batch import Batch
from fabmesh.agents.learning.config import ConfigError
from fabmesh.envs.network.compiler.rng import seed_of
from fabmesh.envs.network.schema.scenario import Scenario, Stage
from fabmesh.envs.vector import HubNetworkVector

WINDOWS_D = (5, 20)
"""Days ahead over which the critic reads the mean of each series."""
CLIP = 10.0  # of demand, in times its mean
_LONGEST_D = max(WINDOWS_D)
_SCALING_WORLDS = 16  # training worlds whose mean demand is the unit

Floats = NDArray[np.float64]


def series_names(scenario: Scenario) -> tuple[str, ...]:
    """Names of the daily series of a tape, in order."""
    technologies, products = [t.name for t in scenario.technologies], [p.name for p in scenario.products]
    hubs, depots = [h.town for h in scenario.hubs], [d.name for d in scenario.depots]
    materials = [m.name for m in scenario.materials]
    blocks: dict[str, Sequence[str]] = {
        "machine hours ordered": technologies,
        "units ordered": products,
        "design revised": products,
        "hub closed": hubs,
        "design files locked": hubs,
        "technicians away": hubs if scenario.people.enabled else (),
        "depot closed": depots,
        "supplier stopped": materials,
        "material scarce": materials,
    }
    named = [f"{block}: {item}" for block, items in blocks.items() for item in items]
    return (*named, "platform down", "port closed", "long route")


def _hours(stages: Sequence[Stage], technologies: Sequence[str]) -> list[list[float]]:
    """Machine hours of a unit by technology, [constant, per EUR of its price]."""
    hours = [[0.0] * len(technologies) for _ in range(2)]
    for stage in stages:
        place = technologies.index(stage.technology)
        hours[0][place] += stage.machine_h
        hours[1][place] += stage.machine_h_per_eur
    return hours


class TapeReader:
    """Reads a day of the tape off a batch on the morning of that day.

    Args:
        scenario: The network.
    """

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._products = len(scenario.products)
        names = [technology.name for technology in scenario.technologies]
        recipes = [product.stages for product in scenario.products]
        recipes += [variant.stages for stream in scenario.custom_streams for variant in stream.variants]
        recipes += [variant.stages for stream in scenario.tender_streams for variant in stream.variants]
        self._hours = np.array([_hours(stages, names) for stages in recipes])  # [rows, 2, technologies]
        self._people = np.array([max(hub.technicians, 1) for hub in scenario.hubs], np.float64)
        self.demand = len(names) + self._products
        """How many of the first series are amounts; the others are shares of a day."""

    def day(self, batch: HubNetworkVector) -> Floats:
        """Every series of `series_names` on the day the batch shows, [B, series]."""
        state = batch.arrays
        today = batch.day[:, None]
        blocks = [
            self._ordered(batch),
            state.revision == today,
            state.hub["down_until"] > today,
            state.hub["locked_until"] > today,
            *([1.0 - state.hub["present"] / self._people] if self._scenario.people.enabled else []),
            state.depot["down_until"] > today,
            state.source["stopped_until"] > today,
            state.source["scarce_until"] > today,
            *((state.outside[name] > today[:, 0])[:, None] for name in ("platform_until", "port_until",
                                                                         "long_route_until")),
        ]  # fmt: skip
        return np.concatenate(blocks, axis=1, dtype=np.float64)

    def _ordered(self, batch: HubNetworkVector) -> Floats:
        """Machine hours by technology, then units by product, of the orders that came this morning."""
        state = batch.arrays
        found = np.zeros((batch.num_envs, self.demand))
        for table, count in ((state.lot, "lots"), (state.tender, "tenders")):
            there = np.arange(table.shape[1]) < state.clock[count][:, None]
            copy, slot = np.nonzero(there & (table["announced"] == batch.day[:, None]) & (table["again"] == 0))
            order = table[copy, slot]
            row, units = order["row"].astype(np.int64), order["units"].astype(np.float64)
            hours = self._hours[row, 0] + self._hours[row, 1] * order["price"][:, None]
            np.add.at(found, copy, np.pad(units[:, None] * hours, ((0, 0), (0, self._products))))
            listed = row < self._products
            np.add.at(found, (copy[listed], self.demand - self._products + row[listed]), units[listed])
        return found


class WorldTape:
    """What lies ahead of each copy of a batch.

    Every series gives a mean over the next 5 and the next 20 days, today's news not included: demand in times its mean
    over some training worlds less 1, clipped; what is disturbed as the share of the days on which it is.

    Args:
        batch: The worlds that are trained in.

    Attributes:
        size: Features of a copy.

    Raises:
        ConfigError: If the batch is none of a network.
    """

    def __init__(self, batch: Batch) -> None:
        if getattr(batch, "scenario", None) is None:
            raise ConfigError("critic_tape: needs the worlds of a scenario, whose tape can be read", "critic_tape")
        self._batch = cast(HubNetworkVector, batch)
        self._scenario = self._batch.scenario
        self._reader = TapeReader(self._scenario)
        self._room = self._scenario.capacity.open_tenders
        self.size = len(WINDOWS_D) * len(series_names(self._scenario))
        self._seeds: NDArray[np.uint64] = np.zeros(0, np.uint64)
        self._known: dict[int, NDArray[np.float32]] = {}  # seed -> [days + 1, size]
        days = self._days([seed_of("train", number) for number in range(_SCALING_WORLDS)])
        mean = days[..., : self._reader.demand].mean(axis=(0, 1))
        self._mean = np.where(mean > 0.0, mean, 1.0)

    def ahead(self) -> NDArray[np.float32]:
        """Features of every copy as it stands, [B, size]."""
        self._seeds = self._batch.seeds
        wanted = {int(seed) for seed in self._seeds}
        missing = sorted(wanted - self._known.keys())
        self._known = {seed: self._known[seed] for seed in wanted & self._known.keys()}
        if missing:
            self._known |= zip(missing, self._features(self._days(missing)), strict=True)
        return self._at(self._seeds, self._batch.day)

    def at_end(self, copies: NDArray[np.int64]) -> NDArray[np.float32]:
        """Features of copies [n] at the end of the episodes they have just ended, [n, size]; before `ahead`."""
        return self._at(self._seeds[copies], np.full(len(copies), self._scenario.episode_d))

    def _at(self, seeds: NDArray[np.uint64], days: NDArray[np.integer]) -> NDArray[np.float32]:
        return np.array([self._known[int(seed)][day] for seed, day in zip(seeds, days, strict=True)])

    def _days(self, seeds: Sequence[int]) -> Floats:
        """The series of each world on every day that can be asked for, [worlds, days, series]."""
        while (found := self._idle_days(seeds)) is None:
            self._room *= 4  # a tender that finds the table full leaves no trace in it
        return found

    def _idle_days(self, seeds: Sequence[int]) -> Floats | None:
        """As `_days`; None if a tender found no room."""
        days = self._scenario.episode_d + _LONGEST_D + 1
        capacity = replace(self._scenario.capacity, open_tenders=self._room)
        twin = HubNetworkVector(
            replace(self._scenario, episode_d=days, capacity=capacity), len(seeds), self._batch.threads, autoreset=False
        )
        twin.reset(seed=seeds)
        nothing = {
            role: np.zeros((len(seeds), len(twin.agents[role]), len(twin.spec[role].nvec)), np.int64)
            for role in twin.roles
        }
        found = [self._reader.day(twin)]
        for _ in range(days - 1):
            twin.step(nothing)
            found.append(self._reader.day(twin))
        complete = not twin.events[:, twin.event_names.index("tenders_refused")].any()
        twin.close()
        return np.stack(found, axis=1) if complete else None

    def _features(self, days: Floats) -> Iterator[NDArray[np.float32]]:
        """Of each world the features at the morning of every day, [days + 1, size]."""
        demand = self._reader.demand
        days[..., :demand] = days[..., :demand] / self._mean - 1.0
        sums = np.concatenate((np.zeros_like(days[:, :1]), days.cumsum(axis=1)), axis=1)
        today = np.arange(1, self._scenario.episode_d + 2)
        means = [(sums[:, today + window] - sums[:, today]) / window for window in WINDOWS_D]
        yield from np.clip(np.concatenate(means, axis=2), -CLIP, CLIP).astype(np.float32)
