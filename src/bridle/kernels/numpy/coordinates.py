r"""Coordinate descent on a quadratic with a penalty on single numbers, or on groups of them.

    q(v) = g · (v − v₀) + ½ (v − v₀) · A (v − v₀) + Σ_e c_e |v_e|     (or Σ_g c_g ‖v_g‖)

``slope`` is the gradient of its smooth part at ``v``, and is kept so as ``v`` changes.

References: J. Friedman, T. Hastie, R. Tibshirani, *Regularization Paths for Generalized Linear
Models via Coordinate Descent*, 2010; Z. Qin, K. Scheinberg, D. Goldfarb, *Efficient
Block-coordinate Descent Algorithms for the Group Lasso*, 2013, for a group's exact step.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def sweep(matrix: Array, slope: Array, values: Array, cost: Array) -> None:
    """Minimise over each number by turns, once: ``values`` and ``slope`` change in place."""
    for entry in range(len(values)):
        curvature, value = matrix[entry, entry], values[entry]
        if curvature <= 0:
            continue
        wanted = curvature * value - slope[entry]
        size = max(abs(wanted) - cost[entry], 0.0)
        step = math.copysign(size, wanted) / curvature - value
        if step != 0:
            values[entry] = value + step if size > 0 else 0.0
            slope += step * matrix[entry]


def sweep_groups(
    matrix: Array, slope: Array, values: Array, cost: Array, curvatures: Array, bases: Array
) -> None:
    """Minimise over each group by turns, once.

    All groups are of one size k and lie side by side, the first of them at the beginning; whatever
    is behind the last has no cost and goes by itself. ``curvatures`` (groups, k) and ``bases``
    (groups, k, k) are the eigenvalues and eigenvectors of the groups' own parts of the matrix.
    """
    groups, size = curvatures.shape
    for group in range(groups):
        own = slice(group * size, (group + 1) * size)
        before = values[own].copy()
        at_zero = slope[own] - matrix[own, own] @ before
        rotated = bases[group].T @ at_zero
        after = bases[group] @ group_minimum(curvatures[group], rotated, cost[own.start])
        step = after - before
        if step.any():
            values[own] = after
            slope += step @ matrix[own]
    for entry in range(groups * size, len(values)):
        curvature = matrix[entry, entry]
        if curvature > 0:
            step = -slope[entry] / curvature
            values[entry] += step
            slope += step * matrix[entry]


def group_minimum(curvature: Array, slope: Array, cost: float) -> Array:
    """Return v with least ``slope · v + ½ Σ curvature v² + cost ‖v‖``."""
    steepness = math.sqrt(float(slope @ slope))
    if steepness <= cost:
        return np.zeros_like(slope)
    curvature = np.maximum(curvature, 1e-12 * max(float(curvature.max()), 1e-300))
    if cost == 0:
        return -slope / curvature
    # Of v = −(curvature + cost / ‖v‖)⁻¹ slope the length r is where Σ slope² / (r curvature +
    # cost)² is 1. That falls in r; from the left of it Newton's steps come without crossing.
    length = (steepness - cost) / float(curvature.max())
    for _ in range(100):
        divisor = length * curvature + cost
        ratio = slope / divisor
        norm = math.sqrt(float(ratio @ ratio))
        if norm <= 1 + 1e-14:
            break
        # Newton's step on 1 / norm − 1, which is nearly linear in r.
        length += (norm - 1) * norm**2 / float((ratio**2 * curvature / divisor).sum())
    return -length * slope / (length * curvature + cost)


class Factors(NamedTuple):
    """A quadratic whose matrix is ``S ⊗ H + U C Uᵀ + diag(square)``, of values (n, K)."""

    features: Array  # S (n, n)
    classes: Array  # H (K, K)
    basis: Array  # U (n, K, m)
    weighted_basis: Array  # U C (n, K, m)
    diagonal: Array  # (n, K): that of all but the square
    square: Array  # (n,)


def sweep_factors(
    model: Factors,
    slope: Array,
    along: Array,
    values: Array,
    cost: Array,
    first: int,
    by_row: bool,
    only_moving: bool,
) -> None:
    """Minimise over each number, or each row, by turns, once: of `Factors`, with a cost (n,).

    ``slope`` (K, n) is that of ``S ⊗ H``, and ``along`` (m,) what the values' change so far is
    along the basis. Classes before ``first`` have no values. ``only_moving``: what is 0 stays so.

    Of a row, the curvature along the basis is taken for as large in all directions as it is at
    most: some steps with that, each of which descends, come near to the row's minimum.
    """  # fmt: skip
    spread, rotation = np.linalg.eigh(model.classes)
    for row in range(len(values)):
        before = values[row].copy()
        if only_moving and cost[row] > 0 and not before.any():
            continue
        if by_row:
            curvature = spread * model.features[row, row]
            _descend_row(
                model, slope[:, row], along, values[row], cost[row], row, curvature, rotation
            )
        else:
            _descend_entries(model, slope[:, row], along, values[row], cost[row], row, first)
        step = values[row] - before
        if step.any():
            slope += np.outer(model.classes @ step, model.features[row])


ROW_STEPS = 3


def _descend_entries(
    model: Factors, slope: Array, along: Array, values: Array, cost: float, row: int, first: int
) -> None:
    own, square = slope.copy(), model.square[row]
    for k in range(first, len(values)):
        value = values[k]
        curvature = model.diagonal[row, k] + square
        if curvature <= 0:
            continue
        down = own[k] + float(model.weighted_basis[row, k] @ along) + square * value
        wanted = curvature * value - down
        size = max(abs(wanted) - cost, 0.0)
        step = math.copysign(size, wanted) / curvature - value
        if step != 0:
            values[k] = value + step if size > 0 else 0.0
            own += step * model.features[row, row] * model.classes[k]
            along += step * model.basis[row, k]


def _descend_row(
    model: Factors, slope: Array, along: Array, values: Array, cost: float, row: int,
    curvature: Array, rotation: Array,
) -> None:  # fmt: skip
    own, square = slope.copy(), model.square[row]
    bend = float(np.linalg.norm(model.basis[row] @ model.weighted_basis[row].T))
    curvature = curvature + bend + square
    for _ in range(ROW_STEPS):
        down = rotation.T @ (own + model.weighted_basis[row] @ along + square * values)
        at_zero = down - curvature * (rotation.T @ values)
        after = rotation @ group_minimum(curvature, at_zero, cost)
        step = after - values
        values[:] = after
        own += model.features[row, row] * (model.classes @ step)
        along += model.basis[row].T @ step
