"""Thirty hard problems: the optimum is the optimum, and the proven gap is never too small.

The truth is found by an oracle of this file's own, a dense Newton method with the objective and its
gradient in extended precision, and by scikit-learn's `newton-cholesky` where that converges.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy import linalg, sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from bridle import SoftmaxRegression
from bridle.progress import Progress

Array = npt.NDArray[Any]

# What float64 arithmetic may hide of an objective that is a mean of some hundred losses.
ROUNDING = 16 * np.finfo(np.float64).eps


@dataclass(frozen=True, eq=False)
class Problem:
    name: str
    count: int
    width: int
    classes: int
    C: float
    traits: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)


PLAIN: dict[str, Any] = {}
NO_INTERCEPT = {"fit_intercept": False}
STANDARDIZED = {"standardize": True}

PROBLEMS = [
    Problem("tall", 211, 7, 3, 1.0),
    Problem("tall, hardly any penalty", 211, 7, 3, 1e6),
    Problem("tall, hardly any freedom", 211, 7, 3, 1e-6),
    Problem("wide", 23, 61, 3, 1.0),
    Problem("wide, hardly any penalty", 23, 61, 3, 1e6),
    Problem("wide, hardly any freedom", 23, 61, 3, 1e-6),
    Problem("wide, no intercept", 29, 53, 4, 1e3, (), NO_INTERCEPT),
    Problem("binary", 101, 5, 2, 10.0),
    Problem("binary, hardly any penalty", 101, 5, 2, 1e6),
    Problem("binary, wide", 31, 97, 2, 1e4),
    Problem("one feature", 47, 1, 3, 100.0),
    Problem("many classes", 151, 4, 23, 1.0),
    Problem("many classes, little penalty", 151, 4, 23, 1e5),
    Problem("half as many classes as samples", 47, 5, 23, 1e2),
    Problem("rare classes", 199, 6, 5, 1.0, ("rare",)),
    Problem("rare classes, hardly any penalty", 199, 6, 5, 1e6, ("rare",)),
    Problem("rare classes, hardly any freedom", 199, 6, 5, 1e-6, ("rare",)),
    Problem("duplicate columns", 113, 8, 3, 10.0, ("duplicate",)),
    Problem("duplicate columns, hardly any penalty", 113, 8, 3, 1e6, ("duplicate",)),
    Problem("badly scaled", 149, 7, 3, 1.0, ("scaled",)),
    Problem("badly scaled, hardly any penalty", 149, 7, 3, 1e6, ("scaled",)),
    Problem("badly scaled, standardized", 149, 7, 3, 1.0, ("scaled",), STANDARDIZED),
    Problem("badly scaled, no intercept", 149, 7, 3, 1e2, ("scaled",), NO_INTERCEPT),
    Problem("weights 0 and 1e6", 127, 6, 4, 1.0, ("weighted",)),
    Problem("weights 0 and 1e6, hardly any freedom", 127, 6, 4, 1e-6, ("weighted",)),
    Problem("weights, bad scale, rare classes", 163, 6, 4, 1e2, ("weighted", "scaled", "rare")),
    Problem("soft labels", 89, 6, 4, 1.0, ("soft",)),
    Problem("soft labels, hardly any penalty", 89, 6, 4, 1e6, ("soft", "weighted")),
    Problem("sparse", 181, 43, 5, 10.0, ("sparse",)),
    Problem("sparse, standardized, little penalty", 181, 43, 5, 1e4, ("sparse",), STANDARDIZED),
]
NAMES = [problem.name for problem in PROBLEMS]


@dataclass(frozen=True)
class Data:
    X: Array
    target: Array  # (N, K) distributions
    y: Array  # what `fit` is given
    sample_weight: Array | None
    scale: Array  # (D,) what the penalty divides features by

    @property
    def share(self) -> Array:
        return np.ones(len(self.X)) if self.sample_weight is None else self.sample_weight


@cache
def data_of(problem: Problem, dtype: type = np.float64) -> Data:
    """Return the problem's data; those of ``dtype``, rounded to it, in float64."""
    generator = np.random.default_rng(PROBLEMS.index(problem))
    count, width, classes = problem.count, problem.width, problem.classes
    X = generator.normal(size=(count, width)) + generator.normal(size=width)
    scores = X @ generator.normal(size=(width, classes)) / np.sqrt(width)
    scores += generator.gumbel(size=(count, classes))
    if "rare" in problem.traits:
        scores -= 3 * np.arange(classes)
    y = scores.argmax(axis=1)
    y[:classes] = np.arange(classes)
    if "duplicate" in problem.traits:
        X[:, -2:] = X[:, :2]
    if "scaled" in problem.traits:
        X *= np.logspace(-6, 6, width)
    if "sparse" in problem.traits:
        X[generator.random(X.shape) < 0.9] = 0
    X = X.astype(dtype).astype(np.float64)
    weight = None
    if "weighted" in problem.traits:
        weight = generator.choice([0.0, 1.0, 1e6], count)
        weight[:classes] = 1.0
    target, given = np.eye(classes)[y], y
    if "soft" in problem.traits:
        target = generator.dirichlet(np.ones(classes), count)
        given = target
    scale = np.ones(width)
    if problem.options.get("standardize"):
        share = np.ones(count) if weight is None else weight
        mean = share @ X / share.sum()
        scale = np.sqrt(share @ (X - mean) ** 2 / share.sum())
    return Data(X, target, given, weight, scale)


