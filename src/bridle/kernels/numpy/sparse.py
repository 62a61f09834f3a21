"""A sparse matrix times a dense one, in NumPy and SciPy: the truth, and for small problems."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def add_product(matrix: Any, dense: Array, out: Array) -> None:
    """Add ``matrix @ dense`` to ``out`` (N, K), of a SciPy matrix in CSR.

    >>> from scipy import sparse
    >>> out = np.ones((2, 1))
    >>> add_product(sparse.csr_array(np.eye(2)), np.array([[1.0], [2.0]]), out)
    >>> out
    array([[2.],
           [3.]])
    """
    out += matrix @ dense


def multiply_by_hessian(
    scores: Array, residual: Array, target: Array, weight: Array | None
) -> None:
    """Multiply each row of scores by the Hessian of its loss, ``s (diag p − p pᵀ)``, in place.

    The probabilities are those of the residual ``s (p − t)``: ``s p`` is the residual plus ``s t``,
    and the result is ``s p (z − z̄)``, where ``z̄ = Σ p z``.

    Parameters
    ----------
    scores
        (N, K) z; overwritten.
    residual
        (N, K), of `reference.residual_in_place`.
    target
        (N,) class indices or (N, K) distributions t.
    weight
        (N,) s; 1 for None.

    Examples
    --------
    >>> scores = np.array([[1.0, 0.0]])
    >>> multiply_by_hessian(scores, np.array([[-0.5, 0.5]]), np.array([0]), None)
    >>> scores
    array([[ 0.25, -0.25]])
    """
    mass = residual.copy()
    rows = np.arange(len(scores))
    share = np.ones(len(scores)) if weight is None else weight
    if target.ndim == 1:
        mass[rows, target] += share
    else:
        mass += share[:, None] * target
    # About the score that has most of the mass nothing cancels, however sure the model is.
    scores -= scores[rows, mass.argmax(axis=1)][:, None]
    total = np.einsum("nk,nk->n", mass, scores)
    mean = np.divide(total, share, out=np.zeros_like(total), where=share > 0)
    scores -= mean[:, None]
    scores *= mass


def add_squares(
    matrix: Any, mean: Array, weight: Array, squares: Array, stored_weight: Array
) -> None:
    """Add each row's ``Σ_e s_e (x_e − mean)²`` to ``squares`` and ``Σ_e s_e`` to ``stored_weight``.

    Parameters
    ----------
    matrix
        (D, N) in CSR, no place twice: features in rows.
    mean, squares, seen
        (D,).
    weight
        (N,) s.

    Examples
    --------
    >>> from scipy import sparse
    >>> squares, stored_weight = np.zeros(1), np.zeros(1)
    >>> matrix = sparse.csr_array([[3.0, 0.0]])
    >>> add_squares(matrix, np.array([1.0]), np.array([2.0, 2.0]), squares, stored_weight)
    >>> squares, stored_weight
    (array([8.]), array([2.]))
    """
    row = np.repeat(np.arange(len(mean)), np.diff(matrix.indptr))
    share = weight[matrix.indices]
    squares += np.bincount(row, share * (matrix.data - mean[row]) ** 2, len(mean))
    stored_weight += np.bincount(row, share, len(mean))
