"""The one operation under autograd: scores in rows → their parts.

Losses, smoothing, weights and reductions are composed outside from the parts, by ordinary
operations on one number a row. Forward keeps the scores themselves and a few numbers a row;
backward computes the probabilities again. Eager PyTorch and ``torch.func`` go through an
`autograd.Function`; ``torch.compile`` sees the custom operators, which call the same kernels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import forward_ad

from bridle import checks
from bridle.torch import kernels
from bridle.torch.derivatives import (
    Derivatives,
    coefficients,
    differentiable_gradient,
    differentiable_parts,
    tangents,
    target_gradient,
)
from bridle.torch.kinds import is_batched
from bridle.torch.parts import Coefficients, Options, Parts, empty_parts, is_distribution

_NO_GRADIENT = (None,) * len(Options._fields)


def row_parts(
    scores: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    options: Options = Options(),  # noqa: B008 - an immutable tuple
    *,
    inplace: bool = False,
) -> Parts:
    """Return the parts of each row, differentiable in the scores and in distributions as target.

    With ``inplace`` the gradient is written over the scores; a compiler plans its memory itself.
    """
    if torch.compiler.is_compiling():
        if torch._C._are_functorch_transforms_active():
            # A compiler traces no derivative of an operator, nor a Function's, inside `torch.func`.
            return differentiable_parts(scores, target, weight, options)
        return Parts(*parts_operator(scores, target, weight, *options))
    if is_plain_call() and not (torch.is_grad_enabled() and _wants_gradient(scores, target)):
        return kernels.row_parts(scores.detach(), target.detach(), weight, options)
    function: Any = _RowPartsInPlace if inplace else _RowParts
    return Parts(*function.apply(scores, target, weight, *options))


def is_plain_call() -> bool:
    """Tell whether no compiler, vmap or forward derivative sees this call: backward at most."""
    return not (
        torch.compiler.is_compiling()
        or torch._C._are_functorch_transforms_active()
        or forward_ad._current_level >= 0
    )


def _wants_gradient(scores: Tensor, target: Tensor) -> bool:
    return scores.requires_grad or target.requires_grad


class _RowParts(torch.autograd.Function):
    @staticmethod
    def forward(
        scores: Tensor, target: Tensor, weight: Tensor | None, *options: Any
    ) -> tuple[Tensor, ...]:
        return _outputs(scores, target, weight, Options(*options))

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        _remember(ctx, inputs, output)
        parts = Parts(*output)
        ctx.mark_non_differentiable(*constant_parts(parts, inputs[1], ctx.options))
        ctx.set_materialize_grads(False)
        ctx.save_for_forward(*inputs[:3])

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor | None) -> Any:
        return _backward(ctx, cotangents, _fresh_gradient)

    @staticmethod
    def jvp(ctx: Any, *directions: Any) -> Any:
        scores, target, weight = ctx.saved_tensors[:3]
        # PyTorch turns forward mode off here, which would make a second derivative silently 0. On
        # again, it must not see the directions that are dealt with here.
        with forward_ad._set_fwd_grad_enabled(True):
            primal: Callable[[Tensor], Any] = forward_ad.unpack_dual
            scores, target = primal(scores)[0], primal(target)[0]
            return tangents(scores, target, weight, directions[0], directions[1], ctx.options)

    @staticmethod
    def vmap(info: Any, in_dims: Any, *arguments: Any) -> Any:
        return _map_over_batch(_RowParts.apply, info.batch_size, in_dims, arguments)


def _outputs(
    scores: Tensor, target: Tensor, weight: Tensor | None, options: Options
) -> tuple[Tensor, ...]:
    """Return the parts, each a tensor of its own, as autograd wants them."""
    found = kernels.row_parts(scores, target, weight, options)
    memory = empty_parts(scores, target, options)
    return tuple(part if part.shape[0] else none for part, none in zip(found, memory, strict=True))


class _RowPartsInPlace(_RowParts):
    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor | None) -> Any:
        if torch.is_grad_enabled():
            raise checks.InputError(
                "inplace: expected one backward pass, not a derivative of it",
                argument="inplace",
                expected="one backward pass",
                found="a derivative of it",
            )
        return _backward(ctx, cotangents, _gradient_in_place)


class _Kept(NamedTuple):
    """What forward keeps for backward: the scores as they lie, and numbers of the rows."""

    scores: Tensor
    target: Tensor
    weight: Tensor | None
    maximum: Tensor
    log_sum: Tensor
    gap: Tensor
    mean_gap: Tensor


def _remember(ctx: Any, inputs: Any, output: Any) -> None:
    scores, target, weight, *options = inputs
    parts = Parts(*output)
    ctx.options = Options(*options)
    kept = _Kept(scores, target, weight, parts.maximum, parts.log_sum, parts.gap, parts.mean_gap)
    ctx.save_for_backward(*kept)


def constant_parts(parts: Parts, target: Tensor, options: Options) -> list[Tensor]:
    """Return the parts without a derivative: those not asked for are of them."""
    constants = [parts.maximum, parts.smooth_weight, parts.allowed, parts.argmax]
    if not is_distribution(target):
        constants.append(parts.mass)
    if not options.smoothing:
        constants.append(parts.smooth_gap)
    if not options.entropy:
        constants.append(parts.mean_gap)
    return constants


def _backward(
    ctx: Any,
    cotangents: Derivatives,
    kernel: Callable[[_Kept, Coefficients, Options], Tensor],
) -> tuple[Tensor | None, ...]:
    kept, options = _Kept(*ctx.saved_tensors), ctx.options
    to_target = to_scores = None
    if ctx.needs_input_grad[1]:
        to_target = target_gradient(*kept[:3], cotangents, options)
    if ctx.needs_input_grad[0]:
        if torch.is_grad_enabled() or is_batched(*cotangents):
            to_scores = differentiable_gradient(*kept[:3], cotangents, options)
        else:
            asked = coefficients(cotangents, kept.log_sum, kept.mean_gap, options)
            to_scores = kernel(kept, asked, options)
    return to_scores, to_target, None, *_NO_GRADIENT


def _fresh_gradient(kept: _Kept, asked: Coefficients, options: Options) -> Tensor:
    return _gradient(
        kept, asked, options, kernels.new_memory(tuple(kept.scores.shape), kept.scores)
    )


def _gradient_in_place(kept: _Kept, asked: Coefficients, options: Options) -> Tensor:
    out = _gradient(kept, asked, options, kept.scores.detach())
    # Who kept these scores for a backward of their own is told, instead of reading a gradient.
    torch.autograd.graph.increment_version(kept.scores)
    return out


def _gradient_by_operator(kept: _Kept, asked: Coefficients, options: Options) -> Tensor:
    gradient: Tensor = gradient_operator(*kept[:6], *asked, *options)
    return gradient


def _gradient(kept: _Kept, asked: Coefficients, options: Options, out: Tensor) -> Tensor:
    scores, target, weight, maximum, log_sum, gap, _ = kept
    parts = empty_parts(scores, target, options)
    parts = parts._replace(maximum=maximum, log_sum=log_sum, gap=gap)
    return kernels.row_gradient(scores.detach(), parts, target, weight, asked, options, out)


def _map_over_batch(
    function: Callable[..., Any], batch: int, in_dims: tuple[Any, ...], arguments: tuple[Any, ...]
) -> tuple[tuple[Tensor, ...], tuple[int | None, ...]]:
    """Lay the batch's rows below each other; a kernel does not see whose rows they are."""
    scores, target = (
        tensor.expand(batch, *tensor.shape) if dim is None else tensor.movedim(dim, 0)
        for tensor, dim in zip(arguments[:2], in_dims[:2], strict=True)
    )
    rows = scores.shape[1]
    if in_dims[2] is not None:  # class weights of each batch entry's own
        return map_by_loop(function, batch, in_dims, arguments)
    flat = function(scores.flatten(0, 1), target.flatten(0, 1), *arguments[2:])
    found = [part.shape[0] == batch * rows for part in flat]
    parts = tuple(
        part.unflatten(0, (batch, rows)) if full else part
        for part, full in zip(flat, found, strict=True)
    )
    return parts, tuple(0 if full else None for full in found)


