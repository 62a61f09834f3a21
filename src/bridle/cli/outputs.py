"""What is printed, and the files that are written."""

from __future__ import annotations

import csv
import io
import itertools
import json
import math
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bridle import checks, files, strict_json
from bridle.calibrate import CalibratedClassifier, Calibrator
from bridle.calibrate import load as read_model
from bridle.data import Reading, label_kind
from bridle.estimators import NetworkClassifier, SoftmaxRegression
from bridle.files import is_file, is_folder, is_there
from bridle.fit import FitReport
from bridle.judge import Evaluation
from bridle.progress import shown_gap

Array = npt.NDArray[Any]
Classifier = SoftmaxRegression | NetworkClassifier
Model = Classifier | CalibratedClassifier

# Beyond this many classes `predictions.csv` would outgrow the data: it has no column for each then.
MOST_CLASSES = 1000

MODEL, METRICS, PREDICTIONS = "model.safetensors", "metrics.json", "predictions.csv"

# What makes a cell a formula; the last four are the signs' full-width forms.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def fit_lines(report: FitReport) -> list[str]:
    """Return the figures of a fit, and what its gap means, in lines of at most 80 columns."""
    gap = shown_gap(report.relative_gap)
    bound = f"proven gap {gap}" if report.proven else f"estimated gap {gap}, not proven"
    ending = {
        "gap": "optimum reached",
        "decrement": "optimum reached",
        "separable": "separable: there is no optimum",
        "quasi-separable": "separable in part: there is no optimum",
        "precision": "stopped by rounding",
        "max_iter": "stopped at the limit of steps",
        "interrupted": "interrupted at the best weights seen",
    }[report.stopped]
    return [
        f"{ending}: {bound},",
        f"  objective {report.objective:.9g} nats, {report.passes} passes, {report.seconds:.2f} s",
        *_meaning(report),
    ]


def _meaning(report: FitReport) -> list[str]:
    """Return what a gap means for the probabilities, where it means anything.

    At the optimum p* the gradient is 0, so that the objective elsewhere is higher by the mean of
    KL(p*_n ‖ p_n) over the training samples, and by what the penalty adds. By Pinsker's inequality
    no probability of a sample, of one class or of several, differs by more than √(KL / 2), and by
    Jensen's the mean of that is at most √(gap / 2).
    """
    furthest = math.sqrt(max(0.0, report.relative_gap * report.objective) / 2)
    if not furthest < 1:
        return []
    estimated = "" if report.proven else " (estimated)"
    return [
        f"  on average over the training samples, no probability is further than "
        f"{_rounded_up(furthest)}",
        f"  from what it is at the optimum{estimated}",
    ]


def _rounded_up(bound: float) -> str:
    if bound == 0:
        return "0"
    unit = 10.0 ** math.floor(math.log10(bound))
    return f"{math.ceil(bound / unit) * unit:.1g}"


def training_line(model: NetworkClassifier) -> str:
    """Return the figures of a network's training as a line of text."""
    sizes = [len(model.coefs_[0]), *(len(bias) for bias in model.intercepts_)]
    last, seconds = model.history_[-1], sum(epoch.seconds for epoch in model.history_)
    return (
        f"network {'-'.join(map(str, sizes))}, {model.output} with {model.cost}: "
        f"{model.n_iter_} epochs, cost {last.cost:.6g}, {seconds:.2f} s"
    )


def predictions_csv(
    ids: Sequence[object], evaluation: Evaluation, probabilities: Array | None
) -> str:
    """Return a line for each sample: what it is, what was predicted, how surely, how wrongly.

    ``probability`` is that of the predicted class, ``surprisal`` that of the target in nats. A
    column for each class follows, unless ``probabilities`` are left out.
    """
    found = evaluation.outcomes
    labels = np.array(found.classes, dtype=object)
    columns: dict[str, Sequence[object]] = {
        "id": ids,
        "target": labels[found.target].tolist(),
        "predicted": labels[found.predicted].tolist(),
        "probability": nine_digits(found.confidence),
        "surprisal": nine_digits(found.surprisal),
    }
    return answers_csv(columns, found.classes, probabilities)


def answers_csv(
    columns: dict[str, Sequence[object]], classes: Sequence[object], probabilities: Array | None
) -> str:
    """Return a table of columns, and of one for each class beside them, called as the class is.

    Where two columns would be called the same, ``p_`` stands before every class.
    """
    if probabilities is None:
        return csv_text(list(columns), zip(*columns.values(), strict=True))
    header = [*columns, *_class_columns(list(columns), classes)]
    rows = zip(*columns.values(), probabilities, strict=True)
    return csv_text(header, ([*fixed, *nine_digits(each)] for *fixed, each in rows))


def _class_columns(taken: Sequence[str], classes: Sequence[object]) -> list[object]:
    prefix = ""
    while True:
        # Plain labels stay what they are: a number is no text that a spreadsheet might run.
        names = [f"{prefix}{label}" if prefix else label for label in classes]
        written = [escaped_formula(name) if isinstance(name, str) else str(name) for name in names]
        if len({*written, *map(escaped_formula, taken)}) == len(written) + len(taken):
            return names
        prefix = f"p_{prefix}"


