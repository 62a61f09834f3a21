"""The Triton kernels that make the loss of class indices, and its gradient; `index_loss` launches.

Where a row is short enough, one program makes both: the second reading of the scores is from
registers or from the cache. Wider rows take one program for the loss, and many for the gradient.

The scores of a row are read 16 bytes at a time also where the row does not begin at a multiple of
16 bytes: such a row is PEELED, which means that the few scores before its first and after its last
such multiple, its *edges*, are read one by one.
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-untyped-call, assignment"
# A kernel's arguments are Triton's own values, for which there are no types.

from __future__ import annotations

from typing import Any, NamedTuple

import triton
import triton.language as tl

from bridle.kernels.triton.row_algebra import (
    Rows,
    RowSums,
    Terms,
    accuracy_of_gradients,
    accuracy_of_sums,
    class_weight_of,
    exponential_below,
    gradient_scale,
    inside_of_held,
    log_sum_of,
    no_sums,
    read_bent,
    read_target,
    row_loss,
    row_slopes,
    sums_of_held,
    target_score,
    tile_gradient,
    with_tile,
)
from bridle.kernels.triton.scores import Bending, sum_dtype


class Layout(NamedTuple):
    """Where a program's scores are and their gradient goes.

    Attributes
    ----------
    scores, out
        Pointers to the first score of each row and to its gradient.
    body, out_body
        The same of those columns that are read 16 bytes at a time.
    lead, length
        How many columns lie before those, and how many they are: all columns but the edges.
    """

    scores: Any
    out: Any
    body: Any
    out_body: Any
    lead: Any
    length: Any


@triton.jit
def _layout(
    scores,
    row_stride,
    out,
    out_stride,
    row,
    classes,
    ALIGNMENT: tl.constexpr,
    PEELED: tl.constexpr,
    SIDE_BY_SIDE: tl.constexpr,
):
    """Return the `Layout` of rows (n, 1), or of the one row, a number, of a PEELED program."""
    # A product with a constant tells the compiler what divides it.
    first = scores + row * (row_stride // ALIGNMENT * ALIGNMENT)
    to = out + row * (out_stride // ALIGNMENT * ALIGNMENT)
    if PEELED:
        size: tl.constexpr = scores.dtype.element_ty.primitive_bitwidth // 8
        address = first.to(tl.int64)
        lead = tl.minimum((16 - address % 16) % 16 // size, classes).to(tl.int32)
        length = (classes - lead) // (16 // size) * (16 // size)
        body = tl.multiple_of(first + lead, 16)
        out_body = tl.multiple_of(to + lead, 16) if SIDE_BY_SIDE else to + lead
    else:
        lead, body, out_body = 0, first, to
        length = classes // ALIGNMENT * ALIGNMENT
    return Layout(first, to, body, out_body, lead, length)


@triton.jit
def _edge_columns(layout, classes, WIDTH: tl.constexpr):
    """Return the columns before and after those that are read 16 bytes at a time; C is none."""
    lane = tl.arange(0, 2 * WIDTH)[None, :]
    before = tl.where(lane < layout.lead, lane, classes)
    return tl.where(lane < WIDTH, before, layout.lead + layout.length + lane - WIDTH)


@triton.jit
def _sums_with(
    sums,
    scores,
    column,
    inside,
    terms,
    BENT: tl.constexpr,
    SMOOTHED: tl.constexpr,
    ACCURACY: tl.constexpr,
    AGAIN: tl.constexpr,
):
    """Return the sums with those of some columns, which may be read AGAIN."""
    cache: tl.constexpr = "evict_last" if AGAIN else ""
    z, _ = read_bent(scores, inside, terms, sums.top.dtype, BENT, cache)
    weight = class_weight_of(terms.weight, column, terms.classes, z.dtype, SMOOTHED)
    sums, _ = with_tile(sums, z, weight, SMOOTHED, ACCURACY)
    return sums


@triton.jit
def _held_tiles(
    layout,
    lane,
    rows,
    terms,
    dtype: tl.constexpr,
    BENT: tl.constexpr,
    HELD: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Return z and dz/dscore of whole rows, tile by tile: read once, they stay in registers."""
    tiles = ()
    for number in tl.static_range(HELD):
        column = number * COLUMNS + lane
        inside = inside_of_held(rows, column, layout.length, number == HELD - 1)
        tile = read_bent(layout.scores + column, inside, terms, dtype, BENT, "")
        tiles = tiles + (tile,)  # noqa: RUF005 - Triton unpacks no tuple
    return tiles


