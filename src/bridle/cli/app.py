"""Arguments and their help; whatever goes wrong becomes one line and an exit code."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
import typer.completion

import bridle
from bridle import checks, interruption
from bridle.cli import network_options as network
from bridle.cli.array_names import named_arrays
from bridle.cli.help_panels import ANSWERS, CLASSIFIER, DATA, NETWORK, OUTPUT, PanelledCommand
from bridle.cli.messages import one_line
from bridle.cli.reading_options import reading as reading_options
from bridle.cli.reading_options import selection as selection_options
from bridle.cli.reading_options import with_options
from bridle.data import Reading, Selection

# typer carries click with it or leans on it, by version; either way this is the base of all errors
# in a command line, two steps above the one that typer exports.
_CommandLineError: type[Exception] = typer.BadParameter.__mro__[2]

_INTERRUPTED = interruption.CODE

# Any: typer lists no names of this module, though they are public.
_completion: Any = typer.completion
# What a shell's script sets when it asks for completions. (typer's own option guesses the shell
# from the processes around it; ours is told.)
_COMPLETE = "_BRIDLE_COMPLETE"
_SHELLS = ("bash", "zsh", "fish", "powershell", "pwsh")

app = typer.Typer(
    help="Fit a softmax classifier to its exact optimum, and judge any classifier's answers.",
    # The sign \b keeps the example on one line, so that it can be copied.
    epilog="\b\nExample: bridle fit digits",
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_DATA = (
    "An embedded set (digits, iris, wine, breast-cancer), a table (.csv .tsv .txt .parquet; - for "
    "one of text on standard input), an array "
    "(.npy .npz .safetensors .svmlight, idx; .npz of a sparse matrix), a folder of such shards, "
    "or a folder of images with one folder for each class (a model also takes a flat folder, or "
    "one image)."
)
Data = Annotated[str, typer.Argument(help=_DATA, metavar="DATA", show_default=False)]
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
Test = Annotated[
    str | None,
    typer.Option(help="Data to judge the model on.", metavar="DATA", rich_help_panel=DATA),
]
TestLabels = Annotated[
    str | None,
    typer.Option(help="A file of labels for --test.", metavar="FILE", rich_help_panel=DATA),
]
Arrays = Annotated[
    str | None,
    typer.Option(
        help="Of an .npz or .safetensors file, which arrays to take, as X=a,y=b (also X_test, "
        "y_test); by their names if not given.",
        metavar="NAMES",
        show_default=False,
        rich_help_panel=DATA,
    ),
]
Holdout = Annotated[
    float | None,
    typer.Option(
        help="The share of each class to hold out and judge the model on, spread evenly over "
        "the data; 0 for none. 0.2 unless --test is given.",
        show_default=False,
        rich_help_panel=DATA,
    ),
]
Json = Annotated[
    bool,
    typer.Option("--json", help="Print the figures as JSON, nothing else.", rich_help_panel=OUTPUT),
]
DEFAULT_FOLDS, DEFAULT_SCORING = 5, "neg_log_loss"
DEFAULT_TOL = 1e-6  # of SoftmaxRegression, which to import takes longer than the help
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="Print nothing but errors.", rich_help_panel=OUTPUT)
]


def run(arguments: Sequence[str]) -> int:
    """Run the command; return 0, 2 for input that cannot be used, 130 when interrupted."""
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        return _run(list(arguments) or ["--help"])


def _run(arguments: list[str]) -> int:
    if _COMPLETE in os.environ:
        _completion.completion_init()  # teaches click the words of typer's scripts
    try:
        code = app(args=arguments, prog_name="bridle", standalone_mode=False)
    except (checks.InputError, checks.MissingExtraError) as error:
        return _refuse(str(error))
    except _CommandLineError as error:
        return _refuse(f"{_usage(error)} (bridle --help tells more)")
    except OSError as error:
        named = error.filename
        reason = error.strerror or str(error)
        return _refuse(f"{named}: {reason}" if named else reason)
    except MemoryError as error:
        return _refuse(f"not enough memory: {error}")
    except (KeyboardInterrupt, typer.Abort):
        code = _INTERRUPTED
    if code == _INTERRUPTED:  # typer catches the interruption itself: some versions return this
        print("bridle: interrupted", file=sys.stderr)
    return int(code or 0)


def _usage(error: Any) -> str:
    return str(error.format_message()).strip().rstrip(".")


def _refuse(message: str) -> int:
    print(f"bridle: {one_line(message)}", file=sys.stderr)
    return 2


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    print(f"bridle: warning: {one_line(str(message))}", file=sys.stderr)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"bridle {bridle.__version__}")
        raise typer.Exit


def _show_completion(shell: str | None) -> None:
    if shell is not None:
        checks.one_of(shell, "--show-completion", _SHELLS)
        script = _completion.get_completion_script(
            prog_name="bridle", complete_var=_COMPLETE, shell=shell
        )
        print(script)
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_version, is_eager=True)
    ] = False,
    show_completion: Annotated[
        str | None,
        typer.Option(
            help=f"Print the script that completes bridle's options in a shell: "
            f"{', '.join(_SHELLS)}.",
            metavar="SHELL",
            show_default=False,
            callback=_show_completion,
            is_eager=True,
        ),
    ] = None,
) -> None:
    pass


@app.command(
    cls=PanelledCommand,
    epilog="\b\nExample: bridle fit reviews.csv --target sentiment --C 0.1 --out reviews-model\n"
    "Example: bridle fit embeddings.npz --Cs clip --cv 5",
)
@with_options(reading=reading_options, selection=selection_options)
def fit(
    reading: Reading,
    selection: Selection,
    data: Data,
    target: Target = None,
    labels: Labels = None,
    test: Test = None,
    test_labels: TestLabels = None,
    holdout: Holdout = None,
    arrays: Arrays = None,
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
            show_default=False,
            rich_help_panel=CLASSIFIER,
        ),
    ] = None,
    cv: Annotated[
        int,
        typer.Option(
            help="With --Cs: how many folds, each with all classes.", rich_help_panel=CLASSIFIER
        ),
    ] = DEFAULT_FOLDS,
    scoring: Annotated[
        str,
        typer.Option(
            help="With --Cs: neg_log_loss, accuracy, or another score of scikit-learn.",
            rich_help_panel=CLASSIFIER,
        ),
    ] = DEFAULT_SCORING,
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
            help="Where a fit of dense features is made: cuda for a GPU, through PyTorch. What "
            "holds the features must hold some more of that size.",
            metavar="DEVICE",
            show_default=False,
            rich_help_panel=CLASSIFIER,
        ),
    ] = None,
    hidden: network.Hidden = None,
    activation: network.Activation = "sigmoid",
    output: network.Output = None,
    cost: Annotated[
        str | None,
        typer.Option(
            help="Of a network: quadratic, cross_entropy or log_likelihood; what suits the output, "
            "if not given.",
            show_default=False,
            rich_help_panel=NETWORK,
        ),
    ] = None,
    alpha: network.Alpha = 0.0,
    l1_ratio: network.L1Ratio = 0.0,
    learning_rate: network.LearningRate = network.DEFAULT_RATE,
    batch_size: network.BatchSize = network.DEFAULT_BATCH,
    epochs: network.Epochs = network.DEFAULT_EPOCHS,
    momentum: network.Momentum = 0.0,
    solver: network.Solver = "sgd",
    init: network.Init = "scaled",
    seed: network.Seed = 0,
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
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Fit a softmax classifier to its exact optimum (or train a network), judge it, and report."""
    from bridle.cli import fitting
    from bridle.cli.sweeping import Sweep

    if Cs is None and (cv, scoring) != (DEFAULT_FOLDS, DEFAULT_SCORING):
        raise checks.InputError("--cv, --scoring: expected with --Cs, found them alone")
    options = network.NetworkOptions(
        hidden or "", activation, output, cost, alpha, l1_ratio, learning_rate, batch_size, epochs,
        momentum, solver, init, seed,
    )  # fmt: skip
    if hidden is None:
        network.refuse_without_network(options)
    fitting.fit(
        fitting.Plan(
            data=data,
            target=target,
            labels=labels,
            test=test,
            test_labels=test_labels,
            holdout=holdout,
            arrays=named_arrays(arrays),
            reading=reading,
            selection=selection,
            C=C,
            sweep=None if Cs is None else Sweep(Cs, cv, scoring),
            standardize=standardize,
            tol=tol,
            checkpoint=checkpoint,
            device=device,
            network=None if hidden is None else options,
            out=out,
            force=force,
            json=json,
            quiet=quiet,
        )
    )


