"""A pass over dense features for few classes: each row is read once, for both of its products.

A library's products read the features twice and, ten columns wide, run at a fraction of their
rate. Here a tile of rows stays in cache from its scores to its part of the gradient, with the
classes in the lanes of one vector or two, and the weights padded to whole ones.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from bridle.kernels import thresholds
from bridle.kernels.numba.arguments import Coefficients, Scores, Target
from bridle.kernels.numba.compiling import inlined, kernel
from bridle.kernels.numba.lanes import (
    ROWS,
    Tile,
    exponentiate,
    find_gaps,
    find_largest,
    new_tile,
    write_gradient,
)
from bridle.kernels.numba.machine import borrowed
from bridle.kernels.numba.small_products import add_narrow_transposed, multiply_narrow
from bridle.kernels.numba.vectors import VECTOR_BYTES
from bridle.kernels.threads import for_ranges
from bridle.kernels.thresholds import PASS_SUMMED_ROWS

Array = npt.NDArray[Any]


class PassInput(NamedTuple):
    """What all threads read: flat arrays, the weights padded to whole vectors."""

    flat: Any  # (N · D,)
    depth: int
    weight: Any  # (D · width,)
    offset: Any  # (K,)
    index: Any  # (N,)
    share: Any  # (N,), or (1,) for all


class ThreadBuffers(NamedTuple):
    """What a thread writes: a tile's scores by row, the same transposed, and sums in the dtype."""

    z: Any  # (ROWS · width,)
    tile: Tile
    product: Any  # (D · width,)


class PassSums(NamedTuple):
    """What a pass over the rows adds up, in float64."""

    loss: float  # Σ s · loss
    worst_loss: float  # the largest loss of a row that counts
    product: Array  # (D, K): Σ s x (p − t)ᵀ
    residual: Array  # (K,): Σ s (p − t)


def pass_sums(
    features: Array,
    weight: Array,
    offset: Array,
    target: Array,
    sample_weight: Array | None,
    threads: int | None = None,
) -> PassSums:
    """Return the sums of cross-entropy and its gradient over all rows.

    Parameters
    ----------
    features
        (N, D) float32 or float64, row by row without gaps.
    weight, offset
        (D, K) and (K,), in the features' dtype: scores are ``features @ weight + offset``.
    target
        (N,) class indices.
    sample_weight
        (N,) float64, or None for ones.

    Examples
    --------
    >>> found = pass_sums(np.ones((2, 1)), np.zeros((1, 2)), np.zeros(2), np.array([0, 0]), None)
    >>> found.product, f"{found.loss:.4f}"
    (array([[-1.,  1.]]), '1.3863')
    """
    kind, (count, depth), classes = features.dtype, features.shape, weight.shape[1]
    lanes = VECTOR_BYTES // kind.itemsize
    width = -(-classes // lanes) * lanes
    padded = np.zeros((depth, width), kind)
    padded[:, :classes] = weight
    ranges = max(
        1,
        min(
            thresholds.PASS_RANGES,
            count // thresholds.PASS_SHORTEST_RANGE,
            thresholds.PASS_SUM_BYTES // (8 * depth * width),
        ),
    )
    edges = count * np.arange(ranges + 1) // ranges
    totals = np.zeros((ranges, 2))
    products, residuals = np.zeros((ranges, depth * width)), np.zeros((ranges, width))
    share = np.ones(1) if sample_weight is None else sample_weight
    data = _data(features, padded, offset, target, share)

    def work(first: int, last: int) -> None:
        buffers = ThreadBuffers(
            np.zeros(ROWS * width, kind), new_tile(classes, kind), np.zeros(depth * width, kind)
        )
        for part in range(first, last):
            begin, end = int(edges[part]), int(edges[part + 1])
            sums = products[part], residuals[part], totals[part]
            sum_rows(data, buffers, begin, end, *sums)

    for_ranges(work, ranges, features.size, threads)
    product = products.sum(axis=0).reshape(depth, width)[:, :classes]
    residual = residuals.sum(axis=0)[:classes]
    loss, worst = float(totals[:, 0].sum()), float(totals[:, 1].max())
    return PassSums(loss, worst, product, residual)


def _data(features: Array, padded: Array, offset: Array, target: Array, share: Array) -> PassInput:
    data = PassInput(
        flat=features.reshape(-1).view(),
        depth=features.shape[1],
        weight=padded.reshape(-1),
        offset=np.ascontiguousarray(offset, features.dtype),
        index=np.ascontiguousarray(target, np.int64).view(),
        share=np.ascontiguousarray(share, np.float64).view(),
    )
    for array in (data.flat, data.index, data.share):
        array.flags.writeable = False  # numba compiles once for them, whatever the caller has
    return data


@inlined
def _scores(data: Any, buffers: Any, begin: int, rows: int, width: int) -> None:
    """Write a tile's scores, transposed."""
    multiply_narrow(
        buffers.z, rows, data.flat, begin * data.depth, data.depth, data.weight, data.depth, width
    )
    classes = len(data.offset)
    for i in range(rows):
        for c in range(classes):
            buffers.tile.z[c, i] = buffers.z[i * width + c] + data.offset[c]


@inlined
def _add_losses(tile: Any, share: Any, begin: int, rows: int, totals: Any) -> None:
    for i in range(rows):
        weight = share[begin + i if share.size > 1 else 0]
        loss = tile.log_sum[i] + tile.gap[i]
        if weight > 0:
            totals[0] += weight * loss
            totals[1] = max(totals[1], loss)


@inlined
def _add_and_clear(product: Any, wide: Any) -> None:
    """Add a sum in the features' dtype to the one in float64, and begin it anew."""
    for j in range(len(product)):
        wide[j] += product[j]
        product[j] = 0


@kernel
def sum_rows(
    data: Any, buffers: Any, first: int, last: int, product: Any, residual: Any, totals: Any
) -> None:
    """Add what rows ``first`` to ``last`` contribute."""
    data, buffers = borrowed(data), borrowed(buffers)
    product, residual, totals = borrowed(product), borrowed(residual), borrowed(totals)
    width, classes, tile = len(residual), len(data.offset), buffers.tile
    kind = buffers.z.dtype.type
    scores = Scores(buffers.z, 0, width, classes, classes, 1, False, 0.0, 1.0, kind(1), kind(0))
    for begin in range(first, last, ROWS):
        rows = min(ROWS, last - begin)
        _scores(data, buffers, begin, rows, width)
        share = data.share[begin:] if data.share.size > 1 else data.share
        target = Target(True, data.index[begin:], data.weight, data.weight)
        find_largest(tile)
        find_gaps(scores, target, tile, 0, rows)
        exponentiate(scores, tile)
        _add_losses(tile, data.share, begin, rows, totals)
        coefficients = Coefficients(share, share, share, share)
        write_gradient(scores, target, tile, 0, rows, coefficients, scores)
        for i in range(rows):
            for c in range(classes):
                residual[c] += buffers.z[i * width + c]
        add_narrow_transposed(
            buffers.product, data.depth, data.flat, begin * data.depth, data.depth,
            buffers.z, rows, width,
        )  # fmt: skip
        if (begin - first) % PASS_SUMMED_ROWS == PASS_SUMMED_ROWS - ROWS:
            _add_and_clear(buffers.product, product)
    _add_and_clear(buffers.product, product)
