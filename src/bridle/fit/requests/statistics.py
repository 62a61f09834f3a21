"""What a fit begins with: the moments of the features, and their products with the targets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bridle.fit import arrays
from bridle.fit.requests.base import Array, Block, Request


@dataclass
class Moments:
    """What `Statistics` adds up."""

    weight: float  # Σ s
    mean: Array  # (D,): Σ s x / Σ s
    squares: Array  # (D,): Σ s (x − mean)²
    target_product: Array  # (D, K): Σ s x tᵀ
    classes: Array  # (K,): Σ s t


@dataclass(frozen=True)
class Statistics(Request[Moments]):
    """The moments of the features, about their mean, and their products with the targets."""

    width: int
    classes: int

    dtype = np.dtype(np.float64)

    def columns(self, width: int) -> int:
        return max(width, self.classes)

    def empty(self, like: Array) -> Moments:
        mean, squares = (arrays.zeros(self.width, like) for _ in range(2))
        product = arrays.zeros((self.width, self.classes), like)
        return Moments(0.0, mean, squares, product, arrays.zeros(self.classes, like))

    def sums(self, block: Block) -> Moments:
        product, weight = block.target_product(self.classes), float(block.row_weight.sum())
        # A target sums to 1.
        with np.errstate(over="ignore", invalid="ignore"):
            mean = product.sum(1) / (weight or 1.0)
            squares = block.squares_about(mean)
        classes = arrays.target_sum(block.target, self.classes, block.row_weight)
        return Moments(weight, mean, squares, product, classes)

    def merge(self, one: Moments, other: Moments) -> Moments:
        one.target_product += other.target_product
        one.classes += other.classes
        if other.weight == 0:
            return one
        weight = one.weight + other.weight
        # Chan's update: the squares are about each set's own mean, so that nothing cancels.
        with np.errstate(over="ignore", invalid="ignore"):
            mean_difference = other.mean - one.mean
            one.squares += other.squares + mean_difference**2 * (one.weight * other.weight / weight)
            one.mean += mean_difference * (other.weight / weight)
        one.weight = weight
        return one


@dataclass(frozen=True)
class Extremes(Request[npt.NDArray[Any]]):
    """The least and the largest value (2, n) of some columns, of rows that count; on the host."""

    places: npt.NDArray[np.intp]

    dtype = np.dtype(np.float64)

    def columns(self, width: int) -> int:
        return len(self.places)

    def empty(self, like: Array) -> npt.NDArray[Any]:
        del like
        return np.outer([np.inf, -np.inf], np.ones(len(self.places)))

    def sums(self, block: Block) -> npt.NDArray[Any]:
        values = block.columns(self.places)
        return np.stack([values.min(axis=0, initial=np.inf), values.max(axis=0, initial=-np.inf)])

    def merge(self, one: npt.NDArray[Any], other: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return np.stack([np.minimum(one[0], other[0]), np.maximum(one[1], other[1])])
