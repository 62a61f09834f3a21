"""The last step of every loss: rows become a sum, a mean, or stay as they are."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bridle import checks
from bridle.torch.parts import widest_dtype

# PyTorch sums fewer numbers than this in one thread: their order never depends on how many it has.
_SERIAL_NUMBERS = 2**14
_CHUNK = 2**9


def ordered_sum(values: Tensor) -> Tensor:
    """Return the sum in float64, in an order that does not depend on the number of threads."""
    if not torch.compiler.is_compiling():
        return _sum_in_chunks(values)
    if torch._C._are_functorch_transforms_active():
        # A compiler traces no derivative of an operator inside `torch.func`.
        return values.sum(dtype=widest_dtype(values))
    found: Tensor = sum_operator(values)
    return found


def _sum_in_chunks(values: Tensor) -> Tensor:
    rest, dtype = values.flatten(), widest_dtype(values)
    while rest.numel() > _SERIAL_NUMBERS:
        whole = rest.numel() // _CHUNK * _CHUNK
        sums = rest[:whole].view(-1, _CHUNK).sum(dim=1, dtype=dtype)
        rest = torch.cat([sums, rest[whole:].to(dtype)])
    return rest.sum(dtype=dtype)


@torch.library.custom_op("bridle::ordered_sum", mutates_args=())
def sum_operator(values: torch.Tensor) -> torch.Tensor:
    """`_sum_in_chunks` as an operator: how many chunks there are is no matter of the compiler's."""
    return _sum_in_chunks(values)


@sum_operator.register_fake
def _(values: Tensor) -> Tensor:
    return values.new_empty((), dtype=widest_dtype(values))


def _sum_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG001
    (values,) = inputs
    ctx.shape, ctx.dtype = values.shape, values.dtype


def _sum_backward(ctx: Any, cotangent: Tensor) -> Tensor:
    return cotangent.to(ctx.dtype).expand(ctx.shape)


sum_operator.register_autograd(_sum_backward, setup_context=_sum_context)


def reduce_losses(
    losses: Tensor,
    normalizer: Tensor | float,
    *,
    reduction: checks.Reduction,
    on_empty: checks.OnEmpty = "nan",
) -> Tensor:
    """Return the reduced loss; a mean over nothing is what ``on_empty`` says, with gradient 0."""
    if reduction == "none":
        return losses
    total = ordered_sum(losses)
    if reduction == "sum":
        return total.to(losses.dtype)
    if not isinstance(normalizer, Tensor):  # a number, or a compiler's symbol of one
        if normalizer != 0:
            return (total / normalizer).to(losses.dtype)
        normalizer = total.new_tensor(normalizer)
    normalizer = normalizer.to(total.device)
    if on_empty == "raise" and bool(normalizer == 0):
        raise checks.InputError(
            "target: the mean is over no sample: none is counted",
            argument="target",
            expected="a sample that counts",
            found="none",
        )
    empty = normalizer == 0
    mean = total / torch.where(empty, 1, normalizer)
    answer = 0.0 if on_empty == "zero" else torch.nan
    return torch.where(empty, answer, mean).to(losses.dtype)
