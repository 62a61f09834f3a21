"""LLVM's operations on vectors, for building blocks that keep their sums in registers."""

from __future__ import annotations

from importlib import import_module
from typing import Any

# By name: neither has types to check against.
ir: Any = import_module("llvmlite.ir")
binding: Any = import_module("llvmlite.binding")

VECTOR_BYTES = 64 if binding.get_host_cpu_features().get("avx512f") else 32


class Vectors:
    """What LLVM calls the operations on vectors of one kind."""

    def __init__(self, number: Any, lanes: int, builder: Any) -> None:
        self._number, self._lanes, self._builder = number, lanes, builder
        self.kind = ir.VectorType(number, lanes)
        self.zero = ir.Constant(self.kind, [ir.Constant(number, 0.0)] * lanes)
        self._name = f"v{lanes}f{64 if isinstance(number, ir.DoubleType) else 32}"
        self._bits = ir.VectorType(ir.IntType(1), lanes)

    def splat(self, value: Any) -> Any:
        """Return a vector that holds one number in every place."""
        kind = ir.VectorType(value.type, self._lanes)
        first = self._builder.insert_element(
            ir.Constant(kind, ir.Undefined), value, ir.IntType(32)(0)
        )
        everywhere = ir.Constant(ir.VectorType(ir.IntType(32), self._lanes), [0] * self._lanes)
        return self._builder.shuffle_vector(first, ir.Constant(kind, ir.Undefined), everywhere)

    def mask(self, columns: Any) -> Any:
        """Tell which places lie below a number of columns."""
        kind = ir.VectorType(columns.type, self._lanes)
        places = ir.Constant(kind, list(range(self._lanes)))
        return self._builder.icmp_signed("<", places, self.splat(columns))

    def load(self, array: Any, place: Any, mask: Any) -> Any:
        """Read from a place on; what is masked is not read, and 0."""
        pointer = self._pointer(array, place)
        function = self._function(
            f"llvm.masked.load.{self._name}.p0",
            self.kind, [pointer.type, ir.IntType(32), self._bits, self.kind],
        )  # fmt: skip
        return self._builder.call(function, [pointer, self._alignment(), mask, self.zero])

    def store(self, value: Any, array: Any, place: Any, mask: Any) -> None:
        """Write from a place on; what is masked is not touched."""
        pointer = self._pointer(array, place)
        function = self._function(
            f"llvm.masked.store.{self._name}.p0",
            ir.VoidType(), [self.kind, pointer.type, ir.IntType(32), self._bits],
        )  # fmt: skip
        self._builder.call(function, [value, pointer, self._alignment(), mask])

    def multiply_add(self, left: Any, right: Any, term: Any) -> Any:
        """Return ``left · right + term``, rounded once where the machine can."""
        function = self._function(f"llvm.fmuladd.{self._name}", self.kind, [self.kind] * 3)
        return self._builder.call(function, [left, right, term])

    def _pointer(self, array: Any, place: Any) -> Any:
        return self._builder.bitcast(self._builder.gep(array, [place]), self.kind.as_pointer())

    def _alignment(self) -> Any:
        return ir.IntType(32)(8 if isinstance(self._number, ir.DoubleType) else 4)

    def _function(self, name: str, result: Any, arguments: Any) -> Any:
        return self._builder.module.declare_intrinsic(name, (), ir.FunctionType(result, arguments))
