"""The last step of every loss: weighted rows become a sum, a mean, or stay as they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from bridle import checks

Array = npt.NDArray[Any]


def reduce_losses(
    losses: Array, normalizer: Any, *, reduction: str, on_empty: str = "nan"
) -> tuple[Array, Any]:
    """Return the reduced loss, and the factor that its gradient's rows take.

    ``losses`` are already weighted; ``normalizer`` is the sum of the weights that a mean divides
    by. The sum is kept in float64: its rounding then depends on no block size.
    """
    if reduction == "none":
        return losses[()], 1.0
    wide = np.result_type(np.float64, losses.dtype)
    with np.errstate(invalid="ignore", over="ignore"):  # a sum that the dtype cannot hold: inf
        total = losses.sum(dtype=wide)
        if reduction == "sum":
            return total.astype(losses.dtype), 1.0
        if normalizer == 0:
            return _empty_mean(losses.dtype, on_empty)
        return (total / normalizer).astype(losses.dtype), 1 / wide.type(normalizer)


def _empty_mean(dtype: np.dtype[Any], on_empty: str) -> tuple[Array, float]:
    if on_empty == "raise":
        raise checks.InputError("target: the mean is over no sample: none is counted")
    # A gradient of zeros in both cases: there is no row that the loss depends on.
    return dtype.type(0.0 if on_empty == "zero" else np.nan), 0.0