def map_by_loop(
    function: Callable[..., Any], batch: int, in_dims: tuple[Any, ...], arguments: tuple[Any, ...]
) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
    """Call a function for each entry of the batch."""
    results = [
        function(
            *(
                each.select(dim, entry) if isinstance(dim, int) else each
                for each, dim in zip(arguments, in_dims, strict=True)
            )
        )
        for entry in range(batch)
    ]
    stacked = tuple(torch.stack(part) for part in zip(*results, strict=True))
    return stacked, (0,) * len(stacked)


# --- the custom operators, for torch.compile ------------------------------------------------------

OPTIONS_SCHEMA = "bool smoothing, bool entropy, bool argmax, float temperature, float softcap"
PARTS_SCHEMA = ", ".join(["Tensor"] * len(Parts._fields))


@torch.library.custom_op(
    "bridle::row_parts",
    mutates_args=(),
    schema=f"(Tensor scores, Tensor target, Tensor? weight, {OPTIONS_SCHEMA}) -> ({PARTS_SCHEMA})",
)
def parts_operator(
    scores: Tensor, target: Tensor, weight: Tensor | None, *options: Any
) -> tuple[Tensor, ...]:
    """`kernels.row_parts` as an operator that a compiler takes as it is."""
    return _outputs(scores, target, weight, Options(*options))


@torch.library.custom_op(
    "bridle::row_gradient",
    mutates_args=(),
    schema="(Tensor scores, Tensor target, Tensor? weight, Tensor maximum, Tensor log_sum, "
    f"Tensor gap, Tensor a, Tensor? b, Tensor? s, Tensor? t, {OPTIONS_SCHEMA}) -> Tensor",
)
def gradient_operator(*arguments: Any) -> Tensor:
    """`kernels.row_gradient` into fresh memory, as an operator."""
    kept = _Kept._make((*arguments[:6], arguments[3]))  # no kernel reads the last
    return _fresh_gradient(kept, Coefficients(*arguments[6:10]), Options(*arguments[10:]))


@parts_operator.register_fake
def _(scores: Tensor, target: Tensor, _weight: Any, *options: Any) -> tuple[Tensor, ...]:
    return tuple(empty_parts(scores, target, Options(*options)))


@gradient_operator.register_fake
def _(scores: Tensor, *_: Any) -> Tensor:
    return torch.empty(scores.shape, dtype=scores.dtype, device=scores.device)


def _operator_backward(ctx: Any, *cotangents: Tensor | None) -> Any:
    return _backward(ctx, cotangents, _gradient_by_operator)


def _operator_context(ctx: Any, inputs: Any, output: Any) -> None:
    _remember(ctx, inputs, output)


parts_operator.register_autograd(_operator_backward, setup_context=_operator_context)
