"""L-BFGS in the curvature metric, until the gap is proven.

The limited-memory Hessian starts from ``γ M⁻¹`` of `metric` in place of a multiple of the identity,
so it has only to learn what the Kronecker factors miss. Steps meet the weak Wolfe conditions; close
to rounding the objective no longer tells better from worse, and the slope alone decides.

References: J. Nocedal, S. Wright, *Numerical Optimization*, 2006, chapters 3 and 7; W. Hager,
H. Zhang, *A new conjugate gradient method with guaranteed descent*, 2005, for the approximate
Wolfe condition.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from bridle.fit import arrays
from bridle.fit.problem.objective import Evaluation, Objective
from bridle.fit.report import Stopped
from bridle.fit.requests import Separation, SeparationAlong, Steps, ask
from bridle.fit.solvers.metric import (
    TINY,
    Metric,
    intercept_curvature_at,
    metric_at,
    sample_size,
)
from bridle.fit.solvers.passes import Passes
from bridle.fit.solvers.remembered_steps import Preconditioner, RememberedSteps
from bridle.fit.solvers.watch import Solution, Watch
from bridle.fit.solvers.whole_hessian import first_choice, hessian_at, last_resort

Array = npt.NDArray[Any]

_REFRESHES = (4, 20, 60, 180, 540)  # iterations before which the metric is built anew
# After so many iterations the whole Hessian is worth its cost, wherever it can be had.
_TRY_HESSIAN_AT = 100
_SUFFICIENT_DECREASE = 1e-4
_CURVATURE = 0.9
_MOST_TRIALS = 30
_STALLED = 5  # steps that did not bring the expected decrease down
# Without a penalty: a step that may lead to no optimum, and how many steps lie between two checks.
_SMALL_DECREASE, _LONG_STEP, _STEPS_BETWEEN_CHECKS = 1e-3, 0.01, 5
# Once a separation is known, steps go on until the loss is so near to its infimum: whatever the
# tolerance, the weights grow no further.
_INFIMUM = 1e-6
# A Newton step divides the intercept's slope by more than this, unless rounding hides the rest.
_INTERCEPT_STEPS, _INTERCEPT_GAIN = 6, 4.0


def minimise(
    watch: Watch,
    start: Array,
    *,
    tol: float,
    max_iter: int,
    remembered: RememberedSteps | None = None,
) -> Steps[Solution]:
    """Minimise the watched objective from ``start`` until the gap, relative to it, is ``tol``.

    It yields requests for the objective's value and gradient.
    Steps ``remembered`` from another strength of the penalty are adapted; new ones are added.

    Products are taken in the features' dtype; where float32 cannot prove the gap, the last steps
    are taken in float64, block by block.
    """
    objective, search = watch.objective, _Search(watch)
    use_hessian = first_choice(objective)
    remembered = RememberedSteps() if remembered is None else remembered
    remembered.adapt(objective)
    # A metric of another penalty was built near the optimum: it needs no early renewal.
    renewals = (0, *_REFRESHES) if remembered.metric is None else _REFRESHES[1:]
    point = yield from search.begin(start)
    separations = _SeparationSearch()
    for iteration in range(max_iter):
        watch.iteration = iteration
        point, proven = yield from _prove(search, point, tol)
        if proven:
            return watch.solution(point, "gap")
        use_hessian = use_hessian or (iteration == _TRY_HESSIAN_AT and last_resort(objective))
        if use_hessian:
            remembered.clear()
        elif iteration in renewals:
            remembered.metric = yield from search.metric(point)
        metric: Preconditioner | None = remembered.metric
        if use_hessian:
            metric = yield from hessian_at(objective, point.parameters)
        assert metric is not None
        direction = remembered.direction(point.gradient, metric)
        if objective.alpha == 0:
            decrement = -float(arrays.inner(point.gradient, direction)) / 2
            stopped = _unpenalised_end(search, point, decrement, tol, iteration)
            if stopped != "separable":
                separation = yield from separations.separation(
                    objective, point, direction, decrement, stopped
                )
                if separation is not None and decrement <= _INFIMUM * point.value:
                    return _quasi_separable(watch, point, decrement, separation)
            if stopped == "separable" or (stopped is not None and separations.found is None):
                # Separable: the objective's infimum is 0, which nothing is relatively close to.
                gap = np.inf if stopped == "separable" else decrement
                return watch.solution(point, stopped, gap)
        next_point = yield from _advance(search, remembered, metric, point, direction)
        if next_point is None and not use_hessian and last_resort(objective):
            use_hessian = True
        elif next_point is None and separations.found is not None:
            return _quasi_separable(watch, point, abs(decrement), separations.found)
        elif next_point is None:
            return _end_at_rounding(watch, point, direction, tol)
        else:
            point = next_point
    watch.iteration = max_iter
    return watch.solution(point, "max_iter")


def _quasi_separable(
    watch: Watch, point: Evaluation, decrement: float, separation: Separation
) -> Solution:
    return replace(watch.solution(point, "quasi-separable", decrement), separation=separation)


def _prove(search: _Search, point: Evaluation, tol: float) -> Steps[tuple[Evaluation, bool]]:
    """Return the point, its intercept perfected if that may prove the gap, and whether it did.

    The bound is quadratic in the weights' gradient but linear in the intercept's. Once the first
    is small enough, steps along the intercept alone bring the second to rounding.
    """
    objective = search.objective
    if objective.alpha == 0:
        return point, False
    intercept_curvature, steps = None, 0
    while True:
        gap = search.watch.gap(point)
        if gap <= tol * (point.value - gap):
            if not search.raise_precision():
                return point, True
            # A proof is given in float64 or not at all.
            point = yield from search.evaluate(point.parameters)
            continue
        slope, intercept_slope = objective.split(point.gradient)
        gap_of_weights = float(arrays.inner(slope, slope)) / (2 * objective.alpha)
        within_reach = objective.fit_intercept and gap_of_weights <= tol * (
            point.value - gap_of_weights
        )
        if not within_reach or steps == _INTERCEPT_STEPS:
            return point, False
        if intercept_curvature is None:
            intercept_curvature = yield from intercept_curvature_at(
                objective, point.parameters, search.rows()
            )
        moved = arrays.copied(point.parameters)
        moved[-1] += intercept_curvature.step(intercept_slope)
        better = yield from search.evaluate(moved)
        steps += 1
        before, after = (arrays.norm(g[-1]) for g in (point.gradient, better.gradient))
        gained = before / max(after, TINY)
        if gained > 1:
            point = better
        if gained < _INTERCEPT_GAIN:
            # Rounding hides the rest of the slope.
            if not search.raise_precision():
                return point, False
            point = yield from search.evaluate(point.parameters)


def _unpenalised_end(
    search: _Search, point: Evaluation, decrement: float, tol: float, iteration: int
) -> Stopped | None:
    """Tell whether a fit without penalty is over, where no dual point bounds the gap."""
    search.watch.estimate = decrement
    has_indices = search.objective.facts.has_indices
    if has_indices and point.worst_loss < np.log(2):
        # Every sample's own class has more than half the probability: the weights times a growing
        # factor bring the loss to 0, and no weights attain it.
        return "separable"
    # The quadratic model's estimate is trusted only well below the tolerance, not in the first
    # steps.
    return "decrement" if iteration >= 5 and decrement <= 0.01 * tol * point.value else None


class _SeparationSearch:
    """Whether steps of a fit without a penalty go far for how little they gain, and where to."""

    def __init__(self) -> None:
        self.found: Separation | None = None
        self._steps = 0
        self._next_check = _STEPS_BETWEEN_CHECKS
        self._earlier_parameters: list[Array] = []  # at the last check, or the last two

    def separation(
        self,
        objective: Objective,
        point: Evaluation,
        direction: Array,
        decrement: float,
        stopped: Stopped | None,
    ) -> Steps[Separation | None]:
        """Return a separation along a long step, or along several of them at the fit's end."""
        if self._steps % _STEPS_BETWEEN_CHECKS == 0:
            self._earlier_parameters = [*self._earlier_parameters[-1:], point.parameters]
        self._steps += 1
        step_norm, parameters_norm = arrays.norm(direction), arrays.norm(point.parameters)
        is_growing = (
            decrement <= _SMALL_DECREASE * point.value and step_norm > _LONG_STEP * parameters_norm
        )
        if self.found is None and is_growing and self._steps > self._next_check:
            self._next_check = self._steps + _STEPS_BETWEEN_CHECKS
            self.found = yield from _separation_along(objective, direction)
        if self.found is None and stopped is not None:
            step = point.parameters - self._earlier_parameters[0]
            self.found = yield from _separation_along(objective, step)
        return self.found


