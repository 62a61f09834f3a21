"""Labels or distributions, and their weights, as the objective wants them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from sklearn.utils import column_or_1d
from sklearn.utils.multiclass import check_classification_targets

from bridle import checks
from bridle.fit.arrays import target_sum

Array = npt.NDArray[Any]
ClassWeight = Mapping[Any, float] | str | None


class WeightlessClassWarning(UserWarning):
    """A class has samples, but none of them has a weight above 0."""


class FitTarget(NamedTuple):
    """What the classes are, and which of them each sample belongs to, how much."""

    classes: Array  # (K,) the labels, sorted
    target: Array  # (N,) indices into them, or (N, K) distributions
    sample_weight: Array | None  # (N,) class weights included

    @property
    def counted(self) -> npt.NDArray[np.bool_]:
        """Which classes have weight (K,): the others have no part in a fit."""
        mass = _mass(self.target, len(self.classes), self.sample_weight)
        return np.asarray(mass > 0)

    def without(self, left_out: npt.NDArray[np.bool_]) -> FitTarget:
        """Return the targets among fewer classes: those left out have no weight."""
        if not left_out.any():
            return self
        kept, weight = ~left_out, self.sample_weight
        if self.target.ndim == 1:
            # A sample of a class that is left out has no weight, and may be of any other.
            target = np.maximum(np.cumsum(kept) - 1, 0)[self.target]
            return FitTarget(self.classes[kept], target, weight)
        target = self.target[:, kept]
        if weight is not None:
            target[weight == 0] = 1 / kept.sum()
        return FitTarget(self.classes[kept], target, weight)


def fit_target(
    y: npt.ArrayLike | None,
    sample_weight: npt.ArrayLike | None,
    class_weight: ClassWeight,
    count: int,
) -> FitTarget:
    """Check ``y`` and the weights of ``count`` samples."""
    if y is None:
        raise checks.InputError(
            "y: fit requires y to be passed, but the target y is None",
            argument="y",
            expected="labels or distributions",
            found="None",
        )
    labels = checks.labels(y, "y")
    if len(labels.shape) == 0 or len(labels) != count:
        raise checks.InputError.of(
            "y",
            expected=f"one entry for each of {count} samples of X",
            found=f"shape {labels.shape}",
        )
    weight = None
    if sample_weight is not None:
        weight = sample_weights(sample_weight, count)
    if labels.ndim == 2 and labels.shape[1] > 1:
        checked_target = _distributions(labels, weight, class_weight)
    else:
        checked_target = _labels(labels, weight, class_weight)
    if checked_target.sample_weight is not None and not checked_target.sample_weight.any():
        raise checks.InputError(
            "class_weight: expected a weight above 0 for a class that has samples with weight",
            argument="class_weight",
            expected="a weight above 0 for a class that has samples with weight",
        )
    return checked_target


def known_target(
    y: npt.ArrayLike,
    sample_weight: npt.ArrayLike | None,
    class_weight: ClassWeight,
    classes: Array,
    count: int,
    name: str = "y",
) -> FitTarget:
    """Check ``y`` against sorted classes that are known; some of them may have no sample here."""
    labels = checks.labels(y, name)
    if labels.ndim == 0 or len(labels) != count:
        raise checks.InputError.of(
            name, expected=f"one entry for each of {count} samples", found=f"shape {labels.shape}"
        )
    weight = None if sample_weight is None else sample_weights(sample_weight, count)
    if labels.ndim == 2 and labels.shape[1] > 1:
        given_distributions = _distributions(labels, weight, class_weight)
        if len(given_distributions.classes) != len(classes):
            raise checks.InputError.of(
                name,
                expected=f"{len(classes)} columns",
                found=len(given_distributions.classes),
            )
        return FitTarget(classes, given_distributions.target, weight)
    column = column_or_1d(labels, warn=True)
    unknown = ~np.isin(column, classes)
    if unknown.any():
        row = int(np.argmax(unknown))
        raise checks.InputError(
            f"{name}: row {row} is {column[row]!s}, none of the classes",
            argument=name,
            expected="one of the classes",
            found=str(column[row]),
            row=row,
        )
    target = np.searchsorted(classes, column)
    if isinstance(class_weight, str):
        raise checks.InputError.of(
            "class_weight", expected="a dict or None for part of the data", found=repr(class_weight)
        )
    return FitTarget(classes, target, weighted(target, weight, class_weight, classes))


def every_class_counts(target: FitTarget) -> None:
    """Refuse a class without weight."""
    if not target.counted.all():
        empty = target.classes[np.argmin(target.counted)]
        raise checks.InputError.of(
            "y", expected="weight in every class", found=f"none in class {empty!s}"
        )


def warn_of_weightless(target: FitTarget, where: str = "y") -> None:
    """Say which classes have no weight, and what becomes of them."""
    counted = target.counted
    if counted.all():
        return
    names = [str(label) for label in target.classes[~counted]]
    listed = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
    which = f"class {listed} has" if len(names) == 1 else f"classes {listed} have"
    warnings.warn(
        f"{where}: {which} no weight: left out of the fit, with probability 0 (intercept -inf)",
        WeightlessClassWarning,
        stacklevel=3,
    )


def weighted(
    target: Array, weight: Array | None, class_weight: ClassWeight, classes: Array
) -> Array | None:
    """Return sample weights times those of the samples' classes."""
    if class_weight is None:
        return weight
    factors = _class_factors(target, weight, class_weight, classes)
    return np.asarray(factors[target] * (1.0 if weight is None else weight))


