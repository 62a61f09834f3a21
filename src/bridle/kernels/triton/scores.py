"""How a Triton kernel reads scores: where they lie, and how they are bent."""

# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-untyped-call"
# A kernel's arguments are Triton's own values, for which there are no types.

from __future__ import annotations

from typing import Any, NamedTuple

import triton
import triton.language as tl

from bridle.kernels.triton.arithmetic import tanh_and_slope


class Matrix(NamedTuple):
    """A matrix as it lies in memory: entry (i, j) is at first + i · row_stride + j · column_stride.

    Attributes
    ----------
    first
        Pointer to the entry (0, 0).
    row_stride, column_stride
        Distance of two rows and of two columns, in entries; of any sign.
    """

    first: Any
    row_stride: Any
    column_stride: Any


class Bending(NamedTuple):
    """What turns a score into z; see `bent`.

    Attributes
    ----------
    inverse_temperature
        1 / T, a float64.
    softcap
        The softcap, a float64, or None.
    """

    inverse_temperature: Any
    softcap: Any


@triton.jit
def place(matrix, row, column):
    """Return pointers to entries of a matrix, whose offsets may need 64 bits."""
    down = row.to(tl.int64) * matrix.row_stride
    return matrix.first + (down + column.to(tl.int64) * matrix.column_stride)


@triton.constexpr_function
def sum_dtype(dtype):
    """Return the dtype in which scores of that dtype are summed."""
    return tl.float64 if dtype == tl.float64 else tl.float32


@triton.constexpr_function
def is_exact(dtype):
    """Tell whether what rounding takes from scores of that dtype shows in an answer's last digit.

    Half precision is summed in float32, where hardly a difference of scores is rounded, and answers
    in half.
    """
    return dtype == tl.float32 or dtype == tl.float64


@triton.jit
def bent(score, bending, EXACT: tl.constexpr):
    """Return z = cap(score) / temperature and dz/dscore; infinities stay what they are."""
    scale = tl.full([1, 1], bending.inverse_temperature, score.dtype)
    if bending.softcap is not None:
        cap = tl.full([1, 1], bending.softcap, score.dtype)
        if EXACT:
            tanh, slope = tanh_and_slope(score / cap, True)
        else:
            tanh, slope = tanh_and_slope(score * (1.0 / cap), False)
        z = tl.where(tl.abs(score) == float("inf"), score, cap * tanh) * scale
        slope = slope * scale
    else:
        z = score * scale
        slope = scale
    return z, slope
