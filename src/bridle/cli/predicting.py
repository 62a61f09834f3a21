"""``bridle predict``: each sample's most probable class, and the probabilities of all."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from bridle import checks, data, interruption, strict_json
from bridle.cli import outputs, ranks
from bridle.cli.messages import about_part, tell, tell_user
from bridle.cli.options.config import save_options
from bridle.cli.sharing import rows_in, rows_of_parts, scratch, without_rows
from bridle.data import Dataset, Reading, files
from bridle.ranks import Alone, Ranks
from bridle.rows import Rows

Array = npt.NDArray[Any]

_UNUSED = "the target is not used"


def predict(
    model_path: Path,
    source: str | tuple[str, ...],
    *,
    target: str | None,
    arrays: Mapping[str, str] | None,
    reading: Reading,
    compact: bool,
    out: Path | None,
    timeout: float,
) -> None:
    """Write a CSV of predictions to ``out``, or print it.

    Of several processes that a launcher started, each writes one of its part of the samples, and
    the first a list of these files.
    """
    if out is not None:
        outputs.check_file(out)
    elif ranks.is_one_of_several():
        raise checks.InputError(
            "--out: expected a file's name, after which each process names its own"
        )
    model = outputs.load_model(model_path)

    def load_parts() -> Iterator[_Asked]:
        kept = scratch(all_ranks.size)
        told = {"arrays": arrays, "reading": reading, "scratch": kept}
        dataset = _loaded(model, source, target=target, **told)
        return _parts(dataset, _kept(dataset, compact=compact), all_ranks.size)

    with ranks.started(timeout) as all_ranks:
        asked = all_ranks.dealt(load_parts)
        write = partial(_answered, model, asked, all_ranks, out, with_all=not compact)
        written = all_ranks.gathered(write)
    if len(written) > 1 and out is not None and all_ranks.rank == 0:
        manifest = {"model": str(model_path), "data": source, "files": written}
        outputs.write_text(out.with_suffix(".json"), strict_json.to_text(manifest, indent=2))


def _loaded(
    model: Any, source: str | tuple[str, ...], *, target: str | None, **options: Any
) -> Dataset:
    known = outputs.features_of(model)
    dataset = data.load(source, target=target, need_target=False, **options, **known)
    tell(dataset)
    unused = next((note for note in dataset.notes if note.startswith(_UNUSED)), None)
    if unused is not None:
        tell_user(unused)
    elif target is not None and dataset.target is None:
        raise checks.InputError(f"--target: {dataset.source} has no column {files.quoted(target)}")
    interruption.raise_again()
    save_options()
    return dataset


class _Asked(NamedTuple):
    """Rows whose classes are asked for, and what is written beside the answers."""

    dataset: Dataset  # what messages are about; without rows
    features: Rows
    columns: dict[str, Sequence[object]]
    first_row: int


def _parts(dataset: Dataset, columns: dict[str, Sequence[object]], parts: int) -> Iterator[_Asked]:
    about = without_rows(dataset)
    for rows in rows_of_parts(len(dataset.features), parts):
        own = {name: values[rows] for name, values in columns.items()}
        yield _Asked(about, rows_in(dataset.features, rows), own, rows.start)


def _answered(
    model: Any, asked: _Asked, all_ranks: Alone | Ranks, out: Path | None, *, with_all: bool
) -> dict[str, Any]:
    """Write a part's answers, of all classes or the best, and return which rows are where."""
    with about_part(asked.dataset, all_ranks, asked.first_row):
        found = model.predict_proba(asked.features)
    best = found.argmax(axis=1)
    columns = asked.columns | {
        "predicted": model.classes_[best].tolist(),
        "probability": outputs.nine_digits(found[np.arange(len(found)), best]),
    }
    text = outputs.answers_csv(columns, model.classes_.tolist(), found if with_all else None)
    if out is None:
        print(text, end="")
        return {}
    if all_ranks.size > 1:
        out = out.with_stem(f"{out.stem}-{all_ranks.rank + 1}-of-{all_ranks.size}")
    outputs.write_text(out, text)
    return {"file": out.name, "first_row": asked.first_row, "rows": len(found)}


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
