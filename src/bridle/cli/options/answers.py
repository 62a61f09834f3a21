"""The options that say which columns of a file are answers, and what they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from bridle import checks
from bridle.cli.options.array_names import named_arrays
from bridle.cli.options.panels import ANSWERS, DATA

if TYPE_CHECKING:
    from bridle.judge.kinds import InputKind

AnswersFile = Annotated[
    str | None,
    typer.Option(
        help="A file of the true labels, where FILE has none.",
        metavar="FILE",
        rich_help_panel=DATA,
    ),
]


@dataclass(frozen=True)
class AnswerOptions:
    """What the user says of the answers."""

    answers: str | None = None
    kind: InputKind | None = None
    normalize: bool = False
    percent: bool = False

    @property
    def total(self) -> float:
        """What a row of probabilities sums to."""
        return 100.0 if self.percent else 1.0

    @property
    def given(self) -> list[str]:
        """The options that say something."""
        told = (
            ("--answers", self.answers is not None),
            ("--scores/--probabilities", self.kind is not None),
            ("--normalize", self.normalize),
            ("--percent", self.percent),
        )
        return [name for name, value in told if value]


def answers(
    *,
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
) -> AnswerOptions:
    """Return what the answers are; options that exclude each other are refused."""
    kind: InputKind | None = None
    if scores is not None:
        kind = "scores" if scores else "probabilities"
    found = AnswerOptions(answers, kind, normalize, percent)
    if kind == "scores" and (normalize or percent):
        raise checks.InputError(f"{found.given[-1]}: expected without --scores, found both")
    return found


def refuse_two_truths(labels: str | None, target: str | None, arrays: str | None) -> None:
    """Refuse labels that are told to be in two places."""
    if labels is None:
        return
    in_arrays = "y" in (named_arrays(arrays) or {})
    for option, is_given in (("--target", target is not None), ("--arrays y=…", in_arrays)):
        if is_given:
            raise checks.InputError(f"{option}: expected without --labels, found both")
