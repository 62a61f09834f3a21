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
from scipy import linalg, sparse

from bridle import probabilities
from bridle.fit import arrays
from bridle.fit.objective import Objective
from bridle.rows import on_host

Array = Any  # NumPy's; a gradient may be a tensor: see `arrays`

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
    return size <= rows and len(objective.features) * size**2 <= multiplications


@dataclass(frozen=True)
class Hessian:
    """The Hessian at a point, ready to be inverted.

    A constant added to all scores of a row changes no probability. Along such directions the
    penalty alone bends the objective, by too little for rounding to see beside the rest: the system
    is solved for weights that sum to 0 over the classes, and their mean steps to its optimum, 0.
    """

    solve: Callable[[Array], Array]
    contrasts: Array  # (K, K − 1), orthonormal, of columns that sum to 0
    excess: Array  # (D, 1): the weights' mean over the classes

    @classmethod
    def at(cls, objective: Objective, parameters: Array) -> Hessian:
        """Make it from all rows, in float64, on the host: it is small wherever the rows are."""
        parameters = on_host(parameters)
        contrasts = linalg.helmert(objective.classes).T
        matrix = _matrix(objective, parameters, contrasts)
        # Large and small columns, each in its own unit: rounding then treats them alike.
        diagonal = np.diagonal(matrix)
        scale = np.sqrt(np.maximum(diagonal, diagonal.max() * 1e-32))
        solve = _solver_of(matrix / np.outer(scale, scale))
        weight, _ = objective.split(parameters)
        excess = weight.mean(axis=1, keepdims=True)
        return cls(lambda slope: solve(slope / scale) / scale, contrasts, excess)

    def invert(self, gradient: Array) -> Array:
        """Return the inverse times a gradient in the parameters' shape."""
        like, gradient = gradient, on_host(gradient)
        slope = gradient @ self.contrasts
        step = self.solve(slope.ravel()).reshape(slope.shape) @ self.contrasts.T
        step[: len(self.excess)] += self.excess
        return arrays.beside(step, like)


def _solver_of(matrix: Array) -> Callable[[Array], Array]:
    try:
        factor = linalg.cho_factor(matrix, check_finite=False)
    except linalg.LinAlgError:
        values, basis = np.linalg.eigh(matrix)
        seen = values > len(values) * np.finfo(np.float64).eps * values[-1]
        values, basis = values[seen], basis[:, seen]
        return lambda slope: np.asarray(basis @ ((basis.T @ slope) / values))
    return lambda slope: np.asarray(linalg.cho_solve(factor, slope, check_finite=False))


def _matrix(objective: Objective, parameters: Array, contrasts: Array) -> Array:
    """Return the second derivatives between the contrasts of every row of the parameters."""
    (depth, classes), width = objective.shape, objective.features.shape[1]
    size = depth * (classes - 1)
    weight, offset = objective.in_feature_units(parameters)
    shares = np.ones(len(objective.features))
    if objective.sample_weight is not None:
        shares = on_host(objective.sample_weight)
    moments, outer = np.zeros((classes, depth, depth)), np.zeros((size, size))
    step = SINGLE_THREADED // size**2 if tiny(objective) else max(1, _BLOCK_NUMBERS // size)
    for rows, block in objective.features.blocks(step, np.dtype(np.float64)):
        probability = probabilities.softmax(block @ weight + offset)
        features = np.ones((block.shape[0], depth))
        dense = block.toarray() if sparse.issparse(block) else block
        features[:, :width] = (dense - objective.shift) / objective.scale
        share = shares[rows, None] / objective.total_weight
        combined = features[:, :, None] * (probability @ contrasts)[:, None, :]
        combined = combined.reshape(-1, size)
        outer += combined.T @ (combined * share)
        for c in range(classes):
            moments[c] += features.T @ (features * (share * probability[:, c, None]))
    bent = np.tensordot(contrasts[:, :, None] * contrasts[:, None, :], moments, (0, 0))
    matrix = bent.transpose(2, 0, 3, 1).reshape(size, size) - outer
    penalised = np.arange(width * (classes - 1))
    matrix[penalised, penalised] += objective.alpha
    return np.asarray(matrix)
