"""Which column of a table is the target, which names the rows, and which can be features."""

from __future__ import annotations

import re
import shlex
from collections.abc import Container
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from bridle import checks
from bridle.data import columns, encoding, files, targets, text
from bridle.data.columns import Table
from bridle.data.parts import Request
from bridle.data.reading import Selection

Array = npt.NDArray[Any]

TARGET_NAMES = ("target", "label", "class", "y")

_MOST_CLASSES = 1000  # of a last column that nobody called the target
# pandas' own name for a column of row numbers that had none, then what others call them.
_UNNAMED = re.compile(r"unnamed: ?[0-9]+(\.[0-9]+)?|__index_level_[0-9]+__")
_INDEX_NAMES = frozenset(
    {"index", "level_0", "row", "rowid", "row_id", "rownum", "row_number", "#"}
)
# customer_id, userId; not "valid".
_ID_NAME = re.compile(r"(?:.*[\s_.-])?(?i:ids?|uuid|guid)|.*[a-z](?:Id|ID|UUID)")
_FEW_ROWS = 10  # of which a column could rise by one each by chance


@dataclass(frozen=True)
class Choice:
    """The roles of a table's columns, and remarks: how they were found, what is left out.

    Of the ``candidates`` to be features, ``categorical`` are categories whatever they look like,
    and ``texts`` become their words.
    """

    target: str | None
    id: str | None
    candidates: tuple[str, ...]
    notes: tuple[str, ...]
    left_out: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()


def choose(table: Table, request: Request) -> Choice:
    """Choose by what was told, by the names that a model knows, by the columns' own names."""
    request = replace(request, selection=_split(request.selection, table))
    _check_selection(table, request)
    if request.feature_names is not None:
        return _as_fitted(table, request)
    selection = request.selection
    numbering = _row_numbers(table, request)
    target, notes = _target_name(table, request, (), numbering)
    names_rows = _id_name(table, request, (), target)
    candidates = tuple(
        name
        for name in selection.columns or table.names
        if name not in (target, names_rows, *selection.drop)
        and (name not in numbering or name in selection.columns)
    )
    left_out = [name for name in numbering if name not in (target, names_rows, *candidates)]
    said = tuple(_note_on_numbering(table, name) for name in left_out)
    others = [name for name in candidates if name not in selection.categorical]
    texts = text.choose(table, others, selection.text)
    text.check_texts(table, texts)
    return Choice(target, names_rows, candidates, notes, said, selection.categorical, tuple(texts))


def _as_fitted(table: Table, request: Request) -> Choice:
    """Choose the columns that a model needs, and what may stand beside them."""
    uses = encoding.resolve(request.feature_names or (), table.names, table.file)
    texts = tuple(each.column for each in request.reading.texts)
    text.check_texts(table, texts)
    used = dict.fromkeys((*uses, *texts))
    target, notes = _target_name(table, request, used, [])
    categories = tuple(name for name, use in uses.items() if use.values)
    return Choice(
        target,
        _id_name(table, request, used, target),
        tuple(used),
        notes,
        categorical=categories,
        texts=texts,
    )


def _split(selection: Selection, table: Table) -> Selection:
    """Return a selection in which ``a,b`` is two columns, unless one is called so."""

    def split(names: tuple[str, ...]) -> tuple[str, ...]:
        parted = [[name] if name in table.names else name.split(",") for name in names]
        return tuple(name.strip() for part in parted for name in part)

    return Selection(
        drop=split(selection.drop),
        columns=split(selection.columns),
        keep=split(selection.keep),
        categorical=split(selection.categorical),
        text=split(selection.text),
    )


def is_id(name: str) -> bool:
    """Tell whether a column names the rows."""
    return name.lower() == "id"


def _check_selection(table: Table, request: Request) -> None:
    selection = request.selection
    for option, names in (
        ("--drop", selection.drop),
        ("--columns", selection.columns),
        ("--keep", selection.keep),
        ("--categorical", selection.categorical),
        ("--text", selection.text),
    ):
        for name in names:
            if name not in table.names:
                raise columns.absent(option, table, name)
            if name == request.target and option != "--keep":
                raise checks.InputError(
                    f"{option}: {files.quoted(name)} is the target",
                    argument=option,
                    expected="columns of features",
                    found=f"the target {files.quoted(name)}",
                )
    for option, names in (
        ("--keep", selection.keep),
        ("--categorical", selection.categorical),
        ("--text", selection.text),
    ):
        outside = set(names).difference(selection.columns)
        if selection.columns and outside:
            raise checks.InputError(
                f"{option}: {files.quoted(min(outside))} is not among --columns, which are the "
                "only ones to learn from",
                argument=option,
                expected="some of --columns",
                found=files.quoted(min(outside)),
            )
    for option, names, other, excluded in (
        ("--text", selection.text, "--categorical", selection.categorical),
        ("--columns", selection.columns, "--drop", selection.drop),
        ("--keep", selection.keep, "--drop", selection.drop),
        ("--categorical", selection.categorical, "--drop", selection.drop),
        ("--text", selection.text, "--drop", selection.drop),
    ):
        both = set(names) & set(excluded)
        if both:
            raise checks.InputError.of(
                option, expected=f"without {other}", found=f"{files.quoted(min(both))} in both"
            )


