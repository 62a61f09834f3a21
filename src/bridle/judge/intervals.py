r"""How far a mean of rows may be from what more rows would give.

With the weighted mean ``μ = Σ w x / W`` and ``W = Σ w``, its standard error is

    se = √(Σ w (x − μ)² / (W (W − 1)))

and the interval ``μ ± t se`` with Student's t of W − 1 degrees: weight k is the same as k copies,
so that weights whose sum is 1 are one row, which tells nothing of how others differ. Rows of one of
G groups (a patient's scans, a document's sentences) are not independent: their deviations
``d = Σ w (x − μ)`` are summed first, and ``se = √(G / (G − 1) Σ d²) / W``. A share of yes and no
has Wilson's interval, which holds at 0 and 1.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import special

from bridle import checks

Array = npt.NDArray[Any]

_NORMAL = 1e8  # degrees of freedom from which Student's t is the normal distribution


class Interval(NamedTuple):
    """Where the value of ever more such rows would lie, in 95 of 100 cases unless said."""

    low: float
    high: float

    def above_zero(self, most: float = math.inf) -> Interval:
        """Return the part of it where a loss can be, which is 0 to ``most``; NaN as it is.

        >>> Interval(-0.5, 2.5).above_zero(2.0)
        Interval(low=0.0, high=2.0)
        """
        return self if math.isnan(self.low) else Interval(max(0.0, self.low), min(most, self.high))


def mean_interval(
    values: npt.ArrayLike,
    *,
    sample_weight: npt.ArrayLike | None = None,
    groups: npt.ArrayLike | None = None,
    level: float = 0.95,
) -> Interval:
    """Return an interval for the mean of one number per row.

    Parameters
    ----------
    values : array_like, (N,)
        Real numbers; infinite ones make the interval infinite too.
    sample_weight : array_like, (N,), optional
        Weight k is the same as k copies; rows of weight 0 are not there.
    groups : array_like, (N,), optional
        Which rows belong together: labels of any kind.
    level : float
        How often such intervals should hold, in (0, 1).

    Returns
    -------
    Interval
        (−∞, ∞) for a single row or group, of which nothing tells how others differ.

    Raises
    ------
    InputError
        Lengths that do not fit, NaN, no row, weights that are no weights, a level outside (0, 1).

    Examples
    --------
    >>> low, high = mean_interval([1.0, 2.0, 3.0, 4.0])
    >>> round(low, 3), round(high, 3)
    (0.446, 4.554)
    """
    x, weight, places = _checked(values, sample_weight, groups)
    return mean_intervals(x, weight, places, np.zeros(len(x), np.intp), 1, level)[0]


def share_interval(
    hits: npt.ArrayLike,
    *,
    sample_weight: npt.ArrayLike | None = None,
    groups: npt.ArrayLike | None = None,
    level: float = 0.95,
) -> Interval:
    """Return Wilson's interval for the share of rows that are true.

    With groups, of as many rows as would have the same standard error.

    Parameters
    ----------
    hits : array_like of bool, (N,)
    sample_weight, groups, level
        As in `mean_interval`.

    Examples
    --------
    >>> low, high = share_interval([True] * 10)
    >>> round(low, 3), high
    (0.722, 1.0)

    References
    ----------
    E. B. Wilson, *Probable inference, the law of succession, and statistical inference*, 1927.
    """
    x, weight, places = _checked(np.asarray(hits, np.float64), sample_weight, groups)
    return share_intervals(x, weight, places, np.zeros(len(x), np.intp), 1, level)[0]


def mean_intervals(
    x: Array, weight: Array, places: Array | None, part: Array, parts: int, level: float = 0.95
) -> list[Interval]:
    """Return `mean_interval` of each part of the rows: a class, for example.

    ``part`` (N,) numbers them; ``places`` (N,) are the numbers of groups. Of no rows it is NaN.
    """
    quantile = _upper_share(level)
    endless = np.isinf(x)
    if endless.any():
        infinite = np.full(parts, np.nan)
        infinite[part[x == -math.inf]] = -math.inf
        infinite[part[x == math.inf]] = math.inf
        finite = mean_intervals(np.where(endless, 0, x), weight, places, part, parts, level)
        return [
            found if math.isnan(end) else Interval(end, end)
            for found, end in zip(finite, infinite.tolist(), strict=True)
        ]
    mean, error, count = _means(x, weight, places, part, parts)
    with np.errstate(invalid="ignore"):
        reach = special.stdtrit(np.clip(count - 1, 0, _NORMAL), quantile) * error
    reach = np.where(np.isfinite(error), reach, np.where(np.isnan(mean), np.nan, math.inf))
    return [
        Interval(*ends)
        for ends in zip((mean - reach).tolist(), (mean + reach).tolist(), strict=True)
    ]


def share_intervals(
    x: Array, weight: Array, places: Array | None, part: Array, parts: int, level: float = 0.95
) -> list[Interval]:
    """Return `share_interval` of each part, as `mean_intervals`. Of no rows it is 0 to 1."""
    z = float(special.ndtri(_upper_share(level)))
    share, error, count = _means(x, weight, places, part, parts)
    worth: Array = count
    if places is not None:
        with np.errstate(divide="ignore", invalid="ignore"):
            worth = np.where(error > 0, share * (1 - share) / error**2, count)
    # Whose squares are numbers.
    effective = np.clip(np.nan_to_num(np.minimum(worth, count)), 1e-6, 1e18)
    centre = (share + z**2 / (2 * effective)) / (1 + z**2 / effective)
    spread = z * np.sqrt(share * (1 - share) / effective + z**2 / (4 * effective**2))
    reach = spread / (1 + z**2 / effective)
    # At 0 and 1 the formula's end is the share itself, but for rounding.
    low = np.where((share == 0) | np.isnan(share), 0.0, np.maximum(0.0, centre - reach))
    high = np.where((share == 1) | np.isnan(share), 1.0, np.minimum(1.0, centre + reach))
    return [Interval(*ends) for ends in zip(low.tolist(), high.tolist(), strict=True)]


def _means(
    x: Array, weight: Array, places: Array | None, part: Array, parts: int
) -> tuple[Array, Array, Array]:
    """Return each part's mean, its standard error, and how many rows or groups told it."""
    largest = float(weight.max())  # scaled by it, no product of large weights overflows
    shares = weight / largest
    total = np.bincount(part, shares, parts)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.bincount(part, shares * x, parts) / total
        away = x - mean[part]
        size = float(np.abs(away).max()) or 1.0
        away = away / size
        if places is not None:
            pairs, pair = np.unique(places * parts + part, return_inverse=True)
            sums = np.bincount(pair, weights=shares * away)
            of_part = pairs % parts
            count = np.bincount(of_part, minlength=parts).astype(np.float64)
            squares = np.bincount(of_part, (sums / total[of_part]) ** 2, parts)
            error = np.sqrt(squares * count / (count - 1))
            return mean, np.where(count < 2, math.inf, size * error), count
        count = np.asarray(total * largest)
        variance = np.bincount(part, shares * away**2, parts) / total
        error = np.where(count > 1 + 1e-9, np.sqrt(variance / (count - 1)), math.inf)
    return mean, size * error, count


