"""The two losses of outputs that know nothing of each other."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bridle
import oracle
from bridle.checks import Reduction

Array = npt.NDArray[Any]

INFINITY = float("inf")
REDUCTIONS: list[Reduction] = ["mean", "sum", "none"]
SHAPES = [(), (1,), (7,), (0,), (5, 3), (0, 3), (2, 3, 5)]


def reduced(
    losses: Array, gradient: Array, reduction: Reduction, count: int
) -> tuple[Array, Array]:
    if reduction == "none":
        return losses, gradient
    return (losses.sum(), gradient) if reduction == "sum" else (losses.mean(), gradient / count)


def compute_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    half = dtype.name in ("float16", "bfloat16")
    return np.dtype(np.float32) if half else dtype


# --- binary cross-entropy -----------------------------------------------------------------------


def binary_oracle(
    scores: Array, target: Array, weight: Array | float = 1.0, pos_weight: Array | float = 1.0
) -> tuple[Array, Array]:
    z, t = oracle.long(scores), oracle.long(target)
    positive, negative = oracle.long(pos_weight) * t * weight, (1 - t) * weight
    # log σ(z) = min(z, 0) − log(1 + exp(−|z|))
    log_yes = np.minimum(z, 0) - np.log1p(np.exp(-np.abs(z)))
    log_no = np.minimum(-z, 0) - np.log1p(np.exp(-np.abs(z)))
    losses = -(positive * log_yes + negative * log_no)
    return losses, negative * np.exp(log_yes) - positive * np.exp(log_no)


@pytest.mark.parametrize("dtype", oracle.FLOAT_DTYPES, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("layout", oracle.LAYOUTS)
def test_binary_is_the_oracle_s(layout: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    rng = np.random.default_rng(0)
    plain = (rng.normal(size=shape) * 20).astype(dtype)
    scores = oracle.LAYOUTS[layout](plain)
    target = oracle.LAYOUTS[layout](np.asarray(rng.random(shape)))
    columns = shape[-1:]
    weighted: dict[str, Any] = {
        "weight": rng.random(columns) + 0.1,
        "pos_weight": rng.random(columns) * 5,
    }
    options: dict[str, Any]
    for options in ({}, weighted):
        exact = binary_oracle(plain, target, **options)
        for reduction in REDUCTIONS:
            if reduction == "mean" and scores.size == 0:
                continue
            right = reduced(*exact, reduction, scores.size)
            loss, gradient = bridle.binary_cross_entropy_gradient(
                scores, target, **options, reduction=reduction
            )
            assert loss.dtype == compute_dtype(dtype)
            oracle.assert_close(loss, right[0], loss.dtype)
            assert gradient.shape == shape
            oracle.assert_close(gradient, right[1], dtype, scale=5)
            alone = bridle.binary_cross_entropy(scores, target, **options, reduction=reduction)
            np.testing.assert_array_equal(alone, loss)
    np.testing.assert_array_equal(oracle.long(scores), oracle.long(plain))


@given(seed=st.integers(0, 2**32), rows=st.integers(1, 9))
def test_binary_is_cross_entropy_of_the_score_against_zero(seed: int, rows: int) -> None:
    rng = np.random.default_rng(seed)
    scores, target = rng.normal(size=rows) * 10, rng.random(rows)
    pairs, answers = np.stack([scores, 0 * scores], 1), np.stack([target, 1 - target], 1)
    loss, gradient = bridle.binary_cross_entropy_gradient(scores, target)
    right, right_gradient = bridle.cross_entropy_gradient(pairs, answers)
    np.testing.assert_allclose(loss, right, rtol=1e-13)
    np.testing.assert_allclose(gradient, right_gradient[:, 0], rtol=1e-12, atol=1e-15)


@given(seed=st.integers(0, 2**32), reduction=st.sampled_from(["mean", "sum"]))
def test_the_binary_gradient_is_the_central_difference(seed: int, reduction: Reduction) -> None:
    rng = np.random.default_rng(seed)
    scores, target = rng.normal(size=(3, 2)) * 3, rng.random((3, 2))
    options: dict[str, Any] = {
        "weight": rng.random((3, 1)),
        "pos_weight": rng.random(2) * 3,
        "reduction": reduction,
    }
    _, gradient = bridle.binary_cross_entropy_gradient(scores, target, **options)
    for at in np.ndindex(scores.shape):
        move = np.zeros(scores.shape)
        move[at] = 1e-5
        up = bridle.binary_cross_entropy(scores + move, target, **options)
        down = bridle.binary_cross_entropy(scores - move, target, **options)
        np.testing.assert_allclose(gradient[at], (up - down) / 2e-5, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("dtype", oracle.FLOAT_DTYPES, ids=str)
def test_binary_at_infinite_and_broken_scores(dtype: np.dtype[Any]) -> None:
    scores = np.array([INFINITY, -INFINITY, INFINITY, -INFINITY, INFINITY, np.nan, 0]).astype(dtype)
    target = [1, 0, 0, 1, 0.5, 1, 1]
    loss, gradient = bridle.binary_cross_entropy_gradient(scores, target, reduction="none")
    np.testing.assert_allclose(
        loss.astype(float), [0, 0, INFINITY, INFINITY, INFINITY, np.nan, np.log(2)], rtol=1e-7
    )
    np.testing.assert_array_equal(gradient.astype(float), [0, 0, 1, -1, 0.5, np.nan, -0.5])


def test_binary_at_the_largest_and_the_smallest_numbers() -> None:
    for dtype, large in (("float16", 65504.0), ("float32", 1e38), ("float64", 1e308)):
        scores = np.array([large, -large], dtype)
        loss = bridle.binary_cross_entropy(scores, [0, 1], reduction="none")
        np.testing.assert_array_equal(loss, [scores[0]] * 2)
        np.testing.assert_array_equal(
            bridle.binary_cross_entropy(scores, [1, 0], reduction="none"), [0, 0]
        )
    loss, gradient = bridle.binary_cross_entropy_gradient([40.0, -40.0], [1, 0], reduction="none")
    np.testing.assert_allclose(loss, np.log1p(np.exp(-40.0)), rtol=1e-15)
    np.testing.assert_allclose(gradient, [-np.exp(-40.0), np.exp(-40.0)], rtol=1e-14)


def test_binary_accepts_answers_of_any_kind() -> None:
    scores = np.array([[1.0, -2], [0.5, 3]])
    right = bridle.binary_cross_entropy(scores, np.array([[1.0, 0], [0, 1]]))
    for dtype in ("bool", "int8", "uint64", "float16", "longdouble"):
        answers = np.array([[1, 0], [0, 1]], dtype)
        assert bridle.binary_cross_entropy(scores, answers) == right
    assert bridle.binary_cross_entropy(scores, [[True, False], [False, True]]) == right


def test_a_binary_mean_over_nothing_is_nan_as_in_torch() -> None:
    loss, gradient = bridle.binary_cross_entropy_gradient(np.zeros((0, 3)), np.zeros((0, 3)))
    assert np.isnan(loss)
    assert gradient.shape == (0, 3)
    assert bridle.binary_cross_entropy([], [], reduction="sum") == 0


def test_binary_losses_that_the_dtype_cannot_hold_are_infinite() -> None:
    scores = np.array([5.0, 5.0], np.float32)
    loss = bridle.binary_cross_entropy(scores, [0, 1], [1e38, 0], reduction="none")
    np.testing.assert_array_equal(loss, [INFINITY, 0])
    loss = bridle.binary_cross_entropy(scores, [1, 1], [1e38], pos_weight=[1e38, 0])
    assert loss == INFINITY


def test_binary_takes_unchecked_values_as_they_are() -> None:
    loss = bridle.binary_cross_entropy([1.0], [2.0], check=False)
    np.testing.assert_allclose(loss, -2 * bridle.log_sigmoid(1.0) + bridle.log_sigmoid(-1.0))


# --- quadratic loss -----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", oracle.FLOAT_DTYPES, ids=str)
@pytest.mark.parametrize("shape", SHAPES[1:], ids=str)
@pytest.mark.parametrize("layout", oracle.LAYOUTS)
def test_quadratic_is_the_oracle_s(
    layout: str, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> None:
    rng = np.random.default_rng(0)
    plain = rng.normal(size=shape).astype(dtype)
    output = oracle.LAYOUTS[layout](plain)
    target = oracle.LAYOUTS[layout](np.asarray(rng.integers(0, 2, shape)))
    error = oracle.long(plain) - target
    losses = (error**2).sum(axis=-1) / 2
    for reduction in REDUCTIONS:
        if reduction == "mean" and losses.size == 0:
            continue
        right = reduced(losses, error, reduction, losses.size)
        loss, gradient = bridle.quadratic_loss_gradient(output, target, reduction=reduction)
        assert loss.dtype == compute_dtype(dtype)
        oracle.assert_close(loss, right[0], loss.dtype)
        assert gradient.dtype == output.dtype
        oracle.assert_close(gradient, right[1], dtype, scale=1)
        alone = bridle.quadratic_loss(output, target, reduction=reduction)
        np.testing.assert_array_equal(alone, loss)
    np.testing.assert_array_equal(oracle.long(output), oracle.long(plain))


@given(seed=st.integers(0, 2**32), reduction=st.sampled_from(["mean", "sum"]))
def test_the_quadratic_gradient_is_the_central_difference(seed: int, reduction: Reduction) -> None:
    rng = np.random.default_rng(seed)
    output, target = rng.normal(size=(3, 2)), rng.random((3, 2))
    _, gradient = bridle.quadratic_loss_gradient(output, target, reduction=reduction)
    for at in np.ndindex(output.shape):
        move = np.zeros(output.shape)
        move[at] = 1e-4
        up = bridle.quadratic_loss(output + move, target, reduction=reduction)
        down = bridle.quadratic_loss(output - move, target, reduction=reduction)
        np.testing.assert_allclose(gradient[at], (up - down) / 2e-4, rtol=1e-7, atol=1e-9)


def test_a_broken_row_of_outputs_touches_no_other() -> None:
    output = np.array([[np.nan, 0], [INFINITY, 0], [INFINITY, 0], [1, 0]])
    target = np.array([[0.0, 0], [0, 0], [INFINITY, 0], [0, 0]])
    loss, gradient = bridle.quadratic_loss_gradient(output, target, reduction="none")
    np.testing.assert_array_equal(loss, [np.nan, INFINITY, np.nan, 0.5])
    np.testing.assert_array_equal(gradient, [[np.nan, 0], [INFINITY, 0], [np.nan, 0], [1, 0]])


def test_the_largest_outputs_give_infinity_and_no_warning() -> None:
    output = np.array([[3e38, 0], [1e30, 0], [1, 0]], np.float32)
    loss, gradient = bridle.quadratic_loss_gradient(output, -output, reduction="none")
    np.testing.assert_array_equal(loss, [INFINITY, INFINITY, 2])
    np.testing.assert_array_equal(gradient[:, 0], np.array([INFINITY, 2e30, 2], np.float32))


def test_a_million_squares_are_summed_wider_than_they_are_kept() -> None:
    output = np.full((1_000_003, 2), 0.1, np.float32).T
    loss = bridle.quadratic_loss(output, np.zeros_like(output), reduction="none")
    np.testing.assert_allclose(loss, 1_000_003 * float(np.float32(0.1)) ** 2 / 2, rtol=1e-6)


def test_a_quadratic_mean_over_nothing_is_nan() -> None:
    loss, gradient = bridle.quadratic_loss_gradient(np.zeros((0, 3)), np.zeros((0, 3)))
    assert np.isnan(loss)
    assert gradient.shape == (0, 3)
    assert bridle.quadratic_loss(np.zeros((2, 0)), np.zeros((2, 0))) == 0
