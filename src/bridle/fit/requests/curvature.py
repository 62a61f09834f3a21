"""The curvature of the loss, from some rows or all: its factors, the whole, products with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from bridle.fit import arrays
from bridle.fit.requests import thin
from bridle.fit.requests.base import Array, Block, Point, Request
from bridle.fit.requests.values import Values, ValueSums


@dataclass
class ClassSums:
    """What `ClassCurvature` adds up; the Hessian of the mean loss by the offset is a part of it."""

    weight: Any  # Σ s
    spread: Any  # Σ s (1 − ‖p‖²)
    mean: Array  # (K,): Σ s p
    square: Array  # (K, K): Σ s p pᵀ, or its diagonal (K,)

    def hessian(self) -> Array:
        """Return ``Σ s (diag p − p pᵀ) / Σ s``, or its diagonal."""
        if self.square.ndim == 1:
            return (self.mean - self.square) / self.weight
        # Probabilities sum to 1, so a row's sum is the mean. The mean summed by itself rounds
        # otherwise, and a constant added to all scores would seem to be curved.
        square = arrays.in_dtype_of(self.square, self.mean)
        return (arrays.diagonal(square.sum(1)) - square) / self.weight


@dataclass(frozen=True)
class ClassCurvature(Request[ClassSums]):
    """How sure the model is at a point, from some rows; of very many classes the diagonal."""

    point: Point
    rows: npt.NDArray[np.intp] | None = None
    diagonal: bool = False

    @property
    def dtype(self) -> np.dtype[Any]:  # type: ignore[override]  # the point's
        """That of the point's products."""
        return self.point.precision.dtype

    def columns(self, width: int) -> int:
        return len(self.point.offset)

    def empty(self, like: Array) -> ClassSums:
        classes = len(self.point.offset)
        shape = classes if self.diagonal else (classes, classes)
        return ClassSums(0.0, 0.0, arrays.zeros(classes, like), arrays.zeros(shape, like))

    def sums(self, block: Block) -> ClassSums:
        probability = block.probabilities(self.point)
        row_weight = block.row_weight
        weighted = probability * arrays.in_dtype_of(row_weight, probability)[:, None]
        if self.diagonal:
            square = arrays.column_products(probability, weighted)
        else:
            square = probability.T @ weighted
        return ClassSums(
            row_weight.sum(),
            arrays.inner(row_weight, 1 - arrays.row_squares(probability)),
            arrays.column_sums(weighted),
            square,
        )

    def merge(self, one: ClassSums, other: ClassSums) -> ClassSums:
        one.weight = one.weight + other.weight
        one.spread = one.spread + other.spread
        one.mean += other.mean
        one.square += other.square
        return one


class Importance(NamedTuple):
    """What rows count for in the features' curvature: the less sure the model is, the more.

    Samples that it is sure of add no curvature; a twentieth of their weight keeps the sums' rank.
    """

    point: Point
    mean_spread: float

    def of(self, block: Block) -> Array:
        """Return ``s (0.05 + 0.95 (1 − ‖p‖²) / mean)`` of each row, in float64."""
        spread = 1 - arrays.row_squares(block.probabilities(self.point))
        return block.row_weight * (0.05 + 0.95 / self.mean_spread * spread)


@dataclass(frozen=True)
class FeatureCurvature(Request[Array]):
    """``Σ f u uᵀ`` (D, D) of some rows, with an `Importance` f; the sample weight for None.

    Or between some of the features only.
    """

    importance: Importance | None
    shift: Array
    scale: Array
    rows: npt.NDArray[np.intp] | None = None
    places: npt.NDArray[np.intp] | None = None

    def columns(self, width: int) -> int:
        return width if self.places is None else len(self.places)

    def empty(self, like: Array) -> Array:
        size = self.columns(len(self.shift))
        return arrays.zeros((size, size), like)

    def sums(self, block: Block) -> Array:
        factor = block.row_weight if self.importance is None else self.importance.of(block)
        if (columns := block.thin_columns(self.places)) is not None:
            own = slice(None) if self.places is None else self.places
            return thin.centred_product(columns, self.shift[own], self.scale[own], factor)
        rows = block.scaled(self.shift, self.scale, factor**0.5, self.places)
        # The product of an array with itself is half the work.
        return rows.T @ rows

    def merge(self, one: Array, other: Array) -> Array:
        one += other
        return one


