"""The exponential of a shifted score, made of operations that become vectors.

No vector mathematics library can be relied on, and a call of the scalar one would block SIMD
vectorisation of the loop.

``exp(x) = 2ⁿ · exp(r)`` with ``n`` the integer nearest to ``x / log 2``, so that
``|r| ≤ log(2) / 2``; ``exp(r)`` is a polynomial, fitted at Chebyshev nodes, that is right to a
tenth of the last place.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.core import types

from bridle.kernels.numba.compiling import implementation_of, inlined
from bridle.kernels.numba.machine import bits, from_bits, multiply_add

# Adding 1.5 · 2^(digits − 1) leaves the nearest integer in the low bits.
ROUND_32 = np.float32(1.5 * 2**23)
ROUND_64 = np.float64(1.5 * 2**52)
# log 2 in two parts; the first has so few digits that its product with n is exact.
LOG_2_HIGH_32 = np.float32(0.693359375)
LOG_2_LOW_32 = np.float32(-2.12194440054690583e-4)
LOG_2_HIGH_64 = np.float64(6.93147180369123816490e-01)
LOG_2_LOW_64 = np.float64(1.90821492927058770002e-10)
PER_LOG_2 = 1.4426950408889634
# Results carry this power of two, so that the smallest number of the dtype is still a normal one:
# nothing is lost, and no addition is slow.
BIAS_32 = 24
BIAS_64 = 52
# Below these the exponential is less than half the smallest number.
LOWEST_32 = np.float32(-103.9)
LOWEST_64 = np.float64(-744.4)


@inlined
def _polynomial_32(r: Any) -> Any:
    """Return ``(exp(r) − 1 − r) / r²`` for ``|r| ≤ log(2) / 2``."""
    q = multiply_add(np.float32(1.3926250831497612e-3), r, np.float32(8.363232883682618e-3))
    q = multiply_add(q, r, np.float32(4.166655421298415e-2))
    q = multiply_add(q, r, np.float32(1.6666576666119928e-1))
    return multiply_add(q, r, np.float32(0.5))


@inlined
def _polynomial_64(r: Any) -> Any:
    """Return ``(exp(r) − 1 − r) / r²`` for ``|r| ≤ log(2) / 2``."""
    q = multiply_add(2.5100472505694996e-8, r, 2.7620201591031547e-7)
    q = multiply_add(q, r, 2.7557268276905696e-6)
    q = multiply_add(q, r, 2.4801521057868204e-5)
    q = multiply_add(q, r, 1.9841269863171557e-4)
    q = multiply_add(q, r, 1.3888888917367081e-3)
    q = multiply_add(q, r, 8.333333333330039e-3)
    q = multiply_add(q, r, 4.1666666666623824e-2)
    q = multiply_add(q, r, 1.6666666666666669e-1)
    return multiply_add(q, r, 0.5)


def _exponential_32(score: Any, shift: Any, scale: Any, scale_rest: Any) -> Any:
    x = score - shift
    # What the subtraction rounded away (Knuth): at −10 it is worth four last places of exp.
    back = x - score
    lost = (score - (x - back)) - (shift + back)
    scaled = x * scale
    rounded = multiply_add(scaled, np.float32(PER_LOG_2), ROUND_32)
    n = rounded - ROUND_32
    r = multiply_add(x, scale, -n * LOG_2_HIGH_32)
    r = multiply_add(n, -LOG_2_LOW_32, r)
    r = multiply_add(x, scale_rest, r)
    r = multiply_add(lost, scale, r)
    fraction = multiply_add(_polynomial_32(r), r * r, r) + np.float32(1)
    power = from_bits(np.int32(np.int32(bits(rounded) + np.int32(127 + BIAS_32)) << np.int32(23)))
    # A product, not an addition of exponents: NaN stays NaN.
    return np.float32(0) if scaled < LOWEST_32 else fraction * power


def _exponential_64(score: Any, shift: Any, scale: Any, scale_rest: Any) -> Any:
    x = score - shift
    back = x - score
    lost = (score - (x - back)) - (shift + back)
    scaled = x * scale
    rounded = multiply_add(scaled, PER_LOG_2, ROUND_64)
    n = rounded - ROUND_64
    r = multiply_add(x, scale, -n * LOG_2_HIGH_64)
    r = multiply_add(n, -LOG_2_LOW_64, r)
    r = multiply_add(x, scale_rest, r)
    r = multiply_add(lost, scale, r)
    fraction = multiply_add(_polynomial_64(r), r * r, r) + 1.0
    power = from_bits((bits(rounded) + np.int64(1023 + BIAS_64)) << np.int64(52))
    return 0.0 if scaled < LOWEST_64 else fraction * power


def exponential(score: Any, shift: Any, scale: Any, scale_rest: Any) -> Any:
    """``2^bias · exp((score − shift) · (scale + scale_rest))`` for an argument of 0 or less.

    Exactly 0 at −inf, NaN at NaN; ``bias`` is `BIAS_32` or `BIAS_64`, by the dtype.
    """
    raise NotImplementedError


@implementation_of(exponential)
def _exponential(score: Any, shift: Any, scale: Any, scale_rest: Any) -> Any:
    del shift, scale, scale_rest
    return _exponential_64 if score == types.float64 else _exponential_32


# A score up to this size is reduced by itself: its multiple of log 2 is exact to 1e-8.
NEAR = 1000.0


def _power_exponential_32(score: Any, power: Any, lowest: Any) -> Any:
    rounded = multiply_add(score, np.float32(PER_LOG_2), ROUND_32)
    n = rounded - ROUND_32
    r = multiply_add(n, -LOG_2_HIGH_32, score)
    r = multiply_add(n, -LOG_2_LOW_32, r)
    fraction = multiply_add(_polynomial_32(r), r * r, r) + np.float32(1)
    exponent = np.int32(np.int32(bits(rounded) - power) + np.int32(127 + BIAS_32))
    scale = from_bits(np.int32(exponent << np.int32(23)))
    return np.float32(0) if score < lowest else fraction * scale


def _power_exponential_64(score: Any, power: Any, lowest: Any) -> Any:
    rounded = multiply_add(score, PER_LOG_2, ROUND_64)
    n = rounded - ROUND_64
    r = multiply_add(n, -LOG_2_HIGH_64, score)
    r = multiply_add(n, -LOG_2_LOW_64, r)
    fraction = multiply_add(_polynomial_64(r), r * r, r) + 1.0
    exponent = bits(rounded) - np.int64(power) + np.int64(1023 + BIAS_64)
    return 0.0 if score < lowest else fraction * from_bits(exponent << np.int64(52))


def power_exponential(score: Any, power: Any, lowest: Any) -> Any:
    """``2^bias · exp(score) / 2^power``, and 0 for a score below ``lowest``.

    A shift by a power of two is exact, where the difference from a maximum rounds and has to be
    mended: a third of the work. For a maximum within `NEAR` of 0, and a ``power`` of its size.
    """
    raise NotImplementedError


@implementation_of(power_exponential)
def _power_exponential(score: Any, power: Any, lowest: Any) -> Any:
    del power, lowest
    return _power_exponential_64 if score == types.float64 else _power_exponential_32


@inlined
def log1p(x: Any) -> Any:
    """Return ``log(1 + x)`` of a float64 that is not negative, right where x is small too.

    ``1 + x = 2ᵏ (1 + f)``, with ``1 + f`` near 1 and the rounding of ``1 + x`` kept in f, and
    ``log(1 + f) = f − f²/2 + s · (f²/2 + …)`` with ``s = f / (2 + f)``: what is rounded is small
    beside f (as in fdlibm).
    """
    u = 1.0 + x
    pattern = bits(u)
    k = (pattern - np.int64(0x3FE6A09E667F3BCD)) >> np.int64(52)  # u / 2ᵏ is in [√½, √2)
    m = from_bits(pattern - (k << np.int64(52)))
    lost = (x - (u - 1.0) if x < 1.0 else 1.0 - (u - x)) / u
    f = x if k == 0 else m - 1.0
    s = f / (2.0 + f)
    square = s * s
    q = 2 / 21
    q = multiply_add(q, square, 2 / 19)
    q = multiply_add(q, square, 2 / 17)
    q = multiply_add(q, square, 2 / 15)
    q = multiply_add(q, square, 2 / 13)
    q = multiply_add(q, square, 2 / 11)
    q = multiply_add(q, square, 2 / 9)
    q = multiply_add(q, square, 2 / 7)
    q = multiply_add(q, square, 2 / 5)
    q = multiply_add(q, square, 2 / 3)
    half = 0.5 * f * f
    low = multiply_add(s, multiply_add(q, square, half), k * LOG_2_LOW_64)
    low += 0.0 if k == 0 else lost
    return k * LOG_2_HIGH_64 - ((half - low) - f)
