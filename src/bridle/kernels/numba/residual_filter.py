"""`bridle.kernels.numpy.residual_filter`, compiled by numba and threaded over rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba.core import types

from bridle.kernels import thresholds
from bridle.kernels.numba.chunks import widened
from bridle.kernels.numba.compiling import implementation_of, inlined, kernel
from bridle.kernels.numba.filtered_products import Entries
from bridle.kernels.numba.halves import from_bfloat16, from_float16, to_bfloat16, to_float16
from bridle.kernels.numba.machine import add, borrowed
from bridle.kernels.threads import for_ranges
from bridle.kernels.thresholds import FILTER_GROUP

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

    Half precision comes as in `bridle.kernels.numba.row_kernels.row_parts`.

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


def kept_entries(
    residual: Array,
    threshold: Array,
    draws: Array | None,
    *,
    bfloat16: bool = False,
    threads: int | None = None,
) -> Entries | None:
    """Return what `filter_rows` leaves of ``residual``, itself unchanged; entries of 0 are not.

    None where a row has more left than pays (see `thresholds.FILTER_SPARSE`).

    >>> residual = np.array([[0.5, 0.02, 0.03, -0.6]])
    >>> found = kept_entries(residual, np.array([0.1]), None)
    >>> found.places, found.values
    (array([0, 3], dtype=int32), array([ 0.5, -0.6]))
    """
    plain = residual.view(np.uint16) if residual.itemsize == 2 else residual
    rows, columns = plain.shape
    most_entries = (
        columns
        // (2 * thresholds.FILTER_SPARSE if plain.itemsize == 2 else thresholds.FILTER_SPARSE)
        + 2
    )
    kind = np.float64 if residual.dtype == np.float64 else np.float32
    counts, places = np.zeros(rows, np.int64), np.empty(rows * most_entries, np.int32)
    entries = Entries(
        np.arange(rows) * most_entries, counts, places, np.empty(rows * most_entries, kind)
    )
    levels = np.ascontiguousarray(threshold, np.float64)
    offsets = np.empty(0) if draws is None else np.ascontiguousarray(draws, np.float64)
    bfloat = bfloat16 or residual.dtype.name == "bfloat16"

    def work(first: int, last: int) -> None:
        _keep(plain, bfloat, levels, offsets, first, last, most_entries, entries)

    for_ranges(work, rows, plain.size, threads)
    return entries if (counts <= most_entries).all() else None


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


@kernel
def _filter(
    residual: Any,
    bfloat16: bool,
    threshold: Any,
    draws: Any,
    first: int,
    last: int,
    kept: Any,
) -> None:
    """Filter rows ``first`` to ``last``, and mark the columns of what is left."""
    for row in range(first, last):
        line, level = residual[row], threshold[row]
        per_level = 1.0 / level if level > 0 else 0.0
        carried = draws[row] if draws.size > 0 else 0.0
        for column in range(line.size):
            number = read(line[column], bfloat16)
            if not abs(number) < level:  # a NaN stays
                kept[column] |= number != 0.0
                continue
            value = 0.0
            if draws.size > 0:
                carried += abs(number) * per_level
                if carried >= 1.0:
                    carried -= 1.0
                    value = level if number > 0 else -level
                    kept[column] = True
            write(line, column, value, bfloat16)


@kernel
def _keep(
    residual: Any,
    bfloat16: bool,
    threshold: Any,
    draws: Any,
    first: int,
    last: int,
    most_entries: int,
    entries: Any,
) -> None:
    """Store the entries left of rows ``first`` to ``last``; a row stops above ``most_entries``."""
    residual, entries = borrowed(residual), borrowed(entries)
    drawn = draws.size > 0
    for row in range(first, last):
        line, level = residual[row], threshold[row]
        carried = draws[row] if drawn else 0.0
        per_level = 1.0 / level if drawn and level > 0 else 0.0
        places = entries.places[row * most_entries : (row + 1) * most_entries]
        values = entries.values[row * most_entries : (row + 1) * most_entries]
        count = 0
        for begin in range(0, line.size, FILTER_GROUP):
            group = line[begin : begin + FILTER_GROUP]
            if group.size == FILTER_GROUP:
                total, surely_small = sum_and_check(group, bfloat16, level, values)
                due = carried + total * per_level
                if surely_small and due < 1.0:
                    carried = due
                    continue
            for j in range(group.size):
                number = read(group[j], bfloat16)
                if abs(number) < level:
                    carried += abs(number) * per_level
                    if carried < 1.0:
                        continue
                    carried -= 1.0
                    number = level if number > 0 else -level
                if number == 0.0:
                    continue
                if count < most_entries:
                    places[count] = begin + j
                    values[count] = number
                count += 1
            if count > most_entries:
                break
        entries.counts[row] = count


@inlined
def sum_and_check(group: Any, bfloat16: bool, level: float, like: Any) -> Any:
    """Return the sum of a group's sizes, and whether all are surely below the level.

    Not surely, for rounding: the sum of the group and the level are in the dtype of ``like``.
    """
    kind = like.dtype.type
    bound, total, above_count = kind(level * (1 - 1e-6)), kind(0), np.int32(0)
    for j in range(FILTER_GROUP):
        size = abs(widened(group[j], bfloat16))
        total = add(total, size)
        above_count += np.int32(0) if size < bound else np.int32(1)
    return np.float64(total), above_count == 0
