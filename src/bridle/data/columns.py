"""A table: named columns of one length, each read when asked for, and what they hold."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from bridle import checks, mapped
from bridle.data import files, numbers, targets
from bridle.data.reading import NA_POLICIES, Reading
from bridle.data.scratch import Scratch
from bridle.data.shards import shard_of_row

Array = npt.NDArray[Any]

_ROWS_AT_A_TIME = 2**14  # of several columns, or one of lists

# What stands for a missing value among numbers, and is a value like others among texts.
_DOUBTFUL = frozenset(
    {"?", "-", "--", ".", "*", "none", "missing", "unknown", "n.a.", "na.", "nil"}
)


@dataclass(frozen=True)
class Table:
    """Columns of one file, or of several below each other.

    ``read`` returns one column: numbers or booleans ``(N,)``, an embedding ``(N, k)``, or texts
    (as objects). ``texts`` returns it as it is spelled, blanks around aside. ``place`` says where a
    row stands. Where the file declares no types (``typed`` is false), a column of texts may be one
    of numbers with a fault in it. The numbers of ``images`` are pixels in bytes. ``dates`` are no
    features: only their spelling can be asked for. Where columns are ``chosen_by_user``, advice may
    name the options for that.

    ``pieces`` are those that a column of one file is read in, where it has some: pieces of several
    files are laid below each other. With a ``scratch`` numbers lie there, not in memory.
    """

    file: str
    names: tuple[str, ...]
    count: int
    read: Callable[[str], Array]
    texts: Callable[[str], Array]
    place: Callable[[int], str]
    typed: bool
    reading: Reading = field(default_factory=Reading)
    notes: tuple[str, ...] = ()
    images: frozenset[str] = frozenset()
    dates: frozenset[str] = frozenset()
    chosen_by_user: bool = True
    pieces: Callable[[str], Iterable[Array]] | None = None
    scratch: Scratch | None = None

    def is_missing(self, text: str) -> bool:
        """Tell whether a text is none; where types are declared, only an empty one is."""
        return text.strip() == "" if self.typed else self.reading.is_missing(text)

    def is_missing_number(self, text: str) -> bool:
        """Tell whether a text among numbers stands for none, unless that was told otherwise."""
        doubtful = self.reading.na_spellings is None and text.strip().lower() in _DOUBTFUL
        return self.is_missing(text) or doubtful

    def fault(self, row: int, name: str, what: str) -> checks.InputError:
        """Return the error of one cell."""
        return files.broken(f"{self.place(row)}, column {files.quoted(name)}", what)


def read_once(
    pieces: Callable[[str], Iterable[Array]], scratch: Scratch | None
) -> Callable[[str], Array]:
    """Return what reads a column, whose pieces lie below each other, and remembers it.

    With a ``scratch``, numbers are written there a piece at a time; texts are read again each time.
    """
    known = dict[str, Array]()

    def read(name: str) -> Array:
        if name in known:
            if scratch is not None:
                scratch.is_read(known[name].nbytes)
            return known[name]
        found = iter(pieces(name))
        first = next(found)
        if scratch is not None and first.dtype != object:
            known[name] = scratch.joined(itertools.chain([first], found))
            return known[name]
        others = list(found)
        column = np.concatenate([first, *others]) if others else first
        if scratch is None:
            known[name] = column
        return column

    return read


def same_columns(file: str, names: Sequence[str], first: str, expected: Sequence[str]) -> None:
    """Refuse a shard that has other columns than the first one; their order does not matter."""
    odd = set(names).symmetric_difference(expected)
    if odd:
        raise files.broken(file, f"its columns differ from {first}: {files.listing(sorted(odd))}")


def absent(argument: str, table: Table, name: str) -> checks.InputError:
    """Return the error of an argument that names a column which is not there."""
    return checks.InputError(
        f"{argument}: {table.file} has no column {files.quoted(name)}, found "
        f"{files.listing(table.names)}{files.suggestion(name, table.names)}",
        argument=argument,
        expected=f"the column {files.quoted(name)}",
        found=files.listing(table.names),
    )


def needed(file: str, name: str, names: Sequence[str]) -> checks.InputError:
    """Return the error of a column that a model needs and that is not among ``names``."""
    meant = files.suggestion(name, names)
    return files.broken(file, f"column {files.quoted(name)} is missing, the model needs it{meant}")


def joined(tables: Sequence[Table]) -> Table:
    """Lay tables that declare their types below each other; all must have the first's columns."""
    first = tables[0]
    if len(tables) == 1:
        return first
    for table in tables[1:]:
        same_columns(table.file, table.names, first.file, first.names)
    shard_of = shard_of_row([table.count for table in tables])

    def place(row: int) -> str:
        shard, own_row = shard_of(row)
        return tables[shard].place(own_row)

    return Table(
        file=first.file,
        names=first.names,
        count=sum(table.count for table in tables),
        read=read_once(lambda name: _pieces(tables, name), first.scratch),
        texts=lambda name: np.concatenate([table.texts(name) for table in tables]),
        place=place,
        typed=first.typed,
        reading=first.reading,
        notes=(f"{len(tables)} shards, {first.file} first", *first.notes),
        images=first.images,
        dates=first.dates,
        chosen_by_user=first.chosen_by_user,
        scratch=first.scratch,
    )


