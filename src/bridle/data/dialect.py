"""How a table of text is laid out: delimiter, comments, the names of its columns."""

from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bridle import checks
from bridle.data import files
from bridle.data.numbers import plain_number
from bridle.data.reading import BLANKS, Reading, delimiter_word

_SAMPLED_RECORDS, _SAMPLED_LINES = 200, 1000
_DELIMITERS = (",", ";", "\t", "|")
_SEPARATOR_LINE = re.compile(r'\s*"?sep=(.)"?\s*', re.IGNORECASE)  # Excel's
_COMMENT = "#"
_BLANKS = re.compile(r"[ \t]+")
_SVMLIGHT = re.compile(r"[^\s,:]+(\s+[0-9]+:\S+)+\s*(#.*)?")
_POINT, _COMMA = Reading(decimal="."), Reading(decimal=",")


class Record(NamedTuple):
    """The fields of a row, and the first and the last line it stands on."""

    line: int
    last: int
    fields: list[str]


@dataclass
class Lines:
    """Lines of a file on their way to a parser: comments between the records are left out.

    ``comments`` has the numbers and the texts of those that were.
    """

    path: Path
    source: Iterable[str]
    delimiter: str
    comment: str
    comments: list[tuple[int, str]] = field(default_factory=list)
    skipped: int = 0  # the line of Excel's that tells the delimiter
    number: int = 0  # of the last line that was handed over
    begin: int = 0  # of the line on which the present row began
    _between: bool = True

    def __iter__(self) -> Iterator[str]:
        """Yield the lines that are no comments; a quoted field may go on over several."""
        for number, line in enumerate(self.source, 1):
            self.number = number
            if "\0" in line:
                what = "not text, found a NUL byte (UTF-16? --encoding tells)"
                raise files.broken(self.path, f"line {number}: {what}")
            if self._between:
                if self._is_left_out(line):
                    continue
                self._between, self.begin = False, self.number
            if self.delimiter == BLANKS:
                line = _BLANKS.sub(" ", line.strip(" \t\r\n")) + "\n"
            yield line

    def _is_left_out(self, line: str) -> bool:
        if self.number == self.skipped:
            return True
        if self.comment and line.lstrip().startswith(self.comment):
            self.comments.append((self.number, line.strip().removeprefix(self.comment).strip()))
            return True
        return False

    def records(self) -> Iterator[Record]:
        """Yield the rows; lines of white space alone are none."""
        reader = csv.reader(self, delimiter=self.delimiter, skipinitialspace=True, strict=True)
        while True:
            self._between = True
            try:
                fields = next(reader, None)
            except csv.Error as error:
                raise files.broken(self.path, f"line {self.begin}: {error}") from error
            if fields is None:
                return
            if len(fields) > 1 or (fields and fields[0].strip()):
                yield Record(self.begin, self.number, fields)


@dataclass(frozen=True)
class Layout:
    """What has been recognised of a table of text, or told.

    ``names`` are those of the columns, as they stand in the file or ``c1, c2, …``; ``first`` is
    the number of the last line before the rows.
    """

    path: Path
    delimiter: str
    comment: str
    encoding: str | None
    header: bool
    names: tuple[str, ...]
    first: int
    skipped: int
    notes: tuple[str, ...]

    def lines(self, stream: Iterable[str]) -> Lines:
        """Return the lines of the whole file."""
        return Lines(self.path, stream, self.delimiter, self.comment, skipped=self.skipped)


