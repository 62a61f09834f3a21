"""How far losses and gradients are from 50-digit arithmetic, beside PyTorch's own.

    python benchmarks/accuracy.py
    python benchmarks/accuracy.py --device cuda    # the Triton kernels, beside PyTorch on a GPU

Errors are in units in the last place (ulp) at the true value: 0.5 is perfect rounding. A gradient
is judged in the dtype of its scores, a loss as well, but that of half precision in float32, for
which bridle keeps it; that PyTorch rounds it to half shows as thousands of ulp. What is below the
smallest normal number is judged by that number's ulp. All contenders get the same scores:

``arrays``, ``tensors``
    bridle's answer to NumPy arrays and to tensors when they are few, in plain NumPy or PyTorch.
``arrays, compiled``, ``tensors, compiled``
    Its answer by the compiled kernels, which large problems get.

`tests/test_accuracy.py` holds the same figures to their bounds.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from unittest import mock

import ml_dtypes
import mpmath
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

import bridle
from bridle.kernels import thresholds
from bridle.torch import functional

Array = npt.NDArray[Any]
Long = np.longdouble

DTYPES = ("float64", "float32", "bfloat16", "float16")
ROWS, CLASSES = 400, 37


class Case(NamedTuple):
    """Scores of one kind, and the truth about them."""

    kind: str
    dtype: str
    scores: Tensor  # (N, C)
    target: Tensor  # (N,) class indices
    losses: Array  # (N,), rounded once, to long doubles
    gradients: Array  # (N, C), of the losses' sum


class Answer(NamedTuple):
    """Each row's loss and the gradient of their sum, as float64, which holds all of them."""

    losses: Array
    gradients: Array


class Figures(NamedTuple):
    """Errors of an answer, in ulp."""

    loss: float
    loss_most: float  # the 99.9th percentile
    gradient: float
    gradient_most: float


Contender = Callable[[Case], Answer]


# --- scores and the truth about them --------------------------------------------------------------


def cases(dtype: str, rows: int, classes: int, seed: int = 0) -> Iterator[Case]:
    """Yield scores of every kind, rounded to the dtype, with targets and 50-digit answers."""
    generator = np.random.default_rng(seed)
    for kind, numbers, target in _kinds(generator, rows, classes, torch.finfo(_torch(dtype)).max):
        scores = torch.from_numpy(numbers).to(_torch(dtype))
        losses, gradients = exact(scores.double().numpy(), target)
        yield Case(kind, dtype, scores, torch.from_numpy(target), losses, gradients)


def _kinds(
    generator: np.random.Generator, rows: int, classes: int, largest: float
) -> Iterator[tuple[str, Array, Array]]:
    """Yield names, scores in float64 and targets."""
    shape, each = (rows, classes), np.arange(rows)

    def drawn() -> tuple[Array, Array]:
        return generator.normal(size=shape), generator.integers(0, classes, rows)

    scores, target = drawn()
    yield "random", 3 * scores, target
    scores, target = drawn()
    yield "flat", 1e-3 * scores, target
    scores, target = drawn()
    yield "offset by 1e4", 1e4 + scores, target
    scores, target = drawn()
    peak = np.where(each % 2 == 0, target, generator.integers(0, classes, rows))
    scores[each, peak] += 12
    yield "peaked", scores, target
    scores, target = drawn()
    scores[each, target] += np.linspace(5, 80, rows)
    yield "sure", scores, target
    scores, target = drawn()
    masked = generator.random(shape) < 0.3
    masked[each, target] = False
    yield "masked", np.where(masked, -np.inf, 3 * scores), target
    _, target = drawn()
    far = 0.45 * largest
    yield "extreme", generator.choice([-far, -1e2, 0.0, 1e2, far], size=shape), target


def exact(scores: Array, target: Array) -> tuple[Array, Array]:
    """Return losses and their sum's gradient rounded once, to long doubles, from 50 digits.

    Nothing cancels, however sure a row is: a loss is ``log1p(rest) + gap``, and the gradient at the
    target is minus the probability of all others.
    """
    losses = np.zeros(len(scores), Long)
    gradients = np.zeros(scores.shape, Long)
    with mpmath.workdps(50):
        for row, (numbers, own) in enumerate(zip(scores.tolist(), target.tolist(), strict=True)):
            top = max(numbers)
            powers = [_power(mpmath.mpf(z) - top) for z in numbers]
            first = numbers.index(top)
            rest = mpmath.fsum(power for c, power in enumerate(powers) if c != first)
            others = mpmath.fsum(power for c, power in enumerate(powers) if c != own)
            losses[row] = _long(mpmath.log1p(rest) + (mpmath.mpf(top) - numbers[own]))
            slopes = [power / (1 + rest) for power in powers]
            slopes[own] = -others / (1 + rest)
            gradients[row] = [_long(slope) for slope in slopes]
    return losses, gradients


