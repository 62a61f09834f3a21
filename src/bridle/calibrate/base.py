"""What all calibrators share: checked rows in blocks, answers, and a file."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self, get_args

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from bridle import checks, files, mapped, probabilities
from bridle.estimators.documentation import Documented
from bridle.estimators.model_file import CALIBRATOR
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


class Calibrator(Documented, BaseEstimator):  # type: ignore[misc]  # untyped base
    """A map from a classifier's scores to probabilities; see `bridle.calibrate`."""

    _reference = ("calibrate", "bridle.calibrate")
    kind: ClassVar[str]
    n_classes_: int

    def fit(
        self,
        scores: npt.ArrayLike,
        target: npt.ArrayLike,
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
        target : array_like, (N,)
            Class indices in [0, K); or labels, if ``classes`` are given.
        sample_weight : array_like, (N,), optional
            Weight k is the same as k copies.
        classes : sequence of K labels, optional
            In the order of the columns.
        kind : {"scores", "probabilities"}
            What the rows are: of probabilities the logarithms are taken, block by block.

        Raises
        ------
        InputError, TargetRangeError
            Shapes that do not fit, no row, a class outside [0, K), a label that ``classes`` lacks,
            a row without a softmax, a masked target, weights that are no weights.
        """
        answers = answers_of(scores, target, sample_weight, classes, kind)
        self.n_classes_ = answers.classes
        self._fit(answers)
        return self

    @property
    def n_features_in_(self) -> int:
        """The columns of the scores: one for each class."""
        check_is_fitted(self, "n_classes_")
        return self.n_classes_

    def predict_proba(self, scores: npt.ArrayLike, *, kind: Kind = "scores") -> Array:
        """Return calibrated probabilities (N, K), in float64 or the scores' own float32."""
        return np.exp(self.predict_log_proba(scores, kind=kind))

    def predict_log_proba(self, scores: npt.ArrayLike, *, kind: Kind = "scores") -> Array:
        """Return their logarithms, −inf where a probability is 0; ``kind`` is as in `fit`."""
        checks.one_of(kind, "kind", get_args(Kind))
        check_is_fitted(self, "n_classes_")
        values = _two_dimensional(scores)
        if values.shape[1] != self.n_classes_:
            expected = f"shape (N, {self.n_classes_}), as it was fitted"
            raise checks.InputError.of("scores", expected=expected, found=tuple(values.shape))
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
        check_is_fitted(self, "n_classes_")
        description = {
            "kind": self.kind,
            "classes": self.n_classes_,
            "parameters": self.get_params(),
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
            model.n_classes_ = int(description["classes"])
            model._restore(tensors)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise checks.InputError(f"{path}: no readable bridle calibrator ({error})") from None
        return model

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
) -> Answers:
    """Return checked rows, with weights whose sum is 1."""
    checks.one_of(kind, "kind", get_args(Kind))
    values = _two_dimensional(scores)
    count, classes = values.shape
    if count == 0 or classes == 0:
        raise checks.InputError.of(
            "scores", expected="at least one row and one class", found="none"
        )
    if labels is None:
        indices = checks.class_indices(on_host(target), count, classes)
    else:
        indices = checks.labelled_target(target, checks.class_labels(labels, classes), count)
    weight = np.ones(count)
    if sample_weight is not None:
        weight = checks.weights(on_host(sample_weight), "sample_weight", (count,), check=True)
    if not 0 < weight.sum() < np.inf:
        expected = "weights whose sum is finite and above 0"
        found = f"a sum of {weight.sum():g}"
        raise checks.InputError.of("sample_weight", expected=expected, found=found)
    for rows, block in blocks(values, kind):
        if rows.start == 0 and kind == "scores":
            checks.warn_of_probabilities(block)
        _refuse_broken(block, rows.start)
        _refuse_masked(block, indices[rows], weight[rows], rows.start)
    return Answers(values, indices, weight / weight.sum(), float(weight.sum()), kind)


def _two_dimensional(scores: npt.ArrayLike) -> Any:
    values: Any = scores if is_tensor(scores) else checks.real_numbers(scores, "scores")
    if len(values.shape) != 2:
        raise checks.InputError.of("scores", expected="shape (N, K)", found=tuple(values.shape))
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
