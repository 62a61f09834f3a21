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
from scipy import linalg

from bridle import probabilities
from bridle.fit.objective import Objective

Array = npt.NDArray[Any]

# Above this width the D × D eigenproblem costs more than the passes that it saves.
_WIDEST_EIGENPROBLEM = 2048


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
    block, probability, share = _sample(objective, parameters, rows)
    spread = 1 - np.einsum("nk,nk->n", probability, probability)
    # Samples the model is sure of bend nothing. Their twentieth part keeps S from losing rank.
    mean_spread = float(share @ spread)
    importance = 0.05 + 0.95 * spread / mean_spread if mean_spread > 0 else np.ones(len(spread))
    class_curvature, class_basis = _class_side(probability, share, floor=1e-3)
    feature_curvature, feature_basis = _feature_side(objective, block, share * importance)
    curvature = np.outer(feature_curvature, class_curvature) + objective.alpha
    return Metric(feature_basis, class_basis, curvature, class_curvature, objective.fit_intercept)


def intercept_step(
    objective: Objective, parameters: Array, rows: Array | None, slope: Array
) -> Array:
    """Return the Newton step of the intercept alone, from its curvature at ``parameters``."""
    _, probability, share = _sample(objective, parameters, rows)
    step = -_invert(*_class_side(probability, share, floor=1e-10), slope)
    # The same constant for all classes changes no probability; rounding must not drift along it.
    return np.asarray(step - step.mean())


def _sample(
    objective: Objective, parameters: Array, rows: Array | None
) -> tuple[Any, Array, Array]:
    """Return the features, probabilities and shares (of 1) of the given rows."""
    features = objective.features if rows is None else objective.features.take(rows)
    block = features.to_array()
    weight, offset = objective.in_feature_units(parameters)
    probability = probabilities.softmax(block @ weight.astype(block.dtype) + offset)
    return block, probability, _share(objective, rows)


def _invert(curvature: Array, basis: Array, slope: Array) -> Array:
    return np.asarray(basis @ ((basis.T @ slope) / curvature))


def _share(objective: Objective, rows: Array | None) -> Array:
    if objective.sample_weight is None:
        count = len(objective.features) if rows is None else len(rows)
        return np.full(count, 1 / count)
    weight = objective.sample_weight if rows is None else objective.sample_weight[rows]
    return np.asarray(weight / weight.sum())


def _class_side(probability: Array, share: Array, floor: float) -> tuple[Array, Array]:
    weighted = probability * share[:, None]
    hessian = np.diag(weighted.sum(axis=0)) - probability.T @ weighted
    curvature, basis = linalg.eigh(hessian, check_finite=False)
    # The direction that adds a constant to all scores has no curvature, and no gradient either.
    least = max(floor * float(curvature.mean()), np.finfo(np.float64).tiny)
    return np.maximum(curvature, least), basis


def _feature_side(objective: Objective, block: Any, share: Array) -> tuple[Array, Array | None]:
    if objective.features.is_sparse or block.shape[1] > _WIDEST_EIGENPROBLEM:
        squares = (
            np.asarray(share @ block.multiply(block))
            if objective.features.is_sparse
            else (share @ (block * block))
        )
        mean = np.asarray(share @ block)
        diagonal = squares - 2 * objective.shift * mean + objective.shift**2 * share.sum()
        return _floored(diagonal / objective.scale**2), None
    centred = (block - objective.shift) / objective.scale
    moment = centred.T @ (centred * share[:, None])
    curvature, basis = linalg.eigh(moment, check_finite=False, overwrite_a=True)
    return _floored(curvature), basis


def _floored(curvature: Array) -> Array:
    # Without a penalty a direction that the rows do not span would be divided by 0.
    top = float(curvature.max(initial=0.0))
    return np.maximum(curvature, max(1e-10 * top, np.finfo(np.float64).tiny))
