"""Errors that speak to a user: one line that names the place, the value and the remedy."""

from __future__ import annotations


class FabmeshError(ValueError):
    """Something a user gave is wrong. Command lines print `error: <message>` and exit with 2."""


class ScenarioError(FabmeshError):
    """A scenario, or a file it comes from, cannot be used."""


class OrdersError(FabmeshError):
    """A recorded order book, or the file it comes from, cannot be used."""
