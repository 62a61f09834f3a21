"""Small products against NumPy's, at sizes that divide no tile and no vector."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import pytest

from bridle.kernels.numba.small_products import multiply
from bridle.kernels.numba.vectors import VECTOR_BYTES

GUARD = 7.0


@numba.njit
def product(
    c: Any, rows: int, columns: int, a: Any, a_step: int, a_depth: int, b: Any, depth: int
) -> None:
    multiply(c, 1, rows, columns, a, 2, a_step, a_depth, b, 3, depth)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("rows", [0, 1, 2, 3, 5, 6, 7, 11, 13])
def test_a_product_is_numpys_and_writes_nothing_else(
    dtype: str, transposed: bool, rows: int
) -> None:
    random = np.random.default_rng(rows)
    vector = VECTOR_BYTES // np.dtype(dtype).itemsize
    for columns in (0, 1, vector - 1, vector, vector + 1, 2 * vector, 2 * vector + 3, 5 * vector):
        for depth in (0, 1, 3, 17):
            a = random.normal(size=(rows, depth)).astype(dtype)
            b = random.normal(size=(depth, columns)).astype(dtype)
            laid = np.ascontiguousarray(a.T) if transposed else a
            c = np.full(rows * columns + 2, GUARD, dtype)
            steps = (1, rows) if transposed else (depth, 1)
            # What lies before and after a matrix is NaN: it must not be touched.
            edge = np.full(3, np.nan, dtype)
            flat_a = np.concatenate([edge[:2], laid.ravel(), edge])
            flat_b = np.concatenate([edge, b.ravel(), edge])
            product(c, rows, columns, flat_a, *steps, flat_b, depth)
            tolerance = 1e-5 if dtype == "float32" else 1e-13
            assert np.allclose(c[1:-1].reshape(rows, columns), a @ b, rtol=0, atol=tolerance)
            assert c[0] == c[-1] == GUARD
