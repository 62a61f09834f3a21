"""A reader answers by sums: wherever the rows are, the optimum and its proof are the same."""

from __future__ import annotations

from dataclasses import replace
from functools import reduce
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from asking import stated
from bridle.fit import arrays
from bridle.fit.precision import Precision
from bridle.fit.problem.objective import build_objective
from bridle.fit.problem.penalty import Penalty
from bridle.fit.readers import Reader, reader_of
from bridle.fit.requests import (
    ClassCurvature,
    Entries,
    EntryCurvature,
    Extremes,
    FeatureCurvature,
    FeatureDiagonal,
    HessianProduct,
    Importance,
    InterceptValues,
    LeadingRows,
    Statistics,
    Values,
    WholeHessian,
)
from bridle.fit.solvers.solve import Task, solve
from bridle.kernels import thresholds
from bridle.rows import Rows


class InThirds(Reader):
    """A toy: the rows lie in three places, each with a reader of its own."""

    def __init__(self, X: Any, y: Any, weight: Any, classes: int) -> None:
        edges = [0, len(y) // 3, len(y) // 2, len(y)]
        self._places = []
        for begin, end in pairwise(edges):
            own = None if weight is None else weight[begin:end]
            place = reader_of(Rows([X[begin:end]]), y[begin:end], own, classes)
            place.first_row = begin
            self._places.append(place)
        # No reader has all rows: only sums are asked for.
        known: Any = {"count": len(y), "all_rows_on_host": False, "keeps_residuals": False}
        self.facts = replace(self._places[0].facts, **known)
        self.memory_budget = 2**24

    def blocks(self, question: Any) -> Any:
        raise NotImplementedError

    def answer(self, question: Any) -> Any:
        return reduce(question.merge, [place.answer(question) for place in self._places])


def problem(seed: int, count: int, width: int, classes: int, *, thin: bool = False) -> Any:
    random = np.random.default_rng(seed)
    X = random.normal(size=(count, width)) + 3
    if thin:
        X *= random.random(X.shape) < 0.2
    scores = (X - 3) @ random.normal(size=(width, classes)) + 2 * random.gumbel(
        size=(count, classes)
    )
    y = scores.argmax(axis=1)
    y[:classes] = np.arange(classes)
    return (sparse.csr_array(X) if thin else X), y, random.integers(0, 3, count).astype(float)


KINDS = {
    "quasi-Newton": {"count": 900, "width": 40, "classes": 9},
    "whole Hessian": {"count": 200, "width": 4, "classes": 3},
    "Newton-CG": {"count": 300, "width": 200, "classes": 4, "thin": True},
    "more features than rows": {"count": 60, "width": 200, "classes": 3},
}


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", list(KINDS))
def test_rows_in_three_places_have_the_same_optimum(
    kind: str, weighted: bool, fit_intercept: bool
) -> None:
    options: Any = KINDS[kind]
    X, y, weight = problem(1, **options)
    weight = weight if weighted else None
    classes = options["classes"]
    settings: Any = {"C": 0.1, "fit_intercept": fit_intercept, "standardize": True}
    objective, reader = stated(X, y, classes, sample_weight=weight, **settings)
    expected = solve(Task(objective, reader, np.zeros(objective.shape)), tol=1e-9, max_iter=500)
    thirds = InThirds(X, y, weight, classes)
    parted = build_objective(thirds, classes, **settings)
    np.testing.assert_allclose(parted.shift, objective.shift, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(parted.scale, objective.scale, rtol=1e-10)
    found = solve(Task(parted, thirds, np.zeros(parted.shape)), tol=1e-9, max_iter=500)
    assert found.proven
    assert found.stopped == expected.stopped == "gap"
    assert found.point.value == pytest.approx(expected.point.value, rel=3e-9)


@pytest.mark.parametrize("by_feature", [False, True])
@pytest.mark.parametrize("thin", [False, True])
def test_weights_are_0_alike_for_rows_in_three_places(thin: bool, by_feature: bool) -> None:
    X, y, weight = problem(3, 300, 30, 4, thin=thin)
    stated_here, reader = stated(X, y, 4, sample_weight=weight)
    thirds = InThirds(X, y, weight, 4)
    stated_there = build_objective(thirds, 4, C=1.0, fit_intercept=True, standardize=False)
    penalty = Penalty(0.06, 0.005, by_feature, np.ones(30))
    found = []
    for objective, own in ((stated_here, reader), (stated_there, thirds)):
        sparse_objective = replace(objective, alpha=0.0, penalty=penalty)
        start = np.zeros(objective.shape)
        found.append(solve(Task(sparse_objective, own, start), tol=1e-10, max_iter=200))
    assert [each.stopped for each in found] == ["gap", "gap"]
    assert found[1].point.value == pytest.approx(found[0].point.value, rel=3e-10)
    here, there = (each.point.parameters[:-1] for each in found)
    np.testing.assert_array_equal(here == 0, there == 0)
    assert (here == 0).any()


def requests(objective: Any, rows: Any) -> list[Any]:
    random = np.random.default_rng(2)
    point = objective.point(random.normal(size=objective.shape) / 3)
    direction = objective.point(random.normal(size=objective.shape))
    importance, own = Importance(point, 0.4), (objective.shift, objective.scale)
    contrasts = np.linalg.qr(np.eye(objective.classes)[:, 1:] - 1 / objective.classes)[0]
    return [
        Statistics(objective.facts.width, objective.classes),
        Extremes(np.array([0, 2])),
        Values(point),
        InterceptValues(point),
        ClassCurvature(point, rows),
        ClassCurvature(point, rows, diagonal=True),
        FeatureCurvature(importance, *own, rows),
        FeatureCurvature(None, *own, rows),
        FeatureCurvature(importance, *own, rows, np.array([2, 0])),
        EntryCurvature(point, _entries(objective), *own, rows),
        FeatureDiagonal(importance, objective.facts.width, rows),
        LeadingRows(importance, *own, rows),
        WholeHessian(point, *own, contrasts, objective.fit_intercept, 7),
        HessianProduct(point, direction),
    ]


def _entries(objective: Any) -> Entries:
    features, classes = np.array([0, 2, 1, 2]), np.array([1, 0, 1, 2])
    intercepts = np.arange(1, objective.classes if objective.fit_intercept else 1)
    return Entries(features, classes % objective.classes, intercepts)


def numbers_of(sums: Any) -> list[Any]:
    parts = sums if isinstance(sums, tuple) else vars(sums).values()
    return [np.concatenate(part) if isinstance(part, list) else part for part in parts]


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(3, 40),
    some=st.booleans(),
    thin=st.booleans(),
)
def test_sums_do_not_depend_on_where_the_rows_are(
    seed: int, count: int, some: bool, thin: bool
) -> None:
    X, y, weight = problem(seed, count, 5, 3, thin=thin)
    weight[0] = 1
    objective, reader = stated(X, y, 3, sample_weight=weight, standardize=True)
    rows = np.flatnonzero(np.arange(count) % 3 != 1) if some else None
    thirds = InThirds(X, y, weight, 3)
    for request in requests(objective, rows):
        if isinstance(request, FeatureCurvature) and thin:
            continue  # of sparse rows the diagonal alone is asked
        whole, parted = reader.answer(request), thirds.answer(request)
        if isinstance(whole, np.ndarray):
            np.testing.assert_allclose(parted, whole, rtol=1e-9, atol=1e-9)
            continue
        for one, other in zip(numbers_of(whole), numbers_of(parted), strict=True):
            np.testing.assert_allclose(other, one, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("thin", [False, True])
def test_the_sums_are_what_their_formulas_say(thin: bool) -> None:
    X, y, weight = problem(5, 31, 5, 3, thin=thin)
    objective, reader = stated(X, y, 3, sample_weight=weight, standardize=True)
    x = X.toarray() if thin else X
    u = (x - objective.shift) / objective.scale
    point = objective.point(np.random.default_rng(0).normal(size=objective.shape))
    scores = x @ point.weight + point.offset
    p = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    spread = 1 - (p**2).sum(axis=1)
    classes = reader.answer(ClassCurvature(point))
    assert classes.weight == pytest.approx(weight.sum())
    assert classes.spread == pytest.approx(weight @ spread)
    expected = np.diag(weight @ p) - p.T @ (weight[:, None] * p)
    np.testing.assert_allclose(classes.hessian(), expected / weight.sum(), atol=1e-12)
    importance = weight * (0.05 + 0.95 * spread / 0.4)
    sums = reader.answer(FeatureDiagonal(Importance(point, 0.4), 5))
    np.testing.assert_allclose(sums, [importance @ x**2, importance @ x], atol=1e-9)
    if not thin:
        moment = reader.answer(
            FeatureCurvature(Importance(point, 0.4), objective.shift, objective.scale)
        )
        np.testing.assert_allclose(moment, u.T @ (importance[:, None] * u), atol=1e-9)
    change = np.random.default_rng(1).normal(size=(5, 3))
    direction = point._replace(weight=change, offset=np.zeros(3))
    product = reader.answer(HessianProduct(point, direction))
    z = x @ change
    residual_change = weight[:, None] * p * (z - (p * z).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(product.product, x.T @ residual_change, atol=1e-9)
    np.testing.assert_allclose(product.residual, residual_change.sum(axis=0), atol=1e-9)


def test_a_constant_added_to_all_scores_is_not_curved_in_float32_either() -> None:
    X, y, _ = problem(7, 5_003, 5, 4)
    objective, reader = stated(X.astype(np.float32), y, 4)
    parameters = np.random.default_rng(0).normal(size=objective.shape)
    point = objective.point(parameters, Precision(np.dtype(np.float32)))
    hessian = reader.answer(ClassCurvature(point)).hessian()
    assert np.abs(hessian.sum(axis=1)).max() < 1e-15


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_curvature_of_columns_that_are_nearly_empty(
    monkeypatch: pytest.MonkeyPatch, fit_intercept: bool
) -> None:
    """Products of stored numbers alone, and what centring adds, make that of dense columns."""
    X, y, weight = problem(4, 300, 9, 4, thin=True)
    told: dict[str, Any] = {
        "sample_weight": weight, "fit_intercept": fit_intercept, "standardize": True
    }  # fmt: skip
    objective, dense = stated(X.toarray(), y, 4, **told)
    _, thin = stated(X, y, 4, **told)
    point = objective.point(np.random.default_rng(2).normal(size=objective.shape))
    own, places = (objective.shift, objective.scale), np.array([2, 0, 7])
    for request in (
        FeatureCurvature(None, *own),
        FeatureCurvature(Importance(point, 0.4), *own, None, places),
        EntryCurvature(point, _entries(objective), *own),
    ):
        expected = dense.answer(request)
        for pair in (0, np.inf):  # always by what is stored, and never
            monkeypatch.setattr(thresholds, "THIN_PAIR", pair)
            found = thin.answer(request)
            if isinstance(request, EntryCurvature):
                assert found.weight == expected.weight
                np.testing.assert_allclose(found.matrix, expected.matrix, atol=1e-10)
            else:
                np.testing.assert_allclose(found, expected, atol=1e-10)


def test_without_weights_no_pass_is_needed() -> None:
    X, y, weight = problem(3, 50, 4, 3)
    for fit_intercept in (True, False):
        objective, reader = stated(
            X, y, 3, sample_weight=weight, fit_intercept=fit_intercept, standardize=True
        )
        parameters = np.zeros(objective.shape)
        if fit_intercept:
            parameters[-1] = [0.3, -1.0, 2.0]
        known = objective.without_weights(parameters)
        sums = reader.answer(Values(objective.point(parameters)))
        asked = objective.evaluation(parameters, sums)
        np.testing.assert_allclose(known.gradient, asked.gradient, atol=1e-13)
        assert known.value == pytest.approx(asked.value, rel=1e-14)
        assert known.worst_loss == pytest.approx(asked.worst_loss, rel=1e-14)


def test_what_no_reader_answers_is_named() -> None:
    class Nothing(Reader):
        def blocks(self, question: Any) -> Any:
            raise AssertionError(question)

    with pytest.raises(NotImplementedError, match="Nothing does not answer"):
        Nothing().answer(object())  # type: ignore[arg-type]


def test_a_row_below_uses_the_memory_that_has_room_and_no_other() -> None:
    like = np.ones((0, 3))
    roomy = arrays.zeros_above_room(4, like)
    below = arrays.with_row_below(roomy)
    assert below.shape == (5, 3)
    assert np.shares_memory(below, roomy)
    whole = np.arange(15.0).reshape(5, 3)
    for matrix in (whole[1:], whole[:4].copy(), np.frombuffer(whole.tobytes()).reshape(5, 3)):
        longer = arrays.with_row_below(matrix)
        assert not np.shares_memory(longer, matrix)
        np.testing.assert_array_equal(longer[:-1], matrix)
