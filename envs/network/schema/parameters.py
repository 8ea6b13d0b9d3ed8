"""How a parameter is declared: once, with its default, unit, allowed values and words.

    wage_eur_h: float = param(42.0, "EUR/h", EUR_H, "gross wage of a technician")

The checks and their messages, the record that the kernels read (`books.tables.PARAMETERS`) and the tables of
`docs/scenarios.md` follow from the declaration.
"""

from __future__ import annotations

import dataclasses
import typing
from functools import cache
from typing import Any, TypeVar

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Parameter:
    """What a field of the schema says of itself."""

    unit: str  # "" where it has none
    interval: str  # of a number, such as "(0, 1]"; in a list or mapping of each; "" of what is no number
    choices: tuple[str, ...]  # of a word that stands for a rule
    words: str


def param(default: T, unit: str = "", allowed: str | tuple[str, ...] = "", words: str = "") -> T:
    """A field that may be left out.

    Args:
        default: Its value then.
        unit: As the guide shows it.
        allowed: The interval of a number, or the words to choose from.
        words: What it means, for the guide.
    """
    metadata = _metadata(unit, allowed, words)
    if isinstance(default, dict):  # dataclasses want a new one for every instance
        return typing.cast(T, dataclasses.field(default_factory=default.copy, metadata=metadata))
    return dataclasses.field(default=default, metadata=metadata)


def required(unit: str = "", allowed: str | tuple[str, ...] = "", words: str = "") -> Any:
    """A field that must be given; the arguments are those of `param`."""
    return dataclasses.field(metadata=_metadata(unit, allowed, words))


def _metadata(unit: str, allowed: str | tuple[str, ...], words: str) -> dict[str, Parameter]:
    interval, choices = (allowed, ()) if isinstance(allowed, str) else ("", allowed)
    return {"parameter": Parameter(unit, interval, choices, words)}


@cache
def parameters(cls: type) -> dict[str, Parameter]:
    """The declared fields of a class of the schema, by name."""
    return {field.name: field.metadata["parameter"] for field in dataclasses.fields(cls)}


@cache
def field_types(cls: type) -> dict[str, Any]:
    """Types of the fields of a class of the schema, by name."""
    return typing.get_type_hints(cls)


def bounds(interval: str) -> tuple[float, float]:
    """The two ends of an interval, whether they belong to it or not."""
    low, high = interval[1:-1].split(",")
    return float(low), float(high)


def within(value: float, interval: str) -> bool:
    """Whether a number is inside an interval such as "(0, 1]"; NaN is in none."""
    low, high = bounds(interval)
    above = value > low if interval[0] == "(" else value >= low
    below = value < high if interval[-1] == ")" else value <= high
    return above and below
