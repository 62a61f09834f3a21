"""A table becomes a dataset: one column the target, one the names of rows, the others features."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from bridle import checks
from bridle.data import choice, columns, encoding, files, labels, missing, targets, text
from bridle.data.columns import Table
from bridle.data.dataset import Dataset
from bridle.data.parts import Request, refuse_labels, square_image_shape
from bridle.data.words import TextColumn
from bridle.rows import Rows

Array = npt.NDArray[Any]

# customer_id, userId, "order key", file_name; not "width", not "valid".
_NAME_OF_ROWS = re.compile(
    r"(?:.*[\s_.-])?(?i:ids?|uuid|guid|index|key|path|file|file[ _]?name)|.*[a-z](?:Id|ID|UUID)"
)


def to_dataset(tables: Sequence[Table], request: Request) -> Dataset:
    """Choose target, names of rows and features among the columns; tables lie below each other."""
    table = columns.joined(tables)
    if request.as_table:
        return _as_table(table, request)
    refuse_labels(request, "a table")
    if table.count == 0:
        raise files.broken(table.file, "expected at least one row, found none")
    chosen = choice.choose(table, request)
    learnt_from = partial(_training_rows, name=chosen.target, request=request)
    table, missing_notes, kept = missing.without_missing(table, chosen, request, learnt_from)
    target, target_notes = _target(table, chosen.target, request)
    if request.feature_names is None:
        others = [name for name in chosen.candidates if name not in chosen.texts]
        names, encoding_notes = encoding.choose_names(table, others, chosen.categorical)
        rows = learnt_from(table) if chosen.texts else None
        texts = tuple(text.learnt(table, name, rows) for name in chosen.texts)
        encoding_notes += [text.remark(each, request.selection.text) for each in texts]
        table = replace(table, reading=replace(table.reading, texts=texts))
    else:
        names, encoding_notes, texts = list(request.feature_names), [], table.reading.texts
    if not names and not texts:
        why = "".join(f"; {note}" for note in chosen.left_out)
        raise files.broken(table.file, f"no column is left for the features{why}")
    ids, id_notes = _ids(table, chosen.id, kept)
    return Dataset(
        features=Rows([_features(table, names, texts)]),
        target=target,
        feature_names=(*names, *(name for each in texts for name in each.feature_names)),
        ids=ids,
        source=request.source,
        notes=(
            *table.notes,
            *chosen.notes,
            *chosen.left_out,
            *missing_notes,
            *target_notes,
            *id_notes,
            *encoding_notes,
        ),
        pixels=_are_pixels(table, names) and not texts,
        image_shape=square_image_shape(len(names))
        if _are_pixels(table, names) and not texts
        else None,
        texts=_texts(table, texts) if texts and request.keep_texts else None,
        reading=table.reading,
        target_name=chosen.target,
        named=_named(table, chosen, request),
    )


def _as_table(table: Table, request: Request) -> Dataset:
    target, notes = None, tuple[str, ...]()
    if request.labels is not None:
        target, notes = labels.read(request, table.count, table)
    return Dataset(
        Rows([np.empty((table.count, 0), np.float32)]),
        target,
        None,
        None,
        request.source,
        (*table.notes, *notes),
        reading=table.reading,
        table=table,
    )


def _training_rows(table: Table, name: str | None, request: Request) -> Array | None:
    """Return the rows that will be learnt from; None where that is all or nobody said."""
    if request.training_rows is None:
        return None
    target, _ = _target(table, name, request)
    return None if target is None else request.training_rows(target)


def _features(table: Table, names: Sequence[str], texts: Sequence[TextColumn]) -> Any:
    numbers = encoding.matrix(table, names) if names else None
    if not texts:
        return numbers
    features = text.stacked(numbers, texts, table)
    return features if table.scratch is None else table.scratch.kept_rows(features)


def _texts(table: Table, texts: Sequence[TextColumn]) -> tuple[str, ...]:
    """Return the texts of each row; those of several columns one after the other."""
    parted = [table.texts(each.column).tolist() for each in texts]
    return tuple(" / ".join(row) for row in zip(*parted, strict=True))


def _are_pixels(table: Table, names: Sequence[str]) -> bool:
    return bool(table.images) and encoding.columns_used(names, table) <= table.images


def _named(table: Table, chosen: choice.Choice, request: Request) -> dict[str, tuple[str, ...]]:
    """Return the columns that name rows and that a model does not use, the one of `ids` first."""
    if request.feature_names is None:
        return {}  # in a fit every column that is left is a feature
    free = [
        name
        for name in table.names
        if name not in (*chosen.candidates, chosen.target, chosen.id)
        and _NAME_OF_ROWS.fullmatch(name)
    ]
    names = free if chosen.id is None else [chosen.id, *free]
    return {name: tuple(str(value) for value in table.texts(name).tolist()) for name in names}


def _ids(
    table: Table, name: str | None, kept: Array | None
) -> tuple[tuple[str, ...] | None, tuple[str, ...]]:
    if name is not None:
        ids = tuple(str(each) for each in table.texts(name).tolist())
        return ids, (f"rows are named by column {name!r}",)
    # Where rows were left out, the others keep their numbers.
    return (None if kept is None else tuple(str(row) for row in kept.tolist())), ()


def _target(
    table: Table, name: str | None, request: Request
) -> tuple[Array | None, tuple[str, ...]]:
    if name is None:
        return None, ()
    place = f"column {files.quoted(name)}"
    try:
        target = _labels(table, name, lambda row: f"{table.place(row)}, {place}")
    except checks.InputError as error:
        if request.need_target:
            raise
        return None, (f"the target is not used: {error}",)
    return target, ()


def _labels(table: Table, name: str, place: Callable[[int], str]) -> Array:
    found = columns.raw_labels(table, name)
    if table.typed:
        return targets.as_target(found, table.file, place, table.reading)
    return targets.from_spelling(found, table.file, place, table.reading)
