"""The loss on a GPU as one step under autograd: a kernel, a sum, and little else.

What most calls ask for, of class indices or distributions, needs none of the general path's
operations on the rows: targets are read, weighed and ignored by the kernels themselves. The
gradient of a sum or mean is made together with the losses where a row fits the cache; backward then
only multiplies it by the factor that it is handed, if that is not 1. Nothing here waits for the
device.

A small step takes the host longer than the device. What is decided of it (whether its options are
good, which kernels serve, in which tiles) depends on its options and on how its tensors lie, and is
remembered.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from bridle import checks
from bridle.kernels import choose
from bridle.kernels.triton.launch import layout_of
from bridle.torch import kernels
from bridle.torch.class_rows import as_rows
from bridle.torch.kinds import is_batched
from bridle.torch.rows import is_plain_call


class LossOptions(NamedTuple):
    """Options of `bridle.torch.cross_entropy`, which have been checked."""

    ignore_index: int
    label_smoothing: float
    z_loss: float
    temperature: float
    softcap: float
    reduction: checks.Reduction
    on_empty: checks.OnEmpty
    inplace: bool


class LossCall(NamedTuple):
    """A call of `bridle.torch.cross_entropy`, as far as it may be served here."""

    target: Any
    weight: Any
    sample_weight: Any
    normalizer: Any
    options: LossOptions


class Decision(NamedTuple):
    """How a call is served: it holds for all calls alike, see `call_key`."""

    module: Any
    options: LossOptions
    launches: dict[Any, Any] | None  # those of calls alike; None: made anew


class Step(NamedTuple):
    """A call that is served here, without its scores.

    ``composed`` is the same function made of operations that can be differentiated twice.
    """

    module: Any
    options: LossOptions
    loss: Any
    divisor: Tensor | None  # one number on the device
    normalizer: float  # both divide the sum
    counts: bool  # the divisor is made with the losses
    launches: dict[Any, Any] | None
    composed: Callable[[Tensor], Tensor]


# --- which calls ----------------------------------------------------------------------------------


def call_key(scores: Any, target: Any, weight: Any, sample_weight: Any, *options: Any) -> Any:
    """Return what decides how a call is served: its options, and how its tensors lie.

    None where more than that decides, and on devices whose kernels read no targets.
    """
    if not is_plain_call() or type(scores) not in _PLAIN or type(target) not in _PLAIN:
        return None
    if not choose.reads_targets(scores.device):
        return None
    weights: Any = None
    if weight is not None or sample_weight is not None:
        if not {type(weight), type(sample_weight)} <= _MAYBE_PLAIN:
            return None
        weights = tuple(
            (layout_of(each), each is not None and each.requires_grad)
            for each in (weight, sample_weight)
        )
    key = layout_of(scores), layout_of(target), target.requires_grad, weights, options
    return key if _KEYED.issuperset(map(type, options)) else None


def known_decision(key: Any) -> Decision | None:
    """Return what was decided of a call alike, while those who serve are the same."""
    found: Decision | None = choose.DECISIONS.get(key)
    return found


def new_decision(key: Any, module: Any, options: LossOptions) -> Decision:
    """Return a decision, which is remembered under its key, if it has one."""
    if key is None:
        return Decision(module, options, None)
    if len(choose.DECISIONS) >= _MOST_DECISIONS:  # sizes that differ from call to call
        choose.DECISIONS.clear()
    found: Decision = choose.DECISIONS.setdefault(key, Decision(module, options, {}))
    return found


_PLAIN = {Tensor, torch.nn.Parameter}
_MAYBE_PLAIN = {*_PLAIN, type(None)}
_KEYED = {int, float, str, type(None)}
_MOST_DECISIONS = 256


def serving_module(scores: Tensor, call: LossCall) -> Any:
    """Return the kernels that do all that a call needs, or None.

    What is refused here takes the general path, which also names what is wrong with it.
    """
    target, weight, share = call.target, call.weight, call.sample_weight
    options = call.options
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
        and (not is_soft or options.ignore_index == -100)  # which distributions have none of
        and (weight is None or _is_constant(weight, scores, (classes,)))
        # The kernels divide all terms by one number, but class weights do not touch z-loss.
        and (weight is None or not options.z_loss)
        and (share is None or _is_constant(share, scores, loss_shape))
        and _is_number(call.normalizer, scores)
        and options.on_empty != "raise"
        and module.serves(math.prod(loss_shape), classes)
    )
    return module if serves else None


# --- the step -------------------------------------------------------------------------------------


def device_loss(
    rows: Tensor, call: LossCall, decision: Decision, composed: Callable[[Tensor], Tensor]
) -> Tensor:
    """Return the reduced loss of rows of scores (N, C), or the losses (N,)."""
    module, options, launches = decision
    loss = loss_of_call(module, call)
    counts = (
        options.reduction == "mean" and call.normalizer is None and module.counts_rows(len(rows))
    )
    divisor: Tensor | None = None
    if counts:
        divisor, normalizer = rows.new_empty(1, dtype=torch.float64), 1.0
    else:
        divisor, normalizer = divisor_of(module, loss, call, rows.shape[1], launches)
    step = Step(module, options, loss, divisor, normalizer, counts, launches, composed)
    if not (torch.is_grad_enabled() and rows.requires_grad):
        losses, _ = module.losses(rows, loss, divisor=divisor, counts=counts, launches=launches)
        return _reduced(losses, step)
    # Past what `torch.func` needs of the call, which this is no part of.
    apply: Any = super(torch.autograd.Function, _DeviceLoss).apply
    result: Tensor = apply(rows, step)
    return result


def loss_of_call(module: Any, call: LossCall) -> Any:
    """Return a call's loss as a module's kernels want it: they read numbers that lie side by side.

    A column of labels does not, nor one number for all rows.
    """
    weight = None if call.weight is None else call.weight.contiguous()
    share = None if call.sample_weight is None else call.sample_weight.reshape(-1).contiguous()
    ignore_index, smoothing, z_loss, temperature, softcap, *_ = call.options
    terms = smoothing, z_loss, temperature, softcap
    if call.target.is_floating_point():
        return module.DistributionLoss(as_rows(call.target), weight, share, *terms)
    target = call.target.reshape(-1).contiguous()
    return module.IndexLoss(target, weight, share, ignore_index, *terms)


def divisor_of(
    module: Any, loss: Any, call: LossCall, classes: int, launches: dict[Any, Any] | None = None
) -> tuple[Tensor | None, float]:
    """Return what the sum of the losses is divided by: both numbers."""
    if call.options.reduction != "mean":
        return None, 1.0
    if call.normalizer is None:
        found = module.divisor(loss, classes, launches)
        return (found, 1.0) if isinstance(found, Tensor) else (None, found)
    if isinstance(call.normalizer, Tensor):
        return call.normalizer.detach(), 1.0
    return None, float(call.normalizer)


class _DeviceLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, scores: Tensor, step: Step) -> Tensor:
        module, loss, inplace = step.module, step.loss, step.options.inplace
        gradient = None
        if step.options.reduction != "none" and module.makes_both(scores):
            gradient = scores.detach() if inplace else scores.new_empty(scores.shape)
        losses, kept = module.losses(
            scores,
            loss,
            divisor=step.divisor,
            normalizer=step.normalizer,
            counts=step.counts,
            out=gradient,
            keep=gradient is None,
            launches=step.launches,
        )
        if inplace and gradient is not None:
            # An operation that kept these scores for its own backward then raises an error, instead
            # of reading a gradient as scores.
            torch.autograd.graph.increment_version(scores)
        else:
            # So that autograd notices if one is overwritten before backward.
            given = (loss.target, loss.weight, loss.sample_weight, step.divisor)
            ctx.save_for_backward(scores, *given, *(kept or ()))
        ctx.step, ctx.gradient = step, gradient
        return _reduced(losses, step)

    @staticmethod
    def backward(ctx: Any, *cotangents: Any) -> Any:
        (factor,) = cotangents
        step: Step = ctx.step
        inplace = step.options.inplace
        if inplace and torch.is_grad_enabled():
            raise checks.InputError(
                "inplace: expected one backward pass, not a derivative of it",
                argument="inplace",
                expected="one backward pass",
                found="a derivative of it",
            )
        gradient, ctx.gradient = ctx.gradient, False
        if isinstance(gradient, Tensor) and not torch.is_grad_enabled():
            if is_batched(factor):
                return (gradient * factor).to(gradient.dtype), None
            # Keeping no reference lets autograd take the tensor over instead of copying it.
            return kernels.multiplied(gradient, factor, step.module, step.launches), None
        if inplace and gradient is False:
            raise checks.InputError.of("inplace", expected="one backward pass", found="a second")
        scores, _, _, _, _, *kept = ctx.saved_tensors
        if torch.is_grad_enabled() or is_batched(factor) or not kept:  # the last: backward again
            return _composed_gradient(scores, step.composed, factor), None
        return _gradient(scores, step, kept, factor), None


def _gradient(scores: Tensor, step: Step, kept: list[Tensor], factor: Tensor) -> Tensor:
    """Return the gradient of scores that are still there."""
    plain = scores.detach()
    if factor.dim() == 1:
        # A sum of losses hands the same number to all of them.
        factor = factor[0] if factor.stride(0) == 0 else factor.contiguous()
    out: Tensor = step.module.write_gradient(
        plain,
        step.module.Kept(*kept),
        step.loss,
        factor,
        divisor=step.divisor,
        normalizer=step.normalizer,
        out=plain if step.options.inplace else plain.new_empty(plain.shape),
        launches=step.launches,
    )
    if step.options.inplace:
        torch.autograd.graph.increment_version(scores)
    return out


def _composed_gradient(
    scores: Tensor, composed: Callable[[Tensor], Tensor], factor: Tensor
) -> Tensor:
    """Return the gradient again, as what can be differentiated where that is asked for."""
    differentiable = torch.is_grad_enabled()
    if not differentiable:
        scores = scores.detach().requires_grad_()
    with torch.enable_grad():
        loss = composed(scores)
    found: Tensor
    (found,) = torch.autograd.grad(loss, scores, factor, create_graph=differentiable)
    return found


def _reduced(losses: Tensor, step: Step) -> Tensor:
    if step.options.reduction == "none":
        return losses
    found: Tensor = step.module.total(
        losses,
        step.divisor,
        step.normalizer,
        empty_is_zero=step.options.on_empty == "zero",
        launches=step.launches,
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
    return normalizer is None or isinstance(normalizer, (int, float))
