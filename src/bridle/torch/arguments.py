"""Arguments of tensors: what they must be, and looking at their values where that is free.

The messages are those of `bridle.checks`, which sees a tensor's values as an array, or only its
shape and dtype where the values lie on another device. Values are looked at by default on the CPU
alone: on a GPU that would wait for all work before it. Inside ``torch.compile`` and under ``vmap``
there is no value yet to look at.
"""

from __future__ import annotations

from math import nan
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bridle import checks
from bridle.losses.head_calls import ArrayLibrary
from bridle.torch.kinds import has_values, refuse_pieces

Array = npt.NDArray[Any]
TENSORS = ArrayLibrary(
    lambda parts: torch.stack(parts, dim=-1),
    lambda values, count, fill: torch.nn.functional.pad(values, (count, 0), value=fill),
)


def floating(values: Any, name: str) -> Tensor:
    """Return a tensor of real numbers as it is; integers and booleans become float64."""
    if not isinstance(values, Tensor):
        raise checks.InputError.of(name, expected="a tensor", found=type(values).__name__)
    refuse_pieces(values, name)
    if values.is_floating_point():
        return values
    if values.is_complex():
        found = f"{values.dtype} of shape {tuple(values.shape)}"
        raise checks.InputError.of(name, expected="real numbers", found=found)
    return values.to(torch.float64)


def on_device_of(values: Any, tensor: Tensor, name: str = "target") -> Tensor:
    """Return values (a tensor, an array, a list) as a tensor on the device of another."""
    refuse_pieces(values, name)
    if isinstance(values, Tensor):
        return values.to(tensor.device)
    try:
        return torch.as_tensor(values, device=tensor.device)
    except (TypeError, ValueError, RuntimeError):
        found = f"found {type(values).__name__} {str(values)[:40]}"
        raise checks.InputError(
            f"{name}: expected a tensor or an array, {found}",
            argument=name,
            expected="a tensor or an array",
            found=found,
        ) from None


def should_check(check: bool | None, tensor: Tensor) -> bool:
    """Tell whether values are to be checked: where the caller says nothing, on the CPU."""
    if torch.compiler.is_compiling() or not has_values(tensor):
        return False
    return tensor.device.type == "cpu" if check is None else check


def any_true(condition: Tensor) -> bool:
    """Tell whether a condition holds anywhere; False where there is no value to look at."""
    try:
        return bool(condition.any())
    except RuntimeError:  # under vmap, or of a tensor that is only being traced
        return False


def extremes(values: Tensor) -> tuple[float, float]:
    """Return the least and the greatest entry; NaN where there is no value to look at."""
    try:
        least, most = torch.aminmax(values)
        return least.item(), most.item()
    except RuntimeError:  # as in `any_true`
        return nan, nan


def as_array(tensor: Tensor) -> Array:
    """Return the values as an array; bfloat16, which NumPy has not, as float16.

    In [0, 1] that loses nothing that a check could find, and float16 has bfloat16's tolerance.
    """
    plain = tensor.detach().cpu()
    return np.asarray(plain.to(torch.float16) if plain.dtype == torch.bfloat16 else plain)


def like(tensor: Tensor) -> Array:
    """Return an array of the tensor's shape and dtype, but of no memory, for its error message."""
    name = str(tensor.dtype).removeprefix("torch.").replace("bfloat16", "float32")
    return np.broadcast_to(np.zeros((), np.dtype(name)), tuple(tensor.shape))


def normalizer(value: Any, reduction: str, name: str = "normalizer") -> None:
    """Refuse a divisor of no mean, and one that is negative or not finite."""
    checks.normalizer(value, reduction, name)
    if isinstance(value, Tensor) and should_check(None, value):
        bad = ~((value >= 0) & value.isfinite())
        if any_true(bad):
            checks.at_least_zero(float(value[bad][0]), name)


def weights(
    values: Any,
    name: str,
    shape: tuple[int, ...],
    dtype: torch.dtype,
    beside: Tensor,
    check_values: bool,
) -> Tensor:
    """Return weights in ``dtype``; refuse the first that is negative or not finite."""
    tensor = floating(on_device_of(values, beside, name), name)
    if tuple(tensor.shape) != shape:
        checks.weights(like(tensor), name, shape, check=False)
    kept = tensor.to(dtype)
    if check_values and any_true(~((kept >= 0) & kept.isfinite())):
        checks.weights(as_array(tensor), name, shape, as_array(kept).dtype, check=True)
    return kept


def unit_interval(tensor: Tensor, name: str) -> None:
    """Refuse the first entry outside [0, 1]."""
    if any_true(~((tensor >= 0) & (tensor <= 1))):
        checks.unit_interval(as_array(tensor), name)


def not_negative(tensor: Tensor, name: str) -> None:
    """Refuse the first entry below 0."""
    if any_true(tensor < 0):
        checks.not_negative(as_array(tensor), name)


def sum_tolerance(tensor: Tensor, axis: int, *, of_logarithms: bool = False) -> float:
    """Return how far rows of probabilities, or of their logarithms, may miss a sum of 1."""
    name = str(tensor.dtype).removeprefix("torch.")
    return checks.sum_tolerance(name, tensor.shape[axis], of_logarithms=of_logarithms)


def distributions(
    tensor: Tensor, name: str, axis: int, hint: str = "", *, tolerance: float | None = None
) -> None:
    """Refuse the first row that is no distribution along ``axis``."""
    if tolerance is None:
        tolerance = sum_tolerance(tensor, axis)
    half = tensor.dtype in (torch.bfloat16, torch.float16)
    wide = torch.float32 if half else tensor.dtype
    if tensor.numel() == 0:
        return
    values = tensor.detach()
    least, most = torch.aminmax(values)
    missed = (values.sum(dim=axis, dtype=wide) - 1).abs().amax()
    good = (least >= 0) & (most <= 1 + tolerance) & (missed <= tolerance)
    if any_true(~good):
        checks.probability_rows(as_array(tensor), name, axis, hint, tolerance=tolerance)


def warn_of_probabilities(scores: Tensor) -> None:
    """Warn if scores look like distributions; the first sample already tells most of them."""
    samples = scores.detach()[None] if scores.dim() == 1 else scores.detach()
    if samples.dim() < 2 or samples.numel() == 0 or samples.shape[1] == 1:
        return
    least, most = extremes(samples[0])
    if least >= 0 and most <= 1:
        checks.warn_of_probabilities(as_array(samples))
