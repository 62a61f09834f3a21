"""The loss of class indices on a GPU, in few launches: which kernel, which tile, which memory.

`index_kernels` holds the kernels; they load Triton, this module does so when it is first asked for
an answer. As in `row_kernels`, nothing is checked and nothing is waited for.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from bridle.kernels import thresholds
from bridle.kernels.triton.launch import Launcher, next_power_of_2
from bridle.kernels.triton.row_kernels import accumulator_dtype


class IndexLoss(NamedTuple):
    """A loss of class indices: its targets and terms; see `bridle.torch.cross_entropy`."""

    target: Tensor  # (N,) of any integer dtype
    weight: Tensor | None  # (C,)
    sample_weight: Tensor | None  # (N,)
    ignore_index: int
    label_smoothing: float = 0.0
    z_loss: float = 0.0
    temperature: float = 1.0
    softcap: float = 0.0


class Kept(NamedTuple):
    """What forward keeps of each row for backward, (N,) each; the last two with smoothing alone."""

    top: Tensor  # the largest of the bent scores z
    rest: Tensor  # Σ exp(z − top), without the 1 of the largest itself
    target_gap: Tensor  # top − z[target]
    mass: Tensor  # Σ class weights over the classes that are not masked
    unmasked: Tensor  # their number


class Tile(NamedTuple):
    """How many rows and columns a program sees at a time, on how many warps."""

    rows: int
    columns: int
    warps: int


# --- which tile -----------------------------------------------------------------------------------


def loss_tile(columns: int, dtype: torch.dtype, *, gradient: bool) -> Tile:
    """Return the tile of `loss_kernel`."""
    if columns <= thresholds.FEW_CLASSES:
        return Tile(thresholds.FEW_CLASSES_ROWS, max(next_power_of_2(columns), 2), 1)
    if columns <= thresholds.WHOLE_COLUMNS:
        width = max(next_power_of_2(columns), 16)
        rows = max(1, 512 // width)
        return Tile(rows, width, max(1, rows * width // thresholds.WARP_NUMBERS))
    if dtype.itemsize == 2:
        return Tile(1, 16384, 8) if gradient else Tile(1, 8192, 4)
    if dtype == torch.float32:
        return Tile(1, 8192, 8) if gradient else Tile(1, 4096, 4)
    return Tile(1, 2048, 4)


def gradient_tile(columns: int, dtype: torch.dtype) -> Tile:
    """Return the tile of `gradient_kernel`."""
    if columns <= thresholds.WHOLE_COLUMNS:
        return loss_tile(columns, dtype, gradient=True)
    return Tile(1, 4096, 4) if dtype.itemsize == 2 else Tile(1, 2048, 4)


def serves(rows: int, columns: int) -> bool:
    """Tell whether the kernels are made for scores of this shape."""
    return rows > 0 and not (rows < thresholds.FEW_ROWS and columns > thresholds.MANY_COLUMNS)


def makes_both(scores: Tensor) -> bool:
    """Tell whether one program makes a row's loss and gradient.

    A gradient of float16 waits for backward's factor: the scaling of losses, which keeps small
    numbers from being rounded to 0, comes with it.
    """
    return (
        scores.dtype != torch.float16
        and scores.shape[1] * scores.element_size() <= thresholds.CACHED_BYTES
    )


# --- launches ------------------------------------------------------------------------------------


_KERNELS = "bridle.kernels.triton.index_kernels"
_loss_kernel = Launcher(_KERNELS, "loss_kernel")
_gradient_kernel = Launcher(_KERNELS, "gradient_kernel")
_divisor_kernel = Launcher(_KERNELS, "divisor_kernel")
_total_kernel = Launcher(_KERNELS, "total_kernel")
_scale_kernel = Launcher(_KERNELS, "scale_kernel")


def divisor(loss: IndexLoss, classes: int) -> Tensor:
    """Return ``Σ sample_weight · weight[target]`` over the rows that count, a float64."""
    rows = len(loss.target)
    programs = min(math.ceil(rows / thresholds.DIVISOR_NUMBERS), thresholds.DIVISOR_PROGRAMS)
    sums = torch.empty(programs, dtype=torch.float64, device=loss.target.device)
    given = (loss.target, loss.weight, loss.sample_weight, sums, rows, loss.ignore_index, classes)
    _divisor_kernel(programs, given, {"NUMBERS": thresholds.DIVISOR_NUMBERS}, 8)
    return sums if programs == 1 else sums.sum(dim=0, keepdim=True)


def losses(
    scores: Tensor,
    loss: IndexLoss,
    *,
    divisor: Tensor | None = None,
    normalizer: float = 1.0,
    out: Tensor | None = None,
) -> tuple[Tensor, Kept | None]:
    """Return each row's loss, and what is kept of it or, with ``out``, the gradient there.

    Parameters
    ----------
    scores : Tensor (N, C)
        Of any float dtype, with unit stride along the classes.
    divisor, normalizer
        What the sum of the losses is divided by, as far as its gradient is concerned.
    out : Tensor (N, C), optional
        The scores themselves, or memory of its own with unit stride along the classes.
    """
    rows, classes = scores.shape
    dtype = accumulator_dtype(scores.dtype)
    numbers = torch.empty(
        (6 if loss.label_smoothing else 4, rows), dtype=dtype, device=scores.device
    )
    found, *kept = numbers.unbind()
    if not loss.label_smoothing:
        kept += [found, found]  # neither read nor written
    tile = loss_tile(classes, scores.dtype, gradient=out is not None)
    few = classes <= thresholds.FEW_CLASSES
    given = (
        *_matrices(scores, out),
        loss.target,
        loss.weight,
        loss.sample_weight,
        divisor,
        found,
        *kept,
        rows,
        classes,
        loss.ignore_index,
        normalizer,
        *_terms(loss),
    )
    constants = _terms_constants(loss) | {
        "GRADIENT": out is not None,
        "KEPT": out is None,
        "ROW_A_THREAD": tile.rows >= thresholds.ROW_A_THREAD_FROM and not few,
        "FEW_CLASSES": classes if few else 0,
        "WHOLE": classes <= tile.columns,
        **_layout_constants(scores, out, tile),
    }
    _loss_kernel(math.ceil(rows / tile.rows), given, constants, tile.warps)
    return found, Kept(*kept) if out is None else None


def write_gradient(
    scores: Tensor,
    kept: Kept,
    loss: IndexLoss,
    cotangent: Tensor,
    *,
    divisor: Tensor | None = None,
    normalizer: float = 1.0,
    out: Tensor,
) -> Tensor:
    """Write the gradient of `losses` to ``out``, times one cotangent or one for each row (N,)."""
    rows, classes = scores.shape
    tile = gradient_tile(classes, scores.dtype)
    given = (
        *_matrices(scores, out),
        loss.target,
        loss.weight,
        loss.sample_weight,
        divisor,
        cotangent,
        *kept,
        rows,
        classes,
        loss.ignore_index,
        normalizer,
        *_terms(loss),
    )
    constants = _terms_constants(loss) | {
        "EACH": cotangent.dim() == 1,
        **_layout_constants(scores, out, tile),
    }
    programs = math.ceil(rows / tile.rows) * math.ceil(classes / tile.columns)
    _gradient_kernel(programs, given, constants, tile.warps)
    return out


def total(
    losses: Tensor, divisor: Tensor | None, normalizer: float, *, empty_is_zero: bool
) -> Tensor:
    """Return ``Σ losses / (divisor · normalizer)``, in the dtype of the losses."""
    result = torch.empty((), dtype=losses.dtype, device=losses.device)
    if len(losses) > thresholds.TOTAL_NUMBERS:
        losses = losses.sum(dim=0, keepdim=True, dtype=torch.float64)
    count = len(losses)
    width = min(max(next_power_of_2(count), 32), 4096)
    given = (losses, divisor, result, count, normalizer)
    constants = {"EMPTY_IS_ZERO": empty_is_zero, "NUMBERS": width}
    _total_kernel(1, given, constants, max(1, min(width // 256, 8)))
    return result


def scale(gradient: Tensor, factor: Tensor) -> Tensor:
    """Multiply a gradient without gaps by one number, in place; by 1 in no time."""
    programs = min(math.ceil(gradient.numel() / 4096), 1024)
    _scale_kernel(programs, (gradient, factor, gradient.numel()), {"NUMBERS": 4096}, 8)
    return gradient


def _matrices(scores: Tensor, out: Tensor | None) -> tuple[Tensor, int, Tensor, int]:
    out = scores if out is None else out
    return scores, scores.stride(0), out, out.stride(0)


def _terms(loss: IndexLoss) -> tuple[float, float, float, float]:
    return loss.label_smoothing, loss.z_loss, 1.0 / loss.temperature, loss.softcap


def _terms_constants(loss: IndexLoss) -> dict[str, Any]:
    """Return which terms there are: a kernel is compiled for them."""
    return {
        "BENT": loss.temperature != 1.0 or loss.softcap > 0,
        "CAPPED": loss.softcap > 0,
        "SMOOTHED": loss.label_smoothing > 0,
        "Z_LOSS": loss.z_loss != 0,
    }


def _layout_constants(scores: Tensor, out: Tensor | None, tile: Tile) -> dict[str, Any]:
    """Return how scores and gradient lie, as far as a kernel is compiled for it."""
    size, classes = scores.element_size(), scores.shape[1]
    to = scores if out is None else out
    alignment = math.gcd(16, classes, scores.stride(0), to.stride(0))
    lies_well = scores.data_ptr() % 16 == 0 and alignment * size % 16 == 0
    apart = to.data_ptr() - scores.data_ptr(), (to.stride(0) - scores.stride(0)) * size
    side_by_side = to.element_size() == size and all(each % 16 == 0 for each in apart)
    return {
        "PEELED": tile.rows == 1 and classes > tile.columns and not lies_well,
        "SIDE_BY_SIDE": side_by_side,
        "ALIGNMENT": alignment,
        "ROWS": tile.rows,
        "COLUMNS": tile.columns,
    }
