r"""Newton's method for penalties that make weights 0.

Each step minimises a quadratic model of the loss plus the true penalty, over the entries of the
weights that are not 0 or that the penalty does not hold at 0 (`entry_model`); the model's curvature
is that of the loss itself between these entries, from a sample of rows that grows where it proves
too small. Where few entries are at work this is cheap beside the passes that it saves, and a
handful of steps lead to the optimum. Where they are very many, the curvature is a product of
factors, and what steps have shown that these miss (`factor_model`).

From afar the penalty is taken larger and falls to its true strength on the way: most weights are
then 0 from beginning to end, and no step goes where the model is far too sure of itself.

References: J. Lee, Y. Sun, M. Saunders, *Proximal Newton-Type Methods for Minimizing Composite
Functions*, 2014; J. Friedman, T. Hastie, R. Tibshirani, *Regularization Paths for Generalized
Linear Models via Coordinate Descent*, 2010.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import linalg

from bridle.fit import arrays
from bridle.fit.precision import FLOAT64, Precision
from bridle.fit.problem.objective import Evaluation, Objective
from bridle.fit.problem.penalty_gap import dual_point, proven_zero
from bridle.fit.report import Stopped
from bridle.fit.requests import (
    ClassCurvature,
    Entries,
    EntryCurvature,
    FeatureCurvature,
    Importance,
    Steps,
    Values,
    ask,
)
from bridle.fit.solvers.entry_model import EntryModel
from bridle.fit.solvers.factor_model import FactorModel, factors_of
from bridle.fit.solvers.passes import Passes
from bridle.fit.solvers.watch import Solution, Watch
from bridle.tensors import on_host

Array = npt.NDArray[Any]

_FALL = 4.0  # of the penalty's strength from one step to the next, while it is above the true one
_SUFFICIENT_DECREASE = 1e-4
_MOST_TRIALS = 30
_FEWEST_NEW = 300  # entries that may come to work at once
_ROWS_AN_ENTRY, _FEWEST_ROWS = 8, 4000  # of the sample for the curvature, at first
_FEWEST_BLOCK_ROWS, _FEWEST_SPARSE_BLOCK_ROWS = 1024, 2**14
_RIDGE = 1e-7  # of the mean curvature, where rounding may hide that there is none
_INNER_PART = 1e-3  # of the slopes' violation, which a model's minimum may leave
_FACTORS_INNER_PART = 1e-2
_FEWEST_PAIRS, _MOST_PAIRS = 6, 40
_RENEWALS = (4, 20, 60, 180)  # iterations after which factors are built anew
# What the curvature between entries may take, as a part of the memory budget or at least so much:
# there are up to four matrices of that size.
_MATRICES, _LEAST_ENTRIES = 4, 1000
_LEAST_SPARSE_ENTRIES = 3000  # of sparse features, between which curvature is quickly found
_GAINED_GAP = 0.7
_SMALL_DECREASE = 1e-3  # of the objective, in a step after which the curvature is still good


class _Search(Passes):
    """Evaluates the objective on the host, wherever the features are."""

    def evaluate(self, parameters: Array) -> Steps[Evaluation]:
        self.watch.passes += 1
        objective = self.objective
        there = arrays.on_device_of(parameters, objective.facts.like)
        sums = yield from ask(Values(objective.point(there, self.precision)))
        sums = replace(sums, residual=on_host(sums.residual), product=on_host(sums.product))
        return self.watch.record(objective.evaluation(parameters, sums))


@dataclass
class _Curvature:
    """The loss's curvature between entries, at some point."""

    entries: Entries
    matrix: Array


class _FactorCurvature(NamedTuple):
    """The curvature's factors between some features, an intercept's 1 behind them."""

    places: npt.NDArray[np.intp]
    features: Array
    classes: Array
    renewals: tuple[int, ...]  # iterations at which to build them anew


class _Step(NamedTuple):
    """Where a model's minimum is, and what the objective is expected to change by at most."""

    parameters: Array
    decrease: float  # of the linear part and the penalty: about twice what is to be gained


