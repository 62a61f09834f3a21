"""A classifier and a calibrator that was fitted to what it says of samples it has not seen."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.model_selection import check_cv, cross_val_predict
from sklearn.utils.validation import check_is_fitted

from bridle import checks
from bridle.calibrate.base import Calibrator
from bridle.calibrate.loading import create
from bridle.estimators import SoftmaxRegression, SoftmaxRegressionCV
from bridle.tensors import on_host

Array = npt.NDArray[Any]


class CalibratedClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # untyped bases
    """Fit a classifier to all samples, and calibrate it by what folds say of those they hold out.

    Every sample is used twice, and never to judge what has learnt from it: the calibrator sees
    out-of-fold answers alone. The folds of a `SoftmaxRegression` are fitted in the same passes over
    the data.

    Parameters
    ----------
    estimator : classifier
        With ``predict_log_proba``, ``predict_proba`` or ``decision_function``.
    method : {"temperature", "vector", "matrix", "dirichlet", "isotonic"}
        See `bridle.calibrate`.
    cv : int, splitter or iterable
        The folds, as in scikit-learn; they must hold out every sample once.

    Attributes
    ----------
    estimator_ : classifier
        Fitted to all samples.
    calibrator_ : Calibrator
    classes_ : ndarray (K,)
    n_features_in_ : int

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> X, y = load_digits(return_X_y=True)
    >>> model = CalibratedClassifier(SoftmaxRegression(C=100.0)).fit(X / 16, y)
    >>> model.calibrator_.temperature_ > 1  # weakly penalised, it was too sure
    True
    """

    estimator_: Any
    calibrator_: Calibrator
    classes_: Array
    n_features_in_: int

    def __init__(self, estimator: Any, method: str = "temperature", cv: Any = 5) -> None:
        self.estimator = estimator
        self.method = method
        self.cv = cv

    def fit(self, X: Any, y: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None) -> Self:
        """Fit the classifier, then the calibrator.

        Parameters
        ----------
        X : array_like or sparse array, (N, D)
        y : array_like, (N,)
            Labels.
        sample_weight : array_like, (N,), optional
            For the classifier and the calibrator.

        Raises
        ------
        InputError
            An unknown method; folds that do not hold out every sample; and what the classifier
            refuses.
        """
        calibrator = create(self.method)
        labels = np.asarray(on_host(y))
        weighed = {} if sample_weight is None else {"sample_weight": sample_weight}
        self.estimator_ = clone(self.estimator).fit(X, y, **weighed)
        self.classes_ = self.estimator_.classes_
        self.n_features_in_ = getattr(self.estimator_, "n_features_in_", X.shape[1])
        answers = self._out_of_fold(X, labels, sample_weight)
        missing = np.isnan(answers).any(axis=1)
        if missing.any():
            row = int(np.argmax(missing))
            raise checks.InputError.of(
                "cv", expected="folds that hold out every sample", found=f"none with row {row}",
                row=row,
            )  # fmt: skip
        target = np.searchsorted(self.classes_, labels)
        self.calibrator_ = calibrator.fit(answers, target, sample_weight)
        return self

    def predict_log_proba(self, X: Any) -> Array:
        """Return the logarithms of the calibrated probabilities (N, K)."""
        check_is_fitted(self)
        return self.calibrator_.predict_log_proba(_scores(self.estimator_, X))

    def predict_proba(self, X: Any) -> Array:
        """Return the calibrated probabilities (N, K)."""
        return np.exp(self.predict_log_proba(X))

    def predict(self, X: Any) -> Array:
        """Return each sample's most probable class."""
        places = self.predict_log_proba(X).argmax(axis=1)
        return np.asarray(self.classes_[places])

    def _out_of_fold(self, X: Any, y: Array, sample_weight: npt.ArrayLike | None) -> Array:
        splits = list(check_cv(self.cv, y, classifier=True).split(np.zeros(len(y)), y))
        if type(self.estimator) is SoftmaxRegression:
            settings = self.estimator.get_params()
            del settings["warm_start"]
            search = SoftmaxRegressionCV([settings.pop("C")], cv=splits, refit=False, **settings)
            return search.fit(X, y, sample_weight).out_of_fold_log_proba(X)
        weighed = {} if sample_weight is None else {"sample_weight": np.asarray(sample_weight)}
        method = _method(self.estimator)
        found = cross_val_predict(
            self.estimator, X, y, cv=splits, method=method, params=weighed or None
        )
        return _as_scores(np.asarray(found), method)


def _method(estimator: Any) -> str:
    for name in ("predict_log_proba", "predict_proba", "decision_function"):
        if hasattr(estimator, name):
            return name
    raise checks.InputError.of(
        "estimator",
        expected="a classifier with predict_log_proba, predict_proba or decision_function",
        found=type(estimator).__name__,
    )


def _scores(estimator: Any, X: Any) -> Array:
    method = _method(estimator)
    return _as_scores(np.asarray(getattr(estimator, method)(X)), method)


def _as_scores(found: Array, method: str) -> Array:
    """Return a column of scores for each class."""
    if method == "predict_proba":
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(found))
    return np.stack([np.zeros(len(found)), found], axis=1) if found.ndim == 1 else found
