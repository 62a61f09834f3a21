"""svmlight (libsvm) text: ``label column:value column:value …``, one sparse row a line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from bridle import checks
from bridle.data import files, parts
from bridle.data.dataset import Dataset, from_parts
from bridle.data.parts import Part, Request
from bridle.data.scratch import Scratch
from bridle.data.sparse import checked_shape

Array = npt.NDArray[Any]

_LARGEST_COLUMN = 2**31 - 1
_RENUMBERED = 2**22  # column numbers at a time


def load_svmlight(paths: Sequence[Path], request: Request) -> Dataset:
    """Load svmlight files, all of which count their columns from 0 or all from 1.

    As told, else as those of the fit did; else from 1, unless one of them has a column 0.
    """
    parts.refuse_target_name(request, "an svmlight file")
    parts.refuse_labels(request, "an svmlight file")
    loaded = [(path, *_read(path, request.scratch)) for path in paths]
    first, notes = _first_column(loaded, request)
    pieces = []
    for path, matrix, labels in loaded:
        rows = _without_first_column(matrix, request.scratch) if first else matrix
        checked_shape(str(path), rows.shape, rows.nnz)
        pieces.append(Part(str(path), rows, labels, pads_with_zeros=True))
    dataset = from_parts(pieces, request, notes)
    return replace(dataset, reading=replace(dataset.reading, index_base=first))


def _first_column(
    loaded: list[tuple[Path, Any, Array]], request: Request
) -> tuple[int, tuple[str, ...]]:
    with_zero = next((path for path, matrix, _ in loaded if _has_first_column(matrix)), None)
    base = request.reading.index_base
    if base == 1 and with_zero is not None:
        why = "as told" if request.told.index_base == 1 else "as the files of the fit did"
        raise files.broken(
            with_zero, f"has a column 0, but columns are counted from 1, {why} (--index-base 0)"
        )
    if base is not None:
        return base, (f"columns are counted from {base} in the file",)
    if with_zero is not None:
        return 0, ("columns are counted from 0 in the file",)
    return 1, ("columns are counted from 1 in the file (--index-base 0 tells otherwise)",)


def _without_first_column(matrix: Any, scratch: Scratch | None) -> Any:
    """Return a CSR matrix without its first column, in which it has no entries."""
    shape = (matrix.shape[0], max(matrix.shape[1] - 1, 0))
    rows = sparse.csr_array(shape, dtype=matrix.dtype)
    rows.data, rows.indptr = matrix.data, matrix.indptr
    if scratch is None:
        rows.indices = matrix.indices - 1
    else:
        found = matrix.indices
        starts = range(0, len(found), _RENUMBERED)
        pieces = (found[start : start + _RENUMBERED] - 1 for start in starts)
        rows.indices = scratch.filled(found.shape, found.dtype, pieces)
    return rows


def _has_first_column(matrix: Any) -> bool:
    """Tell whether a CSR matrix has entries in its first column."""
    found = matrix.indices
    starts = range(0, len(found), _RENUMBERED)
    return any(not found[start : start + _RENUMBERED].all() for start in starts)


def _read(path: Path, scratch: Scratch | None) -> tuple[Any, Array]:
    from sklearn.datasets import load_svmlight_file

    try:
        with files.parsing(path, "svmlight"), files.open_bytes(path) as stream:
            matrix, labels = load_svmlight_file(stream, dtype=np.float64, zero_based=True)
    except checks.InputError:
        _explain(path)
        raise
    if matrix.shape[0] == 0:
        raise files.broken(path, "expected at least one row, found none")
    return matrix if scratch is None else scratch.kept_rows(matrix), labels


def _explain(path: Path) -> None:
    """Raise an error that names the first line that is not ``label column:value …``, if one is."""
    with files.parsing(path, "svmlight"), files.open_bytes(path) as stream:
        for number, line in enumerate(stream, 1):
            fault = _fault(line.partition(b"#")[0].split())
            if fault:
                raise files.broken(path, f"line {number}: {fault}")


def _fault(fields: list[bytes]) -> str:
    if not fields:
        return ""
    if not _is_number(fields[0]):
        return f"expected a number as label, found {_shown(fields[0])}"
    before = -1
    for field in fields[1:]:
        column, colon, value = field.partition(b":")
        if column == b"qid":
            continue
        if not colon or not column.isdigit() or not _is_number(value):
            return f"expected column:value, found {_shown(field)}"
        if int(column) <= before:
            return f"expected rising columns, found {_shown(column)} after {before}"
        if int(column) > _LARGEST_COLUMN:
            return f"column {_shown(column)} is too large, expected at most {_LARGEST_COLUMN}"
        before = int(column)
    return ""


def _is_number(field: bytes) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True


def _shown(field: bytes) -> str:
    return files.quoted(field.decode("utf-8", "backslashreplace"))
