"""What the loss is made of: what recalibrating would take away, and what it would leave."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from bridle.calibrate.decomposition import Parts, decompose
from bridle.judge import Outcomes
from bridle.probabilities import score_columns
from bridle.report.calibrated import why_no_temperature

Array = npt.NDArray[Any]

# Of more samples, and answers, some are taken, spread evenly: five calibrators are fitted, and each
# row's answers are kept.
_MOST_ROWS, _MOST_NUMBERS = 5000, 1_000_000
_FEWEST_ROWS = 20
_NATS_PER_BIT = math.log(2)


def composition(outcomes: Outcomes, answers: Array | None) -> dict[str, Any]:
    """Return refinement and calibration of cross-entropy and Brier score, by one temperature.

    Each row is recalibrated by a temperature that has not seen it. Both scores are also told as
    shares of what guessing by class frequencies scores.
    """
    why_not = why_no_temperature(outcomes, answers)
    if why_not is None and len(outcomes.target) < _FEWEST_ROWS:
        why_not = "the samples are too few to recalibrate some by the others"
    if why_not is not None or answers is None:
        return {"why_not": why_not}
    counted = np.arange(len(outcomes.target))
    if outcomes.sample_weight is not None:
        counted = np.flatnonzero(outcomes.sample_weight > 0)
    most = max(_MOST_ROWS, _MOST_NUMBERS // len(outcomes.classes))
    rows = counted[np.linspace(0, len(counted) - 1, min(most, len(counted))).astype(np.intp)]
    weight = None if outcomes.sample_weight is None else outcomes.sample_weight[rows]
    found = decompose(
        score_columns(answers[rows], are_scores=outcomes.input_kind == "scores"),
        outcomes.target[rows],
        sample_weight=weight,
    )
    frequency, frequency_brier = found.class_frequencies
    return {
        "why_not": None,
        "samples": len(rows),
        "cross_entropy_bits": _parts(found.cross_entropy, frequency, _NATS_PER_BIT),
        "brier_score": _parts(found.brier_score, frequency_brier, 1.0),
    }


def _parts(found: Parts, frequency: float, unit: float) -> dict[str, Any]:
    return {
        "total": found.total / unit,
        "refinement": found.refinement / unit,
        "calibration": found.calibration / unit,
        "class_frequencies": frequency / unit,
        "share": found.total / frequency if frequency > 0 else None,
    }