def layout_of(path: Path, told: Reading, likely: Reading) -> Layout:
    """Recognise how a file is laid out.

    Parameters
    ----------
    path : Path
        Of the file.
    told : Reading
        What the user has said: obeyed.
    likely : Reading
        How the files of the fit, or the first of several shards, were read. Its delimiter is taken
        where the file could be read so.
    """
    reading = told.over(likely)
    marked = files.encoding_of(path, None) == "utf-16"
    notes = ("encoding: UTF-16, as its byte order mark says",) if marked else ()
    with files.open_text(path, reading.encoding) as stream:
        try:
            sample = list(itertools.islice(stream, _SAMPLED_LINES))
        except UnicodeDecodeError as error:
            raise files.undecodable(path, reading.encoding) from error
    if sample and all(_SVMLIGHT.fullmatch(line.strip()) for line in sample):
        raise files.broken(path, "looks like svmlight, whose names end in .svmlight")
    separator = next(
        (
            (number, match[1])
            for number, line in enumerate(sample[:1], 1)
            if (match := _SEPARATOR_LINE.fullmatch(line))
        ),
        None,
    )
    comment = _COMMENT if reading.comment is None else reading.comment
    draft = Lines(path, sample, ",", comment, skipped=separator[0] if separator else 0)
    delimiter, delimiter_notes = _delimiter(draft, told, likely, separator)
    draft.delimiter = delimiter
    records = _sampled(draft)
    if not records:
        raise files.broken(path, "empty, expected a header and rows")
    names, header, first, header_notes = _names(draft, records, reading)
    return Layout(
        path=path,
        delimiter=delimiter,
        comment=comment,
        encoding=reading.encoding,
        header=header,
        names=names,
        first=first,
        skipped=draft.skipped,
        notes=(*notes, *delimiter_notes, *header_notes),
    )


def _sampled(draft: Lines) -> list[Record]:
    """Return the first records; the last of a cut sample may be cut as well."""
    lines = Lines(draft.path, draft.source, draft.delimiter, draft.comment, skipped=draft.skipped)
    found = list[Record]()
    try:
        found.extend(itertools.islice(lines.records(), _SAMPLED_RECORDS))
    except checks.InputError:
        if lines.number < _SAMPLED_LINES:
            raise
    finally:
        draft.comments = lines.comments
    return found


def _delimiter(
    draft: Lines, told: Reading, likely: Reading, separator: tuple[int, str] | None
) -> tuple[str, tuple[str, ...]]:
    if told.delimiter is not None:
        return told.delimiter, ()
    if separator is not None:
        return separator[1], (f"delimiter {delimiter_word(separator[1])}, as its first line says",)
    usual = "\t" if files.unpacked_name(draft.path).endswith(".tsv") else ","
    tables = {each: _table(draft, each) for each in (*_DELIMITERS, BLANKS)}
    found = _recognised(draft.path, tables, usual, likely.delimiter)
    if found == usual:
        return found, ()
    return found, (f"delimiter: {delimiter_word(found)} (--delimiter tells another)",)


def _table(draft: Lines, delimiter: str) -> list[list[str]]:
    """Return the fields of the sample under a delimiter, nothing where it cannot be read so."""
    draft.delimiter = delimiter
    try:
        return [record.fields for record in _sampled(draft)]
    except checks.InputError:
        return []


def _recognised(
    path: Path, tables: dict[str, list[list[str]]], usual: str, likely: str | None
) -> str:
    sound = [each for each, rows in tables.items() if _is_table(rows)]
    if likely in sound:
        return likely
    signs = [each for each in sound if each != BLANKS]
    if len(signs) > 1:
        shares = {each: _share_of_numbers(tables[each]) for each in signs}
        signs = [each for each in signs if shares[each] == max(shares.values())]
    if len(signs) > 1:
        choices = " or ".join(delimiter_word(each) for each in signs)
        raise files.broken(path, f"its fields could be delimited by {choices}: --delimiter tells")
    if signs:
        return signs[0]
    if BLANKS in sound:
        return BLANKS
    # Rows of unequal width: the first of them says what is meant, so that the others can be named.
    widths = {each: len(rows[0]) if rows else 1 for each, rows in tables.items() if each != BLANKS}
    if widths[usual] > 1:
        return usual
    widest = max(widths, key=lambda each: widths[each])
    return widest if widths[widest] > 1 else usual


def _is_table(rows: Sequence[Sequence[str]]) -> bool:
    widths = {len(row) for row in rows}
    return len(widths) == 1 and widths.pop() > 1


