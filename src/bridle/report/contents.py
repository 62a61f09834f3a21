"""All that a page shows, as a plain dictionary: the templates only print it.

Its keys are stable. Those under ``evaluation`` and ``fit`` are the ones of ``metrics.json``; the
others are made from the same figures. Losses are in bits where a key says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from bridle import checks, strict_json
from bridle.fit import FitReport
from bridle.judge import (
    Comparison,
    DecisionFigures,
    Evaluation,
    LabelErrors,
    Outcomes,
    SliceFigures,
)
from bridle.progress import Epoch
from bridle.report import rankings
from bridle.report.by_class import by_class
from bridle.report.calibrated import calibration
from bridle.report.composition import composition
from bridle.report.origin import address, origin
from bridle.report.parted import shown_decisions, shown_slices
from bridle.report.sources import Pictures, with_sources
from bridle.report.training import epochs
from bridle.report.verdict import verdict
from bridle.report.versus import versus
from bridle.tensors import on_host

Array = npt.NDArray[Any]

# Of more classes, who is taken for whom among all pairs is not counted for label errors.
MOST_CLASSES_JOINED = 1000
_JUDGED_ON = ("held-out", "test", "training")
_FIGURES = (
    "input_kind",
    "samples",
    "total_weight",
    "cross_entropy_nats",
    "cross_entropy_bits",
    "infinite_losses",
    "perplexity",
    "uniform_nats",
    "uniform_bits",
    "class_frequency_nats",
    "class_frequency_bits",
    "accuracy",
    "top_5_accuracy",
    "brier_score",
    "expected_calibration_error",
    "expected_calibration_error_by_chance",
    "reliability",
)


def contents(
    evaluation: Evaluation,
    *,
    answers: npt.ArrayLike | None = None,
    ids: Sequence[object] | None = None,
    texts: Sequence[object] | None = None,
    pictures: Pictures | None = None,
    judged_on: str | None = None,
    fit: FitReport | None = None,
    kept_features: Sequence[str] | None = None,
    training: Sequence[Epoch] | None = None,
    label_errors: LabelErrors | None = None,
    comparison: Comparison | None = None,
    calibrator: Mapping[str, Any] | None = None,
    slices: Sequence[SliceFigures] | None = None,
    decisions: DecisionFigures | None = None,
    explain_page: str | None = None,
    title: str | None = None,
    command: str | None = None,
    made: str | None = None,
) -> dict[str, Any]:
    """Return what `bridle.report.page` shows, in JSON's own types; parameters are as there."""
    outcomes = evaluation.outcomes
    if judged_on is not None:
        checks.one_of(judged_on, "judged_on", _JUDGED_ON)
    values = None if answers is None else _checked(answers, evaluation)
    for name, given in (
        ("ids", ids),
        ("texts", texts),
        ("pictures", pictures),
        ("label_errors", None if label_errors is None else label_errors.doubt),
    ):
        _check_length(given, name, len(outcomes.target))
    found: dict[str, Any] = {
        "title": rankings.name(title or "answers", 80),
        "judged_on": judged_on,
        "evaluation": {
            **{each: getattr(evaluation, each) for each in _FIGURES},
            "intervals": evaluation.intervals,
        },
        "share_of_uncertainty_removed": _share_removed(evaluation),
        "composition": composition(outcomes, values),
        "calibration": calibration(outcomes, values),
        "class_calibration": by_class(outcomes, values),
        "calibrator": None if calibrator is None else dict(calibrator),
        "fit": None if fit is None else _fit(fit),
        "kept_features": None if kept_features is None else rankings.features(kept_features),
        "training": epochs(training),
        "classes": rankings.classes(evaluation),
        "confusions": rankings.confusions(outcomes.counted()),
        "samples": _samples(outcomes, ids, pictures, texts),
        "label_errors": _label_errors(label_errors, outcomes, ids, pictures, texts),
        "slices": shown_slices(slices),
        "decisions": shown_decisions(decisions),
        "comparison": None if comparison is None else versus(comparison),
        "limits": {
            "worst_classes": rankings.WORST_CLASSES,
            "classes": rankings.MOST_CLASSES,
            "confusions": rankings.MOST_CONFUSIONS,
            "samples": rankings.MOST_SAMPLES,
            "label_errors": rankings.MOST_LABEL_ERRORS,
            "features": rankings.MOST_FEATURES,
        },
        "explain_page": None if explain_page is None else address(explain_page),
        "origin": origin(outcomes, values, command, made),
    }
    sentences = verdict(found)
    return dict(strict_json.plain({"title": found.pop("title"), "verdict": sentences, **found}))


def _samples(
    outcomes: Outcomes,
    ids: Sequence[object] | None,
    pictures: Pictures | None,
    texts: Sequence[object] | None,
) -> dict[str, Any]:
    rows = rankings.surprising_rows(outcomes)
    found = rankings.samples(outcomes, rows, ids)
    with_sources(found["shown"], rows, pictures, texts)
    return found


def _label_errors(
    doubted: LabelErrors | None,
    outcomes: Outcomes,
    ids: Sequence[object] | None,
    pictures: Pictures | None,
    texts: Sequence[object] | None,
) -> dict[str, Any] | None:
    if doubted is None:
        return None
    found = rankings.label_errors(doubted, outcomes, ids)
    with_sources(found["shown"], doubted.order[: len(found["shown"])].tolist(), pictures, texts)
    return found


def _share_removed(evaluation: Evaluation) -> float | None:
    """Return how much of the class frequencies' entropy the model takes away."""
    if not evaluation.class_frequency_nats > 0:
        return None
    return 1 - evaluation.cross_entropy_nats / evaluation.class_frequency_nats


def _fit(report: FitReport) -> dict[str, Any]:
    found = report.to_dict()
    if found["separation"] is not None:
        found["separation"] = rankings.name(found["separation"], 300)
    return found


def _checked(answers: npt.ArrayLike, evaluation: Evaluation) -> Array:
    values = checks.real_numbers(on_host(answers), "answers")
    rows, columns = len(evaluation.outcomes.target), len(evaluation.classes)
    shapes = [(rows, columns), *([(rows,)] if columns == 2 else [])]
    if values.shape not in shapes:
        raise checks.InputError.of(
            "answers", expected=f"those that were evaluated, {shapes[0]}", found=values.shape
        )
    return values if values.dtype.kind == "f" else values.astype(np.float64)


def _check_length(values: Any, argument: str, rows: int) -> None:
    if values is not None and len(values) != rows:
        expected = f"one for each of the {rows} rows evaluated"
        raise checks.InputError.of(argument, expected=expected, found=len(values))
