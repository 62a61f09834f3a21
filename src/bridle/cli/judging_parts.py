"""Answers that several processes judge, each its own part of the rows; the outcomes merge."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from bridle import checks
from bridle.cli.answer_kinds import Judged, as_judged
from bridle.cli.messages import about_part
from bridle.cli.options.answers import AnswerOptions
from bridle.cli.sampling import rows_of_part
from bridle.data import Dataset
from bridle.judge import Evaluation, Evaluator
from bridle.judge.kinds import InputKind
from bridle.ranks import Alone, Ranks

Array = npt.NDArray[Any]


class Part(NamedTuple):
    """Some rows of answers that are judged."""

    evaluator: Evaluator
    answers: list[Array]  # none where nobody asks for them


def kind_of_all(
    ranks: Alone | Ranks,
    read: Callable[[slice], Array],
    count: int,
    options: AnswerOptions,
    place: Callable[[int], str],
    source: str,
) -> Judged:
    """Return this process's answers as the judge takes them, and what kind those of all are.

    What a part of the rows tells beyond doubt is not looked for in all of them; else each process
    looks through all, and finds what one process would.

    Raises
    ------
    InputError, RankError
        What `answer_kinds.as_judged` says of all rows.
    """
    rows = rows_of_part(count, ranks.rank, ranks.size)
    found = None if ranks.size == 1 else _beyond_doubt(read(rows), options, place, source)
    kinds = set(ranks.gathered(lambda: None if found is None else found.kind))
    if found is not None and None not in kinds and len(kinds) == 1:
        return found
    of_all = ranks.made(lambda: as_judged(read(slice(None)), options, place, source))
    return Judged(of_all.values[rows], of_all.kind, of_all.note, of_all.rounded)


def _beyond_doubt(
    values: Array, options: AnswerOptions, place: Callable[[int], str], source: str
) -> Judged | None:
    """Return what some rows are, if all rows are the same wherever all parts are."""
    told = options.kind == "scores"
    # One row alone sums to anything; how far all entries are rounded, only all of them tell.
    if len(values) < 2 and not told:
        return None
    try:
        found = as_judged(values, options, place, source)
    except checks.InputError:
        return None
    return found if not found.note or options.normalize else None


def judged(
    ranks: Alone | Ranks,
    count: int,
    answers: Callable[[], Array],
    truth: Array,
    *,
    dataset: Dataset,
    classes: Sequence[object],
    kind: InputKind | None,
    keep_answers: bool,
) -> tuple[Evaluation, Array | None] | None:
    """Return, on the first process, the figures of all rows, and their answers if they are kept.

    Parameters
    ----------
    ranks, count
        The processes, and how many rows there are in all.
    answers
        Returns those to this process's rows.
    truth : ndarray (N,)
        The labels of all rows.
    dataset
        What messages are about.
    classes, kind
        As in `bridle.judge.Evaluator`; None for answers with a NaN, which no kind allows.

    Raises
    ------
    InputError, RankError
        What is wrong with the rows of one of them, on all of them.
    """
    rows = rows_of_part(count, ranks.rank, ranks.size)

    def own_part(_: None) -> Part:
        evaluator = Evaluator(classes=classes, kind=kind or "scores")
        if ranks.size > 1 and rows.start == rows.stop:
            return Part(evaluator, [])
        with about_part(dataset, ranks, rows.start):
            values = answers()
            evaluator.update(values, truth[rows])
        return Part(evaluator, [values] if keep_answers else [])

    whole: list[Part] = []

    def lead(ask: Callable[[Any], Part]) -> None:
        whole.append(ask(None))

    ranks.led(own_part, _merged, lead)
    if not whole:
        return None
    evaluation = whole[0].evaluator.result()
    kept = whole[0].answers
    if not keep_answers:
        return evaluation, None
    return evaluation, kept[0] if len(kept) == 1 else np.concatenate(kept)


def _merged(_: None, one: Part, other: Part) -> Part:
    return Part(one.evaluator.merge(other.evaluator), one.answers + other.answers)
