"""Small entries of a gradient in the scores are dropped, or replaced by few that stand for all.

With a threshold ``τ`` for each row, an entry ``d`` of at least τ in size stays. Of the others,

dropped
    none stays;
unbiased
    each becomes ``sign(d) · τ`` with the probability ``|d| / τ`` and 0 otherwise, so that the
    expected gradient is the exact one.

The choice is systematic: along a row ``Σ |d| / τ`` passes a whole number, offset by the row's one
random number, about as often as there are entries to be kept. One number drawn a row, and less
variance than a number drawn an entry.

This is plain NumPy, and the truth; `bridle.kernels.numba.residual_filter` is compiled.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def filter_rows(residual: Array, threshold: Array, draws: Array | None) -> Array:
    """Filter ``residual`` (n, C) in place; return which columns (C,) have an entry left.

    ``threshold`` (n,) is not negative; ``draws`` (n,) in [0, 1), or None to drop.

    >>> residual = np.array([[0.5, 0.02, 0.03, -0.6]])
    >>> filter_rows(residual, np.array([0.1]), None)
    array([ True, False, False,  True])
    >>> residual
    array([[ 0.5,  0. ,  0. , -0.6]])
    """
    size = np.abs(residual.astype(np.float64))
    level = np.asarray(threshold, np.float64)[:, None]
    small = size < level
    kept = np.where(small, 0, residual)
    if draws is not None:
        per_level = np.divide(1.0, level, out=np.zeros_like(level), where=level > 0)
        share = np.where(small, size * per_level, 0.0)
        passed = np.floor(np.cumsum(share, axis=1) + np.asarray(draws)[:, None])
        chosen = np.diff(passed, axis=1, prepend=0) > 0
        kept = np.where(small & chosen, np.sign(residual.astype(np.float64)) * level, kept)
    residual[...] = kept.astype(residual.dtype)
    return np.asarray((residual != 0).any(axis=0))
