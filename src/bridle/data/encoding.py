"""Columns of a table become columns of the feature matrix.

A numeric column is itself, a text column one indicator ``column=value`` for each of its values,
an embedding ``column[0], column[1], …``. A fit chooses the names; a prediction is given them and
must fill exactly these.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from bridle.data import columns, files, numbers, targets
from bridle.data.columns import Table

Array = npt.NDArray[Any]

# How many values a text column may have, each of which becomes a column of the matrix: not so many
# that most of them are seen in a few rows only.
MOST_VALUES, _FEW_VALUES, _ROWS_A_VALUE = 100, 10, 4

# Numbers of the matrix that are made at a time, where it is not made in memory.
_FILLED_NUMBERS = 2**22

_DATE = re.compile(
    r"[0-9]{1,4}[-/.][0-9]{1,2}[-/.][0-9]{1,4}|[0-9]{1,2}:[0-9]{2}"
    r"|[0-9]{1,2}[-/. ]+[A-Za-z]{3,9}[-/., ]+[0-9]{2,4}|[A-Za-z]{3,9}[-/. ][0-9]{1,2},? [0-9]{2,4}"
)
_MEASURE = re.compile(r"[+-]?[0-9]+([.,][0-9]+)?\s*[A-Za-zµ°/²³]{1,6}")
_ENTRY = re.compile(r"(.*)\[(0|[1-9][0-9]{0,8})\]", re.DOTALL)


@dataclass
class Use:
    """What becomes of one column: itself, the entries or the values at places of the matrix."""

    column: str
    whole: int | None = None
    entries: dict[int, int] = field(default_factory=dict)
    values: dict[str, int] = field(default_factory=dict)


def resolve(feature_names: Sequence[str], table_names: Sequence[str], file: str) -> dict[str, Use]:
    """Return for each column of a table that a model needs what it is needed for."""
    _refuse_twice(feature_names, "feature_names")
    known, uses = set(table_names), dict[str, Use]()
    for place, name in enumerate(feature_names):
        splits = [
            name[:at] for at, letter in enumerate(name) if letter == "=" and name[:at] in known
        ]
        entry = _ENTRY.fullmatch(name)
        if name in known:
            uses.setdefault(name, Use(name)).whole = place
        elif splits:
            column = splits[0]
            uses.setdefault(column, Use(column)).values[name[len(column) + 1 :]] = place
        elif entry and entry[1] in known:
            uses.setdefault(entry[1], Use(entry[1])).entries[int(entry[2])] = place
        else:
            raise columns.needed(file, _column_of(name), table_names)
    for use in uses.values():
        if (use.whole is not None) + bool(use.entries) + bool(use.values) > 1:
            # "a" is there and "a=b" is not: taking the latter for a value of "a" would be wrong.
            raise files.broken(
                file,
                f"column {files.quoted(use.column)} is needed both as it is and in parts: "
                "is another column missing?",
            )
    return uses


def columns_used(feature_names: Sequence[str], table: Table) -> set[str]:
    """Return the columns of a table that features of these names are made of."""
    return set(resolve(feature_names, table.names, table.file))


def choose_names(
    table: Table, candidates: Sequence[str], categorical: Sequence[str] = ()
) -> tuple[list[str], list[str]]:
    """Return the feature names that the columns of a table get in a fit, and remarks."""
    names, notes = list[str](), list[str]()
    for column in candidates:
        asked = column in categorical
        content = (columns.texts_only if asked else columns.numbers_or_texts)(table, column)
        if content.dtype == object:
            values = _values(table, column, content, asked=asked)
            _tell_apart(table, column)
            names += [f"{column}={value}" for value in values]
            notes.append(f"text column {column!r} became {len(values)} one-hot columns")
        elif content.ndim == 2:
            names += [f"{column}[{entry}]" for entry in range(content.shape[1])]
            if column in table.images:
                notes.append(f"the images of column {column!r} became {content.shape[1]} columns")
        else:
            names.append(column)
    _refuse_twice(names, table.file)
    return names, notes


def matrix(table: Table, feature_names: Sequence[str]) -> Array:
    """Return the features ``(N, D)`` with exactly these columns, in this order."""
    uses = resolve(feature_names, table.names, table.file)
    fillings = [_filling(table, use) for use in uses.values()]
    only = next(iter(uses.values()))
    if list(only.entries.values()) == list(range(len(feature_names))):
        embedding = fillings[0].content
        if list(only.entries) == list(range(embedding.shape[1])):
            return embedding  # the whole of one embedding, as it lies there
    dtypes = [each.content.dtype for each in fillings if each.shares is None]
    shape = table.count, len(feature_names)
    dtype = np.result_type(np.float32, *dtypes)
    if table.scratch is None:
        return _filled(fillings, slice(0, table.count), shape, dtype)
    step = max(1, _FILLED_NUMBERS // len(feature_names))
    starts = range(0, table.count, step)
    blocks = (
        _filled(fillings, slice(begin, min(begin + step, table.count)), shape, dtype)
        for begin in starts
    )
    return table.scratch.filled(shape, dtype, blocks)


class _Filling(NamedTuple):
    """What becomes of one column, read and found to be right.

    Of numbers ``content`` are these; of values that become indicators, the number of each row's
    among ``places``, -1 where it is missing and gets ``shares`` of all of them.
    """

    content: Array
    places: Array
    entries: list[int]  # of numbers in lists
    shares: list[float] | None = None

    def fill(self, block: Array, rows: slice) -> None:
        """Write what becomes of some rows."""
        content = self.content[rows]
        if self.shares is not None:
            block[np.ix_(content < 0, self.places)] = self.shares
            known = np.flatnonzero(content >= 0)
            block[known, self.places[content[known]]] = 1
        elif self.entries:
            block[:, self.places] = content[:, self.entries]
        else:
            block[:, self.places[0]] = content


def _filled(
    fillings: Sequence[_Filling], rows: slice, shape: tuple[int, int], dtype: np.dtype[Any]
) -> Array:
    block = np.zeros((rows.stop - rows.start, shape[1]), dtype)
    for each in fillings:
        each.fill(block, rows)
    return block


def _filling(table: Table, use: Use) -> _Filling:
    """Read a column, whose numbers need not stay in memory while the next is read."""
    content = _content(table, use)
    if use.values:
        filling = _one_hot(table, use, content)
    else:
        whole = [] if use.whole is None else [use.whole]
        places = np.array(whole or [*use.entries.values()], np.intp)
        filling = _Filling(content, places, list(use.entries))
    if table.scratch is not None:
        filling = filling._replace(content=table.scratch.kept(filling.content))
    return filling


def _content(table: Table, use: Use) -> Array:
    if use.whole is not None:
        content = columns.numbers_only(table, use.column)
        if content.ndim == 2:
            raise files.broken(
                table.file,
                f"column {files.quoted(use.column)}: expected one number a row, found a list",
            )
        return content
    if use.values:
        return columns.texts_only(table, use.column)
    content = columns.numbers_or_texts(table, use.column)
    width = max(use.entries) + 1
    # A subset of the entries may be meant; all up to one that is not the last is another embedding.
    whole = len(use.entries) == width
    if content.ndim != 2 or content.shape[1] < width or (whole and content.shape[1] > width):
        found = columns.kind_of(content)
        raise files.broken(
            table.file,
            f"column {files.quoted(use.column)}: expected {width} numbers a row, found {found}",
        )
    return content


def _one_hot(table: Table, use: Use, content: Array) -> _Filling:
    missing = content == ""
    shares = [0.0] * len(use.values)
    if missing.any():  # the mean of a one-hot column is how often its value occurred in the fit
        found = [table.reading.fills.get(f"{use.column}={value}") for value in use.values]
        shares = [share for share in found if share is not None]
        if len(shares) < len(found):
            row = int(np.argmax(missing))
            raise table.fault(
                row, use.column, "missing value, and the fit kept no mean (--na mean)"
            )
    rows = np.flatnonzero(~missing)
    values, codes = targets.distinct(content[rows])
    unseen = np.array([value not in use.values for value in values], np.bool_)[codes]
    if unseen.any():
        row = int(rows[np.argmax(unseen)])
        raise table.fault(row, use.column, _unseen(content[row], use))
    number_of = {value: number for number, value in enumerate(use.values)}
    number_of_row = np.full(len(content), -1, np.int32)
    number_of_row[rows] = np.array([number_of[value] for value in values], np.int32)[codes]
    return _Filling(number_of_row, np.array([*use.values.values()], np.intp), [], shares)


def _unseen(value: str, use: Use) -> str:
    known = files.listing(use.values)
    return f"{files.quoted(value)} is not among the values of the fit, {known}"


def _values(table: Table, column: str, content: Array, *, asked: bool) -> list[str]:
    values = sorted(value for value in targets.distinct(content)[0] if value)
    place = f"text column {files.quoted(column)}"
    if not asked:
        _refuse_marks(table, column, content)
    enough = MOST_VALUES if asked else table.count // _ROWS_A_VALUE
    most = min(MOST_VALUES, max(_FEW_VALUES, enough))
    if len(values) > most:
        raise files.broken(
            table.file,
            f"{place} has {len(values)} different values in {table.count} rows, at most {most} "
            f"can become one-hot columns: {_cause(values)}; --text {column} reads their words "
            f"instead, --drop {column} leaves it out",
        )
    return values


def _refuse_marks(table: Table, column: str, content: Array) -> None:
    """Refuse a column whose texts are numbers with marks: as one-hot columns they mean little."""
    values, codes = targets.distinct(content)
    marks = [numbers.mark_of(text) for text in values]
    plain = ~np.isnan(numbers.plain_numbers(values, table.reading))[codes]
    marked = np.array([mark is not None for mark in marks])[codes] & ~plain
    if not marked.any() or 2 * (marked | plain).sum() <= len(content):
        return
    row = int(np.argmax(marked))
    text = content[row]
    told = "--thousands , or --decimal , tells, " if "," in text else ""
    raise table.fault(
        row,
        column,
        f"{files.quoted(text)} is a number but for its spelling: {marks[codes[row]]}; write plain "
        f"numbers, or {told}--categorical {column} takes each as a category, --drop {column} "
        "leaves it out",
    )


def _cause(values: Sequence[str]) -> str:
    """Return what a column of so many different texts may be, in words."""
    dates = sum(_DATE.match(value) is not None for value in values)
    if 2 * dates > len(values):
        return "they look like dates, which have to be made numbers first"
    if 2 * sum(_MEASURE.fullmatch(value) is not None for value in values) > len(values):
        return "they look like numbers with units, which have to be made plain numbers first"
    if 2 * sum(len(value.split()) > 2 for value in values) > len(values):
        return "they look like free text"
    return "they look like names or codes of single rows"


def _tell_apart(table: Table, column: str) -> None:
    """Refuse ``a`` and ``a=b`` side by side: ``a=b=c`` could be a value of either."""
    other = next((name for name in table.names if name.startswith(f"{column}=")), None)
    if other is not None:
        raise files.broken(
            table.file,
            f"columns {files.quoted(column)} and {files.quoted(other)} cannot be told apart once "
            "the first is one-hot; rename one",
        )


def _refuse_twice(names: Sequence[str], file: str) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise files.broken(file, f"two columns are called {files.quoted(twice[0])}")


def _column_of(name: str) -> str:
    entry = _ENTRY.fullmatch(name)
    return name.partition("=")[0] if "=" in name else entry[1] if entry else name
