"""Products of a matrix with the few entries that a filter leaves of a block, compiled by numba.

A product over a block costs the same for an entry of 0 as for any other. Where one entry in a
hundred is left, it is quicker to go from entry to entry, and add that multiple of a line of the
other matrix: of the weight for the gradient in the features, of the features for that in the
weight. Entries lie by the line that they add to, so that threads share no line.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from bridle.kernels.numba.chunks import narrowed, widened
from bridle.kernels.numba.compiling import kernel
from bridle.kernels.numba.machine import borrowed, multiply_add
from bridle.kernels.threads import for_ranges

Array = npt.NDArray[Any]


class Entries(NamedTuple):
    """Entries of a sparse matrix, line by line; what lies between two lines means nothing.

    Line i has ``counts[i]`` entries, the first of them at ``starts[i]`` of ``places`` (the entry's
    position in its line, int32) and ``values`` (float32 or float64).
    """

    starts: Array
    counts: Array
    places: Array
    values: Array


def transposed(entries: Entries, length: int) -> Entries:
    """Return the entries of the transpose, for lines of ``length`` entries.

    >>> lines = Entries(np.array([0, 2]), np.array([2, 1]), np.int32([0, 2, 2]), np.ones(3))
    >>> transposed(lines, 3).counts
    array([1, 0, 2])
    """
    count = int(entries.counts.sum())
    counts = np.zeros(length, np.int64)
    places = np.empty(count, np.int32)
    values = np.empty(count, entries.values.dtype)
    starts = np.empty(length, np.int64)
    _transpose(entries, counts, starts, places, values)
    return Entries(starts, counts, places, values)


def add_products(
    entries: Entries,
    matrix: Array,
    out: Array,
    *,
    bfloat16: bool = False,
    threads: int | None = None,
) -> None:
    """Add the sparse matrix's product with ``matrix`` to ``out``, summed in the values' dtype.

    Half precision comes as in `bridle.kernels.numba.row_kernels.row_parts`; ``out`` has the dtype
    of ``matrix`` or that of the values.

    >>> lines = Entries(np.array([0, 1]), np.array([1, 0]), np.int32([1]), np.array([2.0]))
    >>> out = np.zeros((2, 2))
    >>> add_products(lines, np.eye(2), out)
    >>> out
    array([[0., 2.],
           [0., 0.]])
    """

    def plain(array: Array) -> Array:
        return array.view(np.uint16) if array.itemsize == 2 else array

    bfloat16 = bfloat16 or matrix.dtype.name == "bfloat16"

    def work(first: int, last: int) -> None:
        scratch = np.empty(out.shape[1], entries.values.dtype)
        _add(entries, plain(matrix), plain(out), bfloat16, scratch, first, last)

    numbers = int(entries.counts.sum()) * out.shape[1]
    for_ranges(work, len(out), numbers, threads)


@kernel
def _transpose(entries: Any, counts: Any, starts: Any, places: Any, values: Any) -> None:
    """Sort the entries by their places: count, find where each begins, and put them there."""
    entries = borrowed(entries)
    for line in range(entries.starts.size):
        first = entries.starts[line]
        for k in range(first, first + entries.counts[line]):
            counts[entries.places[k]] += 1
    begin = 0
    for place in range(counts.size):
        starts[place] = begin
        begin += counts[place]
        counts[place] = 0
    for line in range(entries.starts.size):
        first = entries.starts[line]
        for k in range(first, first + entries.counts[line]):
            place = entries.places[k]
            at = starts[place] + counts[place]
            counts[place] += 1
            places[at] = line
            values[at] = entries.values[k]


@kernel
def _add(
    entries: Any, matrix: Any, out: Any, bfloat16: bool, scratch: Any, first: int, last: int
) -> None:
    """Add to lines ``first`` to ``last`` of ``out``."""
    entries, matrix, out = borrowed(entries), borrowed(matrix), borrowed(out)
    width = scratch.size
    for line in range(first, last):
        if entries.counts[line] == 0:
            continue
        result = out[line]
        for j in range(width):
            scratch[j] = widened(result[j], bfloat16)
        begin = entries.starts[line]
        end = begin + entries.counts[line]
        paired = end - (end - begin) % 4
        for k in range(begin, paired, 4):
            # Four at a time: the sums are read and written once for all of them.
            u, v = entries.values[k], entries.values[k + 1]
            w, x = entries.values[k + 2], entries.values[k + 3]
            a, b = matrix[entries.places[k]], matrix[entries.places[k + 1]]
            c, d = matrix[entries.places[k + 2]], matrix[entries.places[k + 3]]
            for j in range(width):
                total = multiply_add(u, widened(a[j], bfloat16), scratch[j])
                total = multiply_add(v, widened(b[j], bfloat16), total)
                total = multiply_add(w, widened(c[j], bfloat16), total)
                scratch[j] = multiply_add(x, widened(d[j], bfloat16), total)
        for k in range(paired, end):
            value, source = entries.values[k], matrix[entries.places[k]]
            for j in range(width):
                scratch[j] = multiply_add(value, widened(source[j], bfloat16), scratch[j])
        for j in range(width):
            result[j] = narrowed(scratch[j], result, bfloat16)
