"""The sum or mean of losses as one step under autograd: most calls ask for nothing else.

What such a gradient is made with is known beforehand, up to the factor that backward brings (mostly
1): one number for all rows, or a few a row. So nothing of the rows' number is made or kept but
their parts. Of few scores the gradient is made at once, from the softmax at hand. With ``inplace``
a kernel may write it while it makes the parts: each number is read once, exponentiated once and
written once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from bridle import checks
from bridle.formula.row_loss import Terms, coefficients, known_coefficients
from bridle.torch import eager, kernels
from bridle.torch.class_rows import ClassRows
from bridle.torch.derivatives import Derivatives, differentiable_gradient
from bridle.torch.kinds import is_batched, is_known_here
from bridle.torch.parts import Coefficients, Options, Parts, accumulator_dtype, some_parts
from bridle.torch.rows import is_plain_call


class FusedSum(NamedTuple):
    """A sum over the rows: of which losses, divided by what, and how it is made of the parts."""

    label_smoothing: float
    divisor: Tensor | float
    loss_of: Callable[[Parts], Tensor]
    inplace: bool


def can_fuse(rows: ClassRows, options: Options, divisor: Tensor | float) -> bool:
    """Tell whether the gradient of a sum of losses is known but for a factor."""
    constants = (rows.sample_weight, divisor)
    return (
        is_plain_call()
        and not rows.is_soft()
        and not options.entropy
        and torch.is_grad_enabled()
        and rows.scores.requires_grad
        and not any(isinstance(each, Tensor) and each.requires_grad for each in constants)
    )


def fused_loss(rows: ClassRows, options: Options, fused_sum: FusedSum) -> Tensor:
    """Return ``fused_sum.loss_of`` the rows' parts; with ``inplace``, overwrite the scores."""
    loss: Tensor = _Fused.apply(  # type: ignore[no-untyped-call]
        rows.scores, rows, options, fused_sum
    )
    return loss


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, scores: Tensor, rows: ClassRows, options: Options, fused_sum: FusedSum
    ) -> Tensor:
        ctx.options, ctx.inplace, ctx.gradient = options, fused_sum.inplace, None
        factors = row_factors(rows, fused_sum.divisor)
        if fused_sum.inplace and _is_known_in_time(scores):
            parts = _parts_and_gradient(rows, factors, options, fused_sum.label_smoothing)
            # An operation that kept these scores for its own backward then raises an error, instead
            # of reading a gradient as scores.
            torch.autograd.graph.increment_version(scores)
            ctx.gradient = scores.detach()
            return fused_sum.loss_of(parts)
        unit_gradient = None
        if kernels.is_small(scores):
            # Few numbers: what takes time is the number of operations, and most are done already.
            parts, p = eager.block_parts(scores, rows.target, rows.weight, options)
            a, s, t = _coefficients(rows, parts, factors, fused_sum.label_smoothing)
            row_coefficients = Coefficients(a, None, s, a if t is None else t)
            unit_gradient = eager.block_gradient(
                scores, rows.target, rows.weight, row_coefficients, options, p
            )
        else:
            parts = kernels.row_parts(scores, rows.target, rows.weight, options)
            a, s, t = _coefficients(rows, parts, factors, fused_sum.label_smoothing)
        ctx.save_for_backward(scores, rows.target, rows.weight, unit_gradient, *parts[:3], a, s, t)
        return fused_sum.loss_of(parts)

    @staticmethod
    def backward(ctx: Any, *cotangents: Any) -> Any:
        (factor,) = cotangents
        if ctx.inplace and torch.is_grad_enabled():
            raise checks.InputError(
                "inplace: expected one backward pass, not a derivative of it",
                argument="inplace",
                expected="one backward pass",
                found="a derivative of it",
            )
        if ctx.gradient is not None:
            gradient, ctx.gradient = ctx.gradient, False
            if gradient is False:
                raise checks.InputError.of(
                    "inplace", expected="one backward pass", found="a second"
                )
            if is_batched(factor):
                gradient = gradient * factor
            # On a GPU the comparison would make the host wait.
            elif not is_known_here(factor) or factor != 1:
                gradient *= factor
        else:
            gradient = _gradient(ctx, factor)
        return gradient, None, None, None


