"""The options of ``bridle evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bridle import checks
from bridle.cli.options.array_names import named_arrays
from bridle.cli.options.groups import with_options
from bridle.cli.options.output import Json
from bridle.cli.options.panels import ANSWERS, DATA
from bridle.cli.options.reading import reading as reading_options
from bridle.cli.options.source import Arrays, Target
from bridle.data import Reading

EXAMPLES = (
    "bridle evaluate answers.csv --target truth",
    "bridle evaluate --model reviews-model test.csv",
)


@with_options(reading=reading_options)
def evaluate(
    *,
    data: Annotated[
        str,
        typer.Argument(
            help="A file with the target and, for each class, a column of probabilities or "
            "scores (from any model); with --model, data to run that model on.",
            metavar="FILE",
            show_default=False,
        ),
    ],
    model: Annotated[
        Path | None,
        typer.Option(
            help="A model that bridle fit or train wrote.", metavar="MODEL", rich_help_panel=DATA
        ),
    ] = None,
    target: Target = None,
    labels: Annotated[
        str | None,
        typer.Option(
            help="A file of the true labels, where FILE has none.",
            metavar="FILE",
            rich_help_panel=DATA,
        ),
    ] = None,
    arrays: Arrays = None,
    answers: Annotated[
        str | None,
        typer.Option(
            help="Which columns are the answers: a name with * for the label ('prob_*'), columns "
            "with commas between, or pairs LABEL=COLUMN; of an array, its columns' labels in "
            "order. Found by the labels' names if not given.",
            metavar="NAMES",
            show_default=False,
            rich_help_panel=ANSWERS,
        ),
    ] = None,
    scores: Annotated[
        bool | None,
        typer.Option(
            "--scores/--probabilities",
            help="What the answers are. Told from their range and sums if not given.",
            show_default=False,
            rich_help_panel=ANSWERS,
        ),
    ] = None,
    normalize: Annotated[
        bool,
        typer.Option(
            "--normalize",
            help="Divide each row by its sum: one-vs-rest, counts.",
            rich_help_panel=ANSWERS,
        ),
    ] = False,
    percent: Annotated[
        bool,
        typer.Option(
            "--percent",
            help="The answers are probabilities in per cent, with the sign % or without.",
            rich_help_panel=ANSWERS,
        ),
    ] = False,
    reading: Reading,
    json: Json = False,
) -> None:
    """Judge answers: cross-entropy, calibration, accuracy, surprises.

    Those of any model in a file, or of a model of ours on data.
    """
    names = named_arrays(arrays)
    if labels is not None:
        given = {"--target": target is not None, "--arrays y=…": "y" in (names or {})}
        for option, is_given in given.items():
            if is_given:
                raise checks.InputError(f"{option}: expected without --labels, found both")
    from bridle.cli import evaluating
    from bridle.cli.answer_kinds import Options
    from bridle.judge.kinds import InputKind

    kind: InputKind | None = None
    if scores is not None:
        kind = "scores" if scores else "probabilities"
    evaluating.evaluate(
        data,
        model=model,
        target=target,
        labels=labels,
        arrays=names,
        options=Options(answers, kind, normalize, percent),
        reading=reading,
        json=json,
    )
