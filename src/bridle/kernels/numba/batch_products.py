"""Products of a batch of feature rows, dense or sparse, with the weights and errors of a layer.

Sparse rows are never made dense. Both products are sums over the numbers that are stored: weighted
inputs ``X w`` of a few columns, and the gradient ``Xᵀ δ`` of those weights. Which code is compiled
is decided by the type of the features: an array, or `SparseRows`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from numba.core import types

from bridle.kernels.numba.compiling import implementation_of
from bridle.kernels.numba.small_products import multiply


class SparseRows(NamedTuple):
    """A CSR matrix; entries of one place count together, in any order."""

    data: Any
    columns: Any  # int32
    starts: Any  # int64: the numbers of row i are those from starts[i] to starts[i + 1]


def gathered_width(features: Any, width: int) -> int:
    """Return how many numbers of a row `multiply_rows` copies: the whole row, or none."""
    raise NotImplementedError


@implementation_of(gathered_width)
def _gathered_width(features: Any, width: Any) -> Any:
    del width
    if isinstance(features, types.Array):
        return lambda features, width: width  # noqa: ARG005 - its type is all
    return lambda features, width: 0  # noqa: ARG005 - its type is all


def multiply_rows(features: Any, rows: Any, inputs: int, outputs: int, w: Any, out: Any) -> None:
    """Write the rows that are copied to the front of a flat array, and ``X w`` (B, outputs) next.

    ``w`` is flat too, and begins with the weights (inputs, outputs); ``rows`` are the batch's.
    """
    raise NotImplementedError


@implementation_of(multiply_rows)
def _multiply_rows(features: Any, rows: Any, inputs: Any, outputs: Any, w: Any, out: Any) -> Any:
    del rows, inputs, outputs, w, out
    return _multiply_dense if isinstance(features, types.Array) else _multiply_sparse


def _multiply_dense(features: Any, rows: Any, inputs: Any, outputs: Any, w: Any, out: Any) -> None:
    count = len(rows)
    copied = out[: count * inputs].reshape(count, inputs)
    for place in range(count):
        copied[place] = features[rows[place]]
    multiply(out, count * inputs, count, outputs, out, 0, inputs, 1, w, 0, inputs)


def _multiply_sparse(
    features: Any,
    rows: Any,
    inputs: Any,  # noqa: ARG001 - a dense row needs it
    outputs: Any,
    w: Any,
    out: Any,
) -> None:
    products = out[: len(rows) * outputs].reshape(len(rows), outputs)
    products[:] = 0
    for place in range(len(rows)):
        row = rows[place]
        for entry in range(features.starts[row], features.starts[row + 1]):
            x, start = features.data[entry], features.columns[entry] * outputs
            for k in range(outputs):
                products[place, k] += x * w[start + k]


def multiply_transposed_rows(
    features: Any, rows: Any, inputs: int, outputs: int, copied: Any, errors: Any, at: int, out: Any
) -> None:
    """Write ``Xᵀ δ`` (inputs, outputs) to the front of a flat array.

    ``copied`` begins with what `multiply_rows` copied; the errors (B, outputs) stand in a flat
    array from ``at`` on.
    """
    raise NotImplementedError


@implementation_of(multiply_transposed_rows)
def _multiply_transposed_rows(
    features: Any, rows: Any, inputs: Any, outputs: Any, copied: Any, errors: Any, at: Any, out: Any
) -> Any:
    del rows, inputs, outputs, copied, errors, at, out
    if isinstance(features, types.Array):
        return _multiply_transposed_dense
    return _multiply_transposed_sparse


def _multiply_transposed_dense(
    features: Any,  # noqa: ARG001 - the copy of a batch is in order
    rows: Any,
    inputs: Any,
    outputs: Any,
    copied: Any,
    errors: Any,
    at: Any,
    out: Any,
) -> None:
    multiply(out, 0, inputs, outputs, copied, 0, 1, inputs, errors, at, len(rows))


def _multiply_transposed_sparse(
    features: Any,
    rows: Any,
    inputs: Any,
    outputs: Any,
    copied: Any,  # noqa: ARG001 - of dense rows
    errors: Any,
    at: Any,
    out: Any,
) -> None:
    out[: inputs * outputs] = 0
    for place in range(len(rows)):
        row, error = rows[place], at + place * outputs
        for entry in range(features.starts[row], features.starts[row + 1]):
            x, start = features.data[entry], features.columns[entry] * outputs
            for k in range(outputs):
                out[start + k] += x * errors[error + k]
