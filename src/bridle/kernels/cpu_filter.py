"""`bridle.kernels.residual_filter`, compiled by numba and threaded over rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba.core import types

from bridle.kernels.compiling import implementation_of, kernel, source_revision
from bridle.kernels.halves import from_bfloat16, from_float16, to_bfloat16, to_float16
from bridle.kernels.threads import for_ranges

Array = npt.NDArray[Any]


def filter_rows(
    residual: Array,
    threshold: Array,
    draws: Array | None,
    *,
    bfloat16: bool = False,
    threads: int | None = None,
) -> Array:
    """Filter ``residual`` (n, C) in place; return which columns (C,) have an entry left.

    Half precision comes as in `bridle.kernels.cpu.row_parts`.

    >>> residual = np.array([[0.5, 0.02, 0.03, -0.6]])
    >>> filter_rows(residual, np.array([0.1]), None)
    array([ True, False, False,  True])
    >>> residual
    array([[ 0.5,  0. ,  0. , -0.6]])
    """
    half = residual.dtype.name in ("float16", "bfloat16")
    plain = residual.view(np.uint16) if half else residual
    kept = np.zeros(plain.shape[1], np.bool_)
    levels = np.ascontiguousarray(threshold, np.float64)
    offsets = np.empty(0) if draws is None else np.ascontiguousarray(draws, np.float64)
    bfloat = bfloat16 or residual.dtype.name == "bfloat16"

    def work(first: int, last: int) -> None:
        _filter(plain, bfloat, levels, offsets, first, last, kept)

    for_ranges(work, len(plain), plain.size, threads)
    return kept


def read(number: Any, bfloat16: bool) -> float:
    """Return a number as float64."""
    raise NotImplementedError


@implementation_of(read)
def _read(number: Any, bfloat16: Any) -> Any:
    del bfloat16
    return _read_half if number == types.uint16 else _read_float


def _read_half(number: Any, bfloat16: Any) -> float:
    return np.float64(from_bfloat16(number) if bfloat16 else from_float16(number))


def _read_float(number: Any, bfloat16: Any) -> float:
    _ = bfloat16  # tells halves apart
    return np.float64(number)


def write(line: Any, place: int, number: float, bfloat16: bool) -> None:
    """Set an entry, rounded to the line's dtype."""
    raise NotImplementedError


@implementation_of(write)
def _write(line: Any, place: Any, number: Any, bfloat16: Any) -> Any:
    del place, number, bfloat16
    return _write_half if line.dtype == types.uint16 else _write_float


def _write_half(line: Any, place: Any, number: Any, bfloat16: Any) -> None:
    single = np.float32(number)
    line[place] = to_bfloat16(single) if bfloat16 else to_float16(single)


def _write_float(line: Any, place: Any, number: Any, bfloat16: Any) -> None:
    _ = bfloat16  # tells halves apart
    line[place] = number


def _entry(revision: str) -> Any:
    """Return the compiled entry; it closes over ``revision`` for numba's cache to see it."""

    @kernel
    def filter_range(
        residual: Any,
        bfloat16: bool,
        threshold: Any,
        draws: Any,
        first: int,
        last: int,
        kept: Any,
    ) -> str:
        """Filter rows ``first`` to ``last``, and mark the columns of what is left."""
        for row in range(first, last):
            line, level = residual[row], threshold[row]
            per_level = 1.0 / level if level > 0 else 0.0
            passed = draws[row] if draws.size > 0 else 0.0
            for column in range(line.size):
                number = read(line[column], bfloat16)
                if not abs(number) < level:  # a NaN stays
                    kept[column] |= number != 0.0
                    continue
                value = 0.0
                if draws.size > 0:
                    passed += abs(number) * per_level
                    if passed >= 1.0:
                        passed -= 1.0
                        value = level if number > 0 else -level
                        kept[column] = True
                write(line, column, value, bfloat16)
        return revision

    return filter_range


_filter = _entry(source_revision())
