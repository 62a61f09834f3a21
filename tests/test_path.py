"""Many strengths of the penalty: each its own optimum, and the best by cross-validation."""

from __future__ import annotations

from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from scipy import sparse
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import make_scorer, recall_score
from sklearn.model_selection import (
    KFold,
    StratifiedKFold,
    StratifiedShuffleSplit,
    cross_val_score,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils.estimator_checks import check_estimator

import bridle
from bridle import InputError, SoftmaxRegression, SoftmaxRegressionCV, softmax_regression_path
from bridle.estimators.path import PRESETS
from bridle.estimators.shared_folds import shared_folds
from bridle.estimators.shares import RankPlaces, Settings
from bridle.fit.problem.targets import WeightlessClassWarning, target_of_part
from bridle.fit.readers import dense
from bridle.fit.solvers import metric, quasi_newton
from bridle.progress import Progress
from bridle.ranks import Alone
from bridle.rows import Rows


@pytest.fixture(scope="module")
def digits() -> Any:
    X, y = load_digits(return_X_y=True)
    return X[:600] / 16, y[:600]


class TestPath:
    @pytest.mark.parametrize("as_sparse", [False, True])
    def test_every_fit_is_the_single_one(self, digits: Any, as_sparse: bool) -> None:
        X, y = digits
        if as_sparse:
            X = sparse.csr_array(X)
        share = np.random.default_rng(0).uniform(0, 3, len(y))
        options: dict[str, Any] = {"class_weight": "balanced", "tol": 1e-9, "standardize": True}
        path = softmax_regression_path(X, y, [10.0, 0.01, 1.0], sample_weight=share, **options)
        assert path.Cs.tolist() == [10.0, 0.01, 1.0]
        for place, C in enumerate(path.Cs.tolist()):
            single = SoftmaxRegression(C, **options).fit(X, y, share)
            report = path.reports[place]
            assert report.proven
            assert report.objective == pytest.approx(single.fit_report_.objective, rel=2e-9)
            scores = X @ path.coefs[place].T + path.intercepts[place]
            np.testing.assert_allclose(
                bridle.softmax(scores), single.predict_proba(X), rtol=0, atol=1e-3
            )

    def test_folds_of_rows_in_several_places_lay_sparse_features_out_once(
        self, digits: Any
    ) -> None:
        X, y = digits
        features, target = Rows([sparse.csr_array(X)]), target_of_part(y, None, len(y))
        places = RankPlaces(Alone(), lambda: (features, target, ()), len(y))
        folds, _ = shared_folds(places, 3, Settings(None, False, None))
        layouts = {id(reader.layout) for reader in folds.readers()}
        assert len(folds.readers()) == 7
        assert len(layouts) == 1

    def test_order_and_repetition_of_strengths_do_not_matter(self, digits: Any) -> None:
        X, y = digits
        ascending = softmax_regression_path(X, y, [0.1, 1.0])
        other = softmax_regression_path(X, y, [1.0, 0.1, 1.0])
        np.testing.assert_array_equal(other.coefs, ascending.coefs[[1, 0, 1]])

    def test_warm_starts_spare_passes(self, digits: Any) -> None:
        X, y = digits
        Cs = np.logspace(-2, 1, 10)
        path = softmax_regression_path(X, y, Cs)
        alone = [SoftmaxRegression(C).fit(X, y).fit_report_.passes for C in Cs]
        assert sum(report.passes for report in path.reports) < 0.9 * sum(alone)

    def test_no_penalty_is_the_end_of_a_path(self) -> None:
        X, y = load_iris(return_X_y=True)
        y[0] = 1  # else the first class would be separable
        path = softmax_regression_path(X[:, :2], y, [1.0, np.inf])
        assert [report.proven for report in path.reports] == [True, False]

    def test_presets_are_the_protocols(self) -> None:
        clip, dinov2 = PRESETS["clip"], PRESETS["dinov2"]
        assert (len(clip), clip[0], clip[-1]) == (97, 1e-6, 1e6)
        assert (len(dinov2), dinov2[0], dinov2[-1]) == (45, 1e-6, 1e5)

    @pytest.mark.parametrize(
        ("Cs", "message"),
        [
            ("imagenet", "Cs: expected numbers or one of clip, dinov2, found 'imagenet'"),
            ([], r"Cs: expected one number or more in a row, found shape \(0,\)"),
            ([[1.0]], r"found shape \(1, 1\)"),
            ([1.0, -1.0], "Cs: expected a number above 0, found -1"),
            (0, "Cs: "),
            (True, "Cs: "),
        ],
    )
    def test_strengths_that_are_none(self, digits: Any, Cs: Any, message: str) -> None:
        X, y = digits
        with pytest.raises(InputError, match=message):
            softmax_regression_path(X, y, Cs)


@pytest.mark.filterwarnings("ignore:invalid value encountered in cast:RuntimeWarning")
@pytest.mark.filterwarnings("ignore:The least populated class:UserWarning")
@pytest.mark.filterwarnings("ignore:y. class 0 has no weight:UserWarning")
@pytest.mark.parametrize(
    "model", [SoftmaxRegressionCV(), SoftmaxRegressionCV([0.1, 1.0], cv=2)], ids=["default", "two"]
)
def test_scikit_learn_estimator_contract(model: SoftmaxRegressionCV) -> None:
    check_estimator(model, on_skip=None)


class TestCrossValidation:
    @pytest.mark.parametrize(
        "scoring", ["neg_log_loss", "accuracy", make_scorer(recall_score, average="macro")]
    )
    def test_scores_are_scikit_learns_of_the_single_fits(self, scoring: Any) -> None:
        X, y = load_wine(return_X_y=True)
        options: dict[str, Any] = {"standardize": True, "tol": 1e-10, "class_weight": "balanced"}
        model = SoftmaxRegressionCV([0.01, 1.0], scoring=scoring, cv=4, **options).fit(X, y)
        for place, C in enumerate(model.Cs_.tolist()):
            expected = cross_val_score(SoftmaxRegression(C, **options), X, y, cv=4, scoring=scoring)
            np.testing.assert_allclose(model.scores_[:, place], expected, rtol=1e-5)

    def test_the_best_is_fitted_on_all_data(self, digits: Any) -> None:
        X, y = digits
        model = SoftmaxRegressionCV([1e-3, 1.0, 1e3], cv=3).fit(X, y)
        assert model.Cs_[model.scores_.mean(axis=0).argmax()] == model.C_
        single = SoftmaxRegression(model.C_).fit(X, y)
        assert model.fit_report_.proven
        assert model.fit_report_.objective == pytest.approx(single.fit_report_.objective, rel=2e-6)
        np.testing.assert_array_equal(model.predict(X), single.predict(X))

    def test_without_refit_the_folds_are_averaged(self, digits: Any) -> None:
        X, y = digits
        cv = list(KFold(2, shuffle=True, random_state=0).split(X))
        model = SoftmaxRegressionCV([1.0], cv=cv, refit=False, tol=1e-9).fit(X, y)
        each = [SoftmaxRegression(1.0, tol=1e-9).fit(X[train], y[train]) for train, _ in cv]
        mean = np.mean([fold.coef_ for fold in each], axis=0)
        np.testing.assert_allclose(model.coef_, mean, rtol=0, atol=1e-3)

    def test_folds_share_their_passes(self, digits: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        X, y = digits[0].astype(np.float16), digits[1]
        served: list[int] = []

        one_pass = dense.values_in_one_pass

        def counting(asked: Any) -> Any:
            served.append(len(asked))
            return one_pass(asked)

        monkeypatch.setattr(dense, "values_in_one_pass", counting)
        model = SoftmaxRegressionCV([0.1, 1.0], cv=4, refit=False, tol=1e-6).fit(X, y)
        assert max(served) == 4
        assert sum(served) > 2 * len(served)
        for number, (train, test) in enumerate(StratifiedKFold(4).split(X, y)):
            single = SoftmaxRegression(1.0, tol=1e-6).fit(X[train], y[train])
            scores = single.decision_function(X[test])
            expected = -bridle.cross_entropy(scores, y[test])
            assert model.scores_[number, 1] == pytest.approx(expected, rel=1e-3)

    def test_a_fold_of_few_rows_reads_no_others(self) -> None:
        X, y = load_wine(return_X_y=True)
        split = StratifiedShuffleSplit(3, train_size=0.3, random_state=0)
        options: dict[str, Any] = {"standardize": True, "tol": 1e-10}
        model = SoftmaxRegressionCV([1.0], cv=split, **options).fit(X, y)
        expected = cross_val_score(
            SoftmaxRegression(1.0, **options), X, y, cv=split, scoring="neg_log_loss"
        )
        np.testing.assert_allclose(model.scores_[:, 0], expected, rtol=1e-5)

    def test_rows_may_be_in_a_fold_more_than_once(self) -> None:
        X, y = load_wine(return_X_y=True)
        train = np.random.default_rng(0).integers(len(y), size=len(y))
        test = np.setdiff1d(np.arange(len(y)), train)
        options: dict[str, Any] = {"standardize": True, "tol": 1e-10}
        model = SoftmaxRegressionCV([1.0], cv=[(train, test)], **options).fit(X, y)
        single = SoftmaxRegression(1.0, **options).fit(X[train], y[train])
        expected = -bridle.cross_entropy(single.decision_function(X[test]), y[test])
        assert model.scores_[0, 0] == pytest.approx(expected, rel=1e-5)

    def test_no_fold_at_all_is_an_error(self, digits: Any) -> None:
        with pytest.raises(InputError, match="cv: expected at least one fold, found none"):
            SoftmaxRegressionCV([1.0], cv=[]).fit(*digits)

    def test_a_budget_smaller_than_the_folds_is_kept_small(
        self, digits: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        budgets: list[int] = []

        one_pass = dense.values_in_one_pass

        def counting(asked: Any) -> Any:
            budgets.append(sum(reader.memory_budget for reader, _ in asked))
            return one_pass(asked)

        monkeypatch.setattr(dense, "values_in_one_pass", counting)
        X, y = digits
        SoftmaxRegressionCV([0.01], cv=4, memory_budget=3, tol=1e-2).fit(X[:120], y[:120])
        assert max(budgets) <= 4

    def test_an_interruption_ends_the_search(
        self, digits: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        interrupted = Mock(side_effect=KeyboardInterrupt)
        monkeypatch.setattr(dense, "values_in_one_pass", interrupted)
        with pytest.raises(KeyboardInterrupt):
            SoftmaxRegressionCV([0.1, 1.0], cv=4).fit(*digits)

    def test_folds_share_their_first_metric(
        self, digits: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        starts: list[bool] = []
        metric_at = metric.metric_at

        def counting(problem: Any, parameters: Any, rows: Any) -> Any:
            starts.append(not parameters[:-1].any())
            return metric_at(problem, parameters, rows)

        monkeypatch.setattr(quasi_newton, "metric_at", counting)
        model = SoftmaxRegressionCV([1.0], cv=3, refit=False, tol=1e-9).fit(*digits)
        assert model.fit_report_.proven
        assert starts.count(True) == 1

    def test_the_strongest_of_equal_penalties_is_chosen(self) -> None:
        X = np.repeat(np.eye(3), 20, axis=0)
        y = np.repeat(np.arange(3), 20)
        model = SoftmaxRegressionCV([10.0, 1.0, 100.0], scoring="accuracy").fit(X, y)
        assert model.C_ == 1.0

    def test_verbose_prints_what_is_told(self, capsys: pytest.CaptureFixture[str]) -> None:
        X, y = load_iris(return_X_y=True)
        told: list[Progress] = []
        model = SoftmaxRegressionCV([0.1, 1.0], cv=3, verbose=1, refit=False)
        model.fit(X, y, progress=told.append)
        assert capsys.readouterr().out.splitlines() == [event.line() for event in told]
        score = model.scores_.mean(axis=0)[0]
        seconds = f"{told[0].seconds:.1f}"
        line = f"  1   C 0.1   mean score {score:.6f} of 3 folds   {seconds} s"
        assert told[0].line() == line

    def test_clips_search_goes_from_coarse_to_fine(self) -> None:
        X, y = load_wine(return_X_y=True)
        told: list[Progress] = []
        model = SoftmaxRegressionCV("clip", standardize=True, cv=3)
        model.fit(X, y, progress=told.append)
        grid = PRESETS["clip"]
        tried = np.searchsorted(grid, model.Cs_ * (1 - 1e-9))
        assert set(range(0, 97, 16)) <= set(tried.tolist())
        assert 7 < len(tried) <= 7 + 2 * 4
        best = int(np.searchsorted(grid, model.C_ * (1 - 1e-9)))
        assert {best - 1, best + 1} <= set(tried.tolist())
        assert [event.step for event in told] == list(range(1, len(tried) + 1))
        assert {(event.unit, event.folds, event.gap) for event in told} == {("C", 3, None)}
        means = dict(zip(model.Cs_.tolist(), model.scores_.mean(axis=0).tolist(), strict=True))
        assert {event.C: event.value for event in told} == pytest.approx(means)
        seconds = [event.seconds for event in told]
        assert seconds == sorted(seconds)

    def test_weights_are_repetitions(self) -> None:
        X, y = load_iris(return_X_y=True)
        X = X[:, :2]
        weight = np.random.default_rng(0).integers(1, 3, len(y))
        groups = np.arange(len(y)) % 3
        copies = np.repeat(np.arange(len(y)), weight)

        def folds(of: Any) -> Any:
            return [(np.flatnonzero(of != k), np.flatnonzero(of == k)) for k in range(3)]

        one = SoftmaxRegressionCV([0.1, 1.0], cv=folds(groups), tol=1e-10).fit(X, y, weight)
        two = SoftmaxRegressionCV([0.1, 1.0], cv=folds(groups[copies]), tol=1e-10)
        two.fit(X[copies], y[copies])
        np.testing.assert_allclose(one.scores_, two.scores_, rtol=1e-6)
        np.testing.assert_allclose(one.predict_proba(X), two.predict_proba(X), atol=1e-5)

    def test_a_file_is_the_plain_classifiers(self, tmp_path: Any) -> None:
        X, y = load_wine(return_X_y=True, as_frame=True)
        model = SoftmaxRegressionCV([0.1, 1.0], standardize=True).fit(X, y)
        model.save(tmp_path / "model")
        loaded = SoftmaxRegression.load(tmp_path / "model")
        assert loaded.C == model.C_
        np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))

    def test_in_a_pipeline_and_with_strings(self, digits: Any) -> None:
        X, y = digits
        names = np.array([f"digit {label}" for label in y])
        model = make_pipeline(FunctionTransformer(), SoftmaxRegressionCV([0.1, 1.0], cv=2))
        assert (model.fit(X, names).predict(X) == names).mean() > 0.95

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"cv": 1}, "cv: "),
            ({"cv": 60}, "cv: n_splits=60 cannot be greater"),
            ({"Cs": "imagenet"}, "Cs: expected numbers or one of"),
            ({"tol": 0.0}, "tol: "),
        ],
    )
    def test_what_cannot_be(self, options: Any, message: str) -> None:
        with pytest.raises(InputError, match=message):
            SoftmaxRegressionCV(**options).fit(*load_iris(return_X_y=True))

    def test_a_score_that_is_none(self) -> None:
        X, y = load_iris(return_X_y=True)

        def scorer(model: Any, *_: Any) -> float:
            return np.nan if model.C == 10 else 1.0

        with pytest.raises(InputError, match="at C=10 in fold 0: expected a number, found NaN"):
            SoftmaxRegressionCV([1.0, 10.0], scoring=scorer).fit(X, y)

    def test_a_fit_cut_short_is_told(self, digits: Any) -> None:
        X, y = digits
        with pytest.warns(ConvergenceWarning, match=r"C=10, fold 0: max_iter=2 steps"):
            SoftmaxRegressionCV([10.0], cv=2, max_iter=2).fit(X, y)
        with pytest.warns(ConvergenceWarning, match="C=0.01: max_iter=2 steps"):
            softmax_regression_path(X, y, [0.01], max_iter=2)

    def test_a_fold_without_a_class(self) -> None:
        X, y = load_iris(return_X_y=True)
        folds = [(np.arange(100), np.arange(100, 150))]
        match = "class 2 has 50 samples, none of which fold 0 is fitted on; shuffle or stratify"
        with pytest.raises(InputError, match=match):
            SoftmaxRegressionCV(cv=folds).fit(X, y)
        with pytest.warns(WeightlessClassWarning, match="fold 0 has no training sample of class 2"):
            model = SoftmaxRegressionCV([1.0], cv=folds, scoring="accuracy").fit(X, y)
        assert model.scores_ == 0
        inside = [(np.arange(100), np.arange(100)), (np.arange(0, 150, 2), np.arange(1, 150, 2))]
        with pytest.warns(WeightlessClassWarning, match="fold 0 has no training sample of class 2"):
            model = SoftmaxRegressionCV([0.1, 1.0], cv=inside, tol=1e-10).fit(X, y)
        # Two of three classes have a vector each.
        single = SoftmaxRegression(C=0.1, tol=1e-10, symmetric=True).fit(X[:100], y[:100])
        expected = -bridle.cross_entropy(single.predict_log_proba(X[:100]), y[:100])
        assert model.scores_[0, 0] == pytest.approx(expected, rel=1e-5)
        with pytest.raises(InputError, match="y: expected labels, found distributions"):
            SoftmaxRegressionCV(cv=2).fit(X, np.full((150, 3), 1 / 3))

    def test_a_class_with_one_sample(self) -> None:
        X, y = load_iris(return_X_y=True)
        X, y = X[:101], y[:101]
        with (
            pytest.warns(UserWarning, match="least populated class"),
            pytest.raises(InputError, match=r"class 2 has 1 sample, .*Add samples .* or choose"),
        ):
            SoftmaxRegressionCV(cv=3).fit(X, y)
        with pytest.warns(UserWarning, match="least populated class|no training sample of class 2"):
            model = SoftmaxRegressionCV([1.0], cv=3, scoring="accuracy").fit(X, y)
        assert (model.scores_ > 0.9).all()
        # A row of no weight changes nothing.
        with pytest.warns(UserWarning, match="least populated class|class 2 has no weight"):
            model = SoftmaxRegressionCV([1.0], cv=3).fit(X, y, (y != 2).astype(float))
        assert np.isfinite(model.scores_).all()

    @pytest.mark.parametrize("symmetric", [False, True])
    def test_two_classes_are_scikit_learns(self, symmetric: bool, tmp_path: Any) -> None:
        X, y = load_breast_cancer(return_X_y=True)
        X = StandardScaler().fit_transform(X)
        Cs, factor = np.array([0.01, 1.0]), 2 if symmetric else 1
        model = SoftmaxRegressionCV(Cs, cv=3, tol=1e-11, symmetric=symmetric).fit(X, y)
        path = softmax_regression_path(X, y, Cs, tol=1e-11, symmetric=symmetric)
        theirs = [LogisticRegression(C=C * factor, tol=1e-12, solver="newton-cholesky") for C in Cs]
        for place, each in enumerate(theirs):
            scores = cross_val_score(each, X, y, cv=3, scoring="neg_log_loss")
            np.testing.assert_allclose(model.scores_[:, place], scores, rtol=1e-5)
            coef = path.coefs[place]
            assert coef.shape == (2 if symmetric else 1, 30)
            found = coef[1] - coef[0] if symmetric else coef[0]
            np.testing.assert_allclose(found, each.fit(X, y).coef_[0], atol=1e-5)
        assert model.coef_.shape == coef.shape
        means = SoftmaxRegressionCV(Cs, cv=3, refit=False, symmetric=symmetric).fit(X, y)
        assert means.coef_.shape == coef.shape
        model.save(tmp_path / "model.safetensors")
        loaded = SoftmaxRegression.load(tmp_path / "model.safetensors")
        assert loaded.symmetric == symmetric
        np.testing.assert_array_equal(loaded.decision_function(X), model.decision_function(X))
        np.testing.assert_array_equal(loaded.coef_, model.coef_)

    def test_folds_may_be_given(self) -> None:
        X, y = load_iris(return_X_y=True)
        given = StratifiedKFold(3, shuffle=True, random_state=1)
        model = SoftmaxRegressionCV([1.0], cv=given).fit(X, y)
        listed = SoftmaxRegressionCV([1.0], cv=list(given.split(X, y))).fit(X, y)
        np.testing.assert_array_equal(model.scores_, listed.scores_)


