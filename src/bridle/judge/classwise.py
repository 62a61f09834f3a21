"""Calibration class by class: whether what gets 30 % comes true in 30 of 100 cases, for each class.

The confidence of the predicted class can come true while a rare class is always given twice what
it is worth. Each class is judged against the rest: by the probability that every sample was given
for it, and by whether the sample is of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bridle import checks
from bridle.judge.calibration import ReliabilityBin, binned, table_error
from bridle.judge.calibration_bounds import by_chance
from bridle.judge.intervals import Interval
from bridle.judge.kinds import AskedKind
from bridle.judge.outcomes import checked_weight, labels_and_target, probability_columns

Array = npt.NDArray[Any]

_MOST_BINS = 15


@dataclass(frozen=True)
class ClassCalibration:
    """How true the probabilities of one class are; made by `class_calibration`.

    Attributes
    ----------
    label : label
    mean_probability, frequency : float
        What the class was given on average, and how often it came.
    error : float
        ``Σ_b n_b/N |frequency_b − probability_b|`` over the bins.
    error_by_chance : Interval
        Where the error of calibrated probabilities would lie, in 95 of 100 cases.
    reliability : tuple of ReliabilityBin
        ``confidence`` is the mean probability of the class in the bin, ``accuracy`` its frequency.
    """

    label: checks.Label
    mean_probability: float
    frequency: float
    error: float
    error_by_chance: Interval
    reliability: tuple[ReliabilityBin, ...]


def class_calibration(
    scores_or_probabilities: npt.ArrayLike,
    target: npt.ArrayLike | Iterable[object],
    *,
    classes: Iterable[object] | None = None,
    kind: AskedKind = "auto",
    bins: int | None = None,
    sample_weight: npt.ArrayLike | None = None,
) -> tuple[ClassCalibration, ...]:
    """Return for each class how true its probabilities are, over bins of equal mass.

    The mean of the errors is the class-wise calibration error. Columns are taken a few at a time,
    so that beside the input no more than some megabytes are needed, or a few columns.

    Parameters
    ----------
    scores_or_probabilities, target, classes, kind
        As in `bridle.evaluate`.
    bins : int, optional
        How many bins a class has at most: the cube root of the number of samples, rounded, between
        1 and 15, if not given.
    sample_weight : array_like, (N,), optional
        Weight k is the same as k copies.

    Returns
    -------
    tuple of ClassCalibration
        One for each class in the order of the columns, those without samples too.

    Raises
    ------
    InputError, TargetRangeError
        As `bridle.evaluate`; fewer than one bin.

    Examples
    --------
    >>> answers = [[0.8, 0.2], [0.8, 0.2], [0.2, 0.8], [0.2, 0.8]]
    >>> for found in class_calibration(answers, ["no", "no", "yes", "yes"], classes=["no", "yes"]):
    ...     print(found.label, found.frequency, round(found.error, 12))
    no 0.5 0.2
    yes 0.5 0.2

    References
    ----------
    M. Kull et al., *Beyond temperature scaling: Obtaining well-calibrated multiclass probabilities
    with Dirichlet calibration*, NeurIPS, 2019. J. Nixon et al., *Measuring Calibration in Deep
    Learning*, CVPR Workshops, 2019 (bins of equal mass).
    """
    labels, indices = labels_and_target(scores_or_probabilities, target, classes)
    weight = checked_weight(sample_weight, len(indices))
    if bins is None:
        bins = _bins_for(float(len(indices) if weight is None else weight.sum()))
    found = []
    for first, block in probability_columns(scores_or_probabilities, kind):
        for place, column in enumerate(block.T, first):
            table = binned(column, indices == place, bins, weight).table
            found.append(_figures(labels[place], table))
    return tuple(found)


def _bins_for(samples: float) -> int:
    """Return how many bins suit a number of samples: more would tell chance, fewer hide faults."""
    return int(min(_MOST_BINS, max(1, round(samples ** (1 / 3)))))


def _figures(label: checks.Label, table: tuple[ReliabilityBin, ...]) -> ClassCalibration:
    shares = np.array([row.count for row in table], np.float64)
    shares /= shares.sum()
    return ClassCalibration(
        label,
        float(shares @ [row.confidence for row in table]),
        float(shares @ [row.accuracy for row in table]),
        table_error(table),
        by_chance(table),
        table,
    )
