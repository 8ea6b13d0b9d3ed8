"""What a state that comes from outside must be before a kernel sees it: compiled code looks up without asking.

The layout is the tables' own; every whole number is held against the bounds that are declared beside the tables
(`state.BOUNDS`), every other number is finite; and what the kernels rely on beyond that is checked by name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fabmesh.envs.network.books.state import BOUNDS, IN_USE, Bounds, State
from fabmesh.envs.network.books.tables import Tables
from fabmesh.envs.network.schema.scenario import WORKING_DAYS_PER_YEAR

Array = NDArray[Any]


def copied(array: NDArray[Any]) -> NDArray[Any]:
    """A copy of an array whose bytes between the fields of its records are zeros, not what the memory held before."""
    if array.dtype.names is None:
        return array.copy()
    fresh: NDArray[Any] = np.zeros(array.shape, array.dtype)  # not `zeros_like`, which zeroes fields alone
    for name in array.dtype.names:
        fresh[name] = array[name]
    return fresh


def require_layout(saved: Mapping[str, Array], wanted: Mapping[str, Array]) -> None:
    """Refuse arrays that are missing, or have another shape or type than they should.

    Args:
        saved: Arrays by name.
        wanted: Arrays of the shapes and types that are wanted, by name.

    Raises:
        ValueError: With the name of the array.
    """
    for name, array in wanted.items():
        if name not in saved or saved[name].shape != array.shape or saved[name].dtype != array.dtype:
            raise ValueError(f"the saved state does not fit this batch: {name}")


def require_numbers(
    name: str, values: Array, bounds: Bounds | None = None, sizes: Mapping[str, int] | None = None
) -> None:
    """Refuse numbers that are not finite, truth values that are neither, and whole numbers beyond their bounds.

    Args:
        name: Of the array, for the message.
        values: Any shape.
        bounds: Least and most of whole numbers; None: any.
        sizes: Numbers that bounds may name.

    Raises:
        ValueError: With the name, the first wrong value and what is allowed.
    """
    if values.size == 0:
        return
    if values.dtype.kind == "f":
        if not np.isfinite(values).all():
            raise ValueError(f"{name} holds numbers that are not finite")
        return
    if values.dtype.kind == "b":
        values, bounds = values.view(np.uint8), (0, 1)
    if bounds is None:
        return
    least, most = (bound if isinstance(bound, int) else (sizes or {})[bound] for bound in bounds)
    if values.min() < least or values.max() > most:
        wrong = values[(values < least) | (values > most)].flat[0]
        raise ValueError(f"{name} holds {wrong}; possible are {least} to {most}")


def require_state(s: State, w: Tables) -> None:
    """Refuse a state that a kernel could not walk through safely.

    Args:
        s: Of any number of copies, of the layout of the tables.
        w: The tables it is to be played with.

    Raises:
        ValueError: With the table, the field and what is wrong, in one line.
    """
    sizes = _sizes(s, w)
    for table, array in s._asdict().items():
        used = _in_use(s, table)
        for name, values in _fields(table, array):
            whole = values.dtype.kind in "iu"
            require_numbers(name, values if used is None else values[used], BOUNDS[name] if whole else None, sizes)
    _require_slots(s)
    _require_orders(s)
    _require_room_for_lots(s, w)


def _fields(table: str, array: Array) -> Iterator[tuple[str, Array]]:
    """The columns of a table by name, or the table itself if it has none."""
    if array.dtype.names is None:
        yield table, array
    for field in array.dtype.names or ():
        yield f"{table}.{field}", array[field]


def _sizes(s: State, w: Tables) -> dict[str, int]:
    """The sizes that `BOUNDS` names."""
    par = w.par[0]
    return {
        "episode_d": int(w.scenario[0]["episode_d"]),
        "last day of the year": WORKING_DAYS_PER_YEAR - 1,
        "lots": s.lot.shape[1],
        "tenders": s.tender.shape[1],
        "last tender": s.tender.shape[1] - 1,
        "orders": s.order.shape[2],
        "supplier orders": s.supplier_order.shape[3],
        "last bid": len(w.bid_level) - 1,
        "last quote": len(w.quote_level) - 1,
        "last row": len(w.row) - 1,
        "last lot row": int(par["lot_rows"]) - 1,
        "first tender row": int(par["lot_rows"]),
        "last town": len(w.population) - 1,
    }


def _in_use(s: State, table: str) -> NDArray[np.bool_] | None:
    """Which slots of a table are in use; None: it has no others."""
    if table not in IN_USE:
        return None
    counter, field = IN_USE[table]
    slots = getattr(s, table).shape[-1]
    return np.asarray(np.arange(slots) < getattr(s, counter)[field][..., None])


def _require_slots(s: State) -> None:
    """A hub sees tenders that are there."""
    if (s.slot >= s.clock["tenders"][:, None, None]).any():
        raise ValueError("slot names a tender that is not there")


def _require_orders(s: State) -> None:
    """The open units of an order wait for a stage or are ready, and there are no more of them than were ordered."""
    order = s.order[_in_use(s, "order")]
    waiting = order["todo"].sum(axis=-1, dtype=np.int64) + order["ready"]
    if (waiting != order["open"]).any() or (order["open"] > order["units"]).any():
        raise ValueError("order.open is not what waits and is ready, or more than order.units")


def _require_room_for_lots(s: State, w: Tables) -> None:
    """The table of lots has room for all days to come (`state.lot_capacity`), as its kernels take for granted.

    That is so if no more lots wait than their days brought, each no longer than its customer does, and of those
    announced again no more than an order book holds.
    """
    used = _in_use(s, "lot")
    again = used & (s.lot["again"] == 1)
    if again.sum(axis=1).max() > s.order.shape[2]:
        raise ValueError("lot.again: more lots are announced again than there is room for")
    copy, slot = np.nonzero(used & ~again)
    lot = s.lot[copy, slot]
    row, announced = lot["row"].astype(np.int64), lot["announced"].astype(np.int64)
    if (announced > s.clock["day"][copy]).any() or (lot["last_day"] > announced + w.row["patience_d"][row]).any():
        raise ValueError("lot.announced or lot.last_day: a lot waits longer than its customer does")
    found, counts = np.unique(np.stack((copy, announced, row)), axis=1, return_counts=True)
    if (counts > _brought(w, found[1], found[2])).any():
        raise ValueError("lot: more lots wait than their day brought")


def _brought(w: Tables, day: NDArray[np.int64], row: NDArray[np.int64]) -> NDArray[np.int64]:
    """The most lots of a row that a day brings: one a town, or those of the recorded orders."""
    if len(w.recorded_day) == 0:
        return np.full(len(day), len(w.population))
    rows = len(w.row)
    lines = np.bincount(w.recorded["day"] * rows + w.recorded["row"], minlength=rows)
    place = day * rows + row
    known = (place >= 0) & (place < len(lines))
    return np.where(known, lines[np.where(known, place, 0)], 0)
