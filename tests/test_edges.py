"""The table of edges in the design, line by line: those that concern the losses on arrays.

Elsewhere: what happens in a fit (one class, separable data), in files (models, text, pages), and
how the judge counts infinite losses. The lines about a GPU wait for its kernels.
"""

from __future__ import annotations

import itertools
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import bridle
import oracle
from bridle.losses.class_targets import class_targets
from bridle.losses.score_rows import rows_of_scores

Array = npt.NDArray[Any]

INFINITY = float("inf")


def random_problem(*shape: int, dtype: npt.DTypeLike = np.float64) -> tuple[Array, Array]:
    rng = np.random.default_rng(sum(shape))
    scores = rng.normal(scale=3, size=shape).astype(dtype)
    positions = (*shape[:1], *shape[2:]) if len(shape) > 1 else ()
    return scores, rng.integers(0, shape[min(len(shape) - 1, 1)], positions)


def test_target_outside_the_classes_and_not_ignored() -> None:
    scores = np.zeros((4, 3))
    for bad in (3, -1, -99, 2**40):
        for error in (IndexError, ValueError, bridle.InputError):
            with pytest.raises(error) as raised:
                bridle.cross_entropy(scores, [0, bad, -100, bad])
            expected = f"target: row 1 is {bad}, expected a class index in [0, 3)"
            assert str(raised.value) == expected
        loss = bridle.cross_entropy(scores, [0, bad, -100, 1], reduction="none", check=False)
        np.testing.assert_array_equal(np.isnan(loss), [False, True, False, False])


def test_integer_targets_of_any_width_signed_or_not_and_bool_for_two_classes() -> None:
    scores, target = random_problem(7, 3)
    right = bridle.cross_entropy(scores, target, reduction="none")
    for width in (8, 16, 32, 64):
        for kind in ("int", "uint"):
            found = bridle.cross_entropy(scores, target.astype(f"{kind}{width}"), reduction="none")
            np.testing.assert_array_equal(found, right)
    two, answers = random_problem(7, 2)
    np.testing.assert_array_equal(
        bridle.cross_entropy_gradient(two, answers.astype(bool))[1],
        bridle.cross_entropy_gradient(two, answers)[1],
    )
    with pytest.raises(bridle.InputError, match="booleans stand for two classes"):
        bridle.cross_entropy(scores, target.astype(bool))


@pytest.mark.parametrize(
    ("scores", "target"),
    [(np.ones((2, 3)), np.full(2, -100)), (np.ones((0, 3)), np.zeros(0, int))],
    ids=["every target ignored", "no sample"],
)
def test_every_target_ignored_or_no_sample_and_a_mean(scores: Array, target: Array) -> None:
    assert np.isnan(bridle.cross_entropy(scores, target))
    loss, gradient = bridle.cross_entropy_gradient(scores, target, on_empty="zero")
    assert loss == 0
    np.testing.assert_array_equal(gradient, np.zeros(scores.shape))
    with pytest.raises(bridle.InputError):
        bridle.cross_entropy(scores, target, on_empty="raise")


@pytest.mark.parametrize("target", [[0, 2], [[0.5, 0, 0.5], [0, 0, 1]]], ids=["index", "soft"])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_score_minus_infinity_is_a_masked_class(target: Any, label_smoothing: float) -> None:
    scores = np.array([[1.0, -INFINITY, 3], [0, -INFINITY, -2]])
    loss, gradient = bridle.cross_entropy_gradient(
        scores, target, reduction="none", label_smoothing=label_smoothing
    )
    assert np.isfinite(loss).all()
    assert (gradient[:, 1] == 0).all()
    assert np.isfinite(gradient).all()
    assert (bridle.softmax(scores)[:, 1] == 0).all()


def test_target_class_masked_with_minus_infinity() -> None:
    scores = np.array([[-INFINITY, 1, 2]])
    for smoothing in (0.0, 0.1):
        loss, gradient = bridle.cross_entropy_gradient(scores, [0], label_smoothing=smoothing)
        assert loss == INFINITY
        assert np.isfinite(gradient).all()


def test_a_row_all_minus_infinity_a_nan_or_plus_infinity() -> None:
    scores, target = random_problem(6, 3)
    right = bridle.cross_entropy_gradient(scores, target, reduction="none")
    scores[1], scores[2, 0], scores[4, 2] = -INFINITY, np.nan, INFINITY
    found = bridle.cross_entropy_gradient(scores, target, reduction="none")
    assert np.isnan(found[0][[1, 2, 4]]).all()
    for before, after in zip(right, found, strict=True):
        np.testing.assert_array_equal(after[[0, 3, 5]], before[[0, 3, 5]])


