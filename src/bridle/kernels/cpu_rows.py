"""The entries of the CPU kernels: a range of jobs each, a job being one row or one block of a row.

A row is read once. Its chunks are reduced as they come, against the largest score so far; when a
larger one comes, the sums are brought to it, in float64.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numba.core import types

from bridle.kernels.chunks import (
    CHUNK,
    Shift,
    cap,
    count_equal,
    first_equal,
    largest,
    load,
    mask_equal,
    multiply,
    multiply_slope,
    store,
    subtract_soft,
    subtract_weights,
    sum_exponentials,
    sum_gaps,
    sum_mean_gap,
    sum_others,
    sum_soft_gaps,
    weigh_surprise,
    write_exponentials,
)
from bridle.kernels.compiling import implementation_of, inlined, kernel, source_revision
from bridle.kernels.exponential import (
    BIAS_32,
    BIAS_64,
    LOG_2_HIGH_64,
    LOG_2_LOW_64,
    LOWEST_32,
    LOWEST_64,
    NEAR,
    PER_LOG_2,
    log1p,
)
from bridle.kernels.machine import borrowed, prefetch

# Below this loss of the target, p − 1 has lost more than a digit and is computed as expm1(−loss).
NEAR_CERTAIN = 0.35
# Memory is asked for this many numbers ahead, once a cache line of (at least) so many numbers.
AHEAD = 2 * CHUNK
LINE = 16


class Scores(NamedTuple):
    """Where the scores lie and how they are bent.

    Row ``i`` is ``flat[start + i · step :][:columns]``; ``blocks`` blocks of ``block`` columns make
    a row. ``scale + scale_rest`` is 1 / temperature in two numbers of the accumulator's dtype.
    """

    flat: Any
    start: int
    step: int
    columns: int
    block: int
    blocks: int
    bfloat16: bool
    softcap: float
    temperature: float
    scale: Any
    scale_rest: Any


class Target(NamedTuple):
    """Class indices (N,), −1 for none; or distributions (N, C); and class weights (C,)."""

    hard: bool
    index: Any
    soft: Any
    weight: Any


class Wanted(NamedTuple):
    """Which parts are asked for beside those of the loss."""

    smoothing: bool
    entropy: bool
    argmax: bool


class Reduced(NamedTuple):
    """The parts of each job; those not asked for have no entries."""

    maximum: Any
    log_sum: Any
    gap: Any
    mass: Any
    smooth_gap: Any
    smooth_weight: Any
    allowed: Any
    mean_gap: Any
    argmax: Any


class Coefficients(NamedTuple):
    """What each row's gradient is made with; those not given have no entries."""

    a: Any
    b: Any
    s: Any
    t: Any


class Scratch(NamedTuple):
    """One thread's own memory: a chunk, the exponentials of a chunk or a row, their places."""

    z: Any
    e: Any
    places: Any
    sums: Any


# The places of `Scratch.sums`.
GAP, MASS, SMOOTH_GAP, SMOOTH_WEIGHT, ALLOWED, MEAN_GAP = range(6)


def unbias(z: Any) -> float:
    """Return the power of two that takes the bias from an exponential."""
    raise NotImplementedError


@implementation_of(unbias)
def _unbias(z: Any) -> Any:
    return _unbias_64 if z.dtype == types.float64 else _unbias_32


def _unbias_32(z: Any) -> float:
    _ = z  # its type is all
    return 2.0**-BIAS_32


def _unbias_64(z: Any) -> float:
    _ = z  # its type is all
    return 2.0**-BIAS_64


@inlined
def _load(scores: Any, row: int, begin: int, count: int, z: Any) -> None:
    start = scores.start + row * scores.step + begin
    load(scores.flat[start : start + count], scores.bfloat16, z)
    for j in range(0, count, LINE):
        prefetch(scores.flat, start + AHEAD + j)
    if scores.softcap > 0:
        cap(z, count, scores.softcap)


@inlined
def _store(d: Any, scores: Any, row: int, begin: int, count: int, out: Any) -> None:
    start = out.start + row * out.step + begin
    store(d, scores.bfloat16, out.flat[start : start + count])


def lowest_of(z: Any) -> float:
    """Return the difference from the maximum below which an exponential is 0."""
    raise NotImplementedError


@implementation_of(lowest_of)
def _lowest_of(z: Any) -> Any:
    return _lowest_64 if z.dtype == types.float64 else _lowest_32


def _lowest_32(z: Any) -> float:
    _ = z  # its type is all
    return np.float64(LOWEST_32)


