"""Calibration: whether a confidence of 80 % comes true in 80 of 100 cases."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

from bridle import checks
from bridle.judge.intervals import Interval

Array = npt.NDArray[Any]

# Confidences that agree to this many decimals are equal: where a softmax rounds its last digit
# must not decide which bin a sample is in.
_DECIMALS = 12
_LEVEL = 0.95  # of the consistency band


@dataclass(frozen=True)
class ReliabilityBin:
    """Samples of neighbouring confidence: how sure they were, and how often right."""

    count: float  # an integer, unless samples have weights
    lowest: float
    highest: float
    confidence: float
    accuracy: float


def reliability_table(
    confidence: npt.ArrayLike,
    correct: npt.ArrayLike,
    *,
    bins: int = 15,
    sample_weight: npt.ArrayLike | None = None,
) -> tuple[ReliabilityBin, ...]:
    """Return bins of equal mass with their mean confidence and their accuracy.

    The sample at place ``i`` of N in ascending confidence belongs to bin ``⌊i · bins / N⌋``.
    Samples of equal confidence (to 12 decimals) are never parted: all take the place of their
    first. So the table depends neither on the samples' order nor on how often the whole set is
    repeated. Bins that are left empty, by ties or by N < bins, are left out. With weights a sample
    takes as many places as it weighs: weight k is the same as k copies.

    Parameters
    ----------
    confidence : array_like, (N,)
        The probability of the predicted class.
    correct : array_like of bool, (N,)
        Whether the prediction was right.
    bins : int
        How many bins, 1 or more.
    sample_weight : array_like, (N,), optional
        How often each sample counts, 0 or above, for a sum above 0.

    Returns
    -------
    tuple of ReliabilityBin
        In ascending confidence: ``count`` (or sum of the weights), ``lowest`` and ``highest``
        confidence, mean ``confidence``, ``accuracy``.

    Raises
    ------
    InputError
        No sample, different lengths, a confidence outside [0, 1], weights that do not fit, or no
        bin.

    Examples
    --------
    >>> for row in reliability_table([0.5, 1.0, 0.5, 0.75], [False, True, True, True], bins=2):
    ...     print(row)
    ReliabilityBin(count=2, lowest=0.5, highest=0.5, confidence=0.5, accuracy=0.5)
    ReliabilityBin(count=2, lowest=0.75, highest=1.0, confidence=0.875, accuracy=1.0)

    References
    ----------
    J. Nixon et al., *Measuring Calibration in Deep Learning*, CVPR Workshops, 2019 (bins of equal
    mass).
    """
    return binned(confidence, correct, bins, sample_weight).table


class Binned(NamedTuple):
    """A reliability table, and the rows that it is made of, in ascending confidence."""

    table: tuple[ReliabilityBin, ...]
    rows: Array  # their numbers; those of weight 0 are left out
    bin: Array
    correct: Array
    weight: Array


def binned(
    confidence: npt.ArrayLike,
    correct: npt.ArrayLike,
    bins: int = 15,
    sample_weight: npt.ArrayLike | None = None,
) -> Binned:
    """Return the bins of `reliability_table` with their rows."""
    sure, right, weight, rows = _checked(confidence, correct, sample_weight, bins)
    order = np.argsort(sure, kind="stable")
    sure, right, weight = sure[order], right[order], weight[order]
    starts = _bin_starts(sure, bins, weight)
    counts = np.add.reduceat(weight, starts)
    columns = (
        counts,
        sure[starts],
        sure[np.append(starts[1:], len(sure)) - 1],
        np.add.reduceat(sure * weight, starts) / counts,
        np.add.reduceat(right * weight, starts) / counts,
    )
    table = tuple(ReliabilityBin(*row) for row in zip(*(c.tolist() for c in columns), strict=True))
    bin_of = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(sure)))
    return Binned(table, rows[order], bin_of, right, weight)


def expected_calibration_error(
    confidence: npt.ArrayLike,
    correct: npt.ArrayLike,
    *,
    bins: int = 15,
    sample_weight: npt.ArrayLike | None = None,
) -> float:
    """Return the mean gap between confidence and accuracy: ``Σ_b n_b/N |accuracy_b − conf_b|``.

    Parameters
    ----------
    confidence, correct, bins, sample_weight
        As in `reliability_table`, whose bins are taken.

    Returns
    -------
    float
        In [0, 1]; 0 is perfectly calibrated.

    Raises
    ------
    InputError
        As `reliability_table`.

    Examples
    --------
    >>> expected_calibration_error([0.5, 0.5, 1.0], [True, False, True])
    0.0

    References
    ----------
    M. P. Naeini, G. Cooper, M. Hauskrecht, *Obtaining Well Calibrated Probabilities Using Bayesian
    Binning*, AAAI, 2015. C. Guo et al., *On Calibration of Modern Neural Networks*, ICML, 2017.
    """
    table = reliability_table(confidence, correct, bins=bins, sample_weight=sample_weight)
    return table_error(table)


def table_error(table: tuple[ReliabilityBin, ...]) -> float:
    """Return the calibration error that a reliability table shows."""
    gaps = sum(row.count * abs(row.accuracy - row.confidence) for row in table)
    return gaps / sum(row.count for row in table)


def consistency_band(table: tuple[ReliabilityBin, ...]) -> tuple[Interval, ...]:
    """Return where the accuracy of each bin would lie, were its confidence true.

    In a bin of ``n`` samples of mean confidence ``c``, a calibrated model is right in about
    ``Binomial(n, c)`` of them: the band is the central 95 % of that, divided by ``n``. It is a
    little too wide where confidences differ within a bin.

    Parameters
    ----------
    table : tuple of ReliabilityBin
        As from `reliability_table`. A sum of weights is rounded to a whole number of samples, at
        least one.

    Returns
    -------
    tuple of Interval
        For each bin the lowest and the highest accuracy, in [0, 1].

    Examples
    --------
    >>> table = reliability_table([0.5] * 10, [True] * 9 + [False])
    >>> [(round(low, 1), round(high, 1)) for low, high in consistency_band(table)]
    [(0.2, 0.8)]

    References
    ----------
    J. Bröcker, L. A. Smith, *Increasing the Reliability of Reliability Diagrams*, Weather and
    Forecasting, 2007.
    """
    counts = np.maximum(1, np.rint([row.count for row in table]))
    chances = np.clip([row.confidence for row in table], 0, 1)  # a mean may round to above 1
    low, high = stats.binom.interval(_LEVEL, counts, chances)
    bands = zip((low / counts).tolist(), (high / counts).tolist(), strict=True)
    return tuple(Interval(*each) for each in bands)


def checked_confidence(
    confidence: npt.ArrayLike, correct: npt.ArrayLike, sample_weight: npt.ArrayLike | None
) -> tuple[Array, Array, Array]:
    """Return confidences, whether they were right, and weights, of the samples that count."""
    return _checked(confidence, correct, sample_weight, 1)[:3]


def _checked(
    confidence: npt.ArrayLike,
    correct: npt.ArrayLike,
    sample_weight: npt.ArrayLike | None,
    bins: int,
) -> tuple[Array, Array, Array, Array]:
    """Return the samples that count, and their numbers."""
    sure = checks.floating(confidence, "confidence").astype(np.float64)
    checks.unit_interval(sure, "confidence")
    right = np.asarray(correct, np.bool_)
    checks.same_shape(sure, right, ("confidence", "correct"))
    if sure.ndim != 1 or sure.size == 0:
        raise checks.InputError.of("confidence", expected="shape (N,), N ≥ 1", found=sure.shape)
    if bins < 1:
        raise checks.InputError.of("bins", expected="1 or more", found=bins)
    if sample_weight is None:
        rows = np.arange(len(sure))
        return sure, right.astype(np.float64), np.ones(sure.shape, np.int64), rows
    weight = checks.weights(sample_weight, "sample_weight", sure.shape, check=True)
    rows = np.flatnonzero(weight > 0)
    if not len(rows):
        raise checks.InputError.of("sample_weight", expected="one above 0", found="none")
    return sure[rows], right[rows].astype(np.float64), weight[rows], rows


def _bin_starts(ascending: Array, bins: int, weight: Array) -> Array:
    """Return the places where a bin begins, of confidences in ascending order."""
    ends = weight.cumsum()
    rounded = ascending.round(_DECIMALS)
    is_first = np.diff(rounded, prepend=-np.inf) > 0
    first_of_equals = np.maximum.accumulate(np.where(is_first, ends - weight, 0))
    # A last sample of next to no weight may round up to the very end.
    bin_of = np.minimum(first_of_equals * bins // ends[-1], bins - 1)
    return np.flatnonzero(np.diff(bin_of, prepend=-1))
