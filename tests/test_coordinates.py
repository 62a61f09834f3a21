"""Coordinate descent: the compiled sweeps do what the reference does, and both find minima."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize

from bridle.fit.solvers.entry_model import EntryModel
from bridle.fit.solvers.factor_model import FactorModel, factors_of
from bridle.kernels.numba import coordinates as compiled
from bridle.kernels.numpy import coordinates as reference


def model_of(seed: int, count: int, size: int = 1, free: int = 0) -> EntryModel:
    """Return a model of so many costly entries, in groups, and some free ones behind them."""
    random = np.random.default_rng(seed)
    whole = count - count % size + free
    root = random.normal(size=(whole + 3, whole)) * 10.0 ** random.uniform(-1, 1, whole)
    start = random.normal(size=whole) * (random.random(whole) < 0.5)
    if size > 1:
        start[: whole - free] *= np.repeat(random.random((whole - free) // size) < 0.5, size)
    cost = np.zeros(whole)
    cost[: whole - free] = np.repeat(random.uniform(0.1, 30, (whole - free) // size), size)
    return EntryModel(root.T @ root, 20 * random.normal(size=whole), start, cost, free, size)


def value(model: EntryModel, values: Any) -> float:
    step = values - model.start
    smooth = model.slope @ step + step @ model.matrix @ step / 2
    groups = values[: model.grouped_entries].reshape(-1, model.size)
    costs = model.cost[: model.grouped_entries : model.size]
    return float(smooth + costs @ np.linalg.norm(groups, axis=1))


@pytest.mark.parametrize("size", [1, 2, 5])
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(5, 23), free=st.integers(0, 3))
def test_compiled_sweeps_are_the_reference(size: int, seed: int, count: int, free: int) -> None:
    model = model_of(seed, count, size, free)
    found = []
    for kernels in (reference, compiled):
        values, slope = model.start.copy(), model.slope.copy()
        if size == 1:
            kernels.sweep(model.matrix, slope, values, model.cost)
        else:
            groups = np.arange(model.grouped_entries).reshape(-1, size)
            own = model.matrix[groups[:, :, None], groups[:, None, :]]
            eigen = np.linalg.eigh(own)
            kernels.sweep_groups(model.matrix, slope, values, model.cost, *eigen)
        found.append((values, slope))
    scale = np.abs(model.slope).max()
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(found[0][1], found[1][1], rtol=1e-7, atol=1e-9 * scale)
    assert value(model, found[0][0]) <= value(model, model.start) + 1e-9 * scale


@pytest.mark.parametrize("size", [1, 3])
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 20), free=st.integers(0, 2))
def test_minimum_of_a_model_leaves_no_slope_that_the_cost_does_not_allow(
    size: int, seed: int, count: int, free: int
) -> None:
    model = model_of(seed, max(count, size), size, free)
    found = model.minimum(1e-10)
    slope = model.slope + model.matrix @ (found - model.start)
    assert model.violation(found, slope) <= 1e-6 * np.abs(model.slope).max()
    # Convex: no point near it is better.
    random = np.random.default_rng(seed)
    least = value(model, found)
    for _ in range(20):
        other = found + random.normal(size=len(found)) * 10.0 ** random.uniform(-6, 0)
        assert value(model, other) >= least - 1e-9 * (1 + abs(least))


def test_large_models_are_minimised_by_compiled_sweeps() -> None:
    model = model_of(0, 400, 4, 3)
    model = replace(model, cost=5 * model.cost)
    found = model.minimum(1e-10)
    slope = model.slope + model.matrix @ (found - model.start)
    assert model.violation(found, slope) <= 1e-6 * np.abs(model.slope).max()
    assert (found == 0).any()


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), size=st.integers(1, 6), cost=st.floats(0, 3))
def test_minimum_of_a_group(seed: int, size: int, cost: float) -> None:
    random = np.random.default_rng(seed)
    curvature, slope = random.uniform(0.01, 5, size), random.normal(size=size)
    found = reference.group_minimum(curvature, slope, cost)

    def objective(v: Any) -> float:
        return float(slope @ v + curvature @ v**2 / 2 + cost * np.linalg.norm(v))

    other = optimize.minimize(objective, random.normal(size=size), method="Nelder-Mead")
    assert objective(found) <= other.fun + 1e-9
    if np.linalg.norm(slope) <= cost:
        assert not found.any()
    elif found.any():
        residual = slope + curvature * found + cost * found / np.linalg.norm(found)
        np.testing.assert_allclose(residual, 0, atol=1e-9)


def factor_model(
    seed: int, rows: int, classes: int, pairs: int, *, by_row: bool, first: int = 0
) -> tuple[FactorModel, Any]:
    """Return a model with some remembered steps, and its whole matrix."""
    random = np.random.default_rng(seed)
    # Not so badly conditioned that a hundred sweeps would not do.
    roots = random.normal(size=(4 * rows, rows)), random.normal(size=(4 * classes, classes))
    features, of_classes = (root.T @ root for root in roots)
    bent = np.kron(features, of_classes)
    bent = bent + np.diag(random.uniform(0, 2, len(bent)) * np.diagonal(bent))
    steps = random.normal(size=(pairs, rows, classes))
    told = [(step, (bent @ step.ravel()).reshape(rows, classes)) for step in steps]
    square, cost = random.uniform(0, 1, rows), random.uniform(0, 5, rows)
    square[-1] = cost[-1] = 0
    factors = factors_of(features, of_classes, told, square)
    basis = factors.basis.reshape(rows * classes, -1)
    weighted = factors.weighted_basis.reshape(rows * classes, -1)
    matrix = np.kron(factors.features, factors.classes) + basis @ weighted.T
    for step, change in told[-1:]:  # the secant equation
        np.testing.assert_allclose(matrix @ step.ravel(), change.ravel(), rtol=1e-6, atol=1e-6)
    start = random.normal(size=(rows, classes)) * (random.random((rows, 1)) < 0.6)
    start[:, :first] = 0
    slope = 10 * random.normal(size=(rows, classes))
    return FactorModel(factors, slope, start, cost, by_row, first), matrix


@pytest.mark.parametrize("by_row", [False, True])
@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    rows=st.integers(1, 9),
    classes=st.integers(2, 5),
    pairs=st.integers(0, 3),
)
def test_compiled_sweeps_over_factors_are_the_reference(
    by_row: bool, seed: int, rows: int, classes: int, pairs: int
) -> None:
    model, _ = factor_model(seed, rows, classes, pairs, by_row=by_row)
    for only_moving in (False, True):
        found = []
        for kernels in (reference, compiled):
            values = model.start.copy()
            slope = model.slope.T.copy()
            along = np.zeros(model.factors.basis.shape[-1])
            kernels.sweep_factors(
                model.factors, slope, along, values, model.cost, 0, by_row, only_moving
            )
            found.append((values, slope, along))
        for ours, theirs in zip(*found, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize(("by_row", "first"), [(False, 0), (False, 1), (True, 0)])
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(1, 9), pairs=st.integers(0, 3))
def test_minimum_of_a_model_of_factors(
    by_row: bool, first: int, seed: int, rows: int, pairs: int
) -> None:
    model, matrix = factor_model(seed, rows, 3, pairs, by_row=by_row, first=first)
    found = model.minimum(1e-6)

    def total(values: Any) -> float:
        step = (values - model.start).ravel()
        square = model.factors.square @ (values**2 - model.start**2).sum(axis=1) / 2
        linear = model.slope - model.factors.square[:, None] * model.start
        sizes = np.linalg.norm(values, axis=1) if by_row else np.abs(values).sum(axis=1)
        return float(linear.ravel() @ step + step @ matrix @ step / 2 + square + model.cost @ sizes)

    assert not found[:, :first].any()
    # The same model with its matrix whole, and without the classes before the first.
    kept = np.tile(np.arange(3) >= first, rows)
    whole = EntryModel(
        (matrix + np.diag(np.repeat(model.factors.square, 3)))[np.ix_(kept, kept)],
        model.slope.ravel()[kept],
        model.start.ravel()[kept],
        np.repeat(model.cost, 3)[kept],
        0,
        3 if by_row else 1,
    )
    best = np.zeros_like(found)
    best[:, first:] = whole.minimum(1e-11).reshape(rows, -1)
    assert total(found) <= total(best) + 0.01 * (total(model.start) - total(best)) + 1e-9


@pytest.mark.parametrize("by_row", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_a_model_of_features_that_repeat_each_other_is_minimised_too(
    by_row: bool, seed: int
) -> None:
    """As curvature between classes has it, a constant added to all of them is not bent at all."""
    random = np.random.default_rng(seed)
    rows, classes = 60, 4
    shared = random.normal(size=(300, 1))
    features = shared + 0.5 * random.normal(size=(300, rows))
    share = random.dirichlet(np.ones(classes))
    factors = factors_of(
        features.T @ features / 300, np.diag(share) - np.outer(share, share), [], np.zeros(rows)
    )
    slope = 0.1 * features.T @ random.normal(size=(300, classes)) / 300
    slope -= slope.mean(axis=1, keepdims=True)
    cost = np.full(rows, 2e-4)
    model = FactorModel(factors, slope, np.zeros_like(slope), cost, by_row, 0)
    tolerance = 3e-3 * model.violation(model.start, model.slope)
    found = model.minimum(tolerance)
    assert (found != 0).any()
    now = slope + factors.features @ found @ factors.classes
    assert model.violation(found, now) <= 1.001 * tolerance
