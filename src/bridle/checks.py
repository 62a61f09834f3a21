"""Bad input becomes a named error, here alone.

Every message names the argument, says what was expected and what was found, and points at the
first bad row. The module imports nothing of ours, so every room may use it.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Reduction = Literal["mean", "sum", "none"]
OnEmpty = Literal["nan", "zero", "raise"]
Unit = Literal["nats", "bits"]


class InputError(ValueError):
    """An argument or a file that cannot be used; the message says which, where and why."""


class TargetRangeError(InputError, IndexError):
    """A class index outside ``[0, C)``: torch raises IndexError, scikit-learn ValueError."""


class MissingExtraError(ImportError):
    """An optional dependency is absent; the message holds the command that installs it."""


def require(module: str, *, extra: str, purpose: str) -> ModuleType:
    """Import ``module``, or say which extra of bridle brings it.

    >>> require("no_such_module", extra="report", purpose="drawing curves")
    Traceback (most recent call last):
    ...
    bridle.checks.MissingExtraError: drawing curves needs no_such_module: pip install 'bridle[report]'
    """  # noqa: E501
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module.partition(".")[0]:
            raise
        message = f"{purpose} needs {module}: pip install 'bridle[{extra}]'"
        raise MissingExtraError(message) from None


def is_floating(dtype: np.dtype[Any]) -> bool:
    """Tell whether ``dtype`` is a real float, bfloat16 (known to NumPy by name only) included."""
    return dtype.kind == "f" or dtype.name == "bfloat16"


def floating(values: npt.ArrayLike, name: str) -> Array:
    """Return ``values`` as a float array; integers and booleans become float64."""
    array = np.asarray(values)
    if is_floating(array.dtype):
        return array
    if array.dtype.kind in "iub":
        return array.astype(np.float64)
    raise InputError(f"{name}: expected real numbers, found {_describe(array)}")


def row_position(bad: Array) -> str:
    """Return the index of the first true entry: ``3``, or ``2, 0`` in more dimensions."""
    return ", ".join(str(int(part)) for part in np.unravel_index(np.argmax(bad), bad.shape))


def score_layout(input: Array, name: str = "input") -> int:
    """Return the number of classes of scores ``(C,)``, ``(N, C)`` or ``(N, C, d1, …)``."""
    if input.ndim == 0:
        raise InputError(f"{name}: expected shape (C,), (N, C) or (N, C, d1, …), found a scalar")
    classes = input.shape[0] if input.ndim == 1 else input.shape[1]
    if classes == 0:
        raise InputError(f"{name}: expected at least one class, found shape {input.shape}")
    return classes


def class_target(target: npt.ArrayLike, shape: tuple[int, ...], classes: int) -> tuple[Array, bool]:
    """Return the target as an array, and whether it holds probabilities rather than indices.

    ``shape`` is that of the scores. Indices have it without the class axis; probabilities (and
    one-hot targets of any number type) have it whole.
    """
    array = np.asarray(target)
    index_shape = shape[2:] if len(shape) == 1 else (shape[0], *shape[2:])
    if array.shape == index_shape and array.size == 0:
        return array.astype(np.int64), False
    if array.shape == index_shape and array.dtype.kind in "iu":
        return array, False
    if array.shape == index_shape and array.dtype.kind == "b":
        if classes != 2:
            found = f"booleans and {classes} classes"
            raise InputError(f"target: booleans stand for two classes, found {found}")
        return array.astype(np.int8), False
    if array.shape == shape and (is_floating(array.dtype) or array.dtype.kind in "iub"):
        return array, True
    raise InputError(
        f"target: expected class indices (integers) of shape {index_shape} or probabilities of "
        f"shape {shape}, found {_describe(array)}"
    )


def target_range(target: Array, classes: int, ignored: Array) -> None:
    """Refuse the first class index outside ``[0, classes)`` that is not ignored."""
    bad = ((target < 0) | (target >= classes)) & ~ignored
    if bad.any():
        where = row_position(bad)
        raise TargetRangeError(
            f"target: row {where} is {target[bad][0]}, expected a class index in [0, {classes})"
        )


def probability_rows(values: Array, name: str, axis: int = -1, hint: str = "") -> None:
    """Refuse the first row that is not a probability distribution along ``axis``.

    The sum may miss 1 by what rounding each entry to the dtype explains.
    """
    wide = values.astype(np.result_type(np.float32, _wide(values.dtype)), copy=False)
    entries = ~((wide >= 0) & (wide <= 1 + sum_tolerance(values.dtype)))
    if entries.any():
        where = row_position(entries)
        found = wide[entries][0]
        raise InputError(f"{name}: entry {where} is {found:g}, expected a probability{hint}")
    sums = wide.sum(axis=axis)
    bad = np.abs(sums - 1) > sum_tolerance(values.dtype)
    if np.any(bad):
        where = row_position(np.asarray(bad))
        found = np.asarray(sums)[bad][0]
        raise InputError(f"{name}: row {where} sums to {found:.6g}, expected 1{hint}")


def sum_tolerance(dtype: np.dtype[Any]) -> float:
    """Return how far a row of probabilities kept in ``dtype`` may sum from 1."""
    if dtype.name in ("float16", "bfloat16"):
        return 1e-2
    return 1e-4 if dtype == np.float32 else 1e-5


def weights(values: npt.ArrayLike, name: str, shape: tuple[int, ...], *, check: bool) -> Array:
    """Return weights of the given shape; refuse the first one that is negative or not finite."""
    array = floating(values, name)
    if array.shape != shape:
        raise InputError(f"{name}: expected shape {shape}, found {array.shape}")
    if check:
        bad = ~((array >= 0) & np.isfinite(array))
        if bad.any():
            found = f"entry {row_position(bad)} is {array[bad][0]}"
            raise InputError(f"{name}: {found}, expected a finite number ≥ 0")
    return array


def finite_rows(values: Array, name: str, first_row: int = 0) -> None:
    """Refuse the first row of a two-dimensional block that holds a NaN or an infinity."""
    if values.dtype.kind in "iub":
        return
    # One sum over the block is far cheaper than a test of every entry, and finite only if all are
    # (or if they overflow, which the full test then tells apart).
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(values.sum(dtype=np.float64)):
            return
    bad = ~np.isfinite(values)
    if bad.any():
        row, column = (int(part) for part in np.unravel_index(np.argmax(bad), bad.shape))
        found = "NaN" if np.isnan(values[row, column]) else "infinity"
        raise InputError(
            f"{name}: expected finite numbers, found {found} at row {first_row + row}, "
            f"column {column}"
        )


def positive(value: float, name: str) -> float:
    """Return a number that must be above zero; infinity is allowed."""
    if not _is_real_number(value) or not value > 0:
        raise InputError(f"{name}: expected a number above 0, found {value!r}")
    return float(value)


def fraction(value: float, name: str) -> float:
    """Return a number that must lie in ``[0, 1]``."""
    if not _is_real_number(value) or not 0 <= value <= 1:
        raise InputError(f"{name}: expected a number in [0, 1], found {value!r}")
    return float(value)


def reduction(value: str) -> None:
    """Refuse a reduction other than torch's three."""
    _one_of(value, "reduction", get_args(Reduction))


def on_empty(value: str) -> None:
    """Refuse an answer to an empty mean that we do not give."""
    _one_of(value, "on_empty", get_args(OnEmpty))


def unit(value: str) -> None:
    """Refuse a unit of information other than nats and bits."""
    _one_of(value, "unit", get_args(Unit))


def same_shape(first: Array, second: Array, names: tuple[str, str]) -> None:
    """Refuse two arrays whose shapes differ."""
    if first.shape != second.shape:
        raise InputError(
            f"{names[1]}: expected the shape of {names[0]}, {first.shape}, found {second.shape}"
        )


def _one_of(value: object, name: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise InputError(f"{name}: expected one of {', '.join(allowed)}, found {value!r}")


def _is_real_number(value: object) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def _wide(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return np.dtype(np.float32) if dtype.name == "bfloat16" else dtype


def _describe(array: Array) -> str:
    return f"{array.dtype} of shape {array.shape}"
