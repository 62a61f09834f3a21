"""What is done to a chunk of a row: at most `CHUNK` scores, in a scratch array that stays in L1.

Every row passes through the scratch, chunk by chunk, whatever its dtype: the loops below see the
accumulator's dtype alone, and never an input that may be their output (which would cost them their
vectors). The scratch is filled with −inf to a multiple of `LANES`, so that no loop has a rest to do
one number at a time; −inf adds nothing to any sum.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba.core import types

from bridle.kernels.compiling import implementation_of, inlined
from bridle.kernels.exponential import BIAS_64, exponential, power_exponential
from bridle.kernels.halves import from_bfloat16, from_float16, to_bfloat16, to_float16
from bridle.kernels.machine import add, from_ordered, ordered

# No lane of a vector adds more than 32 numbers before its sum goes on in float64: that is as exact
# as the exponentials are.
CHUNK = 1024
LANES = 64


@inlined
def padded(count: int) -> int:
    """Return the first multiple of `LANES` that is not below ``count``."""
    return (count + LANES - 1) // LANES * LANES


# Every array below begins where the chunk begins: an index ``begin + j`` could be negative for all
# that numba knows, and would make a gather of each load.


def load(line: Any, bfloat16: bool, z: Any) -> None:
    """Copy ``line`` to ``z`` in the accumulator's dtype, and pad it."""
    raise NotImplementedError


@implementation_of(load)
def _load(line: Any, bfloat16: Any, z: Any) -> Any:
    del bfloat16, z
    return _load_halves if line.dtype == types.uint16 else _load_floats


def _load_floats(line: Any, bfloat16: Any, z: Any) -> Any:
    _ = bfloat16  # tells halves apart
    for j in range(line.size):
        z[j] = line[j]
    for j in range(line.size, padded(line.size)):
        z[j] = -np.inf


def _load_halves(line: Any, bfloat16: Any, z: Any) -> Any:
    if bfloat16:
        for j in range(line.size):
            z[j] = from_bfloat16(line[j])
    else:
        for j in range(line.size):
            z[j] = from_float16(line[j])
    for j in range(line.size, padded(line.size)):
        z[j] = -np.inf


def store(d: Any, bfloat16: bool, line: Any) -> None:
    """Fill ``line`` with the first numbers of ``d``, rounded to the nearest, ties to even."""
    raise NotImplementedError


@implementation_of(store)
def _store(d: Any, bfloat16: Any, line: Any) -> Any:
    del d, bfloat16
    return _store_halves if line.dtype == types.uint16 else _store_floats


def _store_floats(d: Any, bfloat16: Any, line: Any) -> Any:
    _ = bfloat16  # tells halves apart
    for j in range(line.size):
        line[j] = d[j]


def _store_halves(d: Any, bfloat16: Any, line: Any) -> Any:
    if bfloat16:
        for j in range(line.size):
            line[j] = to_bfloat16(d[j])
    else:
        for j in range(line.size):
            line[j] = to_float16(d[j])


@inlined
def cap(z: Any, count: int, softcap: float) -> None:
    """Bend scores to ``softcap · tanh(z / softcap)``; what is not finite stays as it is.

    In float64: the difference of two capped float32 scores is then as exact as the scores are.
    """
    for j in range(count):
        score = np.float64(z[j])
        small = exponential(-2 * abs(score) / softcap, 0.0, 1.0, 0.0) * 2.0**-BIAS_64
        bent = softcap * (1 - small) / (1 + small)
        bent = -bent if score < 0 else bent
        z[j] = bent if abs(score) < np.inf else score


@inlined
def largest(z: Any, count: int) -> Any:
    """Return the largest number; NaN may be it, or be passed over."""
    best = ordered(z[0])
    for j in range(1, padded(count)):
        best = max(best, ordered(z[j]))
    return from_ordered(best)


@inlined
def first_equal(z: Any, count: int, value: Any) -> int:
    """Return the first position of ``value``; 0 if it is nowhere (NaN)."""
    for j in range(count):
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
def sum_exponentials(z: Any, count: int, shift: Any) -> float:
    """Return the sum of the biased exponentials."""
    zero = z.dtype.type(0)
    sum_1, sum_2 = zero, zero
    half = padded(count) // 2
    z_1, z_2 = z[:half], z[half:]
    if shift.by_power:
        for j in range(half):
            sum_1 = add(sum_1, power_exponential(z_1[j], shift.power, shift.lowest))
            sum_2 = add(sum_2, power_exponential(z_2[j], shift.power, shift.lowest))
    else:
        for j in range(half):
            sum_1 = add(sum_1, exponential(z_1[j], shift.score, shift.scale, shift.scale_rest))
            sum_2 = add(sum_2, exponential(z_2[j], shift.score, shift.scale, shift.scale_rest))
    return np.float64(sum_1) + np.float64(sum_2)


@inlined
def write_exponentials(z: Any, count: int, shift: Any, factor: Any, e: Any) -> None:
    """Set ``e`` to the biased exponentials times ``factor``."""
    if shift.by_power:
        for j in range(padded(count)):
            e[j] = power_exponential(z[j], shift.power, shift.lowest) * factor
    else:
        for j in range(padded(count)):
            e[j] = exponential(z[j], shift.score, shift.scale, shift.scale_rest) * factor


@inlined
def sum_others(e: Any, z: Any, count: int, value: Any) -> float:
    """Return the sum of the exponentials whose score is not ``value``."""
    zero = e.dtype.type(0)
    sum_1, sum_2 = zero, zero
    half = padded(count) // 2
    e_1, e_2, z_1, z_2 = e[:half], e[half:], z[:half], z[half:]
    for j in range(half):
        sum_1 = add(sum_1, zero if z_1[j] == value else e_1[j])
        sum_2 = add(sum_2, zero if z_2[j] == value else e_2[j])
    return np.float64(sum_1) + np.float64(sum_2)


@inlined
def count_equal(z: Any, count: int, value: Any) -> float:
    """Return how many numbers equal ``value``."""
    zero, one = z.dtype.type(0), z.dtype.type(1)
    found = zero
    for j in range(padded(count)):
        found = add(found, one if z[j] == value else zero)
    return np.float64(found)


@inlined
def mask_equal(z: Any, count: int, value: Any) -> None:
    """Mask the classes whose score is ``value``."""
    lowest = z.dtype.type(-np.inf)
    for j in range(count):
        z[j] = lowest if z[j] == value else z[j]


@inlined
def multiply(e: Any, count: int, factor: Any) -> None:
    """Multiply every number by ``factor``."""
    for j in range(padded(count)):
        e[j] *= factor


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
