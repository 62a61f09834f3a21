"""Sparse features, laid out for the products of a fit.

Large matrices go through compiled kernels and get a transposed copy of their entries, because a
product with the transpose is quick only if it reads them feature by feature. Small ones
go through SciPy: a fit of milliseconds must not wait for a compiler.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import numpy.typing as npt

from bridle import checks
from bridle.kernels import thresholds
from bridle.kernels.numpy import reference
from bridle.kernels.numpy import sparse as sparse_reference
from bridle.rows import Rows

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class StoredRows:
    """Some rows of the features, row by row and, once that is asked for, feature by feature."""

    rows: slice
    by_row: Any
    transposed: Callable[[], Any]

    @cached_property
    def by_feature(self) -> Any:
        """The entries feature by feature."""
        return self.transposed()

    @property
    def by_row_arrays(self) -> tuple[Array, Array, Array]:
        """The entries row by row: values, columns, and where each row begins."""
        return self.by_row.data, self.by_row.indices, self.by_row.indptr


@dataclass(frozen=True)
class SparseFeatures:
    """All rows, in blocks."""

    shape: tuple[int, int]
    blocks: list[StoredRows]
    compiled: bool

    def add_product(self, matrix: Any, dense: Array, out: Array) -> None:
        """Add ``matrix @ dense`` to ``out``, for a block's ``by_row`` or ``by_feature``."""
        if self.compiled:
            from bridle.kernels.numba import sparse as cpu_sparse

            cpu_sparse.add_product(matrix, dense, out)
        else:
            sparse_reference.add_product(matrix, dense, out)

    def add_target_product(
        self, block: StoredRows, target: Array, row_weight: Array, product: Array
    ) -> None:
        """Add ``Σ s x tᵀ`` of a block to ``product`` (D, K)."""
        if self.compiled and target.ndim == 1:
            from bridle.kernels.numba import sparse as cpu_sparse

            cpu_sparse.add_by_class(block.by_feature, target, row_weight, product)
        else:
            weighted = weighted_target(target, product.shape[1], row_weight)
            self.add_product(block.by_feature, weighted, product)

    def add_squares(
        self, matrix: Any, mean: Array, weight: Array, squares: Array, stored_weight: Array
    ) -> None:
        """Do what `sparse_reference.add_squares` does."""
        if self.compiled:
            from bridle.kernels.numba import sparse as cpu_sparse

            cpu_sparse.add_squares(matrix, mean, weight, squares, stored_weight)
        else:
            sparse_reference.add_squares(matrix, mean, weight, squares, stored_weight)

    def residual_in_place(self, scores: Array, target: Array, weight: Array | None) -> Array:
        """Do what `reference.residual_in_place` does."""
        if not self.compiled:
            return reference.residual_in_place(scores, target, weight)
        from bridle.kernels.numba import row_kernels as cpu

        row_weight = np.ones(1) if weight is None else weight
        parts = cpu.row_parts_and_gradient(scores, target, row_weight, t=row_weight, out=scores)
        gap = parts.target_gap if target.ndim == 1 else parts.soft_gap
        assert gap is not None
        return np.asarray(parts.log_sum + gap)

    def multiply_by_hessian(
        self, scores: Array, residual: Array, target: Array, weight: Array | None
    ) -> None:
        """Do what `sparse_reference.multiply_by_hessian` does."""
        if self.compiled:
            from bridle.kernels.numba import sparse as cpu_sparse

            cpu_sparse.multiply_by_hessian(scores, residual, target, weight)
        else:
            sparse_reference.multiply_by_hessian(scores, residual, target, weight)


def prepare_sparse(features: Rows, classes: int, first_row: int = 0) -> SparseFeatures:
    """Check the features and lay them out for both products.

    Raises
    ------
    InputError
        The first entry that is not finite.
    """
    step = max(thresholds.SPARSE_FEWEST_ROWS, thresholds.SPARSE_BLOCK_NUMBERS // classes)
    blocks = list(features.blocks(step, features.dtype))
    for rows, block in blocks:
        checks.finite_rows(block, "X", first_row + rows.start)
    entries = sum(len(block.data) for _, block in blocks)
    compiled = entries * classes >= thresholds.SPARSE_COMPILED_PRODUCTS
    stored = [stored_rows(rows, block, compiled=compiled) for rows, block in blocks]
    return SparseFeatures(features.shape, stored, compiled)


def weighted_target(target: Array, classes: int, row_weight: Array | None) -> Array:
    """Return ``s t`` as (N, K) distributions."""
    if target.ndim == 2:
        return np.array(target if row_weight is None else target * row_weight[:, None], np.float64)
    weighted = np.zeros((len(target), classes))
    weighted[np.arange(len(target)), target] = 1.0 if row_weight is None else row_weight
    return weighted


def stored_rows(rows: slice, matrix: Any, *, compiled: bool) -> StoredRows:
    """Return rows as compiled kernels multiply them, or as SciPy does."""
    if compiled:
        from bridle.kernels.numba import sparse as cpu_sparse

        transposed = partial(cpu_sparse.transposed, matrix)
        return StoredRows(rows, cpu_sparse.compressed(matrix), transposed)
    if not matrix.has_canonical_format:
        matrix = matrix.copy()
        matrix.sum_duplicates()
    return StoredRows(rows, matrix, partial(_transposed, matrix))


def _transposed(matrix: Any) -> Any:
    return matrix.T.tocsr()
