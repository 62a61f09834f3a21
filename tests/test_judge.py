"""The judge: figures by hand, against scikit-learn, under laws, and on hostile input."""

from __future__ import annotations

import importlib
import json
import math
import re
import subprocess
import sys
import tracemalloc
import unicodedata
import warnings
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from bridle import checks, judge, probabilities
from bridle.judge import text

Array = npt.NDArray[Any]

FLOATS = (np.float16, ml_dtypes.bfloat16, np.float32, np.float64)
KEYS = [
    "input_kind",
    "samples",
    "total_weight",
    "classes",
    "cross_entropy_nats",
    "cross_entropy_bits",
    "infinite_losses",
    "perplexity",
    "uniform_nats",
    "uniform_bits",
    "class_frequency_nats",
    "class_frequency_bits",
    "accuracy",
    "top_5_accuracy",
    "brier_score",
    "expected_calibration_error",
    "expected_calibration_error_by_chance",
    "reliability",
    "per_class",
    "confusion_matrix",
    "most_surprising",
    "intervals",
]


def random_scores(rows: int, classes: int, seed: int = 0) -> tuple[Array, Array]:
    generator = np.random.default_rng(seed)
    scores = generator.normal(scale=3.0, size=(rows, classes)) - 1
    # Targets that follow the scores, so that neither all nor none are right.
    noisy = scores + generator.gumbel(size=scores.shape)
    return scores, noisy.argmax(axis=1)


def figures(evaluation: judge.Evaluation) -> dict[str, Any]:
    """Return all figures that a mere copy of the samples leaves as they are."""
    kept: dict[str, Any] = evaluation.to_dict()
    for name in (
        "most_surprising", "samples", "total_weight", "confusion_matrix", "infinite_losses",
        "intervals", "expected_calibration_error_by_chance",
    ):  # fmt: skip
        del kept[name]
    for row in kept["reliability"] + kept["per_class"]:
        row.pop("count", None)
        row.pop("support", None)
        for name in ("loss_interval", "precision_interval", "recall_interval"):
            row.pop(name, None)
    return kept


def assert_close(found: Any, expected: Any) -> None:
    if isinstance(expected, dict):
        assert list(found) == list(expected)
        for name in expected:
            assert_close(found[name], expected[name])
    elif isinstance(expected, list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_close(one, other)
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=1e-10, abs=1e-12)
    else:
        assert found == expected


@st.composite
def labelled_scores(draw: st.DrawFn) -> tuple[Array, Array]:
    """Scores on a grid of eighths, all below 0: never mistaken for probabilities, full of ties."""
    rows, classes = draw(st.integers(1, 40)), draw(st.integers(1, 7))
    numbers = st.integers(-160, -80)
    scores = draw(st.lists(numbers, min_size=rows * classes, max_size=rows * classes))
    target = draw(st.lists(st.integers(0, classes - 1), min_size=rows, max_size=rows))
    return np.array(scores).reshape(rows, classes) / 8, np.array(target)


# By hand.


def test_figures_by_hand() -> None:
    rows = [[0.5, 0.5, 0.0], [0.25, 0.5, 0.25], [0.125, 0.125, 0.75], [1.0, 0.0, 0.0]]
    found = judge.evaluate(rows, [0, 0, 2, 1])
    assert found.input_kind == "probabilities"
    assert found.infinite_losses == 1
    assert found.cross_entropy_nats == found.cross_entropy_bits == found.perplexity == math.inf
    assert found.uniform_bits == pytest.approx(math.log2(3))
    assert found.class_frequency_bits == pytest.approx(1.5)
    assert found.accuracy == 0.5
    assert found.top_5_accuracy == 1.0
    squares = [0.5, 0.75**2 + 0.5**2 + 0.25**2, 2 * 0.125**2 + 0.25**2, 2.0]
    assert found.brier_score == pytest.approx(sum(squares) / 4, rel=1e-15)
    assert found.confusion_matrix is not None
    assert found.confusion_matrix.tolist() == [[1, 1, 0], [1, 0, 0], [0, 0, 1]]
    first, second, third = found.per_class
    assert (first.support, first.precision, first.recall) == (2, 0.5, 0.5)
    assert first.loss == pytest.approx(1.5 * math.log(2))
    assert (second.loss, second.precision, second.recall) == (math.inf, 0.0, 0.0)
    assert (third.precision, third.recall) == (1.0, 1.0)
    assert [sample.index for sample in found.most_surprising] == [3, 1, 0, 2]
    assert found.most_surprising[0] == judge.SurprisingSample(3, 1, 0, 0.0, math.inf)
    # Confidences 0.5, 0.5 (right, wrong), 0.75 (right), 1.0 (wrong): three of fifteen bins.
    assert [row.count for row in found.reliability] == [2, 1, 1]
    assert found.expected_calibration_error == pytest.approx((0 + 0.25 + 1.0) / 4)


def test_surprisal_is_that_of_the_issue() -> None:
    found = judge.row_outcomes([[0.1, 0.3, 0.6], [0.2, 0.3, 0.5]], [0, 2])
    np.testing.assert_allclose(found.surprisal, [2.30258509, 0.69314718], rtol=1e-8)


def test_surprisal_of_a_confident_score_is_not_rounded_away() -> None:
    found = judge.row_outcomes([[0.0, -50.0], [0.0, -1000.0]], [0, 1])
    assert found.surprisal[0] == pytest.approx(math.exp(-50), rel=1e-12)
    assert found.surprisal[1] == 1000.0


# Against scikit-learn.


