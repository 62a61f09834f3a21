"""Which kernels do the rows: asked of the registry, and called in its contract.

Several class indices a row (sparse distributions) are told to few kernels: the others see the first
of them, and the rest are gathered and scattered beside.
"""

from __future__ import annotations

from importlib import import_module
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bridle.kernels import choose, thresholds
from bridle.kernels.choose import Backend
from bridle.kernels.contract import RowParts
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


def _plain_row_parts(scores: Tensor, target: Tensor, *, weight: Any, **options: Any) -> Parts:
    return eager.row_parts(scores, target, weight, Options(**options))


def _plain_row_gradient(
    scores: Tensor,
    _parts: Any,
    target: Tensor,
    a: Tensor,
    *,
    b: Any,
    s: Any,
    t: Any,
    weight: Any,
    temperature: float,
    softcap: float,
    out: Tensor,
) -> Tensor:
    options = Options(temperature=temperature, softcap=softcap)
    return eager.row_gradient(scores, target, weight, Coefficients(a, b, s, t), options, out)


# PyTorch's own operations: the backend of small problems, and of every device that has no other.
PLAIN = Backend(
    name="pytorch",
    devices=frozenset(),  # all
    dtypes=choose.FLOATS,
    takes="tensors",
    row_parts=_plain_row_parts,
    row_gradient=_plain_row_gradient,
    head_blocks=choose.DEVICE_HEAD,
    several_indices=True,
)


class _TensorArguments:
    """Hands tensors to kernels as they are."""

    @staticmethod
    def argument(tensor: Tensor | None) -> Any:
        return tensor

    @staticmethod
    def target(target: Tensor) -> Any:
        return target

    @staticmethod
    def settings(_scores: Tensor) -> dict[str, Any]:
        return {}


class _ArrayArguments(_TensorArguments):
    """Hands tensors to kernels as arrays of the same memory."""

    @staticmethod
    def argument(tensor: Tensor | None) -> Any:
        if tensor is None:
            return None
        plain = tensor.detach()
        if plain.dtype == torch.bfloat16:  # NumPy knows no such dtype, but its bits
            plain = plain.view(torch.uint16)
        return plain.numpy()

    @staticmethod
    def target(target: Tensor) -> Any:
        # Distributions in bfloat16 are none of NumPy's.
        return _ArrayArguments.argument(
            target.float() if target.dtype == torch.bfloat16 else target
        )

    @staticmethod
    def settings(scores: Tensor) -> dict[str, Any]:
        return {"bfloat16": scores.dtype == torch.bfloat16, "threads": torch.get_num_threads()}


_ARGUMENTS: dict[str, type[_TensorArguments]] = {
    "arrays": _ArrayArguments,
    "tensors": _TensorArguments,
}
_ARRAYS = _ArrayArguments


def backend_of(scores: Tensor) -> Backend:
    """Return the backend that does these rows."""
    if not has_values(scores):
        return PLAIN
    shape = scores.shape
    classes = shape[min(len(shape), 2) - 1] if shape else 1
    rows = scores.numel() // max(classes, 1)
    return choose.backend(scores.device.type, _NAMES[scores.dtype], (rows, classes)) or PLAIN


_NAMES = {
    dtype: str(dtype).removeprefix("torch.")
    for dtype in vars(torch).values()
    if isinstance(dtype, torch.dtype)
}


def row_parts(scores: Tensor, target: Tensor, weight: Tensor | None, options: Options) -> Parts:
    """Return the parts of each row of scores; see `Parts`."""
    backend = backend_of(scores)
    kernel_arguments = _ARGUMENTS[backend.takes]
    several = _has_several_indices(target) and not backend.several_indices
    first = target[:, 0].contiguous() if several else target
    found = backend.row_parts(
        kernel_arguments.argument(scores),
        kernel_arguments.target(first),
        weight=kernel_arguments.argument(weight),
        **options._asdict(),
        **kernel_arguments.settings(scores),
    )
    parts = _as_parts(found, scores, first)
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
    backend = backend_of(scores)
    kernel_arguments = _ARGUMENTS[backend.takes]
    a, b, s, t = coefficients
    if _has_several_indices(target) and not backend.several_indices:
        on_device_of = None if t is None else _slopes_at(scores, target, options) * t
        first = parts._replace(gap=parts.gap[:, 0])
        plain = Coefficients(a, b, s, None)
        row_gradient(scores, first, target[:, 0], weight, plain, options, out)
        if on_device_of is not None:
            out.scatter_add_(1, target, -on_device_of.to(out.dtype))
        return out
    argument = kernel_arguments.argument
    backend.row_gradient(
        argument(scores),
        RowParts(argument(parts.maximum), argument(parts.log_sum), argument(parts.gap)),
        kernel_arguments.target(target),
        argument(a),
        b=argument(b),
        s=argument(s),
        t=argument(t),
        weight=argument(weight),
        temperature=options.temperature,
        softcap=options.softcap,
        out=argument(out),
        **kernel_arguments.settings(scores),
    )
    return out


