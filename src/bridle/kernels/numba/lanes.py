"""The entry for few classes: a tile of 64 rows at a time, a row a lane.

A row of ten scores is too short for a vector. The tile is transposed: neighbours in memory are
the same class of 64 rows, and every loop runs across rows. It serves losses of class indices only;
everything else goes row by row.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba.core import types

from bridle.kernels.numba.arguments import at, unbias
from bridle.kernels.numba.compiling import implementation_of, inlined, kernel
from bridle.kernels.numba.exponential import exponential, log1p
from bridle.kernels.numba.halves import from_bfloat16, from_float16, to_bfloat16, to_float16
from bridle.kernels.numba.machine import borrowed

ROWS = 64


class Tile(NamedTuple):
    """One thread's own memory: the transposed scores (C, ROWS), and (ROWS,) arrays."""

    z: Any
    best: Any
    others: Any
    lost: Any
    ties: Any
    factor: Any
    log_sum: Any
    gap: Any


def new_tile(columns: int, kind: Any) -> Tile:
    """Return the memory of one thread."""
    return Tile(
        z=np.zeros((columns, ROWS), kind),
        best=np.empty(ROWS, kind),
        others=np.empty(ROWS),
        lost=np.empty(ROWS),
        ties=np.empty(ROWS),
        factor=np.empty(ROWS, kind),
        log_sum=np.empty(ROWS),
        gap=np.empty(ROWS),
    )


def load_lane(line: Any, bfloat16: bool, z: Any, lane: int) -> None:
    """Copy one row to its lane of the tile."""
    raise NotImplementedError


@implementation_of(load_lane)
def _load_lane(line: Any, bfloat16: Any, z: Any, lane: Any) -> Any:
    del bfloat16, z, lane
    return _load_lane_halves if line.dtype == types.uint16 else _load_lane_floats


def _load_lane_floats(line: Any, bfloat16: Any, z: Any, lane: Any) -> Any:
    _ = bfloat16  # tells halves apart
    for c in range(line.size):
        z[c, lane] = line[c]


def _load_lane_halves(line: Any, bfloat16: Any, z: Any, lane: Any) -> Any:
    for c in range(line.size):
        z[c, lane] = from_bfloat16(line[c]) if bfloat16 else from_float16(line[c])


def store_lane(z: Any, lane: int, bfloat16: bool, line: Any) -> None:
    """Copy a lane of the tile to its row."""
    raise NotImplementedError


@implementation_of(store_lane)
def _store_lane(z: Any, lane: Any, bfloat16: Any, line: Any) -> Any:
    del z, lane, bfloat16
    return _store_lane_halves if line.dtype == types.uint16 else _store_lane_floats


def _store_lane_floats(z: Any, lane: Any, bfloat16: Any, line: Any) -> Any:
    _ = bfloat16  # tells halves apart
    for c in range(line.size):
        line[c] = z[c, lane]


def _store_lane_halves(z: Any, lane: Any, bfloat16: Any, line: Any) -> Any:
    for c in range(line.size):
        line[c] = to_bfloat16(z[c, lane]) if bfloat16 else to_float16(z[c, lane])


@inlined
def line_of(matrix: Any, row: int, columns: int) -> Any:
    """Return a row of scores, or of what is to be written."""
    start = matrix.start + row * matrix.step
    return matrix.flat[start : start + columns]


@inlined
def find_largest(tile: Any) -> None:
    """Find each row's largest score, and what its exponentials are taken against."""
    z, best, shift = tile.z, tile.best, tile.factor
    for i in range(ROWS):
        best[i] = z[0, i]
    for c in range(1, len(z)):
        for i in range(ROWS):
            best[i] = z[c, i] if z[c, i] > best[i] else best[i]
    for i in range(ROWS):
        shift[i] = 0.0 if best[i] == -np.inf else best[i]


@inlined
def find_gaps(scores: Any, target: Any, tile: Any, first: int, rows: int) -> None:
    """Find how far each target's score is below the largest; NaN for a target that is no class."""
    for i in range(rows):
        index = target.index[first + i]
        tile.gap[i] = 0.0 if index == -1 else np.nan
        if 0 <= index < scores.columns:
            tile.gap[i] = np.float64(tile.best[i]) - np.float64(tile.z[index, i])


