"""What the tests of tensors share: arrays as tensors, and plain PyTorch as a second opinion."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Array = npt.NDArray[Any]

DTYPES = [torch.bfloat16, torch.float16, torch.float32, torch.float64]


def tensor_of(array: Array) -> Tensor:
    """Return the same numbers as a tensor; NumPy's bfloat16 is none of PyTorch's."""
    native = np.ascontiguousarray(array.astype(array.dtype.newbyteorder("=")))
    native = native.reshape(array.shape)
    if native.dtype.name == "bfloat16":
        return torch.from_numpy(native.view(np.uint16).copy()).view(torch.bfloat16)
    return torch.from_numpy(native.copy())


def array_of(tensor: Tensor) -> Array:
    """Return the same numbers as an array."""
    plain = tensor.detach()
    if plain.dtype == torch.bfloat16:
        return plain.contiguous().view(torch.uint16).numpy().view(ml_dtypes.bfloat16)
    return plain.numpy()


def gradient_of(loss: Tensor, scores: Tensor, *, retain_graph: bool = True) -> Tensor:
    """Return the gradient of the sum of the losses, zeros if they do not depend on the scores."""
    (gradient,) = torch.autograd.grad(loss.sum(), scores, retain_graph=retain_graph)
    return gradient


def plain_parts(
    scores: Tensor,
    target: Any,
    weight: Tensor | None = None,
    *,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
    softcap: float = 0.0,
    temperature: float = 1.0,
) -> dict[str, Tensor]:
    """Return what the rows (N, C) hold, by the formulas in float64; no class is masked."""
    s = scores.double()
    z = (softcap * torch.tanh(s / softcap) if softcap else s) / temperature
    log_p = z - torch.logsumexp(z, dim=1, keepdim=True)
    classes = z.shape[1]
    if isinstance(target, tuple):
        aim = torch.zeros_like(z).scatter_add(1, target[0], target[1].to(z))
    elif target.is_floating_point():
        aim = target.double()
    else:
        aim = torch.nn.functional.one_hot(target, classes).double()
    w = torch.ones(classes).double() if weight is None else weight.double()
    mass = w * ((1 - label_smoothing) * aim + label_smoothing / classes)
    logsumexp = torch.logsumexp(z, dim=1)
    return {
        "loss": -(mass * log_p).sum(dim=1) + z_loss * logsumexp**2,
        "log_prob": (aim * log_p).sum(dim=1),
        "entropy": -(log_p.exp() * log_p).sum(dim=1),
        "logsumexp": logsumexp,
        "argmax": z.argmax(dim=1),
        "correct": z.argmax(dim=1) == aim.argmax(dim=1),
        "divisor": (w * aim).sum(dim=1) if target_is_index(target) else torch.ones(len(z)).double(),
    }


def target_is_index(target: Any) -> bool:
    """Tell class indices from dense and sparse distributions."""
    return isinstance(target, Tensor) and not target.is_floating_point()