@dataclass(frozen=True)
class FeatureDiagonal(Request[Array]):
    """``Σ f x²`` and ``Σ f x`` (2, D) of some rows, f as in `FeatureCurvature`."""

    importance: Importance | None
    width: int
    rows: npt.NDArray[np.intp] | None = None

    def columns(self, width: int) -> int:
        del width
        return 1 if self.importance is None else len(self.importance.point.offset)

    def empty(self, like: Array) -> Array:
        return arrays.zeros((2, self.width), like)

    def sums(self, block: Block) -> Array:
        factor = block.row_weight if self.importance is None else self.importance.of(block)
        return block.square_sums(factor)

    def merge(self, one: Array, other: Array) -> Array:
        one[0] += other[0]
        one[1] += other[1]
        return one


class WeightedRows(NamedTuple):
    """What `LeadingRows` gathers."""

    rows: list[Array]  # (n_i, D): u √f
    weight: Any  # Σ f


@dataclass(frozen=True)
class LeadingRows(Request[WeightedRows]):
    """A few rows themselves, times the root of their weight f: what spans wide features."""

    importance: Importance | None
    shift: Array
    scale: Array
    rows: npt.NDArray[np.intp] | None = None

    def columns(self, width: int) -> int:
        return width

    def empty(self, like: Array) -> WeightedRows:
        del like
        return WeightedRows([], 0.0)

    def sums(self, block: Block) -> WeightedRows:
        factor = block.row_weight if self.importance is None else self.importance.of(block)
        return WeightedRows([block.scaled(self.shift, self.scale, factor**0.5)], factor.sum())

    def merge(self, one: WeightedRows, other: WeightedRows) -> WeightedRows:
        return WeightedRows([*one.rows, *other.rows], one.weight + other.weight)


@dataclass
class HessianSums:
    """What `WholeHessian` adds up, on the host, of rows ``v`` = u and a 1 for the intercept."""

    moments: npt.NDArray[Any]  # (K, D [+1], D [+1]): Σ s p_c v vᵀ
    outer: npt.NDArray[Any]  # (n, n): Σ s (v ⊗ p Z) (v ⊗ p Z)ᵀ, Z the contrasts


@dataclass(frozen=True)
class WholeHessian(Request[HessianSums]):
    """The second derivatives of a small problem, in contrasts of its classes, in float64."""

    point: Point
    shift: npt.NDArray[Any]
    scale: npt.NDArray[Any]
    contrasts: npt.NDArray[Any]  # (K, K − 1)
    fit_intercept: bool
    most_rows: int | None = None

    dtype = np.dtype(np.float64)

    @property
    def depth(self) -> int:
        """The number of features, the intercept's 1 included."""
        return len(self.shift) + self.fit_intercept

    def columns(self, width: int) -> int:
        return self.depth * int(self.contrasts.shape[1])

    def multiplications(self, width: int) -> int:
        return self.columns(width) ** 2

    def empty(self, like: Array) -> HessianSums:
        del like
        size = self.columns(0)
        moments = np.zeros((len(self.contrasts), self.depth, self.depth))
        return HessianSums(moments, np.zeros((size, size)))

    def sums(self, block: Block) -> HessianSums:
        probability = block.probabilities(self.point)
        row_weight = block.row_weight[:, None]
        rows = np.ones((len(probability), self.depth))
        rows[:, : len(self.shift)] = block.scaled(self.shift, self.scale, np.ones(len(rows)))
        combined = rows[:, :, None] * (probability @ self.contrasts)[:, None, :]
        combined = combined.reshape(len(rows), -1)
        weighted = row_weight * probability
        moments = [rows.T @ (rows * weighted[:, c, None]) for c in range(len(self.contrasts))]
        return HessianSums(np.stack(moments), combined.T @ (combined * row_weight))

    def merge(self, one: HessianSums, other: HessianSums) -> HessianSums:
        one.moments += other.moments
        one.outer += other.outer
        return one


@dataclass(frozen=True)
class HessianProduct(Request[ValueSums]):
    """The Hessian of the loss at a point times a direction, as sums like those of `Values`."""

    point: Point
    direction: Point

    @property
    def dtype(self) -> np.dtype[Any]:  # type: ignore[override]  # the direction's
        """That of the direction's products."""
        return self.direction.precision.dtype

    def columns(self, width: int) -> int:
        return len(self.point.offset)

    def empty(self, like: Array) -> ValueSums:
        weight, offset = self.direction.weight, self.direction.offset
        product = arrays.in_dtype_of(arrays.zeros(weight.shape, like), weight)
        none = arrays.nothing(like)
        return ValueSums(none, none, arrays.zeros(len(offset), like), product)

    def sums(self, block: Block) -> ValueSums:
        change = block.residual_change(block.scores(self.direction), self.point)
        none = arrays.nothing(change)
        return ValueSums(none, none, arrays.column_sums(change), block.transposed_product(change))

    merge = Values.merge