class _Newton:
    """The state between steps."""

    def __init__(self, watch: Watch) -> None:
        self.search = _Search(watch)
        self.objective = watch.objective
        assert self.objective.penalty is not None
        self.true_penalty = self.penalty = self.objective.penalty
        self._generator = np.random.default_rng(0)
        self._sample_growth = 1
        self._curvature: _Curvature | None = None
        self._built_at: Evaluation | None = None  # the last of all curvatures
        self._factors: _FactorCurvature | None = None
        pair = 16 * self.objective.shape[0] * self.objective.classes
        length = int(np.clip(self.objective.memory_budget / 4 // pair, _FEWEST_PAIRS, _MOST_PAIRS))
        self._pairs: deque[tuple[Array, Array]] = deque(maxlen=length)

    def begin_at(self, point: Evaluation) -> None:
        """Take the penalty so large that few weights leave 0."""
        slope, _ = self.objective.split(self._smooth_slope(point))
        penalty, costs = self.true_penalty, self.true_penalty.factors > 0
        if not costs.any() or penalty.l1 == 0:
            return
        needed = np.max(penalty.dual_lengths(slope)[costs] / penalty.factors[costs])
        self.penalty = replace(penalty, l1=max(penalty.l1, float(needed) / _FALL))

    def lower_penalty(self) -> bool:
        """Go on with a smaller penalty; False if it was the true one already."""
        if self.penalty.l1 <= self.true_penalty.l1:
            return False
        self.penalty = replace(self.penalty, l1=max(self.true_penalty.l1, self.penalty.l1 / _FALL))
        return True

    def value(self, point: Evaluation) -> float:
        """Return the objective with the penalty in use."""
        weight, _ = self.objective.split(point.parameters)
        return point.loss + self.penalty.value(weight)

    def _smooth_slope(self, point: Evaluation) -> Array:
        """Return the gradient of all but the part that is not smooth."""
        slope = point.gradient.copy()
        weights, _ = self.objective.split(slope)
        values, _ = self.objective.split(point.parameters)
        weights += self.true_penalty.l2 * self.true_penalty.factors[:, None] * values
        return slope

    def entries_at(self, point: Evaluation, slope: Array) -> Entries:
        """Return the entries that are not 0, and those that the penalty does not hold there."""
        penalty, objective = self.penalty, self.objective
        weight, _ = objective.split(point.parameters)
        slopes, _ = objective.split(slope)
        cost = penalty.l1 * penalty.factors[:, None]
        first = 1 if penalty.one_vector else 0
        if penalty.by_feature:
            at_work = (weight != 0).any(axis=1, keepdims=True)
            excess = penalty.dual_lengths(slopes)[:, None] - cost
        else:
            at_work = weight != 0
            excess = np.abs(slopes) - cost
            excess[:, :first] = -np.inf
        at_work |= penalty.factors[:, None] == 0
        many = int(at_work.sum())
        room = max(_FEWEST_NEW, many)
        if not penalty.by_feature:
            # Where the curvature between those at work fits, it shall still fit with the new ones.
            left = _most_entries(objective) - objective.classes - many
            room = min(room, left) if left >= _FEWEST_NEW else room
        chosen = at_work | _largest(np.where(at_work, -np.inf, excess), room)
        if penalty.by_feature or penalty.frees_features:
            chosen = np.broadcast_to(chosen, weight.shape).copy()
        chosen[:, :first] = False
        features, classes = np.nonzero(chosen)
        # Those without a cost are behind all others.
        order = np.argsort(penalty.factors[features] == 0, kind="stable")
        # The same constant for all intercepts changes nothing: the first stays as it is.
        intercepts = np.arange(1, objective.classes if objective.fit_intercept else 1)
        return Entries(features[order], classes[order], intercepts)

    def step(self, point: Evaluation) -> Steps[_Step]:
        """Return the minimum of the model at a point."""
        objective, penalty = self.objective, self.penalty
        slope = self._smooth_slope(point)
        entries = self.entries_at(point, slope)
        if len(entries) <= _most_entries(objective):
            parameters = yield from self._entries_moved(point, slope, entries)
        else:
            parameters = yield from self._features_moved(point, slope, entries)
        if objective.fit_intercept:
            parameters[-1] -= parameters[-1].mean()
        weight, _ = objective.split(point.parameters)
        moved, _ = objective.split(parameters)
        # The square's own change is in the slope to first order.
        linear = float(np.vdot(slope, parameters - point.parameters))
        lengths = penalty.lengths(moved) - penalty.lengths(weight)
        return _Step(parameters, -linear - penalty.l1 * float(penalty.factors @ lengths))

    def _entries_moved(self, point: Evaluation, slope: Array, entries: Entries) -> Steps[Array]:
        """Return the minimum over entries, of the loss's own curvature."""
        objective, penalty = self.objective, self.penalty
        matrix = yield from self._curvature_of(entries, point)
        width, count = objective.facts.width, len(entries.features)
        factors = penalty.factors[entries.features]
        ridge = np.full(len(matrix), _RIDGE * float(np.trace(matrix)) / max(len(matrix), 1))
        ridge[:count] += penalty.l2 * factors
        matrix[np.arange(len(matrix)), np.arange(len(matrix))] += ridge
        places = (
            np.concatenate([entries.features, np.full(len(entries.intercepts), width)]),
            np.concatenate([entries.classes, entries.intercepts]),
        )
        cost = np.zeros(len(matrix))
        cost[:count] = penalty.l1 * factors
        size = objective.classes - penalty.one_vector if penalty.by_feature else 1
        model = EntryModel(matrix, slope[places], point.parameters[places], cost, size)
        wrong = model.violation(model.start, model.slope)
        parameters = point.parameters.copy()
        parameters[places] = model.minimum(_INNER_PART * wrong)
        return parameters

    def _features_moved(self, point: Evaluation, slope: Array, entries: Entries) -> Steps[Array]:
        """Return the minimum over all weights of features, of a curvature in factors."""
        objective, penalty = self.objective, self.penalty
        known = yield from self._factors_of(np.unique(entries.features), point)
        places = known.places
        if objective.fit_intercept:
            places = np.append(places, objective.facts.width)
        costs = np.append(penalty.factors, 0.0)[places]
        pairs = [(step[places], change[places]) for step, change in self._pairs]
        model = FactorModel(
            factors_of(known.features, known.classes, pairs, penalty.l2 * costs),
            slope[places],
            point.parameters[places],
            penalty.l1 * costs,
            penalty.by_feature,
            int(penalty.one_vector),
        )
        wrong = model.violation(model.start, model.slope)
        parameters = point.parameters.copy()
        parameters[places] = model.minimum(_FACTORS_INNER_PART * wrong)
        return parameters

    def _factors_of(
        self, features: npt.NDArray[np.intp], point: Evaluation
    ) -> Steps[_FactorCurvature]:
        """Return factors between features, among which are those told: the last, or new ones."""
        known = self._factors
        if known is not None and np.isin(features, known.places).all():
            if self.search.watch.iteration not in known.renewals:
                return known
        elif known is not None:
            features = np.union1d(features, known.places)
        objective = self.objective
        there = arrays.on_device_of(point.parameters, objective.facts.like)
        rows = self._rows(max(len(features), objective.classes))
        at = objective.point(there, Precision(objective.facts.dtype))
        sums = yield from ask(ClassCurvature(at, rows))
        mean_spread = float(sums.spread / sums.weight)
        importance = Importance(at, mean_spread) if mean_spread > 0 else None
        request = FeatureCurvature(importance, objective.shift, objective.scale, rows, features)
        matrix = on_host((yield from ask(request))) / float(sums.weight)
        if objective.fit_intercept:
            matrix = linalg.block_diag(matrix, np.ones((1, 1)))
        self._built_at = point
        first = self.search.watch.iteration
        renewals = tuple(first + later for later in _RENEWALS)
        self._factors = _FactorCurvature(
            features, np.ascontiguousarray(matrix), on_host(sums.hessian()), renewals
        )
        return self._factors

    def _curvature_of(self, entries: Entries, point: Evaluation) -> Steps[Array]:
        """Return the curvature between entries: the last one's, while it is good, or a new one."""
        known = self._curvature
        if known is not None:
            places = _places_in(known.entries, entries, self.objective.classes)
            if places is not None:
                return np.asarray(known.matrix[np.ix_(places, places)])
        objective = self.objective
        there = arrays.on_device_of(point.parameters, objective.facts.like)
        request = EntryCurvature(
            objective.point(there, Precision(objective.facts.dtype)),
            entries,
            objective.shift,
            objective.scale,
            self._rows(len(entries)),
            max(len(entries), self._fewest_block_rows()),
        )
        sums = yield from ask(request)
        matrix = np.asarray(on_host(sums.matrix) / float(sums.weight))
        self._curvature, self._built_at = _Curvature(entries, matrix), point
        return matrix.copy()

    def _fewest_block_rows(self) -> int:
        """Return so many that adding up the blocks' curvatures is not most of the work."""
        return _FEWEST_SPARSE_BLOCK_ROWS if self.objective.facts.is_sparse else _FEWEST_BLOCK_ROWS

    def _rows(self, entries: int) -> npt.NDArray[np.intp] | None:
        count = self.objective.facts.count
        wanted = self._sample_growth * max(_ROWS_AN_ENTRY * entries, _FEWEST_ROWS)
        if wanted >= count or self.objective.facts.is_sparse:
            return None  # of sparse rows, all are few
        return np.sort(self._generator.choice(count, wanted, replace=False))

    def learn(self, expected: float, gained: float, value: float) -> None:
        """Take another sample of rows if the last one's model promised too much."""
        if expected > _SMALL_DECREASE * value:
            self._curvature = None
        if gained < 0.4 * expected / 2:
            self._curvature = None
            self._sample_growth = min(2 * self._sample_growth, 2**20)

    def look_again(self, point: Evaluation) -> bool:
        """Let the next model be of all rows at this point; False if the last one was."""
        if self._built_at is point and self._sample_growth >= self.objective.facts.count:
            return False
        self._curvature, self._factors = None, None
        self._pairs.clear()
        self._sample_growth = self.objective.facts.count
        return True

    def next_point(self, point: Evaluation, step: _Step) -> Steps[Evaluation | None]:
        """Return a point that is nearer to the optimum, on the way of a step; None if none is."""
        noise = self.search.precision.noise * abs(point.value)
        if step.decrease > noise:
            return (yield from self._line_search(point, step))
        if self.search.precision != FLOAT64 or self.penalty != self.true_penalty:
            return None
        # The objective no longer tells better from worse, but its bound still does: that is linear
        # in what is left of the slope.
        trial = yield from self.search.evaluate(step.parameters)
        return trial if self.search.watch.gap(trial) < _GAINED_GAP * self._gap(point) else None

    def _gap(self, point: Evaluation) -> float:
        return dual_point(self.objective, point).gap

    def _line_search(self, point: Evaluation, step: _Step) -> Steps[Evaluation | None]:
        """Return the first of the points at 1, ½, ¼, … of a step that decreases enough."""
        value, noise = self.value(point), 2 * self.search.precision.noise * abs(point.value)
        length = 1.0
        for _ in range(_MOST_TRIALS):
            moved = step.parameters
            if length < 1:
                moved = point.parameters + length * (step.parameters - point.parameters)
            trial = yield from self.search.evaluate(moved)
            gained = value - self.value(trial)
            if gained >= _SUFFICIENT_DECREASE * length * step.decrease - noise:
                self.learn(step.decrease, gained if length == 1 else 0.0, value)
                self._pairs.append(
                    (trial.parameters - point.parameters, trial.gradient - point.gradient)
                )
                return trial
            length /= 2
        return None


def _most_entries(objective: Objective) -> int:
    """Return between how many entries the curvature is taken as it is."""
    fitting = math.isqrt(objective.memory_budget // (8 * _MATRICES))
    least = _LEAST_SPARSE_ENTRIES if objective.facts.is_sparse else _LEAST_ENTRIES
    return max(fitting, least)


def _largest(excess: Array, room: int) -> Array:
    """Return which are above 0: the largest, where there is no room for all."""
    wanted = excess > 0
    if int(wanted.sum()) > room:
        least = np.partition(excess[wanted], -room)[-room]
        wanted &= excess >= least
    return wanted


def _places_in(known: Entries, wanted: Entries, classes: int) -> npt.NDArray[np.intp] | None:
    """Return where entries are among known ones; None if some are not."""
    numbers = known.features * classes + known.classes
    order = np.argsort(numbers)
    sought = wanted.features * classes + wanted.classes
    found = np.searchsorted(numbers, sought, sorter=order)
    if len(numbers) == 0 and len(sought):
        return None
    places = order[np.minimum(found, len(numbers) - 1)] if len(sought) else order[:0]
    if len(sought) and not np.array_equal(numbers[places], sought):
        return None
    return np.concatenate([places, len(numbers) + np.arange(len(known.intercepts))])


def minimise(watch: Watch, start: Array, *, tol: float, max_iter: int) -> Steps[Solution]:
    """Minimise the watched objective from ``start`` until the gap, relative to it, is ``tol``."""
    newton = _Newton(watch)
    search = newton.search
    point = yield from search.begin(start)
    newton.begin_at(point)
    for iteration in range(max_iter):
        watch.iteration = iteration
        gap = watch.gap(point)
        if gap <= tol * (point.value - gap):
            if not search.raise_precision():
                return _solution(watch, point, "gap")
            point = yield from search.evaluate(point.parameters)
            continue
        step = yield from newton.step(point)
        next_point = yield from newton.next_point(point, step)
        if next_point is not None:
            point = next_point
            newton.lower_penalty()
        elif newton.lower_penalty():
            continue
        elif search.raise_precision():
            point = yield from search.evaluate(point.parameters)
        elif not newton.look_again(point):
            return _solution(watch, point, "precision")
    watch.iteration = max_iter
    return _solution(watch, point, "max_iter")


def _solution(watch: Watch, point: Evaluation, stopped: Stopped) -> Solution:
    weight, _ = watch.objective.split(point.parameters)
    zero = proven_zero(watch.objective, dual_point(watch.objective, point))
    return replace(
        watch.solution(point, stopped),
        kept_features=int(np.count_nonzero(weight.any(axis=1))),
        zero_features=int(np.count_nonzero(zero)),
    )