@pytest.mark.parametrize(("rows", "classes"), [(7, 2), (211, 3), (1009, 10), (5, 13)])
def test_agrees_with_scikit_learn(rows: int, classes: int) -> None:
    scores, target = random_scores(rows, classes)
    found = judge.evaluate(scores, target)
    labels = list(range(classes))
    assert found.input_kind == "scores"
    shares = probabilities.softmax(scores)
    expected = metrics.log_loss(target, shares, labels=labels)
    assert found.cross_entropy_nats == pytest.approx(expected, rel=1e-12)
    predicted = scores.argmax(axis=1)
    assert found.accuracy == pytest.approx(metrics.accuracy_score(target, predicted))
    if classes > 5:  # random scores have no ties, whose order is ours to choose
        expected = metrics.top_k_accuracy_score(target, scores, k=5, labels=labels)
        assert found.top_5_accuracy == pytest.approx(expected)
    precision, recall, _, support = metrics.precision_recall_fscore_support(
        target, predicted, labels=labels, zero_division=np.nan
    )
    np.testing.assert_allclose([row.precision for row in found.per_class], precision)
    np.testing.assert_allclose([row.recall for row in found.per_class], recall)
    assert [row.support for row in found.per_class] == support.tolist()
    np.testing.assert_array_equal(
        found.confusion_matrix, metrics.confusion_matrix(target, predicted, labels=labels)
    )
    squares = ((shares - np.eye(classes)[target]) ** 2).sum(axis=1)
    assert found.brier_score == pytest.approx(squares.mean(), abs=1e-15)


def test_brier_score_of_two_classes_is_twice_the_one_column_score() -> None:
    generator = np.random.default_rng(1)
    second, target = generator.random(97), generator.integers(0, 2, 97)
    expected = 2 * metrics.brier_score_loss(target, second)
    assert judge.brier_score(second, target) == pytest.approx(expected)


# Laws.


@settings(deadline=None, max_examples=60)
@given(labelled_scores(), st.sampled_from([-1000, -64, 100, 2**20]))
def test_an_offset_of_the_scores_changes_nothing(data: tuple[Array, Array], offset: int) -> None:
    scores, target = data
    assert judge.evaluate(scores + offset, target).to_json() == (
        judge.evaluate(scores, target).to_json()
    )


@settings(deadline=None, max_examples=60)
@given(labelled_scores(), st.randoms(use_true_random=False))
def test_the_order_of_the_samples_changes_nothing(data: tuple[Array, Array], random: Any) -> None:
    scores, target = data
    order = list(range(len(target)))
    random.shuffle(order)
    one, other = judge.evaluate(scores, target), judge.evaluate(scores[order], target[order])
    assert_close(figures(other), figures(one))
    np.testing.assert_array_equal(one.confusion_matrix, other.confusion_matrix)
    assert [row.surprisal for row in other.most_surprising] == [
        row.surprisal for row in one.most_surprising
    ]


@settings(deadline=None, max_examples=60)
@given(labelled_scores(), st.integers(2, 4))
def test_repeating_the_set_changes_no_mean(data: tuple[Array, Array], times: int) -> None:
    scores, target = data
    one = judge.evaluate(scores, target)
    many = judge.evaluate(np.tile(scores, (times, 1)), np.tile(target, times))
    assert_close(figures(many), figures(one))
    assert one.confusion_matrix is not None
    np.testing.assert_array_equal(many.confusion_matrix, times * one.confusion_matrix)


@settings(deadline=None, max_examples=60)
@given(labelled_scores())
def test_scores_and_their_softmax_give_the_same_figures(data: tuple[Array, Array]) -> None:
    scores, target = data
    one = judge.evaluate(scores, target)
    other = judge.evaluate(probabilities.softmax(scores), target)
    assert (one.input_kind, other.input_kind) == ("scores", "probabilities")
    expected = {**one.to_dict(), "input_kind": "probabilities"}
    # Surprisals that are equal but for their last digit may change places.
    surprising = expected.pop("most_surprising")
    found = other.to_dict()
    assert_close(
        [row["surprisal"] for row in found.pop("most_surprising")],
        [row["surprisal"] for row in surprising],
    )
    assert_close(found, expected)


@settings(deadline=None, max_examples=60)
@given(labelled_scores(), st.integers(1, 9))
def test_rank_is_the_place_in_a_stable_order(data: tuple[Array, Array], top: int) -> None:
    scores, target = data
    found = judge.row_outcomes(scores, target)
    order = np.argsort(-scores, axis=1, kind="stable")
    in_top = (order[:, :top] == target[:, None]).any(axis=1)
    np.testing.assert_array_equal(found.rank < top, in_top)
    np.testing.assert_array_equal(found.rank == 0, found.correct)


