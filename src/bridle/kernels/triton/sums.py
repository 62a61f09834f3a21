"""What Triton kernels sum a stretch of a row to, and how the sums of stretches become those of all.

A program works on a tile of a few rows and many columns. Each place of the tile, a *lane*, walks
along its row in steps of the tile's width and keeps sums of its own relative to its own largest
score; only at a row's end do the lanes merge. So an element costs one exponential and no exchange
between threads. The same merge joins the column blocks of a very wide row.
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-untyped-call"
# A kernel's arguments are Triton's own values, for which there are no types.

from __future__ import annotations

from typing import Any, NamedTuple

import triton
import triton.language as tl

from bridle.kernels.triton.arithmetic import LOWEST_EXPONENT, exponential, lost_by_sum

NO_CLASS = tl.constexpr(2**31 - 1)


class Sums(NamedTuple):
    """What a stretch of a row is summed to; of several stretches, `merged` makes those of all.

    In a kernel each field is a tile of numbers, one a lane. Between two kernels it is a pointer to
    ``(rows, blocks)``, or None where the sum is not asked for.

    Attributes
    ----------
    maximum
        Largest z: NaN if there is a NaN, −inf if there is nothing but −inf.
    rest
        Σ exp(z − maximum) without the maximum's own 1; means nothing if the maximum is −inf.
    surprise
        Σ exp(z − maximum) · (maximum − z).
    smooth_gap, smooth_weight, allowed
        Σ w · (maximum − z), Σ w and Σ 1 over the classes that are not masked.
    soft_gap, soft_mass
        Σ w · t · (maximum − z), where no mass at a masked class is nothing; Σ w · t.
    argmax
        Lowest class with the largest z; of a NaN, if there is one, as in torch.
    """

    maximum: Any
    rest: Any
    surprise: Any
    smooth_gap: Any
    smooth_weight: Any
    allowed: Any
    soft_gap: Any
    soft_mass: Any
    argmax: Any


@triton.jit
def no_sums(column, dtype: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Return the `Sums` of nothing."""
    nothing = tl.zeros([ROWS, COLUMNS], dtype)
    return Sums(
        maximum=nothing - float("inf"),
        rest=nothing,
        surprise=nothing,
        smooth_gap=nothing,
        smooth_weight=nothing,
        allowed=nothing,
        soft_gap=nothing,
        soft_mass=nothing,
        argmax=column + tl.zeros([ROWS, COLUMNS], tl.int32),
    )


@triton.jit
def advanced(sums, z, column, smooth_mass, soft_mass, parts, EXACT: tl.constexpr):
    """Return `Sums` with one more score in each lane, of those that the ``parts`` need.

    Where the new score is the largest so far, all that was summed moves away from the maximum by
    their distance; elsewhere the new score itself lies that far below. EXACT makes good what
    rounding takes.
    """
    grown = z > sums.maximum
    masked = z == float("-inf")
    maximum = tl.maximum(sums.maximum, z, propagate_nan=tl.PropagateNan.ALL)
    step = tl.abs(z - sums.maximum)
    # A NaN counts as far away here (and shows in the maximum), as does −inf − (−inf).
    exponent = tl.maximum(-step, LOWEST_EXPONENT)
    lost = 0.0
    if EXACT:
        lost = -lost_by_sum(maximum, -tl.minimum(sums.maximum, z), step)
    shrunk = exponential(exponent, lost, EXACT)
    distance = tl.where(masked, float("inf"), step)
    surprise = sums.surprise
    if parts.mean_gap is not None:
        moved = tl.where(grown, sums.surprise - (1.0 + sums.rest) * exponent, -exponent)
        surprise = shrunk * moved + tl.where(grown, 0.0, sums.surprise)
    smooth_gap, smooth_weight, allowed = sums.smooth_gap, sums.smooth_weight, sums.allowed
    if parts.smooth_gap is not None:
        mass = tl.where(masked, 0.0, smooth_mass)
        smooth_gap += _moved_gap(tl.where(grown, smooth_weight, mass), distance)
        smooth_weight += mass
        allowed += tl.where(masked, 0.0, 1.0)
    soft_gap, soft_sum = sums.soft_gap, sums.soft_mass
    if parts.soft_gap is not None:
        soft_gap += _moved_gap(tl.where(grown, soft_sum, soft_mass), distance)
        soft_sum += soft_mass
    argmax = sums.argmax
    if parts.argmax is not None:
        first_nan = (z != z) & (sums.maximum == sums.maximum)
        argmax = tl.where(grown | first_nan, column, argmax)
    return Sums(
        maximum=maximum,
        rest=tl.fma(tl.where(grown, shrunk, 1.0), sums.rest, shrunk),
        surprise=surprise,
        smooth_gap=smooth_gap,
        smooth_weight=smooth_weight,
        allowed=allowed,
        soft_gap=soft_gap,
        soft_mass=soft_sum,
        argmax=argmax,
    )


@triton.jit
def merged(sums, EXACT: tl.constexpr):
    """Return the `Sums` of each row from those of its lanes, which keep a place of length 1.

    ``rest`` is summed in float64: of a sure row it is the loss itself.
    """
    maximum = sums.maximum
    is_nan = maximum != maximum
    top = tl.max(tl.where(is_nan, float("-inf"), maximum), axis=1, keep_dims=True)
    has_nan = tl.max(is_nan.to(tl.int32), axis=1, keep_dims=True) > 0
    leads = tl.where(has_nan, is_nan, maximum == top)
    top = tl.where(has_nan, float("nan"), top)

    empty = maximum == float("-inf")
    distance = tl.where(empty, float("inf"), top - maximum)
    exponent = tl.maximum(-distance, LOWEST_EXPONENT)
    shrunk = exponential(exponent, -lost_by_sum(top, -maximum, distance), EXACT)
    lane_sum = 1.0 + sums.rest
    at_top = distance == 0
    # The ones of the lanes at the top are counted: of these only the first is the maximum's own.
    tops = _total(at_top.to(maximum.dtype))
    rest = tl.where(at_top, sums.rest, lane_sum * shrunk).to(tl.float64)
    surprise = shrunk * (sums.surprise - lane_sum * exponent)
    return Sums(
        maximum=top,
        rest=_total(rest) + (tops - 1.0),
        surprise=_total(surprise),
        smooth_gap=_total(sums.smooth_gap + _moved_gap(sums.smooth_weight, distance)),
        smooth_weight=_total(sums.smooth_weight),
        allowed=_total(sums.allowed),
        soft_gap=_total(sums.soft_gap + _moved_gap(sums.soft_mass, distance)),
        soft_mass=_total(sums.soft_mass),
        argmax=tl.min(tl.where(leads, sums.argmax, NO_CLASS), axis=1, keep_dims=True),
    )


@triton.jit
def _moved_gap(mass, distance):
    """Return mass · distance, where no mass moves nothing however far."""
    return tl.where(mass == 0, 0.0, mass * distance)


@triton.jit
def _total(lanes):
    """Return the sum of each row's lanes."""
    return tl.sum(lanes, axis=1, keep_dims=True)