def _share_of_numbers(rows: Sequence[Sequence[str]]) -> float:
    cells = [cell for row in rows for cell in row]
    return sum(_is_number(cell) for cell in cells) / len(cells)


def _number(text: str) -> float:
    found = plain_number(text, _POINT)
    return plain_number(text, _COMMA) if np.isnan(found) else found


def _is_number(text: str) -> bool:
    return not np.isnan(_number(text))


def _names(
    draft: Lines, records: list[Record], reading: Reading
) -> tuple[tuple[str, ...], bool, int, tuple[str, ...]]:
    """Return the columns' names, whether the file has them, the last line before the rows."""
    first = records[0]
    fields = [[field.strip() for field in record.fields] for record in records]
    header = reading.header
    if header is None:
        header = _are_names(fields[0], [row for row in fields[1:] if len(row) == len(fields[0])])
    if header is None:
        shown = files.listing(fields[0], most=3)
        raise files.broken(
            draft.path,
            f"line {first.line}: {shown}: the names of the columns, or the first row? "
            "--header or --no-header tells",
        )
    if header:
        return _checked(draft.path, first.line, fields[0]), True, first.last, ()
    named = _commented_names(draft, first, fields) if reading.header is None else None
    if named is not None:
        line, names = named
        said = f"the names of the columns stand in a comment, line {line}"
        return _checked(draft.path, line, names), True, first.line - 1, (said,)
    count = len(fields[0])
    called = "c1" if count == 1 else f"c1 … c{count}"
    said = f"no header: line {first.line} is the first row, the columns are called {called}"
    said += "" if reading.header is False else " (--header tells otherwise)"
    return tuple(f"c{place}" for place in range(1, count + 1)), False, first.line - 1, (said,)


def _commented_names(
    draft: Lines, first: Record, fields: list[list[str]]
) -> tuple[int, list[str]] | None:
    """Return the names that stand in the last line of comment above the rows, if they do."""
    above = [(number, text) for number, text in draft.comments if number < first.line]
    if not above:
        return None
    number, text = above[-1]
    try:
        rows = list(Lines(draft.path, [text], draft.delimiter, "").records())
    except checks.InputError:
        return None
    names = [name.strip() for name in rows[0].fields] if rows else []
    return (number, names) if len(names) == len(fields[0]) and _are_names(names, fields) else None


def _are_names(first: list[str], rows: list[list[str]]) -> bool | None:
    """Tell whether a row names the columns of those below it; None where both could be."""
    columns = list(zip(*rows, strict=True))
    if not columns:
        return True
    numbers = [place for place, name in enumerate(first) if _is_number(name)]
    texts = [
        place
        for place, name in enumerate(first)
        if place not in numbers and not Reading().is_missing(name) and name not in "?.-"
    ]
    recurring = [place for place in texts if first[place] in columns[place]]
    if any(_mostly_numbers(columns[place]) for place in texts if place not in recurring):
        # A name above numbers; but no column is called 1.5: then that text is an odd value.
        return None if any(not first[place].isdigit() for place in numbers) else True
    if numbers:
        return _numbers_are_names(first, columns, numbers, bool(recurring), bool(texts))
    if not recurring:
        return True
    return False if 2 * len(recurring) > len(texts) else None


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
    steps = np.diff([_number(name) for name in plain])
    in_order = len(steps) > 0 and (np.all(steps > 0) or np.all(steps < 0))
    if not texts or not (in_order or (whole and len(plain) == 1)):
        return False  # numbers that are names (years, wavelengths) come in order
    return None


def _mostly_numbers(cells: Sequence[str]) -> bool:
    known = [cell for cell in cells if not Reading().is_missing(cell)]
    return 2 * sum(_is_number(cell) for cell in known) > len(known)


def _checked(path: Path, line: int, names: Sequence[str]) -> tuple[str, ...]:
    for place, name in enumerate(names, 1):
        if name and names.index(name) < place - 1:
            raise files.broken(
                path,
                f"line {line}: two columns are called {files.quoted(name)} (--no-header if this "
                "line is the first row)",
            )
    return tuple(names)