@pytest.mark.parametrize(
    ("dtype", "large"), [("float32", 1e38), ("float16", 65504.0), ("float32", 1e6)]
)
def test_largest_scores_and_a_common_offset(dtype: str, large: float) -> None:
    for row in ([large, -large, 0], [large, large, large - 8], [-large, -large, -large]):
        scores = np.array([row], dtype)
        for target in range(3):
            loss, gradient = bridle.cross_entropy_gradient(scores, [target])
            right = oracle.class_loss(scores, [target])
            oracle.assert_close(loss, right.losses[0], np.float32, ulps=2)
            oracle.assert_close(gradient, right.gradients, dtype, ulps=2, scale=1)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_scores(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    half = next(each for each in oracle.FLOAT_DTYPES if each.name == dtype)
    scores, target = random_problem(11, 1009, dtype=half)
    right = oracle.class_loss(scores, target).reduced("mean")
    losses = set()
    for numbers in (1, 1009, 3000, 2**16):
        monkeypatch.setattr("bridle.losses.class_targets._BLOCK_NUMBERS", numbers)
        loss, gradient = bridle.cross_entropy_gradient(scores, target)
        assert loss.dtype == np.float32
        assert gradient.dtype == half
        oracle.assert_close(loss, right[0], np.float32, ulps=4)
        losses.add(float(loss))
    assert len(losses) == 1


def test_probabilities_given_where_scores_are_expected() -> None:
    probabilities = bridle.softmax(random_problem(5, 3)[0])
    target = np.zeros(5, int)
    for function in (bridle.cross_entropy, bridle.cross_entropy_gradient):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            function(probabilities, target)
        (warning,) = caught
        assert "use bridle.nll" in str(warning.message)
        assert warning.filename == __file__  # the caller's line, not one of ours


@pytest.mark.parametrize("dtype", oracle.FLOAT_DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(3,), (1, 2), (5, 3, 2), (2, 1009)], ids=str)
def test_probabilities_are_recognised_in_every_dtype_and_layout(
    shape: tuple[int, ...], dtype: np.dtype[Any]
) -> None:
    scores, target = random_problem(*shape, dtype=dtype)
    probabilities = bridle.softmax(scores, axis=min(len(shape) - 1, 1))
    with pytest.warns(UserWarning, match="expected scores"):
        bridle.cross_entropy(probabilities, target)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bridle.cross_entropy(scores, target)
        bridle.cross_entropy(probabilities, target, check=False)


@pytest.mark.parametrize(
    "scores",
    [
        np.zeros((2, 3)),
        np.array([[0.5, 0.5], [0.5, 0.6]]),  # one row that is none
        np.array([[0.5, 0.5], [np.nan, 1]]),
        np.array([[0.5, 0.5], [-INFINITY, 0]]),
        np.array([[1.0, 0], [0, 1]]),  # small integers are scores as often as not
        np.array([[1], [1]]),  # one class
        np.zeros((0, 3)),
        np.array([[0.5, 0.5], [1.5, -0.5]]),
    ],
)
def test_what_is_no_probability_is_no_reason_to_warn(scores: Array) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bridle.cross_entropy(scores, np.zeros(len(scores), int))


@pytest.mark.parametrize(
    "shape", [(1,), (2,), (1, 1), (5, 1), (1, 2), (1, 7), (1, 3, 1), (2, 1, 3)]
)
def test_one_class_two_classes_one_sample_one_dimension(shape: tuple[int, ...]) -> None:
    scores, target = random_problem(*shape)
    loss, gradient = bridle.cross_entropy_gradient(scores, target)
    right_loss, right_gradient = oracle.class_loss(scores, target).reduced("mean")
    oracle.assert_close(loss, right_loss, np.float64)
    oracle.assert_close(gradient, right_gradient, np.float64, scale=1)
    if shape[min(len(shape) - 1, 1)] == 1:
        assert loss == 0
        assert not np.signbit(loss)
        assert (gradient == 0).all()


def test_more_than_two_to_the_31_numbers() -> None:
    """Every number read would take minutes: the blocks are walked, the last two are computed."""
    rows, classes = 2**22 + 3, 521
    scores = np.broadcast_to(np.arange(classes, dtype=np.float16), (rows, classes))
    assert scores.size > 2**31
    target = np.zeros(rows, np.int8)
    target[-1] = 5
    problem = class_targets(scores, target, None)
    blocks = list(problem.blocks())
    assert blocks[0].start == 0
    assert all(block.stop == after.start for block, after in itertools.pairwise(blocks))
    assert blocks[-1].stop == rows
    assert problem.normalizer() == rows
    last = slice(rows - 2, rows)
    losses = rows_of_scores(problem.take(last), None).losses
    right = oracle.logsumexp(oracle.long(scores[0])) - np.array([0, 5])
    oracle.assert_close(losses, right, np.float32)


@pytest.mark.parametrize("layout", oracle.LAYOUTS)
def test_non_contiguous_negative_strides_read_only_memory_mapped_fortran(layout: str) -> None:
    scores, target = random_problem(5, 7, 3)
    laid = oracle.LAYOUTS[layout]
    weight, sample_weight = np.linspace(1, 2, 7), np.linspace(0, 1, 15).reshape(5, 3)
    plain = bridle.cross_entropy_gradient(scores, target, weight, sample_weight=sample_weight)
    arguments = [laid(each) for each in (scores, target, weight, sample_weight)]
    before = [each.copy() for each in arguments]
    found = bridle.cross_entropy_gradient(*arguments[:3], sample_weight=arguments[3])
    assert found[0] == plain[0]
    np.testing.assert_array_equal(found[1], plain[1])
    for argument, copy in zip(arguments, before, strict=True):
        np.testing.assert_array_equal(argument, copy)


