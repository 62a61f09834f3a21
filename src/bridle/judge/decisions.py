"""What to do, given probabilities and what each mistake costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from bridle import checks
from bridle.judge.intervals import Interval, mean_interval, share_interval
from bridle.judge.kinds import AskedKind
from bridle.judge.outcomes import checked_weight, probability_blocks

Array = npt.NDArray[Any]


class Decisions(NamedTuple):
    """The best action of each sample, and what it is expected to cost."""

    action: Array  # (N,) of int
    expected_cost: Array  # (N,)


@dataclass(frozen=True)
class Threshold:
    """What calling samples positive from a probability on would do."""

    threshold: float
    positive: float  # the share that is called so
    precision: float
    precision_interval: Interval
    recall: float
    recall_interval: Interval
    cost: float  # mean
    cost_interval: Interval


def best_decisions(
    scores_or_probabilities: npt.ArrayLike,
    cost: npt.ArrayLike,
    *,
    kind: AskedKind = "auto",
) -> Decisions:
    """Return the action of the least expected cost for each sample.

    The expected cost of action a is ``Σ_c p_c cost[c, a]``: right as far as the probabilities are,
    which is what calibrating is for.

    Parameters
    ----------
    scores_or_probabilities : array_like, (N, C) or (N,)
        As in `bridle.evaluate`.
    cost : array_like, (C, A)
        What action a costs where class c is true; gains are below 0. With as many actions as
        classes, 0 on the diagonal and 1 elsewhere, the best action is the most probable class.
    kind
        As in `bridle.evaluate`.

    Returns
    -------
    Decisions
        Ties go to the first action.

    Raises
    ------
    InputError
        As `bridle.evaluate`; costs of another number of classes, or not finite.

    Examples
    --------
    >>> miss, alarm = 100.0, 1.0
    >>> best_decisions([[0.95, 0.05], [0.999, 0.001]], [[0.0, alarm], [miss, 0.0]])
    Decisions(action=array([1, 0]), expected_cost=array([0.95, 0.1 ]))
    """
    costs = checks.floating(cost, "cost").astype(np.float64)
    parts = []
    for _, probability in probability_blocks(scores_or_probabilities, kind):
        if costs.ndim != 2 or costs.shape[0] != probability.shape[1] or not costs.shape[1]:
            expected = f"shape ({probability.shape[1]}, actions)"
            raise checks.InputError.of("cost", expected=expected, found=costs.shape)
        checks.finite_rows(costs, "cost")
        parts.append(probability @ costs)
    expected_cost = np.concatenate(parts)
    action = expected_cost.argmin(axis=1)
    return Decisions(action, expected_cost[np.arange(len(action)), action])


def threshold_table(
    probability: npt.ArrayLike,
    positive: npt.ArrayLike,
    thresholds: npt.ArrayLike | None = None,
    *,
    miss_cost: float = 1.0,
    alarm_cost: float = 1.0,
    sample_weight: npt.ArrayLike | None = None,
) -> tuple[Threshold, ...]:
    """Return, for two classes, what each threshold would do.

    Parameters
    ----------
    probability : array_like, (N,)
        Of the positive class.
    positive : array_like of bool, (N,)
        Whether it is true.
    thresholds : array_like, optional
        From which probability on a sample is called positive; 0, 0.05, …, 1 if not given.
    miss_cost, alarm_cost : float
        What a positive that is not called so costs, and a negative that is.
    sample_weight : array_like, (N,), optional
        How much each sample counts, 0 or above: weight k is the same as k copies.

    Returns
    -------
    tuple of Threshold
        In the order of the thresholds. A share of nothing is NaN.

    Raises
    ------
    InputError
        Probabilities outside [0, 1], other lengths, no sample, costs below 0, weights that are
        no weights.

    Examples
    --------
    >>> table = threshold_table([0.1, 0.4, 0.6, 0.9], [False, True, False, True], [0.5])
    >>> table[0].precision, table[0].recall, table[0].cost
    (0.5, 0.5, 0.5)
    """
    sure = checks.floating(probability, "probability").astype(np.float64)
    if sure.ndim != 1 or not len(sure):
        raise checks.InputError.of("probability", expected="shape (N,), N ≥ 1", found=sure.shape)
    checks.unit_interval(sure, "probability")
    truth = np.asarray(positive, np.bool_)
    checks.same_shape(sure, truth, ("probability", "positive"))
    weight = checked_weight(sample_weight, len(sure))
    if weight is None:
        weight = np.ones(len(sure))
    counted = weight > 0
    sure, truth, weight = sure[counted], truth[counted], weight[counted]
    miss, alarm = (
        checks.at_least_zero(value, name)
        for value, name in ((miss_cost, "miss_cost"), (alarm_cost, "alarm_cost"))
    )
    wanted = (
        np.linspace(0, 1, 21) if thresholds is None else checks.floating(thresholds, "thresholds")
    )
    return tuple(
        _threshold(each, sure, truth, weight, miss, alarm)
        for each in np.atleast_1d(wanted).tolist()
    )


def _threshold(
    threshold: float, sure: Array, truth: Array, weight: Array, miss: float, alarm: float
) -> Threshold:
    called = sure >= threshold
    cost = miss * (truth & ~called) + alarm * (~truth & called)
    return Threshold(
        float(threshold),
        float(np.average(called, weights=weight)),
        *_share(truth[called], weight[called]),
        *_share(called[truth], weight[truth]),
        float(np.average(cost, weights=weight)),
        mean_interval(cost, sample_weight=weight),
    )


def _share(hits: Array, weight: Array) -> tuple[float, Interval]:
    if not weight.any():
        return float("nan"), Interval(0.0, 1.0)
    share = float(np.average(hits, weights=weight))
    return share, share_interval(hits, sample_weight=weight)
