"""``bridle evaluate``: judge any model's answers, or run one of ours and judge its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bridle import checks, data
from bridle.cli import outputs
from bridle.data import Dataset
from bridle.judge import evaluate as judge

Array = npt.NDArray[Any]


def evaluate(
    source: str, *, model: Path | None, target: str | None, labels: str | None, json: bool
) -> None:
    """Print the figures of answers in a file, or of a model on data."""
    if model is None:
        dataset = data.load(source, target=target, labels=labels)
        answers = dataset.features.to_array()
        classes: Sequence[object] | Array = _classes(dataset)
    else:
        fitted = outputs.load_model(model)
        dataset = data.load(source, target=target, labels=labels, **outputs.features_of(fitted))
        answers, classes = fitted.predict_log_proba(dataset.features), fitted.classes_
    assert dataset.target is not None  # load refuses data without labels
    evaluation = judge(answers, dataset.target, classes=classes)
    print(evaluation.to_json(indent=2) if json else evaluation)


def _classes(dataset: Dataset) -> list[object]:
    """Return the label of each column of answers, in the terms of the target.

    By name where the columns are called what the labels are; else columns stand for class indices,
    or, if there are as many labels as columns, for the labels in order.
    """
    assert dataset.target is not None
    width = dataset.features.shape[1]
    seen = np.unique(dataset.target)
    by_name = {str(label): label for label in seen.tolist()}
    names = dataset.feature_names or ()
    if by_name.keys() <= set(names):
        return [by_name.get(name, name) for name in names]
    if seen.dtype.kind in "iu" and seen[0] >= 0 and seen[-1] < width:
        return list(range(width))
    if len(seen) == width:
        return list(seen.tolist())
    raise checks.InputError(
        f"{dataset.source}: {width} columns of answers for {len(seen)} labels in the target: name "
        f"the columns after the labels"
    )
