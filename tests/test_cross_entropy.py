"""Cross-entropy and its gradient: against the oracle, by law, and with hostile numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bridle
import oracle
from bridle.checks import OnEmpty, Reduction
from bridle.kernels.numpy import reference
from bridle.losses import class_targets
from problems import INDEX_DTYPES, Problem, problems

Array = npt.NDArray[Any]

INFINITY = float("inf")
FLOAT64 = [np.dtype(np.float64)]
REDUCTIONS = st.sampled_from(["mean", "sum", "none"])


def gradient_of(problem: Problem, **options: Any) -> tuple[Array, Array]:
    return bridle.cross_entropy_gradient(
        problem.scores, problem.target, **{**problem.options, **options}
    )


# --- against the oracle -------------------------------------------------------------------------


@settings(max_examples=300)
@given(problem=problems(layouts=True), reduction=REDUCTIONS)
def test_loss_and_gradient_are_the_oracle_s(problem: Problem, reduction: Reduction) -> None:
    scores, target = problem.scores.copy(), problem.target.copy()
    answer = oracle.class_loss(problem.scores, problem.target, **problem.options)
    if reduction == "mean" and answer.normalizer == 0:
        return  # an empty mean: see the edge tests
    right_loss, right_gradient = answer.reduced(reduction)
    loss, gradient = gradient_of(problem, reduction=reduction)

    assert loss.dtype == problem.compute_dtype
    assert loss.shape == np.shape(right_loss)
    oracle.assert_close(loss, right_loss, problem.compute_dtype)
    assert gradient.dtype == problem.scores.dtype
    assert gradient.shape == problem.scores.shape
    masses = 10 / answer.normalizer if reduction == "mean" else 10  # the weights go up to 3 · 3
    kept = scores.dtype.newbyteorder("=") if scores.dtype.kind == "f" else scores.dtype
    oracle.assert_close(gradient, right_gradient, kept, scale=float(masses))

    np.testing.assert_array_equal(oracle.long(problem.scores), oracle.long(scores))
    np.testing.assert_array_equal(problem.target, target)


@given(problem=problems(layouts=True), reduction=REDUCTIONS)
def test_asking_for_the_gradient_does_not_change_the_loss(
    problem: Problem, reduction: Reduction
) -> None:
    loss = bridle.cross_entropy(
        problem.scores, problem.target, **problem.options, reduction=reduction
    )
    np.testing.assert_array_equal(loss, gradient_of(problem, reduction=reduction)[0])


def test_lists_will_do() -> None:
    loss, gradient = bridle.cross_entropy_gradient([[1, 2], [3, 5]], [0, 1], [1, 2])
    right = oracle.class_loss([[1, 2], [3, 5]], [0, 1], [1, 2]).reduced("mean")
    np.testing.assert_allclose(loss, float(right[0]), rtol=1e-15)
    np.testing.assert_allclose(gradient, right[1].astype(float), rtol=1e-14)


# --- laws ---------------------------------------------------------------------------------------


@given(seed=st.integers(0, 2**32), rows=st.integers(1, 7), classes=st.integers(1, 11))
def test_the_gradient_is_softmax_minus_one_hot(seed: int, rows: int, classes: int) -> None:
    rng = np.random.default_rng(seed)
    scores, target = rng.normal(size=(rows, classes)), rng.integers(0, classes, rows)
    residual = bridle.softmax(scores) - np.eye(classes)[target]
    _, gradient = bridle.cross_entropy_gradient(scores, target, reduction="sum")
    np.testing.assert_allclose(gradient, residual, atol=1e-15)
    _, gradient = bridle.cross_entropy_gradient(scores, target)
    np.testing.assert_allclose(gradient, residual / rows, atol=1e-15)


@given(problem=problems(dtypes=FLOAT64), reduction=st.sampled_from(["mean", "sum"]))
def test_the_gradient_is_the_central_difference(problem: Problem, reduction: Reduction) -> None:
    scores, options = problem.scores, {**problem.options, "reduction": reduction}
    if np.isnan(bridle.cross_entropy(scores, problem.target, **options)):
        return  # an empty mean
    _, gradient = bridle.cross_entropy_gradient(scores, problem.target, **options)
    step = 1e-5
    for at in list(np.ndindex(scores.shape))[:30]:
        ends = []
        for sign in (-1, 1):
            moved = scores.copy()
            moved[at] += sign * step
            # Scores between 0 and 1 may add up to 1 by chance; that is not this test's subject.
            ends.append(bridle.cross_entropy(moved, problem.target, **options))
        difference = (ends[1] - ends[0]) / (2 * step)
        np.testing.assert_allclose(gradient[at], difference, rtol=1e-5, atol=3e-6)


@given(problem=problems(dtypes=FLOAT64), shift=st.integers(-(2**20), 2**20))
def test_a_common_shift_of_the_scores_changes_nothing(problem: Problem, shift: int) -> None:
    problem.scores = np.round(problem.scores)  # so that the shifted scores are exact as well
    before = gradient_of(problem, reduction="none")
    problem.scores = problem.scores + shift
    after = gradient_of(problem, reduction="none")
    np.testing.assert_array_equal(before[0], after[0])
    np.testing.assert_array_equal(before[1], after[1])


@given(problem=problems(dtypes=FLOAT64, ignored=False), seed=st.integers(0, 2**32))
def test_permuted_classes_give_the_same_loss_and_the_permuted_gradient(
    problem: Problem, seed: int
) -> None:
    axis = min(problem.scores.ndim - 1, 1)
    order = np.random.default_rng(seed).permutation(problem.scores.shape[axis])
    loss, gradient = gradient_of(problem, reduction="none")
    options = dict(problem.options)
    if "weight" in options:
        options["weight"] = options["weight"][order]
    target = (
        np.take(problem.target, order, axis) if problem.soft else np.argsort(order)[problem.target]
    )
    scores = np.take(problem.scores, order, axis)
    moved = bridle.cross_entropy_gradient(scores, target, **options, reduction="none")
    np.testing.assert_allclose(moved[0], loss, rtol=1e-13)
    np.testing.assert_allclose(moved[1], np.take(gradient, order, axis), rtol=1e-12, atol=1e-14)


@given(problem=problems(dtypes=FLOAT64, ignored=False), data=st.data(), reduction=REDUCTIONS)
def test_a_masked_class_is_a_column_left_out(
    problem: Problem, data: st.DataObject, reduction: Reduction
) -> None:
    """With smoothing, class weights, sample weights and soft targets alike."""
    axis = min(problem.scores.ndim - 1, 1)
    place = data.draw(st.integers(0, problem.scores.shape[axis]))
    widened = Problem(
        np.insert(problem.scores, place, -np.inf, axis), problem.target, dict(problem.options)
    )
    if problem.soft:
        widened.target = np.insert(problem.target, place, 0, axis)
    else:
        widened.target = np.where(problem.target >= place, problem.target + 1, problem.target)
        widened.target = widened.target.astype(problem.target.dtype)
    if "weight" in problem.options:
        widened.options["weight"] = np.insert(problem.options["weight"], place, 2.5)
    loss, gradient = gradient_of(problem, reduction=reduction)
    wide_loss, wide_gradient = gradient_of(widened, reduction=reduction)
    np.testing.assert_allclose(wide_loss, loss, rtol=1e-14)
    assert (np.take(wide_gradient, place, axis) == 0).all()
    np.testing.assert_allclose(np.delete(wide_gradient, place, axis), gradient, atol=1e-14)


@given(problem=problems(layouts=True), reduction=REDUCTIONS, numbers=st.integers(1, 40))
def test_the_size_of_the_block_changes_no_bit(
    problem: Problem, reduction: Reduction, numbers: int
) -> None:
    whole = gradient_of(problem, reduction=reduction)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(class_targets, "_BLOCK_NUMBERS", numbers)
        pieces = gradient_of(problem, reduction=reduction)
    np.testing.assert_array_equal(pieces[0], whole[0])
    np.testing.assert_array_equal(oracle.long(pieces[1]), oracle.long(whole[1]))


@pytest.mark.parametrize("dtype", oracle.FLOAT_DTYPES, ids=str)
@pytest.mark.parametrize("layout", oracle.LAYOUTS)
def test_the_size_of_the_block_changes_no_bit_of_long_rows(
    layout: str, dtype: np.dtype[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Hundreds of terms: here the order of summation shows (a Fortran block had another one).
    rng = np.random.default_rng(5)
    scores = oracle.LAYOUTS[layout](rng.normal(scale=3, size=(31, 997)).astype(dtype))
    target = rng.integers(0, 997, 31)
    options: dict[str, Any] = {"label_smoothing": 0.1, "reduction": "none"}
    answers = []
    for numbers in (2**16, 997, 5 * 997 + 1, 1):
        monkeypatch.setattr(class_targets, "_BLOCK_NUMBERS", numbers)
        answers.append(bridle.cross_entropy(scores, target, **options))
    for answer in answers[1:]:
        np.testing.assert_array_equal(answer, answers[0])


@pytest.mark.parametrize("classes", [2, 3, 17, 201])
def test_the_size_of_the_block_changes_no_bit_of_weighted_distributions(
    classes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(classes)
    scores, weight = rng.normal(size=(53, classes)), rng.uniform(size=classes)
    target = rng.dirichlet(np.ones(classes), 53)
    answers = []
    for numbers in (2**16, 5 * classes, 1):
        monkeypatch.setattr(class_targets, "_BLOCK_NUMBERS", numbers)
        answers.append(bridle.cross_entropy_gradient(scores, target, weight=weight))
    for _, gradient in answers[1:]:
        np.testing.assert_array_equal(gradient, answers[0][1])


@given(
    problem=problems(dtypes=FLOAT64, smallest_batch=2, sample_weight=False),
    reduction=st.sampled_from(["mean", "sum"]),
    data=st.data(),
)
def test_weight_k_is_the_sample_k_times(
    problem: Problem, reduction: Reduction, data: st.DataObject
) -> None:
    rows = len(problem.scores)
    times = np.array(data.draw(st.lists(st.integers(0, 3), min_size=rows, max_size=rows)))
    problem.scores[times == 0] = np.nan  # who does not count may be broken as well
    loss, gradient = gradient_of(problem, sample_weight=times, reduction=reduction)
    copies = Problem(
        np.repeat(problem.scores, times, axis=0),
        np.repeat(problem.target, times, axis=0),
        problem.options,
    )
    right_loss, right_gradient = gradient_of(copies, reduction=reduction)
    np.testing.assert_allclose(loss, right_loss, rtol=1e-13)
    first_copy = np.cumsum(times) - times
    for row in range(rows):
        right = times[row] * right_gradient[first_copy[row]] if times[row] else 0
        np.testing.assert_allclose(gradient[row], right, rtol=1e-12, atol=1e-15)


def test_a_weight_per_sample_serves_all_its_positions() -> None:
    rng = np.random.default_rng(0)
    scores, target = rng.normal(size=(3, 5, 2, 4)), rng.integers(0, 5, (3, 2, 4))
    weight = rng.random(3)
    spread = np.broadcast_to(weight[:, None, None], target.shape)
    for reduction in ("mean", "sum", "none"):
        np.testing.assert_array_equal(
            bridle.cross_entropy(scores, target, sample_weight=weight, reduction=reduction),
            bridle.cross_entropy(scores, target, sample_weight=spread, reduction=reduction),
        )


@given(
    problem=problems(dtypes=FLOAT64, soft=False, ignored=False, smallest_batch=1),
    one_hot_dtype=st.sampled_from(["bool", "uint8", "int64", "float16", "float64"]),
    reduction=REDUCTIONS,
)
def test_one_hot_is_the_index(problem: Problem, one_hot_dtype: str, reduction: Reduction) -> None:
    axis = min(problem.scores.ndim - 1, 1)
    one_hot = np.eye(problem.scores.shape[axis], dtype=one_hot_dtype)[problem.target]
    one_hot = np.moveaxis(one_hot, -1, axis)
    loss, gradient = gradient_of(problem, reduction=reduction)
    soft = gradient_of(Problem(problem.scores, one_hot, problem.options), reduction=reduction)
    if reduction == "mean" and "weight" in problem.options:
        # As in torch, a mean over distributions divides by the number of the samples, a mean over
        # indices by the weights of their classes.
        plain, positions = problem.options.get("sample_weight"), problem.target
        plain = np.ones(positions.shape) if plain is None else plain
        ratio = plain.sum() / (plain * problem.options["weight"][positions]).sum()
        soft = (soft[0] * ratio, soft[1] * ratio)
    np.testing.assert_allclose(soft[0], loss, rtol=1e-13)
    np.testing.assert_allclose(soft[1], gradient, rtol=1e-12, atol=1e-15)


@given(problem=problems(dtypes=FLOAT64, soft=True))
def test_the_gradient_of_a_sample_sums_to_nothing(problem: Problem) -> None:
    _, gradient = gradient_of(problem, reduction="none")
    sums = gradient.sum(axis=min(gradient.ndim - 1, 1))
    np.testing.assert_allclose(sums, 0, atol=1e-13)


@given(problem=problems(dtypes=FLOAT64), factor=st.sampled_from([1e-30, 0.125, 3.0, 1e30]))
def test_a_mean_does_not_change_with_the_scale_of_the_sample_weights(
    problem: Problem, factor: float
) -> None:
    target = problem.target
    axis = min(target.ndim - 1, 1)
    shape = np.take(target, 0, axis).shape if problem.soft else target.shape
    options = {**problem.options, "sample_weight": np.full(shape, factor)}
    plain = {**problem.options, "sample_weight": np.ones(shape)}
    loss, gradient = bridle.cross_entropy_gradient(problem.scores, target, **options)
    right = bridle.cross_entropy_gradient(problem.scores, target, **plain)
    np.testing.assert_allclose(loss, right[0], rtol=1e-13)
    np.testing.assert_allclose(gradient, right[1], rtol=1e-12, atol=1e-15)


@given(problem=problems(dtypes=FLOAT64, smallest_batch=1))
def test_the_residual_of_a_fit_is_the_gradient_of_cross_entropy(problem: Problem) -> None:
    """The kernel that a fit calls: scores without a mask, a weight per row, no other option."""
    rng = np.random.default_rng(0)
    scores = rng.normal(scale=5, size=problem.scores.shape[:2])
    rows, classes = scores.shape
    weight = np.array(rng.random(rows))
    soft = bridle.softmax(rng.normal(size=scores.shape))
    hard = np.array(rng.integers(0, classes, rows))
    target: Array
    no_weight_and_some: list[Array | None] = [None, weight]
    for target in (hard, soft):
        losses = bridle.cross_entropy(scores, target, reduction="none")
        for per_row in no_weight_and_some:
            _, gradient = bridle.cross_entropy_gradient(
                scores, target, sample_weight=per_row, reduction="none"
            )
            workspace = scores.copy()
            found = reference.residual_in_place(workspace, target, per_row)
            np.testing.assert_allclose(found, losses, rtol=1e-12, atol=1e-14)
            np.testing.assert_allclose(workspace, gradient, rtol=1e-12, atol=1e-14)


# --- hostile numbers ----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", oracle.FLOAT_DTYPES, ids=str)
def test_the_smallest_losses_are_not_rounded_away(dtype: np.dtype[Any]) -> None:
    scores = np.array([[0, -40], [-40, 0], [7, -80]]).astype(dtype)
    loss, gradient = bridle.cross_entropy_gradient(scores, [0, 1, 0], reduction="none")
    right = np.log1p(np.exp(np.array([-40.0, -40, -87])))  # 4.2e-18 and 1.6e-38
    np.testing.assert_allclose(loss.astype(np.float64), right, rtol=1e-6)
    if dtype.name != "float16":  # which has no number so small
        np.testing.assert_allclose(
            gradient[[0, 1, 2], [1, 0, 1]].astype(np.float64), right, rtol=oracle.precision(dtype)
        )


def test_an_offset_of_a_million_costs_only_what_the_scores_have_lost() -> None:
    rng = np.random.default_rng(0)
    scores = (rng.normal(scale=3, size=(50, 7)) + 1e6).astype(np.float32)
    target = rng.integers(0, 7, 50)
    answer = oracle.class_loss(scores, target)
    loss, gradient = bridle.cross_entropy_gradient(scores, target, reduction="none")
    oracle.assert_close(loss, answer.losses, np.float32, ulps=4)
    oracle.assert_close(gradient, answer.gradients, np.float32, ulps=4, scale=1)


@pytest.mark.parametrize(
    ("dtype", "large"),
    [("float16", 65504.0), ("float32", 1e38), ("float64", 1e308), ("longdouble", 1e308)],
)
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_the_largest_scores_do_not_overflow(
    dtype: str, large: float, label_smoothing: float
) -> None:
    scores = np.array([[large, -large], [-large, -large], [0, large], [large, large]]).astype(dtype)
    target = np.array([1, 0, 1, 0])
    loss, gradient = bridle.cross_entropy_gradient(
        scores, target, reduction="none", label_smoothing=label_smoothing
    )
    exact = oracle.class_loss(scores, target, label_smoothing=label_smoothing)
    # A difference of 2e308 is more than a float64 holds: infinite, and rightly so.
    within = exact.losses <= np.finfo(loss.dtype).max
    oracle.assert_close(loss[within], exact.losses[within], loss.dtype)
    assert (loss[~within] == INFINITY).all()
    oracle.assert_close(gradient, exact.gradients, dtype, scale=1)


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_the_sum_of_large_losses_is_kept_wider_than_they_are(reduction: Reduction) -> None:
    scores = np.tile(np.array([0, 1e38], np.float32), (5, 1))
    weight = np.array([0.2, 1])
    loss = bridle.cross_entropy(scores, np.zeros(5, int), weight, reduction=reduction)
    np.testing.assert_allclose(loss, 1e38, rtol=1e-6)
    # What a float32 cannot hold at all is infinite, without a warning of NumPy's.
    assert bridle.cross_entropy(scores, np.zeros(5, int), reduction="sum") == INFINITY


def test_a_weight_that_takes_the_answer_out_of_range_gives_infinity() -> None:
    scores = np.array([[0.0, 1e3]], np.float16)
    loss, gradient = bridle.cross_entropy_gradient(scores, [0], [1e38, 1], reduction="sum")
    assert loss == INFINITY
    np.testing.assert_array_equal(gradient, [[-INFINITY, INFINITY]])


def test_half_precision_sample_weights_are_summed_in_float64() -> None:
    scores = np.tile(np.array([[0.0, 1.0]], np.float16), (70_001, 1))
    target = np.zeros(70_001, np.int8)
    plain = bridle.cross_entropy(scores, target)
    weighted = bridle.cross_entropy(scores, target, sample_weight=np.ones(70_001, np.float16))
    assert weighted == plain


def test_sums_of_losses_and_of_weights_are_kept_in_float64() -> None:
    # 2²⁴ + 1 is 2²⁴ in float32: a sum kept there would lose the six other rows.
    scores, weight = np.tile(np.array([0.0, 1.0], np.float32), (7, 1)), np.ones(7)
    weight[0] = 2**24
    target = np.zeros(7, int)
    one = bridle.cross_entropy(scores[0], 0)
    np.testing.assert_allclose(
        bridle.cross_entropy(scores, target, sample_weight=weight), one, rtol=1e-7
    )
    total = bridle.cross_entropy(scores, target, sample_weight=weight, reduction="sum")
    np.testing.assert_allclose(total, one * weight.sum(), rtol=1e-7)


def test_a_mean_over_targets_of_weight_zero_is_a_mean_over_nothing() -> None:
    options: dict[str, Any] = {"weight": [1, 0, 1], "label_smoothing": 0.1}
    assert np.isnan(bridle.cross_entropy(np.ones((2, 3)), [1, 1], **options))
    loss, gradient = bridle.cross_entropy_gradient(
        np.ones((2, 3)), [1, 1], **options, on_empty="zero"
    )
    assert loss == 0
    np.testing.assert_array_equal(gradient, np.zeros((2, 3)))


def test_weights_too_small_for_the_dtype_count_as_none_at_all() -> None:
    # They are 0 in float32: the mean is over nothing, and must not be a perfect loss of 0.
    scores = np.zeros((2, 3), np.float32)
    assert np.isnan(bridle.cross_entropy(scores, [0, 1], sample_weight=[1e-50, 1e-50]))


@pytest.mark.parametrize("label_smoothing", [0.0, 0.2])
def test_a_long_double_is_used_to_the_end(label_smoothing: float) -> None:
    rng = np.random.default_rng(2)
    scores, target = oracle.long(rng.normal(size=(7, 3))), rng.integers(0, 3, 7)
    weight, sample_weight = oracle.long(rng.random(3)) / 3, oracle.long(rng.random(7)) / 7
    options: dict[str, Any] = {"label_smoothing": label_smoothing, "sample_weight": sample_weight}
    loss, gradient = bridle.cross_entropy_gradient(scores, target, weight, **options)
    right = oracle.class_loss(scores, target, weight, **options).reduced("mean")
    oracle.assert_close(loss, right[0], np.longdouble)
    oracle.assert_close(gradient, right[1], np.longdouble, scale=1)


@given(problem=problems(smallest_batch=2, ignored=False), reason=st.sampled_from([0, 1, 2]))
def test_a_broken_row_touches_no_other(problem: Problem, reason: int) -> None:
    before = gradient_of(problem, reduction="none")
    broken = Problem(problem.scores.copy(), problem.target, problem.options)
    broken.scores[0] = [np.nan, np.inf, -np.inf][reason]
    after = gradient_of(broken, reduction="none")
    assert np.isnan(after[0][0]).all()
    assert np.isnan(oracle.long(after[1][0])).all()
    np.testing.assert_array_equal(after[0][1:], before[0][1:])
    np.testing.assert_array_equal(oracle.long(after[1][1:]), oracle.long(before[1][1:]))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_one_bad_score_breaks_its_row_whatever_the_target(bad: float, place: int) -> None:
    scores = np.array([[1.0, 2, 3], [1, 2, 3]])
    scores[0, place] = bad
    soft = [[0.0, 1, 0], [0.0, 1, 0]]  # no mass at two of the places
    for target in ([1, 1], soft):
        loss, gradient = bridle.cross_entropy_gradient(scores, target, reduction="none")
        assert np.isnan(loss[0])
        assert np.isnan(gradient[0]).all()
        assert np.isfinite(loss[1])
        assert np.isfinite(gradient[1]).all()


@pytest.mark.parametrize("target", [[1, 0], [[0.3, 0.7, 0], [1, 0, 0]]], ids=["index", "soft"])
def test_a_masked_target_class_has_loss_infinity_and_a_finite_gradient(
    target: list[Any],
) -> None:
    scores = np.array([[1.0, -INFINITY, 3], [1, 2, 3]])
    loss, gradient = bridle.cross_entropy_gradient(scores, target, reduction="none")
    assert loss[0] == INFINITY
    assert np.isfinite(loss[1])
    one_hot = np.array(target) if np.ndim(target) == 2 else np.eye(3)[target]
    np.testing.assert_allclose(gradient, bridle.softmax(scores) - one_hot, atol=1e-15)
    loss, gradient = bridle.cross_entropy_gradient(scores, target)
    assert loss == INFINITY
    assert np.isfinite(gradient).all()


# --- targets ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", INDEX_DTYPES)
def test_an_index_of_any_width_is_the_same_index(dtype: str) -> None:
    scores = np.random.default_rng(0).normal(size=(4, 300))
    target = np.array([0, 5, 127, 9], dtype)
    np.testing.assert_array_equal(
        bridle.cross_entropy(scores, target, reduction="none"),
        bridle.cross_entropy(scores, target.astype(np.int64), reduction="none"),
    )


def test_minus_one_hundred_does_not_wrap_around_in_unsigned_bytes() -> None:
    scores = np.zeros((3, 200))
    loss = bridle.cross_entropy(scores, np.array([156, 0, 199], np.uint8), reduction="none")
    np.testing.assert_allclose(loss, np.log(200))
    loss = bridle.cross_entropy(scores, np.array([-100, 0, 99], np.int8), reduction="none")
    np.testing.assert_allclose(loss, [0, np.log(200), np.log(200)])


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "uint64", "int16", "int64"])
def test_a_positive_ignore_index_serves_unsigned_targets(dtype: str) -> None:
    rng = np.random.default_rng(0)
    scores, target = rng.normal(size=(5, 3)), np.array([0, 255, 2, 255, 1], dtype)
    kept = target != 255
    loss, gradient = bridle.cross_entropy_gradient(scores, target, ignore_index=255)
    np.testing.assert_allclose(loss, bridle.cross_entropy(scores[kept], target[kept]), rtol=1e-15)
    assert (gradient[~kept] == 0).all()
    assert (gradient[kept] != 0).all()


def test_an_ignored_row_may_hold_anything() -> None:
    scores = np.array([[np.nan, 1], [1, 2], [INFINITY, 0], [-INFINITY, -INFINITY]])
    for target, index in (([-100, 0, -100, -100], -100), ([1, 0, 1, 1], 1)):
        for smoothing in (0.0, 0.3):
            loss, gradient = bridle.cross_entropy_gradient(
                scores, target, ignore_index=index, label_smoothing=smoothing
            )
            right = bridle.cross_entropy_gradient(
                scores[[1]], [0], ignore_index=index, label_smoothing=smoothing
            )
            assert loss == right[0]
            np.testing.assert_array_equal(gradient[[1]], right[1])
            assert (gradient[[0, 2, 3]] == 0).all()


def test_unchecked_targets_out_of_range_give_nan_in_their_own_row() -> None:
    scores = np.random.default_rng(0).normal(size=(4, 3))
    target = [0, 3, -1, 2]
    loss, gradient = bridle.cross_entropy_gradient(
        scores, target, reduction="none", check=False, label_smoothing=0.1
    )
    np.testing.assert_array_equal(np.isnan(loss), [False, True, True, False])
    np.testing.assert_array_equal(np.isnan(gradient).all(axis=1), np.isnan(loss))
    right = bridle.cross_entropy_gradient(
        scores[[0, 3]], [0, 2], reduction="none", label_smoothing=0.1
    )
    np.testing.assert_array_equal(loss[[0, 3]], right[0])
    np.testing.assert_array_equal(gradient[[0, 3]], right[1])
    assert np.isnan(bridle.cross_entropy(scores, target, [1, 2, 3], check=False))


def test_unchecked_values_are_taken_as_they_are() -> None:
    scores = np.array([[1.0, 2, 3]])
    twice = bridle.cross_entropy(scores, [[1.0, 0, 1]], check=False)
    one, other = (bridle.cross_entropy(scores, [index]) for index in (0, 2))
    np.testing.assert_allclose(twice, one + other, rtol=1e-15)
    negative = bridle.cross_entropy(scores, [0], [-1, 1, 1], reduction="sum", check=False)
    assert negative == -one


# --- an empty mean ------------------------------------------------------------------------------

EMPTY: list[tuple[Array, Array, dict[str, Any]]] = [
    (np.zeros((0, 3)), np.zeros(0, int), {}),
    (np.zeros((0, 3)), np.zeros((0, 3)), {}),
    (np.zeros((2, 3, 0)), np.zeros((2, 0), int), {}),
    (np.zeros((2, 3)), np.array([-100, -100]), {}),
    (np.full((2, 3), np.nan), np.array([1, 1]), {"ignore_index": 1}),
    (np.ones((2, 3)), np.array([1, 1]), {"sample_weight": [0, 0]}),
    (np.ones(3), np.array(-100), {}),
    (np.ones((2, 3), np.float16), np.array([1, 1]), {"weight": [1, 0, 1]}),
]


@pytest.mark.parametrize(("scores", "target", "options"), EMPTY)
def test_a_mean_over_nothing(scores: Array, target: Array, options: dict[str, Any]) -> None:
    answers: list[tuple[OnEmpty, float]] = [("nan", np.nan), ("zero", 0.0)]
    for on_empty, right in answers:
        loss, gradient = bridle.cross_entropy_gradient(scores, target, **options, on_empty=on_empty)
        np.testing.assert_array_equal(loss, right)
        assert loss.dtype == (np.float32 if scores.dtype == np.float16 else scores.dtype)
        np.testing.assert_array_equal(gradient, np.zeros(scores.shape))
    with pytest.raises(bridle.InputError, match=r"^target: the mean is over no sample"):
        bridle.cross_entropy(scores, target, **options, on_empty="raise")


@pytest.mark.parametrize(("scores", "target", "options"), EMPTY)
def test_a_sum_over_nothing_is_zero_and_a_row_of_nothing_too(
    scores: Array, target: Array, options: dict[str, Any]
) -> None:
    for reduction in ("sum", "none"):
        loss, gradient = bridle.cross_entropy_gradient(
            scores, target, **options, reduction=reduction, on_empty="raise"
        )
        np.testing.assert_array_equal(loss, np.zeros(np.shape(loss)))
        np.testing.assert_array_equal(gradient, np.zeros(scores.shape))
