"""The exact fit: the optimum is reached, proven, and the same however the data are stored."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, sparse
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.ensemble import BaggingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

import bridle
from asking import evaluated, stated
from bridle import InputError, SoftmaxRegression, SoftmaxRegressionCV
from bridle.estimators import NetworkClassifier
from bridle.fit.problem.gap import duality_gap
from bridle.fit.problem.targets import WeightlessClassWarning
from bridle.progress import Progress
from bridle.rows import Rows


# One of scikit-learn's own checks casts a NaN to an integer on purpose.
@pytest.mark.filterwarnings("ignore:invalid value encountered in cast:RuntimeWarning")
@pytest.mark.parametrize(
    "settings",
    [{}, {"standardize": True}, {"C": 100.0}, {"C": 1e4, "symmetric": True}],
)
def test_scikit_learn_estimator_contract(settings: dict[str, Any]) -> None:
    check_estimator(SoftmaxRegression(**settings), on_skip=None)


def random_problem(
    seed: Any, *, count: int = 60, width: int = 7, classes: int = 3, soft: bool = False
) -> Any:
    generator = np.random.default_rng(seed)
    X = generator.normal(size=(count, width)) * generator.uniform(0.1, 10, width)
    scores = X @ generator.normal(size=(width, classes)) / 5 + generator.gumbel(
        size=(count, classes)
    )
    y = scores.argmax(axis=1)
    y[:classes] = np.arange(classes)
    return (X, bridle.softmax(scores)) if soft else (X, y)


def direct_objective(W: Any, b: Any, X: Any, y: Any, C: Any, sample_weight: Any = None) -> Any:
    """Return the objective as its docstring writes it, by the public loss."""
    share = np.ones(len(X)) if sample_weight is None else sample_weight
    loss = bridle.cross_entropy(X @ W + b, y, sample_weight=share)
    return float(loss) + float((W**2).sum()) / (2 * C * share.sum())


class TestOptimum:
    @pytest.mark.parametrize("load", [load_iris, load_wine, load_digits])
    @pytest.mark.parametrize("C", [1e-3, 1.0, 100.0])
    def test_equals_scikit_learns_optimum(self, load: Any, C: Any) -> None:
        X, y = load(return_X_y=True)
        X = StandardScaler().fit_transform(X)
        ours = SoftmaxRegression(C=C, tol=1e-10).fit(X, y)
        theirs = LogisticRegression(C=C, solver="newton-cholesky", tol=1e-12, max_iter=500).fit(
            X, y
        )
        best = direct_objective(theirs.coef_.T, theirs.intercept_, X, y, C)
        assert ours.fit_report_.objective <= best * (1 + 1e-10)
        np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-4)

    @pytest.mark.parametrize("C", [0.01, 1.0, 30.0])
    @pytest.mark.parametrize("rows", [20, 569])  # fewer than features, or more
    def test_two_classes_are_scikit_learns(self, rows: int, C: float) -> None:
        X, y = load_breast_cancer(return_X_y=True)
        X = np.hstack([StandardScaler().fit_transform(X)] * 5)[:rows]
        y = np.array(["bad", "good"])[y[:rows]]
        ours = SoftmaxRegression(C=C, tol=1e-12).fit(X, y)
        theirs = LogisticRegression(C=C, solver="newton-cholesky", tol=1e-12).fit(X, y)
        assert ours.fit_report_.proven
        assert (ours.coef_.shape, ours.intercept_.shape) == ((1, X.shape[1]), (1,))
        np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-5)
        np.testing.assert_allclose(ours.intercept_, theirs.intercept_, atol=1e-5)
        np.testing.assert_allclose(
            ours.decision_function(X), theirs.decision_function(X), atol=1e-4
        )
        np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-5)
        np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
        # scikit-learn's objective, divided by the number of samples.
        signs = np.where(y == "good", 1, -1)
        value = np.logaddexp(0, -signs * (X @ theirs.coef_[0] + theirs.intercept_)).sum()
        value = (value + (theirs.coef_**2).sum() / (2 * C)) / rows
        assert ours.fit_report_.objective == pytest.approx(value, rel=1e-9)

    def test_two_symmetric_classes_have_two_vectors(self) -> None:
        X, y = load_breast_cancer(return_X_y=True)
        X = StandardScaler().fit_transform(X)
        one = SoftmaxRegression(C=1.0, tol=1e-12).fit(X, y)
        two = SoftmaxRegression(C=0.5, tol=1e-12, symmetric=True).fit(X, y)
        assert (two.coef_.shape, two.intercept_.shape) == ((2, 30), (2,))
        np.testing.assert_allclose(two.coef_[1] - two.coef_[0], one.coef_[0], atol=1e-6)
        np.testing.assert_allclose(two.coef_[0], -two.coef_[1], atol=1e-6)
        np.testing.assert_allclose(two.predict_proba(X), one.predict_proba(X), atol=1e-7)
        assert two.decision_function(X).shape == (569,)
        again = one.set_params(warm_start=True).fit(X, y)
        assert again.n_iter_ == 1

    def test_distributions_over_two_classes_are_weighted_labels(self) -> None:
        X, shares = random_problem(4, classes=2, soft=True)
        ours = SoftmaxRegression(tol=1e-12).fit(X, shares)
        theirs = LogisticRegression(tol=1e-12, solver="newton-cholesky").fit(
            np.repeat(X, 2, axis=0), np.tile([0, 1], len(X)), shares.ravel()
        )
        np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-6)

    @pytest.mark.parametrize("fit_intercept", [True, False])
    @pytest.mark.parametrize("soft", [True, False])
    @pytest.mark.parametrize("shape", [(60, 7, 3), (13, 29, 2), (31, 1, 5)])
    def test_no_general_minimiser_finds_less(
        self, fit_intercept: Any, soft: Any, shape: Any
    ) -> None:
        count, width, classes = shape
        X, y = random_problem(3, count=count, width=width, classes=classes, soft=soft)
        weight = np.random.default_rng(1).uniform(0, 3, count)
        model = SoftmaxRegression(C=2.0, fit_intercept=fit_intercept, tol=1e-9, symmetric=True)
        model.fit(X, y, weight)
        start = np.concatenate([model.coef_.T.ravel(), model.intercept_])

        def objective(flat: Any) -> Any:
            W, b = flat[:-classes].reshape(width, classes), flat[-classes:] * fit_intercept
            return direct_objective(W, b, X, y, 2.0, weight)

        assert objective(start) == pytest.approx(model.fit_report_.objective, rel=1e-12)
        found = optimize.minimize(objective, start, method="BFGS", options={"gtol": 1e-10})
        assert model.fit_report_.objective <= found.fun * (1 + 1e-9)

    def test_no_penalty(self) -> None:
        X, y = load_iris(return_X_y=True)
        X = X[:, :2]
        y[0] = 1  # else the first class would be separable
        model = SoftmaxRegression(C=np.inf, tol=1e-9).fit(X, y)
        theirs = LogisticRegression(C=1e10, solver="newton-cholesky", tol=1e-10, max_iter=900)
        theirs.fit(X, y)
        best = direct_objective(theirs.coef_.T, theirs.intercept_, X, y, np.inf)
        assert model.fit_report_.objective <= best * (1 + 1e-7)
        assert not model.fit_report_.proven
        assert model.fit_report_.stopped == "decrement"

    @pytest.mark.parametrize("C", [1e-6, 1e6])
    def test_extreme_strengths_are_proven_too(self, C: Any) -> None:
        X, y = random_problem(0, count=200)
        report = SoftmaxRegression(C=C).fit(X, y).fit_report_
        assert report.proven
        assert report.stopped == "gap"
        assert report.relative_gap <= 1e-6

    def test_badly_scaled_duplicate_and_constant_columns(self) -> None:
        X, y = random_problem(5, count=120, width=6)
        X = np.hstack([X * 10.0 ** np.arange(-6, 6, 2), X[:, :1], np.full((120, 1), 7.0)])
        with_all = SoftmaxRegression(C=1.0, tol=1e-8).fit(X, y)
        assert with_all.fit_report_.stopped == "gap"
        # Equal columns share the weight equally: that is the smallest norm.
        twin = SoftmaxRegression(C=1.0, tol=1e-12).fit(np.repeat(X[:, 3:4] / 1.0, 2, axis=1), y)
        np.testing.assert_allclose(twin.coef_[:, 0], twin.coef_[:, 1], rtol=1e-6, atol=1e-12)
        np.testing.assert_array_equal(with_all.coef_[:, -1].round(9), 0)

    @pytest.mark.parametrize("standardize", [True, False, 3.0])
    @pytest.mark.parametrize("value", [0.1, -1e15, 1.7e18])
    @pytest.mark.parametrize("count", [20, 997])
    @pytest.mark.parametrize("dtype", ["float64", "float32"])
    @pytest.mark.parametrize("form", [np.asarray, sparse.csr_array])
    def test_a_constant_column_of_any_size_changes_nothing(
        self, form: Any, dtype: Any, count: int, value: float, standardize: Any
    ) -> None:
        X, y = random_problem(count, count=count, width=12)
        X, weight = X.astype(dtype), np.arange(len(y)) % 4 * 0.1
        longer = np.hstack([X[:, :1], np.full((len(y), 1), value, dtype), X[:, 1:]])
        longer[weight == 0, 1] = 0  # rows that do not count
        fits = [
            SoftmaxRegression(standardize=standardize, tol=1e-9).fit(form(each), y, weight)
            for each in (X, longer)
        ]
        assert fits[1].fit_report_.proven
        assert fits[1].fit_report_.stopped == "gap"
        np.testing.assert_array_equal(fits[1].coef_[:, 1], 0)
        longer[:, 1] = -value
        np.testing.assert_allclose(
            fits[1].predict_proba(form(longer)), fits[0].predict_proba(form(X)), atol=1e-4
        )
        again = fits[1].set_params(warm_start=True).fit(form(longer), y, weight)
        assert again.fit_report_.stopped == "gap"

    def test_standardize_is_a_standard_scaler_before_the_fit(self) -> None:
        X, y = random_problem(2, count=90)
        weight = np.random.default_rng(0).integers(0, 4, 90).astype(float)
        inside = SoftmaxRegression(C=0.3, standardize=True, tol=1e-12).fit(X, y, weight)
        scaler = StandardScaler().fit(X, sample_weight=weight)
        outside = SoftmaxRegression(C=0.3, tol=1e-12).fit(scaler.transform(X), y, weight)
        np.testing.assert_allclose(
            inside.predict_proba(X), outside.predict_proba(scaler.transform(X)), atol=1e-6
        )
        assert inside.fit_report_.objective == pytest.approx(outside.fit_report_.objective)


class TestProof:
    @given(
        seed=st.integers(0, 2**32 - 1),
        classes=st.integers(2, 5),
        C=st.sampled_from([1e-4, 0.1, 1.0, 1e3]),
        fit_intercept=st.booleans(),
        soft=st.booleans(),
    )
    def test_the_bound_is_never_below_the_true_gap(
        self, seed: Any, classes: Any, C: Any, fit_intercept: Any, soft: Any
    ) -> None:
        X, y = random_problem(seed, count=40, width=4, classes=classes, soft=soft)
        objective, reader = stated(X, y, classes, C=C, fit_intercept=fit_intercept)
        optimum = SoftmaxRegression(C=C, fit_intercept=fit_intercept, tol=1e-12).fit(X, y)
        best = optimum.fit_report_.objective
        generator = np.random.default_rng(seed)
        around = objective.in_fit_units(optimum.coef_.T, optimum.intercept_)
        for distance in (0.0, 1e-6, 1e-3, 0.1, 3.0):
            point = around + distance * generator.normal(size=objective.shape)
            found = evaluated(objective, reader, point)
            assert duality_gap(objective, found) >= (found.value - best) - 1e-12

    def test_near_the_optimum_the_bound_is_tight_enough_to_end_on(self) -> None:
        X, y = random_problem(1)
        report = SoftmaxRegression(tol=1e-10).fit(X, y).fit_report_
        assert report.relative_gap <= 1e-10
        assert report.gradient_norm < 1e-4

    def test_float32_is_proven_in_float64(self) -> None:
        X, y = load_digits(return_X_y=True)
        narrow = SoftmaxRegression(C=0.01).fit(X.astype(np.float32) / 16, y)
        wide = SoftmaxRegression(C=0.01, tol=1e-10).fit(X / 16, y)
        assert narrow.fit_report_.relative_gap <= 1e-6
        excess = narrow.fit_report_.objective / wide.fit_report_.objective - 1
        assert -1e-7 < excess <= 1e-6

    def test_an_empty_class_side_of_the_intercept_stays_centred(self) -> None:
        X, y = random_problem(4)
        assert abs(SoftmaxRegression().fit(X, y).intercept_.sum()) < 1e-9


class TestObjective:
    @given(seed=st.integers(0, 2**32 - 1), soft=st.booleans(), fit_intercept=st.booleans())
    def test_the_gradient_is_the_slope(self, seed: Any, soft: Any, fit_intercept: Any) -> None:
        X, y = random_problem(seed, count=17, width=3, soft=soft)
        objective, reader = stated(X, y, 3, C=0.7, fit_intercept=fit_intercept)
        generator = np.random.default_rng(seed)
        point, direction = generator.normal(size=(2, *objective.shape))
        step = 1e-5
        ahead = evaluated(objective, reader, point + step * direction).value
        behind = evaluated(objective, reader, point - step * direction).value
        slope = np.vdot(evaluated(objective, reader, point).gradient, direction)
        assert (ahead - behind) / (2 * step) == pytest.approx(slope, rel=1e-6, abs=1e-7)

    def test_the_answer_does_not_depend_on_the_block(self, monkeypatch: Any) -> None:
        X, y = random_problem(8, count=97)
        whole, reader = stated(X, y, 3)
        point = np.random.default_rng(0).normal(size=whole.shape)
        expected = evaluated(whole, reader, point)
        monkeypatch.setattr("bridle.fit.readers.block_sizes.block_rows", lambda *_: 7)
        in_blocks, reader = stated(X, y, 3)
        found = evaluated(in_blocks, reader, point)
        assert found.value == pytest.approx(expected.value, rel=1e-14)
        np.testing.assert_allclose(found.gradient, expected.gradient, rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(in_blocks.shift, X.mean(axis=0), rtol=1e-13)


@pytest.fixture(scope="module")
def reference() -> Any:
    X, y = load_digits(return_X_y=True)
    return X, y, SoftmaxRegression(C=0.01, tol=1e-9).fit(X, y).predict_proba(X)


class TestStorage:
    @pytest.mark.parametrize("dtype", ["uint8", "int16", "int64", "float16", "float32", "float64"])
    def test_dtypes(self, reference: Any, dtype: Any) -> None:
        X, y, expected = reference
        model = SoftmaxRegression(C=0.01, tol=1e-9).fit(X.astype(dtype), y)
        np.testing.assert_allclose(model.predict_proba(X.astype(dtype)), expected, atol=1e-4)

    def test_layouts_memory_maps_and_sparse(self, reference: Any, tmp_path: Any) -> None:
        X, y, expected = reference
        np.save(tmp_path / "X.npy", X.astype(np.float32))
        mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
        stored = {
            "fortran": np.asfortranarray(X),
            "strided": np.repeat(X, 2, axis=1)[::1, ::2],
            "memory-mapped": mapped,
            "csr": sparse.csr_array(X),
            "csc": sparse.csc_array(X.astype(np.float32)),
            "rows": Rows([mapped]),
        }
        for name, features in stored.items():
            model = SoftmaxRegression(C=0.01, tol=1e-9).fit(features, y)
            found = model.predict_proba(features)
            np.testing.assert_allclose(found, expected, atol=1e-4, err_msg=name)

    def test_a_choice_of_rows_is_those_rows(self, reference: Any) -> None:
        X, y, _ = reference
        chosen = np.random.default_rng(0).permutation(len(X))[:701]
        shards = Rows([X[:3], X[3:3], X[3:1000], X[1000:]]).take(chosen)
        ours = SoftmaxRegression(C=0.01).fit(shards, y[chosen])
        expected = SoftmaxRegression(C=0.01).fit(X[chosen], y[chosen])
        np.testing.assert_allclose(
            ours.predict_proba(shards), expected.predict_proba(X[chosen]), atol=1e-6
        )

    def test_sparse_standardised_equals_dense_standardised(self) -> None:
        X, y = load_digits(return_X_y=True)
        dense = SoftmaxRegression(C=0.01, standardize=True, tol=1e-12).fit(X, y)
        thin = SoftmaxRegression(C=0.01, standardize=True, tol=1e-12).fit(sparse.csr_array(X), y)
        np.testing.assert_allclose(thin.predict_proba(X), dense.predict_proba(X), atol=1e-5)


class TestTargets:
    @given(seed=st.integers(0, 2**32 - 1))
    def test_weight_k_is_k_copies(self, seed: Any) -> None:
        X, y = random_problem(seed, count=30)
        times = np.random.default_rng(seed).integers(0, 4, 30)
        times[:3] = 1
        weighted = SoftmaxRegression(tol=1e-12).fit(X, y, times)
        repeated = SoftmaxRegression(tol=1e-12).fit(np.repeat(X, times, 0), np.repeat(y, times))
        np.testing.assert_allclose(weighted.predict_proba(X), repeated.predict_proba(X), atol=1e-5)

    def test_class_weight_is_a_sample_weight(self) -> None:
        X, y = random_problem(6)
        by_class = SoftmaxRegression(class_weight={0: 2.0, 1: 0.5, 2: 1.0}, tol=1e-11).fit(X, y)
        by_sample = SoftmaxRegression(tol=1e-11).fit(X, y, np.array([2.0, 0.5, 1.0])[y])
        np.testing.assert_allclose(by_class.coef_, by_sample.coef_, atol=1e-5)
        theirs = LogisticRegression(
            class_weight="balanced", solver="newton-cholesky", tol=1e-10
        ).fit(X, y)
        balanced = SoftmaxRegression(class_weight="balanced", tol=1e-11).fit(X, y)
        np.testing.assert_allclose(balanced.coef_, theirs.coef_, atol=1e-4)

    def test_one_hot_probabilities_are_labels(self) -> None:
        X, y = random_problem(7)
        hard = SoftmaxRegression(tol=1e-11).fit(X, y)
        soft = SoftmaxRegression(tol=1e-11).fit(X, np.eye(3)[y])
        np.testing.assert_allclose(hard.coef_, soft.coef_, atol=1e-5)
        np.testing.assert_array_equal(soft.classes_, [0, 1, 2])

    def test_soft_targets_are_their_classes_in_shares(self) -> None:
        X, p = random_problem(9, soft=True)
        soft = SoftmaxRegression(tol=1e-11).fit(X, p)
        copies = SoftmaxRegression(C=1.0, tol=1e-11).fit(
            np.repeat(X, 3, axis=0), np.tile(np.arange(3), len(X)), p.ravel()
        )
        np.testing.assert_allclose(soft.coef_, copies.coef_, atol=1e-5)

    @pytest.mark.parametrize(
        "labels",
        [["b", "a", "c"], [2.0, -1.0, 7.0], [10, -3, 5], np.array(["x", "y", "zz"], object)],
    )
    def test_classes_of_any_scalar_type(self, labels: Any, tmp_path: Any) -> None:
        X, y = random_problem(10)
        named = np.asarray(labels)[y]
        model = SoftmaxRegression().fit(X, named)
        model.save(tmp_path / "model.safetensors")
        loaded = SoftmaxRegression.load(tmp_path / "model.safetensors")
        np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
        assert loaded.classes_.dtype == model.classes_.dtype
        assert loaded.score(X, named) > 0.4


class TestEdges:
    def test_perfect_separation_without_a_penalty_is_named(self) -> None:
        X, y = load_iris(return_X_y=True)
        with pytest.warns(ConvergenceWarning, match="separable"):
            model = SoftmaxRegression(C=np.inf).fit(X[:100], y[:100])
        assert model.fit_report_.separable
        assert model.score(X[:100], y[:100]) == 1.0

    @pytest.mark.parametrize("convert", [np.asarray, sparse.csr_array, np.float32])
    @pytest.mark.parametrize("count", [60, 2000])  # the second is no problem for the whole Hessian
    def test_quasi_complete_separation_is_named_and_does_not_grow(
        self, count: int, convert: Any
    ) -> None:
        classes = 3 if count == 60 else 10
        generator = np.random.default_rng(0)
        X = generator.normal(size=(count, 3 if count == 60 else 120))
        scores = X[:, :3] @ generator.normal(size=(3, classes))
        y = (scores + generator.gumbel(size=scores.shape)).argmax(axis=1)
        X[:, 1] = (y == 2) & (np.arange(count) % 2 == 0)  # of class 2, some; of others, none
        norms = []
        for tol in (1e-4, 1e-6, 1e-9):
            model = SoftmaxRegression(C=np.inf, tol=tol)
            with pytest.warns(ConvergenceWarning, match=r"separate class 2 from class \d along"):
                model.fit(convert(X), np.array([f"{label}" for label in y]))
            report = model.fit_report_
            assert (report.stopped, report.separable) == ("quasi-separable", True)
            assert report.separation is not None
            assert "along +1·x[1], for" in report.separation
            assert f"for {X[:, 1].sum():.0f} of {count} samples" in report.separation
            assert report.relative_gap < 1e-5
            norms.append(np.abs(model.coef_).max())
        assert max(norms) < 1.01 * min(norms)

    def test_a_point_that_two_classes_share_is_quasi_complete_separation(self) -> None:
        # Albert and Anderson's picture: x < 3 is one class, x > 3 the other, x = 3 is both.
        X, y = pd.DataFrame({"dose": [1.0, 2, 3, 3, 4, 5]}), np.array(list("aaabbb"))
        with pytest.warns(ConvergenceWarning, match=r"·dose, for 4 of 6 samples"):
            SoftmaxRegression(C=np.inf).fit(X, y)

    def test_soft_targets_are_separated_where_they_have_no_share(self) -> None:
        X = np.array([[0.0, 1], [0, 2], [0, -1], [1, 0], [1, 3]])
        shares = np.array([[0.5, 0.5, 0], [0.3, 0.7, 0], [0.6, 0.4, 0], [0, 0, 1], [0, 0, 1]])
        with pytest.warns(ConvergenceWarning, match=r"class 0 from class 2 along -1·x\[0\]"):
            SoftmaxRegression(C=np.inf).fit(X, shares)

    @pytest.mark.parametrize("fit_intercept", [True, False])
    @pytest.mark.parametrize("seed", range(4))
    def test_no_separation_is_seen_where_there_is_none(self, seed: int, fit_intercept: Any) -> None:
        generator = np.random.default_rng(seed)
        X = generator.normal(size=(300, 4)) * 10.0 ** generator.integers(-3, 3, 4)
        scores = X @ generator.normal(size=(4, 3)) * 3
        y = (scores + generator.gumbel(size=scores.shape)).argmax(axis=1)
        X, y = np.vstack([X, 1e-3 * X]), np.concatenate([y, (y + 1) % 3])  # nearly separable
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            model = SoftmaxRegression(C=np.inf, fit_intercept=fit_intercept).fit(X, y)
        assert model.fit_report_.stopped == "decrement"
        assert model.fit_report_.separation is None

    def test_the_limit_of_steps_is_named(self) -> None:
        X, y = load_digits(return_X_y=True)
        with pytest.warns(ConvergenceWarning, match="max_iter=3"):
            model = SoftmaxRegression(max_iter=3).fit(X, y)
        assert model.n_iter_ == 3

    def test_one_class(self) -> None:
        with pytest.raises(InputError, match=r"^y: expected at least two classes, found one class"):
            SoftmaxRegression().fit(np.eye(3), ["a", "a", "a"])

    @pytest.mark.parametrize("convert", [np.asarray, sparse.csr_array])
    @pytest.mark.parametrize(("value", "word"), [(np.nan, "NaN"), (-np.inf, "infinity")])
    def test_features_that_are_not_finite_name_their_place(
        self, convert: Any, value: Any, word: Any
    ) -> None:
        X, y = random_problem(11)
        X[17, 4] = value
        with pytest.raises(InputError, match=f"^X: .*found {word} at row 17, column 4$"):
            SoftmaxRegression().fit(convert(X), y)

    @pytest.mark.parametrize("convert", [np.asarray, sparse.csr_array])
    def test_features_too_large_to_square_name_their_column(self, convert: Any) -> None:
        X, y = random_problem(11)
        X[17, 4] = 1e200
        with pytest.raises(InputError, match=r"^X: .*column 4$"):
            SoftmaxRegression().fit(convert(X), y)

    def test_fractions_are_no_labels(self) -> None:
        X, _ = random_problem(11)
        with pytest.raises(InputError, match=r"^y: Unknown label type: continuous"):
            SoftmaxRegression().fit(X, X[:, 0])

    def test_soft_targets_that_do_not_sum_to_one_name_their_row(self) -> None:
        X, p = random_problem(12, soft=True)
        p[5] *= 0.9
        with pytest.raises(InputError, match=r"^y: row 5 sums to 0\.9"):
            SoftmaxRegression().fit(X, p)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"C": 0}, "^C: "),
            ({"C": "1"}, "^C: "),
            ({"tol": -1}, "^tol: "),
            ({"max_iter": 0}, "^max_iter: "),
            ({"max_iter": 2.5}, "^max_iter: "),
        ],
    )
    def test_parameters_out_of_range(self, arguments: Any, message: Any) -> None:
        X, y = random_problem(13)
        with pytest.raises(InputError, match=message):
            SoftmaxRegression(**arguments).fit(X, y)

    @pytest.mark.parametrize(
        ("weight", "message"),
        [
            (np.full(60, -1.0), "sample_weight: entry 0 is -1"),
            (np.ones(59), r"sample_weight: expected shape \(60,\)"),
            (np.zeros(60), "sample_weight: .*zero"),
        ],
    )
    def test_weights_out_of_range(self, weight: Any, message: Any) -> None:
        X, y = random_problem(14)
        with pytest.raises(InputError, match=message):
            SoftmaxRegression().fit(X, y, weight)

    @pytest.mark.parametrize("form", ["weights", "class weights", "distributions", "balanced"])
    @pytest.mark.parametrize("sparsely", [False, True])
    def test_a_class_without_weight_is_left_out(self, form: str, sparsely: bool) -> None:
        X, y = random_problem(15, classes=4)
        counted = y != 2
        settings: dict[str, Any] = {"tol": 1e-11}
        names = np.array(list("abxy"))
        arguments: tuple[Any, ...] = (names[y],)
        if form == "class weights":
            settings["class_weight"] = {"x": 0}
        elif form == "distributions":
            arguments = (np.eye(4)[y], counted.astype(float))
        else:
            arguments = (names[y], counted.astype(float))
        reference = LogisticRegression(
            tol=1e-12,
            solver="newton-cholesky",
            class_weight="balanced" if form == "balanced" else None,
        ).fit(X[counted], y[counted])
        if form == "balanced":
            settings["class_weight"] = "balanced"
        model = SoftmaxRegression(**settings)
        with pytest.warns(WeightlessClassWarning, match=r"class [x2] has no weight"):
            model.fit(sparse.csr_array(X) if sparsely else X, *arguments)
        assert model.fit_report_.proven
        assert len(model.classes_) == 4
        np.testing.assert_array_equal(np.isneginf(model.intercept_), [False, False, True, False])
        np.testing.assert_array_equal(model.coef_[2], 0)
        probability = model.predict_proba(X)
        np.testing.assert_array_equal(probability[:, 2], 0)
        np.testing.assert_allclose(probability[:, [0, 1, 3]], reference.predict_proba(X), atol=1e-6)
        np.testing.assert_array_equal(np.isneginf(model.predict_log_proba(X)[:, 2]), True)
        again = SoftmaxRegression(warm_start=True)
        again.__dict__.update(model.__dict__ | {"warm_start": True, "class_weight": None})
        again.fit(X, arguments[0])  # all classes count now
        assert np.isfinite(again.intercept_).all()

    @pytest.mark.parametrize("symmetric", [False, True])
    @pytest.mark.parametrize("missing", [0, 1])
    def test_one_class_that_counts_has_probability_1(
        self, missing: int, symmetric: bool, tmp_path: Any
    ) -> None:
        X, y = random_problem(15, classes=2)
        model = SoftmaxRegression(symmetric=symmetric)
        with pytest.warns(WeightlessClassWarning):
            model.fit(X, y, (y != missing).astype(float))
        model.save(tmp_path / "model.safetensors")
        for each in (model, SoftmaxRegression.load(tmp_path / "model.safetensors")):
            assert each.coef_.shape == (2 if symmetric else 1, X.shape[1])
            np.testing.assert_array_equal(each.predict_proba(X), np.eye(2)[[1 - missing] * len(X)])
            np.testing.assert_array_equal(each.predict(X), 1 - missing)
            assert np.isinf(each.decision_function(X)).all()
            assert each.fit_report_.relative_gap == 0

    @pytest.mark.parametrize("seed", range(20))
    def test_bagging_with_a_rare_class(self, seed: int) -> None:
        X, y = random_problem(seed, classes=3)
        y = np.where((y == 2) & (np.cumsum(y == 2) > 2), 0, y)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", WeightlessClassWarning)
            model = BaggingClassifier(SoftmaxRegression(), random_state=seed).fit(X, y)
        np.testing.assert_allclose(model.predict_proba(X).sum(axis=1), 1)

    @pytest.mark.parametrize(
        ("weight", "message"),
        [
            ({"a": np.nan}, "class_weight: class 'a' has weight nan, expected a finite number"),
            ({"b": np.inf}, "class_weight: class 'b' has weight inf"),
            ({"b": -1}, "class_weight: class 'b' has weight -1"),
            ({np.str_("b"): "2"}, "class_weight: class 'b' has weight 2"),
            ({"z": 1.0}, "class_weight: 'z' is none of the classes: a, b, c"),
            ({"a": 0, "b": 0, "c": 0}, "class_weight: expected a weight above 0"),
            ("unbalanced", "class_weight: expected a dict"),
            (3.0, "class_weight: expected a dict"),
        ],
    )
    def test_class_weights_that_are_none(self, weight: Any, message: str) -> None:
        X, y = random_problem(16)
        with pytest.raises(InputError, match=message):
            SoftmaxRegression(class_weight=weight).fit(X, np.array(list("abc"))[y])

    @pytest.mark.parametrize("missing", [None, float("nan"), np.nan, pd.NA, pd.NaT])
    @pytest.mark.parametrize("kind", ["texts", "numbers"])
    @pytest.mark.parametrize(
        "form", [list, tuple, pd.Series, lambda y: np.array(y, object), lambda y: [[v] for v in y]]
    )
    def test_labels_that_are_missing_name_their_row(
        self, form: Any, kind: str, missing: Any
    ) -> None:
        X, y = random_problem(16)
        labels = [f"{label}" if kind == "texts" else int(label) for label in y]
        labels[7] = missing
        for model in (SoftmaxRegression(), SoftmaxRegressionCV(), NetworkClassifier()):
            with pytest.raises(InputError, match=r"^y: row 7 is (None|nan|NaN|<NA>|NaT), expected"):
                model.fit(X, form(labels))

    def test_labels_of_several_types_have_no_order(self) -> None:
        X, y = random_problem(16)
        with pytest.raises(InputError, match=r"^y: "):
            SoftmaxRegression().fit(X, np.array([1, "a", 2.5] * 20, object)[: len(y)])

    def test_masked_entries_name_their_row(self) -> None:
        X, y = random_problem(16)
        masked = np.ma.masked_array(X, np.arange(X.size).reshape(X.shape) == 22)
        model = SoftmaxRegression().fit(np.ma.masked_array(X), np.ma.masked_array(y))
        with pytest.raises(InputError, match="X: row 3 is masked"):
            SoftmaxRegression().fit(masked, y)
        with pytest.raises(InputError, match="X: row 3 is masked"):
            model.predict(masked)
        with pytest.raises(InputError, match="row 3 is masked"):
            Rows([masked])
        for name, labels, weight in (
            ("y", np.ma.masked_equal(y, y[4]), None),
            ("sample_weight", y, np.ma.masked_equal(y, y[4])),
        ):
            row = int(np.argmax(y == y[4]))
            with pytest.raises(InputError, match=f"{name}: row {row} is masked"):
                SoftmaxRegression().fit(X, labels, weight)

    def test_probabilities_and_class_weight_exclude_each_other(self) -> None:
        X, p = random_problem(16, soft=True)
        with pytest.raises(InputError, match=r"^class_weight: "):
            SoftmaxRegression(class_weight="balanced").fit(X, p)

    def test_a_wrong_number_of_features(self) -> None:
        X, y = random_problem(17)
        model = SoftmaxRegression().fit(X, y)
        with pytest.raises(InputError, match=r"^X: expected 7 features, found 6"):
            model.predict(Rows([X[:, :6]]))


class TestInScikitLearn:
    def test_pipeline_grid_search_and_clone(self) -> None:
        X, y = load_wine(return_X_y=True)
        pipeline = make_pipeline(StandardScaler(), SoftmaxRegression())
        search = GridSearchCV(
            pipeline, {"softmaxregression__C": [0.01, 1.0]}, scoring="neg_log_loss", cv=3
        )
        assert search.fit(X, y).best_score_ > -0.2
        assert clone(SoftmaxRegression(C=3.0)).C == 3.0

    def test_data_frames(self) -> None:
        pandas = pytest.importorskip("pandas", reason="pandas (the cli extra) is not installed")
        frame = load_iris(as_frame=True)
        model = SoftmaxRegression().fit(frame.data, frame.target)
        assert list(model.feature_names_in_) == list(frame.data.columns)
        assert isinstance(model.predict(frame.data), np.ndarray)
        with pytest.raises(ValueError, match="feature names"):
            model.predict(frame.data.rename(columns={"sepal length (cm)": "other"}))
        assert isinstance(frame.data, pandas.DataFrame)

    def test_warm_start_begins_at_the_solution(self) -> None:
        X, y = load_digits(return_X_y=True)
        model = SoftmaxRegression(C=0.01, warm_start=True).fit(X, y)
        cold = model.fit_report_.passes
        assert model.fit(X, y).fit_report_.passes < cold / 4

    def test_progress_is_told(self) -> None:
        X, y = random_problem(18)
        told: list[Progress] = []
        SoftmaxRegression().fit(X, y, progress=told.append)
        gaps = [event.gap for event in told if event.gap is not None]
        assert len(gaps) == len(told)
        assert gaps[-1] <= 1e-6
        # The statistics are a pass; the start, whose weights are 0, needs none.
        assert [event.step for event in told] == list(range(1, len(told) + 1))
        for falling in (gaps, [event.value for event in told]):
            assert falling == sorted(falling, reverse=True)
        assert told[-1].seconds > 0
        assert {event.unit for event in told} == {"pass"}

    def test_an_interruption_ends_at_the_best_point(self) -> None:
        X, y = load_digits(return_X_y=True)
        told: list[float] = []

        def interrupt(event: Progress) -> None:
            told.append(event.value)
            if event.step == 9:
                raise KeyboardInterrupt

        with pytest.warns(ConvergenceWarning, match="interrupted after 9 passes"):
            model = SoftmaxRegression(C=0.01).fit(X, y, progress=interrupt)
        assert model.fit_report_.stopped == "interrupted"
        assert model.fit_report_.objective == told[-1]
        value = direct_objective(model.coef_.T, model.intercept_, X, y, 0.01)
        assert value == pytest.approx(told[-1], rel=1e-12)


class TestCheckpoint:
    def interrupted(self, path: Any, monkeypatch: Any) -> Any:
        monkeypatch.setattr("bridle.estimators.checkpoint._EVERY", 0.0)
        X, y = load_digits(return_X_y=True)
        y = np.array([f"digit {label}" for label in y])

        def interrupt(event: Progress) -> None:
            if event.step == 15:
                raise SystemExit

        with pytest.raises(SystemExit):
            SoftmaxRegression(C=0.01).fit(X, y, progress=interrupt, checkpoint=path)
        return X, y

    def test_a_fit_goes_on_from_it(self, tmp_path: Any, monkeypatch: Any) -> None:
        path = tmp_path / "fit.checkpoint"
        X, y = self.interrupted(path, monkeypatch)
        whole = SoftmaxRegression(C=0.01).fit(X, y)
        rest = SoftmaxRegression(C=0.01).fit(X, y, checkpoint=path)
        assert rest.fit_report_.proven
        assert rest.fit_report_.passes < whole.fit_report_.passes - 4
        again = SoftmaxRegression(C=0.01).fit(X, y, checkpoint=path)
        assert again.fit_report_.passes < 6

    def test_of_something_else_is_refused(self, tmp_path: Any, monkeypatch: Any) -> None:
        path = tmp_path / "fit.checkpoint"
        X, y = self.interrupted(path, monkeypatch)
        with pytest.raises(InputError, match="expected a checkpoint of 10 classes and 3 features"):
            SoftmaxRegression().fit(X[:, :3], y, checkpoint=path)
        with pytest.raises(InputError, match="other classes"):
            SoftmaxRegression().fit(X, np.char.add(y, "!"), checkpoint=path)
        model = SoftmaxRegression().fit(X, y)
        model.save(path)
        with pytest.raises(InputError, match=r"expected a bridle\.Checkpoint file"):
            SoftmaxRegression().fit(X, y, checkpoint=path)
        path.write_bytes(b"nothing")
        with pytest.raises(InputError, match="no bridle model"):
            SoftmaxRegression().fit(X, y, checkpoint=path)


class TestModelFile:
    @pytest.mark.parametrize(
        "parameters",
        [
            {"C": np.inf, "tol": 1e-4},
            {"class_weight": {0: 1.0, 1: 2.0, 2: 0.5}, "warm_start": True},
            {"fit_intercept": False, "standardize": True, "max_iter": 77, "verbose": 0},
        ],
    )
    def test_round_trip(self, parameters: Any, tmp_path: Any) -> None:
        X, y = random_problem(19)
        model = SoftmaxRegression(**parameters).fit(X, y)
        model.save(tmp_path / "model")
        loaded = SoftmaxRegression.load(tmp_path / "model")
        assert loaded.get_params() == model.get_params()
        assert loaded.fit_report_ == model.fit_report_
        np.testing.assert_array_equal(loaded.coef_, model.coef_)
        np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))

    @pytest.mark.parametrize("damage", ["empty", "noise", "cut", "other", "text"])
    def test_a_file_that_is_no_model(self, damage: Any, tmp_path: Any) -> None:
        X, y = random_problem(20)
        path = tmp_path / "model.safetensors"
        SoftmaxRegression().fit(X, y).save(path)
        content = {
            "empty": b"",
            "noise": np.random.default_rng(0).bytes(999),
            "cut": path.read_bytes()[:-8],
            "other": path.read_bytes().replace(b"bridle.Softmax", b"another.Softma"),
            "text": b"not a model",
        }[damage]
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"model\.safetensors: "):
            SoftmaxRegression.load(path)

    def test_no_such_file(self, tmp_path: Any) -> None:
        with pytest.raises(InputError, match="no such file"):
            SoftmaxRegression.load(tmp_path / "nothing")

    def test_a_failed_write_leaves_the_old_file(self, tmp_path: Any, monkeypatch: Any) -> None:
        X, y = random_problem(21)
        path = tmp_path / "model.safetensors"
        model = SoftmaxRegression().fit(X, y)
        model.save(path)
        before = path.read_bytes()
        monkeypatch.setattr("pathlib.Path.replace", _no_room)
        with pytest.raises(OSError, match="no room"):
            model.save(path)
        assert path.read_bytes() == before
        assert [entry.name for entry in tmp_path.iterdir()] == [path.name]

    def test_only_plain_classes_are_saved(self, tmp_path: Any) -> None:
        X, y = random_problem(22)
        model = SoftmaxRegression().fit(X, y)
        model.classes_ = np.array([1, None, "c"], object)
        with pytest.raises(InputError, match="found None"):
            model.save(tmp_path / "model")


def _no_room(*_: Any) -> None:
    raise OSError("no room")


def test_nothing_is_warned_of_in_a_plain_fit() -> None:
    X, y = load_iris(return_X_y=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        SoftmaxRegression().fit(X, y).predict_proba(X)
