"""``bridle evaluate --slices``: the columns that part the samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bridle import checks, data
from bridle.data import Reading, columns, files
from bridle.data.columns import Table
from bridle.data.options_used import STANDARD_INPUT

# Of more values than this a column names the samples rather than parts them.
MOST_VALUES = 100
_MISSING = "(missing)"


def slices_of(
    source: str, table: Table | None, names: Sequence[str], used: Sequence[str] = ()
) -> dict[str, list[str]]:
    """Return the values of columns, as they are spelled; ``used`` are answers, and part nothing."""
    if not names:
        return {}
    if table is None:
        raise checks.InputError(f"--slices: expected a table of columns, {source} is none")
    found = {}
    for name in names:
        if name not in table.names:
            raise columns.absent("--slices", table, name)
        if name in used:
            raise checks.InputError(f"--slices: column {files.quoted(name)} holds answers")
        values = [str(each) or _MISSING for each in table.texts(name).tolist()]
        number = len(set(values))
        if number > MOST_VALUES:
            raise checks.InputError(
                f"--slices: expected a column of at most {MOST_VALUES} different values, "
                f"{files.quoted(name)} has {number:,}"
            )
        found[name] = values
    return found


def slices_in_data(
    source: str,
    names: Sequence[str],
    count: int,
    reading: Reading,
    known: Mapping[str, Any],
) -> dict[str, list[str]]:
    """Return columns of the data that a model is judged on, whatever it makes of them."""
    if not names:
        return {}
    if source == STANDARD_INPUT:
        raise checks.InputError("--slices: expected a file with --model, found standard input")
    table = data.load(source, as_table=True, reading=reading, fitted=known["fitted"]).table
    found = slices_of(source, table, names)
    if table is not None and table.count != count:
        raise checks.InputError(
            f"--slices: {source} has {table.count:,} rows, of which {count:,} are judged; expected "
            f"none to be left out"
        )
    return found
