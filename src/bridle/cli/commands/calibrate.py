"""The options of ``bridle calibrate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bridle.cli.options.answers import AnswerOptions, AnswersFile, refuse_two_truths
from bridle.cli.options.answers import answers as answer_options
from bridle.cli.options.array_names import named_arrays
from bridle.cli.options.groups import one_of, with_options
from bridle.cli.options.output import Json
from bridle.cli.options.panels import CALIBRATOR, CALIBRATORS, OUTPUT
from bridle.cli.options.reading import reading as reading_options
from bridle.cli.options.source import Arrays, Target
from bridle.data import Reading

EXAMPLES = (
    "bridle calibrate answers.csv --target truth --out calibrated.csv",
    "bridle calibrate answers.csv --method vector",
)


@with_options(answers=answer_options, reading=reading_options)
def calibrate(
    *,
    data: Annotated[
        str,
        typer.Argument(
            help="A file with the target and, for each class, a column of probabilities or "
            "scores, of samples that the model has not learnt from.",
            metavar="FILE",
            show_default=False,
        ),
    ],
    method: Annotated[
        str,
        typer.Option(
            help="temperature (one number), vector, matrix, dirichlet or isotonic.",
            autocompletion=one_of(*CALIBRATORS),
            metavar="NAME",
            rich_help_panel=CALIBRATOR,
        ),
    ] = "temperature",
    target: Target = None,
    labels: AnswersFile = None,
    arrays: Arrays = None,
    answers: AnswerOptions,
    reading: Reading,
    out: Annotated[
        Path | None,
        typer.Option(
            help="A CSV of the calibrated answers, which bridle evaluate reads.",
            metavar="FILE",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    save: Annotated[
        Path | None,
        typer.Option(
            help="A file for the calibrator, which bridle.calibrate.load_calibrator reads.",
            metavar="FILE",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Make probabilities come true: fit a calibrator to answers and their labels.

    What it gains is judged on rows that the calibrator has not seen, five times.
    """
    refuse_two_truths(labels, target, arrays)
    from bridle.cli import calibrating

    calibrating.calibrate(
        data,
        target=target,
        labels=labels,
        arrays=named_arrays(arrays),
        answers=answers,
        reading=reading,
        options=calibrating.Options(method, out, save, json),
    )
