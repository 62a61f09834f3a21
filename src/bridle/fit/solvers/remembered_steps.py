"""What the last steps did to the gradient: the limited memory of a quasi-Newton method.

Reference: J. Nocedal, S. Wright, *Numerical Optimization*, 2006, section 7.2.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import replace
from typing import Any

import numpy as np

from bridle.fit import arrays
from bridle.fit.problem.objective import Objective
from bridle.fit.solvers.metric import Metric
from bridle.fit.solvers.whole_hessian import Hessian

Array = Any  # NumPy's, or tensors where the features are: see `arrays`
Preconditioner = Metric | Hessian  # what turns a gradient into a step

# What the remembered steps may take: a part of what the features do, or 4 MB, within the budget.
# For many classes few are left, and few are enough: 6 do nearly what 50 do.
_MEMORY_SHARE, _LEAST_MEMORY = 1 / 8, 2**22
_FEWEST_PAIRS, _MOST_PAIRS = 6, 50


class RememberedSteps:
    """The last steps and what they did to the gradient, in the features' precision."""

    def __init__(self) -> None:
        self._pairs: deque[tuple[Array, Array, float]] = deque()
        self._dtype: np.dtype[Any] = np.dtype(np.float64)
        self._alpha = 0.0
        self.metric: Metric | None = None  # the last that was built
        self.gram: Array | None = None  # of the rows, where they are few: no penalty changes it

    def adapt(self, objective: Objective) -> None:
        """Make room for this objective's steps; what is known of another penalty stays true.

        The penalty's part of a gradient's change is ``α`` times the step, and nothing else differs.
        """
        self._dtype = objective.facts.dtype
        wanted_bytes = max(_MEMORY_SHARE * objective.facts.nbytes, _LEAST_MEMORY)
        budget = min(wanted_bytes, objective.memory_budget / 4)
        if arrays.is_on_accelerator(objective.facts.like):
            # There is more memory there; half of it holds them side by side for a direction.
            self._dtype, budget = np.dtype(np.float64), objective.memory_budget / 8
        pair = 2 * self._dtype.itemsize * math.prod(objective.shape)
        length = int(np.clip(budget // pair, _FEWEST_PAIRS, _MOST_PAIRS))
        if self.metric is not None:
            self.metric = replace(self.metric, alpha=objective.alpha)
        pairs, alpha_change = list(self._pairs), objective.alpha - self._alpha
        self._pairs, self._alpha = deque(maxlen=length), objective.alpha
        for step, change, _ in pairs:
            weight, _ = objective.split(step)
            slope, _ = objective.split(change)
            slope += float(alpha_change) * weight
            self.add(step, change)

    def copy(self) -> RememberedSteps:
        """Return another that begins with what this one knows."""
        other = RememberedSteps()
        other._pairs, other._dtype, other._alpha = self._pairs.copy(), self._dtype, self._alpha
        other.metric, other.gram = self.metric, self.gram
        return other

    def __len__(self) -> int:
        return len(self._pairs)

    def clear(self) -> None:
        """Forget the steps."""
        self._pairs.clear()

    def add(self, step: Array, change: Array) -> None:
        """Remember a step and what it did to the gradient."""
        inner = float(arrays.inner(step, change))
        # A pair without positive curvature is rounding: the objective is convex.
        if inner > 1e-12 * arrays.norm(step) * arrays.norm(change):
            stored_pair = arrays.in_dtype(step, self._dtype), arrays.in_dtype(change, self._dtype)
            self._pairs.append((*stored_pair, inner))

    def direction(self, gradient: Array, metric: Preconditioner) -> Array:
        """Return minus the inverse Hessian's estimate times the gradient (two-loop recursion)."""
        if self._pairs and arrays.is_on_accelerator(gradient):
            return self._direction_at_once(gradient, metric)
        result = arrays.copied(gradient)
        factors = []
        for step, change, inner in reversed(self._pairs):
            factor = arrays.inner(step, result) / inner
            result -= factor * change
            factors.append(factor)
        result = metric.invert(result) * self._scale(metric)
        for (step, change, inner), factor in zip(self._pairs, reversed(factors), strict=True):
            result += (factor - arrays.inner(change, result) / inner) * step
        return -result

    def _direction_at_once(self, gradient: Array, metric: Preconditioner) -> Array:
        """Return the same by products with all pairs: a device waits for each of many small ones.

        With ``R`` the upper triangle of ``S Yᵀ``, the factors of the first loop are ``R⁻¹ S g``,
        and what the second adds of the steps is ``R⁻ᵀ (D R⁻¹ S g − Y r)``, D being R's diagonal.
        """
        steps, changes = (
            arrays.flat_rows([pair[which] for pair in self._pairs]) for which in (0, 1)
        )
        rest = arrays.in_dtype_of(gradient, steps).flatten()
        triangle = (steps @ changes.T).triu()
        factors = arrays.solve_triangle(triangle, steps @ rest, upper=True)
        rest = (rest - factors @ changes).reshape(gradient.shape)
        inverted = metric.invert(rest) * self._scale(metric)
        result = arrays.in_dtype_of(inverted, steps).flatten()
        left = triangle.diagonal() * factors - changes @ result
        added = arrays.solve_triangle(triangle.T, left, upper=False)
        return -(result + added @ steps).reshape(gradient.shape)

    def _scale(self, metric: Preconditioner) -> float:
        if not self._pairs:
            return 1.0
        _, change, inner = self._pairs[-1]
        measured = float(arrays.inner(change, metric.invert(change)))
        return float(np.clip(inner / measured, 1e-2, 1e4))
