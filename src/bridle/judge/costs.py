"""What answers are worth where mistakes cost differently: decisions, and what they cost."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bridle import checks
from bridle.judge.decisions import Decisions, Threshold, best_decisions, threshold_table
from bridle.judge.intervals import Interval, group_numbers, mean_interval, mean_intervals
from bridle.judge.kinds import AskedKind
from bridle.judge.outcomes import checked_weight, labels_and_target, probability_blocks

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class ActionFigures:
    """One action: how often it is best, what it was expected to cost then, and what it did."""

    action: checks.Label
    samples: int
    expected_cost: float  # NaN where it is never best
    cost: float
    cost_interval: Interval


@dataclass(frozen=True)
class DecisionFigures:
    """What the best decisions cost; made by `decision_figures`. Costs are means of all samples.

    Attributes
    ----------
    expected_cost : float
        What the decisions cost if the probabilities are right.
    cost, cost_interval : float, Interval
        What they did cost, of samples that are known. Far from what was expected, the
        probabilities are not calibrated.
    most_probable_cost, most_probable_cost_interval : float, Interval or None
        What deciding for the most probable class costs; None where actions are no classes.
    constant_action, constant_cost : label, float
        The best of all actions that look at no sample, and its cost.
    per_action : tuple of ActionFigures
    best_threshold : float or None
        For two classes: the probability of the second from which on it costs less to call it.
    thresholds : tuple of Threshold
        For two classes: what each threshold would do, what right calls cost set aside.
    """

    expected_cost: float
    cost: float
    cost_interval: Interval
    most_probable_cost: float | None
    most_probable_cost_interval: Interval | None
    constant_action: checks.Label
    constant_cost: float
    per_action: tuple[ActionFigures, ...]
    best_threshold: float | None
    thresholds: tuple[Threshold, ...]


def decision_figures(
    scores_or_probabilities: npt.ArrayLike,
    target: npt.ArrayLike | Iterable[object],
    cost: npt.ArrayLike,
    *,
    classes: Iterable[object] | None = None,
    actions: Sequence[checks.Label] | None = None,
    kind: AskedKind = "auto",
    sample_weight: npt.ArrayLike | None = None,
    groups: npt.ArrayLike | None = None,
) -> DecisionFigures:
    """Return what the decisions of least expected cost did cost.

    Parameters
    ----------
    scores_or_probabilities, target, classes, kind, sample_weight, groups
        As in `bridle.evaluate`.
    cost : array_like, (C, A)
        What action a costs where class c is true, as in `best_decisions`.
    actions : sequence of A labels, optional
        What the columns are; the classes if not given and there are as many.

    Returns
    -------
    DecisionFigures

    Raises
    ------
    InputError, TargetRangeError
        As `bridle.evaluate` and `best_decisions`; another number of actions.

    Examples
    --------
    >>> answers = [[0.95, 0.05], [0.999, 0.001], [0.2, 0.8]]
    >>> found = decision_figures(answers, [0, 0, 1], [[0.0, 1.0], [100.0, 0.0]])
    >>> round(found.expected_cost, 2), round(found.cost, 2), round(found.best_threshold, 4)
    (0.42, 0.33, 0.0099)
    """
    labels, indices = labels_and_target(scores_or_probabilities, target, classes)
    costs = checks.floating(cost, "cost").astype(np.float64)
    decided = best_decisions(scores_or_probabilities, costs, kind=kind)
    names = _names(actions, labels, costs.shape[1])
    given = checked_weight(sample_weight, len(indices))
    weight = np.ones(len(indices)) if given is None else given
    told: dict[str, Any] = {"sample_weight": weight, "groups": groups}
    seen = costs[indices, decided.action]
    constant = np.average(costs[indices], axis=0, weights=weight)
    likely, best, thresholds = None, None, tuple[Threshold, ...]()
    if names == labels:
        likely = costs[indices, _most_probable(scores_or_probabilities, kind)]
        if len(names) == 2:
            best, thresholds = _thresholds(scores_or_probabilities, indices, costs, kind, weight)
    return DecisionFigures(
        expected_cost=float(np.average(decided.expected_cost, weights=weight)),
        cost=float(np.average(seen, weights=weight)),
        cost_interval=mean_interval(seen, **told),
        most_probable_cost=None if likely is None else float(np.average(likely, weights=weight)),
        most_probable_cost_interval=None if likely is None else mean_interval(likely, **told),
        constant_action=names[int(constant.argmin())],
        constant_cost=float(constant.min()),
        per_action=_per_action(names, decided, seen, weight, group_numbers(groups, len(indices))),
        best_threshold=best,
        thresholds=thresholds,
    )


def _most_probable(answers: npt.ArrayLike, kind: AskedKind) -> Array:
    return np.concatenate([block.argmax(axis=1) for _, block in probability_blocks(answers, kind)])


def _per_action(
    names: Sequence[checks.Label],
    decided: Decisions,
    seen: Array,
    weight: Array,
    places: Array | None,
) -> tuple[ActionFigures, ...]:
    rows = np.flatnonzero(weight > 0)
    action, weight = decided.action[rows], weight[rows]
    groups = None if places is None else places[rows]
    count = len(names)
    total = np.bincount(action, weight, count)
    with np.errstate(invalid="ignore", divide="ignore"):
        expected, cost = (
            np.bincount(action, weight * each[rows], count) / total
            for each in (decided.expected_cost, seen)
        )
    samples = np.bincount(action, minlength=count)
    intervals = mean_intervals(seen[rows], weight, groups, action, count)
    columns = (samples.tolist(), expected.tolist(), cost.tolist(), intervals)
    return tuple(ActionFigures(*row) for row in zip(names, *columns, strict=True))


def _names(
    actions: Sequence[checks.Label] | None, labels: tuple[checks.Label, ...], count: int
) -> tuple[checks.Label, ...]:
    if actions is None:
        return labels if count == len(labels) else tuple(range(count))
    names = checks.class_labels(actions, count)
    # The classes in another order are no other actions, but columns in a wrong place.
    if names != labels and set(names) == set(labels):
        raise checks.InputError.of(
            "actions", expected="the classes in their order, or other labels", found=list(names)
        )
    return names


def _thresholds(
    answers: npt.ArrayLike, indices: Array, costs: Array, kind: AskedKind, weight: Array
) -> tuple[float | None, tuple[Threshold, ...]]:
    """Return from which probability on calling the second class costs less, and the table."""
    alarm, miss = costs[0, 1] - costs[0, 0], costs[1, 0] - costs[1, 1]
    if alarm < 0 or miss < 0 or alarm + miss == 0:
        return None, ()  # a wrong call that costs less than the right one: nothing to weigh up
    second = np.concatenate([block[:, 1] for _, block in probability_blocks(answers, kind)])
    table = threshold_table(
        np.clip(second, 0, 1),
        indices == 1,
        miss_cost=float(miss),
        alarm_cost=float(alarm),
        sample_weight=weight,
    )
    return float(alarm / (alarm + miss)), table
