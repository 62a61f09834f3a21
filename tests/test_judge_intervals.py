"""Intervals, comparisons and label errors: by simulation, by resampling, and by planted faults."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.model_selection import cross_val_predict

import bridle
from bridle.checks import InputError
from bridle.judge import (
    compare_models,
    consistency_band,
    evaluate,
    label_errors,
    mean_interval,
    reliability_table,
    row_outcomes,
    share_interval,
)

Array = npt.NDArray[Any]
RUNS = 2000


def coverage(intervals: Any, truth: float) -> float:
    return float(np.mean([low <= truth <= high for low, high in intervals]))


def test_intervals_of_a_mean_hold_in_95_of_100_cases() -> None:
    random = np.random.default_rng(0)
    # Losses of a classifier: skewed, most of them small.
    draws = -np.log(random.beta(4, 1, size=(RUNS, 200)))
    truth = 1 / 4
    assert 0.93 <= coverage(map(mean_interval, draws), truth) <= 0.97
    share = 0.9
    hits = random.random((RUNS, 200)) < share
    assert 0.93 <= coverage(map(share_interval, hits), share) <= 0.97


def test_groups_are_one_observation_each() -> None:
    random = np.random.default_rng(1)
    groups = np.repeat(np.arange(60), 10)
    draws = [random.normal(size=60)[groups] + 0.1 * random.normal(size=600) for _ in range(RUNS)]
    together = coverage((mean_interval(each, groups=groups) for each in draws), 0.0)
    apart = coverage(map(mean_interval, draws), 0.0)
    assert 0.93 <= together <= 0.97
    assert apart < 0.6  # as if 600 rows were 600 observations


def test_the_mean_is_students_and_the_share_wilsons() -> None:
    values = np.random.default_rng(2).gamma(2, size=37)
    theirs = stats.t.interval(0.9, 36, values.mean(), stats.sem(values))
    assert mean_interval(values, level=0.9) == pytest.approx(theirs)
    theirs = stats.binomtest(31, 37).proportion_ci(0.95, method="wilson")
    found = share_interval(np.arange(37) < 31)
    assert found == pytest.approx((theirs.low, theirs.high))
    # Weight k is k copies, weight 0 none.
    copies = np.random.default_rng(3).integers(0, 4, 37)
    copied, hits = np.repeat(values, copies), np.arange(37) % 3 == 0
    assert mean_interval(values, sample_weight=copies) == pytest.approx(mean_interval(copied))
    found = share_interval(hits, sample_weight=copies)
    assert found == pytest.approx(share_interval(np.repeat(hits, copies)))
    groups = np.arange(37) // 4
    found = mean_interval(values, sample_weight=copies, groups=groups)
    assert found == pytest.approx(mean_interval(copied, groups=np.repeat(groups, copies)))
    assert mean_interval(values, sample_weight=values / values.sum()) == (-math.inf, math.inf)
    assert mean_interval(values * 1e200)[1] == pytest.approx(mean_interval(values)[1] * 1e200)


def test_intervals_at_the_edges() -> None:
    assert mean_interval([1.0]) == (-math.inf, math.inf)
    assert mean_interval([1.0, math.inf]) == (math.inf, math.inf)
    assert mean_interval([2.0, 2.0]) == (2.0, 2.0)
    assert share_interval([True] * 4)[1] == 1.0
    assert share_interval([False] * 4)[0] == 0.0
    refused: list[tuple[Callable[[], Any], str]] = [
        (lambda: mean_interval([]), "N above 0"),
        (lambda: mean_interval([1.0, np.nan]), "NaN at row 1"),
        (lambda: mean_interval([1.0, 2.0], level=1.0), r"a number in \(0, 1\)"),
        (lambda: mean_interval([1.0, 2.0], groups=[1]), "groups: expected shape"),
        (lambda: mean_interval([1.0, 2.0], sample_weight=[0, 0]), "a sum above 0"),
    ]
    for call, message in refused:
        with pytest.raises(InputError, match=message):
            call()


def answers(
    count: int, sharpness: float, random: np.random.Generator
) -> tuple[Array, Array, Array]:
    """Return the answers of a model and of a blurred one to the same samples, and labels."""
    scores = random.normal(size=(count, 3)) * 2
    p = np.exp(scores)
    p /= p.sum(axis=1, keepdims=True)
    labels = (p.cumsum(axis=1) > random.random((count, 1))).argmax(axis=1)
    return scores, scores * sharpness + random.normal(size=(count, 3)) * 0.05, labels


# Of as many simulated data sets as RUNS an honest interval misses 5 % but for chance, whose
# standard deviation is √(0.05 · 0.95 / 2000) = 0.5 %: 93 and 97 % are four of it away.


def test_what_evaluate_tells_holds_in_95_of_100_cases() -> None:
    random = np.random.default_rng(11)
    scores, _, labels = answers(100_000, 0.8, random)
    everything = evaluate(scores, labels, kind="scores")
    names = ("cross_entropy_nats", "cross_entropy_bits", "accuracy", "brier_score")
    found: dict[str, list[Any]] = {name: [] for name in names}
    for _ in range(RUNS):
        rows = random.integers(0, len(labels), 250)
        intervals = evaluate(scores[rows], labels[rows], kind="scores").intervals
        for name in names:
            found[name].append(intervals[name])
    for name in names:
        assert 0.93 <= coverage(found[name], getattr(everything, name)) <= 0.97, name


def test_the_difference_of_two_models_holds_in_95_of_100_cases() -> None:
    random = np.random.default_rng(3)
    scores, blurred, labels = answers(100_000, 0.8, random)
    first, second = (row_outcomes(each, labels, kind="scores") for each in (scores, blurred))
    for name in ("surprisal", "squared_error", "correct"):
        away = getattr(first, name).astype(float) - getattr(second, name)
        draws = away[random.integers(0, len(away), (RUNS, 300))]
        assert 0.93 <= coverage(map(mean_interval, draws), away.mean()) <= 0.97, name
    # Which is the interval that the comparison tells.
    rows = slice(0, 300)
    told = compare_models(
        {"new": scores[rows], "old": blurred[rows]}, labels[rows], kind="scores"
    ).differences
    for name, each in zip(("surprisal", "squared_error", "correct"), told, strict=True):
        away = getattr(first, name)[rows].astype(float) - getattr(second, name)[rows]
        assert each.interval == pytest.approx(mean_interval(away)), name


def test_a_calibrated_models_bins_are_in_their_band_in_95_of_100_cases() -> None:
    random = np.random.default_rng(12)
    inside: list[bool] = []
    for _ in range(400):
        sure = random.beta(3, 1, 3000)
        table = reliability_table(sure, random.random(3000) < sure)
        for row, (low, high) in zip(table, consistency_band(table), strict=True):
            inside.append(low <= row.accuracy <= high)
    # 6,000 bins of 200 samples: chance deviates by 0.3 %. Counts are whole, so that a band of at
    # least 95 % has some more.
    assert len(inside) == 6000
    assert 0.94 <= np.mean(inside) <= 0.97


def test_paired_differences_are_the_rows() -> None:
    random = np.random.default_rng(4)
    scores, blurred, labels = answers(500, 0.7, random)
    weight = random.integers(0, 3, 500)
    site = np.array(["a", "b", "c"])[np.arange(500) % 3]
    found = compare_models(
        {"new": scores, "old": blurred}, labels, sample_weight=weight, slices={"site": site},
        kind="scores",
    )  # fmt: skip
    loss, brier, accuracy, *sliced = found.differences
    losses = [bridle.cross_entropy(each, labels, reduction="none") for each in (scores, blurred)]
    rows = losses[0] - losses[1]
    assert loss.difference == pytest.approx(np.average(rows, weights=weight), rel=1e-9)
    assert loss.interval == pytest.approx(mean_interval(rows, sample_weight=weight))
    assert loss.samples == np.count_nonzero(weight)
    copies = np.repeat(rows, weight)
    means = [copies[random.integers(0, len(copies), len(copies))].mean() for _ in range(1000)]
    assert loss.first_wins == pytest.approx(np.mean(np.array(means) < 0), abs=0.05)
    assert brier.metric == "brier_score"
    first, second = found.models["new"], found.models["old"]
    assert accuracy.difference == pytest.approx(first.accuracy - second.accuracy)
    assert [each.slice for each in sliced[::3]] == ["site=a", "site=b", "site=c"]
    part = (site == "b") & (weight > 0)
    expected = np.average(rows[part], weights=weight[part])
    assert sliced[3].difference == pytest.approx(expected)
    assert "new less old" in str(found)
    assert max(map(len, str(found).splitlines())) <= 80
    assert found.to_dict()["differences"][0]["first_wins"] == loss.first_wins


def test_a_model_is_no_better_than_itself() -> None:
    scores, _, labels = answers(50, 1.0, np.random.default_rng(5))
    for each in compare_models({"a": scores, "b": scores}, labels, kind="scores").differences:
        assert (each.difference, each.first_wins, each.is_clear) == (0.0, 0.5, False)
    sure = [[1.0, 0.0], [0.0, 1.0]]
    found = compare_models({"a": sure, "b": [[1.0, 0.0], [1.0, 0.0]]}, [0, 1])
    assert found.differences[0].difference == -math.inf
    assert found.differences[0].first_wins == 1.0


def test_models_that_cannot_be_compared() -> None:
    with pytest.raises(InputError, match="models: expected two or more, found 1"):
        compare_models({"a": [[0.5, 0.5]]}, [0])
    with pytest.raises(InputError, match=r"^b: "):
        compare_models({"a": [[0.5, 0.5]], "b": [[0.5, 0.5], [1.0, 0.0]]}, [0])


# --- label errors ---------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.02, 0.05, 0.1])
def test_planted_errors_come_first(share: float) -> None:
    X, y = load_digits(return_X_y=True)
    random = np.random.default_rng(6)
    wrong = random.random(len(y)) < share
    given = np.where(wrong, (y + random.integers(1, 10, len(y))) % 10, y)
    model = LogisticRegression(max_iter=2000)
    probability = cross_val_predict(model, X / 16, given, cv=5, method="predict_proba")
    found = label_errors(probability, given)
    precision = average_precision_score(wrong, found.doubt)
    assert precision > 0.88
    # What the tools around rank by, on the same probabilities.
    assert precision >= average_precision_score(wrong, 1 - found.self_confidence)
    assert found.expected_errors == pytest.approx(wrong.sum(), rel=0.6)
    assert (found.likely & wrong).sum() >= 0.7 * wrong.sum()
    right = found.suggested[wrong] == y[wrong]
    assert right.mean() > 0.85
    assert np.array_equal(np.sort(found.order), np.arange(len(y)))
    label, truth, count = found.pairs()[0]
    assert found.joint[int(label), int(truth)] == count
    assert found.joint.sum() == pytest.approx(len(y))


def test_label_errors_of_scores_names_and_one_column() -> None:
    scores = np.log([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.2, 0.8], [0.95, 0.05]])
    truth = ["no", "no", "yes", "yes", "yes"]
    found = label_errors(scores, truth, classes=["no", "yes"], kind="scores")
    assert found.pairs() == [("yes", "no", 1.0)]
    single = label_errors([0.1, 0.2, 0.9, 0.8, 0.05], truth, classes=["no", "yes"])
    assert np.allclose(single.self_confidence, found.self_confidence)
    assert single.likely.tolist() == found.likely.tolist() == [False] * 4 + [True]
    perfect = label_errors(np.eye(3), [0, 1, 2])
    assert perfect.expected_errors == 0
    assert perfect.pairs() == []
    missing = label_errors([[0.7, 0.3, 0.0], [0.6, 0.4, 0.0]], [0, 0])
    assert missing.joint.sum() == pytest.approx(2)


def test_a_label_of_weight_k_is_k_labels_and_of_0_none() -> None:
    random = np.random.default_rng(7)
    probability = random.dirichlet(np.ones(4), 80)
    given = random.integers(0, 4, 80)
    copies = random.integers(0, 4, 80)
    weighed = label_errors(probability, given, sample_weight=copies)
    copied = label_errors(probability.repeat(copies, 0), given.repeat(copies))
    assert weighed.joint == pytest.approx(copied.joint)
    assert weighed.expected_errors == pytest.approx(copied.expected_errors)
    rows = np.arange(80).repeat(copies)
    assert weighed.likely[rows].tolist() == copied.likely.tolist()
    assert not weighed.likely[copies == 0].any()
    assert sorted(weighed.order) == np.flatnonzero(copies).tolist()
    assert (np.diff(weighed.doubt[weighed.order]) <= 0).all()
    halves = label_errors(probability, given, sample_weight=copies / 2)
    assert halves.joint == pytest.approx(copied.joint / 2)
    with pytest.raises(InputError, match="a sum of 0"):
        label_errors(probability, given, sample_weight=np.zeros(80))
