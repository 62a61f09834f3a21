"""The units of features that a network learns well from, and how they go into its weights."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import sparse

from bridle import checks
from bridle.rows import Features

Array = npt.NDArray[Any]
# True: `standard`; a number: divided by it; a pair: shift and scale, of all columns or of each.
Standardize = bool | float | tuple[npt.ArrayLike, npt.ArrayLike]


class Units(NamedTuple):
    """``(x − shift) / scale`` of the features; an infinite scale leaves a column out."""

    shift: Array  # (D,)
    scale: Array  # (D,)

    def of(self, values: Features) -> Features:
        """Return features in these units; sparse ones stay sparse but for columns with a shift."""
        if not sparse.issparse(values):
            return self._of_dense(values)
        shifted, others = np.flatnonzero(self.shift), np.flatnonzero(self.shift == 0)
        dense = Units(self.shift[shifted], self.scale[shifted])._of_dense(
            values[:, shifted].toarray()
        )
        divided = values[:, others]
        divided.data = divided.data / self.scale[others].astype(values.dtype)[divided.indices]
        places = np.argsort(np.concatenate([shifted, others]))
        return sparse.hstack([sparse.csr_array(dense), divided], format="csr")[:, places]

    def _of_dense(self, values: Array) -> Array:
        shift, scale = (each.astype(values.dtype) for each in self)
        return np.asarray((values - shift) / scale)

    def into_layer(self, weight: Array, bias: Array) -> tuple[Array, Array]:
        """Return a first layer for features as they are, of one for features in these units.

        In float64: beside a large shift the weights' own dtype would round the difference away.
        """
        weight = weight.astype(np.float64) / self.scale[:, None]
        return weight, bias.astype(np.float64) - self.shift @ weight

    def out_of_layer(self, weight: Array, bias: Array) -> tuple[Array, Array]:
        """Undo `into_layer`, with weights of 0 for columns that are left out."""
        scale = np.where(np.isfinite(self.scale), self.scale, 0.0)
        return weight * scale[:, None], bias + self.shift @ weight


def chosen(standardize: Standardize, values: Features) -> Units | None:
    """Return the units of what an estimator was told; None where features stay as they are."""
    if isinstance(standardize, tuple | list):
        return Units(*checks.shift_and_scale(standardize, values.shape[1], "standardize"))
    told = checks.flag_or_positive(standardize, "standardize")
    if isinstance(told, float):
        return Units(np.zeros(values.shape[1]), np.full(values.shape[1], told))
    return standard(values) if told else None


def standard(values: Features) -> Units:
    """Return the units in which a column's mean is 0 and its deviation 1; a constant is left out.

    Columns of sparse features are not centred, which would make them dense, and are divided by
    their root mean square.
    """
    if sparse.issparse(values):
        squares = np.bincount(
            values.indices, weights=values.data.astype(np.float64) ** 2, minlength=values.shape[1]
        )
        scale = np.where(squares > 0, np.sqrt(squares / values.shape[0]), 1.0)
        return Units(np.zeros(len(scale)), scale)
    mean, scale = values.mean(axis=0, dtype=np.float64), values.std(axis=0, dtype=np.float64)
    # Rounding may leave a constant a deviation, and beside a large one whatever weight it began
    # with would round other features away.
    constant = values.min(axis=0) == values.max(axis=0)
    return Units(mean, np.where(constant | (scale == 0), np.inf, scale))
