"""The pass that reads each row once, against the plain products in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bridle.fit.readers import DenseReader, dense
from bridle.fit.requests import Point, Values
from bridle.kernels import thresholds
from bridle.kernels.numba.dense_pass import PassSums, pass_sums
from bridle.kernels.numpy import reference
from bridle.rows import Rows


def plain_sums(X: Any, W: Any, b: Any, target: Any, share: Any) -> PassSums:
    scores = X.astype(np.float64) @ W.astype(np.float64) + b
    losses = reference.residual_in_place(scores, target, share)
    weight = np.ones(len(X)) if share is None else share
    worst = losses.max(initial=0.0, where=weight > 0)
    return PassSums(float(losses @ weight), float(worst), X.T @ scores, scores.sum(axis=0))


def problem(count: int, depth: int, classes: int, dtype: str, *, weighted: bool) -> Any:
    random = np.random.default_rng(count + classes)
    X = random.normal(size=(count, depth)).astype(dtype)
    W = random.normal(size=(depth, classes)).astype(dtype)
    share = random.uniform(0, 3, count) * (random.random(count) > 0.2) if weighted else None
    return (
        X,
        W,
        random.normal(size=classes).astype(dtype),
        random.integers(classes, size=count),
        share,
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("classes", [1, 2, 3, 10, 16, 17, 33, 64])
@pytest.mark.parametrize(("count", "depth"), [(1, 1), (63, 5), (64, 12), (65, 13), (5000, 29)])
def test_sums_are_those_of_the_plain_products(
    count: int, depth: int, classes: int, dtype: str
) -> None:
    for weighted in (False, True):
        given = problem(count, depth, classes, dtype, weighted=weighted)
        found, true = pass_sums(*given), plain_sums(*given)
        exact = 1e-12 if dtype == "float64" else 1e-5
        assert found.loss == pytest.approx(true.loss, rel=exact, abs=exact)
        assert found.worst_loss == pytest.approx(true.worst_loss, rel=exact, abs=exact)
        np.testing.assert_allclose(found.product, true.product, rtol=0, atol=exact * count)
        np.testing.assert_allclose(found.residual, true.residual, rtol=0, atol=exact * count)


def test_sums_do_not_depend_on_the_number_of_threads() -> None:
    X, W, b, target, share = problem(20_011, 7, 3, "float32", weighted=True)
    one = pass_sums(X, W, b, target, share, threads=1)
    two = pass_sums(X, W, b, target, share, threads=2)
    assert (one.loss, one.worst_loss) == (two.loss, two.worst_loss)
    np.testing.assert_array_equal(one.product, two.product)


def test_a_certain_sample_keeps_its_small_loss() -> None:
    X, W = np.array([[1.0]]), np.array([[40.0, 0.0]])
    found = pass_sums(X, W, np.zeros(2), np.array([0]), None)
    assert found.loss == pytest.approx(np.exp(-40), rel=1e-12)
    assert found.residual[0] == pytest.approx(-np.exp(-40), rel=1e-12)


@pytest.mark.parametrize("storage", ["float32", "float16", "uint8", "parts"])
def test_a_fits_pass_chooses_it_and_gets_the_same(storage: str, monkeypatch: Any) -> None:
    X, W, b, target, share = problem(999, 11, 5, "float32", weighted=True)
    X = np.round(8 * X) % 200
    if storage == "parts":
        rows = Rows([X[:500].astype("float32"), X[500:].astype("float32")])
    else:
        rows = Rows([X.astype(storage)])
    reader, request = DenseReader(rows, target, share, 5), Values(Point(W / 100, b))
    plain = reader.answer(request)
    asked = []

    def seen(*given: Any) -> Any:
        asked.append(given)
        return real(*given)

    monkeypatch.setattr(thresholds, "ONE_READING_NUMBERS", 0)
    real = dense._one_pass_sums
    monkeypatch.setattr(dense, "_one_pass_sums", seen)
    found = reader.answer(request)
    assert asked
    assert found.loss == pytest.approx(plain.loss, rel=1e-6)
    np.testing.assert_allclose(found.product, plain.product, rtol=1e-4, atol=0.5)


@pytest.mark.parametrize("kernel", [False, True])
@pytest.mark.parametrize("dtype", ["float64", "float16"])
def test_a_pass_for_several_is_each_ones_own(kernel: bool, dtype: str, monkeypatch: Any) -> None:
    X, W, b, target, share = problem(331, 7, 3, "float64", weighted=True)
    share[100:230] = 0
    none_at_all = np.zeros_like(share)
    none_at_all[-1] = 2
    monkeypatch.setattr(thresholds, "ONE_READING_NUMBERS", 0 if kernel else 2**60)
    rows = Rows([X.astype(dtype)])
    asked = [
        (DenseReader(rows, target, weight, 3, 2**12), Values(Point(factor * W, b)))
        for factor, weight in ((0.1, None), (-0.2, share), (0.0, none_at_all))
    ]
    together = asked[0][0].answer_together(asked)
    wide = X.astype(dtype).astype(np.float64)
    for (reader, request), found in zip(asked, together, strict=True):
        weight = np.ones(len(target)) if reader.sample_weight is None else reader.sample_weight
        scores = wide @ request.point.weight + b
        losses = reference.residual_in_place(scores, target, weight)
        assert found.loss == pytest.approx(float(losses @ weight), rel=1e-12)
        assert found.worst_loss == pytest.approx(float(losses[weight > 0].max()), rel=1e-12)
        np.testing.assert_allclose(found.product, wide.T @ scores, rtol=0, atol=1e-9)
        np.testing.assert_allclose(found.residual, scores.sum(axis=0), rtol=0, atol=1e-9)
