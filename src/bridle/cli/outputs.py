"""What is printed, and the files that are written."""

from __future__ import annotations

import csv
import io
import itertools
import json
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bridle import checks, files, strict_json
from bridle.data import text
from bridle.fit import FitReport, SoftmaxRegression, model_file
from bridle.judge import Evaluation
from bridle.networks import NetworkClassifier
from bridle.networks import model_file as network_file

Array = npt.NDArray[Any]
Model = SoftmaxRegression | NetworkClassifier

MODEL, METRICS, PREDICTIONS = "model.safetensors", "metrics.json", "predictions.csv"

# What makes a cell a formula; the last four are the signs' full-width forms.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def fit_line(report: FitReport) -> str:
    """Return the figures of a fit as a line of text."""
    gap = f"{report.relative_gap:.1e}" if np.isfinite(report.relative_gap) else "unknown"
    bound = f"proven gap {gap}" if report.proven else f"estimated gap {gap}, not proven"
    ending = {
        "gap": "optimum reached",
        "decrement": "optimum reached",
        "separable": "separable: there is no optimum",
        "precision": "stopped by rounding",
        "max_iter": "stopped at the limit of steps",
        "interrupted": "interrupted at the best weights seen",
    }[report.stopped]
    return (
        f"{ending}: {bound}, objective {report.objective:.9g} nats, "
        f"{report.passes} passes, {report.seconds:.2f} s"
    )


def training_line(model: NetworkClassifier) -> str:
    """Return the figures of a network's training as a line of text."""
    sizes = [len(model.coefs_[0]), *(len(bias) for bias in model.intercepts_)]
    last, seconds = model.history_[-1], sum(epoch.seconds for epoch in model.history_)
    return (
        f"network {'-'.join(map(str, sizes))}, {model.output} with {model.cost}: "
        f"{model.n_iter_} epochs, cost {last.cost:.6g}, {seconds:.2f} s"
    )


def predictions_csv(ids: Sequence[object], evaluation: Evaluation) -> str:
    """Return a line for each sample: what it is, what was predicted, how surely, how wrongly.

    ``probability`` is that of the predicted class, ``surprisal`` that of the target in nats.
    """
    found = evaluation.outcomes
    labels = np.array(found.classes, dtype=object)
    return csv_text(
        ["id", "target", "predicted", "probability", "surprisal"],
        zip(
            ids,
            labels[found.target],
            labels[found.predicted],
            nine_digits(found.confidence),
            nine_digits(found.surprisal),
            strict=True,
        ),
    )


def csv_text(header: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    """Return a CSV table whose text no spreadsheet takes for a formula."""
    return "".join(_csv_row(row) for row in itertools.chain([header], rows))


def _csv_row(cells: Sequence[object]) -> str:
    stream = io.StringIO()
    # Before Python 3.13 csv quotes only what its own line end consists of. A carriage return left
    # bare would end the row, and begin another with whatever follows: a formula.
    csv.writer(stream, lineterminator="\r\n").writerow([_inert(cell) for cell in cells])
    return stream.getvalue().removesuffix("\r\n") + "\n"


def nine_digits(figures: Array) -> list[float]:
    """Return figures rounded to what is worth writing; labels are written as they are."""
    return [float(f"{figure:.9g}") for figure in figures.tolist()]


def _inert(cell: object) -> object:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell


def check_folder(folder: Path, *, force: bool) -> None:
    """Refuse a folder that could not be written to, before the work rather than after it.

    Nor is what another fit wrote there replaced, unless it is told (``force``) or that fit was
    interrupted.
    """
    if folder.exists() and not folder.is_dir():
        raise checks.InputError(f"--out {folder}: expected a folder, found a file")
    # The nearest ancestor that is there decides; a file among them cannot hold a folder.
    standing = next(place for place in [folder, *folder.absolute().parents] if place.exists())
    if not standing.is_dir():
        raise checks.InputError(f"--out {folder}: {standing} is a file")
    _check_writable(f"--out {folder}", standing)
    for name in (MODEL, METRICS, PREDICTIONS):
        if (folder / name).is_dir():
            raise checks.InputError(f"--out {folder}: {name} in it is a folder")
        if (folder / name).exists() and not force and not _was_interrupted(folder):
            raise checks.InputError(f"--out {folder}: holds {name} already; --force replaces it")


def _was_interrupted(folder: Path) -> bool:
    try:
        metrics = json.loads((folder / METRICS).read_bytes())
        return bool(metrics["fit"]["stopped"] == "interrupted")
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False


def check_file(file: Path, option: str = "--out") -> None:
    """Refuse a file that could not be written, before the work rather than after it."""
    if file.is_dir():
        raise checks.InputError(f"{option} {file}: expected a file, found a folder")
    if not file.parent.is_dir():
        raise checks.InputError(f"{option} {file}: no folder {file.parent}")
    _check_writable(f"{option} {file}", file.parent)


def _check_writable(place: str, folder: Path) -> None:
    if not os.access(folder, os.W_OK | os.X_OK):
        raise checks.InputError(f"{place}: no permission to write in {folder}")


def write_fit(folder: Path, model: Model, metrics: dict[str, Any], predictions: str) -> None:
    """Write the model, its metrics and its predictions: all of them, or nothing."""
    contents = {
        folder / MODEL: network_file.content(model)
        if isinstance(model, NetworkClassifier)
        else model_file.content(model),
        folder / METRICS: _encoded(strict_json.to_text(metrics, indent=2) + "\n"),
        folder / PREDICTIONS: _encoded(predictions),
    }
    made = [place for place in [folder, *folder.absolute().parents] if not place.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        files.write_together(contents)
    except BaseException:
        for place in made:
            with suppress(OSError):
                place.rmdir()
        raise


def write_text(path: Path, text: str) -> None:
    """Write text whole or not at all."""
    files.write_whole(path, _encoded(text))


def _encoded(text: str) -> bytes:
    # As UTF-8; a file's name may hold bytes that are none.
    return text.encode(errors="backslashreplace")


def features_of(model: Model) -> dict[str, Any]:
    """Return what `bridle.data.load` has to know of the features that a model was fitted to."""
    names = getattr(model, "feature_names_in_", None)
    texts = text.from_plain(getattr(model, "reading_", {}).get("texts", []))
    return {"feature_names": names, "width": model.n_features_in_, "texts": texts}


def load_model(path: Path) -> Model:
    """Read a model from its file, or from the folder that ``bridle fit`` wrote it to."""
    file = path / MODEL if path.is_dir() else path
    network = model_file.format_of(file) == network_file.FORMAT
    model = NetworkClassifier.load(file) if network else SoftmaxRegression.load(file)
    try:
        words = [name for each in features_of(model)["texts"] for name in each.feature_names]
    except ValueError as error:
        raise checks.InputError(f"{file}: no readable bridle model ({error})") from None
    names = list(getattr(model, "feature_names_in_", []))
    if words and names[-len(words) :] != words:
        raise checks.InputError(f"{file}: the model's words and features do not fit together")
    return model
