r"""Calibration error without bins: residuals smoothed as far as the error itself is large.

With the residual ``r(t) = E[(f − y) K_σ(f, t)]`` of confidences f and outcomes y, K a Gaussian
kernel reflected at 0 and 1, ``smECE_σ = ∫ |r(t)| dt`` falls as σ grows. SmoothECE is its value
where it equals σ: no bins to choose, no jump when a sample crosses one's edge, and an upper and
lower bound of how far the nearest calibrated forecast is.

Reference: J. Błasiok, P. Nakkiran, *Smooth ECE: Principled Reliability Diagrams via Kernel
Smoothing*, ICLR 2024.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.fft import dct

from bridle.judge.calibration import checked_confidence

Array = npt.NDArray[Any]

# Confidences are shared out between the two nearest nodes: right to 1e-6 from σ = 0.005 on.
_NODES = 2**14 + 1
_HALVINGS = 40  # of [0, 1], to find σ


class SmoothCalibrationError(NamedTuple):
    """An error, and the bandwidth σ that it belongs to."""

    error: float
    bandwidth: float


def smooth_calibration_error(
    confidence: npt.ArrayLike,
    correct: npt.ArrayLike,
    *,
    sample_weight: npt.ArrayLike | None = None,
) -> SmoothCalibrationError:
    """Return SmoothECE: how far confidences are from coming true, without bins.

    Parameters
    ----------
    confidence : array_like, (N,)
        Probabilities in [0, 1]: of the predicted class, or of any event.
    correct : array_like of bool, (N,)
        Whether the prediction was right, or the event happened.
    sample_weight : array_like, (N,), optional
        Weight k is the same as k copies.

    Returns
    -------
    SmoothCalibrationError
        ``error`` in [0, 1], 0 for a calibrated forecast; ``bandwidth`` the σ that equals it.

    Raises
    ------
    InputError
        As `expected_calibration_error`.

    Examples
    --------
    >>> found = smooth_calibration_error([0.9] * 10, [True] * 7 + [False] * 3)
    >>> round(found.error, 2)
    0.2
    """
    sure, right, weight = checked_confidence(confidence, correct, sample_weight)
    modes = dct(_on_nodes(sure, (sure - right) * weight / weight.sum()), type=1)

    def error(bandwidth: float) -> float:
        # Reflections at both ends make a Gaussian a factor of each cosine.
        damping = np.exp(-((np.pi * np.arange(_NODES) * bandwidth) ** 2) / 2)
        smoothed = dct(modes * damping, type=1) / (2 * (_NODES - 1))
        # A node at an end has half of what is between the others.
        return float(np.abs(smoothed).sum() - (abs(smoothed[0]) + abs(smoothed[-1])) / 2)

    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if error(middle) > middle else (low, middle)
    return SmoothCalibrationError(error(high), high)


def _on_nodes(places: Array, masses: Array) -> Array:
    """Return the masses at the nodes of [0, 1]; those at an end count twice, for its reflection."""
    at = places * (_NODES - 1)
    left = np.minimum(at.astype(np.intp), _NODES - 2)
    share = at - left
    found = np.bincount(left, weights=masses * (1 - share), minlength=_NODES)
    found += np.bincount(left + 1, weights=masses * share, minlength=_NODES)
    found[[0, -1]] *= 2
    return np.asarray(found)
