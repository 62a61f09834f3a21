"""Every layout that scores and class targets may come in becomes rows, checked.

Conventions. Scores are ``(C,)``, ``(N, C)`` or ``(N, C, d1, …)`` as in torch; here they become a
matrix with a row per position and a column per class. A target is an index per position or a
distribution per position. ``mass`` is what a row's loss weighs each class's −log p with:

    mass_c = sample_weight · weight_c · ((1 − ε) · target_c + ε / K)

with ε the label smoothing and K the number of classes that are not masked: a class with the score
−inf gets no share, so that masking a class is the same as not having it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from bridle import checks
from bridle.kernels.numpy import reference

Array = npt.NDArray[Any]

# A block and its few temporaries stay in a core's own cache.
_BLOCK_NUMBERS = 2**16


@dataclass(frozen=True)
class ClassTargets:
    """Scores and their targets in rows; ``N`` positions, ``C`` classes."""

    scores: Array  # (N, C), a view where the layout allows
    target: Array  # (N,) indices, (N, C) probabilities, or those of ``columns``
    columns: Array | None  # (N, k) class indices of sparse distributions
    weight: Array | None  # (C,), as the sample weights in the compute dtype
    sample_weight: Array | None  # (N,)
    counted: Array  # (N,) bool: neither ignored nor of weight 0
    unknown: Array  # (N,) bool: an index out of range that the caller did not want checked
    label_smoothing: float
    input_shape: tuple[int, ...]

    @property
    def loss_shape(self) -> tuple[int, ...]:
        """The shape of a loss per position: that of the input without its class axis."""
        return self.input_shape[2:] if len(self.input_shape) == 1 else _without(self.input_shape, 1)

    @property
    def compute_dtype(self) -> np.dtype[Any]:
        """The dtype that sums, and the loss itself, are kept in."""
        return reference.accumulator_dtype(self.scores.dtype)

    def normalizer(self) -> Any:
        """Return what a mean divides by: Σ sample_weight · weight[target] over counted rows.

        Distributions as targets count with ``sample_weight`` alone, as in torch.
        """
        share = self.counted.astype(np.result_type(np.float64, self.compute_dtype))
        if self.sample_weight is not None:
            share[self.counted] = self.sample_weight[self.counted]
        if self.weight is not None and self.target.ndim == 1:
            known = self.counted & ~self.unknown
            share[known] *= self.weight[self.target[known]]
        return share.sum()

    def z_share(self, divisor: Any) -> float:
        """Return what z-loss is multiplied by in a mean that divides by `normalizer`.

        Class weights do not touch it: it is averaged over the positions, or their sample weights.
        """
        if self.weight is None or self.target.ndim != 1 or self.columns is not None:
            return 1.0
        positions = replace(self, weight=None).normalizer()
        return float(divisor / positions) if positions else 1.0

    def row_weight(self) -> Array:
        """Return what each row weighs in the loss by its sample and class weights, in float64."""
        row_weight = self.counted.astype(np.float64)
        if self.sample_weight is not None:
            row_weight *= self.sample_weight
        if self.weight is None:
            return row_weight
        if self.target.ndim == 1:
            known = self.counted & ~self.unknown
            return np.asarray(row_weight * self.weight[np.where(known, self.target, 0)])
        mass = self.target * (self.weight if self.columns is None else self.weight[self.columns])
        return np.asarray(row_weight * mass.sum(axis=1))

    def blocks(self) -> Iterator[slice]:
        """Yield blocks of rows small enough that their temporaries stay in cache."""
        step = max(1, _BLOCK_NUMBERS // self.scores.shape[1])
        for begin in range(0, len(self.scores), step):
            yield slice(begin, min(begin + step, len(self.scores)))

    def take(self, rows: slice | Array) -> ClassTargets:
        """Return some of the rows."""
        return replace(
            self,
            scores=self.scores[rows],
            target=self.target[rows],
            columns=None if self.columns is None else self.columns[rows],
            sample_weight=None if self.sample_weight is None else self.sample_weight[rows],
            counted=self.counted[rows],
            unknown=self.unknown[rows],
        )

    def mass(self) -> Array:
        """Return the mass (N, C) of all classes; zero where not counted."""
        counted = self.counted & ~self.unknown
        mass = np.zeros(self.scores.shape, self.compute_dtype)
        if self.columns is not None:
            np.add.at(mass, (np.arange(len(mass))[:, None], self.columns), self.target)
        elif self.target.ndim == 1:
            counted_rows = np.flatnonzero(counted)
            mass[counted_rows, self.target[counted_rows]] = 1
        else:
            mass[counted] = self.target[counted]
        if self.label_smoothing:
            allowed = (self.scores != -np.inf).astype(self.compute_dtype)
            allowed /= np.maximum(allowed.sum(axis=1, keepdims=True), 1)
            smoothing = self.compute_dtype.type(self.label_smoothing)
            mass = (1 - smoothing) * mass + smoothing * allowed
        mass[~counted] = 0
        if self.weight is not None:
            mass *= self.weight
        if self.sample_weight is not None:
            mass *= self.sample_weight[:, None]
        return mass

    def target_class(self) -> Array:
        """Return the class (N,) that the target says, the likeliest of a distribution."""
        if self.columns is not None:
            likeliest = self.target.argmax(axis=1)[:, None]
            return np.asarray(np.take_along_axis(self.columns, likeliest, axis=1)[:, 0])
        return np.asarray(self.target.argmax(axis=1) if self.target.ndim == 2 else self.target)

    def fill_uncounted(self, values: Array) -> Array:
        """Set losses or gradients to 0 where ignored and to NaN where the target is unknown."""
        values[~self.counted] = 0
        values[self.unknown & self.counted] = np.nan
        return values

    def in_input_layout(self, matrix: Array) -> Array:
        """Return an (N, C) matrix in the layout of the input."""
        if len(self.input_shape) <= 2:
            return matrix.reshape(self.input_shape)
        classes_last = (*_without(self.input_shape, 1), self.input_shape[1])
        return np.moveaxis(matrix.reshape(classes_last), -1, 1)


class DefaultLayout(NamedTuple):
    """Scores and target in the default layout; ``place``: the axis the classes had, if another."""

    values: Array
    target: Any
    place: int | None

    def in_input_layout_of(self, gradient: Array) -> Array:
        """Return a gradient of the default layout in that of the scores."""
        return gradient if self.place is None else np.moveaxis(gradient, 1, self.place)


def in_default_layout(
    values: Array, target: Any, axis: int | None, dim: int | None, name: str = "input"
) -> DefaultLayout:
    """Move the axis of the classes to where torch has it: views, nothing is copied."""
    place = checks.class_place(axis, dim, values.shape, name)
    if place is None:
        return DefaultLayout(values, target, None)
    if not (isinstance(target, tuple) and len(target) == 2):
        target = checks.plain_array(target, "target")
        if checks.placed_target(target.shape, values.shape, place):
            target = np.moveaxis(target, place, 1)
    return DefaultLayout(np.moveaxis(values, place, 1), target, place)


def class_targets(
    input: npt.ArrayLike,
    target: npt.ArrayLike,
    weight: npt.ArrayLike | None,
    *,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    sample_weight: npt.ArrayLike | None = None,
    check: bool = True,
) -> ClassTargets:
    """Check the arguments of a loss of class targets and bring them to rows."""
    values = checks.floating(input, "input")
    classes = checks.score_layout(values, "input")
    columns = None
    if isinstance(target, tuple) and len(target) == 2:
        columns, labels = _sparse(target, values.shape, ignore_index, check)
        soft = True
    else:
        labels, soft = checks.class_target(target, values.shape, classes)
        if soft:
            labels = _distributions(labels, ignore_index, check)
    if soft:
        counted = np.ones(len(labels), bool)
        unknown = np.zeros(len(labels), bool)
    else:
        ignored = labels == ignore_index
        if check:
            checks.target_range(labels, classes, ignored)
        unknown = (((labels < 0) | (labels >= classes)) & ~ignored).ravel()
        counted = ~ignored.ravel()
        labels = labels.ravel()
    dtype = reference.accumulator_dtype(values.dtype)
    per_class = None
    if weight is not None:
        per_class = checks.weights(weight, "weight", (classes,), dtype, check=check)
    loss_shape = values.shape[2:] if values.ndim == 1 else _without(values.shape, 1)
    per_sample = _sample_weight(sample_weight, loss_shape, dtype, check)
    if per_sample is not None:
        counted &= per_sample != 0
    smoothing = checks.fraction(label_smoothing, "label_smoothing")
    rows = _class_rows(values)
    return ClassTargets(
        rows, labels, columns, per_class, per_sample, counted, unknown, smoothing, values.shape
    )


def _sparse(
    target: tuple[Any, Any], shape: tuple[int, ...], ignore_index: int, check: bool
) -> tuple[Array, Array]:
    """Return class indices (N, k) and their probabilities; those out of range are never a class."""
    _refuse_ignore_index(ignore_index)
    columns, masses = (
        checks.plain_array(target[0], "target[0]"),
        checks.floating(target[1], "target[1]"),
    )
    if (
        len(shape) != 2
        or columns.shape != masses.shape
        or columns.ndim != 2
        or (len(columns) != shape[0])
    ):
        raise checks.InputError.of(
            "target",
            expected="indices and probabilities of shape (N, k) beside scores (N, C)",
            found=f"{columns.shape} and {masses.shape} beside {shape}",
        )
    if columns.dtype.kind not in "iu":
        raise checks.InputError.of("target[0]", expected="integers", found=columns.dtype)
    columns = columns.astype(np.int64)
    outside = (columns < 0) | (columns >= shape[1])
    if check:
        checks.target_range(columns, shape[1], np.zeros_like(outside), "target[0]")
        checks.probability_rows(masses, "target[1]", axis=1)
    return np.where(outside, 0, columns), np.where(outside, np.nan, masses)


def _refuse_ignore_index(ignore_index: int) -> None:
    if ignore_index >= 0:
        found = f"ignore_index={ignore_index} with probabilities as target"
        raise checks.InputError.of("ignore_index", expected="class indices as target", found=found)


def _distributions(target: Array, ignore_index: int, check: bool) -> Array:
    _refuse_ignore_index(ignore_index)
    if check:
        checks.probability_rows(target, "target", axis=0 if target.ndim == 1 else 1)
    return _class_rows(target)


def _sample_weight(
    sample_weight: npt.ArrayLike | None,
    loss_shape: tuple[int, ...],
    dtype: np.dtype[Any],
    check: bool,
) -> Array | None:
    if sample_weight is None:
        return None
    array = checks.floating(sample_weight, "sample_weight")
    # One weight per sample also serves all positions of an (N, C, d1, …) input.
    shape = array.shape if array.shape == loss_shape[:1] else loss_shape
    checked = checks.weights(array, "sample_weight", shape, dtype, check=check)
    trailing = (1,) * (len(loss_shape) - checked.ndim)
    return np.broadcast_to(checked.reshape(checked.shape + trailing), loss_shape).ravel()


def _class_rows(values: Array) -> Array:
    if values.ndim == 1:
        return values[None, :]
    # The number of rows is spelled out: −1 cannot be resolved when there are none.
    count = int(np.prod(_without(values.shape, 1)))
    return np.moveaxis(values, 1, -1).reshape(count, values.shape[1])


def _without(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    return shape[:axis] + shape[axis + 1 :]
