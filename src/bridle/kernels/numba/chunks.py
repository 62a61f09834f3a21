"""What is done to a chunk of a row: `CHUNK` scores, always, so that every loop has a fixed length.

A whole chunk of plain floats is read where it lies. Everything else passes through a scratch array
of the accumulator's dtype: half precision, capped scores, and a row's last chunk, which is filled
with −inf, for that adds nothing to any sum. What is written goes through a scratch array too:
output that may be the input would block the loop's SIMD vectorisation.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba.core import types

from bridle.kernels.numba.compiling import implementation_of, inlined
from bridle.kernels.numba.exponential import BIAS_64, exponential, power_exponential
from bridle.kernels.numba.halves import from_bfloat16, from_float16, to_bfloat16, to_float16
from bridle.kernels.numba.machine import add, from_ordered, ordered

# Eight vectors of the widest machine: long enough to hide an operation's delay, and so short that
# the loops are unrolled whole. No lane adds more than a few numbers before its sum goes on in
# float64.
CHUNK = 128

# Every array below begins where the chunk begins: an index ``begin + j`` could be negative for all
# that numba knows, and would make a gather of each load.


def read(line: Any, bfloat16: bool, scratch: Any) -> Any:
    """Return a chunk of numbers of the accumulator's dtype: ``line`` itself, or ``scratch``."""
    raise NotImplementedError


@implementation_of(read)
def _read(line: Any, bfloat16: Any, scratch: Any) -> Any:
    del bfloat16, scratch
    return _read_halves if line.dtype == types.uint16 else _read_floats


def _read_floats(line: Any, bfloat16: Any, scratch: Any) -> Any:
    if line.size == CHUNK:
        return line
    load(line, bfloat16, scratch)
    return scratch


def _read_halves(line: Any, bfloat16: Any, scratch: Any) -> Any:
    load(line, bfloat16, scratch)
    return scratch


@inlined
def load(line: Any, bfloat16: bool, z: Any) -> None:
    """Copy ``line`` to ``z`` in the accumulator's dtype, and pad it."""
    if line.size == CHUNK:
        for j in range(CHUNK):
            z[j] = widened(line[j], bfloat16)
    else:
        lowest = z.dtype.type(-np.inf)
        for j in range(CHUNK):
            z[j] = widened(line[j], bfloat16) if j < line.size else lowest


def widened(number: Any, bfloat16: bool) -> Any:
    """Return a number in the accumulator's dtype."""
    raise NotImplementedError


@implementation_of(widened)
def _widened(number: Any, bfloat16: Any) -> Any:
    del bfloat16
    return _widened_half if number == types.uint16 else _as_it_is


def _as_it_is(number: Any, bfloat16: Any) -> Any:
    _ = bfloat16  # tells halves apart
    return number


def _widened_half(number: Any, bfloat16: Any) -> Any:
    return from_bfloat16(number) if bfloat16 else from_float16(number)


@inlined
def store(d: Any, bfloat16: bool, line: Any) -> None:
    """Fill ``line`` with the first numbers of ``d``, rounded to the nearest, ties to even."""
    if line.size == CHUNK:
        for j in range(CHUNK):
            line[j] = narrowed(d[j], line, bfloat16)
    else:
        for j in range(CHUNK):
            if j < line.size:
                line[j] = narrowed(d[j], line, bfloat16)


def narrowed(number: Any, line: Any, bfloat16: bool) -> Any:
    """Return a number of the accumulator's dtype as ``line`` holds it."""
    raise NotImplementedError


@implementation_of(narrowed)
def _narrowed(number: Any, line: Any, bfloat16: Any) -> Any:
    del number, bfloat16
    return _narrowed_half if line.dtype == types.uint16 else _unchanged


def _unchanged(number: Any, line: Any, bfloat16: Any) -> Any:
    _ = line, bfloat16  # the line's type is all
    return number


def _narrowed_half(number: Any, line: Any, bfloat16: Any) -> Any:
    _ = line  # its type is all
    return to_bfloat16(number) if bfloat16 else to_float16(number)


@inlined
def cap(z: Any, softcap: float, bent: Any) -> None:
    """Set ``bent`` to ``softcap · tanh(z / softcap)``; what is not finite stays as it is.

    In float64: the difference of two capped float32 scores is then as exact as the scores are.
    """
    for j in range(CHUNK):
        score = np.float64(z[j])
        small = exponential(-2 * abs(score) / softcap, 0.0, 1.0, 0.0) * 2.0**-BIAS_64
        size = softcap * (1 - small) / (1 + small)
        signed = -size if score < 0 else size
        bent[j] = signed if abs(score) < np.inf else score


@inlined
def largest(z: Any) -> Any:
    """Return the largest number; NaN may be it, or be passed over."""
    best = ordered(z[0])
    for j in range(CHUNK):
        best = max(best, ordered(z[j]))
    return from_ordered(best)


@inlined
def first_equal(z: Any, value: Any) -> int:
    """Return the first position of ``value``; 0 if it is nowhere (NaN)."""
    for j in range(CHUNK):
        if z[j] == value:
            return j
    return 0


class Shift(NamedTuple):
    """What the exponentials of a chunk are taken against, and ``scale + scale_rest`` = 1 / T.

    ``by_power`` of two, which is quick, or by the ``score`` itself, which is always right.
    """

    by_power: bool
    power: Any
    lowest: Any
    score: Any
    scale: Any
    scale_rest: Any


@inlined
def sum_exponentials(z: Any, shift: Any) -> Any:
    """Return the sum of the biased exponentials but the largest's, and how often that occurs.

    The largest's own 1 stays out of the sum: beside it, a small rest would vanish.
    """
    zero, one = z.dtype.type(0), z.dtype.type(1)
    rest, ties = zero, zero
    if shift.by_power:
        for j in range(CHUNK):
            e = power_exponential(z[j], shift.power, shift.lowest)
            rest = add(rest, zero if z[j] == shift.score else e)
            ties = add(ties, one if z[j] == shift.score else zero)
    else:
        for j in range(CHUNK):
            e = exponential(z[j], shift.score, shift.scale, shift.scale_rest)
            rest = add(rest, zero if z[j] == shift.score else e)
            ties = add(ties, one if z[j] == shift.score else zero)
    return np.float64(rest), np.float64(ties)


@inlined
def write_exponentials(z: Any, shift: Any, factor: Any, e: Any) -> None:
    """Set ``e`` to the biased exponentials times ``factor``."""
    if shift.by_power:
        for j in range(CHUNK):
            e[j] = power_exponential(z[j], shift.power, shift.lowest) * factor
    else:
        for j in range(CHUNK):
            e[j] = exponential(z[j], shift.score, shift.scale, shift.scale_rest) * factor


@inlined
def sum_others(e: Any, z: Any, largest_score: Any) -> Any:
    """Return what `sum_exponentials` does, of exponentials that are there already."""
    zero, one = z.dtype.type(0), z.dtype.type(1)
    rest, ties = zero, zero
    for j in range(CHUNK):
        rest = add(rest, zero if z[j] == largest_score else e[j])
        ties = add(ties, one if z[j] == largest_score else zero)
    return np.float64(rest), np.float64(ties)


@inlined
def multiply(e: Any, factor: Any, d: Any) -> None:
    """Set ``d`` to every number times ``factor``."""
    for j in range(CHUNK):
        d[j] = e[j] * factor


@inlined
def sum_gaps(z: Any, count: int, shift: Any, weight: Any) -> Any:
    """Return ``Σ w · (shift − z)``, ``Σ w`` and the number of all classes that are not masked."""
    zero, one = z.dtype.type(0), z.dtype.type(1)
    gap, mass, allowed = zero, zero, zero
    for j in range(count):
        free = z[j] != -np.inf
        w = weight[j]
        gap = add(gap, w * (shift - z[j]) if free else zero)
        mass = add(mass, w if free else zero)
        allowed = add(allowed, one if free else zero)
    return gap, mass, allowed


@inlined
def sum_soft_gaps(z: Any, count: int, shift: Any, weight: Any, soft: Any) -> Any:
    """Return ``Σ w · t · (shift − z)`` and ``Σ w · t``, where no mass times +inf is nothing."""
    zero = z.dtype.type(0)
    gap, mass = zero, zero
    for j in range(count):
        part = weight[j] * soft[j]
        gap = add(gap, zero if part == zero else part * (shift - z[j]))
        mass = add(mass, part)
    return gap, mass


@inlined
def sum_mean_gap(z: Any, count: int, shift: Any, e: Any) -> Any:
    """Return ``Σ e · (shift − z)``, where no exponential times +inf is nothing."""
    zero = z.dtype.type(0)
    gap = zero
    for j in range(count):
        gap = add(gap, zero if e[j] == zero else e[j] * (shift - z[j]))
    return gap


@inlined
def weigh_surprise(
    d: Any, z: Any, count: int, maximum: Any, scale: Any, log_sum: Any, ratio: Any
) -> None:
    """Multiply ``d`` by ``log p``·``ratio[1]`` + ``ratio[0]``; 0 stays 0."""
    zero = z.dtype.type(0)
    for j in range(count):
        log_p = (z[j] - maximum) * scale - log_sum
        d[j] = zero if d[j] == zero else d[j] * (ratio[0] + ratio[1] * log_p)


@inlined
def subtract_weights(d: Any, z: Any, count: int, weight: Any, s: Any) -> None:
    """Subtract ``s · w`` from every class that is not masked."""
    zero = z.dtype.type(0)
    for j in range(count):
        d[j] -= s * weight[j] if z[j] != -np.inf else zero


@inlined
def subtract_soft(d: Any, count: int, weight: Any, soft: Any, t: Any) -> None:
    """Subtract ``t · w · target``."""
    for j in range(count):
        d[j] -= t * weight[j] * soft[j]


@inlined
def multiply_slope(d: Any, z: Any, count: int, softcap: float) -> None:
    """Multiply by the slope of `cap`: ``1 − (z / softcap)²``, and 0 at a masked class."""
    for j in range(count):
        bent = np.float64(z[j]) / softcap
        d[j] *= (1 - bent) * (1 + bent) if abs(bent) < np.inf else 0.0
