r"""A penalty that is not only a square: it makes weights exactly 0.

    R(V) = Σ_j f_j · (a₁ N(V_j) + a₂/2 ‖V_j‖²)

over the features j, with ``N(v) = Σ_k |v_k|`` or, of whole features, ``N(v) = ‖v‖``. The second
keeps or drops a feature for all classes at once. The dual norm ``N*`` tells how large a gradient
may be where a weight is 0: ``max_k |g_k|``, or ``‖g‖``.

References: H. Zou, T. Hastie, *Regularization and Variable Selection via the Elastic Net*, 2005;
M. Yuan, Y. Lin, *Model Selection and Estimation in Regression with Grouped Variables*, 2006.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from bridle.fit import arrays

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class PenaltyKind:
    """What is penalised, whatever the strength.

    Attributes
    ----------
    l1_ratio : float
        ρ: ``a₁`` is this part of the strength, ``a₂`` the rest.
    by_feature : bool
        Whether a feature's weights are 0 for all classes or none.
    factors : ndarray (D,) or None
        f; None is 1 for all.
    """

    l1_ratio: float = 0.0
    by_feature: bool = False
    factors: Array | None = None

    @property
    def scales(self) -> Array | None:
        """What features may be divided by, so that a plain square is what is left of the penalty.

        ``f v²`` is the square of ``√f v``.
        """
        if self.factors is None or self.l1_ratio > 0 or not self.factors.all():
            return None
        return np.sqrt(self.factors)

    @property
    def is_square(self) -> bool:
        """Whether a plain square is left once features are divided by `scales`."""
        return self.l1_ratio == 0 and (self.factors is None or bool(self.factors.all()))

    def of_strength(self, strength: float, width: int, *, one_vector: bool) -> Penalty:
        """Return the penalty of so many features."""
        factors = np.ones(width) if self.factors is None else self.factors
        l1, l2 = strength * self.l1_ratio, strength * (1 - self.l1_ratio)
        return Penalty(l1, l2, self.by_feature, factors, one_vector)


@dataclass(frozen=True)
class Penalty:
    """What weights (D, K) cost, in the units of the objective; an intercept costs nothing."""

    l1: float  # a₁
    l2: float  # a₂
    by_feature: bool  # N is a feature's length over all classes; else the sum of sizes
    factors: Array  # (D,): f, at least 0
    one_vector: bool = False  # of two classes, the first has no weights
    # (D, K): where a weight may be other than 0, whose cost is then 0; None for everywhere.
    support: npt.NDArray[np.bool_] | None = None

    @property
    def has_cost(self) -> bool:
        """Whether weights cost something."""
        return self.support is None

    @property
    def frees_features(self) -> bool:
        """Whether some features cost nothing."""
        return not self.factors.all()

    def on_support(self, weight: Array) -> Penalty:
        """Return that of weights which cost nothing, where the given ones are not 0."""
        return replace(self, l1=0.0, l2=0.0, factors=np.zeros(len(weight)), support=weight != 0)

    def value(self, weight: Array) -> float:
        """Return what weights cost."""
        kept = arrays.rows_with_numbers(weight)  # few, of many features
        weight, factors = weight[kept], self.factors[kept]
        squares = factors @ np.einsum("jk,jk->j", weight, weight)
        return float(self.l1 * (factors @ self.lengths(weight)) + self.l2 / 2 * squares)

    def lengths(self, weight: Array) -> Array:
        """Return N of each feature (D,), or of some."""
        if self.by_feature:
            return _row_lengths(weight)
        return np.asarray(np.abs(weight).sum(axis=1))

    def dual_lengths(self, gradient: Array) -> Array:
        """Return N* of each feature (D,), or of some, of the classes that have weights."""
        counted = self.counted(gradient)
        if self.by_feature:
            return _row_lengths(counted)
        lengths = np.empty(len(counted))
        for block in arrays.slices_in_cache(counted):
            np.abs(counted[block]).max(axis=1, out=lengths[block])
        return lengths

    def counted(self, values: Array) -> Array:
        """Return the columns of the classes that have weights."""
        return values[:, 1:] if self.one_vector else values

    def conjugate(self, gradient: Array, rows: slice = slice(None)) -> float:
        """Return ``R*(g) = Σ (N*(g) − f a₁)₊² / (2 f a₂)``, over features that are not free.

        The gradient is that of all features, or of the ``rows`` told.

        The squares are of each entry by itself, or of a feature's length. Without ``a₂`` it is 0
        for a gradient that is small enough, which the caller sees to.
        """
        if self.l2 == 0:
            return 0.0
        counted = self.counted(gradient)
        sizes = self.dual_lengths(gradient)[:, None] if self.by_feature else np.abs(counted)
        factors = self.factors[rows]
        costs = factors > 0
        factors = factors[costs, None]
        excess = np.maximum(sizes[costs] - self.l1 * factors, 0)
        return float((excess**2 / factors).sum()) / (2 * self.l2)


def _row_lengths(values: Array) -> Array:
    return np.asarray(np.sqrt(np.einsum("jk,jk->j", values, values)))
