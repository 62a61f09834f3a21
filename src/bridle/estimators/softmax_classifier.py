"""A classifier with linear scores, however its weights were found."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.utils.validation import check_is_fitted

from bridle import checks
from bridle.estimators.array_api import answering_where_the_features_are, as_numpy
from bridle.estimators.base import Classifier
from bridle.fit.placement import placed
from bridle.fit.problem.targets import FitTarget
from bridle.fit.readers.block_sizes import DEFAULT_MEMORY, blocks_of
from bridle.rows import Features, Rows

Array = npt.NDArray[Any]


class SoftmaxClassifier(Classifier):
    """A classifier with scores ``X W + b``: its answers, from ``coef_`` and ``intercept_``."""

    coef_: Array
    intercept_: Array
    device: Any
    memory_budget: int | None

    @answering_where_the_features_are
    def decision_function(self, X: Features) -> Array:
        """Return the scores ``X W + b``, (N, K); for two classes their difference, (N,).

        As in scikit-learn; its sigmoid is the second class's probability.
        """
        scores = self._linear(X)
        if len(self.classes_) > 2:
            return scores
        return scores[:, 0] if scores.shape[1] == 1 else scores[:, 1] - scores[:, 0]

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

    @property
    def _fitted_array(self) -> Any:
        return self.coef_

    def _part(
        self, X: Features, y: Any, sample_weight: npt.ArrayLike | None, *, least: int
    ) -> tuple[Rows, FitTarget, tuple[str, ...]]:
        features, target, names = super()._part(X, y, sample_weight, least=least)
        return self._placed(features), target, names

    def _placed(self, features: Rows) -> Rows:
        """Return features where the products of a fit are to be made."""
        budget = checks.memory_budget(self.memory_budget)
        return placed(features, self.device, memory_budget=budget)

    def _linear(self, X: Features, kept: np.dtype[Any] | None = None) -> Array:
        """Return ``X W + b`` of what is fitted (N, K), or (N, 1), kept in a dtype."""
        check_is_fitted(self)
        features = self._features(X, reset=False)
        dtype = features.dtype
        weight, intercept = as_numpy(self.coef_).T.astype(dtype), as_numpy(self.intercept_)
        scores = np.empty((len(features), len(intercept)), kept or dtype)
        for rows, block in blocks_of(features, len(intercept), dtype, DEFAULT_MEMORY):
            checks.finite_rows(block, "X", rows.start)
            scores[rows] = block @ weight
            scores[rows] += intercept
        return scores
