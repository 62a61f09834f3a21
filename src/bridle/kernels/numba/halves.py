"""Half-precision numbers read and written as they lie: two bytes, by their bits.

NumPy has no bfloat16 and numba no float16 on a CPU, so both are arrays of uint16 here.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bridle.kernels.numba.compiling import inlined
from bridle.kernels.numba.machine import bits, from_bits

SIGN = np.int32(0x8000)
MAGNITUDE = np.int32(0x7FFF)
INFINITY_32 = np.int32(0x7F800000)
# float32's exponents start 112 lower than float16's.
EXPONENT_GAP = np.float32(2.0**112)
FIRST_ABOVE_16 = np.float32(65536)


@inlined
def from_bfloat16(half: Any) -> Any:
    """Return the float32 of a bfloat16: its first half."""
    return from_bits(np.int32(np.int32(half) << np.int32(16)))


@inlined
def from_float16(half: Any) -> Any:
    """Return the float32 of a float16, subnormal numbers, infinity and NaN included."""
    pattern = np.int32(half)
    magnitude = from_bits(np.int32((pattern & MAGNITUDE) << np.int32(13))) * EXPONENT_GAP
    special = INFINITY_32 if magnitude >= FIRST_ABOVE_16 else np.int32(0)
    sign = np.int32((pattern & SIGN) << np.int32(16))
    return from_bits(np.int32(np.int32(bits(magnitude) | special) | sign))


@inlined
def to_bfloat16(number: Any) -> Any:
    """Return the nearest bfloat16, ties to even."""
    pattern = np.int32(bits(number))
    odd = np.int32((pattern >> np.int32(16)) & np.int32(1))
    rounded = np.int32(np.int32(pattern + np.int32(0x7FFF)) + odd) >> np.int32(16)
    quiet = (pattern >> np.int32(16)) | np.int32(0x40)  # rounding could turn NaN into infinity
    return np.uint16(rounded if number == number else quiet)


@inlined
def to_float16(number: Any) -> Any:
    """Return the nearest float16, ties to even."""
    pattern = np.int32(bits(number))
    sign = np.int32((pattern >> np.int32(16)) & SIGN)
    magnitude = np.int32(pattern & np.int32(0x7FFFFFFF))
    odd = np.int32((magnitude >> np.int32(13)) & np.int32(1))
    normal = np.int32(magnitude - np.int32(112 << 23) + np.int32(0xFFF) + odd) >> np.int32(13)
    # Beside 0.5 the last place of a float32 is the smallest float16: the sum does the rounding.
    subnormal = np.int32(bits(np.float32(from_bits(magnitude) + np.float32(0.5)))) - np.int32(
        126 << 23
    )
    half = subnormal if magnitude < np.int32(113 << 23) else normal
    half = np.int32(0x7C00) if magnitude >= np.int32(143 << 23) else half
    half = np.int32(0x7E00) if magnitude > INFINITY_32 else half
    return np.uint16(half | sign)
