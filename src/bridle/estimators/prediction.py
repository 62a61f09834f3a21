"""What a fitted softmax classifier answers, however its weights were found."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from bridle import checks, probabilities
from bridle.fit.readers.block_sizes import DEFAULT_MEMORY, blocks_of
from bridle.rows import Features, Rows
from bridle.tensors import is_tensor

Array = npt.NDArray[Any]


class SoftmaxClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # untyped bases
    """A classifier with scores ``X W + b``: its answers, from ``coef_`` and ``intercept_``."""

    classes_: Array
    coef_: Array
    intercept_: Array

    def decision_function(self, X: Features) -> Array:
        """Return the scores ``X W + b``, (N, K); for two classes their difference, (N,).

        As in scikit-learn; its sigmoid is the second class's probability.
        """
        scores = self._linear(X)
        if len(self.classes_) > 2:
            return scores
        return scores[:, 0] if scores.shape[1] == 1 else scores[:, 1] - scores[:, 0]

    def predict(self, X: Features) -> Array:
        """Return each sample's most probable class; ties go to the first."""
        scores = self._scores(X)
        return np.asarray(self.classes_[probabilities.predicted_class(scores)])

    def predict_proba(self, X: Features) -> Array:
        """Return the class probabilities (N, K) in float64, in the order of ``classes_``."""
        return probabilities.softmax(self._scores(X))

    def predict_log_proba(self, X: Features) -> Array:
        """Return the logarithms of the probabilities (N, K) in float64, far below underflow too."""
        return probabilities.log_softmax(self._scores(X))

    def _scores(self, X: Features) -> Array:
        """Return a score for each class (N, K), in float64.

        The products are in the features' dtype, but a probability near 1 has a logarithm only in
        float64: in float32, 1 - 3e-8 is 1.
        """
        scores = self._linear(X, np.dtype(np.float64))
        if scores.shape[1] > 1:
            return scores
        # Their difference is the one score, infinity included.
        return np.hstack([np.minimum(-scores, 0), np.minimum(scores, 0)])

    def _linear(self, X: Features, kept: np.dtype[Any] | None = None) -> Array:
        """Return ``X W + b`` of what is fitted (N, K), or (N, 1), kept in a dtype."""
        check_is_fitted(self)
        features = self._features(X, reset=False)
        dtype = features.dtype
        weight = self.coef_.T.astype(dtype)
        scores = np.empty((len(features), len(self.intercept_)), kept or dtype)
        for rows, block in blocks_of(features, len(self.intercept_), dtype, DEFAULT_MEMORY):
            checks.finite_rows(block, "X", rows.start)
            scores[rows] = block @ weight
            scores[rows] += self.intercept_
        return scores

    def _features(self, X: Features, *, reset: bool) -> Rows:
        if is_tensor(X):
            X = Rows([X])
        if isinstance(X, Rows):
            if reset:
                self.n_features_in_ = X.shape[1]
                self.__dict__.pop("feature_names_in_", None)
            elif X.shape[1] != self.n_features_in_:
                expected = f"{self.n_features_in_} features"
                raise checks.InputError(f"X: expected {expected}, found {X.shape[1]}")
            return X
        checks.unmasked(X, "X")
        # Finite or not is told block by block, with the row; dtypes are left for Rows to convert.
        values = validate_data(
            self, X, accept_sparse="csr", dtype="numeric", ensure_all_finite=False, reset=reset
        )
        return Rows([values])

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags
