"""Calibrators: beside optima in 50 digits and peers, at the edges, in files."""

from __future__ import annotations

import copy
import dataclasses
import io
import json
import math
import pickle
import re
from pathlib import Path
from typing import Any
from unittest import SkipTest

import joblib
import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import DataConversionWarning, NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_predict
from sklearn.naive_bayes import GaussianNB
from sklearn.svm import LinearSVC
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import check_estimator, estimator_checks_generator

import bridle
from bridle import NetworkClassifier, SoftmaxRegression, SoftmaxRegressionCV
from bridle.calibrate import (
    METHODS,
    CalibratedClassifier,
    DirichletScaling,
    IsotonicScaling,
    MatrixScaling,
    TemperatureScaling,
    VectorScaling,
    create,
    decompose,
    load_calibrator,
    out_of_fold,
)
from bridle.checks import InputError, TargetRangeError
from bridle.judge import evaluate

mpmath: Any = pytest.importorskip("mpmath", reason="the 50-digit optimum needs mpmath")

Array = npt.NDArray[Any]


def problem(seed: int, *, count: int = 40, classes: int = 4) -> tuple[Array, Array, Array]:
    """Return scores that tell something of the targets, the targets, and weights."""
    random = np.random.default_rng(seed)
    target = random.integers(0, classes, count)
    scores = random.normal(size=(count, classes)) * random.uniform(0.1, 20)
    scores[np.arange(count), target] += np.abs(scores).mean() * random.uniform(0.3, 2)
    return scores + random.normal(size=(count, 1)) * 100, target, random.uniform(0, 3, count)


def exact_temperature(scores: Array, target: Array, weight: Array) -> Any:
    """Return the root of the loss's slope in 1 / T, in 50 digits, by bisection."""
    with mpmath.workdps(60):
        rows = [
            ([mpmath.mpf(float(s)) for s in row], int(y), mpmath.mpf(float(w)))
            for row, y, w in zip(scores, target, weight, strict=True)
        ]

        def slope(inverse: Any) -> Any:
            total = mpmath.mpf(0)
            for row, y, w in rows:
                top = max(row)
                powers = [mpmath.exp(inverse * (s - top)) for s in row]
                mean = sum(p * s for p, s in zip(powers, row, strict=True)) / sum(powers)
                total += w * (mean - row[y])
            return total

        low, high = mpmath.mpf("1e-12"), mpmath.mpf(1)
        while slope(high) < 0:
            high *= 2
        for _ in range(190):
            middle = (low + high) / 2
            low, high = (middle, high) if slope(middle) < 0 else (low, middle)
        return 1 / low


@pytest.mark.parametrize("seed", range(12))
def test_the_temperature_is_that_of_50_digits(seed: int) -> None:
    scores, target, weight = problem(seed, classes=2 + seed % 5)
    model = TemperatureScaling().fit(scores, target, weight)
    assert 0 < model.temperature_ < math.inf
    expected = exact_temperature(scores, target, weight)
    assert abs(model.temperature_ / float(expected) - 1) < 1e-10
    assert 0 <= model.gap_ < 1e-12 * max(1.0, model.loss_)


def test_a_thousand_classes_and_half_precision() -> None:
    random = np.random.default_rng(0)
    target = random.integers(0, 1000, 500)
    scores = random.normal(size=(500, 1000)).astype(np.float16)
    scores[np.arange(500), target] += 6
    found = TemperatureScaling().fit(scores, target)
    wide = TemperatureScaling().fit(scores.astype(np.float64), target)
    assert found.temperature_ == wide.temperature_

    def loss(power: Array) -> float:
        logarithms = log_softmax(scores.astype(np.float64) / np.exp(power[0]), axis=1)
        return float(-logarithms[np.arange(500), target].mean())

    expected = minimize(loss, [0.0], method="Nelder-Mead", options={"xatol": 1e-9})
    assert found.loss_ == pytest.approx(expected.fun, abs=1e-12)
    assert math.log(found.temperature_) == pytest.approx(expected.x[0], abs=1e-6)


