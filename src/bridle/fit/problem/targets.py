"""Labels or distributions, and their weights, as the objective wants them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    # (K,) the weight of each class, where there are samples elsewhere; None: these are all.
    mass_of_all: Array | None = None

    @property
    def mass(self) -> Array:
        """The weight of each class (K,)."""
        if self.mass_of_all is not None:
            return self.mass_of_all
        return _mass(self.target, len(self.classes), self.sample_weight)

    @property
    def counted(self) -> npt.NDArray[np.bool_]:
        """Which classes have weight (K,): the others have no part in a fit."""
        return np.asarray(self.mass > 0)

    def without(self, left_out: npt.NDArray[np.bool_]) -> FitTarget:
        """Return the targets among fewer classes: those left out have no weight."""
        if not left_out.any():
            return self
        kept, weight = ~left_out, self.sample_weight
        if self.target.ndim == 1:
            # A sample of a class that is left out has no weight, and may be of any other.
            target = np.maximum(np.cumsum(kept) - 1, 0)[self.target]
            return FitTarget(self.classes[kept], target, weight, self.mass[kept])
        target = self.target[:, kept]
        if weight is not None:
            target[weight == 0] = 1 / kept.sum()
        return FitTarget(self.classes[kept], target, weight, self.mass[kept])


def fit_target(
    y: npt.ArrayLike | None,
    sample_weight: npt.ArrayLike | None,
    class_weight: ClassWeight,
    count: int,
) -> FitTarget:
    """Check ``y`` and the weights of ``count`` samples."""
    found = target_of_part(y, sample_weight, count)
    return among_all(found, classes_of_all([ClassMasses.of(found)]), class_weight)


class ClassMasses(NamedTuple):
    """What the targets of some samples say of the classes of all."""

    classes: Array  # (K,) the labels that they have, sorted; the columns of distributions
    mass: Array  # (K,) their weight
    are_distributions: bool
    samples: int

    @classmethod
    def of(cls, found: FitTarget) -> ClassMasses:
        """Return it, of a part's target."""
        return cls(found.classes, found.mass, found.target.ndim == 2, len(found.target))


def target_of_part(
    y: npt.ArrayLike | None, sample_weight: npt.ArrayLike | None, count: int
) -> FitTarget:
    """Check ``y`` and the weights of ``count`` samples, of which others may lie elsewhere.

    Its classes are those of these samples; their weights are not yet looked at.
    """
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
        weight = sample_weights(sample_weight, count, are_all=False)
    if labels.ndim == 2 and labels.shape[1] > 1:
        return _distributions(labels, weight)
    return _labels(labels, weight)


def classes_of_all(parts: Sequence[ClassMasses]) -> ClassMasses:
    """Return what several parts say together: all their classes, and what these weigh.

    Raises
    ------
    InputError
        Labels among distributions, or text among numbers; one class only; no weight at all.
    """
    parts = [part for part in parts if part.samples] or list(parts[:1])
    kinds = {part.are_distributions for part in parts}
    if len(kinds) > 1:
        raise checks.InputError.of(
            "y", expected="labels in all parts or distributions in all", found="both"
        )
    (are_distributions,) = kinds
    classes = _united([part.classes for part in parts], are_columns=are_distributions)
    mass = np.zeros(len(classes))
    for part in parts:
        mass[np.searchsorted(classes, part.classes)] += part.mass
    if len(classes) < 2:
        found = f"one class, {classes[0]!s}" if len(classes) else "no samples"
        raise checks.InputError.of("y", expected="at least two classes", found=found)
    if not mass.any():
        _refuse_zeros()
    return ClassMasses(classes, mass, are_distributions, sum(part.samples for part in parts))


def _united(classes: Sequence[Array], *, are_columns: bool) -> Array:
    widths = {len(each) for each in classes}
    if are_columns and len(widths) > 1:
        raise checks.InputError.of(
            "y", expected="distributions over the same classes in all parts", found=sorted(widths)
        )
    if len(classes) == 1:
        return classes[0]
    # Joined, numbers would become text.
    kinds = {"text" if each.dtype.kind in "US" else "numbers" for each in classes}
    if len(kinds) > 1 and not any(each.dtype.hasobject for each in classes):
        raise checks.InputError.of(
            "y", expected="labels of one kind in all parts", found="text and numbers"
        )
    try:
        return np.unique(np.concatenate(classes))
    except TypeError as error:  # labels of several types have no order
        raise checks.InputError(f"y: {error}", argument="y") from None


