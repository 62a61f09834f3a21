"""The Triton kernel that makes the loss of distributions, and its gradient, row by row.

As `index_kernels`, whose sums it makes, but that the target is a matrix, read beside the scores.
Where the gradient's factor comes after the loss, the same kernel runs again: nothing is kept.
`distribution_loss` launches.
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-untyped-call, assignment, misc"
# mypy: disable-error-code="var-annotated"
# A kernel's arguments are Triton's own values, for which there are no types.

from __future__ import annotations

from typing import Any, NamedTuple

import triton
import triton.language as tl

from bridle.kernels.triton.row_algebra import (
    EXACT,
    Rows,
    Terms,
    accuracy_of_gradients,
    accuracy_of_sums,
    class_weight_of,
    exponential_below,
    finite,
    gradient_scale,
    inside_of_held,
    log_sum_of,
    loss_with_terms,
    no_sums,
    read_bent,
    slopes_with_terms,
    sums_of_held,
    total_of,
    with_tile,
)
from bridle.kernels.triton.scores import Bending, sum_dtype


class TargetSums(NamedTuple):
    """What is summed of a row's target q; w are the class weights, z the bent scores.

    Attributes
    ----------
    mass, gap
        Σ w q, and Σ w q (top − z), in which no mass counts nothing.
    """

    mass: Any
    gap: Any


class Slopes(NamedTuple):
    """A row's gradient: ``of_e · exp(z − reference) − of_target · w q − spread · w``.

    ``active`` tells whether the row has one at all; the others' is 0, whatever they hold.
    """

    reference: Any
    of_e: Any
    of_target: Any
    spread: Any
    active: Any


@triton.jit
def _weighted_target(target, column, inside, terms, dtype: tl.constexpr):
    """Return w q of some columns."""
    mass = tl.load(target + column, mask=inside, other=0.0).to(dtype)
    return mass * class_weight_of(terms.weight, column, terms.classes, dtype, True)


@triton.jit
def _gap(mass, reference, z):
    return tl.where(mass == 0, 0.0, mass * (reference - z))


@triton.jit
def _tile_gradient(
    slopes, e, mass, z, slope, column, terms, BENT: tl.constexpr, SMOOTHED: tl.constexpr
):
    value = e * slopes.of_e - slopes.of_target * mass
    if SMOOTHED:
        weight = class_weight_of(terms.weight, column, terms.classes, z.dtype, SMOOTHED)
        value -= tl.where(z == float("-inf"), 0.0, slopes.spread * weight)
    if BENT:
        value *= slope
    return tl.where(slopes.active, value, 0.0)


@triton.jit
def _row_slopes(
    sums, of_target, log_sum, share, terms, SMOOTHED: tl.constexpr, Z_LOSS: tl.constexpr
):
    """Return the `Slopes` of rows whose losses count ``share`` times."""
    own = share * (1.0 - terms.smoothing)
    of_p, spread = slopes_with_terms(
        own * of_target.mass, share, sums, log_sum, terms, SMOOTHED, Z_LOSS
    )
    broken = log_sum != log_sum
    nan = tl.where(broken, float("nan"), 0.0).to(share.dtype)
    inverse = 1.0 / (1.0 + sums.rest.to(share.dtype))
    return Slopes(
        reference=tl.where(broken, 0.0, sums.top),
        of_e=of_p * inverse + nan,
        of_target=own + nan,
        spread=spread,
        active=share != 0,
    )


@triton.jit(do_not_specialize=["row_count"])
def loss_kernel(
    scores,
    out,
    target,
    weight,
    sample_weight,
    divisor,
    cotangent,
    losses,
    row_stride,
    out_stride,
    target_stride,
    row_count,
    classes,
    normalizer: tl.float64,
    smoothing: tl.float64,
    z_loss: tl.float64,
    inverse_temperature: tl.float64,
    softcap: tl.float64,
    BENT: tl.constexpr,
    CAPPED: tl.constexpr,
    SMOOTHED: tl.constexpr,
    Z_LOSS: tl.constexpr,
    GRADIENT: tl.constexpr,
    EACH: tl.constexpr,
    HELD: tl.constexpr,
    ALIGNMENT: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Make the losses of rows, and with GRADIENT the gradient of their sum over the divisor.

    The grid is ``(ceil(row_count / ROWS),)``.

    Parameters
    ----------
    target : pointer
        Distributions (N, C) of any float dtype with the classes side by side.
    cotangent : pointer or None
        What the losses' gradients are multiplied by: one number, or with EACH one a row (N,).
    losses : pointer or None
        Each row's loss (N,); None where they are known.
    target_stride : int
        The distance of two rows of the target.
    ALIGNMENT : int
        A power of 2 that divides all three strides and the classes.

    All others are those of `index_kernels.loss_kernel`.
    """
    dtype: tl.constexpr = sum_dtype(scores.dtype.element_ty)
    of_sums: tl.constexpr = accuracy_of_sums(scores.dtype.element_ty)
    of_gradients: tl.constexpr = accuracy_of_gradients(scores.dtype.element_ty)
    terms = Terms(
        weight,
        sample_weight,
        0,
        classes,
        tl.full([1, 1], smoothing, dtype),
        tl.full([1, 1], z_loss, dtype),
        Bending(inverse_temperature, softcap if CAPPED else None),
    )
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]
    rows = Rows(row, row < row_count)
    # A product with a constant tells the compiler what divides it.
    scores += row * (row_stride // ALIGNMENT * ALIGNMENT)
    out += row * (out_stride // ALIGNMENT * ALIGNMENT)
    target += row * (target_stride // ALIGNMENT * ALIGNMENT)
    length = classes // ALIGNMENT * ALIGNMENT
    lane = tl.arange(0, COLUMNS)[None, :]
    if HELD:
        tiles, masses = (), ()
        for number in tl.static_range(HELD):
            column = number * COLUMNS + lane
            inside = inside_of_held(rows, column, length, number == HELD - 1)
            tile = read_bent(scores + column, inside, terms, dtype, BENT, "")
            mass = _weighted_target(target, column, inside, terms, dtype)
            tiles = tiles + (tile,)  # noqa: RUF005 - Triton unpacks no tuple
            masses = masses + (mass,)  # noqa: RUF005
        sums, exponentials = sums_of_held(tiles, lane, terms, SMOOTHED, of_sums, HELD, COLUMNS)
        reference = finite(sums.top)
        all_mass, all_gap = tl.zeros_like(masses[0]), tl.zeros_like(masses[0])
        for number in tl.static_range(HELD):
            all_mass += masses[number]
            all_gap += _gap(masses[number], reference, tiles[number][0])
        of_target = TargetSums(total_of(all_mass), total_of(all_gap))
    else:
        sums = no_sums(ROWS, dtype, of_sums)
        wide: tl.constexpr = tl.float64 if of_sums == EXACT else dtype
        all_mass, all_gap = tl.zeros([ROWS, 1], wide), tl.zeros([ROWS, 1], wide)
        for start in range(0, length, COLUMNS):
            column = start + lane
            inside = rows.inside & (column < length)
            cache: tl.constexpr = "evict_last" if GRADIENT else ""
            z, _ = read_bent(scores + column, inside, terms, dtype, BENT, cache)
            class_weight = class_weight_of(weight, column, classes, dtype, SMOOTHED)
            mass = _weighted_target(target, column, inside, terms, dtype)
            before = sums.top
            sums, _ = with_tile(sums, z, class_weight, SMOOTHED, of_sums)
            reference = finite(sums.top)
            moved = tl.where(all_mass == 0, 0.0, all_mass * (reference - before).to(wide))
            all_gap += moved + total_of(_gap(mass, reference, z)).to(wide)
            all_mass += total_of(mass).to(wide)
        of_target = TargetSums(all_mass.to(dtype), all_gap.to(dtype))
    log_sum = log_sum_of(sums)
    share = tl.zeros_like(log_sum) + 1.0
    if sample_weight is not None:
        share = tl.load(sample_weight + row, mask=rows.inside, other=0.0).to(dtype)
    if losses is not None:
        surprise = of_target.mass * log_sum + of_target.gap
        at_target = 1.0 - terms.smoothing
        loss = loss_with_terms(at_target, surprise, sums, log_sum, terms, SMOOTHED, Z_LOSS)
        tl.store(losses + row, tl.where(share == 0, 0.0, share * loss), mask=rows.inside)
    if GRADIENT:
        factor = None
        if cotangent is not None:
            factor = tl.load(cotangent + (row if EACH else 0 * row), mask=rows.inside, other=0.0)
        share = share * gradient_scale(divisor, normalizer, factor, dtype)
        slopes = _row_slopes(sums, of_target, log_sum, share, terms, SMOOTHED, Z_LOSS)
        if HELD:
            for number in tl.static_range(HELD):
                column = number * COLUMNS + lane
                z, slope = tiles[number]
                e, mass = exponentials[number], masses[number]
                value = _tile_gradient(slopes, e, mass, z, slope, column, terms, BENT, SMOOTHED)
                inside = inside_of_held(rows, column, length, number == HELD - 1)
                tl.store(out + column, value.to(out.dtype.element_ty), mask=inside)
        else:
            # In place, all must have been read before another thread overwrites it.
            tl.debug_barrier()
            for start in range(0, length, COLUMNS):
                column = start + lane
                inside = rows.inside & (column < length)
                z, slope = read_bent(scores + column, inside, terms, dtype, BENT, "evict_first")
                mass = _weighted_target(target, column, inside, terms, dtype)
                e = exponential_below(z, slopes.reference, of_gradients)
                value = _tile_gradient(slopes, e, mass, z, slope, column, terms, BENT, SMOOTHED)
                tl.store(out + column, value.to(out.dtype.element_ty), mask=inside)
