"""Answers that several processes judge, each its own part of the rows; the outcomes merge."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from bridle import checks
from bridle.cli.answer_kinds import Judged, as_judged
from bridle.cli.messages import about_part
from bridle.cli.options.answers import AnswerOptions
from bridle.cli.sharing import rows_of_parts, without_rows
from bridle.data import Dataset
from bridle.judge import Evaluation, Evaluator
from bridle.judge.kinds import InputKind
from bridle.ranks import Alone, Ranks

Array = npt.NDArray[Any]


class Part(NamedTuple):
    """Some rows of answers that are judged."""

    evaluator: Evaluator
    answers: list[Array]  # none where nobody asks for them


class RowsToJudge(NamedTuple):
    """Some rows that are to be judged: features or answers, and the true labels."""

    dataset: Dataset  # what messages are about; without rows
    values: Any
    truth: Array
    classes: Sequence[object]
    first_row: int


def rows_to_judge(
    dataset: Dataset,
    read: Callable[[slice], Any],
    truth: Array,
    classes: Sequence[object],
    parts: int,
) -> Iterator[RowsToJudge]:
    """Yield the rows of each part; ``read`` returns the features or the answers of some rows."""
    about = without_rows(dataset)
    for rows in rows_of_parts(len(truth), parts):
        yield RowsToJudge(about, read(rows), truth[rows], classes, rows.start)


def kind_of_all(
    ranks: Alone | Ranks, own: Array, options: AnswerOptions, of_all: Callable[[], Judged]
) -> Judged:
    """Return a process's ``own`` answers as the judge takes them, and what kind those of all are.

    What a part of the rows tells beyond doubt is not looked for in all of them; else the first
    process looks through all, by ``of_all``, and deals them out again.

    Raises
    ------
    InputError, RankError
        What ``of_all`` raises.
    """
    found = None if ranks.size == 1 else _beyond_doubt(own, options)
    kinds = set(ranks.gathered(lambda: None if found is None else found.kind))
    if found is not None and None not in kinds and len(kinds) == 1:
        return found

    def parts() -> Iterator[Judged]:
        whole = of_all()
        for rows in rows_of_parts(len(whole.values), ranks.size):
            yield replace(whole, values=whole.values[rows])

    return ranks.dealt(parts)


def _beyond_doubt(values: Array, options: AnswerOptions) -> Judged | None:
    """Return what some rows are, if all rows are the same wherever all parts are."""
    told = options.kind == "scores"
    # One row alone sums to anything; how far all entries are rounded, only all of them tell.
    if len(values) < 2 and not told:
        return None
    try:
        found = as_judged(values, options, str, "")  # whose complaints are not for the user
    except checks.InputError:
        return None
    return found if not found.note or options.normalize else None


def judged(
    ranks: Alone | Ranks,
    own: RowsToJudge,
    answers: Callable[[], Array],
    *,
    kind: InputKind | None,
    keep_answers: bool,
) -> tuple[Evaluation, Array | None] | None:
    """Return, on the first process, the figures of all rows, and their answers if they are kept.

    Parameters
    ----------
    ranks, own
        The processes, and this one's rows.
    answers
        Returns those to this process's rows.
    kind
        As in `bridle.judge.Evaluator`; None for answers with a NaN, which no kind allows.

    Raises
    ------
    InputError, RankError
        What is wrong with the rows of one of them, on all of them.
    """

    def own_part(_: None) -> Part:
        evaluator = Evaluator(classes=own.classes, kind=kind or "scores")
        if ranks.size > 1 and not len(own.truth):
            return Part(evaluator, [])
        with about_part(own.dataset, ranks, own.first_row):
            values = answers()
            evaluator.update(values, own.truth)
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
