r"""One pass over the data: mean cross-entropy plus penalty, and its gradient.

Conventions
-----------
============== ========== ====================================================================
name           shape      meaning
============== ========== ====================================================================
``features``   (N, D)     as stored; read in blocks, never copied as a whole
``target``     (N,)       class indices, or (N, K) distributions
``parameters`` (D [+1],K) weights on *centred, scaled* features; the last row is the intercept
``shift``      (D,)       what is subtracted from a feature: its mean, 0 without intercept
``scale``      (D,)       what it is divided by: its deviation if standardised, else 1;
                          infinity for a constant column beside an intercept, which leaves 0
============== ========== ====================================================================

    f(V, c) = Σ_i s_i · CE(softmax(u_i V + c), t_i) / Σ_i s_i + α/2 ‖V‖²,   u = (x − shift) / scale

Centring changes nothing but the intercept's meaning, and spares the solver the stiffest direction
of most data. It happens in the algebra: ``u V + c = x W + b`` with ``W = V / scale`` and
``b = c − shift · W``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import sparse

from bridle import checks
from bridle.fit import arrays
from bridle.fit.passes import Point, Sums, blocks_of, default_memory, sums_over, tensor_rows
from bridle.fit.precision import Precision
from bridle.fit.sparse import SparseFeatures, prepare_sparse, sparse_statistics, weighted_target
from bridle.fit.tensor_pass import tensor_statistics
from bridle.rows import Features, Rows, on_host

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Evaluation:
    """The objective at one point, with the sums that its gap is made of."""

    parameters: Array
    value: float
    loss: float
    gradient: Array  # (D [+1], K)
    worst_loss: float  # the largest loss of a sample that counts


@dataclass(frozen=True)
class Objective:
    """Mean cross-entropy of a linear softmax classifier, with an L2 penalty on its weights."""

    features: Rows
    target: Array
    sample_weight: Array | None
    alpha: float
    fit_intercept: bool
    classes: int
    shift: Array  # (D,)
    scale: Array  # (D,)
    total_weight: float
    target_mean: Array  # (K,): Σ s t / Σ s
    target_product: Array  # (D, K): Σ s u tᵀ / Σ s
    memory_budget: int  # bytes beside the features and the weights
    second_moment: Array  # (D,): Σ s u² / Σ s
    sparse: SparseFeatures | None  # sparse features once more, as their products want them

    @property
    def shape(self) -> tuple[int, int]:
        """The shape of the parameters."""
        return self.features.shape[1] + self.fit_intercept, self.classes

    def some(self, rows: Array | None) -> Objective:
        """Return the objective with a choice of its rows, for estimates; all of them for None."""
        if rows is None:
            return self
        weight = None if self.sample_weight is None else self.sample_weight[rows]
        return replace(self, features=self.features.take(rows), sample_weight=weight)

    def blocks(self, columns: int) -> Iterator[tuple[slice, Features]]:
        """Yield rows and their features, few enough for so many columns of results each."""
        if self.features.are_tensors:
            rows = tensor_rows(self.features.shape[1], columns, self.memory_budget)
            return self.features.tensor_blocks(rows, self.features.dtype)
        return blocks_of(self.features, columns, self.features.dtype, self.memory_budget // 2)

    def split(self, parameters: Array) -> tuple[Array, Array]:
        """Return ``(V, c)`` of stacked parameters; ``c`` is 0 without an intercept."""
        if self.fit_intercept:
            return parameters[:-1], parameters[-1]
        return parameters, arrays.zeros(self.classes, parameters)

    def in_feature_units(self, parameters: Array) -> tuple[Array, Array]:
        """Return ``(W, b)`` on the features as stored, from parameters of the fit."""
        weight, intercept = self.split(parameters)
        scaled = weight
        if not np.all(self.scale == 1):
            scaled = weight / arrays.beside(self.scale, weight)[:, None]
        return scaled, intercept - arrays.beside(self.shift, scaled) @ scaled

    def in_fit_units(self, weight: Array, intercept: Array) -> Array:
        """Return the fit's parameters of ``(W, b)``: the inverse of `in_feature_units`."""
        scale = np.where(np.isfinite(self.scale), self.scale, 0.0)
        if not self.fit_intercept:
            return weight * scale[:, None]
        return np.vstack([weight * scale[:, None], intercept + self.shift @ weight])

    def evaluate(self, parameters: Array, precision: Precision) -> Evaluation:
        """Return value and gradient at ``parameters``, with the products of that precision."""
        return evaluate_together([Asked(self, parameters, precision)])[0]

    def point(self, parameters: Array, precision: Precision) -> Point:
        """Return what a pass over the features is to make sums of."""
        weight, offset = (
            arrays.narrowed(each, precision.dtype) for each in self.in_feature_units(parameters)
        )
        return Point(self.target, self.sample_weight, weight, offset, precision)

    def assemble(self, parameters: Array, sums: Sums) -> Evaluation:
        """Return value and gradient, from the sums of a pass."""
        weight, _ = self.split(parameters)
        loss = sums.loss / self.total_weight
        product = sums.product
        product -= arrays.outer(arrays.beside(self.shift, product), sums.residual)
        product /= arrays.beside(self.scale * self.total_weight, product)[:, None]
        product += self.alpha * weight
        gradient = product
        if self.fit_intercept:
            gradient = arrays.stacked(product, sums.residual / self.total_weight)
        value = loss + self.alpha / 2 * float(arrays.inner(weight, weight))
        return Evaluation(parameters, value, loss, gradient, sums.worst_loss)


