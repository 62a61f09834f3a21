"""Which kernel does the rows: plain PyTorch, numba's for CPU tensors, Triton's for CUDA tensors.

Several indices a row (sparse distributions) are known here alone: the kernels see the first of
them, the others are gathered and scattered beside.
"""

from __future__ import annotations

from importlib import import_module
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bridle.kernels.triton import launch as gpu_launch
from bridle.torch import eager
from bridle.torch.kinds import has_values
from bridle.torch.parts import (
    Coefficients,
    Options,
    Parts,
    accumulator_dtype,
    is_distribution,
    some_parts,
)

# Below this many scores PyTorch's own operations take a millisecond or two, and the first call of a
# process need not load compiled code, nor the first call on a machine compile it for seconds.
COMPILED_NUMBERS = 2**17
# A longer row would be summed by PyTorch in an order that depends on the number of threads.
_SERIAL_COLUMNS = 2**15


def row_parts(scores: Tensor, target: Tensor, weight: Tensor | None, options: Options) -> Parts:
    """Return the parts of each row of scores; see `Parts`."""
    module = _compiled(scores)
    if module is None:
        return eager.row_parts(scores, target, weight, options)
    several = _has_several_indices(target)
    first = target[:, 0].contiguous() if several else target
    found = module.row_parts(
        _foreign(module, scores),
        _target(module, first),
        weight=_foreign(module, weight),
        **options._asdict(),
        **_further(module, scores),
    )
    parts = _ours(found, scores, first)
    if several:
        parts = parts._replace(gap=_gaps_at(scores, target, parts.maximum, options))
    return parts


def row_gradient(
    scores: Tensor,
    parts: Parts,
    target: Tensor,
    weight: Tensor | None,
    coefficients: Coefficients,
    options: Options,
    out: Tensor,
) -> Tensor:
    """Write the gradient of each row to ``out``, which may be the scores; see `Coefficients`.

    Of the parts, ``maximum``, ``log_sum`` and ``gap`` are read.
    """
    module = _compiled(scores)
    if module is None:
        return eager.row_gradient(scores, target, weight, coefficients, options, out)
    a, b, s, t = coefficients
    if _has_several_indices(target):
        beside = None if t is None else _slopes_at(scores, target, options) * t
        first = parts._replace(gap=parts.gap[:, 0])
        plain = Coefficients(a, b, s, None)
        row_gradient(scores, first, target[:, 0], weight, plain, options, out)
        if beside is not None:
            out.scatter_add_(1, target, -beside.to(out.dtype))
        return out
    module.row_gradient(
        _foreign(module, scores),
        _theirs(module, parts),
        _target(module, target),
        _of_rows(module, a, scores),
        b=_of_rows(module, b, scores),
        s=_of_rows(module, s, scores),
        t=_of_rows(module, t, scores),
        weight=_foreign(module, weight),
        temperature=options.temperature,
        softcap=options.softcap,
        out=_foreign(module, out),
        **_further(module, scores),
    )
    return out


def is_small(scores: Tensor) -> bool:
    """Tell whether plain PyTorch does the rows at once, and may keep a gradient for backward."""
    return scores.device.type == "cpu" and _compiled(scores) is None and eager.is_one_block(scores)


def can_fuse(scores: Tensor) -> bool:
    """Tell whether a kernel makes parts and gradient in one pass."""
    return hasattr(_compiled(scores), "row_parts_and_gradient")


def row_parts_and_gradient(
    scores: Tensor,
    target: Tensor,
    weight: Tensor | None,
    at_target: Tensor,
    spread: Tensor | None,
    options: Options,
) -> Parts:
    """Return the parts of each row and write over the scores the gradient of its loss.

    ``at_target`` (N,) is what the row's loss weighs its class index with, ``spread`` (N,) what it
    spreads over the classes that are not masked. For scores that `can_fuse`.
    """
    module = _compiled(scores)
    found = module.row_parts_and_gradient(
        _foreign(module, scores),
        _foreign(module, target),
        _of_rows(module, at_target, scores),
        s=_of_rows(module, spread, scores),
        t=_of_rows(module, at_target, scores),
        weight=_foreign(module, weight),
        **options._asdict(),
        out=_foreign(module, scores),
        **_further(module, scores),
    )
    return _ours(found, scores, target)


def index_kernels(scores: Tensor) -> Any:
    """Return the module whose kernels read class indices themselves, or None."""
    module = _compiled(scores)
    if module is None or _takes_arrays(module):
        return None
    return import_module("bridle.kernels.triton.index_loss")


def filter_rows(residual: Tensor, threshold: Tensor, draws: Tensor | None) -> Tensor:
    """Filter a gradient in place; return which columns have an entry left.

    See `bridle.kernels.numpy.residual_filter`.
    """
    if residual.device.type != "cpu" or not has_values(residual):
        return eager.filter_rows(residual, threshold, draws)
    module = import_module("bridle.kernels.numba.residual_filter")
    kept = module.filter_rows(
        _foreign(module, residual),
        threshold.numpy(),
        None if draws is None else draws.numpy(),
        **_further(module, residual),
    )
    return torch.from_numpy(kept)


