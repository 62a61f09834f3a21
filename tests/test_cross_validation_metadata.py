"""What `SoftmaxRegressionCV` hands on to its splitter and its scorer; its own score."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn import config_context
from sklearn.datasets import load_iris, load_wine
from sklearn.metrics import accuracy_score, balanced_accuracy_score, log_loss, make_scorer
from sklearn.model_selection import GroupKFold, KFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from bridle import InputError, SoftmaxRegression, SoftmaxRegressionCV

X, Y = load_iris(return_X_y=True)
GROUPS = np.random.default_rng(0).integers(0, 6, len(Y))
OPTIONS: dict[str, Any] = {"tol": 1e-10}


@pytest.fixture
def _routing() -> Iterator[None]:
    with config_context(enable_metadata_routing=True):
        yield


def by_groups() -> Any:
    """Return the scores of scikit-learn's own cross-validation over the groups."""
    return cross_val_score(
        SoftmaxRegression(1.0, **OPTIONS), X, Y, groups=GROUPS, cv=GroupKFold(3),
        scoring="neg_log_loss",
    )  # fmt: skip


def test_groups_decide_the_folds() -> None:
    model = SoftmaxRegressionCV([1.0], cv=GroupKFold(3), **OPTIONS).fit(X, Y, groups=GROUPS)
    np.testing.assert_allclose(model.scores_[:, 0], by_groups(), rtol=1e-5)
    # A splitter that has no use for them takes them all the same, as everywhere in scikit-learn.
    cv = KFold(2, shuffle=True, random_state=0)
    plain = SoftmaxRegressionCV([1.0], cv=cv).fit(X, Y)
    with pytest.warns(UserWarning, match="groups parameter is ignored by KFold"):
        told = SoftmaxRegressionCV([1.0], cv=cv).fit(X, Y, groups=GROUPS)
    np.testing.assert_array_equal(plain.scores_, told.scores_)
    with pytest.raises(InputError, match=r"^cv: The 'groups' parameter should not be None"):
        SoftmaxRegressionCV(cv=GroupKFold(3)).fit(X, Y)
    with pytest.raises(InputError, match=r"^price: fit takes it where scikit-learn's metadata"):
        SoftmaxRegressionCV().fit(X, Y, price=GROUPS)


@pytest.mark.usefixtures("_routing")
def test_a_pipeline_routes_groups_to_the_splitter() -> None:
    model = make_pipeline(StandardScaler(), SoftmaxRegressionCV([1.0], cv=GroupKFold(3), **OPTIONS))
    model.fit(X, Y, groups=GROUPS)
    direct = SoftmaxRegressionCV([1.0], cv=GroupKFold(3), **OPTIONS)
    direct.fit(StandardScaler().fit_transform(X), Y, groups=GROUPS)
    np.testing.assert_allclose(model[-1].scores_, direct.scores_, rtol=1e-6)


def paid(y: Any, predicted: Any, price: Any) -> float:
    """Return what the right answers earn."""
    return float(np.asarray(price)[np.asarray(y) == np.asarray(predicted)].sum())


@pytest.mark.usefixtures("_routing")
def test_a_scorer_gets_what_it_requests_of_each_folds_rows() -> None:
    scorer = make_scorer(paid).set_score_request(price=True)
    price = np.arange(len(Y)) + 1.0
    cv = KFold(3, shuffle=True, random_state=0)
    model = SoftmaxRegressionCV([1.0], cv=cv, scoring=scorer, **OPTIONS).fit(X, Y, price=price)
    for number, (train, test) in enumerate(cv.split(X)):
        single = SoftmaxRegression(1.0, **OPTIONS).fit(X[train], Y[train])
        assert model.scores_[number, 0] == paid(Y[test], single.predict(X[test]), price[test])
    assert model.score(X, Y, price=price) == paid(Y, model.predict(X), price)
    weighted = make_scorer(accuracy_score).set_score_request(sample_weight=True)
    model = SoftmaxRegressionCV([1.0], cv=cv, scoring=weighted).fit(X, Y, sample_weight=price)
    expected = accuracy_score(Y, model.predict(X), sample_weight=price)
    assert model.score(X, Y, sample_weight=price) == pytest.approx(expected)


def test_the_score_is_that_of_the_scoring() -> None:
    data, target = load_wine(return_X_y=True)
    weight = np.random.default_rng(1).random(len(target))
    judges: list[tuple[Any, Any, str]] = [
        ("neg_log_loss", lambda *given, **weight: -log_loss(*given, **weight), "predict_proba"),
        ("accuracy", accuracy_score, "predict"),
        (make_scorer(balanced_accuracy_score), balanced_accuracy_score, "predict"),
    ]
    for scoring, judge, method in judges:
        model = SoftmaxRegressionCV([0.01], scoring=scoring, standardize=True).fit(data, target)
        answers = getattr(model, method)(data)
        for given in (None, weight):
            right = judge(target, answers, sample_weight=given)
            assert model.score(data, target, given) == pytest.approx(right, rel=1e-9)
    with pytest.raises(InputError, match=r"^y: row 1 is 7, none of the classes$"):
        SoftmaxRegressionCV([0.01]).fit(data, target).score(data[:2], [0, 7])
    message = "price: score takes it where scikit-learn's metadata routing is enabled"
    with pytest.raises(InputError, match=f"^{re.escape(message)}"):
        model.score(data, target, price=weight)


@pytest.mark.usefixtures("_routing")
def test_a_pipeline_routes_what_a_fit_takes(tmp_path: Path) -> None:
    told: list[Any] = []
    kept = tmp_path / "kept.checkpoint"
    last = SoftmaxRegression().set_fit_request(sample_weight=True, progress=True, checkpoint=True)
    weight = np.linspace(0.5, 2.0, len(Y))
    model = make_pipeline(StandardScaler().set_fit_request(sample_weight=False), last)
    model.fit(X, Y, sample_weight=weight, progress=told.append, checkpoint=kept)
    assert told[-1].step == model[-1].fit_report_.passes
    assert kept.exists()
    direct = SoftmaxRegression().fit(StandardScaler().fit_transform(X), Y, weight)
    np.testing.assert_array_equal(
        model.predict_proba(X), direct.predict_proba(model[0].transform(X))
    )
    unasked = make_pipeline(StandardScaler(), SoftmaxRegression())
    with pytest.raises(ValueError, match="progress"):
        unasked.fit(X, Y, progress=told.append)