@settings(deadline=None, max_examples=60)
@given(labelled_scores())
def test_one_column_is_the_score_of_the_second_class(data: tuple[Array, Array]) -> None:
    score = data[0][:, 0] + 15
    target = np.arange(len(score)) % 2
    one = judge.row_outcomes(np.append(score, -3.0), np.append(target, 0))
    other = judge.row_outcomes(
        np.stack([np.zeros(len(score) + 1), np.append(score, -3.0)], axis=1), np.append(target, 0)
    )
    assert one.input_kind == other.input_kind == "scores"
    np.testing.assert_allclose(one.surprisal, other.surprisal, rtol=1e-14)
    np.testing.assert_array_equal(one.predicted, other.predicted)
    np.testing.assert_array_equal(one.predicted, np.append(score, -3.0) > 0)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 8), st.booleans()), min_size=1, max_size=60),
    st.integers(1, 17),
)
def test_reliability_table_against_its_definition(
    samples: list[tuple[int, bool]], bins: int
) -> None:
    confidence = np.array([eighth / 8 for eighth, _ in samples])
    correct = np.array([right for _, right in samples])
    table = judge.reliability_table(confidence, correct, bins=bins)
    members: dict[int, list[int]] = {}
    for row, value in enumerate(confidence):
        place = int(np.count_nonzero(confidence < value))
        members.setdefault(place * bins // len(samples), []).append(row)
    assert len(table) <= min(bins, len(samples))
    for found, (_, rows) in zip(table, sorted(members.items()), strict=True):
        assert found.count == len(rows)
        assert found.lowest == confidence[rows].min()
        assert found.highest == confidence[rows].max()
        assert found.confidence == pytest.approx(confidence[rows].mean())
        assert found.accuracy == pytest.approx(correct[rows].mean())
    gap = sum(len(r) * abs(correct[r].mean() - confidence[r].mean()) for r in members.values())
    error = judge.expected_calibration_error(confidence, correct, bins=bins)
    assert error == pytest.approx(gap / len(samples))


def test_bins_without_ties_have_equal_mass() -> None:
    confidence = np.random.default_rng(0).permutation(1009) / 1009
    table = judge.reliability_table(confidence, confidence > 0.5)
    assert len(table) == 15
    assert {row.count for row in table} == {67, 68}
    ends = [end for row in table for end in (row.lowest, row.highest)]
    assert ends == sorted(ends)


def test_fewer_samples_than_bins_are_one_bin_each() -> None:
    table = judge.reliability_table([0.9, 0.3, 0.5], [True, False, True])
    assert [row.confidence for row in table] == [0.3, 0.5, 0.9]


def test_the_last_digit_of_a_confidence_decides_no_bin() -> None:
    sure = np.full(60, 0.7)
    sure[::2] = np.nextafter(0.7, 1)
    right = np.arange(60) % 2 == 0
    assert [row.count for row in judge.reliability_table(sure, right)] == [60]


def test_most_surprising_puts_infinities_first_and_ties_by_row() -> None:
    surprisal = [1.0, math.inf, 3.0, 3.0, math.inf, 0.0]
    assert judge.most_surprising(surprisal).tolist() == [1, 4, 2, 3, 0, 5]
    assert judge.most_surprising(surprisal, count=3).tolist() == [1, 4, 2]
    assert judge.most_surprising([], count=3).tolist() == []


# Dtypes, layouts, blocks.


@pytest.mark.parametrize("dtype", FLOATS)
def test_a_dtype_is_judged_as_its_float64_values(dtype: Any) -> None:
    scores, target = random_scores(101, 7)
    narrow = scores.astype(dtype)
    wide = judge.evaluate(narrow.astype(np.float64), target)
    assert judge.evaluate(narrow, target).to_json() == wide.to_json()


@pytest.mark.parametrize("dtype", [*FLOATS, np.int64, np.int8, np.bool_])
def test_probability_0_at_the_target_is_infinite_in_every_dtype(dtype: Any) -> None:
    found = judge.evaluate(np.array([[1, 0, 0], [0, 1, 0]], dtype), [0, 0])
    assert found.input_kind == "probabilities"
    assert (found.infinite_losses, found.cross_entropy_nats) == (1, math.inf)
    assert found.outcomes.surprisal.tolist() == [0.0, math.inf]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("classes", [2, 10, 1000])
def test_probabilities_rounded_to_their_dtype_are_probabilities(dtype: Any, classes: int) -> None:
    scores, target = random_scores(50, classes)
    found = judge.evaluate(probabilities.softmax(scores).astype(dtype), target)
    assert found.input_kind == "probabilities"
    assert found.outcomes.surprisal.min() >= 0


def test_a_probability_rounded_above_1_is_1() -> None:
    found = judge.evaluate(np.array([[1.00005, 0.0], [0.5, 0.5]], np.float32), [0, 1])
    assert found.input_kind == "probabilities"
    assert (found.outcomes.surprisal[0], found.outcomes.confidence[0]) == (0.0, 1.0)
    assert found.brier_score == 0.25


def test_layout_and_block_size_change_no_digit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores, target = random_scores(103, 11)
    expected = judge.evaluate(scores, target).to_json()
    on_disk = np.memmap(tmp_path / "scores", dtype=np.float64, mode="w+", shape=scores.shape)
    on_disk[:] = scores
    read_only = scores.copy()
    read_only.flags.writeable = False
    spaced = np.zeros((206, 22))
    spaced[::2, ::2] = scores
    layouts = {
        "list": scores.tolist(),
        "Fortran": np.asfortranarray(scores),
        "negative strides": scores[::-1, ::-1].copy()[::-1, ::-1],
        "spaced": spaced[::2, ::2],
        "memory-mapped": on_disk,
        "read-only": read_only,
    }
    for name, layout in layouts.items():
        assert judge.evaluate(layout, target).to_json() == expected, name
    outcomes = importlib.import_module("bridle.judge.outcomes")
    for numbers in (1, 11, 37, 500):
        monkeypatch.setattr(outcomes, "_BLOCK_NUMBERS", numbers)
        assert judge.evaluate(scores, target).to_json() == expected, numbers
        shares = probabilities.softmax(scores)
        assert judge.evaluate(shares, target).input_kind == "probabilities"


@pytest.mark.parametrize("kind", ["scores", "probabilities"])
def test_the_input_is_not_written_to(kind: str) -> None:
    values, target = random_scores(50, 4)
    if kind == "probabilities":
        values = probabilities.softmax(values)
    before = values.copy()
    assert judge.evaluate(values, target).input_kind == kind
    np.testing.assert_array_equal(values, before)


@pytest.mark.parametrize("dtype", [np.float32, np.int8])
def test_no_second_matrix_is_made(dtype: Any) -> None:
    scores, target = random_scores(4000, 1000)
    narrow = scores.astype(dtype)
    judge.evaluate(narrow[:50], target[:50])
    tracemalloc.start()
    try:
        judge.row_outcomes(narrow, target)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < scores.nbytes / 6


# Edges.


def test_one_class() -> None:
    found = judge.evaluate([[3.0], [-2.0]], [0, 0])
    assert (found.cross_entropy_nats, found.perplexity, found.accuracy) == (0.0, 1.0, 1.0)
    assert found.brier_score == found.uniform_nats == found.class_frequency_nats == 0.0
    assert "-0.0" not in found.to_json()


def test_more_classes_than_samples_and_than_the_matrix_shows() -> None:
    scores, target = random_scores(3, 1001)
    found = judge.evaluate(scores, target)
    assert found.confusion_matrix is None
    assert found.to_dict()["confusion_matrix"] is None
    assert len(found.per_class) == 1001
    assert sum(row.support for row in found.per_class) == 3
    assert judge.evaluate(scores[:, :1000], [0, 0, 0]).confusion_matrix is not None


def test_masked_classes() -> None:
    found = judge.evaluate([[0.0, -math.inf, 0.0], [-math.inf, 2.0, -math.inf]], [0, 1])
    assert found.cross_entropy_nats == pytest.approx(math.log(2) / 2)
    masked = judge.evaluate([[0.0, -math.inf, 0.0]], [1])
    assert (masked.infinite_losses, masked.top_5_accuracy) == (1, 1.0)
    assert masked.brier_score == pytest.approx(0.25 + 1 + 0.25)


@pytest.mark.parametrize(
    ("size", "dtype"), [(1e38, np.float32), (65504, np.float16), (1e308, np.float64)]
)
def test_huge_scores(size: float, dtype: Any) -> None:
    found = judge.evaluate(np.array([[size, -size]], dtype), [1])
    assert found.cross_entropy_nats == 2 * float(dtype(size))  # inf where float64 ends
    assert found.perplexity == math.inf


def test_one_column_of_probabilities() -> None:
    found = judge.evaluate(np.array([0.25, 1.0, 0.5]), [True, True, False])
    assert found.input_kind == "probabilities"
    np.testing.assert_array_equal(found.outcomes.probability, [0.25, 1.0, 0.5])
    assert found.outcomes.predicted.tolist() == [0, 1, 0]


def test_an_infinite_score_of_the_second_class_is_certainty() -> None:
    found = judge.row_outcomes([math.inf, -math.inf, math.inf, -2.0], [1, 0, 0, 1])
    assert found.surprisal[:3].tolist() == [0.0, 0.0, math.inf]


@pytest.mark.parametrize(
    ("classes", "target"),
    [
        (["cat", "dog", "eel"], ["eel", "cat", "eel"]),
        (np.array(["cat", "dog", "eel"]), np.array(["eel", "cat", "eel"])),
        ([3, 1, 2], np.array([2.0, 3.0, 2.0])),
        ([0.5, 1.5, 2.5], np.array([2.5, 0.5, 2.5], np.float32)),
        (["1", 1, 2.5], [2.5, "1", 2.5]),
        ([True, "no", "yes"], np.array(["yes", True, "yes"], object)),
        (np.array([7, 8, 9], np.uint8), [9, np.int64(7), 9.0]),
    ],
)
def test_labels_of_any_scalar_type(classes: Any, target: Any) -> None:
    rows = [[0.2, 0.3, 0.5], [0.6, 0.4, 0.0], [0.3, 0.4, 0.3]]
    found = judge.evaluate(rows, target, classes=classes)
    assert found.outcomes.target.tolist() == [2, 0, 2]
    assert json.loads(found.to_json())["classes"] == list(classes)
    assert found.most_surprising[0].target == list(classes)[2]
    assert found.most_surprising[0].predicted == list(classes)[1]


@pytest.mark.parametrize("kind", ["array", "chunked", "tensor", "tensors", "0-d arrays"])
def test_labels_in_columns_of_others_are_their_plain_values(kind: str) -> None:
    """Whose entries are objects of theirs: Arrow's scalars, tensors of no dimension."""
    scores, words = np.eye(3)[[0, 1, 2, 2]], ["b", "a", "c", "a"]
    numbers = [7, 5, 9, 5]
    if kind in ("array", "chunked"):
        arrow = pytest.importorskip("pyarrow", reason="the extra `parquet` is not installed")
        made = (
            arrow.array(words) if kind == "array" else arrow.chunked_array([words[:1], words[1:]])
        )
        found = judge.evaluate(scores, made, classes=["b", "a", "c"], kind="scores")
        with pytest.raises(checks.InputError, match="row 1 is None"):
            judge.evaluate(scores, arrow.array(["b", None, "c", "a"]), classes=["b", "a", "c"])
    else:
        given: Any = [np.asarray(each) for each in numbers]
        if kind != "0-d arrays":
            torch = pytest.importorskip("torch", reason="the extra `torch` is not installed")
            given = torch.tensor(numbers) if kind == "tensor" else [*torch.tensor(numbers)]
        found = judge.evaluate(scores, given, classes=[7, 5, 9], kind="scores")
    assert found.accuracy == 0.75
    assert found.outcomes.target.tolist() == [0, 1, 2, 1]


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.uint64, np.int32])
def test_indices_of_any_width(dtype: Any) -> None:
    scores, target = random_scores(200, 100)
    expected = judge.evaluate(scores, target).to_json()
    assert judge.evaluate(scores, target.astype(dtype)).to_json() == expected


