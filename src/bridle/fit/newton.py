r"""Newton's method for sparse features, its equations solved by conjugate gradients.

Each step solves ``H d = −∇f`` only as far as it pays, by conjugate gradients preconditioned with

    M = Var(u_j) · mean_i p_ik (1 − p_ik) + α

for feature j and class k: the Hessian's diagonal, if features and probabilities were independent.
Products with H are cheaper than evaluations and may be taken in float32: they make the step, while
value, gradient and proof are float64.

Reference: J. Nocedal, S. Wright, *Numerical Optimization*, 2006, chapter 7.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bridle.fit.gap import duality_gap
from bridle.fit.objective import Evaluation
from bridle.fit.sparse_pass import Hessian, SparsePass, feature_blocks
from bridle.fit.watch import Solution, Watch

Array = npt.NDArray[Any]

_LONGEST_SOLVE = 250
_SUFFICIENT_DECREASE = 1e-4
_LONGEST_SEARCH = 30


@dataclass
class _Newton:
    """The state between steps."""

    watch: Watch
    passes: SparsePass
    dtype: np.dtype[Any]  # of the products with the Hessian

    def evaluate(self, parameters: Array) -> Evaluation:
        point = self.passes.evaluate(parameters)
        self.watch.passes = self.passes.count + 1  # the statistics were a pass too
        return self.watch.saw(point)

    def sharpen(self) -> bool:
        """Go on in float64; False if it was float64 already."""
        if self.dtype == np.float64:
            return False
        self.dtype = np.dtype(np.float64)
        return True


def minimise(watch: Watch, start: Array, *, tol: float, max_iter: int) -> Solution:
    """Minimise a penalised objective from ``start`` until the gap, relative to it, is ``tol``."""
    objective = watch.objective
    assert objective.sparse is not None
    fast = np.dtype(np.float32 if objective.sparse.compiled else np.float64)
    newton = _Newton(watch, SparsePass(objective, tol), fast)
    point = newton.evaluate(start)
    for iteration in range(max_iter):
        watch.iteration = iteration
        point, gap = _prove(newton, point, tol)
        if gap is not None:
            return watch.solution(point, "gap", gap)
        following = _step(newton, point)
        while following is None and newton.sharpen():
            following = _step(newton, point)
        if following is None:
            return watch.solution(point, "precision")
        point = following
    watch.iteration = max_iter
    return watch.solution(point, "max_iter")


def _prove(newton: _Newton, point: Evaluation, tol: float) -> tuple[Evaluation, float | None]:
    """Return the point, its intercept perfected if that may prove the gap, and the gap if proven.

    The bound is quadratic in the weights' gradient but linear in the intercept's: see `solver`.
    """
    objective = newton.passes.objective
    for _ in range(4):
        slope, intercept_slope = objective.split(point.gradient)
        hoped = float(np.vdot(slope, slope)) / (2 * objective.alpha)
        if hoped > tol * (point.value - hoped):
            return point, None
        gap = duality_gap(objective, point)
        if gap <= tol * (point.value - gap):
            return point, gap
        if not objective.fit_intercept:
            return point, None
        moved = point.parameters.copy()
        moved[-1] += newton.passes.hessian(point, newton.dtype).intercept_step()
        better = newton.evaluate(moved)
        if np.linalg.norm(better.gradient[-1]) >= np.linalg.norm(intercept_slope):
            return point, None
        point = better
    return point, None


def _step(newton: _Newton, point: Evaluation) -> Evaluation | None:
    hessian = newton.passes.hessian(point, newton.dtype)
    direction = _direction(newton, hessian, point)
    if direction is None:
        return None
    return _search(newton, point, direction)


def _direction(newton: _Newton, hessian: Hessian, point: Evaluation) -> Array | None:
    """Return roughly ``−H⁻¹ ∇f``, by conjugate gradients; None if rounding forbids."""
    inverse = hessian.preconditioner()
    residual = point.gradient.astype(newton.dtype)
    np.negative(residual, out=residual)
    preconditioned = residual * inverse
    first = product = float(np.vdot(residual, preconditioned))
    if not first > 0:
        return None
    direction = preconditioned.copy()
    solution = np.zeros_like(residual)
    # In the metric of M, twice the decrease that the step hopes for: relative to f it tells how far
    # the quadratic model can be trusted.
    wanted = max(0.1, min(0.3, np.sqrt(first / point.value))) ** 2 * first
    for _ in range(_LONGEST_SOLVE):
        curved = hessian.multiply(direction)
        bend = float(np.vdot(direction, curved))
        if not bend > 0:
            break
        length = newton.dtype.type(product / bend)
        previous, product = product, 0.0
        for part in feature_blocks(*residual.shape):
            solution[part] += length * direction[part]
            residual[part] -= length * curved[part]
            np.multiply(residual[part], inverse[part], out=preconditioned[part])
            product += float(np.vdot(residual[part], preconditioned[part]))
        if product <= wanted:
            break
        direction *= newton.dtype.type(product / previous)
        direction += preconditioned
    else:
        newton.sharpen()
    return solution.astype(np.float64) if solution.any() else None


def _search(newton: _Newton, point: Evaluation, direction: Array) -> Evaluation | None:
    """Return the first of the points at 1, ½, ¼, … of ``direction`` that decreases enough."""
    slope = float(np.vdot(point.gradient, direction))
    if not slope < 0:
        return None
    noise = 2 * np.finfo(np.float64).eps * abs(point.value)
    length = 1.0
    for _ in range(_LONGEST_SEARCH):
        moved = direction * length
        moved += point.parameters
        trial = newton.evaluate(moved)
        if trial.value <= point.value + _SUFFICIENT_DECREASE * length * slope:
            return trial
        # Where rounding hides the decrease, the slope still shows it (Hager, Zhang 2005).
        trial_slope = float(np.vdot(trial.gradient, direction))
        level = trial.value <= point.value + noise
        if level and trial_slope <= (2 * _SUFFICIENT_DECREASE - 1) * slope:
            return trial
        length /= 2
    return None
