"""Who answers what a solver asks: the rows of a data set, wherever they are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from bridle.fit.requests import Facts, Question, Request
from bridle.rows import Rows

Array = Any  # NumPy's, or tensors: see `fit.arrays`
Answer = TypeVar("Answer")
Sums = TypeVar("Sums")


def facts_of(features: Rows, target: Array, like: Array, **storage: bool) -> Facts:
    """Return what is known of rows before any is read; ``storage`` are the flags of `Facts`."""
    return Facts(
        count=len(features),
        width=features.shape[1],
        dtype=features.dtype,
        nbytes=features.nbytes,
        is_sparse=features.is_sparse,
        has_indices=target.ndim == 1,
        like=like,
        streamed_to=str(features.device) if features.is_streamed else None,
        **storage,
    )


class Reader(ABC):
    """The rows of one data set with their targets and weights.

    Whoever has the rows in blocks of their own has only to yield them; what is quicker otherwise,
    and the questions of `requests.all_rows`, are answered by overriding `answer`.
    """

    facts: Facts
    memory_budget: int  # bytes beside the features
    first_row: int = 0  # the number of the first of these rows, among those of all readers

    @abstractmethod
    def blocks(self, question: Question[Any]) -> Iterator[Any]:
        """Yield the rows that a question is about, as `requests.Block`."""

    def answer(self, question: Question[Answer]) -> Answer:
        """Return the answer to a question; of a `Request`, its sums over the rows."""
        if isinstance(question, Request):
            answer: Answer = self.summed(question)
            return answer
        raise NotImplementedError(
            f"{type(self).__name__} does not answer {type(question).__name__}"
        )

    def summed(self, request: Request[Sums]) -> Sums:
        """Return a request's sums over the rows, block by block in their order."""
        total = request.empty(self.facts.like)
        for block in self.blocks(request):
            total = request.merge(total, request.sums(block))
        return total

    def answer_together(self, asked: Sequence[tuple[Any, Question[Any]]]) -> list[Any]:
        """Return the answers to questions, each of a reader that `shares_passes_with` this one."""
        return [reader.answer(question) for reader, question in asked]

    def shares_passes_with(self, other: Reader) -> bool:
        """Tell whether one pass over the features serves both."""
        return self is other

    def threads(self) -> AbstractContextManager[Any]:
        """Let products have as many threads as suit a fit."""
        return nullcontext()

    def local_rows(self, chosen: npt.NDArray[np.intp] | None, count: int) -> Array | None:
        """Return which of these ``count`` rows are among the chosen of all; None: all are."""
        if chosen is None:
            return None
        last = self.first_row + count
        local = chosen[np.searchsorted(chosen, self.first_row) : np.searchsorted(chosen, last)]
        return local - self.first_row
