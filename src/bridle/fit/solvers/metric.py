r"""The curvature that turns a gradient into a good direction.

The Hessian of the mean cross-entropy is ``mean_i (diag p_i − p_i p_iᵀ) ⊗ u_i u_iᵀ``. Its factors,
averaged apart, give a Kronecker product that is cheap to build from some thousands of rows and to
invert by two small eigendecompositions:

    S = mean w_i u_i u_iᵀ = Q diag(e) Qᵀ,   H = mean (diag p_i − p_i p_iᵀ) = U diag(λ) Uᵀ
    M⁻¹ G = Q [(Qᵀ G U) / (e λᵀ + α)] Uᵀ

The intercept sees ``H`` alone. Where one of the eigenproblems would cost more than the passes that
it saves, less is known: of very wide features the leading directions, with the same curvature τ in
all others (``S = Q diag(e − τ) Qᵀ + τ I``); of sparse ones, and of very many classes, the diagonal.

Reference: J. Martens, R. Grosse, *Optimizing Neural Networks with Kronecker-factored Approximate
Curvature*, 2015, for the factoring; here it is a metric for an exact method.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from bridle.fit import arrays, threads
from bridle.fit.precision import Precision
from bridle.fit.problem.objective import Objective
from bridle.fit.requests import (
    ClassCurvature,
    FeatureCurvature,
    FeatureDiagonal,
    Importance,
    LeadingRows,
    Steps,
    ask,
)
from bridle.kernels import thresholds
from bridle.tensors import on_host

Array = Any  # NumPy's, or tensors where the features are: see `arrays`

TINY = float(np.finfo(np.float64).tiny)


@dataclass(frozen=True)
class Curvature:
    """A positive matrix ``Q diag(values) Qᵀ``; without a basis Q, the diagonal itself.

    With fewer columns than rows, Q holds the leading directions, and ``rest`` is the value of all
    others.
    """

    values: Array
    basis: Array | None
    rest: float | None = None


@dataclass(frozen=True)
class Metric:
    """An approximate Hessian that is easily inverted: ``S ⊗ H + α``, and H for the intercept."""

    features: Curvature  # S (D, D)
    classes: Curvature  # H (K, K)
    alpha: float
    fit_intercept: bool

    def invert(self, gradient: Array) -> Array:
        """Return M⁻¹ times a gradient in the parameters' shape."""
        gradient = arrays.in_dtype_of(gradient, self.classes.values)
        slope = gradient[:-1] if self.fit_intercept else gradient
        basis = self.classes.basis
        direction = self._invert_features(slope if basis is None else slope @ basis)
        if basis is not None:
            direction = direction @ basis.T
        if not self.fit_intercept:
            return direction
        return arrays.stacked(direction, _solve(self.classes, gradient[-1]))

    def _invert_features(self, slope: Array) -> Array:
        basis, rest = self.features.basis, self.features.rest
        inverse = 1 / (arrays.outer(self.features.values, self.classes.values) + self.alpha)
        if basis is None:
            return slope * inverse
        rotated = basis.T @ arrays.in_dtype_of(slope, basis)
        if rest is None:
            rotated *= inverse
            return arrays.in_dtype_of(basis @ rotated, slope)
        remaining = 1 / (rest * self.classes.values + self.alpha)
        rotated *= inverse - remaining
        return slope * remaining + arrays.in_dtype_of(basis @ rotated, slope)


def sample_size(objective: Objective) -> int:
    """Return how many rows make a metric good enough: several for each eigenvalue."""
    return max(8 * min(objective.facts.width, thresholds.METRIC_WIDEST), 8192)


def _has_many_classes(objective: Objective) -> bool:
    return objective.classes > thresholds.METRIC_MOST_CLASSES


def metric_at(objective: Objective, parameters: Array, rows: Array | None) -> Steps[Metric]:
    """Return the metric at ``parameters``, from the given rows (all of them for None)."""
    point = objective.point(parameters, Precision(objective.facts.dtype))
    sums = yield from ask(ClassCurvature(point, rows, _has_many_classes(objective)))
    mean_spread = float(sums.spread / sums.weight)
    importance = Importance(point, mean_spread) if mean_spread > 0 else None
    has_no_weights = not bool((point.weight != 0).any())
    # Without weights the model is as sure of each row as of any other.
    sample = _Sample(objective, None if has_no_weights else importance, rows, float(sums.weight))
    features = yield from _feature_curvature(sample)
    least = _remaining_curvature(objective, parameters, features)
    return Metric(
        features,
        _class_curvature(sums.hessian(), floor=1e-3, least=least),
        objective.alpha,
        objective.fit_intercept,
    )


def _remaining_curvature(objective: Objective, parameters: Array, features: Curvature) -> float:
    """Return the mean class curvature that will be left at the optimum, roughly.

    Where an early step has made the model far too sure of itself, there is no curvature to be seen,
    and steps would be as long as the penalty alone allows. But at the optimum ``α W`` is a mean of
    ``u (t − p)``: so much of every distribution must stay off its target.
    """
    weight, _ = objective.split(parameters)
    spread = float(features.values.sum()) + (features.rest or 0.0)
    return objective.alpha * arrays.norm(weight) / math.sqrt(spread) / objective.classes


