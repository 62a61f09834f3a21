"""The loss of a linear head on a GPU as one step: its kernels read class indices themselves.

What most calls ask for needs none of the general path's operations on the rows, as in
`device_loss`. Few features' scores are never stored; those of others are made block by block, and
turned into their gradient where they are. Nothing here waits for the device.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bridle.kernels import choose
from bridle.torch import kernels
from bridle.torch.device_loss import LossCall, divisor_of, loss_of_call, serving_module
from bridle.torch.linear_rows import (
    Gradients,
    Head,
    HeadAnswer,
    Plan,
    blocks,
    float16_divisor,
    gradient_dtype,
    placeholder,
)


def serving_head(head: Head, call: LossCall, plan: Plan) -> Any:
    """Return the kernels that do all that a head's call needs, or None."""
    if not choose.reads_targets(head.features.device) or plan.threshold:
        return None
    target = call.target
    if not isinstance(target, Tensor) or target.is_floating_point():
        return None
    is_empty = not (head.weight.numel() and head.features.numel())
    if call.options.reduction == "none" or is_empty:
        return None
    return serving_module(placeholder(head), call)


def device_head_answer(
    head: Head, asked: tuple[bool, bool, bool], call: LossCall, module: Any, plan: Plan
) -> HeadAnswer:
    """Return the loss and those of its gradients that are asked for."""
    loss = loss_of_call(module, call)
    divisor, normalizer = divisor_of(module, loss, call, head.weight.shape[0])
    share: Tensor | float | None = None
    of_gradient: tuple[Tensor | None, float] = divisor, normalizer
    if head.features.dtype == torch.float16 and any(asked):
        total = normalizer if divisor is None else divisor.reshape(()) * normalizer
        weights = loss.weight, loss.sample_weight
        unit, share = float16_divisor(weights, loss.temperature, total)
        of_gradient = (unit, 1.0) if isinstance(unit, Tensor) else (None, unit)
    scoreless = kernels.head_kernels(head.features, head.weight)
    if scoreless is not None:
        losses, gradients = _scoreless(scoreless, head, asked, loss, *of_gradient)
    else:
        losses, gradients = _in_blocks(module, head, asked, loss, *of_gradient, plan)
    on_empty = call.options.on_empty
    reduced = module.total(losses, divisor, normalizer, empty_is_zero=on_empty == "zero")
    return HeadAnswer(reduced, gradients, share)


def _scoreless(
    module: Any,
    head: Head,
    asked: tuple[bool, bool, bool],
    loss: Any,
    divisor: Tensor | None,
    normalizer: float,
) -> tuple[Tensor, tuple[Tensor | None, ...]]:
    """Return the loss of each row, and the gradients; no score is stored."""
    features, weight = head.features.contiguous(), head.weight.contiguous()
    bias = None if head.bias is None else head.bias.contiguous()
    given = module.HeadLoss(features, weight, bias, loss)
    losses, known = module.losses(given, divisor, normalizer)
    dtype = gradient_dtype(weight)
    of_features = module.features_gradient(given, known, dtype) if asked[0] else None
    of_weight, of_bias = None, None
    if asked[1] or asked[2]:
        of_weight, of_bias = module.head_gradients(given, known, dtype)
    return losses, (of_features, of_weight, of_bias)


def _in_blocks(
    module: Any,
    head: Head,
    asked: tuple[bool, bool, bool],
    loss: Any,
    divisor: Tensor | None,
    normalizer: float,
    plan: Plan,
) -> tuple[Tensor, tuple[Tensor | None, ...]]:
    """Return the loss of each row, and the gradients, each block's of its residual."""
    gradients = Gradients(head, asked, plan) if any(asked) else None
    pieces, shares = [], loss.sample_weight
    for block in blocks(head, plan):
        losses, _ = module.losses(
            block.scores,
            loss._replace(
                target=loss.target[block.rows],
                sample_weight=None if shares is None else shares[block.rows],
            ),
            divisor=divisor,
            normalizer=normalizer,
            out=None if gradients is None else block.scores,
        )
        if gradients is not None:
            gradients.add(block, losses)
        pieces.append(losses)
    return torch.cat(pieces), (None, None, None) if gradients is None else gradients.kept()
