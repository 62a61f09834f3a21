r"""A quadratic model of the objective in whole features, and its minimum: for very many weights.

The curvature between all of their entries would not fit anywhere. That of `metric`'s two factors
does, with what the last steps have shown that these miss, as L-BFGS has it:

    B = S ⊗ H + U C Uᵀ,   U = [(S ⊗ H) s_i …, y_i …]

over steps s and the gradient's changes y. To its minimum with the penalty lead rounds of coordinate
descent, which finds what is 0, and Newton's steps of all that is not, by conjugate gradients.

Reference: R. Byrd, J. Nocedal, R. Schnabel, *Representations of Quasi-Newton Matrices and Their Use
in Limited Memory Methods*, 1994.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import optimize

from bridle.kernels import thresholds
from bridle.kernels.numpy import coordinates as reference
from bridle.kernels.numpy.coordinates import Factors

Array = npt.NDArray[Any]

# A round is so many sweeps, the first over all and the others over what is not 0, and then a step.
_MOST_ROUNDS, _SWEEPS = 25, 4
_LENGTH_ERROR = 1e-6  # of a step's best length
_MOST_PRODUCTS = 30  # of conjugate gradients
_SOLVED = 1e-4  # of the residual's square: Newton's step is found
_FLAT = 1e-10  # of a direction's square in the diagonal: a curvature that is rounding


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
        factors, values = self.factors, self.start.copy()
        # That of the square is added where it is needed, from the values themselves.
        slope = np.ascontiguousarray((self.slope - factors.square[:, None] * self.start).T)
        along = np.zeros(factors.basis.shape[-1])
        sweep: Any = reference.sweep_factors
        if values.size**2 >= thresholds.COMPILED_DESCENT:
            from bridle.kernels.numba import coordinates

            sweep = coordinates.sweep_factors
        told = slope, along, values, self.cost, self.first, self.by_row
        for _ in range(_MOST_ROUNDS):
            for count in range(_SWEEPS):
                sweep(factors, *told, count > 0)
                if count > 0:
                    continue
                if self.violation(values, self._slope_at(values, slope, along)) <= tolerance:
                    return values
            for proposed in (self._to_middle, self._newton_step):
                now = self._slope_at(values, slope, along)
                step = self._lowering(values, now, proposed(values, now))
                slope += (factors.features @ (step @ factors.classes)).T
                along += np.tensordot(step, factors.basis, 2)
                values += step
        return values

    def _slope_at(self, values: Array, slope: Array, along: Array) -> Array:
        square = self.factors.square[:, None]
        return np.asarray(slope.T + self.factors.weighted_basis @ along + square * values)

    def _lowering(self, values: Array, slope: Array, step: Array) -> Array:
        """Return so much of a step as lowers the model most."""
        if not step.any():
            return step
        linear, square = float(np.vdot(slope, step)), float(np.vdot(step, self._bent(step)))

        def along(length: float) -> float:
            cost = float(self.cost @ self._lengths(values + length * step))
            return length * linear + length**2 * square / 2 + cost

        # Newton's step is the best one but for sizes that turn at 0 on the way, and cost more then.
        best = optimize.minimize_scalar(
            along, bounds=(0, 1), method="bounded", options={"xatol": _LENGTH_ERROR}
        )
        shorter = float(best.x) if best.fun < along(1.0) else 1.0
        return shorter * step if along(shorter) < along(0.0) else np.zeros_like(step)

    def _to_middle(self, values: Array, slope: Array) -> Array:
        """Return the step by a constant for all classes after which a feature costs least.

        It changes no probability: there is no curvature along it, and sweeps would take long.
        """
        del slope
        if self.by_row or self.first:
            return np.zeros_like(values)
        ordered, classes = np.sort(values, axis=1), values.shape[1]
        middle = np.clip(0.0, ordered[:, (classes - 1) // 2], ordered[:, classes // 2])
        return np.where(self.cost > 0, -middle, 0.0)[:, None] * np.ones_like(values)

    def _newton_step(self, values: Array, slope: Array) -> Array:
        """Return Newton's step of all that is not held at 0, by conjugate gradients, roughly."""
        cost, lengths = self.cost[:, None], np.ones((len(values), 1))
        moving = (values != 0) | (cost <= 0)
        if self.by_row:
            moving |= moving.any(axis=1, keepdims=True)
            lengths = np.linalg.norm(values, axis=1, keepdims=True)
            lengths[lengths == 0] = 1.0
        moving[:, : self.first] = False
        outward = values / lengths if self.by_row else np.sign(values)
        # A length is curved across a row's direction; sizes are not curved at all.
        turning = cost / lengths if self.by_row else np.zeros_like(cost)

        def bent(step: Array) -> Array:
            across = step - outward * (outward * step).sum(axis=1, keepdims=True)
            return np.asarray(moving * (self._bent(step) + turning * across))

        diagonal = self.factors.diagonal + self.factors.square[:, None] + turning
        inverse = moving / np.maximum(diagonal, 1e-300)
        return _conjugate_gradients(bent, moving * -(slope + cost * outward), inverse)

    def _bent(self, step: Array) -> Array:
        """Return ``B step``."""
        factors = self.factors
        along = np.tensordot(step, factors.basis, 2)
        bent = factors.features @ (step @ factors.classes) + factors.weighted_basis @ along
        return np.asarray(bent + factors.square[:, None] * step)

    def _lengths(self, values: Array) -> Array:
        """Return what each row's cost is a multiple of."""
        return np.asarray(
            np.linalg.norm(values, axis=1) if self.by_row else np.abs(values).sum(axis=1)
        )

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


def _conjugate_gradients(product: Callable[[Array], Array], right: Array, inverse: Array) -> Array:
    """Return roughly ``A⁻¹ right``, for a product with A and the inverse of its diagonal.

    Where A has no curvature along a direction, the step ends there.
    """
    step, remaining = np.zeros_like(right), right
    scaled = inverse * remaining
    direction, now = scaled, float(np.vdot(remaining, scaled))
    least = _SOLVED * now
    for _ in range(_MOST_PRODUCTS):
        if now <= least:
            break
        bent = product(direction)
        curvature = float(np.vdot(direction, bent))
        if curvature <= _FLAT * now:
            break
        step = step + now / curvature * direction
        remaining = remaining - now / curvature * bent
        scaled = inverse * remaining
        before, now = now, float(np.vdot(remaining, scaled))
        direction = scaled + now / before * direction
    return step
