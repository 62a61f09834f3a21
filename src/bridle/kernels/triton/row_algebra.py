"""What the loss kernels do with a tile of scores: sum it, and turn it into a gradient.

A tile is ``[rows, columns]``; what belongs to a row is ``[rows, 1]``. One maximum is taken a tile
and one exponential a score. Float32 scores pay for sums and exponentials that are right to the last
place; half precision does not, for its own rounding hides the difference.
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-untyped-call, assignment"
# A kernel's arguments are Triton's own values, for which there are no types.

from __future__ import annotations

from typing import Any, NamedTuple

import triton
import triton.language as tl

from bridle.kernels.triton.arithmetic import (
    LOG_2,
    LOWEST_EXPONENT,
    PER_LOG_2,
    PER_LOG_2_REST,
    exponential,
    log1p,
    lost_by_sum,
)
from bridle.kernels.triton.scores import bent, is_exact

# How exponentials are made: right to the last place; as close as a difference of scores is rounded;
# or as quick as a device can, for scores in half precision.
EXACT = tl.constexpr(2)
CLOSE = tl.constexpr(1)
QUICK = tl.constexpr(0)


class RowSums(NamedTuple):
    """What is summed of a row; z are its bent scores, w the class weights.

    Attributes
    ----------
    top
        The largest z; −inf if all classes are masked.
    rest
        Σ exp(z − top) without the 1 of the largest itself, which would round a small rest away.
    gap, mass, count
        Σ w · (top − z), Σ w and Σ 1 over the classes that are not masked; 0 without smoothing.
    """

    top: Any
    rest: Any
    gap: Any
    mass: Any
    count: Any


class RowLoss(NamedTuple):
    """A row's loss, and what its gradient is made with.

    Attributes
    ----------
    loss
        Weighted; 0 for a row that does not count, NaN for a target that is no class.
    share
        What the loss is multiplied by; 0 for a row that does not count.
    at_target
        The weight of −log p[target] in ``loss / share``.
    """

    loss: Any
    share: Any
    at_target: Any


class Target(NamedTuple):
    """The ``label`` of each row: whether it is a ``known`` class, or says to be ``ignored``."""

    label: Any
    known: Any
    ignored: Any


class Rows(NamedTuple):
    """Which rows a program has: their ``index``, and whether they are ``inside`` of the scores."""

    index: Any
    inside: Any


class Terms(NamedTuple):
    """What a loss is made of besides the scores.

    Attributes
    ----------
    weight, sample_weight
        Pointers to (C,) and (N,), or None for ones.
    ignore_index, classes
        Integers.
    smoothing, z_loss
        Numbers, in the dtype of the sums.
    bending
        The `Bending` of the scores.
    """

    weight: Any
    sample_weight: Any
    ignore_index: Any
    classes: Any
    smoothing: Any
    z_loss: Any
    bending: Any


class Slopes(NamedTuple):
    """A row's gradient: ``factor · exp(z − reference) − spread · w``.

    At the label, ``at_label`` stands in place of the first term.

    Attributes
    ----------
    reference
        What the exponentials are taken against; finite.
    factor, spread, own
        As in the formula.
    active
        Whether the row has a gradient at all; the others' is 0, whatever they hold.
    """

    reference: Any
    factor: Any
    spread: Any
    at_label: Any
    active: Any


@triton.constexpr_function
def accuracy_of_sums(dtype):
    """Return how the exponentials are made that losses of such scores are summed from."""
    return 2 if dtype == tl.float32 or dtype == tl.float64 else 0


@triton.constexpr_function
def accuracy_of_gradients(dtype):
    """Return how a gradient's exponentials are made anew: nothing small is left of its terms."""
    return {tl.float64: 2, tl.float32: 1}.get(dtype, 0)


@triton.jit
def exponential_below(z, reference, ACCURACY: tl.constexpr):
    """Return exp(z − reference) for z ≤ reference: 0 of a masked class, NaN of NaN."""
    distance = z - reference
    if ACCURACY == EXACT:
        exponent = tl.maximum(distance, LOWEST_EXPONENT, propagate_nan=tl.PropagateNan.ALL)
        result = exponential(exponent, lost_by_sum(z, -reference, distance), True)
    elif ACCURACY == CLOSE:
        # What the product's rounding takes is made good, so only that of the distance is left.
        power = distance * PER_LOG_2
        rest = tl.fma(distance, PER_LOG_2_REST, tl.fma(distance, PER_LOG_2, -power))
        whole = tl.exp2(power)
        # Of a masked class, infinities cancel: it has nothing to be made good.
        result = tl.where(whole == 0, 0.0, tl.fma(whole, rest * LOG_2, whole))
    else:
        result = tl.exp2(distance * PER_LOG_2)
    return result


