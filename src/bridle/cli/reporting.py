"""What `bridle fit` and `bridle train` do with a model: judge it, write it, print its figures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

import bridle
from bridle import strict_json
from bridle.cli import outputs, report_page
from bridle.cli.messages import about, one_line
from bridle.cli.options.output import Folder, Page, Printing
from bridle.cli.outputs import Model
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


def check_folder(folder: Folder) -> None:
    """Refuse a folder that could not be written to, before the work rather than after it."""
    if folder.path is not None:
        outputs.check_folder(folder.path, force=folder.replace)


def remember_data(model: Model, dataset: Dataset) -> None:
    """Keep with a model the names of its features and how their files were read."""
    if dataset.feature_names is not None:
        model.feature_names_in_ = np.array(dataset.feature_names, dtype=object)
    model.reading_ = dataset.reading.to_plain()
    if dataset.target_name is not None:
        model.target_name_in_ = dataset.target_name


def report(fitted: Fitted, folder: Folder, printing: Printing, page: Page) -> None:
    """Judge a model, write it, a page of it if one is asked for, and print its figures."""
    evaluation, log_probabilities = _judged(fitted.model, fitted.judged)
    metrics = _metrics(fitted, evaluation)
    shown = None if page.path is None else _shown(fitted, page, evaluation, log_probabilities)
    if shown is not None:
        metrics["report"] = without_sources(shown)
    # A disk that is full costs the files, not the figures; a pipe that is closed, not the files.
    failure = _failure_to_write(
        folder, fitted, metrics, evaluation, log_probabilities
    ) or report_page.failure_to_write(page, shown)
    if printing.json:
        print(strict_json.to_text(metrics, indent=2))
    elif printing.for_people:
        _print(fitted, metrics, evaluation)
        if failure is None:
            _print_ending(folder, page)
    if failure is not None:
        raise failure


def _judged(model: Model, samples: Samples) -> tuple[Evaluation, Array]:
    """Return the figures, and the log-probabilities that they are of."""
    # A distribution as target is judged by its most probable class.
    target = samples.target if samples.target.ndim == 1 else samples.target.argmax(axis=1)
    with about(samples.source):
        answers = model.predict_log_proba(samples.features)
        found = judge(answers, target, classes=model.classes_)
    # The row of the judged samples says nothing to the user; their name in the data does.
    named = tuple(
        replace(sample, index=samples.ids[int(sample.index)]) for sample in found.most_surprising
    )
    return replace(found, most_surprising=named), answers


def _shown(
    fitted: Fitted, page: Page, evaluation: Evaluation, log_probabilities: Array
) -> dict[str, Any]:
    """Return what the page shows."""
    judged = fitted.judged
    return report_page.contents(
        page,
        evaluation,
        log_probabilities,
        title=report_page.title_of(fitted.dataset.source),
        ids=judged.ids,
        texts=judged.texts,
        pictures=report_page.images(judged.features, judged.image_shape),
        judged_on=judged.role,
        fit=getattr(fitted.model, "fit_report_", None),
        training=getattr(fitted.model, "history_", None),
    )


def _metrics(fitted: Fitted, evaluation: Evaluation) -> dict[str, Any]:
    return {
        "bridle": bridle.__version__,
        "data": {
            "source": fitted.dataset.source,
            "test_source": fitted.test_source,
            "features": fitted.train.features.shape[1],
            "training_samples": len(fitted.train.target),
            "judged_samples": len(fitted.judged.target),
            "judged_on": fitted.judged.role,
            "notes": fitted.dataset.notes,
        },
        **fitted.figures,
        "evaluation": evaluation.to_dict(),
    }


def _failure_to_write(
    folder: Folder,
    fitted: Fitted,
    metrics: dict[str, Any],
    evaluation: Evaluation,
    log_probabilities: Array,
) -> OSError | None:
    if folder.path is None:
        return None
    few = len(fitted.model.classes_) <= outputs.MOST_CLASSES
    probabilities = np.exp(log_probabilities) if few else None
    predictions = outputs.predictions_csv(fitted.judged.ids, evaluation, probabilities)
    try:
        outputs.write_fit(folder.path, fitted.model, metrics, predictions)
    except OSError as error:
        return error
    return None


def _print(fitted: Fitted, metrics: dict[str, Any], evaluation: Evaluation) -> None:
    found = metrics["data"]
    counts = f"{found['training_samples']} samples, {found['features']} features"
    print(one_line(f"{found['source']}: {counts}, {len(fitted.model.classes_)} classes"))
    for note in found["notes"]:
        print(f"  {one_line(note)}")
    print(*fitted.lines, sep="\n")
    print(f"\n{found['judged_on']} accuracy {evaluation.accuracy:.4f}\n")
    print(evaluation)


def _print_ending(folder: Folder, page: Page) -> None:
    if page.path is not None:
        print(f"\n{report_page.ending(page)}")
    if folder.path is None:
        print("\nnothing written; --out DIR keeps the model, its metrics and predictions")
    else:
        names = f"{outputs.MODEL}, {outputs.METRICS}, {outputs.PREDICTIONS}"
        print(f"\n{one_line(f'written to {folder.path}: {names}')}")
