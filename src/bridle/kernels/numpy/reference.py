"""The contract in plain NumPy: the truth, and the kernel for small problems."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Axis = int | tuple[int, ...] | None


@cache
def accumulator_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the dtype work is done in: float32 for half precision, else the dtype itself."""
    if dtype.name in ("float16", "bfloat16"):
        return np.dtype(np.float32)
    return dtype.newbyteorder("=")  # a file's byte order is not the machine's


def total(values: Array, axis: Axis = -1, *, where: Array | bool = True) -> Array:
    """Return the sum along ``axis``, which keeps its place with length 1, in float64 at least.

    On any axis but the last NumPy adds one term after the other: a float32 sum of a million equal
    terms is wrong in its second digit.
    """
    wide = np.result_type(np.float64, values.dtype)
    return np.asarray(values.sum(axis=axis, keepdims=True, dtype=wide, where=where))


def shifted_parts(scores: Array, axis: Axis = -1) -> tuple[Array, Array, Array]:
    """Return ``(maximum, shifted, log_sum)`` along ``axis``, which keeps its place with length 1.

    ``shifted = scores − maximum``. The entries equal to the maximum are counted, not summed:
    ``log_sum = log(count) + log1p(rest / count)``. A sum that starts at 1 would round away a rest
    below 1e-16, and with it the whole loss of a well-classified sample.
    """
    # inf − inf is the NaN the contract asks for; a difference that overflows is a probability 0.
    with np.errstate(invalid="ignore", over="ignore"):
        maximum = scores.max(axis=axis, keepdims=True, initial=-np.inf)
        shifted = scores - maximum
        at_maximum = shifted == 0
        rest = total(np.exp(shifted), axis, where=~at_maximum)
        count = at_maximum.sum(axis=axis, keepdims=True, dtype=rest.dtype)
        with np.errstate(divide="ignore"):  # nothing at all, or NaN alone: log 0
            log_sum = np.log(count) + np.log1p(rest / count)
    return maximum, shifted, log_sum.astype(scores.dtype, copy=False)


def weighted_loss(negative_log_probability: Array, mass: Array) -> Array:
    """Return ``Σ mass · (−log p)`` of each row, where no mass times +inf is nothing.

    A NaN is no product to be dropped: it marks the whole row as broken and shows in the loss.
    """
    counted = (mass != 0) | np.isnan(negative_log_probability)
    products = np.multiply(mass, negative_log_probability, out=np.zeros_like(mass), where=counted)
    return total(products)[..., 0].astype(mass.dtype, copy=False)


def residual_in_place(scores: Array, target: Array, sample_weight: Array | None) -> Array:
    """Turn scores into ``sample_weight · (softmax − target)`` and return each row's loss.

    ``target`` holds class indices ``(N,)`` or probabilities ``(N, C)``; the loss is unweighted.
    This is the middle of a fit's pass over the data: product, residual in place, product back.

    The largest score's exponential, 1, stays out of the sum of the others, ``rest``: a sample that
    the model is sure of has the loss ``log1p(rest)`` and the residual ``−rest / (1 + rest)``, and
    both keep all their digits when ``rest`` is far below 1.
    """
    rows = np.arange(len(scores))
    top = scores.argmax(axis=1)
    scores -= scores[rows, top][:, None]
    hard = target.ndim == 1
    linear = scores[rows, target] if hard else np.einsum("nc,nc->n", target, scores)
    np.exp(scores, out=scores)
    scores[rows, top] = 0
    rest = scores.sum(axis=1)
    scores[rows, top] = 1
    loss = np.log1p(rest) - linear
    scores /= (1 + rest)[:, None]
    if hard:
        scores[rows, target] = np.where(target == top, -rest / (1 + rest), scores[rows, target] - 1)
    else:
        scores -= target
    if sample_weight is not None:
        scores *= sample_weight[:, None]
    return np.asarray(loss)
