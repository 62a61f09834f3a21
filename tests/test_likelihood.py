"""Negative log-likelihood, its sum and the product: one preference under three names."""

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
from problems import Problem, problems

Array = npt.NDArray[Any]

INFINITY = float("inf")
FLOAT64 = [np.dtype(np.float64)]
REDUCTIONS = st.sampled_from(["mean", "sum", "none"])


def class_axis(values: Array) -> int:
    return min(values.ndim - 1, 1)


def test_the_example_of_the_documentation() -> None:
    loss = bridle.nll([[0.1, 0.3, 0.6], [0.2, 0.3, 0.5]], [0, 2], reduction="none")
    np.testing.assert_array_equal(loss.round(8), [2.30258509, 0.69314718])


@given(problem=problems(dtypes=FLOAT64, layouts=True), reduction=REDUCTIONS)
def test_nll_of_the_softmax_is_the_cross_entropy_of_the_scores(
    problem: Problem, reduction: Reduction
) -> None:
    scores = np.maximum(problem.scores, -200)  # exp(−745) is 0: what nll has lost, scores have not
    scores = np.where(problem.scores == -np.inf, -np.inf, scores)
    probabilities = bridle.softmax(scores, axis=class_axis(scores))
    options = {**problem.options, "reduction": reduction}
    np.testing.assert_allclose(
        bridle.nll(probabilities, problem.target, **options),
        bridle.cross_entropy(scores, problem.target, **options),
        rtol=1e-12,
        atol=1e-15,
    )


@pytest.mark.parametrize("dtype", oracle.FLOAT_DTYPES, ids=str)
@pytest.mark.parametrize("layout", oracle.LAYOUTS)
def test_any_dtype_and_layout_will_do(layout: str, dtype: np.dtype[Any]) -> None:
    rng = np.random.default_rng(0)
    probabilities = bridle.softmax(rng.normal(size=(5, 3, 2)).astype(dtype), axis=1)
    target = rng.integers(0, 3, (5, 2))
    right = -np.log(np.take_along_axis(oracle.long(probabilities), target[:, None], 1)[:, 0])
    laid = oracle.LAYOUTS[layout](probabilities)
    found = bridle.nll(laid, oracle.LAYOUTS[layout](target), reduction="none")
    half = dtype.name in ("float16", "bfloat16")
    assert found.dtype == (np.float32 if half else dtype)
    oracle.assert_close(found, right, found.dtype)
    oracle.assert_close(bridle.log_likelihood(laid, target), -right.sum(), found.dtype)
    oracle.assert_close(bridle.likelihood(laid, target), np.exp(-right.sum()), found.dtype, 64)
    np.testing.assert_array_equal(oracle.long(laid), oracle.long(probabilities))


@pytest.mark.parametrize("dtype", oracle.FLOAT_DTYPES, ids=str)
@pytest.mark.parametrize("classes", [2, 1009, 100_003, 1_000_003])
def test_every_softmax_is_accepted_however_many_classes_were_rounded(
    classes: int, dtype: np.dtype[Any]
) -> None:
    # The steps of a half near 1e-6 are 6e-8: a million roundings to the same side add up.
    probabilities = bridle.softmax(np.zeros((1, classes), dtype))
    loss = bridle.nll(probabilities, [0])
    np.testing.assert_allclose(float(loss), np.log(classes), rtol=5e-3)


def test_a_strided_sum_of_many_classes_is_no_reason_to_refuse() -> None:
    # NumPy sums along axis 1 of three axes term by term: 1.001 in float32.
    probabilities = np.full((1, 100_003, 3), 1 / 100_003, np.float32)
    loss = bridle.nll(probabilities, [[0, 5, 100_002]])
    np.testing.assert_allclose(loss, np.log(100_003), rtol=1e-6)


def test_the_tolerance_of_a_dtype_holds_in_either_byte_order() -> None:
    probabilities = np.array([[0.5, 0.50005]], np.float32)
    for order in "<>":
        assert bridle.nll(probabilities.astype(f"{order}f4"), [0]) == np.float32(np.log(2))


def test_probability_zero_at_the_target_is_infinite_in_every_dtype() -> None:
    for dtype in oracle.FLOAT_DTYPES:
        probabilities = np.array([[0, 1], [0.5, 0.5]]).astype(dtype)
        found = bridle.nll(probabilities, [0, 1], reduction="none")
        assert found[0] == INFINITY
        np.testing.assert_allclose(float(found[1]), np.log(2), rtol=1e-7)
        assert bridle.nll(probabilities, [0, 1]) == INFINITY
        assert bridle.log_likelihood(probabilities, [0, 1]) == -INFINITY
        assert bridle.likelihood(probabilities, [0, 1]) == 0


