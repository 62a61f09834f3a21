"""The Triton kernels: rows of scores become parts, parts become gradients; `gpu` launches them.

A program works on a tile of a few rows and many columns. Each place of the tile, a *lane*, walks
along its row in steps of the tile's width and keeps sums of its own relative to its own largest
score; only at a row's end do the lanes merge. So an element costs one exponential and no exchange
between threads. The same merge joins the column blocks of a very wide row.

Everything here runs through Triton's interpreter too, which knows no device library: what is more
than an exponential or a logarithm is spelled out.
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-untyped-call"
# A kernel's arguments are Triton's own values, for which there are no types.

from __future__ import annotations

from typing import Any, NamedTuple

import triton
import triton.language as tl

# Every probability below exp(−800) is 0 in float64 as in float32, and nothing is −inf − (−inf).
LOWEST_EXPONENT = tl.constexpr(-800.0)
NO_CLASS = tl.constexpr(2**31 - 1)

# 1 / log 2 in two floats, since one alone costs an exponential |x| units in the last place.
LOG2_E = tl.constexpr(1.4426950216293335)
LOG2_E_REST = tl.constexpr(1.925963033500011e-08)
LOG_2 = tl.constexpr(0.6931471805599453)


class Matrix(NamedTuple):
    """A matrix as it lies in memory: entry (i, j) is at first + i · row_stride + j · column_stride.

    Attributes
    ----------
    first
        Pointer to the entry (0, 0).
    row_stride, column_stride
        Distance of two rows and of two columns, in entries.
    """

    first: Any
    row_stride: Any
    column_stride: Any


class Sums(NamedTuple):
    """What a stretch of a row is summed to; of several stretches, `_merged` makes those of all.

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
def _exponential(x):
    """Return exp(x) to 2 units in the last place, for x in [LOWEST_EXPONENT, 0] or NaN."""
    if x.dtype == tl.float64:
        result = tl.exp(x)
    else:
        # A GPU's own exponential is 2 to a power. What the power loses by rounding is made good.
        power = x * LOG2_E
        lost = tl.fma(x, LOG2_E_REST, tl.fma(x, LOG2_E, -power))
        result = tl.exp2(power)
        result = tl.fma(result, lost * LOG_2, result)
    return result


@triton.jit
def _distance_lost(high, low, distance):
    """Return what rounding took from distance = high − low (Knuth's exact difference)."""
    virtual = distance - high
    return (high - (distance - virtual)) - (low + virtual)


@triton.jit
def _restored(shrunk, exponent, lost):
    """Return exp(exponent − lost) from shrunk = exp(exponent), for a small ``lost``."""
    # Beyond the lowest exponent lie infinities, of which nothing was lost.
    return tl.fma(shrunk, tl.where(exponent > LOWEST_EXPONENT, -lost, 0.0), shrunk)


@triton.jit
def _log1p(x):
    """Return log(1 + x) for x ≥ 0, right also where 1 + x rounds x away."""
    rounded = 1.0 + x
    return tl.log(rounded) + (x - (rounded - 1.0)) / rounded


@triton.jit
def _tanh_and_slope(x):
    """Return tanh(x) and its derivative, 1 − tanh²(x), without cancellation in either."""
    exponent = tl.maximum(-2.0 * tl.abs(x), LOWEST_EXPONENT, propagate_nan=tl.PropagateNan.ALL)
    shrunk = _exponential(exponent)
    ratio = (1.0 - shrunk) / (1.0 + shrunk)
    # Lambert's continued fraction, eight levels deep: exact to float64 below 0.625.
    square = x * x
    over = 2027025.0 + square * (270270.0 + square * (6930.0 + square * 36.0))
    under = 945945.0 + square * (51975.0 + square * (630.0 + square))
    near = x * (over / (2027025.0 + square * under))
    tanh = tl.where(tl.abs(x) < 0.625, near, tl.where(x < 0, -ratio, ratio))
    slope = 4.0 * shrunk / ((1.0 + shrunk) * (1.0 + shrunk))
    return tanh, slope


@triton.jit
def _bent(score, inverse_temperature, softcap, CAPPED: tl.constexpr):
    """Return z = cap(score) / temperature and dz/dscore; infinities stay what they are."""
    scale = tl.full([1, 1], inverse_temperature, score.dtype)
    if CAPPED:
        cap = tl.full([1, 1], softcap, score.dtype)
        tanh, slope = _tanh_and_slope(score / cap)
        z = tl.where(tl.abs(score) == float("inf"), score, cap * tanh) * scale
        slope = slope * scale
    else:
        z = score * scale
        slope = scale
    return z, slope


