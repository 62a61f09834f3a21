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
import numpy.typing as npt
from scipy import linalg

from bridle import probabilities
from bridle.fit.objective import Objective

Array = npt.NDArray[Any]

# The Hessian's rows, and the multiplications that it takes.
_FIRST_CHOICE = 256, 2**27
_LAST_RESORT = 1024, 2**33
# A block's numbers; and the multiplications of a product that no library shares out to threads,
# which a small problem's would wait for longer than they take.
_BLOCK_NUMBERS, SINGLE_THREADED = 2**21, 2**18
_TINY = 64


def first_choice(objective: Objective) -> bool:
    """Tell whether the problem is so small that nothing else should be tried."""
    return _within(objective, *_FIRST_CHOICE)


def last_resort(objective: Objective) -> bool:
    """Tell whether the problem is small enough to try this where all else has failed."""
    return _within(objective, *_LAST_RESORT)


def tiny(objective: Objective) -> bool:
    """Tell whether all of the Hessian's products are made on one thread."""
    return objective.shape[0] * objective.classes <= _TINY


def _within(objective: Objective, rows: int, multiplications: int) -> bool:
    size = objective.shape[0] * objective.classes
    dense = not objective.features.is_sparse
    return dense and size <= rows and len(objective.features) * size**2 <= multiplications


@dataclass(frozen=True)
class Hessian:
    """The Hessian, ready to be inverted."""

    solve: Callable[[Array], Array]
    fit_intercept: bool

    @classmethod
    def at(cls, objective: Objective, parameters: Array) -> Hessian:
        """Make it from all rows, in float64."""
        matrix = _matrix(objective, parameters)
        _fill_gauge(matrix, objective)
        # Large and small columns, each in its own unit: rounding then treats them alike.
        diagonal = np.diagonal(matrix)
        scale = np.sqrt(np.maximum(diagonal, diagonal.max() * 1e-32))
        solve = _solver_of(matrix / np.outer(scale, scale))
        return cls(lambda slope: solve(slope / scale) / scale, objective.fit_intercept)

    def invert(self, gradient: Array) -> Array:
        """Return the inverse times a gradient in the parameters' shape."""
        step = self.solve(gradient.ravel()).reshape(gradient.shape)
        if self.fit_intercept:
            # The same constant for all classes changes no probability; rounding must not drift.
            step[-1] -= step[-1].mean()
        return np.asarray(step)


def _fill_gauge(matrix: Array, objective: Objective) -> None:
    """Give the directions that change no probability, and no penalty, a curvature, in place.

    They add the same number to all classes; a gradient has no part in them.
    """
    depth, classes = objective.shape
    view = matrix.reshape(depth, classes, depth, classes)
    free = range(depth) if objective.alpha == 0 else range(objective.features.shape[1], depth)
    for row in free:
        view[row, :, row, :] += np.diagonal(view[row, :, row, :]).mean() / classes


def _solver_of(matrix: Array) -> Callable[[Array], Array]:
    try:
        factor = linalg.cho_factor(matrix, check_finite=False)
    except linalg.LinAlgError:
        values, basis = np.linalg.eigh(matrix)
        seen = values > len(values) * np.finfo(np.float64).eps * values[-1]
        values, basis = values[seen], basis[:, seen]
        return lambda slope: np.asarray(basis @ ((basis.T @ slope) / values))
    return lambda slope: np.asarray(linalg.cho_solve(factor, slope, check_finite=False))


def _matrix(objective: Objective, parameters: Array) -> Array:
    """Return the Hessian (P, P), with the parameters in the order of their rows."""
    depth, classes = objective.shape
    size = depth * classes
    weight, offset = objective.split(parameters)
    outer = np.zeros((size, size))
    moments = np.zeros((depth, classes, depth, classes))
    rows_at_a_time = max(1, _BLOCK_NUMBERS // size)
    if tiny(objective):
        rows_at_a_time = SINGLE_THREADED // size**2
    for rows, block in objective.features.blocks(rows_at_a_time, np.dtype(np.float64)):
        features = np.ones((block.shape[0], depth))
        features[:, : block.shape[1]] = (block - objective.shift) / objective.scale
        scores = features[:, : block.shape[1]] @ weight + offset
        probability = probabilities.softmax(scores)
        share = np.full(len(scores), 1.0)
        if objective.sample_weight is not None:
            share = objective.sample_weight[rows]
        share = share / objective.total_weight
        combined = (features[:, :, None] * probability[:, None, :]).reshape(-1, size)
        outer += combined.T @ (combined * share[:, None])
        for c in range(classes):
            moments[:, c, :, c] += features.T @ (features * (share * probability[:, c])[:, None])
    matrix = moments.reshape(size, size) - outer
    penalised = objective.features.shape[1] * classes
    matrix[np.arange(penalised), np.arange(penalised)] += objective.alpha
    return np.asarray(matrix)
