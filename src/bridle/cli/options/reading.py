"""The options of how files are read, and of which columns of a table are used."""

from __future__ import annotations

from typing import Annotated

import typer

from bridle.cli.options.panels import COLUMNS, READING
from bridle.data import Reading, Selection


def reading(
    *,
    delimiter: Annotated[
        str | None,
        typer.Option(
            help="Between the fields of a table of text: a sign, or comma, semicolon, tab, pipe, "
            "blanks. Recognised, if not given.",
            metavar="SIGN",
            show_default=False,
            rich_help_panel=READING,
        ),
    ] = None,
    decimal: Annotated[
        str | None,
        typer.Option(
            help="The decimal sign of a table of text, a point or a comma. Recognised, if not "
            "given.",
            metavar="SIGN",
            show_default=False,
            rich_help_panel=READING,
        ),
    ] = None,
    thousands: Annotated[
        str | None,
        typer.Option(
            help="The mark between groups of three digits.",
            metavar="SIGN",
            show_default=False,
            rich_help_panel=READING,
        ),
    ] = None,
    encoding: Annotated[
        str | None,
        typer.Option(
            help="Of text files: latin-1, cp1252, utf-16, …; UTF-8, or what a byte order mark "
            "says, if not given.",
            metavar="NAME",
            show_default=False,
            rich_help_panel=READING,
        ),
    ] = None,
    comment: Annotated[
        str | None,
        typer.Option(
            help="What a line of comment begins with; '' for none. '#', if not given.",
            metavar="SIGN",
            show_default=False,
            rich_help_panel=READING,
        ),
    ] = None,
    header: Annotated[
        bool | None,
        typer.Option(
            "--header/--no-header",
            help="Whether a table of text, or a file of labels, begins with names. Recognised, if "
            "not given. Without names columns are called c1, c2, …",
            show_default=False,
            rich_help_panel=READING,
        ),
    ] = None,
    na: Annotated[
        str | None,
        typer.Option(
            help="Where a value is missing: error, drop (the row), mean (of the column in the "
            "fit), or the text to put there. error, if not given.",
            metavar="WHAT",
            show_default=False,
            rich_help_panel=READING,
        ),
    ] = None,
    na_spellings: Annotated[
        str | None,
        typer.Option(
            help="What stands for a missing value beside an empty cell, with commas between; '' "
            "for nothing, so that NA is a label. NA, NaN, null, N/A and the like, if not given.",
            metavar="TEXTS",
            show_default=False,
            rich_help_panel=READING,
        ),
    ] = None,
    index_base: Annotated[
        int | None,
        typer.Option(
            help="The number of the first column in svmlight files, 0 or 1. If not given: 0 where "
            "a column 0 is there, else 1; later, what it was in the fit.",
            metavar="NUMBER",
            show_default=False,
            rich_help_panel=READING,
        ),
    ] = None,
) -> Reading:
    """Return what was told of the files."""
    spellings = None if na_spellings is None else tuple(na_spellings.split(","))
    return Reading(
        delimiter=delimiter,
        decimal=decimal,
        thousands=thousands,
        encoding=encoding,
        comment=comment,
        header=header,
        na=na,
        na_spellings=spellings,
        index_base=index_base,
    )


_Columns = list[str] | None


def selection(
    *,
    drop: Annotated[
        _Columns,
        typer.Option(
            help="A column of a table to leave out; once for each, or with commas between.",
            metavar="COLUMN",
            show_default=False,
            rich_help_panel=COLUMNS,
        ),
    ] = None,
    columns: Annotated[
        _Columns,
        typer.Option(
            help="The only columns of a table to learn from.",
            metavar="COLUMN",
            show_default=False,
            rich_help_panel=COLUMNS,
        ),
    ] = None,
    keep: Annotated[
        _Columns,
        typer.Option(
            help="A column to learn from though it numbers the rows.",
            metavar="COLUMN",
            show_default=False,
            rich_help_panel=COLUMNS,
        ),
    ] = None,
    categorical: Annotated[
        _Columns,
        typer.Option(
            help="A column whose values are categories though they look like numbers.",
            metavar="COLUMN",
            show_default=False,
            rich_help_panel=COLUMNS,
        ),
    ] = None,
    text: Annotated[
        _Columns,
        typer.Option(
            help="A column whose words are the features (TF-IDF); columns of mostly different "
            "texts are read so by themselves.",
            metavar="COLUMN",
            show_default=False,
            rich_help_panel=COLUMNS,
        ),
    ] = None,
) -> Selection:
    """Return which columns are to be used, and how."""
    return Selection(
        drop=tuple(drop or ()),
        columns=tuple(columns or ()),
        keep=tuple(keep or ()),
        categorical=tuple(categorical or ()),
        text=tuple(text or ()),
    )
