"""Who answers requests: one kind of rows each.

===================== ============================================================================
file                  subject
===================== ============================================================================
``reader.py``         what a reader is; sums block by block
``dense.py``          arrays of one process, in memory or mapped
``sparse.py``         sparse matrices of one process
``sparse_layout.py``  their entries as the products want them
``tensors.py``        PyTorch tensors on a device
``ranks.py``          what several processes have, each of which answers from its own
``cluster.py``        what the workers of a Dask cluster have
``all_rows.py``       questions about each row, where one process has all of them
``separation.py``     one of these: directions in which the loss falls for ever
``entry_descent.py``  another: the minimum over single weights of sparse features
``block_sizes.py``    how many rows are processed at a time
===================== ============================================================================
"""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from bridle.fit.readers.dense import DenseReader
from bridle.fit.readers.reader import Reader
from bridle.fit.readers.sparse import SparseReader
from bridle.fit.readers.tensors import TensorReader
from bridle.rows import Rows

__all__ = ["DenseReader", "Reader", "SparseReader", "TensorReader", "reader_of"]


def reader_of(
    features: Rows,
    target: npt.NDArray[Any],
    sample_weight: npt.NDArray[Any] | None,
    classes: int,
    memory_budget: int | None = None,
    *,
    first_row: int = 0,
    beside: Reader | None = None,
) -> DenseReader | SparseReader | TensorReader:
    """Return the reader of some features, with class indices (N,) or distributions (N, K).

    ``first_row`` is the number of their first row, where others lie elsewhere; ``beside`` is
    another reader of the same features, which need not be laid out once more.
    """
    if features.is_sparse and isinstance(beside, SparseReader):
        return SparseReader(
            features,
            target,
            sample_weight,
            classes,
            memory_budget,
            first_row=first_row,
            layout=beside.layout,
        )
    kind: type[DenseReader | SparseReader | TensorReader] = DenseReader
    if features.is_sparse:
        kind = SparseReader
    elif features.are_tensors:
        kind = TensorReader
    return kind(features, target, sample_weight, classes, memory_budget, first_row=first_row)