def _power(gap: Any) -> Any:
    """Return exp(gap), and 0 for what is 0 in every dtype."""
    return mpmath.exp(gap) if gap > -1e4 else mpmath.mpf(0)


def _long(number: Any) -> Any:
    high = float(number)
    return Long(high) + Long(float(number - high))


# --- answers and their errors ---------------------------------------------------------------------


def contenders(device: str = "cpu") -> dict[str, Contender]:
    """Return who answers, by name; the last is PyTorch."""
    torchs = torch.nn.functional.cross_entropy
    if device != "cpu":
        return {
            "tensors, Triton": lambda case: _of_tensors(functional.cross_entropy, case, device),
            "PyTorch": lambda case: _of_tensors(torchs, case, device),
        }
    return {
        "arrays": lambda case: _patched(2**62, _of_arrays, case),
        "arrays, compiled": lambda case: _patched(0, _of_arrays, case),
        "tensors": lambda case: _patched(2**62, _of_tensors, functional.cross_entropy, case),
        "tensors, compiled": lambda case: _patched(0, _of_tensors, functional.cross_entropy, case),
        "PyTorch": lambda case: _of_tensors(torchs, case),
    }


def _patched(numbers: int, answer: Callable[..., Answer], *arguments: Any) -> Answer:
    """Return an answer of which the kernels are compiled from so many scores on."""
    with (
        mock.patch.object(thresholds, "COMPILED_ARRAY_NUMBERS", numbers),
        mock.patch.object(thresholds, "COMPILED_TENSOR_NUMBERS", numbers),
    ):
        return answer(*arguments)


def _of_arrays(case: Case) -> Answer:
    dtype = ml_dtypes.bfloat16 if case.dtype == "bfloat16" else case.dtype
    scores = case.scores.double().numpy().astype(dtype)
    losses, gradients = bridle.cross_entropy_gradient(scores, case.target.numpy(), reduction="none")
    return Answer(np.asarray(losses, np.float64), gradients.astype(np.float64))


def _of_tensors(loss: Callable[..., Tensor], case: Case, device: str = "cpu") -> Answer:
    leaf = case.scores.to(device, copy=True).requires_grad_()
    losses = loss(leaf, case.target.to(device), reduction="none")
    (gradients,) = torch.autograd.grad(losses.sum(), leaf)
    return Answer(losses.detach().double().cpu().numpy(), gradients.double().cpu().numpy())


def figures(answer: Answer, case: Case) -> Figures:
    """Return how far an answer is from the truth."""
    wide = case.dtype if case.dtype == "float64" else "float32"
    losses = ulps(answer.losses, case.losses, wide)
    gradients = ulps(answer.gradients, case.gradients, case.dtype)
    return Figures(float(losses.max()), _most(losses), float(gradients.max()), _most(gradients))


def ulps(found: Array, true: Array, dtype: str) -> Array:
    """Return the distance of each number from the truth, in ulp of the dtype at the truth."""
    info = torch.finfo(_torch(dtype))
    size = np.maximum(np.abs(true), Long(info.smallest_normal))
    step = np.exp2(np.floor(np.log2(size))) * Long(info.eps)
    return np.asarray(np.abs(found.astype(Long) - true) / step, np.float64)


def _most(errors: Array) -> float:
    # Not interpolated: between two infinities lies none.
    return float(np.quantile(errors, 0.999, method="lower"))


def _torch(dtype: str) -> torch.dtype:
    found: torch.dtype = getattr(torch, dtype)
    return found


def main() -> None:
    """Print a table for each dtype."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    heading = (
        f"{'scores':14} {'':18} {'loss max':>10} {'99.9 %':>10} {'gradient max':>13} {'99.9 %':>10}"
    )
    for dtype in DTYPES:
        print(f"\n{dtype}, errors in ulp\n{heading}")
        for case in cases(dtype, ROWS, CLASSES, options.seed):
            for name, answer in contenders(options.device).items():
                found = figures(answer(case), case)
                print(
                    f"{case.kind:14} {name:18} {found.loss:10.3g} {found.loss_most:10.3g} "
                    f"{found.gradient:13.3g} {found.gradient_most:10.3g}"
                )


if __name__ == "__main__":
    main()
