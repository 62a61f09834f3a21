"""Raw labels become a target: integers, texts or booleans, or rows of class probabilities."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from bridle import checks
from bridle.data import files, numbers
from bridle.data.reading import BOOLEANS, INTEGERS, TEXTS, Reading

Array = npt.NDArray[Any]
Place = Callable[[int], str]  # a row → the words that say where it stands

_LONGEST_LABEL = 256
_FEW_NUMBERS = 20
_EXACT_IN_FLOAT64 = 2.0**53


def distinct(values: Array) -> tuple[list[Any], Array]:
    """Return the different values in order of appearance, and for each row which one it is."""
    codes: dict[Any, int] = {}
    rows = [codes.setdefault(value, len(codes)) for value in values.tolist()]
    return list(codes), np.array(rows, np.int64)


def as_target(raw: Array, file: str, place: Place, reading: Reading | None = None) -> Array:
    """Return labels ``(N,)`` as integers, booleans or texts, or class probabilities ``(N, C)``.

    Parameters
    ----------
    raw : ndarray
        Labels ``(N,)`` or ``(N, 1)`` of any scalar type, or probabilities ``(N, C)``.
    file : str
        Named where the whole array is at fault.
    place : callable
        Says where a row stands: ``"a.csv: line 7, column 'y'"``.
    reading : Reading, optional
        What stands for a missing label.

    Returns
    -------
    ndarray
        Floats that are whole numbers become int64; bytes and objects become texts, without the
        blanks around them.

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
        return _from_texts(labels, place, reading or Reading())
    raise files.broken(file, f"target: expected labels or probabilities, found {labels.dtype}")


def from_spelling(texts: Array, file: str, place: Place, reading: Reading) -> Array:
    """Return labels ``(N,)`` of a file that declares no types, as they are spelled there.

    They are integers where each is spelled as a plain one (``7``, ``-1``; not ``007``, ``7.0``,
    ``+7``, ``1_1``), else all are texts; where the reading says what the labels of a fit were,
    they are that.
    """
    labels = _from_texts(texts, place, reading)
    values, codes = distinct(labels)
    kind = reading.label_kind
    plain = [numbers.is_plain_integer(text) for text in values]
    if kind == INTEGERS and not all(plain):
        row = int(np.argmin(np.array(plain)[codes]))
        text = files.quoted(labels[row])
        raise files.broken(place(row), f"label {text}: expected an integer, as in the fit")
    if kind == BOOLEANS and set(values) <= {"True", "False"}:
        return np.asarray(labels == "True")
    if kind != TEXTS and all(plain):
        return np.array([int(text) for text in values], np.int64)[codes]
    if kind is None:
        _refuse_regression(values, len(labels), file, reading)
    return labels


def as_fitted(target: Array | None, reading: Reading) -> Array | None:
    """Return labels of a file that declares types in the kind that those of the fit had."""
    if target is None:
        return None
    is_label = target.ndim == 1 and target.dtype.kind in "biu"
    if is_label and reading.label_kind == TEXTS:
        return target.astype(np.str_)
    return target


def kind_of(target: Array | None) -> str | None:
    """Return what labels are, for files that come later; None for distributions."""
    if target is None or target.ndim != 1:
        return None
    return {"i": INTEGERS, "u": INTEGERS, "U": TEXTS, "b": BOOLEANS}.get(target.dtype.kind)


def _refuse_regression(values: list[str], rows: int, file: str, reading: Reading) -> None:
    found = numbers.plain_numbers(values, reading)
    if not np.isnan(found).any() and np.any(found != np.trunc(found)):
        _check_count(len(values), rows, file)


def _check_count(count: int, rows: int, file: str) -> None:
    if count > _FEW_NUMBERS or (count > 2 and 2 * count > rows):
        raise files.broken(
            file,
            f"target: {count} different fractional numbers in {rows} rows look like a "
            "regression target, expected classes (integers or texts)",
        )


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
    _check_count(len(np.unique(labels)), len(labels), file)
    return labels


def _from_texts(labels: Array, place: Place, reading: Reading) -> Array:
    values, codes = distinct(labels)
    texts = [_text(value) for value in values]
    for code, text in enumerate(texts):
        fault = _fault(text, reading)
        if fault:
            raise files.broken(place(int(np.argmax(codes == code))), fault)
    return np.array(texts, np.str_)[codes]


def _text(label: object) -> object:
    if isinstance(label, bytes):
        label = label.decode("utf-8", "backslashreplace")
    # Blanks around a label are not part of it: "yes" and "yes " are one class.
    return label.strip(" \u00a0") if isinstance(label, str) else label


def _fault(label: object, reading: Reading) -> str:
    if not isinstance(label, str):
        return f"expected a text as label, found {files.quoted(label)}"
    if reading.is_missing(label):
        if not label:
            advice = "" if reading.na == "error" else " (--na drop leaves such rows out)"
            return f"missing target value{advice}"
        return (
            f"missing target value ({files.quoted(label)}); if that is a label, "
            "--na-spellings '' says that only an empty cell is missing"
        )
    if len(label) > _LONGEST_LABEL:
        return f"expected a label of at most {_LONGEST_LABEL} characters, found {len(label)}"
    return ""
