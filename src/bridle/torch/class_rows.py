"""Every layout that scores and class targets may come in becomes rows, checked.

The conventions are those of `bridle.losses.class_targets`; here nothing is computed from the scores
and nothing of their size is made, except that a layout whose classes do not lie side by side is
moved once.
"""

from __future__ import annotations

from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor

from bridle import checks
from bridle.torch import arguments
from bridle.torch.kinds import refuse_pieces
from bridle.torch.parts import accumulator_dtype
from bridle.torch.shards import Shard


class ClassRows(NamedTuple):
    """Scores and their targets in rows; ``N`` positions, ``C`` classes."""

    scores: Tensor  # (N, C), unit stride along the classes, a view where the layout allows
    target: Tensor  # as `bridle.torch.parts` says
    mass: Tensor | None  # (N, k), of sparse distributions only
    weight: Tensor | None  # (C,)
    sample_weight: Tensor | None  # (N,)
    counted: Tensor | None  # (N,) bool; None: every row counts
    unknown: Tensor | None  # (N,) bool: out of range, unchecked; None: no row
    loss_shape: tuple[int, ...]
    # Of a sharded vocabulary, what the ranks have told each other of the targets.
    target_weight: Tensor | None = None  # (N,) or (N, k): the class weights of indices
    likeliest: Tensor | None = None  # (N,): the most probable class of distributions

    # No property: PyTorch 2.9 compiles none of a named tuple.
    def is_soft(self) -> bool:
        """Tell whether the targets are distributions, dense or sparse."""
        return self.mass is not None or self.target.is_floating_point()

    def mass_of_targets(self) -> Tensor | None:
        """Return what the targets' −log p count, see `bridle.formula.row_loss.row_loss`.

        Of sparse distributions (N, k), of class indices (N,); None: 1, or what the parts say.
        """
        if self.weight is None or self.target.is_floating_point():
            return self.mass
        chosen = self.weight_of_targets()
        return chosen if self.mass is None else self.mass * chosen

    def weight_of_targets(self) -> Tensor:
        """Return the class weights of class indices, any of a row that is ignored."""
        if self.target_weight is not None:
            return self.target_weight
        assert self.weight is not None
        return self.weight[self.target.clamp(min=0)]


def class_rows(
    input: Tensor,
    target: Any,
    weight: Any,
    *,
    ignore_index: int,
    sample_weight: Any,
    check: bool | None,
    name: str = "input",
    shard: Shard | None = None,
) -> ClassRows:
    """Check the arguments of a loss of class targets and bring them to rows.

    Given the ``shard`` that the input is of, targets are ids of all its classes, while weights and
    distributions become those of its own; the scores keep their padding.
    """
    shape = tuple(input.shape)
    place = min(len(shape) - 1, 1)
    if not shape or (shape[place] == 0 and shard is None):
        checks.score_layout(arguments.like(input), name)
    classes = own_classes = shape[place]
    if shard is not None:
        classes, own_classes = shard.classes, shard.width
        shape = (*shape[:place], own_classes, *shape[place + 1 :])
    loss_shape = () if len(shape) == 1 else (shape[0], *shape[2:])
    check_values = arguments.should_check(check, input)
    dtype = accumulator_dtype(input.dtype)
    mass = counted = unknown = None
    if is_sparse(target):
        whole_shape = (*shape[:place], classes, *shape[place + 1 :])
        rows_target, mass = _sparse(target[0], target[1], whole_shape, ignore_index, check_values)
        mass = mass.to(dtype)
    else:
        given = arguments.on_device_of(target, input)
        if shard is not None and given.dim() == len(shape):
            given = shard.own(given, place)
        if tuple(given.shape) == shape and not _is_index(given, loss_shape):
            rows_target = _dense(given, ignore_index, dtype, check_values, shard)
        else:
            _refuse_unless_index(given, shape, loss_shape, classes)
            trusted = check is False or (check is None and input.device.type != "cpu")
            rows_target, counted, unknown = _indices(
                given, classes, ignore_index, check_values, trusted
            )
    if weight is not None:
        if shard is not None:
            weight = shard.own(arguments.on_device_of(weight, input, "weight"), 0)
        weight = arguments.weights(weight, "weight", (own_classes,), dtype, input, check_values)
        if weight.requires_grad:
            raise checks.InputError.of(
                "weight", expected="constants", found="a tensor with a gradient"
            )
    if sample_weight is not None:
        sample_weight = _sample_weight(sample_weight, input, loss_shape, dtype, check_values)
    scores = as_rows(input)
    return ClassRows(scores, rows_target, mass, weight, sample_weight, counted, unknown, loss_shape)


def is_sparse(target: Any) -> bool:
    """Tell targets ``(indices, values)``, distributions of few classes each, from all others."""
    return isinstance(target, (tuple, list)) and len(target) == 2 and isinstance(target[0], Tensor)


def in_default_layout(
    values: Tensor, target: Any, axis: int | None, dim: int | None, name: str = "input"
) -> tuple[Tensor, Any]:
    """Move the axis of the classes to where torch has it: views, nothing is copied."""
    place = checks.class_place(axis, dim, tuple(values.shape), name)
    if place is None:
        return values, target
    if not is_sparse(target):
        target = arguments.on_device_of(target, values)
        if checks.placed_target(tuple(target.shape), tuple(values.shape), place):
            target = target.movedim(place, 1)
    return values.movedim(place, 1), target


