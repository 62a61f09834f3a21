"""What a probability says: against the formulas, and by Gibbs', Shannon's and Kullback's laws."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

import bridle
import oracle

Array = npt.NDArray[Any]

INFINITY = float("inf")
SHAPES = [(1,), (2,), (13,), (5, 3), (0, 3), (2, 3, 5)]


def distributions(seed: int, shape: tuple[int, ...], dtype: npt.DTypeLike, axis: int) -> Array:
    """Return distributions of which some entries are 0."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=shape) * 3
    largest = scores == scores.max(axis=axis, keepdims=True, initial=-np.inf)
    scores[(rng.random(shape) < 0.2) & ~largest] = -np.inf
    return bridle.softmax(scores.astype(dtype), axis=axis)


def times_log(p: Array, q: Array) -> Array:
    """Return ``p log q`` in long doubles, 0 where ``p`` is."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(oracle.long(p) > 0, oracle.long(p) * np.log(oracle.long(q)), 0)


@pytest.mark.parametrize("dtype", oracle.FLOAT_DTYPES, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_formulas_hold_in_every_dtype_along_every_axis(
    shape: tuple[int, ...], dtype: np.dtype[Any]
) -> None:
    for axis in range(-len(shape), len(shape)):
        if shape[axis] == 0:
            continue
        p = distributions(1, shape, dtype, axis)
        q = bridle.softmax(np.random.default_rng(2).normal(size=shape).astype(dtype), axis=axis)
        right_entropy = -times_log(p, p).sum(axis=axis)
        right_cross = -times_log(p, q).sum(axis=axis)
        for unit, size in (("nats", oracle.Long(1)), ("bits", np.log(oracle.Long(2)))):
            entropy = bridle.entropy(p, axis=axis, unit=unit)  # type: ignore[call-overload]
            cross = bridle.cross_entropy_of(p, q, axis=axis, unit=unit)  # type: ignore[call-overload]
            assert entropy.dtype == cross.dtype == dtype
            assert entropy.shape == cross.shape == right_entropy.shape
            oracle.assert_close(entropy, right_entropy / size, dtype, scale=1)
            oracle.assert_close(cross, right_cross / size, dtype, scale=1)


@pytest.mark.parametrize("dtype", oracle.FLOAT_DTYPES, ids=str)
@pytest.mark.parametrize("layout", oracle.LAYOUTS)
def test_any_layout_will_do_and_is_not_written_to(layout: str, dtype: np.dtype[Any]) -> None:
    p, q = (distributions(seed, (5, 3, 2), dtype, 1) for seed in (1, 2))
    laid_p, laid_q = oracle.LAYOUTS[layout](p), oracle.LAYOUTS[layout](q)
    np.testing.assert_array_equal(
        oracle.long(bridle.entropy(laid_p, axis=1)), oracle.long(bridle.entropy(p, axis=1))
    )
    np.testing.assert_array_equal(
        oracle.long(bridle.kl_divergence(laid_p, laid_q, axis=1)),
        oracle.long(bridle.kl_divergence(p, q, axis=1)),
    )
    np.testing.assert_array_equal(
        oracle.long(bridle.surprisal(laid_p)), oracle.long(bridle.surprisal(p))
    )
    np.testing.assert_array_equal(oracle.long(laid_p), oracle.long(p))


@given(seed=st.integers(0, 2**32), classes=st.integers(1, 13))
def test_gibbs_inequality_and_the_sum_of_entropy_and_divergence(seed: int, classes: int) -> None:
    """H(p, q) = H(p) + KL(p ‖ q), and KL ≥ 0."""
    p = distributions(seed, (3, classes), np.float64, -1)
    q = bridle.softmax(np.random.default_rng(seed + 1).normal(size=(3, classes)))
    divergence = bridle.kl_divergence(p, q)
    assert (divergence >= 0).all()
    cross = bridle.cross_entropy_of(p, q)
    np.testing.assert_allclose(cross, bridle.entropy(p) + divergence, rtol=1e-13)
    assert (cross >= bridle.entropy(p) - 1e-15).all()


@given(
    seed=st.integers(0, 2**32),
    classes=st.integers(1, 13),
    apart=st.sampled_from([0.0, 1e-16, 1e-9, 1e-7]),
    dtype=st.sampled_from(oracle.FLOAT_DTYPES),
)
def test_nearly_equal_distributions_do_not_diverge_negatively(
    seed: int, classes: int, apart: float, dtype: np.dtype[Any]
) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=classes)
    p = bridle.softmax(scores.astype(dtype))
    q = bridle.softmax((scores + apart * rng.normal(size=classes)).astype(dtype))
    divergence = float(bridle.kl_divergence(p, q))
    # A row in half precision sums to 1 only roughly, which shows here in full.
    assert 0 <= divergence <= 8 * oracle.precision(dtype) * classes + apart**2 * classes
    assert bridle.kl_divergence(p, p) == 0


@given(seed=st.integers(0, 2**32), classes=st.integers(2, 13))
def test_a_sure_guess_makes_cross_entropy_of_the_loss(seed: int, classes: int) -> None:
    """H(one_hot, softmax z) is the loss of the walk, as is H of a soft target."""
    rng = np.random.default_rng(seed)
    scores, target = rng.normal(size=(4, classes)), rng.integers(0, classes, 4)
    q = bridle.softmax(scores)
    np.testing.assert_allclose(
        bridle.cross_entropy_of(np.eye(classes)[target], q),
        bridle.cross_entropy(scores, target, reduction="none"),
        rtol=1e-13,
    )
    soft = bridle.softmax(rng.normal(size=scores.shape))
    np.testing.assert_allclose(
        bridle.cross_entropy_of(soft, q), bridle.nll(q, soft, reduction="none"), rtol=1e-13
    )


@pytest.mark.parametrize("classes", [1, 2, 7, 1009])
def test_the_perplexity_of_a_uniform_guess_is_the_number_of_classes(classes: int) -> None:
    uniform = np.full(classes, 1 / classes)
    np.testing.assert_allclose(bridle.perplexity(bridle.entropy(uniform)), classes, rtol=1e-12)
    np.testing.assert_allclose(
        bridle.perplexity(bridle.entropy(uniform, unit="bits"), unit="bits"), classes, rtol=1e-12
    )
    np.testing.assert_allclose(bridle.entropy(uniform, unit="bits"), np.log2(classes), rtol=1e-13)


@given(seed=st.integers(0, 2**32), classes=st.integers(1, 13))
def test_no_distribution_is_less_certain_than_the_uniform(seed: int, classes: int) -> None:
    p = distributions(seed, (classes,), np.float64, -1)
    assert 0 <= bridle.entropy(p) <= np.log(classes) + 1e-14


@pytest.mark.parametrize("dtype", oracle.FLOAT_DTYPES, ids=str)
def test_surprisal_in_nats_and_bits(dtype: np.dtype[Any]) -> None:
    probability = np.array([1, 0.5, 0.25, 2**-14, 0]).astype(dtype)
    nats = bridle.surprisal(probability)
    bits = bridle.surprisal(probability, unit="bits")
    assert nats.dtype == bits.dtype == dtype
    np.testing.assert_allclose(
        oracle.long(bits), [0, 1, 2, 14, INFINITY], rtol=oracle.precision(dtype)
    )
    assert not np.signbit(nats).any()
    with np.errstate(divide="ignore"):
        oracle.assert_close(nats, 0 - np.log(oracle.long(probability)), dtype)
    assert bridle.surprisal(0.5, unit="bits") == 1


def test_surprisal_keeps_what_a_clip_would_lose() -> None:
    np.testing.assert_allclose(bridle.surprisal(5e-324), 744.44007192138122, rtol=1e-15)
    np.testing.assert_allclose(bridle.surprisal(1 - 2**-53), 2**-53, rtol=1e-15)


def test_mass_where_the_other_has_none_is_infinite_news() -> None:
    p, q = [0.5, 0.5, 0.0], [1.0, 0.0, 0.0]
    assert bridle.kl_divergence(p, q) == INFINITY
    assert bridle.cross_entropy_of(p, q) == INFINITY
    np.testing.assert_allclose(bridle.kl_divergence(q, p), np.log(2), rtol=1e-15)
    np.testing.assert_allclose(bridle.cross_entropy_of(q, p), np.log(2), rtol=1e-15)


def test_the_smallest_probabilities_do_not_overflow_their_ratio() -> None:
    tiny = 5e-324
    np.testing.assert_allclose(
        bridle.kl_divergence([1.0, 0.0], [tiny, 1.0]), -np.log(tiny), rtol=1e-15
    )
    assert bridle.kl_divergence([tiny, 1.0], [1.0, tiny]) == -np.log(tiny)


@pytest.mark.parametrize(
    "certain",
    [
        lambda: bridle.entropy([1.0, 0.0]),
        lambda: bridle.entropy([1.0]),
        lambda: bridle.cross_entropy_of([1.0, 0.0], [1.0, 0.0]),
        lambda: bridle.kl_divergence([1.0, 0.0], [1.0, 0.0]),
        lambda: bridle.surprisal(1.0),
    ],
)
def test_certainty_is_zero_without_a_sign(certain: Callable[[], Array]) -> None:
    assert certain() == 0
    assert not np.signbit(certain())


def test_an_entry_rounded_above_one_still_has_a_perplexity() -> None:
    assert bridle.perplexity(bridle.entropy([1.0 + 1e-6, 0.0])) == 1


def test_one_of_two_broadcasts_with_the_classes_on_any_axis() -> None:
    rng = np.random.default_rng(0)
    p, q = bridle.softmax(rng.normal(size=3)), bridle.softmax(rng.normal(size=(3, 3)))
    for function in (bridle.kl_divergence, bridle.cross_entropy_of):
        right = [function(p, row) for row in q]
        np.testing.assert_allclose(function(p, q), right, rtol=1e-14)
        np.testing.assert_allclose(function(p, q.T, axis=0), right, rtol=1e-14)
        swapped = [function(row, p) for row in q]
        np.testing.assert_allclose(function(q.T, p, axis=0), swapped, rtol=1e-14)


def test_two_dtypes_give_the_wider_one() -> None:
    half, brain = np.array([0.5, 0.5], np.float16), np.array([0.5, 0.5], ml_dtypes.bfloat16)
    single, double = half.astype(np.float32), half.astype(np.float64)
    assert bridle.kl_divergence(half, brain).dtype == np.float32
    assert bridle.kl_divergence(half, half).dtype == np.float16
    assert bridle.kl_divergence(single, brain).dtype == np.float32
    assert bridle.cross_entropy_of(double, half).dtype == np.float64
    assert bridle.cross_entropy_of([1, 0], half).dtype == np.float64


@pytest.mark.parametrize("dtype", oracle.FLOAT_DTYPES, ids=str)
def test_perplexity_of_any_number(dtype: np.dtype[Any]) -> None:
    values = np.array([0, 1, 3, INFINITY, np.nan]).astype(dtype)
    nats, bits = bridle.perplexity(values), bridle.perplexity(values, unit="bits")
    assert nats.dtype == bits.dtype == dtype
    oracle.assert_close(nats, np.exp(oracle.long(values)), dtype)
    np.testing.assert_array_equal(oracle.long(bits), [1, 2, 8, INFINITY, np.nan])
    assert bridle.perplexity(1e5) == INFINITY


def test_a_million_classes_on_a_strided_axis() -> None:
    uniform = np.full((1_000_003, 2), 1 / 1_000_003, np.float32)
    np.testing.assert_allclose(bridle.entropy(uniform, axis=0), np.log(1_000_003), rtol=1e-6)
    assert (bridle.kl_divergence(uniform, uniform, axis=0) == 0).all()


def test_a_row_of_float64_may_miss_one_as_a_row_of_float32_may() -> None:
    p, q = np.array([0.500005, 0.500005]), np.array([[0.25, 0.75], [0.25001, 0.75]])
    right = special.rel_entr(p / p.sum(), q / q.sum(axis=1, keepdims=True)).sum(axis=1)
    np.testing.assert_allclose(bridle.kl_divergence(p, q), right, rtol=3e-5)
    assert bridle.entropy(p) == pytest.approx(np.log(2), rel=1e-4)
    with pytest.raises(bridle.InputError, match=r"^q: it sums to 1\.0003, expected 1$"):
        bridle.kl_divergence(p, [0.5, 0.5003])


def test_unchecked_numbers_are_taken_as_they_are() -> None:
    rng = np.random.default_rng(5)
    p, q = rng.random((4, 3)), rng.random((4, 3))
    p[0, 1], q[1, 2], p[1, 2] = 0, 0, 0
    found = bridle.kl_divergence(p, q, check=False)
    np.testing.assert_allclose(found, special.rel_entr(p, q).sum(axis=1), rtol=1e-13)
    np.testing.assert_allclose(
        bridle.cross_entropy_of(p, q, check=False), -special.xlogy(p, q).sum(axis=1), rtol=1e-13
    )
    big = np.array([2.0, 3.0])
    np.testing.assert_allclose(bridle.entropy(big, check=False), special.entr(big).sum())
    assert np.isnan(bridle.kl_divergence([0.5, np.nan], [0.5, 0.5], check=False))
    assert np.isnan(bridle.kl_divergence([1.0, 0.0], [0.5, np.nan], check=False))


@pytest.mark.parametrize("dtype", oracle.FLOAT_DTYPES, ids=str)
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_logarithms_serve_in_place_of_probabilities(axis: int, dtype: np.dtype[Any]) -> None:
    rng = np.random.default_rng(6)
    scores = [(rng.normal(size=(5, 4, 3)) * 2).astype(dtype) for _ in range(2)]
    log_p, log_q = (bridle.log_softmax(each, axis=axis) for each in scores)
    p, q = (np.exp(oracle.long(each)) for each in (log_p, log_q))
    p, q = (each / each.sum(axis=axis, keepdims=True) for each in (p, q))
    cross = -(p * np.log(q)).sum(axis=axis)
    divergence = cross + (p * np.log(p)).sum(axis=axis)
    # What the logarithms were rounded by shows in the sum in full.
    tolerance = 40 * oracle.precision(dtype)
    for options, first, second in (
        ({"log_p": True, "log_q": True}, log_p, log_q),
        ({"log_q": True}, p.astype(dtype), log_q),
        ({"log_p": True}, log_p, q.astype(dtype)),
    ):
        found = bridle.kl_divergence(first, second, axis=axis, **options)  # type: ignore[call-overload]
        assert found.dtype == dtype
        np.testing.assert_allclose(oracle.long(found), divergence, atol=tolerance)
        found = bridle.cross_entropy_of(first, second, axis=axis, **options)  # type: ignore[call-overload]
        np.testing.assert_allclose(oracle.long(found), cross, atol=tolerance)


def test_logarithms_keep_what_underflow_would_lose() -> None:
    log_p, log_q = bridle.log_softmax([0.0, 0.0]), bridle.log_softmax([0.0, -1000.0])
    found = bridle.kl_divergence(log_p, log_q, log_p=True, log_q=True)
    assert found == pytest.approx(500 - np.log(2), rel=1e-14)
    sure = np.array([0.0, -INFINITY])
    assert bridle.kl_divergence(sure, log_p, log_p=True, log_q=True) == pytest.approx(np.log(2))
    assert bridle.kl_divergence(sure, sure, log_p=True, log_q=True) == 0
    assert bridle.kl_divergence(log_p, sure, log_p=True, log_q=True) == INFINITY


def test_a_mask_of_positions_leaves_the_others_out_unread() -> None:
    rng = np.random.default_rng(7)
    p, q = (bridle.softmax(rng.normal(size=(4, 3, 2)), axis=1) for _ in range(2))
    mask = rng.random((4, 2)) < 0.5
    right = np.where(mask, special.rel_entr(p, q).sum(axis=1), 0)
    p[np.broadcast_to(~mask[:, None], p.shape)] = np.nan
    found = bridle.kl_divergence(p, q, axis=1, mask=mask)
    np.testing.assert_allclose(found, right, rtol=1e-13)
    with np.errstate(invalid="raise"):
        assert (bridle.cross_entropy_of(p, q, axis=1, mask=mask)[~mask] == 0).all()


def test_a_mask_of_entries_leaves_classes_out() -> None:
    rng = np.random.default_rng(8)
    mask = np.array([[True, True, False, True]])
    p = np.full((3, 4), 0.7)
    p[:, mask[0]] = bridle.softmax(rng.normal(size=(3, 3)))
    q = bridle.softmax(np.where(mask, rng.normal(size=(3, 4)), -np.inf))
    right = special.rel_entr(p[:, mask[0]], q[:, mask[0]]).sum(axis=1)
    np.testing.assert_allclose(bridle.kl_divergence(p, q, mask=mask), right, rtol=1e-13)
    turned = bridle.kl_divergence(p.T, q.T, mask=mask.T, axis=0)
    np.testing.assert_allclose(turned, right, rtol=1e-13)
    everywhere = np.array([[True] * 4, [False] * 4, [True] * 4])
    unchecked = bridle.kl_divergence(p, p * 2, mask=everywhere, check=False)
    np.testing.assert_allclose(unchecked, [-np.log(2) * row.sum() for row in p] * everywhere[:, 0])


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        ([1, 0, 1], "mask: expected booleans (True counts), found int64"),
        ([True, False], "mask: expected the shape (3,) of the positions, or one of entries that "
                        "broadcasts to (3, 2), found (2,)"),
        ([[True, True, True]], "mask: expected the shape (3,) of the positions, or one of entries "
                               "that broadcasts to (3, 2), found (1, 3)"),
        ([True, True, False], "p: row 0 sums to 1.2, expected 1"),
        ([[True, False]] * 3, "p: row 0 sums to 0.6, expected 1"),
    ],
)  # fmt: skip
def test_a_mask_that_does_not_fit(mask: Any, message: str) -> None:
    p = np.full((3, 2), 0.6)
    with pytest.raises(bridle.InputError, match=f"^{re.escape(message)}$"):
        bridle.kl_divergence(p, np.full((3, 2), 0.5), mask=mask)


def test_logarithms_that_are_none_are_named() -> None:
    with pytest.raises(bridle.InputError, match=r"^exp\(q\): it sums to 2, expected 1$"):
        bridle.kl_divergence([0.5, 0.5], [0.0, 0.0], log_q=True)
    with pytest.raises(bridle.InputError, match=r"^exp\(p\): entry 1 is inf, expected a prob"):
        bridle.kl_divergence([0.0, 1000.0], [0.5, 0.5], log_p=True)
