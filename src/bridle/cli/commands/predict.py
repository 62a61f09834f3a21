"""The options of ``bridle predict``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bridle import checks
from bridle.cli.options.array_names import named_arrays
from bridle.cli.options.groups import with_options
from bridle.cli.options.panels import DATA, OUTPUT
from bridle.cli.options.reading import reading as reading_options
from bridle.cli.options.source import Arrays, Data, one_or_several
from bridle.data import Reading
from bridle.ranks import DEFAULT_TIMEOUT

EXAMPLES = ("bridle predict reviews-model new-reviews.csv --out answers.csv",)


@with_options(reading=reading_options)
def predict(
    *,
    model: Annotated[
        Path,
        typer.Argument(
            help="A folder that bridle fit or train wrote, or its model.safetensors.",
            metavar="MODEL",
            show_default=False,
        ),
    ],
    data: Data,
    target: Annotated[
        str | None,
        typer.Option(
            help="The column with the true labels, if the data have them: it is kept. Called as in "
            "the fit if not given.",
            metavar="NAME",
            show_default=False,
            rich_help_panel=DATA,
        ),
    ] = None,
    arrays: Arrays = None,
    reading: Reading,
    compact: Annotated[
        bool,
        typer.Option(
            "--compact",
            help="Leave out the columns of the classes, of names and of the truth.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            help="The file to write; standard output if not given.",
            metavar="FILE",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    timeout: Annotated[
        float,
        typer.Option(
            help="Under torchrun, where each of several processes writes the answers for a part of "
            "the samples: seconds without a sign of life after which one counts as lost.",
            metavar="SECONDS",
            rich_help_panel=OUTPUT,
        ),
    ] = DEFAULT_TIMEOUT,
) -> None:
    """Write each sample's class and the probabilities of all, as CSV.

    Columns: what names the row, the truth where the data have it, predicted, probability, and one
    for each class. bridle evaluate reads such a file. Under torchrun each process writes one, and
    a JSON file beside them says which rows are in which.
    """
    names = named_arrays(arrays)
    if compact:
        given = {"--target": target is not None, "--arrays y=…": {"X", "y"} <= set(names or ())}
        for option, is_given in given.items():
            if is_given:
                raise checks.InputError(
                    f"{option}: expected without --compact, which leaves the truth out"
                )
    from bridle.cli import predicting

    predicting.predict(
        model,
        one_or_several(data),
        target=target,
        arrays=names,
        reading=reading,
        compact=compact,
        out=out,
        timeout=timeout,
    )