def as_rows(values: Tensor) -> Tensor:
    """Return ``(C,)``, ``(N, C)`` or ``(N, C, d1, …)`` as (N, C) with the classes side by side."""
    if values.dim() == 1:
        rows = values[None]
    elif values.dim() == 2:
        rows = values
    else:
        moved = values.movedim(1, -1)
        rows = moved.reshape(prod(moved.shape[:-1]), moved.shape[-1])
    return rows if rows.stride(1) == 1 else rows.contiguous()


def _is_index(target: Tensor, loss_shape: tuple[int, ...]) -> bool:
    return tuple(target.shape) == loss_shape and not target.is_floating_point()


def _refuse_unless_index(
    target: Tensor, shape: tuple[int, ...], loss_shape: tuple[int, ...], classes: int
) -> None:
    right = tuple(target.shape) == loss_shape
    empty = right and target.numel() == 0
    plain = not (target.is_floating_point() or target.is_complex())
    if not empty and not (right and plain and (target.dtype != torch.bool or classes == 2)):
        checks.class_target(arguments.like(target), shape, classes)


def _indices(
    target: Tensor, classes: int, ignore_index: int, check_values: bool, trusted: bool
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Return indices (N,) with −1 where ignored, which rows count, and which are out of range."""
    wide = target.to(torch.int64)
    if torch.compiler.is_compiling() and not trusted:
        wide, check_values = checked_indices(wide, classes, ignore_index), False
    index = wide.flatten()
    if check_values and _all_counted(index, classes, ignore_index):
        return index, None, None
    ignored = index == ignore_index
    unknown = ((index < 0) | (index >= classes)) & ~ignored
    if check_values and arguments.any_true(unknown):
        where_ignored = arguments.as_array(ignored.view(target.shape))
        checks.target_range(arguments.as_array(target), classes, where_ignored)
    # A class in range stands in for an unknown one: its row's loss becomes NaN all the same.
    index = index.masked_fill(unknown, 0).masked_fill(ignored, -1)
    return index, ~ignored, unknown


def _all_counted(index: Tensor, classes: int, ignore_index: int) -> bool:
    """Tell in one pass that every index is a class and none is ignored, as mostly they are."""
    if index.numel() == 0:
        return False
    least, most = arguments.extremes(index)
    return least >= 0 and most < classes and not least <= ignore_index <= most


@torch.library.custom_op("bridle::checked_indices", mutates_args=())
def checked_indices(target: torch.Tensor, classes: int, ignore_index: int) -> torch.Tensor:
    """Refuse an index out of range when a compiled program runs; return the indices."""
    _indices(target, classes, ignore_index, True, False)
    return target.clone()


@checked_indices.register_fake
def _(target: Tensor, classes: int, ignore_index: int) -> Tensor:  # noqa: ARG001
    return torch.empty_like(target)


def _dense(
    target: Tensor,
    ignore_index: int,
    dtype: torch.dtype,
    check_values: bool,
    shard: Shard | None = None,
) -> Tensor:
    _refuse_ignore_index(ignore_index)
    if check_values and shard is not None:
        tolerance = arguments.sum_tolerance(target, 0)
        if arguments.any_true(~((target >= 0) & (target <= 1 + tolerance))):
            arguments.unit_interval(target, "target")  # their sums are found with the loss
    elif check_values:
        arguments.distributions(target, "target", 0 if target.dim() == 1 else 1)
    return as_rows(target if target.is_floating_point() else target.to(dtype))


def _sparse(
    indices: Tensor,
    probabilities: Any,
    shape: tuple[int, ...],
    ignore_index: int,
    check_values: bool,
) -> tuple[Tensor, Tensor]:
    """Check sparse distributions (N, k); an index out of range has no meaning that could be NaN."""
    _refuse_ignore_index(ignore_index)
    refuse_pieces(indices, "target[0]")
    masses = arguments.floating(
        arguments.on_device_of(probabilities, indices, "target[1]"), "target[1]"
    )
    shapes = tuple(indices.shape), tuple(masses.shape)
    if len(shape) != 2 or shapes[0] != shapes[1] or len(shapes[0]) != 2 or shapes[0][0] != shape[0]:
        raise checks.InputError.of(
            "target",
            expected="indices and probabilities of shape (N, k) beside scores (N, C)",
            found=f"{shapes[0]} and {shapes[1]} beside {shape}",
        )
    if indices.is_floating_point() or indices.dtype == torch.bool:
        raise checks.InputError.of("target[0]", expected="integers", found=indices.dtype)
    index = indices.to(torch.int64)
    outside = (index < 0) | (index >= shape[1])
    if check_values:
        if arguments.any_true(outside):
            nothing = arguments.as_array(torch.zeros_like(outside))
            checks.target_range(arguments.as_array(indices), shape[1], nothing, "target[0]")
        arguments.distributions(masses, "target[1]", 1)
    return index.masked_fill(outside, 0), masses.masked_fill(outside, torch.nan)


def _refuse_ignore_index(ignore_index: int) -> None:
    if ignore_index >= 0:
        found = f"ignore_index={ignore_index} with probabilities as target"
        raise checks.InputError.of("ignore_index", expected="class indices as target", found=found)


def _sample_weight(
    values: Any, input: Tensor, loss_shape: tuple[int, ...], dtype: torch.dtype, check_values: bool
) -> Tensor:
    given = arguments.on_device_of(values, input, "sample_weight")
    # One weight per sample also serves all positions of an (N, C, d1, …) input.
    found = tuple(given.shape)
    shape = found if found == loss_shape[:1] else loss_shape
    checked = arguments.weights(given, "sample_weight", shape, dtype, input, check_values)
    trailing = (1,) * (len(loss_shape) - len(shape))
    return checked.reshape(shape + trailing).expand(loss_shape).flatten()