# Errors: one line that says what and where.

GOOD = [[0.2, 0.8], [0.5, 0.5], [1.0, 0.0]]
ERRORS: list[tuple[Any, Any, Any, str]] = [
    ([], [], None, r"at least one row"),
    (np.zeros((0, 3)), [], None, r"at least one row .* found shape \(0, 3\)"),
    (np.zeros((3, 0)), [0, 0, 0], None, r"one class, found shape \(3, 0\)"),
    (np.zeros((2, 2, 2)), [0, 0], None, r"expected shape \(N, C\)"),
    (3.0, [0], None, r"expected shape \(N, C\)"),
    ([[1.0, 0.0], [1.0]], [0, 0], None, r"scores_or_probabilities: .* different lengths"),
    (GOOD, [0, [1], 1], None, r"target: .* different lengths"),
    ([["a", "b"]], [0], None, r"scores_or_probabilities: expected real numbers"),
    ([[1j, 0]], [0], None, r"expected real numbers, found complex128"),
    ([[0.0, 2.0], [1.0, math.nan]], [0, 0], None, r"row 1 has a NaN at class 1"),
    ([[0.5, 0.5], [1.0, math.nan]], [0, 0], None, r"row 1 has a NaN at class 1"),
    ([0.5, math.nan], [0, 0], None, r"row 1 has a NaN"),
    ([[0.0, 2.0], [math.inf, 1.0]], [0, 1], None, r"row 1 has infinity at class 0"),
    ([[0.0, 2.0], [-math.inf] * 2], [0, 1], None, r"row 1 has every class masked"),
    ([*GOOD, [0.2, 0.7]], [0, 0, 0, 0], None, r"row 3 sums to 0\.9, expected a distribution"),
    ([[0.5, 0.5], [0.3, 0.3]], [0, 0], None, r"row 1 sums to 0\.6"),
    ([[0.3, 0.68]], [0], None, r"row 0 sums to 0\.98"),
    ([*GOOD, [1.000001, -0.000001]], [0] * 4, None, r"row 3 has -1e-06 at class 1"),
    (GOOD, [0, 1], None, r"target: expected class indices \(integers\) of shape \(3,\), found"),
    (GOOD, [0.0, 1.0, 1.0], None, r"expected class indices \(integers\).*float64"),
    (GOOD, ["a", "b", "a"], None, r"labels need classes="),
    (GOOD, np.eye(2)[[0, 1, 1]], None, r"found float64 of shape \(3, 2\)"),
    ([[0.0, 2.0, 3.0]], [True], None, r"booleans stand for two classes"),
    (GOOD, [0, 1], [0, 1], r"target: expected 3 labels, one for each row, found 2"),
    (GOOD, ["a", "b", "c"], ["a", "b"], r"target: row 2 is 'c', which is none of the 2 classes"),
    (GOOD, ["a", "b", ["a"]], ["a", "b"], r"target: row 2 is \['a'\], expected one label"),
    (GOOD, np.array([["a"], ["b"], ["a"]]), ["a", "b"], r"row 0 is \['a'\], expected one label"),
    (GOOD, "aba", ["a", "b"], r"target: expected a sequence of labels, found 'aba'"),
    (GOOD, [0, 1, 0], ["a"], r"classes: expected 2, one for each column, found 1"),
    (GOOD, [0, 1, 0], [1, True], r"classes: entry 1 repeats True"),
    (GOOD, [0, 1, 0], [0, None], r"classes: entry 1 is None, expected text"),
    (GOOD, [0, 1, 0], [[1], [2]], r"classes: entry 0 is \[1\], expected text"),
    (GOOD, [0, 1, 0], 2, r"classes: expected a sequence of labels, found 2"),
]


