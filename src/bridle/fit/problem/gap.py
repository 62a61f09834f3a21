r"""How far from the optimum a point can be at most: the duality gap.

The objective's dual maximises, over distributions ``q_i`` of the samples,

    D(q) = Σ_i s_i H(q_i) / Σ s − ‖Σ_i s_i u_i (q_i − t_i)ᵀ / Σ s‖² / (2α)

and, for an unpenalised intercept, only over those with ``Σ_i s_i q_i = Σ_i s_i t_i``. Any such
``q`` proves ``optimum ≥ D(q)``. At the model's own probabilities ``p`` the gap ``f − D(p)`` is
``‖∇_V f‖² / (2α)``, for free; but ``p`` meets the condition only where the intercept's gradient is
exactly 0, which rounding never grants. Mixing in a little of one distribution ``r``,

    q_i = (1 − ε) p_i + ε r,   ε = max_c (p̄_c − t̄_c) / p̄_c,   r = (t̄ − (1 − ε) p̄) / ε,

meets it for any ``p``; entropy is concave, so ``H(q_i) ≥ (1 − ε) H(p_i) + ε H(r)``, and all that
the bound needs are the sums that the gradient is made of. ``ε`` is about the relative size of the
intercept's gradient: near the optimum it costs nothing.

Reference: S. Boyd, L. Vandenberghe, *Convex Optimization*, 2004, chapter 5.
"""

from __future__ import annotations

import numpy as np
from scipy import special

from bridle.fit import arrays
from bridle.fit.problem.objective import Evaluation, Objective
from bridle.fit.problem.penalty_gap import dual_point
from bridle.tensors import on_host


def duality_gap(objective: Objective, point: Evaluation) -> float:
    """Return a bound on ``f(point) − min f``; infinity without a penalty."""
    alpha = objective.alpha
    if not objective.is_penalised:
        return np.inf
    if objective.penalty is not None:
        return dual_point(objective, point).gap
    weight, intercept = objective.split(point.parameters)
    slope, intercept_slope = objective.split(point.gradient)
    if not objective.fit_intercept:
        return float(arrays.inner(slope, slope)) / (2 * alpha)
    product = slope - alpha * weight  # Σ s u (p − t)ᵀ / Σ s
    target = objective.target_product
    squared_slope, squared, along_weight, along_target, squared_target = arrays.on_host_at_once(
        arrays.inner(slope, slope),
        arrays.inner(product, product),
        arrays.inner(weight, product),
        arrays.inner(target, product),
        arrays.inner(target, target),
    )
    weights_gap = squared_slope / (2 * alpha)
    # Of the classes alone, there is little to bring to the host.
    slopes, offsets = on_host(arrays.joined([intercept_slope[None], intercept[None]]))
    probability = objective.target_mean + slopes
    if (probability <= 0).any():
        return np.inf  # a class that the model rules out cannot be given its share by mixing
    epsilon = max(0.0, float(np.max(slopes / probability)))
    intercept_term = float(offsets @ slopes)
    if epsilon == 0:
        return weights_gap + abs(intercept_term)
    mixed = np.maximum(objective.target_mean - (1 - epsilon) * probability, 0) / epsilon
    # The features have mean 0 after centring, so the mixed-in distribution adds nothing of its own:
    # the product changes by −ε (product + target).
    entropy = point.loss - along_weight - intercept_term
    return float(
        weights_gap
        - epsilon * (squared + along_target) / alpha
        + epsilon**2 * (squared + 2 * along_target + squared_target) / (2 * alpha)
        + epsilon * (entropy - float(special.entr(mixed).sum()))
        + intercept_term
    )