class Asked(NamedTuple):
    """An objective, and where its value and gradient are asked for, in which precision."""

    objective: Objective
    parameters: Array
    precision: Precision


def evaluate_together(asked: Sequence[Asked]) -> list[Evaluation]:
    """Return what `Objective.evaluate` does for several with the same features, in one pass.

    They may have different penalties, and different weights of the samples: folds have some of 0.
    Another precision takes a pass of its own.
    """
    found: dict[int, Evaluation] = {}
    for precision in dict.fromkeys(each.precision for each in asked):
        places = [place for place, each in enumerate(asked) if each.precision == precision]
        some = [asked[place] for place in places]
        points = [objective.point(parameters, precision) for objective, parameters, _ in some]
        budget = sum(each.objective.memory_budget for each in some)
        sums = sums_over(some[0].objective.features, points, budget)
        for place, each, own in zip(places, some, sums, strict=True):
            found[place] = each.objective.assemble(each.parameters, own)
    return [found[place] for place in range(len(asked))]


def build_objective(
    features: Rows,
    target: Array,
    classes: int,
    *,
    C: float,
    fit_intercept: bool,
    standardize: bool | float,
    sample_weight: Array | None,
    memory_budget: int | None = None,
) -> Objective:
    """Check the features, take their statistics in one or two passes, and state the objective."""
    memory_budget = memory_budget or default_memory(features)
    count, width = features.shape
    total = float(count) if sample_weight is None else float(sample_weight.sum())
    thin = prepare_sparse(features, classes) if features.is_sparse else None
    class_sums = target_sum(target, classes, sample_weight)
    if features.are_tensors:
        target, sample_weight = features.beside(target), features.beside(sample_weight)
        rows = tensor_rows(width, classes, memory_budget)
        mean, squares, product = tensor_statistics(features, target, classes, sample_weight, rows)
    elif thin is None:
        mean, squares, product = _statistics(
            features, target, classes, sample_weight, memory_budget
        )
    else:
        mean, squares, product = sparse_statistics(thin, target, classes, sample_weight)
    variance = squares / total
    deviation = _deviation(variance, mean, count)
    shift = mean if fit_intercept else np.zeros(width)
    scale = deviation if standardize is True else np.full(width, float(standardize) or 1.0)
    if fit_intercept:
        # A constant column is the intercept's own; what rounding leaves of it when it is centred
        # would be a second intercept, all but free of penalty.
        scale[_constant_columns(features, variance, mean, sample_weight)] = np.inf
    target_mean = class_sums / total
    # Σ s (x − shift) tᵀ / (scale Σ s)
    means = arrays.beside(np.outer(shift, target_mean), product)
    target_product = (product / total - means) / arrays.beside(scale, product)[:, None]
    return Objective(
        features=features,
        target=target,
        sample_weight=sample_weight,
        alpha=1.0 / (C * total),
        fit_intercept=fit_intercept,
        classes=classes,
        shift=shift,
        scale=scale,
        total_weight=total,
        target_mean=target_mean,
        target_product=target_product,
        memory_budget=memory_budget,
        second_moment=(variance + (mean - shift) ** 2) / scale**2,
        sparse=thin,
    )


