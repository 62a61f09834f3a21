"""A classifier and a calibrator that was fitted to what it says of samples it has not seen."""

from __future__ import annotations

import math
import os
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.model_selection import check_cv, cross_val_predict
from sklearn.utils import column_or_1d, get_tags
from sklearn.utils.validation import check_is_fitted

from bridle import checks, files, ranks
from bridle.calibrate.base import Calibrator
from bridle.calibrate.loading import calibrator_of_contents, create
from bridle.calibrate.temperature import TemperatureScaling
from bridle.estimators import SoftmaxRegression, SoftmaxRegressionCV
from bridle.estimators.array_api import (
    ArrayApiSupport,
    answering_where_the_features_are,
    fitting_where_the_features_are,
)
from bridle.estimators.classifier_file import SavedClassifier
from bridle.estimators.cross_validation import search_at
from bridle.estimators.documentation import Documented
from bridle.estimators.model_file import CALIBRATED_CLASSIFIER, part, together
from bridle.probabilities import score_columns
from bridle.tensors import on_host

Array = npt.NDArray[Any]

_FOLDS = 5


class CalibratedClassifier(Documented, ArrayApiSupport, ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # untyped bases
    """Fit a classifier to all samples, and calibrate it by what folds say of those they hold out.

    Every sample is used twice, and never to judge what has learnt from it: the calibrator sees
    out-of-fold answers alone. The folds of a `SoftmaxRegression` are fitted in the same passes over
    the data; those by which a `SoftmaxRegressionCV` chose its ``C`` are not fitted again.

    Inside a process group it is this process's rows alone that count.

    Parameters
    ----------
    estimator : classifier
        With ``predict_log_proba``, ``predict_proba`` or ``decision_function``.
    method : {"temperature", "vector", "matrix", "dirichlet", "isotonic"}
        See `bridle.calibrate`.
    cv : int, splitter or iterable, optional
        The folds, as in scikit-learn; they must hold out every sample. If not given, the
        estimator's own where it has some (`SoftmaxRegressionCV`), else five.

    Attributes
    ----------
    estimator_ : classifier
        Fitted to all samples.
    calibrator_ : Calibrator
    classes_ : ndarray (K,)
    n_features_in_, feature_names_in_
        As in the estimator.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> X, y = load_digits(return_X_y=True)
    >>> model = CalibratedClassifier(SoftmaxRegression(C=100.0)).fit(X / 16, y)
    >>> model.calibrator_.temperature_ > 1  # weakly penalised, it was too sure
    True

    See Also
    --------
    bridle.load : reads the file that `save` writes.
    """

    _reference = ("calibrate", "bridle.calibrate")
    estimator_: Any
    calibrator_: Calibrator
    classes_: Array
    n_features_in_: int

    def __init__(self, estimator: Any, method: str = "temperature", cv: Any = None) -> None:
        self.estimator = estimator
        self.method = method
        self.cv = cv

    @fitting_where_the_features_are
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
            An unknown method; targets that are not one label a sample; folds that do not hold out
            every sample; and what the classifier refuses.

        Warns
        -----
        UserWarning
            Where every answer of the folds is right, or they tell nothing: there is no temperature
            between 0 and ∞ then.
        """
        with ranks.alone():
            return self._fit(X, y, sample_weight)

    def _fit(self, X: Any, y: npt.ArrayLike, sample_weight: npt.ArrayLike | None) -> Self:
        calibrator = create(self.method)
        labels = np.asarray(on_host(y))
        if labels.ndim == 2 and labels.shape[1] == 1:
            labels = y = column_or_1d(labels, warn=True)
        if y is not None and labels.ndim != 1:  # of none at all, the classifier says so
            raise checks.InputError.of("y", expected="one label a sample", found=labels.shape)
        weighed = {} if sample_weight is None else {"sample_weight": sample_weight}
        self._keep(clone(self.estimator).fit(X, y, **weighed))
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
        _warn_of_certainty(self.calibrator_)
        return self

    @classmethod
    def joined(cls, estimator: Any, calibrator: Calibrator, cv: int | None = None) -> Self:
        """Return a fitted classifier and a fitted calibrator of its scores as one.

        Parameters
        ----------
        estimator : classifier
            Fitted.
        calibrator : Calibrator
            Fitted to answers to samples that the classifier has not learnt from.
        cv : int, optional
            How many folds gave those answers, for who fits a clone.

        Raises
        ------
        InputError
            Another number of classes.

        Examples
        --------
        >>> from bridle.calibrate import TemperatureScaling
        >>> classifier = SoftmaxRegression().fit([[0.0], [1.0], [2.0]], [0, 1, 1])
        >>> answers = classifier.predict_log_proba([[0.2], [0.4], [1.8]])  # new ones
        >>> model = CalibratedClassifier.joined(
        ...     classifier, TemperatureScaling().fit(answers, [0, 1, 1])
        ... )
        >>> model.predict([[3.0]])
        array([1])
        """
        check_is_fitted(estimator)
        check_is_fitted(calibrator)
        if calibrator.n_classes_ != len(estimator.classes_):
            expected = f"one of the estimator's {len(estimator.classes_)} classes"
            raise checks.InputError.of("calibrator", expected=expected, found=calibrator.n_classes_)
        model = cls(clone(estimator), calibrator.kind, cv)
        model._keep(estimator)
        model.calibrator_ = calibrator
        return model

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted classifier and its calibrator as one file, which `bridle.load` reads.

        It is safetensors with JSON metadata; nothing in it is executed.

        Raises
        ------
        InputError
            A classifier that is not bridle's own.
        """
        files.write_whole(path, self.to_bytes())

    def to_bytes(self) -> bytes:
        """Return the bytes of the file; see `save`."""
        check_is_fitted(self)
        fitted = getattr(self.estimator_, "best_estimator_", self.estimator_)
        if not isinstance(fitted, SavedClassifier):
            expected = "a SoftmaxRegression or a NetworkClassifier to save"
            found = type(fitted).__name__
            raise checks.InputError.of("estimator", expected=expected, found=found)
        description, tensors = together(
            classifier=fitted.to_contents(), calibrator=self.calibrator_.to_contents()
        )
        folds = int(self.cv) if isinstance(self.cv, int | np.integer) else None
        return CALIBRATED_CLASSIFIER.to_bytes({**description, "cv": folds}, tensors)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read what `save` wrote. A splitter that gave the folds is not kept, but their number.

        Raises
        ------
        InputError
            No such file, or none that holds a calibrated classifier.
        """
        from bridle.estimators.loading import model_of_contents  # networks, too, at once

        tensors, description = CALIBRATED_CLASSIFIER.read(path)
        classifier, calibrator = (
            part(name, description, tensors, path) for name in ("classifier", "calibrator")
        )
        folds = description.get("cv")
        if not isinstance(folds, int | None):
            raise checks.InputError(f"{path}: no readable bridle model (cv is no number)")
        fitted = model_of_contents(*classifier, path)
        try:
            return cls.joined(fitted, calibrator_of_contents(*calibrator, path), folds)
        except checks.InputError as error:
            raise checks.InputError(f"{path}: no readable bridle model ({error})") from None

    @answering_where_the_features_are
    def predict_log_proba(self, X: Any) -> Array:
        """Return the logarithms of the calibrated probabilities (N, K)."""
        return self._log_proba(X)

    @answering_where_the_features_are
    def predict_proba(self, X: Any) -> Array:
        """Return the calibrated probabilities (N, K)."""
        return np.asarray(np.exp(self._log_proba(X)))

    @answering_where_the_features_are
    def predict(self, X: Any) -> Array:
        """Return each sample's most probable class."""
        places = self._log_proba(X).argmax(axis=1)
        return np.asarray(self.classes_[places])

    def _log_proba(self, X: Any) -> Array:
        check_is_fitted(self)
        return self.calibrator_.predict_log_proba(_scores(self.estimator_, X))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        theirs = get_tags(self.estimator)
        tags.input_tags.sparse = theirs.input_tags.sparse
        # Of others' classifiers no fitted array is moved.
        tags.array_api_support = isinstance(self.estimator, ArrayApiSupport)
        return tags

    @property
    def _fitted_array(self) -> Any:
        own = isinstance(self.estimator_, ArrayApiSupport)
        return self.estimator_._fitted_array if own else None

    def _keep(self, fitted: Any) -> None:
        """Take on a fitted classifier."""
        self.estimator_ = fitted
        self.classes_ = fitted.classes_
        self.__dict__.pop("feature_names_in_", None)
        for name in ("n_features_in_", "feature_names_in_"):
            if hasattr(fitted, name):
                setattr(self, name, getattr(fitted, name))

    def _out_of_fold(self, X: Any, y: Array, sample_weight: npt.ArrayLike | None) -> Array:
        if self.cv is None and isinstance(self.estimator_, SoftmaxRegressionCV):
            return self.estimator_.out_of_fold_log_proba(X)
        cv = _FOLDS if self.cv is None else self.cv
        splits = list(check_cv(cv, y, classifier=True).split(np.zeros(len(y)), y))
        if type(self.estimator) is SoftmaxRegression and not self.estimator.debias:
            search = search_at(self.estimator, splits)
            return search.fit(X, y, sample_weight).out_of_fold_log_proba(X)
        weighed = {} if sample_weight is None else {"sample_weight": np.asarray(sample_weight)}
        method = _method(self.estimator)
        found = cross_val_predict(
            self.estimator, X, y, cv=splits, method=method, params=weighed or None
        )
        return _as_scores(np.asarray(found), method)


def _warn_of_certainty(calibrator: Calibrator) -> None:
    """Say so where a temperature of 0 or ∞ leaves nothing of the scores."""
    if not isinstance(calibrator, TemperatureScaling):
        return
    if calibrator.temperature_ == 0:
        what = "every answer of the folds is right: at temperature 0 all answers are certain"
    elif math.isinf(calibrator.temperature_):
        what = "the answers of the folds tell nothing of the labels: at temperature ∞ all are alike"
    else:
        return
    checks.warn(f"{what}; estimator_ has them as they were")


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
    return _as_scores(np.asarray(on_host(getattr(estimator, method)(X))), method)


def _as_scores(found: Array, method: str) -> Array:
    """Return a column of scores for each class."""
    return score_columns(found, are_scores=method != "predict_proba")
