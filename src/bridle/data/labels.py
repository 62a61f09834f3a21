"""Labels that lie in a file of their own."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from bridle.data import archive, files, idx, npy, npz, targets, tensors
from bridle.data.numbers import is_plain_integer, plain_number
from bridle.data.parts import Request
from bridle.data.reading import Reading, delimiter_word

Array = npt.NDArray[Any]

_ENDINGS = ".npy, .npz, .safetensors, idx, .csv, .tsv, .txt"
_TEXT_ENDINGS = (".txt", ".csv", ".tsv")
_HEADINGS = frozenset({*archive.TARGET_KEYS, "class", "classes", "species", "category"})
_INDEX_HEADINGS = frozenset({"", "index", "id", "row"})


class _Line(NamedTuple):
    """The fields of a line, and its number."""

    number: int
    fields: list[str]


def read(request: Request, count: int) -> tuple[Array, tuple[str, ...]]:
    """Return ``count`` labels of a file, and remarks: one label a line, or an array.

    A text file may have a heading, and row numbers beside the labels, as pandas writes them.
    """
    labels, reading = str(request.labels), request.reading
    path = Path(labels)
    notes: tuple[str, ...] = (f"target: labels of {labels}",)
    if not files.unpacked_name(path).endswith(_TEXT_ENDINGS):
        raw = _array(path)
        found = len(raw) if raw.ndim else 1
        if found != count:
            raise files.broken(labels, f"{found} labels, but {request.source} has {count} rows")
        return targets.as_target(raw, labels, lambda row: f"{labels}: row {row}", reading), notes
    lines, column_notes = _labels_alone(path, _lines(path, reading), reading)
    lines, heading_notes = _without_heading(path, lines, count, request)
    if len(lines) != count:
        raise files.broken(labels, f"{len(lines)} labels, but {request.source} has {count} rows")
    texts = np.array([line.fields[0] for line in lines], object)
    target = targets.from_spelling(
        texts, labels, lambda row: f"{labels}: line {lines[row].number}", reading
    )
    return target, (*notes, *column_notes, *heading_notes)


def _array(path: Path) -> Array:
    suffix = path.suffix.lower()
    if idx.is_idx(path):
        return idx.read_idx(path)
    if suffix == ".npy":
        return npy.map_npy(path)
    if suffix == ".npz":
        return archive.only_labels(npz.open_npz(path))
    if suffix == ".safetensors":
        return archive.only_labels(tensors.open_safetensors(path))
    raise files.broken(path, f"labels: expected one of {_ENDINGS}")


def _lines(path: Path, reading: Reading) -> list[_Line]:
    """Return the lines, blanks around their fields aside; empty ones at the end do not count."""
    with files.parsing(path, "text"):
        try:
            found = list(_parsed(path, reading))
        except UnicodeDecodeError as error:
            raise files.undecodable(path, reading.encoding) from error
    while found and not "".join(found[-1].fields):
        found.pop()
    return found


def _parsed(path: Path, reading: Reading) -> Iterator[_Line]:
    with files.open_text(path, reading.encoding) as stream:
        if files.unpacked_name(path).endswith(".txt") and reading.delimiter is None:
            for number, text in enumerate(stream, 1):
                yield _Line(number, [text.strip()])
            return
        delimiter = reading.delimiter or _delimiter(path, reading)
        reader = csv.reader(stream, delimiter=delimiter, skipinitialspace=True, strict=True)
        for fields in reader:
            yield _Line(reader.line_num, [field.strip() for field in fields] or [""])


def _delimiter(path: Path, reading: Reading) -> str:
    """Return what stands between a label and its row number, if the file has row numbers."""
    usual = "\t" if files.unpacked_name(path).endswith(".tsv") else ","
    with files.open_text(path, reading.encoding) as stream:
        lines = [line for line in stream if line.strip()]
    if any(usual in line for line in lines):
        return usual
    others = [sign for sign in (",", ";", "\t") if lines and all(sign in line for line in lines)]
    return others[0] if len(others) == 1 else usual


def _labels_alone(
    path: Path, lines: list[_Line], reading: Reading
) -> tuple[list[_Line], tuple[str, ...]]:
    """Return the labels' column alone: beside it there may be one of row numbers."""
    width = len(lines[0].fields) if lines else 1
    for line in lines:
        if len(line.fields) != width:
            found = f"expected {width} fields, found {len(line.fields)}"
            raise files.broken(path, f"line {line.number}: {found}")
    if width == 1:
        return lines, ()
    place = _column_of_labels(path, lines) if width > 2 else None
    if place is None:
        indexes = [column for column in range(width) if _is_index(path, lines, column)]
        if width != 2 or len(indexes) != 1:
            raise files.broken(
                path,
                f"line {lines[0].number}: expected one label a line, found {width} fields, none of "
                "which numbers the rows",
            )
        place = 1 - indexes[0]
        note = f"{path}: column {indexes[0] + 1} numbers the rows"
    else:
        note = f"{path}: the labels are column {files.quoted(lines[0].fields[place])}"
    delimiter = reading.delimiter
    said = f" (delimiter {delimiter_word(delimiter)})" if delimiter else ""
    return [_Line(line.number, [line.fields[place]]) for line in lines], (note + said,)