def _separation_along(objective: Objective, step: Array) -> Steps[Separation | None]:
    if not objective.facts.all_rows_on_host:
        return None
    varies = np.isfinite(objective.scale)
    deviation = np.sqrt(objective.second_moment) * np.where(varies, objective.scale, 0.0)
    units = objective.shift, objective.scale, deviation, objective.fit_intercept
    return (yield from ask(SeparationAlong(step, *units)))


def _end_at_rounding(watch: Watch, point: Evaluation, direction: Array, tol: float) -> Solution:
    """Return the solution at a point where rounding hides every further decrease.

    With a very weak penalty the bound may stay loose where the last step's expected decrease is
    far below the tolerance: then that estimate is all there is.
    """
    decrement = -float(arrays.inner(point.gradient, direction)) / 2
    if abs(decrement) <= 0.01 * tol * point.value:
        return replace(watch.solution(point, "decrement", decrement), proven=False)
    return watch.solution(point, "precision")


def _advance(
    search: _Search,
    remembered: RememberedSteps,
    metric: Preconditioner,
    point: Evaluation,
    direction: Array,
) -> Steps[Evaluation | None]:
    """Return the next point, or the same one in a finer precision; None if rounding hides any."""
    if search.is_stalled(point, direction) and search.raise_precision():
        return (yield from search.evaluate(point.parameters))
    next_point = yield from search.step(point, direction)
    if next_point is None and remembered:
        remembered.clear()
        next_point = yield from search.step(point, remembered.direction(point.gradient, metric))
    if next_point is not None:
        remembered.add(
            next_point.parameters - point.parameters, next_point.gradient - point.gradient
        )
    elif search.raise_precision():
        next_point = yield from search.evaluate(point.parameters)
    return next_point


