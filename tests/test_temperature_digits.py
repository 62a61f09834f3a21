"""Temperatures beside optima in 50 digits, of every kind of problem there is."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest

from bridle.calibrate import TemperatureScaling

mpmath: Any = pytest.importorskip("mpmath", reason="the 50-digit optimum needs mpmath")

Array = npt.NDArray[Any]


class Problem(NamedTuple):
    """Scores of any dtype, classes and weights."""

    scores: Array
    target: Array
    weight: Array | None


def random_problem(seed: int) -> Problem:
    """Return one of 30 problems: sizes, classes, dtypes, weights and kinds take turns."""
    random = np.random.default_rng(seed)
    classes = (2, 3, 5, 10, 2, 1000)[seed % 6]
    count = 12 if classes == 1000 else int(random.integers(8, 60))
    dtype = (np.float64, np.float16, np.float32)[seed % 3]
    target = random.integers(0, classes, count)
    scores = random.normal(size=(count, classes)) * 10 ** random.uniform(-1, 1.3)
    own = np.arange(count), target
    kind = KINDS[seed % len(KINDS)]
    if kind == "overlapping":
        scores[own] += np.abs(scores).mean() * random.uniform(0.3, 3)
    elif kind == "separable":
        scores[own] = scores.max(axis=1) + random.exponential(size=count) * (seed % 2)
    elif kind == "nearly separable":  # but for one row, by little
        scores[own] = scores.max(axis=1) + 1
        scores[0, target[0]] = np.delete(scores[0], target[0]).max() - 0.05
    elif kind == "inverted":
        scores[own] = scores.min(axis=1) - random.exponential(size=count)
    elif kind == "hardly telling":  # the slope at 1 / T = 0 is just below 0, but for the weights
        away = (scores.mean(axis=1) - scores[own]).mean()
        scores[own] += (away + 1e-3 * np.abs(scores).mean()) * classes / (classes - 1)
    offset = random.normal(size=(count, 1)) * (0 if dtype == np.float16 else 100)
    weight = random.integers(0, 4, count) + 0.25 if seed % 4 == 1 else None
    return Problem((scores + offset).astype(dtype), target, weight)


KINDS = ("overlapping", "separable", "nearly separable", "inverted", "hardly telling")


class Exact:
    """The mean loss of a problem as a function of 1 / T, in exact numbers and in 60 digits."""

    def __init__(self, problem: Problem) -> None:
        weight = np.ones(len(problem.target)) if problem.weight is None else problem.weight
        self.weights = [Fraction(float(each)) for each in weight]
        # How far below its highest score each is: exact, of whatever the dtype could hold.
        self.below = []
        for row in problem.scores.astype(np.float64):
            exact = [Fraction(float(each)) for each in row]
            highest = max(exact)
            self.below.append([highest - each for each in exact])
        self.own = [row[y] for row, y in zip(self.below, problem.target.tolist(), strict=True)]

    @property
    def is_separable(self) -> bool:
        """Whether every target has the highest score."""
        return not any(self.own)

    @property
    def slope_at_0(self) -> Fraction:
        """The slope where all classes are alike."""
        return sum(
            (w * (own - sum(row) / len(row))
             for w, own, row in zip(self.weights, self.own, self.below, strict=True)),
            Fraction(0),
        )  # fmt: skip

    def slopes(self, inverse: Any) -> tuple[Any, Any]:
        """Return the first and the second derivative."""
        first, second = mpmath.mpf(0), mpmath.mpf(0)
        for w, own, row in zip(self.weights, self.own, self.below, strict=True):
            digits = [decimal(each) for each in row]
            powers = [mpmath.exp(-inverse * each) for each in digits]
            total = mpmath.fsum(powers)
            mean = mpmath.fdot(powers, digits) / total
            square = mpmath.fsum(p * (d - mean) ** 2 for p, d in zip(powers, digits, strict=True))
            first += decimal(w) * (decimal(own) - mean)
            second += decimal(w) * square / total
        return first, second

    def root(self, near: float) -> Any:
        """Return 1 / T in 50 digits, around which the slope changes its sign."""
        inverse = mpmath.mpf(near)
        for _ in range(8):
            first, second = self.slopes(inverse)
            step = first / second
            inverse -= step
            if abs(step) < inverse * mpmath.mpf(10) ** -52:
                break
        reach = inverse * mpmath.mpf(10) ** -50
        assert self.slopes(inverse - reach)[0] < 0 < self.slopes(inverse + reach)[0]
        return inverse


def decimal(exact: Fraction) -> Any:
    """Return an exact number in the digits at work."""
    return mpmath.mpf(exact.numerator) / exact.denominator


@pytest.mark.parametrize("seed", range(30))
def test_the_temperature_is_that_of_50_digits(seed: int) -> None:
    problem = random_problem(seed)
    model = TemperatureScaling().fit(*problem)
    with mpmath.workdps(60):
        exact = Exact(problem)
        if exact.is_separable:
            assert (model.temperature_, model.gap_) == (0.0, 0.0)
        elif exact.slope_at_0 >= 0:
            assert (model.temperature_, model.gap_) == (math.inf, 0.0)
            assert model.loss_ == pytest.approx(math.log(problem.scores.shape[1]), rel=1e-12)
        else:
            assert 0 < model.temperature_ < math.inf
            expected = exact.root(1 / model.temperature_)
            assert abs(mpmath.mpf(model.temperature_) * expected - 1) < 1e-10
            assert 0 <= model.gap_ < 1e-11 * max(1.0, model.loss_)


def test_the_problems_are_of_every_kind() -> None:
    problems = [random_problem(seed) for seed in range(30)]
    exact = [Exact(each) for each in problems]
    separable = sum(each.is_separable for each in exact)
    inverted = sum(each.slope_at_0 >= 0 for each in exact)
    assert separable == 6
    assert inverted >= 6
    assert sum(each.scores.shape[1] == 2 for each in problems) == 10
    assert sum(each.scores.shape[1] == 1000 for each in problems) == 5
    assert sum(each.scores.dtype == np.float16 for each in problems) == 10
