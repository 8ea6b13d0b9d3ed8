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


def economic_order_quantity(order_cost: ArrayLike, demand: ArrayLike, holding: ArrayLike) -> Floats:
    """Lot that balances order cost and holding cost: sqrt(2 K D / h) (Harris 1913; Silver et al. eq. 4.4).

    Args:
        order_cost: K, EUR per order.
        demand: D, units per unit of time.
        holding: h, EUR per unit of stock and unit of time.

    Returns:
        Units per order.
    """
    return np.asarray(
        np.sqrt(2.0 * np.asarray(order_cost) * np.asarray(demand) / np.asarray(holding, dtype=np.float64))
    )


def eoq_all_units_discount(
    order_cost: ArrayLike,
    demand: ArrayLike,
    holding_rate: ArrayLike,
    prices: ArrayLike,
    minima: ArrayLike,
    maximum: ArrayLike,
) -> Floats:
    """Economic order quantity with all-units discounts (Silver et al. section 4.5).

    For every price class the EOQ at its price is moved into the class (up to the class's minimum, at most to
    `maximum`); the cheapest class by D p + K D / Q + r p Q / 2 wins. All arguments but the last axis of `prices` and
    `minima` (the price classes) broadcast.

    Args:
        order_cost: K, EUR per order, [...].
        demand: D > 0, units per unit of time, [...].
        holding_rate: r, EUR per EUR of stock value and unit of time, [...].
        prices: p, EUR per unit in each class, [..., classes], falling.
        minima: Smallest lot of each class in units, [..., classes], rising, the first may be 0.
        maximum: Largest lot allowed (shelf life, a design that ends), units, [...].

    Returns:
        Units per order, [...].
    """
    fixed = np.asarray(order_cost, dtype=np.float64)[..., None]
    rate = np.asarray(demand, dtype=np.float64)[..., None]
    price = np.asarray(prices, dtype=np.float64)
    least = np.asarray(minima, dtype=np.float64)
    most = np.asarray(maximum, dtype=np.float64)[..., None]
    holding = np.asarray(holding_rate, dtype=np.float64)[..., None] * price
    lot = np.minimum(np.maximum(economic_order_quantity(fixed, rate, holding), least), most)
    cost = rate * price + fixed * rate / np.maximum(lot, 1e-12) + holding * lot / 2.0
    # A class whose minimum exceeds the largest lot allowed cannot be reached; the first class always can.
    reachable = least <= most
    reachable[..., 0] = True
    cost = np.where(reachable, cost, np.inf)
    best = np.argmin(cost, axis=-1)[..., None]
    return np.asarray(np.take_along_axis(lot, np.broadcast_to(best, (*lot.shape[:-1], 1)), axis=-1)[..., 0])


def lead_time_deviation(lead_mean: ArrayLike, lead_sd: ArrayLike, demand: ArrayLike, demand_var: ArrayLike) -> Floats:
    """Standard deviation of the demand during a random lead time: sqrt(L s_D^2 + D^2 s_L^2) (Silver et al. eq. 6.38).

    Args:
        lead_mean: L, time.
        lead_sd: s_L, time.
        demand: D, units per unit of time.
        demand_var: s_D^2, units^2 per unit of time.

    Returns:
        Units.
    """
    rate = np.asarray(demand, dtype=np.float64)
    return np.asarray(
        np.sqrt(np.asarray(lead_mean) * np.asarray(demand_var) + rate**2 * np.asarray(lead_sd, dtype=np.float64) ** 2)
    )


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
