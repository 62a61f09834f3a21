"""Fewer rows than features: the fit in the rows' span, beside scikit-learn's in all features."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from asking import stated
from bridle import SoftmaxRegression, softmax_regression_path
from bridle.fit.readers import DenseReader
from bridle.fit.requests import Gram
from bridle.fit.solvers import few_rows
from bridle.kernels import thresholds
from bridle.rows import Rows


def few(count: int = 24, width: int = 100, classes: int = 3, seed: int = 0) -> Any:
    random = np.random.default_rng(seed)
    y = np.arange(count) % classes
    X = random.normal(size=(classes, width))[y] * 0.7 + random.normal(size=(count, width)) + 3
    return X, y


def exact(X: Any, y: Any, C: float, sample_weight: Any = None, intercept: bool = True) -> Any:
    """Return scikit-learn's model, by Newton's method over all features."""
    model = LogisticRegression(
        C=C, tol=1e-12, max_iter=1000, solver="newton-cg", fit_intercept=intercept
    )
    return model.fit(X, y, sample_weight)


def assert_optimal(model: Any, reference: Any, atol: float = 1e-5) -> None:
    assert model.fit_report_.proven
    assert model.fit_report_.stopped == "gap"
    np.testing.assert_allclose(model.coef_, reference.coef_, atol=atol)
    intercept = reference.intercept_ - reference.intercept_.mean()
    np.testing.assert_allclose(model.intercept_, intercept, atol=atol * 10)


@pytest.mark.parametrize("C", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("equations", [0, 10**6])
def test_equals_the_optimum_over_all_features(C: Any, equations: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(thresholds, "SPAN_EQUATIONS_AT_ONCE", equations)
    X, y = few(classes=4)
    assert_optimal(SoftmaxRegression(C=C, tol=1e-11).fit(X, y), exact(X, y, C))


@pytest.mark.parametrize("equations", [0, 10**6])
def test_without_an_intercept(equations: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(thresholds, "SPAN_EQUATIONS_AT_ONCE", equations)
    X, y = few()
    model = SoftmaxRegression(tol=1e-11, fit_intercept=False).fit(X, y)
    assert_optimal(model, exact(X, y, 1.0, intercept=False))


def test_weights_of_which_some_are_0() -> None:
    X, y = few()
    weight = np.random.default_rng(1).integers(0, 4, len(y)).astype(float)
    model = SoftmaxRegression(tol=1e-11).fit(X, y, weight)
    repeated = np.repeat(np.arange(len(y)), weight.astype(int))
    assert_optimal(model, exact(X[repeated], y[repeated], 1.0))


def test_distributions_are_their_classes_in_shares() -> None:
    X, _ = few()
    shares = np.random.default_rng(2).dirichlet(np.ones(3), len(X))
    model = SoftmaxRegression(tol=1e-11).fit(X, shares)
    copies, labels = np.repeat(X, 3, axis=0), np.tile(np.arange(3), len(X))
    assert_optimal(model, exact(copies, labels, 1.0, shares.ravel()))


def test_standardised() -> None:
    X, y = few()
    X[:, 5], X[:, 6] = 7.0, X[:, 6] * 1e4
    model = SoftmaxRegression(tol=1e-11, standardize=True).fit(X, y)
    scale = np.where(X.std(axis=0) > 0, X.std(axis=0), 1.0)
    scaled = (X - X.mean(axis=0)) / scale
    reference = exact(scaled, y, 1.0)
    np.testing.assert_allclose(model.coef_ * scale, reference.coef_, atol=1e-5)
    np.testing.assert_allclose(model.predict_proba(X), reference.predict_proba(scaled), atol=1e-6)


@pytest.mark.parametrize("budget", [24 * 24 * 8, None])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int8"])
def test_any_storage_in_any_number_of_blocks(dtype: Any, budget: Any) -> None:
    X, y = few()
    stored = (X * 8).astype(dtype)
    parts = Rows([stored[:10], stored[10:]])
    model = SoftmaxRegression(tol=1e-10, memory_budget=budget).fit(parts, y)
    assert_optimal(model, exact(stored.astype(float), y, 1.0))


def test_rows_that_repeat_each_other_and_more_rows_than_features() -> None:
    X, y = few(count=150)
    X[75:] = X[:75]
    assert_optimal(SoftmaxRegression(tol=1e-11).fit(X, y), exact(X, y, 1.0))


def test_a_path_and_a_warm_start_come_to_the_same_optimum() -> None:
    X, y = few()
    path = softmax_regression_path(X, y, [0.01, 1.0, 100.0], tol=1e-11)
    for C, coef in zip(path.Cs, path.coefs, strict=True):
        np.testing.assert_allclose(coef, exact(X, y, C).coef_, atol=1e-5)
    model = SoftmaxRegression(tol=1e-11, warm_start=True).fit(X, y)
    steps = model.n_iter_
    assert_optimal(model.fit(X, y), exact(X, y, 1.0))
    assert model.n_iter_ < steps


@pytest.mark.parametrize("C", [1e-8, 1e8])
def test_extreme_penalties_end_in_a_proof_or_say_why(C: Any) -> None:
    X, y = few(count=60, width=120)
    model = SoftmaxRegression(C=C).fit(X, y)
    assert model.fit_report_.stopped in ("gap", "decrement")
    assert np.isfinite(model.coef_).all()


def test_a_path_multiplies_the_rows_with_each_other_once(monkeypatch: Any) -> None:
    asked, answer = [], DenseReader.answer

    def counting(reader: DenseReader, question: Any) -> Any:
        asked.append(type(question))
        return answer(reader, question)

    monkeypatch.setattr(DenseReader, "answer", counting)
    X, y = few()
    softmax_regression_path(X, y, [0.01, 1.0, 100.0])
    assert asked.count(Gram) == 1


def test_the_limit_of_steps_holds() -> None:
    X, y = few()
    with pytest.warns(UserWarning, match="max_iter=1 steps reached"):
        model = SoftmaxRegression(C=100.0, max_iter=1).fit(X, y)
    assert model.n_iter_ == 1


@pytest.mark.parametrize("C", [1.0, np.inf])
def test_no_eigenproblem_is_larger_than_the_rows(C: Any, monkeypatch: Any) -> None:
    sizes, eigh = [0], np.linalg.eigh

    def counting(matrix: Any, *arguments: Any) -> Any:
        sizes.append(len(matrix))
        return eigh(matrix, *arguments)

    monkeypatch.setattr(np.linalg, "eigh", counting)
    X, y = few(count=30, width=900)
    y[:3] = (y[:3] + 1) % 3
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # without a penalty: separable
        SoftmaxRegression(C=C).fit(X, y)
    assert max(sizes) <= 30


def test_what_goes_another_way() -> None:
    def objective(X: Any, **options: Any) -> Any:
        return stated(X, np.arange(len(X)) % 3, 3, **options)[0]

    X, _ = few(count=30, width=300)
    assert few_rows.serves(objective(X))
    assert not few_rows.serves(objective(X, C=np.inf))
    assert not few_rows.serves(objective(X, memory_budget=1000))
    assert not few_rows.serves(objective(np.ones((3000, 500))))


def test_a_path_over_rows_of_which_one_direction_holds_nearly_all() -> None:
    # In float32 the products of all rows with each other then have negative eigenvalues.
    random = np.random.default_rng(0)
    y = np.arange(800) % 2
    X = random.normal(size=(800, 1)) * 1e2 + random.normal(size=(800, 600)) * 1e-2
    X[:, :2] += np.eye(2)[y]
    path = softmax_regression_path(X, y, [0.01, 1.0, 100.0])
    assert all(report.proven for report in path.reports)
