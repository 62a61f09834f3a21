"""The options of ``bridle evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bridle import checks
from bridle.cli.options.answers import AnswerOptions, AnswersFile, refuse_two_truths
from bridle.cli.options.answers import answers as answer_options
from bridle.cli.options.array_names import named_arrays
from bridle.cli.options.groups import with_options
from bridle.cli.options.judging import Judging
from bridle.cli.options.judging import judging as judging_options
from bridle.cli.options.output import Json, Page
from bridle.cli.options.output import page as page_options
from bridle.cli.options.panels import DATA, JUDGING
from bridle.cli.options.reading import reading as reading_options
from bridle.cli.options.source import Arrays, Target
from bridle.data import Reading
from bridle.ranks import DEFAULT_TIMEOUT

EXAMPLES = (
    "bridle evaluate answers.csv --target truth",
    "bridle evaluate --model reviews-model test.csv",
    "bridle evaluate ours.csv theirs.csv --report report.html",
    "bridle evaluate answers.csv --slices site,year --costs costs.csv",
    "torchrun --nproc-per-node 4 -m bridle evaluate --model model shards/",
)


@with_options(
    answers=answer_options, judging=judging_options, reading=reading_options, report=page_options
)
def evaluate(
    *,
    data: Annotated[
        list[str],
        typer.Argument(
            help="A file with the target and, for each class, a column of probabilities or "
            "scores (from any model); several of the same samples are compared. With --model, "
            "data to run that model on.",
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
    labels: AnswersFile = None,
    arrays: Arrays = None,
    answers: AnswerOptions,
    judging: Judging,
    reading: Reading,
    report: Page,
    json: Json = False,
    timeout: Annotated[
        float,
        typer.Option(
            help="Under torchrun, where each of several processes judges a part of the samples: "
            "seconds without a sign of life after which one counts as lost.",
            metavar="SECONDS",
            rich_help_panel=JUDGING,
        ),
    ] = DEFAULT_TIMEOUT,
) -> None:
    """Judge answers: cross-entropy, calibration, accuracy, surprises.

    Those of any model in a file, or of a model of ours on data. Under torchrun each process judges
    a part of the samples, and the first prints and writes what they found together.
    """
    checks.positive(timeout, "--timeout")
    refuse_two_truths(labels, target, arrays)
    from bridle.cli import comparing_answers, evaluating, ranks

    if len(data) > 1:
        if model is not None:
            raise checks.InputError(f"--model: expected one file of data, found {len(data)}")
        ranks.refuse("several files of answers, which are compared row by row")
        if judging.costs is not None:
            raise checks.InputError(f"--costs: expected one file of answers, found {len(data)}")
        comparing_answers.compare(
            data,
            target,
            labels,
            named_arrays(arrays),
            answers,
            reading,
            slices=judging.slices,
            report=report,
            json=json,
        )
        return
    evaluating.evaluate(
        data[0],
        model=model,
        target=target,
        labels=labels,
        arrays=named_arrays(arrays),
        options=answers,
        judging=judging,
        reading=reading,
        report=report,
        json=json,
        timeout=timeout,
    )
