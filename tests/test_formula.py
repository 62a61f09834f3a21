"""The algebra of a row's loss: what it says, and that its derivatives are those of what it says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridle.formula import bending, outputs
from bridle.formula.row_loss import (
    Coefficients,
    Terms,
    asked_of_parts,
    coefficients,
    known_coefficients,
    row_loss,
    times,
    weighted,
)
from bridle.kernels.contract import RowParts
from bridle.kernels.numpy import row_kernels

CLASSES = 5
KINDS = ["index", "weighted index", "several", "distribution"]


def problem(seed: int, kind: str, rows: int = 4) -> tuple[Any, Any, RowParts, Any, Any]:
    """Return scores, the mass of every class (N, C), parts, gap and mass of a target."""
    random = np.random.default_rng(seed)
    scores = 2 * random.normal(size=(rows, CLASSES))
    weight = random.uniform(0.5, 2, CLASSES)
    index = random.integers(0, CLASSES, rows)
    dense = np.zeros((rows, CLASSES))
    if kind == "distribution":
        target = random.dirichlet(np.ones(CLASSES), rows)
        parts = row_kernels.row_parts(scores, target, weight=weight, smoothing=True)
        return scores, target * weight, parts, parts.gap, None
    if kind == "several":
        columns = np.stack([index, (index + 1) % CLASSES], axis=1)
        mass = random.uniform(0, 1, (rows, 2)) * weight[columns]
        np.put_along_axis(dense, columns, mass, 1)
        parts = row_kernels.row_parts(scores, np.full(rows, -1), weight=weight, smoothing=True)
        gap = parts.maximum[:, None] - np.take_along_axis(scores, columns, 1)
        return scores, dense, parts, gap, mass
    own = weight[index] if kind == "weighted index" else None
    dense[np.arange(rows), index] = 1 if own is None else own
    parts = row_kernels.row_parts(scores, index, weight=weight, smoothing=True)
    return scores, dense, parts, parts.gap, own


def weights_of(seed: int, rows: int = 4) -> Any:
    random = np.random.default_rng(seed)
    random.normal(size=(rows, CLASSES))
    return random.uniform(0.5, 2, CLASSES)


@pytest.mark.parametrize("kind", KINDS)
@given(
    seed=st.integers(0, 2**32 - 1),
    smoothing=st.sampled_from([0.0, 0.1, 1.0]),
    z_loss=st.sampled_from([0.0, 0.3]),
)
def test_the_loss_is_what_its_formula_says(
    kind: str, seed: int, smoothing: float, z_loss: float
) -> None:
    scores, mass, parts, gap, own = problem(seed, kind)
    log_sum_exp = np.log(np.exp(scores).sum(axis=1))
    log_p = scores - log_sum_exp[:, None]
    even = weights_of(seed) / CLASSES
    expected = -((1 - smoothing) * mass + smoothing * even) * log_p
    expected = expected.sum(axis=1) + z_loss * log_sum_exp**2
    found = row_loss(np, parts, gap, own, Terms(smoothing, z_loss))
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@given(
    seed=st.integers(0, 2**32 - 1),
    smoothing=st.sampled_from([0.0, 0.1, 1.0]),
    z_loss=st.sampled_from([0.0, 0.3]),
    z_share=st.sampled_from([None, 0.5]),
)
def test_the_coefficients_are_its_derivatives(
    kind: str, seed: int, smoothing: float, z_loss: float, z_share: float | None
) -> None:
    _, _, parts, gap, own = problem(seed, kind)
    share = np.random.default_rng(seed).uniform(0, 2, len(gap))
    terms = Terms(smoothing, z_loss, z_share)

    def total(log_sum: Any, smooth_gap: Any, own_gap: Any) -> Any:
        moved = parts._replace(log_sum=log_sum, smooth_gap=smooth_gap)
        return share * row_loss(np, moved, own_gap, own, terms)

    step = 1e-6
    given_parts = (parts.log_sum, parts.smooth_gap, gap)
    a, b, s, t = coefficients(np, parts, own, terms, share)
    assert b is None
    for place, asked in ((0, a), (1, s if s is not None else np.zeros(len(gap)))):
        ahead, behind = (
            total(*(x + sign * step * (k == place) for k, x in enumerate(given_parts)))
            for sign in (1, -1)
        )
        np.testing.assert_allclose(asked, (ahead - behind) / (2 * step), rtol=1e-7, atol=1e-7)
    for column in range(1 if gap.ndim == 1 else gap.shape[1]):
        unit = np.ones_like(gap) if gap.ndim == 1 else np.eye(gap.shape[1])[column]
        ahead, behind = (
            total(parts.log_sum, parts.smooth_gap, gap + sign * step * unit) for sign in (1, -1)
        )
        own_t = t if gap.ndim == 1 else t[:, column]
        np.testing.assert_allclose(own_t, (ahead - behind) / (2 * step), rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("kind", ["index", "weighted index"])
def test_what_is_known_before_the_parts_is_a_part_of_them(kind: str) -> None:
    _, _, parts, _, own = problem(3, kind)
    share = np.array([0.0, 1.0, 2.0, 0.5])
    at_target, spread = known_coefficients(own, Terms(0.2), share)
    found = coefficients(np, parts, own, Terms(0.2), share)
    np.testing.assert_allclose(at_target, found.t)
    np.testing.assert_allclose(spread / parts.allowed, found.s)
    assert known_coefficients(own, Terms(), share)[1] is None


def test_no_mass_asks_nothing_and_a_broken_row_says_so() -> None:
    values = np.array([np.inf, np.nan, np.inf, 2.0])
    mass = np.array([0.0, 0.0, 1.0, 3.0])
    np.testing.assert_array_equal(times(np, mass, values), [0, np.nan, np.inf, 6])
    np.testing.assert_array_equal(weighted(np, mass, values), [0, 0, np.inf, 6])


def test_the_entropys_gradient() -> None:
    scores, _, _, _, _ = problem(1, "index")
    parts = row_kernels.row_parts(scores, np.zeros(4, int), entropy=True)
    p = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    expected = -(p * np.log(p)).sum(axis=1)
    np.testing.assert_allclose(outputs.entropy(parts), expected, rtol=1e-12)
    # As composed of the parts, the entropy asks 1 of log_sum and of mean_gap.
    one = np.ones(4)
    a, b, s, t = asked_of_parts(np, one, None, None, one, expected)
    gradient = p * (a[:, None] + b[:, None] * np.log(p))
    assert s is None
    assert t is None
    np.testing.assert_allclose(gradient, -p * (np.log(p) + expected[:, None]), atol=1e-14)


def test_coefficients_of_some_rows() -> None:
    asked = Coefficients(np.ones(1), None, np.arange(4.0), None)
    some = asked.of_rows(slice(1, 3))
    assert some.a.tolist() == [1]
    assert some.s.tolist() == [1, 2]


@given(score=st.floats(-50, 50), cap=st.floats(0.5, 30), temperature=st.floats(0.1, 10))
def test_the_slope_is_that_of_the_bend(score: float, cap: float, temperature: float) -> None:
    at, step = np.array([score]), 1e-5
    ahead, behind = (bending.bent(np, at + sign * step, temperature, cap) for sign in (1, -1))
    found = bending.slope(np, at, temperature, cap)
    np.testing.assert_allclose(found, (ahead - behind) / (2 * step), rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("kind", KINDS)
def test_both_worlds_say_the_same(kind: str) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is an extra")
    _, _, parts, gap, own = problem(7, kind)
    there = RowParts(*(None if each is None else torch.tensor(each) for each in parts))
    own_there = None if own is None else torch.tensor(own)
    terms, share = Terms(0.1, 0.2), np.array([0.0, 1.0, 2.0, 0.5])
    loss = row_loss(torch, there, torch.tensor(gap), own_there, terms)
    np.testing.assert_allclose(loss.numpy(), row_loss(np, parts, gap, own, terms), rtol=1e-14)
    asked = coefficients(torch, there, own_there, terms, torch.tensor(share))
    expected = coefficients(np, parts, own, terms, share)
    for one, other in zip(asked, expected, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            np.testing.assert_allclose(one.numpy(), other, rtol=1e-14)
