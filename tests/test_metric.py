"""The curvature that a step is taken in: its algebra, and what less of it costs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from asking import answered, evaluated, stated
from bridle import SoftmaxRegression
from bridle.fit.solvers.metric import Curvature, Metric
from bridle.fit.solvers.whole_hessian import hessian_at


def random_problem(count: int, width: int, classes: int) -> Any:
    random = np.random.default_rng(count + width)
    spectrum = (1 + np.arange(width)) ** -0.5
    means = random.normal(size=(classes, width)) * spectrum
    y = np.concatenate([np.arange(classes), random.integers(classes, size=count - classes)])
    X = means[y] * 0.5 + random.normal(size=(count, width)) * spectrum
    rotation = np.linalg.qr(random.normal(size=(width, width)))[0]
    return X @ rotation, y


def matrix_of(curvature: Curvature, size: int) -> Any:
    if curvature.basis is None:
        return np.diag(curvature.values)
    matrix = curvature.basis @ np.diag(curvature.values) @ curvature.basis.T
    if curvature.rest is not None:
        matrix += curvature.rest * (np.eye(size) - curvature.basis @ curvature.basis.T)
    return matrix


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("features", ["whole", "diagonal", "leading"])
@pytest.mark.parametrize("classes", ["whole", "diagonal"])
def test_inverting_undoes_the_kronecker_product(
    features: str, classes: str, fit_intercept: bool
) -> None:
    random = np.random.default_rng(0)
    width, count, alpha = 7, 4, 0.3
    basis = np.linalg.qr(random.normal(size=(width, width)))[0]
    kept = 3 if features == "leading" else width
    on_features = Curvature(
        random.uniform(1, 2, kept),
        None if features == "diagonal" else basis[:, :kept],
        0.5 if features == "leading" else None,
    )
    on_classes = Curvature(
        random.uniform(1, 2, count),
        None if classes == "diagonal" else np.linalg.qr(random.normal(size=(count, count)))[0],
    )
    metric = Metric(on_features, on_classes, alpha, fit_intercept)
    step = random.normal(size=(width + fit_intercept, count))
    S, H = matrix_of(on_features, width), matrix_of(on_classes, count)
    gradient = S @ step[:width] @ H + alpha * step[:width]
    if fit_intercept:
        gradient = np.vstack([gradient, H @ step[-1]])
    np.testing.assert_allclose(metric.invert(gradient), step, rtol=0, atol=1e-12)


@pytest.mark.parametrize("limit", ["METRIC_WIDEST", "METRIC_MOST_CLASSES"])
@pytest.mark.parametrize("C", [0.01, 10.0])
def test_less_curvature_reaches_the_same_optimum(limit: str, C: float, monkeypatch: Any) -> None:
    X, y = random_problem(300, 29, 5)
    whole = SoftmaxRegression(C=C, tol=1e-9).fit(X, y)
    monkeypatch.setattr("bridle.kernels.thresholds.HESSIAN_FIRST_CHOICE", (0, 0))
    monkeypatch.setattr(f"bridle.kernels.thresholds.{limit}", 2)
    less = SoftmaxRegression(C=C, tol=1e-9).fit(X, y)
    assert less.fit_report_.proven
    assert less.fit_report_.objective == pytest.approx(whole.fit_report_.objective, rel=2e-9)


def test_leading_directions_beat_the_diagonal(monkeypatch: Any) -> None:
    monkeypatch.setattr("bridle.kernels.thresholds.HESSIAN_FIRST_CHOICE", (0, 0))
    X, y = random_problem(2000, 60, 3)
    monkeypatch.setattr("bridle.kernels.thresholds.METRIC_WIDEST", 2)
    monkeypatch.setattr("bridle.kernels.thresholds.METRIC_LEADING_ROWS", 50)
    leading = SoftmaxRegression(C=1.0, tol=1e-8).fit(X, y)
    monkeypatch.setattr("bridle.kernels.thresholds.METRIC_LEADING_ROWS", 1)
    nothing = SoftmaxRegression(C=1.0, tol=1e-8).fit(X, y)
    assert leading.fit_report_.passes < nothing.fit_report_.passes


@pytest.mark.parametrize("memory_budget", [1, 10_000, None])
def test_the_optimum_does_not_depend_on_the_memory(
    memory_budget: int | None, monkeypatch: Any
) -> None:
    X, y = random_problem(300, 29, 5)
    monkeypatch.setattr("bridle.kernels.thresholds.HESSIAN_FIRST_CHOICE", (0, 0))
    model = SoftmaxRegression(C=0.1, tol=1e-9, memory_budget=memory_budget).fit(X, y)
    expected = SoftmaxRegression(C=0.1, tol=1e-9).fit(X, y)
    assert model.fit_report_.proven
    np.testing.assert_allclose(model.predict_proba(X), expected.predict_proba(X), atol=1e-5)


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("C", [1e-2, 1e4, np.inf])
def test_the_hessian_is_the_gradients_slope(fit_intercept: bool, C: float) -> None:
    X, y = random_problem(40, 3, 4)
    weight = np.random.default_rng(1).uniform(0, 2, 40)
    objective, reader = stated(
        X, y, 4, C=C, fit_intercept=fit_intercept, standardize=True, sample_weight=weight
    )
    random = np.random.default_rng(2)
    point, direction = random.normal(size=(2, *objective.shape))
    for some in (point, direction):
        some -= some.mean(axis=1, keepdims=True)  # what adds the same to all classes is apart
    ahead, behind = (
        evaluated(objective, reader, point + sign * 1e-5 * direction).gradient for sign in (1, -1)
    )
    slope = (ahead - behind) / 2e-5
    found = answered(hessian_at(objective, point), reader).invert(slope)
    np.testing.assert_allclose(found, direction, rtol=0, atol=1e-5)


def test_a_newton_step_brings_the_mean_over_the_classes_to_0() -> None:
    X, y = random_problem(40, 3, 4)
    objective, reader = stated(X, y, 4, fit_intercept=False)
    point = evaluated(objective, reader, np.full(objective.shape, 7.0))
    step = answered(hessian_at(objective, point.parameters), reader).invert(point.gradient)
    assert (point.parameters - step).mean(axis=1) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("C", [1e-6, 1.0, 1e6])
def test_where_all_else_fails_the_hessian_is_asked(C: float, monkeypatch: Any) -> None:
    X, y = random_problem(200, 5, 3)
    X *= np.logspace(-6, 6, 5)
    asked = SoftmaxRegression(C=C, tol=1e-9).fit(X, y)
    monkeypatch.setattr("bridle.kernels.thresholds.HESSIAN_FIRST_CHOICE", (0, 0))
    last = SoftmaxRegression(C=C, tol=1e-9).fit(X, y)
    assert last.fit_report_.objective == pytest.approx(asked.fit_report_.objective, rel=1e-8)
