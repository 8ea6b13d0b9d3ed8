"""Textbook formulas of inventory management that the heuristics use, as plain functions of numpy arrays.

Sources: Silver, Pyke & Thomas, *Inventory and Production Management in Supply Chains* (4th ed., 2017), chapters 4, 6, 7
and 10; Hadley & Whitin, *Analysis of Inventory Systems* (1963), chapter 4.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm

Floats: TypeAlias = NDArray[np.float64]


def all_units_price(lot: ArrayLike, prices: Floats, breaks: Floats) -> Floats:
    """Price of a unit when the whole lot is bought at the price of its size class (all-units discount).

    Args:
        lot: Units, [..., items, lots].
        prices: EUR per unit in each class, [items, classes].
        breaks: Units from which the second, third ... class begins, [items, classes - 1].

    Returns:
        EUR per unit, [..., items, lots].
    """
    size = (np.asarray(lot, dtype=np.float64)[..., None] >= breaks[:, None, :] * (1 - 1e-9)).sum(axis=-1)
    return np.asarray(prices[np.arange(len(prices))[:, None], size])


def lot_cost(
    lot: ArrayLike, order_cost: ArrayLike, demand: ArrayLike, holding_rate: ArrayLike, price: ArrayLike
) -> Floats:
    """Total relevant cost of ordering always the same lot: D p + K D / Q + r p Q / 2 (Silver et al. eq. 4.10).

    Its minimum at one price is the EOQ, sqrt(2 K D / (r p)); with all-units discounts the least of it over the EOQ of
    each price class and the breaks is the best lot (ibid., section 4.5).

    Args:
        lot: Q, units.
        order_cost: K, EUR per order.
        demand: D, units per unit of time.
        holding_rate: r, EUR per EUR of stock value and unit of time.
        price: p, EUR per unit.

    Returns:
        EUR per unit of time.
    """
    size, rate, unit = (np.asarray(x, dtype=np.float64) for x in (lot, demand, price))
    fixed, holding = np.asarray(order_cost, dtype=np.float64), np.asarray(holding_rate, dtype=np.float64)
    return np.asarray(rate * unit + fixed * rate / size + holding * unit * size / 2.0)


def safety_factor(
    holding_per_unit: ArrayLike, lot: ArrayLike, shortage_per_unit: ArrayLike, demand: ArrayLike
) -> Floats:
    """Safety factor z of a (Q, r) policy whose shortages are met by a dearer source at once.

    The stock-out chance of a cycle in the optimum is h Q / (h Q + b D) (lost sales, Hadley & Whitin 1963, section 4.3);
    z is the normal quantile of its complement, kept in [0, 3].

    Args:
        holding_per_unit: h, EUR per unit and unit of time.
        lot: Q, units.
        shortage_per_unit: b, extra EUR per unit that is short.
        demand: D, units per unit of time.

    Returns:
        z, dimensionless.
    """
    carried = np.asarray(holding_per_unit, dtype=np.float64) * np.asarray(lot)
    chance = carried / (carried + np.asarray(shortage_per_unit) * np.asarray(demand))
    return np.asarray(np.clip(norm.ppf(1.0 - chance), 0.0, 3.0))


def joint_cycle(shared_order_cost: ArrayLike, value_rate: ArrayLike, holding_rate: float) -> Floats:
    """Common cycle of items ordered together: sqrt(2 K / (r sum D p)) (joint replenishment, Silver et al. eq. 10.4).

    Args:
        shared_order_cost: K, EUR per joint order.
        value_rate: Sum over the items of demand x price, EUR per unit of time.
        holding_rate: r, EUR per EUR of stock value and unit of time.

    Returns:
        Unit of time.
    """
    return np.asarray(np.sqrt(2.0 * np.asarray(shared_order_cost) / (holding_rate * np.asarray(value_rate))))


def nearest_level(wanted: ArrayLike, values: ArrayLike) -> NDArray[np.int64]:
    """Index of the value nearest to what is wanted; a tie goes to the lower index."""
    gap = np.abs(np.asarray(wanted, dtype=np.float64)[..., None] - np.asarray(values, dtype=np.float64))
    return np.asarray(np.argmin(gap, axis=-1))


def covering_level(wanted: ArrayLike, values: ArrayLike) -> NDArray[np.int64]:
    """Index of the smallest value that is at least what is wanted, else of the largest value (`values` rising)."""
    levels = np.asarray(values, dtype=np.float64)
    return np.minimum(np.searchsorted(levels, np.asarray(wanted, dtype=np.float64), side="left"), len(levels) - 1)
