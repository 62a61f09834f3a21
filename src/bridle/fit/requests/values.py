"""The loss and its gradient at a point."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from bridle.fit import arrays
from bridle.fit.requests.base import Array, Block, Point, Request


@dataclass
class ValueSums:
    """What `Values` adds up, in float64."""

    loss: Any  # Σ s · loss
    worst_loss: Any  # the largest loss of a row that counts
    residual: Array  # (K,): Σ s (p − t)
    product: Array  # (D, K): Σ s x (p − t)ᵀ; (0, K) for `InterceptValues`


@dataclass(frozen=True)
class Values(Request[ValueSums]):
    """Loss and gradient at a point."""

    point: Point

    @property
    def dtype(self) -> np.dtype[Any]:  # type: ignore[override]  # the point's
        """That of the point's products."""
        return self.point.precision.dtype

    def columns(self, width: int) -> int:
        return len(self.point.offset)

    def empty(self, like: Array) -> ValueSums:
        classes = len(self.point.offset)
        shape = (len(self.point.weight), classes)
        none = arrays.nothing(like)
        return ValueSums(none, none, arrays.zeros(classes, like), arrays.zeros(shape, like))

    def sums(self, block: Block) -> ValueSums:
        block = block.counted()
        losses, residual = block.residual(self.point)
        sums = block.loss_sums(losses)
        return ValueSums(*sums, arrays.column_sums(residual), block.transposed_product(residual))

    def merge(self, one: ValueSums, other: ValueSums) -> ValueSums:
        one.loss = one.loss + other.loss
        one.worst_loss = arrays.larger(one.worst_loss, other.worst_loss)
        one.residual += other.residual
        one.product += other.product
        return one


@dataclass(frozen=True)
class InterceptValues(Values):
    """Loss and the intercept's gradient alone: no product back.

    A reader that `Facts.keeps_residuals` has those of the last such point: where only the offset
    differs, nothing is multiplied, and `Values` at the same point has but its second product to do.
    """

    def empty(self, like: Array) -> ValueSums:
        classes = len(self.point.offset)
        none = arrays.nothing(like)
        return ValueSums(none, none, arrays.zeros(classes, like), arrays.zeros((0, classes), like))

    def sums(self, block: Block) -> ValueSums:
        losses, residual = block.residual(self.point)
        none = arrays.zeros((0, len(self.point.offset)), residual)
        return ValueSums(*block.loss_sums(losses), arrays.column_sums(residual), none)
