"""``.csv`` and ``.tsv``: pandas reads them, after a scan that every line has its fields.

The scan is needed because pandas fills short lines up with missing values. It reads the same
dialect line by line, and can say on which line of the file a row begins.
"""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from bridle import checks
from bridle.data import encoding, files
from bridle.data.columns import Table
from bridle.data.dataset import Dataset
from bridle.data.parts import Request
from bridle.data.table import is_id, to_dataset

Array = npt.NDArray[Any]
Record = tuple[int, list[str]]  # the line a row begins on, and its fields


def load_delimited(paths: Sequence[Path], request: Request) -> Dataset:
    """Load ``.csv``/``.tsv`` files (``.gz`` too) with a header."""
    return to_dataset([_table(path, request) for path in paths], request)


def _table(path: Path, request: Request) -> Table:
    header, count = _scan(path)
    texts = {name for name in header if is_id(name) and name != request.target}
    texts.update({*request.text, *(each.column for each in request.texts)} & set(header))
    if request.feature_names is not None:
        uses = encoding.resolve(request.feature_names, header, str(path))
        texts = {name for name in texts if name not in uses}
        texts.update(name for name, use in uses.items() if use.values)
    frame = _frame(path, header, texts)
    if len(frame) != count:
        raise files.broken(path, f"{count} or {len(frame)} rows? a line holds nothing but quotes")
    index_notes: tuple[str, ...] = ()
    names = header
    if header[0] == "":
        # What `DataFrame.to_csv` writes: the row numbers, under no name.
        names, index_notes = header[1:], ("the first column has no name: not used",)
    return Table(
        file=str(path),
        names=tuple(names),
        count=count,
        read=cache(lambda name: _column(frame[name])),
        place=lambda row: f"{path}: line {_line(path, row)}",
        typed=False,
        notes=index_notes,
    )


def _scan(path: Path) -> tuple[list[str], int]:
    """Return the header and the number of rows below it; refuse rows of another width."""
    with files.parsing(path, "a table of text"):
        records = _records(path)
        first_line, fields = next(records, (0, []))
        header = _checked_header(path, first_line, fields)
        count = 0
        for line, fields in records:
            if len(fields) != len(header):
                which = "few" if len(fields) < len(header) else "many"
                raise files.broken(
                    path,
                    f"line {line}: too {which} fields, expected {len(header)}, found {len(fields)}",
                )
            count += 1
    if count == 0:
        raise files.broken(path, "no rows below the header")
    return header, count


def _records(path: Path) -> Iterator[Record]:
    """Yield the header and the rows; lines of white space alone are none, as in pandas."""
    with files.open_text(path) as stream:
        reader = _reader(_without_nul(stream, path), path)
        line = 1
        try:
            for fields in reader:
                if len(fields) > 1 or (fields and fields[0].strip()):
                    yield line, fields
                line = reader.line_num + 1
        except csv.Error as error:
            raise files.broken(path, f"line {line}: {error}") from error
        except UnicodeDecodeError as error:
            raise files.undecodable(path) from error


def _reader(lines: Iterable[str], path: Path) -> Any:
    return csv.reader(lines, delimiter=_delimiter(path), skipinitialspace=True, strict=True)


def _delimiter(path: Path) -> str:
    return "\t" if path.name.lower().removesuffix(".gz").endswith(".tsv") else ","


def _without_nul(stream: IO[str], path: Path) -> Iterator[str]:
    for number, line in enumerate(stream, 1):
        if "\0" in line:
            raise files.broken(path, f"line {number}: not text, found a NUL byte")
        yield line


def _checked_header(path: Path, line: int, fields: list[str]) -> list[str]:
    if not fields:
        raise files.broken(path, "empty, expected a header and rows")
    names = [name.strip() for name in fields]
    for place, name in enumerate(names, 1):
        if name == "" and place > 1:
            raise files.broken(path, f"line {line}: column {place} of the header has no name")
        if names.index(name) < place - 1:
            raise files.broken(path, f"line {line}: two columns are called {files.quoted(name)}")
    return names


def _frame(path: Path, header: list[str], texts: set[str]) -> Any:
    pandas = checks.require("pandas", extra="cli", purpose=f"reading {path}")
    with files.parsing(path, "a table of text"), files.open_text(path) as stream:
        next(row for row in _reader(stream, path) if "".join(row).strip())  # the header
        return pandas.read_csv(
            stream,
            sep=_delimiter(path),
            header=None,
            names=header,
            index_col=False,
            dtype=dict.fromkeys(texts, str),
            # A missing value shall be seen with its text, not become a NaN.
            na_filter=False,
            skipinitialspace=True,
            low_memory=False,
        )


def _column(series: Any) -> Array:
    if isinstance(series.dtype, np.dtype) and series.dtype.kind in "biuf":
        return np.asarray(series.to_numpy())
    return np.asarray(series.astype(str).to_numpy(dtype=object))


def _line(path: Path, row: int) -> int:
    """Return the line of the file on which a row below the header begins."""
    return next(itertools.islice(_records(path), row + 1, None))[0]
