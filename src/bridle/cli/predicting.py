"""``bridle predict``: each sample's most probable class, and the probabilities of all."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bridle import checks, data, interruption
from bridle.cli import outputs
from bridle.cli.messages import about, tell, tell_user
from bridle.data import Dataset, Reading, files

Array = npt.NDArray[Any]

_UNUSED = "the target is not used"


def predict(
    model_path: Path,
    source: str,
    *,
    target: str | None,
    arrays: Mapping[str, str] | None,
    reading: Reading,
    compact: bool,
    out: Path | None,
) -> None:
    """Write a CSV of predictions to ``out``, or print it."""
    if out is not None:
        outputs.check_file(out)
    model = outputs.load_model(model_path)
    known = outputs.features_of(model)
    dataset = data.load(
        source, target=target, need_target=False, arrays=arrays, reading=reading, **known
    )
    tell(dataset)
    unused = next((note for note in dataset.notes if note.startswith(_UNUSED)), None)
    if unused is not None:
        tell_user(unused)
    elif target is not None and dataset.target is None:
        raise checks.InputError(f"--target: {source} has no column {files.quoted(target)}")
    interruption.raise_again()
    with about(source):
        found = model.predict_proba(dataset.features)
    columns = _kept(dataset, compact=compact)
    best = found.argmax(axis=1)
    columns["predicted"] = model.classes_[best].tolist()
    columns["probability"] = outputs.nine_digits(found[np.arange(len(found)), best])
    text = outputs.answers_csv(columns, model.classes_.tolist(), None if compact else found)
    if out is None:
        print(text, end="")
    else:
        outputs.write_text(out, text)


def _kept(dataset: Dataset, *, compact: bool) -> dict[str, Sequence[object]]:
    """Return what tells the rows apart, and the truth where the data have it."""
    columns: dict[str, Sequence[object]] = {}
    if compact:
        return {"id": dataset.ids or range(len(dataset.features))}
    if dataset.ids is None or not dataset.named:
        columns["id"] = dataset.ids or range(len(dataset.features))
    for name, values in dataset.named.items():
        columns[_free(name, columns)] = values
    if dataset.target is not None and dataset.target.ndim == 1:
        columns[_free(dataset.target_name or "target", columns)] = dataset.target.tolist()
    return columns


def _free(name: str, taken: Collection[str]) -> str:
    """Return a column's name, with an underscore after it where another column has that name."""
    while name in (*taken, "predicted", "probability"):
        name += "_"
    return name
