"""Every measure by its name."""

from __future__ import annotations

from itertools import chain
from typing import Any

from fabmesh.agents.evaluation.measures.books import MEASURES, Measure
from fabmesh.agents.evaluation.measures.mechanisms import DISRUPTION_MEASURES, MECHANISM_MEASURES
from fabmesh.agents.evaluation.measures.network import NETWORK_MEASURES, tender_measures, utilisation

_PLAIN: tuple[Measure[Any], ...] = (
    *MEASURES,
    *NETWORK_MEASURES,
    *DISRUPTION_MEASURES.values(),
    *chain(*MECHANISM_MEASURES.values()),
)
_BY_NAME = {item.name: item for item in _PLAIN}


def measure_named(name: str) -> Measure[Any]:
    """What the name of a measure means."""
    stream = name.removeprefix("tenders_served_").removeprefix("weeks_to_")
    of_things = (*tender_measures(stream), utilisation(name.removeprefix("utilisation_")))
    return (_BY_NAME | {item.name: item for item in of_things})[name]
