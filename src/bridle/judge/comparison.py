"""Whether one model is better than another, on the same samples.

What two models get wrong goes together: a hard sample is hard for both. So the rows' differences
are judged, whose spread is often a tenth of the losses' own.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from bridle import checks, strict_json
from bridle.judge.evaluation import Evaluation, evaluate
from bridle.judge.intervals import Interval, group_numbers, mean_interval
from bridle.judge.kinds import AskedKind
from bridle.judge.outcomes import Outcomes
from bridle.judge.slices import slice_numbers
from bridle.judge.text import cell

Array = npt.NDArray[Any]

# Resampled means; of more rows than this their distribution is normal to any eye.
_RESAMPLES, _MOST_RESAMPLED = 2000, 20_000
_REACH = 1.96  # standard errors in half an interval
# What is compared: a mean of one number per row, and whether less is better.
_METRICS = {"cross_entropy_nats": True, "brier_score": True, "accuracy": False}


@dataclass(frozen=True)
class Difference:
    """A figure of the first model less that of the second, on the same samples.

    Attributes
    ----------
    metric : {"cross_entropy_nats", "brier_score", "accuracy"}
    first, second : str
        The models.
    slice : str
        ``""`` for all samples, else ``"column=value"``.
    samples : int
    difference : float
        Mean over the rows of the first's figure less the second's.
    interval : Interval
        Of the difference, for 95 of 100 cases.
    first_wins : float
        The share of bootstrap samples in which the first is better; ties count half.
    """

    metric: str
    first: str
    second: str
    slice: str
    samples: int
    difference: float
    interval: Interval
    first_wins: float

    @property
    def is_clear(self) -> bool:
        """Whether the interval leaves 0 out."""
        return not self.interval.low <= 0 <= self.interval.high


@dataclass(frozen=True)
class Comparison:
    """Models beside each other on the same samples; made by `bridle.compare_models`.

    Attributes
    ----------
    models : dict of str to Evaluation
    differences : tuple of Difference
        For every two models, every metric, and all samples before each slice.
    """

    models: dict[str, Evaluation]
    differences: tuple[Difference, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the figures in plain JSON types."""
        return {
            "models": {name: each.to_dict() for name, each in self.models.items()},
            "differences": [strict_json.plain(each) for each in self.differences],
        }

    def __str__(self) -> str:
        lines = [f"{'model':20}{'cross-entropy':>14}{'Brier score':>13}{'accuracy':>10}"]
        for name, judged in self.models.items():
            losses = f"{judged.cross_entropy_nats:14.4f}{judged.brier_score:13.4f}"
            lines.append(f"{cell(name, 19)} {losses}{judged.accuracy:10.4f}")
        for each in self.differences:
            if each.metric == "cross_entropy_nats":
                lines += ["", _heading(each)]
            lines.append(_line(each))
        return "\n".join(lines)


def compare_models(
    models: Mapping[str, npt.ArrayLike],
    target: npt.ArrayLike | Iterable[object],
    *,
    classes: Iterable[object] | None = None,
    kind: AskedKind = "auto",
    sample_weight: npt.ArrayLike | None = None,
    groups: npt.ArrayLike | None = None,
    slices: Mapping[str, npt.ArrayLike] | None = None,
    random_state: int = 0,
) -> Comparison:
    """Compare the answers of several models to the same samples, row by row.

    Parameters
    ----------
    models : mapping of str to array_like, (N, C) or (N,)
        What each model is called, and its scores or probabilities, as in `bridle.evaluate`.
    target, classes, kind, sample_weight
        As there.
    groups : array_like, (N,), optional
        Rows that belong together, as those of one patient: they are resampled together.
    slices : mapping of str to array_like, (N,), optional
        Columns whose values part the samples: each value with at least two samples is compared by
        itself too.
    random_state : int
        Decides the bootstrap.

    Returns
    -------
    Comparison
        Prints as a table; ``to_dict()``.

    Raises
    ------
    InputError, TargetRangeError
        As `bridle.evaluate`, naming the model; fewer than two models.

    Examples
    --------
    >>> target = [0, 1, 1, 0]
    >>> sure = [[0.9, 0.1], [0.2, 0.8], [0.1, 0.9], [0.6, 0.4]]
    >>> guess = [[0.5, 0.5], [0.5, 0.5], [0.4, 0.6], [0.5, 0.5]]
    >>> found = compare_models({"sure": sure, "guess": guess}, target)
    >>> loss = found.differences[0]
    >>> round(loss.difference, 3), loss.first_wins > 0.95
    (-0.411, True)
    """
    if len(models) < 2:
        raise checks.InputError.of("models", expected="two or more", found=len(models))
    labels = None if classes is None else list(classes)
    truth: Any = target
    if not hasattr(truth, "shape"):
        truth = list(truth)  # a generator would run out
    judged = {}
    for name, answers in models.items():
        try:
            judged[name] = evaluate(
                answers, truth, classes=labels, kind=kind, sample_weight=sample_weight
            )
        except checks.InputError as error:
            raise type(error)(f"{name}: {error}") from None
    count = len(next(iter(judged.values())).outcomes.target)
    places = group_numbers(groups, count)
    parts = {"": np.ones(count, np.bool_), **_parts(slices or {}, count)}
    random = np.random.default_rng(random_state)
    differences = [
        _difference(judged, pair, metric, (title, rows), places, random)
        for pair in combinations(judged, 2)
        for title, rows in parts.items()
        for metric in _METRICS
    ]
    return Comparison(judged, tuple(differences))