@triton.jit
def no_sums(ROWS: tl.constexpr, dtype: tl.constexpr, ACCURACY: tl.constexpr):
    """Return the `RowSums` of nothing."""
    nothing = tl.zeros([ROWS, 1], dtype)
    # Of many tiles, float32 sums would lose what the tiles' own sums have kept.
    rest = nothing.to(tl.float64) if ACCURACY == EXACT else nothing
    return RowSums(nothing - float("inf"), rest, nothing, nothing, nothing)


@triton.jit
def with_tile(sums, z, class_weight, SMOOTHED: tl.constexpr, ACCURACY: tl.constexpr):
    """Return the `RowSums` with a tile's scores, and the tile's exp(z − top)."""
    tile_top = tl.max(z, axis=1, keep_dims=True)
    top = tl.maximum(sums.top, tile_top)
    reference = finite(top)
    e = exponential_below(z, reference, ACCURACY)
    grown = tile_top > sums.top
    if ACCURACY == EXACT:
        at_top = z == reference
        others = tl.sum(tl.where(at_top, 0.0, e), axis=1, keep_dims=True)
        ties = tl.sum(tl.where(at_top, 1.0, 0.0).to(e.dtype), axis=1, keep_dims=True)
        added = others.to(tl.float64) + (ties - tl.where(grown, 1.0, 0.0))
    else:
        added = tl.sum(e, axis=1, keep_dims=True) - tl.where(grown, 1.0, 0.0)
    moved = (1.0 + sums.rest) * exponential_below(sums.top, reference, ACCURACY)
    rest = added + tl.where(grown, moved, sums.rest)
    gap, mass, count = sums.gap, sums.mass, sums.count
    if SMOOTHED:
        free = z != float("-inf")
        weight = tl.where(free, class_weight, 0.0)
        gap += tl.where(mass == 0, 0.0, mass * (reference - sums.top))
        gap += tl.sum(tl.where(free, weight * (reference - z), 0.0), axis=1, keep_dims=True)
        mass += tl.sum(weight, axis=1, keep_dims=True)
        count += tl.sum(tl.where(free, 1.0, 0.0).to(z.dtype), axis=1, keep_dims=True)
    return RowSums(top, rest, gap, mass, count), e


@triton.jit
def read_bent(
    scores, inside, terms, dtype: tl.constexpr, BENT: tl.constexpr, CACHE: tl.constexpr = ""
):
    """Return z and dz/dscore; outside lie masked classes, which add nothing."""
    score = tl.load(scores, mask=inside, other=float("-inf"), eviction_policy=CACHE).to(dtype)
    return bent_if(score, terms.bending, BENT, is_exact(scores.dtype.element_ty))


@triton.jit
def class_weight_of(weight, column, classes, dtype: tl.constexpr, SMOOTHED: tl.constexpr):
    """Return the weights of some classes, where they are needed; else 1."""
    value = tl.full([1, 1], 1.0, dtype)
    if SMOOTHED and weight is not None:
        value = tl.load(weight + column, mask=column < classes, other=0.0).to(dtype)
    return value


@triton.jit
def total_of(lanes):
    """Return the sum of each row's lanes."""
    return tl.sum(lanes, axis=1, keep_dims=True)


@triton.jit
def inside_of_held(rows, column, length, LAST: tl.constexpr):
    """Return which scores of a held tile there are: only the last may reach beyond the classes."""
    inside = rows.inside & (column >= 0)  # of the tile, of which each score is
    if LAST:
        inside = rows.inside & (column < length)
    return inside


