"""``bridle fit --calibrate``, as a user types it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from sklearn.datasets import load_digits
from sklearn.model_selection import PredefinedSplit, cross_val_predict

import bridle
from bridle import SoftmaxRegression, SoftmaxRegressionCV
from bridle.calibrate import METHODS, CalibratedClassifier
from commands import Command

pytest.importorskip("typer")
from bridle.cli import folds, splitting

Array = npt.NDArray[Any]


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """Return digits to learn from, too few for so weak a penalty as the tests take, and others."""
    X, y = load_digits(return_X_y=True)
    frame = pd.DataFrame(X, columns=[f"x{place}" for place in range(64)])
    frame["label"] = [f"digit {each}" for each in y]
    train, test = tmp_path / "train.csv", tmp_path / "test.csv"
    frame[:500].to_csv(train, index=False)
    frame[500:1000].to_csv(test, index=False)
    return train, test


def by_hand(files: tuple[Path, Path], method: str, C: float) -> tuple[Array, Array, Array]:
    """Return what a calibrator makes of the test's answers, those answers, and the test's truth."""
    train, test = (pd.read_csv(each) for each in files)
    X, y = (train[[f"x{place}" for place in range(64)]].to_numpy(float), train["label"])
    model = SoftmaxRegression(C, standardize=True)
    fold = np.empty(len(y), int)
    fold[np.argsort(y, kind="stable")] = np.arange(len(y)) % 5  # class by class, in turn
    splits = PredefinedSplit(fold)
    answers = cross_val_predict(model, X, y, cv=splits, method="predict_log_proba")
    classes, target = np.unique(y, return_inverse=True)
    calibrator = METHODS[method]().fit(answers, target)
    held = model.fit(X, y).predict_log_proba(test.iloc[:, :64].to_numpy(float))
    return calibrator.predict_log_proba(held), held, np.searchsorted(classes, test["label"])


@pytest.mark.parametrize("method", list(METHODS))
def test_it_is_fitted_out_of_fold_kept_with_the_model_and_applied(
    command: Command, files: tuple[Path, Path], tmp_path: Path, method: str
) -> None:
    train, test = files
    out, page = tmp_path / "model", tmp_path / "page.html"
    code, text, error = command(
        "fit", train, "--test", test, "--C", 10, "--calibrate", method, "--out", out, "--report",
        page,
    )  # fmt: skip
    assert code == 0, error
    assert f"calibrated ({method}) by what 5 folds say that have not learnt it" in text
    assert "test samples                before     after" in text
    logarithms, before, target = by_hand(files, method, 10.0)
    rows = np.arange(len(target))
    metrics = json.loads((out / "metrics.json").read_text())
    told = metrics["calibration"]
    assert (told["method"], told["folds"], told["why_not"]) == (method, 5, None)
    loss, old_loss = (float(-each[rows, target].mean()) for each in (logarithms, before))
    assert told["before"]["cross_entropy_nats"] == pytest.approx(old_loss, rel=1e-3)
    if method != "isotonic":  # whose zeros may make it infinite
        assert told["after"]["cross_entropy_nats"] == pytest.approx(loss, rel=1e-2)
    for key in ("cross_entropy_nats", "brier_score", "accuracy", "expected_calibration_error"):
        assert told["after"][key] == metrics["evaluation"][key]
    # What was written predicts so, and is judged so.
    answered = tmp_path / "answers.csv"
    assert command("predict", out, test, "--out", answered)[0] == 0
    frame = pd.read_csv(answered)
    found = frame[[f"digit {each}" for each in range(10)]].to_numpy()
    np.testing.assert_allclose(found, np.exp(logarithms), atol=0.02)
    np.testing.assert_allclose(found.max(axis=1), frame["probability"], atol=1e-8)
    code, text, _ = command("evaluate", "--model", out, test, "--json")
    judged = json.loads(text)
    assert judged["cross_entropy_nats"] == metrics["evaluation"]["cross_entropy_nats"]
    assert f"the model's answers are calibrated ({method})" in judged["notes"]
    # And in Python.
    model: Any = bridle.load(out / "model.safetensors")
    assert isinstance(model, CalibratedClassifier)
    X = pd.read_csv(test).iloc[:, :64]
    np.testing.assert_allclose(model.predict_proba(X), found, atol=1e-8)
    assert model.predict(X).tolist() == frame["predicted"].tolist()
    assert list(model.feature_names_in_) == list(X.columns)
    shown = metrics["report"]["calibrator"]
    assert shown == told
    assert "The model is calibrated already" in page.read_text(encoding="utf-8")


def test_folds_are_fair_to_sorted_data(command: Command, tmp_path: Path) -> None:
    # Half of the samples come from a place where labels are noise, the other half are clear.
    random = np.random.default_rng(0)
    y = np.tile([0, 1], 500)
    X = random.normal(size=(1000, 2)) + 3 * y[:, None] * (np.arange(1000) < 500)[:, None]
    table = pd.DataFrame({"a": X[:, 0], "b": X[:, 1], "y": y})
    table.to_csv(tmp_path / "sorted.csv", index=False)
    mixed = table.sample(frac=1, random_state=0)
    mixed.to_csv(tmp_path / "mixed.csv", index=False)
    found = []
    for name in ("sorted", "mixed"):
        _, text, _ = command("fit", tmp_path / f"{name}.csv", "--calibrate", "vector", "--json")
        found.append(json.loads(text)["calibration"]["temperature"])
    assert found[0] == pytest.approx(found[1], rel=0.1)
    fold = splitting.fold_of_rows(np.array(list("aaaaaabbbbc")), 3)
    assert fold.tolist() == [0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1]


def test_a_calibrated_model_is_less_too_sure(command: Command, files: tuple[Path, Path]) -> None:
    train, test = files
    options = ("fit", train, "--test", test, "--C", 1000, "--calibrate", "temperature", "--json")
    code, text, _ = command(*options)
    assert code == 0
    told = json.loads(text)["calibration"]
    assert told["temperature"] > 1.2
    assert told["gap_nats"] < 1e-9
    for key in ("cross_entropy_nats", "expected_calibration_error"):
        assert told["after"][key] < 0.8 * told["before"][key]
    assert told["after"]["accuracy"] == told["before"]["accuracy"]


def test_the_folds_that_chose_the_strength_are_not_fitted_again(
    command: Command, files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    fits: list[int] = []
    real = SoftmaxRegressionCV.fit

    def counted(self: SoftmaxRegressionCV, *given: Any, **told: Any) -> SoftmaxRegressionCV:
        fits.append(self.cv.get_n_splits())
        return real(self, *given, **told)

    monkeypatch.setattr(SoftmaxRegressionCV, "fit", counted)
    both = ("--calibrate", "temperature", "--label-errors", "--cv", 3, "--json")
    code, text, _ = command("fit", files[0], "--Cs", "0.01,10", *both)
    assert code == 0
    found = json.loads(text)
    assert found["calibration"]["folds"] == found["label_errors"]["folds"] == 3
    assert fits == [3]
    # Nor are folds fitted twice for two who need them.
    fits.clear()
    assert command("fit", files[0], *both)[0] == 0
    assert fits == [3]


def test_where_no_temperature_helps_the_model_stays_as_it_is(
    command: Command, tmp_path: Path
) -> None:
    random = np.random.default_rng(0)
    X = np.concatenate([random.normal(-9, 1, (40, 2)), random.normal(9, 1, (40, 2))])
    table = pd.DataFrame(X, columns=["a", "b"])
    table["y"] = np.repeat(["no", "yes"], 40)
    path, out = tmp_path / "apart.csv", tmp_path / "model"
    table.to_csv(path, index=False)
    code, text, _ = command("fit", path, "--calibrate", "temperature", "--out", out)
    assert code == 0
    assert "not calibrated: every answer of the folds is right; no mistake tells" in text
    told = json.loads((out / "metrics.json").read_text())["calibration"]
    assert told["temperature"] == 0
    assert "before" not in told
    assert isinstance(bridle.load(out / "model.safetensors"), SoftmaxRegression)
    # Labels that have nothing to do with the features: nothing to be sure of.
    table["y"] = np.tile(["no", "yes"], 40)
    table.to_csv(path, index=False)
    code, text, _ = command("fit", path, "--calibrate", "temperature", "--C", 100, "--json")
    told = json.loads(text)["calibration"]
    assert told["temperature"] == "Infinity"
    assert told["why_not"].startswith("the answers of the folds tell nothing of the labels")


def test_what_cannot_be_calibrated_is_told_before_the_fit(command: Command, tmp_path: Path) -> None:
    table = pd.DataFrame({"a": range(9), "y": list("nnnnyyyyx")})
    path = tmp_path / "alone.csv"
    table.to_csv(path, index=False)
    for option in (("--calibrate", "vector"), ("--label-errors",)):
        code, out, error = command("fit", path, *option, "--holdout", 0)
        assert (code, out) == (2, "")
        assert f"{option[0]}: {path}: class 'x' has 1 sample to learn from" in error
        assert error.count("\n") == 1
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(30, 3)))
    np.save(tmp_path / "y.npy", np.random.default_rng(1).dirichlet(np.ones(3), size=30))
    code, out, error = command(
        "fit", tmp_path / "x.npy", "--labels", tmp_path / "y.npy", "--calibrate", "temperature"
    )
    assert (code, out) == (2, "")
    assert "--calibrate: expected one label a sample, found distributions" in error


def test_an_interruption_of_the_folds_costs_the_calibrator_not_the_model(
    command: Command, files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(folds, "held_out", interrupted)
    out = tmp_path / "model"
    code, text, error = command(
        "fit", files[0], "--calibrate", "temperature", "--label-errors", "--out", out
    )
    assert code == 130
    assert error.endswith("bridle: interrupted\n")
    assert "not calibrated: the command was interrupted" in text
    assert isinstance(bridle.load(out / "model.safetensors"), SoftmaxRegression)
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["calibration"]["why_not"] == "the command was interrupted"
    assert "label_errors" not in metrics


def test_a_calibrator_alone_is_no_model(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "calibrator.safetensors"
    METHODS["temperature"]().fit(np.log([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]]), [0, 1, 1]).save(path)
    code, out, error = command("predict", path, "iris")
    assert (code, out) == (2, "")
    assert "a calibrator, which knows no features" in error
