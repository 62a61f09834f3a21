"""Rows that lie on the workers of a Dask cluster: a task a part, and a tree of merges.

Parts stay where they are. The tasks of a question depend on them, so that a part whose worker is
lost is loaded again elsewhere, by Dask, and only its sums are added up once more. No task waits for
another of the same question: there is nothing that could hang.
"""

from __future__ import annotations

import copy
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from bridle.fit.readers.ranks import Asked, answers_of_place, facts_of_all, merged_answers
from bridle.fit.readers.reader import Reader
from bridle.fit.requests import Facts, Question
from bridle.ranks import ClusterError

Result = TypeVar("Result")
Future = Any  # distributed.Future
Client = Any  # distributed.Client

_SECONDS = 1.0  # between two looks at whether there are workers
# A question is as large as the weights; Dask would warn of that, and means data.
_LARGE_TASK = "distributed.admin.large-graph-warning-threshold"


class ClusterReader(Reader):
    """The rows of all parts, as the solver sees them."""

    def __init__(self, facts: Facts, memory_budget: int, place: int, parts: PartReaders) -> None:
        # A part's residuals are kept for the very question that came before: here, none is.
        self.facts = replace(facts, keeps_residuals=False)
        self.memory_budget = memory_budget
        self._place, self._parts = place, parts

    def blocks(self, question: Question[Any]) -> Iterator[Any]:
        """Rows are never here: only sums are."""
        raise NotImplementedError

    def answer(self, question: Question[Any]) -> Any:
        """Return the answer of all parts."""
        return self._parts.answers([(self._place, question)])[0]

    def answer_together(self, asked: Sequence[tuple[Any, Question[Any]]]) -> list[Any]:
        """Return the answers of all parts: a task for each part answers all that is asked."""
        return self._parts.answers([(reader._place, question) for reader, question in asked])

    def shares_passes_with(self, other: Reader) -> bool:
        """Tell whether the same tasks answer for both."""
        return isinstance(other, ClusterReader) and other._parts is self._parts

    def threads(self) -> AbstractContextManager[Any]:
        """Leave them alone: the products are the workers'."""
        return nullcontext()


class PartReaders:
    """The readers that each part has on a worker, as many and in one order in all of them."""

    def __init__(
        self, client: Client, readers: Sequence[Future], names: Sequence[str], timeout: float
    ) -> None:
        self._client, self._readers, self._timeout = client, list(readers), timeout
        self._names = list(names)

    def of_all_rows(self, memory_budget: int) -> list[Reader]:
        """Return the readers of all parts together, which share the memory of the solver."""
        of_parts = self._results(self._client.map(_facts, self._readers, pure=False))
        facts = [facts_of_all(each) for each in zip(*of_parts, strict=True)]
        budget = max(1, memory_budget // len(facts))
        return [ClusterReader(each, budget, place, self) for place, each in enumerate(facts)]

    def answers(self, questions: Asked) -> list[Any]:
        """Return the sums over the rows of all parts: a task a part, and a tree of merges."""
        client = self._client
        with sys.modules["dask"].config.set({_LARGE_TASK: "1 TiB"}):
            asked = client.submit(same, questions, pure=False)
        sums = client.map(_answers, self._readers, self._names, asked=asked, pure=False)
        while len(sums) > 1:
            pairs = [sums[place : place + 2] for place in range(0, len(sums), 2)]
            sums = [
                client.submit(_merged, asked, *pair, pure=False) if len(pair) == 2 else pair[0]
                for pair in pairs
            ]
        found: list[Any] = self._results(sums)[0]
        return found

    def _results(self, futures: Sequence[Future]) -> list[Any]:
        return results_of(self._client, futures, self._timeout)


def results_of(client: Client, futures: Sequence[Future], timeout: float) -> list[Any]:
    """Return the results of futures, in their order, as long as there is a worker to make them.

    Raises
    ------
    ClusterError
        There was no worker for so many seconds, tasks ended their workers again and again, or the
        scheduler was lost.
    """
    distributed: Any = sys.modules["distributed"]
    last_seen = time.monotonic()
    while True:
        try:
            distributed.wait(futures, timeout=_SECONDS)
            # A task's own error is raised, one of time too; only waiting for a worker goes on.
            for each in futures:
                if each.status == "error":
                    raise _TaskError(each.exception())
            return [each.result(timeout=timeout) for each in futures]
        except TimeoutError:
            pass
        except _TaskError as error:
            raise _of_task(distributed, error.args[0]) from None
        except distributed.CancelledError as error:
            raise ClusterError(f"the cluster's scheduler was lost: {error}") from None
        if client.status == "running" and client.nthreads():
            last_seen = time.monotonic()
        elif time.monotonic() - last_seen > timeout:
            raise _without_workers(timeout)


class _TaskError(Exception):
    """Holds what was raised in a task."""


def _of_task(distributed: Any, error: BaseException) -> BaseException:
    if isinstance(error, distributed.KilledWorker):
        return ClusterError(f"workers were lost again and again: {error}")
    # The client keeps what a task raised: its traceback would keep all that was asked of the
    # cluster, and that what is there.
    return copy.copy(error)


def _without_workers(timeout: float) -> ClusterError:
    return ClusterError(f"the cluster has had no worker for {timeout:g} s")


def same(value: Result) -> Result:
    """Return a value: as a task of its own it can be made again where its worker is lost."""
    return value


def _facts(readers: Sequence[Reader]) -> list[Facts]:
    return [replace(each.facts, like=np.empty(0)) for each in readers]


def _answers(readers: Sequence[Reader], name: str, asked: Asked) -> list[Any]:
    with readers[0].threads():
        return answers_of_place(readers, name, asked)


def _merged(asked: Asked, one: list[Any], other: list[Any]) -> list[Any]:
    # A merge may write into its first sums, which Dask may want again where a worker is lost.
    return merged_answers(asked, copy.deepcopy(one), other)
