"""``bridle predict``: each sample's most probable class."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bridle import data, interruption
from bridle.cli import outputs
from bridle.cli.messages import about, tell

Array = npt.NDArray[Any]


def predict(
    model_path: Path,
    source: str,
    *,
    arrays: Mapping[str, str] | None,
    probabilities: bool,
    out: Path | None,
) -> None:
    """Write a CSV of predictions to ``out``, or print it."""
    if out is not None:
        outputs.check_file(out)
    model = outputs.load_model(model_path)
    dataset = data.load(source, need_target=False, arrays=arrays, **outputs.features_of(model))
    tell(dataset)
    interruption.raise_again()
    with about(source):
        found = model.predict_proba(dataset.features)
    ids: Iterable[object] = dataset.ids or range(len(found))
    text = _table(ids, model.classes_, found, every_class=probabilities)
    if out is None:
        print(text, end="")
    else:
        outputs.write_text(out, text)


def _table(ids: Iterable[object], classes: Array, found: Array, *, every_class: bool) -> str:
    best = found.argmax(axis=1)
    labels = classes[best].tolist()
    top = outputs.nine_digits(found[np.arange(len(found)), best])
    header = ["id", "predicted", "probability"]
    if not every_class:
        return outputs.csv_text(header, zip(ids, labels, top, strict=True))
    rows = zip(ids, labels, top, found, strict=True)
    return outputs.csv_text(
        [*header, *classes.tolist()],
        ([*fixed, *outputs.nine_digits(each)] for *fixed, each in rows),
    )
