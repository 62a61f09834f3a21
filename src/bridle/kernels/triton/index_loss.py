"""The loss of class indices on a GPU, in few launches: which kernel, which tile, which memory.

`index_kernels` holds the kernels; they load Triton, this module does so when it is first asked for
an answer. As in `row_kernels`, nothing is checked and nothing is waited for.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from bridle.kernels import thresholds
from bridle.kernels.triton.launch import (
    Launch,
    Launcher,
    Launches,
    layout_of,
    next_power_of_2,
    remembered,
)
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
    """How many rows and columns a program sees at a time, on how many warps.

    So many tiles side by side are ``held`` in registers and make whole rows; 0: read in a loop.
    """

    rows: int
    columns: int
    warps: int
    held: int = 0


# --- which tile -----------------------------------------------------------------------------------


@cache
def loss_tile(
    columns: int,
    dtype: torch.dtype,
    *,
    gradient: bool,
    alignment: int = 1,
    terms: bool = False,
    few_rows: bool = False,
) -> Tile:
    """Return the tile of `loss_kernel`.

    ``alignment`` divides where each row begins; ``terms`` tells of smoothing or bent scores, and
    ``few_rows`` of so few that what a program does at a time is all that there is to do.
    """
    if columns <= thresholds.WHOLE_COLUMNS:
        return held_tile(columns, dtype, alignment, thresholds.THREAD_BYTES)
    if few_rows:
        width = 16384 if terms else 32768
        return Tile(1, 4096, 16) if dtype == torch.float64 else Tile(1, width, 32)
    if dtype.itemsize == 2:
        # Such terms take so many registers that half as many programs would fit.
        return Tile(1, 8192 if terms else 16384, 8) if gradient else Tile(1, 8192, 4)
    if dtype == torch.float32:
        return Tile(1, 8192, 8) if gradient else Tile(1, 4096, 4)
    return Tile(1, 2048, 4)


def held_tile(columns: int, dtype: torch.dtype, alignment: int, thread_bytes: int) -> Tile:
    """Return the tile of rows that stay in registers, so many bytes of each with a thread."""
    at_once = min(alignment, 16 // dtype.itemsize)  # numbers that a thread reads at once
    few = thresholds.FEW_CLASSES_BY_FOUR if at_once >= 4 else thresholds.FEW_CLASSES
    if columns <= few:
        return Tile(thresholds.FEW_CLASSES_ROWS, at_once, 1, columns // at_once)
    most = thread_bytes // max(dtype.itemsize, 4)
    threads = max(thresholds.FEWEST_THREADS, next_power_of_2(math.ceil(columns / most)))
    if at_once * dtype.itemsize < 16:
        threads = _threads_apart(threads, columns, at_once, dtype.itemsize)
    width = threads * at_once  # of a row
    return Tile(max(1, 32 // threads), width, max(1, threads // 32), math.ceil(columns / width))


def _threads_apart(threads: int, columns: int, at_once: int, size: int) -> int:
    """Return how many threads share a row that is not read 16 bytes at a time, at least so many.

    Each time they read, threads side by side touch as many lines of the cache as they have rows:
    the fewer bytes they take at a time, and the oftener, the fewer rows there should be.
    """
    if columns <= thresholds.PAIRED_COLUMNS and columns <= 2 * thresholds.PAIRED_READS * at_once:
        return 2
    reads = thresholds.READS_OF_WORDS if at_once * size >= 4 else thresholds.READS_OF_HALVES
    while threads < 32 and math.ceil(columns / (threads * at_once)) > reads * threads + 1:
        threads *= 2
    return threads


@cache
def gradient_tile(columns: int, dtype: torch.dtype) -> Tile:
    """Return the tile of `gradient_kernel`, of which a program sees one."""
    if columns <= thresholds.WHOLE_COLUMNS:
        width = max(next_power_of_2(columns), 2)
        rows = max(1, min(512 // width, 32))
        return Tile(rows, width, max(1, rows * width // 1024))
    return Tile(1, 4096, 4) if dtype.itemsize == 2 else Tile(1, 2048, 4)


def serves(rows: int, _columns: int) -> bool:
    """Tell whether the kernels are made for scores of this shape."""
    return rows > 0


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


def divisor(loss: IndexLoss, classes: int, launches: Launches | None = None) -> Tensor:
    """Return ``Σ sample_weight · weight[target]`` over the rows that count, a float64."""
    rows = loss.target.shape[0]
    programs = 1
    if rows > thresholds.TOTAL_NUMBERS:
        programs = min(math.ceil(rows / thresholds.DIVISOR_NUMBERS), thresholds.DIVISOR_PROGRAMS)
    sums = loss.target.new_empty(programs, dtype=torch.float64)

    def make() -> Launch:
        constants = {"NUMBERS": thresholds.DIVISOR_NUMBERS}
        numbers = rows, loss.ignore_index, classes
        return Launch(_divisor_kernel, programs, numbers, constants, 8)

    launch = remembered(launches, "divisor", make)
    launch(loss.target, loss.weight, loss.sample_weight, sums)
    return sums if programs == 1 else sums.sum(dim=0, keepdim=True)


def counts_rows(rows: int) -> bool:
    """Tell whether so few rows are counted by each program of `losses` for itself."""
    return rows <= thresholds.COUNTED_ROWS


def losses(
    scores: Tensor,
    loss: IndexLoss,
    *,
    divisor: Tensor | None = None,
    normalizer: float = 1.0,
    counts: bool = False,
    out: Tensor | None = None,
    keep: bool = False,
    launches: Launches | None = None,
) -> tuple[Tensor, Kept | None]:
    """Return each row's loss, and with ``keep`` what `write_gradient` needs of it.

    With ``out`` the gradient is made as well.

    Parameters
    ----------
    scores : Tensor (N, C)
        Of any float dtype, with unit stride along the classes.
    divisor, normalizer
        What the sum of the losses is divided by, as far as its gradient is concerned.
    counts : bool
        Make the divisor, as `divisor` would, and write it to the memory that is given.
    out : Tensor (N, C), optional
        The scores themselves, or memory of its own with unit stride along the classes.
    launches : dict, optional
        What calls alike have launched, which differ in the numbers of their tensors alone.
    """
    found = scores.new_empty(scores.shape[0], dtype=accumulator_dtype(scores.dtype))
    kept = _kept(found, loss) if keep else None
    to = scores if out is None else out
    launch = remembered(
        launches,
        ("losses", out is None, keep, counts),
        lambda: _loss_launch(
            scores, loss, normalizer, to, gradient=out is not None, keep=keep, counts=counts
        ),
    )
    given = loss.target, loss.weight, loss.sample_weight, divisor, found
    launch(scores, to, *given, *(kept or (None,) * 5))
    return found, kept


def _loss_launch(
    scores: Tensor,
    loss: IndexLoss,
    normalizer: float,
    to: Tensor,
    *,
    gradient: bool,
    keep: bool,
    counts: bool,
) -> Launch:
    rows, classes = scores.shape
    alignment = _alignment(scores, to)
    tile = loss_tile(
        classes,
        scores.dtype,
        gradient=gradient,
        alignment=alignment,
        terms=loss.label_smoothing > 0 or _is_bent(loss),
        few_rows=rows < thresholds.FEW_ROWS,
    )
    constants = terms_constants(loss) | {
        "GRADIENT": gradient,
        "KEPT": keep,
        "COUNTED": min(max(next_power_of_2(rows), 32), 256) if counts else 0,
        "HELD": tile.held,
        **_layout_constants(scores, to, tile, alignment),
    }
    programs = math.ceil(rows / tile.rows)
    return Launch(
        _loss_kernel, programs, _numbers(scores, to, loss, normalizer), constants, tile.warps
    )


def _kept(losses: Tensor, loss: IndexLoss) -> Kept:
    """Return memory for what is kept; without smoothing the last two are never touched."""
    count = 5 if loss.label_smoothing else 3
    numbers = losses.new_empty((count, losses.shape[0])).unbind()
    return Kept(*numbers, *(numbers[0],) * (5 - count))


def write_gradient(
    scores: Tensor,
    kept: Kept,
    loss: IndexLoss,
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
        lambda: _gradient_launch(scores, loss, normalizer, out, each=cotangent.dim() == 1),
    )
    given = loss.target, loss.weight, loss.sample_weight, divisor, cotangent
    launch(scores, out, *given, *kept)
    return out


def _gradient_launch(
    scores: Tensor, loss: IndexLoss, normalizer: float, out: Tensor, *, each: bool
) -> Launch:
    rows, classes = scores.shape
    tile = gradient_tile(classes, scores.dtype)
    constants = terms_constants(loss) | {
        "EACH": each,
        **_layout_constants(scores, out, tile, _alignment(scores, out)),
    }
    programs = math.ceil(rows / tile.rows) * math.ceil(classes / tile.columns)
    numbers = _numbers(scores, out, loss, normalizer)
    return Launch(_gradient_kernel, programs, numbers, constants, tile.warps)


def total(
    losses: Tensor,
    divisor: Tensor | None,
    normalizer: float,
    *,
    empty_is_zero: bool,
    launches: Launches | None = None,
) -> Tensor:
    """Return ``Σ losses / (divisor · normalizer)``, in the dtype of the losses."""
    result = losses.new_empty(())
    count = losses.shape[0]
    if count > thresholds.TOTAL_NUMBERS:
        losses, count = losses.sum(dim=0, keepdim=True, dtype=torch.float64), 1

    def make() -> Launch:
        width = min(max(next_power_of_2(count), 32), 4096)
        constants = {"EMPTY_IS_ZERO": empty_is_zero, "NUMBERS": width}
        warps = max(1, min(width // 256, 8))
        return Launch(_total_kernel, 1, (count, normalizer), constants, warps)

    remembered(launches, "total", make)(losses, divisor, result)
    return result


def scale(gradient: Tensor, factor: Tensor, launches: Launches | None = None) -> Tensor:
    """Multiply a gradient without gaps by one number, in place; by 1 in no time."""

    def make() -> Launch:
        count = gradient.numel()
        programs = min(math.ceil(count / 4096), 1024)
        return Launch(_scale_kernel, programs, (count,), {"NUMBERS": 4096}, 8)

    remembered(launches, ("scale", layout_of(factor)), make)(gradient, factor)
    return gradient


def _numbers(scores: Tensor, out: Tensor, loss: IndexLoss, normalizer: float) -> tuple[Any, ...]:
    strides = scores.stride(0), out.stride(0)
    return *strides, *scores.shape, loss.ignore_index, normalizer, *terms_numbers(loss)


def _alignment(scores: Tensor, out: Tensor) -> int:
    """Return the largest power of 2, to 16, that divides the classes and the distance of rows."""
    return math.gcd(16, scores.shape[1], scores.stride(0), out.stride(0))


def _is_bent(loss: Any) -> bool:
    return bool(loss.temperature != 1.0 or loss.softcap > 0)


def terms_numbers(loss: Any) -> tuple[float, float, float, float]:
    """Return how large the terms are."""
    return loss.label_smoothing, loss.z_loss, 1.0 / loss.temperature, loss.softcap


def terms_constants(loss: Any) -> dict[str, Any]:
    """Return which terms there are: a kernel is compiled for them."""
    return {
        "BENT": _is_bent(loss),
        "CAPPED": loss.softcap > 0,
        "SMOOTHED": loss.label_smoothing > 0,
        "Z_LOSS": loss.z_loss != 0,
    }


def _layout_constants(scores: Tensor, out: Tensor, tile: Tile, alignment: int) -> dict[str, Any]:
    """Return how scores and gradient lie, as far as a kernel is compiled for it."""
    size, classes, first = scores.element_size(), scores.shape[1], scores.data_ptr()
    lies_well = first % 16 == 0 and alignment * size % 16 == 0
    rows_apart = (out.stride(0) - scores.stride(0)) * size
    side_by_side = (
        out.element_size() == size and (out.data_ptr() - first) % 16 == 0 and rows_apart % 16 == 0
    )
    return {
        "PEELED": not (tile.held or lies_well) and tile.rows == 1 and classes > tile.columns,
        "SIDE_BY_SIDE": side_by_side,
        "ALIGNMENT": alignment,
        "ROWS": tile.rows,
        "COLUMNS": tile.columns,
    }