# --- what folds say of the samples that they held out ---------------------------------------------


@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("classes", [2, 4])
def test_out_of_fold_answers_are_those_of_fits_without_the_fold(
    classes: int, standardize: bool
) -> None:
    random = np.random.default_rng(0)
    y = np.array(["a", "b", "c", "d"])[np.arange(90) % classes]
    X = random.normal(size=(90, 6)) + (np.arange(90) % classes)[:, None] * 0.7
    splits = list(StratifiedKFold(3).split(X, y))
    search = SoftmaxRegressionCV(
        [0.1, 1.0], cv=splits, standardize=standardize, tol=1e-10, refit=False
    ).fit(X, y)
    found = search.out_of_fold_log_proba(X)
    for train, test in splits:
        alone = SoftmaxRegression(search.C_, standardize=standardize, tol=1e-10)
        expected = alone.fit(X[train], y[train]).predict_log_proba(X[test])
        np.testing.assert_allclose(found[test], expected, atol=1e-4)
    assert sorted(np.concatenate([fold.rows for fold in search.folds_]).tolist()) == list(range(90))
    with pytest.raises(InputError, match="X: expected the 90 rows of the fit, found 89"):
        search.out_of_fold_log_proba(X[:89])


def test_a_row_that_no_fold_holds_out_has_no_answer() -> None:
    random = np.random.default_rng(1)
    X, y = random.normal(size=(40, 3)), np.arange(40) % 2
    splits = [(np.arange(10, 40), np.arange(10))]
    found = SoftmaxRegressionCV([1.0], cv=splits).fit(X, y).out_of_fold_log_proba(X)
    assert np.isfinite(found[:10]).all()
    assert np.isnan(found[10:]).all()
