"""The days around a disruption: an event study of cost, waiting customers and stock beside the reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fabmesh.agents.evaluation.explain.pairs import Pair, Table, pairs
from fabmesh.agents.evaluation.explain.record import DISTURBED, Play

OFFSETS = tuple(range(-10, 31))  # days from the first disturbed one
WINDOWS = ((-10, -1), (0, 4), (5, 9), (10, 19), (20, 30))  # first and last day
SERIES = {"cost": "EUR a day", "open_units": "units", "stock": "EUR"}
"""What is followed, and its unit."""


@dataclass(frozen=True)
class Around:
    """Mean days around the beginning of disruptions of one kind.

    Attributes:
        kind: Kind of disruption.
        number: How many began, on all worlds together.
        worlds: On how many worlds.
        days: Name in `SERIES` -> a mean for each of `OFFSETS`.
        windows: The same for each of `WINDOWS`.
    """

    kind: str
    number: int
    worlds: int
    days: dict[str, tuple[Pair, ...]]
    windows: dict[str, tuple[Pair, ...]]


def disruptions(policy: Sequence[Play], reference: Sequence[Play]) -> tuple[Around, ...]:
    """Event studies of all kinds of `DISTURBED` that began at least once.

    Days beyond the episode do not count, so the first and last days of the window are means over fewer disruptions;
    the reference's are over the same ones. One that is there on the first morning has no days before it: left out.
    """
    found = []
    for kind in DISTURBED:
        begins = onsets(reference[0].struck[kind])
        if any(not np.array_equal(begins, onsets(play.struck[kind])) for play in (*policy, *reference)):
            raise RuntimeError(f"{kind} struck on other days with another policy; it must be the world's doing")
        if len(begins):
            found.append(_around(kind, begins, policy, reference))
    return tuple(found)


def onsets(struck: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Day and world of each beginning, [number, 2].

    Args:
        struck: Things that are disturbed on the morning of day 1, 2, ..., [days, worlds, things].
    """
    begun = struck[1:-1] & ~struck[:-2]  # the last morning is after the episode
    day, world, _ = np.nonzero(begun)
    return np.stack([day + 2, world], axis=1)


def _around(kind: str, begins: NDArray[np.int64], policy: Sequence[Play], reference: Sequence[Play]) -> Around:
    spans = [(offset, offset) for offset in OFFSETS] + list(WINDOWS)
    days, windows = {}, {}
    for name in SERIES:
        found = pairs(*([_mean(side, name, begins, span) for span in spans] for side in (policy, reference)))
        days[name], windows[name] = tuple(found[: len(OFFSETS)]), tuple(found[len(OFFSETS) :])
    return Around(kind, len(begins), len(np.unique(begins[:, 1])), days, windows)


def _mean(plays: Sequence[Play], name: str, begins: NDArray[np.int64], span: tuple[int, int]) -> Table:
    """Mean over the days of a span, first and last counted from the beginning, around all beginnings."""
    first, last = span
    length, worlds = plays[0].days[name].shape
    day = (begins[:, :1] + np.arange(first, last + 1)).reshape(-1)
    world = np.repeat(begins[:, 1], last - first + 1)
    inside = (day >= 0) & (day < length)
    day, world = day[inside], world[inside]
    total = [np.bincount(world, play.days[name][day, world], worlds).astype(np.float64) for play in plays]
    number = np.bincount(world, np.ones(len(world)), worlds).astype(np.float64)
    return Table.ratio(np.array(total), np.array([number] * len(plays)))