def test_no_probability_is_clipped() -> None:
    for probability in (1e-8, 1e-17, 1e-300, 5e-324):
        loss = bridle.nll([[probability, 1 - probability]], [0])
        np.testing.assert_allclose(loss, -np.log(probability), rtol=1e-15)


def test_the_certain_target_has_loss_zero_without_a_sign() -> None:
    for found in (
        bridle.nll([[1.0, 0.0]], [0]),
        bridle.nll([1.0, 0.0], 0),
        bridle.nll([1.0], 0, reduction="none"),
        bridle.log_likelihood([[1.0, 0.0]], [0]),
        bridle.log_likelihood(np.zeros((0, 2)), []),
    ):
        assert found == 0
        assert not np.signbit(found)


def test_smoothing_gives_no_share_to_a_class_of_probability_zero() -> None:
    probabilities = [[0.25, 0.0, 0.75]]
    found = bridle.nll(probabilities, [0], label_smoothing=0.2)
    np.testing.assert_allclose(found, -(0.9 * np.log(0.25) + 0.1 * np.log(0.75)), rtol=1e-15)


@given(seed=st.integers(0, 2**32), models=st.integers(1, 9), rows=st.integers(1, 9))
def test_likelihood_and_its_logarithm_prefer_the_same_model(
    seed: int, models: int, rows: int
) -> None:
    rng = np.random.default_rng(seed)
    target = rng.integers(0, 3, rows)
    family = bridle.softmax(rng.normal(size=(models, rows, 3)))
    products = [bridle.likelihood(model, target) for model in family]
    sums = [bridle.log_likelihood(model, target) for model in family]
    losses = [bridle.nll(model, target) for model in family]
    assert np.argmax(products) == np.argmax(sums) == np.argmin(losses)
    np.testing.assert_allclose(products, np.exp(sums), rtol=1e-12)
    np.testing.assert_allclose(sums, -rows * np.array(losses), rtol=1e-12)
    by_hand = family[:, np.arange(rows), target].prod(axis=1)
    np.testing.assert_allclose(products, by_hand, rtol=1e-12)


@given(seed=st.integers(0, 2**32), rows=st.integers(1, 5))
def test_the_gradients_of_both_point_the_same_way(seed: int, rows: int) -> None:
    """∇L = L · ∇ log L, and ∇ log L = −(softmax − one_hot)."""
    rng = np.random.default_rng(seed)
    scores, target = rng.normal(size=(rows, 3)), rng.integers(0, 3, rows)
    step = 1e-6

    def difference(function: Any) -> Array:
        slopes = np.empty(scores.shape)
        for at in np.ndindex(scores.shape):
            move = np.zeros(scores.shape)
            move[at] = step
            up, down = bridle.softmax(scores + move), bridle.softmax(scores - move)
            slopes[at] = (function(up, target) - function(down, target)) / (2 * step)
        return slopes

    _, loss_gradient = bridle.cross_entropy_gradient(scores, target, reduction="sum")
    of_logarithm = difference(bridle.log_likelihood)
    np.testing.assert_allclose(of_logarithm, -loss_gradient, atol=1e-7)
    product = bridle.likelihood(bridle.softmax(scores), target)
    of_product = difference(bridle.likelihood)
    np.testing.assert_allclose(of_product, product * of_logarithm, rtol=1e-5, atol=1e-9)


def test_only_the_sum_of_logarithms_survives_many_samples() -> None:
    probabilities = np.full((2000, 2), 0.5)
    target = np.zeros(2000, int)
    assert bridle.likelihood(probabilities, target) == 0
    np.testing.assert_allclose(
        bridle.log_likelihood(probabilities, target), -2000 * np.log(2), rtol=1e-14
    )


def test_the_likelihood_of_nothing_is_one() -> None:
    assert bridle.likelihood(np.zeros((0, 3)), []) == 1
    assert bridle.log_likelihood(np.zeros((0, 3)), []) == 0


def test_unchecked_rows_are_taken_as_they_are() -> None:
    loss = bridle.nll([[2.0, 0.5], [-1.0, 2.0]], [1, 0], reduction="none", check=False)
    np.testing.assert_allclose(loss[0], np.log(2), rtol=1e-15)
    assert np.isnan(loss[1])


def test_no_option_of_the_machinery_leaks_out() -> None:
    with pytest.raises(TypeError, match="gradient"):
        bridle.nll([[0.5, 0.5]], [0], gradient=True)  # type: ignore[call-overload]
