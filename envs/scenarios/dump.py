"""A scenario back into YAML: everything in one file, includes merged in and defaults written out."""

from __future__ import annotations

import dataclasses
from typing import Any

import yaml

from fabmesh.envs.network.schema.scenario import Scenario


def scenario_to_yaml(scenario: Scenario, ascii_only: bool = False) -> str:
    """Text that `load_scenario` reads back into an equal scenario.

    Args:
        scenario: A checked scenario.
        ascii_only: Other letters as escapes, which YAML reads as the same letters.
    """
    plain = _plain(dataclasses.asdict(scenario))
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=not ascii_only, width=120, default_flow_style=None)


def _plain(value: Any) -> Any:
    """Tuples as lists; what is not set is left out, so that the file says only what holds."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items() if item is not None}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