def _column_of_labels(path: Path, lines: list[_Line]) -> int | None:
    """Return the column with the heading of labels, if there is one."""
    named = [place for place, name in enumerate(lines[0].fields) if name.lower() in _HEADINGS]
    if len(named) > 1:
        listed = files.listing(lines[0].fields[place] for place in named)
        raise files.broken(path, f"expected one column of labels, found {listed}")
    return named[0] if named else None


def _is_index(path: Path, lines: list[_Line], place: int) -> bool:
    """Tell whether a column numbers the rows; refuse numbers that put them in another order."""
    first, *rest = [line.fields[place] for line in lines]
    called_so = first.lower() in _INDEX_HEADINGS or first.lower().startswith("unnamed:")
    cells = rest if called_so or not is_plain_integer(first) else [first, *rest]
    if not cells or not all(is_plain_integer(cell) for cell in cells):
        return called_so and len(set(cells)) == len(cells)
    found = [int(cell) for cell in cells]
    in_order = found[0] in (0, 1) and found == list(range(found[0], found[0] + len(found)))
    if not in_order and sorted(found) in (list(range(len(found))), list(range(1, len(found) + 1))):
        raise files.broken(
            path, f"column {place + 1} numbers the rows in another order: sort the file by it"
        )
    return in_order or (called_so and len(set(found)) == len(found))


def _without_heading(
    path: Path, lines: list[_Line], count: int, request: Request
) -> tuple[list[_Line], tuple[str, ...]]:
    if not lines or request.told.header is False:
        return lines, ()
    first = lines[0].fields[0]
    is_heading = request.told.header or _is_heading(
        path, [line.fields[0] for line in lines], count, request.source
    )
    if not is_heading:
        return lines, ()
    return lines[1:], (f"{path}: its first line, {files.quoted(first)}, is a heading",)


def _is_heading(path: Path, texts: Sequence[str], count: int, source: str) -> bool:
    """Tell whether the first line is a heading; refuse where it could be a label as well."""
    first, rest = texts[0], Counter(texts[1:])
    if first in rest:
        if len(texts) == count + 1:
            raise files.broken(
                path,
                f"{len(texts)} labels, but {source} has {count} rows: if the first line, "
                f"{files.quoted(first)}, is a heading, --header tells",
            )
        return False
    if len(texts) == count + 1 or first.lower() in _HEADINGS:
        return True
    plain = Reading()
    if np.isnan(plain_number(first, plain)) and rest:
        above_numbers = all(not np.isnan(plain_number(text, plain)) for text in rest)
        if above_numbers and not plain.is_missing(first):
            return True
    if len(texts) == count and rest and min(rest.values()) > 1:
        # With one label missing below it, a heading would make every label slide by one.
        raise files.broken(
            path,
            f"line 1, {files.quoted(first)}, stands nowhere else: a heading (then {count - 1} "
            f"labels are left for {count} rows), or a class of one sample? --header or --no-header "
            "tells",
        )
    return False
