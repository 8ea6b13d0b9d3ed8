"""Every measure by its name."""

from __future__ import annotations

from itertools import chain

from fabmesh.agents.evaluation.measures.books import MEASURES, Measure
from fabmesh.agents.evaluation.measures.mechanisms import DISRUPTION_MEASURES, MECHANISM_MEASURES
from fabmesh.agents.evaluation.measures.network import NETWORK_MEASURES, TENDER_MEASURES

_PLAIN = (*MEASURES, *NETWORK_MEASURES, *DISRUPTION_MEASURES.values(), *chain(*MECHANISM_MEASURES.values()))
_BY_NAME = {item.name: item for item in _PLAIN}


def measure_named(name: str) -> Measure:
    """What the name of a measure means."""
    if name in _BY_NAME:
        return _BY_NAME[name]
    for prefix, kind in TENDER_MEASURES.items():
        if name.startswith(prefix):
            stream = name.removeprefix(prefix)
            label = f"{stream}: {kind.label}"
            return Measure(name, label, kind.unit, kind.formula.replace("_T", f"_{stream}"), kind.better)
    technology = name.removeprefix("utilisation_")
    formula = f"machine_h_{technology} / (machines x hours a day x days)"
    return Measure(name, f"{technology} hours worked / hours there", "share", formula, "neither")
