"""The options of ``bridle explain``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bridle.cli.options.groups import with_defaults, with_options
from bridle.cli.options.output import Quiet
from bridle.cli.options.panels import DATA, OUTPUT
from bridle.cli.options.source import source as source_options
from bridle.cli.sampling import Source

EXAMPLES = (
    "bridle explain --out explain.html",
    "bridle explain iris --out iris.html",
)


@with_options(source=with_defaults(source_options, data=["digits"]))
def explain(
    *,
    source: Source,
    model: Annotated[
        Path | None,
        typer.Option(
            help="A model that bridle fit or train wrote, whose answers to show; fitted to the "
            "data if not given.",
            metavar="MODEL",
            show_default=False,
            rich_help_panel=DATA,
        ),
    ] = None,
    out: Annotated[
        Path,
        typer.Option(help="The page to write.", metavar="FILE", rich_help_panel=OUTPUT),
    ] = Path("explain.html"),
    quiet: Quiet = False,
) -> None:
    """Write a page to play with: why softmax, why cross-entropy, shown on the data.

    One file, without anything from outside: it opens in a browser from any folder.
    """
    from bridle.cli import explaining

    explaining.write_page(source, explaining.Options(out, model, quiet))
