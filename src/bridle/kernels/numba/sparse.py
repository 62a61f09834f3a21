"""A sparse matrix times a dense one, and what lies between two such products: compiled, threaded.

Rows are shared out in ranges of about as many entries each, and a row's sum is in the order of its
entries: no bit depends on the number of threads. A product with the transpose is the same kernel on
a transposed copy: adding to the lines of a result as the entries come was measured four times as
slow, and has threads add to the same line.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from bridle.kernels import thresholds
from bridle.kernels.numba.compiling import inlined, kernel
from bridle.kernels.numba.machine import add, borrowed
from bridle.kernels.numba.sparse_lines import add_row_product
from bridle.kernels.processors import available
from bridle.kernels.threads import (
    for_ranges,
)

Array = npt.NDArray[Any]


class Compressed(NamedTuple):
    """A sparse matrix by rows (CSR), cut into ranges of about equal work."""

    data: Array  # (entries,) float32 or float64
    indices: Array  # (entries,) int32 or int64, in any order, also twice in a row
    indptr: Array  # (N + 1,)
    edges: Array  # (ranges + 1,): the rows where the ranges begin


def compressed(matrix: Any) -> Compressed:
    """Return a SciPy matrix in CSR as the kernels take it; nothing is copied.

    Examples
    --------
    >>> from scipy import sparse
    >>> compressed(sparse.csr_array(np.eye(3))).edges[[0, -1]]
    array([0, 3])
    """
    return _balanced(matrix.data, matrix.indices, matrix.indptr)


def _balanced(data: Array, indices: Array, indptr: Array) -> Compressed:
    rows = len(indptr) - 1
    work = indptr[1:] + thresholds.SPARSE_ROW_AS_ENTRIES * np.arange(1, rows + 1)
    ranges = thresholds.RANGES_PER_THREAD * available()
    goals = (work[-1] if rows else 0) * np.arange(1, ranges) / ranges
    edges = np.unique(np.concatenate([[0], np.searchsorted(work, goals), [rows]]))
    return Compressed(data, indices, indptr, edges)


def transposed(matrix: Any) -> Compressed:
    """Return the transpose of a SciPy matrix in CSR, each row's entries in the matrix's order.

    Examples
    --------
    >>> from scipy import sparse
    >>> result = transposed(sparse.csr_array([[0.0, 2.0], [3.0, 4.0]]))
    >>> result.data, result.indices, result.indptr
    (array([3., 2., 4.]), array([1, 0, 1], dtype=int32), array([0, 1, 3]))
    """
    rows, width = matrix.shape
    pieces = min(available(), rows, max(1, len(matrix.data) // thresholds.NUMBERS_PER_THREAD))
    edges = [rows * piece // pieces for piece in range(pieces + 1)]
    # Where each piece of rows writes its next entry of each column.
    next_entry = np.zeros((pieces, width), np.int64)

    def count(first: int, last: int) -> None:
        for piece in range(first, last):
            begin, end = matrix.indptr[edges[piece]], matrix.indptr[edges[piece + 1]]
            _count(matrix.indices, begin, end, next_entry[piece])

    for_ranges(count, pieces, len(matrix.data), None)
    indptr = np.concatenate([[0], np.cumsum(next_entry.sum(axis=0))])
    next_entry[:] = indptr[:-1] + np.cumsum(next_entry, axis=0) - next_entry
    data = np.empty_like(matrix.data)
    # Few matrices have more rows than that, and a product waits for memory.
    indices = np.empty(len(data), np.int32 if rows < 2**31 else np.int64)

    def transpose(first: int, last: int) -> None:
        for piece in range(first, last):
            span = edges[piece], edges[piece + 1]
            _transpose(
                matrix.data, matrix.indices, matrix.indptr, *span, next_entry[piece], data, indices
            )

    for_ranges(transpose, pieces, len(matrix.data), None)
    return _balanced(data, indices, indptr)


def add_squares(
    matrix: Compressed, mean: Array, weight: Array, squares: Array, stored_weight: Array
) -> None:
    """Add to each row's sums over its entries: see `bridle.kernels.numpy.sparse`.

    Entries of one place, which must be neighbours, are added first.

    Examples
    --------
    >>> from scipy import sparse
    >>> squares, stored_weight = np.zeros(1), np.zeros(1)
    >>> matrix = compressed(sparse.csr_array([[3.0, 0.0]]))
    >>> add_squares(matrix, np.array([1.0]), np.array([2.0, 2.0]), squares, stored_weight)
    >>> squares, stored_weight
    (array([8.]), array([2.]))
    """

    def work(first: int, last: int) -> None:
        begin, end = matrix.edges[first], matrix.edges[last]
        _add_squares(*matrix[:3], begin, end, mean, weight, squares, stored_weight)

    for_ranges(work, len(matrix.edges) - 1, len(matrix.data), None)


def add_by_class(matrix: Compressed, target: Array, weight: Array, out: Array) -> None:
    """Add each row's ``Σ_i s_i x_i`` over the columns of each class to ``out`` (D, K).

    Examples
    --------
    >>> from scipy import sparse
    >>> out = np.zeros((1, 2))
    >>> matrix = compressed(sparse.csr_array([[3.0, 4.0, 5.0]]))
    >>> add_by_class(matrix, np.array([1, 0, 1]), np.ones(3), out)
    >>> out
    array([[4., 8.]])
    """

    def work(first: int, last: int) -> None:
        begin, end = matrix.edges[first], matrix.edges[last]
        _add_by_class(*matrix[:3], begin, end, target, weight, out)

    for_ranges(work, len(matrix.edges) - 1, len(matrix.data), None)


def add_product(
    matrix: Compressed, dense: Array, out: Array, *, threads: int | None = None
) -> None:
    """Add ``matrix @ dense`` to ``out`` (N, K).

    Parameters
    ----------
    dense, out
        (D, K) and (N, K), row by row, both float32 or both float64; the entries are converted.
    threads
        At most so many; by default, one for each core. The result does not depend on it.

    Examples
    --------
    >>> from scipy import sparse
    >>> out = np.ones((2, 1))
    >>> add_product(compressed(sparse.csr_array(np.eye(2))), np.array([[1.0], [2.0]]), out)
    >>> out
    array([[2.],
           [3.]])
    """
    columns = out.shape[1]
    flat = dense.reshape(-1), out.reshape(-1)

    def work(first: int, last: int) -> None:
        begin, end = matrix.edges[first], matrix.edges[last]
        _add_product(*matrix[:3], begin, end, columns, *flat)

    numbers = (len(matrix.data) + thresholds.SPARSE_ROW_AS_ENTRIES * len(out)) * columns
    for_ranges(work, len(matrix.edges) - 1, numbers, threads)


def multiply_by_hessian(
    scores: Array,
    residual: Array,
    target: Array,
    weight: Array | None,
    *,
    threads: int | None = None,
) -> None:
    """Multiply each row of scores by the Hessian of its loss: see `bridle.kernels.numpy.sparse`.

    Examples
    --------
    >>> scores = np.array([[1.0, 0.0]])
    >>> multiply_by_hessian(scores, np.array([[-0.5, 0.5]]), np.array([0]), None)
    >>> scores
    array([[ 0.25, -0.25]])
    """
    rows, columns = scores.shape
    hard = target.ndim == 1
    index = target if hard else np.zeros(0, np.int64)
    soft = target.reshape(-1) if not hard else np.zeros(0)
    shares = np.zeros(0) if weight is None else weight
    flat = scores.reshape(-1), residual.reshape(-1)

    def work(first: int, last: int) -> None:
        mass = np.empty(columns, scores.dtype)
        _multiply_by_hessian(*flat, index, soft, shares, mass, first, last)

    for_ranges(work, rows, rows * columns, threads)


@kernel
def _add_product(
    data: Any, indices: Any, indptr: Any, first: int, last: int, columns: int, dense: Any, out: Any
) -> None:
    data, indices, dense, out = borrowed(data), borrowed(indices), borrowed(dense), borrowed(out)
    for row in range(first, last):
        add_row_product(
            out, row * columns, dense, columns, data, indices, indptr[row], indptr[row + 1]
        )


@kernel
def _count(indices: Any, first: int, last: int, counts: Any) -> None:
    for entry in range(first, last):
        counts[indices[entry]] += 1


@kernel
def _transpose(
    data: Any, indices: Any, indptr: Any, first: int, last: int,
    places: Any, transposed_data: Any, rows: Any,
) -> None:  # fmt: skip
    for row in range(first, last):
        for entry in range(indptr[row], indptr[row + 1]):
            place = places[indices[entry]]
            places[indices[entry]] = place + 1
            transposed_data[place] = data[entry]
            rows[place] = row


@kernel
def _add_by_class(
    data: Any, indices: Any, indptr: Any, first: int, last: int, target: Any, weight: Any, out: Any
) -> None:
    for row in range(first, last):
        for entry in range(indptr[row], indptr[row + 1]):
            column = indices[entry]
            out[row, target[column]] += weight[column] * data[entry]


@kernel
def _add_squares(
    data: Any, indices: Any, indptr: Any, first: int, last: int,
    mean: Any, weight: Any, squares: Any, stored_weight: Any,
) -> None:  # fmt: skip
    for row in range(first, last):
        square, mass, value = 0.0, 0.0, -mean[row]
        for entry in range(indptr[row], indptr[row + 1]):
            value += data[entry]
            column = indices[entry]
            if entry + 1 == indptr[row + 1] or indices[entry + 1] != column:
                square += weight[column] * value * value
                mass += weight[column]
                value = -mean[row]
        squares[row] += square
        stored_weight[row] += mass


@kernel
def _multiply_by_hessian(
    scores: Any, residual: Any, index: Any, soft: Any, weight: Any, mass: Any, first: int, last: int
) -> None:
    columns = len(mass)
    for row in range(first, last):
        begin, end = row * columns, (row + 1) * columns
        row_weight = weight[row] if len(weight) else 1.0
        for k in range(columns):
            mass[k] = residual[begin + k]
        if len(soft):
            for k in range(columns):
                mass[k] += row_weight * soft[begin + k]
        else:
            target = index[row]
            mass[target] = residual[begin + target] + row_weight
        _multiply_row_by_hessian(scores[begin:end], mass, row_weight)


@inlined
def _multiply_row_by_hessian(z: Any, mass: Any, row_weight: float) -> None:
    """Set ``z`` to ``mass · (z − mean)``, with the mean under ``mass / row_weight``."""
    heaviest = 0
    for k in range(len(mass)):
        heaviest = k if mass[k] > mass[heaviest] else heaviest
    # About the score that has most of the mass nothing cancels, however sure the model is.
    shift, total = z[heaviest], z.dtype.type(0)
    for k in range(len(mass)):
        z[k] -= shift
        total = add(total, mass[k] * z[k])
    mean = z.dtype.type(total / row_weight if row_weight > 0 else 0.0)
    for k in range(len(mass)):
        z[k] = mass[k] * (z[k] - mean)
