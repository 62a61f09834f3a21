"""How a table of text is laid out: its delimiter, its comments, where its rows begin."""

from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from bridle import checks
from bridle.data import files, header
from bridle.data.reading import BLANKS, Reading, delimiter_word

_SAMPLED_RECORDS, _SAMPLED_LINES = 200, 1000
_DELIMITERS = (",", ";", "\t", "|")
_SEPARATOR_LINE = re.compile(r'\s*"?sep=(.)"?\s*', re.IGNORECASE)  # Excel's
_COMMENT = "#"
_BLANKS = re.compile(r"[ \t]+")
_SVMLIGHT = re.compile(r"[^\s,:]+(\s+[0-9]+:\S+)+\s*(#.*)?")


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
    files.refuse_packed(path)
    marked = files.encoding_of(path, None) == "utf-16"
    notes = ("encoding: UTF-16, as its byte order mark says",) if marked else ()
    with files.open_text(path, reading.encoding) as stream:
        try:
            sample = list(itertools.islice(stream, _SAMPLED_LINES))
        except UnicodeDecodeError as error:
            raise files.undecodable(path, reading.encoding) from error
    if sample and all(_SVMLIGHT.fullmatch(line.strip()) for line in sample):
        raise files.broken(path, "looks like svmlight, whose names end in .svmlight")
    separator = _SEPARATOR_LINE.fullmatch(sample[0]) if sample else None
    comment = _COMMENT if reading.comment is None else reading.comment
    draft = Lines(path, sample, ",", comment, skipped=1 if separator else 0)
    delimiter, delimiter_notes = _delimiter(
        draft, told, likely, separator[1] if separator else None
    )
    draft.delimiter = delimiter
    records = _sampled(draft)
    if not records:
        raise files.broken(path, "empty, expected a header and rows")
    rows = [[cell.strip() for cell in record.fields] for record in records]
    names = None if reading.header is False else header.completed(rows)
    found = header.recognised(
        str(path),
        (records[0].line, records[0].last),
        rows if names is None else [names, *rows[1:]],
        _commented(draft, records[0]),
        reading.header if names is None else True,
    )
    return Layout(
        path=path,
        delimiter=delimiter,
        comment=comment,
        encoding=reading.encoding,
        header=found.in_file,
        names=found.names,
        first=found.first,
        skipped=draft.skipped,
        notes=(*notes, *delimiter_notes, *found.notes),
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
    draft: Lines, told: Reading, likely: Reading, separator: str | None
) -> tuple[str, tuple[str, ...]]:
    if told.delimiter is not None:
        return told.delimiter, ()
    if separator is not None:
        return separator, (f"delimiter {delimiter_word(separator)}, as its first line says",)
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
    return (len(widths) == 1 and widths.pop() > 1) or header.completed(rows) is not None


def _share_of_numbers(rows: Sequence[Sequence[str]]) -> float:
    cells = [cell for row in rows for cell in row]
    return sum(header.is_number(cell) for cell in cells) / len(cells)


def _commented(draft: Lines, first: Record) -> tuple[int, list[str]] | None:
    """Return the fields of the last line of comment above the rows, and its number."""
    above = [(number, text) for number, text in draft.comments if number < first.line]
    if not above:
        return None
    number, text = above[-1]
    try:
        rows = list(Lines(draft.path, [text], draft.delimiter, "").records())
    except checks.InputError:
        return None
    return (number, [name.strip() for name in rows[0].fields]) if rows else None
