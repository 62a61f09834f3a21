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
from bridle.fit.precision import ladder
from bridle.fit.problem.gap import duality_gap
from bridle.fit.problem.objective import Evaluation, Objective
from bridle.fit.report import Stopped
from bridle.fit.requests import Separation, SeparationAlong, Steps, Values, ask
from bridle.fit.solvers.memory import Curved, Memory
from bridle.fit.solvers.metric import (
    TINY,
    Metric,
    intercept_curvature_at,
    metric_at,
    sample_size,
)
from bridle.fit.solvers.watch import Solution, Watch
from bridle.fit.solvers.whole_hessian import first_choice, hessian_at, last_resort

Array = npt.NDArray[Any]

_REFRESHES = (4, 20, 60, 180, 540)  # iterations before which the metric is built anew
# After so many iterations the whole Hessian is worth its cost, wherever it can be had.
_PATIENCE = 100
_SUFFICIENT_DECREASE = 1e-4
_CURVATURE = 0.9
_LONGEST_SEARCH = 30
_STALLED = 5  # steps that did not bring the expected decrease down
# Without a penalty: a step that may lead to no optimum, and how many there are between two looks.
_SMALL_GAIN, _LONG_STEP, _GROWTH_LOOKS = 1e-3, 0.01, 5
# Once a separation is known, steps go on until the loss is so near to its infimum: whatever the
# tolerance, the weights grow no further.
_INFIMUM = 1e-6
# A Newton step gains more than this, or it is at rounding.
_INTERCEPT_STEPS, _INTERCEPT_GAIN = 6, 4.0


def minimise(
    watch: Watch, start: Array, *, tol: float, max_iter: int, memory: Memory | None = None
) -> Steps[Solution]:
    """Minimise the watched objective from ``start`` until the gap, relative to it, is ``tol``.

    It asks for the objective's value and gradient, and goes on with the answer.
    A ``memory`` of another strength of the penalty is adapted, and learns.

    Products are taken in the features' dtype; where float32 cannot prove the gap, the last steps
    are taken in float64, block by block.
    """
    objective, search = watch.objective, _Search(watch)
    small = first_choice(objective)
    memory = Memory() if memory is None else memory
    memory.adapt(objective)
    # A metric of another penalty was built near the optimum: it needs no early renewal.
    renewals = (0, *_REFRESHES) if memory.metric is None else _REFRESHES[1:]
    point = yield from search.begin(start)
    growth = _Growth()
    for iteration in range(max_iter):
        watch.iteration = iteration
        point, proven = yield from _prove(search, point, tol)
        if proven:
            return watch.solution(point, "gap")
        small = small or (iteration == _PATIENCE and last_resort(objective))
        if small:
            memory.clear()
        elif iteration in renewals:
            memory.metric = yield from search.metric(point)
        metric: Curved | None = memory.metric
        if small:
            metric = yield from hessian_at(objective, point.parameters)
        assert metric is not None
        direction = memory.direction(point.gradient, metric)
        if objective.alpha == 0:
            decrement = -float(arrays.inner(point.gradient, direction)) / 2
            ending = _unpenalised_end(search, point, decrement, tol, iteration)
            if ending != "separable":
                found = yield from growth.separation(objective, point, direction, decrement, ending)
                if found is not None and decrement <= _INFIMUM * point.value:
                    return _quasi_separable(watch, point, decrement, found)
            if ending == "separable" or (ending is not None and growth.found is None):
                # Separable: the objective's infimum is 0, which nothing is relatively close to.
                gap = np.inf if ending == "separable" else decrement
                return watch.solution(point, ending, gap)
        following = yield from _advance(search, memory, metric, point, direction)
        if following is None and not small and last_resort(objective):
            small = True
        elif following is None and growth.found is not None:
            return _quasi_separable(watch, point, abs(decrement), growth.found)
        elif following is None:
            return _end_at_rounding(watch, point, direction, tol)
        else:
            point = following
    watch.iteration = max_iter
    return watch.solution(point, "max_iter")


def _quasi_separable(
    watch: Watch, point: Evaluation, decrement: float, found: Separation
) -> Solution:
    return replace(watch.solution(point, "quasi-separable", decrement), separation=found)


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
        gap = duality_gap(objective, point)
        if gap <= tol * (point.value - gap):
            if not search.sharpen():
                return point, True
            # A proof is given in float64 or not at all.
            point = yield from search.evaluate(point.parameters)
            continue
        slope, intercept_slope = objective.split(point.gradient)
        hoped = float(arrays.inner(slope, slope)) / (2 * objective.alpha)
        within_reach = objective.fit_intercept and hoped <= tol * (point.value - hoped)
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
            if not search.sharpen():
                return point, False
            point = yield from search.evaluate(point.parameters)


def _unpenalised_end(
    search: _Search, point: Evaluation, decrement: float, tol: float, iteration: int
) -> Stopped | None:
    """Tell whether a fit without penalty is over, where no dual point bounds the gap."""
    search.watch.estimate = decrement
    hard = search.objective.facts.has_indices
    if hard and point.worst_loss < np.log(2):
        # Every sample's own class has more than half the probability: the weights times a growing
        # factor bring the loss to 0, and no weights attain it.
        return "separable"
    # A quadratic model's word is taken only well below the tolerance, and not of the first steps.
    return "decrement" if iteration >= 5 and decrement <= 0.01 * tol * point.value else None


