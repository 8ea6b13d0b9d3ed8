"""Variants of learner and network on the same worlds, against one reference in the network as it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fabmesh import __version__
from fabmesh.agents.evaluation.judge.comparison import hash_of
from fabmesh.agents.evaluation.judge.protocol import EpisodeTable
from fabmesh.agents.evaluation.judge.seeds import SeedSet
from fabmesh.agents.evaluation.show.export import interval_of, number_of
from fabmesh.agents.evaluation.show.tables import UNDEFINED, Sheet, signed, words_of_saving
from fabmesh.agents.evaluation.statistics import Floats, Paired, compare, estimate
from fabmesh.envs.network.schema.scenario import Scenario

COST, BASE = "network_cost", "controllable_cost"
ALSO = ("mission_cost", "deadstock", "fill_rate")


@dataclass(frozen=True)
class Judged:
    """A variant on all worlds.

    Attributes:
        name: Its name.
        about: What is otherwise.
        runs: One table for each training, or the one of a rule.
        sources: What each was made from, as a user would type it.
    """

    name: str
    about: str
    runs: tuple[EpisodeTable, ...]
    sources: tuple[str, ...]

    def values(self, measure: str) -> Floats:
        """A measure, [runs, worlds]."""
        return np.array([table.measures[measure] for table in self.runs])

    def mean(self, measure: str) -> float:
        """Its mean over runs and worlds."""
        return float(self.values(measure).mean())


@dataclass(frozen=True)
class Ablation:
    """Variants, each in its own network, on the same worlds.

    Attributes:
        scenario: The network as it is.
        seeds: The worlds.
        reference: The policy that all are compared with, in the network as it is.
        variants: At least one; each is also compared with the first.
    """

    scenario: Scenario
    seeds: SeedSet
    reference: EpisodeTable
    variants: tuple[Judged, ...]

    def against_reference(self, variant: Judged) -> Paired:
        """Network cost of a variant less the reference's, world by world."""
        return compare(variant.values(COST), self.reference.measures[COST])

    def against_first(self, variant: Judged) -> Paired:
        """Network cost of a variant less that of the first one, world by world."""
        return compare(variant.values(COST), self.variants[0].values(COST))


def sheets(found: Ablation) -> list[Sheet]:
    """Costs against the reference and the first variant, then what each variant is."""
    what = f"{found.scenario.name}: {found.seeds.count} {found.seeds.space} worlds, kEUR per episode"
    name, first = found.reference.policy, found.variants[0].name
    base = float(found.reference.measures[BASE].mean())
    bottom = (
        f"in % of its controllable cost, {base / 1e3:,.1f} kEUR; in brackets: the interval holds 0, nothing is shown",
        "intervals cover the worlds, and the training runs where there are several; with few runs they are too short",
    )
    costs = _compared(found, f"{what}: network cost less {name}'s", found.against_reference, base, bottom)
    parts = [costs]
    if len(found.variants) > 1:
        other = found.variants[0].mean(BASE)
        note = (f"in % of its controllable cost, {other / 1e3:,.1f} kEUR",)
        parts.append(_compared(found, f"the same less {first}'s", found.against_first, other, note))
    rows = tuple((variant.name, variant.about) for variant in found.variants)
    return [*parts, Sheet("what each variant is", ("variant", "what is otherwise"), 2, rows)]


def _compared(
    found: Ablation, title: str, against: Callable[[Judged], Paired], base: float, notes: tuple[str, ...]
) -> Sheet:
    rows = []
    for variant in found.variants:
        result = against(variant)
        difference = result.difference
        known = np.isfinite(difference.low)
        share = words_of_saving(-difference.mean / base) if base > 0 else UNDEFINED
        if known and difference.low <= 0.0 <= difference.high:
            share = f"({share})"
        interval = f"[{signed(difference.low / 1e3)}, {signed(difference.high / 1e3)}]" if known else UNDEFINED
        costs = (f"{variant.mean(name) / 1e3:,.1f}" for name in (COST, BASE))
        fill = f"{100 * variant.mean('fill_rate'):.1f}"
        rows.append(
            (variant.name, str(len(variant.runs)), *costs, signed(difference.mean / 1e3), interval, share, fill)
        )
    heads = ("variant", "runs", "network\ncost", "controllable\ncost", "less", "95 % interval", "in %", "fill\nrate")
    return Sheet(title, heads, 1, tuple(rows), notes)


def to_json(found: Ablation) -> dict[str, Any]:
    """Everything as plain values; costs in EUR per episode, settlement included; intervals are of 95 %."""
    reference = found.reference
    return {
        "scenario": found.scenario.name,
        "scenario_hash": hash_of(found.scenario),
        "version": __version__,
        "worlds": {"space": found.seeds.space, "count": found.seeds.count, "first": found.seeds.first},
        "reference": {
            "policy": reference.policy,
            **{name: float(reference.measures[name].mean()) for name in (COST, BASE, *ALSO)},
        },
        "variants": [
            {
                "name": variant.name,
                "about": variant.about,
                "judged": list(variant.sources),
                **{name: _measure(variant, name) for name in (COST, BASE, *ALSO)},
                "less_reference": _difference(found.against_reference(variant)),
                "less_first": _difference(found.against_first(variant)),
            }
            for variant in found.variants
        ],
    }


def _measure(variant: Judged, name: str) -> dict[str, Any]:
    mean = estimate(variant.values(name))
    runs = [number_of(float(run.measures[name].mean())) for run in variant.runs]
    return {"mean": number_of(mean.mean), "ci95": interval_of(mean), "run_means": runs}


def _difference(result: Paired) -> dict[str, Any]:
    difference = result.difference
    return {
        "network_cost": number_of(difference.mean),
        "ci95": interval_of(difference),
        "share_won": number_of(result.share_won),
    }