@triton.jit
def _read_and_write(
    slopes,
    scores,
    out,
    column,
    inside,
    label,
    terms,
    BENT: tl.constexpr,
    SMOOTHED: tl.constexpr,
    ACCURACY: tl.constexpr,
):
    """Read scores (once more) and write their gradient."""
    z, slope = read_bent(
        scores, inside & slopes.active, terms, slopes.at_label.dtype, BENT, "evict_first"
    )
    e = exponential_below(z, slopes.reference, ACCURACY)
    _write(slopes, e, z, slope, out, column, inside, label, terms, BENT, SMOOTHED)


@triton.jit
def _write(
    slopes,
    e,
    z,
    slope,
    out,
    column,
    inside,
    label,
    terms,
    BENT: tl.constexpr,
    SMOOTHED: tl.constexpr,
):
    weight = class_weight_of(terms.weight, column, terms.classes, z.dtype, SMOOTHED)
    value = tile_gradient(slopes, e, z, slope, column, label, weight, BENT, SMOOTHED)
    tl.store(out, value.to(out.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=["row_count", "ignore_index"])
def loss_kernel(
    scores,
    out,
    target,
    weight,
    sample_weight,
    divisor,
    losses,
    tops,
    rests,
    gaps,
    masses,
    counts,
    row_stride,
    out_stride,
    row_count,
    classes,
    ignore_index,
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
    KEPT: tl.constexpr,
    COUNTED: tl.constexpr,
    HELD: tl.constexpr,
    PEELED: tl.constexpr,
    SIDE_BY_SIDE: tl.constexpr,
    ALIGNMENT: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Make the losses of rows, and with GRADIENT the gradient of their sum over the divisor.

    The grid is ``(ceil(row_count / ROWS),)``.

    Parameters
    ----------
    scores, out : pointers
        Scores (N, C) with the classes side by side, and their gradient, likewise; it may be the
        scores. Left alone without GRADIENT.
    target : pointer
        Class indices (N,) of any integer dtype.
    weight, sample_weight : pointers or None
        Class weights (C,) and weights of the rows (N,); None is ones.
    divisor : pointer or None
        One number of any dtype: what the losses' sum is divided by, as far as the gradient is
        concerned. With COUNTED a float64 that is written.
    losses, tops, rests, gaps, masses, counts : pointers
        The answers (N,), in the dtype of the sums: each row's loss, and what backward needs of it,
        if that is KEPT. The last two are written with SMOOTHED alone.
    row_stride, out_stride : int
        The distance of two rows of the scores, and of their gradient.
    row_count, classes, ignore_index : int
        N, C, and the target of rows that do not count.
    normalizer : float
        Divides the gradient too.
    smoothing, z_loss, inverse_temperature, softcap : float
        The terms of the loss.
    BENT, CAPPED, SMOOTHED, Z_LOSS : bool
        Which of them there are; CAPPED is of BENT.
    GRADIENT : bool
        Whether the gradient is made.
    KEPT : bool
        Whether what backward needs is written.
    COUNTED : int
        So many rows at a time, every program sums up the divisor for itself; 0: it is known.
    HELD : int
        How many tiles hold whole rows, which then stay in registers, all but the last of them full;
        0: tiles are read in a loop.
    PEELED : bool
        Whether a row's edges are read one by one; see the module.
    SIDE_BY_SIDE : bool
        Whether scores and gradient are equally far from multiples of 16 bytes, in every row.
    ALIGNMENT : int
        A power of 2 that divides strides and classes.
    ROWS, COLUMNS : int
        The tile, powers of 2; one row where none is HELD.
    """
    dtype: tl.constexpr = sum_dtype(scores.dtype.element_ty)
    of_sums: tl.constexpr = accuracy_of_sums(scores.dtype.element_ty)
    of_gradients: tl.constexpr = accuracy_of_gradients(scores.dtype.element_ty)
    edge: tl.constexpr = 128 // scores.dtype.element_ty.primitive_bitwidth
    terms = Terms(
        weight,
        sample_weight,
        ignore_index,
        classes,
        tl.full([1, 1], smoothing, dtype),
        tl.full([1, 1], z_loss, dtype),
        Bending(inverse_temperature, softcap if CAPPED else None),
    )
    first_row = tl.program_id(0).to(tl.int64) * ROWS
    row = first_row + tl.arange(0, ROWS)[:, None]
    rows = Rows(row, row < row_count)
    layout = _layout(
        scores,
        row_stride,
        out,
        out_stride,
        first_row if PEELED else row,
        classes,
        ALIGNMENT,
        PEELED,
        SIDE_BY_SIDE,
    )
    lane = tl.arange(0, COLUMNS)[None, :]
    # What is needed last is asked for first: the target's score takes two readings, one after the
    # other, which would be waited for at the end.
    labels = read_target(target, rows, terms)
    score_at_label = target_score(layout.scores, labels, rows, terms, dtype, BENT)
    if COUNTED:
        below = _sum_of_shares(
            target, weight, sample_weight, 0, COUNTED, row_count, ignore_index, classes, COUNTED
        )
        tl.store(divisor, below, mask=tl.program_id(0) == 0)
        scale = gradient_scale(None, below * normalizer, None, dtype)
    else:
        scale = gradient_scale(divisor, normalizer, None, dtype)
    if HELD:
        tiles = _held_tiles(layout, lane, rows, terms, dtype, BENT, HELD, COLUMNS)
        sums, exponentials = sums_of_held(tiles, lane, terms, SMOOTHED, of_sums, HELD, COLUMNS)
    else:
        sums = no_sums(ROWS, dtype, of_sums)
        if PEELED:
            edges = _edge_columns(layout, classes, edge)
            inside_edges = rows.inside & (edges < classes)
            sums = _sums_with(
                sums,
                layout.scores + edges,
                edges,
                inside_edges,
                terms,
                BENT,
                SMOOTHED,
                of_sums,
                GRADIENT,
            )
        for start in range(0, layout.length, COLUMNS):
            inside = rows.inside & (start + lane < layout.length)
            column = layout.lead + start + lane
            sums = _sums_with(
                sums,
                layout.body + (start + lane),
                column,
                inside,
                terms,
                BENT,
                SMOOTHED,
                of_sums,
                GRADIENT,
            )
    if KEPT:
        tl.store(tops + row, sums.top, mask=rows.inside)
        tl.store(rests + row, sums.rest.to(dtype), mask=rows.inside)
        if SMOOTHED:
            tl.store(masses + row, sums.mass, mask=rows.inside)
            tl.store(counts + row, sums.count, mask=rows.inside)
    log_sum = log_sum_of(sums)
    gap = sums.top - score_at_label
    loss_of_rows = row_loss(sums, log_sum, gap, labels, rows, terms, SMOOTHED, Z_LOSS)
    tl.store(losses + row, loss_of_rows.loss, mask=rows.inside)
    if KEPT:
        tl.store(gaps + row, gap, mask=rows.inside)
    if GRADIENT:
        slopes = row_slopes(sums, log_sum, gap, loss_of_rows, scale, terms, SMOOTHED, Z_LOSS)
        if HELD:
            for number in tl.static_range(HELD):
                z, slope = tiles[number]
                # What is not asked for is 0, whatever the row holds.
                e = tl.where(slopes.active, exponentials[number], 0.0)
                if BENT:
                    slope = tl.where(slopes.active, slope, 0.0)
                column = number * COLUMNS + lane
                inside = inside_of_held(rows, column, layout.length, number == HELD - 1)
                to = layout.out + column
                _write(slopes, e, z, slope, to, column, inside, labels.label, terms, BENT, SMOOTHED)
        else:
            # In place, the target's score must have been read before another thread overwrites it.
            tl.debug_barrier()
            if PEELED:
                _read_and_write(
                    slopes,
                    layout.scores + edges,
                    layout.out + edges,
                    edges,
                    inside_edges,
                    labels.label,
                    terms,
                    BENT,
                    SMOOTHED,
                    of_gradients,
                )
            for start in range(0, layout.length, COLUMNS):
                inside = rows.inside & (start + lane < layout.length)
                place = start + lane
                column = layout.lead + place
                _read_and_write(
                    slopes,
                    layout.body + place,
                    layout.out_body + place,
                    column,
                    inside,
                    labels.label,
                    terms,
                    BENT,
                    SMOOTHED,
                    of_gradients,
                )
        _write_at_label(slopes, layout, labels, rows.inside, BENT, SMOOTHED)


@triton.jit
def _write_at_label(slopes, layout, target, inside, BENT: tl.constexpr, SMOOTHED: tl.constexpr):
    """Write each row's entry at its target, over what its tile has written there.

    So no column is compared with the target, which would be a quarter of all instructions.
    """
    if not (BENT or SMOOTHED):
        tl.debug_barrier()
        at_label = slopes.at_label.to(layout.out.dtype.element_ty)
        tl.store(layout.out + target.label, at_label, mask=inside & target.known)


@triton.jit(do_not_specialize=["row_count", "ignore_index"])
def gradient_kernel(
    scores,
    out,
    target,
    weight,
    sample_weight,
    divisor,
    cotangent,
    tops,
    rests,
    gaps,
    masses,
    counts,
    row_stride,
    out_stride,
    row_count,
    classes,
    ignore_index,
    normalizer: tl.float64,
    smoothing: tl.float64,
    z_loss: tl.float64,
    inverse_temperature: tl.float64,
    softcap: tl.float64,
    BENT: tl.constexpr,
    CAPPED: tl.constexpr,
    SMOOTHED: tl.constexpr,
    Z_LOSS: tl.constexpr,
    EACH: tl.constexpr,
    PEELED: tl.constexpr,
    SIDE_BY_SIDE: tl.constexpr,
    ALIGNMENT: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Write the gradient of rows whose losses are known; the tiles of a row are side by side.

    The grid is ``(ceil(row_count / ROWS) · ceil(classes / COLUMNS),)``.

    Parameters
    ----------
    cotangent : pointer
        What the losses' gradients are multiplied by: one number, or with EACH one a row (N,).
    tops, rests, gaps, masses, counts : pointers
        What `loss_kernel` wrote.
    EACH : bool
        Whether each row has a cotangent of its own.

    All others are those of `loss_kernel`.
    """
    dtype: tl.constexpr = sum_dtype(scores.dtype.element_ty)
    accuracy: tl.constexpr = accuracy_of_sums(scores.dtype.element_ty)
    edge: tl.constexpr = 128 // scores.dtype.element_ty.primitive_bitwidth
    terms = Terms(
        weight,
        sample_weight,
        ignore_index,
        classes,
        tl.full([1, 1], smoothing, dtype),
        tl.full([1, 1], z_loss, dtype),
        Bending(inverse_temperature, softcap if CAPPED else None),
    )
    tiles = tl.cdiv(classes, COLUMNS)
    first_row = (tl.program_id(0) // tiles).to(tl.int64) * ROWS
    row = first_row + tl.arange(0, ROWS)[:, None]
    tile = tl.program_id(0) % tiles
    rows = Rows(row, row < row_count)
    layout = _layout(
        scores,
        row_stride,
        out,
        out_stride,
        first_row if PEELED else row,
        classes,
        ALIGNMENT,
        PEELED,
        SIDE_BY_SIDE,
    )
    nothing = tl.zeros([ROWS, 1], dtype)
    mass, count = nothing, nothing
    if SMOOTHED:
        mass = tl.load(masses + row, mask=rows.inside, other=0.0)
        count = tl.load(counts + row, mask=rows.inside, other=0.0)
    sums = RowSums(
        tl.load(tops + row, mask=rows.inside, other=0.0),
        tl.load(rests + row, mask=rows.inside, other=0.0),
        nothing,
        mass,
        count,
    )
    labels = read_target(target, rows, terms)
    log_sum = log_sum_of(sums)
    # Not read from the scores: in place, another program may have overwritten the target's.
    gap = tl.load(gaps + row, mask=rows.inside, other=0.0)
    loss_of_rows = row_loss(sums, log_sum, gap, labels, rows, terms, SMOOTHED, Z_LOSS)
    factor = tl.load(cotangent + (row if EACH else 0 * row), mask=rows.inside, other=0.0)
    scale = gradient_scale(divisor, normalizer, factor, dtype)
    slopes = row_slopes(sums, log_sum, gap, loss_of_rows, scale, terms, SMOOTHED, Z_LOSS)
    lane = tile * COLUMNS + tl.arange(0, COLUMNS)[None, :]
    inside = rows.inside & (lane < layout.length)
    column = layout.lead + lane
    _read_and_write(
        slopes,
        layout.body + lane,
        layout.out_body + lane,
        column,
        inside,
        labels.label,
        terms,
        BENT,
        SMOOTHED,
        accuracy,
    )
    if PEELED:
        edges = _edge_columns(layout, classes, edge)
        inside_edges = rows.inside & (edges < classes) & (row * 0 + tile == 0)
        _read_and_write(
            slopes,
            layout.scores + edges,
            layout.out + edges,
            edges,
            inside_edges,
            labels.label,
            terms,
            BENT,
            SMOOTHED,
            accuracy,
        )
    # The edges are the first tile's.
    at_edge = (labels.label < layout.lead) | (labels.label >= layout.lead + layout.length)
    tile_of_label = tl.where(at_edge, 0, (labels.label - layout.lead) // COLUMNS)
    _write_at_label(slopes, layout, labels, rows.inside & (tile_of_label == tile), BENT, SMOOTHED)


@triton.jit(do_not_specialize=["row_count", "ignore_index", "classes"])
def divisor_kernel(
    target, weight, sample_weight, sums, row_count, ignore_index, classes, NUMBERS: tl.constexpr
):
    """Sum ``sample_weight · weight[target]`` over rows that count; a program sums its share."""
    first, step = tl.program_id(0) * NUMBERS, tl.num_programs(0) * NUMBERS
    total = _sum_of_shares(
        target, weight, sample_weight, first, step, row_count, ignore_index, classes, NUMBERS
    )
    tl.store(sums + tl.program_id(0), total)


@triton.jit
def _sum_of_shares(
    target,
    weight,
    sample_weight,
    first,
    step,
    row_count,
    ignore_index,
    classes,
    NUMBERS: tl.constexpr,
):
    """Return ``Σ sample_weight · weight[target]`` of NUMBERS rows in each ``step`` rows."""
    total = tl.zeros([NUMBERS], tl.float64)
    for start in range(first, row_count, step):
        row = start + tl.arange(0, NUMBERS).to(tl.int64)
        inside = row < row_count
        label = tl.load(target + row, mask=inside, other=0).to(tl.int64)
        counts = inside & (label != ignore_index)
        share = tl.where(counts, 1.0, 0.0).to(tl.float64)
        if sample_weight is not None:
            share *= tl.load(sample_weight + row, mask=counts, other=0.0).to(tl.float64)
        if weight is not None:
            known = counts & (label >= 0) & (label < classes)
            share *= tl.load(weight + label, mask=known, other=0.0).to(tl.float64)
        total += share
    return tl.sum(total)


@triton.jit(do_not_specialize=["number"])
def total_kernel(
    losses,
    divisor,
    result,
    number,
    normalizer: tl.float64,
    EMPTY_IS_ZERO: tl.constexpr,
    NUMBERS: tl.constexpr,
):
    """Store the sum of ``number`` losses over divisor and normalizer, made by one program."""
    total = tl.zeros([NUMBERS], tl.float64)
    for start in range(0, number, NUMBERS):
        place = start + tl.arange(0, NUMBERS)
        total += tl.load(losses + place, mask=place < number, other=0.0).to(tl.float64)
    below = normalizer
    if divisor is not None:
        below *= tl.load(divisor)
    empty = 0.0 if EMPTY_IS_ZERO else float("nan")
    value = tl.where(below == 0, empty, tl.sum(total) / tl.where(below == 0, 1.0, below))
    tl.store(result, value.to(result.dtype.element_ty))


@triton.jit
def scale_kernel(gradient, factor, number, NUMBERS: tl.constexpr):
    """Multiply a gradient by a factor, unless that is 1: then no number is read.

    A factor of 0 asks for nothing, not even of a row that is broken.
    """
    by = tl.load(factor)
    if by != 1:
        step = tl.num_programs(0).to(tl.int64) * NUMBERS
        for start in range(tl.program_id(0).to(tl.int64) * NUMBERS, number, step):
            place = start + tl.arange(0, NUMBERS)
            value = tl.load(gradient + place, mask=place < number)
            scaled = tl.where(by == 0, 0.0, value * by)
            tl.store(gradient + place, scaled.to(value.dtype), mask=place < number)