def _pieces(tables: Sequence[Table], name: str) -> Iterator[Array]:
    """Yield a column of all tables piece by piece, all of the same kind."""
    kind = ""
    for table in tables:
        for piece in (table.pieces or _whole_column(table))(name):
            kind = kind or kind_of(piece)
            if kind_of(piece) != kind:
                raise files.broken(
                    table.file,
                    f"column {files.quoted(name)} holds {kind_of(piece)}, in {tables[0].file} "
                    f"{kind}",
                )
            yield piece


def _whole_column(table: Table) -> Callable[[str], Iterable[Array]]:
    return lambda name: [table.read(name)]


def taken(table: Table, rows: Array) -> Table:
    """Return some rows of a table; its columns are typed by what is left."""

    def texts(name: str) -> Array:
        return np.asarray(table.texts(name)[rows])

    def pieces(name: str) -> Iterator[Array]:
        if table.typed:
            column = table.read(name)
            step = len(rows) if table.scratch is None else _ROWS_AT_A_TIME
            for begin in range(0, len(rows), step):
                yield np.asarray(column[rows[begin : begin + step]])
            return
        found = texts(name)
        typed = numbers.whole_column(found, table.reading)
        yield found if typed is None else typed

    return replace(
        table,
        count=len(rows),
        read=read_once(pieces, table.scratch),
        texts=texts,
        place=lambda row: table.place(int(rows[row])),
    )


def side_by_side(found: Sequence[Array], scratch: Scratch | None) -> Array:
    """Return columns of numbers as one array ``(N, columns)``, in the scratch if there is one."""
    dtype = np.result_type(*[column.dtype for column in found])
    count = len(found[0])

    def block(rows: slice) -> Array:
        values = np.empty((rows.stop - rows.start, len(found)), dtype)
        for place, column in enumerate(found):
            values[:, place] = column[rows]
        return values

    if scratch is None:
        return block(slice(0, count))
    starts = range(0, count, _ROWS_AT_A_TIME)
    blocks = (block(slice(start, min(start + _ROWS_AT_A_TIME, count))) for start in starts)
    return scratch.filled((count, len(found)), dtype, blocks)


def raw_labels(table: Table, name: str) -> Array:
    """Return a column for labels: as it is spelled, where no types are declared, or it is dates."""
    return table.texts(name) if not table.typed or name in table.dates else table.read(name)


def kind_of(column: Array) -> str:
    """Return what a column holds, in words."""
    if column.dtype == object:
        return "texts"
    return "numbers" if column.ndim == 1 else f"{column.shape[1]} numbers a row"


def gaps(table: Table, name: str, *, as_texts: bool) -> Array:
    """Return for each row whether its value is missing; ``as_texts``: whatever it looks like."""
    spelled = as_texts and (not table.typed or name in table.dates)
    column = table.texts(name) if spelled else table.read(name)
    if column.dtype == object:
        among_numbers = not spelled and are_numbers(table, name)
        is_missing = table.is_missing_number if among_numbers else table.is_missing
        values, codes = targets.distinct(column)
        return np.array([is_missing(text) for text in values])[codes]
    if column.dtype.kind == "f":
        return _rows_with(np.isnan, column)
    return np.zeros(len(column), np.bool_)


def are_numbers(table: Table, name: str) -> bool:
    """Tell whether a column is one of numbers: one without types is if most of its values are."""
    column = table.read(name)
    if column.dtype != object:
        return column.ndim == 1
    if table.typed:
        return False
    values, codes = targets.distinct(column)
    found = ~np.isnan(_known_numbers(table, values))
    texts = ~found & [not table.is_missing_number(text) for text in values]
    counts = np.bincount(codes)
    as_numbers, as_texts = counts[found].sum(), counts[texts].sum()
    nothing_at_all = all(table.is_missing(text) for text in values)
    return bool(as_numbers > as_texts or nothing_at_all)


def numbers_or_texts(table: Table, name: str) -> Array:
    """Return a column for features, its missing values filled, or refused with the first row."""
    column = table.read(name)
    if column.dtype != object:
        return _finite(table, name, column)
    return numbers_only(table, name) if are_numbers(table, name) else texts_only(table, name)


def numbers_only(table: Table, name: str) -> Array:
    """Return a column that is known as one of numbers; a text in it is a fault."""
    column = table.read(name)
    if column.dtype != object:
        return _finite(table, name, column)
    if table.typed:
        raise files.broken(
            table.file, f"column {files.quoted(name)}: expected numbers, found texts"
        )
    return _finite(table, name, with_gaps(table, name))