@pytest.mark.parametrize(("rows", "target", "classes", "message"), ERRORS)
def test_bad_input_is_named(rows: Any, target: Any, classes: Any, message: str) -> None:
    with pytest.raises(checks.InputError, match=message) as caught:
        judge.evaluate(rows, target, classes=classes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [-1, 2, -100, 2**62])
def test_an_index_out_of_range_is_named(value: int) -> None:
    with pytest.raises(checks.TargetRangeError, match=rf"target: row 1 is {value}, .* \[0, 2\)"):
        judge.evaluate(GOOD, [0, value, 1])
    with pytest.raises(checks.TargetRangeError, match=rf"predicted: row 1 is {value}"):
        judge.confusion_matrix([0, 0], [0, value], classes=2)


def test_the_row_of_a_late_block_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.import_module("bridle.judge.outcomes"), "_BLOCK_NUMBERS", 10)
    scores, target = random_scores(31, 3)
    shares = probabilities.softmax(scores)
    shares[29:, 1] = 0.9  # row 29 ends a block, row 30 is the next
    with pytest.raises(checks.InputError, match="row 29 sums to"):
        judge.evaluate(shares, target)
    scores[17, 2] = math.nan
    with pytest.raises(checks.InputError, match="row 17 has a NaN at class 2"):
        judge.evaluate(scores, target)


def test_scores_in_the_unit_interval_are_scores_where_no_row_is_nearly_a_distribution() -> None:
    rows = [[0.9, 0.8], [0.1, 0.2], [0.5, 0.9]]
    with pytest.warns(UserWarning, match="taken as scores"):
        assert judge.evaluate(rows, [0, 1, 1]).input_kind == "scores"
    with pytest.warns(UserWarning, match="taken as scores"):
        assert judge.evaluate(np.zeros((4, 3)), [0, 1, 1, 2]).input_kind == "scores"


