"""Labels or distributions, and their weights, as the objective wants them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from sklearn.utils import column_or_1d
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets

from bridle import checks
from bridle.fit.objective import target_sum

Array = npt.NDArray[Any]
ClassWeight = Mapping[Any, float] | str | None


class FitTarget(NamedTuple):
    """What the classes are, and which of them each sample belongs to, how much."""

    classes: Array  # (K,) the labels, sorted
    target: Array  # (N,) indices into them, or (N, K) distributions
    sample_weight: Array | None  # (N,) class weights included


def fit_target(
    y: npt.ArrayLike | None,
    sample_weight: npt.ArrayLike | None,
    class_weight: ClassWeight,
    count: int,
) -> FitTarget:
    """Check ``y`` and the weights of ``count`` samples."""
    if y is None:
        raise checks.InputError("y: fit requires y to be passed, but the target y is None")
    labels = np.asarray(y)
    if len(labels.shape) == 0 or len(labels) != count:
        raise checks.InputError(
            f"y: expected one entry for each of {count} samples of X, found shape {labels.shape}"
        )
    weight = None
    if sample_weight is not None:
        weight = _sample_weight(sample_weight, count)
    if labels.ndim == 2 and labels.shape[1] > 1:
        found = _distributions(labels, weight, class_weight)
    else:
        found = _labels(labels, weight, class_weight)
    _every_class_counts(found)
    return found


def known_target(
    y: npt.ArrayLike,
    sample_weight: npt.ArrayLike | None,
    class_weight: ClassWeight,
    classes: Array,
    count: int,
    name: str = "y",
) -> FitTarget:
    """Check ``y`` against sorted classes that are known; some of them may have no sample here."""
    labels = np.asarray(y)
    if labels.ndim == 0 or len(labels) != count:
        raise checks.InputError(
            f"{name}: expected one entry for each of {count} samples, found shape {labels.shape}"
        )
    weight = None if sample_weight is None else _sample_weight(sample_weight, count)
    if labels.ndim == 2 and labels.shape[1] > 1:
        found = _distributions(labels, weight, class_weight)
        if len(found.classes) != len(classes):
            raise checks.InputError(
                f"{name}: expected {len(classes)} columns, found {len(found.classes)}"
            )
        return FitTarget(classes, found.target, weight)
    column = column_or_1d(labels, warn=True)
    unknown = ~np.isin(column, classes)
    if unknown.any():
        row = int(np.argmax(unknown))
        raise checks.InputError(f"{name}: row {row} is {column[row]!s}, none of the classes")
    target = np.searchsorted(classes, column)
    if class_weight is None:
        return FitTarget(classes, target, weight)
    if isinstance(class_weight, str):
        raise checks.InputError(
            f"class_weight: expected a dict or None for part of the data, found {class_weight!r}"
        )
    per_class = compute_class_weight(class_weight, classes=classes, y=column)
    return FitTarget(classes, target, per_class[target] * (1.0 if weight is None else weight))


def _labels(y: Array, weight: Array | None, class_weight: ClassWeight) -> FitTarget:
    labels = column_or_1d(y, warn=True)
    try:
        check_classification_targets(labels)
    except ValueError as error:
        raise checks.InputError(f"y: {error}") from None
    classes, target = np.unique(labels, return_inverse=True)
    if len(classes) < 2:
        raise checks.InputError(
            f"y: expected at least two classes, found one class, {classes[0]!s}"
        )
    if class_weight is not None:
        per_class = compute_class_weight(
            class_weight, classes=classes, y=labels, sample_weight=weight
        )
        weight = per_class[target] * (1.0 if weight is None else weight)
    return FitTarget(classes, target, weight)


def _distributions(y: Array, weight: Array | None, class_weight: ClassWeight) -> FitTarget:
    if class_weight is not None:
        raise checks.InputError(
            "class_weight: expected None where y holds probabilities; scale sample_weight instead"
        )
    values = checks.floating(y, "y")
    checks.probability_rows(values, "y")
    wide = values.astype(np.float64)
    # The proof of the optimum wants sums of 1 to rounding, not to what the input's dtype kept.
    return FitTarget(np.arange(y.shape[1]), wide / wide.sum(axis=1, keepdims=True), weight)


def _sample_weight(sample_weight: npt.ArrayLike, count: int) -> Array:
    array = np.asarray(sample_weight)
    full = np.full(count, float(array)) if array.ndim == 0 else array
    checked = checks.weights(full, "sample_weight", (count,), check=True).astype(np.float64)
    if not checked.any():
        raise checks.InputError("sample_weight: expected a weight above 0, all weights are zero")
    return checked


def _every_class_counts(found: FitTarget) -> None:
    # The intercept of a class that no sample belongs to has no optimum: it falls without end.
    mass = target_sum(found.target, len(found.classes), found.sample_weight)
    if (mass == 0).any():
        empty = found.classes[np.argmin(mass)]
        raise checks.InputError(f"y: expected weight in every class, found none in class {empty!s}")
