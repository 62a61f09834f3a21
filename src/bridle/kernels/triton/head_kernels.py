"""The Triton kernels of a linear head with few features; `head_loss` launches them.

Where features are few, a product of them takes less time than to write its scores down and to read
them again. So scores are never stored: a tile of them is made, used and forgotten, once for the
losses and once for each gradient. They are float32 sums, which nothing rounds.
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-untyped-call, assignment"
# A kernel's arguments are Triton's own values, for which there are no types.

from __future__ import annotations

from typing import Any, NamedTuple

import triton
import triton.language as tl

from bridle.kernels.triton.head_loss import Known
from bridle.kernels.triton.row_algebra import (
    QUICK,
    Rows,
    RowSums,
    Slopes,
    Terms,
    bent_if,
    class_weight_of,
    exponential_below,
    finite,
    gradient_scale,
    log_sum_of,
    no_sums,
    read_target,
    row_loss,
    row_slopes,
    tile_gradient,
    with_tile,
)
from bridle.kernels.triton.scores import Bending

# What stands for the label of a row that does not count.
NOT_COUNTED = tl.constexpr(-2)


class Vectors(NamedTuple):
    """Some rows of a matrix (n, FEATURES): ``index`` and ``inside`` are (n,)."""

    index: Any
    inside: Any
    entries: Any


@triton.jit
def _read_vectors(matrix, stride, index, count, FEATURES: tl.constexpr, WIDTH: tl.constexpr):
    """Return `Vectors`, filled up with zeros to a WIDTH that is a power of 2."""
    inside = index < count
    column = tl.arange(0, WIDTH)[None, :]
    mask = inside[:, None]
    if FEATURES < WIDTH:
        mask = mask & (column < FEATURES)
    place = matrix + index.to(tl.int64)[:, None] * stride + column
    return Vectors(index, inside, tl.load(place, mask=mask, other=0.0))


@triton.jit
def _scores_of(rows, some, bias, terms, may_end, BENT: tl.constexpr):
    """Return z and dz/dscore of rows × some classes; −inf for what is no class."""
    score = tl.dot(rows.entries, tl.trans(some.entries))
    if bias is not None:
        score += tl.load(bias + some.index, mask=some.inside, other=0.0).to(tl.float32)[None, :]
    z, slope = bent_if(score, terms.bending, BENT, False)
    if may_end:  # asked once for each tile, not for each score
        z = tl.where(some.inside[None, :], z, float("-inf"))
    return z, slope


@triton.jit
def _merged(one, other, SMOOTHED: tl.constexpr):
    """Return the `RowSums` of both."""
    top = tl.maximum(one.top, other.top, propagate_nan=tl.PropagateNan.ALL)
    reference = finite(top)
    from_one = exponential_below(one.top, reference, QUICK)
    from_other = exponential_below(other.top, reference, QUICK)
    rest = tl.where(
        other.top > one.top,
        other.rest + (1.0 + one.rest) * from_one,
        one.rest + (1.0 + other.rest) * from_other,
    )
    gap, mass, count = one.gap, one.mass, one.count
    if SMOOTHED:
        gap = _moved(one, reference) + _moved(other, reference)
        mass += other.mass
        count += other.count
    return RowSums(top, rest, gap, mass, count)


@triton.jit
def _moved(sums, reference):
    """Return Σ w · (reference − z)."""
    return sums.gap + tl.where(sums.mass == 0, 0.0, sums.mass * (reference - sums.top))


@triton.jit(do_not_specialize=["row_count"])
def sums_kernel(
    features,
    head,
    bias,
    weight,
    tops,
    rests,
    gaps,
    masses,
    counts,
    feature_stride,
    head_stride,
    row_count,
    classes,
    share,
    inverse_temperature: tl.float64,
    softcap: tl.float64,
    BENT: tl.constexpr,
    CAPPED: tl.constexpr,
    SMOOTHED: tl.constexpr,
    FEATURES: tl.constexpr,
    WIDTH: tl.constexpr,
    ROWS: tl.constexpr,
    CLASSES: tl.constexpr,
):
    """Sum up each row over a share of the classes.

    The grid is ``(shares · ceil(row_count / ROWS),)``.

    Parameters
    ----------
    features, head : pointers
        (N, D) and (C, D), of one dtype, with the features side by side.
    bias, weight : pointers or None
        A score for each class, and what it weighs, (C,); None is zeros, and ones.
    tops, rests, gaps, masses, counts : pointers
        The answers (shares, N): `RowSums`; the last three are written with SMOOTHED alone.
    feature_stride, head_stride : int
        The distance of two rows.
    row_count, classes, share : int
        N, C, and how many classes a program goes through.
    inverse_temperature, softcap : float
        How scores are bent.
    BENT, CAPPED, SMOOTHED : bool
        Whether they are, with a softcap or not; whether the loss has label smoothing.
    FEATURES, WIDTH : int
        D, and the power of 2, 16 or more, that it is filled up to.
    ROWS, CLASSES : int
        The tile, powers of 2.
    """
    bending = Bending(inverse_temperature, softcap if CAPPED else None)
    terms = Terms(weight, None, 0, classes, 0.0, 0.0, bending)
    row_tiles = tl.cdiv(row_count, ROWS)
    part = tl.program_id(0) // row_tiles
    row = (tl.program_id(0) % row_tiles) * ROWS + tl.arange(0, ROWS)
    rows = _read_vectors(features, feature_stride, row, row_count, FEATURES, WIDTH)
    sums = no_sums(ROWS, tl.float32, QUICK)
    lane = tl.arange(0, CLASSES)
    for start in range(part * share, tl.minimum((part + 1) * share, classes), CLASSES):
        some = _read_vectors(head, head_stride, start + lane, classes, FEATURES, WIDTH)
        z, _ = _scores_of(rows, some, bias, terms, start + CLASSES > classes, BENT)
        column = some.index[None, :]
        class_weight = class_weight_of(weight, column, classes, tl.float32, SMOOTHED)
        sums, _ = with_tile(sums, z, class_weight, SMOOTHED, QUICK)
    to = (part * row_count + row)[:, None]
    inside = rows.inside[:, None]
    tl.store(tops + to, sums.top, mask=inside)
    tl.store(rests + to, sums.rest, mask=inside)
    if SMOOTHED:
        tl.store(gaps + to, sums.gap, mask=inside)
        tl.store(masses + to, sums.mass, mask=inside)
        tl.store(counts + to, sums.count, mask=inside)


@triton.jit(do_not_specialize=["row_count", "ignore_index"])
def loss_kernel(
    features,
    head,
    bias,
    target,
    weight,
    sample_weight,
    divisor,
    tops,
    rests,
    gaps,
    masses,
    counts,
    losses,
    labels,
    references,
    factors,
    spreads,
    at_labels,
    feature_stride,
    head_stride,
    row_count,
    classes,
    parts,
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
    FEATURES: tl.constexpr,
    WIDTH: tl.constexpr,
    ROWS: tl.constexpr,
):
    """Make the losses of rows of the sums of all shares, and what their gradients are made of.

    The grid is ``(ceil(row_count / ROWS),)``.

    Parameters
    ----------
    target, sample_weight, divisor, losses, ignore_index, normalizer, smoothing, z_loss, Z_LOSS
        As `index_kernels.loss_kernel` has them.
    labels : pointer
        The rows' labels (N,): below 0 for one that is unknown, or not counted.
    references, factors, spreads, at_labels : pointers
        The rows' `Slopes` (N,); ``spreads`` with SMOOTHED alone.
    parts : int
        How many shares there are.

    All others are those of `sums_kernel`.
    """
    terms = Terms(
        weight,
        sample_weight,
        ignore_index,
        classes,
        tl.full([1, 1], smoothing, tl.float32),
        tl.full([1, 1], z_loss, tl.float32),
        Bending(inverse_temperature, softcap if CAPPED else None),
    )
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    row_index = row[:, None]
    rows = Rows(row_index, row_index < row_count)
    sums = no_sums(ROWS, tl.float32, QUICK)
    for part in range(parts):
        place = part * row_count + row_index
        top = tl.load(tops + place, mask=rows.inside, other=0.0)
        rest = tl.load(rests + place, mask=rows.inside, other=0.0)
        if SMOOTHED:
            gap = tl.load(gaps + place, mask=rows.inside, other=0.0)
            mass = tl.load(masses + place, mask=rows.inside, other=0.0)
            count = tl.load(counts + place, mask=rows.inside, other=0.0)
        else:
            gap, mass, count = rest, rest, rest
        sums = _merged(sums, RowSums(top, rest, gap, mass, count), SMOOTHED)
    label = read_target(target, rows, terms)
    # As the sums' own product, so that of a target that is the largest the gap is 0 to the bit.
    vectors = _read_vectors(features, feature_stride, row, row_count, FEATURES, WIDTH)
    chosen = tl.max(tl.where(label.known, label.label, 0), axis=1)
    own = _read_vectors(head, head_stride, chosen, classes, FEATURES, WIDTH)
    z, _ = _scores_of(vectors, own, bias, terms, False, BENT)
    diagonal = tl.arange(0, ROWS)[:, None] == tl.arange(0, ROWS)[None, :]
    at_label = tl.sum(tl.where(diagonal, z, 0.0), axis=1, keep_dims=True)
    log_sum = log_sum_of(sums)
    gap = tl.maximum(sums.top - at_label, 0.0, propagate_nan=tl.PropagateNan.ALL)
    loss_of_rows = row_loss(sums, log_sum, gap, label, rows, terms, SMOOTHED, Z_LOSS)
    tl.store(losses + row_index, loss_of_rows.loss, mask=rows.inside)
    scale = gradient_scale(divisor, normalizer, None, tl.float32)
    slopes = row_slopes(sums, log_sum, gap, loss_of_rows, scale, terms, SMOOTHED, Z_LOSS)
    stored = tl.where(slopes.active, label.label, NOT_COUNTED)
    tl.store(labels + row_index, stored, mask=rows.inside)
    tl.store(references + row_index, slopes.reference, mask=rows.inside)
    tl.store(factors + row_index, slopes.factor, mask=rows.inside)
    tl.store(at_labels + row_index, slopes.at_label, mask=rows.inside)
    if SMOOTHED:
        tl.store(spreads + row_index, slopes.spread, mask=rows.inside)


@triton.jit
def _read_slopes(known, row, inside, SMOOTHED: tl.constexpr):
    """Return the `Slopes` and the labels of rows, in the shape of ``row``."""
    label = tl.load(known.labels + row, mask=inside, other=NOT_COUNTED)
    factor = tl.load(known.factors + row, mask=inside, other=0.0)
    spread = factor
    if SMOOTHED:
        spread = tl.load(known.spreads + row, mask=inside, other=0.0)
    slopes = Slopes(
        reference=tl.load(known.references + row, mask=inside, other=0.0),
        factor=factor,
        spread=spread,
        at_label=tl.load(known.at_labels + row, mask=inside, other=0.0),
        active=label != NOT_COUNTED,
    )
    return slopes, label


@triton.jit
def _residual(z, slope, slopes, label, column, terms, BENT: tl.constexpr, SMOOTHED: tl.constexpr):
    """Return the gradient in a tile of scores."""
    # What is not asked for is 0, whatever the row holds.
    e = tl.where(slopes.active, exponential_below(z, slopes.reference, QUICK), 0.0)
    if BENT:
        slope = tl.where(slopes.active, slope, 0.0)
    weight = class_weight_of(terms.weight, column, terms.classes, tl.float32, SMOOTHED)
    return tile_gradient(slopes, e, z, slope, column, label, weight, BENT, SMOOTHED, WHOLE=True)


@triton.jit(do_not_specialize=["row_count"])
def features_kernel(
    features,
    head,
    bias,
    weight,
    out,
    labels,
    references,
    factors,
    spreads,
    at_labels,
    feature_stride,
    head_stride,
    row_count,
    classes,
    share,
    inverse_temperature: tl.float64,
    softcap: tl.float64,
    BENT: tl.constexpr,
    CAPPED: tl.constexpr,
    SMOOTHED: tl.constexpr,
    FEATURES: tl.constexpr,
    WIDTH: tl.constexpr,
    ROWS: tl.constexpr,
    CLASSES: tl.constexpr,
):
    """Make the gradient of the features, of each share of the classes by itself.

    The grid is that of `sums_kernel`, whose arguments these are, and what `loss_kernel` wrote.
    ``out`` (shares, N, D) has no gaps.
    """
    bending = Bending(inverse_temperature, softcap if CAPPED else None)
    terms = Terms(weight, None, 0, classes, 0.0, 0.0, bending)
    row_tiles = tl.cdiv(row_count, ROWS)
    part = tl.program_id(0) // row_tiles
    row = (tl.program_id(0) % row_tiles) * ROWS + tl.arange(0, ROWS)
    rows = _read_vectors(features, feature_stride, row, row_count, FEATURES, WIDTH)
    known = Known(labels, references, factors, spreads, at_labels)
    slopes, label = _read_slopes(known, row[:, None], rows.inside[:, None], SMOOTHED)
    total = tl.zeros([ROWS, WIDTH], tl.float32)
    lane = tl.arange(0, CLASSES)
    for start in range(part * share, tl.minimum((part + 1) * share, classes), CLASSES):
        some = _read_vectors(head, head_stride, start + lane, classes, FEATURES, WIDTH)
        z, slope = _scores_of(rows, some, bias, terms, start + CLASSES > classes, BENT)
        column = some.index[None, :]
        residual = _residual(z, slope, slopes, label, column, terms, BENT, SMOOTHED)
        total = tl.dot(residual.to(head.dtype.element_ty), some.entries, total)
    feature = tl.arange(0, WIDTH)[None, :]
    to = out + (part * row_count + row).to(tl.int64)[:, None] * FEATURES + feature
    inside = rows.inside[:, None] & (feature < FEATURES)
    tl.store(to, total.to(out.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=["row_count"])
def head_kernel(
    features,
    head,
    bias,
    weight,
    out,
    bias_out,
    labels,
    references,
    factors,
    spreads,
    at_labels,
    feature_stride,
    head_stride,
    row_count,
    classes,
    share,
    inverse_temperature: tl.float64,
    softcap: tl.float64,
    BENT: tl.constexpr,
    CAPPED: tl.constexpr,
    SMOOTHED: tl.constexpr,
    FEATURES: tl.constexpr,
    WIDTH: tl.constexpr,
    ROWS: tl.constexpr,
    CLASSES: tl.constexpr,
):
    """Make the gradients of the head and its bias, of each share of the rows by itself.

    The grid is ``(shares · ceil(classes / CLASSES),)``; ``out`` (shares, C, D) and ``bias_out``
    (shares, C), which may be None, have no gaps. A ``share`` is of rows here.
    """
    bending = Bending(inverse_temperature, softcap if CAPPED else None)
    terms = Terms(weight, None, 0, classes, 0.0, 0.0, bending)
    class_tiles = tl.cdiv(classes, CLASSES)
    part = tl.program_id(0) // class_tiles
    tile = tl.program_id(0) % class_tiles
    lane = tile * CLASSES + tl.arange(0, CLASSES)
    some = _read_vectors(head, head_stride, lane, classes, FEATURES, WIDTH)
    known = Known(labels, references, factors, spreads, at_labels)
    total = tl.zeros([CLASSES, WIDTH], tl.float32)
    of_bias = tl.zeros([CLASSES], tl.float32)
    column = some.index[None, :]
    is_last = tile == class_tiles - 1
    for start in range(part * share, tl.minimum((part + 1) * share, row_count), ROWS):
        row = start + tl.arange(0, ROWS)
        rows = _read_vectors(features, feature_stride, row, row_count, FEATURES, WIDTH)
        z, slope = _scores_of(rows, some, bias, terms, is_last, BENT)
        slopes, label = _read_slopes(known, row[:, None], rows.inside[:, None], SMOOTHED)
        residual = _residual(z, slope, slopes, label, column, terms, BENT, SMOOTHED)
        total = tl.dot(tl.trans(residual.to(head.dtype.element_ty)), rows.entries, total)
        if bias_out is not None:
            of_bias += tl.sum(residual, axis=0)
    feature = tl.arange(0, WIDTH)[None, :]
    to = (part * classes + lane).to(tl.int64)
    inside = some.inside[:, None] & (feature < FEATURES)
    tl.store(out + to[:, None] * FEATURES + feature, total.to(out.dtype.element_ty), mask=inside)
    if bias_out is not None:
        tl.store(bias_out + to, of_bias, mask=some.inside)
