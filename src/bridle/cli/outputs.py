"""What is printed, and the files that are written."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bridle import checks, files, strict_json
from bridle.fit import FitReport, SoftmaxRegression
from bridle.judge import Evaluation

Array = npt.NDArray[Any]

MODEL, METRICS, PREDICTIONS = "model.safetensors", "metrics.json", "predictions.csv"


def fit_lines(report: FitReport) -> list[str]:
    """Return the figures of a fit as lines of text."""
    gap = f"{report.relative_gap:.1e}" if np.isfinite(report.relative_gap) else "unknown"
    bound = f"proven gap {gap}" if report.proven else f"estimated gap {gap} (no penalty, no proof)"
    ending = {
        "gap": "optimum reached",
        "decrement": "optimum reached",
        "separable": "separable: there is no optimum",
        "precision": "stopped by rounding",
        "max_iter": "stopped at the limit of steps",
    }[report.stopped]
    return [
        f"{ending}: {bound}, objective {report.objective:.9g} nats, "
        f"{report.passes} passes, {report.seconds:.2f} s"
    ]


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
            found.confidence.tolist(),
            found.surprisal.tolist(),
            strict=True,
        ),
    )


def csv_text(header: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    """Return a CSV table whose text no spreadsheet takes for a formula."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([_inert(cell) for cell in header])
    writer.writerows([_inert(cell) for cell in row] for row in rows)
    return stream.getvalue()


def _inert(cell: object) -> object:
    if isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r")):
        return "'" + cell
    return f"{cell:.9g}" if isinstance(cell, float) else cell


def check_folder(folder: Path) -> None:
    """Refuse a folder that could not be written to, before the work rather than after it."""
    if folder.exists() and not folder.is_dir():
        raise checks.InputError(f"--out {folder}: expected a folder, found a file")
    # The nearest ancestor that is there decides; a file among them cannot hold a folder.
    standing = next(place for place in [folder, *folder.absolute().parents] if place.exists())
    if not standing.is_dir():
        raise checks.InputError(f"--out {folder}: {standing} is a file")


def write_fit(
    folder: Path, model: SoftmaxRegression, metrics: dict[str, Any], predictions: str
) -> None:
    """Write the model, its metrics and its predictions, each whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    model.save(folder / MODEL)
    text = strict_json.to_text(metrics, indent=2) + "\n"
    files.write_whole(folder / METRICS, text.encode())
    files.write_whole(folder / PREDICTIONS, predictions.encode())


def features_of(model: SoftmaxRegression) -> dict[str, Any]:
    """Return what `bridle.data.load` has to know of the features that a model was fitted to."""
    names = getattr(model, "feature_names_in_", None)
    return {"feature_names": names, "width": model.n_features_in_}


def load_model(path: Path) -> SoftmaxRegression:
    """Read a model from its file, or from the folder that ``bridle fit`` wrote it to."""
    return SoftmaxRegression.load(path / MODEL if path.is_dir() else path)