def _row_numbers(table: Table, request: Request) -> list[str]:
    """Return the columns that number or name the rows, but for those that are to be kept."""
    selection = request.selection
    chosen = (
        *(*selection.keep, *selection.categorical, *selection.text, *selection.drop),
        request.target,
    )
    free = [name for name in table.names if name not in chosen]
    return [name for name in free if _numbers_rows(table, name) or _names_rows(table, name)]


def _note_on_numbering(table: Table, name: str) -> str:
    what = "numbers" if _numbers_rows(table, name) else "names"
    return f"column {name!r} {what} the rows: not used (--keep {shlex.quote(name)} overrides)"


def _names_rows(table: Table, name: str) -> bool:
    """Tell whether a column is called as identifiers are, and has another value in each row."""
    if is_id(name) or table.count < _FEW_ROWS or not _ID_NAME.fullmatch(name):
        return False
    values, _ = targets.distinct(table.texts(name))
    return len(values) == table.count and not any(map(table.is_missing, values))


def _numbers_rows(table: Table, name: str) -> bool:
    """Tell whether a column holds 0, 1, 2, … in order, or is called as an index and has no twins.

    Learnt from, such a column would tell in which order the rows came: sorted by class, it would
    tell the class.
    """
    unnamed = _UNNAMED.fullmatch(name.lower()) is not None
    called_so = unnamed or name.lower() in _INDEX_NAMES
    if is_id(name) or (table.count < _FEW_ROWS and not called_so):
        return False
    try:
        column = table.read(name)
    except checks.InputError:  # told where the column is used, if it is
        return False
    if column.ndim != 1 or column.dtype.kind not in "iuf" or not np.isfinite(column).all():
        return False
    if not np.all(column == np.trunc(column)):
        return False
    if called_so and len(np.unique(column)) == len(column):
        return True
    steps = np.diff(column)
    if called_so:  # shards that each begin anew
        return bool(np.all((steps == 1) | (column[1:] <= 1)))
    upwards = column[0] in (0, 1) and np.all(steps == 1)
    return bool(upwards or (column[-1] in (0, 1) and np.all(steps == -1)))


def _target_name(
    table: Table, request: Request, used: Container[str], numbering: list[str]
) -> tuple[str | None, tuple[str, ...]]:
    if request.target is not None:
        return _asked_for(table, request.target, request.need_target), ()
    selection = request.selection
    taken = (*selection.drop, *selection.keep, *selection.text)
    free = [name for name in table.names if name not in used and name not in taken]
    usual = request.usual_target
    if usual is not None and usual in free:
        return usual, (f"target: column {usual!r}, as in the fit",)
    named = [name for name in free if name.lower() in TARGET_NAMES]
    if len(named) > 1:
        raise files.broken(
            table.file, f"which column is the target? name it with --target: {files.listing(named)}"
        )
    if named:
        return named[0], (f"target: column {named[0]!r}",)
    if not request.need_target:
        return None, ()
    passed = (*numbering, *selection.columns, *selection.categorical)
    last = next((name for name in reversed(free) if not is_id(name) and name not in passed), None)
    if last is None:
        raise files.broken(table.file, "no column is left for the target; name one with --target")
    _check_last(table, last)
    return last, (f"target: column {last!r} (the last one)",)


def _asked_for(table: Table, name: str, needed: bool) -> str | None:
    if name in table.names:
        return name
    if not needed:
        return None
    raise columns.absent("target", table, name)


def _check_last(table: Table, name: str) -> None:
    column = columns.raw_labels(table, name) if name in table.dates else table.read(name)
    start = (
        f"no column is called {', '.join(TARGET_NAMES)}, and the last one, {files.quoted(name)},"
    )
    if column.ndim == 2 or (column.dtype.kind == "f" and np.any(column != np.trunc(column))):
        found = "fractional numbers" if column.ndim == 1 else "lists"
        raise files.broken(table.file, f"{start} holds {found}; name the target with --target")
    count = len(targets.distinct(table.texts(name))[0])
    if count > _MOST_CLASSES or 2 * count >= table.count:
        raise files.broken(
            table.file,
            f"{start} has {count} different values in {table.count} rows; "
            "name the target with --target",
        )


def _id_name(
    table: Table, request: Request, used: Container[str], target: str | None
) -> str | None:
    selection = request.selection
    taken = (target, *selection.keep, *selection.columns, *selection.text)
    found = [name for name in table.names if is_id(name) and name not in taken]
    found = [name for name in found if name not in used]
    return found[0] if found else None
