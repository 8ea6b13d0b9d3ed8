"""How the kernels get their arrays: one pointer to a block of array headers.

A compiled function that takes a named tuple of fifty arrays takes some five hundred machine words, at every call of
every small function of the day; compiling that takes minutes. A `Block` is the same named tuple behind one pointer:
`w.hub_can[h, row]` reads the header of `hub_can` (address, shape, strides) from the block, where the optimiser may
assume that headers never change. `Blocks` are many of them, one per copy or thread: `states[b]` is the block of the
slices [b] of all arrays, so that the stages of the day see one network and no batch axis.

The optimiser is also told which memory is which. The fields of a block are arrays of their own, so that a store into
one leaves what it has read from another as it is (LLVM's `!tbaa`). Numba does not say so by itself, and every constant
of a scenario would be read anew after each number that is written.

Fields are indexed without Python's wrap-around of negative indices, which no stage uses and which would cost two
instructions for every index. Blocks hold no references inside compiled code, so threads do not contend for counters;
the Python object keeps the arrays alive.
"""

from __future__ import annotations

import hashlib
import math
import operator
from collections.abc import Iterator, Sequence
from typing import Any

import llvmlite.ir as ir
import numba
import numpy as np
from numba.core import cgutils, types
from numba.core.typing import signature
from numba.core.typing.templates import AbstractTemplate, AttributeTemplate, infer_global
from numba.extending import (
    NativeValue,
    infer_getattr,
    lower_builtin,
    lower_getattr_generic,
    lower_setattr_generic,
    models,
    register_model,
    typeof_impl,
    unbox,
)
from numba.np import arrayobj
from numpy.typing import NDArray

from fabmesh.envs.network.compiler.checks import CHECKED, check_index, name_record

_WORD = ir.IntType(64)
_APART = ("State", "Scratch")
"""Blocks of which every array is a memory of its own. Those of other blocks that hold the same type may stand for each
other: a function that writes the observations of today or of an ended world is compiled once."""


class Block:
    """The arrays of a named tuple, as compiled functions take them. All must be C-contiguous.

    Args:
        arrays: A named tuple of arrays; its class names the type of the block.
    """

    def __init__(self, arrays: Any) -> None:
        label = type(arrays).__name__
        fields = tuple((name, _field_type(label, name, array)) for name, array in arrays._asdict().items())
        self._keep(arrays, [_header(array) for array in arrays], BlockType(label, fields))

    def _keep(self, arrays: Any, headers: Sequence[list[int]], numba_type: types.Type) -> None:
        self.arrays = arrays
        self.headers: NDArray[np.uint64] = np.array([word for header in headers for word in header], np.uint64)
        self.address: int = self.headers.ctypes.data
        self.numba_type = numba_type


class Blocks(Block):
    """Blocks of the slices of a named tuple of arrays along their common first axis; `blocks[i]` in compiled code.

    A slice of an array of one axis is an array of one element. Slices must be C-contiguous, whole arrays need not.
    """

    def __init__(self, arrays: Any) -> None:
        label, named = type(arrays).__name__, arrays._asdict().items()
        parts = [[a[i : i + 1] if a.ndim == 1 else a[i] for a in arrays] for i in range(len(arrays[0]))]
        fields = tuple((name, _field_type(label, name, part)) for (name, _), part in zip(named, parts[0], strict=True))
        headers = [_header(part) for block in parts for part in block]
        self._keep(arrays, headers, BlocksType(BlockType(label, fields)))

    def __getitem__(self, index: int) -> Block:
        """One of the blocks, to hand to a stage from Python."""
        block = Block.__new__(Block)
        block.arrays, block.headers, block.numba_type = self.arrays, self.headers, self.numba_type.block
        block.address = self.address + index * block.numba_type.words * self.headers.itemsize
        return block


