"""The options of what is printed, and of the folder that a fit or a training writes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from bridle import checks
from bridle.cli.options.panels import OUTPUT

Json = Annotated[
    bool,
    typer.Option("--json", help="Print the figures as JSON, nothing else.", rich_help_panel=OUTPUT),
]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="Print nothing but errors.", rich_help_panel=OUTPUT)
]
Report = Annotated[
    Path | None,
    typer.Option(
        "--report",
        help="Write a page of the evaluation: one HTML file, to be opened in a browser.",
        metavar="FILE",
        show_default=False,
        rich_help_panel=OUTPUT,
    ),
]

ExplainPage = Annotated[
    Path | None,
    typer.Option(
        "--explain-page",
        help="A page that bridle explain wrote: the one of --report is linked to its explanations.",
        metavar="FILE",
        show_default=False,
        rich_help_panel=OUTPUT,
    ),
]


@dataclass(frozen=True)
class Page:
    """Where a page goes, if anywhere, and the page of `bridle explain` that it is linked to."""

    path: Path | None
    explain_page: Path | None = None

    @property
    def link(self) -> str | None:
        """The page of explanations as seen from this one."""
        if self.path is None or self.explain_page is None:
            return None
        return os.path.relpath(self.explain_page.absolute(), self.path.absolute().parent)


def page(*, report: Report = None, explain_page: ExplainPage = None) -> Page:
    """Return where a page of the evaluation goes, and what it is linked to."""
    return Page(report, explain_page)


@dataclass(frozen=True)
class Printing:
    """Which figures are printed: for people, as JSON, or none."""

    json: bool
    quiet: bool

    @property
    def for_people(self) -> bool:
        """Whether the report is printed, and a live line shown on the way."""
        return not (self.json or self.quiet)


def printing(*, json: Json = False, quiet: Quiet = False) -> Printing:
    """Return what is printed."""
    if json and quiet:
        raise checks.InputError("--quiet: expected without --json, found both")
    return Printing(json, quiet)


@dataclass(frozen=True)
class Folder:
    """Where the model, its figures and its predictions are written, if anywhere."""

    path: Path | None
    replace: bool


def folder(
    *,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for model.safetensors, metrics.json, predictions.csv.",
            metavar="DIR",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Replace what another fit wrote to --out.", rich_help_panel=OUTPUT
        ),
    ] = False,
) -> Folder:
    """Return where the files are written."""
    if force and out is None:
        raise checks.InputError("--force: expected with --out, found it alone")
    return Folder(out, force)
