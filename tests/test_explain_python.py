"""The lines of Python under a figure run as they stand and give the numbers that it starts with."""

from __future__ import annotations

import ast
import re
from importlib import resources
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

PYTHON = re.compile(r"{% block python %}\n(.*?)\n?{% endblock %}", re.DOTALL)


def run_lines(station: str) -> tuple[Any, dict[str, Any]]:
    """Return what the last of a station's two lines gives, and the names they made."""
    folder = resources.files("bridle.explain") / "page" / "stations"
    found = PYTHON.search((folder / f"{station}.html.j2").read_text(encoding="utf-8"))
    assert found is not None
    first, last = found[1].splitlines()
    names: dict[str, Any] = {}
    exec(first, names)
    if isinstance(ast.parse(last).body[0], ast.Expr):
        return eval(last, names), names
    exec(last, names)
    return None, names


def test_scores() -> None:
    powers = np.exp([2.0, 1.0, 0.2, -1.0])
    np.testing.assert_allclose(run_lines("scores")[0], powers / powers.sum(), rtol=1e-12)


def test_likelihood() -> None:
    classes = np.arange(10)
    product = 1.0
    for feature, label in ((1.3, 1), (2.6, 3), (5.7, 5)):
        powers = np.exp(-((feature - classes) ** 2))
        product *= powers[label] / powers.sum()
    assert run_lines("likelihood")[0] == pytest.approx(product, rel=1e-12)


def test_loss() -> None:
    np.testing.assert_allclose(run_lines("loss")[0], [2.3026, 0.6931], atol=5e-5)


def test_gradient() -> None:
    names = run_lines("gradient")[1]
    powers = np.exp([0.5, 2.0, 0.2, -1.0])
    p = powers / powers.sum()
    np.testing.assert_allclose(names["gradient"], p - [1, 0, 0, 0], rtol=1e-12)
    assert names["loss"] == pytest.approx(-np.log(p[0]), rel=1e-12)


def test_race() -> None:
    output = run_lines("race")[0]
    assert len(output) == 301
    assert output[0] == pytest.approx(1 / (1 + np.exp(-4)), rel=1e-12)


def test_classifier() -> None:
    report, names = run_lines("classifier")
    digits = names["digits"]
    X, y = digits.features.to_array() / 16, digits.target
    model = LogisticRegression(tol=1e-10, max_iter=1000, solver="newton-cg").fit(X, y)
    loss = -np.log(model.predict_proba(X)[np.arange(len(y)), y]).mean()
    objective = loss + (model.coef_**2).sum() / (2 * len(y))
    assert report.proven
    assert report.objective == pytest.approx(objective, rel=1e-6)


def test_surprise() -> None:
    assert run_lines("surprise")[0] == pytest.approx(2.625, rel=1e-12)


def test_calibration() -> None:
    first, second = run_lines("calibration")[0]
    assert (first.confidence, first.accuracy) == pytest.approx((0.65, 0.5))
    assert (second.confidence, second.accuracy) == pytest.approx((0.925, 1.0))
