r"""Newton's method for sparse features, its equations solved by conjugate gradients.

Each step solves ``H d = −∇f`` only as far as it pays, by conjugate gradients preconditioned with

    M = Var(u_j) · mean_i p_ik (1 − p_ik) + α

for feature j and class k: the Hessian's diagonal, if features and probabilities were independent.
Products with H are cheaper than evaluations and may be taken in float32: they make the step, while
value, gradient and proof are float64.

The intercept costs no products where the reader keeps its residuals: at every point it is brought
near its optimum first, as near as pays there.

Reference: J. Nocedal, S. Wright, *Numerical Optimization*, 2006, chapter 7.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bridle.fit import arrays
from bridle.fit.precision import Precision
from bridle.fit.problem.gap import duality_gap
from bridle.fit.problem.objective import Evaluation, Objective
from bridle.fit.requests import (
    ClassCurvature,
    HessianProduct,
    InterceptValues,
    Point,
    Steps,
    Values,
    ask,
)
from bridle.fit.solvers.watch import Solution, Watch

Array = npt.NDArray[Any]

_MOST_PRODUCTS = 250
_SUFFICIENT_DECREASE = 1e-4
_MOST_TRIALS = 30
_NEWTON_SLOPE = 1e-2  # the intercept's gradient from which Newton's steps converge at once
_LARGEST_SYSTEM = 1024  # classes
# The intercept's gradient beside what the weights may still gain. At 1e-3 a fit of 60,000 texts
# takes 72 passes in place of 63, at 1e-5 as many, and more steps of the intercept.
_INTERCEPT_SHARE = 1e-4
_LEAST_CURVATURE = 1e-30  # its inverse is still a float32


@dataclass
class _EvaluatedPoint:
    """A point that was evaluated, and where its sums were asked for."""

    evaluation: Evaluation
    point: Point


@dataclass
class _Newton:
    """The state between steps."""

    watch: Watch
    dtype: np.dtype[Any]  # of the products with the Hessian
    intercept_tolerance: float  # where the proof is near
    weights_gap: float = 1.0  # the share of the value that the weights may still gain, at most

    @property
    def objective(self) -> Objective:
        return self.watch.objective

    def raise_precision(self) -> bool:
        """Go on in float64; False if it was float64 already."""
        if self.dtype == np.float64:
            return False
        self.dtype = np.dtype(np.float64)
        return True

    def evaluate(self, parameters: Array) -> Steps[_EvaluatedPoint]:
        """Return value and gradient, in float64."""
        objective = self.objective
        weight, _ = objective.split(parameters)
        point = objective.point(parameters)
        if not weight.any():
            return _EvaluatedPoint(self.watch.record(objective.without_weights(parameters)), point)
        self.watch.passes += 1
        if objective.fit_intercept and objective.facts.keeps_residuals:
            best = yield from self._with_best_intercept(point)
            parameters = parameters.copy()
            parameters[-1] += best.offset - point.offset
            point = best
        sums = yield from ask(Values(point))
        return _EvaluatedPoint(self.watch.record(objective.evaluation(parameters, sums)), point)

    def _with_best_intercept(self, point: Point) -> Steps[Point]:
        """Return the point with the intercept at its optimum, if the given one is close to it.

        The proof wants the intercept's gradient to be 0, and moving it needs no product. Far from
        the proof, a gradient that is small beside what the weights still gain is as good as 0.
        """
        total, current = self.objective.total_weight, point
        tolerance = max(self.intercept_tolerance, _INTERCEPT_SHARE * self.weights_gap)
        slope = (yield from ask(InterceptValues(current))).residual / total
        curvature = None
        while tolerance < np.abs(slope).max() < _NEWTON_SLOPE:
            if curvature is None:
                curvature = yield from _intercept_curvature(current)
            moved = current._replace(offset=current.offset + _downhill(curvature, slope))
            moved_slope = (yield from ask(InterceptValues(moved))).residual / total
            shrunk = np.linalg.norm(moved_slope) / np.linalg.norm(slope)
            if shrunk > 1 / 2:
                break
            if shrunk > 1 / 10:
                curvature = None  # which costs as much as a step: one that serves well is kept
            current, slope = moved, moved_slope
        return current


def intercept_step(point: Point, slope: Array) -> Steps[Array]:
    """Return the intercept's Newton step, from ``mean_i (diag p_i − p_i p_iᵀ)`` of the rows.

    The same constant for all classes changes no probability, and is no part of the step. For
    very many classes ``p pᵀ`` is left out: it is small, and without it no step is too long.
    """
    curvature = yield from _intercept_curvature(point)
    return _downhill(curvature, slope)


def _intercept_curvature(point: Point) -> Steps[Array]:
    """Return the Hessian by the intercept (K, K); of very many classes what stands for it (K,)."""
    many = len(point.offset) > _LARGEST_SYSTEM
    sums = yield from ask(ClassCurvature(point, diagonal=many))
    if not many:
        return np.asarray(sums.hessian())
    diagonal: Array = np.maximum(sums.mean / sums.weight, _LEAST_CURVATURE)
    return diagonal


def _downhill(curvature: Array, slope: Array) -> Array:
    if curvature.ndim == 1:
        step: Array = -slope / curvature
    else:
        step = np.linalg.lstsq(curvature, -slope, rcond=1e-12)[0]
    return np.asarray(step - step.mean())


def minimise(watch: Watch, start: Array, *, tol: float, max_iter: int) -> Steps[Solution]:
    """Minimise a penalised objective from ``start`` until the gap, relative to it, is ``tol``."""
    product_dtype = np.dtype(np.float32 if watch.objective.facts.is_compiled else np.float64)
    # The gap is about as large as the intercept's gradient.
    newton = _Newton(watch, product_dtype, max(1e-13, 1e-3 * tol))
    current = yield from newton.evaluate(start)
    for iteration in range(max_iter):
        watch.iteration = iteration
        current, gap = yield from _prove(newton, current, tol)
        if gap is not None:
            return watch.solution(current.evaluation, "gap", gap)
        next_point = yield from _step(newton, current)
        while next_point is None and newton.raise_precision():
            next_point = yield from _step(newton, current)
        if next_point is None:
            return watch.solution(current.evaluation, "precision")
        current = next_point
    watch.iteration = max_iter
    return watch.solution(current.evaluation, "max_iter")


def _prove(
    newton: _Newton, current: _EvaluatedPoint, tol: float
) -> Steps[tuple[_EvaluatedPoint, float | None]]:
    """Return the point, its intercept perfected if that may prove the gap, and the gap if proven.

    The bound is quadratic in the weights' gradient but linear in the intercept's: see
    `quasi_newton`.
    """
    objective = newton.objective
    for _ in range(4):
        evaluation = current.evaluation
        slope, intercept_slope = objective.split(evaluation.gradient)
        gap_of_weights = float(np.vdot(slope, slope)) / (2 * objective.alpha)
        newton.weights_gap = min(1.0, gap_of_weights / evaluation.value)
        if gap_of_weights > tol * (evaluation.value - gap_of_weights):
            return current, None
        gap = duality_gap(objective, evaluation)
        if gap <= tol * (evaluation.value - gap):
            return current, gap
        if not objective.fit_intercept:
            return current, None
        moved = evaluation.parameters.copy()
        moved[-1] += yield from intercept_step(current.point, intercept_slope)
        better = yield from newton.evaluate(moved)
        if np.linalg.norm(better.evaluation.gradient[-1]) >= np.linalg.norm(intercept_slope):
            return current, None
        current = better
    return current, None


def _step(newton: _Newton, current: _EvaluatedPoint) -> Steps[_EvaluatedPoint | None]:
    direction = yield from _direction(newton, current)
    if direction is None:
        return None
    return (yield from _search(newton, current, direction))


def _preconditioner(newton: _Newton, point: Point) -> Steps[Array]:
    """Return the inverse of M, in the parameters' shape and the products' dtype."""
    objective = newton.objective
    sums = yield from ask(ClassCurvature(point, diagonal=True))
    curvature = np.maximum(sums.hessian(), _LEAST_CURVATURE)
    inverse = np.empty(objective.shape, newton.dtype)
    weight, _ = objective.split(inverse)
    for part in arrays.slices_in_cache(weight):
        diagonal = np.multiply.outer(objective.second_moment[part], curvature)
        weight[part] = 1 / (diagonal + max(objective.alpha, _LEAST_CURVATURE))
    if objective.fit_intercept:
        inverse[-1] = 1 / curvature
    return inverse


def _hessian_product(newton: _Newton, point: Point, direction: Array) -> Steps[Array]:
    """Return the Hessian times ``direction``, in its dtype."""
    newton.watch.passes += 1
    direction_point = newton.objective.point(direction, Precision(direction.dtype))
    sums = yield from ask(HessianProduct(point, direction_point))
    return newton.objective.with_penalty(sums.product, sums.residual, direction)


def _direction(newton: _Newton, current: _EvaluatedPoint) -> Steps[Array | None]:
    """Return roughly ``−H⁻¹ ∇f``, by conjugate gradients; None if rounding forbids."""
    if newton.objective.facts.keeps_residuals:
        # All that follows is about this point, and the last that was asked for may be another.
        yield from ask(InterceptValues(current.point))
    inverse = yield from _preconditioner(newton, current.point)
    residual = current.evaluation.gradient.astype(newton.dtype)
    np.negative(residual, out=residual)
    preconditioned = residual * inverse
    first = product = float(np.vdot(residual, preconditioned))
    if not first > 0:
        return None
    direction = preconditioned.copy()
    solution = np.zeros_like(residual)
    # ``first`` is twice the decrease that the step promises, in the metric of M: relative to f it
    # tells how far the quadratic model can be trusted.
    target_product = max(0.1, min(0.3, np.sqrt(first / current.evaluation.value))) ** 2 * first
    for _ in range(_MOST_PRODUCTS):
        hessian_direction = yield from _hessian_product(newton, current.point, direction)
        curvature_along = float(np.vdot(direction, hessian_direction))
        if not curvature_along > 0:
            break
        length = newton.dtype.type(product / curvature_along)
        previous, product = product, 0.0
        for part in arrays.slices_in_cache(residual):
            solution[part] += length * direction[part]
            residual[part] -= length * hessian_direction[part]
            np.multiply(residual[part], inverse[part], out=preconditioned[part])
            product += float(np.vdot(residual[part], preconditioned[part]))
        if product <= target_product:
            break
        direction *= newton.dtype.type(product / previous)
        direction += preconditioned
    else:
        newton.raise_precision()
    return solution.astype(np.float64) if solution.any() else None


def _search(
    newton: _Newton, current: _EvaluatedPoint, direction: Array
) -> Steps[_EvaluatedPoint | None]:
    """Return the first of the points at 1, ½, ¼, … of ``direction`` that decreases enough."""
    evaluation = current.evaluation
    slope = float(np.vdot(evaluation.gradient, direction))
    if not slope < 0:
        return None
    noise = 2 * np.finfo(np.float64).eps * abs(evaluation.value)
    length = 1.0
    for _ in range(_MOST_TRIALS):
        moved = direction * length
        moved += evaluation.parameters
        trial = yield from newton.evaluate(moved)
        trial_evaluation = trial.evaluation
        if trial_evaluation.value <= evaluation.value + _SUFFICIENT_DECREASE * length * slope:
            return trial
        # Where rounding hides the decrease, the slope still shows it (Hager, Zhang 2005).
        trial_slope = float(np.vdot(trial_evaluation.gradient, direction))
        is_flat_decrease = trial_evaluation.value <= evaluation.value + noise
        if is_flat_decrease and trial_slope <= (2 * _SUFFICIENT_DECREASE - 1) * slope:
            return trial
        length /= 2
    return None
