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
from scipy import stats

from bridle import checks

Array = npt.NDArray[Any]

_NORMAL = 1e8  # degrees of freedom from which Student's t is the normal distribution


class Interval(NamedTuple):
    """Where the value of ever more such rows would lie, in 95 of 100 cases unless said."""

    low: float
    high: float


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
    quantile = _upper_share(level)
    if np.isinf(x).any():
        infinite = math.inf if (x == math.inf).any() else -math.inf
        return Interval(infinite, infinite)
    mean = float(np.average(x, weights=weight))
    error, count = _standard_error(x - mean, weight, places)
    if not math.isfinite(error):
        return Interval(-math.inf, math.inf)
    reach = float(stats.t.ppf(quantile, min(count - 1, _NORMAL))) * error
    return Interval(mean - reach, mean + reach)


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
    z = float(stats.norm.ppf(_upper_share(level)))
    share = float(np.average(x, weights=weight))
    error, count = _standard_error(x - share, weight, places)
    effective = count
    if places is not None and error > 0:
        effective = min(share * (1 - share) / error**2, effective)
    effective = min(max(effective, 1e-6), 1e18)  # whose squares are numbers
    centre = (share + z**2 / (2 * effective)) / (1 + z**2 / effective)
    spread = z * math.sqrt(share * (1 - share) / effective + z**2 / (4 * effective**2))
    reach = spread / (1 + z**2 / effective)
    # At 0 and 1 the formula's end is the share itself, but for rounding.
    low = 0.0 if share == 0 else max(0.0, centre - reach)
    return Interval(low, 1.0 if share == 1 else min(1.0, centre + reach))


def _standard_error(away: Array, weight: Array, places: Array | None) -> tuple[float, float]:
    """Return the standard error of the mean, and how many rows or groups told it."""
    total = float(weight.sum())
    largest = float(np.abs(away).max()) or 1.0  # scaled by it, no square overflows
    away = away / largest
    if places is not None:
        sums = np.bincount(places, weights=weight * away)
        count = float(len(sums))
        if count < 2:
            return math.inf, count
        shares = sums / total
        return largest * math.sqrt(float(shares @ shares) * count / (count - 1)), count
    if total <= 1 + 1e-9:
        return math.inf, total
    variance = float((weight / total) @ away**2)
    return largest * math.sqrt(variance / (total - 1)), total


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
