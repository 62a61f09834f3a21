"""Passes over features that are PyTorch tensors: all sums are made and left on their device.

A device that has kernels for class indices makes losses and residual by them; elsewhere the same is
done by PyTorch's own operations.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from bridle import checks
from bridle.fit.precision import Precision
from bridle.kernels.triton import launch as gpu_launch
from bridle.rows import Rows, on_host

Array = npt.NDArray[Any]
Tensor = Any


def tensor_sums(
    features: Rows,
    target: Tensor,
    sample_weight: Tensor | None,
    weight: Tensor,
    offset: Tensor,
    precision: Precision,
    rows_at_a_time: int,
) -> tuple[float, float, Tensor, Tensor]:
    """Return what `passes.sums_over` does, in the same order; the last two stay on the device."""
    torch: Any = sys.modules["torch"]
    wide = {"dtype": torch.float64, "device": weight.device}
    total, worst = torch.zeros((), **wide), torch.zeros((), **wide)
    product, residual_sum = torch.zeros(weight.shape, **wide), torch.zeros(len(offset), **wide)
    with _products_in(torch, precision, weight.device):
        for rows, block in features.tensor_blocks(rows_at_a_time, precision.dtype):
            scores = torch.addmm(offset, block, weight)
            share = None if sample_weight is None else sample_weight[rows]
            losses, residual = _losses_and_residual(torch, scores, target[rows])
            if share is None:
                total += losses.sum(dtype=torch.float64)
                worst = torch.maximum(worst, losses.max().double())
            else:
                counted = torch.where(share > 0, losses.double(), 0.0)
                total += counted @ share
                worst = torch.maximum(worst, counted.max())
                residual *= share[:, None].to(residual.dtype)
            product += block.T @ residual
            residual_sum += residual.sum(dim=0, dtype=torch.float64)
            del scores, residual, block
    # The one wait of a pass: both numbers at once.
    loss, largest = torch.stack([total, worst]).tolist()
    return loss, largest, product, residual_sum


def tensor_statistics(
    features: Rows, target: Tensor, classes: int, sample_weight: Tensor | None, rows_at_a_time: int
) -> tuple[Array, Array, Tensor]:
    """Return each feature's mean, its sum of squares about it, and Σ s x tᵀ, in float64.

    The last stays on the device. As `objective._statistics`, of which this is the twin.
    """
    torch: Any = sys.modules["torch"]
    wide = {"dtype": torch.float64, "device": target.device}
    width = features.shape[1]
    product, seen = torch.zeros((width, classes), **wide), torch.zeros((), **wide)
    mean, squares = torch.zeros(width, **wide), torch.zeros(width, **wide)
    for rows, block in features.tensor_blocks(rows_at_a_time, np.dtype(np.float64)):
        if not bool(torch.isfinite(block).all()):
            checks.finite_rows(on_host(block), "X", rows.start)
        share = torch.ones(len(block), **wide) if sample_weight is None else sample_weight[rows]
        aim = target[rows]
        if aim.ndim == 1:
            aim = torch.nn.functional.one_hot(aim, classes).double()
        product += block.T @ (aim * share[:, None])
        weight = share.sum()
        if float(weight) == 0:
            continue
        own = share @ block / weight
        # Chan's update: the squares are about each block's own mean, so nothing cancels.
        squares += share @ (block - own) ** 2 + (own - mean) ** 2 * (
            seen * weight / (seen + weight)
        )
        mean += (own - mean) * (weight / (seen + weight))
        seen += weight
    found = on_host(mean), on_host(squares)
    checks.finite_squares(found[1], "X")
    return *found, product


def _losses_and_residual(torch: Any, scores: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return each row's loss and its probabilities less its target, over the scores."""
    if target.ndim == 2:
        log_probability = torch.log_softmax(scores, dim=1)
        target = target.to(scores.dtype)
        losses = -(target * log_probability).sum(dim=1)
        return losses, log_probability.exp_().sub_(target)
    if gpu_launch.serves(scores.device):
        from bridle.kernels.triton import index_loss as gpu_index

        loss = gpu_index.IndexLoss(target, None, None, ignore_index=-1)
        return gpu_index.losses(scores, loss, out=scores)[0], scores
    log_probability = torch.log_softmax(scores, dim=1)
    losses = -log_probability.gather(1, target[:, None])[:, 0]
    # Beside a probability near 1, p − 1 would be little more than rounding.
    return losses, log_probability.exp_().scatter_(
        1, target[:, None], torch.expm1(-losses)[:, None]
    )


@contextmanager
def _products_in(torch: Any, precision: Precision, device: Any) -> Iterator[None]:
    """Let float32 products round their factors, or not; the user's setting comes back.

    It is one for the process: products of other threads are meanwhile made the same way.
    """
    if device.type != "cuda":
        yield
        return
    settings = torch.backends.cuda.matmul
    # From PyTorch 2.9 on, which refuses to mix the two ways of saying it.
    named = hasattr(settings, "fp32_precision")
    name = "fp32_precision" if named else "allow_tf32"
    values = ("ieee", "tf32") if named else (False, True)
    before = getattr(settings, name)
    setattr(settings, name, values[precision.rounds_factors])
    try:
        yield
    finally:
        setattr(settings, name, before)
