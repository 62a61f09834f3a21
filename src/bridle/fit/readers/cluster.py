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
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from bridle import checks
from bridle.fit.readers.ranks import facts_of_all
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
    """The rows of all parts, as the solver sees them; each part is a reader on a worker."""

    def __init__(
        self, client: Client, readers: Sequence[Future], names: Sequence[str],
        memory_budget: int, timeout: float,
    ) -> None:  # fmt: skip
        self._client, self._readers, self._timeout = client, list(readers), timeout
        self._names = list(names)
        facts = results_of(client, client.map(_facts, self._readers, pure=False), timeout)
        # A part's residuals are kept for the very question that came before: here, none is.
        self.facts = replace(facts_of_all(facts), keeps_residuals=False)
        self.memory_budget = memory_budget

    def blocks(self, question: Question[Any]) -> Iterator[Any]:
        """Rows are never here: only sums are."""
        raise NotImplementedError

    def answer(self, question: Question[Any]) -> Any:
        """Return the answer of all parts."""
        client = self._client
        with sys.modules["dask"].config.set({_LARGE_TASK: "1 TiB"}):
            asked = client.submit(same, question, pure=False)
        sums = client.map(_answer, self._readers, self._names, question=asked, pure=False)
        while len(sums) > 1:
            pairs = [sums[place : place + 2] for place in range(0, len(sums), 2)]
            sums = [
                client.submit(_merged, asked, *pair, pure=False) if len(pair) == 2 else pair[0]
                for pair in pairs
            ]
        return results_of(client, sums, self._timeout)[0]

    def threads(self) -> AbstractContextManager[Any]:
        """Leave them alone: the products are the workers'."""
        return nullcontext()


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
    return error


def _without_workers(timeout: float) -> ClusterError:
    return ClusterError(f"the cluster has had no worker for {timeout:g} s")


def same(value: Result) -> Result:
    """Return a value: as a task of its own it can be made again where its worker is lost."""
    return value


def _facts(reader: Reader) -> Facts:
    return replace(reader.facts, like=np.empty(0))


def _answer(reader: Reader, name: str, question: Question[Any]) -> Any:
    with reader.threads(), in_part(name):
        return reader.answer(question)


@contextmanager
def in_part(name: str) -> Iterator[None]:
    """Say in an error which part it was found in."""
    try:
        yield
    except checks.InputError as error:
        raise error.found_at(name) from None


def _merged(question: Any, one: Any, other: Any) -> Any:
    # A merge may write into its first sums, which Dask may want again where a worker is lost.
    return question.merge(copy.deepcopy(one), other)
