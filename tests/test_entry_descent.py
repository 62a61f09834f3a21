"""Steps in single weights of sparse features, without a matrix; models that promise too much."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import sparse
from scipy.special import softmax

from bridle import SoftmaxRegression
from bridle.fit.readers import SparseReader
from bridle.fit.requests import Entries, EntryCurvature, EntryDescent, Point
from bridle.fit.solvers import sparse_newton
from bridle.fit.solvers.entry_model import EntryModel
from bridle.kernels import thresholds
from bridle.kernels.numba import sparse_coordinates as compiled
from bridle.kernels.numpy import sparse_coordinates as reference
from bridle.kernels.numpy.sparse_coordinates import Columns, Model, Scores
from bridle.rows import Rows


def features(rows: int, width: int, random: np.random.Generator) -> Any:
    made = sparse.random_array((rows, width), density=0.2, rng=random, format="csr")
    made.data = random.normal(size=len(made.data))
    return made


@pytest.mark.parametrize("seed", range(8))
def test_compiled_sweeps_are_the_reference(seed: int) -> None:
    random = np.random.default_rng(seed)
    rows, width, classes = (int(each) for each in random.integers((1, 1, 2), (40, 15, 6)))
    matrix = features(rows, width, random).tocsc()
    columns = Columns(matrix.indptr.astype(np.int64), matrix.indices.astype(np.int64), matrix.data)
    probability = softmax(random.normal(size=(classes, rows)), axis=0)
    places, own = np.nonzero(random.random((width, classes)) < 0.7)
    found = []
    for kernels in (reference, compiled):
        moved, mean = np.zeros((classes, rows)), np.zeros(rows)
        scores = Scores(probability, np.full(rows, 1 / rows), moved, mean)
        curvature = kernels.curvatures(columns, scores, places, own)
        numbers = np.random.default_rng(seed + 100)
        slope, start = numbers.normal(size=(2, len(places)))
        extra, cost = numbers.random((2, len(places)))
        model = Model(places, own, slope, curvature, extra * (own > 0), start, cost)
        values = np.where(own == 1, 0.0, start)
        worst = [kernels.sweep(columns, scores, model, values, only) for only in (False, True)]
        assert (kernels.sweep(columns, scores, model, values * 0, True)) == 0
        found.append((curvature, values, worst, scores.moved, scores.mean))
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("is_compiled", [True, False])
def test_the_minimum_is_that_of_the_matrix(
    is_compiled: bool, weighted: bool, fit_intercept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thresholds, "SPARSE_COMPILED_PRODUCTS", 0 if is_compiled else 2**60)
    monkeypatch.setattr(thresholds, "SPARSE_FEWEST_ROWS", 17)  # several blocks
    monkeypatch.setattr(thresholds, "SPARSE_BLOCK_NUMBERS", 0)
    random = np.random.default_rng(3)
    rows, width, classes = 60, 9, 4
    X, y = features(rows, width, random), random.integers(classes, size=rows)
    weight = random.random(rows) * (np.arange(rows) % 5 > 0) if weighted else None
    reader = SparseReader(Rows([X]), y, weight, classes)
    scale, none = 0.5 + random.random(width), np.zeros(width)
    point = Point(random.normal(size=(width, classes)), random.normal(size=classes))
    chosen, own = np.nonzero(random.random((width, classes)) < 0.6)
    intercepts = np.arange(1, classes if fit_intercept else 1)
    entries = Entries(chosen, own, intercepts)
    sums = reader.answer(EntryCurvature(point, entries, none, scale))
    matrix = sums.matrix / float(sums.weight)
    slope = 0.02 * random.normal(size=len(entries))
    count = len(chosen)
    start, cost, extra = np.zeros(len(entries)), np.zeros(len(entries)), np.zeros(len(entries))
    start[:count] = random.normal(size=count) * (random.random(count) < 0.5)
    cost[:count], extra[:count] = 0.002, 0.01 * random.random(count)
    model = EntryModel(matrix + np.diag(extra), slope, start, cost, len(intercepts))
    expected = model.minimum(1e-10)
    offset_slope = np.append(0.0, slope[count:]) if fit_intercept else None
    question = EntryDescent(
        point, chosen, own, scale, slope[:count], offset_slope, extra[:count], start[:count],
        cost[:count], 1e-12, 100_000,
    )  # fmt: skip
    found = reader.answer(question)
    assert found.settled
    np.testing.assert_allclose(found.values, expected[:count], atol=1e-7)
    assert ((found.values == 0) == (expected[:count] == 0)).all()
    assert (found.values == 0).any()
    np.testing.assert_allclose(
        found.offset[1:], expected[count:] if fit_intercept else 0, atol=1e-7
    )


@pytest.mark.parametrize("options", [{}, {"l1_ratio": 0.5}, {"fit_intercept": False}], ids=str)
@pytest.mark.parametrize("classes", [2, 5])
def test_sparse_features_have_the_optimum_of_dense_ones(
    classes: int, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thresholds, "SPARSE_COMPILED_PRODUCTS", 0)
    monkeypatch.setattr(sparse_newton, "_FEWEST_DESCENDED", 1)
    asked = []
    descended = sparse_newton._Newton._descended

    def heard(*arguments: Any) -> Any:
        asked.append(arguments)
        return descended(*arguments)

    monkeypatch.setattr(sparse_newton._Newton, "_descended", heard)
    random = np.random.default_rng(classes)
    X, y = features(300, 40, random), random.integers(classes, size=300)
    given: dict[str, Any] = {"C": 0.1, "l1_ratio": 1.0, "tol": 1e-9, "standardize": True, **options}
    weight, factors = random.random(300), np.where(np.arange(40) == 3, 0.0, 1.0)
    model = SoftmaxRegression(**given, penalty_weight=factors)
    found = model.fit(X, y, weight)
    answers, support = found.predict_log_proba(X), found.coef_ != 0
    assert asked
    count = len(asked)
    dense = model.fit(X.toarray(), y, weight)
    assert len(asked) == count, "dense features have a matrix"
    np.testing.assert_allclose(answers, dense.predict_log_proba(X), atol=1e-4)
    assert (support == (dense.coef_ != 0)).all()


@pytest.mark.parametrize("curvature", ["of columns", "of entries", "of features"])
def test_a_model_that_promises_too_much_is_damped(
    curvature: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where rows are sure of a wrong class, the curvature vanishes, and the slope does not."""
    if curvature == "of features":
        monkeypatch.setattr(sparse_newton, "most_entries", lambda _: 0)
    monkeypatch.setattr(thresholds, "SPARSE_COMPILED_PRODUCTS", 0)
    random = np.random.default_rng(0)
    X, y = features(400, 60, random), random.integers(3, size=400)
    given = X if curvature == "of columns" else X.toarray()
    right = SoftmaxRegression(C=1.0, l1_ratio=1.0, tol=1e-6).fit(given, y)
    model = SoftmaxRegression(C=1.0, l1_ratio=1.0, tol=1e-6, warm_start=True).fit(given, y)
    model.coef_ = 300 * random.normal(size=model.coef_.shape)
    model.fit(given, y)
    assert model.fit_report_.stopped == "gap"
    np.testing.assert_allclose(model.fit_report_.objective, right.fit_report_.objective, rtol=2e-6)
