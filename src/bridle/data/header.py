"""Whether the first row of a table names its columns, and what they are called if none does."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from bridle.data import files
from bridle.data.numbers import plain_number
from bridle.data.reading import Reading

_NUMBER_AS_NAME = re.compile(r"[0-9]+([.,][0-9]{1,2})?")  # a year, a wavelength
_POINT, _COMMA = Reading(decimal="."), Reading(decimal=",")


class Header(NamedTuple):
    """The names of the columns, whether the file has them, the last line before the rows."""

    names: tuple[str, ...]
    in_file: bool
    first: int
    notes: tuple[str, ...] = ()


def recognised(
    file: str,
    lines: tuple[int, int],
    rows: list[list[str]],
    commented: tuple[int, list[str]] | None,
    told: bool | None,
) -> Header:
    """Recognise the names of a table's columns.

    Parameters
    ----------
    file : str
        Named in errors.
    lines : tuple of int
        The first and the last line of the first row.
    rows : list of list of str
        The fields of the first rows.
    commented : tuple of int and list of str, or None
        The last comment above the rows: its line, and what its fields would be.
    told : bool or None
        Whether the file has names, where the user or the model says so.
    """
    first, below = rows[0], [row for row in rows[1:] if len(row) == len(rows[0])]
    if told is not None:
        has_names: bool | None = told
        commented = None
    else:
        has_names = _are_names(first, below)
        if commented is not None and not _could_be_names(commented[1], rows):
            commented = None
        if commented is not None and has_names and not _above_numbers(first, below):
            has_names = None  # the names could be those of the comment
    if has_names is None:
        raise files.broken(
            file,
            f"line {lines[0]}: {files.listing(first, most=3)}: the names of the columns, or the "
            "first row? --header or --no-header tells",
        )
    if has_names:
        return Header(_checked(file, lines[0], first), True, lines[1])
    if commented is not None:
        line, names = commented
        said = f"the names of the columns stand in a comment, line {line}"
        return Header(_checked(file, line, names), True, lines[0] - 1, (said,))
    return _without_names(len(first), lines[0], told)


def completed(rows: Sequence[Sequence[str]]) -> list[str] | None:
    """Return a first row of names with the empty one that it lacks; None where it lacks none.

    As R writes tables, with row numbers under no name; or with a delimiter at the end of each row.

    >>> completed([["a", "b"], ["1", "0.5", "x"], ["2", "1.5", "y"]])
    ['', 'a', 'b']
    >>> completed([["a", "b"], ["0.5", "x", ""], ["1.5", "y", ""]])
    ['a', 'b', '']
    """
    first, below = list(rows[0] if rows else ()), rows[1:]
    if len(below) < 2 or any(len(row) != len(first) + 1 for row in below):
        return None
    if not any(row[-1].strip() for row in below):
        return [*first, ""]
    for start in (0, 1):
        numbers = [str(number) for number in range(start, start + len(below))]
        if [row[0].strip() for row in below] == numbers:
            return ["", *first]
    return None


def is_number(text: str) -> bool:
    """Tell whether a text is a number, with a decimal point or a decimal comma."""
    return not np.isnan(_number(text))


def _number(text: str) -> float:
    found = plain_number(text, _POINT)
    return plain_number(text, _COMMA) if np.isnan(found) else found


def _without_names(count: int, line: int, told: bool | None) -> Header:
    called = "c1" if count == 1 else f"c1 … c{count}"
    said = f"no header: line {line} is the first row, the columns are called {called}"
    said += "" if told is False else " (--header tells otherwise)"
    return Header(tuple(f"c{place}" for place in range(1, count + 1)), False, line - 1, (said,))


def _could_be_names(names: list[str], rows: list[list[str]]) -> bool:
    return len(names) == len(rows[0]) and bool(_are_names(names, rows))


def _are_names(first: list[str], rows: list[list[str]]) -> bool | None:
    """Tell whether a row names the columns of those below it; None where both could be."""
    if not rows:
        return True
    columns = list(zip(*rows, strict=True))
    numbers = [place for place, name in enumerate(first) if is_number(name)]
    texts = _texts(first)
    recurring = [place for place in texts if first[place] in columns[place]]
    if _above_numbers(first, rows):
        # But hardly a column is called 1.5, and none -0.72829: then that text is an odd value.
        odd = [first[place] for place in numbers if not first[place].isdigit()]
        if not all(_NUMBER_AS_NAME.fullmatch(name) for name in odd):
            return False
        return None if odd else True
    if numbers:
        return _numbers_are_names(first, columns, numbers, bool(recurring), bool(texts))
    if not recurring:
        return True
    return False if 2 * len(recurring) > len(texts) else None


def _texts(first: list[str]) -> list[int]:
    """Return the places of what is neither a number nor a sign of a missing value."""
    return [
        place
        for place, name in enumerate(first)
        if not is_number(name) and not Reading().is_missing(name) and name not in "?.-"
    ]


def _above_numbers(first: list[str], rows: list[list[str]]) -> bool:
    """Tell whether a text stands above numbers and nowhere among them."""
    columns = list(zip(*rows, strict=True))
    return any(
        first[place] not in columns[place] and _mostly_numbers(columns[place])
        for place in (_texts(first) if columns else [])
    )


def _numbers_are_names(
    first: list[str],
    columns: list[tuple[str, ...]],
    numbers: list[int],
    recurring: bool,
    texts: bool,
) -> bool | None:
    if recurring:
        return False
    plain = [first[place] for place in numbers]
    whole = all(name.isascii() and name.isdigit() for name in plain)
    if whole and len(plain) > 1:
        start = int(plain[0])
        if plain == [str(start + place) for place in range(len(plain))]:
            # As pandas calls the columns that have no names, 0, 1, 2, …; or years beside names.
            fractions = any("." in cell for place in numbers for cell in columns[place])
            expected = start == 0 or texts
            return True if expected and (len(plain) > 2 or fractions) else None
    if not all(_NUMBER_AS_NAME.fullmatch(name) for name in plain):
        return False
    steps = np.diff([_number(name) for name in plain])
    in_order = len(steps) > 0 and (np.all(steps > 0) or np.all(steps < 0))
    if not texts or not (in_order or (whole and len(plain) == 1)):
        return False  # numbers that are names (years, wavelengths) come in order
    return None


def _mostly_numbers(cells: Sequence[str]) -> bool:
    known = [cell for cell in cells if not Reading().is_missing(cell)]
    return 2 * sum(is_number(cell) for cell in known) > len(known)


def _checked(file: str, line: int, names: Sequence[str]) -> tuple[str, ...]:
    for place, name in enumerate(names, 1):
        if name and names.index(name) < place - 1:
            raise files.broken(
                file,
                f"line {line}: two columns are called {files.quoted(name)} (--no-header if this "
                "line is the first row)",
            )
    return tuple(names)
