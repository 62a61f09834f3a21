"""The options of ``bridle compare``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bridle.cli.options.groups import one_of, with_options
from bridle.cli.options.network import COSTS, NetworkOptions, Standardize
from bridle.cli.options.network import network as network_options
from bridle.cli.options.output import Printing
from bridle.cli.options.output import printing as printing_options
from bridle.cli.options.panels import NETWORK, OUTPUT, TRAINING
from bridle.cli.options.source import source as source_options
from bridle.cli.sampling import Source

EXAMPLES = (
    "bridle compare digits --out curves.png",
    "bridle compare digits --cost quadratic --cost cross_entropy",
)


@with_options(source=source_options, network=network_options, printing=printing_options)
def compare(
    *,
    source: Source,
    network: NetworkOptions,
    cost: Annotated[
        list[str] | None,
        typer.Option(
            help="quadratic, cross_entropy, log_likelihood: once for each; all three if not given.",
            autocompletion=one_of(*COSTS),
            show_default=False,
            metavar="NAME",
            rich_help_panel=NETWORK,
        ),
    ] = None,
    accuracy: Annotated[
        float | None,
        typer.Option(
            help="The accuracy to count epochs to; the lowest final one if not given.",
            show_default=False,
            rich_help_panel=TRAINING,
        ),
    ] = None,
    standardize: Standardize = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="A picture of the curves, .png or .svg.", metavar="FILE", rich_help_panel=OUTPUT
        ),
    ] = None,
    printing: Printing,
) -> None:
    """Train one network under several costs, from the same start."""
    from bridle.cli import comparing

    options = comparing.Options(cost or COSTS, network, standardize, accuracy, out)
    comparing.compare(source, options, printing)
