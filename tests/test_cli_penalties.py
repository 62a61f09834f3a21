"""``bridle fit --l1-ratio`` and ``--group``: what is kept is told, by name, and chosen by folds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_wine

from bridle import SoftmaxRegression
from commands import Command

pytest.importorskip("typer")


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write a table of which some columns are noise, and some have blanks in their names."""
    monkeypatch.chdir(tmp_path)
    X, y = load_wine(return_X_y=True)
    noise = np.random.default_rng(0).normal(size=(len(y), 30))
    names = [f"of use {place}" for place in range(13)] + [f"noise-{place}" for place in range(30)]
    frame = pd.DataFrame(np.hstack([X, noise]), columns=names)
    frame["kind"] = np.array(["red", "white", "rosé"])[y]
    frame.to_csv("wine.csv", index=False)
    return tmp_path


@pytest.mark.parametrize("group", [False, True])
def test_features_that_stayed_are_told_by_name(command: Command, table: Path, group: bool) -> None:
    told = ["--group", "features"] if group else []
    arguments = ["fit", "wine.csv", "--l1-ratio", "1", "--C", "0.05", *told, "--out", "model"]
    code, printed, _ = command(*arguments, "--report", "page.html")
    assert code == 0
    model = SoftmaxRegression.load(table / "model" / "model.safetensors")
    assert model.group == ("features" if group else None)
    kept = model.feature_names_in_[model.coef_.any(axis=0)].tolist()
    assert 0 < len(kept) < 20
    assert f"features with weights: {len(kept)} of 43; proven to have none: {43 - len(kept)}" in (
        printed
    )
    assert all(len(line) <= 80 for line in printed.splitlines())
    joined = " ".join(printed.split())
    assert ", ".join(kept) in joined
    # A name with blanks in it is on one line.
    assert all(any(name in line for line in printed.splitlines()) for name in kept)
    metrics = json.loads((table / "model" / "metrics.json").read_text())
    assert metrics["kept_features"] == kept
    assert metrics["fit"]["kept_features"] == len(kept)
    assert metrics["fit"]["zero_features"] == 43 - len(kept)
    assert metrics["model"]["l1_ratio"] == 1
    assert metrics["model"]["group"] == ("features" if group else None)
    page = (table / "page.html").read_text()
    assert "Which features the penalty kept" in page
    assert all(name in page for name in kept)


def test_without_l1_nothing_is_said_of_features_that_stayed(command: Command, table: Path) -> None:
    printed = command("fit", "wine.csv", "--out", "model", "--report", "page.html").out
    assert "features with weights" not in printed
    metrics = json.loads((table / "model" / "metrics.json").read_text())
    assert "kept_features" not in metrics
    assert "Which features the penalty kept" not in (table / "page.html").read_text()


def test_folds_choose_the_share_of_l1(command: Command, table: Path) -> None:
    arguments = ["fit", "wine.csv", "--l1-ratio", "1,0,0.5", "--Cs", "0.01,0.1,1", "--cv", "3"]
    code, printed, _ = command(*arguments, "--out", "model")
    assert code == 0
    assert all(len(line) <= 80 for line in printed.splitlines())
    metrics = json.loads((table / "model" / "metrics.json").read_text())
    scores = metrics["cross_validation"]["scores"]
    assert [(row["l1_ratio"], row["C"]) for row in scores] == [
        (ratio, C) for ratio in (0, 0.5, 1) for C in (0.01, 0.1, 1)
    ]
    best = max(scores, key=lambda row: row["mean"])
    assert (metrics["model"]["l1_ratio"], metrics["model"]["C"]) == (best["l1_ratio"], best["C"])
    (line,) = (line for line in printed.splitlines() if line.endswith("chosen"))
    assert line.split()[:2] == [f"{best['l1_ratio']:g}", f"{best['C']:g}"]


def test_features_without_names_are_told_by_number(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    X, y = load_wine(return_X_y=True)
    np.savez("wine.npz", X=X, y=y)
    metrics = json.loads(command("fit", "wine.npz", "--l1-ratio", 1, "--C", 0.02, "--json").out)
    assert set(metrics["kept_features"]) < {f"x[{place}]" for place in range(13)}