class Oracle:
    """A damped Newton method on an orthonormal basis of scores that sum to 0."""

    def __init__(self, problem: Problem, data: Data) -> None:
        self.intercept = problem.options.get("fit_intercept", True)
        X = data.X / data.scale
        # Neither centring nor units change the optimum; both spare the linear algebra.
        shift = data.share @ X / data.share.sum() if self.intercept else np.zeros(X.shape[1])
        X = X - shift
        units = np.sqrt(np.mean(X**2, axis=0))
        self.units = np.where(units > 0, units, 1.0)
        columns = X / self.units
        if self.intercept:
            columns = np.hstack([columns, np.ones((len(X), 1))])
        self.shift, self.scale = shift, data.scale
        self.columns = columns
        self.wide_columns = columns.astype(np.longdouble)
        self.target = data.target.astype(np.longdouble)
        self.share = (data.share / data.share.sum()).astype(np.longdouble)
        alpha = 1 / (problem.C * data.share.sum())
        penalty = alpha / self.units**2
        self.penalty = np.append(penalty, 0.0) if self.intercept else penalty  # per column
        self.basis = linalg.null_space(np.ones((1, problem.classes)))  # (K, K − 1)

    def value_and_gradient(self, reduced: Array) -> tuple[Any, Array, Array]:
        """Return objective, gradient and probabilities, in extended precision."""
        scores = self.wide_columns @ (reduced @ self.basis.T)
        scores = scores - scores.max(axis=1, keepdims=True)
        exponentials = np.exp(scores)
        total = exponentials.sum(axis=1, keepdims=True)
        probability = exponentials / total
        losses = (self.target * (np.log(total) - scores)).sum(axis=1)
        value = self.share @ losses + (self.penalty[:, None] * reduced**2).sum() / 2
        residual = self.share[:, None] * (probability - self.target)
        gradient = self.wide_columns.T @ residual @ self.basis + self.penalty[:, None] * reduced
        return value, gradient, probability

    def hessian(self, probability: Array) -> Array:
        depth, free = len(self.penalty), self.basis.shape[1]
        p, share = probability.astype(np.float64), self.share.astype(np.float64)
        mixed = p @ self.basis
        curvature = np.einsum("nk,ka,kb->nab", p, self.basis, self.basis, optimize=True)
        curvature -= mixed[:, :, None] * mixed[:, None, :]
        hessian = np.empty((depth, free, depth, free))
        for a in range(free):
            for b in range(free):
                weighted = self.columns * (share * curvature[:, a, b])[:, None]
                hessian[:, a, :, b] = self.columns.T @ weighted
                if a == b:
                    hessian[:, a, :, b] += np.diag(self.penalty)
        return hessian.reshape(depth * free, depth * free)

    def minimize(self) -> tuple[Any, Array]:
        """Return the least objective and where it is."""
        reduced = np.zeros((len(self.penalty), self.basis.shape[1]), np.longdouble)
        value, gradient, probability = self.value_and_gradient(reduced)
        for _ in range(300):
            hessian = self.hessian(probability)
            units = 1 / np.sqrt(np.diag(hessian))
            scaled = hessian * np.outer(units, units)
            scaled[np.diag_indices_from(scaled)] += 1e-15 * len(scaled)
            right = (gradient.ravel() * units).astype(np.float64)
            step = -units * linalg.solve(scaled, right, assume_a="pos")
            step = step.reshape(gradient.shape)
            slope, length = (step * gradient).sum(), 1.0
            if not -slope > 1e-18 * value:
                break
            while length > 1e-12:
                trial = reduced + length * step
                found = self.value_and_gradient(trial)
                if found[0] <= value + 1e-4 * length * slope:
                    break
                length /= 2
            else:
                break
            reduced = trial
            value, gradient, probability = found
        return value, reduced

    def value_at(self, weight: Array, intercept: Array) -> Any:
        """Return the objective at weights (D, K) and intercept (K,) on the features as given."""
        # The objective is that of scores that sum to 0, plus what the penalty takes for the mean.
        weight = weight.astype(np.longdouble) * self.scale[:, None]
        rows = weight * self.units[:, None]
        if self.intercept:
            rows = np.vstack([rows, intercept + self.shift @ weight])
        mean = rows.mean(axis=1)
        penalty = (self.penalty * mean**2).sum() * rows.shape[1] / 2
        return self.value_and_gradient(rows @ self.basis)[0] + penalty


