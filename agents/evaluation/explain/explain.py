"""Why a policy costs what it costs: one policy beside a reference on the same worlds, taken apart.

Both are judged by the protocol as in any comparison; what they saw and chose is taken down beside it. The parts: the
ledger line by line (`explain_costs`), bids against what is seen (`explain_bids`), order levels by material
(`explain_orders`), the days around disruptions (`explain_events`), and which components are used (`explain_use`).
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

from tqdm import tqdm

from fabmesh.agents.evaluation.explain import drivers as explain_drivers
from fabmesh.agents.evaluation.explain import orders as explain_orders
from fabmesh.agents.evaluation.explain.bids import Response, responses
from fabmesh.agents.evaluation.explain.costs import Costs, costs
from fabmesh.agents.evaluation.explain.events import Around, disruptions
from fabmesh.agents.evaluation.explain.orders import MaterialLevels, material_levels
from fabmesh.agents.evaluation.explain.record import Play, play
from fabmesh.agents.evaluation.explain.use import Use, uses
from fabmesh.agents.evaluation.judge.comparison import Comparison, Row, named_policies, one_torch_thread
from fabmesh.agents.evaluation.judge.entries import Entry
from fabmesh.agents.evaluation.judge.seeds import SeedSet
from fabmesh.agents.heuristics import names_for, tuned
from fabmesh.envs.network.compiler.kernel import announce_compilation
from fabmesh.envs.network.schema.recorded import RecordedOrders
from fabmesh.envs.network.schema.scenario import Scenario

FEATURES = {role: explain_drivers.FEATURES[role] | explain_orders.FEATURES[role] for role in ("hub", "depot")}


@dataclass(frozen=True)
class Explanation:
    """A policy taken apart beside a reference.

    Attributes:
        comparison: The two rows, policy first.
        costs: Where the difference of network cost comes from.
        responses: How bids move with what is seen.
        materials: Order levels by material.
        disruptions: The days around disruptions.
        uses: How components are used.
    """

    comparison: Comparison
    costs: Costs
    responses: tuple[Response, ...]
    materials: tuple[MaterialLevels, ...]
    disruptions: tuple[Around, ...]
    uses: tuple[Use, ...]

    @property
    def policy(self) -> Row:
        """The policy that is explained."""
        return self.comparison.rows[0]

    @property
    def reference(self) -> Row:
        """The policy it stands beside."""
        return self.comparison.rows[1]


def default_reference(scenario: Scenario) -> str:
    """Name of the strongest rule that a scenario has: what is tuned for it, else the textbook rule."""
    return tuned.NAME if tuned.NAME in names_for(scenario) else "base_stock"


def explain(
    policy: Entry,
    reference: Entry,
    scenario: Scenario,
    seeds: SeedSet,
    threads: int = 1,
    quiet: bool = False,
    orders: RecordedOrders | None = None,
) -> Explanation:
    """Play both policies on the same worlds and take the difference apart, with a progress bar on stderr.

    Args:
        policy: The policy to explain; of several training runs the mean over all of them is.
        reference: The policy it is explained against.
        scenario: The network.
        seeds: The seeds.
        threads: Threads that step the worlds.
        quiet: No progress bar.
        orders: Recorded demand that both play; None: drawn demand.

    Raises:
        FabmeshError: If a policy cannot be made; nothing has been stepped then.
    """
    named = named_policies([policy, reference], scenario)
    announce_compilation()
    days = sum(len(policies) for _, _, policies in named) * scenario.episode_d
    sides: list[tuple[Row, list[Play]]] = []
    with one_torch_thread(), tqdm(total=days, unit="day", disable=quiet, file=sys.stderr) as bar:
        for name, entry, policies in named:
            bar.set_description(f"{name} on {seeds.count} seeds")
            runs = [play(one, scenario, seeds.seeds, FEATURES, threads, bar.update, orders) for one in policies]
            sides.append((Row(name, tuple(run.table for run in runs), entry.members), runs))
        bar.set_description("working out intervals")
        (row, mine), (other, others) = sides
        comparison = Comparison(scenario, seeds, (row, other), other.name, orders)
        return Explanation(
            comparison,
            costs(comparison),
            responses(mine, others, scenario),
            material_levels(mine, others, scenario),
            disruptions(mine, others),
            uses(mine, others),
        )
