"""The quadratic cost of tensors."""

from __future__ import annotations

from torch import Tensor

from bridle import checks
from bridle.torch import arguments
from bridle.torch.parts import accumulator_dtype
from bridle.torch.reduction import reduce_losses


def quadratic_loss(
    output: Tensor, target: Tensor, *, reduction: checks.Reduction = "mean"
) -> Tensor:
    """Return ``½ Σ_c (a_c − y_c)²`` per sample; see `bridle.quadratic_loss`.

    Examples
    --------
    >>> import torch
    >>> quadratic_loss(torch.tensor([[0.75, 0.25]]), torch.tensor([[1.0, 0.0]]))
    tensor(0.0625)
    """
    checks.reduction(reduction)
    given = arguments.floating(output, "output")
    desired = arguments.floating(arguments.on_device_of(target, given), "target")
    if given.shape != desired.shape:
        names = ("output", "target")
        checks.same_shape(arguments.like(given), arguments.like(desired), names)
    if given.dim() == 0:
        raise checks.InputError.of("output", expected="shape (C,) or (…, C)", found="a scalar")
    dtype = accumulator_dtype(given.dtype)
    error = given.to(dtype) - desired.to(dtype)
    losses = (error * error).sum(dim=-1) / 2
    return reduce_losses(losses, losses.numel(), reduction=reduction)