def target_sum(target: Array, classes: int, sample_weight: Array | None) -> Array:
    """Return Σ s t, the weight of each class (K,)."""
    if target.ndim == 1:
        return np.bincount(target, sample_weight, classes).astype(np.float64)
    return np.asarray(target.sum(axis=0) if sample_weight is None else sample_weight @ target)


def _statistics(
    features: Rows,
    target: Array,
    classes: int,
    sample_weight: Array | None,
    memory_budget: int,
) -> tuple[Array, Array, Array]:
    """Return each feature's mean, its sum of squares about it, and Σ s x tᵀ, in float64."""
    width = features.shape[1]
    product = np.zeros((width, classes))
    mean, squares, seen = np.zeros(width), np.zeros(width), 0.0
    wider = max(classes, width)
    for rows, block in blocks_of(features, wider, np.dtype(np.float64), memory_budget):
        checks.finite_rows(block, "X", rows.start)
        share = np.ones(block.shape[0]) if sample_weight is None else sample_weight[rows]
        product += _target_product(block, target[rows], classes, share)
        weight = float(share.sum())
        if weight == 0:
            continue
        block_mean, block_squares = _moments(block, share, weight)
        # Chan's update: the squares are about each block's own mean, so nothing cancels.
        with np.errstate(over="ignore", invalid="ignore"):
            squares += block_squares + (block_mean - mean) ** 2 * (seen * weight / (seen + weight))
        mean += (block_mean - mean) * (weight / (seen + weight))
        seen += weight
    checks.finite_squares(squares, "X")
    return mean, squares, product


def _moments(block: Features, share: Array, weight: float) -> tuple[Array, Array]:
    with np.errstate(over="ignore", invalid="ignore"):
        # Not by products: a library's threads would wait for each other.
        mean = np.einsum("n,nd->d", share, block) / weight
        squares = block - mean
        squares *= squares
        return mean, np.einsum("n,nd->d", share, squares)


def _deviation(variance: Array, mean: Array, count: int) -> Array:
    # A variance that rounding alone explains belongs to a constant column, which is left alone.
    epsilon = np.finfo(np.float64).eps
    noise = count * epsilon * np.maximum(variance, 0) + (count * epsilon * mean) ** 2
    return np.where(variance <= noise, 1.0, np.sqrt(np.maximum(variance, 0)))


# Rows of a device's that are looked at a time.
_LOOKED_AT = 2**16


def _constant_columns(
    features: Rows, variance: Array, mean: Array, sample_weight: Array | None
) -> Array:
    """Return the columns, not of zeros, in which every row that counts has one value.

    No sum is exact enough to tell: columns whose variance may be rounding, by far, are looked at
    once more, each beside its first value.
    """
    suspected = np.flatnonzero((variance <= 1e-9 * mean**2) & (mean != 0))
    if not len(suspected):
        return suspected
    first: Array | None = None
    furthest = np.zeros(len(suspected))
    wide = np.dtype(np.float64)
    blocks = features.blocks(len(features), wide)
    if features.are_tensors:
        blocks = features.tensor_blocks(_LOOKED_AT, wide)
    for rows, block in blocks:
        # Of a device's rows, these columns alone come to the host.
        values = on_host(block[:, suspected])
        values = values.toarray() if sparse.issparse(values) else values
        if sample_weight is not None:
            values = values[on_host(sample_weight[rows]) > 0]
        if not len(values):
            continue
        first = values[0] if first is None else first
        furthest = np.maximum(furthest, np.abs(values - first).max(axis=0))
    assert first is not None
    return suspected[furthest <= 4 * np.finfo(np.float64).eps * np.abs(first)]


def _target_product(block: Features, target: Array, classes: int, share: Array) -> Array:
    """Return ``Σ s x tᵀ`` (D, K) of a block."""
    if target.ndim == 2:
        return np.asarray(block.T @ weighted_target(target, classes, share))
    indices = (share, (target, np.arange(len(target))))
    return np.asarray((sparse.csr_array(indices, shape=(classes, len(target))) @ block).T)
