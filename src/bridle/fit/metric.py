r"""The curvature that turns a gradient into a good direction.

The Hessian of the mean cross-entropy is ``mean_i (diag p_i − p_i p_iᵀ) ⊗ u_i u_iᵀ``. Its factors,
averaged apart, give a Kronecker product that is cheap to build from some thousands of rows and to
invert by two small eigendecompositions:

    S = mean w_i u_i u_iᵀ = Q diag(e) Qᵀ,   H = mean (diag p_i − p_i p_iᵀ) = U diag(λ) Uᵀ
    M⁻¹ G = Q [(Qᵀ G U) / (e λᵀ + α)] Uᵀ

The intercept sees ``H`` alone. Where the features are sparse, or too many for an eigenproblem of
their own, ``S`` is taken as diagonal.

Reference: J. Martens, R. Grosse, *Optimizing Neural Networks with Kronecker-factored Approximate
Curvature*, 2015, for the factoring; here it is a metric for an exact method.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from bridle import probabilities
from bridle.fit.objective import Objective

Array = npt.NDArray[Any]

# Above this width the D × D eigenproblem costs more than the passes that it saves.
_WIDEST_EIGENPROBLEM = 2048
# Rows of the sample that are gathered at a time.
_BLOCK_ROWS = 2048


@dataclass(frozen=True)
class Metric:
    """An approximate Hessian that is easily inverted."""

    feature_basis: Array | None  # Q (D, D); None stands for the identity
    class_basis: Array  # U (K, K)
    curvature: Array  # (D, K): e λᵀ + α
    class_curvature: Array  # λ (K,)
    fit_intercept: bool

    def invert(self, gradient: Array) -> Array:
        """Return M⁻¹ times a gradient in the parameters' shape."""
        slope = gradient[:-1] if self.fit_intercept else gradient
        rotated = slope @ self.class_basis
        if self.feature_basis is not None:
            rotated = self.feature_basis.T @ rotated
        rotated /= self.curvature
        if self.feature_basis is not None:
            rotated = self.feature_basis @ rotated
        direction = rotated @ self.class_basis.T
        if not self.fit_intercept:
            return np.asarray(direction)
        intercept = _invert(self.class_curvature, self.class_basis, gradient[-1])
        return np.vstack([direction, intercept])


def sample_size(objective: Objective) -> int:
    """Return how many rows make a metric good enough: several for each eigenvalue."""
    return max(8 * min(objective.features.shape[1], _WIDEST_EIGENPROBLEM), 8192)


def build_metric(objective: Objective, parameters: Array, rows: Array | None) -> Metric:
    """Build the metric at ``parameters`` from the given rows (all of them for None)."""
    sample = objective.some(rows)
    spread, share, mean, square = _predictions(sample, parameters)
    # Samples the model is sure of bend nothing. Their twentieth part keeps S from losing rank.
    mean_spread = float(share @ spread)
    importance = 0.05 + 0.95 * spread / mean_spread if mean_spread > 0 else np.ones(len(spread))
    class_curvature, class_basis = _class_side(mean, square, floor=1e-3)
    feature_curvature, feature_basis = _feature_side(sample, share * importance)
    curvature = np.outer(feature_curvature, class_curvature) + objective.alpha
    return Metric(feature_basis, class_basis, curvature, class_curvature, objective.fit_intercept)


@dataclass(frozen=True)
class InterceptCurvature:
    """The Hessian of the intercept alone."""

    curvature: Array  # (K,)
    basis: Array  # (K, K)

    @classmethod
    def at(cls, objective: Objective, parameters: Array, rows: Array | None) -> InterceptCurvature:
        """Estimate it at ``parameters`` from the given rows (all of them for None)."""
        _, _, mean, square = _predictions(objective.some(rows), parameters)
        return cls(*_class_side(mean, square, floor=1e-10))

    def step(self, slope: Array) -> Array:
        """Return the Newton step of the intercept alone."""
        step = -_invert(self.curvature, self.basis, slope)
        # The same constant for all classes changes no probability; rounding must not drift along.
        return np.asarray(step - step.mean())


def _predictions(sample: Objective, parameters: Array) -> tuple[Array, Array, Array, Array]:
    """Return each row's ``1 − ‖p‖²`` and its share of 1, and the means of ``p`` and ``p pᵀ``."""
    count, classes = len(sample.features), sample.classes
    weight, offset = sample.in_feature_units(parameters)
    weight, offset = weight.astype(sample.features.dtype), offset.astype(sample.features.dtype)
    share = np.full(count, 1 / count)
    if sample.sample_weight is not None:
        share = sample.sample_weight / sample.sample_weight.sum()
    spread, mean, square = np.empty(count), np.zeros(classes), np.zeros((classes, classes))
    for rows, block in sample.features.blocks(_BLOCK_ROWS):
        probability = probabilities.softmax(block @ weight + offset)
        weighted = probability * share[rows, None].astype(probability.dtype)
        spread[rows] = 1 - np.einsum("nk,nk->n", probability, probability)
        mean += weighted.sum(axis=0, dtype=np.float64)
        square += probability.T @ weighted
    return spread, share, mean, square


def _invert(curvature: Array, basis: Array, slope: Array) -> Array:
    return np.asarray(basis @ ((basis.T @ slope) / curvature))


def _class_side(mean: Array, square: Array, floor: float) -> tuple[Array, Array]:
    curvature, basis = np.linalg.eigh(np.diag(mean) - square)
    # The direction that adds a constant to all scores has no curvature, and no gradient either.
    least = max(floor * float(curvature.mean()), np.finfo(np.float64).tiny)
    return np.maximum(curvature, least), basis


def _feature_side(sample: Objective, share: Array) -> tuple[Array, Array | None]:
    if sample.features.is_sparse or sample.features.shape[1] > _WIDEST_EIGENPROBLEM:
        return _floored(_diagonal(sample, share)), None
    width, dtype = sample.features.shape[1], sample.features.dtype
    shift, scale = sample.shift.astype(dtype), sample.scale.astype(dtype)
    moment = np.zeros((width, width))
    for rows, block in sample.features.blocks(_BLOCK_ROWS):
        centred = (block - shift) / scale
        moment += centred.T @ (centred * share[rows, None].astype(dtype))
    curvature, basis = np.linalg.eigh(moment)
    return _floored(curvature), basis


def _diagonal(sample: Objective, share: Array) -> Array:
    """Return ``Σ share u²`` of each feature."""
    squares, mean = np.zeros(sample.features.shape[1]), np.zeros(sample.features.shape[1])
    for rows, block in sample.features.blocks(_BLOCK_ROWS):
        squares += share[rows] @ (
            block.multiply(block) if sparse.issparse(block) else block * block
        )
        mean += share[rows] @ block
    diagonal = squares - 2 * sample.shift * mean + sample.shift**2 * share.sum()
    return np.asarray(diagonal / sample.scale**2)


def _floored(curvature: Array) -> Array:
    # Without a penalty a direction that the rows do not span would be divided by 0.
    top = float(curvature.max(initial=0.0))
    return np.maximum(curvature, max(1e-10 * top, np.finfo(np.float64).tiny))
