"""The options that say where the samples are, and what is held out of them."""

from __future__ import annotations

from typing import Annotated

import typer

from bridle.cli.options.array_names import ROLES, named_arrays
from bridle.cli.options.groups import with_options
from bridle.cli.options.panels import DATA
from bridle.cli.options.reading import reading as reading_options
from bridle.cli.options.reading import selection as selection_options
from bridle.cli.sampling import Source
from bridle.data import Reading, Selection

_KINDS = (
    "An embedded set (digits, iris, wine, breast-cancer), a table (.csv .tsv .txt .parquet; - for "
    "one of text on standard input), an array "
    "(.npy .npz .safetensors .svmlight, idx; .npz of a sparse matrix), a folder, several "
    "files or a quoted pattern ('*.npz') of such shards, "
    "or a folder of images with one folder for each class (a model also takes a flat folder, or "
    "one image)."
)
Data = Annotated[list[str], typer.Argument(help=_KINDS, metavar="DATA", show_default=False)]
Target = Annotated[
    str | None,
    typer.Option(
        help="The column (or array) with the labels.", metavar="NAME", rich_help_panel=DATA
    ),
]
Labels = Annotated[
    str | None,
    typer.Option(
        help="A file of labels, for arrays that carry none.", metavar="FILE", rich_help_panel=DATA
    ),
]
Arrays = Annotated[
    str | None,
    typer.Option(
        help="Of an .npz or .safetensors file, which arrays to take, as X=a,y=b; by their names "
        "if not given.",
        metavar="NAMES",
        show_default=False,
        rich_help_panel=DATA,
    ),
]


def one_or_several(typed: list[str]) -> str | tuple[str, ...]:
    """Return what was typed as one source, where it is one."""
    return typed[0] if len(typed) == 1 else tuple(typed)


@with_options(reading=reading_options, selection=selection_options)
def source(
    *,
    data: Data,
    target: Target = None,
    labels: Labels = None,
    test: Annotated[
        str | None,
        typer.Option(help="Data to judge the model on.", metavar="DATA", rich_help_panel=DATA),
    ] = None,
    test_labels: Annotated[
        str | None,
        typer.Option(help="A file of labels for --test.", metavar="FILE", rich_help_panel=DATA),
    ] = None,
    holdout: Annotated[
        float | None,
        typer.Option(
            help="The share of each class to hold out and judge the model on, spread evenly over "
            "the data; 0 for none. 0.2 unless --test is given.",
            show_default=False,
            metavar="SHARE",
            rich_help_panel=DATA,
        ),
    ] = None,
    arrays: Annotated[
        str | None,
        typer.Option(
            help="Of an .npz or .safetensors file, which arrays to take, as X=a,y=b (also X_test, "
            "y_test); by their names if not given.",
            metavar="NAMES",
            show_default=False,
            rich_help_panel=DATA,
        ),
    ] = None,
    reading: Reading,
    selection: Selection,
) -> Source:
    """Return where the samples are; arguments that exclude each other are refused."""
    found = Source(
        data=one_or_several(data),
        target=target,
        labels=labels,
        test=test,
        test_labels=test_labels,
        holdout=holdout,
        arrays=named_arrays(arrays, ROLES),
        reading=reading,
        selection=selection,
    )
    found.check()
    return found
