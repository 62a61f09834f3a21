"""The main job on real images, from the command to the optimum that scikit-learn agrees on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

import bridle
from bridle import data
from bridle.cli import run
from bridle.cli.splitting import holdout_split

IMAGES = Path(__file__).parents[2] / "shared" / "data" / "mnist10k"


@pytest.mark.skipif(not IMAGES.is_dir(), reason="needs ../shared/data/mnist10k")
@pytest.mark.parametrize("standardize", [False, True], ids=["as pixels", "standardized"])
def test_the_command_reaches_the_optimum(tmp_path: Any, capsys: Any, standardize: Any) -> None:
    # Every image's probabilities are compared, to 1e-4: the default's gap speaks of their mean.
    # Pixels that are nearly always 0 lie far out when standardised: weights as close as a gap of
    # 1e-10 asks for may still move the probabilities of a few images by 1e-4.
    options = ["--standardize", "--tol", "1e-12"] if standardize else ["--tol", "1e-10"]
    assert run(["fit", str(IMAGES), "--out", str(tmp_path), *options]) == 0
    assert "optimum reached: proven gap" in capsys.readouterr().out
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["data"]["training_samples"] == 8000
    assert metrics["evaluation"]["samples"] == 2000
    # Standardised pixel by pixel, the optimum itself overfits 8,000 images: 0.899 here.
    assert metrics["evaluation"]["accuracy"] >= (0.89 if standardize else 0.91)
    assert metrics["fit"]["relative_gap"] <= 1e-6

    everything = data.load(str(IMAGES))
    X, y = everything.features.to_array().astype(np.float64), np.asarray(everything.target)
    train, _ = holdout_split(y, 0.2)
    scaled = StandardScaler().fit(X[train]).transform(X) if standardize else X / 255
    theirs = LogisticRegression(C=1.0, solver="lbfgs", tol=1e-12, max_iter=20000)
    theirs.fit(scaled[train], y[train])
    scores = scaled @ theirs.coef_.T + theirs.intercept_
    penalty = (theirs.coef_**2).sum() / (2 * len(train))
    best = float(bridle.cross_entropy(scores[train], y[train])) + penalty

    assert metrics["fit"]["objective"] <= best * (1 + 1e-6)
    model = bridle.SoftmaxRegression.load(tmp_path / "model.safetensors")
    np.testing.assert_allclose(model.predict_proba(X), bridle.softmax(scores), atol=1e-4)
