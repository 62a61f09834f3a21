"""The loss on a GPU as one step under autograd: a kernel, a sum, and little else.

What most calls ask for, of class indices or distributions, needs none of the general path's
operations on the rows: targets are read, weighed and ignored by the kernels themselves. The
gradient of a sum or mean is made together with the losses where a row fits the cache; backward then
only multiplies it by the factor that it is handed, if that is not 1. Nothing here waits for the
device.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from bridle import checks
from bridle.torch import kernels
from bridle.torch.class_rows import as_rows
from bridle.torch.kinds import is_batched
from bridle.torch.rows import is_plain_call


class LossReduction(NamedTuple):
    """What becomes of the rows' losses."""

    reduction: checks.Reduction
    divisor: Tensor | None  # one number on the device
    normalizer: float  # both divide the sum
    empty_is_zero: bool
    inplace: bool


class LossCall(NamedTuple):
    """A call of `bridle.torch.cross_entropy`, as far as it may be served here."""

    target: Any
    weight: Any
    sample_weight: Any
    ignore_index: int
    label_smoothing: float
    z_loss: float
    temperature: float
    softcap: float
    reduction: checks.Reduction
    normalizer: Any
    on_empty: checks.OnEmpty
    inplace: bool


def serving_module(scores: Tensor, call: LossCall) -> Any:
    """Return the kernels that do all that a call needs, or None.

    What is refused here takes the general path, which also names what is wrong with it.
    """
    target, weight, share = call.target, call.weight, call.sample_weight
    if not is_plain_call() or scores.dim() == 0 or not isinstance(target, Tensor):
        return None
    is_soft = target.is_floating_point()
    find = kernels.distribution_kernels if is_soft else kernels.index_kernels
    module = find(scores)
    if module is None:
        return None
    shape = tuple(scores.shape)
    loss_shape = () if len(shape) == 1 else (shape[0], *shape[2:])
    classes = shape[0] if len(shape) == 1 else shape[1]
    serves = (
        classes > 0
        and _is_constant(target, scores, shape if is_soft else loss_shape)
        and target.dtype != torch.bool
        and (not is_soft or call.ignore_index == -100)  # which distributions have none of
        and (weight is None or _is_constant(weight, scores, (classes,)))
        # The kernels divide all terms by one number, but class weights do not touch z-loss.
        and (weight is None or not call.z_loss)
        and (share is None or _is_constant(share, scores, loss_shape))
        and _is_number(call.normalizer, scores)
        and call.on_empty != "raise"
        and module.serves(math.prod(loss_shape), classes)
    )
    return module if serves else None


def device_loss(
    rows: Tensor, call: LossCall, module: Any, composed: Callable[[Tensor], Tensor]
) -> Tensor:
    """Return the reduced loss of rows of scores (N, C), or the losses (N,).

    ``composed`` is the same function made of operations that can be differentiated twice.
    """
    weight = None if call.weight is None else call.weight.contiguous()
    # The kernels read numbers that lie side by side: a column of labels does not, nor one number
    # for all rows.
    share = None if call.sample_weight is None else call.sample_weight.reshape(-1).contiguous()
    terms = call.label_smoothing, call.z_loss, call.temperature, call.softcap
    if call.target.is_floating_point():
        loss = module.DistributionLoss(as_rows(call.target), weight, share, *terms)
    else:
        target = call.target.reshape(-1).contiguous()
        loss = module.IndexLoss(target, weight, share, call.ignore_index, *terms)
    divisor, normalizer = None, 1.0
    if call.reduction == "mean":
        if call.normalizer is None:
            found = module.divisor(loss, rows.shape[1])
            divisor, normalizer = (found, 1.0) if isinstance(found, Tensor) else (None, found)
        elif isinstance(call.normalizer, Tensor):
            divisor = call.normalizer.detach()
        else:
            normalizer = float(call.normalizer)
    loss_reduction = LossReduction(
        call.reduction, divisor, normalizer, call.on_empty == "zero", call.inplace
    )
    if not (torch.is_grad_enabled() and rows.requires_grad):
        losses, _ = module.losses(rows.detach(), loss)
        return _reduce(module, losses, loss_reduction)
    result: Tensor = _DeviceLoss.apply(rows, loss, loss_reduction, module, composed)  # type: ignore[no-untyped-call]
    return result


