"""What all calibrators share: checked rows in blocks, answers, and a file."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self, get_args

import numpy as np
import numpy.typing as npt
from scipy import sparse
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_array, column_or_1d
from sklearn.utils.validation import check_is_fitted, validate_data

from bridle import checks, files, mapped, probabilities
from bridle.estimators.array_api import (
    ArrayApiSupport,
    answering_where_the_features_are,
    fitting_where_the_features_are,
)
from bridle.estimators.documentation import Documented
from bridle.estimators.model_file import CALIBRATOR, class_description, classes_and_names
from bridle.tensors import is_tensor, on_host

Array = npt.NDArray[Any]
Kind = Literal["scores", "probabilities"]

_BLOCK_NUMBERS = 2**18


@dataclass(frozen=True)
class Answers:
    """Scores of samples, their classes, and what each counts: the weights sum to 1."""

    scores: Any  # (N, K), an array or a tensor
    target: Array
    weight: Array
    total: float  # of the weights as they were given
    kind: Kind = "scores"

    @property
    def classes(self) -> int:
        """K."""
        return int(self.scores.shape[1])

    def rows(self, places: Array) -> Array:
        """Return the scores of some rows in float64."""
        return _as_scores(np.asarray(on_host(self.scores[places])).astype(np.float64), self.kind)

    def blocks(self) -> Iterator[tuple[Array, Array, Array]]:
        """Yield scores in float64, classes and weights of some rows that count."""
        for rows, block in blocks(self.scores, self.kind):
            counted = self.weight[rows] > 0
            if counted.all():
                yield block, self.target[rows], self.weight[rows]
            elif counted.any():
                yield block[counted], self.target[rows][counted], self.weight[rows][counted]


def blocks(scores: Any, kind: Kind = "scores") -> Iterator[tuple[slice, Array]]:
    """Yield blocks of rows in float64, on the host; of probabilities, their logarithms."""
    step = max(1, _BLOCK_NUMBERS // max(1, scores.shape[1]))
    for rows, block in mapped.blocks(scores, step):
        yield rows, _as_scores(np.asarray(on_host(block)).astype(np.float64), kind, rows.start)


def _as_scores(block: Array, kind: Kind, first_row: int = 0) -> Array:
    if kind == "scores":
        return block
    below = (block < 0).any(axis=1)
    if below.any():
        row = first_row + int(np.argmax(below))
        raise checks.InputError.of(
            "scores", expected="probabilities of 0 or above", found=f"less at row {row}", row=row
        )
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(block))


class Calibrator(Documented, ArrayApiSupport, ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # untyped bases
    """A map from a classifier's scores to probabilities; see `bridle.calibrate`.

    It is a classifier of scikit-learn's whose features are scores, a column for each class: so it
    goes into `cross_val_predict` or a search over its parameters.
    """

    _reference = ("calibrate", "bridle.calibrate")
    kind: ClassVar[str]
    classes_: Array
    n_features_in_: int

    @fitting_where_the_features_are
    def fit(
        self,
        scores: npt.ArrayLike,
        y: npt.ArrayLike,
        sample_weight: npt.ArrayLike | None = None,
        *,
        classes: Iterable[object] | None = None,
        kind: Kind = "scores",
    ) -> Self:
        """Fit to scores of samples that the classifier has not learnt from.

        Parameters
        ----------
        scores : array_like or tensor, (N, K)
            Logits or log-probabilities, of any real dtype, read in blocks of rows. −inf is a class
            that is masked. Or probabilities, if ``kind`` says so.
        y : array_like, (N,)
            Class indices in [0, K); or labels, if ``classes`` are given.
        sample_weight : array_like, (N,), optional
            Weight k is the same as k copies.
        classes : sequence of K labels, optional
            In the order of the columns, which `classes_` keeps. scikit-learn's metrics of
            probabilities ask for columns in the labels' ascending order.
        kind : {"scores", "probabilities"}
            What the rows are: of probabilities the logarithms are taken, block by block.

        Raises
        ------
        InputError, TargetRangeError
            Shapes that do not fit, no row, a class outside [0, K), a label that ``classes`` lacks,
            a row without a softmax, a masked target, weights that are no weights.
        """
        labels = None if classes is None else list(classes)
        answers = answers_of(scores, y, sample_weight, labels, kind, "y")
        validate_data(self, scores, skip_check_array=True)  # names and number of columns
        self.classes_ = np.arange(answers.classes) if labels is None else _as_array(labels)
        self._fit(answers)
        return self

    @property
    def n_classes_(self) -> int:
        """How many classes there are: K."""
        check_is_fitted(self)
        return len(self.classes_)

    @answering_where_the_features_are
    def predict(self, scores: npt.ArrayLike, *, kind: Kind = "scores") -> Array:
        """Return each row's most probable class, one of `classes_`; ties go to the first."""
        places = self._logarithms(scores, kind).argmax(axis=1)
        return np.asarray(self.classes_[places])

    @answering_where_the_features_are
    def predict_proba(self, scores: npt.ArrayLike, *, kind: Kind = "scores") -> Array:
        """Return calibrated probabilities (N, K), in float64 or the scores' own float32."""
        return np.exp(self._logarithms(scores, kind))

    @answering_where_the_features_are
    def predict_log_proba(self, scores: npt.ArrayLike, *, kind: Kind = "scores") -> Array:
        """Return their logarithms, −inf where a probability is 0; ``kind`` is as in `fit`."""
        return self._logarithms(scores, kind)

    def _logarithms(self, scores: npt.ArrayLike, kind: Kind) -> Array:
        check_is_fitted(self)
        checks.one_of(kind, "kind", get_args(Kind))
        values = _two_dimensional(scores)
        validate_data(self, scores, skip_check_array=True, reset=False)
        out = np.empty(tuple(values.shape), _answer_dtype(values))
        for rows, block in blocks(values, kind):
            _refuse_broken(block, rows.start)
            out[rows] = self._log_proba(block)
        return out

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted calibrator as safetensors with JSON metadata; see `load`."""
        files.write_whole(path, CALIBRATOR.to_bytes(*self.to_contents()))

    def to_contents(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """Return what the fitted calibrator's file holds: a description and tensors."""
        check_is_fitted(self)
        names = list(getattr(self, "feature_names_in_", []))
        description = {
            "kind": self.kind,
            "parameters": self.get_params(),
            **class_description(self.classes_, names),
        }
        return CALIBRATOR.described(description), self._contents()

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a calibrator that `save` wrote; nothing in the file is executed.

        Raises
        ------
        InputError
            No such file, or none that holds a calibrator of this kind.
        """
        tensors, description = CALIBRATOR.read(path)
        return cls.from_contents(description, tensors, path)

    @classmethod
    def from_contents(
        cls,
        description: dict[str, Any],
        tensors: dict[str, Array],
        path: str | os.PathLike[str],
    ) -> Self:
        """Return the calibrator that `to_contents` told of; errors name the file at ``path``."""
        CALIBRATOR.check(description, path)
        try:
            if description["kind"] != cls.kind:
                raise ValueError(f"it is {description['kind']}, not {cls.kind}")
            model = cls(**description["parameters"])
            model.classes_, names = classes_and_names(description)
            model.n_features_in_ = len(model.classes_)
            if len(names) not in (0, model.n_features_in_):
                raise ValueError("expected a name for each column")
            if names:
                model.feature_names_in_ = np.array(names, dtype=object)
            model._restore(tensors)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise checks.InputError(f"{path}: no readable bridle calibrator ({error})") from None
        return model

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        # scikit-learn's common checks bring any number of features to any number of classes.
        tags._skip_test = True
        return tags

    def _fit(self, answers: Answers) -> None:
        raise NotImplementedError

    def _log_proba(self, block: Array) -> Array:
        """Return the logarithms of the probabilities of some rows, in float64."""
        raise NotImplementedError

    def _contents(self) -> dict[str, Array]:
        """Return what was fitted, as arrays."""
        raise NotImplementedError

    def _restore(self, tensors: dict[str, Array]) -> None:
        """Take back what `_contents` returned."""
        raise NotImplementedError


def log_softmax(block: Array) -> Array:
    """Return the logarithms of the softmax of each row."""
    return np.asarray(probabilities.log_softmax(block))


def answers_of(
    scores: npt.ArrayLike,
    target: Any,
    sample_weight: npt.ArrayLike | None,
    labels: Iterable[object] | None = None,
    kind: Kind = "scores",
    name: str = "target",
) -> Answers:
    """Return checked rows, with weights whose sum is 1; errors call the targets by ``name``."""
    checks.one_of(kind, "kind", get_args(Kind))
    values = _two_dimensional(scores)
    count, classes = values.shape
    if count == 0 or classes == 0:
        found = f"{count} sample(s)" if classes else f"{classes} feature(s)"
        found += f" (shape=({count}, {classes})) while a minimum of 1 is required."
        raise checks.InputError.of("scores", expected="at least one row and one class", found=found)
    if labels is None:
        indices = checks.class_indices(_one_dimensional(target, name), count, classes, name)
    else:
        known = checks.class_labels(labels, classes)
        indices = checks.labelled_target(_one_dimensional(target, name), known, count, name)
    weight = np.ones(count)
    if sample_weight is not None:
        weight = checks.weights(on_host(sample_weight), "sample_weight", (count,), check=True)
    if not 0 < weight.sum() < np.inf:
        expected = "weights whose sum is finite and above 0"
        found = f"a sum of {weight.sum():g}" if weight.any() else "a sum of 0: all are zero"
        raise checks.InputError.of("sample_weight", expected=expected, found=found)
    for rows, block in blocks(values, kind):
        if rows.start == 0 and kind == "scores":
            checks.warn_of_probabilities(block)
        _refuse_broken(block, rows.start)
        _refuse_masked(block, indices[rows], weight[rows], rows.start)
    return Answers(values, indices, weight / weight.sum(), float(weight.sum()), kind)


def _as_array(labels: Sequence[object]) -> Array:
    """Return labels as an array, of their own types if these differ."""
    plain = checks.class_labels(labels, len(labels))
    alike = len({type(label) for label in plain}) == 1
    return np.array(plain) if alike else np.array(plain, dtype=object)


def _two_dimensional(scores: npt.ArrayLike) -> Any:
    values: Any = scores
    if sparse.issparse(scores):
        raise checks.InputError.of("scores", expected="a dense array", found="a sparse one")
    if isinstance(scores, np.ndarray) and scores.dtype == object:
        checks.unmasked(scores, "scores")
        values = check_array(scores, dtype="numeric", ensure_all_finite=False)
    elif not is_tensor(scores):
        values = checks.real_numbers(scores, "scores")
    if len(values.shape) != 2:
        found = tuple(values.shape)
        raise checks.InputError(
            f"scores: expected shape (N, K), found {found}. Reshape your data: a row for each "
            "sample, a column for each class",
            argument="scores",
            expected="shape (N, K)",
            found=str(found),
        )
    return values


def _one_dimensional(target: Any, name: str) -> Any:
    """Return targets on the host; a column of them as a row, with scikit-learn's warning."""
    if target is None:
        raise checks.InputError(
            f"{name}: expected one class for each row: the fit requires y to be passed, but the "
            "target y is None",
            argument=name,
            expected="one class for each row",
            found="None",
        )
    values = on_host(target)
    if getattr(values, "ndim", 1) == 2 and values.shape[1] == 1:
        return column_or_1d(values, warn=True)
    return values


def _answer_dtype(values: Any) -> np.dtype[Any]:
    return np.dtype(np.float32 if str(values.dtype).endswith("float32") else np.float64)


def _refuse_broken(block: Array, first_row: int) -> None:
    bad = ~np.isfinite(block.max(axis=1))  # NaN, +inf, or −inf alone
    if bad.any():
        row = int(np.argmax(bad))
        checks.score_row(block[row], "scores", first_row + row)


def _refuse_masked(block: Array, target: Array, weight: Array, first_row: int) -> None:
    masked = np.isneginf(block[np.arange(len(block)), target]) & (weight > 0)
    if masked.any():
        row = first_row + int(np.argmax(masked))
        raise checks.InputError.of(
            "scores",
            expected="the target's score to be finite, its probability above 0",
            found=f"-inf at row {row}",
            row=row,
        )