def kept_entries(residual: Tensor, threshold: Tensor, draws: Tensor | None) -> Any | None:
    """Return what `filter_rows` would leave, as `Entries`; None where a product over all pays."""
    if residual.device.type != "cpu" or _compiled(residual) is None:
        return None
    module = import_module("bridle.kernels.numba.residual_filter")
    return module.kept_entries(
        _foreign(module, residual),
        threshold.numpy(),
        None if draws is None else draws.numpy(),
        **_further(module, residual),
    )


def turned_entries(entries: Any, length: int) -> Any:
    """Return the entries of the transpose, for lines of ``length`` entries."""
    return import_module("bridle.kernels.numba.filtered_products").turned(entries, length)


def add_sparse_products(entries: Any, matrix: Tensor, out: Tensor) -> None:
    """Add the product of `kept_entries` with ``matrix`` to ``out``, which may be wider."""
    module = import_module("bridle.kernels.numba.residual_filter")
    sparse = import_module("bridle.kernels.numba.filtered_products")
    sparse.add_products(
        entries, _foreign(module, matrix), _foreign(module, out), **_further(module, matrix)
    )


def fresh(shape: tuple[int, ...], like: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Return memory of a shape in C order, on the device of ``like`` and by default in its dtype.

    NumPy asks the system for huge pages, PyTorch does not: at large sizes, half of a backward pass
    would go to page faults.
    """
    dtype = dtype or like.dtype
    if not (like.device.type == "cpu" and has_values(like)) or prod(shape) < max(
        COMPILED_NUMBERS, 1
    ):
        return torch.empty(shape, dtype=dtype, device=like.device)
    memory = np.empty(prod(shape) * dtype.itemsize, np.uint8)
    return torch.from_numpy(memory).view(dtype).view(shape)


def _compiled(scores: Tensor) -> Any:
    """Return the module of compiled kernels for these scores, or None for plain PyTorch."""
    if gpu_launch.serves(scores.device) and has_values(scores):
        return import_module("bridle.kernels.triton.row_kernels")
    if scores.device.type != "cpu" or scores.numel() == 0 or not has_values(scores):
        return None
    classes = scores.shape[min(scores.dim(), 2) - 1]
    if scores.numel() < COMPILED_NUMBERS and classes < _SERIAL_COLUMNS:
        return None
    return import_module("bridle.kernels.numba.row_kernels")


def _has_several_indices(target: Tensor) -> bool:
    return target.dim() == 2 and not is_distribution(target)


def _takes_arrays(module: Any) -> bool:
    return bool(module.__name__.startswith("bridle.kernels.numba.row_kernels"))


def _further(module: Any, scores: Tensor) -> dict[str, Any]:
    if not _takes_arrays(module):
        return {}
    return {"bfloat16": scores.dtype == torch.bfloat16, "threads": torch.get_num_threads()}


def _foreign(module: Any, tensor: Tensor | None) -> Any:
    """Return a tensor as the module takes it: an array of the same memory, or itself."""
    if tensor is None or not _takes_arrays(module):
        return tensor
    plain = tensor.detach()
    if plain.dtype == torch.bfloat16:  # NumPy knows no such dtype, but its bits
        plain = plain.view(torch.uint16)
    return plain.numpy()


def _of_rows(module: Any, coefficient: Tensor | None, scores: Tensor) -> Any:
    """Return a coefficient as the module takes it: a GPU's kernels read one for each row."""
    if coefficient is not None and not _takes_arrays(module):
        return coefficient.expand(len(scores)).contiguous()
    return _foreign(module, coefficient)


def _target(module: Any, target: Tensor) -> Any:
    """Return a target as the module takes it: distributions in bfloat16 are none of NumPy's."""
    if _takes_arrays(module) and target.dtype == torch.bfloat16:
        target = target.float()
    return _foreign(module, target)


def _theirs(module: Any, parts: Parts) -> Any:
    read = (parts.maximum, parts.log_sum, parts.gap)
    return module.RowParts(*(_foreign(module, part) for part in read))


def _ours(found: Any, scores: Tensor, target: Tensor) -> Parts:
    soft = is_distribution(target)
    named = {
        "gap": found.soft_gap if soft else found.target_gap,
        "mass": found.soft_mass,
        **{name: getattr(found, name) for name in Parts._fields if name not in ("gap", "mass")},
    }
    dtype = accumulator_dtype(scores.dtype)
    kept = {name: torch.as_tensor(part) for name, part in named.items() if part is not None}
    if "allowed" in kept:
        kept["allowed"] = kept["allowed"].to(dtype)
    return some_parts(kept)


def _gaps_at(scores: Tensor, columns: Tensor, maximum: Tensor, options: Options) -> Tensor:
    chosen = scores.gather(1, columns).to(maximum.dtype)
    return maximum[:, None] - eager.bent(chosen, options)


def _slopes_at(scores: Tensor, columns: Tensor, options: Options) -> Tensor | float:
    if not options.softcap:
        return 1 / options.temperature
    return eager.slope(scores.gather(1, columns).to(accumulator_dtype(scores.dtype)), options)
