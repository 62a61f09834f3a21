"""`to_sklearn()`: scikit-learn's own classifier with our weights, for what takes only theirs.

skl2onnx and skops are no dependencies of the development's: where they are installed, these tests
hold the converted classifier against ours too.
"""

from __future__ import annotations

import inspect
import pickle
import warnings
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_breast_cancer, load_iris, load_wine
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import check_is_fitted

from bridle import SoftmaxRegression, SoftmaxRegressionCV

Array = npt.NDArray[Any]
# By which the versions of scikit-learn say that there is no penalty.
SAYS_NO_PENALTY_BY_C = (
    inspect.signature(LogisticRegression).parameters["penalty"].default == "deprecated"
)


def data(classes: int) -> tuple[Array, Array]:
    """Return samples of some classes, whose labels are words, with scaled features."""
    X, y = load_breast_cancer(return_X_y=True) if classes == 2 else load_iris(return_X_y=True)
    words = np.array(["third", "first", "second"])[:classes]
    return (X - X.mean(axis=0)) / X.std(axis=0), words[y]


def equal(model: Any, theirs: Any, X: Any, y: Any) -> None:
    """Hold all answers of ours against theirs."""
    assert type(theirs) is LogisticRegression
    check_is_fitted(theirs)
    np.testing.assert_array_equal(theirs.classes_, model.classes_)
    for method in ("predict_proba", "decision_function"):
        ours, found = getattr(model, method)(X), getattr(theirs, method)(X)
        assert ours.shape == found.shape
        np.testing.assert_allclose(found, ours, rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(theirs.predict(X), model.predict(X))
    with np.errstate(divide="ignore"):  # they take the logarithm of a probability of 0
        seen = theirs.predict_log_proba(X)
    ours = model.predict_log_proba(X)
    np.testing.assert_allclose(seen[ours > -20], ours[ours > -20], rtol=1e-6, atol=1e-12)
    assert theirs.score(X, y) == np.mean(model.predict(X) == y)
    assert theirs.n_features_in_ == np.shape(X)[1]
    assert theirs.n_iter_.shape == (1,)
    assert theirs.n_iter_.dtype == np.int32


def refitted(theirs: Any, X: Array, y: Array) -> Any:
    """Return what scikit-learn itself finds with the parameters that are told."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # rounding ends it above so small a bound
        return clone(theirs).set_params(tol=1e-12, solver="newton-cholesky").fit(X, y)


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("fit_intercept", [False, True])
@pytest.mark.parametrize("classes", [2, 3])
def test_all_answers_are_ours(classes: int, fit_intercept: bool, symmetric: bool) -> None:
    X, y = data(classes)
    model = SoftmaxRegression(0.3, fit_intercept=fit_intercept, symmetric=symmetric, tol=1e-12)
    model.fit(X, y)
    theirs = model.to_sklearn()
    equal(model, theirs, X, y)
    rows = 1 if classes == 2 else classes
    assert theirs.coef_.shape == (rows, X.shape[1])
    assert theirs.intercept_.shape == (rows,)
    equal(model, theirs, sp.csr_array(X), y)
    assert theirs.get_params()["C"] == (0.6 if symmetric and classes == 2 else 0.3)
    # The parameters tell the problem: scikit-learn's own fit of them ends at the same optimum.
    found = refitted(theirs, X, y)
    np.testing.assert_allclose(found.predict_proba(X), theirs.predict_proba(X), atol=1e-6)


@pytest.mark.parametrize("classes", [2, 3])
def test_a_number_as_standardize_is_in_the_parameter(classes: int) -> None:
    X, y = data(classes)
    model = SoftmaxRegression(50.0, standardize=5.0, tol=1e-12).fit(X, y)
    theirs = model.to_sklearn()
    assert theirs.C == 2.0
    equal(model, theirs, X, y)
    found = refitted(theirs, X, y)
    np.testing.assert_allclose(found.predict_proba(X), theirs.predict_proba(X), atol=1e-6)


def test_scales_of_features_are_in_the_weights_and_their_penalty_is_told() -> None:
    X, y = load_wine(return_X_y=True)
    model = SoftmaxRegression(0.5, standardize=True, tol=1e-12).fit(X, y)
    with pytest.warns(UserWarning, match="put a StandardScaler before it") as told:
        theirs = model.to_sklearn()
    assert told[0].filename == __file__
    equal(model, theirs, X, y)
    found = make_pipeline(StandardScaler(), refitted(theirs, StandardScaler().fit_transform(X), y))
    found[0].fit(X)
    np.testing.assert_allclose(found.predict_proba(X), theirs.predict_proba(X), atol=1e-6)


def test_no_penalty_is_told_as_the_version_tells_it() -> None:
    X, y = data(3)
    y = np.where(np.arange(len(y)) % 7 == 0, "first", y)  # the classes overlap
    model = SoftmaxRegression(np.inf, tol=1e-12).fit(X, y)
    theirs = model.to_sklearn()
    equal(model, theirs, X, y)
    told = theirs.get_params()
    if SAYS_NO_PENALTY_BY_C:
        assert (told["C"], told["penalty"]) == (np.inf, "deprecated")
    else:
        assert (told["C"], told["penalty"]) == (1.0, None)
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)  # they give up one of the two ways
        found = clone(theirs).set_params(tol=1e-10, solver="newton-cg").fit(X, y)
    np.testing.assert_allclose(found.predict_proba(X), theirs.predict_proba(X), atol=1e-5)


def test_the_other_parameters_are_told() -> None:
    X, y = data(3)
    weights = {"first": 2.0, "second": 0.5}
    model = SoftmaxRegression(
        class_weight=weights, max_iter=321, warm_start=True, fit_intercept=False
    ).fit(X, y)
    told = model.to_sklearn().get_params()
    changed = {"class_weight", "max_iter", "warm_start", "fit_intercept"}
    assert told["class_weight"] == weights
    assert (told["max_iter"], told["warm_start"], told["fit_intercept"]) == (321, True, False)
    usual = LogisticRegression().get_params()
    assert {name for name in told if told[name] != usual[name]} == changed
    assert model.to_sklearn().n_iter_.tolist() == [model.n_iter_]


@pytest.mark.parametrize("classes", [2, 3])
def test_a_class_without_weight_has_probability_0_there_too(classes: int) -> None:
    X, y = data(classes)
    with pytest.warns(UserWarning, match="first"):
        model = SoftmaxRegression().fit(X, y, sample_weight=(y != "first").astype(float))
    theirs = model.to_sklearn()
    equal(model, theirs, X, y)
    assert theirs.predict_proba(X)[:, list(theirs.classes_).index("first")].max() == 0.0


def test_a_fit_of_distributions_is_carried_with_its_numbered_classes() -> None:
    X, y = data(3)
    soft = np.full((len(y), 3), 0.1)
    soft[np.arange(len(y)), np.unique(y, return_inverse=True)[1]] = 0.8
    model = SoftmaxRegression().fit(X, soft)
    equal(model, model.to_sklearn(), X, model.predict(X))
    assert model.to_sklearn().classes_.tolist() == [0, 1, 2]


def test_names_of_features_are_theirs_too() -> None:
    X, y = data(3)
    frame = pd.DataFrame(X, columns=["a", "b", "c", "d"])
    model = SoftmaxRegression().fit(frame, y)
    theirs = model.to_sklearn()
    assert theirs.feature_names_in_.tolist() == ["a", "b", "c", "d"]
    equal(model, theirs, frame, y)
    with pytest.raises(ValueError, match="feature names"):
        theirs.predict(frame[["b", "a", "c", "d"]])
    assert not hasattr(SoftmaxRegression().fit(X, y).to_sklearn(), "feature_names_in_")


def test_features_in_float32_have_the_same_answers_to_their_rounding() -> None:
    X, y = data(3)
    single = X.astype(np.float32)
    model = SoftmaxRegression().fit(single, y)
    found = model.to_sklearn().predict_proba(single)
    np.testing.assert_allclose(found, model.predict_proba(single), rtol=0, atol=1e-6)
    exact = model.predict_proba(single.astype(np.float64))
    np.testing.assert_allclose(found, exact, rtol=0, atol=1e-12)


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("refit", [False, True])
@pytest.mark.parametrize("classes", [2, 3])
def test_cross_validation_gives_the_one_it_chose(
    classes: int, refit: bool, symmetric: bool
) -> None:
    X, y = data(classes)
    model = SoftmaxRegressionCV([0.01, 1.0, 7.0], cv=3, refit=refit, symmetric=symmetric)
    model.fit(pd.DataFrame(X).add_prefix("x"), y)
    theirs = model.to_sklearn()
    assert type(theirs) is LogisticRegression
    frame = pd.DataFrame(X).add_prefix("x")
    np.testing.assert_allclose(
        theirs.predict_proba(frame), model.predict_proba(frame), rtol=0, atol=1e-12
    )
    np.testing.assert_array_equal(theirs.predict(frame), model.predict(frame))
    assert model.C_ * (2 if symmetric and classes == 2 else 1) == theirs.C
    assert theirs.feature_names_in_.tolist() == list(frame.columns)


def test_it_is_no_view_of_ours() -> None:
    X, y = data(3)
    model = SoftmaxRegression().fit(X, y)
    theirs, before = model.to_sklearn(), model.predict_proba(X)
    theirs.coef_[:], theirs.intercept_[:], theirs.classes_[:] = 0, 0, "x"
    np.testing.assert_array_equal(model.predict_proba(X), before)
    assert "x" not in model.classes_


@pytest.mark.parametrize("model", [SoftmaxRegression(), SoftmaxRegressionCV()])
def test_what_was_not_fitted_is_told(model: Any) -> None:
    with pytest.raises(NotFittedError):
        model.to_sklearn()


def test_a_model_from_its_file_becomes_the_same(tmp_path: Path) -> None:
    X, y = data(2)
    frame = pd.DataFrame(X).add_prefix("x")
    model = SoftmaxRegression(C=np.inf, class_weight={"third": 2.0}, max_iter=3, symmetric=True)
    with pytest.warns(UserWarning, match="max_iter|separable"):
        model.fit(frame, y)
    model.save(tmp_path / "model.safetensors")
    theirs = SoftmaxRegression.load(tmp_path / "model.safetensors").to_sklearn()
    assert theirs.get_params() == model.to_sklearn().get_params()
    np.testing.assert_array_equal(theirs.coef_, model.to_sklearn().coef_)
    equal(model, theirs, frame, y)


@pytest.mark.parametrize("classes", [2, 3])
def test_it_survives_what_estimators_go_through(classes: int, tmp_path: Path) -> None:
    X, y = data(classes)
    model = SoftmaxRegression(C=3.0, class_weight="balanced").fit(X, y)
    theirs = model.to_sklearn()
    copy = clone(theirs)
    assert copy.get_params() == theirs.get_params()
    assert not hasattr(copy, "coef_")
    equal(model, pickle.loads(pickle.dumps(theirs)), X, y)
    joblib.dump(theirs, tmp_path / "model.joblib")
    equal(model, joblib.load(tmp_path / "model.joblib"), X, y)
    assert "C=3.0" in repr(theirs)
    calibrated = CalibratedClassifierCV(theirs, cv=3).fit(X, y)
    assert calibrated.predict_proba(X).shape == (len(X), classes)


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("classes", [2, 3])
def test_skops_keeps_it(classes: int, symmetric: bool) -> None:
    skops: Any = pytest.importorskip("skops.io", reason="skops is not installed")
    X, y = data(classes)
    model = SoftmaxRegression(symmetric=symmetric).fit(X, y)
    kept = skops.dumps(model.to_sklearn())
    assert skops.get_untrusted_types(data=kept) == []
    equal(model, skops.loads(kept), X, y)


@pytest.mark.parametrize("model", [SoftmaxRegression(), SoftmaxRegressionCV([0.1, 1.0], cv=3)])
def test_skops_keeps_ours_where_its_types_are_trusted(model: Any) -> None:
    skops: Any = pytest.importorskip("skops.io", reason="skops is not installed")
    X, y = data(3)
    kept = skops.dumps(clone(model).fit(X, y))
    types = skops.get_untrusted_types(data=kept)
    assert all(name.startswith("bridle.") for name in types)
    again = skops.loads(kept, trusted=types)
    expected = clone(model).fit(X, y).predict_proba(X)
    np.testing.assert_array_equal(again.predict_proba(X), expected)


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("fit_intercept", [False, True])
@pytest.mark.parametrize("classes", [2, 3])
def test_onnx_answers_the_same(classes: int, fit_intercept: bool, symmetric: bool) -> None:
    """In float32, which is all that ONNX's linear classifier knows."""
    skl2onnx: Any = pytest.importorskip("skl2onnx", reason="skl2onnx is not installed")
    runtime: Any = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    X, y = data(classes)
    model = SoftmaxRegression(fit_intercept=fit_intercept, symmetric=symmetric).fit(X, y)
    single = X.astype(np.float32)
    made = skl2onnx.to_onnx(model.to_sklearn(), single[:1], options={"zipmap": False})
    session = runtime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    label, probability = session.run(None, {"X": single})
    np.testing.assert_array_equal(label, model.predict(X))
    np.testing.assert_allclose(probability, model.predict_proba(X), atol=1e-5)