@dataclass(frozen=True)
class InterceptCurvature:
    """The Hessian of the intercept alone."""

    hessian: Curvature  # (K, K)

    def step(self, slope: Array) -> Array:
        """Return the Newton step of the intercept alone."""
        step = -_solve(self.hessian, slope)
        # The same constant for all classes changes no probability; without this, rounding would add
        # up along it.
        return step - step.mean()


def intercept_curvature_at(
    objective: Objective, parameters: Array, rows: Array | None
) -> Steps[InterceptCurvature]:
    """Return it from all rows, or the given ones where all would cost more."""
    if objective.classes <= objective.facts.width:
        rows = None
    point = objective.point(parameters, Precision(objective.facts.dtype))
    sums = yield from ask(ClassCurvature(point, rows, _has_many_classes(objective)))
    return InterceptCurvature(_class_curvature(sums.hessian(), floor=1e-10))


def _solve(matrix: Curvature, slope: Array) -> Array:
    if matrix.basis is None:
        return slope / matrix.values
    return matrix.basis @ ((matrix.basis.T @ slope) / matrix.values)


def _class_curvature(hessian: Array, floor: float, least: float = 0.0) -> Curvature:
    curvature, basis = (hessian, None) if hessian.ndim == 1 else _eigh(hessian)
    # The direction that adds a constant to all scores has no curvature, and no gradient either.
    mean = max(float(curvature.mean()), least)
    return Curvature(curvature.clip(max(floor * mean, least, TINY)), basis)


@dataclass(frozen=True)
class _Sample:
    """What the features' curvature is made from: some rows, and the weight of each."""

    objective: Objective
    importance: Importance | None
    rows: Array | None
    weight: float  # of them all, which importance does not change

    @property
    def count(self) -> int:
        return self.objective.facts.count if self.rows is None else len(self.rows)


def _feature_curvature(sample: _Sample) -> Steps[Curvature]:
    objective = sample.objective
    width = objective.facts.width
    if objective.facts.is_sparse:
        return (yield from _diagonal(sample))
    if width > min(thresholds.METRIC_WIDEST, sample.count):
        return (yield from _leading_directions(sample))
    request = FeatureCurvature(sample.importance, objective.shift, objective.scale, sample.rows)
    moment = yield from ask(request)
    curvature, basis = _eigh(moment / sample.weight)
    return Curvature(_floored(curvature), arrays.in_dtype(basis, objective.facts.dtype))


def _leading_directions(sample: _Sample) -> Steps[Curvature]:
    """Return what a few rows tell of wider features: their span, and the mean of the rest."""
    objective, width = sample.objective, sample.objective.facts.width
    row_count = sample.count
    if width > thresholds.METRIC_WIDEST:
        most = max(1, thresholds.METRIC_LEADING_NUMBERS // width)
        row_count = min(sample.count, thresholds.METRIC_LEADING_ROWS, most)
    chosen = np.linspace(0, sample.count - 1, row_count).astype(np.intp)
    chosen = chosen if sample.rows is None else sample.rows[chosen]
    leading = yield from ask(
        LeadingRows(sample.importance, objective.shift, objective.scale, chosen)
    )
    rows = arrays.joined(leading.rows)
    gram = arrays.in_dtype(rows @ rows.T, np.dtype(np.float64)) / float(leading.weight)
    curvature, eigenvectors = _eigh(gram)
    # A value that is rounding alone would give its direction a wrong length.
    exact = row_count == sample.count and objective.facts.dtype == np.float64
    is_kept = on_host(curvature > (1e-10 if exact else 1e-6) * curvature[-1])
    if row_count < sample.count:
        # The smaller half is mostly the sample's noise: its trace goes to the directions not seen.
        is_kept[: row_count // 2] = False
    values, left_out = curvature[is_kept], curvature[~is_kept]
    scaled = eigenvectors[:, is_kept] / (values * float(leading.weight)) ** 0.5
    basis = rows.T @ arrays.in_dtype_of(scaled, rows)
    rest = max(float(left_out.sum()), 0.0) / max(width - int(is_kept.sum()), 1)
    least = max(1e-10 * float(curvature[-1]), TINY)
    return Curvature(values, basis, max(rest, least))


def _diagonal(sample: _Sample) -> Steps[Curvature]:
    """Return ``Σ f u²`` of each feature as the curvature."""
    objective = sample.objective
    squares, mean = (
        yield from ask(FeatureDiagonal(sample.importance, objective.facts.width, sample.rows))
    ) / sample.weight
    diagonal = squares - 2 * objective.shift * mean + objective.shift**2
    return Curvature(_floored(diagonal / objective.scale**2), None)


def _eigh(matrix: Array) -> tuple[Array, Array]:
    with threads.large(len(matrix) ** 3):
        return arrays.eigh(matrix)


def _floored(curvature: Array) -> Array:
    # Without a penalty a direction that the rows do not span would be divided by 0.
    largest = float(curvature.max()) if len(curvature) else 0.0
    return curvature.clip(max(1e-10 * largest, TINY))
