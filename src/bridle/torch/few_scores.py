"""The loss of few scores and plain class indices: a handful of PyTorch's own operations.

At 64 × 10 a step takes some fifty microseconds in PyTorch, and as much again goes to a few Python
calls: there the parts of the rows, their checks and a function under autograd cost several times
the work. Here all is made of operations that PyTorch differentiates itself, in float64, and two
looks at their results tell that nothing else was needed. Whatever is unusual (an ignored or unknown
index, a row that is broken or masked at its target, a loss so small that float64 would round it,
scores that look like probabilities) is left to the general path, which also names what is wrong.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from bridle.kernels import thresholds
from bridle.torch import kernels
from bridle.torch.kinds import is_batched
from bridle.torch.rows import is_plain_call

# A smaller loss is the logarithm of a sum so near 1 that float64 keeps fewer digits than float32.
_SMALLEST_LOSS = 1e-7
_SLACK = 0.01  # of rows whose sum is 1 but for rounding
_INTEGERS = {
    *(torch.int8, torch.int16, torch.int32, torch.int64),
    *(torch.uint8, torch.uint16, torch.uint32, torch.uint64),
    torch.bool,  # of two classes
}


def loss_of_few_scores(
    scores: Any, target: Any, ignore_index: Any, reduction: Any
) -> Tensor | None:
    """Return the sum or mean of float32 scores (N, C) and indices (N,); None: the general path.

    >>> loss = loss_of_few_scores(torch.tensor([[-1.0, 1.0]]), torch.tensor([1]), -100, "mean")
    >>> round(loss.item(), 4)
    0.1269
    """
    # First, so that a compiler sees none of the questions below: they would fix the sizes.
    if not is_plain_call():
        return None
    if not (_is_plain(scores, 2) and _is_plain(target, 1)):
        return None
    if scores.dtype != torch.float32 or target.dtype not in _INTEGERS:
        return None
    # The losses of rows alone take the general path: no bit of one depends on the rows beside.
    if reduction not in ("mean", "sum") or type(ignore_index) is not int:
        return None
    count, classes = scores.shape
    if target.shape[0] != count or not 0 < count * classes <= thresholds.PLAIN_BLOCK_NUMBERS:
        return None
    if target.dtype == torch.bool and classes != 2:
        return None
    if kernels.backend_of(scores) is not kernels.PLAIN:
        return None
    if is_batched(scores) or torch.is_autocast_enabled("cpu"):
        return None
    target = target.long()
    log_probability = torch.log_softmax(scores, 1, dtype=torch.float64)
    nll_loss = torch.nn.functional.nll_loss
    try:
        loss = nll_loss(log_probability, target, ignore_index=ignore_index, reduction=reduction)
        losses = nll_loss(log_probability.detach(), target, ignore_index=-1, reduction="none")
    except (IndexError, RuntimeError):  # an index that is unknown, or ignored
        return None
    lowest, highest = (each.item() for each in losses.aminmax())
    if not _SMALLEST_LOSS < lowest <= highest < math.inf:
        return None
    unlike = not _may_be_of_probabilities(lowest, highest, classes)
    if not (unlike or scores.detach().amin().item() < 0):
        return None
    return loss.to(torch.float32)


def _may_be_of_probabilities(lowest: float, highest: float, classes: int) -> bool:
    """Tell whether probabilities, taken for scores, could have such losses.

    Of p that sum to 1, Σ exp p lies between C exp(1 / C) and C − 1 + e, and a target's p in [0, 1].
    """
    least = math.log(classes) + 1 / classes - 1
    return least - _SLACK <= lowest and highest <= math.log(classes - 1 + math.e) + _SLACK


def _is_plain(tensor: Any, dimensions: int) -> bool:
    return (
        type(tensor) in (Tensor, torch.nn.Parameter)
        and tensor.dim() == dimensions
        and tensor.device.type == "cpu"
    )
