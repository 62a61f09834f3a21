"""A table becomes a dataset: one column the target, one the names of rows, the others features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy.typing as npt

from bridle import checks
from bridle.data import columns, encoding, files, targets, text
from bridle.data.columns import Table
from bridle.data.dataset import Dataset
from bridle.data.parts import Request, refuse_labels
from bridle.data.text import TextColumn
from bridle.rows import Rows

Array = npt.NDArray[Any]

TARGET_NAMES = ("target", "label", "class", "y")

_MOST_CLASSES = 1000  # of a last column that nobody called the target


def to_dataset(tables: Sequence[Table], request: Request) -> Dataset:
    """Choose target, names of rows and features among the columns; tables lie below each other."""
    refuse_labels(request, "a table")
    table = columns.joined(tables)
    if table.count == 0:
        raise files.broken(table.file, "expected at least one row, found none")
    used = _used(table, request)
    target_name, notes = _target_name(table, request, used)
    id_name = _id_name(table, used, target_name)
    target, target_notes = _target(table, target_name, request)
    if request.feature_names is None:
        candidates = [name for name in table.names if name not in (target_name, id_name)]
        prose = text.choose(table, candidates, request.text)
        others = [name for name in candidates if name not in prose]
        names, encoding_notes = encoding.choose_names(table, others)
        text.check_texts(table, prose)
        texts = _learnt_texts(table, prose, target, request)
        encoding_notes += [text.remark(each, request.text) for each in texts]
    else:
        names, encoding_notes, texts = list(request.feature_names), [], request.texts
        text.check_texts(table, [each.column for each in texts])
    if not names and not texts:
        raise files.broken(table.file, "no column is left for the features")
    ids = None if id_name is None else tuple(str(name) for name in table.read(id_name).tolist())
    id_notes = () if id_name is None else (f"rows are named by column {id_name!r}",)
    return Dataset(
        features=Rows([_features(table, names, texts)]),
        target=target,
        feature_names=(*names, *(name for each in texts for name in each.feature_names)),
        ids=ids,
        source=request.source,
        notes=(*table.notes, *notes, *target_notes, *id_notes, *encoding_notes),
        pixels=_are_pixels(table, names) and not texts,
        texts=texts,
    )


def _features(table: Table, names: Sequence[str], texts: Sequence[TextColumn]) -> Any:
    numbers = encoding.matrix(table, names) if names else None
    return text.stacked(numbers, texts, table.read) if texts else numbers


def _learnt_texts(
    table: Table, names: Sequence[str], target: Array | None, request: Request
) -> tuple[TextColumn, ...]:
    rows = None
    if names and target is not None and request.training_rows is not None:
        rows = request.training_rows(target)
    return tuple(text.learnt(table, name, rows) for name in names)


def _are_pixels(table: Table, names: Sequence[str]) -> bool:
    return bool(table.images) and encoding.columns_used(names, table) <= table.images


def is_id(name: str) -> bool:
    """Tell whether a column names the rows."""
    return name.lower() == "id"


def _used(table: Table, request: Request) -> frozenset[str]:
    if request.feature_names is None:
        return frozenset()
    return frozenset(encoding.resolve(request.feature_names, table.names, table.file))


def _target_name(
    table: Table, request: Request, used: frozenset[str]
) -> tuple[str | None, tuple[str, ...]]:
    if request.target is not None:
        return _asked_for(table, request.target, request.need_target), ()
    free = [name for name in table.names if name not in used]
    named = [name for name in free if name.lower() in TARGET_NAMES]
    if len(named) > 1:
        raise files.broken(
            table.file, f"which column is the target? name it with --target: {files.listing(named)}"
        )
    if named:
        return named[0], (f"target: column {named[0]!r}",)
    if not request.need_target:
        return None, ()
    last = next((name for name in reversed(free) if not is_id(name)), None)
    if last is None:
        raise files.broken(table.file, "no column is left for the target; name one with --target")
    _check_last(table, last)
    return last, (f"target: column {last!r} (the last one)",)


def _asked_for(table: Table, name: str, needed: bool) -> str | None:
    if name in table.names:
        return name
    if not needed:
        return None
    raise checks.InputError(
        f"target: {table.file} has no column {files.quoted(name)}, "
        f"found {files.listing(table.names)}{files.suggestion(name, table.names)}"
    )


def _check_last(table: Table, name: str) -> None:
    column = table.read(name)
    start = (
        f"no column is called {', '.join(TARGET_NAMES)}, and the last one, {files.quoted(name)},"
    )
    if column.ndim == 2 or column.dtype.kind == "f":
        found = "fractional numbers" if column.ndim == 1 else "lists"
        raise files.broken(table.file, f"{start} holds {found}; name the target with --target")
    count = len(targets.distinct(column)[0])
    if count > _MOST_CLASSES or 2 * count >= table.count:
        raise files.broken(
            table.file,
            f"{start} has {count} different values in {table.count} rows; "
            "name the target with --target",
        )


def _id_name(table: Table, used: frozenset[str], target: str | None) -> str | None:
    found = [name for name in table.names if is_id(name) and name not in used and name != target]
    return found[0] if found else None


def _target(
    table: Table, name: str | None, request: Request
) -> tuple[Array | None, tuple[str, ...]]:
    if name is None:
        return None, ()
    place = f"column {files.quoted(name)}"
    try:
        raw = table.read(name)
        target = targets.as_target(raw, table.file, lambda row: f"{table.place(row)}, {place}")
    except checks.InputError as error:
        if request.need_target:
            raise
        return None, (f"the target is not used: {error}",)
    return target, ()
