"""The contract in plain NumPy: the truth, and the kernel for small problems."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Axis = int | tuple[int, ...] | None


def accumulator_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the dtype sums are kept in: float32 for half precision, else the dtype itself."""
    if dtype.name in ("float16", "bfloat16"):
        return np.dtype(np.float32)
    return dtype


def shifted_parts(scores: Array, axis: Axis = -1) -> tuple[Array, Array, Array]:
    """Return ``(maximum, shifted, log_sum)`` along ``axis``, which keeps its place with length 1.

    ``shifted = scores − maximum``. The entries equal to the maximum are counted, not summed:
    ``log_sum = log(count) + log1p(rest / count)``. A sum that starts at 1 would round away a rest
    below 1e-16, and with it the whole loss of a well-classified sample.
    """
    with np.errstate(invalid="ignore"):  # inf − inf is the NaN the contract asks for
        maximum = scores.max(axis=axis, keepdims=True, initial=-np.inf)
        shifted = scores - maximum
        at_maximum = shifted == 0
        count = at_maximum.sum(axis=axis, keepdims=True, dtype=scores.dtype)
        rest = np.exp(shifted).sum(axis=axis, keepdims=True, where=~at_maximum)
        with np.errstate(divide="ignore"):  # no class at all: log 0
            log_sum = np.log(count) + np.log1p(rest / count)
    return maximum, shifted, log_sum


def negative_log_softmax(scores: Array) -> Array:
    """Return ``−log softmax`` of each row: 0 and above, +inf at a masked class."""
    _, shifted, log_sum = shifted_parts(scores)
    with np.errstate(invalid="ignore"):
        return np.asarray(log_sum - shifted)


def weighted_loss(negative_log_probability: Array, mass: Array) -> Array:
    """Return ``Σ mass · (−log p)`` of each row, where no mass times +inf is nothing.

    A NaN is no product to be dropped: it marks the whole row as broken and shows in the loss.
    """
    counted = (mass != 0) | np.isnan(negative_log_probability)
    products = np.multiply(
        mass, negative_log_probability, out=np.zeros_like(mass), where=counted
    )
    return np.asarray(products.sum(axis=-1))


def loss_gradient(negative_log_probability: Array, mass: Array) -> Array:
    """Return the gradient of `weighted_loss` in the scores: ``probability · Σ mass − mass``."""
    total = mass.sum(axis=-1, keepdims=True)
    return np.asarray(np.exp(-negative_log_probability) * total - mass)


def residual_in_place(scores: Array, target: Array, sample_weight: Array | None) -> Array:
    """Turn scores into ``sample_weight · (softmax − target)`` and return each row's loss.

    ``target`` holds class indices ``(N,)`` or probabilities ``(N, C)``; the loss is unweighted.
    This is the middle of a fit's pass over the data: product, residual in place, product back.
    """
    scores -= scores.max(axis=1, keepdims=True)
    rows = np.arange(len(scores))
    hard = target.ndim == 1
    linear = scores[rows, target] if hard else np.einsum("nc,nc->n", target, scores)
    np.exp(scores, out=scores)
    total = scores.sum(axis=1)
    loss = np.log(total) - linear
    scores /= total[:, None]
    if hard:
        scores[rows, target] -= 1
    else:
        scores -= target
    if sample_weight is not None:
        scores *= sample_weight[:, None]
    return np.asarray(loss)
