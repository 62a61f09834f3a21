"""A fit on the workers of a Dask cluster: its parts, and what they say together."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from bridle import checks
from bridle.estimators.base import Classifier
from bridle.estimators.shares import Checked, check_told, rows_in
from bridle.fit.readers import Reader
from bridle.fit.readers.block_sizes import DEFAULT_MEMORY
from bridle.fit.readers.cluster import PartReaders, results_of, same
from bridle.rows import Features

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


def parts_of(X: Collection | Parts, y: Any, sample_weight: Any, device: Any = None) -> Parts:
    """Return the parts of a dask array or data frame, one for each chunk of its rows.

    Raises
    ------
    InputError
        No client is connected, or the chunks of the three do not fit together.
    """
    if device is not None:
        raise checks.InputError.of(
            "device",
            expected="None for rows on a cluster, whose workers make the products",
            found=repr(device),
        )
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


class ClusterPlaces:
    """The parts on a cluster: see `shares.Places`."""

    is_first = True

    def __init__(self, parts: Parts, timeout: float, memory_budget: int | None = None) -> None:
        """Let every part's rows be checked; the memory is the client's, for its solver."""
        self._parts, self._client, self._timeout = parts, parts.client, timeout
        self._memory_budget = memory_budget or DEFAULT_MEMORY
        self._names = parts.names or [f"part {place}" for place in range(len(parts.rows))]
        self.checked: Any = self.make(_checked, list(parts.rows))

    def make(self, work: Callable[..., Any], *given: Any) -> list[Future]:
        """Let a task for each part make something; it stays on the worker."""
        return [
            self._client.submit(_attempted, work, place, *own, pure=False)
            for place, own in enumerate(zip(*map(self._own, given), strict=True))
        ]

    def _own(self, made: Any) -> Sequence[Any]:
        return made if isinstance(made, list) else [made] * len(self._names)

    def said(self, made: list[Future]) -> list[Any]:
        """Return what each part's task made."""
        try:
            return results_of(self._client, made, self._timeout)
        except PartError as error:
            raise self._counted(error) from None

    def one(self, made: list[Future]) -> Any:
        """Return what the first part's task made."""
        return self.said(made[:1])[0]

    def own(self, made: list[Future]) -> Array:
        """Return what all parts made: the client was given all rows."""
        return np.concatenate(self.said(made))

    def shared(self, value: Any) -> Future:
        """Keep a value in a task that all others read, in place of as many copies."""
        return self._client.submit(same, value, pure=False)

    def dealt(self, values: Sequence[Any]) -> list[Any]:
        """Return a value for each part."""
        return list(values)

    def told_of_rows(self, values: Array, name: str, counts: Sequence[int]) -> list[Future]:
        """Send each part what is told of its rows."""
        check_told(values, name, sum(counts))
        told = np.split(values, np.cumsum(counts)[:-1])
        return [self._client.submit(same, each, pure=False) for each in told]

    def solved(self, readers: list[Future], solve: Callable[[Sequence[Reader]], Result]) -> Result:
        """Return what ``solve`` makes, here."""
        parts = PartReaders(self._client, readers, self._names, self._timeout)
        try:
            return solve(parts.of_all_rows(self._memory_budget))
        except PartError as error:
            raise self._counted(error) from None

    def _counted(self, error: PartError) -> checks.InputError:
        """Return what was found in a part, with the row's number among those of all parts.

        The parts before are counted only now, when somebody asks for it.
        """
        found, place = error.error, error.place
        if found.row is None:
            return found.found_at(self._names[place])
        before = self._client.map(_rows_of, self._parts.rows[:place], pure=False)
        first_row = sum(results_of(self._client, before, self._timeout))
        return found.found_among(
            self._names[place], first_row, counted_over_all=error.counted_over_all
        )


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
        if counts is not None and own_counts is not None and sum(own_counts) != sum(counts):
            raise checks.InputError.of(
                name,
                expected=f"one entry for each of {sum(counts)} samples of X",
                found=sum(own_counts),
            )
        if counts is not None and own_counts is not None:
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


def _checked(given: tuple[Features, Any, Any]) -> Checked:
    return _Checker()._part(*given, least=0)


def _rows_of(given: tuple[Features, Any, Any]) -> int:
    return rows_in(given[0])


def _attempted(work: Callable[..., Result], place: int, *own: Any) -> Result:
    """Return what a part's task makes."""
    try:
        return work(*own)
    except checks.InputError as error:
        # Who checks rows knows of no others; whatever is made of them later does.
        raise PartError(error, place, work is not _checked) from None


class PartError(Exception):
    """What is wrong with a part's rows, before it is known how many there are in those before."""

    def __init__(self, error: checks.InputError, place: int, counted_over_all: bool) -> None:
        super().__init__(error, place, counted_over_all)
        self.error, self.place, self.counted_over_all = error, place, counted_over_all
