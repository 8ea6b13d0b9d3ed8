"""Checks that FABMESH_CHECKED=1 compiles into the day: every index, and every number that is stored or cut.

Without the variable nothing of this is compiled. With it a day takes several times as long, is kept apart in the cache
of compiled functions, and stops with `FaultError` at the first index outside its axis, number that does not fit where
it is stored, and number that is none: what would otherwise be read or overwritten in silence.

What was found is known when the day runs, but Numba's exceptions are made when it is compiled, and a kernel cannot
allocate. So the numbers go through a memory that compiled code knows by name, and `FaultError` reads them there.
"""

from __future__ import annotations

import os
import re
from typing import Any

import llvmlite.binding
import llvmlite.ir as ir
import numpy as np
from numba.core import cgutils, types
from numba.core import ir as numba_ir
from numba.core.lowering import Lower
from numba.np.arrayobj import make_array

CHECKED = os.environ.get("FABMESH_CHECKED", "") not in ("", "0")

_WORD = ir.IntType(64)
_FOUND = np.zeros(2, np.int64)  # two integers, or one double
_SYMBOL = "fabmesh_found"
_RECORDS: dict[str, str] = {}
_INFINITE = "Scratch."  # working memory may hold an infinite number, as a mark of what nobody offers
if CHECKED:
    llvmlite.binding.add_symbol(_SYMBOL, _FOUND.ctypes.data)


class FaultError(RuntimeError):
    """A check failed: an index outside an array, or a number that does not fit. The batch cannot be used any further.

    Args:
        text: What was found; `{0}` and `{1}` stand for the integers and `{2}` for the double that compiled code left.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text.format(*_FOUND.tolist(), _FOUND.view(np.float64)[0]))


def name_record(kind: str, field: str) -> None:
    """Lets faults in records call them by the fields they are kept in, "State.order", and not by their type's name."""
    if field not in _RECORDS.get(kind, "").split(" or "):
        _RECORDS[kind] = f"{_RECORDS[kind]} or {field}" if kind in _RECORDS else field


def _shown(memory: str) -> str:
    kind, _, member = memory.partition(".")
    return ".".join(filter(None, (_RECORDS.get(kind, kind), member)))


def check_index(context: Any, builder: Any, field: Any, index: Any, array: Any, at: Any) -> None:
    """Stops unless every integer of an index lies inside its axis of a field. Indices from the end are none."""
    if not CHECKED:
        return
    header = make_array(field)(context, builder, array)
    several = isinstance(index, types.BaseTuple)
    kinds, values = (list(index), cgutils.unpack_tuple(builder, at)) if several else ([index], [at])
    for axis, (kind, value) in enumerate(zip(kinds, values, strict=True)):
        if isinstance(kind, types.Integer):
            place = context.cast(builder, value, kind, types.intp)
            size = builder.extract_value(header.shape, axis)
            outside = builder.icmp_unsigned(">=", place, size)  # a negative one is a very large one
            text = f"{_shown(field.memory)}, axis {axis}: index {{0}}, size {{1}}"
            _stop(context, builder, outside, text, place, size)


def _check_store(context: Any, builder: Any, memory: str, kind: Any, value: Any, member: Any) -> None:
    """Stops unless a number is one, and fits where it goes."""
    kind, where = types.unliteral(kind), _shown(memory)
    if isinstance(kind, types.Float) and isinstance(member, types.Integer):
        _check_whole(context, builder, where, kind, value, member)
    elif isinstance(kind, types.Integer) and isinstance(member, types.Integer) and member.bitwidth < kind.bitwidth:
        back = context.cast(builder, context.cast(builder, value, kind, member), member, kind)
        number = value if value.type == _WORD else builder.sext(value, _WORD)
        changed = builder.icmp_signed("!=", back, value)
        _stop(context, builder, changed, f"{where}: {{0}} does not fit {member}", number)
    elif isinstance(kind, types.Number) and isinstance(member, types.Float):
        stored = context.cast(builder, value, kind, member)
        if where.startswith(_INFINITE):
            bad = builder.fcmp_unordered("uno", stored, stored)
        else:
            zero = builder.fsub(stored, stored)  # of a finite number alone
            bad = builder.fcmp_unordered("!=", zero, ir.Constant(zero.type, 0.0))
        number = context.cast(builder, value, kind, types.float64)
        _stop(context, builder, bad, f"{where}: {{2}} is stored as {member}", number)


def _check_whole(context: Any, builder: Any, where: str, kind: Any, value: Any, whole: Any) -> None:
    """Stops unless an integer can be made of a floating-point number."""
    number = context.cast(builder, value, kind, types.float64)
    low, high = (ir.Constant(number.type, float(bound)) for bound in (whole.minval, whole.maxval + 1))
    fits = builder.and_(builder.fcmp_ordered(">=", number, low), builder.fcmp_ordered("<", number, high))
    _stop(context, builder, builder.not_(fits), f"{where}: {{2}} does not fit {whole}", number)


def _stop(context: Any, builder: Any, bad: Any, text: str, *found: Any) -> None:
    """Leaves the compiled day with a `FaultError` if a condition holds."""
    with cgutils.if_unlikely(builder, bad):
        module = builder.module
        memory = module.globals.get(_SYMBOL) or ir.GlobalVariable(module, ir.ArrayType(_WORD, len(_FOUND)), _SYMBOL)
        for i, number in enumerate(found):
            word = builder.bitcast(number, _WORD)
            builder.store(word, cgutils.gep_inbounds(builder, memory, 0, i))
        context.call_conv.return_user_exc(builder, FaultError, (f"{text} (in {_function(builder.function.name)})",))


def _function(symbol: str) -> str:
    """Name of a function, of the symbol that Numba makes of it: the parts with their lengths before them."""
    parts, rest = [], symbol.removeprefix("_ZN")
    while length := re.match(r"\d+", rest):
        end = length.end() + int(length[0])
        parts.append(rest[length.end() : end])
        rest = rest[end:]
    return ".".join(parts) or symbol


class CheckedLower(Lower):  # type: ignore[misc]
    """Numba's lowering of a function, with checks before what would cut a number: only here its type is still known."""

    def lower_inst(self, inst: Any) -> None:
        """Translates an instruction."""
        if isinstance(inst, numba_ir.SetAttr):
            record = self.typeof(inst.target.name)
            self._check(record.memory(inst.attr), inst.value, record.typeof(inst.attr))
        elif isinstance(inst, numba_ir.SetItem | numba_ir.StaticSetItem):
            array = self.typeof(inst.target.name)
            if hasattr(array, "memory"):  # a field of a block
                self._check(array.memory, inst.value, array.dtype)
        elif isinstance(inst, numba_ir.Assign) and getattr(inst.value, "op", None) == "call":
            called, kind = self.typeof(inst.value.func.name), self.typeof(inst.target.name)
            if getattr(called, "typing_key", None) is int:
                self._check("int()", inst.value.args[0], kind)
        super().lower_inst(inst)

    def _check(self, memory: str, value: Any, member: Any) -> None:
        _check_store(self.context, self.builder, memory, self.typeof(value.name), self.loadvar(value.name), member)