@triton.jit
def _no_sums(column, dtype: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
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
def _moved_gap(mass, distance):
    """Return mass · distance, where no mass moves nothing however far."""
    return tl.where(mass == 0, 0.0, mass * distance)


@triton.jit
def _advanced(
    sums,
    z,
    column,
    smooth_mass,
    soft_mass,
    SMOOTHING: tl.constexpr,
    ENTROPY: tl.constexpr,
    ARGMAX: tl.constexpr,
    SOFT: tl.constexpr,
    EXACT: tl.constexpr,
):
    """Return `Sums` with one more score in each lane.

    Where the new score is the largest so far, all that was summed moves away from the maximum by
    their distance; elsewhere the new score itself lies that far below.
    """
    grown = z > sums.maximum
    masked = z == float("-inf")
    maximum = tl.maximum(sums.maximum, z, propagate_nan=tl.PropagateNan.ALL)
    step = tl.abs(z - sums.maximum)
    # A NaN counts as far away here (and shows in the maximum), as does −inf − (−inf).
    exponent = tl.maximum(-step, LOWEST_EXPONENT)
    shrunk = _exponential(exponent)
    if EXACT:
        lost = _distance_lost(maximum, tl.minimum(sums.maximum, z), step)
        shrunk = _restored(shrunk, exponent, lost)
    distance = tl.where(masked, float("inf"), step)
    surprise = sums.surprise
    if ENTROPY:
        moved = tl.where(grown, sums.surprise - (1.0 + sums.rest) * exponent, -exponent)
        surprise = shrunk * moved + tl.where(grown, 0.0, sums.surprise)
    smooth_gap, smooth_weight, allowed = sums.smooth_gap, sums.smooth_weight, sums.allowed
    if SMOOTHING:
        mass = tl.where(masked, 0.0, smooth_mass)
        smooth_gap += _moved_gap(tl.where(grown, smooth_weight, mass), distance)
        smooth_weight += mass
        allowed += tl.where(masked, 0.0, 1.0)
    soft_gap, soft_sum = sums.soft_gap, sums.soft_mass
    if SOFT:
        soft_gap += _moved_gap(tl.where(grown, soft_sum, soft_mass), distance)
        soft_sum += soft_mass
    argmax = sums.argmax
    if ARGMAX:
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
def _merged(sums):
    """Return the `Sums` of each row from those of its lanes, which keep a place of length 1."""
    maximum = sums.maximum
    is_nan = maximum != maximum
    top = tl.max(tl.where(is_nan, float("-inf"), maximum), axis=1, keep_dims=True)
    has_nan = tl.max(is_nan.to(tl.int32), axis=1, keep_dims=True) > 0
    leads = tl.where(has_nan, is_nan, maximum == top)
    top = tl.where(has_nan, float("nan"), top)

    empty = maximum == float("-inf")
    distance = tl.where(empty, float("inf"), top - maximum)
    exponent = tl.maximum(-distance, LOWEST_EXPONENT)
    shrunk = _restored(_exponential(exponent), exponent, _distance_lost(top, maximum, distance))
    lane_sum = 1.0 + sums.rest
    at_top = distance == 0
    # The ones of the lanes at the top are counted: of these only the first is the maximum's own.
    tops = tl.sum(at_top.to(maximum.dtype), axis=1, keep_dims=True)
    rest = tl.sum(tl.where(at_top, sums.rest, lane_sum * shrunk), axis=1, keep_dims=True)
    surprise = shrunk * (sums.surprise - lane_sum * exponent)
    smooth_gap = sums.smooth_gap + _moved_gap(sums.smooth_weight, distance)
    soft_gap = sums.soft_gap + _moved_gap(sums.soft_mass, distance)
    return Sums(
        maximum=top,
        rest=rest + (tops - 1.0),
        surprise=tl.sum(surprise, axis=1, keep_dims=True),
        smooth_gap=tl.sum(smooth_gap, axis=1, keep_dims=True),
        smooth_weight=tl.sum(sums.smooth_weight, axis=1, keep_dims=True),
        allowed=tl.sum(sums.allowed, axis=1, keep_dims=True),
        soft_gap=tl.sum(soft_gap, axis=1, keep_dims=True),
        soft_mass=tl.sum(sums.soft_mass, axis=1, keep_dims=True),
        argmax=tl.min(tl.where(leads, sums.argmax, NO_CLASS), axis=1, keep_dims=True),
    )


@triton.jit
def _target_gap(
    maximum,
    scores,
    target,
    row,
    inside,
    classes,
    inverse_temperature,
    softcap,
    CAPPED: tl.constexpr,
):
    """Return maximum − z[target]: 0 in an ignored row, NaN for a target that is no class."""
    label = tl.load(target + row, mask=inside, other=-1)
    known = (label >= 0) & (label < classes)
    at = scores.first + row * scores.row_stride + label * scores.column_stride
    score = tl.load(at, mask=inside & known, other=0.0).to(maximum.dtype)
    z, _ = _bent(score, inverse_temperature, softcap, CAPPED)
    unknown = tl.where(label == -1, 0.0, float("nan"))
    return tl.where(known, maximum - z, unknown)


@triton.jit
def _store_parts(
    parts,
    sums,
    scores,
    target,
    row,
    inside,
    classes,
    inverse_temperature,
    softcap,
    CAPPED: tl.constexpr,
):
    """Finish each row's `Sums` and store what is asked for; a broken row is NaN."""
    broken = (tl.abs(sums.maximum) < float("inf")) == 0  # NaN, +inf, or nothing but −inf
    nan = tl.where(broken, float("nan"), 0.0).to(sums.maximum.dtype)
    maximum = tl.where(broken, nan, sums.maximum)
    tl.store(parts.maximum + row, maximum, mask=inside)
    tl.store(parts.log_sum + row, tl.where(broken, nan, _log1p(sums.rest)), mask=inside)
    if parts.target_gap is not None:
        gap = _target_gap(
            maximum, scores, target, row, inside, classes, inverse_temperature, softcap, CAPPED
        )
        tl.store(parts.target_gap + row, gap, mask=inside)
    if parts.smooth_gap is not None:
        tl.store(parts.smooth_gap + row, sums.smooth_gap + nan, mask=inside)
        tl.store(parts.smooth_weight + row, sums.smooth_weight, mask=inside)
        tl.store(parts.allowed + row, sums.allowed, mask=inside)
    if parts.mean_gap is not None:
        tl.store(parts.mean_gap + row, sums.surprise / (1.0 + sums.rest) + nan, mask=inside)
    if parts.soft_gap is not None:
        tl.store(parts.soft_gap + row, sums.soft_gap + nan, mask=inside)
        tl.store(parts.soft_mass + row, sums.soft_mass, mask=inside)
    if parts.argmax is not None:
        tl.store(parts.argmax + row, sums.argmax.to(tl.int64), mask=inside)


@triton.jit
def _store_sums(blocks, sums, at, inside):
    """Store the `Sums` of a column block, those that are asked for."""
    tl.store(blocks.maximum + at, sums.maximum, mask=inside)
    tl.store(blocks.rest + at, sums.rest, mask=inside)
    if blocks.surprise is not None:
        tl.store(blocks.surprise + at, sums.surprise, mask=inside)
    if blocks.smooth_gap is not None:
        tl.store(blocks.smooth_gap + at, sums.smooth_gap, mask=inside)
        tl.store(blocks.smooth_weight + at, sums.smooth_weight, mask=inside)
        tl.store(blocks.allowed + at, sums.allowed, mask=inside)
    if blocks.soft_gap is not None:
        tl.store(blocks.soft_gap + at, sums.soft_gap, mask=inside)
        tl.store(blocks.soft_mass + at, sums.soft_mass, mask=inside)
    if blocks.argmax is not None:
        tl.store(blocks.argmax + at, sums.argmax, mask=inside)


@triton.jit
def row_parts_kernel(
    scores,
    target,
    soft_target,
    weight,
    parts,
    blocks,
    rows,
    classes,
    block_width,
    inverse_temperature: tl.float64,
    softcap: tl.float64,
    CAPPED: tl.constexpr,
    SMOOTHING: tl.constexpr,
    ENTROPY: tl.constexpr,
    ARGMAX: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Reduce rows of scores to their parts, or to the sums of each of their column blocks.

    The grid is ``(ceil(rows / ROWS), number of column blocks)``.

    Parameters
    ----------
    scores : Matrix
        Scores (N, C) of any float dtype; those of float64 are summed in it, others in float32.
    target : pointer or None
        Class indices (N,), int64, −1 where a row is not counted. None where no part asks for it.
    soft_target : Matrix or None
        Distributions (N, C) of any float dtype, read only where the target is one.
    weight : pointer or None
        Class weights (C,); None is ones.
    parts : RowParts of pointers
        The answer, (N,) each, in the dtype of the sums (argmax int64); None where not asked for.
        Left alone where ``blocks`` is given.
    blocks : Sums of pointers or None
        The sums of each column block, (N, blocks) each, for `merge_kernel`; None if the row is one.
    rows, classes, block_width : int
        N, C, and the width of a column block.
    inverse_temperature, softcap : float
        1 / T; the softcap, which nobody reads unless CAPPED.
    CAPPED, SMOOTHING, ENTROPY, ARGMAX : bool
        Whether scores are capped; which sums are asked for.
    ROWS, COLUMNS : int
        The tile, powers of 2.
    """
    dtype: tl.constexpr = tl.float64 if scores.first.dtype.element_ty == tl.float64 else tl.float32
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]
    inside = row < rows
    begin = tl.program_id(1) * block_width
    end = tl.minimum(begin + block_width, classes)
    lane = tl.arange(0, COLUMNS)[None, :]
    sums = _no_sums(begin + lane, dtype, ROWS, COLUMNS)
    for start in range(begin, end, COLUMNS):
        column = start + lane
        wide_column = column.to(tl.int64)
        wanted = inside & (column < end)
        at = scores.first + row * scores.row_stride + wide_column * scores.column_stride
        # Beyond the end lie masked classes, which have no part in anything.
        score = tl.load(at, mask=wanted, other=float("-inf")).to(dtype)
        z, _ = _bent(score, inverse_temperature, softcap, CAPPED)
        smooth_mass = tl.full([1, 1], 1.0, dtype)
        if weight is not None:
            smooth_mass = tl.load(weight + column, mask=column < end, other=0.0).to(dtype)
        soft_mass = tl.full([1, 1], 0.0, dtype)
        if soft_target is not None:
            at = soft_target.first + row * soft_target.row_stride
            at += wide_column * soft_target.column_stride
            soft_mass = smooth_mass * tl.load(at, mask=wanted, other=0.0).to(dtype)
        sums = _advanced(
            sums,
            z,
            column,
            smooth_mass,
            soft_mass,
            SMOOTHING,
            ENTROPY,
            ARGMAX,
            soft_target is not None,
            scores.first.dtype.element_ty == tl.float32,
        )
    merged = _merged(sums)
    if blocks is not None:
        _store_sums(blocks, merged, row * tl.num_programs(1) + tl.program_id(1), inside)
    else:
        _store_parts(
            parts,
            merged,
            scores,
            target,
            row,
            inside,
            classes,
            inverse_temperature,
            softcap,
            CAPPED,
        )


@triton.jit
def merge_kernel(
    blocks,
    scores,
    target,
    parts,
    classes,
    block_count,
    inverse_temperature: tl.float64,
    softcap: tl.float64,
    CAPPED: tl.constexpr,
    LANES: tl.constexpr,
):
    """Merge the column blocks of very wide rows to the rows' parts; the grid is ``(N,)``.

    Parameters
    ----------
    blocks : Sums of pointers
        What `row_parts_kernel` stored, (N, block_count) each; None where not asked for.
    scores, target, parts, classes, inverse_temperature, softcap, CAPPED
        As in `row_parts_kernel`; of the scores only the target's is read.
    block_count : int
        Number of column blocks of a row.
    LANES : int
        ``block_count`` or the next power of 2.
    """
    dtype: tl.constexpr = blocks.maximum.dtype.element_ty
    row = tl.program_id(0).to(tl.int64) + tl.zeros([1, 1], tl.int64)
    lane = tl.arange(0, LANES)[None, :]
    at = row * block_count + lane
    wanted = lane < block_count
    sums = _no_sums(lane, dtype, 1, LANES)
    surprise = sums.surprise
    if blocks.surprise is not None:
        surprise = tl.load(blocks.surprise + at, mask=wanted, other=0.0)
    smooth_gap, smooth_weight, allowed = sums.smooth_gap, sums.smooth_weight, sums.allowed
    if blocks.smooth_gap is not None:
        smooth_gap = tl.load(blocks.smooth_gap + at, mask=wanted, other=0.0)
        smooth_weight = tl.load(blocks.smooth_weight + at, mask=wanted, other=0.0)
        allowed = tl.load(blocks.allowed + at, mask=wanted, other=0.0)
    soft_gap, soft_mass = sums.soft_gap, sums.soft_mass
    if blocks.soft_gap is not None:
        soft_gap = tl.load(blocks.soft_gap + at, mask=wanted, other=0.0)
        soft_mass = tl.load(blocks.soft_mass + at, mask=wanted, other=0.0)
    argmax = sums.argmax
    if blocks.argmax is not None:
        argmax = tl.load(blocks.argmax + at, mask=wanted, other=NO_CLASS)
    merged = _merged(
        Sums(
            maximum=tl.load(blocks.maximum + at, mask=wanted, other=float("-inf")),
            rest=tl.load(blocks.rest + at, mask=wanted, other=0.0),
            surprise=surprise,
            smooth_gap=smooth_gap,
            smooth_weight=smooth_weight,
            allowed=allowed,
            soft_gap=soft_gap,
            soft_mass=soft_mass,
            argmax=argmax,
        )
    )
    _store_parts(
        parts,
        merged,
        scores,
        target,
        row,
        row >= 0,
        classes,
        inverse_temperature,
        softcap,
        CAPPED,
    )


@triton.jit
def _coefficient(pointer, row, inside, dtype: tl.constexpr):
    """Return a coefficient of each row, 0 where there is none."""
    if pointer is None:
        value = tl.zeros([1, 1], dtype)
    else:
        value = tl.load(pointer + row, mask=inside, other=0.0).to(dtype)
    return value


@triton.jit
def row_gradient_kernel(
    scores,
    out,
    target,
    soft_target,
    weight,
    maximum,
    log_sum,
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
        Class indices (N,), int64; −1 makes a row of zeros. None if there are none.
    soft_target : Matrix or None
        Distributions (N, C), where the target is one.
    weight : pointer or None
        Class weights (C,), which scale ``s`` and the soft target's ``t``; None is ones.
    maximum, log_sum : pointers
        The parts (N,) of the rows; NaN makes a row of NaN.
    a, b, s, t : pointers, all but ``a`` or None
        The coefficients (N,); None is zeros.
    rows, classes, inverse_temperature, softcap, CAPPED, ROWS, COLUMNS
        As in `row_parts_kernel`.
    """
    dtype: tl.constexpr = tl.float64 if scores.first.dtype.element_ty == tl.float64 else tl.float32
    tiles = tl.cdiv(classes, COLUMNS)
    row = (tl.program_id(0) // tiles).to(tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]
    column = (tl.program_id(0) % tiles) * COLUMNS + tl.arange(0, COLUMNS)[None, :]
    wide_column = column.to(tl.int64)
    inside = row < rows
    of_p, of_entropy = _coefficient(a, row, inside, dtype), _coefficient(b, row, inside, dtype)
    of_smooth, of_target = _coefficient(s, row, inside, dtype), _coefficient(t, row, inside, dtype)
    active = (of_p != 0) | (of_entropy != 0) | (of_smooth != 0) | (of_target != 0)
    top = tl.load(maximum + row, mask=inside, other=0.0)
    log_total = tl.load(log_sum + row, mask=inside, other=0.0)
    broken = log_total != log_total
    label = tl.full([1, 1], -1, tl.int64)
    if target is not None:
        label = tl.load(target + row, mask=inside, other=-1)
        active &= label != -1
        broken |= (label < 0) | (label >= classes)

    wanted = inside & active & (column < classes)
    at = scores.first + row * scores.row_stride + wide_column * scores.column_stride
    score = tl.load(at, mask=wanted, other=0.0).to(dtype)
    z, slope = _bent(score, inverse_temperature, softcap, CAPPED)
    log_p = z - top - log_total
    log_p = tl.maximum(log_p, LOWEST_EXPONENT, propagate_nan=tl.PropagateNan.ALL)
    value = _exponential(log_p) * (of_p + of_entropy * log_p)
    class_weight = tl.full([1, 1], 1.0, dtype)
    if weight is not None:
        class_weight = tl.load(weight + column, mask=column < classes, other=0.0).to(dtype)
    value = tl.where(z == float("-inf"), 0.0, value - of_smooth * class_weight)
    if soft_target is not None:
        soft_at = soft_target.first + row * soft_target.row_stride
        soft_at += wide_column * soft_target.column_stride
        mass = tl.load(soft_at, mask=wanted, other=0.0).to(dtype)
        value -= of_target * class_weight * mass
    else:
        value -= tl.where(wide_column == label, of_target, 0.0)
    value = tl.where(broken, float("nan"), value * slope)
    value = tl.where(active, value, 0.0)
    at = out.first + row * out.row_stride + wide_column * out.column_stride
    tl.store(at, value.to(out.first.dtype.element_ty), mask=inside & (column < classes))
