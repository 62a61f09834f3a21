"""Tensors that are no plain numbers in memory: stand-ins, batches of gradients, pieces of others.

What only a look at the numbers could tell is not asked of a stand-in, and the kernels, which read
memory, are given neither stand-ins nor batches: plain PyTorch does those.
"""

from __future__ import annotations

import sys
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor

from bridle import checks


def has_values(tensor: Tensor) -> bool:
    """Tell whether there are numbers behind a tensor: not on ``meta``, nor in FakeTensorMode."""
    return not (tensor.is_meta or isinstance(tensor, FakeTensor))


def is_known_here(tensor: Tensor) -> bool:
    """Tell whether the host may look at a number: it is there, and there is one, not a batch."""
    return tensor.device.type == "cpu" and has_values(tensor) and not is_batched(tensor)


def is_batched(*tensors: Tensor | None) -> bool:
    """Tell whether gradients come in batches: ``is_grads_batched``, ``jacobian(vectorize=True)``.

    Those map by PyTorch's older `vmap`, which calls no rule of an `autograd.Function`.
    """
    if torch.compiler.is_compiling():  # a compiler traces no such question
        return False
    is_batch: Any = torch._C._functorch.is_legacy_batchedtensor
    return any(tensor is not None and is_batch(tensor) for tensor in tensors)


def refuse_pieces(values: Any, name: str) -> None:
    """Refuse tensors that hold several, or a part of one: DTensors and nested tensors."""
    if not isinstance(values, Tensor) or torch.compiler.is_compiling():
        return
    if values.is_nested:
        hint = "its values() are the rows of all, laid one after the other"
        raise checks.InputError.of(
            name, expected="a plain tensor", found="a nested one", hint=f"; {hint}"
        )
    distributed = sys.modules.get("torch.distributed.tensor")
    if distributed is not None and isinstance(values, distributed.DTensor):
        hint = "its full_tensor() or to_local() is one"
        raise checks.InputError.of(
            name, expected="a plain tensor", found="a DTensor", hint=f"; {hint}"
        )
