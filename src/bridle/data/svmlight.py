"""svmlight (libsvm) text: ``label column:value column:value …``, one sparse row a line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bridle import checks
from bridle.data import files, parts
from bridle.data.dataset import Dataset, from_parts
from bridle.data.parts import Part, Request
from bridle.data.sparse import checked_shape

Array = npt.NDArray[Any]

_LARGEST_COLUMN = 2**31 - 1


def load_svmlight(paths: Sequence[Path], request: Request) -> Dataset:
    """Load svmlight files; all count their columns from 1, unless one of them has a column 0."""
    parts.refuse_target_name(request, "an svmlight file")
    parts.refuse_labels(request, "an svmlight file")
    loaded = [(path, *_read(path)) for path in paths]
    first = 0 if any(matrix[:, [0]].nnz for _, matrix, _ in loaded) else 1
    pieces = []
    for path, matrix, labels in loaded:
        rows = matrix[:, first:]
        checked_shape(str(path), rows.shape, rows.nnz)
        pieces.append(Part(str(path), rows, labels, pads_with_zeros=True))
    return from_parts(pieces, request, (f"columns are counted from {first} in the file",))


def _read(path: Path) -> tuple[Any, Array]:
    from sklearn.datasets import load_svmlight_file

    try:
        with files.parsing(path, "svmlight"):
            matrix, labels = load_svmlight_file(str(path), dtype=np.float64, zero_based=True)
    except checks.InputError:
        _explain(path)
        raise
    if matrix.shape[0] == 0:
        raise files.broken(path, "expected at least one row, found none")
    return matrix, labels


def _explain(path: Path) -> None:
    """Raise an error that names the first line that is not ``label column:value …``, if one is."""
    with path.open("rb") as stream:
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
