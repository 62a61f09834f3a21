"""Tables of text (``.csv``, ``.tsv``, ``.txt``): pandas reads them, after a scan of their lines.

The scan is needed because pandas fills short lines up with missing values. It reads the same
dialect line by line, and can say on which line of the file a row begins. Every cell is read as a
text; what a column holds is decided once, over all the files of a table.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bridle import checks
from bridle.data import files, numbers
from bridle.data.cells import CELLS_AT_A_TIME, Cells, FrameCells, KeptCells
from bridle.data.columns import Table, read_once, same_columns
from bridle.data.dataset import Dataset
from bridle.data.dialect import Layout, Lines, layout_of
from bridle.data.parts import Request
from bridle.data.reading import BLANKS, Reading
from bridle.data.scratch import Scratch
from bridle.data.shards import shard_of_row
from bridle.data.table import to_dataset

Array = npt.NDArray[Any]

_KIND = "a table of text"
_LOOKED_AT = 1000  # rows of each file, for the decimal sign


@dataclass(frozen=True)
class _Shard:
    """One file: its layout, and its cells as texts, column by column."""

    layout: Layout
    names: tuple[str, ...]
    cells: Cells
    places: dict[str, int]
    notes: tuple[str, ...]

    def column(self, name: str, most: int | None = None) -> Array:
        """Return the cells of a column as they stand in the file, the first ones or all."""
        return self.cells.column(self.places[name], most)


def load_delimited(paths: Sequence[Path], request: Request) -> Dataset:
    """Load tables of text, with a header or without, packed or not, as one table."""
    likely, shards = request.likely, list[_Shard]()
    for path in paths:
        shard = _shard(path, request, likely)
        shards.append(shard)
        layout = shard.layout
        likely = replace(
            likely,
            delimiter=layout.delimiter,
            header=layout.header,
            encoding=layout.encoding,
            comment=layout.comment,
        )
    return to_dataset([_joined(shards, request, request.told.over(likely))], request)


def _shard(path: Path, request: Request, likely: Reading) -> _Shard:
    checks.require("pandas", extra="cli", purpose=f"reading {path}")
    with files.parsing(path, _KIND):
        layout = layout_of(path, request.told, likely)
        count, comments, notes = _scan(layout, told=request.told.comment is not None)
        cells = _cells(layout, comments, request.scratch)
    if cells.count != count:
        raise files.broken(path, f"{count} or {cells.count} rows? a line holds nothing but quotes")
    if cells.has_gaps:  # pandas saw fewer fields than the scan
        raise files.broken(path, f"cannot be read as {_KIND}: a line has too few fields")
    names, more = _named_columns(layout, cells)
    places = {name: layout.names.index(name) for name in names}
    return _Shard(layout, names, cells, places, (*layout.notes, *notes, *more))


def _scan(layout: Layout, *, told: bool) -> tuple[int, frozenset[int], tuple[str, ...]]:
    """Return the number of rows and the lines of comment; refuse rows of another width."""
    path, width, count = layout.path, len(layout.names), 0
    with files.open_text(path, layout.encoding) as stream:
        lines = layout.lines(stream)
        try:
            for record in lines.records():
                if record.line <= layout.first:
                    continue
                count += 1
                if len(record.fields) != width:
                    which = "few" if len(record.fields) < width else "many"
                    found = f"expected {width}, found {len(record.fields)}"
                    raise files.broken(path, f"line {record.line}: too {which} fields, {found}")
        except UnicodeDecodeError as error:
            raise files.undecodable(path, layout.encoding) from error
    if count == 0:
        raise files.broken(path, "no rows below the header")
    comments = [number for number, _ in lines.comments if number > layout.first]
    if not told:
        _check_comments(layout, lines.comments)
    notes: tuple[str, ...] = ()
    if lines.comments:
        notes = (f"comments are left out: {len(lines.comments)}, from line {lines.comments[0][0]}",)
    return count, frozenset(comments), notes


def _check_comments(layout: Layout, comments: list[tuple[int, str]]) -> None:
    """Refuse what begins as a comment and has the fields of a row."""
    for number, text in comments:
        if number <= layout.first or len(layout.names) == 1:
            continue
        rows = Lines(layout.path, [text], layout.delimiter, "").records()
        try:
            fields = [len(record.fields) for record in rows]
        except checks.InputError:
            continue
        if fields == [len(layout.names)]:
            raise files.broken(
                layout.path,
                f"line {number} begins with '{layout.comment}': a comment, or a row? "
                f"--comment '{layout.comment}' or --comment '' tells",
            )


class _Rows(io.TextIOBase):
    """The lines of a file that hold rows, as a stream for pandas."""

    def __init__(self, lines: Iterable[str], layout: Layout, comments: frozenset[int]) -> None:
        self._lines = self._rows(lines, layout, comments)

    @staticmethod
    def _rows(lines: Iterable[str], layout: Layout, comments: frozenset[int]) -> Iterator[str]:
        for number, line in enumerate(lines, 1):
            if number > layout.first and number != layout.skipped and number not in comments:
                yield line

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1, /) -> str:
        taken, length = list[str](), 0
        for line in self._lines:
            taken.append(line)
            length += len(line)
            if size is not None and 0 <= size <= length:
                break
        return "".join(taken)


def _cells(layout: Layout, comments: frozenset[int], scratch: Scratch | None) -> Cells:
    import pandas

    blanks = layout.delimiter == BLANKS
    rows = None if scratch is None else max(1, CELLS_AT_A_TIME // len(layout.names))
    with files.open_text(layout.path, layout.encoding) as stream:
        parsed = pandas.read_csv(
            _Rows(stream, layout, comments),
            sep=r"\s+" if blanks else layout.delimiter,
            header=None,
            names=range(len(layout.names)),
            index_col=False,
            dtype=str,
            # A missing value shall be seen with its text, not become a NaN.
            na_filter=False,
            skipinitialspace=not blanks,
            low_memory=False,
            chunksize=rows,
        )
        return FrameCells(parsed) if scratch is None else KeptCells(parsed, scratch)


def _named_columns(layout: Layout, cells: Cells) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names of the columns that can be used, and remarks on the others."""
    names, notes = list[str](), list[str]()
    for place, name in enumerate(layout.names):
        if name:
            names.append(name)
        elif place == 0:
            # What `DataFrame.to_csv` writes: the row numbers, under no name.
            notes.append("the first column has no name: not used")
        elif not any(cell.strip() for cell in cells.column(place).tolist()):
            # A delimiter at the end of every line.
            notes.append(f"column {place + 1} has no name and is empty: not used")
        else:
            raise files.broken(
                layout.path, f"line {layout.first}: column {place + 1} of the header has no name"
            )
    return tuple(names), tuple(notes)


