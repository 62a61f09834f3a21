"""Labels that lie in a file of their own."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from bridle.data import archive, files, idx, npy, npz, targets, tensors
from bridle.data.columns import Table
from bridle.data.numbers import is_plain_integer, plain_number
from bridle.data.parts import Request
from bridle.data.reading import Reading

Array = npt.NDArray[Any]

_ENDINGS = ".npy, .npz, .safetensors, idx, .csv, .tsv, .txt"
_TEXT_ENDINGS = (".txt", ".csv", ".tsv")
_HEADINGS = frozenset({*archive.TARGET_KEYS, "class", "classes", "species", "category"})
_INDEX_HEADINGS = frozenset({"", "index", "id", "row"})


class _Line(NamedTuple):
    """The fields of a line, and its number."""

    number: int
    fields: list[str]


def read(request: Request, count: int, table: Table | None = None) -> tuple[Array, tuple[str, ...]]:
    """Return ``count`` labels of a file, and remarks: one label a line, or an array.

    A text file may have a heading, and row numbers beside the labels, as pandas writes them. Where
    it has a column that names the rows as one of the ``table`` does, labels go with these names.
    """
    labels, reading = str(request.labels), replace(request.reading, na="error")
    path = Path(labels)
    notes: tuple[str, ...] = (f"target: labels of {labels}",)
    if not is_text(path):
        raw = _array(path)
        found = len(raw) if raw.ndim else 1
        if found != count:
            raise files.broken(labels, f"{found} labels, but {request.source} has {count} rows")
        return targets.as_target(raw, labels, lambda row: f"{labels}: row {row}", reading), notes
    whole = _lines(path, request)
    lines, heading, column_notes = _labels_alone(path, whole)
    if heading and table is not None and len(lines) == count + 1:
        lines, matching_notes = _in_order_of(table, path, whole, lines)
        column_notes = (*column_notes, *matching_notes)
    if request.told.header is not None:
        heading = request.told.header
    if heading is None and lines:
        heading = _is_heading(path, [line.fields[0] for line in lines], count, request.source)
    if heading and lines:
        said = f"{labels}: its first line, {files.quoted(lines[0].fields[0])}, is a heading"
        lines, column_notes = lines[1:], (*column_notes, said)
    if len(lines) != count:
        raise files.broken(labels, f"{len(lines)} labels, but {request.source} has {count} rows")
    texts = np.array([line.fields[0] for line in lines], object)
    target = targets.from_spelling(
        texts, labels, lambda row: f"{labels}: line {lines[row].number}", reading
    )
    return target, (*notes, *column_notes)


def is_text(path: Path) -> bool:
    """Tell by its name whether a file of labels is one of text."""
    return files.unpacked_name(path).endswith(_TEXT_ENDINGS)


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


def _lines(path: Path, request: Request) -> list[_Line]:
    """Return the lines, blanks around their fields aside; empty ones at the end do not count.

    A line of a ``.txt`` is one label, whatever is in it, unless row numbers stand beside them.
    """
    whole_lines = files.unpacked_name(path).endswith(".txt") and request.told.delimiter is None
    with files.parsing(path, "text"):
        try:
            found = list(_whole(path, request) if whole_lines else _parsed(path, request))
        except UnicodeDecodeError as error:
            raise files.undecodable(path, request.reading.encoding) from error
    while found and not "".join(found[-1].fields):
        found.pop()
    if not whole_lines:
        return found
    alone = [_Line(line.number, [line.fields[0].strip()]) for line in found]
    return _numbered(path, found) or alone


def _whole(path: Path, request: Request) -> Iterator[_Line]:
    with files.open_text(path, request.reading.encoding) as stream:
        for number, text in enumerate(stream, 1):
            yield _Line(number, [text.strip("\r\n")])


def _numbered(path: Path, lines: list[_Line]) -> list[_Line] | None:
    """Return lines cut into row numbers and labels; None where they are none of this kind."""
    for sign in ("\t", ",", ";", None):
        cut = [[part.strip() for part in line.fields[0].split(sign, 1)] for line in lines]
        if len(lines) < 2 or any(len(parts) != 2 for parts in cut):
            continue
        found = [
            _Line(line.number, [part.strip('"') for part in parts])
            for line, parts in zip(lines, cut, strict=True)
        ]
        if _is_index(path, found, 0):
            return found
    return None


def _parsed(path: Path, request: Request) -> Iterator[_Line]:
    encoding, delimiter = request.reading.encoding, request.told.delimiter
    with files.open_text(path, encoding) as stream:
        delimiter = delimiter or _delimiter(path, encoding)
        reader = csv.reader(stream, delimiter=delimiter, skipinitialspace=True, strict=True)
        for fields in reader:
            yield _Line(reader.line_num, [field.strip() for field in fields] or [""])


def _delimiter(path: Path, encoding: str | None) -> str:
    """Return what stands between a label and its row number, if the file has row numbers."""
    usual = "\t" if files.unpacked_name(path).endswith(".tsv") else ","
    with files.open_text(path, encoding) as stream:
        lines = [line for line in stream if line.strip()]
    if any(usual in line for line in lines):
        return usual
    others = [sign for sign in (",", ";", "\t") if lines and all(sign in line for line in lines)]
    return others[0] if len(others) == 1 else usual


def _labels_alone(
    path: Path, lines: list[_Line]
) -> tuple[list[_Line], bool | None, tuple[str, ...]]:
    """Return the labels' column alone, whether it has a heading (None: unknown), and remarks.

    Beside it there may be one of row numbers, or others where a heading says which is which.
    """
    width = len(lines[0].fields) if lines else 1
    for line in lines:
        if len(line.fields) != width:
            found = f"expected {width} fields, found {len(line.fields)}"
            raise files.broken(path, f"line {line.number}: {found}")
    if width == 1:
        return lines, None, ()
    numbering = [place for place in range(width) if _is_index(path, lines, place)]
    named = _column_of_labels(path, lines)
    if width == 2 and len(numbering) == 1:
        place, heading = 1 - numbering[0], not is_plain_integer(lines[0].fields[numbering[0]])
        note = f"{path}: column {numbering[0] + 1} numbers the rows"
    elif named is not None:
        place, heading = named, True
        note = f"{path}: the labels are column {files.quoted(lines[0].fields[named])}"
    else:
        raise files.broken(
            path,
            f"line {lines[0].number}: expected one label a line, found {width} fields, none of "
            "which numbers the rows",
        )
    return [_Line(line.number, [line.fields[place]]) for line in lines], heading, (note,)


def _in_order_of(
    table: Table, path: Path, whole: list[_Line], labels: list[_Line]
) -> tuple[list[_Line], tuple[str, ...]]:
    """Return labels in the order of a table's rows, if both name them in a column of one name."""
    for place, name in enumerate(whole[0].fields):
        if name not in table.names:
            continue
        keys = [line.fields[place] for line in whole[1:]]
        rows = [str(text) for text in table.texts(name).tolist()]
        if keys == rows or len(set(keys)) < len(keys):
            continue
        found = dict(zip(keys, labels[1:], strict=True))
        missing = next((row for row in rows if row not in found), None)
        if missing is not None:
            raise files.broken(
                path,
                f"column {files.quoted(name)} has no {files.quoted(missing)}, which that of "
                f"{table.file} has",
            )
        said = f"{path}: labels are matched with the rows by column {files.quoted(name)}"
        return [labels[0], *(found[row] for row in rows)], (said,)
    return labels, ()


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