def _upper_share(level: float) -> float:
    if not 0 < checks.finite_number(level, "level") < 1:
        raise checks.InputError.of("level", expected="a number in (0, 1)", found=repr(level))
    return (1 + level) / 2


def _checked(
    values: npt.ArrayLike, sample_weight: npt.ArrayLike | None, groups: npt.ArrayLike | None
) -> tuple[Array, Array, Array | None]:
    x = checks.floating(values, "values").astype(np.float64)
    if x.ndim != 1 or not len(x):
        raise checks.InputError.of("values", expected="shape (N,), N above 0", found=x.shape)
    if np.isnan(x).any():
        row = int(np.argmax(np.isnan(x)))
        raise checks.InputError.of("values", expected="numbers", found=f"NaN at row {row}", row=row)
    weight = np.ones(len(x))
    if sample_weight is not None:
        weight = checks.weights(sample_weight, "sample_weight", (len(x),), check=True)
        if not weight.any():
            raise checks.InputError.of("sample_weight", expected="a sum above 0", found="0")
    places = group_numbers(groups, len(x))
    counted = weight > 0
    if places is not None:
        places = np.unique(places[counted], return_inverse=True)[1]
    return x[counted], weight[counted], places


def group_numbers(groups: npt.ArrayLike | None, count: int) -> Array | None:
    """Return the number of each row's group, from 0; None without groups."""
    if groups is None:
        return None
    labels = checks.labels(groups, "groups")
    if labels.shape != (count,):
        raise checks.InputError.of("groups", expected=f"shape ({count},)", found=labels.shape)
    return np.asarray(np.unique(labels, return_inverse=True)[1])
