"""What `bridle fit` and `bridle train` do with a model: judge it, write it, print its figures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

import bridle
from bridle import strict_json
from bridle.calibrate import CalibratedClassifier
from bridle.cli import before_and_after, outputs, report_page
from bridle.cli.calibrated_fit import Calibration
from bridle.cli.messages import about, one_line
from bridle.cli.options.output import Folder, Page, Printing
from bridle.cli.outputs import Classifier, Model
from bridle.cli.sampling import Samples
from bridle.data import Dataset
from bridle.judge import Evaluation
from bridle.judge import evaluate as judge
from bridle.report import without_sources

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Fitted:
    """A model, the data it was fitted to, what it is judged on, and what is told of it.

    `figures` join those of ``metrics.json``, `lines` are printed between the counts and the
    accuracy.
    """

    model: Model
    dataset: Dataset
    train: Samples
    judged: Samples
    test_source: str | None
    figures: Mapping[str, Any]
    lines: Iterable[str]
    calibration: Calibration | None = None


@dataclass(frozen=True)
class Judgement:
    """The figures of a model, the log-probabilities they are of, and those before calibration."""

    evaluation: Evaluation
    log_probabilities: Array
    uncalibrated: Evaluation | None


def check_folder(folder: Folder) -> None:
    """Refuse a folder that could not be written to, before the work rather than after it."""
    if folder.path is not None:
        outputs.check_folder(folder.path, force=folder.replace)


def remember_data(model: Classifier, dataset: Dataset) -> None:
    """Keep with a classifier the names of its features and how their files were read."""
    if dataset.feature_names is not None:
        model.feature_names_in_ = np.array(dataset.feature_names, dtype=object)
    model.reading_ = dataset.reading.to_plain()
    if dataset.target_name is not None:
        model.target_name_in_ = dataset.target_name


def report(fitted: Fitted, folder: Folder, printing: Printing, page: Page) -> None:
    """Judge a model, write it, a page of it if one is asked for, and print its figures."""
    found = _judged(fitted.model, fitted.judged)
    metrics = _metrics(fitted, found)
    shown = None
    if page.path is not None:
        shown = _shown(fitted, page, found, metrics.get("calibration"))
    if shown is not None:
        metrics["report"] = without_sources(shown)
    # A disk that is full costs the files, not the figures; a pipe that is closed, not the files.
    failure = _failure_to_write(folder, fitted, metrics, found) or report_page.failure_to_write(
        page, shown
    )
    if printing.json:
        print(strict_json.to_text(metrics, indent=2))
    elif printing.for_people:
        _print(fitted, metrics, found)
        if failure is None:
            _print_ending(folder, page)
    if failure is not None:
        raise failure


def _judged(model: Model, samples: Samples) -> Judgement:
    """Judge a model, and a calibrated one without its calibrator too."""
    # A distribution as target is judged by its most probable class.
    target = samples.target if samples.target.ndim == 1 else samples.target.argmax(axis=1)
    uncalibrated = None
    with about(samples.source):
        answers = outputs.classifier_of(model).predict_log_proba(samples.features)
        if isinstance(model, CalibratedClassifier):
            uncalibrated = judge(answers, target, classes=model.classes_)
            answers = model.calibrator_.predict_log_proba(answers)
        found = judge(answers, target, classes=model.classes_)
    # The row of the judged samples says nothing to the user; their name in the data does.
    named = tuple(
        replace(sample, index=samples.ids[int(sample.index)]) for sample in found.most_surprising
    )
    return Judgement(replace(found, most_surprising=named), answers, uncalibrated)


def _shown(
    fitted: Fitted, page: Page, found: Judgement, calibration: dict[str, Any] | None
) -> dict[str, Any]:
    """Return what the page shows."""
    judged = fitted.judged
    return report_page.contents(
        page,
        found.evaluation,
        found.log_probabilities,
        title=report_page.title_of(fitted.dataset.source),
        ids=judged.ids,
        texts=judged.texts,
        pictures=report_page.images(judged.features, judged.image_shape),
        judged_on=judged.role,
        fit=getattr(outputs.classifier_of(fitted.model), "fit_report_", None),
        kept_features=fitted.figures.get("kept_features"),
        training=getattr(fitted.model, "history_", None),
        calibrator=calibration,
    )


def _metrics(fitted: Fitted, found: Judgement) -> dict[str, Any]:
    calibrated = {} if fitted.calibration is None else {"calibration": _gained(fitted, found)}
    return {
        "bridle": bridle.__version__,
        "data": {
            "source": fitted.dataset.source,
            **({"files": fitted.dataset.files} if fitted.dataset.files else {}),
            "test_source": fitted.test_source,
            "features": fitted.train.features.shape[1],
            "training_samples": len(fitted.train.target),
            "judged_samples": len(fitted.judged.target),
            "judged_on": fitted.judged.role,
            "notes": fitted.dataset.notes,
        },
        **fitted.figures,
        **calibrated,
        "evaluation": found.evaluation.to_dict(),
    }


def _gained(fitted: Fitted, found: Judgement) -> dict[str, Any]:
    """Return what calibrating the model has changed on the samples that it is judged on."""
    assert fitted.calibration is not None
    told = fitted.calibration.to_dict()
    if found.uncalibrated is None:
        return told
    pair = {"before": found.uncalibrated, "after": found.evaluation}
    return told | {name: before_and_after.figures(each) for name, each in pair.items()}


def _failure_to_write(
    folder: Folder,
    fitted: Fitted,
    metrics: dict[str, Any],
    found: Judgement,
) -> OSError | None:
    if folder.path is None:
        return None
    few = len(fitted.model.classes_) <= outputs.MOST_CLASSES
    probabilities = np.exp(found.log_probabilities) if few else None
    predictions = outputs.predictions_csv(fitted.judged.ids, found.evaluation, probabilities)
    try:
        outputs.write_fit(folder.path, fitted.model, metrics, predictions)
    except OSError as error:
        return error
    return None


def _print(fitted: Fitted, metrics: dict[str, Any], found: Judgement) -> None:
    told = metrics["data"]
    counts = f"{told['training_samples']} samples, {told['features']} features"
    print(one_line(f"{told['source']}: {counts}, {len(fitted.model.classes_)} classes"))
    for note in told["notes"]:
        print(f"  {one_line(note)}")
    print(*fitted.lines, sep="\n")
    if found.uncalibrated is not None:
        title = f"{told['judged_on']} samples"
        print(*before_and_after.table(found.uncalibrated, found.evaluation, title), sep="\n")
    print(f"\n{told['judged_on']} accuracy {found.evaluation.accuracy:.4f}\n")
    print(found.evaluation)


def _print_ending(folder: Folder, page: Page) -> None:
    if page.path is not None:
        print(f"\n{report_page.ending(page)}")
    if folder.path is None:
        print("\nnothing written; --out DIR keeps the model, its metrics and predictions")
    else:
        names = f"{outputs.MODEL}, {outputs.METRICS}, {outputs.PREDICTIONS}"
        print(f"\n{one_line(f'written to {folder.path}: {names}')}")
