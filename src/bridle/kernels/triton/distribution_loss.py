"""The loss of distributions on a GPU, in one launch: which tile, which memory.

It answers as `index_loss` does. `distribution_kernels` holds the kernel; it loads Triton, this
module does so when it is first asked for an answer. Nothing is checked and nothing is waited for.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from bridle.kernels import thresholds
from bridle.kernels.triton.index_loss import (
    Tile,
    held_tile,
    scale,
    terms_constants,
    terms_numbers,
    total,
)
from bridle.kernels.triton.launch import Launch, Launcher, Launches, layout_of, remembered
from bridle.kernels.triton.row_kernels import accumulator_dtype

__all__ = [
    "DistributionLoss",
    "counts_rows",
    "divisor",
    "losses",
    "makes_both",
    "scale",
    "serves",
    "total",
    "write_gradient",
]


class DistributionLoss(NamedTuple):
    """A loss of distributions: its targets and terms; see `bridle.torch.cross_entropy`."""

    target: Tensor  # (N, C) of any float dtype, with unit stride along the classes
    weight: Tensor | None  # (C,)
    sample_weight: Tensor | None  # (N,)
    label_smoothing: float = 0.0
    z_loss: float = 0.0
    temperature: float = 1.0
    softcap: float = 0.0


class Kept(NamedTuple):
    """What forward keeps of each row for backward: nothing, it is made again."""

    nothing: Tensor


@cache
def loss_tile(columns: int, dtype: torch.dtype, alignment: int, *, few_rows: bool = False) -> Tile:
    """Return the tile of the kernel; see `index_loss.loss_tile`."""
    if columns <= thresholds.WHOLE_COLUMNS:
        return held_tile(columns, dtype, alignment, thresholds.THREAD_BYTES // 2)
    if few_rows:
        return Tile(1, 2048, 16) if dtype == torch.float64 else Tile(1, 16384, 32)
    return Tile(1, 16384 // max(dtype.itemsize, 2), 8)


def serves(rows: int, _columns: int) -> bool:
    """Tell whether the kernel is made for scores of this shape."""
    return rows > 0


def makes_both(scores: Tensor) -> bool:
    """Tell whether loss and gradient are made at once; see `index_loss.makes_both`."""
    return scores.dtype != torch.float16


_loss_kernel = Launcher("bridle.kernels.triton.distribution_kernels", "loss_kernel")


def divisor(
    loss: DistributionLoss, _classes: int, _launches: Launches | None = None
) -> Tensor | float:
    """Return the number of rows, or the sum of their weights as a float64 on the device."""
    if loss.sample_weight is None:
        return float(loss.target.shape[0])
    return loss.sample_weight.sum(dim=0, keepdim=True, dtype=torch.float64)


def counts_rows(_rows: int) -> bool:
    """Tell whether `losses` makes the divisor: it does not."""
    return False


def losses(
    scores: Tensor,
    loss: DistributionLoss,
    *,
    divisor: Tensor | None = None,
    normalizer: float = 1.0,
    counts: bool = False,
    out: Tensor | None = None,
    keep: bool = False,
    launches: Launches | None = None,
) -> tuple[Tensor, Kept | None]:
    """Return each row's loss, and with ``keep`` what `write_gradient` needs of it.

    With ``out`` the gradient is made as well; see `index_loss.losses`.
    """
    assert not counts
    found = scores.new_empty(scores.shape[0], dtype=accumulator_dtype(scores.dtype))
    launch = remembered(
        launches, ("losses", out is None), lambda: _launch(scores, loss, out, None, normalizer)
    )
    to = scores if out is None else out
    launch(scores, to, loss.target, loss.weight, loss.sample_weight, divisor, None, found)
    return found, Kept(found.new_empty(0)) if keep else None


def write_gradient(
    scores: Tensor,
    _kept: Any,
    loss: DistributionLoss,
    cotangent: Tensor,
    *,
    divisor: Tensor | None = None,
    normalizer: float = 1.0,
    out: Tensor,
    launches: Launches | None = None,
) -> Tensor:
    """Write the gradient of `losses` to ``out``, times one cotangent or one for each row (N,)."""
    launch = remembered(
        launches,
        ("gradient", layout_of(cotangent)),
        lambda: _launch(scores, loss, out, cotangent, normalizer),
    )
    launch(scores, out, loss.target, loss.weight, loss.sample_weight, divisor, cotangent, None)
    return out


def _launch(
    scores: Tensor,
    loss: DistributionLoss,
    out: Tensor | None,
    cotangent: Tensor | None,
    normalizer: float,
) -> Launch:
    rows, classes = scores.shape
    strides = scores.stride(0), (scores if out is None else out).stride(0), loss.target.stride(0)
    alignment = math.gcd(16, classes, *strides)
    tile = loss_tile(classes, scores.dtype, alignment, few_rows=rows < thresholds.FEW_ROWS)
    constants = terms_constants(loss) | {
        "GRADIENT": out is not None,
        "EACH": cotangent is not None and cotangent.dim() == 1,
        "HELD": tile.held,
        "ALIGNMENT": alignment,
        "ROWS": tile.rows,
        "COLUMNS": tile.columns,
    }
    numbers = *strides, rows, classes, normalizer, *terms_numbers(loss)
    return Launch(_loss_kernel, math.ceil(rows / tile.rows), numbers, constants, tile.warps)
