"""A world in which nothing costs anything, from which textbook cases are made, and how these are judged.

Each case switches on what it is about. What is left out: work, energy and delivery are free, the smoothing of rates is
so slow that covers are constants, nothing is salvaged or written down. Cases are judged on the path that every result
takes (`compare_entries`, `Comparison.paired`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from fabmesh.agents.evaluation.judge.comparison import Comparison, compare_entries
from fabmesh.agents.evaluation.judge.entries import Entry
from fabmesh.agents.evaluation.judge.seeds import seed_set
from fabmesh.agents.evaluation.statistics import estimate
from fabmesh.agents.heuristics.composed import ComposedPolicy
from fabmesh.envs.network.schema.scenario import (
    WORKING_DAYS_PER_YEAR,
    BomLine,
    Demand,
    Depot,
    Disruptions,
    Freight,
    Hub,
    Inventory,
    Labour,
    LastMile,
    Market,
    Material,
    Product,
    Reward,
    Scenario,
    Stage,
    Supply,
    Technology,
    Town,
)
from fabmesh.envs.vector import HubNetworkVector

PEOPLE = 100_000
NEVER_CHANGES = 1e-12  # smoothing a day
NEARLY_POISSON = 1.001  # variance / mean, the least that a scenario may say
SEVERAL = 1.5  # many intervals are looked at: each may miss by 1.5 half-widths, about 3 standard errors
MATERIAL_GAP = 0.002  # share of the best cost that the judge must be able to tell apart

# One workshop, one depot, one product of one unit of one material; nothing but that material costs anything.
FREE = Scenario(
    name="textbook",
    description="A world reduced to a textbook case",
    episode_d=500,
    towns=(Town("Delft", 52.0067, 4.3556, PEOPLE),),
    hubs=(Hub("Delft", {"mill": 1}, technicians=10),),
    depots=(Depot("Ridderkerk", 51.8725, 4.6028),),
    technologies=(
        Technology(
            name="mill",
            hours_per_day=8.0,
            rate_eur_h=0.0,
            power_kw=0.0,
            setup_h=0.0,
            scrap=0.0,
            machines_per_technician=1.0,
            extended_by_overtime=True,
        ),
    ),
    materials=(
        Material(
            name="blank",
            unit="piece",
            bulk_eur=1e-6,  # a depot's stock is as good as free
            retail_eur=1.0,
            pallet=1.0,
            pack=1.0,
            kg=1.0,
            litres=1.0,
            lead_mean_d=1.0,
            lead_sd_d=0.0,
        ),
    ),
    products=(
        Product(
            name="widget",
            label="Widget",
            stages=(Stage("mill", machine_h=2e-5),),  # as many as one likes
            bom=(BomLine("blank", 1.0),),
            kg=1.0,
            litres=1.0,
            price_eur=100.0,
            units_per_order=1.0,
            units_per_1000_year=1.0,
            due_d=1,  # made and shipped on the day of the order
            season_amplitude=0.0,
        ),
    ),
    demand=Demand(dispersion=NEARLY_POISSON, revisions_per_year=0.0),
    labour=Labour(wage_eur_h=0.0, energy_eur_kwh=0.0),
    market=Market(patience_catalogue_d=0, lateness_per_day=0.0, lateness_grace_d=0, lateness_cap=1.0),
    last_mile=LastMile(van_stop_eur=0.0, van_radius_km=1000.0, parcel_eur=0.0, parcel_eur_kg=0.0),
    freight=Freight(fixed_eur=0.0, rate_eur_tkm=0.0),
    supply=Supply(order_eur=0.0, price_breaks_pallets=(), price_factors=(0.0,)),
    inventory=Inventory(
        holding_material_year=0.0,
        holding_finished_year=0.0,
        salvage=1.0,
        smoothing=NEVER_CHANGES,
        opening_level=(0.0, 0.0),
    ),
    disruptions=Disruptions(scale=0.0),
    reward=Reward(scale_eur=1.0),
)
AT_COST = 2  # level of hub.bid
# a hub that wins all it can at cost, has no tenders, and makes nothing to stock unless the case says so
HUB_OFF = {"hub.bid": AT_COST, "hub.tender": 0, "hub.can_order": 0, "hub.make_to_stock": 0, "hub.overtime": 0}
DEPOT_IDLE = {"depot.trigger": 0, "depot.lot": 0}  # and quotes at level 0: it declines, so hubs buy at retail


def with_demand(scenario, units_a_day):
    """A scenario whose first product is ordered so many units a day in each town."""
    per_1000_year = units_a_day * WORKING_DAYS_PER_YEAR / (PEOPLE / 1000)
    first = replace(scenario.products[0], units_per_1000_year=per_1000_year)
    return replace(scenario, products=(first, *scenario.products[1:]))


class Hold:
    """Holds a level of some components, of all items, all the time."""

    def __init__(self, levels):
        self._levels = levels

    def __call__(self, desk):
        """Put the levels on the desk."""
        for component, level in self._levels.items():
            assert desk.decides(component)
            desk.choose(component, level)


@dataclass(frozen=True)
class Held(Entry):
    """A row of a comparison: constant levels, role -> component -> level; what is not named is at level 0."""

    levels: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def policies(self, scenario):
        """The one policy of the row."""
        rules = {role: [Hold(levels)] for role, levels in self.levels.items()}
        return [ComposedPolicy(self.members[0], scenario, rules)]


def judge(scenario, grid, worlds):
    """Judge constant policies, name -> levels, as any policy is judged."""
    entries = [Held((name,), levels=levels) for name, levels in grid.items()]
    return compare_entries(entries, scenario, seed_set("holdout", worlds), quiet=True)


def check(title, comparison: Comparison, formula, measure="network_cost", tolerance=0.0):
    """Show formulas, EUR a day, beside the judge's values, and check that they agree and rank alike.

    Args:
        title: Of the table.
        comparison: The judge's.
        formula: Row name -> EUR a day.
        measure: What is compared.
        tolerance: What the formula leaves out, as a share of it, beside the interval.
    """
    days = comparison.scenario.episode_d
    rows = {row.name: row for row in comparison.rows}
    best = min(formula, key=formula.__getitem__)
    print(f"\n{title}, EUR a day; {comparison.seeds.count} worlds of {days} days; best by formula: {best}")
    print(
        f"{'':>18} {'formula':>9} {'simulated, 95 % interval':>30}   more than the best: formula, simulated, interval"
    )
    failures = []
    means = {}
    for name, row in rows.items():
        own = estimate(row.values(measure) / days)
        gap = comparison.paired(row, rows[best], measure).difference
        low, high, mean = gap.low / days, gap.high / days, gap.mean / days
        expected = formula[name] - formula[best]
        means[name] = own.mean
        print(
            f"{name:>18} {formula[name]:9.3f} {own.mean:9.3f} [{own.low:8.3f}, {own.high:8.3f}]"
            f"   {expected:8.3f} {mean:8.3f} [{low:8.3f}, {high:8.3f}]"
        )
        left_out = tolerance * formula[name]
        if abs(own.mean - formula[name]) > SEVERAL * (own.high - own.low) / 2 + left_out:
            failures.append(f"{name} costs {own.mean:.3f}, not {formula[name]:.3f}")
        if abs(mean - expected) > SEVERAL * (high - low) / 2 + left_out:
            failures.append(f"{name} costs {mean:.3f} more than {best}, not {expected:.3f}")
        if expected > MATERIAL_GAP * formula[best] and not low > 0.0:
            failures.append(f"{name} is not found worse than {best}")
    assert not failures, failures
    assert formula[min(means, key=means.__getitem__)] <= (1.0 + MATERIAL_GAP) * formula[best]


def play(scenario, levels, worlds):
    """Play an episode on each of some worlds with constant levels.

    Returns:
        The batch at its end; EUR per ledger line [worlds, lines]; event counts [worlds, events]; units in the hubs'
        books at the end of each day [days, worlds].
    """
    (policy,) = Held(("held",), levels=levels).policies(scenario)
    batch = HubNetworkVector(scenario, num_envs=worlds, autoreset=False)
    obs, info = batch.reset(seed=seed_set("holdout", worlds).seeds)
    book = []
    for _ in range(scenario.episode_d):
        obs, _, _, _, info = batch.step(policy.act(obs, info["action_mask"]))
        book.append(batch.arrays.hub["open_units"].sum(axis=1))
    ledger = dict(zip(batch.ledger_lines, np.array(info["final_ledger"]).sum(axis=1).T, strict=True))
    events = dict(zip(batch.event_names, np.array(info["final_events"]).T, strict=True))
    return batch, ledger, events, np.array(book, dtype=np.float64)
