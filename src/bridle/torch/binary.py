"""Cross-entropy of independent sigmoid outputs, and the quadratic cost, of tensors."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bridle import checks
from bridle.torch import arguments
from bridle.torch.parts import accumulator_dtype
from bridle.torch.reduction import reduce_losses


def binary_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    reduction: checks.Reduction = "mean",
    pos_weight: Tensor | None = None,
    check: bool | None = None,
) -> Tensor:
    """Return ``−[p · t · log σ(z) + (1 − t) · log σ(−z)]``; see `bridle.binary_cross_entropy`.

    Values are checked by default on the CPU only.

    Examples
    --------
    >>> binary_cross_entropy(torch.tensor([2.0, -1.0]), torch.tensor([1.0, 0.0]))
    tensor(0.2201)
    """
    checks.reduction(reduction)
    scores = arguments.floating(input, "input")
    answers = arguments.floating(arguments.on_device_of(target, scores), "target")
    if scores.shape != answers.shape:
        names = ("input", "target")
        checks.same_shape(arguments.like(scores), arguments.like(answers), names)
    check_values = arguments.should_check(check, scores)
    if check_values:
        arguments.unit_interval(answers, "target")
    dtype = accumulator_dtype(scores.dtype)
    z, positive = scores.to(dtype), answers.to(dtype)
    negative = 1 - positive
    if pos_weight is not None:
        positive = positive * _broadcast(pos_weight, "pos_weight", scores, check_values)
    if weight is not None:
        shared = _broadcast(weight, "weight", scores, check_values)
        positive, negative = positive * shared, negative * shared
    losses = _surprise(positive, z) + _surprise(negative, -z)
    return reduce_losses(losses, losses.numel(), reduction=reduction)


def _surprise(mass: Tensor, z: Tensor) -> Tensor:
    """Return ``−mass · log σ(z)``, with 0 · inf = 0."""
    surprise = 0 - torch.nn.functional.logsigmoid(z)
    return mass * surprise.masked_fill((mass == 0) & surprise.isinf(), 0)


def _broadcast(values: Any, name: str, scores: Tensor, check_values: bool) -> Tensor:
    tensor = arguments.on_device_of(values, scores, name)
    dtype = accumulator_dtype(scores.dtype)
    kept = arguments.weights(tensor, name, tuple(tensor.shape), dtype, scores, check_values)
    try:
        return kept.expand(scores.shape)
    except RuntimeError:
        expected, found = f"a shape that broadcasts to {tuple(scores.shape)}", tuple(tensor.shape)
        raise checks.InputError.of(name, expected=expected, found=found) from None
