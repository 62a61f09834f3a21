"""The whole Hessian of a small problem, for Newton's method.

    ∇²f = mean_i s_i (diag p_i − p_i p_iᵀ) ⊗ u_i u_iᵀ + α

with a 1 after the features for the intercept, which has no α. Where it has no more than some
hundred rows it is cheaper than the passes it saves, and knows what no metric of Kronecker factors
does: columns that repeat each other, or are a million times larger than others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import linalg

from bridle.fit import arrays, threads
from bridle.fit.problem.objective import Objective
from bridle.fit.requests import HessianSums, Point, Steps, WholeHessian, ask
from bridle.kernels import thresholds
from bridle.tensors import on_host

Array = Any  # NumPy's; a gradient may be a tensor: see `arrays`


def first_choice(objective: Objective) -> bool:
    """Tell whether the problem is so small that nothing else should be tried."""
    return _is_within(objective, *thresholds.HESSIAN_FIRST_CHOICE)


def last_resort(objective: Objective) -> bool:
    """Tell whether the problem is small enough to try this where all else has failed."""
    return _is_within(objective, *thresholds.HESSIAN_LAST_RESORT)


def _is_within(objective: Objective, rows: int, multiplications: int) -> bool:
    size = objective.shape[0] * objective.classes
    return size <= rows and objective.facts.count * size**2 <= multiplications


@dataclass(frozen=True)
class Hessian:
    """The Hessian at a point, ready to be inverted.

    A constant added to all scores of a row changes no probability. Along such directions only the
    penalty curves the objective, by too little to survive rounding beside the rest: the system is
    solved for weights that sum to 0 over the classes, and their mean steps to its optimum, 0.
    """

    solve: Callable[[Array], Array]
    contrasts: Array  # (K, K − 1), orthonormal, of columns that sum to 0
    excess: Array  # (D, 1): the weights' mean over the classes

    def invert(self, gradient: Array) -> Array:
        """Return the inverse times a gradient in the parameters' shape."""
        like, gradient = gradient, on_host(gradient)
        slope = gradient @ self.contrasts
        step = self.solve(slope.ravel()).reshape(slope.shape) @ self.contrasts.T
        step[: len(self.excess)] += self.excess
        return arrays.on_device_of(step, like)


def hessian_at(objective: Objective, parameters: Array) -> Steps[Hessian]:
    """Return the Hessian from all rows, in float64, on the host: it is small wherever they are."""
    parameters = on_host(parameters)
    (depth, classes), contrasts = objective.shape, linalg.helmert(objective.classes).T
    size = depth * (classes - 1)
    small = threads.is_tiny(depth * classes)
    request = WholeHessian(
        Point(*objective.in_feature_units(parameters)),
        objective.shift,
        objective.scale,
        contrasts,
        objective.fit_intercept,
        # A small problem's products are such that no library shares them out to threads, which
        # would wait for longer than the products take.
        thresholds.SINGLE_THREADED // size**2
        if small
        else max(1, thresholds.HESSIAN_BLOCK_NUMBERS // size),
    )
    matrix = _matrix(objective, contrasts, (yield from ask(request)))
    # Scaled to a unit diagonal, so that rounding treats large and small columns alike.
    diagonal = np.diagonal(matrix)
    scale = np.sqrt(np.maximum(diagonal, diagonal.max() * 1e-32))
    with threads.large(len(matrix) ** 3):
        solve = _solver_of(matrix / np.outer(scale, scale))
    weight, _ = objective.split(parameters)
    excess = weight.mean(axis=1, keepdims=True)
    return Hessian(lambda slope: solve(slope / scale) / scale, contrasts, excess)


def _solver_of(matrix: Array) -> Callable[[Array], Array]:
    try:
        factor = linalg.cho_factor(matrix, check_finite=False)
    except linalg.LinAlgError:
        values, basis = np.linalg.eigh(matrix)
        is_positive = values > len(values) * np.finfo(np.float64).eps * values[-1]
        values, basis = values[is_positive], basis[:, is_positive]
        return lambda slope: np.asarray(basis @ ((basis.T @ slope) / values))
    return lambda slope: np.asarray(linalg.cho_solve(factor, slope, check_finite=False))


def _matrix(objective: Objective, contrasts: Array, sums: HessianSums) -> Array:
    """Return the second derivatives between the contrasts of every row of the parameters."""
    size, width = len(sums.outer), objective.facts.width
    curvature = np.tensordot(contrasts[:, :, None] * contrasts[:, None, :], sums.moments, (0, 0))
    matrix = curvature.transpose(2, 0, 3, 1).reshape(size, size) - sums.outer
    matrix /= objective.total_weight
    penalised = np.arange(width * contrasts.shape[1])
    matrix[penalised, penalised] += objective.alpha
    return np.asarray(matrix)
