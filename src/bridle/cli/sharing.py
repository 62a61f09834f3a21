"""What each of several processes, or of a cluster's workers, gets of the samples that one loaded.

The one that prints loads the data, so that a file is parsed and labels are read once. Features in
mapped files are handed over by the name of the file, and read by who gets them. Others, which had
to be parsed or unpacked, it keeps in a temporary file, out of which it reads one share at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from bridle.cli.sampling import Samples, check_finite
from bridle.data import Dataset, Scratch
from bridle.rows import Rows

Array = npt.NDArray[Any]


def scratch(parts: int, *, elsewhere: bool = False) -> Scratch | None:
    """Return what features go to that are dealt out; None where one process keeps them all."""
    return Scratch() if parts > 1 or elsewhere else None


def rows_of_parts(count: int, parts: int) -> list[slice]:
    """Return which of so many rows are in each of several parts, as many in one as in another."""
    return [slice(count * part // parts, count * (part + 1) // parts) for part in range(parts)]


@dataclass(frozen=True)
class Share:
    """Some of the samples to fit; and the rows of the data that are still to be looked through."""

    samples: Samples
    fold: Array | None  # of each sample, where there are folds
    dataset: Dataset  # what messages are about; without rows
    unchecked: Rows | None = None
    first_unchecked: int = 0

    def checked(self) -> Samples:
        """Return the samples.

        Raises
        ------
        InputError
            A row with a NaN or an infinity, among all those that are this one's to look through.
        """
        if self.unchecked is not None:
            check_finite(self.unchecked, self.dataset, self.first_unchecked)
        return self.samples


def are_looked_through_in_parts(dataset: Dataset) -> bool:
    """Whether each who gets a share looks through the features: those that nobody has read yet."""
    return dataset.features.are_mapped


def shares(dataset: Dataset, train: Samples, fold: Array | None, parts: int) -> Iterator[Share]:
    """Yield the share of each part: as many samples to fit, in their order, and rows to look at."""
    told, in_parts = without_rows(dataset), are_looked_through_in_parts(dataset)
    of_train, of_all = (
        rows_of_parts(len(train.target), parts),
        rows_of_parts(len(dataset.features), parts),
    )
    for own, unchecked in zip(of_train, of_all, strict=True):
        yield Share(
            replace(
                train,
                features=rows_in(train.features, own).alone(),
                target=train.target[own],
                ids=[],  # of whom nobody but who loaded them tells
                texts=None,
            ),
            None if fold is None else fold[own],
            told,
            rows_in(dataset.features, unchecked) if in_parts else None,
            unchecked.start,
        )


def rows_in(features: Rows, rows: slice) -> Rows:
    """Return a range of rows."""
    if rows == slice(0, len(features)):
        return features
    return features.take(np.arange(rows.start, rows.stop))


def without_rows(dataset: Dataset) -> Dataset:
    """Return what is known of data, without what there is of each row."""
    none = dataset.features.take(np.zeros(0, np.intp)).alone()
    return replace(
        dataset, features=none, target=None, ids=None, texts=None, named={}, table=None, test=None
    )
