"""What a row of scores is reduced to, and the options of that reduction.

The vocabulary of this room, told once (``N`` rows, ``C`` classes, ``k`` choices):

``scores`` (N, C)
    as they lie in memory, unit stride along the classes. The classes' scores in the formulas are
    ``z = cap(scores) / temperature`` with ``cap(s) = softcap · tanh(s / softcap)``, or ``s`` where
    ``softcap`` is 0. A class whose score is −inf is masked.
``target``
    class indices (N,), with −1 for a row that is not counted; several indices a row (N, k), whose
    masses the caller knows; or distributions (N, C).
``weight`` (C,)
    class weights, or None for ones.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from bridle.formula.row_loss import Coefficients as Coefficients


class Options(NamedTuple):
    """Which parts are wanted, and how scores are bent before the softmax."""

    smoothing: bool = False
    entropy: bool = False
    argmax: bool = False
    temperature: float = 1.0
    softcap: float = 0.0

    # No properties: PyTorch 2.9 compiles none of a named tuple.
    def bending(self) -> tuple[float, float]:
        """Return what `bridle.formula.bending` takes."""
        return self.temperature, self.softcap

    def is_linear(self) -> bool:
        """Tell whether the scores are at most scaled: their slope is the same everywhere."""
        return not self.softcap


class Parts(NamedTuple):
    """The parts of each row; those not asked for are empty.

    All differences are taken from the row's maximum, which is a constant as far as derivatives are
    concerned: whatever is built from the parts does not depend on it.
    """

    maximum: Tensor  # (N,) m = max z
    log_sum: Tensor  # (N,) log Σ exp(z − m)
    gap: Tensor  # (N,) or (N, k): m − z[target]; of distributions Σ w · target · (m − z)
    mass: Tensor  # (N,) Σ w · target, of distributions only
    smooth_gap: Tensor  # (N,) Σ w · (m − z) over the classes that are not masked
    smooth_weight: Tensor  # (N,) Σ w over them
    allowed: Tensor  # (N,) their number
    mean_gap: Tensor  # (N,) Σ softmax(z) · (m − z)
    argmax: Tensor  # (N,) the lowest class with z = m


def is_distribution(target: Tensor) -> bool:
    """Tell distributions (N, C) from indices."""
    return target.is_floating_point()


def accumulator_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype that parts are kept in: float64 for itself, float32 for all below."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def widest_dtype(tensor: Tensor) -> torch.dtype:
    """Return float64 where the device knows it."""
    return torch.float32 if tensor.device.type == "mps" else torch.float64


def some_parts(found: dict[str, Tensor]) -> Parts:
    """Return the parts that were found, all others being the same empty tensor."""
    nothing = found["maximum"].new_empty(0)
    return Parts(*[found.get(name, nothing) for name in Parts._fields])


def empty_parts(scores: Tensor, target: Tensor, options: Options) -> Parts:
    """Return memory for the parts; of length 0 where nothing is asked for.

    Compilers trace this with sizes that are symbols: ``shape[0]`` keeps one, ``len`` would make it
    the number of this call, and the compiled program one for this number of rows alone.
    """
    rows, dtype = scores.shape[0], accumulator_dtype(scores.dtype)
    soft = is_distribution(target)

    def numbers(*shape: int) -> Tensor:
        return scores.new_empty(shape, dtype=dtype)

    smooth = rows if options.smoothing else 0
    return Parts(
        maximum=numbers(rows),
        log_sum=numbers(rows),
        gap=numbers(rows) if soft else numbers(*target.shape),
        mass=numbers(rows if soft else 0),
        smooth_gap=numbers(smooth),
        smooth_weight=numbers(smooth),
        allowed=numbers(smooth),
        mean_gap=numbers(rows if options.entropy else 0),
        argmax=target.new_empty(rows if options.argmax else 0, dtype=torch.int64),
    )
