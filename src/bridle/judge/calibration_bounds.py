r"""How far a calibration error is from the truth, and what chance alone would show.

The error ``Σ_b n_b/N |accuracy_b − confidence_b|`` adds up distances, and chance makes each of them
larger than 0: few samples of a calibrated model show an error too, and an ordinary bootstrap would
add that chance a second time. So two things are told instead. Both draw, with a seed, the
accuracies that bins of these sizes could have shown, which vary about the true accuracy a with the
variance ``a (1 − a) / n_b``.

- *If calibrated*: where the error of a calibrated model with the same confidences would lie. An
  error within says nothing against the model.
- *Interval*: the true errors under which what was seen is nothing unusual: neither above nor below
  95 of 100 draws. The true gaps of the bins are taken for the seen ones, all times one factor; its
  lower end is 0 where the error is within the band of a calibrated model. It is about the error in
  these bins: what goes up and down within a bin is not in it, nor in the figure.

Rows of one group are not independent: a bin then counts as many rows as would have the same
standard error, and bins vary together as they do from group to group.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import optimize, sparse

from bridle.judge.calibration import Binned, ReliabilityBin, binned, table_error
from bridle.judge.intervals import Interval, group_numbers

Array = npt.NDArray[Any]

_TAIL = 0.025  # on either side of 95 %
_DRAWS = 500  # and as many mirrored
_MOST_DOUBLINGS = 10
_PRECISION = 1e-13  # of a factor
_FEWEST_ROWS, _MOST_ROWS = 1e-6, 1e18  # whose standard error is a number


class CalibrationBounds(NamedTuple):
    """What is known of a calibration error; made by `calibration_error_bounds`."""

    interval: Interval  # of the true error
    if_calibrated: Interval  # of the error that a calibrated model would show


def calibration_error_bounds(
    confidence: npt.ArrayLike,
    correct: npt.ArrayLike,
    *,
    bins: int = 15,
    sample_weight: npt.ArrayLike | None = None,
    groups: npt.ArrayLike | None = None,
    random_state: int = 0,
) -> CalibrationBounds:
    """Return where the true calibration error lies, and what a calibrated model would show.

    Parameters
    ----------
    confidence, correct, bins, sample_weight
        As in `reliability_table`, whose bins are taken.
    groups : array_like, (N,), optional
        Which rows belong together, as those of one patient.
    random_state : int
        Decides the draws.

    Returns
    -------
    CalibrationBounds
        ``interval`` and ``if_calibrated``, each for 95 of 100 cases: see
        `bridle.judge.calibration_bounds`.

    Raises
    ------
    InputError
        As `reliability_table`; groups of another number.

    Examples
    --------
    >>> random = np.random.default_rng(0)
    >>> confidence = random.uniform(0.5, 1, 1000)
    >>> correct = random.random(1000) < confidence
    >>> found = calibration_error_bounds(confidence, correct)
    >>> found.interval.low, round(found.if_calibrated.high, 2)
    (0.0, 0.05)
    >>> too_sure = calibration_error_bounds(confidence, random.random(1000) < confidence - 0.2)
    >>> too_sure.interval.low > 0.1
    True

    References
    ----------
    J. Bröcker, L. A. Smith, *Increasing the Reliability of Reliability Diagrams*, 2007 (the band).
    """
    found = binned(confidence, correct, bins, sample_weight)
    places = group_numbers(groups, np.size(np.asarray(correct)))
    return bounds_of(found, places, random_state)


def by_chance(table: tuple[ReliabilityBin, ...], random_state: int = 0) -> Interval:
    """Return where the error of a calibrated model with the bins of a table would lie.

    Of binomial draws: also of a rare class, of which a bin expects less than one sample.
    """
    counts = np.array([row.count for row in table], np.float64)
    chances = np.clip([row.confidence for row in table], 0, 1)
    rows = np.clip(np.rint(counts), 1, _MOST_ROWS).astype(np.int64)
    random = np.random.default_rng(random_state)
    # Bin by bin: what a draw needs to know of one is worked out once.
    bins = zip(rows.tolist(), chances.tolist(), strict=True)
    drawn = np.stack([random.binomial(*each, 2 * _DRAWS) for each in bins], axis=1) / rows
    errors = np.abs(drawn - chances) @ (counts / counts.sum())
    return Interval(*np.quantile(errors, (_TAIL, 1 - _TAIL)).tolist())


def bounds_of(found: Binned, places: Array | None, random_state: int = 0) -> CalibrationBounds:
    """Return the bounds of binned rows; ``places`` are the groups of all rows, weightless too."""
    counts, confidence, accuracy = (
        np.array([getattr(row, name) for row in found.table], np.float64)
        for name in ("count", "confidence", "accuracy")
    )
    chance = np.random.default_rng(random_state).standard_normal((_DRAWS, len(counts)))
    rows = counts
    if places is not None:
        rows, together = _as_groups(found, places[found.rows], counts, accuracy)
        chance = chance @ together
    chance = np.concatenate([chance, -chance])
    room = np.empty_like(chance)
    shares = counts / counts.sum()
    gaps = accuracy - confidence
    if not gaps.any():  # in whichever direction there is room
        gaps = np.where(confidence < 0.5, 1.0, -1.0)

    def true_accuracy(factor: float) -> Array:
        return np.clip(confidence + factor * gaps, 0, 1)

    def true_error(factor: float) -> float:
        return float(np.abs(true_accuracy(factor) - confidence) @ shares)

    def seen(factor: float, share: float) -> float:
        truth = true_accuracy(factor)
        spread = np.sqrt(truth * (1 - truth) / np.maximum(rows, _FEWEST_ROWS))
        drawn = np.multiply(chance, spread, out=room)
        drawn += truth
        np.clip(drawn, 0, 1, out=drawn)
        drawn -= confidence
        errors = np.abs(drawn, out=drawn) @ shares
        place = round(share * (len(errors) - 1))
        return float(np.partition(errors, place)[place])

    error = table_error(found.table)
    # Accuracies are whole numbers of hits: as in a correction for continuity.
    step = np.sqrt(len(counts)) / (2 * counts.sum())
    band = Interval(seen(0, _TAIL), seen(0, 1 - _TAIL))
    if places is None:
        band = by_chance(found.table, random_state)
    lowest = 0.0
    if error > band.high:
        lowest = _root(lambda factor: seen(factor, 1 - _TAIL) - (error - step))
    highest = _root(lambda factor: seen(factor, _TAIL) - (error + step))
    return CalibrationBounds(
        Interval(min(error, true_error(lowest)), max(error, true_error(highest))), band
    )


def _root(excess: Callable[[float], float]) -> float:
    """Return the factor of the seen gaps from which on something is exceeded."""
    if excess(0) >= 0:
        return 0.0
    low, high = 0.0, 1.0
    for _ in range(_MOST_DOUBLINGS):
        if excess(high) >= 0:
            return float(optimize.brentq(excess, low, high, xtol=_PRECISION))
        low, high = high, 2 * high
    return high


def _as_groups(found: Binned, places: Array, counts: Array, accuracy: Array) -> tuple[Array, Array]:
    """Return how many rows each bin is worth, and what makes draws of bins vary together."""
    groups = np.unique(places, return_inverse=True)[1]
    away = found.weight * (found.correct - accuracy[found.bin])
    shape = (groups.max() + 1, len(counts))
    # Few of a million groups have rows in every bin.
    sums = sparse.coo_array((away, (groups, found.bin)), shape).tocsr()
    number = np.bincount(np.unique(groups * len(counts) + found.bin) % len(counts))
    together = np.asarray((sums.T @ sums).todense(), np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = np.diag(together) / counts**2 * number / (number - 1)
        rows = np.where(variance > 0, accuracy * (1 - accuracy) / variance, number)
        spread = np.sqrt(np.diag(together))
        alike = together / np.outer(spread, spread)
    rows = np.where(number > 1, np.minimum(rows, counts), _FEWEST_ROWS)
    alike = np.where(np.isfinite(alike), alike, 0.0)
    np.fill_diagonal(alike, 1.0)
    values, vectors = np.linalg.eigh(alike)
    return rows, (vectors * np.sqrt(np.maximum(values, 0))).T
