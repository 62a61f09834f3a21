"""How far losses and gradients are from 50-digit arithmetic, beside PyTorch's own.

    python benchmarks/accuracy.py

Errors are in units in the last place (ulp) of the answer's dtype at the true value: 0.5 is perfect
rounding. Half precision is judged by its gradient (its loss is float32 in bridle, and half in
PyTorch). Each kind of scores is drawn once and given to both; ``bridle`` is the compiled kernel,
``bridle, plain`` what serves small problems.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import mpmath
import numpy as np
import torch
from torch import Tensor

from bridle.torch import functional, kernels

ROWS, CLASSES = 400, 37
DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
Answer = tuple[Tensor, Tensor]


def kinds(generator: np.random.Generator) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    """Yield names and scores in float64, to be rounded to the dtype at hand."""
    shape = (ROWS, CLASSES)
    yield "random", 3 * generator.normal(size=shape)
    yield "flat", 1e-3 * generator.normal(size=shape)
    yield "offset by 1e4", 1e4 + generator.normal(size=shape)
    peaked = generator.normal(size=shape)
    peaked[np.arange(ROWS), generator.integers(0, CLASSES, ROWS)] += 12
    yield "peaked", peaked
    masked = 3 * generator.normal(size=shape)
    masked[generator.random(shape) < 0.3] = -np.inf
    masked[:, 0] = 0
    yield "masked", masked
    yield "extreme", generator.choice([-6e4, -1e2, 0.0, 1e2, 6e4], size=shape)


def exact(scores: np.ndarray[Any, Any], target: np.ndarray[Any, Any]) -> tuple[Any, Any]:
    """Return losses and gradients rounded once, to longdouble, from 50 digits."""
    losses = np.zeros(len(scores), np.longdouble)
    gradients = np.zeros(scores.shape, np.longdouble)
    with mpmath.workdps(50):
        for row, numbers in enumerate(scores):
            powers = [mpmath.exp(mpmath.mpf(z)) if z > -np.inf else mpmath.mpf(0) for z in numbers]
            total = mpmath.fsum(powers)
            own = mpmath.mpf(numbers[target[row]])
            losses[row] = np.longdouble(mpmath.nstr(mpmath.log(total) - own, 25))
            for column, power in enumerate(powers):
                slope = power / total - (column == target[row])
                if abs(slope) > 1e-400:  # less is 0 in every dtype here
                    gradients[row, column] = np.longdouble(mpmath.nstr(slope, 25))
    return losses, gradients


def ulps(found: Tensor, true: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the distance of each answer from the truth in ulp of the answer's dtype."""
    info = torch.finfo(found.dtype)
    least = np.longdouble(info.smallest_normal)
    exponent = np.floor(np.log2(np.maximum(np.abs(true), least)))
    step = np.exp2(exponent) * np.longdouble(info.eps)
    given = found.detach().to(torch.float64).numpy().astype(np.longdouble)
    return np.asarray(np.abs(given - true) / step, np.float64)


def answer(loss: Callable[..., Tensor], scores: Tensor, target: Tensor) -> Answer:
    """Return each row's loss and the gradient of their sum."""
    leaf = scores.clone().requires_grad_()
    losses = loss(leaf, target, reduction="none")
    (gradient,) = torch.autograd.grad(losses.sum(), leaf)
    return losses, gradient


def contenders(scores: Tensor, target: Tensor) -> Iterator[tuple[str, Answer]]:
    """Yield who answers, and what."""
    for name, numbers in (("bridle", 0), ("bridle, plain", 2**62)):
        with mock.patch.object(kernels, "COMPILED_NUMBERS", numbers):
            yield name, answer(functional.cross_entropy, scores, target)
    yield "PyTorch", answer(torch.nn.functional.cross_entropy, scores, target)


def main() -> None:
    """Print a table for each dtype."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seed", type=int, default=0)
    seed = parser.parse_args().seed
    heading = (
        f"{'scores':14} {'':14} {'loss max':>10} {'99.9 %':>8} {'gradient max':>13} {'99.9 %':>8}"
    )
    for dtype in DTYPES:
        print(f"\n{dtype}, errors in ulp\n{heading}")
        generator = np.random.default_rng(seed)
        for kind, numbers in kinds(generator):
            scores = torch.from_numpy(numbers).to(dtype)
            target = generator.integers(0, CLASSES, ROWS)
            if kind == "masked":
                target[:] = 0  # the one class that is never masked
            losses, gradients = exact(scores.double().numpy(), target)
            for name, (loss, gradient) in contenders(scores, torch.from_numpy(target)):
                figures = [ulps(loss, losses), ulps(gradient, gradients)]
                cells = [f"{each.max():10.3g} {np.quantile(each, 0.999):8.3g}" for each in figures]
                print(f"{kind:14} {name:14} {cells[0]} {cells[1]:>22}")


if __name__ == "__main__":
    main()
