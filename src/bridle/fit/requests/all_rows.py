"""What only a reader can answer that has all rows at hand: see `Facts.all_rows_on_host`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from bridle.fit.requests.base import OfAllRows, Point

Array = npt.NDArray[Any]


class Targets(NamedTuple):
    """What each row is to be, and how much it counts."""

    target: Array  # (N,) class indices, or (N, K) distributions
    row_weight: Array  # (N,): the sample weight, 1 where none were given


@dataclass(frozen=True)
class RowTargets(OfAllRows[Targets]):
    """The targets and weights of all rows."""

    def columns(self, width: int) -> int:
        return 0


@dataclass(frozen=True)
class Gram(OfAllRows[Array]):
    """The products of all rows u with each other (N, N), in a dtype."""

    shift: Array
    scale: Array
    kind: np.dtype[Any]

    def columns(self, width: int) -> int:
        return width


@dataclass(frozen=True)
class RowScores(OfAllRows[Array]):
    """The scores of all rows (N, K)."""

    point: Point

    def columns(self, width: int) -> int:
        return len(self.point.offset)


@dataclass(frozen=True)
class Combination(OfAllRows[Array]):
    """``Σ x aᵀ`` (D, K), of coefficients a (N, K) for each row, in float64."""

    coefficients: Array

    def columns(self, width: int) -> int:
        return int(self.coefficients.shape[1])


class Descended(NamedTuple):
    """Where the minimum of a quadratic with a penalty is, or is near."""

    values: Array  # (n,): the entries
    offset: Array  # (K,): what is added to the scores' offset
    settled: bool  # it is as near as was asked for


@dataclass(frozen=True)
class EntryDescent(OfAllRows[Descended]):
    """The minimum over some entries of the loss's own quadratic at a point, and of a penalty.

    Asked of sparse features alone; see `kernels.numpy.sparse_coordinates`. The entries are of
    features ``x / scale``, which are not centred.
    """

    point: Point
    features: npt.NDArray[np.intp]
    classes: npt.NDArray[np.intp]
    scale: Array  # (D,)
    slope: Array  # (n,): of the smooth part, with the scores' offset as it is
    offset_slope: Array | None  # (K,): in the offset; None where it stays
    extra: Array  # (n,): what is added to the entries' curvature
    start: Array  # (n,)
    cost: Array  # (n,): of the entries' sizes
    part: float  # of the first sweep's largest step, that the last one's may be
    most_sweeps: int

    def columns(self, width: int) -> int:
        return 3 * len(self.point.offset)


@dataclass(frozen=True)
class Separation:
    """A direction in which the loss falls for ever, told by its two most separated classes."""

    classes: tuple[int, int]  # the first is separated from the second …
    direction: Array  # (D,) … as these features, as stored, grow
    importance: Array  # (D,): the direction times each feature's deviation
    separated: int  # samples that it separates from some class
    count: int  # samples that count


@dataclass(frozen=True)
class SeparationAlong(OfAllRows[Separation | None]):
    """The direction of quasi-complete separation next to a step of the parameters, if any.

    See `readers.separation`.
    """

    step: Array  # (D [+1], K), in the fit's parameters
    shift: Array
    scale: Array
    deviation: Array  # of each feature as stored; 0 of a constant one
    fit_intercept: bool

    def columns(self, width: int) -> int:
        return int(self.step.shape[1])
