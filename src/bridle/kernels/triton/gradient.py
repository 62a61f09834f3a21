"""The Triton kernel that writes the gradient of rows of scores; `row_kernels` launches it."""

# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-untyped-call"
# A kernel's arguments are Triton's own values, for which there are no types.

from __future__ import annotations

import triton
import triton.language as tl

from bridle.kernels.triton.arithmetic import (
    LOWEST_EXPONENT,
    exponential,
    lost_by_sum,
    near_expm1,
)
from bridle.kernels.triton.scores import Bending, bent, is_exact, place, sum_dtype

# Up to this loss the target's p is above ½, and p − 1 would be little more than its rounding.
NEAR_CERTAIN = tl.constexpr(0.69)


@triton.jit
def row_gradient_kernel(
    scores,
    out,
    target,
    soft_target,
    weight,
    maximum,
    log_sum,
    target_gap,
    a,
    b,
    s,
    t,
    rows,
    classes,
    inverse_temperature: tl.float64,
    softcap: tl.float64,
    CAPPED: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Write the gradient of rows of scores; one program a tile, those of a row side by side.

    The grid is ``(ceil(rows / ROWS) · ceil(classes / COLUMNS),)``.

    Parameters
    ----------
    scores : Matrix
        Scores (N, C). Rows without a coefficient other than 0 are not read.
    out : Matrix
        The gradient (N, C); it may be the scores, since each entry is read before it is written,
        by the thread that writes it.
    target : pointer or None
        Class indices (N,), int64, −1 for a row without one. None if there are none.
    soft_target : Matrix or None
        Distributions (N, C), where the target is one.
    weight : pointer or None
        Class weights (C,), which scale ``s`` and the soft target's ``t``; None is ones.
    maximum, log_sum, target_gap : pointers
        The parts (N,) of the rows; NaN makes a row of NaN. The last is None without ``target``.
    a, b, s, t : pointers, all but ``a`` or None
        The coefficients (N,); None is zeros.
    rows, classes, inverse_temperature, softcap, CAPPED, ROWS, COLUMNS
        As in `row_parts_kernel`.
    """
    dtype: tl.constexpr = sum_dtype(scores.first.dtype.element_ty)
    bending = Bending(inverse_temperature, softcap if CAPPED else None)
    tiles = tl.cdiv(classes, COLUMNS)
    row = (tl.program_id(0) // tiles).to(tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]
    column = (tl.program_id(0) % tiles) * COLUMNS + tl.arange(0, COLUMNS)[None, :]
    inside = row < rows
    of_p, of_surprise = _coefficient(a, row, inside, dtype), _coefficient(b, row, inside, dtype)
    of_smooth, of_target = _coefficient(s, row, inside, dtype), _coefficient(t, row, inside, dtype)
    active = (of_p != 0) | (of_surprise != 0) | (of_smooth != 0) | (of_target != 0)
    top = tl.load(maximum + row, mask=inside, other=0.0)
    log_total = tl.load(log_sum + row, mask=inside, other=0.0)
    broken = log_total != log_total

    wanted = inside & active & (column < classes)
    score = tl.load(place(scores, row, column), mask=wanted, other=0.0).to(dtype)
    z, slope = bent(score, bending, is_exact(scores.first.dtype.element_ty))
    log_p, p = _probability(z, top, log_total, is_exact(scores.first.dtype.element_ty))
    value = p * (of_p + of_surprise * log_p)
    if target is not None:
        label = tl.load(target + row, mask=inside, other=-1)
        broken |= (label < -1) | (label >= classes)
        loss = log_total + tl.load(target_gap + row, mask=inside, other=0.0)
        near = _near_certain(loss, of_p, of_surprise, of_target)
        own = tl.where(loss < NEAR_CERTAIN, near, value - of_target)
        value = tl.where(column == label, own, value)
    class_weight = tl.full([1, 1], 1.0, dtype)
    if weight is not None:
        class_weight = tl.load(weight + column, mask=column < classes, other=0.0).to(dtype)
    value -= tl.where(z == float("-inf"), 0.0, of_smooth * class_weight)
    if soft_target is not None:
        mass = tl.load(place(soft_target, row, column), mask=wanted, other=0.0).to(dtype)
        value -= of_target * class_weight * mass
    value = tl.where(broken, float("nan"), value * slope)
    value = tl.where(active, value, 0.0).to(out.first.dtype.element_ty)
    tl.store(place(out, row, column), value, mask=inside & (column < classes))


@triton.jit
def _coefficient(pointer, row, inside, dtype: tl.constexpr):
    """Return a coefficient of each row, 0 where there is none."""
    if pointer is None:
        value = tl.zeros([1, 1], dtype)
    else:
        value = tl.load(pointer + row, mask=inside, other=0.0).to(dtype)
    return value


@triton.jit
def _probability(z, top, log_total, EXACT: tl.constexpr):
    """Return log p, not below the lowest exponent, and p."""
    shifted = z - top
    log_p = shifted - log_total
    exponent = tl.maximum(log_p, LOWEST_EXPONENT, propagate_nan=tl.PropagateNan.ALL)
    lost = 0.0
    if EXACT:
        lost = lost_by_sum(z, -top, shifted) + lost_by_sum(shifted, -log_total, log_p)
    return exponent, exponential(exponent, lost, EXACT)


@triton.jit
def _near_certain(loss, of_p, of_surprise, of_target):
    """Return ``a · p + b · p · log p − t`` at a target whose p = exp(−loss) is near 1."""
    log_p = -tl.minimum(loss, NEAR_CERTAIN)
    surprise = exponential(log_p, 0.0, True) * log_p
    return of_p * near_expm1(log_p) + (of_p - of_target) + of_surprise * surprise
