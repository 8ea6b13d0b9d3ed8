"""What is read off the network day by day while a policy is judged: bids, stock, and who supplied whom.

Only arrays that the batch offers to readers are used; nothing is written, so a traced episode is the untraced one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fabmesh.agents.evaluation.statistics import Floats
from fabmesh.envs.network.books.state import F_RECEIVED, F_SHIPPED
from fabmesh.envs.network.schema.sizes import INBOUND_DAYS
from fabmesh.envs.vector import HubNetworkVector

_LONGEST_FROM_DEPOT_D = 2
_NEGLIGIBLE = 1e-9  # material units: rounding of sums
STOCKS = ("depots", "hubs, material", "hubs, goods")


@dataclass(frozen=True)
class Trace:
    """One policy's days, on every world.

    Attributes:
        stock_eur: Kind of `STOCKS` -> book value at the end of each day, EUR [days, worlds]. Material on its way to a
            hub counts there; what a supplier has not delivered does not count.
        deadstock_eur: Book value written off until the end of each day, EUR [days, worlds].
        shipped_kg: Material sent by each depot to each hub, mean over the worlds, kg an episode [depots, hubs].
        shared_out: Share of `shipped_kg` on days when several depots sent the same material: the network counts only
            what each depot sent and each hub received, and the pairs of these days are given in proportion to both.
        hub_revenue_eur: Paid by customers to each hub, mean over the worlds, EUR an episode [hubs].
        bid_markup: Mean mark-up of the standing bids that won lots, weighted by machine hours won [worlds]; nan
            where none won.
    """

    stock_eur: dict[str, Floats]
    deadstock_eur: Floats
    shipped_kg: Floats
    shared_out: float
    hub_revenue_eur: Floats
    bid_markup: Floats


class Recorder:
    """Watches a batch without auto-reset from its reset to the end of the episode.

    Args:
        batch: The batch, just reset.
    """

    def __init__(self, batch: HubNetworkVector) -> None:
        self._batch = batch
        self._hubs = len(batch.agents["hub"])
        scenario = batch.scenario
        self._kg = np.array([material.kg for material in scenario.materials])
        self._markups = np.array([0.0, *scenario.actions.bid_markups])  # level 0 withdraws and wins nothing
        self._keep = 1.0 - scenario.inventory.smoothing
        lead = scenario.supply.retail_lead_d
        self._retail_lead_d = lead if lead > _LONGEST_FROM_DEPOT_D else None
        self._deadstock = batch.event_names.index("deadstock_gross_eur")
        self._stock: dict[str, list[Floats]] = {kind: [] for kind in STOCKS}
        self._written_off: list[Floats] = []
        self._won_h = np.zeros(batch.num_envs)
        self._marked_up_h = np.zeros(batch.num_envs)
        self._sent = np.zeros((len(batch.agents["depot"]), self._hubs))
        self._shared = 0.0
        self._before = self._reading()

    def day(self) -> None:
        """Take down the day that has just been stepped."""
        state = self._batch.arrays
        now = self._reading()
        won = np.maximum(now[0] - self._keep * self._before[0], 0.0)
        self._won_h += won.sum(axis=(1, 2))
        self._marked_up_h += (won * self._markups[state.hub_tech["bid"]]).sum(axis=(1, 2))
        self._follow_shipments(now[1] - self._before[1], now[2] - self._before[2] - self._retail_of_today())
        self._before = now
        material = state.hub_mat["value"].sum(axis=(1, 2)) + state.hub_mat["inbound_value"].sum(axis=(1, 2, 3))
        goods = (state.hub_prod["value"] + state.hub_prod["wip_value"]).sum(axis=(1, 2))
        for kind, value in zip(STOCKS, (state.depot_mat["value"].sum(axis=(1, 2)), material, goods), strict=True):
            self._stock[kind].append(value)
        self._written_off.append(self._batch.events[:, self._deadstock].copy())

    def _reading(self) -> tuple[Floats, Floats, Floats]:
        """Smoothed hours won [b, h, k]; quantity each depot sent so far [b, d, m]; that each hub was sent [b, h, m]."""
        state = self._batch.arrays
        hubs = self._hubs
        arrived = state.flow[:, :hubs, :, F_RECEIVED, 0] + state.hub_mat["inbound"].sum(axis=(3, 4))
        return state.hub_tech["won_h"].copy(), state.flow[:, hubs:, :, F_SHIPPED, 0].copy(), arrived

    def _retail_of_today(self) -> Floats | float:
        """Quantity bought at retail [b, h, m]: it alone arrives after so many days, if depots are all quicker."""
        if self._retail_lead_d is None:
            return 0.0
        state = self._batch.arrays
        arrives = (state.clock["day"] - 1 + self._retail_lead_d) % INBOUND_DAYS
        each = np.arange(self._batch.num_envs)
        bought: Floats = np.moveaxis(state.hub_mat["inbound"], 3, 1)[each, arrives].sum(axis=-1)
        return bought

    def _follow_shipments(self, sent: Floats, got: Floats) -> None:
        """Adds the day's shipments to the pairs of depot and hub."""
        senders = (sent > 0).sum(axis=1)  # [b, m]
        total = sent.sum(axis=1)
        share = np.divide(got, got.sum(axis=1, keepdims=True), out=np.zeros_like(got), where=got > _NEGLIGIBLE)
        self._sent += np.einsum("bdm,bhm,m->dh", sent, share, self._kg)
        self._shared += float((total * (senders > 1) * self._kg).sum())

    def trace(self) -> Trace:
        """All that was taken down."""
        worlds = self._batch.num_envs
        total = float(self._sent.sum())
        revenue = self._batch.ledger[:, : self._hubs, self._batch.ledger_lines.index("revenue")]
        won: NDArray[Any] = self._won_h > 0
        return Trace(
            stock_eur={kind: np.array(days) for kind, days in self._stock.items()},
            deadstock_eur=np.array(self._written_off),
            shipped_kg=self._sent / worlds,
            shared_out=self._shared / total if total > 0 else 0.0,
            hub_revenue_eur=revenue.mean(axis=0),
            bid_markup=np.divide(self._marked_up_h, self._won_h, out=np.full(worlds, np.nan), where=won),
        )
