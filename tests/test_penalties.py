"""Penalties that make weights 0: the optimum is that of another solver, and the bound holds."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, sparse, special
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import StratifiedKFold
from sklearn.utils.estimator_checks import check_estimator

from asking import evaluated, stated
from bridle import SoftmaxRegression, SoftmaxRegressionCV
from bridle.checks import InputError
from bridle.estimators.model_file import with_zeros
from bridle.estimators.path import softmax_regression_path
from bridle.fit.problem.penalty import Penalty
from bridle.fit.problem.penalty_gap import dual_point, proven_zero

L1_RATIOS = (0.1, 0.5, 1.0)


def data(
    seed: int, count: int, width: int, classes: int, *, rare: bool = False, noise: float = 2.0
) -> tuple[Any, Any]:
    random = np.random.default_rng(seed)
    X = random.normal(size=(count, width))
    informative = max(1, width // 3)
    scores = X[:, :informative] @ random.normal(size=(informative, classes))
    y = (scores + noise * random.gumbel(size=scores.shape)).argmax(axis=1)
    if rare:
        y[y == classes - 1] = 0
    y[:classes] = np.arange(classes)
    return X, y


def harden(X: Any, kind: str, random: np.random.Generator) -> Any:
    """Return features with columns that repeat each other, or of very different scales."""
    if kind == "duplicate":
        X = np.hstack([X, X[:, :2]])
    if kind == "badly scaled":
        X = X * 10.0 ** random.uniform(-3, 3, X.shape[1])
    if kind == "constant":
        X = np.hstack([X, np.full((len(X), 1), 7.0)])
    return X


def objective_of(
    X: Any,
    target: Any,
    weight: Any,
    C: float,
    l1_ratio: float,
    by_feature: bool,
    factors: Any = 1.0,
) -> Any:
    """Return the mean loss plus penalty as a function of (W (D, K), b), written plainly."""

    def objective(W: Any, b: Any) -> float:
        scores = X @ W + b
        losses = special.logsumexp(scores, axis=1) - (target * scores).sum(axis=1)
        sizes = np.linalg.norm(W, axis=1) if by_feature else np.abs(W).sum(axis=1)
        squares = (W**2).sum(axis=1)
        penalty = (factors * (l1_ratio * sizes + (1 - l1_ratio) / 2 * squares)).sum()
        return float((weight @ losses + penalty / C) / weight.sum())

    return objective


def independent_optimum(
    X: Any, target: Any, weight: Any, C: float, l1_ratio: float, by_feature: bool
) -> float:
    """Return the least objective, found by nothing of ours.

    Of entries, each weight is the difference of two that are at least 0: a smooth problem with
    bounds. Of features, FISTA with restarts, and as many steps as it takes.
    """
    (_, width), classes = X.shape, target.shape[1]
    total = weight.sum()
    strength = 1 / (C * total)

    def smooth(W: Any, b: Any) -> tuple[float, Any, Any]:
        scores = X @ W + b
        losses = special.logsumexp(scores, axis=1) - (target * scores).sum(axis=1)
        residual = (special.softmax(scores, axis=1) - target) * weight[:, None] / total
        square = strength * (1 - l1_ratio)
        value = float(weight @ losses / total + square / 2 * (W**2).sum())
        return value, X.T @ residual + square * W, residual.sum(axis=0)

    if not by_feature:

        def split(z: Any) -> tuple[float, Any]:
            above, below = z[: 2 * width * classes].reshape(2, width, classes)
            value, slope, intercept_slope = smooth(above - below, z[2 * width * classes :])
            cost = strength * l1_ratio
            gradient = [(slope + cost).ravel(), (cost - slope).ravel(), intercept_slope]
            return value + cost * (above + below).sum(), np.concatenate(gradient)

        bounds = [(0, None)] * (2 * width * classes) + [(None, None)] * classes
        options: Any = {"maxiter": 50_000, "maxfun": 100_000, "ftol": 1e-16, "gtol": 1e-12}
        options["maxcor"] = 50
        z = np.zeros(len(bounds))
        for _ in range(3):
            found = optimize.minimize(
                split, z, jac=True, method="L-BFGS-B", bounds=bounds, options=options
            )
            z = found.x
        return float(found.fun)
    bend = np.linalg.norm(
        np.hstack([X, np.ones((len(X), 1))]) * np.sqrt(weight / total)[:, None], 2
    )
    length = 1 / (bend**2 / 2 + strength * (1 - l1_ratio))
    W = previous_W = np.zeros((width, classes))
    b = previous_b = np.zeros(classes)
    momentum, objective = 1.0, objective_of(X, target, weight, C, l1_ratio, True)
    best: float = objective(W, b)
    for step in range(60_000):
        value_W = W + (momentum - 1) / (momentum + 2) * (W - previous_W)
        value_b = b + (momentum - 1) / (momentum + 2) * (b - previous_b)
        _, slope, intercept_slope = smooth(value_W, value_b)
        moved = value_W - length * slope
        sizes = np.linalg.norm(moved, axis=1, keepdims=True)
        shrunk = np.maximum(1 - length * strength * l1_ratio / np.maximum(sizes, 1e-300), 0)
        previous_W, previous_b = W, b
        W, b = moved * shrunk, value_b - length * intercept_slope
        momentum += 1
        if ((value_W - W) * (W - previous_W)).sum() > 0:
            momentum = 1.0
        if step % 500 == 499:
            now = objective(W, b)
            if best - now < 1e-15:
                break
            best = min(best, now)
    return min(best, float(objective(W, b)))


PROBLEMS: list[dict[str, Any]] = [
    {"count": 60, "width": 8, "classes": 3},
    {"count": 25, "width": 40, "classes": 3},  # more features than rows
    {"count": 80, "width": 6, "classes": 4, "rare": True},
    {"count": 60, "width": 7, "classes": 3, "kind": "duplicate"},
    {"count": 60, "width": 7, "classes": 3, "kind": "badly scaled"},
    {"count": 50, "width": 5, "classes": 3, "kind": "constant"},
    {"count": 50, "width": 9, "classes": 2},
    {"count": 60, "width": 8, "classes": 3, "weighted": True},
    {"count": 60, "width": 8, "classes": 3, "soft": True},
    {"count": 60, "width": 8, "classes": 5, "weighted": True, "soft": True},
]


@pytest.mark.parametrize("by_feature", [False, True])
@pytest.mark.parametrize("l1_ratio", L1_RATIOS)
@pytest.mark.parametrize("number", range(len(PROBLEMS)))
def test_the_optimum_is_that_of_another_solver(
    number: int, l1_ratio: float, by_feature: bool
) -> None:
    told = dict(PROBLEMS[number])
    kind, weighted, soft = (told.pop(name, None) for name in ("kind", "weighted", "soft"))
    X, y = data(number, **told)
    random = np.random.default_rng(number)
    X = harden(X, str(kind), random)
    classes = int(told["classes"])
    target = np.eye(classes)[y]
    if soft:
        target = 0.7 * target + 0.3 * random.dirichlet(np.ones(classes), len(y))
    weight = random.integers(0, 4, len(y)).astype(float) if weighted else np.ones(len(y))
    if weighted:
        weight[:classes] = 1.0
    C = 0.3
    model = SoftmaxRegression(
        C,
        l1_ratio=l1_ratio,
        group="features" if by_feature else None,
        tol=1e-9,
        symmetric=True,
        standardize=kind == "badly scaled",
    ).fit(X, target if soft else y, sample_weight=weight if weighted else None)
    report = model.fit_report_
    assert report.stopped == "gap"
    assert report.proven
    if kind == "badly scaled":
        X = (X - X.mean(axis=0)) / X.std(axis=0)
    least = independent_optimum(X, target, weight, C, l1_ratio, by_feature)
    assert report.objective <= least * (1 + 1e-9) + 1e-12
    # The other one is no more exact than its own tolerance.
    assert report.objective == pytest.approx(least, rel=2e-7)
    # At every pass the bound was above what there was still to gain.
    optimum = min(least, report.objective)
    for each in report.history:
        assert each.objective - optimum <= each.relative_gap * each.objective + 1e-12


@pytest.mark.parametrize("l1_ratio", [1.0, 0.5])
def test_the_support_is_scikit_learns(l1_ratio: float) -> None:
    linear = pytest.importorskip("sklearn.linear_model")
    X, y = data(3, 150, 12, 3)
    ours = SoftmaxRegression(0.1, l1_ratio=l1_ratio, tol=1e-12).fit(X, y)
    import inspect

    told = {"solver": "saga", "C": 0.1, "l1_ratio": l1_ratio, "tol": 1e-12, "max_iter": 100_000}
    if inspect.signature(linear.LogisticRegression).parameters["penalty"].default == "l2":
        told["penalty"] = "elasticnet"
    theirs = linear.LogisticRegression(**told).fit(X, y)
    np.testing.assert_array_equal(ours.coef_ != 0, theirs.coef_ != 0)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-6)
    assert (ours.coef_ == 0).any()


@pytest.mark.parametrize("by_feature", [False, True])
@pytest.mark.parametrize("l1_ratio", L1_RATIOS)
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), size=st.floats(0, 3), one_vector=st.booleans())
def test_no_point_is_below_the_bound(
    by_feature: bool, l1_ratio: float, seed: int, size: float, one_vector: bool
) -> None:
    classes = 2 if one_vector else 3
    X, y = data(seed, 40, 6, classes)
    objective, reader = stated(X, y, classes)
    random = np.random.default_rng(seed)
    factors = random.uniform(0.5, 2, 6)
    penalty = Penalty(0.05 * l1_ratio, 0.05 * (1 - l1_ratio), by_feature, factors, one_vector)
    objective = replace(objective, alpha=0.0, penalty=penalty)
    points = []
    for _ in range(6):
        parameters = (
            size * random.normal(size=objective.shape) * (random.random(objective.shape) < 0.6)
        )
        if one_vector:
            parameters[:-1, 0] = 0
        points.append(evaluated(objective, reader, parameters))
    bounds = [each.value - dual_point(objective, each).gap for each in points]
    assert max(bounds) <= min(each.value for each in points) + 1e-12


@pytest.mark.parametrize("by_feature", [False, True])
def test_what_is_proven_zero_is_zero_at_the_optimum(by_feature: bool) -> None:
    X, y = data(5, 200, 30, 4)
    objective, reader = stated(X, y, 4)
    penalty = Penalty(0.06, 0.0, by_feature, np.ones(30))
    objective = replace(objective, alpha=0.0, penalty=penalty)
    C = 1 / (0.06 * 200)
    group = "features" if by_feature else None
    best = SoftmaxRegression(C, l1_ratio=1.0, group=group, tol=1e-12).fit(X, y)
    kept = best.coef_.any(axis=0)
    report = best.fit_report_
    assert report.kept_features == kept.sum()
    assert report.zero_features == (~kept).sum() > 0
    # From points on the way there, the more the nearer, and never one that stays.
    start = np.zeros(objective.shape)
    end = objective.in_fit_units(best.coef_.T, best.intercept_)
    found = []
    for part in (0.5, 0.99, 0.9999, 1 - 1e-6, 1.0):
        point = evaluated(objective, reader, start + part * (end - start))
        zero = proven_zero(objective, dual_point(objective, point))
        assert not (zero & kept).any()
        found.append(int(zero.sum()))
    assert found == sorted(found)
    assert found[-1] > 0


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), by_feature=st.booleans(), l2=st.floats(0.01, 2))
def test_conjugate_is_the_supremum(seed: int, by_feature: bool, l2: float) -> None:
    random = np.random.default_rng(seed)
    penalty = Penalty(0.4, l2, by_feature, random.uniform(0.1, 2, 3))
    slope = random.normal(size=(3, 2)) * 2

    def negative(v: Any) -> float:
        weight = v.reshape(3, 2)
        return penalty.value(weight) - float((slope * weight).sum())

    # The maximiser is a soft threshold of the slope.
    if by_feature:
        sizes = np.linalg.norm(slope, axis=1, keepdims=True)
        share = np.maximum(1 - penalty.l1 * penalty.factors[:, None] / sizes, 0)
        best = slope * share / (l2 * penalty.factors[:, None])
    else:
        excess = np.maximum(np.abs(slope) - penalty.l1 * penalty.factors[:, None], 0)
        best = np.sign(slope) * excess / (l2 * penalty.factors[:, None])
    assert penalty.conjugate(slope) == pytest.approx(-negative(best.ravel()), abs=1e-9)
    for _ in range(10):
        assert -negative(best.ravel() + random.normal(size=6)) <= penalty.conjugate(slope) + 1e-9


KINDS: dict[str, Any] = {
    "float16": lambda X: X.astype(np.float16),
    "float32": lambda X: X.astype(np.float32),
    "sparse": lambda X: sparse.csr_array(np.where(np.abs(X) > 0.5, X, 0)),
    "Fortran": np.asfortranarray,
}


@pytest.mark.parametrize("group", [None, "features"])
@pytest.mark.parametrize("kind", list(KINDS))
def test_however_features_are_stored(kind: str, group: str | None) -> None:
    X, y = data(7, 300, 20, 3)
    stored = KINDS[kind](X)
    plain = stored.toarray() if sparse.issparse(stored) else stored.astype(np.float64)
    told: Any = {"l1_ratio": 0.8, "group": group, "tol": 1e-9}
    found, expected = (SoftmaxRegression(0.05, **told).fit(each, y) for each in (stored, plain))
    assert found.fit_report_.stopped == "gap"
    np.testing.assert_allclose(found.coef_, expected.coef_, atol=1e-5)
    np.testing.assert_array_equal(found.coef_ == 0, expected.coef_ == 0)


@pytest.mark.parametrize("group", [None, "features"])
def test_tensors_have_the_same_optimum(group: str | None) -> None:
    torch = pytest.importorskip("torch")
    X, y = data(8, 200, 15, 3)
    told: Any = {"l1_ratio": 0.9, "group": group, "tol": 1e-10}
    ours = SoftmaxRegression(0.05, **told).fit(X, y)
    tensors = SoftmaxRegression(0.05, **told, device="cpu").fit(torch.as_tensor(X), y)
    np.testing.assert_allclose(tensors.coef_, ours.coef_, atol=1e-6)
    np.testing.assert_array_equal(tensors.coef_ == 0, ours.coef_ == 0)


def test_weight_k_is_k_copies() -> None:
    X, y = data(9, 60, 10, 3)
    weight = np.random.default_rng(9).integers(0, 4, 60)
    weight[:3] = 1
    told: Any = {"l1_ratio": 1.0, "tol": 1e-11}
    once = SoftmaxRegression(0.2, **told).fit(X, y, sample_weight=weight)
    copied = SoftmaxRegression(0.2, **told).fit(np.repeat(X, weight, 0), np.repeat(y, weight))
    np.testing.assert_allclose(once.coef_, copied.coef_, atol=1e-7)


@pytest.mark.parametrize("group", [None, "features"])
@pytest.mark.parametrize("symmetric", [False, True])
def test_two_classes_have_one_vector_as_in_scikit_learn(symmetric: bool, group: str | None) -> None:
    X, y = data(10, 120, 9, 2)
    model = SoftmaxRegression(0.1, l1_ratio=0.7, group=group, symmetric=symmetric, tol=1e-10)
    model.fit(X, y)
    assert model.coef_.shape == ((2 if symmetric else 1), 9)
    if symmetric:
        return
    w, b = model.coef_[0], model.intercept_[0]

    def value(w: Any, b: float) -> float:
        margin = (2 * y - 1) * (X @ w + b)
        penalty = 0.7 * np.abs(w).sum() + 0.15 * w @ w
        return float((np.logaddexp(0, -margin).sum() + penalty / 0.1) / 120)

    least = value(w, b)
    assert least == pytest.approx(model.fit_report_.objective, rel=1e-12)
    random = np.random.default_rng(0)
    for _ in range(200):
        step = random.normal(size=10) * 10.0 ** random.uniform(-5, -1)
        assert value(w + step[:9], b + step[9]) >= least * (1 - 1e-9)


def test_from_the_strongest_penalty_on_weights_leave_zero() -> None:
    X, y = data(11, 150, 12, 3)
    path = softmax_regression_path(X, y, 8, l1_ratio=1.0, tol=1e-10)
    assert not path.coefs[0].any()
    barely = SoftmaxRegression(1.001 * path.Cs[0], l1_ratio=1.0, tol=1e-10).fit(X, y)
    assert np.count_nonzero(barely.coef_) == 1
    assert path.Cs[-1] == pytest.approx(1000 * path.Cs[0])
    for C, coef in zip(path.Cs, path.coefs, strict=True):
        alone = SoftmaxRegression(C, l1_ratio=1.0, tol=1e-10).fit(X, y)
        np.testing.assert_allclose(coef, alone.coef_, atol=2e-5)
    grouped = softmax_regression_path(X, y, 4, l1_ratio=0.5, penalty_group="features")
    assert not grouped.coefs[0].any()
    assert grouped.coefs[1].any()


def test_penalty_weights() -> None:
    X, y = data(12, 150, 8, 3)
    factors = np.array([1, 2, 0.5, 1, 4, 1, 1, 3.0])
    # Of L1 alone, and of the square alone, a weight is a scale of the feature.
    for l1_ratio, scale in ((1.0, factors), (0.0, np.sqrt(factors))):
        told: Any = {"C": 0.2, "l1_ratio": l1_ratio, "tol": 1e-11}
        weighted = SoftmaxRegression(**told, penalty_weight=factors).fit(X, y)
        scaled = SoftmaxRegression(**told).fit(X / scale, y)
        np.testing.assert_allclose(weighted.coef_, scaled.coef_ / scale, atol=1e-6)
        assert weighted.fit_report_.objective == pytest.approx(scaled.fit_report_.objective)
    for l1_ratio in (0.0, 0.5, 1.0):
        free = np.where(np.arange(8) == 7, 0, 1)
        model = SoftmaxRegression(0.01, l1_ratio=l1_ratio, penalty_weight=free, tol=1e-8).fit(X, y)
        assert model.fit_report_.stopped == "gap"
        assert model.coef_[:, 7].any()
        probability = model.predict_proba(X)
        slope = X[:, 7] @ (probability - np.eye(3)[y]) / len(y)
        np.testing.assert_allclose(slope, 0, atol=1e-7)


def test_very_many_weights_go_by_factors(monkeypatch: pytest.MonkeyPatch) -> None:
    from bridle.fit.solvers import sparse_newton

    X, y = data(13, 400, 25, 4)
    for group in (None, "features"):
        told: Any = {"l1_ratio": 0.9, "group": group, "tol": 1e-8}
        expected = SoftmaxRegression(0.3, **told).fit(X, y)
        with monkeypatch.context() as patch:
            patch.setattr(sparse_newton, "most_entries", lambda _: 0)
            found = SoftmaxRegression(0.3, **told).fit(X, y)
        assert found.fit_report_.stopped == "gap"
        np.testing.assert_allclose(found.coef_, expected.coef_, atol=1e-4)
        np.testing.assert_array_equal(found.coef_ == 0, expected.coef_ == 0)


def test_separable_classes_have_an_optimum() -> None:
    random = np.random.default_rng(14)
    X = random.normal(size=(60, 200))
    y = (X[:, 0] > 0).astype(int)
    model = SoftmaxRegression(1000.0, l1_ratio=1.0, tol=1e-8).fit(X, y)
    assert model.fit_report_.stopped == "gap"
    assert model.score(X, y) == 1


def test_a_fit_begins_at_the_last_one() -> None:
    X, y = data(15, 300, 20, 3)
    for classes in (3, 2):
        labels = np.minimum(y, classes - 1)
        model = SoftmaxRegression(0.1, l1_ratio=1.0, warm_start=True).fit(X, labels)
        before = model.coef_.copy()
        model.fit(X, labels)
        np.testing.assert_allclose(model.coef_, before, atol=1e-6)
        assert model.fit_report_.passes <= 3


def test_saved_and_loaded(tmp_path: Any) -> None:
    X, y = data(16, 100, 6, 3)
    model = SoftmaxRegression(
        0.1, l1_ratio=0.5, group="features", penalty_weight=np.array([1, 1, 2, 1, 1, 1.0])
    ).fit(X, y)
    file = tmp_path / "model.safetensors"
    model.save(file)
    loaded = SoftmaxRegression.load(file)
    assert loaded.l1_ratio == 0.5
    assert loaded.group == "features"
    np.testing.assert_array_equal(np.asarray(loaded.penalty_weight), [1, 1, 2, 1, 1, 1])
    assert loaded.fit_report_ == model.fit_report_
    np.testing.assert_array_equal(loaded.coef_, model.coef_)


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"l1_ratio": 1.5}, "l1_ratio: expected a number in [0, 1], found 1.5"),
        ({"l1_ratio": "much"}, "l1_ratio: expected a number in [0, 1], found 'much'"),
        ({"group": "classes", "l1_ratio": 1.0}, "group: expected"),
        ({"group": "features"}, "group: expected l1_ratio above 0 with it, found 0"),
        ({"penalty_weight": [1.0]}, "penalty_weight: expected a number for each of 4 features"),
        (
            {"penalty_weight": [1, 1, -1, 1]},
            "penalty_weight: entry 2 is -1, expected a finite number of 0",
        ),
        (
            {"penalty_weight": [1, np.nan, 1, 1]},
            "penalty_weight: entry 1 is nan, expected a finite number",
        ),
        ({"penalty_weight": [0, 0, 0, 0]}, "penalty_weight: expected a number above 0 among"),
    ],
)
def test_what_cannot_be_meant_is_refused(told: dict[str, Any], message: str) -> None:
    X, y = data(17, 30, 4, 3)
    with pytest.raises(InputError) as caught:
        SoftmaxRegression(**told).fit(X, y)
    assert str(caught.value).startswith(message)


def test_shares_of_l1_are_chosen_by_folds() -> None:
    X, y = data(18, 150, 10, 3)
    Cs = [0.02, 0.1, 1.0]
    search = SoftmaxRegressionCV(Cs, l1_ratios=[1.0, 0.0, 0.5], cv=3, tol=1e-9).fit(X, y)
    assert search.scores_.shape == (3, 3, 3)
    np.testing.assert_array_equal(search.l1_ratios_, [0, 0.5, 1])
    means = search.scores_.mean(axis=0)
    best = np.unravel_index(means.argmax(), means.shape)
    assert search.l1_ratio_ == search.l1_ratios_[best[0]]
    assert Cs[best[1]] == search.C_
    folds = StratifiedKFold(3)
    for fold, (train, test) in enumerate(folds.split(X, y)):
        for at, ratio in enumerate(search.l1_ratios_):
            for place, C in enumerate(Cs):
                alone = SoftmaxRegression(C, l1_ratio=ratio, tol=1e-9).fit(X[train], y[train])
                score = alone.predict_log_proba(X[test])[np.arange(len(test)), y[test]].mean()
                assert search.scores_[fold, at, place] == pytest.approx(score, abs=1e-5)
    refitted = SoftmaxRegression(search.C_, l1_ratio=search.l1_ratio_, tol=1e-9).fit(X, y)
    np.testing.assert_allclose(search.coef_, refitted.coef_, atol=1e-5)
    one = SoftmaxRegressionCV(Cs, l1_ratios=[1.0], group="features", cv=3).fit(X, y)
    assert one.scores_.shape == (3, 1, 3)
    assert one.best_estimator_.group == "features"


@pytest.mark.parametrize("ratios", [[], [0.5, 2.0], 0.5, ["much"]])
def test_shares_of_l1_that_cannot_be_meant_are_refused(ratios: Any) -> None:
    X, y = data(19, 30, 4, 3)
    with pytest.raises(InputError, match="l1_ratios"):
        SoftmaxRegressionCV([1.0], l1_ratios=ratios, cv=2).fit(X, y)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("l1_ratio", [0.3, 1.0])
def test_scikit_learns_classifier_has_the_same_optimum(
    classes: int, symmetric: bool, l1_ratio: float
) -> None:
    X, y = data(20, 120, 6, classes)
    told: Any = {"l1_ratio": l1_ratio, "symmetric": symmetric, "standardize": 3.0, "tol": 1e-11}
    ours = SoftmaxRegression(0.5, **told).fit(X, y)
    theirs = ours.to_sklearn()
    np.testing.assert_allclose(theirs.predict_proba(X), ours.predict_proba(X), atol=1e-12)
    # Its parameters tell the same problem: a fit of its own ends there.
    weights = theirs.coef_.copy()
    theirs.set_params(tol=1e-10, max_iter=20_000, warm_start=False).fit(X, y)
    np.testing.assert_allclose(theirs.coef_, weights, atol=1e-5)


def test_penalties_that_scikit_learn_has_not_are_said() -> None:
    X, y = data(21, 60, 4, 3)
    for told in ({"group": "features"}, {"penalty_weight": [1, 1, 1, 2.0]}):
        model = SoftmaxRegression(0.5, l1_ratio=0.5, **told).fit(X, y)
        with pytest.warns(UserWarning, match=next(iter(told))):
            theirs = model.to_sklearn()
        np.testing.assert_array_equal(theirs.coef_, model.coef_)


def test_files_of_few_weights(tmp_path: Path) -> None:
    X, y = data(22, 150, 200, 4)
    model = SoftmaxRegression(0.05, l1_ratio=1.0).fit(X, y)
    whole, few = tmp_path / "whole.safetensors", tmp_path / "few.safetensors"
    model.save(whole)
    model.save(few, sparse=True)
    assert few.stat().st_size < whole.stat().st_size - 4 * 200 * 8 / 2
    loaded = SoftmaxRegression.load(few)
    np.testing.assert_array_equal(loaded.coef_, model.coef_)
    np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))


@pytest.mark.parametrize(
    ("shape", "places"),
    [
        ([2, 3], [0, 6]),
        ([2, 3], [3, 1]),
        ([2, 3], [-1, 1]),
        ([2, 3], [1]),
        ([-2, -3], [0, 1]),
        ([3.9, 4], [0, 1]),
        ([3, 10**17], [0, 1]),
        ("34", [0, 1]),
        ([2, 3], [1, -(2**63)]),
    ],
)
def test_places_that_do_not_fit_are_refused(shape: list[int], places: list[int]) -> None:
    tensors = {"coef_values": np.ones(2), "coef_places": np.array(places)}
    with pytest.raises(ValueError, match="coef"):
        with_zeros("coef", tensors, shape)


def test_stability_is_the_share_of_folds_that_keep_a_feature() -> None:
    X, y = data(23, 120, 15, 3)
    search = SoftmaxRegressionCV([0.15], l1_ratios=[1.0], cv=4).fit(X, y)
    kept = np.stack([fold.coef.any(axis=0) for fold in search.folds_])
    np.testing.assert_array_equal(search.stability_, kept.mean(axis=0))
    assert 0 < search.stability_.mean() < 1


@pytest.mark.parametrize(
    "model",
    [
        SoftmaxRegression(l1_ratio=0.5),
        SoftmaxRegression(l1_ratio=1.0, group="features"),
        SoftmaxRegressionCV([0.1, 1.0], l1_ratios=[0.5, 1.0], cv=2),
    ],
    ids=str,
)
def test_scikit_learns_checks(model: Any) -> None:
    check_estimator(model, on_skip=None)


@pytest.mark.parametrize("group", [None, "features"])
@pytest.mark.parametrize("classes", [2, 3])
def test_weights_without_bias(classes: int, group: str | None, tmp_path: Path) -> None:
    X, y = data(24, 300, 12, classes, noise=3.0)
    told: Any = {"l1_ratio": 1.0, "group": group, "tol": 1e-9}
    biased = SoftmaxRegression(0.05, **told).fit(X, y)
    model = SoftmaxRegression(0.05, **told, debias=True).fit(X, y)
    assert model.fit_report_.objective == biased.fit_report_.objective
    np.testing.assert_array_equal(model.coef_ != 0, biased.coef_ != 0)
    assert np.abs(model.coef_).sum() > np.abs(biased.coef_).sum()
    assert model.debiased_report_.stopped == "decrement"
    assert not model.debiased_report_.proven
    assert model.debiased_report_.loss < biased.fit_report_.loss
    # There the loss has no slope in any weight that is not 0, nor in the intercept.
    probability = model.predict_proba(X)
    residual = (probability - np.eye(classes)[y]) / len(y)
    slopes = residual.T @ X
    slopes = slopes[1:] if classes == 2 else slopes
    np.testing.assert_allclose(slopes[model.coef_ != 0], 0, atol=1e-6)
    np.testing.assert_allclose(residual.sum(axis=0), 0, atol=1e-6)
    model.save(tmp_path / "model.safetensors", sparse=True)
    loaded = SoftmaxRegression.load(tmp_path / "model.safetensors")
    assert loaded.debiased_report_ == model.debiased_report_
    np.testing.assert_array_equal(loaded.coef_, model.coef_)


def test_without_bias_what_is_separated_has_no_optimum() -> None:
    random = np.random.default_rng(25)
    X = random.normal(size=(60, 5))
    y = (X[:, 0] > 0).astype(int)
    with pytest.warns(ConvergenceWarning, match="debias: the classes are separable"):
        model = SoftmaxRegression(1.0, l1_ratio=1.0, debias=True).fit(X, y)
    assert model.fit_report_.stopped == "gap"
    assert model.debiased_report_.stopped == "separable"
    without: list[dict[str, Any]] = [{"l1_ratio": 0.0}, {"l1_ratio": 1.0, "C": np.inf}]
    for told in without:
        with pytest.raises(InputError, match="debias: expected a penalty with l1_ratio above 0"):
            SoftmaxRegression(**told, debias=True).fit(X, y)


def test_groups_of_two_classes_where_many_features_stay() -> None:
    random = np.random.default_rng(26)
    X = random.normal(size=(60, 1200))
    y = (X[:, :3].sum(axis=1) + random.normal(size=60) > 0).astype(int)
    grouped, single = (
        SoftmaxRegression(1.0, l1_ratio=0.05, group=group, tol=1e-8).fit(X, y)
        for group in ("features", None)
    )
    # A group of one number is that number.
    assert grouped.fit_report_.objective == pytest.approx(single.fit_report_.objective, rel=2e-8)
    np.testing.assert_allclose(grouped.coef_, single.coef_, atol=1e-4)


def test_a_group_may_have_a_weight_of_0() -> None:
    half = [[1, -1, -1], [1, -1, -1], [0, -1, 0], [1, -1, -1]]
    X = np.array(half + [[-value for value in row] for row in half])
    told: Any = {"l1_ratio": 0.5, "group": "features", "fit_intercept": False, "tol": 1e-8}
    model = SoftmaxRegression(100.0, **told).fit(X, [0, 1, 2, 3, 0, 2, 1, 3])
    assert model.fit_report_.stopped == "gap"


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), l1_ratio=st.sampled_from([0.3, 1.0]), grouped=st.booleans())
def test_what_is_proven_zero_has_no_weight(seed: int, l1_ratio: float, grouped: bool) -> None:
    random = np.random.default_rng(seed)
    count, classes = int(random.integers(10, 60)), int(random.integers(2, 4))
    X, y = random.normal(size=(count, 3)), random.integers(0, classes, count)
    y[:classes] = np.arange(classes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # of a tolerance below rounding
        model = SoftmaxRegression(
            1.0, l1_ratio=l1_ratio, group="features" if grouped else None, tol=1e-15
        ).fit(X, y)
    report = model.fit_report_
    assert report.kept_features is not None
    assert report.zero_features is not None
    assert report.kept_features + report.zero_features <= 3


@pytest.mark.parametrize("factor", [[1, 1, 1, 1e5], [1e-5] * 4, [1e8] * 4, [1, 1, 1, 1e-5]])
def test_features_of_any_scale(factor: list[float]) -> None:
    X, y = data(27, 300, 4, 3)
    model = SoftmaxRegression(1.0, l1_ratio=1.0).fit(X * factor, y)
    assert model.fit_report_.stopped == "gap"
    assert model.fit_report_.passes < 60


def test_near_separation_newton_steps_go_on() -> None:
    model = SoftmaxRegression(100.0, l1_ratio=1.0)
    model.fit([[1, 0, 1], [0, 1, -1], [0, 0, 0]], [0, 1, 2])
    assert model.fit_report_.stopped == "gap"
    assert model.fit_report_.passes < 60


@pytest.mark.parametrize("counted", [12, 2000])
def test_rows_without_weight_are_no_sample(counted: int) -> None:
    random = np.random.default_rng(28)
    X, y = random.normal(size=(30_000, 5)), random.integers(0, 3, 30_000)
    weight = np.zeros(30_000)
    weight[random.choice(30_000, counted, replace=False)] = 1
    told: Any = {"l1_ratio": 1.0, "C": 1.0, "tol": 1e-8}
    model = SoftmaxRegression(**told).fit(X, y, weight)
    alone = SoftmaxRegression(**told).fit(X[weight > 0], y[weight > 0])
    assert model.fit_report_.stopped == "gap"
    np.testing.assert_allclose(model.coef_, alone.coef_, atol=1e-5)


def test_more_features_at_work_than_memory_has_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    from bridle.fit.solvers import sparse_newton

    for classes in (2, 3):
        X, y = data(29, 60, 150, classes)
        expected = SoftmaxRegression(1.0, l1_ratio=0.2, tol=1e-7).fit(X, y)
        with monkeypatch.context() as patch:
            patch.setattr(sparse_newton, "most_entries", lambda _: 0)
            patch.setattr(sparse_newton, "_most_features", lambda _: 40)
            found = SoftmaxRegression(1.0, l1_ratio=0.2, tol=1e-5).fit(X, y)
        assert found.fit_report_.stopped == "gap"
        least = expected.fit_report_.objective
        assert found.fit_report_.objective == pytest.approx(least, rel=1.1e-5)


def test_an_interrupted_fit_is_kept_and_saved(tmp_path: Path) -> None:
    X, y = data(30, 200, 10, 3)

    def interrupt(progress: Any) -> None:
        if progress.step == 3:
            raise KeyboardInterrupt

    model = SoftmaxRegression(0.1, l1_ratio=0.9, debias=True)
    with pytest.warns(ConvergenceWarning, match="interrupted"):
        model.fit(X, y, progress=interrupt)
    assert model.fit_report_.kept_features == model.coef_.any(axis=0).sum()
    model.save(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(
        SoftmaxRegression.load(tmp_path / "model.safetensors").coef_, model.coef_
    )
    model.set_params(debias=True).fit(X, y)
    assert hasattr(model, "debiased_report_")
    assert not hasattr(model.set_params(debias=False).fit(X, y), "debiased_report_")


def test_penalty_weights_of_any_kind_are_told_to_scikit_learn() -> None:
    X, y = data(31, 60, 4, 3)
    model = SoftmaxRegression(0.5, penalty_weight=np.array([1, 1, 1, 2.0])).fit(X, y)
    with pytest.warns(UserWarning, match="penalty_weight"):
        model.to_sklearn()


def test_how_many_strengths_where_nothing_can_be_learnt() -> None:
    with pytest.raises(InputError, match="Cs: expected numbers, where no feature has to do"):
        softmax_regression_path(np.ones((6, 2)), [0, 1] * 3, 5, l1_ratio=1.0)
