"""Machine operations that Python lacks; each is vectorised in a loop."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np
from numba.core import types

from bridle.kernels.numba.compiling import implementation_of, instruction, reorderable

# By name: neither has types to check against.
ir: Any = import_module("llvmlite.ir")
cgutils: Any = import_module("numba.core.cgutils")


@reorderable
def add(total: Any, term: Any) -> Any:
    """Return the sum of two floats."""
    return total + term


@instruction
def multiply_add(_typing: Any, left: Any, right: Any, term: Any) -> Any:
    """``left · right + term``, rounded once where the machine can."""
    del right, term  # all of one type

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = context.get_value_type(signature.return_type)
        function = builder.module.declare_intrinsic(
            "llvm.fmuladd", [kind], ir.FunctionType(kind, [kind] * 3)
        )
        return builder.call(function, arguments)

    return left(left, left, left), generate


def _bitcast(source: Any, result: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], context.get_value_type(signature.return_type))

    return result(source), generate


@instruction
def bits(_typing: Any, number: Any) -> Any:
    """Return a float's bits as a signed integer of its width."""
    return _bitcast(number, types.int64 if number == types.float64 else types.int32)


@instruction
def from_bits(_typing: Any, number: Any) -> Any:
    """Return the float of these bits."""
    return _bitcast(number, types.float64 if number == types.int64 else types.float32)


@instruction
def borrowed(_typing: Any, value: Any) -> Any:
    """Return an array, or a named tuple's arrays, without their owners, which the caller keeps.

    Owned arrays count their references at each call and slice, with an atomic operation: in a
    short row that takes longer than the row.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _borrow(context, builder, signature.return_type, arguments[0])

    return value(value), generate


def _borrow(context: Any, builder: Any, kind: Any, value: Any) -> Any:
    if isinstance(kind, types.BaseTuple):
        kinds: Any = kind
        values = cgutils.unpack_tuple(builder, value)
        fields = [_borrow(context, builder, *each) for each in zip(kinds, values, strict=True)]
        return context.make_tuple(builder, kind, fields)
    if not isinstance(kind, types.Array):
        return value
    view = context.make_array(kind)(context, builder, value)
    view.meminfo = cgutils.get_null_value(view.meminfo.type)
    view.parent = cgutils.get_null_value(view.parent.type)
    return view._getvalue()


@instruction
def prefetch(_typing: Any, array: Any, index: Any) -> Any:
    """Ask for the memory of an entry, which need not exist: it will be read soon."""
    del index

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        view = context.make_array(signature.args[0])(context, builder, arguments[0])
        address = builder.gep(view.data, [arguments[1]])
        address = builder.bitcast(address, cgutils.voidptr_t)
        number = ir.IntType(32)
        function = builder.module.declare_intrinsic(
            "llvm.prefetch",
            [cgutils.voidptr_t],
            ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t, number, number, number]),
        )
        builder.call(function, [address, number(0), number(3), number(1)])
        return context.get_dummy_value()

    return types.none(array, types.intp), generate


def ordered(number: Any) -> Any:
    """Return an integer that is in the same order as the float; NaN is an end of the order.

    A float maximum becomes a vector only if NaN may be dropped; an integer maximum always does.
    """
    raise NotImplementedError


@implementation_of(ordered)
def _ordered(number: Any) -> Any:
    return _ordered_64 if number == types.float64 else _ordered_32


def _ordered_32(number: Any) -> Any:
    pattern = np.int32(bits(number))
    return np.int32(pattern ^ ((pattern >> np.int32(31)) & np.int32(0x7FFFFFFF)))


def _ordered_64(number: Any) -> Any:
    pattern = bits(number)
    return pattern ^ ((pattern >> np.int64(63)) & np.int64(0x7FFFFFFFFFFFFFFF))


def from_ordered(key: Any) -> Any:
    """Return the float of a key of `ordered`."""
    raise NotImplementedError


@implementation_of(from_ordered)
def _from_ordered(key: Any) -> Any:
    return _from_ordered_64 if key == types.int64 else _from_ordered_32


def _from_ordered_32(key: Any) -> Any:
    return from_bits(np.int32(key ^ ((key >> np.int32(31)) & np.int32(0x7FFFFFFF))))


def _from_ordered_64(key: Any) -> Any:
    return from_bits(key ^ ((key >> np.int64(63)) & np.int64(0x7FFFFFFFFFFFFFFF)))
