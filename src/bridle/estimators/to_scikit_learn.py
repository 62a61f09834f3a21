"""A fitted softmax regression as scikit-learn's own `LogisticRegression`, without a fit."""

from __future__ import annotations

import inspect
import math
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression

from bridle import checks
from bridle.estimators.array_api import as_numpy
from bridle.estimators.softmax_classifier import SoftmaxClassifier

Array = npt.NDArray[Any]


def logistic_regression(model: SoftmaxClassifier, C: float, l1_ratio: float, n_iter: int) -> Any:
    """Return a classifier with linear scores as a fitted `LogisticRegression`.

    Parameters
    ----------
    model : SoftmaxRegression or SoftmaxRegressionCV
        Fitted, as its own `to_sklearn` has looked.
    C, l1_ratio : float
        The strength that its weights are the optimum for, and the share of L1 in it.
    n_iter : int
        The steps that found them.
    """
    settings = model.get_params(deep=False)
    _warn_of_own_penalties(settings)
    # Two vectors (−w, w) / 2 have half the squares of their difference, which is penalised there,
    # and as large sizes.
    difference = 2.0 if len(model.coef_) == len(model.classes_) == 2 else 1.0
    scale = _common_scale(settings["standardize"])
    l1, l2 = l1_ratio * scale, (1 - l1_ratio) * scale**2 / difference
    told = _penalty(C / (l1 + l2), l1 / (l1 + l2))
    for name in ("fit_intercept", "class_weight", "max_iter", "verbose"):
        told[name] = settings[name]
    theirs = LogisticRegression(**told, warm_start=settings.get("warm_start", False))
    theirs.classes_ = model.classes_.copy()
    theirs.coef_, theirs.intercept_ = _weights(model)
    theirs.n_iter_ = np.array([n_iter], dtype=np.int32)
    theirs.n_features_in_ = int(model.coef_.shape[1])
    names = getattr(model, "feature_names_in_", None)
    if names is not None:
        theirs.feature_names_in_ = np.array(names, dtype=object)
    return theirs


def _common_scale(standardize: bool | float) -> float:
    """Return what all features are divided by for the penalty; their own scales have no ``C``."""
    found = checks.flag_or_positive(standardize, "standardize")
    if found is True:
        checks.warn(
            "standardize=True: scikit-learn's penalty knows no scale for each feature. The "
            "weights, and so all answers, are the same, but the parameter C is that of "
            "standardized features: to fit again by scikit-learn, put a StandardScaler before it"
        )
    return 1.0 if isinstance(found, bool) else float(found)


def _warn_of_own_penalties(settings: dict[str, Any]) -> None:
    """Say of what there is no parameter."""
    for name in ("group", "penalty_weight", "debias"):
        if settings.get(name) is not None and settings[name] is not False:
            checks.warn(
                f"{name}: scikit-learn's penalty knows none. The weights, and so all answers, are "
                "the same, but a fit by scikit-learn would find others"
            )


def _penalty(C: float, l1_ratio: float) -> dict[str, Any]:
    """Return the parameters that say ``C`` and the share of L1, as the version does."""
    old = inspect.signature(LogisticRegression).parameters["penalty"].default == "l2"
    if not math.isfinite(C):
        return {"penalty": None} if old else {"C": np.inf}
    if l1_ratio == 0:
        return {"C": C}
    told = {"C": C, "l1_ratio": l1_ratio, "solver": "saga"}
    return {**told, "penalty": "elasticnet"} if old else told


def _weights(model: SoftmaxClassifier) -> tuple[Array, Array]:
    """Return weights and intercepts of their own memory; of two classes scikit-learn has one."""
    coef, intercept = as_numpy(model.coef_), as_numpy(model.intercept_)
    if len(coef) == len(model.classes_) == 2:
        return coef[1:] - coef[:1], intercept[1:] - intercept[:1]
    return np.array(coef, order="C"), np.array(intercept)
