r"""The duality gap of an objective with a `Penalty`, and the features it proves to be 0.

The dual maximises, over distributions ``q_i`` with the classes' frequencies where there is an
intercept, ``D(q) = Σ s H(q) / Σ s − R*(G(q))`` with ``G(q) = Σ s u (q − t)ᵀ / Σ s``. Of the model's
probabilities p, of t itself and of one distribution r for all samples it takes

    q_i = σ p_i + σ ω r + (1 − σ − σ ω) t_i,   ω = max_c (p̄_c − t̄_c) / t̄_c,  r = t̄ − (p̄ − t̄) / ω

which meets the intercept's condition for any p; and as ``G(t) = 0``, σ scales ``G(q)`` until it is
small enough for ``R*``. Entropy is concave, so ``H(q) ≥ σ H(p) + σ ω H(r)``: all that is needed are
the sums that the gradient is made of.

A feature that costs nothing has to have ``G_j(q) = 0``, which rounding never grants. For these the
bound holds among all weights that are no more than ten times as large as they are, or as one
deviation of the feature needs to move a score by ten.

A distribution's entropy is strongly concave: ``Σ s ‖q*_i − q_i‖₁² / Σ s ≤ 2 gap`` for the best
q*. So ``|G_jk(q*)|`` is at most ``|G_jk(q)| + √(m_j gap / 2)``, and ``‖G_j(q*)‖`` at most
``‖G_j(q)‖ + √(m_j gap)``, with ``m_j = Σ s u_j² / Σ s``; where that is below ``f_j a₁`` the
feature's weights are 0 at the optimum.

References: S. Boyd, L. Vandenberghe, *Convex Optimization*, 2004, chapter 5; E. Ndiaye, O. Fercoq,
A. Gramfort, J. Salmon, *Gap Safe Screening Rules for Sparsity Enforcing Penalties*, 2017.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import special

from bridle.fit import arrays
from bridle.fit.problem.objective import Evaluation, Objective

Array = npt.NDArray[np.floating]

_REACH = 10.0  # how much larger a weight without a cost may be
# Rounding may put the bound above the value by so much of it, and hides so much of a gap.
_ROUNDING, _HIDDEN = 1e-5, 1e-14


class DualPoint(NamedTuple):
    """A bound on ``f(point) − min f``, and how large the gradient ``G(q)`` is that it is from."""

    gap: float
    dual_lengths: Array  # (D,)


def dual_point(objective: Objective, point: Evaluation) -> DualPoint:
    """Return the bound at a point whose gradient is the loss's alone."""
    penalty = objective.penalty
    assert penalty is not None
    weight, offset = objective.split(point.parameters)
    slope, offset_slope = objective.split(point.gradient)
    entropy = point.loss - float(np.vdot(weight, slope)) - float(offset @ offset_slope)
    mixing = 0.0
    if objective.fit_intercept:
        mixing = max(0.0, float(np.max(offset_slope / objective.target_mean)))
    if mixing > 0:
        mixed = np.maximum(objective.target_mean - offset_slope / mixing, 0)
        entropy += mixing * float(special.entr(mixed).sum())

    def mixed_slope(features: slice | npt.NDArray[np.intp]) -> Array:
        # Features have mean 0 after centring: one distribution for all samples adds −ω Σ s u tᵀ.
        return np.asarray(slope[features] - mixing * objective.target_product[features])

    blocks = list(arrays.slices_in_cache(slope))
    lengths = np.concatenate([penalty.dual_lengths(mixed_slope(block)) for block in blocks])
    scale = 1 / (1 + mixing)
    costs = penalty.factors > 0
    if penalty.l2 == 0 and costs.any():
        allowed = penalty.l1 * penalty.factors[costs]
        scale = min(scale, float(np.min(allowed / np.maximum(lengths[costs], 1e-300))))
    bound = scale * entropy
    if penalty.l2 > 0:
        bound -= sum(penalty.conjugate(scale * mixed_slope(block), block) for block in blocks)
    if penalty.frees_features:
        free = np.flatnonzero(~costs)
        second_moment = objective.second_moment[free]
        reach = _REACH * (np.abs(weight[free]).max(axis=1) + _inverse(np.sqrt(second_moment)))
        excess = np.abs(penalty.counted(scale * mixed_slope(free))).sum(axis=1)
        bound -= float(reach @ excess)
    gap = point.value - bound
    if not gap >= -_ROUNDING * abs(point.value):
        return DualPoint(np.inf, scale * lengths)  # no bound at all
    return DualPoint(max(gap, _HIDDEN * abs(point.value)), scale * lengths)


def _inverse(values: Array) -> Array:
    """Return 1 / values, and 0 of a constant column's 0, which has no part in anything."""
    return np.divide(1.0, values, out=np.zeros_like(values), where=values > 0)


def proven_zero(objective: Objective, found: DualPoint) -> npt.NDArray[np.bool_]:
    """Return which features (D,) have no weight at the optimum, whatever it is."""
    penalty = objective.penalty
    assert penalty is not None
    part = 1.0 if penalty.by_feature else 0.5
    radius = np.sqrt(objective.second_moment) * np.sqrt(part * found.gap)
    return np.asarray(found.dual_lengths + radius < penalty.l1 * penalty.factors)
