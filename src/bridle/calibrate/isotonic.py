"""A rising step function for each class against the rest, normalised."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.isotonic import IsotonicRegression

from bridle.calibrate.base import Answers, Calibrator, log_softmax

Array = npt.NDArray[Any]


class IsotonicScaling(Calibrator):
    """scikit-learn's isotonic regression of each class's probability against the rest.

    The rising functions' values are divided by their sum; where all are 0, the row is uniform. The
    order of the classes in a row may change, and probabilities of exactly 0 make a log-loss
    infinite on new samples: for that, choose another calibrator.

    Attributes
    ----------
    thresholds_, values_ : list of ndarray
        The points between which each class's function is linear.
    n_classes_ : int

    Examples
    --------
    >>> scores = np.log([[0.9, 0.1], [0.9, 0.1], [0.2, 0.8], [0.2, 0.8]])
    >>> IsotonicScaling().fit(scores, [0, 1, 1, 1]).predict_proba(scores)[[0, 2], 1]
    array([0.5, 1. ])

    References
    ----------
    B. Zadrozny, C. Elkan, *Transforming Classifier Scores into Accurate Multiclass Probability
    Estimates*, 2002.
    """

    kind = "isotonic"

    thresholds_: list[Array]
    values_: list[Array]

    def _fit(self, answers: Answers) -> None:
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
                for place, (thresholds, values) in enumerate(
                    zip(self.thresholds_, self.values_, strict=True)
                )
            ],
            axis=1,
        )
        rising[np.isneginf(block)] = 0.0
        nothing = ~rising.any(axis=1)
        rising[nothing] = ~np.isneginf(block[nothing])
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(rising / rising.sum(axis=1, keepdims=True)))

    def _contents(self) -> dict[str, Array]:
        tensors = {}
        for place, pair in enumerate(zip(self.thresholds_, self.values_, strict=True)):
            tensors[f"thresholds_{place}"], tensors[f"values_{place}"] = pair
        return tensors

    def _restore(self, tensors: dict[str, Array]) -> None:
        places = range(self.n_classes_)
        self.thresholds_ = [tensors[f"thresholds_{place}"] for place in places]
        self.values_ = [tensors[f"values_{place}"] for place in places]
        for thresholds, values in zip(self.thresholds_, self.values_, strict=True):
            rises = (np.diff(thresholds) > 0).all() and (np.diff(values) >= 0).all()
            if thresholds.shape != values.shape or thresholds.ndim != 1 or not rises:
                raise ValueError("expected rising functions")