def _lowest_64(z: Any) -> float:
    _ = z  # its type is all
    return np.float64(LOWEST_64)


@inlined
def _shift_to(best: Any, z: Any, scores: Any) -> Any:
    """Return a shift to the maximum ``best``, and the two parts of its place: there, or close by.

    A place by a power of two is a multiple of log 2, whose first part is exact: in one number it
    would be rounded at its own size, and the log-sum with it.
    """
    kind = z.dtype.type
    by_power = scores.temperature == 1.0 and abs(best) <= NEAR
    power = round(np.float64(best) * PER_LOG_2) if by_power else 0.0
    high = power * LOG_2_HIGH_64 if by_power else np.float64(best)
    low = power * LOG_2_LOW_64
    lowest = kind(np.float64(best) + lowest_of(z))
    shift = Shift(by_power, np.int32(power), lowest, best, scores.scale, scores.scale_rest)
    return shift, (high, low)


@inlined
def _lift(place: Any, best: Any) -> Any:
    """Return how far a place is above the maximum ``best``."""
    high, low = place
    return (high - np.float64(best)) + low


@inlined
def _raise_shift(sums: Any, rise: float, factor: float, mass: float) -> None:
    """Bring the sums of gaps to a maximum that is larger by ``rise``; ``factor = exp(−rise)``."""
    sums[GAP] += sums[MASS] * rise
    sums[SMOOTH_GAP] += sums[SMOOTH_WEIGHT] * rise
    sums[MEAN_GAP] = (sums[MEAN_GAP] + mass * rise) * factor if mass > 0 else 0.0


@inlined
def _add_gaps(
    scores: Any,
    target: Any,
    wanted: Any,
    scratch: Any,
    row: int,
    begin: int,
    e: Any,
    shift: Any,
    settle: float,
) -> None:
    """Add a chunk, of which ``e`` holds the exponentials, to the sums of gaps."""
    sums, z = scratch.sums, scratch.z
    count = min(CHUNK, scores.columns - begin)
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
        sums[MEAN_GAP] += sum_mean_gap(z, count, shift, e) * unbias(z) * settle


@inlined
def _reduce(
    scores: Any, target: Any, wanted: Any, scratch: Any, job: int, keep: bool, reduced: Any
) -> Any:
    """Find a job's parts; ``keep`` its exponentials too, each chunk's against its own shift.

    Return the largest score before temperature, the log-sum and the target's gap, unrounded.
    """
    row = job // scores.blocks
    low = (job - row * scores.blocks) * scores.block
    high = min(low + scores.block, scores.columns)
    z, sums = scratch.z, scratch.sums
    sums[:] = 0
    best, none = z.dtype.type(-np.inf), z.dtype.type(0)
    rest, ties, position = 0.0, 0.0, 0
    shift, place = _shift_to(none, z, scores)
    settle = 1.0
    for begin in range(low, high, CHUNK):
        count = min(CHUNK, high - begin)
        _load(scores, row, begin, count, z)
        top = largest(z, count)
        if not top <= best:  # larger, or NaN
            rise = np.float64(top) - np.float64(none if best == -np.inf else best)
            factor = math.exp(-rise / scores.temperature) if rest + ties > 0 else 0.0
            _raise_shift(sums, rise, factor, rest + ties)
            rest, ties, best = (rest + ties) * factor, 0.0, top
            shift, place = _shift_to(best, z, scores)
            settle = math.exp(_lift(place, best) / scores.temperature)
            if wanted.argmax:
                position = begin + first_equal(z, count, top)
        e = scratch.e[begin if keep else 0 :]
        written = keep or wanted.entropy
        if written:
            # Of classes that are all masked so far, every exponential is 0: no place is too low.
            chunk = begin // CHUNK if keep else 0
            scratch.places[chunk, 0] = -np.inf if best == -np.inf else place[0]
            scratch.places[chunk, 1] = place[1]
            write_exponentials(z, count, shift, z.dtype.type(1), e)
        if wanted.smoothing or wanted.entropy or not target.hard:
            _add_gaps(scores, target, wanted, scratch, row, begin, e, shift.score, settle)
        # The maximum's own 1, however often it occurs, stays out of the sum of the others.
        largest_here = top == best and best != -np.inf
        if largest_here:
            ties += count_equal(z, count, best)
        if written:
            rest += sum_others(e, z, count, best) * unbias(z) * settle
        else:
            if largest_here:
                mask_equal(z, count, best)
            rest += sum_exponentials(z, count, shift) * unbias(z) * settle
    if best == np.inf:
        rest = np.nan
    if target.hard:
        sums[GAP] = _target_gap(scores, z, row, low, high, target.index[row], best)
    if wanted.argmax:
        reduced.argmax[job] = position
    log_sum = log1p(ties - 1.0 + rest) if ties > 0 else np.nan
    _write_parts(scores.temperature, sums, target, wanted, job, best, rest + ties, log_sum, reduced)
    return best, log_sum, sums[GAP] / scores.temperature


