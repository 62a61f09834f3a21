"""Raw labels become a target: integers, texts or booleans, or rows of class probabilities."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from bridle import checks
from bridle.data import files

Array = npt.NDArray[Any]
Place = Callable[[int], str]  # a row → the words that say where it stands

# A text that stands for "not known". "None" is not one of them: it is a fine name for a class.
MISSING = frozenset({"", "na", "n/a", "#n/a", "nan", "null", "<na>"})

_LONGEST_LABEL = 256
_FEW_NUMBERS = 20
_EXACT_IN_FLOAT64 = 2.0**53


def is_missing(text: str) -> bool:
    """Tell whether a text stands for a missing value."""
    return text.strip().lower() in MISSING


def distinct(values: Array) -> tuple[list[Any], Array]:
    """Return the different values in order of appearance, and for each row which one it is."""
    codes: dict[Any, int] = {}
    rows = [codes.setdefault(value, len(codes)) for value in values.tolist()]
    return list(codes), np.array(rows, np.int64)


def as_target(raw: Array, file: str, place: Place) -> Array:
    """Return labels ``(N,)`` as integers, booleans or texts, or class probabilities ``(N, C)``.

    Parameters
    ----------
    raw : ndarray
        Labels ``(N,)`` or ``(N, 1)`` of any scalar type, or probabilities ``(N, C)``.
    file : str
        Named where the whole array is at fault.
    place : callable
        Says where a row stands: ``"a.csv: line 7, column 'y'"``.

    Returns
    -------
    ndarray
        Floats that are whole numbers become int64; bytes and objects become texts.

    Raises
    ------
    InputError
        A missing label, one that is no scalar, a continuous (regression) target, rows that are no
        probabilities.
    """
    labels = np.asarray(raw[:, 0] if raw.ndim == 2 and raw.shape[1] == 1 else raw)
    if not labels.dtype.isnative:
        labels = labels.astype(labels.dtype.newbyteorder("="))
    if labels.ndim == 2 and labels.dtype.kind in "biuf":
        checks.probability_rows(_as_float(labels), f"{file}: target")
        return labels
    if labels.ndim != 1:
        raise files.broken(file, f"target: expected shape (N,) or (N, C), found {raw.shape}")
    if labels.dtype.kind in "biu":
        return labels
    if labels.dtype.kind == "f":
        return _from_floats(labels, file, place)
    if labels.dtype.kind in "USO":
        return _from_texts(labels, place)
    raise files.broken(file, f"target: expected labels or probabilities, found {labels.dtype}")


def _as_float(array: Array) -> Array:
    return array if array.dtype.kind == "f" else array.astype(np.float64)


def _from_floats(labels: Array, file: str, place: Place) -> Array:
    bad = ~np.isfinite(labels)
    if bad.any():
        row = int(np.argmax(bad))
        what = "missing target value" if np.isnan(labels[row]) else "infinite target value"
        raise files.broken(place(row), what)
    if np.all(labels == np.trunc(labels)) and np.all(np.abs(labels) <= _EXACT_IN_FLOAT64):
        return labels.astype(np.int64)
    count = len(np.unique(labels))
    if count > _FEW_NUMBERS or (count > 2 and 2 * count > len(labels)):
        raise files.broken(
            file,
            f"target: {count} different fractional numbers in {len(labels)} rows look like a "
            "regression target, expected classes (integers or texts)",
        )
    return labels


def _from_texts(labels: Array, place: Place) -> Array:
    values, codes = distinct(labels)
    texts = [_text(value) for value in values]
    for code, text in enumerate(texts):
        fault = _fault(text)
        if fault:
            raise files.broken(place(int(np.argmax(codes == code))), fault)
    return np.array(texts, np.str_)[codes]


def _text(label: object) -> object:
    return label.decode("utf-8", "backslashreplace") if isinstance(label, bytes) else label


def _fault(label: object) -> str:
    if not isinstance(label, str):
        return f"expected a text as label, found {files.quoted(label)}"
    if is_missing(label):
        return "missing target value" + (f" ({files.quoted(label)})" if label.strip() else "")
    if len(label) > _LONGEST_LABEL:
        return f"expected a label of at most {_LONGEST_LABEL} characters, found {len(label)}"
    return ""
