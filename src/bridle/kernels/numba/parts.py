"""A row, or a block of one, is reduced to its parts.

First its largest score is found, which brings it from memory to the cache; then everything is
summed from there, chunk by chunk, while the next row is asked for.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from bridle.kernels.numba.arguments import extent, lowest_of, prefetch_chunk, read_chunk, unbias
from bridle.kernels.numba.chunks import (
    CHUNK,
    Shift,
    first_equal,
    largest,
    sum_exponentials,
    sum_gaps,
    sum_mean_gap,
    sum_others,
    sum_soft_gaps,
    write_exponentials,
)
from bridle.kernels.numba.compiling import inlined
from bridle.kernels.numba.exponential import (
    LOG_2_HIGH_64,
    LOG_2_LOW_64,
    NEAR,
    PER_LOG_2,
    log1p,
)

# The places of `Scratch.sums`.
GAP, MASS, SMOOTH_GAP, SMOOTH_WEIGHT, ALLOWED, MEAN_GAP = range(6)


@inlined
def shift_to(best: Any, z: Any, scores: Any) -> Any:
    """Return a shift to the maximum ``best`` or close to it, and how far above ``best`` it is.

    A power of two is a multiple of log 2, whose first part is exact: in one number it would be
    rounded at its own size, and the log-sum with it.
    """
    kind = z.dtype.type
    by_power = scores.temperature == 1.0 and abs(best) <= NEAR
    power = round(np.float64(best) * PER_LOG_2) if by_power else 0.0
    lift = (power * LOG_2_HIGH_64 - np.float64(best)) + power * LOG_2_LOW_64 if by_power else 0.0
    lowest = kind(np.float64(best) + lowest_of(z))
    shift = Shift(by_power, np.int32(power), lowest, best, scores.scale, scores.scale_rest)
    return shift, lift


@inlined
def _add_gaps(
    target: Any,
    wanted: Any,
    sums: Any,
    row: int,
    begin: int,
    z: Any,
    count: int,
    e: Any,
    shift: Any,
) -> None:
    """Add a chunk ``z``, of which ``e`` holds the exponentials, to the sums of gaps."""
    if wanted.smoothing:
        gap, mass, allowed = sum_gaps(z, count, shift, target.weight[begin:])
        sums[SMOOTH_GAP] += gap
        sums[SMOOTH_WEIGHT] += mass
        sums[ALLOWED] += allowed
    if not target.hard:
        gap, mass = sum_soft_gaps(z, count, shift, target.weight[begin:], target.soft[row, begin:])
        sums[GAP] += gap
        sums[MASS] += mass
    if wanted.entropy:
        sums[MEAN_GAP] += sum_mean_gap(z, count, shift, e)


@inlined
def largest_score(scores: Any, row: int, low: int, high: int, scratch: Any) -> Any:
    """Return the largest of a row's scores, before temperature; see `largest`."""
    best = scratch.dtype.type(-np.inf)
    for begin in range(low, high, CHUNK):
        count = min(CHUNK, high - begin)
        best = max(best, largest(read_chunk(scores, row, begin, count, scratch)))
    return best


@inlined
def reduce(
    scores: Any, target: Any, wanted: Any, scratch: Any, job: int, keep: bool, job_parts: Any
) -> Any:
    """Find a job's parts; ``keep`` its exponentials too.

    Return the largest score before temperature, the log-sum and the target's gap, unrounded.
    """
    row, low, high = extent(scores, job)
    sums, kind = scratch.sums, scratch.z.dtype.type
    sums[:] = 0
    index = target.index[row] if target.hard else -1
    rest, ties, position, target_score = 0.0, 0.0, -1, kind(0)
    best = largest_score(scores, row, low, high, scratch.z)
    # Of classes that are all masked every exponential is 0, whatever it is taken against.
    shift, lift = shift_to(kind(0) if best == -np.inf else best, scratch.z, scores)
    written = keep or wanted.entropy
    for begin in range(low, high, CHUNK):
        count = min(CHUNK, high - begin)
        z = read_chunk(scores, row, begin, count, scratch.z)
        prefetch_chunk(scores, row, begin)
        if begin <= index < begin + count:
            target_score = z[index - begin]
        e = scratch.e[begin if keep else 0 :]
        if written:
            write_exponentials(z, shift, kind(1), e)
            others, tops = sum_others(e, z, shift.score)
        else:
            others, tops = sum_exponentials(z, shift)
        if wanted.argmax and tops > 0 and position < 0:
            position = begin + first_equal(z, shift.score)
        if wanted.smoothing or wanted.entropy or not target.hard:
            _add_gaps(target, wanted, sums, row, begin, z, count, e, shift.score)
        rest += others
        ties += tops
    correction = math.exp(lift) * unbias(scratch.z)
    rest = np.nan if best == np.inf else rest * correction
    sums[MEAN_GAP] *= correction
    if target.hard:
        sums[GAP] = _target_gap(index, low, high, scores.columns, best, target_score)
    if wanted.argmax:
        job_parts.argmax[job] = max(position, 0)
    log_sum = log1p(ties - 1.0 + rest) if ties > 0 else np.nan
    _write_parts(
        scores.temperature, sums, target, wanted, job, best, rest + ties, log_sum, job_parts
    )
    return best, log_sum, sums[GAP] / scores.temperature


@inlined
def _target_gap(
    index: int, low: int, high: int, columns: int, best: Any, target_score: Any
) -> float:
    """Return how far the target's score is below the largest; 0 without a target in this block."""
    if index < -1 or index >= columns:
        return np.nan
    if index < low or index >= high:
        return 0.0
    return np.float64(best) - np.float64(target_score)


@inlined
def _write_parts(
    temperature: float,
    sums: Any,
    target: Any,
    wanted: Any,
    job: int,
    best: Any,
    total: float,
    log_sum: float,
    job_parts: Any,
) -> None:
    """Write a job's parts: NaN if it has one, or has nothing that is not masked."""
    broken = np.nan if math.isnan(log_sum) else 0.0
    job_parts.maximum[job] = np.nan if math.isnan(total) else best / temperature
    job_parts.log_sum[job] = log_sum
    job_parts.gap[job] = sums[GAP] / temperature + broken
    if not target.hard:
        job_parts.mass[job] = sums[MASS]
    if wanted.smoothing:
        job_parts.smooth_gap[job] = sums[SMOOTH_GAP] / temperature + broken
        job_parts.smooth_weight[job] = sums[SMOOTH_WEIGHT]
        job_parts.allowed[job] = np.int64(sums[ALLOWED])
    if wanted.entropy:
        job_parts.mean_gap[job] = sums[MEAN_GAP] / total / temperature + broken
