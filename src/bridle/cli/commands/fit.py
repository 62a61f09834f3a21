"""The options of ``bridle fit``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bridle import checks
from bridle.cli.options.groups import one_of, with_options
from bridle.cli.options.output import Folder, Page, Printing
from bridle.cli.options.output import folder as folder_options
from bridle.cli.options.output import page as page_options
from bridle.cli.options.output import printing as printing_options
from bridle.cli.options.panels import CALIBRATORS, CLASSIFIER
from bridle.cli.options.source import source as source_options
from bridle.cli.sampling import Source
from bridle.ranks import DEFAULT_TIMEOUT

EXAMPLES = (
    "bridle fit reviews.csv --target sentiment --C 0.1 --out reviews-model",
    "bridle fit reviews.csv --report report.html",
    "bridle fit reviews.csv --calibrate temperature --out reviews-model",
    "bridle fit embeddings.npz --Cs clip --cv 5",
    "bridle fit genes.csv --l1-ratio 1 --group features --C 0.1",
    "torchrun --nproc-per-node 4 -m bridle fit shards/ --out model",
)
DEFAULT_FOLDS, DEFAULT_SCORING = 5, "neg_log_loss"

DEFAULT_TOL = 1e-6  # of SoftmaxRegression, which to import takes longer than the help


@with_options(
    source=source_options, folder=folder_options, report=page_options, printing=printing_options
)
def fit(
    *,
    source: Source,
    C: Annotated[
        float | None,
        typer.Option(
            "--C",
            help="Inverse strength of the penalty; inf: none. 1 if not given.",
            show_default=False,
            rich_help_panel=CLASSIFIER,
        ),
    ] = None,
    Cs: Annotated[
        str | None,
        typer.Option(
            "--Cs",
            help="Choose C by cross-validation: numbers with commas between, or clip or dinov2, "
            "whose authors' values they are.",
            metavar="VALUES",
            show_default=False,
            rich_help_panel=CLASSIFIER,
        ),
    ] = None,
    cv: Annotated[
        int | None,
        typer.Option(
            help="With --Cs, --calibrate or --label-errors: how many folds, each with all "
            f"classes. {DEFAULT_FOLDS} if not given.",
            show_default=False,
            rich_help_panel=CLASSIFIER,
        ),
    ] = None,
    scoring: Annotated[
        str | None,
        typer.Option(
            help=f"With --Cs: the score that chooses, {DEFAULT_SCORING} if not given, accuracy or "
            "another of scikit-learn's.",
            metavar="NAME",
            show_default=False,
            rich_help_panel=CLASSIFIER,
        ),
    ] = None,
    l1_ratio: Annotated[
        str | None,
        typer.Option(
            help="The share of L1 in the penalty, 0 to 1. Above 0, weights that the data do not "
            "need are exactly 0. With --Cs several, with commas between, to choose from.",
            metavar="RATIOS",
            show_default=False,
            rich_help_panel=CLASSIFIER,
        ),
    ] = None,
    group: Annotated[
        str | None,
        typer.Option(
            help="With --l1-ratio: features, whose weights are then 0 for all classes or for none.",
            autocompletion=one_of("features"),
            metavar="NAME",
            show_default=False,
            rich_help_panel=CLASSIFIER,
        ),
    ] = None,
    standardize: Annotated[
        bool | None,
        typer.Option(
            "--standardize/--no-standardize",
            help="Penalise features as if scaled to deviation 1. On, unless they are pixels, which "
            "are penalised as if scaled to 0 … 1, or there are words, which are as they are.",
            show_default=False,
            rich_help_panel=CLASSIFIER,
        ),
    ] = None,
    tol: Annotated[
        float,
        typer.Option(
            help="The proven relative gap to the optimum to end at.", rich_help_panel=CLASSIFIER
        ),
    ] = DEFAULT_TOL,
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            help="Keep the best weights here every half minute, and go on from them if they are "
            "there.",
            metavar="FILE",
            show_default=False,
            rich_help_panel=CLASSIFIER,
        ),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(
            help="Where a fit of dense features is made: cuda for a GPU, through PyTorch.",
            metavar="DEVICE",
            show_default=False,
            rich_help_panel=CLASSIFIER,
        ),
    ] = None,
    stream: Annotated[
        bool | None,
        typer.Option(
            "--stream/--no-stream",
            help="With --device: leave the features on the host and let blocks of them go to the "
            "device in each pass. Off, unless there is no room for them on a GPU.",
            show_default=False,
            rich_help_panel=CLASSIFIER,
        ),
    ] = None,
    label_errors: Annotated[
        bool,
        typer.Option(
            "--label-errors",
            help="Say which labels are likely wrong, by folds that have not learnt them.",
            rich_help_panel=CLASSIFIER,
        ),
    ] = False,
    calibrate: Annotated[
        str | None,
        typer.Option(
            help="Make its probabilities come true, by what folds say that have not learnt the "
            "samples: temperature (one number), vector, matrix, dirichlet or isotonic.",
            autocompletion=one_of(*CALIBRATORS),
            metavar="NAME",
            show_default=False,
            rich_help_panel=CLASSIFIER,
        ),
    ] = None,
    dask: Annotated[
        str | None,
        typer.Option(
            help="A Dask cluster whose workers make the passes, each on the part of the samples "
            "that it reads itself: its scheduler's address, or local for this machine's "
            "processors.",
            metavar="ADDRESS",
            show_default=False,
            rich_help_panel=CLASSIFIER,
        ),
    ] = None,
    timeout: Annotated[
        float,
        typer.Option(
            help="Under torchrun, which starts several processes that fit together: seconds "
            "without a sign of life after which one of them counts as lost; with --dask, seconds "
            "without any worker.",
            metavar="SECONDS",
            rich_help_panel=CLASSIFIER,
        ),
    ] = DEFAULT_TIMEOUT,
    folder: Folder,
    report: Page,
    printing: Printing,
) -> None:
    """Fit a softmax classifier to its exact optimum, and report it."""
    if Cs is None and scoring is not None:
        raise checks.InputError("--scoring: expected with --Cs, found it alone")
    if cv is not None and Cs is None and calibrate is None and not label_errors:
        raise checks.InputError(
            "--cv: expected with --Cs, --calibrate or --label-errors, found it alone"
        )
    from bridle.cli import fitting
    from bridle.cli.penalties import Penalty
    from bridle.cli.sweeping import Sweep

    folds = DEFAULT_FOLDS if cv is None else cv
    sweep = None
    if Cs is not None:
        sweep = Sweep(Cs, folds, DEFAULT_SCORING if scoring is None else scoring)
    options = fitting.Options(
        C,
        sweep,
        Penalty(l1_ratio, group),
        standardize,
        tol,
        checkpoint,
        device,
        stream,
        label_errors,
        calibrate,
        folds,
        dask,
        timeout,
    )  # fmt: skip
    fitting.fit(source, options, folder, report, printing)