def _gradient(ctx: Any, factor: Tensor) -> Tensor:
    """Return the gradient of what was kept for backward, in the scores' memory if that is asked."""
    scores, target, weight, unit_gradient, maximum, log_sum, gap, *unit = ctx.saved_tensors
    plain = is_plain_call() and not torch.is_grad_enabled() and not is_batched(factor)
    if plain and unit_gradient is not None:
        # A factor of 0 makes all gradients 0, even that of a row with NaN.
        nothing = is_known_here(factor) and factor == 0
        found = torch.zeros_like(unit_gradient) if nothing else unit_gradient * factor
        return _overwritten(scores, found) if ctx.inplace else found.to(scores.dtype)
    a, s, t = (None if each is None else each * factor for each in unit)
    assert a is not None
    row_coefficients = Coefficients(a, None, s, a if t is None else t)
    if not plain:
        part_derivatives = _derivatives(row_coefficients, scores.shape[0])
        return differentiable_gradient(scores, target, weight, part_derivatives, ctx.options)
    out = scores.detach() if ctx.inplace else kernels.new_memory(tuple(scores.shape), scores)
    parts = some_parts({"maximum": maximum, "log_sum": log_sum, "gap": gap})
    kernels.row_gradient(scores.detach(), parts, target, weight, row_coefficients, ctx.options, out)
    if ctx.inplace:
        torch.autograd.graph.increment_version(scores)
    return out


def _overwritten(scores: Tensor, gradient: Tensor) -> Tensor:
    out = scores.detach().copy_(gradient)
    torch.autograd.graph.increment_version(scores)
    return out


def _is_known_in_time(scores: Tensor) -> bool:
    # Loss scaling for float16 comes with backward's factor, too late for what rounds to 0.
    return scores.dtype != torch.float16 and kernels.can_fuse(scores)


def _parts_and_gradient(
    rows: ClassRows, factors: Tensor, options: Options, label_smoothing: float
) -> Parts:
    at_target, spread = known_coefficients(rows.mass_of_targets(), Terms(label_smoothing), factors)
    return kernels.row_parts_and_gradient(
        rows.scores.detach(), rows.target, rows.weight, at_target, spread, options
    )


def row_factors(rows: ClassRows, divisor: Tensor | float) -> Tensor:
    """Return what each row's loss counts in the result, or what all do; NaN of unknown targets."""
    dtype, device = accumulator_dtype(rows.scores.dtype), rows.scores.device
    if isinstance(divisor, Tensor):
        total = divisor.to(device, torch.float64)
        factors = torch.where(total == 0, 0, 1 / total).to(dtype).reshape(1)
    else:
        factors = torch.full((1,), 1 / divisor if divisor else 0.0, dtype=dtype, device=device)
    if rows.sample_weight is not None:
        factors = factors * rows.sample_weight
    if rows.unknown is not None:
        factors = torch.where(rows.unknown, torch.nan, factors)
    return factors if rows.counted is None else torch.where(rows.counted, factors, 0)


def _coefficients(
    rows: ClassRows, parts: Parts, factors: Tensor, label_smoothing: float
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Return a, s and t of the gradient (see `Coefficients`) for a factor of 1; t None is a."""
    terms = Terms(label_smoothing)
    a, _, s, t = coefficients(torch, parts, rows.mass_of_targets(), terms, factors)
    return a, s, None if t is a else t


def _derivatives(row_coefficients: Coefficients, rows: int) -> Derivatives:
    """Return the derivatives in the parts that ask for these coefficients."""
    a, _, s, t = (None if each is None else each.expand(rows) for each in row_coefficients)
    return None, a, t, None, s, None, None, None, None
