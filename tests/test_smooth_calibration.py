"""SmoothECE beside the integral that defines it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from bridle.checks import InputError
from bridle.judge import smooth_calibration_error

Array = npt.NDArray[Any]


def by_definition(sure: Array, right: Array, weight: Array, bandwidth: float) -> float:
    """Return ∫ |E[(f − y) K(f, t)]| dt: images of every confidence on both sides, by quadrature."""
    t = (np.arange(40_000) + 0.5) / 40_000
    residual = np.zeros_like(t)
    share = weight / weight.sum() * (sure - right)
    for image in range(-4, 5):
        for place, mass in zip(
            [*(sure + 2 * image), *(2 * image - sure)], [*share, *share], strict=True
        ):
            residual += mass * np.exp(-(((t - place) / bandwidth) ** 2) / 2)
    return float(np.abs(residual).mean() / (bandwidth * np.sqrt(2 * np.pi)))


@pytest.mark.parametrize("seed", range(4))
def test_it_is_the_integral_at_its_own_bandwidth(seed: int) -> None:
    random = np.random.default_rng(seed)
    sure = random.beta(4, 1, 40) if seed < 3 else np.array([0.0, 1.0, 0.5, 1.0, 0.0, 0.3])
    right = random.random(len(sure)) < np.clip(sure - 0.15, 0, 1)
    weight = random.integers(1, 4, len(sure)).astype(float)
    found = smooth_calibration_error(sure, right, sample_weight=weight)
    assert found.error == pytest.approx(found.bandwidth, abs=1e-9)
    expected = by_definition(sure, right, weight, found.bandwidth)
    assert found.error == pytest.approx(expected, abs=1e-6)


def test_a_calibrated_forecast_has_a_small_error_and_a_shifted_one_its_shift() -> None:
    random = np.random.default_rng(0)
    sure = random.random(100_000)
    calibrated = smooth_calibration_error(sure, random.random(100_000) < sure)
    assert calibrated.error < 0.02
    shifted = np.clip(sure * 0.8 + 0.1, 0, 1)
    found = smooth_calibration_error(shifted, random.random(100_000) < shifted - 0.1)
    assert found.error == pytest.approx(0.1, abs=0.01)


def test_weight_k_is_k_copies_and_order_is_nothing() -> None:
    random = np.random.default_rng(1)
    sure, copies = random.random(50), random.integers(0, 4, 50)
    right = random.random(50) < 0.5
    one = smooth_calibration_error(sure, right, sample_weight=copies)
    other = smooth_calibration_error(np.repeat(sure, copies)[::-1], np.repeat(right, copies)[::-1])
    assert one.error == pytest.approx(other.error, abs=1e-12)


def test_the_edges() -> None:
    assert smooth_calibration_error([1.0], [True]).error == pytest.approx(0, abs=1e-9)
    assert smooth_calibration_error([1.0, 0.0], [False, True]).error > 0.4
    assert 0 < smooth_calibration_error([0.5], [True]).error <= 0.5
    with pytest.raises(InputError, match="confidence"):
        smooth_calibration_error([1.5], [True])
    with pytest.raises(InputError, match="confidence"):
        smooth_calibration_error([], [])


def forecasts(count: int, power: float, shift: float) -> tuple[Array, Array]:
    """Return confidences and outcomes that are spread evenly, without chance."""
    place = np.arange(1, count + 1)
    sure = (place * 0.6180339887498949 % 1) ** power
    return sure, (place * 0.4142135623730951 % 1) < np.clip(sure - shift, 0, 1)


# What relplot 1.0.3 says, of the method's authors, on grids of 2^20 points in place of its 1,000
# and 200, and with 40 halvings of the bandwidth in place of 10:
#
#     search, apply = relplot.metrics.search_param, relplot.kernels.GaussianKernel.apply
#     relplot.metrics.search_param = lambda p, start=1, refine=10: search(p, start, refine=40)
#     relplot.kernels.GaussianKernel.apply = lambda self, f, y, x: apply(self, f, y, x, 2**21)
#     relplot.config.smECE_mesh_pts = 2**20 + 1
#     numpy.convolve = scipy.signal.fftconvolve  # the same sum, sooner
#     relplot.smECE(*forecasts(…), eps=1e-9)
#
# The last number is what it says by default: up to 4e-4 away.
RELPLOT = [
    (1000, 0.25, 0.1, 0.10212332581532425, 0.10224042535894523),
    (200, 1.0, -0.05, 0.04258411027502996, 0.042588836434908614),
    (5000, 0.1, 0.02, 0.02146262390139337, 0.0213374499237957),
    (50, 1.0, 0.3, 0.29986604152603225, 0.29982292723925796),
    (2000, 0.5, 0.01, 0.015054048044782081, 0.014670211221304488),
]


@pytest.mark.parametrize(("count", "power", "shift", "fine", "default"), RELPLOT)
def test_it_is_relplots_on_a_fine_grid(
    count: int, power: float, shift: float, fine: float, default: float
) -> None:
    found = smooth_calibration_error(*forecasts(count, power, shift)).error
    assert found == pytest.approx(fine, abs=1e-6)
    assert found == pytest.approx(default, abs=5e-4)
