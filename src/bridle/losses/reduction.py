"""The last step of every loss: weighted rows become a sum, a mean, or stay as they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from bridle import checks

Array = npt.NDArray[Any]


def reduce_losses(
    losses: Array, normalizer: Any, *, reduction: str, on_empty: str = "nan"
) -> Array:
    """Return the reduced loss.

    ``losses`` are already weighted; ``normalizer`` is the sum of the weights that a mean divides
    by. The sum is kept in float64: its rounding then depends on no block size.
    """
    if reduction == "none":
        return losses[()]
    with np.errstate(invalid="ignore", over="ignore"):  # a sum that the dtype cannot hold: inf
        total: Any = losses.sum(dtype=np.result_type(np.float64, losses.dtype))
        if reduction == "mean":
            if normalizer == 0:
                return _empty_mean(losses.dtype, on_empty)
            total = total / normalizer
        reduced: Array = total.astype(losses.dtype)
        return reduced


def gradient_scale(normalizer: Any, reduction: str) -> Any:
    """Return the factor that the gradient of each row's loss takes, for the reduced loss."""
    if reduction != "mean":
        return 1.0
    if normalizer == 0:
        return 0.0  # there is no row that the loss depends on
    return 1 / np.longdouble(normalizer)  # the caller rounds it to its own dtype


def _empty_mean(dtype: np.dtype[Any], on_empty: str) -> Array:
    if on_empty == "raise":
        raise checks.InputError(
            "target: the mean is over no sample: none is counted",
            argument="target",
            expected="a sample that counts",
            found="none",
        )
    mean: Array = dtype.type(0.0 if on_empty == "zero" else np.nan)
    return mean