class _Growth:
    """Whether steps of a fit without a penalty go far for how little they gain, and where to."""

    def __init__(self) -> None:
        self.found: Separation | None = None
        self._steps = 0
        self._next_look = _GROWTH_LOOKS
        self._earlier: list[Array] = []  # the parameters of one or two looks ago

    def separation(
        self,
        objective: Objective,
        point: Evaluation,
        direction: Array,
        decrement: float,
        ending: Stopped | None,
    ) -> Steps[Separation | None]:
        """Return a separation along a long step, or along several of them at the fit's end."""
        if self._steps % _GROWTH_LOOKS == 0:
            self._earlier = [*self._earlier[-1:], point.parameters]
        self._steps += 1
        length, size = arrays.norm(direction), arrays.norm(point.parameters)
        grows = decrement <= _SMALL_GAIN * point.value and length > _LONG_STEP * size
        if self.found is None and grows and self._steps > self._next_look:
            self._next_look = self._steps + _GROWTH_LOOKS
            self.found = yield from _separation_along(objective, direction)
        if self.found is None and ending is not None:
            step = point.parameters - self._earlier[0]
            self.found = yield from _separation_along(objective, step)
        return self.found


def _separation_along(objective: Objective, step: Array) -> Steps[Separation | None]:
    if not objective.facts.at_hand:
        return None
    varies = np.isfinite(objective.scale)
    deviation = np.sqrt(objective.second_moment) * np.where(varies, objective.scale, 0.0)
    own = objective.shift, objective.scale, deviation, objective.fit_intercept
    return (yield from ask(SeparationAlong(step, *own)))


def _end_at_rounding(watch: Watch, point: Evaluation, direction: Array, tol: float) -> Solution:
    """Say what is known of a point that rounding lets nobody leave.

    With a very weak penalty the bound may stay loose where the last step's expected decrease is
    far below the tolerance: then that estimate is all there is.
    """
    decrement = -float(arrays.inner(point.gradient, direction)) / 2
    if abs(decrement) <= 0.01 * tol * point.value:
        return replace(watch.solution(point, "decrement", decrement), proven=False)
    return watch.solution(point, "precision")


def _advance(
    search: _Search, memory: Memory, metric: Curved, point: Evaluation, direction: Array
) -> Steps[Evaluation | None]:
    """Return the next point, or the same one seen more sharply; None if rounding hides any."""
    if search.stalls(point, direction) and search.sharpen():
        return (yield from search.evaluate(point.parameters))
    following = yield from search.step(point, direction)
    if following is None and memory:
        memory.clear()
        following = yield from search.step(point, memory.direction(point.gradient, metric))
    if following is not None:
        memory.add(following.parameters - point.parameters, following.gradient - point.gradient)
    elif search.sharpen():
        following = yield from search.evaluate(point.parameters)
    return following


def _turning_point(low: float, high: float) -> float:
    """Return where, as a part of an interval, slopes ``low`` < 0 and ``high`` let expect 0.

    The middle serves, unless the slopes place it far before: halves alone would come back from a
    step that is too long by powers of ten in as many passes as there are powers of two.
    """
    expected = -low / (high - low) if high > 0 else 0.5
    return 0.5 if expected > 0.1 else max(expected, 0.01)


class _Search:
    """The objective as it is evaluated: the dtype in use, the sample of rows."""

    def __init__(self, watch: Watch) -> None:
        self.objective = watch.objective
        self.watch = watch
        facts = watch.objective.facts
        self._precisions = list(ladder(facts.dtype, arrays.device_of(facts.like)))
        self._generator = np.random.default_rng(0)
        self._least_expected, self._stalled = np.inf, 0
        self._metrics = 0  # that were built

    def evaluate(self, parameters: Array) -> Steps[Evaluation]:
        self.watch.passes += 1
        point = self.objective.point(parameters, self._precisions[0])
        sums = yield from ask(Values(point))
        return self.watch.saw(self.objective.evaluation(parameters, sums))

    def begin(self, start: Array) -> Steps[Evaluation]:
        """Return the start's value and gradient, for which no pass is needed without weights."""
        weight, _ = self.objective.split(start)
        if bool((weight != 0).any()):
            return (yield from self.evaluate(start))
        return self.watch.saw(self.objective.without_weights(start))

    def sharpen(self) -> bool:
        """Go on in the next finer arithmetic; False if it was the finest already."""
        if len(self._precisions) == 1:
            return False
        del self._precisions[0]
        self._least_expected, self._stalled = np.inf, 0
        return True

    def stalls(self, point: Evaluation, direction: Array) -> bool:
        """Tell whether sums of this precision show no more progress.

        Where a step's expected decrease is below what they can show of the objective, gradients
        may still be good for many steps.
        """
        expected = -float(arrays.inner(point.gradient, direction)) / 2
        if expected > self._precisions[0].noise * abs(point.value):
            return False
        if expected < self._least_expected:
            self._least_expected, self._stalled = expected, 0
        else:
            self._stalled += 1
        return self._stalled >= _STALLED

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
        noise = 2 * self._precisions[0].noise * abs(point.value)
        low, high, length = 0.0, np.inf, 1.0
        low_slope, high_slope = slope, np.inf
        for _ in range(_LONGEST_SEARCH):
            trial = yield from self.evaluate(point.parameters + length * direction)
            trial_slope = float(arrays.inner(trial.gradient, direction))
            decreased = trial.value <= point.value + _SUFFICIENT_DECREASE * length * slope
            level = trial.value <= point.value + noise and trial_slope <= (
                (2 * _SUFFICIENT_DECREASE - 1) * slope
            )
            if not (decreased or level):
                high, high_slope = length, trial_slope
            elif trial_slope < _CURVATURE * slope:
                low, low_slope = length, trial_slope
            else:
                return trial
            if np.isinf(high):
                length *= 2
            else:
                length = low + (high - low) * _turning_point(low_slope, high_slope)
        return None