@triton.jit
def sums_of_held(
    tiles,
    lane,
    terms,
    SMOOTHED: tl.constexpr,
    ACCURACY: tl.constexpr,
    HELD: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Return the sums of whole rows, and each tile's exp(z − top).

    Tiles are added before lanes are, so threads exchange numbers once for all tiles.
    """
    highest = tiles[0][0]
    for number in tl.static_range(1, HELD):
        highest = tl.maximum(highest, tiles[number][0])
    top = tl.max(highest, axis=1, keep_dims=True)
    reference = finite(top)
    nothing = tl.zeros_like(highest)
    others, ties, gap, mass, count = nothing, nothing, nothing, nothing, nothing
    exponentials = ()
    for number in tl.static_range(HELD):
        z = tiles[number][0]
        e = exponential_below(z, reference, ACCURACY)
        exponentials = exponentials + (e,)  # noqa: RUF005
        if ACCURACY == EXACT:
            others += tl.where(z == reference, 0.0, e)
            ties += tl.where(z == reference, 1.0, 0.0)
        else:
            others += e
        if SMOOTHED:
            free = z != float("-inf")
            column = number * COLUMNS + lane
            weight = class_weight_of(terms.weight, column, terms.classes, z.dtype, SMOOTHED)
            gap += tl.where(free, weight * (reference - z), 0.0)
            mass += tl.where(free, weight, 0.0)
            count += tl.where(free, 1.0, 0.0)
    rest = total_of(others) - 1.0
    if ACCURACY == EXACT:
        # A lane's few numbers are summed as they are, a row's in float64: of a sure row with most
        # of the rest in one class, rounding in between would be half of the loss's error.
        rest = total_of(others.to(tl.float64)) + (total_of(ties) - 1.0)
    if SMOOTHED:
        sums = RowSums(top, rest, total_of(gap), total_of(mass), total_of(count))
    else:
        sums = RowSums(top, rest, rest, rest, rest)  # the last three are not used
    return sums, exponentials


@triton.jit
def finite(top):
    """Return a number that exponentials may be taken against, whatever the largest score is."""
    return tl.where(top == float("-inf"), 0.0, top)


@triton.jit
def bent_if(score, bending, BENT: tl.constexpr, EXACT: tl.constexpr):
    """Return z and dz/dscore, where scores are bent at all."""
    if BENT:
        z, slope = bent(score, bending, EXACT)
    else:
        z, slope = score, 1.0
    return z, slope


@triton.jit
def read_target(target, rows, terms):
    """Return the `Target` of each row."""
    label = tl.load(target + rows.index, mask=rows.inside, other=0).to(tl.int64)
    ignored = label == terms.ignore_index
    known = (label >= 0) & (label < terms.classes) & (ignored == 0)
    # Compared with every column: in 64 bits, that would be three instructions a score.
    return Target(tl.where(known, label, -1).to(tl.int32), known, ignored)


@triton.jit
def log_sum_of(sums):
    """Return log(1 + rest): NaN of a row with NaN or +inf, and of one of nothing but −inf."""
    broken = (tl.abs(sums.top) < float("inf")) == 0
    rest = sums.rest.to(sums.top.dtype)
    log_sum = log1p(rest)
    if rest.dtype == tl.float32:
        # Of a sure row this is the loss: five terms of the series are rounded once.
        p_minus_one = tl.fma(tl.fma(tl.fma(rest, 0.2, -0.25), rest, 0.3333333333), rest, -0.5)
        log_sum = tl.where(rest < 0.03125, tl.fma(rest * rest, p_minus_one, rest), log_sum)
    return tl.where(broken, float("nan"), log_sum)


@triton.jit
def target_score(scores, target, rows, terms, dtype: tl.constexpr, BENT: tl.constexpr):
    """Return z[target]; ``scores`` points at the first score of each row."""
    known = rows.inside & target.known
    at_label = tl.load(scores + target.label, mask=known, other=0.0).to(dtype)
    z, _ = bent_if(at_label, terms.bending, BENT, is_exact(scores.dtype.element_ty))
    return z


@triton.jit
def loss_with_terms(
    at_target, surprise, sums, log_sum, terms, SMOOTHED: tl.constexpr, Z_LOSS: tl.constexpr
):
    """Return ``at_target · surprise`` of each row, with smoothing and z-loss; without its share."""
    # A term without weight counts as 0, even if its target is masked.
    nothing = (at_target == 0) & (tl.abs(surprise) == float("inf"))
    loss = tl.where(nothing, 0.0, at_target * surprise)
    if SMOOTHED:
        spread = terms.smoothing / tl.maximum(sums.count, 1.0)
        loss += spread * (sums.mass * log_sum + sums.gap)
    if Z_LOSS:
        normalizer = sums.top + log_sum
        loss += terms.z_loss * normalizer * normalizer
    return loss


@triton.jit
def slopes_with_terms(
    of_target, share, sums, log_sum, terms, SMOOTHED: tl.constexpr, Z_LOSS: tl.constexpr
):
    """Return what a row's p weighs in its gradient, and its class weights: see `loss_with_terms`.

    ``of_target`` is what p weighs by the target alone.
    """
    of_p, spread = of_target, tl.zeros_like(share)
    if SMOOTHED:
        spread = share * (terms.smoothing / tl.maximum(sums.count, 1.0))
        of_p += spread * sums.mass
    if Z_LOSS:
        of_p += 2.0 * share * terms.z_loss * (sums.top + log_sum)
    return of_p, spread


@triton.jit
def row_loss(sums, log_sum, gap, target, rows, terms, SMOOTHED: tl.constexpr, Z_LOSS: tl.constexpr):
    """Return each row's `RowLoss`; ``gap`` is top − z[target]."""
    dtype: tl.constexpr = sums.top.dtype
    surprise = log_sum + gap  # −log p[target]
    at_target = tl.zeros_like(surprise) + (1.0 - terms.smoothing)
    if terms.weight is not None:
        known = rows.inside & target.known
        at_target *= tl.load(terms.weight + target.label, mask=known, other=0.0).to(dtype)
    loss = loss_with_terms(at_target, surprise, sums, log_sum, terms, SMOOTHED, Z_LOSS)
    share = tl.zeros_like(surprise) + 1.0
    if terms.sample_weight is not None:
        share = tl.load(terms.sample_weight + rows.index, mask=rows.inside, other=0.0).to(dtype)
    share = tl.where(target.known, share, float("nan"))
    share = tl.where(target.ignored, 0.0, share)
    return RowLoss(tl.where(share == 0, 0.0, share * loss), share, at_target)


@triton.jit
def row_slopes(
    sums, log_sum, gap, loss_of_rows, scale, terms, SMOOTHED: tl.constexpr, Z_LOSS: tl.constexpr
):
    """Return the `Slopes` of rows whose losses count ``scale`` times."""
    dtype: tl.constexpr = sums.top.dtype
    share = loss_of_rows.share * scale
    of_target = share * loss_of_rows.at_target
    of_p, spread = slopes_with_terms(of_target, share, sums, log_sum, terms, SMOOTHED, Z_LOSS)
    rest = sums.rest.to(dtype)
    inverse = 1.0 / (1.0 + rest)
    # p[target] − 1; where the target is the maximum, minus the others' probability, which does not
    # cancel.
    power = exponential(tl.maximum(-gap, LOWEST_EXPONENT), 0.0, True)
    p_minus_one = tl.where(gap == 0, -rest, power - (1.0 + rest)) * inverse
    p = tl.where(gap == 0, 1.0, power) * inverse
    at_label = tl.where(
        p_minus_one < -0.5, of_p * p - of_target, of_p * p_minus_one + (of_p - of_target)
    )
    broken = log_sum != log_sum
    nan = tl.where(broken, float("nan"), 0.0).to(dtype)
    active = share != 0
    return Slopes(
        reference=tl.where(broken, 0.0, sums.top),
        factor=tl.where(active, of_p * inverse + nan, 0.0),
        spread=tl.where(active, spread + nan, 0.0),
        at_label=tl.where(active, at_label + nan, 0.0),
        active=active,
    )


@triton.jit
def tile_gradient(
    slopes,
    e,
    z,
    slope,
    column,
    label,
    class_weight,
    BENT: tl.constexpr,
    SMOOTHED: tl.constexpr,
    WHOLE: tl.constexpr = False,
):
    """Return the gradient of a tile, given its exponentials and dz/dscore.

    The exponentials of rows that are not active are 0. Unless the tile shall be WHOLE, the entry at
    the label is written apart where neither smoothing nor bending adds to it.
    """
    value = e * slopes.factor
    if WHOLE or SMOOTHED or BENT:
        value = tl.where(column == label, slopes.at_label, value)
    if SMOOTHED:
        value -= tl.where(z == float("-inf"), 0.0, slopes.spread * class_weight)
    if BENT:
        value *= slope
    return value


@triton.jit
def gradient_scale(divisor, normalizer, factor, dtype: tl.constexpr):
    """Return ``factor / (divisor · normalizer)``; a mean over nothing has the gradient 0."""
    total = tl.full([], normalizer, tl.float64)
    if divisor is not None:
        total *= tl.load(divisor)
    total = total.to(dtype)
    scale = tl.where(total == 0, 0.0, 1.0 / total)
    if factor is not None:
        scale = scale * factor
    return scale
