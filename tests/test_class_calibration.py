"""Calibration class by class: against the top-label table, by copies, of many classes, at edges."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy.special import softmax

from bridle.checks import InputError
from bridle.judge import class_calibration, expected_calibration_error, reliability_table

Array = npt.NDArray[Any]


def made(count: int, classes: int, seed: int = 0, sharpness: float = 1.0) -> tuple[Array, Array]:
    random = np.random.default_rng(seed)
    scores = random.normal(size=(count, classes)) * 1.5
    p = softmax(scores, axis=1)
    target = (p.cumsum(axis=1) > random.random((count, 1))).argmax(axis=1)
    return sharpness * scores, target


@pytest.mark.parametrize("bins", [1, 4, 15])
def test_each_class_is_judged_against_the_rest(bins: int) -> None:
    scores, target = made(500, 4)
    p = softmax(scores, axis=1)
    for number, found in enumerate(class_calibration(scores, target, kind="scores", bins=bins)):
        is_class = target == number
        error = expected_calibration_error(p[:, number], is_class, bins=bins)
        assert found.error == pytest.approx(error, rel=1e-9)
        table = reliability_table(p[:, number], is_class, bins=bins)
        assert [row.count for row in found.reliability] == [row.count for row in table]
        assert found.mean_probability == pytest.approx(p[:, number].mean(), rel=1e-12)
        assert found.frequency == pytest.approx(is_class.mean())
        if bins == 1:
            assert found.error == pytest.approx(abs(p[:, number].mean() - is_class.mean()))


def test_probabilities_columns_labels_and_one_column() -> None:
    scores, target = made(300, 2)
    p = softmax(scores, axis=1)
    from_scores = class_calibration(scores, target, kind="scores")
    from_both = class_calibration(p, target)
    from_one = class_calibration(p[:, 1], target)
    names = np.array(["no", "yes"])[target]
    named = class_calibration(p, names, classes=["no", "yes"])
    assert [each.label for each in named] == ["no", "yes"]
    for others in (from_both, from_one, named):
        for one, other in zip(from_scores, others, strict=True):
            assert one.error == pytest.approx(other.error, rel=1e-9)


def test_weight_k_is_k_copies() -> None:
    scores, target = made(200, 3)
    weight = np.random.default_rng(1).integers(0, 4, 200)
    weighed = class_calibration(scores, target, kind="scores", sample_weight=weight)
    rows = np.arange(200).repeat(weight)
    copied = class_calibration(scores[rows], target[rows], kind="scores")
    for one, other in zip(weighed, copied, strict=True):
        assert one.error == pytest.approx(other.error, rel=1e-9)
        assert one.error_by_chance == pytest.approx(other.error_by_chance, rel=1e-9)


def test_calibrated_classes_show_what_chance_does_and_others_more() -> None:
    inside = []
    for seed in range(60):
        found = class_calibration(*made(800, 5, seed), kind="scores")
        inside += [low <= each.error <= high for each in found
                   for low, high in [each.error_by_chance]]  # fmt: skip
    assert 0.91 <= np.mean(inside) <= 0.98
    found = class_calibration(*made(800, 5, 0, sharpness=3), kind="scores")
    assert all(each.error > each.error_by_chance.high for each in found)


def test_bins_are_as_many_as_samples_allow() -> None:
    for count, bins in ((1, 1), (3, 1), (30, 3), (1000, 10), (5000, 15)):
        found = class_calibration(*made(count, 3), kind="scores")
        assert [len(each.reliability) for each in found] == [bins] * 3


def test_certain_answers_and_missing_classes() -> None:
    # One class never comes and is never named; one is always right; one is right half of the time.
    answers = np.zeros((40, 4))
    target = np.repeat([0, 1], 20)
    answers[:20, 0] = 1
    answers[20:, 1] = 1
    answers[20:30] = [0, 0, 1, 0]
    found = class_calibration(answers, target)
    assert [each.frequency for each in found] == [0.5, 0.5, 0, 0]
    assert [each.error for each in found] == [0, 0.25, 0.25, 0]
    assert found[3].error_by_chance == (0, 0)
    assert len(found[3].reliability) == 1
    single = class_calibration([[1.0], [1.0]], [0, 0])
    assert (single[0].error, single[0].frequency) == (0, 1)


def test_a_thousand_classes_take_a_few_columns_at_a_time() -> None:
    scores = np.random.default_rng(0).normal(size=(4000, 1000)).astype(np.float32)
    target = np.random.default_rng(1).integers(1000, size=4000)
    tracemalloc.start()
    found = class_calibration(scores, target, kind="scores")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # The probabilities would take 32 MB in float64; a block of columns takes 4, and the bins of
    # all classes are 15,000 objects.
    assert peak < 20e6
    assert sum(each.frequency for each in found) == pytest.approx(1)
    assert sum(each.mean_probability for each in found) == pytest.approx(1, rel=1e-5)


def test_what_cannot_be_judged() -> None:
    with pytest.raises(InputError, match="row 1"):
        class_calibration([[0.0, 1.0], [np.nan, 1.0]], [0, 1], kind="scores")
    with pytest.raises(InputError, match="bins: expected 1 or more"):
        class_calibration([[0.5, 0.5]], [0], bins=0)
    with pytest.raises(InputError, match="sample_weight"):
        class_calibration([[0.5, 0.5]], [0], sample_weight=[0.0])
    with pytest.raises(InputError, match="2"):
        class_calibration([[0.5, 0.5]], [2])