@app.command(
    cls=PanelledCommand,
    epilog="\b\nExample: bridle compare digits --out curves.png\n"
    "Example: bridle compare digits --cost quadratic --cost cross_entropy",
)
@with_options(reading=reading_options, selection=selection_options)
def compare(
    reading: Reading,
    selection: Selection,
    data: Data,
    target: Target = None,
    labels: Labels = None,
    test: Test = None,
    test_labels: TestLabels = None,
    holdout: Holdout = None,
    arrays: Arrays = None,
    cost: Annotated[
        list[str] | None,
        typer.Option(
            help="quadratic, cross_entropy, log_likelihood: once for each; all three if not given.",
            show_default=False,
            rich_help_panel=NETWORK,
        ),
    ] = None,
    accuracy: Annotated[
        float | None,
        typer.Option(
            help="The accuracy to count epochs to; the lowest final one if not given.",
            show_default=False,
            rich_help_panel=NETWORK,
        ),
    ] = None,
    hidden: network.Hidden = "30",
    activation: network.Activation = "sigmoid",
    output: network.Output = None,
    alpha: network.Alpha = 0.0,
    l1_ratio: network.L1Ratio = 0.0,
    learning_rate: network.LearningRate = network.DEFAULT_RATE,
    batch_size: network.BatchSize = network.DEFAULT_BATCH,
    epochs: network.Epochs = network.DEFAULT_EPOCHS,
    momentum: network.Momentum = 0.0,
    solver: network.Solver = "sgd",
    init: network.Init = "scaled",
    seed: network.Seed = 0,
    standardize: Annotated[
        bool | None,
        typer.Option(
            "--standardize/--no-standardize",
            help="Train on features of mean 0 and deviation 1. On, unless they are pixels, which "
            "are taken as 0 … 1.",
            show_default=False,
            rich_help_panel=NETWORK,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="A picture of the curves, .png or .svg.", metavar="FILE", rich_help_panel=OUTPUT
        ),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train the same network from the same weights on the same batches under each cost."""
    from bridle.cli import comparing

    comparing.compare(
        comparing.Plan(
            data=data,
            target=target,
            labels=labels,
            test=test,
            test_labels=test_labels,
            holdout=holdout,
            arrays=named_arrays(arrays),
            reading=reading,
            selection=selection,
            costs=cost or ["quadratic", "cross_entropy", "log_likelihood"],
            network=network.NetworkOptions(
                hidden or "30", activation, output, None, alpha, l1_ratio, learning_rate,
                batch_size, epochs, momentum, solver, init, seed,
            ),
            standardize=standardize,
            accuracy=accuracy,
            out=out,
            json=json,
            quiet=quiet,
        )
    )  # fmt: skip


@app.command(
    cls=PanelledCommand,
    epilog="\b\nExample: bridle predict reviews-model new-reviews.csv --out answers.csv",
)
@with_options(reading=reading_options)
def predict(
    reading: Reading,
    model: Annotated[
        Path,
        typer.Argument(
            help="A folder that bridle fit wrote, or its model.safetensors.",
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
) -> None:
    """Write each sample's most probable class and the probabilities of all, as CSV.

    Columns: what names the row, the truth where the data have it, predicted, probability, and one
    for each class. bridle evaluate reads such a file.
    """
    from bridle.cli import predicting

    predicting.predict(
        model,
        data,
        target=target,
        arrays=named_arrays(arrays),
        reading=reading,
        compact=compact,
        out=out,
    )


@app.command(
    cls=PanelledCommand,
    epilog="\b\nExample: bridle evaluate answers.csv --target truth\n"
    "Example: bridle evaluate --model reviews-model test.csv",
)
@with_options(reading=reading_options)
def evaluate(
    reading: Reading,
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
        typer.Option(help="A model that bridle fit wrote.", metavar="MODEL", rich_help_panel=DATA),
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
            help="The answers are probabilities in per cent.",
            rich_help_panel=ANSWERS,
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Judge answers: cross-entropy, calibration, accuracy, and what surprised the model most."""
    from bridle.cli import evaluating
    from bridle.cli.answer_kinds import Options

    kind: Any = None if scores is None else "scores" if scores else "probabilities"
    options = Options(answers, kind, normalize, percent)
    evaluating.evaluate(
        data,
        model=model,
        target=target,
        labels=labels,
        arrays=named_arrays(arrays),
        options=options,
        reading=reading,
        json=json,
    )