def among_all(found: FitTarget, of_all: ClassMasses, class_weight: ClassWeight) -> FitTarget:
    """Return a part's target among the classes of all, class weights included."""
    if of_all.are_distributions:
        if class_weight is not None:
            _refuse_class_weight(class_weight)
        target = found.target
        if target.ndim == 1:  # a part without samples says nothing of their kind
            target = np.zeros((0, len(of_all.classes)))
        return FitTarget(of_all.classes, target, found.sample_weight, of_all.mass)
    target, weight, mass = found.target, found.sample_weight, of_all.mass
    if len(found.classes) < len(of_all.classes):
        target = np.searchsorted(of_all.classes, found.classes)[target]
    if class_weight is not None:
        factors = _class_factors(mass, class_weight, of_all.classes)
        weight = np.asarray(factors[target] * (1.0 if weight is None else weight))
        mass = mass * factors
    if not mass.any():
        raise checks.InputError(
            "class_weight: expected a weight above 0 for a class that has samples with weight",
            argument="class_weight",
            expected="a weight above 0 for a class that has samples with weight",
        )
    return FitTarget(of_all.classes, target, weight, mass)


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
        if class_weight is not None:
            _refuse_class_weight(class_weight)
        given_distributions = _distributions(labels, weight)
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
    checks.warn(
        f"{where}: {which} no weight: left out of the fit, with probability 0 (intercept -inf)",
        WeightlessClassWarning,
    )


def weighted(
    target: Array, weight: Array | None, class_weight: ClassWeight, classes: Array
) -> Array | None:
    """Return sample weights times those of the samples' classes."""
    if class_weight is None:
        return weight
    mass = _mass(target, len(classes), weight)
    factors = _class_factors(mass, class_weight, classes)
    return np.asarray(factors[target] * (1.0 if weight is None else weight))


def _class_factors(mass: Array, class_weight: ClassWeight, classes: Array) -> Array:
    if isinstance(class_weight, str):
        if class_weight != "balanced":
            raise checks.InputError.of(
                "class_weight", expected='a dict, "balanced" or None', found=repr(class_weight)
            )
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


def _labels(y: Array, weight: Array | None) -> FitTarget:
    labels = column_or_1d(y, warn=True)
    try:
        if len(labels):
            check_classification_targets(labels)
        classes, target = np.unique(labels, return_inverse=True)
    except (TypeError, ValueError) as error:  # labels of several types have no order
        raise checks.InputError(f"y: {error}", argument="y") from None
    return FitTarget(classes, target, weight)


def _distributions(y: Array, weight: Array | None) -> FitTarget:
    values = checks.floating(y, "y")
    checks.probability_rows(values, "y")
    wide = values.astype(np.float64)
    # The proof of the optimum wants sums of 1 to rounding, not to what the input's dtype kept.
    return FitTarget(np.arange(y.shape[1]), wide / wide.sum(axis=1, keepdims=True), weight)


def _refuse_class_weight(class_weight: ClassWeight) -> None:
    raise checks.InputError(
        "class_weight: expected None where y holds probabilities; scale sample_weight instead",
        argument="class_weight",
        expected="None where y holds probabilities",
        found=repr(class_weight),
    )


def sample_weights(sample_weight: npt.ArrayLike, count: int, *, are_all: bool = True) -> Array:
    """Check the weights of so many samples, one of which counts if they are all; one for each."""
    array = checks.real_numbers(sample_weight, "sample_weight")
    full = np.full(count, float(array)) if array.ndim == 0 else array
    checked = checks.weights(full, "sample_weight", (count,), check=True).astype(np.float64)
    if are_all and not checked.any():
        _refuse_zeros()
    return checked


def _refuse_zeros() -> None:
    raise checks.InputError(
        "sample_weight: expected a weight above 0, all weights are zero",
        argument="sample_weight",
        expected="a weight above 0",
        found="zeros",
    )


def _mass(target: Array, classes: int, weight: Array | None) -> Array:
    """Return the weight of each class (K,)."""
    row_weight = np.ones(len(target)) if weight is None else weight
    return np.asarray(target_sum(target, classes, row_weight))