def csv_text(header: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    """Return a CSV table whose text no spreadsheet takes for a formula."""
    return "".join(_csv_row(row) for row in itertools.chain([header], rows))


def _csv_row(cells: Sequence[object]) -> str:
    stream = io.StringIO()
    # Before Python 3.13 csv quotes only what its own line end consists of. A carriage return left
    # bare would end the row, and begin another with whatever follows: a formula.
    plain = [escaped_formula(cell) if isinstance(cell, str) else cell for cell in cells]
    csv.writer(stream, lineterminator="\r\n").writerow(plain)
    return stream.getvalue().removesuffix("\r\n") + "\n"


def nine_digits(figures: Array) -> list[float]:
    """Return figures rounded to what is worth writing; labels are written as they are."""
    return [float(f"{figure:.9g}") for figure in figures.tolist()]


def escaped_formula(text: str) -> str:
    """Return a text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def check_folder(folder: Path, *, force: bool) -> None:
    """Refuse a folder that could not be written to, before the work rather than after it.

    Nor is what another fit wrote there replaced, unless it is told (``force``) or that fit was
    interrupted.
    """
    if is_there(folder) and not is_folder(folder):
        raise checks.InputError(f"--out {folder}: expected a folder, found a file")
    # The nearest ancestor that is there decides; a file among them cannot hold a folder.
    standing = next(place for place in [folder, *folder.absolute().parents] if is_there(place))
    if not is_folder(standing):
        raise checks.InputError(f"--out {folder}: {standing} is a file")
    _check_writable(f"--out {folder}", standing)
    for name in (MODEL, METRICS, PREDICTIONS):
        if is_folder(folder / name):
            raise checks.InputError(f"--out {folder}: {name} in it is a folder")
        if is_there(folder / name) and not force and not _was_interrupted(folder):
            raise checks.InputError(f"--out {folder}: holds {name} already; --force replaces it")


def _was_interrupted(folder: Path) -> bool:
    try:
        metrics = json.loads((folder / METRICS).read_bytes())
        return bool(metrics["fit"]["stopped"] == "interrupted")
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False


def check_file(file: Path, option: str = "--out") -> None:
    """Refuse a file that could not be written, before the work rather than after it."""
    check_place(file, option)
    if not is_folder(file.parent):
        raise checks.InputError(f"{option} {file}: no folder {file.parent}")
    _check_writable(f"{option} {file}", file.parent)


def check_place(file: Path, option: str) -> None:
    """Refuse to put a file in the place of what is none.

    A file is moved into place, so that of a device (``/dev/null``) or a pipe nothing would be left.
    """
    if is_folder(file):
        raise checks.InputError(f"{option} {file}: expected a file, found a folder")
    if is_there(file) and not is_file(file):
        raise checks.InputError(f"{option} {file}: expected a file, found a device or a pipe")


def _check_writable(place: str, folder: Path) -> None:
    if not os.access(folder, os.W_OK | os.X_OK):
        raise checks.InputError(f"{place}: no permission to write in {folder}")


def write_fit(folder: Path, model: Model, metrics: dict[str, Any], predictions: str) -> None:
    """Write the model, its metrics and its predictions: all of them, or nothing."""
    contents = {
        folder / MODEL: _bytes_of(model),
        folder / METRICS: _encoded(strict_json.to_text(metrics, indent=2) + "\n"),
        folder / PREDICTIONS: _encoded(predictions),
    }
    made = [place for place in [folder, *folder.absolute().parents] if not is_there(place)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        files.write_together(contents)
    except BaseException:
        for place in made:
            with suppress(OSError):
                place.rmdir()
        raise


def _bytes_of(model: Model) -> bytes:
    """Return a model's file; of one whose penalty left few weights, with these alone."""
    if isinstance(model, SoftmaxRegression) and model.fit_report_.kept_features is not None:
        few = bool(3 * np.count_nonzero(model.coef_) <= model.coef_.size)
        return model.to_bytes(sparse=few)
    return model.to_bytes()


def write_text(path: Path, text: str) -> None:
    """Write text whole or not at all."""
    files.write_whole(path, _encoded(text))


def _encoded(text: str) -> bytes:
    # As UTF-8; a file's name may hold bytes that are none.
    return text.encode(errors="backslashreplace")


def features_of(model: Model) -> dict[str, Any]:
    """Return what `bridle.data.load` has to know of the data that a model was fitted to."""
    classifier = classifier_of(model)
    names = getattr(classifier, "feature_names_in_", None)
    target = getattr(classifier, "target_name_in_", None)
    fitted = Reading.from_plain(classifier.reading_, "the model")
    kind = fitted.label_kind or label_kind(classifier.classes_)
    return {
        "feature_names": names,
        "width": classifier.n_features_in_,
        "usual_target": target,
        "fitted": replace(fitted, label_kind=kind),
    }


def load_model(path: Path) -> Model:
    """Read a model from its file, or from the folder that a fit or a training wrote it to."""
    file = path / MODEL if is_folder(path) else path
    found = read_model(file)
    if isinstance(found, Calibrator):
        raise checks.InputError(
            f"{file}: a calibrator, which knows no features; expected a model that bridle fit or "
            "train wrote"
        )
    model = classifier_of(found)
    if isinstance(model, NetworkClassifier) and model.multilabel_:
        raise checks.InputError(
            f"{file}: a network of several labels a sample; the command judges one, the library "
            f"predicts them"
        )
    reading = Reading.from_plain(model.reading_, str(file))  # refused here, where it has a name
    words = [name for each in reading.texts for name in each.feature_names]
    names = list(getattr(model, "feature_names_in_", []))
    if words and names[-len(words) :] != words:
        raise checks.InputError(f"{file}: the model's words and features do not fit together")
    return found


def notes_of(model: Model) -> tuple[str, ...]:
    """Return what is to be said of a model's answers."""
    if not isinstance(model, CalibratedClassifier):
        return ()
    return (f"the model's answers are calibrated ({model.calibrator_.kind})",)


def classifier_of(model: Model) -> Classifier:
    """Return the classifier itself, without what calibrates it."""
    if not isinstance(model, CalibratedClassifier):
        return model
    fitted: Classifier = model.estimator_
    return fitted
