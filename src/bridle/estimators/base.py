"""What all classifiers share: features and targets are checked, classes are answered."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import validate_data

from bridle import checks, probabilities
from bridle.estimators.array_api import ArrayApiSupport, answering_where_the_features_are
from bridle.estimators.documentation import Documented
from bridle.fit.problem.targets import ClassWeight, FitTarget, fit_target, target_of_part
from bridle.rows import Features, Rows
from bridle.tensors import is_tensor, on_host

Array = npt.NDArray[Any]


def rows_of(X: Features) -> Rows | None:
    """Return features that need none of scikit-learn's checks as rows; None for the others."""
    if isinstance(X, Rows):
        return X
    if is_tensor(X):
        return Rows([X])
    checks.unmasked(X, "X")
    return None


class Classifier(Documented, ArrayApiSupport, ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # untyped bases
    """A classifier whose scores say how probable each class is.

    Whoever inherits brings `fit`, `_scores` and `_fitted_array`.
    """

    classes_: Array
    class_weight: ClassWeight
    n_features_in_: int
    reading_: dict[str, Any]  # how the command read the files of the fit

    @answering_where_the_features_are
    def predict(self, X: Features) -> Array:
        """Return each sample's most probable class; ties go to the first."""
        scores = self._scores(X)
        return np.asarray(self.classes_[probabilities.predicted_class(scores)])

    @answering_where_the_features_are
    def predict_proba(self, X: Features) -> Array:
        """Return the class probabilities (N, K), in the order of ``classes_``."""
        return np.asarray(probabilities.softmax(self._logarithms(self._scores(X))))

    @answering_where_the_features_are
    def predict_log_proba(self, X: Features) -> Array:
        """Return the logarithms of the probabilities (N, K), right far below underflow too."""
        return np.asarray(probabilities.log_softmax(self._logarithms(self._scores(X))))

    def _scores(self, X: Features) -> Array:
        """Return a score for each class (N, K): the higher, the more probable.

        Raises
        ------
        NotFittedError
            There was no fit.
        """
        raise NotImplementedError

    def _logarithms(self, scores: Array) -> Array:
        """Return what the probabilities are the softmax of."""
        return scores

    def _features(self, X: Features, *, reset: bool, least: int = 1) -> Rows:
        """Return features as rows, and hold their number and names against the fit's.

        With ``reset`` they are those of the fit, ``least`` rows of them. Whether they are finite is
        told block by block, with the row; their dtypes are left for `Rows` to convert.
        """
        rows = rows_of(X)
        if rows is None:
            values = validate_data(
                self, X, accept_sparse="csr", dtype="numeric", ensure_all_finite=False,
                reset=reset, ensure_min_samples=least,
            )  # fmt: skip
            return Rows([values])
        if reset:
            self.n_features_in_ = rows.shape[1]
            self.__dict__.pop("feature_names_in_", None)
        elif rows.shape[1] != self.n_features_in_:
            raise checks.InputError.of(
                "X", expected=f"{self.n_features_in_} features", found=rows.shape[1]
            )
        return rows

    def _targets(self, y: Any, sample_weight: npt.ArrayLike | None, count: int) -> FitTarget:
        """Check the targets of a fit, which say what the classes are, and their weights."""
        return fit_target(on_host(y), on_host(sample_weight), self.class_weight, count)

    def _part(
        self, X: Features, y: Any, sample_weight: npt.ArrayLike | None, *, least: int
    ) -> tuple[Rows, FitTarget, tuple[str, ...]]:
        """Check rows of a fit, of which others may lie elsewhere: `estimators.shares.Own`."""
        features = self._features(X, reset=True, least=least)
        target = target_of_part(on_host(y), on_host(sample_weight), len(features))
        return features, target, tuple(self._names())

    def _names(self) -> list[str]:
        """Return what the features are called; nothing where they have no names."""
        return [str(name) for name in getattr(self, "feature_names_in_", [])]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags
