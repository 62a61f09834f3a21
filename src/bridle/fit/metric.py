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
from scipy import sparse

from bridle.fit import arrays
from bridle.fit.objective import Objective
from bridle.rows import on_host

Array = Any  # NumPy's, or tensors where the features are: see `arrays`

# Above these the eigenproblems cost more than the passes that they save.
_WIDEST_EIGENPROBLEM = 2048
_MOST_CLASSES = 2048
TINY = float(np.finfo(np.float64).tiny)
# What shows the leading directions of wider features: so many rows, of so many numbers at most.
_LEADING_ROWS, _LEADING_NUMBERS = 1024, 2**23


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
    return max(8 * min(objective.features.shape[1], _WIDEST_EIGENPROBLEM), 8192)


def build_metric(objective: Objective, parameters: Array, rows: Array | None) -> Metric:
    """Build the metric at ``parameters`` from the given rows (all of them for None)."""
    sample = objective.some(rows)
    spread, share, hessian = _predictions(sample, parameters)
    # Samples the model is sure of bend nothing. Their twentieth part keeps S from losing rank.
    mean_spread = float(share @ spread)
    importance = 0.05 + 0.95 * spread / mean_spread if mean_spread > 0 else 1 + 0 * spread
    features = _feature_side(sample, share * importance)
    least = _remaining_curvature(objective, parameters, features)
    return Metric(
        features,
        _class_side(hessian, floor=1e-3, least=least),
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

    @classmethod
    def at(cls, objective: Objective, parameters: Array, rows: Array | None) -> InterceptCurvature:
        """Find it at ``parameters`` from all rows, or the given ones where all would cost more."""
        if objective.classes <= objective.features.shape[1]:
            rows = None
        _, _, hessian = _predictions(objective.some(rows), parameters)
        return cls(_class_side(hessian, floor=1e-10))

    def step(self, slope: Array) -> Array:
        """Return the Newton step of the intercept alone."""
        step = -_solve(self.hessian, slope)
        # The same constant for all classes changes no probability; rounding must not drift along.
        return step - step.mean()


def _predictions(sample: Objective, parameters: Array) -> tuple[Array, Array, Array]:
    """Return each row's ``1 − ‖p‖²`` and its share of 1, and the mean of ``diag p − p pᵀ``.

    Of very many classes, its diagonal.
    """
    count, classes, dtype = len(sample.features), sample.classes, sample.features.dtype
    weight, offset = (arrays.narrowed(part, dtype) for part in sample.in_feature_units(parameters))
    share = arrays.zeros(count, parameters) + 1 / count
    if sample.sample_weight is not None:
        share = sample.sample_weight / sample.sample_weight.sum()
    many = classes > _MOST_CLASSES
    spread, mean = arrays.zeros(count, parameters), arrays.zeros(classes, parameters)
    square = arrays.zeros(classes if many else (classes, classes), parameters)
    for rows, block in sample.blocks(classes):
        probability = arrays.softmax(block @ weight + offset)
        weighted = probability * arrays.narrowed(share[rows, None], dtype)
        spread[rows] = 1 - arrays.row_squares(probability)
        mean += arrays.column_sums(weighted)
        if many:
            square += (probability * weighted).sum(0)
        else:
            square += probability.T @ weighted
    return spread, share, mean - square if many else arrays.diagonal(mean) - square


def _solve(matrix: Curvature, slope: Array) -> Array:
    if matrix.basis is None:
        return slope / matrix.values
    return matrix.basis @ ((matrix.basis.T @ slope) / matrix.values)


def _class_side(hessian: Array, floor: float, least: float = 0.0) -> Curvature:
    curvature, basis = (hessian, None) if hessian.ndim == 1 else arrays.eigh(hessian)
    # The direction that adds a constant to all scores has no curvature, and no gradient either.
    mean = max(float(curvature.mean()), least)
    return Curvature(curvature.clip(max(floor * mean, least, TINY)), basis)


def _feature_side(sample: Objective, share: Array) -> Curvature:
    if sample.features.is_sparse:
        return Curvature(_floored(_diagonal(sample, share)), None)
    (count, width), dtype = sample.features.shape, sample.features.dtype
    if width > min(_WIDEST_EIGENPROBLEM, count):
        return _leading_directions(sample, share)
    shift, scale = (
        arrays.beside(each.astype(dtype), share) for each in (sample.shift, sample.scale)
    )
    moment = arrays.zeros((width, width), share)
    for rows, block in sample.blocks(width):
        # The product of an array with itself is half the work.
        centred = (block - shift) * (arrays.narrowed(share[rows, None] ** 0.5, dtype) / scale)
        moment += centred.T @ centred
    curvature, basis = arrays.eigh(moment)
    return Curvature(_floored(curvature), arrays.narrowed(basis, dtype))


def _leading_directions(sample: Objective, share: Array) -> Curvature:
    """Return what a few rows tell of wider features: their span, and the mean of the rest."""
    count, width = sample.features.shape
    few = count
    if width > _WIDEST_EIGENPROBLEM:
        few = min(count, _LEADING_ROWS, max(1, _LEADING_NUMBERS // width))
    chosen = np.linspace(0, count - 1, few).astype(np.intp)
    like, share = share, on_host(share)
    weight = share[chosen] / share[chosen].sum() * share.sum()
    rows = sample.features.take(chosen).to_array()
    rows = (rows - sample.shift.astype(rows.dtype)) / sample.scale.astype(rows.dtype)
    rows *= np.sqrt(weight)[:, None].astype(rows.dtype)
    gram = (rows @ rows.T).astype(np.float64)
    curvature, left = np.linalg.eigh(gram)
    # A value that is rounding alone would give its direction a wrong length.
    exact = few == count and rows.dtype == np.float64
    kept = curvature > (1e-10 if exact else 1e-6) * curvature[-1]
    if few < count:
        # The smaller half is mostly the sample's noise: its trace goes to the directions not seen.
        kept[: few // 2] = False
    basis = rows.T @ (left[:, kept] / np.sqrt(curvature[kept])).astype(rows.dtype)
    rest = max(float(curvature[~kept].sum()), 0.0) / max(width - int(kept.sum()), 1)
    least = max(1e-10 * float(curvature[-1]), TINY)
    return Curvature(
        arrays.beside(curvature[kept], like), arrays.beside(basis, like), max(rest, least)
    )


def _diagonal(sample: Objective, share: Array) -> Array:
    """Return ``Σ share u²`` of each feature."""
    width = sample.features.shape[1]
    squares, mean = np.zeros(width), np.zeros(width)
    for rows, block in sample.blocks(width):
        squares += share[rows] @ (
            block.multiply(block) if sparse.issparse(block) else block * block
        )
        mean += share[rows] @ block
    diagonal = squares - 2 * sample.shift * mean + sample.shift**2 * share.sum()
    return np.asarray(diagonal / sample.scale**2)


def _floored(curvature: Array) -> Array:
    # Without a penalty a direction that the rows do not span would be divided by 0.
    top = float(curvature.max()) if len(curvature) else 0.0
    return curvature.clip(max(1e-10 * top, TINY))
