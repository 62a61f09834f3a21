"""Sparse matrices as `scipy.sparse.save_npz` writes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bridle.data import files, parts
from bridle.data.archive import Archive
from bridle.data.dataset import Dataset, from_parts
from bridle.data.parts import Part, Request

# Rows that a file declares cost memory even where they are empty.
_EMPTY_ROWS = 1_000_000
_ROWS_A_NUMBER = 1_000
_LARGEST_WIDTH = 2**31 - 1


def is_sparse(archive: Archive) -> bool:
    """Tell by its arrays whether an ``.npz`` file holds a sparse matrix."""
    return {"format", "shape", "data"} <= set(archive.names)


def load_sparse(archives: Sequence[Archive], request: Request) -> Dataset:
    """Load sparse ``.npz`` matrices; their labels lie in a file of their own."""
    parts.refuse_target_name(request, "a sparse matrix", has_labels=False)
    loaded = []
    for archive in archives:
        if not is_sparse(archive):
            other = next(other.file for other in archives if is_sparse(other))
            raise files.broken(archive.file, f"a dense archive, but {other} holds a sparse matrix")
        rows = _matrix(archive)
        kept = rows if request.scratch is None else request.scratch.kept_rows(rows)
        loaded.append(Part(archive.file, kept))
    return from_parts(loaded, request)


def checked_shape(file: str, shape: tuple[int, ...], stored: int) -> None:
    """Refuse a sparse matrix that is empty, or larger than what it stores can explain."""
    if len(shape) != 2 or min(shape) < 1:
        raise files.broken(file, f"expected at least one row and column, found shape {shape}")
    if shape[0] > _EMPTY_ROWS + _ROWS_A_NUMBER * stored or shape[1] > _LARGEST_WIDTH:
        raise files.broken(file, f"declares shape {shape} but stores {stored} numbers only")


def _matrix(archive: Archive) -> Any:
    from scipy import sparse

    # Every array is read here first: that checks the declared sizes before SciPy allocates.
    arrays = {name: archive.read(name) for name in archive.names}
    if arrays["data"].dtype.kind not in "biuf":
        found = arrays["data"].dtype
        raise files.broken(archive.file, f"features: expected real numbers, found {found}")
    with files.parsing(archive.file, "a sparse matrix"):
        shape = tuple(int(length) for length in np.atleast_1d(arrays["shape"]))
    checked_shape(archive.file, shape, arrays["data"].size)
    with files.parsing(archive.file, "a sparse matrix"):
        matrix = sparse.load_npz(archive.file)
        if hasattr(matrix, "check_format"):
            # An index outside the matrix would be read outside its memory later.
            matrix.check_format(full_check=True)
        rows = sparse.csr_array(matrix)
        rows.check_format(full_check=True)
    return rows
