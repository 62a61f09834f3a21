"""Which classes get more, or less, than they are worth: the calibration of each."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from bridle.judge import ClassCalibration, Outcomes, class_calibration
from bridle.report.rankings import name

Array = npt.NDArray[Any]

MOST_SHOWN = 12
_MOST_NUMBERS = 100_000_000  # every column is sorted


def by_class(outcomes: Outcomes, answers: Array | None) -> dict[str, Any]:
    """Return the mean error over the classes, and those furthest beyond what chance explains."""
    why_not = None
    if answers is None:
        why_not = "the answers themselves were not at hand"
    elif len(outcomes.classes) < 2:
        why_not = "there is a single class"
    elif answers.size > _MOST_NUMBERS:
        why_not = "there are more than 100 million answers"
    if why_not is not None or answers is None:
        return {"why_not": why_not}
    found = class_calibration(
        answers,
        outcomes.target,
        kind=outcomes.input_kind,
        sample_weight=outcomes.sample_weight,
    )
    ranked = sorted(range(len(found)), key=lambda place: -_excess(found[place]))
    return {
        "why_not": None,
        "mean_error": float(np.mean([each.error for each in found])),
        "beyond_chance": sum(_excess(each) > 0 for each in found),
        "expected_beyond_chance": 0.025 * len(found),
        "shown": [
            {
                "label": name(outcomes.classes[place]),
                "mean_probability": found[place].mean_probability,
                "frequency": found[place].frequency,
                "error": found[place].error,
                "by_chance_low": found[place].error_by_chance.low,
                "by_chance_high": found[place].error_by_chance.high,
                "outside": "beyond chance" if _excess(found[place]) > 0 else "",
            }
            for place in ranked[:MOST_SHOWN]
        ],
    }


def _excess(found: ClassCalibration) -> float:
    slack = 1e-9  # of rounded means
    return found.error - found.error_by_chance.high - slack