def test_where_there_is_no_temperature_it_is_stated() -> None:
    scores, target = np.array([[3.0, 0, 1], [0, 2, 1], [1, 0, 5]]), np.array([0, 1, 2])
    separable = TemperatureScaling().fit(scores, target)
    assert (separable.temperature_, separable.loss_) == (0.0, 0.0)
    assert separable.predict_proba(scores).tolist() == np.eye(3).tolist()
    inverted = TemperatureScaling().fit(-scores, target)
    assert inverted.temperature_ == math.inf
    assert inverted.loss_ == pytest.approx(math.log(3))
    assert np.allclose(inverted.predict_proba(scores), 1 / 3)
    tied = TemperatureScaling().fit([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0]], [0, 1])
    assert tied.temperature_ == 0.0
    assert tied.loss_ == pytest.approx(math.log(2))
    assert tied.predict_proba([[2.0, 2.0, 0.0]]).tolist() == [[0.5, 0.5, 0.0]]
    nothing = TemperatureScaling().fit(np.full((4, 3), 7.0), [0, 1, 2, 0])
    assert nothing.temperature_ == 1.0


@pytest.mark.parametrize("factor", [1e-200, 1e-9, 1e9, 1e200])
def test_scores_of_any_size(factor: float) -> None:
    scores, target, weight = problem(1)
    scores -= scores.max(axis=1, keepdims=True)
    found = TemperatureScaling().fit(scores * factor, target, weight)
    plain = TemperatureScaling().fit(scores, target, weight)
    assert found.temperature_ / factor == pytest.approx(plain.temperature_, rel=1e-9)
    assert np.allclose(found.predict_proba(scores * factor), plain.predict_proba(scores))


def test_masked_classes_stay_masked() -> None:
    scores, target, _ = problem(2)
    masked = np.column_stack([scores, np.full(len(scores), -np.inf)])
    found, plain = (TemperatureScaling().fit(each, target) for each in (masked, scores))
    assert found.temperature_ == pytest.approx(plain.temperature_, rel=1e-12)
    assert not found.predict_proba(masked)[:, -1].any()
    target[3] = 4
    with pytest.raises(InputError, match="its probability above 0, found -inf at row 3"):
        TemperatureScaling().fit(masked, target)


@pytest.mark.parametrize("kind", list(METHODS))
def test_weight_k_is_k_copies_and_0_is_none(kind: str) -> None:
    scores, target, _ = problem(3, count=60)
    copies = np.random.default_rng(0).integers(0, 4, 60)
    weighted = METHODS[kind]().fit(scores, target, copies)
    copied = METHODS[kind]().fit(scores.repeat(copies, 0), target.repeat(copies))
    assert np.allclose(weighted.predict_proba(scores), copied.predict_proba(scores), atol=1e-6)


