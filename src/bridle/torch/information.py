"""Entropy and divergence of tensors of probabilities."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from bridle import checks
from bridle.torch import arguments
from bridle.torch.parts import accumulator_dtype


def entropy(probabilities: Tensor, *, axis: int = -1, unit: checks.Unit = "nats") -> Tensor:
    """Return ``H(p) = −Σ_c p_c log p_c``; see `bridle.entropy`. Values are checked on the CPU.

    Examples
    --------
    >>> entropy(torch.tensor([[0.5, 0.5], [1.0, 0.0]]), unit="bits")
    tensor([1., 0.])
    """
    checks.unit(unit)
    values = _distribution(probabilities, "probabilities", axis)
    wide = values.to(accumulator_dtype(values.dtype))
    # An entry that rounding left just above 1 is certain too.
    surprise = torch.special.entr(wide).clamp(min=0)
    return _in_unit(surprise.sum(dim=axis), unit).to(values.dtype)


def kl_divergence(p: Tensor, q: Tensor, *, axis: int = -1, unit: checks.Unit = "nats") -> Tensor:
    """Return ``KL(p ‖ q) = Σ_c p_c log(p_c / q_c)``; see `bridle.kl_divergence`.

    Where p is a softmax, or otherwise kept on the simplex, its gradient is that of the formula;
    off the simplex the sum is continued as ``Σ (p log(p/q) − p + q)``, which is never negative.
    Values are checked on the CPU.

    Examples
    --------
    >>> kl_divergence(torch.tensor([0.5, 0.5]), torch.tensor([0.25, 0.75]))
    tensor(0.1438)
    """
    checks.unit(unit)
    first, second = _distribution(p, "p", axis), _distribution(arguments.beside(q, p), "q", axis)
    first, second = first.movedim(axis, -1), second.movedim(axis, -1)
    if first.shape != second.shape:
        checks.same_classes(arguments.like(first), arguments.like(second))
    dtype = torch.promote_types(first.dtype, second.dtype)
    wide = accumulator_dtype(dtype)
    shape = np.broadcast_shapes(tuple(first.shape), tuple(second.shape))
    first, second = first.to(wide).expand(shape), second.to(wide).expand(shape)
    # Where p is 0 the term is q: no logarithm of 0 is taken, nor differentiated.
    held = first > 0
    ratio = torch.log(first.masked_fill(~held, 1)) - torch.log(second.masked_fill(~held, 1))
    terms = torch.where(held, first * ratio - first + second, second)
    return _in_unit(terms.clamp(min=0).sum(dim=-1), unit).to(dtype)


def _distribution(values: Tensor, name: str, axis: int) -> Tensor:
    tensor = arguments.floating(values, name)
    if not -tensor.dim() <= axis < tensor.dim() or tensor.shape[axis] == 0:
        checks.class_axis(arguments.like(tensor), axis, name)
    if arguments.may_look(None, tensor):
        arguments.distributions(tensor, name, axis)
    return tensor


def _in_unit(nats: Tensor, unit: checks.Unit) -> Tensor:
    return nats / math.log(2) if unit == "bits" else nats
