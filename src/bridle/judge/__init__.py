"""The judge: how good scores or probabilities are. It takes arrays, never estimators."""

from bridle.judge.calibration import (
    ReliabilityBin,
    expected_calibration_error,
    reliability_table,
)
from bridle.judge.evaluation import Evaluation, evaluate
from bridle.judge.kinds import AskedKind, InputKind
from bridle.judge.metrics import ClassFigures, brier_score, confusion_matrix
from bridle.judge.outcomes import Outcomes, row_outcomes
from bridle.judge.surprise import SurprisingSample, most_surprising

__all__ = [
    "AskedKind",
    "ClassFigures",
    "Evaluation",
    "InputKind",
    "Outcomes",
    "ReliabilityBin",
    "SurprisingSample",
    "brier_score",
    "confusion_matrix",
    "evaluate",
    "expected_calibration_error",
    "most_surprising",
    "reliability_table",
    "row_outcomes",
]