def _parts(slices: Mapping[str, npt.ArrayLike], count: int) -> dict[str, Array]:
    parts = {}
    for name, labels, numbers in slice_numbers(slices, count):
        for place, label in enumerate(labels):
            rows = numbers == place
            if np.count_nonzero(rows) > 1:
                parts[f"{name}={label}"] = rows
    return parts


def _figure(outcomes: Outcomes, metric: str) -> Array:
    if metric == "cross_entropy_nats":
        return outcomes.surprisal
    values = outcomes.squared_error if metric == "brier_score" else outcomes.correct
    return np.asarray(values, np.float64)


def _difference(
    judged: Mapping[str, Evaluation],
    pair: tuple[str, str],
    metric: str,
    part: tuple[str, Array],
    places: Array | None,
    random: np.random.Generator,
) -> Difference:
    title, rows = part
    first, second = (judged[name].outcomes for name in pair)
    weight = first.sample_weight
    if weight is not None:
        rows = rows & (weight > 0)
        weight = weight[rows]
    with np.errstate(invalid="ignore"):
        values = (_figure(first, metric) - _figure(second, metric))[rows]
    values = np.nan_to_num(values, nan=0.0, posinf=math.inf, neginf=-math.inf)  # ∞ − ∞: no better
    groups = None if places is None else places[rows]
    return Difference(
        metric,
        *pair,
        title,
        len(values),
        float(np.average(values, weights=weight)) if len(values) else math.nan,
        mean_interval(values, sample_weight=weight, groups=groups)
        if len(values)
        else Interval(-math.inf, math.inf),
        _wins(values if _METRICS[metric] else -values, weight, groups, random),
    )


def _wins(
    values: Array, weight: Array | None, groups: Array | None, random: np.random.Generator
) -> float:
    """Return the share of bootstrap samples whose mean is below 0."""
    if weight is not None and groups is None:
        # Weights are copies, of which there need not be a whole number.
        low, high = mean_interval(values, sample_weight=weight)
        mean, reach = float(np.average(values, weights=weight)), high - low
        if mean == 0 or not math.isfinite(mean):
            return 0.5 if mean == 0 else float(mean < 0)
        return (
            float(stats.norm.cdf(-mean / (reach / (2 * _REACH)))) if reach > 0 else float(mean < 0)
        )
    sums = values if weight is None else weight * values
    if groups is not None:
        sums = np.bincount(groups, weights=sums)
    count = len(sums)
    if not sums.any():
        return 0.5
    if not np.isfinite(sums).all():
        return float(np.nansum(np.sign(sums)) < 0)
    if count > _MOST_RESAMPLED:
        error = float(np.std(sums, ddof=1)) * math.sqrt(count)
        return float(stats.norm.cdf(-float(sums.sum()) / error))
    even = np.full(count, 1 / count)
    resampled = (random.multinomial(count, even) @ sums for _ in range(_RESAMPLES))
    means = np.fromiter(resampled, np.float64, _RESAMPLES)
    return float(np.mean(means < 0) + np.mean(means == 0) / 2)


def _heading(each: Difference) -> str:
    first, second = (cell(name, 18).rstrip() for name in (each.first, each.second))
    where = f", {cell(each.slice, 24).rstrip()} ({each.samples:,} samples)" if each.slice else ""
    return f"{first} less {second}{where}"


def _line(each: Difference) -> str:
    title = {"cross_entropy_nats": "cross-entropy, nats", "brier_score": "Brier score"}
    low, high = each.interval
    name = title.get(each.metric, each.metric)
    verdict = f"the first wins in {each.first_wins:.0%}"
    return f"  {name:20}{each.difference:+8.4f}  [{low:+.4f}, {high:+.4f}]  {verdict}"
