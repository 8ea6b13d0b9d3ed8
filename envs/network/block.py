"""How the kernels get their arrays: one pointer to a block of array headers.

A compiled function that takes a named tuple of fifty arrays takes some five hundred machine words, at every call of
every small function of the day; compiling that takes minutes. A `Block` is the same named tuple behind one pointer:
`s.hub[b, h]` reads the header of `hub` (address, shape, strides) from the block, where the optimiser may assume that
headers never change. Blocks hold no references inside compiled code, so threads do not contend for counters; the
Python object keeps the arrays alive.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import llvmlite.ir as ir
import numba
import numpy as np
from numba.core import cgutils, types
from numba.core.typing.templates import AttributeTemplate
from numba.extending import (
    NativeValue,
    infer_getattr,
    lower_getattr_generic,
    models,
    register_model,
    typeof_impl,
    unbox,
)
from numba.np import arrayobj
from numpy.typing import NDArray


class Block:
    """The arrays of a named tuple, as compiled functions take them. All must be C-contiguous.

    Args:
        arrays: A named tuple of arrays; its class names the type of the block.
    """

    def __init__(self, arrays: Any) -> None:
        words: list[int] = []
        fields = []
        for name, array in arrays._asdict().items():
            if not array.flags.c_contiguous:
                raise ValueError(f"{name} is not C-contiguous")
            fields.append((name, numba.typeof(array).copy(readonly=False)))
            words += [array.ctypes.data, *array.shape, *array.strides]
        self.arrays = arrays
        self.headers: NDArray[np.int64] = np.array(words, np.uint64).view(np.int64)
        self.address: int = self.headers.ctypes.data
        self.numba_type = BlockType(type(arrays).__name__, tuple(fields))


class BlockType(types.Type):
    """Numba's type of a block: a name and the types of the fields, whatever their sizes."""

    def __init__(self, label: str, fields: tuple[tuple[str, types.Array], ...]) -> None:
        self.label = label
        self.fields = fields
        # The name goes into every compiled symbol: a digest keeps the symbols short, which halves compile time.
        digest = hashlib.sha256(repr([(n, str(t)) for n, t in fields]).encode()).hexdigest()
        super().__init__(name=f"{label}.{digest[:8]}")

    def offset(self, attribute: str) -> int:
        """Index of the first word of a field's header."""
        return sum(1 + 2 * t.ndim for _, t in self._before(attribute))

    def _before(self, attribute: str) -> Iterator[tuple[str, types.Array]]:
        for name, kind in self.fields:
            if name == attribute:
                return
            yield name, kind


@typeof_impl.register(Block)
def _typeof(value: Block, _context: Any) -> BlockType:
    return value.numba_type


@register_model(BlockType)
class _BlockModel(models.PrimitiveModel):  # type: ignore[misc]  # Numba has no type hints
    def __init__(self, dmm: Any, fe_type: BlockType) -> None:
        super().__init__(dmm, fe_type, ir.IntType(64).as_pointer())


@unbox(BlockType)
def _unbox(_typ: BlockType, value: Any, c: Any) -> NativeValue:
    address = c.pyapi.object_getattr_string(value, "address")
    pointer = c.pyapi.long_as_voidptr(address)
    c.pyapi.decref(address)
    return NativeValue(c.builder.bitcast(pointer, ir.IntType(64).as_pointer()))


@infer_getattr
class _BlockAttributes(AttributeTemplate):  # type: ignore[misc]
    key = BlockType

    def generic_resolve(self, typ: BlockType, attribute: str) -> types.Array | None:
        return dict(typ.fields).get(attribute)


@lower_getattr_generic(BlockType)
def _load_header(context: Any, builder: Any, typ: BlockType, value: Any, attribute: str) -> Any:
    array_type = dict(typ.fields)[attribute]
    first = typ.offset(attribute)
    invariant = builder.module.add_metadata([])

    def word(index: int) -> Any:
        load = builder.load(builder.gep(value, [ir.Constant(ir.IntType(64), first + index)]))
        load.set_metadata("invariant.load", invariant)
        return load

    ndim = array_type.ndim
    array = arrayobj.make_array(array_type)(context, builder)
    data = builder.inttoptr(word(0), context.get_data_type(array_type.dtype).as_pointer())
    arrayobj.populate_array(
        array,
        data=data,
        shape=cgutils.pack_array(builder, [word(1 + i) for i in range(ndim)]),
        strides=cgutils.pack_array(builder, [word(1 + ndim + i) for i in range(ndim)]),
        itemsize=context.get_constant(types.intp, context.get_abi_sizeof(context.get_data_type(array_type.dtype))),
        meminfo=None,
        parent=None,
    )
    return array._getvalue()