def is_small(scores: Tensor) -> bool:
    """Tell whether plain PyTorch does the rows at once, and may keep a gradient for backward."""
    return (
        scores.device.type == "cpu" and backend_of(scores) is PLAIN and eager.is_one_block(scores)
    )


def can_fuse(scores: Tensor) -> bool:
    """Tell whether a kernel makes parts and gradient in one pass."""
    return backend_of(scores).row_parts_and_gradient is not None


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
    backend = backend_of(scores)
    assert backend.row_parts_and_gradient is not None
    kernel_arguments = _ARGUMENTS[backend.takes]
    argument = kernel_arguments.argument
    found = backend.row_parts_and_gradient(
        argument(scores),
        argument(target),
        argument(at_target),
        s=argument(spread),
        t=argument(at_target),
        weight=argument(weight),
        **options._asdict(),
        out=argument(scores),
        **kernel_arguments.settings(scores),
    )
    return _as_parts(found, scores, target)


def index_kernels(scores: Tensor) -> Any:
    """Return the module whose kernels read class indices themselves, or None."""
    load = backend_of(scores).index_loss
    return None if load is None else load()


def distribution_kernels(scores: Tensor) -> Any:
    """Return the module whose kernels make the loss of distributions at once, or None."""
    load = backend_of(scores).distribution_loss
    return None if load is None else load()


def head_kernels(features: Tensor, head: Tensor) -> Any:
    """Return the module whose kernels serve a linear head without storing its scores, or None."""
    load = backend_of(features).head_loss
    module = None if load is None else load()
    return module if module is not None and module.serves(features, head) else None


def multiplied(
    gradient: Tensor, factor: Tensor, module: Any, launches: dict[Any, Any] | None = None
) -> Tensor:
    """Multiply a gradient by one number, in place; by 1 in no time, where a module knows how.

    Such know no gaps, which a gradient in place may have.
    """
    is_here = factor.dim() == 0 and factor.device == gradient.device
    if module is None or not (is_here and gradient.is_contiguous()):
        return gradient.mul_(factor)
    scaled: Tensor = module.scale(gradient, factor, launches)
    return scaled


def filter_rows(residual: Tensor, threshold: Tensor, draws: Tensor | None) -> Tensor:
    """Filter a gradient in place; return which columns have an entry left.

    See `bridle.kernels.numpy.residual_filter`.
    """
    if residual.device.type != "cpu" or not has_values(residual):
        return eager.filter_rows(residual, threshold, draws)
    module = import_module("bridle.kernels.numba.residual_filter")
    kept = module.filter_rows(
        _ARRAYS.argument(residual),
        threshold.numpy(),
        None if draws is None else draws.numpy(),
        **_ARRAYS.settings(residual),
    )
    return torch.from_numpy(kept)


def kept_entries(residual: Tensor, threshold: Tensor, draws: Tensor | None) -> Any | None:
    """Return what `filter_rows` would leave, as `Entries`; None where a product over all pays."""
    if residual.device.type != "cpu" or backend_of(residual) is PLAIN:
        return None
    module = import_module("bridle.kernels.numba.residual_filter")
    return module.kept_entries(
        _ARRAYS.argument(residual),
        threshold.numpy(),
        None if draws is None else draws.numpy(),
        **_ARRAYS.settings(residual),
    )


def transposed_entries(entries: Any, length: int) -> Any:
    """Return the entries of the transpose, for lines of ``length`` entries."""
    return import_module("bridle.kernels.numba.filtered_products").transposed(entries, length)


def add_sparse_products(entries: Any, matrix: Tensor, out: Tensor) -> None:
    """Add the product of `kept_entries` with ``matrix`` to ``out``, which may be wider."""
    sparse = import_module("bridle.kernels.numba.filtered_products")
    sparse.add_products(
        entries, _ARRAYS.argument(matrix), _ARRAYS.argument(out), **_ARRAYS.settings(matrix)
    )


def new_memory(shape: tuple[int, ...], like: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Return memory of a shape in C order, on the device of ``like`` and by default in its dtype.

    NumPy asks the system for huge pages, PyTorch does not: at large sizes, half of a backward pass
    would go to page faults.
    """
    dtype = dtype or like.dtype
    if not (like.device.type == "cpu" and has_values(like)) or prod(shape) < max(
        thresholds.COMPILED_TENSOR_NUMBERS, 1
    ):
        return torch.empty(shape, dtype=dtype, device=like.device)
    memory = np.empty(prod(shape) * dtype.itemsize, np.uint8)
    return torch.from_numpy(memory).view(dtype).view(shape)


def _has_several_indices(target: Tensor) -> bool:
    return target.dim() == 2 and not is_distribution(target)


def _as_parts(found: RowParts | Parts, scores: Tensor, target: Tensor) -> Parts:
    """Return what a backend found in this room's names; plain PyTorch uses them itself."""
    if isinstance(found, Parts):
        return found
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
    if options.is_linear():
        return 1 / options.temperature
    return eager.slope(scores.gather(1, columns).to(accumulator_dtype(scores.dtype)), options)