def _class_factors(
    target: Array, weight: Array | None, class_weight: ClassWeight, classes: Array
) -> Array:
    if isinstance(class_weight, str):
        if class_weight != "balanced":
            raise checks.InputError.of(
                "class_weight", expected='a dict, "balanced" or None', found=repr(class_weight)
            )
        mass = _mass(target, len(classes), weight)
        counted = mass > 0
        # Each class that has weight gets the same total; a class without weight gets none.
        balanced_mass = mass.sum() / max(int(counted.sum()), 1)
        return np.asarray(np.divide(balanced_mass, mass, out=np.zeros(len(classes)), where=counted))
    if not isinstance(class_weight, Mapping):
        raise checks.InputError.of(
            "class_weight", expected='a dict, "balanced" or None', found=repr(class_weight)
        )
    places = {label: place for place, label in enumerate(classes.tolist())}
    factors_by_label = {
        label.item() if isinstance(label, np.generic) else label: checks.class_factor(value, label)
        for label, value in class_weight.items()
    }
    unknown = [label for label in factors_by_label if label not in places]
    if unknown and not places.keys() <= factors_by_label.keys():
        # Weights of further labels are harmless where every class has one of its own.
        listed = ", ".join(map(str, classes[:5])) + (", …" if len(classes) > 5 else "")
        raise checks.InputError(
            f"class_weight: {unknown[0]!r} is none of the classes: {listed}",
            argument="class_weight",
            expected=f"one of the classes: {listed}",
            found=repr(unknown[0]),
        )
    return np.array([factors_by_label.get(label, 1.0) for label in places])


def _labels(y: Array, weight: Array | None, class_weight: ClassWeight) -> FitTarget:
    labels = column_or_1d(y, warn=True)
    try:
        check_classification_targets(labels)
        classes, target = np.unique(labels, return_inverse=True)
    except (TypeError, ValueError) as error:  # labels of several types have no order
        raise checks.InputError(f"y: {error}", argument="y") from None
    if len(classes) < 2:
        raise checks.InputError.of(
            "y", expected="at least two classes", found=f"one class, {classes[0]!s}"
        )
    return FitTarget(classes, target, weighted(target, weight, class_weight, classes))


def _distributions(y: Array, weight: Array | None, class_weight: ClassWeight) -> FitTarget:
    if class_weight is not None:
        raise checks.InputError(
            "class_weight: expected None where y holds probabilities; scale sample_weight instead",
            argument="class_weight",
            expected="None where y holds probabilities",
            found=repr(class_weight),
        )
    values = checks.floating(y, "y")
    checks.probability_rows(values, "y")
    wide = values.astype(np.float64)
    # The proof of the optimum wants sums of 1 to rounding, not to what the input's dtype kept.
    return FitTarget(np.arange(y.shape[1]), wide / wide.sum(axis=1, keepdims=True), weight)


def sample_weights(sample_weight: npt.ArrayLike, count: int) -> Array:
    """Check the weights of so many samples; a number is that of each."""
    array = checks.real_numbers(sample_weight, "sample_weight")
    full = np.full(count, float(array)) if array.ndim == 0 else array
    checked = checks.weights(full, "sample_weight", (count,), check=True).astype(np.float64)
    if not checked.any():
        raise checks.InputError(
            "sample_weight: expected a weight above 0, all weights are zero",
            argument="sample_weight",
            expected="a weight above 0",
            found="zeros",
        )
    return checked


def _mass(target: Array, classes: int, weight: Array | None) -> Array:
    """Return the weight of each class (K,)."""
    row_weight = np.ones(len(target)) if weight is None else weight
    return np.asarray(target_sum(target, classes, row_weight))
