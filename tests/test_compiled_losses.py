"""The compiled rows give what plain NumPy gives, for every option of the public losses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bridle
from bridle import TargetRangeError
from bridle.kernels import thresholds

DTYPES = ["float16", "float32", "float64"]


def both_ways(*arguments: Any, **options: Any) -> tuple[Any, Any]:
    """Return loss and gradient by the compiled kernels, and by plain NumPy."""
    found = []
    for numbers in (0, 2**62):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(thresholds, "COMPILED_ARRAY_NUMBERS", numbers)
            gradient = bridle.losses.cross_entropy_gradient(*arguments, **options)
            loss = bridle.losses.cross_entropy(*arguments, **options)
            np.testing.assert_array_equal(loss, gradient[0])
            found.append(gradient)
    return found[0], found[1]


def agree(arguments: Any, options: Any) -> None:
    compiled, plain = both_ways(*arguments, **options)
    dtype = plain[1].dtype
    assert compiled[1].dtype == dtype
    assert np.asarray(compiled[0]).dtype == np.asarray(plain[0]).dtype
    wide = {"float16": 3e-6, "float32": 3e-6, "float64": 1e-13}[dtype.name]
    narrow = {"float16": 1e-3}.get(dtype.name, wide)
    np.testing.assert_allclose(compiled[0], plain[0], rtol=wide, atol=wide)
    np.testing.assert_allclose(
        compiled[1].astype(float), plain[1].astype(float), rtol=10 * narrow, atol=narrow
    )


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.sampled_from([(1, 1), (2, 2), (5, 3), (3, 17), (67, 10), (7, 65), (2, 1001)]),
    dtype=st.sampled_from(DTYPES),
    soft=st.booleans(),
    masked=st.booleans(),
    weighted=st.booleans(),
    sampled=st.booleans(),
    smoothing=st.sampled_from([0.0, 0.1, 1.0]),
    reduction=st.sampled_from(["mean", "sum", "none"]),
)
def test_every_option(
    seed: int,
    shape: tuple[int, int],
    dtype: str,
    soft: bool,
    masked: bool,
    weighted: bool,
    sampled: bool,
    smoothing: float,
    reduction: str,
) -> None:
    generator = np.random.default_rng(seed)
    count, classes = shape
    scores = (3 * generator.normal(size=shape)).astype(dtype)
    target: Any = generator.integers(0, classes, count)
    if soft:
        target = generator.dirichlet(np.ones(classes), count)
    elif count > 1:
        target[0] = -100
    if masked:
        scores[generator.random(shape) < 0.2] = -np.inf
    options: dict[str, Any] = {"label_smoothing": smoothing, "reduction": reduction}
    if weighted:
        options["weight"] = generator.uniform(0, 2, classes).round(1)
    if sampled:
        options["sample_weight"] = generator.integers(0, 3, count)
    agree((scores, target), options)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_hostile_rows(dtype: str, smoothing: float) -> None:
    least = float(np.finfo(dtype).min)
    scores = np.array(
        [
            [np.nan, 0, 1],
            [np.inf, 0, 1],
            [-np.inf, -np.inf, -np.inf],
            [least, 0, -least],
            [-least, -least, least],
            [-np.inf, 2, 3],
            [0, -np.inf, 0],
            [1, 2, 3],
        ],
        dtype,
    )
    target = np.array([0, 1, 2, 2, 0, 0, 2, 1])
    agree((scores, target), {"reduction": "none", "label_smoothing": smoothing})
    agree((scores[3:], np.eye(3)[target[3:]]), {"reduction": "none"})


def test_a_common_offset_rounds_nothing_away() -> None:
    scores = np.random.default_rng(0).integers(-8, 8, (50, 33)).astype(np.float32)
    target = np.arange(50) % 33
    near, _ = both_ways(scores, target, reduction="none")
    far, _ = both_ways(scores + np.float32(2**20), target, reduction="none")
    np.testing.assert_array_equal(far[0], near[0])
    np.testing.assert_array_equal(far[1], near[1])


def test_layouts_that_the_kernels_cannot_read_are_not_given_to_them() -> None:
    scores = np.random.default_rng(0).normal(size=(40, 12))
    target = np.arange(40) % 12
    expected = bridle.cross_entropy(scores, target)
    for layout in (np.asfortranarray(scores), scores[:, ::-1][:, ::-1], scores.astype(">f8")):
        compiled, _ = both_ways(layout, target)
        assert compiled[0] == pytest.approx(expected, rel=1e-14)
    rows, _ = both_ways(scores[::-2], target[::-2])
    assert rows[0] == pytest.approx(bridle.cross_entropy(scores[::-2], target[::-2]), rel=1e-14)
    deep, plain = both_ways(scores.reshape(10, 12, 4), (target % 12).reshape(10, 4))
    np.testing.assert_allclose(deep[1], plain[1], rtol=1e-12, atol=1e-15)


def test_unchecked_indices_out_of_range_are_nan() -> None:
    scores = np.zeros((3, 4), np.float32)
    for target in ([0, 9, 1], [0, -2, 1]):
        compiled, _ = both_ways(scores, np.array(target), reduction="none", check=False)
        np.testing.assert_array_equal(np.isnan(compiled[0]), [False, True, False])
        np.testing.assert_array_equal(np.isnan(compiled[1]).all(axis=1), [False, True, False])
        with pytest.raises(TargetRangeError, match="row 1 is"):
            both_ways(scores, np.array(target))


def test_large_problems_are_compiled_and_inputs_left_alone() -> None:
    generator = np.random.default_rng(0)
    rows = thresholds.COMPILED_ARRAY_NUMBERS // 1000 + 1
    scores = generator.normal(size=(rows, 1000)).astype(np.float32)
    target = generator.integers(0, 1000, len(scores))
    before = scores.copy()
    scores.flags.writeable = False
    loss, gradient = bridle.cross_entropy_gradient(scores, target)
    wide = scores.astype(np.float64)
    assert loss == pytest.approx(bridle.cross_entropy(wide[:, :], target), rel=1e-6)
    expected = (bridle.softmax(wide) - np.eye(1000)[target]) / len(scores)
    np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-11)
    np.testing.assert_array_equal(scores, before)
