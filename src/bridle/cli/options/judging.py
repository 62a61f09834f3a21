"""The options that say by what else answers are judged."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from bridle import checks
from bridle.cli.options.panels import JUDGING


@dataclass(frozen=True)
class Judging:
    """Columns whose values are judged by themselves, and a file of what decisions cost."""

    slices: tuple[str, ...] = ()
    costs: Path | None = None


def judging(
    *,
    slices: Annotated[
        str | None,
        typer.Option(
            help="Columns of FILE, with commas between: samples that share a value are judged by "
            "themselves, and models compared on them.",
            metavar="NAMES",
            show_default=False,
            rich_help_panel=JUDGING,
        ),
    ] = None,
    costs: Annotated[
        Path | None,
        typer.Option(
            help="A table of what each decision costs where each class is true: a row for each "
            "class in order, or with the classes' names before the rows and the decisions' above.",
            metavar="FILE",
            show_default=False,
            rich_help_panel=JUDGING,
        ),
    ] = None,
) -> Judging:
    """Return by what else answers are judged."""
    names = () if slices is None else tuple(next(csv.reader([slices], skipinitialspace=True), []))
    if slices is not None and (not all(names) or not names or len(set(names)) < len(names)):
        raise checks.InputError(f"--slices: expected different names of columns, found {slices!r}")
    return Judging(names, costs)
