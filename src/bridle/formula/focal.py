r"""The focal term: −log p of a target that is likely already counts for less.

With the surprise ``L = −log p`` of a target, ``L = log_sum + gap`` in a row's parts, and γ ≥ 0,

    focal(L) = (1 − p)^γ · L,   d focal / dL = (1 − p)^γ · (1 + γ · L · p / (1 − p))

where ``1 − p = −expm1(−L)`` keeps its digits as p → 1. There both factors of the second term tend
to a limit, ``L · p / (1 − p) → 1``, so that nothing overflows for γ < 1 either.
"""

from __future__ import annotations

from typing import Any


def focal(xp: Any, surprise: Any, gamma: float) -> Any:
    """Return ``(1 − p)^γ · L``.

    >>> import numpy as np
    >>> focal(np, np.log([1.0, 2.0, 4.0]), 2.0).round(4)
    array([0.    , 0.1733, 0.7798])
    """
    return _factor(xp, surprise, gamma) * surprise


def focal_slope(xp: Any, surprise: Any, gamma: float) -> Any:
    """Return its derivative by ``L``.

    >>> import numpy as np
    >>> focal_slope(np, np.array([0.0, np.log(2.0), np.inf]), 2.0).round(4)
    array([0.    , 0.5966, 1.    ])
    """
    usual = _within(xp, surprise)
    kept = xp.where(usual, surprise, 1)
    p = xp.exp(-kept)
    ratio = xp.where(usual, kept * p / -xp.expm1(-kept), 0)
    return _factor(xp, surprise, gamma) * (1 + gamma * ratio)


def _factor(xp: Any, surprise: Any, gamma: float) -> Any:
    """Return ``(1 − p)^γ``, a constant where its own derivative would be 0 · ∞ beside L.

    At L = 0 and where p is 0 those are the limits. A NaN passes with the factor 1: a row that does
    not count has then the derivative 0, not NaN.
    """
    usual = _within(xp, surprise)
    below = -xp.expm1(-xp.where(usual, surprise, 1))
    at_the_ends = xp.where(surprise == 0, 0.0**gamma, 1.0)
    return xp.where(usual, below**gamma, at_the_ends)


def _within(xp: Any, surprise: Any) -> Any:
    """Tell where p is above 0 and below 1; a large L would overflow beside a p that is 0."""
    return (surprise > 0) & (xp.exp(-surprise) > 0)