@inlined
def _target_gap(scores: Any, z: Any, row: int, low: int, high: int, index: int, best: Any) -> float:
    """Return how far the target's score is below the largest; 0 without a target in this block."""
    if index < -1 or index >= scores.columns:
        return np.nan
    if index < low or index >= high:
        return 0.0
    _load(scores, row, index, 1, z)
    return np.float64(best) - np.float64(z[0])


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
    reduced: Any,
) -> None:
    """Write a job's parts: NaN if it has one, or has nothing that is not masked."""
    broken = np.nan if math.isnan(log_sum) else 0.0
    reduced.maximum[job] = np.nan if math.isnan(total) else best / temperature
    reduced.log_sum[job] = log_sum
    reduced.gap[job] = sums[GAP] / temperature + broken
    if not target.hard:
        reduced.mass[job] = sums[MASS]
    if wanted.smoothing:
        reduced.smooth_gap[job] = sums[SMOOTH_GAP] / temperature + broken
        reduced.smooth_weight[job] = sums[SMOOTH_WEIGHT]
        reduced.allowed[job] = np.int64(sums[ALLOWED])
    if wanted.entropy:
        reduced.mean_gap[job] = sums[MEAN_GAP] / total / temperature + broken


@inlined
def _largest_score(scores: Any, scratch: Any, maximum: Any, row: int) -> Any:
    """Return the largest score of a row before temperature.

    ``maximum`` is rounded after its division by the temperature: at a large offset the product
    would not be the score. Only a row in several blocks, each read by itself, makes do with it.
    """
    if scores.temperature == 1.0:
        return maximum
    if scores.blocks > 1:
        return scratch.z.dtype.type(maximum * scores.temperature)
    best = scratch.z.dtype.type(-np.inf)
    for begin in range(0, scores.columns, CHUNK):
        count = min(CHUNK, scores.columns - begin)
        _load(scores, row, begin, count, scratch.z)
        best = max(best, largest(scratch.z, count))
    return best


@inlined
def _fill(scores: Any, scratch: Any, job: int, value: float, out: Any) -> None:
    """Set a job's gradient to one value."""
    row = job // scores.blocks
    low = (job - row * scores.blocks) * scores.block
    high = min(low + scores.block, scores.columns)
    scratch.z[:] = value
    for begin in range(low, high, CHUNK):
        count = min(CHUNK, high - begin)
        _store(scratch.z, scores, row, begin, count, out)


