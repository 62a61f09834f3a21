"""Loss and gradient in one pass, where nothing that the gradient depends on is still to come.

A mean's gradient is known with its loss, up to the factor that backward brings (mostly 1). With
``inplace`` there is memory to put it in at once, while the row is still in cache and its
exponentials are at hand: each number is read once, exponentiated once and written once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from bridle import checks
from bridle.torch import kernels
from bridle.torch.class_rows import ClassRows
from bridle.torch.parts import Options, Parts


def can_fuse(rows: ClassRows, options: Options, divisor: Tensor | float) -> bool:
    """Tell whether the gradient of a sum of losses is known before backward, and a kernel fits."""
    if torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active():
        return False
    constants = (rows.sample_weight, divisor)
    return (
        not rows.soft
        and not options.entropy
        and torch.is_grad_enabled()
        and rows.scores.requires_grad
        # Loss scaling for float16 comes with backward's factor, too late for what rounds to 0.
        and rows.scores.dtype != torch.float16
        and kernels.can_fuse(rows.scores)
        and not any(isinstance(each, Tensor) and each.requires_grad for each in constants)
    )


def fused_loss(
    rows: ClassRows,
    options: Options,
    label_smoothing: float,
    divisor: Tensor | float,
    loss_of: Callable[[Parts], Tensor],
) -> Tensor:
    """Return ``loss_of`` the rows' parts, and write its gradient over the scores.

    ``loss_of`` makes a sum over the rows, divided by ``divisor``.
    """
    loss: Tensor = _Fused.apply(  # type: ignore[no-untyped-call]
        rows.scores, rows, options, label_smoothing, divisor, loss_of
    )
    return loss


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        scores: Tensor,
        rows: ClassRows,
        options: Options,
        label_smoothing: float,
        divisor: Tensor | float,
        loss_of: Callable[[Parts], Tensor],
    ) -> Tensor:
        share = _shares(rows, divisor)
        at_target = share * (1 - label_smoothing)
        if rows.weight is not None:
            at_target = at_target * rows.weight[rows.target.clamp(min=0)]
        spread = share * label_smoothing if label_smoothing else None
        out = scores.detach()
        parts = kernels.row_parts_and_gradient(
            out, rows.target, rows.weight, at_target, spread, options
        )
        # Who kept these scores for a backward of their own is told, instead of reading a gradient.
        torch.autograd.graph.increment_version(scores)
        ctx.gradient = out
        return loss_of(parts)

    @staticmethod
    def backward(ctx: Any, *cotangents: Any) -> Any:
        if torch.is_grad_enabled():
            raise checks.InputError("inplace: expected one backward pass, not a derivative of it")
        gradient, ctx.gradient = ctx.gradient, None
        if gradient is None:
            raise checks.InputError("inplace: expected one backward pass, found a second")
        (factor,) = cotangents
        if factor.device.type != "cpu" or factor != 1:  # a GPU's answer would have to be waited for
            gradient *= factor
        return gradient, None, None, None, None, None


def _shares(rows: ClassRows, divisor: Tensor | float) -> Tensor:
    """Return what each row's loss counts in the result; NaN where the target is unknown."""
    dtype = rows.scores.dtype if rows.scores.dtype == torch.float64 else torch.float32
    total = torch.as_tensor(divisor, dtype=torch.float64, device=rows.scores.device)
    share = torch.where(total == 0, 0, 1 / total).to(dtype).expand(len(rows.scores))
    if rows.sample_weight is not None:
        share = share * rows.sample_weight
    if rows.unknown is not None:
        share = share.masked_fill(rows.unknown, torch.nan)
    return share if rows.counted is None else torch.where(rows.counted, share, 0)
