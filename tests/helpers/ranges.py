"""Declared intervals of all numbers of the schema and declared words, by class and field."""

from __future__ import annotations

import dataclasses

from fabmesh.envs.network.schema import scenario as schema
from fabmesh.envs.network.schema.parameters import parameters

DECLARED = {name: parameters(cls) for name, cls in vars(schema).items() if dataclasses.is_dataclass(cls)}
RANGES = {cls: {name: p.interval for name, p in fields.items() if p.interval} for cls, fields in DECLARED.items()}
CHOICES = {cls: {name: p.choices for name, p in fields.items() if p.choices} for cls, fields in DECLARED.items()}
