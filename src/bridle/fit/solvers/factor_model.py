r"""A quadratic model of the objective in whole features, and its minimum: for very many weights.

The curvature between all of their entries would not fit anywhere. That of `metric`'s two factors
does, with what the last steps have shown that these miss, as L-BFGS has it:

    B = S ⊗ H + U C Uᵀ,   U = [(S ⊗ H) s_i …, y_i …]

over steps s and the gradient's changes y. Coordinate descent minimises it with the penalty.

Reference: R. Byrd, J. Nocedal, R. Schnabel, *Representations of Quasi-Newton Matrices and Their Use
in Limited Memory Methods*, 1994.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bridle.kernels import thresholds
from bridle.kernels.numpy import coordinates as reference
from bridle.kernels.numpy.coordinates import Factors

Array = npt.NDArray[Any]

_MOST_SWEEPS = 100
_SWEEPS_OF_MOVING = 4  # between two sweeps over all


def factors_of(
    features: Array, classes: Array, pairs: Sequence[tuple[Array, Array]], square: Array
) -> Factors:
    """Return the model of steps and the gradient's changes, the oldest first."""
    count, size = len(features), len(classes)
    pairs = [pair for pair in pairs if float(np.vdot(*pair)) > 0]
    diagonal = np.outer(np.diagonal(features), np.diagonal(classes))
    if not pairs:
        none = np.zeros((count, size, 0))
        return Factors(features, classes, none, none, diagonal, square)
    steps, changes = (np.stack([pair[which] for pair in pairs]) for which in (0, 1))
    curved = np.stack([features @ step @ classes for step in steps])
    # Where the last change was larger than the factors have it, so are they all. Smaller they never
    # become: that would make steps too long in directions that no step has tried.
    scale = max(1.0, float(np.vdot(steps[-1], changes[-1]) / np.vdot(steps[-1], curved[-1])))
    features, curved, diagonal = scale * features, scale * curved, scale * diagonal
    inner = np.einsum("inK,jnK->ij", steps, changes)
    below = np.tril(inner, -1)
    middle = np.block(
        [
            [np.einsum("inK,jnK->ij", steps, curved), below],
            [below.T, -np.diag(np.diagonal(inner))],
        ]
    )
    basis = np.ascontiguousarray(np.moveaxis(np.concatenate([curved, changes]), 0, -1))
    weighted = -basis @ np.linalg.pinv(middle, hermitian=True)
    bent = diagonal + np.einsum("nKm,nKm->nK", basis, weighted)
    # Rounding may have left next to nothing, or less.
    diagonal = np.maximum(bent, 1e-3 * diagonal)
    return Factors(features, classes, basis, np.ascontiguousarray(weighted), diagonal, square)


@dataclass(frozen=True)
class FactorModel:
    """``slope · d + ½ d · B d`` plus the cost of ``start + d``.

    A row is a feature, or the intercept.
    """

    factors: Factors
    slope: Array  # (n, K): of the smooth part
    start: Array  # (n, K)
    cost: Array  # (n,): of entries' sizes, or of rows' lengths
    by_row: bool
    first: int  # classes before have no weights

    def minimum(self, tolerance: float) -> Array:
        """Return the rows at the minimum, of which no slope is wrong by more than told."""
        values = self.start.copy()
        # That of the square is added where it is needed, from the values themselves.
        slope = np.ascontiguousarray((self.slope - self.factors.square[:, None] * self.start).T)
        along = np.zeros(self.factors.basis.shape[-1])
        sweep: Any = reference.sweep_factors
        if values.size**2 >= thresholds.COMPILED_DESCENT:
            from bridle.kernels.numba import coordinates

            sweep = coordinates.sweep_factors
        for count in range(_MOST_SWEEPS):
            only_moving = count % (_SWEEPS_OF_MOVING + 1) != 0
            sweep(
                self.factors, slope, along, values, self.cost, self.first, self.by_row, only_moving
            )
            if not only_moving and self._violation(values, slope, along) <= tolerance:
                break
        return values

    def _violation(self, values: Array, slope: Array, along: Array) -> float:
        now = slope.T + self.factors.weighted_basis @ along + self.factors.square[:, None] * values
        return self.violation(values, now)

    def violation(self, values: Array, slope: Array) -> float:
        """Return how far the worst slope is from one that the cost allows."""
        cost = self.cost[:, None]
        if self.by_row:
            length = np.linalg.norm(values, axis=1, keepdims=True)
            away = np.linalg.norm(slope + cost * values / np.maximum(length, 1e-300), axis=1)
            at_zero = np.maximum(np.linalg.norm(slope, axis=1) - self.cost, 0)
            return float(np.where(length[:, 0] > 0, away, at_zero).max(initial=0.0))
        away = np.abs(slope + cost * np.sign(values))
        wrong = np.where(values != 0, away, np.maximum(np.abs(slope) - cost, 0))
        return float(wrong[:, self.first :].max(initial=0.0))
