"""The gradient of a row, from its parts and coefficients."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from bridle.kernels.numba.arguments import extent, prefetch_chunk, read_chunk, store_chunk, unbias
from bridle.kernels.numba.chunks import (
    CHUNK,
    multiply,
    multiply_slope,
    subtract_soft,
    subtract_weights,
    weigh_surprise,
    write_exponentials,
)
from bridle.kernels.numba.compiling import inlined
from bridle.kernels.numba.parts import largest_score, shift_to
from bridle.kernels.numpy.row_kernels import NEAR_CERTAIN


@inlined
def unrounded_maximum(scores: Any, scratch: Any, maximum: Any, row: int) -> Any:
    """Return the largest score of a row before temperature.

    ``maximum`` is rounded after its division by the temperature: at a large offset the product
    would not be the score. Only a row in several blocks, each read by itself, has to use it.
    """
    if scores.temperature == 1.0:
        return maximum
    if scores.blocks > 1:
        return scratch.z.dtype.type(maximum * scores.temperature)
    return largest_score(scores, row, 0, scores.columns, scratch.z)


@inlined
def _fill(scores: Any, scratch: Any, job: int, value: float, out: Any) -> None:
    """Set a job's gradient to one value."""
    row, low, high = extent(scores, job)
    scratch.z[:] = value
    for begin in range(low, high, CHUNK):
        count = min(CHUNK, high - begin)
        store_chunk(scratch.z, out, row, begin, count)


@inlined
def write_gradient(
    scores: Any,
    target: Any,
    scratch: Any,
    job: int,
    keep: bool,
    row_parts: Any,
    abst: Any,
    out: Any,
) -> None:
    """Write a job's gradient, from its row's (largest score, log_sum, gap) and (a, b, s, t)."""
    row, low, high = extent(scores, job)
    best, log_sum, gap = row_parts
    index = target.index[row] if target.hard else -1
    if abst == (0.0, 0.0, 0.0, 0.0):
        _fill(scores, scratch, job, 0.0, out)
        return
    if math.isnan(log_sum) or index < -1 or index >= scores.columns:
        _fill(scores, scratch, job, np.nan, out)
        return
    a, b, s, t = (
        abst[0] / scores.temperature,
        abst[1] / scores.temperature,
        abst[2] / scores.temperature,
        abst[3] / scores.temperature,
    )
    d, kind = scratch.d, scratch.z.dtype.type
    shift, lift = shift_to(best, d, scores)
    share = kind((1.0 if b != 0 else a) * math.exp(lift - log_sum) * unbias(d))
    for begin in range(low, high, CHUNK):
        count = min(CHUNK, high - begin)
        if not keep or s != 0 or scores.softcap > 0:
            z = read_chunk(scores, row, begin, count, scratch.z)
        else:
            z = scratch.z  # not read: for the type only
        if keep:
            multiply(scratch.e[begin:], share, d)
        else:
            prefetch_chunk(scores, row, begin)
            write_exponentials(z, shift, share, d)
            if b != 0:
                weigh_surprise(d, z, count, best, scores.scale, kind(log_sum), (kind(a), kind(b)))
        if begin <= index < begin + count:
            d[index - begin] = _at_target(d[index - begin], log_sum + gap, a, b, t)
        if s != 0:
            subtract_weights(d, z, count, target.weight[begin:], kind(s))
        if not target.hard and t != 0:
            subtract_soft(d, count, target.weight[begin:], target.soft[row, begin:], kind(t))
        if scores.softcap > 0:
            multiply_slope(d, z, count, scores.softcap)
        store_chunk(d, out, row, begin, count)


@inlined
def _at_target(slope: float, loss: float, a: float, b: float, t: float) -> float:
    """Return a target's slope less ``t``."""
    # Beside a probability near 1, p − 1 would be little more than rounding.
    if loss < NEAR_CERTAIN:
        return a * math.expm1(-loss) + (a - t) + b * math.exp(-loss) * -loss
    return slope - t