def _joined(shards: Sequence[_Shard], request: Request, reading: Reading) -> Table:
    """Return one table of all the files, with one set of types."""
    first = shards[0]
    for shard in shards[1:]:
        same_columns(str(shard.layout.path), shard.names, str(first.layout.path), first.names)
    counts = [shard.cells.count for shard in shards]
    shard_of = shard_of_row(counts)

    def place(row: int) -> str:
        shard, own_row = shard_of(row)
        layout = shards[shard].layout
        return f"{layout.path}: line {_line(layout, own_row)}"

    decimal, notes = _decimal(shards, reading)
    reading = replace(reading, decimal=decimal)

    def cells(name: str) -> Array:
        found = np.concatenate([shard.column(name) for shard in shards])
        if request.scratch is not None:
            request.scratch.release()
        return found

    def read(name: str) -> Array:
        found = cells(name)
        typed = numbers.whole_column(found, reading)  # blanks around a number do not matter to it
        return _stripped(found) if typed is None else typed

    shown = (f"{len(shards)} shards, {first.layout.path} first",) if len(shards) > 1 else ()
    return Table(
        file=str(first.layout.path),
        names=first.names,
        count=sum(counts),
        read=read_once(lambda name: [read(name)], request.scratch),
        texts=lambda name: _stripped(cells(name)),
        place=place,
        typed=False,
        reading=reading,
        notes=(*shown, *first.notes, *notes),
        chosen_by_user=request.chooses_columns,
        scratch=request.scratch,
    )


def _stripped(cells: Array) -> Array:
    found = np.empty(len(cells), object)
    found[:] = [cell.strip() for cell in cells.tolist()]
    return found


def _decimal(shards: Sequence[_Shard], reading: Reading) -> tuple[str, tuple[str, ...]]:
    """Return the decimal sign; where rows further down write another, they are no numbers."""
    if reading.decimal is not None:
        return reading.decimal, ()
    if reading.thousands == ".":
        return ",", ()
    columns = []
    for name in shards[0].names:
        cells = [cell for shard in shards for cell in shard.column(name, _LOOKED_AT).tolist()]
        known = (cell.strip() for cell in dict.fromkeys(cells) if not reading.is_missing(cell))
        columns.append(list(known))
    if reading.thousands != "," and numbers.writes_decimal_comma(columns):
        return ",", ("numbers have a decimal comma (--decimal . tells otherwise)",)
    return ".", ()


def _line(layout: Layout, row: int) -> int:
    """Return the line of the file on which a row begins."""
    with files.open_text(layout.path, layout.encoding) as stream:
        records = layout.lines(stream).records()
        rows = (record.line for record in records if record.line > layout.first)
        return next(itertools.islice(rows, row, None))
