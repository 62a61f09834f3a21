"""Scores become probabilities: softmax and its logarithms, of tensors."""

from __future__ import annotations

from math import prod
from typing import Any

import torch
from torch import Tensor

from bridle import checks
from bridle.torch import arguments
from bridle.torch.parts import Options, accumulator_dtype
from bridle.torch.rows import row_parts

Axis = int | tuple[int, ...] | None


def softmax(
    scores: Tensor,
    *,
    temperature: float = 1.0,
    axis: Axis = -1,
    dim: Axis = None,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Turn scores into probabilities; see `bridle.softmax`.

    Examples
    --------
    >>> softmax(torch.tensor([1.0, 2.0, 3.0])).numpy().round(3)
    array([0.09 , 0.245, 0.665], dtype=float32)
    """
    values = _in_dtype(arguments.floating(scores, "scores"), dtype)
    axes = _axes(values, checks.one_axis(axis, dim))
    rows = _classes_last(_tempered(values, temperature, axes), axes)
    return _classes_back(torch.softmax(rows, dim=-1), values, axes).to(values.dtype)


def log_softmax(
    scores: Tensor,
    *,
    temperature: float = 1.0,
    axis: Axis = -1,
    dim: Axis = None,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Return the logarithm of `softmax`, in nats; see `bridle.log_softmax`.

    Examples
    --------
    >>> log_softmax(torch.tensor([0.0, 1000.0]))
    tensor([-1000.,     0.])
    """
    values = _in_dtype(arguments.floating(scores, "scores"), dtype)
    axes = _axes(values, checks.one_axis(axis, dim))
    log_sum = _log_sum(values, axes, Options(temperature=_temperature(temperature)))
    if log_sum is None:  # PyTorch's own, of which every derivative is known to be as empty
        return _classes_back(torch.log_softmax(_classes_last(values, axes), -1), values, axes)
    wide = values.to(accumulator_dtype(values.dtype))
    shifted = (wide - _maximum(wide, axes)) / temperature
    return (shifted - log_sum).to(values.dtype)


def logsumexp(
    scores: Tensor,
    *,
    axis: Axis = -1,
    dim: Axis = None,
    keepdims: bool = False,
    b: Tensor | None = None,
    return_sign: bool = False,
) -> Any:
    """Return ``log Σ_c b_c exp(z_c)`` without overflow; see `bridle.logsumexp`.

    Examples
    --------
    >>> logsumexp(torch.tensor([1000.0, 1000.0]))
    tensor(1000.6932)
    """
    axis = checks.one_axis(axis, dim)
    values = arguments.floating(scores, "scores")
    if b is not None or return_sign:
        return _signed_logsumexp(values, axis, keepdims, b, return_sign)
    axes = _axes(values, axis)
    log_sum = _log_sum(values, axes, Options())
    if log_sum is None:
        return torch.logsumexp(values, axes, keepdim=keepdims)
    maximum = _maximum(values, axes).to(log_sum.dtype)
    result = torch.where(maximum.isinf(), maximum, maximum + log_sum).to(values.dtype)
    return result if keepdims or not axes else result.squeeze(axes)


def _signed_logsumexp(
    values: Tensor, axis: Axis, keepdims: bool, b: Tensor | None, return_sign: bool
) -> Any:
    """Return ``log |Σ b exp(z)|`` and, if asked, the sum's sign; of a negative one else NaN."""
    dtype = values.dtype
    factors = torch.ones_like(values)
    if b is not None:
        factors = arguments.floating(arguments.on_device_of(b, values), "b")
        shape = checks.broadcastable(tuple(values.shape), tuple(factors.shape), ("scores", "b"))
        dtype = torch.promote_types(dtype, factors.dtype)
        values, factors = values.expand(shape), factors.expand(shape)
    axes = _axes(values, axis)
    z = values.to(accumulator_dtype(dtype)).masked_fill(factors == 0, -torch.inf)
    factors = factors.to(z.dtype)
    maximum = z.new_zeros(()) if z.numel() == 0 else _maximum(z, axes)
    shift = maximum.masked_fill(maximum.isinf(), 0)
    # What is at the maximum stays out of the sum of the others, in which it would drown them.
    top = z == maximum
    terms = factors * torch.exp(z - shift)
    own, rest = (_sum(terms.masked_fill(gone, 0), axes) for gone in (~top, top))
    alone = own == 0
    ratio = rest / own.masked_fill(alone, 1)
    size = torch.log1p(torch.where(ratio < -1, -2 - ratio, ratio))
    size = size + torch.log(own.abs().masked_fill(alone, 1))
    # Factors that cancel at the maximum leave the others; a sum beyond all numbers is itself.
    without = torch.log(torch.where(alone, rest, 1).abs())
    found = torch.where(alone, without, size)
    whole = own + rest
    found = torch.where(whole.isinf(), whole.detach().abs(), found) + shift
    sign = torch.sign(whole.detach())
    if not return_sign:
        found = found.masked_fill(sign < 0, torch.nan)
    pair = [each.to(dtype) for each in (found, sign)]
    if not keepdims and axes:
        pair = [each.squeeze(axes) for each in pair]
    return tuple(pair) if return_sign else pair[0]


def _sum(values: Tensor, axes: tuple[int, ...]) -> Tensor:
    return values.sum(dim=axes, keepdim=True) if axes else values


def _in_dtype(values: Tensor, dtype: torch.dtype | None) -> Tensor:
    if dtype is None:
        return values
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise checks.InputError.of("dtype", expected="a float dtype of PyTorch", found=dtype)
    return values.to(dtype)


def sigmoid(scores: Tensor) -> Tensor:
    """Return ``1 / (1 + exp(−z))`` of each score; see `bridle.sigmoid`.

    Examples
    --------
    >>> sigmoid(torch.tensor([-1000.0, 0.0]))
    tensor([0.0000, 0.5000])
    """
    values = arguments.floating(scores, "scores")
    return torch.sigmoid(values.to(accumulator_dtype(values.dtype))).to(values.dtype)


def log_sigmoid(scores: Tensor) -> Tensor:
    """Return ``log sigmoid(z)`` in nats, right in both tails; see `bridle.log_sigmoid`.

    Examples
    --------
    >>> log_sigmoid(torch.tensor([-1000.0, 0.0]))
    tensor([-1.0000e+03, -6.9315e-01])
    """
    values = arguments.floating(scores, "scores")
    wide = values.to(accumulator_dtype(values.dtype))
    return torch.nn.functional.logsigmoid(wide).to(values.dtype)


def predicted_class(scores: Tensor, *, axis: int = -1, dim: int | None = None) -> Tensor:
    """Return the lowest index of the largest score; see `bridle.predicted_class`.

    Examples
    --------
    >>> predicted_class(torch.tensor([[0.1, 0.7, 0.2], [0.5, 0.5, 0.0]]))
    tensor([1, 0])
    """
    axis = checks.one_axis(axis, dim)
    values = arguments.floating(scores, "scores")
    if not -values.dim() <= axis < values.dim() or values.shape[axis] == 0:
        checks.class_axis(arguments.like(values), axis, "scores")
    return values.argmax(dim=axis)


def _log_sum(values: Tensor, axes: tuple[int, ...], options: Options) -> Tensor | None:
    """Return each row's log-sum-exp above its maximum in keepdims shape; None if empty."""
    if values.numel() == 0:
        return None
    moved = _classes_last(values, axes)
    rows = moved.reshape(prod(moved.shape[:-1]), moved.shape[-1])
    rows = rows if rows.stride(1) == 1 else rows.contiguous()
    first = torch.zeros(rows.shape[0], dtype=torch.int64, device=rows.device)
    log_sum = row_parts(rows, first, None, options).log_sum
    kept = [1 if axis in axes else size for axis, size in enumerate(values.shape)]
    return log_sum.view(kept)


def _maximum(values: Tensor, axes: tuple[int, ...]) -> Tensor:
    return values.detach().amax(dim=axes, keepdim=True) if axes else values.detach()


def _tempered(values: Tensor, temperature: float, axes: tuple[int, ...]) -> Tensor:
    if _temperature(temperature) == 1.0 or values.numel() == 0:
        return values
    # Divided after the shift: before it, a small temperature would overflow large scores.
    wide = values.to(accumulator_dtype(values.dtype))
    return (wide - _maximum(wide, axes)) / temperature


def _temperature(temperature: float) -> float:
    return checks.positive(temperature, "temperature")


def _axes(values: Tensor, axis: Axis) -> tuple[int, ...]:
    """Return the axes of the classes, none for a scalar, as numbers of 0 and above."""
    if values.dim() == 0:
        return ()
    if axis is None:
        return tuple(range(values.dim()))
    given = (axis,) if isinstance(axis, int) else axis
    if any(not -values.dim() <= each < values.dim() for each in given):
        found = f"shape {tuple(values.shape)}"
        raise checks.InputError.of("scores", expected=f"an axis {axis}", found=found)
    return tuple(sorted({each % values.dim() for each in given}))


def _classes_last(values: Tensor, axes: tuple[int, ...]) -> Tensor:
    if not axes:
        return values[None]
    if axes == (values.dim() - 1,):
        return values
    return values.movedim(axes, tuple(range(-len(axes), 0))).flatten(-len(axes))


def _classes_back(result: Tensor, values: Tensor, axes: tuple[int, ...]) -> Tensor:
    if not axes:
        return result[0]
    sizes = [values.shape[axis] for axis in axes]
    unflat = result.view(*result.shape[:-1], *sizes)
    return unflat.movedim(tuple(range(-len(axes), 0)), axes)
