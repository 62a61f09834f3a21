r"""Newton's method for penalties that make weights 0.

Each step minimises a quadratic model of the loss plus the true penalty, over the entries of the
weights that are not 0 or that the penalty does not hold at 0 (`entry_model`); the model's curvature
is that of the loss itself between these entries, from a sample of rows that grows where it proves
too small. Where few entries are at work this is cheap beside the passes that it saves, and a
handful of steps lead to the optimum. Of sparse features in one process no curvature is made at all:
coordinate descent reads the columns (`readers.entry_descent`), until it no longer settles soon.
Where entries are very many elsewhere, the curvature is a product of factors, and what steps have
shown that these miss (`factor_model`).

From afar the penalty is taken larger and falls to its true strength on the way: most weights are
then 0 from beginning to end. Where rows are sure their curvature vanishes, and a model that
promised too much is damped, in Levenberg's manner, until it keeps what it promises.

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
from bridle.fit.problem.penalty import Penalty
from bridle.fit.report import Stopped
from bridle.fit.requests import (
    ClassCurvature,
    CountedRows,
    Entries,
    EntryCurvature,
    EntryDescent,
    FeatureCurvature,
    Importance,
    Point,
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
_Moved = tuple[Array, npt.NDArray[np.intp]]  # parameters, and the features whose weights may differ

_FALL = 8.0  # of the penalty's strength from one step to the next, while it is above the true one
_SUFFICIENT_DECREASE = 1e-4
_MOST_TRIALS = 30
_FEWEST_NEW = 300  # entries that may come to work at once
_ROWS_AN_ENTRY, _FEWEST_ROWS = 8, 4000  # of the sample for the curvature, at first
_FEWEST_BLOCK_ROWS, _FEWEST_SPARSE_BLOCK_ROWS = 1024, 2**14
_RIDGE = 1e-10  # of an entry's curvature, where rounding may hide that several have none
_INNER_PART = 1e-3  # of the slopes' violation, which a model's minimum may leave
_FACTORS_INNER_PART = 1e-2
# Of the first sweep's move. Where 20,377 weights are at work a sweep takes longer than a pass: a
# proof of 1e-5 took 51 s with 0.01, 24 with 0.1, 15 with 0.3; of 2,764 weights 12, 11, 8. Intel.
#     python benchmarks/fit_l1.py --data text-20 --penalties elastic-net --Cs 3 --peers
_DESCENT_INNER_PART = 0.3
_MOST_SWEEPS = 66  # of coordinate descent along stored columns, for one step
_FEWEST_DESCENDED = 64  # entries, for which it is worth while
_FEWEST_PAIRS, _MOST_PAIRS = 6, 40
_RENEWED_AFTER = 4  # iterations: factors are built anew
# What the curvature between entries may take, as a part of the memory budget or at least so much:
# there are up to four matrices of that size.
_MATRICES, _LEAST_ENTRIES = 4, 1000
_LEAST_SPARSE_ENTRIES = 3000  # of sparse features, between which curvature is quickly found
_GAINED_GAP = 0.7  # of a gap: a step that leaves more of it has not paid
_MOST_WITHOUT_GAIN = 5  # steps, where rounding hides what the objective gains
# Where rows are sure, their curvature vanishes, and a model would go as far as it likes.
_LEAST_DAMPING, _MOST_DAMPING, _DAMPED_BY = 1e-4, 1.0, 10.0
_BROKEN, _KEPT = 0.1, 0.5  # parts of what a model promised: less trust, more trust
_FEW_TRIALS = 4  # of a step, before another of less trust
_SMALL_DECREASE = 1e-3  # of the objective, in a step after which the curvature is still good


class _Search(Passes):
    """Evaluates the objective on the host, wherever the features are."""

    def evaluate(self, parameters: Array) -> Steps[Evaluation]:
        self.watch.passes += 1
        objective = self.objective
        sums = yield from ask(Values(_point_of_rows(objective, parameters, self.precision)))
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
    iteration: int  # of which they are


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
        self._weighted_share: float | None = None  # of the rows
        self._curvature: _Curvature | None = None
        self._built_at: Evaluation | None = None  # the last of all curvatures
        self._factors: _FactorCurvature | None = None
        # Of points that the objective does not tell from each other: the least, and how many since.
        self._least_gap, self._without_gain = np.inf, 0
        self._damping = 0.0  # of the features' second moments, added to the curvature of entries
        facts, penalty = self.objective.facts, self.true_penalty
        # Probabilities, moves of the scores, and what is made on the way to them.
        descent_bytes = 5 * 8 * facts.count * self.objective.classes
        self._descends = (
            facts.is_sparse
            and facts.all_rows_on_host
            and facts.is_compiled
            and not penalty.by_feature
            and penalty.support is None
            and descent_bytes <= self.objective.memory_budget
        )
        self._settles_soon = True  # the descent: where it does not, a matrix is quicker
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
        self._strengthen(float(needed) / _FALL)

    def lower_penalty(self) -> None:
        """Go on with a smaller penalty, down to the true one."""
        self._strengthen(self.penalty.l1 / _FALL)

    def take_true_penalty(self) -> bool:
        """Go on with the true penalty; False if it was that already."""
        was_stronger = self.penalty is not self.true_penalty
        self.penalty = self.true_penalty
        return was_stronger

    def forget_curvature(self) -> None:
        """Let the next model of entries have a curvature of its own."""
        self._curvature = None

    def _strengthen(self, l1: float) -> None:
        stronger = l1 > self.true_penalty.l1
        self.penalty = replace(self.true_penalty, l1=l1) if stronger else self.true_penalty

    def value(self, point: Evaluation) -> float:
        """Return the objective with the penalty in use."""
        weight, _ = self.objective.split(point.parameters)
        return point.loss + self.penalty.value(weight)

    def _smooth_slope(self, point: Evaluation) -> Array:
        """Return the gradient of all but the part that is not smooth; to be read only."""
        if self.true_penalty.l2 == 0:
            return point.gradient
        slope = point.gradient.copy()
        weights, _ = self.objective.split(slope)
        values, _ = self.objective.split(point.parameters)
        weights += self.true_penalty.l2 * self.true_penalty.factors[:, None] * values
        return slope

    def entries_at(self, point: Evaluation, slope: Array) -> Entries:
        """Return the entries that are not 0, and those that the penalty does not hold there."""
        penalty, objective = self.penalty, self.objective
        # The same constant for all intercepts changes nothing: the first stays as it is.
        intercepts = np.arange(1, objective.classes if objective.fit_intercept else 1)
        if penalty.support is not None:
            features, classes = np.nonzero(penalty.support)
            return Entries(features, classes, intercepts)
        weight, _ = objective.split(point.parameters)
        slopes, _ = objective.split(slope)
        free = (penalty.factors == 0) & (objective.second_moment > 0)
        moving = penalty.dual_lengths(slopes) > penalty.l1 * penalty.factors
        # Nearly all features have no weight and are held there: only the others are looked through.
        moving |= free
        moving[arrays.rows_with_numbers(weight)] = True
        candidates = np.flatnonzero(moving)
        weight, slopes, free = weight[candidates], slopes[candidates], free[candidates]
        cost = penalty.l1 * penalty.factors[candidates, None]
        first = 1 if penalty.one_vector else 0
        if penalty.by_feature:
            at_work = (weight != 0).any(axis=1, keepdims=True)
            excess = penalty.dual_lengths(slopes)[:, None] - cost
        else:
            at_work = weight != 0
            excess = np.abs(slopes) - cost
            excess[:, :first] = -np.inf
        at_work |= free[:, None]
        many = int(at_work.sum())
        room = max(_FEWEST_NEW, many)
        if not (penalty.by_feature or (self._descends and self._settles_soon)):
            # Where the curvature between those at work fits, it shall still fit with the new ones.
            left = most_entries(objective) - objective.classes - many
            room = min(room, left) if left >= _FEWEST_NEW else room
        chosen = at_work | _largest(np.where(at_work, -np.inf, excess), room)
        if penalty.by_feature or penalty.frees_features:
            chosen = np.broadcast_to(chosen, weight.shape).copy()
        chosen[:, :first] = False
        places, classes = np.nonzero(chosen)
        features = candidates[places]
        # Those without a cost are behind all others.
        order = np.argsort(penalty.factors[features] == 0, kind="stable")
        return Entries(features[order], classes[order], intercepts)

    def step(self, point: Evaluation) -> Steps[_Step]:
        """Return the minimum of the model at a point."""
        objective, penalty = self.objective, self.penalty
        slope = self._smooth_slope(point)
        entries = self.entries_at(point, slope)
        parameters, features = yield from self._moved(point, slope, entries)
        before, after = point.parameters[features], parameters[features]
        # The square's own change is in the slope to first order.
        linear = float(np.vdot(slope[features], after - before))
        if objective.fit_intercept:
            parameters[-1] -= parameters[-1].mean()
            linear += float(slope[-1] @ (parameters[-1] - point.parameters[-1]))
        longer = penalty.lengths(after) - penalty.lengths(before)
        cost = penalty.l1 * float(penalty.factors[features] @ longer)
        return _Step(parameters, -linear - cost)

    def _moved(self, point: Evaluation, slope: Array, entries: Entries) -> Steps[_Moved]:
        """Return the minimum of a model, the best that there is room and time for."""
        has_room = len(entries.features) <= most_entries(self.objective)
        descends = self._descends and len(entries.features) >= _FEWEST_DESCENDED
        if descends and (self._settles_soon or not has_room):
            moved, settled = yield from self._descended(point, slope, entries)
            if settled or not has_room:
                return moved
            self._settles_soon = False
        if has_room:
            return (yield from self._entries_moved(point, slope, entries))
        return (yield from self._features_moved(point, slope, entries))

    def _descended(
        self, point: Evaluation, slope: Array, entries: Entries
    ) -> Steps[tuple[_Moved, bool]]:
        """Return the minimum over entries, read from the columns, and whether it was come to."""
        objective, penalty = self.objective, self.penalty
        features, classes = entries.features, entries.classes
        slopes, offset_slope = objective.split(slope)
        weight, _ = objective.split(point.parameters)
        # In features that are not centred, whose offset is the intercept less their means' scores.
        means = objective.shift[features] / objective.scale[features]
        own_slope = slopes[features, classes]
        if objective.fit_intercept:
            own_slope = own_slope + means * offset_slope[classes]
        start, factors = weight[features, classes], penalty.factors[features]
        question = EntryDescent(
            _point_of_rows(objective, point.parameters, FLOAT64),
            features,
            classes,
            objective.scale,
            own_slope,
            offset_slope if objective.fit_intercept else None,
            penalty.l2 * factors + self._damping * objective.second_moment[features],
            start,
            penalty.l1 * factors,
            _DESCENT_INNER_PART,
            _MOST_SWEEPS,
        )
        found = yield from ask(question)
        parameters = point.parameters.copy()
        after, intercept = objective.split(parameters)
        after[features, classes] = found.values
        if objective.fit_intercept:
            intercept += found.offset
            np.add.at(intercept, classes, means * (found.values - start))
        self._built_at = point
        return (parameters, np.unique(features)), found.settled

    def _entries_moved(self, point: Evaluation, slope: Array, entries: Entries) -> Steps[_Moved]:
        """Return the minimum over entries, of the loss's own curvature."""
        objective, penalty = self.objective, self.penalty
        matrix = yield from self._curvature_of(entries, point)
        width, count = objective.facts.width, len(entries.features)
        factors = penalty.factors[entries.features]
        diagonal = np.arange(len(matrix))
        part = max(_RIDGE, float(np.finfo(objective.facts.dtype).eps))
        matrix[diagonal, diagonal] *= 1 + part
        matrix[diagonal[:count], diagonal[:count]] += penalty.l2 * factors
        if self._damping > 0:
            moments = np.ones(len(matrix))
            moments[:count] = objective.second_moment[entries.features]
            matrix[diagonal, diagonal] += self._damping * moments
        places = (
            np.concatenate([entries.features, np.full(len(entries.intercepts), width)]),
            np.concatenate([entries.classes, entries.intercepts]),
        )
        cost = np.zeros(len(matrix))
        cost[:count] = penalty.l1 * factors
        grouped = penalty.by_feature and penalty.support is None
        size = objective.classes - penalty.one_vector if grouped else 1
        free = len(entries.intercepts) + int(np.count_nonzero(factors == 0))
        model = EntryModel(matrix, slope[places], point.parameters[places], cost, free, size)
        parameters = point.parameters.copy()
        parameters[places] = model.minimum(_INNER_PART)
        return parameters, np.unique(entries.features)

    def _features_moved(self, point: Evaluation, slope: Array, entries: Entries) -> Steps[_Moved]:
        """Return the minimum over all weights of features, of a curvature in factors."""
        objective, penalty = self.objective, self.penalty
        features, pairs = np.unique(entries.features), list(self._pairs)
        most = _most_features(objective)
        if len(features) > most:
            # Some of them by turns, those first that have farthest to go. What steps in others have
            # shown is not true of these alone.
            wrong = penalty.counted(np.abs(steepest(objective, penalty, point, slope))).max(axis=1)
            features = np.sort(features[np.argsort(-wrong[features], kind="stable")[:most]])
            pairs = []
        known = yield from self._factors_of(features, point)
        places = known.places
        if objective.fit_intercept:
            places = np.append(places, objective.facts.width)
        costs = np.append(penalty.factors, 0.0)[places]
        damping = self._damping * np.append(objective.second_moment, 0.0)[places]
        # In units in which each feature has the curvature 1, so that one measure of slopes does.
        unit = np.sqrt(np.diagonal(known.features))
        unit[unit == 0] = 1.0
        column = unit[:, None]
        here = [(step[places] * column, change[places] / column) for step, change in pairs]
        of_units = known.features / column / unit
        model = FactorModel(
            factors_of(of_units, known.classes, here, (penalty.l2 * costs + damping) / unit**2),
            slope[places] / column,
            point.parameters[places] * column,
            penalty.l1 * costs / unit,
            penalty.by_feature and not penalty.one_vector,  # one number is no group
            int(penalty.one_vector),
        )
        wrong = model.violation(model.start, model.slope)
        parameters = point.parameters.copy()
        parameters[places] = model.minimum(_FACTORS_INNER_PART * wrong) / column
        return parameters, known.places

    def _factors_of(
        self, features: npt.NDArray[np.intp], point: Evaluation
    ) -> Steps[_FactorCurvature]:
        """Return factors between features, among which are those told: the last, or new ones."""
        known = self._factors
        if known is not None and np.isin(features, known.places).all():
            if self.search.watch.iteration < known.iteration + _RENEWED_AFTER:
                return known
        elif known is not None:
            joined = np.union1d(features, known.places)
            features = joined if len(joined) <= _most_features(self.objective) else features
        objective = self.objective
        rows = yield from self._rows(max(len(features), objective.classes))
        at = _point_of_rows(objective, point.parameters, Precision(objective.facts.dtype))
        sums = yield from ask(ClassCurvature(at, rows))
        mean_spread = float(sums.spread / sums.weight)
        importance = Importance(at, mean_spread) if mean_spread > 0 else None
        request = FeatureCurvature(importance, objective.shift, objective.scale, rows, features)
        matrix = on_host((yield from ask(request))) / float(sums.weight)
        if objective.fit_intercept:
            matrix = linalg.block_diag(matrix, np.ones((1, 1)))
        self._built_at = point
        iteration = self.search.watch.iteration
        self._factors = _FactorCurvature(
            features, np.ascontiguousarray(matrix), on_host(sums.hessian()), iteration
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
        request = EntryCurvature(
            _point_of_rows(objective, point.parameters, Precision(objective.facts.dtype)),
            entries,
            objective.shift,
            objective.scale,
            (yield from self._rows(len(entries))),
            max(len(entries), self._fewest_block_rows()),
        )
        sums = yield from ask(request)
        matrix = np.asarray(on_host(sums.matrix) / float(sums.weight))
        self._curvature, self._built_at = _Curvature(entries, matrix), point
        return matrix.copy()

    def _fewest_block_rows(self) -> int:
        """Return so many that adding up the blocks' curvatures is not most of the work."""
        return _FEWEST_SPARSE_BLOCK_ROWS if self.objective.facts.is_sparse else _FEWEST_BLOCK_ROWS

    def _rows(self, entries: int) -> Steps[npt.NDArray[np.intp] | None]:
        """Return a sample of the rows for a curvature between so many entries; None for all."""
        count = self.objective.facts.count
        if self.objective.facts.is_sparse:
            return None  # of sparse rows, all are few
        wanted = self._sample_growth * max(_ROWS_AN_ENTRY * entries, _FEWEST_ROWS)
        if wanted < count and self._weighted_share is None:
            first = self._drawn(_FEWEST_ROWS)
            self._weighted_share = (yield from ask(CountedRows(first))) / _FEWEST_ROWS
        # Rows without a weight tell nothing; where they are nearly all, no sample would do.
        if self._weighted_share is None or wanted >= self._weighted_share * count:
            return None
        return self._drawn(round(wanted / self._weighted_share))

    def _drawn(self, rows: int) -> npt.NDArray[np.intp]:
        count = self.objective.facts.count
        return np.sort(self._generator.choice(count, rows, replace=False))

    def learn(self, expected: float, gained: float, value: float) -> None:
        """Take another sample of rows if the last one's model promised too much."""
        if expected > _SMALL_DECREASE * value:
            self._curvature = None
        if gained < 0.4 * expected / 2:
            self._curvature = None
            self._sample_growth = min(2 * self._sample_growth, 2**20)

    def _damp(self, kept: float) -> None:
        """Trust the next model by the part that the last one has ``kept`` of its promise."""
        if kept < _BROKEN:
            more = max(_LEAST_DAMPING, self._damping * _DAMPED_BY)
            self._damping = min(more, _MOST_DAMPING)
        elif kept > _KEPT:
            self._damping = self._damping / _DAMPED_BY if self._damping > _LEAST_DAMPING else 0.0

    def may_damp(self, point: Evaluation, step: _Step) -> bool:
        """Tell whether a step that led nowhere may lead somewhere if its model is trusted less."""
        return step.decrease > _SMALL_DECREASE * point.value and self._damping < _MOST_DAMPING

    def look_again(self, point: Evaluation) -> bool:
        """Let the next model be of all rows at this point; False if the last one was."""
        if self._built_at is point and self._sample_growth >= self.objective.facts.count:
            return False
        self._curvature, self._factors = None, None
        self._pairs.clear()
        self._sample_growth = self.objective.facts.count
        return True

    def exceeds_noise(self, point: Evaluation, step: _Step) -> bool:
        """Tell whether the precision in use can tell a step's end from where it begins."""
        return step.decrease > self.search.precision.noise * abs(point.value)

    def next_point(self, point: Evaluation, step: _Step) -> Steps[Evaluation | None]:
        """Return a point that is nearer to the optimum, on the way of a step; None if none is."""
        if self.exceeds_noise(point, step):
            return (yield from self._line_search(point, step))
        if self.search.precision != FLOAT64 or self.penalty is not self.true_penalty:
            return None
        # The objective no longer tells better from worse, but its bound still does: that is linear
        # in what is left of the slope.
        before = min(self._least_gap, self.search.watch.gap(point))
        trial = yield from self.search.evaluate(step.parameters)
        self._remember(point, trial)
        # A gap is the worst weight's, and falls unevenly.
        gap = self.search.watch.gap(trial)
        if gap < _GAINED_GAP * before:
            self._least_gap, self._without_gain = gap, 0
        else:
            self._without_gain += 1
        return trial if self._without_gain <= _MOST_WITHOUT_GAIN else None

    def _remember(self, point: Evaluation, trial: Evaluation) -> None:
        """Let the next models of factors know how the gradient has changed."""
        if self._factors is not None:
            step_taken = trial.parameters - point.parameters
            self._pairs.append((step_taken, trial.gradient - point.gradient))

    def _line_search(self, point: Evaluation, step: _Step) -> Steps[Evaluation | None]:
        """Return the first of the points at 1, ½, ¼, … of a step that decreases enough."""
        value, noise = self.value(point), 2 * self.search.precision.noise * abs(point.value)
        length = 1.0
        for _ in range(_MOST_TRIALS if self._damping >= _MOST_DAMPING else _FEW_TRIALS):
            moved = step.parameters
            if length < 1:
                moved = point.parameters + length * (step.parameters - point.parameters)
            trial = yield from self.search.evaluate(moved)
            gained = value - self.value(trial)
            if gained >= _SUFFICIENT_DECREASE * length * step.decrease - noise:
                self.learn(step.decrease, gained if length == 1 else 0.0, value)
                self._damp(gained / (step.decrease / 2) if length == 1 else 0.0)
                self._remember(point, trial)
                return trial
            length /= 2
        self._damp(0.0)
        return None


def most_entries(objective: Objective) -> int:
    """Return between how many entries the curvature is taken as it is."""
    least = _LEAST_SPARSE_ENTRIES if objective.facts.is_sparse else _LEAST_ENTRIES
    return max(_side_of_matrices(objective), least)


def _most_features(objective: Objective) -> int:
    """Return between how many features the curvature's factor is taken."""
    return max(_side_of_matrices(objective), _LEAST_ENTRIES)


def _side_of_matrices(objective: Objective) -> int:
    """Return how many rows the square matrices have that the memory budget has room for."""
    return math.isqrt(objective.memory_budget // (8 * _MATRICES))


def _point_of_rows(objective: Objective, parameters: Array, precision: Precision) -> Point:
    """Return where sums are asked for, on the device of the rows."""
    there = arrays.on_device_of(parameters, objective.facts.like)
    return objective.point(there, precision)


def steepest(objective: Objective, penalty: Penalty, point: Evaluation, slope: Array) -> Array:
    """Return the subgradient of least size in each weight (D, K): how far the slope is from 0."""
    weight, _ = objective.split(point.parameters)
    slopes, _ = objective.split(slope)
    cost = penalty.l1 * penalty.factors[:, None]
    if penalty.by_feature:
        lengths = penalty.lengths(weight)[:, None]
        moving = slopes + cost * weight / np.where(lengths > 0, lengths, 1.0)
        sizes = penalty.dual_lengths(slopes)[:, None]
        held = slopes * np.maximum(1 - cost / np.maximum(sizes, 1e-300), 0)
        return np.where(lengths > 0, moving, held)
    held = np.sign(slopes) * np.maximum(np.abs(slopes) - cost, 0)
    return np.where(weight != 0, slopes + cost * np.sign(weight), held)


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
                return watch.solution(point, "gap")
            point = yield from search.evaluate(point.parameters)
            continue
        step = yield from newton.step(point)
        if not watch.objective.is_penalised:
            watch.estimate = max(step.decrease / 2, 0.0)
            stopped = _end_without_cost(watch, point, tol)
            if stopped is not None:
                gap = np.inf if stopped == "separable" else watch.estimate
                return watch.solution(point, stopped, gap)
        exceeds_noise = newton.exceeds_noise(point, step)
        next_point = yield from newton.next_point(point, step)
        if next_point is not None:
            if watch.gap(next_point) > _GAINED_GAP * gap:
                newton.forget_curvature()
            point = next_point
            newton.lower_penalty()
        elif newton.may_damp(point, step) or newton.take_true_penalty():
            continue
        elif search.raise_precision():
            # Where its end could not be told from its beginning, a step is worth being looked at.
            point = yield from search.evaluate((point if exceeds_noise else step).parameters)
        elif not newton.look_again(point):
            if step.decrease / 2 <= 0.01 * tol * point.value:
                # Of so weak a penalty rounding leaves the bound loose: there is but the estimate.
                estimated = watch.solution(point, "decrement", max(step.decrease / 2, 0.0))
                return replace(estimated, proven=False)
            return watch.solution(point, "precision", _estimate(watch))
    watch.iteration = max_iter
    return watch.solution(point, "max_iter", _estimate(watch))


def _end_without_cost(watch: Watch, point: Evaluation, tol: float) -> Stopped | None:
    """Tell whether a fit whose weights cost nothing is over, where no dual point bounds the gap."""
    if watch.objective.facts.has_indices and point.worst_loss < np.log(2):
        # The weights times a growing factor bring the loss to 0, and no weights attain it.
        return "separable"
    return "decrement" if watch.estimate <= 0.01 * tol * point.value else None


def _estimate(watch: Watch) -> float | None:
    """Return the estimate of a gap that no dual point bounds; None where one does."""
    return None if watch.objective.is_penalised else watch.estimate
