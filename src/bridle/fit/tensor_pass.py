"""A pass over features that are PyTorch tensors: the products on their device, the sums here."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import numpy.typing as npt

from bridle.rows import Rows

Array = npt.NDArray[Any]


def tensor_sums(
    features: Rows,
    target: Array,
    sample_weight: Array | None,
    weight: Array,
    offset: Array,
    rows_at_a_time: int,
) -> tuple[float, float, Array, Array]:
    """Return what `passes.sums_over` does, in the same order, without leaving the device."""
    torch: Any = sys.modules["torch"]
    total, worst = 0.0, 0.0
    product, residual_sum = np.zeros(weight.shape), np.zeros(weight.shape[1])
    for rows, block in features.tensor_blocks(rows_at_a_time, weight.dtype):
        there = {"device": block.device}
        scores = torch.addmm(
            torch.as_tensor(offset, **there), block, torch.as_tensor(weight, **there)
        )
        aim = torch.as_tensor(target[rows], **there)
        losses, residual = _losses_and_residual(torch, scores, aim)
        if sample_weight is not None:
            share = torch.as_tensor(sample_weight[rows], **there)
            residual *= share[:, None].to(residual.dtype)
            losses = torch.where(share > 0, losses, 0.0)
            total += float(losses.double() @ share)
        else:
            total += float(losses.double().sum())
        worst = max(worst, float(losses.max()))
        product += (block.T @ residual).double().cpu().numpy()
        residual_sum += residual.double().sum(dim=0).cpu().numpy()
    return total, worst, product, residual_sum


def _losses_and_residual(torch: Any, scores: Any, target: Any) -> tuple[Any, Any]:
    """Return each row's loss and its probabilities less its target; in that order."""
    log_probability = torch.log_softmax(scores, dim=1)
    if target.ndim == 2:
        target = target.to(scores.dtype)
        losses = -(target * log_probability).sum(dim=1)
        return losses, log_probability.exp_().sub_(target)
    losses = -log_probability.gather(1, target[:, None])[:, 0]
    # Beside a probability near 1, p − 1 would be little more than rounding.
    return losses, log_probability.exp_().scatter_(
        1, target[:, None], torch.expm1(-losses)[:, None]
    )
