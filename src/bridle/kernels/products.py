"""The three matrix products of a linear head, each into memory that is there already.

SciPy's BLAS, because it adds to what it is given where NumPy's interface would make a product and
then add it, and because all three must come from one library: two that keep threads waiting, each
for its own next product, halve each other's speed. Arrays are float32 or float64, all of one dtype,
with rows that lie one after the other.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def make_scores(features: Array, weight: Array, bias: Array | None, out: Array) -> None:
    """Set ``out`` (n, C) to ``features @ weight.T + bias``.

    >>> out = np.empty((1, 2))
    >>> make_scores(np.array([[1.0, 2.0]]), np.eye(2), None, out)
    >>> out
    array([[1., 2.]])
    """
    if bias is None:
        _multiply(weight.T, features.T, out.T, beta=0.0, transpose_left=True)
    else:
        out[:] = bias
        _multiply(weight.T, features.T, out.T, beta=1.0, transpose_left=True)


def multiply_back(residual: Array, weight: Array, out: Array) -> None:
    """Set ``out`` (n, D) to ``residual @ weight``.

    >>> out = np.empty((1, 2))
    >>> multiply_back(np.array([[1.0, 2.0]]), np.eye(2), out)
    >>> out
    array([[1., 2.]])
    """
    _multiply(weight.T, residual.T, out.T, beta=0.0)


def add_products(residual: Array, features: Array, total: Array) -> None:
    """Add ``residual.T @ features`` to ``total`` (C, D).

    >>> total = np.ones((2, 1))
    >>> add_products(np.array([[1.0, 2.0]]), np.array([[3.0]]), total)
    >>> total
    array([[4.],
           [7.]])
    """
    _multiply(features.T, residual.T, total.T, beta=1.0, transpose_right=True)


def _multiply(
    left: Array,
    right: Array,
    out: Array,
    *,
    beta: float,
    transpose_left: bool = False,
    transpose_right: bool = False,
) -> None:
    """Set ``out`` to ``left @ right + beta · out``; all lie column by column, as BLAS wants it."""
    from scipy.linalg import blas

    if not out.size:
        return
    if not left.size:
        out *= beta
        return
    multiply = blas.dgemm if out.dtype == np.float64 else blas.sgemm
    found = multiply(
        1.0,
        left,
        right,
        beta=beta,
        c=out,
        trans_a=transpose_left,
        trans_b=transpose_right,
        overwrite_c=True,
    )
    assert np.shares_memory(found, out), "BLAS was handed an array that it had to copy"