def _field_type(label: str, name: str, array: NDArray[Any]) -> FieldType:
    if not array.flags.c_contiguous:
        raise ValueError(f"{name} is not C-contiguous")
    dtype = numba.typeof(array).dtype
    if isinstance(dtype, types.Record):
        dtype = FieldRecord(dtype)
        _name_records(dtype, f"{label}.{name}")
    return FieldType(dtype, array.ndim, f"{label}.{name if label in _APART or CHECKED else dtype}")


def _name_records(record: FieldRecord, field: str) -> None:
    name_record(record.name, field)
    for key in record.fields:
        if isinstance(part := record.typeof(key), FieldRecord):
            _name_records(part, f"{field}.{key}")


def _header(array: NDArray[Any]) -> list[int]:
    return [array.ctypes.data, *array.shape, *array.strides]


def _mark(instruction: Any, memory: str) -> Any:
    """Tells the optimiser where a load or a store goes: numbers kept under different names are never the same ones."""
    module = instruction.parent.parent.module
    leaf = module.add_metadata([memory, module.add_metadata(["fabmesh"]), ir.Constant(_WORD, 0)])
    instruction.set_metadata("tbaa", module.add_metadata([leaf, leaf, ir.Constant(_WORD, 0)]))
    return instruction


class FieldType(types.Array):
    """Numba's type of an array of a block: contiguous, and indexed from 0 only; `memory` names where it is kept.

    Arrays of one kind of record may stand for each other, whatever they are called: their members are marked by kind.
    """

    def __init__(self, dtype: types.Type, ndim: int, memory: str) -> None:
        self.memory = str(dtype) if isinstance(dtype, types.Record) else memory
        super().__init__(dtype, ndim, "C", name=f"field({_digest(str(dtype))}, {ndim}, {_digest(self.memory)})")

    @property
    def key(self) -> Any:
        """What makes two types the same: with checks, which name the field, also where the array is kept."""
        return (*super().key, self.memory) if CHECKED else super().key

    def copy(self, dtype: Any = None, ndim: Any = None, layout: Any = None, readonly: Any = None) -> types.Array:  # type: ignore[override]
        """The type of a part of the array; only a contiguous part is a field again."""
        if layout in (None, "C") and not readonly:
            return FieldType(dtype or self.dtype, self.ndim if ndim is None else ndim, self.memory)
        return super().copy(dtype, ndim, layout, readonly)


class FieldRecord(types.Record):
    """Numba's type of a record of a block: its nested arrays are fields and its nested records such records, too."""

    def __init__(self, record: types.Record) -> None:
        fields: Any = [(name, field._asdict()) for name, field in record.fields.items()]
        for _, field in fields:
            if isinstance(field["type"], types.Record):
                field["type"] = FieldRecord(field["type"])
        super().__init__(fields, record.size, record.aligned)
        self.name = f"record({_digest(self.name)})"

    def typeof(self, key: str) -> types.Type:
        """The type of a member."""
        kind = super().typeof(key)
        return FieldType(kind.dtype, kind.ndim, self.memory(key)) if isinstance(kind, types.NestedArray) else kind

    def memory(self, key: str) -> str:
        """Where a member is kept."""
        return f"{self.name}.{key}"

    def shape(self, key: str) -> tuple[int, ...]:
        """The shape of a nested array."""
        return tuple(super().typeof(key).shape)


class BlockType(types.Type):
    """Numba's type of a block: a name and the types of the fields, whatever their sizes."""

    def __init__(self, label: str, fields: tuple[tuple[str, FieldType], ...]) -> None:
        self.label = label
        self.fields = fields
        super().__init__(name=f"{label}.{_digest(repr([(n, str(t.dtype), t.ndim) for n, t in fields]))}")

    def offset(self, attribute: str) -> int:
        """Index of the first word of a field's header."""
        return sum(1 + 2 * t.ndim for _, t in self._before(attribute))

    @property
    def words(self) -> int:
        """Machine words of all headers."""
        return sum(1 + 2 * t.ndim for _, t in self.fields)

    def _before(self, attribute: str) -> Iterator[tuple[str, FieldType]]:
        for name, kind in self.fields:
            if name == attribute:
                return
            yield name, kind


