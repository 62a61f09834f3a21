"""The classifier that the page's training falls towards, and what other penalties make of it."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import numpy.typing as npt

from bridle.estimators import SoftmaxRegression, softmax_regression_path
from bridle.explain.material import Kept, packed
from bridle.losses import cross_entropy

Array = npt.NDArray[Any]

C = 1.0
_CS = np.logspace(-4, 4, 9)
_TOL = 1e-9


def optimum(kept: Kept) -> dict[str, Any]:
    """Return the proven optimum on the page's own samples, with its losses in nats.

    The objective is the mean cross-entropy of the samples plus ``Σ w² / (2 C n)``.
    """
    X, y = kept.train
    model = SoftmaxRegression(C, symmetric=True, tol=_TOL).fit(X, y)
    report = model.fit_report_
    return {
        "C": C,
        "weight": _floats(model.coef_),
        "bias": model.intercept_,
        "objective": report.objective,
        "loss": report.loss,
        "gap": report.relative_gap,
        "heldOutLoss": _loss(model.coef_, model.intercept_, *kept.judged),
        "accuracy": float(np.mean(model.predict(kept.judged[0]) == kept.judged[1])),
    }


def path(kept: Kept) -> list[dict[str, Any]]:
    """Return what the penalty does: losses, and weights to be looked at in zipped bytes, by C."""
    X, y = kept.train
    found = softmax_regression_path(X, y, _CS, symmetric=True)
    steps = []
    for C_, coef, intercept in zip(found.Cs, found.coefs, found.intercepts, strict=True):
        largest = float(np.abs(coef).max()) or 1.0
        steps.append(
            {
                "C": C_,
                "loss": _loss(coef, intercept, X, y),
                "heldOutLoss": _loss(coef, intercept, *kept.judged),
                "largest": largest,
                "weight": packed(np.rint(coef / largest * 127).astype(np.int8)),
            }
        )
    return steps


def _loss(coef: Array, intercept: Array, X: Array, y: Array) -> float:
    return float(cross_entropy(X @ coef.T + intercept, y)) if len(y) else float("nan")


def _floats(values: Array) -> str:
    return base64.b64encode(values.astype("<f4").tobytes()).decode()
