"""Prediction sets that hold what they promise, and decisions of the least expected cost."""

from __future__ import annotations

import math
from dataclasses import astuple
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy.special import softmax

from bridle.checks import InputError
from bridle.judge import best_decisions, conformal_sets, threshold_table

Array = npt.NDArray[Any]


def made(count: int, seed: int, classes: int = 5) -> tuple[Array, Array]:
    """Return answers that are too sure, and labels."""
    random = np.random.default_rng(seed)
    scores = random.normal(size=(count, classes)) * 1.5
    p = softmax(scores, axis=1)
    labels = (p.cumsum(axis=1) > random.random((count, 1))).argmax(axis=1)
    return softmax(3 * scores, axis=1), labels


@pytest.mark.parametrize("method", ["lac", "aps"])
@pytest.mark.parametrize("level", [0.8, 0.95])
def test_sets_hold_the_true_class_as_often_as_promised(method: Any, level: float) -> None:
    answers, labels = made(40_000, 0)
    found = []
    for run in range(100):
        rows = np.random.default_rng(run).permutation(len(labels))[:700]
        fit, rest = rows[:200], rows[200:]
        sets = conformal_sets(answers[fit], labels[fit], level=level, method=method)
        found.append(sets.coverage(answers[rest], labels[rest])[0])
    assert level - 0.005 <= np.mean(found) <= level + 0.02


@pytest.mark.parametrize("method", ["lac", "aps"])
def test_the_reach_is_the_quantile_of_n_plus_1(method: Any) -> None:
    answers, labels = made(19, 1)
    own = answers[np.arange(19), labels]
    if method == "lac":
        scores = 1 - own
    else:
        scores = np.array([row[row >= p].sum() for row, p in zip(answers, own, strict=True)])
    sets = conformal_sets(answers, labels, level=0.9, method=method)
    assert sets.reach == pytest.approx(np.sort(scores)[18 - 1])  # ⌈20 · 0.9⌉
    inside = sets.predict(answers)[np.arange(19), labels]
    assert inside.sum() == 18
    assert conformal_sets(answers, labels, level=0.96, method=method).reach == math.inf
    assert conformal_sets(answers, labels, level=0.96, method=method).predict(answers).all()


def test_coverage_by_class_scores_and_one_column() -> None:
    answers, labels = made(500, 2, classes=2)
    sets = conformal_sets(answers, labels)
    share, by_class = sets.coverage(answers, labels)
    held = sets.predict(answers)[np.arange(500), labels]
    assert share == held.mean()
    assert by_class == pytest.approx([held[labels == 0].mean(), held[labels == 1].mean()])
    single = conformal_sets(answers[:, 1], labels)
    assert single.reach == pytest.approx(sets.reach)
    scores = conformal_sets(np.log(answers), labels, kind="scores")
    assert scores.reach == pytest.approx(sets.reach)
    assert np.isnan(sets.coverage(answers[labels == 0], labels[labels == 0])[1][1])


@pytest.mark.parametrize("method", ["lac", "aps"])
def test_a_sample_of_weight_k_is_k_samples_and_labels_are_classes(method: Any) -> None:
    answers, labels = made(60, 6)
    copies = np.random.default_rng(1).integers(0, 4, 60)
    several = answers.repeat(copies, 0), labels.repeat(copies)
    names = np.array(["e", "d", "c", "b", "a"])
    for level in (0.5, 0.8, 0.9, 0.99, 0.999):
        weighed = conformal_sets(answers, labels, level=level, method=method, sample_weight=copies)
        copied = conformal_sets(*several, level=level, method=method)
        assert weighed.reach == copied.reach
        told: dict[str, Any] = {"classes": names.tolist(), "sample_weight": copies}
        named = conformal_sets(answers, names[labels], level=level, method=method, **told)
        assert named == weighed
        share, by_class = weighed.coverage(answers, labels, sample_weight=copies)
        expected, each = copied.coverage(*several)
        assert share == pytest.approx(expected)
        assert by_class == pytest.approx(each)
        assert weighed.coverage(answers, names[labels], **told)[0] == share
    assert weighed.samples == np.count_nonzero(copies)


def test_sets_that_cannot_be_found() -> None:
    answers, labels = made(10, 3)
    with pytest.raises(InputError, match=r"level: expected a number in \(0, 1\)"):
        conformal_sets(answers, labels, level=1)
    with pytest.raises(InputError, match="method: expected one of lac, aps"):
        conformal_sets(answers, labels, method="raps")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="row 1"):
        conformal_sets([[0.0, 1.0], [np.nan, 1.0]], [0, 1], kind="scores")


# --- decisions ------------------------------------------------------------------------------------


def test_decisions_cost_least_in_expectation() -> None:
    answers, _ = made(200, 4)
    cost = np.random.default_rng(0).normal(size=(5, 3))
    found = best_decisions(answers, cost)
    expected = [[sum(p * c for p, c in zip(row, column, strict=True)) for column in cost.T]
                for row in answers]  # fmt: skip
    assert found.action.tolist() == np.argmin(expected, axis=1).tolist()
    assert found.expected_cost == pytest.approx(np.min(expected, axis=1))
    plain = best_decisions(answers, 1 - np.eye(5))
    assert plain.action.tolist() == answers.argmax(axis=1).tolist()
    with pytest.raises(InputError, match=r"cost: expected shape \(5, actions\), found \(4, 5\)"):
        best_decisions(answers, np.ones((4, 5)))
    with pytest.raises(InputError, match="cost"):
        best_decisions(answers, np.full((5, 2), np.inf))


def test_thresholds_are_counted_by_hand() -> None:
    random = np.random.default_rng(5)
    sure = random.random(300).round(2)
    truth = random.random(300) < sure
    for row in threshold_table(sure, truth, [0.0, 0.3, 0.55, 1.0], miss_cost=5, alarm_cost=2):
        called = [p >= row.threshold for p in sure]
        hits = sum(c and t for c, t in zip(called, truth, strict=True))
        misses = sum(t and not c for c, t in zip(called, truth, strict=True))
        alarms = sum(c and not t for c, t in zip(called, truth, strict=True))
        assert row.recall == pytest.approx(hits / truth.sum())
        assert row.cost == pytest.approx((5 * misses + 2 * alarms) / 300)
        if any(called):
            assert row.precision == pytest.approx(hits / sum(called))
            assert row.precision_interval.low <= row.precision <= row.precision_interval.high
    copies = random.integers(0, 4, 300)
    weighed = threshold_table(sure, truth, miss_cost=5, sample_weight=copies)
    copied = threshold_table(sure.repeat(copies), truth.repeat(copies), miss_cost=5)
    for one, other in zip(weighed, copied, strict=True):
        assert np.hstack(astuple(one)) == pytest.approx(np.hstack(astuple(other)), nan_ok=True)
    with pytest.raises(InputError, match="a sum of 0"):
        threshold_table(sure, truth, sample_weight=np.zeros(300))
    nothing = threshold_table([0.2], [True], [0.5])[0]
    assert math.isnan(nothing.precision)
    assert nothing.precision_interval == (0.0, 1.0)
    assert len(threshold_table(sure, truth)) == 21
    with pytest.raises(InputError, match="miss_cost"):
        threshold_table(sure, truth, miss_cost=-1)
    with pytest.raises(InputError, match="probability"):
        threshold_table([1.5], [True])