def _zero_slope_estimate(low: float, high: float) -> float:
    """Return where, as a part of an interval, slopes ``low`` < 0 and ``high`` let expect 0.

    The middle serves, unless the slopes place it far before: halves alone would come back from a
    step that is too long by powers of ten in as many passes as there are powers of two.
    """
    expected = -low / (high - low) if high > 0 else 0.5
    return 0.5 if expected > 0.1 else max(expected, 0.01)


class _Search(Passes):
    """Evaluates the objective in the precision in use, samples rows, and searches along a line."""

    def __init__(self, watch: Watch) -> None:
        super().__init__(watch)
        self._generator = np.random.default_rng(0)
        self._least_expected, self._stalled_steps = np.inf, 0
        self._metrics = 0  # that were built

    def raise_precision(self) -> bool:
        """Go on in the next finer arithmetic; False if it was the finest already."""
        if not super().raise_precision():
            return False
        self._least_expected, self._stalled_steps = np.inf, 0
        return True

    def is_stalled(self, point: Evaluation, direction: Array) -> bool:
        """Tell whether sums of this precision show no more progress.

        Where a step's expected decrease is below what they can show of the objective, gradients
        may still be good for many steps.
        """
        expected = -float(arrays.inner(point.gradient, direction)) / 2
        if expected > self.precision.noise * abs(point.value):
            return False
        if expected < self._least_expected:
            self._least_expected, self._stalled_steps = expected, 0
        else:
            self._stalled_steps += 1
        return self._stalled_steps >= _STALLED

    def rows(self) -> Array | None:
        """Return the rows that a curvature is estimated from, new ones each time; None for all.

        The longer a fit takes, the more rows are worth their time.
        """
        count = self.objective.facts.count
        size = sample_size(self.objective) * 2 ** max(self._metrics - 1, 0)
        if count <= size:
            return None
        return np.sort(self._generator.choice(count, size, replace=False))

    def metric(self, point: Evaluation) -> Steps[Metric]:
        metric = yield from metric_at(self.objective, point.parameters, self.rows())
        self._metrics += 1
        return metric

    def step(self, point: Evaluation, direction: Array) -> Steps[Evaluation | None]:
        """Search along ``direction`` for a weak Wolfe point; None if rounding hides it."""
        slope = float(arrays.inner(point.gradient, direction))
        if not slope < 0:
            return None
        noise = 2 * self.precision.noise * abs(point.value)
        low, high, length = 0.0, np.inf, 1.0
        low_slope, high_slope = slope, np.inf
        for _ in range(_MOST_TRIALS):
            trial = yield from self.evaluate(point.parameters + length * direction)
            trial_slope = float(arrays.inner(trial.gradient, direction))
            decreased = trial.value <= point.value + _SUFFICIENT_DECREASE * length * slope
            is_flat_decrease = trial.value <= point.value + noise and trial_slope <= (
                (2 * _SUFFICIENT_DECREASE - 1) * slope
            )
            if not (decreased or is_flat_decrease):
                high, high_slope = length, trial_slope
            elif trial_slope < _CURVATURE * slope:
                low, low_slope = length, trial_slope
            else:
                return trial
            if np.isinf(high):
                length *= 2
            else:
                length = low + (high - low) * _zero_slope_estimate(low_slope, high_slope)
        return None