class BlocksType(types.Type):
    """Numba's type of `Blocks`."""

    def __init__(self, block: BlockType) -> None:
        self.block = block
        super().__init__(name=f"{block.name}s")


def _digest(text: str) -> str:
    """The name of a type goes into every compiled symbol: a digest keeps symbols short, which halves compile time."""
    return hashlib.sha256(text.encode()).hexdigest()[:8]


@typeof_impl.register(Block)
def _typeof(value: Block, _context: Any) -> types.Type:
    return value.numba_type


@register_model(BlockType)
@register_model(BlocksType)
class _BlockModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, dmm: Any, fe_type: types.Type) -> None:
        super().__init__(dmm, fe_type, _WORD.as_pointer())


@register_model(FieldType)
class _FieldModel(models.ArrayModel):  # type: ignore[misc]
    pass


@register_model(FieldRecord)
class _RecordModel(models.RecordModel):  # type: ignore[misc]
    pass


@unbox(BlockType)
@unbox(BlocksType)
def _unbox(_typ: types.Type, value: Any, c: Any) -> NativeValue:
    address = c.pyapi.object_getattr_string(value, "address")
    pointer = c.pyapi.long_as_voidptr(address)
    c.pyapi.decref(address)
    return NativeValue(c.builder.bitcast(pointer, _WORD.as_pointer()))


@infer_getattr
class _BlockAttributes(AttributeTemplate):  # type: ignore[misc]
    key = BlockType

    def generic_resolve(self, typ: BlockType, attribute: str) -> types.Array | None:
        return dict(typ.fields).get(attribute)


@lower_getattr_generic(BlockType)
def _load_header(context: Any, builder: Any, typ: BlockType, value: Any, attribute: str) -> Any:
    field = dict(typ.fields)[attribute]
    first = typ.offset(attribute)
    invariant = builder.module.add_metadata([])

    def word(index: int) -> Any:
        load = builder.load(builder.gep(value, [ir.Constant(_WORD, first + index)]))
        load.set_metadata("invariant.load", invariant)
        return load

    array = arrayobj.make_array(field)(context, builder)
    arrayobj.populate_array(
        array,
        data=builder.inttoptr(word(0), context.get_data_type(field.dtype).as_pointer()),
        shape=cgutils.pack_array(builder, [word(1 + i) for i in range(field.ndim)]),
        strides=cgutils.pack_array(builder, [word(1 + field.ndim + i) for i in range(field.ndim)]),
        itemsize=_item_size(context, field),
        meminfo=None,
        parent=None,
    )
    return array._getvalue()


@infer_global(operator.getitem)
class _BlocksGetitem(AbstractTemplate):  # type: ignore[misc]
    def generic(self, args: Any, kws: Any) -> Any:
        blocks, index = args
        if isinstance(blocks, BlocksType) and isinstance(index, types.Integer):
            return signature(blocks.block, blocks, types.intp)
        return None


