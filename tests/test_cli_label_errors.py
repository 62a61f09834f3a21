"""``bridle fit --label-errors``, as a user types it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_digits

from commands import Command

pytest.importorskip("typer")


def test_planted_errors_are_found_by_name(command: Command, tmp_path: Path) -> None:
    X, y = load_digits(return_X_y=True)
    random = np.random.default_rng(0)
    wrong = random.random(len(y)) < 0.03
    given = np.where(wrong, (y + random.integers(1, 10, len(y))) % 10, y)
    frame = pd.DataFrame(X, columns=[f"x{place}" for place in range(64)])
    frame.insert(0, "id", [f"s{row}" for row in range(len(y))])
    frame["label"] = [f"digit {each}" for each in given]
    path = tmp_path / "digits.csv"
    frame.to_csv(path, index=False)
    options = ("fit", path, "--label-errors", "--holdout", "0", "--C", "0.01")
    code, text, _ = command(*options)
    assert code == 0
    assert "are likely wrong, by folds that have not learnt them" in text
    assert " times as probable" in text
    shown = text[text.index("labels: about") :].splitlines()[:6]
    assert max(map(len, shown)) <= 80
    code, text, _ = command(*options, "--json")
    found = json.loads(text)["label_errors"]
    rows = [int(str(each["id"])[1:]) for each in found["samples"][: wrong.sum()]]
    assert wrong[rows].mean() > 0.8
    best = found["samples"][0]
    assert best["label"] == f"digit {given[rows[0]]}"
    assert best["suggested"] == f"digit {y[rows[0]]}"
    doubts = [each["doubt"] for each in found["samples"]]
    assert doubts == sorted(doubts, reverse=True)
    assert wrong.sum() / 2 < found["expected_errors"] < 2 * wrong.sum()
    assert found["pairs"][0]["expected"] >= found["pairs"][-1]["expected"]


def test_it_needs_labels(command: Command, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(30, 3)))
    shares = np.random.default_rng(1).dirichlet(np.ones(3), size=30)
    np.save(tmp_path / "y.npy", shares)
    code, out, error = command(
        "fit", tmp_path / "x.npy", "--labels", tmp_path / "y.npy", "--label-errors"
    )
    assert (code, out) == (2, "")
    assert "--label-errors: expected one label a sample, found distributions" in error
