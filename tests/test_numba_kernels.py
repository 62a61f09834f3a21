"""The compiled CPU kernels against the plain ones in float64, at odd sizes and on hostile rows."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridle.kernels import thresholds
from bridle.kernels.contract import RowParts, merge_parts
from bridle.kernels.numba import row_kernels
from bridle.kernels.numba.exponential import exponential, log1p
from bridle.kernels.numba.halves import from_bfloat16, from_float16, to_bfloat16, to_float16
from bridle.kernels.numpy import row_kernels as rows_reference

numba = pytest.importorskip("numba")

Array = npt.NDArray[Any]
BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
FLOAT_INFO: Any = ml_dtypes.finfo  # as NumPy's, and it knows bfloat16
DTYPES = [np.dtype(name) for name in ("float16", "float32", "float64")] + [BFLOAT16]
# What an answer may be off by: rounding of the parts' dtype, and of the gradient's own.
PART_TOLERANCE = {"float64": 1e-14}
GRADIENT_TOLERANCE = {"float64": 1e-13, "float32": 4e-6, "float16": 1.1e-3, "bfloat16": 8e-3}
# On both sides of a lane's width, of a chunk, and of where rows go side by side.
CLASSES = [1, 2, 3, 7, 31, 32, 33, 64, 65, 127, 128, 129, 160, 161, 255, 257, 1000, 1025]


def random_scores(rng: Any, rows: int, classes: int, dtype: Any, *, masked: float = 0.0) -> Array:
    scores = (rng.standard_normal((rows, classes)) * 3).astype(dtype)
    scores[rng.random((rows, classes)) < masked] = -np.inf
    return np.asarray(scores)


def wide(array: Array) -> Array:
    return array.astype(np.float64)


def part_tolerance(dtype: Any) -> float:
    return PART_TOLERANCE.get(dtype.name, 5e-7)


def assert_parts(found: RowParts, expected: RowParts, tolerance: float) -> None:
    for name, value in expected._asdict().items():
        part = getattr(found, name)
        assert (part is None) == (value is None), name
        if part is None:
            continue
        if part.dtype.kind == "i":
            np.testing.assert_array_equal(part, value, err_msg=name)
        else:
            size = np.abs(value[np.isfinite(value)]).max(initial=1.0)
            np.testing.assert_allclose(
                wide(part), value, rtol=tolerance, atol=tolerance * size, err_msg=name
            )


def assert_gradient(found: Array, expected: Array) -> None:
    tolerance = GRADIENT_TOLERANCE[found.dtype.name]
    # The smallest float16 is as far from 0 as its smaller numbers are from each other.
    least = 1e-7 if found.dtype.itemsize == 2 else 0.0
    finite = np.abs(expected[np.isfinite(expected)]).max(initial=0.0)
    rounding = finite * (2e-15 if found.dtype == np.float64 else 1e-6)
    np.testing.assert_allclose(wide(found), expected, rtol=tolerance, atol=least + rounding)


def compare(
    scores: Array, target: Array, weight: Array | None, rng: Any, *, all_parts: bool, **bend: Any
) -> None:
    """Compare parts, gradient, gradient in place, and both at once with the truth."""
    options = {"smoothing": all_parts, "entropy": all_parts, "argmax": all_parts}
    found = row_kernels.row_parts(scores, target, weight=weight, **options, **bend)
    truth = rows_reference.row_parts(wide(scores), target, weight=weight, **options, **bend)
    assert_parts(found, truth, part_tolerance(scores.dtype))

    a, b, s, t = rng.standard_normal((4, len(scores)))
    for each in (a, b, s, t):
        each[::3] = 0
    more = {"b": b, "s": s, "t": t} if all_parts else {"t": t}
    expected = np.empty(scores.shape)
    bend_and_weight: dict[str, Any] = {"weight": weight, **bend}
    rows_reference.row_gradient(
        wide(scores), truth, target, a, out=expected, **more, **bend_and_weight
    )
    fresh, in_place = np.full_like(scores, 7), scores.copy()
    row_kernels.row_gradient(scores, found, target, a, out=fresh, **more, **bend_and_weight)
    row_kernels.row_gradient(in_place, found, target, a, out=in_place, **more, **bend_and_weight)
    assert_gradient(fresh, expected)
    np.testing.assert_array_equal(wide(in_place), wide(fresh))

    spread = s if all_parts else None
    slope = a
    if all_parts:
        assert truth.allowed is not None
        assert truth.smooth_weight is not None
        s = s / np.maximum(truth.allowed, 1)
        slope = a + s * truth.smooth_weight
    rows_reference.row_gradient(
        wide(scores), truth, target, slope, s=s if all_parts else None, t=t, out=expected,
        **bend_and_weight,
    )  # fmt: skip
    fresh, in_place = np.full_like(scores, 7), scores.copy()
    both = {"s": spread, "t": t, **options, **bend_and_weight}
    parts = row_kernels.row_parts_and_gradient(scores, target, a, out=fresh, **both)
    row_kernels.row_parts_and_gradient(in_place, target, a, out=in_place, **both)
    assert_gradient(fresh, expected)
    np.testing.assert_array_equal(wide(in_place), wide(fresh))
    assert_parts(parts, truth, part_tolerance(scores.dtype))


def soft_target(rng: Any, rows: int, classes: int) -> Array:
    return np.asarray(rng.random((rows, classes)) * (rng.random((rows, classes)) < 0.5))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("classes", CLASSES)
def test_every_size(dtype: Any, classes: int) -> None:
    rng = np.random.default_rng(classes)
    for rows in (1, 5, 67):
        scores = random_scores(rng, rows, classes, dtype, masked=0.1)
        target = rng.integers(-1, classes, rows)
        compare(scores, target, None, rng, all_parts=False)
        compare(scores, target, rng.random(classes), rng, all_parts=True)


@given(
    dtype=st.sampled_from(DTYPES),
    rows=st.integers(0, 70),
    classes=st.integers(1, 200) | st.sampled_from(CLASSES),
    temperature=st.sampled_from([1.0, 0.5, 0.7, 3.0]),
    softcap=st.sampled_from([0.0, 2.0, 30.0]),
    masked=st.sampled_from([0.0, 0.3, 0.9]),
    weighted=st.booleans(),
    soft=st.booleans(),
    all_parts=st.booleans(),
    seed=st.integers(0, 999),
)
def test_every_option(
    dtype: Any,
    rows: int,
    classes: int,
    temperature: float,
    softcap: float,
    masked: float,
    weighted: bool,
    soft: bool,
    all_parts: bool,
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    scores = random_scores(rng, rows, classes, dtype, masked=masked)
    target = soft_target(rng, rows, classes) if soft else rng.integers(-1, classes, rows)
    weight = rng.random(classes) if weighted else None
    bend = {"temperature": temperature, "softcap": softcap}
    compare(scores, target, weight, rng, all_parts=all_parts, **bend)


@pytest.mark.parametrize("dtype", [np.dtype(np.float32), BFLOAT16], ids=str)
def test_rows_in_several_blocks(dtype: Any) -> None:
    rng = np.random.default_rng(3)
    for classes in (thresholds.BLOCK_COLUMNS + 1, 2 * thresholds.BLOCK_COLUMNS + 1001):
        scores = random_scores(rng, 3, classes, dtype, masked=0.1)
        scores[1, : thresholds.BLOCK_COLUMNS] = -np.inf  # a block that adds nothing
        target = np.array([0, thresholds.BLOCK_COLUMNS, -1])
        compare(scores, target, rng.random(classes), rng, all_parts=True, temperature=0.7)
        compare(scores, soft_target(rng, 3, classes), None, rng, all_parts=True)


def test_a_broken_row_in_several_blocks_is_broken_alone() -> None:
    scores = np.zeros((4, thresholds.BLOCK_COLUMNS + 5), np.float32)
    scores[0, -1], scores[1], scores[2, 0] = np.nan, -np.inf, np.inf
    parts = row_kernels.row_parts(scores, np.zeros(4, int), smoothing=True, entropy=True)
    for name in ("log_sum", "target_gap", "smooth_gap", "mean_gap"):
        assert np.isnan(getattr(parts, name)).tolist() == [True, True, True, False], name


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("classes", [5, 1030])
def test_hostile_rows_disturb_no_other(dtype: Any, classes: int) -> None:
    rng = np.random.default_rng(0)
    scores = random_scores(rng, 8, classes, dtype)
    largest = float(FLOAT_INFO(dtype).max)
    scores[0, 3] = np.nan
    scores[1, 3] = -np.asarray(np.nan, dtype)  # its bits are below those of −inf
    scores[2, 4] = np.inf
    scores[3] = -np.inf
    scores[4, 0], scores[4, 1] = largest, -largest
    scores[5, 2] = -np.inf  # the target itself
    target = np.array([0, 1, 2, 3, 1, 2, 0, 1])
    weight = np.ones(classes)
    one = np.ones(8)
    for options in ({}, {"smoothing": True, "entropy": True}):
        parts = row_kernels.row_parts(scores, target, weight=weight, **options)
        loss = wide(parts.log_sum) + wide(np.asarray(parts.target_gap))
        assert np.isnan(loss[:4]).all()
        assert loss[5] == np.inf
        assert np.isfinite(loss[6:]).all()
        assert np.isfinite(loss[4]) or dtype.name in ("float32", "float64", "bfloat16")
        alone = row_kernels.row_parts(scores[6:], target[6:], weight=weight, **options)
        np.testing.assert_array_equal(parts.log_sum[6:], alone.log_sum)
        gradient = np.empty_like(scores)
        row_kernels.row_gradient(scores, parts, target, one, t=one, out=gradient)
        assert np.isnan(wide(gradient)[:4]).all()
        assert np.isfinite(wide(gradient)[4:]).all()
        assert gradient[5, 2] == -1
    idle = np.where(np.arange(8) < 4, 0.0, 1.0)
    row_kernels.row_gradient(scores, parts, target, idle, t=idle, out=gradient)
    assert (wide(gradient)[:4] == 0).all()
    scores[:, 4] = -np.inf
    for out in (gradient, scores):
        row_kernels.row_parts_and_gradient(scores, target, idle, t=idle, out=out)
        assert (wide(out)[:4] == 0).all()
        assert (wide(out)[4:, 4] == 0).all()


@pytest.mark.parametrize("classes", [5, 1030])
@pytest.mark.parametrize("bad", [-2, "C", 2**40])
def test_a_target_that_is_no_class_is_nan_and_reads_nothing(classes: int, bad: Any) -> None:
    scores = np.zeros((3, classes), np.float32)
    target = np.array([0, classes if bad == "C" else bad, 1])
    one = np.ones(3)
    parts = row_kernels.row_parts(scores, target)
    assert np.isnan(np.asarray(parts.target_gap)).tolist() == [False, True, False]
    row_kernels.row_parts_and_gradient(scores, target, one, t=one, out=scores)
    assert np.isnan(scores).all(axis=1).tolist() == [False, True, False]
    assert np.isfinite(scores[[0, 2]]).all()


def ulps(found: Array, truth: Array) -> float:
    """Return the largest error in units of the last place of float32."""
    with np.errstate(invalid="ignore"):
        error = np.abs(wide(found) - truth) / np.spacing(np.abs(truth).astype(np.float32))
    return float(np.nanmax(error))


def hard_problems(rng: Any, classes: int) -> list[Array]:
    flat = np.zeros((200, classes), np.float32)
    normal = rng.standard_normal((200, classes)).astype(np.float32)
    peaked = normal.copy()
    peaked[:, 0] += np.linspace(0, 90, 200, dtype=np.float32)
    few_ties = flat - np.float32(10)
    few_ties[:, 0] = 0
    return [flat, normal, normal * 20, peaked, peaked + np.float32(1e6), few_ties]


@pytest.mark.parametrize("classes", [2, 10, 160, 161, 1000, 4000])
def test_a_loss_is_right_to_two_last_places(classes: int) -> None:
    rng = np.random.default_rng(classes)
    for scores in hard_problems(rng, classes):
        for target in (np.zeros(200, int), rng.integers(0, classes, 200)):
            parts = row_kernels.row_parts(scores, target)
            truth = rows_reference.row_parts(wide(scores), target)
            loss = parts.log_sum + np.asarray(parts.target_gap)
            assert ulps(loss, truth.log_sum + np.asarray(truth.target_gap)) <= 2


@pytest.mark.parametrize("offset", [0, 38, -300, 990, 1100, 1e6])
def test_an_offset_costs_float64_no_digit(offset: float) -> None:
    rng = np.random.default_rng(0)
    # Sixteenths: the offset itself rounds none of them away, so all of the error is ours.
    scores = rng.integers(-60, 60, (30, 300)) / 16
    target, one, none = rng.integers(0, 300, 30), np.ones(30), np.zeros(30)
    long = scores.astype(np.longdouble)
    shifted = np.exp(long - long.max(axis=1, keepdims=True))
    total = shifted.sum(axis=1, keepdims=True)
    moved = scores + offset
    parts = row_kernels.row_parts(moved, target)
    np.testing.assert_allclose(parts.log_sum, np.log(total[:, 0]), rtol=5e-16)
    twice, once = np.empty_like(scores), np.empty_like(scores)
    row_kernels.row_gradient(moved, parts, target, one, t=none, out=twice)
    row_kernels.row_parts_and_gradient(moved, target, one, t=none, out=once)
    np.testing.assert_allclose(twice, shifted / total, rtol=2e-15)
    np.testing.assert_allclose(once, shifted / total, rtol=2e-15)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_chunks_on_both_sides_of_where_the_shift_changes_kind(dtype: Any) -> None:
    rng = np.random.default_rng(0)
    for steps in ([990, 1010, 1000], [1010, 990, 995], [-1010, -990, -1000], [-5, 1500, 1499]):
        scores = rng.standard_normal((20, 3 * 1024)).astype(dtype)
        scores += np.repeat(np.array(steps, dtype), 1024)
        compare(scores, rng.integers(0, 3 * 1024, 20), None, rng, all_parts=True)
        compare(scores, rng.integers(0, 3 * 1024, 20), None, rng, all_parts=False)


@pytest.mark.parametrize("classes", [2, 10, 161, 1000])
def test_a_gradient_keeps_its_digits_where_the_model_is_sure(classes: int) -> None:
    scores = hard_problems(np.random.default_rng(classes), classes)[3]
    target, one = np.zeros(200, int), np.ones(200)
    truth = np.empty(scores.shape)
    parts = rows_reference.row_parts(wide(scores), target)
    rows_reference.row_gradient(wide(scores), parts, target, one, t=one, out=truth)
    for found in (np.empty_like(scores), np.empty_like(scores)):
        row_kernels.row_gradient(
            scores, row_kernels.row_parts(scores, target), target, one, t=one, out=found
        )
        assert ulps(found, truth) <= 16  # the log-sum is rounded between the two passes
        row_kernels.row_parts_and_gradient(scores, target, one, t=one, out=found)
        assert ulps(found, truth) <= 4


def test_a_temperature_at_a_large_offset_loses_nothing() -> None:
    scores = np.random.default_rng(0).integers(-20, 20, (9, 300)).astype(np.float32) + 2**20
    target, one = np.arange(9), np.ones(9)
    truth = np.empty(scores.shape)
    parts = rows_reference.row_parts(wide(scores), target, temperature=0.7)
    rows_reference.row_gradient(wide(scores), parts, target, one, t=one, temperature=0.7, out=truth)
    ours = row_kernels.row_parts(scores, target, temperature=0.7)
    found = row_kernels.row_gradient(
        scores, ours, target, one, t=one, temperature=0.7, out=np.empty_like(scores)
    )
    assert ulps(ours.log_sum, parts.log_sum) <= 2
    np.testing.assert_allclose(found, truth, rtol=2e-6)


@pytest.mark.parametrize("classes", [3, 700, thresholds.BLOCK_COLUMNS + 77])
def test_the_bits_do_not_depend_on_threads_blocks_or_repetition(classes: int) -> None:
    rows = max(2, 2**18 // classes)
    rng = np.random.default_rng(0)
    scores, target = random_scores(rng, rows, classes, np.float32), rng.integers(0, classes, rows)
    one = np.ones(rows)

    def answer(threads: int) -> list[Array]:
        parts = row_kernels.row_parts(scores, target, entropy=True, threads=threads)
        plain = row_kernels.row_parts(scores, target, threads=threads)
        out = np.empty_like(scores)
        row_kernels.row_gradient(scores, parts, target, one, t=one, out=out, threads=threads)
        both = np.empty_like(scores)
        row_kernels.row_parts_and_gradient(scores, target, one, t=one, out=both, threads=threads)
        return [plain.log_sum, np.asarray(parts.mean_gap), out, both]

    once = answer(1)
    for threads in (1, 2, 3, 64):
        for one_of_them, again in zip(once, answer(threads), strict=True):
            np.testing.assert_array_equal(one_of_them, again)
    half = row_kernels.row_parts(scores[rows // 2 :], target[rows // 2 :])
    np.testing.assert_array_equal(half.log_sum, once[0][rows // 2 :])


@pytest.mark.parametrize("classes", [4, 90, 300])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_any_row_stride_and_read_only_memory(dtype: Any, classes: int) -> None:
    rng = np.random.default_rng(0)
    store = random_scores(rng, 12, 2 * classes, dtype)
    target, one = rng.integers(0, classes, 6), np.ones(6)
    views = [store[::-2, :classes], store[6:, classes:], store[::2, 1 : classes + 1]]
    repeated = np.broadcast_to(store[0, :classes], (6, classes))
    for view in [*views, repeated]:
        plain = np.ascontiguousarray(view)
        store.flags.writeable = False
        found, expected = row_kernels.row_parts(view, target), row_kernels.row_parts(plain, target)
        store.flags.writeable = True
        np.testing.assert_array_equal(found.log_sum, expected.log_sum)
        np.testing.assert_array_equal(found.target_gap, expected.target_gap)
        out = np.zeros((12, 2 * classes), dtype)[::-2, 3 : 3 + classes]
        row_kernels.row_gradient(view, found, target, one, t=one, out=out)
        straight = np.empty_like(plain)
        row_kernels.row_gradient(plain, found, target, one, t=one, out=straight)
        np.testing.assert_array_equal(wide(out), wide(straight))
        assert (np.asarray(out.base)[0] == 0).all()  # the rows between are not ours
        in_place = view.copy() if view is repeated else view
        row_kernels.row_parts_and_gradient(in_place, target, one, t=one, out=in_place)
        assert_gradient(in_place, wide(straight))


def test_a_dtype_or_a_stride_that_no_kernel_reads_is_named() -> None:
    target = np.zeros(2, int)
    with pytest.raises(TypeError, match="found int64"):
        row_kernels.row_parts(np.zeros((2, 3), np.int64), target)
    with pytest.raises(TypeError, match="found >f4"):
        row_kernels.row_parts(np.zeros((2, 3), ">f4"), target)
    with pytest.raises(ValueError, match="unit stride"):
        row_kernels.row_parts(np.zeros((3, 2)).T, target)
    one = np.ones(2)
    with pytest.raises(ValueError, match="out: expected"):
        row_kernels.row_parts_and_gradient(np.zeros((2, 3)), target, one, out=np.zeros((2, 4)))


def test_bfloat16_as_bits_is_bfloat16() -> None:
    scores = random_scores(np.random.default_rng(0), 5, 200, BFLOAT16)
    target, one = np.arange(5), np.ones(5)
    bits = scores.view(np.uint16).copy()
    named, plain = (
        row_kernels.row_parts(scores, target),
        row_kernels.row_parts(bits, target, bfloat16=True),
    )
    np.testing.assert_array_equal(named.log_sum, plain.log_sum)
    row_kernels.row_parts_and_gradient(scores, target, one, t=one, out=scores)
    row_kernels.row_parts_and_gradient(bits, target, one, t=one, out=bits, bfloat16=True)
    np.testing.assert_array_equal(scores.view(np.uint16), bits)


@pytest.mark.parametrize(
    ("dtype", "read", "write"),
    [
        (np.dtype(np.float16), from_float16, to_float16),
        (BFLOAT16, from_bfloat16, to_bfloat16),
    ],
    ids=["float16", "bfloat16"],
)
def test_halves_are_read_and_rounded_as_their_dtypes_are(dtype: Any, read: Any, write: Any) -> None:
    @numba.njit(error_model="numpy")  # type: ignore[untyped-decorator]
    def convert(bits: Array, numbers: Array, some: Array, rounded: Array) -> None:
        for j in range(len(bits)):
            numbers[j] = read(bits[j])
        for j in range(len(some)):
            rounded[j] = write(some[j])

    bits = np.arange(2**16, dtype=np.uint16)
    numbers = np.empty(2**16, np.float32)
    exact = bits.view(dtype).astype(np.float32)
    rng = np.random.default_rng(0)
    any_bits = rng.integers(0, 2**32, 2**17, dtype=np.uint32).view(np.float32)
    finite = exact[np.isfinite(exact)]
    between = np.sort(finite)[1:] / 2 + np.sort(finite)[:-1] / 2  # ties
    some = np.concatenate([any_bits, exact, between])
    rounded = np.empty(some.size, np.uint16)
    convert(bits, numbers, some, rounded)
    np.testing.assert_array_equal(numbers, exact)
    np.testing.assert_array_equal(np.signbit(numbers), np.signbit(exact))
    with np.errstate(over="ignore", invalid="ignore"):
        expected = some.astype(dtype)
    np.testing.assert_array_equal(wide(rounded.view(dtype)), wide(expected))


@numba.njit(error_model="numpy")  # type: ignore[untyped-decorator]
def _exponentials(x: Array, zero: Any, one: Any, out: Array) -> None:
    for j in range(len(x)):
        out[j] = exponential(x[j], zero, one, zero)


def test_the_exponential_is_right_to_the_smallest_number() -> None:
    for kind, bias, end in ((np.float32, 24, -103.9), (np.float64, 52, -744.4)):
        x = np.linspace(end, 0, 200_001).astype(kind)
        out = np.empty_like(x)
        _exponentials(x, kind(0), kind(1), out)
        truth = np.ldexp(np.exp(x.astype(np.longdouble)), bias)
        assert np.max(np.abs(out - truth) / np.spacing(truth.astype(kind))) < 1.1
        x = np.array([0, -np.inf, np.nan, -1e30, end - 1], kind)
        out = np.empty_like(x)
        _exponentials(x, kind(0), kind(1), out)
        np.testing.assert_array_equal(out, [2.0**bias, 0, np.nan, 0, 0])


@given(st.floats(0, 1e300))
def test_log1p(x: float) -> None:
    found, truth = _log1p(x), np.log1p(x)
    assert abs(found - truth) <= 2 * np.spacing(truth)


@numba.njit(error_model="numpy")  # type: ignore[untyped-decorator]
def _log1p(x: float) -> float:
    return float(log1p(x))


@given(st.integers(2, 5), st.integers(0, 99), st.booleans())
def test_parts_of_disjoint_columns_merge(pieces: int, seed: int, soft: bool) -> None:
    rng = np.random.default_rng(seed)
    scores = random_scores(rng, 6, 8 * pieces, np.float64, masked=0.4)
    weight = rng.random(8 * pieces)
    index = rng.integers(-1, 8 * pieces, 6)
    target = soft_target(rng, 6, 8 * pieces) if soft else index
    owner = np.where(index < 0, -1, index // 8)
    options = {"smoothing": True, "entropy": True, "argmax": True}
    whole = row_kernels.row_parts(scores, target, weight=weight, **options)
    found = []
    for piece in range(pieces):
        columns = slice(8 * piece, 8 * piece + 8)
        own = target[:, columns] if soft else np.where(owner == piece, index - 8 * piece, -1)
        part = row_kernels.row_parts(
            np.ascontiguousarray(scores[:, columns]), own, weight=weight[columns], **options
        )
        assert part.argmax is not None
        found.append(part._replace(argmax=part.argmax + 8 * piece))
    merged = merge_parts(found, owner)
    assert_parts(merged, whole, 1e-14)


def test_calls_from_several_threads_at_once() -> None:
    rng = np.random.default_rng(0)
    scores, target = random_scores(rng, 500, 700, np.float32), rng.integers(0, 700, 500)
    expected = row_kernels.row_parts(scores, target).log_sum
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: row_kernels.row_parts(scores, target).log_sum, range(8)):
            np.testing.assert_array_equal(found, expected)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_forked_child_has_threads_of_its_own() -> None:
    program = """
import os
import numpy as np
from bridle.kernels.numba import row_kernels
scores, target = np.zeros((1000, 1000), np.float32), np.zeros(1000, int)
row_kernels.row_parts(scores, target)
child = os.fork()
if child == 0:
    parts = row_kernels.row_parts(scores, target)
    os._exit(7 if np.allclose(parts.log_sum, np.log(1000)) else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "7", done.stderr
