"""Sparse features, ready for the products of a fit, and their statistics.

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
class SparseBlock:
    """Some rows of the features, row by row and feature by feature."""

    rows: slice
    by_row: Any
    by_feature: Any


@dataclass(frozen=True)
class SparseFeatures:
    """All rows, in blocks."""

    shape: tuple[int, int]
    blocks: list[SparseBlock]
    compiled: bool

    def add_product(self, matrix: Any, dense: Array, out: Array) -> None:
        """Add ``matrix @ dense`` to ``out``, for a block's ``by_row`` or ``by_feature``."""
        if self.compiled:
            from bridle.kernels.numba import sparse as cpu_sparse

            cpu_sparse.add_product(matrix, dense, out)
        else:
            sparse_reference.add_product(matrix, dense, out)

    def add_target_product(
        self, block: SparseBlock, target: Array, share: Array, product: Array
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


def prepare_sparse(features: Rows, classes: int) -> SparseFeatures:
    """Check the features and lay them out for both products.

    Raises
    ------
    InputError
        The first entry that is not finite.
    """
    step = max(_LEAST_ROWS, _BLOCK_NUMBERS // classes)
    parts = list(features.blocks(step, features.dtype))
    for rows, part in parts:
        checks.finite_rows(part, "X", rows.start)
    entries = sum(len(part.data) for _, part in parts)
    compiled = entries * classes >= _COMPILED_PRODUCTS
    layout = _compiled_block if compiled else _plain_block
    return SparseFeatures(features.shape, [layout(rows, part) for rows, part in parts], compiled)


def sparse_statistics(
    features: SparseFeatures, target: Array, classes: int, sample_weight: Array | None
) -> tuple[Array, Array, Array]:
    """Return each feature's mean, its sum of squares about that, and Σ s x tᵀ, in float64."""
    total = float(features.shape[0]) if sample_weight is None else float(sample_weight.sum())
    shares = np.ones(features.shape[0]) if sample_weight is None else sample_weight
    product = np.zeros((features.shape[1], classes))
    for block in features.blocks:
        features.add_target_product(block, target[block.rows], shares[block.rows], product)
    # A sample's target sums to 1.
    mean = product.sum(axis=1) / total
    squares, seen = np.zeros(len(mean)), np.zeros(len(mean))
    with np.errstate(over="ignore", invalid="ignore"):
        for block in features.blocks:
            features.add_squares(block.by_feature, mean, shares[block.rows], squares, seen)
        # An entry that is not stored is a 0, at the distance of the mean.
        squares += mean**2 * np.maximum(total - seen, 0)
    checks.finite_squares(squares, "X")
    return mean, squares, product


def weighted_target(target: Array, classes: int, share: Array | None) -> Array:
    """Return ``s t`` as (N, K) distributions."""
    if target.ndim == 2:
        return np.array(target if share is None else target * share[:, None], np.float64)
    weighted = np.zeros((len(target), classes))
    weighted[np.arange(len(target)), target] = 1.0 if share is None else share
    return weighted


def _plain_block(rows: slice, part: Any) -> SparseBlock:
    if not part.has_canonical_format:
        part = part.copy()
        part.sum_duplicates()
    return SparseBlock(rows, part, part.T.tocsr())


def _compiled_block(rows: slice, part: Any) -> SparseBlock:
    from bridle.kernels.numba import sparse as cpu_sparse

    return SparseBlock(rows, cpu_sparse.compressed(part), cpu_sparse.transposed(part))
