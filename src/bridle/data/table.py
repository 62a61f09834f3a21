"""A table becomes a dataset: one column the target, one the names of rows, the others features."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy.typing as npt

from bridle import checks
from bridle.data import choice, columns, encoding, files, missing, targets
from bridle.data.columns import Table
from bridle.data.dataset import Dataset
from bridle.data.parts import Request, refuse_labels, refuse_reading
from bridle.rows import Rows

Array = npt.NDArray[Any]


def to_dataset(tables: Sequence[Table], request: Request) -> Dataset:
    """Choose target, names of rows and features among the columns; tables lie below each other."""
    refuse_labels(request, "a table")
    refuse_reading(request, "a table", "index_base")
    table = columns.joined(tables)
    if table.count == 0:
        raise files.broken(table.file, "expected at least one row, found none")
    chosen = choice.choose(table, request)
    table, missing_notes, kept = missing.settled(table, chosen, request)
    target, target_notes = _target(table, chosen.target, request)
    if request.feature_names is None:
        names, encoding_notes = encoding.choose_names(table, chosen.candidates, chosen.categorical)
    else:
        names, encoding_notes = list(request.feature_names), []
    if not names:
        why = "".join(f"; {note}" for note in chosen.left_out)
        raise files.broken(table.file, f"no column is left for the features{why}")
    ids, id_notes = _ids(table, chosen.id, kept)
    return Dataset(
        features=Rows([encoding.matrix(table, names)]),
        target=target,
        feature_names=tuple(names),
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
        reading=table.reading,
    )


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
    if table.typed:
        return targets.as_target(table.read(name), table.file, place, table.reading)
    return targets.from_spelling(table.texts(name), table.file, place, table.reading)
