"""How far a calibration error is from the truth: by simulation, by copies, and at the edges."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from bridle.checks import InputError
from bridle.judge import (
    calibration_error_bounds,
    evaluate,
    expected_calibration_error,
    mean_interval,
    share_interval,
)

Array = npt.NDArray[Any]
RUNS = 400


def too_sure(sure: Array) -> Array:
    return 0.5 + 0.6 * (sure - 0.5)


def always_off(sure: Array) -> Array:
    return sure - 0.1


def calibrated(sure: Array) -> Array:
    return sure


def drawn(count: int, truth: Any, random: np.random.Generator) -> tuple[Array, Array]:
    sure = 0.5 + 0.5 * random.beta(2, 1, count)
    return sure, random.random(count) < truth(sure)


@pytest.mark.parametrize("count", [60, 1000])
def test_a_calibrated_model_shows_an_error_within_the_band(count: int) -> None:
    random = np.random.default_rng(0)
    inside, holds_zero = [], []
    for _ in range(RUNS):
        sure, right = drawn(count, calibrated, random)
        error = expected_calibration_error(sure, right)
        found = calibration_error_bounds(sure, right)
        low, high = found.if_calibrated
        inside.append(low <= error <= high)
        holds_zero.append(found.interval.low == 0)
    assert 0.92 <= np.mean(inside) <= 0.98
    assert 0.95 <= np.mean(holds_zero) <= 1


@pytest.mark.parametrize("truth", [too_sure, always_off])
@pytest.mark.parametrize("count", [300, 3000])
def test_the_interval_holds_the_true_error(count: int, truth: Any) -> None:
    random = np.random.default_rng(1)
    sure, _ = drawn(200_000, truth, random)
    true = float(np.abs(sure - truth(sure)).mean())
    held = []
    for _ in range(RUNS):
        low, high = calibration_error_bounds(*drawn(count, truth, random)).interval
        held.append(low <= true <= high)
    assert 0.92 <= np.mean(held) <= 1


def test_the_same_seed_gives_the_same_bounds_in_any_order() -> None:
    sure, right = drawn(500, too_sure, np.random.default_rng(2))
    found = calibration_error_bounds(sure, right)
    order = np.random.default_rng(3).permutation(500)
    again = calibration_error_bounds(sure[order], right[order])
    for one, other in zip(found, again, strict=True):
        assert one == pytest.approx(other, rel=1e-9)
    reseeded = calibration_error_bounds(sure, right, random_state=1)
    assert reseeded.interval == pytest.approx(found.interval, abs=0.01)
    assert reseeded.interval != found.interval


def test_weight_k_is_k_copies() -> None:
    random = np.random.default_rng(4)
    sure, right = drawn(200, too_sure, random)
    weight = random.integers(0, 4, 200)
    weighed = calibration_error_bounds(sure, right, sample_weight=weight)
    copied = calibration_error_bounds(sure.repeat(weight), right.repeat(weight))
    for one, other in zip(weighed, copied, strict=True):
        assert one == pytest.approx(other, rel=1e-9)


def test_rows_of_a_group_are_one_observation() -> None:
    sure, right = drawn(400, too_sure, np.random.default_rng(5))
    alone = calibration_error_bounds(sure, right)
    tenfold = sure.repeat(10), right.repeat(10)
    together = calibration_error_bounds(*tenfold, groups=np.arange(400).repeat(10))
    for one, other in zip(alone, together, strict=True):
        assert one == pytest.approx(other, abs=0.012)
    apart = calibration_error_bounds(*tenfold)
    assert apart.interval.high - apart.interval.low < 0.5 * (
        together.interval.high - together.interval.low
    )
    # Groups of a single row are rows.
    rows = calibration_error_bounds(sure, right, groups=np.arange(400))
    assert rows.interval == pytest.approx(alone.interval, abs=0.012)


EDGES = [
    pytest.param([1.0] * 9, [True] * 9, id="certain and right"),
    pytest.param([1.0] * 9, [False] * 9, id="certain and wrong"),
    pytest.param([0.0] * 9, [False] * 9, id="probability 0"),
    pytest.param([0.7], [True], id="one sample"),
    pytest.param([0.5, 0.5], [True, False], id="no gap"),
]


@pytest.mark.parametrize("groups", [False, True])
@pytest.mark.parametrize(("sure", "right"), EDGES)
def test_bounds_at_the_edges(sure: list[float], right: list[bool], groups: bool) -> None:
    told = np.arange(len(sure)) // 3 if groups else None
    found = calibration_error_bounds(sure, right, groups=told)
    error = expected_calibration_error(sure, right)
    assert 0 <= found.interval.low <= error <= found.interval.high <= 1
    assert 0 <= found.if_calibrated.low <= found.if_calibrated.high <= 1


def test_certainty_has_no_band_and_ten_samples_do() -> None:
    # Who is sure to 100 % and calibrated is never wrong.
    assert calibration_error_bounds([1.0] * 9, [True] * 9).if_calibrated == (0.0, 0.0)
    # In one bin the error is a share's distance: 10 of 10 right at 90 % may well be 90 %.
    found = calibration_error_bounds([0.9] * 10, [True] * 10, bins=1)
    assert found.interval.low == 0
    assert found.interval.high == pytest.approx(0.1)
    # 5 of 10 right at 50 %: the true share lies in Wilson's interval, 0.24 to 0.76.
    found = calibration_error_bounds([0.5] * 10, [True, False] * 5, bins=1)
    assert found.interval.low == 0
    assert 0.2 < found.interval.high < 0.4


def test_an_evaluation_has_them_and_all_others() -> None:
    random = np.random.default_rng(6)
    scores, target = random.normal(size=(240, 6)) * 2, random.integers(6, size=240)
    weight, groups = random.integers(0, 3, 240), np.arange(240) // 6
    told: dict[str, Any] = {"sample_weight": weight, "groups": groups}
    found = evaluate(scores, target, kind="scores", **told)
    outcomes = found.outcomes
    bounds = calibration_error_bounds(outcomes.confidence, outcomes.correct, **told)
    assert found.intervals["expected_calibration_error"] == bounds.interval
    assert found.expected_calibration_error_by_chance == bounds.if_calibrated
    low, high = found.intervals["cross_entropy_nats"]
    assert found.intervals["perplexity"] == (math.exp(low), math.exp(high))
    shown = [line for line in str(found).splitlines() if "calibration error  " in line]
    assert f"({bounds.interval.low:.4f} to {bounds.interval.high:.4f})" in shown[0]
    assert f"by chance {bounds.if_calibrated.low:.4f} to" in shown[0]
    assert max(map(len, str(found).splitlines())) <= 80


@pytest.mark.parametrize("weighed", [False, True])
@pytest.mark.parametrize("grouped", [False, True])
def test_each_class_has_the_intervals_of_its_rows(weighed: bool, grouped: bool) -> None:
    random = np.random.default_rng(7)
    scores, target = random.normal(size=(90, 4)), random.integers(3, size=90)
    told: dict[str, Any] = {}
    if weighed:
        told["sample_weight"] = random.integers(0, 3, 90).astype(float)
    if grouped:
        told["groups"] = np.arange(90) // 4
    found = evaluate(scores, target, kind="scores", **told)
    rows = found.outcomes
    for number, row in enumerate(found.per_class[:3]):
        own, named = rows.target == number, rows.predicted == number
        of_own = {name: values[own] for name, values in told.items()}
        of_named = {name: values[named] for name, values in told.items()}
        loss = mean_interval(rows.surprisal[own], **of_own)
        assert row.loss_interval == pytest.approx((max(0, loss.low), loss.high))
        assert row.recall_interval == pytest.approx(share_interval(rows.correct[own], **of_own))
        precision = share_interval(rows.correct[named], **of_named)
        assert row.precision_interval == pytest.approx(precision)
    missing = found.per_class[3]
    assert all(map(math.isnan, missing.loss_interval))
    assert missing.recall_interval == (0, 1)
    certain = evaluate([[1.0, 0.0], [1.0, 0.0], [0.5, 0.5]], [1, 0, 0]).per_class
    assert certain[1].loss_interval == (math.inf, math.inf)
    assert math.isfinite(certain[0].loss_interval.high)


def test_bounds_that_cannot_be_found() -> None:
    with pytest.raises(InputError, match="groups: expected shape"):
        calibration_error_bounds([0.5, 0.5], [True, False], groups=[1])
    with pytest.raises(InputError, match="confidence"):
        calibration_error_bounds([1.5], [True])
    with pytest.raises(InputError, match="bins: expected 1 or more"):
        calibration_error_bounds([0.5], [True], bins=0)


def test_the_interval_of_groups_holds_where_that_of_rows_does_not() -> None:
    random = np.random.default_rng(8)
    groups, off = np.arange(200).repeat(10), 0.1
    together: list[bool] = []
    apart: list[bool] = []
    for _ in range(250):
        sure = 0.55 + 0.4 * random.random(2000)
        # Half of the groups are better than all are on average, half are worse.
        shift = random.choice([-0.15, 0.15], 200)[groups] * np.minimum(1, (1 - sure) / 0.15)
        right = random.random(2000) < sure - off + shift
        for held, told in ((together, groups), (apart, None)):
            low, high = calibration_error_bounds(sure, right, groups=told).interval
            held.append(low <= off <= high)
    assert 0.9 <= np.mean(together) <= 1
    assert np.mean(apart) < np.mean(together) - 0.05