@pytest.mark.parametrize("kind", list(METHODS))
def test_any_dtype_layout_and_block(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    scores, target, _ = problem(4, count=53)
    scores = scores.astype(np.float32)
    whole = METHODS[kind]().fit(scores, target).predict_proba(scores)
    assert whole.dtype == np.float32
    assert np.allclose(whole.sum(axis=1), 1, atol=1e-6)
    monkeypatch.setattr("bridle.calibrate.base._BLOCK_NUMBERS", 7)
    monkeypatch.setattr("bridle.calibrate.affine._KEPT_NUMBERS", 0)
    for given in (scores.astype(">f4"), np.asfortranarray(scores), scores[::-1][::-1]):
        found = METHODS[kind]().fit(given, target)
        assert np.allclose(found.predict_proba(given), whole, atol=1e-6)


@pytest.mark.parametrize("kind", list(METHODS))
def test_tensors_are_taken(kind: str) -> None:
    torch = pytest.importorskip("torch", reason="the extra `torch` is not installed")
    scores, target, _ = problem(4)
    expected = METHODS[kind]().fit(scores, target).predict_proba(scores)
    tensors = torch.tensor(scores, requires_grad=True), torch.tensor(target)
    assert np.allclose(METHODS[kind]().fit(*tensors).predict_proba(tensors[0]), expected)
    half = torch.tensor(scores).bfloat16()
    assert METHODS[kind]().fit(half, tensors[1]).predict_proba(half).shape == scores.shape


@pytest.mark.parametrize("kind", ["vector", "matrix", "dirichlet"])
@pytest.mark.parametrize("C", [0.01, 1.0, 100.0])
def test_affine_calibrators_are_at_their_proven_optimum(kind: str, C: float) -> None:
    scores, target, weight = problem(5, count=80, classes=3)
    model: Any = METHODS[kind]
    found = model(C=C).fit(scores, target, weight)
    assert found.gap_ < 1e-9
    shrunk = 1 / (1 + weight.sum())
    fair = softmax(scores / TemperatureScaling().fit(scores, target, weight).temperature_, axis=1)
    z = np.log((1 - shrunk) * fair + shrunk / 3)
    share = weight / weight.sum()

    def objective(vector: Array) -> float:
        coef = np.diag(vector[:3]) if kind == "vector" else vector[:-3].reshape(3, 3)
        logarithms = log_softmax(z + z @ coef + vector[-3:], axis=1)
        own = np.diag(coef) @ np.diag(coef) + vector[-3:] @ vector[-3:]
        others = (coef**2).sum() - np.diag(coef) @ np.diag(coef)
        penalty = (3 * own + 3 * 2 * others) / (C * weight.sum())
        return float(-share @ logarithms[np.arange(80), target] + penalty)

    size = 6 if kind == "vector" else 12
    expected = minimize(objective, np.zeros(size), method="BFGS", options={"gtol": 1e-9})
    assert found.objective_ == pytest.approx(expected.fun, abs=1e-8)
    assert found.objective_ <= expected.fun + found.gap_ + 1e-12


# What probmetrics 1.3.0 loses on every second sample of `evenly_spread`, fitted to the others, by
# get_calibrator("svs") and ("sms") with their defaults, given probabilities; it stops at a
# tolerance of 1e-5.
PROBMETRICS = [
    ("vector", 150, 3, 0.7064409255981445),
    ("matrix", 150, 3, 0.6775108774957449),
    ("vector", 400, 5, 1.0655488967895508),
    ("matrix", 400, 5, 0.9591736611357198),
]


def evenly_spread(count: int, classes: int) -> tuple[Array, Array]:
    """Return scores and classes without chance, whose first class has too large ones."""
    place = np.arange(count * classes).reshape(count, classes)
    scores = 6 * (place * 0.6180339887498949 % 1) - 3
    target = np.arange(count) % classes
    scores[np.arange(count), target] += 2 + np.arange(count) * 0.4142135623730951 % 1
    scores[:, 0] *= 2
    return log_softmax(scores, axis=1), target


@pytest.mark.parametrize(("kind", "count", "classes", "theirs"), PROBMETRICS)
def test_structured_scaling_is_that_of_its_authors(
    kind: str, count: int, classes: int, theirs: float
) -> None:
    scores, target = evenly_spread(count, classes)
    model = METHODS[kind]().fit(scores[::2], target[::2])
    own = model.predict_log_proba(scores[1::2])[np.arange(count // 2), target[1::2]]
    assert -own.mean() == pytest.approx(theirs, abs=5e-5)


def digits_scores() -> tuple[Array, Array]:
    X, y = load_digits(return_X_y=True)
    learnt = np.arange(len(y)) % 4 == 0
    model = SoftmaxRegression(C=1e4).fit(X[learnt] / 16, y[learnt])
    return model.decision_function(X[~learnt] / 16), y[~learnt]


def test_calibrated_digits_lose_less_on_samples_that_nobody_has_seen() -> None:
    scores, target = digits_scores()
    fitted = np.arange(len(target)) % 2 == 0
    rest = ~fitted

    def loss(logarithms: Array) -> float:
        return float(-logarithms[np.arange(len(logarithms)), target[rest]].mean())

    before = loss(log_softmax(scores[rest], axis=1))
    after = {
        kind: loss(
            METHODS[kind]().fit(scores[fitted], target[fitted]).predict_log_proba(scores[rest])
        )
        for kind in ("temperature", "vector", "matrix", "dirichlet")
    }
    assert max(after.values()) < before * 0.9


def test_isotonic_equals_scikit_learns() -> None:
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.frozen import FrozenEstimator

    X, y = load_digits(return_X_y=True)
    learnt = np.arange(len(y)) % 2 == 0
    model = SoftmaxRegression().fit(X[learnt] / 16, y[learnt])
    scores = model.decision_function(X[~learnt] / 16)
    found = IsotonicScaling().fit(scores, y[~learnt]).predict_proba(scores)
    assert np.allclose(found.sum(axis=1), 1)
    theirs = CalibratedClassifierCV(FrozenEstimator(model), method="isotonic")
    theirs.fit(X[~learnt] / 16, y[~learnt])
    # Theirs calibrates scores of one against the rest, ours probabilities: alike, not the same.
    assert (found.argmax(1) == theirs.predict(X[~learnt] / 16)).mean() > 0.97


@pytest.mark.parametrize("kind", list(METHODS))
def test_a_file_gives_the_same_answers(kind: str, tmp_path: Path) -> None:
    scores, target, _ = problem(6)
    model = clone(METHODS[kind]()).fit(scores, target)
    path = tmp_path / "calibrator.safetensors"
    model.save(path)
    loaded = load_calibrator(path)
    assert type(loaded) is type(model)
    assert loaded.get_params() == model.get_params()
    assert np.array_equal(loaded.predict_proba(scores), model.predict_proba(scores))
    other = VectorScaling if kind == "temperature" else TemperatureScaling
    with pytest.raises(InputError, match="no readable bridle calibrator"):
        other.load(path)
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(InputError):
        load_calibrator(path)


def test_what_cannot_be_calibrated_is_one_clear_error() -> None:
    scores, target, _ = problem(7)
    fit = TemperatureScaling().fit
    with pytest.raises(InputError, match=r"scores: expected shape \(N, K\), found \(4,\)"):
        fit(scores[0], target[:1])
    with pytest.raises(InputError, match="at least one row and one class"):
        fit(np.zeros((0, 3)), [])
    with pytest.raises(TargetRangeError, match="row 2"):
        fit(scores, [*target[:2], 9, *target[3:]])
    with pytest.raises(InputError, match="row 1"):
        fit([[0.0, 1.0], [np.nan, 1.0]], [0, 1])
    with pytest.raises(InputError, match="a sum of 0"):
        fit(scores, target, np.zeros(len(target)))
    with pytest.warns(UserWarning, match="these are probabilities"):
        fit([[0.25, 0.75], [0.5, 0.5]], [0, 1])
    with pytest.raises(ValueError, match="X has 3 features, but TemperatureScaling is expecting 4"):
        fit(scores, target).predict_proba(scores[:, :3])
    for model in (VectorScaling, MatrixScaling, DirichletScaling):
        with pytest.raises(InputError, match="C: expected a finite number above 0"):
            model(C=-1).fit(scores, target)


def test_labels_stand_for_the_columns_that_they_name() -> None:
    scores, target, _ = problem(9)
    names = ["d", "c", "b", "a"]
    labels = [names[each] for each in target]
    expected = VectorScaling().fit(scores, target).predict_proba(scores)
    named = VectorScaling().fit(scores, labels, classes=iter(names))
    assert np.array_equal(named.predict_proba(scores), expected)
    assert decompose(scores, labels, classes=names) == decompose(scores, target)
    assert np.array_equal(
        out_of_fold(VectorScaling(), scores, labels, classes=names),
        out_of_fold(VectorScaling(), scores, target),
    )
    with pytest.raises(InputError, match="row 0 is 'z', which is none of the 4 classes"):
        VectorScaling().fit(scores, ["z", *labels[1:]], classes=names)


@pytest.mark.parametrize("kind", list(METHODS))
def test_of_probabilities_the_logarithms_are_taken(kind: str) -> None:
    scores, target, _ = problem(10, count=60)
    fair = softmax(scores / 10, axis=1)
    of_scores = METHODS[kind]().fit(np.log(fair), target)
    told: dict[str, Any] = {"kind": "probabilities"}
    found = METHODS[kind]().fit(fair, target, **told)
    expected = of_scores.predict_proba(np.log(fair))
    assert np.array_equal(found.predict_proba(fair, **told), expected)
    fair[3] = [-0.1, 0.5, 0.3, 0.3]
    with pytest.raises(InputError, match="probabilities of 0 or above, found less at row 3"):
        METHODS[kind]().fit(fair, target, **told)
    with pytest.raises(InputError, match="kind: expected one of scores, probabilities"):
        METHODS[kind]().fit(scores, target, kind="logits")  # type: ignore[arg-type]


# --- what a loss is made of -----------------------------------------------------------------------


def test_a_row_is_calibrated_by_what_has_not_seen_it() -> None:
    scores, target, _ = problem(8, count=30)
    for kind in METHODS:
        before = out_of_fold(METHODS[kind](), scores, target, folds=5)
        changed = target.copy()
        changed[3] = (changed[3] + 1) % 4
        after = out_of_fold(METHODS[kind](), scores, changed, folds=5)
        assert np.array_equal(before[3], after[3])
        assert not np.array_equal(before, after)
    assert np.allclose(
        out_of_fold(VectorScaling(), scores[:1], target[:1]), log_softmax(scores[:1], 1)
    )


def test_the_parts_sum_to_the_scores_that_evaluate_tells() -> None:
    scores, target = digits_scores()
    found = decompose(scores, target)
    judged = evaluate(scores, target, kind="scores")
    assert found.cross_entropy.total == pytest.approx(judged.cross_entropy_nats, rel=1e-12)
    assert found.brier_score.total == pytest.approx(judged.brier_score, rel=1e-12)
    assert found.class_frequencies[0] == pytest.approx(judged.class_frequency_nats, rel=1e-12)
    after = out_of_fold(TemperatureScaling(), scores, target)
    calibrated = evaluate(after, target, kind="scores")
    assert found.cross_entropy.refinement == pytest.approx(calibrated.cross_entropy_nats, rel=1e-9)
    for parts in (found.cross_entropy, found.brier_score):
        assert parts.refinement + parts.calibration == pytest.approx(parts.total, rel=1e-12)
        assert parts.calibration > 0
    # What a temperature cannot mend is no calibration of its kind; a matrix finds more.
    assert decompose(scores, target, method="matrix").cross_entropy.calibration > (
        0.9 * found.cross_entropy.calibration
    )


def test_a_perfect_forecast_has_nothing_to_calibrate() -> None:
    random = np.random.default_rng(0)
    scores = random.normal(size=(3000, 4))
    p = np.exp(log_softmax(scores, axis=1))
    target = (p.cumsum(axis=1) > random.random((3000, 1))).argmax(axis=1)
    found = decompose(scores, target)
    assert found.cross_entropy.calibration < 2e-3
    weight = random.integers(1, 3, 3000)
    weighted = decompose(scores, target, sample_weight=weight)
    losses = -np.log(p[np.arange(3000), target])
    assert weighted.cross_entropy.total == pytest.approx(np.average(losses, weights=weight))
    with pytest.raises(InputError, match="folds: expected 2 or more"):
        decompose(scores, target, folds=1)


# --- a classifier and its calibrator --------------------------------------------------------------


@pytest.mark.parametrize(
    "estimator",
    [SoftmaxRegression(C=100.0), LogisticRegression(C=100.0, max_iter=2000), GaussianNB()],
    ids=lambda each: type(each).__name__,
)
@pytest.mark.parametrize("method", ["temperature", "vector"])
def test_the_calibrator_sees_out_of_fold_answers_alone(estimator: Any, method: str) -> None:
    X, y = load_digits(return_X_y=True)
    X, y = X[:600] / 16, np.array([f"d{each}" for each in y[:600]])
    splits = list(StratifiedKFold(3).split(X, y))
    model = CalibratedClassifier(estimator, method, cv=splits).fit(X, y)
    answers = cross_val_predict(estimator, X, y, cv=splits, method="predict_log_proba")
    by_hand = METHODS[method]().fit(answers, np.unique(y, return_inverse=True)[1])
    whole = clone(estimator).fit(X, y)
    expected = by_hand.predict_proba(whole.predict_log_proba(X))
    np.testing.assert_allclose(model.predict_proba(X), expected, atol=2e-3)
    if method == "temperature":  # which leaves the order of the classes
        assert (model.predict(X) == whole.predict(X)).mean() > 0.995
        assert model.score(X, y) > 0.8
    assert clone(model).get_params()["method"] == method


def test_a_calibrated_classifier_takes_weights_and_refuses_folds_that_leave_rows_out() -> None:
    X, y = load_digits(return_X_y=True)
    X, y = X[:300] / 16, y[:300]
    copies = np.random.default_rng(0).integers(0, 3, 300)
    model = CalibratedClassifier(SoftmaxRegression(), cv=3).fit(X, y, copies)
    assert np.allclose(model.predict_proba(X).sum(axis=1), 1)
    splits = [(np.arange(100, 300), np.arange(100))]
    with pytest.raises(InputError, match="cv: expected folds that hold out every sample"):
        CalibratedClassifier(SoftmaxRegression(), cv=splits).fit(X, y)
    with pytest.raises(InputError, match="method: expected one of temperature"):
        CalibratedClassifier(SoftmaxRegression(), "platt").fit(X, y)
    binary = CalibratedClassifier(LinearSVC(), cv=3).fit(X[y < 2], y[y < 2])
    assert binary.predict_proba(X[y < 2]).shape == (int((y < 2).sum()), 2)


def test_the_folds_of_a_search_are_not_fitted_again(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = load_digits(return_X_y=True)
    X, y = X[:600] / 16, y[:600]
    search = SoftmaxRegressionCV([0.1, 100.0], cv=3)
    fitted = clone(search).fit(X, y)
    expected = TemperatureScaling().fit(fitted.out_of_fold_log_proba(X), y)
    calls: list[object] = []
    real = SoftmaxRegressionCV.fit

    def counted(self: SoftmaxRegressionCV, *given: Any, **told: Any) -> SoftmaxRegressionCV:
        calls.append(self)
        return real(self, *given, **told)

    monkeypatch.setattr(SoftmaxRegressionCV, "fit", counted)
    model: Any = CalibratedClassifier(search).fit(X, y)
    assert len(calls) == 1
    assert model.calibrator_.temperature_ == pytest.approx(expected.temperature_, rel=1e-9)
    calls.clear()
    nested = CalibratedClassifier(search, cv=2).fit(X, y)  # each fold chooses its own
    assert len(calls) == 3
    assert nested.calibrator_.temperature_ != model.calibrator_.temperature_


@pytest.mark.parametrize(
    "estimator",
    [
        SoftmaxRegression(C=100.0, symmetric=True),
        SoftmaxRegressionCV([1.0, 100.0], cv=3),
        NetworkClassifier((8,), max_epochs=3, random_state=0),
    ],
    ids=lambda each: type(each).__name__,
)
@pytest.mark.parametrize("kind", ["vector", "isotonic"])
def test_a_file_holds_classifier_and_calibrator(estimator: Any, kind: str, tmp_path: Path) -> None:
    X, y = load_digits(return_X_y=True)
    X, y = X[:400] / 16, np.array([f"d{each}" for each in y[:400]])
    frame = pd.DataFrame(X, columns=[f"x{place}" for place in range(64)])
    model = CalibratedClassifier(estimator, kind, cv=3).fit(frame, y)
    path = tmp_path / "model.safetensors"
    model.save(path)
    loaded: Any = bridle.load(path)
    assert type(loaded) is CalibratedClassifier
    assert np.array_equal(loaded.predict_proba(frame), model.predict_proba(frame))
    assert loaded.predict(frame).tolist() == model.predict(frame).tolist()
    assert list(loaded.feature_names_in_) == list(frame.columns)
    assert (loaded.method, loaded.cv, loaded.n_features_in_) == (kind, 3, 64)
    assert loaded.to_bytes() == path.read_bytes()
    again = clone(loaded).fit(frame, y)  # a loaded one can be fitted anew
    assert again.predict_proba(frame).shape == (400, 10)
    with pytest.raises(InputError, match=r"found 'bridle\.CalibratedClassifier' of version 1"):
        SoftmaxRegression.load(path)
    with pytest.raises(InputError, match=r"found 'bridle\.CalibratedClassifier'"):
        load_calibrator(path)


def test_bridle_load_reads_whatever_was_saved(tmp_path: Path) -> None:
    scores, target, _ = problem(6)
    path = tmp_path / "file"
    plain = SoftmaxRegression().fit(scores, target)
    for model in (plain, VectorScaling().fit(scores, target)):
        model.save(path)
        assert type(bridle.load(path)) is type(model)
    with pytest.raises(InputError, match="estimator: expected a SoftmaxRegression or a Network"):
        CalibratedClassifier(GaussianNB()).fit(scores, target).save(path)
    CalibratedClassifier(SoftmaxRegression()).fit(scores, target).save(path)
    with safe_open(path, framework="numpy") as file:
        description = json.loads(file.metadata()["bridle"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    for broken in (
        {"calibrator": None},
        {"calibrator": {**description["calibrator"], "classes": 3}},
        {"calibrator": {**description["calibrator"], "kind": "platt"}},
        {"classifier": {**description["classifier"], "version": 9}},
        {"classifier": {**description["classifier"], "format": "bridle.Calibrator"}},
        {"cv": "five"},
        {"format": "bridle.Other"},
    ):
        save_file(tensors, path, {"bridle": json.dumps({**description, **broken})})
        with pytest.raises(InputError, match=re.escape(str(path))):
            bridle.load(path)
    save_file(
        {name: each for name, each in tensors.items() if name != "calibrator.figures"},
        path,
        {"bridle": json.dumps(description)},
    )
    with pytest.raises(InputError, match="no readable bridle"):
        bridle.load(path)


def test_no_temperature_between_0_and_infinity_is_warned_of() -> None:
    X, y = np.array([[-2.0], [-1.0], [1.0], [2.0]]).repeat(5, 0), np.repeat([0, 0, 1, 1], 5)
    with pytest.warns(UserWarning, match="every answer of the folds is right"):
        sure = CalibratedClassifier(SoftmaxRegression()).fit(X, y)
    assert sure.predict_proba(X).tolist() == np.eye(2)[y].tolist()
    with pytest.warns(UserWarning, match="the answers of the folds tell nothing"):
        # Each half of the samples says the opposite of the other.
        alike = CalibratedClassifier(SoftmaxRegression(C=100.0), cv=2).fit(
            [[0.0], [1.0], [1.0], [0.0]], [0, 1, 0, 1]
        )
    assert np.unique(alike.predict_proba(X)).tolist() == [0.5]


def test_a_classifier_and_a_calibrator_that_were_fitted_apart() -> None:
    scores, target, _ = problem(7)
    classifier = SoftmaxRegression().fit(scores, target)
    calibrator = VectorScaling().fit(classifier.predict_log_proba(scores), target)
    model = CalibratedClassifier.joined(classifier, calibrator)
    expected = calibrator.predict_proba(classifier.predict_log_proba(scores))
    assert np.array_equal(model.predict_proba(scores), expected)
    other = VectorScaling().fit(scores[:, :2], target % 2)
    with pytest.raises(InputError, match="calibrator: expected one of the estimator's 4 classes"):
        CalibratedClassifier.joined(classifier, other)
    shares = np.full((len(scores), 4), 0.25)
    with pytest.raises(InputError, match="y: expected one label a sample"):
        CalibratedClassifier(SoftmaxRegression()).fit(scores, shares)


@pytest.mark.parametrize("method", list(METHODS))
def test_scikit_learn_finds_a_classifier_like_its_own(method: str) -> None:
    check_estimator(CalibratedClassifier(SoftmaxRegression(), method, cv=3), on_skip=None)
    assert not get_tags(CalibratedClassifier(GaussianNB(), method)).input_tags.sparse


# What scikit-learn's common checks bring that is neither a score nor a class's index.
NO_SCORES = ("expected a class index in", "(labels need classes=)", "(continuous)")


@pytest.mark.parametrize("method", list(METHODS))
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_scikit_learns_checks_pass_where_they_bring_a_column_for_each_class(
    method: str, monkeypatch: pytest.MonkeyPatch, subtests: Any
) -> None:
    model = create(method)
    assert get_tags(model)._skip_test
    told = dataclasses.replace(get_tags(model), _skip_test=False)
    monkeypatch.setattr(METHODS[method], "__sklearn_tags__", lambda _: told)
    passed = 0
    for estimator, check in estimator_checks_generator(model):
        with subtests.test(check.func.__name__):
            try:
                check(estimator)
            except SkipTest:  # of a library of arrays: `array_api_suite.py`
                continue
            except Exception as error:
                chain = f"{error} {error.__cause__} {error.__context__}"
                # One asks for the right answers of features that are no scores.
                is_of_features = check.func.__name__ == "check_classifiers_train"
                if not is_of_features and not any(mark in chain for mark in NO_SCORES):
                    raise
            else:
                passed += 1
    assert passed > 40


@pytest.mark.parametrize("method", list(METHODS))
def test_a_calibrator_is_a_classifier_of_scores(method: str, tmp_path: Path) -> None:
    scores, target, _ = problem(11, count=80)
    model = create(method)
    for name in ("n_features_in_", "n_classes_", "classes_"):
        assert not hasattr(model, name)
    with pytest.raises(NotFittedError):
        model.predict(scores)
    model.fit(scores, target)
    assert (model.n_features_in_, model.n_classes_, model.classes_.tolist()) == (4, 4, [0, 1, 2, 3])
    found = model.predict(scores)
    np.testing.assert_array_equal(found, model.predict_proba(scores).argmax(axis=1))
    assert model.score(scores, target) == (found == target).mean()
    written = io.BytesIO()
    joblib.dump(model, written)
    written.seek(0)
    model.save(tmp_path / "calibrator.safetensors")
    for again in (
        pickle.loads(pickle.dumps(model)), copy.deepcopy(model), joblib.load(written),
        clone(model).fit(scores, target), load_calibrator(tmp_path / "calibrator.safetensors"),
    ):  # fmt: skip
        np.testing.assert_array_equal(again.predict_proba(scores), model.predict_proba(scores))
        assert again.n_features_in_ == 4


def test_a_calibrator_has_its_labels_and_the_names_of_its_columns(tmp_path: Path) -> None:
    scores, target, _ = problem(12, count=80)
    names = np.array(["d", "c", "b", "a"])
    frame = pd.DataFrame(scores, columns=[f"score of {name}" for name in names])
    model = MatrixScaling().fit(frame, names[target], classes=names)
    model.save(tmp_path / "calibrator.safetensors")
    for each in (model, load_calibrator(tmp_path / "calibrator.safetensors")):
        assert each.classes_.tolist() == names.tolist()
        assert each.feature_names_in_.tolist() == frame.columns.tolist()
        np.testing.assert_array_equal(
            each.predict(frame), names[each.predict_proba(frame).argmax(1)]
        )
        assert each.score(frame, names[target]) > 0.3
        with pytest.raises(ValueError, match="feature names"):
            each.predict(frame[frame.columns[::-1]])
    mixed: list[Any] = ["x", 0, 2.5, True]
    labelled = VectorScaling().fit(scores, [mixed[each] for each in target], classes=mixed)
    assert labelled.classes_.tolist() == mixed


def test_scikit_learn_searches_over_calibrators() -> None:
    scores, target, _ = problem(13, count=120)
    folds = StratifiedKFold(3)
    search = GridSearchCV(VectorScaling(), {"C": [1e-4, 1.0]}, scoring="neg_log_loss", cv=folds)
    search.fit(scores, target)
    for place, C in enumerate((1e-4, 1.0)):
        losses = [
            -bridle.cross_entropy(
                VectorScaling(C).fit(scores[train], target[train]).predict_log_proba(scores[test]),
                target[test],
            )
            for train, test in folds.split(scores, target)
        ]
        assert search.cv_results_["mean_test_score"][place] == pytest.approx(np.mean(losses))
    found = cross_val_predict(
        TemperatureScaling(), scores, target, cv=folds, method="predict_log_proba"
    )
    train, test = next(folds.split(scores, target))
    fitted = TemperatureScaling().fit(scores[train], target[train])
    np.testing.assert_array_equal(found[test], fitted.predict_log_proba(scores[test]))


def test_a_column_of_classes_is_a_row_with_a_warning() -> None:
    scores, target, _ = problem(14, count=40)
    with pytest.warns(DataConversionWarning):
        found = TemperatureScaling().fit(scores, target[:, None])
    assert found.temperature_ == TemperatureScaling().fit(scores, target).temperature_
