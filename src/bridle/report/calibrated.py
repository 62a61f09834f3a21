"""How sure the answers are, how often that comes true, and what one temperature makes of them."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

from bridle import mapped
from bridle.calibrate import TemperatureScaling
from bridle.judge import (
    InputKind,
    Outcomes,
    ReliabilityBin,
    consistency_band,
    reliability_table,
)
from bridle.judge.calibration import table_error
from bridle.probabilities import both_columns

Array = npt.NDArray[Any]

BARS = 20  # of the histogram
_BLOCK_NUMBERS = 2**20
_NATS_PER_BIT = math.log(2)
# Where the axes begin at the latest: a shorter stretch would make a mountain of rounding.
_LATEST_START = 0.8


def calibration(outcomes: Outcomes, answers: Array | None) -> dict[str, Any]:
    """Return reliability and confidence, before one temperature and after it.

    The latter is None where there are no answers, and where no temperature helps: ``why_not`` says
    so.
    """
    counted = outcomes.counted()
    before = _Confidence(counted.confidence, counted)
    after, scaling = None, None
    why_not = why_no_temperature(outcomes, answers)
    if answers is not None and why_not is None:
        columns = _columns(answers, outcomes.input_kind)
        scaling = _fitted(columns, outcomes)
        sure = _confidence(scaling, columns, outcomes.input_kind)
        if outcomes.sample_weight is not None:
            sure = sure[outcomes.sample_weight > 0]
        after = _Confidence(sure, counted)
    start = min(each.start for each in (before, after) if each is not None)
    return {
        "axis_start": start,
        "before": before.to_dict(start),
        "after": None if after is None else after.to_dict(start),
        "why_not": why_not,
        "temperature": None if scaling is None else scaling.temperature_,
        "cross_entropy_bits": None if scaling is None else scaling.loss_ / _NATS_PER_BIT,
    }


def why_no_temperature(outcomes: Outcomes, answers: Array | None) -> str | None:
    """Return why no temperature helps, or why it can't be told; None where it can."""
    if answers is None:
        return "the answers themselves were not at hand"
    if len(outcomes.classes) < 2:
        return "a single class is certain at any temperature"
    if np.isinf(outcomes.counted().surprisal).any():
        return "a label of probability 0 keeps it at any temperature"
    return None


class _Confidence:
    """The confidences of samples, and which of them came true."""

    def __init__(self, sure: Array, counted: Outcomes) -> None:
        self._sure, self._weight = sure, counted.sample_weight
        self._table = reliability_table(sure, counted.correct, sample_weight=counted.sample_weight)
        self._band = consistency_band(self._table)
        self._mean = counted.mean(sure)

    @property
    def start(self) -> float:
        """Where the axes of a diagram have to begin."""
        ends = [(row.lowest, row.accuracy, low) for row, (low, _) in self._rows()]
        return min(_LATEST_START, math.floor(10 * min(min(each) for each in ends)) / 10)

    def to_dict(self, start: float) -> dict[str, Any]:
        """Return what is shown of it."""
        sides = [_side(row, low, high) for row, (low, high) in self._rows()]
        bars, _ = np.histogram(self._sure, BARS, (start, 1), weights=self._weight)
        return {
            "mean_confidence": self._mean,
            "expected_calibration_error": table_error(self._table),
            "too_sure": sides.count("too sure"),
            "not_sure_enough": sides.count("not sure enough"),
            "outside": len(sides) - sides.count(""),
            "bins": [
                {
                    "count": row.count,
                    "confidence": row.confidence,
                    "accuracy": row.accuracy,
                    "band_low": low,
                    "band_high": high,
                    "outside": side,
                }
                for (row, (low, high)), side in zip(self._rows(), sides, strict=True)
            ],
            "histogram": bars.tolist(),
        }

    def _rows(self) -> list[tuple[ReliabilityBin, tuple[float, float]]]:
        return list(zip(self._table, self._band, strict=True))


def _side(row: ReliabilityBin, low: float, high: float) -> str:
    slack = 1e-9  # a mean of ones may be rounded
    if row.accuracy < low - slack:
        return "too sure"
    return "not sure enough" if row.accuracy > high + slack else ""


def _columns(answers: Array, input_kind: InputKind) -> Array:
    """Return a column for each class, where there is one for the second of two."""
    if answers.ndim == 2:
        return answers
    are_scores = input_kind == "scores"
    second = answers if are_scores else np.clip(answers.astype(np.float64), 0, 1)
    return both_columns(second, are_scores=are_scores)


def _fitted(columns: Array, outcomes: Outcomes) -> TemperatureScaling:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scores that look like probabilities: the judge has told
        return TemperatureScaling().fit(
            columns, outcomes.target, outcomes.sample_weight, kind=outcomes.input_kind
        )


def _confidence(scaling: TemperatureScaling, columns: Array, input_kind: InputKind) -> Array:
    """Return the largest probability of each row, without a second copy of all rows."""
    sure = np.empty(len(columns))
    step = max(1, _BLOCK_NUMBERS // columns.shape[1])
    for rows, block in mapped.blocks(columns, step):
        sure[rows] = np.minimum(scaling.predict_proba(block, kind=input_kind).max(axis=1), 1)
    return sure
