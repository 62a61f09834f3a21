"""Sparse features, laid out for the products of a fit.

Large matrices go through compiled kernels and get a transposed copy of their entries, because a
product with the transpose is quick only if it reads them feature by feature. Small ones are SciPy's
matter: no fit of milliseconds waits for a compiler.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bridle import checks
from bridle.kernels.numpy import reference
from bridle.kernels.numpy import sparse as sparse_reference
from bridle.rows import Rows

Array = npt.NDArray[Any]

# Entries times classes. Loading the kernels takes 0.4 s, compiling them some seconds; at this size
# they save some milliseconds a pass, and a fit takes ten to a hundred.
_COMPILED_PRODUCTS = 2**24
# Scores of a block: what is gathered by feature stays close to the processor's cache.
_BLOCK_NUMBERS = 2**21
_LEAST_ROWS = 1024


@dataclass(frozen=True)
class StoredRows:
    """Some rows of the features, row by row and feature by feature."""

    rows: slice
    by_row: Any
    by_feature: Any

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
        self, block: StoredRows, target: Array, share: Array, product: Array
    ) -> None:
        """Add ``Σ s x tᵀ`` of a block to ``product`` (D, K)."""
        if self.compiled and target.ndim == 1:
            from bridle.kernels.numba import sparse as cpu_sparse

            cpu_sparse.add_by_class(block.by_feature, target, share, product)
        else:
            weighted = weighted_target(target, product.shape[1], share)
            self.add_product(block.by_feature, weighted, product)

    def add_squares(
        self, matrix: Any, mean: Array, weight: Array, squares: Array, seen: Array
    ) -> None:
        """Do what `sparse_reference.add_squares` does."""
        if self.compiled:
            from bridle.kernels.numba import sparse as cpu_sparse

            cpu_sparse.add_squares(matrix, mean, weight, squares, seen)
        else:
            sparse_reference.add_squares(matrix, mean, weight, squares, seen)

    def residual_in_place(self, scores: Array, target: Array, weight: Array | None) -> Array:
        """Do what `reference.residual_in_place` does."""
        if not self.compiled:
            return reference.residual_in_place(scores, target, weight)
        from bridle.kernels.numba import row_kernels as cpu

        share = np.ones(1) if weight is None else weight
        parts = cpu.row_parts_and_gradient(scores, target, share, t=share, out=scores)
        gap = parts.target_gap if target.ndim == 1 else parts.soft_gap
        assert gap is not None
        return np.asarray(parts.log_sum + gap)

    def curve_rows(
        self, scores: Array, residual: Array, target: Array, weight: Array | None
    ) -> None:
        """Do what `sparse_reference.curve_rows` does."""
        if self.compiled:
            from bridle.kernels.numba import sparse as cpu_sparse

            cpu_sparse.curve_rows(scores, residual, target, weight)
        else:
            sparse_reference.curve_rows(scores, residual, target, weight)


def prepare_sparse(features: Rows, classes: int, first_row: int = 0) -> SparseFeatures:
    """Check the features and lay them out for both products.

    Raises
    ------
    InputError
        The first entry that is not finite.
    """
    step = max(_LEAST_ROWS, _BLOCK_NUMBERS // classes)
    parts = list(features.blocks(step, features.dtype))
    for rows, part in parts:
        checks.finite_rows(part, "X", first_row + rows.start)
    entries = sum(len(part.data) for _, part in parts)
    compiled = entries * classes >= _COMPILED_PRODUCTS
    layout = _compiled_rows if compiled else plain_rows
    return SparseFeatures(features.shape, [layout(rows, part) for rows, part in parts], compiled)


def weighted_target(target: Array, classes: int, share: Array | None) -> Array:
    """Return ``s t`` as (N, K) distributions."""
    if target.ndim == 2:
        return np.array(target if share is None else target * share[:, None], np.float64)
    weighted = np.zeros((len(target), classes))
    weighted[np.arange(len(target)), target] = 1.0 if share is None else share
    return weighted


def plain_rows(rows: slice, part: Any) -> StoredRows:
    """Return rows as SciPy multiplies them."""
    if not part.has_canonical_format:
        part = part.copy()
        part.sum_duplicates()
    return StoredRows(rows, part, part.T.tocsr())


def _compiled_rows(rows: slice, part: Any) -> StoredRows:
    from bridle.kernels.numba import sparse as cpu_sparse

    return StoredRows(rows, cpu_sparse.compressed(part), cpu_sparse.transposed(part))