def texts_only(table: Table, name: str) -> Array:
    """Return a column that is known as one of texts.

    One that is missing is filled or refused; where the mean stands in for it, it is empty.
    """
    content = table.texts(name)
    values, codes = targets.distinct(content)
    missing = np.array([table.is_missing(text) for text in values])[codes]
    if not missing.any():
        return content
    policy = table.reading.na
    if policy == "mean":
        return np.where(missing, "", content).astype(object)
    if policy is None or policy in NA_POLICIES:
        row = int(np.argmax(missing))
        raise table.fault(
            row, name, f"missing value{_shown(content[row])}{_advice(table, missing)}"
        )
    return np.where(missing, policy, content).astype(object)


def with_gaps(table: Table, name: str) -> Array:
    """Return a column of numbers with NaN where one is missing; a text in it is a fault."""
    column = table.read(name)
    if column.dtype != object:
        return column.astype(np.float64)
    values, codes = targets.distinct(column)
    found = _known_numbers(table, values)
    strange = np.isnan(found) & [not table.is_missing_number(text) for text in values]
    if strange.any():
        row = int(np.argmax(strange[codes]))
        raise table.fault(
            row, name, f"text in a numeric column: {_explained(column[row], table, name)}"
        )
    return np.asarray(found[codes])


def _known_numbers(table: Table, values: Sequence[str]) -> Array:
    """Return the numbers that texts are, 1 and 0 for true and false if there are no others."""
    known = [text for text in values if not table.is_missing_number(text)]
    truths = numbers.truths(known) if known else None
    if truths is None:
        return numbers.plain_numbers(values, table.reading)
    by_text = dict(zip(known, truths.tolist(), strict=True))
    return np.array([by_text.get(text, np.nan) for text in values], np.float64)


def _explained(text: str, table: Table, name: str) -> str:
    mark = numbers.mark_of(text)
    if mark is not None and "," in text:
        mark = f"{mark}: --decimal , or --thousands , tells"
    why = mark
    if why is None and table.chosen_by_user:
        why = f"--categorical {name} if the numbers are categories as well"
    return files.quoted(text) + (f" ({why})" if why else "")


def _finite(table: Table, name: str, column: Array) -> Array:
    if column.dtype.kind != "f":
        return column
    if column.ndim == 1:
        column = _filled(table, name, column)
    bad = _rows_with(_is_no_number, column)
    if bad.any():
        row = int(np.argmax(bad))
        found = "NaN" if np.isnan(column[row]).any() else "infinity"
        raise table.fault(row, name, f"expected a finite number, found {found}")
    return column


def _is_no_number(values: Array) -> Array:
    return np.logical_not(np.isfinite(values))


def _rows_with(test: Callable[[Array], Array], column: Array) -> Array:
    """Return for each row whether a test holds for it, or for one of its numbers."""
    if column.ndim == 1:
        return test(column)
    found = np.empty(len(column), np.bool_)
    for rows, block in mapped.blocks(column, _ROWS_AT_A_TIME):
        found[rows] = test(block).any(axis=1)
    return found


def _filled(table: Table, name: str, column: Array) -> Array:
    missing = np.isnan(column)
    if not missing.any():
        return column
    fill = _fill(table, name)
    if fill is not None:
        return np.where(missing, fill, column)
    if table.typed:
        return column
    row = int(np.argmax(missing))
    text = table.texts(name)[row]
    if table.reading.na == "mean":
        raise table.fault(row, name, "missing value, and the fit kept no mean (--na mean)")
    raise table.fault(row, name, f"missing value{_shown(text)}{_advice(table, missing)}")


def _fill(table: Table, name: str) -> float | None:
    policy = table.reading.na
    if policy == "mean":
        return table.reading.fills.get(name)
    if policy is None or policy in NA_POLICIES:
        return None
    number = numbers.plain_number(policy, table.reading)
    if not np.isfinite(number):
        raise files.broken(
            table.file,
            f"--na {files.quoted(policy)}: column {files.quoted(name)} holds numbers and has "
            "missing values, expected a number for them",
        )
    return number


def _shown(text: str) -> str:
    return f" ({files.quoted(text)})" if text.strip() else ""


def advice_on_missing(reading: Reading) -> str:
    """Return what can be told of missing values; nothing where they were told to be errors."""
    return "" if reading.na == "error" else "; --na drop, mean or a TEXT tells what to do"


def _advice(table: Table, missing: Array) -> str:
    count = int(missing.sum())
    in_all = f" (one of {count} in the column)" if count > 1 else ""
    if count == len(missing):
        return f"{in_all}, no row has a value; a fit leaves the column out by --drop"
    return f"{in_all}{advice_on_missing(table.reading)}"
