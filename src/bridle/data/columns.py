"""A table: named columns of one length, each read when asked for, and what they hold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from bridle import checks
from bridle.data import files, targets

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Table:
    """Columns of one file, or of several below each other.

    ``read`` returns one column: numbers or booleans ``(N,)``, an embedding ``(N, k)``, or texts
    (as objects). ``place`` says where a row stands. Where the file declares no types (``typed`` is
    false), a column of texts may be one of numbers with a fault in it. The numbers of ``images``
    are pixels in bytes.
    """

    file: str
    names: tuple[str, ...]
    count: int
    read: Callable[[str], Array]
    place: Callable[[int], str]
    typed: bool
    notes: tuple[str, ...] = ()
    images: frozenset[str] = frozenset()

    def fault(self, row: int, name: str, what: str) -> checks.InputError:
        """Return the error of one cell."""
        return files.broken(f"{self.place(row)}, column {files.quoted(name)}", what)


def joined(tables: Sequence[Table]) -> Table:
    """Lay tables below each other; all must have the columns of the first, in any order."""
    first = tables[0]
    if len(tables) == 1:
        return first
    for table in tables[1:]:
        odd = set(table.names).symmetric_difference(first.names)
        if odd:
            raise files.broken(
                table.file, f"its columns differ from {first.file}: {files.listing(sorted(odd))}"
            )
    starts = np.cumsum([0, *(table.count for table in tables)])

    def place(row: int) -> str:
        which = int(np.searchsorted(starts, row, side="right")) - 1
        return tables[which].place(row - int(starts[which]))

    return Table(
        file=first.file,
        names=first.names,
        count=int(starts[-1]),
        read=cache(lambda name: _joined_column(tables, name)),
        place=place,
        typed=first.typed,
        notes=(f"{len(tables)} shards, {first.file} first", *first.notes),
        images=first.images,
    )


def _joined_column(tables: Sequence[Table], name: str) -> Array:
    columns = [table.read(name) for table in tables]
    for table, column in zip(tables, columns, strict=True):
        if kind_of(column) == kind_of(columns[0]):
            continue
        if not table.typed:
            # Of two files one holds numbers: the other says which of its texts is at fault.
            numbers_only(tables[0] if columns[0].dtype == object else table, name)
        raise files.broken(
            table.file,
            f"column {files.quoted(name)} holds {kind_of(column)}, in {tables[0].file} "
            f"{kind_of(columns[0])}",
        )
    return np.concatenate(columns)


def kind_of(column: Array) -> str:
    """Return what a column holds, in words."""
    if column.dtype == object:
        return "texts"
    return "numbers" if column.ndim == 1 else f"{column.shape[1]} numbers a row"


def numbers_or_texts(table: Table, name: str) -> Array:
    """Return a column for features, refusing its first missing value or text among numbers.

    A column that declares no type is one of numbers if most of its values are.
    """
    column = table.read(name)
    if column.dtype != object:
        return _finite(table, name, column)
    values, codes = targets.distinct(column)
    if table.typed:
        return _without_empty(table, name, values, codes, column)
    numbers = np.array([_number(text) for text in values])
    missing = np.array([targets.is_missing(text) for text in values])
    counts = np.bincount(codes)
    as_numbers = counts[~np.isnan(numbers)].sum()
    as_texts = counts[np.isnan(numbers) & ~missing].sum()
    if as_texts >= as_numbers and as_texts:
        return _without_empty(table, name, values, codes, column)
    return _all_numbers(table, name, numbers[codes])


def numbers_only(table: Table, name: str) -> Array:
    """Return a column that a model knows as numbers; a text in it is a fault."""
    column = numbers_or_texts(table, name)
    if column.dtype != object:
        return column
    if table.typed:
        raise files.broken(
            table.file, f"column {files.quoted(name)}: expected numbers, found texts"
        )
    values, codes = targets.distinct(column)
    return _all_numbers(table, name, np.array([_number(text) for text in values])[codes])


def _all_numbers(table: Table, name: str, numbers: Array) -> Array:
    bad = np.isnan(numbers)
    if bad.any():
        row = int(np.argmax(bad))
        text = table.read(name)[row]
        if targets.is_missing(text):
            found = f" ({files.quoted(text)})" if text.strip() else ""
            raise table.fault(row, name, f"missing value{found}")
        raise table.fault(row, name, f"text in a numeric column: {files.quoted(text)}")
    return _finite(table, name, numbers)


def _finite(table: Table, name: str, column: Array) -> Array:
    if column.dtype.kind == "f" and not np.isfinite(column).all():
        bad = ~np.isfinite(column).reshape(len(column), -1).all(axis=1)
        row = int(np.argmax(bad))
        found = "NaN" if np.isnan(column[row]).any() else "infinity"
        raise table.fault(row, name, f"expected a finite number, found {found}")
    return column


def _without_empty(
    table: Table, name: str, values: Sequence[str], codes: Array, column: Array
) -> Array:
    empty = np.array([not text.strip() for text in values])[codes]
    if empty.any():
        raise table.fault(int(np.argmax(empty)), name, "missing value")
    return column


def _number(text: str) -> float:
    # NaN stands for "no number": a text that says NaN is a missing value, not a number either.
    try:
        return float("nan") if "_" in text else float(text)
    except ValueError:
        return float("nan")
