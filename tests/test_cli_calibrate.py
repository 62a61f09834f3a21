"""``bridle calibrate``, as a user types it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bridle.calibrate import TemperatureScaling, load_calibrator
from commands import Command

pytest.importorskip("typer")


@pytest.fixture
def answers(tmp_path: Path) -> Path:
    """Return answers that are three times as sure as they should be."""
    random = np.random.default_rng(0)
    scores = random.normal(size=(400, 3)) * 1.5
    powers = np.exp(scores)
    fair = powers / powers.sum(axis=1, keepdims=True)
    truth = [random.choice(["ant", "bee", "fly"], p=row) for row in fair]
    sure = np.exp(3 * scores)
    sure /= sure.sum(axis=1, keepdims=True)
    table = pd.DataFrame(sure, columns=["ant", "bee", "fly"])
    table.insert(0, "id", [f"s{row}" for row in range(400)])
    table["truth"] = truth
    table.to_csv(tmp_path / "answers.csv", index=False)
    return tmp_path / "answers.csv"


def test_answers_that_are_too_sure_come_true(
    command: Command, answers: Path, tmp_path: Path
) -> None:
    out, saved = tmp_path / "calibrated.csv", tmp_path / "calibrator.safetensors"
    code, text, error = command("calibrate", answers, "--out", out, "--save", saved)
    assert (code, error) == (0, "")
    assert "the answers were too sure" in text
    assert max(map(len, text.splitlines()[:9])) <= 80
    frame, calibrated = pd.read_csv(answers), pd.read_csv(out)
    scores = np.log(frame[["ant", "bee", "fly"]].to_numpy())
    model = TemperatureScaling().fit(scores, np.searchsorted(["ant", "bee", "fly"], frame["truth"]))
    assert model.temperature_ == pytest.approx(3, rel=0.15)
    expected = model.predict_proba(scores)
    assert np.allclose(calibrated[["ant", "bee", "fly"]], expected, atol=1e-8)
    assert calibrated["id"].tolist() == frame["id"].tolist()
    assert calibrated["target"].tolist() == frame["truth"].tolist()
    assert np.allclose(load_calibrator(saved).predict_proba(scores), expected, atol=1e-12)
    # The chain: what was written is judged as it is.
    code, judged, _ = command("evaluate", out, "--json")
    assert code == 0
    assert json.loads(judged)["cross_entropy_nats"] == pytest.approx(model.loss_, abs=1e-6)


@pytest.mark.parametrize("method", ["temperature", "vector", "matrix", "dirichlet", "isotonic"])
def test_every_method_gains_on_rows_it_has_not_seen(
    command: Command, answers: Path, method: str
) -> None:
    code, text, _ = command("calibrate", answers, "--method", method, "--json")
    assert code == 0
    found = json.loads(text)
    before, after = found["before"], found["after_out_of_fold"]
    assert after["expected_calibration_error"] < before["expected_calibration_error"] / 2
    assert after["brier_score"] < before["brier_score"]
    assert found["method"] == method


def test_one_column_for_two_classes(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "answers.csv"
    pd.DataFrame({"p_yes": [0.99, 0.99, 0.01, 0.99], "truth": ["yes", "yes", "no", "no"]}).to_csv(
        path, index=False
    )
    code, text, _ = command("calibrate", path, "--json")
    assert code == 0
    # Three of four: the odds of 99 to 1 should be 3 to 1.
    assert json.loads(text)["temperature"] == pytest.approx(np.log(99) / np.log(3), rel=1e-6)


def test_what_cannot_be_calibrated_is_one_line(
    command: Command, answers: Path, tmp_path: Path
) -> None:
    for arguments, message in (
        ((answers, "--method", "platt"), "--method: expected one of temperature, vector"),
        ((answers, "--out", tmp_path / "no" / "x.csv"), "--out"),
        ((answers, "--scores", "--percent"), "--percent: expected without --scores, found both"),
        (
            (answers, "--labels", answers, "--target", "truth"),
            "--target: expected without --labels",
        ),
        ((tmp_path / "nothing.csv",), "nothing.csv"),
    ):
        code, out, error = command("calibrate", *arguments)
        assert (code, out) == (2, "")
        assert error.count("\n") == 1
        assert message in error
    zero = tmp_path / "zero.csv"
    zero.write_text("a,b,truth\n0.0,1.0,a\n0.5,0.5,b\n")
    code, out, error = command("calibrate", zero)
    assert (code, out) == (2, "")
    assert (
        "expected the target's score to be finite, its probability above 0, found -inf at row 0"
        in error
    )