@cache
def truth(problem: Problem, dtype: type = np.float64) -> tuple[Oracle, Any]:
    """Return the problem's oracle, and its least objective."""
    oracle = Oracle(problem, data_of(problem, dtype))
    return oracle, oracle.minimize()[0]


def fitted(problem: Problem, dtype: type, tol: float) -> SoftmaxRegression:
    data = data_of(problem, dtype)
    X: Any = data.X.astype(dtype)
    if "sparse" in problem.traits:
        X = sparse.csr_array(X)
    # The oracle has a vector for each of two classes.
    model = SoftmaxRegression(C=problem.C, tol=tol, symmetric=True, **problem.options)
    with warnings.catch_warnings():
        # Whether it converged is what the tests ask of the objective itself.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(X, data.y, data.sample_weight)


def relative_excess(problem: Problem, model: SoftmaxRegression, dtype: type = np.float64) -> float:
    oracle, least = truth(problem, dtype)
    return float((oracle.value_at(model.coef_.T, model.intercept_) - least) / least)


@pytest.mark.parametrize("problem", PROBLEMS, ids=NAMES)
class TestThirtyProblems:
    def test_the_oracle_is_no_worse_than_newton_cholesky(self, problem: Problem) -> None:
        data, (oracle, least) = data_of(problem), truth(problem)
        # A sample with a distribution is K samples with weights.
        X = np.repeat(data.X / data.scale, problem.classes, axis=0)
        share = (data.share[:, None] * data.target).ravel()
        y = np.tile(np.arange(problem.classes), problem.count)
        counts = share > 0
        theirs = LogisticRegression(
            # Two classes share one vector of weights there: the penalty is twice as strong.
            C=2 * problem.C if problem.classes == 2 else problem.C,
            solver="newton-cholesky",
            tol=1e-12,
            max_iter=1000,
            fit_intercept=oracle.intercept,
        )
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            theirs.fit(X[counts], y[counts], share[counts])
        weight, intercept = theirs.coef_.T, theirs.intercept_
        if problem.classes == 2:
            weight = np.hstack([-weight / 2, weight / 2])
            intercept = np.array([-intercept[0], intercept[0]]) / 2
        excess = float((oracle.value_at(weight / data.scale[:, None], intercept) - least) / least)
        assert excess >= -ROUNDING
        if not caught:
            assert excess <= 1e-9

    def test_the_optimum_is_reached(self, problem: Problem) -> None:
        excess = relative_excess(problem, fitted(problem, np.float64, 1e-10))
        assert -ROUNDING <= excess <= 1e-9

    def test_the_proven_gap_is_never_too_small(self, problem: Problem) -> None:
        for tol in (1e-1, 1e-4, 1e-7, 1e-10):
            model = fitted(problem, np.float64, tol)
            report = model.fit_report_
            if report.proven:
                assert report.relative_gap >= relative_excess(problem, model) - ROUNDING

    def test_float64_is_proven_to_1e_10(self, problem: Problem) -> None:
        report = fitted(problem, np.float64, 1e-10).fit_report_
        assert (report.stopped, report.proven) == ("gap", True)
        assert report.relative_gap <= 1e-10

    def test_float32_ends_at_1e_6(self, problem: Problem) -> None:
        model = fitted(problem, np.float32, 1e-6)
        assert model.fit_report_.relative_gap <= 1e-6
        assert relative_excess(problem, model, np.float32) <= 1e-6


@pytest.mark.parametrize("C", [100.0, 1e4])
def test_classes_far_apart_in_float32(C: float) -> None:
    # A first step past the optimum leaves no loss, and no curvature to measure.
    generator = np.random.default_rng(0)
    y = generator.integers(40, size=2000)
    means = 4 * generator.normal(size=(40, 64))
    spectrum = np.arange(1, 65) ** -0.5
    X = (means[y] + generator.normal(size=(2000, 64))) * spectrum
    report = SoftmaxRegression(C=C).fit(X.astype(np.float32), y).fit_report_
    assert (report.stopped, report.proven) == ("gap", True)
    assert report.relative_gap <= 1e-6


def test_verbose_says_at_rounding_for_a_gap_that_rounding_makes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = [Progress("pass", 7, 0.25, 1.5, gap=gap).line() for gap in (-3e-9, 0.0, 1e-17)]
    lines.append(Progress("pass", 8, 0.25, 1.5, gap=1.25e-3).line())
    assert lines[:3] == ["pass    7   objective 0.250000000   gap at rounding   1.5 s"] * 3
    assert lines[3] == "pass    8   objective 0.250000000   gap 1.25e-03   1.5 s"
    X = np.random.default_rng(3).normal(size=(40, 3))
    SoftmaxRegression(tol=1e-15, verbose=1).fit(X, np.arange(40) % 3)
    assert "gap -" not in capsys.readouterr().out