@inlined
def _write_gradient(
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
    row = job // scores.blocks
    low = (job - row * scores.blocks) * scores.block
    high = min(low + scores.block, scores.columns)
    best, log_sum, gap = row_parts
    index = target.index[row] if target.hard else -1
    if abst == (0.0, 0.0, 0.0, 0.0):
        _fill(scores, scratch, job, 0.0, out)
        return
    if math.isnan(log_sum) or index < -1 or index >= scores.columns:
        _fill(scores, scratch, job, np.nan, out)
        return
    z, kind = scratch.z, scratch.z.dtype.type
    a, b, s, t = abst
    a, b, s, t = (
        a / scores.temperature,
        b / scores.temperature,
        s / scores.temperature,
        t / scores.temperature,
    )
    shift, place = _shift_to(best, z, scores)
    for begin in range(low, high, CHUNK):
        count = min(CHUNK, high - begin)
        d = scratch.e[begin if keep else 0 :]
        if keep:
            chunk = begin // CHUNK
            lift = _lift((scratch.places[chunk, 0], scratch.places[chunk, 1]), best)
            share = math.exp(lift / scores.temperature - log_sum)
            multiply(d, count, kind(a * share * unbias(z)))
            if s != 0 or scores.softcap > 0:
                _load(scores, row, begin, count, z)
        else:
            _load(scores, row, begin, count, z)
            lift = _lift(place, best) / scores.temperature
            share = (1.0 if b != 0 else a) * math.exp(lift - log_sum) * unbias(z)
            write_exponentials(z, count, shift, kind(share), d)
            if b != 0:
                weigh_surprise(d, z, count, best, scores.scale, kind(log_sum), (kind(a), kind(b)))
        if begin <= index < begin + count:
            loss = log_sum + gap
            # Beside a probability near 1, p − 1 would be little more than rounding.
            if loss < NEAR_CERTAIN:
                surprise = b * math.exp(-loss) * -loss
                d[index - begin] = a * math.expm1(-loss) + (a - t) + surprise
            else:
                d[index - begin] -= t
        if s != 0:
            subtract_weights(d, z, count, target.weight[begin:], kind(s))
        if not target.hard and t != 0:
            subtract_soft(d, count, target.weight[begin:], target.soft[row, begin:], kind(t))
        if scores.softcap > 0:
            multiply_slope(d, z, count, scores.softcap)
        _store(d, scores, row, begin, count, out)


@inlined
def borrowed_scores(scores: Any) -> Any:
    """Return the scores, their memory borrowed."""
    return Scores(
        borrowed(scores.flat),
        scores.start,
        scores.step,
        scores.columns,
        scores.block,
        scores.blocks,
        scores.bfloat16,
        scores.softcap,
        scores.temperature,
        scores.scale,
        scores.scale_rest,
    )


@inlined
def borrowed_target(target: Any) -> Any:
    """Return the target, its memory borrowed."""
    return Target(
        target.hard, borrowed(target.index), borrowed(target.soft), borrowed(target.weight)
    )


@inlined
def borrowed_scratch(scratch: Any) -> Any:
    """Return the scratch, its memory borrowed."""
    return Scratch(
        borrowed(scratch.z), borrowed(scratch.e), borrowed(scratch.places), borrowed(scratch.sums)
    )


@inlined
def at(values: Any, row: int) -> float:
    """Return a coefficient of a row; 0 where there is none."""
    return np.float64(values[row]) if values.size > 0 else 0.0


def _entries(revision: str) -> Any:
    """Return the compiled entries; they close over ``revision`` for numba's cache to see it."""

    @kernel
    def forward(
        scores: Any, target: Any, wanted: Any, scratch: Any, first: int, last: int, reduced: Any
    ) -> str:
        """Write the parts of jobs ``first`` to ``last``."""
        scores, target, scratch = (
            borrowed_scores(scores),
            borrowed_target(target),
            borrowed_scratch(scratch),
        )
        for job in range(first, last):
            _reduce(scores, target, wanted, scratch, job, False, reduced)
        return revision

    @kernel
    def backward(
        scores: Any,
        target: Any,
        scratch: Any,
        first: int,
        last: int,
        reduced: Any,
        coefficients: Any,
        out: Any,
    ) -> str:
        """Write the gradient of jobs ``first`` to ``last``."""
        scores, target, scratch = (
            borrowed_scores(scores),
            borrowed_target(target),
            borrowed_scratch(scratch),
        )
        out = borrowed_scores(out)
        for job in range(first, last):
            row = job // scores.blocks
            abst = (
                at(coefficients.a, row),
                at(coefficients.b, row),
                at(coefficients.s, row),
                at(coefficients.t, row),
            )
            best = reduced.maximum[row]
            if abst != (0.0, 0.0, 0.0, 0.0):
                best = _largest_score(scores, scratch, best, row)
            gap = np.float64(reduced.gap[row]) if target.hard else 0.0
            found = (best, np.float64(reduced.log_sum[row]), gap)
            _write_gradient(scores, target, scratch, job, False, found, abst, out)
        return revision

    @kernel
    def both(
        scores: Any,
        target: Any,
        wanted: Any,
        scratch: Any,
        first: int,
        last: int,
        reduced: Any,
        coefficients: Any,
        out: Any,
    ) -> str:
        """Write the parts and the gradient of jobs ``first`` to ``last``, each a whole row.

        ``s`` is spread evenly over the classes that are not masked (label smoothing).
        """
        scores, target, scratch = (
            borrowed_scores(scores),
            borrowed_target(target),
            borrowed_scratch(scratch),
        )
        out = borrowed_scores(out)
        for row in range(first, last):
            found = _reduce(scores, target, wanted, scratch, row, True, reduced)
            a, s, t = at(coefficients.a, row), at(coefficients.s, row), at(coefficients.t, row)
            if wanted.smoothing and s != 0:
                s = s / scratch.sums[ALLOWED]
                a = a + s * scratch.sums[SMOOTH_WEIGHT]
            _write_gradient(scores, target, scratch, row, True, found, (a, 0.0, s, t), out)
        return revision

    return forward, backward, both


forward, backward, both = _entries(source_revision())
