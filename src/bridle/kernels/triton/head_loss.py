"""A linear head's loss of class indices on a GPU, for few features: which tiles, which memory.

`head_kernels` holds the kernels, whose scores are never stored; they load Triton, this module does
so when it is first asked for an answer. Nothing is checked and nothing is waited for.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from bridle.kernels import thresholds
from bridle.kernels.triton.index_loss import IndexLoss, terms_constants, terms_numbers
from bridle.kernels.triton.launch import Launcher, next_power_of_2

_KERNELS = "bridle.kernels.triton.head_kernels"
_sums_kernel = Launcher(_KERNELS, "sums_kernel")
_loss_kernel = Launcher(_KERNELS, "loss_kernel")
_features_kernel = Launcher(_KERNELS, "features_kernel")
_head_kernel = Launcher(_KERNELS, "head_kernel")


class HeadLoss(NamedTuple):
    """A head, with unit strides along its features, and the loss of its scores."""

    features: Tensor  # (N, D)
    head: Tensor  # (C, D)
    bias: Tensor | None  # (C,)
    loss: IndexLoss


class Known(NamedTuple):
    """What `losses` finds of each row for the gradients, (N,) each."""

    labels: Tensor
    references: Tensor
    factors: Tensor
    spreads: Tensor
    at_labels: Tensor


class Tile(NamedTuple):
    """How many rows and classes a program sees at a time, on how many warps."""

    rows: int
    classes: int
    warps: int


def serves(features: Tensor, head: Tensor) -> bool:
    """Tell whether a head's scores are made anew in less time than they are stored and read."""
    return (
        features.dtype.itemsize == 2
        and 0 < features.shape[1] <= thresholds.NARROW_FEATURES
        and features.shape[0] > 0
        and head.shape[0] > 0
    )


def losses(given: HeadLoss, divisor: Tensor | None, normalizer: float) -> tuple[Tensor, Known]:
    """Return each row's loss, and what `features_gradient` and `head_gradients` need of it.

    Divisor and normalizer divide the sum of the losses, as far as its gradient is concerned.
    """
    features, head, bias, loss = given
    rows, tile = features.shape[0], Tile(*thresholds.NARROW_SUMS_TILE)
    smoothed = loss.label_smoothing > 0
    parts, share = _shares(rows, tile.rows, head.shape[0], tile.classes)
    memory = features.new_empty((5 if smoothed else 2, parts, rows), dtype=torch.float32)
    sums = (*memory.unbind(), *(memory[0],) * (5 - memory.shape[0]))  # the last are not touched
    _launch(_sums_kernel, parts * math.ceil(rows / tile.rows), given, tile, sums, share)
    found, *numbers = features.new_empty((5, rows), dtype=torch.float32).unbind()
    known = Known(features.new_empty(rows, dtype=torch.int32), *numbers)
    targets = loss.target, loss.weight, loss.sample_weight, divisor
    settings = parts, loss.ignore_index, normalizer, *terms_numbers(loss)
    _loss_kernel(
        math.ceil(rows / thresholds.NARROW_LOSS_ROWS),
        (features, head, bias, *targets, *sums, found, *known, *_sizes(given), *settings),
        terms_constants(loss) | _widths(features) | {"ROWS": thresholds.NARROW_LOSS_ROWS},
        4,
    )
    return found, known


def features_gradient(given: HeadLoss, known: Known, dtype: torch.dtype) -> Tensor:
    """Return the gradient of the features (N, D), in a dtype."""
    rows, tile = given.features.shape[0], Tile(*thresholds.NARROW_FEATURES_TILE)
    parts, share = _shares(rows, tile.rows, given.head.shape[0], tile.classes)
    out, programs = _memory(given.features, parts, dtype), parts * math.ceil(rows / tile.rows)
    _launch(_features_kernel, programs, given, tile, (out, *known), share)
    return _added(out, dtype)


def head_gradients(
    given: HeadLoss, known: Known, dtype: torch.dtype
) -> tuple[Tensor, Tensor | None]:
    """Return the gradients of the head (C, D) and of its bias, if it has one, in a dtype."""
    classes, tile = given.head.shape[0], Tile(*thresholds.NARROW_HEAD_TILE)
    parts, share = _shares(classes, tile.classes, given.features.shape[0], tile.rows)
    out, programs = _memory(given.head, parts, dtype), parts * math.ceil(classes / tile.classes)
    bias_out = None if given.bias is None else _memory(given.bias, parts, torch.float32)
    _launch(_head_kernel, programs, given, tile, (out, bias_out, *known), share)
    return _added(out, dtype), None if bias_out is None else _added(bias_out, dtype)


def _launch(
    kernel: Launcher, programs: int, given: HeadLoss, tile: Tile, own: tuple[Any, ...], share: int
) -> None:
    """Launch a kernel that goes through a head in tiles; its ``own`` arguments are tensors."""
    features, head, bias, loss = given
    terms = terms_constants(loss)
    del terms["Z_LOSS"]  # which the loss alone is made of
    _, _, inverse_temperature, softcap = terms_numbers(loss)
    numbers = *_sizes(given), share, inverse_temperature, softcap
    constants = terms | _widths(features) | {"ROWS": tile.rows, "CLASSES": tile.classes}
    kernel(programs, (features, head, bias, loss.weight, *own, *numbers), constants, tile.warps)


def _shares(count: int, tile: int, others: int, other_tile: int) -> tuple[int, int]:
    """Return into how many shares the others are cut, and how many one has.

    So that programs of so many at a time, each with one share of the others, fill a device.
    """
    tiles = math.ceil(others / other_tile)
    parts = max(1, min(thresholds.NARROW_PROGRAMS // math.ceil(count / tile), tiles))
    share = math.ceil(tiles / parts) * other_tile
    return math.ceil(others / share), share


def _memory(like: Tensor, parts: int, dtype: torch.dtype) -> Tensor:
    """Return memory for a gradient, which is summed in float32 where there are several parts."""
    return like.new_empty((parts, *like.shape), dtype=dtype if parts == 1 else torch.float32)


def _added(parts: Tensor, dtype: torch.dtype) -> Tensor:
    return (parts[0] if parts.shape[0] == 1 else parts.sum(dim=0)).to(dtype)


def _sizes(given: HeadLoss) -> tuple[int, int, int, int]:
    features, head = given.features, given.head
    return features.stride(0), head.stride(0), features.shape[0], head.shape[0]


def _widths(features: Tensor) -> dict[str, int]:
    count = features.shape[1]
    return {"FEATURES": count, "WIDTH": max(next_power_of_2(count), 16)}
