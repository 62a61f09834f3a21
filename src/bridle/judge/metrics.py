"""Counts of right and wrong, per class and in all; the Brier score; what a plain guess costs."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import special

from bridle import checks
from bridle.judge.intervals import Interval, mean_intervals, share_intervals
from bridle.judge.kinds import AskedKind
from bridle.judge.outcomes import Outcomes, row_outcomes

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class ClassFigures:
    """One class: how often it occurs, what it costs, and how well it is told from the others.

    An interval of an undefined loss is NaN; of an undefined share, 0 to 1.
    """

    label: checks.Label
    support: float  # an integer, unless samples have weights
    loss: float
    precision: float
    recall: float
    loss_interval: Interval
    precision_interval: Interval
    recall_interval: Interval


def confusion_matrix(
    target: npt.ArrayLike,
    predicted: npt.ArrayLike,
    classes: int,
    *,
    sample_weight: npt.ArrayLike | None = None,
) -> Array:
    """Count how often class ``i`` was predicted as class ``j``.

    Parameters
    ----------
    target, predicted : array_like of int, (N,)
        Class indices in ``[0, classes)``.
    classes : int
        ``C``; the matrix takes ``8 C²`` bytes.
    sample_weight : array_like, (N,), optional
        How often each sample counts, 0 or above.

    Returns
    -------
    ndarray, (C, C)
        Rows are targets, columns predictions; the diagonal is right. Counts in int64, or sums of
        weights in float64.

    Raises
    ------
    TargetRangeError
        An index outside ``[0, classes)``.
    InputError
        Indices that are no integers, or of two lengths; weights that do not fit.

    Examples
    --------
    >>> confusion_matrix([0, 0, 1], [0, 1, 1], classes=2)
    array([[1, 1],
           [0, 1]])
    """
    rows = checks.class_indices(target, np.size(target), classes)
    columns = checks.class_indices(predicted, len(rows), classes, name="predicted")
    weight = sample_weight
    if weight is not None:
        weight = checks.weights(weight, "sample_weight", rows.shape, check=True)
    counts = np.bincount(rows * classes + columns, weight, minlength=classes * classes)
    return counts.reshape(classes, classes)


def brier_score(
    scores_or_probabilities: npt.ArrayLike,
    target: npt.ArrayLike | Iterable[object],
    *,
    classes: Iterable[object] | None = None,
    kind: AskedKind = "auto",
    sample_weight: npt.ArrayLike | None = None,
) -> float:
    """Return the Brier score ``1/N Σ_n Σ_c (p_nc − y_nc)²``, ``y`` the target as one-hot.

    For two classes it is twice the one-column score that scikit-learn's ``brier_score_loss`` gives.

    Parameters
    ----------
    scores_or_probabilities, target, classes, kind, sample_weight
        As in `bridle.evaluate`; with weights ``Σ_n w_n Σ_c (p_nc − y_nc)² / Σ_n w_n``.

    Returns
    -------
    float
        0 is best, 2 is worst.

    Raises
    ------
    InputError, TargetRangeError
        As `bridle.evaluate`.

    Examples
    --------
    >>> round(brier_score([[0.1, 0.9], [0.5, 0.5]], [1, 0]), 12)
    0.26

    References
    ----------
    G. W. Brier, *Verification of forecasts expressed in terms of probability*, Monthly Weather
    Review, 1950.
    """
    outcomes = row_outcomes(
        scores_or_probabilities, target, classes=classes, kind=kind, sample_weight=sample_weight
    )
    return outcomes.mean(outcomes.squared_error)


def uniform_cross_entropy(classes: int) -> float:
    """Return what guessing every class alike costs: ``log C`` nats."""
    return math.log(classes)


def class_frequency_cross_entropy(target: Array, sample_weight: Array | None = None) -> float:
    """Return what guessing the targets' own frequencies costs: their entropy in nats."""
    counts = np.bincount(target, sample_weight)
    return float(special.entr(counts / counts.sum()).sum())


def class_figures(outcomes: Outcomes, places: Array | None = None) -> tuple[ClassFigures, ...]:
    """Return each class's support, mean surprisal in nats, precision and recall, with intervals.

    ``precision = hits / predicted`` and ``recall = hits / support``. A ratio of nothing to nothing
    (a class never predicted, or without samples) is NaN: it is undefined, not bad. With weights,
    of rows that count, each number of samples is the sum of theirs. ``places`` are the numbers of
    the rows' groups.
    """
    count, right, weight = len(outcomes.classes), outcomes.correct, outcomes.sample_weight
    support = np.bincount(outcomes.target, weight, minlength=count)
    predicted = np.bincount(outcomes.predicted, weight, minlength=count)
    hits = np.bincount(
        outcomes.target[right], None if weight is None else weight[right], minlength=count
    )
    losses = outcomes.surprisal if weight is None else outcomes.surprisal * weight
    total_loss = np.bincount(outcomes.target, losses, minlength=count)
    with np.errstate(invalid="ignore"):
        columns = (total_loss / support, hits / predicted, hits / support)
    weights = np.ones(len(right)) if weight is None else weight
    hit = right.astype(np.float64)
    intervals = (
        mean_intervals(outcomes.surprisal, weights, places, outcomes.target, count),
        share_intervals(hit, weights, places, outcomes.predicted, count),
        share_intervals(hit, weights, places, outcomes.target, count),
    )
    intervals[0][:] = [each.above_zero() for each in intervals[0]]
    values = (column.tolist() for column in columns)
    figures = zip(outcomes.classes, support.tolist(), *values, *intervals, strict=True)
    return tuple(ClassFigures(*row) for row in figures)