@pytest.mark.parametrize(
    ("rows", "what"),
    [
        ([[0.9, 0.8], [0.1, 0.2], [0.5, 0.9]], "entries are in .0, 1. and rows do not sum to 1"),
        ([[90.0, 10.0], [33.3, 66.7], [50.0, 50.0]], "rows sum to 100, as per cent do"),
        ([[33, 67], [10, 90], [50, 50]], "rows sum to 100, as per cent do"),
    ],
)
def test_scores_that_look_like_probabilities_are_warned_of(rows: Any, what: str) -> None:
    with pytest.warns(UserWarning, match=what) as caught:
        assert judge.evaluate(rows, [0, 1, 1]).input_kind == "scores"
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert judge.evaluate(rows, [0, 1, 1], kind="scores").input_kind == "scores"


def test_the_pieces_name_bad_input() -> None:
    with pytest.raises(checks.InputError, match="confidence: expected shape"):
        judge.reliability_table([], [])
    with pytest.raises(checks.InputError, match="correct: expected the shape of confidence"):
        judge.expected_calibration_error([0.5], [True, False])
    with pytest.raises(checks.InputError, match=r"confidence: entry 1 is 1\.5"):
        judge.reliability_table([0.5, 1.5], [True, False])
    with pytest.raises(checks.InputError, match="bins: expected 1 or more, found 0"):
        judge.reliability_table([0.5], [True], bins=0)
    with pytest.raises(checks.InputError, match="surprisal: row 1 is NaN"):
        judge.most_surprising([0.0, math.nan])
    with pytest.raises(checks.InputError, match="count: expected 0 or more, found -1"):
        judge.most_surprising([0.0], count=-1)
    with pytest.raises(checks.InputError, match="predicted: expected class indices"):
        judge.confusion_matrix([0, 1], [0], classes=2)


# As JSON and as text.


def test_dictionary_has_stable_keys_and_plain_types() -> None:
    scores, target = random_scores(40, 3)
    found = judge.evaluate(scores, target, classes=np.array([0, 1, 2]))
    kept = found.to_dict()
    assert list(kept) == KEYS
    assert list(kept["reliability"][0]) == ["count", "lowest", "highest", "confidence", "accuracy"]
    shares = ["loss", "precision", "recall"]
    intervals = [f"{name}_interval" for name in shares]
    assert list(kept["per_class"][0]) == ["label", "support", *shares, *intervals]
    assert list(kept["most_surprising"][0]) == [
        "index",
        "target",
        "predicted",
        "probability",
        "surprisal",
    ]
    assert len(kept["most_surprising"]) == 10
    # Exact types: a NumPy number is no plain one, though float64 would pass as a float.
    assert plain_types(kept) <= {dict, list, str, int, float, type(None)}


def plain_types(value: Any) -> set[type]:
    entries = value.values() if isinstance(value, dict) else value
    inside = [plain_types(entry) for entry in entries] if isinstance(value, dict | list) else []
    return {type(value)}.union(*inside)


def test_json_is_strict() -> None:
    def refuse(token: str) -> None:
        raise AssertionError(token)

    found = judge.evaluate([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]], [0, 1])
    read = json.loads(found.to_json(), parse_constant=refuse)
    assert read == found.to_dict()
    assert read == json.loads(found.to_json(indent=2), parse_constant=refuse)
    assert read["cross_entropy_nats"] == read["cross_entropy_bits"] == "Infinity"
    assert read["perplexity"] == read["most_surprising"][0]["surprisal"] == "Infinity"
    unseen = {
        "label": 2,
        "support": 0,
        "loss": None,
        "precision": None,
        "recall": None,
        "loss_interval": [None, None],
        "precision_interval": [0.0, 1.0],
        "recall_interval": [0.0, 1.0],
    }
    assert read["per_class"][2] == unseen


def columns_of(line: str) -> int:
    return sum(2 if unicodedata.east_asian_width(sign) in "WF" else 1 for sign in line)


@pytest.mark.parametrize("classes", [1, 2, 12, 13, 300])
@pytest.mark.parametrize("label", ["{}", "very long label, " * 9 + "{}", "\x1b[31m\n{}", "猫" * 30])
def test_text_fits_80_columns(classes: int, label: str) -> None:
    scores, target = random_scores(1000, classes)
    scores[::50] *= 1e6
    names = [label.format(position) + str(position) for position in range(classes)]
    found = judge.evaluate(scores, [names[position] for position in target], classes=names)
    lines = str(found).split("\n")
    assert max(map(columns_of, lines)) <= 80
    assert all(line.isprintable() for line in lines)
    assert len(lines) <= 35
    assert not any(line != line.rstrip() for line in lines)
    assert any("top-5" in line for line in lines) == (classes > 5)


@pytest.mark.parametrize(
    ("label", "width", "shown"),
    [
        ("cat", 5, "cat  "),
        ("crane", 5, "crane"),
        ("crocodile", 5, "croc…"),
        ("猫猫", 5, "猫猫 "),
        ("猫猫猫", 5, "猫猫…"),
        ("猫猫猫", 6, "猫猫猫"),
        ("a猫猫", 4, "a猫…"),
        ("aa猫猫", 4, "aa… "),
        ("a\nb", 3, "a?b"),
        (12345, 3, "12…"),
    ],
)
def test_a_name_that_is_cut_says_so(label: object, width: int, shown: str) -> None:
    assert text.cell(label, width) == shown


