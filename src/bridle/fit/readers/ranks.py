"""Rows that lie with several processes: each answers from its own, and the answers are merged.

The solver runs on one of them. Whatever it asks is asked of all, in the same words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import fields, replace
from functools import partial
from typing import Any, Protocol, TypeVar

import numpy as np

from bridle import checks
from bridle.fit import arrays
from bridle.fit.readers.reader import Reader
from bridle.fit.requests import Facts, Importance, Point, Question, WholeHessian
from bridle.ranks import without_tensors
from bridle.tensors import is_tensor

Result = TypeVar("Result")
# Questions, each with the place of the reader that it is for.
Asked = Sequence[tuple[int, Question[Any]]]


class Ranks(Protocol):
    """What is needed of a group's ranks: see `bridle.ranks`."""

    rank: int
    size: int

    def gathered(self, make: Callable[[], Result]) -> list[Result]:
        """Return what each rank makes, on all of them."""

    def led(
        self,
        answer: Callable[[Any], Any],
        merge: Callable[[Any, Any, Any], Any],
        lead: Callable[[Callable[[Any], Any]], Result],
    ) -> Result:
        """Return the result of ``lead``, whose questions all ranks answer."""


def facts_of_all(facts: Sequence[Facts]) -> Facts:
    """Return what is known of the rows of several shares together.

    Raises
    ------
    InputError
        Shares of different width, or dense ones among sparse ones.
    """
    widths = sorted({each.width for each in facts})
    if len(widths) > 1:
        raise checks.InputError.of("X", expected="as many features in all shares", found=widths)
    filled = [each for each in facts if each.count] or facts[:1]
    if len({each.is_sparse for each in filled}) > 1:
        raise checks.InputError.of(
            "X", expected="dense features in all shares or sparse ones in all", found="both"
        )
    devices = {each.streamed_to for each in filled} - {None}
    return Facts(
        count=sum(each.count for each in facts),
        width=widths[0],
        dtype=np.result_type(*(each.dtype for each in filled)),
        nbytes=sum(each.nbytes for each in facts),
        is_sparse=filled[0].is_sparse,
        has_indices=filled[0].has_indices,
        like=np.empty(0),
        streamed_to=", ".join(sorted(map(str, devices))) or None,
        keeps_residuals=all(each.keeps_residuals for each in facts),
        is_compiled=all(each.is_compiled for each in filled),
    )


class RanksReader(Reader):
    """The rows of all ranks, as the driver's solver sees them."""

    def __init__(
        self, facts: Facts, own: Reader, place: int, ask: Callable[[Asked], list[Any]]
    ) -> None:
        self.facts, self.memory_budget = facts, own.memory_budget
        self._own, self._place, self._ask = own, place, ask

    def blocks(self, question: Question[Any]) -> Iterator[Any]:
        """Rows are never here: only sums are."""
        raise NotImplementedError

    def answer(self, question: Question[Any]) -> Any:
        """Return the answer of all ranks."""
        return self._ask([(self._place, question)])[0]

    def answer_together(self, asked: Sequence[tuple[Any, Question[Any]]]) -> list[Any]:
        """Return the answers of all ranks, each of which may share passes among them."""
        return self._ask([(reader._place, question) for reader, question in asked])

    def shares_passes_with(self, other: Reader) -> bool:
        """Tell whether one pass over the features serves both, on this rank and so on all."""
        return (
            isinstance(other, RanksReader)
            and other._ask is self._ask
            and self._own.shares_passes_with(other._own)
        )

    def threads(self) -> AbstractContextManager[Any]:
        """Let products have as many threads as suit a fit."""
        return self._own.threads()


def solved(
    ranks: Ranks, own: Sequence[Reader], solve: Callable[[Sequence[Reader]], Result]
) -> Result:
    """Return what ``solve`` makes of readers of all rows: on the driver, for all ranks.

    Raises
    ------
    InputError, RankError
        What went wrong on one of them, on all of them.
    """
    if ranks.size == 1:
        return solve(own)
    of_ranks = ranks.gathered(lambda: [replace(each.facts, like=np.empty(0)) for each in own])
    facts = [facts_of_all(each) for each in zip(*of_ranks, strict=True)]

    def lead(ask: Callable[[Any], Any]) -> Result:
        return solve(
            [RanksReader(facts[place], each, place, ask) for place, each in enumerate(own)]
        )

    answers = partial(answers_of_place, own, f"rank {ranks.rank}")
    with own[0].threads():
        return ranks.led(answers, merged_answers, lead)


def answers_of_place(readers: Sequence[Reader], name: str, asked: Asked) -> list[Any]:
    """Return what one place's readers answer, on the host.

    Raises
    ------
    InputError
        What is wrong with a row: which of the place's own it is, and which of all.
    """
    try:
        return _answers(readers, asked)
    except checks.InputError as error:
        first_row = readers[0].first_row
        raise error.found_among(name, first_row, counted_over_all=True) from None


def _answers(readers: Sequence[Reader], asked: Asked) -> list[Any]:
    like = readers[0].facts.like
    if not is_tensor(like):
        return readers[0].answer_together([(readers[n], question) for n, question in asked])
    there = [(readers[n], _on_device_of(question, like)) for n, question in asked]
    return without_tensors(readers[0].answer_together(there))


def _on_device_of(question: Question[Any], like: Any) -> Question[Any]:
    """Return a question whose points are where the rows are."""
    if isinstance(question, WholeHessian):  # small, and answered on the host
        return question
    changes: dict[str, Any] = {}
    for field in fields(question):  # type: ignore[arg-type]  # every question is a dataclass
        value = getattr(question, field.name)
        if isinstance(value, Point):
            changes[field.name] = _point_on_device_of(value, like)
        elif isinstance(value, Importance):
            changes[field.name] = value._replace(point=_point_on_device_of(value.point, like))
    return replace(question, **changes)  # type: ignore[type-var]  # as above


def _point_on_device_of(point: Point, like: Any) -> Point:
    weight, offset = (arrays.on_device_of(each, like) for each in (point.weight, point.offset))
    return point._replace(weight=weight, offset=offset)


def merged_answers(asked: Asked, one: list[Any], other: list[Any]) -> list[Any]:
    """Return the sums of two sets of rows, of each question."""
    return [
        question.merge(*both)  # type: ignore[attr-defined]  # only sums are asked of all
        for (_, question), *both in zip(asked, one, other, strict=True)
    ]
