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
from bridle.kernels import reference, sparse_reference
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
            from bridle.kernels import cpu_sparse

            cpu_sparse.add_product(matrix, dense, out)
        else:
            sparse_reference.add_product(matrix, dense, out)

    def residual_in_place(self, scores: Array, target: Array, weight: Array | None) -> Array:
        """Do what `reference.residual_in_place` does."""
        if not self.compiled:
            return reference.residual_in_place(scores, target, weight)
        from bridle.kernels import cpu

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
            from bridle.kernels import cpu_sparse

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
    parts = [
        (rows, _canonical(block, rows.start))
        for rows, block in features.blocks(step, features.dtype)
    ]
    entries = sum(len(part.data) for _, part in parts)
    compiled = entries * classes >= _COMPILED_PRODUCTS
    layout = _compiled_block if compiled else _plain_block
    return SparseFeatures(features.shape, [layout(rows, part) for rows, part in parts], compiled)


def sparse_statistics(
    features: SparseFeatures, target: Array, classes: int, sample_weight: Array | None
) -> tuple[Array, Array, Array]:
    """Return each feature's mean, its sum of squares about that, and Σ s x tᵀ, in float64."""
    total = float(features.shape[0]) if sample_weight is None else float(sample_weight.sum())
    product = np.zeros((features.shape[1], classes))
    for block in features.blocks:
        share = None if sample_weight is None else sample_weight[block.rows]
        weighted = weighted_target(target[block.rows], classes, share)
        features.add_product(block.by_feature, weighted, product)
    # A sample's target sums to 1.
    mean = product.sum(axis=1) / total
    squares = np.zeros((features.shape[1], 1))
    seen = np.zeros((features.shape[1], 1))
    for block in features.blocks:
        count = block.rows.stop - block.rows.start
        share = np.ones(count) if sample_weight is None else sample_weight[block.rows]
        entries = block.by_feature
        distance = entries.data - np.repeat(mean, np.diff(entries.indptr))
        with np.errstate(over="ignore", invalid="ignore"):
            _add_sums(features, entries, distance**2, share, squares)
        _add_sums(features, entries, np.ones_like(distance), share, seen)
    # An entry that is not stored is a 0, at the distance of the mean.
    with np.errstate(over="ignore", invalid="ignore"):
        squares[:, 0] += mean**2 * np.maximum(total - seen[:, 0], 0)
    checks.finite_squares(squares[:, 0], "X")
    return mean, squares[:, 0], product


def weighted_target(target: Array, classes: int, share: Array | None) -> Array:
    """Return ``s t`` as (N, K) distributions."""
    if target.ndim == 2:
        return np.array(target if share is None else target * share[:, None], np.float64)
    weighted = np.zeros((len(target), classes))
    weighted[np.arange(len(target)), target] = 1.0 if share is None else share
    return weighted


def _add_sums(
    features: SparseFeatures, entries: Any, values: Array, share: Array, sums: Array
) -> None:
    """Add each feature's Σ s v over its entries, where v stands in the entries' place."""
    if features.compiled:
        features.add_product(entries._replace(data=values), share[:, None], sums)
    else:
        place = np.repeat(np.arange(len(sums)), np.diff(entries.indptr))
        sums[:, 0] += np.bincount(place, values * share[entries.indices], len(sums))


def _canonical(block: Any, first_row: int) -> Any:
    checks.finite_rows(block, "X", first_row)
    if block.has_canonical_format:
        return block
    merged = block.copy()
    merged.sum_duplicates()
    return merged


def _plain_block(rows: slice, part: Any) -> SparseBlock:
    return SparseBlock(rows, part, part.T.tocsr())


def _compiled_block(rows: slice, part: Any) -> SparseBlock:
    from bridle.kernels import cpu_sparse

    turned = part.T.tocsr()
    # A block has few rows: their numbers need half the memory, which is what a product waits for.
    turned.indices = turned.indices.astype(np.int32, copy=False)
    return SparseBlock(rows, cpu_sparse.compressed(part), cpu_sparse.compressed(turned))