def test_text_shows_what_is_infinite_or_undefined() -> None:
    shown = str(judge.evaluate([[1.0, 0.0], [1.0, 0.0]], [0, 1])).splitlines()
    assert shown[0] == "2 samples, 2 classes, from probabilities"
    assert shown[2].split() == ["cross-entropy", "inf", "nats", "inf", "bits", "perplexity", "inf"]
    assert shown[3].split() == ["95", "%", "interval", "-", "infinite", "losses", "1"]
    assert any(line.split() == ["1", "1", "inf", "-", "0.0000"] for line in shown)


def test_many_classes_show_the_worst() -> None:
    scores, target = random_scores(2000, 30)
    scores[target == 17] *= -4
    lines = str(judge.evaluate(scores, target)).splitlines()
    place = next(row for row, line in enumerate(lines) if line.startswith("worst 12 classes"))
    assert lines[place + 1].split()[0] == "17"


def test_the_room_is_light() -> None:
    code = (
        "import sys, bridle.judge; heavy = {'sklearn', 'numba', 'pandas', 'torch', 'matplotlib'};"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32", "float64"])
def test_tensors_are_judged_as_the_arrays_they_hold(dtype: str) -> None:
    torch: Any = pytest.importorskip("torch", reason="the extra `torch` is not installed")
    rng = np.random.default_rng(11)
    scores = torch.tensor(3 * rng.normal(size=(40, 6))).to(getattr(torch, dtype)).requires_grad_()
    target = torch.tensor(rng.integers(0, 6, 40))
    found = judge.evaluate(scores, target)
    right = judge.evaluate(scores.detach().double().numpy(), target.numpy())
    assert found.input_kind == "scores"
    assert found.to_json() == right.to_json()
    p = torch.softmax(scores, 1)
    found = judge.evaluate(p, target)
    assert found.input_kind == "probabilities"
    picked = p.detach().double()[torch.arange(40), target]
    assert found.cross_entropy_nats == pytest.approx(-picked.log().mean().item())
    named = judge.evaluate(scores, ["abcdef"[each] for each in target], classes=list("abcdef"))
    assert named.accuracy == (scores.argmax(1) == target).double().mean().item()


# Told what the rows are, and how much each counts.


@pytest.mark.parametrize("rows", [[[0.25, 0.75], [0.5, 0.5]], [0.75, 0.5]])
def test_a_kind_that_is_told_is_not_guessed(rows: Any) -> None:
    target = [1, 0]
    assert judge.evaluate(rows, target).input_kind == "probabilities"
    assert judge.evaluate(rows, target, kind="auto").input_kind == "probabilities"
    told = judge.evaluate(rows, target, kind="probabilities")
    assert told.cross_entropy_nats == pytest.approx(-(math.log(0.75) + math.log(0.5)) / 2)
    as_scores = judge.evaluate(rows, target, kind="scores")
    assert as_scores.input_kind == "scores"
    # softmax([0.25, 0.75]) and that of [0, 0.75]; an even row is even either way, [0, 0.5] is not.
    first, second = (0.5, 0.0) if np.ndim(rows) == 2 else (0.75, 0.5)
    right = (math.log1p(math.exp(-first)) + math.log1p(math.exp(second))) / 2
    assert as_scores.cross_entropy_nats == pytest.approx(right)
    with pytest.raises(checks.InputError, match="kind: expected one of auto, scores, prob"):
        judge.evaluate(rows, target, kind="logits")  # type: ignore[arg-type]
    with pytest.raises(checks.InputError, match="kind: expected one of auto, scores, prob"):
        judge.evaluate(rows, target, kind=None)  # type: ignore[arg-type]


@pytest.mark.parametrize(("rows", "classes"), [(211, 3), (1009, 10)])
def test_weighted_figures_agree_with_scikit_learn(rows: int, classes: int) -> None:
    scores, target = random_scores(rows, classes)
    weight = np.random.default_rng(7).exponential(size=rows)
    weight[::5] = 0
    found = judge.evaluate(scores, target, sample_weight=weight)
    labels, shares = list(range(classes)), probabilities.softmax(scores)
    predicted = scores.argmax(axis=1)
    assert found.samples == np.count_nonzero(weight)
    assert found.total_weight == pytest.approx(weight.sum())
    assert found.cross_entropy_nats == pytest.approx(
        metrics.log_loss(target, shares, labels=labels, sample_weight=weight), rel=1e-12
    )
    assert found.accuracy == pytest.approx(
        metrics.accuracy_score(target, predicted, sample_weight=weight)
    )
    if classes > 5:
        assert found.top_5_accuracy == pytest.approx(
            metrics.top_k_accuracy_score(target, scores, k=5, labels=labels, sample_weight=weight)
        )
    precision, recall, _, support = metrics.precision_recall_fscore_support(
        target, predicted, labels=labels, zero_division=np.nan, sample_weight=weight
    )
    np.testing.assert_allclose([row.precision for row in found.per_class], precision)
    np.testing.assert_allclose([row.recall for row in found.per_class], recall)
    np.testing.assert_allclose([row.support for row in found.per_class], support)
    assert found.confusion_matrix is not None
    np.testing.assert_allclose(
        found.confusion_matrix,
        metrics.confusion_matrix(target, predicted, labels=labels, sample_weight=weight),
        rtol=1e-12,
    )
    for row, label in zip(found.per_class, labels, strict=True):
        own = target == label
        loss = metrics.log_loss(target[own], shares[own], labels=labels, sample_weight=weight[own])
        assert row.loss == pytest.approx(loss, rel=1e-12)
    shown = str(found)
    assert f"{found.samples} samples (of weight " in shown.splitlines()[0].replace(",", "")
    assert all(len(line) <= 80 for line in shown.splitlines())


def test_the_weighted_brier_score_agrees_with_scikit_learn() -> None:
    generator = np.random.default_rng(1)
    second, target = generator.random(97), generator.integers(0, 2, 97)
    weight = generator.random(97)
    expected = 2 * metrics.brier_score_loss(target, second, sample_weight=weight)
    assert judge.brier_score(second, target, sample_weight=weight) == pytest.approx(expected)
    found = judge.evaluate(second, target, sample_weight=weight)
    assert found.brier_score == pytest.approx(expected)


@settings(deadline=None, max_examples=60)
@given(labelled_scores(), st.data())
def test_weight_k_is_k_copies(data: tuple[Array, Array], draw: st.DataObject) -> None:
    scores, target = data
    size = len(target)
    copies = np.array(draw.draw(st.lists(st.integers(0, 4), min_size=size, max_size=size)))
    copies[draw.draw(st.integers(0, size - 1))] += 1
    one = judge.evaluate(scores, target, sample_weight=copies)
    many = judge.evaluate(np.repeat(scores, copies, axis=0), np.repeat(target, copies))
    assert_close(figures(one), figures(many))
    for name, interval in one.intervals.items():
        assert interval == pytest.approx(many.intervals[name], rel=1e-9, abs=1e-12)
    assert one.total_weight == many.samples == many.total_weight
    assert one.samples == np.count_nonzero(copies)
    np.testing.assert_array_equal(one.confusion_matrix, many.confusion_matrix)
    assert [row.support for row in one.per_class] == [row.support for row in many.per_class]
    assert [row.count for row in one.reliability] == [row.count for row in many.reliability]
    assert {int(row.index) for row in one.most_surprising} <= set(np.flatnonzero(copies).tolist())
    assert one.most_surprising[0].surprisal == many.most_surprising[0].surprisal


@settings(deadline=None, max_examples=30)
@given(labelled_scores(), st.sampled_from([1e-300, 0.3, 7.0, 1e200]))
def test_a_factor_of_all_weights_changes_no_mean(data: tuple[Array, Array], factor: float) -> None:
    scores, target = data
    weight = 1.0 + np.arange(len(target)) % 3
    one = judge.evaluate(scores, target, sample_weight=weight)
    other = judge.evaluate(scores, target, sample_weight=weight * factor)
    for name in ("cross_entropy_nats", "accuracy", "brier_score", "class_frequency_nats"):
        assert getattr(other, name) == pytest.approx(getattr(one, name), rel=1e-12)


def test_a_row_of_weight_0_counts_nowhere_though_its_loss_is_infinite() -> None:
    rows, target = [[1.0, 0.0], [0.5, 0.5], [1.0, 0.0]], [0, 0, 1]
    found = judge.evaluate(rows, target, sample_weight=[1, 3, 0])
    assert found.cross_entropy_nats == pytest.approx(0.75 * math.log(2))
    assert found.infinite_losses == 0
    assert [row.index for row in found.most_surprising] == [1, 0]
    assert found.per_class[1].support == 0
    assert math.isnan(found.per_class[1].loss)
    assert len(found.outcomes.surprisal) == 3
    counted = judge.evaluate(rows, target, sample_weight=[1, 3, 1e-9])
    assert (counted.infinite_losses, counted.cross_entropy_nats) == (1, math.inf)


def test_weights_of_equal_rows_are_plain_figures() -> None:
    scores, target = random_scores(50, 3)
    plain = judge.evaluate(scores, target)
    one = judge.evaluate(scores, target, sample_weight=np.ones(50, np.float32))
    assert_close(figures(one), figures(plain))
    assert plain.outcomes.sample_weight is None


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        ([1.0], "sample_weight: expected shape (2,), found (1,)"),
        ([1.0, -1.0], "sample_weight: entry 1 is -1.0, expected a finite number ≥ 0 in float64"),
        ([np.nan, 1.0], "sample_weight: entry 0 is nan, expected a finite number ≥ 0 in float64"),
        (
            [0, 0],
            "sample_weight: expected weights whose sum is finite and above 0, found a sum of 0",
        ),
        (["a", "b"], "sample_weight: expected real numbers, found <U1 of shape (2,)"),
    ],
)
def test_bad_weights_are_named(weight: Any, message: str) -> None:
    for call in (judge.evaluate, judge.brier_score, judge.row_outcomes):
        with pytest.raises(checks.InputError, match=re.escape(message)):
            call([[1.0, 2.0], [3.0, 1.0]], [0, 1], sample_weight=weight)


def test_the_weighted_pieces_name_bad_weights_too() -> None:
    for call in (judge.reliability_table, judge.expected_calibration_error):
        with pytest.raises(checks.InputError, match="sample_weight: expected one above 0"):
            call([0.5, 1.0], [True, False], sample_weight=[0, 0])
        with pytest.raises(checks.InputError, match="sample_weight: expected shape"):
            call([0.5, 1.0], [True, False], sample_weight=[1])
    with pytest.raises(checks.InputError, match="sample_weight: entry 1 is -1"):
        judge.confusion_matrix([0, 1], [0, 1], 2, sample_weight=[1, -1])
    # By hand: confidences 0.5 (weight 3, right a third of it) and 1.0 (weight 1, right).
    error = judge.expected_calibration_error(
        [0.5, 0.5, 1.0], [True, False, True], sample_weight=[1, 2, 1]
    )
    assert error == pytest.approx(3 / 4 * (0.5 - 1 / 3))
