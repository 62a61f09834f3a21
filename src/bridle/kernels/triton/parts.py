"""The Triton kernels that reduce rows of scores to their parts; `row_kernels` launches them."""

# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-untyped-call"
# A kernel's arguments are Triton's own values, for which there are no types.

from __future__ import annotations

import triton
import triton.language as tl

from bridle.kernels.triton.arithmetic import log1p
from bridle.kernels.triton.scores import Bending, bent, is_exact, place, sum_dtype
from bridle.kernels.triton.sums import NO_CLASS, Sums, advanced, merged, no_sums


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
    SPLIT: tl.constexpr,
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
        Class indices (N,), int64, −1 for a row without one. None where no part asks for it.
    soft_target : Matrix or None
        Distributions (N, C) of any float dtype, read only where the target is one.
    weight : pointer or None
        Class weights (C,); None is ones.
    parts : RowParts of pointers
        The answer, (N,) each, in the dtype of the sums (argmax int64); None where not asked for.
        Left alone where rows are SPLIT.
    blocks : Sums of pointers or None
        The sums of each column block, (N, blocks) each, for `merge_kernel`; None if not SPLIT.
    rows, classes, block_width : int
        N, C, and the width of a column block.
    inverse_temperature, softcap : float
        1 / T; the softcap, which is read only if CAPPED.
    CAPPED : bool
        Whether there is a softcap.
    SPLIT : bool
        Whether rows are in column blocks. (Triton 3.6 cannot ask whether a tuple that holds a None
        is one.)
    ROWS, COLUMNS : int
        The tile, powers of 2.
    """
    dtype: tl.constexpr = sum_dtype(scores.first.dtype.element_ty)
    exact: tl.constexpr = is_exact(scores.first.dtype.element_ty)
    bending = Bending(inverse_temperature, softcap if CAPPED else None)
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]
    inside = row < rows
    begin = tl.program_id(1) * block_width
    end = tl.minimum(begin + block_width, classes)
    lane = tl.arange(0, COLUMNS)[None, :]
    sums = no_sums(begin + lane, dtype, ROWS, COLUMNS)
    for start in range(begin, end, COLUMNS):
        column = start + lane
        wanted = inside & (column < end)
        # Beyond the end lie masked classes, which have no part in anything.
        score = tl.load(place(scores, row, column), mask=wanted, other=float("-inf")).to(dtype)
        z, _ = bent(score, bending, exact)
        smooth_mass = tl.full([1, 1], 1.0, dtype)
        if weight is not None:
            smooth_mass = tl.load(weight + column, mask=column < end, other=0.0).to(dtype)
        soft_mass = tl.full([1, 1], 0.0, dtype)
        if soft_target is not None:
            mass = tl.load(place(soft_target, row, column), mask=wanted, other=0.0)
            soft_mass = smooth_mass * mass.to(dtype)
        sums = advanced(sums, z, column, smooth_mass, soft_mass, parts, exact)
    found = merged(sums, exact)
    if SPLIT:
        _store_sums(blocks, found, row * tl.num_programs(1) + tl.program_id(1), inside)
    else:
        _store_parts(parts, found, scores, target, row, inside, classes, bending)


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
    row = tl.program_id(0).to(tl.int64) + tl.zeros([1, 1], tl.int64)
    lane = tl.arange(0, LANES)[None, :]
    at = row * block_count + lane
    wanted = lane < block_count
    none = no_sums(lane, blocks.maximum.dtype.element_ty, 1, LANES)
    found = merged(
        Sums(
            maximum=tl.load(blocks.maximum + at, mask=wanted, other=float("-inf")),
            rest=tl.load(blocks.rest + at, mask=wanted, other=0.0),
            surprise=_loaded(blocks.surprise, at, wanted, none.surprise, 0.0),
            smooth_gap=_loaded(blocks.smooth_gap, at, wanted, none.smooth_gap, 0.0),
            smooth_weight=_loaded(blocks.smooth_weight, at, wanted, none.smooth_weight, 0.0),
            allowed=_loaded(blocks.allowed, at, wanted, none.allowed, 0.0),
            soft_gap=_loaded(blocks.soft_gap, at, wanted, none.soft_gap, 0.0),
            soft_mass=_loaded(blocks.soft_mass, at, wanted, none.soft_mass, 0.0),
            argmax=_loaded(blocks.argmax, at, wanted, none.argmax, NO_CLASS),
        ),
        is_exact(scores.first.dtype.element_ty),
    )
    bending = Bending(inverse_temperature, softcap if CAPPED else None)
    _store_parts(parts, found, scores, target, row, row >= 0, classes, bending)


@triton.jit
def _store_parts(parts, sums, scores, target, row, inside, classes, bending):
    """Finish each row's `Sums` and store what is asked for; a broken row is NaN."""
    broken = (tl.abs(sums.maximum) < float("inf")) == 0  # NaN, +inf, or nothing but −inf
    nan = tl.where(broken, float("nan"), 0.0).to(sums.maximum.dtype)
    maximum = tl.where(broken, nan, sums.maximum)
    tl.store(parts.maximum + row, maximum, mask=inside)
    tl.store(parts.log_sum + row, tl.where(broken, nan, log1p(sums.rest)), mask=inside)
    if parts.target_gap is not None:
        gap = _target_gap(maximum, scores, target, row, inside, classes, bending)
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
def _target_gap(maximum, scores, target, row, inside, classes, bending):
    """Return maximum − z[target]: 0 for the target −1, NaN for one that is no class.

    A maximum that is NaN makes NaN of them all.
    """
    label = tl.load(target + row, mask=inside, other=-1)
    known = (label >= 0) & (label < classes)
    score = tl.load(place(scores, row, label), mask=inside & known, other=0.0)
    z, _ = bent(score.to(maximum.dtype), bending, is_exact(score.dtype))
    unknown = tl.where(label == -1, maximum - maximum, float("nan"))
    return tl.where(known, maximum - z, unknown)


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
def _loaded(pointer, at, wanted, none, other):
    """Return the sums of column blocks, or ``none`` where they are not asked for."""
    value = none
    if pointer is not None:
        value = tl.load(pointer + at, mask=wanted, other=other)
    return value
