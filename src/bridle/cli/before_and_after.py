"""What a calibrator gains, in words and figures, for whoever has fitted one."""

from __future__ import annotations

from bridle.calibrate import AffineScaling, Calibrator, TemperatureScaling
from bridle.judge import Evaluation

_FIGURES = (
    ("cross-entropy, nats", "cross_entropy_nats"),
    ("Brier score", "brier_score"),
    ("calibration error", "expected_calibration_error"),
    ("accuracy", "accuracy"),
)


def figures(evaluation: Evaluation) -> dict[str, float]:
    """Return the figures that are compared, as JSON tells them."""
    return {name: getattr(evaluation, name) for _, name in _FIGURES}


def table(before: Evaluation, after: Evaluation, title: str = "") -> list[str]:
    """Return the same as lines of text."""
    lines = [f"{title:24}{'before':>10}{'after':>10}"]
    for name, key in _FIGURES:
        pair = (getattr(before, key), getattr(after, key))
        lines.append(f"{name:24}" + "".join(f"{value:10.4f}" for value in pair))
    return lines


def proof(model: Calibrator) -> dict[str, float]:
    """Return the temperature and how far from its optimum a calibrator can be, if it has one."""
    if isinstance(model, TemperatureScaling | AffineScaling):
        return {"temperature": model.temperature_, "gap_nats": model.gap_}
    return {}


def temperature(model: Calibrator) -> str | None:
    """Return a calibrator's temperature and what it says of the answers, if it has one."""
    if not isinstance(model, TemperatureScaling | AffineScaling):
        return None
    return f"temperature {model.temperature_:.4g}: {_meaning(model.temperature_)}"


def _meaning(found: float) -> str:
    if found == 0:
        return "every answer is right, and could be certain"
    if found == float("inf"):
        return "the answers tell nothing of the labels, or the opposite"
    if 0.97 <= found <= 1.03:
        return "the answers were about as sure as they should be"
    return f"the answers were too {'sure' if found > 1 else 'unsure'}"
