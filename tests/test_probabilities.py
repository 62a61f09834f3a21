"""Scores become probabilities: against the oracle, by law, and at the edge of every dtype."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bridle
import oracle

Array = npt.NDArray[Any]

SHAPES = [(1,), (2,), (7,), (3, 5), (5, 1), (1, 13), (2, 3, 4), (0, 3), (3, 0), (2, 0, 3)]
INFINITY = float("inf")


def make_scores(seed: int, shape: tuple[int, ...], dtype: npt.DTypeLike = np.float64) -> Array:
    """Return scores that a half can hold, a tenth of them masked."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(scale=5, size=shape)
    return np.where(rng.random(shape) < 0.1, -np.inf, scores).astype(dtype)


def oracle_log_softmax(scores: Array, axis: int) -> Array:
    rows = np.moveaxis(oracle.long(scores), axis, -1)
    result = np.full(rows.shape, np.nan, oracle.Long)
    for at in np.ndindex(rows.shape[:-1]):
        if rows.shape[-1] and rows[at].max() > -np.inf:
            result[at] = rows[at] - oracle.logsumexp(rows[at])
    return np.moveaxis(result, -1, axis)


@pytest.mark.parametrize("dtype", oracle.FLOAT_DTYPES, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_softmax_family_is_right_in_every_dtype_along_every_axis(
    shape: tuple[int, ...], dtype: np.dtype[Any]
) -> None:
    scores = make_scores(sum(shape), shape, dtype)
    for axis in range(-len(shape), len(shape)):
        right = oracle_log_softmax(scores, axis)
        log_softmax = bridle.log_softmax(scores, axis=axis)
        softmax = bridle.softmax(scores, axis=axis)
        assert log_softmax.dtype == softmax.dtype == dtype
        assert log_softmax.shape == softmax.shape == shape
        # log p = z − m − log Σ: rounded where the scores are largest, so relative to those.
        oracle.assert_close(log_softmax, right, dtype, scale=1)
        # exp turns the absolute error of a logarithm (up to 60 here) into a relative one.
        oracle.assert_close(softmax, np.exp(right), dtype, ulps=64)


@pytest.mark.parametrize("dtype", oracle.FLOAT_DTYPES, ids=str)
@pytest.mark.parametrize("axis", [-1, 0, 1, (0, 2), None], ids=str)
@pytest.mark.parametrize("keepdims", [False, True])
def test_logsumexp_is_right_over_one_axis_several_or_all(
    axis: int | tuple[int, ...] | None, keepdims: bool, dtype: np.dtype[Any]
) -> None:
    scores = make_scores(3, (5, 3, 7), dtype)
    found = bridle.logsumexp(scores, axis=axis, keepdims=keepdims)
    right = np.log(np.exp(oracle.long(scores)).sum(axis=axis, keepdims=keepdims))
    assert found.dtype == dtype
    assert found.shape == right.shape
    oracle.assert_close(found, right, dtype, scale=1)


@pytest.mark.parametrize("layout", oracle.LAYOUTS)
@pytest.mark.parametrize("dtype", oracle.FLOAT_DTYPES, ids=str)
def test_any_layout_gives_the_same_and_is_not_written_to(layout: str, dtype: np.dtype[Any]) -> None:
    plain = make_scores(1, (4, 5, 3), dtype)
    laid = oracle.LAYOUTS[layout](plain)
    for function in (
        bridle.softmax,
        bridle.log_softmax,
        bridle.logsumexp,
        bridle.sigmoid,
        bridle.log_sigmoid,
        bridle.predicted_class,
    ):
        for axis in (0, 2):
            options: dict[str, Any] = {}
            if "sigmoid" not in function.__name__:
                options["axis"] = axis
            found = function(laid, **options)
            assert type(found) is not np.memmap
            np.testing.assert_array_equal(oracle.long(laid), oracle.long(plain))
            oracle.assert_close(found, function(plain, **options), dtype, ulps=2, scale=1)


def test_lists_integers_and_booleans_become_float64() -> None:
    for scores in ([[1, 2], [3, 5]], np.array([[1, 2], [3, 5]], np.uint8)):
        found = bridle.softmax(scores)
        assert found.dtype == np.float64
        np.testing.assert_array_equal(found, bridle.softmax(np.array(scores, np.float64)))
    assert bridle.sigmoid(True) == bridle.sigmoid(1.0)
    assert bridle.logsumexp([False, True]).dtype == np.float64


def test_the_caller_s_float64_array_is_never_the_workspace() -> None:
    scores = np.array([[1.0, 2.0], [5.0, 3.0]])
    before = scores.copy()
    for found in (
        bridle.softmax(scores),
        bridle.softmax(scores, temperature=2.0),
        bridle.log_softmax(scores),
        bridle.sigmoid(scores),
        bridle.log_sigmoid(scores),
    ):
        found[...] = -1
        np.testing.assert_array_equal(scores, before)


@given(seed=st.integers(0, 2**32), rows=st.integers(1, 7), classes=st.integers(1, 11))
def test_softmax_sums_to_one_and_is_the_exponential_of_log_softmax(
    seed: int, rows: int, classes: int
) -> None:
    scores = np.random.default_rng(seed).normal(scale=20, size=(rows, classes))
    probabilities = bridle.softmax(scores)
    np.testing.assert_allclose(probabilities.sum(axis=-1), 1, rtol=1e-14)
    assert (probabilities >= 0).all()
    assert (probabilities <= 1).all()
    np.testing.assert_allclose(np.exp(bridle.log_softmax(scores)), probabilities, rtol=1e-13)


@given(
    seed=st.integers(0, 2**32),
    classes=st.integers(1, 11),
    shift=st.integers(-(2**30), 2**30),
)
def test_a_common_shift_changes_nothing(seed: int, classes: int, shift: int) -> None:
    # Integer scores: the shifted ones are exact too, so that equality may be asked for.
    scores = np.random.default_rng(seed).integers(-20, 20, classes).astype(np.float64)
    np.testing.assert_array_equal(bridle.softmax(scores + shift), bridle.softmax(scores))
    np.testing.assert_array_equal(bridle.log_softmax(scores + shift), bridle.log_softmax(scores))


@given(seed=st.integers(0, 2**32), classes=st.integers(1, 11))
def test_permuted_classes_give_permuted_probabilities(seed: int, classes: int) -> None:
    rng = np.random.default_rng(seed)
    scores, order = rng.normal(size=(3, classes)), rng.permutation(classes)
    np.testing.assert_allclose(
        bridle.softmax(scores[:, order]), bridle.softmax(scores)[:, order], rtol=1e-14
    )
    np.testing.assert_allclose(
        bridle.logsumexp(scores[:, order]), bridle.logsumexp(scores), rtol=1e-14
    )


@given(seed=st.integers(0, 2**32), classes=st.integers(2, 11), data=st.data())
def test_a_masked_class_is_a_class_left_out(seed: int, classes: int, data: st.DataObject) -> None:
    scores = np.random.default_rng(seed).normal(size=(3, classes))
    gone = data.draw(st.integers(0, classes - 1))
    scores[:, gone] = -np.inf
    left = np.delete(scores, gone, axis=1)
    probabilities = bridle.softmax(scores)
    assert (probabilities[:, gone] == 0).all()
    np.testing.assert_allclose(
        np.delete(probabilities, gone, axis=1), bridle.softmax(left), rtol=1e-15
    )
    np.testing.assert_allclose(bridle.logsumexp(scores), bridle.logsumexp(left), rtol=1e-15)
    assert (bridle.log_softmax(scores)[:, gone] == -np.inf).all()


@given(seed=st.integers(0, 2**32), classes=st.integers(2, 20), data=st.data())
def test_the_parts_of_a_vocabulary_merge(seed: int, classes: int, data: st.DataObject) -> None:
    scores = np.random.default_rng(seed).normal(scale=30, size=classes)
    cut = data.draw(st.integers(0, classes))
    parts = [bridle.logsumexp(scores[:cut]), bridle.logsumexp(scores[cut:])]
    np.testing.assert_allclose(bridle.logsumexp(parts), bridle.logsumexp(scores), rtol=1e-14)


@given(z=st.floats(-800, 800))
def test_sigmoid_is_the_softmax_of_the_score_and_zero(z: float) -> None:
    least = np.finfo(np.float64).tiny  # SciPy's sigmoid gives 0 below it
    np.testing.assert_allclose(
        bridle.sigmoid(z), bridle.softmax([z, 0.0])[0], rtol=1e-13, atol=least
    )
    np.testing.assert_allclose(bridle.log_sigmoid(z), bridle.log_softmax([z, 0.0])[0], rtol=1e-13)
    np.testing.assert_allclose(bridle.sigmoid(z) + bridle.sigmoid(-z), 1, rtol=1e-15)
    np.testing.assert_allclose(
        bridle.log_sigmoid(z) - bridle.log_sigmoid(-z), z, rtol=1e-14, atol=1e-15
    )


@pytest.mark.parametrize("dtype", oracle.FLOAT_DTYPES, ids=str)
def test_sigmoid_is_right_in_every_dtype(dtype: np.dtype[Any]) -> None:
    scores = np.array([-80, -20.5, -1, -1e-3, 0, 1e-3, 1, 20.5, 80]).astype(dtype)
    right = 1 / (1 + np.exp(-oracle.long(scores)))
    found = bridle.sigmoid(scores)
    assert found.dtype == bridle.log_sigmoid(scores).dtype == dtype
    oracle.assert_close(found, right, dtype)
    # A rest of 1e-35 shows that no sum of it with 1 was taken.
    right = -np.log1p(np.exp(-oracle.long(scores)))
    oracle.assert_close(bridle.log_sigmoid(scores), right, dtype)
    np.testing.assert_allclose(bridle.log_sigmoid(80.0), -np.exp(-80.0), rtol=1e-15)


@given(seed=st.integers(0, 2**32), temperature=st.floats(0.01, 100))
def test_temperature_divides_the_scores(seed: int, temperature: float) -> None:
    scores = np.random.default_rng(seed).normal(size=(3, 5))
    cooled = bridle.log_softmax(scores, temperature=temperature)
    np.testing.assert_allclose(cooled, bridle.log_softmax(scores / temperature), rtol=1e-12)
    np.testing.assert_allclose(
        bridle.softmax(scores, temperature=temperature), np.exp(cooled), rtol=1e-11
    )


@pytest.mark.parametrize("dtype", oracle.FLOAT_DTYPES, ids=str)
def test_temperature_has_its_limits_where_the_dtype_ends(dtype: np.dtype[Any]) -> None:
    scores = np.array([1, 3, -INFINITY, 2]).astype(dtype)
    for cold in (1e-300, 1e-45, 1e-5):
        np.testing.assert_array_equal(
            oracle.long(bridle.softmax(scores, temperature=cold)), [0, 1, 0, 0]
        )
    for hot in (1e39, 1e300):
        np.testing.assert_allclose(
            oracle.long(bridle.softmax(scores, temperature=hot)),
            np.array([1, 1, 0, 1], oracle.Long) / 3,
            rtol=oracle.precision(dtype),
        )


def test_temperature_never_overflows_large_scores() -> None:
    scores = np.array([3e38, 2e38], np.float32)
    np.testing.assert_array_equal(bridle.softmax(scores, temperature=1e-3), [1, 0])
    np.testing.assert_array_equal(bridle.log_softmax(scores, temperature=1e-3), [0, -INFINITY])


@pytest.mark.parametrize(
    ("dtype", "large"),
    [(np.float16, 65504), (ml_dtypes.bfloat16, 1e38), (np.float32, 1e38), (np.float64, 1e308)],
)
def test_the_largest_numbers_do_not_overflow(dtype: npt.DTypeLike, large: float) -> None:
    scores = np.array([[large, -large, large], [-large, -large, 0]]).astype(dtype)
    np.testing.assert_array_equal(oracle.long(bridle.softmax(scores)), [[0.5, 0, 0.5], [0, 0, 1]])
    np.testing.assert_array_equal(
        oracle.long(bridle.logsumexp(scores)), oracle.long(scores).max(axis=-1)
    )
    assert np.isfinite(oracle.long(bridle.log_softmax(scores))[[0, 0, 1], [0, 2, 2]]).all()
    np.testing.assert_array_equal(oracle.long(bridle.sigmoid(scores))[0], [1, 0, 1])


def test_an_offset_of_a_million_costs_only_what_the_scores_have_lost() -> None:
    scores = (np.random.default_rng(0).normal(size=(5, 7)) + 1e6).astype(np.float32)
    exact = oracle_log_softmax(scores, -1)
    oracle.assert_close(bridle.log_softmax(scores), exact, np.float32, ulps=4)
    oracle.assert_close(bridle.softmax(scores), np.exp(exact), np.float32, ulps=8)


def test_a_rest_below_the_rounding_of_one_is_not_lost() -> None:
    np.testing.assert_allclose(
        bridle.log_softmax([0.0, -40.0])[0], -np.log1p(np.exp(-40.0)), rtol=1e-15
    )
    np.testing.assert_allclose(
        bridle.log_softmax(np.array([0, -60], np.float32))[0], -np.exp(-60.0), rtol=1e-6
    )


@pytest.mark.parametrize("dtype", oracle.FLOAT_DTYPES, ids=str)
def test_a_broken_row_breaks_no_other(dtype: np.dtype[Any]) -> None:
    broken = np.array(
        [[1, np.nan, 2], [1, INFINITY, 2], [-INFINITY] * 3, [INFINITY, -INFINITY, 0]]
    ).astype(dtype)
    good = np.array([[1, 2, 3]]).astype(dtype)
    for function in (bridle.softmax, bridle.log_softmax):
        found = function(np.concatenate([good, broken, good]))
        assert np.isnan(oracle.long(found[1:-1])).all()
        np.testing.assert_array_equal(found[[0, -1]], np.repeat(function(good), 2, axis=0))
    np.testing.assert_array_equal(
        oracle.long(bridle.logsumexp(broken)), [np.nan, INFINITY, -INFINITY, INFINITY]
    )


def test_sigmoid_of_what_is_no_number() -> None:
    scores = [-INFINITY, np.nan, INFINITY]
    np.testing.assert_array_equal(bridle.sigmoid(scores), [0, np.nan, 1])
    np.testing.assert_array_equal(bridle.log_sigmoid(scores), [-INFINITY, np.nan, 0])


def test_a_million_terms_on_a_strided_axis_are_summed_as_well_as_on_the_last() -> None:
    # NumPy adds along a strided axis one by one; in float32 that was 2 % wrong here.
    scores = np.full((1_000_003, 2), -1.1, np.float32)
    scores[0] = 0
    right = np.log1p(1_000_002 * np.exp(np.float64(np.float32(-1.1))))
    np.testing.assert_allclose(bridle.logsumexp(scores, axis=0), right, rtol=3e-7)
    np.testing.assert_allclose(bridle.softmax(scores, axis=0)[0], np.exp(-right), rtol=3e-6)
    np.testing.assert_allclose(bridle.log_softmax(scores, axis=0)[0], -right, rtol=3e-7)


def test_more_equal_scores_than_a_float32_counts_to() -> None:
    scores = np.broadcast_to(np.zeros(2, np.float32), (2**24 + 3, 2))
    np.testing.assert_allclose(bridle.logsumexp(scores[:, 0]), np.log(2**24 + 3), rtol=1e-7)


def test_predicted_class_takes_the_lowest_of_equals_and_follows_the_probabilities() -> None:
    scores = np.array([[0.0, 2, 2, 1], [-INFINITY, -INFINITY, -INFINITY, -5], [3, 3, 3, 3]])
    np.testing.assert_array_equal(bridle.predicted_class(scores), [1, 3, 0])
    np.testing.assert_array_equal(bridle.predicted_class(bridle.softmax(scores)), [1, 3, 0])
    np.testing.assert_array_equal(bridle.predicted_class(scores, axis=0), [2, 2, 2, 2])
    assert bridle.predicted_class([0.0, 1.0]) == 1
    assert bridle.predicted_class(np.zeros((0, 3))).shape == (0,)
    for dtype in oracle.FLOAT_DTYPES:
        np.testing.assert_array_equal(bridle.predicted_class(scores.astype(dtype)), [1, 3, 0])


def test_scalars_and_nothing_at_all() -> None:
    assert bridle.softmax(3.0) == 1
    assert bridle.log_softmax(3.0) == 0
    assert bridle.logsumexp(3.0) == 3
    assert bridle.logsumexp([]) == -INFINITY
    assert bridle.logsumexp(np.zeros((2, 0)), axis=0).shape == (0,)
    assert bridle.softmax([]).shape == (0,)


def test_signed_sums_in_every_dtype() -> None:
    """``log Σ b exp(z)`` against long doubles; SciPy's own tests ask the rest."""
    rng = np.random.default_rng(4)
    for dtype in oracle.FLOAT_DTYPES:
        scores, b = make_scores(1, (3, 5), dtype), rng.normal(size=5).astype(dtype)
        terms = oracle.long(b) * np.exp(oracle.long(scores))
        size, sign = bridle.logsumexp(scores, b=b, return_sign=True)
        assert size.dtype == sign.dtype == dtype
        oracle.assert_close(size, np.log(abs(terms.sum(axis=1))), dtype, ulps=64, scale=8)
        np.testing.assert_array_equal(oracle.long(sign), np.sign(terms.sum(axis=1)))
        found = oracle.long(bridle.logsumexp(scores, b=b))
        np.testing.assert_array_equal(np.isnan(found), oracle.long(sign) < 0)
    half = np.array([20, 20], np.float16)  # whose exponentials it cannot hold
    assert bridle.logsumexp(half, b=[1, 1]) == pytest.approx(20 + np.log(2), rel=1e-3)
    with pytest.raises(bridle.InputError, match=r"^b: expected a shape that broadcasts .* \(2,\)"):
        bridle.logsumexp(np.zeros((2, 3)), b=[1, 2])


@pytest.mark.parametrize("function", [bridle.softmax, bridle.log_softmax])
def test_a_dtype_is_taken_on_before_anything_else(function: Any) -> None:
    scores = make_scores(1, (4, 5), np.dtype(np.float32))
    for dtype in (np.float16, "float64", ml_dtypes.bfloat16):
        found = function(scores, dtype=dtype)
        right = function(scores.astype(dtype))
        assert found.dtype == np.dtype(dtype)
        np.testing.assert_array_equal(oracle.long(found), oracle.long(right))
    assert function([1, 2], dtype=np.float32).dtype == np.float32
    for bad, message in ((int, "expected real floats, found int64"), ("x", "a dtype of NumPy")):
        with pytest.raises(bridle.InputError, match=f"^dtype: .*{message}"):
            function(scores, dtype=bad)