@inlined
def exponentiate(scores: Any, tile: Any) -> None:
    """Turn the scores to exponentials, and find the sum of all but 1 and its logarithm."""
    z, shift, others, lost, ties = tile.z, tile.factor, tile.others, tile.lost, tile.ties
    others[:] = 0
    lost[:] = 0
    ties[:] = 0
    for c in range(len(z)):
        for i in range(ROWS):
            tie = z[c, i] == shift[i]
            e = exponential(z[c, i], shift[i], scores.scale, scores.scale_rest)
            z[c, i] = e
            more = 0.0 if tie else np.float64(e)
            total = others[i] + more
            # What the addition rounded away (Knuth): among many classes it would add up.
            back = total - others[i]
            lost[i] += (others[i] - (total - back)) + (more - back)
            others[i] = total
            ties[i] += 1.0 if tie else 0.0
    for i in range(ROWS):
        # The maximum's own 1 stays out of the sum: beside it, a small rest would vanish.
        others[i] = (others[i] + lost[i]) * unbias(z) + (ties[i] - 1.0)
        log_sum = log1p(others[i])
        tile.log_sum[i] = np.nan if ties[i] == 0.0 or shift[i] == np.inf else log_sum


@inlined
def _write_parts(scores: Any, tile: Any, first: int, rows: int, job_parts: Any) -> None:
    for i in range(rows):
        log_sum = tile.log_sum[i]
        broken = np.nan if np.isnan(log_sum) else 0.0
        masked = tile.best[i] == -np.inf and tile.others[i] == -1.0
        job_parts.log_sum[first + i] = log_sum
        job_parts.gap[first + i] = tile.gap[i] / scores.temperature + broken
        job_parts.maximum[first + i] = (
            -np.inf if masked else np.float64(tile.best[i]) / scores.temperature + broken
        )


@inlined
def write_gradient(
    scores: Any, target: Any, tile: Any, first: int, rows: int, coefficients: Any, out: Any
) -> None:
    """Turn the exponentials to the gradient, and the tile back to rows."""
    z, factor = tile.z, tile.factor
    for i in range(rows):
        a = at(coefficients.a, first + i) / scores.temperature
        factor[i] = a * unbias(z) / (1.0 + tile.others[i])
    for c in range(len(z)):
        for i in range(ROWS):
            z[c, i] *= factor[i]
    for i in range(rows):
        index = target.index[first + i]
        a, t = at(coefficients.a, first + i), at(coefficients.t, first + i)
        line = line_of(out, first + i, scores.columns)
        if a == 0 and t == 0:
            z[:, i] = 0
        elif np.isnan(tile.gap[i]) or np.isnan(tile.log_sum[i]):
            z[:, i] = np.nan
        elif index >= 0 and tile.gap[i] == 0:
            # Beside a probability near 1, p − 1 would be little more than rounding.
            rest = tile.others[i] / (1.0 + tile.others[i])
            z[index, i] = ((a - t) - a * rest) / scores.temperature
        elif index >= 0:
            z[index, i] -= t / scores.temperature
        store_lane(z, i, scores.bfloat16, line)


@kernel
def lanes(
    scores: Any,
    target: Any,
    tile: Any,
    first: int,
    last: int,
    parts: bool,
    job_parts: Any,
    gradient: bool,
    coefficients: Any,
    out: Any,
) -> None:
    """Write the ``parts`` of rows ``first`` to ``last``, their ``gradient``, or both.

    The gradient takes no parts: a tile is so small that finding them again costs next to
    nothing, and they are not rounded.
    """
    scores, target, tile = borrowed(scores), borrowed(target), borrowed(tile)
    job_parts, coefficients, out = borrowed(job_parts), borrowed(coefficients), borrowed(out)
    for begin in range(first, last, ROWS):
        rows = min(ROWS, last - begin)
        for i in range(rows):
            load_lane(line_of(scores, begin + i, scores.columns), scores.bfloat16, tile.z, i)
        find_largest(tile)
        find_gaps(scores, target, tile, begin, rows)
        exponentiate(scores, tile)
        if parts:
            _write_parts(scores, tile, begin, rows, job_parts)
        if gradient:
            write_gradient(scores, target, tile, begin, rows, coefficients, out)
