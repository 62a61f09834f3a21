"""``bridle evaluate``: judge any model's answers, or run one of ours and judge its own."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bridle import checks, data
from bridle.cli import outputs
from bridle.cli.messages import about, tell
from bridle.data import Dataset
from bridle.judge import evaluate as judge

Array = npt.NDArray[Any]

# What `bridle predict` writes beside the columns of the classes.
_FIGURES = ("predicted", "probability", "surprisal")


def evaluate(
    source: str,
    *,
    model: Path | None,
    target: str | None,
    labels: str | None,
    arrays: Mapping[str, str] | None,
    json: bool,
) -> None:
    """Print the figures of answers in a file, or of a model on data."""
    if model is None:
        dataset = data.load(source, target=target, labels=labels, arrays=arrays)
        answers, classes = _answers(dataset, _labels(dataset))
    else:
        fitted = outputs.load_model(model)
        features = outputs.features_of(fitted)
        dataset = data.load(source, target=target, labels=labels, arrays=arrays, **features)
        tell(dataset)
        with about(source):
            answers, classes = fitted.predict_log_proba(dataset.features), fitted.classes_.tolist()
    with about(source):
        evaluation = judge(answers, _labels(dataset), classes=classes)
    print(evaluation.to_json(indent=2) if json else evaluation)


def _labels(dataset: Dataset) -> Array:
    assert dataset.target is not None  # load refuses data without labels
    # A distribution as target is judged by its most probable class.
    return dataset.target if dataset.target.ndim == 1 else dataset.target.argmax(axis=1)


def _answers(dataset: Dataset, target: Array) -> tuple[Array, Sequence[object]]:
    """Return scores or probabilities and the label of each column, in the terms of the target.

    By name where the columns are called what the labels are. Else they stand for the labels in
    order, one or all but the first of two, or for the class indices 0, 1, …
    """
    if dataset.features.is_sparse:
        raise checks.InputError(f"{dataset.source}: expected dense answers, found a sparse matrix")
    seen = np.unique(target)
    by_name = {str(label): label for label in seen.tolist()}
    answers, names = _class_columns(dataset, by_name)
    width = answers.shape[1]
    if by_name.keys() <= set(names):
        return answers, [by_name.get(name, name) for name in names]
    if width == 1 and len(seen) == 2:
        positive_first = names == tuple(by_name)[:1]
        return answers[:, 0], seen.tolist()[:: -1 if positive_first else 1]
    if len(seen) == width:
        return answers, seen.tolist()
    if _are_indices(seen, width, named=bool(names)):
        return answers, range(width)
    raise checks.InputError(
        f"{dataset.source}: {width} columns of answers for {len(seen)} labels in the target: name "
        f"the columns after the labels"
    )


def _class_columns(dataset: Dataset, labels: Collection[str]) -> tuple[Array, tuple[str, ...]]:
    answers = dataset.features.to_array()
    names = dataset.feature_names or ()
    kept = [
        place
        for place, name in enumerate(names)
        if name in labels or name.partition("=")[0] not in _FIGURES
    ]
    if len(kept) == len(names):
        return answers, names
    if not kept:
        raise checks.InputError(
            f"{dataset.source}: expected a column of probabilities or scores for each class "
            f"(bridle predict --probabilities writes them)"
        )
    return answers[:, kept], tuple(names[place] for place in kept)


def _are_indices(seen: Array, width: int, *, named: bool) -> bool:
    # Columns with other names than the classes' may be anything: their number has to be right.
    highest = int(seen[-1]) + 1 if seen.dtype.kind in "iu" and seen[0] >= 0 else 0
    return highest == width if named else 0 < highest <= width
