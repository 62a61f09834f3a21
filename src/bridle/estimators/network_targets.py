"""What ``y`` holds: a label a sample, a distribution over the classes, or several labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from bridle import checks
from bridle.fit.problem.targets import (
    FitTarget,
    every_class_counts,
    fit_target,
    known_target,
    sample_weights,
)

if TYPE_CHECKING:
    from bridle.estimators.network_classifier import NetworkClassifier

Array = npt.NDArray[Any]


def is_multilabel(model: NetworkClassifier, y: Any) -> bool:
    """Tell whether ``y`` holds several labels a sample: 0 or 1 for each class.

    A matrix of zeros and ones does under sigmoid outputs, as in scikit-learn; under softmax, whose
    outputs share one sum, its rows are distributions.
    """
    if model.multilabel is not None:
        return checks.flag(model.multilabel, "multilabel")
    return model.output == "sigmoid" and (
        sparse.issparse(y) or _is_indicator(checks.labels(y, "y"))
    )


def whole_target(
    model: NetworkClassifier,
    y: Any,
    sample_weight: npt.ArrayLike | None,
    count: int,
    *,
    multilabel: bool,
) -> FitTarget:
    """Check the targets of a fit, which say what the classes are."""
    if multilabel:
        return _sets_of_labels(model, y, sample_weight, count, "y")
    _refuse_sets_of_labels(model, y, "y")
    found = fit_target(y, sample_weight, model.class_weight, count)
    every_class_counts(found)
    return found


def partial_target(
    model: NetworkClassifier,
    y: Any,
    sample_weight: npt.ArrayLike | None,
    classes: Array,
    count: int,
    *,
    multilabel: bool,
) -> FitTarget:
    """Check targets among classes that are known, of which some may have no sample."""
    if multilabel:
        found = _sets_of_labels(model, y, sample_weight, count, "y")
        return _of_known_classes(found, classes, "y")
    _refuse_sets_of_labels(model, y, "y")
    if len(classes) < 2:
        return fit_target(y, sample_weight, model.class_weight, count)  # says what is wrong
    return known_target(y, sample_weight, model.class_weight, classes, count)


def validation_target(
    model: NetworkClassifier, y: Any, classes: Array, count: int, *, multilabel: bool
) -> FitTarget:
    """Check the targets of samples that are judged, each of which counts once."""
    if multilabel:
        found = _sets_of_labels(model, y, None, count, "validation")
        return _of_known_classes(found, classes, "validation")
    _refuse_sets_of_labels(model, y, "validation")
    return known_target(y, None, None, classes, count, "validation")


def classes_of(y: Any) -> Array:
    """Return the classes of a first `partial_fit` that was not told them."""
    labels = y if sparse.issparse(y) else np.asarray(y)
    columns = labels.ndim == 2 and labels.shape[1] > 1
    return np.arange(labels.shape[1]) if columns else np.unique(labels)


def _sets_of_labels(
    model: NetworkClassifier,
    y: Any,
    sample_weight: npt.ArrayLike | None,
    count: int,
    name: str,
) -> FitTarget:
    if model.class_weight is not None:
        raise checks.InputError(
            "class_weight: expected None where y holds several labels a sample; scale "
            "sample_weight instead",
            argument="class_weight",
            expected="None where y holds several labels a sample",
            found=repr(model.class_weight),
        )
    matrix = y.toarray() if sparse.issparse(y) else checks.labels(y, name)
    if matrix.ndim != 2 or matrix.shape[1] < 2 or len(matrix) != count:
        raise checks.InputError.of(
            name,
            expected=f"0 or 1 for each of {count} samples and each of two or more classes",
            found=f"shape {matrix.shape}",
        )
    strange = np.asarray((matrix != 0) & (matrix != 1))
    if strange.any():
        row, column = (int(place[0]) for place in np.nonzero(strange))
        raise checks.InputError.of(
            name,
            expected="0 or 1 for each class",
            found=f"{matrix[row, column]!s} at row {row}, column {column}",
            row=row,
        )
    weight = None if sample_weight is None else sample_weights(sample_weight, count)
    return FitTarget(np.arange(matrix.shape[1]), matrix.astype(bool), weight)


def _of_known_classes(found: FitTarget, classes: Array, name: str) -> FitTarget:
    if not np.array_equal(found.classes, classes):
        raise checks.InputError.of(
            name,
            expected=f"0 or 1 for each of the {len(classes)} classes {classes[:5].tolist()}",
            found=f"columns for the classes 0 to {len(found.classes) - 1}",
        )
    return found


def _refuse_sets_of_labels(model: NetworkClassifier, y: Any, name: str) -> None:
    """Refuse rows of zeros and ones that are no distributions, and say what they may be."""
    advice = "output='sigmoid'" if model.output == "softmax" else "multilabel=True"
    if sparse.issparse(y):
        raise checks.InputError.of(
            name,
            expected="a dense array",
            found="a sparse matrix",
            hint=f"; several labels a sample take {advice}",
        )
    labels = checks.labels(y, name)
    if not _is_indicator(labels):
        return
    sizes = (labels != 0).sum(axis=1)
    if (sizes != 1).any():
        row = int(np.argmax(sizes != 1))
        raise checks.InputError(
            f"{name}: row {row} has {sizes[row]} labels, expected one; several labels a sample "
            f"take {advice}",
            argument=name,
            expected="one label a sample",
            found=f"{sizes[row]} labels",
            row=row,
        )


def _is_indicator(labels: Array) -> bool:
    """Tell whether it is a matrix of nothing but zeros and ones."""
    if labels.ndim != 2 or labels.shape[1] < 2 or labels.dtype.kind not in "biuf":
        return False
    return bool(((labels == 0) | (labels == 1)).all())
