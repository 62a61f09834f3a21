"""Arithmetic of the Triton kernels: functions of numbers, which see no memory.

Everything here runs through Triton's interpreter too, which knows no device library: what is more
than an exponential or a logarithm is spelled out.
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-untyped-call"
# A kernel's arguments are Triton's own values, for which there are no types.

from __future__ import annotations

import triton
import triton.language as tl

# Every probability below exp(−800) is 0 in float64 as in float32, and nothing is −inf − (−inf).
LOWEST_EXPONENT = tl.constexpr(-800.0)

# 1 / log 2 in two floats, since one alone costs an exponential |x| units in the last place.
PER_LOG_2 = tl.constexpr(1.4426950216293335)
PER_LOG_2_REST = tl.constexpr(1.925963033500011e-08)
LOG_2 = tl.constexpr(0.6931471805599453)
# log 2 in two parts; the first has so few digits that its product with an integer is exact.
LOG_2_HIGH = tl.constexpr(0.693359375)
LOG_2_LOW = tl.constexpr(-2.12194440054690583e-4)
# Adding 1.5 · 2²³ leaves the nearest integer in a float32's low bits.
ROUND = tl.constexpr(12582912.0)
# Below this a float32's exponential is less than half the smallest number.
LOWEST_32 = tl.constexpr(-103.9)


@triton.jit
def exponential(x, lost, EXACT: tl.constexpr):
    """Return exp(x + lost), for x in [LOWEST_EXPONENT, 0] or NaN, and a small ``lost``.

    EXACT float32 is right to 0.6 units in the last place, and subnormal numbers are kept; otherwise
    a device's own exponential costs a third less time and as much as 2 units.
    """
    # Beyond the lowest exponent lie infinities, of which nothing was lost.
    lost = tl.where(x > LOWEST_EXPONENT, lost, 0.0)
    if x.dtype == tl.float64:
        whole = tl.exp(x)
        result = tl.fma(whole, lost, whole)
    elif EXACT:
        result = _exact_exponential(x, lost)
    else:
        # A device's own exponential is 2 to a power; what that loses by rounding is made good.
        power = x * PER_LOG_2
        rest = tl.fma(x, PER_LOG_2_REST, tl.fma(x, PER_LOG_2, -power))
        whole = tl.exp2(power)
        result = tl.fma(whole, tl.fma(rest, LOG_2, lost), whole)
    return result


@triton.jit
def _exact_exponential(x, lost):
    """Return exp(x + lost) = 2ⁿ · exp(r), with a polynomial for r within ± log(2) / 2."""
    shifted = tl.fma(x, PER_LOG_2, ROUND)
    n = shifted - ROUND
    r = tl.fma(n, -LOG_2_LOW, tl.fma(n, -LOG_2_HIGH, x)) + lost
    q = tl.fma(r, 1.3926250831497612e-3, 8.363232883682618e-3)
    q = tl.fma(tl.fma(q, r, 4.166655421298415e-2), r, 1.6666576666119928e-1)
    whole = tl.fma(tl.fma(q, r, 0.5), r * r, r) + 1.0
    # Products, not an addition of exponents: NaN stays NaN. The first is a normal number also where
    # the second is not.
    bits = (shifted.to(tl.int32, bitcast=True) + (127 + 24)) << 23
    whole = whole * bits.to(tl.float32, bitcast=True) * 2.0**-24
    return tl.where(x < LOWEST_32, 0.0, whole)


@triton.jit
def lost_by_sum(x, y, rounded):
    """Return what rounding took from rounded = x + y (Knuth's exact sum)."""
    virtual = rounded - x
    return (x - (rounded - virtual)) + (y - virtual)


@triton.jit
def log1p(x):
    """Return log(1 + x) for x ≥ 0, right also where 1 + x rounds x away."""
    rounded = 1.0 + x
    return tl.log(rounded) + (x - (rounded - 1.0)) / rounded


@triton.jit
def near_tanh(x):
    """Return tanh(x) for x within ± 0.625: Lambert's continued fraction, eight levels deep."""
    square = x * x
    over = 2027025.0 + square * (270270.0 + square * (6930.0 + square * 36.0))
    under = 945945.0 + square * (51975.0 + square * (630.0 + square))
    return x * (over / (2027025.0 + square * under))


@triton.jit
def near_expm1(x):
    """Return exp(x) − 1 for −1.25 ≤ x ≤ 0, without cancellation."""
    tanh = near_tanh(0.5 * x)
    return 2.0 * tanh / (1.0 - tanh)


@triton.jit
def tanh_and_slope(x, EXACT: tl.constexpr):
    """Return tanh(x) and its derivative, 1 − tanh²(x).

    EXACT, without cancellation in either; else tanh(x) is off by 1e-7 also where it is small, at a
    fifth of the instructions.
    """
    if EXACT:
        exponent = tl.maximum(-2.0 * tl.abs(x), LOWEST_EXPONENT, propagate_nan=tl.PropagateNan.ALL)
        shrunk = exponential(exponent, 0.0, True)
        ratio = (1.0 - shrunk) / (1.0 + shrunk)
        slope = 4.0 * shrunk / ((1.0 + shrunk) * (1.0 + shrunk))
        tanh = tl.where(tl.abs(x) < 0.625, near_tanh(x), tl.where(x < 0, -ratio, ratio))
    else:
        shrunk = tl.exp2(tl.abs(x) * (-2.0 * PER_LOG_2))
        inverse = 1.0 / (1.0 + shrunk)
        ratio = (1.0 - shrunk) * inverse
        slope = 4.0 * shrunk * inverse * inverse
        tanh = tl.where(x < 0, -ratio, ratio)
    return tanh, slope
