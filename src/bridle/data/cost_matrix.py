"""What each decision costs where each class is true: a small table of numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from bridle.data import files
from bridle.data.dialect import Lines, Record
from bridle.data.numbers import plain_number
from bridle.data.reading import Reading
from bridle.files import is_file

Array = npt.NDArray[Any]

_DELIMITERS = (",", ";", "\t", "|")
_MOST_BYTES = 10**8


class CostMatrix(NamedTuple):
    """Costs (C, A), rows in the order of the classes; None where the actions have no names."""

    costs: Array
    actions: tuple[str, ...] | None


def load_costs(path: Path, classes: Sequence[object]) -> CostMatrix:
    """Read what each action costs where each class is true.

    With names, one row more than there are classes: the first has the actions' names, all others
    begin with the class that is true, in any order. Without, one row of numbers for each class, in
    the order of the classes.

    Raises
    ------
    InputError
        Another number of rows, a class that is missing or unknown, a cell that is no number; with
        the line.
    """
    _check_file(path)
    rows = _rows(path)
    if len(rows) == len(classes) + 1:
        return _named(path, rows, [str(label) for label in classes])
    if len(rows) == len(classes):
        return CostMatrix(np.array([_numbers(path, row, row.fields) for row in rows]), None)
    count = len(classes)
    raise files.broken(
        path,
        f"expected a row of costs for each of the {count} classes, and perhaps one of names before "
        f"them, found {len(rows)} rows for {files.listing(map(str, classes))}",
    )


def _check_file(path: Path) -> None:
    """Refuse what is no file of text."""
    if not is_file(path):
        raise files.broken(path, "no such file (costs)")
    files.refuse_packed(path)
    if path.stat().st_size > _MOST_BYTES:
        raise files.broken(path, "expected a table of costs, found more than 100 MB")


def _rows(path: Path) -> list[Record]:
    """Return the rows, all of one width."""
    text = _text(path)
    delimiter = max(_DELIMITERS, key=text.partition("\n")[0].count)
    rows = list(Lines(path, text.splitlines(keepends=True), delimiter, "#").records())
    for row in rows:
        if len(row.fields) != len(rows[0].fields):
            found = f"{len(row.fields)} cells, expected {len(rows[0].fields)} as in the first row"
            raise files.broken(path, f"line {row.line}: {found}")
    return rows


def _text(path: Path) -> str:
    try:
        with files.open_text(path) as stream:
            return stream.read()
    except UnicodeDecodeError:
        raise files.undecodable(path) from None


def _named(path: Path, rows: Sequence[Record], classes: Sequence[str]) -> CostMatrix:
    actions = tuple(cell.strip() for cell in rows[0].fields[1:])
    if len(set(actions)) < len(actions) or "" in actions:
        raise files.broken(path, f"line {rows[0].line}: expected different names of actions")
    by_class: dict[str, list[float]] = {}
    for row in rows[1:]:
        name = row.fields[0].strip()
        if name not in classes or name in by_class:
            what = "a class that has a row already" if name in by_class else "no class"
            meant = files.suggestion(name, classes)
            raise files.broken(
                path,
                f"line {row.line}: {files.quoted(name)} is {what}, expected each of "
                f"{files.listing(classes)}{meant}",
            )
        by_class[name] = _numbers(path, row, row.fields[1:])
    costs = np.array([by_class[name] for name in classes]).reshape(len(classes), len(actions))
    if set(actions) == set(classes):  # decisions for a class, in the order of the classes
        costs = costs[:, [actions.index(name) for name in classes]]
        actions = tuple(classes)
    return CostMatrix(costs, actions)


def _numbers(path: Path, row: Record, cells: Sequence[str]) -> list[float]:
    found = []
    for cell in cells:
        text = cell.strip()
        number = plain_number(text, Reading())
        if math.isnan(number):
            number = plain_number(text, Reading(decimal=","))
        if not math.isfinite(number):
            raise files.broken(
                path, f"line {row.line}: expected a finite cost, found {files.quoted(text)}"
            )
        found.append(number)
    if not found:
        raise files.broken(path, f"line {row.line}: expected costs, found none")
    return found
