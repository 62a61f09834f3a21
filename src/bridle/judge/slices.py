"""Where a model is good and where not: its figures by the values of a column."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bridle import checks
from bridle.judge.evaluation import Evaluation
from bridle.judge.intervals import Interval, group_numbers, mean_intervals, share_intervals

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class SliceFigures:
    """The figures of the samples that share a value; made by `slice_figures`.

    Attributes
    ----------
    column, value : str
    samples : int
    cross_entropy_nats, brier_score, accuracy : float
        As in `Evaluation`.
    intervals : dict of str to Interval
        Of those three, for 95 of 100 cases.
    """

    column: str
    value: str
    samples: int
    cross_entropy_nats: float
    brier_score: float
    accuracy: float
    intervals: dict[str, Interval]


def slice_figures(
    evaluation: Evaluation,
    slices: Mapping[str, npt.ArrayLike],
    *,
    groups: npt.ArrayLike | None = None,
) -> tuple[SliceFigures, ...]:
    """Return the figures of each value of each column.

    Parameters
    ----------
    evaluation : Evaluation
        As from `bridle.evaluate`.
    slices : mapping of str to array_like, (N,)
        Columns whose values part the samples.
    groups : array_like, (N,), optional
        As in `bridle.evaluate`.

    Returns
    -------
    tuple of SliceFigures
        Column by column, of each the values of largest loss first; none for a value whose samples
        all have the weight 0.

    Raises
    ------
    InputError
        A column of another length, or with missing values.

    Examples
    --------
    >>> from bridle.judge import evaluate
    >>> found = evaluate([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7]], [0, 0, 0])
    >>> for each in slice_figures(found, {"site": ["north", "north", "south"]}):
    ...     print(each.column, each.value, each.samples, each.accuracy)
    site south 1 0.0
    site north 2 1.0
    """
    outcomes = evaluation.outcomes
    count = len(outcomes.target)
    weight = np.ones(count) if outcomes.sample_weight is None else outcomes.sample_weight
    rows = np.flatnonzero(weight > 0)
    places = group_numbers(groups, count)
    places = None if places is None else places[rows]
    columns = (outcomes.surprisal, outcomes.squared_error, outcomes.correct.astype(np.float64))
    found: list[SliceFigures] = []
    for name, labels, numbers in slice_numbers(slices, count):
        part, parts = numbers[rows], len(labels)
        known = (weight[rows], places, part, parts)
        loss, brier, right = (each[rows] for each in columns)
        intervals = (
            [each.above_zero() for each in mean_intervals(loss, *known)],
            [each.above_zero(2.0) for each in mean_intervals(brier, *known)],
            share_intervals(right, *known),
        )
        total = np.bincount(part, weight[rows], parts)
        with np.errstate(invalid="ignore", divide="ignore"):
            means = [np.bincount(part, weight[rows] * each, parts) / total
                     for each in (loss, brier, right)]  # fmt: skip
        samples = np.bincount(part, minlength=parts)
        for place in np.argsort(-means[0], kind="stable").tolist():
            if samples[place]:
                values = (float(each[place]) for each in means)
                told = dict(zip(_FIGURES, (each[place] for each in intervals), strict=True))
                figures: dict[str, Any] = dict(zip(_FIGURES, values, strict=True))
                title = str(labels[place])
                found.append(
                    SliceFigures(name, title, int(samples[place]), intervals=told, **figures)
                )
    return tuple(found)


_FIGURES = ("cross_entropy_nats", "brier_score", "accuracy")


def slice_numbers(
    slices: Mapping[str, npt.ArrayLike], count: int
) -> Iterator[tuple[str, list[object], Array]]:
    """Yield each column's name, its values in order, and which of them each row has."""
    for name, values in slices.items():
        labels = checks.labels(values, f"slices: {name}")
        if labels.shape != (count,):
            raise checks.InputError.of(
                f"slices: {name}", expected=f"shape ({count},)", found=labels.shape
            )
        found, numbers = np.unique(labels, return_inverse=True)
        yield name, found.tolist(), numbers
