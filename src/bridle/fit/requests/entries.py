"""The loss's curvature between some single weights: those that a penalty leaves other than 0."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from bridle.fit import arrays
from bridle.fit.requests import thin
from bridle.fit.requests.base import Array, Block, Point, Request


class Entries(NamedTuple):
    """Which weights are meant: the feature and the class of each (n,); intercepts of classes."""

    features: npt.NDArray[np.intp]
    classes: npt.NDArray[np.intp]
    intercepts: npt.NDArray[np.intp]

    def __len__(self) -> int:
        return len(self.classes) + len(self.intercepts)


@dataclass(frozen=True)
class CountedRows(Request[int]):
    """How many of some rows have a weight."""

    rows: npt.NDArray[np.intp] | None = None

    def columns(self, width: int) -> int:
        del width
        return 1

    def empty(self, like: Array) -> int:
        del like
        return 0

    def sums(self, block: Block) -> int:
        return int((block.row_weight > 0).sum())

    def merge(self, one: int, other: int) -> int:
        return one + other


@dataclass
class EntrySums:
    """What `EntryCurvature` adds up."""

    matrix: Array  # (n, n): Σ s u_j u_m p_k (δ_kl − p_l), of entries (j, k) and (m, l)
    weight: Any  # Σ s


@dataclass(frozen=True)
class EntryCurvature(Request[EntrySums]):
    """The loss's second derivatives between some entries, from some rows.

    An intercept's u is 1.
    """

    point: Point
    entries: Entries
    shift: npt.NDArray[Any]
    scale: npt.NDArray[Any]
    rows: npt.NDArray[np.intp] | None = None
    most_rows: int | None = None

    @property
    def dtype(self) -> np.dtype[Any]:  # type: ignore[override]  # the point's
        """That of the point's products."""
        return self.point.precision.dtype

    def columns(self, width: int) -> int:
        del width
        return 3 * len(self.entries) + len(self.point.offset)

    def multiplications(self, width: int) -> int:
        del width
        return len(self.entries) ** 2

    def empty(self, like: Array) -> EntrySums:
        size = len(self.entries)
        return EntrySums(arrays.zeros((size, size), like), arrays.nothing(like))

    def sums(self, block: Block) -> EntrySums:
        used, places = np.unique(self.entries.features, return_inverse=True)
        classes = np.concatenate([self.entries.classes, self.entries.intercepts])
        probability = block.probabilities(self.point)
        if (columns := block.thin_columns(used)) is not None:
            matrix = thin.entry_product(
                columns, places, classes, self.shift[used], self.scale[used], probability,
                block.row_weight,
            )  # fmt: skip
            return EntrySums(matrix, block.row_weight.sum())
        root = block.row_weight**0.5
        rows = block.scaled(self.shift, self.scale, root, used)
        root, probability = (arrays.in_dtype_of(each, rows) for each in (root, probability))
        values = arrays.with_columns(rows[:, places], root, len(self.entries.intercepts))
        expected = values * probability[:, classes]
        # The product of an array with itself is half the work.
        matrix = -arrays.in_dtype(expected.T @ expected, np.dtype(np.float64))
        for each in np.unique(classes).tolist():
            own = np.flatnonzero(classes == each)
            of_class = values[:, own] * probability[:, each, None] ** 0.5
            matrix[np.ix_(own, own)] += of_class.T @ of_class
        return EntrySums(matrix, block.row_weight.sum())

    def merge(self, one: EntrySums, other: EntrySums) -> EntrySums:
        one.matrix += other.matrix
        one.weight = one.weight + other.weight
        return one
