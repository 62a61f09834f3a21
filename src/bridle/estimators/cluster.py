"""A fit on the workers of a Dask cluster: its parts, and what they say together."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from bridle import checks
from bridle.estimators.base import Classifier
from bridle.estimators.problem import OwnRows
from bridle.estimators.shares import Part, Settings, Solve, rows_of_place, united
from bridle.fit.problem.targets import (
    ClassMasses,
    FitTarget,
    among_all,
    warn_of_weightless,
)
from bridle.fit.readers import Reader
from bridle.fit.readers.block_sizes import DEFAULT_MEMORY
from bridle.fit.readers.cluster import ClusterReader, in_part, results_of, same
from bridle.rows import Features, Rows

Array = npt.NDArray[Any]
Collection = Any  # a dask array, data frame or series
Future = Any  # distributed.Future
Result = TypeVar("Result")


class Parts(NamedTuple):
    """Rows in parts, each on a worker: futures of ``(X, y, sample_weight)``."""

    client: Any  # distributed.Client
    rows: Sequence[Future]
    empty: Features  # features without rows: their width and names
    names: Sequence[str] = ()  # what messages call the parts; their numbers, if there are none


def is_collection(X: Any) -> bool:
    """Tell whether rows lie on a cluster, or will."""
    dask = sys.modules.get("dask")
    return isinstance(X, Parts) or (dask is not None and bool(dask.is_dask_collection(X)))


def parts_of(X: Collection | Parts, y: Any, sample_weight: Any) -> Parts:
    """Return the parts of a dask array or data frame, one for each chunk of its rows.

    Raises
    ------
    InputError
        No client is connected, or the chunks of the three do not fit together.
    """
    if isinstance(X, Parts):
        return X
    client = _client()
    features, counts = _delayed_rows(X)
    targets = _delayed_column(y, "y", len(features), counts)
    weights: Sequence[Any] = [None] * len(features)
    if sample_weight is not None:
        weights = _delayed_column(sample_weight, "sample_weight", len(features), counts)
    given = [
        client.submit(_triple, *(_on_workers(client, each) for each in three), pure=False)
        for three in zip(features, targets, weights, strict=True)
    ]
    return Parts(client, given, _without_rows(X))


def solved_on_cluster(
    parts: Parts, settings: Settings, solve: Solve[Result], timeout: float
) -> tuple[Result, Array]:
    """Return what ``solve`` finds in the rows of all parts, and the classes.

    Raises
    ------
    InputError
        What is wrong with the rows of a part.
    ClusterError
        The cluster has no workers, or loses them again and again.
    """
    client = parts.client
    wait_for = partial(results_of, client, timeout=timeout)
    names = parts.names or [f"part {place}" for place in range(len(parts.rows))]
    checked = client.map(_checked, parts.rows, names, pure=False)
    of_all, first_rows = united(wait_for(client.map(_said, checked, pure=False)))
    # Its own rows are none: it stands for all that the parts have.
    none = FitTarget(of_all.classes[:0], np.zeros(0, np.intp), None)
    target = among_all(none, of_all, settings.class_weight)
    warn_of_weightless(target)
    # One task that all others read, in place of what would be as many copies.
    classes = client.submit(same, of_all, pure=False)
    rows = client.map(_rows, checked, first_rows, of_all=classes, settings=settings, pure=False)
    readers = client.map(_reader, rows, pure=False)
    (whole,) = wait_for([client.submit(_without_reader, rows[0], pure=False)])
    budget = settings.memory_budget or DEFAULT_MEMORY
    reader = ClusterReader(client, readers, names, budget, timeout)
    return solve(whole._replace(reader=reader)), target.classes


def _client() -> Any:
    distributed = checks.require(
        "distributed", extra="dask", purpose="a fit of a dask array or data frame"
    )
    try:
        return distributed.get_client()
    except ValueError:
        raise checks.InputError.of(
            "X", expected="a distributed.Client to be connected", found="a dask collection alone"
        ) from None


def _on_workers(client: Any, delayed: Any) -> Any:
    return client.compute(delayed) if hasattr(delayed, "__dask_graph__") else delayed


def _delayed_rows(X: Collection) -> tuple[list[Any], tuple[int, ...] | None]:
    """Return the parts, and how many rows each has, where that is known."""
    if not hasattr(X, "chunks"):
        return list(X.to_delayed()), None
    if X.ndim != 2:
        raise checks.InputError.of("X", expected="two dimensions", found=f"shape {X.shape}")
    whole_rows = X.rechunk({1: -1})
    return list(whole_rows.to_delayed().ravel()), _counts(whole_rows)


def _delayed_column(
    values: Any, name: str, parts: int, counts: tuple[int, ...] | None
) -> list[Any]:
    if not hasattr(values, "__dask_graph__"):
        if counts is None:
            raise checks.InputError.of(
                name, expected="a dask collection with the parts of X", found="an array"
            )
        values = np.asarray(values)
        if values.ndim == 0 or len(values) != sum(counts):
            raise checks.InputError.of(
                name, expected=f"one entry for each of {sum(counts)} samples of X",
                found=f"shape {values.shape}",
            )  # fmt: skip
        return np.split(values, np.cumsum(counts)[:-1])
    if hasattr(values, "chunks"):
        own_counts = _counts(values)
        if counts is not None and own_counts is not None and sum(own_counts) == sum(counts):
            values = values.rechunk({0: counts, **dict.fromkeys(range(1, values.ndim), -1)})
    delayed = list(np.ravel(np.asarray(values.to_delayed(), object)))
    if len(delayed) != parts:
        raise checks.InputError.of(
            name, expected=f"the {parts} parts of X", found=f"{len(delayed)} parts"
        )
    return delayed


def _counts(array: Any) -> tuple[int, ...] | None:
    counts = array.chunks[0]
    return None if any(np.isnan(each) for each in counts) else tuple(map(int, counts))


def _without_rows(X: Collection) -> Features:
    return X._meta if hasattr(X, "columns") else np.empty((0, X.shape[1]))


# --- what is done on a worker ---------------------------------------------------------------------


class _Checker(Classifier):
    """Checks features as every classifier does."""


def _triple(X: Any, y: Any, sample_weight: Any) -> tuple[Any, Any, Any]:
    return X, y, sample_weight


def _checked(
    given: tuple[Features, Any, Any], name: str
) -> tuple[Rows, FitTarget, tuple[str, ...]]:
    X, y, sample_weight = given
    with in_part(f"{name}, its own rows counted"):
        return _Checker()._part(X, y, sample_weight, least=0)


def _said(checked: tuple[Rows, FitTarget, tuple[str, ...]]) -> Part:
    return Part(ClassMasses.of(checked[1]), checked[2])


def _rows(
    checked: tuple[Rows, FitTarget, tuple[str, ...]],
    first_row: int,
    of_all: ClassMasses,
    settings: Settings,
) -> OwnRows:
    return rows_of_place(*checked[:2], of_all, first_row, settings)[0]


def _reader(rows: OwnRows) -> Reader:
    return rows.reader


def _without_reader(rows: OwnRows) -> OwnRows:
    return rows._replace(reader=None)  # type: ignore[arg-type]  # the one of all comes in its place
