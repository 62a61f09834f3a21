"""A second opinion on the losses: one row at a time, in long doubles, formulas as in the books.

Slow and plain on purpose. It shares no line with the package, sees a masked class by leaving its
column out, and is what "right" means in the tests.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Long = np.longdouble

FLOAT_DTYPES: list[np.dtype[Any]] = [
    np.dtype(ml_dtypes.bfloat16),
    np.dtype(np.float16),
    np.dtype(np.float32),
    np.dtype(np.float64),
    np.dtype(np.longdouble),
]


FLOAT_INFO: Any = ml_dtypes.finfo  # as NumPy's, and it knows bfloat16


@dataclass(frozen=True)
class Answer:
    """Losses of the positions, their gradients in the input's layout, what a mean divides by."""

    losses: Array
    gradients: Array
    normalizer: Any

    def reduced(self, reduction: str) -> tuple[Array, Array]:
        """Return the loss and its gradient after torch's three reductions."""
        if reduction == "none":
            return self.losses, self.gradients
        if reduction == "sum":
            return self.losses.sum(), self.gradients
        return self.losses.sum() / self.normalizer, self.gradients / self.normalizer


def long(values: npt.ArrayLike) -> Array:
    """Return values as long doubles; bfloat16 knows no direct way there."""
    array = np.asarray(values)
    return array.astype(np.float64).astype(Long) if array.dtype.kind == "V" else array.astype(Long)


def logsumexp(row: Array) -> Any:
    """Return ``log Σ exp`` of one row."""
    largest = row.max()
    return largest + np.log(np.exp(row - largest).sum())


def class_loss(
    scores: npt.ArrayLike,
    target: npt.ArrayLike,
    weight: npt.ArrayLike | None = None,
    *,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    sample_weight: npt.ArrayLike | None = None,
) -> Answer:
    """Return cross-entropy of scores ``(C,)``, ``(N, C)`` or ``(N, C, d1, …)``."""
    given = long(scores)
    labels = np.asarray(target)
    soft = labels.shape == given.shape
    last = np.moveaxis(given, min(given.ndim - 1, 1), -1)
    goals = np.moveaxis(long(labels), min(given.ndim - 1, 1), -1) if soft else labels
    classes = last.shape[-1]
    class_weight = np.ones(classes, Long) if weight is None else long(weight)
    shape = last.shape[:-1]
    per_sample = np.ones(shape, Long)
    if sample_weight is not None:
        spread = long(sample_weight)
        per_sample *= spread.reshape(spread.shape + (1,) * (len(shape) - spread.ndim))

    losses = np.zeros(shape, Long)
    gradients = np.zeros(last.shape, Long)
    normalizer: Any = Long(0)
    for at in np.ndindex(shape):
        if not soft and goals[at] == ignore_index:
            continue
        row: Array = last[at]
        kept = np.flatnonzero(row != -np.inf)
        aim = goals[at] if soft else np.eye(classes, dtype=Long)[goals[at]]
        mass = np.zeros(classes, Long)
        for c in kept:
            mass[c] = (1 - Long(label_smoothing)) * aim[c] + Long(label_smoothing) / len(kept)
        mass *= class_weight * per_sample[at]
        # Shifted first: a common offset of 1e38 would leave no digit for the loss.
        row = np.subtract(row, row[kept].max())
        lse = logsumexp(row[kept])
        losses[at] = sum(mass[c] * (lse - row[c]) for c in kept)
        for c in kept:
            gradients[(*at, c)] = np.exp(row[c] - lse) * mass.sum() - mass[c]
        normalizer += per_sample[at] * (1 if soft else class_weight[goals[at]])
    return Answer(losses, np.moveaxis(gradients, -1, min(given.ndim - 1, 1)), normalizer)


def precision(dtype: npt.DTypeLike) -> float:
    """Return the relative rounding of a number kept in ``dtype``."""
    return float(FLOAT_INFO(np.dtype(dtype)).eps)


def assert_close(
    found: npt.ArrayLike,
    right: npt.ArrayLike,
    dtype: npt.DTypeLike,
    ulps: int = 16,
    scale: float = 0.0,
) -> None:
    """Ask for ``ulps`` roundings of ``dtype``, relative to each number (or to ``scale``).

    The oracle itself rounds its sums to long doubles and cannot tell a smaller loss from 0; nor can
    a dtype a number below its smallest.
    """
    eps = precision(dtype)
    smallest = float(FLOAT_INFO(np.dtype(dtype)).smallest_subnormal)
    least = 16 * precision(Long) + smallest + ulps * eps * scale
    np.testing.assert_allclose(long(found), long(right), rtol=ulps * eps, atol=least)


def _on_disk(array: Array) -> Array:
    import tempfile

    with tempfile.TemporaryFile() as file:
        mapped = np.memmap(file, array.dtype, "w+", shape=array.shape) if array.size else array
        mapped[...] = array
    return mapped


def _read_only(array: Array) -> Array:
    copy = array.copy()
    copy.setflags(write=False)
    return copy


def _every_second(array: Array) -> Array:
    return np.repeat(array, 2, axis=-1)[..., ::2] if array.ndim else array


def _reversed(array: Array) -> Array:
    return np.flip(np.flip(array).copy())


def _other_byte_order(array: Array) -> Array:
    if array.dtype.kind == "V":  # bfloat16 has one order only
        return array
    return array.astype(array.dtype.newbyteorder("S"))


# The same numbers, laid down in every way that an array can come.
LAYOUTS: dict[str, Callable[[Array], Array]] = {
    "contiguous": np.array,
    "fortran": lambda array: np.array(array, order="F"),
    "every second": _every_second,
    "negative strides": _reversed,
    "read-only": _read_only,
    "memory-mapped": _on_disk,
    "other byte order": _other_byte_order,
}
