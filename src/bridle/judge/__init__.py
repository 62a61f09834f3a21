"""The judge: how good scores or probabilities are. It takes arrays, never estimators."""

from bridle.judge.calibration import (
    ReliabilityBin,
    consistency_band,
    expected_calibration_error,
    reliability_table,
)
from bridle.judge.calibration_bounds import CalibrationBounds, calibration_error_bounds
from bridle.judge.classwise import ClassCalibration, class_calibration
from bridle.judge.comparison import Comparison, Difference, compare_models
from bridle.judge.conformal import ConformalSets, conformal_sets
from bridle.judge.costs import ActionFigures, DecisionFigures, decision_figures
from bridle.judge.decisions import Decisions, Threshold, best_decisions, threshold_table
from bridle.judge.evaluation import Evaluation, evaluate
from bridle.judge.evaluator import Evaluator
from bridle.judge.intervals import Interval, mean_interval, share_interval
from bridle.judge.kinds import AskedKind, InputKind
from bridle.judge.label_errors import LabelErrors, label_errors
from bridle.judge.metrics import ClassFigures, brier_score, confusion_matrix
from bridle.judge.outcomes import Outcomes, row_outcomes
from bridle.judge.slices import SliceFigures, slice_figures
from bridle.judge.smooth_calibration import SmoothCalibrationError, smooth_calibration_error
from bridle.judge.surprise import SurprisingSample, most_surprising

__all__ = [
    "ActionFigures",
    "AskedKind",
    "CalibrationBounds",
    "ClassCalibration",
    "ClassFigures",
    "Comparison",
    "ConformalSets",
    "DecisionFigures",
    "Decisions",
    "Difference",
    "Evaluation",
    "Evaluator",
    "InputKind",
    "Interval",
    "LabelErrors",
    "Outcomes",
    "ReliabilityBin",
    "SliceFigures",
    "SmoothCalibrationError",
    "SurprisingSample",
    "Threshold",
    "best_decisions",
    "brier_score",
    "calibration_error_bounds",
    "class_calibration",
    "compare_models",
    "conformal_sets",
    "confusion_matrix",
    "consistency_band",
    "decision_figures",
    "evaluate",
    "expected_calibration_error",
    "label_errors",
    "mean_interval",
    "most_surprising",
    "reliability_table",
    "row_outcomes",
    "share_interval",
    "slice_figures",
    "smooth_calibration_error",
    "threshold_table",
]