def test_soft_targets_that_do_not_sum_to_one_and_negative_weights() -> None:
    scores = np.zeros((3, 2))
    first_of_two = np.array([[0.5, 0.5], [0.5, 0.4], [2, 2]])
    with pytest.raises(bridle.InputError, match=r"^target: row 1 sums to 0\.9, expected 1$"):
        bridle.cross_entropy(scores, first_of_two)
    with pytest.raises(bridle.InputError, match=r"^target: entry 2, 0 is -0\.5, expected a prob"):
        bridle.cross_entropy(scores, [[0.5, 0.5], [0.5, 0.5], [-0.5, 1.5]])
    with pytest.raises(bridle.InputError, match=r"^weight: entry 1 is -1\.0, expected a finite"):
        bridle.cross_entropy(scores, [0, 1, 0], [1, -1])
    with pytest.raises(bridle.InputError, match=r"^sample_weight: entry 2 is nan, expected"):
        bridle.cross_entropy(scores, [0, 1, 0], sample_weight=[1, 0, np.nan])


@pytest.mark.parametrize("dtype", oracle.FLOAT_DTYPES, ids=str)
def test_probability_zero_at_the_target(dtype: np.dtype[Any]) -> None:
    probabilities = np.array([[0.0, 1], [1, 0]]).astype(dtype)
    found = bridle.nll(probabilities, [0, 0], reduction="none")
    np.testing.assert_array_equal(found, [INFINITY, 0])
    assert bridle.nll(probabilities, [0, 0]) == INFINITY


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda m: bridle.cross_entropy(m, [0, 1, 0]), "input"),
        (lambda m: bridle.cross_entropy_gradient(m, [0, 1, 0]), "input"),
        (lambda m: bridle.cross_entropy(np.zeros((3, 2)), m), "target"),
        (lambda m: bridle.cross_entropy(np.zeros((3, 2)), m[:, 0].astype(int)), "target"),
        (lambda m: bridle.cross_entropy(np.eye(3), [0, 1, 2], weight=m[:, 0]), "weight"),
        (lambda m: bridle.cross_entropy(np.eye(3), [0, 1, 2], sample_weight=m[:, 0]), "sample_"),
        (lambda m: bridle.cross_entropy(np.eye(3), (m.astype(int), np.eye(3)[:, :2])), "target"),
        (lambda m: bridle.cross_entropy(np.eye(3), (np.ones((3, 2), int), m)), "target"),
        (lambda m: bridle.nll(np.log(m), [0, 1, 0]), ""),
        (lambda m: bridle.binary_cross_entropy(m, np.ones((3, 2))), ""),
        (lambda m: bridle.binary_cross_entropy(np.ones((3, 2)), m), "target"),
        (lambda m: bridle.quadratic_loss(m, [0, 1, 0]), ""),
        (lambda m: bridle.likelihood(m, [0, 1, 0]), ""),
        (lambda m: bridle.log_likelihood(m, [0, 1, 0]), ""),
        (lambda m: bridle.linear_cross_entropy(m, np.eye(2), [0, 1, 0]), ""),
        (lambda m: bridle.linear_cross_entropy(np.ones((3, 2)), m, [0, 1, 0]), "weight"),
        (lambda m: bridle.linear_cross_entropy(np.eye(3), np.eye(3), m[:, 0].astype(int)), "targ"),
        (bridle.softmax, "scores"),
        (bridle.log_softmax, "scores"),
        (bridle.logsumexp, "scores"),
        (bridle.sigmoid, "scores"),
        (bridle.predicted_class, "scores"),
        (bridle.entropy, ""),
        (bridle.surprisal, ""),
        (lambda m: bridle.kl_divergence(m, np.full((3, 2), 0.5)), ""),
        (lambda m: bridle.evaluate(m, [0, 1, 0]), ""),
        (lambda m: bridle.evaluate(np.full((3, 2), 0.5), m[:, 0].astype(int)), ""),
        (
            lambda m: bridle.evaluate(
                np.full((3, 2), 0.5),
                np.ma.masked_array(["a", "b", "a"], m.mask[:, 0]),
                classes=["a", "b"],
            ),
            "target",
        ),
    ],
)
def test_a_masked_entry_is_refused_with_its_row(call: Any, name: str) -> None:
    values, mask = np.full((3, 2), 0.5), [[False, False], [False, False], [True, False]]
    with pytest.raises(bridle.InputError, match=rf"^{name}.*: row 2 is masked"):
        call(np.ma.masked_array(values, mask))


def test_an_array_whose_mask_is_empty_is_an_array() -> None:
    scores, target = random_problem(5, 3)
    loss = bridle.cross_entropy(np.ma.masked_array(scores), np.ma.masked_array(target, [False] * 5))
    assert loss == bridle.cross_entropy(scores, target)
    assert not isinstance(loss, np.ma.MaskedArray)
