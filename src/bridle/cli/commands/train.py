"""The options of ``bridle train``."""

from __future__ import annotations

from typing import Annotated

import typer

from bridle.cli.options.groups import one_of, with_options
from bridle.cli.options.network import COSTS, NetworkOptions, Standardize
from bridle.cli.options.network import network as network_options
from bridle.cli.options.output import Folder, Page, Printing
from bridle.cli.options.output import folder as folder_options
from bridle.cli.options.output import page as page_options
from bridle.cli.options.output import printing as printing_options
from bridle.cli.options.panels import NETWORK
from bridle.cli.options.source import source as source_options
from bridle.cli.sampling import Source

EXAMPLES = (
    "bridle train digits --hidden 100 --epochs 20 --out digits-network",
    "bridle train reviews.csv --solver adam --learning-rate 0.01",
)


@with_options(
    source=source_options,
    network=network_options,
    folder=folder_options,
    report=page_options,
    printing=printing_options,
)
def train(
    *,
    source: Source,
    network: NetworkOptions,
    cost: Annotated[
        str | None,
        typer.Option(
            help="quadratic, cross_entropy or log_likelihood; what suits the output, if not given.",
            autocompletion=one_of(*COSTS),
            show_default=False,
            metavar="NAME",
            rich_help_panel=NETWORK,
        ),
    ] = None,
    standardize: Standardize = None,
    folder: Folder,
    report: Page,
    printing: Printing,
) -> None:
    """Train a network with hidden layers, and report it."""
    from bridle.cli import training

    training.train(source, network.with_cost(cost), standardize, folder, report, printing)