class _DeviceLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        scores: Tensor,
        loss: Any,
        loss_reduction: LossReduction,
        module: Any,
        composed: Callable[[Tensor], Tensor],
    ) -> Tensor:
        ctx.module, ctx.loss_reduction, ctx.composed = module, loss_reduction, composed
        ctx.gradient = None
        plain = scores.detach()
        if loss_reduction.reduction != "none" and module.makes_both(plain):
            ctx.gradient = (
                plain if loss_reduction.inplace else kernels.new_memory(tuple(plain.shape), plain)
            )
        losses, kept = module.losses(
            plain,
            loss,
            divisor=loss_reduction.divisor,
            normalizer=loss_reduction.normalizer,
            out=ctx.gradient,
            keep=ctx.gradient is None,
        )
        if loss_reduction.inplace and ctx.gradient is not None:
            # An operation that kept these scores for its own backward then raises an error, instead
            # of reading a gradient as scores.
            torch.autograd.graph.increment_version(scores)
        else:
            given = (loss.target, loss.weight, loss.sample_weight, loss_reduction.divisor)
            ctx.save_for_backward(scores, *given, *(kept or ()))
        if kept is not None:
            # Tensors that could be overwritten before backward are autograd's, which notices.
            ctx.terms = loss._replace(target=None, weight=None, sample_weight=None)
        return _reduce(module, losses, loss_reduction)

    @staticmethod
    def backward(ctx: Any, *cotangents: Any) -> Any:
        (factor,) = cotangents
        loss_reduction: LossReduction = ctx.loss_reduction
        if loss_reduction.inplace and torch.is_grad_enabled():
            raise checks.InputError(
                "inplace: expected one backward pass, not a derivative of it",
                argument="inplace",
                expected="one backward pass",
                found="a derivative of it",
            )
        gradient, ctx.gradient = ctx.gradient, False
        if isinstance(gradient, Tensor) and not torch.is_grad_enabled():
            if is_batched(factor):
                return (gradient * factor).to(gradient.dtype), None, None, None, None
            # Keeping no reference lets autograd take the tensor over instead of copying it.
            return kernels.multiplied(gradient, factor, ctx.module), None, None, None, None
        if loss_reduction.inplace and gradient is False:
            raise checks.InputError.of("inplace", expected="one backward pass", found="a second")
        scores, target, weight, sample_weight, divisor, *kept = ctx.saved_tensors
        if torch.is_grad_enabled() or is_batched(factor) or not kept:  # the last: backward again
            return *_composed_gradient(scores, ctx.composed, factor), None, None, None, None
        loss = ctx.terms._replace(target=target, weight=weight, sample_weight=sample_weight)
        loss_reduction = loss_reduction._replace(divisor=divisor)
        found = _gradient(ctx.module, scores, loss, kept, loss_reduction, factor)
        return found, None, None, None, None


def _gradient(
    module: Any,
    scores: Tensor,
    loss: Any,
    kept: list[Tensor],
    loss_reduction: LossReduction,
    factor: Tensor,
) -> Tensor:
    """Return the gradient of scores that are still there."""
    plain = scores.detach()
    if factor.dim() == 1:
        # A sum of losses hands the same number to all of them.
        factor = factor[0] if factor.stride(0) == 0 else factor.contiguous()
    out: Tensor = module.write_gradient(
        plain,
        module.Kept(*kept),
        loss,
        factor,
        divisor=loss_reduction.divisor,
        normalizer=loss_reduction.normalizer,
        out=plain if loss_reduction.inplace else kernels.new_memory(tuple(plain.shape), plain),
    )
    if loss_reduction.inplace:
        torch.autograd.graph.increment_version(scores)
    return out


def _composed_gradient(
    scores: Tensor, composed: Callable[[Tensor], Tensor], factor: Tensor
) -> tuple[Tensor, ...]:
    """Return the gradient again, as what can be differentiated where that is asked for."""
    differentiable = torch.is_grad_enabled()
    if not differentiable:
        scores = scores.detach().requires_grad_()
    with torch.enable_grad():
        loss = composed(scores)
    found: tuple[Tensor, ...] = torch.autograd.grad(
        loss, scores, factor, create_graph=differentiable
    )
    return found


def _reduce(module: Any, losses: Tensor, loss_reduction: LossReduction) -> Tensor:
    if loss_reduction.reduction == "none":
        return losses
    found: Tensor = module.total(
        losses,
        loss_reduction.divisor,
        loss_reduction.normalizer,
        empty_is_zero=loss_reduction.empty_is_zero,
    )
    return found


def _is_constant(value: Any, scores: Tensor, shape: tuple[int, ...]) -> bool:
    """Tell whether a tensor is where the scores are, of this shape, and has no gradient."""
    return (
        isinstance(value, Tensor)
        and value.device == scores.device
        and tuple(value.shape) == shape
        and not value.requires_grad
        and not value.is_complex()
    )


def _is_number(normalizer: Any, scores: Tensor) -> bool:
    if isinstance(normalizer, Tensor):
        shape = tuple(normalizer.shape)
        return not shape and _is_constant(normalizer, scores, shape)
    return normalizer is None or isinstance(normalizer, int | float)