@lower_builtin(operator.getitem, BlocksType, types.Integer)
def _block_at(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    return builder.gep(args[0], [builder.mul(args[1], ir.Constant(_WORD, sig.return_type.words))])


@lower_builtin(operator.getitem, FieldType, types.Integer)
@lower_builtin(operator.getitem, FieldType, types.BaseTuple)
def _get_item(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    field, index = sig.args
    check_index(context, builder, field, index, args[0], args[1])
    if _is_element(field, index):
        pointer = _pointer(context, builder, field, index, args[0], args[1])
        if isinstance(field.dtype, types.Record):
            return pointer
        return _load(context, builder, field.dtype, pointer, field.memory)
    generic = arrayobj.getitem_array_tuple if isinstance(index, types.BaseTuple) else arrayobj.getitem_arraynd_intp
    return generic(context, builder, sig, args)


@lower_builtin(operator.setitem, FieldType, types.Any, types.Any)
def _set_item(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    field, index, kind = sig.args
    check_index(context, builder, field, index, args[0], args[1])
    if not _is_element(field, index):
        return arrayobj.setitem_array(context, builder, sig, args)
    pointer = _pointer(context, builder, field, index, args[0], args[1])
    if isinstance(field.dtype, types.Record):
        cgutils.raw_memcpy(builder, pointer, args[2], ir.Constant(_WORD, field.dtype.size), 1)
    else:
        _store(context, builder, field.dtype, context.cast(builder, args[2], kind, field.dtype), pointer, field.memory)
    return context.get_dummy_value()


@lower_getattr_generic(FieldRecord)
def _get_member(context: Any, builder: Any, record: FieldRecord, value: Any, key: str) -> Any:
    kind = record.typeof(key)
    pointer = _member(context, builder, record, value, key)
    if isinstance(kind, FieldRecord):
        return pointer
    if not isinstance(kind, FieldType):
        return _load(context, builder, kind, pointer, record.memory(key))
    shape = record.shape(key)
    sizes = [math.prod(shape[i + 1 :]) for i in range(len(shape))]
    item = _item_size(context, kind)
    array = arrayobj.make_array(kind)(context, builder)
    arrayobj.populate_array(
        array,
        data=pointer,
        shape=cgutils.pack_array(builder, [ir.Constant(_WORD, n) for n in shape]),
        strides=cgutils.pack_array(builder, [builder.mul(ir.Constant(_WORD, n), item) for n in sizes]),
        itemsize=item,
        meminfo=None,
        parent=None,
    )
    return array._getvalue()


@lower_setattr_generic(FieldRecord)
def _set_member(context: Any, builder: Any, sig: Any, args: Any, key: str) -> None:
    record, kind = sig.args
    member = record.typeof(key)
    pointer = _member(context, builder, record, args[0], key)
    _store(context, builder, member, context.cast(builder, args[1], kind, member), pointer, record.memory(key))


def _member(context: Any, builder: Any, record: FieldRecord, value: Any, key: str) -> Any:
    """Address of a member of a record."""
    kind = record.typeof(key)
    data = context.get_data_type(kind.dtype if isinstance(kind, FieldType) else kind)
    return cgutils.get_record_member(builder, value, record.offset(key), data)


def _load(context: Any, builder: Any, kind: types.Type, pointer: Any, memory: str) -> Any:
    load = _mark(builder.load(pointer), memory)
    return context.data_model_manager[kind].from_data(builder, load)


def _store(context: Any, builder: Any, kind: types.Type, value: Any, pointer: Any, memory: str) -> None:
    _mark(builder.store(context.data_model_manager[kind].as_data(builder, value), pointer), memory)


def _is_element(field: FieldType, index: types.Type) -> bool:
    parts = list(index) if isinstance(index, types.BaseTuple) else [index]
    return len(parts) == field.ndim and all(isinstance(part, types.Integer) for part in parts)


def _pointer(context: Any, builder: Any, field: FieldType, index: types.Type, array: Any, at: Any) -> Any:
    """Address of an element: data + sum of index x stride."""
    header = arrayobj.make_array(field)(context, builder, array)
    parts = list(index) if isinstance(index, types.BaseTuple) else [index]
    values = cgutils.unpack_tuple(builder, at, len(parts)) if isinstance(index, types.BaseTuple) else [at]
    strides = [*cgutils.unpack_tuple(builder, header.strides, field.ndim)[:-1], _item_size(context, field)]
    offset = ir.Constant(_WORD, 0)
    for kind, value, stride in zip(parts, values, strides, strict=True):
        step = builder.mul(context.cast(builder, value, kind, types.intp), stride, flags=["nsw"])
        offset = builder.add(offset, step, flags=["nsw"])
    data = builder.bitcast(header.data, ir.IntType(8).as_pointer())
    return builder.bitcast(builder.gep(data, [offset], inbounds=True), header.data.type)


def _item_size(context: Any, field: FieldType) -> Any:
    return context.get_constant(types.intp, context.get_abi_sizeof(context.get_data_type(field.dtype)))
