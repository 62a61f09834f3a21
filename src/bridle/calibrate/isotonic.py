"""A rising step function for each class against the rest, normalised."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.isotonic import IsotonicRegression

from bridle.calibrate.base import Answers, Calibrator, log_softmax
from bridle.estimators.array_api import as_numpy

Array = npt.NDArray[Any]


class IsotonicScaling(Calibrator):
    """scikit-learn's isotonic regression of each class's probability against the rest.

    The rising functions' values r are divided by their sum; where all are 0, the row is uniform.
    The order of the classes in a row may change. A step that no sample of a class has reached is no
    proof that none ever will: with n samples

        p = (1 − ε) r / Σ r + ε / K,   ε = 1 / (1 + n)

    which is what one more sample of any class would leave to each.

    Attributes
    ----------
    floor_ : float
        ε.
    thresholds_, values_ : list of ndarray
        The points between which each class's function is linear.
    classes_, n_features_in_, feature_names_in_
        As in scikit-learn: a feature is the score of a class.

    Examples
    --------
    >>> scores = np.log([[0.9, 0.1], [0.9, 0.1], [0.2, 0.8], [0.2, 0.8]])
    >>> IsotonicScaling().fit(scores, [0, 1, 1, 1]).predict_proba(scores)[[0, 2], 1]
    array([0.5, 0.9])

    References
    ----------
    B. Zadrozny, C. Elkan, *Transforming Classifier Scores into Accurate Multiclass Probability
    Estimates*, 2002.
    """

    kind = "isotonic"

    thresholds_: list[Array]
    values_: list[Array]
    floor_: float

    @property
    def _fitted_array(self) -> Any:
        return self.values_[0]

    def _functions(self) -> list[tuple[Array, Array]]:
        """Return the thresholds and the values of each class's function, on the host."""
        pairs = zip(self.thresholds_, self.values_, strict=True)
        return [(as_numpy(thresholds), as_numpy(values)) for thresholds, values in pairs]

    def _fit(self, answers: Answers) -> None:
        self.floor_ = 1 / (1 + answers.total)
        parts = [
            (np.exp(log_softmax(scores)), target, weight)
            for scores, target, weight in answers.blocks()
        ]
        probability, target, weight = (
            np.concatenate(column) for column in zip(*parts, strict=True)
        )
        self.thresholds_, self.values_ = [], []
        for place in range(answers.classes):
            rising = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip")
            rising.fit(probability[:, place], target == place, sample_weight=weight)
            self.thresholds_.append(np.asarray(rising.X_thresholds_, np.float64))
            self.values_.append(np.asarray(rising.y_thresholds_, np.float64))

    def _log_proba(self, block: Array) -> Array:
        probability = np.exp(log_softmax(block))
        rising = np.stack(
            [
                np.interp(probability[:, place], thresholds, values)
                for place, (thresholds, values) in enumerate(self._functions())
            ],
            axis=1,
        )
        possible = ~np.isneginf(block)
        rising[~possible] = 0.0
        nothing = ~rising.any(axis=1)
        rising[nothing] = possible[nothing]
        uniform = possible / possible.sum(axis=1, keepdims=True)
        shares = rising / rising.sum(axis=1, keepdims=True)
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(shares + self.floor_ * (uniform - shares)))

    def _contents(self) -> dict[str, Array]:
        tensors = {"floor": np.array([self.floor_])}
        for place, pair in enumerate(self._functions()):
            tensors[f"thresholds_{place}"], tensors[f"values_{place}"] = pair
        return tensors

    def _restore(self, tensors: dict[str, Array]) -> None:
        (self.floor_,) = tensors["floor"].tolist()
        if not 0 < self.floor_ < 1:
            raise ValueError("expected a floor in (0, 1)")
        places = range(self.n_classes_)
        self.thresholds_ = [tensors[f"thresholds_{place}"] for place in places]
        self.values_ = [tensors[f"values_{place}"] for place in places]
        for thresholds, values in zip(self.thresholds_, self.values_, strict=True):
            rises = (np.diff(thresholds) > 0).all() and (np.diff(values) >= 0).all()
            if thresholds.shape != values.shape or thresholds.ndim != 1 or not rises:
                raise ValueError("expected rising functions")
