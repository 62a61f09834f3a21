"""Losses and gradients against 50-digit arithmetic: at most so far off, never farther than PyTorch.

The scores, the truth about them and who answers are those of `benchmarks/accuracy.py`, which prints
what is bounded here.
"""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the extra `torch` is not installed")
pytest.importorskip("mpmath", reason="mpmath, the 50-digit arithmetic, is not installed")

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))
import accuracy
from accuracy import Case, Figures

# A loss is rounded when it is finished, and so are the two parts that it is the sum of.
LOSS = 2.0
# What two answers of the same quality may differ by: their last roundings.
MARGIN = 0.5

# Two classes; few, which compiled kernels take a row a lane; more than a chunk of them.
SHAPES = [(100, 2), (64, 37), (4, 1100)]
KINDS = ["random", "flat", "offset by 1e4", "peaked", "sure", "masked", "extreme"]
OURS = ["arrays", "arrays, compiled", "tensors", "tensors, compiled"]


@cache
def cases(dtype: str, shape: tuple[int, int]) -> dict[str, Case]:
    return {case.kind: case for case in accuracy.cases(dtype, *shape)}


@cache
def figures(who: str, dtype: str, shape: tuple[int, int]) -> dict[str, Figures]:
    answer, given = accuracy.contenders()[who], cases(dtype, shape)
    return {kind: accuracy.figures(answer(case), case) for kind, case in given.items()}


def farther(found: dict[str, float], bounds: dict[str, float]) -> dict[str, tuple[float, float]]:
    """Return the kinds of scores whose error is beyond its bound (or NaN), with both."""
    assert list(found) == list(bounds) == KINDS
    return {kind: (found[kind], bounds[kind]) for kind in KINDS if not found[kind] <= bounds[kind]}


def losses(who: str, dtype: str, shape: tuple[int, int]) -> dict[str, float]:
    return {kind: each.loss for kind, each in figures(who, dtype, shape).items()}


def gradients(who: str, dtype: str, shape: tuple[int, int]) -> dict[str, float]:
    return {kind: each.gradient for kind, each in figures(who, dtype, shape).items()}


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", accuracy.DTYPES)
@pytest.mark.parametrize("who", OURS)
def test_a_loss_is_right_to_two_ulp(who: str, dtype: str, shape: tuple[int, int]) -> None:
    if dtype == "float64" and "compiled" not in who:
        pytest.skip("in float64, plain NumPy and PyTorch have no wider numbers for their sums")
    assert not farther(losses(who, dtype, shape), dict.fromkeys(KINDS, LOSS))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", accuracy.DTYPES)
@pytest.mark.parametrize("who", OURS)
def test_a_loss_is_never_worse_than_pytorchs(who: str, dtype: str, shape: tuple[int, int]) -> None:
    # An error below one last place is no worse than another.
    errors = losses("PyTorch", dtype, shape).items()
    bounds = {kind: max(error + MARGIN, 1.0) for kind, error in errors}
    assert not farther(losses(who, dtype, shape), bounds)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", accuracy.DTYPES)
@pytest.mark.parametrize("who", OURS)
def test_a_gradient_is_never_worse_than_pytorchs(
    who: str, dtype: str, shape: tuple[int, int]
) -> None:
    bounds = {kind: error + MARGIN for kind, error in gradients("PyTorch", dtype, shape).items()}
    assert not farther(gradients(who, dtype, shape), bounds)
